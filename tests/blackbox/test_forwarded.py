"""What providers are told about who asked: x-forwarded-*, forwarded, x-request-id."""

import re
import unittest

from harness import (
    ONE_SHOP, ProxyCase, connect, eventually, http_script, reply_bytes, request_bytes,
)  # fmt: skip

TRUSTED, UNTRUSTED = 0, 1
NAMES = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
         "forwarded", "x-request-id")  # fmt: skip


class Forwarded(ProxyCase):
    def begin(self, text="", listen=("127.0.0.1:0,trusted", "127.0.0.1:0")):
        self.shop = self.provider(http_script(lambda request: reply_bytes(200, b"ok")))
        conf = self.write("conf.yaml", text)
        log = self.folder / "access.log"
        self.proxy = self.start_proxy(
            ONE_SHOP % self.shop.address, "-c", conf, "--access-log", log, listen=listen)

    def seen(self, listener, fields=(), host="shop.test", before=b""):
        """The fields about the client, as the provider got them: {name: [values]}."""
        with connect(self.proxy.ready["listen"][listener].removeprefix("unix:")) as stream:
            stream.send(before)
            self.assertEqual(200, stream.ask(request_bytes("GET", "/", host, fields)).status)
        request = self.shop.requests[-1]
        return {name: request.all(name) for name in NAMES if request.all(name)}

    def port(self, listener):
        return self.proxy.ready["listen"][listener].rsplit(":", 1)[1]

    def test_an_untrusted_listener_says_what_it_saw(self):
        self.begin()
        seen = self.seen(UNTRUSTED)
        made = seen.pop("x-request-id")
        self.assertRegex(made[0], r"\A[0-9a-f]{32}\Z")
        self.assertEqual(
            {"x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"],
             "x-forwarded-host": ["shop.test"], "x-forwarded-port": [self.port(UNTRUSTED)]},
            seen)  # fmt: skip
        self.assertNotEqual(made, self.seen(UNTRUSTED)["x-request-id"])

    def test_what_an_outsider_says_is_dropped_in_every_spelling_that_counts(self):
        self.begin()
        came = [(name.title(), "evil") for name in NAMES[:-1] for _ in range(2)]
        seen = self.seen(UNTRUSTED, [*came, ("Connection", "x-forwarded-for, x-request-id")])
        self.assertNotIn("evil", str(seen))
        self.assertEqual(["127.0.0.1"], seen["x-forwarded-for"])

    def test_an_id_passes_when_it_is_one(self):
        self.begin()
        for good in ("a", "7f9c-42", "Root=1-67891233-abcdef012345678912345678", "x" * 128):
            self.assertEqual([good], self.seen(UNTRUSTED, [("X-Request-Id", good)])["x-request-id"])
        for bad in ("", "a b", "x" * 129, "a\"b", "a\xe9", "<a>", "a,b"):
            with self.subTest(bad=bad):
                made = self.seen(UNTRUSTED, [("X-Request-Id", bad)])["x-request-id"]
                self.assertRegex(made[0], r"\A[0-9a-f]{32}\Z")
                self.assertEqual(1, len(made))
        twice = [("X-Request-Id", "a"), ("X-Request-Id", "b")]
        self.assertRegex(self.seen(UNTRUSTED, twice)["x-request-id"][0], r"\A[0-9a-f]{32}\Z")

    def test_a_trusted_listener_adds_the_peer_to_what_came_and_makes_nothing(self):
        self.begin()
        self.assertEqual({}, self.seen(TRUSTED))
        came = {"x-forwarded-for": ["198.51.100.9"], "x-forwarded-proto": ["https"],
                "x-forwarded-host": ["a.example"], "x-forwarded-port": ["443"],
                "forwarded": ["for=198.51.100.9;proto=https"], "x-request-id": ["any thing"]}
        seen = self.seen(TRUSTED, [(n, v) for n, values in came.items() for v in values])
        came["x-forwarded-for"] = ["198.51.100.9, 127.0.0.1"]
        came["forwarded"] = ["for=198.51.100.9;proto=https, for=127.0.0.1"]
        self.assertEqual(came, seen)
        two = [("X-Forwarded-For", "a"), ("X-Forwarded-For", ""), ("X-Forwarded-For", "b, c"),
               ("Connection", "x-forwarded-for")]
        self.assertEqual({"x-forwarded-for": ["a, b, c, 127.0.0.1"]}, self.seen(TRUSTED, two))

    def test_rfc_7239_where_it_is_wanted(self):
        self.begin("forwarded: true\n", listen=("[::1]:0,trusted", "[::1]:0", "127.0.0.1:0"))
        self.assertEqual(
            ['for="[::1]";host="shop.test:81";proto=http'],
            self.seen(UNTRUSTED, [("Forwarded", "for=evil")], host="shop.test:81")["forwarded"])
        self.assertEqual(["::1"], self.seen(UNTRUSTED)["x-forwarded-for"])
        self.assertEqual(['for=127.0.0.1;host="shop.test";proto=http'], self.seen(2)["forwarded"])
        self.assertEqual(
            ['for=a, for="[::1]"'], self.seen(TRUSTED, [("Forwarded", "for=a")])["forwarded"])

    def test_a_unix_socket_has_no_address(self):
        path = self.folder / "edge"
        self.begin("forwarded: true\n", listen=("127.0.0.1:0,trusted", f"unix:{path}"))
        seen = self.seen(UNTRUSTED)
        self.assertNotIn("x-forwarded-for", seen)
        self.assertNotIn("x-forwarded-port", seen)
        self.assertEqual(['for=unknown;host="shop.test";proto=http'], seen["forwarded"])

    def test_the_access_log_has_the_id(self):
        self.begin()
        made = self.seen(UNTRUSTED)["x-request-id"][0]
        self.seen(TRUSTED, [("X-Request-Id", 'any "thing"')])
        self.seen(TRUSTED)
        log = self.folder / "access.log"
        lines = eventually(lambda: (t := log.read_text().splitlines()) and len(t) == 3 and t)
        self.assertIn(f' request_id="{made}" ', lines[0])
        self.assertIn(' request_id="any \\"thing\\"" ', lines[1])
        self.assertIn(' request_id="-" ', lines[2])

    def test_a_proxy_header_counts_as_seen(self):
        self.begin(listen=("127.0.0.1:0,trusted,proxy-protocol", "127.0.0.1:0,proxy-protocol"))
        header = b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 8443\r\n"
        seen = self.seen(UNTRUSTED, before=header)
        self.assertEqual(["2001:db8::9"], seen["x-forwarded-for"])
        self.assertEqual(["8443"], seen["x-forwarded-port"])
        came = [("X-Forwarded-For", "198.51.100.9")]
        seen = self.seen(TRUSTED, came, before=header)
        self.assertEqual(["198.51.100.9, 2001:db8::9"], seen["x-forwarded-for"])
        self.proxy.admin_json("/status")
        text = (self.folder / "access.log").read_text()
        self.assertEqual(2, len(re.findall(r"\b2001:db8::9\b", text)), text)


if __name__ == "__main__":
    unittest.main()
