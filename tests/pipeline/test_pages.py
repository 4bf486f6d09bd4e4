#!/usr/bin/env python3
"""What the program says about pipelines: drawings in every format, the schema, the reference page; and validate's own
manners."""
import json
import pathlib
import re
import tempfile
import unittest
import xml.dom.minidom

import _path
from lib.engine import BUILD, sluice

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHOP = BUILD / "tests" / "plugins" / "shop.so"
ORDERS = f"""pipeline: orders
bus: {{kind: memory}}
store: {{url: "postgresql://me:${{PASSWORD}}@db/x"}}
plugins: {{shop: {{library: "{SHOP}", settings: {{token: "${{PASSWORD}}"}}}}}}
topics:
  pay:
    key: "{{orderId}}"
    handler: shop.charge
    routes: {{success: paid, duplicate: drop, declined: {{retry: pay.again, max_retries: 3, exhausted: lost}}}}
  paid: {{handler: shop.confirm, routes: {{success: kept, failure: lost}}}}
  back: {{handler: shop.refund, routes: {{refunded: drop}}}}
  rent: {{key: "{{orderId}}", handler: shop.charge, routes: {{success: kept, duplicate: drop, declined: lost}}}}
  kept: {{final: true}}
chains:
  order: {{correlate: orderId, steps: [{{name: 'the "pay" <step>', done: paid, undo: back}}], abort_on: [lost]}}
taps: {{watch: {{topics: ["pa*"], handler: shop.send}}}}
schedules: {{late: {{every: 90s, handler: shop.expire, routes: {{timeout: lost}}}}}}
http: {{requests: {{"POST /orders": {{handler: shop.accept, routes: {{accepted: pay}}}}}}}}
"""
TEXT = """orders

  POST /orders  shop.accept
      accepted     → pay

  every 90s  late  shop.expire
      timeout      → lost

  [pay]  key {orderId}  shop.charge
      success      → paid
      duplicate    nothing
      declined     → pay.again, again after 1s (× 2), 3 times, then → lost

  [paid]  shop.confirm
      success      → kept
      failure      → lost
      chain order: does step the "pay" <step>

  [pay.again]  retries of pay, same handler

  [lost]  no handler
      chain order: aborts it

  [kept]  final

  [back]  shop.refund
      refunded     nothing
      chain order: undoes step the "pay" <step>

  [rent]  key {orderId}  shop.charge
      success      → kept
      duplicate    nothing
      declined     → lost

  tap watch  shop.send  watches pa*
"""


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="sluice-pages-")
        cls.path = pathlib.Path(cls.folder.name) / "orders.yaml"
        cls.path.write_text(ORDERS)
        cls.env = {"PASSWORD": "hunter2hunter2"}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def graph(self, name):
        said = sluice("graph", self.path, "--format", name, env=self.env)
        self.assertNotIn("hunter2", said.stdout + said.stderr)
        return said.stdout

    def test_text(self):
        self.assertEqual(self.graph("text"), TEXT)
        self.assertEqual(sluice("graph", self.path, env=self.env).stdout, TEXT)

    def test_json(self):
        graph = json.loads(self.graph("json"))
        topics = {topic["name"]: topic for topic in graph["topics"]}
        self.assertEqual(set(topics), {"pay", "paid", "pay.again", "lost", "kept", "back", "rent"})
        self.assertEqual(topics["pay.again"]["retriesOf"], "pay")
        self.assertEqual(topics["pay"]["deadLetter"], "pay-dlt")
        self.assertEqual(topics["pay"]["routes"]["declined"]["maxRetries"], 3)
        self.assertIsNone(topics["pay"]["routes"]["duplicate"])
        self.assertEqual(graph["chains"][0]["steps"][0]["undo"], "back")

    def test_svg_is_xml_and_its_boxes_do_not_meet(self):
        document = xml.dom.minidom.parseString(self.graph("svg"))
        texts = [node.firstChild.data for node in document.getElementsByTagName("text")]
        for wanted in ["POST /orders", "pay", "pay.again", "shop.confirm", "order", 'undo the "pay" <step>', "late"]:
            self.assertIn(wanted, texts)
        self.assertEqual(texts.count("shop.charge"), 2)  # two topics with routes of their own
        boxes = [
            tuple(int(rect.getAttribute(side)) for side in ("x", "y", "width", "height"))
            for rect in document.getElementsByTagName("rect")
            if rect.getAttribute("class")
        ]
        self.assertGreater(len(boxes), 10)
        for i, (x, y, width, height) in enumerate(boxes):
            for other_x, other_y, other_width, other_height in boxes[:i]:
                self.assertTrue(
                    x + width <= other_x
                    or other_x + other_width <= x
                    or y + height <= other_y
                    or other_y + other_height <= y,
                    "two boxes cover each other",
                )

    def arrows(self, text, pattern):
        return re.findall(pattern, text, re.M)

    def test_mermaid_and_dot(self):
        mermaid, dot = self.graph("mermaid"), self.graph("dot")
        self.assertTrue(mermaid.startswith("flowchart LR\n"))
        self.assertIn('|"undo the #quot;pay#quot; <step>"|', mermaid)
        self.assertIn('[label="undo the \\"pay\\" <step>", style=bold]', dot)
        # Both draw the same arrows, between boxes that exist.
        one = self.arrows(mermaid, r"^  (\w+) [-=.]+>(?:\|.*\|)? (\w+)$")
        two = self.arrows(dot, r"^  (\w+) -> (\w+) ")
        self.assertEqual(one, two)
        self.assertGreater(len(one), 15)
        declared = set(self.arrows(dot, r"^  (\w+) \[label"))
        self.assertLessEqual({end for arrow in two for end in arrow}, declared)

    def test_generated_pages_are_fresh(self):
        for name, path in [("configuration", "docs/configuration.md"), ("schema", "docs/pipeline.schema.json")]:
            fresh = sluice("version", "--reference", name).stdout
            self.assertEqual(fresh, (ROOT / path).read_text(), f"build/sluice version --reference {name} > {path}")

    def test_validate_speaks_to_programs(self):
        bad = pathlib.Path(self.folder.name) / "bad.yaml"
        bad.write_text("pipeline: x\nbus: {kind: memry}\nplugins: {}\nhttp: {token: plain}\n")
        done = sluice("validate", bad, "--json", check=False)
        self.assertEqual(done.returncode, 78)
        found = json.loads(done.stdout)
        self.assertEqual(
            [(p["level"], p["code"], p["line"], p["column"]) for p in found],
            [("error", "bad_value", 2, 13), ("warning", "literal_secret", 4, 15)],
        )
        bad.write_text("pipeline: x\nbus: {kind: memory}\nplugins: {}\nhttp: {token: plain}\n")
        self.assertEqual(sluice("validate", bad).returncode, 0)
        self.assertEqual(sluice("validate", bad, "--deny-warnings", check=False).returncode, 78)
        self.assertEqual(sluice("validate", check=False).returncode, 2)
        self.assertEqual(sluice("validate", "--nonsense", bad, check=False).returncode, 2)

    def test_shipped_configurations_are_good(self):
        for path in sorted((ROOT / "config").glob("*.yaml")):
            said = sluice("validate", "--deny-warnings", path, env={"DATABASE_URL": "postgresql:///x"}, check=False)
            self.assertEqual(said.returncode, 0, said.stderr)


