"""What the lint rules share: the files there are, how they are compiled, how findings are told."""

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = ("lib", "proxy", "agent", "ctl", "tests", "bench")
JOBS = min(2, os.cpu_count() or 1)


class Finding(NamedTuple):
    path: Path
    line: int
    text: str
    warning: bool = False  # told, but no failure


def files(tree, *suffixes, folders=None):
    """The files of the tree, in order, without what git ignores (and without build folders)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.strip("\0").split("\0")
    else:
        names = [str(p.relative_to(tree)) for p in Path(tree).rglob("*") if p.is_file()]
    for name in sorted(set(names)):
        first = name.split("/")[0]
        if first in ("build", ".git") or (folders and first not in folders):
            continue
        path = Path(tree) / name
        if path.is_file() and (not suffixes or path.suffix in suffixes):
            yield path


def lines(path):
    return path.read_text(errors="replace").splitlines()


def compile_flags(tree, compiler):
    """The Makefile's flags for this compiler; plain ones for a tree without a Makefile."""
    if not (Path(tree) / "Makefile").exists():
        return ["-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-I."]
    command = ["make", "-s", "--no-print-directory", f"CC={compiler}", "print-CFLAGS_ALL"]
    env = {k: v for k, v in os.environ.items() if k not in ("MAKELEVEL", "CC")}
    text = subprocess.run(
        command, cwd=tree, env=env, capture_output=True, text=True, check=True
    ).stdout
    return shlex.split(text)


def each(fn, items):
    """fn(item) for every item, a few at a time; the results' findings in order."""
    with ThreadPoolExecutor(max_workers=JOBS) as pool:
        for found in pool.map(fn, items):
            yield from found


DIAGNOSTIC = re.compile(r"^(\S+?):(\d+)(?::\d+)?: (?:fatal )?(?:error|warning): (.*)$", re.M)


def diagnostics(tree, output):
    """The findings in a compiler's kind of output."""
    for path, line, text in DIAGNOSTIC.findall(output):
        yield Finding(Path(tree) / path, int(line), text)


def tool(tree, *command, stdin=None):
    """Runs a tool in the tree: (exit status, what it printed)."""
    done = subprocess.run(
        [str(c) for c in command],
        cwd=tree,
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout


def judged_by_tool(tree, path, status, output):
    """Findings of a tool that fails by its exit status; never silent when it failed."""
    if status == 0:
        return []
    return list(diagnostics(tree, output)) or [Finding(path, 1, f"exit {status}: {output[-600:]}")]


def main(check):
    """The main of a rule: check(tree) gives findings. The tree is the argument, or this one."""
    tree = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    failed = False
    told = set()
    for finding in check(tree):
        if finding in told:
            continue
        told.add(finding)
        path = finding.path
        if path.is_relative_to(tree):
            path = path.relative_to(tree)
        word = "warning: " if finding.warning else ""
        print(f"{path}:{finding.line}: {word}{finding.text}", flush=True)
        failed = failed or not finding.warning
    sys.exit(1 if failed else 0)
