/*
 * test_payment.c - the plugin `payment` against the fake host and a real PostgreSQL: test_payment [LIBRARY]
 */
#include "payment_database.h"

static const char *library;

static struct fake_host *open_host(const char *settings)
{
    struct fake_host *host = fake_host_open(library, settings);
    fake_database(host, database.url);
    fake_sql(host, "TRUNCATE users, payment_tokens, payment_transactions, reservations");
    return host;
}

static struct fake_event purchase(const char *id, int user, int amount)
{
    static char data[8][256];
    static int next;
    char *text = data[next++ % 8];
    snprintf(text, sizeof data[0],
             "{\"paymentTxId\":\"%s\",\"userId\":%d,\"seatId\":7,\"reservationId\":1,\"amount\":%d}", id, user, amount);
    return (struct fake_event){.data = text, .retries_left = 3};
}

static void many_purchases_of_one_user_are_decided_in_order(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    fake_sql(host, "INSERT INTO users VALUES (1, 100), (2, 30)");
    const struct fake_event events[] = {purchase("a", 1, 60), purchase("b", 1, 50), purchase("c", 2, 30),
                                        purchase("d", 1, 40), purchase("e", 3, 1)};
    const struct fake_result *results = fake_call(host, "charge", 5, events);
    fake_expect_outcome(&results[0], "success");
    fake_expect_outcome(&results[1], "declined"); /* 40 are left */
    fake_expect_outcome(&results[2], "success");
    fake_expect_outcome(&results[3], "success");
    fake_expect_outcome(&results[4], "declined"); /* nobody */
    payment_expect(host, "SELECT string_agg(id || '=' || points, ' ' ORDER BY id) FROM users", "1=0 2=0");
    payment_expect(
        host, "SELECT string_agg(id || ' ' || status || ' ' || charged, ', ' ORDER BY id) FROM payment_transactions",
        "a SUCCESS 60, b RETRYING 0, c SUCCESS 30, d SUCCESS 40, e RETRYING 0");
    fake_host_close(host);
}

static void a_ladder_is_written_down_and_ends_in_failure(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    fake_sql(host, "INSERT INTO users VALUES (1, 0)");
    struct fake_event event = purchase("a", 1, 5);
    for (int count = 0; count <= 3; count++) {
        char wanted[32];
        event.retry_count = count;
        event.retries_left = count == 3 ? FAKE_LAST_STEP : 3 - count;
        fake_expect_outcome(fake_call(host, "charge", 1, &event), "declined");
        snprintf(wanted, sizeof wanted, count == 3 ? "FAILURE 3" : "RETRYING %d", count + 1);
        payment_expect(host, "SELECT status || ' ' || retry_count FROM payment_transactions", wanted);
    }
    fake_sql(host, "UPDATE users SET points = 100");
    fake_expect_outcome(fake_call(host, "charge", 1, &event), "duplicate"); /* it is over */
    event = purchase("b", 1, 101);
    event.retries_left = FAKE_NO_LADDER;
    fake_expect_outcome(fake_call(host, "charge", 1, &event), "declined");
    payment_expect(host, "SELECT status FROM payment_transactions WHERE id = 'b'", "FAILURE");
    fake_host_close(host);
}

static void a_payment_is_charged_once_and_means_one_thing(void **state)
{
    (void)state;
    struct fake_host *host = open_host("{\"amount_max\": 500}");
    fake_sql(host, "INSERT INTO users VALUES (1, 1000), (2, 1000)");
    const struct fake_event events[] = {purchase("a", 1, 100), purchase("a", 1, 100), purchase("a", 2, 100),
                                        purchase("b", 1, 501)};
    const struct fake_result *results = fake_call(host, "charge", 4, events);
    fake_expect_outcome(&results[0], "success");
    fake_expect_outcome(&results[1], "duplicate");
    fake_expect_why(&results[2], FAKE_REJECT, "another payment");
    fake_expect_why(&results[3], FAKE_REJECT, "amount_max");
    fake_expect_outcome(fake_call(host, "charge", 1, events), "duplicate");
    payment_expect(host, "SELECT sum(points)::text FROM users", "1900");
    fake_host_close(host);
}

