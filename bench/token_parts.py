"""Signed contexts: what verifying and making tokens costs a request."""

import json
import os

from measure import Row, run_measured
from rig import Broken

REQUEST_NS = 300  # verified and made, both found


def tokens(a):
    """tokens verified and made, remembered or not"""
    found = []
    for _ in range(1 if a.quick else 5):
        used = run_measured([os.path.join(a.build, "bench", "token_bench")])
        if used.code:
            raise Broken(used.output)
        found.append(json.loads(used.output))

    def row(what, key, budget=None):
        return Row(what, [f[key] for f in found], "ns", budget, least=True)

    return [row("verify, seen before", "verify_hit_ns"),
            row("verify, new: a mac is made", "verify_miss_ns"),
            row("make, asked for before", "mint_hit_ns"),
            row("make, new", "mint_miss_ns"),
            row("a request: both, found", "request_ns", REQUEST_NS)], []
