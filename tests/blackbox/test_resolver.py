"""The real resolver against a second, deliberately naive one, on random graphs with every feature.

Every environment and service of each graph is asked for, with some that do not exist, at several
instants around the expiry dates: more than a million (graph, environment, service) triples. All
fields of each answer are compared.
"""

import json
import os
import random
import shutil
import subprocess
import tempfile
import unittest
from datetime import datetime, timezone
from pathlib import Path

from naive_resolver import Graph
from random_graph import RandomGraph, write_graph

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("OFFSHOOT_BUILD", ROOT / "build")).resolve()
CTL = BUILD / "offshootctl"

SEED = int(os.environ.get("OFFSHOOT_SEED", "20260101"))
TRIPLES = int(os.environ.get("OFFSHOOT_TRIPLES", "1000000"))
NOW = 1_750_000_000
SECONDS = 120


def ctl(*arguments, **more):
    return subprocess.run([CTL, *arguments], capture_output=True, text=True, timeout=SECONDS,
                          check=False, **more)  # fmt: skip


def rfc3339(t):
    return datetime.fromtimestamp(t, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Resolver(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="offshoot-resolver-")
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, rng, documents, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        write_graph(rng, documents, path)
        return path

    def compare(self, path, random_graph, now, seed):
        """Asks for every pair; returns how many were compared."""
        naive = Graph(path)
        environments = [*random_graph.envs, "nobody", "feat-x"]
        services = [*random_graph.services, "nothing"]
        pairs = [(e, s) for e in environments for s in services]
        asked = "".join(f"{e} {s}\n" for e, s in pairs)
        done = ctl("--graph", path, "resolve", "--batch", "--json", "--now", rfc3339(now),
                   input=asked)  # fmt: skip
        self.assertEqual(done.returncode, 0, f"seed {seed}: {done.stdout[:2000]}{done.stderr}")
        answers = done.stdout.splitlines()
        self.assertEqual(len(answers), len(pairs), f"seed {seed}")
        for (env, service), line in zip(pairs, answers):
            have, want = json.loads(line), naive.resolve(env, service, now)
            if have != want:
                kept = tempfile.mkdtemp(prefix="offshoot-resolver-failed-")
                shutil.copytree(path, kept, dirs_exist_ok=True)
                self.assertEqual(have, want, f"seed {seed}, now {now}, graph kept in {kept}")
        self.seen.update((a.get("class") or a["refusal"]) for a in map(json.loads, answers[::7]))
        return len(pairs)

    def test_agrees_with_the_naive_resolver_on_a_million_triples(self):
        compared, seed = 0, SEED
        self.seen = set()
        while compared < TRIPLES:
            rng = random.Random(seed)
            graph = RandomGraph(rng, NOW, environments=rng.choice([5, 40, 120]),
                                services=rng.choice([12, 50]))  # fmt: skip
            path = self.write(rng, graph.documents, f"g{seed}")
            compared += self.compare(path, graph, NOW + rng.choice([-3600, 0, 0, 1, 3600]), seed)
            shutil.rmtree(path)
            seed += 1
        # The comparison would be worth little if some kind of answer never came up.
        self.assertLessEqual({"local", "explicit", "ancestor", "baseline", "shared", "removed",
                              "expired", "no-provider", "unknown-environment", "no-service"},
                             self.seen)  # fmt: skip

    def root_of(self, path):
        done = ctl("graph", "root", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.strip()

    def test_root_is_the_same_for_any_order_of_files_documents_and_keys(self):
        for seed in range(SEED, SEED + 5):
            rng = random.Random(seed)
            graph = RandomGraph(rng, NOW, environments=30, services=20)
            roots = {self.root_of(self.write(random.Random(seed * 10 + i), graph.documents,
                                             f"r{seed}-{i}")) for i in range(4)}  # fmt: skip
            self.assertEqual(len(roots), 1, f"seed {seed}")
            self.assertRegex(roots.pop(), r"\A[0-9a-f]{64}\Z")

    def test_root_changes_with_any_statement(self):
        rng = random.Random(SEED)
        graph = RandomGraph(rng, NOW, environments=10, services=12)
        before = self.root_of(self.write(rng, graph.documents, "before"))
        for i, document in enumerate(graph.documents):
            if document["kind"] != "Environment" or not document["spec"].get("providers"):
                continue
            changed = json.loads(json.dumps(graph.documents))
            providers = changed[i]["spec"]["providers"]
            next(iter(providers.values()))["endpoints"] = ["10.255.255.255:1"]
            name = f"after-{i}"
            self.assertNotEqual(before, self.root_of(self.write(rng, changed, name)), name)


if __name__ == "__main__":
    unittest.main()
