#!/usr/bin/env python3
"""`sluice reload`: what it asks, of whom, and what it says of each answer; an engine in its place that answers what the
test wants.

Run alone: python3 tests/process/test_reload_command.py [-k NAME].
"""
import http.server
import json
import pathlib
import shutil
import socket
import tempfile
import threading
import unittest

import _path
from lib.engine import BUILD, Engine, sluice

YAML = """\
pipeline: reloads
bus: {kind: memory}
plugins: {pass: {library: "%s"}}
topics:
  in: {handler: pass.pass, routes: {passed: out}}
  out: {final: true}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}", token: "${HTTP_TOKEN:-}"}
""" % (
    BUILD / "tests/plugins/pass.so"
)
TOKEN = "c2VzYW1l"
ACCEPTED = {
    "accepted": True,
    "plan": False,
    "old": {"hash": "111111111111"},
    "new": {"hash": "222222222222"},
    "changes": [{"change": "changed", "of": "engine", "name": "", "field": "lanes", "old": "4", "new": "8"}],
    "plugins": [],
    "duration_ms": 7,
}
UNDERSTOOD = (
    "the database url cannot be understood (it is not shown: it may hold a password); it looks like "
    "postgresql://user:password@host:5432/database, with %40 for @ and %2F for / in a password, or like host=… dbname=…"
)
REFUSED = {"accepted": False, "plan": False, "reason": "failed", "why": "the database does not answer", "changes": []}


class Fake(http.server.ThreadingHTTPServer):
    """Answers (status, body) to each POST, and keeps what was asked."""

    def __init__(self, status=200, body=ACCEPTED):
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.answer = (status, body if isinstance(body, bytes) else json.dumps(body).encode())
        self.asked, self.handovers = [], 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def end(self):
        self.shutdown()
        self.server_close()


class FakeHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.asked.append((self.path, self.headers["Authorization"]))
        status, body = self.server.answer
        if self.server.handovers > 0:
            self.server.handovers -= 1
            status, body = 503, b'{"error":"handed_over","message":"Ask again."}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Reload(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.folder / "a file.yaml"
        self.config.write_text(YAML)

    def fake(self, *answer):
        fake = Fake(*answer)
        self.addCleanup(fake.end)
        return fake

    def reload(self, *args, listen="127.0.0.1:0", token=TOKEN, **env):
        env = {"HTTP_LISTEN": listen, "HTTP_TOKEN": token, **env}
        return sluice("reload", self.config, *args, env=env, check=False)

    def expect(self, done, code, *parts):
        text = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, text)
        for part in parts:
            self.assertIn(part, text)

    def test_asks_where_the_file_listens(self):
        fake = self.fake()
        done = self.reload(listen=fake.url.removeprefix("http://"), http_proxy="http://127.0.0.1:1")
        self.expect(done, 0, f"{fake.url}: reloaded in 7 ms: 111111111111 -> 222222222222\n", "engine lanes: 4 -> 8\n")
        path = str(self.config).replace(" ", "%20")
        self.assertEqual(fake.asked, [(f"/reload?plan=false&file={path}", f"Bearer {TOKEN}")])
        everywhere = fake.url.replace("http://127.0.0.1", "0.0.0.0")
        self.expect(self.reload("--plan", listen=everywhere), 0)
        self.assertEqual(fake.asked[1][0], f"/reload?plan=true&file={path}")

    def test_json_is_the_answer(self):
        fake = self.fake()
        done = self.reload("--json", "--url", fake.url, "--url", fake.url + "/")
        self.expect(done, 0)
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()], [ACCEPTED, ACCEPTED])

    def test_several_until_one_refuses(self):
        good, bad, last = self.fake(), self.fake(422, REFUSED), self.fake()
        done = self.reload(*[word for fake in (good, bad, last) for word in ("--url", fake.url)])
        self.expect(
            done,
            1,
            f"{good.url}: reloaded",
            f"{bad.url}: refused, and what ran before goes on: the database does not answer",
            "sluice reload: 1 of 3 engines were not asked",
        )
        self.assertEqual(len(last.asked), 0)

    def test_a_file_that_is_wrong_is_not_sent(self):
        fake = self.fake()
        self.config.write_text(YAML.replace("pass.pass", "pass.past"))
        self.expect(self.reload("--url", fake.url), 78, "a file.yaml:5:", "did you mean 'pass'")
        self.config.unlink()
        self.expect(self.reload("--url", fake.url), 78, "a file.yaml")
        self.assertEqual(fake.asked, [])

    def test_a_file_that_is_wrong_is_refused_in_json_too(self):
        """In the words of an engine that refuses it."""
        fake = self.fake()

        def refused(reason, why):
            done = self.reload("--json", "--plan", "--url", fake.url)
            self.assertEqual(done.returncode, 78, done.stderr)
            answer = json.loads(done.stdout)
            self.assertEqual([answer[name] for name in ("accepted", "plan", "old")], [False, True, None])
            self.assertEqual([answer[name] for name in ("file", "changes")], [str(self.config), []])
            self.assertEqual((answer["reason"], answer["why"]), (reason, why))
            for problem in answer["problems"]:
                self.assertIn("{file}:{line}:{column}: {level}: {text}\n".format(**problem), done.stderr)
            return answer["new"], [problem for problem in answer["problems"] if problem["level"] == "error"]

        wrong = "the file, or what it names, is wrong"
        self.config.write_text(YAML.replace("pass.pass", "pass.past"))
        new, (problem,) = refused("invalid", wrong)
        self.assertEqual((problem["file"], problem["line"]), (str(self.config), 5))
        self.assertIn("did you mean 'pass'", problem["text"])
        self.assertRegex(new["hash"], "^[0-9a-f]{12}$")
        self.config.write_text(YAML + "]")
        new, (problem,) = refused("invalid", wrong)
        self.assertIn("no valid YAML", problem["text"])
        self.assertIsNone(new)
        self.config.write_text(
            YAML.replace("kind: memory", "kind: postgres") + 'store: {url: "postgres:///x?nothing=1"}\n'
        )
        new, problems = refused("failed", UNDERSTOOD)
        self.assertEqual(problems, [])
        self.assertRegex(new["hash"], "^[0-9a-f]{12}$")
        self.config.unlink()
        new, (problem,) = refused("invalid", wrong)
        self.assertIsNone(new)
        self.assertEqual(fake.asked, [])

    def test_each_other_answer(self):
        for status, body, parts in (
            (409, dict(REFUSED, reason="other_file", why="another", file="/x/b.yaml"), ["it runs /x/b.yaml, and "]),
            (409, dict(REFUSED, reason="needs_restart", why="bus.kind: no"), ["goes on: bus.kind: no\n"]),
            (401, {"error": "unauthorized", "message": "?"}, ["http.token of this file is not the one", "SIGHUP"]),
            (403, {"error": "no_token", "message": "http.token is not set"}, ["answers 403: http.token is not set"]),
            (501, {"error": "not_supported", "message": "no master"}, ["it answers 501: no master"]),
            (404, b"<html>", ["it answers 404: its answer is none that an engine gives"]),
            (200, b"", ["it answers 200: its answer is none that an engine gives"]),
        ):
            with self.subTest(status=status, body=body):
                self.expect(self.reload("--url", self.fake(status, body).url), 1, *parts)

    def test_asks_the_next_process(self):
        fake = self.fake()
        fake.handovers = 3
        self.expect(self.reload("--url", fake.url), 0, "reloaded in 7 ms")
        self.assertEqual(len(fake.asked), 4)
        fake.handovers = 100
        self.expect(self.reload("--url", fake.url), 1, "it answers 503: Ask again.")

    def test_nobody_to_ask(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.expect(self.reload("--url", f"http://127.0.0.1:{port}"), 1, "nobody answers: ", "SIGHUP")
        self.expect(self.reload(), 1, "port 0 in http.listen", "--url", "SIGHUP")
        self.config.write_text(YAML[: YAML.index("http:")])
        self.expect(self.reload(), 1, "has no 'http:'", "--url", "SIGHUP")
        self.expect(self.reload("--url", "127.0.0.1:1"), 2, "--url: expected http://HOST:PORT")

    def test_an_engine_without_a_master(self):
        with Engine(self.config, {"HTTP_TOKEN": TOKEN}, ["--single-process"]) as engine:
            done = self.reload("--url", f"http://127.0.0.1:{engine.port}")
            self.expect(done, 1, "it answers 501: This engine runs without its master process")
            self.expect(self.reload("--url", f"http://127.0.0.1:{engine.port}", token="b3RoZXI="), 1, "SIGHUP")


if __name__ == "__main__":
    unittest.main()
