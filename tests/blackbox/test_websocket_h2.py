"""WebSocket where one side or both speak HTTP/2: extended CONNECT (RFC 8441)."""

import random
import socket
import unittest

import http2
from harness import ProxyCase, connect, eventually
from http1 import reply_bytes
from http2 import CANCEL, ENABLE_CONNECT, rst_stream
from test_combinations import GRAPH
from websocket import (
    BINARY, CLOSE, PING, Client, accept_of, echo, frame, handshake, mask_bytes, read_frame,
    switching,
)  # fmt: skip

EXTENDED = ((ENABLE_CONNECT, 1),)


def take_frames(data):
    """The whole frames in data, as (kind, payload), and what is left of it."""
    frames = []
    while len(data) >= 2:
        n, at = data[1] & 0x7F, 2
        if n >= 126:
            at = 4 if n == 126 else 10
            n = int.from_bytes(data[2:at], "big")
        masked = data[1] & 0x80
        at += 4 if masked else 0
        if len(data) < at + n:
            break
        payload = bytes(data[at : at + n])
        kind = data[0] & 15
        frames.append((kind, mask_bytes(payload, data[at - 4 : at]) if masked else payload))
        data = data[at + n :]
    return frames, data


class Client2:
    """A WebSocket client on a stream of an http2.Client."""

    def __init__(self, peer, fields=(), path="/chat", protocol="websocket", switched=True):
        self.peer = peer
        self.stream = peer.new_stream()
        self.x = peer.exchange(self.stream)
        peer.send_head(self.stream, [
            (":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"),
            (":path", path), (":authority", "localhost"), ("sec-websocket-version", "13"),
            *fields])  # fmt: skip
        peer.head(self.stream)
        if switched and self.x.status != 200:
            raise AssertionError(f"not switched: {self.x}")
        self.heard = []

    def say(self, payload, kind=BINARY):
        self.peer.send_body(self.stream, frame(kind, payload, True), end=False)

    def _look(self):
        frames, rest = take_frames(self.x.received)
        del self.x.received[: len(self.x.received) - len(rest)]
        self.heard += frames
        return self.heard

    def hear(self):
        self.peer.wait(lambda: self._look() or self.x.over, "a frame")
        return self.heard.pop(0)

    def ask(self, payload, kind=BINARY):
        self.say(payload, kind)
        return self.hear()[1]

    def end(self):
        if self.ask(b"\x03\xe8", CLOSE) != b"\x03\xe8":
            raise AssertionError("no answer to the close")
        self.peer.wait(lambda: self.x.over, "the end")
        if not self.x.ended:
            raise AssertionError(f"no clean end: {self.x}")
        self.peer.send(http2.data(self.stream, b"", end=True))


def echo2(stream, own=EXTENDED, seen=None):
    """A provider's script: takes extended CONNECT on any stream, says every message again."""
    stream.timeout = 3600.0
    server = http2.Server(stream, own)
    while True:
        x = server.wait(lambda: next(
            (x for x in server.exchanges.values() if x.received or x.over or (
                x.fields is not None and x.stream not in server.taken)), None), "something")
        if x.stream not in server.taken:
            server.taken.add(x.stream)
            stream.provider.note(x)
            if (x.method, x.get(":protocol")) == ("CONNECT", "websocket"):
                server.send_head(x.stream, [(":status", "200"), ("x-own", "v")])
            else:
                server.answer(x.stream, 426, b"no")
            continue
        if x.over and not x.received:
            del server.exchanges[x.stream]
            continue
        frames, rest = take_frames(x.received)
        del x.received[: len(x.received) - len(rest)]
        for kind, payload in frames:
            server.send_body(x.stream, frame(kind, payload, False), end=kind == CLOSE)
        if not frames:
            server.step()


