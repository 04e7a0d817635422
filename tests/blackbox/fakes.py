"""Stand-ins for providers: scriptable TCP servers, and addresses where nobody answers."""

import socket
import threading

from http1 import Incomplete, Stream, reply_bytes


class Provider:
    """A TCP server on a free port of 127.0.0.1 that runs script(connection) for each connection, in
    a thread of its own. `connection` is an http1.Stream with `provider` and `index` (0, 1, …) set.

    Requests a script passes to `note` are kept in `requests`. A script that raises anything but a
    network error makes the test fail at its end (`faults`)."""

    def __init__(self, script, host="127.0.0.1", tls=None, backlog=128):
        self.script, self.tls = script, tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family, backlog=backlog)
        port = self.listener.getsockname()[1]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.port = port
        self.requests, self.faults = [], []
        self.accepted = 0
        self.closed = False
        self.lock = threading.Lock()
        self.streams = set()
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    @property
    def open_connections(self):
        with self.lock:
            return len(self.streams)

    def note(self, request):
        with self.lock:
            self.requests.append(request)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            stream = Stream(sock)
            with self.lock:
                if self.closed:
                    sock.close()
                    return
                stream.provider, stream.index = self, self.accepted
                self.accepted += 1
                self.streams.add(stream)
                thread = threading.Thread(target=self._serve, args=(stream,), daemon=True)
                self.threads.append(thread)
            thread.start()

    def _serve(self, stream):
        try:
            stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                stream.sock = self.tls.wrap_socket(stream.sock, server_side=True)
            self.script(stream)
        except (OSError, Incomplete):
            pass  # the other side went away: for the test to judge by what it sees there
        except Exception as e:  # kept for the test's end
            self.faults.append(e)
        finally:
            stream.close()
            with self.lock:
                self.streams.discard(stream)

    def close(self):
        """Closes the listener and every connection, and waits for the scripts to end."""
        with self.lock:
            self.closed = True
            streams = list(self.streams)
        # shutdown wakes a thread that waits in accept or recv; close alone does not.
        for sock in [self.listener] + [s.sock for s in streams]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.close()
        for thread in self.threads:
            thread.join(timeout=10)


def http_script(answer):
    """A script that answers each request with answer(request): bytes, sent as they are; None closes
    the connection. Requests are noted. `Connection: close` of a request is obeyed."""

    def script(stream):
        # A provider waits as long as the connection is kept: the test's end closes it.
        stream.timeout = 3600.0
        while True:
            request = stream.read_request()
            if request is None:
                return
            stream.provider.note(request)
            data = answer(request)
            if data is None:
                return
            stream.send(data)
            if "close" in [v.strip().lower() for v in request.all("connection")]:
                return

    return script


def fixed(body=b"ok", status=200, fields=()):
    """A script that gives every request the same reply."""
    return http_script(lambda request: reply_bytes(status, body, fields))


class Nobody:
    """An address that refuses connections, and that nobody else gets while this is open."""

    def __init__(self, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.bind((host, 0))
        self.port = self.sock.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def close(self):
        self.sock.close()
