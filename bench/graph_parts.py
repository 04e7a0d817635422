"""Large graphs: resolving, loading, editing, and what their size costs a request."""

import json
import os
import random
import subprocess
import sys
import time

import load
import stack as stacks
from measure import (Row, cpu_seconds, peak_memory, profiled, ratios, rotated, run_measured,
                     yardstick)
from rig import HERE, Broken, Rig

LARGE, SERVICES, OVERRIDES = 100_000, 1000, 8
SIZES = (10, 1000, LARGE)
PAIRS = 20_000  # different requests of the load over many environments

RESOLVE_NS, BYTES_NS, SNAPSHOT_MB = 50, 150, 40
APPLY_US, APPLY_BYTES = 50, 16384
FLAT = 1.05
LOAD_SECONDS, LOAD_MB = 3, 1000
EDIT_SECONDS = {1: 2.0, 1000: 0.5}


def make_graph(folder, environments, files=1, endpoint=None):
    argv = [sys.executable, os.path.join(HERE, "make_graph.py"), "--out", folder,
            "--environments", str(environments), "--services", str(SERVICES),
            "--overrides", str(OVERRIDES), "--files", str(files)]
    subprocess.run(argv + (["--endpoint", endpoint] if endpoint else []), check=True)
    return folder


def graph_files(folder):
    return sorted(os.path.join(folder, f) for f in os.listdir(folder))


# ---- resolve ----

def resolve(a):
    """the resolver alone, at 100,000 environments, 1,000 services, 8 overrides"""
    found, notes = [], []
    with Rig(a.keep) as rig:
        argv = [os.path.join(a.build, "bench", "resolve_bench"),
                make_graph(rig.path("graph"), LARGE)]
        for _ in range(1 if a.quick else 5):
            machine = yardstick(a.build)
            used = run_measured(argv)
            if used.code:
                raise Broken(used.output)
            found.append({**json.loads(used.output), **machine})
        if a.profile:
            notes = profiled(argv, rig.path("perf.data"))

    def row(what, key, unit, budget=None, scale=1.0):
        return Row(what, [f[key] * scale for f in found], unit, budget, least=True)

    def reads(what, key):
        return Row(what, [f[key] / f["read_ns"] for f in found], "x")

    return [row("resolve from numbers", "resolve_ns", "ns", RESOLVE_NS),
            row("resolve from token and authority bytes", "from_bytes_ns", "ns", BYTES_NS),
            row("yardstick: one dependent random read of 40 MB", "read_ns", "ns"),
            reads("resolve from numbers : such a read", "resolve_ns"),
            reads("resolve from bytes : such a read", "from_bytes_ns"),
            row("snapshot", "snapshot_bytes", "MB", SNAPSHOT_MB, 1e-6),
            row("compile from nothing", "compile_ms", "ms"),
            row("compile after one changed environment", "recompile_ms", "ms"),
            row("apply a difference of one environment", "apply_us", "us", APPLY_US),
            row("memory of that difference", "apply_bytes", "B", APPLY_BYTES)], notes


# ---- requests spread over environments ----

