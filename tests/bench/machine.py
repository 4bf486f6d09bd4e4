"""Who used the machine: CPU seconds by party, and memory of a process, from /proc."""
import os
import pathlib
import time

TICK = os.sysconf("SC_CLK_TCK")


def _times(pid):
    """Of a process with all its threads, and of its children that are gone: seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    user, system, gone_user, gone_system = map(int, fields[11:15])
    return (user + system) / TICK, (gone_user + gone_system) / TICK


def process_cpu(pid):
    return _times(pid)[0]


def threads_cpu(pid):
    """Of the threads that a process has now, to the nanosecond where Linux counts them; process_cpu() has ticks."""
    try:
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        return process_cpu(pid)


def family_cpu(pid):
    """Of a server that has a process a connection: those that are gone, too."""
    total = sum(_times(pid))
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            try:
                total += sum(_times(child))
            except OSError:
                pass  # gone in this moment: with its parent's next time
    return total


def plugins_cpu(pid):
    """Of the processes that a worker has for isolated plugins."""
    return sum(
        threads_cpu(int(child))
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    )


def children_cpu():
    """Of this program's children that have ended."""
    return sum(os.times()[2:4])


def memory(pid):
    """(resident MiB now, at its peak)"""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return tuple(int(status.split(name + ":")[1].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


def _busy():
    """Of all cores together, whoever used them; what a host of ours took away counts."""
    numbers = [int(number) for number in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) / TICK


class Usage:
    """Parties are functions that give CPU seconds. `others` are all that nobody named: jobs that spoil the figures."""

    def __init__(self, parties):
        self.parties = {**parties, "bench": lambda: process_cpu(os.getpid())}

    def look(self):
        seen = {name: cpu() for name, cpu in self.parties.items()}
        return {**seen, "others": _busy() - sum(seen.values()), "time": time.monotonic()}

    @staticmethod
    def between(before, after):
        """({party: CPU seconds}, wall seconds)"""
        used = {name: after[name] - before[name] for name in before if name != "time"}
        return used, after["time"] - before["time"]


def quiet():
    """Before a measurement: with QUIET=SECONDS waits at most so long until other jobs leave nine tenths of the machine
    alone."""
    end = time.monotonic() + float(os.environ.get("QUIET") or 0)
    while time.monotonic() < end:
        before = _busy()
        time.sleep(0.5)
        if (_busy() - before) / 0.5 < 0.1 * os.cpu_count():
            return


def cores(used, seconds):
    return "  ".join(f"{name} {max(0.0, cpu) / seconds:.2f}" for name, cpu in used.items())
