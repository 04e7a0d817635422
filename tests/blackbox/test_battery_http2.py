"""A battery of requests and replies of HTTP/2, most of them odd, before providers of both
protocols: nothing that RFC 9113 forbids reaches a provider of HTTP/1 in a form that could be read
otherwise, and no reply that was cut or malformed looks whole."""

import random
import unittest

import http2
from battery import Battery, shown1, shown2
from certs import Authority
from harness import ONE_SHOP, ProxyCase, fixed
from http1 import BadMessage
from http2 import literal, request_fields

EVIL = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
SPLIT = "\r\n\r\n" + EVIL
LENGTH5 = ("content-length", "5")


def fields(*more, **pseudo):
    """@ stands for the path of the case. None leaves a pseudo-field out."""
    return request_fields(**{"path": "@", "authority": "a", **pseudo}, fields=more)


# ---- requests: (name, fields, pieces of the body or None, trailers or None) ----


def refused_pseudo():
    for name in ("method", "scheme", "path"):
        yield "no-" + name, fields(**{name: None}), None, None
        yield "empty-" + name, fields(**{name: ""}), None, None
        yield "two-" + name, fields() + [(":" + name, "GET")], None, None
        yield "late-" + name, fields(("x", "y"), (":" + name, "GET"), **{name: None}), None, None
    yield "no-authority", fields(authority=None), None, None
    yield "empty-authority", fields(authority=""), None, None
    yield "empty-authority-host", fields(("host", "a"), authority=""), None, None
    yield "two-authorities", [(":authority", "a"), *fields()], None, None
    yield "late-authority", fields(("x", "y"), (":authority", "a"), authority=None), None, None
    for name in (":status", ":protocol", ":x", ":", ":Path", ":host", "::path", ":method ", ":te"):
        yield "pseudo" + name, [(name, "200"), *fields()], None, None
    for name, raw in {
        "space": "GET /evil HTTP/1.1", "crlf": "GET" + SPLIT, "lf": "GET\n", "nul": "GET\0",
        "colon": "GET:", "tab": "G\tT", "line": "GET /evil HTTP/1.1\r\nx: ", "latin": "G\xc9T",
        "paren": "(", "long": "M" * 100, "first-space": " GET", "end-space": "GET ",
    }.items():  # fmt: skip
        yield "method-" + name, fields(method=raw), None, None
    for name, raw in {
        "space": "@ x", "version": "@ HTTP/1.1\r\nx: y\r\n\r\n" + EVIL,
        "crlf": "@\r\n\r\n" + EVIL, "lf": "@\n",
        "cr": "@\r", "nul": "@\0", "tab": "@\tx", "del": "@\x7f", "end-space": "@ ",
        "relative": "c",
        "first-space": " @", "absolute": "http://a@", "star": "*", "fragment": "@#x", "query": "?x",
        "backslash": "@\\x", "percent": "@%", "percent-2": "@%0", "latin": "@\xe4", "vt": "@\x0b",
        "authority": "a:80", "dots-out": "/../evil", "dots-out-coded": "/%2e%2e/evil",
        "large": "@" + "x" * 40_000,
    }.items():  # fmt: skip
        yield "path-" + name, fields(path=raw), None, None
    for name, raw in {
        "space": "a b", "crlf": "a" + SPLIT, "lf": "a\nx: y", "nul": "a\0", "user": "u@a",
        "slash": "a/b",
        "comma": "a,b", "backslash": "a\\b", "port": "a:b", "port-high": "a:99999", "query": "a?b",
        "fragment": "a#b", "tab": "a\tb", "coded": "a%0d", "latin": "\xe4", "bracket": "[::1",
        "two": "a a",
        "url": "http://a", "port-empty": "a:", "first-space": " a", "del": "a\x7f",
    }.items():  # fmt: skip
        yield "authority-" + name, fields(authority=raw), None, None
        yield "host-" + name, fields(("host", raw), authority=None), None, None
    for name, raw in {"other": "b", "port": "a:80", "empty": "", "list": "a, a", "space": "a ",
                      "sub": "x.a"}.items():  # fmt: skip
        yield "host-disagrees-" + name, fields(("host", raw)), None, None
    yield "host-twice", fields(("host", "a"), ("host", "a")), None, None
    yield "host-twice-no-authority", fields(("host", "a"), ("host", "b"),
        authority=None), None, None
    for name, raw in {"crlf": "http" + SPLIT, "space": "http ", "url": "http://a/evil?",
        "nul": "h\0",
                      "ftp": "ftp", "colon": "http:", "long": "h" * 1000}.items():  # fmt: skip
        yield "scheme-" + name, fields(scheme=raw), None, None


