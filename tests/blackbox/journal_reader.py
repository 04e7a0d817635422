#!/usr/bin/python3
"""Reads a session's journal and counts it anew. Shares no code with the product: the record log by
its description (docs/internals/journal.md), its messages by protoc and google.protobuf.

    journal_reader.py FOLDER     the sums, a line each: what tests compare with

`Journal(folder)` for tests in Python: records, sums, drops, session, end.
"""

import atexit
import collections
import functools
import importlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from checksum import crc32c

ROOT = Path(__file__).resolve().parent.parent.parent
HEADER = b"OFFSHOOT" + struct.pack("<II", 1, 2)
HEADLINES = ("status", "grpc-status", "transport-error", "timeout", "field", "latency", "slow-p90",
             "slow-p99")  # fmt: skip
FIELD = 4  # its number among them
KINDS = ("value", "type", "missing", "extra", "length", "order")
ENDPOINTS = 256  # further ones are "other"


@functools.cache
def stubs():
    folder = Path(tempfile.mkdtemp(prefix="offshoot-journal-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(["/usr/bin/protoc", f"--python_out={folder}", "-Iproto/offshoot/v1",
                    "proto/offshoot/v1/journal.proto"], cwd=ROOT, check=True)  # fmt: skip
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    return importlib.import_module("journal_pb2")


def payloads(path, newest):
    """What the records of a segment hold. Only the newest one may end torn."""
    data = path.read_bytes()
    if data[:16] != HEADER:
        if newest and HEADER.startswith(data):
            return
        raise ValueError(f"{path}: no journal")
    at = 16
    while at + 12 <= len(data):
        length, crc, kind = struct.unpack_from("<III", data, at)
        payload = data[at + 12 : at + 12 + length]
        covered = data[at : at + 4] + data[at + 8 : at + 12] + payload
        if len(payload) < length or crc32c(covered) != crc:
            break
        at += 12 + length
        if kind == 1:
            yield payload
    if at < len(data) and not newest:
        raise ValueError(f"{path}: damaged at byte {at}")


def segments(folder):
    """Paths, oldest first; the newest is last."""
    full = [p for p in Path(folder).iterdir() if re.fullmatch(r"journal\.\d{6,9}", p.name)]
    newest = Path(folder, "journal")
    return sorted(full, key=lambda p: int(p.suffix[1:])) + [newest] * newest.exists()


class Sums:
    """Of one run."""

    def __init__(self):
        self.samples = 0
        self.headlines = [[0, 0, 0] for _ in HEADLINES]  # pairs, only candidate, only secondary
        self.endpoints = {}  # name → pairs
        self.fields = {}  # (endpoint, path, kind) → [only candidate, only secondary, both]
        self.drops = collections.Counter()
        self.open = set()

    def restore(self, totals):
        self.__init__()
        self.samples = totals.samples
        self.headlines = [[c.pairs, c.candidate_only, c.secondary_only] for c in totals.headlines]
        self.endpoints = {e.name: e.pairs for e in totals.endpoints}
        for f in totals.fields:
            c = f.count
            self.fields[f.endpoint, f.path, f.kind] = [c.candidate_only, c.secondary_only, c.both]
        self.drops.update({d.reason: d.count for d in totals.drops})
        self.open = set(totals.open_samples)

    def add(self, sample):
        self.samples += 1
        self.open.discard(sample.sample)
        for h, count in enumerate(self.headlines):
            bits = sample.headline_pairs, sample.headline_candidate, sample.headline_secondary
            for i in range(3):
                count[i] += bits[i] >> h & 1
        name = sample.endpoint
        if name not in self.endpoints and len(self.endpoints) >= ENDPOINTS:
            name = "other"
        self.endpoints.setdefault(name, 0)
        self.endpoints[name] += sample.headline_pairs >> FIELD & 1
        for d in sample.differences:
            count = self.fields.setdefault((name, d.path, d.kind), [0, 0, 0])
            if d.candidate or d.secondary:
                count[2 if d.candidate and d.secondary else 1 if d.secondary else 0] += 1

    def lines(self):
        yield f"samples {self.samples}"
        for word, count in zip(HEADLINES, self.headlines):
            yield " ".join([word, *map(str, count)])
        for (endpoint, path, kind), count in self.fields.items():
            numbers = " ".join(map(str, [self.endpoints[endpoint], *count]))
            yield f"{endpoint}|{path}|{KINDS[kind]} {numbers}"
        for name, pairs in self.endpoints.items():
            yield f"{name} {pairs}"
        for reason, n in self.drops.items():
            yield f"dropped {reason} {n}"


class Journal:
    """Everything that a journal says. from_start: sums by the samples alone, without the totals at
    the heads of segments; the same, as long as no segment was dropped and no disk was full."""

    def __init__(self, folder, from_start=False):
        self.records = []
        self.sums = Sums()
        self.session = self.end = None
        paths = segments(folder)
        for path in paths:
            for payload in payloads(path, path == paths[-1]):
                self.take(stubs().JournalRecord.FromString(payload), from_start)

    def take(self, record, from_start):
        self.records.append(record)
        kind = record.WhichOneof("record")
        if kind == "session":
            if self.session and self.session.run != record.session.run:
                self.sums = Sums()
            self.session, self.end = record.session, None
        elif kind == "begun":
            self.sums.open.add(record.begun.sample)
        elif kind == "sample":
            self.sums.add(record.sample)
        elif kind == "drop":
            self.sums.open.discard(record.drop.sample)
            self.sums.drops[record.drop.reason] += record.drop.count
        elif kind == "totals" and not from_start:
            self.sums.restore(record.totals)
        elif kind == "end":
            self.end = record.end

    @property
    def samples(self):
        return [r.sample for r in self.records if r.WhichOneof("record") == "sample"]


if __name__ == "__main__":
    print("\n".join(Journal(sys.argv[1], "--from-start" in sys.argv[2:]).sums.lines()))
