"""The conformance cases of h2spec, where that program is on PATH: it is no Debian package.

A case that h2spec says failed is a failed test; without it, only how its report is read is tested.
"""

import shutil
import subprocess
import unittest
import xml.etree.ElementTree as xml

from certs import Authority
from harness import ONE_SHOP, ProxyCase, fixed, sanitized

# The least number of cases that a whole run has.
CASES = 90
# A case may wait for this long; the whole of them for that long.
CASE_SECONDS, RUN_SECONDS = (10, 1100) if sanitized() else (5, 270)

SAMPLE = """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="4.2. Frame Size" package="http2/4.2" id="4.2" tests="4" skipped="1" failures="1"
             errors="1">
    <testcase package="http2/4.2" classname="good" time="0.0010"></testcase>
    <testcase package="http2/4.2" classname="bad" time="0.0020"><failure>Expect:
GOAWAY Frame
Actual:
Timeout</failure></testcase>
    <testcase package="http2/4.2" classname="left out" time="0"><skipped></skipped></testcase>
    <testcase package="http2/4.2" classname="broken" time="0"><error>EOF</error></testcase>
  </testsuite>
</testsuites>
"""


def read_report(text):
    """The cases of a JUnit report: (name, outcome, what was told), outcome one of "passed",
    "skipped", "failure", "error"."""
    cases = []
    for case in xml.fromstring(text).iter("testcase"):
        name = f"{case.get('package')}: {case.get('classname')}"
        told = [(e.tag, e.text or "") for e in case if e.tag in ("failure", "error", "skipped")]
        cases.append((name, *(told[0] if told else ("passed", ""))))
    return cases


class Report(unittest.TestCase):
    def test_each_outcome_is_read(self):
        self.assertEqual([
            ("http2/4.2: good", "passed", ""),
            ("http2/4.2: bad", "failure", "Expect:\nGOAWAY Frame\nActual:\nTimeout"),
            ("http2/4.2: left out", "skipped", ""),
            ("http2/4.2: broken", "error", "EOF"),
        ], read_report(SAMPLE))  # fmt: skip


@unittest.skipUnless(shutil.which("h2spec"), "h2spec is not installed")
class H2spec(ProxyCase):
    def run_cases(self, listen, *flags):
        """Runs all cases against a proxy with this listener."""
        # Some cases want a body of some bytes, and leave themselves out without one.
        shop = self.provider(fixed(b"x" * 1000))
        proxy = self.start_proxy(ONE_SHOP % shop.address, listen=(listen,))
        host, _, port = proxy.address.rpartition(":")
        report = self.folder / "report.xml"
        done = subprocess.run(
            ["h2spec", "-h", host, "-p", port, "-o", str(CASE_SECONDS), "-j", report, *flags],
            capture_output=True, text=True, timeout=RUN_SECONDS, check=False,
        )  # fmt: skip
        said = f"h2spec ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
        self.assertTrue(report.exists(), said)
        cases = read_report(report.read_text(errors="replace"))
        for name, outcome, told in cases:
            with self.subTest(name):
                self.assertNotIn(outcome, ("failure", "error"), told)
        ran = sum(outcome != "skipped" for _, outcome, _ in cases)
        self.assertGreaterEqual(ran, CASES, said)
        bad = any(outcome in ("failure", "error") for _, outcome, _ in cases)
        self.assertEqual(bad, done.returncode != 0, said)

    def test_plain(self):
        self.run_cases("127.0.0.1:0")

    def test_tls(self):
        pair = Authority(self.folder).issue("a", "DNS:localhost,IP:127.0.0.1")
        self.run_cases(f"127.0.0.1:0,{pair.option}", "-t", "-k")


if __name__ == "__main__":
    unittest.main()
