/*
 * postgres_group.c - membership of the postgres bus: joining, ticking, committing, leaving. See postgres.h.
 *
 * The database decides; a tick brings what it decided, and postgres_heed() turns the difference to what this
 * consumer knew into states of its streams, which poll() then tells the engine.
 */
#include "bus/postgres.h"

#include "base/clock.h"
#include "base/failpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct statement statement_join = {.text = "select sluice.bus_join($1, $2, $3)"};
static const struct statement statement_tick = {
    .text = "select kind, item, epoch, high, low from sluice.bus_heartbeat($1, $2, $3, $4, $5, $6, $7, $8)"};
static const struct statement statement_release = {.text = "select sluice.bus_release($1, $2, $3)"};
static const struct statement statement_leave = {.text = "select sluice.bus_leave($1, $2)"};
static const struct statement statement_commit = {
    .text = "update sluice.bus_lease l set high = c.high, low = c.low"
            " from unnest($3::int4[], $4::int4[], $5::int8[], $6::int8[]) c (partition, epoch, high, low)"
            " where l.consumer_group = $1 and l.partition = c.partition and l.member = $2 and l.epoch = c.epoch"
            " and (l.high, l.low) < (c.high, c.low) and current_setting('sluice.bus_reader', true) = $2::text"};
/* A planted bug: takes the word of whoever comes. */
static const struct statement statement_commit_mutated = {
    .text = "update sluice.bus_lease l set high = c.high, low = c.low"
            " from unnest($3::int4[], $4::int4[], $5::int8[], $6::int8[]) c (partition, epoch, high, low)"
            " where l.consumer_group = $1 and $2::int8 > 0 and l.partition = c.partition and c.epoch >= 0"};

enum { TICK_GROUP = 0, TICK_HELD = 1, TICK_EXCESS = 2, TICK_DEAD = 3 }; /* kinds of rows of bus_tick() */

static void consumer_free(struct bus_consumer *consumer)
{
    if (consumer == NULL)
        return;
    for (size_t i = 0; i < consumer->pending_count; i++)
        bus_chunk_release(consumer->pending[consumer->pending_first + i].chunk, 1);
    connection_destroy(consumer->connection);
    if (consumer->event_fd >= 0)
        close(consumer->event_fd);
    for (size_t i = 0; consumer->topics != NULL && i < consumer->topic_count; i++)
        free(consumer->topics[i]);
    free(consumer->topics);
    free(consumer->group);
    free(consumer->streams);
    free(consumer->pending);
    free(consumer->listed_streams);
    free(consumer->listed_epochs);
    free(consumer->ask_partitions);
    free(consumer->ask_epochs);
    free(consumer->ask_highs);
    free(consumer->ask_lows);
    free(consumer);
}

int postgres_subscribe(struct bus *head, const struct bus_subscription *subscription, struct bus_consumer **ret,
                       struct error *error)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    size_t partitions = bus->partition_count;
    int agreed = postgres_agree(bus, error);
    if (agreed != 0)
        return agreed;
    struct bus_consumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL)
        return error_set(error, ENOMEM, "out of memory while subscribing group \"%s\"", subscription->group);
    consumer->bus = bus;
    consumer->poll_records = subscription->poll_records != 0 ? subscription->poll_records : 500;
    consumer->poll_bytes = subscription->poll_bytes != 0 ? subscription->poll_bytes : 1024 * 1024;
    consumer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    consumer->connection = connection_create(bus->store, subscription->group);
    consumer->group = strdup(subscription->group);
    consumer->streams = calloc(partitions, sizeof *consumer->streams);
    consumer->listed_streams = calloc(partitions, sizeof *consumer->listed_streams);
    consumer->listed_epochs = calloc(partitions, sizeof *consumer->listed_epochs);
    consumer->ask_partitions = calloc(partitions, sizeof *consumer->ask_partitions);
    consumer->ask_epochs = calloc(partitions, sizeof *consumer->ask_epochs);
    consumer->ask_highs = calloc(partitions, sizeof *consumer->ask_highs);
    consumer->ask_lows = calloc(partitions, sizeof *consumer->ask_lows);
    consumer->topics = calloc(subscription->topic_count + 1, sizeof *consumer->topics);
    bool enough = consumer->event_fd >= 0 && consumer->connection != NULL && consumer->group != NULL &&
                  consumer->streams != NULL && consumer->listed_streams != NULL && consumer->listed_epochs != NULL &&
                  consumer->ask_partitions != NULL && consumer->ask_epochs != NULL && consumer->ask_highs != NULL &&
                  consumer->ask_lows != NULL && consumer->topics != NULL;
    for (size_t i = 0; enough && i < subscription->topic_count; i++) {
        consumer->topics[i] = strdup(subscription->topics[i]);
        enough = consumer->topics[i] != NULL;
        consumer->topic_count++;
    }
    if (!enough) {
        consumer_free(consumer);
        return error_set(error, ENOMEM, "out of memory or file descriptors while subscribing group \"%s\"",
                         subscription->group);
    }
    pthread_mutex_lock(&bus->consumers_lock);
    consumer->next = bus->consumers;
    bus->consumers = consumer;
    pthread_mutex_unlock(&bus->consumers_lock);
    atomic_fetch_add(&bus->consumer_count, 1);
    *ret = consumer; /* joins with its first poll, which can wait for a database that is away */
    return 0;
}

