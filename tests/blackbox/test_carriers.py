"""No carrier of ours where it does not belong: providers that record every byte they get, clients
that record every byte they are told, for all listeners, carriers and spellings."""

import base64
import hashlib
import hmac
import os
import re
import time
import unittest

import harness
from graphs import baseline, gateway, graph_of, overlay, service
from harness import eventually, http_script, reply_bytes, request_bytes

SELECT = (
    '{host: "*.preview.example.com"}, {header: x-env}, {header: x-stays, forward: true}, '
    "{query: env}, {cookie: env}, {cookie: kept, forward: true}, {baggage: sd}, "
    "{baggage: sd-kept, forward: true}, {tracestate: sd}"
)
GRAPH = graph_of(
    service("shop"),
    gateway({"/": "shop"},
            f"overlayAccess: public, pinHosts: [shop.example.com], select: [{SELECT}]"),
    baseline(shop="%s"),
    overlay("feat-42"),
)

TRACE = ("Traceparent", f"00-{'a' * 32}-{'b' * 16}-01")
MESH = "v1m.feat-42.0.00"
OWN_HEADERS = ("x-offshoot-context", "uberctx-offshoot", "ot-baggage-offshoot")
OTHERS = ("x-offshoot-explain", "x-offshoot-error", "x-offshoot-route", "x-offshoot-anything")
# Nobody uses it for anything else: wherever these bytes come out, a carrier leaked.
MARK = "leaked-value"
KID, SECRET, DOMAIN = "k1", bytes(range(32)), "test.example"


def spellings(name):
    yield name
    yield name.replace("-", "_")
    yield name.upper()
    yield "".join(c.upper() if i % 2 else c for i, c in enumerate(name))
    yield name.replace("-", "_", 1).title()


def base36(n):
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return base36(n // 36).lstrip("0") + digits[n % 36] if n else "0"


def signed(use, env, seconds=3600):
    text = f"v1{use}.{env}.0.00.{base36(int(time.time()) + seconds)}.{KID}"
    mac = hmac.new(SECRET, f"offshoot1|{DOMAIN}|{text}".encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac[:16]).rstrip(b'=').decode()}"


def own_words(message):
    """The names of fields and trailers that are ours, or look as if they were."""
    names = [n.lower().replace("_", "-") for n, _ in message.fields + message.trailers]
    return [n for n in names if "offshoot" in n]


class Carriers(harness.ProxyCase):
    """One proxy with both kinds of listener, in front of one provider."""

    keys = False

    def setUp(self):
        super().setUp()
        self.answer = lambda request: reply_bytes(body=b"ok")
        self.shop = self.provider(http_script(lambda request: self.answer(request)))
        flags = []
        if self.keys:
            secret = base64.b64encode(SECRET).decode()
            path = self.write("keys.txt", f"{KID} {secret}\n")
            os.chmod(path, 0o600)
            flags = ["--keys", path, "--trust-domain", DOMAIN]
        self.log = self.folder / "access.log"
        flags += ["--access-log", self.log]
        self.proxy = self.start_proxy(
            GRAPH % self.shop.address, *flags, listen=("127.0.0.1:0", "127.0.0.1:0,trusted")
        )
        self.edge = self.client(self.proxy, 0)
        self.mesh = self.client(self.proxy, 1)

    def sent(self, stream, target="/", fields=(), host="localhost", **options):
        """What the provider got for this request, which must not be refused."""
        before = len(self.shop.requests)
        reply = stream.ask(request_bytes("GET", target, host, [TRACE, *fields], **options))
        self.assertEqual(200, reply.status, (fields, reply))
        self.assertEqual([], own_words(reply))
        self.assertEqual(before + 1, len(self.shop.requests))
        return self.shop.requests[-1]

    def assert_only_injected(self, request, env="main"):
        self.assertEqual(["x-offshoot-context"], own_words(request), request)
        token = request.get("x-offshoot-context")
        self.assertRegex(token, rf"^v1m\.{env}\.[0-9a-z]+\.[0-9a-f]{{2}}(\.|$)")
        members = [m.strip() for v in request.all("baggage") for m in v.split(",")]
        ours = [m for m in members if "offshoot" in m.lower()]
        self.assertEqual([f"offshoot={token}"], ours)
        self.assertEqual(members[-1], ours[0])
        self.assertNotIn(MARK, request.raw.decode("latin-1"))


