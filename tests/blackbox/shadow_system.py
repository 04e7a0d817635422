"""A chain of services behind two proxies and an agent: users come by the gateway `gw-1`, services
call each other by `mesh-1`, dark requests enter there. What each provider was asked is its log."""

import collections
import http.client
import json

from fakes import Provider, http_script
from graphs import baseline, gateway, graph_of, overlay, service
from harness import connect, eventually, free_port, reply_bytes, request_bytes
from shadow_case import ALL, ShadowCase

__all__ = ["ALL", "ORDINARY", "Hop", "Seen", "SystemCase", "ended", "json_reply", "limit_of",
           "running", "seen_of"]  # fmt: skip

# Of a request that is nobody's mirror.
ORDINARY = 0
JSON = ("content-type", "application/json")

Seen = collections.namedtuple("Seen", "method target env flags trace request")


def json_reply(value, status=200, fields=()):
    return reply_bytes(status, json.dumps(value).encode(), (JSON, *fields))


def ended(session):
    return session["state"] == "ended"


def running(session):
    return session["state"] == "running"


def limit_of(n, rate, chance):
    """The least k that more than k of n happen with less than this chance, each at this rate."""
    p, total = (1 - rate) ** n, 0.0
    for k in range(n + 1):
        total += p
        if 1 - total < chance:
            return k
        p *= (n - k) / (k + 1) * rate / (1 - rate)
    return n


class Hop(Provider):
    """A provider that may ask the next service first. reply(request, inner): bytes; inner is the
    object that the next one answered, or {"status": …}. passes: the fields it hands on."""

    def __init__(self, mesh, reply, asks=None, method="GET", passes=ALL):
        super().__init__(http_script(self.answer))
        self.mesh, self.reply = mesh, reply
        self.asks, self.method, self.passes = asks, method, passes

    def answer(self, request):
        data = self.reply(request, self.ask_next(request) if self.asks else None)
        return data if request.method != "HEAD" else data[: data.index(b"\r\n\r\n") + 4]

    def ask_next(self, request):
        fields = {n: v for n, v in request.fields if n.lower() in self.passes}
        conn = http.client.HTTPConnection(self.mesh, timeout=20)
        try:
            conn.request(self.method, f"/{self.asks}", headers={**fields, "host": self.asks})
            reply = conn.getresponse()
            body = reply.read()
        finally:
            conn.close()
        return json.loads(body) if reply.status == 200 else {"status": reply.status}

    def seen(self, method=None):
        """What it was asked, in order."""
        with self.lock:
            found = list(self.requests)
        return [seen_of(r) for r in found if method in (None, r.method)]


def seen_of(request):
    parts = (request.get("x-offshoot-context") or "v1m.main.0.00").split(".")
    trace = (request.get("traceparent") or "--").split("-")[1]
    return Seen(request.method, request.target, parts[1], int(parts[3], 16), trace, request)


