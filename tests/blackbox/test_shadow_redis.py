"""Sessions and Redis, with real programs on all sides: whatever becomes of the server, users are
answered, sessions go on, the state is told; and once it is back, what it has is what the session
says and what the journal says to a reader of its own."""

import json
import signal
import unittest

from harness import eventually, free_port
from journal_reader import FIELD, HEADLINES, KINDS, Journal
from redis_server import Move, Redis, RedisError, cluster
from shadow_case import ShadowCase

LATENCIES = sum(1 << HEADLINES.index(w) for w in ("latency", "slow-p90", "slow-p99"))
KEYS = {w: "offshoot:{s}:" + w for w in ("sums", "samples", "examples", "verdict")}
SECRET = "open-sesame-4711"


def differs(sample):
    """Something but a latency differs in the candidate alone."""
    return sample.headline_candidate & ~LATENCIES or any(
        d.candidate and not d.secondary for d in sample.differences)


def counted(journal, session):
    """The fields of the hash that an agent has, out of its journal. From the session only what no
    journal has: which fields are compared by shape."""
    sums = journal.sums
    shapes = {(f["endpoint"], f["path"], f["kind"]): f["shape"] for f in session["fields"]}
    fields = {"id": journal.session.id, "run": journal.session.run, "samples": sums.samples,
              "o": f"{sums.headlines[FIELD][0]} 0 0 0 0",  # every field found its place
              "decisions": journal.session.decisions.hex()}  # fmt: skip
    for word, counts in zip(HEADLINES, sums.headlines):
        fields.update({f"h|{word}|{c}": n for c, n in zip("nbc", counts)})
    for (endpoint, path, kind), counts in sums.fields.items():
        name = f"{endpoint}|{path}|{KINDS[kind]}"
        shape = int(shapes[endpoint, path, KINDS[kind]])
        fields[f"f|{name}"] = " ".join(map(str, [sums.endpoints[endpoint], *counts, shape]))
    fields.update({f"e|{name}": n for name, n in sums.endpoints.items()})
    fields.update({f"d|{reason}": n for reason, n in sums.drops.items()})
    return {name: str(value) for name, value in fields.items()}


