"""What the batteries share: one proxy before providers that write down all they are sent and say
what the case wants, and clients that send bytes and tell what they were shown.

A request is told apart by its path: /c17 is that of case 17, and /evil must never be seen."""

import collections
import threading

import http2
from graphs import baseline, gateway, graph_of, service
from harness import BadMessage, Incomplete, ProxyCase, connect, eventually
from http1 import reply_bytes

GRAPH = graph_of(
    service("one", "policy: {retries: {max: 0}}"),
    service("two", "policy: {retries: {max: 0}}, providerProtocol: http2"),
    service("admin", "policy: {retries: {max: 0}}"),
    gateway({"/": "one", "/two": "two", "/admin": "admin"}),
    baseline(one="%s", two="%s", admin="%s"),
)
OK = reply_bytes(200, b"ok")

# A request as a provider reads it.
Got = collections.namedtuple("Got", "method target framing body fields trailers")
# What a client was shown. kind: "whole", "cut" (a head, and no clean end), "gone" (no head).
Shown = collections.namedtuple("Shown", "kind status body fields trailers")


def shown1(stream, method="GET"):
    """The next final reply on a connection of HTTP/1. "wait": nothing came in time."""
    try:
        reply = stream.read_reply(method, body=False)
        while reply.status < 200 and reply.status != 101:
            reply = stream.read_reply(method, body=False)
    except Incomplete as e:
        return Shown("wait" if e.reason == "timeout" else "gone", None, b"", [], [])
    fields = [(n.lower(), v) for n, v in reply.fields]
    try:
        if method != "HEAD" and reply.status not in (101, 204, 304):
            stream._body(reply, until_close=True)
    except Incomplete as e:
        return Shown("wait" if e.reason == "timeout" else "cut", reply.status, e.raw, fields, [])
    return Shown("whole", reply.status, reply.body, fields, reply.trailers)


def shown2(peer, n, method="GET"):
    """The reply on a stream of HTTP/2."""
    x = peer.exchange(n)
    try:
        peer.wait(lambda: x.over, "the reply")
    except (Incomplete, OSError) as e:
        kind = "wait" if getattr(e, "reason", "") == "timeout" else "gone"
        return Shown(kind if x.fields is None else "cut", x.status, x.body, x.fields or [], [])
    kind = "whole" if x.whole and x.reset in (None, 0) else "gone" if x.fields is None else "cut"
    if x.whole and method != "HEAD" and x.status != 304 and not x.length_fits():
        kind = "cut"  # its length tells
    return Shown(kind, x.status, x.body, x.fields or [], x.trailers or [])


def value(shown, name):
    return next((v for n, v in shown.fields if n == name), None)


class Battery(ProxyCase):
    """`seen`: the requests that providers got whole, in order; `unreadable`: bytes that made no
    request in the eyes of a strict reader. `replies`: {path: bytes, or fn(stream, request)}."""

    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")
    conf = "{}\n"
    listen = ("127.0.0.1:0",)

    def setUp(self):
        super().setUp()
        self.lock = threading.Lock()
        self.seen, self.unreadable = [], []
        self.replies = {}
        self.write("proxy.yaml", self.conf)
        self.one = self.provider(self.script("one"))
        self.two = self.provider(self.script2)
        self.admin_side = self.provider(self.script("admin"))
        addresses = (self.one.address, self.two.address, self.admin_side.address)
        self.proxy = self.start_proxy(GRAPH % addresses, "-c", "proxy.yaml", listen=self.listen)
        self.last = self.proxy.counters()

    def note(self, service, request):
        with self.lock:
            self.seen.append((service, request))

    def script(self, service):
        def script(stream):
            stream.timeout = 3600.0
            while True:
                try:
                    r = stream.read_request()
                except Incomplete:
                    return
                except BadMessage as e:
                    self.unreadable.append((e, stream.taken + stream.buffer))
                    return
                if r is None:
                    return
                self.note(service, Got(r.method, r.target, r.framing, r.body, r.fields, r.trailers))
                reply = self.replies.get(r.target, OK)
                if callable(reply):
                    if reply(stream, r) is False:
                        return
                else:
                    stream.send(OK if r.method != "HEAD" else OK[:-2])

        return script

    def script2(self, stream):
        stream.timeout = 3600.0
        server = http2.Server(stream)
        while True:
            x = server.next_request()
            if x is None:
                return
            if not x.whole:
                continue
            self.note("two", Got(x.method, x.target, "stream", x.body, x.fields, x.trailers or []))
            reply = self.replies.get(x.target)
            if reply is None:
                server.answer(x.stream)
            elif reply(server, x) is False:
                return

    def of_case(self, *paths):
        """What providers got of these paths."""
        with self.lock:
            return [got for _, got in self.seen if got.target in paths]

    def counted(self, name):
        """{reason: difference} of a counter since this was last called."""
        now = self.proxy.counters()
        changes, self.last = now.since(self.last), now
        return {key.split('"')[1]: n for key, n in changes.items() if key.startswith(name + "{")}

    def connection(self, timeout=10.0):
        return connect(self.proxy.address, timeout)

    def rest(self):
        """Between cases and at the end: nobody is left, nothing is held."""
        gauges = ("offshoot_requests", "offshoot_buffers")
        eventually(lambda: all(self.proxy.counters().get(g) == 0 for g in gauges))

    def judge_providers(self, allowed=None):
        """No provider was sent what it could not read, or what no client meant."""
        self.assertEqual([], self.unreadable)
        with self.lock:
            for _, got in self.seen:
                self.assertNotIn("evil", got.target)
                if allowed is not None:
                    self.assertIn(got.target, allowed)
