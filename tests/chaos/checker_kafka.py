"""What only a bus that is no part of the transaction can get wrong: see checker.py, which asks these as well on such a
bus.

The samples of a run hold what the group had committed, and then, looked at later, a snapshot of the database and where
topics ended.
"""
import collections

from chaos import checker_timers
from chaos.facts import CHAIN, batch_records, some, sql
from chaos.wire import id_of

DEAD = -1
AGAIN_A_DEATH = 50  # outputs that one death may repeat: what is under way at a time. Measured: about 8
AGAIN_A_FREEZE = 400  # a batch of each lane: its owner publishes it when it wakes, and who has its partitions by then


def _see(snapshot):
    """Whether a snapshot sees what a transaction wrote."""
    low, high, running = snapshot.split(":")
    running = set(map(int, filter(None, running.split(","))))
    return lambda xid: xid < int(low) or xid < int(high) and xid not in running


def _claimed(facts):
    """(handler, event id) → the transaction that has claimed it; earlier ones gave their claim back."""
    return {
        (row["handler"], row["event_id"]): int(row["xid"])
        for row in sql(
            facts.url,
            "SELECT n.name AS handler, c.event_id, max(c.xid::text::bigint) AS xid FROM claimed c"
            " JOIN sluice.name n ON n.number = c.handler GROUP BY 1, 2",
        )
    }


def _held(facts):
    """event id → the transactions that wrote it behind its key, or as its head, and those that deleted it there."""
    held = collections.defaultdict(lambda: ([], []))
    for way, table in enumerate(("was_held", "held_no_more")):
        for row in sql(facts.url, f"SELECT event_id, xid::text::bigint AS xid FROM {table}"):
            held[row["event_id"]][way].append(int(row["xid"]))
    return held


def _issue(facts):
    """record → what it became on the topics: its children and its dead letters, the first of each."""
    letters = collections.defaultdict(list)
    for topic, source in facts.model.dead.items():
        for letter in facts.by_topic[topic]:
            if letter.headers.get("sluice-dlt-handler", CHAIN) in facts.model.handler_topics:
                letters[source, letter.value].append(letter)

    def issue(record, row):
        if row["outcome"] == DEAD:
            return letters[record.topic, record.value][:1]
        return [child for child in facts.children.get(record.event_id, ()) if id_of(record.event_id) == row["event_id"]]

    return issue


def committed(facts):
    """I12: below a committed offset everything has its outcome, and what it emits is on its topic. A retry waits in the
    database. The event of a held key is there, or has its outcome; what it emits then is published after its position
    was committed. A timer's event waits in the database, too."""
    handlers = {
        topic: handler
        for handler, topics in facts.model.handler_topics.items()
        for topic in topics
        if "retriesOf" not in facts.model.topics[topic]
    }
    places, done = collections.defaultdict(dict), collections.Counter()
    for record in facts.records + facts.repeats:
        places[record.topic, record.partition][record.offset] = record
    issue, claimed, held = _issue(facts), _claimed(facts), _held(facts)
    later = checker_timers.events(facts)
    for entry in facts.log:
        if "ends" not in entry:
            continue
        seen = _see(entry["snapshot"])
        for place, (offset, _) in entry["positions"].items():
            group, topic, partition = place.split("/")
            if group != facts.bus.group or topic not in handlers:
                continue
            for at in range(done[place], offset):
                record = places[topic, int(partition)].get(at)
                row = record and facts.row_of(handlers[topic], record)
                ids = {row["event_id"], record.event_id and id_of(record.event_id)} if row is not None else ()
                written, deleted = (sum(seen(xid) for one in ids for xid in held[one][way]) for way in (0, 1))
                if written > deleted:
                    continue
                if row is None or not seen(claimed[row["handler"], row["event_id"]]):
                    yield (
                        f"I12: {place} was committed up to {offset}, and {record and record.event_id} at {at} had no"
                        " outcome yet"
                    )
                for child in issue(record, row) if row and not written else ():
                    ended = entry["ends"][child.topic][str(child.partition)]
                    if child.event_id not in later and child.offset >= ended:
                        yield (
                            f"I12: {place} was committed up to {offset}, and {child.event_id}, which"
                            f" {record.event_id} at {at} emits, was not on {child.topic} yet"
                        )
            done[place] = max(done[place], offset)


def beside(facts):
    """I14: the store's row is written before the offset in Kafka, never goes back, and in the end both are the same."""
    last = {}

    def compare(sample, how, wrong):
        for place, (offset, _) in sample["positions"].items():
            if place.startswith(facts.bus.group + "/") and wrong(offset, sample["recorded"].get(place, 0)):
                yield f"I14: {place} {how} {offset} in Kafka and {sample['recorded'].get(place, 0)} in the database"

    for entry in facts.log:
        if "recorded" not in entry:
            continue
        yield from compare(entry, "was at", lambda offset, row: offset > row)
        for place, row in entry["recorded"].items():
            if row < last.get(place, 0):
                yield f"I14: the database's position of {place} went back from {last[place]} to {row}"
            last[place] = row
    yield from compare(facts.bus.sample(), "ended at", lambda offset, row: offset != row)


def recorded(facts):
    """I3, I15: what transactions recorded is what is on the topics, byte by byte; nothing else that has a parent is
    there."""
    there, wanted = collections.Counter(), collections.Counter()
    for record in facts.records:
        if record.parent is not None or record.topic in facts.model.dead:
            there[record.whole()] += 1
    for row in sql(facts.url, "SELECT encode(batch, 'hex') AS batch FROM recorded"):
        for record in batch_records(bytes.fromhex(row["batch"])):
            wanted[record.whole()] += 1
    missing, invented = wanted.keys() - there.keys(), there.keys() - wanted.keys()
    if missing:
        yield (
            f"I15: {len(missing)} outputs that were committed are not on their topics as they were recorded: "
            f"{some(f'{topic} {value[:60]}' for topic, _, value, *_ in missing)}"
        )
    if invented:
        yield (
            f"I2: {len(invented)} outputs are on their topics, and no transaction recorded them: "
            f"{some(whole[2][:60] for whole in invented)}"
        )


def repeats(facts):
    """I20: an output is there again for a death, not for a redelivery."""
    deaths = sum(entry.get("killed", 0) for entry in facts.log)
    freezes = sum(entry.get("frozen", 0) for entry in facts.log)
    if len(facts.repeats) > deaths * AGAIN_A_DEATH + freezes * AGAIN_A_FREEZE:
        yield (
            f"I20: {len(facts.repeats)} outputs are on their topics again, after {deaths} deaths: "
            f"{some(record.event_id for record in facts.repeats)}"
        )
    if facts.repeats:
        whole, count = collections.Counter(record.whole() for record in facts.repeats).most_common(1)[0]
        if count > deaths:
            yield f"I20: {whole[2][:60]} is on {whole[0]} {count + 1} times, after {deaths} deaths"


ON_TOPICS = (committed, beside, recorded, repeats)
