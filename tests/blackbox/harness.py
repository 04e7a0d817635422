"""Runs the real programs for tests: started, watched, and judged at the end.

A test file holds classes derived from `Case` (any program) or `ProxyCase` (a proxy on graph files).
Whatever a test starts through them ends with it, and each of our programs must then have: an empty
sanitizer log, its descriptors back at what they were when it was ready, no live object, and a clean
exit soon after SIGTERM. No fixed ports and no sleeps: see `eventually`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from urllib.parse import urlencode

from fakes import Nobody, Provider, fixed, http_script
from graphs import baseline, gateway, graph_of, service
from http1 import BadMessage, Incomplete, Reply, Request, connect, reply_bytes, request_bytes
from ports import free_port, free_ports

__all__ = [
    "BUILD", "ONE_SHOP", "ROOT", "SERVER", "Agent", "AgentCase", "BadMessage", "Case", "Counters",
    "Incomplete", "Nobody", "Program", "Provider", "ProxyCase", "Reply", "Request", "connect",
    "eventually", "fixed", "free_port", "free_ports", "http_script", "reply_bytes", "request_bytes",
    "sanitized",
]  # fmt: skip

# A graph of one service with one provider, whose address is filled in; a failed connect is final.
ONE_SHOP = graph_of(
    service("shop", "policy: {retries: {max: 0}}"), gateway({"/": "shop"}), baseline(shop="%s"))

NGINX = """worker_processes 1;
daemon off;
pid %(pid)s;
error_log %(folder)s/nginx.log;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
%(more)s
http {
  access_log off;
  keepalive_requests 10000000;
  client_body_temp_path %(folder)s; proxy_temp_path %(folder)s; fastcgi_temp_path %(folder)s;
  uwsgi_temp_path %(folder)s; scgi_temp_path %(folder)s;
%(servers)s
}
"""
SERVER = '  server { listen 127.0.0.1:%d; location / { return 200 "%s"; } }\n'

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("OFFSHOOT_BUILD", ROOT / "build")).resolve()


def sanitized():
    """The sanitizers the programs were built with ("address,undefined", "thread" or "")."""
    try:
        found = re.search(r"-fsanitize=(\S+)", (BUILD / "flags").read_text())
    except OSError:
        return ""
    return found.group(1) if found else ""


# Waiting takes the time it takes: only a failure sees these limits.
SECONDS = 60 if sanitized() else 30


def eventually(fn, seconds=SECONDS, what=None):
    """Calls fn until it gives something true, and returns that. An AssertionError or OSError of fn
    means "not yet"; the last one is told when time is up."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        problem = None
        try:
            value = fn()
            if value:
                return value
        except (AssertionError, OSError) as e:
            value, problem = None, e
        if time.monotonic() > deadline:
            last = f"{type(problem).__name__}: {problem}" if problem else repr(value)
            raise AssertionError(f"{what or 'condition'} not met within {seconds} s; last: {last}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


class Counters:
    """A reading of Prometheus text. Lines that are not of that format are failures."""

    SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[0-9.eE+-]+|NaN|[+-]Inf)( \d+)?\Z")
    LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|\Z)')

    def __init__(self, text):
        self.samples, self.kinds = {}, {}
        if text and not text.endswith("\n"):
            raise AssertionError("metrics do not end with a line feed")
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ")
                if family in self.kinds:
                    raise AssertionError(f"family {family} twice")
                self.kinds[family] = kind
            elif line and not line.startswith("#"):
                self._add(line)

    def _add(self, line):
        found = self.SAMPLE.match(line)
        if not found:
            raise AssertionError(f"not a sample: {line!r}")
        name, inside, value = found.group(1), found.group(2) or "", float(found.group(3))
        labels = self.LABEL.findall(inside)
        if self.LABEL.sub("", inside):
            raise AssertionError(f"bad labels: {line!r}")
        key = (name, frozenset(labels))
        if key in self.samples:
            raise AssertionError(f"sample twice: {line!r}")
        self.samples[key] = value

    def get(self, name, **labels):
        """The sum of the samples of this name with these labels; KeyError when there is none."""
        wanted = set(labels.items())
        found = [v for (n, have), v in self.samples.items() if n == name and wanted <= have]
        if not found:
            raise KeyError(f"{name}{labels or ''}")
        return sum(found)

    def families(self):
        return sorted({n for n, _ in self.samples})

    def since(self, earlier):
        """What changed from an earlier reading: {'name{label="x"}': difference}."""
        changes = {}
        for (name, labels), value in self.samples.items():
            difference = value - earlier.samples.get((name, labels), 0)
            if difference:
                text = ",".join(f'{k}="{v}"' for k, v in sorted(labels))
                changes[f"{name}{{{text}}}" if text else name] = difference
        return changes


