"""What a proxy tells of traffic while the agent is well, hung, cut off, or another process takes
over; and that traffic does not notice."""

import signal
import threading
import unittest

import grpc

from certs import Authority
from fake_agent import HISTORY, Graph
from fake_capture import CaptureAgent, CaptureCase, capture_pb, session
from fakes import fixed
from harness import Program, connect, eventually, request_bytes
from test_upgrade import UpgradeCase

BODY = bytes(range(256)) * 400  # 100 KiB
KIB = 1024


class Told:
    """Exchanges put together out of the events of some calls, by call and id."""

    def __init__(self, calls):
        self.calls = calls
        self.open, self.whole, self.hops, self.drops, self.broken = {}, [], [], {}, []

    def take(self):
        """What is there now."""
        for call in self.calls:
            while not call.events.empty():
                kind, event = call.next(0)
                if kind == "hop":
                    self.hops.append(event)
                elif kind == "drops":
                    self.drops[call.worker] = list(event.dropped)
                else:
                    self._add((call.worker, event.id), kind, event)
        return self

    def _add(self, key, kind, event):
        if kind == "begin":
            self.open[key] = {"begin": event, "request": b"", "body": b"", "reply": None}
            return
        told = self.open[key]
        if kind == "body":
            told["body" if event.reply else "request"] += event.data
        else:
            told[kind] = event
        if kind == "end":
            (self.broken if event.dropped else self.whole).append(self.open.pop(key))

    def until(self, whole):
        eventually(lambda: len(self.take().whole) >= whole)
        return self


class Telling(CaptureCase):
    def test_requests_are_told_whole_by_every_worker(self):
        self.begin()
        self.ask_for(session(7), session(8, services=["other"]))
        told = Told(self.agent.both())
        self.until(up=2)
        for n in range(60):
            self.assertEqual(200, self.ask(self.proxy, f"/a?n={n}").status)
        told.until(60)
        self.assertEqual((60, {}, []), (len(told.whole), told.open, told.broken))
        targets = {x["begin"].path for x in told.whole}
        self.assertEqual({f"/a?n={n}" for n in range(60)}, targets)
        for x in told.whole:
            begin, reply = x["begin"], x["reply"]
            self.assertEqual((b"", b"ok", 200), (x["request"], x["body"], reply.status))
            self.assertEqual(([7], "GET", "localhost", "main", "shop", 1), (
                list(begin.sessions), begin.method, begin.authority, begin.environment,
                begin.service, begin.epoch))  # fmt: skip
        self.assertEqual(60, sum(hop.kind == capture_pb.HOP_SAMPLED for hop in told.hops))
        self.assertEqual((60, 0), (self.gauge("exchanges_total"), self.gauge("queued_bytes")))
        self.until(exchanges=60, dropped=0, queued=0)

    def test_heads_that_end_a_chunk_stay_whole_beside_the_sums_of_drops(self):
        self.begin(conf="capture: {bodyBytes: 1k}\n")
        self.shop.script = fixed(BODY)  # each is dropped on its way
        self.ask_for(session(1))
        told = Told(self.agent.both())
        self.until(up=2)
        pad = "x" * 6 * KIB  # two fit into a chunk, not three
        targets = [f"/a?n={n}" for n in range(100)]
        asked = [request_bytes("GET", t, fields=[("x-pad", pad)]) for t in targets]
        with connect(self.proxy.address) as stream:
            for one in asked:
                self.assertEqual(BODY, stream.ask(one).body)
        eventually(lambda: len(told.take().broken) == len(targets))
        self.assertEqual(targets, [x["begin"].path for x in told.broken])
        for x in told.broken:
            fields = {f.name: f.value.decode() for f in x["begin"].fields}
            self.assertEqual(pad, fields["x-pad"])
            self.assertEqual(capture_pb.BODY, x["end"].dropped)
        self.until(up=2, dropped=len(targets))

    def test_nothing_is_told_once_the_last_session_is_gone(self):
        self.begin()
        self.ask_for(session(1))
        told = Told(self.agent.both())
        self.until(up=2)
        self.ask(self.proxy, "/before")
        told.until(1)
        self.ask_for()
        self.until(up=0, sessions=0)
        for _ in range(20):
            self.assertEqual(200, self.ask(self.proxy, "/after").status)
        self.assertEqual(["/before"], [x["begin"].path for x in told.take().whole])
        self.assertEqual({}, told.open)
        self.assertEqual(1, self.gauge("exchanges_total"))

    def test_over_tls(self):
        ca = Authority(self.folder)
        own, ours = ca.issue("agent", "DNS:agent.test"), ca.issue("gw", "DNS:gw.test")
        self.agent.close()
        self.agent = self.closes(CaptureAgent(credentials=grpc.ssl_server_credentials(
            [(own.key.read_bytes(), own.cert.read_bytes())],
            root_certificates=ca.cert.read_bytes(), require_client_auth=True)))  # fmt: skip
        self.begin("--agent-cert", ours.cert, "--agent-key", ours.key, "--agent-ca", ca.cert,
                   "--agent-name", "agent.test")  # fmt: skip
        self.ask_for(session(1))
        calls = self.agent.both()
        self.assertIn("x509_common_name", dict(calls[0].context.auth_context()))
        self.until(up=2)
        self.ask(self.proxy)
        Told(calls).until(1)
        self.assertEqual(200, self.proxy.admin("/reload", "POST").status)
        self.ask(self.proxy)


