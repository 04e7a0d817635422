"""Balancing, health, ejection and orders with real providers: nginx, gRPC servers, our fakes."""

import ssl
import subprocess
import threading
import unittest
from concurrent import futures

import grpc
import http2
from graphs import baseline, gateway, graph_of, overlay, service
from harness import (
    SERVER, Incomplete, ProxyCase, connect, eventually, fixed, free_port, http_script, reply_bytes,
    request_bytes,
)  # fmt: skip
from test_upgrade import UpgradeCase

OVERLAY = overlay("feat", "access: public", shop="%s")


def graph(policy, *addresses, spec=""):
    endpoints = ", ".join(f'"{a}"' for a in addresses)
    return graph_of(
        service("shop", f"{spec}policy: {{{policy}}}"),
        baseline(shop=f"[{endpoints}]"),
        gateway({"/": "shop"}, "select: [{header: x-env}]"),
    )


def no_tls(stream):
    """Speaks plainly to who wants TLS."""
    if stream.sock.recv(65536):
        stream.send(reply_bytes(200, b"plain"))


class Load:
    """Clients that ask again and again until told to stop; what they saw."""

    def __init__(self, address, clients=4, fields=()):
        self.address, self.fields = address, fields
        self.statuses, self.bodies, self.faults = {}, {}, []
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        try:
            with connect(self.address) as stream:
                while not self.stopping.is_set():
                    reply = stream.ask(request_bytes("GET", "/", "shop", self.fields))
                    with self.lock:
                        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
                        self.bodies[reply.body] = self.bodies.get(reply.body, 0) + 1
        except Exception as e:  # for the test to judge
            self.faults.append(e)

    def count(self):
        with self.lock:
            return sum(self.statuses.values())

    def more(self, n=200):
        """Waits until n more were answered, or a client has failed."""
        wanted = self.count() + n
        eventually(lambda: self.count() >= wanted or self.faults, what="requests under load")

    def close(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


class Stopping:
    """A gRPC server that closes as our fakes do."""

    def __init__(self, server):
        self.server = server

    def close(self):
        self.server.stop(None).wait()


class BalanceCase(ProxyCase):
    def states(self, proxy):
        return {p["address"]: p["state"] for p in proxy.admin_json("/providers")["providers"]}

    def becomes(self, proxy, address, state):
        eventually(lambda: self.states(proxy).get(address) == state, what=f"{address} {state}")

    def order(self, proxy, address, action, status=200):
        target = f"/endpoint?address={address}&action={action}&reason=a+test"
        reply = proxy.admin(target, "POST")
        self.assertEqual(status, reply.status, reply)
        return reply.body.decode()

    def load(self, proxy, **options):
        return self.closes(Load(proxy.address, **options))

    def all_well(self, load):
        load.close()
        self.assertEqual([], load.faults)
        self.assertEqual({200}, set(load.statuses))


class Killed(BalanceCase):
    def nginx(self, port):
        # One process, which takes its connections along when it is killed.
        return self.run_nginx(SERVER % (port, port), f"nginx-{port}", "master_process off;")

    def test_one_of_three_dies_under_load_and_comes_back(self):
        ports = [free_port() for _ in range(3)]
        servers = [self.nginx(port) for port in ports]
        policy = "ejection: {consecutiveFailures: 3, time: 1s}, retries: {max: 2, budget: 100%}"
        conf = self.write("proxy.yaml", "timeouts.providerIdle: 1s\n")
        proxy = self.start_proxy(graph(policy, *(f"127.0.0.1:{p}" for p in ports)), "-c", conf)
        load = self.load(proxy)
        load.more(300)
        before = proxy.counters()
        servers[0].kill()
        load.more(1000)
        changes = proxy.counters().since(before)
        # nothing but retried ones, and few: it was ejected
        self.assertLess(changes.get("offshoot_retries_total", 0), 50, changes)
        self.assertGreaterEqual(changes.get("offshoot_ejections_total", 0), 1, changes)
        self.nginx(ports[0])
        key = str(ports[0]).encode()
        seen = load.bodies[key]
        eventually(lambda: load.bodies[key] > seen + 20 or load.faults, what="it is used again")
        load.close()
        self.assertEqual([], load.faults)
        # Only what had been sent on a new connection, which nobody may say again.
        lost = load.statuses.pop(502, 0)
        self.assertEqual({200}, set(load.statuses))
        self.assertLessEqual(lost, 4)
        counters = proxy.counters()
        self.assertEqual(lost, counters.get("offshoot_provider_errors_total", reason="closed"))
        self.assertLessEqual({str(p).encode() for p in ports}, set(load.bodies))


class Health(BalanceCase):
    def test_a_flip_is_seen_and_undone(self):
        sick = threading.Event()

        def answer(request):
            if request.target == "/healthz":
                return reply_bytes(500 if sick.is_set() else 204)
            return reply_bytes(200, b"first")

        first, second = self.provider(http_script(answer)), self.provider(fixed(b"second"))
        policy = (
            "health: {path: /healthz, interval: 50ms, timeout: 2s, healthyAfter: 2,"
            " unhealthyAfter: 2}"
        )
        proxy = self.start_proxy(graph(policy, first.address, second.address))
        load = self.load(proxy, clients=2)
        load.more(20)
        self.becomes(proxy, first.address, "healthy")
        self.becomes(proxy, second.address, "healthy")  # 200 is well, too
        sick.set()
        self.becomes(proxy, first.address, "unhealthy")
        load.more(20)
        seen = load.bodies[b"first"]
        load.more(100)
        self.assertEqual(seen, load.bodies[b"first"])
        row = next(
            p for p in proxy.admin_json("/providers")["providers"]
            if p["address"] == first.address
        )  # fmt: skip
        self.assertEqual(("unhealthy", "answered 500"), (row["health"], row["error"]))
        self.assertRegex(row["since"], r"^20..-")
        self.assertEqual(1, proxy.counters().get("offshoot_endpoints_unhealthy"))
        sick.clear()
        self.becomes(proxy, first.address, "healthy")
        eventually(lambda: load.bodies[b"first"] > seen + 5 or load.faults)
        self.all_well(load)
        probe = next(r for r in first.requests if r.target == "/healthz")
        self.assertEqual("GET", probe.method)
        self.assertEqual([first.address], probe.all("host"))
        self.assertIn("is unhealthy: answered 500", proxy.errors())

    def test_with_none_left_it_is_refused_by_name(self):
        only = self.provider(http_script(
            lambda r: reply_bytes(503 if r.target == "/h" else 200, b"ok")))
        policy = "health: {path: /h, interval: 50ms, unhealthyAfter: 1}"
        spec = graph_of(graph(policy, only.address), OVERLAY % self.nobody().address)
        proxy = self.start_proxy(spec)
        self.assertEqual(200, self.ask(proxy).status)
        self.becomes(proxy, only.address, "unhealthy")
        reply = self.ask(proxy)
        self.assertEqual((503, "unhealthy"), (reply.status, reply.get("x-offshoot-error")))
        self.assertEqual("1", reply.get("retry-after"))

    def test_an_overlay_whose_provider_is_down_never_gets_the_baseline(self):
        base = self.provider(fixed(b"baseline"))
        down = self.nobody()
        policy = "health: {kind: tcp, interval: 50ms, unhealthyAfter: 1}"
        proxy = self.start_proxy(
            graph_of(graph(policy, base.address), OVERLAY % down.address))
        asked = len(base.requests)
        seen = set()

        def refused_as_unhealthy():
            reply = self.ask(proxy, fields=[("x-env", "feat")])
            seen.add((reply.status, reply.get("x-offshoot-error")))
            return reply.get("x-offshoot-error") == "unhealthy"

        eventually(refused_as_unhealthy)
        self.assertLessEqual(seen, {(502, "connect"), (503, "unhealthy")})
        self.assertEqual(asked, len(base.requests))
        self.assertEqual(b"baseline", self.ask(proxy).body)

    def test_tls_providers_are_checked_over_tls(self):
        cert, key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=shop.test",
             "-addext", "subjectAltName=DNS:shop.test"],
            check=True, capture_output=True)  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        secure = self.provider(fixed(b"secure"), tls=context)
        plain = self.provider(no_tls)
        policy = "health: {path: /h, interval: 50ms, unhealthyAfter: 1}"
        tls = f'tls: {{name: shop.test, ca: "{cert}"}}, '
        proxy = self.start_proxy(graph(policy, secure.address, plain.address, spec=tls))
        with connect(proxy.address) as stream:
            for _ in range(2):
                stream.ask(request_bytes("GET", "/", "shop"))
        self.becomes(proxy, secure.address, "healthy")
        self.becomes(proxy, plain.address, "unhealthy")
        self.assertIn("/h", [r.target for r in secure.requests])


