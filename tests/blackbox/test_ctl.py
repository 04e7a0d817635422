"""offshootctl on graph files and on a running proxy: what every command answers, to right and wrong
use, in words and as JSON, with its exit status."""

import json
import os
import pty
import re
import shutil
import subprocess
import unittest

from harness import BUILD, ROOT, Case, ProxyCase, eventually

EXAMPLE = ROOT / "conf/graph"
YES, ERROR, NO, NOT_FOUND = 0, 1, 2, 3

# Every feature that a decision can rest on, in one file.
GRAPH = """\
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: cart}
---
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: pricing}
---
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: promo}
---
apiVersion: offshoot.dev/v1
kind: Service
metadata: {name: search}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: main}
spec:
  mode: baseline
  providers:
    cart: {endpoints: ["127.0.0.1:9001", "127.0.0.1:9002"]}
    pricing: {endpoints: ["127.0.0.1:9003"]}
    promo: {endpoints: ["127.0.0.1:9004"]}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: team-a}
spec:
  mode: overlay
  parent: main
  providers: {pricing: {endpoints: ["127.0.0.1:9005"]}}
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: feat-42}
spec:
  mode: overlay
  parent: team-a
  expires: 2036-12-01T00:00:00Z
  use: {cart: main}
  remove: [promo]
---
apiVersion: offshoot.dev/v1
kind: Environment
metadata: {name: tools}
spec:
  mode: shared
  providers: {search: {endpoints: ["127.0.0.1:9006"]}}
---
apiVersion: offshoot.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  defaultEnvironment: main
  overlayAccess: public
  select: [{header: x-env}]
  routes:
    - {path: /cart, service: cart}
    - {path: /promo, service: promo}
    - {host: shop.example.com, path: /, service: pricing}
"""


def line_of(text):
    """Where GRAPH says it first."""
    return GRAPH[: GRAPH.index(text)].count("\n") + 1


SECOND_GATEWAY = """\
---
apiVersion: offshoot.dev/v1
kind: Gateway
metadata: {name: inner}
spec:
  routes: [{path: /, service: search}]
"""

DECISION_KEYS = [
    "environment", "service", "outcome", "class", "provider", "distance", "origin", "epoch",
    "endpoints", "refusal", "status",
]


class CtlCase(Case):
    def setUp(self):
        super().setUp()
        self.graph = self.write("graph.yaml", GRAPH)

    def ctl(self, *args, status=YES, stdin=b"", env=None):
        """Runs it and checks the exit status; gives (output, errors)."""
        env = {"OFFSHOOT_ADMIN": "", "NO_COLOR": "", **(env or {})}
        done = self.run_program("offshootctl", *args, stdin=stdin, env=env)
        out, err = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(status, done.returncode, f"{args}\n{out}\n{err}")
        return out, err

    def answer(self, *args, status=YES, **more):
        out, err = self.ctl(*args, status=status, **more)
        self.assertEqual("", err)
        return out

    def answer_json(self, *args, status=YES, **more):
        out = self.answer(*args, "--json", status=status, **more)
        self.assertEqual(1, out.count("\n"), out)
        self.assertTrue(out.endswith("\n"))
        return json.loads(out)

    def refused(self, why, *args, status=ERROR, **more):
        """Nothing on standard output, and one line that says why."""
        out, err = self.ctl(*args, status=status, **more)
        self.assertEqual("", out)
        self.assertEqual(f"offshootctl: {why}\n", err)


