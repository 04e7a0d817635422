"""An agent that is not ours, for tests of the proxy: Debian's grpcio, stubs made from the contract,
graphs encoded and digests computed here, by what proto/offshoot/v1/graph.proto says.

It does what a test tells it, wrong things included.
"""

import collections
import copy
import hashlib
import queue
import socket
import threading
import time
from concurrent import futures

import grpc

from harness import SECONDS, Case, connect, free_port, request_bytes
from outside_proxy import Ended, graph_pb, pb

__all__ = ["CHUNK", "HISTORY", "OTHER", "Ended", "FakeAgent", "FedCase", "Graph", "graph_pb", "pb"]

CHUNK = 262144
HISTORY, OTHER = bytes(range(16)), bytes(range(16, 32))


def address(text):
    """ "10.0.0.1:80" or "unix:/path" as an Endpoint."""
    if text.startswith("unix:"):
        return graph_pb.Endpoint(unix=text[5:])
    host, port = text.rsplit(":", 1)
    try:
        packed = int.from_bytes(socket.inet_aton(host), "big")
    except OSError:
        return graph_pb.Endpoint(dns=host, port=int(port))
    return graph_pb.Endpoint(ip4=packed, port=int(port))


def u64(n):
    return n.to_bytes(8, "little")


def sha(data):
    return hashlib.sha256(data).digest()


def record_entry(number, changed, record):
    return u64(number) + u64(changed) + sha(record.SerializeToString(deterministic=True))


