"""A PostgreSQL of a test's own, in a folder of its own, which a test may stop, kill and freeze.

    with PrivatePostgres() as postgres:
        url = postgres.create_database()
        postgres.query("SELECT 1", url)      # [["1"]]

It is gone when the test is, however the test ends: a watcher outlives us for that.
"""
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from lib.engine import until

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "private_postgres")

# Reads until its parent's end of the pipe is closed, by whatever death, then stops the server and removes its folder.
WATCHER = """
import shutil, signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sys.stdin.read()
subprocess.run([sys.argv[1], "stop", sys.argv[2]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
shutil.rmtree(sys.argv[2], ignore_errors=True)
"""


def _run(*arguments, **options):
    done = subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class PrivatePostgres:
    def __init__(self, port=None):
        self.folder = tempfile.mkdtemp(prefix="sluice-pg-", dir="/tmp")
        self.port = port
        self.url = None
        self.watcher = None
        self.numbers = itertools.count(1)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        if self.watcher is None:
            self.watcher = subprocess.Popen(
                [sys.executable, "-c", WATCHER, SCRIPT, self.folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.url = _run(SCRIPT, "start", self.folder, *([str(self.port)] if self.port else [])).strip()
        self.port = int(self.url.rsplit(":", 1)[1].split("/")[0])
        return self.url

    def stop(self):
        _run(SCRIPT, "stop", self.folder)

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        if self.watcher is not None:
            self.watcher.stdin.close()
            self.watcher.wait()
            self.watcher = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def heal(self):
        """What a test may have left stopped, killed or frozen."""
        try:
            with open(f"/proc/{self.pid()}/stat", encoding="utf-8") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            self.start()
        else:
            if state == "T":
                self.signal(signal.SIGCONT)

    def pid(self):
        """Of the postmaster."""
        with open(os.path.join(self.folder, "data", "postmaster.pid"), encoding="utf-8") as file:
            return int(file.readline())

    def processes(self):
        """The postmaster and its children."""
        found = _run("ps", "-o", "pid=", "--ppid", str(self.pid()), "--pid", str(self.pid()))
        return [int(line) for line in found.split()]

    def kill(self):
        """kill -9 of the server with all its processes, as when the machine dies; start() recovers it."""
        pids = self.processes()
        os.kill(pids[0] if self.pid() not in pids else self.pid(), signal.SIGSTOP)  # starts nobody anew meanwhile
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "death of the server")

    def signal(self, number):
        """The same signal to all processes: SIGSTOP freezes the server, SIGCONT goes on."""
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    @contextlib.contextmanager
    def locked(self, table, url):
        """Nobody writes the table: who wants to waits until the end of this."""
        with subprocess.Popen(["psql", "-qX", "-d", url], stdin=subprocess.PIPE, text=True) as psql:
            psql.stdin.write(f"begin; lock table {table} in share mode;\n")
            psql.stdin.flush()
            mine = f"select 1 from pg_locks where relation = '{table}'::regclass and mode = 'ShareLock' and granted"
            until(lambda: self.value(mine, url), f"the lock of {table}")
            yield
            psql.stdin.close()

    def create_database(self, name=None):
        """A new, empty database; returns its URL."""
        name = name or f"test_{next(self.numbers)}"
        self.query(f'CREATE DATABASE "{name}"')
        return self.url.rsplit("/", 1)[0] + "/" + name

    def query(self, sql, url=None):
        """Runs SQL through psql; returns the last statement's rows as lists of strings (None for NULL)."""
        out = _run(
            "psql",
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-F",
            "\x1f",
            "-R",
            "\x1e",
            "-P",
            "null=\x1d",
            "-d",
            url or self.url,
            "-c",
            sql,
        )
        out = out[:-1] if out.endswith("\n") else out
        return (
            [[None if cell == "\x1d" else cell for cell in row.split("\x1f")] for row in out.split("\x1e")]
            if out
            else []
        )

    def value(self, sql, url=None):
        """The first column of the first row, or None."""
        rows = self.query(sql, url)
        return rows[0][0] if rows else None


def psql(url, text):
    """What psql prints of the last statement's rows: columns with | between them, a line each."""
    command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url, "-c", text]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
