/*
 * standing.c - see standing.h.
 */
#include "bus/kafka/standing.h"

#include "bus/kafka/consumer.h"
#include "bus/kafka/metadata.h"
#include "bus/kafka/offsets.h"
#include "bus/kafka/positions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A group, looked at from outside: no member joins. */
struct outside {
    struct bus_consumer group; /* what positions.h needs of one: its name, and its connection to the store */
    struct kafka_reason reason;
    rd_kafka_t *rk;
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_partition_list_t *list; /* partitions that have a leader, of the topics asked for */
    struct kafka_offsets *offsets;         /* of each */
};

static void outside_close(struct outside *outside)
{
    free(outside->offsets);
    free(outside->group.group);
    if (outside->list != NULL)
        rd_kafka_topic_partition_list_destroy(outside->list);
    if (outside->metadata != NULL)
        rd_kafka_metadata_destroy(outside->metadata);
    if (outside->rk != NULL)
        kafka_client_end(outside->rk);
    connection_destroy(outside->group.connection);
}

static void list_topic(struct outside *outside, const rd_kafka_metadata_topic_t *topic)
{
    for (int p = 0; topic != NULL && p < topic->partition_cnt; p++)
        if (topic->partitions[p].leader >= 0)
            rd_kafka_topic_partition_list_add(outside->list, topic->topic, topic->partitions[p].id);
}

/* topics NULL: all of the brokers. */
static int outside_open(struct kafka_bus *bus, const char *group, const char *const *topics, size_t count,
                        struct outside *ret, struct error *error)
{
    *ret = (struct outside){.group.group = strdup(group), .list = rd_kafka_topic_partition_list_new(64)};
    bool store = bus->options.store != NULL;
    if (store)
        ret->group.connection = connection_create(bus->options.store, "names");
    if (ret->group.group == NULL || (store && ret->group.connection == NULL))
        return error_set(error, ENOMEM, "out of memory");
    ret->rk = kafka_client_asking(&bus->options, group, &ret->reason, error);
    int code = ret->rk == NULL ? -EINVAL : kafka_metadata(ret->rk, &ret->reason, &ret->metadata, error);
    if (code != 0)
        return code;
    for (size_t i = 0; topics != NULL && i < count; i++)
        list_topic(ret, kafka_metadata_topic(ret->metadata, topics[i]));
    for (int t = 0; topics == NULL && t < ret->metadata->topic_cnt; t++)
        list_topic(ret, &ret->metadata->topics[t]);
    ret->offsets = calloc((size_t)ret->list->cnt + 1, sizeof *ret->offsets);
    if (ret->offsets == NULL)
        return error_set(error, ENOMEM, "out of memory");
    code = ret->list->cnt == 0 ? 0 : kafka_offsets_ask(ret->rk, ret->list, KAFKA_REQUEST_MS, ret->offsets, error);
    return code == 0 && ret->list->cnt > 0 ? kafka_positions_load(&ret->group, ret->list, ret->offsets, error) : code;
}

