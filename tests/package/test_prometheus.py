#!/usr/bin/env python3
"""The alert rules and the Grafana board: promtool takes the rules, each fires for what it is for and not for what is
well, and every metric and label that a rule or a panel names is one that the engine has.

Run alone: python3 tests/package/test_prometheus.py [-k NAME]
"""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import _path
from lib.engine import ROOT, Engine

RULES = ROOT / "config/prometheus/sluice.rules.yaml"
BOARD = ROOT / "config/grafana/sluice.json"
ALERT = re.compile(r"^      - alert: (\w+)$(.*?)(?=^      - alert:|\Z)", re.M | re.S)

# What a minute of each is that fires, and what is well. promtool's notation: first value, step, how many.
CASES = {
    "SluiceDown": ('up{job="sluice"}', "0x20", "1x20"),
    "SluiceStoreDown": ("sluice_store_up", "0x20", "1x20"),
    "SluiceOutboxStuck": ("sluice_outbox_oldest_seconds", "60x20", "40x20"),
    "SluicePartitionHalted": ('sluice_partition_halted{group="g",partition="t/3"}', "1x20", "0x20"),
    "SluiceNobodyReads": ('sluice_partitions{group="g"}', "0x20", "1x20"),
    "SluiceLag": ('sluice_lag{group="g"}', "20000+100x90", "20000-100x90"),
    "SluiceOutboxRefused": ("sluice_outbox_refused", "2x20", "0x20"),
    "SluiceHandlerStopped": ('sluice_handler_stopped{handler="h"}', "1x20", "0x20"),
    "SluiceChainsStuck": ("sluice_chains_stuck", "1x20", "0x20"),
    "SluiceChainsOld": ("sluice_chains_oldest_seconds", "4000x20", "3000x20"),
    "SluiceParkedUnknown": ("sluice_parked_unknown", "1x20", "0x20"),
    "SluiceHeldLong": ("sluice_held_oldest_seconds", "4000x20", "3000x20"),
    "SluiceWaitingKeys": ('sluice_waiting_keys{group="g"}', "1x90", "0x90"),
    "SluiceDeadLettersOpen": ('sluice_dead_letters_open{topic="t"}', "1x20", "0x20"),
    "SluiceDeadLettersRise": ('sluice_dead_letters_total{topic="t"}', "1+1x20", "5x20"),
    "SluiceDependencyOpen": ('sluice_dependency_state{dependency="d"}', "2x20", "0x20"),
    "SluiceRequestsFail": ('sluice_requests_total{route="r",code="503"}', "0+60x20", "0x20"),
    "SluiceDuplicates": ('sluice_duplicates_total{handler="h"}', "0+120x90", "0+6x90"),
    "SluiceLogLost": ("sluice_log_lost_total", "0+1x20", "7x20"),
}


def rules():
    """{name: (expression, what stands in annotations)}"""
    found = {}
    for name, body in ALERT.findall(RULES.read_text()):
        expression, rest = re.search(r"expr: (.*?)\n        (.*)", body, re.S).groups()
        while not rest.startswith(("for:", "labels:")):  # a folded one
            line, rest = rest.split("\n", 1)
            expression, rest = expression + " " + line, rest.strip()
        found[name] = (expression, rest)
    return found


def promtool(*words):
    program = shutil.which("promtool")
    if program is None:  # without its package, which would start a server
        cache = ROOT / "tests/.cache"
        program = cache / "prometheus/usr/bin/promtool"
        if not program.exists():
            cache.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, check=True)
                made = next(pathlib.Path(folder).glob("*.deb"))
                subprocess.run(["dpkg-deb", "-x", made, cache / "prometheus"], check=True)
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)


def metrics():
    """{name: set of labels} of docs/metrics.md, with the series that a histogram has."""
    known = {"up": {"job", "instance"}}
    for row in (ROOT / "docs/metrics.md").read_text().splitlines():
        if not row.startswith("| `sluice_"):
            continue
        name, kind, _, labels = [cell.strip() for cell in row.split("|")[1:5]]
        labels = set(re.findall(r"`(\w+)`", labels)) | {"job", "instance"}
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            known[name.strip("`") + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return known


def named(expression, text=""):
    """(metrics, labels) that an expression, and {{…}} in a text, name."""
    names = set(re.findall(r"\b(sluice_\w+|up)\b", expression))
    labels = {label for listed in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", listed)}
    labels |= set(re.findall(r"(\w+)\s*=~?\"", expression))
    labels |= set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text))
    return names, labels


