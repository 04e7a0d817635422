#!/usr/bin/python3
"""Writes a valid environment graph of any size, the same for the same arguments.

The graph has one baseline `main` that provides every service, overlays `team-N` on it, and overlays
`feat-N` on one team or, for the asked share of them, on two. A team overrides one slot of
`overrides` services; two parents come from different slots, so that they never contradict.

    bench/make_graph.py --environments 100000 --services 1000 --overrides 8 --files 1 --out DIR
"""

import argparse
import os
import random
import sys

TEAM_SIZE = 100  # feature environments a team, on average


def percent(text):
    value = float(text[:-1] if text.endswith("%") else text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError("a percentage is 0 to 100")
    return value


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--environments", type=int, default=1000, help="all of them together")
    p.add_argument("--services", type=int, default=100)
    p.add_argument("--overrides", type=int, default=8, help="services an overlay provides")
    p.add_argument("--files", type=int, default=1)
    p.add_argument("--two-parents", type=percent, default=20.0, metavar="PERCENT",
                   help="share of the feature environments with two parents")
    p.add_argument("--endpoint", metavar="ADDRESS", help="of every provider, not one for each")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", required=True, metavar="DIR", help="made when it is missing")
    a = p.parse_args()
    if a.environments < 1 or a.files < 1 or not 1 <= a.overrides <= a.services:
        p.error("need environments >= 1, files >= 1 and 1 <= overrides <= services")
    return a


class Graph:
    def __init__(self, a):
        self.a = a
        self.random = random.Random(a.seed)
        self.services = [f"svc-{i:04d}" for i in range(a.services)]
        self.slots = a.services // a.overrides
        overlays = a.environments - 1
        self.teams = min(overlays, max(2, overlays // TEAM_SIZE)) if overlays else 0
        self.host = 0

    def endpoint(self):
        if self.a.endpoint:
            return f'["{self.a.endpoint}"]'
        self.host += 1
        h = self.host
        return f'["10.{h >> 16 & 255}.{h >> 8 & 255}.{h & 255}:{8080 + (h >> 24)}"]'

    def provides(self, names):
        return "".join(f"    {n}: {{endpoints: {self.endpoint()}}}\n" for n in names)

    def service(self, name):
        return f"kind: Service\nmetadata: {{name: {name}}}\nspec: {{protocol: http, port: 8080}}\n"

    def environment(self, name, mode, parents, names):
        out = [f"kind: Environment\nmetadata: {{name: {name}}}\nspec:\n  mode: {mode}\n"]
        if len(parents) == 1:
            out.append(f"  parent: {parents[0]}\n")
        elif parents:
            out.append(f"  parents: [{', '.join(parents)}]\n")
        if names:
            out.append("  providers:\n" + self.provides(names))
        return "".join(out)

    def team(self, i):
        first = i % self.slots * self.a.overrides
        names = self.services[first:first + self.a.overrides]
        return self.environment(f"team-{i}", "overlay", ["main"], names)

    def feature(self, i):
        r = self.random
        first = r.randrange(self.teams)
        parents = [f"team-{first}"]
        if self.slots > 1 and self.teams > 1 and r.random() * 100 < self.a.two_parents:
            other = r.randrange(self.teams)
            while other % self.slots == first % self.slots:
                other = r.randrange(self.teams)
            parents.append(f"team-{other}")
        names = r.sample(self.services, self.a.overrides)
        return self.environment(f"feat-{i}", "overlay", parents, names)

    def gateway(self):
        return ("kind: Gateway\nmetadata: {name: edge}\nspec:\n  defaultEnvironment: main\n"
                "  select:\n    - {header: x-offshoot-env}\n    - {baggage: sd-routing-key}\n"
                f"  routes:\n    - {{path: /, service: {self.services[0]}}}\n")

    def documents(self):
        for name in self.services:
            yield self.service(name)
        yield self.gateway()
        yield self.environment("main", "baseline", [], self.services)
        for i in range(self.teams):
            yield self.team(i)
        for i in range(self.a.environments - 1 - self.teams):
            yield self.feature(i)


def main():
    a = arguments()
    os.makedirs(a.out, exist_ok=True)
    total = a.services + 1 + a.environments
    graph = Graph(a).documents()
    for f in range(a.files):
        count = total * (f + 1) // a.files - total * f // a.files
        path = os.path.join(a.out, f"graph-{f:05d}.yaml")
        with open(path, "w", encoding="ascii") as out:
            for _ in range(count):
                out.write("---\n" + next(graph))
    return 0


if __name__ == "__main__":
    sys.exit(main())
