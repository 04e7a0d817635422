"""A real agent, real proxies that follow it, real providers, and somebody who changes the graph."""

import json
import os
import random
import threading
from urllib.parse import urlencode

from graphs import baseline, gateway, graph_of, service
from harness import (BUILD, AgentCase, BadMessage, Incomplete, Program, connect, eventually,
                     request_bytes, sanitized)  # fmt: skip

__all__ = ["GRAPH", "Background", "Changes", "Lost", "LiveCase", "few", "seeded"]

# A dead agent is dialled again soon; unused provider connections go by themselves.
PROXY_YAML = """timeouts: {providerIdle: 1s, agentPing: %(ping)s}
agentBackoff: {first: 10ms, max: 50ms}
"""
GRAPH = graph_of(service("shop"), gateway({"/": "shop"}), baseline(shop="%s"))
UNDER_LIMITS = 'trap "" XFSZ; exec "$@"'


def few(number, sanitized_number):
    """Less of it when everything is ten times slower."""
    return sanitized_number if sanitized() else number


def seeded():
    """Random numbers that can be had again, and what to say about them."""
    seed = int(os.environ.get("OFFSHOOT_SEED", 0)) or random.SystemRandom().randrange(1, 1 << 32)
    text = f"OFFSHOOT_SEED={seed}"
    print(text, flush=True)
    return random.Random(seed), text


class Lost(Exception):
    """A command whose answer never came: it was done, or it was not."""


class Changes:
    """Changes environments of its own one after the other, and knows what each must be.

    known: {name: provider or None}, by answers. doubt: (name, provider or None) of a command
    without an answer; `settle` asks. acked: {epoch: name} of commands answered 200."""

    def __init__(self, socket, label, providers, rng, count=4):
        self.socket, self.rng, self.providers = socket, rng, providers
        self.addresses = {a: n for n, a in providers.items()}
        self.known = {f"{label}-{i}": None for i in range(count)}
        self.doubt = None
        self.acked = {}
        self.by_epoch = {}  # {epoch: (name, provider or None)}
        self.epoch = 0

    def ask(self, path, method="GET", **params):
        target = f"{path}?{urlencode(params, doseq=True)}" if params else path
        fields = [("Connection", "close"), ("Accept", "application/json")]
        try:
            with connect(self.socket, 30) as stream:
                return stream.ask(request_bytes(method, target, "localhost", fields))
        except (OSError, Incomplete, BadMessage, EOFError) as e:
            raise Lost(repr(e)) from e

    def step(self, params=None):
        """One command; raises Lost."""
        name = self.rng.choice(sorted(self.known))
        now = self.known[name]
        if now is not None and self.rng.random() < 0.3:
            path, new, said = "/env/delete", None, {}
        else:
            new = self.rng.choice(sorted(set(self.providers) - {now}))
            path = "/env/set" if now else "/env/create"
            said = {"set": f"shop={self.providers[new]}"}
        self.doubt = (name, new)
        reply = self.ask(path, "POST", name=name, **said, **(params or {}))
        if reply.status != 200:
            self.doubt = None
            raise AssertionError(f"{path} {name}: {reply}")
        answer = json.loads(reply.body)
        if answer["epoch"] <= self.epoch or not answer["changed"]:
            raise AssertionError(f"epoch {answer} after {self.epoch}")
        self.epoch = answer["epoch"]
        self.known[name], self.doubt = new, None
        self.acked[self.epoch] = name
        self.by_epoch[self.epoch] = (name, new)
        return self.epoch

    def is_now(self, name):
        """The provider that the program behind the socket has for it."""
        reply = self.ask("/resolve", env=name, service="shop")
        if reply.status == 404 or b"unknown-environment" in reply.body:
            return None
        found = [n for n, a in self.providers.items() if f'"{a}"'.encode() in reply.body]
        if len(found) != 1:
            raise AssertionError(f"{name}: {reply}")
        return found[0]

    def settle(self):
        """What the doubtful command came to, and whether all the others hold."""
        if self.doubt:
            name, new = self.doubt
            now = self.is_now(name)
            if now not in (new, self.known[name]):
                raise AssertionError(f"{name} is {now}: was {self.known[name]}, asked for {new}")
            self.known[name], self.doubt = now, None
        for name, provider in self.known.items():
            now = self.is_now(name)
            if now != provider:
                raise AssertionError(f"{name} is {now}, answered 200 for {provider}")


class LiveCase(AgentCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")
    under_limits = False  # SIGXFSZ ignored, as with a disk that is really full

    def start(self, name, *args, ready=True, env=None):
        if not self.under_limits:
            return super().start(name, *args, ready=ready, env=env)
        command = ["/bin/sh", "-c", UNDER_LIMITS, name, BUILD / name, *args]
        program = Program(command, self.folder, env)
        program.name = name
        self.programs.append(program)
        return program.wait_ready() if ready else program

    def proxy_flags(self, agent, node, ping="20s", workers=2):
        config = self.write(f"{node}.yaml", PROXY_YAML % {"ping": ping})
        return ["-c", config, "--agent", agent.listen, "--listen", "127.0.0.1:0,trusted",
                "--node", node, "--workers", str(workers), "--state", self.folder / f"s-{node}",
                "--admin", self.folder / f"{node}.sock"]  # fmt: skip

    def start_proxy(self, agent, node="gw-1", *flags, **options):
        return self.start("offshoot-proxy", *self.proxy_flags(agent, node, **options), *flags)

    def epoch_of(self, proxy):
        return proxy.admin_json("/status")["epoch"]

    def all_on_newest(self, agent, proxies):
        """Waits until every one serves the newest epoch and has acknowledged it, and the agent
        has read that."""
        newest = agent.epoch()

        def there():
            listed = {p["node"]: p["active"] for p in agent.get("/proxies")["proxies"]}
            for proxy in proxies:
                status = proxy.admin_json("/status")
                own = status["agent"]
                self.assertEqual((newest, newest, newest, newest), (
                    status["epoch"], own["active"], own["acknowledged"], listed.get(own["node"])))
            return True

        eventually(there)
        return newest


class Background:
    """Runs step() again and again in a thread until it is left; what it raised is raised then."""

    def __init__(self, step):
        self.step, self.fault = step, None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self.ending.is_set():
                self.step()
        except Exception as e:  # raised where the thread is left
            self.fault = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.ending.set()
        self.thread.join(60)
        if self.fault and not kind:
            raise self.fault