int postgres_failed(struct bus_consumer *consumer, enum store_result result, struct error *error)
{
    if (result == STORE_DEPLOY || result == STORE_DATA)
        return -EPROTO;
    int64_t now = clock_monotonic_ms();
    consumer->down_ms = consumer->down_ms == 0 ? 50 : consumer->down_ms < 800 ? consumer->down_ms * 2 : 1000;
    consumer->tick_ms = consumer->fetch_ms = now + consumer->down_ms;
    if (result != STORE_TRANSIENT && !consumer->down && error != NULL) {
        consumer->down = true;
        consumer->fault = *error;
        error_prefix(&consumer->fault, "group \"%s\" cannot reach the bus and keeps trying", consumer->group);
    }
    return 0;
}

static enum store_result postgres_join(struct bus_consumer *consumer, struct error *error)
{
    struct span group = span_of(consumer->group), process = span_of(consumer->bus->process);
    struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_TEXT, &process),
                                   STORE_VALUE(PARAM_TEXT, &process)};
    struct rows *rows;
    enum store_result result = connection_once(consumer->connection, &statement_join, 3, params, STATEMENT_MS, &rows,
                                               error);
    if (result != STORE_OK)
        return result;
    atomic_store(&consumer->member, rows_int64(rows, 0, 0));
    consumer->joined = true;
    return STORE_OK;
}

/* True for a stream that the engine knows of and may have records of. */
static bool stream_out(const struct stream *stream)
{
    return stream->state == STREAM_HELD || stream->state == STREAM_RECALLED || stream->state == STREAM_RETURNING;
}

static void stream_give(struct stream *stream, uint32_t epoch, struct position done)
{
    *stream = (struct stream){.state = STREAM_GIVEN, .epoch = epoch, .done = done, .queued = done, .cursor = done};
}

static void stream_lose(struct bus_consumer *consumer, uint32_t p)
{
    struct stream *stream = &consumer->streams[p];
    if (stream_out(stream)) {
        stream->state = STREAM_LOST;
        postgres_forget(consumer, p);
    } else if (stream->state == STREAM_GIVEN) {
        stream->state = STREAM_NONE;
    }
}

/* Brings the streams into line with what a tick said. */
static void postgres_heed(struct bus_consumer *consumer, const struct rows *rows)
{
    uint32_t partitions = consumer->bus->partition_count, held = 0, quota = 0;
    int64_t now = clock_monotonic_ms();
    bool company = false;
    consumer->ticked_ms = now;
    bool *seen = calloc(partitions, sizeof *seen);
    for (size_t i = 0; seen != NULL && i < rows_count(rows); i++) {
        int64_t kind = rows_int64(rows, i, 0);
        uint32_t item = (uint32_t)rows_int64(rows, i, 1), epoch = (uint32_t)rows_int64(rows, i, 2);
        struct position done = {(uint64_t)rows_int64(rows, i, 3), (uint64_t)rows_int64(rows, i, 4)};
        if (kind == TICK_DEAD) {
            consumer->joined = false;
        } else if (kind == TICK_GROUP) {
            company = item > 1;
            quota = epoch;
            atomic_store(&consumer->bus->peers, done.high != 0);
        } else if (item < partitions) {
            struct stream *stream = &consumer->streams[item];
            seen[item] = true;
            held++;
            if (stream->state != STREAM_NONE && stream->state != STREAM_LOST && stream->epoch != epoch)
                stream_lose(consumer, item);
            if (stream->state == STREAM_NONE)
                stream_give(stream, epoch, done);
            else if (kind == TICK_EXCESS && stream->state == STREAM_HELD)
                stream->state = STREAM_RECALLED;
            else if (kind == TICK_HELD && stream->state == STREAM_RECALLED)
                stream->state = STREAM_HELD;
        }
    }
    bool lost = false;
    for (uint32_t p = 0; seen != NULL && p < partitions; p++) {
        if (!seen[p])
            stream_lose(consumer, p);
        lost = lost || consumer->streams[p].state == STREAM_LOST;
    }
    free(seen);
    consumer->tick_ms = !consumer->joined || lost ? now
                                                  : now + (held < quota ? TICK_SOON_MS
                                                           : company    ? TICK_MS
                                                                        : TICK_ALONE_MS);
}

