/*
 * test_chain.c - compensation chains, exhaustively: for every chain of up to four steps, with every choice of which
 * have an undo and which undos are waited for, every state that any order of inputs can lead to is visited once, with
 * up to four doings, of one step or of several, in up to two generations; from each every input is tried. What is known
 * of the world (what was done, what was emitted, what was undone) is kept beside the facts by the test.
 */
#include "flow/chain.h"
#include "store/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t chain_step_done(const struct chain_shape *shape, struct chain_facts *facts, int32_t step)
{
    const uint8_t number = (uint8_t)step;
    if (shape->has_undo >> step & 1)
        chain_note(facts, &number, 1);
    return chain_settle(shape, facts);
}

enum { STEPS_MAX = 4, DOINGS_MAX = 4, GENERATIONS_MAX = 2, STATES_MAX = 1 << 20 };

/* The world: of each generation's doings, in the order they came. */
struct world {
    struct {
        uint8_t step;
        bool emitted, undone;
    } doings[DOINGS_MAX];
    uint8_t count, generation;
    bool aborted, stuck;
};

struct search {
    struct chain_shape shape;
    struct world *visited; /* a hash table of STATES_MAX */
    bool *used;
    size_t states, moves;
};

static bool visited_before(struct search *search, const struct world *world)
{
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *world; i++)
        hash = (hash ^ ((const uint8_t *)world)[i]) * 1099511628211u;
    size_t at = hash % STATES_MAX;
    for (; search->used[at]; at = (at + 1) % STATES_MAX)
        if (memcmp(&search->visited[at], world, sizeof *world) == 0)
            return true;
    search->used[at] = true;
    search->visited[at] = *world;
    assert_true(++search->states < STATES_MAX / 2);
    return false;
}

/* Doings that must be undone before `doing`, and have not been emitted; or are waited for. */
static bool held_back(const struct search *search, const struct world *world, int doing, uint64_t emit)
{
    for (int other = 0; other < world->count; other++) {
        if (world->doings[other].step <= world->doings[doing].step)
            continue;
        if (!world->doings[other].emitted && !(emit >> other & 1))
            return true;
        if ((search->shape.waits >> world->doings[other].step & 1) && !world->doings[other].undone)
            return true;
    }
    return false;
}

static void check_emission(const struct search *search, const struct world *world, uint64_t emit)
{
    assert_true(emit == 0 || world->aborted); /* never without an abort */
    assert_int_equal(emit >> world->count, 0);
    for (int i = 0; i < world->count; i++) {
        bool emitted = emit >> i & 1;
        assert_false(emitted && world->doings[i].emitted); /* each once */
        if (world->aborted && !world->doings[i].emitted)   /* as soon as it may be, and not before */
            assert_int_equal(emitted, !held_back(search, world, i, emit));
    }
}

static bool over(const struct search *search, const struct world *world)
{
    bool all = world->aborted;
    for (int i = 0; i < world->count; i++)
        all = all && (world->doings[i].undone || (world->doings[i].emitted && !world->stuck &&
                                                  !(search->shape.waits >> world->doings[i].step & 1)));
    return all;
}

static void check_facts(const struct search *search, const struct world *world, const struct chain_facts *facts)
{
    assert_int_equal(facts->generation, world->generation);
    assert_int_equal(facts->count, world->count);
    for (int i = 0; i < world->count; i++) {
        assert_int_equal(facts->steps[i], world->doings[i].step);
        assert_int_equal(facts->undoing >> i & 1, world->doings[i].emitted);
        assert_int_equal(facts->undone >> i & 1, world->doings[i].undone);
    }
    if (!world->aborted)
        assert_int_equal(facts->state, CHAIN_RUNNING);
    else if (over(search, world))
        assert_int_equal(facts->state, CHAIN_UNDONE);
    else
        assert_int_equal(facts->state, world->stuck ? CHAIN_STUCK : CHAIN_ABORTED);
}

static bool done_before(const struct world *world, int32_t step)
{
    for (int i = 0; i < world->count; i++)
        if (world->doings[i].step == step)
            return true;
    return false;
}

static void visit(struct search *search, const struct world *world, const struct chain_facts *facts);

/* What every input ends with. `repeat`: it was given before, so nothing may change. */
static void after(struct search *search, struct world *world, struct chain_facts *facts, uint64_t emit)
{
    search->moves++;
    check_emission(search, world, emit);
    for (int i = 0; i < world->count; i++)
        world->doings[i].emitted |= emit >> i & 1;
    if (world->stuck && over(search, world)) /* once all is known to be undone, nothing is stuck */
        world->stuck = false;
    check_facts(search, world, facts);
    visit(search, world, facts);
}

