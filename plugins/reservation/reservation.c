/*
 * reservation.c - seats on hold: a payment confirms them, time ends them.
 *
 * Reads    reservationId, userId, seatId, amount, paymentTxId Writes   the table reservations, through the functions
 * of its sql/ Promises a reservation leaves PENDING once; the payment that bought it may be delivered again
 * (duplicate); every other payment
 *          for it fails, with the reason, so that a chain can give its points back
 * Does not know of points, nor of whether a payment succeeded: reservation.timeout names the payment that was last
 * accepted
 *          for the reservation, whatever became of it. Without one the field is absent: there is nothing to undo.
 * Threads  one state for each lane, one call at a time; no globals
 */
#include "sluice/plugin.h"

struct reservation {
    int64_t hold_ms;
    int64_t expire_max;
};

static const struct sluice_field settings[] = {
    {.name = "hold",
     .type = SLUICE_TYPE_DURATION,
     .offset = SLUICE_OFFSET(struct reservation, hold_ms, int64_t),
     .min = 1000,
     .max = 7LL * 24 * 3600 * 1000,
     .flags = SLUICE_OPTIONAL,
     .fallback = "5m",
     .help = "how long a reservation stays PENDING without being paid"},
    SLUICE_INT64(struct reservation, expire_max, .min = 1, .max = 10000, .flags = SLUICE_OPTIONAL, .fallback = "1000",
                 .help = "most reservations that one tick of the schedule expires"),
    {0},
};

/* --------------------------------------------------------------------------------------------------------- confirm */

struct confirm {
    int64_t reservationId, userId, seatId, amount;
    struct sluice_text paymentTxId;
};

static const struct sluice_field confirm_input[] = {
    SLUICE_INT64(struct confirm, reservationId, .min = 1, .max = INT64_MAX, .help = "what was paid for"),
    SLUICE_INT64(struct confirm, userId, .min = 1, .max = INT64_MAX, .help = "who paid"),
    SLUICE_INT64(struct confirm, seatId, .min = 0, .max = INT64_MAX, .help = "the seat"),
    SLUICE_INT64(struct confirm, amount, .min = 1, .max = INT64_MAX, .help = "what was paid, in points"),
    SLUICE_TEXT(struct confirm, paymentTxId, .min = 1, .max = 64, .help = "the payment"),
    {0},
};

enum { SUCCESS, FAILURE, DUPLICATE }; /* as reservation_confirm() answers */

static const struct sluice_outcome confirm_outcomes[] = {
    [SUCCESS] = {"success", "the reservation is CONFIRMED"},
    [FAILURE] = {"failure", "it cannot be confirmed by this payment; `reason` says why"},
    [DUPLICATE] = {"duplicate", "this payment confirmed it before"},
    {0},
};

static const struct sluice_field confirm_sets[] = {
    SLUICE_SETS_TEXT("reason", .flags = SLUICE_OPTIONAL,
                     .choices = "absent|other_user|other_seat|other_amount|paid_by_another_payment|expired|cancelled",
                     .help = "why it failed; absent otherwise"),
    {0},
};

static const struct sluice_sql confirm_sql = {"select n, decision, reason from reservation_confirm($1::bigint[], "
                                              "$2::bigint[], $3::bigint[], $4::bigint[], $5::text[])"};

static void confirm(void *state, struct sluice_call *call)
{
    (void)state;
    const struct sluice_host *host = call->host;
    const struct sluice_param columns[] = {
        SLUICE_EACH_INT64(struct confirm, reservationId), SLUICE_EACH_INT64(struct confirm, userId),
        SLUICE_EACH_INT64(struct confirm, seatId), SLUICE_EACH_INT64(struct confirm, amount),
        SLUICE_EACH_TEXT(struct confirm, paymentTxId)};
    const struct sluice_rows *rows = host->query(call, &confirm_sql, 5, columns);
    if (rows == NULL)
        return; /* the engine knows why */
    size_t count = host->row_count(rows);
    for (size_t row = 0; row < count; row++) {
        size_t n = (size_t)host->get_int64(rows, row, 0);
        size_t outcome = (size_t)host->get_int64(rows, row, 1);
        host->outcome(call, n, outcome);
        if (outcome == FAILURE)
            host->set_text(call, n, "reason", host->get_text(rows, row, 2));
    }
}

/* ---------------------------------------------------------------------------------------------------------- expire */

enum { TIMEOUT };

static const struct sluice_outcome expire_outcomes[] = {
    [TIMEOUT] = {"timeout", "a hold ended without a payment; one for each reservation"},
    {0},
};

static const struct sluice_field expire_sets[] = {
    SLUICE_SETS_INT64("reservationId", .help = "the reservation, now EXPIRED"),
    SLUICE_SETS_INT64("userId", .help = "for whom it was held"),
    SLUICE_SETS_INT64("seatId", .help = "the seat, free again"),
    SLUICE_SETS_TEXT("paymentTxId", .flags = SLUICE_OPTIONAL,
                     .help = "the payment last accepted for it; absent without one"),
    SLUICE_SETS_INT64("amount", .flags = SLUICE_OPTIONAL, .help = "that payment's points; absent without one"),
    {0},
};

static const struct sluice_sql expire_sql = {
    "select id, user_id, seat_id, payment_tx_id, purchase_price from reservation_expire($1::bigint, $2::bigint)"};

static void expire(void *state, struct sluice_call *call)
{
    const struct reservation *self = state;
    const struct sluice_host *host = call->host;
    const struct sluice_param bounds[] = {SLUICE_VALUE_INT64(&self->hold_ms), SLUICE_VALUE_INT64(&self->expire_max)};
    const struct sluice_rows *rows = host->query(call, &expire_sql, 2, bounds);
    if (rows == NULL)
        return;
    size_t count = host->row_count(rows);
    for (size_t row = 0; row < count; row++) {
        size_t n = host->add(call, TIMEOUT);
        host->set_int64(call, n, "reservationId", host->get_int64(rows, row, 0));
        host->set_int64(call, n, "userId", host->get_int64(rows, row, 1));
        host->set_int64(call, n, "seatId", host->get_int64(rows, row, 2));
        if (!host->is_null(rows, row, 3)) {
            host->set_text(call, n, "paymentTxId", host->get_text(rows, row, 3));
            host->set_int64(call, n, "amount", host->get_int64(rows, row, 4));
        }
    }
}

static const struct sluice_handler handlers[] = {
    {.name = "confirm",
     .help = "PENDING to CONFIRMED, by one payment",
     .input = confirm_input,
     .input_size = sizeof(struct confirm),
     .outcomes = confirm_outcomes,
     .sets = confirm_sets,
     .max_events = 2000,
     .uses_store = 1,
     .handle = confirm},
    {.name = "expire",
     .help = "ends the holds that are over, the oldest first",
     .outcomes = expire_outcomes,
     .sets = expire_sets,
     .max_events = 1,
     .kind = SLUICE_SCHEDULE,
     .uses_store = 1,
     .handle = expire},
    {0},
};

SLUICE_PLUGIN(.name = "reservation", .version = "1.0.0", .help = "reservations of seats", .settings = settings,
              .state_size = sizeof(struct reservation), .handlers = handlers)
