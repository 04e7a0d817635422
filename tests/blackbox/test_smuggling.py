"""Request smuggling: messages that two readers may understand differently are refused before a byte
of them reaches a provider; what is accepted reaches it in a form that has exactly one reading."""

import random
import unittest

from harness import ONE_SHOP, BadMessage, Incomplete, ProxyCase, eventually, reply_bytes

# What an attacker hopes to get through as a request of its own.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*lines, body=b"", version=b"1.1", host=b"Host: a\r\n"):
    """A POST with these header lines (bytes, as they are) and a line end behind each."""
    head = b"POST /case HTTP/" + version + b"\r\n" + host
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def first_line(first):
    """A request whose first line is this."""
    return first + b"\r\nHost: a\r\n\r\n"


# ---- heads that must be refused: (reason of offshoot_bad_requests_total, bytes) ----


def framing_heads():
    length, chunked = b"Content-Length: 5", b"Transfer-Encoding: chunked"
    for one, two in ((length, chunked), (chunked, length)):
        for upper in (False, True):
            first = one.upper() if upper else one
            yield "both-framings", post(first, two, body=CHUNKS)
            yield "both-framings", post(first, b"X: y", two, body=CHUNKS)
    yield "both-framings", post(b"Content-Length: 0", chunked, body=CHUNKS)
    yield "both-framings", post(chunked, b"Connection: content-length", length, body=CHUNKS)

    for value in (b"5, 5", b"5,5", b"5,6", b"5,"):
        yield "content-length-twice", post(b"Content-Length: " + value, body=b"hello")
    for second in (b"5", b"6", b"0", b"05"):
        yield "content-length-twice", post(length, b"content-length: " + second, body=b"hello")
    for value in (b"+5", b"-5", b"5;", b"0x5", b"5 5", b"5.0", b"", b" ", b"5h", b"'5'", b"\"5\"",
                  b"5e0", b"\xb2", b"\xd9\xa5", b"9223372036854775808", b"18446744073709551621",
                  b"99999999999999999999", b"00000000000000000005", b"5=5", b"(5)"):  # fmt: skip
        yield "content-length", post(b"Content-Length: " + value, body=b"hello")

    for value in (b"xchunked", b"chunkedx", b"chunked, identity", b"identity", b"gzip, chunked",
                  b"chunked, chunked", b"chunked;q=1", b"'chunked'", b'"chunked"', b"chunked,",
                  b",chunked", b"", b"chunked gzip", b"chun ked", b"gzip", b"deflate", b"cow",
                  b"chunked\xa0", b"\xa0chunked", b"chunk", b"identity, chunked", b"x;chunked",
                  b"(x) chunked", b"chunked\\", b"\xef\xbb\xbfchunked", b"chunKed=1",
                  b"chun\xe4ked", b"0", b"true"):  # fmt: skip
        yield "transfer-coding", post(b"Transfer-Encoding: " + value, body=CHUNKS)
    for second in (b"chunked", b"identity", b"gzip", b""):
        yield "transfer-coding", post(chunked, b"transfer-encoding: " + second, body=CHUNKS)
    yield "transfer-coding", post(b"Transfer-Encoding: identity", chunked, body=CHUNKS)
    yield "transfer-coding", post(chunked, body=CHUNKS, version=b"1.0")


