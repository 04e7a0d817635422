"""An agent that is not ours and asks proxies for sampled traffic: fake_agent.py with the service
offshoot.v1.Capture."""

import queue
import threading

import grpc

from fake_agent import HISTORY, FakeAgent, FedCase, Graph, pb
from harness import SECONDS, eventually
from outside_proxy import capture_pb

__all__ = ["DARK_KEY", "CaptureAgent", "CaptureCase", "capture_pb", "session"]

DARK_KEY = bytes(range(100, 116))


def session(number=1, baseline="main", rate_ppm=1000000, **fields):
    return pb.CaptureSession(id=number, baseline=baseline, rate_ppm=rate_ppm, **fields)


class Exchanges:
    """One call: what a worker of a proxy tells."""

    def __init__(self, context):
        self.context = context
        self.node, self.worker = None, None
        self.events = queue.Queue()
        self.half_closed = threading.Event()
        self.over = threading.Event()
        self.faults = []
        self.finishing = queue.Queue()

    def read(self, chunks, reading, begun):
        reading.wait()
        try:
            for n, chunk in enumerate(chunks):
                if n == 0:
                    self.node, self.worker = chunk.node, chunk.worker
                    begun()
                elif chunk.node or chunk.worker:
                    self.faults.append("a later chunk names the proxy")
                for event in chunk.events:
                    self.events.put(event)
        except Exception:  # grpcio raises a bare Exception when the call is gone
            self.finishing.put(None)
            return
        self.half_closed.set()
        self.finishing.put(None)

    def finish(self, code, text=""):
        self.finishing.put((code, text))

    def next(self, seconds=SECONDS):
        """The next event: (kind, it)."""
        try:
            event = self.events.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no event within {seconds} s") from None
        kind = event.WhichOneof("event")
        return kind, getattr(event, kind)


class CaptureAgent(FakeAgent):
    """Each call of Exchanges is taken with `call()` once its first chunk is there. While `reading`
    is cleared, new calls are accepted and never read."""

    def __init__(self, *args, **options):
        self.calls = queue.Queue()
        self.all_calls = []
        self.reading = threading.Event()
        self.reading.set()
        super().__init__(*args, **options)

    def services(self):
        return [*super().services(), grpc.method_handlers_generic_handler(
            "offshoot.v1.Capture",
            {"Exchanges": grpc.stream_unary_rpc_method_handler(
                self._exchanges, capture_pb.CaptureChunk.FromString,
                capture_pb.CaptureEnd.SerializeToString)},
        )]  # fmt: skip

    def _exchanges(self, chunks, context):
        call = Exchanges(context)
        self.all_calls.append(call)
        context.add_callback(lambda: call.finishing.put(None))
        reader = [chunks, self.reading, lambda: self.calls.put(call)]
        threading.Thread(target=call.read, daemon=True, args=reader).start()
        end = call.finishing.get()
        call.over.set()
        if end:
            context.set_code(end[0])
            context.set_details(end[1])
        return capture_pb.CaptureEnd()

    def call(self, seconds=SECONDS):
        try:
            return self.calls.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no call of Exchanges within {seconds} s") from None

    def both(self):
        """The calls of a proxy with two workers, by worker."""
        calls = [self.call(), self.call()]
        return sorted(calls, key=lambda call: call.worker)

    @property
    def faults(self):
        return [AssertionError(fault) for call in self.all_calls for fault in call.faults]

    def stop(self):
        for call in self.all_calls:
            call.finishing.put(None)
        super().stop()

    close = stop


class CaptureCase(FedCase):
    """A proxy of two workers, and an agent that the test plays."""

    def setUp(self):
        super().setUp()
        self.agent = self.closes(CaptureAgent())
        self.version = 0

    def begin(self, *flags, conf="", **options):
        """Serving; `sync` is its stream."""
        if conf:
            flags = ("-c", self.write("conf.yaml", conf), *flags)
        self.shop = self.provider()
        self.proxy, self.sync = self.fed(Graph.shop(self.shop.address), *flags,
                                         history=HISTORY, **options)  # fmt: skip
        return self.proxy

    def ask_for(self, *sessions, key=DARK_KEY):
        self.version += 1
        rules = pb.CaptureRules(version=self.version, sessions=sessions, dark_key=key)
        self.sync.send(pb.AgentMessage(capture_rules=rules))

    def capture(self):
        return self.proxy.admin_json("/status")["capture"]

    def gauge(self, name):
        return self.proxy.counters().get(f"offshoot_capture_{name}")

    def until(self, **wanted):
        """Waits until /status says so of capture."""

        def there():
            have = {key: self.capture()[key] for key in wanted}
            if have != wanted:
                raise AssertionError(f"capture is {have}, not {wanted}")
            return True

        eventually(there)
