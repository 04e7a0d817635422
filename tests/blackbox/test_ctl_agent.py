"""offshootctl as the client of an agent: what it asks for, and what it makes of every answer.

Most of the agents here are a script, so that answers can be wrong, late or missing; the last
are real."""

import json
import re
import signal
import socketserver
import subprocess
import threading
import unittest
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from harness import BUILD, AgentCase, eventually
from test_ctl import ERROR, GRAPH, NO, NOT_FOUND, YES, CtlCase

HISTORY = "5f0c2d1e8a9b4c3d7e6f1a2b3c4d5e6f"
CREATED = {"epoch": 17, "changed": True, "environment": "feat-42",
           "expires": "2026-11-26T23:33:55Z"}  # fmt: skip
HANG_UP = object()


class Handler(BaseHTTPRequestHandler):
    def answer(self):
        url = urlsplit(self.path)
        params = parse_qsl(url.query, keep_blank_values=True)
        size = int(self.headers.get("Content-Length", 0))
        self.server.agent.bodies.append(self.rfile.read(size))
        self.server.agent.asked.append((self.command, url.path, params))
        answer = self.server.agent.answers.get(f"{self.command} {url.path}", (404, {"error": "?"}))
        if answer is HANG_UP:
            return
        status, body = answer
        body = body if isinstance(body, bytes) else json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


