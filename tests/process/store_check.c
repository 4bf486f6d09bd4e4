/*
 * store_check.c - names, claims, fences, attempts and late commits against a real database.
 */
#include "store_harness.h"

/* ------------------------------------------------------------------------------------------------------------ names */

static void names_are_made_once(void **state)
{
    (void)state;
    struct connection *connection = open_connection();
    const struct span names[] = {SPAN("charge"), SPAN("confirm"), SPAN("charge")};
    const struct span more[] = {SPAN("confirm"), SPAN("refund")};
    int16_t first[3], second[2], other[1];
    OK(ledger_names(connection, 'h', 3, names, first, &error));
    assert_int_equal(first[0], first[2]);
    assert_int_not_equal(first[0], first[1]);
    begin(connection);
    OK(ledger_names(connection, 'h', 2, more, second, &error));
    OK(connection_commit(connection, &error));
    assert_int_equal(second[0], first[1]);
    OK(ledger_names(connection, 'c', 1, names, other, &error));
    assert_int_not_equal(other[0], first[0]);
    OK(ledger_names(connection, 'h', 0, NULL, NULL, &error));
    connection_destroy(connection);
}

/* ----------------------------------------------------------------------------------------------------------- claims */

static void a_claim_costs_one_round_trip_and_hits_tell_what_stands(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    int16_t handler = next_number++;
    struct connection *connection = open_connection();
    struct claim claims[COUNT];
    begin(connection);
    fill(claims, COUNT, handler, 0);
    for (size_t i = 0; i < COUNT; i++)
        claims[i].outcome = i % 3 == 0 ? OUTCOME_DEAD : 0;
    int64_t before = round_trips();
    OK(ledger_claim(connection, 0, claims, COUNT, &error));
    assert_int_equal(round_trips() - before, 1);
    OK(connection_commit(connection, &error));
    assert_int_equal(round_trips() - before, 2);
    for (size_t i = 0; i < COUNT; i++)
        assert_false(claims[i].hit);

    begin(connection); /* half of them again, one with another payload, and as many new ones */
    fill(claims, COUNT, handler, COUNT / 2);
    claims[7].hash++;
    OK(ledger_claim(connection, 0, claims, COUNT, &error));
    for (size_t i = 0; i < COUNT; i++) {
        bool old = i < COUNT / 2;
        assert_int_equal(claims[i].hit, old);
        assert_int_equal(claims[i].conflict, i == 7);
        assert_int_equal(claims[i].outcome, old && (i + COUNT / 2) % 3 == 0 ? OUTCOME_DEAD : 0);
    }
    connection_rollback(connection);

    begin(connection); /* what was rolled back is new again; another handler's rows are its own */
    fill(claims, COUNT, handler, COUNT);
    OK(ledger_claim(connection, 0, claims, COUNT, &error));
    assert_false(claims[0].hit || claims[COUNT - 1].hit);
    connection_rollback(connection);
    begin(connection);
    fill(claims, COUNT, next_number++, 0);
    OK(ledger_claim(connection, 0, claims, COUNT, &error));
    assert_false(claims[0].hit);
    connection_destroy(connection);
}

/* After ON_CONFLICT_CLAIMS claims without a duplicate a plain insert is tried; the first duplicate restarts the claim.
 */
