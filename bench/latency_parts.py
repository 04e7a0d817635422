"""Latency at a fixed rate, whatever the replies do (bench/open_loop.c)."""

import load
from activation_parts import WHOLE, open_loop, prefer
from measure import Row, with_workers, ratios, rotated
from protocol_parts import h2load, wanted
from protocol_stack import Bench
from rig import Broken
from stack import OURS

SHARES = (30, 70)  # percent of what the slowest can do
WORKERS = (1, 2)
PERCENTILES = ("p50", "p99", "p99.9")


def capacity(a, peer):
    """Requests a second when the next one follows each reply."""
    n = 10_000 if a.quick else 100_000
    return n / h2load(peer.port, n, http1=True, clients=64, streams=1)


def at_rate(rig, a, port, rate):
    """(p50, p99, p99.9) in microseconds; every reply is the right one."""
    run = open_loop(rig, a, port, rate, 2 if a.quick else 10, load.head(None), "ok\n", WHOLE)
    if run["lost"]:
        raise Broken(f"{run['lost']} of {run['sent']} requests were lost at {rate} a second")
    return max(run["windows"], key=lambda w: w[1])[2:5]


def rows_of(title, found):
    rows = []
    for name, runs in found.items():
        rows += [Row(f"{title}: {name}, {p}", [r[i] for r in runs], "us")
                 for i, p in enumerate(PERCENTILES)]
    rows += [Row(f"{title}: p99 of {OURS} : {name}",
                 ratios([r[1] for r in found[OURS]], [r[1] for r in runs]), "x")
             for name, runs in found.items() if name != OURS]
    return rows


def latency(a):
    """p50, p99, p99.9 of HTTP/1.1 at 30 % and 70 % of what the slowest can do, 1 and 2 workers"""
    if missing := wanted("h2load"):
        return [], missing
    rows, notes = [], wanted("haproxy")
    for workers in WORKERS:
        with Bench(a.build, a.keep, workers=workers) as bench:
            if not all([prefer(pid) for p in bench.processes for pid in with_workers(p.pid)]):
                notes.append("not permitted to run before the machine's other work: expect noise")
            least = min(capacity(a, p) for p in bench.peers)
            for share in SHARES:
                rate = max(int(least * share / 100), 1)
                found = {p.name: [] for p in bench.peers}
                for n in range(a.rounds):
                    for p in rotated(bench.peers, n):
                        found[p.name].append(at_rate(bench, a, p.port, rate))
                title = f"{workers} worker{'s' * (workers > 1)}, {share} %"
                rows += rows_of(title, found)
                notes.append(f"{title}: {rate} requests a second")
    return rows, notes