def hidden_fields():
    """A framing field that some readers see and others do not."""
    for field in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        name, value = field.split(b": ")
        for odd in (b" ", b"\t", b"(x)", b"\xa0", b"\xe4", b'"', b"[", b"=", b"/"):
            yield "field-name", post(name + odd + b": " + value, body=CHUNKS)
            if odd not in b" \t":
                yield "field-name", post(odd + field, body=CHUNKS)
        for odd in (b" ", b"\t", b"  "):
            yield "obs-fold", post(odd + field, body=CHUNKS)
            yield "obs-fold", post(b"X: y", odd + field, body=CHUNKS)
            yield None, post(name + b":", odd + value, body=CHUNKS)  # an empty value, or a fold
        for odd in (b"\x00", b"\x01", b"\x08", b"\x0b", b"\x0c", b"\x1f", b"\x7f", b"\x1b"):
            yield "control-byte", post(name + odd + b": " + value, body=CHUNKS)
            yield "control-byte", post(name + b": " + odd + value, body=CHUNKS)
            yield "control-byte", post(name + b": " + value + odd, body=CHUNKS)
        yield "bare-lf", post(b"X: y\n" + field, body=CHUNKS)
        yield "bare-lf", post(name + b":\n " + value, body=CHUNKS)
        yield "bare-lf", post(b"X: y\n\n" + SMUGGLED)
        yield "bare-cr", post(b"X: y\r" + field, body=CHUNKS)
        yield "bare-cr", post(b"\r" + field, body=CHUNKS)
        yield "bare-cr", post(field + b"\r", body=CHUNKS)
        yield "bare-cr", post(name + b":\r " + value, body=CHUNKS)
        yield "bare-cr", post(b"X: y\r\r" + SMUGGLED)
        yield "field-name", post(field.replace(b":", b""), body=CHUNKS)
        yield "field-name", post(field.replace(b":", b";"), body=CHUNKS)
    for bad in (b": x", b":", b"a b: x", b"a(b): x", b"a{b}: x", b"a,b: x", b"a@b: x", b"a",
                b"a\xff:"):
        yield "field-name", post(bad, body=SMUGGLED)
    yield "field-value", post(b"Connection: a b", body=SMUGGLED)
    yield "field-value", post(b"Connection: \xe4", body=SMUGGLED)


def ends_of_lines():
    whole = b"POST /case HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    places = [i for i in range(len(whole)) if whole[i : i + 2] == b"\r\n"]
    for at in places:
        yield "bare-lf", whole[:at] + whole[at + 1 :]
        yield "bare-cr", whole[:at] + b"\r" + whole[at:]
        yield "bare-cr", whole[:at] + b"\rx" + whole[at + 2 :]
    for at in places[:3]:
        yield "bare-lf", whole[:at] + b"\n\r" + whole[at + 2 :]
    yield "bare-lf", whole.replace(b"\r\n", b"\n")
    yield "bare-cr", whole.replace(b"\r\n", b"\r")
    yield "bare-lf", b"\n" + whole
    yield "bare-cr", b"\r" + whole
    yield "control-byte", b"\0" + whole


def request_lines():
    for first in (b"GET  /case HTTP/1.1", b"GET /case  HTTP/1.1", b"GET /case HTTP/1.1 ",
                  b" GET /case HTTP/1.1", b"GET /case", b"GET", b"/case HTTP/1.1", b"GET HTTP/1.1",
                  b"GET /ca se HTTP/1.1"):  # fmt: skip
        yield None, first_line(first)
    for version in (b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.01", b"HTTP/01.1", b"http/1.1",
                    b"HTTP/1,1", b"HTTP/1.", b"HTTP/11", b"HTTPS/1.1", b"HTTP/1.1x", b"HTTP/-1.1",
                    b"ICY/1.1", b"HTTP/3"):  # fmt: skip
        yield "version", first_line(b"GET /case " + version)
    for method in (b"G(T", b"GET,", b"\"GET\"", b"G\xe4T", b"GET\xa0", b"G" * 33, b"G[T", b"GET\t"):
        yield "method", first_line(method + b" /case HTTP/1.1")
    for target in (b"case", b"*", b"a:80", b"http:/case", b"http://", b"http:///case", b"ftp://a/",
                   b"http://u@a/case", b"http://u:p@a/", b"http://a?case", b"http://a#case",
                   b"/case#x", b"/ca\\se", b"/\xe4", b"/%", b"/%4", b"/%zz", b"http://a:x/",
                   b"http://a b/", b"/a\x80b", b"?case", b"http://[::1/case"):  # fmt: skip
        yield None, first_line(b"GET " + target + b" HTTP/1.1")
    for target in (b"a", b"/case", b"http://a/", b"a:", b"*", b"a:80/"):
        yield "target", b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\n\r\n"
    yield "control-byte", first_line(b"GET\t/case HTTP/1.1").replace(b"\t", b"\x0b")
    yield None, first_line(b"GET / HTTP/1.1\t")
    yield None, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"
    yield None, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 32 + b"\r\n\r\n"


