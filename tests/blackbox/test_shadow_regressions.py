"""Seeded regressions among noise are found and named, with an example; a candidate that is the same
code is not accused. Which regression, of which field and how often: OFFSHOOT_SEED, or

    OFFSHOOT_REGRESSION=KIND,FIELD,PERCENT python3 tests/blackbox/test_shadow_regressions.py
"""

import os
import random
import unittest
import uuid

from harness import connect, eventually
from live import few, seeded
from shadow_system import ALL, SystemCase, ended, json_reply, limit_of

KINDS = ("status", "missing", "type", "order", "value")
FIELDS = ("name", "price", "stock", "vat")
ROUNDS = 3
NAMED = {"missing": "missing", "type": "type", "value": "value"}
ALIKE = few(32, 16)  # sessions of the same code
SAMPLES = 40
MOST = limit_of(ALIKE, 0.05, 0.001)  # of those may fail


def noise(rng):
    """Fields that differ of themselves: always, in 50, 10 and 1 % of replies."""
    return {
        "id": str(uuid.UUID(int=rng.getrandbits(128))),
        "half": rng.random() < 0.5,
        "tenth": rng.random() < 0.1,
        "hundredth": rng.random() < 0.01,
    }


def item(rng):
    return {
        "items": [{"name": "tea", "price": 250, "stock": 7, "vat": 19}],
        "tags": ["a", "b", "c", "d"],
        "meta": noise(rng),
    }


def spoil(kind, field, answer):
    """The reply with the regression: (object, status)."""
    one = answer["items"][0]
    if kind == "status":
        return {"error": "none"}, 500
    if kind == "missing":
        del one[field]
    elif kind == "type":
        one[field] = [one[field]]
    elif kind == "value":
        one[field] = "coffee" if field == "name" else one[field] + 1
    elif kind == "order":
        answer["tags"].reverse()
    return answer, 200


class Copying(SystemCase):
    """Services that copy what every tracing library copies."""

    names = ("front", "store")
    drops = {("main", "front"): ALL[:2], ("feat", "front"): ALL[:2]}

    def setUp(self):
        super().setUp()
        self.rng, self.seed = seeded()
        self.noises = random.Random(self.rng.getrandbits(32))
        self.replies["main", "front"] = self.replies["feat", "front"] = self.same

    def same(self, request, _):
        return self.served(item(self.noises))

    def served(self, answer, status=200):
        return json_reply(answer, status, [("x-served", f"{self.noises.getrandbits(40):x}")])


class Found(Copying):
    def chosen(self):
        given = os.environ.get("OFFSHOOT_REGRESSION")
        if given:
            kind, field, percent = given.split(",")
            return [(kind, field, float(percent))]
        kinds = self.rng.sample(KINDS, ROUNDS)
        return [(k, self.rng.choice(FIELDS), self.rng.choice((20, 50, 100))) for k in kinds]

    def test_random_regressions_are_found_and_named(self):
        self.begin()
        for n, (kind, field, percent) in enumerate(self.chosen()):
            with self.subTest(kind=kind, field=field, percent=percent, seed=self.seed):
                self.found(f"s-{n}", kind, field, percent)

    def found(self, name, kind, field, percent):
        def worse(request, inner):
            if self.noises.random() * 100 >= percent:
                return self.same(request, inner)
            answer, status = spoil(kind, field, item(self.noises))
            return self.served(answer, status)

        self.replies["feat", "front"] = worse
        self.start_session(name, epsilon="0.2")
        end = self.until(ended, name)
        self.assertEqual(("fail", "decision"), (end["verdict"], end["ended_why"]), end["why"])
        if kind == "status":
            named = [f for f in end["fields"] if f["path"] == "status"]
        elif kind == "order":
            named = [f for f in end["fields"] if f["path"].startswith("body.tags")]
        else:
            named = [f for f in end["fields"]
                     if f["path"].startswith("body.items") and f["path"].endswith(f".{field}")
                     and f["kind"] == NAMED[kind]]  # fmt: skip
        self.assertTrue(named, [(f["path"], f["kind"]) for f in end["fields"]])
        worst = max(named, key=lambda f: f["candidate_only"])
        self.assertGreater(worst["candidate_only"], worst["secondary_only"])
        self.assertTrue(worst["examples"], worst)
        example = worst["examples"][0]
        self.assertEqual(example["primary"], example["secondary"])
        self.assertNotEqual(example["primary"], example["candidate"])
        self.assertIn(int(example["trace"], 16), range(1, self.asked + 1))
        if kind in NAMED:
            self.assertFalse([f for f in end["fields"] if f["failed"] and f not in named])


class Alike(Copying):
    names = ("front",)
    drops = {}

    def test_the_same_code_is_hardly_ever_accused(self):
        self.begin("-c", self.write("agent.yaml", "shadow: {inFlight: 256}\n"))
        verdicts = []
        for first in range(0, ALIKE, 16):
            names = [f"s-{first + i}" for i in range(min(16, ALIKE - first))]
            for name in names:
                # Judged after each sample, and until its end: what failed once is failed.
                self.start_session(name, samples=str(SAMPLES), until="limit")
            with connect(self.proxy.ready["listen"][0]) as stream:

                def all_ended(names=names, stream=stream):
                    for _ in range(5):
                        self.assertEqual(200, self.ask(stream).status)
                    sessions = self.agent.get("/sessions")["sessions"]
                    states = {s["name"]: s["state"] for s in sessions}
                    return all(states[name] == "ended" for name in names)

                eventually(all_ended, 120)
            for name in names:
                end = self.session(name)
                self.assertEqual((SAMPLES, "samples"), (end["samples"], end["ended_why"]))
                self.assertIn("body.meta.half", {f["path"] for f in end["fields"]})
                verdicts.append(end["verdict"])
        self.assertEqual(ALIKE, len(verdicts))
        self.assertLessEqual(verdicts.count("fail"), MOST, self.seed)


if __name__ == "__main__":
    unittest.main()
