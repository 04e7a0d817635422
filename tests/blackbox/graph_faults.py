"""Single faults of the valid graphs in graph_samples: an edit, and the one finding it must give."""

from graph_samples import at, environment, gateway, service, shop, small
from graph_writer import Raw

LONG = "a" * 63


class Fault:
    """`where` is a place as of Graph.set, with `!` before it for the key instead of the value."""

    def __init__(self, title, code, where, edit, severity="error", related=None, hint=None,
                 graph=shop):
        self.title = title
        self.code = code
        self.where = where
        self.edit = edit
        self.severity = severity
        self.related = related
        self.hint = hint
        self.graph = graph


FAULTS = []


def fault(code, where, edit, **more):
    title = f"{len(FAULTS):03} {code} {where}"
    FAULTS.append(Fault(title, code, where, edit, **more))


def put(place, value):
    return lambda graph: graph.set(place, value)


def drop(place):
    return lambda graph: graph.drop(place)


def add(doc, *edits):
    def edit(graph):
        graph.add(doc.label, doc.tree)
        for more in edits:
            more(graph)

    return edit


def both(*edits):
    def edit(graph):
        for more in edits:
            more(graph)

    return edit


def wrong(code, place, *values):
    """Each value at `place` is the fault, told at that value."""
    for value in values:
        fault(code, place, put(place, value))


def overlay(name, **spec):
    return environment(name, **{"mode": "overlay", "parent": "main", **spec})


def unknown_fields():
    for place, near in (
        ("s.cart:apiversion", "apiVersion"), ("s.cart:knd", "kind"), ("s.cart:specs", "spec"),
        ("s.cart:metdata", "metadata"), ("s.cart:metadata/label", "labels"),
        ("s.cart:spec/protocols", "protocol"), ("s.cart:spec/host", "hosts"),
        ("s.cart:spec/propagate", "propagates"), ("s.cart:spec/dependson", "dependsOn"),
        ("s.cart:spec/pined", "pinned"), ("s.cart:spec/polcy", "policy"),
        ("s.cart:spec/policy/balnce", "balance"), ("s.cart:spec/policy/timeOut", "timeout"),
        ("s.cart:spec/policy/connectTimeouts", "connectTimeout"),
        ("s.cart:spec/policy/health/paths", "path"),
        ("s.cart:spec/policy/health/intervall", "interval"),
        ("s.cart:spec/policy/retries/maxx", "max"),
        ("s.cart:spec/policy/retries/budgets", "budget"),
        ("e.main:metadata/nam", "name"), ("e.main:spec/modes", "mode"),
        ("e.main:spec/ownr", "owner"), ("e.main:spec/provider", "providers"),
        ("e.main:spec/providers/cart/endpoint", "endpoints"),
        ("e.main:spec/providers/cart/artefact", "artifact"),
        ("e.main:spec/providers/cart/regions", "region"),
        ("e.main:spec/providers/inventory/endpoints/0/adress", "address"),
        ("e.main:spec/providers/inventory/endpoints/1/weights", "weight"),
        ("e.feat-42:spec/parrents", "parents"), ("e.feat-42:spec/uses", "use"),
        ("e.feat-42:spec/removed", "remove"), ("e.feat-42:spec/expire", "expires"),
        ("e.pool-a:spec/prioritys", "priority"), ("e.feat-42:spec/Strict", "strict"),
        ("e.feat-42:spec/acces", "access"), ("e.deep:spec/access/subject", "subjects"),
        ("g.edge:spec/defaultEnvironments", "defaultEnvironment"),
        ("g.edge:spec/overlayaccess", "overlayAccess"), ("g.edge:spec/pinHost", "pinHosts"),
        ("g.edge:spec/selects", "select"), ("g.edge:spec/route", "routes"),
        ("g.edge:spec/select/1/headers", "header"), ("g.edge:spec/routes/0/hosts", "host"),
        ("g.edge:spec/routes/0/paths", "path"), ("g.edge:spec/routes/0/svc", None),
        ("g.edge:spec/zzzzzzzz", None),
    ):
        fault("unknown-field", "!" + place, put(place, "x"), hint=near)


