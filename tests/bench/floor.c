/*
 * floor.c - how fast the database itself is: the statements of a purchase in a tight loop.
 *
 *     floor URL PURCHASES THREADS BATCH                                 as on the postgres bus
 *     floor URL PURCHASES THREADS BATCH fused                           likewise, both hops in one transaction
 *     floor URL PURCHASES THREADS BATCH outbox                          as on the kafka bus
 *     floor URL PURCHASES THREADS BATCH outbox-fused                    likewise, both hops in one transaction
 *     floor URL PURCHASES THREADS BATCH BROKERS TOPIC [name=value ...]  and what is emitted goes to a topic, through
 *     bare librdkafka
 *
 * Each thread takes its share of the purchases (users, seats and reservations 1..PURCHASES, price 100) in batches,
 * two transactions a batch as the engine would: claim, payment_charge, outputs; claim, reservation_confirm, chain
 * step, outputs. Fused, they are one: both claims in one statement, payment_charge, reservation_confirm, chain step,
 * all outputs. Outputs are appended to the log, or they are a row of the outbox, which the thread's next
 * transaction deletes. With brokers the thread goes on when all of a transaction's outputs are acknowledged. Ids,
 * keys, headers and values have the bytes of the real ones. No bus is read, nothing is parsed, routed, tapped or
 * composed: what an engine needs above this is its own. Prints purchases a second.
 */
#include "base/clock.h"
#include "bus/open.h"
#include "client.h"
#include "event/record_batch.h"
#include "store/ledger.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct loop {
    pthread_t thread;
    struct store *store;
    struct bus *bus;             /* NULL: outbox */
    const char *brokers, *topic; /* NULL: nothing is published */
    const struct client_properties *more;
    rd_kafka_t *producer;
    rd_kafka_topic_t *out;
    struct buffer packed;
    int64_t published; /* the outbox row to delete; 0: none */
    uint64_t random;
    int64_t first, count;
    size_t batch;
    bool fused; /* both hops in one transaction */
    int16_t charge, confirm, chain;
    int failed;
};

struct purchase_batch { /* of at most `batch` purchases, by column */
    struct span *tx, *data;
    int64_t *user, *amount, *left, *climbed;
    struct chain_done *done;
    struct chain_noted *noted;
    struct claim *claims;   /* twice as many: of the charges, then of the confirmations */
    struct record *records; /* likewise */
};

static const struct statement charge_sql = {
    "SELECT n, decision FROM payment_charge($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "
    "$6::bigint[], $7::bigint[], $8::bigint)",
    true};
static const struct statement confirm_sql = {"SELECT n, decision, reason FROM reservation_confirm($1::bigint[], "
                                             "$2::bigint[], $3::bigint[], $4::bigint[], $5::text[])",
                                             true};

static int by_id(const void *left, const void *right)
{
    return memcmp(&((const struct claim *)left)->id, &((const struct claim *)right)->id, sizeof(struct event_id));
}

/* A correlation as producers make them: a UUID of version 4. */
static void random_id(struct loop *loop, char text[37])
{
    uint64_t halves[2];
    for (int i = 0; i < 2; i++) { /* xorshift64* */
        loop->random ^= loop->random >> 12;
        loop->random ^= loop->random << 25;
        loop->random ^= loop->random >> 27;
        halves[i] = loop->random * 2685821657736338717ULL;
    }
    struct event_id id;
    memcpy(&id, halves, sizeof id);
    event_id_format(&id, text);
    text[14] = '4';
}

/* Of what a batch emits: as run/outputs.c makes them. */
static struct header *headers_of(struct arena *arena, const char *hops, struct span parent, struct span correlation)
{
    struct header *headers = arena_array(arena, struct header, 3);
    headers[0] = (struct header){span_of(HEADER_HOPS), span_of(hops)};
    headers[1] = (struct header){span_of(HEADER_PARENT), parent};
    headers[2] = (struct header){span_of(HEADER_CORRELATION), correlation};
    return headers;
}