static void do_step(struct search *search, struct world world, struct chain_facts facts, int32_t step)
{
    bool has_undo = search->shape.has_undo >> step & 1;
    if (has_undo && over(search, &world) && done_before(&world, step)) {
        if (world.generation + 1 == GENERATIONS_MAX)
            return;
        uint8_t generation = (uint8_t)(world.generation + 1);
        memset(&world, 0, sizeof world);
        world.generation = generation;
    }
    if (has_undo && world.count == DOINGS_MAX)
        return;
    if (has_undo)
        world.doings[world.count++].step = (uint8_t)step;
    uint64_t emit = chain_step_done(&search->shape, &facts, step);
    after(search, &world, &facts, emit);
}

static void do_abort(struct search *search, struct world world, struct chain_facts facts)
{
    const struct chain_facts before = facts;
    bool repeat = world.aborted;
    world.aborted = true;
    uint64_t emit = chain_abort(&search->shape, &facts);
    if (repeat && before.state != CHAIN_STUCK)
        assert_memory_equal(&facts, &before, sizeof facts);
    after(search, &world, &facts, emit);
}

/* When this chain did not emit that undo, it is somebody else's and says nothing. */
static void do_undone(struct search *search, struct world world, struct chain_facts facts, int32_t doing)
{
    if (doing < world.count && world.doings[doing].emitted)
        world.doings[doing].undone = true;
    uint64_t emit = chain_undone(&search->shape, &facts, doing);
    after(search, &world, &facts, emit);
}

/* Of the doings whose undo was emitted and is not known to have happened: the last one of the step. */
static void do_step_undone(struct search *search, struct world world, struct chain_facts facts, int32_t step)
{
    for (int i = world.count - 1; i >= 0; i--)
        if (world.doings[i].step == step && world.doings[i].emitted && !world.doings[i].undone) {
            world.doings[i].undone = true;
            break;
        }
    uint64_t emit = chain_step_undone(&search->shape, &facts, step);
    after(search, &world, &facts, emit);
}

static void do_stuck(struct search *search, struct world world, struct chain_facts facts)
{
    chain_stuck(&facts);
    assert_int_equal(facts.state, world.aborted ? CHAIN_STUCK : CHAIN_RUNNING);
    world.stuck = world.aborted;
    if (!world.aborted)
        return;
    uint64_t emit = chain_settle(&search->shape, &facts);
    after(search, &world, &facts, emit);
}

static void do_resumed(struct search *search, struct world world, struct chain_facts facts)
{
    if (!world.stuck)
        return;
    world.stuck = false;
    facts.state = CHAIN_ABORTED; /* what an operator's statement does; any input puts the state right */
    uint64_t emit = chain_abort(&search->shape, &facts);
    after(search, &world, &facts, emit);
}

static void visit(struct search *search, const struct world *world, const struct chain_facts *facts)
{
    if (visited_before(search, world))
        return;
    for (int32_t step = 0; step < search->shape.step_count; step++) {
        do_step(search, *world, *facts, step);
        do_step_undone(search, *world, *facts, step);
    }
    for (int32_t doing = 0; doing <= world->count; doing++)
        do_undone(search, *world, *facts, doing);
    do_abort(search, *world, *facts);
    do_stuck(search, *world, *facts);
    do_resumed(search, *world, *facts);
    /* When the world is quiet (all that was emitted was undone), nothing that was done is left. */
    bool quiet = world->aborted, left = false;
    for (int i = 0; i < world->count; i++) {
        quiet = quiet && world->doings[i].emitted == world->doings[i].undone;
        left = left || !world->doings[i].undone;
    }
    assert_false(quiet && left);
}

static void every_order_of_every_input(void **state)
{
    (void)state;
    size_t shapes = 0, moves = 0;
    struct world *visited = calloc(STATES_MAX, sizeof *visited), world;
    bool *used = calloc(STATES_MAX, sizeof *used);
    memset(&world, 0, sizeof world);
    for (int32_t steps = 1; steps <= STEPS_MAX; steps++) {
        for (uint32_t has_undo = 0; has_undo < 1u << steps; has_undo++) {
            for (uint32_t waits = 0; waits < 1u << steps; waits++) {
                if (waits & ~has_undo)
                    continue;
                memset(used, 0, STATES_MAX * sizeof *used);
                struct search search = {.shape = {steps, has_undo, waits}, .visited = visited, .used = used};
                visit(&search, &world, &(struct chain_facts){.state = CHAIN_RUNNING});
                shapes++;
                moves += search.moves;
            }
        }
    }
    assert_int_equal(shapes, 3 + 9 + 27 + 81);
    assert_true(moves > 100000);
    free(visited);
    free(used);
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
    assert_int_equal(chain_step_done(&shape, &facts, 2), 2); /* newer than the one that is waited for: at once */
    assert_int_equal(chain_step_undone(&shape, &facts, 0), 0);
    assert_int_equal(facts.state, CHAIN_UNDONE);
    assert_int_equal(chain_step_done(&shape, &facts, 1), 0); /* has no undo: it begins nothing */
    assert_int_equal(facts.generation, 0);
}

