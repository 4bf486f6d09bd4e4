"""What the tests of `sluice explain --why` share: a pipeline in which an event can wait for anything, and what is told
of a wait in each of the command's three ways."""
import json
import re

from lib.engine import ROOT, sluice, until

WAIT_S = 60
YAML = """
pipeline: why
bus: {kind: postgres, partitions: 2}
store: {url: "${DATABASE_URL}"}
engine: {group: why, lanes: 2}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
defaults: {retry: {max_retries: 2, backoff: {initial_interval: 1h, max_interval: 2h, jitter: 0}}, timeout: 100s}
dependencies: {gateway: {failures: 2, window: 10m, open: 1h}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 1h, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
  guarded: {key: "{k}", handler: chaos.act_sql, dependency: gateway, routes: {ok: drop, other: drop}}
  limited: {key: "{k}", handler: effects.record, limit: {rate: 1/h}, routes: {done: drop, again: drop}}
  early: {key: "{k}", handler: effects.record, after: {topic: in, correlate: origin, at_most: 1h}, routes: {
    done: drop, again: drop}}
  paid: {key: "{origin}", final: true}
  failed: {key: "{origin}", final: true}
  refund: {key: "{origin}", handler: effects.record, retry: {max_retries: 0}, routes: {done: drop, again: drop}}
  seen: {key: "{k}", final: true}
  billed: {key: "{k}", final: true}
  settled: {key: "{k}", final: true}
taps: {watch: {topics: [seen], handler: chaos.act, routes: {ok: drop, other: drop}, from: earliest}}
chains:
  order: {correlate: origin, steps: [{name: pay, done: paid, undo: refund}], abort_on: [failed]}
  bill: {correlate: origin, abort_on: [dead_letter],
    steps: [{name: bill, done: billed, undo: none}, {name: settle, done: settled, undo: none}],
    timers: [{after: 1h, from: billed, emit: out, cancel_on: [settled]}]}
"""
RELEASE = r"sluice delayed release CONFIG [0-9a-f-]{36}"


class Waits:
    """What explain says of a correlation, in its three ways."""

    def why(self, origin):
        return sluice("explain", self.config, origin, "--why", env=self.vars).stdout

    def story(self, origin):
        return json.loads(sluice("explain", self.config, origin, "--json", env=self.vars).stdout)

    def waits(self, origin):
        story = self.story(origin)
        return story["waits"] + [wait for event in story["events"] for wait in event["waits"]]

    def tells(self, origin, cause, sentence, command=None, **fields):
        """The cause comes, with its fields; and the texts say the same."""
        found = []

        def is_there():
            found[:] = self.waits(origin)
            return any(wait["cause"] == cause and re.search(sentence, wait["text"]) for wait in found)

        try:
            until(is_there, f"{origin} to wait: {cause}: {sentence}", WAIT_S, 0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; it has {found}\n{self.story(origin)}") from None
        (wait,) = [wait for wait in found if wait["cause"] == cause]
        (self.assertIsNone if command is None else lambda got: self.assertRegex(got, rf"\A{command}\Z"))(
            wait["command"]
        )
        for name, wanted in fields.items():
            got = wait.get(name)
            good = wanted is ANY or (got > 1.7e12 if wanted is ANY_TIME else got == wanted)
            self.assertTrue(good, f"{name} of {wait}: {wanted}")
        self.assertLessEqual(set(wait), {"cause", "text", "command", *fields}, wait)
        text = sluice("explain", self.config, origin, env=self.vars).stdout
        arrow = f"  → {wait['command'].replace(' CONFIG', f' {self.config}')}" if command else ""
        for said in (text, self.why(origin)):
            line = next((line for line in said.splitlines() if re.search(sentence, line)), None)
            self.assertIsNotNone(line, f"{sentence}\n{said}")
            self.assertTrue(line.endswith(arrow), said)
        return wait


ANY, ANY_TIME = object(), object()


# which Kafka's test brings about
KAFKA_CAUSES = {"outbox", "no_leader", "engine_stopped", "retry", "key"}


def causes_of_the_source():
    """A cause that is added needs a row here."""
    return set(re.findall(r'\[WAIT_\w+\] = "(\w+)"', (ROOT / "engine/operate/wait.c").read_text()))
