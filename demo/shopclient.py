"""Requests to the shop, and the cross-check of who answered them.

Two sources tell who served a hop: the gateway's hop record (the reply field x-offshoot-route) and
the services themselves, each of which puts its name and variant into its reply. Neither knows of
the other. A third one is the table below, written by hand.
"""

import collections
import http.client
import json

CLASSES = ("local", "explicit", "ancestor", "baseline", "shared")

# Who is to serve which service in which environment, and why; "removed": nobody.
TABLE = """
service          main          team-a         feat-42          team-b         feat-mix
web              main/local    main/baseline  main/baseline    main/baseline  main/baseline
cart             main/local    main/baseline  feat-42/local    main/baseline  main/baseline
pricing          main/local    team-a/local   team-a/ancestor  main/baseline  team-a/ancestor
inventory        main/local    main/baseline  main/baseline    main/baseline  main/baseline
checkout         main/local    main/baseline  team-b/explicit  team-b/local   team-b/ancestor
recommendations  tools/shared  tools/shared   tools/shared     tools/shared   tools/shared
legacy-promo     main/local    main/baseline  removed          main/baseline  main/baseline
"""

Reply = collections.namedtuple("Reply", "status headers body")
Hop = collections.namedtuple("Hop", "service environment cls rule epoch")


class Mismatch(Exception):
    """Somebody else served a request than was to."""


def expected():
    """{environment: {service: (environment, class)}}; (None, "removed") for a removed one."""
    head, *rows = [line.split() for line in TABLE.split("\n") if line]
    cell = lambda text: tuple(text.split("/")) if "/" in text else (None, text)
    return {env: {row[0]: cell(row[i]) for row in rows} for i, env in enumerate(head) if i}


def ask(address, host, path="/", method="GET", body=None, **headers):
    """One request on a connection of its own. Keyword x_offshoot_env is field x-offshoot-env."""
    connection = http.client.HTTPConnection(address, timeout=10)
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    fields.update({"Host": host, "Accept": "application/json"})
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, fields)
        reply = connection.getresponse()
        data = reply.read()
    finally:
        connection.close()
    try:
        parsed = json.loads(data)
    except ValueError:
        parsed = {}
    return Reply(reply.status, reply.headers, parsed)


def hops(reply):
    """The hop record: service@environment;class=...;rule=...;epoch=..., members comma separated.

    A refused passage has `refused=<word>` in the place of its class."""
    found = []
    for value in reply.headers.get_all("x-offshoot-route") or []:
        for member in value.split(","):
            name, *pairs = [part.strip() for part in member.split(";")]
            service, _, environment = name.partition("@")
            words = dict(pair.partition("=")[::2] for pair in pairs)
            found.append(Hop(service, environment, words.get("class") or words.get("refused"),
                             words.get("rule"), words.get("epoch")))
    return found


def tree(body, depth=0):
    """(depth, service, variant) of every call below a reply; variant None: it was refused."""
    yield depth, body.get("service"), body.get("variant")
    for called in body.get("called", []):
        yield from tree(called, depth + 1)


def check_told(environment, reply, want):
    """What the services say of themselves against the table."""
    if reply.status != 200:
        raise Mismatch(f"{environment}: status {reply.status} instead of 200: {reply.body}")
    told = {(service, variant) for _, service, variant in tree(reply.body)}
    wanted = {(service, where) for service, (where, _) in want.items()}
    if told != wanted:
        raise Mismatch(f"{environment}: not as the table says: services tell "
                       f"{sorted(map(str, told - wanted))} for {sorted(map(str, wanted - told))}")


def check_record(environment, reply, want):
    """The hop record against the table and, passage by passage, against the services."""
    recorded = hops(reply)
    for hop in recorded:
        where, cls = want.get(hop.service, (None, "unknown"))
        if hop.cls != cls or where not in (None, hop.environment):
            raise Mismatch(f"{environment}: {hop.service} is to be {where} {cls}, recorded: {hop}")
    served = collections.Counter((h.service, h.environment if h.cls in CLASSES else None)
                                 for h in recorded)
    told = collections.Counter((service, variant) for _, service, variant in tree(reply.body))
    if served != told:
        raise Mismatch(f"{environment}: only in the hop record: {dict(served - told)}, "
                       f"only told by the services: {dict(told - served)}")
    if len({hop.epoch for hop in recorded}) != 1:
        raise Mismatch(f"{environment}: one request met several epochs: {recorded}")
    return recorded