def refused_fields():
    for name, raw in {
        "space": "x y", "end-space": "x ", "first-space": " x", "colon": "x:y", "colon-end": "x:",
        "nul": "x\0",
        "crlf": "x\r\ny", "lf": "x\n", "cr": "x\r", "upper": "X", "upper-mid": "aXb",
        "latin": "\xe4", "empty": "",
        "tab": "x\t", "paren": "x(", "slash": "x/y", "comma": "x,y", "equals": "x=",
        "del": "x\x7f", "at": "x@",
        "quote": 'x"', "bracket": "x[", "split": "x: y\r\ncontent-length", "brace": "{x}",
        "semicolon": "x;",
        "upper-length": "Content-Length", "upper-coding": "Transfer-Encoding", "line": "x" + SPLIT,
        "length-space": "content-length ", "coding-space": "transfer-encoding ", "vt": "x\x0b",
    }.items():  # fmt: skip
        yield "name-" + name, fields((raw, "1")), None, None
    for name, raw in {
        "crlf": "a\r\nx: y", "lf": "a\nx: y", "cr": "a\rx: y", "nul": "a\0b",
        "split": "a" + SPLIT, "vt": "a\x0b",
        "first-space": " a", "end-space": "a ", "first-tab": "\ta", "end-tab": "a\t",
        "del": "a\x7fb", "esc": "\x1b",
        "crlf-fold": "a\r\n b", "only-lf": "\n", "only-crlf": "\r\n", "only-nul": "\0",
        "only-space": " ",
    }.items():  # fmt: skip
        yield "value-" + name, fields(("x", raw)), None, None
        yield "cookie-" + name, fields(("cookie", raw)), None, None
        yield "cookie-2-" + name, fields(("cookie", "a=b"), ("cookie", raw)), None, None
        yield "ua-" + name, fields(("user-agent", raw)), None, None
        yield "te-" + name, fields(("te", raw)), None, None
    for name, raw in {
        "connection": "close", "keep-alive": "timeout=5", "proxy-connection": "keep-alive",
        "transfer-encoding": "chunked", "upgrade": "websocket",
    }.items():  # fmt: skip
        yield "specific-" + name, fields((name, raw)), None, None
        yield "specific-empty-" + name, fields((name, "")), None, None
        yield "specific-body-" + name, fields((name, raw), method="POST"), ["0\r\n\r\n", EVIL], None
    yield "coding-length", fields(("transfer-encoding", "chunked"), LENGTH5,
        method="POST"), ["hello"], None
    yield "coding-identity", fields(("transfer-encoding", "identity"), method="POST"), ["x"], None
    for name, raw in {"gzip": "gzip", "list": "trailers, gzip", "empty": "", "q": "trailers;q=1",
                      "two": "trailers, trailers", "chunked": "chunked"}.items():  # fmt: skip
        yield "te-" + name, fields(("te", raw)), None, None


def refused_lengths():
    def post(*lengths):
        return fields(*[("content-length", n) for n in lengths], method="POST")

    for name, raw in {
        "plus": "+5", "minus": "-5", "hex": "0x5", "empty": "", "list": "5, 5", "space": "5 ",
        "first-space": " 5",
        "word": "x", "overflow": "9223372036854775808", "wraps": "18446744073709551621",
        "float": "5.0",
        "digits": "0" * 19 + "5", "latin": "\xb2", "crlf": "5\r\nx: y", "nul": "5\0",
        "semicolon": "5;",
    }.items():  # fmt: skip
        yield "length-" + name, post(raw), ["hello"], None
        yield "length-get-" + name, fields(("content-length", raw)), None, None
    yield "length-twice", post("5", "5"), ["hello"], None
    yield "length-twice-other", post("5", "6"), ["hello"], None
    yield "length-short", post("5"), ["hell"], None
    yield "length-short-empty", post("5"), [], None
    yield "length-short-end", post("5"), None, None
    yield "length-long", post("5"), ["hello!"], None
    yield "length-long-2", post("5"), ["hello", "!"], None
    yield "length-0-body", post("0"), ["x"], None
    yield "length-0-evil", post("0"), [EVIL], None
    yield "length-short-evil", post("1"), ["x" + EVIL], None
    yield "length-trailers", post("5"), ["hell"], [("x", "y")]
    yield "length-trailers-long", post("5"), ["hello!"], [("x", "y")]
    yield "get-length", fields(LENGTH5), None, None
    yield "get-length-evil", fields(("content-length", "0")), [EVIL], None
    yield "head-length", fields(LENGTH5, method="HEAD"), None, None


