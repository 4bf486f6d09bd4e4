/*
 * test_lane.c - the lane against a model that looks at every entry each time: what may run, in which order, and
 * when. The source is included to set the arrival counter near its wrap, where long-lived lanes get to.
 */
#include "../../../engine/flow/lane.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MODEL_MAX = 400, BATCH_MAX = 16 };
enum place { NOWHERE, WAITING, TAKEN };

struct test_entry {
    struct lane_entry entry; /* first: one is the other */
    uint64_t arrived;
    int64_t due_ms; /* 0: not held */
    enum place place;
    bool solo;
};

struct model {
    struct test_entry *entries[MODEL_MAX]; /* by arrival */
    size_t count;
    uint64_t arrivals;
};

static bool has(const uint64_t *keys, size_t count, uint64_t key)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i] == key)
            return true;
    return false;
}

/* What lane_take() must give, by the words of lane.h. */
static size_t model_take(const struct model *model, int64_t now_ms, size_t max, struct test_entry **ret)
{
    uint64_t blocked[MODEL_MAX];
    size_t blocked_count = 0, count = 0;
    for (size_t i = 0; i < model->count && count < max; i++) {
        struct test_entry *entry = model->entries[i];
        if (entry->place != WAITING || has(blocked, blocked_count, entry->entry.key_hash))
            continue;
        if (entry->due_ms > now_ms) {
            blocked[blocked_count++] = entry->entry.key_hash;
            continue;
        }
        if (entry->solo && count > 0)
            break;
        ret[count++] = entry;
        if (entry->solo)
            break;
    }
    return count;
}

static int64_t model_due(const struct model *model, int64_t now_ms)
{
    struct test_entry *one;
    if (model_take(model, now_ms, 1, &one) > 0)
        return 0;
    uint64_t seen[MODEL_MAX];
    size_t seen_count = 0;
    int64_t due_ms = INT64_MAX;
    for (size_t i = 0; i < model->count; i++) {
        const struct test_entry *entry = model->entries[i];
        if (entry->place != WAITING || has(seen, seen_count, entry->entry.key_hash))
            continue;
        seen[seen_count++] = entry->entry.key_hash;
        if (entry->due_ms < due_ms)
            due_ms = entry->due_ms;
    }
    return due_ms;
}

static void model_check(const struct model *model, const struct lane *lane, int64_t now_ms)
{
    size_t waiting = 0, held_count = 0;
    uint64_t held[MODEL_MAX];
    for (size_t i = 0; i < model->count; i++) {
        const struct test_entry *entry = model->entries[i];
        if (entry->place != WAITING)
            continue;
        waiting++;
        if (entry->due_ms > now_ms && !has(held, held_count, entry->entry.key_hash))
            held[held_count++] = entry->entry.key_hash;
    }
    assert_int_equal(lane_waiting(lane), waiting);
    assert_in_range(lane_held_keys(lane), held_count, waiting);
    assert_int_equal(lane_due(lane, now_ms), model_due(model, now_ms));
}

static void model_offer(struct model *model, struct lane *lane, uint64_t key)
{
    struct test_entry *entry = calloc(1, sizeof *entry);
    *entry = (struct test_entry){.entry.key_hash = key, .arrived = ++model->arrivals, .place = WAITING};
    model->entries[model->count++] = entry;
    lane_offer(lane, &entry->entry);
}

static void model_forget(struct model *model)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->count; i++) {
        if (model->entries[i]->place == NOWHERE)
            free(model->entries[i]);
        else
            model->entries[kept++] = model->entries[i];
    }
    model->count = kept;
}

/* Gives a batch back, each entry its own way, in the order in which a batch ends: retries, then back, then solo.
 * Later entries of a key that is tried again go back, as they must. `calm`: nothing is tried again. */
