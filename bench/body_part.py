"""A large body through a slow reader, both ways."""

import contextlib
import socket
import threading
import time

import load
import stack as stacks
from measure import PeakWatch, Row, memory
from rig import Broken, Rig

GROWTH_BUDGET = 512
PIECE = 1 << 20
RATE = 100 << 20  # bytes a second that the slow side reads


def read_slowly(sock, left):
    """Takes that many bytes, no faster than RATE."""
    space = bytearray(PIECE)
    taken, started = 0, time.monotonic()
    while left:
        n = sock.recv_into(space, min(left, PIECE))
        if n == 0:
            raise Broken(f"a body ended {left} bytes early")
        left -= n
        taken += n
        ahead = taken / RATE - (time.monotonic() - started)
        if ahead > 0.01:
            time.sleep(ahead)


def send_zeros(sock, n):
    piece = bytes(PIECE)
    while n:
        n -= sock.send(piece[:min(n, PIECE)])


def read_head(sock):
    """A head, byte for byte not further than its end."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        more = sock.recv(1)
        if not more:
            raise Broken("a connection ended in a head")
        data += more
    return data


class Provider(threading.Thread):
    """Serves connections one after the other: GET sends a body, PUT slowly takes one."""

    def __init__(self, size):
        super().__init__(daemon=True)
        self.size, self.fault = size, None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(Broken, OSError):
                while True:
                    self.serve(connection, read_head(connection))

    def serve(self, connection, head):
        if head.startswith(b"PUT"):
            read_slowly(connection, self.size)
        length = self.size if head.startswith(b"GET /large") else 5
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        send_zeros(connection, length)

    def __exit__(self, *_):
        self.listener.close()

    def __enter__(self):
        self.start()
        return self


def download(connection, size):
    connection.sock.sendall(load.head("main", path="/large"))
    head = read_head(connection.sock)
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise Broken(f"download: {head!r}")
    read_slowly(connection.sock, size)


def upload(connection, size):
    connection.sock.sendall(load.head("main", method="PUT", **{"Content-Length": str(size)}))
    send_zeros(connection.sock, size)
    while not (reply := connection.receive()):
        pass
    if reply[0] != 200:
        raise Broken(f"upload: {reply}")


def body(a):
    """growth of resident memory while a large body passes to a slow reader"""
    size = 64 << 20 if a.quick else 1 << 30
    rows = []
    with Rig(a.keep) as rig, Provider(size) as provider:
        rig.write("graph.yaml", stacks.graph({"main": provider.port}))
        proxy = stacks.ours(rig, a.build, rig.path("graph.yaml")).start()
        connection = load.Connection(proxy.port)
        connection.ask(load.head("main"))
        for name, transfer in (("download", download), ("upload", upload)):
            before = memory(proxy.pid)["Rss"]
            with PeakWatch(proxy.pid) as watch:
                transfer(connection, size)
            rows.append(Row(f"{size >> 20} MiB {name}: growth", [(watch.peak - before) / 1024],
                            "KiB", GROWTH_BUDGET))
        connection.close()
        proxy.stop()
    return rows, [f"the reader takes {RATE >> 20} MiB/s"]
