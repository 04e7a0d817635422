"""Many keep-alive HTTP/1.1 connections driven by one thread: sends a request on each, checks each
reply, goes on. Shares no code with the proxy; replies must have a Content-Length."""

import select
import socket


class Load:
    """connections: how many. request(n): the bytes of the n-th request and what is expected of it
    (any object). check(expected, head, body): called for each reply; raises when it is wrong."""

    def __init__(self, address, connections, request, check):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.request, self.check = request, check
        self.sent = self.done = 0
        self.poll = select.epoll()
        self.socks = {}
        for _ in range(connections):
            self._open()

    def _open(self):
        s = socket.create_connection(self.address, timeout=30)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socks[s.fileno()] = [s, b"", None]
        self.poll.register(s.fileno(), select.EPOLLIN)
        self._next(self.socks[s.fileno()])

    def _next(self, entry):
        data, entry[2] = self.request(self.sent)
        self.sent += 1
        entry[0].sendall(data)

    def _read(self, entry):
        got = entry[0].recv(65536)
        if not got:
            raise AssertionError(f"connection closed in request {entry[2]!r} after {entry[1]!r}")
        data = entry[1] + got
        end = data.find(b"\r\n\r\n")
        if end < 0:
            entry[1] = data
            return False
        head = data[:end].lower()
        at = head.find(b"\r\ncontent-length: ")
        if at < 0:
            raise AssertionError(f"no content-length in {head!r}")
        length = int(head[at + 18 :].split(b"\r\n", 1)[0])
        if len(data) < end + 4 + length:
            entry[1] = data
            return False
        if len(data) > end + 4 + length:
            raise AssertionError(f"bytes after the reply: {data!r}")
        entry[1] = b""
        self.check(entry[2], head, data[end + 4 :])
        self.done += 1
        return True

    def run(self, total, between=None):
        """Until `total` replies were checked. between(done): called now and then."""
        while self.done < total:
            for fd, _ in self.poll.poll(30):
                if self._read(self.socks[fd]):
                    self._next(self.socks[fd])
            if between:
                between(self.done)

    def finish(self):
        """Reads the replies that are still out."""
        waiting = set(self.socks)
        while waiting:
            for fd, _ in self.poll.poll(30):
                if fd in waiting and self._read(self.socks[fd]):
                    waiting.discard(fd)

    def close(self):
        for s, _, _ in self.socks.values():
            s.close()
        self.poll.close()
