"""The demo as a test: it ends well, tells what it is to tell, and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"
BUILD = Path(os.environ.get("OFFSHOOT_BUILD", ROOT / "build")).resolve()
LIMIT = 500  # seconds; a run takes thirty, sanitizers make it slower

sys.path.insert(0, str(DEMO))
import fleet  # noqa: E402  (its folder is not a package)
import shopclient  # noqa: E402
import steps  # noqa: E402
import traffic  # noqa: E402

# What a run tells, in this order: first with a gateway on files, then with an agent.
FILES = (
    r"^  pricing +main local +team-a local +team-a ancestor ",
    r"^  checkout +main local +main baseline +team-b explicit ",
    r"^  recommendations +tools shared ",
    r"^  legacy-promo +main local +main baseline +removed ",
    r"^  http://feat-42\.preview\.localhost/promo +404 +removed",
    r"^  http://feat-99\.preview\.localhost/ +404 +unknown-environment",
    r"^  pricing in feat-42 +team-a +feat-42 +\d+ ms after the edit",
    r"^  pricing in team-a +team-a +main +\d+ ms after the edit",
    r"^  Requests go on with the last good graph",
    r"^  feat-42 +502 +connect",
)
AGENT = (
    r"^From here on an agent holds the graph",
    r"^    every proxy is on epoch 1$",
    r"^  \$ offshootctl --socket agent\.sock env create feat-7 --parent team-a --set cart=127\S+ "
    r"--for 4h .*--wait$",
    r"^    feat-7 is in epoch 2$",
    r"^      proxies: 3, every one on it after \d+ ms$",
    r'"staged":3,"active_us":\d+,"active":3\}$',
    r"^  \d+ ms from the start of the command to its end; [\d.]+ ms from the agent's disk",
    r"^  Load: \d+ requests around the change, every answer checked, 0 lost\.$",
    r"^  \$ kill -9 \d+ +# agent$",
    r"^    offshootctl: cannot reach 'agent\.sock'",
    r"^  Load: \d+ requests without an agent, every answer checked, 0 lost\.$",
    r"^  \$ kill -9 \d+ +# gw-3$",
    r"^    serving, epoch 2$",
    r"^    agent .*NOT connected",
    r"^  feat-7 at gw-3 is served by cart@feat-7",
    r"^    every proxy is on epoch 2$",
    r"^    feat-7 lives until \S+, in epoch 3$",
    r"^  Load: \d+ requests meanwhile",
    r"^    demo-day is in epoch 4$",
    r"^    expires +demo-day at \S+, in \d s$",
    r'"variant": "spring"',
    r"^    HTTP/1\.1 410 Gone$",
    r"^    x-offshoot-error: expired$",
    r"^    HTTP/1\.1 404 Not Found$",
    r"^    x-offshoot-error: unknown-environment$",
    r"^    link +http://shop\.localhost:\d+/promo\?env=v1e\.spring\.",
    r"^  \$ curl -si -c jar 'http://shop\.localhost:\d+/promo\?env=v1e\.spring\.",
    r"^    HTTP/1\.1 302 Found$",
    r"^    location: /promo$",
    r"^    set-cookie: offshoot=v1e\.spring\.\S+; Path=/; HttpOnly; SameSite=Lax$",
    r"^  \$ curl -s -b jar http://shop\.localhost:\d+/promo$",
    r'"variant": "spring"',
    r'"variant": "main"',
    r"^    HTTP/1\.1 400 Bad Request$",
    r"^    x-offshoot-error: context$",
    r"bad-mac$",
    r"^    bad mac: ",
    r"^    502$",
    r"^    the graph of epoch 5 is back as epoch 7$",
    r"^    200$",
    r"^    offshootctl: epoch 7 is held",
    r"^    no longer held: files and changes are in epoch 8$",
    r"^    every proxy is on epoch 8$",
    r"^  Exit status 0: every proxy is on the newest epoch\.$",
)
SHADOW = (
    r"^From here on a candidate is compared with its baseline",
    r"^  \$ offshootctl --socket agent\.sock shadow start feat-9 --baseline main --candidate ",
    r"^    feat-9 is begun: main -> feat-9, run 1",
    r"^  Dark requests came, with their context, to cart, inventory, pricing\.$",
    r"^    fail: headline field: .*; the worst is body\.total \(value\) of cart GET /cart/zoe$",
    r"^          primary +2550$",
    r"^          candidate +2500$",
    r"^  Exit status 1\.$",
    r"^  \d+ samples: body\.total is 2500 instead of 2550 in \d+ of \d+ ",
    r"^  \$ offshootctl --socket agent\.sock shadow report feat-9 --output report\.html$",
    r"^  \$ redis-cli .* hmget 'offshoot:\{feat-9\}:verdict' verdict samples$",
    r"^    fail$",
    r"^    feat-9 counts anew: main -> feat-9, run 2",
    r"^    pass: no headline differs by 0\.015 or more in \d+ samples$",
    r"^  Exit status 0\.$",
    r"^  The users' own \d+ requests meanwhile: every answer checked, 0 lost\.$",
    r"^All as expected\.",
)


class Demo(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(prefix="offshoot-test-", dir="/tmp")
        self.addCleanup(self.temp.cleanup)

    def start(self, what, build=BUILD):
        environment = dict(os.environ, OFFSHOOT_BUILD=str(build), TMPDIR=self.temp.name)
        process = subprocess.Popen([sys.executable, "-B", str(DEMO / "demo.py"), what], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=environment, start_new_session=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def read_until(self, process, word):
        """What a demo prints up to the first line with the word."""
        printed = ""
        for line in process.stdout:
            printed += line
            if word in line:
                return printed
        self.fail(f"the demo ended early:\n{printed}")

    def start_up(self):
        """A stack that stays up; gives the process and what it printed."""
        process = self.start("up")
        return process, self.read_until(process, " explain ")

    def assert_nothing_left(self):
        self.assertEqual(os.listdir(self.temp.name), [])
        mark = self.temp.name.encode()
        left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark in read(p)]
        self.assertEqual(left, [])

    def test_runs_to_its_end_and_says_who_served_what(self):
        printed = self.whole_run()
        self.assert_tells(printed, FILES)
        self.assert_tells(printed, AGENT)
        self.assert_tells(printed, SHADOW)
        self.assert_numbers_fit(printed)
        self.assertNotIn("\x1b", printed)
        self.assert_nothing_left()

    def whole_run(self):
        process = self.start("run")
        printed, _ = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 0, printed)
        return printed

    def assert_tells(self, printed, patterns):
        """Every pattern, in this order."""
        at = 0
        for pattern in patterns:
            found = re.compile(pattern, re.MULTILINE).search(printed, at)
            self.assertTrue(found, f"not there, or not in order: {pattern}\n{printed}")
            at = found.end()

    def assert_numbers_fit(self, printed):
        """What is said in two places is the same."""
        epoch = re.findall(r"^ +every proxy is on epoch (\d+)$", printed, re.MULTILINE)[-1]
        for gateway in ("gw-1", "gw-2", "gw-3"):
            told = re.findall(rf"^ +{gateway} +(\d+) +0 +current", printed, re.MULTILINE)
            self.assertEqual(told[-1], epoch)
        rows = re.findall(r"^  (\S+) +(\d+) +(\d+) +0$", printed, re.MULTILINE)
        *environments, (name, begun, served) = rows
        self.assertEqual(name, "all")
        self.assertEqual(begun, served)
        self.assertEqual({e for e, *_ in environments}, {"main", "team-a", "feat-42", "feat-7"})
        self.assertEqual(int(begun), sum(int(n) for _, n, _ in environments))
        told = [int(n) for n in re.findall(r"^  Load: (\d+) requests ", printed, re.MULTILINE)]
        self.assertEqual(len(told), 5)
        self.assertGreaterEqual(min(told), fleet.MORE)

    def test_stays_up_when_the_agent_is_killed_and_says_how_to_start_it_again(self):
        process, printed = self.start_up()
        edge = re.search(r"edge listeners +(\S+)", printed)[1]
        os.kill(int(re.search(r"kill -9 (\d+) +# the agent", printed)[1]), signal.SIGKILL)
        told = self.read_until(process, "agent is dead")
        self.assertRegex(told, r"offshoot-agent --config agent.yaml --graph graph --state agent ")
        reply = shopclient.ask(edge, "feat-42.preview.localhost", "/cart/alice")
        self.assertEqual((reply.status, reply.body["variant"]), (200, "feat-42"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 0)
        self.assert_nothing_left()

    def test_what_it_says_to_try_works_as_printed(self):
        process, printed = self.start_up()
        lines = [line.strip() for line in printed.partition("\nTry, ")[2].splitlines()[1:]]
        lines = [line for line in lines if " # the agent: requests go on" not in line]
        token = next(i for i, line in enumerate(lines) if " token issue " in line)
        lines[token] += " | tee issued"
        link = "$(sed -n 's/^link *//p' issued)"
        script = "\n".join(lines).replace("'LINK'", f'"{link}"')
        done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], text=True,
                              capture_output=True, timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assert_tells(done.stdout, (
            r'^\{"service": "web"', r'^\{"service": "cart", "variant": "feat-42"',
            r"^HTTP/1.1 404 ", r"^x-offshoot-route: web@main;.*cart@feat-42;", r"^feat-42:cart:",
            r"^feat-7 is in epoch 2$", r'^\{"service": "cart", "variant": "feat-7"',
            r"^spring is in epoch 3$", r"^link ",
            r'^\{"service": "legacy-promo", "variant": "spring"',
            r"^feat-9 is in epoch 4$", r"^feat-9 is begun: main -> feat-9", r"^exit status [12]$",
            r"^every proxy is on epoch 4$", r"^2 .*feat-7: cart=", r"^the graph of epoch 1 is back",
            r"^no longer held", r"^serving, epoch 6$", r"^cart in feat-42: provided by feat-42",
            r"^checkout in feat-42: provided by team-b"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 0)
        self.assert_nothing_left()

    def test_ctrl_c_under_load_with_the_agent_dead_leaves_nothing(self):
        process = self.start("run")
        self.read_until(process, "kill -9")
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 128 + signal.SIGINT, printed)
        self.assert_nothing_left()

    def test_stays_up_until_sigterm_and_then_leaves_nothing(self):
        process, printed = self.start_up()
        edge = re.search(r"edge listeners +(\S+)", printed)[1]
        reply = shopclient.ask(edge, "feat-42.preview.localhost", "/cart/alice")
        self.assertEqual((reply.status, reply.body["variant"]), (200, "feat-42"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 0)
        self.assert_nothing_left()

    def test_ctrl_c_leaves_nothing(self):
        process, _ = self.start_up()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 0)
        self.assert_nothing_left()

    def test_ends_with_1_when_a_step_under_load_does_not_do_what_it_shows(self):
        build = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for program in ("offshoot-proxy", "offshoot-agent"):
            (build / program).symlink_to(BUILD / program)
        broken = build / "offshootctl"
        broken.write_text('#!/bin/sh\ncase "$*" in *"env extend"*) echo no; exit 2; esac\n'
                          f'exec {BUILD}/offshootctl "$@"\n')
        broken.chmod(0o755)
        process = self.start("run", build)
        printed, _ = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 1, printed)
        self.assertIn("demo: exit code 2; expected 0 and 'every one on it'", printed)
        self.assertIn("the last lines of the log of agent:", printed)
        self.assertNotIn("All as expected", printed)
        self.assert_nothing_left()

    def test_ends_with_1_when_the_gateway_is_missing(self):
        process = subprocess.run([sys.executable, "-B", str(DEMO / "demo.py"), "run"], text=True,
                                 env=dict(os.environ, OFFSHOOT_BUILD=self.temp.name),
                                 capture_output=True, check=False)
        self.assertEqual(process.returncode, 1)
        self.assertIn("run `make` first", process.stderr)


class CrossCheck(unittest.TestCase):
    """The demo must be able to fail."""

    WANT = {"web": ("main", "baseline"), "cart": ("feat-42", "local"), "promo": (None, "removed")}
    RECORD = ("web@main;class=baseline;rule=selector;epoch=1, "
              "cart@feat-42;class=local;rule=explicit;epoch=1, "
              "promo@-;refused=removed;rule=explicit;epoch=1")

    def reply(self, cart="feat-42", promo=None, record=RECORD):
        body = {"service": "web", "variant": "main", "called": [
            {"service": "cart", "variant": cart, "called": []},
            {"service": "promo", "status": 404} if promo is None else
            {"service": "promo", "variant": promo, "called": []}]}
        headers = SimpleNamespace(get_all=lambda name: [record])
        return shopclient.Reply(200, headers, body)

    def test_accepts_what_all_three_sources_agree_on(self):
        shopclient.check_told("feat-42", self.reply(), self.WANT)
        self.assertEqual(len(shopclient.check_record("feat-42", self.reply(), self.WANT)), 3)

    def test_fails_when_a_service_tells_another_variant(self):
        with self.assertRaises(shopclient.Mismatch):
            shopclient.check_told("feat-42", self.reply(cart="main"), self.WANT)
        with self.assertRaises(shopclient.Mismatch):
            shopclient.check_record("feat-42", self.reply(cart="main"), self.WANT)

    def test_fails_when_a_removed_service_answers(self):
        with self.assertRaises(shopclient.Mismatch):
            shopclient.check_told("feat-42", self.reply(promo="main"), self.WANT)

    def test_fails_when_the_record_names_another_environment_class_or_epoch(self):
        for old, new in (("cart@feat-42", "cart@main"), ("class=local", "class=ancestor"),
                         ("promo@-;refused=removed", "promo@main;class=baseline"),
                         ("refused=removed", "refused=unhealthy"),
                         ("rule=selector;epoch=1", "rule=selector;epoch=2")):
            with self.subTest(new), self.assertRaises(shopclient.Mismatch):
                reply = self.reply(record=self.RECORD.replace(old, new))
                shopclient.check_record("feat-42", reply, self.WANT)

    def test_fails_when_a_passage_is_missing_in_the_record(self):
        record = ", ".join(self.RECORD.split(", ")[:2])
        with self.assertRaises(shopclient.Mismatch):
            shopclient.check_record("feat-42", self.reply(record=record), self.WANT)


class Gateway(BaseHTTPRequestHandler):
    """Answers like the shop's cart, the nth time (server.wrong_at) not as it should."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.asked += 1
        wrong = server.asked == server.wrong_at
        if wrong and server.wrong == "close":
            self.close_connection = True
            return
        variant = "main" if wrong and server.wrong == "variant" else self.headers["x-offshoot-env"]
        data = json.dumps({"service": "cart", "variant": variant, "called": []}).encode()
        self.send_response(503 if wrong and server.wrong == "status" else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class TheLoad(unittest.TestCase):
    """The load must be able to fail."""

    def gateway(self, wrong=None, wrong_at=0):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
        server.daemon_threads = True
        server.asked, server.wrong, server.wrong_at = 0, wrong, wrong_at
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        return f"127.0.0.1:{server.server_address[1]}"

    def test_counts_what_was_as_it_should_be(self):
        want = {"a": {"cart": "a"}, "b": {"cart": "b"}}
        with traffic.Load([self.gateway()], want) as load:
            load.more(20)
            load.spare("b")
            load.ask_for("c", {"cart": "c"})
            spared = load.counts["b"]
            load.more(20)
        self.assertEqual(load.counts["b"], spared)
        self.assertEqual(load.counts, load.begun)
        self.assertGreater(load.counts["c"], 0)
        self.assertGreaterEqual(load.served(), 40)

    def test_one_wrong_answer_ends_it(self):
        want = {"a": {"cart": "a"}}
        for wrong in ("variant", "status", "close"):
            with self.subTest(wrong), self.assertRaises(HTTPException):
                with traffic.Load([self.gateway(wrong, 15)], want, 1) as load:
                    load.more(1000)
            self.assertEqual(load.served(), 14)
            self.assertEqual(load.begun["a"], 15)


class Steps(unittest.TestCase):
    """A step that prints something else than it is to print ends the demo."""

    def stack(self, code, output):
        return SimpleNamespace(work="/", ctl=lambda *_, **__: (code, output))

    def test_a_command_with_another_exit_status_or_text(self):
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            steps.run_ctl(self.stack(0, "well done\n"), 0, "done", "x")
            for code, output in ((2, "well done\n"), (0, "something else\n")):
                with self.subTest(code), self.assertRaises(shopclient.Mismatch):
                    steps.run_ctl(self.stack(code, output), 0, "done", "x")

    def test_a_request_that_nobody_answers(self):
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            with self.assertRaises(shopclient.Mismatch):
                steps.run_curl(self.stack(0, ""), "-s", "http://127.0.0.1:1/")


class Files(unittest.TestCase):
    def test_no_service_knows_of_the_gateway(self):
        services = sorted((DEMO / "shop").glob("*.py"))
        self.assertGreaterEqual(len(services), 8)
        for file in services:
            self.assertNotIn("offshoot", file.read_text().lower(), file.name)

    def test_the_example_graph_is_valid_and_decides_as_the_demo(self):
        ctl, graph = str(BUILD / "offshootctl"), str(ROOT / "conf/graph")
        checked = subprocess.run([ctl, "graph", "check", graph], text=True, capture_output=True,
                                 check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        for env, services in shopclient.expected().items():
            got = {service: self.decision(graph, env, service) for service in services}
            self.assertEqual(got, services, env)

    def decision(self, graph, env, service):
        """(environment that provides, class), or (None, word of the refusal)."""
        done = subprocess.run([str(BUILD / "offshootctl"), "--graph", graph, "--json", "resolve",
                               env, service], text=True, capture_output=True, check=False)
        self.assertIn(done.returncode, (0, 2), done.stderr)
        answer = json.loads(done.stdout)
        return answer["provider"], answer["class"] or answer["refusal"]


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    unittest.main()
