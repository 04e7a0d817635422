"""A candidate compared with its baseline on live traffic: a fault found, and the repair proved.

The third part of the demo. The agent and the gateways of the second one run; six connections ask
for a cart in `main` without a pause, and every answer is checked.
"""

import json
import os
import re

from fleet import AGENT, SHOP, environments_of_load
from shopclient import ask
from stack import GATEWAYS
from steps import require, run_ctl, run_program, until
from terminal import chapter, say
from traffic import Load

NAME = "feat-9"
EPSILON = "0.015"  # less than the share of wrong totals, so that they cannot PASS
LIMIT = 240  # seconds for a verdict on a slow machine
CART = (("tea", 3), ("mug", 1))  # a total with cents: 2550
FIELD = "body.total"
SHOWN = {"fail": 23, "pass": 16}  # lines of a verdict
WARM = 200  # requests to a new process before it is measured


def fill(stack, environment):
    """The same cart in an environment that keeps carts of its own."""
    for item, count in CART:
        reply = ask(stack.trusted, "cart", "/cart/zoe", "POST", {"item": item, "count": count},
                    x_offshoot_env=environment)
        require(reply.status == 200, f"filling the cart in {environment}: {reply}")
    require(reply.body["items"] == dict(CART), f"the cart in {environment}: {reply}")


def users_of(stack, environment, cart, connections=3):
    """Requests without a pause, at the first two gateways."""
    edges = [stack.edges[name] for name in GATEWAYS[:2]]
    want = {**environments_of_load()["main"], "cart": cart}
    return Load(edges, {environment: want}, connections, "/cart/zoe")


def warm(stack, cart):
    """A process that was just started is slower than it will be, which is not the question."""
    with users_of(stack, NAME, cart, connections=8) as load:
        load.more(WARM)


def start_edition(stack, edition):
    """A process that is a new edition of the cart; gives its address."""
    stack.start_services([("cart", edition)], stack.trusted)
    return stack.addresses["cart", edition]


def show_start(stack):
    chapter("Does my branch behave the same? A candidate cart, compared on live traffic")
    address = start_edition(stack, NAME)
    run_ctl(stack, 0, "every one on it", *AGENT, "env", "create", NAME, "--set",
            "cart=" + address, "--for", "4h", "--public", "--wait")
    fill(stack, "main")
    fill(stack, NAME)
    warm(stack, NAME)
    say("  One answer in fifty of this edition has a wrong total; every answer of any edition has "
        "an id and a time.")


def show_context(stack):
    chapter("A session: nobody notices it, and it first proves that the context goes along")
    run_ctl(stack, 0, "is begun", *AGENT, "shadow", "start", NAME, "--baseline", "main",
            "--candidate", NAME, "--service", "cart", "--ignore", "body.variant", "--epsilon",
            EPSILON, "--wait", "--timeout", f"{LIMIT}s", seconds=LIMIT + 10)
    hops = session(stack)["context"]["hops"]
    reached = sorted(h["service"] for h in hops if h["dark"] and not h["lost"])
    require(reached == ["cart", "inventory", "pricing"], f"dark requests came to {hops}")
    say(f"  Dark requests came, with their context, to {', '.join(reached)}.")


def session(stack):
    return stack.agent_json(f"/sessions/{NAME}")


def verdict(stack, code, word):
    """Waits for it as CI does; gives the session as it is then."""
    output = run_ctl(stack, code, word, *AGENT, "shadow", "verdict", NAME, "--wait", "--timeout",
                     f"{LIMIT}s", seconds=LIMIT + 10, shown=SHOWN[word])
    say(f"  Exit status {code}.")
    seen = session(stack)
    require(seen["state"] == "ended" and seen["ended_why"] == "decision", f"ended: {seen}")
    require(seen["verdict"] == word, f"'{output}', but the agent says {seen['verdict']}")
    return seen


