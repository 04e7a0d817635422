"""HTTP/2 for tests: frames in and out over a socket, and a strict reader of its own.

Three layers, each usable alone. Functions (`frame`, `data`, `headers`, `settings`, ...) make the
bytes of one frame, also of frames that must not be. `Peer` is a connection: it sends bytes, reads
frames, keeps windows and header tables, and sorts what comes into an `Exchange` for each stream.
`Client` and `Server` add the preface, requests and replies.

A peer reads only when it is told to wait for something (`wait`, `reply`, `next_request`, ...). What
comes meanwhile is judged: a frame that RFC 9113 forbids is a BadMessage. Independent of the code
under test; the header codec is python3-hpack's."""

import ssl
import struct
import time

import hpack

from http1 import TIMEOUT, BadMessage, Incomplete
from http1 import connect as connect_stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
NAMES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
         "WINDOW_UPDATE", "CONTINUATION")  # fmt: skip

END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32

(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
 FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM,
 INADEQUATE_SECURITY, HTTP_1_1_REQUIRED) = range(14)  # fmt: skip

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = range(1, 6)
MAX_HEADER_LIST = 6
ENABLE_CONNECT = 8

WINDOW = 65_535
CONNECTION_SPECIFIC = ("connection", "keep-alive", "proxy-connection", "transfer-encoding",
                       "upgrade")  # fmt: skip


# ---- frames as bytes ----


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """Any frame. length: what the head says, when it is not the truth."""
    n = len(payload) if length is None else length
    return struct.pack(">I", n)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def padded(flags, payload, pad):
    if pad is None:
        return flags, payload
    return flags | PADDED, bytes([pad]) + payload + bytes(pad)


def data(stream, payload=b"", end=False, pad=None):
    flags, payload = padded(END_STREAM if end else 0, payload, pad)
    return frame(DATA, flags, stream, payload)


def headers(stream, block, end=False, end_headers=True, pad=None, priority=None):
    """priority: (depends on, weight 1..256, exclusive)."""
    flags = (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0)
    if priority:
        flags, block = flags | WITH_PRIORITY, priority_bytes(*priority) + block
    flags, block = padded(flags, block, pad)
    return frame(HEADERS, flags, stream, block)


def priority_bytes(on=0, weight=16, exclusive=False):
    return struct.pack(">IB", on | (1 << 31 if exclusive else 0), weight - 1)


def continuation(stream, block, end_headers=True):
    return frame(CONTINUATION, END_HEADERS if end_headers else 0, stream, block)


def in_pieces(stream, block, step, end=False):
    """HEADERS and CONTINUATIONs of at most step bytes each."""
    parts = [block[i : i + step] for i in range(0, len(block), step)] or [b""]
    out = headers(stream, parts[0], end, end_headers=len(parts) == 1)
    for i, part in enumerate(parts[1:], 2):
        out += continuation(stream, part, end_headers=i == len(parts))
    return out


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def settings(values=(), ack=False):
    """values: {id: value}, or pairs where one shall come twice."""
    pairs = values.items() if hasattr(values, "items") else values
    return frame(SETTINGS, ACK if ack else 0, 0, b"".join(struct.pack(">HI", *p) for p in pairs))


def ping(payload=b"\0" * 8, ack=False):
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last=0, code=NO_ERROR, text=b""):
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + text)


def window_update(stream, n):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))


def push_promise(stream, promised, block, end_headers=True):
    flags = END_HEADERS if end_headers else 0
    return frame(PUSH_PROMISE, flags, stream, struct.pack(">I", promised) + block)


def number(value, bits, first=0):
    """An HPACK integer behind the bits of `first`."""
    top = (1 << bits) - 1
    if value < top:
        return bytes([first | value])
    out, value = [first | top], value - top
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def text_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def literal(fields, first=0x00):
    """A header block of literals that are neither indexed nor coded: any bytes in names and values,
    and no change of any table. first: 0x10 never indexed, 0x40 with incremental indexing."""
    out = b""
    for name, value in fields:
        name, value = text_bytes(name), text_bytes(value)
        out += bytes([first]) + number(len(name), 7) + name + number(len(value), 7) + value
    return out


def request_fields(method="GET", path="/", authority="localhost", fields=(), scheme="http"):
    pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    return [(n, v) for n, v in pseudo if v is not None] + list(fields)


