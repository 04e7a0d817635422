"""`offshootctl shadow` with a real agent, a real proxy and real providers: from the start of a
session over its verdict and report to the replay of its journal."""

import json
import unittest
import xml.etree.ElementTree as ElementTree

from shadow_case import ShadowCase


class Whole(ShadowCase):
    def ctl(self, *args, status=0):
        done = self.run_program("offshootctl", "--socket", self.agent.admin, "shadow",
                                *args, env={"NO_COLOR": ""})  # fmt: skip
        self.assertEqual(status, done.returncode, done.stdout + done.stderr)
        return done.stdout.decode()

    def start_by_command(self):
        self.begin()
        self.ctl("start", "s", "--baseline", "main", "--candidate", "feat", "--service", "shop",
                 "--path", "/items", "--epsilon", "0.5", "--rate", "100", "--for", "10m",
                 "--ignore", "body.never", "-H", "x-own: 1", "--reason", "a test")
        self.capturing()

    def test_a_regression_is_a_fail_in_each_form_and_in_a_replay(self):
        self.candidate_reply = lambda n: {"total": 8, "cart": {"cart": 3}}
        self.start_by_command()
        self.assertIn("s ", self.ctl("list"))
        self.until(lambda s: s["verdict"] != "inconclusive")
        out = self.ctl("verdict", "s", "--wait", "--junit", self.folder / "s.xml", status=1)
        self.assertTrue(out.startswith("fail: "), out)
        self.assertIn("body.total (value) of shop GET /items/{}", out)
        names = [c.get("name") for c in ElementTree.parse(self.folder / "s.xml").iter("testcase")]
        self.assertEqual("status", names[0])
        self.ctl("report", "s", "-o", self.folder / "s.html")
        page = (self.folder / "s.html").read_text()
        for text in ("body.total", "<mark>8</mark>", "x-own", "<svg "):
            self.assertIn(text, page)
        self.assertEqual("fail", json.loads(self.ctl("show", "s", "--json"))["verdict"])
        session = self.session()
        replayed = self.run_program(
            "offshootctl", "shadow", "replay", session["journal"]["path"], "--candidate", "feat",
            "--through", self.mesh, "--rate", "60", "--json")  # fmt: skip
        self.assertEqual(2, replayed.returncode, replayed.stderr)
        found = json.loads(replayed.stdout)
        self.assertEqual(session["samples"], found["compared"])
        self.assertEqual([("body.total", found["compared"])],
                         [(f["path"], f["differ"]) for f in found["fields"]])

    def test_an_equal_candidate_passes_and_its_replay_is_as_recorded(self):
        self.start_by_command()
        self.until(lambda s: s["state"] == "ended")
        self.assertTrue(self.ctl("verdict", "s", "--wait").startswith("pass: "))
        self.assertIn("No field differs more", self.ctl("report", "s", "-o", "-"))
        replayed = self.run_program(
            "offshootctl", "shadow", "replay", self.session()["journal"]["path"], "--candidate",
            "feat", "--through", self.mesh, "--rate", "500")  # fmt: skip
        self.assertEqual(0, replayed.returncode, replayed.stdout + replayed.stderr)
        self.assertIn("run 2, verdict inconclusive", self.ctl("restart", "s"))

    def test_a_session_is_stopped_and_counts_anew(self):
        self.start_by_command()
        self.users(3)
        self.ctl("verdict", "s", status=2)
        self.assertIn("s counts anew", self.ctl("restart", "s", "--reason", "new data"))
        self.assertIn("s is stopped", self.ctl("stop", "s"))
        self.assertIn(", ended: ", self.ctl("verdict", "s", "--wait", status=2))


if __name__ == "__main__":
    unittest.main()
