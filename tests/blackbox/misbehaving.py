"""What the tests of misbehaving providers share: two providers behind a proxy, one that behaves and
one that does what the test says; clients of either protocol; and what a client may be shown.

docs/internals/misbehaving-providers.md lists the kinds and names their tests."""

import threading

import http2
from graphs import baseline, gateway, graph_of, service
from harness import BadMessage, Incomplete, ProxyCase, connect, eventually, request_bytes
from http1 import reply_bytes

GRAPH = graph_of(
    service("good"),
    service("bad", "policy: {retries: {max: 0}}, providerProtocol: %(protocol)s"),
    service("hasty", "policy: {timeout: 300ms, retries: {max: 0}}, providerProtocol: %(protocol)s"),
    gateway({"/": "good", "/bad": "bad", "/hasty": "hasty"}),
    baseline(good="%(good)s", bad="%(bad)s", hasty="%(bad)s"),
)
OK = reply_bytes(200, b"ok")
LAST = reply_bytes(200, b"ok", [("Connection", "close")])
GROWTH = 8 << 20  # bytes that a proxy may take for a provider that never ends


def errors(reason):
    return f'offshoot_provider_errors_total{{reason="{reason}"}}'


def malformed(reason):
    return f'offshoot_bad_replies_total{{reason="{reason}"}}'


class Seen:
    """What a client was shown. kind: "whole" (a reply with a clean end), "cut" (a reply that it
    must know to be broken) or "gone" (the connection or stream ended before any head)."""

    def __init__(self, kind, status=None, word=None, body=b"", fields=(), interim=()):
        self.kind, self.status, self.word = kind, status, word
        self.body, self.fields, self.interim = body, list(fields), list(interim)

    def __repr__(self):
        return f"<{self.kind} {self.status} {self.word} {self.body[:60]!r}>"

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name]


class Http1Client:
    """One connection of HTTP/1."""

    def __init__(self, address):
        self.stream = connect(address)

    def close(self):
        self.stream.close()

    def ask(self, method="GET", target="/", fields=(), body=b""):
        return self.finish(self.begin(method, target, fields, body))

    def begin(self, method="GET", target="/", fields=(), body=b"", length=None):
        """Sends a request, or its start when its length is more than the body. What cannot be sent
        because the other side ended it is left out."""
        more = [("Content-Length", str(length))] if length else []
        data = request_bytes(method, target, "a", [*fields, *more], b"" if length else body)
        try:
            self.stream.send(data + (body if length else b""))
        except OSError:
            pass
        return method

    def ask_long(self, method, target, body):
        """With a body that is perhaps not taken: the reply is read while it is sent."""
        sender = threading.Thread(target=self.begin, args=(method, target, (), body))
        sender.start()
        try:
            return self.finish(method)
        finally:
            self.close()
            sender.join()

    def take(self, n):
        """Reads n bytes of what comes."""
        while n > 0:
            n -= len(self.stream.sock.recv(1 << 20))

    def finish(self, method):
        interim = []
        try:
            reply = self.stream.read_reply(method, body=False)
            while reply.status < 200:
                interim.append(reply.status)
                reply = self.stream.read_reply(method, body=False)
        except Incomplete as e:
            self._no_timeout(e)
            return Seen("gone", interim=interim)
        word = reply.get("x-offshoot-error")
        seen = Seen("whole", reply.status, word, b"", reply.fields, interim)
        try:
            if method != "HEAD" and reply.status not in (204, 304):
                self.stream._body(reply, until_close=True)
            seen.body = reply.body
        except Incomplete as e:
            self._no_timeout(e)
            seen.kind, seen.body = "cut", e.raw[len(reply.raw) :]
        return seen

    def _no_timeout(self, e):
        if e.reason == "timeout":
            raise e


class Http2Client:
    """One connection of HTTP/2; each request is a stream of its own."""

    def __init__(self, address):
        self.peer = http2.connect(address)

    def close(self):
        self.peer.close()

    def ask(self, method="GET", target="/", fields=(), body=b""):
        return self.finish(self.begin(method, target, fields, body))

    def begin(self, method="GET", target="/", fields=(), body=b"", length=None):
        lower = [(n.lower(), v) for n, v in fields]
        lower += [("content-length", str(length))] if length else []
        return self.peer.request(method, target, "a", lower, body or None, end=not length)

    def ask_long(self, method, target, body):
        return self.finish(self.begin(method, target, (), body))

    def take(self, n):
        x = max(self.peer.exchanges.values(), key=lambda x: x.stream)
        while n > 0:
            self.peer.wait(lambda: x.received, "more of the body")
            n -= len(x.received)
            x.received.clear()

    def finish(self, stream):
        try:
            x = self.peer.reply(stream)
        except Incomplete as e:
            raise AssertionError(f"the whole connection ended: {e}") from e
        if x.fields is None:
            return Seen("gone")
        error = x.get("x-offshoot-error")
        kind = "whole" if x.whole else "cut"
        interim = [int(fields[0][1]) for fields in x.interim]
        if x.whole and x.received and not x.length_fits():
            raise BadMessage(f"the length is not the body's: {x}")
        return Seen(kind, x.status, error, x.body, x.fields, interim)