def show_fail(stack):
    chapter("The verdict: FAIL, and where")
    seen = verdict(stack, 1, "fail")
    worst = seen["fields"][0]
    require((worst["endpoint"].split()[0], worst["path"], worst["kind"])
            == ("cart", FIELD, "value"), f"the worst field is not the wrong one: {worst}")
    require(worst["candidate_only"] > 0 and worst["secondary_only"] == 0, f"counted: {worst}")
    example = worst["examples"][0]
    require((example["primary"], example["candidate"]) == ("2550", "2500"), f"example: {example}")
    noisy = {f["path"] for f in seen["fields"] if f["shape"] and f["both"]}
    require({"body.answer", "body.at"} <= noisy, f"noise that was found: {seen['fields']}")
    share = 100 * worst["candidate_only"] / worst["pairs"]
    say(f"  {seen['samples']} samples: {FIELD} is {example['candidate']} instead of "
        f"{example['primary']} in {worst['candidate_only']} of {worst['pairs']} ({share:.1f} %); "
        "ids and times, which differ in all of them, are no reason.")
    return seen


def show_report(stack):
    run_ctl(stack, 0, "", *AGENT, "shadow", "report", NAME, "--output", "report.html")
    with open(stack.path("report.html"), encoding="utf-8") as f:
        page = f.read()
    text = re.sub("<[^>]*>", "", page)
    require(FIELD in text and "2550" in text and "2500" in text, "the report lacks the difference")
    require(not re.search(r"(src|href)=.?https?:", page), "the report needs a network")
    say(f"  One file of {len(page) // 1024} KiB that needs no network.")


def show_redis(stack, seen):
    chapter("The same, read back from Redis")
    samples = seen["samples"]
    redis = ("-p", str(stack.redis_port), "-n", "1")
    key = f"offshoot:{{{NAME}}}:"
    until(lambda: stack.redis(lambda store: store.hget(key + "sums", "agent-1|samples"), 1),
          lambda n: n == str(samples), "the sums in Redis")
    until(lambda: session(stack)["redis"]["behind"], lambda n: n == 0, "the examples in Redis")
    run_program(stack, "redis-cli", *redis, "hmget", key + "verdict", "verdict", "samples",
                word=f"fail\n{samples}\n")
    worst = seen["fields"][0]
    name = f"agent-1|f|{worst['endpoint']}|{worst['path']}|{worst['kind']}"
    run_program(stack, "redis-cli", *redis, "hget", key + "sums", name,
                word=f"{worst['pairs']} {worst['candidate_only']} 0 0 0\n")
    listed = stack.redis(lambda store: store.lrange(key + "examples", 0, -1), database=1)
    wrong = [d for text in listed for d in json.loads(text)["differences"] if d["path"] == FIELD]
    require(len(wrong) >= min(worst["candidate_only"], 1), "no example in Redis")
    say(f"  {len(listed)} examples in offshoot:{{{NAME}}}:examples, {len(wrong)} of them with a "
        "wrong total.")


def show_repair(stack):
    chapter("The repaired candidate: PASS")
    address = start_edition(stack, NAME + "-repaired")
    run_ctl(stack, 0, "every one on it", *AGENT, "env", "set", NAME, "--set", "cart=" + address,
            "--reason", "the cents are back", "--wait")
    fill(stack, NAME)
    warm(stack, NAME + "-repaired")
    run_ctl(stack, 0, "counts anew", *AGENT, "shadow", "restart", NAME, "--reason",
            "the cents are back")
    seen = verdict(stack, 0, "pass")
    require(not any(f["path"] == FIELD for f in seen["fields"]), f"fields: {seen['fields']}")
    say(f"  {seen['samples']} samples: less than {100 * float(EPSILON):g} % of the answers differ "
        "more than by chance, with an error rate of 5 %. (It has no users, and is the faster one.)")
    run_ctl(stack, 0, NAME, *AGENT, "shadow", "list")


def run(stack):
    """All of it. The agent and the gateways run."""
    stack.await_fleet()
    show_start(stack)
    with users_of(stack, "main", "main") as load:
        load.more(10)
        show_context(stack)
        seen = show_fail(stack)
        show_report(stack)
        show_redis(stack, seen)
        show_repair(stack)
        load.end()
        require(not load.faults, "users noticed: " + "".join(load.faults[:1]))
        say(f"  The users' own {load.served()} requests meanwhile: every answer checked, 0 lost.")
    require(os.path.isdir(stack.path("agent", "shadow", NAME)), "there is no journal")
