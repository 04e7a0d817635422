"""Signed contexts, made with Python's hmac alone."""

import base64
import hashlib
import hmac
import os
import time

KID, SECRET = "k1", bytes(range(32))
LIFE = 3600  # seconds


def base36(n):
    digits = ""
    while n or not digits:
        n, digit = divmod(n, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def key_file(rig):
    """Written where nobody else may read it."""
    path = rig.path("keys.txt")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write(f"{KID} {base64.b64encode(SECRET).decode()}\n")
    return path


def mesh_token(environment, pin=0):
    text = f"v1m.{environment}.{base36(pin)}.00.{base36(int(time.time()) + LIFE)}.{KID}"
    mac = hmac.new(SECRET, f"offshoot1|offshoot|{text}".encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac[:16]).decode().rstrip('=')}"
