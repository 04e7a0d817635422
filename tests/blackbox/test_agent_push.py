"""The agent's stream as a proxy that is not ours meets it: every message, right and wrong."""

import shutil
import signal
import subprocess
import threading
import unittest
from pathlib import Path

import grpc

from harness import BUILD, ONE_SHOP, SECONDS, AgentCase, Program, connect, eventually
from outside_proxy import OutsideProxy, graph_pb, pb, peers
from test_grpc import Certificates

CODE = grpc.StatusCode
SHOP = ONE_SHOP % "127.0.0.1:9"


def port(n):
    return SHOP.replace("127.0.0.1:9", f"127.0.0.1:{n}")


class PushCase(AgentCase):
    def proxy(self, agent, node="gw-1", **options):
        return self.closes(OutsideProxy(agent.listen, node, **options))

    def current(self, agent, node="gw-1"):
        """A proxy that is active on the newest epoch."""
        proxy = self.proxy(agent, node).hello()
        while proxy.catch_up() < agent.epoch():
            pass
        eventually(lambda: not peers(self, agent)[node]["behind"])
        return proxy

    def commit(self, agent):
        """Another epoch, by command; its number."""
        self.made = getattr(self, "made", 0) + 1
        return agent.post("/env/create", name=f"made-{self.made}")["epoch"]

    def refusals(self, agent, reason):
        return agent.program.counters().get("offshoot_agent_streams_refused_total", reason=reason)


