#!/usr/bin/env python3
"""`sluice test` with the step `reload`: what goes on, and what is refused with the sentences of `sluice reload`.

Run alone: python3 tests/process/test_flow_reload.py [-k NAME]
"""
import unittest

import _path
from flow_case import OnAServer, run

PIPELINE = """\
pipeline: small
bus: {kind: memory}
plugins: {template: {library: template.so}}
topics:
  wanted: {key: "{name}", handler: template.greet, routes: {done: said}}
  said: {final: true}
"""
KAFKA = 'kind: kafka, properties: {bootstrap.servers: "127.0.0.1:1"}'
STORE = PIPELINE.replace("plugins", 'store: {url: "${DATABASE_URL}"}\nplugins')
EMIT = "emit: {topic: wanted, data: {name: Ada}}"


class Reloads(OnAServer):
    def run_it(self, before, after, steps, expect):
        (self.folder / "before.yaml").write_text(before)
        if after is not None:
            (self.folder / "after.yaml").write_text(after)
        self.file = self.folder / "flows.yaml"
        lines = "".join(f"      - {step}\n" for step in steps)
        self.file.write_text(f"pipeline: before.yaml\ntests:\n  - name: x\n    steps:\n{lines}    expect: {expect}\n")
        return run(self.file, url=self.postgres.url)

    def test_nothing_is_lost_and_nothing_comes_again(self):
        """With a store and without one: what was handled, what waits for its next try, and what is said of handlers."""
        changed = {"said: {final: true}": "told: {final: true}", "done: said": "done: told"}
        steps = (EMIT, "fail: {handler: template.greet, retry: a lock, times: 3}", EMIT, "reload: after.yaml", "run")
        for before in (PIPELINE, STORE):
            after = before + "  said: {final: true}\n"
            for old, new in changed.items():
                after = after.replace(old, new, 1)
            with self.subTest(store="store" in before):
                done = self.run_it(
                    before,
                    after,
                    steps,
                    "{events: [wanted, said, wanted, told], dead_letters: [], "
                    'metrics: {\'sluice_events_total{handler="template.greet",outcome="done"}\': 1}}',
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_a_plugin_that_comes_has_its_tables(self):
        after = STORE.replace("plugins: {", "plugins: {payment: {library: payment.so}, ")
        done = self.run_it(STORE, after, ("reload: after.yaml",), "{sql: {select count(*) from users: [[0]]}}")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_what_is_refused(self):
        """At the step's line, with the sentences of `validate` and `reload`."""
        delayed = STORE.replace("done: said", "done: {topic: later, delay: 1h}") + (
            "  later: {handler: template.greet, routes: {done: said}}\n"
        )
        for before, after, says in (
            (PIPELINE, None, f"{self.folder}/after.yaml"),
            (PIPELINE, PIPELINE.replace("final", "finl"), "/after.yaml:6:10: error: unknown key 'finl'"),
            (PIPELINE, PIPELINE.replace("done: said", "done: sayd"), "/after.yaml:5:"),
            (PIPELINE, PIPELINE.replace("kind: memory", KAFKA), "bus.kind: "),
            (PIPELINE, PIPELINE.replace("pipeline: small", "pipeline: other"), "engine.group: 'small' has the"),
            (STORE, PIPELINE, "store: "),
            (delayed, STORE, "the file does not say what becomes of"),
        ):
            with self.subTest(after=after):
                (self.folder / "after.yaml").unlink(missing_ok=True)
                done = self.run_it(before, after, (EMIT, "reload: after.yaml"), "{dead_letters: []}")
                self.assertEqual((done.returncode, done.stderr), (1, ""), done.stdout)
                self.assertRegex(done.stdout, rf"\n    {self.file}:6:9: .*is refused, and what runs goes on: ")
                self.assertIn(says, done.stdout)
                self.assertRegex(done.stdout, r"0\.000 s  reload .*/after\.yaml\n")


if __name__ == "__main__":
    unittest.main()