def missing_fields():
    fault("missing-field", "s.promo:metadata", put("s.promo:metadata", {"labels": {"a": "b"}}))
    for label, tree in (
        ("x.kind", {"metadata": {"name": "odd"}, "spec": {}}),
        ("x.meta", {"kind": "Service", "spec": {"port": 1}}),
        ("x.meta-env", {"kind": "Environment", "spec": {"mode": "baseline"}}),
        ("x.meta-gateway", {"kind": "Gateway", "spec": {"routes": []}}),
    ):
        fault("missing-field", label + ":", lambda g, label=label, tree=tree: g.add(label, tree))
    fault("missing-field", "e.odd:metadata", add(overlay("odd"), drop("e.odd:metadata/name"),
                                                 put("e.odd:metadata/labels", {"a": "b"})))
    fault("missing-field", "e.odd:spec", add(overlay("odd"), drop("e.odd:spec/mode")))
    fault("missing-field", "e.main:spec/providers/cart",
          drop("e.main:spec/providers/cart/endpoints"))
    fault("missing-field", "e.main:spec/providers/inventory/endpoints/0",
          drop("e.main:spec/providers/inventory/endpoints/0/address"))
    fault("missing-field", "g.edge:spec/routes/0", drop("g.edge:spec/routes/0/service"))
    fault("missing-field", "g.edge:spec/routes/3", drop("g.edge:spec/routes/3/path"))


def kinds():
    wrong("type", "s.cart:kind", "service", "Servce", {"a": "b"}, ["Service"], "")
    wrong("type", "e.feat-17:kind", "Enviroment")
    wrong("type", "g.edge:kind", "Gatway")
    wrong("type", "s.cart:apiVersion", "offshoot.dev/v2", "v1", ["offshoot.dev/v1"])
    wrong("type", "s.cart:metadata", "cart", ["cart"])
    wrong("type", "s.cart:spec", "http", ["http"])
    wrong("type", "e.main:spec", "baseline", [])
    wrong("type", "g.edge:spec", "x")


def service_types():
    spec = "s.cart:spec/"
    wrong("type", spec + "protocol", "htp", "HTTP", "", ["http"], {"http": "1"})
    wrong("type", spec + "port", "8080", Raw("0"), Raw("65536"), Raw("-1"), Raw("1.5"),
          Raw("1e3"), Raw("0x50"), Raw("99999999999999999999"), True, ["80"], "http")
    wrong("type", spec + "hosts", "cart", {"cart": "x"}, {})
    wrong("type", spec + "hosts/1", ["x"], {"a": "b"})
    wrong("type", spec + "propagates", "maybe", "True", Raw("yes"), ["true"])
    wrong("type", spec + "dependsOn", "pricing", {"pricing": "x"})
    wrong("type", spec + "dependsOn/0", ["pricing"], {"name": "pricing"})
    wrong("type", spec + "pinned", "yes", "true", Raw("1"), [], Raw("True"))
    wrong("type", spec + "state", "Shared", "isolate", ["none"])
    wrong("type", spec + "shadow", "allow", True)
    wrong("type", spec + "policy", "fast", [])
    wrong("type", spec + "policy/balance", "least-requests", "random-ish")
    wrong("type", spec + "policy/timeout", "15", Raw("15"), "fast", "15 s", "-1s", ["15s"], "s")
    wrong("type", spec + "policy/connectTimeout", "1", "1sec")
    wrong("type", spec + "policy/health", "/healthz", ["/healthz"])
    wrong("type", spec + "policy/health/path", ["/"], "healthz")
    wrong("type", spec + "policy/health/interval", "5", "often")
    wrong("type", spec + "policy/retries", Raw("1"), [])
    wrong("type", spec + "policy/retries/max", "1", Raw("-1"), "one", Raw("1.0"))
    wrong("type", spec + "policy/retries/budget", "20", Raw("20"), "101%", "-1%", "%", "a%")