class WebSocket2(ProxyCase):
    zero_gauges = ("offshoot_live_objects", "offshoot_tunnels", "offshoot_requests")

    def begin(self, version, script):
        self.shop = self.provider(script)
        self.log = self.folder / "access.log"
        self.proxy = self.start_proxy(
            GRAPH % {"version": version, "address": self.shop.address}, "--access-log", self.log)

    def client2(self):
        peer = self.closes(http2.connect(self.proxy.address))
        peer.wait(lambda: peer.settings_seen, "settings")
        self.assertEqual(1, peer.peer.get(ENABLE_CONNECT))
        return peer

    def talk(self, ws):
        for size in (0, 1, 125, 126, 65535, 65536, 70000, 300000):
            payload = random.randbytes(size)
            self.assertEqual(payload, ws.ask(payload))
        self.assertEqual(b"p", ws.ask(b"p", PING))
        ws.end()

    def ended(self, n=1):
        eventually(lambda: self.proxy.counters().get(
            "offshoot_tunnel_ends_total", reason="closed") == n)

    def test_from_http_2_to_http_1(self):
        self.begin(1, echo)
        peer = self.client2()
        self.talk(Client2(peer))
        self.ended()
        seen = self.shop.requests[0]
        self.assertEqual(("GET", "/chat", "upgrade", "websocket", "13"), (
            seen.method, seen.target, seen.get("connection"), seen.get("upgrade"),
            seen.get("sec-websocket-version")))  # fmt: skip
        self.assertRegex(seen.get("sec-websocket-key"), r"\A[A-Za-z0-9+/]{22}==\Z")
        # each stream its own, with a key of its own
        several = [Client2(peer) for _ in range(20)]
        for i, ws in enumerate(several):
            ws.say(b"%d" % i)
        for i, ws in enumerate(several):
            self.assertEqual(b"%d" % i, ws.hear()[1])
        self.assertEqual(21, len({r.get("sec-websocket-key") for r in self.shop.requests}))
        for ws in several:
            self.assertNotIn("sec-websocket-accept", ws.x.names())
            ws.end()
        self.ended(21)
        line = eventually(lambda: (t := self.log.read_text()).count("\n") == 21 and t)
        self.assertRegex(line, r' 101 "GET" "localhost" "/chat" .* protocol=http2 ')

    def test_from_http_1_to_http_2(self):
        self.begin(2, echo2)
        self.talk(Client(self.client(self.proxy)))
        self.ended()
        seen = self.shop.requests[0]
        self.assertEqual(
            ("CONNECT", "websocket", "/chat", "http", "localhost"),
            tuple(seen.get(n) for n in (":method", ":protocol", ":path", ":scheme", ":authority")))
        for name in ("sec-websocket-key", "connection", "upgrade", "host"):
            self.assertNotIn(name, seen.names())
        self.assertEqual("13", seen.get("sec-websocket-version"))
        # the second finds the settings known, on the same connection
        ws = Client(self.client(self.proxy))
        self.assertEqual("v", ws.reply.get("x-own"))
        self.talk(ws)
        self.assertEqual(1, self.shop.accepted)

    def test_from_http_2_to_http_2(self):
        self.begin(2, echo2)
        peer = self.client2()
        several = [Client2(peer) for _ in range(5)]
        for ws in several:
            self.talk(ws)
        self.ended(5)
        self.assertEqual(1, self.shop.accepted)

    def test_a_wrong_proof_of_the_provider_is_a_bad_reply(self):
        def wrong(stream):
            request = stream.read_request()
            good = accept_of(request.get("sec-websocket-key"))
            stream.send(switching(request).replace(good.encode(), good[::-1].encode()))
            stream.read_to_end()

        self.begin(1, wrong)
        ws = Client2(self.client2(), switched=False)
        self.assertEqual((502, "bad-reply"), (ws.x.status, ws.x.get("x-offshoot-error")))
        self.assertEqual(0, self.proxy.counters().get("offshoot_tunnels_total", kind="upgrade"))

    def test_a_reply_that_is_no_switch_passes(self):
        self.begin(1, lambda s: s.read_request() and s.send(reply_bytes(403, b"no", [], "N")))
        ws = Client2(self.client2(), switched=False)
        x = ws.peer.reply(ws.stream)
        self.assertEqual((403, b"no", True), (x.status, x.body, x.ended))

    def test_http_2_providers_that_do_not_know_it(self):
        self.begin(2, lambda stream: echo2(stream, own=()))
        for _ in range(2):
            with connect(self.proxy.address) as stream:
                reply = stream.ask(handshake())
            self.assertEqual((501, "unsupported"), (reply.status, reply.get("x-offshoot-error")))
        self.assertEqual([], self.shop.requests)

    def test_http_2_providers_that_refuse(self):
        def refuse(stream):
            server = http2.Server(stream, EXTENDED)
            while x := server.next_request(whole=False):
                server.answer(x.stream, 403, b"no")

        self.begin(2, refuse)
        with connect(self.proxy.address) as stream:
            reply = stream.ask(handshake())
            self.assertEqual((403, b"no"), (reply.status, reply.body))
            stream.expect_end()
        x = Client2(self.client2(), switched=False).x
        self.assertEqual(403, x.status)

    def test_other_protocols_and_what_may_not_be_ignored(self):
        self.begin(1, echo)
        peer = self.client2()
        for protocol in ("h2c", "HTTP/2.0", "tls"):
            ws = Client2(peer, protocol=protocol, switched=False)
            self.assertEqual((501, "unsupported"), (ws.x.status, ws.x.get("x-offshoot-error")))
        self.assertEqual(0, self.shop.accepted)
        self.assertEqual(b"x", Client2(peer).ask(b"x"))

    def test_plain_connect_is_refused(self):
        self.begin(1, echo)
        peer = self.client2()
        n = peer.new_stream()
        peer.send_head(n, [(":method", "CONNECT"), (":authority", "web:80")])
        x = peer.head(n)
        self.assertEqual((501, "unsupported"), (x.status, x.get("x-offshoot-error")))
        peer.alive()

    def test_plain_connect_where_it_is_allowed(self):
        def db(stream):
            stream.send(b"db: " + stream.read_exactly(5))
            stream.provider.note(stream.read_to_end())

        provider = self.provider(db)
        graph = GRAPH.replace("spec: {port: 80, providerProtocol: http%(version)d}",
                              "spec: {protocol: tcp}") % {"address": provider.address}
        self.proxy = self.start_proxy(graph, listen=("127.0.0.1:0,trusted,connect",))
        peer = self.closes(http2.connect(self.proxy.address))
        for _ in range(2):
            n = peer.new_stream()
            peer.send_head(n, [(":method", "CONNECT"), (":authority", "web:5432")])
            x = peer.head(n)
            self.assertEqual((200, []), (x.status, x.names()))
            peer.send_body(n, b"hello", end=False)
            peer.wait(lambda x=x: len(x.received) >= 9, "the answer")
            self.assertEqual(b"db: hello", x.body)
            peer.send_body(n, b"more")
            peer.reply(n)
            self.assertTrue(x.ended, x)
        eventually(lambda: provider.requests == [b"more", b"more"])
        self.assertEqual(2, self.proxy.counters().get("offshoot_tunnels_total", kind="connect"))

    def test_resets_of_either_side(self):
        self.begin(1, echo)
        peer = self.client2()
        ws = Client2(peer)
        self.assertEqual(b"x", ws.ask(b"x"))
        peer.send(rst_stream(ws.stream, CANCEL))
        eventually(lambda: self.shop.open_connections == 0)
        eventually(lambda: self.proxy.counters().get(
            "offshoot_tunnel_ends_total", reason="client-reset") == 1)
        ws = Client2(peer)
        self.assertEqual(b"x", ws.ask(b"x"))
        for stream in list(self.shop.streams):
            stream.sock.shutdown(socket.SHUT_RDWR)
        peer.wait(lambda: ws.x.over, "the end of the stream")
        peer.alive()

    def test_the_death_of_a_provider_on_http_2(self):
        self.begin(2, echo2)
        peer = self.client2()
        two = [Client2(peer) for _ in range(2)]
        other = Client(self.client(self.proxy))
        for ws in (*two, other):
            self.assertEqual(b"x", ws.ask(b"x"))
        for stream in list(self.shop.streams):
            stream.sock.shutdown(socket.SHUT_RDWR)
        for ws in two:
            peer.wait(lambda ws=ws: ws.x.over, "the end of the stream")
            self.assertIsNotNone(ws.x.reset)  # no clean end
        other.stream.expect_end()
        other.stream.close()
        peer.alive()
        eventually(lambda: self.proxy.counters().get(
            "offshoot_tunnel_ends_total", reason="provider-reset") == 3)
        self.assertEqual(b"y", Client2(peer).ask(b"y"))

    def test_a_slow_reader_holds_back_only_itself(self):
        def flood(stream):
            request = stream.read_request()
            stream.send(switching(request))
            if "flood" in request.target:
                stream.sock.settimeout(60)
                for _ in range(64):
                    stream.sock.sendall(frame(BINARY, b"z" * 65536, False))
            while True:
                stream.send(frame(*read_frame(stream), False))

        self.begin(1, flood)
        peer = self.client2()
        peer.opens = False  # gives no window back
        slow = Client2(peer, path="/flood")
        before = self.proxy.resident_bytes()
        other = self.client2()
        quick = Client2(other)
        for _ in range(50):
            self.assertEqual(b"quick", quick.ask(b"quick"))
        self.assertLess(self.proxy.resident_bytes() - before, 4 << 20)
        self.assertLessEqual(len(slow.x.received), 65535)
        quick.say(b"", CLOSE)


if __name__ == "__main__":
    unittest.main()