class Hung(CaptureCase):
    def begin_hung(self):
        self.agent.reading.clear()
        self.begin(conf="capture: {bytes: 256k}\n")
        self.shop.script = fixed(BODY)
        self.ask_for(session(1))
        self.until(up=2)

    def dropped(self, reason):
        return self.proxy.counters().get("offshoot_capture_dropped_total", reason=reason)

    def fill(self, enough):
        """Asks until so many are not told; sockets, windows and the streams' queues take theirs.
        Returns the most that waited, and how many were asked."""
        most = 0
        for asked in range(1, 1000):
            reply = self.ask(self.proxy)
            self.assertEqual((200, BODY), (reply.status, reply.body))
            most = max(most, self.capture()["queued"])
            if self.dropped("memory") >= enough:
                return most, asked
        raise AssertionError(f"only {self.dropped('memory')} were not told of {asked}")

    def test_what_waits_for_an_agent_that_never_reads_is_bounded(self):
        self.begin_hung()
        most, asked = self.fill(50)
        self.assertGreater(most, 256 * KIB)
        # Of two workers: what a worker judges before each piece, and the chunks of that piece.
        self.assertLessEqual(most, 2 * (256 + 64) * KIB)
        self.assertEqual(asked, self.dropped("memory") + self.gauge("exchanges_total"))

        def nothing_more_waits():
            before = self.capture()["queued"]
            for _ in range(40):
                self.ask(self.proxy)
            return self.capture()["queued"] == before

        eventually(nothing_more_waits)  # once both workers are there
        self.assertLessEqual(self.capture()["queued"], 2 * (256 + 64) * KIB)
        self.assertGreater(self.gauge("hops_dropped_total"), 0)
        self.agent.reading.set()
        told = Told(self.agent.both())
        told.until(self.gauge("exchanges_total"))
        for x in told.whole:
            self.assertEqual(BODY, x["body"])
        self.until(queued=0, up=2)
        counters = self.proxy.counters()
        hops = counters.get("offshoot_capture_hops_total", kind="sampled")
        self.assertEqual(hops - self.gauge("hops_dropped_total"), len(told.hops))
        self.assertEqual(0, self.gauge("chunks_dropped_total"))
        before = len(told.whole)
        self.ask(self.proxy)
        told.until(before + 1)

    def test_a_hung_agent_that_dies_leaves_nothing_behind(self):
        self.begin_hung()
        self.fill(50)
        self.assertGreater(self.capture()["queued"], 0)
        self.agent.stop()
        self.until(queued=0, up=0)
        self.assertGreater(self.gauge("chunks_dropped_total"), 0)
        eventually(lambda: self.gauge("up") == 0)
        dropped = self.dropped("disconnected")
        for n in range(1, 6):
            self.assertEqual(200, self.ask(self.proxy).status)
            self.assertEqual(dropped + n, self.dropped("disconnected"))
        self.agent.reading.set()

    def test_a_hung_agent_does_not_keep_the_proxy_from_ending(self):
        self.begin_hung()
        self.fill(50)
        self.ask_for()
        self.until(sessions=0, up=0, queued=0)  # after the time for parting
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)
        self.agent.reading.set()


class Upgrading(UpgradeCase, CaptureCase):
    def begin_captured(self, *flags, upgrade="30s"):
        self.shop = self.provider()
        self.write("conf.yaml",
                   f"timeouts: {{upgrade: {upgrade}, drain: 10s, drainIdle: 100ms}}\n")
        self.proxy = Program(
            [self.binary, "-c", "conf.yaml", "--agent", self.agent.address, "--node", "gw-1",
             "--workers", "2", "--admin", self.folder / "a.sock",
             "--listen", "127.0.0.1:0,trusted", *flags], self.folder)  # fmt: skip
        self.programs.append(self.proxy)
        self.sync = self.agent.stream()
        self.sync.put(Graph.shop(self.shop.address), HISTORY)
        self.proxy.wait_ready()
        self.ask_for(session(1))
        return self.agent.both()

    def keep_asking(self):
        """Until the returned function is called, which gives how many were answered."""
        end, answers, address = threading.Event(), [], self.proxy.address

        def run():
            while not end.is_set():
                with connect(address) as stream:
                    answers.append(stream.ask(request_bytes("GET", "/", "localhost")).status)

        thread = threading.Thread(target=run)
        thread.start()

        def stop():
            end.set()
            thread.join()
            self.assertEqual({200}, set(answers))
            return len(answers)

        return stop

    def test_the_new_process_asks_for_streams_of_its_own(self):
        old = self.begin_captured("--state", self.folder / "state")
        self.until(up=2)
        stop = self.keep_asking()
        self.upgrade()
        self.sync = self.agent.stream()
        self.assertIn("capture.1", self.sync.hello.features)
        self.ask_for(session(1))
        new = self.agent.both()
        self.until(up=2, sessions=1)
        self.assertGreater(stop(), 0)
        self.old_ones_end()
        for call in old:
            self.assertTrue(call.over.wait(10))
        told = Told(new)
        before = len(told.take().whole)
        self.ask(self.proxy)
        told.until(before + 1)
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)

    def test_an_upgrade_that_fails_keeps_the_streams(self):
        calls = self.begin_captured(upgrade="1s")
        self.until(up=2)
        self.refused("was not ready within timeouts.upgrade")  # the agent gives it no graph
        self.agent.stream()
        self.sync = self.agent.stream()
        self.ask_for(session(1))
        self.until(up=2, version=2)
        self.assertFalse(any(call.over.is_set() for call in calls))
        self.assertEqual(0, self.gauge("losses_total"))
        told = Told(calls)
        before = len(told.take().whole)
        self.ask(self.proxy)
        told.until(before + 1)


if __name__ == "__main__":
    unittest.main()