class Misbehaving(ProxyCase):
    """`bad` is what the provider behind /bad and /hasty does on a request: bad(stream, request)
    returns True when it has answered and the connection goes on, else it is closed. None: it
    behaves. `accepted`, called before anything is read of a connection, likewise."""

    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")
    client_class = Http1Client
    protocol = "http1"  # of the one that misbehaves

    def begin(self, *flags, conf=None):
        self.bad = self.accepted = None
        self.good_one = self.provider()
        self.bad_one = self.provider(self.serve)
        if conf:
            self.write("conf.yaml", conf)
            flags = ("-c", "conf.yaml", *flags)
        names = {"good": self.good_one, "bad": self.bad_one}
        names = {name: provider.address for name, provider in names.items()}
        self.proxy = self.start_proxy(GRAPH % {**names, "protocol": self.protocol}, *flags)
        self.innocent = self.closes(self.client_class(self.proxy.address))
        self.innocent_works()

    def innocent_works(self):
        """Somebody who asks for another service on a connection of their own."""
        seen = self.innocent.ask()
        self.assertEqual(("whole", 200, b"ok"), (seen.kind, seen.status, seen.body), seen)

    def serve(self, stream):
        """The provider over HTTP/1."""
        stream.timeout = 3600.0
        if self.accepted and not self.accepted(stream):
            return
        while True:
            request = stream.read_request(body=False)
            if request is None:
                return
            stream.provider.note(request)
            if self.bad:
                if not self.bad(stream, request):
                    return
                continue
            stream._body(request, until_close=False)
            stream.send(OK)

    # -- what it does

    def sends(self, data, then="hold"):
        """It answers with these bytes, and then holds the connection, closes or resets it."""

        def script(stream, _):
            stream.send(data)
            return self.after(stream, then)

        self.bad = script

    def after(self, stream, then):
        if then == "hold":
            self.hold(stream)
        elif then == "reset":
            stream.reset()
        return then == "on"

    def hold(self, stream):
        """Keeps the connection until the proxy closes it."""
        while stream.sock.recv(65536):
            pass

    def floods(self, start, piece):
        """It answers without an end."""

        def script(stream, _):
            stream.send(start)
            while True:
                stream.send(piece * (65536 // len(piece)))

        self.bad = script

    # -- what the client must see

    def ask_bad(self, method="GET", target="/bad", fields=(), body=b""):
        client = self.client_class(self.proxy.address)
        try:
            return client.ask(method, target, fields, body)
        finally:
            client.close()

    def counted(self, before, counters):
        changes = self.proxy.counters().since(before)
        for name in counters:
            if changes.get(name) != 1:
                raise AssertionError(f"{name} is not 1: {changes}")
        return True

    def refused(self, word, status, *counters, **asked):
        """The client is told of the fault; nothing of the reply reaches it."""
        return self.looked_at(lambda seen: self.assertEqual(
            ("whole", status, word), (seen.kind, seen.status, seen.word), seen), counters, asked)

    def cut(self, *counters, **asked):
        """The client sees that it is not whole; or is told, where nothing had left yet."""

        def check(seen):
            told = (seen.kind, seen.status, seen.word) == ("whole", 502, "bad-reply")
            self.assertTrue(told or seen.kind in ("cut", "gone"), seen)

        return self.looked_at(check, counters, asked)

    def whole(self, status=200, body=b"ok", **asked):
        """The reply is a good one, however odd its way."""

        def check(seen):
            self.assertEqual(("whole", status, None), (seen.kind, seen.status, seen.word), seen)
            self.assertTrue(seen.body == body, seen)

        return self.looked_at(check, (), asked)

    def looked_at(self, check, counters, asked):
        before = self.proxy.counters()
        seen = self.ask_bad(**asked)
        check(seen)
        eventually(lambda: self.counted(before, counters))
        self.innocent_works()
        return seen

    def let_go(self):
        """The proxy has closed its connection to the provider; a new one is used as ever."""
        eventually(lambda: self.bad_one.open_connections == 0, what="the connection is closed")
        self.accepted = None
        before = self.bad_one.accepted
        self.end_connection()
        self.assertEqual(before + 1, self.bad_one.accepted)

    def end_connection(self):
        """A good reply, with which the connection that the proxy may have kept ends."""
        self.sends(LAST)
        self.whole()
        eventually(lambda: self.bad_one.open_connections == 0)
        self.bad = None

    def memory_stays(self, fn):
        before = self.proxy.resident_bytes()
        fn()
        self.assertLess(self.proxy.resident_bytes() - before, GROWTH)
