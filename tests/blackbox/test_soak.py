"""A soak: mixed traffic over every protocol, clients that leave at any moment, providers that die,
graph edits and an environment that comes and goes. Whoever behaves gets what is theirs; afterwards
descriptors, objects, buffers and memory are where they were.

The first quarter warms up; what is resident at rest after it is what the rest is measured by."""

import contextlib
import os
import threading
import unittest

import http2
import websocket
from certs import Authority
from graphs import baseline, gateway, graph_of, overlay, service
from harness import (BadMessage, Incomplete, ProxyCase, connect, eventually, http_script,
                     reply_bytes, request_bytes, sanitized)
from http2 import http2_script
from live import Background, few, seeded
from test_many_connections import resident

STEPS = few(4000, 1000)
CLIENTS = 6
BODY = bytes(range(256)) * 700  # more than a window and two buffers
GROWTH_SHARE, GROWTH_BYTES = 0.10, 1 << 20

GRAPH = graph_of(
    service("web"),
    service("two", "providerProtocol: http2"),
    service("calls", "protocol: grpc"),
    service("chat"),
    service("frail"),
    gateway({"/": "web", "/two": "two", "/call": "calls", "/chat": "chat", "/frail": "frail"},
            "select: [{header: x-env}]"),
    baseline(web="%(web)s", two="%(two)s", calls="%(calls)s", chat="%(chat)s", frail="%(frail)s"),
    overlay("feat", web="%(feat)s"),
)
WITH_GONE = graph_of(GRAPH, overlay("gone", web="%(feat)s"))
PROXY_YAML = """timeouts: {providerIdle: 1s, removed: 100ms, linger: 200ms}
"""


class Left(Exception):
    """The client went away on purpose."""


def echo_answer(name):
    """Replies with its name, or with the body that came."""
    return lambda request: reply_bytes(200, request.body or name, [("X-Name", name.decode())])


def echo2(server, request):
    fields = [("x-name", "two")]
    trailers = None
    if request.get("content-type") == "application/grpc":
        fields.append(("content-type", "application/grpc"))
        trailers = [("grpc-status", "0")]
    server.answer(request.stream, 200, request.body or b"two", fields, trailers)


