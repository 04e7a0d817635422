"""A battery of requests of HTTP/1, most of them odd. Whatever comes, a provider reads exactly the
requests that a strict reader finds in the client's bytes, or fewer.

Each table has a line for each case; battery.py has the proxy and its providers."""

import random
import unittest

from battery import Battery, shown1, value
from http1 import BadMessage, Incomplete, Stream

EVIL = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 5\r\n"
BODY = b"5\r\nhello\r\n0\r\n\r\n"
LARGE = b"x" * 70_000


def req(first=b"POST @ HTTP/1.1", fields=b"", body=b"", host=b"Host: a\r\n"):
    """@ stands for the path of the case."""
    return first + b"\r\n" + host + fields + b"\r\n" + body


def get(fields=b"", body=b"", **more):
    return req(b"GET @ HTTP/1.1", fields, body, **more)


# ---- requests: (name, bytes, what is expected) ----
# What is expected: the reason by which it is refused (its counter; "" for refusals of other kinds),
# with the status; or what the provider must read: (framing, body).


def refused_framing():
    yield "length-and-chunked", req(fields=LENGTH + CHUNKED, body=BODY), "both-framings", 400
    yield "chunked-and-length", req(fields=CHUNKED + LENGTH, body=BODY), "both-framings", 400
    for name, raw in {
        "plus": b"+5", "minus": b"-0", "hex": b"0x5", "space": b"5 5", "exponent": b"5e0",
        "empty": b"", "underscore": b"5_0", "float": b"5.", "semicolon": b"5;x", "vt": b"5\xa0",
        "wide-digits": "\uff15".encode(), "twenty-digits": b"0" * 19 + b"5",
        "overflow-64": b"18446744073709551621", "overflow-63": b"9223372036854775808",
        "negative": b"-5", "quoted": b'"5"', "word": b"five",
    }.items():  # fmt: skip
        data = req(fields=b"Content-Length: " + raw + b"\r\n", body=b"hello")
        yield "length-" + name, data, "content-length", 400
    for name, raw in {"same-list": b"5, 5", "other-list": b"5, 6", "open-list": b"5,"}.items():
        data = req(fields=b"Content-Length: " + raw + b"\r\n", body=b"hello")
        yield "length-" + name, data, "content-length-twice", 400
    for second in (b"5", b"0", b"6"):
        data = req(fields=LENGTH + b"content-length:" + second + b"\r\n", body=b"hello")
        yield "length-twice-" + second.decode(), data, "content-length-twice", 400
    for name, raw in {
        "x": b"xchunked", "list": b"chunked, chunked", "identity": b"identity", "gzip": b"gzip",
        "gzip-chunked": b"gzip, chunked", "chunked-gzip": b"chunked, gzip", "comma": b"chunked,",
        "first-comma": b", chunked", "parameter": b"chunked;a=b", "quoted": b'"chunked"',
        "empty": b"", "tab-inside": b"chun\tked", "nbsp": b"chunked\xa0", "latin": b"chunke\xf0",
        "zero-width": "chunked\u200b".encode(), "kelvin": "chun\u212aed".encode(),
        "trailing-word": b"chunked x", "semicolon": b"chunked;", "no": b"nothing", "equals": b"=",
        "identity-chunked": b"identity, chunked", "bom": b"\xef\xbb\xbfchunked",
    }.items():  # fmt: skip
        data = req(fields=b"Transfer-Encoding: " + raw + b"\r\n", body=BODY)
        yield "coding-" + name, data, "transfer-coding", 400
        data = req(fields=LENGTH + b"Transfer-Encoding: " + raw + b"\r\n", body=BODY)
        yield "length-coding-" + name, data, None, 400
    for name, more in {"twice": CHUNKED, "identity": b"Transfer-Encoding: identity\r\n"}.items():
        yield "coding-then-" + name, req(fields=CHUNKED + more, body=BODY), "transfer-coding", 400
        yield name + "-then-coding", req(fields=more + CHUNKED, body=BODY), "transfer-coding", 400
    data = req(b"POST @ HTTP/1.0", CHUNKED, BODY)
    yield "chunked-in-1.0", data, "transfer-coding", 400
    data = req(b"POST @ HTTP/1.0", b"Connection: keep-alive\r\n" + CHUNKED, BODY)
    yield "chunked-in-1.0-kept", data, "transfer-coding", 400


