"""Connections relayed without HTTP, by server name, and PROXY headers: with openssl and haproxy as
peers, and raw bytes."""

import json
import re
import shutil
import struct
import subprocess
import threading
import unittest

from checksum import crc32c
from graphs import baseline, gateway, graph_of, overlay, service
from harness import (
    ONE_SHOP, ProxyCase, connect, eventually, free_port, http_script, reply_bytes,
    request_bytes,
)  # fmt: skip

GRAPH = graph_of(
    service("db", "protocol: tcp, policy: {retries: {max: 1}}"),
    gateway({}, 'select: [{host: "*.db.test"}]'),
    baseline(db="[%s]"),
    overlay("feat-42", "access: public", db="%s"),
    overlay("closed"),
)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(source="198.51.100.9", port=4711, tlvs=b"", command=1, family=0x11):
    addresses = bytes(int(n) for n in source.split(".")) + bytes([203, 0, 113, 1])
    body = addresses + struct.pack(">HH", port, 443) + tlvs
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(body)) + body


def says(name):
    """A provider's script: its name at once, then what it hears until the end."""

    def script(stream):
        stream.send(name)
        stream.provider.note(stream.read_to_end())

    return script


class TcpCase(ProxyCase):
    zero_gauges = ("offshoot_live_objects", "offshoot_tunnels", "offshoot_requests")

    def begin(self, main, feat, *listen, text="", log="json"):
        self.log = self.folder / "access.log"
        mains = ", ".join(f'"{address}"' for address in main)
        self.proxy = self.start_proxy(
            GRAPH % (mains, feat), "-c", self.write("conf.yaml", text), "--access-log", self.log,
            "--access-log-format", log, listen=listen or ("127.0.0.1:0,tcp=db",))  # fmt: skip

    def lines(self, n):
        def look():
            text = self.log.read_text()
            return text.count("\n") == n and [json.loads(line) for line in text.splitlines()]

        return eventually(look)


class Relay(TcpCase):
    def begin_two(self, *listen, text=""):
        self.main, self.feat = self.provider(says(b"main")), self.provider(says(b"feat"))
        self.begin([self.main.address], self.feat.address, *listen, text=text)

    def test_plain_bytes_go_to_the_default_environment_with_half_close(self):
        self.begin_two()
        stream = self.client(self.proxy)
        stream.send(b"x" * 100000)
        self.assertEqual(b"main", stream.read_exactly(4))
        stream.end_sending()
        self.assertEqual(b"", stream.read_to_end())
        eventually(lambda: self.main.requests == [b"x" * 100000])
        (line,) = self.lines(1)
        self.assertEqual(
            ("TCP", "tcp", "main", "db", None, None, 100000, 4),
            tuple(line[k] for k in ("method", "protocol", "environment", "service", "refusal",
                                    "fault", "body_in", "body_out")))  # fmt: skip
        self.assertEqual(1, self.proxy.counters().get("offshoot_tunnels_total", kind="tcp"))

    def test_who_speaks_first_is_free_to(self):
        self.begin_two("127.0.0.1:0,tcp=db,env=main", "127.0.0.1:0,tcp=db",
                       text="timeouts: {clientHello: 150ms}\n")
        for n in (0, 1):
            stream = self.client(self.proxy, n)
            self.assertEqual(b"main", stream.read_exactly(4))

    def test_a_fixed_environment(self):
        self.begin_two("127.0.0.1:0,tcp=db,env=feat-42", "127.0.0.1:0,tcp=db,env=nothing",
                       "127.0.0.1:0,tcp=db,env=closed", "127.0.0.1:0,tcp=db,trusted,env=closed")
        self.assertEqual(b"feat", self.client(self.proxy).read_exactly(4))
        self.client(self.proxy, 1).expect_end()
        self.client(self.proxy, 2).expect_end()
        self.assertEqual(b"main", self.client(self.proxy, 3).read_exactly(4))
        refused = [line["refusal"] for line in self.lines(2)]
        self.assertEqual(["unknown-environment", "forbidden"], refused)

    def test_a_service_that_is_none_is_told_at_the_start(self):
        self.begin_two("127.0.0.1:0,tcp=nothing", "127.0.0.1:0,tcp=db")
        self.client(self.proxy).expect_end()
        (line,) = self.lines(1)
        self.assertEqual("no-service", line["refusal"])
        told = [line for line in self.proxy.errors().splitlines() if " warn " in line]
        self.assertEqual(1, len(told), told)
        self.assertIn("tcp=nothing: there is no such service in the graph", told[0])

    def test_a_name_may_be_required(self):
        self.begin_two("127.0.0.1:0,tcp=db,sni=required")
        stream = self.client(self.proxy)
        stream.send(b"SELECT 1\n")
        stream.expect_end()
        self.assertEqual("no-environment", self.lines(1)[0]["refusal"])
        self.assertEqual(0, self.main.accepted)

    def test_balanced_as_http_is_and_past_a_dead_endpoint(self):
        two = [self.provider(says(b"main")) for _ in range(2)]
        self.begin([p.address for p in two], two[0].address)
        for _ in range(10):
            stream = self.client(self.proxy)
            stream.send(b"-")
            stream.read_exactly(4)
        self.assertEqual([5, 5], [p.accepted for p in two])
        two[1].close()
        for _ in range(4):
            stream = self.client(self.proxy)
            stream.send(b"-")
            stream.read_exactly(4)

    def test_nobody_at_home(self):
        self.begin([self.nobody().address], self.nobody().address)
        stream = self.client(self.proxy)
        stream.send(b"hello")
        stream.expect_end()
        self.assertEqual("connect", self.lines(1)[0]["refusal"])

    def test_many_at_a_time(self):
        self.main = self.provider(says(b"main"), backlog=512)
        self.begin([self.main.address], self.main.address)
        streams = [self.client(self.proxy) for _ in range(200)]
        for i, stream in enumerate(streams):
            stream.send(b"%d" % i)
        for stream in streams:
            self.assertEqual(b"main", stream.read_exactly(4))
            stream.end_sending()
        for stream in streams:
            self.assertEqual(b"", stream.read_to_end())
        eventually(lambda: len(self.main.requests) == 200)
        self.assertEqual({b"%d" % i for i in range(200)}, set(self.main.requests))

    def test_a_mebibyte_each_way_at_once(self):
        data = bytes(range(256)) * 4096

        def script(stream):
            thread = threading.Thread(target=stream.sock.sendall, args=(data,))
            thread.start()
            stream.provider.note(stream.read_exactly(len(data)))
            thread.join()

        provider = self.provider(script)
        self.begin([provider.address], provider.address)
        stream = self.client(self.proxy)
        thread = threading.Thread(target=stream.sock.sendall, args=(data,))
        thread.start()
        got = stream.read_exactly(len(data))
        thread.join()
        self.assertEqual(data, got)
        eventually(lambda: provider.requests == [data])


