"""Programs that are stopped, or whose disk is full, or that too many come to: named, bounded, and
well again afterwards."""

import resource
import signal
import socket
import unittest

from harness import connect, eventually, request_bytes
from live import GRAPH, Changes, LiveCase, few, seeded

CONNECTIONS = few(10_000, 1_000)


class HalfDeadCase(LiveCase):
    def begin(self, *flags, proxies=2, **options):
        self.rng, self.seed = seeded()
        self.providers = self.start_nginx(("main", "a", "b"))
        self.agent = self.start_agent(GRAPH % self.providers["main"], *flags)
        self.proxies = [self.start_proxy(self.agent, f"gw-{i}", **options)
                        for i in range(1, proxies + 1)]  # fmt: skip
        self.changes = Changes(self.agent.admin, "x", self.providers, self.rng)
        self.all_on_newest(self.agent, self.proxies)

    def listed(self):
        return {p["node"]: p for p in self.agent.get("/proxies")["proxies"]}

    def served(self, proxy, env="main"):
        fields = [("baggage", f"offshoot=v1m.{env}.0.00")]
        with connect(proxy.address) as stream:
            reply = stream.ask(request_bytes("GET", "/", "shop", fields))
        self.assertEqual(200, reply.status, reply)
        return reply.body.decode()

    def end_settled(self):
        """All is as it was answered, at the agent and at each proxy."""
        self.all_on_newest(self.agent, self.proxies)
        for program in (self.agent.program, *self.proxies):
            self.changes.socket = program.ready["admin"][0]
            self.changes.settle()
        self.changes.socket = self.agent.admin


class TestStopped(HalfDeadCase):
    def test_stopped_proxy_is_named_late_and_catches_up(self):
        # The first change waits this long for the stopped one; the good one must not need it.
        self.begin("--stage-timeout", "3s", "--retire-after", "100ms")
        good, stopped = self.proxies
        stopped.signal(signal.SIGSTOP)
        try:
            for _ in range(20):
                epoch = self.changes.step()
                eventually(lambda: self.epoch_of(good) == epoch)
            # What a proxy serves it has not acknowledged yet, nor has the agent read it.
            eventually(lambda: not self.listed()["gw-1"]["behind"])
            late = self.listed()
            self.assertTrue(late["gw-2"]["late"] and late["gw-2"]["behind"])
            self.assertFalse(late["gw-1"]["late"])
            self.assertEqual(1, self.agent.program.counters().get("offshoot_agent_late_total"))
            self.agent.program.line("not waiting for 1 late proxy .*: gw-2$", stream="stderr")
            reply = self.agent.ask("/wait", epoch=epoch, timeout="1s")
            self.assertEqual((504, True), (reply.status, b'"behind":["gw-2"]' in reply.body))
            self.assertEqual("main", self.served(good))
        finally:
            stopped.signal(signal.SIGCONT)
        self.end_settled()
        eventually(lambda: not self.listed()["gw-2"]["late"])
        self.assertEqual(0, stopped.counters().get("offshoot_nacks_total"))

    def test_stopped_agent_changes_nothing_for_requests(self):
        self.begin(ping="1s")
        self.changes.step()
        self.end_settled()
        self.agent.program.signal(signal.SIGSTOP)
        try:
            for proxy in self.proxies:
                eventually(lambda: not proxy.admin_json("/status")["agent"]["connected"])
                self.assertEqual("main", self.served(proxy))
        finally:
            self.agent.program.signal(signal.SIGCONT)
        for _ in range(5):
            self.changes.step()
        self.end_settled()
        self.assertEqual({"gw-1", "gw-2"}, {n for n, p in self.listed().items() if p["connected"]})


