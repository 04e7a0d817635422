#!/usr/bin/python3
"""A shop in six environments, on one machine, with real gateways, an agent and a real Redis.

    demo.py run   shows what Offshoot does, checks every answer, and ends by itself
    demo.py up    starts the shop, an agent and three gateways, and keeps them up

The programs are taken from $OFFSHOOT_BUILD (default: build). `make demo` and `make demo-up` call
this.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from http.client import HTTPException

import compare
import fleet
import yaml
from shopclient import Mismatch, ask, check_record, check_told, expected, hops, tree
from stack import GATEWAYS, Broken, Stack
from steps import await_status, ordinal, poll, require, run_ctl
from terminal import chapter, command, indented, say, style, table

PREVIEW = "preview.localhost"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAILURES = (Broken, Mismatch, OSError, HTTPException, subprocess.SubprocessError)


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


# ---- chapters --------------------------------------------------------------------------------


def show_environments(stack):
    """What the graph's files say, in one table."""
    documents = yaml.safe_load_all(stack.templates["environments.yaml"])
    rows = [("environment", "is", "says")]
    for document in documents:
        spec = document["spec"]
        parents = spec.get("parents") or [spec["parent"]] if spec["mode"] == "overlay" else []
        kind = "overlay on " + " and ".join(parents) if parents else spec["mode"]
        says = [", ".join(sorted(spec["providers"]))] if "providers" in spec else []
        says += [f"{s} as in {e}" for s, e in spec.get("use", {}).items()]
        says += [f"no {s}" for s in spec.get("remove", [])]
        name = document["metadata"]["name"]
        rows.append((name, "pool" if kind == "shared" else kind, "; ".join(says) or "nothing"))
    chapter("The environments (demo/graph/environments.yaml)")
    table(rows, lambda _: "main")
    count, environments = len(stack.marks()), len(expected())
    full = environments * len(expected()["main"])
    say(f"  {count} processes serve {environments} environments; "
        f"a full copy for each would need {full}.")


def show_hops(stack):
    """The same request through every environment: who served each hop, and why."""
    chapter("One request to `web` in every environment: who served each hop, and why")
    want, seen = expected(), {}
    for environment in want:
        reply = ask(stack.trusted, "web", x_offshoot_env=environment, x_offshoot_explain="1")
        check_told(environment, reply, want[environment])
        seen[environment] = (reply, check_record(environment, reply, want[environment]))
    rows = [("service", *want)]
    for service in want["main"]:
        row = [service]
        for environment in want:
            hop = next(h for h in seen[environment][1] if h.service == service)
            served = want[environment][service][0] is not None
            row.append(f"{hop.environment} {hop.cls}" if served else "removed")
        rows.append(row)
    table(rows, lambda cell: cell.split()[0])
    passages = sum(len(h) for _, h in seen.values())
    say(f"  {passages} passages recorded by the gateway (x-offshoot-route); the services' own "
        "reports say the same.")
    say("  local: its own. ancestor, baseline: inherited. explicit: `use`. shared: from a pool.")
    show_tree("feat-42", *seen["feat-42"])


def show_tree(environment, reply, recorded):
    """One request as a tree: the order of calls is told by the services, the why by the record."""
    chapter(f"The same request in {environment}, call by call")
    rows = [("call", "served by", "class", "rule", "epoch")]
    for depth, service, variant in tree(reply.body):
        hop = next(h for h in recorded if h.service == service)
        rows.append(("  " * depth + service, variant or "(removed)", hop.cls or "", hop.rule or "",
                     hop.epoch or ""))
    table(rows, lambda cell: cell if cell in ("team-a", "team-b", "feat-42", "tools") else "main")
    say("  The first hop was told the environment by a header; the services carried it on in "
        "`baggage`.")


def show_selectors(stack):
    """From outside: a host name, a header or a baggage member selects the environment."""
    chapter("From outside, at the edge listener: what selects the environment")
    port = stack.edge.rsplit(":", 1)[1]
    asked = [("main", "shop.localhost", {})]
    asked += [(e, f"{e}.{PREVIEW}", {}) for e in ("team-a", "feat-42", "team-b", "feat-mix")]
    asked += [(e, "shop.localhost", {"x_offshoot_env": e}) for e in ("main", "team-b", "feat-42")]
    asked += [("team-a", "shop.localhost", {"baggage": "sd-routing-key=team-a"})]
    rows = [("request", "environment", "differs from main in")]
    want = expected()
    for environment, host, fields in asked:
        reply = ask(stack.edge, f"{host}:{port}", x_offshoot_explain="1", **fields)
        check_told(environment, reply, want[environment])
        require("x-offshoot-route" not in reply.headers, "the edge let a hop record out")
        carrier = "".join(f"{k.replace('_', '-')}: {v}" for k, v in fields.items())
        rows.append((carrier or f"http://{host}/", environment, differences(environment)))
    table(rows)


