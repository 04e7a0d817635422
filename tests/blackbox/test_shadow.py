"""Sessions of mirroring with a real agent, a real proxy and providers that ask each other."""

import json
import re
import signal
import unittest
from base64 import b64encode

from graphs import overlay
from harness import eventually
from shadow_case import ShadowCase, dark


def ended(session):
    return session["state"] == "ended"


class TestVerdicts(ShadowCase):
    def test_equal_candidate_passes(self):
        self.begin()
        answer = self.start_session(service="shop")
        self.assertEqual(("canary", "waiting for traffic"), (answer["state"], answer["why"]))
        end = self.until(ended)
        self.assertEqual(("pass", "decision"), (end["verdict"], end["ended_why"]), end)
        self.assertEqual("proved", end["context"]["state"])
        hops = {hop["service"]: hop for hop in end["context"]["hops"]}
        self.assertEqual({"shop", "cart"}, set(hops))
        for hop in hops.values():
            self.assertGreaterEqual(hop["dark"], 3)
            self.assertEqual(0, hop["lost"])
        self.assertEqual("shop GET /items/{}", end["endpoints"][0]["name"])
        self.assertEqual(end["samples"], end["endpoints"][0]["pairs"])
        self.assertEqual([], end["fields"])
        roles = [dark(r) for r in self.new_shop.requests]
        self.assertEqual({0x0b}, set(roles))  # dark, candidate, no effects
        self.assertIn(0x0d, [dark(r) for r in self.shop.requests])  # dark, secondary, no effects
        self.assertGreaterEqual(len(roles), end["samples"])
        self.assertEqual({"s": "pass"}, self.agent.get("/verdicts"))

    def test_regression_fails_with_field_and_example(self):
        self.candidate_reply = lambda n: {"total": 8 if n % 2 else 7, "cart": {"cart": 3}}
        self.begin()
        self.start_session()
        end = self.until(ended)
        self.assertEqual("fail", end["verdict"], end)
        self.assertIn("body.total", end["why"])
        worst = end["fields"][0]
        self.assertEqual(("shop GET /items/{}", "body.total", "value"),
                         (worst["endpoint"], worst["path"], worst["kind"]))  # fmt: skip
        example = worst["examples"][0]
        self.assertEqual(("7", "7", "8"),
                         tuple(example[k] for k in ("primary", "secondary", "candidate")))
        self.assertRegex(example["trace"], r"\A[0-9a-f]{32}\Z")
        text = self.agent.program.admin("/sessions/s").body.decode()
        self.assertIn("primary 7 | secondary 7 | candidate 8", text)

    def test_ignored_field_does_not_count(self):
        self.candidate_reply = lambda n: {"total": 8, "cart": {"cart": 3}}
        self.begin()
        self.start_session(ignore="body.total")
        self.assertEqual("pass", self.until(ended)["verdict"])

    def test_session_ends_at_its_number_of_samples(self):
        self.begin()
        self.start_session(samples="5", until="limit")
        end = self.until(ended)
        self.assertEqual(("samples", 5), (end["ended_why"], end["samples"]))


class TestContext(ShadowCase):
    def test_service_that_drops_the_baggage_is_found_and_nothing_is_written(self):
        self.passes = ("traceparent",)
        self.inner_method = "POST"
        self.begin()
        self.start_session()
        end = self.until(ended)
        self.assertEqual("inconclusive", end["verdict"])
        self.assertRegex(end["ended_why"], "^context-lost: .*'cart' at proxy 'gw-1'")
        self.assertEqual("lost", end["context"]["state"])
        self.assertEqual(0, end["samples"])
        # Only the users' own requests wrote anything.
        self.assertEqual(self.asked, len(self.cart.of("POST")))
        self.assertEqual([], self.new_shop.requests)


class TestLife(ShadowCase):
    def test_session_goes_on_after_a_kill_of_the_agent(self):
        self.candidate_reply = lambda n: {"total": 7 + n % 2, "cart": {"cart": 3}}
        self.begin()
        self.start_session(service="shop", until="limit", samples="40")
        before = self.until(lambda s: s["samples"] >= 10)
        self.agent.kill()
        self.agent.restart()
        after = self.session()
        self.assertEqual((before["id"], 1, "canary"), (after["id"], after["run"], after["state"]))
        self.assertGreaterEqual(after["samples"], before["samples"])
        self.assertEqual("body.total", after["fields"][0]["path"])
        self.assertEqual(before["fields"][0]["examples"][0].keys(),
                         after["fields"][0]["examples"][0].keys())  # fmt: skip
        self.assertIsNotNone(after["latency"]["candidate"]["p50_us"])
        self.capturing()
        self.assertEqual("fail", self.until(ended)["verdict"])
        self.agent.restart()
        self.assertEqual(("ended", "fail", 40),
                         tuple(self.session()[k] for k in ("state", "verdict", "samples")))

    def test_change_of_what_it_resolves_to_begins_a_new_run(self):
        self.begin()
        self.start_session(until="limit")
        self.until(lambda s: s["samples"] >= 5)
        self.agent.post("/env/create", name="other", reason="touches nothing of it")
        self.assertEqual(1, self.session()["run"])
        graph = self.graph().replace(self.new_shop.address, self.shop.address)
        self.write("graph-0.yaml", graph)
        self.agent.post("/reload")
        now = self.session()
        self.assertEqual((2, "canary", 0), (now["run"], now["state"], now["samples"]))
        self.until(lambda s: s["samples"] >= 2)

    def test_restart_and_stop(self):
        self.begin()
        self.start_session(until="limit")
        self.until(lambda s: s["samples"] >= 3)
        now = self.agent.post("/shadow/restart", name="s", reason="new image")
        self.assertEqual((2, 0), (now["run"], now["samples"]))
        now = self.agent.post("/shadow/stop", name="s", reason="enough")
        self.assertEqual("ended", now["state"])
        self.assertRegex(now["ended_why"], r"^stopped: uid \d+: enough$")
        self.assertIn("has ended already", self.agent.refused("/shadow/stop", 409, name="s"))
        eventually(lambda: self.agent.get("/status")["shadow"]["capture_streams"] == 0)
        sent = len(self.new_shop.requests)
        self.users(3)
        self.assertEqual(sent, len(self.new_shop.requests))
        now = self.agent.post("/shadow/restart", name="s")
        self.assertEqual((3, "canary"), (now["run"], now["state"]))

    def test_dark_requests_are_signed_and_keys_are_read_again(self):
        keys = self.write("keys", f"one {b64encode(b'1' * 32).decode()}\n")
        keys.chmod(0o600)
        self.begin("--keys", keys, proxy=("--keys", keys))
        self.start_session(until="limit")
        self.until(lambda s: s["samples"] >= 3)
        signed = [r[2]["x-offshoot-context"].split(".")[5] for r in self.new_shop.requests]
        self.assertEqual({"one"}, set(signed))
        keys.write_text(f"two {b64encode(b'2' * 32).decode()}\n")
        for program in (self.proxy, self.agent.program):
            program.signal(signal.SIGHUP)
        before = self.session()["samples"]
        now = self.until(lambda s: s["samples"] >= before + 3)
        self.assertEqual("running", now["state"])
        last = self.new_shop.requests[-1][2]["x-offshoot-context"]
        self.assertEqual("two", last.split(".")[5])

    def test_candidate_that_goes_ends_it(self):
        self.begin()
        self.agent.post("/env/create", name="mine", set=f"shop={self.new_shop.address}")
        self.start_session(candidate="mine")
        self.agent.post("/env/delete", name="mine")
        now = self.session()
        self.assertEqual("ended", now["state"])
        self.assertIn("environment-gone: candidate", now["ended_why"])


