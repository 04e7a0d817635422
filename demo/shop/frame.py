"""What the services of the shop have in common: an HTTP/1.1 server, calls to each other, Redis.

A service calls another one by its name, at one address that it is told at its start (--mesh), and
copies two request headers to those calls: `baggage` and `traceparent`, as any tracing library does.
That is all it has to do. It does not know which environments exist or who answers its calls.

Every reply is a JSON object with the service's name, its variant (--variant: which edition of the
program this process is) and, under "called", the replies of the services it called.
"""

import argparse
import http.client
import json
import re
import signal
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COPIED = ("baggage", "traceparent")
BODY_MAX = 64 * 1024


class Failure(Exception):
    """Ends a request with a status other than 200."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Mesh(threading.local):
    """One kept connection a thread to the address that stands for all services."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.connection = None

    def ask(self, method, service, path, headers, body):
        """Gives (status, object). A kept connection that the other end closed is opened anew."""
        headers = dict(headers, Host=service, Accept="application/json")
        if body is not None:
            headers["Content-Type"] = "application/json"
        for attempt in (1, 2):
            kept = self.connection is not None
            if not kept:
                self.connection = http.client.HTTPConnection(self.address, timeout=10)
            try:
                self.connection.request(method, path, body, headers)
                reply = self.connection.getresponse()
                return reply.status, parse(reply.read())
            except (ConnectionError, http.client.HTTPException, OSError):
                self.connection.close()
                self.connection = None
                if attempt == 2 or not kept or method != "GET":
                    raise
        raise AssertionError("unreachable")


def parse(data):
    try:
        return json.loads(data)
    except ValueError:
        return {}


class Call:
    """One request that a service answers."""

    def __init__(self, shop, handler, query, body):
        self.shop = shop
        self.query = query
        self.body = body
        self.copied = {h: handler.headers[h] for h in COPIED if handler.headers[h]}
        self.called = []

    def ask(self, method, service, path, body=None, optional=False):
        """Calls another service; None when an optional one did not answer with 200."""
        data = None if body is None else json.dumps(body)
        try:
            status, reply = self.shop.mesh.ask(method, service, path, self.copied, data)
        except (OSError, http.client.HTTPException) as e:
            status, reply = 0, {"error": str(e)}
        if status == 200:
            self.called.append(reply)
            return reply
        self.called.append({"service": service, "status": status})
        if optional:
            return None
        raise Failure(502, f"{service} answered {status}")

    def get(self, service, path, optional=False):
        return self.ask("GET", service, path, optional=optional)


class Shop:
    """A service: its arguments, its routes and its server."""

    def __init__(self, name, redis=False):
        p = argparse.ArgumentParser(description=f"The shop's {name} service.")
        p.add_argument("--variant", default="main", help="edition of this program")
        p.add_argument("--listen", default="127.0.0.1:0", help="port 0: a free one")
        p.add_argument("--mesh", required=True, metavar="HOST:PORT", help="calls go here")
        p.add_argument("--redis", required=redis, metavar="HOST:PORT")
        self.name = name
        self.args = p.parse_args()
        self.variant = self.args.variant
        self.mesh = Mesh(self.args.mesh)
        self.routes = [("GET", re.compile("/healthz"), lambda call: {"ok": True})]

    def redis(self):
        import redis  # only two services need it, and it is slow to load

        host, port = self.args.redis.rsplit(":", 1)
        return redis.Redis(host=host, port=int(port), decode_responses=True)

    def key(self, *parts):
        """A Redis key: each variant of each service has keys of its own."""
        return ":".join((self.variant, self.name) + parts)

    def route(self, method, pattern):
        def add(function):
            self.routes.append((method, re.compile(pattern), function))
            return function

        return add

    def answer(self, handler, method):
        url = urllib.parse.urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        if length > BODY_MAX or "Transfer-Encoding" in handler.headers:
            handler.close_connection = True
            return 413, {"error": "send at most 64 KiB, with a Content-Length"}
        body = parse(handler.rfile.read(length)) if length else {}
        call = Call(self, handler, urllib.parse.parse_qs(url.query), body)
        try:
            status, reply = 200, self.dispatch(call, method, url.path)
        except Failure as e:
            status, reply = e.status, {"error": e.reason}
        return status, {"service": self.name, "variant": self.variant, **reply,
                        "called": call.called}

    def dispatch(self, call, method, path):
        for wanted, pattern, function in self.routes:
            match = pattern.fullmatch(path)
            if match and wanted == method:
                return function(call, *match.groups())
        raise Failure(404, f"{self.name} has no {method} {path}")

    def serve(self):
        """Prints `listening HOST:PORT` and serves until SIGTERM or SIGINT."""
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # one write a reply

            def respond(self):
                status, reply = shop.answer(self, self.command)
                data = (json.dumps(reply) + "\n").encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = respond

            def log_message(self, format, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128  # connections may come all at once

        host, port = self.args.listen.rsplit(":", 1)
        server = Server((host, int(port)), Handler)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        print(f"listening {host}:{server.server_address[1]}", flush=True)
        server.serve_forever()
