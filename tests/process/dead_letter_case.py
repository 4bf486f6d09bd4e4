"""Dead letters on demand: a pipeline whose handlers reject everything while their gate is closed, and the commands;
and replays that are killed."""
import json
import os
import random
import signal
import subprocess
import time

import _path
from lib.engine import BUILD, ROOT, SLUICE, sluice, until
from lib.pipeline_case import PipelineCase

GATE = BUILD / "tests/plugins/gate.so"
TABLES = (
    "create table gate (name text); create table effects (number bigserial, event_id text, k text, seq bigint);"
    " create table watched (like effects including all)"
)
YAML = """
pipeline: letters
bus: {kind: postgres, partitions: 4}
store: {url: "${DATABASE_URL}"}
engine: {lanes: 2}
plugins: {gate: {library: "${GATE_SO}"}}
topics:
  in: {key: "{k}", handler: gate.pass, routes: {done: out}}
  other: {key: "{k}", handler: gate.pass, routes: {done: out}}
  out: {key: "{k}", final: true}
taps:
  watch: {topics: [in], handler: gate.watch, routes: {done: drop}}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""


KILLS = 4
RATE = 200  # of a replay that is to be killed


def begin_replay(config, env, *args):
    return subprocess.Popen(
        [SLUICE, "dead-letter", "replay", str(config), *map(str, args)],
        env=dict(os.environ, **env),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_replays(count, begin, replayed, before_kill=lambda turn: None):
    """KILLS replays of `count` letters, each begun when the one before was killed, at any moment of any batch. None
    ends before: two thirds of the letters are left in the end, and take seconds at RATE. begin(*args); replayed(): how
    many."""
    seed = int(os.environ.get("SLUICE_SEED", time.time_ns() % 1000000))
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)
    for turn in range(KILLS):
        running = begin("--all", "--rate", RATE)
        wanted = replayed() + chance.randrange(1, count // (3 * KILLS))
        until(lambda: running.poll() is not None or replayed() >= wanted, "a part of the replay", 60, 0.001)
        time.sleep(chance.random() / 10)  # a batch begins each 100 ms
        before_kill(turn)
        running.kill()
        said = running.communicate()
        if running.returncode != -signal.SIGKILL:
            raise AssertionError(f"the replay ended by itself with {running.returncode}: {said}")


class DeadLetterCase(PipelineCase):
    yaml = YAML
    env = {"GATE_SO": str(GATE)}

    def setUp(self):
        super().setUp()
        self.rows(TABLES)

    def letters(self, action, *args, code=0):
        """`sluice dead-letter ACTION CONFIG …`; its CompletedProcess."""
        done = sluice("dead-letter", action, self.config, *args, env=self.vars, check=False)
        self.assertEqual(done.returncode, code, f"dead-letter {action} {args}\n{done.stdout}{done.stderr}")
        return done

    def listed(self, *args):
        return json.loads(self.letters("list", *args, "--json").stdout)["deadLetters"]

    def shown(self, number):
        return json.loads(self.letters("show", number, "--json").stdout)

    def close(self, name="pass"):
        self.rows(f"insert into gate values ('{name}')")

    def open_gate(self, name="pass"):
        self.rows(f"delete from gate where name = '{name}'")

    def fail_some(self, count, keys=1, topic="in", first=1):
        """Events whose handler rejects them; the ids of their dead letters."""
        before = int(self.value("select count(*) from sluice.dead_letter"))
        self.close()
        self.emit(topic, *(self.event({"k": f"k{n % keys}", "seq": n}) for n in range(first, first + count)))
        self.await_value("select count(*) from sluice.dead_letter", before + count)
        self.open_gate()
        return [int(r[0]) for r in self.rows("select id from sluice.dead_letter where state = 0 order by id")]

    def effects(self, table="effects"):
        """(key, seq) in the order in which they were done."""
        return [(k, int(seq)) for k, seq in self.rows(f"select k, seq from {table} order by number")]

    def await_effects(self, count, table="effects", limit_s=30.0):
        until(
            lambda: int(self.value(f"select count(*) from {table}")) >= count,
            f"{count} effects; the engine said:\n" + "\n".join(e.text() for e in self.engines),
            limit_s,
            0.02,
        )

    def in_order(self, table="effects"):
        """Each once, and those of a key in their order."""
        found = self.effects(table)
        self.assertEqual(len(found), len(set(found)), "done twice")
        for key in {k for k, _ in found}:
            mine = [seq for k, seq in found if k == key]
            self.assertEqual(mine, sorted(mine), f"order of {key}")
        return found
