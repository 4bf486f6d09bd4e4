/*
 * assignment.c - see assignment.h.
 */
#include "bus/kafka/assignment.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "bus/kafka/commit.h"
#include "bus/kafka/consumer.h"
#include "bus/kafka/instance.h"
#include "bus/kafka/joining.h"
#include "bus/kafka/resume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASSIGN_AGAIN_MS = 100,
    ASSIGN_LATE_MS = 2000, /* then an operator is told */
    CHECK_SOON_MS = 500,   /* how often halted streams are checked while one has no leader, which soon passes, */
    CHECK_MS = 1000,       /* and else: an operator may have called sluice.bus_skip() */
};

/* ------------------------------------------------------------------------------------------------ librdkafka's side */

static bool cooperative(rd_kafka_t *rk)
{
    const char *protocol = rd_kafka_rebalance_protocol(rk);
    return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0;
}

/* librdkafka refuses a whole list for one partition that it does not expect there. */
static void note_refused(const struct bus_consumer *consumer, const char *what, rd_kafka_error_t *refusal)
{
    if (refusal == NULL)
        return;
    log_rarely(5000, LOG_ERROR, "kafka", "group %s: partitions are not %s: librdkafka says: %s (%s)", consumer->group,
               what, rd_kafka_error_string(refusal), rd_kafka_error_name(refusal));
    rd_kafka_error_destroy(refusal);
}

/* Has librdkafka fetch the partitions of `list` no more; NULL: all of the assignment. */
static void unassign(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *all = NULL;
    if (!cooperative(consumer->rk)) {
        (void)rd_kafka_assign(consumer->rk, NULL);
        return;
    }
    if (list == NULL && rd_kafka_assignment(consumer->rk, &all) == RD_KAFKA_RESP_ERR_NO_ERROR)
        list = all;
    if (list != NULL)
        note_refused(consumer, "given back", rd_kafka_incremental_unassign(consumer->rk, list));
    if (all != NULL)
        rd_kafka_topic_partition_list_destroy(all);
}

/* What is assigned is taken, and comes back as revoked. Refused, librdkafka would wait for it to be taken: it would
 * neither unsubscribe nor leave, and the group would miss this member for the whole session. */
static void answer_closing(struct bus_consumer *consumer, bool assigned, const rd_kafka_topic_partition_list_t *list)
{
    if (!assigned)
        unassign(consumer, list);
    else if (cooperative(consumer->rk))
        note_refused(consumer, "taken", rd_kafka_incremental_assign(consumer->rk, list));
    else
        (void)rd_kafka_assign(consumer->rk, list);
}

static void set_partitions(struct kafka_assignment *assignment, const rd_kafka_topic_partition_list_t *list)
{
    if (assignment->partitions != NULL)
        rd_kafka_topic_partition_list_destroy(assignment->partitions);
    assignment->partitions = list == NULL ? NULL : rd_kafka_topic_partition_list_copy(list);
}

void kafka_assignment_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                                   void *opaque)
{
    struct bus_consumer *consumer = opaque;
    struct kafka_assignment *assignment = &consumer->assignment;
    if (err != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && err != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        unassign(consumer, NULL);
        return;
    }
    if (assignment->closing) {
        answer_closing(consumer, err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, list);
        return;
    }
    set_partitions(assignment, list);
    assignment->changed_ms = clock_monotonic_ms();
    assignment->look_ms = 0;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        kafka_joining_done(&consumer->joining);
    else
        kafka_joining_begin(&consumer->joining);
    assignment->change = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? KAFKA_CHANGE_ASSIGN
                         : rd_kafka_assignment_lost(rk)              ? KAFKA_CHANGE_LOSE
                                                                     : KAFKA_CHANGE_REVOKE;
    rd_kafka_yield(rk);
}

void kafka_assignment_close(struct bus_consumer *consumer)
{
    struct kafka_assignment *assignment = &consumer->assignment;
    assignment->closing = true;
    if (assignment->partitions != NULL)
        answer_closing(consumer, assignment->change == KAFKA_CHANGE_ASSIGN, assignment->partitions);
}

void kafka_assignment_reset(struct bus_consumer *consumer)
{
    set_partitions(&consumer->assignment, NULL);
    consumer->assignment.change = KAFKA_CHANGE_NONE;
    consumer->assignment.releasing = false;
    consumer->streams.any_offset_out_of_range = false;
}

void kafka_assignment_destroy(struct kafka_assignment *assignment)
{
    set_partitions(assignment, NULL);
    free(assignment->event_streams);
    free(assignment->event_epochs);
}

/* ----------------------------------------------------------------------------------------------------------- events */

