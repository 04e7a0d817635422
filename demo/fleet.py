"""An agent and three gateways: environments by command, deaths, links, and back again.

The chapters of the demo that need an agent, in order. A load runs beneath them: every request of it
is checked, and one that is lost ends the demo.
"""

import re
import signal
import time

from shopclient import ask, expected
from stack import GATEWAYS
from steps import require, run_ctl, run_curl, until
from terminal import chapter, command, say, table
from traffic import Load

AGENT = ("--socket", "agent.sock")
SHOP = "shop.localhost"
QUIET = ("connection", "date", "server", "content-type", "content-length", "cache-control", "vary",
         "via")
MORE = 400  # requests that are to be served while something is dead


def show_fleet(stack):
    chapter("An agent holds the same files; three gateways follow it")
    stack.await_fleet()
    run_ctl(stack, 0, "every proxy is on epoch", *AGENT, "proxies")
    say("  Each gateway trusts the same key (keys.txt), so what one signs the others believe.")


def environments_of_load():
    """What the load asks for, and who is to serve it."""
    want = expected()
    return {name: {s: want[name][s][0] for s in ("cart", "pricing", "inventory")}
            for name in ("main", "team-a", "feat-42")}


def port_of(stack, gateway=GATEWAYS[0]):
    return stack.edges[gateway].rsplit(":", 1)[1]


def ask_edge(stack, gateway, environment, path):
    return ask(stack.edges[gateway], SHOP, path, x_offshoot_env=environment)


def show_create(stack, load):
    chapter("One command makes a feature environment on every gateway, while requests run")
    stack.start_services([("cart", "feat-7")], stack.trusted)
    load.more(MORE)
    before, began = load.served(), time.monotonic()
    output = run_ctl(stack, 0, "every one on it", *AGENT, "env", "create", "feat-7", "--parent",
                     "team-a", "--set", "cart=" + stack.addresses["cart", "feat-7"], "--for", "4h",
                     "--public", "--reason", "a new cart, to try", "--wait")
    spent = (time.monotonic() - began) * 1000
    require("proxies: 3," in output, "the agent did not wait for three gateways")
    for gateway in GATEWAYS:
        reply = ask_edge(stack, gateway, "feat-7", "/cart/alice")
        require(reply.status == 200 and reply.body["variant"] == "feat-7",
                f"feat-7 at {gateway}, after the command: {reply}")
    epoch = re.search(r"in epoch (\d+)", output)[1]
    run_curl(stack, "-s", "--unix-socket", "agent.sock", f"http://agent/epochs/{epoch}",
             "-H", "accept: application/json", word='"active":3')
    say(f"  {spent:.0f} ms from the start of the command to its end; {milliseconds(stack, epoch)} "
        "ms from the agent's disk to the last gateway (active_us).")
    say("  The first request to each of the three gateways after that was served by cart@feat-7.")
    load.ask_for("feat-7", {**environments_of_load()["team-a"], "cart": "feat-7"})
    load.more(MORE)
    told_load(load, before, "around the change")


def milliseconds(stack, epoch):
    """From the commit to the last gateway, as the agent tells it."""
    status = stack.agent_json(f"/epochs/{epoch}")
    return f"{status['active_us'] / 1000:.1f}"


def told_load(load, before, when):
    say(f"  Load: {load.served() - before} requests {when}, every answer checked, 0 lost.")


def show_agent_killed(stack, load):
    chapter("The agent is killed (SIGKILL): no request notices")
    before = load.served()
    kill(stack, "agent")
    load.more(MORE)
    run_ctl(stack, 1, "agent.sock", *AGENT, "proxies")
    told_load(load, before, "without an agent")


def kill(stack, name):
    command(f"kill -9 {stack.process(name).popen.pid}   # {name}")
    stack.stop(name, signal.SIGKILL)


def show_last_good(stack, load):
    chapter("Still no agent: a gateway that starts now serves from its last good graph")
    before = load.served()
    kill(stack, "gw-3")
    say("  Started again, with the same flags:")
    stack.start_fed_gateway("gw-3")
    run_ctl(stack, 0, "serving", "--socket", "gw-3.sock", "status")
    reply = ask_edge(stack, "gw-3", "feat-7", "/cart/alice")
    require(reply.status == 200 and reply.body["variant"] == "feat-7", f"feat-7 at gw-3: {reply}")
    say("  feat-7 at gw-3 is served by cart@feat-7, although no file says anything of feat-7.")
    load.more(MORE)
    told_load(load, before, "at the other two meanwhile")


def show_agent_back(stack, load):
    chapter("The agent starts again: it knows feat-7, and the gateways come back by themselves")
    before, began = load.served(), time.monotonic()
    stack.start_agent()
    stack.await_fleet()
    spent = time.monotonic() - began
    run_ctl(stack, 0, "every proxy is on epoch", *AGENT, "proxies")
    run_ctl(stack, 0, "every one on it", *AGENT, "env", "extend", "feat-7", "--for", "8h",
            "--reason", "it takes longer", "--wait")
    load.more(MORE)
    say(f"  {spent:.1f} s from the agent's start until all three were back.")
    told_load(load, before, "meanwhile")


def show_expiry(stack, load):
    chapter("An environment that ends by itself: shown ahead, then refused as 410")
    stack.start_services([("legacy-promo", "spring")], stack.trusted)
    run_ctl(stack, 0, "every one on it", *AGENT, "env", "create", "demo-day", "--set",
            "legacy-promo=" + stack.addresses["legacy-promo", "spring"], "--for", "4s",
            "--public", "--wait")
    run_ctl(stack, 0, "demo-day", *AGENT, "status")
    url = f"http://demo-day.preview.localhost:{port_of(stack)}/promo"
    run_curl(stack, "-s", url, word='"variant": "spring"')
    for gateway in GATEWAYS:
        until(lambda g=gateway: ask_edge(stack, g, "demo-day", "/promo").status,
              lambda status: status == 410, f"the end of demo-day at {gateway}")
    say("  Its time is over:")
    run_curl(stack, "-si", url, quiet=QUIET, word="410 Gone")
    load.more(1)


