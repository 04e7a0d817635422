"""Providers that misbehave over HTTP/1, each kind by its name, beyond those of test_providers.py:
what the client is shown, and that the connection is given up where it must be.

docs/internals/misbehaving-providers.md has the list."""

import gzip
import threading
import time
import unittest

from harness import eventually, reply_bytes
from http2 import goaway, settings
from misbehaving import OK, Http1Client, Http2Client, Misbehaving, errors, malformed

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STALL = "timeouts: {stream: 1s}\n"


class SlowSocket:
    """Takes little at a time."""

    def __init__(self, sock):
        self.sock = sock

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def recv(self, n):
        time.sleep(0.001)
        return self.sock.recv(min(n, 20_000))


class OfHttp1:
    """The kinds; whoever inherits says how the client speaks."""

    # -- before and instead of a reply

    def test_accepts_and_resets(self):
        self.begin()
        self.accepted = lambda stream: stream.reset()
        for _ in range(5):
            seen = self.ask_bad()  # the reset comes before the request is sent, or after
            self.assertIn((seen.kind, seen.status, seen.word),
                          [("whole", 502, "bad-reply"), ("whole", 502, "connect")])  # fmt: skip
        self.innocent_works()
        self.let_go()

    def test_never_reads(self):
        self.begin()
        waiting = threading.Event()
        self.accepted = lambda stream: waiting.wait(20)
        self.refused("timeout", 504, errors("reply-timeout"), target="/hasty")
        waiting.set()
        self.let_go()

    def test_never_reads_a_large_body(self):
        self.begin(conf=STALL)
        waiting = threading.Event()
        self.bad = lambda stream, request: waiting.wait(20) and False
        client = self.closes(self.client_class(self.proxy.address))
        seen = client.ask_long("POST", "/bad", b"x" * (16 << 20))
        self.assertEqual(("whole", 504, "timeout"), (seen.kind, seen.status, seen.word), seen)
        client.close()
        waiting.set()
        self.innocent_works()
        self.let_go()

    def test_reads_slowly(self):
        self.begin()
        body = bytes(range(256)) * 8000

        def script(stream, request):
            stream.sock = SlowSocket(stream.sock)
            stream.timeout = 60
            stream._start()
            stream._body(request, until_close=False)
            self.assertTrue(request.body == body)
            stream.send(OK)

        self.bad = script
        seen = self.ask_bad("POST", body=body)
        self.assertEqual(("whole", 200, b"ok"), (seen.kind, seen.status, seen.body), seen)
        self.innocent_works()

    def test_resets_while_the_request_is_sent(self):
        self.begin()

        def script(stream, _):
            stream.read_exactly(1000)
            stream.reset()

        self.bad = script
        self.refused("bad-reply", 502, errors("closed"), method="POST", body=b"x" * 4_000_000)
        self.let_go()

    def test_never_says_continue(self):
        self.begin(conf=STALL)
        self.bad = lambda stream, request: self.after(stream, "hold")
        before = self.proxy.counters()
        client = self.closes(self.client_class(self.proxy.address))
        seen = client.finish(client.begin("POST", "/bad", [("Expect", "100-continue")], length=9))
        self.assertEqual(("whole", 504, "timeout"), (seen.kind, seen.status, seen.word), seen)
        self.assertTrue(self.counted(before, [errors("stalled")]))
        client.close()
        self.innocent_works()
        self.let_go()

    def test_says_continue_unasked(self):
        self.begin()
        self.sends(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, then="on")
        self.whole()

    def test_talks_first(self):
        """A server of another protocol, which greets whoever comes."""
        self.begin()
        for greeting, reason in ((b"220 mail.test ESMTP ready\r\n", "status-line"),
                                 (b"SSH-2.0-OpenSSH_9.2\r\n", "status-line"),
                                 (b"-ERR unknown command\r\n", "status-line"),
                                 (b"J\0\0\0\n8.0.33\0", "control-byte")):  # fmt: skip
            with self.subTest(greeting):

                def script(stream, greeting=greeting):
                    stream.send(greeting)
                    self.hold(stream)

                self.accepted = script
                self.refused("bad-reply", 502, errors("malformed"), malformed(reason))
                self.let_go()

    def test_replies_before_it_is_asked(self):
        """At most the reply is taken for the first request; never does one shift to the next."""
        self.begin()

        def script(stream):
            stream.send(reply_bytes(200, b"early"))
            return stream.read_request()

        for _ in range(5):
            self.accepted = script
            seen = self.ask_bad()
            self.assertIn((seen.status, seen.body, seen.word),
                          ((200, b"early", None), (502, seen.body, "bad-reply")))  # fmt: skip
            self.accepted = None
            self.end_connection()
        self.innocent_works()

    def test_replies_twice_before_it_is_asked(self):
        self.begin()

        def script(stream):
            stream.send(reply_bytes(200, b"first") + reply_bytes(200, b"second"))
            self.hold(stream)

        self.accepted = script
        for _ in range(5):
            self.refused("bad-reply", 502, errors("extra-bytes"))
        self.let_go()

    # -- heads

    def test_another_protocol(self):
        self.begin()
        for data, reason in (
            (settings({3: 100}), "control-byte"),  # HTTP/2
            (settings() + goaway(0, 1, b"not a preface"), "control-byte"),
            (b"\x15\x03\x03\x00\x02\x02\x46", "control-byte"),  # an alert of TLS
            (b"<html>an old one</html>", None),  # HTTP/0.9
        ):
            with self.subTest(data=data):
                self.sends(data, then="hold" if reason else "close")
                if reason:
                    self.refused("bad-reply", 502, errors("malformed"), malformed(reason))
                else:
                    self.refused("bad-reply", 502)
                self.let_go()

    def test_a_reply_byte_by_byte(self):
        self.begin()

        def script(stream, _):
            stream.send_slowly(CHUNKED + b"2;x=y\r\nok\r\n0\r\nX-T: v\r\n\r\n")
            return True

        self.bad = script
        self.whole()
        self.whole()
        self.assertEqual(1, self.bad_one.accepted)

    def test_a_head_that_never_ends(self):
        """Fields without end, one field without end, a status line without end."""
        self.begin()
        for start, piece, reason in ((b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", "too-many-fields"),
                                     (b"HTTP/1.1 200 OK\r\nX: ", b"y", "head-too-large"),
                                     (b"HTTP/1.1 200 ", b"K", "head-too-large")):  # fmt: skip
            with self.subTest(piece):
                self.floods(start, piece)
                self.refused("bad-reply", 502, errors("malformed"), malformed(reason))
                self.let_go()

    def test_a_head_that_only_drips(self):
        self.begin()

        def script(stream, _):
            stream.send(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                stream.send(b"y")
                time.sleep(0.02)

        self.bad = script
        self.refused("timeout", 504, errors("reply-timeout"), target="/hasty")
        self.let_go()

    def test_interim_replies_without_end(self):
        self.begin()
        self.floods(b"", b"HTTP/1.1 102 Processing\r\n\r\n")
        self.refused("bad-reply", 502, errors("malformed"), malformed("status-line"))
        self.let_go()

    # -- bodies

    def test_an_endless_body_ends_with_its_client(self):
        self.begin()
        for start, piece in ((b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1024),
                             (CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n")):  # fmt: skip
            with self.subTest(start=start):
                self.floods(start, piece)
                self.memory_stays(self.take_some)
                self.let_go()

    def take_some(self, length=32 << 20):
        """Reads that much of what never ends, and goes."""
        client = self.client_class(self.proxy.address)
        client.begin(target="/bad")
        client.take(length)
        client.close()
        self.innocent_works()

    def test_a_body_beyond_its_length_without_end(self):
        self.begin()
        self.floods(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"x")
        self.memory_stays(lambda: self.cut(errors("extra-bytes")))
        self.let_go()

    def test_a_chunk_line_without_end(self):
        self.begin()
        for piece, reason in ((b"0", "chunk-size"), (b"1", "chunk-size"),
                              (b";x=y", "chunk-extension")):  # fmt: skip
            with self.subTest(piece):
                self.floods(CHUNKED + b"2\r\nok\r\n1", piece)
                self.cut(errors("malformed"), malformed(reason))
                self.let_go()

    def test_trailers_without_end(self):
        self.begin()
        for start, piece in ((b"", b"X: y\r\n"), (b"X: ", b"y"), (b"", b"x")):
            with self.subTest(piece):
                self.floods(CHUNKED + b"2\r\nok\r\n0\r\n" + start, piece)
                self.memory_stays(lambda: self.cut(errors("malformed")))
                self.let_go()

    def test_trailers_that_only_drip(self):
        self.begin(conf=STALL)

        def script(stream, _):
            stream.send(CHUNKED + b"2\r\nok\r\n0\r\nX: ")
            self.hold(stream)

        self.bad = script
        self.cut(errors("stalled"))
        self.let_go()

    def test_chunks_of_one_byte(self):
        self.begin()
        n = 50_000
        self.sends(CHUNKED + b"1\r\nx\r\n" * n + b"0\r\n\r\n", then="on")
        self.memory_stays(lambda: self.whole(body=b"x" * n))

    def test_a_compressed_bomb_is_not_touched(self):
        self.begin()
        bomb = gzip.compress(bytes(256 << 20), 1)
        self.sends(reply_bytes(200, bomb, [("Content-Encoding", "gzip")]), then="on")

        def pass_on():
            seen = self.whole(body=bomb)
            self.assertEqual(["gzip"], seen.all("content-encoding"))

        self.memory_stays(pass_on)

    def test_a_length_that_is_too_long_by_far(self):
        self.begin()
        for n in (6, 1 << 32, 10**17):
            with self.subTest(n):
                self.sends(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nhello" % n, then="close")
                self.cut(errors("closed-in-body"))
                self.let_go()

    # -- the end of a reply

    def test_says_close_and_stays_open(self):
        self.begin()
        for then in ("hold", "on"):
            self.sends(reply_bytes(200, b"ok", [("Connection", "close")]), then=then)
            self.whole()
            self.let_go()

    def test_says_keep_alive_and_closes(self):
        self.begin()
        self.sends(reply_bytes(200, b"ok", [("Connection", "keep-alive")]), then="close")
        for i in range(1, 11):
            self.whole()
            self.assertEqual(i, self.bad_one.accepted)
            eventually(lambda: self.bad_one.open_connections == 0)
            eventually(lambda: self.proxy.counters().get("offshoot_provider_connections") <= 1)

    def test_of_1_0_with_keep_alive(self):
        """An old server that says so may be used again; one that does not, not."""
        self.begin()
        for fields, n in ((b"", 3), (b"Connection: keep-alive\r\n", 1)):
            before = self.bad_one.accepted
            self.sends(b"HTTP/1.0 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\nok", then="on")
            for _ in range(3):
                self.whole()
            self.assertIn(self.bad_one.accepted - before, (n, 3))

    def test_bytes_that_follow_a_whole_reply(self):
        """They come when the reply is told already: the connection is not used again."""
        self.begin()
        go = threading.Event()

        def script(stream, _):
            stream.send(OK)
            go.wait(20)
            stream.send(reply_bytes(200, b"poison"))
            self.hold(stream)

        self.bad = script
        self.whole()
        go.set()
        eventually(lambda: self.proxy.counters().get(
            "offshoot_provider_closes_total", reason="idle-readable") == 1)
        self.let_go()

    def test_resets_a_connection_that_waits(self):
        self.begin()
        for _ in range(10):
            self.sends(OK, then="reset")
            seen = self.ask_bad()
            # The reset may destroy what was sent before it.
            self.assertIn((seen.kind, seen.status, seen.word), (
                ("whole", 200, None), ("whole", 502, "bad-reply"), ("cut", 200, None)), seen)
        self.innocent_works()
        self.let_go()


class ByHttp1(OfHttp1, Misbehaving):
    client_class = Http1Client


class ByHttp2(OfHttp1, Misbehaving):
    client_class = Http2Client


if __name__ == "__main__":
    unittest.main()
