-- The payment plugin: payments that another service charges, as the service that accepts and shows them hears of them.
--
-- The events of one payment come on several topics, so in any order and more than once. A status never goes back: each
-- has a place in the order below, and the row keeps the one that is furthest, however the events came. FAILURE is last
-- because a payment that was refused for good stays refused, whoever cancels it later (payment_refund).

create function payment_follow(tx_ids text[], user_ids bigint[], seat_ids bigint[], amounts bigint[],
                               reservation_ids bigint[], retry_counts bigint[], followed text)
returns void
language plpgsql
as $$
declare
    places constant text[] := '{PENDING,RETRYING,SUCCESS,CANCEL,FAILURE}';
    absent constant bigint := case when followed = 'CANCEL' then 0 else -1 end; -- 0 in a cancel stands for absent
begin
    insert into payment_transactions as t (id, status, user_id, seat_id, reservation_id, amount, charged, retry_count)
    select distinct on (e.id collate "C") e.id, followed, nullif(e.user_id, absent), nullif(e.seat_id, absent),
           nullif(e.reservation_id, absent), nullif(e.amount, absent),
           case when followed = 'SUCCESS' then e.amount else 0 end, e.retry_count
      from unnest(tx_ids, user_ids, seat_ids, reservation_ids, amounts, retry_counts)
           as e (id, user_id, seat_id, reservation_id, amount, retry_count)
     order by e.id collate "C", e.retry_count desc
    on conflict (id) do update
       set status = excluded.status,
           user_id = coalesce(t.user_id, excluded.user_id),
           seat_id = coalesce(t.seat_id, excluded.seat_id),
           reservation_id = coalesce(t.reservation_id, excluded.reservation_id),
           amount = coalesce(t.amount, excluded.amount),
           charged = case when excluded.status = 'SUCCESS' then t.amount else t.charged end,
           refunded = case when excluded.status in ('CANCEL', 'FAILURE') then t.charged else 0 end,
           retry_count = greatest(t.retry_count, excluded.retry_count),
           updated_at = now()
     where array_position(places, excluded.status) > array_position(places, t.status)
        or (excluded.status = t.status and excluded.retry_count > t.retry_count and t.status = 'RETRYING');
end
$$;
comment on function payment_follow is
    'Brings payments that another service charges to a status that its events tell; never back; 0 in the arrays of a '
    'CANCEL stands for absent';
