"""Sessions on a service of gRPC (python3-grpcio) with a FileDescriptorSet: fields and secrets have
their names."""

import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from graphs import baseline, gateway, graph_of, overlay, service
from harness import BUILD, SECONDS, eventually, free_port
from journal_reader import Journal
from shadow_case import SessionCase

Field = descriptor_pb2.FieldDescriptorProto
SECRETS = "opensesame-of-the-request", "opensesame-of-the-reply"


def schema():
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", package="s", syntax="proto3")
    for name, fields in (("Ask", ("user", "password")), ("Answer", ("name", "pin", "count"))):
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, 1):
            kind = Field.TYPE_INT32 if field == "count" else Field.TYPE_STRING
            message.field.add(name=field, number=number, label=1, type=kind)
    file.service.add(name="Shop").method.add(name="Find", input_type=".s.Ask",
                                             output_type=".s.Answer")  # fmt: skip
    return file


FILE = schema()
POOL = descriptor_pool.DescriptorPool()
POOL.Add(FILE)
FACTORY = message_factory.MessageFactory(POOL)
Ask, Answer = (FACTORY.GetPrototype(POOL.FindMessageTypeByName(n)) for n in ("s.Ask", "s.Answer"))
SET = descriptor_pb2.FileDescriptorSet(file=[FILE]).SerializeToString()


class Shop:
    """A server of s.Shop; Lose is in no descriptors."""

    def __init__(self, count):
        self.answer = Answer(name="tea", pin=SECRETS[1], count=count).SerializeToString()
        self.server = grpc.server(ThreadPoolExecutor(8))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: self.answer)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "s.Shop", {"Find": handler, "Lose": handler}),))  # fmt: skip
        self.server.start()

    def close(self):
        self.server.stop(0).wait()