class RedisCase(ShadowCase):
    maxDiff = None
    def setUp(self):
        super().setUp()
        self.redis = Redis(self)
        self.candidate_reply = lambda n: {"total": 7 + (n % 4 == 0), "at": n}

    def tearDown(self):
        """Ended and read to its end by what writes to Redis, a session holds no file."""
        try:
            for agent in self.agents():
                agent.post("/shadow/stop", name="s")
                eventually(lambda a=agent: not [f for f in a.program.open_files() if "/s/" in f])
        finally:
            super().tearDown()

    def agents(self):
        return [self.agent]

    def shop_reply(self, shop, _):
        return 200, {"total": 7, "at": -len(shop.requests)}

    def new_shop_reply(self, new_shop, _):
        return 200, self.candidate_reply(len(new_shop.requests))

    def begin_session(self, *flags, url=None, samples=5, conf=""):
        """An agent of the name a on a session that has so many samples."""
        conf = self.write("agent.yaml", conf)
        self.begin("-c", conf, "--node", "a", "--redis", url or self.redis.url, *flags)
        self.start_session(service="shop", until="limit")
        return self.until(lambda s: s["samples"] >= samples)

    def settled(self, agent=None):
        """The session once nothing of it is on its way, with its journal."""
        agent = agent or self.agent

        def at_rest():
            session = agent.get("/sessions/s", fields=1000)
            journal = Journal(session["journal"]["path"])
            self.assertEqual(0, session["in_flight"])
            self.assertEqual(set(), journal.sums.open)
            self.assertEqual(session["samples"], journal.sums.samples)
            return session, journal

        return eventually(at_rest)

    def more(self, n=12):
        """n users more, each of whom is a sample, or one that is told to be dropped."""
        before, _ = self.settled()
        want = before["samples"] + sum(before["dropped"].values()) + n
        self.users(n)

        def all_told():
            now = self.session()
            self.assertEqual(want, now["samples"] + sum(now["dropped"].values()))
            return now

        now = eventually(all_told)
        self.assertGreater(now["samples"], before["samples"])
        self.assertEqual("running", now["state"])
        return now

    def in_state(self, state, why=""):
        """Waits for it, in all that tells it."""

        def told():
            redis = self.agent.get("/status")["shadow"]["redis"]
            self.assertEqual(state, redis["state"], redis)
            self.assertIn(why, redis["why"])
            mine = self.session()["redis"]
            self.assertEqual((state, redis["why"]), (mine["state"], mine["why"]))
            return redis

        return eventually(told)

    def ctl(self, *args):
        done = self.run_program("offshootctl", "--socket", self.agent.admin, *args)
        self.assertEqual((0, b""), (done.returncode, done.stderr), done)
        return done.stdout.decode()

    def told_down(self, state, why):
        """A state as people read it, while all else goes on."""
        for text in (self.ctl("status"), self.ctl("shadow", "show", "s")):
            self.assertRegex(text, rf"(?m)^redis +{state}: .*{why}.*, \d+ behind$")
        self.assertEqual({"s": self.session()["verdict"]}, self.agent.get("/verdicts"))

    # -- what is there, against session and journal

    def compare_sums(self, redis, name, session, journal):
        have = {k[len(name) + 1 :]: v for k, v in redis.hash(KEYS["sums"]).items()
                if k.startswith(f"{name}|")}  # fmt: skip
        have.pop("sent", None)
        self.assertEqual(counted(journal, session), have)
        for h in session["headlines"]:
            told = [h["pairs"], h["candidate_only"], h["secondary_only"]]
            self.assertEqual(told, [int(have[f"h|{h['name']}|{c}"]) for c in "nbc"])
        for f in session["fields"]:
            numbers = have[f"f|{f['endpoint']}|{f['path']}|{f['kind']}"].split()
            told = [f["pairs"], f["candidate_only"], f["secondary_only"], f["both"]]
            self.assertEqual(told, list(map(int, numbers[:4])))
        self.assertEqual({k[2:]: int(v) for k, v in have.items() if k.startswith("d|")},
                         session["dropped"])  # fmt: skip

    def compare_samples(self, redis, name, journal, examples=True):
        entries = [dict(zip(e[1][::2], e[1][1::2])) for e in
                   redis.ask("XRANGE", KEYS["samples"], "-", "+")]  # fmt: skip
        mine = [e for e in entries if e["agent"] == name]
        told = [s for s in journal.samples if differs(s)]
        self.assertEqual([s.sample for s in told], [int(e["sample"]) for e in mine])
        for sample, entry in zip(told, mine):
            self.assertEqual(sample.primary_trace.hex(), entry["trace"])
            self.assertEqual([d.path for d in sample.differences],
                             [d["path"] for d in json.loads(entry["differences"])])  # fmt: skip
        listed = map(json.loads, redis.ask("LRANGE", KEYS["examples"], 0, -1))
        if examples:
            numbers = [e["sample"] for e in listed if e["agent"] == name]
            self.assertEqual([s.sample for s in told][::-1], numbers)

    def level(self, redis=None, agents=None, examples=True, after=0):
        """Waits until Redis has all. `after`: users before, so that something new is there."""
        redis = redis or self.redis
        if after:
            self.more(after)

        def compared():
            for name, agent in (agents or {"a": self.agent}).items():
                session, journal = self.settled(agent)
                self.compare_samples(redis, name, journal, examples)
                if not agents:
                    self.compare_sums(redis, name, session, journal)
                verdict = redis.hash(KEYS["verdict"])
                self.assertEqual(session["verdict"], verdict["verdict"])
                redis_state = session["redis"]
                self.assertEqual(("up", 0), (redis_state["state"], redis_state["behind"]))
            return True

        def without_errors():
            try:
                return compared()
            except (RedisError, KeyError) as e:
                raise AssertionError(repr(e)) from e

        eventually(without_errors)
        self.assertTrue(redis.ask("XLEN", KEYS["samples"]))