class AtTheEdge(Carriers):
    def test_own_carriers_go_in_every_spelling(self):
        for name in (*OWN_HEADERS, *OTHERS):
            for spelling in spellings(name):
                for values in ([MARK], [MESH], [MESH, MARK], [MARK] * 3):
                    fields = [(spelling, v) for v in values]
                    with self.subTest(fields):
                        self.assert_only_injected(self.sent(self.edge, fields=fields))

    def test_own_members_of_baggage_go(self):
        for value in (
            f"offshoot={MESH}",
            f"a=1,offshoot={MARK},b=2",
            f"offshoot={MESH};p=1,offshoot={MARK}",
            f"OffShoot={MARK}",
            f"offshoot ={MARK}",
            f'"offshoot"={MARK}',
        ):
            for name in ("baggage", "Baggage", "BAGGAGE"):
                fields = [(name, value), (name, f"offshoot={MARK}")]
                with self.subTest(fields):
                    request = self.sent(self.edge, fields=fields)
                    self.assert_only_injected(request)
                    kept = request.get("baggage").split(",")[:-1]
                    self.assertEqual(["a=1", "b=2"] if "a=1" in value else [], kept)

    def test_baggage_that_was_not_scanned_does_not_pass(self):
        many = ",".join(f"k{i}=v" for i in range(64)) + f",offshoot={MARK}"
        request = self.sent(self.edge, fields=[("baggage", many)])
        self.assertNotIn(MARK, request.raw.decode())
        self.assertEqual(["x-offshoot-context"], own_words(request))

    def test_carriers_in_trailers_go(self):
        names = [s for n in (*OWN_HEADERS, *OTHERS, "baggage") for s in spellings(n)]
        lines = "".join(f"{n}: {MARK}\r\n" for n in names).encode()
        head = request_bytes("POST", fields=[
            TRACE, ("Transfer-Encoding", "chunked"), ("Trailer", "x-kept"), ("TE", "trailers"),
            ("Connection", "TE"),
        ])  # fmt: skip
        for stream in (self.edge, self.mesh):
            reply = stream.ask(head + b"2\r\nhi\r\n0\r\n" + lines + b"x-kept: 1\r\n\r\n", "POST")
            self.assertEqual(200, reply.status)
            request = self.shop.requests[-1]
            self.assertEqual([("x-kept", "1")], request.trailers)
            self.assert_only_injected(request)

    def test_carriers_of_selectors_go_unless_forwarded(self):
        cases = [
            ([("X-Env", "feat-42")], "feat-42"),
            ([("X-Env", "feat-42"), ("x-env", "feat-42")], "feat-42"),
            ([("Cookie", "a=1; env=feat-42")], "feat-42"),
            ([("Cookie", "offshoot=feat-42")], "feat-42"),
            ([("Cookie", "offshoot=feat-42; __Host-offshoot=x")], "feat-42"),
            ([("Cookie", "__Host-offshoot=x")], "main"),
            ([("Baggage", "a=1,sd=feat-42")], "feat-42"),
            ([("Tracestate", "sd=feat-42,v=1")], "feat-42"),
            ([("X-Env", "feat-42"), ("Cookie", "offshoot=x"), ("Baggage", "sd=y")], "feat-42"),
        ]
        for fields, env in cases:
            with self.subTest(fields):
                request = self.sent(self.edge, fields=fields)
                self.assert_only_injected(request, env)
                self.assertEqual([], request.all("x-env"))
                for name in ("cookie", "tracestate", "baggage"):
                    value = ",".join(request.all(name))
                    self.assertIsNone(re.search(r"env=|sd=|(^|[ ;])(__Host-)?offshoot=[^v]", value))

    def test_what_says_forward_stays(self):
        fields = [("x-stays", "feat-42"), ("Cookie", "kept=a; env=b"), ("Baggage", "sd-kept=c")]
        request = self.sent(self.edge, fields=fields)
        self.assert_only_injected(request, "feat-42")
        self.assertEqual("feat-42", request.get("x-stays"))
        self.assertEqual("kept=a", request.get("cookie"))
        self.assertIn("sd-kept=c,", request.get("baggage"))

    def test_the_parameter_goes_at_both_listeners(self):
        for stream in (self.edge, self.mesh):
            for target in ("/x?env=feat-42", "/x?%65nv=feat-42&env=feat-42"):
                request = self.sent(stream, target)
                self.assertEqual("/x", request.target)
                self.assertNotIn("env=", request.raw.decode())


