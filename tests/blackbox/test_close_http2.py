"""The rows of docs/internals/close-table.md as they look with HTTP/2: on which side a stream is
reset, with which code, and what becomes of the connection. Each test is named by its row."""

import re
import signal
import socket
import threading
import time
import unittest

import http2
from graphs import baseline, gateway, graph_of, overlay, service
from harness import ROOT, BadMessage, Incomplete, ProxyCase, eventually
from http2 import CANCEL, INITIAL_WINDOW, INTERNAL_ERROR, MAX_STREAMS, NO_ERROR, PROTOCOL_ERROR
from test_providers import FullListener

SERVICE = graph_of(
    service("web", "port: 80, providerProtocol: http2, policy: {%(policy)s}"),
    gateway({"/": "web", "/small": "web, maxBody: 1000"},
            "overlayAccess: public, limits: {%(limits)s}, select: [{header: x-env}]"),
    baseline(web="%(endpoint)s"),
)
OVERLAY = overlay("feat", web="%s")
BAD_REPLY = (502, "bad-reply")


def told(x):
    return (x.status, x.get("x-offshoot-error"))


def ready(server, x):
    server.wait(lambda: x.over)
    server.answer(x.stream)


def starts(server, x):
    """A reply that goes on."""
    server.send_head(x.stream, [(":status", "200")])
    server.send_body(x.stream, b"some", end=False)


def breaks(code):
    def handle(server, x):
        server.send(http2.rst_stream(x.stream, code))

    return handle


class CloseCase(ProxyCase):
    """The provider does `handle(server, exchange)` when a request's head is here, and then reads
    on; what it sees is in `seen`, a request each."""

    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")
    own = ()

    def begin(self, handle=ready, conf="", policy="", limits="", endpoint=None, **options):
        self.handle, self.seen = handle, []
        self.behind = self.provider(self.serve)
        self.conf = self.write("proxy.yaml", conf + "\nworkers: 1\n")
        self.text = SERVICE % {"policy": policy, "limits": limits,
                               "endpoint": endpoint or self.behind.address}  # fmt: skip
        self.graph = self.write("graph.yaml", graph_of(self.text, OVERLAY % self.behind.address))
        options.setdefault("listen", ("127.0.0.1:0",))
        self.proxy = self.start_proxy([self.graph], "-c", "proxy.yaml", **options)

    def serve(self, stream):
        stream.timeout = 3600.0
        server = http2.Server(stream, self.own)
        server.judges = False
        while True:
            x = server.next_request(whole=False)
            if x is None:
                return
            self.seen.append(x)
            if self.handle(server, x) is False:
                return

    def http2(self, **options):
        return self.closes(http2.connect(self.proxy.address, **options))

    def counter(self, name, **labels):
        return self.proxy.counters().get(name, **labels)

    def counts(self, name, value=1, **labels):
        eventually(lambda: self.counter(f"offshoot_{name}", **labels) == value,
                   what=f"{name} {labels} is {value}")  # fmt: skip

    def reset_of(self, peer, n):
        """The code with which the stream ends, and its Exchange."""
        x = peer.exchange(n)
        peer.wait(lambda: x.reset is not None, "RST_STREAM")
        return x.reset, x

    def provider_reset(self, code, n=0):
        eventually(lambda: self.seen[n].reset is not None, what="the provider sees a reset")
        self.assertEqual(code, self.seen[n].reset)

    def lives(self, peer):
        """The connection serves on, and nobody said goodbye."""
        self.handle = ready
        self.assertEqual(200, peer.ask().status)
        self.assertEqual([], peer.goaways)

    def refused_then_reset(self, peer, n, status, word):
        """A whole reply of our own, and then the rest of the request is not wanted."""
        code, x = self.reset_of(peer, n)
        self.assertEqual((status, word, NO_ERROR), (*told(x), code))
        self.assertTrue(x.ended)


