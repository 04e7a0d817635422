"""What becomes of a request and of its reply on their way through the proxy, as the provider and
the client see it; and what a reply of the proxy's own looks like."""

import json
import threading
import unittest
from types import SimpleNamespace

from graphs import baseline, gateway, graph_of, overlay, service
from harness import ProxyCase, connect, eventually, http_script, reply_bytes, request_bytes

GRAPH = graph_of(
    service("shop", "hosts: [shop.svc]"),
    gateway({"/": "shop"}, "select: [{header: x-env}]"),
    baseline(shop="%s"),
    overlay("feat"),
)
BOTH = ("127.0.0.1:0,trusted", "127.0.0.1:0")
TRUSTED, UNTRUSTED = 0, 1
MAIN = "v1m.main.0.00"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
OWN = ("x-offshoot-context", "uberctx-offshoot", "ot-baggage-offshoot", "x-offshoot-explain",
       "x-offshoot-error", "x-offshoot-route", "x-offshoot-anything")


def spellings(name):
    """The name in every case and with '_' for '-', in part or in whole."""
    first = name.replace("-", "_", 1)
    last = "_".join(name.rsplit("-", 1))
    for n in (name, first, last, name.replace("-", "_")):
        yield from (n, n.upper(), n.title())


def addresses(proxy):
    return ",".join(proxy.ready["listen"]).split(",")


class Forwarding(ProxyCase):
    """A proxy with a trusted and an untrusted listener before one provider."""

    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, answer=None, *flags, graph=GRAPH):
        self.shop = self.provider(http_script(answer or (lambda r: reply_bytes(200, b"ok"))))
        self.proxy = self.start_proxy(graph % self.shop.address, *flags, listen=BOTH)

    def open(self, listener=TRUSTED):
        return connect(addresses(self.proxy)[listener])

    def send(self, fields=(), listener=TRUSTED, method="GET", target="/", host="a.test", body=b""):
        """One request; the reply, and what the provider saw of it (None: nothing)."""
        before = len(self.shop.requests)
        with self.open(listener) as stream:
            reply = stream.ask(request_bytes(method, target, host, fields, body))
        seen = self.shop.requests[before:]
        self.assertLessEqual(len(seen), 1)
        return reply, seen[0] if seen else None

    def forwarded(self, fields=(), listener=TRUSTED, **more):
        reply, seen = self.send(fields, listener, **more)
        self.assertEqual(reply.status, 200, reply)
        return seen

    def counted(self, name, **labels):
        return self.proxy.counters().get(name, **labels)


