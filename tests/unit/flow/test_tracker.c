/*
 * test_tracker.c - the tracker against a model that remembers every record: all orders of completion of up to six
 * records, all ways in which deliveries and completions of seven may interleave, and long random runs with gaps,
 * repeats and other epochs. And what of the log is consumed without a record.
 */
#include "flow/tracker.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MODEL_MAX = 4096, EPOCH = 7 };

struct model {
    struct position positions[MODEL_MAX];
    uint64_t tickets[MODEL_MAX];
    bool done[MODEL_MAX];
    size_t count, in_flight, told; /* told: records below the watermark that was last said */
};

static struct position at(uint64_t high, uint64_t low)
{
    return (struct position){high, low};
}

static size_t model_watermark(const struct model *model)
{
    size_t count = 0;
    while (count < model->count && model->done[count])
        count++;
    return count;
}

static void model_add(struct model *model, struct tracker *tracker, struct position position)
{
    assert_int_equal(tracker_add(tracker, position, &model->tickets[model->count]), 0);
    model->positions[model->count] = position;
    model->done[model->count++] = false;
    model->in_flight++;
}

static void model_complete(struct model *model, struct tracker *tracker, size_t i)
{
    tracker_complete(tracker, EPOCH, model->tickets[i]);
    model->done[i] = true;
    model->in_flight--;
}

/* What the tracker says is what the model knows; asking twice says it once. */
static void model_check(struct model *model, struct tracker *tracker)
{
    struct position said = {99, 99};
    size_t below = model_watermark(model);
    assert_int_equal(tracker_in_flight(tracker), model->in_flight);
    assert_int_equal(tracker_watermark(tracker, &said), below > model->told);
    if (below > model->told)
        assert_int_equal(position_compare(said, model->positions[below - 1]), 0);
    else
        assert_int_equal(said.high, 99);
    model->told = below;
    assert_false(tracker_watermark(tracker, &said));
}

/* Positions with gaps in both halves, as compaction and transactions leave them. */
static struct position gapped(size_t i)
{
    return at(i / 2 * 3, i % 2 == 0 ? 5 : 1000);
}

static void permute(size_t *order, size_t from, size_t count, size_t *ret_runs)
{
    if (from == count) {
        struct tracker *tracker = tracker_create(EPOCH, 6);
        struct model model = {0};
        for (size_t i = 0; i < count; i++)
            model_add(&model, tracker, gapped(i));
        model_check(&model, tracker);
        for (size_t i = 0; i < count; i++) {
            model_complete(&model, tracker, order[i]);
            model_check(&model, tracker);
        }
        assert_int_equal(model.told, count);
        tracker_destroy(tracker);
        (*ret_runs)++;
        return;
    }
    for (size_t i = from; i < count; i++) {
        size_t mine = order[from];
        order[from] = order[i];
        order[i] = mine;
        permute(order, from + 1, count, ret_runs);
        order[i] = order[from];
        order[from] = mine;
    }
}

static void every_order_of_completion(void **state)
{
    (void)state;
    size_t runs = 0;
    for (size_t count = 1; count <= 6; count++) {
        size_t order[6] = {0, 1, 2, 3, 4, 5};
        permute(order, 0, count, &runs);
    }
    assert_int_equal(runs, 1 + 2 + 6 + 24 + 120 + 720);
}

/* choices[]: -1 delivers the next record, i completes record i. The sequence is run anew for each extension of it. */
static void interleave(int *choices, size_t length, size_t added, unsigned done, size_t total, size_t *ret_runs)
{
    if (length == total * 2) {
        struct tracker *tracker = tracker_create(EPOCH, total);
        struct model model = {0};
        for (size_t i = 0; i < length; i++) {
            if (choices[i] < 0)
                model_add(&model, tracker, gapped(model.count));
            else
                model_complete(&model, tracker, (size_t)choices[i]);
            model_check(&model, tracker);
        }
        tracker_destroy(tracker);
        (*ret_runs)++;
        return;
    }
    if (added < total) {
        choices[length] = -1;
        interleave(choices, length + 1, added + 1, done, total, ret_runs);
    }
    for (size_t i = 0; i < added; i++) {
        if (done & 1u << i)
            continue;
        choices[length] = (int)i;
        interleave(choices, length + 1, added, done | 1u << i, total, ret_runs);
    }
}