def refused_trailers():
    post = fields(method="POST")
    for name, raw in {
        ":path": "/evil", ":method": "GET", ":status": "200", ":authority": "evil", ":x": "y",
        "X": "y",
        "content-length": "5", "transfer-encoding": "chunked", "connection": "close",
        "host": "evil",
        "upgrade": "x", "keep-alive": "x", "x y": "z", "x:": "y", "": "y", "x\r\ny": "z",
        "te": "gzip",
        "proxy-connection": "close",
    }.items():  # fmt: skip
        yield "trailer-" + name, post, ["hello"], [(name, raw)]
        yield "trailer-second-" + name, post, ["hello"], [("a", "b"), (name, raw)]
    for name, raw in {"crlf": "a\r\nx: y", "lf": "a\n", "nul": "\0", "split": "a" + SPLIT,
        "cr": "a\r",
                      "space": " a", "del": "\x7f"}.items():  # fmt: skip
        yield "trailer-value-" + name, post, ["hello"], [("x", raw)]


def refused_connect():
    yield "connect", [(":method", "CONNECT"), (":authority", "a:80")], None, None
    yield "connect-path", fields(method="CONNECT"), None, None
    yield "connect-no-authority", [(":method", "CONNECT")], None, None
    yield "connect-body", [(":method", "CONNECT"), (":authority", "a:80")], [EVIL], None
    yield "connect-length", [(":method", "CONNECT"), (":authority", "a:80"),
        LENGTH5], ["hello"], None
    yield "protocol-get", [*fields()[:1], (":protocol", "websocket"), *fields()[1:]], None, None
    for name, raw in {"crlf": "websocket\r\nx: y", "space": "web socket", "empty": "", "h2c": "h2c",
                      "list": "websocket, h2c", "tls": "TLS/1.2"}.items():  # fmt: skip
        yield ("protocol-" + name, [(":method", "CONNECT"), (":protocol", raw),
                                    *fields()[1:]], None, None)  # fmt: skip
    yield ("protocol-length", [(":method", "CONNECT"), (":protocol", "websocket"), *fields()[1:],
                               LENGTH5], ["hello"], None)  # fmt: skip


def refusals():
    for part in (refused_pseudo, refused_fields, refused_lengths, refused_trailers,
        refused_connect):
        yield from part()


def passes():
    """(name, fields, pieces, trailers, framing for HTTP/1, body)."""
    none = ("none", b"")
    yield "get", fields(), None, None, *none
    yield "host-only", fields(("host", "a"), authority=None), None, None, *none
    yield "host-agrees", fields(("host", "A")), None, None, *none
    yield "post-nothing", fields(method="POST"), None, None, "length", b""
    yield "length", fields(LENGTH5, method="POST"), ["hello"], None, "length", b"hello"
    yield "length-pieces", fields(LENGTH5, method="POST"), list("hello"), None, "length", b"hello"
    yield "length-empty-data", fields(LENGTH5, method="POST"), ["", "hello",
        ""], None, "length", b"hello"
    yield "length-0-data", fields(("content-length", "0"), method="POST"), [], None, "length", b""
    yield "length-zeros", fields(("content-length", "005"),
        method="POST"), ["hello"], None, "length", b"hello"
    yield "no-length", fields(method="POST"), ["hello"], None, "chunked", b"hello"
    yield "no-length-empty", fields(method="POST"), [], None, "chunked", b""
    inner = "0\r\n\r\n" + EVIL
    yield "evil-no-length", fields(method="POST"), [inner], None, "chunked", inner.encode()
    yield "evil-get", fields(), [EVIL], None, "chunked", EVIL.encode()
    n = ("content-length", str(len(inner)))
    yield "evil-length", fields(n, method="POST"), [inner], None, "length", inner.encode()
    yield "trailers", fields(method="POST"), ["hello"], [("x", "y")], "chunked", b"hello"
    yield "length-trailers", fields(LENGTH5, method="POST"), ["hello"], [("x",
        "y")], "length", b"hello"
    yield "te", fields(("te", "trailers")), None, None, *none
    yield "expect", fields(("expect", "100-continue"), LENGTH5,
        method="POST"), ["hello"], None, "length", (
        b"hello")
    yield "cookies", fields(("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")), None, None, *none
    yield "empty-value", fields(("x", "")), None, None, *none
    yield "tab-value", fields(("x", "a\tb")), None, None, *none
    yield "latin-value", fields(("x", "\xe4\xff")), None, None, *none
    yield "scheme-https", fields(scheme="https"), None, None, *none
    yield "odd-method", fields(method="M-SEARCH!#$%&'*+.^_`|~"), None, None, *none
    yield "query", fields(path="@?a=b&c=%0d%0a"), None, None, *none
    yield "coded-crlf", fields(path="@/%0d%0aHost:%20x"), None, None, *none
    yield "names", fields(("content-length-x", "9"), ("x-transfer-encoding",
        "chunked")), None, None, *none
    yield "authority-port", fields(authority="a:8080"), None, None, *none
    yield "99-fields", fields(*[("x", "y")] * 96), None, None, *none


