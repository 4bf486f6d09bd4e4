/*
 * payment.c - points: taken once a payment, given back once, asked for over HTTP; followed where another service
 * takes them.
 *
 * Reads    paymentTxId, userId, seatId, amount, reservationId; the requests: paymentToken as well Writes   the
 * tables users, payment_tokens and payment_transactions, through the functions of its sql/ Promises one charge a
 * payment and one refund a charge, whatever is delivered how often and in which order: the decisions are the
 *          SQL functions', under the constraints of the schema; this file carries columns there and decisions back
 * Does not believe a client: seat and price come from the reservation. payment.accept needs the reservation plugin's
 * tables in the
 *          same database (reservation_for_payment, reservation_claim).
 * Threads  one state for each lane, one call at a time; no globals
 */
#include "sluice/plugin.h"

#include <inttypes.h>
#include <stdio.h>

struct payment {
    int64_t amount_max;
};

static const struct sluice_field settings[] = {
    SLUICE_INT64(struct payment, amount_max, .min = 1, .max = 1000000000000, .flags = SLUICE_OPTIONAL,
                 .fallback = "10000000", .help = "most points that one payment may take"),
    {0},
};

/* ---------------------------------------------------------------------------------------------------------- charge */

struct charge {
    struct sluice_text paymentTxId;
    int64_t userId, seatId, amount, reservationId;
    int64_t retry_count, retries_left;
};

static const struct sluice_field charge_input[] = {
    SLUICE_TEXT(struct charge, paymentTxId, .min = 1, .max = 64, .help = "the payment"),
    SLUICE_INT64(struct charge, userId, .min = 1, .max = INT64_MAX, .help = "who pays"),
    SLUICE_INT64(struct charge, seatId, .min = 0, .max = INT64_MAX, .help = "what is paid for"),
    SLUICE_INT64(struct charge, amount, .min = 1, .max = INT64_MAX, .help = "points, whole"),
    SLUICE_INT64(struct charge, reservationId, .min = 1, .max = INT64_MAX, .help = "the reservation that is paid"),
    SLUICE_META_INT64(struct charge, retry_count, SLUICE_META_RETRY_COUNT),
    SLUICE_META_INT64(struct charge, retries_left, SLUICE_META_RETRIES_LEFT),
    {0},
};

/* As payment_charge() answers; the last two are no outcomes: such an event will never be right. */
enum { SUCCESS, DECLINED, DUPLICATE, OF_ANOTHER_PAYMENT, TOO_MUCH };

static const struct sluice_outcome charge_outcomes[] = {
    [SUCCESS] = {"success", "the points were taken"},
    [DECLINED] = {"declined", "the balance does not cover the amount"},
    [DUPLICATE] = {"duplicate", "this paymentTxId was charged, refused or cancelled before"},
    {0},
};

static const struct sluice_sql charge_sql = {"select n, decision from payment_charge($1::text[], $2::bigint[], "
                                             "$3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],"
                                             " $7::bigint[], $8::bigint)"};

static void charge(void *state, struct sluice_call *call)
{
    const struct payment *self = state;
    const struct sluice_host *host = call->host;
    const struct sluice_param columns[] = {
        SLUICE_EACH_TEXT(struct charge, paymentTxId),    SLUICE_EACH_INT64(struct charge, userId),
        SLUICE_EACH_INT64(struct charge, seatId),        SLUICE_EACH_INT64(struct charge, amount),
        SLUICE_EACH_INT64(struct charge, reservationId), SLUICE_EACH_INT64(struct charge, retry_count),
        SLUICE_EACH_INT64(struct charge, retries_left),  SLUICE_VALUE_INT64(&self->amount_max)};
    const struct sluice_rows *rows = host->query(call, &charge_sql, 8, columns);
    if (rows == NULL)
        return; /* the engine knows why, and gives every event of this call its verdict */
    size_t count = host->row_count(rows);
    for (size_t row = 0; row < count; row++) {
        size_t n = (size_t)host->get_int64(rows, row, 0);
        size_t decision = (size_t)host->get_int64(rows, row, 1);
        if (decision == OF_ANOTHER_PAYMENT)
            host->reject(
                call, n,
                "this paymentTxId belongs to another payment: its user, seat or amount is not that of the event");
        else if (decision == TOO_MUCH)
            host->reject(call, n, "the amount is over the setting `amount_max` of the payment plugin");
        else
            host->outcome(call, n, decision);
    }
}

