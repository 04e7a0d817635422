"""The provider and, in front of it, Offshoot and its peers with the same task: the environment
that a baggage member names decides where a request goes."""

import json
import os
import re
import shutil
import socket

import load
from measure import with_workers
from rig import Broken, Rig, free_ports

# What each environment answers with. feat-9 provides nothing: it stands on main.
ENVIRONMENTS = {"feat-42": "feat-42", "feat-7": "feat-7", "feat-9": "main", None: "main"}
PROVIDING = ("main", "feat-42", "feat-7")
OURS = "offshoot"
PEERS = ("haproxy", "nginx")


def graph(ports):
    out = ["kind: Service\nmetadata: {name: cart}\nspec: {protocol: http, port: 8080}\n",
           "kind: Gateway\nmetadata: {name: edge}\nspec:\n  defaultEnvironment: main\n"
           "  routes: [{path: /, service: cart}]\n"]
    for name in sorted({*PROVIDING, *filter(None, ENVIRONMENTS)}):
        place = "mode: baseline" if name == "main" else "mode: overlay, parent: main"
        own = (f", providers: {{cart: {{endpoints: [\"127.0.0.1:{ports[name]}\"]}}}}"
               if name in ports else "")
        out.append(f"kind: Environment\nmetadata: {{name: {name}}}\nspec: {{{place}{own}}}\n")
    return "---\n".join(out)


class Provider:
    """nginx with a server for each environment, and the counts of its connections."""

    def __init__(self, rig):
        *ports, self.status = free_ports(len(PROVIDING) + 1)
        self.ports = dict(zip(PROVIDING, ports))
        servers = "".join(f"  server {{ listen 127.0.0.1:{port}; location / "
                          f"{{ return 200 \"{name}\\n\"; }} }}\n"
                          for name, port in self.ports.items())
        conf = rig.fill("provider.conf.in", "provider.conf", STATUS=self.status, SERVERS=servers)
        rig.spawn("provider", [program("nginx"), "-p", rig.folder, "-c", conf]) \
           .await_port(self.status)

    def counts(self):
        return counts(self.status)


def counts(status):
    """(connections accepted, requests) of an nginx until now, by its port for that."""
    _, body = load.ask(status, load.head(None))
    return tuple(int(n) for n in re.search(rb"\n *(\d+) +\d+ +(\d+)", body).groups())


class Proxy:
    """One of the three: `argv` can be started behind a tracer as well."""

    def __init__(self, rig, name, argv, port):
        self.rig, self.name, self.argv, self.port = rig, name, argv, port
        self.process = None

    def start(self, *tracer):
        self.process = self.rig.spawn(self.name, [*tracer, *self.argv])
        if self.name.startswith(OURS):
            self.process.await_line("ready ")  # its sockets are bound before the graph is read
        else:
            self.process.await_port(self.port)
        return self

    @property
    def pid(self):
        return self.process.pid

    def traced_pid(self):
        """Of the program, where the process that was started is a tracer."""
        return with_workers(self.pid)[1]

    def stop(self, target=None):
        if not self.rig.stop(self.process, target):
            raise Broken(f"{self.name} did not end after SIGTERM")

    def check(self):
        """Every environment is answered by the provider it means."""
        for environment, expected in ENVIRONMENTS.items():
            reply = load.ask(self.port, load.head(environment))
            if reply != (200, f"{expected}\n".encode()):
                raise Broken(f"{self.name} answers {environment or 'no environment'} with {reply}")
        return self


def program(name):
    """Its path; Debian keeps servers where a user's PATH does not look."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def ours(rig, build, graph_path, name=OURS, more="", options="", workers=1):
    """more: further lines of its configuration; options: of its listener."""
    port, = free_ports(1)
    conf = rig.fill("offshoot.yaml.in", f"{name}.yaml", GRAPH=graph_path, PORT=port, NAME=name,
                    MORE=more, OPTIONS=options, WORKERS=workers)
    return Proxy(rig, name, [os.path.join(build, "offshoot-proxy"), "-c", conf], port)


def agent(rig, build, graph_path, more="", tracer=()):
    """more: as above; tracer: what it is started by."""
    port, = free_ports(1)
    conf = rig.fill("agent.yaml.in", "agent.yaml", GRAPH=graph_path, PORT=port, MORE=more)
    process = rig.spawn("agent", [*tracer, os.path.join(build, "offshoot-agent"), "-c", conf])
    return process.await_line("ready "), port


def fed(rig, build, agent_port, workers=1, name=OURS, more="", port=None):
    """A proxy that gets its graph from the agent. more: as above; port: a free one."""
    port = port or free_ports(1)[0]
    conf = rig.fill("fed.yaml.in", f"{name}.yaml", AGENT=agent_port, PORT=port, NAME=name,
                    WORKERS=workers, MORE=more)
    return Proxy(rig, name, [os.path.join(build, "offshoot-proxy"), "-c", conf], port)


def admin(rig, path, name=OURS, method="GET"):
    """What the admin socket answers, as JSON."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(rig.path(f"{name}.sock"))
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: admin\r\nAccept: application/json\r\n"
                  "Connection: close\r\n\r\n".encode())
        data = b""
        while more := s.recv(65536):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise Broken(f"{name} answers {method} {path} with {data!r}")
    return json.loads(body)


def nginx(rig, ports, master="off"):
    """master "on": it can be told to read its configuration again."""
    port, = free_ports(1)
    mapped = [n for n in ports if n != "main"]
    conf = rig.fill(
        "nginx.conf.in", "nginx.conf", PORT=port, MASTER=master,
        MAP="\n".join(f'    "~(?:^|,)\\s*offshoot=v1m\\.{n}\\." {n};' for n in mapped),
        UPSTREAMS="\n".join(f"  upstream {n} {{ server 127.0.0.1:{p}; keepalive 256; "
                            "keepalive_requests 1000000000; keepalive_timeout 1h; }"
                            for n, p in ports.items()))
    return Proxy(rig, "nginx", [program("nginx"), "-p", rig.folder, "-c", conf], port)


def haproxy(rig, ports):
    port, = free_ports(1)
    rig.write("haproxy.map", "".join(f"offshoot=v1m.{n}.0.00 {n}\n" for n in ports if n != "main"))
    conf = rig.fill("haproxy.cfg.in", "haproxy.cfg", PORT=port, BACKENDS="\n".join(
        f"backend {n}\n  server {n} 127.0.0.1:{p}" for n, p in ports.items()))
    return Proxy(rig, "haproxy", [program("haproxy"), "-db", "-f", conf], port)


class Stack(Rig):
    """Provider, Offshoot and the peers that are installed, none of the proxies started."""

    def __init__(self, build, keep=False):
        super().__init__(keep)
        try:
            self.provider = Provider(self)
            ports = self.provider.ports
            self.write("graph.yaml", graph(ports))
            self.proxies = [ours(self, build, self.path("graph.yaml"))]
            self.proxies += [make(self, ports) for name, make in
                             (("haproxy", haproxy), ("nginx", nginx)) if program(name)]
        except BaseException:
            self.__exit__(None, None, None)
            raise
