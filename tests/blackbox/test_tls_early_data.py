"""Early data (RFC 8446, 2.3) can be said again by whoever saw it: no ticket allows any."""

import subprocess
import unittest

from http1 import split_address
from test_tls import TlsCase

REQUEST = b"GET /%s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


class EarlyData(TlsCase):
    def s_client(self, *flags, sends=b""):
        host, port = split_address(self.proxy.address)
        return subprocess.run(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "a.test",
             "-CAfile", self.ca.cert, "-tls1_3", "-ign_eof", *flags],
            input=sends, capture_output=True, timeout=30).stdout  # fmt: skip

    def test_is_neither_offered_nor_taken(self):
        self.begin()
        ticket, early = self.folder / "ticket", self.folder / "early"
        early.write_bytes(REQUEST % b"early")
        first = self.s_client("-sess_out", ticket, sends=REQUEST % b"first")
        self.assertIn(b"Max Early Data: 0\n", first)
        again = self.s_client("-sess_in", ticket, "-early_data", early, sends=REQUEST % b"second")
        self.assertRegex(again, rb"(?m)^Reused, TLSv1\.3")
        self.assertIn(b"Early data was not sent", again)
        self.assertEqual(["/first", "/second"], [r.target for r in self.shop.requests])


if __name__ == "__main__":
    unittest.main()
