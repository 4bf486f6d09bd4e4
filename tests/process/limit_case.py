"""Topics with a limit: a pipeline whose handler writes each event down; events are numbered within their keys."""
import _path
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: limited
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}}
topics:
  in: {key: "{k}", handler: effects.record, limit: LIMIT, routes: {done: out, again: drop}}
  side: {key: "{k}", handler: effects.record, routes: {done: out, again: drop}}
  out: {key: "{k}", final: true}
"""
TABLE = (
    "CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint, at timestamptz NOT NULL DEFAULT clock_timestamp())"
)
# A row's time from `at` to `until` lies within that in which its event is handled: its statement begins, sleeps, and
# the deferred trigger runs in COMMIT.
SLEEPING = """
CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity bigint,
    pid int DEFAULT pg_backend_pid(), at timestamptz DEFAULT statement_timestamp(), until timestamptz);
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END';
CREATE FUNCTION over() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE effects SET until = clock_timestamp() WHERE number = NEW.number; RETURN NULL; END';
CREATE TRIGGER sleeps AFTER INSERT ON effects FOR EACH STATEMENT EXECUTE FUNCTION sleep();
CREATE CONSTRAINT TRIGGER ends AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION over();
"""
AT_ONCE = """
SELECT max(n) FROM (SELECT sum(d) OVER (PARTITION BY value ORDER BY t, d) AS n FROM (
    SELECT {value} AS value, at AS t, 1 AS d FROM effects WHERE {where}
    UNION ALL SELECT {value}, until, -1 FROM effects WHERE {where}) x) y
"""


class LimitCase(PipelineCase):
    yaml_with_limit, table = YAML, TABLE

    def setUp(self):
        super().setUp()
        self.sent = {}

    def pipeline(self, limit):
        self.use(self.yaml_with_limit.replace("LIMIT", limit))
        self.rows(self.table)

    def send(self, topic, keys, **more):
        """One event for each of `keys`, with the next number of its key."""
        values = []
        for k in keys:
            self.sent[k] = self.sent.get(k, 0) + 1
            values.append(self.event({"k": k, "seq": self.sent[k], "origin": f"{k}-{self.sent[k]}", **more}))
        self.emit(topic, *values)

    def in_order(self):
        for k, count in self.sent.items():
            rows = self.rows(f"SELECT seq FROM effects WHERE k = '{k}' ORDER BY number")
            self.assertEqual([int(row[0]) for row in rows], list(range(1, count + 1)), k)
        self.assertEqual(self.value("SELECT count(*) FROM sluice.attempt"), "0")
