"""Lineages, conflicts and decisions of graphs, judged from outside through offshootctl.

Lineages are compared with Python's own method resolution order, conflicts with the rule written out
naively here, decisions with a table by hand: class, provider, distance, origin, refusal and the
instant at which something has expired.
"""

import json
import os
import random
import subprocess
import tempfile
import unittest
from pathlib import Path

from graph_faults import overlay
from graph_samples import at, environment, service, shop
from graph_writer import Graph, parse, write

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("OFFSHOOT_BUILD", ROOT / "build")).resolve()
CTL = str(BUILD / "offshootctl")
REFUSALS = {"unknown-environment", "expired", "no-service", "removed", "no-provider"}


def run(*arguments, **more):
    return subprocess.run([CTL, *arguments], capture_output=True, text=True, timeout=60,
                          check=False, **more)


class Files:
    """A graph in a folder of its own, for the length of a `with`."""

    def __init__(self, graph, style="block", files=1):
        self.texts, self.places = write(graph, style, files)

    def __enter__(self):
        self.temp = tempfile.TemporaryDirectory()
        for name, text in self.texts.items():
            Path(self.temp.name, name).write_text(text)
        return self

    def __exit__(self, *_):
        self.temp.cleanup()

    def findings(self):
        done = run("graph", "check", self.temp.name, "--json")
        return json.loads(done.stdout)["findings"]

    def line(self, where):
        what = "key" if where.startswith("!") else "value"
        name, line, _ = self.places[(*parse(where.lstrip("!")), what)]
        return f"{Path(self.temp.name, name)}:{line}"

    def resolve(self, environment_name, service_name, now="2026-01-01T00:00:00Z"):
        done = run("--graph", self.temp.name, "resolve", environment_name, service_name,
                   "--json", "--now", now)
        return done.returncode, json.loads(done.stdout)

    def batch(self, questions):
        lines = "".join(f"{one} {other}\n" for one, other in questions)
        done = run("--graph", self.temp.name, "resolve", "--batch", "--json", input=lines)
        return [json.loads(line) for line in done.stdout.splitlines()]


def python_order(parents):
    """{name: lineage, None where there is none, or "below" one without}, by Python's classes."""
    classes = {"main": type("main", (), {})}
    orders = {"main": ["main"]}
    for name, above in parents.items():
        if any(parent not in classes for parent in above):
            orders[name] = "below"
            continue
        try:
            classes[name] = type(name, tuple(classes[parent] for parent in above), {})
            orders[name] = [one.__name__ for one in classes[name].__mro__[:-1]]
        except TypeError:
            orders[name] = None
    return orders


