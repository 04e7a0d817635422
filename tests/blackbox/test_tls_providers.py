"""TLS to providers: what is verified, by what, and what a broken end means."""

import socket
import ssl
import threading
import unittest

from certs import Authority, server_context
from graphs import baseline, gateway, graph_of, service
from harness import (Incomplete, ProxyCase, connect, eventually, fixed, http_script, reply_bytes,
                     request_bytes)

GET = request_bytes("GET", "/", "a.test")
GRAPH = graph_of(
    service("shop", "%(protocol)stls: {%(tls)s}, policy: {retries: {max: 0}}"),
    service("other", "tls: {%(other)s}, policy: {retries: {max: 0}}"),
    gateway({"/": "shop", "/other": "other"}),
    baseline(shop="%(at)s", other="%(at)s"),
)


class Providers(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def setUp(self):
        super().setUp()
        self.ca = Authority(self.folder)

    def begin(self, tls="", context=None, script=None, at=None, other="insecure: true", flags=(),
              protocol="", pair=None):  # fmt: skip
        pair = pair or self.ca.issue("shop", "DNS:shop.test,DNS:localhost,IP:127.0.0.1")
        self.shop = self.provider(script or fixed(), tls=context or server_context(pair))
        graph = GRAPH % {"tls": tls, "other": other, "protocol": protocol,
                         "at": (at or "127.0.0.1:%d") % self.shop.port}  # fmt: skip
        self.proxy = self.start_proxy(graph, *flags)

    @property
    def trusted(self):
        return f"ca: {self.ca.cert}"

    def good(self, target="/"):
        reply = self.ask(self.proxy, target)
        self.assertEqual((200, b"ok"), (reply.status, reply.body))

    def refused(self, reason, target="/"):
        count = self.proxy.counters
        before = count().get("offshoot_provider_tls_failures_total", reason=reason)
        reply = self.ask(self.proxy, target)
        self.assertEqual((502, "connect"), (reply.status, reply.get("x-offshoot-error")))
        self.assertEqual(before + 1,
                         count().get("offshoot_provider_tls_failures_total", reason=reason))
        self.assertGreaterEqual(count().get("offshoot_provider_errors_total", reason="tls"), 1)
        self.proxy.line(rf"TLS with provider .* failed \({reason}\)", stream="stderr")


class Verified(Providers):
    def test_by_the_name_that_the_service_says(self):
        self.begin(f"name: shop.test, {self.trusted}")
        for _ in range(3):
            self.good()
        self.assertEqual(1, self.proxy.counters().get("offshoot_provider_tls_handshakes_total"))

    def test_by_the_endpoints_address(self):
        self.begin(self.trusted)
        self.good()

    def test_by_the_endpoints_host_name_which_is_sent(self):
        names = []
        pair = self.ca.issue("local", "DNS:localhost")
        context = server_context(pair)
        context.sni_callback = lambda sock, name, _: names.append(name)
        self.begin(self.trusted, context, at="localhost:%d")
        self.good()
        self.assertEqual({"localhost"}, set(names))

    def test_another_name_is_refused_and_gets_no_request(self):
        self.begin(f"name: else.test, {self.trusted}")
        self.refused("wrong-name")
        self.assertEqual([], self.shop.requests)

    def test_a_common_name_is_no_name(self):
        self.begin(f"name: shop, {self.trusted}", pair=self.ca.issue("shop", "DNS:x.test"))
        self.refused("wrong-name")

    def test_an_unknown_authority_is_refused(self):
        self.begin("name: shop.test")
        self.refused("unknown-ca")

    def test_an_expired_certificate_is_refused(self):
        self.begin(f"name: shop.test, {self.trusted}",
                   pair=self.ca.issue("old", "DNS:shop.test", days=-1))  # fmt: skip
        self.refused("expired")

    def test_authorities_of_the_proxy_and_a_reload(self):
        other = Authority(self.folder, "other")
        path = self.folder / "trusted.pem"
        path.write_bytes(other.cert.read_bytes())
        self.begin("name: shop.test", flags=("--provider-ca", path))
        self.refused("unknown-ca")
        path.write_bytes(self.ca.cert.read_bytes())
        self.proxy.admin("/reload", "POST")

        def taken():
            return self.ask(self.proxy).status == 200

        eventually(taken, what="the other authority")

    def test_authorities_that_cannot_be_read(self):
        self.begin(f"name: shop.test, ca: {self.folder}/none.pem")
        self.refused("unknown-ca")

    def test_insecure_takes_any_certificate(self):
        self.begin("insecure: true", pair=self.ca.issue("x", "DNS:x.test", days=-1))
        self.good()

    def test_a_connection_serves_only_the_name_it_was_verified_for(self):
        self.begin(f"name: shop.test, {self.trusted}", other=f"name: else.test, {self.trusted}")
        self.good()
        self.refused("wrong-name", "/other")
        self.good()
        self.assertEqual(2, len(self.shop.requests))

    def test_the_provider_may_ask_for_a_certificate(self):
        pair = self.ca.issue("shop", "DNS:shop.test")
        own = self.ca.issue("proxy")
        context = server_context(pair, self.ca.cert)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # where it is told in the handshake
        self.begin(f"name: shop.test, {self.trusted}", context)
        self.refused("alert")
        self.begin(f"name: shop.test, {self.trusted}", context,
                   flags=("--provider-cert", own.cert, "--provider-key", own.key))  # fmt: skip
        self.good()


class Faults(Providers):
    def test_a_provider_without_tls(self):
        self.begin(self.trusted)
        plain = self.provider(lambda stream: stream.send(reply_bytes(400)))
        graph = GRAPH % {"tls": self.trusted, "other": "insecure: true", "protocol": "",
                         "at": plain.address}  # fmt: skip
        self.proxy = self.start_proxy(graph)
        self.refused("not-tls")

    def test_a_provider_that_says_nothing(self):
        silent = socket.create_server(("127.0.0.1", 0))
        self.closes(silent)
        graph = GRAPH % {"tls": self.trusted, "other": "insecure: true", "protocol": "",
                         "at": "127.0.0.1:%d" % silent.getsockname()[1]}  # fmt: skip
        self.write("conf.yaml", "timeouts: {connect: 300ms}\n")
        self.proxy = self.start_proxy(graph, "-c", "conf.yaml")
        reply = self.ask(self.proxy)
        self.assertEqual((502, "connect"), (reply.status, reply.get("x-offshoot-error")))

    def test_a_reply_cut_short_is_never_whole(self):
        """The reply's length is its end. Anybody on the way can make one; not a close_notify."""
        honest, seen = threading.Event(), threading.Event()

        def script(stream):
            stream.provider.note(stream.read_request())
            stream.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            seen.wait(20)
            if honest.is_set():
                stream.sock.unwrap()
            else:
                stream.sock.shutdown(socket.SHUT_RDWR)

        self.begin(self.trusted, script=script)
        with connect(self.proxy.address) as stream:
            stream.send(GET)
            self.assertEqual(200, stream.read_reply(body=False).status)
            seen.set()
            with self.assertRaises(Incomplete):
                stream.read_exactly(1 << 20)
            self.assertNotIn(b"0\r\n\r\n", stream.buffer)
        honest.set()
        self.assertEqual(b"half", self.ask(self.proxy).body)

    def test_large_bodies_both_ways(self):
        self.begin(self.trusted, script=http_script(lambda r: reply_bytes(200, r.body)))
        body = bytes(range(256)) * (16 << 10)  # 4 MiB
        got = []
        stream = self.client(self.proxy)
        stream.timeout = 120
        reader = threading.Thread(target=lambda: got.append(stream.read_reply("POST")))
        reader.start()
        stream.send(request_bytes("POST", "/", "a.test", body=body))
        reader.join()
        self.assertEqual(body, got[0].body)

    def test_http2_must_be_agreed_on(self):
        self.begin(self.trusted, protocol="providerProtocol: http2, ")
        reply = self.ask(self.proxy)
        self.assertEqual((502, "connect"), (reply.status, reply.get("x-offshoot-error")))
        self.assertGreaterEqual(
            self.proxy.counters().get("offshoot_provider_tls_failures_total",
                                      reason="no-protocol"), 1)  # fmt: skip
        self.assertEqual([], self.shop.requests)


if __name__ == "__main__":
    unittest.main()
