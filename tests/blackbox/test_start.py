"""The life of a proxy: what it refuses to start with and how it says so, signals, its access log,
and the rules about where endpoints may lie."""

import json
import os
import re
import signal
import threading
import unittest

from harness import (Incomplete, ProxyCase, connect, eventually, free_port, http_script,
                     reply_bytes, request_bytes)

GRAPH = """\
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: shop}
spec: {policy: {retries: {max: 0}}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: main}
spec: {mode: baseline, providers: {shop: {endpoints: ["%s"]}}}
"""
GATEWAY = """\
---
apiVersion: offshoot.dev/v1
kind: Gateway
metadata: {name: %s}
spec: {defaultEnvironment: main, select: [{header: x-env}], routes: [{path: /, service: shop}]}
"""
WHOLE = GRAPH + GATEWAY % "edge"
ELSEWHERE = "127.0.0.1:9"


class StartCase(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def refuses(self, *args, says=(), status=1):
        """The program ends at once, tells why in one last line, and says nothing on stdout."""
        done = self.run_program("offshoot-proxy", *args)
        told = done.stderr.decode()
        self.assertEqual(done.returncode, status, told)
        self.assertEqual(done.stdout, b"")
        self.assertRegex(told.splitlines()[-1], r"\Aoffshoot-proxy: \S")
        self.assertNotIn("not given back", told)
        for words in (says,) if isinstance(says, str) else says:
            self.assertIn(words, told)
        return told

    def graph(self, text=WHOLE, address=ELSEWHERE, name="graph.yaml"):
        return self.write(name, text % address if "%s" in text else text)


class Refused(StartCase):
    def test_two_proxies_on_one_port(self):
        port = free_port()
        proxy = self.start_proxy(WHOLE % ELSEWHERE, listen=(f"127.0.0.1:{port}",))
        for address in (f"127.0.0.1:{port}", f"0.0.0.0:{port}"):
            self.refuses("--graph", self.graph(), "--listen", address,
                         says=(f"{address}", "ddress already in use"))
        with connect(proxy.address) as stream:
            self.assertEqual(stream.ask(request_bytes()).status, 502)

    def test_a_state_folder_in_use(self):
        self.start_proxy(WHOLE % ELSEWHERE, "--state", self.folder / "own")
        self.refuses("--graph", self.graph(), "--listen", "127.0.0.1:0", "--state",
                     self.folder / "own", says=(str(self.folder / "own"), "used by another proxy"))
        self.refuses("--graph", self.graph(), "--listen", "127.0.0.1:0", "--state",
                     self.folder / "no/such", says="No such file or directory")

    def test_an_admin_socket_that_cannot_be(self):
        self.refuses("--graph", self.graph(), "--listen", "127.0.0.1:0", "--admin",
                     self.folder / "no/admin.sock", says="no/admin.sock")
        self.refuses("--graph", self.graph(), "--listen", "127.0.0.1:0", "--admin",
                     "/" + "x" * 200)

    def test_mistakes_in_the_configuration_are_told_with_their_place(self):
        for text, place, says in (
            ("timeouts:\n  head: 1s\n  haed: 1s\n", "3:3", ("timeouts.haed", "timeouts.head")),
            ("tiemouts: {head: 1s}\n", "1:1", ("tiemouts",)),
            ("a: 1\n", "1:1", ("'a'",)),
            ("\n\nworkers: many\n", "3:10", ("workers", "many")),
            ("workers: 257\n", "1:10", ("workers", "257", "256")),
            ("limits: {fields: 7}\n", "1:18", ("limits.fields", "7")),
            ("limits: {headBytes: 33k}\n", "1:21", ("limits.headBytes",)),
            ("timeouts: {head: 1}\n", "1:18", ("timeouts.head",)),
            ("onMissing: maybe\n", "1:12", ("onMissing", "maybe")),
            ("workers: 1\nworkers: 2\n", "2:1", ("workers",)),
            ("workers: *x\n", "1:10", ()),
            ("workers: [1\n", None, ()),
        ):
            with self.subTest(text):
                conf = self.write("conf.yaml", text)
                where = f"{conf}:{place}: " if place else f"{conf}:"
                for more in ((), ("--print-config",), ("--check-config",)):
                    self.refuses("-c", conf, "--graph", self.graph(), "--listen", "127.0.0.1:0",
                                 *more, says=(where, *says))
        for text, word in (("inject: [bagage]\n", "baggage"),
                           ("endpoints: {allow: [10.0.0.0/33]}\n", "10.0.0.0/33"),
                           ("endpoints: {unix: [run]}\n", "run")):
            conf = self.write("conf.yaml", text)
            self.refuses("-c", conf, "--graph", self.graph(), "--listen", "127.0.0.1:0",
                         says=(f"{conf}:1:", word))
        self.refuses("-c", "none.yaml", says=("none.yaml", "No such file or directory"))

    def test_mistakes_in_the_flags(self):
        rest = ("--graph", self.graph(), "--listen", "127.0.0.1:0")
        for args, says in (
            (("--grpah", "x"), ("--grpah", "--graph")),
            (("--nothing-like-it",), ("--nothing-like-it",)),
            (("--workers", "many"), ("--workers", "many")),
            (("--workers",), ("--workers",)),
            (("serve",), ("serve",)),
            (("-x",), ("-x",)),
            (("--listen", "127.0.0.1"), ("127.0.0.1",)),
            (("--listen", "localhost:1"), ("localhost:1",)),
            (("--listen", "127.0.0.1:0,trustd"), ("trustd",)),
            (("--listen", "127.0.0.1:0,from=1.2.3.4/40"), ("1.2.3.4/40",)),
            (("--listen", "127.0.0.1:0,tls=/no/a+/no/b"), ("certificate '/no/a'",)),
            (("--listen", "127.0.0.1:0,tls=+b"), ("tls=+b", "CERT+KEY")),
            (("--listen", "127.0.0.1:0,alpn=h2"), ("alpn", "need tls=")),
            (("--listen", "127.0.0.1:0,tls=a+b,alpn=h3"), ("alpn=", "h2")),
            (("--listen", "127.0.0.1:0,tls=a+b,client-cert=maybe"), ("optional or required",)),
            (("--listen", "127.0.0.1:0,tls=a+b,client-cert=required"), ("client-ca=FILE",)),
            (("--listen", "0.0.0.0:0,trusted,tls=a+b"), ("from=CIDR", "client-ca=")),
            (("--metrics", "nowhere"), ("nowhere",)),
        ):  # fmt: skip
            with self.subTest(args):
                self.refuses(*rest, *args, says=says)

    def test_what_is_needed(self):
        self.refuses("--listen", "127.0.0.1:0", says="--graph")
        self.refuses("--graph", self.graph(), says="--listen")
        self.refuses("--graph", self.folder / "none.yaml", "--listen", "127.0.0.1:0",
                     says=("none.yaml", "No such file or directory"))

    def test_an_invalid_graph_is_told_finding_by_finding(self):
        path = self.graph(WHOLE.replace("mode: baseline", "moed: baseline").replace(
            "service: shop", "service: shpo"))
        for more in ((), ("--check-config",)):
            told = self.refuses("--graph", path, "--listen", "127.0.0.1:0", *more,
                                says=("unknown-field", "mode", "unknown-service", "shpo"))
            self.assertRegex(told, rf"{re.escape(str(path))}:9:8\b.*unknown-field")
            self.assertRegex(told, rf"{re.escape(str(path))}:14:\d+\b.*unknown-service")

    def test_the_gateway_must_be_known(self):
        listen = ("--listen", "127.0.0.1:0")
        self.refuses("--graph", self.graph(GRAPH), *listen, says="Gateway")
        two = self.graph(WHOLE + GATEWAY % "second", name="two.yaml")
        self.refuses("--graph", two, *listen, says="--gateway")
        self.refuses("--graph", two, *listen, "--gateway", "third", says="'third'")
        proxy = self.start_proxy([two], "--gateway", "second")
        self.assertEqual(proxy.admin_json("/status")["epoch"], 1)

    def test_check_config_judges_the_gateway_too(self):
        listen = ("--check-config", "--listen", "127.0.0.1:0")
        self.refuses("--graph", self.graph(GRAPH), *listen, says="Gateway")
        self.refuses("--graph", self.graph(), *listen, "--gateway", "third", says="'third'")

    def test_a_trusted_listener_off_loopback_says_who_may_come(self):
        for address in ("0.0.0.0:0,trusted", "[::]:0,trusted"):
            self.refuses("--graph", self.graph(), "--listen", address, says="from=CIDR")
        proxy = self.start_proxy(WHOLE % self.provider().address, listen=(
            "0.0.0.0:0,trusted,from=127.0.0.0/8", "127.0.0.1:0,from=10.0.0.0/8,from=fd00::/8"))
        inside, outside = ",".join(proxy.ready["listen"]).split(",")
        with connect(inside.replace("0.0.0.0", "127.0.0.1")) as stream:
            self.assertEqual(stream.ask(request_bytes()).status, 200)
        with connect(outside) as stream:
            stream.expect_end()
        self.assertEqual(proxy.counters().get("offshoot_accepts_foreign_total"), 1)


class Words(StartCase):
    def say(self, *args):
        done = self.run_program("offshoot-proxy", *args)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout.decode()

    def test_help_and_version(self):
        text = self.say("--help")
        for flag in ("--graph", "--listen", "--admin", "--check-config", "--print-config", "-c"):
            self.assertIn(flag, text)
        self.assertRegex(self.say("--version"), r"\Aoffshoot-proxy \d+\.\d+\.\d+\n\Z")

    def test_check_config(self):
        self.assertEqual(
            self.say("--check-config", "--graph", self.graph(), "--listen", "127.0.0.1:0"), "ok\n")

    def test_print_config_is_a_configuration(self):
        defaults = self.say("--print-config")
        path = self.write("defaults.yaml", defaults)
        self.assertEqual(self.say("-c", path, "--print-config"), defaults)
        args = ("--graph", self.graph(), "--listen", "127.0.0.1:0,trusted", "--workers", "1",
                "--inject", "baggage", "--access-log", str(self.folder / 'a "quoted" \\ log'),
                "--on-missing", "refuse")  # fmt: skip
        conf = self.write("own.yaml", "timeouts: {head: 90s}\nlimits: {headBytes: 1k}\n")
        printed = self.say(*args, "-c", conf, "--print-config")
        for line in ("timeouts.head: 90s", "limits.headBytes: 1KiB", "onMissing: refuse"):
            self.assertIn(f"\n{line}\n", printed)
        path = self.write("printed.yaml", printed)
        self.assertEqual(self.say("-c", path, "--print-config"), printed)
        proxy = self.start("offshoot-proxy", "-c", path, "--admin", self.folder / "admin.sock")
        with connect(proxy.address) as stream:
            self.assertEqual(stream.ask(request_bytes()).get("x-offshoot-error"), "no-environment")
        served = proxy.admin("/config").body.decode().splitlines()
        self.assertEqual(
            [line for line in served if line.partition(" ")[0] != "admin:"],
            [line for line in printed.splitlines() if line.partition(" ")[0] != "#admin:"])

    def test_the_metrics_address_serves_nothing_else(self):
        proxy = self.start_proxy(WHOLE % ELSEWHERE, "--metrics", "127.0.0.1:0")
        address = proxy.ready["metrics"][0]
        for path, status in (("/metrics", 200), ("/live", 200), ("/ready", 200), ("/status", 404),
                             ("/config", 404), ("/counters", 404), ("/drain", 404)):
            for method in ("GET", "POST") if status == 404 else ("GET",):
                with connect(address) as stream:
                    reply = stream.ask(request_bytes(method, path))
                    self.assertIn(reply.status, {status, 403 if status == 404 else status}, path)
        self.assertEqual(proxy.admin_json("/status")["state"], "serving")


class Signals(StartCase):
    def begin(self, *flags):
        self.go = threading.Event()
        self.asked = threading.Event()

        def answer(request):
            if request.target == "/held":
                self.asked.set()
                self.go.wait(20)
            return reply_bytes(200, b"ok")

        self.shop = self.provider(http_script(answer))
        self.proxy = self.start_proxy(WHOLE % self.shop.address, *flags)

    def hold(self):
        stream = self.client(self.proxy)
        stream.send(request_bytes("GET", "/held"))
        self.assertTrue(self.asked.wait(10))
        return stream

    def refuses_connections(self):
        try:
            connect(self.proxy.address).close()
            return False
        except OSError:
            return True

    def test_terminate_lets_a_request_finish(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.begin()
            stream, unused = self.hold(), self.client(self.proxy)
            unused.ask(request_bytes())
            self.proxy.signal(number)
            eventually(self.refuses_connections)
            unused.expect_end()
            self.assertTrue(self.proxy.running())
            self.go.set()
            reply = stream.read_reply()
            self.assertEqual((reply.status, reply.body), (200, b"ok"))
            self.assertEqual(reply.get("connection"), "close")
            stream.expect_end()
            self.expect_exit(self.proxy, 0)

    def test_ready_says_draining(self):
        self.begin()
        stream = self.hold()
        self.assertEqual(self.proxy.admin("/ready").status, 200)
        self.assertEqual(self.proxy.admin("/drain", "POST").status, 200)
        eventually(lambda: self.proxy.admin("/ready").status == 503)
        self.assertEqual(self.proxy.admin_json("/status")["state"], "draining")
        self.go.set()
        self.assertEqual(stream.read_reply().status, 200)
        self.expect_exit(self.proxy, 0)

    def test_draining_has_a_deadline(self):
        self.write("conf.yaml", "timeouts: {drain: 200ms}\n")
        self.begin("-c", "conf.yaml")
        stream = self.hold()
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)
        with self.assertRaises(Incomplete):
            stream.read_reply()
        self.go.set()

    def test_a_second_signal_ends_at_once(self):
        self.begin()
        stream = self.hold()
        self.proxy.signal(signal.SIGTERM)
        eventually(self.refuses_connections)
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)
        with self.assertRaises(Incomplete):
            stream.read_reply()
        self.go.set()

    def test_hangup_opens_the_log_again_and_reads_the_graph(self):
        log, old = self.folder / "access.log", self.folder / "access.log.1"
        self.begin("--access-log", log)
        self.ask(self.proxy, "/one")
        eventually(lambda: "/one" in log.read_text())
        os.rename(log, old)
        self.ask(self.proxy, "/two")
        eventually(lambda: "/two" in old.read_text())
        path = next(self.folder.glob("graph-*.yaml"))
        path.write_text(path.read_text().replace("x-env", "x-new"))
        self.proxy.signal(signal.SIGHUP)
        eventually(log.exists)
        eventually(lambda: self.ask(self.proxy, "/three", fields=[("x-new", "no")]).status == 404)
        eventually(lambda: "/three" in log.read_text())
        self.assertNotIn("/three", old.read_text())
        self.assertNotIn("/two", log.read_text())


