"""tests/process/store_drive as an object, and a proxy that cheats between it and the server."""
import json
import os
import select
import socket
import subprocess
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("B", "build/"))


class Drive:
    """One connection of the store. Every command returns the answer as a dict; ask() and answer() are its two
    halves."""

    def __init__(self, url, **environment):
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tests/process/store_drive")],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ, DATABASE_URL=url, **environment),
        )

    def __enter__(self):
        return self

    def __exit__(self, failure=None, *_):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        if failure is None and self.process.returncode != 0:  # a leak, when it is built with the sanitizers
            raise AssertionError(f"store_drive ended with {self.process.returncode}")

    def ask(self, *fields):
        self.process.stdin.write("\t".join(map(str, fields)) + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"store_drive is gone: {self.process.wait()}")
        return json.loads(line)

    def __call__(self, *fields):
        self.ask(*fields)
        return self.answer()


class Proxy:
    """Between a client and the server at `port`. to_client(bytes) → bytes, or None to close both ends, sees what the
    server says; `commit_seen` is set once the client has sent "commit"."""

    def __init__(self, port, to_client):
        self.to_client = to_client
        self.server_port = port
        self.commit_seen = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url):
        return url.replace(f":{self.server_port}/", f":{self.port}/")

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.server_port))
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _pump(self, client, server):
        with client, server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        data = ready.recv(65536)
                    except OSError:
                        return
                    if ready is client:
                        self.commit_seen = self.commit_seen or b"commit\0" in data
                    else:
                        data = self.to_client(data)
                    if not data:
                        return
                    (server if ready is client else client).sendall(data)
