"""Each lint rule is seen to fail: a fault planted in a tiny tree, whose place it names."""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

HEADER = """\
/* Adds. */
#ifndef OFFSHOOT_BASE_ADD_H
#define OFFSHOOT_BASE_ADD_H

int add(int a, int b);

#endif
"""
SOURCE = """\
#include "lib/base/add.h"
#include <limits.h>

int add(int a, int b)
{
    return a > INT_MAX - b ? INT_MAX : a + b;
}
"""
USER = """\
#include "lib/base/add.h"

int twice(int a);

int twice(int a)
{
    return add(a, a);
}
"""
CLEAN = {
    "lib/base/add.h": HEADER,
    "lib/base/add.c": SOURCE,
    "lib/graph/twice.c": USER,
    "proxy/main.c": USER,
    "tests/tool.py": '"""A tool."""\n',
}


def function(lines):
    """USER with a function of this many lines, braces included."""
    body = "    a += 1;\n" * (lines - 3) + "    return a;\n"
    return f"int twice(int a);\n\nint twice(int a)\n{{\n{body}}}\n"


def with_line(text, number, line):
    lines = text.splitlines()
    lines.insert(number - 1, line)
    return "\n".join(lines) + "\n"


class LintTest(unittest.TestCase):
    def setUp(self):
        self.tree = Path(tempfile.mkdtemp(prefix="lint-"))
        self.addCleanup(shutil.rmtree, self.tree)
        for name in (".clang-format", ".clang-tidy"):
            shutil.copy(ROOT / name, self.tree)
        for name, text in CLEAN.items():
            self.plant(name, text)

    def plant(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_rule(self, rule):
        return subprocess.run(
            [sys.executable, "-B", HERE / f"{rule}.py", self.tree],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def assert_passes(self, rule):
        done = self.run_rule(rule)
        self.assertEqual((0, ""), (done.returncode, done.stdout))

    def assert_finds(self, rule, place, text=""):
        """The rule fails with a line that begins with the place and has the text."""
        done = self.run_rule(rule)
        self.assertEqual(1, done.returncode, done.stdout)
        hits = [line for line in done.stdout.splitlines() if line.startswith(f"{place}: ")]
        self.assertTrue(any(text in hit for hit in hits), f"{place} {text!r} in:\n{done.stdout}")

    def test_a_clean_tree_passes_every_rule(self):
        done = subprocess.run(
            [sys.executable, "-B", HERE / "run", "--tree", self.tree],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stdout)
        self.assertEqual("9 passed, 0 failed", done.stdout.splitlines()[-1])

    def test_a_failed_rule_fails_the_run_and_is_counted(self):
        self.plant("proxy/main.c", USER + "// NO" "LINT\n")
        done = subprocess.run(
            [sys.executable, "-B", HERE / "run", "--tree", self.tree, "markers", "includes"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(1, done.returncode)
        self.assertEqual("1 passed, 1 failed", done.stdout.splitlines()[-1])

    # -- format, tidy, cppcheck

    def test_format_finds_wrong_white_space(self):
        self.plant("proxy/main.c", USER.replace("    return", "  return"))
        self.assert_finds("format", "proxy/main.c:6")

    def test_tidy_finds_a_null_dereference(self):
        fault = "int at(const int *p);\n\nint at(const int *p)\n{\n    return p ? 0 : *p;\n}\n"
        self.plant("lib/base/at.c", fault)
        self.assert_finds("tidy", "lib/base/at.c:5", "clang-analyzer-core.NullDereference")

    def test_tidy_finds_a_fault_in_a_header(self):
        line = "static inline int size(const char *p) { return p == p; }"
        self.plant("lib/base/add.h", with_line(HEADER, 5, line))
        self.assert_finds("tidy", "lib/base/add.h:5")

    def test_cppcheck_finds_a_leak(self):
        self.plant(
            "ctl/main.c",
            """\
#include <stdlib.h>

int main(void)
{
    char *p = malloc(3);
    if (!p)
        return 1;
    return 0;
}
""",
        )
        self.assert_finds("cppcheck", "ctl/main.c:8", "memleak")

    def test_cppcheck_finds_a_portability_fault(self):
        self.plant(
            "ctl/main.c",
            """\
int main(void)
{
    int n = 1;
    void *p = &n;
    p = p + 1;
    return !p;
}
""",
        )
        self.assert_finds("cppcheck", "ctl/main.c:5", "arithOperationsOnVoidPointer")

    # -- includes

    def test_includes_finds_a_lower_layer_that_includes_a_higher(self):
        self.plant("lib/graph/a.h", HEADER)
        self.plant("lib/base/b.c", '#include "lib/graph/a.h"\n')
        self.assert_finds("includes", "lib/base/b.c:1", "lib/base is below lib/graph")

    def test_includes_finds_a_library_that_includes_a_program(self):
        self.plant("lib/net/b.c", '#include <stdio.h>\n#include "proxy/conn.h"\n')
        self.assert_finds("includes", "lib/net/b.c:2", "lib/net must not include proxy")

    def test_includes_finds_programs_that_include_each_other(self):
        for one, other in (("proxy", "agent"), ("agent", "ctl"), ("ctl", "proxy")):
            with self.subTest(one):
                self.plant(f"{one}/b.c", f'#include "{other}/b.h"\n')
                self.assert_finds("includes", f"{one}/b.c:1", f"must not include {other}")

    def test_includes_finds_a_library_of_input_and_output_in_the_domain(self):
        for layer in ("graph", "compare"):
            for name in (
                "event2/event.h",
                "ares.h",
                "hiredis/hiredis.h",
                "nghttp2/nghttp2.h",
                "curl/curl.h",
                "openssl/ssl.h",
            ):
                with self.subTest(f"{layer} {name}"):
                    self.plant(f"lib/{layer}/b.c", f"#include <{name}>\n")
                    self.assert_finds("includes", f"lib/{layer}/b.c:1", f"<{name}>")

    def test_includes_lets_the_domain_use_pure_libraries(self):
        self.plant("lib/graph/b.c", "#include <openssl/evp.h>\n#include <yaml.h>\n")
        self.assert_passes("includes")

    def test_includes_finds_a_header_not_named_from_the_root(self):
        self.plant("lib/base/b.c", '#include "add.h"\n')
        self.assert_finds("includes", "lib/base/b.c:1", "not named from the root")

    def test_includes_finds_a_source_whose_own_header_is_not_first(self):
        self.plant("lib/base/add.c", "#include <limits.h>\n" + SOURCE)
        self.assert_finds("includes", "lib/base/add.c:1", 'not "lib/base/add.h"')

    def test_includes_finds_a_file_outside_the_layers(self):
        self.plant("lib/misc/b.c", "#include <stdio.h>\n")
        self.assert_finds("includes", "lib/misc/b.c:1", "none of the layers")

    # -- headers

    def test_headers_finds_one_that_does_not_compile_alone(self):
        self.plant("lib/base/add.h", HEADER.replace("int a", "size_t a"))
        self.assert_finds("headers", "lib/base/add.h:5", "size_t")

    def test_headers_finds_a_missing_guard(self):
        self.plant("lib/base/b.h", "int b(void);\n")
        self.assert_finds("headers", "lib/base/b.h:1", "include guard")

    # -- sizes

    def test_sizes_allows_700_lines_and_finds_701(self):
        self.plant("proxy/main.c", "\n" * 700)
        self.assert_passes("sizes")
        self.plant("proxy/main.c", "\n" * 701)
        self.assert_finds("sizes", "proxy/main.c:701", "701 lines, 700")

    def test_sizes_allows_a_header_200_lines_and_finds_201(self):
        self.plant("proxy/a.h", "\n" * 200)
        self.assert_passes("sizes")
        self.plant("proxy/a.h", "\n" * 201)
        self.assert_finds("sizes", "proxy/a.h:201", "201 lines, 200")

    def test_sizes_allows_a_function_120_lines_and_finds_121(self):
        self.plant("proxy/main.c", function(120))
        done = self.run_rule("sizes")
        self.assertEqual(0, done.returncode, done.stdout)
        self.plant("proxy/main.c", function(121))
        self.assert_finds("sizes", "proxy/main.c:4", "twice has 121 lines, 120")

    def test_sizes_tells_a_function_over_80_lines_without_failing(self):
        self.plant("proxy/main.c", function(80))
        self.assert_passes("sizes")
        self.plant("proxy/main.c", function(81))
        done = self.run_rule("sizes")
        self.assertEqual(0, done.returncode)
        self.assertEqual("proxy/main.c:4: warning: twice has 81 lines\n", done.stdout)

    # -- markers, words, python

    def test_markers_finds_each_suppression(self):
        for marker in (
            "// NO" "LINT",
            "#pragma" " GCC diagnostic ignored",
            "// cppcheck" "-suppress leak",
            '__attribute__((no_' 'sanitize("address")))',
            "// TO" "DO",
        ):
            with self.subTest(marker):
                self.plant("proxy/main.c", with_line(USER, 2, marker))
                self.assert_finds("markers", "proxy/main.c:2")

    def test_words_finds_what_speaks_of_a_workplace(self):
        for text in (
            "see /ho" "me/me/notes",
            "see ../sha" "red/spec",
            "see DESI" "GN.md",
            "Co-Autho" "red-By: x",
        ):
            with self.subTest(text):
                self.plant("docs/a.md", f"# A\n\n{text}\n")
                self.assert_finds("words", "docs/a.md:3")

    def test_words_lets_other_paths_and_words_be(self):
        self.plant("docs/a.md", "lib/work/x, /var/lib/offshoot, shared pools, style\n")
        self.assert_passes("words")

    def test_python_finds_a_file_that_does_not_compile(self):
        self.plant("tests/tool.py", "x = 1\ndef f(:\n")
        self.assert_finds("python", "tests/tool.py:2")

    def test_python_allows_100_columns_and_finds_101(self):
        self.plant("tests/tool.py", f'"{"x" * 98}"\n')
        self.assert_passes("python")
        self.plant("tests/tool.py", f'"{"x" * 99}"\n')
        self.assert_finds("python", "tests/tool.py:1", "101 columns")

    def test_a_file_that_a_tool_cannot_read_is_a_failure(self):
        self.plant("lib/base/add.c", '#include "lib/base/gone.h"\n')
        self.assert_finds("tidy", "lib/base/add.c:1", "gone.h")


if __name__ == "__main__":
    unittest.main()
