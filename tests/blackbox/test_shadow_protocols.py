"""Sessions of all that HTTP carries: gRPC, HTTP/2, compressed, chunked, with trailers, large, or
without a body."""

import gzip
import json
import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc
import http2
from graphs import baseline, gateway, graph_of, overlay, service
from harness import connect, eventually, reply_bytes
from shadow_system import SystemCase, ended, json_reply, running
from test_grpc_calls import same

MIB = 1 << 20
JSON = ("content-type", "application/json")


def chunked(body, trailers=(), fields=()):
    lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *(f"{n}: {v}" for n, v in fields)]
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:half], body[half:]) if p)
    ends = "".join(f"{n}: {v}\r\n" for n, v in trailers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + parts + f"0\r\n{ends}\r\n".encode()


class Http(SystemCase):
    names = ("front",)

    def answers(self, main, feat=None):
        """What each of them replies to any request: bytes."""
        self.replies["main", "front"] = lambda request, _: main
        self.replies["feat", "front"] = lambda request, _: main if feat is None else feat

    def go(self, **params):
        self.begin()
        self.start_session(**{"until": "limit", **params})
        self.until(running)

    def samples(self, n, **asking):
        """The session with n more samples."""
        at = self.session()["samples"]
        return self.until(lambda s: s["samples"] >= at + n, **asking)

    def lost(self, session, *reasons):
        """Nothing was dropped but for these reasons, and while the context was being proved."""
        self.assertEqual(set(reasons), set(session["dropped"]) - {"canary"})

    def fails_at(self, path, kind):
        self.go(until="decision")
        end = self.until(ended)
        self.assertEqual("fail", end["verdict"], end["why"])
        self.assertEqual([(path, kind)], [(f["path"], f["kind"]) for f in end["fields"]])
        return end["fields"][0]["examples"][0]

    def test_compressed_bodies_are_compared_as_they_are_inside(self):
        def packed(value, level):
            body = gzip.compress(json.dumps({"same": 1, "x": value}).encode(), level, mtime=level)
            return reply_bytes(200, body, [JSON, ("content-encoding", "gzip")])

        self.answers(packed(1, 1), packed(2, 9))
        example = self.fails_at("body.x", "value")
        self.assertEqual(("1", "2"), (example["primary"], example["candidate"]))

    def test_trailers_are_compared(self):
        self.answers(chunked(b'{"a":1}', [("x-sum", "1")], [JSON, ("Trailer", "x-sum")]),
                     chunked(b'{"a":1}', [("x-sum", "2")], [JSON, ("Trailer", "x-sum")]))
        self.fails_at("trailer.x-sum", "value")

    def test_framing_is_no_difference(self):
        self.answers(json_reply({"a": 1}), chunked(b'{"a": 1}', fields=[JSON]))
        self.go()
        self.assertEqual([], self.samples(8)["fields"])

    def test_replies_without_a_body(self):
        none = b"HTTP/1.1 204 No Content\r\nX-Own: %d\r\n\r\n"
        for n, env in enumerate(("main", "feat")):
            self.replies[env, "front"] = lambda request, _, n=n: (
                none % n if request.target == "/none" else json_reply({"a": 1}))  # fmt: skip
        self.go()
        self.assertEqual([], self.samples(4, method="HEAD")["fields"])
        now = self.samples(8, target="/none", status=204)
        self.assertEqual(["header.x-own"], [f["path"] for f in now["fields"]])
        self.lost(now)
        self.assertIn("HEAD", {seen.method for seen in self.log("feat", "front")})

    def test_bodies_up_to_a_mebibyte(self):
        whole = b"x" * MIB
        self.answers(reply_bytes(200, whole), reply_bytes(200, whole[:-1] + b"y"))
        self.go()
        now = self.samples(3)
        self.assertTrue([f for f in now["fields"] if f["path"].startswith("body")], now["fields"])
        self.lost(now)
        # Above it: of the primary, where the user has it whole, and of the candidate.
        short, long = reply_bytes(200, b"short"), reply_bytes(200, whole + b"z")
        for n, env in enumerate(("main", "feat")):
            self.replies[env, "front"] = lambda request, _, n=n: (
                long if request.target == ("/primary", "/candidate")[n] else short)  # fmt: skip
        with connect(self.proxy.ready["listen"][0]) as stream:
            self.assertEqual(whole + b"z", self.ask(stream, target="/primary").body)
        eventually(lambda: self.session()["dropped"].get("body") == 1)
        self.users(1, target="/candidate")
        eventually(lambda: self.session()["dropped"].get("too-large") == 1)
        self.lost(self.session(), "body", "too-large")

    def test_large_requests(self):
        self.specs = {"front": "state: none, shadow: safe"}
        self.answers(json_reply({"a": 1}))
        self.go()
        body = bytes(range(256)) * (MIB // 256)
        self.users(3, "POST", body=body)
        posts = eventually(
            lambda: len(p := self.log("feat", "front", "POST")) == 3 and p)
        self.assertEqual({body}, {seen.request.body for seen in posts})
        self.users(1, "POST", body=body + b"z")
        eventually(lambda: self.session()["dropped"].get("body") == 1)

    def test_clients_of_http2(self):
        self.answers(json_reply({"a": 1}), json_reply({"a": 2}))
        self.go()
        at = self.session()["samples"]
        with http2.Client(connect(self.proxy.ready["listen"][0])) as client:

            def enough():
                self.asked += 1
                trace = ("traceparent", f"00-{self.asked:032x}-00f067aa0ba902b7-01")
                reply = client.ask("GET", "/h2/1", "front", [trace, ("x-own", "1")])
                self.assertEqual((200, b'{"a": 1}'), (reply.status, bytes(reply.body)))
                return self.session()["samples"] >= at + 6

            eventually(enough)
        now = self.session()
        self.assertIn("body.a", {f["path"] for f in now["fields"]})
        self.assertIn("front GET /h2/{}", {e["name"] for e in now["endpoints"]})
        mirrored = [s for s in self.log("feat", "front") if s.target == "/h2/1"]
        self.assertEqual({"1"}, {s.request.get("x-own") for s in mirrored})


class Server:
    def __init__(self, reply):
        self.server = grpc.server(ThreadPoolExecutor(8))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        handler = grpc.unary_unary_rpc_method_handler(reply)
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("t.Shop", {"Get": handler}),))
        self.server.start()

    def close(self):
        self.server.stop(0).wait()


