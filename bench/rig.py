"""Processes of a measurement: started on free ports in a temporary folder, always stopped."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
START_SECONDS = 120  # a graph of 50 MB under valgrind is not loaded at once
STOP_SECONDS = 20


class Broken(Exception):
    """A measurement that cannot go on, in words for the reader."""


def free_ports(n):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in held:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in held]


def tail(path, n=2000):
    try:
        with open(path, errors="replace") as f:
            return f.read()[-n:]
    except OSError:
        return ""


class Process:
    def __init__(self, name, argv, log):
        self.name, self.log = name, log
        # Whatever ends this script, even SIGKILL, ends what it started.
        argv = ["setpriv", "--pdeathsig", "KILL", *argv]
        with open(log, "wb") as out:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.pid = self.popen.pid

    def until(self, started, what):
        deadline = time.monotonic() + START_SECONDS
        while not started():
            self.must_live()
            if time.monotonic() > deadline:
                raise Broken(f"{self.name} {what}:\n{tail(self.log)}")
            time.sleep(0.01)
        return self

    def await_port(self, port):
        """Until the port accepts connections."""
        def accepts():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        return self.until(accepts, "does not listen")

    def await_line(self, start):
        """Until it has written a line that starts so."""
        return self.until(lambda: f"\n{start}" in "\n" + tail(self.log),
                          f"does not say '{start}'")

    def must_live(self):
        if self.popen.poll() is not None:
            raise Broken(f"{self.name} ended with {self.popen.returncode}:\n{tail(self.log)}")

    def stop(self, target=None):
        """Ends it with SIGTERM; target: the process to signal in place of a tracer."""
        if self.popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target or self.pid, 15)
            try:
                self.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
                return False
        return True


class Rig(contextlib.AbstractContextManager):
    """A folder and the processes that work in it, both gone at the end."""

    def __init__(self, keep=False):
        self.keep = keep
        self.processes = []
        base = tempfile.gettempdir()
        # A Unix socket's path is short: a long TMPDIR is not used.
        self.folder = tempfile.mkdtemp(prefix="offshoot-bench-",
                                       dir=base if len(base) < 60 else "/tmp")

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def fill(self, template, name, **values):
        """A committed template, written to `name` with its @WORDS@ replaced."""
        with open(os.path.join(HERE, "peers", template), encoding="utf-8") as f:
            text = f.read()
        for word, value in {"FOLDER": self.folder, **values}.items():
            text = text.replace(f"@{word}@", str(value))
        return self.write(name, text)

    def spawn(self, name, argv):
        p = Process(name, argv, self.path(f"{name}.out"))
        self.processes.append(p)
        return p

    def stop(self, process, target=None):
        if process in self.processes:
            self.processes.remove(process)
        return process.stop(target)

    def __exit__(self, *_):
        for p in reversed(self.processes):
            p.stop()
        if self.keep:
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
