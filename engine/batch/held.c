/*
 * held.c - see held.h.
 */
#include "batch/held.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "batch/after.h"
#include "batch/limit.h"
#include "batch/pause.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HELD_AFTER_MS = 1000, /* what waits for less stays in memory */
    HELD_STREAM_NAME_MAX = 300,
    HELD_ROWS_MAX = 512 * 1024 * 1024, /* bytes of one batch; what is in flight is bounded far below */
    HELD_FETCH_KEYS = 16,
    HELD_FETCH_EVENTS = 256,        /* of so many keys in all, */
    HELD_FETCH_LEAST = 16,          /* but of each so many; */
    HELD_FETCH_BYTES = 1024 * 1024, /* and of a key about so many bytes */
    HELD_AGAIN_MS = 500,
    HELD_FETCH_AGAIN_MS = 500,
    HELD_UNREADABLE_MS = 30000,
    HELD_EARLY_MS = 100, /* a key this close to its time is handled now */
    HELD_DUE_MAX = 1000,
    HELD_PAGE = 500,      /* keys that are looked through at once, beside batches, */
    HELD_PAGE_ALL = 5000, /* and before there are any */
};

/* ------------------------------------------------------------------------------------------------------- verdicts */

void batch_behind(struct batch *batch, bool claimed)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        const struct item *item = work->item;
        if (item->entry.append && (claimed || item->uncertain_row == 0) && work->verdict != VERDICT_DUPLICATE)
            work->verdict = VERDICT_BEHIND;
    }
}

bool held_may_wait(const struct batch *batch, const struct item *item, int64_t wait_ms, bool paused)
{
    if (batch->connection == NULL || batch->env->group == NULL || item->binding == NULL || wait_ms < HELD_AFTER_MS)
        return false;
    if (item->source == ITEM_PARKED)
        return true;
    return (item->source == ITEM_BUS || item->source == ITEM_HELD) &&
           batch->env->bindings[item->binding->index].records &&
           lane_may_store(batch->env->lane, item->entry.key_hash, paused);
}

/* What was parked has left its place in the order: it is parked again, and its key goes on. */
static void park_again(const struct batch *batch, struct work *work)
{
    work->due_ms = batch->wall_ms + (work->due_ms - batch->now_ms);
    work->verdict = work->verdict == VERDICT_RETRY ? VERDICT_PARK_RETRY : VERDICT_PARK;
}

/* Everything behind works[head] in its key, in this batch. */
static void hold_followers(struct batch *batch, size_t head)
{
    for (size_t i = head + 1; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (work->verdict == VERDICT_REQUEUE && work->item->source != ITEM_PARKED &&
            work->item->entry.key_hash == batch->works[head].item->entry.key_hash)
            work->verdict = VERDICT_BEHIND;
    }
}

void batch_hold(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        bool parked = work->item->source == ITEM_PARKED, more = work->pause != 0 || work->needs != NULL;
        if (work->verdict != VERDICT_RETRY && work->verdict != VERDICT_DELAY)
            continue;
        bool may = held_may_wait(batch, work->item, more ? INT64_MAX : work->due_ms - batch->now_ms, more);
        if (work->needs != NULL && (parked || !may) && work->due_ms > batch->now_ms + HELD_AGAIN_MS)
            work->due_ms = batch->now_ms + HELD_AGAIN_MS; /* nothing will tell it: it looks again */
        if (!may)
            continue;
        if (parked) {
            park_again(batch, work);
            continue;
        }
        work->verdict = work->verdict == VERDICT_RETRY ? VERDICT_HOLD_RETRY : VERDICT_HOLD_DELAY;
        hold_followers(batch, i);
    }
}

void held_uncertain(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (work_row(&batch->works[i])->parking == PARKING_HEAD)
            lane_store(batch->env->lane, batch->works[i].item->entry.key_hash, batch->now_ms);
    after_over(batch);
}

/* ----------------------------------------------------------------------------------------------------------- rows */

