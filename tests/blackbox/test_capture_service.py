"""How the agent tells proxies what to capture, and takes what they tell: by a proxy that is not
ours."""

import unittest

import grpc

from graphs import baseline, gateway, graph_of, overlay, service
from harness import eventually
from outside_proxy import OutsideProxy, capture_pb
from shadow_case import SessionCase

EXCHANGES = "/offshoot.v1.Capture/Exchanges"
CODE = grpc.StatusCode
GRAPH = graph_of(
    service("shop"),
    baseline(shop="127.0.0.1:9"),
    overlay("feat", shop="127.0.0.1:10"),
    gateway({"/": "shop"}),
)


def raw(chunk):
    return chunk if isinstance(chunk, bytes) else chunk.SerializeToString()


class CaptureCase(SessionCase):
    def begin(self, *flags, linger="0"):
        self.agent = self.start_agent(GRAPH, "--shadow-through", "127.0.0.1:9",
                                      "--shadow-linger", linger, *flags)  # fmt: skip

    def proxy(self, node="gw-1", features=("graph.1", "routes.1", "capture.1")):
        proxy = self.closes(OutsideProxy(self.agent.listen, node))
        proxy.hello(features=features)
        proxy.catch_up()
        return proxy

    def rules_for(self, node):
        """What a proxy that comes now is told to capture; its graph may come before."""
        proxy = self.closes(OutsideProxy(self.agent.listen, node))
        proxy.hello(features=["graph.1", "routes.1", "capture.1"])
        while True:
            kind, message = proxy.next()
            if kind == "capture_rules":
                return message

    def start_session(self, **params):
        given = {"name": "s", "baseline": "main", "candidate": "feat", **params}
        return self.agent.post("/shadow/start", **given)

    def tell(self, proxy, *chunks):
        """A whole stream of chunks: its status, and its text."""
        call = proxy.channel.stream_unary(EXCHANGES, request_serializer=raw,
                                          response_deserializer=capture_pb.CaptureEnd.FromString)
        try:
            call(iter(chunks), timeout=20)
        except grpc.RpcError as e:
            return e.code(), e.details()
        return CODE.OK, ""

    def counter(self, name, **labels):
        return self.agent.program.counters().get(f"offshoot_capture_{name}", **labels)


class TestRules(CaptureCase):
    def test_proxies_with_the_feature_hear_of_sessions_as_they_come_and_go(self):
        self.begin()
        old = self.proxy("old", features=("graph.1", "routes.1"))
        proxy = self.proxy()
        proxy.nothing(0.2)
        s = self.start_session(service="shop", path="/a", rate="0.5", strict="1")
        rules = proxy.expect("capture_rules")
        told = rules.sessions[0]
        self.assertEqual((s["id"], "main", ["shop"], ["/a"], 5000), (
            told.id, told.baseline, list(told.services), list(told.paths), told.rate_ppm))
        self.assertEqual((False, True, False),
                         (told.unsafe_methods, told.refuse_missing, told.hops_only))  # fmt: skip
        self.assertEqual(16, len(rules.dark_key))
        self.assertEqual(rules, self.rules_for("late"))
        self.start_session(name="t")
        more = proxy.expect("capture_rules")
        self.assertEqual((2, rules.dark_key), (len(more.sessions), more.dark_key))
        self.assertGreater(more.version, rules.version)
        for name, left in (("s", 1), ("t", 0)):
            self.agent.post("/shadow/stop", name=name)
            self.assertEqual(left, len(proxy.expect("capture_rules").sessions))
        self.proxy("new").nothing(0.2)
        old.nothing(0.1)

    def test_sessions_that_have_ended_are_known_and_capture_nothing(self):
        self.begin(linger="1h")
        proxy = self.proxy()
        s = self.start_session(rate="0.5", strict="1")
        self.assertEqual(5000, proxy.expect("capture_rules").sessions[0].rate_ppm)
        self.agent.post("/shadow/stop", name="s")
        for rules in (proxy.expect("capture_rules"), self.rules_for("late")):
            self.assertEqual([(s["id"], 0, False)], [
                (told.id, told.rate_ppm, told.refuse_missing) for told in rules.sessions])

    def test_seed_and_id_stay_when_the_agent_is_started_again(self):
        self.begin()
        proxy = self.proxy()
        self.start_session()
        before = proxy.expect("capture_rules").sessions[0]
        proxy.close()
        self.closing.remove(proxy)
        self.agent.kill()
        self.agent.restart()
        after = self.rules_for("gw-1").sessions[0]
        self.assertEqual((before.id, before.sample_seed), (after.id, after.sample_seed))


class TestStreams(CaptureCase):
    def test_streams_of_proxies_that_did_not_say_hello_are_refused(self):
        self.begin()
        proxy = self.proxy()
        code, text = self.tell(proxy, capture_pb.CaptureChunk(node="gw-2"))
        self.assertEqual(CODE.PERMISSION_DENIED, code)
        self.assertIn("node 'gw-2' did not say Hello", text)
        self.assertEqual((CODE.OK, ""), self.tell(proxy, capture_pb.CaptureChunk(node="gw-1")))
        self.assertEqual(1, self.counter("streams_refused_total", reason="not-known"))

    def test_chunks_that_break_the_contract_end_the_stream(self):
        self.begin()
        proxy = self.proxy()
        end = capture_pb.CaptureEvent(end=capture_pb.ExchangeEnd(id=7))
        for n, (code, words, *chunks) in enumerate((
            (CODE.INVALID_ARGUMENT, "not a CaptureChunk", b"\xff\xff"),
            (CODE.INVALID_ARGUMENT, "does not name the node", capture_pb.CaptureChunk()),
            (CODE.INVALID_ARGUMENT, "event 0: the end of exchange 7",
             capture_pb.CaptureChunk(node="gw-1"), capture_pb.CaptureChunk(events=[end])),
        ), 1):  # fmt: skip
            have, text = self.tell(proxy, *chunks)
            self.assertEqual(code, have, text)
            self.assertIn(words, text)
            self.assertEqual(n, self.counter("streams_refused_total", reason="malformed"))
        self.assertEqual(CODE.RESOURCE_EXHAUSTED, self.tell(proxy, b"x" * (257 << 10))[0])

    def test_sums_of_drops_count_from_stream_to_stream(self):
        self.begin()
        proxy = self.proxy()
        self.start_session()

        def sums(*n):
            drops = capture_pb.CaptureDrops(dropped=n)
            return capture_pb.CaptureChunk(
                node="gw-1", worker=1, events=[capture_pb.CaptureEvent(drops=drops)])

        for chunk in (sums(5, 1, 2), sums(9, 1, 6), sums(0, 2)):  # at last of a new process
            self.assertEqual(CODE.OK, self.tell(proxy, chunk)[0])
        eventually(lambda: self.counter("streams") == 0)
        self.assertEqual(4, self.counter("dropped_total", reason="memory"))
        self.assertEqual(1, self.counter("dropped_total", reason="in-flight"))
        self.assertEqual({"memory": 4, "in-flight": 1},
                         self.agent.get("/sessions/s")["dropped"])  # fmt: skip


if __name__ == "__main__":
    unittest.main()
