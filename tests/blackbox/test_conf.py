"""What conf/deploy offers runs: the systemd units and the Kubernetes manifest are read, and the
command lines and files in them start an agent and a proxy that reaches it, with certificates made
by the commands of docs/operations.md. Only folders, ports and the agent's address are changed."""

import configparser
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import unittest
from pathlib import Path

import http2
import yaml
from certs import Authority, server_context
from fakes import fixed
from harness import BUILD, ONE_SHOP, ROOT, Case, Incomplete, connect, eventually, request_bytes
from ports import free_ports

DEPLOY = ROOT / "conf/deploy"
INSTALLED = "/usr/local/bin/"
FOLDERS = ("/etc/offshoot", "/run/offshoot", "/var/lib/offshoot", "/var/log/offshoot")


def block_after(heading):
    """The first shell block below a heading of docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    return re.search(rf"^#+ {heading}$.*?^```sh\n(.*?)^```", text, re.M | re.S).group(1)


def unit_of(name):
    """A systemd unit: {section: {key: value}}."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read_string((DEPLOY / f"{name}.service").read_text())
    return parser


def manifest():
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def only(documents, kind, name):
    found = [d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, (kind, name, found)
    return found[0]


def mounted_volumes(pod):
    return {m["name"] for c in pod["initContainers"] + pod["containers"] for m in c["volumeMounts"]}


# What the deployment calls the files that the documented commands make.
NAMES = {
    "ca.crt": "ca.crt",
    "agent.crt": "agent.crt",
    "agent.key": "agent.key",
    "proxy.crt": "gw-1.crt",
    "proxy.key": "gw-1.key",
}
KEYS = "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


class DeployCase(Case):
    def here(self, text):
        """Paths below the test's folder; every port a free one."""
        for path in FOLDERS:
            text = text.replace(path, str(self.folder) + path)
        return re.sub(r"\b(0\.0\.0\.0|127\.0\.0\.1):\d+", "127.0.0.1:0", text)

    def place(self, path, text):
        """Writes a file where the deployment expects it; only its owner may read it."""
        target = self.folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o600)
        return target

    def folders(self, *paths):
        for path in paths:
            (self.folder / path.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def shell(self, script):
        folder = self.folder / "ca"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(["bash", "-ec", script], cwd=folder, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return folder

    def place_certificates(self, made, target, names):
        """names: {name in the deployment: name below made}."""
        for there, here in names.items():
            self.place(f"{target}/{there}", (made / here).read_text())

    def start_as(self, command, *flags):
        program, *args = shlex.split(self.here(command))
        self.assertTrue(program.startswith(INSTALLED), program)
        return self.start(program[len(INSTALLED) :], *args, *flags)

    def connected(self, proxy):
        return eventually(lambda: proxy.admin_json("/status")["agent"]["connected"])


class Systemd(DeployCase):
    def certificate_of(self, agent):
        """What the agent shows to who connects now."""
        host, port = agent.address.rsplit(":", 1)
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))

    def start_both(self, shop):
        for name in ("agent", "proxy"):
            text = self.here((DEPLOY / f"{name}.yaml").read_text())
            self.place(f"/etc/offshoot/{name}.yaml", text)
        self.place("/etc/offshoot/graph/graph.yaml", ONE_SHOP % shop.address)
        self.place("/etc/offshoot/keys.txt", KEYS)
        self.folders("/run/offshoot-agent", "/run/offshoot-proxy", "/var/log/offshoot-proxy",
                     "/var/lib")  # fmt: skip
        agent = self.start_as(unit_of("offshoot-agent")["Service"]["ExecStart"])
        proxy = self.start_as(
            unit_of("offshoot-proxy")["Service"]["ExecStart"],
            *("--agent", agent.address, "--agent-name", "agent.internal"),
        )
        return agent, proxy

    def test_agent_and_proxy_start_and_certificates_are_replaced_by_reload(self):
        made = self.shell(block_after("Certificates"))
        self.place_certificates(made, "/etc/offshoot/tls", NAMES)
        shop = self.provider()
        agent, proxy = self.start_both(shop)
        self.connected(proxy)
        with connect(proxy.address) as stream:
            reply = stream.ask(request_bytes("GET", "/", "shop.example.com"))
            self.assertEqual(reply.status, 200)
        self.assertTrue((self.folder / "var/log/offshoot-proxy/access.log").exists())

        before = self.certificate_of(agent)
        self.shell(block_after("Rotation of certificates"))
        self.place_certificates(made, "/etc/offshoot/tls", NAMES)
        for program in (agent, proxy):
            self.assertIn("-HUP $MAINPID", unit_of(program.name)["Service"]["ExecReload"])
            program.signal(signal.SIGHUP)
        new = ssl.PEM_cert_to_DER_cert((made / "agent.crt").read_text())
        self.assertNotEqual(new, before)
        eventually(lambda: self.certificate_of(agent) == new)
        self.connected(proxy)

    def test_folders_of_the_units_are_those_of_the_configuration(self):
        for name in ("agent", "proxy"):
            service = unit_of(f"offshoot-{name}")["Service"]
            conf = yaml.safe_load((DEPLOY / f"{name}.yaml").read_text())
            self.assertEqual(conf["state"], f"/var/lib/{service['StateDirectory']}")
            self.assertEqual(service["StateDirectoryMode"], "0700")
            self.assertEqual(os.path.dirname(conf["admin"]), f"/run/{service['RuntimeDirectory']}")
            command = f"{INSTALLED}offshoot-{name} -c /etc/offshoot/{name}.yaml"
            self.assertEqual(service["ExecStart"], command)

    def test_systemd_accepts_the_units(self):
        tool = shutil.which("systemd-analyze")
        units = []
        for name in ("offshoot-agent", "offshoot-proxy"):
            text = (DEPLOY / f"{name}.service").read_text().replace(INSTALLED, f"{BUILD}/")
            units.append(self.write(f"{name}.service", text))
            self.assertIn("Install", unit_of(name))
        if tool:  # on a machine with systemd it judges besides
            done = subprocess.run(
                [tool, "verify", *map(str, units)], capture_output=True, text=True, check=False
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))