/* What a batch writes about held keys; each list has room for all works. */
struct held_lists {
    struct held_event *rows;
    size_t *begins; /* of the rows' records, in `packed` */
    struct held_key *keys;
    int64_t *ended_keys, *ended_ids;
    size_t row_count, key_count, ended_count;
    struct buffer packed;
    uint32_t stream; /* the last one that was named */
    struct span stream_name;
};

static struct span stream_name(struct batch *batch, const struct item *item, struct held_lists *lists)
{
    if (item->source == ITEM_HELD)
        return item->held_stream;
    if (lists->stream_name.at == NULL || lists->stream != item->stream) {
        char name[HELD_STREAM_NAME_MAX];
        bus_stream_name(batch->env->bus, *batch->env->consumer, item->stream, name, sizeof name);
        lists->stream = item->stream;
        lists->stream_name = arena_span(batch->arena, span_of(name));
    }
    return lists->stream_name;
}

static void add_row(struct batch *batch, const struct work *work, struct span stream, struct held_lists *lists)
{
    const struct item *item = work->item;
    char place[HELD_STREAM_NAME_MAX];
    struct held_event *row = &lists->rows[lists->row_count];
    *row = (struct held_event){.key_hash = (int64_t)item->entry.key_hash,
                               .handler = item->binding == NULL ? batch->env->numbers->chain_handler
                                                                : batch->env->bindings[item->binding->index].number,
                               .id = work->event.id,
                               .stream = stream};
    (void)work_place(batch, work, place, sizeof place, &row->partition, &row->offset);
    lists->begins[lists->row_count++] = lists->packed.length;
    record_batch_begin(&lists->packed);
    record_batch_append(&lists->packed, lists->begins[lists->row_count - 1], &item->record);
}

static void add_work(struct batch *batch, const struct work *work, struct held_lists *lists)
{
    const struct verdict_row *row = work_row(work);
    const struct item *item = work->item;
    if (item->source == ITEM_HELD && row->way == WAY_DONE) {
        lists->ended_keys[lists->ended_count] = (int64_t)item->entry.key_hash;
        lists->ended_ids[lists->ended_count++] = item->held_id;
    }
    bool head = row->parking == PARKING_HEAD, new = item->source != ITEM_HELD;
    if (!head && !(row->parking == PARKING_BEHIND && new))
        return;
    struct span stream = stream_name(batch, item, lists);
    if (new)
        add_row(batch, work, stream, lists);
    lists->keys[lists->key_count++] = (struct held_key){
        .stream = stream,
        .key_hash = (int64_t)item->entry.key_hash,
        .events = new,
        .wait_ms = head && work->pause == 0 ? work->due_ms - batch->now_ms : 0,
        .paused = head && work->pause != 0 ? span_of(item->topic->name) : (struct span){0},
        .reason = head && work->why != NULL ? span_of(work->why) : (struct span){0}};
}

static int key_compare(const void *left, const void *right)
{
    const struct held_key *a = left, *b = right;
    size_t length = a->stream.length < b->stream.length ? a->stream.length : b->stream.length;
    int order = memcmp(a->stream.at, b->stream.at, length);
    if (order == 0 && a->stream.length != b->stream.length)
        return a->stream.length < b->stream.length ? -1 : 1;
    return order != 0 ? order : a->key_hash != b->key_hash ? (a->key_hash < b->key_hash ? -1 : 1) : 0;
}

/* Sorted, one entry a key. */
static size_t merge_keys(struct held_key *keys, size_t count)
{
    size_t kept = 0;
    qsort(keys, count, sizeof *keys, key_compare);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || key_compare(&keys[kept - 1], &keys[i]) != 0) {
            keys[kept++] = keys[i];
            continue;
        }
        struct held_key *key = &keys[kept - 1];
        key->events += keys[i].events;
        if (keys[i].wait_ms != 0 || keys[i].paused.at != NULL) {
            key->wait_ms = keys[i].wait_ms;
            key->paused = keys[i].paused;
            key->reason = keys[i].reason;
        }
    }
    return kept;
}

