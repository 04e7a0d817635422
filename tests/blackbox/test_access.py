"""Who may enter what from where: access x kind of environment x carrier x listener, against an
oracle of its own; tokens forged, replayed and expired; keys that are rotated under load."""

import base64
import itertools
import json
import re
import signal
import threading
import time
import unittest
from urllib.parse import urlencode

from harness import ROOT, ProxyCase, connect, eventually, http_script, reply_bytes, request_bytes
from tokens import K1, K2, Key, base36, exp_of

ACCESS = {"unset": "", "public": "access: public, ", "token": "access: token, ",
          "subjects": "access: {subjects: ['spiffe://x/y']}, "}
KINDS = ("base", "over", "pool", "use", "deep")
CARRIERS = ("host", "header", "cookie", "query", "cookie-token", "query-token", "baggage-token",
            "context-token")
OWN = ("baggage-token", "context-token")
UNKNOWN = "nonesuch"
TRACE = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
BOTH = ("127.0.0.1:0,trusted", "127.0.0.1:0")

HEAD = """\
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: shop}
---
apiVersion: offshoot.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  defaultEnvironment: main
  %s
  select: [{host: "*.preview.test"}, {header: x-env}, {cookie: env}, {query: env}]
  routes: [{path: /, service: shop}]
"""


def environment(name, spec):
    return (f"---\napiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {{name: {name}}}\n"
            f"spec: {{{spec}}}\n")


def graph_of(address, overlay=None):
    """Every kind with every access. What provides is the same provider everywhere."""
    provides = f'providers: {{shop: {{endpoints: ["{address}"]}}}}'
    text = HEAD % (f"overlayAccess: {overlay}" if overlay else "")
    text += environment("main", f"mode: baseline, {provides}")
    for n, (word, access) in enumerate(ACCESS.items()):
        text += environment(f"base-{word}", f"mode: baseline, {access}{provides}")
        text += environment(f"over-{word}", f"mode: overlay, parent: main, {access}{provides}")
        text += environment(f"pool-{word}", f"mode: shared, priority: {n}, {access}{provides}")
        text += environment(f"use-{word}", "mode: overlay, parent: main, access: public, "
                            f"use: {{shop: over-{word}}}")
        text += environment(f"deep-{word}", f"mode: overlay, parent: over-{word}, access: public")
    return text


def effective(kind, word, overlay):
    """The oracle: what the environment asks of who comes from outside."""
    if word != "unset":
        return word
    return "public" if kind == "base" else overlay or "token"


def request(carrier, env, key=K1, fields=()):
    host, target, fields = "shop.test", "/", [TRACE, *fields]
    value = key.token(env) if carrier.endswith("-token") else env
    if carrier == "host":
        host = f"{env}.preview.test"
    elif carrier == "header":
        fields.append(("x-env", env))
    elif carrier.startswith("cookie"):
        fields.append(("cookie", f"a=1; env={value}"))
    elif carrier.startswith("query"):
        target = f"/?env={value}"
    elif carrier == "baggage-token":
        fields.append(("baggage", f"a=1,offshoot={value}"))
    else:
        fields.append(("x-offshoot-context", value))
    return request_bytes("GET", target, host, [("connection", "close"), *fields])


def echo(r):
    """What the provider was told, for the test to see."""
    return reply_bytes(body=(r.get("baggage") or "").encode())


class AccessCase(ProxyCase):
    listen = BOTH
    keys = K1.line

    def begin(self, overlay=None, *flags):
        self.shop = self.provider(http_script(echo))
        self.key_file = self.write_keys(self.keys)
        self.proxy = self.start_proxy(
            graph_of(self.shop.address, overlay), "--keys", self.key_file, *flags,
            listen=self.listen)

    def write_keys(self, text, mode=0o600, name="keys.txt"):
        """Replaced as a whole: no reload sees half of it."""
        new = self.write(f"{name}.new", text)
        new.chmod(mode)
        return new.rename(self.folder / name)

    def raw(self, data, trusted=False, proxy=None):
        proxy = proxy or self.proxy
        with connect(proxy.ready["listen"][0 if trusted else 1]) as stream:
            stream.send(data)
            return stream.read_to_end()

    def asked(self, *fields, trusted=False, target="/"):
        with connect(self.proxy.ready["listen"][0 if trusted else 1]) as stream:
            return stream.ask(request_bytes("GET", target, "shop.test", fields))

    def count(self, name, **labels):
        return self.proxy.counters().get(name, **labels)

    def assert_fault(self, reply, fault):
        found = (reply.status, reply.get("x-offshoot-error"))
        self.assertEqual((400, "context"), found, reply)
        self.assertIn(fault, reply.body.decode())


