"""Changes through an agent: until every worker of a proxy uses them, and with many proxies."""

import json
import os
import time

import stack as stacks
from graph_parts import LARGE, SIZES, make_graph
from measure import Row, cpu_seconds, peak_memory
from rig import Broken, Rig

PUSH_MS, STAGE_BYTES = 5, 4096
CROWD, CROWD_SECONDS, CROWD_MB = 1000, 1, 300
SERVICE = "svc-0000"


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]


def spread_row(what, values, unit, budget=None):
    """The median, with the tail beside it."""
    tail = ", ".join(f"p{p} {percentile(values, p):.2f}" for p in (90, 99))
    return Row(what, values, unit, budget, note=tail)


class Changes:
    """One environment made by command, changed again and again."""

    def __init__(self, rig, service=SERVICE):
        self.rig, self.service, self.n = rig, service, 0
        stacks.admin(rig, "/env/create?name=bench&parent=main", "agent", "POST")

    def make(self, address=None):
        """(epoch, seconds that the command took)."""
        self.n += 1
        address = address or f"127.0.0.1:{9000 + self.n % 1000}"
        started = time.monotonic()
        answer = stacks.admin(self.rig, f"/env/set?name=bench&set={self.service}={address}",
                              "agent", "POST")
        if not answer["changed"]:
            raise Broken("a command changed nothing")
        return answer["epoch"], time.monotonic() - started

    def await_all(self, epoch):
        """How long it took to reach its proxies, as the agent tells."""
        stacks.admin(self.rig, f"/wait?epoch={epoch}&timeout=60s", "agent")
        return stacks.admin(self.rig, f"/epochs/{epoch}", "agent")


# ---- one proxy ----

def push_times(rig, changes, n):
    """{what: [milliseconds of each change]}."""
    found = {key: [] for key in ("command", "staged", "workers", "active", "stage_to_workers",
                                 "save")}
    for _ in range(n):
        epoch, seconds = changes.make()
        way = changes.await_all(epoch)
        last = stacks.admin(rig, "/status")["agent"]["last"]
        if last["epoch"] != epoch or way["active"] != 1:
            raise Broken(f"epoch {epoch} is not the last one: {last}, {way}")
        save = last["save_us"] / 1e3
        found["command"].append(seconds * 1e3)
        found["staged"].append(way["staged_us"] / 1e3)
        found["active"].append(way["active_us"] / 1e3)
        found["save"].append(save)
        found["workers"].append(way["active_us"] / 1e3 - save)
        found["stage_to_workers"].append(last["workers_us"] / 1e3)
    return found


def stage_bytes(rig, a, port, changes):
    """Bytes on the wire of one environment's Stage, as a proxy that only answers got it."""
    crowd = Crowd(rig, a, port, 1)
    epoch, _ = changes.make()
    crowd.until(epoch)
    return crowd.bytes(epoch)


def push(a):
    """a change of one environment, from the agent's disk to every worker of a proxy"""
    rows, notes = [], []
    for size in SIZES:
        with Rig(a.keep) as rig:
            agent, port = stacks.agent(rig, a.build, make_graph(rig.path("graph"), size))
            proxy = stacks.fed(rig, a.build, port, 2, more=f"state: '{rig.path('state')}'").start()
            changes = Changes(rig)
            push_times(rig, changes, 5)
            found = push_times(rig, changes, 20 if a.quick else 60)
            wire = stage_bytes(rig, a, port, changes)
            at = f"{size:,} environments"
            rows += [spread_row(f"{at}: commit to every worker", found["workers"], "ms",
                                PUSH_MS if size == LARGE else None),
                     spread_row(f"{at}: commit to Ack STAGED", found["staged"], "ms"),
                     spread_row(f"{at}: commit to Ack ACTIVE", found["active"], "ms"),
                     spread_row(f"{at}: Stage to workers, in the proxy",
                                found["stage_to_workers"], "ms"),
                     spread_row(f"{at}: saving in the proxy", found["save"], "ms"),
                     spread_row(f"{at}: the whole command", found["command"], "ms"),
                     Row(f"{at}: bytes of the Stage on the wire", [wire], "B", STAGE_BYTES)]
            notes.append(f"{at}: peak memory of the agent {peak_memory(agent.pid) / 1e6:.0f} MB, "
                         f"of the proxy {peak_memory(proxy.pid) / 1e6:.0f} MB")
    return rows, notes


# ---- many proxies ----

class Crowd:
    """Proxies that hold nothing and answer at once (push_proxies.c)."""

    def __init__(self, rig, a, port, n):
        self.started = time.monotonic()
        self.process = rig.spawn(f"crowd-{n}", [os.path.join(a.build, "bench", "push_proxies"),
                                                f"127.0.0.1:{port}", str(n)])
        self.process.await_line("ready")
        self.joined = time.monotonic() - self.started

    def lines(self):
        with open(self.process.log, encoding="utf-8") as f:
            return {told["epoch"]: told for told in
                    (json.loads(line) for line in f if line.startswith("{") and line[-1] == "\n")}

    def until(self, epoch):
        self.process.until(lambda: epoch in self.lines(), f"does not tell of epoch {epoch}")

    def bytes(self, epoch):
        return self.lines()[epoch]["wire_bytes"]


def proxies(a):
    """one agent with 1,000 environments and 1,000 proxies that only answer"""
    staged, active, cpu = [], [], []
    with Rig(a.keep) as rig:
        agent, port = stacks.agent(rig, a.build, make_graph(rig.path("graph"), 1000))
        changes = Changes(rig)
        before = peak_memory(agent.pid)
        used = cpu_seconds(agent.pid)
        crowd = Crowd(rig, a, port, CROWD)
        join_cpu = cpu_seconds(agent.pid) - used
        whole = next(iter(crowd.lines().values()))["wire_bytes"]
        for _ in range(10 if a.quick else 50):
            used = cpu_seconds(agent.pid)
            epoch, _ = changes.make()
            way = changes.await_all(epoch)
            cpu.append((cpu_seconds(agent.pid) - used) * 1e3)
            if (way["staged"], way["active"]) != (CROWD, CROWD):
                raise Broken(f"not every proxy answered: {way}")
            staged.append(way["staged_us"] / 1e3)
            active.append(way["active_us"] / 1e3)
        crowd.until(epoch)
        return [spread_row("commit to the last Ack STAGED", staged, "ms"),
                spread_row("commit to the last Ack ACTIVE", active, "ms", CROWD_SECONDS * 1e3),
                spread_row("CPU of the agent for a change", cpu, "ms"),
                Row("peak memory of the agent", [peak_memory(agent.pid) / 1e6], "MB", CROWD_MB,
                    note=f"without proxies {before / 1e6:.0f} MB"),
                Row("all join and are active on the whole graph", [crowd.joined], "s",
                    note=f"{whole:,} B for each"),
                Row("CPU of the agent for that", [join_cpu], "s"),
                Row("bytes of a change's Stage on the wire", [crowd.bytes(epoch)], "B",
                    STAGE_BYTES)], []
