"""A restore as docs/operations.md describes it: an older copy of the agent's state folder moves no
proxy back; a new history that follows what the proxies hold moves them on, `proxy adopt` one."""

import shutil
import signal
import unittest

from harness import ONE_SHOP, AgentCase, eventually


class Restore(AgentCase):
    def setUp(self):
        super().setUp()
        self.history = self.folder / "history"
        graph = ONE_SHOP % self.nobody().address
        self.agent = self.start_agent(graph, "--state", self.history)
        self.proxy = self.start(
            "offshoot-proxy", "--agent", self.agent.listen, "--node", "gw-1",
            "--listen", "127.0.0.1:0,trusted", "--admin", self.folder / "proxy.sock",
            "--state", self.folder / "proxy", "--workers", "1")  # fmt: skip
        copy = self.folder / "copy"
        shutil.copytree(self.history, copy)  # while it runs
        for name in ("one", "two"):
            self.agent.post("/env/create", name=name, set="shop=127.0.0.1:9")
        eventually(lambda: self.proxy.admin_json("/status")["epoch"] == 3)
        self.agent.stop()
        shutil.rmtree(self.history)
        self.copy = copy

    def tearDown(self):
        self.proxy.signal(signal.SIGTERM)  # first: the agent waits for nobody, but holds its stream
        self.expect_exit(self.proxy, 0)
        super().tearDown()

    def of_proxy(self):
        status = self.proxy.admin_json("/status")
        return status["epoch"], status["agent"]["history"]

    def of_agent(self):
        status = self.agent.get("/status")
        return status["epoch"], status["history"]

    def stays_behind(self):
        """The proxy is named as stale, and serves what it had."""
        before = self.of_proxy()
        self.agent.restart()
        eventually(lambda: [p["stale"] for p in self.agent.get("/proxies")["proxies"]] == [True])
        self.assertEqual(self.of_proxy(), before)
        return before

    def test_an_older_copy_moves_nobody_back_and_a_new_history_moves_all_on(self):
        shutil.copytree(self.copy, self.history)
        epoch, history = self.stays_behind()
        self.agent.restart("--new-history", "--follows", f"{history}:{epoch}")
        eventually(lambda: self.of_proxy() == self.of_agent())
        self.assertNotEqual(self.of_proxy()[1], history)
        self.assertTrue((self.history / f"graph.log.old-{history}").exists())
        self.agent.restart()  # without the flags
        self.agent.post("/env/create", name="three", set="shop=127.0.0.1:9")
        eventually(lambda: self.of_proxy() == self.of_agent())

    def test_without_the_folder_the_proxies_history_is_named(self):
        epoch, history = self.of_proxy()
        self.agent.restart("--new-history", "--follows", f"{history}:{epoch}")
        eventually(lambda: self.of_proxy() == self.of_agent())

    def test_a_single_proxy_adopts_a_history(self):
        self.stays_behind()
        reply = self.proxy.admin(f"/adopt?history={self.of_agent()[1]}", "POST")
        self.assertEqual(reply.status, 200)
        eventually(lambda: self.of_proxy() == self.of_agent())


if __name__ == "__main__":
    unittest.main()
