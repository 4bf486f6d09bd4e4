#!/usr/bin/env python3
"""Secrets are in no output: passwords of the database's URL, http.token, a plugin's secret and those of Kafka's
properties are canaries here, which no command, log, page or metric may sing of, whatever goes wrong.

Run alone: python3 tests/process/test_secrets.py [-k NAME]
"""
import concurrent.futures
import contextlib
import http.server
import json
import pathlib
import re
import signal
import threading
import unittest
import urllib.parse

import _path
from lib.certificates import Certificates
from lib.engine import ROOT, Engine, sluice, until
from lib.pipeline_case import CHAOS
from lib.server_case import PostgresCase

PASSWORD = "canary1-p@ss/w%rd: 'x"
QUOTED = urllib.parse.quote(PASSWORD, safe="")
KEYWORD = "'" + PASSWORD.replace("\\", "\\\\").replace("'", "\\'") + "'"
TOKEN = "canary2-token"
API_KEY = "canary3-key"
SASL, KEY = "canary4-sasl", "canary5-key"
CANARY = re.compile(r"canary\d|p%40ss|p@ss", re.I)

YAML = """\
pipeline: quiet
bus: {kind: postgres}
store: {url: "${DATABASE_URL}", connect_timeout: 2s}
engine: {group: quiet, lanes: 1}
plugins:
  chaos: {library: "${CHAOS_SO}"}
  data_platform: {library: data_platform.so, settings: {url: "${PLATFORM}", api_key: "${API_KEY}"}}
defaults: {retry: {max_retries: 1, backoff: {initial_interval: 20ms}}}
topics:
  in: {key: "{k}", handler: chaos.act, routes: {ok: drop, other: drop}}
taps:
  platform: {topics: [in], handler: data_platform.send}
http: {listen: "${HTTP_LISTEN:-127.0.0.1:0}", token: "${HTTP_TOKEN}"}
"""
KAFKA = """\
pipeline: quiet
bus:
  kind: kafka
  properties: {bootstrap.servers: "127.0.0.1:1", security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username: me,
    sasl.password: "${SASL}", ssl.key.location: "${KEY_FILE}", ssl.certificate.location: "${CERTIFICATE}",
    ssl.key.password: "${KEY}"}
plugins: {chaos: {library: "${CHAOS_SO}"}}
topics:
  in: {key: "{k}", handler: chaos.act, routes: {ok: drop, other: drop}}
"""


class Platform(http.server.BaseHTTPRequestHandler):
    """Lets nobody in, and says what it was shown."""

    def do_POST(self):
        said = str(self.headers).encode()
        with contextlib.suppress(OSError):
            self.send_response(401, "not with " + (self.headers["Authorization"] or "nothing"))
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    def log_message(self, *_):
        pass


