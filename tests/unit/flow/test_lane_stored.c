/*
 * test_lane_stored.c - keys whose events are rows of a table: what is appended, what is fetched and when, and that a
 * key's events are handled in their order, each once, whatever happens to its head.
 */
#include "flow/lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BATCH_MAX = 16, KEYS = 6, EVENTS = 300, ROWS_MAX = 4000 };

struct event {
    struct lane_entry entry; /* first */
    uint32_t number;         /* by arrival within its key, from 1 */
    bool row;                /* it was read from the table */
};

static size_t take(struct lane *lane, int64_t now_ms, struct lane_entry **ret)
{
    return lane_take(lane, now_ms, BATCH_MAX, ret);
}

static void a_stored_key(void **state)
{
    (void)state;
    struct lane *lane = lane_create();
    struct lane_entry a1 = {.key_hash = 1}, a2 = {.key_hash = 1}, a3 = {.key_hash = 1}, b1 = {.key_hash = 2},
                      row1 = {.key_hash = 1}, row2 = {.key_hash = 1}, *got[BATCH_MAX];
    struct lane_fetch fetch[2];
    assert_false(lane_may_store(lane, 1, false)); /* not before it is allowed */
    lane_use_store(lane, 100, 1, 1);
    assert_true(lane_may_store(lane, 1, false));
    lane_offer(lane, &a1);
    lane_offer(lane, &a2);
    assert_int_equal(lane_take(lane, 0, 1, got), 1);
    lane_store(lane, 1, 50);
    lane_done(lane, &a1);
    assert_int_equal(lane_stored_keys(lane), 1);
    assert_int_equal(lane_held_keys(lane), 1);
    assert_true(lane_may_store(lane, 1, false));
    assert_false(lane_may_store(lane, 2, false)); /* there is no room for another */

    /* What is here already and what comes goes behind it; other keys run. */
    lane_offer(lane, &b1);
    lane_offer(lane, &a3);
    assert_int_equal(take(lane, 0, got), 3);
    assert_true(got[0] == &a2 && got[0]->append);
    assert_true(got[1] == &b1 && !got[1]->append);
    assert_true(got[2] == &a3 && got[2]->append);
    for (size_t i = 0; i < 3; i++)
        lane_done(lane, got[i]);
    assert_int_equal(lane_waiting(lane), 0);
    assert_int_equal(lane_due(lane, 0), 50);
    assert_int_equal(lane_fetch(lane, 49, 2, fetch), 0);

    /* Its head first, by itself. */
    assert_int_equal(lane_due(lane, 50), 0);
    assert_int_equal(lane_fetch(lane, 50, 2, fetch), 1);
    assert_true(fetch[0].key_hash == 1 && fetch[0].waited);
    lane_offer_stored(lane, &row1);
    assert_int_equal(take(lane, 50, got), 1);
    assert_true(got[0] == &row1 && got[0]->stored && !got[0]->append);
    lane_done(lane, &row1);
    assert_int_equal(lane_fetch(lane, 50, 2, fetch), 1); /* it ended: what is behind it is due at once */
    assert_false(fetch[0].waited);
    lane_offer_stored(lane, &row2);
    assert_int_equal(lane_fetch(lane, 50, 2, fetch), 0); /* not while that is under way */
    assert_int_equal(take(lane, 50, got), 1);
    lane_done(lane, &row2);
    assert_int_equal(lane_fetch(lane, 50, 2, fetch), 1);
    lane_free(lane, 1); /* nothing was found */
    assert_int_equal(lane_held_keys(lane), 0);
    assert_int_equal(lane_stored_keys(lane), 0);
    lane_offer(lane, &a1);
    assert_int_equal(take(lane, 50, got), 1);
    assert_false(got[0]->append);
    lane_done(lane, &a1);
    assert_int_equal(lane_due(lane, 50), INT64_MAX);
    lane_destroy(lane);
}

