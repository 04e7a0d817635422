"""HTTP/1 and HTTP/2 on either side, in all four combinations: every kind of body passes unchanged,
and whoever breaks off, in whatever state, is noticed by the other side and by nobody else."""

import random
import threading
import unittest

import http2
from graphs import baseline, gateway, graph_of, service
from harness import ProxyCase, connect, eventually
from http1 import BadMessage, Incomplete, request_bytes
from http2 import CANCEL, INTERNAL_ERROR, rst_stream
from live import few

GRAPH = graph_of(
    service("web", "port: 80, providerProtocol: http%(version)d"),
    baseline(web="%(address)s"),
    gateway({"/": "web"}),
)

SIZES = (0, 1, 1000, 8191, 16384, 16385, 65535, 65536, 100_000, 1_000_000)


class Got:
    """A message as either protocol brings it. `whole`: it came to a clean end."""

    def __init__(self, fields, body, trailers, whole, **more):
        self.fields = [(n.lower(), v) for n, v in fields if not n.startswith(":")]
        self.body, self.trailers, self.whole = body, dict(trailers or ()), whole
        self.__dict__.update(more)

    def __repr__(self):
        return f"<{'whole' if self.whole else 'cut'} {self.__dict__}>"

    def get(self, name):
        return dict(self.fields).get(name)


# ---- clients ----


class Client1:
    def __init__(self, case, address):
        self.stream = case.closes(connect(address))

    def begin(self, method="GET", path="/", fields=(), body=None, length=True, trailers=()):
        """Sends a request, or the part of it that body (bytes) is of a length (int) to come."""
        self.method = method
        if body is None:
            self.stream.send(request_bytes(method, path, fields=fields))
        elif length is True:
            head = request_bytes(method, path, fields=[*fields, ("Content-Length", len(body))])
            self.stream.send(head + body)
        elif length:
            head = request_bytes(method, path, fields=[*fields, ("Content-Length", length)])
            self.stream.send(head + body)
        else:
            fields = [*fields, ("Transfer-Encoding", "chunked")]
            last = b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in trailers) + b"\r\n"
            chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            self.stream.send(request_bytes(method, path, fields=fields) + chunk + last)

    def finish(self):
        try:
            reply = self.stream.read_reply(self.method)
            while reply.status < 200:
                reply = self.stream.read_reply(self.method)
        except (Incomplete, BadMessage) as e:
            return Got((), getattr(e, "raw", b""), (), False, status=None)
        return Got(reply.fields, reply.body, reply.trailers, True, status=reply.status)

    def head(self):
        return self.stream.read_reply(self.method, body=False).status

    def abort(self):
        self.stream.reset()


class Client2:
    def __init__(self, case, address):
        self.peer = case.closes(http2.connect(address))

    def begin(self, method="GET", path="/", fields=(), body=None, length=True, trailers=()):
        fields = [(n.lower(), str(v)) for n, v in fields]
        if body is not None and length:
            fields.append(("content-length", str(len(body) if length is True else length)))
        end = length is True or not length
        self.n = self.peer.request(method, path, fields=fields, body=body, trailers=trailers,
                                   end=end)  # fmt: skip

    def finish(self):
        x = self.peer.reply(self.n)
        return Got(x.fields or (), x.body, x.trailers, x.whole, status=x.status)

    def head(self):
        return self.peer.head(self.n).status

    def abort(self):
        self.peer.send(rst_stream(self.n, CANCEL))


# ---- providers ----


