#!/usr/bin/python3
"""Every header compiles alone, with gcc and the Makefile's flags."""

from common import Finding, compile_flags, each, files, judged_by_tool, lines, main, tool


def check(tree):
    flags = compile_flags(tree, "gcc")

    def one(path):
        name = path.relative_to(tree)
        found = []
        if not any(line.startswith("#ifndef OFFSHOOT_") for line in lines(path)):
            found.append(Finding(path, 1, "no include guard #ifndef OFFSHOOT_..."))
        # Twice: the guard must hold.
        source = f'#include "{name}"\n#include "{name}"\n'
        command = ["gcc", *flags, "-fsyntax-only", "-x", "c", "-"]
        return found + judged_by_tool(tree, path, *tool(tree, *command, stdin=source))

    return each(one, files(tree, ".h", folders=("lib", "proxy", "agent", "ctl", "tests", "bench")))


main(check)