static void every_interleaving(void **state)
{
    (void)state;
    int choices[14];
    size_t runs = 0;
    interleave(choices, 0, 0, 0, 7, &runs);
    assert_int_equal(runs, 1 * 3 * 5 * 7 * 9 * 11 * 13);
}

static void random_runs(void **state)
{
    (void)state;
    static struct model model;
    for (unsigned seed = 1; seed <= 60; seed++) {
        srandom(seed);
        model = (struct model){0};
        size_t max = 1 + (size_t)random() % 300;
        struct tracker *tracker = tracker_create(EPOCH, max);
        struct position next = at(0, 0);
        uint64_t ticket;
        while (model.count < MODEL_MAX || model.in_flight > 0) {
            long dice = random() % 100;
            if (dice < 52 && model.count < MODEL_MAX) {
                if (model.in_flight == max) {
                    assert_int_equal(tracker_add(tracker, next, &ticket), -ENOSPC);
                } else {
                    model_add(&model, tracker, next);
                    next = random() % 9 == 0 ? at(next.high + 1 + (uint64_t)random() % 4, 0)
                                             : at(next.high, next.low + 1 + (uint64_t)random() % 5);
                }
            } else if (dice < 55 && model.count > 0) {
                struct position again = model.positions[(size_t)random() % model.count];
                assert_int_equal(tracker_add(tracker, again, &ticket), -EEXIST);
            } else if (dice < 58 && model.count > 0) {
                tracker_complete(tracker, EPOCH + (random() % 2 ? 1 : -1),
                                 model.tickets[(size_t)random() % model.count]);
            } else if (model.in_flight > 0) {
                size_t i = model.told + (size_t)random() % (model.count - model.told);
                while (model.done[i])
                    i = i + 1 < model.count ? i + 1 : model.told;
                model_complete(&model, tracker, i);
            }
            model_check(&model, tracker);
        }
        assert_int_equal(model.told, MODEL_MAX);
        tracker_destroy(tracker);
    }
}

static void an_old_epoch_completes_nothing(void **state)
{
    (void)state;
    uint64_t old_ticket, ticket;
    struct position position;
    struct tracker *old = tracker_create(1, 8), *tracker = tracker_create(2, 8);
    assert_int_equal(tracker_add(old, at(5, 0), &old_ticket), 0);
    assert_int_equal(tracker_add(tracker, at(5, 0), &ticket), 0);
    assert_int_equal(tracker_epoch(old), 1);
    assert_int_equal(tracker_epoch(tracker), 2);
    tracker_complete(tracker, 1, old_ticket); /* revoked and assigned again while the record was being handled */
    assert_false(tracker_watermark(tracker, &position));
    assert_int_equal(tracker_in_flight(tracker), 1);
    tracker_complete(tracker, 2, ticket);
    assert_true(tracker_watermark(tracker, &position));
    tracker_destroy(old);
    tracker_destroy(tracker);
}

static void the_watermark_never_passes_a_refused_record(void **state)
{
    (void)state;
    uint64_t a, b, c;
    struct position position;
    struct tracker *tracker = tracker_create(EPOCH, 1);
    assert_int_equal(tracker_add(tracker, at(1, 0), &a), 0);
    assert_int_equal(tracker_add(tracker, at(2, 0), &b), -ENOSPC);
    tracker_complete(tracker, EPOCH, a);
    assert_true(tracker_watermark(tracker, &position));
    assert_int_equal(position.high, 1);
    assert_int_equal(tracker_add(tracker, at(3, 0), &c), -ENOSPC);
    assert_int_equal(tracker_add(tracker, at(2, 0), &b), 0);
    tracker_complete(tracker, EPOCH, b);
    assert_int_equal(tracker_add(tracker, at(3, 0), &c), 0);
    tracker_complete(tracker, EPOCH, c);
    assert_true(tracker_watermark(tracker, &position));
    assert_int_equal(position.high, 3);
    tracker_destroy(tracker);
    tracker_destroy(NULL);

    tracker = tracker_create(EPOCH, 0);
    assert_int_equal(tracker_add(tracker, at(0, 0), &a), -ENOSPC);
    tracker_destroy(tracker);
}

