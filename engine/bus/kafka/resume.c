/*
 * resume.c - from where an assigned partition is read, and the positions in the store that this rests on. See
 * bus.h.
 *
 * Two memories of how far a group has come: the offset in Kafka, and the row in the store, written before it and in
 * the same database as the effects. The lower of the two is right: what lies above it is read again and found done
 * where it was. Neither is ever taken for more than it is when the partition itself says otherwise (it ends before
 * the position, or begins after it).
 */
#include "bus/kafka/bus.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct statement statement_load = {
    .text =
        "SELECT t.number::int8, coalesce(p.next, 0), coalesce(p.skipped_to, 0), (p.next IS NOT NULL)::int4::int8"
        " FROM unnest($2::text[], $3::int4[], $4::int4[]) t (topic, partition, number)"
        " LEFT JOIN sluice.bus_position p ON p.consumer_group = $1 AND p.topic = t.topic AND p.partition = t.partition"
        " WHERE EXISTS (SELECT FROM sluice.bus_position q WHERE q.consumer_group = $1)"};
/* Reading does not wait for the disk: a server that crashes may forget the last of these, and then a little is read
 * again. */
static const struct statement statement_save = {
    .text = "WITH s AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))"
            " INSERT INTO sluice.bus_position AS p (consumer_group, topic, partition, next)"
            " SELECT $1, t.* FROM s, unnest($2::text[], $3::int4[], $4::int8[]) t (topic, partition, next)"
            " ORDER BY t.topic, t.partition"
            " ON CONFLICT ON CONSTRAINT bus_position_pkey"
            " DO UPDATE SET next = excluded.next, at = now() WHERE p.next < excluded.next"};
static const struct statement statement_forget = {
    .text = "DELETE FROM sluice.bus_position WHERE consumer_group = $1 AND topic = $2 AND ($3 < 0 OR partition = $3)"};

enum kafka_start kafka_start_decide(const struct kafka_place *place, int64_t *ret_offset)
{
    bool committed = place->committed >= 0, recorded = place->recorded >= 0;
    int64_t base = committed && (!recorded || place->committed < place->recorded) ? place->committed : place->recorded;

    *ret_offset = place->low;
    if (place->remade)
        return KAFKA_START_ANEW;
    if (!committed && !recorded)
        return KAFKA_START_NEW;
    if (base < place->skipped)
        base = place->skipped;
    if (base > place->high)
        return KAFKA_START_ANEW;
    if (base < place->low)
        return KAFKA_START_GONE;
    *ret_offset = base;
    if (!committed)
        return KAFKA_START_RECORDED;
    return recorded && place->committed > place->recorded ? KAFKA_START_BEHIND : KAFKA_START_ON;
}

/* -------------------------------------------------------------------------------------------------------- the store */

/* The parameters that all three statements share. */
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

static int store_code(enum store_result result)
{
    return result == STORE_OK ? 0 : -EAGAIN;
}

/* places[i].recorded of list's i-th. */
static int positions_load(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                          struct kafka_place *places, struct error *error)
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
        result = connection_once(consumer->connection, &statement_load, 4, values, KAFKA_WAIT_MS, &rows, error);
    }
    for (size_t i = 0; result == STORE_OK && i < rows_count(rows); i++) {
        struct kafka_place *place = &places[rows_int64(rows, i, 0)];
        /* A group that is known, and a partition that is not: there is an offset in Kafka only if the database was
         * restored to before it. */
        if (rows_int64(rows, i, 3) != 0 || place->committed >= 0)
            place->recorded = rows_int64(rows, i, 1);
        place->skipped = rows_int64(rows, i, 2);
    }
    params_free(&params);
    return store_code(result);
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
        result = connection_once(consumer->connection, &statement_save, 4, values, KAFKA_WAIT_MS, &rows, error);
    }
    params_free(&params);
    return store_code(result);
}

int kafka_positions_forget(struct bus_consumer *consumer, const char *topic, int32_t partition, struct error *error)
{
    struct span group = span_of(consumer->group), name = span_of(topic);
    struct rows *rows = NULL;
    if (consumer->connection == NULL)
        return 0;
    struct store_param values[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_TEXT, &name),
                                   STORE_VALUE(PARAM_INT4, &partition)};
    return store_code(connection_once(consumer->connection, &statement_forget, 3, values, KAFKA_WAIT_MS, &rows, error));
}

