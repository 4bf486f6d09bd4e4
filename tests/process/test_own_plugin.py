#!/usr/bin/env python3
"""A plugin of one's own, outside of the tree, as somebody writes it who has read the guide: with tables, beside a
pipeline in a folder of its own. Run, and asked what became of its events by their ids.

Run alone: python3 tests/process/test_own_plugin.py [-k NAME].
"""
import os
import shutil
import subprocess
import unittest

import _path
from lib.engine import ROOT, sluice
from lib.pipeline_case import EFFECTS, PipelineCase

PLUGIN = """
#include "sluice/plugin.h"
struct judge { struct sluice_text sensor; double celsius; };
static const struct sluice_field judge_input[] = {
    SLUICE_TEXT(struct judge, sensor, .min = 1, .max = 40, .help = "which sensor"),
    SLUICE_DOUBLE(struct judge, celsius, .help = "its temperature"),
    {0},
};
enum { FINE, HOT, UNKNOWN };
static const struct sluice_outcome judge_outcomes[] = {
    [FINE] = {"fine", "in range"}, [HOT] = {"hot", "above its limit"}, [UNKNOWN] = {"unknown", "no such sensor"}, {0}};
static const struct sluice_field judge_sets[] = {
    SLUICE_SETS_DOUBLE("limit", .help = "of the sensor"), SLUICE_SETS_BOOL("known", .help = "whether it is"),
    SLUICE_SETS_JSON("place", .help = "where it is"), {0}};
static const struct sluice_sql judge_sql = {
    "with r as (select * from unnest($1, $2) with ordinality u(sensor, celsius, n)),"
    " w as (insert into reading select sensor, celsius from r join sensor using (sensor))"
    " select max_celsius, to_jsonb(place) from r left join sensor using (sensor) order by n"};
static void judge(void *state, struct sluice_call *call)
{
    static const struct sluice_text yes = {"true", 4};
    const struct sluice_host *host = call->host;
    const struct judge *in = call->inputs;
    const struct sluice_param params[] = {SLUICE_EACH_TEXT(struct judge, sensor),
                                          SLUICE_EACH_DOUBLE(struct judge, celsius)};
    const struct sluice_rows *rows = host->query(call, &judge_sql, 2, params);
    (void)state;
    for (uint32_t n = 0; rows != NULL && n < call->count; n++) {
        if (host->is_null(rows, n, 0)) {
            host->outcome(call, n, UNKNOWN);
            continue;
        }
        host->set_json(call, n, "limit", (struct sluice_text){"8.5", 3});
        host->set_json(call, n, "known", yes);
        host->set_json(call, n, "place", host->get_text(rows, n, 1));
        host->outcome(call, n, in[n].celsius > host->get_double(rows, n, 0) ? HOT : FINE);
    }
}
static const struct sluice_handler handlers[] = {
    {.name = "judge", .help = "judge a reading", .input = judge_input, .input_size = sizeof(struct judge),
     .outcomes = judge_outcomes, .sets = judge_sets, .max_events = 100, .uses_store = 1, .handle = judge}, {0}};
SLUICE_PLUGIN(.name = "thermo", .version = "1.0.0", .help = "judges temperatures", .handlers = handlers)
"""
TABLES = """
create table sensor (sensor text primary key, place text not null, max_celsius double precision not null);
create table reading (sensor text not null references sensor, celsius double precision not null);
"""
YAML = """
pipeline: cold-chain
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
plugins: {thermo: {library: ../thermo/thermo.so%(migrations)s}}
topics:
  reading.raw:
    key: "{sensor}"
    handler: thermo.judge
    routes:
      fine: reading.fine
      hot: alarm.raised
      unknown: {retry: reading.retry, initial_interval: 100ms, multiplier: 2, max_retries: 2, exhausted: reading.orphan}
  reading.fine: {final: true}
  alarm.raised: {final: true}
  reading.orphan: {final: true}
"""


