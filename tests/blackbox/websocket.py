"""WebSocket for tests (RFC 6455), on http1.Stream: handshake, frames, an echo provider.

Independent of the code under test. Frames are whole messages; a client masks, a server does not.
"""

import base64
import hashlib
import os
import struct

from http1 import request_bytes

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def handshake(target="/chat", host="localhost", key=None, fields=()):
    """The bytes of a handshake's request."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    return request_bytes("GET", target, host, [
        ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"), *fields])  # fmt: skip


def switching(request, fields=()):
    """The reply that takes a handshake."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_of(request.get('sec-websocket-key'))}",
        *(f"{name}: {value}" for name, value in fields),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(kind, payload, masked):
    """One final frame."""
    n = len(payload)
    bit = 0x80 if masked else 0
    if n < 126:
        head = bytes([0x80 | kind, bit | n])
    elif n < 65536:
        head = bytes([0x80 | kind, bit | 126]) + struct.pack(">H", n)
    else:
        head = bytes([0x80 | kind, bit | 127]) + struct.pack(">Q", n)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + mask_bytes(payload, mask)


def mask_bytes(payload, mask):
    n = len(payload)
    key = int.from_bytes((mask * (n // 4 + 1))[:n], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(n, "big")


def read_frame(stream):
    """The next frame as (kind, payload)."""
    first, second = stream.read_exactly(2)
    if not first & 0x80 or first & 0x70:
        raise AssertionError(f"not a whole message: {first:#x}")
    n = second & 0x7F
    if n == 126:
        n = struct.unpack(">H", stream.read_exactly(2))[0]
    elif n == 127:
        n = struct.unpack(">Q", stream.read_exactly(8))[0]
    mask = stream.read_exactly(4) if second & 0x80 else None
    payload = stream.read_exactly(n)
    return first & 15, mask_bytes(payload, mask) if mask else payload


def echo(stream):
    """A provider's script: takes a handshake, says every message again, answers a close."""
    stream.timeout = 3600.0
    request = stream.read_request()
    if request is None:
        return
    stream.provider.note(request)
    stream.send(switching(request))
    while True:
        kind, payload = read_frame(stream)
        stream.send(frame(kind if kind != PING else PONG, payload, False))
        if kind == CLOSE:
            return


class Client:
    """A WebSocket client on a stream that the proxy has switched."""

    def __init__(self, stream, **options):
        self.stream = stream
        key = base64.b64encode(os.urandom(16)).decode()
        stream.send(handshake(key=key, **options))
        self.reply = stream.read_reply()
        if self.reply.status != 101:
            raise AssertionError(f"not switched: {self.reply}")
        if self.reply.get("sec-websocket-accept") != accept_of(key):
            raise AssertionError(f"not for us: {self.reply}")

    def say(self, payload, kind=BINARY):
        self.stream.send(frame(kind, payload, True))

    def hear(self):
        return read_frame(self.stream)

    def ask(self, payload, kind=BINARY):
        self.say(payload, kind)
        return self.hear()[1]

    def end(self):
        """The closing handshake; the server closes the connection first (section 7.1.1)."""
        if self.ask(b"\x03\xe8", CLOSE) != b"\x03\xe8":
            raise AssertionError("no answer to the close")
        self.stream.expect_end()
        self.stream.close()
