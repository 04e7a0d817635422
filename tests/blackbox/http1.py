"""HTTP/1 for tests: bytes in and out over a socket, and a small strict reader of its own.

Nothing is interpreted beyond what is asked for: a test sends the bytes it wants to send and gets
back what came, split into start line, fields and body. Independent of the code under test.
"""

import re
import socket
import time

TIMEOUT = 30.0

STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) (\d{3}) ([^\r\n]*)\Z")
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/(1\.[01])\Z")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*\Z", re.S)
BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class BadMessage(AssertionError):
    """The peer sent something that is no HTTP/1 message."""


class Incomplete(AssertionError):
    """The stream ended, or nothing came in time, before a message was whole.

    `raw` is what came of it, `reason` "eof", "reset" or "timeout"."""

    def __init__(self, reason, raw):
        super().__init__(f"message not whole ({reason}) after {len(raw)} bytes: {raw[-200:]!r}")
        self.reason, self.raw = reason, raw


class Message:
    """What requests and replies have in common. Names in `fields` are as they came."""

    def __init__(self, version, fields):
        self.version = version
        self.fields = fields
        self.body = b""
        self.trailers = []
        self.framing = "none"  # "none", "length", "chunked", "close"
        self.chunks = []
        self.raw = b""

    def all(self, name):
        """Every value of a field, in order."""
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name):
        """The only value of a field, None without one; more than one is a failure."""
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{len(values)} fields {name}: {values}")
        return values[0] if values else None

    def names(self):
        return [n.lower() for n, _ in self.fields]


class Reply(Message):
    def __init__(self, version, status, reason, fields):
        super().__init__(version, fields)
        self.status, self.reason = status, reason

    def __repr__(self):
        return f"<Reply {self.status} {self.fields} {self.body[:80]!r}>"


class Request(Message):
    def __init__(self, method, target, version, fields):
        super().__init__(version, fields)
        self.method, self.target = method, target

    def __repr__(self):
        return f"<Request {self.method} {self.target} {self.fields} {self.body[:80]!r}>"


