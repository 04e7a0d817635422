#!/usr/bin/python3
"""No code asks a tool to look away, and no test is switched off."""

import re

from common import OWN, Finding, files, lines, main

# Written so that no pattern matches itself.
MARKERS = [
    r"NO[L]INT",
    r"#\s*pragma\s+(?:GCC|clang)\s+(?:diagnostic|system_header)",
    r"_Pragm[a]\s*\(",
    r"cppcheck-suppres[s]",
    r"no_sanitiz[e]",
    r"__SANITIZE_\w+_[_]|__has_feature\s*\(\s*\w+_sanitizer",
    r"\bLCOV_EXC[L]",
    r"\b(?:FIX[M]E|XX[X]|TO[D]O)\b",
]
PATTERN = re.compile("|".join(MARKERS))


def check(tree):
    for path in files(tree, ".c", ".cc", ".h", ".py", ".sh", folders=OWN):
        for number, line in enumerate(lines(path), 1):
            found = PATTERN.search(line)
            if found:
                yield Finding(path, number, f"marker '{found.group(0)}'")


main(check)
