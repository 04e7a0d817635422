"""offshoot-agent as an operator meets it: starting, misuse, answers, commands, its death."""

import os
import re
import signal
import threading
import time
import unittest

from checksum import crc32c
from harness import ONE_SHOP, ROOT, AgentCase, Case, connect, eventually, request_bytes

SHOP = ONE_SHOP % "127.0.0.1:9"
BROKEN = SHOP + "---\napiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: x}\n"


def with_environment(name):
    return SHOP + (
        "---\napiVersion: offshoot.dev/v1\nkind: Environment\n"
        f"metadata: {{name: {name}}}\nspec: {{mode: overlay, parents: [main]}}\n"
    )


class TestStart(Case):
    def agent(self, *args):
        done = self.run_program("offshoot-agent", *args)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def refused(self, text, *args):
        status, out, errors = self.agent(*args)
        self.assertEqual((1, ""), (status, out), errors)
        self.assertIn(text, errors)

    def good(self, *more):
        graph = self.write("graph.yaml", SHOP)
        return ["--graph", graph, "--state", self.folder / "state", *more]

    def test_help_names_every_flag(self):
        status, out, _ = self.agent("--help")
        self.assertEqual(0, status)
        for flag in ("graph", "listen", "state", "admin", "allow", "tls-cert", "tls-key", "tls-ca",
                     "metrics", "new-history", "follows", "stage-timeout", "retire-after",
                     "heartbeat", "check-config"):  # fmt: skip
            self.assertIn(f"--{flag} ", out)

    def test_version(self):
        status, out, _ = self.agent("--version")
        self.assertEqual(0, status)
        self.assertRegex(out, r"\Aoffshoot-agent \d+\.\d+\.\d+\n\Z")

    def test_print_config_can_be_read_again(self):
        status, out, _ = self.agent("--print-config", *self.good("--listen", "127.0.0.1:0"))
        self.assertEqual(0, status)
        path = self.write("printed.yaml", out)
        self.assertEqual((0, out), self.agent("--print-config", "-c", path)[:2])

    def test_check_config_judges_graph_and_settings(self):
        good = self.good("--listen", "127.0.0.1:0")
        self.assertEqual((0, "ok\n"), self.agent("--check-config", *good)[:2])
        self.assertFalse((self.folder / "state").exists())
        self.write("graph.yaml", BROKEN)
        self.refused("missing-field", "--check-config", *good)

    def test_misuse(self):
        for text, args in (
            ("no graph", []),
            ("nowhere to listen", ["--graph", "x"]),
            ("no state folder", ["--graph", "x", "--listen", "127.0.0.1:0"]),
            ("did you mean", ["--grahp", "x"]),
            ("do not know what to do with 'serve'", ["serve"]),
            ("not on loopback", self.good("--listen", "10.0.0.1:7400")),
            ("not on loopback", self.good("--listen", "0.0.0.0:7400")),
            ("unknown option 'trusted'", self.good("--listen", "127.0.0.1:0,trusted")),
            ("--tls-cert", self.good("--listen", "127.0.0.1:0,tls")),
            ("at most one *", self.good("--listen", "127.0.0.1:0", "--allow", "a*b*")),
            ("only together with newHistory", self.good("--follows", "ab:1")),
            ("32 hexadecimal", self.good("--new-history", "--follows", "ab:1")),
            ("32 hexadecimal", self.good("--new-history", "--follows", "0" * 32 + ":0")),
            ("retain.epochs", ["-c", self.write("a.yaml", "retain: {epochs: 0}\n")]),
            ("flag --node: node: not 1 to 64", self.good("--node", "a b")),
            ("flag --shadow-through: shadow.through: ", self.good("--shadow-through", "nowhere")),
            ("not an address to connect to", self.good("--shadow-through", "tunnel:x")),
            ("flag --redis: redis: want redis://", self.good("--redis", "http://127.0.0.1:6379")),
            ("--redis-password-file", self.good("--redis", "redis://me:secret@127.0.0.1:6379")),
            ("redisUser: there is no redis", self.good("--redis-user", "me")),
            ("b.yaml:1:17: shadow.bytes is below", ["-c", self.write(
                "b.yaml", "shadow: {bytes: 1MiB, bodyBytes: 1MiB}\n")]),
            ("cannot open key file", ["--check-config", "--keys", self.folder / "none",
                                      *self.good("--listen", "127.0.0.1:0")]),
        ):
            with self.subTest(args=args):
                self.refused(text, *args)

    def test_tls_needs_the_names_of_proxies(self):
        self.refused("--allow", *self.good("--listen", "127.0.0.1:0,tls", "--tls-cert", "c",
                                           "--tls-key", "k", "--tls-ca", "a"))  # fmt: skip

    def test_first_graph_that_is_not_valid_ends_it_with_findings(self):
        args = self.good("--listen", "127.0.0.1:0")
        self.write("graph.yaml", BROKEN)
        self.refused("missing-field", *args)
        self.refused("cannot start without a valid graph", *args)

    def test_address_in_use(self):
        first = self.start("offshoot-agent", *self.good("--listen", "127.0.0.1:0"))
        graph = self.folder / "graph.yaml"
        self.refused("cannot listen", "--graph", graph, "--state", self.folder / "other",
                     "--listen", first.address)  # fmt: skip

    def test_two_agents_never_share_a_state_folder(self):
        args = self.good("--listen", "127.0.0.1:0")
        self.start("offshoot-agent", *args)
        self.refused("state", *args)

    def test_example_configuration_runs(self):
        text = (ROOT / "conf/agent.yaml").read_text()
        for old, new in (("conf/graph", str(ROOT / "conf/graph")),
                         ("127.0.0.1:7400", "127.0.0.1:0"),
                         ("/tmp/offshoot-agent", f"{self.folder}/agent")):  # fmt: skip
            self.assertIn(old, text)
            text = text.replace(old, new)
        agent = self.start("offshoot-agent", "-c", self.write("agent.yaml", text))
        self.assertIn(b"serving, epoch 1\n", agent.admin("/status").body)

    def test_state_folder_is_made_for_its_owner_alone(self):
        self.start("offshoot-agent", *self.good("--listen", "127.0.0.1:0"))
        self.assertEqual(0o700, (self.folder / "state").stat().st_mode & 0o777)


