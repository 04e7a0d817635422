#!/usr/bin/python3
"""C and C++ files look as clang-format writes them, by the .clang-format of the tree's root."""

from common import OWN, each, files, judged_by_tool, main, tool


def check(tree):
    def one(path):
        command = ["clang-format", "--dry-run", "-Werror", path.relative_to(tree)]
        found = judged_by_tool(tree, path, *tool(tree, *command))
        if len(found) > 1:
            places = f"{len(found)} places are not as clang-format writes them (make format)"
            return [found[0]._replace(text=places)]
        return found

    return each(one, files(tree, ".c", ".cc", ".h", folders=OWN))


main(check)