# ---- what came ----


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def __repr__(self):
        name = NAMES[self.kind] if self.kind < len(NAMES) else f"type {self.kind}"
        return (f"<{name} flags {self.flags:#x} stream {self.stream}, {len(self.payload)} bytes: "
                f"{self.payload[:40]!r}>")  # fmt: skip

    def has(self, flag):
        return bool(self.flags & flag)

    def content(self):
        """The payload without padding and priority."""
        payload = self.payload
        if self.has(PADDED) and self.kind in (DATA, HEADERS, PUSH_PROMISE):
            pad = payload[0]
            if pad >= len(payload):
                raise BadMessage(f"more padding than payload: {self}")
            payload = payload[1 : len(payload) - pad]
        if self.kind == HEADERS and self.has(WITH_PRIORITY):
            payload = payload[5:]
        return payload

    def code(self):
        """Of RST_STREAM and GOAWAY."""
        at = 4 if self.kind == GOAWAY else 0
        return struct.unpack_from(">I", self.payload, at)[0]

    def last(self):
        """Of GOAWAY."""
        return struct.unpack_from(">I", self.payload)[0] & 0x7FFFFFFF


class Exchange:
    """What came on one stream: a reply at a client, a request at a server."""

    def __init__(self, stream, window, send_window):
        self.stream = stream
        self.interim = []  # 1xx: lists of fields
        self.fields = None
        self.received = bytearray()
        self.pieces = []  # lengths of the DATA frames
        self.trailers = None
        self.ended = False  # END_STREAM came
        self.reset = None  # the code of RST_STREAM
        self.window = window  # that the other side may still send
        self.send_window = send_window

    def __repr__(self):
        state = "ended" if self.ended else "open" if self.reset is None else f"reset {self.reset}"
        return f"<stream {self.stream} {state} {self.fields} {self.body[:80]!r} {self.trailers}>"

    @property
    def body(self):
        return bytes(self.received)

    @property
    def status(self):
        return int(self.get(":status")) if self.fields is not None else None

    @property
    def whole(self):
        """It came to a clean end."""
        return self.ended and self.fields is not None

    @property
    def over(self):
        return self.ended or self.reset is not None

    def all(self, name):
        return [v for n, v in self.fields or () if n == name]

    def get(self, name):
        values = self.all(name)
        if len(values) > 1:
            raise AssertionError(f"{len(values)} fields {name}: {values}")
        return values[0] if values else None

    def names(self):
        return [n for n, _ in self.fields or () if not n.startswith(":")]

    @property
    def method(self):
        return self.get(":method")

    @property
    def target(self):
        return self.get(":path")

    def length_fits(self):
        length = self.get("content-length")
        return length is None or int(length) == len(self.received)


# ---- a connection ----


