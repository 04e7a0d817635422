"""Providers that misbehave over HTTP/2, each kind by its name: what clients of either protocol are
shown, and what becomes of the connection: a fault of a stream ends the stream, a fault of the
connection ends all of it.

docs/internals/misbehaving-providers.md has the list."""

import threading
import unittest

import http2
from harness import eventually
from http2 import data, frame, headers, literal, rst_stream, settings, window_update
from misbehaving import Http1Client, Http2Client, Misbehaving, errors

OK = literal([(":status", "200")])
STALL = "timeouts: {stream: 1s}\n"
BAD_REPLY = ("whole", 502, "bad-reply")


def head(fields, end=False, stream=1):
    return headers(stream, literal(fields), end)


class OfHttp2(Misbehaving):
    """`bad` gets the http2.Server and the request's Exchange; True: the connection goes on."""

    protocol = "http2"

    def serve(self, stream):
        if self.accepted and not self.accepted(stream):
            return
        server = http2.raw_server(stream)
        while True:
            x = server.next_request(whole=False)
            if x is None:
                return
            stream.provider.note(x)
            if self.bad:
                if not self.bad(server, x):
                    return
                continue
            server.wait(lambda: x.over)
            server.answer(x.stream)

    def sends(self, *frames, then="hold"):
        """It answers with these frames: functions of the stream's number, or bytes."""

        def script(server, x):
            server.send(*(f(x.stream) if callable(f) else f for f in frames))
            return self.after(server.stream, then)

        self.bad = script

    def floods(self, start, piece):
        """After `start` it sends `piece` (both functions of the stream) without an end."""

        def script(server, x):
            server.send(start(x.stream))
            many = piece(x.stream) * (16384 // len(piece(x.stream)) or 1)
            while True:
                server.send(many)

        self.bad = script

    def end_connection(self):
        def script(server, x):
            server.answer(x.stream)
            server.send(http2.goaway(x.stream))
            self.hold(server.stream)

        self.bad = script
        self.whole()
        eventually(lambda: self.bad_one.open_connections == 0)
        self.bad = None

    def kept(self):
        """The connection is as good as before."""
        before = self.bad_one.accepted
        self.bad = None
        self.whole()
        self.assertEqual(before, self.bad_one.accepted)
        self.assertEqual(1, self.bad_one.open_connections)

    def bad_reply(self, *counters, **asked):
        """Nothing of it reaches the client."""
        return self.refused("bad-reply", 502, *counters, **asked)

    def broken(self, *counters):
        """Whatever reached the client has no clean end."""
        return self.cut(*counters)

    # -- resets and GOAWAY

    def test_resets_the_stream(self):
        self.begin()
        for code in (*range(14), 0x99, 0xFFFFFFFF):
            with self.subTest(code):
                self.sends(lambda n, code=code: rst_stream(n, code), then="on")
                self.bad_reply()
                self.kept()

    def test_resets_the_stream_within_the_reply(self):
        self.begin()
        for code in (*range(14), 0x99):
            for frames in ([lambda n: headers(n, OK)],
                           [lambda n: headers(n, OK), lambda n: data(n, b"some")]):  # fmt: skip
                with self.subTest(code, frames=len(frames)):
                    self.sends(*frames, lambda n, code=code: rst_stream(n, code), then="on")
                    self.broken()
                    self.kept()

    def test_refuses_the_stream_once(self):
        """REFUSED_STREAM: nothing was done with it, so it is said again."""
        self.begin()
        refused = []

        def script(server, x):
            if not refused:
                refused.append(x)
                server.send(rst_stream(x.stream, http2.REFUSED_STREAM))
                return True
            server.wait(lambda: x.over)
            server.answer(x.stream, body=b"again " + x.body)
            return True

        for method, body in (("GET", b""), ("POST", b"the body")):
            refused.clear()
            self.bad = script
            seen = self.ask_bad(method, body=body)
            self.assertEqual(("whole", 200, b"again " + body),
                             (seen.kind, seen.status, seen.body))  # fmt: skip
            self.assertEqual(1, len(refused))
        self.innocent_works()

    def test_goaway_before_it_took_the_request(self):
        self.begin()
        gone = []

        def script(server, x):
            if not gone:
                gone.append(x)
                server.send(http2.goaway(0))
                self.hold(server.stream)
                return False
            server.answer(x.stream, body=b"elsewhere")
            return True

        self.bad = script
        self.whole(body=b"elsewhere")
        self.assertEqual(2, self.bad_one.accepted)

    def test_goaway_within_the_reply(self):
        """The last stream it names is finished; the connection gets no other."""
        self.begin()

        def script(server, x):
            server.send_head(x.stream, [(":status", "200")])
            server.send(data(x.stream, b"o"), http2.goaway(x.stream), data(x.stream, b"k", True))
            self.hold(server.stream)

        self.bad = script
        self.whole()
        self.let_go()

    def test_goaway_below_a_reply_that_has_begun(self):
        self.begin()
        self.sends(lambda n: headers(n, OK) + data(n, b"some"), http2.goaway(0))
        self.broken()
        self.let_go()

    def test_goaway_with_an_error_and_the_end(self):
        self.begin()
        for frames in ([], [lambda n: headers(n, OK) + data(n, b"some")]):
            self.sends(*frames, lambda n: http2.goaway(n, http2.INTERNAL_ERROR), then="close")
            self.broken()
            self.let_go()

    def test_one_bad_stream_leaves_its_neighbour(self):
        self.begin()
        first = {}

        def script(server, x):
            if not first:
                first["x"] = x
                server.send(headers(x.stream, OK) + data(x.stream, b"good "))
            else:
                server.send(rst_stream(x.stream, http2.INTERNAL_ERROR))
                server.send(data(first["x"].stream, b"neighbour", True))
            return True

        self.bad = script
        client = self.closes(self.client_class(self.proxy.address))
        waiting = client.begin(target="/bad")
        eventually(lambda: first)
        self.assertEqual(BAD_REPLY, (lambda s: (s.kind, s.status, s.word))(self.ask_bad()))
        seen = client.finish(waiting)
        self.assertEqual(("whole", b"good neighbour"), (seen.kind, seen.body))
        self.assertEqual(1, self.bad_one.accepted)

    # -- connections that are none

    def test_accepts_and_says_nothing(self):
        self.begin()
        waiting = threading.Event()
        self.accepted = lambda stream: waiting.wait(20) and False
        self.refused("timeout", 504, errors("reply-timeout"), target="/hasty")
        waiting.set()

    def test_closes_at_once(self):
        self.begin()
        self.accepted = lambda stream: False
        for _ in range(3):
            seen = self.ask_bad()
            self.assertIn((seen.kind, seen.status, seen.word),
                          [BAD_REPLY, ("whole", 502, "connect")])  # fmt: skip
        self.let_go()

    def test_speaks_something_else(self):
        self.begin()
        for text in (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n",
                     b"\x15\x03\x03\x00\x02\x02\x46" + bytes(9), http2.PREFACE):  # fmt: skip
            with self.subTest(text):

                def script(stream, text=text):
                    stream.send(text)
                    self.hold(stream)

                self.accepted = script
                self.bad_reply()
                self.let_go()

    def test_never_sends_settings(self):
        """Frames before the SETTINGS that must come first."""
        self.begin()

        def script(stream):
            stream.read_exactly(len(http2.PREFACE))
            stream.send(headers(1, OK, True))
            self.hold(stream)

        self.accepted = script
        self.bad_reply()
        self.let_go()

    def test_closes_or_resets_within_the_reply(self):
        self.begin()
        for then in ("close", "reset"):
            for frames in ([], [lambda n: headers(n, OK)], [lambda n: headers(n, OK)[:7]],
                           [lambda n: headers(n, OK) + data(n, b"some")],
                           [lambda n: headers(n, OK) + data(n, b"some")[:11]]):  # fmt: skip
                with self.subTest(then, frames=len(frames)):
                    self.sends(*frames, then=then)
                    self.broken()
                    self.let_go()

    # -- heads

    HEADS = (
        ("pseudo-missing", [("x", "y")]), ("pseudo-missing", []),
        ("status", [(":status", "")]), ("status", [(":status", "20")]),
        ("status", [(":status", "2000")]), ("status", [(":status", "2x0")]),
        ("status", [(":status", "099")]), ("status", [(":status", "600")]),
        ("status", [(":status", "+20")]), ("status", [(":status", "101")]),
        ("pseudo-twice", [(":status", "200"), (":status", "200")]),
        ("pseudo-late", [("x", "y"), (":status", "200")]),
        ("pseudo-unknown", [(":status", "200"), (":path", "/")]),
        ("pseudo-unknown", [(":status", "200"), (":odd", "/")]),
        ("field-name", [(":status", "200"), ("X-Upper", "y")]),
        ("field-name", [(":status", "200"), ("", "y")]),
        ("field-name", [(":status", "200"), ("a b", "y")]),
        ("field-name", [(":status", "200"), ("a:b", "y")]),
        ("field-name", [(":status", "200"), ("a\0b", "y")]),
        ("field-name", [(":status", "200"), ("a\r\nb", "y")]),
        ("field-value", [(":status", "200"), ("x", "a\0b")]),
        ("field-value", [(":status", "200"), ("x", "a\rb")]),
        ("field-value", [(":status", "200"), ("x", "a\nb")]),
        ("field-value", [(":status", "200"), ("x", "a\r\nset-cookie: b=c")]),
        ("field-value", [(":status", "200"), ("x", " a")]),
        ("field-value", [(":status", "200"), ("x", "a\t")]),
        ("connection", [(":status", "200"), ("connection", "close")]),
        ("connection", [(":status", "200"), ("transfer-encoding", "chunked")]),
        ("connection", [(":status", "200"), ("keep-alive", "timeout=5")]),
        ("connection", [(":status", "200"), ("proxy-connection", "close")]),
        ("connection", [(":status", "200"), ("upgrade", "h2c")]),
        (None, [(":status", "200"), ("content-length", "+2")]),
        (None, [(":status", "200"), ("content-length", "2,2")]),
        (None, [(":status", "200"), ("content-length", "2"), ("content-length", "2")]),
        (None, [(":status", "200"), ("content-length", "2"), ("content-length", "3")]),
        (None, [(":status", "200"), ("content-length", "9223372036854775808")]),
    )  # fmt: skip

    def test_bad_heads(self):
        self.begin()
        for reason, fields in self.HEADS:
            with self.subTest(reason, fields=fields):
                self.sends(lambda n, f=fields: head(f, stream=n) + data(n, b"ok", True), then="on")
                before = self.proxy.counters()
                self.bad_reply()
                changes = self.proxy.counters().since(before)
                told = [k for k in changes if k.startswith("offshoot_bad_http2_replies_total")]
                self.assertTrue(told, changes)
                self.kept()

    def test_data_before_the_head(self):
        self.begin()
        self.sends(lambda n: data(n, b"ok", True))
        self.bad_reply()
        self.sends(lambda n: data(n, b"ok") + headers(n, OK, True))
        self.bad_reply()

    def test_a_second_head(self):
        self.begin()
        self.sends(lambda n: headers(n, OK) + headers(n, OK) + data(n, b"ok", True), then="on")
        self.broken()
        self.kept()

    def test_interim_replies_without_end(self):
        self.begin()
        early = literal([(":status", "103"), ("link", "</a>")])
        self.floods(lambda n: b"", lambda n: headers(n, early))
        self.bad_reply()

    def test_an_interim_reply_that_ends_the_stream(self):
        self.begin()
        self.sends(lambda n: head([(":status", "103")], True, n), then="on")
        self.broken()
        self.kept()

    def test_a_head_that_is_too_large(self):
        self.begin()
        for fields in ([("x", "y" * 40_000)], [("x", "y")] * 200, [("x", "y" * 1000)] * 60):
            with self.subTest(len(fields)):
                block = literal([(":status", "200"), *fields])
                self.sends(lambda n, b=block: http2.in_pieces(n, b, 16_384, True), then="on")
                self.bad_reply()

    def test_a_head_that_never_ends(self):
        """CONTINUATION after CONTINUATION; empty ones; one field that goes on."""
        self.begin()
        for start, piece in ((OK, b""), (OK, literal([("x", "y" * 100)])), (OK, b"\0"),
                             (OK + b"\0\1x" + http2.number(1 << 30, 7), b"y" * 1000)):  # fmt: skip
            with self.subTest(piece[:9]):
                self.floods(lambda n, s=start: headers(n, s, end_headers=False),
                            lambda n, p=piece: http2.continuation(n, p, False))  # fmt: skip
                self.memory_stays(self.bad_reply)
                self.let_go()

    def test_a_head_that_unfolds(self):
        """A bomb: each byte stands for a field of 4,000 bytes."""
        self.begin()
        bomb = OK + literal([("x", "y" * 4000)], 0x40) + b"\xbe" * 12_000
        self.sends(lambda n: headers(n, bomb, True), then="on")
        self.memory_stays(self.bad_reply)

    def test_a_head_that_cannot_be_decoded(self):
        self.begin()
        for block in (b"\xff" * 9, b"\x80", b"\xbf", b"\x00\x85ab", b"\x3f\xff\xff\xff\x0f"):
            with self.subTest(block):
                self.sends(lambda n, b=block: headers(n, b, True))
                self.bad_reply()
                self.let_go()

    # -- bodies

    def test_a_length_that_is_not_the_body(self):
        self.begin()
        for length, frames in ((5, [b"some"]), (5, [b""]), (3, [b"some"]), (1, [b"xy"]),
                               (3, [b"so", b"me"]), (1 << 40, [b"so", b"me"])):  # fmt: skip
            with self.subTest(length, frames=frames):

                def script(server, x, length=length, frames=frames):
                    out = [head([(":status", "200"), ("content-length", str(length))],
                                stream=x.stream)]  # fmt: skip
                    for i, part in enumerate(frames, 1):
                        out.append(data(x.stream, part, end=i == len(frames)))
                    server.send(*out)
                    return True

                self.bad = script
                self.broken()
                self.kept()

    def test_a_body_where_none_may_be(self):
        self.begin()
        for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304)):
            with self.subTest(method, status=status):
                block = literal([(":status", str(status))])
                self.sends(lambda n, b=block: headers(n, b) + data(n, b"surplus", True), then="on")
                seen = self.ask_bad(method)
                self.assertNotIn(b"surplus", seen.body)
                self.assertFalse(seen.kind == "whole" and seen.status == status and seen.body, seen)
                self.innocent_works()
                self.kept()

    def test_trailers_that_do_not_end_the_stream(self):
        self.begin()
        self.sends(lambda n: headers(n, OK) + data(n, b"ok") + head([("x", "y")], stream=n)
                   + data(n, b"more", True), then="on")  # fmt: skip
        self.broken()
        self.kept()

    def test_bad_trailers(self):
        self.begin()
        for fields in ([(":status", "200")], [("X-Upper", "y")], [("connection", "close")],
                       [("x", "a\r\nb")], [("x", "y" * 70_000)]):  # fmt: skip
            with self.subTest(fields[0][0]):
                block = literal(fields)
                self.sends(lambda n, b=block: headers(n, OK) + data(n, b"ok")
                           + http2.in_pieces(n, b, 16_384, True), then="on")  # fmt: skip
                self.broken()

    def test_hangs_within_the_body(self):
        self.begin(conf=STALL)
        self.sends(lambda n: headers(n, OK) + data(n, b"some"), then="on")
        self.broken(errors("stalled"))
        self.kept()

    def test_an_endless_body_ends_with_its_client(self):
        self.begin()
        went = []

        def script(server, x):
            server.send_head(x.stream, [(":status", "200")])
            while x.reset is None:
                server.send_body(x.stream, b"x" * 65536, end=False)
            went.append(x.reset)
            return True

        self.bad = script

        def take_some():
            client = self.client_class(self.proxy.address)
            client.begin(target="/bad")
            client.take(8 << 20)
            client.close()
            eventually(lambda: went)

        self.memory_stays(take_some)
        self.innocent_works()
        self.kept()

    def test_a_body_above_its_windows(self):
        self.begin()
        self.floods(lambda n: headers(n, OK), lambda n: data(n, b"x" * 16_384))

        def never_read():
            client = self.client_class(self.proxy.address)
            client.begin(target="/bad")
            eventually(lambda: self.bad_one.accepted and self.bad_one.open_connections == 0)
            client.close()

        self.memory_stays(never_read)
        self.innocent_works()
        self.let_go()

    def test_sends_on_after_our_reset(self):
        self.begin(conf=STALL)
        sent = []

        def script(server, x):
            server.send(headers(x.stream, OK), data(x.stream, b"some"))
            server.wait(lambda: x.reset is not None)
            for _ in range(3):
                server.send(data(x.stream, b"y" * 100))
            sent.append(x.reset)
            return True

        self.bad = script
        self.broken(errors("stalled"))
        eventually(lambda: sent)
        self.kept()

    def test_data_in_single_bytes(self):
        self.begin()
        n = 5000
        self.sends(lambda s: headers(s, OK) + data(s, b"x") * n + data(s, b"", True), then="on")
        self.memory_stays(lambda: self.whole(body=b"x" * n))

    def test_padding_that_is_more_than_the_frame(self):
        self.begin()
        self.sends(lambda n: headers(n, OK) + frame(http2.DATA, http2.PADDED, n, b"\x09abc"))
        self.broken()
        self.let_go()

    def test_replies_before_the_request_ends(self):
        """Whole, and the rest is not wanted: RFC 9113, 8.1."""
        self.begin()
        self.sends(lambda n: head([(":status", "413")], False, n) + data(n, b"no", True)
                   + rst_stream(n, 0), then="on")  # fmt: skip
        client = self.closes(self.client_class(self.proxy.address))
        seen = client.ask_long("POST", "/bad", b"x" * (4 << 20))
        self.assertEqual(("whole", 413, b"no"), (seen.kind, seen.status, seen.body))
        self.innocent_works()

    def test_opens_no_window(self):
        self.begin(conf=STALL)

        def script(stream):
            server = http2.Server(stream, {http2.INITIAL_WINDOW: 0})
            server.judges = False  # the body's first bytes may be on their way already
            stream.timeout = 3600.0
            server.wait(lambda: False)

        self.accepted = script
        client = self.closes(self.client_class(self.proxy.address))
        seen = client.ask_long("POST", "/bad", b"x" * (4 << 20))
        self.assertEqual(("whole", 504, "timeout"), (seen.kind, seen.status, seen.word), seen)
        client.close()
        self.innocent_works()

    # -- frames of the connection

    def test_floods_of_frames(self):
        self.begin()
        block = literal([("x", "y")])
        for name, piece in (
            ("ping", lambda n: http2.ping()), ("settings", lambda n: settings()),
            ("empty data", lambda n: data(n)), ("window", lambda n: window_update(0, 1)),
            ("stream window", lambda n: window_update(n, 1)),
            ("priority", lambda n: frame(http2.PRIORITY, 0, n, http2.priority_bytes())),
            ("unknown", lambda n: frame(0x77, 0, 0, b"odd")),
            ("reset", lambda n: rst_stream(n, 8)),
            ("reset of nothing", lambda n: rst_stream(n + 2, 8)),
            ("goaway", lambda n: http2.goaway(n)),
            ("heads of nothing", lambda n: headers(n + 2, block)),
        ):  # fmt: skip
            with self.subTest(name):
                self.floods(lambda n: headers(n, OK), piece)
                self.memory_stays(self.broken)
                self.let_go()

    def test_unknown_frames_are_passed_over(self):
        self.begin()
        odd = frame(0x77, 0xFF, 0, b"x" * 100)
        self.sends(odd, lambda n: frame(0xEE, 1, n, b"y"), lambda n: headers(n, OK), odd,
                   lambda n: data(n, b"ok"), odd, lambda n: data(n, b"", True), then="on")
        self.whole()
        self.kept()

    def test_frames_that_break_the_connection(self):
        self.begin()
        for name, frames in (
            ("push", lambda n: http2.push_promise(n, 2, OK)),
            ("too long", lambda n: data(n, b"x" * 16_385)),
            ("ping of 7", lambda n: frame(http2.PING, 0, 0, bytes(7))),
            ("ping on a stream", lambda n: frame(http2.PING, 0, n, bytes(8))),
            ("reset of 3", lambda n: frame(http2.RST_STREAM, 0, n, bytes(3))),
            ("reset of the connection", lambda n: rst_stream(0)),
            ("reset of an idle stream", lambda n: rst_stream(n + 100)),
            ("window of 3", lambda n: frame(http2.WINDOW_UPDATE, 0, 0, bytes(3))),
            ("window of none", lambda n: window_update(0, 0)),
            ("window overflows", lambda n: window_update(0, (1 << 31) - 1)),
            ("settings of 5", lambda n: frame(http2.SETTINGS, 0, 0, bytes(5))),
            ("settings on a stream", lambda n: frame(http2.SETTINGS, 0, n)),
            ("an acknowledgement of 6", lambda n: frame(http2.SETTINGS, 1, 0, bytes(6))),
            ("window setting", lambda n: settings({http2.INITIAL_WINDOW: 1 << 31})),
            ("frame setting", lambda n: settings({http2.MAX_FRAME: 100})),
            ("push setting", lambda n: settings({http2.ENABLE_PUSH: 1})),
            ("data of the connection", lambda n: data(0, b"x")),
            ("head of the connection", lambda n: headers(0, OK)),
            ("a stream of its own", lambda n: headers(2, OK)),
            ("continuation of nothing", lambda n: http2.continuation(n, OK)),
            ("within a head", lambda n: headers(n, OK, end_headers=False) + http2.ping()),
            ("goaway of 7", lambda n: frame(http2.GOAWAY, 0, 0, bytes(7))),
            ("goaway on a stream", lambda n: frame(http2.GOAWAY, 0, n, bytes(8))),
        ):  # fmt: skip
            with self.subTest(name):
                self.sends(lambda n, f=frames: f(n))
                self.broken()
                self.let_go()

    def test_allows_no_streams(self):
        self.begin(conf="timeouts: {connect: 500ms}\n")

        def script(stream):
            server = http2.Server(stream, {http2.MAX_STREAMS: 0})
            stream.timeout = 3600.0
            while True:
                x = server.next_request(whole=False)
                if x is None:
                    return
                server.send(rst_stream(x.stream, http2.REFUSED_STREAM))

        self.accepted = script
        seen = self.ask_bad()
        self.assertEqual("whole", seen.kind)
        self.assertIn((seen.status, seen.word),
                      [(503, "overload"), (502, "connect"), (502, "bad-reply")])  # fmt: skip
        self.innocent_works()

    def test_allows_one_stream(self):
        self.begin()
        most = []

        def serve(stream):
            server = http2.Server(stream, {http2.MAX_STREAMS: 1})
            stream.timeout = 3600.0
            while True:
                x = server.next_request()
                if x is None:
                    return
                now = [y for y in server.exchanges.values() if y.fields and y.stream >= x.stream]
                most.append(len(now))
                server.answer(x.stream)

        self.accepted = serve
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(self.ask_bad())) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([("whole", 200)] * 10, [(s.kind, s.status) for s in seen])
        self.assertEqual({1}, set(most))


class ByHttp1(OfHttp2):
    client_class = Http1Client


class ByHttp2(OfHttp2):
    client_class = Http2Client


def load_tests(loader, _tests, _pattern):
    """OfHttp2 has the kinds, and is no test itself."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(c) for c in (ByHttp1, ByHttp2))


if __name__ == "__main__":
    unittest.main()
