"""What mirroring is measured with: a baseline and three candidates (one answers, one hangs, one is
dead), an agent, the proxy that captures, and another one that dark requests enter by."""

import contextlib
import os
import re
import socket
import threading
import time

import load
import stack as stacks
from callgrind import Counter
from rig import Broken, Rig, free_ports

TIMEOUT = "1s"  # of dark requests, and of nginx's mirrored ones
NO_LIMIT = "for=1h&until=limit&epsilon=0.5&service=cart"
DARK = "dark"
SECONDS = 60  # for what is to happen at once
AT_ONCE = 16  # samples on their way, where each one has to arrive
LARGE_PATH, LARGE = "/large.json", 900_000


def json_body(size):
    """About so many bytes, of which an id and a time differ in every reply (nginx's variables)."""
    text = '{"requestId":"$request_id","servedAt":"$time_iso8601","items":['
    item = '{{"sku":"article-{0}","title":"Something, number {0}","price":{0}.95,"size":null}}'
    n = 1
    while True:
        one = ("," if n > 1 else "") + item.format(n)
        if len(text) + len(one) + 2 > size and n > 1:
            return text + "]}"
        text += one
        n += 1


def request(path="/cart", more=b""):
    """As every request of the benchmarks, but in no trace: each is sampled by itself."""
    return re.sub(rb"traceparent: [^\r]*\r\n", b"", load.head(None, path=path)) + more


class Hung(threading.Thread):
    """Accepts connections and says nothing, ever."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.held = []
        self.start()

    def run(self):
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                self.held.append(self.listener.accept()[0])

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()
        for s in self.held:
            s.close()


def graph(ports):
    """ports: of each environment's provider."""
    out = ["kind: Service\nmetadata: {name: cart}\n"
           "spec: {protocol: http, port: 8080, state: none}\n",
           "kind: Gateway\nmetadata: {name: edge}\nspec:\n  defaultEnvironment: main\n"
           "  routes: [{path: /, service: cart}]\n"]
    for name, port in ports.items():
        place = "mode: baseline" if name == "main" else "mode: overlay, parent: main"
        out.append(f"kind: Environment\nmetadata: {{name: {name}}}\nspec: {{{place}, providers: "
                   f"{{cart: {{endpoints: [\"127.0.0.1:{port}\"]}}}}}}\n")
    return "---\n".join(out)


class MirrorStack(Rig):
    """All of it, running. traced: "offshoot" (the proxy that captures) or "agent" runs under
    callgrind, and `counter` counts it."""

    def __init__(self, a, size=256, timeout=TIMEOUT, traced=None):
        super().__init__(a.keep)
        self.a, self.hung = a, None
        self.counter = Counter(self, traced) if traced else None
        try:
            self.hung = Hung()
            self.body = json_body(size)
            self.tail = self.body[-40:].encode()
            large = json_body(LARGE).replace("$", "")
            self.large_tail = large[-40:].encode()
            self.write(LARGE_PATH[1:], large)
            self.status, self.process = {}, {}
            self.ports = {"main": self.provider("main"), "healthy": self.provider("healthy"),
                          "hung": self.hung.port, "dead": free_ports(1)[0]}
            self.start_ours(timeout, traced)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def start_ours(self, timeout, traced):
        def tracer(name):
            return self.counter.argv if name == traced else ()

        dark_port, = free_ports(1)
        shadow = (f"shadow: {{through: '127.0.0.1:{dark_port}', timeout: {timeout}, linger: 0s, "
                  "segments: 1}")
        self.agent, agent_port = stacks.agent(
            self, self.a.build, self.write("graph.yaml", graph(self.ports)), shadow,
            tracer("agent"))
        self.dark = stacks.fed(self, self.a.build, agent_port, name=f"{stacks.OURS}-{DARK}",
                               more=f"state: '{self.path(DARK)}'", port=dark_port).start()
        self.proxy = stacks.fed(self, self.a.build, agent_port,
                                more=f"state: '{self.path('state')}'")
        self.proxy.start(*tracer(stacks.OURS))

    def provider(self, name):
        port, status = free_ports(2)
        os.mkdir(self.path(name))
        server = (f"  server {{ listen 127.0.0.1:{port}; root {self.folder};\n"
                  "    location / { default_type application/json; "
                  f"return 200 '{self.body}'; }}\n    location = {LARGE_PATH} "
                  "{ types { application/json json; } } }")
        conf = self.fill("provider.conf.in", f"{name}.conf", FOLDER=self.path(name),
                         STATUS=status, SERVERS=server)
        self.status[name] = status
        self.process[name] = self.spawn(
            name, [stacks.program("nginx"), "-p", self.path(name), "-c", conf]).await_port(port)
        return port

    def asked(self, name):
        """Requests that a provider had, until now."""
        return stacks.counts(self.status[name])[1]

    def __exit__(self, *exc):
        super().__exit__(*exc)
        if self.hung:
            self.hung.close()

    # ---- sessions ----

    def post(self, path):
        return stacks.admin(self, path, "agent", "POST")

    def session(self, name):
        return stacks.admin(self, f"/sessions/{name}", "agent")

    def mirrors(self):
        return stacks.admin(self, "/status", "agent")["shadow"]

    def told(self):
        """Exchanges that the proxy captured, until now."""
        return stacks.admin(self, "/counters")["offshoot_capture_exchanges_total"]

    def start_session(self, name, candidate, rate):
        self.post(f"/shadow/start?name={name}&baseline=main&candidate={candidate}&rate={rate}"
                  f"&{NO_LIMIT}")

    def until(self, ready, what):
        """Until ready(), while users ask."""
        ends = time.monotonic() + SECONDS
        connection, one = load.Connection(self.proxy.port), request()
        try:
            while not ready():
                for _ in range(50):
                    connection.ask(one)
                if time.monotonic() > ends:
                    raise Broken(f"{what} within {SECONDS} s")
        finally:
            connection.close()

    @contextlib.contextmanager
    def mirroring(self, name):
        """A new run of a session, its context proved, while the block runs. Nothing is on its way
        before or after."""
        if name:
            self.post(f"/shadow/restart?name={name}")
            self.until(lambda: self.session(name)["state"] == "running", f"{name} does not run")
        try:
            yield
        finally:
            if name and self.session(name)["state"] != "ended":
                self.post(f"/shadow/stop?name={name}")
            self.until_idle()

    def until_idle(self):
        """Until no sample is on its way."""
        ends = time.monotonic() + SECONDS
        while any(m["in_flight"] for m in self.mirrors()["mirrors"]):
            if time.monotonic() > ends:
                raise Broken("dark requests do not end")
            time.sleep(0.02)

    def sample(self, n):
        """So many requests of users that all become samples, however slow the agent is."""
        arrived, looks = self.asked("healthy"), 0
        connection, one = load.Connection(self.proxy.port), request()
        ends = time.monotonic() + 10 * SECONDS
        try:
            for i in range(1, n + 1):
                connection.ask(one)
                while i % AT_ONCE == 0 and arrived + i + looks > self.asked("healthy"):
                    looks += 1  # is a request, too
                    if time.monotonic() > ends:
                        raise Broken(f"not all of {i} requests were mirrored")
                    time.sleep(0.01)
                looks += i % AT_ONCE == 0
        finally:
            connection.close()
        self.until_idle()
