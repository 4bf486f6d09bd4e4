/*
 * replay.c - see replay.h.
 */
#include "operate/replay.h"

#include "base/clock.h"
#include "batch/refused.h"
#include "event/record_batch.h"
#include "operate/letter_move.h"
#include "operate/replayed_event.h"

#include <errno.h>

enum {
    REPLAY_BATCH = 500,
    DROP_BATCH = 5000,
    REPLAY_TIMES = 4,
    REPLAY_TRANSACTION_MS = 60000,
    REPLAY_PUBLISH_MS = 30000,
    REPLAY_ARENA = 1024 * 1024,
    REPLAY_ARENA_MAX = 1 << 30,
    REPLAY_OWNER = -1, /* of rows in sluice.outbox: no process has it, so any sweeper publishes them */
};

/* Dead letters on their way; of a batch but for the first four. */
struct moving {
    const struct operation *operation;
    const struct replay *replay;
    struct dead_letter_filter filter; /* as the store takes it */
    struct replay_progress *progress;
    int64_t above, last; /* ids: behind the last one that had its turn, up to the highest there was at the beginning */
    bool drops;
    struct arena *arena;
    struct error *error;
    int64_t *ids;
    struct span *events; /* ids of the replays */
    struct record *records;
    size_t count;
};

/* ------------------------------------------------------------------------------------------ buses of another server */

/* What batches before have left in the outbox is published, and out of it, in the open transaction; *ret_over: that
 * one is committed, because brokers refuse something of it for good. */
static int publish_left(struct moving *moving, bool *ret_over)
{
    const struct operation *operation = moving->operation;
    struct rows *rows;
    struct error reason = {0};
    *ret_over = false;
    enum store_result result = ledger_outbox_owned(operation->connection, REPLAY_OWNER, 1000, &rows, moving->error);
    for (size_t i = 0; result == STORE_OK && i < rows_count(rows); i++) {
        struct record *records = NULL;
        size_t count = 0, failed = 0, refused = 0;
        int64_t id = rows_int64(rows, i, 0);
        int code = record_batch_read(rows_span(rows, i, 1), moving->arena, &records, &count, moving->error);
        if (code != 0)
            return error_prefix(moving->error, "row %lld of sluice.outbox cannot be read", (long long)id);
        code = bus_publish(operation->bus, records, count, clock_monotonic_ms() + REPLAY_PUBLISH_MS, &failed,
                           moving->error);
        if (is_refusal(code)) {
            code = publish_each(operation->bus, records, count, REPLAY_PUBLISH_MS, &refused, &reason);
            *ret_over = code == 0 && refused > 0;
        }
        if (*ret_over) {
            result = refused_keep(operation->connection, id, records, refused, &reason, moving->error);
            if (result == STORE_OK)
                error_set(moving->error, EPROTO, "the brokers refuse %zu replays: %s; they stay in sluice.outbox",
                          refused, reason.text);
            return result == STORE_OK ? -EPROTO : operation_result(result, moving->error);
        }
        if (code != 0) {
            error_hint(moving->error, "run it again: what was committed is published first");
            return error_prefix(moving->error, "replays are committed and not published yet");
        }
        result = ledger_outbox_done(operation->connection, &id, 1, moving->error);
    }
    return operation_result(result, moving->error);
}

static enum store_result outbox_row(struct moving *moving)
{
    struct buffer packed;
    int64_t row = 0;
    buffer_init(&packed, REPLAY_ARENA_MAX);
    record_batch_begin(&packed);
    for (size_t i = 0; i < moving->count; i++)
        record_batch_append(&packed, 0, &moving->records[i]);
    struct span bytes = arena_span(moving->arena, buffer_view(&packed));
    bool failed = packed.failed;
    buffer_free(&packed);
    if (failed) {
        error_set(moving->error, ENOMEM, "%zu replays cannot be packed for the outbox", moving->count);
        return STORE_DATA;
    }
    return ledger_outbox_add(moving->operation->connection, REPLAY_OWNER, bytes, &row, moving->error);
}

/* ---------------------------------------------------------------------------------------------------------- a batch */

