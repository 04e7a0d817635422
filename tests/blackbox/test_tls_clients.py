"""Client certificates: who is let in, and which environments a name in one opens."""

import socket
import ssl
import subprocess
import unittest

from certs import Authority
from graphs import baseline, gateway, graph_of, overlay, service
from harness import ProxyCase, fixed, request_bytes
from http1 import split_address
from test_tls import FAILURES, TlsCase

SUBJECTS = 'access: {subjects: ["spiffe://shop/tester", "ops@shop.test"]}'
SELECT = 'select: [{host: "*.test"}, {header: x-env}]'
GRAPH = graph_of(
    service("shop"),
    gateway({"/": "shop"}, SELECT),
    baseline(shop="%(main)s"),
    overlay("secret", SUBJECTS, shop="%(secret)s"),
    overlay("deeper", 'access: {subjects: ["spiffe://shop/tester"]}', parent="secret"),
)


class Matrix(TlsCase):
    def test_who_is_let_in(self):
        other = Authority(self.folder, "other")
        good = self.ca.issue("good", "URI:spiffe://shop/tester")
        bad = other.issue("bad", "URI:spiffe://shop/tester")
        expired = self.ca.issue("expired", "URI:spiffe://shop/tester", days=-1)
        for mode in ("optional", "required"):
            self.begin(f"client-ca={self.ca.cert}", f"client-cert={mode}")
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(mode=mode, version=version):
                    self.good(own=good, version=version)
                    self.refused("unknown-ca", own=bad, version=version)
                    self.refused("expired", own=expired, version=version)
                    if mode == "optional":
                        self.good(version=version)
                    else:
                        self.refused("no-certificate", version=version)

    def test_a_ticket_opens_no_listener_that_asks_for_more(self):
        pair, good = self.ca.issue("a", "DNS:a.test"), self.ca.issue("good")
        self.shop = self.provider()
        asks = f"127.0.0.1:0,{pair.option},client-ca={self.ca.cert}"
        self.proxy = self.start_proxy(GRAPH % {"main": self.shop.address, "secret": "127.0.0.1:1"},
                                      listen=(f"127.0.0.1:0,{pair.option}", asks))  # fmt: skip
        context = self.ca.client_context(version=ssl.TLSVersion.TLSv1_2)
        session = self.open(context=context).sock.session
        self.proxy.ready["listen"] = self.proxy.ready["listen"][::-1]
        with self.assertRaises(ssl.SSLError):
            sock = socket.create_connection(split_address(self.proxy.ready["listen"][0]), 20)
            context.wrap_socket(self.closes(sock), server_hostname="a.test", session=session)
        self.failed("no-certificate")
        self.assertTrue(good)

    def test_required_certificates_stand_for_from(self):
        """A trusted listener off loopback needs to know who comes."""
        pair = self.ca.issue("a", "DNS:a.test")
        path = self.write("graph.yaml", GRAPH % {"main": "127.0.0.1:1", "secret": "127.0.0.1:1"})
        for option, status in ((f"client-ca={self.ca.cert}", 0),
                               (f"client-ca={self.ca.cert},client-cert=optional", 1)):
            done = self.run_program(
                "offshoot-proxy", "--graph", path, "--check-config", "--listen",
                f"0.0.0.0:0,trusted,{pair.option},{option}")  # fmt: skip
            self.assertEqual(status, done.returncode, done.stderr)


