"""What must hold of chains' timers: see checker.py, which asks this as well.

Rows of timers and of chains come and go; triggers of the test's own server write down what each transaction did with
them (prepare()). Of one timer these notes are in the order of the commits, for its row is locked by who changes it;
those of a timer and its chain are compared by the times of their commits (track_commit_timestamp).
"""
import collections
from types import SimpleNamespace

from chaos.facts import batch_records, has_table, sql
from chaos.wire import correlation, derive

EARLY_MS = 2  # an event this close to its time is due
RUNNING = 0

NOTES = """
CREATE TABLE noted_timer (number bigserial, what text, id uuid, chain smallint, record bytea, due timestamptz,
    xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION note_timer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO public.noted_timer (what, id) VALUES ('over', OLD.event_id);
    ELSIF TG_OP = 'INSERT' OR OLD.record <> NEW.record THEN
        INSERT INTO public.noted_timer (what, id, chain, record, due)
        VALUES ('begun', NEW.event_id, NEW.chain, NEW.record, NEW.due);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_timer_that_begins AFTER INSERT OR UPDATE ON sluice.parked FOR EACH ROW
    WHEN (NEW.chain IS NOT NULL) EXECUTE FUNCTION note_timer();
CREATE TRIGGER note_timer_that_is_over AFTER DELETE ON sluice.parked FOR EACH ROW
    WHEN (OLD.chain IS NOT NULL) EXECUTE FUNCTION note_timer();
CREATE TABLE noted_chain (number bigserial, chain smallint, tied text, state smallint, missing integer,
    xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION note_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.noted_chain (chain, tied, state, missing)
    VALUES (NEW.chain, NEW.correlation_text, NEW.state, NEW.missing);
    RETURN NULL;
END $$;
CREATE TRIGGER note_chain AFTER INSERT OR UPDATE ON sluice.chain FOR EACH ROW EXECUTE FUNCTION note_chain()
"""
COMMITTED = "extract(epoch FROM pg_xact_commit_timestamp(xid::xid))::float8 AS committed, xid::text"


def _runs(facts):
    """Each time that a timer was begun: its event as it would be emitted, when and by whom it was begun and ended."""
    rows = sql(
        facts.url,
        f"SELECT t.what, t.id, n.name AS chain, encode(t.record, 'hex') AS record, {COMMITTED},"
        " extract(epoch FROM t.due)::float8 * 1000 AS due FROM noted_timer t"
        " LEFT JOIN sluice.name n ON n.number = t.chain AND n.kind = 'c' ORDER BY t.number",
    )
    runs, now = [], {}
    for row in rows:
        before = now.pop(row["id"], None)
        if before:
            before.end, before.by, before.ended = row["what"], row["xid"], row["committed"]
        if row["what"] == "begun":
            (event,) = batch_records(bytes.fromhex(row["record"]))
            tied = event.headers.get("sluice-correlation")
            now[row["id"]] = SimpleNamespace(
                event=event,
                tied=tied,
                chain=row["chain"],
                due=row["due"],
                begun=row["committed"],
                begun_by=row["xid"],
                end=None,
            )
            runs.append(now[row["id"]])
    return runs


def _emits(facts, topics):
    """{event id: the transactions that emitted it}, of events on these topics."""
    table, batch = ("sluice.bus_log", "payload") if facts.bus.transactional else ("recorded", "batch")
    found = collections.defaultdict(list)
    for row in sql(facts.url, f"SELECT xid::text, encode({batch}, 'hex') AS batch FROM {table}"):
        for record in batch_records(bytes.fromhex(row["batch"])):
            if record.topic in topics:
                found[record.event_id].append(row["xid"])
    return found


def _chain_rows(facts):
    """What transactions wrote of chains, in the order of their commits. `done`: topics whose step was. `last`: what the
    transaction left behind; one that aborts a chain may undo it and begin it again, and so a second timer."""
    steps = {chain["name"]: chain["steps"] for chain in facts.model.chains}
    rows = sql(
        facts.url,
        f"SELECT n.name AS chain, c.tied, c.state, c.missing, {COMMITTED} FROM noted_chain c"
        " JOIN sluice.name n ON n.number = c.chain AND n.kind = 'c' ORDER BY c.number",
    )
    last = {(row["chain"], row["tied"], row["xid"]): number for number, row in enumerate(rows)}
    for number, row in enumerate(rows):
        row["last"] = number == last[row["chain"], row["tied"], row["xid"]]
        row["done"] = {step["done"] for n, step in enumerate(steps[row["chain"]]) if not row["missing"] >> n & 1}
        row["runs"] = row["state"] == RUNNING and row["missing"] != 0
    return rows