class Kubernetes(DeployCase):
    def graph_volume(self, version, text):
        """As the kubelet does it: a new folder, then the link to it is replaced."""
        top = self.folder / "etc/offshoot/graph"
        folder = top / f"..{version}"
        folder.mkdir(parents=True)
        (folder / "graph.yaml").write_text(text)
        (top / "..tmp").symlink_to(folder.name)
        (top / "..tmp").rename(top / "..data")
        if not (top / "graph.yaml").is_symlink():
            (top / "graph.yaml").symlink_to("..data/graph.yaml")

    def secrets(self):
        """Where the init containers expect them."""
        more = block_after("Certificates in Kubernetes")
        made = self.shell(f"{block_after('Certificates')}{more}")
        names = {**NAMES, "proxy.crt": "gateway.crt", "proxy.key": "gateway.key"}
        self.place_certificates(made, "/secret", names)
        self.place("/secret/keys.txt", KEYS)

    def start_pod(self, documents, name, *flags):
        pod = only(documents, "StatefulSet", name)["spec"]["template"]["spec"]
        init, container = pod["initContainers"][0], pod["containers"][0]
        script = self.here(init["command"][2]).replace("/secret/", f"{self.folder}/secret/")
        self.shell(script)
        words = [*container["command"], *container["args"]]
        command = " ".join(words).replace("$(POD_NAME)", f"{name}-0")
        return self.start_as(command, *flags)

    def test_agent_and_gateway_start_and_follow_the_config_map(self):
        documents = manifest()
        self.secrets()
        self.folders("/run/offshoot", "/var/lib/offshoot")
        for name, file in (("offshoot-agent", "agent.yaml"), ("offshoot-gateway", "proxy.yaml")):
            text = only(documents, "ConfigMap", name)["data"][file]
            text = self.here(text).replace("admin.sock", f"{name}.sock")
            self.place(f"/etc/offshoot/{file}", text)
        graph = only(documents, "ConfigMap", "offshoot-graph")["data"]["graph.yaml"]
        self.graph_volume("one", graph)
        agent = self.start_pod(documents, "offshoot-agent")
        proxy = self.start_pod(
            documents, "offshoot-gateway", "--agent", agent.address,
            "--agent-name", "offshoot-agent.offshoot.svc.cluster.local")  # fmt: skip
        self.connected(proxy)
        self.assertEqual(proxy.admin_json("/status")["agent"]["node"], "offshoot-gateway-0")
        self.graph_volume("two", graph.replace(":80\"", ":81\""))
        eventually(lambda: proxy.admin_json("/status")["epoch"] == 2)

    def test_what_the_manifest_refers_to_is_there(self):
        documents = manifest()
        for name in ("offshoot-agent", "offshoot-gateway"):
            spec = only(documents, "StatefulSet", name)["spec"]
            template = spec["template"]
            labels, pod = template["metadata"]["labels"], template["spec"]
            self.assertEqual(spec["selector"]["matchLabels"], labels)
            only(documents, "Service", spec["serviceName"])
            claims = {c["metadata"]["name"] for c in spec["volumeClaimTemplates"]}
            volumes = {v["name"]: v for v in pod["volumes"]}
            self.assertEqual(mounted_volumes(pod), claims | volumes.keys())
            for volume in volumes.values():
                if "configMap" in volume:
                    only(documents, "ConfigMap", volume["configMap"]["name"])
            ports = {p["name"] for p in pod["containers"][0]["ports"]}
            probe = pod["containers"][0]["readinessProbe"]["httpGet"]
            self.assertIn(probe["port"], ports)
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(only(documents, "StatefulSet", "offshoot-agent")["spec"]["replicas"], 1)
        for name in ("offshoot-gateway", "offshoot-mesh"):
            service = only(documents, "Service", name)["spec"]
            self.assertEqual(service["selector"], {"app": "offshoot-gateway"})