class TestAnswers(AgentCase):
    def test_status(self):
        agent = self.start_agent(SHOP, "--metrics", "127.0.0.1:0")
        status = agent.get("/status")
        for key, value in {
            "program": "offshoot-agent", "pid": agent.program.pid, "epoch": 1, "environments": 1,
            "services": 1, "held": False, "held_since_epoch": None, "own_environments": 0,
            "own_stuck": 0, "listeners": [agent.listen], "expiring": [],
        }.items():  # fmt: skip
            self.assertEqual(value, status[key], key)
        self.assertEqual((True, 0, 0, 1), tuple(
            status["graph"][k] for k in ("valid", "errors", "warnings", "files")))  # fmt: skip
        self.assertEqual({"epochs": 1, "oldest": 1}, {
            k: status["log"][k] for k in ("epochs", "oldest")})  # fmt: skip
        self.assertIsNone(status["proxies"]["slowest_epoch"])
        self.assertRegex(status["history"], r"\A[0-9a-f]{32}\Z")
        self.assertIn(status["history"], agent.program.admin("/status").body.decode())

    def test_questions_about_the_graph_at_any_epoch(self):
        agent = self.start_agent(SHOP)
        agent.post("/env/create", name="feat-1", set="shop=127.0.0.1:99")
        now = agent.get("/resolve", env="feat-1", service="shop")
        self.assertEqual(("provider", "local", 2, ["127.0.0.1:99"]), (
            now["outcome"], now["class"], now["epoch"], now["endpoints"]))  # fmt: skip
        then = agent.get("/resolve", env="feat-1", service="shop", epoch=1)
        self.assertEqual(("refused", "unknown-environment", 1), (
            then["outcome"], then["refusal"], then["epoch"]))  # fmt: skip
        self.assertEqual(2, len(agent.get("/environments")["environments"]))
        self.assertEqual(1, len(agent.get("/environments", epoch=1)["environments"]))
        self.assertIn("no environment", agent.refused("/environments/feat-1", 404, "GET", epoch=1))
        explained = agent.get("/explain", host="x", path="/")
        self.assertEqual("provider", explained["outcome"])
        self.assertEqual(1, agent.get("/explain", host="x", path="/", epoch=1)["epoch"])
        self.assertIn("no Gateway named", agent.refused(
            "/explain", 400, "GET", path="/", gateway="none"))  # fmt: skip
        for path in ("/resolve?env=main&service=shop&", "/environments?", "/graph?"):
            self.assertIn("not kept", agent.refused(f"{path}epoch=99", 404, "GET"))
            self.assertIn("not a number", agent.refused(f"{path}epoch=x", 400, "GET"))

    def test_epochs_say_who_why_and_what(self):
        agent = self.start_agent(SHOP)
        agent.post("/env/create", name="feat-1", reason="to see")
        listed = agent.get("/epochs")
        self.assertEqual([2, 1], [e["epoch"] for e in listed["epochs"]])
        newest = listed["epochs"][0]
        self.assertEqual(("create", f"uid {os.getuid()}", "to see", 1, 0), (
            newest["kind"], newest["who"], newest["why"], newest["environments_added"],
            newest["environments_removed"]))  # fmt: skip
        self.assertIn("feat-1", newest["what"])
        self.assertLessEqual(newest.items(), agent.get("/epochs/2").items())
        self.assertEqual([2], [e["epoch"] for e in agent.get("/epochs", limit=1)["epochs"]])
        self.assertIn("not kept", agent.refused("/epochs/7", 404, "GET"))
        self.assertIn("NUMBER", agent.refused("/epochs/x", 400, "GET"))
        difference = agent.get("/diff", **{"from": 1, "to": 2})
        self.assertEqual(["feat-1"], difference["environments"]["added"])
        self.assertTrue(agent.get("/diff", **{"from": 2})["equal"])
        self.assertIn("not kept", agent.refused("/diff", 404, "GET", **{"from": 9}))
        self.assertIn("want", agent.refused("/diff", 400, "GET"))

    def test_counters_configuration_and_list_of_routes(self):
        agent = self.start_agent(SHOP)
        self.assertEqual(1, agent.program.counters().get("offshoot_graph_epoch"))
        self.assertIn('offshoot_agent_commits_total{kind="files"}', agent.get("/counters"))
        self.assertIn("retain.epochs: 1000", agent.program.admin("/config").body.decode())
        routes = agent.program.admin("/").body.decode()
        for route in re.findall(r"^\| `(?:GET|POST) (/[a-z/-]*)", self.page(), re.M):
            self.assertIn(f" {route} ", routes)

    def page(self):
        return (ROOT / "docs/agent-admin.md").read_text()

    def test_answers_have_the_keys_of_the_page(self):
        agent = self.start_agent(SHOP)
        for path in ("/status", "/graph"):
            documented = next(
                line for line in self.page().splitlines() if line.startswith(f"| `GET {path}")
            )
            first = documented.split("| `{", 1)[1].split("}` ", 1)[0]
            for key in agent.get(path):
                if key != "proxies":
                    self.assertIn(f'"{key}"', first)

    def test_metrics_address_serves_nothing_else(self):
        agent = self.start_agent(SHOP, "--metrics", "127.0.0.1:0")
        for path, status in (("/metrics", 200), ("/live", 200), ("/ready", 200),
                             ("/status", 404), ("/epochs", 404)):  # fmt: skip
            with connect(agent.program.ready["metrics"][0]) as stream:
                reply = stream.ask(request_bytes("GET", path, "x", [("Connection", "close")]))
            self.assertEqual(status, reply.status, path)

    def test_get_changes_nothing_and_post_answers_no_questions(self):
        agent = self.start_agent(SHOP)
        for path in ("/env/create?name=x", "/rollback?epoch=1", "/resume", "/reload"):
            self.assertEqual(405, agent.ask(path).status)
        self.assertEqual(405, agent.ask("/status", "POST").status)
        self.assertEqual(1, agent.epoch())

    def test_log_level(self):
        agent = self.start_agent(SHOP)
        self.assertEqual({"level": "debug"}, agent.post("/log-level", level="debug"))
        agent.refused("/log-level", 400, level="loud")


