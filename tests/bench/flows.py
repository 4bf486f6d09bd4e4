"""Flow tests: twenty of whole purchases, each with a year of a schedule of every second, on the private PostgreSQL of
`sluice test`.

    PARTS=flows make bench

What the runner prints is shown: the tests, and apart from them the start of the server and the schema.
"""
import os
import re
import statistics

from machine import quiet
from stage import ROOT, sluice

TESTS = 20
HEAD = """pipeline: ROOT/config/pipeline.yaml
given:
  sql: |
    insert into users values (1, 500), (2, 10);
    insert into reservations (id, user_id, seat_id, purchase_price) values (1, 1, 7, 100),
      (2, 2, 8, 100), (3, 2, 9, 100);
    insert into payment_tokens values ('token-1', 1), ('token-2', 2);
tests:
"""
# Confirmed at once; refused after its ladder of seven seconds; a hold that nobody pays; and a year of ticks.
TEST = """  - name: a year, NUMBER
    steps:
      - request: {post: /payments, body: {userId: 1, reservationId: 1, paymentToken: token-1, paymentTxId: a}}
        expect: {status: 202}
      - request: {post: /payments, body: {userId: 2, reservationId: 2, paymentToken: token-2, paymentTxId: b}}
        expect: {status: 202}
      - advance: 7s
      - request: {get: /payments/b}
        expect: {reply: {status: FAILURE, retryCount: 3}}
      - advance: 365d
    expect:
      sql:
        select points from users order by id: [[400], [10]]
        select status from reservations order by id: [[CONFIRMED], [EXPIRED], [EXPIRED]]
"""


def flows(stage, rounds, _purchases):
    file = stage.folder / "flows.yaml"
    file.write_text(HEAD.replace("ROOT", str(ROOT)) + "".join(TEST.replace("NUMBER", str(n + 1)) for n in range(TESTS)))
    env = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    seconds, starts = [], []
    for _ in range(rounds):
        quiet()
        said = sluice("test", file, env=env).stdout.splitlines()[-1]
        print(f"flow tests of a year each: {said}", flush=True)
        took, start = re.search(r" in ([\d.]+) s, beside ([\d.]+) s ", said).groups()
        seconds.append(float(took))
        starts.append(float(start))
    took, start = statistics.median(seconds), statistics.median(starts)
    print(f"   medians: {TESTS} tests {took:.1f} s, server and schema {start:.1f} s")