class Peer:
    """One end of a connection. Attributes that a test may set before it waits:

    acks      answer SETTINGS and PING (True)
    opens     give back window for DATA at once (True)
    judges    BadMessage for what RFC 9113 forbids (True)"""

    def __init__(self, stream, own=()):
        self.stream = stream
        self.own = {HEADER_TABLE_SIZE: 4096, INITIAL_WINDOW: WINDOW, MAX_FRAME: 16_384, **dict(own)}
        self.announced = dict(own)
        self.peer = {INITIAL_WINDOW: WINDOW, MAX_FRAME: 16_384, HEADER_TABLE_SIZE: 4096}
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=1 << 24)
        self.decoder.max_allowed_table_size = self.own[HEADER_TABLE_SIZE]
        self.acks = self.opens = self.judges = True
        self.exchanges = {}
        self.goaways, self.pings, self.unknown = [], [], []
        self.settings_seen = self.settings_acked = 0
        self.window = self.send_window = WINDOW
        self.open_block = None  # (Frame, bytes) of a head that goes on
        self.frames_read = 0

    def close(self):
        self.stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def sock(self):
        return self.stream.sock

    # -- sending

    def send(self, *frames):
        """Bytes as they are, in one write."""
        self.stream.send(b"".join(frames))

    def _answer(self, data):
        """Sends what belongs to what was read; that nobody takes it any more is seen by reading."""
        try:
            self.send(data)
        except OSError:
            pass

    def block(self, fields):
        """A header block with the connection's own table. It must be sent, and in this order."""
        return self.encoder.encode([(text_bytes(n), text_bytes(v)) for n, v in fields])

    def send_head(self, stream, fields, end=False):
        """In as many frames as the other side's frame size asks for."""
        block = self.block(fields)
        self.send(in_pieces(stream, block, self.peer[MAX_FRAME], end))

    def exchange(self, stream):
        if stream not in self.exchanges:
            self.exchanges[stream] = Exchange(
                stream, self.own[INITIAL_WINDOW], self.peer[INITIAL_WINDOW])
        return self.exchanges[stream]

    def send_body(self, stream, body, end=True):
        """As the other side's windows allow; reads while it waits for them. A client stops when
        its reply is over."""
        x = self.exchange(stream)
        while body:
            self.wait(lambda: self._room(x) > 0 or self._stops(x), "window for the body")
            if self._stops(x):
                return
            n = min(len(body), self._room(x), self.peer[MAX_FRAME])
            x.send_window -= n
            self.send_window -= n
            part, body = body[:n], body[n:]
            self.send(data(stream, part, end=end and not body))
            end = end and bool(body)
        if end:
            self.send(data(stream, b"", end=True))

    def _stops(self, x):
        return x.reset is not None

    def _room(self, x):
        return min(x.send_window, self.send_window)

    # -- reading

    def read_frame(self):
        """The next frame, whatever it is, not interpreted. Incomplete at the end."""
        head = self.stream.peek_exactly(9)
        n, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if self.judges and n > self.own[MAX_FRAME]:
            raise BadMessage(f"a frame of {n} bytes")
        stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
        return Frame(kind, flags, stream, self.stream.read_exactly(9 + n)[9:])

    def step(self):
        """Reads one frame and takes note of it; returns it."""
        f = self.read_frame()
        self.frames_read += 1
        if self.open_block and f.kind != CONTINUATION:
            raise BadMessage(f"{f} within a header block")
        on = (self._data, self._headers, self._nothing, self._rst, self._settings, self._push,
              self._ping, self._goaway, self._window, self._continuation)  # fmt: skip
        if f.kind < len(on):
            on[f.kind](f)
        else:
            self.unknown.append(f)
        return f

    def wait(self, fn, what="it", seconds=None):
        """Reads frames until fn() is true, and returns that. Incomplete when the connection ends
        or time is up before."""
        limit = self.stream.timeout
        deadline = time.monotonic() + (limit if seconds is None else seconds)
        try:
            while True:
                value = fn()
                if value:
                    return value
                self.stream.timeout = deadline - time.monotonic()
                if self.stream.timeout <= 0:
                    raise Incomplete("timeout", b"")
                self.step()
        except Incomplete as e:
            raise Incomplete(e.reason, f"waiting for {what}: {e}".encode()) from None
        finally:
            self.stream.timeout = limit

    def read_to_end(self):
        """Takes note of all that comes until the other side closes: "eof" or "reset"."""
        try:
            self.wait(lambda: False, "the end")
        except Incomplete as e:
            if e.reason == "timeout":
                raise
            return e.reason
        except OSError:
            return "reset"
        raise AssertionError("not reached")

    def _judge(self, good, why):
        if self.judges and not good:
            raise BadMessage(why)

    def _nothing(self, f):
        pass

    def _data(self, f):
        x = self.exchanges.get(f.stream)
        self._judge(x and x.fields is not None and not x.over, f"{f} on a stream that takes none")
        n = len(f.payload)
        self.window -= n
        self._judge(self.window >= 0, f"{f}: above the connection's window")
        if not x:
            return
        x.window -= n
        self._judge(x.window >= 0, f"{f}: above the stream's window")
        x.received += f.content()
        x.pieces.append(len(f.content()))
        x.ended |= f.has(END_STREAM)
        if self.opens and n:
            out = window_update(0, n)
            self.window += n
            if not x.ended:
                out += window_update(f.stream, n)
                x.window += n
            self._answer(out)

    def _headers(self, f):
        self._judge(f.stream, f"{f} without a stream")
        if f.has(END_HEADERS):
            self._head(f, f.content())
        else:
            self.open_block = (f, f.content())

    def _continuation(self, f):
        if not self.open_block or self.open_block[0].stream != f.stream:
            raise BadMessage(f"{f} without a header block")
        first, block = self.open_block
        self.open_block = (first, block + f.content())
        if f.has(END_HEADERS):
            self.open_block = None
            self._head(first, block + f.content())

    def _head(self, f, block):
        try:
            fields = self.decoder.decode(block, raw=True)
        except hpack.HPACKError as e:
            raise BadMessage(f"header block of {f}: {e!r}") from e
        fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in fields]
        self._judge(self._may_have(f.stream), f"{f}: a stream that is not open")
        x = self.exchange(f.stream)
        self._judge(not x.over, f"{f} on a stream that has ended")
        self._check(x, fields, f)
        if x.fields is not None:
            self._judge(f.has(END_STREAM), f"trailers without an end: {f}")
            x.trailers = fields
        elif fields and fields[0][0] == ":status" and fields[0][1].startswith("1"):
            self._judge(not f.has(END_STREAM), f"{fields} ends the stream")
            x.interim.append(fields)
        else:
            x.fields = fields
        x.ended |= f.has(END_STREAM)

    PSEUDO = NEEDED = ()

    def _may_have(self, stream):
        """Whether a header block may come on it."""
        return stream in self.exchanges

    def _check(self, x, fields, f):
        """RFC 9113, 8.2 and 8.3."""
        if not self.judges:
            return
        pseudo = [n for n, _ in fields if n.startswith(":")]
        if [n for n, _ in fields[: len(pseudo)]] != pseudo:
            raise BadMessage(f"pseudo-fields after others: {fields}")
        if x.fields is not None and pseudo:
            raise BadMessage(f"pseudo-fields in trailers: {fields}")
        if x.fields is None and (len(set(pseudo)) != len(pseudo) or set(pseudo) - set(self.PSEUDO)
                                 or not set(self.NEEDED) <= set(pseudo)):  # fmt: skip
            raise BadMessage(f"pseudo-fields: {fields}")
        for name, value in fields:
            if name != name.lower() or not name or any(c in name[1:] + value for c in "\0\r\n"):
                raise BadMessage(f"field {name!r}: {value!r}")
            if ":" in name[1:] or name in CONNECTION_SPECIFIC or value != value.strip(" \t"):
                raise BadMessage(f"field {name!r}: {value!r}")
            if name == "te" and value != "trailers":
                raise BadMessage(f"te: {value}")

    def _rst(self, f):
        self._judge(len(f.payload) == 4 and f.stream in self.exchanges, f"{f}")
        if f.stream in self.exchanges:
            self.exchanges[f.stream].reset = f.code()

    def _settings(self, f):
        self._judge(f.stream == 0 and len(f.payload) % 6 == 0, f"{f}")
        if f.has(ACK):
            self._judge(not f.payload, f"{f}")
            self.settings_acked += 1
            return
        self.settings_seen += 1
        for at in range(0, len(f.payload), 6):
            name, value = struct.unpack_from(">HI", f.payload, at)
            if name == INITIAL_WINDOW:
                for x in self.exchanges.values():
                    x.send_window += value - self.peer[INITIAL_WINDOW]
            if name == HEADER_TABLE_SIZE:
                self.encoder.header_table_size = min(value, 4096)
            self.peer[name] = value
        if self.acks:
            self._answer(settings(ack=True))

    def _push(self, f):
        raise BadMessage(f"{f}: nobody enabled push")

    def _ping(self, f):
        self._judge(f.stream == 0 and len(f.payload) == 8, f"{f}")
        self.pings.append(f)
        if self.acks and not f.has(ACK):
            self._answer(ping(f.payload, ack=True))

    def _goaway(self, f):
        self._judge(f.stream == 0 and len(f.payload) >= 8, f"{f}")
        self.goaways.append(f)

    def _window(self, f):
        self._judge(len(f.payload) == 4, f"{f}")
        n = struct.unpack(">I", f.payload)[0] & 0x7FFFFFFF
        self._judge(n, f"{f} of nothing")
        self._judge(f.stream == 0 or f.stream in self.exchanges, f"{f} on an idle stream")
        if f.stream == 0:
            self.send_window += n
        elif f.stream in self.exchanges:
            self.exchanges[f.stream].send_window += n


