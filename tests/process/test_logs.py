#!/usr/bin/env python3
"""What the engine's stderr and its terminal may do to it: a stderr that nobody reads, whose reader ended, that is full
or closed costs log lines, never events nor the drain; SIGHUP ends nothing.

Run alone: python3 tests/process/test_logs.py [-k NAME].
"""
import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import pty
import re
import signal
import socket
import subprocess
import time
import unittest

import _path
from lib.engine import ROOT, SLUICE, until
from lib.pipeline_case import PipelineCase

YAML = """
pipeline: logs
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {group: own, lanes: 2, batch: {max_events: 20}, drain_timeout: 5s}
plugins: {effects: {library: "${EFFECTS_SO}"}, chaos: {library: "${CHAOS_SO}"}}
topics:
  in: {key: "{k}", handler: effects.record, routes: {
    done: out, again: {retry: climb, initial_interval: 1s, max_retries: 2, exhausted: out}}}
  out: {key: "{k}", final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}"}
"""
TABLE = (
    "create table effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint,"
    " unity bigint)"
)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def full_pipe():
    """A pipe that takes not a byte more. (read end, write end)"""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, b"x" * 4095 + b"\n"):
            pass
    os.set_blocking(writer, True)
    return reader, writer


class Logs(PipelineCase):
    yaml = YAML

    def setUp(self):
        super().setUp()
        self.rows(TABLE)
        self.process = None
        self.sent = 0
        self.addCleanup(self.kill)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def start(self, **options):
        self.port = free_port()
        env = dict(os.environ, **self.vars, HTTP_LISTEN=f"127.0.0.1:{self.port}")
        arguments = [SLUICE, "run", self.config, "--log-format", "json", "--log-level", "debug"]
        self.process = subprocess.Popen(arguments, env=env, cwd=ROOT, **options)
        until(lambda: self.get("/readyz")[0] == 200, "the engine to be ready", 20)

    def get(self, path):
        if self.process.poll() is not None:
            self.fail(f"the engine ended with {self.process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def lost(self):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith("sluice_log_lost_total "):
                return int(line.split()[1])
        return None

    def works(self):
        """Events are handled, a bad one becomes a dead letter (which is logged)."""
        self.sent += 50
        self.emit("in", *(self.event({"k": f"k{i}", "origin": f"{self.sent}.{i}", "seq": i + 1}) for i in range(50)))
        self.emit("in", "no event", key="k")
        self.await_value("select count(distinct origin) from effects", self.sent, 30)
        self.await_topic("in-dlt", self.sent // 50)

    def drains(self):
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(20), 0)
        self.assertLess(time.monotonic() - began, 10, "seconds from SIGTERM to the end")

    def test_full_pipe(self):
        """Full from the start, worker killed meanwhile (the master logs as well); read in the end."""
        reader, writer = full_pipe()
        self.start(stderr=writer)
        os.close(writer)
        self.works()
        out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        os.kill(int(out.stdout), signal.SIGKILL)
        self.works()
        os.set_blocking(reader, False)
        seen = b""

        def said():
            nonlocal seen
            with contextlib.suppress(BlockingIOError):
                seen += os.read(reader, 65536)
            return b"a dead letter" in seen and b"signal 9 (Killed)" in seen

        until(said, "what waited for room to be written", 20)
        self.drains()
        os.close(reader)

    def test_full_pipe_until_the_end(self):
        reader, writer = full_pipe()
        self.start(stderr=writer)
        self.works()
        self.drains()
        os.close(writer)
        os.close(reader)

    def test_takes_nothing(self):
        """Every line is lost and counted; nothing else happens."""

        def ended_reader():
            reader, writer = os.pipe()
            os.close(reader)
            return {"stderr": writer}

        kinds = {
            "a reader that ended": ended_reader,
            "a full disk": lambda: {"stderr": os.open("/dev/full", os.O_WRONLY)},
            "all closed": lambda: {"preexec_fn": lambda: [os.close(fd) for fd in (0, 1, 2)]},
        }
        for name, kind in kinds.items():
            with self.subTest(name):
                options = kind()
                self.start(**options)
                self.works()
                until(lambda: (self.lost() or 0) > 0, "sluice_log_lost_total to grow")
                self.drains()
                if "stderr" in options:
                    os.close(options["stderr"])

    def test_wrong_file_into_a_full_pipe(self):
        """What is wrong with a file cannot be printed: SIGTERM ends it all the same."""
        reader, writer = full_pipe()
        self.config.write_text("pipeline: {}\n")
        self.process = subprocess.Popen([SLUICE, "run", self.config], stderr=writer, cwd=ROOT)
        worker = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        until(lambda: worker.read_text().strip(), "the worker")
        child = int(worker.read_text())
        until(
            lambda: "pipe_write" in pathlib.Path(f"/proc/{child}/wchan").read_text() or self.sleeps(child), "its write"
        )
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(20), 0)
        os.close(writer)
        os.close(reader)

    @staticmethod
    def sleeps(pid):
        """Its first thread waits, and the other one is the one that waits for signals."""
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        states = [(task / "stat").read_text().rsplit(")", 1)[1].split()[0] for task in tasks]
        return len(tasks) == 2 and states == ["S", "S"]

    def test_hangup(self):
        """SIGHUP to the worker, and to a single process, which cannot reload: said, and ignored."""
        for arguments in ((), ("--single-process",)):
            with self.subTest(arguments):
                engine = self.engine(args=arguments)
                for pid in [engine.worker() or engine.process.pid]:
                    before = engine.text().count("SIGHUP is ignored")
                    os.kill(pid, signal.SIGHUP)
                    until(lambda: engine.text().count("SIGHUP is ignored") > before, "its line about SIGHUP")
                self.sent += 1
                self.emit("in", self.event({"k": "k", "origin": f"o{self.sent}", "seq": 1}))
                self.await_value("select count(*) from effects", self.sent)
                self.assertEqual(engine.readies(), 1)
                self.assertEqual(engine.stop(), 0)

    def test_warnings_of_the_file_are_lines_of_the_log(self):
        """Of the first worker, and of one that replaces it."""
        self.config.write_text(YAML.replace("http:", "  idle: {}\nhttp:"))
        with (self.folder / "log").open("w+") as log:
            self.start(stderr=log)
            ready = '"message":"ready:'
            until(lambda: ready in pathlib.Path(log.name).read_text(), "the first worker")
            first = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
            os.kill(int(first), signal.SIGKILL)
            until(lambda: pathlib.Path(log.name).read_text().count(ready) == 2, "another worker", 20)
            self.drains()
        lines = [json.loads(line) for line in pathlib.Path(log.name).read_text().splitlines()]
        said = [line for line in lines if "topic 'idle' is declared, and nothing" in line["message"]]
        self.assertEqual([line["level"] for line in said], ["warn"] * 2)

    def test_ready_counts_from_this_start(self):
        """ "ready: … after N ms" of a second worker is the time since that worker began."""
        engine = self.engine()
        killed = time.monotonic()
        engine.kill_worker()
        engine.wait_ready(2)
        took_ms = (time.monotonic() - killed) * 1000
        ready = [line for line in engine.log if "ready:" in line][-1]
        self.assertLessEqual(int(re.search(r"after (\d+) ms", ready).group(1)), took_ms, ready)

    def test_terminal_closes(self):
        """The terminal that it was started from closes: it drains, since nobody can stop it any more."""
        log = (self.folder / "log").open("w+")
        env = dict(os.environ, **self.vars, HTTP_LISTEN="127.0.0.1:0")
        pid, terminal = pty.fork()
        if pid == 0:
            os.dup2(log.fileno(), 2)
            os.chdir(ROOT)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
            os.execve(SLUICE, [str(SLUICE), "run", str(self.config), "--log-format", "text"], env)
        text = lambda: (self.folder / "log").read_text()
        until(lambda: "ready:" in text(), "the engine to be ready", 20)
        os.close(terminal)
        try:
            ended = until(lambda: os.waitpid(pid, os.WNOHANG)[0] and text(), "the engine to end", 30)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said\n{text()}") from None
        log.close()
        self.assertIn("the terminal has closed; draining", ended)
        self.assertIn("run: stopped", ended)


if __name__ == "__main__":
    unittest.main()