static void a_plain_insert_meets_a_duplicate(void **state)
{
    (void)state;
    int16_t handler = next_number++;
    struct connection *connection = open_connection();
    struct claim claims[10];
    int64_t before = 0;
    for (uint32_t i = 0; i < 60; i++) {
        begin(connection);
        fill(claims, 10, handler, i * 10);
        before = round_trips();
        OK(ledger_claim(connection, 0, claims, 10, &error));
        assert_int_equal(round_trips() - before, 1);
        OK(connection_commit(connection, &error));
    }
    for (int64_t trips = 4; trips >= 2; trips -= 2) { /* insert, rollback, insert, read; then "on conflict" at once */
        begin(connection);
        fill(claims, 10, handler, 595);
        before = round_trips();
        OK(ledger_claim(connection, 0, claims, 10, &error));
        assert_int_equal(round_trips() - before, trips);
        for (size_t i = 0; i < 10; i++)
            assert_int_equal(claims[i].hit, i < 5);
        connection_rollback(connection);
    }
    connection_destroy(connection);

    connection = open_connection();
    static const struct statement first = {"select 1", false};
    for (uint32_t i = 0; i < 60; i++) { /* when it is not the first statement, nothing may be begun again */
        begin(connection);
        OK(connection_queue(connection, &first, 0, NULL, &error));
        fill(claims, 10, handler, 1000 + i * 10);
        OK(ledger_claim(connection, 0, claims, 10, &error));
        OK(connection_commit(connection, &error));
    }
    begin(connection);
    OK(connection_queue(connection, &first, 0, NULL, &error));
    fill(claims, 10, handler, 1595);
    before = round_trips();
    OK(ledger_claim(connection, 0, claims, 10, &error));
    assert_int_equal(round_trips() - before, 2);
    assert_true(claims[4].hit && !claims[5].hit);
    connection_destroy(connection);
}

static void outcomes_change_and_claims_are_deleted(void **state)
{
    (void)state;
    int16_t handler = next_number++;
    struct connection *connection = open_connection();
    struct claim claims[4];
    begin(connection);
    fill(claims, 4, handler, 0);
    OK(ledger_claim(connection, 0, claims, 4, &error));
    claims[1].outcome = 5;
    claims[2].outcome = OUTCOME_DEAD;
    int64_t before = round_trips();
    OK(ledger_outcomes(connection, claims, 3, &error));
    OK(ledger_unclaim(connection, claims + 3, 1, &error));
    OK(connection_commit(connection, &error));
    assert_int_equal(round_trips() - before, 1);
    begin(connection);
    fill(claims, 4, handler, 0);
    OK(ledger_claim(connection, 0, claims, 4, &error));
    const int16_t outcomes[] = {0, 5, OUTCOME_DEAD, 0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(claims[i].hit, i < 3);
        assert_int_equal(claims[i].outcome, outcomes[i]);
    }
    connection_destroy(connection);
}

/* A dead letter that came again: its row is claimed again by one transaction only, and stands as the others do. */
static void a_dead_row_is_claimed_again_once(void **state)
{
    (void)state;
    int16_t handler = next_number++;
    struct connection *connection = open_connection();
    struct claim claims[3];
    for (int again = -1; again < 2; again++) { /* dead, dead again, then handled */
        begin(connection);
        fill(claims, 3, handler, 0);
        OK(ledger_claim(connection, 0, claims, 3, &error));
        struct claim dead[] = {claims[0], claims[2]};
        assert_int_equal(dead[0].outcome, again < 0 ? 0 : OUTCOME_DEAD);
        if (again >= 0)
            OK(ledger_claim_dead(connection, dead, 2, &error));
        dead[0].outcome = dead[1].outcome = again < 1 ? OUTCOME_DEAD : 7;
        OK(ledger_outcomes(connection, dead, 2, &error));
        OK(connection_commit(connection, &error));
    }
    begin(connection);
    fill(claims, 3, handler, 0);
    OK(ledger_claim(connection, 0, claims, 3, &error));
    assert_int_equal(claims[2].outcome, 7);
    GIVES(STORE_TRANSIENT, ledger_claim_dead(connection, claims, 1, &error));
    connection_rollback(connection);
    connection_destroy(connection);
}

struct claimer {
    pthread_t thread;
    int16_t handler;
    struct claim claims[64];
    size_t count, won;
    unsigned seed;
};

static void *claimer_once(void *argument)
{
    struct claimer *claimer = argument;
    struct connection *connection = open_connection();
    begin(connection);
    OK(ledger_claim(connection, 0, claimer->claims, claimer->count, &error));
    OK(connection_commit(connection, &error));
    connection_destroy(connection);
    return NULL;
}