def hosts():
    yield "host-missing", b"GET /case HTTP/1.1\r\nX: y\r\n\r\n"
    for second in (b"a", b"b", b""):
        yield None, b"GET /case HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: " + second + b"\r\n\r\n"
    for value in (b"", b" ", b"a b", b"a,b", b"a/b", b"a@b", b"a\\b", b"a:b", b"a:", b"a:0",
                  b"a:080", b"a:65536", b"a:99999999", b"[::1", b"::1", b"[::1]x", b"[]", b"a#b",
                  b"a?b", b"a%41", b"a\xe4", b"[::1%25lo]", b":80", b"a:80:80", b"a;b", b"<a>",
                  b"x" * 256):  # fmt: skip
        yield "host", b"GET /case HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
    for target, value in ((b"http://a/case", b"b"), (b"http://a/case", b"a:80"),
                          (b"http://a:80/case", b"a"), (b"https://a/", b"aa")):
        yield "host", b"GET " + target + b" HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
    for framing in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        yield "body-forbidden", (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n" + framing + b"\r\n\r\n"
                                 + CHUNKS)


def heads():
    for part in (framing_heads, hidden_fields, ends_of_lines, request_lines, hosts):
        for n, (reason, data) in enumerate(part()):
            yield f"{part.__name__} {n}", reason, data


# ---- chunked bodies that must be refused ----


def bodies():
    last = b"\r\n0\r\n\r\n"
    for size in (b"", b"0x5", b"+5", b"-5", b" 5", b"5 ", b"5\t", b"g", b"5g", b"5,5", b"5 ;a",
                 b"5.", b"00000000000000005", b"8000000000000000", b"ffffffffffffffff", b"\xb2",
                 b"5=", b"10000000000000005", b"7ffffffffffffffff", b"\0005", b"5\0", b"\"5\""):
        yield "chunk-size", size + b"\r\nhello" + last
    for ext in (b";", b";=x", b"; a", b";a =b", b";a= b", b";a=", b';a="b"c', b";a\0", b";\xe4=b",
                b";a=b c", b';a="\0"', b";a=b;", b";;a", b";a=\x7f", b";" + b"x" * 256):
        yield "chunk-extension", b"5" + ext + b"\r\nhello" + last
    for ext in (b';a="', b';a="b', b';a="\\'):
        yield None, b"5" + ext + b"\r\nhello" + last
    for size in (b"5\n", b"5;a\n", b'5;a="\n"\r\n', b"5;a=b\n"):
        yield "bare-lf", size + b"hello" + last
    for size in (b"5\rx", b"5\r\r\n", b'5;a="\r"\r\n', b"5;a\rb\r\n", b"0\r\r\n"):
        yield None, size + b"hello" + last
    for end in (b"\n", b"x\r\n", b"\r\r\n", b"\rx", b"0\r\n\r\n", b"\n\r", b" \r\n"):
        yield "chunk-end", b"5\r\nhello" + end + b"0\r\n\r\n"
    yield "chunk-end", b"4\r\nhello" + last
    yield "bare-lf", b"5\r\nhello\r\n0\n\n"
    for trailer in (b"\n", b"X: y\n\r\n", b"X: y\r\n\n", b"X: y\n\n", b"\r\r\n", b"X : y\r\n\r\n",
                    b" X: y\r\n\r\n", b"X: y\r\n z\r\n\r\n", b"X\r\n\r\n", b": y\r\n\r\n",
                    b"X: \0\r\n\r\n", b"X: y\rZ: z\r\n\r\n", b"Content-Length: 5\r\n\r\n",
                    b"Transfer-Encoding: chunked\r\n\r\n", b"Host: b\r\n\r\n",
                    b"content-LENGTH: 0\r\n\r\n", b"X: " + b"y" * 8192 + b"\r\n\r\n",
                    b"X: y\r\n" * 101 + b"\r\n"):  # fmt: skip
        yield "trailer", b"5\r\nhello\r\n0\r\n" + trailer


# ---- what is accepted: (bytes, [(target, framing, body)] as the provider must see it) ----


