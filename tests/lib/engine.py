"""An engine process for tests: start it on a configuration, wait until it is ready, talk to it, end it."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("B", "build/")
SLUICE = BUILD / "sluice"


def until(condition, what, limit_s=20.0, step_s=0.01):
    """Waits for a condition and returns what it gave; fails with a sentence when the bound is over: `what`, or what it
    returns then, such as all that an engine said. A condition that asks an engine whose worker ends, or is being
    started again, gets no answer or a part of one, and brokers that have no leader yet give none in time
    (KafkaTimeout): it does not hold yet.
    """
    end = time.monotonic() + limit_s
    while True:
        value, refused = None, ""
        try:
            value = condition()
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            refused = f": {error}"
        if value:
            return value
        if time.monotonic() > end:
            said = what() if callable(what) else what
            raise AssertionError(f"waited {limit_s} s in vain for {said}{refused}")
        time.sleep(step_s)


class Engine:
    """`sluice run CONFIG` with HTTP on a port of its own. `env` adds to the environment; `program` is another one than
    what was built."""

    def __init__(self, config, env=None, args=(), http=True, program=SLUICE):
        self.config = str(config)
        self.env = dict(os.environ, HTTP_LISTEN="127.0.0.1:0", **(env or {}))
        self.args = list(args)
        self.http = http
        self.program = program
        self.process = None
        self.port = 0
        self.log = []
        self.ready_ms = None
        self.read = threading.Event()
        self.read.set()

    def start(self, wait=True):
        self.began = time.monotonic()
        self.log = []
        self.process = subprocess.Popen(
            [self.program, "run", self.config, "--log-format", "text", *self.args],
            env=self.env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()
        if wait:
            try:
                self.wait_ready()
            except (KeyboardInterrupt, SystemExit):  # nobody has it yet, to end it
                self.kill()
                raise
        return self

    def _read(self, process):
        for line in process.stderr:
            self.read.wait()
            if line == "\n":  # of mute()
                continue
            if "ready:" in line and self.ready_ms is None:
                self.ready_ms = (time.monotonic() - self.began) * 1000
            found = re.search(r"http on [^ ]*:(\d+)", line)
            if found:
                self.port = int(found.group(1))
            self.log.append(line.rstrip("\n"))  # last: who sees the line asks that port

    def readies(self):
        return sum("ready:" in line for line in self.log)

    def wait_ready(self, times=1, limit_s=20.0):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the engine ended with {self.process.returncode}:\n" + self.text())
            return self.readies() >= times

        until(ready, lambda: f"the engine's 'ready'; it said:\n{self.text()}", limit_s)

    def text(self):
        return "\n".join(self.log[-60:])

    def worker(self):
        """Pid of the worker process: the master's only child."""
        workers = self.workers()
        return workers[0] if workers else None

    def workers(self):
        """Pids of the master's children: two while it reloads."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]

    def mute(self):
        """Nobody reads what it logs from now on, and the pipe is full."""
        self.read.clear()
        pipe = os.open(f"/proc/{self.process.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
        for size in (64, 64, 1):  # the reader takes one more piece before it stops
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(pipe, b"\n" * size)
            time.sleep(0.1)
        os.close(pipe)

    def unmute(self):
        self.read.set()

    def kill(self, sig=signal.SIGKILL):
        """Kills the master; the worker dies with it."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(30)
        self.read.set()
        if self.process:
            self.reader.join(5)
            self.process.stderr.close()

    def kill_worker(self, sig=signal.SIGKILL):
        pid = self.worker()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
        return pid

    def answers(self):
        """What the master said of reloads, the first line of each: "PIPELINE: reloaded in …"."""
        found = (re.match(r"\S+ \S+ +reload: (\S+: \S.*)", line) for line in list(self.log))
        return [match.group(1) for match in found if match]

    def reload(self, limit_s=60.0):
        """SIGHUP; returns the answer."""
        count = len(self.answers())
        self.process.send_signal(signal.SIGHUP)
        until(lambda: len(self.answers()) > count, lambda: f"the answer to a reload; it said:\n{self.text()}", limit_s)
        return self.answers()[count]

    def stop(self, limit_s=30.0):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(limit_s)
        self.reader.join(5)
        self.process.stderr.close()
        return code

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the engine did not stop within 30 s of SIGTERM; it said:\n" + self.text()) from None

    def request(self, method, path, body=None, headers=None, timeout=40):
        """(status, parsed JSON or text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = None if body is None else body if isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            text = response.read().decode()
            try:
                return response.status, json.loads(text)
            except ValueError:
                return response.status, text
        finally:
            connection.close()

    def metric(self, name):
        """Sum of a metric's series; a name with labels picks one."""
        total = 0.0
        for line in self.request("GET", "/metrics")[1].splitlines():
            if line.startswith(name) and (line[len(name)] in " {"):
                total += float(line.rsplit(" ", 1)[1])
        return total


def sluice(*args, env=None, data=None, check=True, program=SLUICE, limit_s=120):
    """Runs a command; returns its CompletedProcess with texts, in which bytes that are no UTF-8 survive. data: text or
    bytes. program: another one than the tree's, which may hold a mistake."""
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    try:
        done = subprocess.run(
            [program, *map(str, args)],
            env=dict(os.environ, **(env or {})),
            cwd=ROOT,
            input=data,
            capture_output=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as hung:
        raise AssertionError(
            f"sluice {' '.join(map(str, args))} did not end; it said\n{hung.stdout}\n{hung.stderr}"
        ) from None
    done.stdout, done.stderr = (out.decode("utf-8", "surrogateescape") for out in (done.stdout, done.stderr))
    if check and done.returncode != 0:
        raise AssertionError(
            f"sluice {' '.join(map(str, args))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done


def topic_dump(config, env, *topics):
    """Everything on the topics: a list of dicts with topic, key, headers, value (text), partition, timestamp; in the
    log's order."""
    out = sluice("tap", config, *(topics or ["*"]), "--no-follow", "--json", env=env).stdout
    return [json.loads(line) for line in out.split("\n") if line]
