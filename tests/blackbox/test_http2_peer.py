"""The tests' own HTTP/2: its two ends against each other, against independent programs, and that
its reader refuses what it must."""

import socket
import subprocess
import threading
import unittest

import http2
from fakes import Provider, fixed
from harness import Case, eventually, free_port
from http1 import BadMessage, Incomplete, Stream
from http1 import connect as connect_stream


def pair():
    a, b = socket.socketpair()
    return Stream(a, timeout=5), Stream(b, timeout=5)


class PeerCase(unittest.TestCase):
    def setUp(self):
        self.near, self.far = pair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)

    def serve(self, script):
        """Runs script(server) on the far end; what it raised is raised at the test's end."""
        faults = []

        def run():
            try:
                script(http2.Server(self.far))
            except Exception as e:  # raised below
                faults.append(e)
            self.far.close()

        def ended():
            self.near.close()
            thread.join(5)
            for fault in faults:
                raise fault

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(ended)


class EndsTest(PeerCase):
    def test_a_request_with_a_body_and_trailers_and_such_a_reply(self):
        body = bytes(range(256)) * 1000  # four times the windows

        def script(server):
            x = server.next_request()
            self.assertEqual(("PUT", "/a?b", "shop"), (x.method, x.target, x.get(":authority")))
            self.assertEqual((body, [("x-sum", "1")]), (x.body, x.trailers))
            server.send_head(x.stream, [(":status", "103"), ("link", "</a>")])
            server.answer(x.stream, 201, body[::-1], [("x-own", "v")], [("grpc-status", "0")])

        self.serve(script)
        client = http2.Client(self.near)
        x = client.ask("PUT", "/a?b", "shop", [("te", "trailers")], body, [("x-sum", "1")])
        self.assertEqual((201, "v", "103"), (x.status, x.get("x-own"), x.interim[0][0][1]))
        self.assertTrue(x.body == body[::-1] and x.whole)
        self.assertEqual([("grpc-status", "0")], x.trailers)
        self.assertEqual(1, client.settings_acked)

    def test_streams_are_answered_in_any_order(self):
        def script(server):
            requests = [server.next_request() for _ in range(10)]
            for x in reversed(requests):
                server.answer(x.stream, body=x.target.encode())

        self.serve(script)
        client = http2.Client(self.near)
        streams = [client.request("GET", f"/{i}") for i in range(10)]
        for i, stream in enumerate(streams):
            self.assertEqual(f"/{i}".encode(), client.reply(stream).body)

    def test_heads_in_pieces_with_padding_and_priority(self):
        def script(server):
            x = server.next_request()
            server.answer(x.stream, fields=[("x-long", "y" * 40_000), ("x-got", x.get("x-own"))])

        self.serve(script)
        client = http2.Client(self.near)
        block = client.block(http2.request_fields(fields=[("x-own", "v" * 300)]))
        n = client.new_stream()
        client.send(http2.headers(n, block[:50], True, False, pad=7, priority=(0, 256, True)),
                    http2.continuation(n, block[50:60], False), http2.continuation(n, block[60:]))
        x = client.reply(n)
        self.assertEqual((200, "v" * 300, 40_000), (x.status, x.get("x-got"), len(x.get("x-long"))))

    def test_a_closed_window_holds_the_body_back(self):
        went = threading.Event()

        def script(server):
            x = server.next_request()
            server.send_head(x.stream, [(":status", "200")])
            server.send_body(x.stream, b"12345")
            went.set()
            server.next_request()

        self.serve(script)
        client = http2.Client(self.near, {http2.INITIAL_WINDOW: 3})
        client.opens = False
        n = client.request()
        client.wait(lambda: client.exchanges[n].body == b"123")
        self.assertFalse(went.is_set())
        client.exchanges[n].window += 2
        client.send(http2.window_update(n, 2))
        self.assertEqual(b"12345", client.reply(n).body)

    def test_a_reset_and_a_goaway_are_told(self):
        def script(server):
            x = server.next_request()
            server.send(http2.goaway(x.stream, http2.ENHANCE_YOUR_CALM, b"why"),
                        http2.rst_stream(x.stream, http2.REFUSED_STREAM))

        self.serve(script)
        client = http2.Client(self.near)
        n = client.request()
        x = client.reply(n)
        self.assertEqual((http2.REFUSED_STREAM, False), (x.reset, x.whole))
        self.assertEqual((n, http2.ENHANCE_YOUR_CALM),
                         (client.goaways[0].last(), client.goaways[0].code()))
        self.assertIn(client.read_to_end(), ("eof", "reset"))

    def test_a_time_limit_leaves_the_connection_usable(self):
        client = http2.Client(self.near)
        n = client.request()
        half = http2.settings()
        self.far.send(half[:4])
        with self.assertRaises(Incomplete) as caught:
            client.wait(lambda: client.settings_seen, seconds=0.05)
        self.assertEqual("timeout", caught.exception.reason)
        self.far.send(half[4:] + http2.headers(n, http2.literal([(":status", "204")]), True))
        self.assertEqual(204, client.reply(n).status)

    def test_ping_is_answered(self):
        self.serve(lambda server: server.next_request())
        http2.Client(self.near).alive()


