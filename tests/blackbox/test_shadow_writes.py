"""No mirrored request changes anything: a chain of three services with a write at its end, seen by
the last provider's own log."""

import unittest

from harness import connect, eventually
from shadow_system import ORDINARY, SystemCase, ended, json_reply, running, seen_of


class Writing(SystemCase):
    methods = {"middle": "POST"}
    # A chain goes on when its session has ended.
    linger = ("--shadow-linger", "1s", "--shadow-hop-wait", "300ms")

    def writes(self, env="main"):
        """Flags of the writes that came to the last provider."""
        return [seen.flags for seen in self.log(env, "store", "POST")]

    def only_users_wrote(self):
        """As many as users asked for, none of them dark, none in a dark trace."""
        traces = {f"{n:032x}" for n in range(1, self.asked + 1)}
        for env, name in self.hops:
            if name == "store":
                for seen in self.log(env, name, "POST"):
                    self.assertEqual(ORDINARY, seen.flags, seen)
                    self.assertIn(seen.trace, traces | {""}, seen)
        self.assertEqual(self.asked, len(self.writes()))


class Blocked(Writing):
    def test_writes_of_mirrored_requests_are_answered_by_the_proxy(self):
        self.begin()
        self.start_session(until="limit", samples="6")
        end = self.until(ended)
        self.assertEqual("samples", end["ended_why"])
        self.only_users_wrote()
        self.assertGreater(end["context"]["blocked"], 0)
        # Both roles came as far as the service that would have written.
        self.assertLessEqual({0x0b, 0x0d}, {seen.flags for seen in self.log("main", "middle")})

    def test_the_refusal_says_so(self):
        said = []

        def middle(request, inner):
            said.append((seen_of(request).flags, inner))
            return json_reply({"of": "middle"})

        self.replies["main", "middle"] = middle
        self.begin()
        self.start_session(until="limit")
        self.until(running)
        self.assertEqual([{"status": 409}] * 3, [i for flags, i in said if flags == 0x0d][:3])
        token = next(seen.request.get("x-offshoot-context")
                     for seen in self.log("main", "middle") if seen.flags == 0x0d)  # fmt: skip
        with connect(self.mesh) as stream:
            reply = self.ask(stream, "POST", fields=[("x-offshoot-context", token)], host="store")
        self.asked -= 1
        self.assertEqual((409, "dark-blocked"), (reply.status, reply.get("x-offshoot-error")))
        with connect(self.mesh) as stream:
            grpc = (("x-offshoot-context", token), ("content-type", "application/grpc"),
                    ("te", "trailers"))  # fmt: skip
            reply = self.ask(stream, "POST", fields=grpc, host="store")
        self.asked -= 1
        self.assertEqual(("9", "dark-blocked"),
                         (reply.get("grpc-status"), reply.get("x-offshoot-error")))
        self.only_users_wrote()

    def test_a_candidate_writes_to_its_own_provider_only(self):
        self.add_hop("feat", "store")
        self.begin()
        self.start_session(until="limit", samples="4")
        self.until(ended)
        self.assertEqual({0x0b}, set(self.writes("feat")))
        self.assertEqual({ORDINARY}, set(self.writes()))
        self.assertEqual(self.asked, len(self.writes()))

    def test_a_baseline_that_is_an_overlay_is_not_written_to(self):
        for name in self.names:
            self.add_hop("live", name)
        self.parents = {"feat": "live"}
        self.begin()
        self.start_session(baseline="live", until="limit", samples="4")
        token = ("x-offshoot-context", "v1m.live.0.00")
        with connect(self.mesh) as stream:
            for _ in range(1500):
                self.assertEqual(200, self.ask(stream, fields=[token]).status)
                if ended(self.session()):
                    break
        self.settled()
        self.assertEqual("samples", self.session()["ended_why"])
        self.assertEqual([ORDINARY] * self.asked, self.writes("live"))
        self.assertEqual([], self.writes())


class Safe(Writing):
    specs = {"store": "state: none, shadow: safe"}

    def test_writes_pass_where_the_service_says_that_they_may(self):
        self.begin()
        self.start_session(until="limit", samples="4")
        end = self.until(ended)
        self.assertEqual("samples", end["ended_why"])
        self.assertLessEqual({ORDINARY, 0x0b, 0x0d}, set(self.writes()))
        self.assertEqual(0, end["context"]["blocked"])


class Lost(Writing):
    """Who drops the context is found out, and writes nothing meanwhile."""

    def lost_at(self, name):
        end = self.until(ended)
        self.assertEqual("inconclusive", end["verdict"], end)
        self.assertRegex(end["ended_why"], f"^context-lost: .*'{name}'")
        self.assertEqual("lost", end["context"]["state"])
        self.settled()
        return end

    def test_baggage_dropped_before_the_write(self):
        self.hops["main", "middle"].passes = ("traceparent",)
        self.begin()
        self.start_session()
        self.lost_at("store")
        self.only_users_wrote()

    def test_baggage_dropped_at_the_first_service(self):
        self.hops["main", "front"].passes = ("traceparent",)
        self.begin()
        self.start_session()
        self.lost_at("middle")
        # Their calls went on without a context, and yet in a trace that is known as dark.
        self.only_users_wrote()

    def test_a_candidate_that_drops_it_later(self):
        self.hops["feat", "front"].passes = ("traceparent",)
        self.begin()
        self.start_session()
        end = self.lost_at("middle")
        self.assertGreaterEqual(end["context"]["attempts"], 3)
        self.only_users_wrote()


class Strict(Writing):
    """Nothing at all is passed on: neither context nor trace."""

    def test_requests_without_a_context_are_refused(self):
        self.hops["feat", "front"].passes = ()
        self.begin()
        self.start_session(strict="1", until="limit")
        self.until(running)
        eventually(lambda: (self.users(1), self.log("feat", "front"))[1])
        for _ in range(20):
            self.users(1)
        self.settled()
        self.only_users_wrote()
        lost = self.log("feat", "front")
        came = self.log("main", "middle")
        self.assertGreater(len(lost), 0)
        # Of the candidate's calls none came through.
        self.assertNotIn("", [seen.trace for seen in came if seen.flags == ORDINARY])
        self.assertEqual([], [seen.request.raw for seen in came if seen.flags == 0x0b])

    def test_requests_without_a_context_pass_again_when_the_session_is_over(self):
        self.begin()

        def status():
            with connect(self.mesh) as stream:
                return stream.ask(b"GET / HTTP/1.1\r\nhost: middle\r\n\r\n").status

        self.start_session(strict="1")
        self.assertNotEqual(200, status())
        self.agent.post("/shadow/stop", name="s")
        eventually(lambda: status() == 200)


class CanaryFirst(Writing):
    provides = {"feat": ("front", "middle", "store"), "twin": ("front", "middle", "store")}
    methods = {}

    def test_no_write_is_mirrored_before_the_context_is_proved(self):
        self.begin()
        self.start_session(secondary="twin", until="limit")
        self.users(10, "POST")
        self.settled()
        self.assertEqual([], self.log("feat", "front"))
        self.assertEqual([], self.log("twin", "front"))
        eventually(lambda: self.session()["dropped"].get("method") == 10)
        self.until(running)
        self.assertEqual({"GET"}, {seen.method for seen in self.log("twin", "front")})
        self.users(3, "POST")
        eventually(lambda: len(self.log("twin", "front", "POST")) == 3)
        eventually(lambda: len(self.log("feat", "front", "POST")) == 3)
        self.assertEqual({ORDINARY}, {seen.flags for seen in self.log("main", "front")})


if __name__ == "__main__":
    unittest.main()
