"""What must hold of chains, in whatever order their events came: see checker.py, which asks these as well.

Correlations are read by wire.py, so by the description of what ties events and not by the engine.
"""
import collections
import re

from chaos.facts import has_table, some, sql
from chaos.wire import correlation, derive, id_of

RUNNING, OVER = 0, 2
DEAD_LETTER = re.compile(r"^dead letter on ([^:]+):")


def _tied(chain, record):
    return correlation(record.data.get(chain["correlate"]))


def _done(facts, chain):
    """(step's place, correlation) → how many events of different ids did it."""
    done = collections.Counter()
    for place, step in enumerate(chain["steps"]):
        if step["undo"]:
            ids = {(_tied(chain, record), record.event_id) for record in facts.by_topic[step["done"]]}
            done.update((place, tied) for tied, event_id in ids if tied is not None and event_id is not None)
    return done


def _aborted(facts, chain):
    tied = {_tied(chain, record) for topic in chain["abortOn"] for record in facts.by_topic[topic]}
    return tied - {None}


def _undos(facts, chain):
    """(step's place, correlation) → the undos of it."""
    undos = collections.defaultdict(list)
    for place, step in enumerate(chain["steps"]):
        for record in facts.by_topic[step["undo"]] if step["undo"] else ():
            if record.parent:
                undos[place, _tied(chain, record)].append(record)
    return undos


def timeouts(facts):
    """Ids of the events that end the time of a chain: they are on no topic."""
    return {
        f"timeout-{row['number']}-{generation}-{row['correlation']}"
        for row in facts.chain_rows
        for generation in range(row["generation"] + 1)
    }


def undo_ids(facts):
    """{id: topic} of every undo that the chains may have emitted."""
    ids = {}
    for chain in facts.model.chains:
        done = _done(facts, chain)
        rows = {row["tied"]: row for row in facts.chain_rows if row["chain"] == chain["name"]}
        for (place, tied), count in done.items():
            step = chain["steps"][place]
            for generation in range(rows[tied]["generation"] + 1 if tied in rows else 1):
                handler = f"chain/{chain['name']}" + (f"/{generation}" if generation else "")
                for repeats in range(count):
                    ids[derive(tied, handler, step["name"], repeats)] = step["undo"]
    return ids


def rows(facts):
    """I8: each correlation has one row, however its number is written; values that tie nothing have none."""
    for chain in facts.model.chains:
        wanted = {tied for _, tied in _done(facts, chain)} | _aborted(facts, chain)
        there = collections.Counter(row["tied"] for row in facts.chain_rows if row["chain"] == chain["name"])
        missing, invented = wanted - set(there), set(there) - wanted
        if missing:
            yield f"I8: chain {chain['name']} knows nothing of {len(missing)} correlations: {some(missing)}"
        if invented:
            yield f"I2: chain {chain['name']} has rows of correlations that no event has: {some(invented)}"


def undone(facts):
    """I8: each doing of a step is undone once or is still in force, and what was aborted is undone."""
    for chain in facts.model.chains:
        done, undos, aborted = _done(facts, chain), _undos(facts, chain), _aborted(facts, chain)
        force = {
            row["tied"]: collections.Counter(bytes.fromhex(row["steps"]))
            for row in facts.chain_rows
            if row["chain"] == chain["name"] and row["state"] == RUNNING
        }
        for place, tied in set(done) | set(undos):
            counted = len({record.event_id for record in undos[place, tied]})
            running = force.get(tied, {}).get(place, 0)
            if counted + running != done[place, tied]:
                yield (
                    f"I8: step {chain['steps'][place]['name']} of {chain['name']} {tied} was done {done[place, tied]}"
                    f" times, undone {counted} times, and is in force {running} times"
                )
        for tied in aborted & {tied for _, tied in done}:
            if not any(undos[place, tied] for place in range(len(chain["steps"]))):
                yield f"I8: {chain['name']} {tied} was aborted, and nothing of it was undone"


def reasons(facts):
    """I8: what was undone was aborted: by an event, a dead letter, or its timeout."""
    dead = collections.defaultdict(list)
    for topic, source in facts.model.dead.items():
        dead[source] += facts.by_topic[topic]
    for chain in facts.model.chains:
        aborted = _aborted(facts, chain)
        for (_, tied), records in _undos(facts, chain).items():
            for record in records:
                reason = str(record.data.get("reason"))
                letter = DEAD_LETTER.match(reason)
                by_letter = letter and any(_tied(chain, one) == tied for one in dead[letter.group(1)])
                if tied not in aborted and not by_letter and reason != "timeout":
                    yield f"I8: {chain['name']} {tied} was undone by {record.event_id}, and nothing aborted it"


def ended(facts):
    """I8: after the drain no chain waits for a step, an abort or an undo in silence."""
    for row in facts.chain_rows:
        if row["state"] == RUNNING and row["missing"]:
            yield f"I8: {row['chain']} {row['tied']} is left running, with steps missing ({row['missing']:b})"
        elif row["state"] not in (RUNNING, OVER):
            yield f"I8: {row['chain']} {row['tied']} is left aborted, and not over (state {row['state']})"


def effects(facts):
    """I19: an undo has one effect, of the doing that it undoes."""
    if not has_table(facts.url, "undone"):
        return
    found = collections.Counter((row["event_id"], row["origin"]) for row in sql(facts.url, "SELECT * FROM undone"))
    wanted = {
        (record.event_id, record.data.get("origin"))
        for topic in facts.model.handler_topics.get("effects.undo", ())
        for record in facts.by_topic[topic]
    }
    for one in wanted | set(found):
        if found[one] != (one in wanted):
            yield f"I19: the undo {one[0]} of {one[1]} has {found[one]} effects"
    for origin, count in collections.Counter(origin for _, origin in wanted).items():
        if count > 1:
            yield f"I19: {origin} is undone {count} times"


def known(facts):
    """Of handlers' rows those that no topic explains: (handler, event id)."""
    return {("chain", id_of(text)) for text in timeouts(facts)}


ON_TOPICS = (rows, undone, reasons, effects)
IN_DATABASE = (ended,)
