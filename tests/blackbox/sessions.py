"""Sessions as an agent tells them, made up: for what offshootctl makes of them."""

import copy

WORDS = ("status", "grpc-status", "transport-error", "timeout", "field", "latency", "slow-p90",
         "slow-p99")  # fmt: skip


def headline(name, pairs, candidate, secondary, state):
    evidence = {"fail": (7.25, -12.5), "pass": (-0.5, 2.5), "open": (0.25, 0.75)}[state]
    return {"name": name, "pairs": pairs, "candidate_only": candidate,
            "secondary_only": secondary, "both": 0, "fail_log10": evidence[0],
            "pass_log10": evidence[1], "state": state}  # fmt: skip


def field(path, candidate, secondary, both=0, failed=False, examples=()):
    return {"endpoint": "cart GET /items/{}", "path": path, "kind": "value", "pairs": 812,
            "candidate_only": candidate, "secondary_only": secondary, "both": both,
            "fail_log10": 6.5 if failed else 0.1, "shape": both > 100, "failed": failed,
            "examples": [
                {"sample": 17 + i, "trace": f"{i + 1:032x}", "primary": p, "secondary": s,
                 "candidate": c} for i, (p, s, c) in enumerate(examples)]}  # fmt: skip


def latency(shift):
    buckets = [[1 << (9 + shift), 30], [1 << (10 + shift), 510], [1 << (11 + shift), 240],
               [1 << (12 + shift), 28], [None, 4]]  # fmt: skip
    return {"p50_us": 700 << shift, "p90_us": 1500 << shift, "p99_us": 3900 << shift,
            "buckets": buckets}  # fmt: skip


SPEC = {
    "baseline": "main", "candidate": "feat-42", "secondary": None, "services": ["cart", "shop"],
    "paths": ["/items"], "rate": 12.5, "samples": None, "for": "2h", "epsilon": 0.01,
    "credentials": "strip", "strict": False, "ignore": ["body.id"], "redact": ["iban"],
    "redact_off": False, "headers": ["authorization"], "through": None, "until": "decision",
}  # fmt: skip

PASS = {
    "name": "cart-42", "id": 7, "state": "ended", "verdict": "pass",
    "why": "no headline differs by 0.01 or more in 812 samples", "run": 2,
    "started": 1795700000, "ended": 1795703600, "ended_why": "decision", "spec": SPEC,
    "samples": 812, "samples_needed": 0, "in_flight": 0,
    "headlines": [headline(w, 812, 1, 1, "pass") for w in WORDS],
    "fields": [field("body.generated_at", 3, 2, 700, examples=[("10:00", "10:01", "10:02")])],
    "overflow": {"pairs": 0, "candidate_only": 0, "secondary_only": 0, "both": 0},
    "endpoints": [{"name": "cart GET /items/{}", "pairs": 812}],
    "latency": {"primary": latency(0), "secondary": latency(1), "candidate": latency(2)},
    "dropped": {"in-flight": 3, "too-large": 1},
    "context": {"state": "proved", "hops": [
        {"service": "cart", "sampled": 812, "dark": 1624, "lost": 0}], "lost": None},
    "suggestions": ["body.generated_at"],
    "journal": {"path": "/var/lib/offshoot/shadow/cart-42", "bytes": 123456},
    "redis": {"state": "off", "why": "", "behind": 0},
}  # fmt: skip


def passed():
    return copy.deepcopy(PASS)


def failed():
    session = passed()
    session.update(
        verdict="fail", state="running", ended=None, ended_why=None,
        why="headline field: only the candidate differs in 26, only the secondary in 0 of 812 "
            "samples; the worst is body.items[].price (value) of cart GET /items/{}")  # fmt: skip
    session["headlines"][4] = headline("field", 812, 26, 0, "fail")
    session["headlines"][5] = headline("latency", 812, 40, 31, "open")
    session["fields"].insert(0, field("body.items[].price", 26, 0, 0, True, [
        ("12.50", "", "12.49"), ("3.00 € each", "", "2.99 € each")]))
    return session


def inconclusive(samples=120, needed=367):
    session = passed()
    session.update(verdict="inconclusive", state="running", ended=None, ended_why=None,
                   samples=samples, samples_needed=needed,
                   why=f"{samples} samples, some {needed} more are needed")
    session["headlines"] = [headline(w, samples, 0, 0, "open") for w in WORDS]
    return session


HOSTILE = "<script>alert(1)</script>\"'&amp;<img src=x onerror=alert(2)>\x1b[31m\u202e]]>\ufffe"


def hostile(verdict="fail"):
    """Every text of it is an attack on whoever shows it."""

    def spoil(o):
        if isinstance(o, dict):
            return {k: o[k] if k in ("verdict", "state", "latency") else spoil(o[k]) for k in o}
        if isinstance(o, list):
            return [spoil(x) for x in o]
        return f"{o}{HOSTILE}" if isinstance(o, str) else o

    session = spoil(failed())
    session["verdict"] = verdict
    session["state"] = f"ended{HOSTILE}"
    session["ended_why"] = HOSTILE
    session["dropped"] = {f"too-large{HOSTILE}": 1}
    session["spec"][HOSTILE] = HOSTILE
    for line in session["headlines"]:
        line["state"] = "fail"
    return session
