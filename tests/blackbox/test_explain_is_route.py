"""What explains is what routes: request heads that are valid HTTP but odd in meaning go through the
running proxy, at a trusted and at an untrusted listener, and through /explain on its admin socket.
Service, provider, environment, refusal, class and rule must agree, on each and in the counters.

A provider answers with its own service@environment and the context it was given, so that the live
answer is known without a word of the proxy. OFFSHOOT_SEED=N draws other heads."""

import json
import os
import random
import re
import unittest
from collections import Counter
from urllib.parse import quote_from_bytes

from harness import ProxyCase, connect, free_ports, sanitized

HEADS = 10_000 if sanitized() else 100_000
SEED = int(os.environ.get("OFFSHOOT_SEED", "1"))
BATCH = 40
TOLD = 3  # differences shown
ADMIN_BYTES = 16_000  # a longer question is refused by the admin socket: some in 100,000

PROVIDERS = ("cart@main", "web@main", "pay@main", "raw@main", "cart@team", "web@feat", "pay@both",
             "cart@late", "search@pool", "cart@pool", "web@old", "cart@second")

GRAPH = """\
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: cart}
---
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: web}
spec: {hosts: [www.shop.test, "[::1]"]}
---
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: pay}
---
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: search}
---
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: nobody}
---
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: raw}
spec: {protocol: tcp}
---
apiVersion: offshoot.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
%(default)s  overlayAccess: public
  select:
    - {host: "*.preview.shop.test"}
    - {header: x-env}
    - {header: x-offshoot-env, forward: true}
    - {header: X_Virtual_Env}
    - {baggage: sd-routing-key, forward: true}
    - {baggage: other}
    - {tracestate: sd}
    - {cookie: env}
    - {query: env}
  routes:
    - {host: shop.test, path: /, service: web}
    - {host: shop.test, path: /api/cart, service: cart}
    - {host: shop.test, path: /api, service: pay}
    - {host: "*.shop.test", path: /api/, service: pay}
    - {host: "*.preview.shop.test", path: /, service: web}
    - {host: "*.preview.shop.test", path: /search, service: search}
    - {path: /cart, service: cart}
    - {path: /search, service: search}
    - {path: /nobody, service: nobody}
    - {path: /raw, service: raw}
    - {path: "/a%%2Fb", service: pay}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: main}
spec: {mode: baseline, providers: {cart: %(cart@main)s, web: %(web@main)s, pay: %(pay@main)s,
  raw: %(raw@main)s}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: team}
spec: {mode: overlay, parent: main, providers: {cart: %(cart@team)s}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: feat}
spec: {mode: overlay, parent: team, providers: {web: %(web@feat)s}, use: {cart: main}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: less}
spec: {mode: overlay, parent: team, remove: [pay], access: token}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: both}
spec: {mode: overlay, parents: [less, feat], providers: {pay: %(pay@both)s}, use: {cart: team}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: old}
spec: {mode: overlay, parent: main, expires: 2020-01-01T00:00:00Z, providers: {web: %(web@old)s}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: on-old}
spec: {mode: overlay, parent: old}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: late}
spec: {mode: overlay, parent: main, expires: 2099-01-01T00:00:00Z, providers: {cart:
  %(cart@late)s}, use: {web: old}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: pool}
spec: {mode: shared, providers: {search: %(search@pool)s, cart: %(cart@pool)s}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: second}
spec: {mode: baseline, providers: {cart: %(cart@second)s}}
"""

# What nginx itself finds wrong with a path or a host is answered all the same, but without fields
# that it had not read by then.
SERVER = """  server {
    listen 127.0.0.1:%d;
    error_page 400 =200 /nginx-refused;
    location / { return 200 "%s|$http_x_offshoot_context"; }
  }
"""

# ---- heads ----

ENVS = ("main", "team", "feat", "less", "both", "old", "on-old", "late", "pool", "second",
        "nosuch")
ODD_NAMES = ("", "Main", "MAIN", "-a", "a-", "a_b", "a" * 63, "a" * 64, "main ", "ma in", "m\xe4in",
             "%6dain", "ma%69n", "%", "%4", "%zz", "main%00", "main;p=1", "main,team", "\"main\"",
             "main.team", "*", "+", "v1m.team.0.00")