def _cancels(rows, chains):
    """{(chain, correlation, timer's topic): the rows that end the timer}."""
    found = collections.defaultdict(list)
    for row in rows:
        for timer in chains[row["chain"]]["timers"]:
            if not row["runs"] or row["done"] & set(timer["cancelOn"]):
                found[row["chain"], row["tied"], timer["emit"]].append(row)
    return found


def _begins(rows, chains):
    """(chain, correlation, timer's topic, transaction) of timers that must have begun: the transaction did their step,
    and what it left of the chain does not cancel them."""
    before = {}
    for row in rows:
        if not row["last"]:
            continue
        new = row["done"] - before.get((row["chain"], row["tied"]), set())
        before[row["chain"], row["tied"]] = row["done"] if row["runs"] else set()
        for timer in chains[row["chain"]]["timers"]:
            if row["runs"] and timer["from"] in new and not row["done"] & set(timer["cancelOn"]):
                yield row["chain"], row["tied"], timer["emit"], row["xid"]


def events(facts):
    """{id: topic} of every event that a timer may have emitted."""
    return {run.event.event_id: run.event.topic for run in _runs(facts)} if has_table(facts.url, "noted_timer") else {}


def _of_its_chain(facts, run, chain, number):
    """Whether the event says what the event said that began its timer."""
    begun_by = {record.event_id: record for record in facts.by_topic[chain["timers"][number]["from"]]}
    first = begun_by.get(run.event.parent)
    return (
        first is not None
        and run.event.event_id == derive(first.event_id, f"chain/{chain['name']}", "timer", number)
        and run.event.data == first.data
        and run.tied == correlation(first.data.get(chain["correlate"]))
    )


def _ended(run, emits, cancels):
    """What is wrong with how a timer ended."""
    by = emits.get(run.event.event_id, [])
    if run.end is None:
        yield "is left after the drain"
    elif by and (run.end == "begun" or run.by not in by):
        yield "was emitted, and another transaction cancelled it or began it again"
    elif by:
        if any(row["last"] and run.begun <= row["committed"] < run.ended for row in cancels):
            yield "was emitted after its cancellation was committed"
        if run.event.timestamp and run.ended * 1000 < run.due - EARLY_MS:
            yield f"was emitted {run.due - run.ended * 1000:.0f} ms before its time"
    elif run.end == "over" and run.by not in {row["xid"] for row in cancels}:
        yield "is over, and was neither emitted nor cancelled"
    if len(by) > 1:
        yield f"was emitted {len(by)} times"


def timers(facts):
    """I24: a timer begins with its step; it is emitted once, not before its time, or cancelled or begun again once."""
    if not has_table(facts.url, "noted_timer"):
        return
    chains = {chain["name"]: chain for chain in facts.model.chains}
    topics = {timer["emit"] for chain in chains.values() for timer in chain["timers"]}
    rows, runs, emits = _chain_rows(facts), _runs(facts), _emits(facts, topics)
    cancels = _cancels(rows, chains)
    for run in runs:
        chain, name = chains[run.chain], f"{run.event.event_id} of {run.chain} {run.tied}"
        numbers = [n for n, timer in enumerate(chain["timers"]) if timer["emit"] == run.event.topic]
        if not any(_of_its_chain(facts, run, chain, number) for number in numbers):
            yield f"I24: a timer is not what its chain said: {name}"
        for wrong in _ended(run, emits, cancels[run.chain, run.tied, run.event.topic]):
            yield f"I24: a timer {wrong}: {name}"
    begun = {(run.chain, run.tied, run.event.topic, run.begun_by) for run in runs}
    for chain, tied, topic, xid in _begins(rows, chains):
        if (chain, tied, topic, xid) not in begun:
            yield f"I24: a timer did not begin with its step: {topic} of {chain} {tied}, transaction {xid}"
    for event_id in set(emits) - {run.event.event_id for run in runs}:
        yield f"I24: {event_id} was emitted, and no timer was begun for it"


ON_TOPICS = (timers,)