/* -------------------------------------------------------------------------------------------------------- the
 * brokers */

/* ListOffsets takes these in the place of a timestamp. */
enum { OFFSETS_EARLIEST = -2, OFFSETS_LATEST = -1 };

static int offsets_at(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int64_t which, int wait_ms,
                      int64_t *ret, size_t stride, struct error *error)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < asked->cnt; i++)
        asked->elems[i].offset = which;
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, asked, wait_ms);
    for (int i = 0; i < asked->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        const rd_kafka_topic_partition_t *answer = rd_kafka_topic_partition_list_find(asked, list->elems[i].topic,
                                                                                      list->elems[i].partition);
        err = answer->err;
        *(int64_t *)(void *)((char *)ret + (size_t)i * stride) = answer->offset;
    }
    rd_kafka_topic_partition_list_destroy(asked);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : kafka_error(error, err, "the brokers do not say where partitions begin and end");
}

/* What the brokers know of list's partitions; nothing is recorded. */
static int places_ask(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int wait_ms,
                      struct kafka_place *places, struct error *error)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_resp_err_t err = rd_kafka_committed(rk, asked, wait_ms);
    for (int i = 0; i < list->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        const rd_kafka_topic_partition_t *answer = rd_kafka_topic_partition_list_find(asked, list->elems[i].topic,
                                                                                      list->elems[i].partition);
        err = answer->err;
        places[i] = (struct kafka_place){.committed = answer->offset >= 0 ? answer->offset : -1, .recorded = -1};
    }
    rd_kafka_topic_partition_list_destroy(asked);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, err, "the brokers do not say what the group has committed");
    int code = offsets_at(rk, list, OFFSETS_EARLIEST, wait_ms, &places[0].low, sizeof *places, error);
    return code == 0 ? offsets_at(rk, list, OFFSETS_LATEST, wait_ms, &places[0].high, sizeof *places, error) : code;
}

/* The client of the group's consumer in this process, held, and a copy of what it subscribes to; NULL: there is
 * none. */
static struct kafka_client *client_of(struct kafka_bus *bus, const char *group,
                                      rd_kafka_topic_partition_list_t **ret_topics)
{
    struct kafka_client *client = NULL;
    pthread_mutex_lock(&bus->lock);
    for (struct bus_consumer *consumer = bus->consumers; consumer != NULL && client == NULL;
         consumer = consumer->next) {
        if (strcmp(consumer->group, group) != 0)
            continue;
        client = consumer->client;
        atomic_fetch_add_explicit(&client->holders, 1, memory_order_relaxed);
        *ret_topics = rd_kafka_topic_partition_list_copy(consumer->subscription);
    }
    pthread_mutex_unlock(&bus->lock);
    return client;
}

int64_t kafka_lag(struct bus *head, const char *group)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_partition_list_t *topics, *list = rd_kafka_topic_partition_list_new(64);
    struct kafka_client *client = client_of((struct kafka_bus *)head, group, &topics);
    struct error error;
    int64_t lag = client == NULL ? -ENOENT : -EAGAIN;
    if (client != NULL &&
        rd_kafka_metadata(client->rk, 0, NULL, &metadata, KAFKA_LAG_WAIT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int t = 0; t < metadata->topic_cnt; t++)
            for (int p = 0; p < metadata->topics[t].partition_cnt; p++)
                if (metadata->topics[t].partitions[p].leader >= 0 &&
                    rd_kafka_topic_partition_list_find(topics, metadata->topics[t].topic, RD_KAFKA_PARTITION_UA) !=
                        NULL)
                    rd_kafka_topic_partition_list_add(list, metadata->topics[t].topic,
                                                      metadata->topics[t].partitions[p].id);
        rd_kafka_metadata_destroy(metadata);
        struct kafka_place *places = calloc((size_t)list->cnt + 1, sizeof *places);
        if (places != NULL &&
            (list->cnt == 0 || places_ask(client->rk, list, KAFKA_LAG_WAIT_MS, places, &error) == 0)) {
            lag = 0;
            for (int i = 0; i < list->cnt; i++) {
                int64_t from = places[i].committed > places[i].low ? places[i].committed : places[i].low;
                lag += places[i].high > from ? places[i].high - from : 0;
            }
        }
        free(places);
    }
    if (client != NULL) {
        rd_kafka_topic_partition_list_destroy(topics);
        kafka_client_release(client);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return lag;
}