class Client(CloseCase):
    def test_c1_an_end_between_requests(self):
        self.begin()
        peer = self.http2()
        peer.ask()
        peer.close()
        self.counts("client_closes_total", reason="client")

    def test_c2_idle(self):
        self.begin(conf="timeouts: {idle: 300ms}")
        peer = self.http2()
        peer.ask()
        peer.read_to_end()
        self.assertEqual([(1, NO_ERROR)], [(g.last(), g.code()) for g in peer.goaways])
        self.counts("client_closes_total", reason="idle")

    def test_c2_idle_and_takes_nothing(self):
        """Its GOAWAY never leaves: it is closed all the same."""
        self.begin(lambda server, x: server.answer(x.stream, 200, b"x" * (8 << 20)),
                   conf="timeouts: {idle: 300ms, stream: 500ms, linger: 300ms}")
        peer = self.http2(own=((INITIAL_WINDOW, 1 << 30),))
        peer.send(http2.window_update(0, 1 << 30))
        peer.request()
        eventually(lambda: self.counter("offshoot_http2_clients") == 1)
        eventually(lambda: self.counter("offshoot_http2_clients") == 0)

    def test_c3_an_end_in_a_head(self):
        self.begin()
        peer = self.http2()
        block = peer.block(http2.request_fields())
        peer.send(http2.headers(peer.new_stream(), block[:3], end=True, end_headers=False))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.judges = False
        peer.read_to_end()
        self.assertEqual({}, {n: x for n, x in peer.exchanges.items() if x.fields or x.over})
        self.counts("client_closes_total", reason="client")
        self.assertEqual([], self.seen)

    def test_c4_a_head_that_does_not_come(self):
        self.begin(conf="timeouts: {head: 300ms}")
        peer = self.http2()
        peer.ask()
        block = peer.block(http2.request_fields())
        peer.send(http2.headers(peer.new_stream(), block, end=True, end_headers=False))
        peer.read_to_end()
        self.counts("client_closes_total", reason="head-timeout")

    def test_c5_a_bad_head(self):
        self.begin()
        peer = self.http2()
        n = peer.new_stream()
        peer.send(http2.headers(n, http2.literal(http2.request_fields(fields=[("A", "b")])), True))
        self.assertEqual(PROTOCOL_ERROR, self.reset_of(peer, n)[0])
        self.counts("bad_http2_requests_total", reason="field-name")
        n = peer.new_stream()
        many = [(f"x-{i}", "1") for i in range(200)]
        peer.send(http2.headers(n, http2.literal(http2.request_fields(fields=many))))
        self.refused_then_reset(peer, n, 431, "too-large")
        self.counts("bad_http2_requests_total", reason="too-many-fields")
        self.assertEqual([], self.seen)
        self.lives(peer)

    def test_c6_half_a_connection_is_none(self):
        self.begin(lambda server, x: None)
        peer = self.http2()
        peer.request()
        eventually(lambda: self.seen)
        peer.sock.shutdown(socket.SHUT_WR)
        peer.read_to_end()
        self.provider_reset(CANCEL)
        self.counts("client_closes_total", reason="client")
        self.counts("stream_closes_total", reason="client")

    def test_c7_a_reset(self):
        for handle in (lambda server, x: None, starts):
            with self.subTest(handle):
                self.begin(handle)
                peer = self.http2()
                n = peer.request()
                eventually(lambda: self.seen)
                if handle is starts:
                    peer.head(n)
                peer.send(http2.rst_stream(n, CANCEL))
                self.provider_reset(CANCEL)
                self.counts("stream_closes_total", reason="client-reset")
                self.lives(peer)

    def wrong_length(self, handle):
        self.begin(handle)
        peer = self.http2()
        n = peer.request("POST", fields=[("content-length", "10")], body=b"four", end=False)
        eventually(lambda: self.seen)
        if handle is starts:
            peer.head(n)
        peer.send(http2.data(n, end=True))
        self.assertEqual(PROTOCOL_ERROR, self.reset_of(peer, n)[0])
        self.provider_reset(CANCEL)
        self.assertFalse(self.seen[0].ended)
        self.counts("bad_http2_requests_total", reason="message")
        self.lives(peer)

    def test_c8_c10_a_body_of_another_length(self):
        self.wrong_length(lambda server, x: None)

    def test_c11_a_body_of_another_length_while_the_reply_comes(self):
        self.wrong_length(starts)

    def test_c9_a_body_that_stops(self):
        self.begin(lambda server, x: None, conf="timeouts: {stream: 300ms}")
        peer = self.http2()
        n = peer.request("POST", body=b"four", end=False)
        self.refused_then_reset(peer, n, 408, "request-timeout")
        self.provider_reset(CANCEL)
        self.counts("stream_closes_total", reason="body-timeout")
        self.lives(peer)

    def test_c12_nothing_is_taken(self):
        self.begin(lambda server, x: server.answer(x.stream, 200, b"x" * 50_000),
                   conf="timeouts: {stream: 300ms}")
        peer = self.http2(own=((INITIAL_WINDOW, 1000),))
        peer.opens = False
        n = peer.request()
        self.assertEqual(INTERNAL_ERROR, self.reset_of(peer, n)[0])
        self.counts("stream_closes_total", reason="stalled")
        peer.alive()
        self.assertEqual([], peer.goaways)

    def test_c13_an_early_reply(self):
        self.begin(lambda server, x: server.answer(x.stream, 200, b"early"))
        peer = self.http2()
        n = peer.request("POST", body=b"four", end=False)
        code, x = self.reset_of(peer, n)
        self.assertEqual((200, b"early", True, NO_ERROR), (x.status, x.body, x.ended, code))
        self.provider_reset(CANCEL)
        self.counts("stream_closes_total", reason="early-reply")
        self.lives(peer)

    def test_c16_a_length_above_the_routes(self):
        self.begin()
        peer = self.http2()
        n = peer.request("POST", "/small", fields=[("content-length", "1001")], body=b"a",
                         end=False)  # fmt: skip
        self.refused_then_reset(peer, n, 413, "too-large")
        self.assertEqual([], self.seen)
        self.lives(peer)

    def test_c17_a_body_above_the_routes(self):
        self.begin(lambda server, x: None)
        peer = self.http2()
        n = peer.request("POST", "/small", body=b"a", end=False)
        eventually(lambda: self.seen)
        peer.send(http2.data(n, b"a" * 2000))
        self.refused_then_reset(peer, n, 413, "too-large")
        self.provider_reset(CANCEL)
        self.counts("stream_closes_total", reason="too-large")
        self.lives(peer)

    def test_c18_a_body_above_the_routes_while_the_reply_comes(self):
        self.begin(starts)
        peer = self.http2()
        n = peer.request("POST", "/small", body=b"a", end=False)
        peer.head(n)
        peer.send(http2.data(n, b"a" * 2000))
        self.assertEqual(INTERNAL_ERROR, self.reset_of(peer, n)[0])
        self.provider_reset(CANCEL)
        self.counts("stream_closes_total", reason="too-large")
        self.lives(peer)

    def test_c19_a_rate(self):
        self.begin(limits="perEnvironment: {requestsPerSecond: 1, burst: 1}")
        peer = self.http2()
        self.assertEqual([200, 429], [peer.ask().status for _ in range(2)])
        peer.alive()
        self.assertEqual([], peer.goaways)

    def test_c19_connections_of_a_source(self):
        self.begin(limits="perSource: {connections: 1}")
        first, second = self.http2(), self.http2()
        first.ask()
        self.assertEqual((429, "rate-limited"), told(second.ask()))
        second.read_to_end()
        self.assertEqual(1, second.goaways[-1].last())
        self.lives(first)

    def test_c21_a_body_in_dribbles(self):
        self.begin(lambda server, x: None,
                   conf="limits: {minRate: 1000}\ntimeouts: {minRateWindow: 1s}")
        peer = self.http2()
        n = peer.request("POST", body=b"a", end=False)
        x, until = peer.exchange(n), time.monotonic() + 20
        while not x.over and time.monotonic() < until:
            peer.send(http2.data(n, b"a"))
            peer.alive()
            time.sleep(0.05)
        self.refused_then_reset(peer, n, 408, "request-timeout")
        self.provider_reset(CANCEL)
        self.counts("stream_closes_total", reason="too-slow")

    def test_c23_overload(self):
        self.begin(conf="limits: {connections: 10}\noverload: {keepAlive: 50}")
        peers = [self.http2() for _ in range(6)]
        for peer in peers:
            peer.alive()
        peers[0].read_to_end()
        self.assertEqual(NO_ERROR, peers[0].goaways[-1].code())


