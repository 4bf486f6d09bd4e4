/*
 * charge.cpp - payment.charge in C++17, above the same SQL: what payment.c does in C.
 *
 * Reads    paymentTxId, userId, seatId, amount, reservationId
 * Writes   through payment_charge() of plugins/payment/sql
 * Repeats  harmless: a payment is charged once, by the constraints of the schema
 * Threads  one state for each lane, one call at a time; no globals
 */
#include "sluice/plugin.hpp"

namespace
{

struct payment {
    int64_t amount_max;
};

constexpr auto settings = sluice::fields({
    SLUICE_FIELD(payment, amount_max).min(1).max(1000000000000).optional("10000000").help("most points of a payment"),
});

/* What the handler wants to know of an event. */
struct charge_fields {
    sluice::text paymentTxId;
    int64_t userId, seatId, amount, reservationId, retry_count, retries_left;
};

constexpr auto charge_input = sluice::fields({
    SLUICE_FIELD(charge_fields, paymentTxId).min(1).max(64).help("the payment"),
    SLUICE_FIELD(charge_fields, userId).min(1).max(INT64_MAX).help("who pays"),
    SLUICE_FIELD(charge_fields, seatId).min(0).max(INT64_MAX).help("what is paid for"),
    SLUICE_FIELD(charge_fields, amount).min(1).max(INT64_MAX).help("points, whole"),
    SLUICE_FIELD(charge_fields, reservationId).min(1).max(INT64_MAX).help("the reservation that is paid"),
    SLUICE_FIELD(charge_fields, retry_count).meta(SLUICE_META_RETRY_COUNT),
    SLUICE_FIELD(charge_fields, retries_left).meta(SLUICE_META_RETRIES_LEFT),
});

/* As payment_charge() answers; the last two are no outcomes: such an event will never be right. */
enum decision { SUCCESS, DECLINED, DUPLICATE, OF_ANOTHER_PAYMENT, TOO_MUCH };

constexpr auto charge_outcomes = sluice::outcomes({
    {"success", "the points were taken"},
    {"declined", "the balance does not cover the amount"},
    {"duplicate", "this paymentTxId was charged, refused or cancelled before"},
});

constexpr sluice_sql charge_sql = {"select n, decision from payment_charge($1::text[], $2::bigint[], $3::bigint[], "
                                   "$4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint)"};

void charge(const payment &self, sluice::call<charge_fields> &call)
{
    using in = charge_fields;
    for (auto row : call.query(charge_sql, &in::paymentTxId, &in::userId, &in::seatId, &in::amount, &in::reservationId,
                               &in::retry_count, &in::retries_left, self.amount_max)) {
        auto [n, decided] = row.as<size_t, decision>();
        if (decided == OF_ANOTHER_PAYMENT)
            call[n].reject(
                "this paymentTxId belongs to another payment: its user, seat or amount is not that of the event");
        else if (decided == TOO_MUCH)
            call[n].reject("the amount is over the setting `amount_max` of the payment plugin");
        else
            call[n].outcome(decided);
    }
}

constexpr auto handlers = sluice::handlers({
    sluice::handler<charge>("charge", "take the points, once per paymentTxId")
        .input(charge_input)
        .outcomes(charge_outcomes)
        .max_events(2000)
        .uses_store(),
});

} // namespace

SLUICE_EXPORT_PLUGIN(
    sluice::plugin<payment>("charge", "1.0.0", "points payments, in C++").settings(settings).handlers(handlers))
