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
# Three files that work together, with everything that is drawn between them.
HEAD = f"""bus: {{kind: kafka, partitions: 6, properties: {{bootstrap.servers: "127.0.0.1:9"}}}}
store: {{url: "postgresql:///x"}}
plugins: {{shop: {{library: "{SHOP}"}}}}
"""
TOGETHER = {
    "front": """outbox_table: {name: front.outbox, topics: ["pay*"]}
topics:
  pay: {key: "{orderId}", elsewhere: true}
  remind: {key: "{orderId}", handler: shop.send, routes: {sent: drop}}
  pay.again: {handler: shop.send, routes: {sent: drop}}
http: {requests: {"POST /orders": {handler: shop.accept, routes: {accepted: [pay, {topic: remind, delay: 10m}]}}}}
""",
    "pay": """topics:
  pay:
    key: "{orderId}"
    handler: shop.charge
    routes: {success: paid, duplicate: drop, declined: {retry: pay.again, max_retries: 1, exhausted: lost}}
  back:
    key: "{orderId}"
    handler: shop.refund
    after: {topic: pay, correlate: orderId, at_most: 10m, then: handle}
    routes: {refunded: given}
  lost: {elsewhere: true}
  given: {final: true}
  booked: {}
chains:
  order:
    correlate: orderId
    steps: [{name: pay, done: paid, undo: back}, {name: seat, done: booked, undo: none}]
    abort_on: [lost]
    timers: [{after: 5m, from: paid, emit: lost, cancel_on: [booked]}]
""",
    "seats": """topics:
  paid: {handler: shop.confirm, routes: {success: booked, failure: lost}}
  booked: {elsewhere: true}
  lost: {elsewhere: true}
taps: {watch: {topics: ["paid", "booked", "lost"], handler: shop.send}}
""",
}


def area(rect):
    return tuple(int(rect.getAttribute(side)) for side in ("x", "y", "width", "height"))


def meet(one, other):
    (x, y, width, height), (other_x, other_y, other_width, other_height) = one, other
    return x < other_x + other_width and other_x < x + width and y < other_y + other_height and other_y < y + height


def within(one, other):
    (x, y, width, height), (other_x, other_y, other_width, other_height) = one, other
    return x >= other_x and y >= other_y and x + width <= other_x + other_width and y + height <= other_y + other_height


class Drawing:
    """What an SVG shows: boxes and frames as areas, labels as about as wide as they are."""

    def __init__(self, text):
        document = xml.dom.minidom.parseString(text)
        rects = document.getElementsByTagName("rect")
        texts = document.getElementsByTagName("text")
        self.page = tuple(int(document.documentElement.getAttribute(side)) for side in ("width", "height"))
        self.texts = [node.firstChild.data for node in texts]
        self.frames = [area(rect) for rect in rects if rect.getAttribute("class") == "frame"]
        self.boxes = [area(rect) for rect in rects if rect.getAttribute("class") not in ("frame", "paper")]
        self.labels = [self.label(node) for node in texts if node.getAttribute("class") == "label"]
        self.titles = [node.firstChild.data for node in texts if node.getAttribute("class") == "title"]

    @staticmethod
    def label(node):
        width = 6 * len(node.firstChild.data)
        return int(node.getAttribute("x")) - width // 2, int(node.getAttribute("y")) - 10, width, 12


def area_of_page(drawing):
    return 0, 0, *drawing.page


def check_drawing(test, drawing):
    """Nothing covers a box or a label, and nothing is cut off at the page's edge."""
    shown = drawing.boxes + drawing.labels
    for i, one in enumerate(shown):
        test.assertTrue(within(one, area_of_page(drawing)), one)
        for other in shown[:i]:
            test.assertFalse(meet(one, other), f"{one} and {other} cover each other")


def arrows(text, pattern):
    return re.findall(pattern, text, re.M)