class GrpcHealth(BalanceCase):
    """grpc.health.v1, answered by grpcio; the messages are written by hand."""

    SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"

    def server(self):
        asked = []

        def check(message, _):
            asked.append(message)
            return self.status

        handler = grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)})
        server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.closes(Stopping(server))
        return f"127.0.0.1:{port}", asked

    def test_serving_and_not_serving(self):
        self.status = self.SERVING
        address, asked = self.server()
        policy = "health: {kind: grpc, service: shop.Cart, interval: 50ms, unhealthyAfter: 2}"
        proxy = self.start_proxy(graph(policy, address, spec="protocol: grpc, "))
        with connect(proxy.address) as stream:  # whatever comes of it: it is in use then
            stream.send(request_bytes("POST", "/x.Y/Z", "shop", [("content-type", "a/b")]))
        self.becomes(proxy, address, "healthy")
        self.assertEqual(b"\x0a\x09shop.Cart", asked[0])
        self.status = self.NOT_SERVING
        self.becomes(proxy, address, "unhealthy")
        row = proxy.admin_json("/providers")["providers"][0]
        self.assertEqual("says NOT_SERVING", row["error"])
        self.status = self.SERVING
        self.becomes(proxy, address, "healthy")


class Orders(BalanceCase):
    def test_draining_under_load_loses_nothing(self):
        first, second = self.provider(fixed(b"1")), self.provider(fixed(b"2"))
        proxy = self.start_proxy(graph("", first.address, second.address), "--workers=2")
        load = self.load(proxy)
        load.more(100)
        self.assertIn("is drained", self.order(proxy, first.address, "drain"))
        load.more(20)
        seen = len(first.requests)
        load.more(200)
        self.assertEqual(seen, len(first.requests))
        self.becomes(proxy, first.address, "drained")
        eventually(lambda: first.open_connections == 0, what="its connections are closed")
        self.assertIn("already", self.order(proxy, first.address, "drain"))
        self.order(proxy, first.address, "enable")
        eventually(lambda: len(first.requests) > seen + 10 or load.faults)
        self.all_well(load)
        self.assertIn(f"endpoint {first.address}: drain by user", proxy.errors())
        self.assertIn(": a test", proxy.errors())

    def test_a_stream_stays_on_a_drained_endpoint(self):
        go = threading.Event()

        def script(stream):
            stream.read_request()
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            go.wait(30)
            stream.send(b"done")

        slow = self.provider(script)
        proxy = self.start_proxy(graph("", slow.address))
        with connect(proxy.address) as stream:
            stream.send(request_bytes("GET", "/", "shop"))
            self.becomes(proxy, slow.address, "open")
            eventually(lambda: slow.open_connections == 1)
            self.order(proxy, slow.address, "drain")
            self.becomes(proxy, slow.address, "draining")
            self.assertEqual(503, self.ask(proxy).status)
            go.set()
            self.assertEqual(b"halfdone", stream.read_reply().body)
        self.becomes(proxy, slow.address, "drained")

    def test_what_is_no_order_is_refused(self):
        proxy = self.start_proxy(graph("", self.provider().address))
        for target in ("", "?address=127.0.0.1:1", "?action=drain", "?address=x&action=drain",
                       "?address=127.0.0.1:1&action=kill", "?address=tunnel:x&action=drain"):
            self.assertEqual(400, proxy.admin(f"/endpoint{target}", "POST").status, target)
        self.assertEqual(405, proxy.admin("/endpoint?address=127.0.0.1:1&action=drain").status)
        self.assertEqual([], proxy.admin_json("/providers")["providers"])


