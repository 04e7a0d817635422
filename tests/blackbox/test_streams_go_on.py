"""What runs is left alone while things change around it: one of a hundred environments is taken
away, a provider gets other endpoints, a client says that it will ask no more."""

import signal
import socket
import time
import unittest

import http2
from graphs import baseline, gateway, graph_of, overlay, service
from harness import Incomplete, ProxyCase, connect, eventually, fixed, request_bytes
from http2 import INTERNAL_ERROR

SHOP = graph_of(
    service("web", "providerProtocol: http%d"),
    gateway({"/": "web"}, "overlayAccess: public, select: [{header: x-env}]"),
    baseline(web="%s"),
)
ENVIRONMENTS = [f"e{i}" for i in range(100)]
GONE = "e50"


class GoesOn(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, version, address, *overlays):
        self.version = version
        self.graph = self.write("graph.yaml", self.text(address, *overlays))
        self.write("proxy.yaml", "timeouts: {removed: 300ms}\n")
        self.proxy = self.start_proxy([self.graph], "-c", "proxy.yaml")

    def text(self, address, *overlays):
        """main at one address, overlays (name, address)."""
        return graph_of(SHOP % (self.version, address), *(overlay(n, web=a) for n, a in overlays))

    def change(self, address, *overlays):
        """Returns when every worker has it."""
        epoch = self.proxy.admin_json("/status")["epoch"]
        self.graph.write_text(self.text(address, *overlays))
        self.proxy.signal(signal.SIGHUP)

        def taken():
            status = self.proxy.admin_json("/status")
            return status["epoch"] > epoch and status["workers_current"] == status["workers"]

        eventually(taken)

    def http2(self):
        return self.closes(http2.connect(self.proxy.address))

    def removed(self, n):
        eventually(lambda: self.proxy.counters().get("offshoot_removed_ended_total") == n)


def half_and_half(stream):
    """Half of each reply of HTTP/2 at once, the rest when the whole request has come."""
    stream.timeout = 3600.0
    server = http2.Server(stream, ((http2.MAX_STREAMS, 200),))
    begun, done = set(), set()

    def something():
        return next((x for x in server.exchanges.values() if x.fields is not None and (
            x.stream not in begun or (x.ended and x.stream not in done))), None)

    while x := server.wait(something, "a request"):
        if x.stream not in begun:
            begun.add(x.stream)
            server.send_head(x.stream, [(":status", "200")])
            server.send_body(x.stream, x.get("x-offshoot-context").encode(), end=False)
        else:
            done.add(x.stream)
            server.send_body(x.stream, x.body)


def half_and_half1(stream):
    stream.read_request(body=False)
    stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    stream.send(b"whole"[:len(stream.read_exactly(5))])


class EnvironmentGone(GoesOn):
    def test_one_of_a_hundred_with_streams_of_all_on_one_connection(self):
        shop = self.provider(half_and_half)
        self.begin(2, shop.address, *((e, shop.address) for e in ENVIRONMENTS))
        peer = self.http2()
        asked = {e: peer.request("POST", fields=[("x-env", e)], end=False) for e in ENVIRONMENTS}
        for n in asked.values():
            self.assertEqual(200, peer.head(n).status)
        self.change(shop.address, *((e, shop.address) for e in ENVIRONMENTS if e != GONE))
        self.assertEqual(INTERNAL_ERROR, peer.reply(asked.pop(GONE)).reset)
        for env, n in asked.items():
            peer.send_body(n, b" to its end")
            x = peer.reply(n)
            self.assertEqual((True, None), (x.whole, x.reset), env)
            self.assertRegex(x.body.decode(), rf"^v1m\.{env}\.[0-9a-z]+\.00 to its end$")
        self.removed(1)
        self.assertEqual(1, shop.accepted)
        x = peer.ask(fields=[("x-env", GONE)])
        self.assertEqual((404, "unknown-environment"), (x.status, x.get("x-offshoot-error")))
        self.assertEqual([], peer.goaways)