static void model_finish(struct lane *lane, struct test_entry **taken, size_t count, int64_t now_ms, bool calm)
{
    struct lane_entry *back[BATCH_MAX], *alone[BATCH_MAX];
    size_t back_count = 0, alone_count = 0, blocked_count = 0;
    uint64_t blocked[BATCH_MAX];
    bool broke = !calm && random() % 12 == 0, all_back = !calm && random() % 12 == 0, backwards = random() % 2;
    for (size_t n = 0; n < count; n++) {
        struct test_entry *entry = taken[n];
        long dice = calm ? 99 : random() % 100;
        entry->due_ms = 0;
        entry->place = WAITING;
        if (all_back) {
            back[back_count++] = &entry->entry;
        } else if (broke || (dice < 3 && !has(blocked, blocked_count, entry->entry.key_hash))) {
            entry->solo = true;
            alone[alone_count++] = &entry->entry;
            blocked[blocked_count++] = entry->entry.key_hash;
        } else if (has(blocked, blocked_count, entry->entry.key_hash) && dice >= 10) {
            back[back_count++] = &entry->entry;
        } else if (dice < 25) {
            entry->solo = false;
            entry->due_ms = now_ms + 1 + random() % 40;
            lane_retry(lane, &entry->entry, entry->due_ms);
            blocked[blocked_count++] = entry->entry.key_hash;
        } else {
            entry->place = NOWHERE;
            lane_done(lane, &entry->entry);
        }
    }
    if (backwards && alone_count > 0)
        lane_isolate(lane, alone, alone_count);
    if (back_count > 0)
        lane_requeue(lane, back, back_count);
    if (!backwards && alone_count > 0)
        lane_isolate(lane, alone, alone_count);
}

struct dropping {
    uint64_t key_bit;
    uint64_t last;
    size_t count;
};

static bool drop_match(const struct lane_entry *entry, void *context)
{
    const struct dropping *dropping = context;
    return ((const struct test_entry *)entry)->arrived & dropping->key_bit;
}

static void drop_each(struct lane_entry *entry, void *context)
{
    struct dropping *dropping = context;
    struct test_entry *mine = (struct test_entry *)entry;
    assert_int_equal(mine->place, WAITING);
    assert_true(mine->arrived > dropping->last);
    dropping->last = mine->arrived;
    dropping->count++;
    mine->place = NOWHERE;
}

static void model_drop(struct model *model, struct lane *lane)
{
    struct dropping dropping = {.key_bit = 1ull << random() % 4};
    size_t count = 0;
    for (size_t i = 0; i < model->count; i++)
        count += model->entries[i]->place == WAITING && (model->entries[i]->arrived & dropping.key_bit) != 0;
    lane_drop(lane, drop_match, drop_each, &dropping);
    assert_int_equal(dropping.count, count);
}

static void model_run(unsigned seed, uint64_t arrivals)
{
    struct model model = {0};
    struct lane *lane = lane_create();
    lane->arrivals = arrivals;
    int64_t now_ms = 1000;
    srandom(seed);
    uint64_t keys = 1 + (uint64_t)random() % 12;
    for (int step = 0; step < 600 || model.count > 0; step++) {
        bool draining = step >= 600;
        long dice = random() % 100;
        if (dice < 45 && !draining) {
            for (long n = random() % 6; n > 0 && model.count < MODEL_MAX; n--)
                model_offer(&model, lane, (uint64_t)random() % keys);
        } else if (dice < 60 || (draining && lane_due(lane, now_ms) > now_ms)) {
            now_ms += random() % 15;
        } else if (dice < 62 && !draining) {
            model_drop(&model, lane);
            model_forget(&model);
        } else {
            struct test_entry *expected[BATCH_MAX];
            struct lane_entry *got[BATCH_MAX];
            size_t max = 1 + (size_t)random() % BATCH_MAX;
            size_t count = model_take(&model, now_ms, max, expected);
            assert_int_equal(lane_take(lane, now_ms, max, got), count);
            for (size_t i = 0; i < count; i++) {
                assert_ptr_equal(got[i], &expected[i]->entry);
                assert_false(got[i]->held);
                assert_int_equal(got[i]->isolated, expected[i]->solo);
                expected[i]->place = TAKEN;
            }
            if (random() % 3 == 0 && !draining && model.count < MODEL_MAX)
                model_offer(&model, lane, (uint64_t)random() % keys); /* arrives while the batch runs */
            model_finish(lane, expected, count, now_ms, draining);
            model_forget(&model);
        }
        model_check(&model, lane, now_ms);
    }
    assert_int_equal(lane_held_keys(lane), 0);
    assert_int_equal(lane_due(lane, now_ms), INT64_MAX);
    lane_destroy(lane);
}

static void random_runs(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 1500; seed++)
        model_run(seed, 0);
}

static void across_the_wrap_of_the_counter(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 200; seed++)
        model_run(seed, (1ull << 32) * (seed % 3 + 1) - 300);
    for (unsigned seed = 1; seed <= 100; seed++)
        model_run(seed, (1ull << 31) - 300);
}

