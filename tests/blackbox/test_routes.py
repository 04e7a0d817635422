"""What routes do to requests and replies, and the limits of a gateway, as a client and a provider
see it, with HTTP/1 and HTTP/2 on either side; a graph that changes them while it is served."""

import threading
import unittest
from urllib.parse import quote

from graphs import baseline, graph_of, overlay, service
from harness import AgentCase, ProxyCase, eventually
from test_combinations import Client1, Client2, Side1, Side2

GATEWAY = """\
apiVersion: offshoot.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  defaultEnvironment: main
  select: [{header: x-env}]
  limits: {%(limits)s}
  routes:
    - {path: /, service: web}
    - path: /api
      service: web
      stripPrefix: true
      rewriteHost: web.internal:8080
      requestHeaders: {set: {X-Set: a b, accept: text/css}, remove: [Cookie, X-Gone]}
      replyHeaders: {set: {x-frame-options: DENY, server: ours}, remove: [X-Powered-By]}
    - {path: /v1, service: web, replacePrefix: /v2}
    - {path: /up, service: web, maxBody: %(cap)s}
    - {path: /hasty, service: web, timeout: 300ms}
    - {path: /idle, service: web, idleTimeout: 300ms}
    - {path: /secret, service: web, requireHttps: true}
    - {path: /old, replacePrefix: /new, redirect: {status: 307, host: new.example, port: 81}}
    - {path: /away, redirect: {location: "https://example.com/x"}}
"""
GRAPH = graph_of(
    service("web", "providerProtocol: http%(version)d"),
    baseline(web="%(address)s"),
    overlay("feat", "access: public"),
    GATEWAY,
)
CAP = 100_000


def hang_up(client):
    (client.stream if isinstance(client, Client1) else client.peer).close()