def environment_types():
    wrong("type", "e.feat-42:spec/mode", "overlays", "Overlay", "pool", ["overlay"])
    wrong("type", "e.main:spec/mode", "base", "")
    wrong("type", "e.pool-a:spec/mode", "pools")
    wrong("type", "e.main:spec/owner", ["platform"], {"team": "platform"})
    wrong("type", "e.main:metadata/labels", "team", ["team"])
    wrong("type", "e.main:metadata/labels/team", ["platform"], {"a": "b"})
    wrong("type", "e.main:spec/providers", "cart", ["cart"])
    wrong("type", "e.main:spec/providers/cart", "10.1.0.5:8080", ["10.1.0.5:8080"])
    wrong("type", "e.main:spec/providers/cart/endpoints", "10.1.0.5:8080", {"address": "x:1"})
    wrong("type", "e.main:spec/providers/cart/endpoints/0", ["10.1.0.5:8080"])
    wrong("type", "e.main:spec/providers/cart/artifact", ["a"], {"a": "b"})
    wrong("type", "e.main:spec/providers/cart/region", ["a"])
    weight = "e.main:spec/providers/inventory/endpoints/0/weight"
    wrong("type", weight, Raw("0"), Raw("1001"), "100", Raw("-5"), Raw("0.5"), True, [])
    wrong("type", "e.main:spec/providers/inventory/endpoints/0/address", ["10.1.0.7:5432"])
    wrong("type", "e.team-a:spec/parent", ["main"], {"name": "main"})
    wrong("type", "e.feat-42:spec/parents", "team-a", {"team-a": "feat-17"})
    wrong("type", "e.feat-42:spec/parents/0", ["team-a"], {"name": "team-a"})
    wrong("type", "e.feat-42:spec/use", "feat-17", ["pricing"])
    wrong("type", "e.feat-42:spec/use/pricing", ["feat-17"], {"env": "feat-17"})
    wrong("type", "e.feat-42:spec/remove", "promo", {"promo": True})
    wrong("type", "e.feat-42:spec/remove/0", ["promo"], {"name": "promo"})
    wrong("type", "e.pool-a:spec/priority", "10", "high", Raw("1.5"), True, ["10"])
    wrong("type", "e.feat-42:spec/strict", "true", "yes", Raw("1"), Raw("on"), [])
    wrong("type", "e.feat-42:spec/access", "private", "Public", True, ["public"])
    wrong("type", "e.deep:spec/access/subjects", "spiffe://example.org/ci", {"a": "b"})
    wrong("type", "e.deep:spec/access/subjects/0", ["spiffe://example.org/ci"])


def gateway_types():
    spec = "g.edge:spec/"
    wrong("type", spec + "defaultEnvironment", ["main"], {"name": "main"})
    wrong("type", spec + "overlayAccess", "tokens", "private", True, ["token"])
    wrong("type", spec + "pinHosts", "shop.example.com", {"a": "b"})
    wrong("type", spec + "pinHosts/0", ["a"])
    wrong("type", spec + "select", "header", {"header": "x"})
    wrong("type", spec + "select/1", "x-offshoot-env", ["header"])
    wrong("type", spec + "select/1/header", ["x-offshoot-env"])
    wrong("type", spec + "routes", "web", {"path": "/"})
    wrong("type", spec + "routes/3", "web", ["/"])
    wrong("type", spec + "routes/3/path", ["/"], {"a": "b"})
    wrong("type", spec + "routes/3/service", ["web"])
    wrong("type", spec + "routes/0/host", ["shop.example.com"])
    wrong("type", spec + "routes/2/path", "api", "")


BAD_NAMES = ("Cart", "-cart", "cart-", "ca_rt", "ca.rt", "ca rt", "kärt", "", "a" * 64)