/* What was fetched and not handled when the head must wait again is not run: its rows stand. */
static void the_head_waits_again(void **state)
{
    (void)state;
    struct lane *lane = lane_create();
    struct lane_entry rows[3] = {{.key_hash = 1}, {.key_hash = 1}, {.key_hash = 1}}, *got[BATCH_MAX];
    struct lane_fetch fetch[2];
    lane_use_store(lane, 100, 10, 10);
    lane_found(lane, 1, 0, 0);
    assert_int_equal(lane_fetch(lane, 0, 2, fetch), 1);
    for (size_t i = 0; i < 3; i++)
        lane_offer_stored(lane, &rows[i]);
    assert_int_equal(lane_take(lane, 0, 1, got), 1);
    lane_retry(lane, &rows[0], 10); /* for a moment: in memory, with the others behind it */
    assert_int_equal(take(lane, 9, got), 0);
    assert_int_equal(lane_due(lane, 9), 10);
    assert_int_equal(lane_take(lane, 10, 1, got), 1);
    lane_store(lane, 1, 500);
    lane_done(lane, &rows[0]);
    lane_found(lane, 1, 400, 0); /* somebody changed it in the table; but not all of it has come out yet */
    assert_int_equal(take(lane, 10, got), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(got[i] == &rows[i + 1] && got[i]->append && got[i]->stored);
        lane_done(lane, got[i]);
    }
    assert_int_equal(lane_due(lane, 10), 500);
    lane_found(lane, 1, 400, 0);
    assert_int_equal(lane_due(lane, 10), 400);
    lane_forget_stored(lane);
    assert_int_equal(lane_due(lane, 10), INT64_MAX);
    assert_int_equal(lane_held_keys(lane), 0);
    lane_destroy(lane);
}

/* Behind a retry of a moment too many may gather: then the key is stored with its head, in order. */
/* A head that waits for something else, and so long at most, has the room of those that wait for a pause. */
static void a_head_that_waits_until(void **state)
{
    (void)state;
    struct lane *lane = lane_create();
    struct lane_entry a1 = {.key_hash = 1}, b1 = {.key_hash = 2}, *got[BATCH_MAX];
    struct lane_fetch fetch[2];
    lane_use_store(lane, 100, 1, 2);
    lane_offer(lane, &a1);
    assert_int_equal(take(lane, 0, got), 1);
    lane_store_until(lane, 1, 50);
    lane_done(lane, &a1);
    assert_true(lane_may_store(lane, 3, false)); /* it takes no room of retries */
    assert_true(lane_may_store(lane, 3, true));
    lane_found(lane, 2, 70, LANE_UNTIL);
    assert_false(lane_may_store(lane, 3, true));
    assert_int_equal(lane_due(lane, 0), 50);
    assert_int_equal(lane_fetch(lane, 49, 2, fetch), 0);
    lane_found(lane, 2, 10, 0); /* what it waited for is there */
    assert_true(lane_may_store(lane, 3, true));
    assert_int_equal(lane_fetch(lane, 49, 2, fetch), 1);
    assert_true(fetch[0].key_hash == 2 && fetch[0].waited);
    lane_free(lane, 2);
    lane_offer(lane, &b1);
    assert_int_equal(take(lane, 49, got), 1);
    assert_false(got[0]->append);
    lane_done(lane, &b1);
    assert_int_equal(lane_fetch(lane, 50, 2, fetch), 1);
    lane_free(lane, 1);
    assert_int_equal(lane_stored_keys(lane), 0);
    lane_destroy(lane);
}

static void too_many_followers(void **state)
{
    (void)state;
    enum { FOLLOWERS = 5 };
    struct lane *lane = lane_create();
    struct lane_entry entries[2 * FOLLOWERS], *got[BATCH_MAX];
    lane_use_store(lane, FOLLOWERS, 10, 10);
    for (size_t i = 0; i < 2 * FOLLOWERS; i++)
        entries[i] = (struct lane_entry){.key_hash = 1};
    lane_offer(lane, &entries[0]);
    assert_int_equal(take(lane, 0, got), 1);
    lane_retry(lane, &entries[0], 1000);
    for (size_t i = 1; i < FOLLOWERS; i++)
        lane_offer(lane, &entries[i]);
    assert_int_equal(take(lane, 0, got), 0);
    assert_int_equal(lane_stored_keys(lane), 0);
    for (size_t i = FOLLOWERS; i < 2 * FOLLOWERS; i++)
        lane_offer(lane, &entries[i]);
    assert_int_equal(lane_stored_keys(lane), 1);
    assert_int_equal(take(lane, 0, got), 2 * FOLLOWERS);
    for (size_t i = 0; i < 2 * FOLLOWERS; i++) {
        assert_true(got[i] == &entries[i] && got[i]->append && !got[i]->held);
        lane_done(lane, got[i]);
    }
    assert_int_equal(lane_due(lane, 0), 1000); /* the head's time is not forgotten */
    lane_destroy(lane);
}

