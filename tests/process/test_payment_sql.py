#!/usr/bin/env python3
"""The functions of the plugins payment and reservation on a real PostgreSQL: many purchases of one user in one call,
random calls against a model in Python, a cancel that overtakes its charge, sessions that get into each other's way,
plans that stay on the indexes. SEED=N repeats a run of the random ones; the seed is printed when they fail."""
import itertools
import os
import random
import subprocess
import threading
import unittest

import _path
from lib.engine import until
from lib.server_case import PostgresCase

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SEED = int(os.environ.get("SEED", random.randrange(1 << 31)))
SUCCESS, DECLINED, DUPLICATE, OF_ANOTHER, TOO_MUCH = range(5)
AMOUNT_MAX = 1000


def array(values, kind):
    return (
        "ARRAY["
        + ",".join("NULL" if v is None else f"'{v}'" if kind == "text" else str(v) for v in values)
        + f"]::{kind}[]"
    )


def columns(rows, kinds):
    return ", ".join(array([row[i] for row in rows], kind) for i, kind in enumerate(kinds))


def charge_sql(events):
    """events: (tx, user, seat, amount, reservation, retry_count, retries_left)"""
    return (
        "SELECT string_agg(decision::text, ' ' ORDER BY n) FROM payment_charge("
        + columns(events, ["text"] + ["bigint"] * 6)
        + f", {AMOUNT_MAX})"
    )


def refund_sql(ids):
    return (
        "SELECT string_agg(decision::text, ' ' ORDER BY n) FROM payment_refund("
        + columns([(i, 0, 0, 0, 0) for i in ids], ["text"] + ["bigint"] * 4)
        + ")"
    )


def purchase(tx, user, amount, seat=1, count=0, left=3):
    return (tx, user, seat, amount, 1, count, left)


class Failed(Exception):
    pass


