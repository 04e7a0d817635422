"""The Makefile on a tiny tree: what is rebuilt when, hardening, installing."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

TREE = {
    "lib/base/add.h": "int add(int a, int b);\n",
    "lib/base/add.c": '#include "lib/base/add.h"\nint add(int a, int b)\n{ return a + b; }\n',
    "lib/base/gone.c": "int gone(void);\nint gone(void)\n{\n    return 1;\n}\n",
    "proxy/part.c": "int part(void);\nint part(void)\n{\n    return 2;\n}\n",
    "proxy/main.c": """\
#include "lib/base/add.h"
#include <stdio.h>
#include <string.h>

int part(void);

int main(int argc, char **argv)
{
    char text[64];
    strncpy(text, argv[0], sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    return printf("%s %d\\n", text, add(argc, part())) < 0;
}
""",
    "docs/building.md": "# Building\n",
    "docs/man/offshoot-proxy.8": ".TH X 8\n",
    "conf/small/graph.yaml": "a: b\n",
    "README.md": "# Offshoot\n",
}


class MakefileTest(unittest.TestCase):
    def setUp(self):
        self.tree = Path(tempfile.mkdtemp(prefix="makefile-"))
        self.addCleanup(shutil.rmtree, self.tree)
        shutil.copy(ROOT / "Makefile", self.tree)
        for name, text in TREE.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def make(self, *args, fails=False, env=None):
        unset = ("MAKEFLAGS", "MAKELEVEL", "B", "CC", "CXX")
        env = {k: v for k, v in os.environ.items() if k not in unset} | (env or {})
        done = subprocess.run(
            ["make", "-j2", "--no-print-directory", *args],
            cwd=self.tree,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.assertEqual(fails, done.returncode != 0, done.stdout)
        return done.stdout

    def made(self, *args):
        """The files that a make wrote, named below the build folder."""
        text = self.make(*args)
        return sorted(re.findall(r"^  (?:CC|AR|LINK|GEN) +build/(\S+)$", text, re.M))

    def test_builds_once_and_then_has_nothing_to_do(self):
        self.assertIn("offshoot-proxy", self.made())
        self.assertEqual([], self.made())

    def test_a_changed_header_rebuilds_what_includes_it(self):
        self.make()
        (self.tree / "lib/base/add.h").write_text("int add(int a, int b);\n\n")
        rebuilt = [m for m in self.made() if m.endswith(".o")]
        self.assertEqual(["obj/lib/base/add.o", "obj/proxy/main.o"], rebuilt)

    def test_changed_flags_rebuild_everything(self):
        self.make()
        rebuilt = self.made("CFLAGS=-DX=1")
        self.assertEqual(4, len([m for m in rebuilt if m.endswith(".o")]), rebuilt)
        self.assertEqual([], self.made("CFLAGS=-DX=1"))

    def test_a_deleted_source_leaves_its_archive(self):
        self.make()
        (self.tree / "lib/base/gone.c").unlink()
        self.assertIn("liboffshoot.a", self.made())
        members = subprocess.run(
            ["ar", "t", self.tree / "build/liboffshoot.a"], capture_output=True, check=True
        )
        self.assertEqual(b"add.o\n", members.stdout)

    def test_a_warning_is_an_error(self):
        (self.tree / "proxy/part.c").write_text("int part(void)\n{\n    int x;\n    return 2;\n}\n")
        self.assertIn("-Werror", self.make(fails=True))

    def test_a_peer_in_cpp_is_built_where_its_compiler_and_library_are(self):
        (self.tree / "tests/blackbox").mkdir(parents=True)
        (self.tree / "tests/blackbox/peer.cc").write_text("int main()\n{\n    return 0;\n}\n")
        peer = self.tree / "build/tests/blackbox/peer"
        self.make("tests", "CXX=no-such-compiler")
        self.make("tests", env={"PKG_CONFIG_LIBDIR": str(self.tree)})
        self.assertFalse(peer.exists())
        self.make("tests")
        self.assertTrue(peer.exists())
        self.assertNotIn("CXX", self.make("tests"))
        self.assertIn("CXX", self.make("tests", "SAN=undefined", "CXX=g++ -DX"))

    def test_everything_built_lies_in_the_build_folder(self):
        before = {p for p in self.tree.rglob("*") if p.is_file()}
        self.make("B=elsewhere/x")
        new = {p.relative_to(self.tree).parts[0] for p in self.tree.rglob("*") if p.is_file()}
        self.assertEqual({p.relative_to(self.tree).parts[0] for p in before} | {"elsewhere"}, new)

    def test_both_compilers_harden_the_program(self):
        for compiler in ("gcc", "clang"):
            with self.subTest(compiler):
                self.make(f"CC={compiler}", f"B=build/{compiler}")
                folder = self.tree / "build" / compiler
                self.check_hardening(folder / "offshoot-proxy", folder / "obj/proxy/main.o")

    def check_hardening(self, program, compiled):
        def read(*args):
            command = ["readelf", "--wide", *args]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        dynamic, symbols = read("-d", program), read("--dyn-syms", program)
        self.assertRegex(read("-h", program), r"Type: +DYN")
        self.assertRegex(dynamic, r"FLAGS_1.*\bNOW\b.*\bPIE\b")
        self.assertNotRegex(dynamic, r"RPATH|RUNPATH|TEXTREL")
        segments = read("-l", program)
        self.assertIn("GNU_RELRO", segments)
        self.assertRegex(segments, r"GNU_STACK .* RW +0x")
        self.assertIn("__stack_chk_fail", symbols)
        self.assertRegex(symbols, r"__\w+_chk\b(?<!__stack_chk)")
        if os.uname().machine == "x86_64":
            self.assertRegex(read("-n", compiled), r"x86 feature: .*IBT.*SHSTK")

    def test_uninstall_removes_all_that_install_put_there(self):
        root = self.tree / "root"
        self.make("install", f"DESTDIR={root}", "PREFIX=/opt")
        installed = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
        self.assertEqual(
            [
                "opt/bin/offshoot-proxy",
                "opt/share/doc/offshoot/README.md",
                "opt/share/doc/offshoot/docs/building.md",
                "opt/share/doc/offshoot/examples/small/graph.yaml",
                "opt/share/man/man8/offshoot-proxy.8",
            ],
            installed,
        )
        self.assertTrue(os.access(root / "opt/bin/offshoot-proxy", os.X_OK))
        self.make("uninstall", f"DESTDIR={root}", "PREFIX=/opt")
        self.assertEqual([], [p for p in root.rglob("*") if p.is_file()])

    def deps(self, packages, *args):
        (self.tree / "list").write_text(f"# a comment\n\n{packages}\n")
        command = [ROOT / ".deps/install", *args]
        env = dict(os.environ, DEPS_LIST=str(self.tree / "list"))
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    def test_deps_does_nothing_when_all_packages_are_there(self):
        self.assertEqual("all 2 packages are installed\n", self.deps("make\ngcc  # a compiler"))

    def test_deps_names_a_package_that_is_missing(self):
        self.assertEqual("no-such-package\n", self.deps("make\nno-such-package", "--list"))
        said = self.deps("make\nno-such-package", "--dry-run")
        self.assertEqual("installing: no-such-package\n", said)

    def test_continuous_integration_runs_what_the_readme_says(self):
        command = "make deps && make check"
        self.assertIn(command, (ROOT / ".ci/run").read_text())
        self.assertIn(command, (ROOT / "README.md").read_text())

    def test_help_lists_the_targets(self):
        text = self.make("help")
        for target in ("all", "check", "lint", "fuzz", "install", "deps", "bench", "demo"):
            self.assertRegex(text, rf"(?m)^  {target} +\w")


if __name__ == "__main__":
    unittest.main()