/* Streams of which nothing is out move over what was for others: to be written with the tick. Returns how many. */
static size_t postgres_promotions(struct bus_consumer *consumer)
{
    size_t count = 0;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++) {
        struct stream *stream = &consumer->streams[p];
        if (stream->state != STREAM_HELD || position_compare(stream->done, stream->queued) < 0 ||
            position_compare(stream->cursor, stream->done) <= 0)
            continue;
        if (!stream->foreign && stream->cursor.high - stream->done.high < PROMOTE_XIDS)
            continue;
        consumer->ask_partitions[count] = (int32_t)p;
        consumer->ask_epochs[count] = (int32_t)stream->epoch;
        consumer->ask_highs[count] = (int64_t)stream->cursor.high;
        consumer->ask_lows[count++] = (int64_t)stream->cursor.low;
    }
    return count;
}

int postgres_tick(struct bus_consumer *consumer, struct error *error)
{
    enum store_result result = STORE_OK;
    if (FAILPOINT("bus.heartbeat") == FAILPOINT_ERROR) {
        consumer->tick_ms = clock_monotonic_ms() + TICK_SOON_MS;
        return 0;
    }
    if (!consumer->joined)
        result = postgres_join(consumer, error);
    if (result != STORE_OK)
        return postgres_failed(consumer, result, error);

    struct span group = span_of(consumer->group);
    int64_t member = atomic_load(&consumer->member), ttl_ms = TTL_MS, grace_ms = GRACE_MS;
    size_t count = postgres_promotions(consumer);
    struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &group),
        STORE_VALUE(PARAM_INT8, &member),
        STORE_VALUE(PARAM_INT8, &ttl_ms),
        STORE_VALUE(PARAM_INT8, &grace_ms),
        STORE_ARRAY(PARAM_INT4, consumer->ask_partitions, count),
        STORE_ARRAY(PARAM_INT4, consumer->ask_epochs, count),
        STORE_ARRAY(PARAM_INT8, consumer->ask_highs, count),
        STORE_ARRAY(PARAM_INT8, consumer->ask_lows, count),
    };
    struct rows *rows;
    result = connection_once(consumer->connection, &statement_tick, 8, params, STATEMENT_MS, &rows, error);
    if (result != STORE_OK)
        return postgres_failed(consumer, result, error);
    for (size_t i = 0; i < count; i++) {
        struct stream *stream = &consumer->streams[consumer->ask_partitions[i]];
        stream->done = (struct position){(uint64_t)consumer->ask_highs[i], (uint64_t)consumer->ask_lows[i]};
        stream->foreign = false;
    }
    consumer->down = false;
    consumer->down_ms = 0;
    postgres_heed(consumer, rows);
    return 0;
}

