#!/usr/bin/env python3
"""Databases that answer and cannot be used: `run`, `migrate` and `validate --connect` say what is in the way.

Run alone: python3 tests/process/test_database_refused.py [-k NAME].
"""
import contextlib
import pathlib
import socket
import threading
import unittest

import _path
from lib.engine import Engine, sluice, until
from lib.pgbouncer import Pgbouncer
from lib.server_case import PostgresCase

CONFIG = "config/pipeline.yaml"


class Refused(PostgresCase):
    def commands(self, url):
        """What the three say of a database: {command: (exit code, stderr)}."""
        env = {"DATABASE_URL": url, "DATA_PLATFORM_URL": "http://127.0.0.1:9/events", "HTTP_LISTEN": "127.0.0.1:0"}
        lines = {"run": ["run"], "migrate": ["migrate"], "validate": ["validate", "--connect"]}
        done = {name: sluice(*line, CONFIG, env=env, check=False) for name, line in lines.items()}
        return {name: (one.returncode, one.stderr) for name, one in done.items()}

    def refused(self, url, *words):
        said = self.commands(url)
        for name, (code, text) in said.items():
            with self.subTest(command=name):
                self.assertEqual(code, {"run": 1, "migrate": 1, "validate": 78}[name], text)
                for word in words:
                    self.assertIn(word, text)
                self.assertNotIn("a script", text)
        self.assertIn(f"{CONFIG}:", said["validate"][1])

    def accepted(self, url):
        env = {"DATABASE_URL": url, "DATA_PLATFORM_URL": "http://127.0.0.1:9/events"}
        self.assertEqual(sluice("migrate", CONFIG, env=env).stderr, "")
        self.assertEqual(sluice("validate", "--connect", CONFIG, env=env).returncode, 0)

    def test_a_server_that_writes_to_the_terminal(self):
        """What a server says is text for people: nothing of it reaches their terminal as an escape sequence."""
        words = b"SFATAL\0C28000\0M\x1b]0;owned\x07\x1b[2J\xff\0\0"

        def answer(listener):
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.recv(1000)
                        client.sendall(b"N")  # no TLS
                        client.recv(1000)
                        client.sendall(b"E" + (len(words) + 4).to_bytes(4, "big") + words)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=answer, args=(listener,), daemon=True).start()
            env = {
                "DATABASE_URL": f"postgresql://u@127.0.0.1:{listener.getsockname()[1]}/x",
                "HTTP_LISTEN": "127.0.0.1:0",
            }
            for line in (["doctor"], ["doctor", "--json"], ["chain", "list"], ["migrate"], ["dead-letter", "list"]):
                done = sluice(*line, CONFIG, env=env, check=False)
                said = done.stdout + done.stderr
                self.assertIn("owned", said, line)
                for bad in ("\x1b", "\x07", "\udcff"):
                    self.assertNotIn(bad, said, line)

    def test_a_pooler_in_transaction_mode(self):
        for mode in ("transaction", "statement"):
            for size in (1, 10):
                with self.subTest(mode=mode, size=size):
                    with Pgbouncer(self.postgres, self.folder, mode, default_pool_size=size) as pooler:
                        self.refused(
                            pooler.url(self.url), "connection pooler in transaction mode", "store.url must lead to"
                        )

    def test_a_pooler_that_drops_the_settings_of_sessions(self):
        with Pgbouncer(self.postgres, self.folder, "session") as pooler:
            self.refused(pooler.url(self.url), "drops the settings", "idle_in_transaction_session_timeout")

    def test_a_pooler_that_takes_no_settings(self):
        with Pgbouncer(self.postgres, self.folder, "session", ignore_startup_parameters="extra_float_digits") as pooler:
            url = pooler.url(self.url)
            said = sluice("migrate", CONFIG, env={"DATABASE_URL": url}, check=False).stderr
            self.assertIn("unsupported startup parameter", said)
            self.assertIn("connection pooler", said)

    def test_a_pooler_in_session_mode(self):
        self.postgres.query("alter role postgres set idle_in_transaction_session_timeout = '20s'")
        self.addCleanup(self.postgres.query, "alter role postgres reset idle_in_transaction_session_timeout")
        with Pgbouncer(self.postgres, self.folder, "session") as pooler:
            self.accepted(pooler.url(self.url))

    def test_a_search_path_without_a_schema(self):
        name = self.url.rsplit("/", 1)[1]
        self.postgres.query(f"alter database {name} set search_path = ''")
        self.refused(self.url, "search_path of user postgres", f"in database {name}", "alter role postgres set")
        self.accepted(self.url + "?options=-csearch_path%3Dpublic")

    def test_sessions_that_are_read_only(self):
        name = self.url.rsplit("/", 1)[1]
        for sql, cure in {
            f"alter database {name} %s default_transaction_read_only": f"alter database {name} reset",
            "alter role postgres %s default_transaction_read_only": "alter role postgres reset",
            f"alter role postgres in database {name} %s default_transaction_read_only": f"in database {name} reset",
        }.items():
            with self.subTest(sql=sql):
                self.postgres.query(sql % "set" + " = on")
                try:
                    self.refused(self.url, "read-only by default", "default_transaction_read_only = on", cure)
                finally:
                    self.postgres.query(sql % "reset", self.url + "?options=-cdefault_transaction_read_only%3Doff")
        self.refused(self.url + "?options=-cdefault_transaction_read_only%3Don", "read-only by default", "store.url")
        self.accepted(self.url)

    def test_a_standby(self):
        """It may become the primary: `run` waits for that, and says so."""
        env = {"DATABASE_URL": self.url, "DATA_PLATFORM_URL": "http://127.0.0.1:9/events"}
        signal = pathlib.Path(self.postgres.folder, "data", "standby.signal")
        sluice("migrate", CONFIG, env=env)
        self.postgres.stop()
        signal.touch()
        self.postgres.start()
        with contextlib.ExitStack() as stack:
            stack.callback(self.postgres.start)
            stack.callback(signal.unlink, missing_ok=True)  # a promotion removes it
            stack.callback(self.postgres.stop)
            for line in (["migrate"], ["validate", "--connect"]):
                said = sluice(*line, CONFIG, env=env, check=False)
                self.assertIn("is a standby: it cannot be written to; store.url must lead to the primary", said.stderr)
            engine = Engine(CONFIG, env).start(wait=False)
            stack.callback(engine.kill)
            until(lambda: "is a standby" in engine.text(), lambda: f"a line that says so;\n{engine.text()}", 20)
            self.assertIsNone(engine.process.poll())
            self.postgres.query("select pg_promote()")
            engine.wait_ready()


if __name__ == "__main__":
    unittest.main(verbosity=2)