class Usage(CtlCase):
    COMMANDS = [
        "resolve", "explain", "env list", "env show", "env tree", "env create", "env set",
        "env extend", "env delete", "graph check", "graph diff", "graph root", "graph log",
        "graph rollback", "graph resume", "proxies", "proxy adopt", "proxy drain",
        "proxy upgrade", "proxy endpoint", "providers",
        "token issue",
        "token show", "shadow compare", "shadow evidence", "shadow start", "shadow stop",
        "shadow restart", "shadow list", "shadow show", "shadow verdict", "shadow report",
        "shadow replay",
        "status", "check", "trace",
        "top", "requests", "connections", "log",
        "metrics", "counters", "config", "reload", "drain", "log-level",
    ]

    def test_help_of_the_program_lists_every_command(self):
        out = self.answer("--help")
        self.assertTrue(out.startswith("Usage: offshootctl "))
        for command in self.COMMANDS:
            self.assertRegex(out, rf"(?m)^  {command} ")
        self.assertEqual(out, self.answer("-h"))

    def test_every_command_has_help(self):
        for command in self.COMMANDS:
            out = self.answer(*command.split(), "--help")
            self.assertTrue(out.startswith(f"Usage: offshootctl {command}"), out)
            self.assertIn("Exit status: ", out)
        self.assertIn("env tree", self.answer("env", "--help"))

    def test_help_of_an_unknown_command_is_an_error(self):
        self.refused("unknown command 'rsolve', did you mean 'resolve'?", "rsolve", "--help")

    def test_version(self):
        self.assertRegex(self.answer("--version"), r"\Aoffshootctl \d+\.\d+\.\d+\n\Z")

    def test_wrong_words_name_the_nearest(self):
        self.refused("no command: see --help")
        self.refused("unknown command 'reslove', did you mean 'resolve'?", "reslove")
        self.refused("unknown command 'graph chekc', did you mean 'graph check'?",
                     "graph", "chekc", self.graph)
        self.refused("'env' wants one word more: see env --help", "env")
        self.refused("unknown option '--garph', did you mean '--graph'?", "--garph", "x")
        self.refused("option --graph needs a value: PATH", "resolve", "--graph")

    def test_commands_of_other_versions_are_unknown(self):
        for words in (("shadow", "begin"), ("env", "attach")):
            out, err = self.ctl(*words, status=ERROR)
            self.assertEqual("", out)
            self.assertIn("unknown command", err)
        self.assertIn("unknown option", self.ctl("status", "--watch", status=ERROR)[1])

    def test_each_command_says_what_it_lacks_or_has_too_much(self):
        graph = ("--graph", self.graph)
        self.refused("want resolve ENVIRONMENT SERVICE, or resolve --batch",
                     *graph, "resolve", "main")
        self.refused("'resolve' does not know what to do with 'more'",
                     *graph, "resolve", "main", "cart", "more")
        self.refused("--batch reads names from standard input: do not know 'main'",
                     *graph, "resolve", "main", "--batch")
        self.refused("want env show NAME", *graph, "env", "show")
        self.refused("'env list' does not know what to do with 'x'", *graph, "env", "list", "x")
        self.refused("want graph check PATH...: each a file or a folder", "graph", "check")
        self.refused("want graph root PATH...: each a file or a folder", "graph", "root")
        for paths in ((), ("a",)):
            self.refused("want graph diff BEFORE AFTER: each a file or a folder",
                         "graph", "diff", *paths)
        self.refused("'graph diff' does not know what to do with 'c'",
                     "graph", "diff", "a", "b", "c")
        self.refused("want log-level LEVEL", "log-level", "--socket", "x")
        self.refused("want trace TRACE-ID", "trace", "--socket", "x")

    def test_options_that_a_command_does_not_take_are_refused(self):
        self.refused("'graph root' does not take --now: see --help",
                     "graph", "root", self.graph, "--now", "2026-01-01T00:00:00Z")
        self.refused("'env list' does not take --batch: see --help",
                     "env", "list", "--graph", self.graph, "--batch")
        self.refused("'status' does not take --graph: see --help", "status", "--graph", "x")
        self.refused("'graph check' does not take --socket: see --help",
                     "graph", "check", self.graph, "--socket", "x")
        self.refused("'metrics' does not take --json: see --help",
                     "metrics", "--socket", "x", "--json")
        self.refused("--graph and --socket together: ask files or a proxy",
                     "resolve", "a", "b", "--graph", "x", "--socket", "y")
        self.refused("files and --socket together: ask files or an agent",
                     "graph", "diff", "a", "b", "--socket", "y")
        for option in ("--at", "--from"):
            command = {"--at": ("env", "list"), "--from": ("graph", "diff")}[option]
            self.refused(f"{option} is for a running program: say --socket PATH, not files",
                         *command, "--graph", self.graph, option, "1")

    def test_says_that_it_does_not_know_where_to_look(self):
        self.refused("which graph? say --graph PATH for files, or --socket PATH for a running "
                     "proxy or agent", "resolve", "main", "cart")
        for command in (("status",), ("proxies",), ("env", "delete", "feat-42")):
            self.refused("which proxy or agent? say --socket PATH, or set OFFSHOOT_ADMIN to the "
                         "path of its admin socket", *command)

    def test_an_answer_that_cannot_be_written_is_an_error(self):
        for args in (("graph", "check", self.graph), ("--graph", self.graph, "resolve", "--batch")):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([BUILD / "offshootctl", *args], stdout=full, check=False,
                                      stderr=subprocess.PIPE, input=b"main cart\n")
            self.assertEqual(ERROR, done.returncode)
            self.assertRegex(done.stderr, rb"cannot write the answers?: No space left on device\n")


class ConfigFile(CtlCase):
    def test_says_where_to_look(self):
        config = self.write("ctl.yaml", f"graph: [{self.graph}]\n")
        self.assertIn("provided by main", self.answer("-c", config, "resolve", "main", "cart"))
        self.assertTrue(self.answer("-c", config, "graph", "check").startswith("valid: "))

    def test_where_it_says_both_the_socket_is_asked(self):
        none = self.folder / "none.sock"
        config = self.write("ctl.yaml", f"graph: {self.graph}\nsocket: {none}\n")
        self.refused(f"cannot reach '{none}': No such file or directory",
                     "-c", config, "resolve", "main", "cart")
        self.answer("-c", config, "graph", "check")
        self.answer("-c", config, "--graph", self.graph, "resolve", "main", "cart")

    def test_flags_win_over_it(self):
        config = self.write("ctl.yaml", "graph: [/nowhere]\n")
        self.answer("-c", config, "--graph", self.graph, "resolve", "main", "cart")

    def test_is_checked_and_printed(self):
        config = self.write("ctl.yaml", "socket: /run/x.sock\n")
        self.assertEqual("ok\n", self.answer("--check-config", "-c", config))
        self.assertIn('socket: "/run/x.sock"', self.answer("--print-config", "-c", config))
        printed = self.answer("--print-config", "--graph", "a", "--socket", "b")
        self.assertIn('- "a"', printed)
        again = self.write("again.yaml", printed)
        self.assertEqual(printed, self.answer("--print-config", "-c", again))

    def test_faults_have_a_place(self):
        config = self.write("ctl.yaml", "sokcet: /run/x.sock\n")
        out, err = self.ctl("--check-config", "-c", config, status=ERROR)
        self.assertEqual("", out)
        self.assertIn("ctl.yaml:1:1: ", err)
        self.assertIn("did you mean 'socket'?", err)
        self.ctl("--check-config", "-c", self.folder / "nothing", status=ERROR)