def differences(environment):
    want = expected()
    return " ".join(f"{service}@{where}" if where else f"no-{service}"
                    for service, (where, _) in want[environment].items()
                    if where != want["main"][service][0]) or "-"


def show_carts(stack):
    """State: each provider of `cart` has carts of its own; an inherited cart is the ancestor's."""
    chapter("Carts in Redis: one cart service for main and team-a, another one for feat-42")
    port = stack.edge.rsplit(":", 1)[1]
    rows = [("put into alice's cart in", "served by", "cart now holds", "total")]
    puts = (("main", "tea", 2), ("team-a", "kettle", 1), ("feat-42", "mug", 3))
    for environment, item, count in puts:
        reply = ask(stack.edge, f"{environment}.{PREVIEW}:{port}", "/cart/alice", "POST",
                    {"item": item, "count": count})
        where = expected()[environment]["cart"][0]
        require(reply.body.get("variant") == where, f"cart of {environment}: {reply}")
        held = ", ".join(f"{n} {i}" for i, n in reply.body["items"].items())
        rows.append((f"{environment}: {count} {item}", f"cart@{where}", held,
                     f"{reply.body['total'] / 100:.2f}"))
    table(rows)
    keys = stack.redis_hashes("*:cart:*")
    require(keys == {"feat-42:cart:alice": {"mug": "3"},
                     "main:cart:alice": {"tea": "2", "kettle": "1"}}, f"carts in Redis: {keys}")
    for key, held in keys.items():
        say(f"  Redis {key}: " + ", ".join(f"{n} {item}" for item, n in held.items()))
    reply = ask(stack.edge, f"feat-42.{PREVIEW}:{port}", "/orders/alice", "POST", {})
    require(reply.status == 200 and reply.body["variant"] == "team-b", f"order: {reply}")
    say(f"  An order in feat-42 is taken by checkout@{reply.body['variant']}: "
        f"{reply.body['ordered']['mug']} mugs, {reply.body['total'] / 100:.2f}. "
        "The cart in main is untouched.")


def show_refusals(stack):
    """Nothing falls back in silence: a refusal has a word."""
    chapter("Refusals, each with a word (x-offshoot-error)")
    port = stack.edge.rsplit(":", 1)[1]
    cases = (
        (f"http://feat-42.{PREVIEW}/promo", f"feat-42.{PREVIEW}", "/promo", "removed",
         "feat-42 removed legacy-promo"),
        (f"http://feat-99.{PREVIEW}/", f"feat-99.{PREVIEW}", "/", "unknown-environment",
         "main does not step in"),
    )
    rows = [("request", "status", "word", "why")]
    for shown, host, path, word, why in cases:
        reply = ask(stack.edge, f"{host}:{port}", path)
        got = (reply.status, reply.headers.get("x-offshoot-error"))
        require(got == (404, word), f"{shown} is answered {got}, not (404, {word})")
        rows.append((shown, str(reply.status), got[1], why))
    table(rows)


def show_ctl(stack):
    """The same resolver on the command line: offline from files, live from the gateway."""
    chapter("The same answers from the command line, offline and live")
    run_ctl(stack, 0, "cart", "--graph", "graph", "resolve", "feat-42", "cart")
    run_ctl(stack, 0, "team-b", "--socket", "admin.sock", "explain", "--host", "checkout",
            "--header", "x-offshoot-env: feat-42", "--trusted")