class Program:
    """A started program with its output in files of `folder`."""

    def __init__(self, command, folder, env=None, ours=True):
        self.command = [str(c) for c in command]
        self.name = Path(self.command[0]).name
        self.ours = ours
        self.stdout = Path(folder) / f"{self.name}.{time.monotonic_ns()}.out"
        self.stderr = self.stdout.with_suffix(".err")
        self.reports = Path(os.environ.get("OFFSHOOT_SANITIZER_LOGS", folder))
        self.ready = {}
        self.fds_at_start = None
        # The same process group: a test run that is cut short takes its programs along.
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=self._environment(env),
            )
        self.pid = self.process.pid

    def _environment(self, extra):
        env = dict(os.environ)
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            env.setdefault(name, f'log_path="{self.reports}/report"')
        env.update(extra or {})
        return env

    def output(self):
        return self.stdout.read_text(errors="replace")

    def errors(self):
        return self.stderr.read_text(errors="replace")

    def running(self):
        return self.process.poll() is None

    def describe(self):
        state = "running" if self.running() else f"ended with {self.process.returncode}"
        return f"{' '.join(self.command)} ({state})\n{self.output()[-2000:]}{self.errors()[-6000:]}"

    def line(self, pattern, seconds=SECONDS, stream="stdout"):
        """Waits for a whole line of output that matches; returns the match."""

        def look():
            text = getattr(self, stream).read_text(errors="replace")
            whole = text[: text.rfind("\n") + 1]
            found = re.search(pattern, whole, re.M)
            if not found and not self.running():
                raise RuntimeError(f"ended before {pattern!r}: {self.describe()}")
            return found

        try:
            return eventually(look, seconds)
        except AssertionError:
            raise AssertionError(f"no line {pattern!r}: {self.describe()}") from None

    def wait_ready(self, seconds=SECONDS):
        """Waits for the line `ready key=value …`; fills `ready`: {key: [values]}."""
        words = self.line(r"^ready\b(.*)$", seconds).group(1).split()
        for key, value in (word.split("=", 1) for word in words):
            self.ready.setdefault(key, []).extend(value.split(","))
        self.fds_at_start = self.fds()
        return self

    @property
    def address(self):
        """Of the first listener."""
        return self.ready["listen"][0]

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def open_files(self):
        """What each descriptor is, for messages."""
        found = []
        for fd in sorted(os.listdir(f"/proc/{self.pid}/fd"), key=int):
            try:
                found.append(f"{fd}: {os.readlink(f'/proc/{self.pid}/fd/{fd}')}")
            except OSError:
                pass
        return found

    def resident_bytes(self):
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=SECONDS):
        """The exit status, negative for a signal."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {seconds} s: {self.describe()}") from None

    def end(self, seconds=SECONDS):
        """For a program whose end is not judged. Politely first: it has children to take along."""
        if self.running():
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        """For tests of a sudden death."""
        if self.running():
            self.process.kill()
        self.process.wait()

    def sanitizer_reports(self):
        return [p.read_text(errors="replace") for p in self.reports.glob(f"*.{self.pid}")]

    # -- the admin socket

    def admin(self, target, method="GET", fields=(), body=b"", timeout=SECONDS):
        """One request on the admin socket, a connection of its own; the reply."""
        fields = [("Connection", "close"), *fields]
        with connect(self.ready["admin"][0], timeout) as stream:
            return stream.ask(request_bytes(method, target, "localhost", fields, body))

    def admin_json(self, path, **params):
        """GET as JSON; any status but 200 is a failure."""
        target = f"{path}?{urlencode(params, doseq=True)}" if params else path
        reply = self.admin(target, fields=[("Accept", "application/json")])
        if reply.status != 200:
            raise AssertionError(f"{target}: {reply}")
        return json.loads(reply.body)

    def counters(self):
        reply = self.admin("/metrics")
        if reply.status != 200:
            raise AssertionError(f"/metrics: {reply}")
        return Counters(reply.body.decode())


class Case(unittest.TestCase):
    """Starts programs in a folder of the test's own (`folder`), and judges their end."""

    # Gauges that must be zero when clients and providers are gone, if the program has them.
    zero_gauges = ("offshoot_live_objects",)
    # What the log says of a clean end; checked when the program says anything of the kind.
    live_objects = re.compile(r"live objects (\d+)")
    # How long a program may take to come to rest, and to end.
    quiet_seconds = SECONDS
    end_seconds = SECONDS

    def setUp(self):
        # A short path: a unix socket's may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="offshoot-"))
        self.programs, self.closing = [], []
        self.judged = set()

    def tearDown(self):
        try:
            self._close_helpers()
            for program in reversed(self.programs):
                self.judge(program)
        finally:
            for program in reversed(self.programs):
                program.end(self.end_seconds)
            if not os.environ.get("OFFSHOOT_KEEP"):
                shutil.rmtree(self.folder, ignore_errors=True)

    def closes(self, thing):
        """Has thing.close() called before the programs are judged; returns thing."""
        self.closing.append(thing)
        return thing

    def _close_helpers(self):
        # Clients first, then providers: in the order in which they were made, reversed.
        for thing in reversed(self.closing):
            thing.close()
        for thing in self.closing:
            for fault in getattr(thing, "faults", ()):
                raise AssertionError(f"a provider's script failed: {fault!r}") from fault

    # -- starting things

    def start(self, name, *args, ready=True, env=None):
        """Starts one of our programs (from the build folder) and waits until it is ready."""
        program = Program([BUILD / name, *args], self.folder, env)
        self.programs.append(program)
        return program.wait_ready() if ready else program

    def start_other(self, *command, until=None, env=None):
        """Starts another server (nginx, redis-server). until: polled before this returns. It is
        ended with the test, without judgement. It must stay in the foreground."""
        program = Program(command, self.folder, env, ours=False)
        self.programs.append(program)
        if until:
            eventually(until, what=f"{program.name} is up")
        return program

    def start_nginx(self, names):
        """{name: address} of servers that answer with their name."""
        ports = dict(zip(names, free_ports(len(names))))
        self.run_nginx("".join(SERVER % (port, name) for name, port in ports.items()))
        return {name: f"127.0.0.1:{port}" for name, port in ports.items()}

    def run_nginx(self, servers, name="nginx", more=""):
        """servers: what its `http` block has; more: what stands before that."""
        pid = self.folder / f"{name}.pid"
        pid.unlink(missing_ok=True)
        values = {"folder": self.folder, "pid": pid, "more": more, "servers": servers}
        conf = self.write(f"{name}.conf", NGINX % values)
        return self.start_other("nginx", "-c", conf, until=pid.exists)

    def run_program(self, name, *args, stdin=b"", env=None, seconds=SECONDS):
        """Runs one of our programs to its end: a CompletedProcess with bytes."""
        log = self.folder / f"run-{time.monotonic_ns()}"
        log.mkdir()
        options = f'log_path="{log}/report"'
        names = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")
        done = subprocess.run(
            [str(BUILD / name), *(str(a) for a in args)],
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, **{n: options for n in names}, **(env or {})},
            timeout=seconds,
            check=False,
        )
        for report in log.iterdir():
            self.fail(f"sanitizer report of {name} {args}: {report.read_text(errors='replace')}")
        return done

    def provider(self, script=None, **options):
        """A fake provider for the test's life; without a script it answers everything "ok"."""
        return self.closes(Provider(script or fixed(), **options))

    def nobody(self):
        """An address that refuses connections for the test's life."""
        return self.closes(Nobody())

    def write(self, name, text):
        """A file in the test's folder; returns its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    # -- the end

    def expect_exit(self, program, status, seconds=SECONDS):
        """For a program that ends by itself, or on the test's signal."""
        got = program.wait(seconds)
        self.judged.add(program)
        self.assertEqual(status, got, program.describe())
        self.assertEqual([], program.sanitizer_reports())

    def kill(self, program, number=signal.SIGKILL):
        """A sudden death that the test wants: not judged."""
        program.signal(number)
        program.process.wait()
        self.judged.add(program)

    def judge(self, program):
        """What every program of ours must be like when a test is over. Called by tearDown."""
        if not program.ours or program in self.judged:
            return
        self.judged.add(program)
        if program.fds_at_start is not None and program.running():
            self.check_quiet(program)
        running = program.running()
        if running:
            program.signal(signal.SIGTERM)
        status = program.wait(self.end_seconds)
        self.assertEqual([], program.sanitizer_reports(), program.describe())
        self.assertTrue(running, f"ended before the test did: {program.describe()}")
        self.assertEqual(0, status, program.describe())
        for count in self.live_objects.findall(program.errors()):
            self.assertEqual("0", count, program.describe())

    def check_quiet(self, program):
        """With everybody gone: descriptors back, gauges zero. Override to add to it."""

        def descriptors_back():
            if not program.running():
                return True  # judged by its exit status
            have, start = program.fds(), program.fds_at_start
            if have > start:
                files = program.open_files()
                raise AssertionError(f"{have} descriptors, {start} at the start: {files}")
            return True

        eventually(descriptors_back, self.quiet_seconds)
        if "admin" in program.ready and program.running():
            eventually(lambda: self._gauges_zero(program), self.quiet_seconds)

    def _gauges_zero(self, program):
        counters = program.counters()
        for name in self.zero_gauges:
            for (family, labels), value in counters.samples.items():
                if family == name and value != 0:
                    raise AssertionError(f"{name}{dict(labels)} is {value}")
        return True