def refused_fields():
    odd = {"space": b" ", "tab": b"\t", "vt": b"\x0b", "ff": b"\x0c", "nul": b"\0", "esc": b"\x1b",
           "del": b"\x7f", "nbsp": b"\xa0", "lf": b"\n", "cr": b"\r", "quote": b'"', "slash": b"/",
           "at": b"@", "comma": b",", "equals": b"=", "paren": b"("}  # fmt: skip
    for field in (LENGTH, CHUNKED):
        name, rest = field.split(b":")
        word = name.decode().lower()
        for what, raw in odd.items():
            yield f"{word}-{what}-colon", req(fields=name + raw + b":" + rest, body=BODY), None, 400
            yield f"{what}-{word}", req(fields=raw + field, body=BODY), None, 400
            yield f"{what}-{word}-2", req(fields=b"X: y\r\n" + raw + field, body=BODY), None, 400
            inside = name[:7] + raw + name[7:]
            yield f"{word}-{what}-inside", req(fields=inside + b":" + rest, body=BODY), None, 400
        for what in ("nul", "vt", "ff", "esc", "del", "lf", "cr"):
            raw = odd[what]
            yield (f"{word}-value-{what}", req(fields=name + b":" + raw + rest, body=BODY), None,
                   400)  # fmt: skip
            yield (f"{word}-{what}-end", req(fields=field[:-2] + raw + b"\r\n", body=BODY), None,
                   400)  # fmt: skip
            yield (f"hidden-{word}-{what}", req(fields=b"X: y" + raw + field, body=BODY),
                   None, 400)  # fmt: skip
        yield f"{word}-folded", req(fields=name + b":\r\n " + rest, body=BODY), None, 400
        yield f"{word}-fold-after", req(fields=field + b" x\r\n", body=BODY), "obs-fold", 400
        yield f"{word}-no-colon", req(fields=name + b"\r\n", body=BODY), "field-name", 400
    yield "empty-name", get(b": x\r\n"), "field-name", 400
    yield "only-colon", get(b":\r\n"), "field-name", 400
    yield "fold", get(b"X: y\r\n z\r\n"), "obs-fold", 400
    yield "fold-tab", get(b"X: y\r\n\tz\r\n"), "obs-fold", 400
    yield "fold-empty", get(b"X: y\r\n \r\n"), "obs-fold", 400
    yield "fold-first", get(host=b" Host: a\r\nHost: a\r\n"), "obs-fold", 400
    yield "nul-value", get(b"X: a\0b\r\n"), "control-byte", 400
    yield "nul-name", get(b"X\0: a\r\n"), "control-byte", 400
    yield "bare-lf-end", b"GET @ HTTP/1.1\r\nHost: a\n\n", "bare-lf", 400
    yield "bare-lf-all", b"GET @ HTTP/1.1\nHost: a\n\n", "bare-lf", 400
    yield "bare-lf-line", b"GET @ HTTP/1.1\nHost: a\r\n\r\n", "bare-lf", 400
    yield "bare-cr-all", b"GET @ HTTP/1.1\rHost: a\r\r", "bare-cr", 400
    yield "cr-cr-lf", b"GET @ HTTP/1.1\r\nHost: a\r\r\n\r\n", "bare-cr", 400
    yield "lf-cr", b"GET @ HTTP/1.1\r\nHost: a\n\r\n\r", "bare-lf", 400
    yield "cr-in-value", get(b"X: a\rContent-Length: 30\r\n"), "bare-cr", 400
    yield "lf-in-value", get(b"X: a\nContent-Length: 30\r\n"), "bare-lf", 400
    yield "connection-odd", get(b"Connection: a b\r\n"), "field-value", 400
    yield "connection-quoted", get(b'Connection: "close"\r\n'), "field-value", 400


