"""Requests while an agent moves its proxies from epoch to epoch: none lost, none refused, none
answered by a graph that was not meant at that time, and none by two graphs."""

import itertools
import threading
import unittest

from graphs import baseline, gateway, graph_of, overlay, service
from harness import eventually, free_ports, sanitized
from live import GRAPH, LiveCase, few, seeded
from load import Load

REQUESTS = few(100_000, 5_000)
EDITS = few(120, 12)
KILLS = few(24, 3)
CONNECTIONS = 24  # to each of two proxies
ACTIVATIONS = few(1000, 60)  # a multiple of four
STRICT_ACTIVATIONS = few(1000, 40)


class TestEditsUnderLoad(LiveCase):
    def test_every_reply_was_possible_when_it_was_asked_for(self):
        self.rng, self.seed = seeded()
        self.providers = self.start_nginx(("main", "a", "b", "c"))
        self.agent = self.start_agent(GRAPH % self.providers["main"])
        self.proxies = [self.start_proxy(self.agent, f"gw-{i}") for i in (1, 2)]
        self.envs = {f"e-{i}": "main" for i in range(4)}
        for env in self.envs:
            self.agent.post("/env/create", name=env)
        self.all_on_newest(self.agent, self.proxies)
        self.allowed = {env: frozenset(["main"]) for env in (*self.envs, "main")}
        self.loads = [self.closes(Load(p.address, CONNECTIONS, self.request, self.check))
                      for p in self.proxies]  # fmt: skip
        kills = set(self.rng.sample(range(EDITS), KILLS))
        for edit in range(EDITS):
            self.edit(edit in kills)
            while self.done() < (edit + 1) * REQUESTS // EDITS:
                self.turn(200)
        for load in self.loads:
            load.finish()
            self.assertEqual(load.sent, load.done)
        self.assertGreaterEqual(self.done(), REQUESTS)
        for proxy in self.proxies:
            self.assertEqual(0, proxy.counters().get("offshoot_refusals_total"))
            self.assertEqual(0, proxy.counters().get("offshoot_nacks_total"))

    def done(self):
        return sum(load.done for load in self.loads)

    def turn(self, requests):
        for load in self.loads:
            load.run(load.done + requests)

    def request(self, n):
        env = ("main", *self.envs)[n % 5]
        head = f"GET /{n} HTTP/1.1\r\nHost: shop\r\nbaggage: k=v,offshoot=v1m.{env}.0.00\r\n\r\n"
        return head.encode(), [env, self.allowed[env]]

    def check(self, expected, head, body):
        self.assertTrue(head.startswith(b"http/1.1 200"), (self.seed, expected, head, body))
        self.assertIn(body.decode(), expected[1], (self.seed, expected[0]))

    def allow(self, env, *providers):
        """What may answer from now on, and besides what else may answer what is on its way."""
        self.allowed[env] = frozenset(providers)
        for load in self.loads:
            for entry in load.socks.values():
                if entry[2][0] == env:
                    entry[2][1] |= self.allowed[env]

    def edit(self, kill):
        env = self.rng.choice(sorted(self.envs))
        new = self.rng.choice([p for p in self.providers if p != self.envs[env]])
        self.allow(env, self.envs[env], new)
        params = {"set": f"shop={self.providers[new]}"}
        timer = threading.Timer(self.rng.uniform(0, 0.02), self.agent.program.process.kill)
        if kill:
            timer.start()
        try:
            self.agent.post("/env/set", name=env, **params)
            done = True
        except Exception:
            if not kill:
                raise
            done = False
        self.turn(50)
        if kill:
            timer.join()
            self.agent.kill()
            self.turn(100)
            self.agent.restart()
            # When it was answered it is done; else it is done now, if it was not.
            again = self.agent.post("/env/set", name=env, **params)
            self.assertFalse(done and again["changed"], self.seed)
        epoch = self.agent.epoch()
        eventually(lambda: self.turn(25) or self.taken(epoch))
        self.envs[env] = new
        self.allow(env, new)
        self.turn(50)

    def taken(self, epoch):
        """By every worker of every proxy."""
        found = [p.admin_json("/status") for p in self.proxies]
        return all(s["epoch"] == epoch and s["workers_current"] == 2 for s in found)