class Resolve(CtlCase):
    def resolve(self, env, service, *more, status=YES):
        return self.answer("--graph", self.graph, "resolve", env, service, *more, status=status)

    def resolve_json(self, env, service, *more, status=YES):
        d = self.answer_json(
            "resolve", "--graph", self.graph, env, service, *more, status=status
        )
        self.assertEqual(DECISION_KEYS, list(d))
        return d

    def test_each_class_of_provider(self):
        for env, service, cls, provider, distance in (
            ("main", "cart", "local", "main", 0),
            ("feat-42", "cart", "explicit", "main", 0),
            ("feat-42", "pricing", "ancestor", "team-a", 1),
            ("team-a", "promo", "baseline", "main", 1),
            ("feat-42", "search", "shared", "tools", -1),
        ):
            text = self.resolve(env, service).splitlines()
            where = "" if distance < 0 else f", distance {distance}"
            self.assertEqual(f"{service} in {env}: provided by {provider} (class {cls}{where})",
                             text[0])
            self.assertTrue(text[1].startswith("  why: "), text)
            d = self.resolve_json(env, service)
            self.assertEqual((env, service, "provider", cls, provider, distance),
                             (d["environment"], d["service"], d["outcome"], d["class"],
                              d["provider"], d["distance"]))
            self.assertEqual((None, None, 0), (d["refusal"], d["status"], d["epoch"]))

    def test_endpoints_and_origin(self):
        d = self.resolve_json("feat-42", "cart")
        self.assertEqual(["127.0.0.1:9001", "127.0.0.1:9002"], d["endpoints"])
        self.assertEqual(f"{self.graph}:{line_of('use: ')}", d["origin"])

    def test_unknown_names_exit_3_and_name_the_nearest(self):
        text = self.resolve("feat-43", "cart", status=NOT_FOUND)
        self.assertTrue(text.startswith(
            "cart in feat-43: refused: unknown-environment (status 404)\n"))
        self.assertIn("did you mean 'feat-42'?", text)
        self.assertIn("did you mean 'cart'?", self.resolve("main", "crt", status=NOT_FOUND))
        d = self.resolve_json("nobody", "cart", status=NOT_FOUND)
        self.assertEqual(("refused", "unknown-environment", 404),
                         (d["outcome"], d["refusal"], d["status"]))
        self.assertEqual([None] * 4 + [[]], [d[k] for k in ("class", "provider", "distance",
                                                            "origin", "endpoints")])
        d = self.resolve_json("main", "nothing", status=NOT_FOUND)
        self.assertEqual(("no-service", 404), (d["refusal"], d["status"]))

    def test_other_refusals_exit_2(self):
        text = self.resolve("feat-42", "promo", status=NO)
        self.assertTrue(text.startswith("promo in feat-42: refused: removed (status 404)\n"), text)
        self.assertIn("rejected:\n", text)
        d = self.resolve_json("feat-42", "promo", status=NO)
        self.assertEqual("removed", d["refusal"])
        self.assertEqual(f"{self.graph}:{line_of('remove: ')}", d["origin"])
        self.assertEqual("no-provider", self.resolve_json("tools", "cart", status=NO)["refusal"])

    def test_now_judges_expiry(self):
        before, at = "2036-11-30T23:59:59Z", "2036-12-01T01:00:00+01:00"
        self.resolve("feat-42", "cart", "--now", before)
        d = self.resolve_json("feat-42", "cart", "--now", at, status=NO)
        self.assertEqual(("expired", 410), (d["refusal"], d["status"]))
        self.assertEqual(f"{self.graph}:{line_of('expires: ')}", d["origin"])
        self.refused("not a time (RFC 3339 with a zone, as 2026-12-01T00:00:00Z) 'tomorrow'",
                     "--graph", self.graph, "resolve", "main", "cart", "--now=tomorrow")

    def test_names_are_shown_escaped(self):
        text = self.resolve("a\x1b[31m", 'b"\n', status=NOT_FOUND)
        self.assertNotIn("\x1b", text)
        self.assertEqual(3, len(text.splitlines()), text)
        d = self.resolve_json("a\x1b[31m", 'b"\n', status=NOT_FOUND)
        self.assertEqual(("a\x1b[31m", 'b"\n'), (d["environment"], d["service"]))

    def test_several_graphs_are_one(self):
        half = GRAPH.index("---\napiVersion: offshoot.dev/v1\nkind: Environment")
        a, b = self.write("a/x.yaml", GRAPH[:half]), self.write("b/y.json.yml", GRAPH[half:])
        for paths in (("--graph", a, "--graph", b), ("--graph", b.parent, "--graph", a.parent)):
            self.answer(*paths, "resolve", "main", "cart")

    def test_an_invalid_graph_is_an_error_with_findings(self):
        bad = self.write("bad.yaml", GRAPH.replace("parent: main", "parent: mian"))
        out, err = self.ctl("--graph", bad, "resolve", "main", "cart", status=ERROR)
        self.assertEqual("", out)
        self.assertRegex(err, rf"{bad}:32:11: error: unknown-parent: ")
        self.assertIn("offshootctl: the graph is not valid: 1 error\n", err)
        out, _ = self.ctl("--graph", bad, "resolve", "main", "cart", "--json", status=ERROR)
        self.assertIs(False, json.loads(out)["valid"])


class Batch(CtlCase):
    def batch(self, lines, *more, status=YES):
        return self.ctl("--graph", self.graph, "resolve", "--batch", *more, stdin=lines.encode(),
                        status=status)

    def test_one_line_each_in_order(self):
        out, err = self.batch("feat-42 cart\nfeat-42 promo\nx cart\nfeat-42 search\n")
        self.assertEqual("", err)
        self.assertEqual("feat-42 cart provider main explicit 0 127.0.0.1:9001,127.0.0.1:9002\n"
                         "feat-42 promo refused removed 404\n"
                         "x cart refused unknown-environment 404\n"
                         "feat-42 search provider tools shared -1 127.0.0.1:9006\n", out)

    def test_json_lines_are_those_of_single_questions(self):
        pairs = [(e, s) for e in ("main", "team-a", "feat-42", "tools", "nobody")
                 for s in ("cart", "pricing", "promo", "search", "nothing")]
        out, _ = self.batch("".join(f"{e} {s}\n" for e, s in pairs), "--json")
        lines = out.splitlines()
        self.assertEqual(len(pairs), len(lines))
        for (env, service), line in zip(pairs, lines):
            done = self.run_program("offshootctl", "--graph", self.graph, "--json", "resolve", env,
                                    service)
            self.assertEqual(done.stdout.decode(), line + "\n")

    def test_malformed_lines_are_told_and_others_answered(self):
        out, err = self.batch("main\nmain cart\n\nmain cart x\nmain cart", status=ERROR)
        self.assertEqual(2, out.count("main cart provider main local 0 "))
        told = [1, 3, 4]
        self.assertEqual([f"offshootctl: line {n}: want ENVIRONMENT SERVICE" for n in told] +
                         ["offshootctl: some lines were not answered"], err.splitlines())

    def test_an_invalid_graph_answers_nothing(self):
        self.graph = self.write("bad.yaml", "kind: Nothing\n")
        out, err = self.batch("main cart\n", status=ERROR)
        self.assertEqual("", out)
        self.assertIn("bad.yaml:1:", err)

    def test_many_lines(self):
        out, err = self.batch("feat-42 pricing\nmain cart\n" * 50_000)
        self.assertEqual("", err)
        lines = out.splitlines()
        self.assertEqual(100_000, len(lines))
        self.assertEqual(2, len(set(lines)))

    def test_nothing_in_nothing_out(self):
        self.assertEqual(("", ""), self.batch(""))