class Edge(DeployCase):
    """conf/edge, with providers and certificates of ours in place of its addresses and files."""

    def setUp(self):
        super().setUp()
        self.ca = Authority(self.folder)
        self.folders("/etc/offshoot/sites", "/etc/offshoot/graph", "/run/offshoot-proxy",
                     "/var/lib/offshoot-proxy", "/var/log/offshoot-proxy")  # fmt: skip
        self.begin()

    def certificate(self, name, names, place):
        pair = self.ca.issue(name, names)
        for path, end in ((pair.cert, "crt"), (pair.key, "key")):
            self.place(f"{place}.{end}", Path(path).read_text())
        return pair

    def begin(self):
        self.place("/etc/offshoot/ca.crt", (self.folder / "ca.crt").read_text())
        self.place("/etc/offshoot/keys.txt", KEYS)
        self.certificate("site", "DNS:shop.example.com,DNS:*.preview.example.com",
                         "/etc/offshoot/sites/site")  # fmt: skip
        self.certificate("mesh", "DNS:mesh.internal", "/etc/offshoot/mesh")
        api = server_context(self.ca.issue("api", "DNS:api.internal"))
        api.set_alpn_protocols(["h2"])
        here = {
            "10.1.0.5:8080": self.provider(fixed(b"a page")).address,
            "10.1.0.6:8080": self.provider(fixed(b"a page")).address,
            "10.1.0.7:8443": self.provider(http2.fixed2(b"an answer"), tls=api).address,
            "10.1.0.8:9000": self.provider(http2.fixed2(b"", fields=[
                ("content-type", "application/grpc"), ("grpc-status", "0")])).address,
            "10.1.0.9:8080": self.provider(fixed(b"a new page")).address,
        }  # fmt: skip
        text = (ROOT / "conf/edge/graph/edge.yaml").read_text()
        for there, ours in here.items():
            self.assertIn(there, text)
            text = text.replace(there, ours)
        self.place("/etc/offshoot/graph/edge.yaml", text)
        conf = self.here((ROOT / "conf/edge/proxy.yaml").read_text())
        path = self.place("/etc/offshoot/proxy.yaml", conf)
        self.proxy = self.start("offshoot-proxy", "-c", path)
        addresses = self.proxy.line(r"^ready listen=(\S+)").group(1).split(",")
        self.tls, self.plain, self.mesh = addresses

    def peer(self, name, address=None, own=None):
        context = self.ca.client_context(own, alpn=("h2",))
        return self.closes(http2.connect(address or self.tls, tls=context, server_name=name))

    def test_each_kind_of_request_over_http2(self):
        peer = self.peer("shop.example.com")
        for path, body in (("/", b"a page"), ("/api/x", b"an answer")):
            x = peer.ask(path=path, authority="shop.example.com", scheme="https")
            self.assertEqual((200, body), (x.status, x.body), path)
        x = peer.ask("POST", "/shop.Stock/Get", "shop.example.com", scheme="https", body=b"",
                     fields=[("content-type", "application/grpc"), ("te", "trailers")])
        self.assertEqual((200, "0"), (x.status, x.get("grpc-status")))

    def test_overlays_need_a_token_and_the_mesh_a_certificate(self):
        name = "feat-42.preview.example.com"
        x = self.peer(name).ask(authority=name, scheme="https")
        self.assertEqual((404, "unknown-environment"), (x.status, x.get("x-offshoot-error")))
        own = self.ca.issue("me", "URI:spiffe://shop/me")
        x = self.peer("mesh.internal", self.mesh, own).ask(authority="web", scheme="https")
        self.assertEqual((200, b"a page"), (x.status, x.body))
        with self.assertRaises((ssl.SSLError, OSError, Incomplete)):
            self.peer("mesh.internal", self.mesh).ask(authority="web", scheme="https")

    def test_plain_http_is_sent_to_https(self):
        with connect(self.plain) as stream:
            reply = stream.ask(request_bytes("GET", "/api/x?y", "shop.example.com"))
        self.assertEqual((308, "https://shop.example.com/api/x?y"),
                         (reply.status, reply.get("location")))


