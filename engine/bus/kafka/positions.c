/*
 * positions.c - see positions.h.
 */
#include "bus/kafka/positions.h"

#include "bus/kafka/consumer.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>

static const struct statement statement_load = {
    .text =
        "select t.number::int8, coalesce(p.next, 0), coalesce(p.skipped_to, 0), (p.next is not null)::int4::int8"
        " from unnest($2::text[], $3::int4[], $4::int4[]) t (topic, partition, number)"
        " left join sluice.bus_position p on p.consumer_group = $1 and p.topic = t.topic and p.partition = t.partition"
        " where exists (select from sluice.bus_position q where q.consumer_group = $1)"};
/* Reading does not wait for the disk: a server that crashes may lose the last of these, and then a little is read
 * again. */
static const struct statement statement_save = {
    .text = "with s as materialized (select set_config('synchronous_commit', 'off', true))"
            " insert into sluice.bus_position as p (consumer_group, topic, partition, next)"
            " select $1, t.* from s, unnest($2::text[], $3::int4[], $4::int8[]) t (topic, partition, next)"
            " order by t.topic, t.partition"
            " on conflict on constraint bus_position_pkey"
            " do update set next = excluded.next, at = now() where p.next < excluded.next"};
static const struct statement statement_delete = {
    .text = "delete from sluice.bus_position where consumer_group = $1 and topic = $2 and ($3 < 0 or partition = $3)"};

/* The list as parameters. */
struct position_params {
    struct span group, *topics;
    int32_t *partitions, *numbers;
    int64_t *offsets;
};

static bool params_make(struct position_params *params, const struct bus_consumer *consumer,
                        const rd_kafka_topic_partition_list_t *list)
{
    size_t count = (size_t)list->cnt;
    params->group = span_of(consumer->group);
    params->topics = calloc(count + 1, sizeof *params->topics);
    params->partitions = calloc(count + 1, 2 * sizeof *params->partitions);
    params->offsets = calloc(count + 1, sizeof *params->offsets);
    if (params->topics == NULL || params->partitions == NULL || params->offsets == NULL)
        return false;
    params->numbers = params->partitions + count;
    for (size_t i = 0; i < count; i++) {
        params->topics[i] = span_of(list->elems[i].topic);
        params->partitions[i] = list->elems[i].partition;
        params->numbers[i] = (int32_t)i;
        params->offsets[i] = list->elems[i].offset;
    }
    return true;
}

static void params_free(struct position_params *params)
{
    free(params->topics);
    free(params->partitions);
    free(params->offsets);
}

static int code_of(enum store_result result)
{
    return result == STORE_OK ? 0 : -EAGAIN;
}

int kafka_positions_load(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                         struct kafka_offsets *offsets, struct error *error)
{
    struct position_params params = {0};
    struct rows *rows = NULL;
    size_t count = (size_t)list->cnt;
    if (consumer->connection == NULL)
        return 0;
    enum store_result result = STORE_DOWN;
    if (params_make(&params, consumer, list)) {
        struct store_param values[] = {
            STORE_VALUE(PARAM_TEXT, &params.group), STORE_ARRAY(PARAM_TEXT, params.topics, count),
            STORE_ARRAY(PARAM_INT4, params.partitions, count), STORE_ARRAY(PARAM_INT4, params.numbers, count)};
        result = connection_once(consumer->connection, &statement_load, 4, values, KAFKA_REQUEST_MS, &rows, error);
    }
    for (size_t i = 0; result == STORE_OK && i < rows_count(rows); i++) {
        struct kafka_offsets *known = &offsets[rows_int64(rows, i, 0)];
        bool found = rows_int64(rows, i, 3) != 0;
        /* The store knows the group and not this partition: when Kafka has an offset for it, the database was restored
         * to before its first event, which is 0. */
        if (found || known->committed >= 0)
            known->recorded = rows_int64(rows, i, 1);
        known->skipped = rows_int64(rows, i, 2);
    }
    params_free(&params);
    return code_of(result);
}

int kafka_positions_save(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                         struct error *error)
{
    struct position_params params = {0};
    struct rows *rows = NULL;
    size_t count = (size_t)list->cnt;
    if (consumer->connection == NULL || count == 0)
        return 0;
    enum store_result result = STORE_DOWN;
    if (params_make(&params, consumer, list)) {
        struct store_param values[] = {
            STORE_VALUE(PARAM_TEXT, &params.group), STORE_ARRAY(PARAM_TEXT, params.topics, count),
            STORE_ARRAY(PARAM_INT4, params.partitions, count), STORE_ARRAY(PARAM_INT8, params.offsets, count)};
        result = connection_once(consumer->connection, &statement_save, 4, values, KAFKA_REQUEST_MS, &rows, error);
    }
    params_free(&params);
    return code_of(result);
}

int kafka_positions_delete(struct bus_consumer *consumer, const char *topic, int32_t partition, struct error *error)
{
    struct span group = span_of(consumer->group), name = span_of(topic);
    struct rows *rows = NULL;
    if (consumer->connection == NULL)
        return 0;
    struct store_param values[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_TEXT, &name),
                                   STORE_VALUE(PARAM_INT4, &partition)};
    return code_of(connection_once(consumer->connection, &statement_delete, 3, values, KAFKA_REQUEST_MS, &rows, error));
}
