"""gRPC through the proxy with clients and servers of the C++ library, each against the other kind
too: what the calls of test_grpc_calls say of Python's holds for them."""

import re
import unittest
import zlib
from urllib.parse import unquote, unquote_to_bytes

import test_grpc_calls
from certs import Authority
from harness import BUILD, SECONDS, ProxyCase, eventually
from test_grpc_calls import Service

PEER = BUILD / "tests/blackbox/grpc_cpp"
OK, CANCELLED, DEADLINE_EXCEEDED = 0, 1, 4
FAILED_PRECONDITION, UNIMPLEMENTED, UNAVAILABLE, DATA_LOSS = 9, 12, 14, 15


def setUpModule():
    if not PEER.exists():
        raise unittest.SkipTest(f"'{PEER}' is not built: no C++ compiler or no libgrpc++-dev")


class Ended:
    """Like an Event that is set when a call of the service was cancelled."""

    def __init__(self, program):
        self.program, self.before = program, 0

    def count(self):
        return len(re.findall(r"^end \S+ cancelled$", self.program.output(), re.M))

    def clear(self):
        self.before = self.count()

    def wait(self, seconds):
        return eventually(lambda: self.count() > self.before, seconds)


class CppService:
    """The C++ server, as test_grpc_calls.Service is."""

    def __init__(self, case, name):
        self.program = case.start_other(PEER, "serve", "127.0.0.1:0", name)
        self.program.wait_ready()
        self.port = int(self.program.address.rpartition(":")[2])
        self.ended = Ended(self.program)

    def close(self):
        self.program.end()

    @property
    def seen(self):
        """Of each call of Unary or Sleep: its fields, and the seconds it had."""
        calls = re.findall(r"^call /t.Echo/(?:Unary|Sleep) deadline (\S+)\n((?:field .*\n)*)",
                           self.program.output(), re.M)  # fmt: skip
        return [(fields("field", text), None if left == "none" else int(left) / 1000)
                for left, text in calls]  # fmt: skip


def fields(word, text):
    """What the program printed as `word name=value` in lines of their own."""
    found = re.findall(rf"^{word} ([^ =]+)=(\S*)$", text, re.M)
    return {n: unquote_to_bytes(v) if n.endswith("-bin") else unquote(v) for n, v in found}


