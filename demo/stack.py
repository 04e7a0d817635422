"""Starts and stops what the demo needs: Redis, the shop's services, an agent and gateways.

Nothing has a fixed port. The services take free ones and say which. Ports that are chosen before
the process that uses them runs: Redis's, that of the trusted listener, which the services must know
before a gateway can know the services, and those of gateways that are started again.
"""

import base64
import collections
import ctypes
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
START_SECONDS = 15
STOP_SECONDS = 3
# ${cart@main} in a graph file: the address of the process that is the service cart, edition main.
MARK = re.compile(r"\$\{([a-z0-9-]+)@([a-z0-9-]+)\}")
PR_SET_PDEATHSIG = 1
GATEWAYS = ("gw-1", "gw-2", "gw-3")
LIBC = ctypes.CDLL(None)

Process = collections.namedtuple("Process", "name popen log")


class Broken(Exception):
    """The demo cannot go on."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def ephemeral_start():
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            return int(f.read().split()[0])
    except OSError:
        return 32768


def hold_port():
    """A bound socket on a free port below those that the kernel hands out by itself, so that no
    connection takes the port between its release and the start of its user."""
    top = max(ephemeral_start(), 12000)
    for _ in range(200):
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", random.randrange(top - 10000, top)))
            return held
        except OSError:
            held.close()
    raise Broken("no free port on 127.0.0.1")


def release(held):
    port = held.getsockname()[1]
    held.close()
    return port


class Stack:
    """All processes of one demo. Use as a context manager: leaving it stops everything."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.processes = []
        self.addresses = {}  # (service, edition) -> "127.0.0.1:port"
        self.templates = {}  # file name -> text with marks
        self.edges = {}  # gateway that an agent feeds: address of its edge listener
        self.edge = self.trusted = self.redis_port = self.work = None

    def __enter__(self):
        for program in ("offshoot-proxy", "offshoot-agent", "offshootctl"):
            if not os.access(os.path.join(self.build, program), os.X_OK):
                raise Broken(f"there is no {self.build}/{program}: run `make` first")
        for program in ("redis-server", "redis-cli", "curl"):
            if not shutil.which(program):
                package = "redis-server" if "redis" in program else program
                raise Broken(f"{program} is not installed (Debian: apt-get install {package})")
        self.work = tempfile.mkdtemp(prefix="offshoot-demo-", dir=short_temp())
        for folder in ("graph", "log", "redis"):
            os.mkdir(self.path(folder))
        return self

    def __exit__(self, *exception):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self.processes):
            if process.popen.poll() is None:
                process.popen.terminate()
        until = time.monotonic() + STOP_SECONDS
        for process in reversed(self.processes):
            try:
                process.popen.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
            process.popen.stdout.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    @property
    def admin(self):
        return self.path("admin.sock")

    def start_shop(self):
        """Redis and the services, in the order in which they need each other; writes the graph.
        Gives the port of the trusted listener, which is still to be opened."""
        trusted = hold_port()
        self.start_redis()
        self.read_templates()
        mesh = f"127.0.0.1:{trusted.getsockname()[1]}"
        self.start_services(self.marks(), mesh)
        self.write_graph()
        return release(trusted)

    def start_fleet(self, trusted_port):
        """An agent that reads the graph's files, and three gateways that it feeds. The services'
        calls to each other go through the first of them."""
        self.trusted = f"127.0.0.1:{trusted_port}"
        self.write_keys()
        self.start_agent()
        for name in GATEWAYS:
            self.edges[name] = f"127.0.0.1:{release(hold_port())}"
            self.start_fed_gateway(name)
        self.edge = self.edges[GATEWAYS[0]]

    # ---- processes ----

    def spawn(self, name, command):
        log = self.path("log", name + ".log")
        with open(log, "wb") as errors:
            popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=errors, cwd=self.work, start_new_session=True,
                                     preexec_fn=die_with_parent)
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def await_line(self, process, word):
        """Waits for the first line on a process's standard output that holds the word."""
        fd, data = process.popen.stdout.fileno(), b""
        until = time.monotonic() + START_SECONDS
        while True:
            for line in data.decode(errors="replace").splitlines(keepends=True):
                if word in line and line.endswith("\n"):
                    return line.strip()
            ready, _, _ = select.select([fd], [], [], max(0, until - time.monotonic()))
            got = os.read(fd, 4096) if ready else b""
            if not got:
                why = "ended before it was ready" if ready else "is not ready in time"
                raise Broken(f"{process.name} {why}\n{self.tail(process, data)}")
            data += got

    def tail(self, process, printed=b"", lines=15):
        with open(process.log, "rb") as f:
            text = (printed + f.read()).decode(errors="replace")
        return "\n".join("    | " + line for line in text.splitlines()[-lines:])

    def gateway_log(self):
        ours = [p for p in self.processes if p.name in ("gateway", "agent", *GATEWAYS)]
        return "\n".join(f"the last lines of the log of {p.name}:\n{self.tail(p)}" for p in ours)

    def process(self, name):
        return next(p for p in self.processes if p.name == name)

    def stop(self, name, number=signal.SIGTERM):
        """Stops one process, as if it had died; with SIGKILL it has no say in it."""
        process = self.process(name)
        process.popen.send_signal(number)
        process.popen.wait(STOP_SECONDS)
        self.forget(process)

    def forget(self, process):
        process.popen.stdout.close()
        self.processes.remove(process)

    def dead(self):
        return [p for p in self.processes if p.popen.poll() is not None]

    def start_redis(self):
        self.redis_port = release(hold_port())
        redis = self.spawn("redis", ["redis-server", "--port", str(self.redis_port), "--bind",
                                     "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
                                     self.path("redis"), "--daemonize", "no"])
        self.await_line(redis, "Ready to accept connections")

    def redis(self, ask, database=0):
        """What ask(store) gives."""
        import redis  # slow to load, and not needed before

        try:
            with redis.Redis(port=self.redis_port, db=database, decode_responses=True) as store:
                return ask(store)
        except redis.RedisError as e:
            raise Broken(f"Redis: {e}") from None

    def redis_hashes(self, pattern):
        """{key: {field: value}} of the keys that match."""
        return self.redis(
            lambda store: {key: store.hgetall(key) for key in sorted(store.keys(pattern))})

    def start_services(self, wanted, mesh):
        started = []
        for service, edition in wanted:
            script = os.path.join(HERE, "shop", service.replace("-", "_") + ".py")
            command = [sys.executable, script, "--variant", edition, "--mesh", mesh,
                       "--redis", f"127.0.0.1:{self.redis_port}"]
            started.append((service, edition, self.spawn(f"{service}@{edition}", command)))
        for service, edition, process in started:
            self.addresses[service, edition] = self.await_line(process, "listening ").split()[1]

    def start_gateway(self, trusted_port):
        gateway = self.spawn("gateway", [
            os.path.join(self.build, "offshoot-proxy"), "--graph", "graph",
            "--listen", "127.0.0.1:0", "--listen", f"127.0.0.1:{trusted_port},trusted",
            "--admin", self.admin, "--workers", "2"])
        ready = self.await_line(gateway, "ready")
        found = re.findall(r"127\.0\.0\.1:\d+", ready)
        if len(found) < 2 or found[1] != f"127.0.0.1:{trusted_port}":
            raise Broken(f"the gateway names no two listeners in its line '{ready}'")
        self.edge, self.trusted = found[:2]

    def start_agent(self):
        agent = self.spawn("agent", [
            os.path.join(self.build, "offshoot-agent"), "--config", "agent.yaml",
            "--graph", "graph", "--state", "agent",
            "--listen", "unix:" + self.path("sync.sock"), "--admin", self.path("agent.sock"),
            "--keys", "keys.txt", "--shadow-through", self.trusted, "--node", "agent-1",
            "--redis", f"redis://127.0.0.1:{self.redis_port}/1"])
        self.await_line(agent, "ready")

    def start_fed_gateway(self, name):
        """A gateway with a name for its agent and a folder for its last good graph."""
        trusted = self.trusted if name == GATEWAYS[0] else "127.0.0.1:0"
        gateway = self.spawn(name, [
            os.path.join(self.build, "offshoot-proxy"), "--config", "gateway.yaml", "--node", name,
            "--agent", "unix:" + self.path("sync.sock"), "--state", name, "--keys", "keys.txt",
            "--listen", self.edges[name], "--listen", trusted + ",trusted",
            "--admin", self.path(name + ".sock"), "--workers", "2"])
        self.await_line(gateway, "ready")

    def write_keys(self):
        """A new key that signs contexts, for the owner's eyes only; and settings."""
        secret = base64.b64encode(os.urandom(32)).decode()
        fd = os.open(self.path("keys.txt"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "w", encoding="ascii") as f:
            f.write(f"k1 {secret}\n")
        with open(self.path("gateway.yaml"), "w", encoding="ascii") as f:
            f.write("agentBackoff: {max: 500ms}  # back soon: this is a demo\n")
        with open(self.path("agent.yaml"), "w", encoding="ascii") as f:
            f.write("shadow: {inFlight: 2}  # the whole shop shares one machine\n")

    # ---- graph files ----

    def read_templates(self):
        folder = os.path.join(HERE, "graph")
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                self.templates[name] = f.read()

    def marks(self):
        """(service, edition) of every process that the graph names, in the order of the files."""
        found = {}
        for text in self.templates.values():
            for line in text.splitlines():
                if not line.lstrip().startswith("#"):
                    found.update(dict.fromkeys(MARK.findall(line)))
        return list(found)

    def fill(self, text):
        return MARK.sub(lambda m: self.addresses.get(m.groups(), m.group()), text)

    def write_graph(self):
        for name, text in self.templates.items():
            self.write(name, text)

    def write(self, name, text):
        """Replaces a graph file in one step, as an editor or a CI job should."""
        new = self.path(name + ".new")
        with open(new, "w", encoding="utf-8") as f:
            f.write(self.fill(text))
        os.rename(new, self.path("graph", name))

    # ---- commands ----

    def ctl(self, *arguments, seconds=10):
        """Runs offshootctl in the work folder; gives (exit code, output)."""
        done = subprocess.run([os.path.join(self.build, "offshootctl"), *arguments], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                              cwd=self.work, check=False)
        return done.returncode, done.stdout

    def agent_json(self, path):
        """What the agent's admin socket answers to a GET."""
        done = subprocess.run(["curl", "-s", "-H", "accept: application/json", "--unix-socket",
                               self.path("agent.sock"), "http://agent" + path], text=True,
                              stdout=subprocess.PIPE, timeout=10, check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Broken(f"the agent answers {path} with no JSON: {done.stdout}") from None

    def await_fleet(self):
        """Waits until every gateway is connected to the agent and on the newest epoch."""
        until = time.monotonic() + START_SECONDS
        while True:
            seen = self.agent_json("/proxies")
            on = [p["node"] for p in seen["proxies"]
                  if p["connected"] and p["active"] == seen["epoch"]]
            if sorted(on) == sorted(self.edges):
                return
            if time.monotonic() > until:
                raise Broken(f"not every gateway is on the newest epoch: {seen}")


def short_temp():
    """A Unix socket's path has at most 107 bytes: a long TMPDIR is not used."""
    folder = tempfile.gettempdir()
    return folder if len(folder) < 60 else "/tmp"