class TestWait(AgentCase):
    def test_without_proxies_it_is_over_at_once(self):
        agent = self.start_agent(SHOP)
        done = agent.get("/wait", epoch=1)
        self.assertEqual((1, 0), (done["epoch"], done["proxies"]))
        self.assertIn("no epoch 2 yet", agent.refused("/wait", 404, "GET", epoch=2))
        for timeout in ("301s", "x"):
            agent.refused("/wait", 400, "GET", timeout=timeout)

    def test_many_wait_and_one_more_is_refused(self):
        from outside_proxy import OutsideProxy

        agent = self.start_agent(SHOP)
        proxy = self.closes(OutsideProxy(agent.listen)).hello()
        stage = proxy.staged()
        answers = []

        def wait():
            answers.append(agent.ask("/wait?epoch=1&timeout=60s").status)

        threads = [threading.Thread(target=wait) for _ in range(60)]
        for t in threads:
            t.start()
        eventually(lambda: agent.program.counters().get("offshoot_agent_waits") == 60)
        self.assertEqual([], answers)
        proxy.take(stage)
        proxy.ack(proxy.expect("activate"), 2)
        for t in threads:
            t.join()
        self.assertEqual([200] * 60, answers)
        self.assertEqual(0, agent.program.counters().get("offshoot_agent_waits"))

    def test_who_waits_when_the_agent_ends_is_told(self):
        from outside_proxy import OutsideProxy

        agent = self.start_agent(SHOP)
        self.closes(OutsideProxy(agent.listen)).hello().staged()
        stream = self.closes(connect(agent.admin))
        stream.send(request_bytes("GET", "/wait?epoch=1", "x"))
        eventually(lambda: agent.program.counters().get("offshoot_agent_waits") == 1)
        agent.stop()  # and everything was given back


