"""How a proxy comes to tell an agent of traffic, and what it does when it cannot: judged by an
agent that shares no code with it."""

import signal
import time
import unittest

import grpc

from fake_agent import HISTORY, FakeAgent, Graph
from fake_capture import CaptureCase, session
from harness import eventually


class Asking(CaptureCase):
    def test_streams_come_with_the_first_session_and_go_with_the_last(self):
        self.begin()
        self.assertTrue(self.agent.calls.empty())
        self.assertNotIn(b"capture", self.proxy.admin("/status").body)
        self.ask_for(session(7))
        calls = self.agent.both()
        self.assertEqual([("gw-1", 0), ("gw-1", 1)], [(c.node, c.worker) for c in calls])
        self.until(sessions=1, up=2, version=1)
        self.assertEqual((1, 2, 0), tuple(map(self.gauge, ("sessions", "up", "queued_bytes"))))
        self.assertIn(b"capture       1 session, 2 of 2 workers connected",
                      self.proxy.admin("/status").body)  # fmt: skip
        self.ask_for()
        for call in calls:
            self.assertTrue(call.half_closed.wait(10))
        self.until(sessions=0, up=0)
        self.assertEqual((0, 0), (self.gauge("sessions"), self.gauge("losses_total")))

    def test_a_change_of_sessions_keeps_the_streams(self):
        self.begin()
        self.ask_for(session(1))
        calls = self.agent.both()
        self.until(sessions=1, up=2)
        self.ask_for(session(1), session(2, services=["shop"], paths=["/a"]))
        self.until(sessions=2, up=2, version=2)
        self.assertFalse(any(call.over.is_set() for call in calls))
        self.assertEqual(0, self.gauge("losses_total"))

    def test_sessions_again_while_the_last_ones_are_being_left(self):
        self.begin()
        for n in range(10):
            self.ask_for(session(n + 1))
            self.ask_for()
        self.ask_for(session(99))
        self.until(sessions=1, up=2, version=21)
        self.ask_for()
        self.until(sessions=0, up=0)

    def test_no_sessions_need_no_connection(self):
        self.begin()
        self.ask_for()
        self.sync.heartbeat()
        eventually(lambda: self.proxy.counters().get("offshoot_agent_connected"))
        self.until(sessions=0, up=0)
        self.assertTrue(self.agent.calls.empty())

    def test_rules_that_are_wrong_change_nothing(self):
        self.begin()
        self.ask_for(session(1))
        calls = self.agent.both()
        self.until(sessions=1, up=2)
        wrong = (
            ([session(1), session(1)], "session 2: id 1 is that of session 1"),
            ([session(0)], "session 1: id: 0 is none"),
            ([session(2, baseline="Main")], "session 1: baseline: not a name"),
            ([session(2, rate_ppm=1000001)], "session 1: rate_ppm"),
            ([session(n + 1) for n in range(17)], "17 sessions, 16 may be told"),
        )
        for n, (sessions, words) in enumerate(wrong, 1):
            self.ask_for(*sessions)
            eventually(lambda n=n: self.gauge("rules_refused_total") == n)
            if n <= 5:
                self.assertIn(words, self.proxy.errors())
        self.ask_for(session(3), key=b"short")
        eventually(lambda: self.gauge("rules_refused_total") == len(wrong) + 1)
        self.until(sessions=1, up=2, version=1)
        self.ask_for(session(3))
        self.until(sessions=1, up=2, version=self.version)
        self.assertFalse(any(call.over.is_set() for call in calls))
        self.assertEqual(1, len(self.agent.open))  # the Sync stream is the first one still
        self.assertEqual(200, self.ask(self.proxy).status)

    def test_the_proxy_ends_while_sessions_run(self):
        self.begin()
        self.ask_for(session(1))
        calls = self.agent.both()
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)
        for call in calls:
            self.assertTrue(call.over.wait(10))

    def test_rules_before_the_first_graph_are_in_force_with_it(self):
        self.proxy = self.start_fed()
        self.sync = self.agent.stream()
        self.ask_for(session(1))
        self.sync.put(Graph.shop(self.provider().address), HISTORY)
        self.proxy.wait_ready()
        self.agent.both()
        self.until(sessions=1, up=2)

    def test_the_wait_for_the_first_graph_ends_with_rules_there(self):
        proxy = self.start_fed()
        self.sync = self.agent.stream()
        self.ask_for(session(1))
        proxy.line("the agent asks for captured traffic", stream="stderr")
        proxy.signal(signal.SIGTERM)
        self.expect_exit(proxy, 0)


class Losing(CaptureCase):
    def test_a_stream_that_the_agent_ends_is_opened_again_after_a_wait(self):
        self.begin(conf="agentBackoff: {first: 400ms, max: 800ms}\n")
        self.ask_for(session(1))
        first, _ = self.agent.both()
        begun = time.monotonic()
        first.finish(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much\x07")
        again = self.agent.call()
        self.assertEqual(0, again.worker)
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)
        self.proxy.line(r"ended a stream of captured traffic \(RESOURCE_EXHAUSTED: too much\?\)",
                        stream="stderr")  # fmt: skip
        self.until(up=2, last_loss="RESOURCE_EXHAUSTED: too much?")
        self.assertEqual(1, self.gauge("losses_total"))

    def test_an_agent_that_does_not_know_the_service(self):
        self.agent.close()
        self.agent = self.closes(FakeAgent())
        self.begin()
        self.ask_for(session(1))
        eventually(lambda: self.gauge("losses_total") >= 4)
        self.assertEqual(0, self.gauge("up"))
        self.assertEqual(1, self.proxy.errors().count("ended a stream of captured traffic"))
        self.assertEqual(200, self.ask(self.proxy).status)

    def test_sessions_outlive_a_short_loss_of_the_agent(self):
        self.begin()
        self.ask_for(session(1))
        self.agent.both()
        self.until(up=2)
        self.agent.stop()
        self.until(sessions=1, up=0)
        self.agent.start()
        self.sync = self.agent.stream()
        self.assertEqual({0, 1}, {call.worker for call in self.agent.both()})
        self.ask_for(session(1))
        self.until(sessions=1, up=2)

    def test_sessions_go_when_the_agent_does_not_tell_of_them_again(self):
        self.begin(conf="capture: {grace: 300ms}\n")
        self.ask_for(session(1))
        self.agent.both()
        self.agent.stop()
        self.until(sessions=0, up=0)
        self.proxy.line("the agent has not told of its sessions again", stream="stderr")
        self.agent.start()
        self.sync = self.agent.stream()
        self.assertEqual(200, self.ask(self.proxy).status)
        self.ask_for(session(2))
        self.agent.both()
        self.until(sessions=1, up=2)

    def test_an_agent_that_comes_back_without_sessions(self):
        self.begin(conf="capture: {grace: 2s}\n")
        self.ask_for(session(1))
        self.agent.both()
        self.agent.stop()
        self.agent.start()
        self.sync = self.agent.stream()
        calls = self.agent.both()
        for call in calls:
            self.assertTrue(call.half_closed.wait(10))
        self.until(sessions=0, up=0)


if __name__ == "__main__":
    unittest.main()