static void fill(struct loop *loop, struct purchase_batch *batch, struct arena *arena, int64_t from, size_t count)
{
    char parent[37], id[37], tx[37];
    for (size_t i = 0; i < count; i++) {
        int64_t n = from + (int64_t)i;
        event_id_new(clock_wall_ms(), parent);
        event_id_derive(span_of(parent), SPAN("payment.charge"), SPAN("success"), 0, id);
        random_id(loop, tx);
        batch->tx[i] = span_of(arena_format(arena, "%s", tx));
        batch->user[i] = n;
        batch->amount[i] = 100;
        batch->left[i] = 3;
        batch->data[i] = span_of(arena_format(
            arena, "{\"paymentTxId\":\"%s\",\"userId\":%lld,\"seatId\":%lld,\"amount\":100,\"reservationId\":%lld}",
            batch->tx[i].at, (long long)n, (long long)n, (long long)n));
        batch->claims[i] = (struct claim){.handler = loop->charge, .id = event_id_of(span_of(parent)), .hash = n};
        batch->done[i] = (struct chain_done){.chain = loop->chain,
                                             .correlation = event_id_of(batch->tx[i]),
                                             .correlation_text = batch->tx[i],
                                             .data = batch->data[i]};
        batch->records[i] = (struct record){
            .topic = SPAN("payment.success"),
            .key = span_of(arena_format(arena, "%lld-%lld", (long long)n, (long long)n)),
            .timestamp_ms = clock_wall_ms(),
            .headers = headers_of(arena, "1", span_of(arena_format(arena, "%s", parent)), batch->tx[i]),
            .header_count = 3,
            .value = span_of(arena_format(arena,
                                          "{\"eventId\":\"%s\",\"eventName\":\"payment.success\",\"timestamp\":\"2026-"
                                          "01-01T00:00:00.000Z\",\"data\":%s}",
                                          id, batch->data[i].at))};
    }
}

/* What a transaction emits, and its end. */
static enum store_result emit_and_commit(struct loop *loop, struct connection *connection, const struct record *records,
                                         size_t count, struct error *error)
{
    if (loop->bus != NULL) {
        enum store_result result = bus_append(loop->bus, connection, records, count, error);
        return result == STORE_OK ? connection_commit(connection, error) : result;
    }
    int64_t row = 0;
    buffer_clear(&loop->packed);
    record_batch_begin(&loop->packed);
    for (size_t i = 0; i < count; i++)
        record_batch_append(&loop->packed, 0, &records[i]);
    enum store_result result = ledger_outbox_add(connection, 1, buffer_view(&loop->packed), &row, error);
    if (result == STORE_OK && loop->published != 0)
        result = ledger_outbox_done(connection, &loop->published, 1, error);
    if (result == STORE_OK)
        result = connection_commit(connection, error);
    if (result != STORE_OK)
        return result;
    loop->published = row;
    if (loop->producer == NULL)
        return STORE_OK;
    struct client_batch sent = {0};
    for (size_t i = 0; i < count; i++) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new(records[i].header_count);
        for (size_t h = 0; h < records[i].header_count; h++)
            rd_kafka_header_add(headers, records[i].headers[h].name.at, (ssize_t)records[i].headers[h].name.length,
                                records[i].headers[h].value.at, (ssize_t)records[i].headers[h].value.length);
        client_send(loop->producer, loop->out, records[i].key.at, records[i].key.length, records[i].value.at,
                    records[i].value.length, records[i].timestamp_ms, headers, &sent);
    }
    client_await(loop->producer, &sent);
    return STORE_OK;
}

static enum store_result claim(struct connection *connection, struct claim *claims, size_t count, struct error *error)
{
    enum store_result result = connection_begin(connection, clock_monotonic_ms() + 60000, error);
    return result == STORE_OK ? ledger_claim(connection, 0, claims, count, error) : result;
}

