#!/usr/bin/env python3
"""The command line as its users meet it: what a wrong line is told, exit codes, standard files, locale, and commands
without a database. Those that need one are in test_cli_database.py.

Run alone: python3 tests/process/test_cli.py [-k NAME]
"""
import contextlib
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import xml.dom.minidom

import _path
from lib.engine import BUILD, ROOT, SLUICE, Engine, until

COMMANDS = "run reload validate graph inspect emit tap explain dead-letter chain delayed pause resume doctor".split()
COMMANDS += ["migrate", "new-plugin", "version"]
NOWHERE = {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/nowhere", "HTTP_LISTEN": "127.0.0.1:0"}
PIPELINE = "config/pipeline.yaml"
NO_STORE = """\
pipeline: small
bus: {kind: memory}
plugins: {template: {library: template.so}}
topics:
  greeting: {handler: template.greet, routes: {done: drop}}
http: {listen: "%s"}
"""


def run(*line, env=None, **options):
    return subprocess.run(
        [str(SLUICE), *map(str, line)],
        cwd=ROOT,
        env=dict(os.environ, **NOWHERE, **(env or {})),
        timeout=60,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        capture_output="stdout" not in options,
        text=True,
        check=False,
        **options,
    )


class Lines(unittest.TestCase):
    """What a wrong line is told: one sentence that names what was expected, nothing on stdout, exit code 2."""

    def refused(self, line, sentence):
        done = run(*line)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertEqual(done.stderr.splitlines()[0], sentence)
        return done

    def test_without_a_command(self):
        done = run()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        for command in COMMANDS:
            self.assertRegex(done.stderr, rf"(?m)^  {command} ")

    def test_unknown_commands(self):
        self.refused(["rum"], "sluice: unknown command 'rum'; did you mean 'run'?")
        near = self.refused(["explian", "x"], "sluice: unknown command 'explian'; did you mean 'explain'?")
        self.assertEqual(near.stderr.count("\n"), 2)
        self.refused(["frobnicate"], "sluice: unknown command 'frobnicate'")
        self.refused(["--frobnicate"], "sluice: unknown option '--frobnicate'")
        self.refused([""], "sluice: unknown command ''")

    def test_unknown_options(self):
        for command in COMMANDS:
            with self.subTest(command):
                unknown = f"sluice {command}: unknown option "
                done = self.refused([command, "--hlep"], f"{unknown}'--hlep'; did you mean '--help'?")
                self.assertIn(f"`sluice {command} -h` tells more", done.stderr)
                self.refused([command, "-q"], f"{unknown}'-q'")
        self.refused(
            ["run", "--log-levle=info", "x"], "sluice run: unknown option '--log-levle'; did you mean '--log-level'?"
        )

    def test_values(self):
        self.refused(["run", "--log-level"], "sluice run: --log-level wants a value")
        self.refused(["emit", "c", "t", "--data"], "sluice emit: --data wants a value")
        self.refused(["run", "--single-process=yes", "c"], "sluice run: --single-process takes no value, but got 'yes'")
        self.refused(
            ["run", "--log-level", "loud", "c"], "sluice run: --log-level loud: expected debug, info, warn or error"
        )
        self.refused(["run", "--log-format", "xml", "c"], "sluice run: --log-format xml: expected text or json")
        self.refused(
            ["graph", "--format", "png", "c"], "sluice graph: --format png: expected text, mermaid, dot, svg or json"
        )
        self.refused(
            ["inspect", "--timeout", "10", "p.so"],
            "sluice inspect: --timeout 10: expected a duration with its unit, like 10s",
        )
        for bad in ("0", "-1", "x", "1x", "", " 1", "99999999999999999999"):
            self.refused(
                ["tap", "c", "t", "--count", bad], f"sluice tap: --count {bad}: expected a whole number of 1 or more"
            )

    def test_operands(self):
        takes = dict.fromkeys(("run", "migrate"), "a CONFIG")
        takes |= dict.fromkeys(("validate", "graph"), "a CONFIG or more")
        takes |= {"inspect": "a PLUGIN.so", "new-plugin": "a NAME", "explain": "a CONFIG and a CORRELATION"}
        takes |= {"emit": "a CONFIG and a TOPIC", "tap": "a CONFIG and a TOPIC or more"}
        for command, words in takes.items():
            with self.subTest(command):
                self.refused([command], f"sluice {command}: expected {words}, got nothing")
                if " and " in words:
                    self.refused([command, "one"], f"sluice {command}: expected {words}, got less")
                if command not in ("tap", "validate", "graph"):
                    extra = ["one", "two", "three"]
                    self.refused(
                        [command, *extra], f"sluice {command}: expected {words}, got '{extra[words.count('a ')]}' too"
                    )
        self.refused(["version", "x"], "sluice version: expected no more words, got 'x' too")
        empty = "the CORRELATION is empty; expected a value that the events carry, a paymentTxId for example"
        self.refused(["explain", "c", ""], f"sluice explain: {empty}")

    def test_options_that_exclude_each_other(self):
        self.refused(
            ["emit", "c", "t", "--id", "1"], "sluice emit: --id is for one event: give its data with --data JSON"
        )
        self.refused(
            ["emit", "c", "t", "--id", "1", "--envelope"],
            "sluice emit: --id goes with data; a whole event (--envelope) has its own",
        )
        for bad in ("", "x" * 129, "a b", "é"):
            self.refused(
                ["emit", "c", "t", "--data", "{}", "--id", bad],
                "sluice emit: --id: expected 1 to 128 printable ASCII characters without a space",
            )
        self.refused(["emit", "c", "t", "--key", "k" * 1025], "sluice emit: --key: expected at most 1024 bytes")

    def test_a_line_of_many_words(self):
        self.refused(["run", *map(str, range(20000))], "sluice run: expected a CONFIG, got '1' too")
        done = run("x" * 100000)
        self.assertEqual(done.returncode, 2)
        self.assertLess(len(done.stderr), 2000)
        done = run("run", "--" + "x" * 100000)
        self.assertEqual(done.returncode, 2)
        self.assertLess(len(done.stderr), 2000)
        done = run("validate", "x" * 100000)
        self.assertEqual(done.returncode, 78)
        done = run("tap", PIPELINE, "t" * 100000)
        self.assertEqual(done.returncode, 2)
        self.assertIn("names no topic 'ttt", done.stderr)
        done = run("tap", PIPELINE, "a\u202eb\x1b[2J")
        self.assertIn("names no topic 'a\\xe2\\x80\\xaeb\\x1b[2J'", done.stderr)

    def test_help(self):
        for line in (["-h"], ["--help"], ["help"]):
            done = run(*line)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith("usage: sluice COMMAND"))
        for command in COMMANDS:
            for line in ([command, "-h"], [command, "--help"], ["help", command]):
                with self.subTest(command):
                    done = run(*line)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
                    self.assertTrue(done.stdout.startswith(f"usage: sluice {command}"), done.stdout)
                    self.assertLessEqual(max(map(len, done.stdout.splitlines())), 130)

    def test_version(self):
        for line in (["version"], ["--version"]):
            self.assertRegex(run(*line).stdout, r"\Asluice \d+\.\d+\.\d+, plugin contract \d+\.\d+\n\Z")
        names = run("version", "--failpoints").stdout.split()
        self.assertEqual(names, sorted(set(names)))
        self.assertIn("lane.claim.before", names)
        self.refused(["version", "--reference", "foo"], "sluice version: --reference foo: there is no such reference")

    def test_failpoints_that_do_not_exist(self):
        done = run("run", PIPELINE, env={"SLUICE_FAILPOINTS": "no.such=crash"})
        self.assertEqual(done.returncode, 2)
        self.assertIn('no failpoint is called "no.such"', done.stderr)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sluice-cli-")
        self.addCleanup(folder.cleanup)
        self.at = pathlib.Path(folder.name)

    def test_a_configuration_that_cannot_be_read(self):
        for command in ("run", "validate", "graph", "migrate", "emit", "tap", "explain"):
            rest = ["x"] if command in ("emit", "tap", "explain") else []
            with self.subTest(command):
                done = run(command, self.at / "none.yaml", *rest)
                self.assertEqual((done.returncode, done.stdout), (78, ""))
                self.assertIn("none.yaml:1:1: error: cannot read this file: No such file or directory", done.stderr)
        self.assertIn("Is a directory", run("run", self.at).stderr)
        closed = self.at / "closed.yaml"
        closed.write_text("pipeline: x\n")
        closed.chmod(0)
        if os.geteuid() != 0:  # root reads everything
            self.assertIn("Permission denied", run("run", closed).stderr)

    def test_a_configuration_with_errors(self):
        bad = self.at / "bad.yaml"
        bad.write_text("pipeline: x\ntopisc: {}\nbus: {kind: memoyr}\n")
        for command in ("run", "validate", "graph", "migrate"):
            with self.subTest(command):
                done = run(command, bad)
                self.assertEqual((done.returncode, done.stdout), (78, ""))
                self.assertRegex(done.stderr, r"bad\.yaml:2:1: error: .*topisc.*'topics'")
                self.assertRegex(done.stderr, r"bad\.yaml:3:\d+: error: ")
        done = run("validate", bad, "--json")
        self.assertEqual(done.returncode, 78)
        self.assertLessEqual({2, 3}, {problem["line"] for problem in json.loads(done.stdout)})

    def test_validate_and_graph_need_no_database(self):
        done = run("validate", PIPELINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"good: \d+ topics")
        for form, start in {"text": "", "mermaid": "flowchart", "dot": "digraph", "svg": "<svg", "json": "{"}.items():
            done = run("graph", PIPELINE, "--format", form)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(start, done.stdout[:200])
            self.assertIn("payment.retry", done.stdout)
            if form == "svg":
                xml.dom.minidom.parseString(done.stdout)
            if form == "json":
                json.loads(done.stdout)

    def test_inspect(self):
        plugin = BUILD / "plugins" / "payment.so"
        self.assertIn("charge", run("inspect", plugin).stdout)
        described = json.loads(run("inspect", plugin, "--json").stdout)
        self.assertEqual(described["name"], "payment")
        self.assertEqual((described["abi"]["unstable"], described["engine_abi"]["unstable"]), ([], []))
        for path in (self.at / "none.so", self.at, ROOT / "Makefile"):
            done = run("inspect", path)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, r"\Asluice inspect: .+\n\Z")

    def test_topics_that_do_not_exist(self):
        for line in (["emit", PIPELINE, "payment.tri", "--data", "{}"], ["tap", PIPELINE, "payment.tri"]):
            done = run(*line)
            self.assertEqual(done.returncode, 2)
            self.assertEqual(
                done.stderr, f"sluice {line[0]}: {PIPELINE} names no topic 'payment.tri'; did you mean 'payment.try'?\n"
            )

    def test_commands_fail_when_the_database_is_away(self):
        began = time.monotonic()
        for line in (
            ["emit", PIPELINE, "payment.try", "--data", '{"userId":1,"seatId":2}'],
            ["tap", PIPELINE, "payment.*"],
            ["explain", PIPELINE, "x"],
            ["migrate", PIPELINE],
            ["migrate", "--check", PIPELINE],
        ):
            with self.subTest(line[0]):
                done = run(*line)
                self.assertEqual(done.returncode, 1)
                self.assertIn("cannot connect to the database", done.stderr)
        self.assertLess(time.monotonic() - began, 20)

    def test_the_memory_bus_cannot_be_seen_from_outside(self):
        config = self.at / "small.yaml"
        config.write_text(NO_STORE % "127.0.0.1:0")
        self.assertIn("inside the engine that runs it; nothing can be read", run("dead-letter", "list", config).stderr)
        for line in (
            ["emit", config, "greeting", "--data", "{}"],
            ["tap", config, "greeting"],
            ["explain", config, "x"],
        ):
            done = run(*line)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("the memory bus lives inside the engine that runs it", done.stderr)
        done = run("migrate", config)
        self.assertEqual(done.returncode, 1)
        self.assertIn("this pipeline has no `store:`", done.stderr)


