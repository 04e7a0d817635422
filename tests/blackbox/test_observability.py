"""What a proxy tells while it works: listings of requests and connections, the log as it is made
and by condition, histograms, and `offshootctl top` on a screen of its own."""

import contextlib
import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import unittest

import http2
from graphs import graph_of, overlay
from harness import BUILD, ONE_SHOP, ROOT, ProxyCase, connect, eventually, request_bytes, sanitized

EDGES = [f"{(1 << k) / 1e6:.6f}".rstrip("0").rstrip(".") for k in range(6, 28)] + ["+Inf"]

# One service in two environments, one of which cannot be reached.
TWO = graph_of(ONE_SHOP, overlay("broken", shop="%s"))


class WatchCase(ProxyCase):
    def ctl(self, *args, status=0):
        done = self.run_program("offshootctl", "--socket", self.proxy.ready["admin"][0], *args,
                                env={"NO_COLOR": "1"})
        self.assertEqual(status, done.returncode, done.stderr)
        return done.stdout.decode()

    def ask_env(self, env, target="/"):
        fields = [("baggage", f"offshoot=v1m.{env}.0.00")]
        return self.ask(self.proxy, target, fields=fields)


class HungProvider(WatchCase):
    """Requests whose provider does not answer until `answer` is set."""

    def setUp(self):
        super().setUp()
        self.answer = threading.Event()

        def script(stream):
            stream.provider.note(stream.read_request())
            self.answer.wait(60)
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        self.shop = self.provider(script)
        self.proxy = self.start_proxy(ONE_SHOP % self.shop.address, "--workers", "2",
                                      listen=("127.0.0.1:0", "127.0.0.1:0,trusted"))

    def tearDown(self):
        self.answer.set()
        super().tearDown()

    def live(self, **params):
        return self.proxy.admin_json("/requests", live="1", **params)

    def test_a_request_is_told_with_its_state_and_without_its_secrets(self):
        self.client(self.proxy).send(request_bytes(
            "POST", "/cart?token=geheim", "shop.test",
            [("Authorization", "Bearer geheim"), ("Cookie", "id=geheim")], b"body"))
        eventually(lambda: self.shop.requests)
        found = eventually(lambda: self.live(state="reply", service="shop"))
        self.assertEqual((1, True), (found["total"], found["complete"]))
        row = found["requests"][0]
        self.assertEqual(("reply", "POST", "/cart", "shop.test", "main", "shop", "main", "local",
                          "http1", 0, False, False, 4, 0),
                         tuple(row[key] for key in (
                             "state", "method", "path", "host", "environment", "service",
                             "provider", "class", "protocol", "stream", "tls", "trusted",
                             "body_in", "body_out")))
        self.assertGreaterEqual(row["age_us"], row["state_us"])
        self.assertRegex(row["client"], r"^127\.0\.0\.1:\d+$")
        for answer in (json.dumps(self.live()), json.dumps(self.proxy.admin_json("/connections")),
                       self.ctl("requests", "--live"), self.ctl("connections")):
            self.assertNotIn("geheim", answer)
        text = self.ctl("requests", "--live", "--state", "reply")
        self.assertTrue(text.startswith("1 request\n      AGE STATE "), text)
        self.assertRegex(text, r"\n +[\d.]+ \w+ reply +[\d.]+ \w+ http1 .* POST    /cart\n$")
        self.answer.set()
        eventually(lambda: self.live()["total"] == 0)

    def test_what_is_asked_for_is_listed(self):
        for n in range(3):
            self.client(self.proxy, n % 2).send(request_bytes(target=f"/{n}"))
        eventually(lambda: len(self.shop.requests) == 3)
        eventually(lambda: self.live(state="reply")["total"] == 3)
        self.assertEqual(0, self.live(env="other")["total"])
        self.assertEqual(3, self.live(env="main")["total"])
        self.assertEqual(0, self.live(older="1h")["total"])
        few = self.live(limit=2)
        self.assertEqual((3, 2), (few["total"], len(few["requests"])))
        none = self.live(limit=0)
        self.assertEqual((3, []), (none["total"], none["requests"]))
        ages = [row["age_us"] for row in self.live()["requests"]]
        self.assertEqual(sorted(ages, reverse=True), ages)
        self.assertIn("3 requests, the oldest 2\n", self.ctl("requests", "--live", "--limit", "2"))
        for bad in ("state=here", "older=soon", "limit=10001", "limit=x", "env=" + "x" * 65):
            reply = self.proxy.admin(f"/requests?live&{bad}")
            self.assertEqual(400, reply.status, bad)
        for bad in ("side=left", "state=here"):
            self.assertEqual(400, self.proxy.admin(f"/connections?{bad}").status, bad)
        self.assertEqual(200, self.proxy.admin("/connections?state=lingering").status)

    def test_while_it_drains_the_rest_is_listed(self):
        self.client(self.proxy).send(request_bytes(target="/last"))
        eventually(lambda: self.shop.requests)
        self.assertEqual(200, self.proxy.admin("/drain", "POST").status)

        def listed():
            """One worker is left: the other one is not waited for."""
            start = time.monotonic()
            found = self.live()
            return found["complete"] and time.monotonic() - start < 1.5 and found

        self.assertEqual(["/last"], [row["path"] for row in eventually(listed)["requests"]])
        self.answer.set()
        self.expect_exit(self.proxy, 0)

    def test_streams_of_http2_are_requests_of_their_own(self):
        client = http2.Client(self.client(self.proxy))
        streams = [client.request(path=f"/{n}?q", authority="shop.test") for n in range(3)]
        eventually(lambda: len(self.shop.requests) == 3)
        rows = eventually(lambda: self.live(state="reply"))["requests"]
        self.assertEqual([("http2", n, f"/{i}") for i, n in enumerate(streams)],
                         sorted((r["protocol"], r["stream"], r["path"]) for r in rows))
        sides = {}
        for row in self.proxy.admin_json("/connections")["connections"]:
            sides.setdefault(row["side"], []).append(row)
        self.assertEqual([("http2", "streams", 3)],
                         [(r["protocol"], r["state"], r["requests"]) for r in sides["client"]])
        self.assertEqual([("http1", "reply", 1)] * 3,
                         [(r["protocol"], r["state"], r["requests"]) for r in sides["provider"]])
        self.answer.set()
        for n in streams:
            client.reply(n)


