"""Our gRPC server and client against those of gRPC itself (python3-grpcio)."""

import os
import queue
import signal
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2
from harness import ROOT, SECONDS, Case, eventually, free_port

ECHO = "tests/blackbox/grpc_echo"
PROTOS = ("grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
          "grpc/reflection/v1alpha/reflection.proto")  # fmt: skip
OWN_SERVICES = {
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)


def setUpModule():
    """Messages of health and reflection, made by protoc for as long as the tests run."""
    global generated, health, reflections
    generated = tempfile.TemporaryDirectory(prefix="offshoot-grpc-")
    command = ["protoc", f"-I{ROOT}/proto", f"--python_out={generated.name}", *PROTOS]
    subprocess.run(command, check=True)
    # Their packages are named like the library: loaded by file, not by name.
    health = load("grpc/health/v1/health_pb2.py")
    reflections = {v: load(f"grpc/reflection/{v}/reflection_pb2.py") for v in ("v1", "v1alpha")}


def tearDownModule():
    generated.cleanup()


def load(path):
    space = {}
    source = (Path(generated.name) / path).read_text()
    module = path.replace("/", ".").removesuffix(".py")
    space["__name__"] = module
    exec(compile(source, path, "exec"), space)
    return type("Module", (), space)


def as_bytes(message):
    return message if isinstance(message, bytes) else message.SerializeToString()


