"""Tunnels over TLS: WebSocket clients on HTTP/1.1 and HTTP/2, ends by close_notify, PROXY headers
before the handshake, providers with TLS."""

import os
import socket
import ssl
import struct
import subprocess
import threading
import unittest

import http2
from harness import ProxyCase, connect, eventually
from http1 import Stream, split_address
from test_combinations import GRAPH
from test_tunnels import RAW, taking
from test_websocket_h2 import Client2
from websocket import Client, echo

RAW_TLS = GRAPH.replace("providerProtocol: http%(version)d", "tls: {ca: %(ca)s, name: web.test}")


class Tls(ProxyCase):
    zero_gauges = ("offshoot_live_objects", "offshoot_tunnels", "offshoot_requests")

    def begin(self, script, *options, graph=GRAPH, tls=None):
        self.cert = self.folder / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=web.test", "-addext",
             "subjectAltName=DNS:web.test", "-keyout", self.cert, "-out",
             self.folder / "only.pem"], check=True, capture_output=True)  # fmt: skip
        self.ca = self.folder / "only.pem"
        with self.cert.open("ab") as f:
            f.write(self.ca.read_bytes())
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.cert)
        self.shop = self.provider(script, tls=context)
        listen = ",".join(["127.0.0.1:0", "trusted", f"tls={self.cert}", *options])
        graph %= {"version": 1, "address": self.shop.address, "ca": self.ca}
        self.proxy = self.start_proxy(graph, listen=(listen,))

    def secure(self, before=b"", protocols=("http/1.1",), **options):
        sock = socket.create_connection(split_address(self.proxy.address), 20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(before)
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(protocols)
        return self.closes(Stream(context.wrap_socket(
            sock, server_hostname="web.test", suppress_ragged_eofs=False, **options)))

    def raw(self):
        stream = self.secure()
        stream.send(RAW)
        self.assertEqual(101, stream.read_reply().status)
        return stream

    def test_messages_over_both_protocols(self):
        self.begin(echo)
        peer = http2.Client(self.secure(protocols=("h2",)))
        for ws in (Client(self.secure()), Client2(peer), Client2(peer)):
            for size in (1, 125, 70000, 300000):
                payload = os.urandom(size)
                self.assertEqual(payload, ws.ask(payload))
            ws.end()

    def test_an_end_is_a_close_notify(self):
        self.begin(taking(lambda s: s.send(b"w" * 200000)))
        stream = self.raw()
        self.assertEqual(b"w" * 200000, stream.read_to_end())  # ragged would be an error

    def test_a_close_notify_is_an_end(self):
        def script(stream):
            stream.provider.note(stream.read_to_end())

        self.begin(taking(script))
        stream = self.raw()
        stream.send(b"q" * 100000)
        # says close_notify, and waits for the other side's
        plain = stream.sock.unwrap()
        self.closes(plain)
        eventually(lambda: self.shop.requests[-1:] == [b"q" * 100000])
        eventually(lambda: self.proxy.counters().get(
            "offshoot_tunnel_ends_total", reason="closed") == 1)

    def test_an_end_without_it_is_a_reset(self):
        seen = []

        def script(stream):
            try:
                stream.read_exactly(5)
                while stream.sock.recv(100):
                    pass
                seen.append("end")
            except ConnectionResetError:
                seen.append("reset")

        self.begin(taking(script))
        stream = self.raw()
        stream.send(b"hello")
        eventually(lambda: self.proxy.counters().get("offshoot_client_received_bytes_total") > 0
                   and self.proxy.counters().get("offshoot_buffers") == 0)
        stream.sock.shutdown(socket.SHUT_RDWR)
        eventually(lambda: seen == ["reset"])

    def test_a_proxy_header_comes_before_the_handshake(self):
        self.begin(echo, "proxy-protocol")
        one = b"PROXY TCP4 198.51.100.9 203.0.113.1 4711 443\r\n"
        two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12) + bytes(
            [198, 51, 100, 9, 203, 0, 113, 1]) + struct.pack(">HH", 4711, 443)
        for header in (one, two):
            ws = Client(self.secure(header), fields=[("X-Forwarded-For", "a")])
            self.assertEqual(b"x", ws.ask(b"x"))
            self.assertEqual("a, 198.51.100.9", self.shop.requests[-1].get("x-forwarded-for"))
            ws.end()
        # without one it is no handshake either
        self.assertEqual(2, self.proxy.counters().get("offshoot_proxy_headers_total", result="ok"))
        with connect(self.proxy.address) as stream, self.assertRaises((ssl.SSLError, OSError)):
            ssl.create_default_context(cafile=self.ca).wrap_socket(
                stream.sock, server_hostname="web.test")

    def test_header_and_hello_in_one_packet(self):
        self.begin(echo, "proxy-protocol")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=self.ca)
        tls = context.wrap_bio(incoming, outgoing, server_hostname="web.test")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        stream = self.client(self.proxy)
        stream.send(b"PROXY UNKNOWN\r\n" + outgoing.read())
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = stream.sock.recv(65536)
                self.assertTrue(data)
                incoming.write(data)
        self.assertIn(tls.version(), ("TLSv1.3", "TLSv1.2"))

    def test_a_provider_with_tls(self):
        self.begin(echo, graph=RAW_TLS, tls=True)
        ws = Client(self.secure())
        payload = os.urandom(200000)
        self.assertEqual(payload, ws.ask(payload))
        ws.end()

    def test_an_end_reaches_a_provider_with_tls(self):
        done = threading.Event()

        def script(stream):
            stream.provider.note(stream.read_to_end())
            stream.send(b"got it all")
            done.wait(20)

        self.begin(taking(script), graph=RAW_TLS, tls=True)
        stream = self.raw()
        stream.send(b"q" * 100000)
        sender = threading.Thread(target=self.unwrap, args=(stream,))
        sender.start()
        eventually(lambda: self.shop.requests[-1:] == [b"q" * 100000])
        done.set()
        sender.join()

    @staticmethod
    def unwrap(stream):
        try:
            stream.sock.unwrap()
        except (ssl.SSLError, OSError):
            pass  # Python takes no data after its own close_notify


if __name__ == "__main__":
    unittest.main()