CARRIERS = ("x-offshoot-context", "X-Offshoot-Context", "x_offshoot_context", "X-OFFSHOOT_CONTEXT",
            "uberctx-offshoot", "Uberctx_Offshoot", "ot-baggage-offshoot", "OT_BAGGAGE_OFFSHOOT")
LABELS = (*ENVS, "Main", "FEAT", "-a", "a.b", "xn--bcher-kva", "a" * 63, "a_b")
HOSTS = ("shop.test", "cart", "web", "pay", "search", "nobody", "raw", "www.shop.test", "[::1]",
         "x.shop.test", "a.b.shop.test", "preview.shop.test", "a.preview.shop.test.x", "127.0.0.1",
         "localhost", "shop.testx", "xshop.test", "shop_test", "-", "a" * 255)
PATHS = ("/", "/api", "/api/", "/api/cart", "/api/cart/", "/api/carts", "/api/cart/x", "/cart",
         "/cart/1", "/carts", "/search", "/search/a%20b", "/nobody", "/raw", "//",
         "//cart", "/cart//x", "/a%2Fb", "/a%2fb", "/a/b", "/%63art", "/c%61rt/%2e%2e/search",
         "/./cart", "/x/../cart", "/x/%2E%2E/cart", "/x/.%2e/../cart", "/..", "/../cart",
         "/%2e%2e/x",
         "/cart/..", "/cart/.", "/cart/%2e", "/.../cart", "/..cart", "/cart;v=1", "/cart%3Fx",
         "/cart%23", "/API/cart", "/%00", "/%ff/cart", "/x/y/z/../../../cart", "/x/..//cart",
         "/cart/../../x", "/" + "a/" * 200, "/" + "../" * 3, "/api/../api/cart", "/:@!$&'()*+,=~",
         "/x%2f..%2fcart", "/cart/%c0%ae%c0%ae/x", "/{}|^`[]\"<>")
KEYS = ("env", "ENV", "e%6ev", "%65nv", "en%76", "env%20", "env[]", "x", "", "e+nv")


def token(rng):
    draw = rng.random()
    env = rng.choice(ENVS)
    if draw < 0.7:
        return f"v1m.{env}.0.00"
    if draw < 0.85:
        return f"v1{rng.choice('mme')}.{env}.{rng.choice(('0', '1', 'zz', '1z141z3', '01'))}." \
               f"{rng.choice(('00', '01', '10', '1f', '0f', '08', '20', '0A', 'ff'))}"
    return rng.choice((
        "", "v1m", f"v2m.{env}.0.00", f"V1m.{env}.0.00", f"v1m.{env}.0", f"v1m.{env}.0.0",
        f"v1m.{env}.0.000", f"v1m..0.00", f"v1m.{env}..00", f" v1m.{env}.0.00 ", f"v1m.{env}.0.00.",
        f"v1m.{env}.0.00.1.k.{'A' * 22}", f"v1e.{env}.0.00.1.k.{'A' * 22}", f"v1m.{env}.0.00;a=b",
        f"v1m.{env}.0.00,v1m.{env}.0.00", "v1m." + "a" * 63 + ".0.00", "v1m." + "a" * 300 + ".0.00",
        f"v1m.{env}.{'z' * 12}.00", f"v1m.{env}.{'z' * 14}.00", f"%76{env}", "x" * 248, "x" * 247))


def name(rng):
    return rng.choice(ENVS) if rng.random() < 0.75 else rng.choice(ODD_NAMES)