class Explain(CtlCase):
    def explain_json(self, *more, status=YES):
        return self.answer_json("--graph", self.graph, "explain", *more, status=status)

    def test_a_whole_request(self):
        d = self.explain_json("--host", "shop.example.com", "--path", "/x?y",
                              "-H", "X-Env: feat-42")
        self.assertEqual(DECISION_KEYS, list(d)[: len(DECISION_KEYS)])
        self.assertEqual(("pricing", "team-a", "ancestor"),
                         (d["service"], d["provider"], d["class"]))
        self.assertEqual({"rule": "selector", "environment": "feat-42"},
                         {k: d["context"][k] for k in ("rule", "environment")})
        for key in ("rule", "source", "environment", "pin"):
            self.assertIn(key, d["context"])
        self.assertEqual({"host": "shop.example.com", "path": "/", "service": "pricing"},
                         d["route"])
        self.assertEqual(["feat-42", "main"], [r["environment"] for r in d["rejected"]])

    def test_in_words(self):
        text = self.answer("--graph", self.graph, "explain", "--path", "/cart/1")
        self.assertTrue(text.startswith("cart in main: provided by main (class local"), text)
        self.assertIn("  context: rule default", text)
        self.assertIn("  route: any host /cart\n", text)

    def test_exit_statuses_are_those_of_resolve(self):
        env = ("-H", "x-env: feat-42")
        self.explain_json("--path", "/cart", *env)
        d = self.explain_json("--path", "/promo", *env, status=NO)
        self.assertEqual("removed", d["refusal"])
        self.assertEqual("no-route", self.explain_json("--path", "/other", status=NO)["refusal"])
        d = self.explain_json("--path", "/cart", "-H", "x-env: feat-4", status=NOT_FOUND)
        self.assertEqual("unknown-environment", d["refusal"])

    def test_hosts_of_services_count_on_trusted_listeners_only(self):
        d = self.explain_json("--host", "search", "--trusted")
        self.assertEqual(("search", "tools"), (d["service"], d["provider"]))
        self.assertEqual("no-route", self.explain_json("--host", "search", status=NO)["refusal"])

    def test_a_gateway_is_named_where_there_are_several(self):
        self.graph = self.write("two.yaml", GRAPH + SECOND_GATEWAY)
        self.refused("the graph has several Gateways: name one with --gateway",
                     "--graph", self.graph, "explain", "--path", "/")
        d = self.explain_json("--gateway", "edge", "--path", "/cart")
        self.assertEqual("cart", d["service"])
        self.refused("there is no gateway 'iner', did you mean 'inner'?",
                     "--graph", self.graph, "explain", "--gateway", "iner")
        self.refused("there is no gateway 'nothing'",
                     "--graph", self.graph, "explain", "--gateway", "nothing")

    def test_a_graph_without_gateways_explains_trusted_requests(self):
        self.graph = self.write("none.yaml", GRAPH[: GRAPH.rindex("---")])
        self.refused("the graph has no Gateway, which an untrusted request needs",
                     "--graph", self.graph, "explain", "--host", "cart")
        d = self.explain_json("--host", "cart", "--trusted", status=NO)
        self.assertEqual("no-environment", d["refusal"])

    def test_a_header_that_is_none(self):
        self.refused("not a header 'nothing' (want 'Name: value')",
                     "--graph", self.graph, "explain", "-H", "nothing")


class Environments(CtlCase):
    def test_list(self):
        out = self.answer("--graph", self.graph, "env", "list")
        self.assertEqual(["NAME", "feat-42", "main", "team-a", "tools"],
                         [line.split()[0] for line in out.splitlines()])
        listed = self.answer_json("--graph", self.graph, "env", "list")["environments"]
        self.assertEqual(["feat-42", "main", "team-a", "tools"],
                         [e["environment"] for e in listed])

    def test_tree(self):
        out = self.answer("env", "tree", "--graph", self.graph)
        self.assertEqual("main (baseline)\n  team-a\n    feat-42\ntools (pool)\n", out)
        tree = self.answer_json("env", "tree", "--graph", self.graph)["environments"]
        self.assertEqual([("main", 0), ("team-a", 1), ("feat-42", 2), ("tools", 0)],
                         [(e["environment"], e["depth"]) for e in tree])

    def test_show(self):
        out = self.answer("--graph", self.graph, "env", "show", "feat-42")
        self.assertTrue(out.startswith("feat-42: overlay ("), out)
        self.assertIn("  lineage: feat-42 > team-a > main\n", out)
        shown = self.answer_json("--graph", self.graph, "env", "show", "feat-42")
        self.assertEqual("feat-42", shown["environment"])
        self.assertEqual(["feat-42", "team-a", "main"], shown["lineage"])

    def test_an_unknown_one_is_not_found(self):
        self.refused("there is no environment 'feat-41'; did you mean 'feat-42'?",
                     "--graph", self.graph, "env", "show", "feat-41", status=NOT_FOUND)
        self.refused("there is no environment 'x'",
                     "--graph", self.graph, "env", "show", "x", status=NOT_FOUND)

    def test_now_judges_expiry(self):
        later = ("--graph", self.graph, "--now", "2037-01-01T00:00:00Z")
        self.assertIn("feat-42 expired", self.answer("env", "tree", *later))
        self.assertNotIn("feat-42 expired", self.answer("env", "tree", "--graph", self.graph))


