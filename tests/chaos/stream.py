"""The generator: a seeded stream of purchases, orders and countable events with duplicates, declines, failing
reservations, poison and id conflicts, sent through `sluice emit`; a log of what was acknowledged; a place for the tap
to send to; and the wait for the end.
"""
import collections
import http.server
import json
import os
import pathlib
import random
import subprocess
import threading
import time
import uuid

from chaos.checker_timers import NOTES
from chaos.orders import Orders
from lib.engine import BUILD, ROOT, SLUICE, sluice

CONFIG = ROOT / "tests/chaos/pipeline.yaml"
EFFECTS = BUILD / "tests/plugins/effects.so"
LIBRARIES = [BUILD / "plugins/payment.so", BUILD / "plugins/reservation.so", EFFECTS]
RICH, POOR, PURCHASES = range(1, 21), range(101, 106), 20000

TABLES = f"""
CREATE TABLE effects (number bigserial, event_id text, k text, origin text, seq bigint, climb bigint, unity bigint);
CREATE TABLE undone (number bigserial, event_id text, origin text);
INSERT INTO users SELECT id, 100000000 FROM generate_series({RICH[0]}, {RICH[-1]}) id;
INSERT INTO users SELECT id, 0 FROM generate_series({POOR[0]}, {POOR[-1]}) id;
INSERT INTO reservations (id, user_id, seat_id, purchase_price, status)
SELECT i, CASE WHEN i % 23 = 0 THEN {POOR[0]} + i % {len(POOR)} ELSE {RICH[0]} + i % {len(RICH)} END, i, 10 + i % 7,
       CASE WHEN i % 17 = 0 THEN 'CANCELLED' ELSE 'PENDING' END
FROM generate_series(1, {PURCHASES}) i
"""

# Values in which no id, or no event, can be read: (value, reason).
RAW = [
    ('{"eventId":"%s","data":{', "bad_json"),
    ('{"eventId":"%s","data":{}} x', "bad_json"),
    ('["%s"]', "not_object"),
    ('{"eventId":"%s\\u0007","data":{}}', "bad_id"),
    ('{"eventId":"","x":"%s","data":{}}', "bad_id"),
    ('{"eventId":"%s","data":7}', "bad_envelope"),
    ('{"eventId":"%s","data":{"a":1,"a":2}}', "bad_json"),
]


def run_psql(url, text):
    done = subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", text],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