class Graph:
    """One epoch of a graph, all of it. `next()` gives a copy to change, as a later epoch."""

    def __init__(self, epoch=1):
        self.epoch = epoch
        self.services, self.gateways, self.environments = {}, {}, {}
        self.services_changed = self.pools_changed = 0

    @classmethod
    def shop(cls, provider, epoch=1):
        """One service `shop` of one baseline `main` behind one gateway `edge`."""
        graph = cls(epoch)
        graph.service(0, "shop")
        graph.gateway("edge", default="main", routes=[("/", "shop")])
        graph.environment(0, "main", provides={"shop": [provider]})
        return graph

    def next(self, epoch=None):
        other = copy.deepcopy(self)
        other.epoch = epoch or self.epoch + 1
        return other

    def service(self, number, name, **fields):
        policy = graph_pb.Policy()
        record = graph_pb.Service(name=name, policy=policy, **fields)
        self.services[number] = (self.epoch, record)
        self.services_changed = self.epoch
        return self

    def gateway(self, name, default="", routes=()):
        record = graph_pb.Gateway(name=name, routes=[
            graph_pb.Route(path=path, service=service) for path, service in routes])  # fmt: skip
        if default:
            record.default_environment = default
        self.gateways[name] = (self.epoch, record)
        return self

    def environment(self, number, name, parents=(), provides=None, use=None, remove=(), **fields):
        said = {s: {"provides": graph_pb.Provider(endpoints=[address(a) for a in addresses])}
                for s, addresses in (provides or {}).items()}  # fmt: skip
        said |= {service: {"use": env} for service, env in (use or {}).items()}
        said |= {service: {"remove": True} for service in remove}
        record = graph_pb.Environment(
            name=name, mode=graph_pb.OVERLAY if parents else graph_pb.BASELINE, parents=parents,
            statements=[graph_pb.Statement(service=s, **said[s]) for s in sorted(said)],
        )  # fmt: skip
        record.MergeFrom(graph_pb.Environment(**fields))
        if record.mode == graph_pb.SHARED:
            self.pools_changed = self.epoch
        self.environments[number] = (self.epoch, record)
        return self

    def drop(self, number):
        del self.environments[number]
        return self

    # -- as bytes

    def digest(self):
        services = u64(self.services_changed) + b"".join(
            record_entry(n, *self.services[n]) for n in sorted(self.services))
        gateways = b"".join(
            record_entry(0, *self.gateways[n]) for n in sorted(self.gateways))
        pages = b""
        for position in sorted({number // 256 for number in self.environments}):
            page = b"".join(record_entry(n % 256, *self.environments[n])
                            for n in sorted(self.environments) if n // 256 == position)
            pages += u64(position) + sha(page)
        return sha(u64(17) + b"offshoot digest 1" + u64(self.epoch) + u64(self.pools_changed)
                   + sha(services) + sha(gateways) + pages)  # fmt: skip

    def difference(self, base=None):
        """The Difference from base (a Graph), or the whole."""
        d = graph_pb.Difference(
            base_epoch=base.epoch if base else 0, epoch=self.epoch, digest=self.digest(),
            services_changed=self.services_changed, pools_changed=self.pools_changed)
        old = base or Graph()
        for number in sorted(self.services):
            if old.services.get(number) != self.services[number]:
                changed, record = self.services[number]
                d.services.add(number=number, changed=changed, record=record)
        d.removed_services.extend(sorted(set(old.services) - set(self.services)))
        for name in sorted(self.gateways):
            if old.gateways.get(name) != self.gateways[name]:
                changed, record = self.gateways[name]
                d.gateways.add(changed=changed, record=record)
        d.removed_gateways.extend(sorted(set(old.gateways) - set(self.gateways)))
        for number in sorted(self.environments):
            if old.environments.get(number) != self.environments[number]:
                changed, record = self.environments[number]
                d.environments.add(number=number, changed=changed, record=record)
        d.removed_environments.extend(sorted(set(old.environments) - set(self.environments)))
        return d


class Stream:
    """One call of a proxy."""

    def __init__(self, context):
        self.context = context
        self.received = queue.Queue()
        self.sending = queue.Queue()
        self.nonce = 0
        self.heartbeats = 0
        self.hello = None
        self.nacks = collections.Counter()

    def read(self, messages):
        try:
            for message in messages:
                self.received.put(message)
        except Exception as e:  # grpcio raises a bare Exception when the call is gone
            self.received.put(Ended(grpc.StatusCode.CANCELLED, str(e)))
            return
        self.received.put(Ended(grpc.StatusCode.OK, "the proxy sends no more"))

    def send(self, message):
        """An AgentMessage, or bytes that may be none."""
        self.sending.put(message)

    def finish(self, code=grpc.StatusCode.OK, text=""):
        self.sending.put((code, text))

    def new_nonce(self):
        self.nonce += 1
        return self.nonce

    def stages(self, graph, history, base=None, chunk=CHUNK, bytes_=None, **fields):
        """The Stage messages of an epoch. fields: said otherwise in all of them."""
        payload = bytes_ if bytes_ is not None else graph.difference(base).SerializeToString()
        parts = [payload[i : i + chunk] for i in range(0, len(payload), chunk)] or [b""]
        said = {"nonce": self.new_nonce(), "history": history, "epoch": graph.epoch,
                "base_epoch": base.epoch if base else 0, "digest": graph.digest(),
                "features": ["graph.1"]}  # fmt: skip
        said |= fields
        return [pb.Stage(chunk=i, chunks=len(parts), payload=part, **said)
                for i, part in enumerate(parts)]  # fmt: skip

    def stage(self, graph, history, base=None, **fields):
        """Sends them all; returns the nonce."""
        messages = self.stages(graph, history, base, **fields)
        for message in messages:
            self.send(pb.AgentMessage(stage=message))
        return messages[0].nonce

    def activate(self, epoch):
        nonce = self.new_nonce()
        self.send(pb.AgentMessage(activate=pb.Activate(nonce=nonce, epoch=epoch)))
        return nonce

    def retire(self, epoch):
        nonce = self.new_nonce()
        self.send(pb.AgentMessage(retire=pb.Retire(nonce=nonce, epoch=epoch)))
        return nonce

    def heartbeat(self, epoch=0):
        self.send(pb.AgentMessage(heartbeat=pb.Heartbeat(epoch=epoch, time_unix=int(time.time()))))

    def next(self, seconds=SECONDS):
        """The next message that is no heartbeat: (kind, it). Raises Ended."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                message = self.received.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"nothing came from the proxy in {seconds} s") from None
            if isinstance(message, Ended):
                self.received.put(message)
                raise message
            kind = message.WhichOneof("message")
            if kind == "nack":
                self.nacks[pb.NackReason.Name(message.nack.reason)] += 1
            if kind != "heartbeat":
                return kind, getattr(message, kind)
            self.heartbeats += 1

    def acked(self, nonce, state, epoch):
        kind, message = self.next()
        got = (kind, message.nonce, message.epoch, getattr(message, "state", None))
        if got != ("ack", nonce, epoch, state):
            raise AssertionError(f"wanted ack {nonce} {epoch} {state}, got {kind} {message}")
        return message

    def nacked(self, nonce, reason):
        """The text of the Nack."""
        kind, message = self.next()
        if (kind, message.nonce, getattr(message, "reason", None)) != ("nack", nonce, reason):
            raise AssertionError(f"wanted nack {nonce} {reason}, got {kind} {message}")
        return message.text

    def put(self, graph, history, base=None, **fields):
        """Stages and activates, and sees both acknowledged."""
        self.acked(self.stage(graph, history, base, **fields), pb.STAGED, graph.epoch)
        self.acked(self.activate(graph.epoch), pb.ACTIVE, graph.epoch)

    def ended(self, seconds=SECONDS):
        """Waits until the proxy is gone."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.next(max(0, deadline - time.monotonic()))
            except Ended as e:
                return e
        raise AssertionError("the stream goes on")


class FakeAgent:
    """Serves Sync at `address`; each call is a Stream, to be taken with `stream()`."""

    def __init__(self, at=None, credentials=None):
        """at: an address; else one at which it can start again."""
        self.credentials = credentials
        self.streams = queue.Queue()
        self.open = []
        self.server = None
        self.address = at or f"127.0.0.1:{free_port()}"
        self.start()

    def start(self):
        """Again at the same address, after stop."""
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=16),
                                  options=[("grpc.so_reuseport", 0)])  # fmt: skip
        self.server.add_generic_rpc_handlers(self.services())
        if self.credentials:
            port = self.server.add_secure_port(self.address, self.credentials)
        else:
            port = self.server.add_insecure_port(self.address)
        if not self.address.startswith("unix:"):
            self.address = f"{self.address.rsplit(':', 1)[0]}:{port}"
        self.server.start()

    def services(self):
        return [grpc.method_handlers_generic_handler(
            "offshoot.v1.Control",
            {"Sync": grpc.stream_stream_rpc_method_handler(
                self._sync, pb.ProxyMessage.FromString,
                lambda m: m if isinstance(m, bytes) else m.SerializeToString())},
        )]  # fmt: skip

    def _sync(self, messages, context):
        stream = Stream(context)
        threading.Thread(target=stream.read, args=[messages], daemon=True).start()
        context.add_callback(lambda: stream.sending.put(None))
        self.open.append(stream)
        self.streams.put(stream)
        while True:
            message = stream.sending.get()
            if message is None:
                return
            if isinstance(message, tuple):
                context.set_code(message[0])
                context.set_details(message[1])
                return
            yield message

    def stream(self, seconds=SECONDS):
        """The next call, with its Hello read into `hello`."""
        try:
            stream = self.streams.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no proxy came within {seconds} s") from None
        kind, stream.hello = stream.next()
        if kind != "hello":
            raise AssertionError(f"wanted hello first, got {kind}")
        return stream

    def stop(self):
        """Suddenly: calls are cut off."""
        for stream in self.open:
            stream.sending.put(None)
        self.open.clear()
        if self.server:
            self.server.stop(None).wait(SECONDS)
        self.server = None

    close = stop


class FedCase(Case):
    """A proxy, and an agent that the test plays."""

    def setUp(self):
        super().setUp()
        self.agent = self.closes(FakeAgent())

    def start_fed(self, *flags, state="state", ready=False, agent=None):
        """Starts a proxy; without a last good graph it is not ready before it has one."""
        at = agent or self.agent.address
        return self.start(
            "offshoot-proxy", "--agent", at, "--listen", "127.0.0.1:0,trusted", "--node", "gw-1",
            "--workers", "2", "--admin", self.folder / "admin.sock",
            "--state", self.folder / state, *flags, ready=ready)  # fmt: skip

    def fed(self, graph, *flags, history=HISTORY, **options):
        """A proxy that serves graph, and its stream."""
        proxy = self.start_fed(*flags, **options)
        stream = self.agent.stream()
        stream.put(graph, history)
        proxy.wait_ready()
        return proxy, stream

    def status(self, proxy):
        return proxy.admin_json("/status")["agent"]

    def environments(self, proxy):
        """Names of the active graph."""
        listed = proxy.admin_json("/environments")
        return sorted(e["environment"] for e in listed["environments"])

    def ask(self, proxy, target="/", fields=()):
        with connect(proxy.address) as stream:
            return stream.ask(request_bytes("GET", target, "localhost", fields))
