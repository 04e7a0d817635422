"""Graph files as their authors get them wrong: each single fault gives its one finding.

Every fault of graph_faults is written in block and flow style and as JSON, in one file and dealt
over several, and judged by code, severity, place and related places. Besides: valid edits, odd
bytes, files cut short, findings together, and what the root of a graph does and does not depend on.
"""

import json
import os
import random
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from graph_changes import CHANGES, OTHER_CHANGES, SAME
from graph_faults import FAULTS, put, valid_edits
from graph_samples import shop, small
from graph_writer import STYLES, parse, write

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("OFFSHOOT_BUILD", ROOT / "build")).resolve()
CTL = str(BUILD / "offshootctl")
# Findings about two places that clash stand at the later one.
CLASHES = ("duplicate", "host-claimed-twice", "route-claimed-twice", "ambiguous-shared")


def run(*arguments):
    done = subprocess.run([CTL, *arguments], capture_output=True, timeout=120, check=False)
    if done.returncode not in (0, 1, 2, 3):
        raise AssertionError(f"{arguments}: ended with {done.returncode}: {done.stderr!r}")
    return done


def check(*paths):
    """The answer of `graph check`, its exit status judged against it."""
    done = run("graph", "check", *paths, "--json")
    answer = json.loads(done.stdout)
    if (done.returncode, answer["valid"]) not in ((0, True), (2, False)):
        raise AssertionError(f"exit status {done.returncode} with valid: {answer['valid']}")
    worst = any(finding["severity"] == "error" for finding in answer["findings"])
    if worst == answer["valid"]:
        raise AssertionError("a graph is valid when it has no finding of severity error")
    return answer


def save(folder, files):
    for name, text in files.items():
        data = text if isinstance(text, bytes) else text.encode()
        Path(folder, name).write_bytes(data)
    return [str(Path(folder, name)) for name in sorted(files)]


def check_texts(*texts):
    """Checks files of these contents, 0.yaml and on; findings as tuples without the message."""
    with tempfile.TemporaryDirectory() as folder:
        paths = save(folder, {f"{number}.yaml": text for number, text in enumerate(texts)})
        return [short(finding) for finding in check(*paths)["findings"]]


def short(finding):
    name = os.path.basename(finding["file"])
    return finding["code"], f"{name}:{finding['line']}:{finding['column']}"


def check_graph(graph, style="block", files=1):
    with tempfile.TemporaryDirectory() as folder:
        texts, places = write(graph, style, files)
        save(folder, texts)
        return check(folder), places


def in_parallel(fn, items):
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return list(pool.map(fn, items))


def place_of(places, where):
    what = "key" if where.startswith("!") else "value"
    return places[(*parse(where.lstrip("!")), what)]


class SingleFaults(unittest.TestCase):
    maxDiff = None

    def expected(self, fault, places):
        """(code, severity, place, related places as file and line)."""
        place = place_of(places, fault.where)
        related = fault.related or []
        related = [related] if isinstance(related, str) else related
        related = [place_of(places, where) for where in related]
        if fault.code in CLASHES:
            place, related = max(place, *related), [min(place, *related)]
        return fault.code, fault.severity, place, sorted(spot[:2] for spot in related)

    def judge(self, fault, style, files):
        graph = fault.graph()
        fault.edit(graph)
        answer, places = check_graph(graph, style, files)
        got = [(finding["code"], finding["severity"],
                (os.path.basename(finding["file"]), finding["line"], finding["column"]),
                sorted((os.path.basename(spot["file"]), spot["line"])
                       for spot in finding["related"]))
               for finding in answer["findings"]]
        want = self.expected(fault, places)
        if fault.related is None and len(got) == 1:
            want = (*want[:3], got[0][3])
        problem = None
        if got != [want]:
            problem = f"want {want}, got {answer['findings']}"
        elif fault.hint and f"'{fault.hint}'" not in answer["findings"][0]["message"]:
            problem = f"no hint at {fault.hint}: {answer['findings'][0]['message']}"
        return problem and f"{fault.title} ({style}, {files} files): {problem}"

    def battery(self, style, files):
        problems = in_parallel(lambda fault: self.judge(fault, style, files), FAULTS)
        problems = [problem for problem in problems if problem]
        self.assertFalse(problems, "\n".join(problems))

    def test_each_gives_its_finding_in_block_style_in_one_file(self):
        self.battery("block", 1)

    def test_each_gives_its_finding_in_flow_style_over_three_files(self):
        self.battery("flow", 3)

    def test_each_gives_its_finding_in_json_with_a_file_for_each_document(self):
        self.battery("json", 100)

    def test_there_are_enough_of_every_code(self):
        codes = {fault.code for fault in FAULTS}
        self.assertEqual(len(codes), 29, sorted(codes))
        self.assertGreaterEqual(len(FAULTS), 250)


