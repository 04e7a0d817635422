"""What replies say to caches, and what preflights are told, at a listener for everybody."""

import unittest

import harness
from graphs import baseline, gateway, graph_of, overlay, service
from harness import fixed, http_script, reply_bytes

GRAPH = graph_of(
    service("shop"),
    gateway({"/": "shop"},
            "overlayAccess: public, pinHosts: [shop.example.com], select: %(select)s"),
    baseline(shop="%(shop)s"),
    overlay("feat-42"),
)

SELECT = (
    '[{host: "*.preview.example.com"}, {header: x-env}, {query: env}, '
    "{cookie: env}, {baggage: sd}, {tracestate: sd}]"
)
VARY = "x-env, cookie, baggage, tracestate"


class Edge(harness.ProxyCase):
    select = SELECT
    listen = ("127.0.0.1:0",)

    def setUp(self):
        super().setUp()
        self.fields = []  # of the provider's next replies
        self.shop = self.provider(
            http_script(lambda _: reply_bytes(body=b"ok", fields=self.fields)))
        graph = GRAPH % {"select": self.select, "shop": self.shop.address}
        self.proxy = self.start_proxy(graph, listen=self.listen)

    def reply(self, *said, fields=(), **options):
        """The reply when the provider says these fields."""
        self.fields = said
        reply = self.ask(self.proxy, fields=fields, **options)
        self.assertEqual(200, reply.status, reply)
        return reply

    def chosen(self, *said):
        return self.reply(*said, fields=[("X-Env", "feat-42")])


class Caches(Edge):
    def test_every_reply_names_what_the_selectors_read(self):
        self.assertEqual([VARY], self.reply().all("vary"))
        self.assertEqual([VARY], self.chosen().all("vary"))

    def test_the_providers_own_vary_stays_beside_ours(self):
        self.assertEqual({VARY, "accept"}, set(self.reply(("Vary", "accept")).all("vary")))

    def test_a_star_needs_nothing_beside_it(self):
        self.assertEqual(["accept, *"], self.reply(("Vary", "accept, *")).all("vary"))

    def test_what_the_default_gave_may_be_kept(self):
        for said in ([], [("Cache-Control", "public, max-age=60")]):
            self.assertEqual([v for _, v in said], self.reply(*said).all("cache-control"))
        host = self.reply(("Cache-Control", "public"), host="feat-42.preview.example.com")
        self.assertEqual(["public"], host.all("cache-control"))

    def test_what_each_carrier_chose_is_private(self):
        for carrier in (
            ("X-Env", "feat-42"),
            ("Cookie", "offshoot=feat-42"),
            ("Cookie", "env=feat-42"),
            ("Baggage", "sd=feat-42"),
            ("Tracestate", "sd=feat-42"),
        ):
            reply = self.reply(fields=[carrier])
            self.assertEqual("private", reply.get("cache-control"), carrier)
        self.assertEqual("private", self.reply(target="/?env=feat-42").get("cache-control"))

    def test_private_wins_over_what_the_provider_says(self):
        for said, expected in (
            (["max-age=60"], ["private", "max-age=60"]),
            (["private, max-age=60"], ["private, max-age=60"]),
            (["PRIVATE"], ["PRIVATE"]),
            (["no-store"], ["no-store"]),
            (["public"], ["private"]),
            (["Public, max-age=60, S-MaxAge=5"], ["max-age=60", "private"]),
            (["s-maxage=5, private"], ["private"]),
            (["public", "max-age=60"], ["max-age=60", "private"]),
            (["public, no-store"], ["no-store"]),
            (['private="set-cookie", max-age=1'], ["private", 'private="set-cookie", max-age=1']),
            (['public, private="a, public, b"'], ['private="a, public, b"', "private"]),
            (["must-understand, no-store"], ["private", "must-understand, no-store"]),
        ):
            with self.subTest(said):
                got = self.chosen(*(("Cache-Control", v) for v in said)).all("cache-control")
                self.assertEqual(sorted(expected), sorted(got))

    def test_fields_for_shared_caches_alone_are_dropped_from_private_replies(self):
        said = [
            ("CDN-Cache-Control", "max-age=60"),
            ("Cloudflare-CDN-Cache-Control", "max-age=60"),
            ("Surrogate-Control", "max-age=60"),
        ]
        kept = self.reply(*said).names()
        dropped = self.chosen(*said).names()
        for name, _ in said:
            self.assertIn(name.lower(), kept)
            self.assertNotIn(name.lower(), dropped)

    def test_what_the_proxy_says_itself_is_never_kept(self):
        for target, fields, status in (
            ("/", [("x-env", "nobody")], 404),
            ("/?env=feat-42", [], 302),
            ("/?env=", [], 302),
            ("/../x", [], 400),
        ):
            reply = self.ask(self.proxy, target, "shop.example.com", fields)
            self.assertEqual((status, "no-store"), (reply.status, reply.get("cache-control")))