class Provider(CloseCase):
    def test_p1_refused(self):
        self.begin(endpoint=self.nobody().address)
        peer = self.http2()
        self.assertEqual((502, "connect"), told(peer.ask()))
        self.counts("provider_errors_total", 2, reason="refused")
        peer.alive()

    def test_p2_a_connect_that_hangs(self):
        full = self.closes(FullListener())
        self.begin(endpoint=full.address, policy="connectTimeout: 300ms, retries: {max: 0}")
        peer = self.http2()
        self.assertEqual((502, "connect"), told(peer.ask()))
        self.counts("provider_errors_total", reason="connect-timeout")

    def test_p4_no_stream_is_free(self):
        self.own = ((MAX_STREAMS, 1),)
        self.begin(starts, policy="connectTimeout: 300ms, maxConnections: 1, retries: {max: 0}")
        peer = self.http2()
        peer.head(peer.request())
        self.assertEqual((503, "overload"), told(peer.ask()))
        self.counts("provider_errors_total", reason="pending-timeout")

    def warm(self, peer):
        """The connection to the provider has served."""
        self.handle = ready
        self.assertEqual(200, peer.ask().status)

    def test_p5_a_connection_that_had_ended(self):
        self.begin()
        peer = self.http2()
        self.warm(peer)

        def leaves_once(server, x):
            self.handle = ready
            return False

        self.handle = leaves_once
        self.assertEqual(200, peer.ask().status)
        self.counts("retries_total")
        self.assertEqual((3, 2), (len(self.seen), self.behind.accepted))

    def test_p6_what_may_have_been_processed_is_not_said_again(self):
        self.begin()
        peer = self.http2()
        self.warm(peer)
        self.handle = lambda server, x: False
        self.assertEqual(BAD_REPLY, told(peer.ask("POST", body=b"x")))
        for method in ("GET", "POST"):
            self.warm(peer)
            before = len(self.seen)
            self.handle = breaks(INTERNAL_ERROR)
            self.assertEqual(BAD_REPLY, told(peer.ask(method)))
            self.assertEqual(before + 1, len(self.seen), method)
        self.counts("retries_total", 0)
        self.counts("provider_errors_total", 3, reason="closed")
        self.lives(peer)

    def test_p8_a_bad_head(self):
        def handle(server, x):
            server.send(http2.headers(x.stream, http2.literal([(":status", "200"), ("A", "b")])))

        self.begin(handle)
        peer = self.http2()
        self.assertEqual(BAD_REPLY, told(peer.ask()))
        self.provider_reset(PROTOCOL_ERROR)
        self.counts("bad_http2_replies_total", reason="field-name")
        self.lives(peer)
        self.assertEqual(1, self.behind.accepted)

    def test_p9_no_reply_in_time(self):
        self.begin(lambda server, x: None, policy="timeout: 300ms")
        peer = self.http2()
        self.assertEqual((504, "timeout"), told(peer.ask()))
        self.provider_reset(CANCEL)
        self.lives(peer)
        self.assertEqual(1, self.behind.accepted)

    def test_p10_an_end_in_the_reply(self):
        def resets(server, x):
            starts(server, x)
            server.wait(lambda: x.ended)
            server.send(http2.rst_stream(x.stream, INTERNAL_ERROR))

        def leaves(server, x):
            starts(server, x)
            server.wait(lambda: x.ended)
            return False

        for handle in (resets, leaves):
            self.begin(handle)
            peer = self.http2()
            n = peer.request("POST", body=b"a", end=False)
            peer.head(n)
            peer.send(http2.data(n, end=True))
            code, x = self.reset_of(peer, n)
            self.assertEqual((INTERNAL_ERROR, False), (code, x.ended))
            self.counts("provider_errors_total", reason="closed-in-body")
            self.counts("stream_closes_total", reason="provider")
            self.lives(peer)

    def test_p12_a_reply_that_stops(self):
        self.begin(starts, conf="timeouts: {stream: 300ms}")
        peer = self.http2()
        code, _ = self.reset_of(peer, peer.request())
        self.assertEqual(INTERNAL_ERROR, code)
        self.provider_reset(CANCEL)
        self.counts("provider_errors_total", reason="stalled")
        self.lives(peer)

    def test_p13_more_than_the_length(self):
        def handle(server, x):
            server.send_head(x.stream, [(":status", "200"), ("content-length", "2")])
            server.send(http2.data(x.stream, b"too much"))

        self.begin(handle)
        peer = self.http2()
        x = peer.reply(peer.request())
        self.assertTrue(told(x) == BAD_REPLY or x.reset == INTERNAL_ERROR, x)
        self.provider_reset(PROTOCOL_ERROR)
        self.counts("bad_http2_replies_total", reason="message")
        self.lives(peer)

    def test_p14_a_reply_and_then_the_request_is_not_wanted(self):
        def handle(server, x):
            server.answer(x.stream, 200, b"enough")
            server.send(http2.rst_stream(x.stream, NO_ERROR))

        self.begin(handle)
        peer = self.http2()
        n = peer.request("POST", body=b"a", end=False)
        x = peer.reply(n)
        self.assertEqual((200, b"enough", True), (x.status, x.body, x.ended))
        self.lives(peer)
        self.assertEqual(1, self.behind.accepted)

    def test_p15_an_unused_connection_that_ends(self):
        self.begin()
        peer = self.http2()

        over = threading.Event()

        def last(server, x):
            ready(server, x)
            over.wait(20)
            return False

        self.handle = last
        self.assertEqual(200, peer.ask().status)
        over.set()
        self.counts("provider_connections", 0)
        self.counts("provider_closes_total", reason="idle-readable")
        self.lives(peer)
        self.counts("retries_total", 0)

    def test_p16_an_unused_connection(self):
        ends = []

        def handle(server, x):
            ready(server, x)
            server.read_to_end()
            ends.extend(server.goaways)
            return False

        self.begin(handle, conf="timeouts: {providerIdle: 300ms}")
        self.http2().ask()
        self.counts("provider_connections", 0)
        self.counts("provider_closes_total", reason="idle")
        eventually(lambda: ends)
        self.assertEqual([NO_ERROR], [g.code() for g in ends])

    def test_p18_a_connection_that_says_goodbye(self):
        def handle(server, x):
            server.send(http2.goaway(x.stream))
            ready(server, x)

        self.begin(handle)
        peer = self.http2()
        self.assertEqual(200, peer.ask().status)
        self.counts("provider_closes_total", reason="done")
        self.lives(peer)
        self.assertEqual(2, self.behind.accepted)

    def test_p21_requests_above_the_budget(self):
        self.begin(starts, policy="maxRequests: 1")
        peer = self.http2()
        peer.head(peer.request())
        self.assertEqual((503, "overload"), told(peer.ask()))
        self.counts("budget_reached_total", budget="requests")