class Side1:
    """One request at an HTTP/1 provider."""

    def __init__(self, stream, request):
        self.stream = stream
        self.seen = Got(request.fields, request.body, request.trailers, True,
                        method=request.method, target=request.target, host=request.get("host"))

    def answer(self, status=200, body=b"ok", fields=(), length=True, trailers=()):
        lines = [f"HTTP/1.1 {status} X", *(f"{n}: {v}" for n, v in fields)]
        if length is not False:
            lines.append(f"Content-Length: {len(body) if length is True else length}")
        elif status not in (204, 304):
            lines.append("Transfer-Encoding: chunked")
            end = "".join(f"{n}: {v}\r\n" for n, v in trailers)
            chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            body = chunk + f"0\r\n{end}\r\n".encode()
        self.stream.send("\r\n".join([*lines, "", ""]).encode() + body)

    def part(self, body, length):
        self.stream.send(f"HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n".encode() + body)

    def abort(self):
        self.stream.reset()

    def wait_gone(self):
        try:
            self.stream.read_to_end()
        except Incomplete as e:
            return e.reason == "reset"
        return True

    @staticmethod
    def script(handle, whole=True):
        def script(stream):
            stream.timeout = 3600.0
            while True:
                request = stream.read_request(body=whole)
                if request is None or handle(Side1(stream, request)) is False:
                    return

        return script


class Side2:
    """One request at an HTTP/2 provider."""

    def __init__(self, server, x):
        self.server, self.x = server, x
        self.seen = Got(x.fields, x.body, x.trailers, x.whole, method=x.method, target=x.target,
                        host=x.get(":authority"))  # fmt: skip

    def answer(self, status=200, body=b"ok", fields=(), length=True, trailers=()):
        head = [(":status", str(status)), *((n.lower(), str(v)) for n, v in fields)]
        if length is not False:
            head.append(("content-length", str(len(body) if length is True else length)))
        none = not body and not trailers
        self.server.send_head(self.x.stream, head, end=none)
        if body:
            self.server.send_body(self.x.stream, body, end=not trailers)
        if trailers:
            self.server.send_head(self.x.stream, trailers, end=True)

    def part(self, body, length):
        self.server.send_head(
            self.x.stream, [(":status", "200"), ("content-length", str(length))])
        if body:
            self.server.send_body(self.x.stream, body, end=False)

    def abort(self):
        self.server.send(rst_stream(self.x.stream, INTERNAL_ERROR))

    def wait_gone(self):
        self.server.wait(lambda: self.x.reset is not None, "a reset")
        return True

    @staticmethod
    def script(handle, whole=True):
        def script(stream):
            stream.timeout = 3600.0
            server = http2.Server(stream)
            while True:
                x = server.next_request(whole=whole)
                if x is None or handle(Side2(server, x)) is False:
                    return

        return script