class OwnPlugin(PipelineCase):
    def setUp(self):
        super().setUp()
        self.thermo, self.cold = self.folder / "thermo", self.folder / "cold"
        self.thermo.mkdir()
        self.cold.mkdir()
        (self.thermo / "thermo.c").write_text(PLUGIN)
        cc = [os.environ.get("CC", "cc").split()[-1], "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(
            [*cc, "-Wno-missing-field-initializers", f"-I{ROOT}/engine/include", "-o", "thermo.so", "thermo.c"],
            cwd=self.thermo,
            check=True,
        )
        self.config = self.cold / "pipeline.yaml"

    def write(self, sql, migrations=""):
        """The pipeline, and the plugin's tables."""
        self.config.write_text(YAML % {"migrations": migrations})
        sql.mkdir(parents=True)
        (sql / "0001_tables.sql").write_text(TABLES)

    def test_its_tables_beside_its_library(self):
        self.write(self.thermo / "sql")
        self.run_it()

    def test_its_tables_in_a_folder_of_its_name(self):
        """As where many libraries are in one folder, each with its own, which counts before `sql`."""
        self.write(self.thermo / "thermo/sql")
        (self.thermo / "sql").mkdir()
        (self.thermo / "sql/0001_other.sql").write_text("create table other ()")
        self.migrated()

    def test_its_tables_beside_the_pipeline(self):
        self.write(self.cold / "sql", ", migrations: sql")
        self.migrated()

    def test_a_folder_of_tables_that_is_not_there(self):
        self.config.write_text(YAML % {"migrations": ", migrations: sqk"})
        for command in (["migrate"], ["validate"], ["run"]):
            done = sluice(*command, self.config, env=self.vars, check=False)
            self.assertEqual(done.returncode, 78, command)
            self.assertIn(
                f"{self.config}:5:62: error: plugins.thermo.migrations: cannot read the folder {self.cold}/sqk: ",
                done.stderr,
            )

    def test_a_folder_of_tables_for_two(self):
        (self.thermo / "sql").mkdir()
        (self.thermo / "sql/0001_tables.sql").write_text(TABLES)
        shutil.copy(EFFECTS, self.thermo / "effects.so")
        text = (YAML % {"migrations": ""}).replace("plugins: {", "plugins: {effects: {library: ../thermo/effects.so}, ")
        self.config.write_text(text)
        done = sluice("migrate", self.config, env=self.vars, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the plugins 'effects' and 'thermo' would both have the migrations in ", done.stderr)
        self.assertIn("or say it in plugins.thermo.migrations", done.stderr)

    def migrated(self):
        self.assertIn("applied thermo/0001_tables.sql", sluice("migrate", self.config, env=self.vars).stdout)

    def run_it(self):
        self.migrated()
        self.rows("insert into sensor values ('s1', 'fridge A', 8.5)")
        engine = self.engine(args=["--log-level", "info"])
        for event, data in {
            "fine-1": {"sensor": "s1", "celsius": 5},
            "hot-1": {"sensor": "s1", "celsius": 9.25},
            "lost-1": {"sensor": "s2", "celsius": 1},
            "bad-1": {"sensor": "s1", "celsius": "warm"},
        }.items():
            self.emit("reading.raw", self.event(data, event))
        self.await_topic("reading.orphan", 1)
        self.drain()
        self.assertIn('"limit":8.5,"known":true,"place":"fridge A"', self.topic("alarm.raised")[0]["value"])
        self.assertEqual(self.value("select count(*) from reading"), "2")
        self.explained("hot-1", "reading.raw", "alarm.raised")
        self.explained("lost-1", "reading.raw", "reading.retry", "reading.retry", "reading.orphan")
        self.explained("bad-1", "reading.raw", "reading.raw-dlt")
        said = sluice("explain", self.config, "nobody", env=self.vars).stdout
        self.assertIn("no value of an event's data, and no event's id", said)
        self.assertEqual({record["topic"] for record in self.topic("*-dlt")}, {"reading.raw-dlt"})
        self.assertEqual(len(self.topic("reading.*ry", "alarm.raised")), 3)
        self.assertEqual(engine.stop(), 0)

    def explained(self, event, *topics):
        said = sluice("explain", self.config, event, env=self.vars).stdout
        found = [word for line in said.splitlines()[1:] for word in line.split() if word.startswith(("reading.", "al"))]
        self.assertEqual(found, list(topics), said)


if __name__ == "__main__":
    unittest.main()