def baggage(rng):
    members = []
    for _ in range(rng.randrange(1, 5)):
        draw = rng.random()
        if draw < 0.3:
            key = rng.choice(("offshoot", "offshoot", "offshoot", "Offshoot", "offshoot ",
                              '"offshoot"', "xoffshoot", "offshoot\t"))
            members.append(f"{key}={token(rng)}{rng.choice(('', '', ';p', ' ; p=1'))}")
        elif draw < 0.55:
            key = rng.choice(("sd-routing-key", "other", "Other", "sd-routing-key "))
            members.append(f"{key}={name(rng)}{rng.choice(('', ';p=1', ' '))}")
        else:
            members.append(rng.choice(("a=1", "b = 2;p", "", " ", "novalue", "=", "c=%20%", ";",
                                       "offshoot", "other", "k=" + "v" * 40)))
    draw = rng.random()
    if draw < 0.02:
        members.insert(0, ",".join(f"k{i}=v" for i in range(rng.choice((62, 63, 64, 65)))))
    elif draw < 0.03:
        members.insert(0, "k=" + "v" * rng.choice((4000, 8100, 8180, 8189, 8190, 8191, 8192)))
    return rng.choice((",", ", ", " ,")).join(members)


def authority(rng):
    draw = rng.random()
    if draw < 0.3:
        host = rng.choice(LABELS) + ".preview.shop.test"
    else:
        host = rng.choice(HOSTS)
    draw = rng.random()
    if draw < 0.2:
        host = host.upper() if draw < 0.1 else host.title()
    if rng.random() < 0.1 and host[0] != "[" and len(host) < 250:
        host += "."
    if rng.random() < 0.25:
        host += rng.choice((":80", ":8080", ":65535", ":1"))
    return host


def query(rng):
    parts = []
    for _ in range(rng.randrange(1, 4)):
        key = rng.choice(KEYS)
        value = rng.choice((*ENVS, "Main", "ma%69n", "%6dain", "", "main%00", "+main", "main=x"))
        parts.append(key if rng.random() < 0.1 else f"{key}={value}")
    return "?" + rng.choice(("&", "&", "&&", ";")).join(parts)


def fields(rng):
    out = []
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 2, 3, 4))):
        draw = rng.random()
        if draw < 0.3:
            out.append((rng.choice(CARRIERS), token(rng)))
        elif draw < 0.5:
            out.append((rng.choice(("baggage", "Baggage", "BAGGAGE")), baggage(rng)))
        elif draw < 0.66:
            key = rng.choice(("x-env", "X-Env", "X_ENV", "x-offshoot-env", "X-Offshoot-Env",
                              "x_virtual_env", "X-Virtual-Env"))
            out.append((key, name(rng)))
        elif draw < 0.76:
            key = rng.choice(("env", "Env", "env ", "x", "$env"))
            pair = f"{key}={name(rng)}"
            out.append(("Cookie", rng.choice((pair, f"a=b; {pair}", f"{pair};c=d; env=team"))))
        elif draw < 0.84:
            key = rng.choice(("sd", "SD", "sd@x", "congo"))
            out.append(("tracestate", f"rojo=1,{key}={name(rng)} , x=y"))
        elif draw < 0.88:
            ours = rng.choice(("1.1 offshoot", "1.0 OFFSHOOT", "1.1 offshoot (c)", "2 offshoot"))
            out.append(("Via", ", ".join([ours] * rng.choice((1, 8, 16, 17)) + ["1.1 x"])))
        elif draw < 0.92:
            value = rng.choice(("1", "0", "true", "", "1, 1"))
            out.append((rng.choice(("X-Offshoot-Explain", "x_offshoot_explain")), value))
        elif draw < 0.95:
            named = rng.choice(("x-env", "baggage, x-offshoot-context", "cookie", "tracestate"))
            out.append(("Connection", named))
        else:
            out.append(rng.choice((
                ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                ("traceparent", "bad"), ("X-Offshoot-Error", "loop"), ("X-Offshoot-Route", "a@b"),
                ("X-Forwarded-Host", "cart"), ("X-Other", "v" * 200), ("TE", "trailers"))))
    if out and rng.random() < 0.15:
        out.append(rng.choice(out))
    return out


