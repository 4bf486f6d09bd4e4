"""A service manager's socket for tests: what the process behind $NOTIFY_SOCKET says, with the pid that said it."""
import socket
import struct
import threading
import time

from lib.engine import until


class Manager:
    """A context; `env` goes into the environment of what is started. watchdog_s: how often it wants to hear."""

    def __init__(self, name, watchdog_s=None):
        """name: an absolute path, or '@' and an abstract name."""
        self.env = {"NOTIFY_SOCKET": name}
        if watchdog_s:
            self.env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)
        self.socket.settimeout(0.5)
        self.said = []  # (monotonic time, pid of the sender, {name: value})
        self.over = False
        self.thread = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        while not self.over:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(4096, 256)
            except TimeoutError:
                continue
            pid = struct.unpack("3i", ancillary[0][2])[0]
            lines = dict(line.split("=", 1) for line in data.decode().splitlines())
            self.said.append((time.monotonic(), pid, lines))

    def all(self, name):
        return [one for one in list(self.said) if name in one[2]]

    def wait(self, name, count=1, limit_s=30):
        """The first `count` datagrams with that name."""
        until(lambda: len(self.all(name)) >= count, f"{count} × {name}; it said {self.said}", limit_s)
        return self.all(name)[:count]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        self.socket.close()
