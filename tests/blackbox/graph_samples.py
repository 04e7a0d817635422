"""Valid graphs that use every feature of the graph's files, to be edited by tests."""

from graph_writer import Doc, Graph

API = "offshoot.dev/v1"


def service(name, **spec):
    return Doc("s." + name, {
        "apiVersion": API, "kind": "Service", "metadata": {"name": name}, "spec": spec,
    })


def environment(name, labels=None, **spec):
    metadata = {"name": name}
    if labels:
        metadata["labels"] = labels
    return Doc("e." + name, {
        "apiVersion": API, "kind": "Environment", "metadata": metadata, "spec": spec,
    })


def gateway(name, **spec):
    return Doc("g." + name, {
        "apiVersion": API, "kind": "Gateway", "metadata": {"name": name}, "spec": spec,
    })


def at(*endpoints):
    return {"endpoints": list(endpoints)}


def shop():
    """Two baselines, overlays with one and with several parents, two pools, two gateways."""
    return Graph([
        service("cart", protocol="http", port=8080, hosts=["cart", "cart.shop.svc.cluster.local"],
                propagates="unknown", dependsOn=["pricing", "inventory"], pinned=False,
                state="shared", shadow="deny", policy={
                    "balance": "least-request", "timeout": "15s", "connectTimeout": "1s",
                    "health": {"path": "/healthz", "interval": "5s"},
                    "retries": {"max": 1, "budget": "20%"}}),
        service("pricing", protocol="grpc", port=8081, propagates=True, state="isolated",
                shadow="safe"),
        service("inventory", protocol="tcp", port=5432, propagates=False, state="none"),
        service("web", protocol="http", port=80, hosts=["web", "www.example.com"]),
        service("vault", protocol="http", port=8200, pinned=True),
        service("promo", protocol="http", port=8082),
        service("search", protocol="http", port=8083),
        environment("main", labels={"team": "platform"}, mode="baseline", owner="platform",
                    providers={
                        "cart": {"endpoints": ["10.1.0.5:8080", "cart.main.svc:8080"],
                                 "artifact": "registry/cart@sha256:aa", "region": "eu-west-1"},
                        "pricing": at("10.1.0.6:8080"),
                        "inventory": at({"address": "10.1.0.7:5432", "weight": 100},
                                        {"address": "[2001:db8::7]:5432", "weight": 900}),
                        "web": at("unix:/run/web.sock"),
                        "vault": at("10.1.0.8:8200"),
                        "promo": at("10.1.0.9:8082")}),
        environment("eu", mode="baseline", providers={"cart": at("10.2.0.5:8080")},
                    use={"pricing": "main", "inventory": "main", "web": "main"},
                    remove=["promo"], access="public"),
        environment("team-a", mode="overlay", parent="main", owner="team-a",
                    providers={"pricing": at("10.1.8.1:8080")}),
        environment("feat-17", mode="overlay", parent="main", providers={
            "pricing": at("10.1.8.2:8080"), "inventory": at("10.1.8.3:5432")}),
        environment("feat-42", mode="overlay", parents=["team-a", "feat-17"],
                    providers={"cart": at("10.1.9.2:8080")}, use={"pricing": "feat-17"},
                    remove=["promo"], expires="2030-12-01T00:00:00Z", strict=True,
                    access="public"),
        environment("deep", mode="overlay", parent="feat-42",
                    providers={"web": at("10.1.9.3:80")},
                    access={"subjects": ["spiffe://example.org/ci"]}),
        environment("eu-feat", mode="overlay", parent="eu", use={"search": "pool-b"},
                    access="token"),
        environment("pool-a", mode="shared", priority=10, providers={
            "search": at("10.3.0.1:8083")}),
        environment("pool-b", mode="shared", priority=5, providers={
            "search": at("10.3.0.2:8083")}),
        gateway("edge", defaultEnvironment="main", overlayAccess="token",
                pinHosts=["shop.example.com"],
                select=[{"host": "*.preview.example.com"}, {"header": "x-offshoot-env"},
                        {"baggage": "sd-routing-key"}, {"tracestate": "sd-sandbox"},
                        {"cookie": "env"}, {"query": "env"}],
                routes=[{"host": "shop.example.com", "path": "/api/cart", "service": "cart"},
                        {"host": "*.example.com", "path": "/", "service": "web"},
                        {"path": "/api", "service": "pricing"},
                        {"path": "/", "service": "web"}]),
        gateway("inner", routes=[{"path": "/", "service": "cart"}]),
    ])


def small():
    """The least graph: one service, one baseline that provides it, one overlay, no gateway."""
    return Graph([
        Doc("s.cart", {"kind": "Service", "metadata": {"name": "cart"}}),
        Doc("e.main", {"kind": "Environment", "metadata": {"name": "main"},
                       "spec": {"mode": "baseline", "providers": {"cart": at("10.0.0.1:80")}}}),
        Doc("e.feat", {"kind": "Environment", "metadata": {"name": "feat"},
                       "spec": {"mode": "overlay", "parent": "main"}}),
    ])
