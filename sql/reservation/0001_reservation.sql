-- The reservation plugin: seats on hold, and the functions that its handlers, and payment.accept, call.
--
-- A reservation is PENDING while its hold lasts, and leaves that state once: CONFIRMED by the one payment that it then names,
-- EXPIRED by the schedule, CANCELLED by whoever sells. The payment that comes too late fails here, and is refunded by its chain.
--
-- Every function takes arrays, locks rows in the order of their ids, and keeps its plans on the indexes however small the table
-- was when a session planned first.

CREATE TABLE reservations (
    id             bigint PRIMARY KEY,
    user_id        bigint NOT NULL,
    seat_id        bigint NOT NULL,
    purchase_price bigint NOT NULL CHECK (purchase_price > 0),
    held_at        timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    status         text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'CONFIRMED', 'EXPIRED', 'CANCELLED')),
    payment_tx_id  text COLLATE "C",
    CONSTRAINT reservation_confirmed_by_a_payment CHECK (status <> 'CONFIRMED' OR payment_tx_id IS NOT NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE reservations IS 'One row a reservation of a seat; whoever sells inserts them';
COMMENT ON COLUMN reservations.id IS 'reservationId of the events';
COMMENT ON COLUMN reservations.user_id IS 'For whom the seat is held';
COMMENT ON COLUMN reservations.seat_id IS 'seatId of the events';
COMMENT ON COLUMN reservations.purchase_price IS 'What it costs, in points; the only source of a payment''s amount';
COMMENT ON COLUMN reservations.held_at IS 'When the hold began; it ends after the setting `hold` of the plugin';
COMMENT ON COLUMN reservations.updated_at IS 'When its status last changed';
COMMENT ON COLUMN reservations.status IS 'PENDING while on hold, then CONFIRMED, EXPIRED or CANCELLED for good';
COMMENT ON COLUMN reservations.payment_tx_id IS 'PENDING: the payment that was last accepted for it, if any; CONFIRMED: the payment that bought it';

CREATE INDEX reservations_on_hold ON reservations (held_at) WHERE status = 'PENDING';
COMMENT ON INDEX reservations_on_hold IS 'What reservation_expire looks through; holds what is PENDING and nothing else';

-- ---------------------------------------------------------------------------------------------------------- confirm

-- The events that did not confirm their reservation in this call, and why.
CREATE FUNCTION reservation_confirm_refused(reservation_ids bigint[], user_ids bigint[], seat_ids bigint[], amounts bigint[],
                                            tx_ids text[], confirmed_ids bigint[], confirmed_by text[])
RETURNS TABLE (n bigint, decision bigint, reason text)
LANGUAGE plpgsql STABLE
SET enable_hashjoin = on SET enable_nestloop = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT e.place, w.decision,
               CASE WHEN w.decision = 1 THEN
                   CASE WHEN r.id IS NULL THEN 'absent' WHEN r.user_id <> e.user_id THEN 'other_user'
                        WHEN r.seat_id <> e.seat_id THEN 'other_seat' WHEN r.purchase_price <> e.amount THEN 'other_amount'
                        WHEN r.status = 'CONFIRMED' THEN 'paid_by_another_payment' ELSE lower(r.status) END END
          FROM (SELECT o.*, row_number() OVER (PARTITION BY o.id, o.tx_id ORDER BY o.place) AS time
                  FROM unnest(reservation_ids, user_ids, seat_ids, amounts, tx_ids) WITH ORDINALITY
                       AS o (id, user_id, seat_id, amount, tx_id, place)) AS e
          LEFT JOIN unnest(confirmed_ids, confirmed_by) AS c (id, tx_id) ON c.id = e.id AND c.tx_id = e.tx_id
          LEFT JOIN (SELECT * FROM reservations WHERE id = ANY (reservation_ids)) AS r ON r.id = e.id
         CROSS JOIN LATERAL (
               SELECT CASE WHEN r.status = 'CONFIRMED' AND r.payment_tx_id = e.tx_id THEN 2
                           WHEN r.status = 'PENDING' AND r.user_id = e.user_id AND r.seat_id = e.seat_id
                                AND r.purchase_price = e.amount THEN 3
                           ELSE 1 END::bigint AS decision) AS w
         WHERE c.id IS NULL OR e.time > 1;
END
$$;
COMMENT ON FUNCTION reservation_confirm_refused IS 'Part of reservation_confirm: the events that confirmed nothing, n from 1; 3: the row changed under us';

CREATE FUNCTION reservation_confirm(reservation_ids bigint[], user_ids bigint[], seat_ids bigint[], amounts bigint[], tx_ids text[])
RETURNS TABLE (n bigint, decision bigint, reason text)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    confirmed_ids bigint[];
    confirmed_by  text[];
    decisions     bigint[];
    reasons       text[];
    event         record;
BEGIN
    WITH confirmed AS (
        UPDATE reservations AS r SET status = 'CONFIRMED', payment_tx_id = e.tx_id, updated_at = now()
          FROM (SELECT o.* FROM unnest(reservation_ids, user_ids, seat_ids, amounts, tx_ids) WITH ORDINALITY
                       AS o (id, user_id, seat_id, amount, tx_id, place)
                 ORDER BY o.id, o.place) AS e
         WHERE r.id = e.id AND r.status = 'PENDING' AND r.user_id = e.user_id AND r.seat_id = e.seat_id
           AND r.purchase_price = e.amount
        RETURNING r.id, r.payment_tx_id)
    SELECT array_agg(c.id), array_agg(c.payment_tx_id) INTO confirmed_ids, confirmed_by FROM confirmed AS c;

    IF cardinality(confirmed_ids) = cardinality(reservation_ids) THEN
        RETURN QUERY SELECT s.at, 0::bigint, NULL::text FROM generate_series(0::bigint, cardinality(reservation_ids) - 1) AS s (at);
        RETURN;
    END IF;
    decisions := array_fill(0::bigint, ARRAY[cardinality(reservation_ids)]);
    reasons := array_fill(NULL::text, ARRAY[cardinality(reservation_ids)]);
    FOR event IN SELECT f.n, f.decision, f.reason
                   FROM reservation_confirm_refused(reservation_ids, user_ids, seat_ids, amounts, tx_ids,
                                                    confirmed_ids, confirmed_by) AS f LOOP
        IF event.decision = 3 THEN
            RAISE EXCEPTION 'a reservation changed while it was confirmed' USING ERRCODE = 'serialization_failure';
        END IF;
        decisions[event.n] := event.decision;
        reasons[event.n] := event.reason;
    END LOOP;
    RETURN QUERY SELECT e.place - 1, e.decision, e.reason
                   FROM unnest(decisions, reasons) WITH ORDINALITY AS e (decision, reason, place);
END
$$;
COMMENT ON FUNCTION reservation_confirm IS 'PENDING to CONFIRMED: 0 success, 1 failure with its reason, 2 confirmed before by this payment';

-- ---------------------------------------------------------------------------------------------------------- expire

CREATE FUNCTION reservation_expire(hold_ms bigint, most bigint)
RETURNS TABLE (id bigint, user_id bigint, seat_id bigint, purchase_price bigint, payment_tx_id text)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        UPDATE reservations AS r SET status = 'EXPIRED', updated_at = now()
          FROM (SELECT o.id FROM reservations AS o
                 WHERE o.status = 'PENDING' AND o.held_at < now() - hold_ms * interval '1 ms'
                 ORDER BY o.held_at LIMIT most FOR UPDATE SKIP LOCKED) AS late
         WHERE r.id = late.id
        RETURNING r.id, r.user_id, r.seat_id, r.purchase_price, r.payment_tx_id;
END
$$;
COMMENT ON FUNCTION reservation_expire IS 'PENDING to EXPIRED for the oldest `most` whose hold is over; what a running transaction has locked is left for the next time';

-- ------------------------------------------------------------------------------------- what payment.accept asks for

CREATE FUNCTION reservation_for_payment(ids bigint[])
RETURNS TABLE (id bigint, user_id bigint, seat_id bigint, purchase_price bigint, status text, payment_tx_id text)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT r.id, r.user_id, r.seat_id, r.purchase_price, r.status, r.payment_tx_id
          FROM reservations AS r WHERE r.id = ANY (ids) ORDER BY r.id FOR UPDATE;
END
$$;
COMMENT ON FUNCTION reservation_for_payment IS 'Reads reservations and holds them until the end of the transaction';

CREATE FUNCTION reservation_claim(ids bigint[], tx_ids text[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    UPDATE reservations AS r SET payment_tx_id = e.tx_id
      FROM unnest(ids, tx_ids) AS e (id, tx_id)
     WHERE r.id = e.id AND r.status = 'PENDING';
END
$$;
COMMENT ON FUNCTION reservation_claim IS 'Notes which payment was accepted for a reservation, so that its timeout can name it';
