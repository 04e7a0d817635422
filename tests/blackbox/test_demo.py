"""The demo as a test: it ends well, tells what it is to tell, and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"
BUILD = Path(os.environ.get("OFFSHOOT_BUILD", ROOT / "build")).resolve()
LIMIT = 120  # seconds; a run takes a few, sanitizers make it slower

sys.path.insert(0, str(DEMO))
import shopclient  # noqa: E402  (its folder is not a package)


class Demo(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(prefix="offshoot-test-", dir="/tmp")
        self.addCleanup(self.temp.cleanup)

    def start(self, what):
        environment = dict(os.environ, OFFSHOOT_BUILD=str(BUILD), TMPDIR=self.temp.name)
        process = subprocess.Popen([sys.executable, "-B", str(DEMO / "demo.py"), what], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=environment, start_new_session=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def start_up(self):
        """A stack that stays up; gives the process and what it printed."""
        process = self.start("up")
        printed = ""
        for line in process.stdout:
            printed += line
            if " explain " in line:
                return process, printed
        self.fail(f"demo up ended early:\n{printed}")

    def assert_nothing_left(self):
        self.assertEqual(os.listdir(self.temp.name), [])
        mark = self.temp.name.encode()
        left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark in read(p)]
        self.assertEqual(left, [])

    def test_runs_to_its_end_and_says_who_served_what(self):
        process = self.start("run")
        printed, _ = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 0, printed)
        for pattern in (r"^  pricing +main local +team-a local +team-a ancestor ",
                        r"^  checkout +main local +main baseline +team-b explicit ",
                        r"^  recommendations +tools shared ",
                        r"^  legacy-promo +main local +main baseline +removed ",
                        r"^  http://feat-99\.preview\.localhost/ +404 +unknown-environment",
                        r"^  http://feat-42\.preview\.localhost/promo +404 +removed",
                        r"^  pricing in feat-42 +team-a +feat-42 +\d+ ms after the edit",
                        r"^  pricing in team-a +team-a +main +\d+ ms after the edit",
                        r"^  Requests go on with the last good graph",
                        r"^  feat-42 +502 +connect",
                        r"^All as expected\."):
            self.assertRegex(printed, re.compile(pattern, re.MULTILINE))
        self.assertNotIn("\x1b", printed)
        self.assert_nothing_left()

    def test_stays_up_until_sigterm_and_then_leaves_nothing(self):
        process, printed = self.start_up()
        edge = re.search(r"edge listener +(\S+)", printed)[1]
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
