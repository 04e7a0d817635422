"""tests/run is seen to count, and to fail where it must."""

import importlib.machinery
import importlib.util
import shutil
import stat
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def load_runner():
    """tests/run as a module: it has no suffix."""
    loader = importlib.machinery.SourceFileLoader("tests_run", str(ROOT / "tests/run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tests_run", loader))
    loader.exec_module(module)
    return module


run = load_runner()

CMOCKA = """\
[==========] Running 3 test(s).
[ RUN      ] adds
[       OK ] adds
[ RUN      ] rounds
[  FAILED  ] rounds
[ RUN      ] waits
[  SKIPPED ] waits
[==========] 3 test(s) run.
[  PASSED  ] 1 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] waits
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] rounds
"""


class RunnerTest(unittest.TestCase):
    def setUp(self):
        self.build = Path(tempfile.mkdtemp(prefix="runner-"))
        self.addCleanup(shutil.rmtree, self.build)

    def outcome(self, script, kind="unit", limit=None):
        """What the runner makes of a shell script that stands for a test program."""
        path = self.build / "program"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        runner = run.Runner(self.build, "")
        if limit:
            runner.slower = limit / run.LIMITS[kind]
        return runner.run(run.Program(f"{kind}/planted", [str(path)], path))

    def counts(self, outcome):
        return outcome.passed, outcome.failed, outcome.skipped

    def test_counts_the_tests_of_a_cmocka_program(self):
        (self.build / "text").write_text(CMOCKA)
        outcome = self.outcome(f"cat {self.build}/text; exit 1\n")
        self.assertEqual(((1, 1, 1), []), (self.counts(outcome), outcome.faults))

    def test_a_failed_group_teardown_is_a_failure_though_cmocka_ends_with_0(self):
        said = "[       OK ] adds\\n[  FAILED  ] GROUP TEARDOWN\\n[  PASSED  ] 1 test(s).\\n"
        outcome = self.outcome(f"printf '{said}'\n")
        self.assertEqual((1, 1, 0), self.counts(outcome))
        self.assertEqual(["[  FAILED  ] GROUP TEARDOWN"], outcome.faults)

    def test_a_crash_after_passed_tests_is_a_failure(self):
        outcome = self.outcome("echo '[       OK ] adds'; kill -SEGV $$\n")
        self.assertEqual((1, 1, 0), self.counts(outcome))
        self.assertEqual(["ended by SIGSEGV"], outcome.faults)

    def test_a_bad_exit_without_a_failed_test_is_a_failure(self):
        outcome = self.outcome("echo '[       OK ] adds'; exit 3\n")
        self.assertEqual((1, 1, 0), self.counts(outcome))

    def test_a_program_that_runs_no_test_fails(self):
        outcome = self.outcome("exit 0\n")
        self.assertEqual(((0, 1, 0), ["ran no test"]), (self.counts(outcome), outcome.faults))

    def test_a_program_that_is_not_built_fails(self):
        missing = self.build / "missing"
        outcome = run.Runner(self.build, "").run(run.Program("unit/x", [str(missing)], missing))
        self.assertEqual((0, 1, 0), self.counts(outcome))

    def test_a_program_that_does_not_end_fails(self):
        outcome = self.outcome("echo '[       OK ] adds'; exec sleep 60\n", limit=0.2)
        self.assertEqual(1, outcome.failed)
        self.assertIn("not finished after", outcome.faults[0])
        self.assertLess(outcome.seconds, 30)

    def test_a_process_left_behind_fails(self):
        outcome = self.outcome("echo '[       OK ] adds'; sleep 60 & exit 0\n")
        self.assertEqual((1, 1, 0), self.counts(outcome))
        self.assertEqual(["left processes behind: sleep"], outcome.faults)

    def test_a_sanitizer_report_fails_a_program_that_ends_well(self):
        script = "echo '[       OK ] adds'; echo bad >$OFFSHOOT_SANITIZER_LOGS/report.1\n"
        outcome = self.outcome(script)
        self.assertEqual((1, 1, 0), self.counts(outcome))
        self.assertIn("sanitizer report", outcome.faults[0])

    def test_a_replay_passes_and_fails_by_its_exit(self):
        self.assertEqual((1, 0, 0), self.counts(self.outcome("exit 0\n", kind="fuzz")))
        self.assertEqual((0, 1, 0), self.counts(self.outcome("exit 1\n", kind="fuzz")))


MODULE = """\
import unittest

class A(unittest.TestCase):
    def test_passes(self):
        pass
    def test_fails(self):
        for i in range(3):
            with self.subTest(i):
                self.fail("no")
    def test_errs(self):
        raise OSError("no")
    @unittest.skip("not here")
    def test_is_skipped(self):
        pass

class B(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise OSError("no")
    def test_never_runs(self):
        pass
"""


class ModuleTest(unittest.TestCase):
    def test_counts_the_tests_of_a_unittest_file(self):
        folder = Path(tempfile.mkdtemp(prefix="runner-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "test_planted.py").write_text(MODULE)
        command = [sys.executable, "-B", str(ROOT / "tests/run"), "--module", "test_planted"]
        program = run.Program("blackbox/test_planted", command, folder=folder)
        outcome = run.Runner(folder, "").run(program)
        # Failed: one with subtests, one by an exception, one class that could not be set up.
        self.assertEqual((1, 3, 1), (outcome.passed, outcome.failed, outcome.skipped))

    def test_a_module_that_cannot_be_read_fails(self):
        folder = Path(tempfile.mkdtemp(prefix="runner-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "test_planted.py").write_text("import gone\n")
        command = [sys.executable, "-B", str(ROOT / "tests/run"), "--module", "test_planted"]
        program = run.Program("blackbox/test_planted", command, folder=folder)
        outcome = run.Runner(folder, "").run(program)
        self.assertEqual((0, 1), (outcome.passed, outcome.failed))


if __name__ == "__main__":
    unittest.main()
