#!/usr/bin/python3
"""clang-tidy with the checks of .clang-tidy finds nothing.

A source that passed is remembered by a hash of all that went into it, in the build folder.
"""

import hashlib
import os
from pathlib import Path

from common import OWN, compile_flags, each, files, judged_by_tool, main, tool


def passed_before(tree, name, flags, checks):
    """The file that says so when it exists, None without a build folder."""
    build = os.environ.get("OFFSHOOT_BUILD")
    if not build:
        return None
    status, text = tool(tree, "clang", *flags, "-E", "-C", name)
    if status != 0:
        return None
    key = hashlib.sha256("\0".join([*flags, checks, text]).encode()).hexdigest()
    folder = Path(build) / "tidy"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / key


def check(tree):
    flags = compile_flags(tree, "clang")
    checks = "".join(p.read_text() for p in sorted(Path(tree).glob("**/.clang-tidy")))

    def one(path):
        name = path.relative_to(tree)
        known = passed_before(tree, name, flags, checks)
        if known and known.exists():
            return []
        found = judged_by_tool(tree, path, *tool(tree, "clang-tidy", "-quiet", name, "--", *flags))
        if known and not found:
            known.touch()
        return found

    # The longest first: no core waits for the last file.
    sources = sorted(files(tree, ".c", folders=OWN), key=os.path.getsize, reverse=True)
    return each(one, sources)


main(check)