def names():
    for bad in BAD_NAMES:
        fault("name", "s.odd:metadata/name", add(service("odd"), put("s.odd:metadata/name", bad)))
        fault("name", "e.odd:metadata/name", add(overlay("odd"), put("e.odd:metadata/name", bad)))
        fault("name", "g.odd:metadata/name", add(gateway("odd", routes=[]),
                                                 put("g.odd:metadata/name", bad)))
    fault("type", "s.odd:metadata/name", add(service("odd"), put("s.odd:metadata/name", ["odd"])))
    # What refers to a service or environment whose name is broken is not judged.
    for place in ("s.cart", "s.pricing", "e.main", "e.eu", "e.team-a", "e.feat-17", "e.pool-b",
                  "g.edge"):
        wrong("name", place + ":metadata/name", "Cart")
    for place in ("s.cart", "e.main", "e.team-a"):
        fault("missing-field", place + ":metadata",
              put(place + ":metadata", {"labels": {"a": "b"}}))
        fault("missing-field", place + ":", drop(place + ":metadata"))
        fault("missing-field", place + ":", drop(place + ":kind"))


BAD_ADDRESSES = (
    "", "10.1.0.5", "10.1.0.5:", "10.1.0.5:0", "10.1.0.5:65536", "10.1.0.5:http", "10.1.0:80",
    "10.1.0.256:80", "10.01.0.5:80", "0x0a.1.0.5:80", "10.1.0.5:80:81", "2001:db8::1:80",
    "[2001:db8::1]", "[2001:db8::1]:", "[2001:db8::g]:80", "[10.1.0.5]:80", ":80", "cart", "cart:",
    "ca rt:80", "-cart:80", "cart..svc:80", "http://cart:80", "cart:80/", "unix:", "unix:run/x",
    "unix:/" + "a" * 107, "tunnel:NAME", "cart:080000", "10.1.0.5:+80", "a" * 64 + ".svc:80",
)


def addresses():
    wrong("address", "e.main:spec/providers/cart/endpoints/0", *BAD_ADDRESSES)
    wrong("address", "e.main:spec/providers/inventory/endpoints/1/address", "[::1]", "x", "unix:")


BAD_DATES = (
    "2030-12-01", "2030-12-01T00:00:00", "2030-12-01 00:00", "2030-13-01T00:00:00Z",
    "2030-00-01T00:00:00Z", "2030-02-30T00:00:00Z", "2030-12-00T00:00:00Z",
    "2030-12-32T00:00:00Z", "2030-12-01T24:00:00Z", "2030-12-01T00:60:00Z",
    "2030-12-01T00:00:61Z", "2030-12-01T00:00:00+25:00", "2030-12-01T00:00:00+0100",
    "2030-12-01T00:00:00.Z", "2030-12-01T00:00Z", "30-12-01T00:00:00Z", "4h", "tomorrow", "",
    "2029-02-29T00:00:00Z", "2030-12-01T00:00:00Z ", "1922313600", "2030-12-01T00:00:00UTC",
)


def dates():
    wrong("date", "e.feat-42:spec/expires", *BAD_DATES)
    wrong("type", "e.feat-42:spec/expires", ["2030-12-01T00:00:00Z"], {"a": "b"})


def duplicates():
    for again, first in (
        (service("cart", port=1), "s.cart"), (environment("main", mode="baseline"), "e.main"),
        (overlay("team-a"), "e.team-a"), (gateway("inner", routes=[]), "g.inner"),
        (environment("pool-a", mode="shared"), "e.pool-a"),
    ):
        again.label = "x.again"
        fault("duplicate", "x.again:metadata/name", add(again),
              related=f"{first}:metadata/name")
    # What stands on a name that is there twice is not judged, whichever document comes first.
    for again, first in (
        (environment("main", mode="baseline"), "e.main"),
        (environment("main", mode="shared", priority=10, providers={"search": at("a:1")}),
         "e.main"),
        (environment("team-a", mode="overlay", parent="deep"), "e.team-a"),
        (environment("team-a", mode="overlay", parent="eu", remove=["cart"]), "e.team-a"),
        (environment("feat-17", mode="overlay", parent="main", remove=["pricing"]), "e.feat-17"),
        (environment("pool-a", mode="shared", priority=5, providers={"search": at("a:1")}),
         "e.pool-a"),
        (service("pricing", pinned=True), "s.pricing"),
    ):
        again.label = "x.again"
        fault("duplicate", "x.again:metadata/name",
              lambda graph, again=again: graph.docs.insert(0, again),
              related=f"{first}:metadata/name")
    for mapping, key, value in (
        ("s.cart:", "kind", "Service"), ("s.cart:", "spec", {}), ("s.cart:spec/", "port", 80),
        ("s.cart:metadata/", "name", "cart"), ("s.cart:spec/policy/", "timeout", "15s"),
        ("e.main:spec/", "providers", {}), ("e.main:spec/providers/", "cart", at("10.0.0.1:1")),
        ("e.main:spec/providers/cart/", "region", "x"), ("e.main:metadata/labels/", "team", "x"),
        ("e.feat-42:spec/use/", "pricing", "team-a"), ("e.feat-42:spec/", "mode", "overlay"),
        ("e.feat-42:spec/", "parents", ["main"]), ("g.edge:spec/", "routes", []),
        ("g.edge:spec/routes/0/", "path", "/x"), ("g.edge:spec/select/0/", "host", "*.x.example"),
        ("e.main:spec/providers/inventory/endpoints/0/", "weight", 5),
    ):
        place = f"{mapping}{key}#2"
        fault("duplicate", "!" + place, put(place, value), related=f"!{mapping}{key}")


