"""How long things take that happen once: a purchase at a quiet time, starting, coming back; and what idleness costs."""
import pathlib
import statistics
import subprocess
import threading
import time

from machine import memory, process_cpu, quiet
from stage import BUILD, CHARGED, until

RATE, SECONDS, WARM_S, TIMES = 50, 20, 5, 5  # purchases of the first WARM_S seconds are not counted


def _share(numbers, share):
    numbers = sorted(numbers)
    return numbers[min(len(numbers) - 1, int(len(numbers) * share))]


def latency(stage, rounds, _purchases):
    if stage.bus.kind == "kafka":
        _latency_kafka(stage, rounds)
    _latency_http(stage, rounds)


def _latency_kafka(stage, rounds):
    count, rows = RATE * SECONDS, []
    for _ in range(rounds):
        stage.fresh(count)
        with stage.engine() as engine:
            stage.settled([engine])
            quiet()
            out = subprocess.run(
                [
                    BUILD / "tests/bench/latency",
                    stage.bus.kafka.servers,
                    stage.topic("payment.try"),
                    stage.topic("reservation.success"),
                    "6",
                    str(RATE),
                    str(count),
                    str(RATE * WARM_S),
                ],
                check=True,
                capture_output=True,
                text=True,
            )
        rows.append([float(number) for number in out.stdout.split()])
    median = [statistics.median(column) for column in zip(*rows)]
    for n, what in enumerate(
        ("produced → acknowledged", "acknowledged → reservation.success read", "produced → reservation.success read")
    ):
        print(
            f"ms at {RATE} purchases/s, payment.try {what:<40} p50 {median[2 * n]:.1f}  p99 {median[2 * n + 1]:.1f}"
            f"   (p99s {', '.join(f'{row[2 * n + 1]:.1f}' for row in rows)})",
            flush=True,
        )


def _latency_http(stage, rounds):
    rows = []
    for _ in range(rounds):
        rows.append(_posts(stage))
    for n, what in enumerate(("reservation.success in the tap's hands", "202")):
        print(
            f"ms at {RATE} purchases/s, POST sent → {what:<45} p50"
            f" {statistics.median(_share(row[n], .5) for row in rows):.1f}  p99"
            f" {statistics.median(_share(row[n], .99) for row in rows):.1f}",
            flush=True,
        )


def _posts(stage):
    count = RATE * SECONDS
    stage.fresh(count)
    stage.sql(f"insert into payment_tokens select 'token-' || g, g from generate_series(1, {count}) g")
    stage.sink.look, stage.sink.seen = True, {}
    sent, answered = {}, {}
    with stage.engine() as engine:
        stage.settled([engine])
        quiet()

        def post(n, tx):
            sent[tx] = time.monotonic()
            status, _ = engine.request(
                "POST", "/payments", {"userId": n, "reservationId": n, "paymentToken": f"token-{n}", "paymentTxId": tx}
            )
            answered[tx] = (time.monotonic() - sent[tx]) * 1000
            assert status == 202, status

        began = time.monotonic()
        for n in range(1, count + 1):
            while time.monotonic() < began + n / RATE:
                time.sleep(0.0005)
            threading.Thread(target=post, args=(n, f"latency-{n}")).start()
        until(lambda: len(stage.sink.seen) == count, "the last purchase", 30)
    stage.sink.look = False
    counted = [f"latency-{n}" for n in range(RATE * WARM_S + 1, count + 1)]
    return [(stage.sink.seen[tx] - sent[tx]) * 1000 for tx in counted], [answered[tx] for tx in counted]


def elsewhere(stage, rounds, _purchases):
    """The same purchases with nothing else in the server, and while another program has a transaction open that has
    written."""
    alone, beside = [], []
    for _ in range(rounds):
        alone.append(_posts(stage)[0])
        with subprocess.Popen(["psql", "-X", "-q", stage.url], stdin=subprocess.PIPE, text=True) as session:
            session.stdin.write("begin; create temporary table written ();\n")
            session.stdin.flush()
            until(
                lambda: stage.sql("select 1 from pg_stat_activity where state = 'idle in transaction'"),
                "its session",
                10,
            )
            beside.append(_posts(stage)[0])
    for what, rows in (("alone", alone), ("beside an open transaction", beside)):
        p50, p99 = (statistics.median(_share(row, share) for row in rows) for share in (0.5, 0.99))
        p99s = ", ".join(f"{_share(row, .99):.1f}" for row in rows)
        print(
            f"ms at {RATE} purchases/s, POST sent → in the tap's hands, {what:<27} p50 {p50:.1f}  p99 {p99:.1f}"
            f"   (p99s {p99s})",
            flush=True,
        )


def start(stage, _rounds, _purchases):
    """From a moment to the first event handled, its output acknowledged; an event lies there, or comes right after the
    kill."""
    stage.fresh(100)
    numbers = iter(range(1, 101))
    first, ready, worker, whole = [], [], [], []

    def event():
        stage.bus.emit(stage, "payment.try", stage.purchase(next(numbers)))

    def handled(engine):
        def look():
            try:
                return engine.metric(CHARGED) >= 1
            except OSError:
                return False

        until(look, "the first event", 60, 0.002)

    def since(began):
        return (time.monotonic() - began) * 1000

    for _ in range(TIMES):
        quiet()
        event()
        engine = stage.engine().start(wait=False)
        handled(engine)
        first.append(since(engine.began))
        ready.append(engine.ready_ms)
        began = time.monotonic()
        engine.kill_worker()
        event()
        handled(engine)
        worker.append(since(began))
        began = time.monotonic()
        engine.kill()
        engine = stage.engine().start(wait=False)
        event()
        handled(engine)
        whole.append(since(began))
        engine.stop()
    for what, times in (
        ("exec → ready", ready),
        ("exec → first event handled", first),
        ("kill -9 of the worker → first event handled", worker),
        ("kill -9 of all, started again → first event handled", whole),
    ):
        print(f"ms, {what:<55} {statistics.median(times):.0f}   ({', '.join(f'{t:.0f}' for t in times)})")
    if stage.bus.kind == "kafka":
        print(f"   session.timeout.ms is {stage.bus.session_ms()}", flush=True)


def idle(stage, _rounds, _purchases):
    stage.fresh(100)
    with stage.engine() as engine:
        stage.settled([engine])
        time.sleep(1.5)  # nothing to wait for: idleness is what is measured
        pids = [engine.process.pid, engine.worker()]
        rss, before, began = memory(pids[1])[0], sum(map(process_cpu, pids)), time.monotonic()
        time.sleep(10)
        share = (sum(map(process_cpu, pids)) - before) / (time.monotonic() - began) * 100
        threads = len(list(pathlib.Path(f"/proc/{pids[1]}/task").iterdir()))
    print(f"idle                                         RSS {rss:.0f} MiB, {share:.2f} % of a core, {threads} threads")
    stage.fresh(100000)
    print(f"RSS at a backlog of 100000                   {stage.drain(100000)['peak']:.0f} MiB at its peak", flush=True)
