"""A secret that users send and providers answer is written, shown and logged nowhere: looked for in
every form in all that a session leaves, with all kinds of places that it may stand in."""

import base64
import gzip
import json
import os
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import grpc
import redis
from graphs import baseline, gateway, graph_of, overlay, service
from harness import eventually, free_port, reply_bytes
from shadow_system import SystemCase, json_reply, running
from test_grpc_calls import same

SECRET = "Zq7/Canary+Secret=42"
JWT = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=")
               for part in ('{"alg":"HS256","typ":"JWT"}', f'{{"sub":"{SECRET}"}}', "s" * 33))
JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


def spellings():
    """Of the secret: as it is, in a URL, in JSON, and in base64 at each of three places."""
    found = {SECRET, quote(SECRET), quote(SECRET, safe=""), SECRET.replace("/", "\\/"),
             JWT.split(".")[1]}  # fmt: skip
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for ahead in range(3):
            text = encode(b"x" * ahead + SECRET.encode()).decode()
            found.add(text[4 if ahead else 0 : -4])
    return {text.encode() for text in found}


class Looking(SystemCase):
    names = ("front",)
    specs = {"front": "state: none, shadow: safe"}

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.start_other("redis-server", "--port", str(self.port), "--save", "", until=self.pings)
        self.places = {}

    def pings(self):
        try:
            return redis.Redis(port=self.port).ping()
        except redis.ConnectionError:
            return False

    def look(self, what, data):
        data = data if isinstance(data, bytes) else data.encode()
        self.places[what] = len(data)
        for text in spellings():
            self.assertNotIn(text, data, what)

    def keys(self):
        with redis.Redis(port=self.port) as store:
            for key in store.keys("*"):
                kind = store.type(key)
                whole = {b"hash": lambda k=key: store.hgetall(k),
                         b"stream": lambda k=key: store.xrange(k),
                         b"list": lambda k=key: store.lrange(k, 0, -1)}[kind]()  # fmt: skip
                yield key.decode(), repr((key, whole))

    def look_everywhere(self):
        eventually(lambda: self.session()["redis"]["behind"] == 0 or None)
        eventually(lambda: len(list(self.keys())) == 4)
        for path in self.folder.rglob("*"):
            if path.is_file():
                self.look(str(path.relative_to(self.folder)), path.read_bytes())
        for fd in os.listdir(f"/proc/{self.agent.program.pid}/fd"):
            path = Path(f"/proc/{self.agent.program.pid}/fd/{fd}")
            if path.is_file():
                self.look(f"open file {fd}", path.read_bytes())
        for key, whole in self.keys():
            self.look(key, whole)
        for name, text in self.program_logs().items():
            self.look(name, text)
        for path in ("/sessions/s", "/sessions", "/status", "/metrics", "/history"):
            for kind in ("application/json", "text/plain"):
                reply = self.agent.program.admin(path, fields=[("Accept", kind)])
                self.look(f"{path} as {kind}", reply.body)
        for words in (("show", "s"), ("show", "s", "--json"), ("verdict", "s"), ("list",),
                      ("verdict", "s", "--junit", self.folder / "junit.xml")):  # fmt: skip
            status, text = self.agent_ctl("shadow", *words)
            self.assertIn(status, (0, 1, 2), text)
            self.look(f"shadow {words}", text)
        report = self.folder / "report.html"
        status, text = self.agent_ctl("shadow", "report", "s", "--output", report)
        self.assertEqual(0, status, text)
        self.look("report", report.read_bytes())
        self.assertGreater(self.places["report"], 1000)
        journal = [n for what, n in self.places.items() if what.endswith("shadow/s/journal")]
        self.assertGreater(journal[0], 1000)

    def begin(self, *flags):
        super().begin("--redis", f"redis://127.0.0.1:{self.port}", *flags)


