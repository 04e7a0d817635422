"""Share links: a link, a redirect, a cookie, and the way out again. With curl as the browser."""

import re
import subprocess
import unittest

import harness
from graphs import baseline, gateway, graph_of, overlay, service
from harness import eventually, http_script, reply_bytes, request_bytes

GRAPH = graph_of(
    service("shop"),
    gateway({"/": "shop"}, "overlayAccess: public, pinHosts: [shop.example.com], "
            "select: [{header: x-env}, {query: env}]"),
    baseline(shop="%(main)s"),
)

PREVIEW = graph_of(GRAPH, overlay("feat-42", shop="%(preview)s"))
EXPIRED = graph_of(
    GRAPH, overlay("feat-42", "expires: 2020-01-01T00:00:00Z", shop="%(preview)s"))
PINNED = "shop.example.com"
ATTRIBUTES = "Path=/; HttpOnly; SameSite=Lax"
CLEARED = f"offshoot=; Max-Age=0; {ATTRIBUTES}"


class ShareLinks(harness.ProxyCase):
    listen = ("127.0.0.1:0",)

    def setUp(self):
        super().setUp()
        names = {}
        for name in ("main", "preview"):
            script = http_script(
                lambda r, name=name: reply_bytes(body=f"{name} {r.target}".encode()))
            names[name] = self.provider(script)
        self.main, self.preview = names["main"], names["preview"]
        self.addresses = {n: p.address for n, p in names.items()}
        self.graph = self.write("graph.yaml", PREVIEW % self.addresses)
        self.log = self.folder / "access.log"
        self.proxy = self.start_proxy(
            self.graph, "--access-log", self.log, listen=self.listen
        )

    def asked(self, target="/", host=PINNED, fields=(), method="GET"):
        return self.ask(self.proxy, target, host, fields, method)

    def rewrite(self, text):
        before = self.proxy.counters().get("offshoot_graph_loads_total")
        self.graph.write_text(text % self.addresses)
        eventually(lambda: self.proxy.counters().get("offshoot_graph_loads_total") > before)

    def assert_link(self, reply, location, cookie):
        self.assertEqual(302, reply.status, reply)
        self.assertEqual(location, reply.get("location"))
        self.assertEqual(cookie, reply.get("set-cookie"))
        self.assertEqual("no-store", reply.get("cache-control"))
        self.assertEqual(b"", reply.body)

    def curl(self, target, *options, host=PINNED):
        port = self.proxy.address.rsplit(":", 1)[1]
        done = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--max-time", "10",
             "--resolve", f"{host}:{port}:127.0.0.1",
             "-b", self.folder / "jar", "-c", self.folder / "jar",
             *options, f"http://{host}:{port}{target}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def jar(self):
        """{name: value} of the cookies that curl has kept."""
        lines = (self.folder / "jar").read_text().splitlines()
        rows = [re.sub("^#HttpOnly_", "", line).split("\t") for line in lines]
        return {row[5]: row[6] for row in rows if len(row) == 7}


