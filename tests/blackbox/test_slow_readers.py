"""Clients that take a reply in dribbles are cut (limits.minRate); those that wait for a provider,
or take what there is, are not."""

import socket
import time
import unittest

import http2
from harness import ONE_SHOP, ProxyCase, eventually, reply_bytes, request_bytes

MIB = 1 << 20
RATE = 20_000


class SlowReaders(ProxyCase):
    def begin(self, script, conf="stream: 60s"):
        self.shop = self.provider(script)
        self.write("conf.yaml", f"limits: {{minRate: {RATE}}}\n"
                   f"timeouts: {{minRateWindow: 1s, {conf}}}\n")
        self.proxy = self.start_proxy(ONE_SHOP % self.shop.address, "-c", "conf.yaml")

    def dribbles(self, direction="reply"):
        return self.proxy.counters().get("offshoot_dribbles_total", direction=direction)

    def small(self):
        """A connection whose client takes little at a time."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = self.proxy.address.rsplit(":", 1)
        sock.connect((host, int(port)))
        self.closes(sock)
        sock.settimeout(30)
        return sock

    @staticmethod
    def large(stream):
        stream.read_request()
        stream.send(reply_bytes(200, body=b"x" * (8 * MIB)))
        stream.sock.recv(1)

    def test_a_reply_taken_in_dribbles(self):
        self.begin(self.large)
        sock = self.small()
        sock.sendall(request_bytes())
        before = time.monotonic()
        try:
            while sock.recv(100):
                time.sleep(0.1)
                if self.dribbles():
                    break
                self.assertLess(time.monotonic() - before, 60)
        except ConnectionResetError:
            pass
        self.assertEqual(self.dribbles(), 1)
        self.assertEqual(self.proxy.counters().get("offshoot_client_closes_total",
                                                   reason="too-slow"), 1)

    def test_a_reply_taken_fast_enough(self):
        """Slower than it comes, and faster than the rate."""
        self.begin(self.large)
        sock = self.small()
        sock.sendall(request_bytes())
        began = time.monotonic()
        taken = 0
        while time.monotonic() - began < 6:
            taken += len(sock.recv(8192))
            time.sleep(max(0, taken / (8 * RATE) - (time.monotonic() - began)))
        self.assertGreater(taken, 5 * RATE)
        self.assertEqual(self.dribbles(), 0)

    def test_nothing_taken_is_the_streams_time_out(self):
        self.begin(self.large, "stream: 2s")
        sock = self.small()
        sock.sendall(request_bytes())
        eventually(lambda: self.proxy.counters().get("offshoot_client_closes_total",
                                                     reason="stalled") == 1, 60)
        self.assertEqual(self.dribbles(), 0)

    def test_a_provider_that_is_slow(self):
        def slow(stream):
            stream.read_request()
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
            for _ in range(20):
                stream.send(b"x")
                time.sleep(0.2)

        self.begin(slow)
        with self.client(self.proxy) as stream:
            self.assertEqual(stream.ask(request_bytes()).body, b"x" * 20)
        self.assertEqual(self.dribbles(), 0)

    def test_a_stream_of_http_2_whose_window_opens_in_dribbles(self):
        self.begin(self.large)
        client = self.closes(http2.connect(self.proxy.address, own=[(4, 100)]))
        self.assertEqual(client.ask().body, b"x" * (8 * MIB))
        client.opens = False
        slow = client.request()
        x = client.exchange(slow)
        began = time.monotonic()
        while not x.over:
            client.send(http2.window_update(slow, 50))
            x.window += 50
            client.alive()
            time.sleep(0.1)
            self.assertLess(time.monotonic() - began, 60)
        self.assertIsNotNone(x.reset)
        self.assertEqual(self.dribbles(), 1)
        # The others of the connection go on.
        client.alive()

    def test_a_body_sent_in_dribbles(self):
        self.begin(self.large)
        with self.client(self.proxy) as stream:
            stream.send(request_bytes("POST", "/", "a", [("Content-Length", "100000")]))
            began = time.monotonic()
            try:
                while time.monotonic() - began < 30 and not self.dribbles("request"):
                    stream.send(b"x" * 10)
                    time.sleep(0.1)
            except OSError:
                pass
            reply = stream.read_reply()
            self.assertEqual((reply.status, reply.get("x-offshoot-error")),
                             (408, "request-timeout"))
        self.assertEqual(self.dribbles("request"), 1)


if __name__ == "__main__":
    unittest.main()
