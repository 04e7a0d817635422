"""The agent dies at random moments, Redis too: what a session has counted is what its journal says
to a reader that shares no code with it, and what Redis says in the end."""

import collections
import threading
import unittest
from pathlib import Path

import redis
from harness import connect, eventually, free_port
from journal_reader import HEADLINES, KINDS, Journal
from live import Background, few, seeded
from shadow_system import SystemCase, json_reply, running

KILLS = few(15, 5)
PROXY_YAML = "agentBackoff: {first: 10ms, max: 50ms}\n"


class Kills(SystemCase):
    names = ("front",)

    def setUp(self):
        super().setUp()
        self.rng, self.seed = seeded()
        self.count = 0
        self.replies["main", "front"] = self.noisy
        self.replies["feat", "front"] = self.noisy

    def noisy(self, request, _):
        """Something is always on its way, and differs now and then."""
        self.count += 1
        threading.Event().wait(0.01)
        return json_reply({"always": 1, "often": self.count % 2, "seldom": self.count % 7 == 0})

    def begin(self, *flags):
        super().begin(*flags, proxy=("-c", self.write("proxy.yaml", PROXY_YAML)))

    def asking(self):
        stream = self.closes(connect(self.proxy.ready["listen"][0]))

        def step():
            reply = self.ask(stream)
            if reply.status != 200:
                raise AssertionError(reply)

        return Background(step)

    def journal(self):
        return Journal(self.state / "shadow" / "s", from_start=True)

    def counted(self, session):
        """The sums that a session shows, as the reader has them."""
        return {
            "samples": session["samples"],
            "headlines": [[h["pairs"], h["candidate_only"], h["secondary_only"]]
                          for h in session["headlines"]],
            "fields": {(f["endpoint"], f["path"], f["kind"]):
                       [f["candidate_only"], f["secondary_only"], f["both"]]
                       for f in session["fields"]},
            "endpoints": {e["name"]: e["pairs"] for e in session["endpoints"]},
            "drops": session["dropped"],
        }  # fmt: skip

    def recounted(self, sums):
        return {
            "samples": sums.samples,
            "headlines": sums.headlines,
            "fields": {(e, p, KINDS[k]): n for (e, p, k), n in sums.fields.items()},
            "endpoints": sums.endpoints,
            "drops": dict(sums.drops),
        }

    def each_is_counted_once(self, journal):
        """Each sample that was begun is counted once: compared, or dropped."""
        ends = collections.Counter(s.sample for s in journal.samples)
        begun = set()
        for record in journal.records:
            kind = record.WhichOneof("record")
            if kind == "begun":
                begun.add(record.begun.sample)
            elif kind == "drop" and record.drop.sample:
                ends[record.drop.sample] += 1
        self.assertEqual(begun, set(ends))
        self.assertEqual([], [n for n, times in ends.items() if times != 1])
        self.assertEqual(set(), journal.sums.open)


class Agent(Kills):
    def test_sums_are_those_of_the_journal_after_kills_at_random_moments(self):
        self.begin()
        self.start_session(until="limit")
        with self.asking():
            for n in range(KILLS):
                if n % 3:
                    eventually(lambda: running(self.session()))
                threading.Event().wait(self.rng.random() * 0.3)
                before = self.session()
                self.agent.kill()
                self.agent.restart()
                after = self.session()
                self.assertEqual((before["id"], 1), (after["id"], after["run"]), self.seed)
                self.assertGreaterEqual(after["samples"], before["samples"], self.seed)
                self.capturing()
            most = self.session()["samples"]
            eventually(lambda: self.session()["samples"] > most + 10)
        self.agent.post("/shadow/stop", name="s")
        now, journal = self.settled(), self.journal()
        self.assertEqual(self.recounted(journal.sums), self.counted(now), self.seed)
        self.each_is_counted_once(journal)
        self.assertGreater(now["dropped"]["restart"], 0, self.seed)
        self.agent.restart()
        self.assertEqual(self.counted(now), self.counted(self.session()), self.seed)


class Redis(Kills):
    def start_redis(self):
        self.redis = self.start_other("redis-server", "--port", str(self.port), "--save", "",
                                      "--requirepass", "first", until=self.pings)  # fmt: skip

    def store(self):
        return redis.Redis(port=self.port, password="first", decode_responses=True)

    def pings(self):
        with self.store() as store:
            try:
                return store.ping()
            except redis.ConnectionError:
                return False

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.start_redis()
        self.password = Path(self.write("password", "first\n"))
        self.password.chmod(0o600)

    def state_is(self, *words):
        eventually(lambda: self.session()["redis"]["state"] in words)

    def sums(self):
        """As a session shows them, but for what Redis does not have."""
        with self.store() as store:
            have = store.hgetall("offshoot:{s}:sums")
        own = {k.partition("|")[2]: v for k, v in have.items() if k.startswith("agent-1|")}

        def each(head):
            return {k[len(head) :]: v for k, v in own.items() if k.startswith(head)}

        fields = {tuple(k.split("|")): list(map(int, v.split()))[1:4]
                  for k, v in each("f|").items()}  # fmt: skip
        return {
            "samples": int(own.get("samples", 0)),
            "headlines": [[int(own[f"h|{word}|{c}"]) for c in "nbc"] for word in HEADLINES],
            "fields": fields,
            "endpoints": {k: int(v) for k, v in each("e|").items()},
            "drops": {k: int(v) for k, v in each("d|").items()},
        }

    def equal(self):
        now = self.counted(self.settled())
        eventually(lambda: self.assertEqual(now, self.sums()) or True)

    def test_sums_are_equal_again_after_all_that_happens_to_redis(self):
        self.begin("--redis", f"redis://127.0.0.1:{self.port}", "--redis-password-file",
                   self.password)  # fmt: skip
        self.start_session(until="limit")
        with self.asking():
            self.state_is("up")
            eventually(lambda: self.session()["samples"] > 5)
            with self.store() as store:
                store.flushall()
            self.password.write_text("wrong\n")
            with self.store() as store:
                store.client_kill_filter(_type="normal", skipme=True)
            self.state_is("refused")
            self.agent.kill()
            self.redis.kill()
            self.agent.restart()
            self.capturing()
            self.state_is("down")
            most = self.session()["samples"]
            eventually(lambda: self.session()["samples"] > most + 10)
            self.password.write_text("first\n")
            self.start_redis()
            self.state_is("up")
        self.agent.post("/shadow/stop", name="s")
        self.equal()
        self.assertEqual(self.recounted(self.journal().sums), self.sums())
        with self.store() as store:
            verdict = store.hgetall("offshoot:{s}:verdict")
        self.assertEqual(self.session()["verdict"], verdict["verdict"])


if __name__ == "__main__":
    unittest.main()