class Grpc(SystemCase):
    names = ("front",)

    def graph(self, more=""):
        spec = "hosts: [front], protocol: grpc, state: none, shadow: safe"
        return graph_of(service("front", spec), baseline(front=self.main.address),
                        overlay("feat", front=self.feat.address), gateway({"/": "front"}))

    def verdict(self, reply):
        """Of a session with this candidate; the primary answers {1: 7, 3: "tea"}."""
        self.main = self.closes(Server(lambda request, context: b"\x08\x07\x1a\x03tea"))
        self.feat = self.closes(Server(reply))
        self.begin()
        self.start_session()
        with grpc.insecure_channel(self.proxy.ready["listen"][0]) as channel:
            get = channel.unary_unary("/t.Shop/Get", same, same)

            def over():
                self.assertEqual(b"\x08\x07\x1a\x03tea", get(b"\x08\x01", timeout=20))
                return ended(self.session())

            eventually(over, 60)
        end = self.session()
        self.assertEqual("fail", end["verdict"], end["why"])
        return end

    def test_failure_names_the_number_of_the_field(self):
        end = self.verdict(lambda request, context: b"\x08\x07\x1a\x04rice")
        worst = end["fields"][0]
        self.assertEqual("front POST /t.Shop/Get", worst["endpoint"])
        self.assertRegex(worst["path"], r"\Abody\..*\b3\Z")
        self.assertIn("tea", worst["examples"][0]["primary"])
        self.assertIn("rice", worst["examples"][0]["candidate"])

    def test_failure_of_its_status(self):
        def refuse(request, context):
            context.abort(grpc.StatusCode.NOT_FOUND, "none")

        end = self.verdict(refuse)
        self.assertIn("grpc-status", {h["name"] for h in end["headlines"] if h["state"] == "fail"}
                      | {"grpc-status" for f in end["fields"] if "grpc-status" in f["path"]})


if __name__ == "__main__":
    unittest.main()