class Stream:
    """A connected socket with a read buffer. Time-outs are for a whole call, not for a read."""

    def __init__(self, sock, timeout=TIMEOUT):
        self.sock = sock
        self.timeout = timeout
        self.buffer = b""
        self.taken = b""  # bytes of the message being read
        self.deadline = None

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def send_slowly(self, data, step=1):
        """Each `step` bytes a packet of their own."""
        for i in range(0, len(data), step):
            self.send(data[i : i + step])

    def end_sending(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # -- reading bytes

    def _start(self):
        self.taken = b""
        self.deadline = time.monotonic() + self.timeout

    def _fill(self):
        """Reads once; why there is nothing more, or None."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            return "timeout"
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return "timeout"
        except ConnectionError:
            return "reset"
        if not data:
            return "eof"
        self.buffer += data
        return None

    def _need(self, fn):
        """Fills the buffer until fn(buffer) is not None."""
        while True:
            got = fn(self.buffer)
            if got is not None:
                return got
            reason = self._fill()
            if reason:
                raise Incomplete(reason, self.taken + self.buffer)

    def _take(self, n):
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        self.taken += data
        return data

    def _line(self):
        end = self._need(lambda b: b.index(b"\n") if b"\n" in b else None)
        line = self._take(end + 1)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise BadMessage(f"line not ended by CRLF: {line[:200]!r}")
        return line[:-2]

    def _exactly(self, n):
        self._need(lambda b: n if len(b) >= n else None)
        return self._take(n)

    def read_exactly(self, n):
        self._start()
        return self._exactly(n)

    def peek_exactly(self, n):
        """The next n bytes, which stay where they are."""
        self._start()
        return self._need(lambda b: b[:n] if len(b) >= n else None)

    def read_to_end(self):
        """Everything until EOF. Incomplete when the peer resets or keeps it open."""
        self._start()
        while True:
            reason = self._fill()
            if reason == "eof":
                return self._take(len(self.buffer))
            if reason:
                raise Incomplete(reason, self.buffer)

    def expect_end(self):
        """The peer closes, cleanly or not, and says nothing more."""
        try:
            rest = self.read_to_end()
        except Incomplete as e:
            if e.reason == "timeout":
                raise
            rest = e.raw
        if rest:
            raise AssertionError(f"bytes before the end: {rest[:200]!r}")

    # -- reading messages

    def _fields(self):
        fields = []
        while True:
            line = self._line()
            if not line:
                return fields
            found = FIELD.match(line)
            if not found or BAD_VALUE.search(found.group(2)):
                raise BadMessage(f"not a field: {line[:200]!r}")
            fields.append(tuple(part.decode("latin-1") for part in found.groups()))

    def _chunked(self, message):
        message.framing = "chunked"
        while True:
            size = self._line().split(b";")[0]
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size):
                raise BadMessage(f"not a chunk size: {size[:40]!r}")
            n = int(size, 16)
            if n == 0:
                message.trailers = self._fields()
                message.body = b"".join(message.chunks)
                return
            message.chunks.append(self._exactly(n))
            if self._exactly(2) != b"\r\n":
                raise BadMessage("chunk not ended by CRLF")

    def _body(self, message, until_close):
        lengths = message.all("content-length")
        codings = message.all("transfer-encoding")
        if codings and lengths:
            raise BadMessage("both Content-Length and Transfer-Encoding")
        if codings:
            if [c.lower() for c in codings] != ["chunked"]:
                raise BadMessage(f"transfer codings {codings}")
            self._chunked(message)
        elif lengths:
            if len(lengths) > 1 or not re.fullmatch(r"\d{1,18}", lengths[0]):
                raise BadMessage(f"Content-Length {lengths}")
            message.framing = "length"
            message.body = self._exactly(int(lengths[0]))
        elif until_close:
            message.framing = "close"
            reason = None
            while not reason:
                reason = self._fill()
            if reason != "eof":
                raise Incomplete(reason, self.taken + self.buffer)
            message.body = self._take(len(self.buffer))

    def read_reply(self, method="GET", body=True):
        """The next reply, whole. method: of its request. body=False stops at the head."""
        self._start()
        found = STATUS_LINE.match(self._line())
        if not found:
            raise BadMessage(f"not a status line: {self.taken[:200]!r}")
        version, status, reason = found.groups()
        reply = Reply(version.decode(), int(status), reason.decode("latin-1"), self._fields())
        bodiless = method == "HEAD" or reply.status < 200 or reply.status in (204, 304)
        tunnel = method == "CONNECT" and reply.status // 100 == 2
        if body and not bodiless and not tunnel:
            self._body(reply, until_close=True)
        reply.raw = self.taken
        return reply

    def read_request(self, body=True):
        """The next request, whole. None when the peer closed before its first byte."""
        self._start()
        try:
            line = self._line()
        except Incomplete as e:
            if e.raw or e.reason == "timeout":
                raise
            return None
        found = REQUEST_LINE.match(line)
        if not found:
            raise BadMessage(f"not a request line: {line[:200]!r}")
        method, target, version = (part.decode("latin-1") for part in found.groups())
        request = Request(method, target, version, self._fields())
        if body:
            self._body(request, until_close=False)
        request.raw = self.taken
        return request

    def ask(self, data, method=None):
        """Sends the bytes of a request and reads one reply that is not a 1xx."""
        self.send(data)
        method = method or data.split(b" ", 1)[0].decode("latin-1")
        reply = self.read_reply(method)
        while reply.status < 200 and reply.status != 101:
            reply = self.read_reply(method)
        return reply


def split_address(address):
    """"127.0.0.1:80" or "[::1]:80" as (host, port)."""
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def connect(address, timeout=TIMEOUT, tls=None, server_name=None):
    """A Stream to "IP:PORT" or the path of a unix socket. tls: an ssl.SSLContext."""
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(address)
    else:
        sock = socket.create_connection(split_address(address), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        sock = tls.wrap_socket(sock, server_hostname=server_name)
    return Stream(sock, timeout)


def request_bytes(method="GET", target="/", host="localhost", fields=(), body=b""):
    """A plain well-formed request. A length is given when there is a body."""
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in fields]
    if body and not any(n.lower() == "transfer-encoding" for n, _ in fields):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def reply_bytes(status=200, body=b"", fields=(), reason="OK"):
    """A plain well-formed reply with its length."""
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