static void write_lists(struct batch *batch, struct held_lists *lists)
{
    struct connection *connection = batch->connection;
    const struct batch_env *env = batch->env;
    int16_t group = env->numbers->groups[env->group->index];
    int64_t member = env->member == NULL ? 0 : atomic_load(env->member);
    if (lists->ended_count + lists->key_count == 0)
        return;
    if (lists->packed.failed) { /* kept, never half: positions stay where they are */
        error_set(&batch->error, ENOMEM, "%zu events of held keys cannot be packed", lists->row_count);
        batch->result = STORE_DOWN;
        return;
    }
    for (size_t i = 0; i < lists->row_count; i++) {
        size_t end = i + 1 < lists->row_count ? lists->begins[i + 1] : lists->packed.length;
        lists->rows[i].record = (struct span){lists->packed.at + lists->begins[i], end - lists->begins[i]};
    }
    if (!batch->transaction) {
        batch->result = connection_begin(connection, batch->deadline_ms, &batch->error);
        batch->transaction = batch->result == STORE_OK;
    }
    if (batch->result == STORE_OK)
        batch->result = ledger_held_ended(connection, group, lists->ended_keys, lists->ended_ids, lists->ended_count,
                                          &batch->error);
    lists->key_count = merge_keys(lists->keys, lists->key_count);
    if (batch->result == STORE_OK && lists->key_count > 0)
        batch->result = ledger_hold(connection, member, group, lists->keys, lists->key_count, lists->rows,
                                    lists->row_count, &batch->error);
}

/* Nothing is held, mostly. */
static bool concerns_held(const struct work *work)
{
    return work->item->source == ITEM_HELD || work_row(work)->way == WAY_STORED;
}

void batch_held(struct batch *batch)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++)
        count += concerns_held(&batch->works[i]);
    if (count == 0)
        return;
    struct held_lists lists = {.rows = arena_array(batch->arena, struct held_event, count),
                               .begins = arena_array(batch->arena, size_t, count),
                               .keys = arena_array(batch->arena, struct held_key, count),
                               .ended_keys = arena_array(batch->arena, int64_t, count),
                               .ended_ids = arena_array(batch->arena, int64_t, count)};
    buffer_init(&lists.packed, HELD_ROWS_MAX);
    for (size_t i = 0; i < batch->count; i++)
        if (concerns_held(&batch->works[i]))
            add_work(batch, &batch->works[i], &lists);
    write_lists(batch, &lists);
    buffer_free(&lists.packed);
}

/* ----------------------------------------------------------------------------------------------------- read back */

/* The names of the topics that are paused in the lane's group. */
static size_t paused_topics(const struct batch_env *env, struct span **ret)
{
    const struct pipeline *config = env->config;
    size_t count = 0;
    *ret = arena_array(env->arena, struct span, config->topic_count + 1);
    for (size_t i = 0; i < config->topic_count; i++)
        if (pause_of(env, config->topics[i]) != 0)
            (*ret)[count++] = span_of(config->topics[i]->name);
    return count;
}

/* It waits by what an earlier file said of its topic. */
static bool after_is_stale(const struct batch_env *env, const struct rows *rows, size_t row)
{
    return !rows_null(rows, row, 5) && !after_stands(env, rows_span(rows, row, 5));
}

static void lane_learns(struct batch_env *env, const struct rows *rows, size_t row, int64_t now_ms)
{
    uint64_t key_hash = (uint64_t)rows_int64(rows, row, 0);
    bool at_once = rows_null(rows, row, 1) || !rows_null(rows, row, 2);
    int64_t due_ms = at_once ? now_ms : now_ms + rows_int64(rows, row, 1);
    const struct topic *topic = rows_null(rows, row, 2) ? NULL : map_get(env->topic_names, rows_span(rows, row, 2));
    if (rows_null(rows, row, 0) || lane_of_key(key_hash, env->lane_count) != env->lane_index)
        return;
    uint32_t pause = topic == NULL ? 0 : pause_of(env, topic);
    if (after_is_stale(env, rows, row)) {
        due_ms = now_ms;
    } else if (!rows_null(rows, row, 5)) {
        pause = LANE_UNTIL;
        after_waits(env);
    }
    if (topic == NULL || pause != 0 || limit_of_found(env, topic, key_hash, &pause))
        lane_found(env->lane, key_hash, due_ms, pause);
}