class Lineages(unittest.TestCase):
    """Each environment provides a service of its own: distances are places in the lineage."""

    def graph(self, parents):
        names = ["main", *parents]
        docs = [service(f"s-{name}") for name in names]
        docs.append(environment("main", mode="baseline", providers={"s-main": at("a:1")}))
        for name, above in parents.items():
            doc = overlay(name, providers={f"s-{name}": at("a:1")})
            del doc.tree["spec"]["parent"]
            doc.tree["spec"]["parents"] = above
            docs.append(doc)
        return Graph(docs)

    def judge(self, parents):
        orders = python_order(parents)
        names = ["main", *parents]
        with Files(self.graph(parents)) as files:
            found = sorted((one["code"], f"{one['file']}:{one['line']}")
                           for one in files.findings())
            without = [name for name in names if orders[name] is None]
            self.assertEqual(found, sorted(("no-linearisation", files.line(f"e.{n}:spec/parents"))
                                           for n in without), parents)
            if without:
                return 0
            answers = files.batch((one, f"s-{other}") for one in names for other in names)
        for number, answer in enumerate(answers):
            asked, other = names[number // len(names)], names[number % len(names)]
            order = orders[asked]
            want = order.index(other) if other in order else None
            self.assertEqual(answer["distance"], want, (parents, asked, other))
            self.assertEqual(answer["refusal"], None if want is not None else "no-provider")
        return 1

    def test_examples_of_the_python_documentation_and_the_c3_paper(self):
        main = ["main"]
        for parents in (
            {"a": main, "b": main, "c": ["a", "b"]},
            {"f": main, "e": main, "d": main, "c": ["d", "f"], "b": ["d", "e"], "a": ["b", "c"]},
            {"f": main, "e": main, "d": main, "c": ["d", "f"], "b": ["e", "d"], "a": ["b", "c"]},
            {"x": main, "y": main, "a": ["x", "y"], "b": ["y", "x"], "c": ["a", "b"]},
            {"a": main, "b": ["a"], "c": ["a", "b"], "d": ["c"]},
            {"a": main, "b": main, "c": main, "d": main, "e": main, "k1": ["a", "b", "c"],
             "k2": ["d", "b", "e"], "k3": ["d", "a"], "z": ["k1", "k2", "k3"]},
            {"boat": main, "day": ["boat"], "wheel": ["boat"], "engineless": ["day"],
             "small": ["wheel"], "pedal": ["engineless", "small"],
             "catamaran": ["small"], "both": ["pedal", "catamaran"]},
            {"a": ["main", "main"]}, {"a": main, "b": ["a", "main"]},
            {"a": main, "b": ["main", "a"]},
        ):
            self.judge(parents)

    def test_random_graphs_have_the_order_of_python(self):
        rng = random.Random(11)
        valid = 0
        for _ in range(150):
            parents = {}
            for number in range(rng.randint(3, 9)):
                known = ["main", *parents] if rng.random() < 0.5 else ["main", *parents][-4:]
                parents[f"e{number}"] = rng.sample(known, min(len(known), rng.randint(1, 3)))
            valid += self.judge(parents)
        self.assertGreater(valid, 20)

    def test_a_lineage_has_at_most_16_environments(self):
        chain = {"e0": ["main"]}
        for number in range(1, 15):
            chain[f"e{number}"] = [f"e{number - 1}"]
        self.assertEqual(self.judge(chain), 1)
        chain["e15"] = ["e14"]
        with Files(self.graph(chain)) as files:
            self.assertEqual([(one["code"], f"{one['file']}:{one['line']}")
                              for one in files.findings()],
                             [("depth", files.line("e.e15:spec/parents"))])


SERVICES = ("red", "blue")


def random_statements(rng, lineage):
    spec = {"providers": {}, "use": {}, "remove": []}
    for name in SERVICES:
        kind = rng.choice(["none", "none", "none", "provide", "remove", "use"])
        if kind == "provide":
            spec["providers"][name] = at(rng.choice(["a:1", "b:1"]))
        elif kind == "remove":
            spec["remove"].append(name)
        elif kind == "use":
            spec["use"][name] = rng.choice(["main", "pool"])
    return {key: value for key, value in spec.items() if value}


def statement(spec, name):
    """What an environment says about a service, or None."""
    if name in spec.get("providers", {}):
        return ("provides", json.dumps(spec["providers"][name]))
    if name in spec.get("use", {}):
        return ("use", spec["use"][name])
    return ("remove",) if name in spec.get("remove", []) else None


def conflicts(orders, parents, specs):
    """The (environment, service) pairs in conflict that stand on no other conflict."""
    clashing = set()
    for child, above in parents.items():
        for name in SERVICES:
            if statement(specs[child], name):
                continue
            deciders = [next((one for one in orders[parent] if statement(specs[one], name)), None)
                        for parent in above]
            deciders = [one for one in deciders if one]
            for one in deciders:
                for other in deciders:
                    if (one != other and one not in orders[other] and other not in orders[one]
                            and statement(specs[one], name) != statement(specs[other], name)):
                        clashing.add((child, name))
    return clashing


class Conflicts(unittest.TestCase):
    def test_random_graphs_conflict_where_the_rule_says(self):
        rng = random.Random(5)
        seen = 0
        for _ in range(300):
            parents = {}
            for number in range(rng.randint(3, 7)):
                known = list(parents)[-4:]
                some = sorted(rng.sample(known, min(len(known), rng.randint(0, 3))), reverse=True)
                parents[f"e{number}"] = some or ["main"]
            orders = python_order(parents)
            if not all(isinstance(order, list) for order in orders.values()):
                continue
            specs = {name: random_statements(rng, orders[name]) for name in parents}
            specs["main"] = {"providers": {name: at("m:1") for name in SERVICES}}
            seen += self.judge(parents, orders, specs)
        self.assertGreater(seen, 30)

    def judge(self, parents, orders, specs):
        docs = [service(name) for name in SERVICES]
        docs += [environment("main", mode="baseline", **specs["main"]),
                 environment("pool", mode="shared", priority=1, providers={
                     name: at("p:1") for name in SERVICES})]
        for name, above in parents.items():
            docs.append(environment(name, mode="overlay", parents=above, **specs[name]))
        want = conflicts(orders, parents, specs)
        with Files(Graph(docs)) as files:
            found = files.findings()
            owners = {files.line(f"e.{name}:spec/parents"): name for name in parents}
            got = [owners[f"{one['file']}:{one['line']}"] for one in found]
        self.assertEqual({one["code"] for one in found} - {"conflict"}, set(), (parents, specs))
        for name in parents:
            told = got.count(name)
            mine = sum(child == name for child, _ in want)
            above = any(child in orders[name][1:] for child, _ in want)
            # Below a conflict another may be told or not; without one, none is.
            self.assertTrue(told <= mine if above else told == mine,
                            (name, told, mine, parents, specs, found))
        return bool(want)


class Decisions(unittest.TestCase):
    maxDiff = None

    def judge(self, files, question, want, now="2026-01-01T00:00:00Z"):
        """want: (class, provider, distance, place) or (refusal, place, status, exit)."""
        code, answer = files.resolve(*question, now=now)
        if len(want) == 4 and want[0] in REFUSALS:
            refusal, place, status, leaves = want
            expected = {"outcome": "refused", "class": None, "provider": None, "distance": None,
                        "origin": place and files.line(place), "refusal": refusal,
                        "status": status, "endpoints": []}
        else:
            name, provider, distance, place = want
            leaves = 0
            expected = {"outcome": "provider", "class": name, "provider": provider,
                        "distance": distance, "origin": files.line(place), "refusal": None,
                        "status": None}
            self.assertTrue(answer["endpoints"])
        expected |= {"environment": question[0], "service": question[1], "epoch": 0}
        self.assertEqual({key: answer.get(key) for key in expected}, expected, question)
        self.assertEqual(code, leaves, question)

    def table(self, graph, rows, now="2026-01-01T00:00:00Z"):
        for style, count in (("block", 1), ("json", 3)):
            with Files(graph, style, count) as files:
                self.assertEqual([one for one in files.findings() if one["severity"] == "error"],
                                 [])
                for question, want in rows.items():
                    self.judge(files, tuple(question.split()), want, now)

    def test_the_shop(self):
        self.table(shop(), {
            "main cart": ("local", "main", 0, "!e.main:spec/providers/cart"),
            "team-a cart": ("baseline", "main", 1, "!e.main:spec/providers/cart"),
            "team-a pricing": ("local", "team-a", 0, "!e.team-a:spec/providers/pricing"),
            "feat-42 cart": ("local", "feat-42", 0, "!e.feat-42:spec/providers/cart"),
            "feat-42 inventory": ("ancestor", "feat-17", 2, "!e.feat-17:spec/providers/inventory"),
            "feat-42 web": ("baseline", "main", 3, "!e.main:spec/providers/web"),
            "feat-42 pricing": ("explicit", "feat-17", 0, "e.feat-42:spec/use/pricing"),
            "deep pricing": ("explicit", "feat-17", 1, "e.feat-42:spec/use/pricing"),
            "deep cart": ("ancestor", "feat-42", 1, "!e.feat-42:spec/providers/cart"),
            "deep web": ("local", "deep", 0, "!e.deep:spec/providers/web"),
            "deep search": ("shared", "pool-a", -1, "!e.pool-a:spec/providers/search"),
            "main search": ("shared", "pool-a", -1, "!e.pool-a:spec/providers/search"),
            "eu cart": ("local", "eu", 0, "!e.eu:spec/providers/cart"),
            "eu pricing": ("explicit", "main", 0, "e.eu:spec/use/pricing"),
            "eu-feat pricing": ("explicit", "main", 1, "e.eu:spec/use/pricing"),
            "eu-feat cart": ("baseline", "eu", 1, "!e.eu:spec/providers/cart"),
            "eu-feat search": ("explicit", "pool-b", 0, "e.eu-feat:spec/use/search"),
            "pool-a search": ("local", "pool-a", 0, "!e.pool-a:spec/providers/search"),
            "pool-b search": ("local", "pool-b", 0, "!e.pool-b:spec/providers/search"),
            "pool-a cart": ("no-provider", None, 503, 2),
            "feat-42 promo": ("removed", "e.feat-42:spec/remove/0", 404, 2),
            "deep promo": ("removed", "e.feat-42:spec/remove/0", 404, 2),
            "eu promo": ("removed", "e.eu:spec/remove/0", 404, 2),
            "eu-feat promo": ("removed", "e.eu:spec/remove/0", 404, 2),
            "eu-feat vault": ("no-provider", None, 503, 2),
            "nowhere cart": ("unknown-environment", None, 404, 3),
            "nowhere nothing": ("unknown-environment", None, 404, 3),
            "cart cart": ("unknown-environment", None, 404, 3),
            "main main": ("no-service", None, 404, 3),
            "deep nothing": ("no-service", None, 404, 3),
            "Main cart": ("unknown-environment", None, 404, 3),
        })

    def test_the_nearest_statement_wins(self):
        graph = shop()
        graph.set("e.deep:spec/providers/pricing", at("10.9.9.9:1"))
        graph.set("e.deep:spec/use/promo", "main")
        graph.set("e.deep:spec/remove/0", "inventory")
        graph.set("e.eu-feat:spec/providers/promo", at("10.9.9.8:1"))
        graph.set("e.eu-feat:spec/use/cart", "team-a")
        graph.set("e.eu-feat:spec/use/inventory", "feat-42")
        graph.set("e.pool-a:spec/providers/cart", at("10.9.9.7:1"))
        self.table(graph, {
            "deep pricing": ("local", "deep", 0, "!e.deep:spec/providers/pricing"),
            "deep promo": ("explicit", "main", 0, "e.deep:spec/use/promo"),
            "deep inventory": ("removed", "e.deep:spec/remove/0", 404, 2),
            "feat-42 inventory": ("ancestor", "feat-17", 2, "!e.feat-17:spec/providers/inventory"),
            "eu-feat promo": ("local", "eu-feat", 0, "!e.eu-feat:spec/providers/promo"),
            "eu-feat cart": ("explicit", "main", 0, "e.eu-feat:spec/use/cart"),
            "eu-feat inventory": ("explicit", "feat-17", 0, "e.eu-feat:spec/use/inventory"),
            "deep cart": ("ancestor", "feat-42", 1, "!e.feat-42:spec/providers/cart"),
            "team-a cart": ("baseline", "main", 1, "!e.main:spec/providers/cart"),
            "pool-a cart": ("local", "pool-a", 0, "!e.pool-a:spec/providers/cart"),
            "pool-b cart": ("shared", "pool-a", -1, "!e.pool-a:spec/providers/cart"),
        })

    def test_the_pool_of_the_highest_priority_provides(self):
        graph = shop()
        graph.set("e.pool-a:spec/priority", 0)
        row = ("shared", "pool-b", -1, "!e.pool-b:spec/providers/search")
        self.table(graph, {"main search": row})
        graph.drop("e.pool-a:spec/priority")
        graph.set("e.pool-b:spec/priority", 1)
        self.table(graph, {"main search": row})

    def test_endpoints_are_told_as_written(self):
        with Files(shop()) as files:
            for asked, want in ((("main", "cart"), ["10.1.0.5:8080", "cart.main.svc:8080"]),
                                (("main", "inventory"), ["10.1.0.7:5432", "[2001:db8::7]:5432"]),
                                (("main", "web"), ["unix:/run/web.sock"])):
                self.assertEqual(files.resolve(*asked)[1]["endpoints"], want)

    def test_an_expired_environment_of_the_lineage_refuses_from_that_instant_on(self):
        gone = ("expired", "e.feat-42:spec/expires", 410, 2)
        self.table(shop(), {
            "deep web": ("local", "deep", 0, "!e.deep:spec/providers/web"),
        }, now="2030-11-30T23:59:59Z")
        self.table(shop(), {
            "deep web": gone, "deep cart": gone, "deep promo": gone, "deep nothing": gone,
            "feat-42 cart": gone, "nowhere cart": ("unknown-environment", None, 404, 3),
            "team-a pricing": ("local", "team-a", 0, "!e.team-a:spec/providers/pricing"),
        }, now="2030-12-01T00:00:00Z")
        self.table(shop(), {"deep web": gone}, now="2031-01-01T00:00:00+14:00")
        self.table(shop(), {"deep web": ("local", "deep", 0, "!e.deep:spec/providers/web")},
                   now="2030-12-01T00:59:59+01:00")
        self.table(shop(), {"deep web": gone}, now="2030-12-01T01:00:00+01:00")

    def test_the_origin_is_the_nearest_expired_environment(self):
        graph = shop()
        graph.set("e.deep:spec/expires", "2030-06-01T00:00:00Z")
        graph.set("e.main:spec/expires", "2029-06-01T00:00:00Z")
        graph.set("e.team-a:spec/expires", "2028-06-01T00:00:00Z")
        question = "deep web"
        for now, place in (("2028-06-01T00:00:00Z", "team-a"), ("2029-06-01T00:00:00Z", "team-a"),
                           ("2030-06-01T00:00:00Z", "deep"), ("2030-12-01T00:00:00Z", "deep")):
            self.table(graph, {question: ("expired", f"e.{place}:spec/expires", 410, 2)}, now)
        self.table(graph, {"feat-17 cart": ("expired", "e.main:spec/expires", 410, 2)},
                   "2029-06-01T00:00:00Z")

    def test_a_use_of_something_expired_refuses_at_the_use(self):
        graph = shop()
        graph.add("e.odd", overlay("odd", use={"web": "deep", "cart": "feat-42"}).tree)
        graph.add("e.low", overlay("low", parent="odd").tree)
        live, late = "2030-11-30T23:59:59Z", "2030-12-01T00:00:00Z"
        self.table(graph, {
            "odd web": ("explicit", "deep", 0, "e.odd:spec/use/web"),
            "low cart": ("explicit", "feat-42", 1, "e.odd:spec/use/cart"),
        }, live)
        self.table(graph, {
            "odd web": ("expired", "e.odd:spec/use/web", 410, 2),
            "odd cart": ("expired", "e.odd:spec/use/cart", 410, 2),
            "low web": ("expired", "e.odd:spec/use/web", 410, 2),
            "low pricing": ("baseline", "main", 2, "!e.main:spec/providers/pricing"),
        }, late)

    def test_an_expired_pool_refuses_and_the_next_does_not_help(self):
        graph = shop()
        graph.set("e.pool-a:spec/expires", "2030-12-01T00:00:00Z")
        self.table(graph, {
            "main search": ("shared", "pool-a", -1, "!e.pool-a:spec/providers/search"),
        }, "2030-11-30T23:59:59Z")
        gone = ("expired", "e.pool-a:spec/expires", 410, 2)
        self.table(graph, {
            "main search": gone, "pool-a search": gone,
            "pool-b search": ("local", "pool-b", 0, "!e.pool-b:spec/providers/search"),
            "eu-feat search": ("explicit", "pool-b", 0, "e.eu-feat:spec/use/search"),
        }, "2030-12-01T00:00:00Z")


if __name__ == "__main__":
    unittest.main()