static bool event_room(struct kafka_assignment *assignment, size_t count)
{
    if (count <= assignment->event_size)
        return true;
    free(assignment->event_streams);
    free(assignment->event_epochs);
    assignment->event_streams = calloc(count, sizeof *assignment->event_streams);
    assignment->event_epochs = calloc(count, sizeof *assignment->event_epochs);
    assignment->event_size = assignment->event_streams == NULL || assignment->event_epochs == NULL ? 0 : count;
    return assignment->event_size > 0;
}

static struct bus_event event_of(const struct kafka_assignment *assignment, enum bus_event_kind kind, size_t count)
{
    return (struct bus_event){.kind = kind,
                              .streams = assignment->event_streams,
                              .epochs = kind == BUS_ASSIGNED ? assignment->event_epochs : NULL,
                              .stream_count = count};
}

/* -------------------------------------------------------------------------------------------------------- assigning */

/* Those of the first `count` of the last event, or of all, that are READING and, or not, behind. */
static void list_streams(const struct bus_consumer *consumer, bool of_event, size_t count, bool behind,
                         rd_kafka_topic_partition_list_t *list)
{
    const struct kafka_streams *streams = &consumer->streams;
    for (size_t i = 0; i < (of_event ? count : streams->count); i++) {
        const struct kafka_stream *stream = &streams->list[of_event ? consumer->assignment.event_streams[i] : i];
        if (stream->state == KAFKA_STREAM_READING && stream->behind == behind)
            rd_kafka_topic_partition_list_add(list, stream->topic, stream->partition)->offset = stream->next;
    }
}

/* Has librdkafka fetch streams, each from its `next` on: the first `count` of the last event, or, with the eager
 * protocol, all that are READING, since rd_kafka_assign() replaces the whole assignment. Then commits offsets that
 * waited for it.
 *
 * librdkafka begins at the end of the list, and may ask a broker before it has come to its other end. The broker
 * answers a request about partitions that have nothing only after fetch.wait.max.ms, and so long no other request is
 * made: those that have something come last. */
static void fetch_streams(struct bus_consumer *consumer, size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)consumer->streams.count);
    bool incremental = cooperative(consumer->rk);
    list_streams(consumer, incremental, count, false, list);
    list_streams(consumer, incremental, count, true, list);
    if (incremental)
        note_refused(consumer, "read", rd_kafka_incremental_assign(consumer->rk, list));
    else
        (void)rd_kafka_assign(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    kafka_commit_pending(consumer);
    consumer->pause.since_ms = clock_monotonic_ms();
}

/* When to check halted streams again: soon while an operator was not told of all of them, since one is reported at a
 * time. */
static int64_t next_check(const struct bus_consumer *consumer)
{
    int64_t wait_ms = CHECK_MS;
    for (size_t i = 0; i < consumer->streams.count; i++) {
        const struct kafka_stream *stream = &consumer->streams.list[i];
        if (stream->state != KAFKA_STREAM_HALTED)
            continue;
        if (!stream->halt_reported && !stream->no_leader)
            return clock_monotonic_ms() + ASSIGN_AGAIN_MS;
        if (stream->no_leader)
            wait_ms = CHECK_SOON_MS;
    }
    return clock_monotonic_ms() + wait_ms;
}

static int resume_offsets(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list)
{
    struct error error = {0};
    int code = kafka_instance_check_peers(consumer, &error);
    if (code == 0)
        code = kafka_resume(consumer, list, &error);
    if (code == 0)
        error = (struct error){0};
    consumer->assignment.late = error;
    if (code == -ESTALE)
        log_rarely(5000, LOG_ERROR, "kafka", "nothing is read: %s; %s", error.text, error.hint);
    else if (code != 0 && clock_monotonic_ms() > consumer->assignment.changed_ms + ASSIGN_LATE_MS)
        log_rarely(5000, LOG_WARN, "kafka", "group %s: assigned partitions cannot be read yet: %s", consumer->group,
                   error.text);
    return code;
}

/* The streams of `list` are HALTED; those whose start is known become READING. 0: *ret tells the engine of them,
 * perhaps of none. */
