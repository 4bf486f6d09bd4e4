#!/usr/bin/env python3
"""Kafka for tests: it starts, keeps its data through kill -9, moves leaders and coordinators, leaves nothing behind.

Run alone: python3 tests/process/test_kafka_cluster.py
"""
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import _path
from lib.engine import sluice, until
from lib.kafka import KafkaError, KafkaTimeout, PrivateKafka, SCRIPT
from lib.pipeline_case import CHAOS

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAIT_S = 60


def owned():
    """A cluster of this test's own, whatever brokers other tests are given."""
    os.environ.pop("SLUICE_TEST_BROKERS", None)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def exists(pid):
    return os.path.exists(f"/proc/{pid}")


class One(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        owned()
        cls.kafka = PrivateKafka()
        cls.addClassCleanup(cls.kafka.close)
        cls.kafka.start()

    def setUp(self):
        self.addCleanup(self.kafka.heal)

    def topic(self, partitions=1, **options):
        name = self.id().rsplit(".", 1)[1]
        self.kafka.create_topic(name, partitions, **options)
        return name

    def test_topics(self):
        topic = self.topic(3, configs={"retention.ms": "60000"})
        self.assertIn(topic, self.kafka.topics())
        self.assertEqual(
            [(p.partition, p.leader, p.isr) for p in self.kafka.describe(topic)], [(n, 1, [1]) for n in range(3)]
        )
        self.kafka.add_partitions(topic, 5)
        until(lambda: len(self.kafka.describe(topic)) == 5, "five partitions", WAIT_S)
        self.kafka.alter_topic_config(topic, {"retention.ms": None, "max.message.bytes": 2000})
        with self.assertRaisesRegex(KafkaError, "RecordTooLarge"):
            until(lambda: self.kafka.produce(topic, None, b"x" * 3000) and False, "a refusal", WAIT_S)
        self.kafka.delete_topic(topic)
        until(lambda: topic not in self.kafka.topics(), "a deleted topic", WAIT_S)

    def test_records(self):
        topic = self.topic(2)
        key, value, header = bytes(range(256)), b"\0\xff\n", ("name", b"\x80\0")
        now = int(time.time() * 1000) - 60000  # what is older than the retention is gone within a second
        place = self.kafka.produce(topic, key, value, partition=1, headers=[header, ("none", None)], timestamp=now)
        self.assertEqual(place, (1, 0))
        self.assertEqual(self.kafka.produce(topic, None, None, partition=0), (0, 0))
        self.kafka.produce_many(topic, [(f"k{n}", "v") for n in range(1000)])
        found = self.kafka.dump(topic)
        self.assertEqual(len(found), 1002)
        self.assertEqual(tuple(found[0])[:5], (0, 0, None, None, []))
        self.assertIn((1, 0, key, value, [header, ("none", None)], now), found)
        self.assertEqual(sum(self.kafka.end_offsets(topic).values()), 1002)
        self.assertEqual(self.kafka.delete_records(topic, 1, 1), 1)
        self.assertEqual(self.kafka.begin_offsets(topic), {0: 0, 1: 1})
        self.assertEqual(len(self.kafka.dump(topic)), 1001)

    def test_transactions(self):
        topic = self.topic()
        self.kafka.produce_transaction(topic, [("k", "kept")])
        self.kafka.produce_transaction(topic, [("k", "aborted")], commit=False)
        self.assertEqual([r.value for r in self.kafka.dump(topic)], [b"kept"])
        self.kafka.produce_transaction(topic, [("k", "open")], commit=None)
        self.kafka.produce(topic, "k", "after")
        self.assertEqual([r.value for r in self.kafka.dump(topic)], [b"kept"])
        self.assertEqual(
            [r.value for r in self.kafka.dump(topic, committed=False)], [b"kept", b"aborted", b"open", b"after"]
        )
        self.assertLess(self.kafka.end_offsets(topic, committed=True)[0], self.kafka.end_offsets(topic)[0])

    def test_groups(self):
        topic = self.topic(2)
        self.assertEqual(self.kafka.committed("group"), {})
        self.kafka.reset_offsets("group", topic, 1, 5)
        self.assertEqual(self.kafka.committed("group"), {topic: {1: 5}})
        self.assertIn("group", self.kafka.groups())
        self.assertEqual(self.kafka.members("group"), [])
        self.assertEqual(self.kafka.coordinator("group"), 1)
        self.kafka.delete_group("group")
        self.assertNotIn("group", self.kafka.groups())

    def test_the_brokers_words(self):
        topic = self.topic()
        with self.assertRaisesRegex(KafkaError, f"create_topic: TopicExistsException: Topic '{topic}' already exists"):
            self.kafka.create_topic(topic)
        with self.assertRaisesRegex(KafkaError, "InvalidReplicationFactor"):
            self.kafka.create_topic("copies", replication=3)
        with self.assertRaisesRegex(KafkaError, "UnknownTopicOrPartition"):
            self.kafka.describe("nowhere")

    def test_frozen(self):
        topic = self.topic()
        self.kafka.produce(topic, "k", "before")
        self.kafka.freeze(1)
        with self.assertRaisesRegex(KafkaTimeout, "produce: TimeoutException"):
            self.kafka.produce(topic, "k", "during", limit_s=0.5)
        with self.assertRaisesRegex(KafkaTimeout, "list: TimeoutException"):
            self.kafka.topics(limit_s=0.5)
        self.kafka.thaw(1)
        self.kafka.produce(topic, "k", "after")
        values = [record.value for record in self.kafka.dump(topic)]
        self.assertEqual((values[0], values[-1]), (b"before", b"after"))

    def test_kill_and_restart_keep_data(self):
        topic = self.topic(2)
        self.kafka.produce_many(topic, [(f"k{n}", f"v{n}") for n in range(500)], limit_s=60)
        self.kafka.reset_offsets("kept", topic, 0, 3)
        before, nodes, pid = self.kafka.dump(topic), self.kafka.nodes(), self.kafka.pid(1)
        self.kafka.kill(1)
        self.assertFalse(self.kafka.runs(1))
        self.assertFalse(listens(nodes[1]["client"]))
        self.kafka.restart(1)
        self.assertNotEqual(self.kafka.pid(1), pid)
        self.assertTrue(listens(nodes[1]["client"]))
        self.assertEqual(self.kafka.dump(topic), before)
        self.assertEqual(self.kafka.committed("kept"), {topic: {0: 3}})
        self.kafka.stop(1)
        self.kafka.restart(1)
        self.assertEqual(self.kafka.dump(topic), before)


class Three(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        owned()
        cls.kafka = PrivateKafka(3, proxied=True)
        cls.addClassCleanup(cls.assert_gone)
        cls.addClassCleanup(cls.kafka.close)
        cls.kafka.start()
        cls.ports = [port for node in cls.kafka.nodes().values() for port in node.values()]

    def setUp(self):
        self.addCleanup(self.kafka.heal)

    @classmethod
    def assert_gone(cls):
        assert not any(map(listens, cls.ports)), "a broker or a proxy outlived close()"

    def test_copies(self):
        self.kafka.create_topic("copies", 3)
        for partition in self.kafka.describe("copies"):
            self.assertEqual(sorted(partition.replicas), [1, 2, 3])

    def test_leader_and_coordinator_move(self):
        self.kafka.create_topic("moves", 1)
        self.kafka.produce("moves", "k", "before")
        self.kafka.reset_offsets("mover", "moves", 0, 1)
        for n in (1, 2, 3):
            self.kafka.move_leader("moves", 0, n)
            until(lambda: self.kafka.leader("moves", 0) == n, f"leader {n}", WAIT_S)
            self.kafka.move_coordinator("mover", n)
            until(lambda: self.kafka.coordinator("mover") == n, f"coordinator {n}", WAIT_S)
        self.kafka.kill(3)
        until(lambda: self.kafka.leader("moves", 0) not in (3, -1), "another leader", WAIT_S)
        until(lambda: self.kafka.coordinator("mover") not in (3, -1), "another coordinator", WAIT_S)
        self.kafka.produce("moves", "k", "after")
        self.assertEqual([record.value for record in self.kafka.dump("moves")], [b"before", b"after"])
        self.assertEqual(self.kafka.committed("mover"), {"moves": {0: 1}})
        self.kafka.restart(3)
        until(lambda: 3 in self.kafka.describe("moves")[0].isr, "the third copy", WAIT_S)

    def test_what_doctor_says_of_replicas(self):
        self.kafka.create_topic("doctor.in", 1, configs={"min.insync.replicas": 1})
        self.kafka.create_topic("doctor.in-dlt", 1, configs={"min.insync.replicas": 2})
        folder = tempfile.TemporaryDirectory(prefix="sluice-test-")
        self.addCleanup(folder.cleanup)
        config = pathlib.Path(folder.name, "pipeline.yaml")
        config.write_text(
            'pipeline: doctor\nbus: {kind: kafka, properties: {bootstrap.servers: "${KAFKA_BROKERS}"}}\n'
            f"plugins: {{chaos: {{library: {CHAOS}}}}}\n"
            "topics: {doctor.in: {handler: chaos.act, routes: {ok: drop, other: drop}}}\n"
        )

        def said():
            return sluice("doctor", config, env=self.kafka.env(), check=False).stdout

        low = "warns +in_sync: topic 'doctor.in' takes records that one of its 3 replicas has"
        self.assertRegex(said(), low)
        self.assertNotIn("in_sync: topic 'doctor.in-dlt'", said())
        self.kafka.kill(3)
        behind = r"warns +in_sync: partition 0 of topic 'doctor.in-dlt' has 3 replicas, and 2 of them in sync"
        until(lambda: re.search(behind, said()), "a broker that is missing", WAIT_S)
        self.kafka.restart(3)
        self.kafka.alter_topic_config("doctor.in", {"min.insync.replicas": 2})
        until(lambda: "good         in_sync: each partition has a leader" in said(), "the third copies", WAIT_S)

    def test_all_killed(self):
        self.kafka.create_topic("all_killed", 3)
        self.kafka.produce_many("all_killed", [(f"k{n}", "v") for n in range(100)])
        before = self.kafka.dump("all_killed")
        self.kafka.kill_all()
        self.kafka.restart_all()
        self.assertEqual(self.kafka.dump("all_killed"), before)

    def test_clients_pass_the_proxies(self):
        ports = [int(server.split(":")[1]) for server in self.kafka.servers.split(",")]
        self.assertEqual(ports, [self.kafka.proxies[n].port for n in (1, 2, 3)])
        os.environ["SLUICE_TEST_BROKERS"] = self.kafka.servers
        self.addCleanup(owned)
        with PrivateKafka(3) as client:
            self.assertEqual(client.env(), {"KAFKA_BROKERS": self.kafka.servers})
            client.create_topic("proxied", 3)
            for n in range(3):
                client.produce("proxied", None, b"x", partition=n)
            self.assertTrue(all(self.kafka.proxies[n].bytes_up for n in (1, 2, 3)))
            for call in (client.kill, client.stop, client.freeze, client.restart):
                with self.assertRaisesRegex(RuntimeError, "SLUICE_TEST_BROKERS: these brokers are not ours"):
                    call(1)
            for proxy in self.kafka.proxies.values():
                proxy.cut()
            with self.assertRaises(KafkaTimeout):
                client.produce("proxied", None, b"x", limit_s=1)
            self.kafka.produce("proxied", None, b"x")
            for proxy in self.kafka.proxies.values():
                proxy.mend()
            client.produce("proxied", None, b"x")
        self.assertTrue(all(self.kafka.runs(n) for n in (1, 2, 3)))


class Gone(unittest.TestCase):
    def setUp(self):
        owned()

    def assert_gone(self, folder, pids, ports):
        until(lambda: not any(map(exists, pids)), "the end of the brokers", WAIT_S)
        self.assertFalse(any(map(listens, ports)))
        until(lambda: not os.path.exists(folder), "the end of the folder", WAIT_S)

    def test_after_close(self):
        kafka = PrivateKafka()
        with kafka:
            pids = [kafka.pid(1), kafka.process.pid, kafka.watcher.pid]
            ports = list(kafka.nodes()[1].values())
            self.assertTrue(all(map(exists, pids)) and all(map(listens, ports)))
            kafka.freeze(1)
        self.assert_gone(kafka.folder, pids, ports)

    def test_after_death_of_the_test(self):
        code = (
            "import sys, time; sys.path.insert(0, sys.argv[1]); from lib.kafka import PrivateKafka;"
            "k = PrivateKafka(); k.start();"
            "print(k.dir, k.pid(1), k.process.pid, *k.nodes()[1].values(), flush=True); time.sleep(99)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(ROOT / "tests")], stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as test:
            folder, *numbers = test.stdout.readline().split()
            broker, admin, *ports = map(int, numbers)
            self.assertTrue(exists(broker))
            os.killpg(test.pid, signal.SIGKILL)
        self.assert_gone(os.path.dirname(folder), [broker, admin], ports)

    def test_script(self):
        with tempfile.TemporaryDirectory(prefix="sluice-kafka-") as parent:
            folder = os.path.join(parent, "cluster")
            first = subprocess.check_output([SCRIPT, "start", folder], text=True).strip()
            try:
                self.assertRegex(first, r"^127\.0\.0\.1:\d+$")
                self.assertTrue(listens(int(first.split(":")[1])))
                pid = int(pathlib.Path(folder, "broker-1.pid").read_text(encoding="utf-8"))
                self.assertEqual(subprocess.check_output([SCRIPT, "start", folder], text=True).strip(), first)
                self.assertEqual(int(pathlib.Path(folder, "broker-1.pid").read_text(encoding="utf-8")), pid)
            finally:
                subprocess.check_call([SCRIPT, "stop", folder])
            self.assert_gone(folder, [pid], [int(first.split(":")[1])])


if __name__ == "__main__":
    unittest.main()