class Server(Case):
    """Our server, their client."""

    def setUp(self):
        super().setUp()
        self.server = self.start(ECHO, "serve", f"unix:{self.folder}/socket")
        self.channel = self.closes(grpc.insecure_channel(self.server.address))

    def unary(self, path, reply):
        return self.channel.unary_unary(path, as_bytes, reply.FromString)

    def reflect(self, version, *asked):
        module = reflections[version]
        method = self.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            as_bytes,
            module.ServerReflectionResponse.FromString,
        )
        requests = [module.ServerReflectionRequest(host="here", **ask) for ask in asked]
        replies = list(method(iter(requests), timeout=SECONDS))
        self.assertEqual(requests, [r.original_request for r in replies])
        self.assertEqual(["here"] * len(asked), [r.valid_host for r in replies])
        return replies

    def test_messages_of_every_size_come_back(self):
        echo = self.channel.stream_stream("/test.Echo/Each", as_bytes, bytes)
        sizes = (0, 1, 5, 16379, 16384, 16385, 65535, 1_000_000, 4 << 20)
        messages = [os.urandom(n) for n in sizes]
        self.assertEqual(messages, list(echo(iter(messages), timeout=SECONDS)))

    def test_many_calls_at_once(self):
        echo = self.channel.stream_stream("/test.Echo/Each", as_bytes, bytes)
        with ThreadPoolExecutor(16) as pool:
            asked = [[b"%d %d" % (i, j) for j in range(20)] for i in range(64)]
            got = pool.map(lambda m: list(echo(iter(m), timeout=SECONDS)), asked)
            self.assertEqual(asked, list(got))

    def test_an_unknown_method_is_unimplemented(self):
        for path in ("/test.Echo/Other", "/no.Such/Thing", "/test.Echo/", "/"):
            with self.assertRaises(grpc.RpcError) as caught:
                self.channel.unary_unary(path, as_bytes, bytes)(b"", timeout=SECONDS)
            self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, caught.exception.code(), path)

    def test_a_message_above_the_limit_is_refused(self):
        echo = self.channel.stream_stream("/test.Echo/Each", as_bytes, bytes)
        with self.assertRaises(grpc.RpcError) as caught:
            list(echo(iter([bytes((4 << 20) + 1)]), timeout=SECONDS))
        self.assertEqual(grpc.StatusCode.RESOURCE_EXHAUSTED, caught.exception.code())

    def test_a_cancelled_call_ends_at_the_server(self):
        echo = self.channel.stream_stream("/test.Echo/Each", as_bytes, bytes)
        requests = queue.Queue()
        requests.put(b"one")
        call = echo(iter(requests.get, None))
        self.assertEqual(b"one", next(call))
        call.cancel()
        requests.put(None)
        self.server.line("^end CANCELLED")

    def test_health_is_checked(self):
        check = self.unary("/grpc.health.v1.Health/Check", health.HealthCheckResponse)
        for service in ("", "offshoot.v1.Control"):
            request = health.HealthCheckRequest(service=service)
            self.assertEqual(SERVING, check(request, timeout=SECONDS).status)
        self.server.signal(signal.SIGUSR1)
        request = health.HealthCheckRequest()
        eventually(lambda: check(request, timeout=SECONDS).status == NOT_SERVING)
        with self.assertRaises(grpc.RpcError) as caught:
            check(health.HealthCheckRequest(service="no.Such"), timeout=SECONDS)
        self.assertEqual(grpc.StatusCode.NOT_FOUND, caught.exception.code())
        with self.assertRaises(grpc.RpcError) as caught:
            check(b"\xff\xff", timeout=SECONDS)
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, caught.exception.code())

    def test_health_is_watched(self):
        watch = self.channel.unary_stream(
            "/grpc.health.v1.Health/Watch", as_bytes, health.HealthCheckResponse.FromString
        )
        known, unknown = (
            watch(health.HealthCheckRequest(service=s), timeout=SECONDS) for s in ("", "no.Such")
        )
        self.assertEqual(SERVING, next(known).status)
        self.assertEqual(SERVICE_UNKNOWN, next(unknown).status)
        for expected in (NOT_SERVING, SERVING, NOT_SERVING):
            self.server.signal(signal.SIGUSR1)
            self.assertEqual(expected, next(known).status)
        known.cancel()
        unknown.cancel()

    def test_services_are_listed(self):
        for version in reflections:
            (reply,) = self.reflect(version, {"list_services": ""})
            names = {s.name for s in reply.list_services_response.service}
            self.assertEqual(OWN_SERVICES | {"offshoot.v1.Control"}, names)

    def files(self, reply):
        found = [
            descriptor_pb2.FileDescriptorProto.FromString(b)
            for b in reply.file_descriptor_response.file_descriptor_proto
        ]
        return [f.name for f in found], found

    def test_files_are_found_by_name(self):
        names = ("offshoot/v1/control.proto", *PROTOS)
        for version in reflections:
            replies = self.reflect(version, *({"file_by_filename": n} for n in names))
            self.assertEqual([[n] for n in names], [self.files(r)[0] for r in replies])
            control = self.files(replies[0])[1][0]
            self.assertEqual(["Sync"], [m.name for m in control.service[0].method])
            (reply,) = self.reflect(version, {"file_by_filename": "no/such.proto"})
            self.assertEqual(grpc.StatusCode.NOT_FOUND.value[0], reply.error_response.error_code)

    def test_files_are_found_by_symbol(self):
        control, (v1, *_) = "offshoot/v1/control.proto", PROTOS
        wanted = {
            "offshoot.v1.Control": control,
            "offshoot.v1.Control.Sync": control,
            "offshoot.v1.Hello": control,
            "offshoot.v1.Hello.node": control,
            "offshoot.v1.ProxyMessage.message": control,
            "offshoot.v1.Role": control,
            "offshoot.v1.GATEWAY": control,
            "grpc.health.v1.Health.Watch": v1,
            "grpc.health.v1.HealthCheckResponse.ServingStatus": v1,
            "grpc.health.v1.HealthCheckResponse.SERVING": v1,
        }
        for version in reflections:
            replies = self.reflect(version, *({"file_containing_symbol": s} for s in wanted))
            for (symbol, name), reply in zip(wanted.items(), replies):
                self.assertEqual([name], self.files(reply)[0], symbol)

    def test_symbols_that_are_none_are_not_found(self):
        symbols = ("", ".", "offshoot", "offshoot.v1", "offshoot.v1.", "offshoot.v1.Nothing",
                   "offshoot.v1.Hell", "offshoot.v1.Hello.", "offshoot.v1.Hello.node.x",
                   "offshoot.v1.Role.GATEWAY", "x" * 100_000)  # fmt: skip
        for version in reflections:
            asked = [{"file_containing_symbol": s} for s in symbols]
            asked.append({"all_extension_numbers_of_type": "no.Such"})
            for ask, reply in zip(asked, self.reflect(version, *asked)):
                code = reply.error_response.error_code
                self.assertEqual(grpc.StatusCode.NOT_FOUND.value[0], code, ask)

    def test_types_have_no_extensions(self):
        (reply,) = self.reflect("v1", {"all_extension_numbers_of_type": "offshoot.v1.Hello"})
        numbers = reply.all_extension_numbers_response
        self.assertEqual("offshoot.v1.Hello", numbers.base_type_name)
        self.assertEqual([], list(numbers.extension_number))

    def test_a_reflection_that_asks_nothing_is_told_so(self):
        (reply,) = self.reflect("v1", {})
        self.assertEqual(
            grpc.StatusCode.INVALID_ARGUMENT.value[0], reply.error_response.error_code
        )


