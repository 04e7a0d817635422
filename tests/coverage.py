#!/usr/bin/python3
"""What lines and branches of our sources the tests reached: a line a file, then the sum.

Usage: tests/coverage.py BUILD, a folder built with COV=1 in which the tests have run.
"""

import re
import subprocess
import sys
from pathlib import Path

OWN = ("lib/", "proxy/", "agent/", "ctl/")
FILE = re.compile(
    r"^File '([^']+)'\nLines executed:([0-9.]+)% of (\d+)\n"
    r"(?:Branches executed:[0-9.]+% of (\d+)\nTaken at least once:([0-9.]+)% of \d+\n)?",
    re.M,
)


def compiler(build):
    """gcov of the compiler that built the folder."""
    clang = "clang" in (build / "flags").read_text().split(" ", 1)[0]
    return ["llvm-cov", "gcov"] if clang else ["gcov"]


def main():
    build = Path(sys.argv[1])
    total = [0, 0, 0, 0]
    for data in sorted(build.glob("obj/**/*.gcda")):
        command = [*compiler(build), "-b", "-n", str(data)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        source = str(data.relative_to(build / "obj").with_suffix(".c"))
        for name, percent, lines, branches, taken in FILE.findall(text):
            if name != source or not name.startswith(OWN):
                continue
            hit = round(float(percent) * int(lines) / 100)
            reached = round(float(taken or 0) * int(branches or 0) / 100)
            for i, n in enumerate((hit, int(lines), reached, int(branches or 0))):
                total[i] += n
            print(f"{percent:>7}% of {lines:>5} lines  {taken or '-':>6}% of branches  {name}")
    if not total[1]:
        sys.exit("no coverage data: build and run the tests with COV=1")
    branches = 100 * total[2] / max(1, total[3])
    print(f"lines {100 * total[0] / total[1]:.1f}% of {total[1]}, branches {branches:.1f}%")


if __name__ == "__main__":
    main()