class Routes:
    """What must hold whatever is spoken; the classes below say what is."""

    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, handle=None, limits="", *flags):
        self.seen = []
        self.handle = handle or (lambda side: side.answer())
        self.web = self.provider(self.side.script(self.note))
        self.values = {"version": self.side.version, "address": self.web.address, "cap": CAP,
                       "limits": limits}  # fmt: skip
        listen = ("127.0.0.1:0", "127.0.0.1:0,trusted")
        self.proxy = self.start_proxy(GRAPH % self.values, *flags, listen=listen)
        self.client = self.client_class(self, self.proxy.address)

    def note(self, side):
        self.seen.append(side.seen)
        return self.handle(side)

    def ask(self, *args, client=None, **kwargs):
        client = client or self.client
        client.begin(*args, **kwargs)
        return client.finish()

    def new_client(self):
        return self.client_class(self, self.proxy.address)

    def assert_refused(self, got, status, word):
        self.assertEqual((status, word), (got.status, got.get("x-offshoot-error")), got)

    def counted(self, name, n, **labels):
        eventually(lambda: self.proxy.counters().get(name, **labels) == n, what=f"{n} {name}")

    # -- paths and heads

    def test_paths_are_forwarded_as_the_route_says(self):
        self.begin()
        for path, want in (("/api/x?q=/api", "/x?q=/api"), ("/api", "/"), ("/api/", "/"),
                           ("/%61pi/%7e%2f", "/~%2F"), ("/v1/x/../y?z", "/v2/y?z"),
                           ("/v1", "/v2"), ("/v12", "/v12"), ("/a/../b", "/a/../b")):  # fmt: skip
            self.assertEqual(200, self.ask("GET", path).status)
            self.assertEqual(want, self.seen[-1].target)
            told = self.proxy.admin_json(f"/explain?host=localhost&path={quote(path)}")
            told = told.get("forward", {"path": path, "host": "localhost"})
            self.assertEqual((want, self.seen[-1].host), (told["path"], told["host"]))

    def test_the_host_and_headers_of_a_request_are_as_the_route_says(self):
        self.begin()
        fields = [("Cookie", "a=b"), ("X-GONE", "1"), ("x-gone", "2"), ("Accept", "text/html"),
                  ("X-Set", "theirs"), ("X-Stays", "here")]  # fmt: skip
        self.assertEqual(200, self.ask("GET", "/api/x", fields).status)
        seen = self.seen[-1]
        self.assertEqual("web.internal:8080", seen.host)
        have = sorted((n, v) for n, v in seen.fields if n in
                      ("cookie", "x-gone", "accept", "x-set", "x-stays"))  # fmt: skip
        self.assertEqual([("accept", "text/css"), ("x-set", "a b"), ("x-stays", "here")], have)
        self.assertEqual("localhost", seen.get("x-forwarded-host"))
        self.assertEqual(200, self.ask("GET", "/", fields).status)
        self.assertEqual("a=b", self.seen[-1].get("cookie"))
        self.assertEqual("localhost", self.seen[-1].host)

    def test_headers_of_a_reply_are_as_the_route_says(self):
        fields = [("X-Powered-By", "php"), ("Server", "theirs"), ("X-Stays", "here")]
        self.begin(lambda side: side.answer(fields=fields))
        for _ in range(2):
            got = self.ask("GET", "/api/x")
            have = sorted((n, v) for n, v in got.fields if n in
                          ("x-powered-by", "server", "x-stays", "x-frame-options"))  # fmt: skip
            self.assertEqual(
                [("server", "ours"), ("x-frame-options", "DENY"), ("x-stays", "here")], have)
            self.assertEqual(b"ok", got.body)
        self.assertEqual("theirs", self.ask("GET", "/").get("server"))

    # -- bodies

    def test_a_body_may_be_as_long_as_the_cap(self):
        self.begin()
        for length in (True, False):
            got = self.ask("POST", "/up", body=b"x" * CAP, length=length)
            self.assertEqual(200, got.status, got)
            self.assertEqual((CAP, True), (len(self.seen[-1].body), self.seen[-1].whole))

    def test_a_longer_body_of_known_length_reaches_nobody(self):
        self.begin()
        got = self.ask("POST", "/up", body=b"x", length=CAP + 1)
        self.assert_refused(got, 413, "too-large")
        self.assertEqual([], self.seen)
        self.counted("offshoot_refusals_total", 1, reason="too-large")
        self.assertEqual(200, self.ask(client=self.new_client()).status)

    def test_a_longer_body_without_a_length_never_seems_whole(self):
        self.begin()
        for size in (CAP + 1, 3 * CAP):
            client = self.new_client()
            got = self.ask("POST", "/up", body=b"x" * size, length=False, client=client)
            self.assert_refused(got, 413, "too-large")
        self.counted("offshoot_refusals_total", 2, reason="too-large")
        eventually(lambda: self.proxy.counters().get("offshoot_requests") == 0)
        self.assertFalse([s for s in self.seen if s.whole], "a provider took it for whole")
        self.assertEqual(200, self.ask(client=self.new_client()).status)

    # -- redirects

    def test_redirects_are_answered_here(self):
        log = self.folder / "access.log"
        self.begin(None, "", "--access-log", log)
        for method in ("GET", "POST"):
            got = self.ask(method, "/old/x?y=z")
            self.assertEqual((307, "http://new.example:81/new/x?y=z", b""),
                             (got.status, got.get("location"), got.body))
        got = self.ask("GET", "/away")
        self.assertEqual((302, "https://example.com/x"), (got.status, got.get("location")))
        got = self.ask("GET", "/secret//evil.example/?q")
        self.assertEqual((308, "https://localhost/secret//evil.example/?q"),
                         (got.status, got.get("location")))
        self.assertEqual([], self.seen)
        self.counted("offshoot_redirects_total", 3, by="route")
        self.counted("offshoot_redirects_total", 1, by="https")
        self.counted("offshoot_refusals_total", 0, reason="no-route")
        eventually(lambda: log.read_text().count(" class=redirect ") == 4)

    # -- times

    def test_a_route_has_times_of_its_own(self):
        release = threading.Event()

        def handle(side):
            if side.seen.target == "/hasty":
                release.wait(20)
                return False
            side.part(b"some", 100)
            side.wait_gone()
            return False

        self.begin(handle)
        got = self.ask("GET", "/hasty", client=self.new_client())
        self.assert_refused(got, 504, "timeout")
        release.set()
        got = self.ask("GET", "/idle", client=self.new_client())
        self.assertFalse(got.whole, got)

    # -- limits

    def test_a_source_has_a_rate(self):
        self.begin(None, "perSource: {requestsPerSecond: 1, burst: 3}", "--workers", "2")
        got = [self.ask(client=self.new_client()) for _ in range(5)]
        self.assertEqual([200, 200, 200], [g.status for g in got[:3]])
        self.assert_refused(got[4], 429, "rate-limited")
        self.assertEqual("1", got[4].get("retry-after"))
        limited = len([g for g in got if g.status == 429])
        self.counted("offshoot_limited_total", limited, limit="source-rate")
        eventually(lambda: self.ask(client=self.new_client()).status == 200)

    def test_a_source_has_so_many_connections(self):
        self.begin(None, "perSource: {connections: 2}", "--workers", "2")
        self.assertEqual(200, self.ask().status)
        other = self.new_client()
        self.assertEqual(200, self.ask(client=other).status)
        third = self.new_client()
        self.assert_refused(self.ask(client=third), 429, "rate-limited")
        self.counted("offshoot_limited_total", 1, limit="source-connections")
        hang_up(third)
        hang_up(other)
        eventually(self.gets_in)

    def gets_in(self):
        client = self.new_client()
        got = self.ask(client=client)
        hang_up(client)
        return got.status == 200

    def test_an_environment_has_so_many_requests_in_flight(self):
        arrived, release = threading.Event(), threading.Event()

        def handle(side):
            if side.seen.target == "/wait":
                arrived.set()
                release.wait(20)
            side.answer()

        self.begin(handle, "perEnvironment: {concurrent: 1}")
        self.client.begin("GET", "/wait")
        self.assertTrue(arrived.wait(20))
        other = self.new_client()
        self.assert_refused(self.ask("GET", "/", client=other), 429, "rate-limited")
        self.counted("offshoot_limited_total", 1, limit="environment-concurrent")
        release.set()
        self.assertEqual(200, self.client.finish().status)
        self.assertEqual(200, self.ask("GET", "/", client=other).status)

    def test_an_environment_has_a_rate(self):
        self.begin(None, "perEnvironment: {requestsPerSecond: 1, burst: 2}")
        got = [self.ask().status for _ in range(4)]
        self.assertEqual([200, 200, 429], [*got[:2], got[3]])
        self.assertEqual(200, self.ask("GET", "/", [("x-env", "feat")]).status)

    # -- changes

    def test_a_change_of_the_graph_needs_no_restart(self):
        self.begin()
        body = b"x" * (CAP + 1)
        self.assert_refused(self.ask("POST", "/up", body=body), 413, "too-large")
        client = self.new_client()
        self.assertEqual(200, self.ask("GET", "/up", client=client).status)
        self.write("graph-0.yaml", GRAPH % {**self.values, "cap": "1MiB"})
        self.counted("offshoot_graph_epoch", 2)
        self.assertEqual(200, self.ask("POST", "/up", body=body, client=client).status)
        self.assertEqual(CAP + 1, len(self.seen[-1].body))


