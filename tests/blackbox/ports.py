"""Ports for servers that cannot bind port 0.

A port that the kernel gave and that was closed again may be given to somebody else, also as the
near end of a connection, and twice to one who asks twice. These come from outside the range that
the kernel gives from, and each is claimed for the life of this process by a name that only one
process of the machine (of the network namespace) can hold: an abstract unix socket."""

import random
import socket
from pathlib import Path

__all__ = ["candidates", "claimed", "claims", "free_port", "free_ports", "unused"]

LOWEST, HIGHEST = 10_000, 65_535
DEMO = 10_000  # below the kernel's first: the demo draws from these
CLAIM = "\0offshoot-test-port-%d"
claims = {}  # {port: the socket that claims it}


def candidates():
    """Every port that nobody else gives, in any order; all when the kernel gives nearly all."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    found = [p for p in range(LOWEST, HIGHEST + 1) if not first - DEMO <= p <= last]
    if len(found) < 1000:
        found = list(range(LOWEST, HIGHEST + 1))
    random.SystemRandom().shuffle(found)
    return found


def claimed(port):
    """Whether the port is this process's own from now on."""
    if port in claims:
        return False
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(CLAIM % port)
    except OSError:
        name.close()
        return False
    claims[port] = name
    return True


def unused(port, host):
    """No other program listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(n, host="127.0.0.1"):
    """n ports, all different, that no other caller gets."""
    found = []
    for port in candidates():
        if len(found) == n:
            return found
        if claimed(port) and unused(port, host):
            found.append(port)
    raise OSError(f"no {n} free ports: {len(claims)} are claimed here")


def free_port(host="127.0.0.1"):
    return free_ports(1, host)[0]
