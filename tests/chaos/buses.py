"""What is different about a bus for those who look from outside: how a pipeline names it, what is on its topics, and
how far its readers have come. The checker, the stream and the tests know buses by this alone.
"""
import json
import os
import re
import subprocess
import time
import uuid

from chaos.facts import Record, model_of, sluice_out, sql
from lib.engine import until
from lib.kafka import KafkaAdmin


WAITING = (
    "(SELECT count(*) FROM sluice.parked) AS parked, (SELECT count(*) FROM sluice.held) AS held,"
    " (SELECT count(*) FROM sluice.held_key) AS held_keys, (SELECT count(*) FROM sluice.attempt) AS retried,"
    " (SELECT count(*) FROM sluice.outbox) AS unpublished,"
    " (SELECT count(*) FROM sluice.chain WHERE due IS NOT NULL) AS chains_until_their_timeout"
)


class PostgresBus:
    kind = "postgres"
    transactional = True  # an outcome and what it emits are one transaction: no output is ever there twice
    places = 16  # of the pipeline's group, all together

    def __init__(self, url, group="chaos"):
        self.url, self.group, self.env = url, group, {}

    def configure(self, text):
        return text

    def learn(self, config, env):
        """Of the pipeline, as it was configured."""

    def clear(self):
        """Before `migrate`."""

    def prepare(self):
        """After `migrate`."""

    def records(self, config, env):
        out = sluice_out("tap", config, "*", "--no-follow", "--json", env=env)
        return [Record(json.loads(line.decode("utf-8", "surrogateescape"))) for line in out.split(b"\n") if line]

    def sample(self):
        """What can be compared with the next sample, and with what is there in the end."""
        rows = sql(self.url, "SELECT consumer_group || '/' || partition AS place, high, low FROM sluice.bus_lease")
        return {"positions": {row["place"]: [row["high"], row["low"]] for row in rows}}

    def lags(self):
        """{group: records that it has not completed}"""
        rows = sql(
            self.url,
            "SELECT g.consumer_group, sluice.bus_lag(g.consumer_group) AS lag"
            " FROM (SELECT DISTINCT consumer_group FROM sluice.bus_lease) g",
        )
        return {row["consumer_group"]: row["lag"] for row in rows}

    def left(self):
        """What is still to be done, in one snapshot."""
        return sql(
            self.url,
            "SELECT (SELECT coalesce(sum(sluice.bus_lag(g.consumer_group)), 0)"
            f"          FROM (SELECT DISTINCT consumer_group FROM sluice.bus_lease) g) AS lag, {WAITING}",
        )[0]


# Remembers every output that was ever committed, since outbox rows live for milliseconds, and which transaction claimed
# an event, wrote it behind its key, or deleted it there.
RECORDED = """
CREATE TABLE recorded (id bigint, batch bytea, xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION recorded() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.recorded VALUES (NEW.id, NEW.batch); RETURN NULL; END $$;
CREATE TRIGGER recorded AFTER INSERT ON sluice.outbox FOR EACH ROW EXECUTE FUNCTION recorded();
CREATE TABLE claimed (handler smallint, event_id uuid, xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION claimed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.claimed (handler, event_id) SELECT handler, event_id FROM claims; RETURN NULL; END $$;
CREATE TRIGGER claimed AFTER INSERT ON sluice.inbox REFERENCING NEW TABLE AS claims
    FOR EACH STATEMENT EXECUTE FUNCTION claimed();
CREATE TABLE was_held (event_id uuid, xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION was_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.was_held (event_id) SELECT event_id FROM rows; RETURN NULL; END $$;
CREATE TRIGGER was_held AFTER INSERT ON sluice.held REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION was_held();
CREATE TABLE held_no_more (LIKE was_held INCLUDING DEFAULTS);
CREATE FUNCTION held_no_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.held_no_more (event_id) SELECT event_id FROM rows; RETURN NULL; END $$;
CREATE TRIGGER held_no_more AFTER DELETE ON sluice.held REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION held_no_more()
"""


