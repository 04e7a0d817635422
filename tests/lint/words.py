#!/usr/bin/python3
"""No text speaks of the place where it was written: home folders, machines, writing tools."""

import re

from common import Finding, files, lines, main

# Written so that no pattern matches itself.
WORDS = [
    r"(?<![\w.])/(?:home|work|workspace|Users)/\w",
    r"(?<![\w.])/roo[t]/",
    r"\.\./share[d]\b|\bshared/spe[c]\b",
    r"\b(?:DESIG[N]|STYL[E])\.md\b",
    r"(?i:\b(?:anthropi[c]|claud[e]|openA[I]|chatgp[t]|copilo[t]|language mode[l])\b)",
    r"(?i:co-authored-b[y]|generated b[y] (?:an? )?(?:ai|llm|assistant))",
]
PATTERN = re.compile("|".join(WORDS))
BINARY = {".png", ".ico", ".gz", ".pem", ".der"}


def check(tree):
    for path in files(tree):
        # Fuzz inputs are bytes, not text.
        if path.suffix in BINARY or "corpus" in path.relative_to(tree).parts:
            continue
        for number, line in enumerate(lines(path), 1):
            found = PATTERN.search(line)
            if found:
                yield Finding(path, number, f"speaks of a workplace: '{found.group(0)}'")


main(check)