class Upgraded(UpgradeCase):
    def test_orders_outlive_an_upgrade(self):
        first, second, third = (self.provider(fixed(b)) for b in (b"1", b"2", b"3"))
        self.begin(graph=graph("", first.address, second.address, third.address))
        for address, action in ((first.address, "drain"), (second.address, "disable")):
            target = f"/endpoint?address={address}&action={action}&reason=new+disk"
            self.assertEqual(200, self.proxy.admin(target, "POST").status)
        self.upgrade()
        for _ in range(6):
            self.assertEqual(b"3", self.ask(self.proxy).body)
        rows = {p["address"]: p for p in self.proxy.admin_json("/providers")["providers"]}
        self.assertEqual("drained", rows[first.address]["state"])
        self.assertEqual("disabled", rows[second.address]["state"])
        self.assertEqual("new disk", rows[first.address]["reason"])
        self.old_ones_end()


class Unprocessed(BalanceCase):
    """HTTP/2 providers that say they have done nothing with a request."""

    def begin(self, answer, policy="retries: {max: 1}"):
        self.asked = []

        def noting(server, x):
            self.asked.append(x.body)
            answer(server, x)

        bad = self.provider(http2.http2_script(noting))
        good = self.provider(http2.fixed2(b"good"))
        spec = "providerProtocol: http2, "
        self.good = good
        return self.start_proxy(graph(policy, bad.address, good.address, spec=spec))

    def test_a_refused_stream_goes_elsewhere_with_its_body(self):
        proxy = self.begin(lambda server, x: server.send(
            http2.rst_stream(x.stream, http2.REFUSED_STREAM)))
        body = b"all of it" * 1000
        for _ in range(4):
            reply = self.ask(proxy, method="POST", body=body)
            self.assertEqual((200, b"good"), (reply.status, reply.body))
        self.assertEqual({body}, {x.body for x in self.good.requests})
        self.assertEqual(4, len(self.good.requests))
        self.assertGreater(len(self.asked), 0)
        self.assertEqual(len(self.asked), proxy.counters().get("offshoot_retries_total"))

    def test_goaway_below_the_stream_is_no_answer(self):
        proxy = self.begin(lambda server, x: server.send(http2.goaway(0)))
        for _ in range(4):
            self.assertEqual(b"good", self.ask(proxy, method="POST", body=b"x").body)
        self.assertEqual(4, len(self.good.requests))

    def test_another_reset_is_not_said_again(self):
        proxy = self.begin(lambda server, x: server.send(
            http2.rst_stream(x.stream, http2.INTERNAL_ERROR)))
        seen = {self.ask(proxy, method="POST", body=b"x").status for _ in range(4)}
        self.assertEqual({200, 502}, seen)
        self.assertEqual(0, proxy.counters().get("offshoot_retries_total"))


