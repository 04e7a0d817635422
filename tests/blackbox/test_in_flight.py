"""How many requests are open at an HTTP/1 provider while a client opens and resets streams as fast
as it can: never more than it was told it may have, and a tenth."""

import select
import socket
import threading
import unittest

import http2
from harness import ONE_SHOP, Incomplete, ProxyCase, eventually
from http2 import MAX_STREAMS, request_fields
from live import few

ROUNDS = few(200, 60)
MOST_OVER = 1.1


class Holding:
    """A provider that answers nothing and counts the connections with a request on them that the
    other side has not closed."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.open, self.most, self.seen, self.over = {}, 0, 0, False
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.over:
            for fd, _ in self.poll.poll(0.05):
                if fd == self.listener.fileno():
                    self._accept()
                else:
                    self._read(fd)
            self._count()

    def _accept(self):
        try:
            sock, _ = self.listener.accept()
        except BlockingIOError:
            return
        sock.setblocking(False)
        self.open[sock.fileno()] = [sock, False]
        self.poll.register(sock, select.EPOLLIN)

    def _read(self, fd):
        """Whether it is still open."""
        entry = self.open[fd]
        while True:
            try:
                data = entry[0].recv(65536)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self.open.pop(fd)[0].close()
                return
            self.seen += not entry[1]
            entry[1] = True

    def _busy(self):
        return [fd for fd, (_, asked) in self.open.items() if asked]

    def _count(self):
        if len(self._busy()) <= self.most:
            return
        for fd in self._busy():  # those that were closed meanwhile do not count
            self._read(fd)
        self.most = max(self.most, len(self._busy()))

    def close(self):
        self.over = True
        self.thread.join(10)
        for sock, _ in self.open.values():
            sock.close()
        self.listener.close()
        self.poll.close()


class InFlight(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def attack(self, held):
        """With so many streams that stay, all others are opened and reset, a batch in a write,
        until the connection is cut."""
        provider = self.closes(Holding())
        proxy = self.start_proxy(ONE_SHOP % provider.address, listen=("127.0.0.1:0",))
        peer = self.closes(http2.connect(proxy.address))
        peer.judges = False
        peer.wait(lambda: MAX_STREAMS in peer.peer, "the limit")
        allowed = peer.peer[MAX_STREAMS]
        self.assertGreater(allowed, held)
        for _ in range(held):
            peer.request()
        eventually(lambda: provider.seen >= held)
        try:
            for _ in range(ROUNDS):
                streams = [peer.new_stream() for _ in range(allowed - held)]
                peer.send(*[http2.headers(n, peer.block(request_fields()), end=True)
                            for n in streams])
                peer.alive()  # so that requests were sent on
                peer.send(*[http2.rst_stream(n) for n in streams])
            peer.read_to_end()
        except (OSError, Incomplete):
            pass
        eventually(lambda: proxy.counters().get("offshoot_http2_clients") == 0)
        print(f"{provider.seen} requests, {provider.most} at a time, {allowed} allowed", flush=True)
        self.assertGreater(provider.seen, held)
        self.assertGreaterEqual(provider.most, held)
        self.assertLessEqual(provider.most, allowed * MOST_OVER)

    def test_all_streams_reset_at_once(self):
        self.attack(0)

    def test_one_stream_after_the_other_beside_many_that_stay(self):
        self.attack(200)


if __name__ == "__main__":
    unittest.main()