int kafka_standing(struct bus *head, const char *group, struct bus_standing *topics, size_t count, int64_t most,
                   struct error *error)
{
    struct outside outside;
    const char **names = calloc(count + 1, sizeof *names);
    (void)most; /* nothing is read to know it */
    if (names == NULL)
        return error_set(error, ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        names[i] = topics[i].topic;
    int code = outside_open((struct kafka_bus *)head, group, names, count, &outside, error);
    for (size_t i = 0; i < count && code == 0; i++) {
        topics[i] = (struct bus_standing){.topic = names[i]};
        topics[i].exists = kafka_metadata_topic(outside.metadata, names[i]) != NULL;
        for (int p = 0; p < outside.list->cnt; p++) {
            const struct kafka_offsets *offsets = &outside.offsets[p];
            int64_t next;
            if (strcmp(outside.list->elems[p].topic, names[i]) != 0)
                continue;
            topics[i].known = topics[i].known || offsets->committed >= 0 || offsets->recorded >= 0;
            /* DELETED, too: reading stops there, and an operator is told */
            (void)kafka_start_decide(offsets, &next);
            topics[i].unread += offsets->high > next ? offsets->high - next : 0;
        }
    }
    outside_close(&outside);
    free(names);
    return code;
}

/* ---------------------------------------------------------------------------------------------------------- reading */

static void find_leaderless(const struct outside *outside, const struct bus_place *place, struct bus_reading *ret)
{
    const rd_kafka_metadata_topic_t *topic = kafka_metadata_topic(outside->metadata, place->topic);
    for (int p = 0; topic != NULL && p < topic->partition_cnt && !ret->no_leader; p++)
        if (topic->partitions[p].leader < 0 && (place->partition < 0 || topic->partitions[p].id == place->partition)) {
            ret->no_leader = true;
            ret->leaderless = topic->partitions[p].id;
        }
}

static void find_reader(const rd_kafka_ConsumerGroupDescription_t *group, const struct bus_place *place,
                        struct bus_reading *ret)
{
    ret->members = (int64_t)rd_kafka_ConsumerGroupDescription_member_count(group);
    for (int64_t i = 0; i < ret->members; i++) {
        const rd_kafka_MemberDescription_t *member = rd_kafka_ConsumerGroupDescription_member(group, (size_t)i);
        const rd_kafka_topic_partition_list_t *has = rd_kafka_MemberAssignment_partitions(
            rd_kafka_MemberDescription_assignment(member));
        for (int p = 0; has != NULL && p < has->cnt; p++)
            ret->has_reader = ret->has_reader || (has->elems[p].partition == place->partition &&
                                                  strcmp(has->elems[p].topic, place->topic) == 0);
    }
}

int kafka_reading(struct bus *head, const char *group, const struct bus_place *places, size_t count,
                  struct bus_reading *ret, struct error *error)
{
    struct outside outside;
    const rd_kafka_ConsumerGroupDescription_t *described = NULL;
    rd_kafka_event_t *event = NULL;
    const char **names = calloc(count + 1, sizeof *names);
    size_t name_count = 0;
    if (names == NULL)
        return error_set(error, ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        bool listed = false;
        for (size_t n = 0; n < name_count && !listed; n++)
            listed = strcmp(names[n], places[i].topic) == 0;
        if (!listed)
            names[name_count++] = places[i].topic;
    }
    int code = outside_open((struct kafka_bus *)head, group, names, name_count, &outside, error);
    if (code == 0)
        event = kafka_group_describe(outside.rk, group, KAFKA_REQUEST_MS, &described);
    for (size_t i = 0; i < count && code == 0; i++) {
        ret[i] = (struct bus_reading){0};
        find_leaderless(&outside, &places[i], &ret[i]);
        if (described != NULL)
            find_reader(described, &places[i], &ret[i]);
        for (int p = 0; p < outside.list->cnt; p++) {
            int64_t next = 0, offset = (int64_t)places[i].position.high;
            if (outside.list->elems[p].partition != places[i].partition ||
                strcmp(outside.list->elems[p].topic, places[i].topic) != 0)
                continue;
            (void)kafka_start_decide(&outside.offsets[p], &next);
            ret[i].consumed = offset < next;
            ret[i].before = offset > next ? offset - next : 0;
        }
    }
    if (code == 0 && described == NULL)
        code = error_set(error, EAGAIN, "the brokers do not say who is in group %s", group);
    if (event != NULL)
        rd_kafka_event_destroy(event);
    outside_close(&outside);
    free(names);
    return code;
}

/* -------------------------------------------------------------------------------------------------------- beginning */

/* Commits the list's offsets for a group that has no members, to Kafka and to the store. */
static int commit_outside(struct outside *outside, const rd_kafka_topic_partition_list_t *list, bool recorded,
                          struct error *error)
{
    if (list->cnt == 0)
        return 0;
    rd_kafka_resp_err_t err = rd_kafka_commit(outside->rk, list, 0);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return recorded ? kafka_positions_save(&outside->group, list, error) : 0;
    bool members = err == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || err == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
                   err == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    if (!members)
        return kafka_error(error, err, "the offsets that a group begins at cannot be committed");
    error_set(error, EAGAIN, "group %s: it has members, and Kafka sets the offsets of a group only while it has none",
              outside->group.group);
    error_hint(error, "stop the processes of the group that run with the earlier file");
    return -EAGAIN;
}

int kafka_begin(struct bus *head, const char *group, const char *const *topics, size_t count, const struct start *start,
                bool recorded, struct error *error)
{
    struct outside outside;
    int code = outside_open((struct kafka_bus *)head, group, topics, count, &outside, error);
    if (code == 0 && start->from == START_TIME && outside.list->cnt > 0) {
        for (int p = 0; p < outside.list->cnt; p++)
            outside.list->elems[p].offset = start->at_ms;
        rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(outside.rk, outside.list, KAFKA_REQUEST_MS);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
            code = kafka_error(error, err, "the offsets of a time cannot be looked up");
    }
    for (int p = 0; code == 0 && p < outside.list->cnt; p++) {
        rd_kafka_topic_partition_t *partition = &outside.list->elems[p];
        if (start->from == START_LATEST || (start->from == START_TIME && partition->offset < 0)) /* none so late */
            partition->offset = outside.offsets[p].high;
        else if (start->from != START_TIME)
            partition->offset = outside.offsets[p].low;
        partition->err = RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (code == 0)
        code = commit_outside(&outside, outside.list, recorded, error);
    outside_close(&outside);
    return code;
}

/* --------------------------------------------------------------------------------------------------------- renaming */

static const struct statement statement_rename = {.text = "select sluice.bus_rename_group($1, $2)"};

/* Whether members read for the group. */
static int count_members(struct outside *outside, int *ret, struct error *error)
{
    const struct rd_kafka_group_list *groups;
    rd_kafka_resp_err_t err = rd_kafka_list_groups(outside->rk, outside->group.group, &groups, KAFKA_REQUEST_MS);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, err, "the members of a group cannot be listed");
    for (int i = 0; i < groups->group_cnt; i++)
        if (strcmp(groups->groups[i].group, outside->group.group) == 0)
            *ret += groups->groups[i].member_cnt;
    rd_kafka_group_list_destroy(groups);
    return 0;
}

/* In the store first: where Kafka then has no offset, reading goes on at the position in the store. */
static int rename_positions(struct outside *outside, const char *old, const char *new_name, struct error *error)
{
    struct span names[2] = {span_of(old), span_of(new_name)};
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &names[0]), STORE_VALUE(PARAM_TEXT, &names[1])};
    struct rows *rows;
    if (outside->group.connection == NULL)
        return 0;
    return connection_once(outside->group.connection, &statement_rename, 2, params, KAFKA_REQUEST_MS, &rows, error) ==
                   STORE_OK
               ? 0
               : -EAGAIN;
}