/* One record that is retried for long costs one slot: a million that pass it fit into a tracker of two. */
static void a_slow_record_costs_one_slot(void **state)
{
    (void)state;
    uint64_t slow, ticket;
    struct position position;
    struct tracker *tracker = tracker_create(EPOCH, 2);
    assert_int_equal(tracker_add(tracker, at(0, 0), &slow), 0);
    for (uint64_t i = 1; i <= 1000000; i++) {
        assert_int_equal(tracker_add(tracker, at(i, 0), &ticket), 0);
        tracker_complete(tracker, EPOCH, ticket);
    }
    assert_false(tracker_watermark(tracker, &position));
    tracker_complete(tracker, EPOCH, slow);
    assert_true(tracker_watermark(tracker, &position));
    assert_int_equal(position.high, 1000000);
    tracker_destroy(tracker);
}

/* What the log holds beside records (control records, aborted transactions, what compaction removed) is consumed with
 * what lies before it: at once when nothing is in flight, else with the last record that was delivered before. */
static void what_holds_no_record_is_consumed(void **state)
{
    (void)state;
    uint64_t a, b;
    struct position position;
    struct tracker *tracker = tracker_create(EPOCH, 8);
    tracker_consume(tracker, at(4, 0)); /* before any record */
    assert_true(tracker_watermark(tracker, &position));
    assert_int_equal(position.high, 4);
    assert_int_equal(tracker_add(tracker, at(3, 0), &a), -EEXIST);

    assert_int_equal(tracker_add(tracker, at(5, 0), &a), 0);
    assert_int_equal(tracker_add(tracker, at(6, 0), &b), 0);
    tracker_consume(tracker, at(9, 0));
    assert_false(tracker_watermark(tracker, &position));
    tracker_complete(tracker, EPOCH, b);
    assert_false(tracker_watermark(tracker, &position)); /* nothing moves it past a record in flight */
    tracker_complete(tracker, EPOCH, a);
    assert_true(tracker_watermark(tracker, &position));
    assert_int_equal(position.high, 9);

    tracker_consume(tracker, at(9, 0)); /* what is known already is no news */
    tracker_consume(tracker, at(2, 0));
    assert_false(tracker_watermark(tracker, &position));
    assert_int_equal(tracker_in_flight(tracker), 0);

    assert_int_equal(tracker_add(tracker, at(12, 0), &a), 0); /* a gap before a record that is held for long */
    tracker_complete(tracker, EPOCH, a);
    assert_true(tracker_watermark(tracker, &position));
    assert_int_equal(position.high, 12);
    tracker_destroy(tracker);
}

static void a_refused_record_is_not_consumed(void **state)
{
    (void)state;
    uint64_t a, b;
    struct position position;
    struct tracker *tracker = tracker_create(EPOCH, 1);
    assert_int_equal(tracker_add(tracker, at(1, 0), &a), 0);
    assert_int_equal(tracker_add(tracker, at(2, 0), &b), -ENOSPC);
    tracker_consume(tracker, at(5, 0));
    tracker_complete(tracker, EPOCH, a);
    assert_true(tracker_watermark(tracker, &position));
    assert_int_equal(position.high, 1);
    assert_int_equal(tracker_add(tracker, at(2, 0), &b), 0);
    tracker_destroy(tracker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_completion),
        cmocka_unit_test(every_interleaving),
        cmocka_unit_test(random_runs),
        cmocka_unit_test(an_old_epoch_completes_nothing),
        cmocka_unit_test(the_watermark_never_passes_a_refused_record),
        cmocka_unit_test(a_slow_record_costs_one_slot),
        cmocka_unit_test(what_holds_no_record_is_consumed),
        cmocka_unit_test(a_refused_record_is_not_consumed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