class AccessLog(StartCase):
    TEXT = re.compile(r'\S+Z 127\.0\.0\.1 (\d+) ("(?:[^"\\]|\\.)*") ("(?:[^"\\]|\\.)*") '
                      r'("(?:[^"\\]|\\.)*") env=("(?:[^"\\]|\\.)*") service=(\S+) provider=\S+ '
                      r'endpoint=\S+ '
                      r'class=\S+ rule=\S+ refusal=(\S+) fault=\S+ skew=- epoch=[01] '
                      r'trace=\S+ tries=\d+ in=\d+ out=\d+ protocol=http1 listener=\S+ '
                      r'request_id="[^"]*" accept_us=-?\d+ tls_us=-1 head_us=-?\d+ decide_us=-?\d+ '
                      r'connect_us=-?\d+ first_byte_us=-?\d+ total_us=\d+\Z')
    ODD = (b'"', b"\\", b'","refusal":"forged', b"\t", b"\x9b31m", b"\xff\xfe", b"\xe2\x80\xa8",
           b"\xc3\xa9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"a" * 63 + b"\xc3\xa9",
           b"' x=y env=z", b"%0a%0d%1b[31m", b"\\u000a", b"-")
    PATHS = (b'/"quoted"', b"/a%0d%0aforged", b"/%1b[31m", b"/x?refusal=none", b"/'",
             b"/" + b"y" * 5000, b'/","status":500,"x":"')

    def begin(self, form):
        self.log = self.folder / "access.log"
        self.proxy = self.start_proxy(WHOLE % self.provider().address, "--access-log", self.log,
                                      "--access-log-format", form)
        with connect(self.proxy.address) as stream:
            for path in self.PATHS:
                stream.ask(b"GET " + path + b" HTTP/1.1\r\nHost: a.test:80\r\n\r\n")
            for value in self.ODD:
                stream.ask(b"GET /odd HTTP/1.1\r\nHost: a\r\nX-Env: " + value + b"\r\n\r\n")
        with connect(self.proxy.address) as stream:
            stream.ask(b"\x1b[31m nonsense\r\n\r\n")
        self.total = len(self.PATHS) + len(self.ODD) + 1
        eventually(lambda: self.proxy.counters().get(
            "offshoot_access_log_lines_total") == self.total)
        text = self.log.read_bytes().decode()  # UTF-8, whatever came
        self.assertTrue(text.endswith("\n"))
        self.assertIsNone(re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text))
        lines = text.split("\n")[:-1]
        self.assertEqual(len(lines), self.total)
        return lines

    def test_json_lines(self):
        rows = [json.loads(line) for line in self.begin("json")]
        self.assertEqual(len({frozenset(row) for row in rows}), 1)
        for row, path in zip(rows, self.PATHS):
            self.assertEqual(row["path"], path.decode()[:2048])
            self.assertEqual((row["status"], row["host"], row["refusal"]), (200, "a.test:80", None))
            self.assertEqual((row["environment"], row["service"], row["provider"], row["rule"]),
                             ("main", "shop", "main", "default"))
        for row, value in zip(rows[len(self.PATHS) :], self.ODD):
            self.assertEqual((row["status"], row["refusal"]), (404, "unknown-environment"), value)
        self.assertEqual((rows[-1]["status"], rows[-1]["path"], rows[-1]["refusal"]),
                         (400, None, "bad-request"))

    def test_text_lines(self):
        for line, path in zip(self.begin("text"), (*self.PATHS, *self.ODD, b"-")):
            found = self.TEXT.match(line)
            self.assertTrue(found, line)
            if path in self.PATHS:
                self.assertEqual(json.loads(found.group(4)), path.decode()[:2048])
                self.assertEqual((found.group(1), found.group(6), found.group(7)),
                                 ("200", "shop", "-"))

    def test_secrets_are_in_no_log(self):
        secret = "s3cr3t"
        token = f"v1m.main.0.00.zz.{secret}.{'A' * 22}"
        fields = [("Authorization", f"Bearer {secret}"), ("Cookie", f"id={secret}"),
                  ("Proxy-Authorization", secret), ("X-Offshoot-Context", token),
                  ("baggage", f"a={secret},offshoot={token}"), ("X-Api-Key", secret)]
        for form in ("text", "json"):
            log = self.folder / f"{form}.log"
            proxy = self.start_proxy(
                WHOLE % self.provider().address, "--access-log", log, "--access-log-format", form,
                "--log-level", "debug", "--log-format", form,
                listen=("127.0.0.1:0,trusted", "127.0.0.1:0"))
            for address in ",".join(proxy.ready["listen"]).split(","):
                for some in (fields, fields[:3], [*fields, ("Expect", "x")]):
                    with connect(address) as stream:
                        stream.ask(request_bytes(fields=some))
            eventually(lambda: len(log.read_text().splitlines()) == 6)
            for text in (log.read_text(), proxy.errors(), proxy.output()):
                self.assertNotIn(secret, text)

    def test_a_full_disk_loses_lines_and_nothing_else(self):
        proxy = self.start_proxy(WHOLE % self.provider().address, "--access-log", "/dev/full")
        with connect(proxy.address) as stream:
            for _ in range(10):
                self.assertEqual(stream.ask(request_bytes()).status, 200)
        eventually(lambda: proxy.counters().get("offshoot_access_log_lost_total") == 10)
        self.assertEqual(proxy.counters().get("offshoot_access_log_lines_total"), 0)

    def test_a_log_that_cannot_be_opened_is_told(self):
        self.refuses("--graph", self.graph(), "--listen", "127.0.0.1:0", "--access-log",
                     "no/such.log", says="cannot open the access log 'no/such.log'")

    def test_standard_output(self):
        proxy = self.start_proxy(WHOLE % self.provider().address, "--access-log", "-")
        self.ask(proxy, "/seen")
        proxy.line(r'"GET" "localhost" "/seen"')


