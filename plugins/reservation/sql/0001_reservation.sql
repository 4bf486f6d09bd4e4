-- The reservation plugin: seats on hold, and the functions that its handlers, and payment.accept, call.
--
-- A reservation is PENDING while its hold lasts, and leaves that state once: CONFIRMED by the one payment that it then
-- names, EXPIRED by the schedule, CANCELLED by the service that sells. The payment that comes too late fails here, and
-- is refunded by its chain.
--
-- Every function takes arrays, locks rows in the order of their ids, and keeps its plans on the indexes however small
-- the table was when a session planned first.

create table reservations (
    id             bigint primary key,
    user_id        bigint not null,
    seat_id        bigint not null,
    purchase_price bigint not null check (purchase_price > 0),
    held_at        timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    status         text not null default 'PENDING' check (status in ('PENDING', 'CONFIRMED', 'EXPIRED', 'CANCELLED')),
    payment_tx_id  text collate "C",
    constraint reservation_confirmed_by_a_payment check (status <> 'CONFIRMED' or payment_tx_id is not null)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
comment on table reservations is 'One row a reservation of a seat; the service that sells seats inserts them';
comment on column reservations.id is 'reservationId of the events';
comment on column reservations.user_id is 'For whom the seat is held';
comment on column reservations.seat_id is 'seatId of the events';
comment on column reservations.purchase_price is 'What it costs, in points; the only source of a payment''s amount';
comment on column reservations.held_at is 'When the hold began; it ends after the setting `hold` of the plugin';
comment on column reservations.updated_at is 'When its status last changed';
comment on column reservations.status is 'PENDING while on hold, then CONFIRMED, EXPIRED or CANCELLED for good';
comment on column reservations.payment_tx_id is
    'PENDING: the payment that was last accepted for it, if any; CONFIRMED: the payment that bought it';

create index reservations_on_hold on reservations (held_at) where status = 'PENDING';
comment on index reservations_on_hold is
    'What reservation_expire looks through; holds what is PENDING and nothing else';

-- ---------------------------------------------------------------------------------------------------------- confirm

-- The events that did not confirm their reservation in this call, and why.
create function reservation_confirm_refused(reservation_ids bigint[], user_ids bigint[], seat_ids bigint[],
                                            amounts bigint[], tx_ids text[], confirmed_ids bigint[],
                                            confirmed_by text[])
returns table (n bigint, decision bigint, reason text)
language plpgsql stable
set enable_hashjoin = on set enable_nestloop = off set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
        select e.place, w.decision,
               case when w.decision = 1 then
                   case when r.id is null then 'absent' when r.user_id <> e.user_id then 'other_user'
                        when r.seat_id <> e.seat_id then 'other_seat'
                        when r.purchase_price <> e.amount then 'other_amount'
                        when r.status = 'CONFIRMED' then 'paid_by_another_payment' else lower(r.status) end end
          from (select o.*, row_number() over (partition by o.id, o.tx_id order by o.place) as time
                  from unnest(reservation_ids, user_ids, seat_ids, amounts, tx_ids) with ordinality
                       as o (id, user_id, seat_id, amount, tx_id, place)) as e
          left join unnest(confirmed_ids, confirmed_by) as c (id, tx_id) on c.id = e.id and c.tx_id = e.tx_id
          left join (select * from reservations where id = any (reservation_ids)) as r on r.id = e.id
         cross join lateral (
               select case when r.status = 'CONFIRMED' and r.payment_tx_id = e.tx_id then 2
                           when r.status = 'PENDING' and r.user_id = e.user_id and r.seat_id = e.seat_id
                                and r.purchase_price = e.amount then 3
                           else 1 end::bigint as decision) as w
         where c.id is null or e.time > 1;
end
$$;
comment on function reservation_confirm_refused is
    'Part of reservation_confirm: the events that confirmed nothing, n from 1; 3: another session changed the row';

create function reservation_confirm(reservation_ids bigint[], user_ids bigint[], seat_ids bigint[], amounts bigint[],
                                    tx_ids text[])
returns table (n bigint, decision bigint, reason text)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    confirmed_ids bigint[];
    confirmed_by  text[];
    decisions     bigint[];
    reasons       text[];
    event         record;
begin
    with confirmed as (
        update reservations as r set status = 'CONFIRMED', payment_tx_id = e.tx_id, updated_at = now()
          from (select o.* from unnest(reservation_ids, user_ids, seat_ids, amounts, tx_ids) with ordinality
                       as o (id, user_id, seat_id, amount, tx_id, place)
                 order by o.id, o.place) as e
         where r.id = e.id and r.status = 'PENDING' and r.user_id = e.user_id and r.seat_id = e.seat_id
           and r.purchase_price = e.amount
        returning r.id, r.payment_tx_id)
    select array_agg(c.id), array_agg(c.payment_tx_id) into confirmed_ids, confirmed_by from confirmed as c;

    if cardinality(confirmed_ids) = cardinality(reservation_ids) then
        return query select s.at, 0::bigint, null::text
                       from generate_series(0::bigint, cardinality(reservation_ids) - 1) as s (at);
        return;
    end if;
    decisions := array_fill(0::bigint, array[cardinality(reservation_ids)]);
    reasons := array_fill(null::text, array[cardinality(reservation_ids)]);
    for event in select f.n, f.decision, f.reason
                   from reservation_confirm_refused(reservation_ids, user_ids, seat_ids, amounts, tx_ids,
                                                    confirmed_ids, confirmed_by) as f loop
        if event.decision = 3 then
            raise exception 'a reservation changed while it was confirmed' using errcode = 'serialization_failure';
        end if;
        decisions[event.n] := event.decision;
        reasons[event.n] := event.reason;
    end loop;
    return query select e.place - 1, e.decision, e.reason
                   from unnest(decisions, reasons) with ordinality as e (decision, reason, place);
end
$$;
comment on function reservation_confirm is
    'PENDING to CONFIRMED: 0 success, 1 failure with its reason, 2 confirmed before by this payment';

-- ---------------------------------------------------------------------------------------------------------- expire

create function reservation_expire(hold_ms bigint, most bigint)
returns table (id bigint, user_id bigint, seat_id bigint, purchase_price bigint, payment_tx_id text)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
        update reservations as r set status = 'EXPIRED', updated_at = now()
          from (select o.id from reservations as o
                 where o.status = 'PENDING' and o.held_at < now() - hold_ms * interval '1 ms'
                 order by o.held_at limit most for update skip locked) as late
         where r.id = late.id
        returning r.id, r.user_id, r.seat_id, r.purchase_price, r.payment_tx_id;
end
$$;
comment on function reservation_expire is
    'PENDING to EXPIRED for the oldest `most` whose hold is over; what a running transaction has locked is left for '
    'the next time';

-- ------------------------------------------------------------------------------------- what payment.accept asks for

create function reservation_for_payment(ids bigint[])
returns table (id bigint, user_id bigint, seat_id bigint, purchase_price bigint, status text, payment_tx_id text)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
        select r.id, r.user_id, r.seat_id, r.purchase_price, r.status, r.payment_tx_id
          from reservations as r where r.id = any (ids) order by r.id for update;
end
$$;
comment on function reservation_for_payment is 'Reads reservations and holds them until the end of the transaction';

create function reservation_claim(ids bigint[], tx_ids text[])
returns void
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    update reservations as r set payment_tx_id = e.tx_id
      from unnest(ids, tx_ids) as e (id, tx_id)
     where r.id = e.id and r.status = 'PENDING';
end
$$;
comment on function reservation_claim is
    'Notes which payment was accepted for a reservation, so that its timeout can name it';