class OtherEndpoints(GoesOn):
    """The old endpoint is in no set any more. In the same change another environment goes, so that
    it can be seen when the time of what has gone is over."""

    def test_a_stream_of_http2(self):
        old, new = self.provider(half_and_half), self.provider(http2.fixed2(b"new"))
        self.begin(2, old.address, ("short", old.address))
        peer = self.http2()
        stays, gone = (peer.request("POST", fields=[("x-env", e)], end=False)
                       for e in ("main", "short"))
        for n in (stays, gone):
            self.assertEqual(200, peer.head(n).status)
        self.change(new.address)
        self.assertEqual(b"new", peer.ask().body)
        self.assertEqual(INTERNAL_ERROR, peer.reply(gone).reset)
        peer.send_body(stays, b" to its end")
        x = peer.reply(stays)
        self.assertEqual((True, None), (x.whole, x.reset))
        self.assertTrue(x.body.endswith(b" to its end"))
        self.removed(1)

    def test_a_connection_of_http1(self):
        old, new = self.provider(half_and_half1), self.provider(fixed(b"new"))
        self.begin(1, old.address, ("short", old.address))
        with connect(self.proxy.address) as stays, connect(self.proxy.address) as gone:
            for stream, env in ((stays, "main"), (gone, "short")):
                stream.send(request_bytes("POST", "/", "web",
                                          [("x-env", env), ("Content-Length", "5")]))
                self.assertEqual(200, stream.read_reply("POST", body=False).status)
            self.change(new.address)
            self.assertEqual(b"new", self.ask(self.proxy).body)
            self.assertEqual(b"half", gone.read_exactly(4))
            with self.assertRaises(Incomplete):
                gone.read_exactly(1)
            stays.send(b"12345")
            self.assertEqual(b"halfwhole", stays.read_exactly(9))
        self.removed(1)


class Goodbye(GoesOn):
    """RFC 9113, 6.8: GOAWAY is about new streams, not about those that run."""

    def test_of_a_client_leaves_its_replies_whole(self):
        for version, script, count in ((1, fixed, 3), (2, http2.fixed2, 1)):
            with self.subTest(version):
                self.goodbye(version, script, count)

    def goodbye(self, version, script, count):
        large = b"x" * 300_000
        self.begin(version, self.provider(script(large)).address)
        peer = self.http2()
        peer.opens = False
        streams = [peer.request(path=f"/{i}") for i in range(count)]
        for n in streams:
            self.assertEqual(200, peer.head(n).status)
        peer.send(http2.goaway(0))
        peer.alive()
        peer.opens = True
        for x in (peer, *(peer.exchange(n) for n in streams)):
            x.window += 1 << 20
            peer.send(http2.window_update(0 if x is peer else x.stream, 1 << 20))
        for n in streams:
            x = peer.reply(n)
            self.assertEqual((True, None, len(large)), (x.whole, x.reset, len(x.body)))
        self.assertEqual([], [g for g in peer.goaways if g.code()])

    def test_of_a_client_that_takes_its_last_reply_slowly(self):
        """All is sent, and the kernel holds most of it. What the client says meanwhile, a
        WINDOW_UPDATE for each frame, may not destroy that; nor does `timeouts.linger` (1 s) cut it
        off while it is being taken."""
        large = b"x" * 300_000
        self.begin(1, self.provider(fixed(large)).address)
        peer = self.http2()
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        n = peer.request()
        self.assertEqual(200, peer.head(n).status)
        peer.send(http2.goaway(0))
        for x in (peer, peer.exchange(n)):
            x.window += 1 << 20
        peer.send(http2.window_update(0, 1 << 20), http2.window_update(n, 1 << 20))
        eventually(lambda: self.proxy.counters().get("offshoot_http2_clients") == 0)
        x = peer.exchange(n)
        while not x.over:
            peer.step()
            time.sleep(0.15)
        self.assertEqual((True, None, len(large)), (x.whole, x.reset, len(x.body)))
        self.assertEqual("eof", peer.read_to_end())


if __name__ == "__main__":
    unittest.main()
