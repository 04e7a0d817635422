"""`offshootctl shadow compare` on gRPC replies of random schemas: of two replies that differ in one
field, exactly that field is named, by name with descriptors and by number without."""

import gzip
import json
import os
import random
import struct
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from harness import BUILD, Case

EQUAL, DIFFERENT = 0, 2
MESSAGES = 4
ROUNDS = 60
METHOD = "/p.S/Get"
Field = descriptor_pb2.FieldDescriptorProto
INTS = [Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_INT32, Field.TYPE_FIXED64,
        Field.TYPE_FIXED32, Field.TYPE_UINT32, Field.TYPE_SFIXED32, Field.TYPE_SFIXED64,
        Field.TYPE_SINT32, Field.TYPE_SINT64]  # fmt: skip
SCALARS = [*INTS, Field.TYPE_DOUBLE, Field.TYPE_FLOAT, Field.TYPE_BOOL, Field.TYPE_STRING,
           Field.TYPE_BYTES, Field.TYPE_ENUM]  # fmt: skip
SIGNED = {Field.TYPE_INT64, Field.TYPE_INT32, Field.TYPE_SFIXED32, Field.TYPE_SFIXED64,
          Field.TYPE_SINT32, Field.TYPE_SINT64}  # fmt: skip
WORDS = ["tea", "rice", "error", "hi", "salt", "oak", "birch", "fir", "ash", "elm", "lime", "yew"]


class Schema:
    """A random proto3 file: messages p.M0 .. that refer to later ones only, and a service."""

    def __init__(self, rng):
        self.rng = rng
        self.file = descriptor_pb2.FileDescriptorProto(name="p.proto", package="p", syntax="proto3")
        kind = self.file.enum_type.add(name="Kind")
        for number, name in enumerate(["ZERO", "ONE", "TWO"]):
            kind.value.add(name=name, number=number)
        for i in range(MESSAGES):
            self.add_message(i)
        service = self.file.service.add(name="S")
        service.method.add(name="Get", input_type=".p.M0", output_type=".p.M0")
        pool = descriptor_pool.DescriptorPool()
        pool.Add(self.file)
        factory = message_factory.MessageFactory(pool)
        self.reply = factory.GetPrototype(pool.FindMessageTypeByName("p.M0"))

    def add_message(self, i):
        message = self.file.message_type.add(name=f"M{i}")
        numbers = self.rng.sample([*range(1, 40), 1000, 200000], self.rng.randint(3, 7))
        for number in numbers:
            field = message.field.add(name=f"f_{number}", number=number, label=1)
            if self.rng.random() < 0.2:
                self.make_map(message, field, i)
            else:
                self.choose_type(field, i)
                field.label = 3 if self.rng.random() < 0.3 else 1

    def choose_type(self, field, i):
        field.type = self.rng.choice(SCALARS)
        if i + 1 < MESSAGES and self.rng.random() < 0.35:
            field.type = Field.TYPE_MESSAGE
            field.type_name = f".p.M{self.rng.randint(i + 1, MESSAGES - 1)}"
        elif field.type == Field.TYPE_ENUM:
            field.type_name = ".p.Kind"

    def make_map(self, message, field, i):
        name = f"F{field.number}Entry"
        entry = message.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=1, type=Field.TYPE_STRING)
        self.choose_type(entry.field.add(name="value", number=2, label=1), i)
        field.name, field.label, field.type = f"f{field.number}", 3, Field.TYPE_MESSAGE
        field.type_name = f".p.{message.name}.{name}"

    def descriptors(self):
        return descriptor_pb2.FileDescriptorSet(file=[self.file]).SerializeToString()


def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def value_of(rng, field):
    """A value other than zero."""
    if field.type == Field.TYPE_STRING:
        return rng.choice(WORDS) + str(rng.randint(1, 99))
    if field.type == Field.TYPE_BYTES:
        return b"\xff\xfe" + rng.randbytes(4)
    if field.type == Field.TYPE_BOOL:
        return True
    if field.type == Field.TYPE_ENUM:
        return rng.randint(1, 2)
    if field.type in (Field.TYPE_DOUBLE, Field.TYPE_FLOAT):
        return rng.randint(1, 4000) / 8
    return rng.randint(1, 1 << rng.choice([3, 20, 30])) * (
        rng.choice([1, -1]) if field.type in SIGNED else 1)  # fmt: skip


def other_value(rng, field, now):
    if field.type == Field.TYPE_BOOL:
        return not now
    while True:
        new = value_of(rng, field)
        if new != now:
            return new


def fill(rng, message):
    for field in message.DESCRIPTOR.fields:
        if is_map(field):
            fill_map(rng, getattr(message, field.name), field.message_type.fields_by_number[2])
        elif field.label == Field.LABEL_REPEATED:
            for _ in range(rng.randint(1, 3)):
                if field.message_type:
                    fill(rng, getattr(message, field.name).add())
                else:
                    getattr(message, field.name).append(value_of(rng, field))
        elif field.message_type:
            fill(rng, getattr(message, field.name))
        else:
            setattr(message, field.name, value_of(rng, field))


