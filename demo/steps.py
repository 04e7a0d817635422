"""What the chapters have in common: requirements, commands as one types them, and waiting."""

import shlex
import subprocess
import time

from shopclient import Mismatch
from terminal import command, indented, say

WAIT_SECONDS = 10


def require(condition, otherwise):
    if not condition:
        raise Mismatch(otherwise)


def typed(program, arguments):
    return shlex.join([program, *arguments])


def run_ctl(stack, code, word, *arguments, seconds=WAIT_SECONDS, shown=None):
    """Shows a command and what it prints, or the first lines of it. code, word: what its end and
    its text are to be."""
    command(typed("offshootctl", arguments))
    got, output = stack.ctl(*arguments, seconds=seconds)
    lines = output.splitlines()
    if lines:
        indented("\n".join(lines[:shown]))
    if len(lines) > len(lines[:shown]):
        say(f"    (and {len(lines) - shown} lines more)")
    require(got == code and word in output, f"exit code {got}; expected {code} and '{word}'")
    return output


def run_curl(stack, *arguments, quiet=(), word=""):
    """Shows a request made with curl and its answer, without the header fields in `quiet`."""
    command(typed("curl", arguments))
    done = subprocess.run(["curl", *arguments], text=True, stdout=subprocess.PIPE, cwd=stack.work,
                          stderr=subprocess.STDOUT, timeout=WAIT_SECONDS, check=False)
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    indented("\n".join(line for line in lines
                       if line and line.split(":")[0].lower() not in quiet))
    require(done.returncode == 0 and word in done.stdout,
            f"curl ended with {done.returncode}; expected 0 and '{word}'")
    return done.stdout


def run_program(stack, program, *arguments, word=""):
    """Shows a command and all that it prints."""
    command(typed(program, arguments))
    done = subprocess.run([program, *arguments], text=True, stdout=subprocess.PIPE, cwd=stack.work,
                          stderr=subprocess.STDOUT, timeout=WAIT_SECONDS, check=False)
    indented(done.stdout)
    require(done.returncode == 0 and word in done.stdout,
            f"{program} ended with {done.returncode}; expected 0 and '{word}'")


def ordinal(n):
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") if n % 100 not in (11, 12, 13) else "th"
    return f"{n}{ending}"


def until(look, good, what):
    """Looks again and again until what is seen is good; gives it."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        seen = look()
        if good(seen):
            return seen
        if time.monotonic() > end:
            raise Mismatch(f"{what}: not within {WAIT_SECONDS} s; the last: {seen}")


def poll(request, good):
    """Asks until the answer is good, and gives it with the number of requests; every answer must
    be one (200)."""
    count = 0

    def once():
        nonlocal count
        reply, count = request(), count + 1
        require(reply.status == 200, f"a request failed during the change: {reply}")
        return reply

    return until(once, good, "the answer"), count


def await_status(stack, good):
    """The text of the gateway's status, once it is good."""
    return until(lambda: stack.ctl("--socket", "admin.sock", "status"),
                 lambda got: got[0] in (0, 2) and good(got[1]), "the status")[1]