def references():
    wrong("unknown-parent", "e.team-a:spec/parent", "nowhere", "Main", "cart")
    wrong("unknown-parent", "e.feat-42:spec/parents/0", "teama")
    wrong("unknown-parent", "e.feat-42:spec/parents/1", "feat-71")
    fault("unknown-parent", "e.feat-42:spec/parents/2", put("e.feat-42:spec/parents/2", "gone"))
    wrong("unknown-service", "s.cart:spec/dependsOn/0", "prcing", "main")
    fault("unknown-service", "s.cart:spec/dependsOn/2", put("s.cart:spec/dependsOn/2", "nope"))
    wrong("unknown-service", "e.feat-42:spec/remove/0", "prom")
    for label in ("e.main", "e.team-a", "e.pool-a", "e.deep"):
        place = f"{label}:spec/providers/nope"
        fault("unknown-service", "!" + place, put(place, at("10.0.0.1:1")))
    fault("unknown-service", "!e.feat-42:spec/use/nope", put("e.feat-42:spec/use/nope", "feat-17"))
    fault("unknown-service", "!e.eu:spec/use/nope", put("e.eu:spec/use/nope", "main"))
    wrong("unknown-service", "g.edge:spec/routes/0/service", "carts", "main")
    wrong("unknown-service", "g.inner:spec/routes/0/service", "nope")
    wrong("unknown-environment", "e.feat-42:spec/use/pricing", "feat-71", "pricing")
    wrong("unknown-environment", "e.eu:spec/use/web", "nowhere")
    wrong("unknown-environment", "e.eu-feat:spec/use/search", "pool-c")
    wrong("unknown-environment", "g.edge:spec/defaultEnvironment", "mian", "cart")


def lineages():
    fault("cycle", "e.odd:spec/parent", add(overlay("odd", parent="odd")))
    fault("contradiction", "!e.team-a:spec/parents", put("e.team-a:spec/parents", ["main"]),
          related="!e.team-a:spec/parent")
    fault("overlay-without-parent", "e.team-a:metadata/name", drop("e.team-a:spec/parent"))
    fault("overlay-without-parent", "e.odd:metadata/name",
          add(overlay("odd"), drop("e.odd:spec/parent")))
    fault("baseline-with-parent", "!e.eu:spec/parent", put("e.eu:spec/parent", "main"))
    fault("baseline-with-parent", "!e.eu:spec/parents", put("e.eu:spec/parents", ["main"]))
    fault("shared-parent", "!e.pool-a:spec/parent", put("e.pool-a:spec/parent", "main"))
    fault("shared-parent", "e.odd:spec/parent", add(overlay("odd", parent="pool-a")))
    fault("shared-parent", "e.odd:spec/parents/1",
          add(overlay("odd", parents=["main", "pool-b"]), drop("e.odd:spec/parent")))
    fault("two-baselines", "e.odd:spec/parents", add(overlay("odd", parents=["team-a", "eu-feat"]),
                                                     drop("e.odd:spec/parent")))
    fault("two-baselines", "e.odd:spec/parents",
          add(overlay("odd", parents=["main", "eu"]), drop("e.odd:spec/parent")))
    fault("no-linearisation", "e.odd:spec/parents",
          add(overlay("odd", parents=["main", "team-a"]), drop("e.odd:spec/parent")))
    fault("no-linearisation", "e.odd:spec/parents",
          add(overlay("odd", parents=["feat-42", "mix"]), drop("e.odd:spec/parent"),
              add(overlay("mix", parents=["feat-17", "team-a"], use={"pricing": "main"}),
                  drop("e.mix:spec/parent"))))
    fault("depth", "e.d15:spec/parent", chain(16))
    standing_on_broken()


