#!/usr/bin/env python3
"""Looks at what a run left in the database and on the topics, and says what is wrong with it.

    tests/chaos/checker.py CONFIG LOG [LIBRARY.so…]     DATABASE_URL and what else CONFIG wants from the environment

Reads nothing else: not the engine's log, not its metrics. LOG is the generator's: one JSON object a line with what was
acknowledged ({"acked": id, "topic", "value", "expect", …}), the balances it began with, and samples taken while it ran.
The engine must have drained. Each violation is a sentence that starts with the number of its invariant; docs/testing.md
says what each means. On a bus that is no part of the database's transactions, checker_kafka.py asks more, from samples
taken during the run.
"""
import collections
import os
import sys

import _path
from chaos import checker_chains, checker_kafka, checker_timers
from chaos.buses import bus_of
from chaos.facts import Facts, has_table, some, sql
from chaos.wire import derive, signed

DEAD = -1
EARLY_MS = 2  # an event this close to its time is handled now
HOP_LIMIT = 32


# ------------------------------------------------------------------------------------------------------------- inbox


def no_loss(facts):
    missing = collections.defaultdict(set)
    for handler, record in facts.handled():
        if facts.row_of(handler, record) is None:
            missing[handler, record.topic].add(record.event_id or repr(record.value[:60]))
    for (handler, topic), ids in missing.items():
        yield f"I1: {len(ids)} events on {topic} have no outcome of {handler}: {some(ids)}"
    there = collections.defaultdict(set)
    for record in facts.records:
        there[record.topic].add(record.value)
    for entry in facts.acked:
        if entry["value"].encode("utf-8", "surrogateescape") not in there[entry["topic"]]:
            yield f"I1: {entry['acked']} was acknowledged and is not on {entry['topic']}"


def no_invention(facts):
    """Every row is of a record that is on a topic of its handler; inputs are the generator's."""
    known = collections.defaultdict(set)
    for handler, record in facts.handled():
        row = facts.row_of(handler, record)
        if row is not None:
            known[handler].add(row["event_id"])
    for handler, event_id in checker_chains.known(facts):
        known[handler].add(event_id)
    for row in facts.inbox:
        if row["handler"] in facts.model.handler_topics and row["event_id"] not in known[row["handler"]]:
            yield (
                f"I2: {row['handler']} has an outcome for {row['event_id']}, which is on none of its topics with that"
                " payload"
            )
    given = {(entry["topic"], entry["value"].encode("utf-8", "surrogateescape")) for entry in facts.acked}
    for record in facts.records:
        if (
            record.parent is None
            and record.topic not in facts.model.dead
            and record.topic not in facts.model.sourceless
            and (record.topic, record.value) not in given
        ):
            yield f"I2: {record.event_id or record.value[:60]} on {record.topic} has no parent and nobody sent it"


def one_row(facts):
    rows = collections.Counter((row["handler"], row["event_id"]) for row in facts.inbox)
    for (handler, event_id), count in rows.items():
        if count > 1:
            yield f"I10: {event_id} has {count} rows of {handler}"
    keys = sql(
        facts.url,
        "SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint"
        " WHERE conrelid = 'sluice.inbox'::regclass AND contype = 'p'",
    )
    if [key["definition"] for key in keys] != ["PRIMARY KEY (handler, event_id)"]:
        yield f"I10: the inbox is not unique by handler and event: {keys}"


# ----------------------------------------------------------------------------------------------------------- outputs


def _counter(record):
    def count(field):
        value = record.data.get(field, 0)
        return value if isinstance(value, int) else 0

    return count