class Schema(unittest.TestCase):
    """The schema against files as an editor's JSON: no validator is installed everywhere, and these are the words it
    uses."""

    SAMPLE = {
        "pipeline": "ticketing",
        "bus": {"kind": "postgres"},
        "store": {"url": "${DATABASE_URL}"},
        "engine": {"lanes": 4, "batch": {"max_events": 500}},
        "plugins": {"payment": {"library": "payment.so", "settings": {"amount_max": 10000000}}},
        "defaults": {
            "retry": {"max_retries": 5, "backoff": {"initial_interval": "200ms", "multiplier": 2, "jitter": 0.2}},
            "timeout": "10s",
        },
        "topics": {
            "payment.try": {
                "key": "{userId}",
                "handler": "payment.charge",
                "routes": {
                    "success": "payment.success",
                    "duplicate": "drop",
                    "declined": {
                        "retry": "payment.retry",
                        "initial_interval": "1s",
                        "max_retries": 3,
                        "exhausted": "payment.failure",
                    },
                },
            },
            "payment.failure": None,
        },
        "chains": {
            "purchase": {"correlate": "id", "steps": [{"name": "a", "done": "b", "undo": "none"}], "abort_on": ["c"]}
        },
        "taps": {"t": {"topics": ["payment.*"], "handler": "d.send", "batch": {"max_wait": "1s"}}},
        "schedules": {"s": {"every": "1s", "handler": "r.expire", "routes": {"timeout": "c"}}},
        "http": {
            "listen": "127.0.0.1:8080",
            "max_body": "64KiB",
            "requests": {"POST /payments": {"handler": "payment.accept"}},
        },
    }
    KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}

    @classmethod
    def setUpClass(cls):
        cls.schema = json.loads((ROOT / "docs" / "pipeline.schema.json").read_text())

    def is_kind(self, kind, value):
        if kind in ("integer", "number"):
            return not isinstance(value, bool) and isinstance(value, int if kind == "integer" else (int, float))
        return isinstance(value, self.KINDS[kind])

    def fits(self, schema, value):
        if "$ref" in schema:
            return self.fits(self.schema["$defs"][schema["$ref"].rsplit("/", 1)[1]], value)
        if "anyOf" in schema and not any(self.fits(each, value) for each in schema["anyOf"]):
            return False
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(self.is_kind(kind, value) for kind in kinds):
            return False
        if "enum" in schema and value not in schema["enum"]:
            return False
        if isinstance(value, str):
            return len(value) >= schema.get("minLength", 0) and re.search(schema.get("pattern", ""), value) is not None
        if isinstance(value, list):
            return len(value) >= schema.get("minItems", 0) and all(self.fits(schema["items"], each) for each in value)
        if isinstance(value, dict):
            names, others = schema.get("properties", {}), schema.get("additionalProperties", True)
            return (
                all(name in value for name in schema.get("required", []))
                and all(self.fits(schema.get("propertyNames", {}), name) for name in value)
                and all(
                    (
                        self.fits(names[name], each)
                        if name in names
                        else others is True or (others is not False and self.fits(others, each))
                    )
                    for name, each in value.items()
                )
            )
        if value is not None and not isinstance(value, bool) and "minimum" in schema:
            return schema["minimum"] <= value <= schema["maximum"]
        return True

    def changed(self, path, value):
        sample = json.loads(json.dumps(self.SAMPLE))
        at = sample
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        return sample

    def test_the_sample_fits(self):
        self.assertTrue(self.fits(self.schema, self.SAMPLE))
        for path, value in [
            (["engine", "lanes"], "${LANES}"),
            (["engine", "drain_timeout"], "${WAIT:-5s}"),
            (["defaults", "timeout"], "7d"),
            (["topics"], None),
            (["bus", "kind"], "${BUS}"),
        ]:
            self.assertTrue(self.fits(self.schema, self.changed(path, value)), path)

    def test_what_validate_refuses_does_not(self):
        for path, value in [
            (["topic"], {}),
            (["bus", "kind"], "rabbit"),
            (["engine", "lanes"], 0),
            (["engine", "lanes"], "4"),
            (["engine", "lanes"], True),
            (["engine", "lanes"], 1.5),
            (["defaults", "timeout"], 10),
            (["defaults", "timeout"], "10"),
            (["defaults", "timeout"], "1.5s"),
            (["http", "max_body"], "64KB"),
            (["topics", "payment.try", "handlers"], "x"),
            (["topics", "payment.try", "routes", "declined"], {"retry": "x"}),
            (["chains", "purchase", "steps"], []),
            (["chains", "purchase", "steps", 0], {"name": "a", "done": "b"}),
            (["taps", "t", "topics"], "payment.*"),
            (["http", "requests", "payments"], {"handler": "x.y"}),
            (["store"], {}),
            (["plugins", "payment"], {}),
            (["bus", "properties"], {"group.id": "x"}),
        ]:
            self.assertFalse(self.fits(self.schema, self.changed(path, value)), f"{path} = {value}")
        self.assertFalse(
            self.fits(self.schema, {key: value for key, value in self.SAMPLE.items() if key != "pipeline"})
        )


if __name__ == "__main__":
    unittest.main()
