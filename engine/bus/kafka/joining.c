/*
 * joining.c - see joining.h.
 */
#include "bus/kafka/joining.h"

#include "base/clock.h"
#include "bus/kafka/consumer.h"
#include "bus/kafka/metadata.h"

#include <errno.h>
#include <stdio.h>

enum {
    JOINING_LATE_MS = 10000,
    JOINING_REPORT_MS = 60000,
    DESCRIBE_GROUP_MS = 1000, /* the longest wait for what the group's members use */
    MEMBERS_NAMED_MAX = 3,
};

void kafka_joining_begin(struct kafka_joining *joining)
{
    if (joining->since_ms == 0)
        joining->since_ms = clock_monotonic_ms();
}

void kafka_joining_restart(struct kafka_joining *joining)
{
    if (joining->since_ms != 0)
        joining->since_ms = clock_monotonic_ms();
}

void kafka_joining_done(struct kafka_joining *joining)
{
    *joining = (struct kafka_joining){0};
}

bool kafka_joining_late(const struct kafka_joining *joining)
{
    return joining->since_ms != 0 && clock_monotonic_ms() > joining->since_ms + JOINING_LATE_MS;
}

void kafka_joining_note(struct kafka_joining *joining, const char *text)
{
    if (joining->since_ms != 0)
        snprintf(joining->why, sizeof joining->why, "%.300s", text);
}

/* "roundrobin (sluice-a at /10.0.0.7, …)" */
static void describe_members(const struct bus_consumer *consumer, char *buf, size_t size)
{
    const rd_kafka_ConsumerGroupDescription_t *group;
    rd_kafka_event_t *event = kafka_group_describe(consumer->rk, consumer->group, DESCRIBE_GROUP_MS, &group);
    const char *assignor = group == NULL ? NULL : rd_kafka_ConsumerGroupDescription_partition_assignor(group);
    size_t count = group == NULL ? 0 : rd_kafka_ConsumerGroupDescription_member_count(group);
    size_t used = (size_t)snprintf(buf, size, "%s", assignor == NULL || assignor[0] == '\0' ? "another one" : assignor);
    for (size_t i = 0; i < count && i < MEMBERS_NAMED_MAX && used < size; i++) {
        const rd_kafka_MemberDescription_t *member = rd_kafka_ConsumerGroupDescription_member(group, i);
        used += (size_t)snprintf(buf + used, size - used, "%s%.60s at %.60s", i == 0 ? " (" : ", ",
                                 rd_kafka_MemberDescription_client_id(member), rd_kafka_MemberDescription_host(member));
    }
    if (count > 0 && used < size)
        snprintf(buf + used, size - used, "%s)", count > MEMBERS_NAMED_MAX ? ", …" : "");
    if (event != NULL)
        rd_kafka_event_destroy(event);
}

static void explain_protocol(struct bus_consumer *consumer)
{
    static const char name[] = "partition.assignment.strategy";
    struct kafka_joining *joining = &consumer->joining;
    char theirs[300], ours[64] = "range";
    size_t size = sizeof ours;
    describe_members(consumer, theirs, sizeof theirs);
    (void)rd_kafka_conf_get(rd_kafka_conf(consumer->rk), name, ours, &size);
    snprintf(joining->why, sizeof joining->why,
             "the members of the group assign partitions by %.240s, this one by %.60s", theirs, ours);
}

void kafka_joining_refused(struct bus_consumer *consumer, rd_kafka_resp_err_t err, const char *text)
{
    struct kafka_joining *joining = &consumer->joining;
    int64_t now = clock_monotonic_ms();
    bool protocol = err == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (consumer->health.fault.code != 0 || now < joining->report_ms)
        return;
    joining->report_ms = now + JOINING_REPORT_MS;
    if (protocol)
        explain_protocol(consumer);
    else
        snprintf(joining->why, sizeof joining->why, "%.300s (%s)", text, rd_kafka_err2name(err));
    error_set(&consumer->health.fault, EIO, "group %s refuses this member, which reads nothing: %s", consumer->group,
              joining->why);
    if (protocol)
        error_hint(&consumer->health.fault, "set bus.properties.partition.assignment.strategy to what the others use, "
                                            "or give this pipeline an engine.group of its own");
}
