#!/usr/bin/python3
"""Prints compile_commands.json for editors and other tools."""

import json

from common import OWN, ROOT, compile_flags, files

flags = compile_flags(ROOT, "clang")
print(
    json.dumps(
        [
            {
                "directory": str(ROOT),
                "file": str(path.relative_to(ROOT)),
                "arguments": ["clang", *flags, "-c", str(path.relative_to(ROOT))],
            }
            for path in files(ROOT, ".c", folders=OWN)
        ],
        indent=1,
    )
)