class KafkaBus:
    """On a cluster that others may use before us: topics are made anew, groups have names of their own."""

    kind = "kafka"
    transactional = False
    partitions = 6
    ask_again_s, asks = 0.2, 50
    section = 'bus: {kind: kafka, partitions: 6, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}'

    def __init__(self, url, kafka, group=None):
        self.url, self.kafka, self.env = url, kafka, {"KAFKA_BROKERS": kafka.servers}
        self.group = group or f"chaos-{uuid.uuid4().hex[:8]}"
        self.names, self.groups, self.seen = [], {}, {}

    @property
    def places(self):
        return self.partitions * len(self.groups[self.group])

    def configure(self, text):
        return text.replace("bus: {kind: postgres}", self.section).replace("group: chaos", f"group: {self.group}")

    def learn(self, config, env):
        if self.names:
            return
        model = model_of(config, env)
        letters = {topic["deadLetter"] for topic in model["topics"] if "deadLetter" in topic}
        names = {topic["name"] for topic in model["topics"]} | letters
        watched = {
            name
            for chain in model["chains"]
            for name in [*chain["abortOn"], *(step["done"] for step in chain["steps"] if step["undo"])]
        }
        self.names = sorted(names)
        self.groups = {self.group: watched | {topic["name"] for topic in model["topics"] if "handler" in topic}}
        for tap in model["taps"]:
            prefixes = tuple(name[:-1] for name in tap["topics"] if name.endswith("*"))  # they leave dead letters out
            self.groups[f"{self.group}.{tap['name']}"] = (names & set(tap["topics"])) | {
                name for name in names - letters if name.startswith(prefixes)
            }

    def clear(self):
        mine = set(self.names)
        for name in mine & set(self.kafka.topics()):
            self.kafka.delete_topic(name)
        until(lambda: not mine & set(self.kafka.topics()), "the brokers to forget what was deleted")

    def prepare(self):
        done = subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-c", RECORDED],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def records(self, config, env):
        """Through Kafka's own client, so that the engine's is judged by another."""
        self.learn(config, env)

        def text(data):
            return (data or b"").decode("utf-8", "surrogateescape")

        return [
            Record(
                {
                    "topic": name,
                    "partition": one.partition,
                    "offset": one.offset,
                    "timestamp": one.timestamp,
                    "key": text(one.key),
                    "value": text(one.value),
                    "headers": {header: text(value) for header, value in one.headers},
                }
            )
            for name in self.names
            for one in self.kafka.dump(name, limit_s=60)
        ]

    def _ends(self, names):
        return {name: self.kafka.end_offsets(name) for name in sorted(names)}

    def _offsets(self):
        return {
            (group, topic, n): offset
            for group in self.groups
            for topic, offsets in self.kafka.committed(group).items()
            for n, offset in offsets.items()
        }

    def _committed(self):
        """The offsets of all groups. Once, after all brokers had been killed, they went back to 0 and nothing else did.
        Kafka's clients leave out what a broker answers with an error, so it was none; a coordinator that has just
        started may answer from the part of its log that it knows to be replicated, which was not seen again. So what
        went back is asked for again. It is the group's position when it stays, or moves on from there; an old answer
        is followed by one that has not gone back."""
        found = self._offsets()
        for _ in range(self.asks):
            behind = {place: offset for place, offset in found.items() if offset < self.seen.get(place, 0)}
            if not behind:
                break
            time.sleep(self.ask_again_s)
            again = self._offsets()
            moved = any(offset < again.get(place, offset) < self.seen[place] for place, offset in behind.items())
            found = again
            if moved:
                break
        self.seen.update(found)
        return found

    def sample(self):
        """Offsets first: what they claim to be done must be seen in all that is looked at after them."""
        committed = self._committed()
        row = sql(
            self.url,
            "SELECT pg_current_snapshot()::text AS snapshot,"
            " (SELECT coalesce(json_agg(p), '[]') FROM sluice.bus_position p) AS positions",
        )[0]
        return {
            "positions": {f"{group}/{topic}/{n}": [offset, 0] for (group, topic, n), offset in committed.items()},
            "recorded": {f"{p['consumer_group']}/{p['topic']}/{p['partition']}": p["next"] for p in row["positions"]},
            "snapshot": row["snapshot"],
            "ends": self._ends(self.names),
        }

    def lags(self):
        lags = {}
        for group, names in self.groups.items():
            ends, committed = self._ends(names), self.kafka.committed(group)
            lags[group] = sum(
                max(0, end - committed.get(name, {}).get(n, 0)) for name in names for n, end in ends[name].items()
            )
        return lags

    def left(self):
        """What was published between the first look and the last counts as lag: it may come from what we had not seen
        yet."""
        before = self._ends(self.names)
        lag = sum(self.lags().values())
        waiting = sql(self.url, f"SELECT {WAITING}")[0]
        moved = sum(sum(ends.values()) for ends in self._ends(self.names).values()) - sum(
            sum(ends.values()) for ends in before.values()
        )
        return {"lag": lag, "moved": moved, **waiting}


def bus_of(config, env):
    """For a checker that is run by hand: the pipeline says which bus, the environment where it is."""
    with open(config, encoding="utf-8") as file:
        group = re.search(r"\bgroup: *([^,}\s]+)", file.read())
    group = group.group(1) if group else None
    if model_of(config, env)["bus"] != "kafka":
        return PostgresBus(env["DATABASE_URL"], group)
    admin = KafkaAdmin()
    admin.connect(env["KAFKA_BROKERS"], os.devnull)
    admin.servers = env["KAFKA_BROKERS"]
    return KafkaBus(env["DATABASE_URL"], admin, group)
