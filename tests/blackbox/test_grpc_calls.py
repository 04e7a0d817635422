"""gRPC through the proxy: clients and servers of gRPC itself (python3-grpcio) on both sides."""

import os
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc
import http2
from graphs import baseline, gateway, graph_of, overlay, service
from harness import SECONDS, ProxyCase, eventually, sanitized
from http2 import http2_script

GRAPH = graph_of(
    service("echo", "protocol: grpc, port: 80"),
    baseline(echo="%(main)s"),
    overlay("gone", "remove: [echo]"),
    overlay("dead", echo="%(dead)s"),
    overlay("mute", echo="%(mute)s"),
    overlay("feat", echo="%(feat)s"),
    gateway({"/": "echo"}, "select: [{header: x-env}]"),
)


def same(message):
    return message


class Service:
    """A gRPC server whose methods tell what they saw."""

    def __init__(self, name):
        self.name, self.seen, self.ended = name, [], threading.Event()
        self.server = grpc.server(ThreadPoolExecutor(32))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Echo": grpc.stream_stream_rpc_method_handler(self.echo),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "Endless": grpc.unary_stream_rpc_method_handler(self.endless),
        }
        handler = grpc.method_handlers_generic_handler("t.Echo", kinds)
        self.server.add_generic_rpc_handlers((handler,))
        self.server.start()

    def close(self):
        self.server.stop(0).wait()

    def note(self, context):
        self.seen.append((dict(context.invocation_metadata()), context.time_remaining()))

    def unary(self, request, context):
        self.note(context)
        context.send_initial_metadata((("x-first", "one"),))
        context.set_trailing_metadata((("x-last", "two"), ("x-bytes-bin", b"\0\xff")))
        return self.name.encode() + b":" + request

    def count(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i

    def sum(self, requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def echo(self, requests, context):
        context.add_callback(self.ended.set)
        for r in requests:
            yield r

    def fail(self, request, context):
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.DATA_LOSS, "lost: 100 % \u00e4")

    def sleep(self, request, context):
        self.note(context)
        time.sleep(float(request))
        return b"late"

    def endless(self, request, context):
        context.add_callback(self.ended.set)
        while context.is_active():
            yield bytes(65536)


def begin(case):
    """The services of the graph, made by case.service, and a proxy before them."""
    case.main, case.feat = (case.closes(case.service(n)) for n in ("main", "feat"))
    case.mute = case.provider(http2_script(lambda server, request: None))
    case.graph = GRAPH % {
        "main": f"127.0.0.1:{case.main.port}",
        "feat": f"127.0.0.1:{case.feat.port}",
        "dead": case.nobody().address,
        "mute": case.mute.address,
    }
    case.proxy = case.start_proxy(case.graph)


class GrpcCalls(ProxyCase):
    def setUp(self):
        super().setUp()
        begin(self)
        # Of each test its own: channels to one address share their connections.
        own = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = self.closes(grpc.insecure_channel(self.proxy.address, own))

    def service(self, name):
        return Service(name)

    def method(self, name, kind="unary_unary"):
        return getattr(self.channel, kind)(f"/t.Echo/{name}", same, same)

    def failure(self, call, *args, **kwargs):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **{"timeout": SECONDS, **kwargs})
        return caught.exception

    def test_unary_calls_pass_metadata_and_trailers(self):
        reply, call = self.method("Unary").with_call(
            b"hello", metadata=(("x-own", "me"), ("k-bin", b"\1\2")), timeout=SECONDS)
        self.assertEqual(b"main:hello", reply)
        self.assertIn(("x-first", "one"), call.initial_metadata())
        trailing = dict(call.trailing_metadata())
        self.assertEqual(("two", b"\0\xff"), (trailing["x-last"], trailing["x-bytes-bin"]))
        seen = self.main.seen[-1][0]
        self.assertEqual(("me", b"\1\2"), (seen["x-own"], seen["k-bin"]))
        self.assertIn("offshoot=v1m.main.0.00", seen["baggage"])

    def test_each_call_of_a_connection_is_routed_on_its_own(self):
        unary = self.method("Unary")
        for i in range(50):
            env = ("main", "feat")[i % 2]
            got = unary(b"%d" % i, metadata=(("x-env", env),), timeout=SECONDS)
            self.assertEqual(b"%s:%d" % (env.encode(), i), got)

    def test_messages_of_every_size_stream_both_ways(self):
        sizes = (0, 1, 5, 16379, 16384, 16385, 65535, 1_000_000, 4_000_000)
        messages = [os.urandom(n) for n in sizes]
        echo = self.method("Echo", "stream_stream")
        self.assertEqual(messages, list(echo(iter(messages), timeout=SECONDS)))
        total = self.method("Sum", "stream_unary")(iter(messages), timeout=SECONDS)
        self.assertEqual(b"%d" % sum(sizes), total)
        count = self.method("Count", "unary_stream")
        self.assertEqual([b"%d" % i for i in range(5000)], list(count(b"5000", timeout=SECONDS)))

    def test_a_bidirectional_call_is_a_conversation(self):
        answered = threading.Semaphore(1)

        def ask():
            for i in range(20):
                self.assertTrue(answered.acquire(timeout=SECONDS))
                yield b"%d" % i

        for i, reply in enumerate(self.method("Echo", "stream_stream")(ask(), timeout=SECONDS)):
            self.assertEqual(b"%d" % i, reply)
            answered.release()
        self.assertEqual(19, i)

    def test_many_calls_at_once(self):
        echo = self.method("Echo", "stream_stream")
        asked = [[b"%d %d" % (i, j) for j in range(20)] for i in range(64)]
        with ThreadPoolExecutor(16) as pool:
            self.assertEqual(asked, list(pool.map(
                lambda m: list(echo(iter(m), timeout=SECONDS)), asked)))

    def test_a_status_of_the_service_passes_with_its_trailers(self):
        e = self.failure(self.method("Fail"), b"")
        self.assertEqual(grpc.StatusCode.DATA_LOSS, e.code())
        self.assertEqual("lost: 100 % \u00e4", e.details())
        self.assertEqual("because", dict(e.trailing_metadata())["x-why"])
        e = self.failure(self.method("NoSuch"), b"")
        self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, e.code())

    def test_refusals_are_trailers_only_with_the_mapped_status(self):
        for env, code, word in (
            ("nosuch", grpc.StatusCode.FAILED_PRECONDITION, "unknown-environment"),
            ("gone", grpc.StatusCode.FAILED_PRECONDITION, "removed"),
            ("dead", grpc.StatusCode.UNAVAILABLE, "connect"),
        ):
            e = self.failure(self.method("Unary"), b"", metadata=(("x-env", env),))
            self.assertEqual(code, e.code(), env)
            self.assertEqual(word, dict(e.initial_metadata() + e.trailing_metadata())
                             ["x-offshoot-error"])

    def test_the_deadline_is_passed_on_less_what_was_used(self):
        self.method("Unary")(b"", timeout=9.5)
        left = self.main.seen[-1][1]
        self.assertLess(left, 9.5)
        self.assertGreater(left, 1)

    def test_a_deadline_is_enforced_by_the_proxy_itself(self):
        # The client says it to the proxy alone and waits longer; the provider does not look at it.
        fields = (("grpc-timeout", "300m"), ("x-env", "mute"))
        e = self.failure(self.method("Sleep"), b"8", metadata=fields, timeout=None)
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, e.code())
        self.assertEqual(1, self.proxy.counters().get("offshoot_refusals_total", reason="timeout"))
        self.assertLess(int(self.mute.requests[0].get("grpc-timeout")[:-1]), 300_000)

    def test_a_deadline_that_cannot_be_read_is_refused_in_the_first_frame(self):
        fields = [("content-type", "application/grpc"), ("te", "trailers")]
        with http2.connect(self.proxy.address) as client:
            for value in ("soon", "1", "123456789S", "-1S"):
                x = client.ask("POST", "/t.Echo/Unary", fields=[*fields, ("grpc-timeout", value)])
                self.assertEqual((200, "3"), (x.status, x.get("grpc-status")), value)
                self.assertEqual("bad-request", x.get("x-offshoot-error"))

    def test_a_call_without_a_deadline_outlives_the_reply_timeout(self):
        self.write("short.yaml", "timeouts: {reply: 200ms}\n")
        proxy = self.start_proxy(self.graph, "-c", "short.yaml")
        channel = self.closes(grpc.insecure_channel(proxy.address))
        self.assertEqual(b"late", channel.unary_unary("/t.Echo/Sleep", same, same)(b"0.9"))

    def test_a_client_that_cancels_ends_the_call_at_the_service(self):
        stop = threading.Event()

        def ask():
            yield b"one"
            stop.wait(SECONDS)

        call = self.method("Echo", "stream_stream")(ask())
        self.assertEqual(b"one", next(call))
        call.cancel()
        self.assertTrue(self.main.ended.wait(SECONDS))
        stop.set()
        call = self.method("Endless", "unary_stream")(b"")
        self.main.ended.clear()
        self.assertEqual(65536, len(next(call)))
        call.cancel()
        self.assertTrue(self.main.ended.wait(SECONDS))
        eventually(lambda: self.proxy.counters().get("offshoot_requests") == 0)

    def test_a_service_that_dies_midway_is_seen_as_an_error(self):
        call = self.method("Endless", "unary_stream")(b"")
        self.assertEqual(65536, len(next(call)))
        self.main.close()
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in call:
                pass
        self.assertNotEqual(grpc.StatusCode.OK, caught.exception.code())

    def test_a_reader_that_is_slow_holds_back_only_itself(self):
        slow = self.method("Endless", "unary_stream")(b"")
        self.assertEqual(65536, len(next(slow)))
        unary = self.method("Unary")
        before = self.proxy.resident_bytes()
        for i in range(200):
            self.assertEqual(b"main:%d" % i, unary(b"%d" % i, timeout=SECONDS))
        if not sanitized():
            self.assertLess(self.proxy.resident_bytes() - before, 8 << 20)
        slow.cancel()


if __name__ == "__main__":
    unittest.main()