def refused_lines():
    for name, line in {
        "two-spaces": b"GET  @ HTTP/1.1", "two-spaces-2": b"GET @  HTTP/1.1", "0.9": b"GET @",
        "end-space": b"GET @ HTTP/1.1 ", "first-space": b" GET @ HTTP/1.1",
        "tab": b"GET\t@ HTTP/1.1",
        "tab-2": b"GET @\tHTTP/1.1", "no-target": b"GET HTTP/1.1", "three": b"GET @ x HTTP/1.1",
        "evil-inside": b"GET @ HTTP/1.1 GET /evil HTTP/1.1", "vt": b"GET\x0b@ HTTP/1.1",
        "1.2": b"GET @ HTTP/1.2", "2.0": b"GET @ HTTP/2.0", "0.9-told": b"GET @ HTTP/0.9",
        "1.10": b"GET @ HTTP/1.10", "1": b"GET @ HTTP/1", "lower": b"GET @ http/1.1",
        "plus": b"GET @ HTTP/+1.1", "01.1": b"GET @ HTTP/01.1", "3": b"GET @ HTTP/3.1",
        "method-colon": b"GET: @ HTTP/1.1", "method-paren": b"G(T @ HTTP/1.1",
        "method-latin": b"G\xc9T @ HTTP/1.1", "method-long": b"M" * 40 + b" @ HTTP/1.1",
        "method-nul": b"GET\0 @ HTTP/1.1", "method-brace": b"{GET @ HTTP/1.1",
        "relative": b"GET c HTTP/1.1", "star": b"GET * HTTP/1.1", "star-post": b"POST * HTTP/1.1",
        "star-more": b"OPTIONS *x HTTP/1.1", "query-only": b"GET ?x HTTP/1.1",
        "fragment": b"GET @#x HTTP/1.1", "latin": b"GET @\xe4 HTTP/1.1", "nul": b"GET @\0 HTTP/1.1",
        "del": b"GET @\x7f HTTP/1.1", "backslash": b"GET @\\..\\x HTTP/1.1",
        "percent": b"GET @% HTTP/1.1", "percent-1": b"GET @%2 HTTP/1.1",
        "percent-g": b"GET @%gg HTTP/1.1", "backslash-first": b"GET \\@ HTTP/1.1",
        "utf8": "GET @/ä HTTP/1.1".encode(),
        "absolute-no-host": b"GET http:///@ HTTP/1.1", "absolute-user": b"GET http://u@a@ HTTP/1.1",
        "absolute-ftp": b"GET ftp://a@ HTTP/1.1", "absolute-port": b"GET http://a:x@ HTTP/1.1",
        "absolute-query": b"GET http://a?x HTTP/1.1", "absolute-one": b"GET http:/a@ HTTP/1.1",
        "absolute-backslash": b"GET http://a\\@b@ HTTP/1.1", "authority": b"GET a:80 HTTP/1.1",
        "host-other": b"GET http://b@ HTTP/1.1", "host-port": b"GET http://a:80@ HTTP/1.1",
        "host-sub": b"GET http://x.a@ HTTP/1.1", "javascript": b"GET javascript:x HTTP/1.1",
        "connect-path": b"CONNECT @ HTTP/1.1", "connect-url": b"CONNECT http://a@ HTTP/1.1",
        "connect-no-port": b"CONNECT a HTTP/1.1", "preface": b"PRI * HTTP/2.0",
    }.items():  # fmt: skip
        yield "line-" + name, req(line), None, 400
    yield "first-empty-lines", b"\r\n\r\n" + get(), None, 400
    yield "first-lf", b"\n" + get(), "bare-lf", 400
    yield "first-cr", b"\r" + get(), "bare-cr", 400
    yield "first-nul", b"\0" + get(), "control-byte", 400
    hello = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + b"x" * 60
    yield "tls", hello + b"\r\n\r\n", None, 400


def refused_hosts():
    yield "host-missing", get(host=b""), "host-missing", 400
    yield "host-missing-absolute", req(b"GET http://a@ HTTP/1.1", host=b""), "host-missing", 400
    for second in (b"a", b"b", b""):
        data = get(host=b"Host: a\r\nHost: " + second + b"\r\n")
        yield "host-twice-" + second.decode(), data, "host-twice", 400
        data = get(b"hOST: " + second + b"\r\n")
        yield "host-twice-far-" + second.decode(), data, "host-twice", 400
    for name, raw in {
        "space": b"a b", "comma": b"a, b", "slash": b"a/b", "user": b"u@a", "backslash": b"a\\b",
        "port-word": b"a:http", "port-empty": b"a:", "port-0": b"a:0", "port-high": b"a:65536",
        "port-minus": b"a:-80", "two-ports": b"a:80:80", "bracket": b"[::1", "zone": b"[fe80::1%1]",
        "query": b"a?b", "fragment": b"a#b", "coded": b"a%2eb", "latin": b"\xe4",
        "long": b"a" * 300,
        "empty": b"", "semicolon": b"a;b", "quote": b'"a"', "angle": b"<a>", "url": b"http://a",
        "port-only": b":80", "port-plus": b"a:+80", "port-long": b"a:000000080", "nul": b"a\0b",
        "crlf": b"a\rb",
    }.items():  # fmt: skip
        yield "host-" + name, get(host=b"Host: " + raw + b"\r\n"), None, 400