class FromAnAgent(AgentCase):
    """Actions and limits that come over the stream, and go again."""

    def status(self, path):
        client = Client1(self, self.proxy.address)
        client.begin("GET", path)
        got = client.finish()
        hang_up(client)
        return got.status

    def test_actions_come_and_go_with_epochs(self):
        web = self.provider(Side1.script(lambda side: side.answer()))
        values = {"version": 1, "address": web.address, "cap": CAP, "limits": ""}
        agent = self.start_agent(GRAPH % values)
        self.proxy = self.start(
            "offshoot-proxy", "--agent", agent.listen, "--node", "gw-1", "--listen",
            "127.0.0.1:0", "--admin", self.folder / "proxy.sock", "--state", self.folder / "p",
            "--workers", "1")  # fmt: skip
        self.assertEqual(307, self.status("/old"))
        rates = "perSource: {requestsPerSecond: 1, burst: 1}"
        self.write("graph-0.yaml", GRAPH % {**values, "limits": rates})
        eventually(lambda: 429 in [self.status("/") for _ in range(3)])
        plain = (GRAPH % values).split("    - path: /api")[0].replace("limits: {}", "")
        self.write("graph-0.yaml", plain)
        eventually(lambda: [self.status("/old") for _ in range(3)] == [200, 200, 200])


class Http1ToHttp1(Routes, ProxyCase):
    client_class, side = Client1, Side1


class Http1ToHttp2(Routes, ProxyCase):
    client_class, side = Client1, Side2


class Http2ToHttp1(Routes, ProxyCase):
    client_class, side = Client2, Side1


class Http2ToHttp2(Routes, ProxyCase):
    client_class, side = Client2, Side2


if __name__ == "__main__":
    unittest.main()
