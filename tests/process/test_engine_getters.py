#!/usr/bin/env python3
"""Every function that reads a column, on a column of every type: those that sluice/plugin.h promises give the value,
every other one is a fault that names itself; none gives a 0 that nobody is told of. test_engine_contract_fake.py asks
the fake host.

Run alone: python3 tests/process/test_engine_getters.py [-k NAME].
"""
import json
import unittest

import _path
from lib.pipeline_case import PipelineCase, reason

YAML = """pipeline: getters
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 1}
plugins: {chaos: {library: "${CHAOS_SO}"}}
topics:
  act: {handler: chaos.act_sql, routes: {ok: out, other: drop}}
  out: {final: true}
"""
GETTERS = {"int": "get_int64", "double": "get_double", "text": "get_text"}
# The types that a function reads, and the field and value that chaos makes of what it got.
PROMISED = {
    "int": {**dict.fromkeys(("smallint", "int", "bigint", "timestamptz"), ("number", 7)), "boolean": ("number", 1)},
    "double": dict.fromkeys(("real", "double"), ("ratio", 1.5)),
    "text": {
        **dict.fromkeys(("text", "varchar", "char", "bytea"), ("note", "x")),
        **dict.fromkeys(("json", "jsonb"), ("note", "7")),
    },
}
OTHERS = (
    "numeric fraction count date time timestamp interval uuid name oid money inet xid ints texts bit range record"
).split()
TYPES = [*OTHERS, *{type for types in PROMISED.values() for type in types}]


class Getters(PipelineCase):
    yaml = YAML

    def test_every_getter_of_every_type(self):
        self.rows("create table kept (n bigserial)")
        modes = {f"get_{getter}_of_{type}": (getter, type) for getter in GETTERS for type in TYPES}
        self.emit("act", *[self.event({"mode": mode}) for mode in modes])
        self.engine()
        good = sum(len(types) for types in PROMISED.values())
        out = {
            json.loads(r["value"])["data"]["mode"]: json.loads(r["value"])["data"]
            for r in self.await_topic("out", good)
        }
        letters = {
            json.loads(letter["value"])["data"]["mode"]: letter
            for letter in self.await_topic("act-dlt", len(modes) - good, 60)
        }
        for mode, (getter, type) in modes.items():
            with self.subTest(mode):
                if type in PROMISED[getter]:
                    field, value = PROMISED[getter][type]
                    self.assertEqual(out[mode][field], value)
                else:
                    self.assertEqual(reason(letters[mode]), "plugin_fault")
                    self.assertIn(
                        f"called {GETTERS[getter]}() for column 0, which has another type",
                        letters[mode]["headers"]["kafka_dlt-exception-message"],
                    )
        self.assertEqual(int(self.value("select count(*) from kept")), good, "a fault leaves nothing")


if __name__ == "__main__":
    unittest.main(verbosity=2)
