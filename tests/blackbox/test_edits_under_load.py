"""Graph edits while requests run: none lost, none answered by an environment that the graph never
meant, and each edit in force soon."""

import os
import time
import unittest

from graphs import baseline, gateway, graph_of, overlay, service
from harness import ProxyCase, eventually, sanitized
from load import Load

REQUESTS = 20_000 if sanitized() else 100_000
EDITS = 100
CONNECTIONS = 64



class EditsUnderLoad(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    # nginx keeps its side of unused connections open: ours must go by itself.
    flags = ("-c", "proxy.yaml")

    def setUp(self):
        super().setUp()
        self.write("proxy.yaml", "timeouts: {providerIdle: 1s}\n")

    def graph(self, addresses, provides):
        return graph_of(
            service("cart"), gateway({"/": "cart"}),
            baseline(cart=addresses["main"]),
            *(overlay(n, **({"cart": addresses[n]} if n in provides else {})) for n in "abc"))

    def replace(self, path, text):
        new = path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, path)

    def test_no_request_is_lost_or_misled(self):
        addresses = self.start_nginx(("main", "a", "b", "c"))
        provides = {"a", "b", "c"}
        proxy = self.start_proxy(self.graph(addresses, provides), "--workers", "2")
        path = next(self.folder.glob("graph-*.yaml"))
        epoch = 1

        def request(n):
            env = ("main", "a", "b", "c")[n % 4]
            data = (f"GET /{n} HTTP/1.1\r\nHost: cart\r\nbaggage: k=v,offshoot=v1m.{env}.0.00\r\n"
                    "\r\n").encode()
            return data, (env, frozenset(allowed[env]))

        # A request sent while an edit is on its way may be answered by its before or its after;
        # one sent when every worker has taken the edit, by its after alone.
        allowed = {"main": {"main"}, "a": {"a"}, "b": {"b"}, "c": {"c"}}

        def check(expected, head, body):
            self.assertTrue(head.startswith(b"http/1.1 200"), head)
            self.assertIn(body.decode(), expected[1], expected[0])

        load = self.closes(Load(proxy.address, CONNECTIONS, request, check))
        load.run(CONNECTIONS)
        times = []
        for edit in range(EDITS):
            name = "abc"[edit % 3]
            after = provides ^ {name}
            allowed[name] = {name, "main"}
            for entry in load.socks.values():  # what is on its way may meet the edit too
                if entry[2][0] == name:
                    entry[2] = (name, frozenset(allowed[name]))
            self.replace(path, self.graph(addresses, after))
            begun = time.monotonic()
            epoch += 1

            def active():
                status = proxy.admin_json("/status")
                return status["epoch"] == epoch and status["workers_current"] == 2

            eventually(lambda: load.run(load.done + 100) or active())
            times.append(time.monotonic() - begun)
            provides = after
            allowed[name] = {name if name in provides else "main"}
            load.run(max(load.done + 100, (edit + 1) * REQUESTS // EDITS))
        load.finish()
        self.assertGreaterEqual(load.done, REQUESTS)
        self.assertEqual(load.sent, load.done)
        counters = proxy.counters()
        self.assertEqual(counters.get("offshoot_graph_loads_total"), EDITS + 1)
        self.assertEqual(counters.get("offshoot_graph_refused_total"), 0)

    def test_a_bad_edit_keeps_the_last_good_graph(self):
        addresses = self.start_nginx(("main", "a", "b", "c"))
        good = self.graph(addresses, {"a", "b", "c"})
        proxy = self.start_proxy(good)
        path = next(self.folder.glob("graph-*.yaml"))
        bad = {
            "cut short": good[: len(good) // 2],
            "empty": "",
            "unknown parent": good.replace("parent: main", "parent: mian"),
            "not text": good + "\0",
            "no gateway": good.replace("kind: Gateway", "kind: Gatway"),
        }
        for n, (what, text) in enumerate(bad.items(), 1):
            with self.subTest(what):
                self.replace(path, text)
                eventually(lambda: not proxy.admin_json("/status")["graph"]["valid"])
                self.assertEqual(proxy.counters().get("offshoot_graph_refused_total"), n)
                self.assertEqual(proxy.counters().get("offshoot_graph_invalid"), 1)
                self.assertIn("epoch 1 stays active", proxy.errors())
                reply = self.ask(proxy, fields=[("baggage", "offshoot=v1m.a.0.00")])
                self.assertEqual(reply.body, b"a")
                self.replace(path, good)
                eventually(lambda: proxy.admin_json("/status")["graph"]["valid"])
        self.assertEqual(proxy.admin_json("/status")["epoch"], 1)


if __name__ == "__main__":
    unittest.main()
