"""A proxy that follows an agent, judged from the other end of the stream by an agent that shares no
code with it."""

import itertools
import signal
import subprocess
import unittest

import grpc

from fake_agent import CHUNK, HISTORY, OTHER, Ended, FakeAgent, FedCase, Graph, graph_pb, pb
from harness import eventually


class Following(FedCase):
    def test_epochs_are_staged_activated_and_retired(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        self.assertEqual(b"ok", self.ask(proxy).body)
        second = graph.next().environment(1, "feat", parents=["main"])
        stream.acked(stream.stage(second, HISTORY, graph), pb.STAGED, 2)
        self.assertEqual(["main"], self.environments(proxy))
        self.assertEqual([1, 2], self.status(proxy)["held"])
        self.assertGreater(stream.acked(stream.activate(2), pb.ACTIVE, 2).nanoseconds, 0)
        self.assertEqual(["feat", "main"], self.environments(proxy))
        stream.acked(stream.retire(1), pb.RETIRED, 1)
        self.assertEqual([2], self.status(proxy)["held"])
        third = second.next().drop(1).environment(7, "later", parents=["main"])
        stream.put(third, HISTORY, second)
        self.assertEqual(["later", "main"], self.environments(proxy))
        counters = proxy.counters()
        for name, value in (("stages", 3), ("activations", 3), ("retirements", 1),
                            ("snapshot_saves", 3), ("agent_connects", 1)):  # fmt: skip
            self.assertEqual(value, counters.get(f"offshoot_{name}_total"), name)
        self.assertEqual(1, counters.get("offshoot_agent_connected"))
        self.assertEqual(0, counters.get("offshoot_nacks_total"))

    def test_hello_says_who_it_is_and_what_it_serves(self):
        self.start_fed("--region", "eu-1", "--gateway", "edge")
        hello = self.agent.stream().hello
        self.assertEqual(("gw-1", pb.GATEWAY, "eu-1", "edge", b"", 0, 0), (
            hello.node, hello.role, hello.region, hello.gateway, hello.history, len(hello.held),
            hello.active_epoch))  # fmt: skip
        self.assertEqual(["graph.1", "routes.1", "capture.1"], list(hello.features))
        self.end_waiting()

    def end_waiting(self):
        program = self.programs[-1]
        program.signal(signal.SIGTERM)
        self.expect_exit(program, 0)

    def test_a_whole_graph_of_many_chunks(self):
        graph = Graph.shop(self.provider().address)
        for number in range(1, 20000):
            graph.environment(number, f"env-{number}", parents=["main"])
        chunks = -(-len(graph.difference().SerializeToString()) // CHUNK)
        self.assertGreater(chunks, 2)
        proxy, _ = self.fed(graph)
        self.assertEqual(20000, proxy.admin_json("/status")["environments"])
        self.assertEqual(chunks, proxy.counters().get("offshoot_stage_chunks_total"))

    def test_one_byte_a_chunk(self):
        graph = Graph.shop(self.provider().address)
        proxy = self.start_fed()
        stream = self.agent.stream()
        stream.put(graph, HISTORY, chunk=1)
        proxy.wait_ready()
        self.assertEqual(b"ok", self.ask(proxy).body)

    def test_the_same_stage_and_activation_again_are_acknowledged_again(self):
        graph = Graph.shop(self.provider().address)
        _, stream = self.fed(graph)
        stream.put(graph, HISTORY)
        second = graph.next()
        for _ in range(2):
            stream.acked(stream.stage(second, HISTORY, graph), pb.STAGED, 2)
        for _ in range(2):
            stream.acked(stream.activate(2), pb.ACTIVE, 2)
        for _ in range(2):
            stream.acked(stream.retire(1), pb.RETIRED, 1)

    def test_epochs_may_be_left_out_and_several_staged(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        last = graph
        for epoch in (5, 6, 9):
            new = last.next(epoch).environment(epoch, f"env-{epoch}", parents=["main"])
            stream.acked(stream.stage(new, HISTORY, last), pb.STAGED, epoch)
            last = new
        stream.acked(stream.activate(9), pb.ACTIVE, 9)
        self.assertIn("epoch 6 is not above epoch 9",
                      stream.nacked(stream.activate(6), pb.STALE))  # fmt: skip
        self.assertEqual(["env-5", "env-6", "env-9", "main"], self.environments(proxy))

    def test_more_than_eight_epochs_retire_the_oldest(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        for _ in range(12):
            graph, before = graph.next(), graph
            stream.acked(stream.stage(graph, HISTORY, before), pb.STAGED, graph.epoch)
        held = self.status(proxy)["held"]
        self.assertEqual(8, len(held))
        self.assertEqual([1, 13], [held[0], held[-1]])  # the active one stays
        self.assertEqual(5, proxy.counters().get("offshoot_epochs_retired_early_total"))

    def test_activations_come_faster_than_workers_take_them(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)

        def until(state):
            while True:
                kind, message = stream.next()
                self.assertEqual("ack", kind, message)
                if (message.state, message.epoch) == (state, graph.epoch):
                    return

        for _ in range(10):
            for _ in range(20):
                graph, before = graph.next(), graph
                stream.stage(graph, HISTORY, before)
                until(pb.STAGED)
                stream.activate(graph.epoch)
            until(pb.ACTIVE)
            self.assertEqual(graph.epoch, self.status(proxy)["acknowledged"])
        self.assertEqual(0, proxy.counters().get("offshoot_nacks_total"))

    def test_the_proxy_sends_heartbeats(self):
        _, stream = self.fed(Graph.shop(self.provider().address))

        def beaten():
            try:
                stream.next(1)
            except Ended:
                raise
            except AssertionError:
                pass
            return stream.heartbeats

        eventually(beaten, 20)

    def test_requests_are_never_refused_while_epochs_change(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        for number in range(1, 40):
            graph, before = graph.next(), graph
            graph.environment(number, f"env-{number}", parents=["main"])
            stream.put(graph, HISTORY, before)
            stream.acked(stream.retire(before.epoch), pb.RETIRED, before.epoch)
            reply = self.ask(proxy)
            self.assertEqual((200, b"ok"), (reply.status, reply.body))
        self.assertEqual(0, proxy.counters().get("offshoot_refusals_total"))


class Start(FedCase):
    def test_nothing_listens_before_the_first_activation(self):
        graph = Graph.shop(self.provider().address)
        proxy = self.start_fed()
        stream = self.agent.stream()
        proxy.ready["admin"] = [str(self.folder / "admin.sock")]
        self.assertEqual(503, proxy.admin("/ready").status)
        self.assertEqual(200, proxy.admin("/live").status)
        self.assertEqual(200, proxy.admin("/metrics").status)
        self.assertGreaterEqual(proxy.admin("/environments").status, 400)
        self.assertGreaterEqual(proxy.admin("/resolve?env=main&service=shop").status, 400)
        self.assertGreaterEqual(proxy.admin("/explain?host=a&path=/").status, 400)
        self.assertEqual("waiting for a graph", proxy.admin_json("/status")["state"])
        self.assertIn(b"waiting for a graph", proxy.admin("/status").body)
        stream.acked(stream.stage(graph, HISTORY), pb.STAGED, 1)
        self.assertEqual("", proxy.output())
        self.assertEqual(503, proxy.admin("/ready").status)
        stream.acked(stream.activate(1), pb.ACTIVE, 1)
        del proxy.ready["admin"]
        proxy.wait_ready()
        self.assertEqual(200, proxy.admin("/ready").status)
        self.assertEqual(b"ok", self.ask(proxy).body)

    def test_the_wait_ends_with_sigterm(self):
        proxy = self.start_fed()
        self.agent.stream()
        proxy.signal(signal.SIGTERM)
        self.expect_exit(proxy, 0)
        self.assertEqual("", proxy.output())

    def test_the_wait_ends_with_drain(self):
        proxy = self.start_fed()
        self.agent.stream()
        proxy.ready["admin"] = [str(self.folder / "admin.sock")]
        self.assertEqual(200, proxy.admin("/drain", "POST").status)
        self.expect_exit(proxy, 0)

    def test_an_agent_that_comes_late(self):
        graph = Graph.shop(self.provider().address)
        self.agent.stop()
        proxy = self.start_fed()
        proxy.line("no agent at ", stream="stderr")
        self.agent.start()
        self.agent.stream().put(graph, HISTORY)
        proxy.wait_ready()

    def test_files_and_agent_exclude_each_other(self):
        for flags, words in (
            (["--graph", "x", "--agent", "127.0.0.1:1"], b"--graph and --agent exclude each other"),
            ([], b"--agent ADDRESS"),
        ):
            done = self.run_program("offshoot-proxy", "--listen", "127.0.0.1:0", *flags)
            self.assertEqual(1, done.returncode)
            self.assertIn(words, done.stderr)

    def test_what_the_settings_refuse(self):
        for flags, words in (
            (["--node", "a b"], b"node: not 1 to 253 of"),
            (["--region", "r" * 64], b"region: not UTF-8 of at most 63 bytes"),
            (["--agent-cert", "x"], b"agentTls: cert, key and ca belong together"),
        ):
            done = self.run_program("offshoot-proxy", "--listen", "127.0.0.1:0", "--agent",
                                    "127.0.0.1:1", *flags)  # fmt: skip
            self.assertEqual(1, done.returncode, flags)
            self.assertIn(words, done.stderr)

    def test_plain_text_stays_on_loopback(self):
        done = self.run_program("offshoot-proxy", "--listen", "127.0.0.1:0", "--agent",
                                "192.0.2.1:7500")  # fmt: skip
        self.assertEqual(1, done.returncode)
        self.assertIn(b"without TLS", done.stderr)

    def test_configuration_is_checked_without_an_agent(self):
        done = self.run_program("offshoot-proxy", "--check-config", "--listen", "127.0.0.1:0",
                                "--agent", "127.0.0.1:1")  # fmt: skip
        self.assertEqual((0, b"ok\n"), (done.returncode, done.stdout))

    def test_over_a_unix_socket(self):
        agent = self.closes(FakeAgent(f"unix:{self.folder}/agent.sock"))
        proxy = self.start_fed(agent=agent.address)
        agent.stream().put(Graph.shop(self.provider().address), HISTORY)
        proxy.wait_ready()


class Refusing(FedCase):
    """Every refusal is a Nack with its reason, and changes nothing."""

    def setUp(self):
        super().setUp()
        self.graph = Graph.shop(self.provider().address)
        self.proxy, self.stream = self.fed(self.graph)
        self.second = self.graph.next().environment(1, "feat", parents=["main"])

    def refused(self, nonce, reason, words):
        """Served on as before, counted; and the next good one is taken."""
        self.assertIn(words, self.stream.nacked(nonce, reason))
        self.assertEqual([1], self.status(self.proxy)["held"])
        self.assertEqual(b"ok", self.ask(self.proxy).body)

    def tearDown(self):
        try:
            self.stream.put(self.second, HISTORY, self.graph)
            counters = self.proxy.counters()
            for reason, n in self.stream.nacks.items():
                word = reason.lower().replace("_", "-")
                self.assertEqual(n, counters.get("offshoot_nacks_total", reason=word), reason)
        finally:
            super().tearDown()

    def test_a_wrong_digest(self):
        wrong = self.second.difference(self.graph)
        wrong.digest = bytes(32)
        nonce = self.stream.stage(self.second, HISTORY, self.graph, digest=bytes(32),
                                  bytes_=wrong.SerializeToString())  # fmt: skip
        self.refused(nonce, pb.BAD_DIGEST, "digest of the result differs")

    def test_a_digest_that_the_difference_does_not_have(self):
        nonce = self.stream.stage(self.second, HISTORY, self.graph, digest=bytes(32))
        self.refused(nonce, pb.BAD_DIGEST, "digest of stage and difference differ")

    def test_epochs_that_the_difference_does_not_have(self):
        whole = self.second.difference().SerializeToString()
        nonce = self.stream.stage(self.second, HISTORY, self.graph, bytes_=whole)
        self.refused(nonce, pb.BAD_DIGEST, "stage and difference differ in base_epoch")
        nonce = self.stream.stage(self.second, HISTORY, self.graph, epoch=3)
        self.refused(nonce, pb.BAD_DIGEST, "stage and difference differ in epoch")

    def test_bytes_that_are_cut_short(self):
        whole = self.second.difference(self.graph).SerializeToString()
        for n in (0, 1, len(whole) // 2, len(whole) - 1):
            nonce = self.stream.stage(self.second, HISTORY, self.graph, bytes_=whole[:n])
            self.refused(nonce, pb.BAD_DIGEST, "")

    def test_a_base_that_is_not_held(self):
        other = self.graph.next(7)
        nonce = self.stream.stage(other.next(8), HISTORY, other)
        self.refused(nonce, pb.BASE_UNKNOWN, "epoch 7, which epoch 8 builds on, is not held")

    def test_an_activation_of_what_is_not_held(self):
        self.refused(self.stream.activate(2), pb.BASE_UNKNOWN, "epoch 2 is not held")

    def test_a_retirement_of_the_active_epoch(self):
        self.refused(self.stream.retire(1), pb.STALE, "the active epoch")

    def test_another_history(self):
        nonce = self.stream.stage(self.graph, OTHER)
        self.refused(nonce, pb.STALE, f"offshootctl proxy adopt {OTHER.hex()}")

    def test_another_history_that_follows_another_one(self):
        follows = pb.Follows(history=bytes(16), epoch=9)
        nonce = self.stream.stage(self.graph, OTHER, follows=follows)
        self.refused(nonce, pb.STALE, "this proxy holds history")

    def test_a_history_that_left_before_what_is_held(self):
        follows = pb.Follows(history=HISTORY, epoch=0)
        nonce = self.stream.stage(self.graph, OTHER, follows=follows)
        self.refused(nonce, pb.STALE, "but this proxy holds epoch 1")

    def test_the_same_epoch_with_other_content(self):
        other = Graph.shop("10.0.0.1:80")
        self.refused(self.stream.stage(other, HISTORY), pb.STALE, "held with another digest")

    def test_an_unknown_feature(self):
        nonce = self.stream.stage(self.second, HISTORY, self.graph, features=["graph.1", "x.y"])
        self.refused(nonce, pb.UNSUPPORTED, "unknown feature 'x.y'")

    def test_an_unknown_field_of_the_difference(self):
        payload = self.second.difference(self.graph).SerializeToString() + b"\xf8\x07\x01"
        nonce = self.stream.stage(self.second, HISTORY, self.graph, bytes_=payload)
        self.refused(nonce, pb.BAD_DIGEST, "field 127")

    def test_endpoints_that_are_forbidden(self):
        own = self.proxy.address
        for forbidden in (own, "169.254.1.1:80", "unix:/run/x.sock"):
            bad = self.graph.next().environment(
                3, "leak", parents=["main"], provides={"shop": ["10.1.2.3:80", forbidden]})
            nonce = self.stream.stage(bad, HISTORY, self.graph)
            self.refused(nonce, pb.INVALID_GRAPH,
                         f"environment 'leak', service 'shop', endpoint '{forbidden}'")

    def test_a_graph_without_a_gateway(self):
        bad = self.graph.next()
        bad.gateways.clear()
        nonce = self.stream.stage(bad, HISTORY, self.graph)
        self.refused(nonce, pb.INVALID_GRAPH, "no Gateway")

    def test_references_that_lead_nowhere(self):
        lost = self.graph.next().environment(3, "lost", parents=["nobody"])
        self.refused(self.stream.stage(lost, HISTORY, self.graph), pb.BAD_DIGEST, "unknown parent")
        ring = self.graph.next().environment(3, "a", parents=["b"])
        ring.environment(4, "b", parents=["a"])
        self.refused(self.stream.stage(ring, HISTORY, self.graph), pb.BAD_DIGEST, "")

    def test_every_wrong_order_of_three_chunks(self):
        size = -(-len(self.second.difference(self.graph).SerializeToString()) // 3)
        for order in itertools.permutations(range(3)):
            if order == (0, 1, 2):
                continue
            messages = self.stream.stages(self.second, HISTORY, self.graph, chunk=size)
            self.assertEqual(3, len(messages))
            for i in order:
                self.stream.send(pb.AgentMessage(stage=messages[i]))
            self.refused(messages[0].nonce, pb.BAD_DIGEST, "chunk ")
            if order[0]:
                self.drain_until_quiet(messages[0].nonce)

    def drain_until_quiet(self, nonce):
        """After the Nack, chunk 0 may have begun it anew and ended in one more Nack."""
        marker = self.stream.activate(99)
        while True:
            kind, message = self.stream.next()
            self.assertEqual("nack", kind)
            if message.nonce == marker:
                return
            self.assertEqual(nonce, message.nonce)

    def test_chunks_that_speak_of_other_things(self):
        size = -(-len(self.second.difference(self.graph).SerializeToString()) // 2)
        for field, value in (("nonce", 77), ("history", OTHER), ("epoch", 5), ("base_epoch", 0),
                             ("digest", bytes(32)), ("chunks", 3), ("features", [])):  # fmt: skip
            first, last = self.stream.stages(self.second, HISTORY, self.graph, chunk=size)
            last.ClearField(field)
            if isinstance(value, list):
                last.features.extend(value)
            else:
                setattr(last, field, value)
            for message in (first, last):
                self.stream.send(pb.AgentMessage(stage=message))
            self.refused(last.nonce, pb.BAD_DIGEST, f"chunk 1 and chunk 0 differ in {field}")

    def test_stages_of_impossible_form(self):
        for fields, words in (
            ({"digest": b"x"}, "digest that is not 32 bytes"),
            ({"epoch": 1, "base_epoch": 1}, "an epoch that is not above its base"),
            ({"follows": pb.Follows(history=b"y")}, "history to follow"),
            ({"features": ["graph.1"] * 65}, "more than 64 features"),
        ):
            nonce = self.stream.stage(self.second, HISTORY, self.graph, **fields)
            self.refused(nonce, pb.BAD_DIGEST, words)
        self.refused(self.stream.stage(self.second, b"x", self.graph), pb.BAD_DIGEST,
                     "history that is not 16 bytes")  # fmt: skip
        for chunk, chunks, payload in ((0, 0, b"x"), (1, 1, b"x"), (0, 65537, b"x"),
                                       (0, 2, b""), (0, 1, bytes(CHUNK + 1))):  # fmt: skip
            message = self.stream.stages(self.second, HISTORY, self.graph)[0]
            message.chunk, message.chunks, message.payload = chunk, chunks, payload
            self.stream.send(pb.AgentMessage(stage=message))
            self.refused(message.nonce, pb.BAD_DIGEST, "")

    def test_what_cannot_be_read_ends_the_stream(self):
        self.stream.send(b"\x0a\xff\xff")
        self.stream.ended()
        self.stream = self.agent.stream()
        self.assertEqual([1], [h.epoch for h in self.stream.hello.held])

    def test_messages_and_fields_of_newer_agents_are_left_alone(self):
        self.stream.send(b"\xf2\x07\x02\x08\x01")  # field 126 of AgentMessage
        stage = self.stream.stages(self.second, HISTORY, self.graph)[0]
        later = stage.SerializeToString() + b"\xf2\x07\x01x"
        head = b"\x0a" + len(later).to_bytes(1, "little") if len(later) < 128 else None
        if head is None:
            head = b"\x0a" + bytes([len(later) & 127 | 128, len(later) >> 7])
        self.stream.send(head + later)
        self.stream.acked(stage.nonce, pb.STAGED, 2)
        counted = self.proxy.counters().get("offshoot_agent_unreadable_total")
        self.assertEqual(1, counted)


class Limits(FedCase):
    def config(self, size):
        return "-c", self.write("proxy.yaml", f"limits: {{snapshotBytes: {size}}}\n")

    def test_a_difference_above_the_limit(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph, *self.config("1MiB"))
        big = graph.next().environment(1, "big", parents=["main"], owner="o" * 65000)
        for number in range(2, 30):
            big.environment(number, f"big-{number}", parents=["main"], owner="o" * 65000)
        text = stream.nacked(stream.stage(big, HISTORY, graph), pb.TOO_BIG)
        self.assertIn("above limits.snapshotBytes (1048576)", text)
        stream.put(graph.next(), HISTORY, graph)
        self.assertEqual(1, proxy.counters().get("offshoot_nacks_total", reason="too-big"))

    def test_a_graph_whose_memory_is_above_the_limit(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph, *self.config("1MiB"))
        wide = graph.next()
        for page in range(1, 200):
            wide.environment(page * 256, f"far-{page}", parents=["main"])
        text = stream.nacked(stream.stage(wide, HISTORY, graph), pb.TOO_BIG)
        self.assertIn("bytes of memory, above limits.snapshotBytes", text)
        self.assertEqual(["main"], self.environments(proxy))


class Histories(FedCase):
    def test_a_history_that_follows_ours(self):
        graph = Graph.shop(self.provider().address, epoch=9)
        proxy, stream = self.fed(graph)
        other = Graph.shop(self.provider().address, epoch=3)
        follows = pb.Follows(history=HISTORY, epoch=9)
        nonce = stream.stage(other, OTHER, follows=follows)
        stream.acked(nonce, pb.STAGED, 3)
        self.assertEqual(9, proxy.admin_json("/status")["epoch"])
        stream.acked(stream.activate(3), pb.ACTIVE, 3)
        status = self.status(proxy)
        self.assertEqual((OTHER.hex(), [3], 3), (status["history"], status["held"],
                                                 status["acknowledged"]))  # fmt: skip
        self.assertEqual(3, status["last"]["epoch"])
        self.assertLess(0, status["last"]["workers_us"])
        self.assertIn("this proxy holds", stream.nacked(stream.stage(graph, HISTORY), pb.STALE))
        stream.put(other.next(), OTHER, other)

    def test_an_operator_adopts_another_history(self):
        graph = Graph.shop(self.provider().address, epoch=9)
        proxy, stream = self.fed(graph)
        other = Graph.shop(self.provider().address, epoch=3)
        stream.nacked(stream.stage(other, OTHER), pb.STALE)
        for bad in ("", "?history=xyz", "?history=" + "0" * 31, "?history=" + "g" * 32):
            self.assertEqual(400, proxy.admin("/adopt" + bad, "POST").status)
        self.assertEqual(405, proxy.admin(f"/adopt?history={OTHER.hex()}").status)
        self.assertEqual(200, proxy.admin(f"/adopt?history={OTHER.hex()}", "POST").status)
        stream.ended()
        stream = self.agent.stream()
        self.assertEqual(OTHER.hex(), self.status(proxy)["adopted"])
        stream.put(other, OTHER)
        status = self.status(proxy)
        self.assertEqual((OTHER.hex(), ""), (status["history"], status["adopted"]))
        self.assertIn("this proxy holds", stream.nacked(stream.stage(graph, HISTORY), pb.STALE))

    def test_a_way_back_from_a_history_never_leads_behind_what_is_served(self):
        graph = Graph.shop(self.provider().address, epoch=5)
        proxy, stream = self.fed(graph)
        other = Graph.shop(self.provider().address, epoch=1)
        stream.acked(stream.stage(other, OTHER, follows=pb.Follows(history=HISTORY, epoch=5)),
                     pb.STAGED, 1)  # fmt: skip
        self.assertEqual(200, proxy.admin(f"/adopt?history={HISTORY.hex()}", "POST").status)
        stream.ended()
        stream = self.agent.stream()
        before = Graph.shop(self.provider().address, epoch=3)
        self.assertIn("epoch 3 is not above epoch 5", stream.nacked(
            stream.stage(before, HISTORY), pb.STALE))  # fmt: skip
        changed = Graph.shop(self.provider().address, epoch=5)
        stream.nacked(stream.stage(changed, HISTORY), pb.STALE)
        stream.put(graph, HISTORY)
        stream.put(graph.next(), HISTORY, graph)
        status = self.status(proxy)
        self.assertEqual((HISTORY.hex(), 6, 6), (status["history"], status["active"],
                                                 status["acknowledged"]))  # fmt: skip

    def test_a_new_history_survives_the_loss_of_its_stream(self):
        graph = Graph.shop(self.provider().address, epoch=9)
        _, stream = self.fed(graph)
        other = Graph.shop(self.provider().address, epoch=3)
        stream.stage(other, OTHER, follows=pb.Follows(history=HISTORY, epoch=9))
        stream.next()
        stream.finish(grpc.StatusCode.UNAVAILABLE, "bye")
        stream = self.agent.stream()
        hello = stream.hello
        self.assertEqual((OTHER, [3], 0), (hello.history, [h.epoch for h in hello.held],
                                           hello.active_epoch))  # fmt: skip
        stream.acked(stream.activate(3), pb.ACTIVE, 3)


class Losing(FedCase):
    def test_an_agent_that_goes_away_changes_nothing(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        self.agent.stop()
        eventually(lambda: not self.status(proxy)["connected"])
        self.assertEqual(b"ok", self.ask(proxy).body)
        self.assertEqual(0, proxy.counters().get("offshoot_agent_connected"))
        self.assertIn(b"NOT connected", proxy.admin("/status").body)
        self.agent.start()
        stream = self.agent.stream(30)
        hello = stream.hello
        self.assertEqual((HISTORY, 1), (hello.history, hello.active_epoch))
        self.assertEqual([(1, graph.digest())], [(h.epoch, h.digest) for h in hello.held])
        stream.put(graph.next(), HISTORY, graph)
        self.assertGreaterEqual(proxy.counters().get("offshoot_agent_losses_total"), 1)

    def test_a_stream_that_ends_is_opened_again(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph)
        for code in (grpc.StatusCode.ABORTED, grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED):
            stream.finish(code, "another one came")
            stream = self.agent.stream()
            self.assertEqual(1, stream.hello.active_epoch)
        self.assertIn("UNAUTHENTICATED: another one came", self.status(proxy)["last_loss"])
        stream.put(graph.next(), HISTORY, graph)

    def test_half_a_stage_is_forgotten_with_its_stream(self):
        graph = Graph.shop(self.provider().address)
        _, stream = self.fed(graph)
        second = graph.next()
        first, *rest = stream.stages(second, HISTORY, graph, chunk=20)
        stream.send(pb.AgentMessage(stage=first))
        stream.finish()
        stream = self.agent.stream()
        for message in rest:
            stream.send(pb.AgentMessage(stage=message))
        self.assertIn("chunk 0 was expected", stream.nacked(first.nonce, pb.BAD_DIGEST))
        stream.put(second, HISTORY, graph)

    def test_a_graph_grows_stale_and_is_served_on(self):
        graph = Graph.shop(self.provider().address)
        proxy, stream = self.fed(graph, "--snapshot-ttl", "1s")
        self.assertEqual(0, proxy.counters().get("offshoot_snapshot_stale"))
        eventually(lambda: proxy.counters().get("offshoot_snapshot_stale") == 1)
        self.assertTrue(self.status(proxy)["stale"])
        self.assertIn(b"STALE", proxy.admin("/status").body)
        self.assertEqual(b"ok", self.ask(proxy).body)
        stream.heartbeat(1)
        eventually(lambda: proxy.counters().get("offshoot_snapshot_stale") == 0)

    def test_reload_and_check_have_no_files_to_read(self):
        graph = Graph.shop(self.provider().address)
        proxy, _ = self.fed(graph)
        reply = proxy.admin("/reload", "POST")
        self.assertIn(b"the graph is the agent's: epoch 1", reply.body)
        self.assertEqual({"valid": True, "findings": []}, proxy.admin_json("/check"))
        proxy.signal(signal.SIGHUP)
        self.assertEqual(b"ok", self.ask(proxy).body)


class Tls(FedCase):
    def certificates(self):
        ca, key = self.folder / "ca.pem", self.folder / "ca.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", key, "-out", ca, "-subj", "/CN=test-ca")  # fmt: skip
        return [ca, *self.signed("agent", ca, key), *self.signed("gw", ca, key)]

    def openssl(self, *args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    def signed(self, name, ca, ca_key):
        key, request, cert = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        names = self.write(f"{name}.ext", f"subjectAltName=DNS:{name}.test\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", key, "-out", request, "-subj", f"/CN={name}")  # fmt: skip
        self.openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-out", cert,
                     "-CAcreateserial", "-extfile", names)  # fmt: skip
        return cert, key

    def setUp(self):
        super().setUp()
        self.ca, cert, key, self.cert, self.key = self.certificates()
        pair = (key.read_bytes(), cert.read_bytes())
        self.agent = self.closes(FakeAgent(credentials=grpc.ssl_server_credentials(
            [pair], root_certificates=self.ca.read_bytes(), require_client_auth=True)))  # fmt: skip

    def tls(self, name):
        return ("--agent-cert", self.cert, "--agent-key", self.key, "--agent-ca", self.ca,
                "--agent-name", name)  # fmt: skip

    def test_an_agent_with_the_right_name(self):
        proxy, stream = self.fed(Graph.shop(self.provider().address), *self.tls("agent.test"))
        self.assertIn("x509_common_name", dict(stream.context.auth_context()))
        self.assertEqual(200, proxy.admin("/reload", "POST").status)
        self.cert.write_text("broken")
        reply = proxy.admin("/reload", "POST")
        self.assertEqual(409, reply.status)
        self.assertIn(str(self.cert).encode(), reply.body)

    def test_an_agent_with_another_name(self):
        proxy = self.start_fed(*self.tls("other.test"))
        proxy.line("no agent at .*: dialled again", stream="stderr")
        proxy.signal(signal.SIGTERM)
        self.expect_exit(proxy, 0)
        self.assertTrue(self.agent.streams.empty())

    def test_a_key_that_is_not_there(self):
        self.key.unlink()
        proxy = self.start_fed(*self.tls("agent.test"))
        self.expect_exit(proxy, 1)
        self.assertIn(str(self.key), proxy.errors())


class Pools(FedCase):
    """The digest of every kind of document."""

    def test_documents_of_every_kind(self):
        graph = Graph.shop(self.provider().address)
        graph.service(3, "pay", port=80, protocol=graph_pb.GRPC, hosts=["pay.x"])
        graph.environment(300, "pool", mode=graph_pb.SHARED, priority=-3,
                          provides={"pay": ["pay.internal:80"]})  # fmt: skip
        graph.environment(2, "feat", parents=["main"], use={"shop": "main"}, remove=["pay"],
                          expires=4102444800, owner="me", strict=True,
                          labels=[graph_pb.Label(key="a", value="b")])  # fmt: skip
        proxy, stream = self.fed(graph)
        self.assertEqual(["feat", "main", "pool"], self.environments(proxy))
        second = graph.next().drop(300).gateway("side", routes=[("/", "pay")])
        second.pools_changed = 2
        self.assertIn("several", stream.nacked(stream.stage(second, HISTORY, graph),
                                               pb.INVALID_GRAPH))  # fmt: skip


if __name__ == "__main__":
    unittest.main()