class Frail:
    """A provider that dies in one of several ways at each second request."""

    def __init__(self):
        self.count = 0

    def __call__(self, stream):
        stream.timeout = 3600.0
        while True:
            request = stream.read_request(body=False)
            if request is None:
                return
            self.count += 1
            way = self.count % 10
            whole = reply_bytes(200, b"frail" * 2000)
            if way in (1, 3):
                return  # without a word
            if way == 5:
                stream.send(whole[: len(whole) // 2])
                return
            if way == 7:
                stream.send(whole[:9])
                return stream.reset()
            if way == 9:
                stream.send(b"nonsense\r\n\r\n")
                return
            if request.get("content-length") or request.get("transfer-encoding"):
                stream._body(request, until_close=False)
            stream.send(whole)


class Walker:
    """One client after another, each of a random kind, until there have been enough steps."""

    def __init__(self, soak, rng):
        self.soak, self.rng = soak, rng
        self.kinds = [self.http1, self.http1, self.http2, self.http2, self.chat, self.call,
                      self.frail, self.gone]
        self.kept = {}  # connections that are used again
        self.left = self.answered = 0

    def close(self):
        for peer in self.kept.values():
            peer.close()
        self.kept = {}

    def step(self):
        kind = self.rng.choice(self.kinds)
        try:
            kind(tls=self.rng.random() < 0.3, leave=self.rng.random() < 0.3)
            self.answered += 1
        except Left:
            self.left += 1

    # -- connections

    def open1(self, tls):
        return connect(self.soak.address(tls), tls=self.soak.contexts[0] if tls else None,
                       server_name="a.test" if tls else None)

    def open2(self, tls):
        return http2.connect(self.soak.address(tls), tls=self.soak.contexts[1] if tls else None,
                             server_name="a.test" if tls else None)

    @contextlib.contextmanager
    def connection(self, make, tls, leave):
        """One that is kept for the next time if all goes well, and is never left in disorder."""
        key = (make.__name__, tls)
        peer = None if leave else self.kept.pop(key, None)
        fresh = peer or make(tls)
        try:
            yield fresh
        except BaseException:
            fresh.close()
            raise
        if leave or self.rng.random() < 0.1 or key in self.kept:
            fresh.close()
        else:
            self.kept[key] = fresh

    def go_away(self, stream):
        """In good order, or not."""
        if self.rng.random() < 0.5:
            stream.close()
        else:
            stream.reset()
        raise Left

    # -- what they do

    def pick(self):
        env, names = self.rng.choice([("main", ("web",)), ("feat", ("feat", "other"))])
        body = self.rng.choice([b"", b"", b"x", BODY])
        return env, names, body

    def http1(self, tls, leave):
        env, names, body = self.pick()
        fields = [("X-Env", env)]
        if body and self.rng.random() < 0.5:
            fields.append(("Transfer-Encoding", "chunked"))
            data = request_bytes("POST", "/", "localhost", fields)
            data += b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            data = request_bytes("POST" if body else "GET", "/", "localhost", fields, body)
        with self.connection(self.open1, tls, leave) as stream:
            if leave:
                stream.send(data[: self.rng.randrange(len(data) + 1)])
                self.go_away(stream)
            reply = stream.ask(data, "POST" if body else "GET")
            self.soak.assertEqual(200, reply.status, reply)
            self.soak.assertIn(reply.get("x-name"), names)
            self.soak.assertEqual(body or reply.get("x-name").encode(), reply.body)

    def http2(self, tls, leave):
        env, names, body = self.pick()
        path = self.rng.choice(["/", "/two"])
        with self.connection(self.open2, tls, leave) as peer:
            streams = [peer.request("POST" if body else "GET", path, fields=[("x-env", env)],
                                    body=body or None) for _ in range(self.rng.randrange(1, 5))]
            for n in streams:
                if leave or self.rng.random() < 0.2:
                    peer.send(http2.rst_stream(n))
                    streams = [s for s in streams if s != n]
            if leave:
                self.go_away(peer.stream)
            for n in streams:
                x = peer.reply(n)
                self.soak.assertTrue(x.whole, x)
                self.soak.assertEqual(200, x.status, x)
                self.soak.assertIn(x.get("x-name"), ("two",) if path == "/two" else names)
                self.soak.assertEqual(body or x.get("x-name").encode(), x.body)

    def chat(self, tls, leave):
        stream = self.open1(tls)
        with contextlib.closing(stream):
            client = websocket.Client(stream)
            for _ in range(3):
                said = self.rng.randbytes(self.rng.choice([1, 100, 70_000]))
                self.soak.assertEqual(said, client.ask(said))
                if leave:
                    client.say(said)
                    self.go_away(stream)
            client.end()

    def call(self, tls, leave):
        message = self.rng.randbytes(self.rng.choice([0, 10, 20_000]))
        framed = b"\0" + len(message).to_bytes(4, "big") + message
        with self.connection(self.open2, tls, leave) as peer:
            fields = [("content-type", "application/grpc"), ("te", "trailers")]
            n = peer.request("POST", "/call/Echo", fields=fields, body=framed, end=not leave)
            if leave:
                peer.send(http2.rst_stream(n))
                peer.alive()
                raise Left
            x = peer.reply(n)
            self.soak.assertEqual((framed, [("grpc-status", "0")]), (x.body, x.trailers), x)

    def frail(self, tls, leave):
        """Whole, or seen to be broken."""
        with contextlib.closing(self.open1(tls)) as stream:
            try:
                reply = stream.ask(request_bytes(target="/frail"))
            except Incomplete as e:
                if e.reason == "timeout":
                    raise
                raise Left from e
        self.soak.assertIn(reply.status, (200, 502, 503))
        if reply.status == 200:
            self.soak.assertEqual(b"frail" * 2000, reply.body)

    def gone(self, tls, leave):
        """In an environment that comes and goes: an answer, or an end."""
        with contextlib.closing(self.open2(tls)) as peer:
            x = peer.reply(peer.request(fields=[("x-env", "gone")]))
            if x.whole:
                names = (None,) if x.status != 200 else ("web", "feat", "other")
                self.soak.assertIn(x.get("x-name"), names)


class Soak(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_http2_clients", "offshoot_requests",
                   "offshoot_tunnels", "offshoot_buffers", "offshoot_provider_connections",
                   "offshoot_tls_handshakes")  # fmt: skip

    def setUp(self):
        super().setUp()
        ca = Authority(self.folder)
        self.contexts = (ca.client_context(), ca.client_context(alpn=("h2",)))
        two = self.provider(http2_script(echo2))
        self.addresses = {
            "web": self.echo(b"web"), "feat": self.echo(b"feat"), "other": self.echo(b"other"),
            "two": two.address, "calls": two.address,
            "chat": self.provider(websocket.echo).address,
            "frail": self.provider(Frail()).address,
        }  # fmt: skip
        self.write("proxy.yaml", PROXY_YAML)
        pair = ca.issue("a", "DNS:a.test")
        self.proxy = self.start_proxy(
            WITH_GONE % self.addresses, "-c", "proxy.yaml", "--workers", "2",
            listen=("127.0.0.1:0,trusted", "127.0.0.1:0,trusted," + pair.option))
        self.graph = next(self.folder.glob("graph-*.yaml"))
        self.edits = 0

    def echo(self, name):
        return self.provider(http_script(echo_answer(name))).address

    def address(self, tls):
        return self.proxy.ready["listen"][1 if tls else 0]

    def edit(self):
        """Another provider for one environment; another environment is there or not."""
        self.edits += 1
        names = dict(self.addresses)
        if self.edits % 2:
            names["feat"] = names["other"]
        text = (WITH_GONE if self.edits % 4 < 2 else GRAPH) % names
        loads = self.proxy.counters().get("offshoot_graph_loads_total")
        new = self.graph.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.graph)
        eventually(lambda: self.proxy.counters().get("offshoot_graph_loads_total") > loads)

    def walk(self, steps, walkers):
        """All walkers at once, until there were so many steps."""
        left = [steps]
        lock, faults = threading.Lock(), []

        def run(walker):
            try:
                while not faults:
                    with lock:
                        left[0] -= 1
                        if left[0] < 0:
                            return
                    walker.step()
            except (Exception, BadMessage) as e:  # raised below
                faults.append(e)
            finally:
                walker.close()

        threads = [threading.Thread(target=run, args=(w,), daemon=True) for w in walkers]
        for t in threads:
            t.start()
        for t in threads:
            t.join(240)
        if faults:
            raise faults[0]

    def at_rest(self):
        self.check_quiet(self.proxy)
        return resident(self.proxy)

    def test_everything_comes_back(self):
        rng, text = seeded()
        walkers = [Walker(self, type(rng)(rng.random())) for _ in range(CLIENTS)]
        with Background(self.edit):
            self.walk(STEPS // 4, walkers)
        before = self.at_rest()
        with Background(self.edit):
            self.walk(STEPS - STEPS // 4, walkers)
        most = before * (1 + GROWTH_SHARE) + GROWTH_BYTES

        def back():
            self.assertLessEqual(self.at_rest(), most, text)
            return True

        if not sanitized():
            eventually(back)
        answered, left = sum(w.answered for w in walkers), sum(w.left for w in walkers)
        print(f"{answered} answered, {left} left, {self.edits} edits; resident {before >> 10} KiB, "
              f"then {self.at_rest() >> 10} KiB", flush=True)
        self.assertGreater(answered, STEPS // 3)
        self.assertGreater(left, STEPS // 10)
        self.assertGreater(self.edits, 4)


if __name__ == "__main__":
    unittest.main()