class Budgets(BalanceCase):
    def test_connections_hold_over_all_workers(self):
        go = threading.Event()

        def answer(_):
            go.wait(60)
            return reply_bytes(200, b"ok")

        only = self.provider(http_script(answer))
        policy = "maxConnections: 2, connectTimeout: 60s"
        proxy = self.start_proxy(graph(policy, only.address), "--workers=3")
        load = self.load(proxy, clients=12)

        def row():
            rows = proxy.admin_json("/providers")["providers"]
            return rows[0] if rows else {"waiting": 0}

        eventually(lambda: row()["waiting"] == 10, what="ten requests wait")
        eventually(lambda: only.accepted == 2)
        self.assertEqual(2, row()["connections"])
        go.set()
        load.more(300)  # workers without a connection get their turn as well
        self.all_well(load)
        reached = proxy.counters().get("offshoot_budget_reached_total", budget="connections")
        self.assertGreaterEqual(reached, 10)


class Removed(BalanceCase):
    def test_a_removed_environment_ends_its_own_streams(self):
        def script(stream):
            stream.read_request()
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            done.wait(30)
            stream.send(b"done")

        done = threading.Event()
        slow = self.provider(script)
        text = graph("", slow.address)
        path = self.write("graph.yaml", graph_of(text, OVERLAY % slow.address))
        conf = self.write("proxy.yaml", "timeouts.removed: 300ms\n")
        proxy = self.start_proxy(path, "-c", conf)
        with connect(proxy.address) as gone, connect(proxy.address) as stays:
            gone.send(request_bytes("GET", "/", "shop", [("x-env", "feat")]))
            stays.send(request_bytes("GET", "/", "shop"))
            eventually(lambda: slow.open_connections == 2)
            path.write_text(text)
            counter = "offshoot_removed_ended_total"
            eventually(lambda: proxy.counters().get(counter) == 1)
            with self.assertRaises(Incomplete):
                gone.read_reply()
            done.set()
            self.assertEqual(b"halfdone", stays.read_reply().body)


if __name__ == "__main__":
    unittest.main()