class WithCurl(ShareLinks):
    def test_a_link_leads_into_the_preview_and_the_cookie_keeps_it(self):
        self.assertEqual("main /", self.curl("/"))
        self.assertEqual("preview /cart?a=1", self.curl("/cart?a=1&env=feat-42", "-L"))
        self.assertEqual({"offshoot": "feat-42"}, self.jar())
        self.assertEqual("preview /next", self.curl("/next"))
        self.assertEqual("main /", self.curl("/", host="other.example.com"))

    def test_an_empty_parameter_leaves_the_preview(self):
        self.curl("/?env=feat-42", "-L")
        self.assertEqual("main /cart", self.curl("/cart?env=", "-L"))
        # That curl kept the cookie of the file for a request that follows; this one only leaves.
        self.assertTrue(self.curl("/cart?env=", "-w", "%{redirect_url}").endswith("/cart"))
        self.assertEqual({}, self.jar())
        self.assertEqual("main /", self.curl("/"))

    def test_a_deleted_preview_locks_nobody_out(self):
        self.curl("/?env=feat-42", "-L")
        self.rewrite(GRAPH)
        page = self.curl("/", "-H", "Accept: text/html", "-w", "%{http_code}")
        self.assertTrue(page.endswith("404"))
        self.assertIn("feat-42", page)
        self.assertIn('<a href="/?env=">', page)
        self.assertEqual({}, self.jar())
        self.assertEqual("main /", self.curl("/"))
        counted = self.proxy.counters().get("offshoot_share_cookies_expired_total")
        self.assertEqual(1, counted)

    def test_an_expired_preview_expires_its_cookie_and_says_when(self):
        self.curl("/?env=feat-42", "-L")
        self.rewrite(EXPIRED)
        page = self.curl("/", "-H", "Accept: text/html", "-w", "%{http_code}")
        self.assertTrue(page.endswith("410"))
        self.assertIn("2020-01-01T00:00:00Z", page)
        self.assertEqual({}, self.jar())

    def test_another_link_replaces_the_first(self):
        self.curl("/?env=feat-42", "-L")
        self.assertEqual("main /", self.curl("/?env=main", "-L"))
        self.assertEqual({"offshoot": "main"}, self.jar())

    def test_http_1_0_works(self):
        self.assertEqual("preview /a", self.curl("/a?env=feat-42", "-L", "--http1.0"))
        self.assertEqual("main /a", self.curl("/a?env=", "-L", "--http1.0"))

    def test_a_path_of_two_slashes_stays_on_this_host(self):
        self.assertEqual(
            "preview //evil.example/x", self.curl("//evil.example/x?env=feat-42", "-L"))


