"""A shop of two services behind a gateway proxy with an agent: `shop` asks `cart` through the
proxy. Each provider keeps what it was asked; how it passes the context on is its own choice."""

import contextlib
import http.client
import http.server
import json
import socket
import sys
import threading

from graphs import baseline, gateway, graph_of, overlay, service
from harness import AgentCase, connect, eventually, free_port, request_bytes

ALL = ("baggage", "traceparent", "x-offshoot-context")


class Service:
    """A provider. reply(service, handler) gives (status, object); requests are kept as (method,
    path, headers)."""

    def __init__(self, reply):
        self.reply, self.requests, self.lock = reply, [], threading.Lock()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                size = int(self.headers.get("content-length", 0))
                self.content = self.rfile.read(size)
                with owner.lock:
                    owner.requests.append((self.command, self.path, dict(self.headers.items())))
                status, answer = owner.reply(owner, self)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = handle_one

            def log_message(self, *args):
                pass

        self.connections, self.faults = [], []

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 128  # connections may come all at once

            def process_request(self, request, client_address):
                owner.connections.append(request)
                super().process_request(request, client_address)

            def handle_error(self, request, client_address):
                if not isinstance(sys.exc_info()[1], OSError):  # who asked is gone
                    owner.faults.append(sys.exc_info()[1])

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        for connection in self.connections:
            with contextlib.suppress(OSError):  # it is over already
                connection.shutdown(socket.SHUT_RDWR)
        self.server.server_close()
        self.thread.join()

    def of(self, method):
        with self.lock:
            return [r for r in self.requests if r[0] == method]


def dark(request):
    """The flags of the context that a request came with, 0: none."""
    fields = {name.lower(): value for name, value in request[2].items()}
    token = fields.get("x-offshoot-context", "v1m.main.0.00")
    return int(token.split(".")[3], 16)


class SessionCase(AgentCase):
    """With `self.agent`, whose sessions are stopped at the end: those that run hold descriptors."""

    def tearDown(self):
        try:
            for session in self.agent.get("/sessions")["sessions"]:
                if session["state"] != "ended":
                    self.agent.post("/shadow/stop", name=session["name"])
        finally:
            super().tearDown()


class ShadowCase(SessionCase):
    passes = ALL  # what `shop` passes on
    inner_method = "GET"

    def setUp(self):
        super().setUp()
        self.mesh = f"127.0.0.1:{free_port()}"
        self.shop = self.closes(Service(self.shop_reply))
        self.cart = self.closes(Service(lambda *_: (200, {"cart": 3})))
        self.candidate_reply = lambda n: {"total": 7, "cart": {"cart": 3}}
        self.new_shop = self.closes(Service(self.new_shop_reply))
        self.asked = 0

    def ask_cart(self, handler):
        fields = {k: v for k, v in handler.headers.items() if k.lower() in self.passes}
        conn = http.client.HTTPConnection(self.mesh, timeout=20)
        conn.request(self.inner_method, "/cart", headers={**fields, "host": "cart"})
        reply = conn.getresponse()
        answer = json.loads(reply.read()) if reply.status == 200 else {"status": reply.status}
        conn.close()
        return answer

    def shop_reply(self, _, handler):
        return 200, {"total": 7, "cart": self.ask_cart(handler)}

    def new_shop_reply(self, new_shop, handler):
        self.ask_cart(handler)
        return 200, self.candidate_reply(len(new_shop.requests))

    def graph(self, more=""):
        spec = "hosts: [%s], state: none"
        return graph_of(
            service("shop", spec % "shop"),
            service("cart", spec % "cart"),
            baseline(shop=self.shop.address, cart=self.cart.address),
            overlay("feat", shop=self.new_shop.address),
            gateway({"/": "shop"}),
        ) + more

    def begin(self, *flags, proxy=()):
        """flags: the agent's; proxy: those of the proxy."""
        self.agent = self.start_agent(self.graph(), "--shadow-through", self.mesh,
                                      "--shadow-linger", "0",
                                      "--shadow-hop-wait", "300ms", *flags)  # fmt: skip
        self.proxy = self.start(
            "offshoot-proxy", "--agent", self.agent.listen, "--node", "gw-1", "--listen",
            "127.0.0.1:0", "--listen", f"{self.mesh},trusted", "--admin",
            self.folder / "proxy.sock", "--state", self.folder / "proxy", "--workers", "1",
            *proxy,
        )  # fmt: skip

    def start_session(self, name="s", **params):
        params = {"epsilon": "0.5", "rate": "100", "for": "10m", **params}
        given = {"baseline": "main", "candidate": "feat", **params}
        answer = self.agent.post("/shadow/start", name=name, **given)
        self.capturing()
        return answer

    def capturing(self):
        """The proxy has the sessions and its stream is up."""

        def ready():
            status = self.agent.get("/status")["shadow"]
            return status["capture_streams"] == 1

        eventually(ready)

    def session(self, name="s"):
        return self.agent.get(f"/sessions/{name}")

    def users(self, n, method="GET", target="/items/{}", fields=()):
        """n requests of users, one after the other, each in a trace of its own."""
        with connect(self.proxy.ready["listen"][0]) as stream:
            for _ in range(n):
                self.asked += 1
                trace = ("traceparent", f"00-{self.asked:032x}-00f067aa0ba902b7-01")
                where = target.format(self.asked)
                reply = stream.ask(request_bytes(method, where, "shop", (trace, *fields)))
                self.assertEqual(200, reply.status)

    def until(self, what, name="s", at_most=600):
        """Users ask on until the session is so; the session."""
        for _ in range(at_most):
            self.users(1)
            now = self.session(name)
            if what(now):
                return now
        raise AssertionError(f"not within {at_most} requests: {now}")
