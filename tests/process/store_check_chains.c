/*
 * store_check_chains.c - what the statements of store/ledger/chain.c remember of chains, against a real database.
 */
#include "store_harness.h"

static struct chain_done step(int16_t chain, int16_t number, uint32_t correlation, const char *data)
{
    return (struct chain_done){.chain = chain,
                               .definition = 7,
                               .step = number,
                               .correlation = id_of(correlation),
                               .correlation_text = SPAN("order-1"),
                               .data = span_of(data)};
}

/* "1: running, generation 0, doings 2 0": of the correlation as this connection sees it. */
static void chain_is(struct connection *connection, int16_t chain, uint32_t correlation, int state, int generation,
                     const char *doings)
{
    struct chain_row row;
    char text[2 * CHAIN_DOINGS_MAX + 1] = "";
    OK(ledger_chain_lock(connection, chain, id_of(correlation), &row, &error));
    for (int32_t i = 0; i < row.facts.count; i++)
        snprintf(text + strlen(text), 3, i == 0 ? "%d" : " %d", row.facts.steps[i]);
    if (row.facts.state != state || row.facts.generation != generation || strcmp(text, doings) != 0)
        fail_msg("state %d, generation %d, doings %s", row.facts.state, row.facts.generation, text);
}

static void a_chain_remembers_each_doing(void **state)
{
    (void)state;
    int16_t chain = next_number++;
    struct connection *connection = open_connection();
    const struct chain_done first[] = {step(chain, 2, 1, "reserved"), step(chain, 0, 2, "other"),
                                       step(chain, 0, 1, "charged"), step(chain, 1, 1, NULL)};
    const struct chain_done again[] = {step(chain, 0, 1, "charged twice"), step(chain, 3, 1, "sent")};
    struct chain_noted noted[4];
    struct chain_row row;
    struct span data, reason;
    size_t count;
    begin(connection);
    OK(ledger_chain_done(connection, first, 4, noted, &count, &error));
    assert_int_equal(count, 0);
    OK(ledger_chain_done(connection, again, 2, noted, &count, &error));
    assert_int_equal(count, 0);
    OK(connection_commit(connection, &error));

    begin(connection);
    int64_t before = round_trips();
    OK(ledger_chain_abort(connection, chain, 7, id_of(1), SPAN("order-1"), SPAN("no seat"), &row, &error));
    assert_int_equal(round_trips() - before, 1);
    assert_int_equal(row.facts.state, CHAIN_RUNNING);
    assert_int_equal(row.definition, 7);
    const char *const expected[] = {"reserved", "charged", "charged twice", "sent"};
    assert_int_equal(row.facts.count, 4);
    for (int32_t i = 0; i < 4; i++) {
        OK(ledger_chain_data(connection, chain, id_of(1), i, &data, &reason, &error));
        assert_true(span_is(data, expected[i]));
        assert_true(span_is(reason, "no seat"));
    }
    chain_is(connection, chain, 1, CHAIN_ABORTED, 0, "2 0 0 3");
    row.facts.state = CHAIN_ABORTED;
    row.facts.undoing = 0xd;
    row.facts.undone = 0x8;
    OK(ledger_chain_update(connection, &row, &error));
    OK(connection_commit(connection, &error));

    begin(connection); /* a second abort finds the first; a step that comes late hears of it, with its place */
    OK(ledger_chain_abort(connection, chain, 7, id_of(1), SPAN("order-1"), SPAN("again"), &row, &error));
    assert_int_equal(row.facts.state, CHAIN_ABORTED);
    assert_true(row.facts.undoing == 0xd);
    const struct chain_done late[] = {step(chain, 4, 2, "a"), step(chain, 4, 1, "late"), step(chain, 5, 1, NULL)};
    OK(ledger_chain_done(connection, late, 3, noted, &count, &error));
    assert_int_equal(count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(noted[i].input, 1 + i);
        assert_true(noted[i].noted && !noted[i].too_many);
        assert_int_equal(noted[i].row.facts.state, CHAIN_ABORTED);
        assert_int_equal(noted[i].row.facts.count, 5);
        assert_true(noted[i].row.facts.undoing == 0xd && noted[i].row.facts.undone == 0x8);
    }
    chain_is(connection, chain, 2, CHAIN_RUNNING, 0, "0 4");
    OK(ledger_chain_lock(connection, chain, id_of(99), &row, &error));
    assert_int_equal(row.chain, -1);
    connection_destroy(connection);
}

