"""Connections that are reset right behind their last bytes: noticed at once, not by a time-out."""

import unittest

from harness import ONE_SHOP, ProxyCase, connect, eventually, request_bytes

HELD = 30  # connections of a kind; a reset that is missed is missed often


class Resets(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def test_of_clients(self):
        proxy = self.start_proxy(ONE_SHOP % self.provider().address)
        head = request_bytes("POST", "/", "a", [("Content-Length", "10")])
        chunked = request_bytes("POST", "/", "a", [("Transfer-Encoding", "chunked")])
        for data in (b"G", b"GET / HTTP/1.1\r\nHo", head, head + b"12345", chunked + b"5\r\nhel"):
            with self.subTest(data=data):
                for _ in range(HELD):
                    stream = connect(proxy.address)
                    stream.send(data)
                    stream.reset()
                # timeouts.head is 10 s, timeouts.stream 60 s.
                eventually(lambda: proxy.counters().get("offshoot_clients") == 0, 5)

    def test_of_providers(self):
        for data in (b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
                     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
                     b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000):
            with self.subTest(data=data[:60]):

                def script(stream):
                    stream.read_request()
                    stream.send(data)
                    stream.reset()

                proxy = self.start_proxy(ONE_SHOP % self.provider(script).address)
                streams = [self.client(proxy) for _ in range(HELD)]
                for stream in streams:
                    stream.send(request_bytes())
                # timeouts.reply is 15 s, timeouts.stream 60 s.
                eventually(lambda: proxy.counters().get("offshoot_requests") == 0, 5)


class Labels(ProxyCase):
    def test_an_environment_or_service_named_other_is_counted_once(self):
        graph = ONE_SHOP.replace("name: main", "name: other")
        graph = graph.replace("ronment: main", "ronment: other")
        proxy = self.start_proxy(graph.replace("shop", "other") % self.provider().address)
        self.assertEqual(self.ask(proxy).status, 200)
        proxy.counters()  # a sample given twice is a failure


if __name__ == "__main__":
    unittest.main()
