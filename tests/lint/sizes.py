#!/usr/bin/python3
"""Files have at most 700 lines, headers 200, functions 120; one over 80 lines is told.

clang-format puts a function's braces alone in the first column, which is how it is found.
"""

import re

from common import OWN, Finding, files, lines, main

SOURCE_LINES, HEADER_LINES = 700, 200
FUNCTION_LINES, FUNCTION_TOLD = 120, 80
NAME = re.compile(r"(\w+)\(")


def functions(text):
    """(line, name, lines) of every function, counted from its opening to its closing brace."""
    start = None
    for number, line in enumerate(text, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            name = "?"
            for above in reversed(text[: start - 1]):
                found = NAME.search(above)
                if found and not above.startswith(" "):
                    name = found.group(1)
                    break
            yield start, name, number - start + 1
            start = None


def check(tree):
    for path in files(tree, ".c", ".cc", ".h", folders=OWN):
        text = lines(path)
        limit = HEADER_LINES if path.suffix == ".h" else SOURCE_LINES
        if len(text) > limit:
            yield Finding(path, len(text), f"{len(text)} lines, {limit} are allowed")
        for line, name, n in functions(text):
            if n > FUNCTION_LINES:
                yield Finding(path, line, f"{name} has {n} lines, {FUNCTION_LINES} are allowed")
            elif n > FUNCTION_TOLD:
                yield Finding(path, line, f"{name} has {n} lines", warning=True)


main(check)
