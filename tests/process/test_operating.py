#!/usr/bin/env python3
"""docs/operating.md: every block of commands on the page is run, in the order of the page, against the reference
pipeline on a real PostgreSQL, in the situation that its section is about.

BLOCKS names each block by its section and its number there, with what brings the situation about, what the commands
must say, and what must have become of it. A block of the page that is not in the table fails, and so does a row without
one.

Run alone: python3 tests/process/test_operating.py.
"""
import json
import os
import pathlib
import re
import subprocess
import unittest

import _path
from lib.data_platform import DataPlatform
from lib.engine import BUILD, Engine, sluice, until
from lib.server_case import PostgresCase

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/operating.md"
WAIT_S = 60
OPEN = "select count(*) from sluice.dead_letter where state = 0"
# Retries in place end at once; a step of the ladder waits until somebody releases it; it is known when a chain is over.
CHANGES = {
    "initial_interval: 200ms": "initial_interval: 10ms",
    "initial_interval: 1s": "initial_interval: 1h",
    "hold: 5m": "hold: 24h",
    "topics:\n  payment.try:": "dependencies: {card-gateway: {open: 1h}}\ntopics:\n  payment.try:",
    "handler: payment.charge": "handler: payment.charge\n    dependency: card-gateway",
    "on_undo_failure: pause": "retain: 90d\n    on_undo_failure: pause",
}
COMMANDS_WITH_VERBS = {"dead-letter", "chain", "delayed"}


def blocks_of(text):
    """{"section/number": commands} in the order of the page."""
    found, section, number = {}, "", 0
    for heading, language, body in re.findall(r"^## ([^\n]*)$|^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        if heading:
            section, number = heading, 0
        elif language in ("sh", "bash", "console"):
            number += 1
            found[f"{section}/{number}"] = body
    return found


def command_of(words):
    """("dead-letter list", options) of what stands behind `sluice`."""
    verb = words[1:2] if words[0] in COMMANDS_WITH_VERBS else []
    return " ".join([words[0], *verb]), {word for word in words if word.startswith("--")}


def commands_of(text):
    """What the blocks run: {"dead-letter list": options}."""
    found = {"run": set()}  # an engine is up all the while
    for line in re.findall(r"^\s*sluice (.*)$", text, re.M):
        name, options = command_of(line.split())
        found.setdefault(name, set()).update(options)
    return found


def unrun(page):
    """Commands in the page's sentences that no block runs, with their options."""
    run = commands_of("\n".join(blocks_of(page).values()))
    for text in re.findall(r"`sluice ([^`]+)`", re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)):
        name, options = command_of(text.split())
        if name not in run or not options <= run[name]:
            yield f"`sluice {text}`"


class Page(unittest.TestCase):
    """The page alone."""

    page = PAGE.read_text()

    def test_each_block_is_in_the_table(self):
        self.assertEqual([*blocks_of(self.page)], [*BLOCKS], "the page's blocks, and the table's rows")

    def test_each_command_in_a_sentence_is_in_a_block(self):
        self.assertEqual([*unrun(self.page)], [])

    def test_each_link_leads_somewhere(self):
        """In this page, and from others into it."""
        anchors = {
            path.name: {
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
                for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.M)
            }
            for path in (ROOT / "docs").glob("*.md")
        }
        for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
            for name, anchor in re.findall(r"\]\((?:docs/)?([\w-]*(?:\.md)?)#([\w-]+)\)", path.read_text()):
                self.assertIn(anchor, anchors.get(name or path.name, ()), f"{path.name}: ({name}#{anchor})")

    def test_the_checks_find_what_they_are_for(self):
        more = "\n## Another\n\n```sh\nsluice version\n```\n\n`sluice dead-letter list --no`, `sluice graph CONFIG`\n"
        more = self.page + more
        self.assertEqual([*blocks_of(more)][-1], "Another/1")
        self.assertEqual([*unrun(more)], ["`sluice dead-letter list --no`", "`sluice graph CONFIG`"])


