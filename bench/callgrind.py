"""User instructions of a program that runs on, between two moments."""

import contextlib
import glob
import subprocess

from http_parts import annotated, collected
from rig import Broken

TOP = 15
# Those that have not returned when a count begins have all of it for their own.
OUTER = ("clone", "start_thread", "worker_thread", "(below main)", "main", "control_run",
         "event_base_dispatch", "event_base_loop", "__libc_start_main@@GLIBC_2.34")


class Counter:
    """argv starts the program under callgrind; its pid is then the program's."""

    def __init__(self, rig, name):
        self.out = rig.path(f"{name}.callgrind")
        self.argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}"]

    def dump(self, pid):
        """The file of what ran since the last one."""
        before = set(glob.glob(self.out + ".*"))
        subprocess.run(["callgrind_control", "-d", str(pid)], check=True, timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        new = set(glob.glob(self.out + ".*")) - before
        if len(new) != 1:
            raise Broken(f"callgrind wrote {sorted(new)}")
        return new.pop()

    @contextlib.contextmanager
    def counting(self, pid):
        """A dict that has "all", and "by" (own instructions of each function), afterwards."""
        found = {}
        self.dump(pid)
        yield found
        path = self.dump(pid)
        found.update(all=collected(path), by=annotated(path))


def costliest(by, n):
    """Lines of functions, own instructions of each of n things."""
    own = [(name, cost) for name, cost in by.items()
           if name not in OUTER and not name.startswith("0x")]
    top = sorted(own, key=lambda item: -item[1])[:TOP]
    return [f"{cost / n:9.0f}  {function}" for function, cost in top]
