"""The test harness itself: its reader of HTTP/1, its fakes, and that its judgements can fail."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import unittest

from fakes import Nobody, Provider, fixed
from harness import ROOT, Case, Counters, Program, eventually
from http1 import BadMessage, Incomplete, Stream, connect, reply_bytes, request_bytes
from ports import candidates, claimed, claims, free_port, free_ports, unused

# A program as the harness expects one; each test of a judgement changes one thing.
PROGRAM = """
    import os, signal, socket, sys
    FLAW = sys.argv[2]
    server = socket.create_server(("127.0.0.1", 0))
    def end(*_):
        print("live objects", 3 if FLAW == "objects" else 0, file=sys.stderr, flush=True)
        os._exit(1 if FLAW == "exit" else 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if FLAW == "stays" else end)
    kept = []
    print("ready listen=127.0.0.1:%d" % server.getsockname()[1], flush=True)
    if FLAW == "report":
        reports = os.environ["OFFSHOOT_SANITIZER_LOGS"]
        open(os.path.join(reports, "report.%d" % os.getpid()), "w").write("heap-overflow")
    while True:
        sock, _ = server.accept()
        if FLAW == "leaks":
            sock.sendall(b"kept")
            kept.append(sock)
        else:
            sock.close()
        if FLAW == "dies":
            os._exit(0)
"""


def pair():
    a, b = socket.socketpair()
    return Stream(a, timeout=5), Stream(b, timeout=5)


class ReaderTest(unittest.TestCase):
    def setUp(self):
        self.near, self.far = pair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)

    def reply_of(self, data, **how):
        self.far.send(data)
        return self.near.read_reply(**how)

    def test_reads_a_reply_by_its_length_and_leaves_the_next(self):
        reply = self.reply_of(reply_bytes(200, b"one") + reply_bytes(404, b"two", reason="No"))
        self.assertEqual((200, b"one", "length"), (reply.status, reply.body, reply.framing))
        self.assertEqual(reply_bytes(200, b"one"), reply.raw)
        self.assertEqual((404, b"two"), (self.near.read_reply().status, b"two"))

    def test_reads_chunks_and_trailers(self):
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        reply = self.reply_of(head + b"3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\nsum: 1\r\n\r\n")
        self.assertEqual([b"abc", b"0123456789"], reply.chunks)
        self.assertEqual([("sum", "1")], reply.trailers)

    def test_reads_a_body_until_the_close(self):
        self.far.send(b"HTTP/1.0 200 OK\r\n\r\nrest")
        self.far.end_sending()
        self.assertEqual(b"rest", self.near.read_reply().body)

    def test_a_reply_to_head_has_no_body(self):
        reply = self.reply_of(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", method="HEAD")
        self.assertEqual(("5", b""), (reply.get("Content-Length"), reply.body))

    def test_a_cut_reply_is_incomplete_and_keeps_what_came(self):
        self.far.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
        self.far.close()
        with self.assertRaises(Incomplete) as caught:
            self.near.read_reply()
        self.assertEqual("eof", caught.exception.reason)
        self.assertTrue(caught.exception.raw.endswith(b"ab"))

    def test_refuses_what_is_no_reply(self):
        for data in (
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\n\r\n",
            b"HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\x00\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        ):
            with self.subTest(data):
                near, far = pair()
                with near, far:
                    far.send(data)
                    self.assertRaises(BadMessage, near.read_reply)

    def test_reads_requests_until_the_peer_closes(self):
        self.far.send(request_bytes("POST", "/a", "x.test", [("X-A", "1")], b"body"))
        self.far.close()
        request = self.near.read_request()
        self.assertEqual(("POST", "/a", b"body"), (request.method, request.target, request.body))
        self.assertEqual("x.test", request.get("host"))
        self.assertIsNone(self.near.read_request())

    def test_expect_end_fails_on_more_bytes(self):
        self.far.send(b"x")
        self.far.close()
        self.assertRaises(AssertionError, self.near.expect_end)


class FakesTest(unittest.TestCase):
    def test_a_provider_answers_and_notes_requests(self):
        provider = Provider(fixed(b"hello"))
        self.addCleanup(provider.close)
        with connect(provider.address) as client:
            self.assertEqual(b"hello", client.ask(request_bytes(target="/1")).body)
            self.assertEqual(b"hello", client.ask(request_bytes(target="/2")).body)
        self.assertEqual(["/1", "/2"], [r.target for r in provider.requests])
        eventually(lambda: provider.open_connections == 0)

    def test_a_closed_provider_leaves_no_thread(self):
        provider = Provider(fixed())
        with connect(provider.address) as client:
            client.ask(request_bytes())
            provider.close()
        self.assertFalse(any(t.is_alive() for t in provider.threads))

    def test_a_script_that_fails_is_kept_as_a_fault(self):
        provider = Provider(lambda stream: 1 // 0)
        with connect(provider.address) as client:
            client.expect_end()
        provider.close()
        self.assertEqual([ZeroDivisionError], [type(f) for f in provider.faults])

    def test_nobody_refuses(self):
        nobody = Nobody()
        self.addCleanup(nobody.close)
        self.assertRaises(ConnectionRefusedError, connect, nobody.address)


class PortsTest(unittest.TestCase):
    def test_all_are_different_and_none_is_one_that_the_kernel_gives(self):
        with socket.create_server(("127.0.0.1", 0)) as given:
            found = [*free_ports(200), *(free_port() for _ in range(20))]
            self.assertEqual(220, len(set(found)))
            self.assertEqual(set(), set(found) - set(candidates()))
            self.assertNotIn(given.getsockname()[1], candidates())

    def test_no_other_process_gets_one(self):
        port = free_port()
        script = "import sys, ports; print(*map(ports.claimed, map(int, sys.argv[1:])))"
        other = next(p for p in candidates() if claimed(p))
        claims.pop(other).close()
        said = subprocess.run(
            [sys.executable, "-B", "-c", script, str(port), str(other)],
            cwd=ROOT / "tests/blackbox", capture_output=True, text=True, check=True)  # fmt: skip
        self.assertEqual("False True\n", said.stdout)

    def test_a_port_that_is_listened_at_is_not_given(self):
        port = free_port()
        self.assertTrue(unused(port, "127.0.0.1"))
        with socket.create_server(("127.0.0.1", port)):
            self.assertFalse(unused(port, "127.0.0.1"))
        with socket.create_server(("0.0.0.0", port)):
            self.assertFalse(unused(port, "127.0.0.1"))


class CountersTest(unittest.TestCase):
    TEXT = """\