/* ---------------------------------------------------------------------------------------------------------- refund */

struct refund {
    struct sluice_text paymentTxId;
    int64_t userId, seatId, amount, reservationId;
};

static const struct sluice_field refund_input[] = {
    SLUICE_TEXT(struct refund, paymentTxId, .min = 1, .max = 64, .help = "the payment to undo"),
    SLUICE_INT64(struct refund, userId, .min = 0, .max = INT64_MAX, .flags = SLUICE_OPTIONAL,
                 .help = "noted when the charge did not come yet; what is given back is what was taken"),
    SLUICE_INT64(struct refund, seatId, .min = 0, .max = INT64_MAX, .flags = SLUICE_OPTIONAL, .help = "likewise"),
    SLUICE_INT64(struct refund, amount, .min = 0, .max = INT64_MAX, .flags = SLUICE_OPTIONAL, .help = "likewise"),
    SLUICE_INT64(struct refund, reservationId, .min = 0, .max = INT64_MAX, .flags = SLUICE_OPTIONAL,
                 .help = "likewise"),
    {0},
};

static const struct sluice_outcome refund_outcomes[] = {
    /* as payment_refund() answers */
    {"refunded", "the points were given back"},
    {"nothing_to_refund", "no points were taken, or they were given back before; a charge that comes later is stopped"},
    {0},
};

static const struct sluice_sql refund_sql = {
    "select n, decision from payment_refund($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])"};

static void refund(void *state, struct sluice_call *call)
{
    (void)state;
    const struct sluice_host *host = call->host;
    const struct sluice_param columns[] = {
        SLUICE_EACH_TEXT(struct refund, paymentTxId), SLUICE_EACH_INT64(struct refund, userId),
        SLUICE_EACH_INT64(struct refund, seatId), SLUICE_EACH_INT64(struct refund, reservationId),
        SLUICE_EACH_INT64(struct refund, amount)};
    const struct sluice_rows *rows = host->query(call, &refund_sql, 5, columns);
    if (rows == NULL)
        return;
    size_t count = host->row_count(rows);
    for (size_t row = 0; row < count; row++)
        host->outcome(call, (size_t)host->get_int64(rows, row, 0), (size_t)host->get_int64(rows, row, 1));
}

/* ---------------------------------------------------------------------------------------------------------- accept */

struct accept {
    int64_t userId, reservationId;
    struct sluice_text paymentToken, paymentTxId;
};

static const struct sluice_field accept_input[] = {
    SLUICE_INT64(struct accept, userId, .min = 1, .max = INT64_MAX, .help = "who pays"),
    SLUICE_INT64(struct accept, reservationId, .min = 1, .max = INT64_MAX,
                 .help = "what is paid; seat and price are its"),
    SLUICE_TEXT(struct accept, paymentToken, .min = 1, .max = 128, .help = "the permission to pay, used up by this"),
    SLUICE_TEXT(struct accept, paymentTxId, .min = 1, .max = 64, .flags = SLUICE_OPTIONAL,
                .help = "the client's name for the payment: letters, digits and ._:- ; made up when absent"),
    {0},
};

static const struct sluice_outcome accept_outcomes[] = {
    {"accepted", "a new payment, to be charged"},
    {0},
};

static const struct sluice_field accept_sets[] = {
    SLUICE_SETS_INT64("reservationId", .help = "from the request"),
    SLUICE_SETS_INT64("userId", .help = "from the request"),
    SLUICE_SETS_INT64("seatId", .help = "from the reservation"),
    SLUICE_SETS_INT64("amount", .help = "the price, from the reservation"),
    SLUICE_SETS_TEXT("paymentTxId", .help = "from the request, or made up"),
    SLUICE_SETS_TEXT("paymentToken", .help = "from the request"),
    {0},
};