class ProxyCase(Case):
    """A proxy in static mode, on graph files the test writes."""

    # Further flags of every proxy the class starts.
    flags = ()

    def start_proxy(self, graph, *flags, listen=("127.0.0.1:0,trusted",), env=None):
        """Starts offshoot-proxy on graph (YAML text, a path, or a list of paths) and waits until it
        serves. `proxy.address` is the first listener's, `proxy.ready["listen"]` has them all."""
        n = len(self.programs)
        paths = [self.write(f"graph-{n}.yaml", graph)] if isinstance(graph, str) else graph
        paths = [paths] if isinstance(paths, Path) else paths
        args = [part for path in paths for part in ("--graph", path)]
        args += [part for address in listen for part in ("--listen", address)]
        args += ["--admin", self.folder / f"admin-{n}.sock"]
        given = [str(f).split("=")[0] for f in (*self.flags, *flags)]
        if "--workers" not in given:
            args += ["--workers", "1"]
        if "--state" not in given:
            args += ["--state", self.folder / f"state-{n}"]
        return self.start("offshoot-proxy", *args, *self.flags, *flags, env=env)

    def client(self, proxy, n=0, **options):
        """A connection to the proxy's nth listener, closed with the test."""
        return self.closes(connect(proxy.ready["listen"][n], **options))

    def ask(self, proxy, target="/", host="localhost", fields=(), method="GET", body=b""):
        """One request on a connection of its own; the reply."""
        with connect(proxy.address) as stream:
            return stream.ask(request_bytes(method, target, host, fields, body))