static void of_two_claimers_the_second_waits_and_sees(void **state)
{
    (void)state;
    for (int rolls_back = 0; rolls_back < 2; rolls_back++) {
        struct claimer second = {.handler = next_number++, .count = 10};
        struct connection *first = open_connection();
        struct claim claims[10];
        begin(first);
        fill(claims, 10, second.handler, 0);
        OK(ledger_claim(first, 0, claims, 10, &error));
        fill(second.claims, 10, second.handler, 0);
        assert_int_equal(pthread_create(&second.thread, NULL, claimer_once, &second), 0);
        wait_for_lock();
        if (rolls_back)
            connection_rollback(first);
        else
            OK(connection_commit(first, &error));
        pthread_join(second.thread, NULL);
        for (size_t i = 0; i < 10; i++)
            assert_int_equal(second.claims[i].hit, !rolls_back);
        connection_destroy(first);
    }
}

/* Overlapping sorted sets, again and again: whoever wins an id is the only one, and nobody deadlocks. */
static void *claimer_many(void *argument)
{
    struct claimer *claimer = argument;
    struct connection *connection = open_connection();
    for (uint32_t round = 0; round < 150; round++) {
        size_t count = 0;
        for (uint32_t i = 0; i < 40; i++) {
            if (rand_r(&claimer->seed) % 2 == 0)
                claimer->claims[count++] = (struct claim){.handler = claimer->handler, .id = id_of(round * 40 + i)};
        }
        begin(connection);
        OK(ledger_claim(connection, 0, claimer->claims, count, &error));
        OK(connection_commit(connection, &error));
        for (size_t i = 0; i < count; i++)
            claimer->won += !claimer->claims[i].hit;
    }
    connection_destroy(connection);
    return NULL;
}

static void crossing_claimers_never_share_an_id(void **state)
{
    (void)state;
    struct claimer claimers[4];
    int16_t handler = next_number++;
    size_t won = 0;
    for (size_t i = 0; i < 4; i++) {
        claimers[i] = (struct claimer){.handler = handler, .seed = (unsigned)i + 1};
        assert_int_equal(pthread_create(&claimers[i].thread, NULL, claimer_many, &claimers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(claimers[i].thread, NULL);
        won += claimers[i].won;
    }
    char sql[96];
    snprintf(sql, sizeof sql, "select count(*) from sluice.inbox where handler = %d", handler);
    assert_int_equal(won, number_of(sql));
    assert_true(won > 150 * 30);
}

static void a_member_that_was_removed_is_fenced(void **state)
{
    (void)state;
    int16_t handler = next_number++;
    int64_t member = number_of("insert into sluice.bus_member (consumer_group, name) values ('g', 'n') returning id");
    struct connection *connection = open_connection(), *peer = open_connection();
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &member)};
    static const struct statement update = {"update sluice.bus_member set joined_at = now() where id = $1", false};
    static const struct statement remove = {
        "with d as (select id from sluice.bus_member where id = $1 for update nowait)"
        " delete from sluice.bus_member m using d where m.id = d.id",
        false};
    struct claim claims[3];
    struct error refused = {0};
    begin(connection);
    fill(claims, 3, handler, 0);
    int64_t before = round_trips();
    OK(ledger_claim(connection, member, claims, 3, &error));
    assert_int_equal(round_trips() - before, 1);
    OK(connection_once(peer, &update, 1, params, 2000, NULL, &error)); /* does not wait for the batch */
    assert_int_equal(connection_once(peer, &remove, 1, params, 2000, NULL, &refused), STORE_TRANSIENT);
    assert_non_null(strstr(refused.text, "SQLSTATE 55P03"));
    OK(connection_commit(connection, &error));
    OK(connection_once(peer, &remove, 1, params, 2000, NULL, &error));
    begin(connection);
    fill(claims, 3, handler, 100);
    GIVES(STORE_FENCED, ledger_claim(connection, member, claims, 3, &error));
    GIVES(STORE_FENCED, connection_commit(connection, &error));
    connection_rollback(connection);
    begin(connection);
    OK(ledger_claim(connection, 0, claims, 3, &error));
    assert_false(claims[0].hit);
    connection_destroy(connection);
    connection_destroy(peer);
}