def refused_large():
    yield "large-target", req(b"GET @/" + LARGE + b" HTTP/1.1"), "head-too-large", 431
    yield "large-method", req(LARGE + b" @ HTTP/1.1"), None, (400, 431)
    yield "large-name", get(LARGE + b": x\r\n"), "head-too-large", 431
    yield "large-value", get(b"X: " + LARGE + b"\r\n"), "head-too-large", 431
    yield "large-sum", get(b"".join(b"X%d: %s\r\n" % (i, b"y" * 900) for i in range(80))), None, 431
    yield "many-fields", get(b"X: y\r\n" * 101), "too-many-fields", 431
    yield "endless-line", LARGE, None, (400, 431)
    yield "endless-empty-lines", b"\r\n" * 5000, None, 400


def refused_other():
    yield "expect-body-awaited", req(fields=b"Expect: x\r\n" + b"Content-Length: 999\r\n"), "", 417
    yield "connect", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "", (400, 405, 501)
    body = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n" + LENGTH + b"\r\nhello"
    yield "connect-body", body, "body-forbidden", 400
    body = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n" + CHUNKED + b"\r\n" + BODY
    yield "connect-chunks", body, "body-forbidden", 400
    up = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
    yield "upgrade-length", req(fields=up + LENGTH, body=b"hello"), "", 400
    yield "upgrade-chunks", req(fields=up + CHUNKED, body=BODY), "", 400


def refused_alone():
    """What the request means is clear, only that nobody serves it: the next one is read."""
    for name, path in {"": b"/../evil", "-coded": b"/%2e%2e/evil", "-far": b"/a/../../evil",
                       "-half": b"/.%2E/evil", "-mid": b"@/../.././evil"}.items():  # fmt: skip
        yield "dots-out" + name, req(b"GET " + path + b" HTTP/1.1"), 400
    yield "expect-other", req(fields=b"Expect: x\r\n" + LENGTH, body=b"hello"), 417
    yield "expect-chunks", req(fields=b"Expect: x\r\n" + CHUNKED, body=BODY), 417
    yield "expect-list", req(fields=b"Expect: 100-continue, x\r\n"), 417


