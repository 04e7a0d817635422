"""Binary upgrades: a new process takes over the sockets of a running one. No request is lost,
whatever the new process does; draining; what service managers are told."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import unittest
from pathlib import Path

from certs import Authority
from graphs import baseline, gateway, graph_of, service
from harness import (BUILD, ONE_SHOP, SERVER, AgentCase, Counters, Incomplete, Program, Provider,
                     ProxyCase, connect, eventually, fixed, free_ports, request_bytes, sanitized)
from successor import Pulse, Slow, Streams, Talk, UpgradeLoad, adopt_orphans, follow, unused
from test_grpc_calls import Service

import websocket

REQUESTS = 8_000 if sanitized() else 110_000
UPGRADES = 10
CONNECTIONS = 48

SHOP = graph_of(
    service("shop"),
    service("chat"),
    service("calls", "protocol: grpc"),
    gateway({"/chat": "chat", "/t.Echo": "calls", "/": "shop"}),
    baseline(shop="%s", chat="%s", calls="%s"),
)



def processes_of(binary):
    """Numbers of the running processes of this program file."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "exe").split(" (")[0] == str(binary):
                found.append(int(entry.name))
        except OSError:
            pass
    return found


class UpgradeCase(ProxyCase):
    zero_gauges = ("offshoot_clients", "offshoot_requests", "offshoot_buffers")

    def setUp(self):
        super().setUp()
        adopt_orphans()
        # A copy of its own, so that its processes can be told from others.
        self.binary = self.folder / "offshoot-proxy"
        shutil.copy2(BUILD / "offshoot-proxy", self.binary)
        self.old = []

    def tearDown(self):
        super().tearDown()
        self.assertEqual(processes_of(self.binary), [], "processes were left behind")

    def begin(self, conf="{}", graph=None, listen=("127.0.0.1:0,trusted",), **options):
        self.write("conf.yaml", conf + "\n")
        self.shop = None if graph else self.provider(fixed())
        graph = self.write("graph.yaml", graph or ONE_SHOP % self.shop.address)
        args = ["-c", "conf.yaml", "--graph", graph, "--admin", self.folder / "a.sock"]
        args += ["--state", self.folder / "state"] if options.pop("state", True) else []
        args += [part for address in listen for part in ("--listen", address)]
        self.proxy = self.start_copy(*args, **options)
        return self.proxy

    def start_copy(self, *args, env=None):
        """As start(), with the copy."""
        program = Program([self.binary, *args], self.folder, env)
        self.programs.append(program)
        return program.wait_ready()

    def upgrade(self, *words):
        """Runs the command to its end: the new number."""
        done = self.command(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.follow(json.loads(done.stdout))

    def command(self, *words):
        return self.run_program("offshootctl", "--socket", self.folder / "a.sock", "--json",
                                "proxy", "upgrade", *words, seconds=60)

    def follow(self, answer):
        self.assertEqual(answer["from"], self.proxy.pid)
        self.old.append(follow(self.proxy, answer["pid"]))
        return answer["pid"]

    def refused(self, why, *words, status=1):
        """The command fails for this reason; the old process goes on, and tells why."""
        pid = self.proxy.pid
        done = self.command(*words)
        self.assertEqual(done.returncode, status, done)
        self.assertRegex(done.stderr.decode(), why)
        self.assertTrue(self.proxy.running())
        now = self.proxy.admin_json("/status")
        self.assertEqual((now["pid"], now["state"], now["upgrade"]["running"]),
                         (pid, "serving", False))
        if status == 1:
            self.assertRegex(now["upgrade"]["failed"]["why"], why)
        self.assertEqual(self.ask(self.proxy).status, 200)

    def old_ones_end(self):
        for process in self.old:
            self.assertEqual(process.wait(60), 0, self.proxy.describe())
            reports = list(self.proxy.reports.glob(f"*.{process.pid}"))
            self.assertEqual([p.read_text(errors="replace") for p in reports], [])

    def script(self, name, text):
        path = self.write(name, text)
        path.chmod(0o755)
        return path


class UnderLoad(UpgradeCase):
    def start_echo(self):
        port = free_ports(1)[0]
        self.run_nginx(SERVER % (port, "$request_uri"))
        return f"127.0.0.1:{port}"

    def configure(self, workers):
        # No connection that this process comes to late, since the machine is busy, is idle by then.
        self.write("conf.yaml", f"workers: {workers}\n"
                   "timeouts: {providerIdle: 1s, drain: 10m, drainIdle: 60s, upgrade: 60s}\n")

    def begin_shop(self):
        """A shop behind nginx, a chat of WebSockets, and a gRPC service."""
        chat, calls = self.provider(websocket.echo), self.closes(Service("main"))
        self.configure(2)
        graph = SHOP % (self.start_echo(), chat.address, f"127.0.0.1:{calls.port}")
        self.begin((self.folder / "conf.yaml").read_text(), graph)

    def open_streams(self):
        """One of each, in use."""
        opened = [websocket.Client(connect(self.proxy.address)), Talk(self.proxy.address)]
        self.use(opened)
        return opened

    def use(self, streams):
        for n, stream in enumerate(streams):
            word = b"%d of %d" % (n, len(streams))
            self.assertEqual(stream.ask(word), word)

    def test_ten_upgrades_lose_nothing(self):
        self.begin_shop()
        through_all = self.open_streams()
        eventually(lambda: self.proxy.counters().get("offshoot_clients") == 2)
        fds = self.proxy.fds()
        load = self.closes(UpgradeLoad(self.proxy.address, CONNECTIONS, 5))
        slow = [self.closes(Slow(self.proxy.address, 0.05 * (1 + n))) for n in range(8)]
        slow += [self.closes(Streams(self.proxy.address)) for _ in range(4)]
        pulse = self.closes(Pulse(self.proxy))
        # Workers in each generation; sockets are never fewer than before.
        workers = {3: 4, 6: 1, 8: 2}
        for n in range(1, UPGRADES + 1):
            self.configure(workers.get(n, self.proxy.admin_json("/status")["workers"]))
            through_one = self.open_streams()
            load.run(load.done + REQUESTS // (2 * UPGRADES))
            command = subprocess.Popen(
                [BUILD / "offshootctl", "--socket", self.folder / "a.sock", "--json", "proxy",
                 "upgrade"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            load.run(1 << 60, lambda done: command.poll() is not None)
            out, err = command.communicate()
            self.assertEqual(command.returncode, 0, err)
            self.follow(json.loads(out))
            load.run(load.done + REQUESTS // (2 * UPGRADES))
            self.use(through_one + through_all)
            for stream in through_one:
                stream.end()
        load.finish()
        load.close()
        for thread in [*slow, pulse]:
            thread.close()
            self.assertEqual(thread.faults, [])
            self.assertGreater(thread.count, 3)
        self.assertGreaterEqual(load.done, REQUESTS)
        self.assertEqual(load.done, load.sent)
        self.assertEqual(len(pulse.pids), UPGRADES + 1)
        for stream in through_all:
            stream.end()
        self.old_ones_end()
        self.assertEqual(processes_of(self.binary), [self.proxy.pid])
        status = self.proxy.admin_json("/status")
        self.assertEqual((status["upgrade"]["generation"], status["workers"]), (UPGRADES, 2))
        self.assertEqual(self.proxy.counters().get("offshoot_generation"), UPGRADES)
        # Two sockets more than in the beginning, those of the four workers that there were; there
        # were streams then, and their providers.
        self.proxy.fds_at_start = fds + 2


class Failures(UpgradeCase):
    def setUp(self):
        super().setUp()
        self.begin("timeouts: {upgrade: 2s}")

    def test_a_program_that_is_missing_or_is_none(self):
        self.refused("cannot start '/nowhere/proxy': No such file", "/nowhere/proxy")
        self.refused("Permission denied", self.write("plain", "text"))
        self.refused("Permission denied", self.folder)
        self.assertEqual(self.proxy.counters().get("offshoot_upgrades_failed_total"), 3)

    def test_a_program_that_ends_at_once(self):
        self.refused("ended with status 1$", "/bin/false")
        says = self.script("says", "#!/bin/sh\necho first >&2\necho it says why >&2\nexit 7\n")
        self.refused("ended with status 7: it says why$", says)
        self.refused("was killed by signal 9", self.script("dies", "#!/bin/sh\nkill -9 $$\n"))

    def test_a_program_that_hangs(self):
        before = time.monotonic()
        self.refused(r"said nothing within timeouts.upgrade \(2000 ms\): waiting$",
                     self.script("hangs", "#!/bin/sh\necho waiting >&2\nexec sleep 1000\n"))
        self.assertGreater(time.monotonic() - before, 1.9)

    def test_a_configuration_that_is_refused(self):
        self.write("conf.yaml", "timeouts: {upgrade: 2s}\nnonsense: 1\n")
        self.refused("ended with status 1: .*unknown key 'nonsense'")
        self.write("conf.yaml", "timeouts: {upgrade: 2s}\n")
        self.upgrade()
        self.old_ones_end()

    def test_a_graph_that_is_refused(self):
        good = (self.folder / "graph.yaml").read_text()
        self.write("graph.yaml", good + "---\nkind: Nothing\n")
        self.refused("cannot start without a valid graph")
        self.write("graph.yaml", good)
        self.upgrade()
        self.old_ones_end()

    def test_a_listener_that_cannot_be_had(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.write("conf.yaml", "timeouts: {upgrade: 2s}\n")
            self.write("conf.yaml", f"metrics: 127.0.0.1:{port}\n")
            self.refused("Address already in use")

    def talker(self, *sends):
        """A program that says these packets, then waits."""
        code = "import socket, os, time\n" \
               "s = socket.socket(fileno=int(os.environ['OFFSHOOT_UPGRADE']))\n"
        for packet in sends:
            code += f"s.send({packet!r})\n"
        return self.script("talker", f"#!/usr/bin/python3\n{code}time.sleep(1000)\n")

    def test_a_program_that_says_other_things(self):
        self.refused("speaks version 2 of the hand-over, this one 1", self.talker(b"hello 2 0 5"))
        self.refused("unknown message 'nonsense'", self.talker(b"nonsense"))
        self.refused("'hello' with '1 0'", self.talker(b"hello 1 0"))
        self.refused("said 'ready' out of turn", self.talker(b"ready 1"))
        self.refused("said 'hello' out of turn", self.talker(b"hello 1 0 5", b"hello 1 0 5"))
        self.refused("said 'serving' out of turn", self.talker(b"hello 1 0 5", b"serving"))
        self.refused("said 'ready 2'", self.talker(b"hello 1 0 5", b"ready 2"))
        self.refused("a message that is too large", self.talker(b"x" * 2000))
        self.refused("did not serve within", self.talker(b"hello 1 0 5", b"state", b"ready 1"))
        self.refused("was not ready within", self.talker(b"hello 1 0 5", b"state"))
        # With all of that, the real thing still works.
        self.upgrade()
        self.old_ones_end()

    def test_two_at_a_time(self):
        slow = self.script("slow", "#!/bin/sh\nexec sleep 1000\n")
        self.proxy.signal(signal.SIGHUP)
        first = subprocess.Popen([BUILD / "offshootctl", "--socket", self.folder / "a.sock",
                                  "proxy", "upgrade", slow], stderr=subprocess.PIPE)
        eventually(lambda: self.proxy.admin_json("/status")["upgrade"]["running"])
        done = self.command()
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr.decode(), "an upgrade is going on: process")
        self.assertIn(b"said nothing", first.communicate()[1])
        self.assertEqual(first.returncode, 1)
        self.upgrade()
        self.old_ones_end()

    def test_who_may(self):
        self.assertEqual(self.proxy.admin("/upgrade").status, 405)
        self.assertEqual(self.proxy.admin("/upgrade?binary=relative", "POST").status, 400)


class Takeover(UpgradeCase):
    def test_by_signal_with_everything_handed_over(self):
        ports = free_ports(1)
        metrics, pid_file = f"127.0.0.1:{ports[0]}", self.folder / "pid"
        self.begin(f"workers: 1\npidFile: {pid_file}\nmetrics: {metrics}\n"
                   "timeouts: {drainIdle: 60s}",
                   listen=("127.0.0.1:0,trusted", "127.0.0.1:0", f"unix:{self.folder}/own.sock"))
        first = self.proxy.pid
        self.assertEqual(int(pid_file.read_text()), first)
        kept = self.client(self.proxy, 1)
        self.assertEqual(kept.ask(request_bytes()).status, 200)
        fresh = self.client(self.proxy)  # connected, and nothing said yet
        eventually(lambda: self.proxy.counters().get("offshoot_clients") == 2)
        self.proxy.signal(signal.SIGUSR2)
        eventually(lambda: int(pid_file.read_text()) != first)
        second = int(pid_file.read_text())
        old = follow(self.proxy, second)
        eventually(lambda: self.proxy.admin_json("/status")["pid"] == second)
        # Each listener, the metrics and the state folder are the new one's.
        for address in self.proxy.ready["listen"][:2]:
            with self.client_of(address) as stream:
                self.assertEqual(stream.ask(request_bytes()).status, 200)
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(str(self.folder / "own.sock"))
            own.sendall(request_bytes(fields=[("Connection", "close")]))
            self.assertTrue(own.recv(100).startswith(b"HTTP/1.1 200"))
        with self.client_of(metrics) as stream:
            text = stream.ask(request_bytes("GET", "/metrics", "m")).body.decode()
        self.assertEqual(Counters(text).get("offshoot_generation"), 1)
        other = self.run_program("offshoot-proxy", "--graph", "graph.yaml", "--listen",
                                 "127.0.0.1:0", "--state", self.folder / "state")
        self.assertIn(b"is used by another proxy", other.stderr)
        # The old one still answers what it has accepted, once each.
        for stream in (kept, fresh):
            self.assertIsNone(old.poll())
            reply = stream.ask(request_bytes())
            self.assertEqual((reply.status, reply.get("connection")), (200, "close"))
            stream.expect_end()
        self.assertEqual(old.wait(30), 0)
        self.assertEqual(int(pid_file.read_text()), second)
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)
        self.assertFalse(pid_file.exists())

    def test_stopped_in_the_middle(self):
        slow = self.script("slow", "#!/bin/sh\nexec sleep 1000\n")
        self.begin("timeouts: {upgrade: 60s}")
        first = subprocess.Popen([BUILD / "offshootctl", "--socket", self.folder / "a.sock",
                                  "proxy", "upgrade", slow], stderr=subprocess.PIPE)
        eventually(lambda: self.proxy.admin_json("/status")["upgrade"]["running"])
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)
        self.assertIn(b"this process", first.communicate()[1])
        self.assertTrue(unused(self.proxy.address))

    def client_of(self, address):
        return self.closes(connect(address))

    def test_another_admin_path_and_listener(self):
        ports = free_ports(2)
        self.begin("{}", listen=(f"127.0.0.1:{ports[0]}",))
        # The command line is the same: only the file may say other things.
        self.write("conf.yaml", f"metrics: 127.0.0.1:{ports[1]}\n")
        self.upgrade()
        self.old_ones_end()
        with self.client_of(f"127.0.0.1:{ports[1]}") as stream:
            self.assertEqual(stream.ask(request_bytes("GET", "/ready", "m")).status, 200)
        self.write("conf.yaml", "{}\n")
        self.upgrade()
        self.old_ones_end()
        # The new process closes what it was handed and does not need once it serves, perhaps after
        # the end of the old one.
        eventually(lambda: unused(f"127.0.0.1:{ports[1]}"))

    def test_the_path_is_looked_up_anew(self):
        """What is installed at the path of the running program is what is started."""
        self.begin()
        os.rename(self.binary, self.folder / "old-proxy")
        shutil.copy2(BUILD / "offshoot-proxy", self.binary)
        pid = self.upgrade()
        self.assertEqual(os.readlink(f"/proc/{pid}/exe"), str(self.binary))
        self.old_ones_end()

    def test_an_old_process_without_an_end(self):
        """A request outlives the upgrade, up to timeouts.drain; SIGTERM to the old process is not
        the second one."""
        waiting = self.closes(Provider(lambda stream: (stream.read_request(), stream.sock.recv(1))))
        self.begin("timeouts: {drain: 60s, reply: 60s}", ONE_SHOP % waiting.address)
        stream = self.client(self.proxy)
        stream.send(request_bytes())
        eventually(lambda: waiting.open_connections == 1)
        self.upgrade()
        old = self.old[0]
        old.send_signal(signal.SIGTERM)
        eventually(lambda: "draining already" in self.proxy.errors())
        self.assertIsNone(old.poll())
        old.send_signal(signal.SIGTERM)
        self.old_ones_end()

    def test_a_service_manager_is_told(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            path = str(self.folder / "notify")
            manager.bind(path)
            manager.settimeout(30)
            self.begin("{}", env={"NOTIFY_SOCKET": path})
            first = self.proxy.pid
            self.assertEqual(manager.recv(200), f"READY=1\nMAINPID={first}\n".encode())
            second = self.upgrade()
            told = sorted(manager.recv(200) for _ in range(2))
            self.assertEqual(told, [f"MAINPID={second}\n".encode(),
                                    f"READY=1\nMAINPID={second}\n".encode()])
            self.old_ones_end()
            self.proxy.signal(signal.SIGTERM)
            self.assertEqual(manager.recv(200), b"STOPPING=1\n")
            self.expect_exit(self.proxy, 0)


class WithTls(UpgradeCase):
    def test_every_socket_has_its_certificates_and_tickets_stay_good(self):
        authority = Authority(self.folder)
        pair = authority.issue("a", "DNS:a.test")
        self.begin("workers: 3\ntimeouts: {drainIdle: 60s}", listen=(f"127.0.0.1:0,{pair.option}",))
        context = authority.client_context()
        kept = self.closes(connect(self.proxy.address, tls=context, server_name="a.test"))
        self.assertEqual(kept.ask(request_bytes()).status, 200)
        session = None
        for workers in (3, 1, 2, 4):
            self.write("conf.yaml", f"workers: {workers}\n")
            self.upgrade()
            for _ in range(16):  # some of them at each socket
                host, port = self.proxy.address.rsplit(":", 1)
                with socket.create_connection((host, int(port)), 20) as plain:
                    sock = context.wrap_socket(plain, server_hostname="a.test", session=session)
                    sock.sendall(request_bytes())
                    self.assertEqual(sock.recv(12), b"HTTP/1.1 200")
                    self.assertEqual(sock.session_reused, session is not None)
                    session = sock.session
                    sock.close()
        reply = kept.ask(request_bytes())
        self.assertEqual((reply.status, reply.get("connection")), (200, "close"))
        kept.close()
        self.old_ones_end()
        # One worker more than in the beginning, and a socket for it.
        self.proxy.fds_at_start += 5


class WithAgent(UpgradeCase, AgentCase):
    """The agent knows one stream a node: the old process leaves before the new one comes."""

    def begin_fed(self, *flags):
        self.shop = self.provider(fixed())
        self.agent = self.start_agent(ONE_SHOP % self.shop.address)
        self.write("conf.yaml", "timeouts: {upgrade: 3s}\n")
        self.proxy = self.start_copy(
            "-c", "conf.yaml", "--agent", self.agent.listen, "--node", "gw-1", "--workers", "2",
            "--admin", self.folder / "a.sock", "--listen", "127.0.0.1:0,trusted", *flags)

    def connected(self):
        return self.agent.program.errors().count("proxy 'gw-1' connected")

    def change(self, name):
        """A change by command, which the agent's only proxy must have taken."""
        answer = self.agent.post("/env/create", name=name, parent="main")
        epoch = answer["epoch"]
        eventually(lambda: self.proxy.admin_json("/status")["agent"]["acknowledged"] == epoch)
        proxies = self.agent.get("/proxies")["proxies"]
        self.assertEqual([(p["node"], p["connected"]) for p in proxies], [("gw-1", True)])
        return epoch

    def end(self):
        """Before the agent is judged: it was started after the proxy."""
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)

    def check(self):
        self.change("before")
        self.refused("ended with status 1$", "/bin/false")
        eventually(lambda: self.proxy.admin_json("/status")["agent"]["connected"])
        self.change("between")
        joined = self.connected()
        for n in range(3):
            self.upgrade()
            self.change(f"after-{n}")
            self.assertEqual(self.ask(self.proxy).status, 200)
        self.old_ones_end()
        self.assertEqual(self.connected(), joined + 3)

    def test_with_a_state_folder(self):
        self.begin_fed("--state", self.folder / "state")
        self.check()

    def test_without_a_state_folder(self):
        self.begin_fed()
        self.check()

    def test_without_the_agent(self):
        """The last good graph is what both have; without a state folder there is no upgrade."""
        self.begin_fed("--state", self.folder / "state")
        epoch = self.change("last")
        self.agent.kill()
        self.upgrade()
        self.assertEqual(self.proxy.admin_json("/status")["epoch"], epoch)
        self.assertEqual(self.ask(self.proxy).status, 200)
        self.agent.restart()
        self.change("again")
        self.old_ones_end()
        self.end()

    def test_without_the_agent_and_a_state_folder(self):
        self.begin_fed()
        self.agent.kill()
        self.refused("was not ready within timeouts.upgrade .*no agent at")
        self.agent.restart()
        self.change("again")
        self.end()


class Draining(UpgradeCase):
    def ready(self):
        return self.proxy.admin("/ready").status

    def test_not_ready_first_then_not_accepting(self):
        self.begin("timeouts: {drainDelay: 1s}")
        kept = self.client(self.proxy)
        self.assertEqual(kept.ask(request_bytes()).get("connection"), None)
        self.assertEqual(self.ready(), 200)
        self.proxy.signal(signal.SIGTERM)
        eventually(lambda: self.ready() == 503)
        self.assertEqual(self.proxy.admin("/live").status, 200)
        # Still accepted and served; every reply ends its connection.
        for stream in (kept, self.client(self.proxy)):
            reply = stream.ask(request_bytes())
            self.assertEqual((reply.status, reply.get("connection")), (200, "close"))
        self.expect_exit(self.proxy, 0)
        self.assertTrue(unused(self.proxy.address))

    def test_the_delay_ends_by_a_second_signal(self):
        self.begin("timeouts: {drainDelay: 60s}")
        self.proxy.signal(signal.SIGTERM)
        eventually(lambda: self.ready() == 503)
        self.proxy.signal(signal.SIGTERM)
        self.expect_exit(self.proxy, 0)

    def test_an_idle_connection_may_ask_once_more(self):
        self.begin("timeouts: {drainIdle: 60s}")
        kept = self.client(self.proxy)
        self.assertEqual(kept.ask(request_bytes()).status, 200)
        self.proxy.signal(signal.SIGTERM)
        eventually(lambda: unused(self.proxy.address))
        reply = kept.ask(request_bytes())
        self.assertEqual((reply.status, reply.get("connection")), (200, "close"))
        self.expect_exit(self.proxy, 0)

    def test_what_waits_to_be_accepted_is_served(self):
        self.begin("workers: 1\ntimeouts: {drainIdle: 60s}")
        self.proxy.signal(signal.SIGSTOP)
        waiting = [self.client(self.proxy) for _ in range(20)]
        for stream in waiting:
            stream.send(request_bytes())
        self.proxy.signal(signal.SIGTERM)
        self.proxy.signal(signal.SIGCONT)
        for stream in waiting:
            try:
                self.assertEqual(stream.read_reply().status, 200)
            except Incomplete as e:
                self.fail(f"a connection that waited was lost: {e.reason}")
            stream.close()
        self.expect_exit(self.proxy, 0)

    def test_idle_for_long_ends_at_once(self):
        self.begin("timeouts: {drainIdle: 0s}")
        kept = self.client(self.proxy)
        self.assertEqual(kept.ask(request_bytes()).status, 200)
        self.proxy.signal(signal.SIGTERM)
        kept.expect_end()
        self.expect_exit(self.proxy, 0)


if __name__ == "__main__":
    unittest.main()
