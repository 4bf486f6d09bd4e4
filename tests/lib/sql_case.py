"""Events whose handler's statement does what the test wants: effects.record inserts a row for each event, and a trigger
on its table executes what the table `causes` has for the event's origin."""
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: failing
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: failing, lanes: 2}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
defaults: {retry: {max_retries: 2, backoff: {initial_interval: 20ms, multiplier: 2, max_interval: 100ms, jitter: 0}}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 100ms, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
  act: {handler: chaos.act_sql, routes: {ok: acted, other: drop}}
  acted: {final: true}
"""
TABLE = """
create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity bigint);
create table causes (origin text primary key, sql text);
create function cause() returns trigger language plpgsql as $$
declare cause text;
begin
    select sql into cause from causes where origin = new.origin;
    if found then execute cause; end if;
    return new;
end $$;
create trigger cause after insert on effects for each row execute function cause();
"""


class SqlCase(PipelineCase):
    yaml = YAML
    table = TABLE

    def setUp(self):
        super().setUp()
        if self.table:
            self.rows(self.table)

    def cause(self, origin, sql):
        self.rows("insert into causes values ('%s', '%s')" % (origin, sql.replace("'", "''")))

    def one(self, origin, key=None, **data):
        return self.event({"k": key or origin, "origin": origin, "seq": 1, **data})

    def handled(self):
        return {row[0] for row in self.rows("select distinct origin from effects")}

    def lines(self, text):
        return [line for engine in self.engines for line in engine.log if text in line]