class Prometheus(unittest.TestCase):
    def known(self, where, expression, text):
        every = metrics()
        names, labels = named(expression, text)
        self.assertTrue(names, f"{where} names no metric: {expression}")
        self.assertEqual(names - set(every), set(), f"{where}: no such metric")
        self.assertEqual(labels - set().union(*(every[name] for name in names)), set(), f"{where}: no such label")

    def test_promtool_takes_the_rules(self):
        done = promtool("check", "rules", RULES)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(rules())} rules found", done.stdout)

    def test_what_the_rules_name_exists(self):
        pages = (ROOT / "docs/operating.md").read_text()
        headings = {
            re.sub(r"[^a-z -]", "", line[3:].lower()).replace(" ", "-")
            for line in pages.splitlines()
            if line[:3] == "## "
        }
        for name, (expression, rest) in rules().items():
            self.known(name, expression, rest)
            anchor = re.search(r"see: docs/operating.md#(\S+)", rest)
            self.assertIsNotNone(anchor, name)
            self.assertIn(anchor[1], headings, name)

    def test_each_rule_fires_for_what_it_is_for(self):
        self.assertEqual(set(CASES), set(rules()))
        lines = [f"rule_files: [{RULES}]", "evaluation_interval: 1m", "tests:"]
        for name, (series, bad, good) in CASES.items():
            for values in (bad, good):
                job = (
                    series
                    if "job=" in series
                    else (series[:-1] + "," if "{" in series else series + "{") + 'job="sluice"}'
                )
                lines += ["  - interval: 1m", "    input_series:", f"      - {{series: '{job}', values: '{values}'}}"]
                if name == "SluiceRequestsFail":
                    lines.append(f"      - {{series: '{job.replace('503', '200')}', values: '0+60x20'}}")
                # Firing is a series of ALERTS; an alert that is well has none.
                samples = "[{labels: '{}', value: 1}]" if values == bad else "[]"
                at = values.rsplit("x", 1)[1] + "m"
                query = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
                lines += ["    promql_expr_test:", f"      - expr: {query}", f"        eval_time: {at}"]
                lines.append(f"        exp_samples: {samples}")
        with tempfile.TemporaryDirectory(prefix="sluice-rules-") as folder:
            path = pathlib.Path(folder) / "test.yaml"
            path.write_text("\n".join(lines) + "\n")
            done = promtool("test", "rules", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_the_board_names_exists(self):
        board = json.loads(BOARD.read_text())
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        self.assertGreater(len(panels), 20)
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        for panel in panels:
            for target in panel["targets"]:
                self.known(panel["title"], target["expr"], target.get("legendFormat", ""))
        for line in board["annotations"]["list"]:
            self.known(line["name"], line["expr"], line["titleFormat"])
        variables = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
        used = set(re.findall(r"\$\{?(\w+)", BOARD.read_text()))
        self.assertEqual(used - variables, set(), "variables that the board does not have")

    def test_every_metric_is_on_the_board_or_behind_it(self):
        board = json.loads(BOARD.read_text())
        drawn = [target for panel in board["panels"] for target in panel.get("targets", [])]
        shown = set().union(*(named(one["expr"])[0] for one in drawn + board["annotations"]["list"]))
        base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
        wanted = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metrics()} - {"up"}
        self.assertEqual(wanted - base, set())

    def test_a_running_engine_has_the_labels_of_the_page(self):
        every = metrics()
        with Engine(ROOT / "config/minimal.yaml") as engine:
            lines = [line for line in engine.request("GET", "/metrics")[1].splitlines() if line and line[0] != "#"]
        self.assertGreater(len(lines), 5)
        for line in lines:
            name, labels = re.match(r"(\w+)(?:\{(.*)\})? ", line).groups()
            found = set(re.findall(r"(\w+)=\"", labels or ""))
            self.assertIn(name, every)
            self.assertLessEqual(found, every[name], line)


if __name__ == "__main__":
    unittest.main()
