"""Redis servers of a test: started, killed, started again on the port they had, and asked."""

import socket

from harness import eventually, free_port

CLUSTER = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
           "--cluster-require-full-coverage", "no")  # fmt: skip
SLOTS = 16384


class RedisError(Exception):
    """An error that Redis answers with."""


def _words(*words):
    """A command as Redis reads it."""
    parts = [str(w).encode() for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def _answer(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("Redis broke off")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"+":
        return rest
    if kind == b"-":
        return RedisError(rest)
    if kind == b":":
        return int(rest)
    if rest == "-1":
        return None
    if kind == b"$":
        return stream.read(int(rest) + 2)[:-2].decode()
    return [_answer(stream) for _ in range(int(rest))]


class Redis:
    """flags: further ones of redis-server. Not started before start()."""

    def __init__(self, case, *flags):
        self.case, self.flags, self.port = case, flags, free_port()
        self.bus, self.program, self.password = free_port(), None, None
        self.folder = case.folder / f"redis-{self.port}"
        self.folder.mkdir()
        self.address = f"127.0.0.1:{self.port}"
        case.closes(self)

    @property
    def url(self):
        return f"redis://{self.address}"

    def start(self):
        flags = ("--cluster-port", self.bus, *self.flags) if "yes" in self.flags else self.flags
        self.program = self.case.start_other(
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", self.folder,
            "--save", "", *flags, until=self.is_up)  # fmt: skip
        return self

    def is_up(self):
        try:
            return self.ask("PING") == "PONG"
        except RedisError:
            return True  # it wants a password, or is a replica without its master

    def kill(self):
        self.program.kill()

    def close(self):
        if self.program:
            self.program.kill()

    def ask(self, *words, asking=False):
        """The answer of one command on a connection of its own."""
        before = [_words("AUTH", self.password)] if self.password else []
        before += [_words("ASKING")] if asking else []
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
            s.sendall(b"".join([*before, _words(*words)]))
            with s.makefile("rb") as stream:
                answers = [_answer(stream) for _ in range(len(before) + 1)]
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
        return answers[-1]

    def hash(self, key, **more):
        flat = self.ask("HGETALL", key, **more)
        return dict(zip(flat[::2], flat[1::2]))


def cluster(case):
    """Three nodes with a third of the slots each."""
    nodes = [Redis(case, *CLUSTER).start() for _ in range(3)]
    for i, node in enumerate(nodes):
        node.ask("CLUSTER", "ADDSLOTSRANGE", i * SLOTS // 3, (i + 1) * SLOTS // 3 - 1)
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
    for node in nodes[1:]:
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)

    def whole(node):
        info = node.ask("CLUSTER", "INFO")
        return all(w in info for w in ("cluster_state:ok", f"cluster_slots_ok:{SLOTS}",
                                       "cluster_known_nodes:3"))  # fmt: skip

    for node in nodes:
        eventually(lambda node=node: whole(node), what="a cluster")
    return nodes


class Move:
    """A slot on its way from one node to another."""

    def __init__(self, start, end, slot):
        self.start, self.end, self.slot = start, end, slot
        ids = [node.ask("CLUSTER", "MYID") for node in (start, end)]
        end.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        start.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        self.id = ids[1]

    def key(self, name):
        self.start.ask("MIGRATE", "127.0.0.1", self.end.port, name, 0, 5000)

    def finish(self):
        for key in self.start.ask("CLUSTER", "GETKEYSINSLOT", self.slot, 100):
            self.key(key)
        for node in (self.end, self.start):
            node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", self.id)