class TestMisuse(ShadowCase):
    def refused_start(self, status, words, **params):
        given = {"name": "s", "baseline": "main", "candidate": "feat", **params}
        given = {k: v for k, v in given.items() if v is not None}
        self.assertIn(words, self.agent.refused("/shadow/start", status, **given))

    def test_bad_parameters_are_named(self):
        self.begin()
        for words, params in (
            ("name: say name=NAME", {"name": None}),
            ("name: want a name", {"name": "A b"}),
            ("candidate: there is no environment 'faet', did you mean 'feat'?",
             {"candidate": "faet"}),
            ("service: there is no service 'crt', did you mean 'cart'?", {"service": "crt"}),
            ("rate: want a percentage", {"rate": "101"}),
            ("samples: want a number", {"samples": "0"}),
            ("for: want a time", {"for": "1ms"}),
            ("epsilon: want a number", {"epsilon": "0.6"}),
            ("path: want a prefix", {"path": "items"}),
            ("credentials: want strip or forward", {"credentials": "yes"}),
            ("header: want NAME:VALUE", {"header": "no colon"}),
            ("header: want NAME:VALUE", {"header": "baggage: a=b"}),
            ("through: ", {"through": "nowhere"}),
            ("secondary: 'main' is no overlay of the baseline 'feat'",
             {"baseline": "feat", "secondary": "main"}),
        ):
            with self.subTest(params=params):
                self.refused_start(400, words, **params)
        self.assertEqual([], self.agent.get("/sessions")["sessions"])

    def test_secondary_needs_providers_of_its_own(self):
        stateful = self.graph().replace("hosts: [cart], state: none", "hosts: [cart]")
        more = "---\n" + overlay("twin", shop=self.shop.address)
        self.graph = lambda: stateful + more
        self.begin()
        self.refused_start(400, "secondary: service 'cart' has state", secondary="twin")

    def test_names_and_limits(self):
        self.begin("-c", self.write("agent.yaml", "shadow: {sessions: 1}\n"))
        self.start_session()
        self.refused_start(409, "name: there is a session 's'")
        self.refused_start(409, "as many as shadow.sessions allows", name="t")
        for path in ("/shadow/stop", "/shadow/restart"):
            self.assertIn("did you mean 's'?", self.agent.refused(path, 404, name="ss"))
        self.assertIn("did you mean 's'?", self.agent.refused("/sessions/ss", 404, "GET"))
        self.assertIn("fields: want", self.agent.refused("/sessions/s", 400, "GET", fields="0"))
        listed = self.agent.get("/sessions")["sessions"]
        self.assertEqual(["s"], [s["name"] for s in listed])
        self.assertNotIn("fields", listed[0])

    def test_secret_of_a_header_is_shown_nowhere(self):
        self.begin(proxy=("-c", self.write("proxy.yaml", "capture: {grace: 1s}\n")))
        answer = self.start_session(header="Authorization: Bearer topsecret")
        self.assertEqual(["authorization"], answer["spec"]["headers"])
        self.until(lambda s: s["samples"] >= 2)
        sent = {k.lower(): v for k, v in self.new_shop.requests[0][2].items()}
        self.assertEqual("Bearer topsecret", sent["authorization"])
        self.assertNotIn("topsecret", json.dumps(self.session()))
        self.assertNotIn("topsecret", self.agent.program.errors())
        journal = list(self.folder.rglob("shadow/s/*"))
        self.assertTrue(journal)
        for path in journal:
            self.assertNotIn(b"topsecret", path.read_bytes())
        self.agent.restart()
        self.assertRegex(self.session()["ended_why"], "^headers: ")
        self.assertTrue(re.search("headers", self.agent.refused("/shadow/restart", 400, name="s")))


if __name__ == "__main__":
    unittest.main()
