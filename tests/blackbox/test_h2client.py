"""The agent's HTTP/2 client against servers of others and our own proxy."""

import unittest

import harness
from graphs import baseline, gateway, graph_of, service
from harness import free_port, http_script, reply_bytes

MIB = 1 << 20
# nginx says GOAWAY after that many requests on a connection.
SERVER = """
server {
    listen 127.0.0.1:%(port)s http2;
    keepalive_requests 7;
    http2_max_concurrent_streams 3;
    client_max_body_size 8m;
    location / { return 200 "nginx $request_method $http_x_own"; }
    location = /large { alias %(folder)s/large; }
    location = /put { proxy_pass http://%(behind)s; }
}
"""
GRAPH = graph_of(service("shop"), gateway({"/": "shop"}), baseline(shop="%s"))


class ClientCase(harness.ProxyCase):
    def ask(self, target, method, path, n=1, body=0, *fields):
        done = self.run_program("tests/blackbox/h2_ask", target, method, path, n, body, *fields)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout.decode().splitlines()

    def shop(self):
        return self.provider(http_script(lambda r: reply_bytes(
            body=b"z" * MIB if r.target == "/large" else f"{r.method} {len(r.body)}".encode())))


class NginxTest(ClientCase):
    def setUp(self):
        super().setUp()
        port = free_port()
        self.target = f"localhost:{port}"
        (self.folder / "large").write_bytes(b"y" * MIB)
        self.run_nginx(SERVER % {"port": port, "folder": self.folder,
                                 "behind": self.shop().address})

    def test_many_at_once_though_it_takes_three_and_says_goaway_after_seven(self):
        # Those that were on their way as it said so, two at the most of each seven, are lost; those
        # that still waited go on the next connection.
        lines = self.ask(self.target, "GET", "/", 20, 0, "x-own", "v")
        self.assertEqual(21, len(lines))
        whole = "whole status=200 bytes=11 trailers=0 body=nginx GET v"
        lost = "lost status=0 bytes=0 trailers=0 body="
        self.assertLessEqual(set(lines), {whole, lost})
        self.assertLessEqual(lines.count(lost), 2 * 3)
        self.assertGreater(lines.count(whole), 2 * 7)
        self.assertEqual(whole, lines[-1])

    def test_bodies_of_a_mebibyte(self):
        line = f"whole status=200 bytes={MIB} trailers=0 body="
        self.assertEqual({line}, set(self.ask(self.target, "GET", "/large", 3)))
        lines = self.ask(self.target, "PUT", "/put", 2, MIB)
        text = f"PUT {MIB}"
        self.assertEqual({f"whole status=200 bytes={len(text)} trailers=0 body={text}"}, set(lines))


class ProxyTest(ClientCase):
    def test_many_at_once_and_bodies_of_a_mebibyte(self):
        proxy = self.start_proxy(GRAPH % self.shop().address)
        lines = self.ask(proxy.address, "GET", "/", 60)
        self.assertEqual(["whole status=200 bytes=5 trailers=0 body=GET 0"] * 61, lines)
        text = f"PUT {MIB}"
        self.assertEqual({f"whole status=200 bytes={len(text)} trailers=0 body={text}"},
                         set(self.ask(proxy.address, "PUT", "/", 3, MIB)))
        line = f"whole status=200 bytes={MIB} trailers=0 body="
        self.assertEqual({line}, set(self.ask(proxy.address, "GET", "/large", 3)))


if __name__ == "__main__":
    unittest.main()