def standing_on_broken():
    """Environments below a broken lineage, or with a `use` into one, are not judged."""
    below = add(overlay("below", parent="odd", use={"search": "odd", "promo": "odd"}))
    fault("depth", "e.d15:spec/parent", chain(20))
    fault("cycle", "e.odd:spec/parent", both(add(overlay("odd", parent="odd")), below))
    fault("unknown-parent", "e.odd:spec/parent", both(add(overlay("odd", parent="gone")), below))
    fault("overlay-without-parent", "e.odd:metadata/name",
          both(add(overlay("odd")), drop("e.odd:spec/parent"), below))
    fault("shared-parent", "e.odd:spec/parent", both(add(overlay("odd", parent="pool-a")), below))
    for code, parents in (("two-baselines", ["main", "eu"]),
                          ("no-linearisation", ["main", "team-a"])):
        fault(code, "e.odd:spec/parents", both(
            add(overlay("odd", parents=parents)), drop("e.odd:spec/parent"), below))
    fault("conflict", "e.odd:spec/parents", both(
        add(overlay("odd", parents=["team-a", "feat-17"])), drop("e.odd:spec/parent"),
        add(overlay("below", parent="odd")), add(overlay("lower", parent="below"))),
          related=["!e.team-a:spec/providers/pricing", "!e.feat-17:spec/providers/pricing"])
    fault("unknown-environment", "e.odd:spec/use/search", both(
        add(overlay("odd", use={"search": "gone"})), add(overlay("below", parent="odd"))))


def chain(count):
    """`count` overlays d0 … above main: the lineage of the last has count + 1 environments."""
    docs = [overlay(f"d{n}", parent=f"d{n - 1}" if n else "main") for n in range(count)]
    return both(*[add(doc) for doc in docs])


def ring(count):
    docs = [overlay(f"r{n}", parent=f"r{(n + 1) % count}") for n in range(count)]
    return both(*[add(doc) for doc in docs])