static const struct sluice_sql accept_sql = {
    "select n, decision, tx_id, seat_id, amount from payment_accept($1::bigint[], $2::bigint[], $3::text[], $4::text[],"
    " $5::bigint)"};

enum { ACCEPTED, ACCEPTED_BEFORE, REFUSED };

/* Indexed by the decision of payment_accept(). */
static const struct refusal {
    uint32_t status;
    const char *json;
} refusals[] = {
    [2] = {409,
           "{\"error\":\"payment_exists\",\"message\":\"This paymentTxId belongs to a payment with another body.\"}"},
    [3] = {403, "{\"error\":\"token_refused\",\"message\":\"The paymentToken is not one of this user that waits to be "
                "used.\"}"},
    [4] = {404, "{\"error\":\"reservation_not_found\",\"message\":\"This user has no such reservation.\"}"},
    [5] =
        {409,
         "{\"error\":\"reservation_not_pending\","
         "\"message\":\"The reservation is not on hold any more: it was confirmed, cancelled, or its time is over.\"}"},
    [6] = {409,
           "{\"error\":\"payment_running\",\"message\":\"Another payment for this reservation is being processed.\"}"},
    [7] = {409, "{\"error\":\"amount_too_large\",\"message\":\"The price is over what one payment may take.\"}"},
    [8] = {400, "{\"error\":\"bad_request\","
                "\"message\":\"paymentTxId must be 1 to 64 letters, digits or characters out of . _ : and -.\"}"},
};

static void accept_reply(struct sluice_call *call, size_t n, struct sluice_text tx_id)
{
    char json[256]; /* the id has at most 64 characters, none of which JSON escapes */
    int length = snprintf(json, sizeof json,
                          "{\"paymentTxId\":\"%.*s\",\"status\":\"PAYMENT_PROCESSING\","
                          "\"message\":\"The payment is being processed. Ask for its status at /payments/%.*s.\"}",
                          (int)tx_id.length, tx_id.at, (int)tx_id.length, tx_id.at);
    call->host->reply(call, n, 202, (struct sluice_text){json, (size_t)length}, 0);
}

static void accept(void *state, struct sluice_call *call)
{
    const struct payment *self = state;
    const struct sluice_host *host = call->host;
    const struct accept *inputs = call->inputs;
    const struct sluice_param columns[] = {
        SLUICE_EACH_INT64(struct accept, userId), SLUICE_EACH_INT64(struct accept, reservationId),
        SLUICE_EACH_TEXT(struct accept, paymentToken), SLUICE_EACH_TEXT(struct accept, paymentTxId),
        SLUICE_VALUE_INT64(&self->amount_max)};
    const struct sluice_rows *rows = host->query(call, &accept_sql, 5, columns);
    if (rows == NULL)
        return;
    size_t count = host->row_count(rows);
    for (size_t row = 0; row < count; row++) {
        size_t n = (size_t)host->get_int64(rows, row, 0);
        size_t decision = (size_t)host->get_int64(rows, row, 1);
        if (decision >= REFUSED && decision < sizeof refusals / sizeof refusals[0]) {
            const char *json = refusals[decision].json;
            host->reply(call, n, refusals[decision].status, (struct sluice_text){json, __builtin_strlen(json)}, 0);
            continue;
        }
        struct sluice_text tx_id = host->get_text(rows, row, 2);
        accept_reply(call, n, tx_id);
        if (decision != ACCEPTED)
            continue;
        host->set_int64(call, n, "reservationId", inputs[n].reservationId);
        host->set_int64(call, n, "userId", inputs[n].userId);
        host->set_int64(call, n, "seatId", host->get_int64(rows, row, 3));
        host->set_int64(call, n, "amount", host->get_int64(rows, row, 4));
        host->set_text(call, n, "paymentTxId", tx_id);
        host->set_text(call, n, "paymentToken", inputs[n].paymentToken);
        host->outcome(call, n, ACCEPTED);
    }
}