class Streams(unittest.TestCase):
    """Standard files that are closed, full, read no more, or no terminal; locales."""

    def test_standard_output_that_takes_nothing(self):
        for line in (
            ["version"],
            ["-h"],
            ["graph", PIPELINE],
            ["graph", PIPELINE, "--format", "svg"],
            ["validate", PIPELINE],
            ["version", "--failpoints"],
            ["inspect", BUILD / "plugins/payment.so"],
        ):
            with self.subTest(line), open("/dev/full", "w", encoding="utf-8") as full:
                done = run(*line, stdout=full, stderr=subprocess.PIPE)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertNotEqual(done.stderr, "")

    def test_closed_standard_files(self):
        shell = lambda text: subprocess.run(
            ["sh", "-c", text.replace("sluice", str(SLUICE))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            env=dict(os.environ, **NOWHERE),
            check=False,
        )
        self.assertEqual(shell("sluice version <&- 2>&-").stdout[:7], "sluice ")
        done = shell("sluice version >&-")
        self.assertEqual(
            (done.returncode, done.stderr), (1, "sluice: standard output cannot be written: Bad file descriptor\n")
        )
        self.assertEqual(shell("sluice version >&- 2>&- <&-").returncode, 1)
        self.assertEqual(shell("sluice graph config/pipeline.yaml | head -1").returncode, 0)
        self.assertEqual(shell("sluice emit config/pipeline.yaml payment.try <&-").returncode, 1)

    def test_what_is_opened_never_gets_the_number_of_a_closed_standard_file(self):
        """Else the log would be written into a socket."""
        with tempfile.TemporaryDirectory(prefix="sluice-cli-") as folder:
            config = pathlib.Path(folder) / "small.yaml"
            config.write_text(NO_STORE % "127.0.0.1:0")
            process = subprocess.Popen(
                ["sh", "-c", f"exec {SLUICE} run {config} --single-process <&- >&- 2>&-"], cwd=ROOT
            )
            try:
                fds = pathlib.Path(f"/proc/{process.pid}/fd")

                def listens():
                    """The listener is the last that it opens."""
                    with contextlib.suppress(FileNotFoundError):
                        return any(os.readlink(fd).startswith("socket:") for fd in fds.iterdir())

                until(listens, "the engine's socket")
                self.assertEqual([os.readlink(fds / str(n)) for n in range(3)], ["/dev/null"] * 3)
            finally:
                process.terminate()
                self.assertEqual(process.wait(20), 0)

    def test_locale(self):
        for name in ("C", "POSIX", "C.UTF-8", "no_SUCH.locale"):
            done = run("graph", PIPELINE, env={"LC_ALL": name, "LANG": name})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("payment.try", done.stdout)
            done = run("validate", PIPELINE, env={"LC_ALL": name})
            self.assertEqual(done.returncode, 0)

    def test_an_empty_environment(self):
        done = subprocess.run(
            [str(SLUICE), "validate", str(ROOT / PIPELINE)],
            cwd="/",
            env={},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 78)
        self.assertIn("DATABASE_URL", done.stderr)

    def test_colour_and_text_only_on_a_terminal(self):
        config = ROOT / PIPELINE
        process = subprocess.run(
            [str(SLUICE), "run", str(config / "none")],
            env=dict(os.environ, **NOWHERE),
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.assertNotIn(b"\x1b", process.stderr + process.stdout)
        with tempfile.TemporaryDirectory(prefix="sluice-cli-") as folder:
            small = pathlib.Path(folder) / "small.yaml"
            small.write_text(NO_STORE % "127.0.0.1:0")
            for terminal in (True, False):
                ours, theirs = pty.openpty() if terminal else os.pipe()
                process = subprocess.Popen(
                    [str(SLUICE), "run", str(small)], cwd=ROOT, stdin=subprocess.DEVNULL, stderr=theirs, close_fds=True
                )
                os.close(theirs)
                text, end = b"", time.monotonic() + 20
                while b"ready:" not in text and time.monotonic() < end and process.poll() is None:
                    if select.select([ours], [], [], 1)[0]:
                        text += os.read(ours, 65536)
                process.terminate()
                self.assertEqual(process.wait(20), 0)
                os.close(ours)
                line = [one for one in text.decode().splitlines() if "ready" in one][0]
                if terminal:
                    self.assertRegex(line, r"INFO +.*run.*ready: small")
                else:
                    self.assertIn("ready: small", json.loads(line)["message"])


class Running(unittest.TestCase):
    """`sluice run` without a store: start, ports, signals, exit codes."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sluice-cli-")
        self.addCleanup(folder.cleanup)
        self.config = pathlib.Path(folder.name) / "small.yaml"
        self.config.write_text(NO_STORE % "127.0.0.1:0")

    def test_ready_once_and_a_clean_end(self):
        engine = Engine(self.config)
        with engine:
            self.assertEqual(engine.request("GET", "/healthz")[0], 200)
            self.assertEqual(engine.request("GET", "/readyz")[0], 200)
            self.assertEqual(engine.readies(), 1)
            self.assertIn("no store: every event is handled at least once", engine.text())
        self.assertEqual(engine.process.returncode, 0)
        self.assertIn("stopping", engine.text())

    def test_a_busy_port(self):
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            port = busy.getsockname()[1]
            self.config.write_text(NO_STORE % f"127.0.0.1:{port}")
            for extra in ([], ["--single-process"]):
                done = run("run", self.config, "--log-format", "text", *extra)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr, rf"127\.0\.0\.1:{port}.*[Aa]ddress already in use")

    def test_sigint_stops_and_the_second_stops_at_once(self):
        engine = Engine(self.config).start()
        engine.process.send_signal(signal.SIGINT)
        self.assertEqual(engine.process.wait(20), 0)
        engine.stop()

    def test_a_terminals_ctrl_c_reaches_master_and_worker_and_counts_once(self):
        """A terminal sends SIGINT to the whole group: the worker must not take the master's copy for a second one."""
        for _ in range(5):
            engine = subprocess.Popen(
                [str(SLUICE), "run", str(self.config), "--log-format", "text"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for line in engine.stderr:
                if "ready:" in line:
                    break
            os.killpg(engine.pid, signal.SIGINT)
            rest = engine.stderr.read()
            engine.stderr.close()
            self.assertEqual(engine.wait(20), 0, rest)
            self.assertNotIn("stopped at once", rest)

    def test_no_process_is_left_when_the_master_is_killed(self):
        engine = Engine(self.config).start()
        worker = engine.worker()
        engine.kill()
        until(lambda: not os.path.exists(f"/proc/{worker}"), "the worker's end")
        engine.stop()

    def test_a_log_that_nobody_reads_stops_nothing(self):
        ours, theirs = os.pipe()
        process = subprocess.Popen(
            [str(SLUICE), "run", str(self.config), "--log-format", "text"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        text = b""
        while b"ready:" not in text:
            more = os.read(ours, 65536)
            self.assertNotEqual(more, b"", f"the engine ended: {text.decode()}")
            text += more
        os.close(ours)  # from here on every line of the log is EPIPE
        port = int(re.search(rb"http on [^ ]*:(\d+)", text).group(1))
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/readyz")
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        process.terminate()
        self.assertEqual(process.wait(20), 0)

    def test_no_file_leaks_into_the_worker(self):
        engine = Engine(self.config).start()
        try:
            for number in os.listdir(f"/proc/{engine.worker()}/fd"):
                if int(number) > 2:
                    with open(f"/proc/{engine.worker()}/fdinfo/{number}", encoding="ascii") as info:
                        flags = int(re.search(r"flags:\s+(\d+)", info.read()).group(1), 8)
                    self.assertTrue(
                        flags & os.O_CLOEXEC,
                        f"descriptor {number} would be inherited by a program that a plugin starts: "
                        + os.readlink(f"/proc/{engine.worker()}/fd/{number}"),
                    )
        finally:
            engine.stop()


if __name__ == "__main__":
    unittest.main()