bool held_load(struct batch_env *env, bool all, struct held_page *page)
{
    struct span *streams = NULL, *paused = NULL;
    size_t paused_count = all ? 0 : paused_topics(env, &paused);
    struct rows *rows = NULL;
    struct error error = {0};
    size_t stream_count = env->streams(env->context, env->arena, &streams);
    if (!page->under_way || stream_count == 0)
        *page = (struct held_page){0};
    if (stream_count == 0)
        return true;
    const struct held_key from = {.stream = span_of(page->stream), .key_hash = page->key_hash};
    enum store_result result = ledger_held_keys(env->connection, env->numbers->groups[env->group->index], streams,
                                                stream_count, paused, paused_count, &from,
                                                all ? HELD_PAGE_ALL : HELD_PAGE, &rows, &error);
    if (result != STORE_OK) {
        log_rarely(5000, connection_log_level(env->connection), "lane", "which keys are held is not known yet: %s",
                   error.text);
        return false;
    }
    int64_t now_ms = clock_monotonic_ms();
    bool stale = false;
    for (size_t i = 0; i < rows_count(rows); i++) {
        stale = stale || after_is_stale(env, rows, i);
        lane_learns(env, rows, i, now_ms);
    }
    page->under_way = !rows_null(rows, 0, 3);
    if (page->under_way) {
        struct span stream = rows_span(rows, 0, 3);
        snprintf(page->stream, sizeof page->stream, "%.*s", (int)stream.length, stream.at);
        page->key_hash = rows_int64(rows, 0, 4);
    }
    if (stale)
        after_changed(env, streams, stream_count);
    return true;
}

bool held_load_due(struct batch_env *env)
{
    struct span *streams = NULL;
    struct rows *rows = NULL;
    struct error error = {0};
    size_t stream_count = env->streams(env->context, env->arena, &streams);
    if (stream_count == 0)
        return true;
    enum store_result result = ledger_held_due(env->connection, env->numbers->groups[env->group->index], streams,
                                               stream_count, HELD_DUE_MAX, &rows, &error);
    if (result != STORE_OK) {
        log_rarely(5000, connection_log_level(env->connection), "lane", "which held keys are due is not known: %s",
                   error.text);
        return false;
    }
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < rows_count(rows); i++) {
        uint64_t key_hash = (uint64_t)rows_int64(rows, i, 0);
        if (lane_of_key(key_hash, env->lane_count) == env->lane_index)
            lane_found(env->lane, key_hash, now_ms, 0);
    }
    return true;
}

/* One row as an item. */
static int item_of_row(const struct batch_env *env, const struct rows *rows, size_t row, struct item *item)
{
    struct record *records = NULL;
    size_t count = 0;
    struct error error = {0};
    if (record_batch_read(rows_span(rows, row, 5), env->arena, &records, &count, &error) != 0 || count != 1) {
        log_rarely(10000, LOG_ERROR, "lane",
                   "row %lld of sluice.held cannot be read (%s): its key waits; restore the row or delete it",
                   (long long)rows_int64(rows, row, 1), error.text);
        return -EBADMSG;
    }
    item_of_record(item, ITEM_HELD, &records[0], (uint64_t)rows_int64(rows, row, 0),
                   map_get(env->topic_names, records[0].topic), env->group);
    if (item->topic != NULL)
        item_rename(item);
    item->held_id = rows_int64(rows, row, 1);
    item->held_partition = (int32_t)rows_int64(rows, row, 2);
    item->held_offset = rows_int64(rows, row, 3);
    item->held_stream = rows_span(rows, row, 4);
    item->tries = (uint32_t)rows_int64(rows, row, 6);
    item_cancel(item, rows_span(rows, row, 8));
    item->came_ms = clock_monotonic_ms() - rows_int64(rows, row, 9);
    item->needs = rows_int64(rows, row, 11) != 0;
    return item_own_headers(item); /* they were read into the lane's arena */
}

