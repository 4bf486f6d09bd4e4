#!/usr/bin/env python3
"""`sluice test` names the SQL that tells the server's time in place of the test's: of migrations with file and line.

Run alone: python3 tests/process/test_flow_clock.py
"""
import unittest

import _path
from flow_case import OnAServer, run

PIPELINE = """\
pipeline: small
bus: {kind: memory}
store: {url: "${DATABASE_URL}"}
plugins: {template: {library: template.so, migrations: sql}}
topics:
  wanted: {key: "{name}", handler: template.greet, routes: {done: said}}
  said: {final: true}
"""
FIRST = """\
create table notes (id int, at timestamptz default current_timestamp, seen timestamptz default now());
create function right_now() returns timestamptz language sql as $$ select now() $$; -- not current_timestamp
create function named() returns text language sql as $$ select 'current_timestamp' /* localtime */ $$;
create function once_wrong() returns timestamptz language sql as $$ select current_timestamp $$;
create function wrong(a int) returns timestamptz language plpgsql as $$
begin
  -- current_timestamp would be wrong
  return localtimestamp;
end $$;
"""
SECOND = """\
create or replace function once_wrong() returns timestamptz language sql as $$ select now() $$;
create view today as select current_date as day, 'localtime'::text as word;
create function whole() returns timestamptz return pg_catalog.clock_timestamp();
"""
TESTS = """\
pipeline: pipeline.yaml
given: {sql: "prepare theirs as select 'now', current_timestamp"}
tests:
  - {name: one, steps: [{emit: {topic: wanted, data: {name: Ada}}}], expect: {events: [wanted, said]}}
  - name: two
    given: {sql: "prepare ours as select 'localtime', now()"}
    steps: [run]
    expect: {events: []}
"""


class Clock(OnAServer):
    def test_what_does_not_follow(self):
        """In bodies, views, defaults and statements, each once; not in strings and comments, nor what was replaced."""
        (self.folder / "sql").mkdir()
        (self.folder / "sql/0001_first.sql").write_text(FIRST)
        (self.folder / "sql/0002_second.sql").write_text(SECOND)
        (self.folder / "pipeline.yaml").write_text(PIPELINE)
        file = self.folder / "flows.yaml"
        file.write_text(TESTS)
        done = run(file, url=self.postgres.url)
        self.assertEqual(done.returncode, 0, done.stdout)
        server = "which is the server's time, not the test's; call now()"
        first, second = (self.folder / "sql" / name for name in ("0001_first.sql", "0002_second.sql"))
        self.assertEqual(
            sorted(done.stderr.splitlines()),
            sorted(
                (
                    f"{first}:1: warning: the default of notes.at calls CURRENT_TIMESTAMP, {server}",
                    f"{first}:8: warning: function wrong(integer) calls localtimestamp, {server}",
                    f"{second}:2: warning: view today calls CURRENT_DATE, {server}",
                    f"{second}:3: warning: function whole() calls clock_timestamp, {server}",
                    f"{file}: warning: a handler's statement calls current_timestamp, {server}: "
                    "prepare theirs as select 'now', current_timestamp",
                )
            ),
        )


if __name__ == "__main__":
    unittest.main()