class Carriers(Forwarding):
    def test_own_carriers_are_removed_in_every_spelling(self):
        self.begin()
        every = [name for own in OWN for name in spellings(own)]
        for listener, token in ((TRUSTED, MAIN), (UNTRUSTED, "v1m.hidden.0.00")):
            with self.subTest(listener=listener):
                fields = [(name, token) for name in every for _ in (1, 2)][:90]
                for some in (fields[0::2], fields[1::2], [(n, token) for n in every[-9:]]):
                    seen = self.forwarded(some, listener)
                    own = [(n, v) for n, v in seen.fields if "offshoot" in n.lower()]
                    self.assertEqual(own, [("x-offshoot-context", MAIN)])
                    self.assertEqual(seen.all("baggage"), [f"offshoot={MAIN}"])
                    self.assertNotIn(b"hidden", seen.raw)

    def test_each_spelling_alone_is_a_carrier(self):
        self.begin()
        for own in OWN[:3]:
            for name in spellings(own):
                with self.subTest(name):
                    seen = self.forwarded([(name, "v1m.feat.0.00")])
                    self.assertEqual(seen.get("x-offshoot-context"), "v1m.feat.0.00")
                    seen = self.forwarded([(name, "v1m.feat.0.00")], UNTRUSTED)
                    self.assertEqual(seen.get("x-offshoot-context"), MAIN)
        self.assertEqual(self.counted("offshoot_context_foreign_total"), 36)

    def test_own_members_of_baggage_are_removed_and_the_others_kept(self):
        self.begin()
        values = [f"a=1, b=2;p=x;q ,offshoot={MAIN} , c=%20\"", f"d=4,offshoot={MAIN};x=y,,e=",
                  "f=1"]
        for listener in (TRUSTED, UNTRUSTED):
            seen = self.forwarded([("baggage", v) for v in values], listener)
            self.assertEqual(
                seen.get("baggage"), f"a=1,b=2;p=x;q,c=%20\",d=4,e=,f=1,offshoot={MAIN}")

    def test_look_alikes_of_the_baggage_member_are_removed(self):
        self.begin()
        for key in ("Offshoot", "OFFSHOOT", "offshoot ", "\toffshoot", '"offshoot"', "(offshoot)"):
            with self.subTest(key):
                seen = self.forwarded([("baggage", f"a=1,{key}=v1m.hidden.0.00,b=2")], UNTRUSTED)
                self.assertEqual(seen.get("baggage"), f"a=1,b=2,offshoot={MAIN}")
        for key in ("xoffshoot", "offshootx", "off-shoot", "offshoot.x"):
            with self.subTest(key):
                seen = self.forwarded([("baggage", f"{key}=1")])
                self.assertEqual(seen.get("baggage"), f"{key}=1,offshoot={MAIN}")

    def test_trailers_pass_when_wanted_but_never_our_carriers(self):
        trailers = "".join(f"{n}: {MAIN}\r\n" for own in OWN for n in spellings(own))
        trailers += "Baggage: a=b\r\nX-Sum: 1\r\nConnection: x-sum\r\nTE: trailers\r\n"
        last = f"3\r\nabc\r\n0\r\n{trailers}\r\n".encode()

        def answer(request):
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n" + last

        self.begin(answer)
        framing = ("Transfer-Encoding", "chunked")
        for fields, request_sum, reply_sum in (
            ([framing, ("TE", "trailers"), ("Trailer", "x-sum")], True, True),
            ([framing, ("TE", "trailers")], False, True),
            ([framing, ("Trailer", "x-sum")], False, False),
            ([framing], False, False),
        ):
            for listener in (TRUSTED, UNTRUSTED):
                with self.subTest(fields=fields, listener=listener):
                    with self.open(listener) as stream:
                        head = request_bytes("POST", "/", "a.test", fields)
                        reply = stream.ask(head + last)
                    seen = self.shop.requests[-1]
                    self.assertEqual((seen.body, reply.body), (b"abc", b"abc"))
                    self.assertEqual(seen.trailers, [("x-sum", "1")] if request_sum else [])
                    self.assertEqual(reply.trailers, [("x-sum", "1")] if reply_sum else [])

    def test_replies_lose_our_fields_at_untrusted_listeners_only(self):
        names = [n for n in OWN if n.startswith("x-")]
        every = [(s, "1") for n in names for s in spellings(n)]
        self.begin(lambda r: reply_bytes(200, b"ok", every + [("X-Other", "1")]))
        reply, _ = self.send(listener=UNTRUSTED)
        self.assertEqual([n for n, _ in reply.fields if "offshoot" in n.lower()], [])
        self.assertEqual(reply.get("x-other"), "1")
        reply, _ = self.send(listener=TRUSTED)
        got = [(n.lower(), v) for n, v in reply.fields if "offshoot" in n.lower()]
        self.assertEqual(got, [(n.lower(), v) for n, v in every])

    def test_inject_chooses_the_carriers(self):
        self.begin(None, "--inject", "uberctx-offshoot", "--inject", "ot-baggage-offshoot")
        seen = self.forwarded([("baggage", "a=1")])
        self.assertEqual(seen.get("uberctx-offshoot"), MAIN)
        self.assertEqual(seen.get("ot-baggage-offshoot"), MAIN)
        self.assertEqual(seen.get("baggage"), "a=1")
        self.assertIsNone(seen.get("x-offshoot-context"))


class BaggageLimits(Forwarding):
    ROOM = 8192 - len(f",offshoot={MAIN}")

    def members(self, n):
        return ",".join(f"k{i}=v" for i in range(n))

    def check(self, baggage, kept, ours, full):
        before = self.counted("offshoot_baggage_full_total")
        seen = self.forwarded([("baggage", b) for b in baggage])
        want = ([kept] if kept else []) + ([f"offshoot={MAIN}"] if ours else [])
        self.assertEqual(seen.get("baggage"), ",".join(want))
        self.assertEqual(seen.get("x-offshoot-context"), MAIN)
        self.assertEqual(self.counted("offshoot_baggage_full_total") - before, full)

    def test_sixty_four_members(self):
        self.begin()
        self.check([self.members(63)], self.members(63), True, 0)
        self.check([self.members(64)], self.members(64), False, 1)
        self.check([self.members(65)], self.members(64), False, 1)
        half = [",".join(f"k{i}=v" for i in part) for part in (range(32), range(32, 65))]
        self.check(half, self.members(64), False, 1)

    def test_eight_thousand_one_hundred_ninety_two_bytes(self):
        self.begin()
        exact, over = "k=" + "v" * (self.ROOM - 2), "k=" + "v" * (self.ROOM - 1)
        self.check([exact], exact, True, 0)
        self.check([over], over, False, 1)
        largest = "a=1,k=" + "v" * (8192 - 6)
        self.check([largest], largest, False, 1)
        self.check([largest + "v"], "a=1", True, 0)
        self.check(["a=1", "k=" + "v" * (8192 - 6)], largest, False, 1)
        self.check(["a=1", "k=" + "v" * (8192 - 5)], "a=1", True, 0)

    def test_a_token_is_read_within_the_limits_only(self):
        self.begin()
        own = "offshoot=v1m.feat.0.00"
        for n, env in ((63, "feat"), (64, "main")):
            seen = self.forwarded([("baggage", f"{self.members(n)},{own}")])
            self.assertEqual(seen.get("x-offshoot-context"), f"v1m.{env}.0.00")
        for size, env in ((8192, "feat"), (8193, "main")):
            filler = "k=" + "v" * (size - 3 - len(own))
            seen = self.forwarded([("baggage", f"{filler},{own}")])
            self.assertEqual(seen.get("x-offshoot-context"), f"v1m.{env}.0.00")

    def test_without_room_the_context_travels_beside_baggage(self):
        self.begin(None, "--inject", "baggage")
        seen = self.forwarded([("baggage", self.members(63))])
        self.assertIsNone(seen.get("x-offshoot-context"))
        seen = self.forwarded([("baggage", self.members(64))])
        self.assertEqual(seen.get("x-offshoot-context"), MAIN)
        self.assertEqual(self.counted("offshoot_baggage_full_total"), 1)