# ---- replies of HTTP/2 providers: (name, frames(n, encode), what a client must be shown) ----


def reply_head(*more, status="200"):
    return literal([(":status", status), *more])


def replies():
    data, headers, rst = http2.data, http2.headers, http2.rst_stream
    whole = (200, b"hello")

    def ended(*more, body=b"hello", status="200"):
        head = reply_head(*more, status=status)
        return lambda n: (headers(n, head), data(n, body, end=True))

    yield "length", ended(LENGTH5), whole
    yield "no-length", ended(), whole
    yield "head-end", lambda n: (headers(n, reply_head(), end=True),), (200, b"")
    yield "empty", ended(body=b""), (200, b"")
    yield "trailers", lambda n: (headers(n, reply_head()), data(n, b"hello"),
                                 headers(n, literal([("x", "y")]), end=True)), whole  # fmt: skip
    yield "hints", lambda n: (headers(n, reply_head(status="103")), *ended()(n)), whole
    yield "204", lambda n: (headers(n, reply_head(status="204"), end=True),), (204, b"")
    yield "304", lambda n: (headers(n, reply_head(LENGTH5, status="304"), end=True),), (304, b"")
    yield "end-then-no-error", lambda n: (*ended()(n), rst(n, 0)), whole
    # cut
    for code in (0, 1, 2, 5, 7, 8, 11, 13, 99):
        yield f"reset-{code}", lambda n, code=code: (headers(n, reply_head()), data(n, b"hello"),
                                                     rst(n, code)), "bad"  # fmt: skip
        yield f"reset-length-{code}", lambda n, code=code: (
            headers(n, reply_head(("content-length", "9"))), data(n, b"hello"), rst(n, code)), "bad"
        yield f"reset-head-{code}", lambda n, code=code: (rst(n, code),), "bad"
        yield f"reset-empty-{code}", lambda n, code=code: (headers(n, reply_head()), rst(n,
            code)), "bad"
    yield "length-short", ended(LENGTH5, body=b"hell"), "bad"
    yield "length-long", ended(LENGTH5, body=b"hello!"), "bad"
    yield "length-long-2", lambda n: (headers(n, reply_head(LENGTH5)), data(n, b"hello"),
                                      data(n, b"!", end=True)), "bad"  # fmt: skip
    yield "length-none", lambda n: (headers(n, reply_head(LENGTH5), end=True),), "bad"
    yield "length-0-body", ended(("content-length", "0")), "bad"
    yield "length-trailers", lambda n: (headers(n, reply_head(LENGTH5)), data(n, b"hell"),
                                        headers(n, literal([("x", "y")]),
                                        end=True)), "bad"  # fmt: skip
    yield "204-body", ended(status="204"), "bad"
    yield "304-body", ended(status="304"), "bad"
    yield "hints-end", lambda n: (headers(n, reply_head(status="103"), end=True),), "bad"
    yield "hints-only", lambda n: (headers(n, reply_head(status="103")), rst(n, 0)), "bad"
    yield "data-first", lambda n: (data(n, b"hello", end=True),), "bad"
    yield "101", ended(status="101"), "bad"
    yield "trailers-open", lambda n: (headers(n, reply_head()), data(n, b"hello"),
                                      headers(n, literal([("x", "y")]))), "bad"  # fmt: skip
    for name, raw in {":status": "200", ":path": "/", "content-length": "5",
        "transfer-encoding": "chunked",
                      "X": "y", "x y": "z", "connection": "close",
                      "x\r\ny": "z"}.items():  # fmt: skip
        yield "trailer-" + name, lambda n, name=name, raw=raw: (
            headers(n, reply_head()), data(n, b"hello"), headers(n, literal([(name, raw)]),
            end=True)), "bad"
    # heads
    for raw in ("", "2", "20", "2000", "abc", "099", "600", "-20", "20 ", "200 OK", "+20", "2\r\n"):
        yield "status-" + raw, ended(status=raw), "bad"
    yield "no-status", lambda n: (headers(n, literal([("x", "y")]), end=True),), "bad"
    yield "two-status", ended((":status", "200")), "bad"
    yield "pseudo-request", ended((":path", "/")), "bad"
    yield "status-late", lambda n: (headers(n, literal([("x", "y"), (":status", "200")]),
        end=True),), "bad"
    for name in ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"):
        yield "specific-" + name, ended((name, "chunked")), "bad"
    for raw in ("+5", "5, 5", "-5", "", "5 ", "0x5", "18446744073709551621", "5\r\nx: y"):
        yield "length-" + raw, ended(("content-length", raw)), "bad"
    yield "length-twice", ended(LENGTH5, LENGTH5), "bad"
    yield "length-twice-other", ended(LENGTH5, ("content-length", "6")), "bad"
    for name in ("X", "x y", "x:", "", "x\r\ny", "x\n", "x\0", "\xe4", "x\r\n\r\nevil"):
        yield "name-" + name, ended((name, "y")), "bad"
    for raw in ("a\r\nset-cookie: evil", "a\n", "a\r", "\0", " a", "a ", "a\r\n\r\nevil", "\x7f"):
        yield "value-" + raw, ended(("x", raw)), "bad"