def large(size, pattern=bytes(range(251))):
    """What the client prints of a large message, by default that which it makes for @size."""
    text = (pattern * (size // len(pattern) + 1))[:size]
    return f"of {size} sum {zlib.crc32(text)}"


class PythonToCpp(test_grpc_calls.GrpcCalls):
    """Every call of test_grpc_calls, with services in C++."""

    def service(self, name):
        return CppService(self, name)


class Call:
    """What the client printed of a call."""

    def __init__(self, text):
        self.times = int(re.match(r"calls (\d+)\n", text).group(1))
        self.first = fields("first", text)
        self.last = fields("last", text)
        self.messages = [unquote(m) for m in re.findall(r"^message (.*)$", text, re.M)]
        status, details = re.search(r"^status (\d+) (.*)$", text, re.M).groups()
        self.status, self.details = int(status), unquote(details)


class CppClient:
    """The calls of a client in C++."""

    def setUp(self):
        super().setUp()
        test_grpc_calls.begin(self)

    def calls(self, method, *args, deadline=SECONDS):
        """The different outcomes of one call or many."""
        if deadline:
            args += ("-d", int(deadline * 1000))
        done = self.run_program(PEER, "call", self.proxy.address, method, *args)
        self.assertEqual((0, b""), (done.returncode, done.stderr))
        return [Call(text) for text in re.split(r"^(?=calls )", done.stdout.decode(), flags=re.M)
                if text]  # fmt: skip

    def call(self, *args, **options):
        (call,) = self.calls(*args, **options)
        return call

    def good(self, *args, **options):
        call = self.call(*args, **options)
        self.assertEqual(OK, call.status, call.details)
        return call

    def idle(self):
        eventually(lambda: self.proxy.counters().get("offshoot_requests") == 0)

    def test_unary_calls_pass_metadata_and_trailers(self):
        for kind in (["-u"], []):
            call = self.good("Unary", "hello", "-m", "x-own=me", "-m", "k-bin=\1\2", *kind)
            self.assertEqual(["main:hello"], call.messages)
            self.assertEqual("one", call.first["x-first"])
            self.assertEqual(("two", b"\0\xff"), (call.last["x-last"], call.last["x-bytes-bin"]))
            seen = self.main.seen[-1][0]
            self.assertEqual(("me", b"\1\2"), (seen["x-own"], seen["k-bin"]))
            self.assertIn("offshoot=v1m.main.0.00", seen["baggage"])

    def test_calls_are_routed_by_their_metadata(self):
        for env in ("main", "feat"):
            call = self.good("Unary", "a", "-m", f"x-env={env}", "-p", 2, "-r", 20)
            self.assertEqual((40, [f"{env}:a"]), (call.times, call.messages))

    def test_messages_of_every_size_stream_both_ways(self):
        sizes = (65, 16379, 16384, 16385, 65535, 1_000_000, 4_000_000)
        sent = ["", "a", *(f"@{n}" for n in sizes)]
        expected = ["", "a", *map(large, sizes)]
        for turns in ([], ["-t"]):
            self.assertEqual(expected, self.good("Echo", *sent, *turns).messages)
        self.assertEqual([str(sum(sizes) + 1)], self.good("Sum", *sent).messages)
        count = self.good("Count", "5000")
        self.assertEqual([str(i) for i in range(5000)], count.messages)

    def test_calls_without_messages(self):
        for method, messages in (("Echo", []), ("Sum", ["0"])):
            self.assertEqual(messages, self.good(method).messages)

    def test_many_calls_at_once(self):
        for args in (["Echo", "a", "@20000", "b"], ["Echo", "a", "b", "-t"], ["Unary", "c", "-u"]):
            call = self.good(*args, "-p", 16, "-r", 25)
            self.assertEqual(400, call.times)
        self.idle()

    def test_a_status_of_the_service_passes_with_its_trailers(self):
        for kind in (["-u"], []):
            call = self.call("Fail", "x", *kind)
            self.assertEqual((DATA_LOSS, "lost: 100 % \u00e4"), (call.status, call.details))
            self.assertEqual("because", call.last["x-why"])
            self.assertEqual(UNIMPLEMENTED, self.call("NoSuch", "x", *kind).status)

    def test_refusals_have_the_mapped_status(self):
        for env, code, word in (
            ("nosuch", FAILED_PRECONDITION, "unknown-environment"),
            ("gone", FAILED_PRECONDITION, "removed"),
            ("dead", UNAVAILABLE, "connect"),
        ):
            for kind in (["-u"], []):
                call = self.call("Unary", "x", "-m", f"x-env={env}", *kind)
                self.assertEqual(code, call.status, env)
                self.assertEqual(word, {**call.first, **call.last}["x-offshoot-error"])

    def test_the_deadline_is_passed_on_less_what_was_used(self):
        self.good("Unary", "x", deadline=9.5)
        left = self.main.seen[-1][1]
        self.assertLess(left, 9.5)
        self.assertGreater(left, 1)

    def test_a_deadline_that_passes_ends_the_call_everywhere(self):
        call = self.call("Endless", "x", "-m", "x-env=mute", deadline=0.3)
        self.assertEqual(DEADLINE_EXCEEDED, call.status)
        self.assertEqual(DEADLINE_EXCEEDED, self.call("Sleep", "2", deadline=0.3).status)
        self.idle()

    def test_a_call_without_a_deadline_is_not_cut(self):
        self.assertEqual(["late"], self.good("Sleep", "0.5", deadline=None).messages)

    def test_a_client_that_cancels_ends_the_call_at_the_service(self):
        call, zeros = self.call("Endless", "x", "-c", 3), large(65536, b"\0")
        self.assertEqual((CANCELLED, [zeros] * 3), (call.status, call.messages))
        self.assertTrue(self.main.ended.wait(SECONDS))
        self.assertEqual(CANCELLED, self.call("Echo", "a", "b", "-t", "-c", 1).status)
        self.idle()

    def test_calls_over_tls(self):
        ca = Authority(self.folder)
        pair = ca.issue("a", "DNS:a.test")
        self.proxy = self.start_proxy(self.graph, listen=(f"127.0.0.1:0,trusted,{pair.option}",))
        for args in (["Unary", "-u", "x"], ["Echo", "@1000000"], ["Count", "100"]):
            self.good(*args, "-a", ca.cert, "-n", "a.test")


class CppToCpp(CppClient, ProxyCase):
    def service(self, name):
        return CppService(self, name)


class CppToPython(CppClient, ProxyCase):
    def service(self, name):
        return Service(name)


if __name__ == "__main__":
    unittest.main()