class Certificates:
    """A CA, and what it signs, in a folder; every call gives the paths CERT, KEY, CA."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        self._openssl(name, "-x509", "-subj", f"/CN={name}")

    def _openssl(self, name, *args):
        key, cert = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        subprocess.run(
            ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", key, "-out", cert, *args],
            check=True, capture_output=True,
        )  # fmt: skip
        return cert, key

    def make(self, name, names=None):
        """names: alternative ones, as in "DNS:a,URI:b"; None: a common name alone."""
        ca = self.folder / f"{self.name}.pem"
        args = ["-x509", "-CA", ca, "-CAkey", ca.with_suffix(".key"), "-subj", f"/CN={name}"]
        if names:
            args += ["-addext", f"subjectAltName={names}"]
        return *self._openssl(f"{self.name}-{name}", *args), ca


class Echo(grpc.GenericRpcHandler):
    """Their server's /test.Echo/Each; every other method is unknown."""

    def service(self, details):
        if details.method == "/test.Echo/Each":
            return grpc.stream_stream_rpc_method_handler(self.each)
        if details.method == "/test.Echo/Fail":
            return grpc.stream_stream_rpc_method_handler(self.fail)
        return None

    def each(self, requests, context):
        yield from requests

    def fail(self, requests, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "100 % wrong: \"ü\"")


