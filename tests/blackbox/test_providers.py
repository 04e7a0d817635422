"""Providers that misbehave: what the client is told, what is counted, and that the next request is
served as if nothing had been."""

import socket
import threading
import unittest

from graphs import baseline, gateway, graph_of, overlay, service
from harness import Incomplete, ProxyCase, eventually, reply_bytes, request_bytes

GRAPH = graph_of(
    service("shop"),
    service("hasty", "policy: {timeout: 150ms, connectTimeout: 150ms}"),
    service("once", "policy: {retries: {max: 0}}"),
    gateway({"/": "shop", "/hasty": "hasty", "/once": "once"}, "select: [{header: x-env}]"),
    baseline(shop="%(shop)s", hasty="%(shop)s", once="%(shop)s"),
    overlay("other", shop="[%(other)s]", hasty="[%(other)s]", once="[%(other)s]"),
)
OTHER = [("x-env", "other")]
OK = reply_bytes(200, b"ok")


def errors(reason):
    return f'offshoot_provider_errors_total{{reason="{reason}"}}'


def malformed(reason):
    return f'offshoot_bad_replies_total{{reason="{reason}"}}'


class FullListener:
    """An address whose backlog is full: the kernel answers no further connection."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(0)
        name = self.sock.getsockname()
        self.address = f"{name[0]}:{name[1]}"
        self.fill = []
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(name)
            self.fill.append(s)

    def close(self):
        for s in (*self.fill, self.sock):
            s.close()


class ProviderCase(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, *flags, other=None):
        self.bad = None  # what the provider does with requests for /bad and the like
        self.shop = self.provider(self.serve)
        other = other or [self.shop.address]
        listed = ", ".join(f'"{a}"' for a in other)
        graph = GRAPH % {"shop": self.shop.address, "other": listed}
        self.proxy = self.start_proxy(graph, *flags)

    def serve(self, stream):
        stream.timeout = 3600.0
        while True:
            request = stream.read_request(body=False)
            if request is None:
                return
            stream.provider.note(request)
            if "bad" in request.target:
                if not self.bad(stream):
                    return
                continue
            stream._body(request, until_close=False)
            stream.send(OK)

    def sends(self, data):
        """The provider answers with these bytes, and keeps the connection."""

        def script(stream):
            stream.send(data)
            return True

        self.bad = script

    def dies(self, data, reset=False):
        """The provider answers with these bytes and closes."""

        def script(stream):
            stream.send(data)
            if reset:
                stream.reset()

        self.bad = script

    def next_works(self, stream):
        reply = stream.ask(request_bytes("GET", "/next", "a"))
        self.assertEqual((reply.status, reply.body), (200, b"ok"))

    def refused(self, word, status, *counters, target="/once/bad", method="GET", fields=(), n=1):
        """A request that is refused; the connection is kept, and each counter goes up by n."""
        with self.client(self.proxy) as stream:
            self.next_works(stream)
            before = self.proxy.counters()
            reply = stream.ask(request_bytes(method, target, "a", fields))
            self.assertEqual((reply.status, reply.get("x-offshoot-error")), (status, word), reply)
            changes = self.proxy.counters().since(before)
            self.assertEqual(changes.get(f'offshoot_refusals_total{{reason="{word}"}}'), 1)
            for name in counters:
                self.assertEqual(changes.get(name), n, (name, changes))
            others = [k for k in changes if k.startswith(("offshoot_provider_errors_total",
                      "offshoot_bad_replies_total")) and k not in counters]  # fmt: skip
            self.assertEqual(others, [])
            self.next_works(stream)
        return reply

    def aborted(self, reason, *counters, target="/bad"):
        """A reply that breaks off: the client sees that it is not whole."""
        with self.client(self.proxy) as stream:
            before = self.proxy.counters()
            stream.send(request_bytes("GET", target, "a"))
            with self.assertRaises(Incomplete) as caught:
                reply = stream.read_reply()
                # Nothing had left the proxy yet: then it may still say so.
                self.assertEqual((reply.status, reply.get("x-offshoot-error")), (502, "bad-reply"))
                raise Incomplete("eof", b"")
            self.assertIn(caught.exception.reason, ("eof", "reset"))
            changes = self.proxy.counters().since(before)
            for name in (errors(reason), *counters):
                self.assertEqual(changes.get(name), 1, (name, changes))
        with self.client(self.proxy) as stream:
            self.next_works(stream)


class Connecting(ProviderCase):
    def test_refused(self):
        self.begin(other=[self.nobody().address])
        self.refused("connect", 502, errors("refused"), target="/once", fields=OTHER)
        # Another try is the default, and there is only this endpoint.
        self.refused("connect", 502, errors("refused"), target="/", fields=OTHER, n=2)
        self.assertEqual(self.proxy.counters().get("offshoot_retries_total"), 1)

    def test_the_next_endpoint_is_tried(self):
        good = self.provider()
        self.begin(other=[self.nobody().address, good.address])
        with self.client(self.proxy) as stream:
            for _ in range(6):
                reply = stream.ask(request_bytes("POST", "/", "a", OTHER, b"some body"))
                self.assertEqual(reply.status, 200)
        self.assertEqual([r.body for r in good.requests], [b"some body"] * 6)
        self.assertEqual(self.proxy.counters().get("offshoot_retries_total"), 3)

    def test_a_full_backlog(self):
        self.begin(other=[self.closes(FullListener()).address])
        self.refused("connect", 502, errors("connect-timeout"), target="/hasty", fields=OTHER, n=2)


class BadHeads(ProviderCase):
    def test_closed_before_the_first_byte(self):
        self.begin()
        for reset in (False, True):
            self.dies(b"", reset)
            self.refused("bad-reply", 502, errors("closed"))

    def test_closed_within_the_head(self):
        self.begin()
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        for n in range(1, len(whole)):
            self.dies(whole[:n])
            self.refused("bad-reply", 502, errors("closed-in-head"))

    def test_hanging_before_or_within_the_head(self):
        self.begin()
        for data in (b"", b"HTTP/1.1 200 OK\r\nX: "):
            self.sends(data)
            self.refused("timeout", 504, errors("reply-timeout"), target="/hasty/bad")

    GARBAGE = (
        ("status-line", b"HTTP/1.1\r\n\r\n"),
        ("status-line", b"HTTP/1.1 20 OK\r\n\r\n"),
        ("status-line", b"HTTP/1.1 2000 OK\r\n\r\n"),
        ("status-line", b"HTTP/1.1 099 X\r\n\r\n"),
        ("status-line", b"HTTP/1.1 600 X\r\n\r\n"),
        ("status-line", b"HTTP/1.1 2x0 X\r\n\r\n"),
        ("status-line", b"HTTP/1.1  200 OK\r\n\r\n"),
        ("status-line", b"<html>not http</html>\r\n\r\n"),
        ("status-line", b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("status-line", b" HTTP/1.1 200 OK\r\n\r\n"),
        ("status-line", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("version", b"HTTP/2.0 200 OK\r\n\r\n"),
        ("version", b"HTTP/1.2 200 OK\r\n\r\n"),
        ("version", b"HTTP/0.9 200 OK\r\n\r\n"),
        ("bare-lf", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("bare-lf", b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 0\r\n\r\n"),
        ("bare-cr", b"HTTP/1.1 200 OK\r\nX: y\rContent-Length: 0\r\n\r\n"),
        ("control-byte", b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n"),
        ("control-byte", b"\x15\x03\x01\x00\x02\x02\x28"),
        ("field-name", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
        ("field-name", b"HTTP/1.1 200 OK\r\nX y: z\r\n\r\n"),
        ("field-name", b"HTTP/1.1 200 OK\r\nnothing\r\n\r\n"),
        ("obs-fold", b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n"),
        ("content-length", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
        ("content-length", b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nok"),
        ("content-length", b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok"),
        ("content-length-twice", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
        ("content-length-twice",
         b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        ("both-framings",
         b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("both-framings",
         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n"),
        ("transfer-coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("transfer-coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok"),
        ("transfer-coding", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("body-forbidden", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"),
        ("body-forbidden", b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("body-forbidden", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok"),
        ("head-too-large", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 32768 + b"\r\n\r\n"),
        ("too-many-fields", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n"),
    )  # fmt: skip

    def test_garbage(self):
        self.begin()
        for reason, data in self.GARBAGE:
            with self.subTest(reason=reason, data=data[:80]):
                self.sends(data)
                self.refused("bad-reply", 502, errors("malformed"), malformed(reason))

    def test_the_largest_head_and_the_most_fields_pass(self):
        self.begin()
        start = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        fill = 32768 - len(start) - len(b"X: \r\n\r\n")
        for data, count in ((start + b"X: " + b"y" * fill + b"\r\n\r\nok", 1),
                            (start + b"X: y\r\n" * 99 + b"\r\nok", 99)):
            self.sends(data)
            with self.client(self.proxy) as stream:
                reply = stream.ask(request_bytes("GET", "/bad", "a"))
                self.assertEqual((reply.status, reply.body), (200, b"ok"))
                self.assertEqual(len(reply.all("x")), count)
        self.sends(start + b"X: " + b"y" * (fill + 1) + b"\r\n\r\nok")
        self.refused("bad-reply", 502, errors("malformed"), malformed("head-too-large"))
        self.sends(start + b"X: y\r\n" * 100 + b"\r\nok")
        self.refused("bad-reply", 502, errors("malformed"), malformed("too-many-fields"))

    def test_interim_replies_have_a_limit(self):
        self.begin()
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        self.sends(interim * 16 + OK)
        with self.client(self.proxy) as stream:
            stream.send(request_bytes("GET", "/bad", "a"))
            for _ in range(16):
                self.assertEqual(stream.read_reply().status, 103)
            self.assertEqual(stream.read_reply().status, 200)
        self.sends(interim * 17 + OK)
        self.refused("bad-reply", 502, errors("malformed"), malformed("status-line"))

        def endless(stream):
            while True:
                stream.send(interim * 100)

        self.bad = endless
        self.refused("bad-reply", 502, errors("malformed"), malformed("status-line"))

    def test_a_switch_nobody_asked_for(self):
        self.begin()
        self.sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        for fields in ([], [("Connection", "upgrade"), ("Upgrade", "h2c")]):
            self.refused("bad-reply", 502, errors("malformed"), malformed("status-line"),
                         fields=fields)


class BadBodies(ProviderCase):
    BROKEN = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n",
    )

    def test_dying_within_the_body(self):
        self.begin()
        for data in self.BROKEN:
            with self.subTest(data=data):
                self.dies(data)
                self.aborted("closed-in-body")

    def test_a_reset_within_the_body(self):
        self.begin()
        for data in (*self.BROKEN, b"HTTP/1.1 200 OK\r\n\r\nok"):
            with self.subTest(data=data):
                seen = threading.Event()

                def script(stream):
                    stream.send(data)
                    seen.wait(10)
                    stream.reset()

                self.bad = script
                before = self.proxy.counters()
                with self.client(self.proxy) as stream:
                    stream.send(request_bytes("GET", "/bad", "a"))
                    self.assertEqual(stream.read_reply(body=False).status, 200)
                    seen.set()
                    with self.assertRaises(Incomplete):
                        while stream.read_exactly(1):
                            pass
                    self.assertNotIn(b"0\r\n\r\n", stream.buffer)
                changes = self.proxy.counters().since(before)
                self.assertEqual(changes.get(errors("closed-in-body")), 1)

    def test_a_reset_that_comes_with_the_last_bytes_is_noticed_at_once(self):
        self.begin()
        for data in (*self.BROKEN, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000) * 3:
            with self.subTest(data=data[:80]):
                self.dies(data, reset=True)
                self.aborted("closed-in-body")
        for n in range(1, 30):
            self.dies(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"[:n], reset=True)
            self.refused("bad-reply", 502, errors("closed-in-head"))

    def test_to_a_client_of_1_0_a_broken_reply_ends_with_a_reset(self):
        self.begin()
        waiting = threading.Event()

        def script(stream):
            stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            waiting.wait(10)

        self.bad = script
        with self.client(self.proxy) as stream:
            stream.send(b"GET /bad HTTP/1.0\r\n\r\n")
            stream.read_reply(body=False)
            stream.read_exactly(2)
            waiting.set()
            with self.assertRaises(Incomplete) as caught:
                stream.read_to_end()
            self.assertEqual(caught.exception.reason, "reset")

    def test_hanging_within_the_body(self):
        self.write("conf.yaml", "timeouts: {stream: 200ms}\n")
        self.begin("-c", "conf.yaml")
        for data in (self.BROKEN[0], self.BROKEN[1], self.BROKEN[4], self.BROKEN[6], self.BROKEN[8],
                     b"HTTP/1.1 200 OK\r\n\r\nok"):
            with self.subTest(data=data):
                self.sends(data)
                self.aborted("stalled")

    def test_malformed_chunks(self):
        self.begin()
        start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
        for reason, data in (
            ("chunk-size", b"x\r\n"), ("chunk-size", b"\r\n"), ("chunk-size", b"-1\r\n"),
            ("chunk-size", b"0x1\r\n"), ("chunk-size", b"11111111111111111\r\n"),
            ("chunk-size", b"ffffffffffffffff\r\n"), ("chunk-extension", b"1;\r\n"),
            ("chunk-extension", b"1;" + b"x" * 256 + b"\r\n"), ("bare-lf", b"1\n"),
            ("chunk-end", b"1\r\nxx"), ("trailer", b"0\r\nContent-Length: 2\r\n\r\n"),
            ("trailer", b"0\r\nX : y\r\n\r\n"), ("trailer", b"0\r\nX: y\n\r\n"),
        ):  # fmt: skip
            with self.subTest(reason=reason, data=data):
                self.sends(start + data)
                self.aborted("malformed", malformed(reason))

    def test_bytes_after_the_end(self):
        self.begin()
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        for whole, method in (
            (OK, "GET"), (chunked, "GET"), (b"HTTP/1.1 204 No Content\r\n\r\n", "GET"),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET"),
            (reply_bytes(), "GET"), (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD"),
        ):  # fmt: skip
            for extra in (b"x", b"\r\n", OK):
                with self.subTest(whole=whole, extra=extra):
                    self.sends(whole + extra)
                    reply = self.refused("bad-reply", 502, errors("extra-bytes"), method=method)
                    self.assertNotEqual(reply.body, b"ok")

    def test_bytes_on_an_unused_connection(self):
        self.begin()
        go = threading.Event()

        def script(stream):
            stream.send(OK)
            go.wait(10)
            stream.send(OK)
            return True

        self.bad = script
        with self.client(self.proxy) as stream:
            self.assertEqual(stream.ask(request_bytes("GET", "/bad", "a")).status, 200)
            go.set()
            eventually(lambda: self.proxy.counters().get(
                "offshoot_provider_closes_total", reason="idle-readable") == 1)
            self.next_works(stream)
        self.assertEqual(self.shop.accepted, 2)


class Early(ProviderCase):
    def test_a_reply_before_the_request_is_whole(self):
        self.begin()
        self.sends(reply_bytes(403, b"no"))
        with self.client(self.proxy) as stream:
            stream.send(request_bytes("POST", "/bad", "a", [("Content-Length", "10")]) + b"12345")
            reply = stream.read_reply()
            self.assertEqual((reply.status, reply.body), (403, b"no"))
            self.assertEqual(reply.get("connection"), "close")
            stream.expect_end()
        eventually(lambda: self.proxy.counters().get(
            "offshoot_client_closes_total", reason="early-reply") == 1)
        eventually(lambda: self.shop.open_connections == 0)
        with self.client(self.proxy) as stream:
            self.next_works(stream)
        self.assertEqual(self.shop.accepted, 2)

    def test_a_provider_that_answers_and_closes_before_a_large_request_ends(self):
        self.begin()
        self.dies(reply_bytes(413, b"no"))
        body = b"x" * 4_000_000
        with self.client(self.proxy) as stream:
            try:
                stream.send(request_bytes("POST", "/bad", "a", body=body))
            except OSError:
                pass
            reply = stream.read_reply()
            self.assertEqual((reply.status, reply.body), (413, b"no"))
        with self.client(self.proxy) as stream:
            self.next_works(stream)


class Stale(ProviderCase):
    """A connection used before is closed just when it gets another request."""

    def stale(self, method, body=b"", fields=()):
        """The second request on a connection meets its end; how many times it was sent."""
        with self.client(self.proxy) as stream:
            self.next_works(stream)
            before, seen = self.proxy.counters(), len(self.shop.requests)
            # The first try meets a connection's end, the next one an answer.
            self.bad, self.answers = self.once_more, iter((True, False))
            reply = stream.ask(request_bytes(method, "/bad", "a", fields, body))
            changes = self.proxy.counters().since(before)
            self.next_works(stream)
        tries = [r for r in self.shop.requests[seen:] if r.target == "/bad"]
        return reply, changes, tries

    def once_more(self, stream):
        if next(self.answers):
            return False  # closed without a word
        request = self.shop.requests[-1]
        stream._start()
        stream._body(request, until_close=False)
        stream.send(OK[:-2] if request.method == "HEAD" else OK)
        return True

    def test_idempotent_requests_are_said_again_once(self):
        self.begin()
        for method in ("GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "PUT"):
            with self.subTest(method):
                reply, changes, tries = self.stale(method)
                self.assertEqual(reply.status, 200)
                self.assertEqual(changes.get("offshoot_retries_total"), 1)
                self.assertEqual([t.method for t in tries], [method] * 2)

    def test_others_are_not(self):
        self.begin()
        for method in ("POST", "PATCH", "PURGE", "get"):
            with self.subTest(method):
                reply, changes, tries = self.stale(method)
                self.assertEqual((reply.status, reply.get("x-offshoot-error")), (502, "bad-reply"))
                self.assertIsNone(changes.get("offshoot_retries_total"))
                self.assertEqual(changes.get(errors("closed")), 1)
                self.assertEqual(len(tries), 1)

    def test_the_body_is_said_again_whole(self):
        self.begin()
        body = bytes(range(256)) * 100
        for fields, data in (
            ([], body),
            ([("Transfer-Encoding", "chunked")], b"6400\r\n" + body + b"\r\n0\r\n\r\n"),
        ):
            reply, changes, tries = self.stale("PUT", data, fields)
            self.assertEqual(reply.status, 200)
            self.assertEqual(changes.get("offshoot_retries_total"), 1)
            self.assertTrue(tries[-1].body == body)

    def test_a_connection_closed_while_unused_is_not_used(self):
        self.begin()
        self.dies(OK)
        with self.client(self.proxy) as stream:
            for _ in range(20):
                self.assertEqual(stream.ask(request_bytes("POST", "/bad", "a")).status, 200)
                eventually(lambda: self.proxy.counters().get("offshoot_provider_connections") == 0)
        self.assertEqual(self.proxy.counters().get("offshoot_retries_total"), 0)


if __name__ == "__main__":
    unittest.main()