class TestCommands(AgentCase):
    def test_create_set_extend_delete(self):
        agent = self.start_agent(SHOP)
        made = agent.post("/env/create", name="feat-1", set="shop=127.0.0.1:91", **{"for": "4h"})
        self.assertEqual((2, True, "feat-1"), (made["epoch"], made["changed"],
                                               made["environment"]))  # fmt: skip
        self.assertAlmostEqual(4 * 3600, self.seconds_until(made["expires"]), delta=60)
        self.assertEqual(1, agent.get("/status")["own_environments"])
        self.assertEqual("feat-1", agent.get("/status")["expiring"][0]["environment"])
        self.assertEqual(["127.0.0.1:91"], self.endpoints(agent, "feat-1"))
        agent.post("/env/set", name="feat-1", set="shop=127.0.0.1:92")
        self.assertEqual(["127.0.0.1:92"], self.endpoints(agent, "feat-1"))
        agent.post("/env/set", name="feat-1", drop="shop")
        self.assertEqual(["127.0.0.1:9"], self.endpoints(agent, "feat-1"))
        longer = agent.post("/env/extend", name="feat-1", **{"for": "9h"})
        self.assertAlmostEqual(9 * 3600, self.seconds_until(longer["expires"]), delta=60)
        gone = agent.post("/env/delete", name="feat-1", reason="done")
        self.assertEqual((True, None), (gone["changed"], gone["expires"]))
        self.assertEqual("unknown-environment", agent.get(
            "/resolve", env="feat-1", service="shop")["refusal"])  # fmt: skip
        log = agent.program.errors()
        self.assertEqual(5, log.count(f"by uid {os.getuid()})"), log)

    def seconds_until(self, text):
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - time.time()

    def endpoints(self, agent, env):
        return agent.get("/resolve", env=env, service="shop")["endpoints"]

    def test_same_command_twice_changes_nothing(self):
        agent = self.start_agent(SHOP)
        first = agent.post("/env/create", name="a", set="shop=127.0.0.1:91")
        again = agent.post("/env/set", name="a", set="shop=127.0.0.1:91")
        self.assertEqual((first["epoch"], False), (again["epoch"], again["changed"]))

    def test_what_is_refused_changes_nothing(self):
        agent = self.start_agent(with_environment("of-a-file"))
        agent.post("/env/create", name="own")
        for status, path, params in (
            (400, "/env/create", {}),
            (400, "/env/create", {"name": "a", "for": "soon"}),
            (400, "/env/create", {"name": "a", "access": "secret"}),
            (400, "/env/extend", {"name": "own"}),
            (400, "/rollback", {}),
            (400, "/rollback", {"epoch": "x"}),
            (409, "/env/create", {"name": "Not A Name"}),
            (409, "/env/create", {"name": "own", "set": "shop=127.0.0.1:99"}),
            (409, "/env/create", {"name": "of-a-file"}),
            (409, "/env/create", {"name": "a", "set": "shop"}),
            (409, "/env/create", {"name": "a", "set": "shop=nowhere"}),
            (409, "/env/create", {"name": "a", "set": "unknown-service=127.0.0.1:9"}),
            (409, "/env/create", {"name": "a", "parent": "nobody"}),
            (409, "/env/create", {"name": "a", "set": f"shop={agent.listen}"}),
            (409, "/env/create", {"name": "a", "for": "100d"}),
            (409, "/env/delete", {"name": "of-a-file"}),
            (404, "/env/delete", {"name": "nobody"}),
            (404, "/rollback", {"epoch": 77}),
        ):
            with self.subTest(path=path, params=params):
                self.assertTrue(agent.refused(path, status, **params))
        self.assertEqual(2, agent.epoch())
        self.assertGreater(agent.program.counters().get("offshoot_agent_changes_refused_total"), 9)

    def test_command_survives_a_sudden_death(self):
        agent = self.start_agent(SHOP)
        for i in range(20):
            made = agent.post("/env/create", name=f"e{i}", set=f"shop=127.0.0.1:{1000 + i}")
            if i % 5 == 4:
                agent.kill()
                agent.restart()
            self.assertEqual(made["epoch"], agent.epoch())
        self.assertEqual(20, agent.get("/status")["own_environments"])
        self.assertEqual(["127.0.0.1:1019"], self.endpoints(agent, "e19"))

    def test_environment_ends_on_time_and_is_taken_away(self):
        flags = self.write("agent.yaml", "own: {keep: 1s}\n")
        agent = self.start_agent(SHOP, "-c", flags)
        agent.post("/env/create", name="short", set="shop=127.0.0.1:91", **{"for": "1s"})
        self.assertEqual("provider", agent.get("/resolve", env="short", service="shop")["outcome"])
        eventually(lambda: agent.get(
            "/resolve", env="short", service="shop")["refusal"] == "expired")  # fmt: skip
        eventually(lambda: agent.get("/epochs")["epochs"][0]["kind"] == "expiry")
        self.assertEqual(0, agent.get("/status")["own_environments"])
        self.assertEqual("agent", agent.get("/epochs")["epochs"][0]["who"])

    def test_rollback_holds_until_resume(self):
        agent = self.start_agent(SHOP)
        path = self.folder / "graph-0.yaml"
        agent.post("/env/create", name="feat-1")
        back = agent.post("/rollback", epoch=1, reason="it broke")
        self.assertEqual((3, True, True), (back["epoch"], back["changed"], back["held"]))
        self.assertEqual(1, agent.get("/status")["environments"])
        self.assertEqual((True, 3), (lambda s: (s["held"], s["held_since_epoch"]))(
            agent.get("/status")))  # fmt: skip
        path.write_text(with_environment("from-file"))
        self.assertIn("held", agent.refused("/reload", 409))
        self.assertIn("held", agent.refused("/env/create", 409, name="other"))
        self.assertEqual(3, agent.epoch())
        noted = agent.post("/env/delete", name="feat-1", **{"while-held": "1"})
        self.assertEqual((4, True, True), (noted["epoch"], noted["changed"], noted["held"]))
        agent.kill()
        agent.restart()  # still held
        self.assertTrue(agent.get("/status")["held"])
        self.assertEqual(1, agent.get("/status")["environments"])
        on = agent.post("/resume")
        self.assertEqual((True, False), (on["changed"], on["held"]))
        names = {e["environment"] for e in agent.get("/environments")["environments"]}
        self.assertEqual({"main", "from-file"}, names)


