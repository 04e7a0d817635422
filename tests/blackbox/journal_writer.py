"""Writes a session's journal by its description alone (docs/internals/journal.md): records of the
record log with messages of google.protobuf."""

import json
import struct

from checksum import crc32c
from journal_reader import HEADER, stubs


def journal(folder, records, name="journal"):
    """A segment with these records in folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    data = bytearray(HEADER)
    for record in records:
        payload = record.SerializeToString()
        head = struct.pack("<I", len(payload)), struct.pack("<I", 1)
        data += head[0] + struct.pack("<I", crc32c(head[0] + head[1] + payload)) + head[1] + payload
    (folder / name).write_bytes(bytes(data))
    return folder


def session(**spec):
    pb = stubs()
    return pb.JournalRecord(session=pb.JournalSession(
        version=1, name="cart-42", id=7, spec_json=json.dumps(spec), run=1, why="start"))


def fields(pairs):
    return [stubs().JournalField(name=n, value=v.encode()) for n, v in pairs]


def sample(number, request=(), reply=(), body=b"{}", headers=(), reply_headers=()):
    """request and reply: further members of the messages."""
    pb = stubs()
    asked = {"method": "GET", "authority": "cart", "path": f"/items/{number}",
             "environment": "main", "service": "cart", **dict(request)}  # fmt: skip
    kind = (("content-type", "application/json"),)
    answered = {"outcome": 0, "status": 200, "body": body, **dict(reply)}
    return pb.JournalRecord(sample=pb.JournalSample(
        sample=number, endpoint="cart GET /items/{}",
        request=pb.JournalMessage(fields=fields(headers), **asked),
        primary=pb.JournalReply(fields=fields((*kind, *reply_headers)), **answered)))