def outputs(facts):
    """I3 and I11: for every outcome exactly the child that its route says, under the id that its lineage says."""
    undos = {**checker_chains.undo_ids(facts), **checker_timers.events(facts)}
    for handler, record in _first_of(facts):
        row = facts.row_of(handler, record)
        if row is None or row["outcome"] == DEAD:
            expected = {}
        else:
            outcome = facts.model.outcomes[handler][row["outcome"]]
            target = facts.model.emitted_by(record.topic, outcome, _counter(record))
            expected = {derive(record.event_id, handler, target[0]): target[1]} if target else {}
        children = collections.defaultdict(list)
        for child in facts.children.get(record.event_id, ()):
            children[child.event_id].append(child)
        for event_id, topic in expected.items():
            there = children.pop(event_id, [])
            if not there:
                yield (
                    f"I3: {record.event_id} on {record.topic} ended as '{outcome}'; its event {event_id} is not on"
                    f" {topic}"
                )
            elif {child.topic for child in there} != {topic}:
                yield (
                    f"I3: {event_id}, which '{outcome}' of {record.event_id} emits, is on"
                    f" {some(c.topic for c in there)}, not on {topic}"
                )
            elif len({(child.value, child.key) for child in there}) > 1:
                yield f"I3: {event_id} is on {topic} {len(there)} times, and not always with the same bytes"
            elif len(there) > 1:
                yield f"I3: {event_id} is on {topic} {len(there)} times; it was recorded once"
        for event_id, there in children.items():
            if undos.get(event_id) != there[0].topic:
                yield (
                    f"I11: {event_id} on {there[0].topic} says that it came from {record.event_id} on {record.topic},"
                    " whose outcome emits no such event"
                )


def output_order(facts):
    """What is emitted for a key is on its topic in the order of the key's events, those that climbed a ladder
    excepted."""
    last = {}
    for record in facts.by_topic["effects.out"]:
        key, seq = record.data.get("k"), record.data.get("seq", 0)
        if record.data.get("climb"):
            continue
        if seq <= last.get(key, 0):
            yield (
                f"I16: of key {key} the event of {seq} ({record.event_id}) is on effects.out behind that of {last[key]}"
            )
        last[key] = max(seq, last.get(key, 0))


def _first_of(facts):
    """Of each event id that a handler handles, the record whose payload its inbox row is about."""
    seen = set()
    for handler, record in facts.handled():
        if record.event_id is None or (handler, record.event_id) in seen:
            continue
        row = facts.inbox_by.get((handler, next(record.ids())))
        if row is None or row["hash"] == signed(record.hash):
            seen.add((handler, record.event_id))
            yield handler, record


def lineage(facts):
    timeouts = checker_chains.timeouts(facts)
    for record in facts.records:
        if record.topic in facts.model.dead:
            continue
        if record.parent is not None and record.parent not in facts.by_id and record.parent not in timeouts:
            yield f"I11: {record.event_id} on {record.topic} is an orphan: {record.parent} is nowhere"
        if int(record.headers.get("sluice-hops", 0)) > HOP_LIMIT:
            yield f"I11: {record.event_id} on {record.topic} has {record.headers['sluice-hops']} hops"


# ------------------------------------------------------------------------------------------------------------ ladder


def ladder(facts):
    for topic, route in facts.model.ladders.items():
        if topic != route["retry"]:
            continue
        for record in facts.by_topic[topic]:
            count = record.data.get(route["counter"])
            parents = facts.by_id.get(record.parent, [])
            before = parents[0].data.get(route["counter"], 0) if parents else None
            if parents and parents[0].topic != topic:
                before = 0
            if not isinstance(count, int) or not 1 <= count <= route["maxRetries"]:
                yield (
                    f"I9: {record.event_id} on {topic} has {route['counter']} {count}; the ladder has"
                    f" {route['maxRetries']} steps"
                )
                continue
            if before is not None and count != before + 1:
                yield f"I9: {record.event_id} on {topic} is step {count} and comes from step {before}"
            delay = int(route["initialIntervalMs"] * route["multiplier"] ** (count - 1))
            not_before = int(record.headers.get("sluice-not-before", 0))
            if not_before - record.timestamp < delay:
                yield (
                    f"I9: {record.event_id} on {topic} is due after {not_before - record.timestamp} ms; step"
                    f" {count} waits {delay} ms"
                )
            for child in facts.children.get(record.event_id, ()):
                if child.timestamp < not_before - EARLY_MS:
                    yield (
                        f"I9: {record.event_id} on {topic} was handled {not_before - child.timestamp} ms before its"
                        " time"
                    )


# ------------------------------------------------------------------------------------------------------ dead letters


