"""What a purchase asks of PostgreSQL: statements, commits, round trips, and the bytes of WAL that it leaves there."""
import json

EVENTS = 2  # of a purchase that have a handler: payment.try, payment.success
SHOWN = 14  # statements
SETTINGS = {
    "shared_preload_libraries": "'pg_stat_statements'",
    "full_page_writes": "off",  # or it would depend on when the last checkpoint was
}

STATEMENTS = """
select coalesce(json_agg(json_build_object(
  'text', regexp_replace(query, '\\s+', ' ', 'g'), 'calls', calls, 'ms', total_exec_time, 'rows', rows,
  'wal', wal_bytes)), '[]')
from bench.pg_stat_statements where query not ilike '%pg\\_stat\\_statements%'"""
COUNTERS = """
select json_build_object('wal', pg_current_wal_insert_lsn() - '0/0', 'commits', xact_commit) from pg_stat_database
where datname = current_database()"""


class Counters:
    """Between begin() and end(), which is called when all sessions have ended: only then the server has counted all."""

    def __init__(self, stage):
        self.stage = stage

    def begin(self):
        self.stage.sql("select bench.pg_stat_statements_reset()")
        self.before = json.loads(self.stage.sql(COUNTERS))

    def end(self):
        after = json.loads(self.stage.sql(COUNTERS))
        found = {name: after[name] - self.before[name] for name in after}
        return {**found, "statements": json.loads(self.stage.sql(STATEMENTS))}


def _business(statement):
    """Whose text names no table of the engine's, and that ends no transaction: what handlers run."""
    text = statement["text"].lower()
    return "sluice." not in text and not text.startswith(
        ("begin", "commit", "rollback", "set ", "select pg_", "listen")
    )


def _print(kind, found, trips, purchases):
    calls = sum(one["calls"] for one in found["statements"])
    business = sum(one["wal"] for one in found["statements"] if _business(one))
    print(
        f"{kind:<10} of 1000 purchases: {calls * 1000 / purchases:6.1f} statements"
        f"  {found['commits'] * 1000 / purchases:6.1f} commits"
        f"  {trips * 1000 / purchases:6.1f} round trips"
        f"   WAL bytes of one: {found['wal'] / purchases:5.0f}, of handlers {business / purchases:5.0f},"
        f" above them a handled event {(found['wal'] - business) / purchases / EVENTS:4.0f}",
        flush=True,
    )


def _print_statements(found, purchases):
    print("           of 1000 purchases:  calls     rows       ms   WAL bytes of one")
    shown = sorted(found["statements"], key=lambda one: -one["ms"])[:SHOWN]
    for one in shown:
        print(
            f"{one['calls'] * 1000 / purchases:36.1f} {one['rows'] * 1000 / purchases:8.0f}"
            f" {one['ms'] * 1000 / purchases:8.2f} {one['wal'] / purchases:10.0f}   {one['text'][:90]}",
            flush=True,
        )


def asked(stage, _rounds, purchases):
    """Counts hardly depend on what else the machine does: one run of each."""
    stage.restart(SETTINGS)
    stage.unsafe = True
    try:
        stage.sql("create schema if not exists bench", "create extension pg_stat_statements schema bench")
        counters = Counters(stage)
        stage.fresh(purchases)
        row = stage.drain(purchases, begin=counters.begin)
        found = counters.end()
        _print("engine", found, row["trips"] * row["batches"], purchases)
        _print_statements(found, purchases)
        for which in (which for which in stage.bus.floors if which in ("floor", "fused")):
            stage.floor(purchases, which, begin=counters.begin)
            _print(which, counters.end(), 0, purchases)
    finally:
        stage.sql("drop schema if exists bench cascade")
        stage.restart(dict.fromkeys(SETTINGS))
        stage.unsafe = False