def statements():
    fault("contradiction", "!e.feat-42:spec/use/cart", put("e.feat-42:spec/use/cart", "feat-17"),
          related="!e.feat-42:spec/providers/cart")
    fault("contradiction", "e.feat-42:spec/remove/1", put("e.feat-42:spec/remove/1", "cart"),
          related="!e.feat-42:spec/providers/cart")
    fault("contradiction", "e.feat-42:spec/remove/1", put("e.feat-42:spec/remove/1", "pricing"),
          related="!e.feat-42:spec/use/pricing")
    fault("contradiction", "e.eu:spec/remove/1", put("e.eu:spec/remove/1", "cart"),
          related="!e.eu:spec/providers/cart")
    fault("dangling-use", "e.eu:spec/use/search", put("e.eu:spec/use/search", "main"))
    fault("dangling-use", "e.feat-42:spec/use/search", put("e.feat-42:spec/use/search", "feat-17"))
    fault("dangling-use", "e.deep:spec/use/cart", put("e.deep:spec/use/cart", "pool-a"))
    fault("dangling-use", "e.deep:spec/use/promo", put("e.deep:spec/use/promo", "eu"))
    fault("use-chain", "e.deep:spec/use/pricing", put("e.deep:spec/use/pricing", "eu"))
    fault("use-chain", "e.deep:spec/use/pricing", put("e.deep:spec/use/pricing", "feat-42"))
    fault("use-chain", "e.odd:spec/use/search",
          add(overlay("odd", use={"search": "eu-feat"})))
    fault("pinned-override", "!e.team-a:spec/providers/vault",
          put("e.team-a:spec/providers/vault", at("10.0.0.1:1")))
    fault("pinned-override", "!e.feat-42:spec/use/vault", put("e.feat-42:spec/use/vault", "main"))
    fault("pinned-override", "e.feat-42:spec/remove/1", put("e.feat-42:spec/remove/1", "vault"))
    fault("ambiguous-shared", "!e.pool-b:spec/providers/search", put("e.pool-b:spec/priority", 10),
          related="!e.pool-a:spec/providers/search")
    fault("ambiguous-shared", "!e.pool-c:spec/providers/search",
          add(environment("pool-c", mode="shared", priority=10, providers={
              "search": at("10.3.0.3:1")})), related="!e.pool-a:spec/providers/search")
    for edit in (drop("e.feat-42:spec/use/pricing"), put("e.feat-42:spec/use", {})):
        fault("conflict", "e.feat-42:spec/parents", edit,
              related=["!e.team-a:spec/providers/pricing", "!e.feat-17:spec/providers/pricing"])
    fault("conflict", "e.feat-42:spec/parents", both(
        drop("e.feat-42:spec/remove"), put("e.team-a:spec/providers/promo", at("10.0.0.1:1")),
        put("e.feat-17:spec/remove", ["promo"])),
          related=["!e.team-a:spec/providers/promo", "e.feat-17:spec/remove/0"])
    fault("conflict", "e.feat-42:spec/parents", both(
        put("e.team-a:spec/use", {"search": "pool-a"}),
        put("e.feat-17:spec/use", {"search": "pool-b"})),
          related=["e.team-a:spec/use/search", "e.feat-17:spec/use/search"])


def claims():
    fault("host-claimed-twice", "s.web:spec/hosts/2",
          put("s.web:spec/hosts/2", "cart.shop.svc.cluster.local"), related="s.cart:spec/hosts/1")
    fault("host-claimed-twice", "s.web:spec/hosts/2",
          put("s.web:spec/hosts/2", "CART.shop.svc.cluster.local."), related="s.cart:spec/hosts/1")
    fault("host-claimed-twice", "s.web:spec/hosts/2", put("s.web:spec/hosts/2", "cart"),
          related="s.cart:spec/hosts/0")
    fault("host-claimed-twice", "s.vault:metadata/name", put("s.web:spec/hosts/2", "vault"),
          related="s.web:spec/hosts/2")
    fault("host-claimed-twice", "s.search:spec/hosts/0",
          put("s.search:spec/hosts", ["pricing"]), related="s.pricing:metadata/name")
    for route in ({"path": "/api", "service": "cart"}, {"path": "/api/", "service": "cart"},
                  {"path": "/", "service": "web"}, {"path": "/%61pi", "service": "web"},
                  {"path": "/x/../api", "service": "web"}):
        first = 3 if route["path"] == "/" else 2
        fault("route-claimed-twice", "g.edge:spec/routes/4/path",
              put("g.edge:spec/routes/4", route), related=f"g.edge:spec/routes/{first}/path")
    for host in ("shop.example.com", "SHOP.example.com", "shop.example.com."):
        fault("route-claimed-twice", "g.edge:spec/routes/4/path", put("g.edge:spec/routes/4", {
            "host": host, "path": "/api/cart", "service": "web"}),
              related="g.edge:spec/routes/0/path")
    fault("route-claimed-twice", "g.edge:spec/routes/4/path", put("g.edge:spec/routes/4", {
        "host": "*.EXAMPLE.com", "path": "/", "service": "web"}),
          related="g.edge:spec/routes/1/path")


def warnings():
    def warn(code, where, edit, **more):
        fault(code, where, edit, severity="warning", **more)

    warn("unprovided-service", "s.odd:metadata/name", add(service("odd")))
    warn("unprovided-service", "s.vault:metadata/name", drop("e.main:spec/providers/vault"))
    warn("baseline-expires", "e.eu:spec/expires",
         put("e.eu:spec/expires", "2031-01-01T00:00:00Z"))
    warn("outlives-parent", "e.feat-42:spec/expires",
         put("e.team-a:spec/expires", "2030-11-30T23:59:59Z"), related="e.team-a:spec/expires")
    warn("outlives-parent", "e.deep:spec/expires",
         put("e.deep:spec/expires", "2030-12-01T00:00:01Z"), related="e.feat-42:spec/expires")
    warn("outlives-parent", "e.deep:spec/expires",
         put("e.deep:spec/expires", "2030-12-01T01:00:00+00:30"),
         related="e.feat-42:spec/expires")