def dead_letters(facts):
    """I17 and I18. A tap is a reader of its own: what it cannot read has a dead letter of the tap as well."""
    poison = {}
    for entry in facts.acked:
        if entry["expect"] == "dead":
            poison[entry["topic"], entry["value"].encode("utf-8", "surrogateescape")] = entry
    letters = collections.defaultdict(list)
    taps = {f"{tap['name']}/{tap['handler']}" for tap in facts.model.taps}
    for topic, source in facts.model.dead.items():
        for record in facts.by_topic[topic]:
            by = record.headers.get("sluice-dlt-handler")
            reason = record.headers.get("sluice-dlt-reason")
            entry = poison.get((source, record.value))
            if not reason or not record.headers.get("kafka_dlt-exception-message"):
                yield f"I17: {record.event_id or record.value[:60]} on {topic} says no reason"
            if record.headers.get("kafka_dlt-original-topic") != source:
                yield f"I17: {record.event_id or record.value[:60]} on {topic} does not say that it came from {source}"
            if entry is None:
                yield (
                    f"I17: {record.event_id or record.value[:60]} on {topic} is no poison; it is there for '{reason}': "
                    f"{record.headers.get('kafka_dlt-exception-message')}"
                )
                continue
            if by not in taps:
                letters[source, record.value].append(reason)
    for (topic, value), entry in poison.items():
        reasons = letters[topic, value]
        if len(reasons) != 1:
            yield f"I18: poison {entry['acked']} is {len(reasons)} times among the dead letters of {topic}"
        elif entry.get("reason") not in (None, reasons[0]):
            yield (
                f"I17: poison {entry['acked']} of {topic} is a dead letter for '{reasons[0]}'; it is"
                f" '{entry['reason']}'"
            )
    dead = sum(row["outcome"] == DEAD and row["handler"] in facts.model.handler_topics for row in facts.inbox)
    found = sum(map(len, letters.values()))
    if dead != found:
        yield f"I17: {dead} events ended dead; {found} dead letters are of them"


# ----------------------------------------------------------------------------------------------------------- effects


def effects(facts):
    if not has_table(facts.url, "effects"):
        return
    rows = sql(facts.url, "SELECT number, event_id, k, origin, seq, climb FROM effects ORDER BY number")
    count = collections.Counter(row["origin"] for row in rows)
    wanted = {entry["origin"]: entry["expect"] for entry in facts.acked if "origin" in entry}
    for origin, expect in wanted.items():
        if expect == "done" and count[origin] == 0:
            yield f"I1: {origin} was acknowledged, and its effect is not there"
        if expect != "done" and count[origin] > 0:
            yield f"I19: {origin} ended as {expect}, and has {count[origin]} effects"
        if expect == "done" and count[origin] > 1:
            yield f"I19: {origin} has {count[origin]} effects"
    for origin in set(count) - set(wanted):
        yield f"I2: {origin} has an effect, and was never sent"
    last = {}
    for row in rows:
        if row["climb"] > 0:
            continue
        if row["seq"] <= last.get(row["k"], 0):
            yield f"I16: of key {row['k']} event {row['seq']} ({row['origin']}) came after {last[row['k']]}"
        last[row["k"]] = max(row["seq"], last.get(row["k"], 0))


def purchases(facts):
    if not has_table(facts.url, "payment_transactions"):
        return
    payments = {row["id"]: row for row in sql(facts.url, "SELECT * FROM payment_transactions")}
    seats = sql(facts.url, "SELECT * FROM reservations")
    wanted = {entry["payment"]: entry["expect"] for entry in facts.acked if "payment" in entry}
    states = {"confirmed": "SUCCESS", "declined": "FAILURE", "refunded": "CANCEL"}
    for payment, expect in wanted.items():
        row = payments.get(payment)
        if expect == "dead":
            if row is not None and row["charged"] > 0:
                yield f"I4: {payment} is poison, and {row['charged']} points were taken"
        elif row is None:
            yield f"I1: payment {payment} was acknowledged, and is not there"
        elif row["status"] != states[expect]:
            yield f"I8: payment {payment} ended as {row['status']}; it should be {states[expect]}"
    for payment, row in payments.items():
        if payment not in wanted:
            yield f"I2: payment {payment} is there, and was never sent"
        if row["status"] in ("PENDING", "RETRYING"):
            yield f"I8: payment {payment} is still {row['status']}"
        if row["charged"] not in (0, row["amount"] or 0):
            yield f"I4: payment {payment} took {row['charged']} points for {row['amount']}"
        if row["refunded"] not in (0, row["charged"]):
            yield f"I5: payment {payment} gave {row['refunded']} of {row['charged']} points back"
    for owner in (entry for entry in facts.log if "user" in entry):
        row = sql(facts.url, f"SELECT points FROM users WHERE id = {int(owner['user'])}")[0]
        spent = sum(p["charged"] - p["refunded"] for p in payments.values() if p["user_id"] == owner["user"])
        if row["points"] != owner["points"] - spent:
            yield f"I6: user {owner['user']} began with {owner['points']}, spent {spent}, and has {row['points']}"
    kept = sum(row["charged"] - row["refunded"] for row in payments.values())
    sold = sum(seat["purchase_price"] for seat in seats if seat["status"] == "CONFIRMED")
    if kept != sold:
        yield f"I6: {kept} points were kept, seats for {sold} were sold"
    for seat in seats:
        if seat["status"] == "CONFIRMED" and payments.get(seat["payment_tx_id"], {}).get("status") != "SUCCESS":
            yield f"I7: reservation {seat['id']} is CONFIRMED by payment {seat['payment_tx_id']}, which was not charged"