def show_link(stack, load):
    chapter("An environment for those who have a link, and for nobody else")
    port = port_of(stack)
    run_ctl(stack, 0, "every one on it", *AGENT, "env", "create", "spring", "--set",
            "legacy-promo=" + stack.addresses["legacy-promo", "spring"], "--token", "--for", "1h",
            "--wait")
    say("  An outsider cannot tell it from one that does not exist:")
    run_curl(stack, "-si", "-H", "x-offshoot-env: spring", f"http://{SHOP}:{port}/promo",
             quiet=QUIET, word="x-offshoot-error: unknown-environment")
    output = run_ctl(stack, 0, "link ", "token", "issue", "spring", "--for", "30m", "--keys",
                     "keys.txt", "--url", f"http://{SHOP}:{port}/promo", "--param", "env")
    link = re.search(r"^link +(\S+)", output, re.MULTILINE)[1]
    say("  The link becomes a cookie, and leaves the address:")
    run_curl(stack, "-si", "-c", "jar", link, quiet=QUIET[:5], word="302 Found")
    say("  The next page needs no more than that cookie:")
    page = f"http://{SHOP}:{port}/promo"
    run_curl(stack, "-s", "-b", "jar", page, word='"variant": "spring"')
    run_curl(stack, "-s", page, word='"variant": "main"')
    return re.search(r"^token +(\S+)", output, re.MULTILINE)[1]


def show_forgery(stack, token):
    chapter("A signed context in which one letter of the signature differs")
    head, _, mac = token.rpartition(".")
    forged = f"{head}.{'B' if mac[0] == 'A' else 'A'}{mac[1:]}"
    page = f"http://{SHOP}:{port_of(stack)}/promo"
    run_curl(stack, "-s", "-H", f"x-offshoot-context: {token}", page, word='"variant": "spring"')
    run_curl(stack, "-si", "-H", f"x-offshoot-context: {forged}", page, quiet=QUIET,
             word="x-offshoot-error: context")
    run_ctl(stack, 2, "bad", "token", "show", forged, "--keys", "keys.txt")


def show_rollback(stack, load):
    chapter("A bad edit of a file is taken back; the agent holds still until it is told to resume")
    good = stack.agent_json("/status")["epoch"]
    load.spare("feat-42")
    before = load.served()
    edit(stack, "legacy-promo]", "legacy-promo, pricing]")
    until(lambda: stack.agent_json("/status")["proxies"]["slowest_epoch"],
          lambda epoch: epoch > good, "every gateway above the epoch before the edit")
    page = f"http://feat-42.preview.localhost:{port_of(stack)}/cart/alice"
    ask_status(stack, page, "502")
    run_ctl(stack, 0, "every one on it", *AGENT, "graph", "rollback", str(good), "--reason",
            "carts have no prices", "--wait")
    ask_status(stack, page, "200")
    load.ask_for("feat-42", environments_of_load()["feat-42"])
    run_ctl(stack, 2, "held", *AGENT, "env", "delete", "spring")
    edit(stack, "legacy-promo, pricing]", "legacy-promo]")
    run_ctl(stack, 0, "every one on it", *AGENT, "graph", "resume", "--wait")
    run_ctl(stack, 0, "carts have no prices", *AGENT, "graph", "log", "--limit", "4")
    load.more(MORE)
    told_load(load, before, "meanwhile")


def edit(stack, before, after):
    """Edits a file and has it read."""
    name = "environments.yaml"
    text = stack.templates[name]
    require(text.count(before) == 1, "the edit does not fit the file")
    command(f"sed -i 's/{before}/{after}/' graph/{name}")
    stack.templates[name] = text.replace(before, after)
    stack.write(name, stack.templates[name])
    run_ctl(stack, 0, "epoch", *AGENT, "reload")


def ask_status(stack, page, word):
    run_curl(stack, "-s", "-o", "/dev/null", "-w", "%{http_code}\\n", page, word=word)


def show_end(stack, load):
    chapter("The load, from the first command to now; and where the gateways are")
    load.end()
    require(not load.faults, "the load lost a request: " + "".join(load.faults[:1]))
    rows = [("environment", "requests", "served by whom it is to be", "lost")]
    for name, begun in sorted(load.begun.items()):
        rows.append((name, str(begun), str(load.counts[name]), str(begun - load.counts[name])))
    begun = load.begun.total()
    table(rows + [("all", str(begun), str(load.served()), str(begun - load.served()))])
    require(begun == load.served(), "requests were lost")
    output = run_ctl(stack, 0, "every proxy is on epoch", *AGENT, "proxies")
    seen = stack.agent_json("/proxies")
    require([(p["node"], p["active"], p["connected"]) for p in seen["proxies"]]
            == [(name, seen["epoch"], True) for name in GATEWAYS], f"at the end: {output}")
    run_ctl(stack, 0, "every proxy is on epoch", *AGENT, "proxies", "--behind")
    say("  Exit status 0: every proxy is on the newest epoch.")


def run(stack):
    """All of it. The shop runs; an agent and gateways are started."""
    show_fleet(stack)
    edges = [stack.edges[name] for name in GATEWAYS[:2]]
    with Load(edges, environments_of_load()) as load:
        for show in (show_create, show_agent_killed, show_last_good, show_agent_back, show_expiry):
            show(stack, load)
        show_forgery(stack, show_link(stack, load))
        show_rollback(stack, load)
        show_end(stack, load)