# HELP a_total A.
# TYPE a_total counter
a_total{x="1",y="a,b"} 2
a_total{x="2"} 3
b 1
"""

    def test_sums_the_samples_with_the_labels_asked_for(self):
        counters = Counters(self.TEXT)
        self.assertEqual(5, counters.get("a_total"))
        self.assertEqual(2, counters.get("a_total", y="a,b"))
        self.assertRaises(KeyError, counters.get, "a_total", x="3")

    def test_tells_what_changed(self):
        before, after = Counters("b 1\nc 1\n"), Counters(self.TEXT)
        self.assertEqual({'a_total{x="1",y="a,b"}': 2, 'a_total{x="2"}': 3}, after.since(before))

    def test_refuses_other_text(self):
        for text in ("a", "a{x=1} 1\n", "a b\n", "a 1\na 1\n", 'a{x="1"y="2"} 1\n'):
            with self.subTest(text):
                self.assertRaises(AssertionError, Counters, text)


class EventuallyTest(unittest.TestCase):
    def test_returns_the_first_true_value(self):
        values = iter([0, None, "here"])
        self.assertEqual("here", eventually(lambda: next(values)))

    def test_tells_the_last_problem_when_time_is_up(self):
        def fn():
            raise OSError("no such thing")

        with self.assertRaisesRegex(AssertionError, "no such thing"):
            eventually(fn, seconds=0.01)


class JudgementTest(unittest.TestCase):
    """Each flaw of a program must make the test that started it fail."""

    def judged(self, flaw, act=lambda case, program: None):
        """What Case says of a program with the flaw: None, or the failure's text."""

        class One(Case):
            if flaw == "leaks":
                quiet_seconds = 0.3
            if flaw == "stays":
                end_seconds = 1

            def runTest(self):
                script = self.write("program.py", textwrap.dedent(PROGRAM))
                program = Program([sys.executable, script, "--", flaw], self.folder)
                self.programs.append(program.wait_ready())
                with connect(program.address) as client:
                    if flaw == "leaks":
                        client.read_exactly(4)
                    else:
                        client.expect_end()
                act(self, program)

        result = unittest.TestResult()
        with Reports():
            One().run(result)
        problems = result.failures + result.errors
        return problems[0][1] if problems else None

    def test_a_clean_program_passes(self):
        self.assertIsNone(self.judged(""))

    def test_a_bad_exit_status_fails(self):
        self.assertIn("0 != 1", self.judged("exit"))

    def test_live_objects_fail(self):
        self.assertIn("'0' != '3'", self.judged("objects"))

    def test_a_sanitizer_report_fails(self):
        self.assertIn("heap-overflow", self.judged("report"))

    def test_an_early_end_fails(self):
        def wait(case, program):
            program.wait()

        self.assertIn("ended before the test did", self.judged("dies", wait))

    def test_an_exit_status_other_than_expected_fails(self):
        def expect(case, program):
            program.signal(signal.SIGTERM)
            case.expect_exit(program, 7)

        self.assertIn("7 != 0", self.judged("", expect))

    def test_a_leaked_descriptor_fails(self):
        self.assertRegex(self.judged("leaks"), r"\d+ descriptors, \d+ at the start")

    def test_a_program_that_ignores_sigterm_fails(self):
        self.assertIn("still runs after 1 s", self.judged("stays"))


class Reports:
    """A folder of sanitizer reports for planted ones, apart from the real one."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.before = os.environ.get("OFFSHOOT_SANITIZER_LOGS")
        os.environ["OFFSHOOT_SANITIZER_LOGS"] = self.folder.name

    def __exit__(self, *_):
        if self.before is None:
            del os.environ["OFFSHOOT_SANITIZER_LOGS"]
        else:
            os.environ["OFFSHOOT_SANITIZER_LOGS"] = self.before
        self.folder.cleanup()


if __name__ == "__main__":
    unittest.main()
