"""What sends requests: wrk for load, a client of our own where the number of requests must be
exact or the connections must stay open."""

import re
import selectors
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

from rig import Broken

# What a browser's or service's request carries, more or less.
HEADERS = {
    "User-Agent": "bench/1.0",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Accept-Language": "en-GB,en;q=0.7",
    "Cookie": "session=0f8fad5b-d9cb-469f-a165-70867728950e",
    "X-Request-Id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


def baggage(environment):
    own = f",offshoot=v1m.{environment}.0.00" if environment else ""
    return f"tenant=acme{own}"


def headers(environment, host="cart"):
    return {"Host": host, **HEADERS, "baggage": baggage(environment)}


def head(environment, host="cart", method="GET", path="/", **more):
    fields = {**headers(environment, host), **more}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


# ---- wrk ----

@dataclass
class WrkRun:
    requests: int
    seconds: float

    @property
    def rate(self):
        return self.requests / self.seconds


def wrk(port, seconds, connections=64, environment="feat-42", script=None):
    """One run. Any reply but 200 and any lost connection ends the measurement."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    if script:
        argv += ["-s", script]
    else:
        for name, value in headers(environment).items():
            argv += ["-H", f"{name}: {value}"]
    done = subprocess.run([*argv, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, timeout=seconds + 60, check=False)
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", done.stdout)
    bad = re.search(r"Non-2xx.*|Socket errors.*", done.stdout)
    if done.returncode or not found or bad or not int(found.group(1)):
        raise Broken(f"wrk: {bad.group(0) if bad else done.stdout}")
    unit = {"ms": 0.001, "s": 1, "m": 60}[found.group(3)]
    return WrkRun(int(found.group(1)), float(found.group(2)) * unit)


# ---- exact numbers ----

class Connection:
    """A keep-alive connection: one request at a time, replies with a Content-Length."""

    def __init__(self, port, timeout=60):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def send(self, request):
        self.sock.sendall(request)

    def receive(self):
        """Reads what is there. (status, body) when that completes the reply, else None."""
        more = self.sock.recv(65536)
        if not more:
            raise Broken("a connection was closed in place of a reply")
        self.data += more
        at = self.data.find(b"\r\n\r\n")
        if at < 0:
            return None
        length = re.search(rb"\r\ncontent-length: *(\d+)", self.data[:at].lower())
        if not length:
            raise Broken(f"a reply without a length: {self.data[:at]!r}")
        end = at + 4 + int(length.group(1))
        if len(self.data) < end:
            return None
        reply = int(self.data.split(b" ", 2)[1]), self.data[at + 4:end]
        self.data = self.data[end:]
        return reply

    def ask(self, request):
        self.send(request)
        while not (reply := self.receive()):
            pass
        return reply

    def close(self):
        self.sock.close()


def ask(port, request):
    c = Connection(port)
    try:
        return c.ask(request)
    finally:
        c.close()


def exactly(port, requests, connections=64, environment="feat-42", token=None):
    """Exactly that many requests, each answered by that environment's provider. token: the context,
    in place of an unsigned one."""
    signed = {"baggage": f"tenant=acme,offshoot={token}"} if token else {}
    exactly_of(port, requests, head(environment, **signed), f"{environment}\n".encode(),
               connections)


def exactly_of(port, requests, request, tail, connections=64):
    """Exactly that many of a request, every connection busy until none is left. tail: what each
    reply ends with."""
    left = requests
    with selectors.DefaultSelector() as selector:
        for _ in range(min(connections, requests)):
            c = Connection(port)
            selector.register(c.sock, selectors.EVENT_READ, c)
        for key in list(selector.get_map().values()):
            key.data.send(request)
            left -= 1
        while selector.get_map():
            ready = selector.select(60)
            if not ready:
                raise Broken("no reply for a minute")
            for key, _ in ready:
                reply = key.data.receive()
                if not reply:
                    continue
                if reply[0] != 200 or not reply[1].endswith(tail):
                    raise Broken(f"expected 200 and {tail}, got {reply}")
                if left:
                    key.data.send(request)
                    left -= 1
                else:
                    selector.unregister(key.data.sock)
                    key.data.close()


class LightLoad(threading.Thread):
    """A few hundred requests a second while the block runs; what was lost is counted."""

    def __init__(self, port, environment, host, expected, connections=4, pause=0.01):
        super().__init__(daemon=True)
        self.request = head(environment, host)
        self.expected, self.pause = expected, pause
        self.connections = [Connection(port) for _ in range(connections)]
        self.sent = self.good = 0
        self.slowest, self.ended, self.fault = 0.0, threading.Event(), None

    def run(self):
        while not self.ended.wait(self.pause):
            started = time.monotonic()
            for c in self.connections:
                c.send(self.request)
                self.sent += 1
            for c in self.connections:
                self.take(c)
            self.slowest = max(self.slowest, time.monotonic() - started)

    def take(self, c):
        try:
            while not (reply := c.receive()):
                pass
        except (OSError, Broken) as e:
            self.fault = self.fault or str(e)
            return
        if reply == self.expected:
            self.good += 1
        else:
            self.fault = self.fault or f"{reply}"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()
        for c in self.connections:
            c.close()

    @property
    def lost(self):
        return self.sent - self.good