def accepted():
    chunked = b"Transfer-Encoding: chunked"
    for value in (b"5", b" 5\t", b"\t5", b"00005", b"0000000000000000005"):
        yield post(b"Content-Length:" + value, body=b"hello"), [("/case", "length", b"hello")]
    for field in (chunked, b"Transfer-Encoding:chunked", b"tRANSFER-eNCODING: \t CHUNKED \t"):
        yield post(field, body=CHUNKS), [("/case", "chunked", b"hello")]
    one = [("/case", "chunked", b"hello")]
    for body in (b"00000005\r\nhello\r\n000\r\n\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                 b'5;a;b=c;d="e;\\"f"\r\nhello\r\n0;x="0"\r\n\r\n',
                 b"5\r\nhello\r\n0\r\nX: y\r\nTransfer: z\r\n\r\n",
                 b"5;" + b"x" * 255 + b"\r\nhello\r\n0\r\n\r\n"):
        yield post(chunked, body=body), one
    inner = b"0\r\n\r\n" + SMUGGLED
    yield (post(chunked, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)),
           [("/case", "chunked", inner)])
    yield (post(b"Content-Length: %d" % len(inner), body=inner), [("/case", "length", inner)])
    yield (b"GET /case HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\n" + SMUGGLED,
           [("/case", "length", SMUGGLED)])
    for named in (b"content-length", b"Content-Length, close, host", b"keep-alive, content-length"):
        yield (post(b"Connection: " + named, b"Content-Length: 5", body=b"hello"),
               [("/case", "length", b"hello")])
    for named in (b"transfer-encoding", b"Transfer-Encoding, te"):
        yield post(b"Connection: " + named, chunked, body=CHUNKS), one
    for other in (b"Content-Length-X: 9", b"X-Content-Length: 9", b"X-Transfer-Encoding: chunked",
                  b"Transfer-Encodin: chunked", b"ontent-Length: 9", b"Trailer: Content-Length"):
        yield (post(other, b"Content-Length: 5", body=b"hello"), [("/case", "length", b"hello")])
        yield post(other), [("/case", "none", b"")]
    yield post(b"Content-Length: 0"), [("/case", "length", b"")]
    yield post(chunked, body=b"0\r\n\r\n"), [("/case", "chunked", b"")]
    yield b"\r\n" + post(), [("/case", "none", b"")]
    yield (post(b"Content-Length: 5", body=b"hello") + GOOD,
           [("/case", "length", b"hello"), ("/good", "none", b"")])
    yield post(chunked, body=CHUNKS) + GOOD, [*one, ("/good", "none", b"")]
    yield (post(b"Content-Length: 7", body=b"hello\r\n") + b"\r\n" + GOOD,
           [("/case", "length", b"hello\r\n"), ("/good", "none", b"")])
    yield post(b"Content-Length: 5", body=b"hello", version=b"1.0"), [("/case", "length", b"hello")]
    yield (b"POST http://A/case HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
           [("/case", "length", b"hello")])


