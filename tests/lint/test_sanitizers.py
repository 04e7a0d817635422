"""Each sanitizer build is seen to fail: a fault is planted in a program that is compiled with the
Makefile's flags, with both compilers, and run as tests/run runs a test."""

import os
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from test_runner import run

ROOT = Path(__file__).resolve().parent.parent.parent

# A test program ends with a line that says it passed: only the sanitizer can make it fail.
START = """\
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

"""
END = """
    printf("[       OK ] planted\\n");
    return 0;
}
"""
FAULTS = {
    "a heap overflow": (
        "address,undefined",
        "int main(int argc, char **argv)\n{\n    (void)argv;\n"
        "    volatile char *volatile p = malloc(8);\n    if (!p)\n        return 1;\n"
        "    p[7 + argc] = 1;\n    free((void *)p);\n",
        "heap-buffer-overflow",
    ),
    "a leak": (
        "address,undefined",
        "static void lose(size_t n)\n{\n    char *volatile p = malloc(n);\n"
        "    if (p)\n        p[0] = 1;\n    p = NULL;\n}\n\n"
        "int main(int argc, char **argv)\n{\n    (void)argv;\n"
        "    for (int i = 0; i < 100; i++)\n        lose(64u * (unsigned)argc);\n",
        "detected memory leaks",
    ),
    "an undefined shift": (
        "address,undefined",
        "int main(int argc, char **argv)\n{\n    (void)argv;\n    volatile int by = 31 + argc;\n"
        "    volatile int n = 1 << by;\n    (void)n;\n",
        "shift exponent 32",
    ),
    "a data race": (
        "thread",
        "static int shared;\n\nstatic void *add(void *arg)\n{\n    for (int i = 0; i < 1000; i++)\n"
        "        shared++;\n    return arg;\n}\n\n"
        "int main(void)\n{\n    pthread_t a, b;\n    if (pthread_create(&a, NULL, add, NULL)"
        " || pthread_create(&b, NULL, add, NULL))\n        return 1;\n"
        "    pthread_join(a, NULL);\n    pthread_join(b, NULL);\n",
        "data race",
    ),
}


def make_variable(name, sanitizers, compiler):
    unset = ("MAKEFLAGS", "MAKELEVEL", "B", "SAN")
    env = {k: v for k, v in os.environ.items() if k not in unset}
    command = ["make", "-s", "--no-print-directory", f"SAN={sanitizers}", f"CC={compiler}"]
    done = subprocess.run(
        [*command, f"print-{name}"], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return shlex.split(done.stdout)


class SanitizerTest(unittest.TestCase):
    def setUp(self):
        self.build = Path(tempfile.mkdtemp(prefix="sanitizers-"))
        self.addCleanup(shutil.rmtree, self.build)

    def outcome(self, sanitizers, compiler, source):
        """What tests/run makes of the program, and what the sanitizers said (with gcc, undefined
        behaviour is told on standard error when both are on)."""
        program, text = self.build / "planted", self.build / "planted.c"
        text.write_text(START + source + END)
        flags = make_variable("CFLAGS_ALL", sanitizers, compiler)
        flags += make_variable("LDFLAGS_ALL", sanitizers, compiler)
        subprocess.run([compiler, *flags, "-o", program, text, "-lpthread"], cwd=ROOT, check=True)
        runner = run.Runner(self.build, sanitizers)
        outcome = runner.run(run.Program("unit/planted", [str(program)], program))
        folder = outcome.log.with_suffix(".san")
        said = outcome.log.read_text().replace("[       OK ] planted\n", "")
        return outcome, said + "".join(p.read_text() for p in folder.iterdir())

    def assert_seen(self, what):
        sanitizers, source, text = FAULTS[what]
        for compiler in ("gcc", "clang"):
            with self.subTest(compiler):
                outcome, report = self.outcome(sanitizers, compiler, source)
                self.assertEqual(1, outcome.failed, outcome.log.read_text())
                self.assertIn(text, report)

    def test_the_address_build_sees_a_heap_overflow(self):
        self.assert_seen("a heap overflow")

    def test_the_address_build_sees_a_leak(self):
        self.assert_seen("a leak")

    def test_the_undefined_build_sees_a_shift(self):
        self.assert_seen("an undefined shift")

    def test_the_thread_build_sees_a_data_race(self):
        self.assert_seen("a data race")

    def test_a_program_without_a_fault_passes(self):
        for sanitizers in ("address,undefined", "thread"):
            with self.subTest(sanitizers):
                outcome, report = self.outcome(sanitizers, "gcc", "int main(void)\n{\n")
                self.assertEqual((1, 0, ""), (outcome.passed, outcome.failed, report))


if __name__ == "__main__":
    unittest.main()
