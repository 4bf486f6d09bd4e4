"""The generator's orders: a chain whose steps are done again under one correlation, before and after it was undone,
which is aborted, forgotten, hit by dead letters and tied by numbers in every notation, and by values that tie nothing.

A number of correlations is under way at a time; each event picks one of them, so no order of an event's kinds is left
out. Nothing here depends on the order in which an engine meets them: checker_chains.py knows what must hold in each.
"""
from chaos.wire import correlation

UNDER_WAY, EVENTS_EACH = 8, 5  # correlations at a time, and about how many events of one
KEYS = [f"o{i}" for i in range(6)]
NO_CORRELATION = [None, "", {"a": 1}, [7], True, 7.5, 2**64, "a\nb"]
ABSENT = object()


class Orders:
    def __init__(self, dice, entry):
        """entry(topic, data, expect, **more): what the stream logs."""
        self.dice, self.entry = dice, entry
        self.events, self.seq = 0, dict.fromkeys(KEYS, 0)

    def entry_of(self, topic, order, expect="done", k=None, reason=None, **fields):
        """An event of the correlation; of a key of its own for most of them, so that a key's events concern few."""
        tied = correlation(order)
        if k is None and tied is not None and self.dice.randrange(5) > 0:
            k = KEYS[int(tied) % len(KEYS)]
        k = k or self.dice.choice(KEYS)
        data, more = {"k": k, **fields}, {"reason": reason} if reason else {}
        if order is not ABSENT:
            data["order"] = order
        self.seq[k] += 1
        data["seq"], data["origin"] = self.seq[k], f"{k}-{self.seq[k]}"
        if topic == "orders.paid":
            more["origin"] = data["origin"]
        return self.entry(topic, data, expect, k=k, **more)

    def _correlation(self):
        """One of those under way, in any notation of its number."""
        number = 7000 + self.events // EVENTS_EACH + self.dice.randrange(UNDER_WAY)
        return self.dice.choice([number, number, float(number), str(number)])

    def one(self):
        """(kind, entry)"""
        self.events += 1
        roll = self.dice.randrange(100)
        if roll < 40:
            return "paid", self.entry_of("orders.paid", self._correlation())
        if roll < 48:
            return "paid, with its key held", self.entry_of("orders.paid", self._correlation(), flaky=1)
        if roll < 53:
            paid = self.entry_of("orders.paid", self._correlation(), "dead", reason="rejected", refuse=1)
            return "payment refused", paid
        if roll < 72:
            return "booked", self.entry_of("orders.booked", self._correlation())
        if roll < 87:
            return "order failed", self.entry_of("orders.failed", self._correlation())
        topic = self.dice.choice(["orders.failed", "orders.failed", "orders.paid", "orders.booked"])
        order = self.dice.choice([*NO_CORRELATION, ABSENT])
        return "no correlation", self.entry_of(topic, order, "dead", reason="bad_correlation")