def fill_map(rng, entries, value):
    for key in rng.sample(WORDS, rng.randint(1, 3)):
        if value.message_type:
            fill(rng, entries[key])
            entries[key].SetInParent()
        else:
            entries[key] = value_of(rng, value)


def places(message, name="body.message[]", number="body.message[]"):
    """Every single value: its paths by name and by number, its field, and how it is changed."""
    for field in message.DESCRIPTOR.fields:
        named, numbered = f"{name}.{field.name}", f"{number}.{field.number}"
        value = getattr(message, field.name)
        if is_map(field):
            inner = field.message_type.fields_by_number[2]
            for key in value:
                if inner.message_type:
                    yield from places(value[key], named + "{*}", numbered + ".2")
                else:
                    yield named + "{*}", numbered + ".2", inner, value, key
        elif field.label == Field.LABEL_REPEATED:
            for i, one in enumerate(value):
                if field.message_type:
                    yield from places(one, named + "[]", numbered)
                else:
                    yield named + "[]", numbered, field, value, i
        elif field.message_type:
            yield from places(value, named, numbered)
        else:
            yield named, numbered, field, message, field.name


def change(rng, place):
    _, _, field, owner, at = place
    if isinstance(at, str) and hasattr(owner, "DESCRIPTOR"):
        setattr(owner, at, other_value(rng, field, getattr(owner, at)))
    else:
        owner[at] = other_value(rng, field, owner[at])


def frame(rng, message):
    """As servers send it: plain, or packed in one of two ways."""
    packed = [None, gzip.compress, zlib.compress][rng.randint(0, 2)]
    body = packed(message) if packed else message
    return struct.pack(">BI", packed is not None, len(body)) + body


class ShadowGrpc(Case):
    """Seed and round are told when one fails."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.seed = int(os.environ.get("OFFSHOOT_SEED", random.SystemRandom().randint(0, 1 << 32)))

    def save(self, name, frames):
        head = b"HTTP/2 200\r\ncontent-type: application/grpc\r\n\r\n"
        path = self.folder / name
        path.write_bytes(head + b"".join(frames))
        return str(path)

    def compare(self, a, b, descriptors=None):
        """What differs, as {(path, kind)}; the exit status must agree."""
        command = [str(BUILD / "offshootctl"), "shadow", "compare", a, b, "--json"]
        if descriptors:
            command += ["--descriptors", descriptors, "--grpc-method", METHOD]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertIn(done.returncode, (EQUAL, DIFFERENT), done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["equal"], done.returncode == EQUAL)
        return {(f["path"], f["kind"]) for f in answer["fields"]}

    def rounds(self, check):
        for i in range(ROUNDS):
            rng = random.Random(f"{self.seed} {i}")
            with self.subTest(seed=self.seed, round=i):
                schema = Schema(rng)
                path = self.folder / "descriptors"
                path.write_bytes(schema.descriptors())
                reply = schema.reply()
                fill(rng, reply)
                check(rng, schema, reply, str(path))

    def test_the_changed_field_is_named_and_nothing_else(self):
        self.rounds(self.check_changed)

    def check_changed(self, rng, schema, reply, descriptors):
        first = reply.SerializeToString(deterministic=True)
        changed = schema.reply.FromString(first)
        place = rng.choice(list(places(changed)))
        change(rng, place)
        named, numbered, field = place[:3]
        second = changed.SerializeToString(deterministic=True)
        a = self.save("a", [frame(rng, first), frame(rng, first)])
        b = self.save("b", [frame(rng, first), frame(rng, second)])
        self.assertEqual(self.compare(a, b, descriptors), {(named, "value")})
        unnamed = self.compare(a, b)
        self.assertTrue(unnamed)
        for path, kind in unnamed:
            self.assertTrue(path == numbered or path.startswith(numbered + "."),
                f"{path} {kind}, not {numbered} of type {field.type}")  # fmt: skip

    def test_what_says_the_same_is_equal(self):
        """Maps first and in another order of their keys, the other fields behind them."""
        self.rounds(self.check_same)

    def check_same(self, rng, schema, reply, descriptors):
        a = self.save("a", [frame(rng, reply.SerializeToString())])
        maps = schema.reply()
        for field, value in reply.ListFields():
            if is_map(field):
                for key in sorted(value, reverse=True):
                    self.put(getattr(maps, field.name), key, value[key])
                reply.ClearField(field.name)
        b = self.save("b", [frame(rng, maps.SerializeToString() + reply.SerializeToString())])
        self.assertEqual(self.compare(a, b, descriptors), set())
        self.assertEqual(self.compare(a, a), set())

    def put(self, entries, key, value):
        if hasattr(value, "DESCRIPTOR"):
            entries[key].CopyFrom(value)
        else:
            entries[key] = value


if __name__ == "__main__":
    unittest.main()
