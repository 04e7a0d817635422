"""Random environment graphs that are valid and use every feature of resolution.

Several baselines (with `use` and `remove`), overlays of one to three parents, pools with
priorities, pinned services, expiry around a given instant, and every way to write the same thing.
What would make a graph invalid is repaired while it is made: a child of parents that contradict
each other says something itself, a lineage that has no order is not taken, and so on.
"""

import json
import os
from datetime import datetime, timedelta, timezone

PROVIDES, USE, REMOVE = "provides", "use", "remove"
LINEAGE_MAX = 16


def mro(parents, lineages):
    """C3: the merged lineages of the parents, or None when there is no order."""
    lists = [list(lineages[p]) for p in parents] + [list(parents)]
    out = []
    while any(lists):
        for head in (ls[0] for ls in lists if ls):
            if all(head not in ls[1:] for ls in lists):
                break
        else:
            return None
        out.append(head)
        lists = [[x for x in ls if x != head] for ls in lists]
    return out


class RandomGraph:
    def __init__(self, rng, now, environments=70, services=50):
        self.rng, self.now = rng, now
        self.services = [f"s{i}" if i % 7 else f"service-{i}-long" for i in range(services)]
        self.pinned = set(rng.sample(self.services, services // 12))
        self.envs = {}  # name -> dict(mode, parents, statements, expires, priority)
        self.lineages = {}
        self.host = 0
        for i in range(rng.randint(1, 3)):
            self._baseline(f"main{i}" if i else "main")
        pools = rng.randint(0, 5)
        for i, priority in enumerate(rng.sample(range(-20, 100), pools)):
            self._pool(f"pool-{i}", priority)
        for i in range(environments - len(self.envs)):
            self._overlay(f"feat-{i}")
        self._forward_uses()
        self.documents = [self._service(s) for s in self.services]
        self.documents += [self._environment(n) for n in self.envs]
        self.documents.append(self._gateway())

    # ---- what is said ----

    def _endpoint(self):
        self.host += 1
        h, port = self.host, self.rng.randint(1, 65535)
        kind = self.rng.random()
        if kind < 0.7:
            address = f"10.{h >> 16 & 255}.{h >> 8 & 255}.{h & 255}:{port}"
        elif kind < 0.85:
            address = f"host-{h}.stack.svc:{port}"
        else:
            address = f"[fd00::{h & 0xffff or 1:x}]:{port}"
        weight = self.rng.choice([None] * 4 + [1, 2, 1000])
        return {"address": address, "weight": weight} if weight else address

    def _provides(self):
        return PROVIDES, [self._endpoint() for _ in range(self.rng.choice([1, 1, 1, 2, 5]))]

    def _expires(self, chance):
        if self.rng.random() >= chance:
            return None
        return self.now + self.rng.choice([-86400, -1, 0, 1, 60, 86400])

    def _put(self, name, mode, parents, statements, expires, priority=None):
        self.envs[name] = {"mode": mode, "parents": parents, "statements": statements,
                           "expires": expires, "priority": priority}  # fmt: skip
        self.lineages[name] = [name, *mro(parents, self.lineages)]

    def _meets(self, name, service):
        """What the lineage of an environment says about a service first, and who says it."""
        for env in self.lineages[name]:
            if service in self.envs[env]["statements"]:
                return env, self.envs[env]["statements"][service]
        return None, None

    def _usable(self, service):
        return [n for n in self.envs if (self._meets(n, service)[1] or (0,))[0] == PROVIDES]

    def _statement(self, service, provides, use):
        chance = self.rng.random()
        if chance < provides:
            return self._provides()
        if chance < provides + use:
            usable = self._usable(service)
            if usable:
                return USE, self.rng.choice(usable)
        return REMOVE, None

    def _baseline(self, name):
        statements = {}
        for s in self.services:
            if self.rng.random() < 0.6:
                statements[s] = self._statement(s, 0.9, 0.07)
        self._put(name, "baseline", [], statements, self._expires(0.03))

    def _pool(self, name, priority):
        some = self.rng.sample(self.services, self.rng.randint(1, len(self.services) // 2))
        statements = {s: self._provides() for s in some if s not in self.pinned}
        self._put(name, "shared", [], statements, self._expires(0.3), priority)

    def _parents(self):
        rng = self.rng
        names = [n for n in self.envs if self.envs[n]["mode"] != "shared"]
        overlays = [n for n in names if self.envs[n]["mode"] == "overlay"]
        while True:
            # Deep ones are preferred now and then, so that long lineages come up.
            pool = overlays[-5:] if overlays and rng.random() < 0.3 else names
            parents = []
            for _ in range(rng.choice([1, 1, 1, 1, 2, 2, 3])):
                p = rng.choice(pool)
                root = {self.lineages[q][-1] for q in [*parents, p]}
                if p not in parents and len(root) == 1:
                    parents.append(p)
            merged = mro(parents, self.lineages)
            if merged and len(merged) < LINEAGE_MAX:
                return parents

    def _contradicted(self, parents, service):
        """Do two parents lead to statements that are not the same and not in one line?"""
        found = [self._meets(p, service) for p in parents]
        for a, said_a in found:
            for b, said_b in found:
                if a and b and a != b and said_a != said_b \
                        and a not in self.lineages[b] and b not in self.lineages[a]:  # fmt: skip
                    return True
        return False

    def _overlay(self, name):
        parents = self._parents()
        statements = {}
        for s in self.services:
            if s in self.pinned:
                continue
            if self._contradicted(parents, s) or self.rng.random() < 0.12:
                statements[s] = self._statement(s, 0.6, 0.25)
        self._put(name, "overlay", parents, statements, self._expires(0.12))

    def _forward_uses(self):
        """A leaf may also use what is written after it; nothing else then depends on the leaf."""
        needed = {p for e in self.envs.values() for p in e["parents"]}
        needed |= {v for e in self.envs.values() for k, v in e["statements"].values() if k == USE}
        for name, env in self.envs.items():
            if name in needed or env["mode"] != "overlay" or self.rng.random() < 0.5:
                continue
            service = self.rng.choice([s for s in self.services if s not in self.pinned])
            usable = [n for n in self._usable(service) if n != name]
            if usable:
                target = self.rng.choice(usable)
                if name not in self.lineages[target]:
                    env["statements"][service] = (USE, target)
                    if target in needed or self.envs[target]["mode"] != "overlay":
                        continue
                    needed.add(target)

    # ---- as documents ----

    def _head(self, kind, name, spec, **metadata):
        return {"apiVersion": "offshoot.dev/v1", "kind": kind,
                "metadata": {"name": name, **metadata}, "spec": spec}  # fmt: skip

    def _service(self, name):
        rng, spec = self.rng, {}
        if rng.random() < 0.5:
            spec["protocol"] = rng.choice(["http", "grpc", "tcp"])
        if rng.random() < 0.5:
            spec["port"] = rng.randint(1, 65535)
        if rng.random() < 0.3:
            spec["hosts"] = [name, f"{name}.stack.svc.cluster.local"]
        if rng.random() < 0.3:
            spec["dependsOn"] = rng.sample(self.services, 2)
        if name in self.pinned:
            spec["pinned"] = True
        if rng.random() < 0.3:
            spec["policy"] = {"balance": "least-request", "timeout": "15s"}
        return self._head("Service", name, spec)

    def _when(self, t):
        zone = timezone(timedelta(hours=self.rng.choice([0, 0, 2, -5])))
        text = datetime.fromtimestamp(t, tz=zone).isoformat()
        return text.replace("+00:00", "Z") if self.rng.random() < 0.7 else text

    def _environment(self, name):
        env, rng = self.envs[name], self.rng
        spec = {"mode": env["mode"]}
        said = env["statements"]
        if len(env["parents"]) == 1 and rng.random() < 0.7:
            spec["parent"] = env["parents"][0]
        elif env["parents"]:
            spec["parents"] = env["parents"]
        if rng.random() < 0.3:
            spec["owner"] = "team-" + name
        if env["expires"] is not None:
            spec["expires"] = self._when(env["expires"])
        if env["priority"] is not None:
            spec["priority"] = env["priority"]
        if rng.random() < 0.2:
            spec["strict"] = rng.choice([True, False])
        if rng.random() < 0.2:
            spec["access"] = rng.choice(["public", "token", {"subjects": ["spiffe://x/y"]}])
        providers = {}
        for s, (kind, endpoints) in said.items():
            if kind == PROVIDES:
                providers[s] = {"endpoints": endpoints}
                if rng.random() < 0.1:
                    providers[s]["artifact"] = f"registry/{s}@sha256:{rng.getrandbits(64):016x}"
                if rng.random() < 0.1:
                    providers[s]["region"] = rng.choice(["eu-west-1", "us-east-2"])
        if providers:
            spec["providers"] = providers
        uses = {s: x for s, (kind, x) in said.items() if kind == USE}
        if uses:
            spec["use"] = uses
        removed = [s for s, (kind, _) in said.items() if kind == REMOVE]
        if removed:
            spec["remove"] = removed
        labels = {"labels": {"team": name, "b": "1"}} if rng.random() < 0.2 else {}
        return self._head("Environment", name, spec, **labels)

    def _gateway(self):
        routes = [{"path": f"/{s}", "service": s} for s in self.services[:5]]
        select = [{"header": "x-env"}, {"host": "*.preview.example.com"}]
        return self._head("Gateway", "edge", {"defaultEnvironment": "main", "select": select,
                                              "routes": routes})  # fmt: skip


# ---- writing ----


def shuffled(rng, value):
    """The same document with its keys in another order. Lists keep theirs: they mean it."""
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {k: shuffled(rng, value[k]) for k in keys}
    return value


def scalar(rng, value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    style = rng.random()
    if style < 0.15:
        return f"'{value}'"
    if style < 0.3 or not value[0].isalnum() or ": " in value:
        return json.dumps(value)
    return value


def flow(rng, value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {flow(rng, v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(rng, v) for v in value) + "]"
    # In a flow collection a plain address would end at its brackets or be taken for a key.
    if isinstance(value, str) and (":" in value or value[0] in "[*"):
        return json.dumps(value)
    return scalar(rng, value)


def block(rng, value, indent, lines):
    pad = " " * indent
    for key, v in value.items():
        if rng.random() < 0.03:
            lines.append(rng.choice(["", pad + "# a comment"]))
        if isinstance(v, (dict, list)) and (not v or rng.random() < 0.3):
            lines.append(f"{pad}{key}: {flow(rng, v)}")
        elif isinstance(v, dict):
            lines.append(f"{pad}{key}:")
            block(rng, v, indent + rng.choice([2, 4]), lines)
        elif isinstance(v, list):
            lines.append(f"{pad}{key}:")
            lines.extend(f"{pad}- {flow(rng, item)}" for item in v)
        else:
            lines.append(f"{pad}{key}: {scalar(rng, v)}")


def document_text(rng, document):
    lines = []
    block(rng, document, 0, lines)
    return "\n".join(lines) + "\n"


def write_graph(rng, documents, folder):
    """Writes the documents, shuffled in every way, into some files of a folder."""
    documents = [shuffled(rng, d) for d in documents]
    rng.shuffle(documents)
    count = rng.randint(1, 6)
    files = [[] for _ in range(count)]
    for d in documents:
        rng.choice(files).append(d)
    for i, content in enumerate(files):
        if len(content) == 1 or (content and rng.random() < 0.1):
            for j, d in enumerate(content):
                path = os.path.join(folder, f"{i}-{j}.json")
                with open(path, "w", encoding="utf-8") as f:
                    json.dump(d, f, indent=rng.choice([None, 1, 4]))
            continue
        marks = ["---\n", "--- # next\n"]
        text = "".join(rng.choice(marks) + document_text(rng, d) for d in content)
        with open(os.path.join(folder, f"{i}.yaml"), "w", encoding="utf-8") as f:
            f.write(text)
