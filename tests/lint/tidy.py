#!/usr/bin/python3
"""clang-tidy with the checks of .clang-tidy finds nothing."""

import os

from common import OWN, compile_flags, each, files, judged_by_tool, main, tool


def check(tree):
    flags = compile_flags(tree, "clang")

    def one(path):
        command = ["clang-tidy", "-quiet", path.relative_to(tree), "--", *flags]
        return judged_by_tool(tree, path, *tool(tree, *command))

    # The longest first: no core waits for the last file.
    sources = sorted(files(tree, ".c", folders=OWN), key=os.path.getsize, reverse=True)
    return each(one, sources)


main(check)
