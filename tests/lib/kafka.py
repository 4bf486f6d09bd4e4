"""An Apache Kafka of a test's own, one broker or three, which a test may stop, kill, freeze and cut off.

    with PrivateKafka(brokers=3) as kafka:
        kafka.create_topic("t", partitions=4)
        kafka.produce("t", b"key", b"value")             # (partition, offset)
        kafka.kill(kafka.leader("t", 0))
        [record.value for record in kafka.dump("t")]     # [b"value"]

It is gone when the test is, however the test ends: a watcher outlives us for that. With SLUICE_TEST_BROKERS set,
PrivateKafka() is the cluster at these addresses, which nobody stops or kills. What a test asks of Kafka goes through
Kafka's own clients: KafkaAdmin.java, a process beside the brokers. Brokers are numbered from 1, as Kafka reports them.
"""
import base64
import collections
import ctypes
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from lib.proxy import Proxy

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = str(HERE / "kafka_cluster")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1

# Reads until its parent's end of the pipe is closed, by whatever death, then ends the brokers and removes their folder.
WATCHER = """
import os, shutil, signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sys.stdin.read()
subprocess.run([sys.argv[1], "stop", sys.argv[2]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
shutil.rmtree(os.path.dirname(sys.argv[2]), ignore_errors=True)
"""

Record = collections.namedtuple("Record", "partition offset key value headers timestamp")
Partition = collections.namedtuple("Partition", "partition leader replicas isr")


class KafkaError(Exception):
    """What a broker or Kafka's client said: `Class: text`."""


class KafkaTimeout(KafkaError, TimeoutError):
    """No answer in time: Kafka's clients ask again while brokers refuse for a reason that passes."""


