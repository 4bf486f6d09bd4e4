-- The payment plugin: payments that another service charges, as the service that accepts and shows them hears of them.
--
-- The events of one payment come on several topics, so in any order and more than once. A status never goes back: each has a place
-- in the order below, and the row keeps the one that is furthest, however the events came. FAILURE is last because a payment that
-- was refused for good stays refused, whoever cancels it later (payment_refund).

CREATE FUNCTION payment_follow(tx_ids text[], user_ids bigint[], seat_ids bigint[], amounts bigint[], reservation_ids bigint[],
                               retry_counts bigint[], followed text)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    places CONSTANT text[] := '{PENDING,RETRYING,SUCCESS,CANCEL,FAILURE}';
    absent CONSTANT bigint := CASE WHEN followed = 'CANCEL' THEN 0 ELSE -1 END; -- 0 in a cancel stands for absent
BEGIN
    INSERT INTO payment_transactions AS t (id, status, user_id, seat_id, reservation_id, amount, charged, retry_count)
    SELECT DISTINCT ON (e.id COLLATE "C") e.id, followed, nullif(e.user_id, absent), nullif(e.seat_id, absent),
           nullif(e.reservation_id, absent), nullif(e.amount, absent), CASE WHEN followed = 'SUCCESS' THEN e.amount ELSE 0 END,
           e.retry_count
      FROM unnest(tx_ids, user_ids, seat_ids, reservation_ids, amounts, retry_counts)
           AS e (id, user_id, seat_id, reservation_id, amount, retry_count)
     ORDER BY e.id COLLATE "C", e.retry_count DESC
    ON CONFLICT (id) DO UPDATE
       SET status = excluded.status,
           user_id = coalesce(t.user_id, excluded.user_id),
           seat_id = coalesce(t.seat_id, excluded.seat_id),
           reservation_id = coalesce(t.reservation_id, excluded.reservation_id),
           amount = coalesce(t.amount, excluded.amount),
           charged = CASE WHEN excluded.status = 'SUCCESS' THEN t.amount ELSE t.charged END,
           refunded = CASE WHEN excluded.status IN ('CANCEL', 'FAILURE') THEN t.charged ELSE 0 END,
           retry_count = greatest(t.retry_count, excluded.retry_count),
           updated_at = now()
     WHERE array_position(places, excluded.status) > array_position(places, t.status)
        OR (excluded.status = t.status AND excluded.retry_count > t.retry_count AND t.status = 'RETRYING');
END
$$;
COMMENT ON FUNCTION payment_follow IS 'Brings payments that another service charges to a status that its events tell; never back; 0 in the arrays of a CANCEL stands for absent';