class Answers(ShareLinks):
    def test_the_redirect_names_the_same_url_without_the_parameter(self):
        cookie = f"offshoot=feat-42; {ATTRIBUTES}"
        for asked, location in (
            ("/?env=feat-42", "/"),
            ("/a/b?env=feat-42", "/a/b"),
            ("/a?x=1&env=feat-42&y=%2F", "/a?x=1&y=%2F"),
            ("/a?env=feat-42&env=feat-42", "/a"),
            ("/a?%65nv=feat%2D42&x", "/a?x"),
            ("/a%2e%2F?env=feat-42", "/a%2e%2F"),
            ("http://shop.example.com/a?env=feat-42", "/a"),
        ):
            with self.subTest(asked):
                self.assert_link(self.asked(asked), location, cookie)
        self.assertEqual([], self.main.requests + self.preview.requests)

    def test_never_leads_to_another_host(self):
        for asked, location in (
            ("//evil.example?env=feat-42", "/.//evil.example"),
            ("///evil.example/?env=feat-42", "/.///evil.example/"),
            ("//evil.example/?env=", "/.//evil.example/"),
            ("/.//evil.example/?env=", "/.//evil.example/"),
            ("/%2F/evil.example/?env=", "/%2F/evil.example/"),
        ):
            with self.subTest(asked):
                reply = self.asked(asked)
                self.assertEqual(302, reply.status)
                self.assertEqual(location, reply.get("location"))
        for asked in (r"/\evil.example?env=feat-42", "/../x?env=feat-42", "/\t/x?env="):
            with self.subTest(asked):
                self.assertEqual(400, self.asked(asked).status)

    def test_host_is_compared_without_case_port_and_dot(self):
        for host in ("SHOP.example.com", "shop.example.com:8080", "shop.example.com."):
            self.assertEqual(302, self.asked("/?env=feat-42", host).status, host)
        for host in ("shop.example.com.evil", "a.shop.example.com", "shop"):
            reply = self.asked("/?env=feat-42", host)
            self.assertEqual(b"preview /", reply.body, host)
            self.assertEqual([], reply.all("set-cookie"))

    def test_head_is_answered_like_get_and_other_methods_are_forwarded(self):
        self.assert_link(
            self.asked("/?env=feat-42", method="HEAD"), "/", f"offshoot=feat-42; {ATTRIBUTES}"
        )
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"):
            reply = self.asked("/x?env=feat-42", method=method)
            self.assertEqual(b"preview /x", reply.body, method)
            self.assertEqual([], reply.all("set-cookie"))

    def test_a_refused_name_sets_no_cookie(self):
        for value in ("nobody", "Feat-42", "%3Cscript%3E", "a%0D%0Ab", "feat-42;x"):
            reply = self.asked(f"/?env={value}", fields=[("Accept", "text/html")])
            self.assertEqual(404, reply.status, value)
            self.assertEqual([], reply.all("set-cookie") + reply.all("location"))
            self.assertNotIn(b"<script>", reply.body)
        self.assertEqual(400, self.asked("/?env=a&env=b").status)
        self.assertEqual(400, self.asked("/?env=%zz").status)

    def test_an_empty_parameter_elsewhere_is_no_name(self):
        reply = self.asked("/?env=", host="other.example.com")
        self.assertEqual(
            (404, "unknown-environment"), (reply.status, reply.get("x-offshoot-error")))
        self.assertEqual([], reply.all("set-cookie"))
        self.assertEqual(404, self.asked("/?env=", method="POST").status)

    def test_the_parameter_beats_the_cookie_and_a_selector_before_beats_both(self):
        cookie = ("Cookie", "offshoot=feat-42")
        self.assertEqual(b"preview /", self.asked(fields=[cookie]).body)
        self.assertEqual(b"main /", self.asked("/?env=main", method="POST", fields=[cookie]).body)
        self.assertEqual(b"main /", self.asked(fields=[cookie, ("x-env", "main")]).body)
        reply = self.asked("/?env=feat-42", fields=[("x-env", "main")])
        self.assertEqual((200, b"main /"), (reply.status, reply.body))

    def test_two_cookies_of_different_values_are_a_fault_that_expires_them(self):
        for fields in (
            [("Cookie", "offshoot=feat-42; offshoot=main")],
            [("Cookie", "offshoot=feat-42"), ("Cookie", "a=b; offshoot=main")],
        ):
            reply = self.asked(fields=fields)
            self.assertEqual((400, "context"), (reply.status, reply.get("x-offshoot-error")))
            self.assertEqual(CLEARED, reply.get("set-cookie"))
        same = [("Cookie", "offshoot=feat-42; offshoot=feat-42")]
        self.assertEqual(b"preview /", self.asked(fields=same).body)

    def test_only_the_cookie_that_led_to_a_refusal_is_expired(self):
        gone = ("Cookie", "offshoot=nobody")
        self.assertEqual(CLEARED, self.asked(fields=[gone]).get("set-cookie"))
        reply = self.asked(fields=[gone, ("x-env", "nobody-2")])
        self.assertEqual((404, []), (reply.status, reply.all("set-cookie")))
        reply = self.asked("/?env=nobody-2", fields=[gone])
        self.assertEqual((404, []), (reply.status, reply.all("set-cookie")))

    def test_no_provider_sees_the_cookie_under_either_name(self):
        cookies = "a=1; offshoot=feat-42; __Host-offshoot=main; b=2"
        self.asked(fields=[("Cookie", cookies)])
        self.asked(fields=[("Cookie", "__Host-offshoot=feat-42")])
        self.asked(fields=[("Cookie", "offshoot=main"), ("x-env", "main")])
        self.assertEqual("a=1; b=2", self.preview.requests[0].get("cookie"))
        for request in self.main.requests:
            self.assertEqual([], request.all("cookie"))

    def test_the_connection_goes_on_after_a_link_and_its_body(self):
        with self.client(self.proxy) as stream:
            link = request_bytes("GET", "/?env=feat-42", PINNED, body=b"ignored")
            self.assertEqual(302, stream.ask(link).status)
            self.assertEqual(b"main /", stream.ask(request_bytes(host=PINNED)).body)

    def test_links_are_counted_and_named_in_the_log_without_the_parameter(self):
        before = self.proxy.counters()
        self.asked("/a?env=feat-42&x=1")
        self.asked("/b?env=")
        changes = self.proxy.counters().since(before)
        self.assertEqual(1, changes['offshoot_share_links_total{answer="link"}'])
        self.assertEqual(1, changes['offshoot_share_links_total{answer="leave"}'])
        text = eventually(lambda: (t := self.log.read_text()).count("\n") >= 2 and t)
        first, second = text.splitlines()[:2]
        self.assertIn(' 302 "GET" "shop.example.com" "/a?x=1" ', first)
        self.assertIn(" class=share-link ", first)
        self.assertIn(' "/b" ', second)
        self.assertIn(" class=share-leave ", second)

    def test_a_refusal_before_the_parameter_is_looked_for_logs_no_query(self):
        early = (
            [("Connection", "upgrade"), ("Upgrade", "web socket")],
            [("Expect", "a-miracle")],
            [("Via", ", ".join(["1.1 offshoot"] * 17))],
        )
        for fields in early:
            self.assertGreaterEqual(self.asked("/a?x=1&env=v1e.secret", fields=fields).status, 400)
        text = eventually(lambda: (t := self.log.read_text()).count("\n") >= 3 and t)
        self.assertEqual(3, text.count(' "/a" '), text)
        self.assertNotIn("secret", text)