class Session:
    """One connection, for transactions that overlap."""

    def __init__(self, url):
        self.numbers = itertools.count(1)
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose", "-d", url],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.pid = int(self.run("SELECT pg_backend_pid()"))

    def send(self, sql):
        self.marker = f"done-{next(self.numbers)}"
        self.process.stdin.write(f"{sql};\n\\echo {self.marker}\n")
        self.process.stdin.flush()

    def answer(self):
        lines = []
        for line in self.process.stdout:
            if line.strip() == self.marker:
                text = "\n".join(lines)
                if "ERROR:" in text:
                    raise Failed(text)
                return text
            lines.append(line.rstrip("\n"))
        raise Failed("the session ended: " + "\n".join(lines))

    def run(self, sql):
        self.send(sql)
        return self.answer()

    def charge(self, events):
        return [int(word) for word in self.run(charge_sql(events)).split()]

    def refund(self, ids):
        return [int(word) for word in self.run(refund_sql(ids)).split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Model:
    """What the functions must do, one event after the other."""

    def __init__(self, points):
        self.points = dict(points)
        self.payments = {}  # tx: [user, amount, status]

    def charge(self, event, charged_now):
        tx, user, _, amount, _, _, left = event
        if amount > AMOUNT_MAX:
            return TOO_MUCH
        payment = self.payments.get(tx)
        if payment is not None:
            if payment[0] is not None and payment[:2] != [user, amount]:
                return OF_ANOTHER
            if payment[2] != "RETRYING" or tx in charged_now:
                return DUPLICATE
        charged_now.add(tx)
        good = self.points.get(user, 0) >= amount
        if good:
            self.points[user] -= amount
        self.payments[tx] = [user, amount, "SUCCESS" if good else "RETRYING" if left > 0 else "FAILURE"]
        return SUCCESS if good else DECLINED

    def refund(self, tx):
        payment = self.payments.setdefault(tx, [None, None, "TOMB"])
        before, payment[2] = payment[2], payment[2] if payment[2] == "FAILURE" else "CANCEL"
        if before == "SUCCESS":
            self.points[payment[0]] += payment[1]
        return 0 if before == "SUCCESS" else 1


class PaymentSql(PostgresCase):
    def setUp(self):
        super().setUp()
        for name in ("payment", "reservation"):
            with open(os.path.join(ROOT, "plugins", name, "sql", f"0001_{name}.sql"), encoding="utf-8") as file:
                self.postgres.query("BEGIN;" + file.read() + ";COMMIT", self.url)
        self.sessions = []

    def tearDown(self):
        for session in self.sessions:
            session.close()

    def session(self):
        self.sessions.append(Session(self.url))
        return self.sessions[-1]

    def value(self, sql):
        return self.postgres.value(sql, self.url)

    def points(self):
        return {int(i): int(p) for i, p in self.postgres.query("SELECT id, points FROM users", self.url)}

    def wait_for_lock(self, session):
        until(
            lambda: self.value(
                f"SELECT 1 FROM pg_stat_activity WHERE pid = {session.pid} AND wait_event_type = 'Lock'"
            ),
            "the session that waits for the other's lock",
        )

    # ------------------------------------------------------------------------------------------------- one user

    def test_many_purchases_of_one_user_in_one_call(self):
        session = self.session()
        session.run("INSERT INTO users VALUES (1, 30005), (2, 5)")
        events = [purchase(f"t{i}", 1, 100) for i in range(400)] + [purchase("other", 2, 5), purchase("small", 1, 5)]
        self.assertEqual(session.charge(events), [SUCCESS] * 300 + [DECLINED] * 100 + [SUCCESS] * 2)
        self.assertEqual(self.points(), {1: 0, 2: 0})
        self.assertEqual(
            self.postgres.query(
                "SELECT status, count(*), sum(charged) FROM payment_transactions GROUP BY 1 ORDER BY 1", self.url
            ),
            [["RETRYING", "100", "0"], ["SUCCESS", "302", "30010"]],
        )

    def test_an_impostor_in_the_same_call_takes_nothing_from_the_payment(self):
        session = self.session()
        session.run("INSERT INTO users VALUES (1, 100), (2, 100)")
        session.run(
            "INSERT INTO payment_transactions (id, status, user_id, seat_id, amount) VALUES ('a', 'PENDING', 1, 1, 60)"
        )
        events = [
            purchase("a", 2, 60),
            purchase("a", 1, 59),
            purchase("a", 1, 60),
            purchase("b", 2, 10),
            purchase("a", 1, 60),
        ]
        self.assertEqual(session.charge(events), [OF_ANOTHER, OF_ANOTHER, SUCCESS, SUCCESS, DUPLICATE])
        self.assertEqual(self.points(), {1: 40, 2: 90})

    def test_a_user_is_written_once_a_call(self):
        session = self.session()
        session.run("INSERT INTO users VALUES (1, 1000)")
        before = self.updates("users")
        session.charge([purchase(f"t{i}", 1, 10) for i in range(50)])
        session.charge([purchase(f"u{i}", 1, 30) for i in range(50)])  # 16 of them fit
        self.assertEqual(self.points(), {1: 20})
        self.assertEqual(until(lambda: self.updates("users") - before, "the updates"), 2)

    def updates(self, table):
        self.sessions[0].run("SELECT pg_stat_force_next_flush()")
        return int(self.value(f"SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = '{table}'"))

    # ---------------------------------------------------------------------------------------------------- model

    def test_random_calls_do_what_the_model_does(self):
        rng = random.Random(SEED)
        session = self.session()
        users = {user: rng.randrange(0, 3000) for user in range(1, 8)}
        session.run("INSERT INTO users VALUES " + ",".join(f"({u},{p})" for u, p in users.items()))
        model = Model(users)
        known = []
        for number in range(150):
            if rng.random() < 0.3 and known:
                ids = [rng.choice(known + [f"early{rng.randrange(40)}"]) for _ in range(rng.randrange(1, 9))]
                self.assertEqual(
                    session.refund(ids), [model.refund(i) for i in ids], f"SEED={SEED}, call {number}: refund {ids}"
                )
                continue
            events = []
            for place in range(rng.choice((1, 2, 5, 20, 60))):
                kind = rng.random()
                if kind < 0.2 and known:  # again: as it was, or with another amount
                    tx = rng.choice(known)
                    user, amount, _ = model.payments.get(tx, [1, 1, None])
                    user, amount = user or 1, amount or 1
                    if rng.random() < 0.2:
                        amount += 1
                else:
                    tx = f"early{rng.randrange(40)}" if kind > 0.97 else f"t{number}-{place}"
                    user, amount = rng.randrange(1, 10), rng.choice((rng.randrange(1, 300), AMOUNT_MAX + (kind > 0.99)))
                    known.append(tx)
                events.append(purchase(tx, user, amount, left=rng.randrange(-1, 3)))
            # Within one call all that is claimed counts before anything is refused, in the order of the events.
            charged_now = set()
            wanted = [model.charge(event, charged_now) for event in events]
            self.assertEqual(session.charge(events), wanted, f"SEED={SEED}, call {number}: {events}")
            self.assertEqual(self.points(), model.points, f"SEED={SEED}, call {number}")
        self.conserved(sum(users.values()))

    def conserved(self, total):
        """I4, I5, I6: what is missing from the balances is what payments with status SUCCESS hold."""
        self.assertEqual(
            int(
                self.value(
                    "SELECT sum(points) + (SELECT coalesce(sum(charged - refunded), 0) FROM payment_transactions)"
                    " FROM users"
                )
            ),
            total,
        )
        self.assertEqual(
            self.value(
                "SELECT count(*) FROM payment_transactions WHERE charged <> 0 AND charged <> amount"
                " OR refunded > charged OR (status = 'SUCCESS') <> (charged > refunded)"
            ),
            "0",
        )

    # ----------------------------------------------------------------------------------------------- two at a time

    def test_a_cancel_that_overtakes_its_charge_stops_it(self):
        cancel, charge = self.session(), self.session()
        cancel.run("INSERT INTO users VALUES (1, 100)")
        cancel.run("BEGIN")
        self.assertEqual(cancel.refund(["a"]), [1])
        charge.send(charge_sql([purchase("a", 1, 60), purchase("b", 1, 30)]))
        self.wait_for_lock(charge)
        cancel.run("COMMIT")
        self.assertEqual(charge.answer(), f"{DUPLICATE} {SUCCESS}")
        self.assertEqual(self.points(), {1: 70})

    def test_a_cancel_waits_for_the_charge_it_undoes(self):
        cancel, charge = self.session(), self.session()
        charge.run("INSERT INTO users VALUES (1, 100)")
        charge.run("BEGIN")
        self.assertEqual(charge.charge([purchase("a", 1, 60)]), [SUCCESS])
        cancel.send(refund_sql(["a"]))
        self.wait_for_lock(cancel)
        charge.run("COMMIT")
        self.assertEqual(cancel.answer(), "0")
        self.assertEqual(self.points(), {1: 100})

    def test_the_same_payment_in_two_sessions_is_charged_once(self):
        one, two = self.session(), self.session()
        one.run("INSERT INTO users VALUES (1, 100)")
        for end, wanted in (("ROLLBACK", SUCCESS), ("COMMIT", DUPLICATE)):
            one.run("TRUNCATE payment_transactions; UPDATE users SET points = 100; BEGIN")
            self.assertEqual(one.charge([purchase("a", 1, 60)]), [SUCCESS])
            two.send(charge_sql([purchase("a", 1, 60)]))
            self.wait_for_lock(two)
            one.run(end)
            self.assertEqual(two.answer(), str(wanted))
            self.assertEqual(self.points(), {1: 40})

    def test_a_balance_is_read_after_the_other_session_took_from_it(self):
        one, two = self.session(), self.session()
        one.run("INSERT INTO users VALUES (1, 100)")
        one.run("BEGIN")
        self.assertEqual(one.charge([purchase("a", 1, 60)]), [SUCCESS])
        two.send(charge_sql([purchase("b", 1, 60), purchase("c", 1, 40)]))
        self.wait_for_lock(two)
        one.run("COMMIT")
        self.assertEqual(two.answer(), f"{DECLINED} {SUCCESS}")
        self.assertEqual(self.points(), {1: 0})

    def test_sessions_that_share_users_neither_deadlock_nor_lose_money(self):
        users, calls = 12, 40
        first = self.session()
        first.run(f"INSERT INTO users SELECT g, 3000 FROM generate_series(1, {users}) AS g")
        errors = []

        def work(name, session):
            rng = random.Random(f"{SEED}-{name}")
            try:
                for number in range(calls):
                    session.charge(
                        [
                            purchase(f"{name}-{number}-{i}", rng.randrange(1, users + 1), rng.randrange(1, 60))
                            for i in range(20)
                        ]
                    )
                    session.refund(
                        [f"{rng.choice('abc')}-{rng.randrange(calls)}-{rng.randrange(20)}" for _ in range(4)]
                    )
            except Failed as failed:
                errors.append(f"SEED={SEED} session {name}: {failed}")

        threads = [threading.Thread(target=work, args=(name, self.session())) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.conserved(users * 3000)
        self.assertGreater(int(self.value("SELECT count(*) FROM payment_transactions WHERE status = 'RETRYING'")), 0)

    # ----------------------------------------------------------------------------------------------- accept, holds

    def test_a_token_used_in_two_sessions_makes_one_payment(self):
        one, two = self.session(), self.session()
        one.run("INSERT INTO payment_tokens VALUES ('k', 1), ('l', 1)")
        one.run("INSERT INTO reservations (id, user_id, seat_id, purchase_price) VALUES (1, 1, 1, 10), (2, 1, 2, 10)")
        accept = "SELECT decision FROM payment_accept('{{1}}', '{{{0}}}', '{{{1}}}', '{{{2}}}', 100)"
        for mine, theirs, wanted in (
            ((1, "k", "a"), (1, "k", "a"), "1"),
            ((1, "k", "a"), (2, "k", "b"), "3"),
            ((1, "k", "a"), (1, "l", "b"), "6"),
        ):
            one.run(
                "TRUNCATE payment_transactions; UPDATE payment_tokens SET status = 'WAITING';"
                " UPDATE reservations SET payment_tx_id = NULL; BEGIN"
            )
            self.assertEqual(one.run(accept.format(*mine)), "0")
            two.send(accept.format(*theirs))
            self.wait_for_lock(two)
            one.run("COMMIT")
            self.assertEqual(two.answer(), wanted, f"{mine} and then {theirs}")
        # The same id with nothing else in common: whoever comes second is told to come again, and then sees why.
        one.run(
            "TRUNCATE payment_transactions; UPDATE payment_tokens SET status = 'WAITING';"
            " UPDATE reservations SET payment_tx_id = NULL; BEGIN"
        )
        self.assertEqual(one.run(accept.format(1, "k", "a")), "0")
        two.send(accept.format(2, "l", "a"))
        self.wait_for_lock(two)
        one.run("COMMIT")
        with self.assertRaisesRegex(Failed, "40001"):
            two.answer()
        self.assertEqual(two.run(accept.format(2, "l", "a")), "2")

    def test_requests_of_one_call_that_share_something(self):
        session = self.session()
        session.run("INSERT INTO payment_tokens SELECT 'k' || g, 1 FROM generate_series(1, 9) AS g")
        session.run(
            "INSERT INTO reservations (id, user_id, seat_id, purchase_price) SELECT g, 1, g, 10 FROM generate_series(1,"
            " 9) AS g"
        )
        requests = [
            (1, 1, "k1", "a"),
            (1, 2, "k1", "b"),
            (1, 1, "k2", "c"),
            (1, 1, "k1", "a"),
            (1, 3, "k3", "a"),
            (1, 4, "k2", "d"),
            (1, 99, "k5", "e"),
            (1, 5, "k5", "f"),
        ]
        got = session.run(
            "SELECT string_agg(decision::text, ' ' ORDER BY n) FROM payment_accept("
            + columns(requests, ["bigint", "bigint", "text", "text"])
            + ", 100)"
        )
        self.assertEqual(got, "0 3 6 1 2 0 4 0")  # as if they had come one after the other

    def test_a_hold_does_not_end_under_a_payment(self):
        confirm, expire = self.session(), self.session()
        confirm.run(
            "INSERT INTO reservations (id, user_id, seat_id, purchase_price, held_at)"
            " SELECT g, 1, g, 10, now() - interval '1 h' FROM generate_series(1, 3) AS g"
        )
        confirm.run("BEGIN")
        self.assertEqual(
            confirm.run("SELECT decision FROM reservation_confirm('{2}', '{1}', '{2}', '{10}', '{a}')"), "0"
        )
        ended = expire.run("SELECT string_agg(id::text, ' ' ORDER BY id) FROM reservation_expire(60000, 10)")
        self.assertEqual(ended, "1 3")  # at once: what is locked is left alone
        confirm.run("COMMIT")
        self.assertEqual(expire.run("SELECT count(*) FROM reservation_expire(60000, 10)"), "0")

    # ---------------------------------------------------------------------------------------------------- plans

    def test_plans_made_on_empty_tables_stay_on_the_indexes(self):
        session = self.session()
        session.run("VACUUM ANALYZE")  # zero pages: the planner now believes that a table fits into nothing
        accept = "SELECT count(*) FROM payment_accept('{1,2}', '{1,2}', '{k1,k2}', '{x1,x2}', 100)"
        confirm = "SELECT count(*) FROM reservation_confirm('{1,2}', '{1,2}', '{1,2}', '{10,10}', '{x1,y2}')"
        expire = "SELECT count(*) FROM reservation_expire(1, 10)"

        def everything(name):
            session.charge([purchase(f"{name}{i}", i + 1, 10) for i in range(3)] + [purchase(f"{name}0", 1, 10)])
            session.refund([f"{name}0", f"{name}-never"])
            for sql in (accept, confirm, expire):
                session.run(sql)

        everything("warm")
        session.run(
            "INSERT INTO users SELECT g, 100 FROM generate_series(1, 2) AS g;"
            "INSERT INTO payment_tokens SELECT 'k' || g, g FROM generate_series(1, 2) AS g;"
            "INSERT INTO reservations SELECT g, g, g, 10 FROM generate_series(1, 2) AS g"
        )
        before = self.scans(session)
        everything("cold")
        everything("again")
        self.assertEqual(self.scans(session), before, "a table was read from its beginning to its end")

    def scans(self, session):
        session.run("SELECT pg_stat_force_next_flush()")
        session.run("SELECT 1")
        return self.postgres.query(
            "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname IN ('users', 'payment_tokens',"
            " 'payment_transactions', 'reservations') ORDER BY 1",
            self.url,
        )


if __name__ == "__main__":
    unittest.main(verbosity=2)
