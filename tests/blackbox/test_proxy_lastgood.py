"""What a proxy acknowledged it serves again after any death, with or without an agent."""

import random
import threading
import unittest

from fake_agent import HISTORY, OTHER, Ended, FedCase, Graph, pb
from harness import eventually


class Restarts(FedCase):
    def file(self):
        return self.folder / "state" / "last-good"

    def grown(self, stream, graph, epochs, history=HISTORY):
        """Puts that many more epochs; the last one."""
        for _ in range(epochs):
            new = graph.next()
            new.environment(new.epoch, f"env-{new.epoch}", parents=["main"])
            stream.put(new, history, graph)
            graph = new
        return graph

    def test_a_proxy_without_its_agent_serves_what_it_acknowledged(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        last = self.grown(stream, graph, 5)
        staged = last.next()
        stream.acked(stream.stage(staged, HISTORY, last), pb.STAGED, 7)
        self.agent.stop()
        self.kill(proxy)
        proxy = self.start_fed(ready=True)
        self.assertEqual(b"ok", self.ask(proxy).body)
        self.assertEqual(6, proxy.admin_json("/status")["epoch"])
        self.assertEqual(6, len(self.environments(proxy)))
        self.assertIn("epoch 6, saved at ", proxy.errors())
        self.agent.start()
        stream = self.agent.stream(30)
        hello = stream.hello
        self.assertEqual((HISTORY, 6, [(6, last.digest())]), (hello.history, hello.active_epoch,
                         [(h.epoch, h.digest) for h in hello.held]))  # fmt: skip
        stream.put(staged, HISTORY, last)

    def test_kill_at_any_time_never_leads_behind_what_was_acknowledged(self):
        seed = random.SystemRandom().randrange(1 << 32)
        rng = random.Random(seed)
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        acknowledged, epochs, life = 1, {1: graph}, 0
        for _ in range(15):
            timer = threading.Timer(rng.uniform(0.0, 0.15), proxy.process.kill)
            timer.start()
            acknowledged, graph = self.hurry(stream, graph, epochs, acknowledged)
            timer.join()
            self.kill(proxy)
            proxy = self.start_fed(ready=True)
            served = proxy.admin_json("/status")["epoch"]
            self.assertGreaterEqual(served, acknowledged, f"seed {seed}")
            stream = self.agent.stream()
            self.assertEqual(served, stream.hello.active_epoch)
            self.assertEqual(epochs[served].digest(), stream.hello.held[0].digest)
            graph, acknowledged = epochs[served], served
            life += served > 1
        self.assertGreater(life, 0)

    def hurry(self, stream, graph, epochs, acknowledged):
        """New epochs until the proxy is dead: what it acknowledged, and the last one."""
        try:
            while True:
                new = graph.next()
                new.environment(new.epoch % 50 + 1, f"env-{new.epoch % 50}", parents=["main"],
                                owner="o" * (new.epoch % 7 * 5000))  # fmt: skip
                epochs[new.epoch] = new
                stream.put(new, HISTORY, graph)
                acknowledged, graph = new.epoch, new
        except Ended:
            return acknowledged, graph

    def test_the_file_does_not_grow_for_ever(self):
        graph = Graph.shop(self.provider().address)
        _, stream = self.fed(graph)
        largest = 0
        for n in range(80):
            new = graph.next().environment(1, "big", parents=["main"], owner=str(n) * 30000)
            stream.put(new, HISTORY, graph)
            graph = new
            largest = max(largest, self.file().stat().st_size)
        self.assertGreater(largest, 1 << 20)
        self.assertLess(largest, 1 << 21)

    def test_a_torn_end_is_cut(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        self.grown(stream, graph, 2)
        self.kill(proxy)
        whole = self.file().read_bytes()
        self.file().write_bytes(whole + whole[16:90])
        proxy = self.start_fed(ready=True)
        self.assertEqual(3, proxy.admin_json("/status")["epoch"])
        self.assertIn("74 bytes cut", proxy.errors())
        self.assertEqual(whole, self.file().read_bytes())

    def test_a_damaged_file_is_refused_with_its_place(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        self.grown(stream, graph, 2)
        self.kill(proxy)
        whole = self.file().read_bytes()
        for at in (3, 40, 200, len(whole) // 2):
            damaged = bytearray(whole)
            damaged[at] ^= 4
            self.file().write_bytes(damaged)
            proxy = self.start_fed()
            self.expect_exit(proxy, 1)
            self.assertIn("last-good", proxy.errors())
            self.assertEqual("", proxy.output())
            self.assertEqual(bytes(damaged), self.file().read_bytes())
        self.assertRegex(proxy.errors(), "damaged at byte [0-9]+ of '.*/last-good'")

    def test_a_saved_graph_that_may_not_be_served_any_more(self):
        graph = Graph.shop("10.1.2.3:80")
        proxy, _ = self.fed(graph)
        self.kill(proxy)
        rules = self.write("rules.yaml", "endpoints: {allow: [127.0.0.0/8]}\n")
        proxy = self.start_fed("-c", rules)
        self.expect_exit(proxy, 1)
        self.assertRegex(proxy.errors(), "the last good graph .*'main', service 'shop'")
        proxy = self.start_fed("--gateway", "other")
        self.expect_exit(proxy, 1)
        self.assertIn("no Gateway named 'other'", proxy.errors())

    def test_what_was_adopted_is_remembered(self):
        graph = Graph.shop(self.provider().address, epoch=5)
        proxy, _ = self.fed(graph)
        self.assertEqual(200, proxy.admin(f"/adopt?history={OTHER.hex()}", "POST").status)
        self.kill(proxy)
        while not self.agent.streams.empty():
            self.agent.streams.get()
        proxy = self.start_fed(ready=True)
        self.assertEqual(OTHER.hex(), self.status(proxy)["adopted"])
        other = Graph.shop(self.provider().address, epoch=2)
        self.agent.stream().put(other, OTHER)
        self.kill(proxy)
        self.agent.stop()
        proxy = self.start_fed(ready=True)
        status = self.status(proxy)
        self.assertEqual((OTHER.hex(), "", 2), (status["history"], status["adopted"],
                                                status["active"]))  # fmt: skip

    def test_without_a_state_folder_activations_are_acknowledged_all_the_same(self):
        graph = Graph.shop(self.provider().address)
        proxy = self.start("offshoot-proxy", "--agent", self.agent.address, "--listen",
                           "127.0.0.1:0", "--node", "gw-2", ready=False)  # fmt: skip
        self.agent.stream().put(graph, HISTORY)
        proxy.wait_ready()

    def test_what_cannot_be_saved_is_served_but_not_acknowledged(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        other = Graph.shop(self.provider().address).environment(1, "feat", parents=["main"])
        blocker = self.folder / "state" / "last-good.new"  # a new history is a new file
        blocker.mkdir()
        follows = pb.Follows(history=HISTORY, epoch=1)
        stream.acked(stream.stage(other, OTHER, follows=follows), pb.STAGED, 1)
        nonce = stream.activate(1)
        eventually(lambda: self.environments(proxy) == ["feat", "main"])
        eventually(lambda: proxy.counters().get("offshoot_snapshot_saves_failed_total") >= 2)
        self.assertEqual(1, proxy.counters().get("offshoot_snapshot_unsaved"))
        self.assertIn("last-good", self.status(proxy)["save_error"])
        self.assertIn(b"NOT SAVED", proxy.admin("/status").body)
        self.assertIn("active but not saved, so it is not acknowledged", proxy.errors())
        stream.finish()  # not even Hello says that it is active
        stream = self.agent.stream()
        self.assertEqual((OTHER, 0), (stream.hello.history, stream.hello.active_epoch))
        nonce = stream.activate(1)
        blocker.rmdir()
        stream.acked(nonce, pb.ACTIVE, 1)
        self.assertEqual(0, proxy.counters().get("offshoot_snapshot_unsaved"))
        self.assertEqual("", self.status(proxy)["save_error"])


if __name__ == "__main__":
    unittest.main()