class ValidGraphs(unittest.TestCase):
    def test_the_samples_have_no_finding_in_any_style(self):
        for make in (shop, small):
            for style in STYLES:
                for files in (1, 2, 100):
                    answer, _ = check_graph(make(), style, files)
                    self.assertEqual(answer["findings"], [], (make, style, files))

    def test_edits_to_the_bounds_have_no_finding(self):
        def judge(edit):
            graph = shop()
            edit(graph)
            return [check_graph(graph, style, 2)[0]["findings"] for style in STYLES]

        for number, findings in enumerate(in_parallel(judge, valid_edits())):
            self.assertEqual(findings, [[], [], []], f"edit {number}")


SERVICE = "kind: Service\nmetadata: {name: cart}\n"
MAIN = ("kind: Environment\nmetadata: {name: main}\nspec:\n  mode: baseline\n"
        "  providers: {cart: {endpoints: ['10.0.0.1:80']}}\n")
GRAPH = SERVICE + "---\n" + MAIN  # `mode` is in line 7


def owned(text):
    """The graph with the owner of main written as `text`, in line 7 from column 10."""
    return GRAPH.replace("  mode", f"  owner: {text}\n  mode")


class OddInput(unittest.TestCase):
    def one(self, code, place, *texts):
        self.assertEqual(check_texts(*texts), [(code, place)], [text[:80] for text in texts])

    def test_yaml_beyond_plain_data_is_a_syntax_finding_at_its_place(self):
        self.one("syntax", "0.yaml:7:10", owned("&a x"))
        self.one("syntax", "0.yaml:7:10", owned("*a"))
        self.one("syntax", "0.yaml:7:10", owned("&a x").replace("mode: b", "access: *a\n  mode: b"))
        self.one("syntax", "0.yaml:7:3", GRAPH.replace("  mode", "  <<: {owner: x}\n  mode"))
        self.one("syntax", "0.yaml:7:3", GRAPH.replace("  mode", "  <<: *base\n  mode"))
        for tag in ("!!str x", "!own x", "! x", "!!binary YQ==", "!!int 4", "!<tag:x> x"):
            self.one("syntax", "0.yaml:7:10", owned(tag))
        self.one("syntax", "0.yaml:1:1", "%TAG ! tag:x,2000:\n---\n" + GRAPH)
        self.one("syntax", "0.yaml:10:3", GRAPH + "---\n? [a, b]\n: c\n")

    def test_text_that_is_no_utf8_yaml_is_a_syntax_finding_at_its_place(self):
        for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"):
            text = owned("@").encode().replace(b"@", bad)
            self.one("syntax", "0.yaml:7:10", text)
            self.one("syntax", "0.yaml:1:3", b"# " + bad + b"\n" + GRAPH.encode())
        self.one("syntax", "0.yaml:7:11", owned("a\0b"))
        self.one("syntax", "0.yaml:9:1", GRAPH + "\0")
        self.one("syntax", "0.yaml:7:10", owned('"a\\0b"'))
        self.one("syntax", "0.yaml:1:1", "\ufeff\ufeff" + GRAPH)
        self.one("syntax", "0.yaml:9:1", GRAPH + "\ufeff---\n")
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
            found = check_texts(GRAPH.encode(encoding))
            self.assertEqual([code for code, _ in found], ["syntax"], encoding)
        self.one("syntax", "0.yaml:7:11", owned("a\x01b"))

    def test_a_byte_order_mark_at_the_start_of_each_file_is_fine(self):
        self.assertEqual(check_texts("\ufeff" + SERVICE, "\ufeff" + MAIN), [])

    def test_line_ends_of_any_kind_are_counted_alike(self):
        for end in ("\n", "\r\n", "\r"):
            self.assertEqual(check_texts(GRAPH.replace("\n", end)), [])
            self.one("unknown-field", "0.yaml:7:3",
                     owned("x").replace("owner", "ower").replace("\n", end))

    def test_json_as_programs_write_it_is_read(self):
        service = {"kind": "Service", "metadata": {"name": "cart"}}
        main = {"kind": "Environment", "metadata": {"name": "main"}, "spec": {
            "mode": "baseline", "owner": 'a\n\t"\\/ü\u2028', "providers": {
                "cart": {"endpoints": ["10.0.0.1:80"]}}}}
        for options in ({}, {"indent": 1}, {"indent": "\t"}, {"separators": (",", ":")}):
            texts = [json.dumps(document, **options) for document in (service, main)]
            self.assertEqual(check_texts(*texts), [], options)
        twice = json.dumps(main).replace('"mode"', '"\\u006dode": "baseline", "mode"')
        column = twice.index('"mode"') + 1
        self.one("duplicate", f"1.yaml:1:{column}", json.dumps(service), twice)

    def test_without_an_environment_there_is_one_finding(self):
        for text in ("", "\n\n", "# nothing\n", "---\n---\n...\n", "\ufeff", SERVICE):
            self.one("empty", "0.yaml:1:1", text)
            self.one("empty", "0.yaml:1:1", text, SERVICE.replace("cart", "web"))
        self.one("type", "0.yaml:1:1", "hello\n")
        self.one("type", "0.yaml:1:1", "- a\n- b\n")
        self.assertEqual(check_texts(GRAPH, "", "---\n---\n"), [])

    def test_nesting_is_bounded_at_32(self):
        self.one("type", "0.yaml:10:1", GRAPH + "---\n" + "[" * 32 + "]" * 32)
        for depth in (33, 1000, 100_000):
            self.one("syntax", "0.yaml:10:33", GRAPH + "---\n" + "[" * depth + "]" * depth)
            self.one("syntax", "0.yaml:10:33", GRAPH + "---\n" + "[" * depth)
            self.one("syntax", "0.yaml:10:129", GRAPH + "---\n" + "{a: " * depth)
        deep = "".join(" " * level + "a:\n" for level in range(1000))
        self.one("syntax", "0.yaml:42:33", GRAPH + "---\n" + deep)

    def test_a_hundred_thousand_documents_are_read(self):
        self.assertEqual(check_texts("---\n" * 100_000 + GRAPH), [])
        overlays = "".join(f"---\nkind: Environment\nmetadata: {{name: o{number}}}\n"
                           "spec: {mode: overlay, parent: main}\n" for number in range(100_000))
        self.assertEqual(check_texts(GRAPH + overlays), [])

    def test_after_syntax_no_reference_is_judged(self):
        broken = MAIN.replace("cart", "nope").replace("mode", "expires: soon\n  mode")
        self.assertEqual(check_texts(broken, SERVICE, "a: [\n"), [
            ("date", "0.yaml:4:12"), ("syntax", "2.yaml:2:1")])

    def test_a_thousand_findings_are_listed_and_the_others_counted(self):
        documents = "".join(f"---\nkind: Service\nmetadata: {{name: S{number}}}\n"
                            for number in range(1500))
        with tempfile.TemporaryDirectory() as folder:
            answer = check(*save(folder, {"a.yaml": GRAPH, "b.yaml": documents}))
        self.assertEqual(len(answer["findings"]), 1000)
        self.assertEqual([finding["line"] for finding in answer["findings"]],
                         list(range(3, 3003, 3)))
        self.assertEqual(answer["omitted"], 500)

    def test_warnings_do_not_crowd_out_an_error(self):
        services = "".join(f"---\nkind: Service\nmetadata: {{name: s{number}}}\n"
                           for number in range(1500))
        found = check_texts(services, owned("[]"))
        self.assertEqual(len(found), 1000)
        self.assertIn(("type", "1.yaml:7:10"), found)

    def test_paths_are_files_or_folders_not_deeper(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(Path(folder, "sub"))
            save(folder, {"a.yaml": SERVICE, "b.json": MAIN,
                          "c.txt": "[", "sub/d.yaml": "[", "e.yml": ""})
            self.assertEqual(check(folder)["findings"], [])
            self.assertFalse(check(folder, str(Path(folder, "c.txt")))["valid"])
            self.assertFalse(check(folder, str(Path(folder, "missing.yaml")))["valid"])
            self.assertFalse(check(str(Path(folder, "sub")))["valid"])
            os.mkfifo(Path(folder, "f.yaml"))
            self.assertFalse(check(folder)["valid"])
            os.remove(Path(folder, "f.yaml"))
            os.mkdir(Path(folder, "none"))
            self.assertEqual(len(check(str(Path(folder, "none")))["findings"]), 1)

    @unittest.skipIf(os.geteuid() == 0, "root reads every file")
    def test_an_unreadable_file_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            save(folder, {"a.yaml": GRAPH, "b.yaml": SERVICE.replace("cart", "web")})
            os.chmod(Path(folder, "b.yaml"), 0)
            self.assertFalse(check(folder)["valid"])

    def test_a_file_cut_short_is_refused_or_a_smaller_graph(self):
        rng = random.Random(20)

        def judge(case):
            data, offset, full = case
            with tempfile.TemporaryDirectory() as folder:
                paths = save(folder, {"g.yaml": data[:offset]})
                answer = check(*paths)
                same = answer["valid"] and run("graph", "root", *paths).stdout == full
            # Nothing but white space and closing brackets may be missing from the same graph.
            return not same or not data[offset:].strip(b" \n]}\"'")

        cases = []
        for style in STYLES:
            data = write(shop(), style, 1)[0].popitem()[1].encode()
            with tempfile.TemporaryDirectory() as folder:
                full = run("graph", "root", *save(folder, {"g.yaml": data})).stdout
            offsets = rng.sample(range(len(data)), 120) + [len(data) - back for back in range(20)]
            cases += [(data, offset, full) for offset in offsets]
        self.assertTrue(all(in_parallel(judge, cases)))


class FindingsTogether(unittest.TestCase):
    def test_independent_faults_are_all_told_sorted_by_place(self):
        rng = random.Random(7)
        picks = [fault for fault in FAULTS
                 if fault.code in ("type", "unknown-field", "date", "address")
                 and fault.where.lstrip("!")[:2] != "x."]

        def spot(fault):
            label, _, path = fault.where.lstrip("!").partition(":")
            return f"{label}:{path.rpartition('/')[0]}"

        for _ in range(40):
            chosen = []
            for fault in rng.sample(picks, 12):
                apart = all(not spot(fault).startswith(spot(other))
                            and not spot(other).startswith(spot(fault)) for other in chosen)
                if apart:
                    chosen.append(fault)
            graph = shop()
            for fault in chosen:
                fault.edit(graph)
            answer, places = check_graph(graph, rng.choice(STYLES), rng.randint(1, 5))
            got = [(os.path.basename(f["file"]), f["line"], f["column"], f["code"])
                   for f in answer["findings"]]
            self.assertEqual(got, sorted(got))
            want = sorted((*place_of(places, fault.where), fault.code) for fault in chosen)
            self.assertEqual(got, want, [fault.title for fault in chosen])


def root(graph, style="block", files=1):
    with tempfile.TemporaryDirectory() as folder:
        save(folder, write(graph, style, files)[0])
        done = run("graph", "root", folder)
    return done.stdout.decode().strip() if done.returncode == 0 else done.stderr.decode()


def edited(edit):
    graph = shop()
    edit(graph)
    return graph


class Roots(unittest.TestCase):
    def test_every_change_of_meaning_gives_another_root(self):
        edits = [put(*change) for change in CHANGES] + OTHER_CHANGES
        names = [repr(change) for change in CHANGES] + [
            f"other {number}" for number in range(len(OTHER_CHANGES))]
        seen = {root(shop()): "the shop"}
        for name, value in zip(names, in_parallel(lambda edit: root(edited(edit)), edits)):
            self.assertRegex(value, r"\A[0-9a-f]{64}\Z", name)
            self.assertNotIn(value, seen, f"{name} has the root of {seen.get(value)}")
            seen[value] = name

    def test_the_same_meaning_written_otherwise_keeps_the_root(self):
        want = root(shop())
        for number, value in enumerate(in_parallel(lambda edit: root(edited(edit)), SAME)):
            self.assertEqual(value, want, f"edit {number}")

    def test_order_files_and_style_keep_the_root(self):
        rng = random.Random(3)

        def shuffled(node):
            if isinstance(node, list):
                return [shuffled(value) for value in node]
            if not isinstance(node, dict):
                return node
            pairs = list(node.items())
            rng.shuffle(pairs)
            return {key: shuffled(value) for key, value in pairs}

        want = root(shop())
        for number in range(60):
            graph = shop()
            rng.shuffle(graph.docs)
            for doc in graph.docs:
                doc.tree = shuffled(doc.tree)
            self.assertEqual(root(graph, STYLES[number % 3], rng.randint(1, 20)), want)

    def test_comments_and_layout_keep_the_root(self):
        with tempfile.TemporaryDirectory() as folder:
            first = run("graph", "root", *save(folder, {"a.yaml": GRAPH})).stdout
            text = "# hello\n\n" + GRAPH.replace("\n", "   # note\n\n") + "...\n# end"
            second = run("graph", "root", *save(folder, {"b.yaml": text})).stdout
        self.assertEqual(first, second)

    def test_an_invalid_graph_has_none(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run("graph", "root", *save(folder, {"a.yaml": GRAPH + "---\nkind: X\n"}))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, b"")
        self.assertIn(b"a.yaml:10:7: error: type", done.stderr)

    def test_diff_names_what_changed_and_nothing_else(self):
        sections = {"s": "services", "e": "environments", "g": "gateways"}

        def judge(change):
            place, value = change
            with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
                save(before, write(shop(), "block", 1)[0])
                save(after, write(edited(put(place, value)), "json", 3)[0])
                done = run("graph", "diff", before, after, "--json")
            answer = json.loads(done.stdout)
            told = {(section, how, one["name"] if isinstance(one, dict) else one)
                    for section in sections.values() for how, some in answer[section].items()
                    for one in some}
            label = parse(place)[0]
            want = {(sections[label[0]], "changed", label[2:])}
            return (done.returncode, answer["equal"], told) == (2, False, want)

        for change, right in zip(CHANGES, in_parallel(judge, CHANGES)):
            self.assertTrue(right, change)

    def test_diff_of_equal_graphs_is_empty(self):
        with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
            save(before, write(shop(), "block", 1)[0])
            save(after, write(shop(), "json", 7)[0])
            done = run("graph", "diff", before, after, "--json")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(json.loads(done.stdout)["equal"])

    def test_diff_tells_what_came_and_went(self):
        graph = shop()
        graph.remove("e.deep")
        graph.set("g.inner:metadata/name", "inside")
        with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
            save(before, write(shop(), "block", 1)[0])
            save(after, write(graph, "block", 1)[0])
            answer = json.loads(run("graph", "diff", before, after, "--json").stdout)
        names = {section: {how: [one["name"] if isinstance(one, dict) else one for one in some]
                           for how, some in answer[section].items()}
                 for section in ("environments", "services", "gateways")}
        self.assertEqual(names, {
            "environments": {"added": [], "removed": ["deep"], "changed": []},
            "services": {"added": [], "removed": [], "changed": []},
            "gateways": {"added": ["inside"], "removed": ["inner"], "changed": []}})


if __name__ == "__main__":
    unittest.main()