/* An event that has lost its place in the order waits for no rows, and is not written behind them. */
static void unordered_entries(void **state)
{
    (void)state;
    struct lane *lane = lane_create();
    struct lane_entry parked = {.key_hash = 1, .unordered = true}, row = {.key_hash = 1}, *got[BATCH_MAX];
    struct lane_fetch fetch[2];
    lane_use_store(lane, 100, 10, 10);
    lane_store(lane, 1, 50);
    lane_offer(lane, &parked);
    assert_int_equal(take(lane, 0, got), 1);
    assert_false(got[0]->append);
    lane_retry(lane, &parked, 20);
    assert_int_equal(lane_due(lane, 0), 20);
    assert_int_equal(take(lane, 20, got), 1);
    lane_done(lane, &parked);
    assert_int_equal(lane_due(lane, 20), 50);
    assert_int_equal(lane_fetch(lane, 50, 2, fetch), 1);
    lane_offer_stored(lane, &row);
    assert_int_equal(take(lane, 50, got), 1);
    lane_done(lane, &row);
    lane_destroy(lane);
}

static bool is_over(uint32_t pause, const void *context)
{
    return pause == *(const uint32_t *)context;
}

/* Keys that wait for the end of a pause, stored or in memory: not for those of others, and not for a time. */
static void pauses(void **state)
{
    (void)state;
    static const uint32_t first = 1, second = 2;
    struct lane *lane = lane_create();
    struct lane_entry a1 = {.key_hash = 1}, a2 = {.key_hash = 1}, b1 = {.key_hash = 2}, c1 = {.key_hash = 3},
                      rows[3] = {{.key_hash = 1}, {.key_hash = 1}, {.key_hash = 4}}, *got[BATCH_MAX];
    struct lane_fetch fetch[2];
    lane_use_store(lane, 100, 10, 10);
    lane_offer(lane, &a1);
    lane_offer(lane, &b1);
    lane_offer(lane, &c1);
    assert_int_equal(take(lane, 0, got), 3);
    lane_store_after(lane, 1, first);
    lane_done(lane, &a1);
    lane_retry_after(lane, &b1, first);
    lane_retry_after(lane, &c1, second);
    lane_found(lane, 4, 0, second);
    assert_int_equal(lane_due(lane, 1000), INT64_MAX);
    lane_offer(lane, &a2);
    assert_int_equal(take(lane, 1000, got), 1);
    assert_true(got[0] == &a2 && got[0]->append);
    lane_done(lane, &a2);
    assert_int_equal(lane_fetch(lane, 1000, 2, fetch), 0);

    lane_resume(lane, is_over, &first);
    assert_int_equal(take(lane, 0, got), 1);
    assert_true(got[0] == &b1);
    lane_done(lane, &b1);
    assert_int_equal(lane_fetch(lane, 0, 2, fetch), 1);
    assert_true(fetch[0].key_hash == 1 && !fetch[0].waited); /* nothing failed: its later events come with it */
    lane_offer_stored(lane, &rows[0]);
    lane_offer_stored(lane, &rows[1]);
    assert_int_equal(take(lane, 0, got), 2);
    lane_store_after(lane, 1, second); /* paused again before anything was handled */
    lane_done(lane, &rows[0]);
    lane_done(lane, &rows[1]);
    lane_resume(lane, is_over, &first);
    assert_int_equal(lane_fetch(lane, 0, 2, fetch), 0);

    lane_resume(lane, is_over, &second);
    assert_int_equal(lane_fetch(lane, 0, 2, fetch), 2);
    lane_free(lane, 1);
    lane_offer_stored(lane, &rows[2]);
    assert_int_equal(take(lane, 0, got), 2);
    lane_done(lane, got[0]);
    lane_done(lane, got[1]);
    assert_int_equal(lane_fetch(lane, 0, 2, fetch), 1);
    lane_free(lane, 4);
    assert_int_equal(lane_held_keys(lane), 0);
    lane_destroy(lane);
}

/* ------------------------------------------------------------------------------------------------------ random runs */

struct table { /* the rows of each key, in order */
    uint32_t rows[KEYS][ROWS_MAX];
    size_t first[KEYS], count[KEYS];
};

struct run {
    struct lane *lane;
    struct table table;
    uint32_t arrived[KEYS], handled[KEYS]; /* numbers, in order */
    int64_t now_ms;
    size_t live; /* events in the lane or a batch */
};

static struct event *event_new(struct run *run, uint64_t key, uint32_t number, bool row)
{
    struct event *event = calloc(1, sizeof *event);
    *event = (struct event){.entry.key_hash = key, .number = number, .row = row};
    run->live++;
    return event;
}

static void event_end(struct run *run, struct event *event)
{
    lane_done(run->lane, &event->entry);
    run->live--;
    free(event);
}

static void append(struct table *table, uint64_t key, uint32_t number)
{
    assert_true(table->first[key] + table->count[key] < ROWS_MAX);
    table->rows[key][table->first[key] + table->count[key]++] = number;
}