/* What flow/chain.h does to one chain, the statement does to many: begins again when a step of a chain that is over is
 * done again, takes a new one as late, leaves alone what has another definition, and says when there are too many. */
static void a_chain_begins_again(void **state)
{
    (void)state;
    int16_t chain = next_number++;
    struct connection *connection = open_connection();
    struct chain_noted noted[CHAIN_DOINGS_MAX + 1];
    struct chain_done many[CHAIN_DOINGS_MAX + 1];
    struct chain_row row;
    struct span data, reason;
    size_t count;
    begin(connection);
    const struct chain_done paid = step(chain, 0, 1, "one"), booked = step(chain, 1, 1, "two"),
                            paid_again = step(chain, 0, 1, "three");
    OK(ledger_chain_done(connection, &paid, 1, noted, &count, &error));
    OK(ledger_chain_abort(connection, chain, 7, id_of(1), SPAN("order-1"), SPAN("no"), &row, &error));
    row.facts.state = CHAIN_UNDONE;
    row.facts.undoing = row.facts.undone = 1;
    OK(ledger_chain_update(connection, &row, &error));
    OK(ledger_chain_done(connection, &booked, 1, noted, &count, &error)); /* late */
    assert_int_equal(count, 1);
    chain_is(connection, chain, 1, CHAIN_UNDONE, 0, "0 1");
    OK(ledger_chain_done(connection, &paid_again, 1, noted, &count, &error));
    assert_int_equal(count, 0);
    chain_is(connection, chain, 1, CHAIN_RUNNING, 1, "0");
    OK(ledger_chain_data(connection, chain, id_of(1), 0, &data, &reason, &error));
    assert_true(span_is(data, "three") && reason.at == NULL);

    struct chain_done other = booked;
    other.definition = 8;
    OK(ledger_chain_done(connection, &other, 1, noted, &count, &error));
    assert_int_equal(count, 1);
    assert_false(noted[0].noted);
    assert_int_equal(noted[0].row.definition, 7);
    chain_is(connection, chain, 1, CHAIN_RUNNING, 1, "0");
    chain_note(&noted[0].row.facts, (const uint8_t[]){3}, 1);
    other.data = SPAN("by hand");
    OK(ledger_chain_note(connection, &noted[0].row, &other, false, &error));
    chain_is(connection, chain, 1, CHAIN_RUNNING, 1, "0 3");
    OK(ledger_chain_data(connection, chain, id_of(1), 1, &data, &reason, &error));
    assert_true(span_is(data, "by hand"));

    for (size_t i = 0; i <= CHAIN_DOINGS_MAX; i++)
        many[i] = step(chain, 2, 3, "x");
    OK(ledger_chain_done(connection, many, CHAIN_DOINGS_MAX, noted, &count, &error));
    assert_int_equal(count, 0);
    OK(ledger_chain_done(connection, many, 1, noted, &count, &error));
    assert_int_equal(count, 1);
    assert_true(noted[0].too_many);
    connection_destroy(connection);
}

static void definitions_have_numbers(void **state)
{
    (void)state;
    int16_t chain = next_number++;
    struct connection *connection = open_connection();
    int32_t one = 0, two = 0, other = 0;
    struct span text;
    begin(connection);
    OK(ledger_chain_define(connection, chain, SPAN("{\"a\":1}"), &one, &error));
    OK(ledger_chain_define(connection, chain, SPAN("{\"a\":2}"), &two, &error));
    assert_true(one > 0 && two > 0 && one != two);
    OK(ledger_chain_define(connection, chain, SPAN("{\"a\":1}"), &other, &error));
    assert_int_equal(other, one);
    OK(ledger_chain_definition(connection, two, &text, &error));
    assert_true(span_is(text, "{\"a\":2}"));
    OK(ledger_chain_definition(connection, INT32_MAX, &text, &error));
    assert_null(text.at);
    connection_destroy(connection);
}