class TestFaults(RedisCase):
    def test_absent_at_the_start(self):
        self.begin_session()
        self.in_state("down", "refused")
        self.more()
        self.told_down("down", "refused")
        self.redis.start()
        self.level(after=5)

    def test_killed_and_started_again_with_and_without_its_data(self):
        self.redis.flags = ("--appendonly", "yes")
        self.redis.start()
        self.begin_session()
        for flags in (self.redis.flags, ("--appendonly", "no")):
            self.level()
            self.users(8)  # with commands on their way
            self.redis.kill()
            self.in_state("down")
            self.more(10)
            self.redis.flags = flags
            self.redis.start()
        self.level()

    def test_flushed(self):
        self.redis.start()
        self.begin_session()
        self.level()
        self.users(5)
        self.redis.ask("FLUSHALL")
        self.more(10)
        self.level()
        self.redis.ask("FLUSHALL")
        self.level()  # without another sample

    def test_slower_than_the_deadline(self):
        self.redis.start()
        self.begin_session(conf="redisCommandTimeout: 300ms\n")
        self.level()
        self.redis.program.signal(signal.SIGSTOP)
        try:
            self.users(5)
            self.in_state("down", "in time")
            self.more()
            self.told_down("down", "in time")
        finally:
            self.redis.program.signal(signal.SIGCONT)
        self.level(after=5)
        self.assertGreater(self.agent.program.counters().get("offshoot_redis_timeouts_total"), 0)

    def test_full(self):
        self.redis.start()
        self.begin_session()
        self.level()
        self.redis.ask("SET", "filler", "x" * 1_000_000)
        for setting in (("maxmemory-policy", "noeviction"), ("maxmemory", "1mb")):
            self.redis.ask("CONFIG", "SET", *setting)
        self.users(5)
        self.in_state("full", "OOM")
        self.more()
        self.told_down("full", "OOM")
        self.redis.ask("DEL", "filler")
        self.redis.ask("CONFIG", "SET", "maxmemory", "100mb")
        self.level()

    def test_read_only_replica(self):
        self.redis.start()
        self.redis.ask("REPLICAOF", "127.0.0.1", free_port())
        self.begin_session()
        self.in_state("read-only", "READONLY")
        self.more()
        self.told_down("read-only", "READONLY")
        self.redis.ask("REPLICAOF", "NO", "ONE")
        self.level()

    def test_wrong_password_that_is_corrected_and_never_told(self):
        self.redis.start()
        self.redis.ask("CONFIG", "SET", "requirepass", SECRET)
        self.redis.password = SECRET
        file = self.write("password", "wrong-" + SECRET[::-1] + "\n")
        file.chmod(0o600)
        self.begin_session("--redis-password-file", file)
        self.in_state("refused", "WRONGPASS")
        self.more()
        self.told_down("refused", "WRONGPASS")
        file.write_text(SECRET + "\n")
        self.level()
        program = self.agent.program
        told = [program.errors(), program.output(), self.ctl("status")]
        told += [self.ctl("shadow", "show", "s")]
        for path in ("/status", "/sessions/s", "/metrics", "/config"):
            told.append(program.admin(path).body.decode())
        told += [p.read_text("latin-1") for p in (self.folder / "agent-1").rglob("*") if
                 p.is_file()]  # fmt: skip
        for text in told:
            self.assertNotIn(SECRET, text)
            self.assertNotIn(SECRET[::-1], text)

    def test_something_else_at_a_key(self):
        self.redis.start()
        self.begin_session()
        for word in ("verdict", "examples", "samples", "sums"):
            self.level(examples=word in ("verdict", "examples"))
            key = KEYS[word]
            self.redis.ask("DEL", key)
            if word == "samples":  # its entries come again with the number of the last one gone
                self.redis.ask("HDEL", KEYS["sums"], "a|sent")
            if word == "sums":
                self.redis.ask("DEL", KEYS["samples"])
            self.redis.ask("SET", key, "text")
            self.users(5)
            self.in_state("wrong-type", key)
            self.told_down("wrong-type", key.replace("{", r"\{"))
            self.redis.ask("DEL", key)
        self.level(examples=False)


