#!/usr/bin/python3
"""Measures Offshoot, beside the peers that are installed, and prints a table.

    make bench                          all parts
    bench/run.py --only http,idle       some of them
    bench/run.py --quick                short runs, to see that everything works

Absolute times depend on the machine and on what else it does: compare ratios. The budgets and what
they mean are in docs/performance.md. The same numbers go to bench.json in the build folder.
"""

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time

import abuse_parts
import activation_parts
import body_part
import graph_parts
import http_parts
import latency_parts
import mirror_cost_parts
import mirror_parts
import protocol_parts
import push_parts
import token_parts
from rig import HERE, Broken
from stack import program

PARTS = {
    "http": http_parts.http,
    "instructions": http_parts.instructions,
    "syscalls": http_parts.syscalls,
    "http2": protocol_parts.http2,
    "tls": protocol_parts.tls,
    "grpc": protocol_parts.grpc,
    "bodies": protocol_parts.bodies,
    "idle2": protocol_parts.idle2,
    "latency": latency_parts.latency,
    "abuse": abuse_parts.abused,
    "resolve": graph_parts.resolve,
    "tokens": token_parts.tokens,
    "environments": graph_parts.environments,
    "idle": http_parts.idle,
    "load": graph_parts.load_graph,
    "edit": graph_parts.edit,
    "body": body_part.body,
    "push": push_parts.push,
    "proxies": push_parts.proxies,
    "activations": activation_parts.activations,
    "mirror": mirror_parts.mirror,
    "mirrorcost": mirror_cost_parts.mirror_instructions,
    "mirrormemory": mirror_cost_parts.mirror_memory,
    "compare": mirror_cost_parts.compare,
}
VERSIONS = {"haproxy": ["-v"], "nginx": ["-v"], "wrk": ["-v"], "valgrind": ["--version"]}


def parts(text):
    wanted = text.split(",")
    unknown = [w for w in wanted if w not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part '{unknown[0]}': there are {', '.join(PARTS)}")
    return wanted


def arguments():
    build = os.environ.get("OFFSHOOT_BUILD") or os.path.join(HERE, "..", "build")
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0],
                                epilog="parts: " + "; ".join(
                                    f"{n}: {f.__doc__}" for n, f in PARTS.items()))
    p.add_argument("--only", type=parts, default=list(PARTS), metavar="PART,PART")
    p.add_argument("--quick", action="store_true", help="short runs: numbers are rough")
    p.add_argument("--rounds", type=int, help="interleaved rounds; 7, or 3 with --quick")
    p.add_argument("--build", default=build, help="where the programs are; $OFFSHOOT_BUILD, build")
    p.add_argument("--json", help="where numbers go; bench.json in the build folder")
    p.add_argument("--profile", action="store_true",
                   help="name the costliest functions of http, resolve and load (needs perf)")
    p.add_argument("--keep", action="store_true", help="keep the temporary folders")
    a = p.parse_args()
    a.build = os.path.abspath(a.build)
    a.rounds = a.rounds or (3 if a.quick else 7)
    a.json = a.json or os.path.join(a.build, "bench.json")
    if not os.access(os.path.join(a.build, "offshoot-proxy"), os.X_OK):
        p.error(f"there is no offshoot-proxy in {a.build}: run make bench, or make")
    return a


def first_line(argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    return done.stdout.strip().split("\n")[0]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((x.split(":", 1)[1].strip() for x in f if x.startswith("model name")), "?")
    return {"processor": model, "processors": os.cpu_count(), "system": platform.platform(),
            "programs": {name: first_line([program(name), *flags]) for name, flags in
                         VERSIONS.items() if program(name)}}


def number(value):
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def spread(row):
    if len(row.values) == 1:
        return ""
    return f"{number(min(row.values))} - {number(max(row.values))}"


def print_rows(rows, notes):
    for row in rows:
        verdict = "" if row.met is None else "met" if row.met else "MISSED"
        budget = "" if row.budget is None else f"<= {number(row.budget)}"
        print(f"  {row.what:<52}{number(row.value):>12} {row.unit:<4} {spread(row):<20} "
              f"{budget:<12} {verdict:<7}{'least ' if row.least else ''}{row.note}".rstrip())
    for note in notes:
        print(f"  | {note}")
    sys.stdout.flush()


def run_part(name, a):
    """{rows, notes, fault} of a part: one that cannot be measured does not stop the others."""
    print(f"\n{name}: {PARTS[name].__doc__}", flush=True)
    started = time.monotonic()
    rows, notes, fault = [], [], None
    try:
        rows, notes = PARTS[name](a)
    except (Broken, OSError, subprocess.SubprocessError) as e:
        fault = f"{type(e).__name__}: {e}"
        notes = [f"NOT MEASURED: {fault}"]
    print_rows(rows, notes)
    return {"rows": [r.as_dict() for r in rows], "notes": notes, "fault": fault,
            "seconds": round(time.monotonic() - started, 1)}


def main():
    a = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    result = {"machine": machine(), "quick": a.quick, "rounds": a.rounds, "parts": {}}
    print(f"{result['machine']['processors']} processors, {result['machine']['processor']}; "
          f"{a.rounds} rounds. Columns: value, least - most, budget. The value is the "
          "median; of times\nwithout a peer (\"least\" in the notes) the least")
    for name in a.only:
        result["parts"][name] = run_part(name, a)
        with open(a.json, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
    rows = [r for p in result["parts"].values() for r in p["rows"] if r["met"] is not None]
    faults = [n for n, p in result["parts"].items() if p["fault"]]
    met = sum(r["met"] for r in rows)
    print(f"\n{met} of {len(rows)} budgets met"
          + "".join(f"\n  missed: {r['what']}: {number(r['value'])} {r['unit']}, allowed "
                    f"{number(r['budget'])}" for r in rows if not r["met"])
          + (f"\nnot measured: {', '.join(faults)}" if faults else "") + f"\nin {a.json}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