class Together(unittest.TestCase):
    """Several files: one drawing, a cluster each, joined at the topics that they share."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="sluice-graph-")
        cls.addClassCleanup(folder.cleanup)
        cls.files = [pathlib.Path(folder.name) / f"{name}.yaml" for name in TOGETHER]
        for file in cls.files:
            file.write_text(f"pipeline: {file.stem}\n{HEAD}{TOGETHER[file.stem]}")

    def graph(self, form, *files):
        done = sluice("graph", *(files or self.files), "--format", form, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_text(self):
        blocks = {text.splitlines()[0]: text for text in re.split(r"\n\n(?=\w)", self.graph("text"))}
        self.assertEqual([*blocks], ["front", "pay", "seats"])
        for file in self.files:  # as alone, and who else is there
            alone = [line for line in self.graph("text", file).splitlines()]
            lines = [line for line in blocks[file.stem].splitlines() if not re.match("      (emitted|read) by ", line)]
            self.assertEqual(lines, alone)
        self.assertIn(
            "[pay]  key {orderId}  elsewhere\n      emitted by   front\n      read by      pay\n", blocks["front"]
        )
        self.assertIn("\n  outbox table front.outbox  gets pay*", blocks["front"])
        self.assertIn(
            "[pay.again]  retries of pay, same handler\n      emitted by   pay\n      read by      front, pay\n",
            blocks["pay"],
        )
        self.assertIn(
            "[lost]  elsewhere\n      emitted by   pay, seats\n      read by      pay, seats\n", blocks["seats"]
        )

    def test_json(self):
        graph = json.loads(self.graph("json"))
        self.assertEqual([pipeline["pipeline"] for pipeline in graph["pipelines"]], ["front", "pay", "seats"])
        for file, pipeline in zip(self.files, graph["pipelines"], strict=True):
            self.assertEqual(pipeline, json.loads(self.graph("json", file)))
        self.assertEqual(graph["pipelines"][0]["outboxTable"], {"name": "front.outbox", "topics": ["pay*"]})
        shared = {topic["topic"]: (topic["emittedBy"], topic["readBy"]) for topic in graph["shared"]}
        self.assertEqual(
            shared,
            {
                "pay": (["front"], ["pay"]),
                "pay.again": (["pay"], ["front", "pay"]),
                "paid": (["pay"], ["pay", "seats"]),
                "booked": (["seats"], ["pay", "seats"]),
                "lost": (["pay", "seats"], ["pay", "seats"]),
            },
        )

    def test_mermaid_and_dot(self):
        mermaid, dot = self.graph("mermaid"), self.graph("dot")
        ends = {}  # of a box: its cluster
        for cluster, lines in arrows(dot, r"^  subgraph \w+ \{\n.*\n  label=\"(\w+)\";\n((?:  \w+ \[.*\n)+)  \}"):
            ends |= dict.fromkeys(arrows(lines, r"^  (\w+) \["), cluster)
        other = {}
        for cluster, lines in arrows(mermaid, r"^  subgraph \w+ \[\"(\w+)\"\]\n((?:  \w+[^\w \n].*\n)+)  end$"):
            other |= dict.fromkeys(arrows(lines, r"^  (\w+)"), cluster)
        self.assertEqual(ends, other)
        topics = {name: ends[f"t_{name}"] for name in ("pay", "pay_again", "paid", "booked", "lost", "remind", "given")}
        self.assertEqual(
            topics,
            {"pay": "front", "remind": "front", "booked": "seats"}
            | dict.fromkeys(("pay_again", "paid", "lost", "given"), "pay"),
        )
        one = arrows(mermaid, r"^  (\w+) [-=.]+>(?:\|.*\|)? (\w+)$")
        two = arrows(dot, r"^  (\w+) -> (\w+) ")
        self.assertEqual(one, two)
        self.assertLessEqual({end for arrow in two for end in arrow}, set(ends))
        between = {(ends[a], ends[b]) for a, b in two} - {(name, name) for name in TOGETHER}
        self.assertEqual(between, {("front", "pay"), ("pay", "front"), ("pay", "seats"), ("seats", "pay")})
        for label in ("accepted, after 10m", "declined, 1 retry", "timer, after 5m", "before, by orderId", "undo pay"):
            self.assertIn(f'[label="{label}"', dot)
        self.assertIn('table_front_outbox [label="front.outbox", shape=cylinder]', dot)
        self.assertIn("t_pay -> table_front_outbox", dot)

    def check_svg(self, text, names):
        drawing = Drawing(text)
        self.assertEqual(drawing.titles, names)
        self.assertEqual(len(drawing.frames), len(names))
        check_drawing(self, drawing)
        for i, frame in enumerate(drawing.frames):
            self.assertTrue(within(frame, area_of_page(drawing)))
            self.assertFalse(any(meet(frame, other) for other in drawing.frames[:i]))
        for box in drawing.boxes:
            self.assertEqual(sum(within(box, frame) for frame in drawing.frames), 1, box)
        self.assertIn("prefers-color-scheme:dark", text)
        return drawing

    def test_svg(self):
        drawing = self.check_svg(self.graph("svg"), [*TOGETHER])
        for wanted in ("pay.again", "before, by orderId", "timer, after 5m", "outbox table front.outbox gets pay*"):
            self.assertEqual(drawing.texts.count(wanted), 1, wanted)
        services = sorted((ROOT / "config" / "services").glob("*.yaml"))
        done = sluice("graph", *services, "--format", "svg", env={"DATABASE_URL": "postgresql:///x"})
        self.check_svg(done.stdout, ["gateway", "payment", "reservation"])

    def test_a_circle_stays_small(self):
        """An undo leads back to its chain, and a ladder to its handler: as many layers as there are boxes at most."""
        file = self.files[0].with_name("round.yaml")
        text = TOGETHER["pay"].replace("undo: back}", "undo: back, undone: given}")
        file.write_text(f"pipeline: round\n{HEAD}{text}")
        drawing = Drawing(self.graph("svg", file))
        check_drawing(self, drawing)
        self.assertIn("undone pay", drawing.texts)
        self.assertLess(drawing.page[0], 2500)

    def test_what_is_wrong_between_them_is_said(self):
        other = self.files[1].with_name("other.yaml")
        other.write_text(self.files[1].read_text().replace("pipeline: pay", "pipeline: other"))
        for words in (self.files[0], [self.files[1], other]):
            words = words if isinstance(words, list) else [words, other]
            done = sluice("graph", *words, check=False)
            told = sluice("validate", *words, check=False)
            self.assertEqual((done.returncode, done.stdout), (78, ""))
            self.assertEqual(done.stderr, told.stderr[: len(done.stderr)])
            self.assertIn("error: ", done.stderr)


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
        drawing = Drawing(self.graph("svg"))
        for wanted in ["POST /orders", "pay", "pay.again", "shop.confirm", "order", 'undo the "pay" <step>', "late"]:
            self.assertIn(wanted, drawing.texts)
        self.assertEqual(drawing.texts.count("shop.charge"), 2)  # two topics with routes of their own
        self.assertGreater(len(drawing.boxes), 10)
        self.assertEqual(drawing.frames, [])
        check_drawing(self, drawing)

    def test_mermaid_and_dot(self):
        mermaid, dot = self.graph("mermaid"), self.graph("dot")
        self.assertTrue(mermaid.startswith("flowchart LR\n"))
        self.assertIn('|"undo the #quot;pay#quot; <step>"|', mermaid)
        self.assertIn('[label="undo the \\"pay\\" <step>", style=bold]', dot)
        # Both draw the same arrows, between boxes that exist.
        one = arrows(mermaid, r"^  (\w+) [-=.]+>(?:\|.*\|)? (\w+)$")
        two = arrows(dot, r"^  (\w+) -> (\w+) ")
        self.assertEqual(one, two)
        self.assertGreater(len(one), 15)
        declared = set(arrows(dot, r"^  (\w+) \[label"))
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