class Dialing(Case):
    """Our client, their server: how each is started."""

    def serve(self, address, credentials=None):
        server = grpc.server(ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers((Echo(),))
        if credentials:
            port = server.add_secure_port(address, credentials)
        else:
            port = server.add_insecure_port(address)
        server.start()
        self.addCleanup(lambda: server.stop(None).wait())
        return port

    def call(self, target, path="/test.Echo/Each", n=3, certificates=()):
        done = self.run_program(ECHO, "call", target, path, n, *certificates)
        lines = done.stdout.decode().splitlines()
        self.assertIn(b"live objects 0", done.stderr)
        return done.returncode, lines


class Client(Dialing):
    """Our client, their server."""

    def test_messages_come_back(self):
        target = f"unix:{self.folder}/theirs"
        self.serve(target)
        expected = [*(f"message {i}" for i in range(100)), "status 0 "]
        self.assertEqual((0, expected), self.call(target, n=100))

    def test_a_name_is_looked_up(self):
        port = self.serve("127.0.0.1:0")
        self.assertEqual((0, ["message 0", "status 0 "]), self.call(f"localhost:{port}", n=1))
        self.assertEqual((0, ["message 0", "status 0 "]), self.call(f"127.0.0.1:{port}", n=1))

    def test_a_status_and_its_text_arrive(self):
        target = f"unix:{self.folder}/theirs"
        self.serve(target)
        status, lines = self.call(target, "/test.Echo/Fail")
        self.assertEqual((0, ['status 9 100 % wrong: "ü"']), (status, lines))
        status, lines = self.call(target, "/test.Echo/Other")
        self.assertEqual(0, status)
        self.assertRegex(lines[0], "^status 12 ")

    def test_nobody_there(self):
        status, lines = self.call(f"127.0.0.1:{free_port()}")
        self.assertEqual(1, status)
        self.assertRegex(lines[0], r"^down, again in \d+ ms: cannot connect to '127.0.0.1:\d+': ")

    def test_plain_tcp_to_elsewhere_is_refused(self):
        done = self.run_program(ECHO, "call", "192.0.2.1:1", "/a/b", 1)
        self.assertEqual(1, done.returncode)
        self.assertIn(b"refused to connect to '192.0.2.1:1' without TLS", done.stderr)


class Tls(Dialing):
    """Certificates on both sides; each of ours against each of theirs."""

    def setUp(self):
        super().setUp()
        self.ca = Certificates(self.folder)
        self.theirs = self.ca.make("theirs", "DNS:localhost,IP:127.0.0.1")
        self.ours = self.ca.make("ours", "DNS:localhost,URI:spiffe://test/ours,DNS:ours.example")

    def channel(self, address, cert, key, ca):
        """Their client with these files; cert None: without a certificate."""
        pair = (key.read_bytes(), cert.read_bytes()) if cert else (None, None)
        credentials = grpc.ssl_channel_credentials(ca.read_bytes(), *pair)
        return self.closes(grpc.secure_channel(address, credentials))

    def start_ours(self):
        server = self.start(ECHO, "serve", "127.0.0.1:0", *self.ours)
        self.address = server.address.replace("127.0.0.1", "localhost")
        return server

    def ask(self, channel):
        echo = channel.stream_stream("/test.Echo/Each", as_bytes, bytes)
        call = echo(iter([b"one", b"two"]), timeout=SECONDS)
        return list(call), call.details()

    def test_their_client_is_known_by_its_names(self):
        self.start_ours()
        names = "DNS:client.example,URI:spiffe://test/client,IP:192.0.2.1"
        channel = self.channel(self.address, *self.ca.make("client", names))
        expected = ([b"one", b"two"], "client.example spiffe://test/client ")
        self.assertEqual(expected, self.ask(channel))

    def test_their_client_is_known_by_its_common_name_if_it_has_no_other(self):
        self.start_ours()
        channel = self.channel(self.address, *self.ca.make("only-common"))
        self.assertEqual(([b"one", b"two"], "only-common "), self.ask(channel))

    def refused(self, channel):
        with self.assertRaises(grpc.RpcError) as caught:
            self.ask(channel)
        self.assertEqual(grpc.StatusCode.UNAVAILABLE, caught.exception.code())

    def test_their_client_needs_a_certificate_of_the_ca(self):
        server = self.start_ours()
        self.refused(self.channel(self.address, None, None, self.theirs[2]))
        server.line("failed: the client has no certificate", stream="stderr")
        cert, key, _ = Certificates(self.folder, "other").make("client", "DNS:localhost")
        self.refused(self.channel(self.address, cert, key, self.theirs[2]))
        server.line("failed: the client's certificate is refused: ", stream="stderr")

    def serve_tls(self):
        cert, key, ca = self.theirs
        pairs = [(key.read_bytes(), cert.read_bytes())]
        return self.serve(
            "127.0.0.1:0",
            grpc.ssl_server_credentials(pairs, ca.read_bytes(), require_client_auth=True),
        )

    def test_their_server_is_known_by_name_and_address(self):
        port = self.serve_tls()
        for host in ("localhost", "127.0.0.1"):
            done = self.call(f"{host}:{port}", n=2, certificates=self.ours)
            self.assertEqual((0, ["message 0", "message 1", "status 0 "]), done)

    def test_their_server_must_have_the_name_and_the_ca(self):
        self.theirs = self.ca.make("theirs", "DNS:elsewhere.example")
        port = self.serve_tls()
        status, lines = self.call(f"localhost:{port}", certificates=self.ours)
        self.assertEqual(1, status)
        self.assertRegex(lines[0], "the server's certificate does not have the name 'localhost'$")
        other = Certificates(self.folder, "other").make("client", "DNS:localhost")
        status, lines = self.call(f"localhost:{port}", certificates=other)
        self.assertEqual(1, status)
        self.assertRegex(lines[0], "the server's certificate is refused: ")


if __name__ == "__main__":
    unittest.main()
