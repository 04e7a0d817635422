"""`offshootctl shadow start|stop|restart|list|show|verdict|report` with an agent that is a script:
what is asked for, how each answer exits, and what people, CI and browsers get to read."""

import contextlib
import html.parser
import os
import pty
import shutil
import socket
import subprocess
import threading
import time
import unittest
import xml.etree.ElementTree as ElementTree

from google.protobuf import descriptor_pb2

import sessions
from harness import BUILD, eventually
from test_ctl import NO, NOT_FOUND, YES
from test_ctl_agent import HANG_UP, FakeAgent, FakeCase

PASS, FAIL, INCONCLUSIVE, ERROR = 0, 1, 2, 4
VOID = {"meta", "br", "line", "path", "img", "link"}


def descriptors():
    """A FileDescriptorSet with one method."""
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", syntax="proto3")
    file.message_type.add(name="M")
    file.service.add(name="S").method.add(name="m", input_type=".M", output_type=".M")
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


class ShadowCase(FakeCase):
    def session(self, session, name="cart-42"):
        self.tell(f"GET /sessions/{name}", session)

    def verdict(self, *args, status=YES, **more):
        return self.ctl("--socket", self.socket, "shadow", "verdict", "cart-42", *args,
                        status=status, **more)  # fmt: skip


