"""A PgBouncer of a test's own, in front of a PrivatePostgres.

    with Pgbouncer(postgres, folder, "transaction") as pooler:
        url = pooler.url(postgres_url)
"""
import os
import shutil
import socket
import subprocess
import time

PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Pgbouncer:
    def __init__(self, postgres, folder, mode, **settings):
        self.postgres = postgres
        self.folder = folder
        self.settings = {
            "pool_mode": mode,
            "auth_type": "any",
            "listen_addr": "127.0.0.1",
            "unix_socket_dir": "",
            "ignore_startup_parameters": "options,extra_float_digits",
            "default_pool_size": 10,
            **settings,
        }
        self.process = None

    def __enter__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        lines = ["[databases]", f"* = host=127.0.0.1 port={self.postgres.port} user=postgres", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in {**self.settings, "listen_port": self.port}.items()]
        ini = self.folder / f"pgbouncer-{self.port}.ini"
        ini.write_text("\n".join(lines) + "\n")
        self.folder.chmod(0o755)
        as_user = ["-u", "postgres"] if os.getuid() == 0 else []  # it does not run as root
        self.process = subprocess.Popen([PROGRAM, "-q", *as_user, ini], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def url(self, url):
        return url.replace(f":{self.postgres.port}/", f":{self.port}/")
