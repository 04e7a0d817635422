/* One graph with every key of routes, limits and policies, for the tests of each of their forms. */
#ifndef OFFSHOOT_TESTS_UNIT_GRAPH_ROUTED_H
#define OFFSHOOT_TESTS_UNIT_GRAPH_ROUTED_H

#define ROUTED_SERVICES                                                                            \
    "kind: Service\nmetadata: {name: cart}\n"                                                      \
    "spec:\n"                                                                                      \
    "  providerProtocol: http2\n"                                                                  \
    "  tls: {name: cart.internal, ca: /etc/ca.pem}\n"                                              \
    "  policy:\n"                                                                                  \
    "    hash: {cookie: sid}\n"                                                                    \
    "    timeout: 15s\n"                                                                           \
    "    connectTimeout: 1s\n"                                                                     \
    "    idleTimeout: 2m\n"                                                                        \
    "    retries: {max: 3, budget: 10%, perTryTimeout: 4s}\n"                                      \
    "    maxConnections: 100\n"                                                                    \
    "    maxPending: 200\n"                                                                        \
    "    maxRequests: 300\n"                                                                       \
    "    slowStart: 30s\n"                                                                         \
    "    ejection: {consecutiveFailures: 7, time: 20s, maxEjected: 30%}\n"                         \
    "    health: {path: /h, interval: 3s, timeout: 2s, healthyAfter: 4, unhealthyAfter: 5,\n"      \
    "      status: 200-299}\n"                                                                     \
    "---\n"                                                                                        \
    "kind: Service\nmetadata: {name: pay}\n"                                                       \
    "spec: {protocol: grpc, tls: {insecure: true},\n"                                              \
    "  policy: {ejection: {}, balance: consistent-hash, health: {service: pay.v1}}}\n"             \
    "---\n"                                                                                        \
    "kind: Service\nmetadata: {name: sql}\n"                                                       \
    "spec: {protocol: tcp, policy: {health: {kind: tcp}, hash: source}}\n"                         \
    "---\n"

#define ROUTED_ROUTES                                                                              \
    "  - {path: /plain, service: cart}\n"                                                          \
    "  - host: shop.example.com\n"                                                                 \
    "    path: /api/\n"                                                                            \
    "    service: cart\n"                                                                          \
    "    stripPrefix: true\n"                                                                      \
    "    rewriteHost: cart.internal:8080\n"                                                        \
    "    requestHeaders: {set: {X-B: two words, x-a: \"\"}, remove: [Cookie, x-debug]}\n"          \
    "    replyHeaders: {set: {Strict-Transport-Security: max-age=1}, remove: [Server]}\n"          \
    "    maxBody: 10MiB\n"                                                                         \
    "    timeout: 5s\n"                                                                            \
    "    idleTimeout: 1m\n"                                                                        \
    "    affinity: {cookie: sid}\n"                                                                \
    "    upgrade: false\n"                                                                         \
    "    requireHttps: true\n"                                                                     \
    "  - {path: /old, replacePrefix: /new/, redirect: {status: 308, scheme: https,\n"              \
    "      host: new.example.com, port: 8443}}\n"                                                  \
    "  - {path: /away, redirect: {location: \"https://example.com/x?y\"}}\n"                       \
    "  - {path: /here, redirect: {status: 301, path: /there}}\n"                                   \
    "  - {path: /up, service: pay, maxBody: 0, affinity: source}\n"

#define ROUTED_GATEWAY                                                                             \
    "kind: Gateway\nmetadata: {name: edge}\nspec:\n"                                               \
    "  defaultEnvironment: main\n"                                                                 \
    "  limits:\n"                                                                                  \
    "    perSource: {requestsPerSecond: 50, burst: 100, connections: 20}\n"                        \
    "    perEnvironment: {requestsPerSecond: 1000, concurrent: 500}\n"                             \
    "  routes:\n" ROUTED_ROUTES "---\n"

#define ROUTED_MAIN                                                                                \
    "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers:\n"               \
    "  {cart: {endpoints: [\"10.0.0.1:1\"]}, pay: {endpoints: [\"10.0.0.2:2\"]},\n"                \
    "   sql: {endpoints: [\"10.0.0.3:3\"]}}}\n"                                                    \
    "---\n"

#define ROUTED ROUTED_SERVICES ROUTED_GATEWAY ROUTED_MAIN

#endif
