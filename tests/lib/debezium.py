"""Debezium's own connector for PostgreSQL, with its outbox event router, beside a test: what a consumer with those
adapters would get. Maven brings its jars once.

    with Debezium(url, "public.outbox", folder, {"route.topic.replacement": "${routedByValue}"}) as router:
        until(lambda: len(router.events) == 3, "three events")

It is ready when it reads the replication slot `debezium` of that database.
"""
import json
import os
import subprocess
import threading
import urllib.parse

from lib import jars
from lib.engine import until
from lib.postgres import psql

VERSION = "2.7.4.Final"
ARTIFACTS = [
    ("io.debezium", "debezium-connector-postgres", VERSION),
    ("io.debezium", "debezium-embedded", VERSION),
]
START_S = 100


def classpath():
    folder = jars.cache() / f"debezium-{VERSION}"
    with jars.made_once(folder) as filling:
        if filling:
            jars.fetch(filling, ARTIFACTS)
    return ":".join(map(str, sorted((folder / "libs").absolute().glob("*.jar"))))


class Debezium:
    def __init__(self, url, table, folder, options):
        self.url, self.table, self.folder, self.options = url, table, folder, options
        self.events = []
        self.process = None

    def __enter__(self):
        where, path = urllib.parse.urlsplit(self.url), classpath()
        command = [jars.java(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]
        command += [f"{path}:{jars.compiled('Debezium', path)}", "Debezium", where.hostname, str(where.port)]
        command += [where.path[1:], where.username, self.table, str(self.folder)]
        command += [f"{name}={value}" for name, value in self.options.items()]
        with open(os.path.join(self.folder, "debezium.log"), "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8"
            )
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        try:
            until(self._reads, "Debezium to read its slot", START_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def _reads(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "debezium.log"), encoding="utf-8") as log:
                raise AssertionError(f"Debezium ended:\n{log.read()}")
        return psql(self.url, "select active from pg_replication_slots where database = current_database()") == "t"

    def _read(self, out):
        for line in out:
            if line.startswith("{"):
                self.events.append(json.loads(line))
        out.close()