class Http2Battery(Battery):
    conf = "timeouts: {head: 5s, stream: 5s}\n"

    def setUp(self):
        super().setUp()
        self.peer = None

    def connected(self):
        if not self.peer or self.peer.goaways:
            if self.peer:
                self.peer.close()
            self.peer = self.closes(http2.connect(self.proxy.address))
        return self.peer

    def send(self, path, head, pieces, trailers):
        """One request as it is; its stream."""
        peer = self.connected()
        n = peer.new_stream()
        block = literal([(f, v.replace("@", path)) for f, v in head])
        out = [http2.in_pieces(n, block, 16_000, end=pieces is None)]
        pieces = pieces or ([] if pieces is None else [""])
        for i, piece in enumerate(pieces, 1):
            out.append(http2.data(n, piece.encode(), end=i == len(pieces) and not trailers))
        if trailers:
            out.append(http2.headers(n, literal(trailers), end=True))
        peer.send(*out)
        return n

    def test_refused_and_nothing_passes(self):
        count = 0
        for base in ("", "/two"):
            for i, (name, head, pieces, trailers) in enumerate(refusals()):
                count += 1
                path = f"{base}/c{i}"
                with self.subTest(name, base=base):
                    shown = shown2(self.connected(), self.send(path, head, pieces, trailers))
                    good = shown.kind == "gone" or (
                        shown.kind == "whole" and 400 <= shown.status < 600 and shown.status != 502)
                    self.assertTrue(good, (name, shown))
                    got = self.of_case(path)
                    self.assertEqual([], got, name)
        self.assertGreater(count, 500)
        self.assertEqual(200, self.connected().ask(path="/last").status)
        self.peer.close()
        self.rest()
        self.judge_providers({"/last"})

    def test_refusals_are_counted_by_name(self):
        by_name = {
            "no-method": "pseudo-missing", "two-path": "pseudo-twice",
            "late-authority": "pseudo-late",
            "pseudo:x": "pseudo-unknown", "method-space": "method", "scheme-ftp": "scheme",
            "path-space": "path", "host-disagrees-other": "authority", "name-upper": "field-name",
            "name-colon": "field-name", "value-crlf": "field-value", "value-nul": "field-value",
            "specific-connection": "connection", "specific-transfer-encoding": "connection",
            "te-gzip": "te", "host-twice": "host-twice", "length-plus": "content-length",
            "length-twice": "content-length", "get-length": "message",
            "trailer-:path": "pseudo-unknown", "trailer-connection": "connection",
        }  # fmt: skip
        found = 0
        for name, head, pieces, trailers in refusals():
            if name not in by_name:
                continue
            found += 1
            with self.subTest(name):
                self.counted("offshoot_bad_http2_requests_total")
                shown2(self.connected(), self.send("/c", head, pieces, trailers))
                self.assertEqual({by_name[name]: 1},
                                 self.counted("offshoot_bad_http2_requests_total"))
        self.assertEqual(len(by_name), found)

    def test_accepted_with_one_reading(self):
        allowed = set()
        for base in ("", "/two"):
            for i, (name, head, pieces, trailers, framing, body) in enumerate(passes()):
                path = f"{base}/p{i}"
                target = dict(head)[":path"].replace("@", path)
                allowed.add(target)
                with self.subTest(name, base=base):
                    shown = shown2(self.connected(), self.send(path, head, pieces, trailers))
                    self.assertEqual(("whole", 200), (shown.kind, shown.status), name)
                    got = self.of_case(target)
                    self.assertEqual(1, len(got))
                    self.assertEqual((dict(head)[":method"], body), (got[0].method, got[0].body))
                    if base == "":
                        self.assertEqual(framing, got[0].framing)
                        names = [f.lower() for f, _ in got[0].fields]
                        self.assertEqual(1, names.count("host"))
                        self.assertLessEqual(names.count("cookie"), 1)
        self.peer.close()
        self.rest()
        self.judge_providers(allowed)

    def test_mutated_fields_never_change_the_message(self):
        rng = random.Random(11)
        bits = ("\r\n", "\n", "\r", "\0", " ", ":", "\t", "X", "\x7f", "\xff", ";", ",", "@", "/",
            "#", "%",
                "HTTP/1.1", "chunked", "5", "")  # fmt: skip
        more = (LENGTH5, ("content-length", "0"), ("transfer-encoding", "chunked"), ("te",
            "trailers"),
                ("host", "a"), ("host", "b"), ("cookie", "a=b"), ("connection", "close"), ("x",
                "y"),
                ("expect", "100-continue"), (":path", "/evil"), ("upgrade", "h2c"))  # fmt: skip
        whole = 0
        for i in range(500):
            head = [list(f) for f in fields(*[rng.choice(more) for _ in range(rng.randrange(3))],
                                            method=rng.choice(("GET", "POST", "HEAD")))]
            for _ in range(rng.choice((0, 1, 1, 2))):
                f = rng.choice(head)
                k = rng.randrange(2)
                at = rng.randrange(len(f[k]) + 1)
                f[k] = f[k][:at] + rng.choice(bits) + f[k][at:]
            pieces = rng.choice((None, None, ["hello"], [EVIL], ["0\r\n\r\n" + EVIL], []))
            path = f"/m{i}."
            before = len(self.seen)
            n = self.send(path, [tuple(f) for f in head], pieces, None)
            shown = shown2(self.connected(), n, head[0][1])
            self.assertIn(shown.kind, ("whole", "gone"), head)
            with self.lock:
                got = [g for _, g in self.seen[before:]]
            self.assertLessEqual(len(got), 1, (head, got))
            self.assertEqual([], self.unreadable, head)
            for g in got:
                whole += 1
                sent = dict(reversed([(f, v.replace("@", path)) for f, v in head]))
                self.assertEqual((sent[":method"], sent[":path"]), (g.method, g.target), head)
                self.assertEqual("".join(pieces or []).encode(), g.body, head)
                self.assertEqual(1, len([1 for f, _ in g.fields if f.lower() == "host"]), head)
        self.assertGreater(whole, 50)
        self.peer.close()
        self.rest()

    def test_a_field_that_is_one_byte_off(self):
        """Every byte in a name, a value, a path, an authority: what passes is what HTTP/1 takes."""
        for place in ("name", "value", "path", "authority", "method"):
            for b in range(256):
                c = chr(b)
                head = {"name": fields(("x" + c + "y", "z")), "value": fields(("x", "a" + c + "b")),
                        "path": fields(path="@" + c), "authority": fields(authority="a" + c + "b"),
                        "method": fields(method="G" + c + "T")}[place]  # fmt: skip
                path = f"/{place}{b}"
                shown = shown2(self.connected(), self.send(path, head, None, None))
                self.assertIn(shown.kind, ("whole", "gone"), (place, b))
                self.assertEqual([], self.unreadable, (place, b))
                if shown.kind == "whole" and shown.status == 200 and place in ("name", "value"):
                    got = self.of_case(path)[0].fields
                    want = ("x" + c + "y", "z") if place == "name" else ("x", "a" + c + "b")
                    want = (want[0], want[1].replace("@", path))
                    self.assertIn(want, got)
        self.peer.close()
        self.rest()

    def test_a_body_that_does_not_fit_takes_its_head_along(self):
        """Also while the connection is busy: what came in one piece is judged as one."""
        for length, pieces in ((0, [EVIL]), (5, ["hello", "!"]), (5, ["hell"]), (0, ["", "x"])):
            head = fields(("content-length", str(length)), method="POST")
            for i in range(100):
                path = f"/c{length}-{len(pieces)}-{i}"
                self.connected().send(*[
                    http2.headers(self.peer.new_stream(), literal(fields(path="/busy")), end=True)
                    for _ in range(i % 3)])  # fmt: skip
                shown = shown2(self.peer, self.send(path, head, pieces, None))
                self.assertEqual("gone", shown.kind)
        self.peer.alive()
        self.peer.close()
        self.rest()
        self.judge_providers({"/busy"})

    # -- replies

    def ask1(self, path):
        with self.connection() as stream:
            stream.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            try:
                return shown1(stream)
            except BadMessage as e:
                self.fail(f"a client would not know what to read: {e}")

    def ask2(self, path):
        return shown2(self.connected(), self.peer.request(path=path))

    def run_replies(self, ask):
        count = 0
        for i, (name, frames, want) in enumerate(replies()):
            count += 1
            path = f"/two/r{i}"

            def reply(server, x, frames=frames):
                server.judges = False
                server.send(*frames(x.stream))

            self.replies[path] = reply
            with self.subTest(name):
                shown = ask(path)
                if want == "bad":
                    fine = shown.kind in ("cut", "gone") or shown.status in (502, 503)
                    self.assertTrue(fine, (name, shown))
                else:
                    self.assertEqual(("whole", *want), (shown.kind, shown.status, shown.body), name)
                good = ask("/two/good")
                self.assertEqual(("whole", 200, b"ok"), (good.kind, good.status, good.body), name)
        self.assertGreater(count, 100)
        self.rest()

    def test_replies_before_a_client_of_http1(self):
        self.run_replies(self.ask1)

    def test_replies_before_a_client_of_http2(self):
        self.run_replies(self.ask2)


