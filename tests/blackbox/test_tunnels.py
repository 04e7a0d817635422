"""WebSocket, other upgrades and CONNECT through the proxy: real handshakes and frames, ends and
resets as TCP knows them, deaths, and attempts to smuggle requests past the proxy."""

import os
import random
import signal
import subprocess
import threading
import time
import unittest

from graphs import graph_of, overlay, service
from harness import (
    ONE_SHOP, ProxyCase, connect, eventually, reply_bytes, request_bytes, sanitized,
)  # fmt: skip
from websocket import PING, PONG, TEXT, Client, echo, handshake

ECHO = """\
import socket, sys, threading
def serve(c):
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += c.recv(65536)
    c.sendall(b"HTTP/1.1 101 S\\r\\nUpgrade: raw\\r\\nConnection: upgrade\\r\\n\\r\\n")
    while data := c.recv(65536):
        c.sendall(data)
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
RAW = request_bytes("GET", "/", "a", [("Upgrade", "raw"), ("Connection", "upgrade")])
DB = graph_of(ONE_SHOP, service("db", "protocol: tcp"), overlay("with-db", db="%s"))


def taking(script):
    """A provider's script: takes the upgrade to `raw`, then runs script(stream)."""

    def run(stream):
        stream.timeout = 3600.0
        request = stream.read_request()
        if request is None:
            return
        stream.provider.note(request)
        stream.send(b"HTTP/1.1 101 S\r\nUpgrade: raw\r\nConnection: upgrade\r\n\r\n")
        script(stream)

    return run


class TunnelCase(ProxyCase):
    zero_gauges = ("offshoot_live_objects", "offshoot_tunnels", "offshoot_requests")

    def begin(self, script, text="", listen=("127.0.0.1:0,trusted", "127.0.0.1:0"), db=None):
        self.shop = self.provider(script)
        self.log = self.folder / "access.log"
        self.proxy = self.start_proxy(
            DB % (self.shop.address, db) if db else ONE_SHOP % self.shop.address,
            "-c", self.write("conf.yaml", text), "--access-log", self.log,
            listen=listen)  # fmt: skip

    def raw(self, n=0):
        """A client whose upgrade to `raw` was taken."""
        stream = self.client(self.proxy, n)
        stream.send(RAW)
        self.assertEqual(101, stream.read_reply().status)
        return stream

    def ends(self, reason, count=1):
        eventually(lambda: self.proxy.counters().get(
            "offshoot_tunnel_ends_total", reason=reason) == count)

    def log_line(self):
        return eventually(lambda: (t := self.log.read_text()).endswith("\n") and t).splitlines()[-1]


