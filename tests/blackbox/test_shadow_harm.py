"""Users notice nothing of a session, whatever becomes of the agent, of the way of mirrored requests
and of the candidate: each reply as it was, in time, none lost; what is lost is counted."""

import signal
import socket
import threading
import time
import unittest

from fakes import Nobody, Provider
from harness import connect, eventually, sanitized
from shadow_system import SystemCase, json_reply, running

MIB = 1 << 20
REQUESTS = 120
IN_TIME = 5.0  # seconds on a loaded machine; what hangs takes longer by far
AGENT_YAML = "shadow: {timeout: %s, inFlight: 8, bytes: 4MiB}\n"
PROXY_YAML = "capture: {bytes: 1MiB}\nagentBackoff: {first: 10ms, max: 50ms}\n"
BODY = "x" * 20_000


def mute(stream):
    """Takes all, says nothing."""
    stream.timeout = 3600.0
    while stream.sock.recv(65536):
        pass


class Harm(SystemCase):
    names = ("front",)

    def setUp(self):
        super().setUp()
        self.replies["main", "front"] = self.reply

    def reply(self, request, _):
        return json_reply({"path": request.target, "body": BODY}, fields=[("x-own", "1")])

    def begin(self, timeout="10s", *flags):
        super().begin("-c", self.write("agent.yaml", AGENT_YAML % timeout), *flags,
                      proxy=("-c", self.write("proxy.yaml", PROXY_YAML)))  # fmt: skip

    def unharmed(self, n=REQUESTS):
        """n users, each with the reply that they would have without us."""
        with connect(self.proxy.ready["listen"][0], IN_TIME) as stream:
            for _ in range(n):
                begun = time.monotonic()
                reply = self.ask(stream)
                self.assertLess(time.monotonic() - begun, IN_TIME)
                want = self.reply(unharmed_request(self.asked), None).split(b"\r\n\r\n", 1)[1]
                self.assertEqual((200, "1", want), (reply.status, reply.get("x-own"), reply.body))
        users = [seen for seen in self.log("main", "front") if seen.flags == 0]
        self.assertEqual(self.asked, len(users))

    def dropped(self, proxy, reason):
        return proxy.counters().get("offshoot_capture_dropped_total", reason=reason)

    def bounded(self, program, before):
        if not sanitized():  # which keep what was freed
            self.assertLess(program.resident_bytes() - before, 32 * MIB, program.name)


class unharmed_request:
    def __init__(self, n):
        self.target = f"/items/{n}"


class OfTheAgent(Harm):
    def test_agent_stopped(self):
        self.begin()
        self.start_session(until="limit")
        self.until(running)
        before = self.proxy.resident_bytes()
        self.agent.program.signal(signal.SIGSTOP)
        try:
            self.unharmed(4 * REQUESTS)
            self.bounded(self.proxy, before)
            self.assertGreater(self.dropped(self.proxy, "memory"), 0)
        finally:
            self.agent.program.signal(signal.SIGCONT)
        at = self.session()["samples"]
        self.until(lambda s: s["samples"] > at)
        self.assertGreater(self.settled()["dropped"]["memory"], 0)

    def test_agent_killed(self):
        self.begin()
        self.start_session(until="limit")
        self.until(running)
        self.agent.kill()
        eventually(lambda: (self.unharmed(5), self.dropped(self.proxy, "disconnected"))[1])
        self.unharmed()
        self.agent.restart()
        self.capturing()
        self.until(running)


class OfTheWay(Harm):
    def test_way_of_mirrored_requests_hangs(self):
        # Connections are taken by the kernel, and nobody reads them.
        silent = self.closes(socket.create_server(("127.0.0.1", 0), backlog=8))
        self.begin("300ms")
        self.start_session(until="limit", through=f"127.0.0.1:{silent.getsockname()[1]}")
        before = self.agent.program.resident_bytes()
        self.unharmed(3 * REQUESTS)
        eventually(lambda: (self.unharmed(1), self.session()["dropped"])[1])
        self.bounded(self.agent.program, before)
        self.assertEqual(0, self.session()["samples"])

    def test_way_of_mirrored_requests_is_dead(self):
        nobody = self.closes(Nobody())
        self.begin()
        self.start_session(until="limit", through=nobody.address)
        self.unharmed()
        dropped = eventually(lambda: self.session()["dropped"])
        self.assertIn("connection", dropped)
        self.assertEqual(0, self.session()["samples"])


class OfTheCandidate(Harm):
    def candidate(self, provider):
        self.hops["feat", "front"] = self.closes(provider)

    def fails(self, headline):
        end = self.until(lambda s: s["verdict"] == "fail")
        self.assertIn(f"headline {headline}", end["why"])
        self.assertEqual("decision", end["ended_why"])

    def test_candidate_is_dead(self):
        self.candidate(Nobody())
        self.begin()
        self.start_session()
        self.until(running)
        self.unharmed(20)
        self.fails("transport-error")

    def test_candidate_never_answers(self):
        self.candidate(Provider(mute))
        self.begin("300ms")
        self.start_session()
        self.until(running)
        before = self.agent.program.resident_bytes()
        self.unharmed()
        # More than may be on their way: the others are counted.
        self.assertGreater(self.session()["dropped"]["in-flight"], 0)
        self.fails("timeout")
        self.bounded(self.agent.program, before)

    def test_candidate_is_slow(self):
        slow = threading.Event()

        def late(request, _):
            slow.wait(0.1)
            return self.reply(request, None)

        self.replies["feat", "front"] = late
        self.begin()
        self.start_session()
        self.until(running)
        self.unharmed()
        self.fails("latency")


if __name__ == "__main__":
    unittest.main()