class Client(Peer):
    """Sends the preface and its settings at once; whether the other side speaks HTTP/2 is seen with
    the first frame. With greet=False nothing is sent."""

    PSEUDO = NEEDED = (":status",)

    def __init__(self, stream, own=(), greet=True):
        super().__init__(stream, own)
        self.next_stream = 1
        if greet:
            self.send(PREFACE, settings(self.announced))

    def _stops(self, x):
        return x.over

    def new_stream(self):
        self.next_stream += 2
        self.exchange(self.next_stream - 2)
        return self.next_stream - 2

    def request(self, method="GET", path="/", authority="localhost", fields=(), body=None,
                trailers=None, end=True, scheme="http"):  # fmt: skip
        """Sends a request; its stream. body None: the head ends it, if `end`."""
        n = self.new_stream()
        self.send_head(n, request_fields(method, path, authority, fields, scheme),
                       end=end and body is None and not trailers)  # fmt: skip
        if body is not None:
            self.send_body(n, body, end=end and not trailers)
        if trailers:
            self.send_head(n, trailers, end=True)
        return n

    def reply(self, stream):
        """Waits until the stream is over, by its end or a reset; the Exchange."""
        x = self.exchange(stream)
        self.wait(lambda: x.over, f"the reply on stream {stream}")
        return x

    def head(self, stream):
        """Waits for the reply's head (or the end of the stream)."""
        x = self.exchange(stream)
        self.wait(lambda: x.fields is not None or x.over, f"the head on stream {stream}")
        return x

    def ask(self, *args, **kwargs):
        """A request and its reply. A reset is a failure."""
        x = self.reply(self.request(*args, **kwargs))
        if not x.whole:
            raise Incomplete("reset", repr(x).encode())
        return x

    def alive(self):
        """Has the other side answer a PING: all that it did before has come then."""
        seen = len(self.pings)
        self.send(ping(struct.pack(">Q", seen)))
        self.wait(lambda: len(self.pings) > seen, "the answer to a PING")
        return self