static size_t take_all(struct lane *lane, int64_t now_ms, struct lane_entry **ret)
{
    size_t count = lane_take(lane, now_ms, BATCH_MAX, ret);
    for (size_t i = 0; i < count; i++)
        lane_done(lane, ret[i]);
    return count;
}

static void a_held_key_waits_and_the_others_go_on(void **state)
{
    (void)state;
    struct lane *lane = lane_create();
    struct lane_entry a1 = {.key_hash = 1}, a2 = {.key_hash = 1}, a3 = {.key_hash = 1}, b1 = {.key_hash = 2},
                      b2 = {.key_hash = 2};
    struct lane_entry *got[BATCH_MAX];
    assert_int_equal(lane_due(lane, 0), INT64_MAX);
    lane_offer(lane, &a1);
    lane_offer(lane, &a2);
    lane_offer(lane, &b1);
    assert_int_equal(lane_due(lane, 0), 0);
    assert_int_equal(lane_take(lane, 0, 2, got), 2);
    lane_retry(lane, &a1, 50);
    lane_requeue(lane, (struct lane_entry *[]){&a2}, 1);
    lane_offer(lane, &a3);
    lane_offer(lane, &b2);
    assert_true(a1.held);
    assert_int_equal(lane_held_keys(lane), 1);
    assert_int_equal(take_all(lane, 49, got), 2);
    assert_ptr_equal(got[0], &b1);
    assert_ptr_equal(got[1], &b2);
    assert_int_equal(lane_due(lane, 49), 50);
    assert_int_equal(take_all(lane, 50, got), 3);
    assert_ptr_equal(got[0], &a1);
    assert_ptr_equal(got[1], &a2);
    assert_ptr_equal(got[2], &a3);
    assert_int_equal(lane_held_keys(lane), 0);
    lane_destroy(lane);
}

static void a_broken_batch_runs_one_by_one(void **state)
{
    (void)state;
    struct lane *lane = lane_create();
    struct lane_entry entries[4] = {{.key_hash = 1}, {.key_hash = 2}, {.key_hash = 1}, {.key_hash = 3}};
    struct lane_entry *got[BATCH_MAX];
    for (size_t i = 0; i < 4; i++)
        lane_offer(lane, &entries[i]);
    assert_int_equal(lane_take(lane, 0, 3, got), 3);
    lane_isolate(lane, got, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(lane_take(lane, 0, BATCH_MAX, got), 1);
        assert_ptr_equal(got[0], &entries[i]);
        lane_done(lane, got[0]);
    }
    assert_int_equal(take_all(lane, 0, got), 1);
    lane_destroy(lane);
    lane_destroy(NULL);
}

/* Half a million entries behind 1000 held keys: anything that is not linear would not end. */
static void many_entries_behind_held_keys(void **state)
{
    (void)state;
    enum { KEYS = 1000, ENTRIES = 500000, MOST = 512 };
    struct lane *lane = lane_create();
    struct lane_entry *entries = calloc(ENTRIES, sizeof *entries), *got[MOST];
    uint32_t last[KEYS] = {0};
    size_t ended = 0, count;
    for (size_t i = 0; i < ENTRIES; i++) {
        entries[i].key_hash = i % KEYS;
        lane_offer(lane, &entries[i]);
    }
    for (size_t held = 0; held < KEYS;) {
        count = lane_take(lane, 0, MOST, got);
        for (size_t i = 0; i < count; i++)
            lane_retry(lane, got[i], 1000);
        held += count;
    }
    assert_int_equal(lane_take(lane, 0, MOST, got), 0);
    assert_int_equal(lane_held_keys(lane), KEYS);
    while ((count = lane_take(lane, 1000, MOST, got)) > 0) {
        for (size_t i = 0; i < count; i++) {
            assert_true(got[i]->sequence > last[got[i]->key_hash]);
            last[got[i]->key_hash] = got[i]->sequence;
            lane_done(lane, got[i]);
        }
        ended += count;
    }
    assert_int_equal(ended, ENTRIES);
    free(entries);
    lane_destroy(lane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_key_waits_and_the_others_go_on),
        cmocka_unit_test(a_broken_batch_runs_one_by_one),
        cmocka_unit_test(random_runs),
        cmocka_unit_test(across_the_wrap_of_the_counter),
        cmocka_unit_test(many_entries_behind_held_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