class Combination:
    """What must hold whatever is spoken; the classes below say what is."""

    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, handle, whole=True, conf=""):
        self.handle = handle
        provider = self.provider(self.side.script(lambda side: self.handle(side), whole))
        self.write("proxy.yaml", conf + "{}\n" if not conf else conf)
        values = {"version": self.side.version, "address": provider.address}
        self.proxy = self.start_proxy(GRAPH % values, "-c", "proxy.yaml")
        return provider

    def client_of(self):
        return self.client_class(self, self.proxy.address)

    def ask(self, *args, **kwargs):
        client = self.client_of()
        client.begin(*args, **kwargs)
        return client.finish()

    def innocent(self):
        """A request of somebody else passes."""
        before, self.handle = self.handle, lambda side: side.answer(body=b"fine")
        got = self.ask()
        self.assertEqual((200, b"fine", True), (got.status, got.body, got.whole), got)
        self.handle = before

    def all_over(self):
        eventually(lambda: self.proxy.counters().get("offshoot_requests") == 0)

    # -- bodies

    def echo(self, side):
        self.sides.append(side.seen)
        side.answer(body=side.seen.body, fields=[("X-Method", side.seen.method)],
                    length=self.reply_length)  # fmt: skip

    def test_bodies_of_every_size_and_framing_pass_both_ways(self):
        self.sides = []
        self.reply_length = True
        self.begin(self.echo)
        rng = random.Random(7)
        client = self.client_of()
        for size in SIZES:
            for length in (True, False):
                for self.reply_length in (True, False):
                    body = rng.randbytes(size)
                    client.begin("POST", f"/{size}", body=body, length=length)
                    got = client.finish()
                    self.assertTrue(got.whole, got.status)
                    self.assertEqual((200, "POST"), (got.status, got.get("x-method")))
                    self.assertEqual((size, True), (len(got.body), got.body == body))
                    seen = self.sides[-1]
                    self.assertEqual((f"/{size}", "localhost"), (seen.target, seen.host))
                    if length:
                        self.assertEqual(str(size), seen.get("content-length"))
                    if self.reply_length:
                        self.assertEqual(str(size), got.get("content-length"))

    def test_requests_without_a_body_have_none(self):
        self.sides, self.reply_length = [], True
        self.begin(self.echo)
        for method in ("GET", "DELETE", "OPTIONS", "PUT", "PURGE"):
            got = self.ask(method, "/a?b=c%20d")
            self.assertEqual((200, b"", method), (got.status, got.body, got.get("x-method")))
            self.assertEqual((b"", "/a?b=c%20d"), (self.sides[-1].body, self.sides[-1].target))

    def test_replies_that_cannot_have_a_body_end_with_their_head(self):
        self.begin(lambda side: side.answer(304, b"", [("ETag", '"x"')], length=False))
        client = self.client_of()
        for _ in range(3):
            client.begin("GET", "/304")
            got = client.finish()
            self.assertEqual((304, b"", True), (got.status, got.body, got.whole), got)
        self.handle = lambda side: side.answer(204, b"", length=False)
        client.begin("DELETE", "/204")
        self.assertEqual(204, client.finish().status)
        self.handle = lambda side: side.answer(200, b"", length=777)
        client.begin("HEAD", "/head")
        got = client.finish()
        self.assertEqual((200, b"", "777"), (got.status, got.body, got.get("content-length")))
        client.begin("HEAD", "/head")
        self.assertEqual(200, client.finish().status)

    def test_trailers_pass_to_who_takes_them_and_ours_never_do(self):
        seen = []

        def handle(side):
            seen.append(side.seen)
            trailers = [("x-sum", "abc"), ("x-offshoot-context", "v1m.main.0.00"),
                        ("baggage", "offshoot=v1m.main.0.00")]  # fmt: skip
            side.answer(body=b"body", length=False, trailers=trailers)

        self.begin(handle)
        fields = [("TE", "trailers"), ("Trailer", "x-up")]
        if self.client_class is Client1:
            fields.append(("Connection", "te"))
        got = self.ask("POST", fields=fields, body=b"up", length=False,
                       trailers=[("x-up", "1"), ("x-offshoot-context", "v1m.main.0.00")])
        self.assertEqual({"x-sum": "abc"}, got.trailers, got)
        self.assertEqual({"x-up": "1"}, seen[0].trailers)
        self.assertEqual((b"up", b"body"), (seen[0].body, got.body))
        got = self.ask("POST", body=b"up", length=False, trailers=[("x-up", "1")])
        self.assertEqual({}, seen[1].trailers)
        self.assertTrue(got.whole)

    def test_many_requests_of_one_client_keep_their_replies(self):
        self.sides, self.reply_length = [], False
        self.begin(self.echo)
        client = self.client_of()
        for i in range(few(500, 100)):
            client.begin("POST", f"/{i}", body=b"%d" % i, length=bool(i % 2))
            self.assertEqual(b"%d" % i, client.finish().body)

    def test_cookies_and_repeated_fields_arrive(self):
        seen = []

        def handle(side):
            seen.append(side.seen)
            side.answer(fields=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])

        self.begin(handle)
        cookies = [("Cookie", "a=1"), ("Cookie", "b=2")] if self.client_class is Client2 else \
            [("Cookie", "a=1; b=2")]  # fmt: skip
        got = self.ask(fields=[*cookies, ("X-Two", "1"), ("X-Two", "2")])
        crumbs = "; ".join(v for n, v in seen[0].fields if n == "cookie")
        self.assertEqual("a=1; b=2", crumbs)
        self.assertEqual(["1", "2"], [v for n, v in seen[0].fields if n == "x-two"])
        self.assertEqual(["a=1", "b=2"], [v for n, v in got.fields if n == "set-cookie"])

    # -- who breaks off, and when

    def abort_of_client(self, begin, before_abort, handle):
        """The client breaks off; the provider sees it. The handler gets (side, gone)."""
        gone = threading.Event()

        def handler(side):
            handle(side)
            if side.wait_gone():
                gone.set()
            return False

        self.begin(handler, whole=False)
        client = self.client_of()
        begin(client)
        before_abort(client)
        client.abort()
        self.assertTrue(gone.wait(10))
        self.all_over()
        self.innocent()

    def test_client_breaks_off_in_its_body(self):
        came = threading.Event()
        self.abort_of_client(lambda c: c.begin("POST", body=b"x" * 1000, length=100_000),
                             lambda c: came.wait(10), lambda side: came.set())

    def test_client_breaks_off_while_it_waits(self):
        came = threading.Event()
        self.abort_of_client(lambda c: c.begin(), lambda c: came.wait(10),
                             lambda side: came.set())

    def test_client_breaks_off_in_the_reply(self):
        self.abort_of_client(lambda c: c.begin(), lambda c: self.assertEqual(200, c.head()),
                             lambda side: side.part(b"x" * 50_000, 200_000))

    def test_client_breaks_off_while_both_bodies_flow(self):
        self.abort_of_client(lambda c: c.begin("POST", body=b"x" * 1000, length=100_000),
                             lambda c: self.assertEqual(200, c.head()),
                             lambda side: side.part(b"x" * 1000, 200_000))

    def test_provider_breaks_off_before_its_reply(self):
        self.begin(lambda side: side.abort() or False)
        got = self.ask("POST", body=b"x")
        self.assertEqual((502, "bad-reply"), (got.status, got.get("x-offshoot-error")), got)
        self.innocent()

    def test_provider_breaks_off_while_the_body_comes(self):
        self.begin(lambda side: side.abort() or False, whole=False)
        got = self.ask("POST", body=b"x" * 1_000_000)
        self.assertEqual((502, "bad-reply"), (got.status, got.get("x-offshoot-error")), got)
        self.innocent()

    def test_provider_breaks_off_in_its_reply(self):
        seen = threading.Event()

        def handle(side):
            side.part(b"x" * 50_000, 200_000)
            seen.wait(10)  # so that the head has left before
            side.abort()
            return False

        self.begin(handle)
        client = self.client_of()
        client.begin()
        self.assertEqual(200, client.head())
        seen.set()
        got = client.finish() if self.client_class is Client2 else self.rest(client)
        self.assertFalse(got.whole, got)
        self.innocent()

    def rest(self, client):
        try:
            data = client.stream.read_to_end()
        except Incomplete as e:
            data = e.raw
        return Got((), data, (), len(data) >= 200_000)

    def test_an_early_reply_ends_the_exchange(self):
        self.begin(lambda side: side.answer(413, b"too much") or False, whole=False)
        client = self.client_of()
        client.begin("POST", body=b"x" * 1000, length=1_000_000)
        got = client.finish()
        self.assertEqual((413, b"too much"), (got.status, got.body), got)
        self.all_over()
        self.innocent()


class Http1ToHttp1(Combination, ProxyCase):
    client_class, side = Client1, Side1


class Http1ToHttp2(Combination, ProxyCase):
    client_class, side = Client1, Side2


class Http2ToHttp1(Combination, ProxyCase):
    client_class, side = Client2, Side1


class Http2ToHttp2(Combination, ProxyCase):
    client_class, side = Client2, Side2


Side1.version, Side2.version = 1, 2

if __name__ == "__main__":
    unittest.main()