class TestRound(PushCase):
    def test_first_epoch_comes_whole_and_is_activated(self):
        agent = self.start_agent(SHOP)
        proxy = self.proxy(agent).hello()
        stage = proxy.staged()
        self.assertEqual((1, 0, 1, 16), (stage.epoch, stage.base_epoch, stage.chunks,
                                         len(stage.history)))  # fmt: skip
        self.assertEqual(["graph.1"], list(stage.features))
        self.assertFalse(stage.HasField("follows"))
        graph = agent.get("/graph")
        self.assertEqual(graph["history"], stage.history.hex())
        self.assertEqual(graph["digest"], stage.digest.hex())
        difference = graph_pb.Difference.FromString(stage.payload)
        self.assertEqual((0, 1), (difference.base_epoch, difference.epoch))
        proxy.take(stage)
        activate = proxy.expect("activate")
        self.assertEqual(1, activate.epoch)
        self.assertNotIn(activate.nonce, (0, stage.nonce))
        listed = peers(self, agent)["gw-1"]
        self.assertEqual((0, 1, True), (listed["active"], listed["staged"], listed["behind"]))
        proxy.ack(activate, pb.ACTIVE)
        self.assertEqual(1, agent.get("/wait", epoch=1)["proxies"])
        listed = peers(self, agent)["gw-1"]
        self.assertEqual((1, False, 0), (listed["active"], listed["behind"], listed["lag"]))
        self.assertEqual(("gateway", "outside 1"), (listed["role"], listed["version"]))
        self.assertEqual((1.5, 1.5), (listed["stage_ms"], listed["activate_ms"]))

    def test_a_graph_with_newer_keys_asks_for_a_newer_proxy(self):
        newer = SHOP.replace("service: shop}", "service: shop, stripPrefix: true, maxBody: 7}")
        agent = self.start_agent(newer)
        proxy = self.proxy(agent).hello()
        stage = proxy.staged()
        self.assertEqual(["graph.1", "routes.1"], list(stage.features))
        gateway = graph_pb.Difference.FromString(stage.payload).gateways[0].record
        actions = gateway.routes[0].actions
        self.assertEqual((True, 7, ""), (actions.strip_prefix, actions.max_body, actions.host))
        proxy.nack(stage, pb.UNSUPPORTED)
        eventually(lambda: peers(self, agent)["gw-1"]["behind"])

    def test_agent_tells_how_long_an_epoch_took(self):
        agent = self.start_agent(SHOP)
        first, second = self.current(agent, "gw-1"), self.current(agent, "gw-2")
        epoch = self.commit(agent)
        self.assertNotIn("staged_us", agent.get("/epochs")["epochs"][0])
        stages = [first.staged(), second.staged()]
        first.take(stages[0])
        eventually(lambda: agent.get(f"/epochs/{epoch}")["staged"] == 1)
        second.take(stages[1])
        for proxy in (first, second):
            proxy.ack(proxy.expect("activate"), pb.ACTIVE)
        agent.get("/wait", epoch=epoch)
        way = agent.get(f"/epochs/{epoch}")
        self.assertEqual((2, 2), (way["staged"], way["active"]))
        self.assertLess(0, way["staged_us"])
        self.assertLessEqual(way["staged_us"], way["active_us"])

    def test_lists_for_people_have_no_control_characters(self):
        agent = self.start_agent(SHOP)
        proxy = self.proxy(agent).hello()
        proxy.nack(proxy.staged(), pb.INVALID_GRAPH, "a\x1b[2Jb\n\x9b2Jc\x7fd\u00e9")
        eventually(lambda: peers(self, agent)["gw-1"]["last_nack"])
        agent.post("/env/create", name="made", reason="e\x9b31mf\x07")
        for path, said in (("/proxies", "a?[2Jb??2Jc?d\u00e9\n"), ("/epochs", "(e?31mf?)\n")):
            listed = agent.program.admin(path).body.decode()
            self.assertIn(said, listed)
            self.assertTrue(all(c == "\n" or c.isprintable() for c in listed), listed)

    def test_answers_to_nothing_are_in_no_figure(self):
        agent = self.start_agent(SHOP)
        first, second = self.current(agent, "gw-1"), self.current(agent, "gw-2")
        epoch = self.commit(agent)
        stages = [first.staged(), second.staged()]
        for nonce in (0, stages[1].nonce + 1000):
            second.ack(stages[1], pb.STAGED, nonce=nonce)
            second.ack(stages[1], pb.ACTIVE, nonce=nonce)
        second.ack(stages[1], pb.ACTIVE)
        second.take(stages[1])
        second.ack(stages[1], pb.STAGED)  # once more
        first.take(stages[0])
        for proxy in (second, first):
            activate = proxy.expect("activate")
            proxy.ack(activate, pb.ACTIVE)
            proxy.ack(activate, pb.ACTIVE)
        agent.get("/wait", epoch=epoch)
        eventually(lambda: agent.program.counters().get("offshoot_agent_acks_total") == 16)
        way = agent.get(f"/epochs/{epoch}")
        self.assertEqual((2, 2), (way["staged"], way["active"]))

    def test_change_is_a_difference_and_waits_for_all(self):
        agent = self.start_agent(SHOP)
        first, second = self.current(agent, "gw-1"), self.current(agent, "gw-2")
        epoch = self.commit(agent)
        stages = [first.staged(), second.staged()]
        for stage in stages:
            self.assertEqual((epoch, epoch - 1), (stage.epoch, stage.base_epoch))
        first.take(stages[0])
        first.nothing(0.2)
        second.take(stages[1])
        for proxy in (first, second):
            self.assertEqual(epoch, proxy.expect("activate").epoch)

    def test_commits_during_a_round_join(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        first = self.commit(agent)
        stage = proxy.staged()
        for _ in range(4):
            last = self.commit(agent)
        proxy.take(stage)
        self.assertEqual(first, proxy.expect("activate").epoch)
        self.assertEqual((last, first), (lambda s: (s.epoch, s.base_epoch))(proxy.staged()))

    def test_late_proxy_is_named_and_others_go_on(self):
        agent = self.start_agent(SHOP, "--stage-timeout", "1500ms")  # the good one needs far less
        good, mute = self.current(agent, "good"), self.current(agent, "mute")
        epoch = self.commit(agent)
        good.serve()
        late = agent.ask("/wait", epoch=epoch, timeout="4s")
        self.assertEqual(504, late.status)
        self.assertIn(b'"behind":["mute"]', late.body)
        listed = peers(self, agent)
        self.assertTrue(listed["mute"]["late"] and listed["mute"]["behind"])
        self.assertEqual(epoch, listed["good"]["active"])
        self.assertEqual(["mute"], [p["node"] for p in
                                    agent.get("/proxies", behind=1)["proxies"]])  # fmt: skip
        for _ in range(20):
            epoch = self.commit(agent)
        eventually(lambda: peers(self, agent)["good"]["active"] == epoch)
        mute.staged()
        mute.nothing(0.2)  # one Stage was on its way, and stays the only one
        self.assertEqual(1, agent.program.counters().get("offshoot_agent_late_total"))

    def test_late_proxy_catches_up(self):
        agent = self.start_agent(SHOP, "--stage-timeout", "100ms")
        proxy = self.current(agent)
        self.commit(agent)
        stage = proxy.staged()
        eventually(lambda: peers(self, agent)["gw-1"]["late"])
        last = self.commit(agent)
        proxy.take(stage)
        self.assertEqual(stage.epoch, proxy.expect("activate").epoch)
        proxy.serve()
        agent.get("/wait", epoch=last)
        self.assertFalse(peers(self, agent)["gw-1"]["late"])

    def test_older_epochs_are_retired(self):
        agent = self.start_agent(SHOP, "--retire-after", "300ms")
        proxy = self.current(agent)
        proxy.serve()
        for _ in range(5):
            agent.get("/wait", epoch=self.commit(agent))
        eventually(lambda: list(proxy.held) == [6])
        self.assertEqual([], proxy.faults)

    def test_at_most_eight_are_held(self):
        agent = self.start_agent(SHOP)
        most = []
        proxy = self.current(agent)
        proxy.serve(seen=lambda kind, message: most.append(len(proxy.held)))
        for _ in range(20):
            agent.get("/wait", epoch=self.commit(agent))
        self.assertLessEqual(max(most), 8)
        self.assertEqual([], proxy.faults)

    def test_graph_of_many_chunks(self):
        many = SHOP + "".join(
            "---\napiVersion: offshoot.dev/v1\nkind: Environment\n"
            f"metadata: {{name: e{i}}}\nspec: {{mode: overlay, parents: [main], providers: "
            f'{{shop: {{endpoints: ["10.{i // 250}.{i % 250}.1:80"]}}}}}}\n'
            for i in range(12000)
        )
        agent = self.start_agent(many)
        proxy = self.proxy(agent).hello()
        stage = proxy.staged()
        self.assertGreater(stage.chunks, 10)
        difference = graph_pb.Difference.FromString(stage.payload)
        self.assertEqual(1, difference.epoch)
        proxy.take(stage)
        proxy.expect("activate")

    def test_hundred_proxies(self):
        agent = self.start_agent(SHOP)
        proxies = [self.proxy(agent, f"gw-{i}").hello().serve() for i in range(100)]
        eventually(lambda: agent.get("/status")["proxies"]["live"] == 100)
        agent.get("/wait", epoch=1)
        for _ in range(10):
            done = agent.get("/wait", epoch=self.commit(agent))
            self.assertEqual(100, done["proxies"])
        for proxy in proxies:
            self.assertEqual([], proxy.faults)
            self.assertEqual(11, proxy.active)
        counters = agent.program.counters()
        self.assertEqual(1100, counters.get("offshoot_agent_stages_total"))
        self.assertEqual(100, counters.get("offshoot_agent_stage_wholes_total"))

    def test_heartbeats_go_both_ways(self):
        agent = self.start_agent(SHOP, "--heartbeat", "500ms")
        proxy = self.current(agent)
        beats = []

        def beat():
            message = proxy.received.get(timeout=SECONDS)
            if message.WhichOneof("message") == "heartbeat":
                beats.append(message.heartbeat)
            proxy.heartbeat()
            return len(beats) > 3

        eventually(beat)
        self.assertTrue(all(b.epoch == 1 and b.time_unix > 1700000000 for b in beats))
        eventually(lambda: agent.program.counters().get("offshoot_agent_heartbeats_total") > 2)

    def test_silent_proxy_is_dropped(self):
        agent = self.start_agent(SHOP, "--heartbeat", "100ms")
        proxy = self.current(agent)
        said = "the proxy was silent for three heartbeats"
        self.assertEqual((CODE.UNAVAILABLE, said), proxy.end())
        self.assertEqual(1, self.refusals(agent, "silent"))
        self.assertFalse(peers(self, agent)["gw-1"]["connected"])


class TestReturn(PushCase):
    def test_proxy_with_the_newest_gets_nothing(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        held, history = proxy.held, proxy.history
        proxy.close()
        eventually(lambda: not peers(self, agent)["gw-1"]["connected"])
        again = self.proxy(agent)
        again.held, again.history, again.active = held, history, 1
        again.hello().nothing(0.2)
        self.assertFalse(peers(self, agent)["gw-1"]["behind"])

    def test_proxy_gets_the_difference_from_what_it_holds(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        held, history = proxy.held, proxy.history
        proxy.close()
        eventually(lambda: not peers(self, agent)["gw-1"]["connected"])
        for _ in range(3):
            self.commit(agent)
        again = self.proxy(agent)
        again.held, again.history, again.active = held, history, 1
        again.hello()
        self.assertEqual(1, again.staged().base_epoch)

    def test_wrong_digest_of_a_base_brings_the_whole(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        history = proxy.history
        self.commit(agent)
        again = self.proxy(agent, "gw-2")
        again.held, again.history, again.active = {1: bytes(32)}, history, 1
        again.hello()
        self.assertEqual(0, again.staged().base_epoch)

    def test_second_hello_of_a_node_ends_the_first_stream(self):
        agent = self.start_agent(SHOP)
        first = self.current(agent)
        second = self.proxy(agent).hello()
        second.catch_up()
        self.assertEqual(CODE.ABORTED, first.end()[0])
        self.assertEqual(1, self.refusals(agent, "replaced"))
        self.assertEqual(1, agent.get("/status")["proxies"]["live"])

    def test_agent_killed_goes_on_with_the_same_history(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        epoch = self.commit(agent)
        proxy.catch_up()
        agent.kill()
        self.assertEqual(CODE.UNAVAILABLE, proxy.end()[0])
        agent.restart()
        self.assertEqual(epoch, agent.epoch())
        again = self.proxy(agent)
        again.held, again.history, again.active = proxy.held, proxy.history, epoch
        again.hello().nothing(0.2)
        later = self.commit(agent)
        stage = again.staged()
        self.assertEqual((later, epoch), (stage.epoch, stage.base_epoch))

    def test_new_history_names_the_one_it_follows(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        last = self.commit(agent)
        proxy.catch_up()
        agent.restart("--new-history")
        again = self.proxy(agent)
        again.held, again.history, again.active = proxy.held, proxy.history, last
        again.hello()
        stage = again.staged()
        self.assertNotEqual(proxy.history, stage.history)
        self.assertEqual((proxy.history, last), (stage.follows.history, stage.follows.epoch))
        self.assertEqual(0, stage.base_epoch)
        again.take(stage)
        self.assertEqual(stage.epoch, again.expect("activate").epoch)

    def test_history_given_by_hand_is_followed(self):
        held = "0123456789abcdef0123456789abcdef"
        agent = self.start_agent(SHOP, "--new-history", "--follows", f"{held}:77")
        stage = self.proxy(agent).hello().staged()
        self.assertEqual((held, 77), (stage.follows.history.hex(), stage.follows.epoch))


class TestNack(PushCase):
    def refuse(self, reason, text="no"):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        self.commit(agent)
        stage = proxy.staged()
        self.assertEqual(1, stage.base_epoch)
        proxy.nack(stage, reason, text)
        return agent, proxy

    def test_of_a_difference_brings_the_whole_once(self):
        for reason in (pb.BASE_UNKNOWN, pb.BAD_DIGEST, pb.INVALID_GRAPH):
            with self.subTest(reason=reason):
                agent, proxy = self.refuse(reason, 'line "7"')
                whole = proxy.staged()
                self.assertEqual((2, 0), (whole.epoch, whole.base_epoch))
                listed = peers(self, agent)["gw-1"]["last_nack"]
                self.assertEqual(pb.NackReason.Name(reason), listed["reason"])
                self.assertEqual((2, 'line "7"'), (listed["epoch"], listed["text"]))
                proxy.nack(whole, reason)
                proxy.nothing(0.2)
                self.assertEqual(3, self.commit(agent))
                self.assertEqual((3, 1), (lambda s: (s.epoch, s.base_epoch))(proxy.staged()))

    def test_others_are_kept_until_the_next_epoch(self):
        for reason in (pb.TOO_BIG, pb.UNSUPPORTED, pb.STALE, pb.NACK_UNKNOWN):
            with self.subTest(reason=reason):
                agent, proxy = self.refuse(reason)
                proxy.nothing(0.2)
                listed = peers(self, agent)["gw-1"]
                self.assertEqual(reason == pb.STALE, listed["stale"])
                self.assertTrue(listed["behind"])
                self.commit(agent)
                proxy.catch_up()
                eventually(lambda: not peers(self, agent)["gw-1"]["stale"])
                word = pb.NackReason.Name(reason).lower().replace("_", "-").replace("nack-", "")
                self.assertEqual(1, agent.program.counters().get(
                    "offshoot_agent_nacks_total", reason=word))  # fmt: skip

    def test_another_history_is_stale_and_visible(self):
        agent = self.start_agent(SHOP)
        proxy = self.proxy(agent)
        proxy.history, proxy.held, proxy.active = b"another history.", {9: bytes(32)}, 9
        proxy.hello()
        proxy.nack(proxy.staged(), pb.STALE, "I hold another history")
        eventually(lambda: agent.get("/status")["proxies"]["stale"] == 1)
        self.assertEqual(0, agent.get("/status")["proxies"]["slowest_epoch"])

    def test_of_an_activation_brings_the_whole_once(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        self.commit(agent)
        proxy.take(proxy.staged())
        proxy.nack(proxy.expect("activate"), pb.BASE_UNKNOWN)
        whole = proxy.staged()
        self.assertEqual((2, 0), (whole.epoch, whole.base_epoch))
        proxy.take(whole)
        proxy.nack(proxy.expect("activate"), pb.BASE_UNKNOWN)
        proxy.nothing(0.2)

    def test_acks_of_nothing_change_nothing(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        self.commit(agent)
        stage = proxy.staged()
        for nonce, epoch, state in (
            (stage.nonce + 1, 2, pb.STAGED), (stage.nonce, 7, pb.STAGED), (0, 2, pb.STAGED),
            (stage.nonce, 2, pb.ACTIVE), (stage.nonce, 1, pb.RETIRED), (stage.nonce, 2, 0),
            (2**64 - 1, 2**64 - 1, pb.ACTIVE), (stage.nonce, 2, 99),
        ):  # fmt: skip
            proxy.ack(stage, state, epoch=epoch, nonce=nonce)
        proxy.nothing(0.2)
        proxy.take(stage)
        self.assertEqual(2, proxy.expect("activate").epoch)


class TestHello(PushCase):
    def refused(self, agent, code, reason, text, **fields):
        node = fields.pop("node", "gw-1")
        proxy = self.proxy(agent, node)
        before = self.refusals(agent, reason)
        proxy.send(pb.ProxyMessage(hello=pb.Hello(node=node, **fields)))
        got, words = proxy.end()
        self.assertEqual(code, got, words)
        self.assertIn(text, words)
        self.assertEqual(before + 1, self.refusals(agent, reason))

    def test_what_breaks_the_contract_is_refused(self):
        agent = self.start_agent(SHOP)
        digest, own = bytes(32), b"0123456789abcdef"

        def held(*epochs, digest=digest):
            return [pb.Held(epoch=e, digest=digest) for e in epochs]

        for text, fields in (
            ("node", {"node": ""}),
            ("node", {"node": "a b"}),
            ("node", {"node": "ü"}),
            ("node", {"node": "x" * 254}),
            ("node", {"node": "a\nb"}),
            ("role", {"role": 7}),
            ("history", {"history": b"short"}),
            ("history", {"held": held(1)}),
            ("held", {"history": own, "held": held(*range(1, 10))}),
            ("held", {"history": own, "held": held(2, 1)}),
            ("held", {"history": own, "held": held(1, 1)}),
            ("held", {"history": own, "held": held(0)}),
            ("held", {"history": own, "held": held(1, digest=b"x")}),
            ("held", {"history": own, "held": held(1), "active_epoch": 2}),
            ("version", {"version": "v" * 65}),
            ("version", {"version": "a\x1b[2J"}),
            ("region", {"region": "r" * 64}),
            ("gateway", {"gateway": "g" * 64}),
            ("features", {"features": ["f"] * 65}),
            ("workload", {"workload": pb.Workload(service="s" * 64)}),
        ):
            with self.subTest(fields=fields):
                self.refused(agent, CODE.INVALID_ARGUMENT, "bad-hello", text, **fields)
        self.assertEqual([], agent.get("/proxies")["proxies"])

    def test_another_message_first_is_refused(self):
        agent = self.start_agent(SHOP)
        for message in (pb.ProxyMessage(heartbeat=pb.Heartbeat()), pb.ProxyMessage(),
                        pb.ProxyMessage(ack=pb.Ack(nonce=1, epoch=1, state=pb.STAGED)),
                        pb.ProxyMessage(nack=pb.Nack(nonce=1, epoch=1))):  # fmt: skip
            proxy = self.proxy(agent)
            proxy.send(message)
            code, text = proxy.end()
            self.assertEqual((CODE.INVALID_ARGUMENT, "Hello comes first"), (code, text))
        self.assertEqual(4, self.refusals(agent, "no-hello"))

    def test_stream_that_ends_before_hello(self):
        agent = self.start_agent(SHOP)
        proxy = self.proxy(agent)
        proxy.send(None)
        self.assertEqual(CODE.INVALID_ARGUMENT, proxy.end()[0])

    def test_second_hello_on_a_stream_is_refused(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        proxy.hello()
        code, text = proxy.end()
        self.assertEqual(CODE.INVALID_ARGUMENT, code)
        self.assertIn("second Hello", text)
        self.assertEqual(1, self.refusals(agent, "hello-twice"))
        eventually(lambda: not peers(self, agent)["gw-1"]["connected"])

    def test_bytes_that_are_no_message(self):
        agent = self.start_agent(SHOP)
        for raw in (b"\xff\xff\xff", b"\x0a\x7f", b"\x0a\x02\x0a\x05", b"\x08" + b"\x80" * 11):
            proxy = self.proxy(agent)
            proxy.send(raw)
            self.assertEqual(CODE.INVALID_ARGUMENT, proxy.end()[0], raw)
        self.assertEqual(4, self.refusals(agent, "malformed"))

    def test_message_above_the_limit(self):
        agent = self.start_agent(SHOP)
        proxy = self.proxy(agent)
        proxy.send(b"\x0a" + b"x" * (1 << 20))
        self.assertEqual(CODE.RESOURCE_EXHAUSTED, proxy.end()[0])

    def test_unknown_fields_and_messages_are_left_alone(self):
        agent = self.start_agent(SHOP)
        proxy = self.proxy(agent)
        hello = proxy.hello_message(region="eu", gateway="edge").SerializeToString()
        hello += b"\xf2\x06\x05later"  # field 110, bytes
        proxy.send(b"\x0a" + bytes([len(hello)]) + hello + b"\xd0\x3e\x01")  # and field 1002
        proxy.send(b"\xf2\x06\x05later")  # a message that is not known
        proxy.send(b"")  # none at all
        proxy.catch_up()
        eventually(lambda: peers(self, agent)["gw-1"]["active"] == 1)
        listed = peers(self, agent)["gw-1"]
        self.assertEqual(("eu", "edge"), (listed["region"], listed["gateway"]))
        self.assertEqual(2, agent.program.counters().get("offshoot_agent_unknown_messages_total"))

    def test_sidecar_tells_its_workload(self):
        agent = self.start_agent(SHOP)
        proxy = self.proxy(agent, "node/cart:1")
        proxy.hello(role=pb.SIDECAR, workload=pb.Workload(service="cart", environment="main"))
        proxy.catch_up()
        listed = peers(self, agent)["node/cart:1"]
        self.assertEqual(("sidecar", "cart", "main"), tuple(
            listed[k] for k in ("role", "service", "environment")))  # fmt: skip

    def test_node_that_is_not_allowed(self):
        agent = self.start_agent(SHOP, "--allow", "edge-*", "--allow", "one")
        self.current(agent, "edge-7")
        self.current(agent, "one")
        for node in ("two", "ones", "my-edge-7"):
            self.refused(agent, CODE.PERMISSION_DENIED, "not-allowed", "proxies.allow", node=node)
        self.assertEqual({"edge-7", "one"}, set(peers(self, agent)))

    def test_limit_of_proxies(self):
        flags = self.write("agent.yaml", "limits: {proxies: 2}\n")
        agent = self.start_agent(SHOP, "-c", flags)
        self.current(agent, "a")
        self.current(agent, "b")
        self.refused(agent, CODE.RESOURCE_EXHAUSTED, "limit", "limits.proxies", node="c")
        again = self.proxy(agent, "b").hello()  # it only takes its own place
        again.catch_up()


class TestDescriptors(PushCase):
    files = 200

    def start(self, name, *args, ready=True, env=None):
        """With few descriptors."""
        command = ["prlimit", f"--nofile={self.files}:{self.files}", BUILD / name, *args]
        program = Program(command, self.folder, env)
        self.programs.append(program)
        return program.wait_ready() if ready else program

    def test_connections_leave_some_for_files_and_commands(self):
        agent = self.start_agent(SHOP)
        agent.program.line("the limit of open files is 200: at most 100 ", stream="stderr")
        proxy = self.current(agent)
        crowd = [self.closes(connect(agent.listen)) for _ in range(2 * self.files)]
        refused = "offshoot_agent_connections_refused_total"
        eventually(lambda: agent.program.counters().get(refused) > self.files)
        self.assertEqual(2, self.commit(agent))
        self.assertEqual(2, proxy.catch_up())
        for stream in crowd:
            stream.close()


class TestTransport(PushCase):
    def test_unix_socket(self):
        agent = self.start_agent(SHOP, listen=f"unix:{self.folder}/p.sock")
        self.current(agent)
        self.assertEqual(0o600, (self.folder / "p.sock").stat().st_mode & 0o777)

    def test_proxy_that_is_killed_is_noticed(self):
        agent = self.start_agent(SHOP)
        proxy = self.current(agent)
        proxy.close()
        eventually(lambda: not peers(self, agent)["gw-1"]["connected"])
        self.assertEqual(0, agent.get("/status")["proxies"]["live"])

    def test_streams_that_come_and_go_from_many_threads(self):
        agent = self.start_agent(SHOP)
        faults = []

        def run(n):
            try:
                for i in range(10):
                    proxy = OutsideProxy(agent.listen, f"gw-{n}-{i % 2}").hello()
                    proxy.catch_up()
                    proxy.close()
            except AssertionError as e:
                faults.append(e)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for _ in range(20):
            self.commit(agent)
        for t in threads:
            t.join()
        self.assertEqual([], faults)
        eventually(lambda: agent.get("/status")["proxies"]["live"] == 0)


class TestTls(PushCase):
    def setUp(self):
        super().setUp()
        self.ca, self.other = Certificates(self.folder), Certificates(self.folder, "other")
        self.own = self.ca.make("agent", "DNS:agent.test")
        cert, key, ca = self.own
        self.agent = self.start_agent(
            SHOP, "--tls-cert", cert, "--tls-key", key, "--tls-ca", ca, "--allow", "gw-*",
            listen="127.0.0.1:0,tls")  # fmt: skip

    def tls_proxy(self, node, certificate=None, ca=None):
        cert, key = (Path(p).read_bytes() for p in certificate[:2]) if certificate else (None, None)
        credentials = grpc.ssl_channel_credentials(Path(ca or self.own[2]).read_bytes(), key, cert)
        return self.proxy(self.agent, node, credentials=credentials,
                          options=[("grpc.ssl_target_name_override", "agent.test")])  # fmt: skip

    def test_node_is_one_of_the_names_of_its_certificate(self):
        made = self.ca.make("gw", "DNS:gw-1,URI:spiffe://mesh/gw-2,DNS:other-name")
        for node in ("gw-1",):
            self.tls_proxy(node, made).hello().catch_up()
        for node, reason in (("gw-2", "certificate"), ("gw-9", "certificate"),
                             ("other-name", "not-allowed")):  # fmt: skip
            code, text = self.tls_proxy(node, made).hello().end()
            self.assertEqual(CODE.PERMISSION_DENIED, code, text)
            self.assertIn(node, text)
            self.assertGreater(self.refusals(self.agent, reason), 0)
        self.assertEqual({"gw-1"}, set(peers(self, self.agent)))

    def test_common_name_counts_where_there_is_no_other(self):
        self.tls_proxy("gw-cn", self.ca.make("gw-cn")).hello().catch_up()

    def test_certificate_of_another_authority_or_none(self):
        for certificate in (None, self.other.make("gw-1", "DNS:gw-1")):
            self.assertEqual(CODE.UNAVAILABLE, self.tls_proxy("gw-1", certificate).hello().end()[0])
        eventually(lambda: self.agent.program.counters().get(
            "offshoot_agent_handshakes_failed_total") >= 2)  # fmt: skip

    def test_expired_certificate(self):
        _, key, ca = self.ca.make("gw-old")
        request, expired = self.folder / "request.pem", self.folder / "expired.pem"
        for command in (
            ["req", "-new", "-key", key, "-subj", "/CN=gw-1", "-out", request],
            ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca.with_suffix(".key"),
             "-set_serial", "7", "-days", "0", "-out", expired],
        ):  # fmt: skip
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        over = ["openssl", "x509", "-in", expired, "-noout", "-checkend", "0"]
        eventually(lambda: subprocess.run(over, capture_output=True, check=False).returncode == 1)
        proxy = self.tls_proxy("gw-1", (expired, key)).hello()
        self.assertEqual(CODE.UNAVAILABLE, proxy.end()[0])

    def test_plain_client_at_a_tls_listener(self):
        self.assertEqual(CODE.UNAVAILABLE, self.proxy(self.agent).hello().end()[0])

    def test_certificates_are_read_again(self):
        made = self.ca.make("gw", "DNS:gw-1")
        first = self.tls_proxy("gw-1", made).hello()
        first.catch_up()
        cert, key, _ = self.ca.make("agent-2", "DNS:agent.test,DNS:second")
        Path(self.own[0]).write_text("no certificate")
        self.agent.program.signal(signal.SIGHUP)
        self.agent.program.line(r"certificates from before stay in use", stream="stderr")
        self.tls_proxy("gw-2", self.ca.make("gw-2", "DNS:gw-2")).hello().catch_up()
        shutil.copy(cert, self.own[0])
        shutil.copyfile(key, self.own[1])
        self.agent.program.signal(signal.SIGHUP)
        self.agent.program.line(r"certificates were read again", stream="stderr")
        self.tls_proxy("gw-3", self.ca.make("gw-3", "DNS:gw-3")).hello().catch_up()
        first.nothing(0.1)  # what is up stays up


if __name__ == "__main__":
    unittest.main()