class Endpoints(StartCase):
    def test_names_are_looked_up(self):
        shop = self.provider()
        proxy = self.start_proxy(WHOLE % f"localhost:{shop.port}")
        for _ in range(3):
            self.assertEqual(self.ask(proxy).status, 200)
        self.assertEqual(proxy.counters().get("offshoot_name_lookups_total"), 1)

    def test_an_unknown_name_is_a_provider_that_cannot_be_reached(self):
        self.write("conf.yaml", 'dns: {servers: "127.0.0.1:%d", timeout: 50ms}\n' % free_port())
        proxy = self.start_proxy(WHOLE % "no-such-name.invalid:80", "-c", "conf.yaml")
        for _ in range(2):
            reply = self.ask(proxy)
            self.assertEqual((reply.status, reply.get("x-offshoot-error")), (502, "connect"))
        counters = proxy.counters()
        self.assertEqual(counters.get("offshoot_provider_errors_total", reason="name"), 2)
        self.assertGreaterEqual(counters.get("offshoot_name_failures_total"), 1)

    def forbidden(self, address, *flags, conf="{}"):
        path = self.write("conf.yaml", conf + "\n")
        self.refuses("--graph", self.graph(address=address), "-c", path, *flags,
                     *(() if "--listen" in flags else ("--listen", "127.0.0.1:0")),
                     says="endpoint-forbidden")

    def test_rules_are_kept_when_the_graph_is_read(self):
        for address in ("169.254.169.254:80", "[fe80::1]:80", "224.0.0.1:80", "[ff02::1]:80",
                        "[::ffff:169.254.169.254]:80", "unix:/run/x.sock"):
            with self.subTest(address):
                self.forbidden(address)
        allow = "endpoints: {allow: [10.0.0.0/8, 'fd00::/8'], unix: [/run/app]}"
        for address in ("127.0.0.1:80", "11.0.0.1:80", "[fe80::1]:80", "[::1]:80",
                        "9.255.255.255:1", "unix:/run/application/x", "unix:/run/app/../x"):
            with self.subTest(address):
                self.forbidden(address, conf=allow)
        path = self.write("conf.yaml", allow + "\n")
        for address in ("10.0.0.0:80", "10.255.255.255:80", "[fd00::1]:80", "unix:/run/app/x"):
            done = self.run_program("offshoot-proxy", "--check-config", "-c", path, "--graph",
                                    self.graph(address=address), "--listen", "127.0.0.1:0")
            self.assertEqual(done.stdout, b"ok\n", done.stderr)

    def test_a_graph_never_points_at_the_proxy_itself(self):
        port = free_port()
        for listen in (f"127.0.0.1:{port}", f"0.0.0.0:{port}", f"[::]:{port}"):
            for address in (f"127.0.0.1:{port}", f"[::ffff:127.0.0.1]:{port}", f"0.0.0.0:{port}"):
                with self.subTest(listen=listen, address=address):
                    self.forbidden(address, "--listen", listen)
        self.forbidden(f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{port}")
        admin = self.folder / "own.sock"
        allow = f"endpoints: {{unix: [{self.folder}]}}"
        self.forbidden(f"unix:{admin}", "--admin", admin, conf=allow)

    def test_a_running_proxy_keeps_the_rules(self):
        proxy = self.start_proxy(WHOLE % self.provider().address)
        path = next(self.folder.glob("graph-*.yaml"))
        path.write_text(WHOLE % proxy.address)
        eventually(lambda: not proxy.admin_json("/status")["graph"]["valid"])
        self.assertIn(b"endpoint-forbidden", proxy.admin("/check").body)
        self.assertEqual(self.ask(proxy).status, 200)

    def test_a_name_leads_nowhere_that_an_address_may_not(self):
        shop = self.provider()
        self.write("conf.yaml", "endpoints: {allow: [10.0.0.0/8]}\n")
        port = free_port()
        for to, flags, own in ((shop.port, ("-c", "conf.yaml"), 0), (port, (), port)):
            proxy = self.start_proxy(WHOLE % f"localhost:{to}", *flags,
                                     listen=(f"127.0.0.1:{own},trusted",))
            reply = self.ask(proxy)
            self.assertEqual((reply.status, reply.get("x-offshoot-error")), (502, "connect"))
            counters = proxy.counters()
            self.assertGreaterEqual(counters.get("offshoot_name_forbidden_total"), 1)
            self.assertEqual(counters.get("offshoot_provider_connects_total"), 0)
        self.assertEqual(shop.accepted, 0)


if __name__ == "__main__":
    unittest.main()