def show_edit(stack):
    """A changed file: no restart, no lost request, in force within milliseconds."""
    name = "environments.yaml"
    taken = '    pricing: {endpoints: ["${pricing@team-a}"]}\n'
    cart = '    cart: {endpoints: ["${cart@feat-42}"]}\n'
    added = '    pricing: {endpoints: ["${pricing@feat-42}"]}\n'
    stack.start_services([("pricing", "feat-42")], stack.trusted)
    before = stack.templates[name]
    require(before.count(taken) == 1 and before.count(cart) == 1, "the edit does not fit the file")
    after = before.replace("  providers:\n" + taken, "").replace(cart, cart + added)
    chapter("A change of the graph, live: team-a gives up its pricing, feat-42 gets one")
    say(style(31, "  - team-a:  " + stack.fill(taken).strip()))
    say(style(32, "  + feat-42: " + stack.fill(added).strip()))
    edited = time.monotonic()
    stack.write(name, after)
    rows = [("asked", "was", "now", "first such request")]
    for environment, was, now in (("feat-42", "team-a", "feat-42"), ("team-a", "team-a", "main")):
        reply, count = poll(lambda e=environment: ask(
            stack.trusted, "pricing", "/prices?item=tea", x_offshoot_env=e,
            x_offshoot_explain="1"), lambda r, v=now: r.body.get("variant") == v)
        hop = hops(reply)[0]
        require((hop.service, hop.environment) == ("pricing", now), f"recorded: {hop}")
        spent = (time.monotonic() - edited) * 1000
        rows.append((f"pricing in {environment}", was, now,
                     f"{spent:.0f} ms after the edit, the {ordinal(count)} asked"))
    table(rows)
    stack.templates[name] = after


def show_bad_edit(stack):
    """A broken graph never replaces a good one."""
    name = "environments.yaml"
    good = stack.templates[name]
    chapter("A bad change: feat-42 on a parent that does not exist")
    stack.write(name, good.replace("parent: team-a", "parent: teem-a"))
    status = await_status(stack, lambda text: "teem-a" in text)
    command("offshootctl --socket admin.sock status")
    indented(status)
    reply = ask(stack.trusted, "pricing", "/prices?item=tea", x_offshoot_env="feat-42")
    require(reply.body.get("variant") == "feat-42", f"the last good graph was lost: {reply}")
    say("  Requests go on with the last good graph: pricing in feat-42 is still feat-42's.")
    stack.write(name, good)
    status = await_status(stack, lambda text: "teem-a" not in text)
    say(f"  Repaired: {status.splitlines()[0]}.")


def show_death(stack):
    """A provider that is down is not replaced: the decision does not depend on health."""
    chapter("A provider dies: cart@feat-42")
    stack.stop("cart@feat-42")
    rows = [("cart asked in", "status", "word or answer")]
    for environment, status in (("feat-42", 502), ("main", 200)):
        reply = ask(stack.trusted, "cart", "/cart/alice", x_offshoot_env=environment)
        word = reply.headers.get("x-offshoot-error")
        require((reply.status, word) == (status, "connect" if status == 502 else None),
                f"cart in {environment} is answered {reply}")
        rows.append((environment, str(status), word or f"cart@{reply.body['variant']}"))
    table(rows)
    say("  main's cart does not step in: its answer would be that of another program.")


# ---- the two ways to start -------------------------------------------------------------------

CHAPTERS = (show_environments, show_hops, show_selectors, show_carts, show_refusals, show_ctl,
            show_edit, show_bad_edit, show_death)


def run(stack):
    began = time.monotonic()
    trusted_port = stack.start_shop()
    stack.start_gateway(trusted_port)
    say(f"Started Redis, {len(stack.addresses)} services and the gateway "
        f"(edge {stack.edge}, trusted {stack.trusted}) in {time.monotonic() - began:.1f} s.")
    for show in CHAPTERS:
        show(stack)
    say()
    say(style(1, "From here on an agent holds the graph."))
    put_back(stack)
    stack.stop("gateway")
    stack.start_fleet(trusted_port)
    fleet.run(stack)
    say()
    say(style(1, "From here on a candidate is compared with its baseline."))
    compare.run(stack)
    dead = stack.dead()
    require(not dead, "ended by itself: " + ", ".join(p.name for p in dead))
    say()
    say(style("1;32", "All as expected.") + f" {time.monotonic() - began:.1f} s.")


def put_back(stack):
    """The files and services as they were before they were edited and killed."""
    stack.stop("pricing@feat-42")
    stack.start_services([("cart", "feat-42")], stack.trusted)
    stack.read_templates()
    stack.write_graph()


def up(stack):
    stack.start_fleet(stack.start_shop())
    more = [("cart", "feat-7"), ("cart", "feat-9"), ("legacy-promo", "spring")]
    stack.start_services(more, stack.trusted)
    stack.await_fleet()
    os.symlink("gw-1.sock", stack.admin)
    say(f"""The shop is up. Ctrl-C stops everything.

  edge listeners    {"  ".join(stack.edges.values())}
                    (gw-1 to gw-3, for people: environment by host name, header, baggage or link)
  trusted listener  {stack.trusted}   (for the services among themselves: Host is the service)
  folder            {stack.work}
    graph           its files (edit them: the agent watches them)
    agent.sock      the agent's admin socket; gw-1.sock to gw-3.sock are the gateways'
    admin.sock      another name of gw-1.sock
    keys.txt        the key that signs contexts
  Redis             127.0.0.1:{stack.redis_port}
""")
    show_environments(stack)
    chapter("Try, in another shell")
    for line in to_try(stack):
        say("  " + line)
    say()
    wait_for_deaths(stack)