class TestFiles(AgentCase):
    def setUp(self):
        super().setUp()
        self.agent = self.start_agent(SHOP)
        self.path = self.folder / "graph-0.yaml"

    def test_change_is_seen(self):
        self.path.write_text(with_environment("a"))
        eventually(lambda: self.agent.epoch() == 2)

    def test_change_by_rename_is_seen(self):
        self.write("new.yaml", with_environment("a")).rename(self.path)
        eventually(lambda: self.agent.epoch() == 2)

    def test_invalid_files_keep_the_last_good_epoch(self):
        self.path.write_text(BROKEN)
        eventually(lambda: not self.agent.get("/status")["graph"]["valid"])
        self.assertEqual(1, self.agent.epoch())
        self.assertFalse(self.agent.get("/check")["valid"])
        self.assertIn("not valid", self.agent.refused("/reload", 409))
        self.assertEqual(1, self.agent.program.counters().get("offshoot_graph_invalid"))
        self.assertIn("NOT valid", self.agent.program.admin("/status").body.decode())
        self.path.write_text(with_environment("a"))
        eventually(lambda: self.agent.epoch() == 2)
        self.assertTrue(self.agent.get("/status")["graph"]["valid"])

    def test_invalid_files_do_not_keep_it_down(self):
        self.agent.kill()
        self.path.write_text(BROKEN)
        self.agent.restart()
        status = self.agent.get("/status")
        self.assertEqual((1, False), (status["epoch"], status["graph"]["valid"]))

    def test_reload_and_hangup(self):
        self.assertEqual({"epoch": 1, "changed": False}, self.agent.post("/reload"))
        self.path.write_text(with_environment("a"))
        self.agent.program.signal(signal.SIGHUP)
        eventually(lambda: self.agent.epoch() == 2)

    def test_restart_without_a_change_keeps_epoch_and_history(self):
        history = self.agent.get("/status")["history"]
        self.agent.restart()
        status = self.agent.get("/status")
        self.assertEqual((1, history), (status["epoch"], status["history"]))

    def test_new_history(self):
        history = self.agent.get("/status")["history"]
        self.agent.post("/env/create", name="own")
        self.agent.restart("--new-history")
        status = self.agent.get("/status")
        self.assertEqual(3, status["epoch"])  # above all of the one it follows
        self.assertNotEqual(history, status["history"])
        names = os.listdir(self.folder / "agent-0")
        self.assertTrue([n for n in names if history in n], names)
        self.agent.restart()
        self.assertEqual(status["history"], self.agent.get("/status")["history"])

    def test_state_folder_of_a_newer_version_is_refused(self):
        self.agent.stop()
        log = self.folder / "agent-0" / "graph.log"
        self.newer(log)
        done = self.run_program("offshoot-agent", *self.agent.flags, "--listen", "127.0.0.1:0")
        self.assertEqual(1, done.returncode)
        self.assertIn(b"version", done.stderr)

    def newer(self, path):
        """Sets begin.version in the log's first record to 2, with the checksum that belongs to it.
        A record is length, CRC32C of length, type and payload, type, payload; it follows a header
        of 16 bytes."""
        data = bytearray(path.read_bytes())
        length = int.from_bytes(data[16:20], "little")
        record = data[16 : 28 + length]
        checked = record[:4] + record[8:]
        self.assertEqual(crc32c(checked), int.from_bytes(record[4:8], "little"))
        at = record.index(b"\x08\x01\x12\x10", 12)  # version = 1, history of 16 bytes
        record[at + 1] = 2
        record[4:8] = crc32c(record[:4] + record[8:]).to_bytes(4, "little")
        data[16 : 28 + length] = record
        path.write_bytes(data)

    def test_damaged_log_is_refused_with_the_place(self):
        for i in range(5):
            self.agent.post("/env/create", name=f"e{i}")
        self.agent.stop()
        log = self.folder / "agent-0" / "graph.log"
        data = bytearray(log.read_bytes())
        data[len(data) // 2] ^= 4
        log.write_bytes(data)
        done = self.run_program("offshoot-agent", *self.agent.flags, "--listen", "127.0.0.1:0")
        self.assertEqual(1, done.returncode)
        self.assertIn(b"graph.log", done.stderr)


if __name__ == "__main__":
    unittest.main()