class Sessions(ShadowCase):
    START = ("shadow", "start", "cart-42", "--baseline", "main", "--candidate", "feat-42")

    def test_start_sends_all_that_was_said(self):
        self.tell("POST /shadow/start", sessions.inconclusive(0))
        self.say(*self.START, "--service", "cart", "--service", "shop", "--path", "/items",
                 "--path", "/a b", "--rate", "12.5", "--samples", "1000", "--for", "2h",
                 "--epsilon", "0.02", "--secondary", "iso", "--credentials", "forward", "--strict",
                 "--ignore", "body.id", "--ignore", "header.etag", "--redact", "iban",
                 "--header", "authorization: Bearer x", "-H", "X-A:1", "--through", "127.0.0.1:80",
                 "--until", "limit", "--reason", "PR #42")
        self.assertEqual({
            "name": ["cart-42"], "baseline": ["main"], "candidate": ["feat-42"],
            "service": ["cart", "shop"], "path": ["/items", "/a b"], "rate": ["12.5"],
            "samples": ["1000"], "for": ["2h"], "epsilon": ["0.02"], "secondary": ["iso"],
            "credentials": ["forward"], "strict": ["1"], "ignore": ["body.id", "header.etag"],
            "redact": ["iban"], "header": ["authorization: Bearer x", "X-A:1"],
            "through": ["127.0.0.1:80"], "until": ["limit"], "reason": ["PR #42"],
        }, self.params())
        self.assertEqual(b"", self.agent.bodies[0])
        given = descriptors()
        self.say(*self.START, "--redact-off", "--descriptors", self.write("set", given.decode()))
        self.assertEqual(given, self.agent.bodies[1])
        self.assertEqual(["1"], self.params(1)["redactOff"])

    def test_start_stop_and_restart_tell_the_session(self):
        for command, path, does in ((self.START, "start", "is begun"),
                                    (("shadow", "stop", "cart-42"), "stop", "is stopped"),
                                    (("shadow", "restart", "cart-42"), "restart", "counts anew")):
            self.tell(f"POST /shadow/{path}", sessions.inconclusive(120, 367))
            self.assertEqual(f"cart-42 {does}: main -> feat-42, run 2, verdict inconclusive\n"
                             "  why: 120 samples, some 367 more are needed\n", self.say(*command))
            self.assertEqual(sessions.inconclusive(), self.say_json(*command))
        self.say("shadow", "stop", "cart-42", "--reason", "no more")
        self.assertEqual({"name": ["cart-42"], "reason": ["no more"]}, self.params(-1))

    def test_what_cannot_be_meant_is_not_sent(self):
        for why, *args in (
            ("want shadow start NAME --baseline ENVIRONMENT --candidate ENVIRONMENT",
             "shadow", "start", "x", "--candidate", "feat"),
            ("want shadow start NAME --baseline ENVIRONMENT --candidate ENVIRONMENT",
             "shadow", "start", "x", "--baseline", "main"),
            ("--rate wants a number, not '1x'", *self.START, "--rate", "1x"),
            ("--rate wants a number, not '1.'", *self.START, "--rate", "1."),
            ("--samples wants a number, not '-3'", *self.START, "--samples=-3"),
            ("--epsilon wants a number, not ''", *self.START, "--epsilon="),
            ("--for wants a duration as 30s or 2h, not 'soon'", *self.START, "--for", "soon"),
            ("--credentials wants forward or strip, not 'all'",
             *self.START, "--credentials", "all"),
            ("--until wants decision or limit, not 'noon'", *self.START, "--until", "noon"),
            ("--header wants 'NAME: VALUE'; number 2 is none",
             *self.START, "-H", "a: b", "-H", "hunter2"),
            ("--path wants the beginning of a path, as /items, not 'items'",
             *self.START, "--path", "items"),
            ("--secondary wants ENVIRONMENT, not 'A b'", *self.START, "--secondary", "A b"),
            ("--redact and --redact-off together: what is a secret?",
             *self.START, "--redact", "iban", "--redact-off"),
            ("--timeout is for --wait, which is not said", *self.START, "--timeout", "3s"),
            ("--timeout '6m' is too long", *self.START, "--wait", "--timeout", "6m"),
            ("not a name for a session '../x'", "shadow", "start", "../x"),
            ("--limit wants a number, not '0'", "shadow", "show", "x", "--limit", "0"),
        ):  # fmt: skip
            self.no(why, *args)
        self.assertEqual([], self.agent.asked)

    def test_what_the_agent_refuses_is_told(self):
        self.tell("POST /shadow/start", {"error": "there is one of that name"}, 409)
        self.no("there is one of that name", *self.START, status=NO)
        self.tell("POST /shadow/stop", {"error": "no session 'cart-42'"}, 404)
        self.no("no session 'cart-42'", "shadow", "stop", "cart-42", status=NOT_FOUND)

    def test_start_waits_for_a_proved_context(self):
        canary = {**sessions.inconclusive(0), "state": "canary", "why": "waiting for traffic"}
        self.tell("POST /shadow/start", canary)
        self.session(canary)
        begun = threading.Timer(0.7, lambda: self.session(sessions.inconclusive(0)))
        begun.start()
        self.addCleanup(begun.join)
        out, err = self.ctl("--socket", self.socket, *self.START, "--wait")
        self.assertIn("cart-42 is begun", out)
        self.assertEqual("cart-42: waiting for traffic\n", err)
        self.session(canary)
        out, _ = self.ctl("--socket", self.socket, *self.START, "--wait", "--timeout", "0",
                          status=NO)
        self.assertIn("cart-42 has not begun", out)
        lost = {**sessions.inconclusive(0), "state": "ended", "why": "context-lost: cart"}
        self.session(lost)
        out, _ = self.ctl("--socket", self.socket, *self.START, "--wait", status=NO)
        self.assertIn("why: context-lost: cart", out)

    def test_list_and_show_are_the_agents_words(self):
        self.tell("GET /sessions", b"cart-42 running\n")
        self.assertEqual("cart-42 running\n", self.say("shadow", "list"))
        self.tell("GET /sessions", {"sessions": []})
        self.assertEqual({"sessions": []}, self.say_json("shadow", "list"))
        self.session(sessions.passed())
        self.assertEqual(sessions.passed(), self.say_json("shadow", "show", "cart-42"))
        self.say("shadow", "show", "cart-42", "--limit", "7")
        self.assertEqual({"fields": ["7"]}, self.params(-1))
        self.no("?", "shadow", "show", "other", status=NOT_FOUND)


