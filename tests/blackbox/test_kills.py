"""kill -9 of agents and proxies at random moments, under load and changes: nothing that was
acknowledged is lost, and nobody ever serves an older graph than one it acknowledged."""

import json
import signal
import threading
import time
import unittest

from harness import connect, request_bytes
from live import GRAPH, Background, Changes, LiveCase, Lost, few, seeded
from load import Load

AGENT_KILLS = few(200, 12)
PROXY_KILLS = few(200, 12)
HELD_KILLS = few(60, 8)
RETAIN = 40  # so that kills meet compactions, too


class KillCase(LiveCase):
    def setUp(self):
        super().setUp()
        self.rng, self.seed = seeded()
        self.providers = self.start_nginx(("main", "a", "b", "c"))
        config = self.write("agent.yaml", f"retain: {{epochs: {RETAIN}}}\n")
        self.agent = self.start_agent(GRAPH % self.providers["main"], "-c", config)
        own = {n: a for n, a in self.providers.items() if n != "main"}
        self.changes = [Changes(self.agent.admin, label, own, self.rng) for label in ("x", "y")]

    def load_on(self, proxy):
        """Requests all the time: each is answered, the baseline's by nobody else."""

        def request(n):
            env = "main" if n % 2 else f"x-{n % 4}"
            head = f"GET /{n} HTTP/1.1\r\nHost: shop\r\nbaggage: offshoot=v1m.{env}.0.00\r\n\r\n"
            return head.encode(), env

        def check(env, head, body):
            if env == "main":
                self.assertTrue(head.startswith(b"http/1.1 200"), head)
                self.assertEqual(b"main", body)
            elif head.startswith(b"http/1.1 200"):
                self.assertIn(body, (b"a", b"b", b"c"))
            else:
                self.assertIn(b"unknown-environment", head + body, env)

        load = self.closes(Load(proxy.address, 8, request, check))

        def step():
            load.run(load.done + 50)
            time.sleep(0.005)

        return load, Background(step)

    def change_until_lost(self, changes):
        try:
            while True:
                changes.step()
        except Lost:
            pass


class TestAgentKilled(KillCase):
    def test_no_acknowledged_change_is_lost(self):
        proxies = [self.start_proxy(self.agent, f"gw-{i}") for i in (1, 2)]
        loads = [self.load_on(proxy) for proxy in proxies]
        last = [0, 0]

        def watch():
            for i, proxy in enumerate(proxies):
                epoch = self.epoch_of(proxy)
                self.assertGreaterEqual(epoch, last[i], self.seed)
                last[i] = epoch
            time.sleep(0.01)

        with loads[0][1], loads[1][1], Background(watch):
            for _ in range(AGENT_KILLS):
                self.one_life(proxies)
        self.assertGreater(max(c.epoch for c in self.changes), AGENT_KILLS)
        self.all_on_newest(self.agent, proxies)
        for load, _ in loads:
            load.finish()
            self.assertEqual(load.sent, load.done)
            self.assertGreater(load.done, AGENT_KILLS)
        for proxy in proxies:
            self.assertEqual(self.agent.get("/environments"), proxy.admin_json("/environments"))
            for changes in self.changes:
                changes.socket = proxy.ready["admin"][0]
                changes.settle()

    def one_life(self, proxies):
        """Changes by two at a time, a death in the middle, and what is there afterwards."""
        process = self.agent.program.process
        begun = [dict(c.acked) for c in self.changes]
        timer = threading.Timer(self.rng.uniform(0.0, 0.04), process.kill)
        threads = [threading.Thread(target=self.guarded, args=(c,)) for c in self.changes]
        for thread in [timer, *threads]:
            thread.start()
        for thread in [timer, *threads]:
            thread.join()
        self.agent.kill()
        served = max(self.epoch_of(proxy) for proxy in proxies)
        self.agent.restart()
        self.assertGreaterEqual(self.agent.epoch(), served, self.seed)
        for changes in self.changes:
            self.assertIsNone(getattr(changes, "fault", None), self.seed)
            changes.settle()
        self.judge_history(begun)

    def guarded(self, changes):
        try:
            self.change_until_lost(changes)
        except Exception as e:  # judged by the main thread
            changes.fault = e

    def judge_history(self, begun):
        """Every epoch that was answered is listed with the environment that it changed."""
        listed = self.agent.get("/epochs", limit=RETAIN)["epochs"]
        by_epoch = {e["epoch"]: e for e in listed}
        newest = listed[0]["epoch"]
        self.assertEqual(list(range(newest, newest - len(listed), -1)), list(by_epoch), self.seed)
        for changes, before in zip(self.changes, begun):
            self.assertGreaterEqual(newest, changes.epoch, self.seed)
            for epoch in set(changes.acked) - set(before):
                if epoch > newest - RETAIN:
                    self.assertIn(changes.acked[epoch], by_epoch[epoch]["what"], self.seed)


