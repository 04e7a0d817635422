"""A second resolver, as plain as it can be, to compare the real one with.

It shares nothing with the programs: it reads the YAML itself (through PyYAML's nodes, which know
their lines), takes its lineages from Python's own method resolution order, and follows the rules of
docs/graph-reference.md word by word, slowly. It reads valid graphs only.
"""

import os
from datetime import datetime

import yaml

REFUSAL_STATUS = {
    "unknown-environment": 404,
    "expired": 410,
    "no-service": 404,
    "removed": 404,
    "no-provider": 503,
}
PROVIDES, USE, REMOVE = "provides", "use", "remove"


def source_files(path):
    """As a PATH of the programs: a file, or the YAML and JSON files of a folder, by name."""
    if not os.path.isdir(path):
        return [path]
    names = sorted(n for n in os.listdir(path)
                   if n.endswith((".yaml", ".yml", ".json")) and not n.startswith("."))  # fmt: skip
    return [os.path.join(path, n) for n in names]


def items(mapping):
    return {key.value: (key, value) for key, value in mapping.value} if mapping else {}


def texts(node):
    return [n.value for n in node.value] if node else []


def line_of(node):
    return node.start_mark.line + 1


def seconds(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


class Statement:
    def __init__(self, kind, value, origin):
        self.kind, self.value, self.origin = kind, value, origin


class Environment:
    def __init__(self, file, doc):
        spec = items(doc["spec"][1])
        self.name = items(doc["metadata"][1])["name"][1].value
        self.mode = spec["mode"][1].value
        self.parents = texts(spec["parents"][1]) if "parents" in spec else []
        if "parent" in spec:
            self.parents = [spec["parent"][1].value]
        self.priority = int(spec["priority"][1].value) if "priority" in spec else 0
        self.expires = self.expires_origin = None
        if "expires" in spec:
            key, value = spec["expires"]
            self.expires, self.expires_origin = seconds(value.value), f"{file}:{line_of(key)}"
        self.statements = {}
        self._read_statements(file, spec)

    def _read_statements(self, file, spec):
        for service, (key, value) in items(spec.get("providers", (0, None))[1]).items():
            endpoints = []
            for node in items(value)["endpoints"][1].value:
                written = node.value if isinstance(node, yaml.ScalarNode) else None
                endpoints.append(written or items(node)["address"][1].value)
            self.statements[service] = Statement(PROVIDES, endpoints, f"{file}:{line_of(key)}")
        for service, (key, value) in items(spec.get("use", (0, None))[1]).items():
            self.statements[service] = Statement(USE, value.value, f"{file}:{line_of(key)}")
        for node in spec["remove"][1].value if "remove" in spec else []:
            self.statements[node.value] = Statement(REMOVE, None, f"{file}:{line_of(node)}")


class Graph:
    def __init__(self, path):
        self.environments, self.services = {}, set()
        for file in source_files(path):
            with open(file, encoding="utf-8") as f:
                for root in yaml.compose_all(f, Loader=yaml.CSafeLoader):
                    if root is not None:
                        self._add(file, items(root))
        self.classes = {}
        self.lineages = {name: self._lineage(name) for name in self.environments}

    def _add(self, file, doc):
        kind = doc["kind"][1].value
        if kind == "Service":
            self.services.add(items(doc["metadata"][1])["name"][1].value)
        elif kind == "Environment":
            env = Environment(file, doc)
            self.environments[env.name] = env

    def _class(self, name):
        if name not in self.classes:
            parents = self.environments[name].parents
            self.classes[name] = type(name, tuple(self._class(p) for p in parents), {})
        return self.classes[name]

    def _lineage(self, name):
        order = [c.__name__ for c in self._class(name).__mro__[:-1]]
        return [self.environments[n] for n in order]

    # ---- the rules ----

    def resolve(self, name, service, now):
        """The object that `offshootctl resolve --json` prints, as a dict."""
        if name not in self.environments:
            return refusal(name, service, "unknown-environment")
        lineage = self.lineages[name]
        for env in lineage:
            if expired(env, now):
                return refusal(name, service, "expired", env.expires_origin)
        if service not in self.services:
            return refusal(name, service, "no-service")
        for distance, env in enumerate(lineage):
            statement = env.statements.get(service)
            if statement:
                return self._by_statement(name, service, now, env, statement, distance)
        return self._shared(name, service, now)

    def _by_statement(self, name, service, now, env, statement, distance):
        if statement.kind == REMOVE:
            return refusal(name, service, "removed", statement.origin)
        if statement.kind == USE:
            return self._use(name, service, now, statement, distance)
        cls = "ancestor"
        if env.name == name:
            cls = "local"
        elif env.mode == "baseline":
            cls = "baseline"
        return decision(name, service, cls, env.name, distance, statement.origin, statement.value)

    def _use(self, name, service, now, statement, distance):
        lineage = self.lineages[statement.value]
        if any(expired(env, now) for env in lineage):
            return refusal(name, service, "expired", statement.origin)
        for env in lineage:
            found = env.statements.get(service)
            if found:
                assert found.kind == PROVIDES, "a `use` that meets no provider"
                return decision(name, service, "explicit", env.name, distance, statement.origin,
                                found.value)  # fmt: skip
        raise AssertionError("a `use` that meets nothing")

    def _shared(self, name, service, now):
        pools = [e for e in self.environments.values() if e.mode == "shared"]
        pools = [e for e in pools if service in e.statements]
        pools = [e for e in pools if e.statements[service].kind == PROVIDES]
        if not pools:
            return refusal(name, service, "no-provider")
        pool = max(pools, key=lambda e: e.priority)
        if expired(pool, now):
            return refusal(name, service, "expired", pool.expires_origin)
        found = pool.statements[service]
        return decision(name, service, "shared", pool.name, -1, found.origin, found.value)


def expired(env, now):
    return env.expires is not None and now >= env.expires


def answer(name, service, outcome, **more):
    empty = {"class": None, "provider": None, "distance": None, "origin": None, "epoch": 0,
             "endpoints": [], "refusal": None, "status": None}  # fmt: skip
    return {"environment": name, "service": service, "outcome": outcome, **empty, **more}


def decision(name, service, cls, provider, distance, origin, endpoints):
    return answer(name, service, "provider", **{"class": cls}, provider=provider,
                  distance=distance, origin=origin, endpoints=endpoints)  # fmt: skip


def refusal(name, service, word, origin=None):
    return answer(name, service, "refused", refusal=word, status=REFUSAL_STATUS[word],
                  origin=origin)  # fmt: skip