class SystemCase(ShadowCase):
    """names: the services, each asks the next one. provides: {environment: services it has}, `main`
    has all. A reply is replies[env, service](request, inner), or tells what it got from below."""

    names = ("front", "middle", "store")
    provides = {"feat": ("front",)}
    specs = {}  # {service: more of its spec}
    methods = {}  # {service: method by which it asks the next one}
    drops = {}  # {(env, service): the fields it passes on}
    parents = {}  # {environment: its parent}, main for others
    linger = ("--shadow-linger", "0", "--shadow-hop-wait", "300ms")

    def setUp(self):
        super().setUp()
        self.replies = {}
        self.hops = {}
        for name in self.names:
            self.add_hop("main", name)
        for env, names in self.provides.items():
            for name in names:
                self.add_hop(env, name)

    def add_hop(self, env, name):
        below = self.names[self.names.index(name) + 1 :]

        def reply(request, inner):
            own = self.replies.get((env, name))
            return own(request, inner) if own else json_reply({"of": name, "below": inner})

        hop = Hop(self.mesh, reply, below[0] if below else None, self.methods.get(name, "GET"),
                  self.drops.get((env, name), ALL))  # fmt: skip
        self.hops[env, name] = self.closes(hop)

    def graph(self, more=""):
        at = collections.defaultdict(dict)
        for (env, name), hop in self.hops.items():
            at[env][name] = hop.address
        main = at.pop("main")
        spec = "hosts: [%s], policy: {retries: {max: 0}}"
        parts = [service(n, ", ".join(filter(None, (spec % n, self.specs.get(n, "state: none")))))
                 for n in self.names]  # fmt: skip
        parts += [baseline(**main)]
        parts += [overlay(env, parent=self.parents.get(env, "main"), **p) for env, p in at.items()]
        return graph_of(*parts, gateway({"/": self.names[0]})) + more

    def proxy_flags(self, node, listen, more=()):
        return ["--agent", self.agent.listen, "--node", node, "--listen", listen, "--admin",
                self.folder / f"{node}.sock", "--state", self.folder / node, "--workers", "1",
                *more]  # fmt: skip

    def begin(self, *flags, proxy=()):
        # Of its own name, so that its journals are found.
        self.state = self.folder / "agent-state"
        self.agent = self.start_agent(self.graph(), "--state", self.state, "--shadow-through",
                                      self.mesh, "--node", "agent-1", *self.linger, *flags)
        self.proxy = self.start("offshoot-proxy",
                                *self.proxy_flags("gw-1", "127.0.0.1:0", proxy))
        self.mesh_proxy = self.start("offshoot-proxy",
                                     *self.proxy_flags("mesh-1", f"{self.mesh},trusted", proxy))

    def start_session(self, name="s", **params):
        """Of the first service, unless it is said otherwise: what the others are asked for is not
        mirrored by itself."""
        return super().start_session(name, **{"service": self.names[0], **params})

    def capturing(self):
        """Both proxies have the newest sessions, and their streams are up."""

        def ready():
            run = self.agent.get("/status")["shadow"]["running"]
            for proxy in (self.proxy, self.mesh_proxy):
                told = proxy.admin_json("/status").get("capture") or {}
                self.assertEqual((run, 1), (told.get("sessions"), told.get("up")))
            return True

        eventually(ready)

    def agent_ctl(self, *args):
        """offshootctl on the agent's socket: (exit status, output)."""
        done = self.run_program("offshootctl", *args, "--socket", self.agent.admin)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def ask(self, stream, method="GET", target="/items/{}", fields=(), body=b"", host="front"):
        """One request of a user, in a trace of its own: its reply. `trace` has its id."""
        self.asked += 1
        self.trace = f"{self.asked:032x}"
        trace = ("traceparent", f"00-{self.trace}-00f067aa0ba902b7-01")
        target = target.format(self.asked)
        return stream.ask(request_bytes(method, target, host, (trace, *fields), body), method)

    def users(self, n, method="GET", target="/items/{}", fields=(), body=b"", status=200):
        with connect(self.proxy.ready["listen"][0]) as stream:
            for _ in range(n):
                reply = self.ask(stream, method, target, fields, body, self.names[0])
                self.assertEqual(status, reply.status, reply)

    def until(self, what, name="s", at_most=1500, **asking):
        """Users ask on until the session is so; the session."""
        for _ in range(at_most):
            self.users(1, **asking)
            now = self.session(name)
            if what(now):
                return now
        raise AssertionError(f"not within {at_most} requests: {now}")

    def settled(self, name="s"):
        """Nothing of it is on its way any more; the session."""
        return eventually(lambda: (now := self.session(name))["in_flight"] == 0 and now)

    def log(self, env, name, method=None):
        return self.hops[env, name].seen(method)

    def program_logs(self):
        """All that our programs wrote, by name."""
        return {p.stdout.name: p.output() + p.errors() for p in self.programs if p.ours}
