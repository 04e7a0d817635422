#!/usr/bin/python3
"""Includes go one way: proto < base < graph < compare < wire < net < proxy | agent | ctl.

Besides: proxy, agent and ctl do not include each other; a layer without input and output takes no
library of that kind; own headers are named from the root; a source includes its own header first.
"""

import re

from common import Finding, files, lines, main

ORDER = ["proto", "lib/base", "lib/graph", "lib/compare", "lib/wire", "lib/net"]
PROGRAMS = ["proxy", "agent", "ctl"]
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')

NETWORK = r"event2?/|event2?\.h|ev\w+\.h$|ares|hiredis|curl/|openssl/ssl"
FORBIDDEN = {
    "lib/base": NETWORK + "|nghttp2",
    "lib/graph": NETWORK + "|nghttp2",
    "lib/compare": NETWORK + "|nghttp2",
    "lib/wire": NETWORK,
}


def layer_of(name):
    for layer in ORDER + PROGRAMS:
        if name.startswith(layer + "/"):
            return layer
    return None


def direction(mine, theirs):
    """What is wrong with an include of `theirs` by `mine`, or None."""
    if theirs in PROGRAMS:
        return None if mine == theirs else f"{mine} must not include {theirs}"
    if mine in PROGRAMS or ORDER.index(theirs) <= ORDER.index(mine):
        return None
    return f"{mine} is below {theirs} and must not include it"


def judge(name, layer, quote, target):
    theirs = layer_of(target)
    if quote == '"' and not theirs and not target.startswith("tests/"):
        yield f'"{target}" is not named from the root'
    elif theirs:
        problem = direction(layer, theirs)
        if problem:
            yield problem
    elif target.startswith("tests/"):
        yield f"{name} must not include a test"
    banned = FORBIDDEN.get(layer)
    if banned and re.match(banned, target):
        yield f"{layer} takes no input and output library: <{target}>"


def check(tree):
    for path in files(tree, ".c", ".h", folders=("lib", *PROGRAMS)):
        name = str(path.relative_to(tree))
        layer = layer_of(name)
        if not layer:
            yield Finding(path, 1, "in none of the layers")
            continue
        own = path.with_suffix(".h")
        first = True
        for number, line in enumerate(lines(path), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            quote, target = found.groups()
            for problem in judge(name, layer, quote, target):
                yield Finding(path, number, problem)
            wanted = str(own.relative_to(tree))
            if first and path.suffix == ".c" and own.exists() and target != wanted:
                yield Finding(path, number, f'the first include is not "{wanted}"')
            first = False


main(check)