def refused_chunks():
    last = b"\r\n0\r\n\r\n"
    for name, size in {
        "empty": b"", "0x": b"0x5", "plus": b"+5", "minus": b"-5", "space-first": b" 5",
        "space-end": b"5 ", "tab-end": b"5\t", "letter": b"g", "letter-end": b"5g", "comma": b"5,5",
        "17-digits": b"0" * 16 + b"5", "64-bits": b"f" * 16, "63-bits": b"8" + b"0" * 15,
        "wraps-64": b"10000000000000005", "wraps-32-no": b"-100000005", "nul": b"5\0",
        "dot": b"5.0", "underscore": b"5_", "quote": b'"5"', "space-ext": b"5 ;a=b",
        "latin": b"\xb5", "colon": b"5:", "equals": b"5=x", "cr": b"5\r",
    }.items():  # fmt: skip
        yield "size-" + name, size + b"\r\nhello" + last
    for name, ext in {
        "bare": b";", "name-space": b"; a", "space-equals": b";a =b", "equals-space": b";a= b",
        "no-name": b";=b", "empty-value": b";a=", "quote-open": b';a="b', "quote-more": b';a="b"c',
        "nul": b";a\0b", "latin": b";\xe4", "lf": b";a\nb", "cr": b";a\rb", "cr-quoted": b';a="\r"',
        "lf-quoted": b';a="\n"', "two": b";;", "long": b";" + b"a" * 5000, "del": b";a\x7f",
        "crlf-quoted": b';a="\r\n0\r\n\r\n"',
    }.items():  # fmt: skip
        yield "extension-" + name, b"5" + ext + b"\r\nhello" + last
    for name, body in {
        "size-lf": b"5\nhello\r\n0\r\n\r\n", "data-lf": b"5\r\nhello\n0\r\n\r\n",
        "data-none": b"5\r\nhello0\r\n\r\n", "data-long": b"4\r\nhello\r\n0\r\n\r\n",
        "data-cr": b"5\r\nhello\r0\r\n\r\n", "last-lf": b"5\r\nhello\r\n0\n\n",
        "last-lf-2": b"5\r\nhello\r\n0\r\n\n", "size-cr-x": b"5\rXhello\r\n0\r\n\r\n",
        "ext-lf": b"5;x\nhello\r\n0\r\n\r\n", "terminator-xx": b"5\r\nhelloXX0\r\n\r\n",
        "last-cr": b"5\r\nhello\r\n0\r\r\n\r\n", "last-space": b"5\r\nhello\r\n0 \r\n\r\n",
        "double-crlf": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    }.items():  # fmt: skip
        yield "end-" + name, body
    for name, trailer in {
        "space": b"X : y\r\n\r\n", "fold": b"X: y\r\n z\r\n\r\n", "first-fold": b" X: y\r\n\r\n",
        "lf": b"X: y\n\n", "lf-2": b"X: y\n\r\n", "nul": b"X: \0\r\n\r\n", "no-colon": b"X\r\n\r\n",
        "length": b"Content-Length: 9\r\n\r\n", "coding": b"Transfer-Encoding: chunked\r\n\r\n",
        "host": b"Host: evil\r\n\r\n", "cr": b"X: a\rb\r\n\r\n",
        "large": b"X: " + LARGE + b"\r\n\r\n",
        "many": b"X: y\r\n" * 200 + b"\r\n", "empty-name": b": y\r\n\r\n",
        "request": b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
    }.items():  # fmt: skip
        yield "trailer-" + name, b"5\r\nhello\r\n0\r\n" + trailer


def refusals():
    for part in (refused_framing, refused_fields, refused_lines, refused_hosts, refused_large,
                 refused_other):
        yield from part()


