"""What a limit costs that nobody reaches: the purchases of `throughput` with one on both topics, and with none, in
turns; and one for each user, of which a batch has as many as events."""
import statistics

LIMITS = {"none": None, "one limit": "{rate: 1000000/s}", "one a user": '{rate: 1000000/s, per: "{userId}"}'}
HANDLERS = ("payment.charge", "reservation.confirm")


def _limit(stage, limit):
    text = stage.config.read_text()
    for handler in HANDLERS if limit else ():
        assert f"handler: {handler}\n" in text
        text = text.replace(f"handler: {handler}\n", f"handler: {handler}\n    limit: {limit}\n")
    stage.config.write_text(text)


def limits(stage, rounds, purchases):
    seen = {what: [] for what in LIMITS}
    for number in range(rounds):
        for what in list(LIMITS) if number % 2 == 0 else reversed(LIMITS):
            stage.fresh(purchases)
            _limit(stage, LIMITS[what])
            row = stage.drain(purchases)
            used = row["used"]["engine"] + row["used"]["postgres"]
            seen[what].append((row["rate"], used * 1000 / purchases))
    for what, rows in seen.items():
        rate = statistics.median(mine[0] / none[0] for mine, none in zip(rows, seen["none"]))
        cpu = statistics.median(mine[1] / none[1] for mine, none in zip(rows, seen["none"]))
        print(
            f"purchases/s, limits: {what:<24} {statistics.median(row[0] for row in rows):.0f}"
            f"   of none {rate:.3f}, CPU ms a purchase {statistics.median(row[1] for row in rows):.4f},"
            f" of none {cpu:.3f}",
            flush=True,
        )
