"""The built programs are hardened as the Makefile means them to be, read back from the files."""

import subprocess
import unittest

from harness import BUILD, sanitized

PROGRAMS = ("offshoot-proxy", "offshoot-agent", "offshootctl")


def readelf(*args):
    command = ["readelf", "--wide", *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@unittest.skipIf(sanitized(), "sanitizer builds are not for use")
class HardeningTest(unittest.TestCase):
    def each_program(self):
        built = [BUILD / name for name in PROGRAMS if (BUILD / name).exists()]
        self.assertTrue(built, "no program is built")
        for program in built:
            with self.subTest(program.name):
                yield program

    def test_is_position_independent_and_bound_at_start(self):
        for program in self.each_program():
            self.assertRegex(readelf("-h", program), r"Type: +DYN")
            self.assertRegex(readelf("-d", program), r"FLAGS_1.*\bNOW\b.*\bPIE\b")

    def test_has_read_only_relocations_and_no_executable_stack(self):
        for program in self.each_program():
            segments = readelf("-l", program)
            self.assertIn("GNU_RELRO", segments)
            self.assertRegex(segments, r"GNU_STACK .* RW +0x")
            self.assertNotRegex(segments, r"LOAD .* RWE ")

    def test_looks_for_libraries_only_where_the_system_does(self):
        for program in self.each_program():
            self.assertNotRegex(readelf("-d", program), r"RPATH|RUNPATH|TEXTREL")

    def test_has_stack_protector_and_fortified_calls(self):
        for program in self.each_program():
            symbols = readelf("--dyn-syms", program)
            self.assertIn("__stack_chk_fail", symbols)
            self.assertRegex(symbols, r"__(?:mem|str|s|vs|sn|vsn|f)\w+_chk\b")


if __name__ == "__main__":
    unittest.main()