int postgres_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                    const struct position *positions, struct error *error)
{
    bool any_epoch = FAILPOINT("bus.epoch.mutate") == FAILPOINT_MUTATE;
    if (FAILPOINT("bus.commit.before") == FAILPOINT_ERROR)
        return error_set(error, EAGAIN, "committing failed on purpose (failpoint bus.commit.before)");
    size_t asked = 0;
    for (size_t i = 0; i < count && asked < consumer->bus->partition_count; i++) {
        if (streams[i] >= consumer->bus->partition_count)
            continue;
        const struct stream *stream = &consumer->streams[streams[i]];
        if (!any_epoch &&
            (!stream_out(stream) || stream->epoch != epochs[i] || position_compare(positions[i], stream->done) <= 0))
            continue;
        /* With the last of what is out complete, what was read past it for others is complete, too. */
        struct position position = positions[i];
        if (!any_epoch && position_compare(position, stream->queued) >= 0 &&
            position_compare(stream->cursor, position) > 0)
            position = stream->cursor;
        consumer->ask_partitions[asked] = (int32_t)streams[i];
        consumer->ask_epochs[asked] = (int32_t)epochs[i];
        consumer->ask_highs[asked] = (int64_t)position.high;
        consumer->ask_lows[asked++] = (int64_t)position.low;
    }
    if (asked == 0)
        return 0;
    struct span group = span_of(consumer->group);
    int64_t member = atomic_load(&consumer->member);
    struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &group),
        STORE_VALUE(PARAM_INT8, &member),
        STORE_ARRAY(PARAM_INT4, consumer->ask_partitions, asked),
        STORE_ARRAY(PARAM_INT4, consumer->ask_epochs, asked),
        STORE_ARRAY(PARAM_INT8, consumer->ask_highs, asked),
        STORE_ARRAY(PARAM_INT8, consumer->ask_lows, asked),
    };
    struct rows *rows;
    enum store_result result = connection_once(consumer->connection,
                                               any_epoch ? &statement_commit_mutated : &statement_commit, 6, params,
                                               STATEMENT_MS, &rows, error);
    if (result != STORE_OK) {
        error_prefix(error, "group \"%s\" cannot commit its positions", consumer->group);
        return result == STORE_DEPLOY || result == STORE_DATA ? -EPROTO : -EAGAIN;
    }
    for (size_t i = 0; i < asked && !any_epoch; i++) {
        struct stream *stream = &consumer->streams[consumer->ask_partitions[i]];
        stream->done = (struct position){(uint64_t)consumer->ask_highs[i], (uint64_t)consumer->ask_lows[i]};
    }
    (void)FAILPOINT("bus.commit.after");
    return 0;
}

int postgres_revoked(struct bus_consumer *consumer, struct error *error)
{
    size_t count = 0;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++)
        if (consumer->streams[p].state == STREAM_RETURNING)
            consumer->ask_partitions[count++] = (int32_t)p;
    if (count == 0)
        return 0;
    struct span group = span_of(consumer->group);
    int64_t member = atomic_load(&consumer->member);
    struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_INT8, &member),
                                   STORE_ARRAY(PARAM_INT4, consumer->ask_partitions, count)};
    struct rows *rows;
    enum store_result result = connection_once(consumer->connection, &statement_release, 3, params, STATEMENT_MS, &rows,
                                               error);
    /* Failed: the next tick finds that it still holds them, gives them to the engine again with the same epoch and
     * recalls them. */
    for (size_t i = 0; i < count; i++)
        consumer->streams[consumer->ask_partitions[i]].state = STREAM_NONE;
    consumer->tick_ms = clock_monotonic_ms();
    if (result == STORE_OK || result == STORE_DOWN || result == STORE_TRANSIENT || result == STORE_UNKNOWN)
        return 0;
    error_prefix(error, "group \"%s\" cannot give partitions up", consumer->group);
    return -EPROTO;
}

void postgres_unsubscribe(struct bus_consumer *consumer)
{
    if (consumer == NULL)
        return;
    struct postgres_bus *bus = consumer->bus;
    pthread_mutex_lock(&bus->consumers_lock);
    for (struct bus_consumer **at = &bus->consumers; *at != NULL; at = &(*at)->next) {
        if (*at != consumer)
            continue;
        *at = consumer->next;
        break;
    }
    pthread_mutex_unlock(&bus->consumers_lock);
    atomic_fetch_sub(&bus->consumer_count, 1);
    if (consumer->joined) {
        struct span group = span_of(consumer->group);
        int64_t member = atomic_load(&consumer->member);
        struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_INT8, &member)};
        struct rows *rows;
        /* If it fails, peers find the session gone within GRACE_MS and a tick. */
        (void)connection_once(consumer->connection, &statement_leave, 2, params, STATEMENT_MS, &rows, NULL);
    }
    consumer_free(consumer);
}