/* ------------------------------------------------------------------------------------------------------------
 * saying */

static void start_say(struct bus_consumer *consumer, const rd_kafka_topic_partition_t *partition,
                      enum kafka_start start, const struct kafka_place *place, int64_t offset)
{
    struct kafka_stream *stream = kafka_stream_find(consumer, partition->topic, partition->partition);
    const char *topic = partition->topic, *group = consumer->group;
    int number = (int)partition->partition;
    switch (start) {
    case KAFKA_START_NEW:
        break;
    case KAFKA_START_ON:
        if (consumer->connection == NULL || place->recorded >= 0 || consumer->told_unknown)
            break;
        consumer->told_unknown = true;
        log_warn("kafka",
                 "group %s: Kafka has its offsets, and the database knows nothing of the group: a new one, or not the "
                 "one that it worked with? What "
                 "lies below the offsets is not read; stop, and delete the group in Kafka, if it should be",
                 group);
        break;
    case KAFKA_START_RECORDED:
        log_warn(
            "kafka",
            "group %s: Kafka has no offset for partition %d of %s; reading goes on at %lld, which the database knows",
            group, number, topic, (long long)offset);
        break;
    case KAFKA_START_BEHIND:
        log_warn("kafka",
                 "group %s: partition %d of %s is committed up to %lld in Kafka, but the database says that only what "
                 "is below %lld is done "
                 "(restored from a backup, or the offset was moved); it is read from there",
                 group, number, topic, (long long)place->committed, (long long)place->recorded);
        break;
    case KAFKA_START_ANEW:
        if (place->remade)
            log_warn("kafka",
                     "group %s: the offset of partition %d of %s is gone: the topic was made anew; it is read from its "
                     "first record, %lld",
                     group, number, topic, (long long)offset);
        else
            log_warn("kafka",
                     "group %s: partition %d of %s ends at %lld, before the group's position: the topic was made anew "
                     "or cut; it is read from its "
                     "first record, %lld",
                     group, number, topic, (long long)place->high, (long long)offset);
        break;
    case KAFKA_START_GONE:
        if (stream == NULL || stream->said || consumer->fault.code != 0)
            break; /* of several one is told at a time */
        stream->said = true;
        error_set(&consumer->fault, ENODATA,
                  "group %s stopped reading partition %d of %s: its next record is %lld, and the brokers have deleted "
                  "everything below %lld "
                  "(retention?)",
                  group, number, topic, (long long)(place->committed < 0 ? place->recorded : place->committed),
                  (long long)place->low);
        if (consumer->connection != NULL)
            error_hint(&consumer->fault,
                       "to go on without them: select sluice.bus_skip('%s', '%s', %d, %lld) in the database of `store`",
                       group, topic, number, (long long)place->low);
        else
            error_hint(&consumer->fault,
                       "to go on without them: stop the group, set its offset to %lld, start it again",
                       (long long)place->low);
        break;
    }
}

/* The topic was made anew. librdkafka remembers what this process committed of the old one, and would commit nothing
 * below. */
static int start_anew(struct bus_consumer *consumer, const rd_kafka_topic_partition_t *partition, int64_t offset,
                      struct error *error)
{
    rd_kafka_topic_partition_list_t *first = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(first, partition->topic, partition->partition)->offset = offset;
    int code = kafka_positions_forget(consumer, partition->topic, partition->partition, error);
    if (code == 0)
        code = kafka_positions_save(consumer, first, error);
    if (code == 0)
        code = kafka_commit_anew(consumer, first, error);
    rd_kafka_topic_partition_list_destroy(first);
    return code;
}