static void points_come_back_once_and_a_late_charge_stops(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    fake_sql(host, "INSERT INTO users VALUES (1, 100)");
    const struct fake_event charge = purchase("a", 1, 60);
    fake_expect_outcome(fake_call(host, "charge", 1, &charge), "success");
    const struct fake_event cancels[] = {
        /* the amount of the event is not believed */
        {.data = "{\"paymentTxId\":\"a\",\"userId\":1,\"seatId\":7,\"reservationId\":1,\"amount\":99999}"},
        {.data = "{\"paymentTxId\":\"a\"}"},
        {.data = "{\"paymentTxId\":\"early\"}"}};
    const struct fake_result *results = fake_call(host, "refund", 3, cancels);
    fake_expect_outcome(&results[0], "refunded");
    fake_expect_outcome(&results[1], "nothing_to_refund");
    fake_expect_outcome(&results[2], "nothing_to_refund");
    fake_expect_outcome(fake_call(host, "refund", 1, cancels), "nothing_to_refund");
    payment_expect(host, "SELECT points::text FROM users", "100");
    const struct fake_event late[] = {purchase("a", 1, 60), purchase("early", 1, 60)};
    results = fake_call(host, "charge", 2, late);
    fake_expect_outcome(&results[0], "duplicate");
    fake_expect_outcome(&results[1], "duplicate");
    payment_expect(host, "SELECT points::text FROM users", "100");
    payment_expect(host, "SELECT string_agg(status, ' ') FROM payment_transactions", "CANCEL CANCEL");
    fake_host_close(host);
}

static void seed_requests(struct fake_host *host)
{
    fake_sql(host, "INSERT INTO users VALUES (1, 1000), (2, 1000)");
    fake_sql(host,
             "INSERT INTO payment_tokens (token, user_id, status) VALUES ('t1', 1, 'WAITING'), ('t2', 1, 'WAITING'),"
             " ('used', 1, 'USED'), ('other', 2, 'WAITING')");
    fake_sql(host,
             "INSERT INTO reservations (id, user_id, seat_id, purchase_price) VALUES (10, 1, 5, 300), (11, 1, 6, 400),"
             " (20, 2, 7, 500), (12, 1, 8, 20000000)");
    fake_sql(
        host,
        "INSERT INTO reservations (id, user_id, seat_id, purchase_price, status) VALUES (13, 1, 9, 300, 'EXPIRED')");
}

static void a_request_becomes_a_payment(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    seed_requests(host);
    const struct fake_event request = {
        .data = "{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"t1\",\"amount\":1,\"seatId\":1}"};
    const struct fake_result *result = fake_call(host, "accept", 1, &request);
    fake_expect_outcome(result, "accepted");
    fake_expect_reply(result, 202, "\"status\":\"PAYMENT_PROCESSING\"");
    fake_expect_set(result, "reservationId", "10");
    fake_expect_set(result, "userId", "1");
    fake_expect_set(result, "seatId", "5"); /* from the reservation, whatever the client says */
    fake_expect_set(result, "amount", "300");
    fake_expect_set(result, "paymentToken", "\"t1\"");
    if (fake_set(result, "paymentTxId") == NULL || strlen(fake_set(result, "paymentTxId")) != 38)
        fail_msg("a made-up paymentTxId is a UUID");
    payment_expect(host, "SELECT status || amount || payment_token || reservation_id FROM payment_transactions",
                   "PENDING300t110");
    payment_expect(host, "SELECT status FROM payment_tokens WHERE token = 't1'", "USED");
    payment_expect(
        host, "SELECT (payment_tx_id = (SELECT id FROM payment_transactions))::text FROM reservations WHERE id = 10",
        "true");
    fake_host_close(host);
}

static void the_same_request_again_is_one_payment(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    seed_requests(host);
    const struct fake_event requests[] = {
        {.data = "{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"t1\",\"paymentTxId\":\"p-1\"}"},
        {.data = "{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"t1\",\"paymentTxId\":\"p-1\"}"},
        {.data = "{\"userId\":1,\"reservationId\":11,\"paymentToken\":\"t1\",\"paymentTxId\":\"p-1\"}"}};
    for (int time = 0; time < 2; time++) {
        const struct fake_result *results = fake_call(host, "accept", 3, requests);
        if (time == 0)
            fake_expect_outcome(&results[0], "accepted");
        else if (results[0].verdict != FAKE_NOTHING)
            fail_msg("the same request again emitted something");
        if (results[1].verdict != FAKE_NOTHING || results[2].verdict != FAKE_NOTHING)
            fail_msg("a request that is no new payment emitted something");
        fake_expect_reply(&results[0], 202, "\"paymentTxId\":\"p-1\"");
        if (strcmp(results[0].reply, results[1].reply) != 0)
            fail_msg("the same request got another reply: %s", results[1].reply);
        fake_expect_reply(&results[2], 409, "payment_exists");
    }
    payment_expect(host, "SELECT count(*)::text FROM payment_transactions", "1");
    fake_host_close(host);
}

