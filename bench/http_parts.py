"""Requests through Offshoot and its peers: CPU, instructions, system calls, memory."""

import re
import shutil
import subprocess

import load
from measure import Profile, Row, cpu_seconds, memory_of_each, ratios, rotated
from rig import Broken
from signing import key_file, mesh_token
from stack import OURS, PEERS, Stack, admin, agent, fed, ours

CPU_BUDGET, CPU_AIM = 0.90, 0.82
INSTRUCTION_BUDGET, INSTRUCTION_AIM = 12_000, 8_000
CALL_BUDGET = 4.4
IDLE_BUDGET = 512
REUSE = 0.01  # new provider connections a request, at most


def installed(stack):
    missing = set(PEERS) - {p.name for p in stack.proxies}
    return [f"{name} is not installed: skipped" for name in sorted(missing)]


# ---- CPU of a keep-alive request ----

def http_round(stack, proxy, seconds):
    """(CPU seconds a request, requests a second), with the provider's connections reused."""
    connections, _ = stack.provider.counts()
    before = cpu_seconds(proxy.pid)
    run = load.wrk(proxy.port, seconds)
    cpu = cpu_seconds(proxy.pid) - before
    new = stack.provider.counts()[0] - connections - 1
    if new > 64 + REUSE * run.requests:
        raise Broken(f"{proxy.name} made {new} provider connections for {run.requests} requests")
    return cpu / run.requests, run.rate


def http(a):
    """CPU of a keep-alive request over HTTP/1.1, in interleaved rounds"""
    seconds = 1 if a.quick else 3
    with Stack(a.build, a.keep) as stack:
        for proxy in stack.proxies:
            proxy.start().check()
            load.wrk(proxy.port, 1)
        cpu = {p.name: [] for p in stack.proxies}
        rate = {p.name: [] for p in stack.proxies}
        for n in range(a.rounds):
            for proxy in rotated(stack.proxies, n):
                used, each = http_round(stack, proxy, seconds)
                cpu[proxy.name].append(used * 1e6)
                rate[proxy.name].append(each)
        for proxy in stack.proxies:
            proxy.check()
        first = stack.proxies[0]
        with Profile(first.pid, stack.path("perf.data"), a.profile) as profile:
            load.wrk(first.port, seconds)
        rows = [Row(f"{n}: CPU a request", cpu[n], "us") for n in cpu]
        rows += [Row(f"{n}: requests a second", rate[n], "/s") for n in rate]
        for peer in list(cpu)[1:]:
            gate = (CPU_BUDGET, CPU_AIM) if peer == "haproxy" else (None, None)
            rows.append(Row(f"CPU of {OURS} : {peer}", ratios(cpu[OURS], cpu[peer]), "x", *gate))
        return rows, profile.lines + installed(stack)


# ---- instructions ----

def annotated(path):
    """{function: own instructions} of a callgrind file."""
    done = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no", path],
                          stdout=subprocess.PIPE, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        m = re.match(r" *([\d,]+) \( *[\d.]+%\) +(\S.*)", line)
        if m and not m.group(2).startswith("PROGRAM TOTALS"):
            name = re.sub(r" \[.*\]$", "", m.group(2)).rsplit(":", 1)[-1]
            found[name] = found.get(name, 0) + int(m.group(1).replace(",", ""))
    return found


def collected(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(("totals:", "summary:")))


def instructions_of(proxy, requests, token=None):
    """(all user instructions, {function: its own}) of a start, so many requests, and an end."""
    out = proxy.rig.path(f"{proxy.name}.{requests}.callgrind")
    proxy.start("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}")
    load.exactly(proxy.port, requests, token=token)
    proxy.stop()
    return collected(out), annotated(out)


def costliest(short, long, requests, n=10):
    cost = {name: (long[name] - short.get(name, 0)) / requests for name in long}
    return sorted(cost.items(), key=lambda item: -item[1])[:n]