class TestDiskFull(HalfDeadCase):
    under_limits = True

    def room(self, program, path, more):
        """Lets the program's files grow to the size of path and that many bytes more."""
        size = path.stat().st_size + more if path else resource.RLIM_INFINITY
        hard = resource.prlimit(program.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (size, hard))

    def test_agent_refuses_changes_and_loses_nothing(self):
        self.begin(proxies=1)
        log = self.folder / "agent-1" / "graph.log"
        for _ in range(120):
            self.changes.step()
        for more in (0, 1, 11, 40, 100):
            self.room(self.agent.program, log, more)
            before = self.agent.epoch()
            for _ in range(3):
                known = dict(self.changes.known)
                reply = self.changes.ask("/env/create", "POST", name=f"z-{more}", reason="r" * 200)
                self.assertEqual(503, reply.status, reply)
                self.assertEqual(before, self.agent.epoch())
                self.assertEqual(known, self.changes.known)
            self.changes.settle()
            self.assertEqual("main", self.served(self.proxies[0]))
            if more == 40:  # it dies and is started again with its disk full
                self.agent.kill()
                self.agent.restart()
                self.room(self.agent.program, log, 0)
                self.assertEqual(before, self.agent.epoch())
                self.changes.settle()
            self.room(self.agent.program, None, 0)
            self.assertEqual(before + 1, self.changes.step())
        self.end_settled()
        self.agent.kill()
        self.agent.restart()
        self.end_settled()

    def test_proxy_serves_what_it_cannot_save_and_does_not_acknowledge_it(self):
        self.begin(proxies=2)
        full = self.proxies[0]
        path = self.folder / "s-gw-1" / "last-good"
        for _ in range(120):
            self.changes.step()
        newest = self.all_on_newest(self.agent, self.proxies)
        self.room(full, path, 10)
        epoch = self.changes.step()
        eventually(lambda: self.epoch_of(full) == epoch)
        eventually(lambda: full.admin_json("/status")["agent"]["save_error"])
        self.assertEqual(newest, full.admin_json("/status")["agent"]["acknowledged"])
        self.assertEqual(newest, self.listed()["gw-1"]["active"])
        self.assertEqual(1, full.counters().get("offshoot_snapshot_unsaved"))
        for _ in range(12):  # more than a proxy holds
            epoch = self.changes.step()
            eventually(lambda: self.epoch_of(self.proxies[1]) == epoch)
        self.assertEqual("main", self.served(full))
        self.assertGreaterEqual(self.listed()["gw-1"]["active"], newest)
        eventually(lambda: self.epoch_of(full) == epoch)
        self.room(full, None, 0)
        self.end_settled()
        self.assertEqual("", full.admin_json("/status")["agent"]["save_error"])
        self.kill(full)
        self.agent.program.signal(signal.SIGSTOP)
        try:
            full = self.start("offshoot-proxy", *self.proxy_flags(self.agent, "gw-1"))
            self.assertEqual(epoch, self.epoch_of(full))
        finally:
            self.agent.program.signal(signal.SIGCONT)
        self.proxies[0] = full
        self.end_settled()


class TestCrowd(HalfDeadCase):
    def crowd(self, number):
        """Not faster than they are accepted: a full queue of the listener makes them wait."""
        host, port = self.agent.listen.rsplit(":", 1)
        found = []
        for i in range(1, number + 1):
            s = self.closes(socket.socket())
            s.settimeout(10)
            s.connect((host, int(port)))
            found.append(s)
            if i % 50 == 0:
                eventually(lambda: self.accepted() >= i)
        return found

    def accepted(self):
        now = self.agent.program.counters()
        return now.since(self.before).get("offshoot_agent_accepts_total", 0)

    def test_many_connections_that_say_nothing(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        number = min(CONNECTIONS, hard - 500)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        limit = number // 2
        config = self.write("limits.yaml", f"limits: {{connections: {limit}}}\n")
        self.begin("-c", config)
        self.before = self.agent.program.counters()
        crowd = self.crowd(number)

        def counted():
            now = self.agent.program.counters().since(self.before)
            refused = now.get("offshoot_agent_connections_refused_total", 0)
            self.assertEqual(number - limit + 2, refused, now)
            return True

        eventually(counted)
        connections = self.agent.program.counters().get("offshoot_agent_connections")
        self.assertLessEqual(connections, limit)
        self.assertLess(self.agent.program.fds(), limit + 50)
        for _ in range(3):
            epoch = self.changes.step()
            self.assertEqual(2, self.agent.get("/wait", epoch=epoch)["proxies"])
        for s in crowd:
            s.close()
        eventually(lambda: self.agent.program.counters().get("offshoot_agent_connections") == 2)
        self.end_settled()
        for proxy in self.proxies:
            self.assertEqual(1, proxy.counters().get("offshoot_agent_connects_total"))


if __name__ == "__main__":
    unittest.main()