# -------------------------------------------------------------------------------------------------------------- rest


def drained(facts):
    for table, what in (
        ("outbox", "batches are unpublished"),
        ("attempt", "events are still being retried"),
        ("parked", "events are still parked"),
        ("held", "events are still held"),
        ("held_key", "keys are still held"),
    ):
        count = sql(facts.url, f"SELECT count(*) AS n FROM sluice.{table}")[0]["n"]
        if count > 0:
            yield f"I15: {count} {what} after the drain"


def lag(facts):
    for group, behind in facts.bus.lags().items():
        if behind:
            yield f"I13: group {group} is {behind} records behind after the drain"


def positions(facts):
    last = {}
    for entry in facts.log:
        for place, position in entry.get("positions", {}).items():
            if tuple(position) < last.get(place, (0, 0)):
                yield f"I14: the committed position of {place} went back from {last[place]} to {tuple(position)}"
            last[place] = tuple(position)


def resources(facts):
    samples = [entry["resources"] for entry in facts.log if "resources" in entry]
    for name in samples[0] if samples else ():
        if samples[-1][name] > samples[0][name]:
            yield f"I22: {name} grew from {samples[0][name]} to {samples[-1][name]}"
    left = sql(
        facts.url,
        "SELECT pid, application_name FROM pg_stat_activity WHERE application_name LIKE 'sluice%'"
        " AND datname = current_database()",
    )
    if left:
        yield f"I22: {len(left)} sessions of the engine are left: {some(row['application_name'] for row in left)}"


def sink(facts):
    """A tap hands on everything at least once."""
    got = {entry["sink"] for entry in facts.log if "sink" in entry}
    if not got:
        return
    for tap in facts.model.taps:
        prefixes = tuple(name.rstrip("*") for name in tap["topics"])
        poison = {
            entry["value"].encode("utf-8", "surrogateescape") for entry in facts.acked if entry["expect"] == "dead"
        }
        missing = {
            record.event_id
            for record in facts.records
            if record.event_id
            and record.topic not in facts.model.dead
            and record.topic.startswith(prefixes)
            and record.value not in poison
        } - got
        if missing:
            yield f"I1: tap {tap['name']} did not hand on {len(missing)} events: {some(missing)}"


ON_TOPICS = (no_loss, no_invention, outputs, output_order, lineage, ladder, dead_letters, lag, positions, sink)
IN_DATABASE = (one_row, effects, purchases, drained, resources)


def check(facts, dumped=True):
    """The violations, as sentences."""
    found = []
    on_topics = (
        ON_TOPICS
        + checker_chains.ON_TOPICS
        + checker_timers.ON_TOPICS
        + (() if facts.bus.transactional else checker_kafka.ON_TOPICS)
    )
    for invariant in (on_topics if dumped else ()) + IN_DATABASE + checker_chains.IN_DATABASE:
        found.extend(invariant(facts))
    return found


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    env = dict(os.environ)
    facts = Facts(bus_of(sys.argv[1], env), sys.argv[1], env, sys.argv[2], sys.argv[3:])
    found = check(facts)
    for sentence in found:
        print(sentence)
    print(
        f"{len(facts.inbox)} outcomes, {len(facts.records)} records, {len(facts.acked)} acknowledged:"
        f" {len(found)} violations"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