class TestHeldAgentKilled(KillCase):
    """Rollbacks hold the agent: that, too, is there after any death, or was never answered."""

    def test_held_or_not_is_as_it_was_answered(self):
        proxy = self.start_proxy(self.agent)
        self.one = self.changes[0]
        self.states = {self.agent.epoch(): dict(self.one.known)}
        held = kills = 0
        while kills < HELD_KILLS or (held == 0 and kills < 20 * HELD_KILLS):
            kills += 1
            timer = threading.Timer(self.rng.uniform(0, 0.03), self.agent.program.process.kill)
            timer.start()
            try:
                while True:
                    self.back_and_on()
            except Lost:
                timer.join()
            self.agent.kill()
            self.agent.restart()
            held += self.judge_start()
        self.assertGreater(held, 0, self.seed)
        self.all_on_newest(self.agent, [proxy])
        self.one.socket = proxy.ready["admin"][0]
        self.one.settle()

    def back_and_on(self):
        self.may_be_held = (False,)
        for _ in range(self.rng.randrange(1, 4)):
            self.one.step()
            self.states[self.one.epoch] = dict(self.one.known)
        target = self.rng.choice([e for e in self.states if e > self.one.epoch - RETAIN + 5])
        self.shown = self.states[target]
        self.may_be_held = (False, True)
        self.command("/rollback", epoch=target)
        self.may_be_held = (True, False)
        self.command("/resume")
        self.may_be_held = (False,)

    def command(self, path, **params):
        reply = self.one.ask(path, "POST", **params)
        self.assertEqual(200, reply.status, (reply, self.seed))
        self.one.epoch = json.loads(reply.body)["epoch"]

    def judge_start(self):
        status = self.agent.get("/status")
        self.assertIn(status["held"], self.may_be_held, self.seed)
        self.assertGreaterEqual(status["epoch"], self.one.epoch, self.seed)
        if status["held"]:
            for name, provider in self.shown.items():
                self.assertEqual(provider, self.one.is_now(name), (name, self.seed))
            self.command("/resume")
        self.one.settle()
        self.one.epoch = self.agent.epoch()
        self.states[self.one.epoch] = dict(self.one.known)
        return status["held"]


class TestProxyKilled(KillCase):
    def test_no_older_graph_than_the_acknowledged_one_is_served(self):
        other = self.start_proxy(self.agent, "gw-2")
        load, background = self.load_on(other)
        changes = self.changes[0]
        flags = self.proxy_flags(self.agent, "gw-1")
        proxy = self.start("offshoot-proxy", *flags)
        acknowledged = 0
        with background:
            for _ in range(PROXY_KILLS):
                with Background(changes.step):
                    time.sleep(self.rng.uniform(0.0, 0.04))
                    self.kill(proxy)
                    acknowledged = self.acknowledged("gw-1")
                self.agent.program.signal(signal.SIGSTOP)
                try:
                    proxy = self.start("offshoot-proxy", *flags)
                    self.judge_alone(proxy, acknowledged, changes)
                finally:
                    self.agent.program.signal(signal.SIGCONT)
        load.finish()
        self.assertEqual(load.sent, load.done)
        self.assertGreater(acknowledged, PROXY_KILLS // 4)
        self.all_on_newest(self.agent, [proxy, other])
        for program in (proxy, other):
            changes.socket = program.ready["admin"][0]
            changes.settle()

    def acknowledged(self, node):
        listed = self.agent.get("/proxies")["proxies"]
        return next(p["active"] for p in listed if p["node"] == node)

    def judge_alone(self, proxy, acknowledged, changes):
        """A proxy that started without the agent's help."""
        status = proxy.admin_json("/status")
        self.assertGreaterEqual(status["epoch"], acknowledged, self.seed)
        self.assertEqual(status["epoch"], status["agent"]["acknowledged"], self.seed)
        expected = {name: None for name in changes.known}
        for epoch, (name, provider) in sorted(changes.by_epoch.items()):
            if epoch <= status["epoch"]:
                expected[name] = provider
        mine = Changes(proxy.ready["admin"][0], "x", changes.providers, self.rng)
        mine.known = expected
        mine.settle()
        with self.subTest(self.seed):
            self.assertEqual(b"main", self.ask_main(proxy))

    def ask_main(self, proxy):
        with connect(proxy.address) as stream:
            return stream.ask(request_bytes("GET", "/", "shop")).body


if __name__ == "__main__":
    unittest.main()