class Tracing(Forwarding):
    STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"

    def test_a_valid_traceparent_passes_untouched(self):
        self.begin()
        valid = (PARENT, PARENT[:-2] + "ff", "01" + PARENT[2:], "01" + PARENT[2:] + "-more", "fe"
                 + PARENT[2:])
        for value in valid:
            for listener in (TRUSTED, UNTRUSTED):
                with self.subTest(value):
                    seen = self.forwarded(
                        [("traceparent", value), ("tracestate", self.STATE)], listener)
                    self.assertEqual(seen.get("traceparent"), value)
                    self.assertEqual(seen.get("tracestate"), self.STATE)
        self.assertIsNone(self.forwarded([("traceparent", PARENT)]).get("tracestate"))

    def test_any_other_is_replaced_and_tracestate_goes_with_it(self):
        self.begin()
        bad = ["", "x", PARENT[:-1], PARENT + "0", PARENT + "-00", PARENT.upper(),
               "ff" + PARENT[2:], PARENT.replace(TRACE, "0" * 32),
               PARENT.replace("b7ad6b7169203331", "0" * 16),
               PARENT.replace("-", "_"), PARENT[:-2] + "0g", "01" + PARENT[2:] + "x",
               PARENT.replace(TRACE, TRACE[1:])]
        cases = [[("traceparent", v)] for v in bad] + [[("traceparent", PARENT)] * 2, []]
        made = set()
        for fields in cases:
            with self.subTest(fields=fields):
                seen = self.forwarded([*fields, ("tracestate", self.STATE)])
                value = seen.get("traceparent")
                self.assertRegex(value, r"\A00-[0-9a-f]{32}-[0-9a-f]{16}-00\Z")
                self.assertNotIn(TRACE, value)
                self.assertIsNone(seen.get("tracestate"))
                made.update(value.split("-")[1:3])
        self.assertEqual(len(made), 2 * len(cases))

    def test_explained_requests_leave_a_record(self):
        self.begin()
        reply, seen = self.send([("traceparent", PARENT), ("X-Offshoot-Explain", "1")])
        self.assertEqual(
            reply.get("x-offshoot-route"), "shop@main;class=local;rule=default;epoch=1")
        self.assertEqual(seen.get("x-offshoot-context"), "v1m.main.0.10")
        self.assertIn("shop@main", json.dumps(self.proxy.admin_json(f"/trace/{TRACE}")))
        self.assertIn(b"shop@main", self.proxy.admin(f"/trace/{TRACE}").body)
        other = "1" * 32
        self.assertEqual(self.proxy.admin(f"/trace/{other}").status, 404)
        # The flag of a token asks too, at trusted listeners alone.
        fields = [("traceparent", PARENT.replace(TRACE, other))]
        reply, _ = self.send([*fields, ("x-offshoot-context", "v1m.main.0.10")], UNTRUSTED)
        self.assertIsNone(reply.get("x-offshoot-route"))
        reply, _ = self.send([*fields, ("x-offshoot-explain", "1")], UNTRUSTED)
        self.assertIsNone(reply.get("x-offshoot-route"))
        self.assertEqual(self.proxy.admin(f"/trace/{other}").status, 404)
        reply, _ = self.send([*fields, ("x-offshoot-context", "v1m.main.0.10")])
        self.assertIn("shop@main", reply.get("x-offshoot-route"))
        self.assertEqual(self.proxy.admin(f"/trace/{other}").status, 200)

    def test_a_refusal_is_explained_too(self):
        self.begin()
        reply, _ = self.send([("x-offshoot-explain", "1"), ("x-env", "nobody")])
        self.assertEqual(reply.get("x-offshoot-error"), "unknown-environment")
        self.assertIn("refused=unknown-environment;rule=selector", reply.get("x-offshoot-route"))