/* ---------------------------------------------------------------------------------------------------------- status */

struct status {
    struct sluice_text paymentTxId;
};

static const struct sluice_field status_input[] = {
    SLUICE_TEXT(struct status, paymentTxId, .min = 1, .max = 64, .help = "the payment asked for, from the path"),
    {0},
};

/* The body is made by the server, which knows how to write JSON. PENDING and RETRYING are on their way; the rest is
 * an end. */
static const struct sluice_sql status_sql = {
    "select e.place - 1, t.status in ('PENDING', 'RETRYING'),"
    " json_build_object('paymentTxId', t.id, 'status', t.status, 'retryCount', t.retry_count, 'amount', t.amount,"
    " 'userId', t.user_id, 'seatId', t.seat_id, 'reservationId', t.reservation_id, 'createdAt', t.created_at,"
    " 'updatedAt', t.updated_at)::text"
    " from unnest($1::text[]) with ordinality as e (id, place) left join payment_transactions as t on t.id = e.id"};

static void status(void *state, struct sluice_call *call)
{
    (void)state;
    const struct sluice_host *host = call->host;
    const struct sluice_param ids[] = {SLUICE_EACH_TEXT(struct status, paymentTxId)};
    const struct sluice_rows *rows = host->query(call, &status_sql, 1, ids);
    static const char unknown[] = "{\"error\":\"payment_not_found\",\"message\":\"There is no such payment.\"}";
    if (rows == NULL)
        return;
    size_t count = host->row_count(rows);
    for (size_t row = 0; row < count; row++) {
        size_t n = (size_t)host->get_int64(rows, row, 0);
        if (host->is_null(rows, row, 1))
            host->reply(call, n, 404, (struct sluice_text){unknown, sizeof unknown - 1}, 0);
        else
            host->reply(call, n, 200, host->get_text(rows, row, 2),
                        host->get_int64(rows, row, 1) != 0 ? SLUICE_REPLY_PENDING : 0);
    }
}

/* ---------------------------------------------------------------------------------------------------------- follow */

/* For a service that shows payments and does not charge them: its own rows follow the events of the service that
 * does. Which topic means which status is the pipeline's to say, so there is a handler for each status that follows
 * the first. */
struct follow {
    struct sluice_text paymentTxId;
    int64_t userId, seatId, amount, reservationId, retryCount;
};

static const struct sluice_field follow_input[] = {
    SLUICE_TEXT(struct follow, paymentTxId, .min = 1, .max = 64, .help = "the payment"),
    SLUICE_INT64(struct follow, userId, .min = 1, .max = INT64_MAX, .help = "who pays"),
    SLUICE_INT64(struct follow, seatId, .min = 0, .max = INT64_MAX, .help = "what is paid for"),
    SLUICE_INT64(struct follow, amount, .min = 1, .max = INT64_MAX, .help = "points, whole"),
    SLUICE_INT64(struct follow, reservationId, .min = 1, .max = INT64_MAX, .help = "the reservation that is paid"),
    SLUICE_INT64(struct follow, retryCount, .min = 0, .max = INT32_MAX, .flags = SLUICE_OPTIONAL,
                 .help = "steps of the retry ladder; absent before the first"),
    {0},
};

static const struct sluice_field follow_cancel_input[] = {
    /* as much as payment.refund asks for */
    SLUICE_TEXT(struct follow, paymentTxId, .min = 1, .max = 64, .help = "the payment"),
    SLUICE_INT64(struct follow, userId, .min = 0, .max = INT64_MAX, .flags = SLUICE_OPTIONAL,
                 .help = "noted when nothing was heard of the payment yet"),
    SLUICE_INT64(struct follow, seatId, .min = 0, .max = INT64_MAX, .flags = SLUICE_OPTIONAL, .help = "likewise"),
    SLUICE_INT64(struct follow, amount, .min = 0, .max = INT64_MAX, .flags = SLUICE_OPTIONAL, .help = "likewise"),
    SLUICE_INT64(struct follow, reservationId, .min = 0, .max = INT64_MAX, .flags = SLUICE_OPTIONAL,
                 .help = "likewise"),
    SLUICE_INT64(struct follow, retryCount, .min = 0, .max = INT32_MAX, .flags = SLUICE_OPTIONAL, .help = "likewise"),
    {0},
};