/* Paid twice, failed, paid again under the same correlation, failed again. */
static void undone_as_often_as_done(void **state)
{
    (void)state;
    struct chain_shape shape = {.step_count = 2, .has_undo = 3};
    struct chain_facts facts = {0};
    assert_int_equal(chain_step_done(&shape, &facts, 0), 0);
    assert_int_equal(chain_step_done(&shape, &facts, 1), 0);
    assert_int_equal(chain_step_done(&shape, &facts, 0), 0);
    uint64_t undo = chain_abort(&shape, &facts);
    assert_int_equal(undo, 7);
    const int32_t order[] = {1, 2, 0};
    for (int i = 0; i < 3; i++, undo &= ~((uint64_t)1 << order[i - 1]))
        assert_int_equal(chain_newest(&facts, undo), order[i]);
    assert_int_equal(chain_newest(&facts, undo), -1);
    assert_int_equal(chain_repeats(&facts, 0), 0);
    assert_int_equal(chain_repeats(&facts, 1), 0);
    assert_int_equal(chain_repeats(&facts, 2), 1);
    assert_int_equal(facts.state, CHAIN_UNDONE);

    assert_int_equal(chain_step_done(&shape, &facts, 0), 0); /* begins again */
    assert_int_equal(facts.generation, 1);
    assert_int_equal(facts.state, CHAIN_RUNNING);
    assert_int_equal(facts.count, 1);
    assert_int_equal(chain_abort(&shape, &facts), 1);
    assert_int_equal(facts.state, CHAIN_UNDONE);
}

static void steps_at_the_upper_end(void **state)
{
    (void)state;
    struct chain_shape shape = {CHAIN_STEPS_MAX, (1u << CHAIN_STEPS_MAX) - 1, 1u << (CHAIN_STEPS_MAX - 1)};
    struct chain_facts facts = {0};
    for (int32_t doing = 0; doing < CHAIN_DOINGS_MAX; doing++)
        assert_int_equal(chain_step_done(&shape, &facts, doing % CHAIN_STEPS_MAX), 0);
    uint64_t last = (uint64_t)1 << (CHAIN_STEPS_MAX - 1) | (uint64_t)1 << (CHAIN_DOINGS_MAX - 1);
    assert_true(chain_abort(&shape, &facts) == last);
    assert_true(chain_step_undone(&shape, &facts, CHAIN_STEPS_MAX - 1) == 0);
    assert_true(chain_step_undone(&shape, &facts, CHAIN_STEPS_MAX - 1) ==
                ((((uint64_t)1 << CHAIN_DOINGS_MAX) - 1) & ~last));
}

/* Nothing of a chain that an operator closed is undone any more, whatever comes; its steps may begin again. */
static void closed_stays_closed(void **state)
{
    const struct chain_shape shape = {.step_count = 3, .has_undo = 7, .waits = 4};
    const uint8_t late = 2, again = 0;
    (void)state;
    for (int before = 0; before < 3; before++) {
        struct chain_facts facts = {0};
        chain_step_done(&shape, &facts, 0);
        chain_step_done(&shape, &facts, 1);
        if (before > 0)
            chain_abort(&shape, &facts);
        if (before > 1)
            chain_stuck(&facts);
        facts.state = CHAIN_CLOSED;
        assert_int_equal(chain_abort(&shape, &facts), 0);
        assert_int_equal(chain_undone(&shape, &facts, 1), 0);
        assert_int_equal(chain_step_undone(&shape, &facts, 0), 0);
        chain_note(&facts, &late, 1);
        assert_int_equal(chain_settle(&shape, &facts), 0);
        chain_stuck(&facts);
        assert_int_equal(facts.state, CHAIN_CLOSED);
        assert_int_equal(facts.generation, 0);
        chain_note(&facts, &again, 1);
        assert_int_equal(facts.state, CHAIN_RUNNING);
        assert_int_equal(facts.generation, 1);
        assert_int_equal(facts.count, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_every_input), cmocka_unit_test(the_purchase_undone),
        cmocka_unit_test(undone_as_often_as_done),    cmocka_unit_test(steps_at_the_upper_end),
        cmocka_unit_test(closed_stays_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
