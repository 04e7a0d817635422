"""The programs of docs/propagation.md pass the context on: each is taken from the page, started as
the service `web`, and asked for two environments through a proxy."""

import re
import shutil
import subprocess
import unittest

from graphs import baseline, gateway, graph_of, overlay, service
from harness import ROOT, ProxyCase, connect, fixed, free_port

GRAPH = graph_of(
    service("web", "hosts: [web]"),
    service("cart", "hosts: [cart]"),
    baseline(web="127.0.0.1:%d", cart="%s"),
    overlay("feat-1", cart="%s"),
    gateway({"/": "web"}),
)


def program_of(name):
    """The block of the page that begins with a comment with this name."""
    page = (ROOT / "docs/propagation.md").read_text()
    return re.search(rf"^```\w+\n((?:#|//) {re.escape(name)}\n.*?)^```", page, re.M | re.S).group(1)


class Propagation(ProxyCase):
    def passes_on(self, name, *command, compiler=()):
        """The program passes the context of each request on, and nothing without one."""
        tool = (compiler or command)[0]
        if not shutil.which(tool):
            self.skipTest(f"{tool} is not installed")
        self.write(name, program_of(name))
        if compiler:
            subprocess.run(compiler, cwd=self.folder, check=True, timeout=300)
        port = free_port()
        carts = [self.provider(fixed(text)) for text in (b"main", b"feat-1")]
        proxy = self.start_proxy(GRAPH % (port, *(cart.address for cart in carts)))

        def up():
            connect(f"127.0.0.1:{port}").close()
            return True

        env = {"MESH": proxy.address, "PORT": str(port)}
        web = self.start_other(*command, until=up, env=env)
        for environment in ("feat-1", "main", "feat-1"):
            self.check_hops(proxy, environment)
        reply = self.ask(proxy, host="web")
        self.assertEqual((reply.status, reply.body), (200, b"main"))
        web.end()  # it keeps connections to the proxy

    def check_hops(self, proxy, environment):
        token = ("x-offshoot-context", f"v1m.{environment}.0.00")
        reply = self.ask(proxy, host="web", fields=[token, ("x-offshoot-explain", "1")])
        self.assertEqual((reply.status, reply.body), (200, environment.encode()))
        hops = [hop.split(";")[0] for hop in reply.get("x-offshoot-route").split(", ")]
        self.assertEqual(hops, ["web@main", f"cart@{environment}"])

    def test_python(self):
        self.passes_on("web.py", "python3", "web.py")

    def test_node(self):
        self.passes_on("web.js", "node", "web.js")

    def test_go(self):
        self.passes_on("web.go", "./web", compiler=("go", "build", "-o", "web", "web.go"))

    def test_java(self):
        self.passes_on("Web.java", "java", "-cp", ".", "Web", compiler=("javac", "Web.java"))


if __name__ == "__main__":
    unittest.main()
