/*
 * test_chain.c - compensation chains, exhaustively: for every chain of up to five steps, with every choice of which
 * have an undo and which undos are waited for, every state that any order of inputs, with repeats, can lead to is
 * visited once, and from each every input is tried. What is known of the world (what was given, what was emitted) is
 * kept beside the facts by the test.
 */
#include "flow/chain.h"
#include "store/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { STEPS_MAX = 5, MASK = (1 << STEPS_MAX) - 1 };

/* The world: which steps were done, whether an abort passed, which undos are known to have happened, whether one is
 * stuck. */
struct world {
    uint32_t done, undone, emitted;
    bool aborted, stuck;
};

struct search {
    struct chain_shape shape;
    bool *visited; /* by world_index() */
    size_t states, moves;
};

static size_t world_index(const struct world *world)
{
    return ((((size_t)world->done << STEPS_MAX | world->undone) << STEPS_MAX | world->emitted) << 1 | world->aborted)
               << 1 |
           world->stuck;
}

/* Newer steps than `step`. */
static uint32_t newer(int32_t step)
{
    return MASK & ~((2u << step) - 1);
}

static void check_emission(const struct chain_shape *shape, const struct world *world, uint32_t emit)
{
    uint32_t concerned = world->done & shape->has_undo;
    assert_true(emit == 0 || world->aborted);   /* never without an abort */
    assert_int_equal(emit & world->emitted, 0); /* once */
    assert_int_equal(emit & ~concerned, 0);     /* only what was done, and only with an undo */
    uint32_t emitted = world->emitted | emit;
    for (int32_t step = 0; step < shape->step_count; step++) {
        uint32_t ahead = concerned & newer(step);
        bool waits = (ahead & shape->waits & ~world->undone) != 0;
        if (emit & 1u << step) {
            assert_int_equal(ahead & ~emitted, 0); /* newest first among those known */
            assert_false(waits);
        } else if (world->aborted && (concerned & ~emitted & 1u << step)) {
            assert_true(waits); /* held back for no other reason: a late step goes at once */
        }
    }
}

static void check_state(const struct chain_shape *shape, const struct world *world, const struct chain_facts *facts)
{
    uint32_t concerned = world->done & shape->has_undo;
    uint32_t known = world->undone | (world->stuck ? 0 : world->emitted & ~shape->waits);
    assert_int_equal(facts->done, world->done);
    assert_int_equal(facts->undoing, world->emitted);
    assert_int_equal(facts->undone, world->undone);
    if (!world->aborted)
        assert_int_equal(facts->state, CHAIN_RUNNING);
    else if ((concerned & ~known) == 0)
        assert_int_equal(facts->state, CHAIN_UNDONE);
    else
        assert_int_equal(facts->state, world->stuck ? CHAIN_STUCK : CHAIN_ABORTED);
}

enum input { INPUT_DONE, INPUT_ABORT, INPUT_UNDONE, INPUT_STUCK, INPUT_RESUMED };

static void visit(struct search *search, const struct world *world, const struct chain_facts *facts);

/* Tries an input on a copy. `repeat`: it was given before, so nothing may change. */
static void try_input(struct search *search, const struct world *world, const struct chain_facts *facts,
                      enum input input, int32_t step)
{
    struct world after = *world;
    struct chain_facts mine = *facts;
    uint32_t emit = 0;
    bool repeat = false;
    switch (input) {
    case INPUT_DONE:
        repeat = world->done & 1u << step;
        after.done |= 1u << step;
        emit = chain_step_done(&search->shape, &mine, step);
        break;
    case INPUT_ABORT:
        repeat = world->aborted;
        after.aborted = true;
        emit = chain_abort(&search->shape, &mine);
        break;
    case INPUT_UNDONE: /* when this chain did not emit that undo, it is somebody else's and says nothing */
        repeat = (world->undone | ~world->emitted) & 1u << step;
        after.undone |= world->emitted & 1u << step;
        emit = chain_step_undone(&search->shape, &mine, step);
        break;
    case INPUT_STUCK:
        after.stuck = world->aborted;
        chain_stuck(&mine);
        break;
    case INPUT_RESUMED:
        after.stuck = false;
        if (mine.state == CHAIN_STUCK)
            mine.state = CHAIN_ABORTED;            /* what an operator's statement does */
        emit = chain_abort(&search->shape, &mine); /* any input puts the state right */
        if (!world->aborted)
            return;
        break;
    }
    search->moves++;
    check_emission(&search->shape, &after, emit);
    after.emitted |= emit;
    /* Once all is known to be undone, nothing is stuck. */
    if (after.stuck && input != INPUT_STUCK && (after.done & search->shape.has_undo & ~after.undone) == 0)
        after.stuck = false;
    if (input != INPUT_STUCK)
        check_state(&search->shape, &after, &mine);
    else
        assert_int_equal(mine.state, world->aborted ? CHAIN_STUCK : CHAIN_RUNNING);
    if (repeat) {
        assert_int_equal(emit, 0);
        if (mine.state != CHAIN_UNDONE || facts->state != CHAIN_STUCK)
            assert_memory_equal(&mine, facts, sizeof mine);
    }
    visit(search, &after, &mine);
}