enum { FOLLOWED };

static const struct sluice_outcome follow_outcomes[] = {
    [FOLLOWED] = {"followed", "the payment's row is at least as far as the event"},
    {0},
};

static const struct sluice_sql follow_sql = {
    "select payment_follow($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],"
    " $7::text)"};

static void follow(struct sluice_call *call, const char *status)
{
    const struct sluice_text text = {status, __builtin_strlen(status)};
    const struct sluice_param columns[] = {SLUICE_EACH_TEXT(struct follow, paymentTxId),
                                           SLUICE_EACH_INT64(struct follow, userId),
                                           SLUICE_EACH_INT64(struct follow, seatId),
                                           SLUICE_EACH_INT64(struct follow, amount),
                                           SLUICE_EACH_INT64(struct follow, reservationId),
                                           SLUICE_EACH_INT64(struct follow, retryCount),
                                           SLUICE_VALUE_TEXT(&text)};
    if (call->host->query(call, &follow_sql, 7, columns) == NULL)
        return;
    for (size_t n = 0; n < call->count; n++)
        call->host->outcome(call, n, FOLLOWED);
}

static void follow_retry(void *state, struct sluice_call *call)
{
    (void)state;
    follow(call, "RETRYING");
}

static void follow_success(void *state, struct sluice_call *call)
{
    (void)state;
    follow(call, "SUCCESS");
}

static void follow_failure(void *state, struct sluice_call *call)
{
    (void)state;
    follow(call, "FAILURE");
}

static void follow_cancel(void *state, struct sluice_call *call)
{
    (void)state;
    follow(call, "CANCEL");
}

#define FOLLOWS(which, shape, what)                                                                                    \
    {                                                                                                                  \
        .name = #which, .help = what, .input = shape, .input_size = sizeof(struct follow),                             \
        .outcomes = follow_outcomes, .max_events = 2000, .uses_store = 1, .handle = which                              \
    }

static const struct sluice_handler handlers[] = {
    {.name = "charge",
     .help = "take the points, once per paymentTxId",
     .input = charge_input,
     .input_size = sizeof(struct charge),
     .outcomes = charge_outcomes,
     .max_events = 2000,
     .uses_store = 1,
     .handle = charge},
    {.name = "refund",
     .help = "give the points back, once; stop a charge that comes later",
     .input = refund_input,
     .input_size = sizeof(struct refund),
     .outcomes = refund_outcomes,
     .max_events = 2000,
     .uses_store = 1,
     .handle = refund},
    {.name = "accept",
     .help = "POST /payments: check the token and the reservation, answer 202, start the payment",
     .input = accept_input,
     .input_size = sizeof(struct accept),
     .outcomes = accept_outcomes,
     .sets = accept_sets,
     .max_events = 500,
     .kind = SLUICE_REQUEST,
     .uses_store = 1,
     .handle = accept},
    {.name = "status",
     .help = "GET /payments/{paymentTxId}: what became of it",
     .input = status_input,
     .input_size = sizeof(struct status),
     .max_events = 500,
     .kind = SLUICE_REQUEST,
     .uses_store = 1,
     .handle = status},
    FOLLOWS(follow_retry, follow_input, "where payments are only shown: another service declined it, and tries again"),
    FOLLOWS(follow_success, follow_input, "where payments are only shown: another service took the points"),
    FOLLOWS(follow_failure, follow_input, "where payments are only shown: another service refused it for good"),
    FOLLOWS(follow_cancel, follow_cancel_input, "where payments are only shown: another service undid it"),
    {0},
};

SLUICE_PLUGIN(.name = "payment", .version = "1.0.0", .help = "payments in points", .settings = settings,
              .state_size = sizeof(struct payment), .handlers = handlers)