class WebSocket(TunnelCase):
    def test_messages_of_every_size_come_back(self):
        self.begin(echo)
        for n in (0, 1):
            ws = Client(self.client(self.proxy, n))
            for size in (0, 1, 125, 126, 4096, 65535, 65536, 70000, 1 << 20):
                payload = random.randbytes(size)
                self.assertEqual(payload, ws.ask(payload))
            ws.say("grüße".encode(), TEXT)
            self.assertEqual((TEXT, "grüße".encode()), ws.hear())
            ws.say(b"", PING)
            self.assertEqual((PONG, b""), ws.hear())
            ws.end()
        self.ends("closed", 2)
        line = self.log_line()
        self.assertRegex(line, r' 101 "GET" "localhost" "/chat" env="main" service=shop ')
        self.assertRegex(line, r" refusal=- fault=- .* in=1\d{6} out=1\d{6} ")
        seen = self.shop.requests[0]
        self.assertEqual(("upgrade", "websocket"), (seen.get("connection"), seen.get("upgrade")))
        self.assertIsNotNone(seen.get("baggage"))

    def test_many_at_a_time_and_each_gets_its_own(self):
        self.begin(echo)
        clients = [Client(self.client(self.proxy)) for _ in range(50)]
        for turn in range(3):
            for i, ws in enumerate(clients):
                ws.say(b"%d/%d" % (turn, i))
            for i, ws in enumerate(clients):
                self.assertEqual(b"%d/%d" % (turn, i), ws.hear()[1])
        self.assertEqual(50, self.proxy.counters().get("offshoot_tunnels"))
        # idle, nothing of the 64 KiB blocks is held
        eventually(lambda: self.proxy.counters().get("offshoot_buffers") == 0)
        for ws in clients:
            ws.end()

    def test_a_reply_that_is_no_switch_passes(self):
        def refuse(stream):
            stream.provider.note(stream.read_request())
            stream.send(reply_bytes(403, b"members only", [("X-Why", "because")], "Forbidden"))

        self.begin(refuse)
        stream = self.client(self.proxy)
        reply = stream.ask(handshake())
        self.assertEqual((403, b"members only", "because"),
                         (reply.status, reply.body, reply.get("x-why")))
        self.assertEqual("close", reply.get("connection"))
        stream.expect_end()

    def test_a_share_link_needs_no_redirect(self):
        self.shop = self.provider(echo)
        text = graph_of(ONE_SHOP % self.shop.address, overlay("feat", "access: public"))
        text = text.replace("defaultEnvironment: main,",
                            "defaultEnvironment: main, pinHosts: [shop.test], "
                            "select: [{query: e}],")
        self.proxy = self.start_proxy(text, listen=("127.0.0.1:0",))
        ws = Client(self.client(self.proxy), target="/chat?e=feat&a=1", host="shop.test")
        self.assertEqual(b"x", ws.ask(b"x"))
        self.assertEqual("/chat?a=1", self.shop.requests[0].target)
        self.assertIn("offshoot=v1m.feat.", self.shop.requests[0].get("baggage"))
        ws.end()