class TestCluster(RedisCase):
    def test_slot_moves_while_samples_come(self):
        nodes = cluster(self)
        slot = nodes[0].ask("CLUSTER", "KEYSLOT", KEYS["sums"])
        at = slot * 3 // 16384
        start, end, other = nodes[at], nodes[(at + 1) % 3], nodes[(at + 2) % 3]
        self.begin_session(url=other.url)
        self.level(start)
        move = Move(start, end, slot)
        move.key(KEYS["sums"])  # the others stay: a script over all of them waits
        self.more()
        self.in_state("moving")
        self.told_down("moving", "")
        move.finish()
        self.level(end, after=10)
        other.kill()  # by whom the cluster is known
        self.level(end, after=10)
        counters = self.agent.program.counters()
        self.assertGreater(counters.get("offshoot_redis_redirects_total"), 0)


class TestTwoAgents(RedisCase):
    def setUp(self):
        super().setUp()
        self.redis.start()
        self.candidate_reply = lambda n: {"total": 8}
        self.named = {}

    def shop_reply(self, *_):
        return 200, {"total": 7}

    def agents(self):
        return self.named.values()

    def add(self, name):
        """An agent with a proxy of its own."""
        self.mesh = f"127.0.0.1:{free_port()}"
        self.agent = self.named[name] = self.start_agent(
            self.graph(), "--shadow-through", self.mesh, "--shadow-linger", "0",
            "--shadow-hop-wait", "300ms", "--node", name,
            "--redis", self.redis.url)  # fmt: skip
        self.proxy = self.start(
            "offshoot-proxy", "--agent", self.agent.listen, "--node", f"gw-{name}", "--listen",
            "127.0.0.1:0", "--listen", f"{self.mesh},trusted", "--admin",
            self.folder / f"proxy-{name}.sock", "--state", self.folder / f"proxy-{name}",
            "--workers", "1")  # fmt: skip
        self.start_session(service="shop", until="limit")

    def own(self, name):
        """Samples of an agent alone, by its journal."""
        return self.settled(self.named[name])[1].sums

    def test_that_compare_the_same_add_up(self):
        self.add("a")
        self.until(lambda s: s["samples"] >= 6)
        alone, _ = self.settled()
        self.assertEqual("inconclusive", alone["verdict"], alone)
        self.add("b")
        self.until(lambda _: self.own("b").samples >= 6)

        def both_fail():
            for agent in self.named.values():
                session = agent.get("/sessions/s")
                self.assertEqual("fail", session["verdict"], session["why"])
            return True

        eventually(both_fail)
        for name in self.named:  # neither has what it takes by itself
            self.assertLess(self.own(name).headlines[FIELD][1], 11)
        self.level(agents=self.named)

    def test_that_compare_something_else_do_not(self):
        self.add("a")
        self.until(lambda s: s["samples"] >= 6)
        self.new_shop.address = f"localhost:{self.new_shop.address.split(':')[1]}"
        self.add("b")
        self.until(lambda _: self.own("b").samples >= 6)

        def told():
            for name, other in (("a", "b"), ("b", "a")):
                redis = self.named[name].get("/status")["shadow"]["redis"]
                self.assertEqual("up", redis["state"])
                self.assertIn(f"agent '{other}' compares something else", redis["why"])
            return True

        eventually(told)
        for agent in self.named.values():
            session, journal = self.settled(agent)
            self.assertEqual("inconclusive", session["verdict"])
            self.assertEqual(journal.sums.samples, session["headlines"][FIELD]["pairs"])


if __name__ == "__main__":
    unittest.main()