class Agent:
    """A started offshoot-agent, which a test may kill and start again on the same state."""

    def __init__(self, case, flags, listen):
        self.case, self.flags = case, flags
        self.options = listen[len(listen.split(",")[0]) :]
        self.program = self._start(flags, listen)

    def _start(self, flags, listen):
        return self.case.start("offshoot-agent", *flags, "--listen", listen)

    @property
    def listen(self):
        """Where proxies connect: the first listener's address."""
        return self.program.ready["listen"][0]

    @property
    def admin(self):
        """Path of the admin socket."""
        return self.program.ready["admin"][0]

    def ask(self, path, method="GET", fields=(), /, **params):
        """The reply, whatever its status, as JSON where there is any."""
        target = f"{path}?{urlencode(params, doseq=True)}" if params else path
        fields = [("Accept", "application/json"), *fields]
        return self.program.admin(target, method, fields)

    def get(self, path, /, **params):
        """GET as JSON; any status but 200 is a failure."""
        return self._good(self.ask(path, **params), path)

    def post(self, path, /, **params):
        """POST as JSON; any status but 200 is a failure."""
        return self._good(self.ask(path, "POST", **params), path)

    def _good(self, reply, path):
        if reply.status != 200:
            raise AssertionError(f"{path}: {reply}\n{self.program.describe()}")
        return json.loads(reply.body)

    def refused(self, path, status, method="POST", /, **params):
        """The text of a refusal with this status."""
        reply = self.ask(path, method, **params)
        if reply.status != status:
            raise AssertionError(f"{path}: wanted {status}: {reply}\n{self.program.describe()}")
        return json.loads(reply.body)["error"]

    def epoch(self):
        return self.get("/status")["epoch"]

    def kill(self):
        """A sudden death (SIGKILL); restart() goes on from what is on the disk."""
        self.case.kill(self.program)

    def stop(self):
        """A clean end, judged."""
        self.program.signal(signal.SIGTERM)
        self.case.expect_exit(self.program, 0)

    def restart(self, *flags):
        """Starts it again on the port it had, this once with further flags."""
        if self.program.running():
            self.stop()
        self.program = self._start([*self.flags, *flags], self.listen + self.options)
        return self


class AgentCase(Case):
    """An agent on graph files that the test writes; see ProxyCase for proxies on files."""

    def tearDown(self):
        # Judged last: the descriptors of its proxies go with them.
        self.programs.sort(key=lambda p: p.name != "offshoot-agent")
        super().tearDown()

    def start_agent(self, graph, *flags, listen="127.0.0.1:0"):
        """Starts offshoot-agent on graph (YAML text, or a path) and waits until it serves. Its port
        is one that it gets again when it is started again."""
        listen = re.sub(r":0(?=,|$)", lambda _: f":{free_port()}", listen)
        n = len(self.programs)
        path = self.write(f"graph-{n}.yaml", graph) if isinstance(graph, str) else graph
        args = ["--graph", path, "--admin", self.folder / f"agent-{n}.sock"]
        if "--state" not in flags:
            args += ["--state", self.folder / f"agent-{n}"]
        return Agent(self, [*args, *flags], listen)