static enum store_result charge(struct connection *connection, const struct purchase_batch *b, size_t count,
                                struct error *error)
{
    static const int64_t amount_max = 10000000;
    const struct store_param params[] = {
        STORE_ARRAY(PARAM_TEXT, b->tx, count),   STORE_ARRAY(PARAM_INT8, b->user, count),
        STORE_ARRAY(PARAM_INT8, b->user, count), STORE_ARRAY(PARAM_INT8, b->amount, count),
        STORE_ARRAY(PARAM_INT8, b->user, count), STORE_ARRAY(PARAM_INT8, b->climbed, count),
        STORE_ARRAY(PARAM_INT8, b->left, count), STORE_VALUE(PARAM_INT8, &amount_max)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &charge_sql, 8, params, &rows, error);
    if (result == STORE_OK && (rows_count(rows) != count || rows_int64(rows, 0, 1) != 0)) {
        error_set(error, 1, "the charge did not succeed; is the data seeded?");
        return STORE_DATA;
    }
    return result;
}

/* And the step of the chain. */
static enum store_result confirm(struct connection *connection, const struct purchase_batch *b, size_t count,
                                 struct error *error)
{
    const struct store_param params[] = {
        STORE_ARRAY(PARAM_INT8, b->user, count), STORE_ARRAY(PARAM_INT8, b->user, count),
        STORE_ARRAY(PARAM_INT8, b->user, count), STORE_ARRAY(PARAM_INT8, b->amount, count),
        STORE_ARRAY(PARAM_TEXT, b->tx, count)};
    struct rows *rows;
    size_t noted = 0;
    enum store_result result = connection_exec(connection, &confirm_sql, 5, params, &rows, error);
    return result == STORE_OK ? ledger_chain_done(connection, b->done, count, b->noted, &noted, error) : result;
}

static enum store_result two_hops(struct loop *loop, struct connection *connection, const struct purchase_batch *b,
                                  size_t count, struct error *error)
{
    enum store_result result = claim(connection, b->claims, count, error);
    if (result == STORE_OK)
        result = charge(connection, b, count, error);
    if (result == STORE_OK)
        result = emit_and_commit(loop, connection, b->records, count, error);
    if (result == STORE_OK)
        result = claim(connection, b->claims + count, count, error);
    if (result == STORE_OK)
        result = confirm(connection, b, count, error);
    return result == STORE_OK ? emit_and_commit(loop, connection, b->records + count, count, error) : result;
}

static enum store_result fused_hops(struct loop *loop, struct connection *connection, const struct purchase_batch *b,
                                    size_t count, struct error *error)
{
    enum store_result result = claim(connection, b->claims, 2 * count, error);
    if (result == STORE_OK)
        result = charge(connection, b, count, error);
    if (result == STORE_OK)
        result = confirm(connection, b, count, error);
    return result == STORE_OK ? emit_and_commit(loop, connection, b->records, 2 * count, error) : result;
}

/* The confirmations, from what stands there of the charges. */
static void fill_second(const struct loop *loop, struct purchase_batch *b, size_t count)
{
    qsort(b->claims, count, sizeof *b->claims, by_id);
    for (size_t i = 0; i < count; i++) {
        b->claims[count + i] = b->claims[i];
        b->claims[count + i].handler = loop->confirm;
        b->records[count + i] = b->records[i];
        b->records[count + i].topic = SPAN("reservation.success");
    }
}

static void *loop_main(void *context)
{
    struct loop *loop = context;
    struct error error = {0};
    struct arena *arena = arena_create(1 << 20, 1 << 30);
    struct connection *connection = connection_create(loop->store, "floor");
    buffer_init(&loop->packed, 1 << 30);
    if (loop->brokers != NULL) {
        loop->producer = client_producer(loop->brokers, loop->more, client_report);
        loop->out = rd_kafka_topic_new(loop->producer, loop->topic, NULL);
    }
    for (int64_t at = 0; at < loop->count && !loop->failed;) {
        size_t count = loop->count - at < (int64_t)loop->batch ? (size_t)(loop->count - at) : loop->batch;
        struct purchase_batch batch = {.tx = arena_array(arena, struct span, count),
                                       .data = arena_array(arena, struct span, count),
                                       .user = arena_array(arena, int64_t, count),
                                       .amount = arena_array(arena, int64_t, count),
                                       .left = arena_array(arena, int64_t, count),
                                       .climbed = arena_array(arena, int64_t, count),
                                       .claims = arena_array(arena, struct claim, 2 * count),
                                       .done = arena_array(arena, struct chain_done, count),
                                       .noted = arena_array(arena, struct chain_noted, count),
                                       .records = arena_array(arena, struct record, 2 * count)};
        fill(loop, &batch, arena, loop->first + at, count);
        fill_second(loop, &batch, count);
        enum store_result result = (loop->fused ? fused_hops : two_hops)(loop, connection, &batch, count, &error);
        if (result != STORE_OK) {
            fprintf(stderr, "floor: %s: %s\n", store_result_word(result), error.text);
            loop->failed = 1;
        }
        at += (int64_t)count;
        arena_reset(arena);
    }
    if (loop->producer != NULL) {
        rd_kafka_topic_destroy(loop->out);
        rd_kafka_destroy(loop->producer);
    }
    buffer_free(&loop->packed);
    connection_destroy(connection);
    arena_destroy(arena);
    return NULL;
}

