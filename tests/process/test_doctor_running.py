#!/usr/bin/env python3
"""`sluice doctor` and an engine that runs the file: what the engine says of itself, and what it has taken up.

Run alone: python3 tests/process/test_doctor_running.py.
"""
import os
import shutil
import time
import unittest

import _path
from doctor_case import YAML, DoctorCase
from lib.engine import BUILD, ROOT, Engine, sluice, until

PURCHASE = '{"reservationId": 1, "userId": 7, "seatId": 9, "amount": 10, "paymentTxId": "p-1", "paymentToken": "t"}'


class Running(DoctorCase):
    def test_an_engine_opens_no_more_connections_than_it_says(self):
        engine = Engine(self.config, self.env)
        self.addCleanup(engine.kill)
        engine.start()
        engine.request("GET", "/payments/x")
        engine.request("GET", "/chains")
        self.sql("select 1")
        count = self.postgres.value(
            "select count(*) from pg_stat_activity where application_name like 'sluice/ticketing%'", self.url
        )
        said = self.says("connections", "good", "one process opens up to 16 connections; .* 0 are others'")
        self.assertTrue(10 <= int(count) <= 16, count)
        self.assertEqual(said["changed_files"][0], "good", said["changed_files"])
        self.assertIn("the running engine may open", said["open_files"][1])
        self.assertEqual(engine.stop(), 0)

    def test_what_changed_since_the_engine_started(self):
        library = self.folder / "payment.so"
        shutil.copy(BUILD / "plugins/payment.so", library)
        shutil.copytree(ROOT / "plugins/payment/sql", self.folder / "payment/sql")
        self.config.write_text(YAML.replace("library: payment.so", f'library: "{library}"'))
        self.says("changed_files", "not checked", "no `sluice run` of this file")
        engine = Engine(self.config, self.env)
        self.addCleanup(engine.kill)
        engine.start()
        self.says("changed_files", "good", rf"the engine \(pid {engine.process.pid}\)")
        time.sleep(1.2)  # it says the second in which it read them
        shutil.copy(BUILD / "plugins/payment.so", self.folder / "other.so")
        os.rename(self.folder / "other.so", library)
        said = self.says("changed_files", "warns", rf"{library} was changed .* \(pid {engine.process.pid}\)")
        self.assertNotIn("pipeline.yaml was", said["changed_files"][1])
        self.config.write_text(self.config.read_text() + "# more\n")
        self.says("changed_files", "warns", rf"{self.config} was changed")
        env = {"HTTP_LISTEN": f"127.0.0.1:{engine.port}"}
        self.says("changed_files", "warns", rf"{self.config} was changed", env)
        self.assertIn("reloaded in", engine.reload())
        self.says("changed_files", "good", "the engine", env)
        self.assertEqual(engine.stop(), 0)
        engine.start()
        self.says("changed_files", "good", "the engine")
        self.assertEqual(engine.stop(), 0)

    def test_what_a_running_engine_says(self):
        self.says("ready", "not checked", "no `sluice run` of this file")
        engine = Engine(self.config, self.env)
        self.addCleanup(engine.kill)
        engine.start()
        env = {"HTTP_LISTEN": f"127.0.0.1:{engine.port}"}
        self.says("ready", "good", rf"the engine \(pid {engine.process.pid}\) takes work", env)
        self.says(
            "ready",
            "warns",
            "does not answer at http://127.0.0.1:1/readyz: Failed to connect",
            {"HTTP_LISTEN": "0.0.0.0:1"},
        )
        self.says("ready", "not checked", "port 0", {"HTTP_LISTEN": "127.0.0.1:0"})
        self.sql("alter table users rename to people")
        try:
            sluice("emit", self.config, "payment.try", "--data", PURCHASE, env=self.env)
            until(
                lambda: engine.request("GET", "/readyz")[0] == 503, lambda: f"the stop of the handler\n{engine.text()}"
            )
            self.says("ready", "bad", "handler payment.charge of plugin payment has stopped: .*users", env)
        finally:
            self.sql("alter table people rename to users")
        until(lambda: engine.request("GET", "/readyz")[0] == 200, lambda: f"the handler to go on\n{engine.text()}", 60)
        self.says("ready", "good", "no handler has stopped", env)
        self.assertEqual(engine.stop(), 0)


if __name__ == "__main__":
    unittest.main()
