"""`offshootctl shadow replay`: journals that are written by a program of its own, a real proxy, and
providers that keep what they were asked."""

import gzip
import json
import os
import socket
import unittest

from graphs import baseline, gateway, graph_of, overlay, service
from harness import ProxyCase
from http1 import reply_bytes
from journal_writer import journal, sample, session
from shadow_case import Service, dark

SAME, ERROR, DIFFER, NOT_FOUND = 0, 1, 2, 3
SECRET = "[redacted:1a2b3c4d]"


class ReplayCase(ProxyCase):
    proxy_flags = ()

    def setUp(self):
        super().setUp()
        self.asked, self.answer = [], lambda request: {"price": 3}
        self.main = self.closes(Service(lambda *_: (500, {"wrong": "environment"})))
        self.cart = self.closes(Service(self.reply))
        self.proxy = self.start_proxy(graph_of(
            service("cart", "hosts: [cart]"), baseline(cart=self.main.address),
            overlay("feat", cart=self.cart.address), gateway({"/": "cart"})), *self.proxy_flags)

    def reply(self, _, handler):
        self.asked.append((handler.command, handler.path, dict(handler.headers.items()),
                           handler.content))
        answer = self.answer(handler)
        return answer if isinstance(answer, tuple) else (200, answer)

    def written(self, *samples, **spec):
        return journal(self.folder / "journal", [session(**spec), *samples])

    def replay(self, folder, *args, status=SAME, through=None):
        """Gives (output, errors)."""
        done = self.run_program(
            "offshootctl", "shadow", "replay", folder, "--candidate", "feat", "--through",
            through or self.proxy.address, "--rate", "2000", *args, env={"NO_COLOR": ""})
        out, err = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(status, done.returncode, f"{args}\n{out}\n{err}")
        return out, err

    def object(self, folder, *args, status=SAME):
        return json.loads(self.replay(folder, "--json", *args, status=status)[0])