static void a_request_is_refused_with_its_reason(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    seed_requests(host);
    static const struct {
        const char *data;
        uint32_t status;
        const char *error;
    } cases[] = {
        {"{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"used\"}", 403, "token_refused"},
        {"{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"other\"}", 403, "token_refused"},
        {"{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"unknown\"}", 403, "token_refused"},
        {"{\"userId\":1,\"reservationId\":99,\"paymentToken\":\"t1\"}", 404, "reservation_not_found"},
        {"{\"userId\":1,\"reservationId\":20,\"paymentToken\":\"t1\"}", 404, "reservation_not_found"},
        {"{\"userId\":1,\"reservationId\":13,\"paymentToken\":\"t1\"}", 409, "reservation_not_pending"},
        {"{\"userId\":1,\"reservationId\":12,\"paymentToken\":\"t1\"}", 409, "amount_too_large"},
        {"{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"t1\",\"paymentTxId\":\"a b\"}", 400, "bad_request"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct fake_event request = {.data = cases[i].data};
        const struct fake_result *result = fake_call(host, "accept", 1, &request);
        fake_expect_reply(result, cases[i].status, cases[i].error);
        if (result->verdict != FAKE_NOTHING)
            fail_msg("a refused request emitted something: %s", cases[i].data);
    }
    payment_expect(host, "SELECT count(*)::text FROM payment_transactions", "0");
    payment_expect(host, "SELECT status FROM payment_tokens WHERE token = 't1'", "WAITING");
    fake_host_close(host);
}

/* Two tokens, one reservation: the second waits for the end of the first, and may try when that failed. */
static void a_reservation_is_paid_by_one_payment_at_a_time(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    seed_requests(host);
    const struct fake_event requests[] = {
        {.data = "{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"t1\",\"paymentTxId\":\"p-1\"}"},
        {.data = "{\"userId\":1,\"reservationId\":10,\"paymentToken\":\"t2\",\"paymentTxId\":\"p-2\"}"}};
    const struct fake_result *results = fake_call(host, "accept", 2, requests);
    fake_expect_outcome(&results[0], "accepted");
    fake_expect_reply(&results[1], 409, "payment_running");
    fake_sql(host, "UPDATE payment_transactions SET status = 'FAILURE'");
    fake_expect_outcome(fake_call(host, "accept", 1, &requests[1]), "accepted");
    fake_host_close(host);
}

static void the_status_tells_whether_it_may_change(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    fake_sql(
        host,
        "INSERT INTO payment_transactions (id, status, user_id, seat_id, reservation_id, amount, charged, retry_count)"
        " SELECT s, s, 1, 2, 3, 40, CASE s WHEN 'SUCCESS' THEN 40 ELSE 0 END, 2"
        " FROM unnest('{PENDING,RETRYING,SUCCESS,FAILURE,CANCEL}'::text[]) AS s");
    const struct fake_event requests[] = {
        {.data = "{\"paymentTxId\":\"RETRYING\"}"}, {.data = "{\"paymentTxId\":\"none\"}"},
        {.data = "{\"paymentTxId\":\"PENDING\"}"},  {.data = "{\"paymentTxId\":\"SUCCESS\"}"},
        {.data = "{\"paymentTxId\":\"FAILURE\"}"},  {.data = "{\"paymentTxId\":\"CANCEL\"}"}};
    const struct fake_result *results = fake_call(host, "status", 6, requests);
    fake_expect_reply(&results[0], 200, "\"status\" : \"RETRYING\", \"retryCount\" : 2, \"amount\" : 40");
    fake_expect_reply(&results[1], 404, "payment_not_found");
    for (int i = 0; i < 6; i++)
        if ((results[i].reply_flags == SLUICE_REPLY_PENDING) != (i == 0 || i == 2))
            fail_msg("%s: pending is %u", requests[i].data, results[i].reply_flags);
    fake_host_close(host);
}

static struct fake_event told(const char *id, int count)
{
    static char data[16][256];
    static int next;
    char *text = data[next++ % 16];
    snprintf(text, sizeof data[0],
             "{\"paymentTxId\":\"%s\",\"userId\":1,\"seatId\":7,\"reservationId\":1,\"amount\":60,\"retryCount\":%d}",
             id, count);
    return (struct fake_event){.data = text};
}

/* As the gateway hears of payments that another service charges: on several topics, so in any order, and again and
 * again. */
static void a_payment_that_is_only_shown_follows_and_never_goes_back(void **state)
{
    (void)state;
    static const char *const handlers[] = {"follow_retry", "follow_success", "follow_failure", "follow_cancel"};
    static const struct {
        const char *orders[4]; /* of the handlers, by number */
        const char *wanted;
    } cases[] = {
        {{"00", "0"}, "RETRYING 2 0 0"},          {{"01", "10", "0110"}, "SUCCESS 2 60 0"},
        {{"02", "20"}, "FAILURE 2 0 0"},          {{"013", "0133", "103"}, "CANCEL 2 60 60"},
        {{"301", "031"}, "CANCEL 2 0 0"},         /* the points were never here */
        {{"023", "032", "320"}, "FAILURE 2 0 0"}, /* refused for good, whoever cancels it */
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (size_t o = 0; o < 4 && cases[c].orders[o] != NULL; o++) {
            for (int known = 0; known < 2; known++) { /* by a request before, or not */
                struct fake_host *host = open_host(NULL);
                if (known)
                    fake_sql(host,
                             "INSERT INTO payment_transactions (id, status, user_id, seat_id, reservation_id, amount)"
                             " VALUES ('a', 'PENDING', 1, 7, 1, 60)");
                for (const char *at = cases[c].orders[o]; *at != '\0'; at++) {
                    const struct fake_event events[] = {told("a", 1), told("b", 0), told("a", 2)};
                    const struct fake_result *results = fake_call(host, handlers[*at - '0'], 3, events);
                    for (int i = 0; i < 3; i++)
                        fake_expect_outcome(&results[i], "followed");
                }
                payment_expect(host,
                               "SELECT concat_ws(' ', status, retry_count, charged, refunded) FROM "
                               "payment_transactions WHERE id = 'a'",
                               cases[c].wanted);
                fake_host_close(host);
            }
        }
    }
}

static void a_cancel_that_says_nothing_more_is_followed(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    const struct fake_event cancel = {.data = "{\"paymentTxId\":\"a\"}"}, failure = told("a", 3);
    fake_expect_outcome(fake_call(host, "follow_cancel", 1, &cancel), "followed");
    payment_expect(host, "SELECT concat_ws(' ', status, coalesce(user_id, -1)) FROM payment_transactions", "CANCEL -1");
    fake_expect_outcome(fake_call(host, "follow_failure", 1, &failure), "followed");
    payment_expect(host, "SELECT concat_ws(' ', status, user_id, amount, retry_count) FROM payment_transactions",
                   "FAILURE 1 60 3");
    fake_host_close(host);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_purchases_of_one_user_are_decided_in_order),
        cmocka_unit_test(a_ladder_is_written_down_and_ends_in_failure),
        cmocka_unit_test(a_payment_is_charged_once_and_means_one_thing),
        cmocka_unit_test(points_come_back_once_and_a_late_charge_stops),
        cmocka_unit_test(a_request_becomes_a_payment),
        cmocka_unit_test(the_same_request_again_is_one_payment),
        cmocka_unit_test(a_request_is_refused_with_its_reason),
        cmocka_unit_test(a_reservation_is_paid_by_one_payment_at_a_time),
        cmocka_unit_test(the_status_tells_whether_it_may_change),
        cmocka_unit_test(a_payment_that_is_only_shown_follows_and_never_goes_back),
        cmocka_unit_test(a_cancel_that_says_nothing_more_is_followed),
    };
    library = plugin_test_library(argc, argv, "payment");
    return cmocka_run_group_tests(tests, payment_database_start, payment_database_stop);
}
