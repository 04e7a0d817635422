"""A proxy that is not ours, for tests of the agent: Debian's grpcio, stubs made from the contract.

It does what a test tells it, wrong things included. `serve` makes it a good one in the background:
it acknowledges whatever comes.
"""

import atexit
import importlib
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc

from harness import ROOT, SECONDS

SYNC = "/offshoot.v1.Control/Sync"


def _make_stubs():
    folder = Path(tempfile.mkdtemp(prefix="offshoot-stubs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    names = ("control", "graph", "capture")
    files = [f"proto/offshoot/v1/{name}.proto" for name in names]
    subprocess.run(["/usr/bin/protoc", f"--python_out={folder}", "-I.", *files],
                   cwd=ROOT, check=True)  # fmt: skip
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return [importlib.import_module(f"proto.offshoot.v1.{n}_pb2") for n in names]


pb, graph_pb, capture_pb = _make_stubs()


class Ended(AssertionError):
    """The stream is over; `code` and `text` say how."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class OutsideProxy:
    def __init__(self, address, node="gw-1", credentials=None, options=()):
        target = address if address.startswith("unix:") else f"ipv4:{address}"
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        if credentials:
            self.channel = grpc.secure_channel(target, credentials, options)
        else:
            self.channel = grpc.insecure_channel(target, options)
        self.node = node
        self.held = {}  # epoch → digest
        self.history = b""
        self.active = 0
        self.parts = []  # payloads of the Stage that is coming
        self.received = queue.Queue()
        self.faults = []
        self._sending = queue.Queue()
        self._serving = None
        call = self.channel.stream_stream(
            SYNC,
            request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
            response_deserializer=pb.AgentMessage.FromString,
        )
        self.call = call(iter(self._sending.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        try:
            for message in self.call:
                self.received.put(message)
            self.received.put(Ended(self.call.code(), self.call.details()))
        except grpc.RpcError as e:
            self.received.put(Ended(e.code(), e.details()))

    # -- one by one

    def send(self, message):
        """A ProxyMessage, or bytes that may be none."""
        self._sending.put(message)

    def hello_message(self, **fields):
        hello = pb.Hello(node=self.node, version="outside 1", features=["graph.1", "later.9"],
                         history=self.history, active_epoch=self.active,
                         held=[pb.Held(epoch=e, digest=d) for e, d in sorted(self.held.items())],
                         )  # fmt: skip
        hello.MergeFrom(pb.Hello(**fields))
        return hello

    def hello(self, **fields):
        self.send(pb.ProxyMessage(hello=self.hello_message(**fields)))
        return self

    def ack(self, message, state, epoch=None, nonce=None):
        self.send(pb.ProxyMessage(ack=pb.Ack(
            nonce=message.nonce if nonce is None else nonce,
            epoch=message.epoch if epoch is None else epoch,
            state=state, nanoseconds=1500000)))  # fmt: skip

    def nack(self, message, reason, text="no"):
        self.send(pb.ProxyMessage(nack=pb.Nack(
            nonce=message.nonce, epoch=message.epoch, reason=reason, text=text)))  # fmt: skip

    def heartbeat(self):
        self.send(pb.ProxyMessage(heartbeat=pb.Heartbeat(
            epoch=self.active, time_unix=int(time.time()))))  # fmt: skip

    def next(self, seconds=SECONDS):
        """The next message that is no heartbeat: (its kind, it). Raises Ended."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                message = self.received.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.node}: nothing came within {seconds} s") from None
            if isinstance(message, Ended):
                self.received.put(message)
                raise message
            kind = message.WhichOneof("message")
            if kind != "heartbeat":
                return kind, getattr(message, kind)

    def expect(self, kind, seconds=SECONDS):
        got, message = self.next(seconds)
        if got != kind:
            raise AssertionError(f"{self.node}: wanted {kind}, got {got}: {message}")
        return message

    def nothing(self, seconds):
        """Nothing but heartbeats comes for that long."""
        try:
            kind, message = self.next(seconds)
        except Ended:
            raise
        except AssertionError:
            return
        raise AssertionError(f"{self.node}: {kind} came: {message}")

    def staged(self):
        """All chunks of a Stage, judged: the last one, with the whole payload."""
        payload, chunk = b"", 0
        while True:
            stage = self.expect("stage")
            payload = payload if stage.chunk else b""
            chunk = chunk if stage.chunk else 0
            assert stage.chunk == chunk, (stage.chunk, chunk)
            assert len(stage.payload) <= 262144 and stage.nonce and len(stage.digest) == 32
            payload += stage.payload
            chunk += 1
            if chunk == stage.chunks:
                stage.payload = payload
                return stage

    def end(self):
        """How the stream ended: (code, text)."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                self.next()
            except Ended as e:
                return e.code, e.text
        raise AssertionError("the stream goes on")

    # -- a good one

    def take(self, stage):
        """Holds a staged epoch and says so."""
        if stage.history != self.history:
            self.held = {}
            self.history = stage.history
        self.held[stage.epoch] = stage.digest
        self.ack(stage, pb.STAGED)

    def catch_up(self):
        """Takes one Stage and its Activate; returns the epoch."""
        self.take(self.staged())
        activate = self.expect("activate")
        self.active = activate.epoch
        self.ack(activate, pb.ACTIVE)
        return activate.epoch

    def serve(self, seen=None):
        """Acknowledges everything from now on, in a thread. seen: called with (kind, message)."""

        def run():
            try:
                while True:
                    kind, message = self.next(3600)
                    if seen:
                        seen(kind, message)
                    self._answer(kind, message)
            except Ended as e:
                self.ended = e
            except Exception as e:  # judged by the test
                self.faults.append(e)

        self._serving = threading.Thread(target=run, daemon=True)
        self._serving.start()
        return self

    def _answer(self, kind, message):
        if kind == "stage":
            self.parts = self.parts if message.chunk else []
            self.parts.append(message.payload)
            if message.chunk + 1 == message.chunks:
                self.take(message)
        elif kind == "activate":
            if message.epoch not in self.held:
                raise AssertionError(f"activate {message.epoch}, held {sorted(self.held)}")
            self.active = message.epoch
            self.ack(message, pb.ACTIVE)
        elif kind == "retire":
            if message.epoch == self.active:
                raise AssertionError(f"retire of the active epoch {message.epoch}")
            self.held.pop(message.epoch, None)
            self.ack(message, pb.RETIRED)

    def close(self):
        self._sending.put(None)
        self.call.cancel()
        self.channel.close()
        self._reader.join(SECONDS)
        if self._serving:
            self._serving.join(SECONDS)


def peers(case, agent):
    """What the agent lists: {node: entry}."""
    return {p["node"]: p for p in agent.get("/proxies")["proxies"]}
