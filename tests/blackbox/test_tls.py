"""TLS at listeners: versions, names, kinds of keys, reload, tickets, what is refused and how it is
told, floods, idle memory. Clients are Python's ssl, curl and openssl."""

import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

from certs import Authority
from harness import (ONE_SHOP, ROOT, ProxyCase, connect, eventually, fixed, http_script,
                     reply_bytes, request_bytes, sanitized)
from http1 import split_address

GET = request_bytes("GET", "/", "a.test")
OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
FAILURES = "offshoot_tls_failures_total"


class TlsCase(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers",
                   "offshoot_tls_handshakes")  # fmt: skip

    def setUp(self):
        super().setUp()
        self.ca = Authority(self.folder)

    def begin(self, *options, conf="{}", script=None, flags=(), issue=True):
        self.shop = self.provider(script or fixed())
        if issue:
            self.pair = self.ca.issue("a", "DNS:a.test")
            options = (self.pair.option, *options)
        self.write("conf.yaml", conf + "\n")
        listen = ",".join(("127.0.0.1:0", *options))
        self.proxy = self.start_proxy(ONE_SHOP % self.shop.address, "-c", "conf.yaml", *flags,
                                      listen=(listen,))  # fmt: skip

    def open(self, name="a.test", context=None, **options):
        context = context or self.ca.client_context(**options)
        return self.closes(connect(self.proxy.address, tls=context, server_name=name))

    def good(self, *args, **options):
        stream = self.open(*args, **options)
        self.assertEqual(200, stream.ask(GET).status)
        return stream

    def failed(self, reason, n=1):
        eventually(lambda: self.proxy.counters().get(FAILURES, reason=reason) == n,
                   what=f"{n} failures '{reason}'")  # fmt: skip

    def refused(self, reason, *args, **options):
        before = self.proxy.counters().get(FAILURES, reason=reason)
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.open(*args, **options).ask(GET)
        self.failed(reason, before + 1)


class Versions(TlsCase):
    def test_both_versions_and_what_the_provider_is_told(self):
        self.begin()
        for version, name in ((OLD, "TLSv1.2"), (NEW, "TLSv1.3")):
            stream = self.good(version=version)
            self.assertEqual(name, stream.sock.version())
            self.assertEqual("http/1.1", stream.sock.selected_alpn_protocol())
        self.assertEqual("https", self.shop.requests[-1].get("x-forwarded-proto"))

    def test_the_lowest_version_is_a_setting(self):
        self.begin(conf="tls: {minVersion: 1.3}")
        self.good(version=NEW)
        self.refused("version", version=OLD)

    def test_no_cipher_in_common(self):
        self.begin()
        self.refused("no-shared-cipher", version=OLD, ciphers="AES128-SHA256")

    def test_older_versions_and_renegotiation_are_refused(self):
        self.begin()
        host, port = split_address(self.proxy.address)
        old = subprocess.run(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_1", "-cipher",
             "ALL:@SECLEVEL=0"], input=b"", capture_output=True, timeout=30)  # fmt: skip
        self.assertIn(b"Cipher is (NONE)", old.stdout)
        self.failed("version")
        # "R" at the beginning of a line asks for renegotiation.
        again = subprocess.run(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2"],
            input=b"R\n", capture_output=True, timeout=30)  # fmt: skip
        self.assertIn(b"RENEGOTIATING", again.stdout + again.stderr)
        self.assertRegex(again.stderr, b"no renegotiation|unexpected eof|alert")
        self.good()

    def test_curl_with_either_protocol(self):
        self.begin()
        for flag, wanted in (("--http1.1", "1.1"), ("--http2", "2")):
            host, port = split_address(self.proxy.address)
            done = subprocess.run(
                ["curl", "-sS", flag, "--cacert", self.ca.cert,
                 "--resolve", f"a.test:{port}:{host}", "-w",
                 " %{http_version} %{http_code}", f"https://a.test:{port}/"],
                capture_output=True, timeout=30, check=True)  # fmt: skip
            self.assertEqual(f"ok {wanted} 200", done.stdout.decode())


