#!/usr/bin/env python3
"""What a service manager is told by real engines: ready, alive and stopping, by the process that it started alone.

Run alone: python3 tests/package/test_notify.py [-k NAME]
"""
import os
import pathlib
import re
import shutil
import signal
import tempfile
import time
import unittest

import _path
from lib.engine import ROOT, Engine
from lib.notify import Manager

STORE = """
pipeline: stored
bus: {kind: postgres}
store: {url: "${DATABASE_URL}"}
engine: {drain_timeout: 45s}
plugins: {template: {library: template.so}}
topics: {in: {handler: template.greet, routes: {done: drop}}}
http: {listen: "${HTTP_LISTEN}"}
"""


class Notify(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-notify-")
        self.addCleanup(shutil.rmtree, self.folder)

    def manager(self, name=None, watchdog_s=None):
        manager = Manager(name or self.folder + "/notify", watchdog_s)
        self.addCleanup(manager.__exit__)
        return manager.__enter__()

    def engine(self, manager, config=ROOT / "config/minimal.yaml", wait=True, env=None, args=()):
        engine = Engine(config, env={**manager.env, **(env or {})}, args=args)
        self.addCleanup(engine.kill)
        return engine.start(wait=wait)

    def whole_life(self, manager, args=()):
        engine = self.engine(manager, args=args)
        manager.wait("WATCHDOG", 3)
        self.assertEqual(len(manager.wait("READY")), 1)
        self.assertEqual(manager.all("STOPPING"), [])
        self.assertEqual(engine.stop(), 0)
        stopping = manager.wait("STOPPING")[0][2]
        self.assertEqual(stopping["STOPPING"], "1")
        self.assertEqual(int(stopping["EXTEND_TIMEOUT_USEC"]), (10 + 20) * 10**6)
        self.assertEqual(len(manager.all("READY")), 1)
        self.assertEqual({pid for _, pid, _ in manager.said}, {engine.process.pid})

    def test_path(self):
        self.whole_life(self.manager(watchdog_s=1.5))

    def test_abstract_socket(self):
        self.whole_life(self.manager(f"@sluice-test-{os.getpid()}", watchdog_s=1.5))

    def test_without_a_master(self):
        self.whole_life(self.manager(watchdog_s=1.5), args=["--single-process"])

    def test_no_watchdog_unless_it_is_wanted(self):
        manager = self.manager()
        engine = self.engine(manager)
        manager.wait("READY")
        self.assertEqual(engine.stop(), 0)
        self.assertEqual(manager.all("WATCHDOG"), [])

    def test_a_worker_that_stands_still_is_not_alive(self):
        manager = self.manager(watchdog_s=3)
        engine = self.engine(manager)
        manager.wait("WATCHDOG", 2)
        os.kill(engine.worker(), signal.SIGSTOP)
        stopped = time.monotonic() + 1
        time.sleep(5)  # nothing else tells that something does not happen
        self.assertEqual([at for at, _, _ in manager.all("WATCHDOG") if at > stopped], [])
        os.kill(engine.worker(), signal.SIGCONT)
        manager.wait("WATCHDOG", len(manager.all("WATCHDOG")) + 2)

    def test_a_worker_that_is_replaced(self):
        manager = self.manager(watchdog_s=1.5)
        engine = self.engine(manager)
        manager.wait("WATCHDOG")
        engine.kill_worker()
        engine.wait_ready(times=2)
        manager.wait("WATCHDOG", len(manager.all("WATCHDOG")) + 2)
        self.assertEqual(len(manager.all("READY")), 1, "it is said once")

    def test_reloads(self):
        """`systemctl reload` waits from RELOADING=1 to READY=1, whatever the answer is; a plan is none."""
        manager = self.manager()
        config = pathlib.Path(self.folder) / "pipeline.yaml"
        good = (ROOT / "config/minimal.yaml").read_text()
        config.write_text(good)
        engine = self.engine(manager, config, env={"HTTP_TOKEN": "secret"})
        manager.wait("READY")
        began_usec = time.monotonic() * 1e6
        for number, text in enumerate((good, "pipeline: wrong\n"), 1):
            config.write_text(text)
            self.assertIn("refused" if number == 2 else "reloaded in", engine.reload())
            manager.wait("READY", number + 1)
            reloading = manager.all("RELOADING")
            self.assertEqual(len(reloading), number)
            self.assertEqual(reloading[-1][2]["RELOADING"], "1")
            self.assertGreater(int(reloading[-1][2]["MONOTONIC_USEC"]), began_usec)
        order = [name for _, _, lines in manager.said for name in ("READY", "RELOADING") if name in lines]
        self.assertEqual(order, ["READY", "RELOADING"] * 2 + ["READY"])
        self.assertEqual({pid for _, pid, _ in manager.said}, {engine.process.pid})
        config.write_text(good)
        token = {"Authorization": "Bearer secret"}
        self.assertEqual(engine.request("POST", "/reload?plan", headers=token)[0], 200)
        self.assertEqual(engine.stop(), 0)
        self.assertEqual(len(manager.all("RELOADING")), 2, "a plan changes nothing")

    def test_ready_is_when_it_takes_work(self):
        manager = self.manager(watchdog_s=1.5)
        config = pathlib.Path(self.folder) / "stored.yaml"
        config.write_text(STORE)
        engine = self.engine(manager, config, wait=False, env={"DATABASE_URL": "postgresql://127.0.0.1:1/away"})
        manager.wait("WATCHDOG", 3)
        self.assertEqual(manager.all("READY"), [], "its database is away")
        engine.process.send_signal(signal.SIGTERM)
        stopping = manager.wait("STOPPING")[0][2]
        self.assertEqual(int(stopping["EXTEND_TIMEOUT_USEC"]), (45 + 20) * 10**6)

    def test_what_cannot_be_told(self):
        engine = Engine(ROOT / "config/minimal.yaml", env={"NOTIFY_SOCKET": "vsock:2:7"})
        self.addCleanup(engine.kill)
        engine.start()
        self.assertTrue(re.search(r"NOTIFY_SOCKET=vsock:2:7 is no UNIX socket", engine.text()), engine.text())
        self.assertEqual(engine.stop(), 0)

    def test_a_wrong_configuration_is_never_ready(self):
        manager = self.manager()
        config = pathlib.Path(self.folder) / "wrong.yaml"
        config.write_text("pipeline: wrong\n")
        engine = self.engine(manager, config, wait=False)
        self.assertEqual(engine.process.wait(30), 78)
        self.assertEqual(manager.all("READY"), [])


if __name__ == "__main__":
    unittest.main()
