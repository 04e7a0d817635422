"""Limits and time-outs of the running proxy, each at its bound and one beyond, with its counter;
and that large bodies take no memory."""

import os
import resource
import socket
import threading
import time
import unittest
import zlib
from pathlib import Path

from harness import (ONE_SHOP, Incomplete, ProxyCase, eventually, fixed, http_script, reply_bytes,
                     request_bytes, sanitized)

CHUNKED = [("Transfer-Encoding", "chunked")]
MIB = 1 << 20


class LimitCase(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, conf, script=None):
        self.shop = self.provider(script or fixed())
        self.write("conf.yaml", conf + "\n")
        self.proxy = self.start_proxy(ONE_SHOP % self.shop.address, "-c", "conf.yaml")

    def counted(self, name, **labels):
        return self.proxy.counters().get(name, **labels)

    def closed(self, n, side, reason):
        """A connection's close is counted when it is closed, after the other side saw its end."""
        name = f"offshoot_{side}_closes_total"
        eventually(lambda: self.counted(name, reason=reason) == n, what=f"{n} times {reason}")

    def accepted(self, data):
        with self.client(self.proxy) as stream:
            reply = stream.ask(data)
            self.assertEqual(reply.status, 200, reply)
            return reply

    def refused(self, data, status, word, name, **labels):
        """Refused with this status and word, and the counter goes up by one."""
        before = self.counted(name, **labels)
        with self.client(self.proxy) as stream:
            reply = stream.ask(data)
            self.assertEqual((reply.status, reply.get("x-offshoot-error")), (status, word))
        self.assertEqual(self.counted(name, **labels), before + 1)
        return reply


class Heads(LimitCase):
    def test_bytes_of_a_head(self):
        for conf, limit in (("{}", 32768), ("limits: {headBytes: 1k}", 1024)):
            self.begin(conf)
            empty = len(request_bytes("GET", "/", "a", [("X", "")]))
            fits = request_bytes("GET", "/", "a", [("X", "y" * (limit - empty))])
            over = request_bytes("GET", "/", "a", [("X", "y" * (limit - empty + 1))])
            self.accepted(fits)
            self.refused(over, 431, "too-large", "offshoot_bad_requests_total",
                         reason="head-too-large")
            # Endless heads are not collected either.
            self.refused(b"GET /" + b"x" * 3 * limit, 431, "too-large",
                         "offshoot_bad_requests_total", reason="head-too-large")
            self.assertEqual(self.counted("offshoot_refusals_total", reason="too-large"), 2)

    def test_fields_of_a_head(self):
        for limit in (100, 8, 1000):
            self.begin("{}" if limit == 100 else f"limits: {{fields: {limit}}}")
            self.accepted(request_bytes("GET", "/", "a", [("X", "y")] * (limit - 1)))
            self.refused(request_bytes("GET", "/", "a", [("X", "y")] * limit), 431, "too-large",
                         "offshoot_bad_requests_total", reason="too-many-fields")


class Chunks(LimitCase):
    def chunks(self, *extensions, trailers=b""):
        body = b"".join(b"1" + e + b"\r\nx\r\n" for e in extensions)
        return request_bytes("POST", "/", "a", CHUNKED) + body + b"0\r\n" + trailers + b"\r\n"

    def test_bytes_of_extensions(self):
        self.begin("limits: {chunkExtensionBytes: 16}")
        fits = b";" + b"e" * 15
        self.accepted(self.chunks(fits))
        reason = {"reason": "chunk-extension"}
        self.refused(self.chunks(fits + b"e"), 400, "bad-request", "offshoot_bad_requests_total",
                     **reason)
        # Sixteen times as much over a body.
        self.accepted(self.chunks(*[fits] * 16))
        self.refused(self.chunks(*[fits] * 16, b";e"), 400, "bad-request",
                     "offshoot_bad_requests_total", **reason)

    def test_no_extensions_at_all(self):
        self.begin("limits: {chunkExtensionBytes: 0}")
        self.accepted(self.chunks(b""))
        self.refused(self.chunks(b";e"), 400, "bad-request", "offshoot_bad_requests_total",
                     reason="chunk-extension")

    def test_bytes_and_fields_of_trailers(self):
        self.begin("limits: {trailerBytes: 256, fields: 8}")
        line = b"X: " + b"y" * 251 + b"\r\n"
        self.assertEqual(len(line), 256)
        self.accepted(self.chunks(trailers=line))
        self.accepted(self.chunks(trailers=b"X: y\r\n" * 8))
        for trailers in (line[:3] + line[2:], b"X: y\r\n" * 9, b"X: " + b"y" * 5000):
            self.refused(self.chunks(trailers=trailers), 400, "bad-request",
                         "offshoot_bad_requests_total", reason="trailer")