int kafka_rename_group(struct bus *head, const char *old, const char *new_name, struct error *error)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    struct outside before, after = {0};
    rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(64);
    int code = outside_open(bus, old, NULL, 0, &before, error);
    if (code == 0)
        code = outside_open(bus, new_name, NULL, 0, &after, error);
    int members = 0;
    if (code == 0)
        code = count_members(&before, &members, error);
    if (code == 0 && members > 0)
        code = error_set(error, EAGAIN, "group %s is read under its old name by another process, which must stop first",
                         old);
    bool begun = false; /* the new name has offsets: it was renamed before */
    for (int p = 0; code == 0 && p < after.list->cnt; p++)
        begun = begun || after.offsets[p].committed >= 0;
    for (int p = 0; code == 0 && !begun && p < before.list->cnt; p++)
        if (before.offsets[p].committed >= 0)
            rd_kafka_topic_partition_list_add(offsets, before.list->elems[p].topic, before.list->elems[p].partition)
                ->offset = before.offsets[p].committed;
    if (code == 0)
        code = rename_positions(&before, old, new_name, error);
    if (code == 0)
        code = commit_outside(&after, offsets, false, error);
    rd_kafka_topic_partition_list_destroy(offsets);
    outside_close(&before);
    if (after.list != NULL)
        outside_close(&after);
    return code;
}