class GraphCheck(CtlCase):
    def check(self, *paths, status=NO):
        """The findings of a graph, seen as JSON and as text, which must tell the same."""
        done = self.answer_json("graph", "check", *paths, status=status)
        text = self.answer("graph", "check", *paths, status=status).splitlines()
        self.assertEqual(["valid", "findings"], list(done))
        self.assertIs(status == YES, done["valid"])
        self.assertTrue(text[0].startswith("valid: " if status == YES else "not valid: "))
        lines = [line for line in text[1:] if not line.startswith("    see ")]
        self.assertEqual(len(lines), len(done["findings"]))
        for line, f in zip(lines, done["findings"]):
            self.assertEqual(["code", "severity", "file", "line", "column", "message", "related"],
                             list(f))
            self.assertEqual("{file}:{line}:{column}: {severity}: {code}: {message}".format(**f),
                             line)
            self.assertGreaterEqual(f["line"], 1)
            self.assertGreaterEqual(f["column"], 1)
        return done["findings"]

    def fault(self, content, name="bad.yaml"):
        """(code, line, column) of the findings of one file."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = self.check(path)
        self.assertEqual({str(path)}, {f["file"] for f in found})
        return [(f["code"], f["line"], f["column"]) for f in found]

    def test_a_valid_graph(self):
        self.assertEqual([], self.check(self.graph, status=YES))
        self.assertEqual(
            "valid: 4 environments, 4 services, 1 gateway in 1 file; 0 warnings\n",
            self.answer("graph", "check", self.graph),
        )

    def test_the_example_graph(self):
        self.assertEqual([], self.check(EXAMPLE, status=YES))

    def test_paths_are_words_or_options_or_both(self):
        part = self.write("part.yaml", GRAPH[GRAPH.index("---\n") :])
        first = self.write("first.yaml", GRAPH[: GRAPH.index("---\n")])
        self.answer("graph", "check", part, first)
        self.answer("graph", "check", "--graph", part, "--graph", first)
        self.answer("--graph", part, "graph", "check", first)

    def test_warnings_do_not_make_it_invalid(self):
        late = GRAPH.replace("parent: main\n", "parent: main\n  expires: 2030-01-01T00:00:00Z\n")
        found = self.check(self.write("late.yaml", late), status=YES)
        self.assertEqual([("outlives-parent", "warning")],
                         [(f["code"], f["severity"]) for f in found])

    def test_related_places_are_shown(self):
        twice = GRAPH + "---\napiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: cart}\n"
        path = self.write("twice.yaml", twice)
        (finding,) = self.check(path)
        self.assertEqual("duplicate", finding["code"])
        self.assertEqual([{"file": str(path), "line": 3}], finding["related"])
        self.assertIn(f"    see {path}:3:", self.answer("graph", "check", path, status=NO))

    def test_a_missing_file(self):
        path = self.folder / "nothing.yaml"
        (finding,) = self.check(path)
        self.assertEqual(("syntax", str(path), 1, 1),
                         tuple(finding[k] for k in ("code", "file", "line", "column")))
        self.assertIn("No such file or directory", finding["message"])

    def test_a_folder_without_graph_files(self):
        folder = self.folder / "empty"
        folder.mkdir()
        (finding,) = self.check(folder)
        self.assertEqual(("empty", str(folder), 1, 1),
                         tuple(finding[k] for k in ("code", "file", "line", "column")))

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_an_unreadable_file(self):
        self.graph.chmod(0)
        (finding,) = self.check(self.graph)
        self.assertIn("Permission denied", finding["message"])

    def test_special_files(self):
        fifo = self.folder / "fifo.yaml"
        os.mkfifo(fifo)
        for path in (fifo, "/dev/zero"):
            (finding,) = self.check(path)
            self.assertEqual("syntax", finding["code"])

    def test_an_empty_file(self):
        self.assertEqual([("empty", 1, 1)], self.fault(""))
        self.assertEqual([("empty", 1, 1)], self.fault("---\n---\n"))

    def test_bytes_that_are_no_text(self):
        lines = GRAPH.count("\n")
        for bad in (b"a: \0\n", b"a: \xff\n", b"a: \xed\xa0\x80\n", b"a: \xc0\x80\n"):
            found = self.fault(GRAPH.encode() + b"---\n" + bad)
            self.assertEqual([("syntax", lines + 2, 4)], found, bad)

    def test_a_file_cut_short(self):
        whole = GRAPH.encode()
        for n in range(whole.index(b"mode: baseline"), len(whole), 97):
            path = self.folder / "cut.yaml"
            path.write_bytes(whole[:n])
            out, _ = self.ctl("graph", "check", path, "--json", status=self.either(path))
            self.assertIn("findings", json.loads(out))
        self.assertEqual("syntax", self.fault(whole[: whole.index(b"9003")])[0][0])

    def either(self, path):
        done = self.run_program("offshootctl", "graph", "check", path)
        self.assertIn(done.returncode, (YES, NO))
        return done.returncode

    def test_nesting_has_a_bound(self):
        for depth in (33, 10_000):
            found = self.fault("a: " + "[" * depth + "]" * depth + "\n")
            self.assertEqual("syntax", found[0][0], depth)

    def test_yaml_that_says_two_things(self):
        head = "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: main}\n"
        self.assertEqual([("duplicate", 6, 3)],
                         self.fault(head + "spec:\n  mode: baseline\n  mode: baseline\n"))
        for bad in ("spec: &a {mode: baseline}\n", "spec: *a\n", "spec: !x {mode: baseline}\n"):
            self.assertEqual([("syntax", 4, 7)], self.fault(head + bad), bad)

    def test_unknown_fields_name_the_nearest(self):
        bad = GRAPH.replace("  mode: baseline", "  mode: baseline\n  onwer: me")
        path = self.write("field.yaml", bad)
        (finding,) = self.check(path)
        self.assertEqual("unknown-field", finding["code"])
        self.assertIn("owner", finding["message"])

    def test_all_findings_come_at_once(self):
        bad = GRAPH.replace("parent: main", "parent: mian").replace("127.0.0.1:9006", "nowhere")
        found = self.fault(bad)
        self.assertEqual(["unknown-parent", "address"], [code for code, _, _ in found])


class GraphRoot(CtlCase):
    def test_is_a_hash_in_hex(self):
        out = self.answer("graph", "root", self.graph)
        self.assertRegex(out, r"\A[0-9a-f]{64}\n\Z")
        self.assertEqual({"root": out.strip()}, self.answer_json("graph", "root", self.graph))

    def test_does_not_depend_on_order_or_files(self):
        root = self.answer("graph", "root", self.graph)
        documents = GRAPH.split("---\n")
        mixed = self.write("mixed.yaml", "---\n".join(reversed(documents)) + "# a comment\n")
        self.assertEqual(root, self.answer("graph", "root", mixed))
        for n, document in enumerate(documents):
            self.write(f"parts/{n}.yaml", document)
        self.assertEqual(root, self.answer("graph", "root", self.folder / "parts"))

    def test_depends_on_what_is_said(self):
        other = self.write("other.yaml", GRAPH.replace("9006", "9007"))
        self.assertNotEqual(self.answer("graph", "root", self.graph),
                            self.answer("graph", "root", other))

    def test_an_invalid_graph_has_none(self):
        bad = self.write("bad.yaml", GRAPH.replace("parent: main", "parent: mian"))
        out, err = self.ctl("graph", "root", bad, status=ERROR)
        self.assertEqual("", out)
        self.assertIn(f"{bad}:32:11: error: unknown-parent: ", err)
        out, _ = self.ctl("graph", "root", bad, "--json", status=ERROR)
        self.assertEqual("unknown-parent", json.loads(out)["findings"][0]["code"])


class GraphDiff(CtlCase):
    def test_equal_graphs(self):
        other = self.write("other.yaml", "# the same\n" + GRAPH)
        self.assertEqual("no difference\n", self.answer("graph", "diff", self.graph, other))
        self.assertIs(True, self.answer_json("graph", "diff", self.graph, other)["equal"])

    def test_changes(self):
        other = self.write("other.yaml", GRAPH.replace("127.0.0.1:9005", "127.0.0.1:9999"))
        text = self.answer("graph", "diff", self.graph, other, status=NO)
        self.assertIn("~ environment team-a", text)
        self.assertIn("127.0.0.1:9999", text)
        d = self.answer_json("graph", "diff", self.graph, other, status=NO)
        self.assertIs(False, d["equal"])
        (changed,) = d["environments"]["changed"]
        self.assertEqual("team-a", changed["name"])
        (statement,) = changed["statements"]
        self.assertEqual(("pricing", "127.0.0.1:9005", "127.0.0.1:9999"),
                         tuple(statement[k] for k in ("service", "before", "after")))

    def test_additions_and_removals(self):
        more = self.write("more.yaml", GRAPH + SECOND_GATEWAY)
        d = self.answer_json("graph", "diff", self.graph, more, status=NO)
        self.assertEqual(["inner"], d["gateways"]["added"])
        d = self.answer_json("graph", "diff", more, self.graph, status=NO)
        self.assertEqual(["inner"], d["gateways"]["removed"])

    def test_an_invalid_graph_is_an_error(self):
        bad = self.write("bad.yaml", "kind: Nothing\n")
        for paths in ((bad, self.graph), (self.graph, bad)):
            out, err = self.ctl("graph", "diff", *paths, status=ERROR)
            self.assertEqual("", out)
            self.assertIn("bad.yaml:1:", err)


class Colours(CtlCase):
    def on_terminal(self, *args, **env):
        """What is written to a terminal."""
        parent, child = pty.openpty()
        try:
            subprocess.run([BUILD / "offshootctl", *args], stdout=child, stderr=child, check=False,
                           env={**os.environ, "TERM": "xterm", **env}, cwd=self.folder)
            return os.read(parent, 65536).decode()
        finally:
            os.close(parent)
            os.close(child)

    def test_only_where_a_terminal_reads(self):
        ask = ("--graph", self.graph, "resolve", "main", "cart")
        plain = self.answer(*ask, env={"TERM": "xterm"})
        self.assertNotIn("\x1b", plain)
        coloured = self.on_terminal(*ask, NO_COLOR="")
        self.assertTrue(coloured.startswith("\x1b["), coloured)
        bare = re.sub(r"\x1b\[\d+m", "", coloured).replace("\r\n", "\n")
        self.assertEqual(plain, bare)

    def test_of_findings_and_errors(self):
        bad = self.write("bad.yaml", "kind: Nothing\n")
        text = self.on_terminal("graph", "check", bad, NO_COLOR="")
        self.assertIn("\x1b[31merror\x1b[0m", text)
        self.assertIn("\x1b[", self.on_terminal("rsolve", NO_COLOR=""))

    def test_not_when_unwanted(self):
        ask = ("--graph", self.graph, "resolve", "main", "cart")
        self.assertNotIn("\x1b", self.on_terminal(*ask, NO_COLOR="1"))
        self.assertNotIn("\x1b", self.on_terminal(*ask, NO_COLOR="", TERM="dumb"))
        self.assertNotIn("\x1b", self.on_terminal(*ask, "--json", NO_COLOR=""))


class Live(CtlCase, ProxyCase):
    def setUp(self):
        super().setUp()
        self.proxy = self.start_proxy(self.graph)
        self.socket = self.proxy.ready["admin"][0]

    def live(self, *args, **more):
        return self.answer("--socket", self.socket, *args, **more)

    def live_json(self, *args, **more):
        return self.answer_json("--socket", self.socket, *args, **more)

    def same(self, *args, status=YES):
        """Live and offline answers are one, but for the epoch."""
        have = self.live(*args, status=status)
        want = self.answer("--graph", self.graph, *args, status=status)
        have = have.replace('"epoch":1,', '"epoch":0,').replace("  epoch: 1\n", "  epoch: 0\n")
        have = have.replace('"changed":1', '"changed":0').replace("in epoch: 1", "in epoch: 0")
        self.assertEqual(want, have)

    def test_decisions_are_those_of_the_files(self):
        for env, service, status in (("main", "cart", YES), ("feat-42", "cart", YES),
                                     ("feat-42", "promo", NO), ("x\x1b y", "cart", NOT_FOUND),
                                     ("main", "crt", NOT_FOUND)):
            self.same("resolve", env, service, status=status)
            self.same("resolve", env, service, "--json", status=status)
        self.same("resolve", "feat-42", "cart", "--now", "2040-01-01T00:00:00Z", status=NO)

    def test_explanations_are_those_of_the_files(self):
        for args, status in (((), NO), (("--path", "/cart"), YES),
                             (("--path", "/cart", "-H", "x-env: feat-42", "-H", "a: b&c=d"), YES),
                             (("--path", "/promo", "-H", "X-Env:feat-42"), NO),
                             (("--path", "/cart", "-H", "x-env: nobody"), NOT_FOUND),
                             (("--host", "search", "--trusted"), YES),
                             (("--host", "search"), NO)):
            self.same("explain", *args, status=status)
            self.same("explain", *args, "--json", status=status)

    def test_environments_are_those_of_the_files(self):
        for words in (("list",), ("tree",), ("show", "feat-42")):
            self.same("env", *words)
            self.same("env", *words, "--json")

    def test_unknown_environments(self):
        for more in ((), ("--json",)):
            self.refused("there is no environment 'feat-41'; did you mean 'feat-42'?",
                         "--socket", self.socket, "env", "show", "feat-41", *more,
                         status=NOT_FOUND)

    def test_the_socket_may_be_a_variable(self):
        env = {"OFFSHOOT_ADMIN": self.socket}
        self.assertTrue(self.answer("status", env=env).startswith("serving, epoch 1\n"))
        self.assertIn("epoch: 1", self.answer("resolve", "main", "cart", env=env))
        # A flag wins over it.
        self.assertNotIn("epoch: 1", self.answer("resolve", "main", "cart", "--graph", self.graph,
                                                 env=env))
        self.answer("graph", "check", self.graph, env=env)
        self.answer("graph", "diff", self.graph, self.graph, env=env)

    def test_what_is_for_files_only(self):
        for option in (("--batch",), ("--now", "2026-01-01T00:00:00Z"), ("--gateway", "edge")):
            command = {"--batch": ("resolve",), "--now": ("env", "list"), "--gateway": ("explain",)}
            self.refused(f"{option[0]} is for graph files: say --graph PATH, not --socket",
                         "--socket", self.socket, *command[option[0]], *option)

    def test_faults_are_the_socket_s(self):
        self.refused("not a header 'nothing' (want 'Name: value')",
                     "--socket", self.socket, "explain", "-H", "nothing", "--json")
        self.refused("want resolve ENVIRONMENT SERVICE", "--socket", self.socket, "resolve", "x")
        self.refused(f"cannot reach '{self.folder}/none': No such file or directory",
                     "--socket", self.folder / "none", "status")
        long = f"/{'x' * 200}"
        out, err = self.ctl("--socket", long, "status", status=ERROR)
        self.assertEqual("", out)
        self.assertIn(long, err)

    def test_status(self):
        status = self.live_json("status")
        self.assertEqual((1, 4, 4, "serving"), tuple(status[k] for k in (
            "epoch", "environments", "services", "state")))
        self.assertEqual(self.answer("graph", "root", self.graph).strip(), status["root"])

    def test_counters_metrics_and_config(self):
        self.assertIn("  offshoot_graph_epoch\n", self.live("counters"))
        self.assertEqual(4, self.live_json("counters")["offshoot_graph_environments"])
        self.assertIn("# TYPE offshoot_requests_total counter\n", self.live("metrics"))
        self.assertIn("limits.connections" if "limits:" not in self.live("config") else "limits:",
                      self.live("config"))

    def test_check_and_reload(self):
        self.assertEqual("no findings\n", self.live("check"))
        self.assertEqual({"epoch": 1, "changed": False}, self.live_json("reload"))
        self.graph.write_text(GRAPH.replace("127.0.0.1:9001", "127.0.0.1:9999"))
        self.ctl("--socket", self.socket, "reload")
        self.assertIn("127.0.0.1:9999", self.live("resolve", "main", "cart"))
        self.graph.write_text(GRAPH.replace("parent: main", "parent: mian"))
        self.refused("the graph is not valid, epoch 2 stays active: see /check",
                     "--socket", self.socket, "reload", status=NO)
        self.assertIn("error: unknown-parent: ", self.live("check", status=NO))
        self.assertIs(False, self.live_json("check", status=NO)["valid"])
        self.live("resolve", "main", "cart")

    def test_log_level(self):
        self.assertEqual("log level debug\n", self.live("log-level", "debug"))
        self.assertEqual({"level": "info"}, self.live_json("log-level", "info"))
        self.refused("unknown level 'loud': want error, warn, info or debug",
                     "--socket", self.socket, "log-level", "loud")

    def test_trace(self):
        provider = self.provider()
        self.graph.write_text(GRAPH.replace("127.0.0.1:9003", provider.address))
        self.ctl("--socket", self.socket, "reload")
        trace = "0af7651916cd43dd8448eb211c80319c"
        self.refused("no records of that trace-id: they are kept for 30 s, for requests that asked "
                     "to be explained", "--socket", self.socket, "trace", trace,
                     status=NOT_FOUND)
        reply = self.ask(self.proxy, host="pricing", fields=[
            ("traceparent", f"00-{trace}-b7ad6b7169203331-01"), ("x-offshoot-explain", "1"),
        ])
        self.assertEqual(200, reply.status)
        self.assertTrue(self.live("trace", trace).startswith("pricing@main;class=local;"))
        self.assertIn("pricing@main", json.dumps(self.live_json("trace", trace)))

    def test_drain(self):
        self.assertEqual({"state": "draining"}, self.live_json("drain"))
        self.expect_exit(self.proxy, 0)
        eventually(lambda: not os.path.exists(self.socket))
        self.refused(f"cannot reach '{self.socket}': No such file or directory",
                     "--socket", self.socket, "status")


class NotAProxy(CtlCase):
    def answer_with(self, reply):
        """A unix socket that gives every request these bytes."""
        path = self.folder / "fake.sock"
        # Under its name only once it listens.
        script = ("import os,socket,sys\npath=sys.argv[1]\ns=socket.socket(socket.AF_UNIX)\n"
                  "s.bind(path+'.new')\ns.listen()\nos.rename(path+'.new',path)\nwhile True:\n"
                  " c,_=s.accept()\n c.recv(65536)\n"
                  " c.sendall(bytes.fromhex(sys.argv[2]))\n c.close()\n")
        self.start_other("/usr/bin/python3", "-c", script, path, reply.hex(), until=path.exists)
        return path

    def test_an_answer_that_is_no_decision(self):
        socket = self.answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        for more in ((), ("--json",)):
            out, err = self.ctl("--socket", socket, "resolve", "a", "b", *more, status=ERROR)
            self.assertEqual(f"offshootctl: the answer from '{socket}' is not understood\n", err)
        self.ctl("--socket", socket, "check", status=ERROR)

    def test_no_answer(self):
        socket = self.answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
        out, err = self.ctl("--socket", socket, "status", status=ERROR)
        self.assertEqual("", out)
        self.assertIn(f"no answer from '{socket}': ", err)

    def test_errors_without_words(self):
        socket = self.answer_with(b"HTTP/1.1 500 X\r\nContent-Length: 6\r\n\r\n<html>")
        self.refused("the program answers with HTTP status 500", "--socket", socket, "status")


class Reference(CtlCase):
    """docs/offshootctl.md: what its examples on files print."""

    def examples(self):
        """(command, output) of every `$ command` in a block of code."""
        text = (ROOT / "docs/offshootctl.md").read_text()
        for block in re.findall(r"(?ms)^```\n(.*?)^```$", text):
            for example in re.split(r"(?m)^\$ ", block)[1:]:
                yield example.split("\n", 1)

    def test_examples_print_what_they_show(self):
        shutil.copytree(ROOT / "conf", self.folder / "conf")
        path = f"{BUILD}:{os.environ['PATH']}"
        seen = 0
        for command, want in self.examples():
            if "--socket" in command:
                continue
            done = subprocess.run(["bash", "-c", command], cwd=self.folder, check=False,
                                  env={**os.environ, "PATH": path}, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            root = re.compile(r"\b[0-9a-f]{64}\b")
            self.assertEqual(root.sub("ROOT", want), root.sub("ROOT", done.stdout), command)
            seen += 1
        self.assertGreater(seen, 15)

    def test_every_command_and_option_is_in_reference_and_manual(self):
        reference = (ROOT / "docs/offshootctl.md").read_text()
        manual = (ROOT / "docs/man/offshootctl.1").read_text()
        for command in Usage.COMMANDS:
            self.assertTrue(command in reference, command)
            self.assertTrue(command.split()[-1] in manual, command)
        for command in Usage.COMMANDS:
            help_text = self.answer(*command.split(), "--help")
            for option in re.findall(r"(?m)^  --([a-z-]+)", help_text):
                self.assertTrue(f"--{option}" in reference, option)
                self.assertTrue(f"Fl -{option}" in manual, option)


class Completion(CtlCase):
    def complete(self, *words):
        """What bash offers for the last of the words."""
        script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _offshootctl; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(
            ["bash", "-c", script, "bash", ROOT / "ctl/completion/offshootctl.bash",
             BUILD / "offshootctl", *words],
            capture_output=True, check=False, cwd=self.folder, text=True)
        self.assertEqual("", done.stderr)
        return done.stdout.split()

    def test_commands(self):
        first = {command.split()[0] for command in Usage.COMMANDS}
        self.assertEqual(first, set(self.complete("")))
        self.assertEqual(["resolve", "requests", "reload"], self.complete("re"))
        for group in ("env", "graph", "proxy", "token", "shadow"):
            second = {c.split()[1] for c in Usage.COMMANDS if c.startswith(f"{group} ")}
            self.assertEqual(second, set(self.complete("--graph", "x", group, "")))

    def test_options_are_those_of_help(self):
        for command in Usage.COMMANDS:
            offered = set(self.complete(*command.split(), "--"))
            taken = set(re.findall(r"(?m)^  (--[a-z-]+)", self.answer(*command.split(), "--help")))
            general = {"--help", "--version", "--config"}
            self.assertEqual(taken, offered - general, command)

    def test_environments_and_files(self):
        graph = ("--graph", "graph.yaml")
        self.assertEqual(["feat-42"], self.complete(*graph, "resolve", "fe"))
        self.assertEqual(["feat-42", "main", "team-a", "tools"],
                         sorted(self.complete(*graph, "env", "show", "")))
        self.assertEqual(["graph.yaml"], self.complete("graph", "check", "gr"))
        self.assertEqual(["graph.yaml"], self.complete("--graph", "gr"))


if __name__ == "__main__":
    unittest.main()