class Itself(CloseCase):
    def test_x1_what_is_left_at_the_deadline(self):
        self.begin(starts, conf="timeouts: {drain: 300ms}")
        peer = self.http2()
        n = peer.request()
        peer.head(n)
        self.proxy.signal(signal.SIGTERM)
        try:
            peer.read_to_end()
        except (Incomplete, BadMessage):
            pass
        self.assertFalse(peer.exchange(n).ended)
        self.assertEqual(2**31 - 1, peer.goaways[0].last())
        self.expect_exit(self.proxy, 0)

    def test_x2_connections_above_the_limit(self):
        self.begin(conf="limits: {connections: 4}")
        peers = [self.http2() for _ in range(4)]
        for peer in peers:
            peer.alive()
        above = self.http2()
        self.assertEqual((503, "overload"), told(above.ask()))
        above.read_to_end()
        self.assertEqual(1, above.goaways[-1].last())
        self.lives(peers[0])

    def test_x3_no_buffer(self):
        self.begin(lambda server, x: server.answer(x.stream, 200, b"x" * 60_000),
                   conf="limits: {buffers: 64}")
        peer = self.http2(own=((INITIAL_WINDOW, 0),))
        asked, found = [], set()
        for _ in range(100):  # one after the other
            asked.append(peer.request())
            x = peer.head(asked[-1])
            found.add((*told(x), x.reset))
        # Some buffers above the limit are kept for refusals; in the end those are gone too.
        mute = (None, None, INTERNAL_ERROR)
        self.assertEqual({(200, None, None), (503, "overload", None), mute}, found)
        peer.send(*(http2.rst_stream(n) for n in asked))
        peer.alive()
        self.assertEqual([], peer.goaways)
        other = self.http2()
        eventually(lambda: self.counter("offshoot_requests") == 0)
        self.lives(other)

    def test_x5_the_environment_is_removed(self):
        self.begin(starts, conf="timeouts: {removed: 300ms}")
        peer = self.http2()
        gone = peer.request(fields=[("x-env", "feat")])
        peer.head(gone)
        stays = peer.request()
        peer.head(stays)
        self.graph.write_text(self.text)
        self.proxy.signal(signal.SIGHUP)
        self.assertEqual(INTERNAL_ERROR, self.reset_of(peer, gone)[0])
        self.provider_reset(CANCEL)
        self.counts("stream_closes_total", reason="removed")
        peer.alive()
        self.assertIsNone(peer.exchange(stays).reset)
        self.assertEqual([], peer.goaways)

    def test_x6_the_endpoint_is_disabled(self):
        self.begin(starts, conf="timeouts: {removed: 300ms}")
        peer = self.http2()
        n = peer.request()
        peer.head(n)
        self.proxy.admin(f"/endpoint?address={self.behind.address}&action=disable", "POST")
        self.assertEqual(INTERNAL_ERROR, self.reset_of(peer, n)[0])
        self.assertEqual((503, "unhealthy"), told(peer.ask()))
        self.assertEqual([], peer.goaways)