class AtTrustedListeners(Carriers):
    def test_a_token_is_read_and_written_anew(self):
        for name in OWN_HEADERS:
            for spelling in spellings(name):
                for n in (1, 3):
                    request = self.sent(self.mesh, fields=[(spelling, MESH)] * n)
                    self.assert_only_injected(request, "feat-42")
        request = self.sent(self.mesh, fields=[("Baggage", f"a=1,offshoot={MESH}")])
        self.assert_only_injected(request, "feat-42")
        self.assertIn("a=1,", request.get("baggage"))

    def test_other_names_of_ours_go(self):
        for name in OTHERS:
            for spelling in spellings(name):
                self.assert_only_injected(self.sent(self.mesh, fields=[(spelling, MARK)]))

    def test_what_cannot_be_used_is_refused_and_reaches_nobody(self):
        for name in (*OWN_HEADERS, "baggage"):
            value = f"offshoot={MARK}" if name == "baggage" else MARK
            reply = self.mesh.ask(request_bytes(fields=[(name, value)]))
            self.assertEqual((400, "context"), (reply.status, reply.get("x-offshoot-error")))
            self.assertNotIn(MARK, reply.raw.decode())
        self.assertEqual([], self.shop.requests)


class WithKeys(Carriers):
    keys = True

    def test_an_edge_token_decides_and_stays_behind(self):
        token = signed("e", "feat-42")
        for fields in (
            [("x-offshoot-context", token)],
            [("X_Offshoot_Context", token)],
            [("Baggage", f"a=1,offshoot={token}")],
            [("Cookie", f"offshoot={token}")],
            [("Cookie", f"env={token}; a=b")],
        ):
            with self.subTest(fields):
                request = self.sent(self.edge, fields=fields)
                self.assert_only_injected(request, "feat-42")
                self.assertNotIn(token, request.raw.decode())

    def test_tokens_that_are_foreign_at_the_edge_stay_behind_too(self):
        for token in (MESH, signed("m", "feat-42"), signed("e", "feat-42").replace(KID, "k2")):
            request = self.sent(self.edge, fields=[("x-offshoot-context", token)])
            self.assert_only_injected(request)
            self.assertNotIn(token, request.raw.decode())

    def test_a_share_link_with_a_token_keeps_the_token_in_the_cookie(self):
        token = signed("e", "feat-42")
        reply = self.edge.ask(request_bytes("GET", f"/x?env={token}", "shop.example.com"))
        self.assertEqual((302, "/x"), (reply.status, reply.get("location")))
        self.assertEqual(token, reply.get("set-cookie").split(";")[0].split("=", 1)[1])
        self.assertEqual([], self.shop.requests)

    def test_no_token_is_written_to_the_log(self):
        ours, foreign = signed("e", "feat-42"), signed("e", "feat-42").replace(KID, "k2")
        macs = [t.rsplit(".", 1)[1] for t in (ours, foreign)]
        for token in (ours, foreign, ours[:-2] + "AA"):
            for host in ("shop.example.com", "localhost"):
                self.edge.ask(request_bytes("GET", f"/x?env={token}&env=&y=1", host))
                self.edge.ask(request_bytes("GET", f"/x?env={token}", host))
            self.edge.ask(request_bytes(fields=[("Cookie", f"offshoot={token}")]))
            self.edge.ask(request_bytes(fields=[("x-offshoot-context", token)]))
        text = eventually(lambda: (t := self.log.read_text()).count("\n") >= 18 and t)
        for mac in (*macs, ours[:-2]):
            self.assertNotIn(mac, text)

    def test_a_cookie_whose_token_has_run_out_is_expired(self):
        old = signed("e", "feat-42", -3600)
        reply = self.edge.ask(request_bytes(fields=[("Cookie", f"offshoot={old}")]))
        self.assertEqual((400, "context"), (reply.status, reply.get("x-offshoot-error")))
        self.assertIn("offshoot=; Max-Age=0;", reply.get("set-cookie"))
        forged = signed("e", "feat-42")[:-4] + "AAAA"
        reply = self.edge.ask(request_bytes(fields=[("Cookie", f"offshoot={forged}")]))
        self.assertIn("offshoot=; Max-Age=0;", reply.get("set-cookie"))

    def test_replies_name_every_carrier_that_may_choose(self):
        vary = self.edge.ask(request_bytes()).get("vary").split(", ")
        for name in ("x-env", "cookie", "baggage", *OWN_HEADERS):
            self.assertEqual(1, vary.count(name), vary)
        token = ("x-offshoot-context", signed("e", "feat-42"))
        reply = self.edge.ask(request_bytes(fields=[token]))
        self.assertEqual("private", reply.get("cache-control"))


