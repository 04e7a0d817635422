"""What docs/shadow.md says is so: words of drops, samples until a verdict, settings, links."""

import json
import re
import subprocess
import unittest

from harness import BUILD, ROOT

GUIDE = (ROOT / "docs/shadow.md").read_text()


def section(heading):
    return re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", GUIDE, re.M | re.S)[1]


def evidence(pairs, differs, epsilon="0.01", slot="headline"):
    done = subprocess.run(
        [BUILD / "offshootctl", "--json", "shadow", "evidence", "--pairs", str(pairs),
         "--candidate-only", str(differs[0]), "--secondary-only", str(differs[1]), "--epsilon",
         epsilon, "--slot", slot],
        capture_output=True, check=True)  # fmt: skip
    return json.loads(done.stdout)["verdict"]


def pairs_until_pass(epsilon, share):
    low, high = 1, 100_000
    while low < high:
        middle = (low + high) // 2
        differs = round(middle * share)
        if evidence(middle, (differs, differs), epsilon) == "pass":
            high = middle
        else:
            low = middle + 1
    return low


class Guide(unittest.TestCase):
    def test_every_reason_of_the_agent_and_the_proxy_is_in_the_table_of_drops(self):
        rows = re.findall(r"^\| (`.*?) \|", section("Samples that are dropped"), re.M)
        told = set(re.findall(r"`([\w-]+)`", " ".join(rows)))
        journal = (ROOT / "agent/journal.c").read_text()
        words = re.search(r"reasons\[\] = \{(.*?)\};", journal, re.S)[1]
        proxy = set(re.findall(r'offshoot_capture_dropped_total` \| `reason="([\w-]+)"',
                               (ROOT / "docs/counters.md").read_text()))  # fmt: skip
        agent = set(re.findall(r'"([\w-]+)"', words))
        self.assertGreaterEqual(len(proxy), 8)
        self.assertGreaterEqual(len(agent), 15)
        self.assertEqual((agent | proxy) - told, set())

    def test_samples_until_pass_are_what_the_command_calculates(self):
        rows = re.findall(r"^\| (0\.\d+)(?: \(default\))? \| ([\d,]+) \| ([\d,]+) \|$", GUIDE, re.M)
        self.assertEqual(len(rows), 5)
        for epsilon, *told in rows:
            for text, share in zip(told, (0, 0.09), strict=True):
                samples = pairs_until_pass(epsilon, share) + 200  # which make the limits
                self.assertAlmostEqual(samples / int(text.replace(",", "")), 1, delta=0.03,
                                       msg=f"{epsilon}, {share}")  # fmt: skip

    def test_differing_samples_until_fail_are_what_the_command_calculates(self):
        told = re.search(r"takes (\d+) samples .*\(headline\), (\d+) in one field", GUIDE)
        for text, slot in zip(told.groups(), ("headline", "field"), strict=True):
            enough = int(text)
            self.assertEqual(evidence(1000, (enough, 0), slot=slot), "fail")
            self.assertEqual(evidence(1000, (enough - 1, 0), slot=slot), "inconclusive")

    def test_defaults_of_settings_are_the_programs(self):
        rows = re.findall(r"`((?:shadow|capture)\.\w+)` \| (\d+)(?: (MiB|KiB|s)\b)?",
                          section("Limits"))  # fmt: skip
        self.assertGreaterEqual(len(rows), 11)
        for key, number, unit in rows:
            program = "agent" if key.startswith("shadow") else "proxy"
            page = "agent-configuration" if program == "agent" else "configuration"
            line = re.search(rf"^\| `{key}` \|.*?\| `([^`]+)` \|",
                             (ROOT / f"docs/{page}.md").read_text(), re.M)  # fmt: skip
            with self.subTest(key):
                self.assertEqual(line[1], number + unit)

    def test_every_option_is_known_to_the_command(self):
        commands = ("start", "verdict", "report", "replay", "stop")
        known = set()
        for command in commands:
            done = subprocess.run([BUILD / "offshootctl", "shadow", command, "--help"], text=True,
                                  capture_output=True, check=True)  # fmt: skip
            known |= set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", done.stdout, re.M))
        for program in ("agent", "proxy"):
            done = subprocess.run([BUILD / f"offshoot-{program}", "--help"], text=True,
                                  capture_output=True, check=True)  # fmt: skip
            known |= set(re.findall(r"(--[a-z-]+)", done.stdout))
        used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", GUIDE)) - {"--set"}
        self.assertGreater(len(used), 20)
        self.assertEqual(used - known, set())

    def test_links_lead_somewhere(self):
        for path in re.findall(r"\]\(([^)#]+)", GUIDE):
            self.assertTrue((ROOT / "docs" / path).exists(), path)


if __name__ == "__main__":
    unittest.main()
