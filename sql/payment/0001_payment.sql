-- The payment plugin: balances, tokens, payments, and the functions that its handlers call.
--
-- The schema has the last word on money, whatever events arrive, how often and in which order:
--   * a payment is one row, found by its id; its points are taken by the statement that turns it to SUCCESS, so once at most;
--   * what goes back is at most what was taken, and a payment whose points went back can never be charged again;
--   * a cancel without a charge leaves a row with status CANCEL, a tombstone at which a late charge stops;
--   * no balance falls below zero.
-- No foreign keys: each would cost a look-up and a lock a row, and the reservation plugin's tables may live elsewhere.
--
-- Every function takes the events of one call as arrays, locks rows in the order of their ids (tokens, reservations, payments,
-- users), and answers one row an event: n counts from 0 in the order of the arrays. The settings that the functions carry keep
-- their plans on the indexes however small the tables were when a session planned first.

-- ---------------------------------------------------------------------------------------------------------- tables

CREATE TABLE users (
    id     bigint PRIMARY KEY,
    points bigint NOT NULL CONSTRAINT users_points_not_negative CHECK (points >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE users IS 'Who can pay, and with how much; half of each page is kept free, so that a new balance stays on its page';
COMMENT ON COLUMN users.id IS 'userId of the events';
COMMENT ON COLUMN users.points IS 'The balance, in whole points';

CREATE TABLE payment_tokens (
    token   text COLLATE "C" PRIMARY KEY CHECK (token <> ''),
    user_id bigint NOT NULL,
    status  text   NOT NULL DEFAULT 'WAITING' CHECK (status IN ('WAITING', 'USED', 'EXPIRED'))
) WITH (fillfactor = 80);
COMMENT ON TABLE payment_tokens IS 'Permissions to pay once; whoever lets users through to the payment inserts them';
COMMENT ON COLUMN payment_tokens.token IS 'paymentToken of the requests';
COMMENT ON COLUMN payment_tokens.user_id IS 'The one user who may use it';
COMMENT ON COLUMN payment_tokens.status IS 'WAITING until a payment was accepted with it, then USED; EXPIRED is for its issuer to set';

CREATE TABLE payment_transactions (
    id             text COLLATE "C" PRIMARY KEY CHECK (id <> ''),
    status         text   NOT NULL CHECK (status IN ('PENDING', 'RETRYING', 'SUCCESS', 'FAILURE', 'CANCEL')),
    payment_token  text COLLATE "C",
    user_id        bigint,
    seat_id        bigint,
    reservation_id bigint,
    amount         bigint CHECK (amount > 0),
    charged        bigint NOT NULL DEFAULT 0,
    refunded       bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    retry_count    integer NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    CONSTRAINT payment_charged_once CHECK (charged = 0 OR charged = amount),
    CONSTRAINT payment_refund_within_charge CHECK (refunded >= 0 AND refunded <= charged),
    CONSTRAINT payment_status_tells_the_money
        CHECK (charged - refunded = CASE WHEN status = 'SUCCESS' THEN amount ELSE 0 END),
    CONSTRAINT payment_is_whole
        CHECK (status = 'CANCEL' OR (user_id IS NOT NULL AND seat_id IS NOT NULL AND amount IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE payment_transactions IS 'One row a payment, whatever became of it; what GET /payments/{paymentTxId} shows';
COMMENT ON COLUMN payment_transactions.id IS 'paymentTxId of requests and events';
COMMENT ON COLUMN payment_transactions.status IS 'PENDING accepted, RETRYING declined and tried again later, SUCCESS charged, FAILURE declined for good, CANCEL undone or never to be charged';
COMMENT ON COLUMN payment_transactions.payment_token IS 'The token of the request; NULL when the payment came as an event of another service';
COMMENT ON COLUMN payment_transactions.user_id IS 'Who pays; NULL only in a tombstone whose cancel did not say';
COMMENT ON COLUMN payment_transactions.seat_id IS 'What is paid for; NULL only in a tombstone whose cancel did not say';
COMMENT ON COLUMN payment_transactions.reservation_id IS 'The reservation that is paid; NULL only in a tombstone whose cancel did not say';
COMMENT ON COLUMN payment_transactions.amount IS 'The price in points; NULL only in a tombstone whose cancel did not say';
COMMENT ON COLUMN payment_transactions.charged IS 'Points taken from the user: nothing or the amount';
COMMENT ON COLUMN payment_transactions.refunded IS 'Points given back: never more than were taken';
COMMENT ON COLUMN payment_transactions.created_at IS 'When the payment was first heard of';
COMMENT ON COLUMN payment_transactions.updated_at IS 'When its status last changed';
COMMENT ON COLUMN payment_transactions.retry_count IS 'The retry that is waited for (RETRYING) or that decided (SUCCESS, FAILURE); 0 is the first try';

-- ---------------------------------------------------------------------------------------------------------- charge

-- A claim that was not had: it names no payment of its own, or the payment is no longer to be charged.
CREATE FUNCTION payment_charge_refused(tx_ids text[], user_ids bigint[], seat_ids bigint[], amounts bigint[], amount_max bigint,
                                       claimed text[])
RETURNS TABLE (n bigint, decision bigint)
LANGUAGE plpgsql STABLE
SET enable_hashjoin = on SET enable_nestloop = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT e.n, CASE WHEN e.amount > amount_max THEN 4
                         WHEN t.id IS NULL THEN 5
                         WHEN t.user_id <> e.user_id OR t.seat_id <> e.seat_id OR t.amount <> e.amount THEN 3
                         WHEN t.status IN ('PENDING', 'RETRYING') THEN CASE e.time WHEN 1 THEN 5 ELSE 6 END
                         ELSE 2 END::bigint
          FROM (SELECT o.ordinality AS n, o.tx_id, o.user_id, o.seat_id, o.amount,
                       row_number() OVER (PARTITION BY o.tx_id ORDER BY o.amount > amount_max, o.ordinality) AS time
                  FROM unnest(tx_ids, user_ids, seat_ids, amounts) WITH ORDINALITY AS o (tx_id, user_id, seat_id, amount)) AS e
          LEFT JOIN unnest(claimed) AS c (id) ON c.id = e.tx_id
          LEFT JOIN (SELECT * FROM payment_transactions WHERE id = ANY (tx_ids)) AS t ON t.id = e.tx_id
         WHERE c.id IS NULL OR e.time > 1;
END
$$;
COMMENT ON FUNCTION payment_charge_refused IS 'Part of payment_charge: the events that claimed nothing, n from 1; 5: the row changed under us, 6: an impostor came first in the same call';

-- The events of users who do not cover everything that is due from them, in order; a user who does not exist has nothing.
CREATE FUNCTION payment_charge_uncovered(user_ids bigint[], due bigint[], payers bigint[], balances bigint[], debits bigint[])
RETURNS TABLE (n bigint, user_id bigint, amount bigint, points bigint)
LANGUAGE plpgsql STABLE
SET enable_hashjoin = on SET enable_nestloop = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT e.ordinality, e.user_id, e.amount, coalesce(p.points, 0)
          FROM unnest(user_ids, due) WITH ORDINALITY AS e (user_id, amount)
          LEFT JOIN unnest(payers, balances, debits) AS p (user_id, points, debit) ON p.user_id = e.user_id
         WHERE e.amount > 0 AND (p.user_id IS NULL OR p.points < p.debit)
         ORDER BY e.user_id, e.ordinality;
END
$$;
COMMENT ON FUNCTION payment_charge_uncovered IS 'Part of payment_charge: what must be decided event by event, n from 1';

-- Charges are claimed first, all as SUCCESS in one statement: who gets the row takes the points, nobody else. Only then the users
-- are locked, in the order of their ids, and each is written once. Whoever does not cover everything is decided event by
-- event, in order, and the claims that were not covered are written a second time. Nobody sees what is in between.
CREATE FUNCTION payment_charge(tx_ids text[], user_ids bigint[], seat_ids bigint[], amounts bigint[], reservation_ids bigint[],
                               retry_counts bigint[], retries_left bigint[], amount_max bigint)
RETURNS TABLE (n bigint, decision bigint)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
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
BEGIN
    WITH claim AS (
        INSERT INTO payment_transactions AS t (id, status, user_id, seat_id, reservation_id, amount, charged, retry_count)
        SELECT DISTINCT ON (e.id COLLATE "C") e.id, 'SUCCESS', e.user_id, e.seat_id, e.reservation_id, e.amount, e.amount, e.retry_count
          FROM unnest(tx_ids, user_ids, seat_ids, reservation_ids, amounts, retry_counts) WITH ORDINALITY
               AS e (id, user_id, seat_id, reservation_id, amount, retry_count, place)
         WHERE e.amount <= amount_max
         ORDER BY e.id COLLATE "C", e.place
        ON CONFLICT (id) DO UPDATE
           SET status = 'SUCCESS', charged = excluded.amount, retry_count = excluded.retry_count, updated_at = now()
         WHERE t.status IN ('PENDING', 'RETRYING') AND t.user_id = excluded.user_id AND t.seat_id = excluded.seat_id
           AND t.amount = excluded.amount
        RETURNING t.id)
    SELECT array_agg(claim.id) INTO claimed FROM claim;

    IF cardinality(claimed) IS DISTINCT FROM asked THEN
        decisions := array_fill(0::bigint, ARRAY[asked]);
        FOR event IN SELECT r.n, r.decision
                       FROM payment_charge_refused(tx_ids, user_ids, seat_ids, amounts, amount_max, claimed) AS r
                      ORDER BY r.n LOOP
            IF event.decision = 5 THEN
                RAISE EXCEPTION 'a payment changed while it was charged' USING ERRCODE = 'serialization_failure';
            END IF;
            IF event.decision = 6 THEN
                later := later || event.n;
            END IF;
            decisions[event.n] := event.decision;
            due[event.n] := 0;
        END LOOP;
    END IF;

    SELECT array_agg(l.id), array_agg(l.points), array_agg(l.debit),
           sum(l.debit) FILTER (WHERE l.points >= l.debit) = (SELECT sum(d.debit) FROM unnest(due) AS d (debit))
      INTO payers, balances, debits, covered
      FROM (SELECT u.id, u.points, d.debit
              FROM (SELECT e.user_id, sum(e.debit)::bigint AS debit FROM unnest(user_ids, due) AS e (user_id, debit)
                     WHERE e.debit > 0 GROUP BY e.user_id) AS d
              JOIN users AS u ON u.id = d.user_id
             ORDER BY u.id FOR UPDATE OF u) AS l;

    IF covered IS DISTINCT FROM true THEN
        decisions := coalesce(decisions, array_fill(0::bigint, ARRAY[asked]));
        FOR event IN SELECT e.n, e.user_id, e.amount, e.points
                       FROM payment_charge_uncovered(user_ids, due, payers, balances, debits) AS e LOOP
            IF payer IS DISTINCT FROM event.user_id THEN
                payer := event.user_id;
                balance := event.points;
            END IF;
            IF balance >= event.amount THEN
                balance := balance - event.amount;
            ELSE
                decisions[event.n] := 1;
                due[event.n] := 0;
                declined := declined || event.n;
            END IF;
        END LOOP;
        SELECT array_agg(d.user_id), array_agg(d.debit) INTO payers, debits
          FROM (SELECT e.user_id, sum(e.debit)::bigint AS debit FROM unnest(user_ids, due) AS e (user_id, debit)
                 WHERE e.debit > 0 GROUP BY e.user_id) AS d;
        UPDATE payment_transactions AS t
           SET status = CASE WHEN retries_left[d.at] > 0 THEN 'RETRYING' ELSE 'FAILURE' END, charged = 0,
               retry_count = retry_counts[d.at] + CASE WHEN retries_left[d.at] > 0 THEN 1 ELSE 0 END
          FROM unnest(declined) AS d (at)
         WHERE t.id = tx_ids[d.at];
    END IF;

    UPDATE users AS u SET points = u.points - d.debit
      FROM unnest(payers, debits) AS d (user_id, debit)
     WHERE u.id = d.user_id;

    IF cardinality(later) > 0 THEN -- fewer than now: each has one before it here
        FOR event IN SELECT later[c.n + 1] AS n, c.decision
                       FROM (SELECT array_agg(tx_ids[l.at]) AS a, array_agg(user_ids[l.at]) AS b, array_agg(seat_ids[l.at]) AS c,
                                    array_agg(amounts[l.at]) AS d, array_agg(reservation_ids[l.at]) AS e,
                                    array_agg(retry_counts[l.at]) AS f, array_agg(retries_left[l.at]) AS g
                               FROM unnest(later) AS l (at)) AS p,
                            payment_charge(p.a, p.b, p.c, p.d, p.e, p.f, p.g, amount_max) AS c LOOP
            decisions[event.n] := event.decision;
        END LOOP;
    END IF;

    IF decisions IS NULL THEN
        RETURN QUERY SELECT s.at, 0::bigint FROM generate_series(0::bigint, asked - 1) AS s (at);
    ELSE
        RETURN QUERY SELECT s.place - 1, s.decision FROM unnest(decisions) WITH ORDINALITY AS s (decision, place);
    END IF;
END
$$;
COMMENT ON FUNCTION payment_charge IS 'Takes the points, once a payment: 0 success, 1 declined, 2 duplicate, 3 the payment has another user, seat or amount, 4 over amount_max';

-- ---------------------------------------------------------------------------------------------------------- refund

-- Gives back what was taken, whoever asks how often; before the charge it leaves the tombstone. A final FAILURE stays what it is.
CREATE FUNCTION payment_refund(tx_ids text[], user_ids bigint[], seat_ids bigint[], reservation_ids bigint[], amounts bigint[])
RETURNS TABLE (n bigint, decision bigint)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    given  text[];
    payers bigint[];
    points bigint[];
    stray  bigint;
BEGIN
    WITH undone AS (
        INSERT INTO payment_transactions AS t (id, status, user_id, seat_id, reservation_id, amount)
        SELECT DISTINCT ON (e.id COLLATE "C") e.id, 'CANCEL', nullif(e.user_id, 0), nullif(e.seat_id, 0),
               nullif(e.reservation_id, 0), nullif(e.amount, 0)
          FROM unnest(tx_ids, user_ids, seat_ids, reservation_ids, amounts) WITH ORDINALITY
               AS e (id, user_id, seat_id, reservation_id, amount, place)
         ORDER BY e.id COLLATE "C", e.place
        ON CONFLICT (id) DO UPDATE SET status = 'CANCEL', refunded = t.charged, updated_at = now()
         WHERE t.status IN ('PENDING', 'RETRYING', 'SUCCESS')
        RETURNING t.id, t.user_id, t.refunded)
    SELECT array_agg(u.id), array_agg(u.user_id), array_agg(u.refunded) INTO given, payers, points
      FROM undone AS u WHERE u.refunded > 0;

    IF given IS NOT NULL THEN
        PERFORM 1 FROM users AS u WHERE u.id = ANY (payers) ORDER BY u.id FOR UPDATE;
        WITH back AS (SELECT e.user_id, sum(e.points)::bigint AS points FROM unnest(payers, points) AS e (user_id, points)
                       GROUP BY e.user_id),
             done AS (UPDATE users AS u SET points = u.points + back.points FROM back WHERE u.id = back.user_id RETURNING u.id)
        SELECT min(back.user_id) INTO stray FROM back WHERE back.user_id NOT IN (SELECT done.id FROM done);
        IF stray IS NOT NULL THEN
            RAISE EXCEPTION 'user % is gone: the points of a refund have nowhere to go', stray
                USING ERRCODE = 'foreign_key_violation', HINT = 'Insert the user again and replay the event.';
        END IF;
    END IF;

    RETURN QUERY
        SELECT e.place - 1, CASE WHEN g.id IS NOT NULL AND e.time = 1 THEN 0::bigint ELSE 1::bigint END
          FROM (SELECT o.id, o.place, row_number() OVER (PARTITION BY o.id ORDER BY o.place) AS time
                  FROM unnest(tx_ids) WITH ORDINALITY AS o (id, place)) AS e
          LEFT JOIN unnest(given) AS g (id) ON g.id = e.id;
END
$$;
COMMENT ON FUNCTION payment_refund IS 'Gives the points of payments back, once, and stops charges that come later: 0 refunded, 1 nothing to refund; 0 in an array stands for absent';

-- ---------------------------------------------------------------------------------------------------------- accept

-- Needs reservation_for_payment() and reservation_claim() of the reservation plugin in the same database.
--
-- Requests of one call that share a token, a reservation or a paymentTxId are decided one after the other, in rounds; all others
-- at once. Rows are locked before anything is looked up, so what is looked up is what counts.
CREATE FUNCTION payment_accept(user_ids bigint[], reservation_ids bigint[], tokens text[], asked_ids text[], amount_max bigint)
RETURNS TABLE (n bigint, decision bigint, tx_id text, seat_id bigint, amount bigint)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    tx_ids    text[];
    decisions bigint[];
    seats     bigint[] := array_fill(0::bigint, ARRAY[cardinality(user_ids)]);
    prices    bigint[] := array_fill(0::bigint, ARRAY[cardinality(user_ids)]);
    places    bigint[];
    written   bigint;
    request   record;
BEGIN
    SELECT array_agg(coalesce(e.id, gen_random_uuid()::text) ORDER BY e.place),
           array_agg(CASE WHEN e.id !~ '^[A-Za-z0-9._:-]{1,64}$' THEN 8 END::bigint ORDER BY e.place)
      INTO tx_ids, decisions
      FROM unnest(asked_ids) WITH ORDINALITY AS e (id, place);
    PERFORM 1 FROM payment_tokens AS k WHERE k.token = ANY (tokens) ORDER BY k.token FOR UPDATE;
    PERFORM 1 FROM reservation_for_payment(reservation_ids);

    LOOP
        places := '{}';
        FOR request IN
            SELECT e.place, r.seat_id, r.purchase_price,
                   CASE WHEN t.id IS NOT NULL THEN
                            CASE WHEN t.user_id = e.user_id AND t.reservation_id = e.reservation_id
                                      AND t.payment_token = e.token THEN 1 ELSE 2 END
                        WHEN k.token IS NULL OR k.status <> 'WAITING' OR k.user_id <> e.user_id THEN 3
                        WHEN r.id IS NULL OR r.user_id <> e.user_id THEN 4
                        WHEN r.status <> 'PENDING' THEN 5
                        WHEN p.status IN ('PENDING', 'RETRYING', 'SUCCESS') THEN 6
                        WHEN r.purchase_price > amount_max THEN 7
                        ELSE 0 END AS decision
              FROM (SELECT o.*, row_number() OVER (PARTITION BY o.token ORDER BY o.place) AS of_token,
                           row_number() OVER (PARTITION BY o.reservation_id ORDER BY o.place) AS of_reservation,
                           row_number() OVER (PARTITION BY o.id ORDER BY o.place) AS of_id
                      FROM unnest(user_ids, reservation_ids, tokens, tx_ids, decisions) WITH ORDINALITY
                           AS o (user_id, reservation_id, token, id, decision, place)
                     WHERE o.decision IS NULL) AS e
              LEFT JOIN reservation_for_payment(reservation_ids) AS r ON r.id = e.reservation_id
              LEFT JOIN payment_tokens AS k ON k.token = e.token
              LEFT JOIN payment_transactions AS t ON t.id = e.id
              LEFT JOIN payment_transactions AS p ON p.id = r.payment_tx_id
             WHERE e.of_token = 1 AND e.of_reservation = 1 AND e.of_id = 1
        LOOP
            decisions[request.place] := request.decision;
            IF request.decision = 0 THEN
                places := places || request.place;
                seats[request.place] := request.seat_id;
                prices[request.place] := request.purchase_price;
            END IF;
        END LOOP;
        IF cardinality(places) > 0 THEN
            INSERT INTO payment_transactions (id, status, payment_token, user_id, seat_id, reservation_id, amount)
            SELECT tx_ids[e.at], 'PENDING', tokens[e.at], user_ids[e.at], seats[e.at], reservation_ids[e.at], prices[e.at]
              FROM unnest(places) AS e (at)
             ORDER BY tx_ids[e.at] COLLATE "C"
            ON CONFLICT (id) DO NOTHING;
            GET DIAGNOSTICS written = ROW_COUNT;
            IF written <> cardinality(places) THEN
                RAISE EXCEPTION 'another request took a paymentTxId at the same time' USING ERRCODE = 'serialization_failure';
            END IF;
            UPDATE payment_tokens AS k SET status = 'USED' FROM unnest(places) AS e (at) WHERE k.token = tokens[e.at];
            PERFORM reservation_claim(array_agg(reservation_ids[e.at]), array_agg(tx_ids[e.at])) FROM unnest(places) AS e (at);
        END IF;
        EXIT WHEN array_position(decisions, NULL) IS NULL;
    END LOOP;

    RETURN QUERY SELECT e.place - 1, e.decision, e.id, e.seat_id, e.amount
                   FROM unnest(decisions, tx_ids, seats, prices) WITH ORDINALITY AS e (decision, id, seat_id, amount, place);
END
$$;
COMMENT ON FUNCTION payment_accept IS 'Turns requests into payments: 0 accepted, 1 the same again, 2 the id is another payment''s, 3 token refused, 4 no such reservation, 5 not pending, 6 being paid, 7 over amount_max, 8 bad id';