CHAIN = graph_of(
    service("front"),
    service("back", "hosts: [back.test]"),
    gateway({"/": "front"}),
    gateway({"/": "back"}, name="hop"),
    baseline(front="%s", back="%s"),
)
# A front asks the back through the second proxy and adds what it was told itself.
FRONT = """  server { listen 127.0.0.1:%d; location / {
    proxy_pass http://hop; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host back.test; add_header X-Front "%s $http_baggage" always; } }
"""
BACK = '  server { listen 127.0.0.1:%d; location / { return 200 "%s $http_baggage"; } }\n'
WAYS = 8


class TestStrict(LiveCase):
    def test_no_request_sees_two_revisions(self):
        hop_port, *rest = free_ports(1 + 2 * WAYS)
        fronts, backs = rest[:WAYS], rest[WAYS:]
        self.run_nginx(
            f"  upstream hop {{ server 127.0.0.1:{hop_port}; keepalive 64; "
            "keepalive_timeout 1s; }\n"
            + "".join(FRONT % (port, i) for i, port in enumerate(fronts))
            + "".join(BACK % (port, i) for i, port in enumerate(backs)))  # fmt: skip
        at = [[f"127.0.0.1:{p}" for p in ports] for ports in (fronts, backs)]
        agent = self.start_agent(CHAIN % (at[0][0], at[1][0]))
        gateway = self.start_proxy(agent, "gateway", "--gateway", "edge")
        hop = self.start_proxy(agent, "hop", "--gateway", "hop",
                               "--listen", f"127.0.0.1:{hop_port},trusted")  # fmt: skip
        ways = [[f"front={at[0][i]}", f"back={at[1][i]}"] for i in range(WAYS)]
        made = agent.post("/env/create", name="feat", strict=1, set=ways[0])["epoch"]
        meant = {made: 0}  # revision → way
        agent.get("/wait", epoch=made)
        seen = {}

        def request(n):
            head = f"GET /{n} HTTP/1.1\r\nHost: shop\r\nbaggage: offshoot=v1m.feat.0.00\r\n\r\n"
            return head.encode(), n

        def check(n, head, body):
            self.assertTrue(head.startswith(b"http/1.1 200"), (n, head, body))
            front = head.split(b"\r\nx-front: ")[1].split(b"\r\n")[0]
            self.assertEqual(front, body, n)  # the way and the token with its pin at both hops
            way, baggage = body.split(b" ", 1)
            pin = int(baggage.split(b".")[2], 36)
            self.assertEqual(int(way), seen.setdefault(pin, int(way)), pin)

        load = self.closes(Load(gateway.address, 16, request, check))
        for n in range(1, STRICT_ACTIVATIONS + 1):
            epoch = agent.post("/env/set", name="feat", set=ways[n % WAYS])["epoch"]
            meant[epoch] = n % WAYS
            load.run(load.done + 20)
            agent.get("/wait", epoch=epoch)
            self.let_old_ones_end(load)
        load.finish()
        self.assertEqual(load.sent, load.done)
        for pin, way in seen.items():
            self.assertEqual(meant[pin], way, pin)
        self.assertGreater(len(seen), STRICT_ACTIVATIONS // 2)
        for proxy in (gateway, hop):
            counters = proxy.counters()
            self.assertGreaterEqual(counters.get("offshoot_activations_total"), STRICT_ACTIVATIONS)
            self.assertEqual(0, counters.get("offshoot_refusals_total"))
            self.assertEqual(0, counters.get("offshoot_skew_total"))

    def let_old_ones_end(self, load):
        """A proxy holds eight epochs: no request may live longer than five of them."""
        self.sent_before = [*getattr(self, "sent_before", []), load.sent][-5:]
        while min(entry[2] for entry in load.socks.values()) < self.sent_before[0] - 16:
            load.run(load.done + 1)




class TestMemory(LiveCase):
    zero_gauges = ()

    def activations(self, number, names):
        """Every kind of command; the graph is in the end as it was before."""
        for n in range(number // 4):
            name = next(names)
            for path, params in (("create", {"set": "shop=10.1.1.1:80"}),
                                 ("set", {"set": "shop=10.1.1.2:80"}),
                                 ("extend", {"for": f"{n + 1}h"}), ("delete", {})):  # fmt: skip
                epoch = self.agent.post(f"/env/{path}", name=name, **params)["epoch"]
                self.agent.get("/wait", epoch=epoch)

    def rest(self):
        """Everything older is retired; then what it takes."""
        newest = self.all_on_newest(self.agent, [self.proxy])
        eventually(lambda: self.proxy.admin_json("/status")["agent"]["held"] == [newest])
        programs = (self.agent.program, self.proxy)
        return ([p.resident_bytes() for p in programs],
                [p.admin_json("/status")["snapshot_bytes"] for p in programs])  # fmt: skip

    def begin(self):
        config = self.write("agent.yaml", "retain: {epochs: 100}\nretire: {after: 50ms}\n")
        others = [overlay(f"other-{i}") for i in range(1000)]
        self.agent = self.start_agent(graph_of(GRAPH % "10.1.1.3:80", *others), "-c", config)
        self.proxy = self.start_proxy(self.agent)

    def grown(self, names):
        """Bytes before and after, of a thousand activations that a warm-up went before."""
        self.activations(few(800, 40), names)
        before = self.rest()
        counters = self.proxy.counters()
        self.activations(ACTIVATIONS, names)
        after = self.rest()
        changes = self.proxy.counters().since(counters)
        for what in ("stages", "activations", "snapshot_saves"):
            self.assertEqual(ACTIVATIONS, changes[f"offshoot_{what}_total"])
        self.assertEqual(ACTIVATIONS, changes["offshoot_retirements_total"])
        return before, after

    def test_a_thousand_activations_leave_nothing_behind(self):
        self.begin()
        names = itertools.cycle(f"env-{i}" for i in range(10))
        (resident, compiled), (resident_after, compiled_after) = self.grown(names)
        self.assertEqual(compiled, compiled_after)
        if not sanitized():  # they keep what was freed, to see who uses it still
            for before, after in zip(resident, resident_after):
                self.assertLessEqual(after, before * 1.02, (resident, resident_after))

    def test_names_that_never_come_again_cost_their_letters(self):
        self.begin()
        (_, compiled), (_, compiled_after) = self.grown(f"env-{i:012x}" for i in itertools.count())
        for before, after in zip(compiled, compiled_after):
            self.assertLess(after - before, 256 * ACTIVATIONS // 4, (compiled, compiled_after))

    def test_a_graph_that_is_numbered_anew_reaches_the_proxy_and_the_log(self):
        config = self.write("agent.yaml", "retire: {after: 50ms}\n")
        self.agent = self.start_agent(GRAPH % "10.1.1.3:80", "-c", config)
        self.proxy = self.start_proxy(self.agent)
        _, before = self.rest()
        for i in range(1100):
            self.agent.post("/env/create", name=f"env-{i:012x}", set="shop=10.1.1.1:80")
            self.agent.post("/env/delete", name=f"env-{i:012x}")
        made = self.agent.post("/env/create", name="last", set="shop=10.1.1.4:80")["epoch"]
        self.agent.get("/wait", epoch=made)
        self.agent.restart()
        self.assertEqual(made, self.agent.get("/status")["epoch"])
        self.all_on_newest(self.agent, [self.proxy])
        answer = self.proxy.admin_json("/resolve", env="last", service="shop")
        self.assertEqual((made, ["10.1.1.4:80"]), (answer["epoch"], answer["endpoints"]))
        for program, was in zip((self.agent.program, self.proxy), before):
            grown = program.admin_json("/status")["snapshot_bytes"] - was
            self.assertLess(grown, 20 << 10)


if __name__ == "__main__":
    unittest.main()