class Commands(PostgresCase):
    """The page's blocks, in order. A method of this class brings a situation about and returns variables for the
    block's shell; another looks at what became of it."""

    def setUp(self):
        super().setUp()
        platform = DataPlatform()
        self.addCleanup(platform.server_close)
        self.addCleanup(platform.shutdown)
        self.numbers = iter(range(1, 1000))
        self.vars = {
            "DATABASE_URL": self.url,
            "DATA_PLATFORM_URL": f"http://127.0.0.1:{platform.server_port}/events",
            "PATH": f"{BUILD}:{os.environ['PATH']}",
            "PLUGIN": str(BUILD / "plugins/payment.so"),
        }
        yaml = (ROOT / "config/pipeline.yaml").read_text()
        for shipped, here in CHANGES.items():
            self.assertIn(shipped, yaml)
            yaml = yaml.replace(shipped, here)
        self.vars["CONFIG"] = str(self.folder / "pipeline.yaml")
        pathlib.Path(self.vars["CONFIG"]).write_text(yaml)
        sluice("migrate", self.vars["CONFIG"], env=self.vars)
        self.engine = Engine(self.vars["CONFIG"], self.vars).start()
        self.vars["HTTP_LISTEN"] = f"127.0.0.1:{self.engine.port}"
        self.addCleanup(self.engine.kill)

    # what the situations are made of

    def value(self, text):
        return self.postgres.value(text, self.url)

    def becomes(self, text, wanted):
        until(lambda: self.value(text) == str(wanted), f"{text} to be {wanted}", WAIT_S, 0.1)

    def customer(self, points=1000):
        n = next(self.numbers)
        self.postgres.query(
            f"insert into users values ({n}, {points}); insert into payment_tokens values ('t{n}', {n});"
            f" insert into reservations (id, user_id, seat_id, purchase_price) values ({n}, {n}, {n}, 100)",
            self.url,
        )
        return n

    def buy(self, points=1000):
        n = self.customer(points)
        body = {"userId": n, "reservationId": n, "paymentToken": f"t{n}", "paymentTxId": f"tx-{n}"}
        self.assertEqual(self.engine.request("POST", "/payments", body)[0], 202)
        return f"tx-{n}"

    def status(self, purchase, wanted):
        self.becomes(f"select status from payment_transactions where id = '{purchase}'", wanted)

    def chain(self, purchase, wanted):
        shown = ""

        def is_so():
            nonlocal shown
            shown = self.sluice("chain", "show", purchase, "--json", check=False).stdout
            return shown and json.loads(shown)["state"] == wanted

        try:
            until(is_so, f"the chain of {purchase} to be {wanted}", WAIT_S, 0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {shown}\n{self.engine.text()}") from None

    def sluice(self, command, verb, *words, check=True):
        return sluice(command, verb, self.vars["CONFIG"], *words, env=self.vars, check=check)

    def event(self, amount):
        """On payment.try, without a request before it."""
        n = self.customer()
        data = {"paymentTxId": f"tx-{n}", "userId": n, "seatId": n, "reservationId": n, "amount": amount}
        sluice("emit", self.vars["CONFIG"], "payment.try", "--data", json.dumps(data), env=self.vars)
        return data

    def letter(self, purchase):
        where = f"from sluice.dead_letter where state = 0 and correlation = '{purchase}'"
        until(lambda: self.value(f"select count(*) {where}") != "0", f"a dead letter of {purchase}", WAIT_S, 0.1)
        return self.value(f"select id {where}")

    def pause(self, name):
        sluice("pause", self.vars["CONFIG"], name, env=self.vars)
        self.obeys()

    def obeys(self):
        until(lambda: self.engine.metric("sluice_paused") == 1, "a pause that the engine obeys", WAIT_S, 0.1)

    def resume(self):
        sluice("resume", self.vars["CONFIG"], "--all", env=self.vars)

    # the situations

    def nothing(self):
        return {}

    def bought(self):
        self.purchase = self.buy()
        self.status(self.purchase, "SUCCESS")
        self.becomes("select count(*) from reservations where status = 'CONFIRMED'", 1)
        until(lambda: "has not read it" not in self.why(self.purchase), "the tap to have the purchase", WAIT_S, 0.1)
        return {"PURCHASE": self.purchase}

    def why(self, purchase):
        return sluice("explain", self.vars["CONFIG"], purchase, "--why", env=self.vars).stdout

    def same_purchase(self):
        return {"PURCHASE": self.purchase}

    def letters(self):
        self.postgres.query(
            "alter table payment_transactions add constraint shut check (status = 'CANCEL') not valid", self.url
        )
        self.mended = [self.event(100)["paymentTxId"] for _ in range(2)]
        self.becomes(OPEN, 2)
        self.postgres.query("alter table payment_transactions drop constraint shut", self.url)
        self.wrong = self.event(20_000_000)
        return {"ID": self.letter(self.wrong["paymentTxId"])}

    def replayed(self):
        for purchase in self.mended:
            self.status(purchase, "SUCCESS")

    def wrong_one(self):
        return {"ID": self.letter(self.wrong["paymentTxId"]), "DATA": json.dumps({**self.wrong, "amount": 100})}

    def edited(self):
        self.status(self.wrong["paymentTxId"], "SUCCESS")
        self.becomes(OPEN, 0)

    def useless(self):
        return {"ID": self.letter(self.event(20_000_000)["paymentTxId"])}

    def dropped(self):
        self.assertEqual(self.value(OPEN), "0")

    def stuck(self):
        """Paid, and the user is gone when the reservation fails."""
        self.pause("reservation.confirm")
        self.purchase = self.buy()
        self.status(self.purchase, "SUCCESS")
        self.user = self.purchase[3:]
        self.postgres.query(
            f"update reservations set status = 'CANCELLED' where id = {self.user};"
            f" delete from users where id = {self.user}",
            self.url,
        )
        self.resume()
        self.chain(self.purchase, "stuck")
        return {"PURCHASE": self.purchase}

    def user_is_back(self):
        self.postgres.query(f"insert into users values ({self.user}, 0)", self.url)
        return {"PURCHASE": self.purchase}

    def refunded(self):
        self.status(self.purchase, "CANCEL")
        self.chain(self.purchase, "undone")
        self.assertEqual(self.value(f"select points from users where id = {self.user}"), "100")

    def closed(self):
        self.chain(self.purchase, "closed")
        self.becomes("select count(*) from sluice.dead_letter where state = 0 and topic = 'payment.cancel'", 1)

    def unfinished(self):
        """Paid, and no reservation: that event is a dead letter."""
        shut = "constraint shut check (status <> 'CONFIRMED') not valid"
        self.postgres.query(f"alter table reservations add {shut}", self.url)
        self.purchase = self.buy()
        self.letter(self.purchase)
        self.postgres.query("alter table reservations drop constraint shut", self.url)
        self.postgres.query(
            f"update sluice.chain set began = began - 3600 where correlation_text = '{self.purchase}'",
            self.url,
        )
        return {"PURCHASE": self.purchase}

    def aborted(self):
        self.status(self.purchase, "CANCEL")
        self.chain(self.purchase, "undone")

    def declined(self):
        self.purchase = self.buy(points=0)
        self.status(self.purchase, "RETRYING")
        return {}

    def wait_id(self):
        (one,) = json.loads(self.sluice("delayed", "list", "--json").stdout)["delayed"]
        return {"ID": one["id"]}

    def points_are_there(self):
        self.postgres.query(f"update users set points = 1000 where id = {self.purchase[3:]}", self.url)
        return self.wait_id()

    def released(self):
        self.status(self.purchase, "SUCCESS")

    def declined_again(self):
        self.declined()
        return self.wait_id()

    def cancelled(self):
        self.letter(self.purchase)

    def paused(self):
        self.obeys()
        self.purchase = self.buy()
        self.becomes("select count(*) from sluice.held_key", 1)

    def breaker(self):
        self.postgres.query(
            "insert into sluice.pause (pipeline, kind, name, until, actor, reason) values"
            " ('ticketing', 'breaker', 'card-gateway', now() + interval '1 hour', 'sluice',"
            " '20 calls failed within 10s')",
            self.url,
        )
        state = 'sluice_dependency_state{dependency="card-gateway"}'
        until(lambda: self.engine.metric(state) == 2, "a breaker that the engine knows", WAIT_S, 0.1)
        self.purchase = self.buy()
        self.becomes("select count(*) from sluice.held_key", 1)
        return {}

    def open_transaction(self):
        session = self.session = subprocess.Popen(
            ["psql", "-X", "-q", "-o", "/dev/null", self.url],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(session.kill)
        session.stdin.write(  # as an engine does
            "begin;\nselect pg_advisory_xact_lock_shared(sluice.bus_lock_writer(), 0), pg_current_xact_id();\n"
        )
        session.stdin.flush()
        pid = self.open = "select pid from pg_stat_activity where application_name = 'psql' and backend_xid is not null"
        until(lambda: self.value(f"select count(*) from ({pid}) a") == "1", "an open transaction", WAIT_S, 0.1)
        return {"PID": self.value(pid)}

    def ended(self):
        self.becomes(f"select count(*) from ({self.open}) a", 0)
        self.session.stdin.close()
        self.session.wait(WAIT_S)

    def test_every_block_in_the_order_of_the_page(self):
        for name, commands in blocks_of(PAGE.read_text()).items():
            prepare, says, after = BLOCKS[name]
            env = {**os.environ, **self.vars, **prepare(self)}
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", commands],
                cwd=ROOT,
                env=env,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=120,
            )
            said = f"{name}\n{commands}{done.stdout}{done.stderr}"
            self.assertEqual(done.returncode, 0, said)
            for words in says:
                self.assertRegex(done.stdout, words, said)
            if after:
                after(self)


# "section/number": (the situation, what the commands must say, what must have become of it)
BLOCKS = {
    "Something is wrong, and nothing says what/1": (
        Commands.nothing,
        ["good +session: ", r"changed_files: the engine \(pid \d+\) runs", r"pipeline.yaml: \d+ good, 0 warn, 0 bad"],
        None,
    ),
    "A customer asks what became of a purchase/1": (
        Commands.bought,
        [
            "^nothing of it waits; chain purchase: complete",
            r"payment.try .* payment.charge → success",
            "reservation.confirm → success",
        ],
        None,
    ),
    "A customer asks what became of a purchase/2": (Commands.same_purchase, ['"topic":"payment.success"'], None),
    "Events end as dead letters/1": (Commands.letters, ["amount_max", r"payment.try-dlt .* dead letter: "], None),
    "Events end as dead letters/2": (Commands.nothing, [r"\b3\b", r"replayed 3|3 .*replayed"], Commands.replayed),
    "Events end as dead letters/3": (Commands.wrong_one, [r"\b1\b"], Commands.edited),
    "Events end as dead letters/4": (Commands.useless, [r"\b1\b"], Commands.dropped),
    "An undo is stuck/1": (Commands.stuck, [r"purchase .* stuck", "payment undoing"], None),
    "An undo is stuck/2": (Commands.user_is_back, ["resume"], Commands.refunded),
    "An undo is stuck/3": (Commands.stuck, ["close"], Commands.closed),
    "A chain does not end/1": (Commands.unfinished, ["reservation missing", '"state":"running"'], None),
    "A chain does not end/2": (Commands.same_purchase, ["abort"], Commands.aborted),
    "Events wait in the database/1": (Commands.declined, ["delayed .* payment.retry"], None),
    "Events wait in the database/2": (
        Commands.points_are_there,
        [r"topic +payment.retry", "released .* on payment.retry"],
        Commands.released,
    ),
    "Events wait in the database/3": (Commands.declined_again, ["cancelled .* on payment.retry"], Commands.cancelled),
    "Something must stand still for a while/1": (
        Commands.nothing,
        [r"payment.charge: .*the gateway is being moved"],
        Commands.paused,
    ),
    "Something must stand still for a while/2": (Commands.nothing, ["payment.charge"], Commands.released),
    "A breaker is open/1": (
        Commands.breaker,
        [r"breaker card-gateway: open since .*20 calls failed", "breaker card-gateway: resumed"],
        Commands.released,
    ),
    "Nothing is read, or too slowly/1": (Commands.open_transaction, ["bus_lock_writer", r"\bt\b"], Commands.ended),
    "Outputs are not published/1": (Commands.nothing, ["0 rows", "UPDATE 0"], None),
    "A handler or plugin is at fault/1": (Commands.nothing, ["payment", "charge"], None),
    "The database or the brokers do not answer/1": (Commands.nothing, [], None),
    "It does not start/1": (Commands.nothing, [], None),
    "It does not start/2": (Commands.nothing, ["up to date"], None),
    "Who did what/1": (Commands.nothing, ["dead-letter replay", "chain close .*paid back by bank transfer"], None),
}

if __name__ == "__main__":
    unittest.main()