class Verdict(ShadowCase):
    def test_exit_status_is_the_verdict(self):
        for session, status in ((sessions.passed(), PASS), (sessions.failed(), FAIL),
                                (sessions.inconclusive(), INCONCLUSIVE)):
            self.session(session)
            out, err = self.verdict(status=status)
            self.assertTrue(out.startswith(f"{session['verdict']}: {session['why']}\n"), out)
            self.assertEqual("", err)
            self.assertEqual(session, self.answer_json(
                "--socket", self.socket, "shadow", "verdict", "cart-42", status=status))
        self.no("?", "shadow", "verdict", "other", status=NOT_FOUND)

    def test_no_error_looks_like_a_verdict(self):
        self.session(sessions.failed())
        for args in (
            ("--bogus",), ("--timeout", "3s"), ("--wait", "--timeout", "soon"), ("more",),
            ("--graph", "x"), ("--json", "--json=1"), ("--json", "--junit", "-"),
            ("--junit", self.folder / "no" / "such.xml"), ("--config", "/no/such"), ("--timeout",),
        ):  # fmt: skip
            out, err = self.verdict(*args, status=ERROR)
            self.assertEqual("", out)
            self.assertTrue(err.startswith("offshootctl: "), err)
        self.ctl("--socket", self.folder / "nobody", "shadow", "verdict", "x", status=ERROR)
        self.ctl("shadow", "verdict", "x", status=ERROR)
        self.ctl("--bogus", "shadow", "verdict", "x", status=ERROR)
        for answer in ((200, b"[]"), (200, {"verdict": "maybe"}), (200, {}), (500, {"error": "x"}),
                       (409, {"error": "x"}), HANG_UP):
            self.agent.answers["GET /sessions/cart-42"] = answer
            self.verdict(status=ERROR)
            self.verdict("--wait", status=ERROR)

    def test_help_says_how_it_exits(self):
        self.assertTrue(self.answer("shadow", "verdict", "--help").endswith(
            "0 pass; 1 fail; 2 inconclusive; 3 there is no such session; 4 error.\n"))

    def test_text_has_headlines_fields_and_examples(self):
        self.session(sessions.failed())
        out = self.verdict(status=FAIL)[0]
        for line in (
            "  so far     812 samples", "  dropped    in-flight 3, too-large 1",
            "  field            fail   812    26         0          10^7.2      10^-12.5",
            "      primary    12.50", "      secondary  (the same)", "      candidate  12.49",
            "  --ignore 'body.generated_at'",
        ):  # fmt: skip
            self.assertIn(line, out.splitlines())

    def test_terminals_are_not_obeyed(self):
        self.session(sessions.hostile())
        self.assertNotRegex(self.verdict(status=FAIL)[0], "[\x1b\u202e]")

    def test_wait_ends_with_the_decision(self):
        self.session(sessions.inconclusive(120, 367))
        later = threading.Timer(0.7, lambda: self.session(sessions.failed()))
        later.start()
        self.addCleanup(later.join)
        out, err = self.verdict("--wait", status=FAIL)
        self.assertTrue(out.startswith("fail: "))
        self.assertEqual("cart-42: 120 samples, some 367 more needed\n", err)

    def test_wait_ends_with_the_session_and_with_the_time(self):
        ended = {**sessions.inconclusive(), "state": "ended", "ended_why": "time"}
        self.session(ended)
        out, err = self.verdict("--wait", status=INCONCLUSIVE)
        self.assertIn(", ended: time\n", out)
        self.assertEqual("", err)
        self.session(sessions.inconclusive(5, None))
        start = time.monotonic()
        out, err = self.verdict("--wait", "--timeout", "1s", status=INCONCLUSIVE)
        self.assertTrue(1 <= time.monotonic() - start < 10)
        self.assertEqual("cart-42: 5 samples, cannot tell how many more are needed\n", err)

    def test_wait_survives_an_agent_that_starts_anew(self):
        self.session(sessions.inconclusive())
        waiting = subprocess.Popen(
            [BUILD / "offshootctl", "--socket", self.socket, "shadow", "verdict", "cart-42",
             "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        eventually(lambda: self.agent.asked)
        self.agent.close()
        self.socket.unlink()
        with socket.socket(socket.AF_UNIX) as vain:
            vain.settimeout(30)
            vain.bind(str(self.socket))
            vain.listen()
            vain.accept()[0].close()
        self.socket.unlink()
        self.agent = self.closes(FakeAgent(self.socket))
        self.session(sessions.passed())
        out, _ = waiting.communicate(timeout=60)
        self.assertEqual(PASS, waiting.returncode)
        self.assertTrue(out.startswith(b"pass: "))

    def test_a_session_that_goes_while_waited_for_is_not_found(self):
        self.session(sessions.inconclusive())
        gone = threading.Timer(0.7, self.agent.answers.clear)
        gone.start()
        self.addCleanup(gone.join)
        self.assertEqual("", self.verdict("--wait", status=NOT_FOUND)[0])

    def test_progress_is_one_line_on_a_terminal(self):
        self.session(sessions.inconclusive(120, 367))
        ours, theirs = pty.openpty()
        done = subprocess.run(
            [BUILD / "offshootctl", "--socket", self.socket, "shadow", "verdict", "cart-42",
             "--wait", "--timeout", "600ms"], stdout=subprocess.PIPE, stderr=theirs,
            check=False)  # fmt: skip
        os.close(theirs)
        said = ""
        with contextlib.suppress(OSError):  # what a terminal without users gives in the end
            while piece := os.read(ours, 65536):
                said += piece.decode()
        os.close(ours)
        self.assertEqual(INCONCLUSIVE, done.returncode)
        self.assertRegex(said, r"\A(\rcart-42: 120 samples, some 367 more needed, 0:0\d\x1b\[K)+"
                               r"\r\x1b\[K\Z")


class JUnit(ShadowCase):
    def junit(self, session, status):
        self.session(session)
        path = self.folder / "shadow.xml"
        self.verdict("--junit", path, status=status)
        suites = ElementTree.parse(path).getroot()
        suite = suites[0]
        cases = suite.findall("testcase")
        self.assertEqual(str(len(cases)), suite.get("tests"))
        self.assertEqual(suite.get("failures"), str(len(suite.findall("testcase/failure"))))
        self.assertEqual(suite.get("skipped"), str(len(suite.findall("testcase/skipped"))))
        self.assertEqual(suite.get("failures"), suites.get("failures"))
        return suite, cases

    def test_a_case_a_headline_and_one_a_field_that_failed(self):
        suite, cases = self.junit(sessions.failed(), FAIL)
        self.assertEqual([*sessions.WORDS, "cart GET /items/{} body.items[].price (value)"],
                         [c.get("name") for c in cases])
        self.assertEqual(("2", "1"), (suite.get("failures"), suite.get("skipped")))
        text = cases[-1].find("failure").text
        self.assertIn("primary    3.00 € each\n  secondary  (the same)\n  candidate  2.99 € each",
                      text)
        self.assertEqual([], self.junit(sessions.passed(), PASS)[0].findall("testcase/*"))
        skipped = self.junit(sessions.inconclusive(), INCONCLUSIVE)[0]
        self.assertEqual("8", skipped.get("skipped"))

    def test_a_failure_that_no_headline_shows_has_a_case_of_its_own(self):
        session = {**sessions.passed(), "verdict": "fail", "why": "the overflow"}
        cases = self.junit(session, FAIL)[1]
        self.assertEqual("verdict", cases[-1].get("name"))
        self.assertEqual("the overflow", cases[-1].find("failure").get("message"))

    def test_hostile_texts_are_texts(self):
        cases = self.junit(sessions.hostile(), FAIL)[1]
        self.assertIn("<script>alert(1)</script>\"'&amp;<img", cases[-1].get("name"))
        self.assertIn("onerror=alert(2)>?[31m?]]>?", cases[-1].find("failure").text)

    def test_standard_output_gets_it_in_place_of_the_text(self):
        self.session(sessions.failed())
        out = self.verdict("--junit", "-", status=FAIL)[0]
        self.assertEqual("testsuites", ElementTree.fromstring(out.encode()).tag)


class Page(html.parser.HTMLParser):
    """Elements and texts; fails for what does not close as it opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        last = self.open.pop()
        assert last == tag, (last, tag)

    def handle_data(self, data):
        self.text += data if self.open[-1:] != ["style"] else ""


class Report(ShadowCase):
    def report(self, session, *args):
        self.session(session)
        path = self.folder / "report.html"
        self.assertEqual("", self.say("shadow", "report", "cart-42", "-o", path, *args))
        return path.read_text()

    def test_what_differs_comes_first_and_noise_last(self):
        page = Page(self.report(sessions.failed()))
        self.assertEqual({"fields": ["200"]}, self.params(-1))
        places = [page.text.index(x) for x in (
            "What differs", "body.items[].price value", "Headlines", "Latency", "Samples", "Noise",
            "body.generated_at", "may leave out", "--ignore 'body.generated_at'", "Context",
            "What was asked for")]  # fmt: skip
        self.assertEqual(sorted(places), places)
        for text in ("before: what the user got", "12.50", "after: the candidate", "12.49",
                     "in-flight", "main → feat-42", "Only the candidate differs in 26 (3.2 %)",
                     "That it happens to 1 % more", "Not decided: evidence that it differs 1.78"):
            self.assertIn(text, page.text)

    def test_it_asks_for_nothing_and_runs_nothing(self):
        for session in (sessions.failed(), sessions.hostile()):
            text = self.report(session)
            page = Page(text)
            self.assertEqual(set(), {"script", "img", "link", "iframe", "a"} & set(page.tags))
            for name, value in page.attributes:
                self.assertNotIn(name, ("src", "href", "srcset", "style"))
                self.assertFalse(name.startswith("on"), name)
                self.assertNotIn("://", value or "")
            self.assertNotIn("url(", text)
            self.assertNotIn("@import", text)

    def test_hostile_texts_are_texts(self):
        text = self.report(sessions.hostile())
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\u202e\ufffe]")
        page = Page(text)
        self.assertGreater(page.text.count("<script>alert(1)</script>"), 40)

    def test_plots_show_where_each_role_lies(self):
        text = self.report(sessions.failed())
        self.assertEqual(2, text.count("<svg "))
        for role in ("primary", "secondary", "candidate"):
            self.assertEqual(2, text.count(f'<path class="curve {role}"'))
        for duration in ("700 µs", "1.4 ms", "15.6 ms"):
            self.assertIn(duration, text)
        session = sessions.failed()
        session["latency"] = {}
        self.assertIn("Nothing was measured yet", self.report(session))

    def test_sessions_without_anything_are_pages_too(self):
        for session in ({}, {"verdict": "inconclusive", "fields": [{}], "headlines": [{}],
                             "latency": {"candidate": {"buckets": [[], [None], [0, -1], "x"]}}}):
            self.assertIn("What differs", Page(self.report(session)).text)

    def test_a_file_is_whole_or_not_there(self):
        self.session(sessions.passed())
        self.no("want shadow report NAME --output FILE", "shadow", "report", "cart-42")
        path = self.folder / "no" / "x.html"
        self.no(f"cannot write '{path}': No such file or directory",
                "shadow", "report", "cart-42", "-o", path)
        self.no("?", "shadow", "report", "x", "-o", self.folder / "x.html", status=NOT_FOUND)
        self.assertEqual([], list(self.folder.glob("x.html*")))
        self.assertTrue(self.say("shadow", "report", "cart-42", "-o", "-")
                        .startswith("<!DOCTYPE html>"))

    @unittest.skipUnless(shutil.which("chromium"), "no browser here")
    def test_a_browser_shows_it(self):
        self.report(sessions.hostile())
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
             f"--user-data-dir={self.folder}/browser",
             f"file://{self.folder}/report.html"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120, check=True)  # fmt: skip
        dom = done.stdout.decode()
        self.assertIn("What was asked for", dom)
        self.assertNotIn("<script", dom)
        self.assertEqual(2, dom.count("<svg "))


if __name__ == "__main__":
    unittest.main()
