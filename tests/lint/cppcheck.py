#!/usr/bin/python3
"""cppcheck finds neither warnings nor performance and portability faults."""

from common import JOBS, OWN, files, judged_by_tool, main, tool

# readdirCalled recommends readdir_r, which the C library has deprecated; varFuncNullUB is about a
# NULL that is a plain 0, which it is not there.
LEFT_OUT = [f"--suppress={s}" for s in ("missingIncludeSystem", "readdirCalled", "varFuncNullUB")]
ASKED = ("--enable=warning,performance,portability", "--std=c11", "--library=posix")


def check(tree):
    sources = [p.relative_to(tree) for p in files(tree, ".c", folders=OWN)]
    if not sources:
        return []
    quiet = ("--quiet", "--error-exitcode=1", "--template=gcc", f"-j{JOBS}")
    defines = ("-D_GNU_SOURCE", "-D__x86_64__", "-D__linux__", '-DOFFSHOOT_VERSION="0"')
    # Headers of libraries and generated ones are not looked at.
    command = ["cppcheck", *ASKED, *LEFT_OUT, *quiet, *defines, "-I.", *sources]
    status, output = tool(tree, *command)
    return judged_by_tool(tree, tree, status, output)


main(check)