class FakeAgent(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An admin socket: `answers` maps "METHOD /path" to (status, object); `asked` is what
    came, `bodies` what came with it."""

    daemon_threads = True

    def __init__(self, path):
        super().__init__(str(path), Handler)
        self.agent = self
        self.answers, self.asked, self.bodies = {}, [], []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def get_request(self):
        stream, _ = super().get_request()
        return stream, ("local", 0)

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class FakeCase(CtlCase):
    def setUp(self):
        super().setUp()
        self.socket = self.folder / "agent.sock"
        self.agent = self.closes(FakeAgent(self.socket))

    def tell(self, what, body, status=200):
        self.agent.answers[what] = (status, body)

    def say(self, *args, **more):
        return self.answer("--socket", self.socket, *args, **more)

    def say_json(self, *args, **more):
        return self.answer_json("--socket", self.socket, *args, **more)

    def no(self, why, *args, **more):
        self.refused(why, "--socket", self.socket, *args, **more)

    def params(self, index=0):
        """Of a request that was sent: {name: [values]}."""
        found = {}
        for name, value in self.agent.asked[index][2]:
            found.setdefault(name, []).append(value)
        return found

    def asked(self):
        return [f"{method} {path}" for method, path, _ in self.agent.asked]


class Changes(FakeCase):
    def test_create_sends_everything_that_was_said(self):
        self.tell("POST /env/create", CREATED)
        self.say("env", "create", "feat-42", "--parent", "team-a", "--parent", "team-b",
                 "--set", "cart=10.0.0.7:80,10.0.0.8:80", "--set", "promo=[::1]:80",
                 "--use", "pricing=main", "--remove", "search", "--for", "4h", "--public",
                 "--strict", "--owner", "team ä", "--reason", "PR #42 & more")
        self.assertEqual(["POST /env/create"], self.asked())
        self.assertEqual({
            "name": ["feat-42"], "parent": ["team-a", "team-b"],
            "set": ["cart=10.0.0.7:80,10.0.0.8:80", "promo=[::1]:80"], "use": ["pricing=main"],
            "remove": ["search"], "for": ["4h"], "access": ["public"], "strict": ["1"],
            "owner": ["team ä"], "reason": ["PR #42 & more"],
        }, self.params())

    def test_first_line_is_the_answer(self):
        for command, changed, want in (
            (("env", "create", "feat-42"), True, "feat-42 is in epoch 17"),
            (("env", "create", "feat-42"), False,
             "feat-42 is in epoch 17 already: nothing changed"),
            (("env", "set", "feat-42", "--drop", "cart"), True, "feat-42 is in epoch 17"),
            (("env", "extend", "feat-42", "--for", "4h"), True,
             "feat-42 lives until 2026-11-26T23:33:55Z, in epoch 17"),
            (("env", "delete", "feat-42"), True, "feat-42 is gone in epoch 17"),
            (("graph", "rollback", "12"), True, "the graph of epoch 12 is back as epoch 17"),
            (("graph", "rollback", "12"), False,
             "the graph of epoch 12 is that of epoch 17: nothing changed"),
            (("graph", "resume"), True, "no longer held: files and changes are in epoch 17"),
            (("graph", "resume"), False, "not held: epoch 17 stays"),
        ):
            path = f"/{command[0]}/{command[1]}" if command[0] == "env" else f"/{command[1]}"
            answer = {**CREATED, "changed": changed}
            self.tell(f"POST {path}", answer)
            self.assertEqual(want, self.say(*command).splitlines()[0])
            self.assertEqual(answer, self.say_json(*command))

    def test_details_and_hints_come_after(self):
        self.tell("POST /env/create", CREATED)
        self.assertEqual("feat-42 is in epoch 17\n"
                         "  expires: 2026-11-26T23:33:55Z\n"
                         "  hint: --wait returns when every proxy is on it\n",
                         self.say("env", "create", "feat-42", "--for", "4h"))
        self.tell("POST /rollback", {"epoch": 18, "changed": True, "held": True})
        self.assertIn("  held: the files and other changes wait for `graph resume`\n",
                      self.say("graph", "rollback", "12"))
        self.assertEqual({"epoch": ["12"]}, self.params(1))

    def test_a_change_under_a_rollback_is_said_to_wait(self):
        self.tell("POST /env/delete", {"epoch": 18, "changed": True, "environment": "feat-42",
                                       "expires": None, "held": True})
        self.assertTrue(self.say("env", "delete", "feat-42", "--while-held").startswith(
            "feat-42: noted in epoch 18, published by `graph resume`\n"))
        self.assertEqual({"name": ["feat-42"], "while-held": ["1"]}, self.params())

    def test_refusals_have_their_statuses(self):
        for http, status in ((400, ERROR), (403, ERROR), (404, NOT_FOUND), (409, NO),
                             (503, ERROR)):
            self.tell("POST /env/delete", {"error": "not\x1b[31m now"}, http)
            self.no("not?[31m now", "env", "delete", "feat-42", status=status)
            self.no("not?[31m now", "env", "delete", "feat-42", "--wait", "--json", status=status)
        self.assertNotIn("GET /wait", self.asked())

    def test_misuse_is_told_before_anything_is_asked(self):
        for why, *args in (
            ("want env create NAME", "env", "create"),
            ("want env extend NAME --for DURATION", "env", "extend"),
            ("for how long from now? say --for DURATION, as --for 4h", "env", "extend", "feat-42"),
            ("--for wants a duration as 30m, 4h or 7d, not 'soon'",
             "env", "extend", "feat-42", "--for", "soon"),
            ("set what? say --set, --use, --remove or --drop with a service, --public or --token",
             "env", "set", "feat-42", "--reason", "none"),
            ("--set wants SERVICE=ADDRESS, not 'cart'", "env", "set", "feat-42", "--set", "cart"),
            ("--public and --token together: who may enter it?",
             "env", "create", "feat-42", "--public", "--token"),
            ("--timeout is for --wait, which is not said",
             "env", "delete", "feat-42", "--timeout", "5s"),
            ("--timeout '1h' is too long", "env", "delete", "x", "--wait", "--timeout", "1h"),
            ("'env delete' does not take --for: see --help",
             "env", "delete", "feat-42", "--for", "4h"),
            ("'env delete' does not know what to do with 'b'", "env", "delete", "a", "b"),
            ("the word after rollback is the number of an epoch, not 'yesterday'",
             "graph", "rollback", "yesterday"),
            ("the word after rollback is the number of an epoch, not '0'",
             "graph", "rollback", "0"),
            ("want graph rollback EPOCH", "graph", "rollback"),
            ("'graph resume' does not know what to do with '3'", "graph", "resume", "3"),
            ("--limit wants a number, not 'all'", "graph", "log", "--limit", "all"),
            ("--limit wants a number, not '0'", "graph", "log", "--limit", "0"),
            ("--at is the number of an epoch, not 'x'", "resolve", "a", "b", "--at", "x"),
            ("--at is the number of an epoch, not '-1'", "env", "tree", "--at=-1"),
            ("want graph diff --from EPOCH [--to EPOCH], or graph diff BEFORE AFTER for files",
             "graph", "diff", "--to", "3"),
            ("--to is the number of an epoch, not ''", "graph", "diff", "--from", "3", "--to="),
            ("not a history (32 hexadecimal digits, as status tells it) 'abc'",
             "proxy", "adopt", "abc"),
            ("'env create' does not take --graph: see --help",
             "env", "create", "a", "--graph", "x"),
        ):  # fmt: skip
            socket = () if "--graph" in args else ("--socket", self.socket)
            self.refused(why, *socket, *args)
        self.assertEqual([], self.asked())

    def test_answers_that_are_no_object(self):
        for body in (b"", b"done\n", b"[1]", b"{"):
            self.tell("POST /env/create", body)
            self.no(f"the answer from '{self.socket}' is not understood", "env", "create", "a")
        self.agent.answers["POST /env/create"] = HANG_UP
        out, err = self.ctl("--socket", self.socket, "env", "create", "a", status=ERROR)
        self.assertEqual("", out)
        self.assertIn(f"no answer from '{self.socket}': ", err)

    def test_an_answer_that_cannot_be_written_is_an_error(self):
        self.tell("POST /env/create", CREATED)
        command = [BUILD / "offshootctl", "--socket", self.socket, "env", "create", "feat-42"]
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(ERROR, done.returncode)
        self.assertIn(b"cannot write the answer", done.stderr)


class Waiting(FakeCase):
    CREATE = ("env", "create", "feat-42", "--wait")

    def setUp(self):
        super().setUp()
        self.tell("POST /env/create", CREATED)

    def test_until_every_proxy_is_on_it(self):
        self.tell("GET /wait", {"epoch": 17, "proxies": 3, "waited_ms": 12})
        self.assertEqual("feat-42 is in epoch 17\n"
                         "  expires: 2026-11-26T23:33:55Z\n"
                         "  proxies: 3, every one on it after 12 ms\n", self.say(*self.CREATE))
        self.assertEqual(["POST /env/create", "GET /wait"], self.asked())
        self.assertEqual({"epoch": ["17"], "timeout": ["30s"]}, self.params(1))
        self.say(*self.CREATE, "--timeout", "2m")
        self.assertEqual(["2m"], self.params(3)["timeout"])

    def test_json_is_one_object(self):
        self.tell("GET /wait", {"epoch": 17, "proxies": 3, "waited_ms": 12})
        self.assertEqual({**CREATED, "proxies": 3, "waited_ms": 12, "behind": []},
                         self.say_json(*self.CREATE))
        self.tell("GET /wait", {"error": "late", "behind": ["gw-1"]}, 504)
        self.assertEqual({**CREATED, "proxies": None, "waited_ms": None, "behind": ["gw-1"]},
                         self.say_json(*self.CREATE, status=NO))

    def test_nobody_is_connected(self):
        self.tell("GET /wait", {"epoch": 17, "proxies": 0, "waited_ms": 0})
        self.assertIn("  proxies: none is connected\n", self.say(*self.CREATE))

    def test_the_time_is_over(self):
        self.tell("GET /wait", {"error": "late", "behind": ["gw-1", "gw\x1b[2J-2"]}, 504)
        self.assertEqual("feat-42 is in epoch 17, but not on every proxy\n"
                         "  expires: 2026-11-26T23:33:55Z\n"
                         "  behind: gw-1, gw?[2J-2\n"
                         "  hint: `proxies --behind` says more of them\n",
                         self.say(*self.CREATE, status=NO))

    def test_many_that_are_behind_are_counted(self):
        self.tell("GET /wait", {"behind": [f"gw-{n}" for n in range(25)]}, 504)
        self.assertIn("gw-18, gw-19 and 5 more\n", self.say(*self.CREATE, status=NO))

    def test_waits_also_when_nothing_changed(self):
        self.tell("POST /env/create", {**CREATED, "changed": False})
        self.tell("GET /wait", {"epoch": 17, "proxies": 1, "waited_ms": 0})
        self.say(*self.CREATE)
        self.assertIn("GET /wait", self.asked())

    def test_an_agent_that_goes_away_meanwhile(self):
        for answer, why in ((HANG_UP, "no answer from "), ((404, {"error": "gone"}), "gone"),
                            ((504, b"late"), "late"), ((200, b"[]"), "is not understood")):
            self.agent.answers["GET /wait"] = answer
            for more in ((), ("--json",)):
                out, err = self.ctl("--socket", self.socket, *self.CREATE, *more, status=ERROR)
                self.assertIn("the change is made, but waiting for the proxies failed: ", err)
                self.assertIn(why, err)
                if more:
                    self.assertEqual(CREATED, json.loads(out))
                else:
                    self.assertTrue(out.startswith("feat-42 is in epoch 17\n"), out)


def proxy(node, **more):
    return {"node": node, "role": "gateway", "connected": True, "active": 17, "staged": 17,
            "lag": 0, "behind": False, "late": False, "stale": False, "last_nack": None, **more}


class Proxies(FakeCase):
    def list(self, *proxies):
        self.tell("GET /proxies", {"history": HISTORY, "epoch": 17, "proxies": list(proxies)})

    def test_one_line_each(self):
        nack = {"reason": "BAD_DIGEST", "text": "no\x1b[0m", "epoch": 16, "time": "T"}
        late = {"active": 16, "lag": 1, "behind": True}
        self.list(
            proxy("a"), proxy("behind", **late), proxy("gone", **late, connected=False),
            proxy("late", **late, late=True, last_nack=nack),
            proxy("refused", **late, last_nack={**nack, "epoch": 17, "text": ""}),
            proxy("stale", **late, stale=True),
        )
        self.assertEqual(
            "4 proxies are behind epoch 17\n"
            "NODE     EPOCH  LAG  STATE    LAST NACK\n"
            "a        17     0    current  -\n"
            "behind   16     1    behind   -\n"
            "gone     16     1    gone     -\n"
            "late     16     1    late     BAD_DIGEST in epoch 16 at T: no?[0m\n"
            "refused  16     1    REFUSED  BAD_DIGEST in epoch 17 at T\n"
            "stale    16     1    STALE    -\n", self.say("proxies"))
        self.assertEqual({}, self.params())

    def test_behind(self):
        self.list(proxy("b", active=15, lag=2, behind=True), proxy("c", connected=False, lag=3,
                                                                  behind=True))
        self.assertEqual("1 proxy is behind epoch 17\n"
                         "NODE  EPOCH  LAG  STATE   LAST NACK\n"
                         "b     15     2    behind  -\n",
                         self.say("proxies", "--behind", status=NO))
        self.assertEqual({"behind": ["1"]}, self.params())
        self.assertEqual(2, len(self.say_json("proxies", "--behind", status=NO)["proxies"]))
        self.say("proxies", status=YES)

    def test_nobody_behind(self):
        self.list(proxy("c", connected=False, lag=3, behind=True))
        self.assertEqual("every proxy is on epoch 17\n", self.say("proxies", "--behind"))
        self.say_json("proxies", "--behind")

    def test_head_of_few(self):
        for proxies, want in (((), "no proxy is connected; epoch 17"),
                              ((proxy("a"),), "the only proxy is on epoch 17"),
                              ((proxy("a"), proxy("b")), "every proxy is on epoch 17")):
            self.list(*proxies)
            self.assertEqual(want, self.say("proxies").splitlines()[0])


class Log(FakeCase):
    EPOCH = {"epoch": 17, "time": "2026-11-26T19:33:55Z", "kind": "create", "who": "uid 1000",
             "why": "PR\n42", "what": "feat-42: cart=10.0.0.7:80", "held": False,
             "environments_added": 1, "environments_removed": 0, "environments_changed": 2,
             "services_changed": 1, "gateways_changed": 0, "origins_only": False, "bytes": 200}

    def test_newest_first(self):
        files = {**self.EPOCH, "epoch": 16, "kind": "files", "who": "files", "why": "",
                 "environments_added": 0, "environments_changed": 0, "services_changed": 0,
                 "origins_only": True, "what": "", "held": False}
        self.tell("GET /epochs", {"history": HISTORY, "epochs": [self.EPOCH, files]})
        lines = self.say("graph", "log").splitlines()
        self.assertEqual(f"epoch 17 is the newest of history {HISTORY}", lines[0])
        self.assertEqual([
            ["EPOCH", "TIME", "WHO", "KIND", "CHANGES", "WHAT", "WHY"],
            ["17", "2026-11-26T19:33:55Z", "uid 1000", "create", "+1 ~2 ~1 services",
             "feat-42: cart=10.0.0.7:80", "PR?42"],
            ["16", "2026-11-26T19:33:55Z", "files", "files", "places only", "-", "-"],
        ], [re.split("  +", line) for line in lines[1:]])
        self.assertEqual(lines[1].index("WHAT"), lines[2].index("feat-42"))
        self.assertEqual({}, self.params())
        self.say_json("graph", "log", "--limit", "2")
        self.assertEqual({"limit": ["2"]}, self.params(1))

    def test_held(self):
        rollback = {**self.EPOCH, "kind": "rollback", "held": True}
        self.tell("GET /epochs", {"history": HISTORY, "epochs": [rollback]})
        lines = self.say("graph", "log").splitlines()
        self.assertTrue(lines[0].endswith(", held: files and changes wait for graph resume"))
        self.assertIn("rollback (held)", lines[2])

    def test_no_epoch(self):
        self.tell("GET /epochs", {"history": HISTORY, "epochs": []})
        self.assertEqual(f"no epoch yet of history {HISTORY}\n", self.say("graph", "log"))


class Epochs(FakeCase):
    def test_diff_of_epochs(self):
        for equal, status in ((True, YES), (False, NO)):
            self.tell("GET /diff", {"equal": equal})
            self.assertEqual({"equal": equal}, self.say_json("graph", "diff", "--from", "3",
                                                             "--to=17", status=status))
            self.say("graph", "diff", "--from", "3", "--to", "17", status=status)
        self.assertEqual({"from": ["3"], "to": ["17"]}, self.params())
        self.say("graph", "diff", "--from", "3", status=NO)
        self.assertEqual({"from": ["3"]}, self.params(-1))
        self.tell("GET /diff", {"error": "epoch 3 is not kept"}, 404)
        self.no("epoch 3 is not kept", "graph", "diff", "--from", "3", "--to", "17",
                status=NOT_FOUND)

    def test_at_asks_for_that_epoch(self):
        decision = {"refusal": None}
        self.tell("GET /resolve", decision)
        self.tell("GET /explain", decision)
        self.tell("GET /environments", {"environments": []})
        self.tell("GET /environments/feat-42", {"environment": "feat-42"})
        for n, command in enumerate((
            ("resolve", "feat-42", "cart"), ("explain", "--path", "/x"), ("env", "list"),
            ("env", "tree"), ("env", "show", "feat-42"),
        )):  # fmt: skip
            self.say_json(*command, "--at", "16")
            self.assertEqual(["16"], self.params(n)["epoch"], command)
        self.assertEqual(["1"], self.params(3)["tree"])
        self.say_json("env", "list")
        self.assertEqual({}, self.params(5))

    def test_an_epoch_that_is_not_held(self):
        self.tell("GET /resolve", {"error": "epoch 3 is not held"}, 404)
        self.no("epoch 3 is not held", "resolve", "feat-42", "cart", "--at", "3",
                status=NOT_FOUND)


class Adopt(FakeCase):
    def test_asks_the_proxy(self):
        self.tell("POST /adopt", {"history": HISTORY})
        self.assertEqual({"history": HISTORY}, self.say_json("proxy", "adopt", HISTORY))
        self.assertEqual({"history": [HISTORY]}, self.params())
        self.tell("POST /adopt", {"error": "it is followed already"}, 409)
        self.no("it is followed already", "proxy", "adopt", HISTORY, status=NO)


class RealAgent(CtlCase, AgentCase):
    CREATE = ("env", "create", "feat-7", "--set", "cart=127.0.0.1:7001", "--public")

    def setUp(self):
        super().setUp()
        self.agent = self.start_agent(self.graph)
        self.socket = self.agent.admin
        self.nodes = 0

    def say(self, *args, **more):
        return self.answer("--socket", self.socket, *args, **more)

    def say_json(self, *args, **more):
        return self.answer_json("--socket", self.socket, *args, **more)

    def no(self, why, *args, **more):
        self.refused(why, "--socket", self.socket, *args, **more)

    def add_proxy(self):
        """A proxy that follows the agent, and has its graph."""
        self.nodes += 1
        node = f"gw-{self.nodes}"
        proxy = self.start(
            "offshoot-proxy", "--agent", self.agent.listen, "--node", node, "--listen",
            "127.0.0.1:0", "--admin", self.folder / f"{node}.sock", "--workers", "1", "--state",
            self.folder / node)  # fmt: skip
        eventually(lambda: self.line_of(node)[3] == "current")
        return proxy

    def line_of(self, node):
        lines = [re.split("  +", line) for line in self.say("proxies").splitlines()]
        return next((line for line in lines if line[0] == node), [""] * 5)

    def test_an_environment_s_life(self):
        proxy = self.add_proxy()
        out = self.say(*self.CREATE, "--for", "4h", "--reason", "PR 7", "--wait")
        self.assertRegex(out, r"\Afeat-7 is in epoch 2\n  expires: \S+Z\n"
                              r"  proxies: 1, every one on it after \d+ ms\n\Z")
        socket = proxy.ready["admin"][0]
        self.assertIn("127.0.0.1:7001",
                      self.answer("--socket", socket, "resolve", "feat-7", "cart"))
        out = self.say("env", "set", "feat-7", "--use", "pricing=team-a", "--drop", "cart")
        self.assertTrue(out.startswith("feat-7 is in epoch 3\n"), out)
        self.assertIn("provided by team-a", self.say("resolve", "feat-7", "pricing"))
        done = self.say_json("env", "extend", "feat-7", "--for", "7d", "--wait")
        self.assertEqual((4, True, "feat-7", 1, []), tuple(done[k] for k in (
            "epoch", "changed", "environment", "proxies", "behind")))
        self.assertTrue(self.say("env", "delete", "feat-7", "--wait").startswith(
            "feat-7 is gone in epoch 5\n"))
        self.no("no environment 'feat-7'", "env", "delete", "feat-7", status=NOT_FOUND)

    def test_earlier_epochs_answer(self):
        self.say(*self.CREATE)
        self.say("resolve", "feat-7", "cart")
        self.assertIn("epoch: 1\n",
                      self.say("resolve", "feat-7", "cart", "--at", "1", status=NOT_FOUND))
        self.assertNotIn("feat-7", self.say("env", "list", "--at", "1"))
        self.assertIn("feat-7", self.say("env", "tree", "--at", "2"))
        self.assertIn("+ environment feat-7",
                      self.say("graph", "diff", "--from", "1", "--to", "2", status=NO))
        self.say("graph", "diff", "--from", "2")
        self.ctl("--socket", self.socket, "graph", "diff", "--from", "9", status=NOT_FOUND)

    def test_what_would_not_be_valid_is_refused(self):
        out, err = self.ctl("--socket", self.socket, "env", "create", "feat-7", "--set",
                            "crt=127.0.0.1:1", status=NO)
        self.assertEqual("", out)
        self.assertIn("did you mean 'cart'?", err)
        out, err = self.ctl("--socket", self.socket, "env", "set", "team-a", "--drop", "pricing",
                            status=NO)
        self.assertIn(f"{self.graph}:", err)
        self.say(*self.CREATE)
        again = ("env", "create", "feat-7", "--set", "cart=127.0.0.1:7002")
        self.ctl("--socket", self.socket, *again, status=NO)

    def test_rollback_holds_until_resume(self):
        self.say(*self.CREATE, "--reason", "PR 7")
        out = self.say("graph", "rollback", "1", "--reason", "cart is broken", "--wait")
        self.assertTrue(out.startswith("the graph of epoch 1 is back as epoch 3\n"), out)
        self.assertNotIn("feat-7", self.say("env", "list"))
        self.ctl("--socket", self.socket, "env", "delete", "feat-7", status=NO)
        log = self.say("graph", "log").splitlines()
        self.assertIn(", held: ", log[0])
        self.assertEqual(["3", "2", "1"], [line.split()[0] for line in log[2:]])
        self.assertIn("rollback (held)", log[2])
        self.assertTrue(log[2].endswith("cart is broken"))
        self.assertTrue(log[3].endswith("PR 7"))
        self.say("graph", "resume")
        self.assertIn("feat-7", self.say("env", "list"))
        self.assertEqual("not held: epoch 4 stays\n", self.say("graph", "resume"))
        self.ctl("--socket", self.socket, "graph", "rollback", "99", status=NOT_FOUND)

    def test_a_proxy_that_does_not_follow_is_named(self):
        self.add_proxy()
        proxy = self.add_proxy()
        self.assertEqual("every proxy is on epoch 1\n", self.say("proxies", "--behind"))
        proxy.signal(signal.SIGSTOP)
        try:
            out = self.say(*self.CREATE, "--wait", "--timeout", "100ms", status=NO)
            self.assertTrue(out.startswith("feat-7 is in epoch 2, but not on every proxy\n"), out)
            self.assertRegex(out, r"(?m)^  behind: .*\bgw-2$")
            self.assertIn("gw-2", self.say("proxies", "--behind", status=NO))
        finally:
            proxy.signal(signal.SIGCONT)
        eventually(lambda: self.line_of("gw-2")[3] == "current")
        self.say("proxies", "--behind")

    def test_adopt_names_a_history(self):
        proxy = self.add_proxy()
        history = self.say_json("status")["history"]
        self.answer("--socket", proxy.ready["admin"][0], "proxy", "adopt", history)
        self.ctl("--socket", self.socket, "proxy", "adopt", history, status=NOT_FOUND)

    def test_status_is_told(self):
        self.assertEqual(1, self.say_json("status")["epoch"])
        self.assertTrue(self.say("status").startswith("serving, epoch 1\n"))
        self.graph.write_text(GRAPH.replace("127.0.0.1:9001", "127.0.0.1:9999"))
        self.say("reload")
        self.assertIn("127.0.0.1:9999", self.say("resolve", "main", "cart"))


if __name__ == "__main__":
    unittest.main()