class HostsAlone(Edge):
    select = '[{host: "*.preview.example.com"}]'

    def test_a_gateway_that_only_hosts_decide_adds_nothing(self):
        for host in ("localhost", "feat-42.preview.example.com"):
            reply = self.reply(("Cache-Control", "public"), host=host)
            self.assertEqual([], reply.all("vary"))
            self.assertEqual(["public"], reply.all("cache-control"))


class TrustedListener(Edge):
    listen = ("127.0.0.1:0,trusted",)

    def test_a_trusted_listener_adds_nothing(self):
        reply = self.chosen(("Cache-Control", "public"))
        self.assertEqual([], reply.all("vary"))
        self.assertEqual(["public"], reply.all("cache-control"))


ORIGIN = ("Origin", "http://app.example.com")
METHOD = ("Access-Control-Request-Method", "GET")
ASKED = "Access-Control-Request-Headers"
ALLOWED = "Access-Control-Allow-Headers"
ALLOW_ORIGIN = ("Access-Control-Allow-Origin", "*")


class Preflights(Edge):
    def preflight(self, asked, *said, fields=(ORIGIN, METHOD), method="OPTIONS"):
        """(what the provider was asked, what the client was told)"""
        reply = self.reply(*said, fields=[*fields, (ASKED, asked)], method=method)
        return self.shop.requests[-1].all(ASKED), reply.all(ALLOWED)

    def test_goes_to_the_default_environment(self):
        self.preflight("x-env", ALLOW_ORIGIN)
        baggage = self.shop.requests[-1].get("baggage")
        self.assertTrue(baggage.startswith("offshoot=v1m.main."), baggage)

    def test_names_of_selectors_are_answered_by_the_proxy(self):
        for asked, passed, told in (
            ("x-env", [], ["x-env"]),
            ("X-Env,authorization", ["authorization"], ["X-Env"]),
            ("a, baggage,b ,tracestate", ["a, b"], ["baggage, tracestate"]),
            ("a, b", ["a, b"], []),
            ("x-environment", ["x-environment"], []),
        ):
            with self.subTest(asked):
                self.assertEqual((passed, told), self.preflight(asked, ALLOW_ORIGIN))

    def test_the_providers_own_list_stays(self):
        _, told = self.preflight("x-env, a", ALLOW_ORIGIN, (ALLOWED, "a"))
        self.assertEqual(["a", "x-env"], sorted(told))

    def test_nothing_is_allowed_that_the_provider_does_not_allow_at_all(self):
        self.assertEqual(([], []), self.preflight("x-env"))

    def test_what_is_no_preflight_passes_as_it_is(self):
        for fields, method in (
            ((ORIGIN,), "OPTIONS"),
            ((METHOD,), "OPTIONS"),
            ((ORIGIN, METHOD), "GET"),
        ):
            passed, told = self.preflight("x-env", ALLOW_ORIGIN, fields=fields, method=method)
            self.assertEqual((["x-env"], []), (passed, told))

    def test_a_preflight_with_a_parameter_is_forwarded_for_that_request_alone(self):
        reply = self.ask(
            self.proxy, "/?env=feat-42", "shop.example.com", [ORIGIN, METHOD], "OPTIONS"
        )
        self.assertEqual((200, []), (reply.status, reply.all("set-cookie")))
        self.assertEqual("/", self.shop.requests[-1].target)


class Unreachable(harness.ProxyCase):
    def test_refusals_look_alike_whether_or_not_an_environment_exists(self):
        shop = self.provider(fixed())
        graph = GRAPH % {"select": SELECT, "shop": shop.address}
        graph = graph.replace("overlayAccess: public", "overlayAccess: token")
        proxy = self.start_proxy(graph, listen=("127.0.0.1:0",))

        def seen(name, accept, carrier):
            fields = [("Accept", accept), (carrier[0], carrier[1] % name)]
            fields.append(("Traceparent", f"00-{'1' * 32}-{'2' * 16}-01"))
            raw = self.ask(proxy, fields=fields).raw.decode()
            return raw.replace(name, "NAME")

        for accept in ("text/html", "application/json", "text/plain"):
            for carrier in (("x-env", "%s"), ("Cookie", "offshoot=%s")):
                with self.subTest(accept, carrier=carrier):
                    forbidden = seen("feat-42", accept, carrier)
                    self.assertIn("unknown-environment", forbidden)
                    self.assertNotIn("forbidden", forbidden)
                    self.assertEqual(seen("feat-43", accept, carrier), forbidden)


if __name__ == "__main__":
    unittest.main()