/* One row of the batch becomes an event; false: it stays as it is. */
static bool take_row(struct moving *moving, const struct rows *rows, size_t row)
{
    int64_t id = rows_int64(rows, row, 0);
    struct record *source = NULL;
    size_t count = 0;
    struct error why = {0};
    struct replayed from = {.letter = arena_format(moving->arena, "%lld", (long long)id),
                            .round = (int32_t)rows_int64(rows, row, 2) + 1,
                            .noted = rows_int64(rows, row, 3) != 0,
                            .group = rows_span(rows, row, 1),
                            .topic = rows_span(rows, row, 4)};
    if (from.round > DEAD_LETTER_ROUNDS_MAX && !moving->replay->force) {
        moving->progress->exhausted++;
        return false;
    }
    int code = record_batch_read(rows_span(rows, row, 6), moving->arena, &source, &count, &why);
    if (code == 0 && count != 1)
        code = error_set(&why, EBADMSG, "its row holds %zu records where one was expected", count);
    from.record = source;
    if (code == 0)
        code = replayed_event(moving->operation->pipeline, &from, moving->arena, &moving->records[moving->count],
                              &moving->events[moving->count], &why);
    if (code != 0)
        replay_note_unfit(moving->progress, from.letter, &why);
    return code == 0;
}

static void take_rows(struct moving *moving, const struct rows *rows)
{
    size_t count = rows_count(rows);
    moving->count = 0;
    moving->ids = arena_array(moving->arena, int64_t, count + 1);
    moving->events = arena_array(moving->arena, struct span, count + 1);
    moving->records = arena_array(moving->arena, struct record, count + 1);
    for (size_t i = 0; i < count; i++) {
        if (!moving->drops && !take_row(moving, rows, i))
            continue;
        moving->ids[moving->count++] = rows_int64(rows, i, 0);
    }
}

static enum store_result write_batch(struct moving *moving)
{
    const struct operation *operation = moving->operation;
    struct error *error = moving->error;
    enum store_result result = STORE_OK;
    if (!moving->drops && operation->bus->kind->transactional)
        result = bus_append(operation->bus, operation->connection, moving->records, moving->count, error);
    else if (!moving->drops)
        result = outbox_row(moving);
    if (result == STORE_OK)
        result = ledger_dead_letters_end(operation->connection, moving->ids, moving->drops ? NULL : moving->events,
                                         moving->count, operation->actor, error);
    const char *object = moving->count == 1
                             ? arena_format(moving->arena, "%lld", (long long)moving->ids[0])
                             : arena_format(moving->arena, "%s: %zu, from %lld to %lld", moving->replay->chosen,
                                            moving->count, (long long)moving->ids[0],
                                            (long long)moving->ids[moving->count - 1]);
    if (result == STORE_OK)
        result = operation_audit(operation, moving->drops ? "dead-letter drop" : "dead-letter replay", span_of(object),
                                 error);
    return result;
}

static bool publishes(const struct moving *moving)
{
    return !moving->drops && !moving->operation->bus->kind->transactional;
}

/* A transaction: at most `most` dead letters (0: only what is left in the outbox). *ret_seen: how many had their
 * turn. */
static int move_batch(struct moving *moving, int64_t most, size_t *ret_seen)
{
    const struct operation *operation = moving->operation;
    struct connection *connection = operation->connection;
    struct replay_progress before = *moving->progress;
    struct rows *rows;
    int64_t above = moving->above;
    bool over = false;
    *ret_seen = 0;
    moving->count = 0;
    arena_reset(moving->arena);
    enum store_result result = connection_begin(connection, clock_monotonic_ms() + REPLAY_TRANSACTION_MS,
                                                moving->error);
    if (result == STORE_OK)
        result = ledger_dead_letters_alone(connection, span_of(operation->pipeline->engine.group), moving->error);
    int code = operation_result(result, moving->error);
    if (code == 0 && publishes(moving))
        code = publish_left(moving, &over);
    if (code == 0 && most > 0) {
        result = ledger_dead_letters_next(connection, &moving->filter, moving->above, moving->last, most, &rows,
                                          moving->error);
        if (result == STORE_OK && rows_count(rows) > 0) {
            *ret_seen = rows_count(rows);
            above = rows_int64(rows, rows_count(rows) - 1, 0);
            take_rows(moving, rows);
            if (moving->count > 0)
                result = write_batch(moving);
        }
        code = operation_result(result, moving->error);
    }
    if (code == 0 && !over)
        code = operation_result(connection_commit(connection, moving->error), moving->error);
    if (code != 0) {
        connection_rollback(connection);
        *moving->progress = before;
        return code;
    }
    moving->above = above;
    moving->progress->moved += (int64_t)moving->count;
    if (moving->count > 0 && !moving->drops && operation->bus->kind->transactional)
        bus_published(operation->bus);
    return 0;
}

