/*
 * member.c - joining a group of the postgres bus, and what its other members read. See postgres.h.
 */
#include "bus/postgres/postgres.h"

#include "base/log.h"

#include <stdlib.h>

static const struct statement statement_join = {.text = "select sluice.bus_join($1, $2, $3, $4)"};
static const struct statement statement_others = {
    .text = "select distinct t.topic from (select unnest(m.topics) from sluice.bus_member m where m.consumer_group = $1"
            " union select unnest($3::text[])) t(topic) where t.topic <> all ($2)"};

/* NULL when out of memory. */
static struct span *topic_spans(const struct bus_consumer *consumer)
{
    struct span *topics = calloc(consumer->topic_count + 1, sizeof *topics);
    for (size_t i = 0; topics != NULL && i < consumer->topic_count; i++)
        topics[i] = span_of(consumer->topics[i]);
    return topics;
}

enum store_result postgres_join(struct bus_consumer *consumer, struct error *error)
{
    struct span group = span_of(consumer->group), process = span_of(consumer->bus->process);
    struct span *topics = topic_spans(consumer);
    struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_TEXT, &process),
                                   STORE_VALUE(PARAM_TEXT, &process),
                                   STORE_ARRAY(PARAM_TEXT, topics, topics == NULL ? 0 : consumer->topic_count)};
    struct rows *rows;
    enum store_result result = topics == NULL ? STORE_DOWN
                                              : connection_once(consumer->connection, &statement_join, 4, params,
                                                                STATEMENT_MS, &rows, error);
    free(topics);
    if (result != STORE_OK)
        return result;
    atomic_store(&consumer->member, rows_int64(rows, 0, 0));
    consumer->joined = true;
    return STORE_OK;
}

enum store_result postgres_learn_others(struct bus_consumer *consumer, int64_t newest, struct error *error)
{
    size_t known_count = consumer->others == NULL ? 0 : rows_count(consumer->others);
    struct span group = span_of(consumer->group), *topics = topic_spans(consumer),
                *known = calloc(known_count + 1, sizeof *known);
    for (size_t i = 0; known != NULL && i < known_count; i++)
        known[i] = rows_span(consumer->others, i, 0);
    bool enough = topics != NULL && known != NULL;
    struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group),
                                   STORE_ARRAY(PARAM_TEXT, topics, enough ? consumer->topic_count : 0),
                                   STORE_ARRAY(PARAM_TEXT, known, enough ? known_count : 0)};
    struct rows *rows;
    enum store_result result = !enough ? STORE_DOWN
                                       : connection_once(consumer->connection, &statement_others, 3, params,
                                                         STATEMENT_MS, &rows, error);
    free(topics);
    free(known);
    if (result != STORE_OK)
        return result;
    if (rows_count(rows) > known_count)
        log_warn("bus",
                 "group %s: a process with another file reads topics that this one does not have, like %.*s; what is "
                 "read of them here waits in sluice.parked for that process",
                 consumer->group, (int)rows_span(rows, 0, 0).length, rows_span(rows, 0, 0).at);
    if (rows_count(rows) > 0) {
        rows_free(consumer->others);
        consumer->others = rows_detach(consumer->connection, rows);
    }
    consumer->newest_member = newest;
    return STORE_OK;
}