class Matrix(AccessCase):
    def check(self, overlay):
        self.begin(overlay)
        forbidden = 0
        for kind, word, carrier in itertools.product(KINDS, ACCESS, CARRIERS):
            env = f"{kind}-{word}"
            who = effective(kind, word, overlay)
            by_token = carrier.endswith("-token")
            allowed = who == "public" or (who == "token" and by_token)
            with self.subTest(env=env, carrier=carrier, overlay=overlay):
                got = self.raw(request(carrier, env))
                if allowed:
                    self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)
                    self.assertIn(f"v1m.{env}.".encode(), got)
                else:
                    forbidden += 1
                    self.assert_unknown(got, carrier, env)
                got = self.raw(request(carrier, env), trusted=True)
                if carrier in OWN:
                    self.assertIn(b"x-offshoot-error: context\r\n", got)
                    self.assertIn(b"edge-token", got)
                else:
                    self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)
        self.assertEqual(forbidden, self.count("offshoot_refusals_total", reason="forbidden"))

    def assert_unknown(self, got, carrier, env):
        """Byte for byte what an environment gives that does not exist, but for its name."""
        name = (UNKNOWN + "x" * len(env))[: len(env)]
        unknown = self.raw(request(carrier, name))
        self.assertTrue(unknown.startswith(b"HTTP/1.1 404 "), unknown)
        self.assertEqual(unknown.replace(name.encode(), env.encode()), got)

    def test_overlays_want_a_token_by_default(self):
        self.check(None)

    def test_overlays_are_public_where_the_gateway_says_so(self):
        self.check("public")

    def test_a_forbidden_environment_looks_unknown_in_every_form_of_reply(self):
        self.begin()
        forms = [[("accept", "application/json")], [("accept", "text/html")], [],
                 [("content-type", "application/grpc")]]
        for fields, env in itertools.product(forms, ("over-token", "use-subjects", "base-token")):
            name = (UNKNOWN + "x" * len(env))[: len(env)]
            got = self.raw(request("header", env, fields=fields))
            unknown = self.raw(request("header", name, fields=fields))
            self.assertIn(b"x-offshoot-error: unknown-environment\r\n", got)
            self.assertEqual(unknown.replace(name.encode(), env.encode()), got)

    def test_an_explained_token_tells_nothing_of_what_it_may_not_enter(self):
        self.begin()
        replies = []
        for env in ("over-subjects", "nonesuch-four"):
            replies.append(self.asked(TRACE, ("x-offshoot-context", K1.token(env, flags=0x10))))
        got, unknown = replies
        self.assertIn("refused=unknown-environment", got.get("x-offshoot-route"))
        for reply in replies:
            reply.fields = [(n, v) for n, v in reply.fields if n != "content-length"]
        self.assertEqual(unknown.fields, got.fields)

    def explained(self, header):
        question = urlencode({"host": "shop.test", "path": "/", "header": header})
        return self.proxy.admin_json(f"/explain?{question}")

    def test_the_operator_is_told(self):
        self.begin(None, "--access-log", "-")
        self.raw(request("header", "over-token"))
        eventually(lambda: " refusal=forbidden " in self.proxy.output())
        told = self.explained("x-env: over-token")
        self.assertEqual(("forbidden", 403), (told["refusal"], told["status"]))
        told = self.explained(f"x-offshoot-context: {K1.token('over-token')}")
        self.assertEqual("over-token", told["provider"])