class Replay(ReplayCase):
    def test_each_request_goes_to_the_candidate_as_dark(self):
        folder = self.written(*(sample(i, headers=[("x-user", "u"), ("traceparent", "00-" + "1" * 32
                                + "-" + "2" * 16 + "-01")], body=b'{"price":3}')
                                for i in range(1, 201)))
        out, _ = self.replay(folder)
        self.assertEqual("200 replies are as recorded\n  recorded        200 requests\n", out)
        self.assertEqual({f"/items/{i}" for i in range(1, 201)}, {r[1] for r in self.asked})
        self.assertEqual([], self.main.requests)
        traces = set()
        for request in self.asked:
            self.assertEqual(0x0B, dark(request))
            named = {name.lower(): value for name, value in request[2].items()}
            self.assertEqual("u", named["x-user"])
            traces.add(named["traceparent"].split("-")[1])
        self.assertEqual(200, len(traces - {"1" * 32}))

    def test_what_differs_is_named_with_examples(self):
        folder = self.written(*(sample(i, body=b'{"price":3,"at":%d}' % i) for i in range(1, 31)))
        self.answer = lambda h: {"price": 4 if h.path.endswith("7") else 3, "at": 99}
        out, _ = self.replay(folder, "--ignore", "body.at", status=DIFFER)
        self.assertTrue(out.startswith("3 of 30 replies differ from the recorded ones\n"), out)
        self.assertIn("  body.price (value) of cart GET /items/{}: 3 of 30\n", out)
        self.assertIn("      recorded   3\n      candidate  4\n", out)
        self.assertIn("noise is not known", out)
        found = self.object(folder, status=DIFFER)
        self.assertEqual(["body.at", "body.price"], [f["path"] for f in found["fields"]])
        self.assertEqual((30, 30, 30, False), (found["requests"], found["compared"],
                                               found["differ"], found["equal"]))
        self.assertEqual((3, 3), (found["fields"][1]["differ"],
                                  len(found["fields"][1]["examples"])))
        self.object(self.written(*(sample(i, body=b'{"price":3,"at":0}') for i in range(1, 6)),
                                 ignore=["body.at"]))  # the session's own patterns count

    def test_redacted_places_are_equal_and_new_secrets_do_not_show(self):
        folder = self.written(sample(1, body=json.dumps(
            {"price": 3, "token": SECRET, "iban": SECRET, "mail": SECRET}).encode(),
            reply={"redacted": True}), redact=["iban"])
        self.answer = lambda _: {"price": 3, "token": "hunter2", "iban": "DE12",
                                 "mail": "a@example.org"}
        self.replay(folder)
        self.answer = lambda _: {"price": 3, "token": "hunter2", "iban": "DE12",
                                 "mail": {"to": "a@example.org"}}
        out, _ = self.replay(folder, status=DIFFER)
        self.assertIn("body.mail (type)", out)
        self.assertNotIn("example.org", out)

    def test_requests_that_are_not_whole_are_counted_and_not_sent(self):
        lost = sample(8)
        lost.sample.ClearField("request")
        folder = self.written(
            sample(1, {"redacted": True, "needs_credentials": True},
                   headers=[("authorization", f"Bearer {SECRET}")]),
            sample(2, {"method": "POST", "body": b"x"}, headers=[("content-length", "1")]),
            sample(3, {"cut": True}),
            sample(4, {"redacted": True, "path": f"/items?token={SECRET}"}),
            sample(5, {"redacted": True, "method": "POST", "body": SECRET.encode()}),
            sample(6, reply={"outcome": 2}),
            sample(7, headers=[("cookie", "a=b")]), lost)
        self.answer = lambda _: {}
        out, err = self.replay(folder, status=ERROR)
        self.assertIn("not replayable  credentials 2, unsafe 2, cut 1, redacted 1, no-primary 1, "
                      "no-request 1\n", out)
        self.assertEqual("offshootctl: no reply could be compared\n", err)
        self.assertEqual([], self.asked)
        found = self.object(folder, "--unsafe", "-H", "Authorization: Bearer mine",
                            "--header", "cookie:c=d")
        self.assertEqual({"cut": 1, "redacted": 2, "no-primary": 1, "no-request": 1},
                         found["not_replayable"])
        self.assertEqual(3, found["compared"])
        sent = {r[1]: {k.lower(): v for k, v in r[2].items()} for r in self.asked}
        self.assertEqual("Bearer mine", sent["/items/1"]["authorization"])
        self.assertEqual("c=d", sent["/items/7"]["cookie"])
        self.assertIn(("POST", b"x"), {(method, body) for method, _, _, body in self.asked})

    def test_credentials_go_when_the_session_forwarded_them(self):
        folder = self.written(sample(1, headers=[("cookie", "a=b")]), credentials="forward")
        self.answer = lambda _: {}
        self.replay(folder)
        self.assertEqual("a=b", {k.lower(): v for k, v in self.asked[0][2].items()}["cookie"])

    def test_replies_whose_bodies_were_left_out_are_compared_without(self):
        cut = sample(1, reply={"cut": True, "body_bytes": 99999},
                     reply_headers=[("content-length", "99999"), ("x-a", "1")], body=b"")
        found = self.object(self.written(cut), "--ignore", "header.x-a")
        self.assertEqual(1, found["without_body"])
        self.assertEqual(["header.x-a"], [
            f["path"] for f in self.object(self.written(cut), status=DIFFER)["fields"]])

    def test_failures_of_the_candidate_are_differences(self):
        folder = self.written(sample(1), sample(2, body=b'{"price":3}'))
        self.answer = lambda h: (503, {}) if h.path == "/items/1" else {"price": 3}
        found = self.object(folder, status=DIFFER)
        self.assertEqual((1, ["status"]), (found["differ"], [f["path"] for f in found["fields"]]))
        self.cart.close()
        self.addCleanup(setattr, self.cart, "close", lambda: None)
        found = self.object(folder, status=DIFFER)
        self.assertEqual((2, 2), (found["differ"], found["transport_errors"]))

    def test_limit_is_the_number_that_is_sent(self):
        folder = self.written(*(sample(i, body=b'{"price":3}') for i in range(1, 51)))
        self.assertEqual(7, self.object(folder, "--limit", "7")["compared"])
        self.assertEqual(7, len(self.asked))

    def test_a_torn_end_and_a_damaged_segment_are_passed_over(self):
        folder = self.written(sample(3, body=b'{"price":3}'))
        journal(folder, [session(), sample(1, body=b'{"price":3}'), sample(2)], "journal.000001")
        damaged = folder / "journal.000001"
        data = bytearray(damaged.read_bytes())
        data[-3] ^= 1
        damaged.write_bytes(bytes(data))
        newest = folder / "journal"
        newest.write_bytes(newest.read_bytes() + b"\x40\0\0\0torn")
        found = self.object(folder)
        self.assertEqual((2, 1), (found["compared"], found["damaged_segments"]))

    def test_misuse_is_told(self):
        folder = self.written(sample(1))
        nothing = self.folder / "nothing"
        self.assertEqual((f"offshootctl: no journal in '{nothing}': want the folder "
                          "STATE/shadow/NAME of an agent\n"),
                         self.replay(nothing, status=NOT_FOUND)[1])
        for args, why in (
            (("--rate", "0"), "--rate is given twice"),
            (("--limit", "0"), "--limit wants a number, not '0'"),
            (("-H", "hunter2"), "--header wants 'NAME: VALUE'; number 1 is none"),
            (("--trust-domain", "x"), "--trust-domain is for --keys, which is not said"),
            (("--ignore", ""), ""),
        ):  # fmt: skip
            out, err = self.replay(folder, *args, status=ERROR)
            self.assertEqual("", out)
            self.assertIn(why, err)
            self.assertNotIn("hunter2", err)
        self.assertIn("--through", self.replay(folder, status=ERROR, through="nonsense")[1])
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{closed.getsockname()[1]}"
            self.assertIn(f"cannot send through '{where}'",
                          self.replay(self.written(*(sample(i) for i in range(9))), status=ERROR,
                                      through=where)[1])
        self.assertEqual([], self.asked)


    def test_grpc_is_not_sent_when_its_secrets_would_show(self):
        call = sample(1, {"grpc": True, "method": "GET"}, body=b'{"price":3}')
        folder = self.written(call, sample(2, body=b'{"price":3}'), descriptors=99)
        self.assertEqual({"descriptors": 1}, self.object(folder)["not_replayable"])
        (folder / "descriptors").write_bytes(b"")
        self.assertEqual({}, self.object(folder)["not_replayable"])
        (folder / "descriptors").write_bytes(b"no set")
        self.assertIn("descriptors: ", self.replay(folder, status=ERROR)[1])


