/*
 * test_plan.c - how a batch is cut into calls: every batch of up to six entries of three keys and two handlers,
 * then random large ones.
 */
#include "flow/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct plan {
    size_t count;
    uint64_t *keys;
    uint32_t *bindings, *max, *order, *before, *call_of, *level;
    struct call_plan *calls;
    bool *seen;
    struct arena *arena;
};

static void plan_init(struct plan *plan, size_t most, size_t bindings)
{
    *plan = (struct plan){
        .keys = calloc(most, sizeof *plan->keys),
        .bindings = calloc(most, sizeof *plan->bindings),
        .max = calloc(bindings, sizeof *plan->max),
        .order = calloc(most, sizeof *plan->order),
        .before = calloc(most, sizeof *plan->before),
        .call_of = calloc(most, sizeof *plan->call_of),
        .level = calloc(most, sizeof *plan->level),
        .calls = calloc(most, sizeof *plan->calls),
        .seen = calloc(most, sizeof *plan->seen),
        .arena = arena_create(1 << 16, most * 64 + 512), /* linear in memory */
    };
}

static void plan_free(struct plan *plan)
{
    free(plan->keys);
    free(plan->bindings);
    free(plan->max);
    free(plan->order);
    free(plan->before);
    free(plan->call_of);
    free(plan->level);
    free(plan->calls);
    free(plan->seen);
    arena_destroy(plan->arena);
}

/* The fewest calls that keep every key's n-th entries apart from its others: for each n and handler, as many as its
 * maximum asks. */
static size_t plan_calls_of_levels(struct plan *plan)
{
    size_t calls = 0;
    memset(plan->seen, 0, plan->count * sizeof *plan->seen);
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->seen[i])
            continue;
        uint32_t alike = 0;
        for (size_t j = i; j < plan->count; j++) {
            if (plan->level[j] == plan->level[i] && plan->bindings[j] == plan->bindings[i]) {
                plan->seen[j] = true;
                alike++;
            }
        }
        calls += (alike + plan->max[plan->bindings[i]] - 1) / plan->max[plan->bindings[i]];
    }
    return calls;
}

/* `thorough` looks at all pairs. */
static void plan_check(struct plan *plan, bool thorough)
{
    size_t call_count = plan_calls(plan->count, plan->keys, plan->bindings, plan->max, plan->order, plan->before,
                                   plan->calls, plan->arena);
    memset(plan->seen, 0, plan->count * sizeof *plan->seen);
    uint32_t next = 0;
    for (uint32_t c = 0; c < call_count; c++) {
        const struct call_plan *call = &plan->calls[c];
        assert_int_equal(call->first, next);
        assert_in_range(call->count, 1, plan->max[call->binding]);
        for (uint32_t n = 0; n < call->count; n++, next++) {
            uint32_t i = plan->order[next];
            assert_true(i < plan->count && !plan->seen[i]);
            assert_int_equal(plan->bindings[i], call->binding);
            if (n > 0)
                assert_true(plan->order[next - 1] < i);
            plan->seen[i] = true;
            plan->call_of[i] = c;
        }
    }
    assert_int_equal(next, plan->count);
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t before = plan->before[i];
        plan->level[i] = before == PLAN_NONE ? 0 : plan->level[before] + 1;
        if (before != PLAN_NONE) {
            assert_true(before < i && plan->keys[before] == plan->keys[i]);
            assert_true(plan->call_of[before] < plan->call_of[i]); /* in order, so never two of a key in a call */
        }
        if (!thorough)
            continue;
        uint32_t naive = PLAN_NONE;
        for (uint32_t j = 0; j < i; j++)
            if (plan->keys[j] == plan->keys[i])
                naive = j;
        assert_int_equal(before, naive);
    }
    if (thorough)
        assert_int_equal(call_count, plan_calls_of_levels(plan));
    arena_reset(plan->arena);
}

static void every_small_batch(void **state)
{
    (void)state;
    struct plan plan;
    plan_init(&plan, 6, 2);
    for (plan.count = 0; plan.count <= 6; plan.count++) {
        unsigned combinations = 1;
        for (size_t i = 0; i < plan.count; i++)
            combinations *= 6;
        for (unsigned c = 0; c < combinations; c++) {
            unsigned rest = c;
            for (size_t i = 0; i < plan.count; i++, rest /= 6) {
                plan.keys[i] = rest % 3;
                plan.bindings[i] = rest % 6 / 3;
            }
            for (unsigned m = 0; m < 9; m++) {
                plan.max[0] = m % 3 + 1;
                plan.max[1] = m / 3 == 2 ? UINT32_MAX : m / 3 + 1;
                if (plan.max[1] == UINT32_MAX)
                    plan.max[1] = 1000;
                plan_check(&plan, true);
            }
        }
    }
    plan_free(&plan);
}

static void random_batches(void **state)
{
    (void)state;
    struct plan plan;
    plan_init(&plan, 600, 5);
    for (unsigned seed = 1; seed <= 400; seed++) {
        srandom(seed);
        plan.count = 1 + (size_t)random() % 600;
        /* hashes alike in their low bits */
        uint64_t keys = 1 + (uint64_t)random() % 700, stride = random() % 2 ? 1 : 1ull << 40;
        for (size_t i = 0; i < plan.count; i++) {
            plan.keys[i] = (uint64_t)random() % keys * stride;
            plan.bindings[i] = (uint32_t)random() % 5;
        }
        for (size_t u = 0; u < 5; u++)
            plan.max[u] = 1 + (uint32_t)random() % 200;
        plan_check(&plan, true);
    }
    plan_free(&plan);
}

/* Large ones, all of one key and all of different keys: what is not linear would not end. */
static void large_batches(void **state)
{
    (void)state;
    enum { LARGE = 300000 };
    struct plan plan;
    plan_init(&plan, LARGE, 2);
    plan.count = LARGE;
    plan.max[0] = 500;
    plan.max[1] = 0; /* none said: one a call */
    plan.max[1] = 1;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < LARGE; i++) {
            plan.keys[i] = round == 0 ? 42 : round == 1 ? i : i / 2;
            plan.bindings[i] = i % 2;
        }
        plan_check(&plan, false);
    }
    plan_free(&plan);
}

static void distinct_keys_make_the_fewest_calls(void **state)
{
    (void)state;
    struct plan plan;
    plan_init(&plan, 100, 2);
    plan.count = 100;
    plan.max[0] = 64;
    plan.max[1] = 7;
    for (size_t i = 0; i < 100; i++) {
        plan.keys[i] = i * 77;
        plan.bindings[i] = i % 4 == 3;
    }
    assert_int_equal(
        plan_calls(100, plan.keys, plan.bindings, plan.max, plan.order, plan.before, plan.calls, plan.arena), 2 + 4);
    plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_small_batch),
        cmocka_unit_test(random_batches),
        cmocka_unit_test(large_batches),
        cmocka_unit_test(distinct_keys_make_the_fewest_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
