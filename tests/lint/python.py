#!/usr/bin/python3
"""Python files compile with Debian's Python and keep to 100 columns."""

import warnings
from pathlib import Path

from common import Finding, files, lines, main

COLUMNS = 100


def is_python(path):
    if path.suffix == ".py":
        return True
    if path.suffix:
        return False
    with path.open("rb") as f:
        first = f.readline(64)
    return first.startswith(b"#!") and b"python" in first


def check(tree):
    warnings.simplefilter("error")
    for path in files(tree):
        if "corpus" in Path(path).relative_to(tree).parts or not is_python(path):
            continue
        try:
            compile(path.read_text(), str(path), "exec")
        except (SyntaxError, Warning, ValueError) as e:
            yield Finding(path, getattr(e, "lineno", 1) or 1, str(e))
        for number, line in enumerate(lines(path), 1):
            if len(line) > COLUMNS:
                yield Finding(path, number, f"{len(line)} columns")


main(check)
