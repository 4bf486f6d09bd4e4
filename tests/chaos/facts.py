"""What a run left behind: the database, the topics, the generator's log, and what the pipeline says should be there."""
import collections
import json
import os
import pathlib
import subprocess
import tempfile

from chaos.wire import conflict_id, hash64, id_of, read_id, record_id, signed

SHOWN = 5  # ids in a sentence
CHAIN = "chain"  # the handler of what only chains watch
ROOT = pathlib.Path(__file__).resolve().parents[2]


def some(ids):
    ids = sorted(set(map(str, ids)))
    return ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")


def program():
    return ROOT / os.environ.get("B", "build/") / "sluice"


def sql(url, text):
    """Rows of a query as dicts."""
    out = subprocess.run(
        [
            "psql",
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            url,
            "-c",
            f"SELECT coalesce(json_agg(t), '[]') FROM ({text}) t",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if out.returncode != 0:
        raise RuntimeError(f"{text}: {out.stderr.strip()}")
    return json.loads(out.stdout)


def sluice_out(*args, env):
    """Standard output as bytes; through a file, so that a topic may be larger than memory likes."""
    with tempfile.TemporaryFile() as out:
        done = subprocess.run(
            [program(), *map(str, args)],
            env=dict(os.environ, **env),
            stdout=out,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"sluice {' '.join(map(str, args))}: {done.stderr.decode(errors='replace').strip()}")
        out.seek(0)
        return out.read()


class Record:
    """One record of a topic."""

    __slots__ = ("topic", "key", "value", "headers", "timestamp", "partition", "offset", "event_id", "hash", "data")

    def __init__(self, line):
        self.topic, self.headers = line["topic"], line["headers"]
        self.timestamp, self.partition, self.offset = line["timestamp"], line.get("partition"), line.get("offset")
        self.key = line["key"].encode("utf-8", "surrogateescape")
        self.value = line["value"].encode("utf-8", "surrogateescape")
        self.event_id = read_id(self.value.decode("utf-8", "replace"))
        self.hash = hash64(self.value)
        try:
            self.data = json.loads(self.value).get("data", {})
        except (ValueError, AttributeError, RecursionError):
            self.data = {}
        if not isinstance(self.data, dict):
            self.data = {}

    def ids(self):
        """What the inbox may know this record by: whether an id could be read is the engine's to say."""
        if self.event_id is not None:
            yield id_of(self.event_id)
        yield record_id(self.topic.encode(), self.key, self.value, self.timestamp)

    @property
    def parent(self):
        return self.headers.get("sluice-parent")

    def whole(self):
        """All that must be the same when it is there again."""
        return self.topic, self.key, self.value, self.timestamp, tuple(self.headers.items())


def batch_records(data):
    """The records of a batch as engine/event/record_batch.h lays it out."""
    at, found = 4, []

    def take(size):
        nonlocal at
        at += size
        return data[at - size : at]

    def number(size):
        return int.from_bytes(take(size), "big")

    for _ in range(int.from_bytes(data[2:4], "big")):
        line = {"timestamp": number(8), "topic": take(number(1)).decode()}
        size = number(2)
        line["key"] = b"" if size == 0xFFFF else take(size)
        line["headers"] = {
            take(number(1)).decode(): take(number(2)).decode("utf-8", "surrogateescape") for _ in range(number(1))
        }
        line["value"] = take(number(4))
        found.append(
            Record(
                {
                    **line,
                    "key": line["key"].decode("utf-8", "surrogateescape"),
                    "value": line["value"].decode("utf-8", "surrogateescape"),
                }
            )
        )
    return found


def model_of(config, env):
    return json.loads(sluice_out("graph", config, "--format", "json", env=env))


class Model:
    """The pipeline, as `graph` and `inspect` describe it."""

    def __init__(self, config, env):
        graph = model_of(config, env)
        self.topics = {topic["name"]: topic for topic in graph["topics"]}
        self.chains, self.taps = graph["chains"], graph["taps"]
        self.dead = {topic["deadLetter"]: topic["name"] for topic in graph["topics"] if "deadLetter" in topic}
        self.handler_topics = collections.defaultdict(list)
        self.routes, self.ladders = {}, {}
        for topic in graph["topics"]:
            if "handler" in topic:
                self.handler_topics[topic["handler"]].append(topic["name"])
                base = self.topics[topic.get("retriesOf", topic["name"])]
                self.routes[topic["name"]] = base["routes"]
                for route in base["routes"].values():
                    if isinstance(route, dict):
                        self.ladders[topic["name"]] = route
        self.watched = {
            name
            for chain in self.chains
            for name in [*chain["abortOn"], *(step["done"] for step in chain["steps"] if step["undo"])]
        }
        for name in sorted(self.watched):
            if "handler" not in self.topics[name]:
                self.handler_topics[CHAIN].append(name)
                self.routes[name] = {}
        self.sourceless = {
            target
            for schedule in graph["schedules"] + graph["requests"]
            for target in schedule["routes"].values()
            if isinstance(target, str)
        }
        self.outcomes = {CHAIN: ["passed"]}

    def load_outcomes(self, libraries, env):
        """Names of each handler's outcomes, in their order."""
        for library in libraries:
            plugin = json.loads(sluice_out("inspect", "--json", library, env=env))
            for handler in plugin["handlers"]:
                self.outcomes[f"{plugin['name']}.{handler['name']}"] = [
                    outcome["name"] for outcome in handler["outcomes"]
                ]

    def emitted_by(self, topic, outcome, counter_of):
        """(route name, topic) of what an outcome on a topic emits, or None. counter_of: a ladder's field → the event's
        count."""
        route = self.routes[topic].get(outcome)
        if isinstance(route, dict):
            if counter_of(route["counter"]) < route["maxRetries"]:
                return outcome, route["retry"]
            return "exhausted", route["exhausted"]
        return None if route is None else (outcome, route)


def has_table(url, name):
    return sql(url, f"SELECT to_regclass('{name}') IS NOT NULL AS there")[0]["there"]


class Facts:
    def __init__(self, bus, config, env, log_path=None, libraries=(), dump=True):
        self.bus, self.config, self.env, self.url = bus, str(config), env, env["DATABASE_URL"]
        self.model = Model(config, env)
        self.model.load_outcomes(libraries, env)
        lines = pathlib.Path(log_path).read_text(encoding="utf-8").split("\n") if log_path else []
        self.log = [json.loads(line) for line in lines if line]
        self.acked = [entry for entry in self.log if "acked" in entry]
        self.inbox = sql(
            self.url,
            "SELECT n.name AS handler, i.outcome, i.event_id, i.hash FROM sluice.inbox i"
            " JOIN sluice.name n ON n.number = i.handler",
        )
        self.chain_rows = sql(
            self.url,
            "SELECT n.name AS chain, c.chain AS number, c.correlation, c.correlation_text AS tied, c.state,"
            " c.generation, c.missing, encode(c.steps, 'hex') AS steps"
            " FROM sluice.chain c JOIN sluice.name n ON n.number = c.chain",
        )
        self.inbox_by = {(row["handler"], row["event_id"]): row for row in self.inbox}
        self.records = bus.records(config, env) if dump else []
        self.repeats = (
            []
        )  # of outputs, where a bus may have them more than once: all but the first, byte by byte the same
        if not bus.transactional:
            self.records, self.repeats = self._once(self.records)
        self.by_topic, self.by_id, self.children = (collections.defaultdict(list) for _ in range(3))
        for record in self.records:
            self.by_topic[record.topic].append(record)
            if record.topic in self.model.dead:
                continue
            if record.event_id is not None:
                self.by_id[record.event_id].append(record)
            if record.parent is not None:
                self.children[record.parent].append(record)

    def _once(self, records):
        seen, first, again = set(), [], []
        for record in records:
            output = record.parent is not None or record.topic in self.model.dead
            (again if output and record.whole() in seen else first).append(record)
            seen.add(record.whole())
        return first, again

    def handled(self):
        """(handler, record) of everything that some handler of the pipeline must end."""
        for handler, names in self.model.handler_topics.items():
            for name in names:
                for record in self.by_topic[name]:
                    yield handler, record

    def row_of(self, handler, record):
        """The inbox row that is this record's: found by its id, with its payload."""
        for event_id in record.ids():
            row = self.inbox_by.get((handler, event_id))
            if row is not None and row["hash"] == signed(record.hash):
                return row
            row = self.inbox_by.get((handler, conflict_id(event_id, record.value)))
            if row is not None:
                return row
        return None