static void an_abort_that_comes_first_is_remembered(void **state)
{
    (void)state;
    int16_t chain = next_number++;
    struct connection *connection = open_connection();
    struct chain_noted noted[1];
    struct chain_row row;
    size_t count;
    begin(connection);
    OK(ledger_chain_abort(connection, chain, 7, id_of(1), SPAN("order-1"), SPAN("cancelled"), &row, &error));
    assert_int_equal(row.chain, chain);
    assert_int_equal(row.facts.state, CHAIN_RUNNING);
    assert_int_equal(row.facts.count, 0);
    OK(connection_commit(connection, &error));
    begin(connection);
    const struct chain_done done = step(chain, 0, 1, "charged");
    OK(ledger_chain_done(connection, &done, 1, noted, &count, &error));
    assert_int_equal(count, 1);
    assert_int_equal(noted[0].row.facts.count, 1);
    row.facts.state = CHAIN_STUCK;
    OK(ledger_chain_update(connection, &row, &error));
    OK(connection_commit(connection, &error));
    struct ledger_health health;
    OK(ledger_health(connection, &health, &error));
    assert_int_equal(health.chains_stuck, 1);
    begin(connection);
    const struct chain_done far = step(chain, 31, 1, NULL);
    GIVES(STORE_DEPLOY, ledger_chain_done(connection, &far, 1, noted, &count, &error));
    connection_destroy(connection);
}

struct aborter {
    int16_t chain;
    struct chain_row row;
};

static void *aborter_run(void *argument)
{
    struct aborter *aborter = argument;
    struct connection *connection = open_connection();
    begin(connection);
    OK(ledger_chain_abort(connection, aborter->chain, 7, id_of(1), SPAN("order-1"), SPAN("no"), &aborter->row, &error));
    OK(connection_commit(connection, &error));
    connection_destroy(connection);
    return NULL;
}

/* The row is being made by another transaction, which the abort cannot see yet: it must wait, and then see the step. */
static void an_abort_sees_the_step_it_waited_for(void **state)
{
    (void)state;
    struct aborter aborter = {.chain = next_number++};
    struct connection *connection = open_connection();
    const struct chain_done done = step(aborter.chain, 2, 1, "charged");
    struct chain_noted noted[1];
    size_t count;
    pthread_t thread;
    begin(connection);
    OK(ledger_chain_done(connection, &done, 1, noted, &count, &error));
    assert_int_equal(pthread_create(&thread, NULL, aborter_run, &aborter), 0);
    wait_for_lock();
    OK(connection_commit(connection, &error));
    pthread_join(thread, NULL);
    assert_int_equal(aborter.row.facts.count, 1);
    assert_int_equal(aborter.row.facts.state, CHAIN_RUNNING);

    struct chain_row row; /* and the other way round: who looks at a chain holds it */
    begin(connection);
    OK(ledger_chain_lock(connection, aborter.chain, id_of(1), &row, &error));
    row.facts.undone = 1;
    assert_int_equal(pthread_create(&thread, NULL, aborter_run, &aborter), 0);
    wait_for_lock();
    OK(ledger_chain_update(connection, &row, &error));
    OK(connection_commit(connection, &error));
    pthread_join(thread, NULL);
    assert_true(aborter.row.facts.undone == 1);
    assert_int_equal(aborter.row.facts.state, CHAIN_ABORTED);
    connection_destroy(connection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_remembers_each_doing),
        cmocka_unit_test(a_chain_begins_again),
        cmocka_unit_test(definitions_have_numbers),
        cmocka_unit_test(an_abort_that_comes_first_is_remembered),
        cmocka_unit_test(an_abort_sees_the_step_it_waited_for),
    };
    if (harness_open() != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    harness_close();
    return failed;
}