/* How long the key of a row waits: its time was moved in the database since the lane learnt it. 0: it is due, or what
 * it waits for was handled. */
static int64_t row_waits_ms(const struct rows *rows, size_t row)
{
    int64_t left_ms = rows_null(rows, row, 7) || rows_int64(rows, row, 10) != 0 ? 0 : rows_int64(rows, row, 7);
    return left_ms > HELD_EARLY_MS ? left_ms : 0;
}

/* The rows of one key, from *at on; how many of them became items. */
static size_t offer_rows(struct batch_env *env, const struct rows *rows, const struct lane_fetch *fetch, size_t *at,
                         struct item *items)
{
    size_t offered = 0, first = *at;
    int64_t wait_ms = first < rows_count(rows) ? row_waits_ms(rows, first) : 0;
    bool good = wait_ms == 0;
    for (; *at < rows_count(rows) && (uint64_t)rows_int64(rows, *at, 0) == fetch->key_hash; (*at)++) {
        good = good && item_of_row(env, rows, *at, &items[offered]) == 0;
        if (good)
            lane_offer_stored(env->lane, &items[offered++].entry);
    }
    if (*at == first) {
        (void)FAILPOINT("lane.held.free");
        lane_free(env->lane, fetch->key_hash);
    } else if (offered == 0) {
        lane_store(env->lane, fetch->key_hash, clock_monotonic_ms() + (wait_ms > 0 ? wait_ms : HELD_UNREADABLE_MS));
    }
    return offered;
}

static enum store_result fetch_rows(struct batch_env *env, const struct lane_fetch *fetches, size_t count,
                                    struct rows **ret, struct error *error)
{
    int64_t keys[HELD_FETCH_KEYS];
    int32_t limits[HELD_FETCH_KEYS], limit = HELD_FETCH_EVENTS / (int32_t)count;
    struct span *streams = NULL;
    size_t stream_count = env->streams(env->context, env->arena, &streams);
    for (size_t i = 0; i < count; i++) {
        keys[i] = (int64_t)fetches[i].key_hash;
        limits[i] = fetches[i].waited ? 1 : limit < HELD_FETCH_LEAST ? HELD_FETCH_LEAST : limit;
    }
    return ledger_held_fetch(env->connection, env->numbers->groups[env->group->index], streams, stream_count, keys,
                             limits, count, HELD_FETCH_BYTES, ret, error);
}

void held_fetch(struct batch_env *env)
{
    struct lane_fetch fetches[HELD_FETCH_KEYS];
    struct rows *rows = NULL;
    struct item_block *block = NULL;
    struct error error = {0};
    size_t count = lane_fetch(env->lane, clock_monotonic_ms(), HELD_FETCH_KEYS, fetches);
    if (count == 0)
        return;
    enum store_result result = fetch_rows(env, fetches, count, &rows, &error);
    size_t row_count = result == STORE_OK ? rows_count(rows) : 0, at = 0, offered = 0;
    if (row_count > 0) {
        rows = rows_detach(env->connection, rows);
        block = item_block_create(row_count, rows);
    }
    if (result != STORE_OK || (row_count > 0 && block == NULL)) {
        log_rarely(5000, connection_log_level(env->connection), "lane", "%zu held keys are not read now: %s", count,
                   result != STORE_OK ? error.text : "no memory");
        if (row_count > 0)
            rows_free(rows);
        for (size_t i = 0; i < count; i++)
            lane_store(env->lane, fetches[i].key_hash, clock_monotonic_ms() + HELD_FETCH_AGAIN_MS);
        return;
    }
    for (size_t i = 0; i < count; i++)
        offered += offer_rows(env, rows, &fetches[i], &at, block == NULL ? NULL : item_block_items(block) + offered);
    if (offered < row_count)
        item_block_release(block, row_count - offered);
    if (offered > 0)
        (void)FAILPOINT("lane.held.read");
}
