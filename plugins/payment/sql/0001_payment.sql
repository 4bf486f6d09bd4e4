-- The payment plugin: balances, tokens, payments, and the functions that its handlers call.
--
-- The schema has the last word on money, whatever events arrive, how often and in which order:
--   * a payment is one row, found by its id; its points are taken by the statement that turns it to SUCCESS, so at
--     most once;
--   * what goes back is at most what was taken, and a payment whose points went back can never be charged again;
--   * a cancel without a charge leaves a row with status CANCEL, a tombstone at which a late charge stops;
--   * no balance falls below zero.
-- No foreign keys: each would cost a look-up and a lock a row, and the reservation plugin's tables may be in another
-- database.
--
-- Every function takes the events of one call as arrays, locks rows in the order of their ids (tokens, reservations,
-- payments, users), and answers one row an event: n counts from 0 in the order of the arrays. The settings that the
-- functions carry keep their plans on the indexes however small the tables were when a session planned first.

-- ---------------------------------------------------------------------------------------------------------- tables

create table users (
    id     bigint primary key,
    points bigint not null constraint users_points_not_negative check (points >= 0)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
comment on table users is
    'Who can pay, and with how much; half of each page is kept free, so that a new balance stays on its page';
comment on column users.id is 'userId of the events';
comment on column users.points is 'The balance, in whole points';

create table payment_tokens (
    token   text collate "C" primary key check (token <> ''),
    user_id bigint not null,
    status  text   not null default 'WAITING' check (status in ('WAITING', 'USED', 'EXPIRED'))
) with (fillfactor = 80);
comment on table payment_tokens is 'Permissions to pay once; the service that admits users to the payment inserts them';
comment on column payment_tokens.token is 'paymentToken of the requests';
comment on column payment_tokens.user_id is 'The one user who may use it';
comment on column payment_tokens.status is
    'WAITING until a payment was accepted with it, then USED; EXPIRED is for its issuer to set';

create table payment_transactions (
    id             text collate "C" primary key check (id <> ''),
    status         text   not null check (status in ('PENDING', 'RETRYING', 'SUCCESS', 'FAILURE', 'CANCEL')),
    payment_token  text collate "C",
    user_id        bigint,
    seat_id        bigint,
    reservation_id bigint,
    amount         bigint check (amount > 0),
    charged        bigint not null default 0,
    refunded       bigint not null default 0,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    retry_count    integer not null default 0 check (retry_count >= 0),
    constraint payment_charged_once check (charged = 0 or charged = amount),
    constraint payment_refund_within_charge check (refunded >= 0 and refunded <= charged),
    constraint payment_status_tells_the_money
        check (charged - refunded = case when status = 'SUCCESS' then amount else 0 end),
    constraint payment_is_whole
        check (status = 'CANCEL' or (user_id is not null and seat_id is not null and amount is not null))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
comment on table payment_transactions is
    'One row a payment, whatever became of it; what GET /payments/{paymentTxId} shows';
comment on column payment_transactions.id is 'paymentTxId of requests and events';
comment on column payment_transactions.status is
    'PENDING accepted, RETRYING declined and tried again later, SUCCESS charged, FAILURE declined for good, CANCEL '
    'undone or never to be charged';
comment on column payment_transactions.payment_token is
    'The token of the request; NULL when the payment came as an event of another service';
comment on column payment_transactions.user_id is 'Who pays; NULL only in a tombstone whose cancel did not say';
comment on column payment_transactions.seat_id is 'What is paid for; NULL only in a tombstone whose cancel did not say';
comment on column payment_transactions.reservation_id is
    'The reservation that is paid; NULL only in a tombstone whose cancel did not say';
comment on column payment_transactions.amount is
    'The price in points; NULL only in a tombstone whose cancel did not say';
comment on column payment_transactions.charged is 'Points taken from the user: nothing or the amount';
comment on column payment_transactions.refunded is 'Points given back: never more than were taken';
comment on column payment_transactions.created_at is 'When the payment was first heard of';
comment on column payment_transactions.updated_at is 'When its status last changed';
comment on column payment_transactions.retry_count is
    'The retry that is waited for (RETRYING) or that decided (SUCCESS, FAILURE); 0 is the first try';

-- ---------------------------------------------------------------------------------------------------------- charge

-- A claim that was not had: it names no payment of its own, or the payment is no longer to be charged.
create function payment_charge_refused(tx_ids text[], user_ids bigint[], seat_ids bigint[], amounts bigint[],
                                       amount_max bigint, claimed text[])
returns table (n bigint, decision bigint)
language plpgsql stable
set enable_hashjoin = on set enable_nestloop = off set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
        select e.n, case when e.amount > amount_max then 4
                         when t.id is null then 5
                         when t.user_id <> e.user_id or t.seat_id <> e.seat_id or t.amount <> e.amount then 3
                         when t.status in ('PENDING', 'RETRYING') then case e.time when 1 then 5 else 6 end
                         else 2 end::bigint
          from (select o.ordinality as n, o.tx_id, o.user_id, o.seat_id, o.amount,
                       row_number() over (partition by o.tx_id order by o.amount > amount_max, o.ordinality) as time
                  from unnest(tx_ids, user_ids, seat_ids, amounts) with ordinality
                       as o (tx_id, user_id, seat_id, amount)) as e
          left join unnest(claimed) as c (id) on c.id = e.tx_id
          left join (select * from payment_transactions where id = any (tx_ids)) as t on t.id = e.tx_id
         where c.id is null or e.time > 1;
end
$$;
comment on function payment_charge_refused is
    'Part of payment_charge: the events that claimed nothing, n from 1; 5: another session changed the row, '
    '6: an impostor came first in the same call';

-- The events of users who do not cover everything that is due from them, in order; a user who does not exist has
-- nothing.
create function payment_charge_uncovered(user_ids bigint[], due bigint[], payers bigint[], balances bigint[],
                                         debits bigint[])
returns table (n bigint, user_id bigint, amount bigint, points bigint)
language plpgsql stable
set enable_hashjoin = on set enable_nestloop = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
        select e.ordinality, e.user_id, e.amount, coalesce(p.points, 0)
          from unnest(user_ids, due) with ordinality as e (user_id, amount)
          left join unnest(payers, balances, debits) as p (user_id, points, debit) on p.user_id = e.user_id
         where e.amount > 0 and (p.user_id is null or p.points < p.debit)
         order by e.user_id, e.ordinality;
end
$$;
comment on function payment_charge_uncovered is 'Part of payment_charge: what must be decided event by event, n from 1';

-- Charges are claimed first, all as SUCCESS in one statement: only the session that gets the row takes the points. Only
-- then the users are locked, in the order of their ids, and each is written once. Whoever does not cover everything is
-- decided event by event, in order, and the claims that were not covered are written a second time. Nobody sees what is
-- in between.
create function payment_charge(tx_ids text[], user_ids bigint[], seat_ids bigint[], amounts bigint[],
                               reservation_ids bigint[], retry_counts bigint[], retries_left bigint[],
                               amount_max bigint)
returns table (n bigint, decision bigint)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    asked     integer  := cardinality(tx_ids);
    due       bigint[] := amounts;
    claimed   text[];
    payers    bigint[];
    balances  bigint[];
    debits    bigint[];
    covered   boolean;
    decisions bigint[];
    declined  bigint[] := '{}';
    later     bigint[] := '{}';
    payer     bigint;
    balance   bigint;
    event     record;
begin
    with claim as (
        insert into payment_transactions as t
               (id, status, user_id, seat_id, reservation_id, amount, charged, retry_count)
        select distinct on (e.id collate "C") e.id, 'SUCCESS', e.user_id, e.seat_id, e.reservation_id, e.amount,
               e.amount, e.retry_count
          from unnest(tx_ids, user_ids, seat_ids, reservation_ids, amounts, retry_counts) with ordinality
               as e (id, user_id, seat_id, reservation_id, amount, retry_count, place)
         where e.amount <= amount_max
         order by e.id collate "C", e.place
        on conflict (id) do update
           set status = 'SUCCESS', charged = excluded.amount, retry_count = excluded.retry_count, updated_at = now()
         where t.status in ('PENDING', 'RETRYING') and t.user_id = excluded.user_id and t.seat_id = excluded.seat_id
           and t.amount = excluded.amount
        returning t.id)
    select array_agg(claim.id) into claimed from claim;

    if cardinality(claimed) is distinct from asked then
        decisions := array_fill(0::bigint, array[asked]);
        for event in select r.n, r.decision
                       from payment_charge_refused(tx_ids, user_ids, seat_ids, amounts, amount_max, claimed) as r
                      order by r.n loop
            if event.decision = 5 then
                raise exception 'a payment changed while it was charged' using errcode = 'serialization_failure';
            end if;
            if event.decision = 6 then
                later := later || event.n;
            end if;
            decisions[event.n] := event.decision;
            due[event.n] := 0;
        end loop;
    end if;

    select array_agg(l.id), array_agg(l.points), array_agg(l.debit),
           sum(l.debit) filter (where l.points >= l.debit) = (select sum(d.debit) from unnest(due) as d (debit))
      into payers, balances, debits, covered
      from (select u.id, u.points, d.debit
              from (select e.user_id, sum(e.debit)::bigint as debit from unnest(user_ids, due) as e (user_id, debit)
                     where e.debit > 0 group by e.user_id) as d
              join users as u on u.id = d.user_id
             order by u.id for update of u) as l;

    if covered is distinct from true then
        decisions := coalesce(decisions, array_fill(0::bigint, array[asked]));
        for event in select e.n, e.user_id, e.amount, e.points
                       from payment_charge_uncovered(user_ids, due, payers, balances, debits) as e loop
            if payer is distinct from event.user_id then
                payer := event.user_id;
                balance := event.points;
            end if;
            if balance >= event.amount then
                balance := balance - event.amount;
            else
                decisions[event.n] := 1;
                due[event.n] := 0;
                declined := declined || event.n;
            end if;
        end loop;
        select array_agg(d.user_id), array_agg(d.debit) into payers, debits
          from (select e.user_id, sum(e.debit)::bigint as debit from unnest(user_ids, due) as e (user_id, debit)
                 where e.debit > 0 group by e.user_id) as d;
        update payment_transactions as t
           set status = case when retries_left[d.at] > 0 then 'RETRYING' else 'FAILURE' end, charged = 0,
               retry_count = retry_counts[d.at] + case when retries_left[d.at] > 0 then 1 else 0 end
          from unnest(declined) as d (at)
         where t.id = tx_ids[d.at];
    end if;

    update users as u set points = u.points - d.debit
      from unnest(payers, debits) as d (user_id, debit)
     where u.id = d.user_id;

    if cardinality(later) > 0 then -- fewer than now: each has one before it here
        for event in select later[c.n + 1] as n, c.decision
                       from (select array_agg(tx_ids[l.at]) as a, array_agg(user_ids[l.at]) as b,
                                    array_agg(seat_ids[l.at]) as c, array_agg(amounts[l.at]) as d,
                                    array_agg(reservation_ids[l.at]) as e,
                                    array_agg(retry_counts[l.at]) as f, array_agg(retries_left[l.at]) as g
                               from unnest(later) as l (at)) as p,
                            payment_charge(p.a, p.b, p.c, p.d, p.e, p.f, p.g, amount_max) as c loop
            decisions[event.n] := event.decision;
        end loop;
    end if;

    if decisions is null then
        return query select s.at, 0::bigint from generate_series(0::bigint, asked - 1) as s (at);
    else
        return query select s.place - 1, s.decision from unnest(decisions) with ordinality as s (decision, place);
    end if;
end
$$;
comment on function payment_charge is
    'Takes the points, once a payment: 0 success, 1 declined, 2 duplicate, 3 the payment has another user, seat or '
    'amount, 4 over amount_max';

-- ---------------------------------------------------------------------------------------------------------- refund

-- Gives back what was taken, whoever asks how often; before the charge it leaves the tombstone. A final FAILURE stays
-- what it is.
create function payment_refund(tx_ids text[], user_ids bigint[], seat_ids bigint[], reservation_ids bigint[],
                               amounts bigint[])
returns table (n bigint, decision bigint)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    given  text[];
    payers bigint[];
    points bigint[];
    stray  bigint;
begin
    with undone as (
        insert into payment_transactions as t (id, status, user_id, seat_id, reservation_id, amount)
        select distinct on (e.id collate "C") e.id, 'CANCEL', nullif(e.user_id, 0), nullif(e.seat_id, 0),
               nullif(e.reservation_id, 0), nullif(e.amount, 0)
          from unnest(tx_ids, user_ids, seat_ids, reservation_ids, amounts) with ordinality
               as e (id, user_id, seat_id, reservation_id, amount, place)
         order by e.id collate "C", e.place
        on conflict (id) do update set status = 'CANCEL', refunded = t.charged, updated_at = now()
         where t.status in ('PENDING', 'RETRYING', 'SUCCESS')
        returning t.id, t.user_id, t.refunded)
    select array_agg(u.id), array_agg(u.user_id), array_agg(u.refunded) into given, payers, points
      from undone as u where u.refunded > 0;

    if given is not null then
        perform 1 from users as u where u.id = any (payers) order by u.id for update;
        with back as (select e.user_id, sum(e.points)::bigint as points
                        from unnest(payers, points) as e (user_id, points) group by e.user_id),
             done as (update users as u set points = u.points + back.points from back where u.id = back.user_id
                      returning u.id)
        select min(back.user_id) into stray from back where back.user_id not in (select done.id from done);
        if stray is not null then
            raise exception 'user % does not exist any more: the points of a refund cannot be given back', stray
                using errcode = 'foreign_key_violation', hint = 'Insert the user again and replay the event.';
        end if;
    end if;

    return query
        select e.place - 1, case when g.id is not null and e.time = 1 then 0::bigint else 1::bigint end
          from (select o.id, o.place, row_number() over (partition by o.id order by o.place) as time
                  from unnest(tx_ids) with ordinality as o (id, place)) as e
          left join unnest(given) as g (id) on g.id = e.id;
end
$$;
comment on function payment_refund is
    'Gives the points of payments back, once, and stops charges that come later: 0 refunded, 1 nothing to refund; 0 '
    'in an array stands for absent';

-- ---------------------------------------------------------------------------------------------------------- accept

-- Needs reservation_for_payment() and reservation_claim() of the reservation plugin in the same database.
--
-- Requests of one call that share a token, a reservation or a paymentTxId are decided one after the other, in rounds;
-- all others at once. Rows are locked before anything is looked up, so what is looked up is what counts.
create function payment_accept(user_ids bigint[], reservation_ids bigint[], tokens text[], asked_ids text[],
                               amount_max bigint)
returns table (n bigint, decision bigint, tx_id text, seat_id bigint, amount bigint)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    tx_ids    text[];
    decisions bigint[];
    seats     bigint[] := array_fill(0::bigint, array[cardinality(user_ids)]);
    prices    bigint[] := array_fill(0::bigint, array[cardinality(user_ids)]);
    places    bigint[];
    written   bigint;
    request   record;
begin
    select array_agg(coalesce(e.id, gen_random_uuid()::text) order by e.place),
           array_agg(case when e.id !~ '^[A-Za-z0-9._:-]{1,64}$' then 8 end::bigint order by e.place)
      into tx_ids, decisions
      from unnest(asked_ids) with ordinality as e (id, place);
    perform 1 from payment_tokens as k where k.token = any (tokens) order by k.token for update;
    perform 1 from reservation_for_payment(reservation_ids);

    loop
        places := '{}';
        for request in
            select e.place, r.seat_id, r.purchase_price,
                   case when t.id is not null then
                            case when t.user_id = e.user_id and t.reservation_id = e.reservation_id
                                      and t.payment_token = e.token then 1 else 2 end
                        when k.token is null or k.status <> 'WAITING' or k.user_id <> e.user_id then 3
                        when r.id is null or r.user_id <> e.user_id then 4
                        when r.status <> 'PENDING' then 5
                        when p.status in ('PENDING', 'RETRYING', 'SUCCESS') then 6
                        when r.purchase_price > amount_max then 7
                        else 0 end as decision
              from (select o.*, row_number() over (partition by o.token order by o.place) as of_token,
                           row_number() over (partition by o.reservation_id order by o.place) as of_reservation,
                           row_number() over (partition by o.id order by o.place) as of_id
                      from unnest(user_ids, reservation_ids, tokens, tx_ids, decisions) with ordinality
                           as o (user_id, reservation_id, token, id, decision, place)
                     where o.decision is null) as e
              left join reservation_for_payment(reservation_ids) as r on r.id = e.reservation_id
              left join payment_tokens as k on k.token = e.token
              left join payment_transactions as t on t.id = e.id
              left join payment_transactions as p on p.id = r.payment_tx_id
             where e.of_token = 1 and e.of_reservation = 1 and e.of_id = 1
        loop
            decisions[request.place] := request.decision;
            if request.decision = 0 then
                places := places || request.place;
                seats[request.place] := request.seat_id;
                prices[request.place] := request.purchase_price;
            end if;
        end loop;
        if cardinality(places) > 0 then
            insert into payment_transactions (id, status, payment_token, user_id, seat_id, reservation_id, amount)
            select tx_ids[e.at], 'PENDING', tokens[e.at], user_ids[e.at], seats[e.at], reservation_ids[e.at],
                   prices[e.at]
              from unnest(places) as e (at)
             order by tx_ids[e.at] collate "C"
            on conflict (id) do nothing;
            get diagnostics written = row_count;
            if written <> cardinality(places) then
                raise exception 'another request took a paymentTxId at the same time'
                    using errcode = 'serialization_failure';
            end if;
            update payment_tokens as k set status = 'USED' from unnest(places) as e (at) where k.token = tokens[e.at];
            perform reservation_claim(array_agg(reservation_ids[e.at]), array_agg(tx_ids[e.at]))
               from unnest(places) as e (at);
        end if;
        exit when array_position(decisions, null) is null;
    end loop;

    return query select e.place - 1, e.decision, e.id, e.seat_id, e.amount
                   from unnest(decisions, tx_ids, seats, prices) with ordinality
                        as e (decision, id, seat_id, amount, place);
end
$$;
comment on function payment_accept is
    'Turns requests into payments: 0 accepted, 1 the same again, 2 the id is another payment''s, 3 token refused, 4 '
    'no such reservation, 5 not pending, 6 being paid, 7 over amount_max, 8 bad id';
