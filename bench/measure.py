"""What is read from the system, and how numbers are put together."""

import json
import os
import re
import shutil
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of a process, all its present threads, in seconds."""
    try:
        return sum(_schedstat(pid, thread) for thread in os.listdir(f"/proc/{pid}/task")) / 1e9
    except FileNotFoundError:  # a kernel without schedstat counts in ticks
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def _schedstat(pid, thread):
    with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0])


def with_workers(pid):
    """A process, and those that it started and that run: a master and its workers."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        started = [int(n) for n in f.read().split()]
    return [pid, *(n for n in started if os.path.exists(f"/proc/{n}/exe"))]


def cpu_of_all(pid):
    return sum(map(cpu_seconds, with_workers(pid)))


def memory(pid):
    """{Rss, Anonymous} in bytes. Counted page by page: the numbers in statm lag behind."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as f:
        words = [line.split() for line in f]
    return {w[0].rstrip(":"): int(w[1]) * 1024 for w in words if w[0] in ("Rss:", "Anonymous:")}


def memory_of_each(pid, warm, n, connect):
    """What each of n connections adds to a process and to those that it started, as memory() has
    it. connect() makes one, which has waited since its request when it is measured."""
    def rests():
        time.sleep(2)  # what is freed once a second is freed
        every = [memory(one) for one in with_workers(pid)]
        return {kind: sum(m[kind] for m in every) for kind in every[0]}

    held = []
    try:
        held += [connect() for _ in range(warm)]
        before = rests()
        held += [connect() for _ in range(n)]
        after = rests()
    finally:
        for c in held:
            c.close()
    return {kind: (after[kind] - before[kind]) / n for kind in after}


def peak_memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


class PeakWatch(threading.Thread):
    """The largest resident memory of a process while the block runs."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, memory(self.pid)["Rss"])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


@dataclass
class Usage:
    """What a command used."""

    wall: float
    cpu: float
    peak: int
    code: int
    output: str


def run_measured(argv):
    started = time.monotonic()
    popen = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = popen.stdout.read()
    _, status, used = os.wait4(popen.pid, 0)
    popen.returncode = os.waitstatus_to_exitcode(status)
    popen.stdout.close()
    return Usage(time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024,
                 popen.returncode, output)


def yardstick(build):
    """What the machine does just now, apart from Offshoot: {read_ns, work_ns}."""
    done = subprocess.run([os.path.join(build, "bench", "yardstick")], stdout=subprocess.PIPE,
                          check=True)
    return json.loads(done.stdout)


class Profile:
    """Samples a process while the block runs; then `lines` are its costliest functions."""

    def __init__(self, pid, path, wanted, n=10):
        self.path, self.n, self.lines, self.popen = path, n, [], None
        if wanted and shutil.which("perf"):
            self.popen = subprocess.Popen(
                ["perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", path,
                 "-p", str(pid)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        elif wanted:
            self.lines = ["perf is not installed: no profile"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen:
            self.popen.send_signal(2)
            self.popen.wait()
            self.lines = top_functions(self.path, self.n)


def top_functions(path, n=10):
    done = subprocess.run(["perf", "report", "-i", path, "--stdio", "--no-children",
                           "-s", "symbol"], stdout=subprocess.PIPE, text=True, check=False,
                          stderr=subprocess.DEVNULL)
    found = re.findall(r"^ *([\d.]+%) +\[(.)\] (\S+)", done.stdout, re.MULTILINE)
    return [f"{share:>7}  {name}{' (kernel)' if place == 'k' else ''}"
            for share, place, name in found[:n]]


def profiled(argv, path):
    """The costliest functions of a command, as lines."""
    if not shutil.which("perf"):
        return ["perf is not installed: no profile"]
    subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", path, *argv],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return top_functions(path)


@dataclass
class Row:
    """A line of the table. `budget` is what the value may be at most. The value is the median; of
    times that have no peer beside them the least, because other work can only add to them."""

    what: str
    values: list
    unit: str = ""
    budget: float = None
    aim: float = None
    note: str = ""
    least: bool = False
    value: float = field(init=False)

    def __post_init__(self):
        self.value = min(self.values) if self.least else statistics.median(self.values)

    @property
    def met(self):
        return None if self.budget is None else self.value <= self.budget

    def as_dict(self):
        return {"what": self.what, "unit": self.unit, "value": self.value,
                "median": statistics.median(self.values),
                "min": min(self.values), "max": max(self.values), "values": self.values,
                "budget": self.budget, "aim": self.aim, "met": self.met, "note": self.note}


def rotated(items, n):
    """In another order each round, so that none always follows the same one."""
    n %= len(items)
    return items[n:] + items[:n]


def ratios(ours, theirs):
    """Pair by pair: what disturbs a round disturbs both of it."""
    return [a / b for a, b in zip(ours, theirs)]
