#!/usr/bin/env python3
"""A bench that is ended leaves nothing that runs: no PostgreSQL, no engine.

Run alone: python3 tests/process/test_bench_end.py [-k NAME].
"""
import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import unittest

import _path
from lib.engine import ROOT, until

PR_SET_CHILD_SUBREAPER = 36


def below(pid):
    """(pid, command) of the processes that this one began, and theirs, that have not ended."""
    found = []
    with contextlib.suppress(OSError):
        for children in list(pathlib.Path(f"/proc/{pid}/task").glob("*/children")):
            for child in map(int, children.read_text().split()):
                command = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                found += [(child, command)] if command else []  # else it is a zombie
                found += below(child)
    return found


class Ended(unittest.TestCase):
    def ends(self, number):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # who loses its parent is found below this process
        self.addCleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid, _ in below(os.getpid())])
        env = dict(os.environ, PARTS="idle", ROUNDS="1", QUIET="0", BUS="postgres")
        out = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([ROOT / "tests/bench/bench"], env=env, **out) as bench:
            until(lambda: sum("sluice run " in command for _, command in below(os.getpid())) > 1, "a worker", 60)
            bench.send_signal(number)
            bench.wait(60)
        left = below(os.getpid())
        until(lambda: not below(os.getpid()), f"the end of {left}", 10)

    def test_by_a_timeout(self):
        self.ends(signal.SIGTERM)

    def test_by_ctrl_c(self):
        self.ends(signal.SIGINT)


if __name__ == "__main__":
    unittest.main(verbosity=2)