class ServerNames(TcpCase):
    def begin_tls(self):
        """One openssl s_server an environment; each has its name in its certificate."""
        addresses = {}
        for name in ("main", "feat-42"):
            key, cert = self.folder / f"{name}.key", self.folder / f"{name}.pem"
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                 "-keyout", key, "-out", cert],
                check=True, capture_output=True)  # fmt: skip
            port = free_port()
            self.start_other("openssl", "s_server", "-accept", str(port), "-key", key, "-cert",
                             cert, "-rev", "-naccept", "50",
                             until=lambda p=port: connect(f"127.0.0.1:{p}").close() or True)
            addresses[name] = f"127.0.0.1:{port}"
        self.begin([addresses["main"]], addresses["feat-42"])

    def s_client(self, *args, text=b"hello\n"):
        """What openssl s_client says, told `text`; s_server turns each line round."""
        host, port = self.proxy.address.rsplit(":", 1)
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{host}:{port}", *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            client.stdin.write(text)
            client.stdin.flush()
            out = b""
            while b"olleh\n" not in out:
                data = client.stdout.read1(65536)
                if not data:
                    break
                out += data
            return out.decode(errors="replace")
        finally:
            client.kill()
            client.communicate()

    def test_the_server_name_chooses_and_tls_is_not_ended(self):
        self.begin_tls()
        for args, name in (
            (("-servername", "feat-42.db.test"), "feat-42"),
            (("-servername", "FEAT-42.DB.TEST", "-tls1_2"), "feat-42"),
            (("-servername", "feat-42.db.test", "-alpn", "h2,x"), "feat-42"),
            (("-servername", "www.other.test"), "main"),
            (("-noservername",), "main"),
            (("-noservername", "-tls1_2"), "main"),
        ):
            with self.subTest(args=args):
                out = self.s_client(*args)
                self.assertRegex(out, rf"subject=CN = {name}\n")
                self.assertIn("olleh", out)
        hosts = [(line["host"], line["environment"]) for line in self.lines(6)]
        self.assertEqual(("feat-42.db.test", "feat-42"), hosts[0])
        self.assertEqual(("", "main"), hosts[4])

    def test_environments_that_are_unknown_or_closed(self):
        self.begin_tls()
        for name in ("nothing", "closed"):
            out = self.s_client("-servername", f"{name}.db.test")
            self.assertNotIn("subject=", out)
        self.assertEqual(
            ["unknown-environment", "forbidden"], [line["refusal"] for line in self.lines(2)])

    def test_a_hello_byte_by_byte(self):
        self.begin_tls()
        hello = self.capture("-servername", "feat-42.db.test")
        stream = self.client(self.proxy)
        stream.send_slowly(hello)
        self.assertEqual(b"\x16\x03", stream.read_exactly(2))  # the ServerHello
        stream.close()
        self.assertEqual("feat-42", self.lines(1)[0]["environment"])

    def capture(self, *args):
        """The ClientHello that openssl s_client sends."""
        got = []
        catcher = self.provider(lambda s: got.append(s.read_exactly(5)) or got.append(
            s.read_exactly(struct.unpack(">H", got[0][3:5])[0])))
        subprocess.run(["openssl", "s_client", "-connect", catcher.address, *args],
                       stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return b"".join(got)

    def test_hellos_that_cannot_be_read_are_closed_by_name(self):
        self.begin_tls()
        for data, reason in (
            (b"\x16\x03\x01\x00\x00", "record"),
            (b"\x16\x03\x01\x00\x05\x02\x00\x00\x00\x00", "not-hello"),
            (b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", "too-long"),
        ):
            stream = self.client(self.proxy)
            stream.send(data)
            stream.expect_end()
            self.assertEqual(
                1, self.proxy.counters().get("offshoot_server_names_total", result=reason))


class ProxyHeaders(ProxyCase):
    LISTEN = ("127.0.0.1:0,proxy-protocol", "127.0.0.1:0,trusted")

    def begin(self, text=""):
        self.shop = self.provider(http_script(lambda request: reply_bytes()))
        self.proxy = self.start_proxy(
            ONE_SHOP % self.shop.address, "-c", self.write("conf.yaml", text), listen=self.LISTEN)

    def who(self, before, slowly=False):
        """Whom the provider is told about, when these bytes come before a request."""
        with connect(self.proxy.address) as stream:
            data = before + request_bytes()
            if slowly:
                stream.send_slowly(data)
            else:
                stream.send(data)
            self.assertEqual(200, stream.read_reply().status)
        return self.shop.requests[-1].get("x-forwarded-for")

    def test_headers_of_both_versions(self):
        self.begin()
        for header in (
            b"PROXY TCP4 198.51.100.9 203.0.113.1 4711 443\r\n",
            version_2(),
            version_2(tlvs=b"\x04\x00\x02ab\x02\x00\x05a.org\x20\x00\x03xyz"),
            version_2(family=0x12),
        ):
            self.assertEqual("198.51.100.9", self.who(header))
            self.assertEqual("198.51.100.9", self.who(header, slowly=True))
        for header in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN a b c\r\n",
                       SIGNATURE + b"\x20\x00\x00\x00", version_2(command=0),
                       SIGNATURE + b"\x21\x00\x00\x00"):
            self.assertEqual("127.0.0.1", self.who(header))
        six = b"PROXY TCP6 2001:DB8:0::9 ::1 4711 443\r\n"
        self.assertEqual("2001:db8::9", self.who(six))

    def test_a_checksum_counts(self):
        self.begin()
        zeros = version_2(tlvs=b"\x03\x00\x04\0\0\0\0")
        right = zeros[:-4] + struct.pack(">I", crc32c(zeros))
        self.assertEqual("198.51.100.9", self.who(right))
        self.closed(right[:-1] + bytes([right[-1] ^ 1]), "checksum")

    def closed(self, data, reason):
        before = self.proxy.counters()
        with connect(self.proxy.address) as stream:
            stream.send(data + request_bytes())
            stream.expect_end()
        key = f'offshoot_proxy_headers_total{{result="{reason}"}}'
        eventually(lambda: self.proxy.counters().since(before).get(key) == 1, what=key)

    def test_everything_else_is_closed_with_its_reason(self):
        self.begin()
        for data, reason in (
            (b"", "no-header"),
            (b"proxy TCP4 198.51.100.9 203.0.113.1 4711 443\r\n", "no-header"),
            (b" PROXY TCP4 198.51.100.9 203.0.113.1 4711 443\r\n", "no-header"),
            (SIGNATURE[:-1] + b"\r\x21\x00\x00\x00", "no-header"),
            (b"PROXY TCP4 198.51.100.9 203.0.113.1 4711 443\n", "malformed"),
            (b"PROXY TCP4  198.51.100.9 203.0.113.1 4711 443\r\n", "malformed"),
            (b"PROXY TCP4 198.51.100.9 203.0.113.1 4711\r\n", "malformed"),
            (b"PROXY TCP4 198.51.100.9 203.0.113.1 4711 443 x\r\n", "malformed"),
            (b"PROXY TCP4 198.51.100.999 203.0.113.1 4711 443\r\n", "address"),
            (b"PROXY TCP4 2001:db8::9 203.0.113.1 4711 443\r\n", "address"),
            (b"PROXY TCP4 198.51.100.9 203.0.113.1 4711 65536\r\n", "port"),
            (b"PROXY TCP4 198.51.100.9 203.0.113.1 04711 443\r\n", "port"),
            (b"PROXY UDP4 198.51.100.9 203.0.113.1 4711 443\r\n", "family"),
            (b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n", "too-long"),
            (b"PROXY " + b"x" * 4000, "too-long"),
            (SIGNATURE + b"\x11\x11\x00\x0c" + b"\0" * 12, "version"),
            (SIGNATURE + b"\x2f\x11\x00\x0c" + b"\0" * 12, "command"),
            (version_2(family=0x41), "family"),
            (version_2(family=0x21), "length"),
            (SIGNATURE + b"\x21\x11\x00\x00", "length"),
            (SIGNATURE + b"\x21\x11\xff\xff", "too-long"),
            (version_2(tlvs=b"\x04\x00\x09ab"), "tlv"),
            (version_2(tlvs=b"\x04"), "tlv"),
        ):
            with self.subTest(data=data[:60]):
                self.closed(data, reason)
        self.assertEqual([], self.shop.requests)

    def test_one_header_a_connection(self):
        self.begin()
        header = b"PROXY TCP4 198.51.100.9 203.0.113.1 4711 443\r\n"
        with connect(self.proxy.address) as stream:
            for _ in range(3):
                stream.send((header if not self.shop.requests else b"") + request_bytes())
                self.assertEqual(200, stream.read_reply().status)
            reply = stream.ask(header + request_bytes(), "GET")
            self.assertEqual(400, reply.status)
        self.assertEqual({"198.51.100.9"},
                         {r.get("x-forwarded-for") for r in self.shop.requests})

    def test_a_slow_or_missing_header(self):
        self.begin("timeouts: {proxyHeader: 200ms}\n")
        for data in (b"", b"PROXY TCP4 198.51"):
            with connect(self.proxy.address) as stream:
                stream.send(data)
                stream.expect_end()
        eventually(lambda: self.proxy.counters().get(
            "offshoot_proxy_headers_total", result="slow") == 2)
        with connect(self.proxy.address) as stream:
            stream.send(b"PROXY TCP4 198.51")
            stream.end_sending()
            stream.expect_end()
        self.assertEqual(1, self.proxy.counters().get("offshoot_proxy_headers_total", result="cut"))

    @unittest.skipUnless(shutil.which("haproxy"), "haproxy is not installed")
    def test_haproxy_in_front(self):
        self.begin()
        front = {}
        conf = "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n" \
               "  timeout client 9s\n  timeout server 9s\n"  # fmt: skip
        for name, option in (
            ("v1", "send-proxy"),
            ("v2", "send-proxy-v2"),
            ("ssl", "send-proxy-v2-ssl-cn"),
            ("crc", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"),
        ):
            front[name] = free_port()
            conf += (f"listen {name}\n  bind 127.0.0.1:{front[name]}\n"
                     "  unique-id-format %[uuid()]\n"
                     f"  server s {self.proxy.address} {option}\n")
        self.start_other(
            "haproxy", "-db", "-f", self.write("haproxy.cfg", conf),
            until=lambda: all(connect(f"127.0.0.1:{p}").close() or True for p in front.values()))
        before = self.proxy.counters().get("offshoot_proxy_headers_total", result="ok")
        for name, port in front.items():
            with self.subTest(name=name), connect(f"127.0.0.1:{port}") as stream:
                for _ in range(2):
                    self.assertEqual(200, stream.ask(request_bytes()).status)
                self.assertEqual(
                    str(port), self.shop.requests[-1].get("x-forwarded-port"))
        counters = self.proxy.counters()
        self.assertGreaterEqual(
            counters.get("offshoot_proxy_headers_total", result="ok") - before, len(front))
        for key, value in counters.samples.items():
            if key[0] == "offshoot_proxy_headers_total" and value:
                self.assertRegex(str(dict(key[1])), re.compile("ok|cut"))


if __name__ == "__main__":
    unittest.main()