static void attempts_are_kept_until_cleared(void **state)
{
    (void)state;
    struct connection *connection = open_connection();
    struct attempt attempts[] = {
        {.handler = next_number++, .attempts = 1, .id = id_of(1), .reason = SPAN("no answer")},
        {.handler = next_number++, .attempts = 3, .id = id_of(1)},
    };
    struct rows *rows;
    begin(connection);
    OK(ledger_attempts_save(connection, attempts, 2, &error));
    OK(connection_commit(connection, &error));
    attempts[0].attempts = 2;
    begin(connection);
    OK(ledger_attempts_save(connection, attempts, 1, &error));
    OK(ledger_attempts_clear(connection, attempts + 1, 1, &error));
    OK(connection_commit(connection, &error));
    OK(ledger_attempts_load(connection, &rows, &error));
    assert_int_equal(rows_count(rows), 1);
    assert_int_equal(rows_int64(rows, 0, 0), attempts[0].handler);
    struct event_id id = rows_uuid(rows, 0, 1);
    assert_memory_equal(&id, &attempts[0].id, sizeof id);
    assert_int_equal(rows_int64(rows, 0, 2), 2);
    begin(connection);
    OK(ledger_attempts_clear(connection, attempts, 1, &error));
    OK(connection_commit(connection, &error));
    begin(connection);
    OK(ledger_attempts_save(connection, attempts, 2, &error)); /* nobody clears these */
    OK(connection_commit(connection, &error));
    OK(ledger_attempts_prune(connection, 3600 * 1000, &error));
    assert_int_equal(number_of("select count(*) from sluice.attempt"), 2);
    OK(ledger_attempts_prune(connection, -1000, &error));
    assert_int_equal(number_of("select count(*) from sluice.attempt"), 0);
    connection_destroy(connection);
}

/* ----------------------------------------------------------------------------------------------------- late commits */

struct releaser {
    int64_t ids[2];
};

static void *releaser_run(void *argument)
{
    struct releaser *releaser = argument;
    struct connection *connection = open_connection();
    begin(connection);
    OK(ledger_outbox_release(connection, releaser->ids, 2, &error));
    OK(connection_commit(connection, &error));
    connection_destroy(connection);
    return NULL;
}

/* A commit may be late: who gives its row away waits for it, and of a row that never came there is none afterwards. */
static void a_row_is_given_away_when_its_transaction_is_over(void **state)
{
    (void)state;
    struct connection *connection = open_connection(), *sweeper = open_connection();
    struct releaser releaser;
    struct rows *rows;
    pthread_t thread;
    begin(connection);
    OK(ledger_outbox_add(connection, 7, SPAN("never"), &releaser.ids[1], &error));
    connection_rollback(connection);
    begin(connection);
    OK(ledger_outbox_add(connection, 7, SPAN("late"), &releaser.ids[0], &error));
    OK(connection_exec(connection, &(struct statement){"select 1", false}, 0, NULL, &rows, &error));
    assert_int_equal(pthread_create(&thread, NULL, releaser_run, &releaser), 0);
    wait_for_lock();
    OK(connection_commit(connection, &error));
    pthread_join(thread, NULL);
    begin(sweeper); /* also of the process that owned it */
    OK(ledger_outbox_take(sweeper, 7, 0, 10, &rows, &error));
    assert_int_equal(rows_count(rows), 2);
    assert_int_equal(rows_int64(rows, 0, 0), releaser.ids[1]);
    assert_true(span_equal(rows_span(rows, 0, 1), (struct span){"\0\1\0\0", 4})); /* a record batch of none */
    assert_int_equal(rows_int64(rows, 1, 0), releaser.ids[0]);
    assert_true(span_is(rows_span(rows, 1, 1), "late"));
    OK(ledger_outbox_done(sweeper, releaser.ids, 2, &error));
    OK(connection_commit(sweeper, &error));
    connection_destroy(connection);
    connection_destroy(sweeper);
}

/* ------------------------------------------------------------------------------------------------------- interrupts */

static void *interrupter_run(void *argument)
{
    wait_for("wait_event = 'PgSleep'");
    connection_interrupt(argument);
    return NULL;
}

