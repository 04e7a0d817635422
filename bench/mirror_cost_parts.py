"""What mirroring costs in numbers that hardly depend on the machine: user instructions, memory at
the caps, comparisons."""

import json
import os
import shutil
import signal

import load
from callgrind import costliest
from measure import PeakWatch, Row, memory, run_measured
from mirror_stack import LARGE, LARGE_PATH, MirrorStack, request
from rig import Broken
from stack import OURS

SAMPLE_US, COMPARISON_US = 200, 200  # 5,000 replies of 2 KiB a second
SIZES = (256, 2048)
MIB = (1 << 20) / 1e6
PROXY_MB = 80 * MIB  # capture.bytes, 64 MiB, and what is on its way
AGENT_MB = 160 * MIB  # shadow.bytes twice, 64 MiB each, and what is being compared


# ---- instructions ----

def proxy_rows(a, n):
    """Of the proxy that captures, at several rates."""
    rows, notes, each = [], [], {}
    with MirrorStack(a, SIZES[0], traced=OURS) as stack:
        for percent in (0, 1, 10, 100):
            name = f"s-{percent}" if percent else None
            if name:
                stack.start_session(name, "healthy", percent)
            with stack.mirroring(name), stack.counter.counting(stack.proxy.pid) as found:
                load.exactly_of(stack.proxy.port, n, request(), stack.tail)
            each[percent] = found["all"] / n
            rows.append(Row(f"the proxy at {percent} %: instructions a request", [each[percent]]))
            if percent:
                rows.append(Row(f"the proxy at {percent} % : without a session",
                                [each[percent] / each[0]], "x"))
            if percent in (0, 100):
                notes += [f"costliest functions at {percent} %, own instructions a request:",
                          *costliest(found["by"], n)]
    return rows, notes


def agent_rows(a, n):
    """Of the agent, by the size of replies."""
    rows, notes = [], []
    for size in SIZES:
        with MirrorStack(a, size, timeout="60s", traced="agent") as stack:
            stack.start_session("s", "healthy", 100)
            with stack.mirroring("s"):
                before = stack.session("s")["samples"]
                with stack.counter.counting(stack.agent.pid) as found:
                    stack.sample(n)
                samples = stack.session("s")["samples"] - before
        if samples < n:
            raise Broken(f"{samples} samples of {n} requests")
        rows.append(Row(f"the agent, replies of {size} B: instructions a sample",
                        [found["all"] / samples]))
        notes += [f"costliest functions of the agent, replies of {size} B, own instructions a "
                  "sample:", *costliest(found["by"], samples)]
    return rows, notes


def mirror_instructions(a):
    """user instructions of capturing a request, and of a sample in the agent, under callgrind"""
    if not shutil.which("callgrind_control"):
        return [], ["valgrind is not installed: skipped"]
    rows, notes = proxy_rows(a, 2000 if a.quick else 6000)
    more_rows, more_notes = agent_rows(a, 200 if a.quick else 500)
    return rows + more_rows, notes + more_notes


# ---- memory ----

def grown(process, act):
    """MB by which the memory of a process was above what it was before, at the most."""
    before = memory(process.pid)["Rss"]
    with PeakWatch(process.pid) as watch:
        act()
    return max(watch.peak - before, 0) / 1e6


def grown_by(a, n, program, stop_agent):
    """Of "agent" or OURS, by so many large replies beside a candidate that hangs."""
    with MirrorStack(a, SIZES[0], timeout="5s") as stack:
        process = stack.agent if program == "agent" else stack.proxy.process

        def ask():
            load.exactly_of(stack.proxy.port, n, request(LARGE_PATH), stack.large_tail)

        ask()  # what the requests need without mirroring is there
        stack.start_session("s", "hung", 100)
        with stack.mirroring("s"):
            if stop_agent:
                os.kill(stack.agent.pid, signal.SIGSTOP)
            try:
                return grown(process, ask)
            finally:
                os.kill(stack.agent.pid, signal.SIGCONT)


def mirror_memory(a):
    """memory at the caps: large replies, an agent that stands still, a candidate that hangs"""
    n = 300 if a.quick else 600
    return [Row("the proxy grows, the agent stands still", [grown_by(a, n, OURS, True)], "MB",
                PROXY_MB),
            Row("the agent grows, the candidate hangs", [grown_by(a, n, "agent", False)], "MB",
                AGENT_MB)], [f"{n} replies of {LARGE / 1e3:.0f} KB, all of them whole"]


# ---- comparisons ----

def compare(a):
    """what comparing, redacting and writing down a sample costs, by the size of its replies"""
    found = []
    for _ in range(1 if a.quick else 5):
        used = run_measured([os.path.join(a.build, "bench", "compare_bench"),
                             "50" if a.quick else "200"])
        if used.code:
            raise Broken(used.output)
        found.append(json.loads(used.output))
    rows = []
    for body, first in found[0].items():
        for what in (k for k in first if k != "bytes"):
            us = [1e6 / f[body][what] for f in found]
            budget = {("json-2048", "comparisons"): COMPARISON_US,
                      ("json-2048", "samples"): SAMPLE_US}.get((body, what))
            rows.append(Row(f"{body}: {what[:-1] if what != 'equal' else what}", us, "us", budget,
                            least=True, note=f"{1e6 / min(us):,.0f} a second"))
    return rows, []
