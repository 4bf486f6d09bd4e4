#!/usr/bin/env python3
"""The outbox table: what is emitted to chosen topics is read from the write-ahead log once, whatever dies, by a client
that knows only PostgreSQL's protocol and by Debezium's own outbox event router."""
import collections
import json
import struct
import unittest

import _path  # noqa: F401
from lib.debezium import Debezium
from lib.engine import sluice, until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: outgoing
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2, event_format: FORMAT}
plugins: {chaos: {library: "${CHAOS_SO}"}}
outbox_table: {name: NAME, topics: [now, "la*"]}
topics:
  in: {key: "{k}", handler: chaos.act_sql, routes: {ok: [now, {topic: later, delay: 100ms}, other], other: drop}}
  now: {final: true}
  other: {final: true}
  later: {key: "{k}", handler: chaos.act_sql, routes: {ok: done, other: drop}}
  done: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
WAIT_S = 60.0
SHAPE = (
    "id uuid primary key, aggregatetype varchar(255) not null, aggregateid varchar(255) not null,"
    ' type varchar(255) not null, payload {payload}, "timestamp" timestamp(6) not null, tracingspancontext varchar(256)'
)


def pgoutput(messages):
    """What logical decoding says in PostgreSQL's own protocol, version 1: ("insert" or "delete", {column: text})."""
    relations, changes = {}, []

    def text(data, at):
        end = data.index(b"\0", at)
        return data[at:end].decode(), end + 1

    for data in messages:
        kind, at = data[:1], 5
        if kind == b"R":
            relation, columns = struct.unpack(">I", data[1:5])[0], []
            for _ in range(2):  # schema and table
                _, at = text(data, at)
            count = struct.unpack(">h", data[at + 1 : at + 3])[0]
            at += 3
            for _ in range(count):
                name, at = text(data, at + 1)
                columns.append(name)
                at += 8
            relations[relation] = columns
        elif kind in (b"I", b"D"):
            columns, row = relations[struct.unpack(">I", data[1:5])[0]], {}
            at += 3  # which tuple it is, and how many columns
            for column in columns:
                if data[at : at + 1] == b"t":
                    length = struct.unpack(">i", data[at + 1 : at + 5])[0]
                    row[column] = data[at + 5 : at + 5 + length].decode()
                    at += 4 + length
                at += 1
            changes.append(("insert" if kind == b"I" else "delete", row))
    return changes