class Head:
    """A drawn request: its bytes, and the target that asks /explain about the same."""

    def __init__(self, rng):
        self.trusted = rng.random() < 0.6
        host, self.fields = authority(rng), fields(rng)
        path = rng.choice(PATHS) + (query(rng) if rng.random() < 0.25 else "")
        target, method, named = path, "GET", host
        draw = rng.random()
        if draw < 0.05:
            target = f"{rng.choice(('http', 'HTTP', 'https'))}://{host}{path}"
            named = host.swapcase()
        elif draw < 0.07:
            method, target, path = "OPTIONS", "*", "*"
        elif draw < 0.09:
            method = "HEAD"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {named}"]
        if 0.09 <= draw < 0.1:
            lines = [f"GET {target} HTTP/1.0", "Connection: keep-alive"]
            host = ""
        place = rng.randrange(1, len(lines) + 1)
        lines[place:place] = [f"{n}:{rng.choice(('', ' ', '  '))}{v}" for n, v in self.fields]
        self.method = method
        self.bytes = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        params = [("host", host), ("path", path)] + [("trusted", "1")] * self.trusted
        params += [("header", f"{n}: {v}") for n, v in self.fields]
        self.explain = "/explain?" + "&".join(
            f"{k}={quote_from_bytes(v.encode('latin-1'), safe='/:=,;')}" for k, v in params)

    def explain_bytes(self):
        lines = (f"GET {self.explain} HTTP/1.1", "Host: x", "Accept: application/json", "", "")
        return "\r\n".join(lines).encode()


# ---- answers ----


class Pipe:
    """A connection on which many requests are sent before their replies are read."""

    LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I)

    def __init__(self, address):
        self.stream = connect(address, timeout=60)
        self.buffer = b""

    def close(self):
        self.stream.close()

    def send(self, data):
        if data:
            self.stream.send(data)

    def reply(self, method="GET"):
        """(head with its last line end, body)"""
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                head = self.buffer[: end + 2]
                found = self.LENGTH.search(head)
                if not found:
                    raise AssertionError(f"no content-length in {head!r}")
                size = 0 if method == "HEAD" else int(found.group(1))
                if len(self.buffer) >= end + 4 + size:
                    body = self.buffer[end + 4 : end + 4 + size]
                    self.buffer = self.buffer[end + 4 + size :]
                    return head, body
            got = self.stream.sock.recv(262144)
            if not got:
                raise AssertionError(f"connection closed after {self.buffer!r}")
            self.buffer += got


WORD = re.compile(rb"\r\nx-offshoot-error: ([^\r]*)\r\n")
ROUTE = re.compile(rb"\r\nx-offshoot-route: ([^@]*)@([^;]*);(class|refused)=([^;]*);rule=([^;]*);")
CONTEXT = re.compile(r"v1m\.([a-z0-9-]+)\.0\.([0-9a-f]{2})\Z")


def difference(head, live, told):
    """What the running proxy did otherwise than explain says, or None."""
    status, word = int(live[0][9:12]), WORD.search(live[0])
    word = word.group(1).decode() if word else None
    refusal = told["refusal"]
    outside = (refusal, told["status"] or 200)
    if refusal == "forbidden" and not head.trusted:
        outside = ("unknown-environment", 404)
    if (word, status) != outside:
        return f"{status} {word}, explained: {told['status']} {refusal}"
    if not refusal and head.method != "HEAD":
        who, _, context = live[1].decode("latin-1").partition("|")
        want = f"{told['route']['service']}@{told['provider']}"
        found = CONTEXT.match(context)
        env = found.group(1) if found else context or told["environment"]
        if (who, env) != (want, told["environment"]):
            return f"{who} in {env}, explained: {want} in {told['environment']}"
    route = ROUTE.search(live[0])
    if route:
        service, env, kind, value, rule = (part.decode() for part in route.groups())
        want = (told["route"]["service"] or "-" if not refusal else service,
                told["provider"] or "-", "refused" if refusal else "class",
                refusal or told["class"], told["context"]["rule"] or "")
        if (service, env, kind, value, rule) != want:
            return f"x-offshoot-route {route.groups()}, explained: {want}"
    return None