static int64_t batch_size(const struct moving *moving)
{
    return replay_batch_size(moving->replay, moving->progress->moved, moving->drops ? DROP_BATCH : REPLAY_BATCH);
}

static int move(struct moving *moving)
{
    const struct replay *replay = moving->replay;
    struct replay_progress *progress = moving->progress;
    size_t seen = 1;
    int64_t began_ms = clock_monotonic_ms();
    /* What a process that ended has left goes first, also when there is nothing else. */
    int code = publishes(moving) ? move_batch(moving, 0, &seen) : 0;
    for (seen = 1; code == 0 && seen > 0 && batch_size(moving) > 0;) {
        if (replay_stopped(replay)) {
            progress->stopped = true;
            break;
        }
        size_t ignored;
        code = -EAGAIN;
        for (int times = 0; code == -EAGAIN && times < REPLAY_TIMES; times++) /* another transaction was in the way */
            code = move_batch(moving, batch_size(moving), &seen);
        if (code == 0 && seen > 0 && publishes(moving))
            code = move_batch(moving, 0, &ignored);
        if (replay->progress != NULL)
            replay->progress(progress, replay->context);
        if (code == 0 && seen > 0)
            replay_keep_rate(replay, progress->moved, began_ms);
    }
    return code;
}

/* ------------------------------------------------------------------------------------------------------------ calls */

static int count_found(const struct operation *operation, const struct dead_letter_filter *filter,
                       struct replay_progress *ret, int64_t *ret_last, struct error *error)
{
    struct rows *rows;
    enum store_result result = ledger_dead_letters_count(operation->connection, filter, DEAD_LETTER_ROUNDS_MAX, &rows,
                                                         error);
    if (result != STORE_OK)
        return operation_result(result, error);
    *ret = (struct replay_progress){.found = rows_int64(rows, 0, 0), .exhausted = rows_int64(rows, 0, 1)};
    *ret_last = rows_int64(rows, 0, 2);
    return 0;
}

/* The open ones of the filter, as the store takes it. */
static int open_rows(const struct operation *operation, const struct replay *replay, struct dead_letter_filter *ret,
                     struct error *error)
{
    int code = dead_letter_rows_filter(operation, &replay->filter, operation->arena, ret, error);
    ret->state = ret->state_to = DEAD_LETTER_OPEN;
    return code;
}

static int start(const struct operation *operation, const struct replay *replay, bool drops,
                 struct replay_progress *ret, struct error *error)
{
    struct moving moving = {.operation = operation, .replay = replay, .progress = ret, .drops = drops, .error = error};
    if (operation->connection == NULL)
        return letter_move(operation, replay, drops, ret, error);
    int code = open_rows(operation, replay, &moving.filter, error);
    if (code == 0)
        code = count_found(operation, &moving.filter, ret, &moving.last, error);
    ret->exhausted = 0; /* counted as they have their turn */
    if (code != 0)
        return code;
    moving.arena = arena_create(REPLAY_ARENA, REPLAY_ARENA_MAX);
    code = move(&moving);
    arena_destroy(moving.arena);
    return code;
}

int dead_letters_replay(const struct operation *operation, const struct replay *replay, struct replay_progress *ret,
                        struct error *error)
{
    return start(operation, replay, false, ret, error);
}

int dead_letters_drop(const struct operation *operation, const struct replay *replay, struct replay_progress *ret,
                      struct error *error)
{
    return start(operation, replay, true, ret, error);
}

int dead_letters_count(const struct operation *operation, const struct replay *replay, struct replay_progress *ret,
                       struct error *error)
{
    struct dead_letter_filter rows = {0};
    int64_t last;
    int code;
    if (operation->connection == NULL) {
        code = letter_count(operation, replay, ret, error);
    } else {
        code = open_rows(operation, replay, &rows, error);
        if (code == 0)
            code = count_found(operation, &rows, ret, &last, error);
    }
    if (code == 0 && replay->force)
        ret->exhausted = 0;
    return code;
}

void replay_progress_json(const struct replay_progress *progress, const char *word, struct buffer *out)
{
    buffer_format(
        out, "{\"found\":%lld,\"%s\":%lld,\"exhausted\":%lld,\"unfit\":%lld,\"unfitWhy\":", (long long)progress->found,
        word, (long long)progress->moved, (long long)progress->exhausted, (long long)progress->unfit);
    if (progress->unfit > 0)
        buffer_json_string(out, span_of(progress->unfit_why.text));
    else
        buffer_text(out, "null");
    buffer_format(out, ",\"stopped\":%s}\n", progress->stopped ? "true" : "false");
}