class Explained(ShareLinks):
    def explained(self, *args):
        admin = self.proxy.ready["admin"][0]
        done = self.run_program(
            "offshootctl", "--socket", admin, "explain", "--host", PINNED, *args
        )
        return done.stdout.decode()

    def test_explain_says_that_the_cookie_chose(self):
        text = self.explained("--header", "cookie: offshoot=feat-42")
        self.assertIn("rule selector, from query:env by its cookie\n", text)
        text = self.explained("--path", "/?env=feat-42", "--header", "cookie: offshoot=main")
        self.assertIn("rule selector, from query:env\n", text)


class Pages(ShareLinks):
    def page(self, target="/", **options):
        fields = [*options.pop("fields", ()), ("Accept", "text/html,*/*;q=0.8")]
        return self.asked(target, fields=fields, **options)

    def test_says_what_happened_and_loads_nothing(self):
        reply = self.page("/?env=nobody")
        text = reply.body.decode()
        self.assertEqual("text/html; charset=utf-8", reply.get("content-type"))
        self.assertEqual(
            "default-src 'none'; style-src 'unsafe-inline'", reply.get("content-security-policy")
        )
        self.assertEqual("nosniff", reply.get("x-content-type-options"))
        self.assertEqual("no-store", reply.get("cache-control"))
        self.assertIn("<b>nobody</b>, named by the parameter <code>env</code> of the link", text)
        self.assertIn("<code>unknown-environment</code>", text)
        self.assertRegex(text, r"for support: <code>[0-9a-f]{32}</code>")
        self.assertNotIn("/?env=", text)

    def test_echoes_no_value_that_is_no_name(self):
        for value in ("<b>x</b>", "A", "x" * 64, "-x", "a'b"):
            reply = self.page(fields=[("x-env", value)])
            self.assertEqual(404, reply.status)
            self.assertNotIn(value.encode(), reply.body)

    def test_names_the_header_that_chose(self):
        page = self.page(fields=[("x-env", "no")])
        self.assertIn(b"by the header <code>x-env</code>.", page.body)


class TrustedListener(ShareLinks):
    listen = ("127.0.0.1:0,trusted",)

    def test_a_trusted_listener_makes_no_links_and_reads_no_cookie(self):
        reply = self.asked("/?env=feat-42")
        self.assertEqual((200, b"preview /"), (reply.status, reply.body))
        self.assertEqual([], reply.all("set-cookie") + reply.all("vary"))
        cookie = ("Cookie", "offshoot=feat-42")
        self.assertEqual(b"main /", self.asked(fields=[cookie]).body)
        self.assertEqual("offshoot=feat-42", self.main.requests[0].get("cookie"))


if __name__ == "__main__":
    unittest.main()
