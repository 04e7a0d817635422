"""offshootctl shadow compare: two saved replies, from files as curl saves them to the answer."""

import gzip
import json
import unittest

from test_ctl import NO, YES, CtlCase

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {date}\r\n{more}\r\n"


class ShadowCompare(CtlCase):
    def reply(self, name, body, more="", date="Sun, 06 Nov 1994 08:49:37 GMT"):
        data = body if isinstance(body, bytes) else body.encode()
        path = self.folder / name
        path.write_bytes(HEAD.format(date=date, more=more).encode() + data)
        return path

    def compare(self, a, b, *more, status=NO):
        return self.answer_json("shadow", "compare", a, b, *more, status=status)

    def test_more_differences_than_are_told_are_cut(self):
        words = [f"{x}{y}" for x in "abcde" for y in "uvwxy"]
        sides = [json.dumps({x: {y: {z: n for z in words} for y in words} for x in words})
                 for n in (1, 2)]  # fmt: skip
        a, b = (self.reply(f"{n}.json", side) for n, side in enumerate(sides))
        answer = self.compare(a, b)
        self.assertEqual((True, 10000), (answer["cut"], len(answer["fields"])))

    def test_equal_replies(self):
        a = self.reply("a", '{"x": 1, "y": [1.0]}')
        b = self.reply("b", '{"y":[1],"x":1}', date="now")
        self.assertEqual({"equal": True, "cut": False, "fields": []},
                         self.compare(a, b, status=YES))  # fmt: skip
        self.assertEqual("equal\n", self.answer("shadow", "compare", a, b))

    def test_what_differs_is_told(self):
        a = self.reply("a", '{"x":1,"y":null,"l":[1,2]}', "ETag: 1\r\n")
        b = self.reply("b", '{"x":"1","z":true,"l":[2,1]}', "ETag: 2\r\n")
        self.assertEqual({"equal": False, "cut": False, "fields": [
            {"path": "header.etag", "kind": "value", "a": "1", "b": "2"},
            {"path": "body.l[]", "kind": "order", "a": "[1,2]", "b": "[2,1]"},
            {"path": "body.x", "kind": "type", "a": "1", "b": '"1"'},
            {"path": "body.y", "kind": "missing", "a": "null", "b": None},
            {"path": "body.z", "kind": "extra", "a": None, "b": "true"},
        ]}, self.compare(a, b))
        self.assertEqual(
            "1 field differs\n  body.x  type\n    a  1\n    b  \"1\"\n",
            self.answer("shadow", "compare", a, b, "--ignore", "header.*", "--ignore",
                        "body.*:missing", "--ignore", "body.z", "--ignore", "body.l[]:order",
                        status=NO))

    def test_secrets_are_taken_out_unless_asked_for(self):
        a = self.reply("a", '{"password":"canary-1"}', "Set-Cookie: s=canary-2; Path=/\r\n")
        b = self.reply("b", '{"password":"canary-3"}', "Set-Cookie: s=canary-4; Path=/\r\n")
        out = self.answer("shadow", "compare", a, b, status=NO)
        self.assertNotIn("canary", out)
        self.assertEqual(4, out.count("[redacted:"))
        out = self.answer("shadow", "compare", a, b, "--no-redact", status=NO)
        for n in range(1, 5):
            self.assertIn(f"canary-{n}", out)

    def test_packed_bodies_and_those_that_curl_unpacked(self):
        packed = self.reply("a", gzip.compress(b'{"x":1}'), "Content-Encoding: gzip\r\n")
        plain = self.reply("b", '{"x":1}', "Content-Encoding: gzip\r\n")
        other = self.reply("c", '{"x":2}')
        self.compare(packed, plain, status=YES)
        self.assertEqual([{"path": "body.x", "kind": "value", "a": "1", "b": "2"}],
                         self.compare(packed, other)["fields"])

    def test_replies_before_the_last_one_are_passed_over(self):
        a = self.reply("a", "{}")
        b = self.folder / "b"
        b.write_bytes(b"HTTP/1.1 100 Continue\r\n\r\n" + a.read_bytes())
        self.compare(a, b, status=YES)

    def test_bare_bodies_want_their_type(self):
        a, b = self.write("a", "x=1&y=2"), self.write("b", "x=1&y=3")
        form = "application/x-www-form-urlencoded"
        self.assertEqual([{"path": "body.form.y", "kind": "value", "a": "2", "b": "3"}],
                         self.compare(a, b, "--type", form)["fields"])
        self.refused(f"no status line in '{a}': save it with curl -i, or say --type MEDIA for a "
                     "bare body", "shadow", "compare", a, b)

    def test_wrong_use_is_named(self):
        a = self.reply("a", "{}")
        bad = self.write("bad", "HTTP/1.1 200\r\nno colon\r\n\r\n")
        worse = self.write("worse", "HTTP/1.1 999\r\n\r\n")
        self.refused("cannot read 'none': No such file or directory",
                     "shadow", "compare", a, "none")
        self.refused(f"{bad}:2: no header field 'no colon'", "shadow", "compare", a, bad)
        self.refused(f"{worse}:1: no status line of a reply 'HTTP/1.1 999'",
                     "shadow", "compare", worse, a)
        self.refused("a pattern of a path is empty", "shadow", "compare", a, a, "--ignore", "")
        self.refused("names of gRPC want both, --descriptors and --grpc-method",
                     "shadow", "compare", a, a, "--grpc-method", "/a.B/C")
        self.refused("want shadow compare A B", "shadow", "compare", a)

    def test_json_has_a_line_of_its_own(self):
        a, b = self.reply("a", '{"x":"\\n\\u0000"}'), self.reply("b", '{"x":"\u00e9"}')
        out = self.answer("shadow", "compare", a, b, "--json", status=NO)
        self.assertEqual(1, out.count("\n"))
        self.assertEqual({"path": "body.x", "kind": "value", "a": "\n\0", "b": "\u00e9"},
                         json.loads(out)["fields"][0])


if __name__ == "__main__":
    unittest.main()
