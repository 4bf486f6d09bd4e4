"""What traces cost: CPU of the engine for a purchase without `tracing:`, with one trace of a hundred recorded, and with
all of them."""
import statistics

SAMPLES = (None, "0.01", "1")


def tracing(stage, rounds, purchases):
    """The kinds take turns, so that what else the machine does is the same for all."""
    rows = {sample: [] for sample in SAMPLES}
    for _ in range(rounds):
        for sample in SAMPLES:
            stage.more = (
                f'\ntracing: {{otlp: "http://127.0.0.1:{stage.sink.server_port}", sample: {sample}}}\n'
                if sample
                else ""
            )
            stage.fresh(purchases)
            rows[sample].append(stage.drain(purchases))
    stage.more = ""
    for sample, seen in rows.items():
        cpu = statistics.median(row["whole"]["engine"] for row in seen) * 1000 / purchases
        ratio = statistics.median(
            row["whole"]["engine"] / without["whole"]["engine"] for row, without in zip(seen, rows[None], strict=True)
        )
        spans = statistics.median(row["spans"] for row in seen) / purchases
        what = "no traces" if sample is None else f"sample {sample}"
        print(
            f"CPU ms a purchase, engine, {what:<18} {cpu:.4f}   / without: {ratio:.3f}   spans a purchase: {spans:.2f}",
            flush=True,
        )
