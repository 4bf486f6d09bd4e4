"""How long the machine kept threads from running that could have run: a test that asserts a rate can tell an engine
that is late from one that had no CPU.

    with Stalls() as stalls:
        stalls.watch("engine", pids)        # from now on; again when they have changed
        …
        stalls.between(begin, end)          # seconds, times as time.time()
"""
import pathlib
import threading
import time

EVERY_S = 0.05


def waited(pid):
    """{thread: seconds that it stood in a run queue}; empty when it has ended."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            found[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            continue
    return found


class Stalls:
    def __init__(self):
        self.pids, self.samples = {}, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def watch(self, what, pids):
        self.pids = {**self.pids, what: list(pids)}

    def look(self):
        while not self.over.is_set():
            at, kinds = time.time(), {}
            for what, pids in self.pids.items():
                kinds[what] = {}
                for pid in pids:
                    kinds[what].update(waited(pid))
            self.samples.append((at, kinds))
            self.over.wait(EVERY_S)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def between(self, begin, end):
        """Of each kind the longest time for which one thread stood in the queue and did not run, and their sum: they
        wait for each other. A time of which nobody knows counts whole."""
        at = [sample[0] for sample in self.samples]
        first = max((i for i, t in enumerate(at) if t <= begin), default=None)
        last = min((i for i, t in enumerate(at) if t >= end), default=None)
        if first is None or last is None:
            return end - begin
        return sum(longest(self.samples[first : last + 1], what) for what in self.pids)


def longest(samples, what):
    found, stood = 0, {}
    for (before_at, before), (after_at, after) in zip(samples, samples[1:]):
        old, new = before.get(what, {}), after.get(what, {})
        span = after_at - before_at
        waits = {thread: delay - old[thread] for thread, delay in new.items() if thread in old}
        # Threads that ran in between stood for less than most of the time.
        stood = {thread: wait + (stood.get(thread, 0) if wait > 0.7 * span else 0) for thread, wait in waits.items()}
        found = max([found, *stood.values()])
    return found