class Shadow(DeployCase):
    """conf/shadow, with the graph in the project's folder and free ports."""

    def begin(self, name, ports):
        text = (ROOT / f"conf/shadow/{name}.yaml").read_text()
        for there, here in ports.items():
            text = text.replace(f"127.0.0.1:{there}", f"127.0.0.1:{here}")
        text = text.replace("conf/graph", f"{ROOT}/conf/graph")
        for path in ("agent.sock", "agent.state", "proxy.sock", "proxy.state"):
            text = text.replace(f": {path}", f": {self.folder}/{path}")
        # Proxies forget a session that has ended at once: nothing is open at the end.
        more = ("--shadow-linger", "0") if name == "agent" else ()
        return self.start(f"offshoot-{name}", "-c", self.write(f"{name}.yaml", text), *more)

    def shadow(self, *words):
        done = self.run_program("offshootctl", "--socket", self.folder / "agent.sock", "--json",
                                "shadow", *words)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def test_a_session_starts_and_the_proxy_samples_for_it(self):
        ports = dict(zip((7400, 8080, 8081), free_ports(3), strict=True))
        agent, proxy = self.begin("agent", ports), self.begin("proxy", ports)
        self.connected(proxy)
        self.shadow("start", "try", "--baseline", "main", "--candidate", "feat-42", "--service",
                    "cart")  # fmt: skip
        eventually(lambda: proxy.admin_json("/status")["capture"]["sessions"] == 1)
        shown = agent.admin_json("/sessions/try")
        self.assertEqual((shown["state"], shown["spec"]["services"]), ("canary", ["cart"]))
        self.assertEqual(shown["journal"]["path"], f"{self.folder}/agent.state/shadow/try")
        self.shadow("stop", "try")


class Alerts(unittest.TestCase):
    def test_every_alert_asks_for_a_metric_and_a_reason_that_exist(self):
        pages = [(ROOT / "docs" / f"{page}counters.md").read_text() for page in ("", "agent-")]
        known = set(re.findall(r"^\| `(\w+)` \|", "".join(pages), re.M)) | {"up"}
        reasons = set(re.findall(r'`reason="([\w-]+)"`', pages[0]))
        rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
        self.assertGreater(len(rules), 10)
        for rule in rules:
            with self.subTest(rule["alert"]):
                asked = re.findall(r"\b(?:offshoot_\w+|up)\b", rule["expr"])
                self.assertTrue(asked and set(asked) <= known, asked)
                for words in re.findall(r'reason=~"([^"]+)"', rule["expr"]):
                    self.assertLessEqual(set(words.split("|")), reasons)
                self.assertTrue(rule["annotations"]["summary"])


class Manuals(Case):
    def flags(self, program):
        """Long flags of its --help, and those that its manual page explains."""
        told = self.run_program(program, "--help").stdout.decode()
        page = (ROOT / f"docs/man/{program}.1").read_text()
        items = "\n".join(re.findall(r"^\.It (Fl .*)", page, re.M))
        return set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", told, re.M) + ["version"]), set(
            re.findall(r"Fl -([a-z-]+)", items)
        )

    def test_the_agents_page_has_every_flag(self):
        there, told = self.flags("offshoot-agent")
        self.assertEqual(told, there)

    def test_the_proxys_page_has_no_flag_that_is_not_there(self):
        there, told = self.flags("offshoot-proxy")
        self.assertLessEqual(told, there)
        self.assertLess({"agent", "node", "keys", "listen"}, told)


if __name__ == "__main__":
    unittest.main()