class Hops(Forwarding):
    def test_via_is_added_and_loops_end(self):
        self.begin()
        seen = self.forwarded([("Via", "1.0 fred, 1.1 p.example.net")])
        self.assertEqual(seen.all("via"), ["1.0 fred, 1.1 p.example.net", "1.1 offshoot"])
        ours = "1.1 offshoot"
        for values in ([ours] * 16, [", ".join([ours] * 16)], ["1.1 OffShoot (x)"] * 16):
            self.assertEqual(len(self.forwarded([("via", v) for v in values]).all("via")),
                             len(values) + 1)
        for values in ([ours] * 17, [", ".join([ours] * 17)], ["1.1 OffShoot (x)"] * 17,
                       [", ".join(["2 offshoot"] * 9), *(["1.0 x, 1.0 offshoot"] * 8)]):
            reply, seen = self.send([("via", v) for v in values])
            self.assertEqual((reply.status, reply.get("x-offshoot-error")), (508, "loop"))
            self.assertIsNone(seen)
        self.assertEqual(self.counted("offshoot_refusals_total", reason="loop"), 4)

    def test_hop_by_hop_fields_stay_behind(self):
        named = [("X-Named", "1"), ("X-Also", "1"), ("X-Kept", "1")]
        hop = [("Connection", "X-Named, ,keep-alive"), ("connection", "x-also"),
               ("Keep-Alive", "3"), ("Proxy-Connection", "keep-alive"), ("TE", "gzip"),
               ("Upgrade", "h2c"), ("HTTP2-Settings", "x")]
        self.begin(lambda r: reply_bytes(200, b"ok", hop + named))
        reply, seen = self.send(hop + named)
        for message in (reply, seen):
            names = message.names()
            self.assertIn("x-kept", names)
            for name in ("x-named", "x-also", "keep-alive", "proxy-connection", "te", "upgrade",
                         "http2-settings", "connection", "transfer-encoding"):
                self.assertNotIn(name, names)

    def test_naming_them_does_not_remove_what_must_arrive(self):
        self.begin()
        names = "host, content-length, via, baggage, traceparent, tracestate, x-offshoot-context"
        seen = self.forwarded(
            [("Connection", names), ("via", "1.1 x"), ("baggage", "a=1,offshoot=v1m.feat.0.00"),
             ("traceparent", PARENT), ("tracestate", "a=b")], method="POST", body=b"12345")
        self.assertEqual(seen.body, b"12345")
        self.assertEqual(seen.get("host"), "a.test")
        self.assertEqual(seen.get("baggage"), "a=1,offshoot=v1m.feat.0.00")
        self.assertEqual(seen.get("traceparent"), PARENT)
        self.assertEqual(seen.get("tracestate"), "a=b")
        self.assertEqual(seen.all("via"), ["1.1 x", "1.1 offshoot"])

    def test_forwarded_fields_are_hearsay_at_untrusted_listeners(self):
        self.begin()
        came = [("X-Forwarded-For", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2"),
                ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil"),
                ("Forwarded", "for=10.0.0.3")]
        seen = self.forwarded(came, UNTRUSTED)
        self.assertEqual(seen.get("x-forwarded-for"), "127.0.0.1")
        self.assertEqual(seen.get("x-forwarded-proto"), "http")
        self.assertEqual(seen.all("x-forwarded-host"), ["a.test"])
        self.assertNotIn("forwarded", seen.names())
        seen = self.forwarded(came, TRUSTED)
        self.assertEqual(seen.all("x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 127.0.0.1"])
        self.assertEqual(seen.get("x-forwarded-proto"), "https")
        self.assertEqual(seen.get("forwarded"), "for=10.0.0.3, for=127.0.0.1")

    def test_other_fields_pass_in_order_with_their_values(self):
        self.begin()
        came = [("Cookie", "a=b; c=d"), ("X-A", "1"), ("x_a", "2"), ("X-A", "  3\t "), ("X-E", ""),
                ("Authorization", "Basic eDp5"), ("X-Latin", "\xe4\xff")]
        seen = self.forwarded(came)
        names = {n.lower() for n, _ in came}
        got = [(n, v) for n, v in seen.fields if n in names]
        self.assertEqual(got, [(n.lower(), v.strip()) for n, v in came])


class Messages(Forwarding):
    def test_head_204_and_304_have_no_body_and_keep_the_connection(self):
        def answer(request):
            status = int(request.target[1:4])
            length = b"" if status == 204 else b"Content-Length: 5\r\n"
            body = b"hello" if status == 200 and request.method != "HEAD" else b""
            return b"HTTP/1.1 %d X\r\n%s\r\n%s" % (status, length, body)

        self.begin(answer)
        with self.open() as stream:
            for method, status, length in (
                ("HEAD", 200, "5"), ("GET", 204, None), ("GET", 304, "5"), ("HEAD", 304, "5"),
                ("HEAD", 204, None), ("GET", 200, "5"),
            ):  # fmt: skip
                reply = stream.ask(request_bytes(method, f"/{status}"))
                self.assertEqual((reply.status, reply.get("content-length")), (status, length))
                self.assertNotIn("connection", reply.names())
                self.assertEqual(stream.buffer, b"")
        self.assertEqual(self.shop.accepted, 1)

    def test_interim_replies_pass_to_clients_that_know_them(self):
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Offshoot-Error: no\r\n\r\n"
        interim = b"HTTP/1.1 102 Processing\r\n\r\n" + early
        self.begin(lambda r: interim + reply_bytes(200, b"ok"))
        with self.open(UNTRUSTED) as stream:
            for _ in (1, 2):
                stream.send(request_bytes())
                first, second, last = (stream.read_reply() for _ in range(3))
                self.assertEqual([first.status, second.status, last.status], [102, 103, 200])
                self.assertEqual(second.fields, [("link", "</a>")])
        with self.open() as stream:
            stream.send(b"GET / HTTP/1.0\r\n\r\n")
            self.assertEqual(stream.read_reply().status, 200)
            stream.expect_end()

    def test_expect_continue_waits_for_the_provider(self):
        def script(stream):
            request = stream.read_request(body=False)
            stream.provider.note(request)
            stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            stream.send(reply_bytes(200, stream.read_exactly(4)))
            stream.read_request()

        self.begin()
        self.shop.script = script
        fields = [("Expect", "100-Continue"), ("Content-Length", "4")]
        head = request_bytes("POST", "/", "a", fields)
        with self.open() as stream:
            stream.send(head)
            self.assertEqual(stream.read_reply().status, 100)
            self.assertEqual(self.shop.requests[0].get("expect").lower(), "100-continue")
            stream.send(b"body")
            self.assertEqual(stream.read_reply().body, b"body")

    def test_expect_continue_refused_by_the_provider_ends_the_connection(self):
        def script(stream):
            stream.provider.note(stream.read_request(body=False))
            stream.send(reply_bytes(413, b"no"))
            stream.read_request()

        self.begin()
        self.shop.script = script
        fields = [("Expect", "100-continue"), ("Content-Length", "4")]
        head = request_bytes("POST", "/", "a", fields)
        with self.open() as stream:
            stream.send(head)
            reply = stream.read_reply()
            self.assertEqual((reply.status, reply.get("connection")), (413, "close"))
            stream.send(b"body")
            stream.expect_end()
        eventually(lambda: self.shop.open_connections == 0)

    def test_other_expectations_are_refused_and_1_0_has_none(self):
        self.begin()
        for value in ("200-ok", "100-continue, x", "100-continuex"):
            reply, seen = self.send([("Expect", value)])
            self.assertEqual((reply.status, reply.get("x-offshoot-error")), (417, "expectation"))
            self.assertIsNone(seen)
        with self.open() as stream:
            stream.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab")
            self.assertEqual(stream.read_reply().status, 200)
        self.assertNotIn("expect", self.shop.requests[-1].names())

    def test_chunked_bodies_are_framed_anew(self):
        self.begin(lambda r: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                             b"00003;a=b;c=\"d\"\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\n")
        with self.open() as stream:
            for step in (1, 7, 1000):
                head = request_bytes("PUT", "/", "a", [("Transfer-Encoding", "chunked")])
                stream.send_slowly(head + b"5;x\r\nhello\r\n000\r\n\r\n", step)
                reply = stream.read_reply()
                self.assertEqual(reply.body, b"abc0123456789")
                seen = self.shop.requests[-1]
                self.assertEqual((seen.body, seen.framing), (b"hello", "chunked"))
                self.assertNotIn(b";", seen.raw.split(b"\r\n\r\n", 1)[1])
                self.assertNotIn(b";", reply.raw.split(b"\r\n\r\n", 1)[1])

    def test_http_1_0_clients_get_no_chunks(self):
        def answer(request):
            if request.target == "/length":
                return reply_bytes(200, b"hello")
            return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")

        self.begin(answer)
        with self.open() as stream:
            reply = stream.ask(b"GET /length HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            self.assertEqual((reply.body, reply.get("connection")), (b"hello", "keep-alive"))
            self.assertEqual(self.shop.requests[-1].get("host"), "shop")
            self.assertEqual(self.shop.requests[-1].version, "1.1")
            reply = stream.ask(b"GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            self.assertEqual((reply.body, reply.framing), (b"hello", "close"))
            self.assertEqual(reply.get("connection"), "close")
        with self.open() as stream:
            reply = stream.ask(b"GET /length HTTP/1.0\r\nHost: x.test\r\n\r\n")
            self.assertEqual((reply.body, reply.get("connection")), (b"hello", "close"))
            self.assertEqual(self.shop.requests[-1].get("host"), "x.test")
            stream.expect_end()

    def test_a_reply_that_ends_with_its_connection_is_framed(self):
        def script(stream):
            stream.read_request()
            stream.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

        self.begin()
        self.shop.script = script
        with self.open() as stream:
            for _ in (1, 2):
                reply = stream.ask(request_bytes())
                self.assertEqual((reply.body, reply.framing), (b"hello", "chunked"))

    def test_forms_of_the_target(self):
        self.begin()
        for line, target, host in (
            (b"GET http://Up.Test:81/a?b=c HTTP/1.1\r\nHost: up.test:81", "/a?b=c", "up.test:81"),
            (b"GET http://up.test HTTP/1.1\r\nHost: up.test", "/", "up.test"),
            (b"OPTIONS http://up.test HTTP/1.1\r\nHost: up.test", "*", "up.test"),
            (b"OPTIONS * HTTP/1.1\r\nHost: up.test", "*", "up.test"),
            (b"GET /a%2Fb/../c//d?x=/../%41 HTTP/1.1\r\nHost: a", "/a%2Fb/../c//d?x=/../%41", "a"),
            (b"PURGE /x HTTP/1.1\r\nHost: [::1]:80", "/x", "[::1]:80"),
        ):
            with self.subTest(line):
                with self.open() as stream:
                    self.assertEqual(stream.ask(line + b"\r\n\r\n").status, 200)
                seen = self.shop.requests[-1]
                self.assertEqual((seen.target, seen.get("host").lower()), (target, host))

    def test_pipelined_requests_are_answered_in_order(self):
        self.begin(lambda r: reply_bytes(200, r.target.encode() + r.body))
        parts = [request_bytes("POST", f"/{n}", "a", body=b"x" * n) if n % 2 else
                 request_bytes("GET", f"/{n}", "a") for n in range(50)]
        for step in (7, 100_000):
            with self.open() as stream:
                stream.send_slowly(b"".join(parts), step)
                for n in range(50):
                    want = b"/%d" % n + (b"x" * n if n % 2 else b"")
                    self.assertEqual(stream.read_reply().body, want)
        self.assertEqual(self.shop.accepted, 1)

    def test_close_is_obeyed(self):
        self.begin()
        with self.open() as stream:
            reply = stream.ask(request_bytes(fields=[("Connection", "foo, CLOSE")]))
            self.assertEqual((reply.status, reply.get("connection")), (200, "close"))
            stream.expect_end()

    def test_a_half_closed_client_gets_its_reply(self):
        self.begin()
        with self.open() as stream:
            stream.send(request_bytes("POST", "/", "a", body=b"abc"))
            stream.end_sending()
            self.assertEqual(stream.read_reply().body, b"ok")
            stream.expect_end()

    def test_bodies_pass_unchanged_in_both_directions(self):
        self.begin(lambda r: reply_bytes(200, r.body))
        with self.open() as stream:
            for size in (0, 1, 8191, 8192, 8193, 65535, 65536, 65537, 1_000_003):
                data = bytes(i * 31 & 255 for i in range(251)) * (size // 251 + 1)
                data = data[:size]
                for chunked in (False, True):
                    if chunked:
                        body = b"".join(b"%x\r\n%s\r\n" % (len(data[i : i + 9973]),
                                        data[i : i + 9973]) for i in range(0, size, 9973))
                        raw = request_bytes("POST", "/", "a", [("Transfer-Encoding", "chunked")])
                        raw += body + b"0\r\n\r\n"
                    else:
                        raw = request_bytes("POST", "/", "a", [("Content-Length", str(size))])
                        raw += data
                    self.assertTrue(stream.ask(raw).body == data, (size, chunked))


# ---- replies of the proxy's own ----

WORDS = graph_of(
    service("shop"),
    service("gone", "policy: {timeout: 50ms}"),
    service("nobody"),
    service("raw", "protocol: tcp"),
    gateway({"/shop": "shop", "/gone": "gone", "/nobody": "nobody", "/raw": "raw"},
            "overlayAccess: public, select: [{header: x-env}, {query: env}, {baggage: other-env}]"),
    baseline(shop="%(shop)s", gone="%(shop)s", raw="%(shop)s"),
    overlay("dead", shop="%(nobody)s"),
    overlay("old", "expires: 2020-01-01T00:00:00Z"),
    overlay("less", "remove: [gone]"),
)


class Refusals(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, *flags):
        def answer(request):
            if request.target == "/shop/bad":
                return b"nonsense\r\n\r\n"
            if request.target == "/gone":
                over.wait(60)
                return None
            return reply_bytes(200, b"ok")

        over = threading.Event()
        self.shop = self.provider(http_script(answer))
        self.closes(SimpleNamespace(close=over.set))
        graph = WORDS % {"shop": self.shop.address, "nobody": self.nobody().address}
        self.write("conf.yaml", "timeouts: {head: 200ms}\n")
        self.proxy = self.start_proxy(graph, "-c", "conf.yaml", *flags, listen=BOTH)

    # What is asked, and what comes: (word, status, target, fields).
    TABLE = (
        ("unknown-environment", 404, "/shop", [("x-env", "nosuch")]),
        ("unknown-environment", 404, "/shop", [("x-env", "Not A Name")]),
        ("expired", 410, "/shop", [("x-env", "old")]),
        ("no-route", 404, "/else", []),
        ("removed", 404, "/gone", [("x-env", "less")]),
        ("no-provider", 503, "/nobody", []),
        ("context", 400, "/shop", [("x-env", "main"), ("x-env", "less")]),
        ("context", 400, "/shop?env=a&env=b", []),
        ("bad-request", 400, "/../shop", []),
        ("unsupported", 501, "/raw", []),
        ("bad-request", 400, "/shop", [("Connection", "upgrade"), ("Upgrade", "web socket")]),
        ("expectation", 417, "/shop", [("Expect", "more")]),
        ("loop", 508, "/shop", [("Via", ", ".join(["1.1 offshoot"] * 17))]),
        ("connect", 502, "/shop", [("x-env", "dead")]),
        ("bad-reply", 502, "/shop/bad", []),
        ("timeout", 504, "/gone", []),
    )  # fmt: skip
    GRPC = {"unknown-environment": 9, "expired": 9, "no-route": 12, "removed": 9, "no-provider": 9,
            "context": 3, "bad-request": 3, "unsupported": 12, "expectation": 3, "loop": 9,
            "connect": 14, "bad-reply": 13, "timeout": 4}  # fmt: skip

    def refused(self, listener, target, fields, method="GET"):
        with connect(addresses(self.proxy)[listener]) as stream:
            return stream.ask(request_bytes(method, target, "a.test", fields))

    def check_head(self, reply, word, status):
        self.assertEqual((reply.status, reply.get("x-offshoot-error")), (status, word), reply)
        self.assertEqual(reply.get("cache-control"), "no-store")
        self.assertEqual(int(reply.get("content-length")), len(reply.body))

    def test_every_word_in_every_form(self):
        self.begin()
        for word, status, target, fields in self.TABLE:
            for listener in (TRUSTED, UNTRUSTED):
                with self.subTest(word=word, target=target, listener=listener):
                    before = self.proxy.counters()
                    reply = self.refused(listener, target, fields)
                    self.check_head(reply, word, status)
                    self.assertEqual(reply.get("content-type"), "text/plain; charset=utf-8")
                    self.assertTrue(reply.body.startswith(word.encode() + b": "), reply.body)
                    accept = ("Accept", "text/html;q=0.1, application/json")
                    reply = self.refused(listener, target, [*fields, accept])
                    self.check_head(reply, word, status)
                    self.assertEqual(reply.get("content-type"), "application/json")
                    told = json.loads(reply.body)
                    self.assertEqual((told["error"], told["status"]), (word, status))
                    reply = self.refused(listener, target, [*fields, ("Accept", "text/html,*/*")])
                    self.check_head(reply, word, status)
                    self.assertEqual(reply.get("content-type"), "text/html; charset=utf-8")
                    self.assertIn(word.encode(), reply.body)
                    changes = self.proxy.counters().since(before)
                    counter = f'offshoot_refusals_total{{reason="{word}"}}'
                    self.assertEqual(changes.get(counter), 3)

    def test_grpc_is_told_in_its_own_way(self):
        self.begin()
        kind = ("Content-Type", "application/grpc+proto")
        for word, _, target, fields in self.TABLE:
            with self.subTest(word=word, target=target):
                reply = self.refused(TRUSTED, target, [*fields, kind])
                self.check_head(reply, word, 200)
                self.assertEqual(reply.get("content-type"), "application/grpc")
                self.assertEqual(reply.get("grpc-status"), str(self.GRPC[word]))
                self.assertTrue(reply.get("grpc-message"))
                self.assertEqual(reply.body, b"")

    def test_head_requests_get_the_head_alone(self):
        self.begin()
        with connect(self.addresses()[0]) as stream:
            for _ in (1, 2):
                reply = stream.ask(request_bytes("HEAD", "/else"))
                self.assertEqual((reply.status, stream.buffer), (404, b""))
                self.assertGreater(int(reply.get("content-length")), 0)

    def addresses(self):
        return addresses(self.proxy)

    def test_what_is_no_name_is_never_echoed(self):
        self.begin()
        for value in ("<script>alert(1)</script>", "a\"b", "Main", "x" * 64, "-a", "\xe4\xf6",
                      "a b"):
            for accept in ("text/html", "application/json", "*/*"):
                for listener in (TRUSTED, UNTRUSTED):
                    reply = self.refused(listener, "/shop/<i>%3Cb%3E",
                                         [("x-env", value), ("Accept", accept)])
                    self.check_head(reply, "unknown-environment", 404)
                    self.assertNotIn(value.encode("latin-1"), reply.raw)
                    self.assertNotIn(b"<i>", reply.raw)
        json_too = ("Accept", "application/json")
        reply = self.refused(TRUSTED, "/shop", [("x-env", "a" * 63), json_too])
        self.assertEqual(json.loads(reply.body)["environment"], "a" * 63)
        self.assertEqual(json.loads(reply.body)["service"], "shop")

    def test_a_refused_request_keeps_its_connection_when_it_is_whole(self):
        self.begin()
        with connect(self.addresses()[0]) as stream:
            for word, status, target, fields in self.TABLE:
                if "Upgrade" in dict(fields):
                    continue
                with self.subTest(word=word):
                    data = request_bytes("POST", target, "a", fields, b"some body")
                    self.check_head(stream.ask(data), word, status)
            self.assertEqual(stream.ask(request_bytes("GET", "/shop")).status, 200)

    def test_no_environment(self):
        self.begin("--on-missing", "refuse")
        self.check_head(self.refused(TRUSTED, "/shop", []), "no-environment", 404)
        self.assertEqual(self.refused(UNTRUSTED, "/shop", []).status, 200)
        self.assertEqual(self.refused(TRUSTED, "/shop", [("x-env", "main")]).status, 200)

    def test_every_fault_of_a_context_has_its_name(self):
        self.begin()
        token, pad = "v1m.main.0.00", "a" * (247 - len("v1m..0.00"))
        cases = [
            ("malformed", [("x-offshoot-context", v)]) for v in (
                "", "x", "v1m", "v2m.main.0.00", "v1x.main.0.00", "v1m.Main.0.00", "v1m.main.0.0",
                "v1m.main.0.000", "v1m.main.0.20", "v1m.main.0.0A", "v1m.main.-.00", "v1m.main..00",
                "v1m..0.00", "v1m.-a.0.00", "v1m.main.0.00.", "v1m.main.0.00.1", f"v1m.{pad}.0.00",
                "v1m.main.0.00 x", "v1e.main.1.00", "v1e.main.0.01")
        ]
        cases += [
            ("too-long", [("x-offshoot-context", f"v1m.{pad}a.0.00")]),
            ("edge-token", [("x-offshoot-context", "v1e.main.0.00")]),
            ("unknown-key", [("uberctx-offshoot", f"{token}.a.key.{'A' * 22}")]),
            ("two-values", [("x-offshoot-context", token),
                            ("X_Offshoot_Context", "v1m.less.0.00")]),
            ("two-values", [("baggage", f"offshoot={token}"),
                            ("uberctx-offshoot", "v1m.main.0.10")]),
            ("two-values", [("baggage", f"offshoot={token},offshoot=v1m.less.0.00")]),
            ("malformed", [("baggage", "offshoot")]),
            ("malformed", [("baggage", "offshoot;a=b")]),
            ("selector-two-values", [("x-env", "main"), ("x-env", "")]),
            ("selector-value", [("baggage", "other-env=%4")]),
        ]
        for reason, fields in cases:
            with self.subTest(fields=fields):
                before = self.proxy.counters()
                accept = ("Accept", "application/json")
                reply = self.refused(TRUSTED, "/shop", [*fields, accept])
                self.check_head(reply, "context", 400)
                self.assertEqual(json.loads(reply.body)["detail"], reason)
                changes = self.proxy.counters().since(before)
                self.assertEqual(
                    changes.get(f'offshoot_context_faults_total{{reason="{reason}"}}'), 1)
        # At an untrusted listener none of ours is believed, so none can be at fault.
        for _, fields in cases[:-2]:
            self.assertEqual(self.refused(UNTRUSTED, "/shop", fields).status, 200)

    def test_connect_is_refused_and_an_offer_of_h2c_is_not_taken(self):
        self.begin()
        with connect(self.addresses()[0]) as stream:
            head = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"
            reply = stream.ask(head, "GET")
            self.check_head(reply, "unsupported", 501)
            self.assertEqual(reply.get("connection"), "close")
            stream.expect_end()
        with connect(self.addresses()[0]) as stream:
            upgrade = [("Connection", "Upgrade"), ("Upgrade", "x/1, h2c")]
            reply = stream.ask(request_bytes("GET", "/shop", "a", upgrade))
            self.assertEqual((reply.status, reply.get("connection")), (200, "close"))
            self.assertEqual(self.shop.requests[-1].get("upgrade"), "x/1")
            stream.expect_end()
        with connect(self.addresses()[0]) as stream:
            for fields in ([("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                            ("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")],
                           [("Upgrade", "websocket")]):  # nobody said it is meant for us
                reply = stream.ask(request_bytes("GET", "/shop", "a", fields))
                self.assertEqual(reply.status, 200)
                self.assertNotIn("upgrade", self.shop.requests[-1].names())
                self.assertNotIn("http2-settings", self.shop.requests[-1].names())

    def test_a_slow_head_is_refused(self):
        self.begin()
        with connect(self.addresses()[0]) as stream:
            stream.send(b"GET /shop HTTP/1.1\r\nHost:")
            self.check_head(stream.read_reply(), "request-timeout", 408)
            stream.expect_end()
        eventually(lambda: self.proxy.counters().get(
            "offshoot_client_closes_total", reason="head-timeout") == 1)


if __name__ == "__main__":
    unittest.main()