class Smuggling(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def setUp(self):
        super().setUp()
        self.received = []  # every byte the provider got, a piece for each message

        def script(stream):
            stream.timeout = 3600.0
            while True:
                try:
                    request = stream.read_request()
                except Incomplete as e:
                    self.received.append(e.raw)
                    raise
                except BadMessage:
                    self.received.append(stream.taken + stream.buffer)
                    raise
                if request is None:
                    return
                self.received.append(request.raw)
                stream.provider.note(request)
                stream.send(reply_bytes(200, b"ok"))

        self.shop = self.provider(script)
        self.proxy = self.start_proxy(ONE_SHOP % self.shop.address)

    def refused(self, stream, reason, before):
        """400, the connection closed, counted once by its reason."""
        reply = stream.read_reply()
        self.assertEqual((reply.status, reply.get("x-offshoot-error")), (400, "bad-request"))
        self.assertEqual(reply.get("connection"), "close")
        stream.expect_end()
        changes = self.proxy.counters().since(before)
        counted = {k: v for k, v in changes.items() if k.startswith("offshoot_bad_requests_total")}
        self.assertEqual(list(counted.values()), [1], counted)
        if reason:
            self.assertEqual(list(counted), [f'offshoot_bad_requests_total{{reason="{reason}"}}'])

    def test_bad_heads_are_refused_and_nothing_of_them_passes(self):
        count, cuts = 0, random.Random(1)
        for name, reason, data in heads():
            count += 1
            with self.subTest(name, data=data):
                before, seen = self.proxy.counters(), len(self.received)
                with self.client(self.proxy) as stream:
                    stream.send(data + SMUGGLED)
                    self.refused(stream, reason, before)
                before = self.proxy.counters()
                with self.client(self.proxy) as stream:
                    at = cuts.randrange(1, len(data))
                    stream.send(data[:at])
                    stream.send(data[at:] + SMUGGLED)
                    self.refused(stream, reason, before)
                self.assertEqual(self.received[seen:], [])
                self.assertEqual(self.shop.accepted, 0)
        self.assertGreaterEqual(count, 200)

    def test_a_bad_head_behind_a_good_request_ends_the_connection(self):
        for name, reason, data in list(heads())[::4]:
            with self.subTest(name, data=data):
                seen, before = len(self.received), self.proxy.counters()
                with self.client(self.proxy) as stream:
                    stream.send(GOOD + data + SMUGGLED)
                    self.assertEqual(stream.read_reply().status, 200)
                    self.refused(stream, reason, before)
                self.assertEqual(len(self.received) - seen, 1)
                self.assertTrue(self.received[seen].startswith(b"GET /good HTTP/1.1\r\n"))

    def test_bad_chunks_are_refused_and_no_whole_request_passes(self):
        count = 0
        for reason, body in bodies():
            for step in (1, 1 << 20):
                if step == 1 and len(body) > 1000:
                    continue
                count += 1
                with self.subTest(reason=reason, body=body[:60], step=step):
                    before = self.proxy.counters()
                    with self.client(self.proxy) as stream:
                        stream.send(post(b"Transfer-Encoding: chunked"))
                        if step == 1:
                            stream.send_slowly(body)
                            stream.send(SMUGGLED)
                        else:
                            stream.send(body + SMUGGLED)
                        self.refused(stream, reason, before)
        self.assertGreaterEqual(count, 120)
        eventually(lambda: self.shop.open_connections == 0)
        self.assertEqual(self.shop.requests, [])
        for raw in self.received:
            self.assertTrue(raw.startswith(b"POST /case HTTP/1.1\r\n"), raw)
            self.assertNotIn(b"/smuggled", raw)

    def test_what_is_accepted_has_one_reading(self):
        for data, want in accepted():
            for step in (1, 1 << 20):
                with self.subTest(data=data[:300], step=step):
                    seen = len(self.shop.requests)
                    with self.client(self.proxy) as stream:
                        stream.send_slowly(data, step)
                        for _ in want:
                            self.assertEqual(stream.read_reply().status, 200)
                    got = self.shop.requests[seen:]
                    self.assertEqual([(r.target, r.framing, r.body) for r in got], want)
                    for request in got:
                        self.one_reading(request)

    def one_reading(self, request):
        """However a reader looks for framing fields, there is one at the most, in plain form."""
        head, rest = request.raw.split(b"\r\n\r\n", 1)
        self.assertNotIn(b"\n", head.replace(b"\r\n", b""))
        self.assertNotIn(b"\r", head.replace(b"\r\n", b""))
        fields = head.lower().split(b"\r\n")[1:]
        framing = [n for n in fields if n.startswith((b"content-length", b"transfer-encoding"))
                   and not n.startswith(b"content-length-x")]
        want = {"none": [], "chunked": [b"transfer-encoding: chunked"],
                "length": [b"content-length: %d" % len(request.body)]}
        self.assertEqual(framing, want[request.framing])
        self.assertEqual(sum(n.startswith(b"host:") for n in fields), 1)
        if request.framing == "chunked":
            size = b"%x\r\n%s\r\n" % (len(request.body), request.body) if request.body else b""
            if len(request.chunks) <= 1:
                self.assertEqual(rest, size + b"0\r\n\r\n")


if __name__ == "__main__":
    unittest.main()