static void visit(struct search *search, const struct world *world, const struct chain_facts *facts)
{
    size_t index = world_index(world);
    if (search->visited[index])
        return;
    search->visited[index] = true;
    search->states++;
    for (int32_t step = 0; step < search->shape.step_count; step++) {
        try_input(search, world, facts, INPUT_DONE, step);
        try_input(search, world, facts, INPUT_UNDONE, step);
    }
    try_input(search, world, facts, INPUT_ABORT, -1);
    try_input(search, world, facts, INPUT_STUCK, -1);
    try_input(search, world, facts, INPUT_RESUMED, -1);
    /* When the world is quiet (all that was emitted was undone), nothing that was done is left. */
    if (world->aborted && (world->emitted & ~world->undone) == 0)
        assert_int_equal(world->done & search->shape.has_undo & ~world->undone, 0);
}

static void every_order_of_every_input(void **state)
{
    (void)state;
    size_t size = (size_t)1 << (3 * STEPS_MAX + 2), shapes = 0, moves = 0;
    bool *visited = calloc(size, sizeof *visited);
    for (int32_t steps = 1; steps <= STEPS_MAX; steps++) {
        for (uint32_t has_undo = 0; has_undo < 1u << steps; has_undo++) {
            for (uint32_t waits = 0; waits < 1u << steps; waits++) {
                if (waits & ~has_undo)
                    continue;
                memset(visited, 0, size * sizeof *visited);
                struct search search = {.shape = {steps, has_undo, waits}, .visited = visited};
                visit(&search, &(struct world){0}, &(struct chain_facts){.state = CHAIN_RUNNING});
                /* each set of done steps, with and without an abort */
                assert_true(search.states >= (size_t)2 << steps);
                shapes++;
                moves += search.moves;
            }
        }
    }
    assert_int_equal(shapes, 3 + 9 + 27 + 81 + 243);
    assert_true(moves > 100000);
    free(visited);
}

static void the_purchase_undone(void **state)
{
    (void)state;
    /* charge, whose undo is reported; a note, which has none; a reservation */
    struct chain_shape shape = {.step_count = 3, .has_undo = 1 | 4, .waits = 1};
    struct chain_facts facts = {0};
    assert_int_equal(chain_abort(&shape, &facts), 0); /* overtakes what it undoes, and is remembered */
    assert_int_equal(facts.state, CHAIN_UNDONE);
    assert_int_equal(chain_step_done(&shape, &facts, 0), 1);
    assert_int_equal(facts.state, CHAIN_ABORTED);
    assert_int_equal(chain_step_done(&shape, &facts, 2), 4); /* newer than the one that is waited for: at once */
    assert_int_equal(chain_step_undone(&shape, &facts, 0), 0);
    assert_int_equal(facts.state, CHAIN_UNDONE);
}

static void steps_at_the_upper_end(void **state)
{
    (void)state;
    struct chain_shape shape = {CHAIN_STEPS_MAX, (1u << CHAIN_STEPS_MAX) - 1, 1u << (CHAIN_STEPS_MAX - 1)};
    struct chain_facts facts = {0};
    for (int32_t step = 0; step < CHAIN_STEPS_MAX; step++)
        assert_int_equal(chain_step_done(&shape, &facts, step), 0);
    assert_int_equal(chain_abort(&shape, &facts), 1u << (CHAIN_STEPS_MAX - 1));
    assert_int_equal(chain_step_undone(&shape, &facts, CHAIN_STEPS_MAX - 1), (1u << (CHAIN_STEPS_MAX - 1)) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_every_input),
        cmocka_unit_test(the_purchase_undone),
        cmocka_unit_test(steps_at_the_upper_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
