"""A proxy that is replaced by binary upgrades while a test runs, and load that notices each loss.

The new process is no child of the test: this process adopts orphans (PR_SET_CHILD_SUBREAPER), so
that its end can be awaited and judged like that of any other."""

import ctypes
import os
import queue
import signal
import socket
import threading

import grpc

import http2
from harness import SECONDS, connect, eventually, request_bytes
from load import Load

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


class Adopted:
    """What subprocess.Popen is for a child, for a process that became ours."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # The process before it still runs, and reaps it: how it ended is told in its log.
                if not os.path.exists(f"/proc/{self.pid}"):
                    self.returncode = 0
                return self.returncode
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=SECONDS):
        eventually(lambda: self.poll() is not None, timeout, f"end of process {self.pid}")
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def follow(proxy, pid):
    """From now on `proxy` is this process; returns the old one."""
    old, proxy.process, proxy.pid = proxy.process, Adopted(pid), pid
    return old


class UpgradeLoad(Load):
    """Requests whose replies name them, on connections that are kept; one in `fresh` ends its own.
    When a reply ends its connection, a new one takes its place. Anything else that ends one is a
    loss."""

    def __init__(self, address, connections, fresh):
        self.fresh, self.ended = fresh, 0
        super().__init__(address, connections, self._request, self._check)

    def _request(self, n):
        path = f"/r/{n}"
        end = "" if n % self.fresh else "Connection: close\r\n"
        return f"GET {path} HTTP/1.1\r\nHost: shop\r\n{end}\r\n".encode(), path

    def _check(self, expected, head, body):
        if not head.startswith(b"http/1.1 200 ") or body != expected.encode():
            raise AssertionError(f"{expected}: {head!r} {body!r}")
        self.closing = b"\r\nconnection: close" in head

    def _again(self, entry):
        """The reply is checked: the next request, on another connection where this one ends."""
        if not self.closing:
            self._next(entry)
            return
        self.ended += 1
        sock = entry[0]
        self.poll.unregister(sock.fileno())
        del self.socks[sock.fileno()]
        sock.settimeout(SECONDS)
        if sock.recv(1):
            raise AssertionError("bytes behind a reply that ends the connection")
        sock.close()
        self._open()

    def run(self, total, between=None):
        """Until `total` replies were checked, or between(done) says True."""
        while self.done < total:
            for fd, _ in self.poll.poll(30):
                if fd in self.socks and self._read(self.socks[fd]):
                    self._again(self.socks[fd])
            if between and between(self.done):
                return


class Repeated:
    """Something done again and again in a thread of its own; `faults` tells what went wrong."""

    pause = 0.002

    def __init__(self):
        self.faults, self.count = [], 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stop.is_set():
            try:
                self.once()
                self.count += 1
            except (OSError, AssertionError) as e:
                self.faults.append(f"{type(e).__name__}: {e}")
            self.stop.wait(self.pause)

    def close(self):
        self.stop.set()
        self.thread.join()


class Pulse(Repeated):
    """Asks the admin socket; `pids` are the processes that answered."""

    def __init__(self, proxy):
        self.proxy, self.pids = proxy, []
        super().__init__()

    def once(self):
        pid = self.proxy.admin_json("/status")["pid"]
        if pid not in self.pids:
            self.pids.append(pid)


class Streams(Repeated):
    """HTTP/2: a request each time on a connection that is kept until it says GOAWAY. A request that
    crossed the final GOAWAY, which names a stream before it, was not taken: it is asked anew."""

    pause = 0.05

    def __init__(self, address):
        self.address, self.client = address, None
        super().__init__()

    def once(self):
        self.client = self.client or http2.connect(self.address)
        try:
            reply = self.client.ask(path="/streams", authority="shop")
        except (OSError, AssertionError):
            if not self._was_refused():
                raise
            self._leave()
            self.once()
            return
        if (reply.status, reply.body) != (200, b"/streams"):
            raise AssertionError(f"{reply}")
        if self.client.goaways:
            self._leave()

    def _leave(self):
        self.client.close()
        self.client = None

    def _was_refused(self):
        self.client.read_to_end()
        said = self.client.goaways
        return bool(said) and said[-1].last() < max(self.client.exchanges)

    def close(self):
        super().close()
        if self.client:
            self.client.close()


class Talk:
    """A bidirectional call of gRPC that stays open, said and heard one message at a time."""

    def __init__(self, address):
        own = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(address, own)
        self.words = queue.Queue()
        method = self.channel.stream_stream("/t.Echo/Echo", lambda m: m, lambda m: m)
        self.replies = method(iter(self.words.get, None))

    def ask(self, word):
        self.words.put(word)
        return next(self.replies)

    def end(self):
        self.words.put(None)
        if list(self.replies) or self.replies.code() is not grpc.StatusCode.OK:
            raise AssertionError(f"no clean end: {self.replies.code()}")
        self.channel.close()


class Slow(Repeated):
    """A connection that is kept, with a pause between its requests."""

    def __init__(self, address, pause):
        self.address, self.pause, self.stream = address, pause, None
        super().__init__()

    def once(self):
        stream = self.stream = self.stream or connect(self.address)
        reply = stream.ask(request_bytes("GET", "/slow", "shop"))
        if (reply.status, reply.body) != (200, b"/slow"):
            raise AssertionError(f"{reply}")
        if reply.get("connection") == "close":
            stream.close()
            self.stream = None

    def close(self):
        super().close()
        if self.stream:
            self.stream.close()


def unused(address):
    """True when nobody listens there."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