def environment_names(environments):
    """As make_graph.py names them."""
    teams = min(environments - 1, max(2, (environments - 1) // 100))
    return (["main"] + [f"team-{i}" for i in range(teams)]
            + [f"feat-{i}" for i in range(environments - 1 - teams)])


def spread_script(rig, environments):
    """A script for wrk: requests for random environments and services."""
    names, draw = environment_names(environments), random.Random(7)
    lines = []
    for _ in range(PAIRS):
        request = load.head(draw.choice(names), f"svc-{draw.randrange(SERVICES):04d}")
        lines.append('"' + request.decode().replace("\r\n", "\\r\\n") + '",')
    text = ("local requests = {\n" + "\n".join(lines) + "\n}\nlocal i = 0\n"
            "request = function()\n  i = i % #requests + 1\n  return requests[i]\nend\n")
    return rig.write(f"spread-{environments}.lua", text)


def start_sizes(stack, a):
    """{label: (proxy, script)}, each proxy with a graph of that size. The smallest has a twin: what
    the two differ by is what this measurement cannot tell from nothing."""
    endpoint = f"127.0.0.1:{stack.provider.ports['main']}"
    started = {}
    for size in SIZES:
        folder = make_graph(stack.path(f"graph-{size}"), size, endpoint=endpoint)
        script = spread_script(stack, size)
        for label in (f"{size:,}", f"{size:,} (twin)")[:2 if size == SIZES[0] else 1]:
            name = f"offshoot-{label.strip(')').replace(' (', '-')}"
            proxy = stacks.ours(stack, a.build, folder, name).start()
            load.wrk(proxy.port, 1, script=script)
            started[label] = proxy, script
    return started


def environments(a):
    """throughput and CPU a request as environments grow, requests spread over all of them"""
    # Differences are small here: more and shorter rounds than elsewhere.
    seconds, rounds = 1, a.rounds if a.quick else 4 * a.rounds
    with stacks.Stack(a.build, a.keep) as stack:
        started = start_sizes(stack, a)
        cpu, rate = {s: [] for s in started}, {s: [] for s in started}
        for n in range(rounds):
            for label, (proxy, script) in rotated(list(started.items()), n):
                before = cpu_seconds(proxy.pid)
                run = load.wrk(proxy.port, seconds, script=script)
                cpu[label].append((cpu_seconds(proxy.pid) - before) / run.requests * 1e6)
                rate[label].append(run.rate)
    least, twin, *larger = started
    rows = [Row(f"{s} environments: CPU a request", cpu[s], "us") for s in started]
    rows += [Row(f"{s} environments: requests a second", rate[s], "/s") for s in started]
    rows.append(Row(f"CPU of {twin} : {least} environments", ratios(cpu[twin], cpu[least]), "x"))
    for size in larger:
        rows.append(Row(f"CPU at {size} : {least} environments", ratios(cpu[size], cpu[least]),
                        "x", FLAT))
        rows.append(Row(f"requests a second at {least} : {size} environments",
                        ratios(rate[least], rate[size]), "x"))
    return rows, []


# ---- loading ----

def load_graph(a):
    """reading, checking and compiling a graph of 50 MB with 100,000 environments"""
    rows, notes = [], []
    with Rig(a.keep) as rig:
        for files in (1, 1000):
            folder = make_graph(rig.path(f"graph-{files}"), LARGE, files)
            runs = [run_measured([os.path.join(a.build, "offshootctl"), "graph", "check", folder])
                    for _ in range(1 if a.quick else 5)]
            if any(r.code for r in runs):
                raise Broken(runs[0].output)
            what = "graph check, 1 file" if files == 1 else f"graph check, {files:,} files"
            rows += [Row(f"{what}: CPU", [r.cpu for r in runs], "s", LOAD_SECONDS, least=True),
                     Row(f"{what}: wall clock", [r.wall for r in runs], "s", least=True),
                     Row(f"{what}: peak memory", [r.peak / 1e6 for r in runs], "MB", LOAD_MB)]
        proxy = stacks.ours(rig, a.build, rig.path("graph-1"))
        started = time.monotonic()
        proxy.start()
        ready = time.monotonic() - started
        rows += [Row("offshoot-proxy, 1 file: until it is ready", [ready], "s"),
                 Row("offshoot-proxy, 1 file: CPU until then", [cpu_seconds(proxy.pid)], "s"),
                 Row("offshoot-proxy, 1 file: peak memory", [peak_memory(proxy.pid) / 1e6], "MB",
                     LOAD_MB)]
        proxy.stop()
        if a.profile:
            notes = profiled([os.path.join(a.build, "offshootctl"), "graph", "check",
                              rig.path("graph-1")], rig.path("perf.data"))
    return rows, notes


# ---- editing ----

# What the load asks for: its provider is real, those of the generated graph are not.
BENCH = """---
kind: Environment
metadata: {name: bench}
spec: {mode: overlay, parent: main, providers: {svc-0000: {endpoints: ["127.0.0.1:%d"]}}}
"""


def edit_line(path, n):
    """The file with one endpoint in its middle on another port, as bytes."""
    with open(path, "rb") as f:
        text = f.read()
    at = text.index(b"mode: overlay", len(text) // 2)
    at = text.index(b"endpoints: [", at)
    start = text.index(b":", at + len(b"endpoints: [")) + 1
    end = text.index(b'"', start)
    return text[:start] + str(9000 + n).encode() + text[end:]


def until_active(rig, epoch):
    """Until every worker uses a later epoch."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = stacks.admin(rig, "/status")
        if not status["graph"]["valid"]:
            raise Broken("the edited graph is not valid")
        if status["epoch"] > epoch and status["workers_current"] == status["workers"]:
            return status["epoch"]
        time.sleep(0.002)
    raise Broken("an edit did not become active within 120 s")


def write_edits(rig, path, times):
    """Edited files, written before anything is measured."""
    for n in range(times):
        with open(rig.path(f"edit-{n}"), "wb") as f:
            f.write(edit_line(path, n))
    return [rig.path(f"edit-{n}") for n in range(times)]


def apply_edits(rig, path, edited):
    """Seconds from the rename of each edited file to the last worker using it."""
    taken = []
    for new in edited:
        epoch = stacks.admin(rig, "/status")["epoch"]
        started = time.monotonic()
        os.replace(new, path)
        until_active(rig, epoch)
        taken.append(time.monotonic() - started)
    return taken


def edit(a):
    """a one-line edit of that graph until every worker uses it, while a light load runs"""
    rows, notes, lost = [], [], 0
    for files, budget in EDIT_SECONDS.items():
        with Rig(a.keep) as rig:
            provider = stacks.Provider(rig)
            folder = make_graph(rig.path("graph"), LARGE, files)
            paths = graph_files(folder)
            with open(paths[-1], "a", encoding="ascii") as f:
                f.write(BENCH % provider.ports["main"])
            path = paths[len(paths) // 2]
            edited = write_edits(rig, path, 2 if a.quick else 7)
            proxy = stacks.ours(rig, a.build, folder).start()
            with load.LightLoad(proxy.port, "bench", "svc-0000", (200, b"main\n")) as light:
                taken = apply_edits(rig, path, edited)
            name = "1 file" if files == 1 else f"{files:,} files"
            rows.append(Row(f"edit active, {name}", taken, "s", budget))
            notes.append(f"{name}: {light.good} of {light.sent} requests answered, slowest "
                         f"{light.slowest * 1000:.1f} ms{light.fault or ''}; peak memory "
                         f"{peak_memory(proxy.pid) / 1e6:.0f} MB")
            lost += light.lost
            proxy.stop()
    rows.append(Row("requests lost during edits", [lost], "", 0))
    return rows, notes