class JudgementTest(unittest.TestCase):
    """What a reader must not take."""

    OK = http2.literal([(":status", "200")])

    def refused(self, *frames, told=None):
        near, far = pair()
        with far, http2.Client(near, {http2.INITIAL_WINDOW: 1000}) as client:
            client.request()
            far.send(b"".join(frames))
            far.end_sending()
            with self.assertRaisesRegex(BadMessage, told or ""):
                client.read_to_end()

    def test_bad_heads(self):
        for fields in (
            [(":status", "200"), ("X-Upper", "a")], [("x", "y")], [("x", "y"), (":status", "200")],
            [(":status", "200"), (":status", "200")], [(":status", "200"), (":path", "/")],
            [(":status", "200"), ("connection", "close")], [(":status", "200"), ("x", "a\r\nb")],
            [(":status", "200"), ("transfer-encoding", "chunked")], [(":status", "200"), ("", "a")],
            [(":status", "200"), ("x", " a")], [(":status", "200"), ("te", "gzip")],
        ):  # fmt: skip
            with self.subTest(fields):
                self.refused(http2.headers(1, http2.literal(fields), end=True))

    def test_bad_frames(self):
        ok, end = http2.headers(1, self.OK), http2.headers(1, self.OK, end=True)
        for told, frames in (
            ("takes none", [http2.data(1, b"x")]),
            ("takes none", [end, http2.data(1, b"x")]),
            ("not open", [http2.headers(3, self.OK)]),
            ("without an end", [ok, http2.headers(1, http2.literal([("x", "y")]))]),
            ("stream's window", [ok, http2.data(1, b"x" * 1001)]),
            ("within a header block", [http2.headers(1, self.OK, end_headers=False), end]),
            ("without a header block", [http2.continuation(1, self.OK)]),
            ("header block", [http2.headers(1, b"\xff\xff\xff\xff\xff\xff")]),
            ("push", [http2.push_promise(1, 2, self.OK)]),
            ("a frame of", [http2.frame(http2.DATA, 0, 1, b"", length=16_385)]),
            ("padding", [ok, http2.frame(http2.DATA, http2.PADDED, 1, b"\x05abc")]),
            ("idle", [http2.window_update(3, 5)]),
            ("of nothing", [http2.window_update(0, 0)]),
            ("stream 3", [http2.rst_stream(3)]),
        ):
            with self.subTest(told, frames=frames):
                self.refused(*frames, told=told)


class OthersTest(Case):
    """Programs that share no code with it."""

    def run_tool(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def test_nghttp_reads_what_the_server_sends(self):
        body = b"0123456789" * 20_000
        provider = self.closes(Provider(http2.fixed2(body, 200, [("x-own", "value")])))
        said = self.run_tool("nghttp", "-v", f"http://{provider.address}/path?q")
        self.assertIn("x-own: value", said)
        self.assertTrue(self.run_tool("nghttp", f"http://{provider.address}/").encode() == body)
        self.assertEqual(["/path?q", "/"], [r.target for r in provider.requests])

    def test_h2load_finds_no_fault_with_the_server(self):
        provider = self.closes(Provider(http2.fixed2(b"x" * 3000)))
        said = self.run_tool("h2load", "-n", "400", "-c", "4", "-m", "10",
                             f"http://{provider.address}/")  # fmt: skip
        self.assertIn("400 succeeded, 0 failed", said)

    def start_nghttpx(self, front, *more):
        backend = self.provider(fixed(b"from behind" * 10_000, fields=[("X-Own", "value")]))
        host, port = backend.address.split(":")
        self.start_other("nghttpx", "--conf=/dev/null", f"-f{front}", f"-b{host},{port}",
                         "--workers=1", "--errorlog-file=nghttpx.log", *more)
        address = front.split(";")[0].replace(",", ":")

        def up():
            connect_stream(address).close()
            return True

        eventually(up)
        return address

    def test_the_client_speaks_to_nghttpx(self):
        address = self.start_nghttpx(f"127.0.0.1,{free_port()};no-tls")
        with http2.connect(address) as client:
            streams = [client.request("GET", f"/{i}") for i in range(20)]
            for stream in streams:
                x = client.reply(stream)
                self.assertEqual((200, "value"), (x.status, x.get("x-own")))
                self.assertTrue(x.whole and x.body == b"from behind" * 10_000)
            client.alive()

    def test_the_client_speaks_tls(self):
        self.run_tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-addext",
                      "subjectAltName=DNS:localhost", "-days", "2", "-keyout",
                      str(self.folder / "key"), "-out", str(self.folder / "cert"))  # fmt: skip
        address = self.start_nghttpx(f"127.0.0.1,{free_port()}", str(self.folder / "key"),
                                     str(self.folder / "cert"))  # fmt: skip
        tls = http2.tls_client(self.folder / "cert")
        with http2.connect(address, tls=tls, server_name="localhost") as client:
            self.assertEqual(200, client.ask(scheme="https").status)


if __name__ == "__main__":
    unittest.main()