class Subjects(ProxyCase):
    zero_gauges = TlsCase.zero_gauges

    def test_names_open_environments(self):
        ca = Authority(self.folder)
        pair = ca.issue("a", "DNS:main.test,DNS:secret.test,DNS:deeper.test,DNS:a.b.test")
        main, secret = self.provider(fixed(b"main")), self.provider(fixed(b"secret"))
        self.proxy = self.start_proxy(
            GRAPH % {"main": main.address, "secret": secret.address},
            listen=(f"127.0.0.1:0,{pair.option},client-ca={ca.cert},client-cert=optional",))
        people = {name: ca.issue(name, names) if names else None for name, names in (
            ("nobody", None), ("tester", "URI:spiffe://shop/tester"),
            ("ops", "email:ops@shop.test,URI:spiffe://shop/ops"),
            ("near", "URI:spiffe://shop/tester2,DNS:spiffe.shop.tester"))}  # fmt: skip
        opens = {"nobody": (), "tester": ("secret", "deeper"), "ops": ("secret",), "near": ()}
        for who, own in people.items():
            context = ca.client_context(own)
            for env in ("main", "secret", "deeper"):
                for host, fields in ((f"{env}.test", ()), ("a.b.test", [("X-Env", env)])):
                    stream = self.client(self.proxy, tls=context, server_name=host)
                    reply = stream.ask(request_bytes("GET", "/", host, fields))
                    allowed = env == "main" or env in opens[who]
                    with self.subTest(who=who, env=env, host=host):
                        if allowed:
                            self.assertEqual(b"main" if env == "main" else b"secret", reply.body)
                        else:
                            self.assertEqual(404, reply.status)
                            self.assertEqual("unknown-environment", reply.get("x-offshoot-error"))
                        if allowed and env != "main":
                            self.assertEqual("private", reply.get("cache-control"))
        self.assertEqual(0, self.proxy.counters().get(FAILURES, reason="unknown-ca"))

    def test_http2_streams_have_the_names_of_their_connection(self):
        ca = Authority(self.folder)
        pair, own = ca.issue("a", "DNS:secret.test"), ca.issue("tester", "URI:spiffe://shop/tester")
        secret = self.provider(fixed(b"secret"))
        proxy = self.start_proxy(
            GRAPH % {"main": "127.0.0.1:1", "secret": secret.address},
            listen=(f"127.0.0.1:0,{pair.option},client-ca={ca.cert},client-cert=optional",))
        host, port = split_address(proxy.address)
        command = ["curl", "-sS", "--http2", "--cacert", ca.cert, "--resolve",
                   f"secret.test:{port}:{host}", "-w", " %{http_code} %{http_version}",
                   f"https://secret.test:{port}/"]  # fmt: skip
        for more, wanted in (((), " 404 2"), (("--cert", own.cert, "--key", own.key),
                                              "secret 200 2")):  # fmt: skip
            done = subprocess.run([*command, *more], capture_output=True, check=True, timeout=30)
            self.assertTrue(done.stdout.decode().endswith(wanted), done.stdout)


class ShareLinks(TlsCase):
    def test_the_cookie_is_one_that_only_the_host_can_set(self):
        pair = self.ca.issue("a", "DNS:a.test")
        main, feat = self.provider(fixed(b"main")), self.provider(fixed(b"feat"))
        text = GRAPH.replace(SUBJECTS, "access: public")
        text = text.replace(SELECT, "select: [{query: env}], pinHosts: [a.test]")
        self.proxy = self.start_proxy(text % {"main": main.address, "secret": feat.address},
                                      listen=(f"127.0.0.1:0,{pair.option}",))  # fmt: skip
        stream = self.open()
        reply = stream.ask(request_bytes("GET", "/?env=secret", "a.test"))
        self.assertEqual(302, reply.status)
        cookie = reply.get("set-cookie")
        self.assertEqual("__Host-offshoot=secret; Secure; Path=/; HttpOnly; SameSite=Lax", cookie)
        for fields, body in (([("Cookie", "__Host-offshoot=secret")], b"feat"),
                             ([("Cookie", "offshoot=secret")], b"main")):  # fmt: skip
            self.assertEqual(body, stream.ask(request_bytes("GET", "/", "a.test", fields)).body)
            for request in main.requests + feat.requests:
                self.assertIsNone(request.get("cookie"))


if __name__ == "__main__":
    unittest.main()