class Secrets(PostgresCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        word = PASSWORD.replace("'", "''")
        cls.postgres.query(f"create role quiet superuser login password '{word}'")
        rules = pathlib.Path(cls.postgres.folder) / "data/pg_hba.conf"
        rules.write_text("host all quiet all scram-sha-256\n" + rules.read_text())
        cls.postgres.query("select pg_reload_conf()")

    def setUp(self):
        super().setUp()
        self.lock = threading.Lock()
        self.said = {}  # what was run: what it said
        self.config = self.folder / "pipeline.yaml"
        self.config.write_text(YAML)
        self.place = f"127.0.0.1:{self.postgres.port}/{self.url.rsplit('/', 1)[1]}"
        self.env = {
            "DATABASE_URL": f"postgresql://quiet:{QUOTED}@{self.place}",
            "CHAOS_SO": str(CHAOS),
            "PLATFORM": "http://127.0.0.1:9/events",
            "API_KEY": API_KEY,
            "HTTP_TOKEN": TOKEN,
        }

    def heard(self, what, *texts):
        with self.lock:
            self.said.setdefault(what, []).extend(map(str, texts))

    def command(self, *line, code=None, **env):
        done = sluice(line[0], self.config, *line[1:], env={**self.env, **env}, check=False)
        self.heard(f"{line} {env}", done.stdout, done.stderr)
        if code is not None:
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def run_until(self, words, **env):
        """`run` with everything in its log, until it says this or ends; then a stop."""
        engine = Engine(self.config, {**self.env, **env}, args=["--log-level", "debug"])
        engine.start(wait=False)
        try:
            until(
                lambda: engine.process.poll() is not None or any(words in line for line in list(engine.log)),
                f"{words}; it said {engine.text()}",
                60,
                0.05,
            )
        finally:
            engine.kill(signal.SIGTERM)
        self.heard(f"run {env}", *engine.log)
        return engine.text()

    def silent(self, least):
        self.assertGreaterEqual(len(self.said), least)
        for what, texts in self.said.items():
            for text in texts:
                found = CANARY.search(text)
                self.assertIsNone(found, f"{what if found else ''}\nsaid: {text}")

    def ask(self, engine, *request):
        """Its worker may be on its way: the event that ends it is tried again."""
        return until(lambda: engine.request(*request), request[1])

    def test_what_works(self):
        """Each command, and each page of an engine whose handlers end its process and whose tap is refused."""
        platform = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Platform)
        threading.Thread(target=platform.serve_forever, daemon=True).start()
        self.addCleanup(platform.server_close)
        self.addCleanup(platform.shutdown)
        self.env["PLATFORM"] = f"http://127.0.0.1:{platform.server_port}/events"
        self.command("migrate", code=0)
        engine = Engine(self.config, self.env, args=["--log-level", "debug"])
        self.addCleanup(engine.kill)
        engine.start()
        for mode in ("ok", "reject", "crash", "retry"):
            self.command("emit", "in", "--data", json.dumps({"k": mode, "mode": mode}), code=0)
        until(lambda: any("the worker ended" in line for line in list(engine.log)), "a crash", 60, 0.1)
        until(lambda: any("401" in line for line in list(engine.log)), "the platform's answer", 60, 0.1)
        for line in (
            ["validate"],
            ["validate", "--json"],
            ["validate", "--connect", "--json"],
            ["doctor"],
            ["doctor", "--json"],
            ["explain", "crash"],
            ["explain", "reject", "--json"],
            ["tap", "*", "--no-follow", "--json"],
            ["pause"],
            ["pause", "in", "--reason", "why"],
            ["resume", "--all"],
            ["resume", "nothing"],
            ["migrate", "--check"],
            *(["graph", "--format", form] for form in ("text", "mermaid", "dot", "svg", "json")),
        ):
            self.command(*line)
        for command in ("dead-letter", "chain", "delayed"):
            done = sluice(command, "list", self.config, "--json", env=self.env, check=False)
            self.heard(command, done.stdout, done.stderr)
        self.heard("inspect", sluice("inspect", ROOT / "build/plugins/data_platform.so").stdout)
        for path in ("/pipeline", "/metrics", "/healthz", "/readyz", "/chains", "/dead-letters", "/delayed", "/pauses"):
            self.heard(path, self.ask(engine, "GET", path))
        for token in (TOKEN, TOKEN + "x", ""):
            bearer = {"Authorization": f"Bearer {token}"} if token else {}
            self.heard("POST " + token[7:], self.ask(engine, "POST", "/pauses", {"name": "none"}, bearer))
        engine.stop()
        self.heard("engine", *engine.log)
        self.assertGreater(len(engine.log), 10)
        self.silent(30)

    def urls(self):
        """URLs that nothing can be connected with, each with the password in it."""
        good = f"postgresql://quiet:{QUOTED}@"
        host, _, database = self.place.partition("/")
        port = host.rpartition(":")[2]
        words = f"host=127.0.0.1 port={port} dbname={database} user=quiet"
        yield "authentication failed", f"postgresql://quiet:{QUOTED}x@{self.place}"
        yield "authentication failed", f"{words} password='canary1 wrong'"
        yield "cannot connect", f"{good}nowhere.invalid/{database}"
        yield "cannot connect", f"{good}127.0.0.1:1/{database}"
        yield "cannot connect", words.replace(f"port={port}", "port=1") + f" password={KEYWORD}"
        yield "cannot connect", f"{good}{self.place}?sslmode=verify-full&sslrootcert=/nowhere"
        yield "does not exist", f"{good}{host}/none"
        for broken in (
            f"postgresql://quiet:canary1@p@ss@{self.place}",
            f"postgresql://quiet:1/canary1@{self.place}",
            f"postgresql://quiet:canary1/2@{self.place}",
            "postgresql://quiet:canary1",
            f"postgresql://quiet:canary1%zz@{self.place}",
            f"postgresql://quiet:canary1@[{self.place}",
            f"postgresql://{self.place}?password=canary1&nonsense=canary1",
            f"postgresql://{self.place}?password=canary1=",
            f"postgres://quiet:canary1@{self.place}?sslmode",
            f"{words} password=my canary1",
            f"{words} password='canary1",
            f"{words} pasword=canary1",
            f"{words} canary1",
            f"{words} port=canary1",
            "canary1",
        ):
            yield "cannot be understood", broken

    def test_urls_that_lead_nowhere(self):
        self.assertIsNotNone(CANARY.search(QUOTED))
        keyword = f"host=127.0.0.1 port={self.postgres.port} dbname={self.place.partition('/')[2]} user=quiet"
        self.command("migrate", code=0, DATABASE_URL=f"{keyword} password={KEYWORD}")  # the password is a good one

        def go(case):
            words, url = case
            for line in (["validate", "--connect"], ["validate", "--connect", "--json"], ["doctor"], ["migrate"]):
                said = self.command(*line, DATABASE_URL=url)
                self.assertIn(words, said, url)
            done = sluice("dead-letter", "list", self.config, env={**self.env, "DATABASE_URL": url}, check=False)
            self.heard(f"dead-letter {url}", done.stdout, done.stderr)
            self.assertIn(words, self.run_until(words, DATABASE_URL=url), url)

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            list(pool.map(go, self.urls()))
        self.silent(100)

    def test_files_that_hold_them(self):
        """Written out, in the wrong place, of the wrong kind."""
        for change in (
            ('"${DATABASE_URL}"', f'"postgresql://quiet:canary1@{self.place}"'),
            ('"${HTTP_TOKEN}"', "canary2-token"),
            ('"${HTTP_TOKEN}"', '"canary2 token"'),
            ('"${API_KEY}"', "canary3-key"),
            ('api_key: "${API_KEY}"', 'api_kee: "${API_KEY}"'),
            ("lanes: 1", 'lanes: "${API_KEY}"'),
            ("kind: postgres", 'kind: "${HTTP_TOKEN}"'),
            ("handler: chaos.act", 'handler: "${API_KEY}"'),
            ("connect_timeout: 2s", 'connect_timeout: "${HTTP_TOKEN}"'),
        ):
            self.assertIn(change[0], YAML)
            self.config.write_text(YAML.replace(*change))
            for line in (["validate"], ["validate", "--json"], ["doctor"]):
                self.command(*line)
        self.config.write_text(YAML)
        self.silent(3)

    def test_kafka(self):
        made = Certificates(self.folder)
        made.authority("ca")
        made.sign("client", "ca", "me", password=KEY)
        self.config.write_text(KAFKA)
        self.env.update(
            SASL=SASL, KEY=KEY, KEY_FILE=str(made.file("client.key")), CERTIFICATE=str(made.file("client.pem"))
        )
        for env in ({}, {"KEY": "canary5-wrong"}, {"KEY_FILE": "/nowhere"}):
            for line in (["validate"], ["validate", "--json"], ["doctor"], ["graph", "--format", "json"]):
                self.command(*line, **env)
        self.assertIn("ssl.key.location", self.command("validate", "--connect", code=78, KEY="canary5-wrong"))
        self.assertIn("waiting", self.run_until("waiting for the bus"))
        self.silent(13)


if __name__ == "__main__":
    unittest.main()
