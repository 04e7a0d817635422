"""What clients may do over HTTP/2 to wear a proxy out: each is counted and cut off, memory stays,
and somebody else's requests are answered meanwhile."""

import threading
import time
import unittest

import http2
from graphs import baseline, gateway, graph_of, service
from harness import ProxyCase, connect, eventually, sanitized
from http1 import Incomplete, request_bytes
from http2 import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    INITIAL_WINDOW,
    PROTOCOL_ERROR,
    frame,
    in_pieces,
    literal,
    request_fields,
)
from ports import free_port

GRAPH = graph_of(
    service("web", "port: 80"),
    service("hold", "port: 81"),
    baseline(web="%s", hold="%s"),
    gateway({"/": "web", "/hold": "hold"}),
)
SERVER = """  server { listen 127.0.0.1:%d; client_max_body_size 0;
    location / { return 200 "ok"; }
    location /big { root %s; } }
"""
GROWTH = 8 << 20
BUFFER = 64 << 10
STREAMS = 250  # of one connection that stand still
CUT_WITHIN = 2000
LOTS = 20_000


class Innocent:
    """Somebody else, asking one thing after another for as long as this is open."""

    def __init__(self, address):
        self.stream = connect(address)
        self.times, self.failure, self.over = [], None, False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.over:
                begin = time.monotonic()
                reply = self.stream.ask(request_bytes())
                self.times.append(time.monotonic() - begin)
                if (reply.status, reply.body) != (200, b"ok"):
                    raise AssertionError(reply)
        except Exception as e:  # told by the test
            self.failure = e

    def close(self):
        self.over = True
        self.thread.join(20)
        self.stream.close()