class ShadowDescriptors(SessionCase):
    def setUp(self):
        super().setUp()
        mesh = f"127.0.0.1:{free_port()}"
        graph = graph_of(
            service("shop", "protocol: grpc, hosts: [shop], state: none, shadow: safe"),
            baseline(shop=self.closes(Shop(7)).address),
            overlay("feat", shop=self.closes(Shop(8)).address),
            gateway({"/": "shop"}),
        )
        self.agent = self.start_agent(graph, "--shadow-through", mesh, "--shadow-linger", "0",
                                      "--shadow-hop-wait", "300ms")  # fmt: skip
        self.proxy = self.start(
            "offshoot-proxy", "--agent", self.agent.listen, "--node", "gw-1", "--listen",
            "127.0.0.1:0", "--listen", f"{mesh},trusted", "--admin", self.folder / "proxy.sock",
            "--state", self.folder / "proxy", "--workers", "1",
        )  # fmt: skip
        own = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = self.closes(grpc.insecure_channel(self.proxy.ready["listen"][0], own))
        self.asked = 0

    def save(self, content):
        path = self.folder / "set"
        path.write_bytes(content)
        return path

    def ctl(self, *args):
        command = [BUILD / "offshootctl", "--socket", self.agent.admin, "shadow", *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def start_session(self, *flags):
        done = self.ctl("start", "s", "--baseline", "main", "--candidate", "feat", "--until",
                        "limit", *flags)  # fmt: skip
        if done.returncode == 0:
            self.capturing()
        return done

    def capturing(self):
        eventually(lambda: self.agent.get("/status")["shadow"]["capture_streams"] == 1)

    def users(self, method, samples):
        """Users ask on until the session has so many."""
        call = self.channel.unary_unary(f"/s.Shop/{method}")
        request = Ask(user="anna", password=SECRETS[0]).SerializeToString()

        def ask():
            self.asked += 1
            trace = f"00-{self.asked:032x}-00f067aa0ba902b7-01"
            call(request, metadata=(("traceparent", trace),), timeout=SECONDS)
            session = self.agent.get("/sessions/s")
            return session["samples"] >= samples and session

        return eventually(ask)

    def journal(self):
        return self.folder / "agent-0" / "shadow" / "s"

    def kept(self):
        return b"".join(p.read_bytes() for p in self.journal().iterdir() if p.is_file())

    def test_fields_are_named_and_secrets_by_name_are_nowhere_on_disk(self):
        done = self.start_session("--descriptors", self.save(SET))
        self.assertEqual(0, done.returncode, done.stderr)
        session = self.users("Find", 3)
        worst = session["fields"][0]
        self.assertEqual(("body.message[].count", "value"), (worst["path"], worst["kind"]))
        example = worst["examples"][0]
        self.assertEqual(("7", "7", "8"),
                         tuple(example[k] for k in ("primary", "secondary", "candidate")))
        self.assertEqual({"bytes": len(SET), "untyped_samples": 0, "untyped": []},
                         session["descriptors"])  # fmt: skip
        self.agent.kill()
        self.check_journal()
        self.agent.restart()
        self.capturing()
        session = self.users("Find", session["samples"] + 2)
        self.assertEqual(["body.message[].count"], [f["path"] for f in session["fields"]])
        self.assertEqual(0, self.ctl("stop", "s").returncode)
        self.check_journal()

    def check_journal(self):
        content = self.kept()
        for secret in SECRETS:
            self.assertNotIn(secret.encode(), content)
        samples = Journal(self.journal()).samples
        self.assertGreaterEqual(len(samples), 3)
        for s in samples:
            asked = Ask.FromString(s.request.body[5:])
            self.assertEqual("anna", asked.user)
            self.assertRegex(asked.password, r"\A\[redacted:[0-9a-f]{8}\]\Z")
            replies = s.primary, s.secondary, s.candidate
            answered = [Answer.FromString(r.body[5:]) for r in replies]
            self.assertEqual([7, 7, 8], [a.count for a in answered])
            self.assertEqual(1, len({a.pin for a in answered}))

    def test_without_descriptors_such_a_secret_is_not_known(self):
        """What the test above would find if names did nothing."""
        self.assertEqual(0, self.start_session().returncode)
        session = self.users("Find", 1)
        self.assertEqual("body.message[].3", session["fields"][0]["path"])
        self.assertIsNone(session["descriptors"])
        for secret in SECRETS:
            self.assertIn(secret.encode(), self.kept())

    def test_method_that_they_lack_is_told_and_its_fields_go_by_number(self):
        self.assertEqual(0, self.start_session("--descriptors", self.save(SET)).returncode)
        session = self.users("Lose", 2)
        self.assertEqual("body.message[].3", session["fields"][0]["path"])
        self.assertEqual([{"method": "/s.Shop/Lose", "samples": session["samples"]}],
                         session["descriptors"]["untyped"])  # fmt: skip
        self.assertIn("no message type for /s.Shop/Lose: fields by number",
                      self.ctl("show", "s").stdout)  # fmt: skip

    def test_sets_that_are_of_no_use_are_refused_by_the_name_of_the_file(self):
        twice = SET + SET
        none = descriptor_pb2.FileDescriptorSet(file=[descriptor_pb2.FileDescriptorProto(
            name="s.proto")]).SerializeToString()  # fmt: skip
        for content, want in ((SET[:-1], "no FileDescriptorSet, or not all of one"),
                              (twice, "descriptors have 's.A"),
                              (none, "no method of a service is in it"),
                              (b"", "it is empty"),
                              (b"\x00" * ((4 << 20) + 1), "more than 4194304 bytes")):  # fmt: skip
            path = self.save(content)
            done = self.start_session("--descriptors", path)
            self.assertEqual(1, done.returncode, want)
            self.assertIn(f"'{path}': {want}", done.stderr)
        self.assertEqual([], self.agent.get("/sessions")["sessions"])
        missing = self.start_session("--descriptors", self.folder / "none")
        self.assertEqual(1, missing.returncode)
        self.assertIn("No such file", missing.stderr)


if __name__ == "__main__":
    unittest.main()