class Agreed(ProxyCase):
    """What was agreed on in TLS is what is spoken."""

    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def setUp(self):
        super().setUp()
        self.ca = Authority(self.folder)
        option = self.ca.issue("a", "DNS:a.test").option
        shop = self.provider(fixed())
        self.proxy = self.start_proxy(ONE_SHOP % shop.address, listen=("127.0.0.1:0," + option,))

    def open(self, *protocols):
        context = self.ca.client_context(alpn=protocols)
        return self.client(self.proxy, tls=context, server_name="a.test")

    def test_who_agreed_on_h2_speaks_it(self):
        for data in (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"INVALID CONNECTION PREFACE\r\n\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"\0"):  # fmt: skip
            with self.subTest(data), self.open("h2", "http/1.1") as stream:
                peer = http2.Client(stream, greet=False)
                peer.send(data)
                self.assertIn(peer.read_to_end(), ("eof", "reset"))
                self.assertEqual([http2.PROTOCOL_ERROR], [g.code() for g in peer.goaways])
                self.assertEqual({}, peer.exchanges)

    def test_others_speak_http1(self):
        for protocols in ((), ("http/1.1",), ("http/1.0",), ("x", "http/1.1", "http/1.0")):
            with self.subTest(protocols), self.open(*protocols) as stream:
                self.assertEqual(200, stream.ask(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").status)


if __name__ == "__main__":
    unittest.main()