class Connections(WatchCase):
    def test_bytes_requests_and_age(self):
        self.proxy = self.start_proxy(ONE_SHOP % self.provider().address)
        stream = self.client(self.proxy)
        sent = request_bytes()
        for _ in range(3):
            stream.ask(sent)
        found = self.proxy.admin_json("/connections")
        client, = (r for r in found["connections"] if r["side"] == "client")
        shop, = (r for r in found["connections"] if r["side"] == "provider")
        self.assertEqual((3, 3 * len(sent), "idle", True, False, "http1"),
                         tuple(client[k] for k in ("requests", "received_bytes", "state",
                                                   "trusted", "tls", "protocol")))
        self.assertEqual((3, "idle", None, None), tuple(shop[k] for k in (
            "requests", "state", "trusted", "listener")))
        self.assertEqual(self.proxy.address, client["listener"])
        name = "%s:%d" % stream.sock.getsockname()
        self.assertEqual(name, client["address"])
        counted = self.proxy.counters()
        self.assertEqual(counted.get("offshoot_client_received_bytes_total"),
                         client["received_bytes"])
        self.assertEqual(counted.get("offshoot_client_sent_bytes_total"), client["sent_bytes"])
        self.assertEqual(counted.get("offshoot_provider_sent_bytes_total"), shop["sent_bytes"])
        text = self.ctl("connections", "--side", "client")
        self.assertRegex(text, rf"(?s)^1 connection\nSIDE .*\nclient +idle .* {re.escape(name)} ")

    def test_of_ten_thousand_connections_none_waits_long(self):
        """An innocent client's requests, with and without listings under way, side by side."""
        many = 10000 if not sanitized() else 2000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        many = min(many, hard - 500)
        config = self.write("proxy.yaml", f"limits: {{connections: {2 * many}}}\n")
        self.proxy = self.start_proxy(ONE_SHOP % self.provider().address, "-c", config)
        idle = contextlib.ExitStack()
        self.addCleanup(idle.close)
        host, port = self.proxy.address.rsplit(":", 1)
        for _ in range(many):
            idle.enter_context(socket.create_connection((host, int(port)), 30))
        eventually(lambda: self.proxy.admin_json("/status")["clients"] == many)
        stream = self.client(self.proxy)
        stream.ask(request_bytes())
        done, listings = threading.Event(), []

        def list_them():
            while not done.is_set():
                reply = self.proxy.admin("/connections?limit=10000",
                                         fields=[("Accept", "application/json")], timeout=60)
                listings.append(reply)

        def worst(seconds=1.0):
            """The time that nineteen of twenty requests stay under."""
            took, end = [], time.monotonic() + seconds
            while time.monotonic() < end:
                start = time.monotonic()
                stream.ask(request_bytes())
                took.append(time.monotonic() - start)
            return sorted(took)[len(took) * 19 // 20]

        quiet, busy = [worst()], []
        thread = threading.Thread(target=list_them)
        thread.start()
        try:
            eventually(lambda: listings, 60)
            busy.append(worst())
        finally:
            done.set()
            thread.join()
        quiet.append(worst())
        found = json.loads(listings[0].body)
        self.assertEqual(True, found["complete"])
        self.assertEqual(many + 2, found["total"])
        self.assertEqual(min(many + 2, 10000), len(found["connections"]))
        self.assertEqual(1000, len(self.proxy.admin_json("/connections")["connections"]))
        # The listing is made by another thread, which takes a processor: the comparison is wide.
        self.assertLess(min(busy), 10 * max(quiet) + 0.02)
        idle.close()
        eventually(lambda: self.proxy.admin_json("/status")["clients"] == 1, 60)


class Histograms(WatchCase):
    def counted(self, requests):
        """The counters once so many are over: that may be a moment after their replies came."""
        def look():
            found = self.proxy.counters()
            return found.get("offshoot_request_seconds_count") == requests and found
        return eventually(look)

    def test_buckets_are_those_of_prometheus(self):
        shop = self.provider()
        self.proxy = self.start_proxy(TWO % (shop.address, self.nobody().address))
        for _ in range(4):
            self.assertEqual(200, self.ask(self.proxy).status)
        self.assertEqual(502, self.ask_env("broken").status)
        found = self.counted(5)
        for family in ("offshoot_request_seconds", "offshoot_request_stage_seconds"):
            self.assertEqual("histogram", found.kinds[family])
        by_code = {"2xx": 4, "5xx": 1, "4xx": 0, "none": 0}
        for code, n in by_code.items():
            buckets = [found.get("offshoot_request_seconds_bucket", code=code, le=le)
                       for le in EDGES]
            self.assertEqual(sorted(buckets), buckets)
            self.assertEqual(n, buckets[-1])
            self.assertEqual(n, found.get("offshoot_request_seconds_count", code=code))
        stages = {stage: found.get("offshoot_request_stage_seconds_count", stage=stage)
                  for stage in ("accept", "tls", "head", "connect", "first_byte")}
        self.assertEqual(
            {"accept": 5, "tls": 0, "head": 5, "connect": 4, "first_byte": 4}, stages)
        total = found.get("offshoot_request_seconds_sum", code="2xx")
        self.assertGreater(total, 0)
        self.assertLess(total, 60)
        self.assertEqual(5, found.get("offshoot_protocol_requests_total", protocol="http1",
                                      listener="trusted"))

    def test_a_slow_reply_is_in_the_buckets_above(self):
        def script(stream):
            stream.provider.note(stream.read_request())
            time.sleep(0.2)
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        self.proxy = self.start_proxy(ONE_SHOP % self.provider(script).address)
        self.assertEqual(200, self.ask(self.proxy).status)
        found = self.counted(1)
        self.assertEqual(0, found.get("offshoot_request_stage_seconds_bucket",
                                      stage="first_byte", le="0.131072"))
        self.assertEqual(1, found.get("offshoot_request_seconds_bucket", code="2xx",
                                      le="134.217728"))
        self.assertGreater(found.get("offshoot_request_seconds_sum", code="2xx"), 0.19)
        listed = self.proxy.admin_json("/counters")
        self.assertEqual(1, listed['offshoot_request_seconds_count{code="2xx"}'])


class Logs(WatchCase):
    def begin(self, *when, form="json", more=""):
        self.log = self.folder / "access.log"
        rules = "".join(f"    - {json.dumps(rule)}\n" for rule in when)
        config = self.write("log.yaml", f"accessLog:\n  to: {self.log}\n  format: {form}\n" +
                            (f"  when:\n{rules}" if rules else "") + more)
        shop = self.provider()
        self.proxy = self.start_proxy(TWO % (shop.address, self.nobody().address), "-c", config)

    def written(self, want):
        def look():
            lines = [json.loads(x) for x in self.log.read_text().splitlines()]
            self.assertEqual(want, [x["path"] for x in lines])
            return lines or True
        return eventually(look)

    def ask_all(self):
        self.assertEqual(200, self.ask(self.proxy, "/fine").status)
        self.assertEqual(502, self.ask_env("broken", "/broken").status)
        self.assertEqual(404, self.ask_env("nothing", "/nothing").status)
        self.assertEqual(200, self.ask_env("main", "/main").status)
        self.last()

    def last(self):
        """A barrier: a line that every rule of these tests lets through comes after all others."""
        with connect(self.proxy.address) as stream:
            stream.send(b"BAD REQUEST\r\n\r\n")
            stream.read_reply()

    def test_errors_and_slow_ones(self):
        self.begin("errors", "slower=1h")
        self.ask_all()
        self.written(["/broken", "/nothing", None])

    def test_errors_only_is_one_rule_more(self):
        self.begin("env=main", more="  errorsOnly: true\n")
        self.ask_all()
        self.written(["/fine", "/broken", "/nothing", "/main", None])

    def test_all_conditions_of_a_rule(self):
        self.begin("class=local status=2xx|502 env=broken", "refusal=unknown-environment",
                   "status=400")
        self.ask_all()
        self.written(["/broken", "/nothing", None])

    def test_a_sample_is_of_traces(self):
        self.begin("sample=25%", "status=400")
        trace = "00-{:032x}-00f067aa0ba902b7-01"
        paths = []
        for n in range(1, 101):
            for hop in "ab":
                self.ask(self.proxy, f"/{hop}{n}", fields=[("traceparent", trace.format(n))])
        self.last()

        def look():
            lines = [json.loads(x) for x in self.log.read_text().splitlines()]
            self.assertEqual(400, lines[-1]["status"])
            return [x["path"] for x in lines[:-1]]

        paths = eventually(look)
        self.assertEqual([p[2:] for p in paths if p[1] == "a"],
                         [p[2:] for p in paths if p[1] == "b"])
        self.assertTrue(20 < len(paths) < 90, paths)

    def test_rules_that_make_no_sense_are_refused_at_the_start(self):
        config = self.write("bad.yaml", "accessLog: {when: [errors, 'status=9xx']}\n")
        graph = self.write("g.yaml", ONE_SHOP % "127.0.0.1:1")
        done = self.run_program("offshoot-proxy", "-c", config, "--graph", graph, "--listen",
                                "127.0.0.1:0", "--check-config")
        self.assertEqual(1, done.returncode)
        self.assertIn(b"accessLog.when: status: unknown word '9xx'", done.stderr)

    def test_names_of_opentelemetry(self):
        self.begin(form="otel")
        self.ask(self.proxy, "/a/b?c=d", host="shop.test:8080")
        line = json.loads(eventually(lambda: self.log.read_text()))
        want = {"http.request.method": "GET", "url.path": "/a/b", "url.query": "c=d",
                "server.address": "shop.test", "server.port": 8080,
                "http.response.status_code": 200, "network.protocol.name": "http",
                "network.protocol.version": "1.1", "client.address": "127.0.0.1",
                "error.type": None, "http.response.body.size": 2, "offshoot.class": "local"}
        self.assertEqual(want, {key: line[key] for key in want})
        self.assertRegex(line["trace_id"], r"^[0-9a-f]{32}$")

    def documented(self, heading):
        """Names in the first column of the table under a heading of the page."""
        page = (ROOT / "docs/observability.md").read_text()
        part = page.split(f"\n### {heading}\n")[1].split("\n#")[0]
        return re.findall(r"(?m)^\| `([^`]+)` \| `([^`]+)` \|", part)

    def test_the_page_names_every_field(self):
        for form, column in (("json", 0), ("otel", 1)):
            with self.subTest(form):
                self.begin(form=form)
                self.ask(self.proxy, "/")
                line = json.loads(eventually(lambda: self.log.read_text()))
                names = [row[column] for row in self.documented("Fields of a line")]
                self.assertEqual(set(line), {n for cell in names for n in cell.split(", ")})
                self.log.unlink()

    def test_stages_add_up(self):
        self.begin()
        self.ask(self.proxy, "/")
        line, = self.written(["/"])
        stages = sum(line[f"{k}_us"] for k in ("head", "decide", "connect", "first_byte"))
        self.assertLessEqual(stages, line["total_us"])
        self.assertGreaterEqual(min(line[f"{k}_us"] for k in ("accept", "head", "connect")), 0)
        self.assertEqual(-1, line["tls_us"])


class Reader:
    """GET /log: a connection on the admin socket, and the lines that have come."""

    def __init__(self, proxy, query="", rcvbuf=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.connect(proxy.ready["admin"][0])
        # HTTP/1.0: the lines come without chunks, until the end.
        self.sock.sendall(f"GET /log?{query} HTTP/1.0\r\n\r\n".encode())
        self.sock.settimeout(0.05)
        self.data = b""

    def lines(self):
        with contextlib.suppress(socket.timeout):
            while got := self.sock.recv(65536):
                self.data += got
        head, _, body = self.data.partition(b"\r\n\r\n")
        if head and not head.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200")):
            raise AssertionError(head + body)
        return body.decode().splitlines()

    def close(self):
        self.sock.close()


class LiveLog(WatchCase):
    def begin(self, *flags):
        self.proxy = self.start_proxy(TWO % (self.provider().address, self.nobody().address),
                                      *flags)

    def reader(self, query="", **options):
        """One that gets lines: waits until every worker knows of it."""
        reader = self.closes(Reader(self.proxy, query, **options))
        eventually(lambda: self.proxy.counters().get("offshoot_log_readers"))
        return reader

    def until(self, reader, path):
        """Asks for path until the reader sees it."""
        def look():
            self.ask(self.proxy, path)
            return any(path in line for line in reader.lines())
        eventually(look)

    def test_lines_come_as_they_are_made_and_as_they_are_asked_for(self):
        self.begin("--workers", "2")
        all_, some = self.reader("format=json"), self.reader("when=errors&when=env%3Dnothing")
        self.until(all_, "/begin")
        self.assertEqual(502, self.ask_env("broken", "/broken").status)
        self.assertEqual(404, self.ask_env("nothing", "/nothing").status)
        # Two workers: their lines come in either order.
        both = {"/broken", "/nothing"}
        eventually(lambda: both == {line.split('"')[5] for line in some.lines()})
        self.assertEqual(2, len(some.lines()))
        eventually(lambda: both <= {json.loads(line)["path"] for line in all_.lines()})
        for line in all_.lines():
            self.assertIn("total_us", json.loads(line))
        all_.close()
        some.close()
        eventually(lambda: self.proxy.counters().get("offshoot_log_readers") == 0)

    def test_what_cannot_be_is_refused(self):
        self.begin()
        for query in ("when=nonsense", "format=xml", "when=" + "x" * 5000):
            self.assertEqual(400, self.proxy.admin(f"/log?{query}").status, query)
        self.assertEqual(200, self.proxy.admin("/log", method="HEAD").status)
        readers = [self.closes(Reader(self.proxy)) for _ in range(8)]
        eventually(lambda: self.proxy.counters().get("offshoot_log_readers") == 8)
        self.assertEqual(503, self.proxy.admin("/log").status)
        readers[0].close()
        eventually(lambda: self.proxy.counters().get("offshoot_log_readers") == 7)
        self.assertFalse(self.closes(Reader(self.proxy)).lines())

    def test_who_is_too_slow_loses_lines_and_delays_nobody(self):
        self.begin()
        slow, fast = self.reader(rcvbuf=4096), self.reader()
        self.until(fast, "/begin")
        long = "/" + "x" * 2000
        with connect(self.proxy.address) as stream:
            for _ in range(2000):
                self.assertEqual(200, stream.ask(request_bytes(target=long)).status)
                if _ % 50 == 0:
                    fast.lines()
        lost = self.proxy.counters().get("offshoot_log_reader_lost_total")
        self.assertGreater(lost, 100)
        before = self.proxy.resident_bytes()

        def told():
            self.ask(self.proxy, "/end")
            lines = slow.lines()
            return any("/end" in x for x in lines) and lines

        lines = eventually(told)
        self.assertTrue(any(re.match(r"# \d+ lines lost: this reader is too slow$", x)
                            for x in lines))
        self.assertLess(self.proxy.resident_bytes() - before, 8 << 20)

    def test_a_proxy_ends_with_readers(self):
        self.begin()
        reader = self.reader()
        self.until(reader, "/begin")
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)

    def test_the_command_prints_them(self):
        self.begin()
        command = subprocess.Popen(
            [BUILD / "offshootctl", "--socket", self.proxy.ready["admin"][0], "log", "--when",
             "status=404"], stdout=subprocess.PIPE, cwd=self.folder)
        try:
            def look():
                self.ask_env("nothing", "/seen")
                return select.select([command.stdout], [], [], 0.05)[0]
            eventually(look)
            self.assertIn(b'"/seen" env="nothing" ', command.stdout.readline())
        finally:
            command.terminate()
            command.wait()
            command.stdout.close()
        self.assertIn("unknown condition", self.refusal("log", "--when", "nothing"))

    def refusal(self, *args):
        done = self.run_program("offshootctl", "--socket", self.proxy.ready["admin"][0], *args)
        self.assertEqual(1, done.returncode)
        return done.stderr.decode()


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command, rows=30, columns=100):
        self.parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(child)
        self.child = child
        self.process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child,
                                        start_new_session=True)
        self.data = b""

    def read(self):
        while select.select([self.parent], [], [], 0.02)[0]:
            self.data += os.read(self.parent, 65536)
        return self.data.decode(errors="replace")

    def frames(self):
        """What was drawn, screen by screen, without what moves the cursor."""
        return [re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", f).replace("\r", "")
                for f in self.read().split("\x1b[H")[1:]]

    def last(self):
        return (self.frames() or [""])[-1]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.parent)
        os.close(self.child)