class WhatClientsAreTold(Carriers):
    FIELDS = [(s, MARK) for n in (*OWN_HEADERS, *OTHERS) for s in spellings(n)]

    def told(self, stream, data=None):
        """Every byte that the client got for one request."""
        stream.send(data or request_bytes(fields=[("TE", "trailers"), ("Connection", "TE")]))
        raw = b""
        while True:
            reply = stream.read_reply()
            raw += reply.raw
            if reply.status >= 200:
                return reply, raw.decode()

    def test_names_of_ours_in_a_reply_do_not_pass_the_edge(self):
        self.answer = lambda _: reply_bytes(body=b"ok", fields=[*self.FIELDS, ("x-kept", "1")])
        reply, raw = self.told(self.edge)
        self.assertNotIn(MARK, raw)
        self.assertEqual([], own_words(reply))
        self.assertEqual("1", reply.get("x-kept"))

    def test_nor_in_interim_replies(self):
        lines = "".join(f"{n}: {v}\r\n" for n, v in self.FIELDS)
        early = f"HTTP/1.1 103 Early Hints\r\n{lines}link: <a>\r\n\r\n".encode()
        self.answer = lambda _: early + early + reply_bytes(body=b"ok")
        _, raw = self.told(self.edge)
        self.assertEqual(2, raw.count("link: <a>"))
        self.assertNotIn(MARK, raw)
        self.assertNotIn("offshoot", raw)

    def test_nor_in_trailers(self):
        lines = "".join(f"{n}: {v}\r\n" for n, v in self.FIELDS)
        body = f"2\r\nok\r\n0\r\n{lines}x-kept: 1\r\n\r\n"
        head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-kept\r\n\r\n"
        self.answer = lambda _: (head + body).encode()
        for stream in (self.edge, self.mesh):
            reply, raw = self.told(stream)
            self.assertEqual([("x-kept", "1")], reply.trailers)
            self.assertNotIn(MARK, raw)

    def test_a_refusal_of_ours_says_its_word_and_nothing_more(self):
        for fields in ([("x-env", "nobody")], [("Cookie", "offshoot=nobody")]):
            reply = self.edge.ask(request_bytes(fields=fields))
            self.assertEqual(["x-offshoot-error"], own_words(reply))

    def test_explain_is_not_heard_at_the_edge(self):
        for spelling in spellings("x-offshoot-explain"):
            reply, raw = self.told(self.edge, request_bytes(fields=[(spelling, "1")]))
            self.assertEqual([], own_words(reply))
            self.assertNotIn("class=", raw)


if __name__ == "__main__":
    unittest.main()