static void fetch_some(struct run *run)
{
    struct lane_fetch due[3];
    size_t count = lane_fetch(run->lane, run->now_ms, 3, due);
    for (size_t i = 0; i < count; i++) {
        uint64_t key = due[i].key_hash;
        size_t rows = run->table.count[key], most = due[i].waited ? 1 : 1 + (size_t)random() % 8;
        if (random() % 8 == 0) { /* the database did not answer */
            lane_store(run->lane, key, run->now_ms + random() % 5);
            continue;
        }
        if (rows == 0)
            lane_free(run->lane, key);
        for (size_t r = 0; r < rows && r < most; r++)
            lane_offer_stored(run->lane,
                              &event_new(run, key, run->table.rows[key][run->table.first[key] + r], true)->entry);
    }
}

/* One batch. What fails keeps everything behind it in its key, as batches do. */
static void run_batch(struct run *run, bool calm)
{
    struct lane_entry *got[BATCH_MAX], *back[BATCH_MAX];
    size_t count = take(run->lane, run->now_ms, got), back_count = 0;
    enum { GOES, REQUEUED, STORED } after[KEYS] = {0};
    bool rolled_back = !calm && random() % 10 == 0;
    for (size_t i = 0; i < count; i++) {
        struct event *event = (struct event *)got[i];
        uint64_t key = event->entry.key_hash;
        long dice = calm ? 99 : random() % 100;
        if (rolled_back || (!event->entry.append && after[key] == REQUEUED)) {
            back[back_count++] = got[i];
        } else if (event->entry.append || after[key] == STORED) {
            if (!event->row)
                append(&run->table, key, event->number);
            event_end(run, event);
        } else if (dice < 8) {
            after[key] = REQUEUED;
            lane_retry(run->lane, got[i], run->now_ms + 1 + random() % 20);
        } else if (dice < 20 && lane_may_store(run->lane, key, false)) {
            after[key] = STORED;
            lane_store(run->lane, key, run->now_ms + 1 + random() % 200);
            if (!event->row)
                append(&run->table, key, event->number);
            event_end(run, event);
        } else if (dice < 22) {
            after[key] = REQUEUED;
            lane_retry_after(run->lane, got[i], 1 + (uint32_t)random() % 2);
        } else if (dice < 26 && lane_may_store(run->lane, key, true)) {
            after[key] = STORED;
            lane_store_after(run->lane, key, 1 + (uint32_t)random() % 2);
            if (!event->row)
                append(&run->table, key, event->number);
            event_end(run, event);
        } else {
            assert_int_equal(event->number, run->handled[key] + 1);
            run->handled[key]++;
            if (event->row) {
                assert_int_equal(run->table.rows[key][run->table.first[key]], event->number);
                run->table.first[key]++;
                run->table.count[key]--;
            }
            event_end(run, event);
        }
    }
    if (back_count > 0)
        lane_requeue(run->lane, back, back_count);
}

static void one_run(unsigned seed)
{
    struct run *run = calloc(1, sizeof *run);
    run->lane = lane_create();
    srandom(seed);
    lane_use_store(run->lane, 1 + (size_t)random() % 10, 1 + (size_t)random() % KEYS, KEYS);
    for (int step = 0; step < 4000; step++) {
        bool calm = step > 1500;
        for (uint64_t key = 0; key < KEYS && !calm; key++)
            for (long n = random() % 4; n > 0 && run->arrived[key] < EVENTS && random() % 4 == 0; n--)
                lane_offer(run->lane, &event_new(run, key, ++run->arrived[key], false)->entry);
        fetch_some(run);
        run_batch(run, calm);
        uint32_t pause = 1 + (uint32_t)random() % 2;
        if (random() % 10 == 0)
            lane_resume(run->lane, is_over, &pause);
        int64_t due_ms = lane_due(run->lane, run->now_ms);
        run->now_ms += calm && due_ms > run->now_ms && due_ms != INT64_MAX ? due_ms - run->now_ms : random() % 4;
    }
    for (uint64_t key = 0; key < KEYS; key++) {
        assert_int_equal(run->handled[key], run->arrived[key]);
        assert_int_equal(run->table.count[key], 0);
    }
    assert_int_equal(run->live, 0);
    assert_int_equal(lane_waiting(run->lane), 0);
    assert_int_equal(lane_held_keys(run->lane), 0);
    assert_int_equal(lane_stored_keys(run->lane), 0);
    lane_destroy(run->lane);
    free(run);
}

static void random_runs(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 300; seed++)
        one_run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stored_key),
        cmocka_unit_test(the_head_waits_again),
        cmocka_unit_test(a_head_that_waits_until),
        cmocka_unit_test(too_many_followers),
        cmocka_unit_test(unordered_entries),
        cmocka_unit_test(pauses),
        cmocka_unit_test(random_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