class Http(Looking):
    def reply(self, request, more):
        """All of it again, and each role another."""
        self.count += 1
        mine = f"{SECRET}{self.count}"
        answer = {"password": mine, "deep": [{"apiKey": mine}], "auth": f"Bearer {mine}",
                  "count": self.count, **more}  # fmt: skip
        if request.target.startswith("/form"):
            return reply_bytes(200, urlencode({"access_token": mine}).encode(), [FORM])
        fields = [("Set-Cookie", f"sid={mine}; Path=/"), ("X-Auth-Token", mine)]
        if request.target.startswith("/gzip"):
            body = gzip.compress(json.dumps(answer).encode())
            return reply_bytes(200, body, [JSON, ("Content-Encoding", "gzip"), *fields])
        return json_reply(answer, fields=fields)

    def test_secret_in_requests_and_replies(self):
        self.count = 0
        self.replies["main", "front"] = lambda request, _: self.reply(request, {})
        self.replies["feat", "front"] = lambda request, _: self.reply(
            request, {"theirs": {"clientSecret": f"{SECRET}{self.count}"}, "more": 1})
        self.begin()
        self.start_session(until="limit", credentials="forward")
        given = [("Authorization", f"Bearer {SECRET}"), ("Cookie", f"a=b; sid={SECRET}"),
                 ("X-Api-Key", SECRET)]  # fmt: skip
        target = f"/items?access_token={quote(SECRET, safe='')}"
        text = json.dumps({"user": {"password": SECRET}, "note": JWT}).encode()
        self.until(running, target=target, fields=given)
        bodies = [
            ("GET", target, (), b""),
            ("POST", "/json", [JSON], text),
            ("POST", "/form", [FORM], urlencode({"password": SECRET}).encode()),
            ("POST", "/gzip", [JSON, ("Content-Encoding", "gzip")], gzip.compress(text)),
        ]
        for _ in range(4):
            for method, where, fields, body in bodies:
                self.users(1, method, where, [*given, *fields], body)
        now = eventually(lambda: (s := self.session())["samples"] >= 16 and s)
        # It came there, and it was compared.
        sent = b"".join(seen.request.raw for seen in self.log("feat", "front"))
        self.assertIn(SECRET.encode(), sent)
        paths = {field["path"] for field in now["fields"]}
        self.assertIn("body.password", paths)
        self.assertTrue([p for p in paths if p.startswith("header.set-cookie")], paths)
        self.assertIn("[redacted:", json.dumps(now))
        self.look_everywhere()


class Calls:
    """A gRPC server; its replies have the secret, and another number each."""

    def __init__(self, more):
        self.more = more
        self.server = grpc.server(ThreadPoolExecutor(8))
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        handler = grpc.unary_unary_rpc_method_handler(self.get)
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("t.Shop", {"Get": handler}),))
        self.server.start()
        self.count, self.seen = 0, []

    def get(self, request, context):
        self.count += 1
        self.seen.append(request)
        more = self.more and text_field(9, f"Bearer {SECRET}{self.count}")
        context.set_trailing_metadata((("x-api-key", f"{SECRET}{self.count}"),))
        return text_field(1, JWT) + text_field(2, f"Bearer {SECRET}{self.count}") + bytes(
            (0x18, self.count % 100)) + more  # fmt: skip

    def close(self):
        self.server.stop(0).wait()


def text_field(number, text):
    """As protobuf has it, to 16,383 bytes."""
    data = text.encode()
    return bytes((number << 3 | 2, len(data) & 127 | 128, len(data) >> 7)) + data


class Grpc(Looking):
    def graph(self, more=""):
        spec = "hosts: [front], protocol: grpc, state: none, shadow: safe"
        return graph_of(service("front", spec), baseline(front=self.main.address),
                        overlay("feat", front=self.feat.address), gateway({"/": "front"}))

    def test_secret_in_messages(self):
        self.main, self.feat = self.closes(Calls(b"")), self.closes(Calls(True))
        self.begin()
        self.start_session(until="limit")
        given = (("authorization", f"Bearer {SECRET}"), ("x-api-key", SECRET))
        request = text_field(1, JWT) + text_field(2, f"Bearer {SECRET}")
        with grpc.insecure_channel(self.proxy.ready["listen"][0]) as channel:
            get = channel.unary_unary("/t.Shop/Get", same, same)

            def enough():
                get(request, metadata=given, timeout=20)
                return self.session()["samples"] >= 12

            eventually(enough)
        now = self.session()
        self.assertIn(request, self.feat.seen)
        self.assertIn("[redacted:", json.dumps(now["fields"]))
        self.look_everywhere()


if __name__ == "__main__":
    unittest.main()
