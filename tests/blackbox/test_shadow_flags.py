"""What the providers' own logs say of mirrored requests in a chain of three services: who reached
which with what context, credentials and keys, and which methods."""

import unittest

from harness import eventually
from shadow_system import ORDINARY, SystemCase, ended, running

SECONDARY, CANDIDATE = 0x0D, 0x0B  # dark, role, no effects
ROLES = {SECONDARY: "main", CANDIDATE: "feat"}
GIVEN = (("Authorization", "Bearer abc"), ("Cookie", "sid=1"), ("Idempotency-Key", "k-1"),
         ("X-Own", "mine"))  # fmt: skip


class Chain(SystemCase):
    provides = {"feat": ("front", "store")}

    def mirrored(self, n=5, **params):
        """A session to its nth sample; what came to each provider is in its log then."""
        self.begin()
        self.start_session(until="limit", samples=str(n), **params)
        end = self.until(ended, fields=GIVEN)
        self.assertEqual("samples", end["ended_why"])
        self.settled()

    def of(self, flags, env, name):
        return [seen for seen in self.log(env, name) if seen.flags == flags]


class Reach(Chain):
    def test_both_roles_reach_each_hop_in_their_environments(self):
        self.mirrored()
        at = {SECONDARY: ("main", "main", "main"), CANDIDATE: ("feat", "main", "feat")}
        ids = {}
        for flags, envs in at.items():
            for env, name in zip(envs, self.names):
                seen = self.of(flags, env, name)
                self.assertEqual({ROLES[flags]}, {s.env for s in seen}, (env, name))
                # One trace through all three, each request in one of its own.
                traces = [s.trace for s in seen]
                self.assertEqual(len(traces), len(set(traces)))
                self.assertEqual(ids.setdefault(flags, set(traces)), set(traces), (env, name))
                self.assertGreaterEqual(len(traces), 5)
        users = {f"{n:032x}" for n in range(1, self.asked + 1)}
        self.assertFalse(ids[SECONDARY] & ids[CANDIDATE])
        self.assertFalse((ids[SECONDARY] | ids[CANDIDATE]) & users)
        # And nobody else came anywhere.
        self.assertEqual([], self.of(SECONDARY, "feat", "front"))
        self.assertEqual({ORDINARY, SECONDARY}, {s.flags for s in self.log("main", "front")})
        self.assertEqual({CANDIDATE}, {s.flags for s in self.log("feat", "front")})
        for name in self.names:
            ordinary = {s.trace for s in self.of(ORDINARY, "main", name)}
            self.assertEqual(users, ordinary, name)

    def test_requests_are_the_users_but_for_credentials_and_keys(self):
        self.mirrored()
        for flags, env, suffix in ((SECONDARY, "main", "secondary"),
                                   (CANDIDATE, "feat", "candidate")):  # fmt: skip
            for seen in self.of(flags, env, "front"):
                self.assertEqual(["mine"], seen.request.all("x-own"))
                self.assertEqual([f"k-1-{suffix}"], seen.request.all("idempotency-key"))
                self.assertEqual("front", seen.request.get("host"))
                self.assertRegex(seen.target, r"\A/items/\d+\Z")
                secret = ([], []) if flags == CANDIDATE else (["Bearer abc"], ["sid=1"])
                have = seen.request.all("authorization"), seen.request.all("cookie")
                self.assertEqual(secret, have)

    def test_credentials_are_forwarded_when_the_session_says_so(self):
        self.mirrored(credentials="forward")
        for seen in self.of(CANDIDATE, "feat", "front"):
            self.assertEqual((["Bearer abc"], ["sid=1"]),
                             (seen.request.all("authorization"), seen.request.all("cookie")))

    def test_headers_of_the_session_take_the_place_of_the_users(self):
        self.mirrored(header=["Authorization: Bearer test", "X-Own: ours"])
        for flags, env in ((SECONDARY, "main"), (CANDIDATE, "feat")):
            for seen in self.of(flags, env, "front"):
                self.assertEqual((["Bearer test"], ["ours"]),
                                 (seen.request.all("authorization"), seen.request.all("x-own")))

    def test_a_rate_takes_whole_chains(self):
        self.begin()
        self.start_session(until="limit", rate="30", service=list(self.names))
        self.until(running)
        self.users(60)
        self.settled()

        def whole():
            session = self.session()
            hops = {hop["service"]: hop["sampled"] for hop in session["context"]["hops"]}
            # The same traces at each service; two proxies tell of them, each in its own time.
            self.assertEqual(1, len(set(hops.values())), (hops, session["dropped"]))
            return hops

        sampled = eventually(whole)
        self.assertGreater(sampled["front"], 0)
        self.assertLess(sampled["front"], self.asked)


class Methods(Chain):
    def test_unsafe_methods_are_not_mirrored(self):
        self.begin()
        self.start_session(until="limit")
        self.until(running)
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            self.users(3, method, body=b"{}")
        before = self.settled()["samples"]
        self.until(lambda s: s["samples"] >= before + 3)
        for hop in self.hops.values():
            dark = {s.method for s in hop.seen() if s.flags != ORDINARY}
            self.assertEqual({"GET"}, dark | {"GET"})
        # HEAD is safe.
        self.users(3, "HEAD")
        eventually(lambda: "HEAD" in {s.method for s in self.log("feat", "front")})


class Secondary(SystemCase):
    provides = {"feat": ("front", "middle", "store"), "twin": ("front", "middle", "store")}
    specs = {n: "state: isolated" for n in SystemCase.names}
    methods = {"front": "POST", "middle": "POST"}

    def test_writes_go_to_environments_of_their_own(self):
        self.begin()
        self.start_session(secondary="twin", until="limit", samples="12")
        self.until(running)
        self.users(5, "POST", body=b"{}")
        end = self.until(ended)
        self.assertEqual("samples", end["ended_why"])
        self.settled()
        for name in self.names:
            self.assertEqual({SECONDARY}, {s.flags for s in self.log("twin", name)}, name)
            self.assertEqual({"twin"}, {s.env for s in self.log("twin", name)}, name)
            self.assertEqual({CANDIDATE}, {s.flags for s in self.log("feat", name)}, name)
            self.assertEqual({ORDINARY}, {s.flags for s in self.log("main", name)}, name)
            self.assertEqual(self.asked, len(self.log("main", name)))
        for env in ("twin", "feat"):
            self.assertEqual(5, len(self.log(env, "front", "POST")), env)
            bodies = {s.request.body for s in self.log(env, "front", "POST")}
            self.assertEqual({b"{}"}, bodies, env)


if __name__ == "__main__":
    unittest.main()