class Sink:
    """A data platform that is sometimes out of order."""

    def __init__(self, seed, broken_percent=10):
        self.ids, self.lock, self.dice = set(), threading.Lock(), random.Random(seed)
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with sink.lock:
                    broken = sink.dice.randrange(100) < broken_percent
                    if not broken:
                        sink.ids.update(event["eventId"] for event in json.loads(body))
                self.send_response(503 if broken else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # an engine was killed in the middle of its request

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def pipeline(bus, tap=True):
    """tests/chaos/pipeline.yaml on a bus; without its tap on request."""
    text = CONFIG.read_text()
    if not tap:
        text = text[: text.index("taps:")] + text[text.index("\nhttp:") :]
        text = text.replace('{key: "{k}"}', '{key: "{k}", final: true}')
        text = text.replace("\nchains:", "  reservation.success: {final: true}\n\nchains:")
    return bus.configure(text)


class Stream:
    """In a folder of its own: the pipeline, and the log of what was acknowledged and sampled."""

    def __init__(self, seed, bus, folder, tap=True, sink_url="http://127.0.0.1:9/", keys=40):
        self.dice = random.Random(seed)
        self.bus, self.url = bus, bus.url
        self.config, self.log_path = pathlib.Path(folder) / "pipeline.yaml", pathlib.Path(folder) / "log"
        self.config.write_text(pipeline(bus, tap))
        self.env = {
            "DATABASE_URL": self.url,
            "SINK_URL": sink_url,
            "EFFECTS_SO": str(EFFECTS),
            "SLUICE_SEED": str(seed),
            **bus.env,
        }
        self.keys = [f"k{i}" for i in range(keys)]
        self.seq, self.purchase, self.old = dict.fromkeys(self.keys, 0), 0, []
        self.orders = Orders(self.dice, self._entry)
        self.sent = self.duplicates = 0
        self.kinds = collections.Counter()
        self.sampling, self.writing, self.watcher = threading.Lock(), threading.Lock(), None

    def write(self, **entry):
        with self.writing, open(self.log_path, "a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
            log.flush()
            os.fsync(log.fileno())

    def prepare(self):
        self.bus.learn(self.config, self.env)
        self.bus.clear()
        sluice("migrate", self.config, env=self.env)
        run_psql(self.url, TABLES)
        run_psql(self.url, NOTES)
        self.bus.prepare()
        for user, points in [(u, 100000000) for u in RICH] + [(u, 0) for u in POOR]:
            self.write(user=user, points=points)

    # ------------------------------------------------------------------------------------------------------ making

    def _new_id(self):
        return str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

    def _entry(self, topic, data, expect, event_id=None, **more):
        event_id = event_id or self._new_id()
        value = json.dumps({"eventId": event_id, "eventName": topic, "data": data}, separators=(",", ":"))
        return {"acked": event_id, "topic": topic, "value": value, "expect": expect, **more}

    def effect(self, **fields):
        key = fields.pop("k", None) or self.dice.choice(self.keys)
        self.seq[key] += 1
        origin = f"{key}-{self.seq[key]}"
        data = {"k": key, "seq": self.seq[key], "origin": origin, **fields}
        more = {"origin": origin, "k": key}
        if fields.get("refuse"):
            return self._entry("effects.in", data, "dead", reason="rejected", **more)
        if fields.get("divide") == 0:
            return self._entry("effects.in", data, "dead", reason="database", **more)
        if fields.get("climb", 0) > 3:
            return self._entry("effects.in", data, "given_up", **more)
        return self._entry("effects.in", data, "done", **more)

    def bad_field(self):
        key = self.dice.choice(self.keys)
        bad = self.dice.choice(
            [{"seq": "1"}, {"seq": 1.5}, {"seq": 0}, {"origin": ""}, {"origin": None}, {"climb": 1000}]
        )
        return self._entry("effects.in", {"k": key, "seq": 1, "origin": "x", **bad}, "dead", reason="bad_field", k=key)

    def conflict(self):
        plain = [entry for entry in self.old if entry["topic"] == "effects.in" and entry["expect"] == "done"]
        if not plain:
            return self.effect()
        first = self.dice.choice(plain)
        data = dict(json.loads(first["value"])["data"], seq=10**9, origin=f"conflict-{self._new_id()}")
        return self._entry("effects.in", data, "dead", event_id=first["acked"], reason="id_conflict", k=first["k"])

    def raw(self):
        form, reason = self.dice.choice(RAW)
        return {
            "acked": self._new_id(),
            "topic": "effects.in",
            "value": form % self._new_id(),
            "expect": "dead",
            "reason": reason,
            "raw": True,
        }

    def pay(self, again=None):
        if again is None:
            self.purchase += 1
            again = self.purchase
        i = again
        poor = i % 23 == 0
        data = {
            "paymentTxId": f"tx{i}",
            "userId": POOR[0] + i % len(POOR) if poor else RICH[0] + i % len(RICH),
            "seatId": i,
            "amount": 10 + i % 7,
            "reservationId": i,
        }
        expect = "declined" if poor else "refunded" if i % 17 == 0 else "confirmed"
        return self._entry("payment.try", data, expect, payment=f"tx{i}", number=i)

    def bad_payment(self):
        data = {"paymentTxId": f"bad{self._new_id()}", "userId": 1, "seatId": 1, "reservationId": 1}
        bad = self.dice.choice(["10", 10.5, -10, 0, 2**63, None])
        return self._entry(
            "payment.try", {**data, "amount": bad}, "dead", reason="bad_field", payment=data["paymentTxId"]
        )

    def one(self):
        roll = self.dice.randrange(1000)
        for bound, kind, make in (
            (500, "effect", self.effect),
            (530, "flaky", lambda: self.effect(flaky=self.dice.randint(1, 2))),
            (545, "climb", lambda: self.effect(climb=self.dice.randint(1, 4))),
            (552, "refused", lambda: self.effect(refuse=1)),
            (557, "bad statement", lambda: self.effect(divide=0)),
            (564, "bad field", self.bad_field),
            (574, "id conflict", self.conflict),
            (580, "bad payment", self.bad_payment),
            (590, "paid twice", lambda: self.pay(self.dice.randint(1, self.purchase) if self.purchase else None)),
            (740, "purchase", self.pay),
        ):
            if roll < bound:
                self.kinds[kind] += 1
                return make()
        if roll < 850:
            kind, entry = self.orders.one()
            self.kinds[kind] += 1
            return entry
        if not self.old:
            return self.effect()
        self.duplicates += 1
        return dict(self.dice.choice(self.old), again=True)

    # ----------------------------------------------------------------------------------------------------- sending

    def send(self, entries):
        """Sends in the given order within a topic, until all are acknowledged. What was sent in vain may be there
        twice."""
        piles = collections.OrderedDict()
        for entry in entries:
            piles.setdefault((entry["topic"], entry.get("key")), []).append(entry)
        for (topic, key), pile in piles.items():
            lines = "\n".join(entry["value"] for entry in pile) + "\n"
            command = [SLUICE, "emit", self.config, topic, "--envelope", *(["--key", key] if key else [])]
            for _ in range(100):
                done = subprocess.run(
                    command,
                    env=dict(os.environ, **self.env),
                    input=lines.encode("utf-8", "surrogateescape"),
                    capture_output=True,
                    check=False,
                )
                if done.returncode == 0:
                    break
                if key:
                    raise AssertionError(f"emit failed, and poison may be there twice: {done.stderr.decode()}")
            else:
                raise AssertionError(f"emit fails: {done.stderr.decode()}")
            self.sent += len(pile)
            for entry in pile:
                if not entry.get("again"):
                    self.write(**entry)
            self.old.extend(entry for entry in pile if not entry.get("again") and not entry.get("raw"))

    def round(self, count, raw=1):
        entries = [self.one() for _ in range(count)]
        key = self.dice.choice(self.keys)
        entries += [dict(self.raw(), key=key) for _ in range(raw)]
        self.kinds["raw poison"] += raw
        self.send(entries)

    # ----------------------------------------------------------------------------------------------------- watching

    def sample(self):
        with self.sampling:  # in the log they stand in the order in which they were taken
            self.write(**self.bus.sample())

    def watch(self, every_s=0.5):
        """Samples by itself from now on, until unwatch()."""
        stop = threading.Event()

        def look():
            while not stop.wait(every_s):
                self.sample()

        self.watcher = (threading.Thread(target=look, daemon=True), stop)
        self.watcher[0].start()

    def unwatch(self):
        if self.watcher:
            self.watcher[1].set()
            self.watcher[0].join()
            self.watcher = None

    def drain(self, limit_s=60.0):
        end = time.monotonic() + limit_s
        while any((left := self.bus.left()).values()):
            if time.monotonic() > end:
                raise AssertionError(f"not drained within {limit_s} s: {left}")
            time.sleep(0.05)


def resources(*pids):
    """Open files and threads of processes."""
    files = threads = 0
    for pid in pids:
        files += len(os.listdir(f"/proc/{pid}/fd"))
        threads += len(os.listdir(f"/proc/{pid}/task"))
    return {"open files": files, "threads": threads}
