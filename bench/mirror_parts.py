"""What mirroring costs: the user's requests beside it, the proxy that captures, the agent."""

import os
import statistics
from dataclasses import dataclass

import stack as stacks
from activation_parts import SHARE, SLACK_US, WHOLE, half_busy, open_loop, prefer
from measure import Row, cpu_of_all, memory, peak_memory, ratios, rotated
from mirror_stack import TIMEOUT, MirrorStack, request
from rig import free_ports

OFF = "0 %"
# What is mirrored: session, candidate, percent.
SESSIONS = {"1 %": ("healthy", 1), "10 %": ("healthy", 10), "100 %": ("healthy", 100),
            "100 %, hung": ("hung", 100), "100 %, dead": ("dead", 100)}
NGINX = {"nginx, off": "OFF", "nginx, mirror": "HEALTHY", "nginx, hung": "HUNG"}
CPU_FULL, CPU_ONE = 1.15, 1.02
SMALL = 256  # bytes of a reply


@dataclass
class Run:
    """One open loop, and the CPU seconds that it took of each process."""

    sent: int
    lost: int
    p50: float
    p99: float
    proxy: float
    dark: float = 0.0
    agent: float = 0.0
    told: int = 0  # exchanges, by the proxy to the agent
    samples: int = 0
    dropped: int = 0


# ---- the user's requests ----

def name_of(what):
    """Of its session."""
    return "s-" + "".join(c if c.isalnum() else "-" for c in what).strip("-")


def one_run(stack, port, pids, rate):
    """Run, with the CPU of the processes in pids, {"proxy", "dark", "agent"}."""
    before = {k: cpu_of_all(pid) for k, pid in pids.items()}
    run = open_loop(stack, stack.a, port, rate, 2 if stack.a.quick else 6, request(), stack.tail,
                    WHOLE)
    cpu = {k: cpu_of_all(pid) - before[k] for k, pid in pids.items()}
    whole = max(run["windows"], key=lambda w: w[1])
    return Run(run["sent"], run["lost"], whole[2], whole[3], **cpu)


def mirrored_run(stack, what, rate):
    pids = {"proxy": stack.proxy.pid, "dark": stack.dark.pid, "agent": stack.agent.pid}
    name = name_of(what) if what != OFF else None
    with stack.mirroring(name):
        before, told = stack.session(name) if name else None, stack.told()
        run = one_run(stack, stack.proxy.port, pids, rate)
        if name:
            after, run.told = stack.session(name), stack.told() - told
            run.samples = after["samples"] - before["samples"]
            run.dropped = sum(after["dropped"].values()) - sum(before["dropped"].values())
    return run


def start_nginx(stack):
    """{what: its port} and its process; nothing when it is not installed."""
    ports = dict(zip(NGINX.values(), free_ports(3)))
    os.mkdir(stack.path("nginx"))
    conf = stack.fill("mirror.conf.in", "mirror.conf", FOLDER=stack.path("nginx"),
                      TIMEOUT=TIMEOUT, MAIN=stack.ports["main"], HUNG=stack.ports["hung"],
                      HEALTHY=stack.ports["healthy"],
                      **{f"{kind}_PORT": port for kind, port in ports.items()})
    process = stack.spawn("nginx", [stacks.program("nginx"), "-p", stack.path("nginx"), "-c",
                                    conf])
    process.await_port(ports["OFF"])
    return {what: ports[kind] for what, kind in NGINX.items()}, process


def rounds(stack, rate):
    """{what: [Run]} in interleaved rounds."""
    ports, nginx = start_nginx(stack)
    prefer(nginx.pid)
    found = {what: [] for what in [OFF, *SESSIONS, *ports]}
    for n in range(stack.a.rounds):
        for what in rotated(list(found), n):
            if what in ports:
                run = one_run(stack, ports[what], {"proxy": nginx.pid}, rate)
            else:
                run = mirrored_run(stack, what, rate)
            found[what].append(run)
    return found


def cpu_budget(what):
    return {"1 %": CPU_ONE, "100 %": CPU_FULL}.get(what)


def rows_of(what, runs, off):
    """Of one kind of run beside the same proxy without mirroring."""
    cpu = [r.proxy / r.sent * 1e6 for r in runs]
    rows = [Row(f"{what}: p50", [r.p50 for r in runs], "us"),
            Row(f"{what}: p99", [r.p99 for r in runs], "us"),
            Row(f"{what}: CPU of the proxy a request", cpu, "us"),
            Row(f"{what}: requests lost", [sum(r.lost for r in runs)], "",
                None if what.startswith("nginx") else 0)]
    if runs is not off:
        ours = what in SESSIONS
        allowed = max(SHARE * statistics.median(r.p99 for r in off), SLACK_US)
        rows += [Row(f"{what}: p99 less that of none", [a.p99 - b.p99 for a, b in zip(runs, off)],
                     "us", allowed if ours else None),
                 Row(f"{what}: CPU of the proxy : that of none",
                     ratios(cpu, [r.proxy / r.sent * 1e6 for r in off]), "x",
                     cpu_budget(what))]
    return rows


def sample_rows(what, runs):
    """Of the second proxy and of the agent."""
    rows = [Row(f"{what}: CPU of the second proxy a request",
                [r.dark / r.sent * 1e6 for r in runs], "us")]
    sampled = [r for r in runs if r.samples]
    if sampled:
        rows += [Row(f"{what}: CPU of the agent a sample",
                     [r.agent / r.samples * 1e6 for r in sampled], "us")]
    return rows + [Row(f"{what}: {of} : requests", [getattr(r, of) / r.sent for r in runs], "x")
                   for of in ("told", "samples", "dropped")]


def mirror(a):
    """the user's requests beside mirroring at 0, 1, 10, 100 %, candidates that answer, hang, die"""
    notes = []
    with MirrorStack(a, SMALL) as stack:
        # Agent, second proxy and what hangs get what is left of the machine.
        first = [stack.process["main"].pid, stack.process["healthy"].pid, stack.proxy.pid]
        if not all([prefer(pid) for pid in first]):
            notes.append("not permitted to run before the machine's other work: expect noise")
        rate, share = half_busy(stack, a, stack.proxy, request=request(), body=stack.tail)
        for what, (candidate, percent) in SESSIONS.items():
            stack.start_session(name_of(what), candidate, percent)
            stack.post(f"/shadow/stop?name={name_of(what)}")
        before = {p.name: memory(p.pid)["Rss"] for p in (stack.proxy.process, stack.agent)}
        found = rounds(stack, rate)
        peaks = {p.name: peak_memory(p.pid) for p in (stack.proxy.process, stack.agent)}
    rows = []
    for what, runs in found.items():
        off = found["nginx, off" if what in NGINX else OFF]
        rows += rows_of(what, runs, off)
        if what in SESSIONS:
            rows += sample_rows(what, runs)
    rows += [Row(f"memory of {name}: the most", [peak / 1e6], "MB",
                 note=f"before {before[name] / 1e6:.1f} MB") for name, peak in peaks.items()]
    notes.append(f"{rate:,} requests a second, which kept the proxy {share:.0%} busy")
    return rows, notes
