"""Requests while graphs are activated, beside peers that are told of changes in their own way."""

import json
import os
import signal
import socket
import statistics
import subprocess
import threading
import time

import load
import stack as stacks
from graph_parts import make_graph
from measure import Row, cpu_of_all, rotated
from push_parts import Changes
from rig import Broken, Rig

ENVIRONMENTS = 1000
WINDOW = 0.5  # seconds: calm, changing, calm, ...
WHOLE = 1000  # seconds: one window for a whole run
A_WINDOW = {"offshoot": 9, "haproxy": 9, "nginx": 1}  # changes: a reload is not meant for more
SHARE, SLACK_US = 0.05, 50
BUSY = 0.5  # share of a processor that the proxy is busy
ENVIRONMENT, HOST = "feat-42", "svc-0000"


class Changer(threading.Thread):
    """Calls `change` so often in each second window while the block runs; the other windows are
    calm. The last change of a window has time to end in it."""

    def __init__(self, change, a_window):
        super().__init__(daemon=True)
        self.change, self.a_window = change, a_window
        self.done, self.fault, self.ended = 0, None, threading.Event()

    def until(self, due):
        return self.ended.wait(max(0, due - time.monotonic()))

    def run(self):
        window = int(time.monotonic() / WINDOW)
        while True:
            window += 1 + window % 2  # the next odd one
            for n in range(self.a_window):
                if self.until((window + n / (self.a_window + 1)) * WINDOW):
                    return
                try:
                    self.change()
                except (OSError, Broken) as e:
                    self.fault = e
                    return
                self.done += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()
        if self.fault:
            raise Broken(f"a change failed: {self.fault}")


def set_map(rig):
    """Another value of a key that no request has, on HAProxy's admin socket."""
    values = [0]

    def change():
        values[0] += 1
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(rig.path("haproxy.sock"))
            s.sendall(f"set map {rig.path('haproxy.map')} offshoot=v1m.feat-7.0.00 "
                      f"{('main', 'feat-7')[values[0] % 2]}\n".encode())
            answer = s.recv(4096)
            if answer.strip():
                raise Broken(f"haproxy: {answer!r}")
    return change


def open_loop(rig, a, port, rate, seconds, request=None, body="main\n", window=WINDOW):
    """One run, in which every reply has this body: {sent, good, lost, closed, windows}."""
    with open(rig.path("request"), "wb") as f:
        f.write(request or load.head(ENVIRONMENT, HOST))
    popen = subprocess.Popen([os.path.join(a.build, "bench", "open_loop"), str(port), str(rate),
                              str(seconds), rig.path("request"), body, str(int(window * 1000))],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    prefer(popen.pid)
    output, faults = popen.communicate()
    if popen.returncode:
        raise Broken(faults)
    return json.loads(output)


def prefer(pid):
    """Puts every thread of a process before the machine's other work; False: not permitted."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def start(rig, a):
    """{name: (proxy, change)}; what all of them answer comes from one provider."""
    ports = {"main": stacks.Provider(rig).ports["main"]}
    folder = make_graph(rig.path("graph"), ENVIRONMENTS, endpoint=f"127.0.0.1:{ports['main']}")
    _, agent_port = stacks.agent(rig, a.build, folder)
    ours = stacks.fed(rig, a.build, agent_port, more=f"state: '{rig.path('state')}'")
    found = {"offshoot": (ours.start(), Changes(rig, "svc-0001").make)}
    if stacks.program("haproxy"):
        proxy = stacks.haproxy(rig, {**ports, "feat-7": ports["main"]}).start()
        found["haproxy"] = proxy, set_map(rig)
    if stacks.program("nginx"):
        proxy = stacks.nginx(rig, ports, "on").start()
        found["nginx"] = proxy, lambda: os.kill(proxy.pid, signal.SIGHUP)
    return found


def half_busy(rig, a, proxy, **asked_for):
    """The rate at which a proxy is busy for half of the time, about, and how busy it was.
    asked_for: request and body of open_loop."""
    rate = 4000
    for _ in range(4):
        asked, before, started = rate, cpu_of_all(proxy.pid), time.monotonic()
        open_loop(rig, a, proxy.port, rate, 1, **asked_for)
        share = (cpu_of_all(proxy.pid) - before) / (time.monotonic() - started)
        rate = min(2 * rate, int(rate * BUSY / share))
    return asked, share


def pairs(run, rate):
    """[(calm, changing)] of whole windows that follow each other: (p50, p99, p99.9, most)."""
    whole = {number: times for number, n, *times in run["windows"] if n > 0.9 * rate * WINDOW}
    return [(whole[n], whole[n + 1]) for n in sorted(whole) if n % 2 == 0 and n + 1 in whole]


def measure(rig, a, proxies, rates):
    """{name: [runs]} in interleaved rounds, and {name: changes made}."""
    runs, changes = {name: [] for name in proxies}, dict.fromkeys(proxies, 0)
    for n in range(a.rounds):
        for name, (proxy, change) in rotated(list(proxies.items()), n):
            with Changer(change, A_WINDOW[name]) as changer:
                runs[name].append(open_loop(rig, a, proxy.port, rates[name][0],
                                            4 if a.quick else 8))
            changes[name] += changer.done
    return runs, changes


def activations(a):
    """p99 of requests while environments change, beside calm half-seconds in between"""
    rows, notes = [], []
    with Rig(a.keep) as rig:
        proxies = start(rig, a)
        if not all([prefer(p.pid) for p in rig.processes]):
            notes.append("not permitted to run before the machine's other work: expect noise")
        rates = {name: half_busy(rig, a, proxy) for name, (proxy, _) in proxies.items()}
        runs, changes = measure(rig, a, proxies, rates)
    for name, found in runs.items():
        rate, share = rates[name]
        both = [pair for run in found for pair in pairs(run, rate)]
        if not both:
            raise Broken(f"{name} cannot answer {rate} requests a second")
        calm, changing = ([pair[i] for pair in both] for i in (0, 1))
        p99 = [[w[1] for w in windows] for windows in (calm, changing)]
        allowed = max(SHARE * statistics.median(p99[0]), SLACK_US)
        rows += [Row(f"{name}: p50, calm", [w[0] for w in calm], "us"),
                 Row(f"{name}: p50, changing", [w[0] for w in changing], "us"),
                 Row(f"{name}: p99, calm", p99[0], "us"),
                 Row(f"{name}: p99, changing", p99[1], "us"),
                 Row(f"{name}: p99, changing less calm", [b - a for a, b in zip(*p99)], "us",
                     allowed if name == "offshoot" else None),
                 Row(f"{name}: requests lost", [sum(run["lost"] for run in found)], "",
                     0 if name == "offshoot" else None)]
        notes.append(f"{name}: {rate:,} requests a second, busy {share:.0%}; "
                     f"{changes[name]} changes in {len(both)} windows; idle connections "
                     f"that it closed: {sum(run['closed'] for run in found)}")
    return rows, notes