class Compressed(ProxyCase):
    def test_a_body_that_comes_compressed_is_compared_plain(self):
        def script(stream):
            while stream.read_request():
                stream.send(reply_bytes(body=gzip.compress(b'{"price":3}'), fields=(
                    ("content-encoding", "gzip"), ("content-type", "application/json"))))

        provider = self.provider(script)
        proxy = self.start_proxy(graph_of(
            service("cart", "hosts: [cart]"), baseline(cart=provider.address),
            overlay("feat", cart=provider.address), gateway({"/": "cart"})))
        folder = journal(self.folder / "journal", [session(), sample(
            1, body=b'{"price":3}', reply_headers=[("content-encoding", "gzip")])])
        done = self.run_program("offshootctl", "shadow", "replay", folder, "--candidate", "feat",
                                "--through", proxy.address)
        self.assertEqual(SAME, done.returncode, done.stdout + done.stderr)


class Signed(ReplayCase):
    def setUp(self):
        super(ReplayCase, self).setUp()
        self.keys = self.write("keys", "k1 " + "A" * 43 + "=\n")
        os.chmod(self.keys, 0o600)
        self.proxy_flags = ("--keys", self.keys, "--trust-domain", "shop")
        ReplayCase.setUp(self)

    def test_tokens_are_signed_where_there_are_keys(self):
        folder = self.written(sample(1, body=b'{"price":3}'))
        found = self.object(folder, "--keys", self.keys, "--trust-domain", "shop")
        self.assertEqual(1, found["compared"])
        out = self.replay(folder, status=ERROR)[0]
        self.assertRegex(out, r"dropped +[a-z-]+ 1\n")


if __name__ == "__main__":
    unittest.main()