def to_try(stack):
    port = stack.edge.rsplit(":", 1)[1]
    web, shop = f"http://feat-42.{PREVIEW}:{port}", f"http://shop.localhost:{port}"
    agent = "offshootctl --socket agent.sock"
    return (
        f"cd {stack.work}; PATH={stack.build}:$PATH",
        f"curl -s {shop}/                  # main, the default",
        f"curl -s {web}/    # feat-42, by host name",
        f"curl -s -H 'x-offshoot-env: team-a' {shop}/",
        f"curl -s -H 'baggage: sd-routing-key=team-b' {shop}/",
        f"curl -s -d '{{\"item\": \"tea\", \"count\": 2}}' {web}/cart/alice",
        f"curl -i {web}/promo          # removed in feat-42",
        f"curl -si -H 'Host: web' -H 'x-offshoot-env: feat-42' -H 'x-offshoot-explain: 1' "
        f"http://{stack.trusted}/ | grep x-offshoot-route",
        f"redis-cli -p {stack.redis_port} keys '*'",
        "",
        f"{agent} env create feat-7 --parent team-a "
        f"--set cart={stack.addresses['cart', 'feat-7']} --for 4h --public --wait",
        f"curl -s http://feat-7.{PREVIEW}:{port}/cart/alice",
        f"{agent} env create spring --set "
        f"legacy-promo={stack.addresses['legacy-promo', 'spring']} --token --for 4h --wait",
        f"offshootctl token issue spring --for 1h --keys keys.txt --url {shop}/promo --param env",
        "curl -sL -b '' 'LINK'                  # the link that it printed: the banner of spring",
        "",
        f"{agent} env create feat-9 "
        f"--set cart={stack.addresses['cart', 'feat-9']} --for 4h --public --wait",
        f"for e in main feat-9; do curl -s -H \"x-offshoot-env: $e\" -d '{{\"item\": \"tea\"}}' "
        f"{shop}/cart/zoe; done",
        f"curl -s -o /dev/null '{shop}/cart/zoe?[1-4000]' &    # traffic of main",
        f"{agent} shadow start feat-9 --baseline main --candidate feat-9 --service cart "
        "--ignore body.variant --epsilon 0.015 --wait",
        f"{agent} shadow verdict feat-9 --wait --timeout 1m || echo exit status $?",
        f"{agent} shadow report feat-9 --output feat-9.html",
        "",
        f"{agent} proxies",
        f"{agent} graph log",
        f"{agent} graph rollback 1 --wait; {agent} graph resume --wait",
        f"kill -9 {stack.process('agent').popen.pid}                  # the agent: requests go on",
        "offshootctl --socket gw-1.sock status",
        "offshootctl --graph graph resolve feat-42 cart",
        "offshootctl --socket gw-1.sock explain --host checkout "
        "--header 'x-offshoot-env: feat-42' --trusted",
    )


def wait_for_deaths(stack):
    """Whoever kills the agent or a gateway is told how to start it again. Signals are taken one by
    one: a handler could run just before a wait that then never ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*STOPPING, signal.SIGCHLD))
    while True:
        for process in stack.dead():
            if process.name not in ("agent", *GATEWAYS):
                raise Broken(f"ended by itself: {process.name}")
            say(f"{process.name} is dead. To start it again: (cd {stack.work} && "
                f"{shlex.join(process.popen.args)})")
            stack.forget(process)
        number = signal.sigwait((*STOPPING, signal.SIGCHLD))
        if number in STOPPING:
            raise Stopped(number)


def stop(number, _):
    raise Stopped(number)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("what", choices=("run", "up"))
    what = p.parse_args().what
    for number in STOPPING:
        signal.signal(number, stop)
    stack = Stack(os.environ.get("OFFSHOOT_BUILD", "build"))
    try:
        with stack:
            try:
                run(stack) if what == "run" else up(stack)
            except FAILURES as e:
                print(f"demo: {e}\n{stack.gateway_log()}", file=sys.stderr)
                return 1
    except Stopped as e:
        say("stopped")
        return 0 if what == "up" else 128 + e.args[0]
    except Broken as e:
        print(f"demo: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