class ExplainIsRoute(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def begin(self, default, *flags):
        ports = dict(zip(PROVIDERS, free_ports(len(PROVIDERS))))
        servers = "".join(SERVER % (port, p) for p, port in ports.items())
        self.run_nginx("  large_client_header_buffers 8 64k;\n" + servers)
        # nginx keeps its side of unused connections open: ours must go by itself.
        self.write("proxy.yaml", "timeouts: {providerIdle: 1s}\n")
        graph = GRAPH % {
            "default": f"  defaultEnvironment: {default}\n" if default else "",
            **{p: '{endpoints: ["127.0.0.1:%d"]}' % port for p, port in ports.items()},
        }
        self.proxy = self.start_proxy(
            graph, "-c", "proxy.yaml", *flags, listen=("127.0.0.1:0,trusted", "127.0.0.1:0"))
        listen = ",".join(self.proxy.ready["listen"]).split(",")
        self.live = {True: self.closes(Pipe(listen[0])), False: self.closes(Pipe(listen[1]))}
        self.admin = self.closes(Pipe(self.proxy.ready["admin"][0]))

    def batch(self, number):
        """Asks both about a batch of heads; yields (head, live reply, explanation)."""
        rng = random.Random(f"{SEED}/{number}")
        drawn = [h for h in (Head(rng) for _ in range(BATCH)) if len(h.explain) < ADMIN_BYTES]
        for trusted, pipe in self.live.items():
            pipe.send(b"".join(h.bytes for h in drawn if h.trusted == trusted))
        self.admin.send(b"".join(h.explain_bytes() for h in drawn))
        explained = [self.admin.reply() for _ in drawn]
        for head, (start, body) in zip(drawn, explained):
            if not start.startswith(b"HTTP/1.1 200 "):
                raise AssertionError(f"{head.explain}: {start} {body}")
            yield head, self.live[head.trusted].reply(head.method), json.loads(body)

    def compare(self, heads):
        rules, classes, refusals, seen, bad = Counter(), Counter(), Counter(), Counter(), []
        # A few more, for those that were too long to be explained.
        for number in range(heads // BATCH + heads // 1000):
            for head, live, told in self.batch(number):
                refusal = told["refusal"]
                rules[told["context"]["rule"] or "none"] += 1
                classes[told["class"] or "refused"] += 1
                refusals[refusal] += 1
                seen[refusal or f"{told['route']['service']}@{told['provider']}"] += 1
                wrong = difference(head, live, told)
                if wrong:
                    where = "trusted" if head.trusted else "untrusted"
                    bad.append(f"seed {SEED}, batch {number}, {where}: {wrong}\n{head.bytes!r}")
            self.assertLess(len(bad), TOLD, "\n".join(bad))
        self.assertEqual(bad, [], "\n".join(bad))
        self.assertGreaterEqual(seen.total(), heads)
        counters = self.proxy.counters()
        # Dark requests, which only a token can make, are counted apart.
        dark = counters.get("offshoot_dark_requests_total")
        self.assertGreater(dark, 0)
        rules["explicit"] -= dark
        for rule in ("none", "explicit", "selector", "default"):
            self.assertEqual(counters.get("offshoot_context_rules_total", rule=rule), rules[rule])
        for cls in ("refused", "local", "explicit", "ancestor", "baseline", "shared"):
            classes[cls] -= counters.get("offshoot_requests_total", **{"class": cls})
        self.assertEqual((min(classes.values()) >= 0, classes.total()), (True, dark), classes)
        for word, n in refusals.items():
            if word:
                self.assertEqual(counters.get("offshoot_refusals_total", reason=word), n, word)
        return seen

    def test_with_a_default(self):
        self.begin("main")
        seen = self.compare(HEADS * 4 // 5)
        # The heads reach everything that there is to decide.
        want = {*PROVIDERS, "unknown-environment", "expired", "no-route", "removed", "no-provider",
                "context", "bad-request", "unsupported", "loop", "forbidden"}
        want -= {"raw@main", "web@old"}
        self.assertEqual(want - set(seen), set())
        self.assertEqual(set(seen) - want, set())

    def test_without_a_default(self):
        self.begin(None)
        self.assertGreater(self.compare(HEADS // 10)["no-environment"], HEADS // 100)

    def test_with_missing_contexts_refused(self):
        self.begin("feat", "--on-missing", "refuse")
        self.assertGreater(self.compare(HEADS // 10)["no-environment"], HEADS // 100)


if __name__ == "__main__":
    unittest.main()