static int start_reading(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list, struct bus_event *ret)
{
    struct kafka_assignment *assignment = &consumer->assignment;
    size_t count = 0;
    int code = event_room(assignment, (size_t)list->cnt + 1) ? resume_offsets(consumer, list) : -ENOMEM;
    if (code != 0)
        return code;
    kafka_pause_resume_partitions(consumer);
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_stream *stream = kafka_stream_find(&consumer->streams, list->elems[i].topic,
                                                        list->elems[i].partition);
        if (stream == NULL || list->elems[i].offset < 0)
            continue;
        stream->epoch = atomic_fetch_add(&consumer->bus->last_epoch, 1) + 1;
        stream->state = KAFKA_STREAM_READING;
        stream->halt_reported = stream->topic_deleted = stream->topic_recreated = stream->at_end = false;
        stream->deleted_from = stream->deleted_to = stream->no_offset_ms = 0;
        stream->next = list->elems[i].offset;
        assignment->event_streams[count] = kafka_stream_number(&consumer->streams, stream);
        assignment->event_epochs[count++] = stream->epoch;
    }
    *ret = event_of(assignment, BUS_ASSIGNED, count);
    return 0;
}

static int tell_assigned(struct bus_consumer *consumer, struct bus_event *ret)
{
    struct kafka_assignment *assignment = &consumer->assignment;
    rd_kafka_topic_partition_list_t *list = assignment->partitions;
    if (clock_monotonic_ms() < assignment->look_ms)
        return -EAGAIN;
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_stream *stream = kafka_stream_make(&consumer->streams, list->elems[i].topic,
                                                        list->elems[i].partition);
        if (stream == NULL)
            continue;
        stream->state = KAFKA_STREAM_HALTED;
        stream->no_offset_ms = 0;
    }
    int code = start_reading(consumer, list, ret);
    if (code != 0) {
        assignment->look_ms = clock_monotonic_ms() + (code == -ESTALE ? CHECK_SOON_MS : ASSIGN_AGAIN_MS);
        return -EAGAIN;
    }
    (void)FAILPOINT("bus.assign");
    fetch_streams(consumer, ret->stream_count);
    set_partitions(assignment, NULL);
    assignment->change = KAFKA_CHANGE_NONE;
    assignment->look_ms = next_check(consumer);
    return ret->stream_count > 0 ? 0 : -EAGAIN;
}

/* Halted streams that can be read now. */
static int tell_resumed(struct bus_consumer *consumer, struct bus_event *ret)
{
    const struct kafka_streams *streams = &consumer->streams;
    if (clock_monotonic_ms() < consumer->assignment.look_ms)
        return -EAGAIN;
    consumer->assignment.look_ms = clock_monotonic_ms() + CHECK_MS;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < streams->count; i++)
        if (streams->list[i].state == KAFKA_STREAM_HALTED)
            rd_kafka_topic_partition_list_add(list, streams->list[i].topic, streams->list[i].partition);
    int code = list->cnt == 0 ? -EAGAIN : start_reading(consumer, list, ret);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == 0)
        consumer->assignment.look_ms = next_check(consumer);
    if (code != 0 || ret->stream_count == 0)
        return -EAGAIN;
    fetch_streams(consumer, ret->stream_count);
    return 0;
}

/* ----------------------------------------------------------------------------------------------------------- losing */

/* Streams whose offset is out of range: lost to the engine, and looked at as halted ones at once. */
static int tell_out_of_range(struct bus_consumer *consumer, struct bus_event *ret)
{
    struct kafka_streams *streams = &consumer->streams;
    struct kafka_assignment *assignment = &consumer->assignment;
    size_t count = 0;
    if (!event_room(assignment, streams->count + 1))
        return -EAGAIN;
    kafka_pause_resume_partitions(consumer);
    for (size_t i = 0; i < streams->count; i++) {
        struct kafka_stream *stream = &streams->list[i];
        if (stream->offset_out_of_range && stream->state == KAFKA_STREAM_READING) {
            stream->state = KAFKA_STREAM_HALTED;
            assignment->event_streams[count++] = (uint32_t)i;
        }
        stream->offset_out_of_range = false;
    }
    streams->any_offset_out_of_range = false;
    assignment->look_ms = 0;
    *ret = event_of(assignment, BUS_LOST, count);
    return count > 0 ? 0 : -EAGAIN;
}

int kafka_assignment_lose_all(struct bus_consumer *consumer, struct bus_event *ret)
{
    struct kafka_streams *streams = &consumer->streams;
    struct kafka_assignment *assignment = &consumer->assignment;
    size_t count = 0;
    if (!event_room(assignment, streams->count + 1))
        return -EAGAIN;
    for (size_t i = 0; i < streams->count; i++) {
        if (streams->list[i].state == KAFKA_STREAM_READING)
            assignment->event_streams[count++] = (uint32_t)i;
        streams->list[i].state = KAFKA_STREAM_UNASSIGNED;
        streams->list[i].offset_out_of_range = false;
    }
    *ret = event_of(assignment, BUS_LOST, count);
    return count > 0 ? 0 : -EAGAIN;
}