int main(int argc, char **argv)
{
    enum { THREADS_MAX = 64 };
    struct loop loops[THREADS_MAX] = {0};
    struct error error = {0};
    struct store *store = NULL;
    struct bus *bus = NULL;
    struct client_properties more = {0};
    if (argc < 5 || argc - 7 > CLIENT_PROPERTIES_MAX) {
        fprintf(stderr, "usage: floor URL PURCHASES THREADS BATCH [fused | outbox | outbox-fused | BROKERS TOPIC "
                        "[name=value ...]]\n");
        return 2;
    }
    for (int i = 7; i < argc; i++)
        more.list[more.count++] = argv[i];
    const char *word = argc == 6 ? argv[5] : "";
    bool fused = strcmp(word, "fused") == 0 || strcmp(word, "outbox-fused") == 0;
    int64_t purchases = strtoll(argv[2], NULL, 10), threads = strtoll(argv[3], NULL, 10),
            batch = strtoll(argv[4], NULL, 10);
    struct store_options options = {
        .url = argv[1], .application = "floor", .connect_timeout_ms = 5000, .statement_timeout_ms = 60000};
    if (threads < 1 || threads > THREADS_MAX || store_open(&options, &store, &error) != 0) {
        fprintf(stderr, "floor: %s\n", error.text);
        return 1;
    }
    struct bus_options bus_options = {.name = "floor", .partitions = 16, .retention_ms = 86400000, .store = store};
    if ((argc == 5 || strcmp(word, "fused") == 0) && bus_postgres_open(&bus_options, &bus, &error) != 0) {
        fprintf(stderr, "floor: %s\n", error.text);
        return 1;
    }
    struct connection *connection = connection_create(store, "floor");
    struct span names[] = {SPAN("payment.charge"), SPAN("reservation.confirm")}, chain = SPAN("purchase");
    int16_t numbers[2], chain_number = 0;
    if (ledger_names(connection, 'h', 2, names, numbers, &error) != STORE_OK ||
        ledger_names(connection, 'c', 1, &chain, &chain_number, &error) != STORE_OK) {
        fprintf(stderr, "floor: %s\n", error.text);
        return 1;
    }
    connection_destroy(connection);
    int64_t began = clock_monotonic_ns(), share = purchases / threads;
    for (int64_t t = 0; t < threads; t++) {
        loops[t] = (struct loop){.store = store,
                                 .bus = bus,
                                 .more = &more,
                                 .random = 88172645463325252ULL + (uint64_t)clock_wall_ms() * (uint64_t)(t + 1),
                                 .brokers = argc > 6 ? argv[5] : NULL,
                                 .topic = argc > 6 ? argv[6] : NULL,
                                 .first = t * share + 1,
                                 .count = t == threads - 1 ? purchases - t * share : share,
                                 .batch = (size_t)batch,
                                 .fused = fused,
                                 .charge = numbers[0],
                                 .confirm = numbers[1],
                                 .chain = chain_number};
        pthread_create(&loops[t].thread, NULL, loop_main, &loops[t]);
    }
    int failed = 0;
    for (int64_t t = 0; t < threads; t++) {
        pthread_join(loops[t].thread, NULL);
        failed |= loops[t].failed;
    }
    printf("%.0f\n", (double)purchases / ((double)(clock_monotonic_ns() - began) / 1e9));
    if (bus != NULL)
        bus_close(bus);
    store_close(store);
    return failed;
}