static void an_interrupt_ends_a_wait(void **state)
{
    (void)state;
    static const struct statement sleeps = {"select pg_sleep(30)", false};
    struct connection *connection = open_connection();
    for (int at_commit = 0; at_commit < 2; at_commit++) {
        pthread_t thread;
        begin(connection);
        if (at_commit)
            OK(connection_queue(connection, &sleeps, 0, NULL, &error));
        assert_int_equal(pthread_create(&thread, NULL, interrupter_run, connection), 0);
        int64_t began_ms = clock_monotonic_ms();
        if (at_commit)
            GIVES(STORE_UNKNOWN, connection_commit(connection, &error));
        else
            GIVES(STORE_DOWN, connection_exec(connection, &sleeps, 0, NULL, NULL, &error));
        assert_true(clock_monotonic_ms() - began_ms < 8000); /* the statement would have gone on */
        pthread_join(thread, NULL);
        connection_rollback(connection);
        for (int64_t until = clock_monotonic_ms() + 10000; clock_monotonic_ms() < until; usleep(20000)) {
            if (number_of("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == 0)
                break;
        }
        assert_int_equal(number_of("select count(*) from pg_stat_activity where wait_event = 'PgSleep'"), 0);
    }
    connection_destroy(connection);
}

static int64_t session_of(struct connection *connection)
{
    static const struct statement statement = {"select pg_backend_pid()", false};
    struct rows *rows;
    OK(connection_exec(connection, &statement, 0, NULL, &rows, &error));
    return rows_int64(rows, 0, 0);
}

/* Between transactions, and beyond a connection's end; a transaction beside an open one has a session of its own. */
static void connections_of_one_thread_share_a_session(void **state)
{
    (void)state;
    static const struct statement set = {"select set_config('statement_timeout', '1234', false)", true};
    const struct store_options options = {.url = getenv("DATABASE_URL"), .application = "sluice/shared"};
    struct error refused = {0};
    struct store *shared = NULL;
    struct rows *rows;
    assert_int_equal(store_open(&options, &shared, &refused), 0);
    store_share_session(shared);
    struct connection *one = connection_create(shared, "one"), *two = connection_create(shared, "two");
    begin(one);
    int64_t session = session_of(one);
    OK(connection_exec(one, &set, 0, NULL, &rows, &error));
    begin(two);
    assert_int_not_equal(session_of(two), session);
    OK(connection_commit(two, &error));
    OK(connection_commit(one, &error));
    assert_non_null(strstr(connection_changed(one), "statement_timeout"));
    connection_destroy(two);
    two = connection_create(shared, "two");
    begin(two);
    assert_int_equal(session_of(two), session);
    OK(connection_exec(two, &set, 0, NULL, &rows, &error)); /* compared with what the first one found before it */
    OK(connection_commit(two, &error));
    assert_non_null(strstr(connection_changed(two), "statement_timeout"));
    connection_destroy(two);
    begin(one);
    assert_int_equal(session_of(one), session);
    connection_rollback(one);
    connection_destroy(one);
    store_close(shared);
    wait_for("not exists (select from pg_stat_activity where application_name like 'sluice/shared%')");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_made_once),
        cmocka_unit_test(a_claim_costs_one_round_trip_and_hits_tell_what_stands),
        cmocka_unit_test(a_plain_insert_meets_a_duplicate),
        cmocka_unit_test(outcomes_change_and_claims_are_deleted),
        cmocka_unit_test(a_dead_row_is_claimed_again_once),
        cmocka_unit_test(of_two_claimers_the_second_waits_and_sees),
        cmocka_unit_test(crossing_claimers_never_share_an_id),
        cmocka_unit_test(a_member_that_was_removed_is_fenced),
        cmocka_unit_test(attempts_are_kept_until_cleared),
        cmocka_unit_test(a_row_is_given_away_when_its_transaction_is_over),
        cmocka_unit_test(an_interrupt_ends_a_wait),
        cmocka_unit_test(connections_of_one_thread_share_a_session),
    };
    if (harness_open() != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    harness_close();
    return failed;
}
