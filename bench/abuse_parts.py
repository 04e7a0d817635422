"""What a client that means ill costs others (bench/abuse.py): the latency of somebody else's
requests at a fixed rate, and the memory of the proxy."""

import json
import os
import subprocess
import sys

import abuse
from latency_parts import at_rate
from measure import Row, memory, rotated
from protocol_stack import Bench
from rig import HERE, Broken
from stack import OURS

RATE = 1000
KNOW_HTTP2 = (OURS, "haproxy")  # on a plain port beside HTTP/1
IS_BORNE = ("windows of 0",)  # it holds streams within bounds; all else is cut
MOST_MS, MOST_TIMES, MOST_MIB = 10, 3, 8


def attacked(bench, a, peer, kind):
    """(p99 in ms of somebody else, MiB that the proxy grew, connections that it cut) while kind
    goes on; None: nothing."""
    before = memory(peer.pid)["Rss"]
    attacker = kind and subprocess.Popen(
        [sys.executable, os.path.join(HERE, "abuse.py"), str(peer.port), kind,
         "3" if a.quick else "11"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    p99 = at_rate(bench, a, peer.port, RATE)[1] / 1000
    grown = (memory(peer.pid)["Rss"] - before) / (1 << 20)
    if not attacker:
        return p99, grown, 0
    output, faults = attacker.communicate()
    if attacker.returncode:
        raise Broken(faults)
    cut = json.loads(output)["cut"]
    if peer.name == OURS and not cut and kind not in IS_BORNE:
        raise Broken(f"{kind}: the attacker was never cut")
    return p99, grown, cut


def abused(a):
    """p99 of an innocent client, and growth of the proxy, under floods over HTTP/2"""
    rows = []
    with Bench(a.build, a.keep) as bench:
        peers = [p for p in bench.peers if p.name in KNOW_HTTP2]
        for peer in peers:
            attacked(bench, a, peer, None)
        for kind in (None, *abuse.KINDS):
            found = {p.name: [] for p in peers}
            for n in range(a.rounds):
                for p in rotated(peers, n):
                    found[p.name].append(attacked(bench, a, p, kind))
            for p in peers:
                mine = p.name == OURS
                most = max(MOST_MS, MOST_TIMES * max(r[0] for r in found[peers[-1].name]))
                what = f"{kind or 'no abuse'}: {p.name}"
                rows.append(Row(f"{what}, p99", [r[0] for r in found[p.name]], "ms",
                                budget=most if mine else None))
                if mine:
                    cut = sum(r[2] for r in found[p.name])
                    rows.append(Row(f"{what}, growth", [r[1] for r in found[p.name]], "MiB",
                                    budget=MOST_MIB, note=f"{cut} connections were cut"))
    return rows, [f"{RATE} requests a second over HTTP/1.1 beside one attacker"]