class Top(WatchCase):
    def begin(self, *flags):
        self.proxy = self.start_proxy(TWO % (self.provider().address, self.nobody().address),
                                      *flags)

    def load(self, stop):
        with connect(self.proxy.address) as stream:
            while not stop.is_set():
                stream.ask(request_bytes())
        self.ask_env("broken")

    def test_once_tells_what_a_load_is(self):
        self.begin("--workers", "2")
        self.assertEqual(502, self.ask_env("broken").status)
        stop = threading.Event()
        thread = threading.Thread(target=self.load, args=(stop,))
        thread.start()
        try:
            before = self.proxy.counters()
            out = self.ctl("top", "--once", "--json", "--interval", "500ms")
            after = self.proxy.counters()
            text = self.ctl("top", "--once", "--interval", "500ms")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(1, out.count("\n"))
        frame = json.loads(out)
        most = (after.get("offshoot_replies_total", code="2xx") -
                before.get("offshoot_replies_total", code="2xx"))
        happened = frame["per_second"] * frame["seconds"]
        self.assertTrue(0 < happened <= 1.02 * most, (happened, most))
        self.assertEqual(["2xx"], list(frame["codes"]))
        # Counters go on while they are read, one after the other.
        self.assertAlmostEqual(happened, frame["latency_us"]["count"], delta=most / 10)
        self.assertAlmostEqual(frame["per_second"], frame["classes"]["local"], delta=most / 5)
        self.assertEqual("main", frame["environments"][0]["name"])
        self.assertEqual("shop", frame["services"][0]["name"])
        self.assertEqual(2, len(frame["workers"]))
        self.assertLessEqual(frame["latency_us"]["p50"], frame["latency_us"]["p99"])
        self.assertEqual({}, frame["refusals"])
        shop, broken = frame["providers"]
        self.assertAlmostEqual(frame["per_second"], shop["per_second"], delta=most / 5)
        self.assertEqual(0, broken["per_second"])
        self.assertRegex(text, r"\nrequests +[\d.]+/s   2xx 100\.0 %\n")
        self.assertRegex(text, r"\nmain +[\d.]+  shop +[\d.]+\n")
        self.assertNotIn("\x1b", text)

    def test_wrong_options(self):
        self.begin()
        for option, value in (("--interval", "10ms"), ("--interval", "x"), ("--limit", "-1")):
            self.assertEqual("", self.ctl("top", "--once", option, value, status=1))

    def top(self, *flags):
        return self.closes(Terminal(
            str(BUILD / "offshootctl"), "--socket", self.proxy.ready["admin"][0], "top",
            "--interval", "100ms", *flags))

    def test_a_screen_refreshes_and_gives_the_terminal_back(self):
        self.begin()
        top = self.top()
        eventually(lambda: len(top.frames()) > 3)
        self.assertTrue(top.data.startswith(b"\x1b[?1049h\x1b[?25l"))
        self.assertNotIn(b"\x1b[2J", top.data)  # that would flicker
        for frame in top.frames()[:3]:
            self.assertLessEqual(frame.count("\n"), 29)
            self.assertIn("offshoot-proxy ", frame)
            self.assertIn("\nrequests ", frame)
        self.assertFalse(termios.tcgetattr(top.child)[3] & termios.ECHO)
        top.process.send_signal(signal.SIGINT)
        self.assertEqual(0, top.process.wait(10))
        self.assertTrue(top.read().endswith("\x1b[?25h\x1b[?1049l"))
        self.assertEqual(top.before, termios.tcgetattr(top.child))

    def test_a_key_ends_it_and_a_smaller_window_is_kept_to(self):
        self.begin()
        self.assertEqual(200, self.ask(self.proxy).status)
        top = self.top()
        eventually(lambda: len(top.frames()) > 1)
        fcntl.ioctl(top.child, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 20, 0, 0))
        top.process.send_signal(signal.SIGWINCH)

        def small():
            lines = top.last().splitlines()
            return len(lines) <= 6 and max(map(len, lines)) <= 20

        eventually(small)
        os.write(top.parent, b"q")
        self.assertEqual(0, top.process.wait(10))
        self.assertEqual(top.before, termios.tcgetattr(top.child))

    def test_it_goes_on_when_the_proxy_is_started_anew(self):
        self.begin()
        self.assertEqual(200, self.ask(self.proxy).status)
        old, top = self.proxy, self.top()
        eventually(lambda: f"process {old.pid} " in top.last())
        old.signal(signal.SIGTERM)
        self.expect_exit(old, 0)
        eventually(lambda: top.last().startswith("! cannot reach"))
        self.assertIn(f"process {old.pid} ", top.last())  # the last screen stays
        admin = old.ready["admin"][0]
        new = self.start("offshoot-proxy", "--graph", self.folder / "graph-0.yaml", "--listen",
                         "127.0.0.1:0", "--admin", admin, "--workers", "1")
        eventually(lambda: f"process {new.pid} " in top.last())
        eventually(lambda: "(last 0." in top.last())
        os.write(top.parent, b"q")
        self.assertEqual(0, top.process.wait(10))

    def test_lines_where_no_terminal_reads(self):
        self.begin()
        command = [BUILD / "offshootctl", "--socket", self.proxy.ready["admin"][0], "top",
                   "--interval", "100ms", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=self.folder) as top:
            try:
                frames = [json.loads(top.stdout.readline()) for _ in range(3)]
            finally:
                top.terminate()
        self.assertEqual([True, False, False], [f["since_start"] for f in frames])
        self.assertEqual({self.proxy.pid}, {f["pid"] for f in frames})

    def test_nobody_there(self):
        done = self.run_program("offshootctl", "--socket", self.folder / "none.sock", "top")
        self.assertEqual(1, done.returncode)
        self.assertIn(b"cannot reach", done.stderr)


if __name__ == "__main__":
    unittest.main()