class Connections(LimitCase):
    def setUp(self):
        super().setUp()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, limits[1]), limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)

    def test_a_thousand_connections_at_a_limit_of_five_hundred(self):
        self.begin("limits: {connections: 500}\noverload: {keepAlive: 100}")
        streams = [self.client(self.proxy) for _ in range(1000)]
        # A quarter above the limit, and sixteen, are answered; what comes then is closed at once.
        answered = 500 // 4 + 16

        def all_judged():
            now = self.proxy.counters()
            return (now.get("offshoot_accepts_total") + now.get(
                "offshoot_connections_dropped_total")) == 1000

        eventually(all_judged)
        self.assertEqual(self.counted("offshoot_connections_refused_total"), answered)
        self.assertEqual(self.counted("offshoot_connections_dropped_total"), 500 - answered)
        for stream in streams[:500]:
            self.assertEqual(stream.ask(request_bytes()).status, 200)
        for stream in streams[500 : 500 + answered]:
            reply = stream.ask(request_bytes())
            self.assertEqual((reply.status, reply.get("x-offshoot-error")), (503, "overload"))
            self.assertEqual((reply.get("connection"), reply.get("retry-after")), ("close", "1"))
            stream.expect_end()
            stream.close()
        for stream in streams[500 + answered :]:
            stream.expect_end()
        self.assertEqual(self.counted("offshoot_refusals_total", reason="overload"), answered)
        eventually(
            lambda: self.counted("offshoot_client_closes_total", reason="refused") == answered)
        for stream in streams[:500]:
            self.assertEqual(stream.ask(request_bytes()).status, 200)
        streams[0].close()
        eventually(lambda: self.counted("offshoot_clients") == 499)
        self.accepted(request_bytes())

    def test_descriptors_that_run_out_pause_accepting(self):
        self.begin("limits: {connections: 1000}")
        self.accepted(request_bytes())
        few = self.proxy.fds() + 20
        resource.prlimit(self.proxy.pid, resource.RLIMIT_NOFILE, (few, few))
        streams = [self.client(self.proxy) for _ in range(40)]
        eventually(lambda: "cannot accept a connection, pausing" in self.proxy.errors())
        before = self.cpu_seconds()
        time.sleep(1)  # what is measured: nothing spins, and the log is told once
        self.assertLess(self.cpu_seconds() - before, 0.5)
        for stream in streams:
            stream.close()
        self.accepted(request_bytes())
        self.assertGreaterEqual(self.counted("offshoot_accept_errors_total"), 5)
        self.assertEqual(self.proxy.errors().count("cannot accept a connection, pausing"), 1)
        self.assertGreaterEqual(
            self.counted("offshoot_overload_steps_total", step="keep-alive"), 1)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.proxy.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_the_buffers_of_a_worker(self):
        self.begin("limits: {buffers: 64}")
        streams = [self.client(self.proxy) for _ in range(64)]
        for stream in streams:
            stream.send(b"GET / HTTP/1.1\r\n")
        eventually(lambda: self.counted("offshoot_buffers") == 64)
        self.assertEqual(self.counted("offshoot_buffers_refused_total"), 0)
        with self.client(self.proxy) as stream:
            reply = stream.ask(request_bytes())
            self.assertEqual((reply.status, reply.get("x-offshoot-error")), (503, "overload"))
        self.assertEqual(self.counted("offshoot_buffers_refused_total"), 1)
        # What is kept above the limit is for such replies; when that is gone too, the end is mute.
        more = [self.client(self.proxy) for _ in range(64 // 8 + 16)]
        for stream in more:
            stream.send(b"GET / HTTP/1.1\r\n")
        eventually(lambda: self.counted("offshoot_buffers") == 64 + len(more))
        with self.client(self.proxy) as stream:
            stream.send(request_bytes())
            stream.expect_end()
        self.closed(1, "client", "no-memory")
        for stream in more:
            stream.close()
        for stream in streams[:8]:
            stream.close()
        eventually(lambda: self.counted("offshoot_buffers") == 56)
        self.accepted(request_bytes())
        for stream in streams[8:]:
            stream.send(b"Host: a\r\n\r\n")
            self.assertEqual(stream.read_reply().status, 200)


class Providers(LimitCase):
    def begin_held(self, conf):
        """A provider that answers when `self.go` is set."""
        self.go = threading.Event()

        def answer(request):
            if request.target == "/held":
                self.go.wait(20)
            return reply_bytes(200, b"ok")

        self.begin(conf, http_script(answer))

    def ask_held(self, n):
        streams = [self.client(self.proxy) for _ in range(n)]
        for stream in streams:
            stream.send(request_bytes("GET", "/held"))
        return streams

    def test_connections_and_requests_that_wait_for_one(self):
        self.begin_held("limits: {providerConnections: 2, providerPending: 1}\n"
                        "timeouts: {connect: 20s}")
        streams = self.ask_held(3)
        eventually(lambda: self.counted("offshoot_requests") == 3)
        self.refused(request_bytes(), 503, "overload", "offshoot_provider_errors_total",
                     reason="pending-full")
        self.assertEqual(self.counted("offshoot_provider_connections"), 2)
        self.go.set()
        for stream in streams:
            self.assertEqual(stream.read_reply().status, 200)
        self.assertEqual(self.shop.accepted, 2)
        self.accepted(request_bytes())

    def test_waiting_has_a_time_out(self):
        self.begin_held("limits: {providerConnections: 1}\ntimeouts: {connect: 150ms}")
        streams = self.ask_held(1)
        eventually(lambda: len(self.shop.requests) == 1)
        self.refused(request_bytes(), 503, "overload", "offshoot_provider_errors_total",
                     reason="pending-timeout")
        self.go.set()
        self.assertEqual(streams[0].read_reply().status, 200)
        self.accepted(request_bytes())

    def test_unused_connections(self):
        self.begin_held("limits: {providerIdle: 2}")
        streams = self.ask_held(3)
        eventually(lambda: len(self.shop.requests) == 3)
        self.go.set()
        for stream in streams:
            self.assertEqual(stream.read_reply().status, 200)
        eventually(lambda: self.counted("offshoot_provider_idle_connections") == 2)
        self.closed(1, "provider", "full")

    def test_interim_replies(self):
        interim = b"HTTP/1.1 102 Processing\r\n\r\n"

        def answer(request):
            return interim * int(request.target[1:]) + reply_bytes(200, b"ok")

        for limit in (0, 3):
            self.begin(f"limits: {{interim: {limit}}}", http_script(answer))
            self.accepted(request_bytes("GET", f"/{limit}"))
            self.refused(request_bytes("GET", f"/{limit + 1}"), 502, "bad-reply",
                         "offshoot_provider_errors_total", reason="malformed")

    def test_bytes_of_a_body_kept_for_a_retry(self):
        closing = threading.Event()

        def answer(request):
            if request.target == "/once" and not closing.is_set():
                closing.set()
                return None  # the connection ends without a byte
            return reply_bytes(200, b"%d" % len(request.body))

        for conf, limit in (("limits: {retryBytes: 1000}", 1000), ("{}", 65536)):
            self.begin(conf, http_script(answer))
            for size, status in ((limit, 200), (limit + 1, 502)):
                closing.clear()
                with self.client(self.proxy) as stream:
                    stream.ask(request_bytes())
                    reply = stream.ask(request_bytes("PUT", "/once", "a", body=b"x" * size))
                    self.assertEqual(reply.status, status, (limit, size))
                    if status == 200:
                        self.assertEqual(reply.body, b"%d" % size)
            self.assertEqual(self.counted("offshoot_retries_total"), 1)
        self.begin("limits: {retryBytes: 0}", http_script(answer))
        for data, status in ((request_bytes("PUT", "/once", "a", body=b"x"), 502),
                             (request_bytes("GET", "/once"), 200)):
            closing.clear()
            with self.client(self.proxy) as stream:
                stream.ask(request_bytes())
                self.assertEqual(stream.ask(data).status, status)


class Slow(LimitCase):
    def drip(self, stream, data, pause, seconds=60):
        """A byte each pause, until the other side has something to say."""
        deadline = time.monotonic() + seconds
        for i in range(len(data)):
            stream.send(data[i : i + 1])
            stream.sock.settimeout(pause)
            try:
                if stream.sock.recv(1, socket.MSG_PEEK) is not None:
                    return i + 1
            except TimeoutError:
                pass
            self.assertLess(time.monotonic(), deadline)
        return len(data)

    def test_a_head_in_drops(self):
        self.begin("timeouts: {head: 400ms}")
        data = request_bytes(fields=[("X", "y" * 1000)])
        with self.client(self.proxy) as stream:
            begun = time.monotonic()
            sent = self.drip(stream, data, 0.02)
            taken = time.monotonic() - begun
            self.assertLess(sent, len(data))
            self.assertGreater(taken, 0.39)
            reply = stream.read_reply()
            told = (reply.status, reply.get("x-offshoot-error"))
            self.assertEqual(told, (408, "request-timeout"))
            stream.expect_end()
        self.closed(1, "client", "head-timeout")
        self.assertEqual(self.counted("offshoot_refusals_total", reason="request-timeout"), 1)

    def test_a_later_head_has_its_own_time(self):
        self.begin("timeouts: {head: 1500ms}")
        with self.client(self.proxy) as stream:
            for _ in range(4):
                stream.send(b"GET / HTTP/1.1\r\n")
                time.sleep(0.45)  # four times this is more than a head may take
                self.assertEqual(stream.ask(b"Host: a\r\n\r\n", "GET").status, 200)
            stream.send(b"GET / HTTP/1.1\r\n")
            self.assertEqual(stream.read_reply().status, 408)

    def test_a_body_in_drops_goes_on_and_a_pause_ends_it(self):
        self.begin("timeouts: {stream: 1500ms}")
        head = request_bytes("POST", "/", "a", [("Content-Length", "100")])
        with self.client(self.proxy) as stream:
            stream.send(head)
            self.drip(stream, b"x" * 100, 0.02)
            self.assertEqual(stream.read_reply().status, 200)
            stream.send(head + b"x" * 99)
            reply = stream.read_reply()
            told = (reply.status, reply.get("x-offshoot-error"))
            self.assertEqual(told, (408, "request-timeout"))
            stream.expect_end()
        self.closed(1, "client", "body-timeout")

    def test_an_unused_connection_is_closed_without_a_word(self):
        self.begin("timeouts: {idle: 1s}")
        with self.client(self.proxy) as stream:
            stream.ask(request_bytes())
            stream.expect_end()
        with self.client(self.proxy) as stream:
            stream.expect_end()
        self.closed(2, "client", "idle")

    def test_a_client_that_takes_nothing(self):
        self.begin("timeouts: {stream: 300ms}", fixed(b"x" * 16 * MIB))
        with self.client(self.proxy) as stream:
            stream.send(request_bytes())
            eventually(lambda: self.counted("offshoot_client_closes_total", reason="stalled") == 1)
            with self.assertRaises(Incomplete):
                stream.read_reply()
        eventually(lambda: self.shop.open_connections == 0)

    def test_a_provider_that_takes_its_time(self):
        go = threading.Event()

        def answer(request):
            go.wait(20)
            return None

        self.begin("timeouts: {reply: 200ms}", http_script(answer))
        self.refused(request_bytes(), 504, "timeout", "offshoot_provider_errors_total",
                     reason="reply-timeout")
        go.set()


class Large(LimitCase):
    SIZE = (32 if sanitized() else 256) * MIB
    PIECE = bytes(i * 7 & 255 for i in range(MIB))
    GROWTH = 2 * MIB

    def crc(self):
        value = 0
        for _ in range(self.SIZE // MIB):
            value = zlib.crc32(self.PIECE, value)
        return value

    def take(self, sock, n, start=b""):
        """The crc of n bytes, read slower than they are sent."""
        value, got, reads = zlib.crc32(start), len(start), 0
        sock.settimeout(60)
        while got < n:
            data = sock.recv(65536)
            if not data:
                raise AssertionError(f"ended after {got} of {n} bytes")
            value, got, reads = zlib.crc32(data, value), got + len(data), reads + 1
            if reads % 64 == 0:
                time.sleep(0.002)
        return value

    def give(self, stream):
        stream.timeout = 60
        for _ in range(self.SIZE // MIB):
            stream.send(self.PIECE)

    def high_water(self):
        text = Path(f"/proc/{self.proxy.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024

    def measure(self, fn):
        """Runs fn; the memory of the proxy must not grow meanwhile."""
        self.accepted(request_bytes())
        Path(f"/proc/{self.proxy.pid}/clear_refs").write_text("5")  # high water back to now
        before = self.high_water()
        fn()
        if not sanitized():  # they keep freed memory
            self.assertLessEqual(self.high_water() - before, self.GROWTH)

    def script(self, stream):
        stream.timeout = 3600
        while True:
            request = stream.read_request(body=False)
            if request is None:
                return
            if request.target == "/down":
                stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.SIZE)
                self.give(stream)
            elif request.target == "/up":
                rest, stream.buffer = stream.buffer, b""
                stream.send(reply_bytes(200, b"%d" % self.take(stream.sock, self.SIZE, rest)))
            else:
                stream.send(reply_bytes(200, b"ok"))

    def test_a_large_reply_to_a_slow_client(self):
        self.begin("{}", self.script)

        def down():
            with self.client(self.proxy) as stream:
                stream.send(request_bytes("GET", "/down"))
                reply = stream.read_reply(body=False)
                self.assertEqual(reply.get("content-length"), str(self.SIZE))
                self.assertEqual(self.take(stream.sock, self.SIZE, stream.buffer), self.crc())

        self.measure(down)

    def test_a_large_request_to_a_slow_provider(self):
        self.begin("{}", self.script)

        def up():
            with self.client(self.proxy) as stream:
                length = ("Content-Length", str(self.SIZE))
                stream.send(request_bytes("POST", "/up", "a", [length]))
                self.give(stream)
                self.assertEqual(stream.read_reply().body, b"%d" % self.crc())

        self.measure(up)


if __name__ == "__main__":
    unittest.main()