class Names(TlsCase):
    def shown(self, name, ciphers=None, version=OLD):
        context = self.ca.client_context(version=version, ciphers=ciphers)
        context.check_hostname = False
        stream = self.open(name, context)
        subject = dict(part[0] for part in stream.sock.getpeercert()["subject"])
        return subject["commonName"]

    def test_rsa_and_ecdsa_side_by_side(self):
        pairs = (self.ca.issue("rsa", "DNS:a.test,DNS:b.test", "rsa"),
                 self.ca.issue("ec", "DNS:a.test"),
                 self.ca.issue("wild", "DNS:*.wild.test"))  # fmt: skip
        self.begin(*(p.option for p in pairs), issue=False)
        self.assertEqual("ec", self.shown("a.test"))
        self.assertEqual("rsa", self.shown("a.test", "ECDHE-RSA-AES128-GCM-SHA256"))
        self.assertEqual("rsa", self.shown("b.test"))
        self.assertEqual("wild", self.shown("x.wild.test"))
        self.assertEqual("ec", self.shown("x.y.wild.test", "ECDHE-ECDSA-AES128-GCM-SHA256"))
        self.assertIn(self.shown(None), ("rsa", "ec"))

    def test_strict_refuses_other_names(self):
        self.begin("sni=strict")
        self.good()
        context = self.ca.client_context()
        context.check_hostname = False
        self.refused("unknown-name", "b.test", context)
        self.refused("unknown-name", None, context)

    def test_no_protocol_in_common(self):
        self.begin("alpn=http/1.1")
        self.refused("no-protocol", alpn=("h2",))
        self.assertIsNone(self.good(alpn=()).sock.selected_alpn_protocol())