def signed_proxies(stack, a):
    """[(what, proxy, token)]: with keys, on files and fed by an agent. A pinned token is verified
    and passed on; from one without a pin the proxy of an agent makes another one."""
    keys = f"keys: '{key_file(stack)}'"
    _, port = agent(stack, a.build, stack.path("graph.yaml"))
    epoch = admin(stack, "/status", "agent")["epoch"]
    on_files = ours(stack, a.build, stack.path("graph.yaml"), f"{OURS}-signed", keys)
    with_agent = fed(stack, a.build, port, name=f"{OURS}-fed", more=keys)
    return [("with keys", on_files, mesh_token("feat-42")),
            ("with keys and an agent, pinned", with_agent, mesh_token("feat-42", epoch)),
            ("with keys and an agent, pin made", with_agent, mesh_token("feat-42"))]


def instructions(a):
    """user instructions a request, the difference of two run lengths under callgrind"""
    if not shutil.which("valgrind"):
        return [], ["valgrind is not installed: skipped"]
    short, long = (500, 1500) if a.quick else (2000, 6000)
    rows, notes, count = [], [], {}
    with Stack(a.build, a.keep) as stack:
        plain = [(None, proxy, None) for proxy in stack.proxies]
        for what, proxy, token in plain[:1] + signed_proxies(stack, a) + plain[1:]:
            name = f"{OURS}, {what}" if what else proxy.name
            few, few_by = instructions_of(proxy, short, token)
            many, many_by = instructions_of(proxy, long, token)
            count[name] = (many - few) / (long - short)
            gate = (INSTRUCTION_BUDGET, INSTRUCTION_AIM) if name.startswith(OURS) else ()
            rows.append(Row(f"{name}: instructions a request", [count[name]], "", *gate))
            if name.startswith(OURS):
                top = costliest(few_by, many_by, long - short)
                notes += [f"costliest functions of {name}, own instructions a request:"]
                notes += [f"{cost:9.0f}  {function}" for function, cost in top]
        rows += [Row(f"instructions of {OURS} : {peer}", [count[OURS] / count[peer]], "x")
                 for peer in count if not peer.startswith(OURS)]
        return rows, notes + installed(stack)


# ---- system calls ----

def calls_of(proxy, requests):
    """{system call: times} of a start, so many requests, and an end."""
    out = proxy.rig.path(f"{proxy.name}.{requests}.strace")
    proxy.start("strace", "-f", "-c", "-o", out)
    load.exactly(proxy.port, requests)
    proxy.stop(proxy.traced_pid())
    with open(out, encoding="utf-8") as f:
        lines = [line.split() for line in f]
    return {w[-1]: int(w[3]) for w in lines
            if len(w) >= 5 and w[3].isdigit() and w[-1] not in ("total", "syscall")}


def syscalls(a):
    """system calls a request, the difference of two run lengths under strace"""
    if not shutil.which("strace"):
        return [], ["strace is not installed: skipped"]
    short, long = (500, 1500) if a.quick else (2000, 6000)
    rows, notes, total = [], [], {}
    with Stack(a.build, a.keep) as stack:
        for proxy in stack.proxies:
            few, many = calls_of(proxy, short), calls_of(proxy, long)
            each = {n: (many[n] - few.get(n, 0)) / (long - short) for n in many}
            total[proxy.name] = sum(each.values())
            gate = (CALL_BUDGET,) if proxy.name == OURS else ()
            rows.append(Row(f"{proxy.name}: system calls a request", [total[proxy.name]], "",
                            *gate))
            shown = sorted(((n, name) for name, n in each.items() if n >= 0.005), reverse=True)
            notes.append(f"{proxy.name}: " + ", ".join(f"{name} {n:.2f}" for n, name in shown))
        return rows, notes + installed(stack)


# ---- memory ----

def asked(port):
    """A connection that has had one reply."""
    connection = load.Connection(port)
    connection.ask(load.head("feat-42"))
    return connection


def idle(a):
    """resident memory of a connection that waits after one request"""
    n = 1000 if a.quick else 2000
    rows = []
    with Stack(a.build, a.keep) as stack:
        for proxy in stack.proxies:
            proxy.start().check()
            each = memory_of_each(proxy.pid, 200, n, lambda port=proxy.port: asked(port))
            gate = (IDLE_BUDGET,) if proxy.name == OURS else ()
            rows.append(Row(f"{proxy.name}: idle connection, resident", [each["Rss"]], "B", *gate,
                            note=f"anonymous {each['Anonymous']:.0f} B"))
            proxy.stop()
        return rows, installed(stack)