class Tokens(AccessCase):
    def sent(self, *fields, trusted=True):
        """The token that the provider gets."""
        reply = self.asked(*fields, trusted=trusted)
        self.assertEqual(200, reply.status, reply)
        return re.fullmatch(r"(?:.*,)?offshoot=(.*)", reply.body.decode()).group(1)

    def test_what_is_passed_on_is_signed_for_the_mesh(self):
        self.begin()
        for fields in ((), (("x-offshoot-context", K1.token("over-token")),)):
            token = self.sent(*fields, trusted=False)
            self.assertTrue(K1.verifies(token), token)
            self.assertTrue(token.startswith("v1m."))
            self.assertEqual(0, exp_of(token) % 60)
            self.assertLess(14 * 60, exp_of(token) - time.time())
            self.assertLess(exp_of(token) - time.time(), 17 * 60)

    def test_a_hop_passes_the_same_token_on_and_never_a_longer_life(self):
        self.begin()
        token = K1.token("over-token", use="m", life=100)
        self.assertEqual(token, self.sent(("x-offshoot-context", token)))
        explained = self.sent(("baggage", f"offshoot={token}"), ("x-offshoot-explain", "1"))
        self.assertTrue(K1.verifies(explained))
        self.assertEqual(exp_of(token), exp_of(explained))
        self.assertEqual("10", explained.split(".")[3])

    def test_bad_mesh_tokens_are_refused_by_name(self):
        self.begin()
        good = K1.token("main", use="m")
        stranger = Key("k1", bytes(32))
        bad = {
            "unsigned": ["v1m.main.0.00"],
            "edge-token": [K1.token("main"), "v1e.main.0.00"],
            "unknown-key": [K2.token("main", use="m")],
            "bad-mac": [stranger.token("main", use="m"), K1.token("main", use="m", domain="else"),
                        good.replace("main", "mair"), good[:-1] + ("A" if good[-1] != "A" else "Q"),
                        "v1m" + K1.token("main")[3:]],
            "past-exp": [K1.token("main", use="m", life=-32)],
            "malformed": [good[:-1], good + "A", good.replace("v1m", "v2m")],
        }
        for fault, tokens in bad.items():
            for token in tokens:
                with self.subTest(fault=fault, token=token):
                    self.assert_fault(
                        self.asked(("x-offshoot-context", token), trusted=True), fault)
            self.assertEqual(len(tokens), self.count("offshoot_context_faults_total", reason=fault))
        within = K1.token("main", use="m", life=-20)
        self.assertEqual(within, self.sent(("x-offshoot-context", within)))

    def test_bad_edge_tokens_are_refused_and_strange_ones_are_foreign(self):
        self.begin()
        stranger = Key("k1", bytes(32))
        good = K1.token("over-token")
        refused = {"bad-mac": [stranger.token("main"), K1.token("main", domain="else"),
                               good.replace("over-token", "over-other"),
                               "v1e" + K1.token("main", use="m")[3:]],
                   "past-exp": [K1.token("main", life=-32)]}
        for fault, tokens in refused.items():
            for token in tokens:
                self.assert_fault(self.asked(("x-offshoot-context", token)), fault)
                self.assert_fault(self.asked(target=f"/?env={token}"), fault)
        two = (("x-offshoot-context", good), ("baggage", f"offshoot={K1.token('main')}"))
        self.assert_fault(self.asked(*two), "two-values")
        foreign = [K2.token("over-token"), K1.token("over-token", use="m"), "v1e.over-token.0.00",
                   "v1m.over-token.0.00", "over-token", ""]
        for token in foreign:
            self.assertTrue(self.sent(("x-offshoot-context", token), trusted=False)
                            .startswith("v1m.main."))
        self.assertEqual(len(foreign), self.count("offshoot_context_foreign_total"))

    def test_no_token_is_in_the_access_log_however_it_was_pasted(self):
        self.begin(None, "--access-log", "-")
        token = K1.token("over-token")
        mac = token.rpartition(".")[2]
        asked = [token, K2.token("over-token"), f"{token}.", f"%22{token}%22", f"offshoot={token}"]
        for value in asked:
            self.asked(target=f"/?env={value}")
            self.asked(("x-env", value))
        eventually(lambda: self.proxy.output().count("\n") >= 2 * len(asked))
        self.assertNotIn(mac, self.proxy.output())
        self.assertNotIn("v1e", self.proxy.output())

    def test_every_flipped_bit_is_refused(self):
        self.begin()
        token = K1.token("over-token", use="m").encode()
        stream = self.client(self.proxy)
        for bit in range(8 * len(token)):
            changed = bytearray(token)
            changed[bit // 8] ^= 1 << bit % 8
            if changed[bit // 8] <= 32 or changed[bit // 8] >= 127 or changed[bit // 8] == 44:
                continue  # no value of a field, or two of them
            reply = stream.ask(request_bytes("GET", "/", "shop.test", [
                ("x-offshoot-context", changed.decode())]))
            self.assertEqual(400, reply.status, (changed, reply))


class WithoutKeys(AccessCase):
    def begin(self, overlay=None, *flags):
        self.shop = self.provider(http_script(echo))
        self.proxy = self.start_proxy(
            graph_of(self.shop.address, overlay), *flags, listen=self.listen)

    def test_tokens_are_unsigned_and_signed_ones_strange(self):
        self.begin()
        reply = self.asked(("x-offshoot-context", "v1m.over-token.0.00"), trusted=True)
        self.assertEqual(b"offshoot=v1m.over-token.0.00", reply.body)
        self.assert_fault(self.asked(("x-offshoot-context", K1.token("main", use="m")),
                                     trusted=True), "unknown-key")
        reply = self.asked(("x-offshoot-context", K1.token("over-token")))
        self.assertEqual(b"offshoot=v1m.main.0.00", reply.body)
        self.assertEqual(1, self.count("offshoot_context_foreign_total"))
        self.assertIsNone(self.proxy.admin_json("/status")["keys"])


class Keys(AccessCase):
    BAD = "k1 AAEC\n"

    def kids(self, proxy=None):
        return (proxy or self.proxy).admin_json("/status")["keys"]["kids"]

    def test_status_shows_kids_and_no_secret(self):
        self.keys = K2.line + K1.line
        self.begin()
        self.assertEqual(["k2", "k1"], self.kids())
        self.assertEqual(2, self.count("offshoot_keys"))
        everything = b"".join(self.proxy.admin(p).body for p in (
            "/status", "/config", "/metrics", "/counters")).decode() + self.proxy.errors()
        for key in (K1, K2):
            self.assertNotIn(key.base64[:8], everything)

    def test_a_bad_file_leaves_the_old_keys(self):
        self.begin()
        for text, mode in ((self.BAD, 0o600), (K2.line, 0o644), ("", 0o600)):
            before = self.count("offshoot_keys_refused_total")
            self.write_keys(text, mode)
            self.proxy.signal(signal.SIGHUP)
            eventually(lambda: self.count("offshoot_keys_refused_total") == before + 1)
            reply = self.proxy.admin("/reload", "POST")
            self.assertEqual(409, reply.status, reply)
            self.assertIn("stays in use", reply.body.decode())
            self.assertEqual(["k1"], self.kids())
            self.assertNotIn("AAEC", self.proxy.errors() + reply.body.decode())
        self.write_keys(K2.line)
        self.assertEqual(200, self.proxy.admin("/reload", "POST").status)
        self.assertEqual(["k2"], self.kids())
        eventually(lambda: K2.verifies(self.asked().body.decode().split("offshoot=")[1]))

    def test_a_proxy_does_not_start_with_a_bad_file(self):
        graph = self.write("graph.yaml", graph_of("127.0.0.1:9"))
        cases = ((self.BAD, 0o600, "keys.txt:1: the secret of key 'k1'"),
                 (K1.line, 0o640, "may be used by others (mode 640, want 600)"),
                 (None, 0, "cannot open key file"))
        for text, mode, want in cases:
            path = self.write_keys(text, mode) if text else self.folder / "none"
            for more in ((), ("--check-config",)):
                done = self.run_program("offshoot-proxy", "--graph", graph, "--listen",
                                        "127.0.0.1:0", "--keys", path, *more)
                self.assertNotEqual(0, done.returncode)
                self.assertIn(want, done.stderr.decode())
        path = self.write_keys(K1.line)
        done = self.run_program("offshoot-proxy", "--graph", graph, "--listen", "127.0.0.1:0",
                                "--keys", path, "--trust-domain", "A|B")
        self.assertIn("not a trust domain 'A|B'", done.stderr.decode())

    def rekey(self, proxy, path, *keys):
        new = path.with_suffix(".new")
        new.write_text("".join(k.line for k in keys))
        new.chmod(0o600)
        new.rename(path)
        proxy.signal(signal.SIGHUP)
        eventually(lambda: self.kids(proxy) == [k.kid for k in keys])

    def test_a_rotation_under_load_refuses_nothing(self):
        """Two proxies in a row: the first makes mesh tokens, the second verifies them."""
        # A proxy keeps its side of unused connections open: ours must go by itself.
        patient = ("-c", self.write("proxy.yaml", "timeouts: {providerIdle: 1s}\n"))
        self.begin(None, "--workers", "2", *patient)
        first_keys = self.write_keys(K1.line, name="first.txt")
        first = self.start_proxy(
            HEAD % "" + environment("main", 'mode: baseline, providers: {shop: {endpoints: ["%s"]}}'
                                    % self.proxy.ready["listen"][0]),
            "--keys", first_keys, "--workers", "2", *patient, listen=BOTH)
        stop, seen, wrong = threading.Event(), [], []

        def load():
            while not stop.is_set():
                with connect(first.ready["listen"][1]) as stream:
                    for _ in range(20):
                        reply = stream.ask(request_bytes("GET", "/", "shop.test"))
                        seen.append(reply.body.decode()[-60:].split(".")[-2])
                        if reply.status != 200:
                            wrong.append((reply, reply.body))
        threads = [threading.Thread(target=load) for _ in range(3)]
        for t in threads:
            t.start()
        try:
            for keys in ((K1, K2), (K2, K1), (K2,), (K2, K1), (K1, K2), (K1,)):
                for proxy, path in ((first, first_keys), (self.proxy, self.key_file)):
                    # A key is known everywhere before it signs, and gone last where it is verified.
                    self.rekey(proxy, path, *keys)
                have = len(seen)
                eventually(lambda: len(seen) > have + 100)
        finally:
            stop.set()
            for t in threads:
                t.join()
        self.assertEqual([], wrong[:3])
        self.assertGreater(len(seen), 600)
        self.assertEqual({"k1", "k2"}, set(seen))
        self.assertEqual(0, self.count("offshoot_refusals_total", reason="context"))


class Documented(unittest.TestCase):
    def test_the_worked_example_is_right(self):
        """docs/context.md shows each step of one mac."""
        text = (ROOT / "docs/context.md").read_text()

        def row(name):
            return re.search(rf"(?m)^{name} {{2,}}(\S.*)$", text).group(1)

        key = Key(row("kid"), base64.b64decode(row("secret")))
        token = row("token")
        self.assertEqual(row("signed bytes"), f"offshoot1|{row('trust domain')}|"
                         + token.rpartition(".")[0])
        self.assertEqual(row("mac"), key.mac(token.rpartition(".")[0], row("trust domain")))
        self.assertTrue(key.verifies(token, row("trust domain")))
        self.assertEqual(token.split(".")[4], base36(int(row("exp").split()[0])))


class Issued(AccessCase):
    def test_what_is_issued_opens_the_door(self):
        self.begin()
        done = self.run_program("offshootctl", "token", "issue", "over-token", "--for", "1h",
                                "--keys", self.key_file, "--json", "--url", "http://shop.test/",
                                "--param", "env")
        issued = json.loads(done.stdout)
        self.assertTrue(K1.verifies(issued["token"]))
        for header in issued["headers"]:
            reply = self.asked(tuple(header.split(": ")))
            self.assertIn("offshoot=v1m.over-token.", reply.body.decode())
        reply = self.asked(target=issued["link"].removeprefix("http://shop.test"))
        self.assertIn("offshoot=v1m.over-token.", reply.body.decode())
        verdicts = {issued["token"]: ("valid", 0), K2.token("main"): ("unknown-key", 2),
                    K1.token("main", domain="else"): ("bad-mac", 2),
                    K1.token("main", life=-40): ("past-exp", 2), "v1m.main.0.00": ("unsigned", 2),
                    "v1m.main": ("malformed", 2)}
        for token, (verdict, status) in verdicts.items():
            done = self.run_program("offshootctl", "token", "show", token, "--keys", self.key_file,
                                    "--json")
            self.assertEqual((verdict, status),
                             (json.loads(done.stdout)["verdict"], done.returncode))


if __name__ == "__main__":
    unittest.main()
