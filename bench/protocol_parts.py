"""HTTP/2, TLS, gRPC and bodies through Offshoot and its peers: CPU a request, idle memory."""

import re
import shutil
import socket
import ssl
import subprocess

from measure import Row, cpu_of_all, memory_of_each, ratios, rotated
from protocol_stack import Bench
from rig import Broken
from stack import OURS

FIELDS = ["accept: */*", "accept-language: en-GB,en;q=0.7", "user-agent: bench/1.0",
          "cookie: session=0f8fad5b-d9cb-469f-a165-70867728950e",
          "x-request-id: 7c9e6679-7425-40de-944b-e07fc1f90ae7",
          "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
          "baggage: tenant=acme,offshoot=v1m.main.0.00"]  # fmt: skip
IDLE_HTTP2, IDLE_TLS = 4096, 15 << 10


def h2load(port, requests, tls=False, http1=False, clients=16, streams=32, more=(), path="/"):
    """Seconds and requests of one run in which every reply was a 200."""
    argv = ["h2load", f"-n{requests}", f"-c{clients}", f"-m{streams}", *more]
    argv += ["--h1"] if http1 else []
    for line in FIELDS:
        argv += ["-H", line]
    scheme = "https" if tls else "http"
    done = subprocess.run([*argv, f"{scheme}://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    good = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
    ok = re.search(r"status codes: (\d+) 2xx", done.stdout)
    seconds = re.search(r"finished in ([\d.]+)(us|ms|s)", done.stdout)
    if not (good and ok and seconds) or int(ok.group(1)) != requests or int(good.group(2)):
        raise Broken(f"h2load: {done.stdout[-600:]}")
    return float(seconds.group(1)) * {"us": 1e-6, "ms": 1e-3, "s": 1}[seconds.group(2)]


def compare(a, title, requests, budgets, run, **stack):
    """CPU a request of each proxy in interleaved rounds, and ours in proportion to the others."""
    requests = requests // 10 if a.quick else requests
    with Bench(a.build, a.keep, **stack) as bench:
        cpu = {p.name: [] for p in bench.peers}
        for p in bench.peers:
            run(p.port, max(requests // 10, 64))
        for n in range(a.rounds):
            for p in rotated(bench.peers, n):
                before = cpu_of_all(p.pid)
                run(p.port, requests)
                cpu[p.name].append((cpu_of_all(p.pid) - before) / requests * 1e6)
    rows = [Row(f"{title}: {name}, CPU a request", values, "us") for name, values in cpu.items()]
    for name in cpu:
        if name != OURS:
            gate = budgets.get(name, ())
            rows.append(Row(f"{title}: CPU of offshoot : {name}", ratios(cpu[OURS], cpu[name]),
                            "x", *gate))
    return rows


def wanted(*programs):
    return [f"{p} is not installed: skipped" for p in programs if not shutil.which(p)]


def http2(a):
    """CPU of a request that comes over HTTP/2, to HTTP/1 and to HTTP/2 providers"""
    if missing := wanted("h2load"):
        return [], missing
    rows = compare(a, "HTTP/2 to HTTP/1", 60_000, {"nghttpx": (1.0, 0.9)}, h2load,
                   http2_clients=True)
    rows += compare(a, "HTTP/2 to HTTP/2", 60_000, {"nghttpx": (1.2, 1.0)}, h2load, http2=True,
                    http2_clients=True)
    return rows, wanted("nghttpx", "haproxy")


def tls(a):
    """CPU of a keep-alive request over TLS 1.3, HTTP/1.1 and HTTP/2"""
    if missing := wanted("h2load"):
        return [], missing
    def one(port, n):
        h2load(port, n, tls=True, http1=True, clients=64, streams=1)

    def two(port, n):
        h2load(port, n, tls=True)

    rows = compare(a, "TLS, HTTP/1.1", 40_000, {"haproxy": (0.95,)}, one, secure=True)
    rows += compare(a, "TLS, HTTP/2", 60_000, {}, two, secure=True, http2_clients=True)
    return rows, wanted("nghttpx", "haproxy")


def grpc(a):
    """CPU of a unary gRPC call, HTTP/2 on both sides (the service is a server of static replies)"""
    if missing := wanted("h2load"):
        return [], missing
    return compare(a, "gRPC unary", 60_000, {"nghttpx": (1.2, 1.0)}, call, http2=True,
                   http2_clients=True), wanted("nghttpx", "haproxy")


def call(port, n):
    h2load(port, n, more=["-H", "content-type: application/grpc", "-H", "te: trailers"])


def bodies(a):
    """CPU of replies of 64 KiB and of 1 MiB over HTTP/1.1"""
    if missing := wanted("h2load"):
        return [], missing
    rows = []
    for path, requests, budgets in (("64k", 10_000, {"nginx": (1.0,)}), ("1m", 1_000, {})):
        def run(port, n, path=path):
            h2load(port, n, http1=True, clients=32, streams=1, path=f"/{path}")

        rows += compare(a, f"body of {path}", requests, budgets, run)
    return rows, wanted("haproxy")


# ---- memory ----

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
ACK = b"\0\0\0\4\1\0\0\0\0"
# :method GET, :scheme http, :path /, and :authority x, without the table
HEAD = b"\x82\x86\x84\x01\x01x"


def one_request_http2(sock):
    sock.sendall(PREFACE + SETTINGS + len(HEAD).to_bytes(3, "big") + b"\1\5\0\0\0\1" + HEAD)
    data, acked = b"", False
    while True:
        data += sock.recv(65536)
        while len(data) >= 9 and len(data) >= 9 + (n := int.from_bytes(data[:3], "big")):
            kind, flags = data[3], data[4]
            data = data[9 + n:]
            if kind == 4 and not flags & 1 and not acked:
                sock.sendall(ACK)
                acked = True
            if kind in (0, 1) and flags & 1:
                return
            if kind in (3, 7):
                raise Broken("an HTTP/2 connection was refused")


def one_request_http1(sock):
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    data = b""
    while not data.endswith(b"ok\n"):
        more = sock.recv(65536)
        if not more:
            raise Broken("a connection was closed in place of a reply")
        data += more


def idle_each(peer, n, secure, request):
    context = ssl._create_unverified_context() if secure else None

    def connect():
        s = socket.create_connection(("127.0.0.1", peer.port), 60)
        s = context.wrap_socket(s) if secure else s
        request(s)
        return s

    return memory_of_each(peer.pid, 200, n, connect)["Rss"]


def idle2(a):
    """resident memory of an HTTP/2, and of a TLS connection that waits after one request"""
    n = 500 if a.quick else 2000
    rows = []
    for title, budget, stack, request in (
        ("HTTP/2", IDLE_HTTP2, {"http2_clients": True}, one_request_http2),
        ("TLS", IDLE_TLS, {"secure": True}, one_request_http1),
    ):
        with Bench(a.build, a.keep, **stack) as bench:
            for p in bench.peers:
                each = idle_each(p, n, "secure" in stack, request)
                gate = (budget,) if p.name == OURS else ()
                rows.append(Row(f"{p.name}: idle {title} connection, resident", [each], "B", *gate))
    return rows, []
