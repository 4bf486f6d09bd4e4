//! charge.rs - payment.charge in Rust, above the same SQL: what payment.c does in C.
//!
//! Reads    paymentTxId, userId, seatId, amount, reservationId
//! Writes   through payment_charge() of plugins/payment/sql
//! Repeats  harmless: a payment is charged once, by the constraints of the schema

use sluice::{field, handler, meta, sql, value, Call, Done, Lane, Meta, Sql, Text};

sluice::fields! {
    struct Payment {
        amount_max: i64 = field("amount_max").min(1).max(1_000_000_000_000).fallback("10000000").help("most points of a payment"),
    }
}

sluice::fields! {
    /// What the handler wants to know of an event.
    struct Charge {
        payment_tx_id: Text = field("paymentTxId").min(1).max(64).help("the payment"),
        user_id: i64 = field("userId").min(1).max(i64::MAX).help("who pays"),
        seat_id: i64 = field("seatId").min(0).max(i64::MAX).help("what is paid for"),
        amount: i64 = field("amount").min(1).max(i64::MAX).help("points, whole"),
        reservation_id: i64 = field("reservationId").min(1).max(i64::MAX).help("the reservation that is paid"),
        retry_count: i64 = meta(Meta::RetryCount),
        retries_left: i64 = meta(Meta::RetriesLeft),
    }
}

/// As payment_charge() answers; the other two are no outcomes: such an event will never be right.
const OUTCOMES: &[(&str, &str)] = &[
    ("success", "the points were taken"),
    ("declined", "the balance does not cover the amount"),
    ("duplicate", "this paymentTxId was charged, refused or cancelled before"),
];
const OF_ANOTHER_PAYMENT: usize = 3;
const TOO_MUCH: usize = 4;

static CHARGE: Sql = sql!(
    "select n, decision from payment_charge($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], \
     $6::bigint[], $7::bigint[], $8::bigint)"
);

fn charge(lane: &mut Lane<Payment>, call: &Call<Charge>) -> Done {
    let columns = [
        call.each(|charge| &charge.payment_tx_id),
        call.each(|charge| &charge.user_id),
        call.each(|charge| &charge.seat_id),
        call.each(|charge| &charge.amount),
        call.each(|charge| &charge.reservation_id),
        call.each(|charge| &charge.retry_count),
        call.each(|charge| &charge.retries_left),
        value(&lane.settings.amount_max),
    ];
    for row in call.query(&CHARGE, &columns)?.iter() {
        let n = row.index(0);
        match row.index(1) {
            OF_ANOTHER_PAYMENT => call.reject(
                n,
                "this paymentTxId belongs to another payment: its user, seat or amount is not that of the event",
            ),
            TOO_MUCH => call.reject(n, "the amount is over the setting `amount_max` of the payment plugin"),
            decision => call.outcome(n, decision),
        }
    }
    Ok(())
}

sluice::plugin! {
    name: "charge",
    version: "1.0.0",
    help: "points payments, in Rust",
    handlers: [
        handler("charge", "take the points, once per paymentTxId", charge).outcomes(OUTCOMES).max_events(2000).uses_store(),
    ],
}
