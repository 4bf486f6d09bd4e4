"""A test case with a pipeline of its own: writes the YAML, sends whole events, reads topics and rows, ends every engine
it started."""
import json
import uuid

from lib.engine import BUILD, Engine, sluice, until
from lib.server_case import PostgresCase

CHAOS = BUILD / "tests/plugins/chaos.so"
EFFECTS = BUILD / "tests/plugins/effects.so"


def new_id():
    return str(uuid.uuid4())


class PipelineCase(PostgresCase):
    """The class's `yaml` is the pipeline; ${CHAOS_SO}, ${EFFECTS_SO} and ${DATABASE_URL} are set."""

    yaml = None
    env = {}

    def setUp(self):
        super().setUp()
        self.vars = {"DATABASE_URL": self.url, "CHAOS_SO": str(CHAOS), "EFFECTS_SO": str(EFFECTS), **self.env}
        self.engines = []
        self.addCleanup(self.end_all)
        self.config = None
        if self.yaml:
            self.use(self.yaml)

    def use(self, yaml, migrate=True):
        self.config = self.folder / "pipeline.yaml"
        self.config.write_text(yaml)
        if migrate:
            sluice("migrate", self.config, env=self.vars)

    def end_all(self):
        for engine in self.engines:
            engine.kill()

    def engine(self, wait=True, env=None, **options):
        engine = Engine(self.config, {**self.vars, **(env or {})}, **options)
        self.engines.append(engine)
        return engine.start(wait=wait)

    def emit(self, topic, *values, key=None):
        """Whole values as they are, one record each: dicts as JSON, texts and bytes unchanged."""
        lines = [
            (
                v.encode("utf-8", "surrogateescape")
                if isinstance(v, str)
                else v
                if isinstance(v, bytes)
                else json.dumps(v, separators=(",", ":")).encode()
            )
            for v in values
        ]
        sluice(
            "emit",
            self.config,
            topic,
            "--envelope",
            *(["--key", key] if key else []),
            env=self.vars,
            data=b"\n".join(lines) + b"\n",
        )

    @staticmethod
    def event(data, event_id=None):
        return {"eventId": event_id or new_id(), "data": data}

    def topic(self, *names):
        out = sluice("tap", self.config, *names, "--no-follow", "--json", env=self.vars).stdout
        return [json.loads(line) for line in out.split("\n") if line]

    def value(self, query):
        return self.postgres.value(query, self.url)

    def rows(self, query):
        return self.postgres.query(query, self.url)

    def await_topic(self, name, count, limit_s=20.0):
        """The records of a topic once there are `count` of them."""
        found = []

        def enough():
            found[:] = self.topic(name)
            return len(found) >= count

        try:
            until(enough, f"{count} records on {name}", limit_s, 0.05)
        except AssertionError as error:
            said = "\n".join(engine.text() for engine in self.engines)
            raise AssertionError(f"{error}; there are {len(found)}. The engine said:\n{said}") from None
        return found

    def await_value(self, query, wanted, limit_s=20.0):
        try:
            until(lambda: self.value(query) == str(wanted), f"{query} to be {wanted}", limit_s, 0.02)
        except AssertionError as error:
            said = "\n".join(engine.text() for engine in self.engines)
            raise AssertionError(f"{error}; it is {self.value(query)}. The engine said:\n{said}") from None

    def drain(self, limit_s=30.0):
        self.await_value(
            "SELECT (SELECT coalesce(sum(sluice.bus_lag(g.consumer_group)), 0) FROM (SELECT DISTINCT consumer_group"
            " FROM sluice.bus_lease) g) + (SELECT count(*) FROM sluice.parked WHERE state = 0) + (SELECT count(*)"
            " FROM sluice.attempt) + (SELECT count(*) FROM sluice.held_key)",
            0,
            limit_s,
        )


def reason(record):
    return record["headers"].get("sluice-dlt-reason")
