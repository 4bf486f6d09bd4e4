/*
 * test_reservation.c - the plugin `reservation` against the fake host and a real PostgreSQL: test_reservation [LIBRARY]
 */
#include "payment_database.h"

static const char *library;

static struct fake_host *open_host(const char *settings)
{
    struct fake_host *host = fake_host_open(library, settings);
    fake_database(host, database.url);
    fake_sql(host, "TRUNCATE reservations");
    fake_sql(host, "INSERT INTO reservations (id, user_id, seat_id, purchase_price, status, payment_tx_id)"
                   " SELECT n, 1, n * 10, 100, 'PENDING', NULL FROM generate_series(1, 4) AS n"
                   " UNION ALL VALUES (5, 1, 50, 100, 'EXPIRED', 'old'), (6, 1, 60, 100, 'CANCELLED', NULL)");
    return host;
}

static void a_reservation_is_confirmed_by_one_payment(void **state)
{
    (void)state;
    static const struct {
        const char *data, *outcome, *reason;
    } cases[] = {
        {"{\"reservationId\":1,\"userId\":1,\"seatId\":10,\"amount\":100,\"paymentTxId\":\"a\"}", "success", NULL},
        {"{\"reservationId\":2,\"userId\":2,\"seatId\":20,\"amount\":100,\"paymentTxId\":\"b\"}", "failure",
         "\"other_user\""},
        {"{\"reservationId\":2,\"userId\":1,\"seatId\":10,\"amount\":100,\"paymentTxId\":\"c\"}", "failure",
         "\"other_seat\""},
        {"{\"reservationId\":2,\"userId\":1,\"seatId\":20,\"amount\":1,\"paymentTxId\":\"d\"}", "failure",
         "\"other_amount\""},
        {"{\"reservationId\":1,\"userId\":1,\"seatId\":10,\"amount\":100,\"paymentTxId\":\"a\"}", "duplicate", NULL},
        {"{\"reservationId\":1,\"userId\":1,\"seatId\":10,\"amount\":100,\"paymentTxId\":\"e\"}", "failure",
         "\"paid_by_another_payment\""},
        {"{\"reservationId\":5,\"userId\":1,\"seatId\":50,\"amount\":100,\"paymentTxId\":\"old\"}", "failure",
         "\"expired\""},
        {"{\"reservationId\":6,\"userId\":1,\"seatId\":60,\"amount\":100,\"paymentTxId\":\"f\"}", "failure",
         "\"cancelled\""},
        {"{\"reservationId\":99,\"userId\":1,\"seatId\":60,\"amount\":100,\"paymentTxId\":\"g\"}", "failure",
         "\"absent\""},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    struct fake_event events[CASES];
    struct fake_host *host = open_host(NULL);
    for (size_t i = 0; i < CASES; i++)
        events[i] = (struct fake_event){.data = cases[i].data};
    for (int time = 0; time < 2; time++) {
        const struct fake_result *results = fake_call(host, "confirm", CASES, events);
        for (size_t i = 0; i < CASES; i++) {
            fake_expect_outcome(&results[i], time == 1 && i == 0 ? "duplicate" : cases[i].outcome);
            if (cases[i].reason != NULL)
                fake_expect_set(&results[i], "reason", cases[i].reason);
            else if (results[i].set_count != 0)
                fail_msg("case %zu set a field", i);
        }
    }
    payment_expect(host, "SELECT string_agg(id || status, ' ' ORDER BY id) FROM reservations",
                   "1CONFIRMED 2PENDING 3PENDING 4PENDING 5EXPIRED 6CANCELLED");
    fake_host_close(host);
}

/* The wrong payment comes first, in the same call: the right one still gets its reservation. */
static void a_wrong_payment_takes_nothing_from_the_right_one(void **state)
{
    (void)state;
    struct fake_host *host = open_host(NULL);
    const struct fake_event events[] = {
        {.data = "{\"reservationId\":1,\"userId\":2,\"seatId\":10,\"amount\":100,\"paymentTxId\":\"wrong\"}"},
        {.data = "{\"reservationId\":1,\"userId\":1,\"seatId\":10,\"amount\":100,\"paymentTxId\":\"right\"}"},
        {.data = "{\"reservationId\":1,\"userId\":1,\"seatId\":10,\"amount\":100,\"paymentTxId\":\"late\"}"}};
    const struct fake_result *results = fake_call(host, "confirm", 3, events);
    fake_expect_outcome(&results[0], "failure");
    fake_expect_outcome(&results[1], "success");
    fake_expect_outcome(&results[2], "failure");
    payment_expect(host, "SELECT payment_tx_id FROM reservations WHERE id = 1", "right");
    fake_host_close(host);
}

static void holds_end_the_oldest_first(void **state)
{
    (void)state;
    struct fake_host *host = open_host("{\"hold\": \"1m\", \"expire_max\": 2}");
    fake_sql(
        host,
        "UPDATE reservations SET held_at = now() - id * interval '40 s', payment_tx_id = CASE id WHEN 4 THEN 'p4' END"
        " WHERE status = 'PENDING'");
    const struct fake_result *results = fake_call(host, "expire", 1, NULL);
    if (fake_result_count(host) != 3)
        fail_msg("wanted the tick and 2 timeouts, got %zu results", fake_result_count(host));
    for (int i = 1; i <= 2; i++) { /* 4 and 3, in whatever order */
        bool paid = strcmp(fake_set(&results[i], "reservationId"), "4") == 0;
        fake_expect_outcome(&results[i], "timeout");
        fake_expect_set(&results[i], "userId", "1");
        fake_expect_set(&results[i], "seatId", paid ? "40" : "30");
        if (paid) {
            fake_expect_set(&results[i], "paymentTxId", "\"p4\"");
            fake_expect_set(&results[i], "amount", "100");
        } else if (fake_set(&results[i], "paymentTxId") != NULL || fake_set(&results[i], "amount") != NULL) {
            fail_msg("a timeout without a payment names one");
        }
    }
    fake_call(host, "expire", 1, NULL);
    payment_expect(host, "SELECT string_agg(id || status, ' ' ORDER BY id) FROM reservations WHERE id < 5",
                   "1PENDING 2EXPIRED 3EXPIRED 4EXPIRED");
    fake_call(host, "expire", 1, NULL);
    if (fake_result_count(host) != 1)
        fail_msg("a hold of 40 s is not over after 1 m");
    fake_host_close(host);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reservation_is_confirmed_by_one_payment),
        cmocka_unit_test(a_wrong_payment_takes_nothing_from_the_right_one),
        cmocka_unit_test(holds_end_the_oldest_first),
    };
    library = plugin_test_library(argc, argv, "reservation");
    return cmocka_run_group_tests(tests, payment_database_start, payment_database_stop);
}