/* A group with members loses an offset only with the topic. Then so do the topic's other partitions; of one that is
 * longer than the old one the brokers say nothing: reading would go on in its middle. */
static bool start_remade(struct bus_consumer *consumer, struct kafka_stream *stream, const struct kafka_place *place)
{
    bool lost = stream->kept && place->committed < 0;
    for (size_t i = 0; lost && !stream->old && i < consumer->stream_count; i++) {
        struct kafka_stream *other = &consumer->streams[i];
        if (other->state == KAFKA_STREAM_HELD && strcmp(other->topic, stream->topic) == 0)
            other->gone = other->old = consumer->gone = true;
    }
    if (!lost)
        stream->kept = place->committed >= 0;
    return lost || stream->old;
}

static bool has_leader(const struct rd_kafka_metadata *metadata, const rd_kafka_topic_partition_t *partition)
{
    for (int t = 0; t < metadata->topic_cnt; t++)
        for (int p = 0;
             p < metadata->topics[t].partition_cnt && strcmp(metadata->topics[t].topic, partition->topic) == 0; p++)
            if (metadata->topics[t].partitions[p].id == partition->partition)
                return metadata->topics[t].partitions[p].leader >= 0;
    return false;
}

/* Those of `list` that somebody can be asked about. NULL: the brokers do not say. */
static rd_kafka_topic_partition_list_t *led(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                                            struct error *error)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t err = rd_kafka_metadata(consumer->rk, 0, NULL, &metadata, KAFKA_WAIT_MS);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        kafka_error(error, err, "the brokers do not say who leads partitions");
        return NULL;
    }
    rd_kafka_topic_partition_list_t *some = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *partition = &list->elems[i];
        struct kafka_stream *stream = kafka_stream_find(consumer, partition->topic, partition->partition);
        bool is_led = has_leader(metadata, partition);
        if (stream != NULL)
            stream->headless = !is_led;
        if (is_led)
            rd_kafka_topic_partition_list_add(some, partition->topic, partition->partition);
        else
            log_rarely(10000, LOG_WARN, "kafka",
                       "group %s: partition %d of %s has no leader; it is read when it has one", consumer->group,
                       (int)partition->partition, partition->topic);
    }
    rd_kafka_metadata_destroy(metadata);
    return some;
}

/* The same of partitions that have leaders. */
static int start_led(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list, struct error *error)
{
    struct kafka_place *places = calloc((size_t)list->cnt + 1, sizeof *places);
    if (places == NULL)
        return error_set(error, ENOMEM, "out of memory");
    int code = list->cnt == 0 ? 0 : places_ask(consumer->rk, list, KAFKA_WAIT_MS, places, error);
    if (code == 0 && list->cnt > 0)
        code = positions_load(consumer, list, places, error);
    for (int i = 0; i < list->cnt && code == 0; i++) {
        int64_t offset = 0;
        struct kafka_stream *stream = kafka_stream_find(consumer, list->elems[i].topic, list->elems[i].partition);
        if (stream != NULL)
            places[i].remade = start_remade(consumer, stream, &places[i]);
        enum kafka_start start = kafka_start_decide(&places[i], &offset);
        start_say(consumer, &list->elems[i], start, &places[i], offset);
        if (stream != NULL)
            stream->unsaid = start == KAFKA_START_RECORDED;
        if (start == KAFKA_START_ANEW)
            code = start_anew(consumer, &list->elems[i], offset, error);
        list->elems[i].offset = start == KAFKA_START_GONE ? RD_KAFKA_OFFSET_INVALID : offset;
    }
    free(places);
    return code;
}

int kafka_start_offsets(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list, struct error *error)
{
    rd_kafka_topic_partition_list_t *some = led(consumer, list, error);
    int code = some == NULL ? -EAGAIN : start_led(consumer, some, error);
    for (int i = 0; code == 0 && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *known = rd_kafka_topic_partition_list_find(some, list->elems[i].topic,
                                                                                     list->elems[i].partition);
        list->elems[i].offset = known == NULL ? RD_KAFKA_OFFSET_INVALID : known->offset;
    }
    if (some != NULL)
        rd_kafka_topic_partition_list_destroy(some);
    return code;
}