class Reload(TlsCase):
    def serial(self):
        return self.open().sock.getpeercert()["serialNumber"]

    def replace(self, pair, name="next", **options):
        fresh = self.ca.issue(name, "DNS:a.test", **options)
        pair.key.write_bytes(fresh.key.read_bytes())
        pair.cert.write_bytes(fresh.cert.read_bytes())

    def test_a_changed_file_is_seen_and_open_connections_stay(self):
        self.begin(flags=("--workers", "2"))
        before, old = self.serial(), self.good()
        self.replace(self.pair)
        eventually(lambda: self.serial() != before, what="the new certificate")
        self.assertEqual(200, old.ask(GET).status)
        self.assertGreaterEqual(self.proxy.counters().get("offshoot_tls_loads_total"), 1)

    def test_a_bad_file_changes_nothing_and_is_named(self):
        self.begin()
        before = self.serial()
        self.pair.cert.write_text("no certificate\n")
        eventually(lambda: self.proxy.counters().get("offshoot_tls_loads_refused_total") >= 1)
        self.proxy.line(rf"certificate '{re.escape(str(self.pair.cert))}'", stream="stderr")
        self.assertEqual(before, self.serial())
        self.assertTrue(self.proxy.admin_json("/status")["tls"]["invalid"])
        self.replace(self.pair)
        eventually(lambda: self.serial() != before, what="the new certificate")
        self.assertFalse(self.proxy.admin_json("/status")["tls"]["invalid"])

    def test_a_folder_and_a_hangup(self):
        store = self.folder / "store"
        store.mkdir()
        one = self.ca.issue("one", "DNS:a.test")
        (store / "one.pem").write_bytes(one.bytes())
        (store / "one.pem").chmod(0o600)
        (store / "ca.crt").write_bytes(self.ca.cert.read_bytes())
        self.begin(f"tls={store}", issue=False)
        self.good()
        two = self.ca.issue("two", "DNS:b.test")
        (store / "b.key").write_bytes(two.key.read_bytes())
        (store / "b.key").chmod(0o600)
        (store / "b.crt").write_bytes(two.cert.read_bytes())
        self.proxy.signal(signal.SIGHUP)
        eventually(lambda: self.proxy.counters().get("offshoot_tls_loads_total") >= 1)
        eventually(lambda: self.open("b.test"), what="the new name")

    def test_a_key_that_others_may_read_stops_the_start(self):
        pair = self.ca.issue("a", "DNS:a.test")
        pair.key.chmod(0o644)
        self.write("graph.yaml", ONE_SHOP % "127.0.0.1:1")
        for more in ((), ("--check-config",)):
            done = self.run_program("offshoot-proxy", "--graph", self.folder / "graph.yaml",
                                    "--listen", f"127.0.0.1:0,{pair.option}", *more)  # fmt: skip
            self.assertEqual(1, done.returncode)
            self.assertIn(b"may be used by others", done.stderr)

    def test_reloads_under_load_drop_nothing(self):
        self.begin(flags=("--workers", "2"))
        stop, faults, counts = threading.Event(), [], []

        def load(fresh):
            context, n, stream = self.ca.client_context(), 0, None
            try:
                while not stop.is_set():
                    if fresh or stream is None:
                        stream = connect(self.proxy.address, tls=context, server_name="a.test")
                    if stream.ask(GET).status != 200:
                        raise AssertionError("not 200")
                    n += 1
                    if fresh:
                        stream.close()
            except Exception as e:
                faults.append(e)
            counts.append(n)

        threads = [threading.Thread(target=load, args=(i % 2,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for i in range(4):
            loads = self.proxy.counters().get("offshoot_tls_loads_total")
            self.replace(self.pair, f"n{i}")
            self.proxy.signal(signal.SIGHUP)
            eventually(lambda: self.proxy.counters().get("offshoot_tls_loads_total") > loads)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual([], faults)
        self.assertTrue(all(counts), counts)


class Example(TlsCase):
    def test_the_example_of_conf_runs(self):
        text = (ROOT / "conf/tls.yaml").read_text().replace("/etc/offshoot", str(self.folder))
        (self.folder / "sites").mkdir()
        self.ca.issue("a", "DNS:a.test")
        for end in ("crt", "key"):
            (self.folder / f"a.{end}").rename(self.folder / f"sites/a.{end}")
        self.ca.issue("mesh", "DNS:a.test")
        self.shop = self.provider()
        self.write("graph/shop.yaml", ONE_SHOP % self.shop.address)
        self.write("conf.yaml", re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", text))
        self.proxy = self.start("offshoot-proxy", "-c", "conf.yaml", "--admin",
                                self.folder / "admin.sock")  # fmt: skip
        self.good()
        context = self.ca.client_context(self.ca.issue("me", "URI:spiffe://shop/me"))
        stream = self.client(self.proxy, 1, tls=context, server_name="a.test")
        self.assertEqual(200, stream.ask(GET).status)


class Tickets(TlsCase):
    def resume(self, session, context):
        sock = socket.create_connection(split_address(self.proxy.address), 20)
        sock = context.wrap_socket(sock, server_hostname="a.test", session=session)
        sock.sendall(GET)
        self.assertTrue(sock.recv(100).startswith(b"HTTP/1.1 200"))
        reused, session = sock.session_reused, sock.session
        sock.close()
        return reused, session

    def test_tickets_are_good_at_any_worker_and_over_a_reload(self):
        self.begin(flags=("--workers", "4"))
        for version in (OLD, NEW):
            context = self.ca.client_context(version=version)
            reused, session = self.resume(None, context)
            self.assertFalse(reused)
            for i in range(12):
                if i == 6:
                    self.proxy.signal(signal.SIGHUP)
                    loads = version - OLD + 1
                    eventually(lambda: self.proxy.counters().get("offshoot_tls_loads_total")
                               >= loads)  # fmt: skip
                reused, session = self.resume(session, context)
                self.assertTrue(reused)
        self.assertEqual(24, self.proxy.counters().get("offshoot_tls_resumed_total"))


class Faults(TlsCase):
    def raw(self):
        return self.closes(connect(self.proxy.address))

    def test_plain_http_is_answered(self):
        self.begin()
        for method in ("GET", "DELETE", "OPTIONS"):
            stream = self.raw()
            reply = stream.ask(request_bytes(method, "/", "a.test"))
            self.assertEqual((400, "close"), (reply.status, reply.get("connection")))
            self.assertIn(b"plain-http-where-tls-is-spoken", reply.body)
            stream.expect_end()
        self.failed("http-request", 3)
        self.assertEqual([], self.shop.requests)

    def test_bytes_that_are_no_tls(self):
        self.begin()
        for i, data in enumerate((b"\0\1\2\3\4\5", b"\x16\x04\1\0\5hello", b"\x16\3\1\xff\xff")):
            stream = self.raw()
            stream.send(data)
            stream.expect_end()
            self.failed("not-tls", i + 1)
        stream = self.raw()
        stream.send(b"\x16\3\1\0\5hello")
        self.assertEqual(b"\x15\3", stream.read_to_end()[:2])  # an alert
        self.failed("protocol")
        self.proxy.line(r"TLS with 127\.0\.0\.1:\d+ failed \(not-tls\)", stream="stderr")

    def test_a_client_that_does_not_trust_us_is_heard(self):
        self.begin()
        for version in (OLD, NEW):
            context = ssl.create_default_context()
            context.minimum_version = context.maximum_version = version
            with self.assertRaises(ssl.SSLCertVerificationError):
                self.open(context=context)
        self.failed("alert", 2)
        self.proxy.line(r"the client refuses us: TLS alert 'unknown CA'", stream="stderr")

    def test_half_a_handshake_is_cut(self):
        self.begin(conf="timeouts: {handshake: 300ms}")
        silent, half = self.raw(), self.raw()
        half.send(b"\x16\3\1\2\0\1")
        silent.expect_end()
        half.expect_end()
        self.failed("timeout", 2)
        gone = self.raw()
        gone.send(b"\x16\3\1")
        gone.close()
        self.failed("closed")

    def hello(self):
        """A whole ClientHello."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = self.ca.client_context()
        end = context.wrap_bio(incoming, outgoing, server_hostname="a.test")
        with self.assertRaises(ssl.SSLWantReadError):
            end.do_handshake()
        return outgoing.read()

    def test_handshakes_are_bounded_and_stalled_ones_make_room(self):
        self.begin(conf="{limits: {handshakes: 4}, timeouts: {handshake: 60s}}")
        hello = self.hello()
        attackers = [self.raw() for _ in range(16)]
        for stream in attackers:
            stream.send(hello)
        eventually(lambda: self.proxy.counters().get("offshoot_tls_handshakes") == 4)
        self.good()  # though nobody's time is up
        self.assertLessEqual(self.proxy.counters().get("offshoot_tls_handshakes"), 4)
        self.assertGreater(self.proxy.counters().get(FAILURES, reason="busy"), 0)

    def test_more_than_may_wait_are_closed(self):
        self.begin(conf="{limits: {handshakes: 1}, timeouts: {handshake: 60s}}")
        hello = self.hello()
        attackers = [self.raw() for _ in range(40)]
        for stream in attackers:
            stream.send(hello)
        eventually(lambda: self.proxy.counters().get(FAILURES, reason="busy") >= 40 - 17)

    def test_a_flood_of_key_updates_is_cut(self):
        """RFC 8446 section 4.6.3 sets no limit; each costs two derivations and an answer."""
        self.begin()
        host, port = split_address(self.proxy.address)
        # "K" asks for the other side's new keys too.
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_3", "-servername",
             "a.test"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            eventually(lambda: self.proxy.counters().get("offshoot_tls_handshakes_total") == 1)

            def flooded():
                try:
                    client.stdin.write(b"K\n")
                    client.stdin.flush()
                except OSError:
                    pass
                time.sleep(0.01)
                return self.proxy.counters().get(FAILURES, reason="flood") == 1

            eventually(flooded)
        finally:
            client.kill()
            client.communicate()


class Pieces(TlsCase):
    """A client over memory, so that the test decides how its bytes reach the proxy."""

    def begin_client(self, version):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.end = self.ca.client_context(version=version).wrap_bio(
            self.incoming, self.outgoing, server_hostname="a.test")  # fmt: skip
        self.wire = self.closes(connect(self.proxy.address))

    def run_step(self, fn, send):
        """Calls fn until it has what it wants; what it says goes out by send."""
        while True:
            try:
                return fn()
            except ssl.SSLWantReadError:
                send(self.outgoing.read())
                data = self.wire.sock.recv(65536)
                if not data:
                    self.incoming.write_eof()
                self.incoming.write(data)

    def test_every_byte_by_itself(self):
        self.begin()
        for version in (OLD, NEW):
            self.begin_client(version)
            self.run_step(self.end.do_handshake, self.wire.send_slowly)
            for _ in range(2):
                self.end.write(GET)
                self.wire.send_slowly(self.outgoing.read())
                reply = b""
                while not reply.endswith(b"ok"):
                    reply += self.run_step(lambda: self.end.read(65536), self.wire.send)

    def test_the_last_request_and_the_end_in_one_packet(self):
        self.begin()
        for version in (OLD, NEW):
            self.begin_client(version)
            self.run_step(self.end.do_handshake, self.wire.send)
            self.end.write(GET[:20])  # a record each
            self.end.write(GET[20:])
            with self.assertRaises(ssl.SSLWantReadError):
                self.end.unwrap()
            self.wire.send(self.outgoing.read())
            self.wire.end_sending()
            got = b""
            while data := self.wire.sock.recv(65536):
                self.incoming.write(data)
            self.incoming.write_eof()
            try:
                while data := self.end.read(65536):
                    got += data
            except ssl.SSLError:
                pass
            self.assertEqual((1, True), (got.count(b"HTTP/1.1 200"), got.endswith(b"ok")))

    def test_records_of_any_size(self):
        self.begin(script=http_script(lambda request: reply_bytes(200, request.body)))
        body = bytes(range(256)) * 256
        for version in (OLD, NEW):
            self.begin_client(version)
            self.run_step(self.end.do_handshake, self.wire.send)
            data = request_bytes("POST", "/", "a.test", body=body)
            at = 0
            for size in (1, 2, 3, 5, 1000, 4095, 4096, 8191, 16383, 16384):
                self.end.write(data[at : at + size])
                at += size
            self.end.write(data[at:])
            self.wire.send(self.outgoing.read())
            got = b""
            while not got.endswith(body):
                got += self.run_step(lambda: self.end.read(65536), self.wire.send)


class Bodies(TlsCase):
    def test_large_bodies_both_ways(self):
        body = bytes(range(256)) * (40 << 10)  # 10 MiB

        def answer(request):
            return reply_bytes(200, request.body)

        self.begin(script=http_script(answer))
        for version in (OLD, NEW):
            stream = self.open(version=version)
            stream.timeout = 120
            got = []
            reader = threading.Thread(target=lambda s=stream, g=got: g.append(s.read_reply("POST")))
            reader.start()
            stream.send(request_bytes("POST", "/", "a.test", body=body))
            reader.join()
            self.assertEqual(body, got[0].body)

    def test_requests_behind_each_other_in_one_record(self):
        self.begin()
        stream = self.open()
        stream.send(GET * 50)
        for _ in range(50):
            self.assertEqual(200, stream.read_reply().status)


@unittest.skipIf(sanitized(), "sanitizers hold memory back")
class Memory(TlsCase):
    def test_an_idle_connection_holds_less_than_15_kib(self):
        self.begin(conf="timeouts: {idle: 10m}")
        n = 600
        warm = [self.good() for _ in range(100)]
        before = self.proxy.resident_bytes()
        streams = [self.good() for _ in range(n)]
        eventually(lambda: self.proxy.counters().get("offshoot_buffers") == 0)
        each = (self.proxy.resident_bytes() - before) / n
        self.assertLess(each, 15 << 10)
        self.assertEqual(100 + n, len(warm) + len(streams))


if __name__ == "__main__":
    unittest.main()