class OutboxCase(PipelineCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.postgres.value("show wal_level") != "logical":
            cls.postgres.query("alter system set wal_level = logical")
            cls.postgres.restart()

    def begin(self, name="outbox", event_format="sluice", **options):
        self.use(YAML.replace("NAME", name).replace("FORMAT", event_format))
        return options and self.engine(**options)

    def end_all(self):
        super().end_all()
        self.rows(  # a slot keeps its database
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
            " where database = current_database() and not active"
        )

    def send(self, *keys):
        self.emit("in", *(self.event({"k": key, "mode": "sql_ok", "n": 1}, f"id-{key}") for key in keys))

    def slot(self, table):
        self.rows(f"create publication published for table {table}")
        self.value("select pg_create_logical_replication_slot('read_' || current_database(), 'pgoutput')")

    def changes(self):
        """All that the slot has seen so far."""
        rows = self.rows(
            "select encode(data, 'hex') from pg_logical_slot_peek_binary_changes('read_' || current_database(), null,"
            " null, 'proto_version', '1', 'publication_names', 'published')"
        )
        return pgoutput(bytes.fromhex(row[0]) for row in rows)

    def expected(self):
        """By the id of each event on the topics that the table is for."""
        found = {}
        for record in self.topic("now", "later"):
            envelope = json.loads(record["value"])
            found[envelope["eventId"]] = (record["topic"], record["key"], envelope["data"])
        return found


class Log(OutboxCase):
    def check(self, count):
        changes, expected = self.changes(), self.expected()
        inserted = [row for kind, row in changes if kind == "insert"]
        self.assertEqual(len(expected), count)
        self.assertEqual(sorted(row["id"] for row in inserted), sorted(expected))  # each once
        for row in inserted:
            self.assertEqual(row["type"], row["aggregatetype"])
            self.assertEqual(
                (row["aggregatetype"], row["aggregateid"], json.loads(row["payload"])), expected[row["id"]]
            )
        self.assertEqual(
            sorted(row["id"] for kind, row in changes if kind == "delete"), sorted(row["id"] for row in inserted)
        )
        return inserted

    def test_kills(self):
        self.begin()
        self.slot("outbox")
        for number, failpoint in enumerate(("lane.commit.before=crash@2", "lane.commit.after=crash@2", None, None)):
            self.send(*(f"{number}-{n}" for n in range(50)))
            engine = self.engine(wait=False, env={"SLUICE_FAILPOINTS": failpoint} if failpoint else {})
            if failpoint is None:
                self.await_topic("later", number * 50 + 1, WAIT_S)
                engine.kill_worker()
            until(lambda engine=engine: "the worker ended" in engine.text(), "the end of a worker", WAIT_S)
            engine.kill()
        self.engine()
        self.await_topic("done", 200, 2 * WAIT_S)
        self.drain(WAIT_S)
        self.assertEqual(self.value("select count(*) from outbox"), "0")
        inserted = self.check(400)
        keys = collections.defaultdict(list)
        for row in inserted:
            keys[row["aggregateid"]].append(row["aggregatetype"])
        self.assertEqual(set(map(tuple, keys.values())), {("now", "later")})  # as the route has them

    def test_a_table_of_their_own(self):
        self.rows("create schema theirs")
        self.rows(
            f"create table theirs.order ({SHAPE.format(payload='varchar(8000) not null')}, seen int default 0)".replace(
                "theirs.order", 'theirs."order"'
            )
        )
        self.begin("theirs.order", "sluice")
        self.slot('theirs."order"')
        self.engine()
        self.send("a", "b")
        self.await_topic("done", 2, WAIT_S)
        self.check(4)

    def test_a_row_that_is_refused(self):
        self.rows(f"create table outbox ({SHAPE.format(payload='jsonb')}, check (aggregateid <> 'bad'))")
        self.begin()
        self.slot("outbox")
        self.config.write_text(self.config.read_text() + "defaults: {retry: {max_retries: 1}}\n")
        self.engine()
        self.send("good", "bad", "other")
        self.await_topic("done", 2, WAIT_S)
        dead = self.await_topic("in-dlt", 1, WAIT_S)
        self.assertEqual(dead[0]["headers"]["sluice-dlt-reason"], "database")
        self.assertIn("violates check constraint", dead[0]["headers"]["kafka_dlt-exception-message"])
        self.check(4)


class Router(OutboxCase):
    """Debezium with its defaults, and with those of its options that the table has columns for."""

    def through(self, options, event_format="sluice"):
        self.begin(event_format=event_format)
        with Debezium(self.url, "public.outbox", self.folder, options) as router:
            self.engine()
            self.emit("in", {"eventId": "e-1", "data": {"k": "key", "mode": "sql_ok", "n": 1, "text": 'ä"\\ \u20ac'}})
            until(lambda: len(router.events) >= 2, "two events", WAIT_S)
            self.await_topic("done", 1, WAIT_S)
            self.rows(  # something behind them, so that nothing else comes between
                "insert into outbox values (gen_random_uuid(), 'end', 'end', 'end', '{}', now(), null)"
            )
            until(lambda: router.events[-1]["topic"].endswith("end"), "the last event", WAIT_S)
            return router.events[:-1]

    def test_defaults(self):
        events = self.through({})
        self.assertEqual([event["topic"] for event in events], ["outbox.event.now", "outbox.event.later"])
        expected = self.expected()
        for event in events:
            topic, key, data = expected.pop(event["headers"]["id"])
            self.assertEqual(
                (event["topic"], event["key"], json.loads(event["value"])), ("outbox.event." + topic, key, data)
            )
        self.assertEqual(expected, {})

    def test_options(self):
        events = self.through(
            {
                "route.topic.replacement": "${routedByValue}",
                "table.field.event.timestamp": "timestamp",
                "table.fields.additional.placement": "type:header:eventType",
            },
            "cloudevents_binary",
        )
        by_id = {record["headers"]["ce_id"]: record for record in self.topic("now", "later")}
        self.assertEqual(len(events), 2)
        for event in events:
            record = by_id.pop(event["headers"]["id"])
            self.assertEqual((event["topic"], event["key"]), (record["topic"], record["key"]))
            self.assertEqual(json.loads(event["value"]), json.loads(record["value"]))
            self.assertEqual(event["headers"]["eventType"], record["topic"])
            self.assertEqual(event["timestamp"], record["timestamp"])


class Shape(OutboxCase):
    """The table is looked at before anything starts, with a sentence that says what to do."""

    BAD = (
        ("drop table outbox", "the database has no table outbox, which outbox_table names; `sluice migrate CONFIG`"),
        ("alter table outbox drop column type", "has no column type; expected one of type text or character varying"),
        (
            "alter table outbox alter column payload type bytea using null",
            "the column payload of the table outbox of outbox_table is of type bytea; expected jsonb or json or text",
        ),
        ("alter table outbox add column other int not null", "and that take no null: other; give them a default"),
        ("alter table outbox alter column tracingspancontext set not null", "take no null: tracingspancontext;"),
        (
            "alter table outbox drop constraint outbox_pkey",
            "has no primary key, without which the server refuses to delete its rows while a publication has the "
            "table; alter table outbox add primary key (id)",
        ),
    )

    def no_slots(self):
        self.postgres.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
        return self.postgres.value("select count(*) from pg_replication_slots") == "0"

    def refused(self, command, *args):
        return sluice(command, *args, env=self.vars, check=False)

    def test_what_does_not_fit(self):
        for change, sentence in self.BAD:
            with self.subTest(change):
                self.rows("drop table if exists outbox")
                self.begin()
                self.rows(change)
                done = self.refused("validate", "--connect", self.config)
                self.assertEqual(done.returncode, 78)
                self.assertIn(sentence, done.stderr)
                engine = self.engine(wait=False)
                self.assertNotEqual(engine.process.wait(WAIT_S), 0)
                engine.reader.join(WAIT_S)
                self.assertIn(sentence.split(";")[0], engine.text())
                doctor = json.loads(self.refused("doctor", self.config, "--json").stdout)
                self.assertIn(sentence.split(";")[0], json.dumps(doctor))
                migrated = self.refused("migrate", self.config)
                if change.startswith("drop table"):
                    self.assertEqual((migrated.returncode, migrated.stdout), (0, "made the table outbox\n"))
                else:
                    self.assertEqual(migrated.returncode, 1)
                    self.assertIn(sentence, migrated.stderr)

    def test_nobody_reads_it(self):
        self.begin()
        until(self.no_slots, "the end of other tests' slots, with which the server would not start", WAIT_S)
        for sentence, change in (
            ("wal_level is not logical", None),
            ("has no logical replication slot", "alter system set wal_level = logical"),
        ):
            self.postgres.query(change or "alter system set wal_level = replica")
            self.postgres.restart()
            done = self.refused("validate", "--connect", self.config)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(sentence, done.stderr)
            engine = self.engine()
            until(lambda engine=engine, sentence=sentence: sentence in engine.text(), "the warning", WAIT_S)
            engine.kill()
            doctor = self.refused("doctor", self.config, "--json").stdout
            self.assertIn(sentence, doctor)
        self.slot("outbox")
        done = self.refused("validate", "--connect", self.config)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("the table outbox can be read", self.refused("doctor", self.config, "--json").stdout)

    def test_without_a_right(self):
        self.begin()
        self.rows("drop role if exists writer")
        self.rows(
            "create role writer login; grant all on schema sluice, public to writer;"
            "grant all on all tables in schema sluice to writer; grant select, insert on outbox to writer"
        )
        self.addCleanup(self.rows, "drop owned by writer; drop role writer")
        self.vars["DATABASE_URL"] = self.url.replace("postgres@", "writer@")
        done = self.refused("validate", "--connect", self.config)
        self.assertIn(
            "the user writer may not insert into, select from and delete from the table outbox; grant insert,"
            " select, delete on outbox to writer",
            done.stderr,
        )


if __name__ == "__main__":
    unittest.main(verbosity=2)
