"""A battery of replies of HTTP/1 providers, most of them odd, before clients of HTTP/1.1, HTTP/1.0
and HTTP/2: no client takes a reply for whole that was not, or sees bytes that are none of it.

Each table has a line for each case; battery.py has the proxy and its providers."""

import threading
import unittest

import http2
from battery import Battery, shown1, shown2, value

CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 5\r\n"
BODY = b"5\r\nhello\r\n0\r\n\r\n"
LARGE = b"x" * 70_000


# ---- replies: (name, bytes, how the provider goes on, what the client must be shown) ----
# how: "hold" keeps the connection, "close" ends it, "reset" breaks it.
# what: (status, body) of a whole reply, or "bad": 502, or cut where it can be seen.

HEAD = b"HTTP/1.1 200 OK\r\n"


def replies():
    def r(fields=b"", body=b"", first=HEAD):
        return first + fields + b"\r\n" + body

    whole = (200, b"hello")
    yield "length", r(LENGTH, b"hello"), "hold", whole
    yield "chunked", r(CHUNKED, BODY), "hold", whole
    yield "until-close", r(b"", b"hello"), "close", whole
    yield "until-close-1.0", r(b"", b"hello", b"HTTP/1.0 200 OK\r\n"), "close", whole
    yield "length-1.0", r(LENGTH, b"hello", b"HTTP/1.0 200 OK\r\n"), "close", whole
    yield "no-reason", r(LENGTH, b"hello", b"HTTP/1.1 200 \r\n"), "hold", whole
    yield "no-reason-space", r(LENGTH, b"hello", b"HTTP/1.1 200\r\n"), "hold", whole
    yield "latin-reason", r(LENGTH, b"hello", b"HTTP/1.1 200 \xe4\r\n"), "hold", whole
    yield "trailers", r(CHUNKED, BODY[:-2] + b"X: y\r\n\r\n"), "hold", whole
    yield "hundred", b"HTTP/1.1 100 Continue\r\n\r\n" + r(LENGTH, b"hello"), "hold", whole
    yield "hints", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + r(LENGTH, b"hello"), "hold", whole
    yield "hints-twice", b"HTTP/1.1 103 H\r\n\r\n" * 2 + r(LENGTH, b"hello"), "hold", whole
    yield "204", r(b"", b"", b"HTTP/1.1 204 N\r\n"), "hold", (204, b"")
    yield "204-length-0", r(b"Content-Length: 0\r\n", b"", b"HTTP/1.1 204 N\r\n"), "hold", (204,
        b"")
    yield "304", r(b"", b"", b"HTTP/1.1 304 N\r\n"), "hold", (304, b"")
    yield "304-length", r(LENGTH, b"", b"HTTP/1.1 304 N\r\n"), "hold", (304, b"")
    yield "304-chunked", r(CHUNKED, b"", b"HTTP/1.1 304 N\r\n"), "hold", (304, b"")
    yield "connection-names-length", r(b"Connection: content-length\r\n" + LENGTH,
        b"hello"), "hold", (
        whole)
    # cut short
    yield "length-short-close", r(LENGTH, b"hell"), "close", "bad"
    yield "length-short-reset", r(LENGTH, b"hell"), "reset", "bad"
    yield "length-none-close", r(LENGTH), "close", "bad"
    yield "length-large-close", r(b"Content-Length: 100000\r\n", b"x" * 99_999), "close", "bad"
    yield "length-large-reset", r(b"Content-Length: 100000\r\n", b"x" * 99_999), "reset", "bad"
    for at in (1, 3, 5, 8, 10, 11, 13, 14):
        yield f"chunked-short-{at}", r(CHUNKED, BODY[:at]), "close", "bad"
        yield f"chunked-reset-{at}", r(CHUNKED, BODY[:at]), "reset", "bad"
    yield "chunked-none", r(CHUNKED), "close", "bad"
    yield "chunked-large", r(CHUNKED, b"186a0\r\n" + b"x" * 99_999), "close", "bad"
    yield "trailers-short", r(CHUNKED, BODY[:-2] + b"X: y\r\n"), "close", "bad"
    yield "until-close-reset", r(b"", b"hello"), "reset", "bad"
    yield "until-close-reset-large", r(b"", b"x" * 200_000), "reset", "bad"
    yield "head-short", HEAD + b"Content-Le", "close", "bad"
    yield "head-short-line", b"HTTP/1.1 20", "close", "bad"
    yield "head-no-end", HEAD + LENGTH, "close", "bad"
    yield "nothing", b"", "close", "bad"
    yield "nothing-reset", b"", "reset", "bad"
    yield "hundred-only", b"HTTP/1.1 100 C\r\n\r\n", "close", "bad"
    yield "hints-then-short", b"HTTP/1.1 103 H\r\n\r\nHTTP/1.1 2", "close", "bad"
    # more than one reading
    yield "both", r(LENGTH + CHUNKED, BODY), "close", "bad"
    yield "both-2", r(CHUNKED + LENGTH, BODY), "hold", "bad"
    for name, raw in {"plus": b"+5", "minus": b"-5", "hex": b"0x5", "list": b"5, 5",
        "list-2": b"5, 6",
                      "empty": b"", "word": b"x", "overflow": b"9223372036854775808",
                      "space": b"5 5",
                      "wraps": b"18446744073709551621", "digits": b"0" * 19 + b"5",
                      "latin": b"\xb2"}.items():  # fmt: skip
        yield "length-" + name, r(b"Content-Length: " + raw + b"\r\n", b"hello"), "close", "bad"
    yield "length-twice", r(LENGTH * 2, b"hello"), "hold", "bad"
    yield "length-twice-other", r(LENGTH + b"Content-Length: 6\r\n", b"hello!"), "hold", "bad"
    for name, raw in {"x": b"xchunked", "gzip": b"gzip", "list": b"gzip, chunked",
        "twice": b"chunked, chunked",
                      "identity": b"identity", "empty": b"", "quoted": b'"chunked"',
                      "parameter": b"chunked;a"}.items():  # fmt: skip
        yield "coding-" + name, r(b"Transfer-Encoding: " + raw + b"\r\n", BODY), "close", "bad"
    yield "coding-twice", r(CHUNKED * 2, BODY), "hold", "bad"
    yield "chunked-1.0", r(CHUNKED, BODY, b"HTTP/1.0 200 OK\r\n"), "close", "bad"
    for name, body in {
        "lf": b"5\nhello\n0\n\n", "size-space": b"5 \r\nhello\r\n0\r\n\r\n",
        "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
        "minus": b"-5\r\nhello\r\n0\r\n\r\n", "17": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        "word": b"hello", "data-long": b"4\r\nhello\r\n0\r\n\r\n",
        "data-end": b"5\r\nhelloXX0\r\n\r\n",
        "huge": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "ext": b"5;\0\r\nhello\r\n0\r\n\r\n",
        "trailer-length": BODY[:-2] + LENGTH + b"\r\n", "trailer-fold": BODY[:-2] + b" x\r\n\r\n",
        "trailer-lf": BODY[:-2] + b"X: y\n\n", "empty-size": b"\r\nhello\r\n0\r\n\r\n",
    }.items():  # fmt: skip
        yield "chunks-" + name, r(CHUNKED, body), "close", "bad"
    # more than a reply
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    yield "more-length", r(LENGTH, b"hello!"), "hold", "bad"
    yield "more-chunked", r(CHUNKED, BODY + b"!"), "hold", "bad"
    yield "two-replies", r(LENGTH, b"hello") + evil, "hold", "bad"
    yield "two-replies-chunked", r(CHUNKED, BODY) + evil, "hold", "bad"
    yield "two-replies-0", r(b"Content-Length: 0\r\n") + evil, "hold", "bad"
    yield "204-body", r(b"", b"hello", b"HTTP/1.1 204 N\r\n"), "hold", "bad"
    yield "204-length", r(LENGTH, b"hello", b"HTTP/1.1 204 N\r\n"), "hold", "bad"
    yield "204-chunked", r(CHUNKED, BODY, b"HTTP/1.1 204 N\r\n"), "hold", "bad"
    yield "304-body", r(b"", b"hello", b"HTTP/1.1 304 N\r\n"), "hold", "bad"
    yield "304-length-body", r(LENGTH, b"hello", b"HTTP/1.1 304 N\r\n"), "hold", "bad"
    yield "hundred-body", b"HTTP/1.1 100 C\r\n" + LENGTH + b"\r\nhello" + r(LENGTH,
        b"hello"), "hold", (
        "bad")
    yield "101", r(b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"", b"HTTP/1.1 101 S\r\n"), (
        "hold"), "bad"
    yield "101-plain", r(b"", b"", b"HTTP/1.1 101 S\r\n"), "hold", "bad"
    yield "hundred-flood", b"HTTP/1.1 103 H\r\n\r\n" * 200 + r(LENGTH, b"hello"), "hold", "bad"
    # lines and fields
    for name, line in {
        "word": b"hello\r\n", "0.9": b"<html>\r\n", "2": b"HTTP/2 200 OK\r\n",
        "1.2": b"HTTP/1.2 200 OK\r\n",
        "lower": b"http/1.1 200 OK\r\n", "status-2": b"HTTP/1.1 20 OK\r\n",
        "status-4": b"HTTP/1.1 2000 OK\r\n",
        "status-099": b"HTTP/1.1 099 OK\r\n", "status-600": b"HTTP/1.1 600 OK\r\n",
        "tab": b"HTTP/1.1\t200 OK\r\n",
        "status-word": b"HTTP/1.1 abc OK\r\n", "two-spaces": b"HTTP/1.1  200 OK\r\n",
        "first": b" HTTP/1.1 200 OK\r\n",
        "lf": b"HTTP/1.1 200 OK\n", "cr": b"HTTP/1.1 200 O\rK\r\n", "nul": b"HTTP/1.1 200 O\0K\r\n",
        "minus": b"HTTP/1.1 -20 OK\r\n", "empty-line": b"\r\nHTTP/1.1 200 OK\r\n",
        "icy": b"ICY 200 OK\r\n",
        "plus": b"HTTP/1.1 +20 OK\r\n", "status-0": b"HTTP/1.1 000 OK\r\n",
    }.items():  # fmt: skip
        yield "line-" + name, r(LENGTH, b"hello", line), "close", "bad"
    for name, field in {
        "fold": b"X: y\r\n z\r\n", "first-fold": b" X: y\r\n", "space": b"X : y\r\n",
        "no-colon": b"X\r\n",
        "empty": b": y\r\n", "nul": b"X: \0\r\n", "cr": b"X: a\rSet-Cookie: b\r\n",
        "lf": b"X: a\nY: b\r\n",
        "vt": b"X: a\x0bb\r\n", "del": b"X: \x7f\r\n", "name-nul": b"X\0: y\r\n",
        "name-latin": b"\xe4: y\r\n",
        "large": b"X: " + LARGE + b"\r\n", "many": b"X: y\r\n" * 150,
        "length-space": b"Content-Length : 9\r\n",
        "coding-space": b"Transfer-Encoding : chunked\r\n",
        "length-tab": b"\tContent-Length: 9\r\n",
    }.items():  # fmt: skip
        yield "field-" + name, r(field + LENGTH, b"hello"), "close", "bad"