def passes():
    """(name, bytes, framing, body): read by the provider exactly so, and another request after."""
    none, hello = ("none", b""), ("length", b"hello")
    chunked = ("chunked", b"hello")
    yield "get", get(), *none
    yield "post-nothing", req(), *none
    yield "length", req(fields=LENGTH, body=b"hello"), *hello
    yield "length-0", req(fields=b"Content-Length: 0\r\n"), "length", b""
    yield "length-zeros", req(fields=b"Content-Length: 0005\r\n", body=b"hello"), *hello
    yield "length-spaces", req(fields=b"Content-Length:\t 5 \t\r\n", body=b"hello"), *hello
    yield "length-upper", req(fields=b"CONTENT-LENGTH: 5\r\n", body=b"hello"), *hello
    yield "chunked", req(fields=CHUNKED, body=BODY), *chunked
    yield "chunked-upper", req(fields=b"TRANSFER-ENCODING: CHUNKED\r\n", body=BODY), *chunked
    yield "chunked-spaces", req(fields=b"Transfer-Encoding: \t chunked \r\n", body=BODY), *chunked
    yield "chunked-empty", req(fields=CHUNKED, body=b"0\r\n\r\n"), "chunked", b""
    yield "chunked-zeros", req(fields=CHUNKED, body=b"0005\r\nhello\r\n00\r\n\r\n"), *chunked
    yield "chunked-two", req(fields=CHUNKED, body=b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), *chunked
    data = req(fields=CHUNKED, body=b'5;a=b;c="d;\\"e"\r\nhello\r\n0;x\r\n\r\n')
    yield "chunk-extensions", data, *chunked
    yield "chunk-hex-upper", req(fields=CHUNKED, body=b"A\r\n0123456789\r\n0\r\n\r\n"), *(
        "chunked", b"0123456789")
    yield "trailers", req(fields=CHUNKED, body=b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"), *chunked
    inner = b"0\r\n\r\n" + EVIL
    yield "evil-in-length", req(fields=b"Content-Length: %d\r\n" % len(inner), body=inner), *(
        "length", inner)
    data = req(fields=CHUNKED, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner))
    yield "evil-in-chunk", data, "chunked", inner
    yield "get-with-body", get(LENGTH, b"hello"), *hello
    yield "get-with-chunks", get(CHUNKED, BODY), *chunked
    yield "head-with-body", req(b"HEAD @ HTTP/1.1", LENGTH, b"hello"), *hello
    yield "delete-with-body", req(b"DELETE @ HTTP/1.1", LENGTH, b"hello"), *hello
    yield "options-with-body", req(b"OPTIONS @ HTTP/1.1", LENGTH, b"hello"), *hello
    yield "trace-with-body", req(b"TRACE @ HTTP/1.1", LENGTH, b"hello"), *hello
    yield "unknown-method", req(b"BREW @ HTTP/1.1", LENGTH, b"hello"), *hello
    yield "lower-method", req(b"get @ HTTP/1.1"), *none
    yield "odd-method", req(b"M-SEARCH!#$%&'*+.^_`|~ @ HTTP/1.1"), *none
    for named in (b"content-length", b"Content-Length, x", b"close, content-length", b"host",
                  b"transfer-encoding", b"x-forwarded-for, content-length"):  # fmt: skip
        data = req(fields=b"Connection: " + named + b"\r\n" + LENGTH, body=b"hello")
        yield "connection-names-" + named.decode(), data, *hello
    data = req(fields=b"Connection: transfer-encoding\r\n" + CHUNKED, body=BODY)
    yield "connection-names-coding", data, *chunked
    for name in (b"Content-Length-", b"X-Content-Length", b"Content-Lengt", b"Content.Length",
                 b"Transfer-Encodin", b"XTransfer-Encoding", b"Content--Length", b"Te-"):
        yield "field-" + name.decode(), req(fields=name + b": 9\r\n" + LENGTH,
            body=b"hello"), *hello
        yield "only-" + name.decode(), get(name + b": chunked\r\n"), *none
    yield "one-empty-line", b"\r\n" + get(), *none
    yield "no-space", b"GET @ HTTP/1.1\r\nHost:a\r\n\r\n", *none
    yield "latin-value", get(b"X: \xe4\xff\r\n"), *none
    yield "tab-value", get(b"X: a\tb\r\n"), *none
    yield "empty-value", get(b"X:\r\n"), *none
    yield "quoted-value", get(b'X: "a\\"b"; c=\'d\'\r\n'), *none
    yield "coded-crlf", get(b"X: a%0d%0aContent-Length: 30\r\n"), *none
    yield "host-case", get(host=b"HOST: A.Example:8080\r\n"), *none
    yield "host-v6", get(host=b"Host: [2001:db8::1]:80\r\n"), *none
    yield "te", get(b"TE: trailers, gzip;q=0.5\r\nConnection: TE\r\n"), *none
    yield "keep-alive", get(b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n"), *none
    yield "proxy-connection", get(b"Proxy-Connection: close\r\n"), *none
    yield "expect-on-get", get(b"Expect: 100-continue\r\n"), *none
    up = (b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\n"
          b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n")
    yield "h2c", get(up), *none
    yield "h2c-body", req(fields=up + LENGTH, body=b"hello"), *hello
    yield "upgrade-not-named", get(b"Upgrade: websocket\r\n"), *none
    yield "upgrade-tls", get(b"Connection: upgrade\r\nUpgrade: TLS/1.2\r\n"), *none
    yield "99-fields", get(b"X: y\r\n" * 99), *none
    yield "http-1.0-kept", req(b"POST @ HTTP/1.0", b"Connection: keep-alive\r\n" + LENGTH,
        b"hello"), *(
        hello)


# ---- differential: a strict reader of our own says what the bytes mean ----


class Bytes:
    """A socket that has this to say and then ends."""

    def __init__(self, data):
        self.data = data

    def settimeout(self, _):
        pass

    def recv(self, n):
        part, self.data = self.data[:n], self.data[n:]
        return part


def strict(data):
    """The requests that a strict reader finds at the start of data: [(method, target, body)]."""
    stream, found = Stream(Bytes(data)), []
    while True:
        try:
            r = stream.read_request()
        except (BadMessage, Incomplete, AssertionError):
            return found
        if r is None:
            return found
        found.append((r.method, r.target, r.body))


PIECES = (
    LENGTH, CHUNKED, b"Content-Length: 0\r\n", b"Content-Length: 30\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive, content-length\r\n", b"X: y\r\n", b"Expect: 100-continue\r\n",
    b"Content-Length : 5\r\n", b"\tTransfer-Encoding: chunked\r\n", b"Host: a\r\n",
    b"TE: trailers\r\n",
    b"Transfer-Encoding: xchunked\r\n", b"Content-Length: 5, 5\r\n", b"Upgrade: h2c\r\n",
    b"Trailer: x\r\n", b"Content_Length: 9\r\n", b"X: \x00\r\n", b"X: y\rZ: 1\r\n",
    b"X: y\nZ: 1\r\n",
)  # fmt: skip
TAILS = (
    b"", b"hello", BODY, BODY[:-2], b"0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n", EVIL,
    b"0\r\n\r\n" + EVIL, b"5\nhello\n0\n\n", b"0\r\nX: y\r\n\r\n",
    b"1e\r\n" + EVIL + b"\r\n0\r\n\r\n",
    b"00000000000000005\r\nhello\r\n0\r\n\r\n", b"-1\r\n", b"ffffffffffffffff\r\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", b"hello" + EVIL,
)  # fmt: skip
BYTES = (b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x0b", b"\xff", b"0", b";", b"\r\n", b",", b"x")


def mutated(rng):
    first = rng.choice((b"POST", b"GET", b"PUT", b"HEAD", b"OPTIONS")) + b" @ HTTP/1."
    first += rng.choice((b"1", b"1", b"1", b"0"))
    fields = b"".join(rng.choice(PIECES) for _ in range(rng.randrange(4)))
    data = bytearray(req(first, fields, rng.choice(TAILS)))
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        at = rng.randrange(4, len(data))
        if rng.random() < 0.5:
            data[at:at] = rng.choice(BYTES)
        else:
            data[at : at + 1] = rng.choice((b"", *BYTES))
    return bytes(data)


class Http1Battery(Battery):
    conf = "timeouts: {head: 5s, stream: 5s}\n"

    def case(self, n, data):
        return data.replace(b"@", b"/c%d" % n)

    # -- requests

    def test_refused_and_nothing_passes(self):
        count = 0
        for n, (name, data, reason, status) in enumerate(refusals()):
            count += 1
            with self.subTest(name), self.connection() as stream:
                self.counted("offshoot_bad_requests_total")
                data = self.case(n, data)
                try:
                    stream.send(data + EVIL)
                except OSError:
                    pass
                shown = shown1(stream)
                statuses = status if isinstance(status, tuple) else (status,)
                self.assertEqual("whole", shown.kind, data[:300])
                self.assertIn(shown.status, statuses, data[:300])
                self.assertEqual("close", value(shown, "connection"))
                stream.expect_end()
                counted = self.counted("offshoot_bad_requests_total")
                if reason is not None:
                    self.assertEqual({reason: 1} if reason else {}, counted, data[:300])
        self.assertGreater(count, 300)
        self.rest()
        self.assertEqual([], self.seen)
        self.judge_providers()

    def test_refused_alone_and_the_next_one_is_read(self):
        allowed = set()
        for n, (name, data, status) in enumerate(refused_alone()):
            allowed.add(f"/a{n}")
            with self.subTest(name), self.connection() as stream:
                stream.send(self.case(n, data) + f"GET /a{n} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                self.assertEqual(("whole", status), shown1(stream)[:2])
                self.assertEqual(("whole", 200), shown1(stream)[:2])
                self.assertEqual(1, len(self.of_case(f"/a{n}")))
        self.rest()
        self.assertEqual(len(allowed), len(self.seen))
        self.judge_providers(allowed)

    def test_refused_chunks_are_never_a_whole_request(self):
        count = 0
        for n, (name, body) in enumerate(refused_chunks()):
            for step in (0, 3):
                count += 1
                data = self.case(n, req(fields=CHUNKED, body=body))
                with self.subTest(name, step=step), self.connection() as stream:
                    try:
                        if step and len(data) < 1000:
                            stream.send_slowly(data, step)
                        else:
                            stream.send(data)
                        stream.send(EVIL)
                    except OSError:
                        pass
                    shown = shown1(stream)
                    self.assertEqual(("whole", 400), (shown.kind, shown.status), data[:300])
                    stream.expect_end()
        self.assertGreater(count, 130)
        self.rest()
        self.assertEqual([], self.seen)
        self.judge_providers()

    def test_accepted_with_one_reading_and_the_next_one_too(self):
        allowed = set()
        for n, (name, data, framing, body) in enumerate(passes()):
            for step in (0, 7):
                path, after = f"/c{n}-{step}", f"/a{n}-{step}"
                allowed |= {path, after}
                data1 = data.replace(b"@", path.encode())
                next_one = f"GET {after} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
                method = data1.strip().split(b" ")[0].decode()
                with self.subTest(name, step=step), self.connection() as stream:
                    if step and len(data1) < 1000:
                        stream.send_slowly(data1 + next_one, step)
                    else:
                        stream.send(data1 + next_one)
                    shown = shown1(stream, method)
                    self.assertEqual(("whole", 200), (shown.kind, shown.status), data1[:300])
                    got = self.of_case(path)
                    self.assertEqual([(framing, body)], [(g.framing, g.body) for g in got])
                    names = [f.lower() for f, _ in got[0].fields]
                    self.assertEqual(1, names.count("host"))
                    for gone in ("keep-alive", "proxy-connection", "http2-settings", "upgrade"):
                        self.assertNotIn(gone, names)
                    if value(shown, "connection") == "close":
                        stream.expect_end()
                        self.assertEqual([], self.of_case(after))
                    else:
                        self.assertEqual(200, shown1(stream).status)
                        self.assertEqual([("none", b"")],
                                         [(g.framing, g.body) for g in self.of_case(after)])
        self.rest()
        self.judge_providers(allowed)

    def test_everything_that_came_before_a_half_close_is_answered(self):
        for n in (1, 2, 3, 20):
            paths = [f"/h{n}-{i}" for i in range(n)]
            pieces = [f"GET {p} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for p in paths]
            with self.subTest(n), self.connection() as stream:
                stream.send(b"".join(pieces))
                stream.end_sending()
                for path in paths:
                    self.assertEqual(("whole", 200), shown1(stream)[:2], path)
                stream.expect_end()
                self.assertEqual(paths, [g.target for g in self.of_case(*paths)])
        with self.connection() as stream:  # what is not whole is none
            stream.send(get().replace(b"@", b"/whole") + get()[:-2].replace(b"@", b"/evil"))
            stream.end_sending()
            self.assertEqual(("whole", 200), shown1(stream)[:2])
            stream.expect_end()
        self.rest()
        self.judge_providers()

    def test_trailers_pass_when_they_are_announced_and_harmless(self):
        late = ("X-Forwarded-For", "Forwarded", "Via", "Cookie", "Content-Type", "Traceparent",
                "X-Request-Id", "Expect", "TE", "Connection", "Upgrade", "Baggage", "Trailer",
                "X-Offshoot-Context", "X-Forwarded-Host", "X-Forwarded-Proto")  # fmt: skip
        lines = "".join(f"{name}: 1\r\n" for name in (*late, "X-One", "X-Two", "X-Three"))
        body = b"5\r\nhello\r\n0\r\n" + lines.encode() + b"\r\n"
        declares = f"Trailer: x-one, {', '.join(late)}\r\nTrailer: X-TWO\r\n".encode()
        for name, fields, want in (
            ("both", b"TE: trailers\r\n" + declares, [("x-one", "1"), ("x-two", "1")]),
            ("not-announced", b"TE: trailers\r\n", []),
            ("not-taken", declares, []),
        ):
            path = f"/{name}"
            data = req(fields=CHUNKED + fields, body=body).replace(b"@", path.encode())
            with self.subTest(name), self.connection() as stream:
                stream.send(data)
                self.assertEqual(("whole", 200), shown1(stream)[:2])
                got = self.of_case(path)[0]
                self.assertEqual((b"hello", want), (got.body, got.trailers))
        self.rest()

    def test_mutated_requests_mean_what_a_strict_reader_finds(self):
        rng = random.Random(7)
        whole = 0
        for n in range(700):
            data = mutated(rng).replace(b"@", b"/c%d" % n)
            want = strict(data)
            before = len(self.seen)
            with self.connection(1.0) as stream:
                stream.send(data)
                stream.end_sending()
                stream.timeout = 10.0
                try:
                    stream.read_to_end()
                except Incomplete as e:
                    self.assertEqual("reset", e.reason, data)
            with self.lock:
                got = [(g.method, g.target, g.body) for _, g in self.seen[before:]]
            whole += len(got)
            self.assertEqual(want[: len(got)], got, data)
            self.assertEqual([], self.unreadable, data)
        self.assertGreater(whole, 50)
        self.rest()


if __name__ == "__main__":
    unittest.main()