class Smuggling(TunnelCase):
    def test_a_handshake_that_fails_lets_nothing_behind_it_pass(self):
        """The known trick: the proxy believes in a tunnel, the provider does not."""
        got = []

        def refuse(stream):
            request = stream.read_request()
            while request:
                got.append(request.target)
                version = request.get("sec-websocket-version")
                stream.send(reply_bytes(426 if version != "13" else 101, b"", [], "Upgrade"))
                request = stream.read_request()

        self.begin(refuse)
        inner = request_bytes("GET", "/secret", "internal")
        for outer in (
            request_bytes("GET", "/public", "a", [
                ("Upgrade", "websocket"), ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "777"), ("Sec-WebSocket-Key", "x")]),
            request_bytes("GET", "/public", "a", [
                ("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"),
                ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"), ("Connection", "close")]),
        ):  # fmt: skip
            del got[:]
            stream = self.client(self.proxy)
            stream.send(outer + inner)
            self.assertEqual(426, stream.read_reply().status)
            stream.expect_end()
            self.assertEqual(["/public"], got)

    def test_an_offer_of_http_2_is_never_passed_on(self):
        def note(stream):
            stream.timeout = 3600.0
            while request := stream.read_request():
                stream.provider.note(request)
                stream.send(reply_bytes())

        self.begin(note)
        for offer in ("h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.3", "h2c, h3", "HTTP/2.0,\th2c"):
            for named in ("Upgrade", "upgrade, HTTP2-Settings", "HTTP2-Settings, Upgrade"):
                fields = [("Upgrade", offer), ("Connection", named), ("HTTP2-Settings", "AAMA")]
                with connect(self.proxy.address) as stream:
                    data = request_bytes("GET", "/", "a", fields)
                    self.assertEqual(200, stream.ask(data).status)
                names = self.shop.requests[-1].names()
                self.assertNotIn("upgrade", names, offer)
                self.assertNotIn("http2-settings", names, offer)

    def test_a_switch_to_what_was_not_offered_is_refused(self):
        def switch(stream):
            request = stream.read_request()
            offer = request.get("x-answer")
            stream.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\n" + offer.encode() + b"\r\n\r\n")
            stream.provider.note(stream.sock.recv(100))

        self.begin(switch)
        for answer in ("Upgrade: h2c", "Upgrade: websocket/14", "X: y", "Upgrade: websocket, raw",
                       "Upgrade:", "Upgrade: web socket"):  # fmt: skip
            stream = self.client(self.proxy)
            stream.send(handshake(fields=[("X-Answer", answer)]) + b"bytes for the tunnel")
            reply = stream.read_reply()
            self.assertEqual((502, "bad-reply"), (reply.status, reply.get("x-offshoot-error")))
            stream.expect_end()
            eventually(lambda: self.shop.requests and self.shop.requests.pop() == b"")

    def test_an_upgrade_with_a_body_is_refused(self):
        self.begin(echo)
        for framing in (("Content-Length", "4"), ("Transfer-Encoding", "chunked")):
            stream = self.client(self.proxy)
            reply = stream.ask(handshake(fields=[framing]) + b"0\r\n\r\n")
            self.assertEqual((400, "bad-request"), (reply.status, reply.get("x-offshoot-error")))
            stream.expect_end()
        self.assertEqual(0, self.shop.accepted)


class Ends(TunnelCase):
    def test_an_end_of_the_client_is_an_end_for_the_provider(self):
        self.begin(taking(lambda s: s.send(b"all: " + s.read_to_end())))
        stream = self.raw()
        stream.send(b"x" * 300000)
        stream.end_sending()
        self.assertEqual(b"all: " + b"x" * 300000, stream.read_to_end())
        self.ends("closed")

    def test_an_end_of_the_provider_is_an_end_for_the_client(self):
        def script(stream):
            stream.send(b"y" * 300000)
            stream.end_sending()
            stream.provider.note(stream.read_to_end())

        self.begin(taking(script))
        stream = self.raw()
        self.assertEqual(b"y" * 300000, stream.read_to_end())
        stream.send(b"still here")
        stream.end_sending()
        eventually(lambda: self.shop.requests[-1:] == [b"still here"])
        self.ends("closed")

    def test_a_reset_is_a_reset_on_the_other_side(self):
        seen = []

        def script(stream):
            if stream.read_exactly(2) == b"me":
                stream.reset()
                return
            try:
                stream.sock.recv(1)
                seen.append("end")
            except ConnectionResetError:
                seen.append("reset")

        self.begin(taking(script))
        stream = self.raw()
        stream.send(b"us")
        eventually(lambda: self.proxy.counters().get("offshoot_client_received_bytes_total") > 2)
        stream.reset()
        eventually(lambda: seen == ["reset"])
        self.ends("client-reset")
        stream = self.raw()
        stream.send(b"me")
        with self.assertRaises(ConnectionResetError):
            while stream.sock.recv(100):
                pass
        self.ends("provider-reset")
        self.assertRegex(self.log_line(), r" 101 .* fault=provider ")

    def test_what_was_said_before_a_death_arrives(self):
        def script(stream):
            stream.read_exactly(2)
            stream.send(b"z" * 100000)  # and closes wholly

        self.begin(taking(script))
        stream = self.raw()
        stream.send(b"go")
        self.assertEqual(b"z" * 100000, stream.read_to_end())

    def test_a_provider_that_is_killed(self):
        port = self.nobody()
        address = port.address
        port.close()
        server = self.start_other(
            "/usr/bin/python3", "-c", ECHO, address.rsplit(":", 1)[1],
            until=lambda: connect(address).close() or True)  # fmt: skip
        self.proxy = self.start_proxy(ONE_SHOP % address)
        stream = self.raw()
        stream.send(b"alive")
        self.assertEqual(b"alive", stream.read_exactly(5))
        server.signal(signal.SIGKILL)
        stream.expect_end()
        stream.close()
        eventually(lambda: self.proxy.counters().get("offshoot_tunnels") == 0)

    def test_an_idle_tunnel_ends_and_a_busy_one_stays(self):
        self.begin(taking(lambda s: s.read_to_end()), "timeouts: {tunnel: 400ms}\n")
        quiet, busy = self.raw(), self.raw()
        began = time.monotonic()
        stop = threading.Event()

        def keep_busy():
            while not stop.wait(0.05):
                busy.send(b".")

        thread = threading.Thread(target=keep_busy)
        thread.start()
        try:
            quiet.expect_end()
            self.assertGreater(time.monotonic() - began, 0.35)
            self.ends("idle")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(1, self.proxy.counters().get("offshoot_tunnels"))
        busy.end_sending()
        busy.expect_end()
        self.ends("closed")

    def test_a_drain_leaves_them_until_its_deadline(self):
        self.begin(echo, "timeouts: {drain: 700ms}\n")
        ws = Client(self.client(self.proxy))
        self.proxy.signal(signal.SIGTERM)
        eventually(lambda: not self.listening())
        self.assertEqual(b"on", ws.ask(b"on"))
        began = time.monotonic()
        ws.stream.expect_end()
        self.assertLess(time.monotonic() - began, 5)
        self.expect_exit(self.proxy, 0)
        self.assertRegex(self.log_line(), r" 101 ")

    def listening(self):
        try:
            connect(self.proxy.address).close()
        except ConnectionRefusedError:
            return False
        return True


class Large(TunnelCase):
    def test_a_gibibyte_takes_two_buffers(self):
        total = 1 << 30
        piece = os.urandom(1 << 20)

        def script(stream):
            stream.sock.settimeout(60)
            for _ in range(total // len(piece)):
                stream.sock.sendall(piece)
            stream.end_sending()
            stream.read_to_end()

        self.begin(taking(script))
        stream = self.raw()
        eventually(lambda: self.proxy.counters().get("offshoot_tunnels") == 1)
        # A reader that is late: the sender runs into what is full.
        eventually(lambda: self.proxy.counters().get("offshoot_buffers") > 0)
        before, most, got = self.proxy.resident_bytes(), 0, 0
        view = bytearray(1 << 20)
        stream.sock.settimeout(60)
        while n := stream.sock.recv_into(view):
            got += n
            if got % (64 << 20) < n:
                most = max(most, self.proxy.resident_bytes())
        got += len(stream.buffer)
        self.assertEqual(total, got)
        if not sanitized():  # they keep freed memory
            self.assertLess(most - before, 1 << 20)
        self.assertLessEqual(self.proxy.counters().get("offshoot_buffers"), 2)


class Connect(TunnelCase):
    def begin_db(self):
        self.begin(echo, listen=("127.0.0.1:0,trusted,connect", "127.0.0.1:0,trusted"),
                   db=self.provider(lambda s: s.send(b"db: " + s.read_exactly(5))).address)

    def asked(self, authority, fields=(("x-offshoot-context", "v1m.with-db.0.00"),), n=0):
        stream = self.client(self.proxy, n)
        stream.send(request_bytes("CONNECT", authority, authority, fields))
        return stream, stream.read_reply("CONNECT")

    def test_it_leads_to_a_tcp_service(self):
        self.begin_db()
        stream, reply = self.asked("db:5432")
        self.assertEqual((200, []), (reply.status, reply.fields))
        stream.send(b"hello")
        self.assertEqual(b"db: hello", stream.read_to_end())

    def test_it_is_no_open_proxy(self):
        self.begin_db()
        victim = self.provider(echo)
        for authority, status, word in (
            ("localhost:22", 501, "unsupported"),
            (victim.address, 501, "unsupported"),
            ("shop:80", 501, "unsupported"),
            ("example.org:443", 501, "unsupported"),
        ):
            stream, reply = self.asked(authority)
            self.assertEqual((status, word), (reply.status, reply.get("x-offshoot-error")))
            stream.expect_end()
        self.assertEqual(0, victim.accepted)
        _, reply = self.asked("db:5432", fields=())
        self.assertEqual((503, "no-provider"), (reply.status, reply.get("x-offshoot-error")))
        _, reply = self.asked("db:5432", n=1)
        self.assertEqual((501, "unsupported"), (reply.status, reply.get("x-offshoot-error")))

    def test_curl_goes_through_it(self):
        self.begin_db()
        done = subprocess.run(
            ["curl", "-sS", "-N", "--max-time", "10", "--proxytunnel", "--proxy",
             f"http://{self.proxy.address}", "--proxy-header",
             "x-offshoot-context: v1m.with-db.0.00", "telnet://db:5432"],
            input=b"hello", capture_output=True, check=False)  # fmt: skip
        self.assertEqual(b"db: hello", done.stdout, done.stderr)


if __name__ == "__main__":
    unittest.main()