def without_environments():
    """`empty` is told at the first line of the first file: Service and Gateway do not help."""
    fault("empty", "s.cart:", both(lambda g: g.remove("e.main"), lambda g: g.remove("e.feat")),
          graph=small)
    fault("empty", "s.web:", both(
        lambda g: g.docs.insert(0, service("web")), lambda g: g.remove("e.main"),
        lambda g: g.remove("e.feat")), graph=small)


def rings():
    for count in (2, 3, 5):
        fault("cycle", "e.r0:spec/parent", ring(count))


def valid_edits():
    """Edits that leave the graph valid and without any finding."""
    cart = "e.main:spec/providers/cart/endpoints"
    yield chain(15)
    for name in (LONG, "a", "0", "no", "42", "true", "a--b"):
        yield add(overlay(name))
    for address in ("[::1]:1", "a:65535", "unix:/" + "a" * 106, "255.255.255.255:1",
                    "xn--bcher-kva.example:443", {"address": "a:1"},
                    {"address": "a:1", "weight": 1},
                    {"address": "a:1", "weight": 1000}):
        yield put(cart, [address])
    for date in ("2030-12-01T00:00:00.5Z", "2030-12-01T00:00:00+14:00", "2032-02-29T23:59:59Z",
                 "2030-12-01T00:00:00-00:30"):
        yield put("e.feat-42:spec/expires", date)
    for place, value in (
        ("e.deep:spec/expires", "2030-12-01T00:00:00Z"),
        ("e.deep:spec/expires", "2030-12-01T01:00:00+01:00"),
        ("e.team-a:spec/expires", "2031-12-01T00:00:00Z"),
        ("s.cart:spec/port", 1), ("s.cart:spec/port", 65535), ("s.cart:spec/hosts", []),
        ("s.cart:spec/policy/timeout", "500ms"), ("s.cart:spec/policy/timeout", "2m"),
        ("s.cart:spec/policy/retries/max", 0), ("s.cart:spec/policy/retries/budget", "100%"),
        ("s.cart:spec/policy/retries/budget", "0%"),
        ("e.deep:spec/remove", ["cart"]), ("e.deep:spec/use", {"promo": "main"}),
        ("e.deep:spec/use", {"search": "pool-b"}), ("e.deep:spec/use", {"search": "pool-a"}),
        ("e.deep:spec/use", {"pricing": "team-a"}), ("e.eu:spec/remove", ["promo", "vault"]),
        ("e.eu:spec/providers/vault", at("10.0.0.1:1")), ("e.eu:spec/use/vault", "main"),
        ("e.deep:metadata/name", "feat-43"), ("e.feat-42:spec/access", {"subjects": ["a"]}),
        ("g.edge:spec/routes/4", {"path": "/apix", "service": "cart"}),
        ("g.edge:spec/routes/4", {"path": "/a%2Fb", "service": "cart"}),
        ("g.edge:spec/routes/4", {"host": "other.example.com", "path": "/", "service": "cart"}),
        ("g.inner:spec/routes/1", {"path": "/api", "service": "cart"}),
        ("g.edge:spec/select/6", {"header": "x-msx-env", "forward": True}),
        ("e.main:metadata/labels", {"no": "yes", "1": "2"}),
    ):
        yield put(place, value)
    yield drop("g.edge:spec/defaultEnvironment")
    yield drop("g.edge:spec/select")
    yield drop("g.edge:spec/overlayAccess")


for table in (unknown_fields, missing_fields, kinds, service_types, environment_types,
              gateway_types, names, addresses, dates, duplicates, references, lineages, rings,
              statements, claims, warnings, without_environments):
    table()