class Server(Peer):
    """The provider's side, for the script of a fakes.Provider."""

    PSEUDO = (":method", ":scheme", ":path", ":authority", ":protocol")
    NEEDED = (":method",)

    def __init__(self, stream, own=(), greet=True):
        super().__init__(stream, own)
        self.taken = set()
        if greet:
            self.greet()

    def _may_have(self, stream):
        newest = max(self.exchanges, default=0)
        return stream % 2 == 1 and (stream in self.exchanges or stream > newest)

    def greet(self):
        """Reads the preface and sends the settings."""
        got = self.stream.read_exactly(len(PREFACE))
        if got != PREFACE:
            raise BadMessage(f"not the preface: {got!r}")
        self.send(settings(self.announced))

    def _unseen(self, ready):
        return next((x for n, x in sorted(self.exchanges.items())
                     if n not in self.taken and x.fields is not None and ready(x)), None)

    def next_request(self, whole=True):
        """The next request as an Exchange; None when the other side closes first."""
        ready = (lambda x: x.over) if whole else (lambda x: True)
        try:
            x = self.wait(lambda: self._unseen(ready), "a request")
        except Incomplete as e:
            if e.reason == "timeout":
                raise
            return None
        self.taken.add(x.stream)
        return x

    def answer(self, stream, status=200, body=b"ok", fields=(), trailers=None, length=True):
        """A plain well-formed reply."""
        head = [(":status", str(status)), *fields]
        if length and body is not None and not trailers:
            head.append(("content-length", str(len(body))))
        self.send_head(stream, head, end=not body and not trailers)
        if body:
            self.send_body(stream, body, end=not trailers)
        if trailers:
            self.send_head(stream, trailers, end=True)


def connect(address, own=(), tls=None, server_name=None, timeout=TIMEOUT, greet=True):
    """A Client. tls: an ssl.SSLContext that offers h2 (see `tls_client`); else prior knowledge."""
    stream = connect_stream(address, timeout, tls, server_name)
    if tls and stream.sock.selected_alpn_protocol() != "h2":
        raise AssertionError(f"ALPN chose {stream.sock.selected_alpn_protocol()}")
    return Client(stream, own, greet)


def tls_client(ca=None, protocols=("h2",)):
    """A context that offers these protocols; without a ca no certificate is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(ca)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def http2_script(answer, own=()):
    """A script for fakes.Provider: answer(server, request) for each whole request, one after the
    other. Requests are noted."""

    def script(stream):
        stream.timeout = 3600.0
        server = Server(stream, own)
        while True:
            request = server.next_request()
            if request is None:
                return
            if request.reset is None:
                stream.provider.note(request)
                answer(server, request)

    return script


def fixed2(body=b"ok", status=200, fields=()):
    """The same reply to every request, over HTTP/2."""
    return http2_script(lambda server, x: server.answer(x.stream, status, body, fields))


def raw_server(stream):
    """A Server for misbehaving scripts: it has read the preface and sent its settings, and judges
    nothing."""
    stream.timeout = 3600.0
    server = Server(stream)
    server.judges = False
    return server
