"""Tokens made and judged without a line of the programs: Python's hmac and nothing else."""

import base64
import hashlib
import hmac
import time

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(n):
    text = ""
    while True:
        n, digit = divmod(n, 36)
        text = DIGITS[digit] + text
        if n == 0:
            return text


class Key:
    def __init__(self, kid, secret):
        self.kid, self.secret = kid, secret

    @property
    def base64(self):
        return base64.b64encode(self.secret).decode()

    @property
    def line(self):
        """As a key file has it."""
        return f"{self.kid} {self.base64}\n"

    def mac(self, text, domain="offshoot"):
        message = f"offshoot1|{domain}|{text}".encode()
        digest = hmac.new(self.secret, message, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")

    def token(self, env, use="e", life=3600, flags=0, pin=0, domain="offshoot", exp=None):
        exp = int(time.time()) + life if exp is None else exp
        text = f"v1{use}.{env}.{base36(pin)}.{flags:02x}.{base36(exp)}.{self.kid}"
        return f"{text}.{self.mac(text, domain)}"

    def verifies(self, token, domain="offshoot"):
        text, _, mac = token.rpartition(".")
        return text.rsplit(".", 1)[1] == self.kid and mac == self.mac(text, domain)


K1 = Key("k1", bytes(range(32)))
K2 = Key("k2", bytes(range(64, 128)))


def exp_of(token):
    return int(token.split(".")[4], 36)