class Http2Abuse(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def setUp(self):
        super().setUp()
        port = free_port()
        (self.folder / "big").write_bytes(b"x" * (4 << 20))
        self.run_nginx(SERVER % (port, self.folder))
        self.write("proxy.yaml", "timeouts: {providerIdle: 200ms}\n")
        self.proxy = self.start_proxy(
            GRAPH % (f"127.0.0.1:{port}", self.holding().address), "-c", "proxy.yaml",
            listen=("127.0.0.1:0",))

    def holding(self):
        """A provider that never reads or answers."""
        self.let_go = threading.Event()
        return self.provider(lambda stream: self.let_go.wait(60), backlog=1000)

    def attack(self, run, kind=None, cut=True, code=ENHANCE_YOUR_CALM, growth=GROWTH, **options):
        """run(peer) sends frames until it is stopped by the connection's end."""
        for _ in range(50):
            self.ask(self.proxy)
        before, resident = self.proxy.counters(), self.proxy.resident_bytes()
        innocent = self.closes(Innocent(self.proxy.address))
        eventually(lambda: len(innocent.times) > 10)
        peer = self.closes(http2.connect(self.proxy.address, **options))
        peer.judges = False
        try:
            run(peer)
            ended = False
        except (OSError, Incomplete):
            ended = True
        if cut and not ended:
            try:
                peer.read_to_end()
            except (OSError, Incomplete) as e:
                self.assertNotEqual("timeout", getattr(e, "reason", None))
        grown = self.proxy.resident_bytes() - resident
        asked = len(innocent.times)
        eventually(lambda: innocent.failure or len(innocent.times) > asked + 10)
        innocent.close()
        self.assertIsNone(innocent.failure)
        if not sanitized():
            self.assertLess(grown, growth)
        after = self.proxy.counters()
        if kind:
            odd = "offshoot_http2_odd_frames_total"
            paid = after.get(odd, kind=kind) - before.get(odd, kind=kind)
            self.assertGreater(paid, 0)
            if cut:
                self.assertLess(paid, CUT_WITHIN)
        if cut:
            eventually(lambda: self.proxy.counters().get("offshoot_http2_clients") == 0)
            if peer.goaways:
                self.assertEqual(code, peer.goaways[-1].code())
        peer.close()
        return peer

    def flood(self, frames, kind, **options):
        def run(peer):
            for _ in range(LOTS // 20):
                peer.send(*[f for _ in range(20) for f in frames(peer)])

        return self.attack(run, kind, **options)

    # -- floods

    def test_rapid_reset(self):
        def frames(peer):
            n = peer.new_stream()
            block = peer.block(request_fields())
            return http2.headers(n, block, end=True), http2.rst_stream(n)

        self.flood(frames, "reset")

    def test_made_you_reset(self):
        """Streams that we have to reset for what is done on them."""
        def frames(peer):
            n = peer.new_stream()
            block = peer.block(request_fields("POST", fields=[("content-length", "1")]))
            return http2.headers(n, block), http2.data(n, b"two")

        self.flood(frames, "own-reset")

    def test_window_updates_of_nothing_end_the_connection(self):
        def frames(peer):
            n = peer.new_stream()
            return http2.headers(n, peer.block(request_fields())), http2.window_update(n, 0)

        self.flood(frames, None, code=PROTOCOL_ERROR)

    def test_made_you_reset_by_window_overflow(self):
        """Twenty at a time: they are paid as their resets leave, and until then they are open. A
        read full of them would be ended for more streams than told."""
        def run(peer):
            for _ in range(LOTS // 20):
                for _ in range(20):
                    n = peer.new_stream()
                    block = peer.block(request_fields("POST"))
                    peer.send(http2.headers(n, block), http2.window_update(n, 0x7FFFFFFF))
                peer.reply(n)

        self.attack(run, "own-reset")

    def test_pings(self):
        self.flood(lambda peer: [http2.ping()], "ping")

    def test_settings(self):
        self.flood(lambda peer: [http2.settings(((INITIAL_WINDOW, 65535),))], "settings")

    def test_settings_that_nobody_acknowledges(self):
        self.flood(lambda peer: [http2.settings()], "settings")

    def test_priorities(self):
        self.flood(lambda peer: [frame(2, 0, 1001, http2.priority_bytes(3))], "priority")

    def test_window_updates(self):
        self.flood(lambda peer: [http2.window_update(0, 1)], "window")

    def test_empty_data(self):
        def run(peer):
            n = peer.request("POST", end=False)
            for _ in range(LOTS // 20):
                peer.send(*[http2.data(n)] * 20)

        self.attack(run, "empty-data")

    def test_unknown_frames(self):
        self.flood(lambda peer: [frame(0xFA, 0, 0, b"x" * 8)], "unknown")

    def test_continuations_without_end(self):
        def run(peer):
            block = peer.block(request_fields())
            n = peer.new_stream()
            peer.send(http2.headers(n, block, end=True, end_headers=False))
            for _ in range(LOTS // 20):
                peer.send(*[http2.continuation(n, literal([("a", "b")]), end_headers=False)] * 20)

        self.attack(run, "continuation")

    def test_a_head_in_tiny_pieces(self):
        def run(peer):
            for _ in range(LOTS // 100):
                n = peer.new_stream()
                peer.send(in_pieces(n, literal(request_fields()), 1, end=True))

        self.attack(run, "continuation")

    def test_more_streams_than_told(self):
        def run(peer):
            for _ in range(LOTS):
                peer.request("POST", end=False)

        self.attack(run, "refused")

    # -- what costs memory

    def test_header_bomb(self):
        """One large value in the table, named a thousand times."""
        def run(peer):
            n = peer.new_stream()
            first = peer.block([*request_fields(), ("x-bomb", "b" * 3900)])
            peer.send(http2.headers(n, first, end=True))
            peer.reply(n)
            for _ in range(50):
                n = peer.new_stream()
                peer.send(http2.headers(n, literal(request_fields()) + b"\xbe" * 16_000, end=True))
            peer.alive()

        self.attack(run, cut=False)

    def test_streams_whose_replies_nobody_takes(self):
        """Of each reply of 4 MiB two buffers at the most are held. How much is in them is the
        provider's timing: what the socket gave before the stream stood still."""
        def run(peer):
            for _ in range(STREAMS):
                peer.request(path="/big")
            eventually(lambda: self.proxy.counters().get("offshoot_requests") >= STREAMS)
            time.sleep(1)

        self.attack(run, cut=False, growth=STREAMS * 2 * BUFFER, own=((INITIAL_WINDOW, 0),))

    def test_streams_whose_bodies_stand_still(self):
        def run(peer):
            for _ in range(STREAMS):
                peer.request("POST", "/hold", body=b"x" * 60_000, end=False)
            eventually(lambda: self.proxy.counters().get("offshoot_requests") >= STREAMS)
            time.sleep(1)

        self.attack(run, cut=False)
        self.let_go.set()

    def test_many_heads_that_do_not_end(self):
        def run(peer):
            peers = [self.closes(http2.connect(self.proxy.address)) for _ in range(100)]
            for p in peers:
                block = p.block(request_fields())
                p.send(http2.headers(p.new_stream(), block, end=True, end_headers=False))
            time.sleep(1)

        self.attack(run, cut=False)

    # -- what breaks the connection at once

    def test_connection_errors_are_answered_by_name(self):
        cases = {
            "window": ([http2.window_update(0, 0)], PROTOCOL_ERROR),
            "window-overflow": ([http2.window_update(0, 0x7FFFFFFF)] * 2, FLOW_CONTROL_ERROR),
            "even-stream": ([frame(HEADERS, 5, 2, literal(request_fields()))], PROTOCOL_ERROR),
            "data-on-0": ([http2.data(0, b"x")], PROTOCOL_ERROR),
            "push": ([http2.push_promise(1, 2, b"")], PROTOCOL_ERROR),
        }
        for name, (frames, code) in cases.items():
            with self.subTest(name), http2.connect(self.proxy.address) as peer:
                peer.judges = False
                peer.send(*frames)
                try:
                    peer.read_to_end()
                except (OSError, Incomplete) as e:
                    self.assertNotEqual("timeout", getattr(e, "reason", None))
                self.assertEqual([code], [g.code() for g in peer.goaways])
        self.assertEqual(200, self.ask(self.proxy).status)

    # -- and who does nothing wrong

    def test_a_client_that_gives_up_one_of_three_is_never_cut(self):
        with http2.connect(self.proxy.address) as peer:
            for i in range(3000 if not sanitized() else 600):
                n = peer.request()
                if i % 3 == 0:
                    peer.send(http2.rst_stream(n))
                else:
                    self.assertEqual(b"ok", peer.reply(n).body)
            peer.alive()
            self.assertEqual([], peer.goaways)


if __name__ == "__main__":
    unittest.main()