/* Revoked or lost. Only what the engine was told that it has is told to it, and awaited. */
static int tell_revoked(struct bus_consumer *consumer, struct bus_event *ret)
{
    struct kafka_assignment *assignment = &consumer->assignment;
    rd_kafka_topic_partition_list_t *list = assignment->partitions;
    bool lost = assignment->change == KAFKA_CHANGE_LOSE;
    size_t count = 0;
    (void)FAILPOINT("bus.revoke");
    if (!event_room(assignment, (size_t)list->cnt + 1))
        return -EAGAIN;
    kafka_pause_resume_partitions(consumer);
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_stream *stream = kafka_stream_find(&consumer->streams, list->elems[i].topic,
                                                        list->elems[i].partition);
        if (stream == NULL)
            continue;
        bool reading = stream->state == KAFKA_STREAM_READING;
        if (reading)
            assignment->event_streams[count++] = kafka_stream_number(&consumer->streams, stream);
        stream->state = reading && !lost ? KAFKA_STREAM_REVOKED : KAFKA_STREAM_UNASSIGNED;
    }
    assignment->change = KAFKA_CHANGE_NONE;
    assignment->releasing = !lost;
    *ret = event_of(assignment, lost ? BUS_LOST : BUS_REVOKED, count);
    if (!lost && count > 0)
        return 0;
    struct error error;
    (void)kafka_revoked(consumer, &error);
    return count > 0 ? 0 : -EAGAIN;
}

int kafka_revoked(struct bus_consumer *consumer, struct error *error)
{
    struct kafka_assignment *assignment = &consumer->assignment;
    struct kafka_streams *streams = &consumer->streams;
    (void)error;
    if (assignment->releasing && !rd_kafka_assignment_lost(consumer->rk))
        kafka_commit_wait(consumer);
    unassign(consumer, assignment->partitions);
    for (size_t i = 0; i < streams->count; i++)
        if (streams->list[i].state == KAFKA_STREAM_REVOKED)
            streams->list[i].state = KAFKA_STREAM_UNASSIGNED;
    set_partitions(assignment, NULL);
    assignment->releasing = false;
    return 0;
}

void kafka_halted(struct bus_consumer *consumer,
                  void (*each)(const char *what, const char *place, const char *why, void *context), void *context)
{
    const struct kafka_streams *streams = &consumer->streams;
    struct kafka_joining *joining = &consumer->joining;
    const struct kafka_assignment *assignment = &consumer->assignment;
    bool late = assignment->late.code != 0 && clock_monotonic_ms() > assignment->changed_ms + ASSIGN_LATE_MS;
    char place[300], why[600];
    if (consumer->health.outage_reported)
        kafka_joining_restart(joining); /* that no broker answers was said, and passes by itself */
    if (kafka_joining_late(joining)) {
        snprintf(why, sizeof why, "no partitions assigned for %lld s%s%s",
                 (long long)(clock_monotonic_ms() - joining->since_ms) / 1000, joining->why[0] == '\0' ? "" : ": ",
                 joining->why);
        each(NULL, NULL, why, context);
    }
    kafka_missing_each(consumer, each, context);
    if (consumer->instance.foreign[0] != '\0') {
        snprintf(why, sizeof why, "%s is in the group and no engine: what is assigned to it, nobody handles",
                 consumer->instance.foreign);
        each("everything", NULL, why, context);
    }
    for (size_t i = 0; i < streams->count; i++) {
        const struct kafka_stream *stream = &streams->list[i];
        if (stream->state != KAFKA_STREAM_HALTED)
            continue;
        if (stream->no_leader)
            snprintf(why, sizeof why, "it has no leader");
        else if (stream->deleted_to > 0)
            snprintf(why, sizeof why, "its records %lld to %lld were deleted unread", (long long)stream->deleted_from,
                     (long long)stream->deleted_to - 1);
        else if (late)
            snprintf(why, sizeof why, "%.500s", assignment->late.text);
        else
            continue; /* where to start is being looked up */
        snprintf(place, sizeof place, "%s/%d", stream->topic, (int)stream->partition);
        each("partition", place, why, context);
    }
}

int kafka_assignment_event(struct bus_consumer *consumer, struct bus_event *ret)
{
    if (consumer->assignment.releasing)
        return -EAGAIN;
    switch (consumer->assignment.change) {
    case KAFKA_CHANGE_ASSIGN:
        return tell_assigned(consumer, ret);
    case KAFKA_CHANGE_REVOKE:
    case KAFKA_CHANGE_LOSE:
        return tell_revoked(consumer, ret);
    default:
        return consumer->streams.any_offset_out_of_range ? tell_out_of_range(consumer, ret)
                                                         : tell_resumed(consumer, ret);
    }
}