def head_replies():
    """To HEAD."""
    yield "length", HEAD + LENGTH + b"\r\n", "hold", (200, b"")
    yield "chunked", HEAD + CHUNKED + b"\r\n", "hold", (200, b"")
    yield "none", HEAD + b"\r\n", "hold", (200, b"")
    yield "huge", HEAD + b"Content-Length: 9223372036854775807\r\n\r\n", "hold", (200, b"")
    yield "body", HEAD + LENGTH + b"\r\nhello", "hold", "bad"
    yield "chunks", HEAD + CHUNKED + b"\r\n" + BODY, "hold", "bad"
    yield "both", HEAD + LENGTH + CHUNKED + b"\r\n", "hold", "bad"
    yield "short", HEAD + LENGTH, "close", "bad"


class Replies(Battery):
    conf = "timeouts: {head: 5s, stream: 5s}\n"

    def answers(self, data, how):
        def reply(stream, _):
            stream.send(data)
            if how == "hold":
                return True
            if how == "reset":
                try:  # it has been read first
                    stream.sock.settimeout(0.15)
                    stream.sock.recv(1)
                except OSError:
                    pass
                stream.reset()
            return False

        return reply

    def judge_reply(self, name, shown, want, body=True):
        if want == "bad":
            self.assertTrue(shown.kind in ("cut", "gone") or shown.status == 502, (name, shown))
        else:
            got = (shown.kind, shown.status, shown.body)
            self.assertEqual(("whole", want[0], want[1] if body else b""), got, name)

    def run_replies(self, table, method, ask):
        count = 0
        for n, (name, data, how, want) in enumerate(table):
            count += 1
            path = f"/r{method}{n}"
            self.replies[path] = self.answers(data, how)
            with self.subTest(name):
                self.judge_reply(name, ask(path), want)
                good = ask("/good")
                self.assertEqual(("whole", 200), (good.kind, good.status), name)
                self.assertEqual(b"" if method == "HEAD" else b"ok", good.body, name)
        self.rest()
        return count

    def ask1(self, method):
        def ask(path):
            with self.connection() as stream:
                stream.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                shown = shown1(stream, method)
                if shown.kind == "whole":  # nothing may come behind it
                    if value(shown, "connection") == "close":
                        stream.expect_end()
                    else:
                        stream.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
                        self.assertEqual((200, b"ok"), shown1(stream)[1:3])
                return shown

        return ask

    def ask2(self, method):
        def ask(path):
            if not self.peer or self.peer.goaways:
                self.peer = self.closes(http2.connect(self.proxy.address))
            return shown2(self.peer, self.peer.request(method, path), method)

        self.peer = None
        return ask

    def test_replies_before_a_client_of_http1(self):
        self.assertGreater(self.run_replies(replies(), "GET", self.ask1("GET")), 130)
        self.run_replies(head_replies(), "HEAD", self.ask1("HEAD"))

    def test_replies_before_a_client_of_http2(self):
        self.assertGreater(self.run_replies(replies(), "GET", self.ask2("GET")), 130)
        self.run_replies(head_replies(), "HEAD", self.ask2("HEAD"))

    def test_replies_before_a_client_of_http1_0(self):
        def ask(path):
            with self.connection() as stream:
                stream.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                shown = shown1(stream)
                self.assertNotIn("transfer-encoding", [n for n, _ in shown.fields])
                if shown.kind == "whole":
                    stream.expect_end()
                return shown

        self.run_replies(replies(), "GET", ask)

    def test_what_comes_after_a_reply_is_nobodys_reply(self):
        """Also when it comes late, as long as it comes before the next request."""
        for first in (HEAD + LENGTH + b"\r\nhello", HEAD + CHUNKED + b"\r\n" + BODY,
                      b"HTTP/1.1 204 N\r\n\r\n", b"HTTP/1.1 304 N\r\nContent-Length: 4\r\n\r\n"):
            for i in range(40):
                said = threading.Event()

                def late(stream, _, first=first, said=said):
                    stream.send(first)
                    stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
                    said.set()

                self.replies = {"/late": late}
                with self.connection() as stream:
                    stream.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
                    shown = shown1(stream)
                    said.wait(10)
                    self.assertNotIn(b"evil", shown.body)
                    if value(shown, "connection") == "close" or shown.kind != "whole":
                        continue
                    stream.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
                    self.assertEqual((200, b"ok"), shown1(stream)[1:3], (first, i))
        self.rest()


if __name__ == "__main__":
    unittest.main()