def _run(*arguments, **options):
    done = subprocess.run(arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)[:200]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _die_with_parent():
    """So that nobody starts brokers behind the watcher's back."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _text(data):
    return None if data is None else base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def _bytes(text):
    return None if text is None else base64.b64decode(text)


def _record(given):
    """(key, value), (key, value, headers) or a dict of these, partition, topic, timestamp: as KafkaAdmin takes it."""
    if not isinstance(given, dict):
        given = dict(zip(("key", "value", "headers"), given))
    headers = given.get("headers") or []
    headers = headers.items() if isinstance(headers, dict) else headers
    return {
        **given,
        "key": _text(given.get("key")),
        "value": _text(given.get("value")),
        "headers": [[name, _text(value)] for name, value in headers],
    }


class KafkaAdmin:
    """Kafka's own clients in one process beside the test. Each call takes `limit_s`; a refusal is a KafkaError."""

    def __init__(self):
        self.process = None
        self.numbers = itertools.count(1)
        self.waiting = {}
        self.lock = threading.Lock()

    def connect(self, servers, log):
        classpath = _run(SCRIPT, "classpath").strip()
        command = [
            "java",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
            classpath,
            "KafkaAdmin",
            servers,
        ]
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8"
            )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def disconnect(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process = None

    def _read(self, process):
        for line in process.stdout:
            if line.startswith("{"):
                answer = json.loads(line)
                with self.lock:
                    place = self.waiting.pop(answer["id"], None)
                if place:
                    place["answer"] = answer
                    place["event"].set()
        process.stdout.close()
        with self.lock:
            for place in self.waiting.values():
                place["answer"] = {"error": "KafkaAdmin: its process is gone"}
                place["event"].set()
            self.waiting.clear()

    def ask(self, what, limit_s=20, **request):
        number, place = next(self.numbers), {"event": threading.Event()}
        line = json.dumps({"id": number, "do": what, "timeout_ms": int(limit_s * 1000), **request})
        with self.lock:
            if self.process is None:
                raise KafkaError("KafkaAdmin: not connected")
            self.waiting[number] = place
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        if not place["event"].wait(limit_s + 2):
            with self.lock:
                self.waiting.pop(number, None)
            raise KafkaTimeout(f"{what}: no answer within {limit_s} s")
        answer = place["answer"]
        if "error" in answer:
            kind = KafkaTimeout if answer["error"].startswith("TimeoutException") else KafkaError
            raise kind(f"{what}: {answer['error']}")
        return answer["ok"]

    def create_topic(self, name, partitions=1, replication=None, configs=None, **limit):
        self.ask(
            "create_topic", topic=name, partitions=partitions, replication=replication, configs=configs or {}, **limit
        )

    def delete_topic(self, name, **limit):
        self.ask("delete_topic", topic=name, **limit)

    def topics(self, internal=False, **limit):
        return self.ask("list", internal=internal, **limit)

    def describe(self, topic, **limit):
        """Its partitions in order; leader -1 when there is none."""
        found = [Partition(**one) for one in self.ask("describe", topic=topic, **limit)]
        return sorted(found, key=lambda one: one.partition)

    def leader(self, topic, partition, **limit):
        return self.describe(topic, **limit)[partition].leader

    def add_partitions(self, topic, count, **limit):
        """Makes it `count` partitions in all."""
        self.ask("add_partitions", topic=topic, count=count, **limit)

    def alter_topic_config(self, topic, configs, **limit):
        """A value of None takes the setting back to its default."""
        self.ask("alter_topic_config", topic=topic, configs=configs, **limit)

    def delete_records(self, topic, partition, before_offset, **limit):
        """Removes what is older; returns the first offset that is left."""
        return self.ask("delete_records", topic=topic, partition=partition, before=before_offset, **limit)

    def begin_offsets(self, topic, **limit):
        return self._offsets("begin", topic, False, limit)

    def end_offsets(self, topic, committed=False, **limit):
        """{partition: offset of the next record}; committed=True: where a reader of committed records ends."""
        return self._offsets("end", topic, committed, limit)

    def _offsets(self, which, topic, committed, limit):
        found = self.ask("offsets", which=which, topic=topic, committed=committed, **limit)
        return {int(partition): offset for partition, offset in found.items()}

    def committed(self, group, **limit):
        """{topic: {partition: offset}}; empty for a group that never committed."""
        found = self.ask("committed", group=group, **limit)
        return {topic: {int(p): offset for p, offset in parts.items()} for topic, parts in found.items()}

    def reset_offsets(self, group, topic, partition, offset, **limit):
        """Refused with a KafkaError while the group has members."""
        self.ask("reset_offsets", group=group, topic=topic, partition=partition, offset=offset, **limit)

    def join(self, group, topic, **limit):
        """Another program, with client.id stranger, reads the topic as a member of the group; None: it leaves."""
        self.ask("join", group=group, topic=topic, **limit)

    def deny(self, user, denied=True, topic=None, group=None, **limit):
        """Of a secure cluster: this user may do nothing with the topic, or group, or (False) everything again."""
        self.ask("deny", user=user, denied=denied, topic=topic, group=group, **limit)

    def groups(self, **limit):
        return self.ask("groups", **limit)

    def describe_group(self, group, **limit):
        """{state, protocol, assignor, coordinator, members: [{id, client, host, instance, assigned: {topic: [n]}}]}"""
        return self.ask("members", group=group, **limit)

    def members(self, group, **limit):
        return self.describe_group(group, **limit)["members"]

    def delete_group(self, group, **limit):
        self.ask("delete_group", group=group, **limit)

    def coordinator(self, group, **limit):
        """The broker that coordinates this group."""
        return self.ask("coordinator", group=group, **limit)["broker"]

    def move_coordinator(self, group, broker, **limit):
        partition = self.ask("coordinator", group=group, **limit)["partition"]
        self.move_leader("__consumer_offsets", partition, broker, **limit)

    def move_leader(self, topic, partition, broker, **limit):
        """Makes this broker the leader, of as many replicas as before, and waits until a broker says that it is; others
        may learn it a moment later."""
        self.ask("move_leader", topic=topic, partition=partition, broker=broker, **limit)

    def produce(self, topic, key, value, partition=None, headers=(), timestamp=None, **limit):
        """One record with acks=all; returns (partition, offset)."""
        record = {"key": key, "value": value, "partition": partition, "headers": headers, "timestamp": timestamp}
        return self.produce_many(topic, [record], **limit)[0]

    def produce_many(self, topic, records, **limit):
        """Records are (key, value), (key, value, headers) or dicts with these and partition, topic, timestamp."""
        return [tuple(place) for place in self.ask("produce", topic=topic, records=[*map(_record, records)], **limit)]

    def produce_transaction(self, topic, records, commit=True, transactional="test", **limit):
        """In one transaction, which is committed, aborted (False), or left open by a producer that is gone (None)."""
        places = self.ask(
            "produce_transaction",
            topic=topic,
            records=[*map(_record, records)],
            commit=commit,
            transactional=transactional,
            **limit,
        )
        return [tuple(place) for place in places]

    def dump(self, topic, committed=True, **limit):
        """All records of all partitions as a reader of committed records sees them now, by partition and offset."""
        found = self.ask("dump", topic=topic, committed=committed, **limit)
        records = (
            Record(partition, offset, _bytes(key), _bytes(value), [(n, _bytes(v)) for n, v in headers], when)
            for partition, offset, key, value, headers, when in found
        )
        return sorted(records, key=lambda one: one[:2])


class PrivateKafka(KafkaAdmin):
    """`proxied`: clients reach broker n only through `.proxies[n]`; other brokers and the calls above go past it.
    `secure`: another listener wants TLS and a password: `.secure_env()` says which."""

    def __init__(self, brokers=1, proxied=False, secure=False):
        super().__init__()
        self.servers = os.environ.get("SLUICE_TEST_BROKERS") or None
        self.owned = self.servers is None
        self.brokers = brokers
        self.proxied = proxied
        self.secure = secure
        self.proxies = {}
        self.watcher = None
        self.folder = tempfile.mkdtemp(prefix="sluice-kafka-", dir="/tmp")
        self.dir = os.path.join(self.folder, "cluster")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def env(self):
        return {"KAFKA_BROKERS": self.servers}

    def secure_env(self):
        with open(os.path.join(self.dir, "cluster.json"), encoding="utf-8") as file:
            about = json.load(file)
        return {
            "KAFKA_BROKERS": ",".join(f"127.0.0.1:{node['secure']}" for node in about["nodes"].values()),
            "KAFKA_USER": about["user"],
            "KAFKA_PASSWORD": about["password"],
            "KAFKA_CA": os.path.join(self.dir, "ca.pem"),
        }

    def start(self):
        log = os.path.join(self.folder, "admin.log")
        if not self.owned:
            if self.proxied or self.secure:
                raise RuntimeError(
                    "SLUICE_TEST_BROKERS: no proxies in front of brokers that are not ours, no listeners either"
                )
            self.connect(self.servers, log)
            return self.servers
        self.watcher = subprocess.Popen(
            [sys.executable, "-c", WATCHER, SCRIPT, self.dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            arguments = ["--brokers", str(self.brokers)]
            if self.proxied:
                self.proxies = {n: Proxy("127.0.0.1", 0) for n in range(1, self.brokers + 1)}
                arguments += ["--advertise", ",".join(str(proxy.port) for proxy in self.proxies.values())]
            if self.secure:
                arguments.append("--authentication")
            self.servers = _run(SCRIPT, "start", self.dir, *arguments, preexec_fn=_die_with_parent).strip()
            nodes = self.nodes()
            for n, proxy in self.proxies.items():
                proxy.target = ("127.0.0.1", nodes[n]["client"])
            self.connect(",".join(f"127.0.0.1:{node['internal']}" for node in nodes.values()), log)
        except BaseException:
            self.close()
            raise
        return self.servers

    def close(self):
        self.disconnect()
        for proxy in self.proxies.values():
            proxy.close()
        self.proxies = {}
        if self.watcher is not None:
            self.watcher.stdin.close()
            self.watcher.wait()
            self.watcher = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def nodes(self):
        """{n: its ports}: client, internal, controller, and advertised, which is what clients are told."""
        with open(os.path.join(self.dir, "cluster.json"), encoding="utf-8") as file:
            return {int(n): node for n, node in json.load(file)["nodes"].items()}

    def pid(self, n):
        with open(os.path.join(self.dir, f"broker-{n}.pid"), encoding="utf-8") as file:
            return int(file.read())

    def runs(self, n):
        """Its ports are held until the last of its threads is gone, which may outlive the first."""
        try:
            with open(f"/proc/{self.pid(n)}/stat", encoding="utf-8") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
            return state not in "ZX" or len(os.listdir(f"/proc/{self.pid(n)}/task")) > 1
        except OSError:
            return False

    def log(self, n):
        with open(os.path.join(self.dir, f"broker-{n}.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def signal(self, n, number):
        if not self.owned:
            raise RuntimeError("SLUICE_TEST_BROKERS: these brokers are not ours to stop, kill or freeze")
        if not self.runs(n):
            raise RuntimeError(f"broker {n} does not run")
        os.kill(self.pid(n), number)

    def _gone(self, n, limit_s):
        done = threading.Event()
        for _ in range(int(limit_s * 50)):
            if not self.runs(n):
                return
            done.wait(0.02)
        raise AssertionError(f"broker {n} did not end within {limit_s} s")

    def kill(self, n):
        """kill -9; restart() recovers it."""
        self.signal(n, signal.SIGKILL)
        self._gone(n, 10)

    def kill_all(self):
        running = [n for n in self.nodes() if self.runs(n)] if self.owned else [1]
        for n in running:
            self.signal(n, signal.SIGKILL)
        for n in running:
            self._gone(n, 10)

    def stop(self, n, limit_s=30):
        """SIGTERM: it hands its partitions over and leaves."""
        self.signal(n, signal.SIGTERM)
        self._gone(n, limit_s)

    def freeze(self, n):
        self.signal(n, signal.SIGSTOP)

    def thaw(self, n):
        self.signal(n, signal.SIGCONT)

    def restart(self, n):
        """Starts it again, stops it before when it runs: the same data, the same ports. Waits until it serves."""
        if not self.owned:
            raise RuntimeError("SLUICE_TEST_BROKERS: these brokers are not ours to restart")
        if self.runs(n):
            self.stop(n)
        _run(SCRIPT, "node", self.dir, str(n), preexec_fn=_die_with_parent)

    def heal(self):
        """What a test may have left cut off, frozen, stopped or killed."""
        for proxy in self.proxies.values():
            proxy.heal()
        numbers = self.nodes() if self.owned else []
        for n in numbers:
            if self.runs(n):
                self.thaw(n)
        if not all(self.runs(n) for n in numbers):
            self.restart_all()

    def restart_all(self):
        """Starts those that do not run; they need each other for a quorum."""
        _run(SCRIPT, "start", self.dir, preexec_fn=_die_with_parent)
