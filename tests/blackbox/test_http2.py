"""HTTP/2 as clients and providers meet it: streams routed each on its own, few connections to a
provider, what is said again elsewhere and what never is, the end of a connection."""

import re
import signal
import threading
import unittest

import http2
from fakes import fixed
from graphs import baseline, gateway, graph_of, overlay, service
from harness import ProxyCase, eventually, request_bytes
from http1 import connect
from http2 import INITIAL_WINDOW, MAX_STREAMS, REFUSED_STREAM, fixed2, goaway, rst_stream
from live import few

SERVICE = graph_of(
    service("web", "port: 80, providerProtocol: http%d"),
    baseline(web="%s"),
    gateway({"/": "web"}, "overlayAccess: public, select: [{header: x-env}]"),
)
OVERLAY = overlay("%s", web="%s")


class Http2(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, address, version=2, conf="{}\n", **options):
        self.write("proxy.yaml", conf)
        self.proxy = self.start_proxy(SERVICE % (version, address), "-c", "proxy.yaml", **options)
        return self.proxy

    def http2(self, **options):
        return self.closes(http2.connect(self.proxy.address, **options))

    def counter(self, name, **labels):
        return self.proxy.counters().get(name, **labels)

    # -- streams

    def test_a_hundred_environments_share_a_connection_and_one_goes(self):
        envs = [f"e{i}" for i in range(100)]
        answer = http2.http2_script(
            lambda server, x: server.answer(x.stream, 200, x.get("x-offshoot-context").encode()))
        provider = self.provider(answer)
        text = SERVICE % (2, provider.address)
        overlays = {e: OVERLAY % (e, provider.address) for e in envs}
        path = self.write("graph.yaml", graph_of(text, *overlays.values()))
        self.proxy = self.start_proxy(path)
        peer = self.http2()
        for turn in range(few(20, 4)):
            if turn == 2:
                del overlays["e50"]
                path.write_text(graph_of(text, *overlays.values()))
                self.proxy.signal(signal.SIGHUP)
                eventually(lambda: self.counter("offshoot_graph_environments") == 100)
            asked = {e: peer.request(fields=[("x-env", e)]) for e in envs}
            for env, n in asked.items():
                x = peer.reply(n)
                if env == "e50" and turn >= 2:
                    self.assertEqual((404, "unknown-environment"),
                                     (x.status, x.get("x-offshoot-error")))
                else:
                    self.assertEqual((200, env), (x.status, x.body.decode().split(".")[1]))
        self.assertEqual([], peer.goaways)

    def test_a_stream_that_stands_still_holds_back_only_itself(self):
        big = b"x" * 300_000
        self.begin(self.provider(fixed(big)).address, version=1)
        peer = self.http2(own=((INITIAL_WINDOW, 1000),))
        slow = peer.request()
        peer.head(slow)
        other = self.http2()
        for _ in range(10):
            self.assertEqual(big, other.ask().body)
        peer.send(http2.window_update(slow, len(big)))
        peer.exchange(slow).window += len(big)
        self.assertEqual(big, peer.reply(slow).body)

    # -- connections to providers

    def test_requests_share_connections_up_to_the_providers_limit(self):
        gate = threading.Event()

        def script(stream):
            stream.timeout = 3600.0
            server = http2.Server(stream, ((MAX_STREAMS, 10),))
            waiting = []
            while True:
                x = server.next_request()
                if x is None:
                    return
                waiting.append(x)
                stream.provider.note(x)
                if gate.is_set() or len(waiting) == 10:
                    gate.wait(20)
                    for w in waiting:
                        server.answer(w.stream)
                    waiting = []

        provider = self.provider(script)
        self.begin(provider.address)
        self.assertEqual(0, provider.accepted)
        peer = self.http2()
        asked = [peer.request()]
        eventually(lambda: provider.accepted == 1)
        asked += [peer.request() for _ in range(29)]
        eventually(lambda: len(provider.requests) >= 10)
        gate.set()
        asked += [peer.request() for _ in range(10)]
        for n in asked:
            self.assertEqual(200, peer.reply(n).status)
        self.assertLessEqual(provider.accepted, 5)
        self.assertEqual(40, len(provider.requests))

    def test_a_refused_stream_is_asked_for_again(self):
        seen = []

        def answer(server, x):
            seen.append(x)
            if len(seen) == 1:
                server.send(rst_stream(x.stream, REFUSED_STREAM))
            else:
                server.answer(x.stream, 200, b"again:" + x.body)

        self.begin(self.provider(http2.http2_script(answer)).address)
        x = self.http2().ask("POST", body=b"once")
        self.assertEqual((200, b"again:once"), (x.status, x.body))
        self.assertEqual(2, len(seen))
        self.assertEqual(1, self.counter("offshoot_retries_total"))

    def test_a_stream_reset_otherwise_is_not(self):
        seen = []

        def answer(server, x):
            seen.append(x)
            server.send(rst_stream(x.stream, http2.INTERNAL_ERROR))

        self.begin(self.provider(http2.http2_script(answer)).address)
        x = self.http2().ask("POST", body=b"once")
        self.assertEqual((502, "bad-reply"), (x.status, x.get("x-offshoot-error")))
        self.assertEqual(1, len(seen))

    def test_requests_above_a_goaway_go_to_another_connection(self):
        def script(stream):
            stream.timeout = 3600.0
            server = http2.Server(stream)
            while True:
                x = server.next_request()
                if x is None:
                    return
                stream.provider.note(x)
                if stream.index == 0 and len(stream.provider.requests) == 3:
                    server.send(goaway(x.stream - 2))
                    continue
                server.answer(x.stream, 200, b"%d" % stream.index)

        provider = self.provider(script)
        self.begin(provider.address)
        peer = self.http2()
        bodies = [peer.ask("POST", body=b"b").body for _ in range(6)]
        self.assertEqual([b"0"] * 2 + [b"1"] * 4, bodies)
        self.assertEqual(7, len(provider.requests))

    def test_a_provider_that_only_speaks_http1_is_a_bad_reply(self):
        def script(stream):
            stream.read_exactly(len(http2.PREFACE))
            stream.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

        self.begin(self.provider(script).address)
        x = self.http2().ask()
        self.assertEqual((502, "bad-reply"), (x.status, x.get("x-offshoot-error")))

    # -- a connection's end

    def test_draining_lets_streams_end_and_says_goodbye(self):
        gate = threading.Event()

        def answer(server, x):
            gate.wait(20)
            server.answer(x.stream, 200, b"late")

        self.begin(self.provider(http2.http2_script(answer)).address)
        peer = self.http2()
        n = peer.request()
        eventually(lambda: self.counter("offshoot_requests") == 1)
        self.proxy.signal(signal.SIGTERM)
        peer.wait(lambda: peer.goaways, "GOAWAY")
        self.assertEqual((2**31 - 1, 0), (peer.goaways[0].last(), peer.goaways[0].code()))
        gate.set()
        self.assertEqual((200, b"late"), (peer.reply(n).status, peer.exchange(n).body))
        peer.read_to_end()
        self.assertEqual(n, peer.goaways[-1].last())
        self.expect_exit(self.proxy, 0)

    def test_an_idle_connection_is_closed_with_goaway(self):
        self.begin(self.provider(fixed2()).address, conf="timeouts: {idle: 300ms}\n")
        peer = self.http2()
        peer.ask()
        peer.read_to_end()
        self.assertEqual([(1, 0)], [(g.last(), g.code()) for g in peer.goaways])

    def test_a_connection_that_owes_its_settings_or_a_head_is_cut(self):
        self.begin(self.provider(fixed2()).address, conf="timeouts: {head: 300ms}\n")
        with connect(self.proxy.address) as stream:
            stream.send(http2.PREFACE)
            stream.read_to_end()
        peer = self.http2()
        peer.ask()
        block = peer.block(http2.request_fields())
        peer.send(http2.headers(peer.new_stream(), block, end=True, end_headers=False))
        peer.judges = False
        peer.read_to_end()
        closes = "offshoot_client_closes_total"
        eventually(lambda: self.counter(closes, reason="head-timeout") == 2)

    def test_half_a_preface_is_no_request(self):
        self.begin(self.provider(fixed2()).address, conf="timeouts: {head: 300ms}\n")
        for text in (b"P", b"PRI * HTTP/2.0\r\n\r\nS", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"):
            with connect(self.proxy.address) as stream:
                stream.send(text)
                reply = stream.read_to_end()
                self.assertRegex(reply, rb"^HTTP/1.1 (400|408|505) ", text)
        with connect(self.proxy.address) as stream:
            stream.send_slowly(request_bytes("POST", body=b"x"))
            self.assertEqual(200, stream.read_reply().status)

    def test_a_preface_in_single_bytes_begins_http2(self):
        self.begin(self.provider(fixed2()).address)
        peer = self.closes(http2.connect(self.proxy.address, greet=False))
        peer.stream.send_slowly(http2.PREFACE + http2.settings(peer.announced))
        self.assertEqual(200, peer.ask().status)

    def test_the_log_and_the_explanation_know_streams(self):
        log = self.folder / "access.log"
        self.write("proxy.yaml", f"accessLog: {{to: {log}}}\n")
        provider = self.provider(fixed2())
        self.proxy = self.start_proxy(SERVICE % (2, provider.address), "-c", "proxy.yaml")
        x = self.http2().ask(path="/seen", fields=[("x-offshoot-explain", "1")])
        self.assertRegex(x.get("x-offshoot-route"), r"^web@main;class=")
        eventually(lambda: re.search(r"/seen", log.read_text()))


if __name__ == "__main__":
    unittest.main()
