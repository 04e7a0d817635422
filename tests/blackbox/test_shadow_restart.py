"""A verdict belongs to what the session resolves to, in a real mesh: which changes of the graph
begin it anew, which do not; commands, limits, and specs that cannot be."""

import unittest

from fakes import Nobody
from graphs import overlay
from harness import eventually
from shadow_system import SystemCase, ended, json_reply, running


class Decisions(SystemCase):
    names = ("front", "store")

    def at_work(self, **params):
        self.begin()
        self.start_session(until="limit", **params)
        self.until(lambda s: s["samples"] >= 3)

    def change(self, more=""):
        self.write("graph-0.yaml", self.graph(more))
        epoch = self.agent.epoch()
        self.agent.post("/reload")
        self.assertGreater(self.agent.epoch(), epoch)
        return self.session()

    def begun_anew(self, now):
        self.assertEqual((2, "canary", 0), (now["run"], now["state"], now["samples"]))
        self.assertEqual(([], []), (now["fields"], now["endpoints"]))

    def test_another_endpoint_of_the_candidate(self):
        self.at_work()
        old = self.hops["feat", "front"]
        self.add_hop("feat", "front")
        self.replies["feat", "front"] = lambda request, _: json_reply({"of": "another"})
        before = len(old.requests)
        self.begun_anew(self.change())
        self.settled()
        now = self.until(lambda s: s["samples"] >= 3)
        self.assertTrue(now["fields"])
        # What was on its way when it began went to the old one, nothing later.
        self.assertLessEqual(len(old.requests), before + 1)
        self.assertGreaterEqual(len(self.hops["feat", "front"].requests), 3)

    def test_another_endpoint_below_the_baseline(self):
        self.at_work()
        self.add_hop("main", "store")
        self.begun_anew(self.change())

    def test_a_provider_more_in_the_candidate(self):
        self.at_work()
        self.add_hop("feat", "store")
        self.begun_anew(self.change())
        self.until(lambda s: s["samples"] >= 1)
        self.assertTrue(self.log("feat", "store"))

    def test_changes_elsewhere_leave_it(self):
        self.at_work()
        other = self.closes(Nobody())
        at = self.session()["samples"]
        now = self.change("---\n" + overlay("other", front=other.address))
        self.assertEqual((1, "running"), (now["run"], now["state"]))
        self.assertGreaterEqual(now["samples"], at)
        self.agent.post("/env/create", name="mine", set=f"front={other.address}")
        self.agent.post("/env/delete", name="mine")
        self.assertEqual(1, self.session()["run"])
        self.until(lambda s: s["samples"] >= at + 3)

    def test_a_change_that_is_taken_back_does_not_bring_the_sums_back(self):
        self.at_work()
        first = self.hops["feat", "front"]
        self.add_hop("feat", "front")
        self.begun_anew(self.change())
        self.hops["feat", "front"] = first
        now = self.change()
        self.assertEqual((3, 0), (now["run"], now["samples"]))

    def test_restart_by_command_then_stop_then_restart(self):
        self.at_work()
        status, text = self.agent_ctl("shadow", "restart", "s", "--reason", "new image")
        self.assertEqual(0, status, text)
        self.begun_anew(self.session())
        self.until(lambda s: s["samples"] >= 2)
        self.assertEqual(0, self.agent_ctl("shadow", "stop", "s", "--reason", "enough")[0])
        now = self.session()
        self.assertTrue(ended(now))
        self.assertRegex(now["ended_why"], "enough$")
        self.assertEqual(2, self.agent_ctl("shadow", "verdict", "s")[0])
        self.settled()
        for proxy in (self.proxy, self.mesh_proxy):
            eventually(lambda proxy=proxy: proxy.counters().get("offshoot_capture_sessions") == 0)
        before = len(self.log("feat", "front"))
        self.users(5)
        self.assertEqual(before, len(self.log("feat", "front")))
        self.assertEqual(0, self.agent_ctl("shadow", "restart", "s")[0])
        self.capturing()
        self.assertEqual(3, self.session()["run"])
        self.until(lambda s: s["samples"] >= 1)


class Limits(SystemCase):
    names = ("front",)

    def test_sixteen_sessions_and_no_more(self):
        self.begin()
        for n in range(16):
            self.start_session(f"s-{n}", until="limit")
        given = {"name": "more", "baseline": "main", "candidate": "feat"}
        words = self.agent.refused("/shadow/start", 409, **given)
        self.assertIn("16 sessions run", words)
        status, text = self.agent_ctl("shadow", "start", "more", "--baseline", "main",
                                      "--candidate", "feat")  # fmt: skip
        self.assertEqual(2, status, text)
        self.assertIn("16 sessions run", text)
        # All of them, by one and the same request.
        self.until(lambda _: all(running(self.session(f"s-{n}")) for n in range(16)), "s-0")
        self.agent.post("/shadow/stop", name="s-3")
        self.start_session("more")
        self.assertEqual(17, len(self.agent.get("/sessions")["sessions"]))
        self.assertIn("as many as", self.agent.refused("/shadow/restart", 409, name="s-3"))

    def test_specs_that_cannot_be(self):
        self.provides = {"feat": ("front",), "side": ("front",)}
        self.add_hop("side", "front")
        self.begin()
        self.start_session(until="limit")
        for words, status, params in (
            ("there is no environment 'fet', did you mean 'feat'?", 400, {"candidate": "fet"}),
            ("baseline: there is no environment 'man'", 400, {"baseline": "man"}),
            ("there is no service 'frnt', did you mean 'front'?", 400, {"service": "frnt"}),
            ("there is a session 's'", 409, {"name": "s"}),
            ("secondary: 'side' is no overlay of the baseline 'feat'", 400,
             {"baseline": "feat", "candidate": "main", "secondary": "side"}),
        ):
            with self.subTest(params=params):
                given = {"name": "t", "baseline": "main", "candidate": "feat", **params}
                self.assertIn(words, self.agent.refused("/shadow/start", status, **given))
        self.assertEqual(["s"], [s["name"] for s in self.agent.get("/sessions")["sessions"]])


if __name__ == "__main__":
    unittest.main()
