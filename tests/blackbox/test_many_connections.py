"""Ten thousand connections at once, of each kind: somebody else is answered meanwhile, and when all
have gone nothing of them is left."""

import resource
import socket
import struct
import time
import unittest
from pathlib import Path

import http2
from certs import Authority
from harness import ONE_SHOP, ProxyCase, eventually, request_bytes, sanitized
from http1 import split_address
from live import few

CONNECTIONS = few(10_000, 1000)
TLS_CONNECTIONS = few(3000, 300)
SPARE = 500  # descriptors for everything else
BATCH = 100
WARM = 200
GET = request_bytes()
HEAD2 = http2.literal(http2.request_fields())
REQUEST2 = (http2.PREFACE + http2.settings() + http2.settings(ack=True)
            + http2.headers(1, HEAD2, end=True))
RESET = struct.pack("ii", 1, 0)
# What each may hold when it is idle.
IDLE_BYTES = {"HTTP/1": 1024, "HTTP/2": 4096, "TLS": 15 << 10}
# What may stay resident of each when all have gone: the event loop's entry for a descriptor holds
# the page that it is on.
LEFT_BYTES = {"HTTP/1": 768, "HTTP/2": 1024, "TLS": 5 << 10}
# The slowest answer that somebody else may get; other work on the machine is in it.
SLOWEST_SECONDS = 1.0


def resident(proxy):
    """Counted page by page: the numbers in statm lag behind."""
    text = Path(f"/proc/{proxy.pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) << 10 for line in text.splitlines()
                if line.startswith("Rss:"))


def read_until(sock, end):
    data = b""
    while not data.endswith(end):
        more = sock.recv(65536)
        if not more:
            raise AssertionError(f"closed after {data!r}")
        data += more


def dial(address):
    sock = socket.create_connection(address, 60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Many:
    """Held connections. Every tenth is closed in good order, the others by a reset, so that the
    ports are free again at once."""

    def __init__(self, address, make):
        self.address, self.make = split_address(address), make
        self.held = []

    def open(self, n):
        while n > 0:
            count = min(n, BATCH)
            self.held += self.make(self.address, count)
            n -= count

    def close(self):
        for i, sock in enumerate(self.held):
            if i % 10:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
        self.held = []


def http1_idle(address, count):
    """Every fourth has sent nothing yet, the others wait after a request."""
    socks = [dial(address) for _ in range(count)]
    asking = [s for i, s in enumerate(socks) if i % 4]
    for s in asking:
        s.sendall(GET)
    for s in asking:
        read_until(s, b"\r\n\r\nok")
    return socks


def http2_idle(address, count):
    socks = [dial(address) for _ in range(count)]
    for s in socks:
        s.sendall(REQUEST2)
    for s in socks:
        read_until(s, b"ok")
    return socks


class Tls:
    """TLS after a request. Only the socket is kept, not what Python has of the session."""

    def __init__(self, context):
        self.context, self.session = context, None

    def __call__(self, address, count):
        return [self.one(address) for _ in range(count)]

    def one(self, address):
        sock = self.context.wrap_socket(dial(address), server_hostname="a.test",
                                        session=self.session)
        sock.sendall(GET)
        read_until(sock, b"\r\n\r\nok")
        self.session = self.session or sock.session
        return socket.socket(fileno=sock.detach())


class ManyConnections(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers",
                   "offshoot_http2_clients", "offshoot_tls_handshakes")  # fmt: skip

    def setUp(self):
        super().setUp()
        self.enough_descriptors()
        self.shop = self.start_nginx(("ok",))["ok"]
        self.write("proxy.yaml", "timeouts: {providerIdle: 1s, idle: 10m}\n")

    def enough_descriptors(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = CONNECTIONS + SPARE
        if hard < needed:
            self.skipTest(f"{needed} descriptors are needed, this system allows {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def begin(self, option=""):
        return self.start_proxy(ONE_SHOP % self.shop, "-c", "proxy.yaml",
                                listen=("127.0.0.1:0,trusted", "127.0.0.1:0,trusted" + option))

    def all_gone(self, proxy):
        eventually(lambda: proxy.fds() <= proxy.fds_at_start)
        eventually(lambda: self._gauges_zero(proxy))

    def settles(self, proxy, most):
        """Waits until no more than this is resident; a sanitizer keeps what was freed."""
        def few_enough():
            self.assertLessEqual(resident(proxy), most)
            return True

        if not sanitized():
            eventually(few_enough)
        return resident(proxy)

    def ask_others(self, stream):
        """The time of the second slowest of many answers."""
        times = []
        for _ in range(200):
            asked = time.monotonic()
            self.assertEqual(b"ok", stream.ask(GET).body)
            times.append(time.monotonic() - asked)
        return sorted(times)[-2]

    def hold(self, kind, proxy, make, count):
        many = self.closes(Many(proxy.ready["listen"][1], make))
        many.open(WARM)
        many.close()
        with self.client(proxy) as innocent:
            self.assertEqual(b"ok", innocent.ask(GET).body)
        self.all_gone(proxy)
        start = resident(proxy)
        with self.client(proxy) as innocent:
            begun = time.monotonic()
            many.open(count)
            opened = time.monotonic() - begun
            slowest = self.ask_others(innocent)
        self.assertGreaterEqual(proxy.counters().get("offshoot_clients"), count)
        held = self.settles(proxy, start + count * IDLE_BYTES[kind]) - start
        many.close()
        self.all_gone(proxy)
        left = self.settles(proxy, start + count * LEFT_BYTES[kind]) - start
        print(f"{count} of {kind}: opened in {opened:.1f} s, {held / count:.0f} bytes each, "
              f"{left / count:.0f} each when they had gone; answers meanwhile within "
              f"{slowest * 1e3:.1f} ms", flush=True)
        self.assertLess(slowest, SLOWEST_SECONDS)

    def test_http1(self):
        self.hold("HTTP/1", self.begin(), http1_idle, CONNECTIONS)

    def test_http2(self):
        self.hold("HTTP/2", self.begin(), http2_idle, CONNECTIONS)

    def test_tls(self):
        ca = Authority(self.folder)
        pair = ca.issue("a", "DNS:a.test")
        self.hold("TLS", self.begin("," + pair.option), Tls(ca.client_context()), TLS_CONNECTIONS)


if __name__ == "__main__":
    unittest.main()