class Page(unittest.TestCase):
    """docs/internals/close-table.md names a test for each row, and no test that is not there."""

    def setUp(self):
        page = (ROOT / "docs/internals/close-table.md").read_text()
        self.rows, self.http2 = page.split("\n## HTTP/2\n")
        tests = [p.read_text() for p in sorted((ROOT / "tests").rglob("test_*.[cp]*"))]
        self.names = set(re.findall(r"(?:def|static void) (\w+)\(", "\n".join(tests)))

    def test_each_row_has_one(self):
        rows = re.findall(r"^\| ([A-Z]\d+) \|(.*)", self.rows, re.M)
        self.assertEqual(len(rows), len({row for row, _ in rows}), "a row twice")
        for row, text in rows:
            named = any(n.startswith(f"{row.lower()}_") for n in self.names)
            self.assertTrue(named or re.search(r"`(tests/|test_)", text), row)

    def test_rows_of_http2_too(self):
        rows = re.findall(r"^\| ([A-Z]\d+[^|]*) \|.*\| (.*) \|$", self.http2, re.M)
        told = {row for found, _ in rows for row in found.split(", ")}
        here = {f"C{i}" for i in range(1, 24)} | {f"P{i}" for i in range(1, 23)} - {"P3"}
        self.assertLessEqual(here, told)
        for row, text in rows:
            for name in re.findall(r"`(test_\w+)`", text):
                self.assertTrue(any(n.startswith(name) for n in self.names), (row, name))
        for path in re.findall(r"`(tests/\S+?)`", self.rows + self.http2):
            self.assertTrue((ROOT / path).exists(), path)


if __name__ == "__main__":
    unittest.main()
