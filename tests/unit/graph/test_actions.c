/* Routes that do more than choose a service, limits, policies: read, judged, sent, compared. */
#include "lib/graph/actions.h"
#include "lib/graph/codec.h"
#include "lib/graph/route.h"
#include "proto/offshoot/v1/graph.pb-c.h"
#include "tests/unit/graph/graph_text.h"
#include "tests/unit/graph/judged.h"
#include "tests/unit/graph/policy_numbers.h"
#include "tests/unit/graph/routed.h"

#define SERV "kind: Service\nmetadata: {name: cart}\nspec:\n" /* 3 lines */
#define GATE "kind: Gateway\nmetadata: {name: edge}\nspec:\n" /* 3 lines */
#define MAIN                                                                                       \
    "---\nkind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {cart: "    \
    "{endpoints: [\"a:1\"]}}}\n"
#define CART "---\nkind: Service\nmetadata: {name: cart}\n"

/* ---- read ---------------------------------------------------------------------------------- */

static void assert_field(const struct field *f, const char *name, const char *value, unsigned id)
{
    assert_str(field_name(f), name);
    assert_str(field_value(f), value);
    assert_int_equal(f->id, id);
}

static void assert_actions(const struct route_actions *a)
{
    assert_non_null(a);
    assert_true(a->strip_prefix);
    assert_null(a->replace_prefix.p);
    assert_str(a->host, "cart.internal:8080");
    assert_int_equal(a->request.nset, 2);
    assert_field(&a->request.set[0], "x-a", "", FIELD_OTHER);
    assert_field(&a->request.set[1], "x-b", "two words", FIELD_OTHER);
    assert_int_equal(a->request.nremove, 2);
    assert_field(&a->request.remove[0], "cookie", "", FIELD_COOKIE);
    assert_field(&a->request.remove[1], "x-debug", "", FIELD_OTHER);
    assert_int_equal(a->reply.nset, 1);
    assert_field(&a->reply.set[0], "strict-transport-security", "max-age=1", FIELD_OTHER);
    assert_int_equal(a->reply.nremove, 1);
    assert_int_equal(a->max_body, 10 << 20);
    assert_int_equal(a->timeout_ms, 5000);
    assert_int_equal(a->idle_timeout_ms, 60000);
    assert_int_equal(a->affinity.kind, AFFINITY_COOKIE);
    assert_str(a->affinity.cookie, "sid");
    assert_true(a->no_upgrade);
    assert_true(a->require_https);
    assert_int_equal(a->redirect.status, 0);
}

static void assert_cart_policy(const struct policy *p)
{
    assert_int_equal(p->balance, BALANCE_CONSISTENT_HASH);
    assert_int_equal(p->hash.kind, AFFINITY_COOKIE);
    assert_str(p->hash.cookie, "sid");
    assert_int_equal(p->idle_timeout_ms, 120000);
    assert_int_equal(p->try_timeout_ms, 4000);
    assert_int_equal(p->retries_max, 3);
    assert_int_equal(p->max_connections, 100);
    assert_int_equal(p->max_pending, 200);
    assert_int_equal(p->max_requests, 300);
    assert_int_equal(p->slow_start_ms, 30000);
    assert_int_equal(p->ejection.failures, 7);
    assert_int_equal(p->ejection.time_ms, 20000);
    assert_int_equal(p->ejection.percent, 30);
    assert_int_equal(p->health.kind, HEALTH_HTTP);
    assert_str(p->health.path, "/h");
    assert_int_equal(p->health.interval_ms, 3000);
    assert_int_equal(p->health.timeout_ms, 2000);
    assert_int_equal(p->health.healthy_after, 4);
    assert_int_equal(p->health.unhealthy_after, 5);
    assert_int_equal(p->health.status_min, 200);
    assert_int_equal(p->health.status_max, 299);
}

static void assert_pay_policy(const struct policy *p)
{
    assert_int_equal(p->hash.kind, AFFINITY_CONTEXT);
    assert_int_equal(p->ejection.failures, 5);
    assert_int_equal(p->ejection.time_ms, 10000);
    assert_int_equal(p->ejection.percent, 50);
    assert_int_equal(p->health.kind, HEALTH_GRPC);
    assert_str(p->health.service, "pay.v1");
    assert_int_equal(p->health.interval_ms, 5000);
    assert_int_equal(p->health.timeout_ms, 1000);
    assert_int_equal(p->health.healthy_after, 2);
    assert_int_equal(p->health.unhealthy_after, 3);
}

static void reads_every_key(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, ROUTED);
    for (size_t i = 0; i < j.findings.n; i++)
        print_error("%u: %s\n", j.findings.list[i].at.line, j.findings.list[i].message);
    assert_int_equal(j.findings.n, 0);
    const struct model_gateway *g = j.model->gateways[0];
    assert_int_equal(g->nroutes, 6);
    assert_null(g->routes[0].actions);
    assert_actions(g->routes[1].actions);
    assert_str(g->routes[2].actions->replace_prefix, "/new/");
    assert_null(g->routes[2].service.s.p);
    const struct redirect *r = &g->routes[2].actions->redirect;
    assert_int_equal(r->status, 308);
    assert_int_equal(r->scheme, REDIRECT_HTTPS);
    assert_str(r->host, "new.example.com");
    assert_int_equal(r->port, 8443);
    assert_int_equal(g->routes[3].actions->redirect.status, 302);
    assert_str(g->routes[3].actions->redirect.location, "https://example.com/x?y");
    assert_str(g->routes[4].actions->redirect.path, "/there");
    assert_int_equal(g->routes[5].actions->max_body, 0);
    assert_int_equal(g->limits.source.per_second, 50);
    assert_int_equal(g->limits.source.burst, 100);
    assert_int_equal(g->limits.source.together, 20);
    assert_int_equal(g->limits.environment.burst, 1000); /* as many as a second has */
    assert_int_equal(g->limits.environment.together, 500);
    assert_cart_policy(&j.model->services[0]->policy);
    assert_pay_policy(&j.model->services[1]->policy);
    assert_int_equal(j.model->services[2]->policy.health.kind, HEALTH_TCP);
    judged_release(&j);
}

static void what_is_not_written_changes_nothing(void **state)
{
    (void)state;
    struct judged j;
    judge(&j, GATE "  routes: [{path: /, service: cart, stripPrefix: false, upgrade: true, "
                   "requestHeaders: {}}]\n  limits: {perSource: {}}\n" CART MAIN);
    assert_int_equal(j.findings.n, 0);
    assert_null(j.model->gateways[0]->routes[0].actions);
    assert_false(limits_any(&j.model->gateways[0]->limits));
    const struct model_service *s = j.model->services[0];
    struct policy usual = policy_default();
    uint64_t have[NUMBERS], want[NUMBERS];
    numbers(&s->policy, have);
    numbers(&usual, want);
    assert_memory_equal(have, want, sizeof want);
    assert_int_equal(s->provider_protocol, PROVIDER_DEFAULT);
    assert_false(s->tls.on);
    judged_release(&j);
}

/* ---- judged -------------------------------------------------------------------------------- */

#define ROUTE_FOUND(route, found) assert_found(GATE "  routes: [" route "]\n" CART MAIN, found)

static void keys_that_exclude_each_other_are_named(void **state)
{
    (void)state;
    ROUTE_FOUND("{path: /a, stripPrefix: true, replacePrefix: /b, service: cart}",
        "contradiction 4:42 4:23");
    ROUTE_FOUND("{path: /a, stripPrefix: false, replacePrefix: /b, service: cart}", "");
    ROUTE_FOUND("{path: /a, service: cart, redirect: {path: /b}}", "contradiction 4:38 4:23");
    ROUTE_FOUND("{path: /a, redirect: {path: /b}, timeout: 1s}", "contradiction 4:45 4:23");
    ROUTE_FOUND("{path: /a, maxBody: 1k, redirect: {path: /b}}", "contradiction 4:36 4:23");
    ROUTE_FOUND("{path: /a, redirect: {path: /b}, stripPrefix: true}", "contradiction 4:45 4:23");
    ROUTE_FOUND("{path: /a, redirect: {location: /b, port: 80}}", "contradiction 4:48 4:34");
    ROUTE_FOUND("{path: /a, service: cart, requestHeaders: {set: {A: b}, remove: [c, a]}}",
        "contradiction 4:80 4:61");
    assert_found(SERV "  tls: {ca: /x, insecure: true}\n" MAIN, "contradiction 4:17 4:9");
    assert_found(
        SERV "  protocol: grpc\n  providerProtocol: http1\n" MAIN, "contradiction 5:3 4:3");
    assert_found(SERV "  providerProtocol: http2\n  protocol: tcp\n" MAIN, "contradiction 5:3 4:3");
    assert_found(
        SERV "  policy: {balance: round-robin, hash: source}\n" MAIN, "contradiction 4:34 4:12");
    assert_found(SERV "  policy: {balance: consistent-hash, hash: source}\n" MAIN, "");
    assert_found(
        SERV "  policy: {health: {kind: tcp, path: /x}}\n" MAIN, "contradiction 4:32 4:21");
    assert_found(
        SERV "  policy: {health: {service: s, status: 200}}\n" MAIN, "contradiction 4:33 4:21");
    assert_found(SERV "  policy: {health: {path: /, kind: http, service: s}}\n" MAIN,
        "contradiction 4:42 4:30");
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    ROUTE_FOUND("{path: /a}", "missing-field 4:12");
    ROUTE_FOUND("{path: /a, stripPrefix: true}", "missing-field 4:12");
    ROUTE_FOUND("{service: cart}", "missing-field 4:12");
    ROUTE_FOUND("{path: /a, redirect: {status: 301}}", "missing-field 4:33");
    ROUTE_FOUND("{path: /a, redirect: {status: 301}, stripPrefix: true}", "");
    ROUTE_FOUND("{path: /a, service: cart, affinity: {}}", "missing-field 4:48");
    assert_found(SERV "  policy: {health: {kind: http}}\n" MAIN, "missing-field 4:20");
    assert_found(SERV "  policy: {health: {}}\n" MAIN, "missing-field 4:20");
    assert_found(GATE "  limits: {perSource: {burst: 3}}\n" CART MAIN, "missing-field 4:23");
}

static void values_have_their_types(void **state)
{
    (void)state;
    static const struct {
        const char *route, *found;
    } cases[] = {
        {"{path: /, service: cart, maxBody: 10MB}", "type 4:46"},
        {"{path: /, service: cart, maxBody: []}", "type 4:46"},
        {"{path: /, service: cart, timeout: 0s}", "type 4:46"},
        {"{path: /, service: cart, idleTimeout: 25h}", "type 4:50"},
        {"{path: /, service: cart, replacePrefix: x}", "type 4:52"},
        {"{path: /, service: cart, replacePrefix: //x}", "type 4:52"},
        {"{path: /, service: cart, replacePrefix: \"/x\\r\\ny\"}", "type 4:52"},
        {"{path: /, service: cart, replacePrefix: /..}", "type 4:52"},
        {"{path: /, service: cart, stripPrefix: yes}", "type 4:50"},
        {"{path: /, service: cart, upgrade: \"false\"}", "type 4:46"},
        {"{path: /, service: cart, rewriteHost: a b}", "name 4:50"},
        {"{path: /, service: cart, affinity: sauce}", "type 4:47"},
        {"{path: /, service: cart, affinity: [source]}", "type 4:47"},
        {"{path: /, service: cart, affinity: {cookie: a b}}", "name 4:56"},
        {"{path: /, redirect: {status: 304, path: /x}}", "type 4:41"},
        {"{path: /, redirect: {location: //x}}", "type 4:43"},
        {"{path: /, redirect: {location: \"javascript:x\"}}", "type 4:43"},
        {"{path: /, redirect: {location: \"https:///x\"}}", "type 4:43"},
        {"{path: /, redirect: {location: \"/a\\nb\"}}", "type 4:43"},
        {"{path: /, redirect: {location: \"/a b\"}}", "type 4:43"},
        {"{path: /, redirect: {scheme: ftp}}", "type 4:41"},
        {"{path: /, redirect: {host: \"x:80\"}}", "type 4:39"},
        {"{path: /, redirect: {port: 0}}", "type 4:39"},
        {"{path: /, redirect: {path: x}}", "type 4:39"},
        {"{path: /, redirect: /x}", "type 4:32"},
        {"{path: /, redirect: {to: /x}}", "unknown-field 4:33"},
        {"{path: /, service: cart, striprefix: true}", "unknown-field 4:37"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[400];
        snprintf(text, sizeof text, GATE "  routes: [%s]\n" CART MAIN, cases[i].route);
        assert_found(text, cases[i].found);
    }
}

static void policies_have_their_types(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *found;
    } cases[] = {
        {"policy: {balance: random}", "type 4:21"},
        {"policy: {hash: {cookie: \"\"}}", "name 4:27"},
        {"policy: {maxConnections: 0}", "type 4:28"},
        {"policy: {maxRequests: \"5\"}", "type 4:25"},
        {"policy: {ejection: {maxEjected: 101%}}", "type 4:35"},
        {"policy: {ejection: {consecutiveFailures: 0}}", "type 4:44"},
        {"policy: {ejection: 5}", "type 4:22"},
        {"policy: {retries: {perTryTimeout: 5}}", "type 4:37"},
        {"policy: {health: {path: /, status: 99}}", "type 4:38"},
        {"policy: {health: {path: /, status: 300-200}}", "type 4:38"},
        {"policy: {health: {path: /, healthyAfter: 0}}", "type 4:44"},
        {"policy: {health: {kind: icmp}}", "type 4:27"},
        {"policy: {slowStart: soon}", "type 4:23"},
        {"policy: {slowstart: 3s}", "unknown-field 4:12"},
        {"providerProtocol: http3", "type 4:21"},
        {"tls: true", "type 4:8"},
        {"tls: {ca: etc/x}", "type 4:13"},
        {"tls: {name: \"x:443\"}", "type 4:15"},
        {"tls: {cert: x}", "unknown-field 4:9"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[400];
        snprintf(text, sizeof text, SERV "  %s\n" MAIN, cases[i].spec);
        assert_found(text, cases[i].found);
    }
    assert_found(GATE "  limits: {perSource: {requestsPerSecond: 0}}\n" CART MAIN, "type 4:43");
    assert_found(
        GATE "  limits: {perEnvironment: {connections: 1}}\n" CART MAIN, "unknown-field 4:29");
    assert_found(
        GATE "  limits: {perSource: {requestsPerSecond: 1000001}}\n" CART MAIN, "type 4:43");
}

static void headers_are_judged_by_name_and_value(void **state)
{
    (void)state;
    static const struct {
        const char *edits, *found;
    } cases[] = {
        {"requestHeaders: {set: {Host: x}}", "name 4:60"},
        {"requestHeaders: {remove: [baggage]}", "name 4:63"},
        {"requestHeaders: {set: {X_Offshoot_Context: x}}", "name 4:60"},
        {"replyHeaders: {set: {x-offshoot-error: x}}", "name 4:58"},
        {"replyHeaders: {remove: [Transfer-Encoding]}", "name 4:61"},
        {"replyHeaders: {set: {content-length: 5}}", "name 4:58"},
        {"requestHeaders: {remove: [Connection]}", "name 4:63"},
        {"requestHeaders: {set: {x-forwarded-for: a}}", "name 4:60"},
        {"requestHeaders: {set: {x-request-id: a}}", "name 4:60"},
        {"requestHeaders: {remove: [grpc-timeout]}", "name 4:63"},
        {"requestHeaders: {set: {\"a b\": c}}", "name 4:60"},
        {"requestHeaders: {set: {\":path\": c}}", "name 4:60"},
        {"requestHeaders: {set: {a: \"b\\r\\nc: d\"}}", "type 4:63"},
        {"requestHeaders: {set: {a: \" b\"}}", "type 4:63"},
        {"requestHeaders: {set: {a: \"b\\x01\"}}", "type 4:63"},
        {"requestHeaders: {set: {a: [b]}}", "type 4:63"},
        {"requestHeaders: {set: {a: b, A: c}}", "duplicate 4:66 4:60"},
        {"requestHeaders: {remove: [a, A]}", "duplicate 4:66 4:63"},
        {"requestHeaders: {add: {a: b}}", "unknown-field 4:54"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[400];
        snprintf(text, sizeof text, GATE "  routes: [{path: /, service: cart, %s}]\n" CART MAIN,
            cases[i].edits);
        assert_found(text, cases[i].found);
    }
}

/* A route with n headers to set, each with a value of `bytes`. */
static void judge_headers(struct judged *j, unsigned n, unsigned bytes)
{
    static char text[200000];
    int at = snprintf(text, sizeof text,
        GATE "  routes: [{path: /, service: cart, "
             "requestHeaders: {set: {");
    for (unsigned i = 0; i < n; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "x%02u: %0*d,", i, (int)bytes, 7);
    snprintf(text + at, sizeof text - (size_t)at, "}}}]\n" CART MAIN);
    judge(j, text);
}

static void headers_have_limits(void **state)
{
    (void)state;
    static const struct {
        unsigned n, bytes, faults;
    } cases[] = {
        {32, 100, 0}, {33, 100, 1}, {1, 4096, 0}, {1, 4097, 1}, {2, 4093, 0}, {2, 4094, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct judged j;
        judge_headers(&j, cases[i].n, cases[i].bytes);
        assert_int_equal(j.findings.errors, cases[i].faults);
        assert_int_equal(j.findings.by_code[F_TYPE], cases[i].faults);
        judged_release(&j);
    }
}

static void messages_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *route, *message;
    } cases[] = {
        {"{path: /a, service: cart, redirect: {path: /b}}",
            "'redirect' and 'service' together; a redirect is answered here and reaches no "
            "service; keep one of them"},
        {"{path: /a, service: cart, stripPrefix: true, replacePrefix: /x}",
            "'stripPrefix' and 'replacePrefix' together; stripping is replacing by nothing; keep "
            "one of them"},
        {"{path: /a}", "'service' is missing in a route; add it, or 'redirect'"},
        {"{path: /a, service: cart, requestHeaders: {remove: [Baggage]}}",
            "'baggage' is a carrier of the context; no route may set or remove it"},
        {"{path: /a, service: cart, striprefix: true}",
            "unknown field 'striprefix' in a route; did you mean 'stripPrefix'?"},
        {"{path: /a, service: cart, maxBody: 10MB}",
            "'10MB'; write a size such as 4096, 64KiB or 10MiB"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct judged j;
        char text[400];
        snprintf(text, sizeof text, GATE "  routes: [%s]\n" CART MAIN, cases[i].route);
        judge(&j, text);
        assert_int_equal(j.findings.n, 1);
        assert_string_equal(j.findings.list[0].message, cases[i].message);
        judged_release(&j);
    }
}

/* ---- sent ---------------------------------------------------------------------------------- */

static void assert_served(const struct snapshot *s)
{
    struct route r;
    const struct gateway *g = snapshot_only_gateway(s);
    const struct gateway_limits *l = gateway_limits(g);
    assert_non_null(l);
    assert_int_equal(l->source.burst, 100);
    assert_int_equal(l->environment.together, 500);
    assert_int_equal(route_pick(g, NULL, STR("shop.example.com"), STR("/api/x"), &r), 0);
    assert_actions(r.actions);
    assert_int_equal(r.actions->prefix_len, 4);
    assert_int_equal(route_pick(g, NULL, STR("a"), STR("/plain"), &r), 0);
    assert_null(r.actions);
    assert_int_equal(route_pick(g, NULL, STR("a"), STR("/old"), &r), 0);
    assert_int_equal(r.service, NUMBER_NONE);
    assert_int_equal(r.actions->redirect.status, 308);
    const struct service_info *cart = snapshot_service(s, snapshot_find_service(s, STR("cart")));
    const struct service_info *pay = snapshot_service(s, snapshot_find_service(s, STR("pay")));
    assert_cart_policy(&cart->policy);
    assert_pay_policy(&pay->policy);
    assert_true(cart->http2);
    assert_true(pay->http2);
    assert_true(cart->tls.on);
    assert_str(cart->tls.name, "cart.internal");
    assert_str(cart->tls.ca, "/etc/ca.pem");
    assert_true(pay->tls.insecure);
    assert_false(snapshot_service(s, snapshot_find_service(s, STR("sql")))->http2);
}

static void all_of_it_arrives_and_is_canonical(void **state)
{
    (void)state;
    struct snapshot *a = graph_of(ROUTED), *b = NULL;
    struct pb_out o = {0};
    struct err e;
    assert_served(a);
    assert_int_equal(codec_encode(NULL, a, &o, &e), 0);
    assert_int_equal(codec_apply(NULL, pb_str(&o), &b, NULL, &e), 0);
    assert_served(b);
    assert_memory_equal(snapshot_root(a), snapshot_root(b), 32);
    Offshoot__V1__Difference *m = offshoot__v1__difference__unpack(NULL, o.n, o.p);
    assert_non_null(m);
    uint8_t *packed = mem_alloc(offshoot__v1__difference__get_packed_size(m));
    assert_int_equal(offshoot__v1__difference__pack(m, packed), o.n);
    assert_memory_equal(packed, o.p, o.n);
    mem_free(packed);
    offshoot__v1__difference__free_unpacked(m, NULL);
    pb_release(&o);
    snapshot_unref(a);
    snapshot_unref(b);
}

/* Who knows only the first format must not get a graph that says more. */
static void graphs_say_what_they_need(void **state)
{
    (void)state;
    static const struct {
        const char *graph;
        bool needs;
    } cases[] = {
        {ROUTED, true},
        {ROUTED_MAIN "kind: Service\nmetadata: {name: cart}\n---\n"
                     "kind: Service\nmetadata: {name: sql}\n---\n"
                     "kind: Service\nmetadata: {name: pay}\nspec: {policy: {balance: "
                     "least-request, retries: {max: 1, budget: 5%}, health: {path: /h}}}\n",
            false},
        {ROUTED_MAIN "kind: Service\nmetadata: {name: cart}\n---\n"
                     "kind: Service\nmetadata: {name: sql}\n---\n"
                     "kind: Service\nmetadata: {name: pay}\nspec: {policy: {balance: "
                     "consistent-hash}}\n",
            true},
        {ROUTED_MAIN "kind: Service\nmetadata: {name: cart}\nspec: {tls: {}}\n---\n"
                     "kind: Service\nmetadata: {name: sql}\n---\n"
                     "kind: Service\nmetadata: {name: pay}\n",
            true},
        {ROUTED_MAIN "kind: Service\nmetadata: {name: cart}\n---\n"
                     "kind: Service\nmetadata: {name: sql}\n---\n"
                     "kind: Service\nmetadata: {name: pay}\n---\n"
                     "kind: Gateway\nmetadata: {name: edge}\n"
                     "spec: {limits: {perSource: {connections: 3}}}\n",
            true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct snapshot *s = graph_of(cases[i].graph);
        assert_int_equal(snapshot_needs_routes(s), cases[i].needs);
        snapshot_unref(s);
    }
}

static bool same_root(const char *a, const char *b)
{
    struct snapshot *x = graph_of(a), *y = graph_of(b);
    bool same = memcmp(snapshot_root(x), snapshot_root(y), 32) == 0;
    snapshot_unref(x);
    snapshot_unref(y);
    return same;
}

#define WITH_ROUTE(route)                                                                          \
    "kind: Gateway\nmetadata: {name: edge}\nspec: {routes: [{path: /a, " route "}]}\n---\n"        \
    "kind: Service\nmetadata: {name: cart}\n" MAIN
#define WITH_SPEC(spec) "kind: Service\nmetadata: {name: cart}\nspec: {" spec "}\n" MAIN

static void the_root_covers_what_is_meant(void **state)
{
    (void)state;
    static const char *const routes[] = {
        WITH_ROUTE("service: cart"),
        WITH_ROUTE("service: cart, stripPrefix: true"),
        WITH_ROUTE("service: cart, replacePrefix: /b"),
        WITH_ROUTE("service: cart, maxBody: 0"),
        WITH_ROUTE("service: cart, maxBody: 1"),
        WITH_ROUTE("service: cart, requestHeaders: {set: {a: b}}"),
        WITH_ROUTE("service: cart, requestHeaders: {remove: [a]}"),
        WITH_ROUTE("service: cart, replyHeaders: {remove: [a]}"),
        WITH_ROUTE("service: cart, timeout: 1s"),
        WITH_ROUTE("service: cart, idleTimeout: 1s"),
        WITH_ROUTE("service: cart, affinity: context"),
        WITH_ROUTE("service: cart, upgrade: false"),
        WITH_ROUTE("service: cart, requireHttps: true"),
        WITH_ROUTE("service: cart, rewriteHost: a"),
        WITH_ROUTE("redirect: {path: /x}"),
        WITH_ROUTE("redirect: {path: /x, status: 303}"),
        WITH_ROUTE("redirect: {location: /x}"),
        WITH_ROUTE("redirect: {path: /x, port: 1}"),
    };
    const size_t n = sizeof(routes) / sizeof(*routes);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (same_root(routes[i], routes[j]))
                fail_msg("%zu and %zu are one", i, j);
}

static void the_root_is_the_same_for_the_same_meaning(void **state)
{
    (void)state;
    assert_true(same_root(WITH_ROUTE("service: cart"),
        WITH_ROUTE("service: cart, stripPrefix: false, upgrade: true, requestHeaders: {}")));
    assert_true(same_root(WITH_ROUTE("service: cart, requestHeaders: {set: {b: x, a: y}}"),
        WITH_ROUTE("service: cart, requestHeaders: {set: {A: y, B: x}}")));
    assert_true(same_root(
        WITH_ROUTE("redirect: {path: /x}"), WITH_ROUTE("redirect: {path: /x, status: 302}")));
    assert_true(same_root(WITH_SPEC(""), WITH_SPEC("providerProtocol: http1, policy: {}")));
    assert_true(same_root(WITH_SPEC("policy: {ejection: {}}"),
        WITH_SPEC("policy: {ejection: {consecutiveFailures: 5, time: 10s, maxEjected: 50%}}")));
    assert_true(same_root(WITH_SPEC("policy: {health: {path: /}}"),
        WITH_SPEC("policy: {health: {kind: http, path: /, interval: 5s, timeout: 1s, "
                  "healthyAfter: 2, unhealthyAfter: 3, status: 200-399}}")));
    assert_true(same_root(
        WITH_SPEC("policy: {balance: consistent-hash}"), WITH_SPEC("policy: {hash: context}")));
    assert_false(same_root(WITH_SPEC(""), WITH_SPEC("tls: {}")));
    assert_false(same_root(WITH_SPEC(""), WITH_SPEC("policy: {ejection: {}}")));
}

/* Graphs that use none of the keys have the bytes, and so the root, that they had before there were
 * any. The number was printed by the program before. */
static void old_graphs_keep_their_root(void **state)
{
    (void)state;
    struct snapshot *s = graph_of(
        "kind: Service\nmetadata: {name: cart}\nspec: {protocol: grpc, policy: {balance: "
        "least-request, timeout: 1s, retries: {max: 1, budget: 5%}, health: {path: /h}}}\n---\n"
        "kind: Gateway\nmetadata: {name: edge}\nspec: {defaultEnvironment: main, routes: [{path: "
        "/, service: cart}]}\n" MAIN);
    char hex[65];
    for (unsigned i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", snapshot_root(s)[i]);
    assert_string_equal(hex, "59536456bb72f6e855b46173cee38ab774ec8387dbdce24c750c54a059371197");
    snapshot_unref(s);
}

/* Every byte of the records replaced by every other of a few: refused or served, never a fault. */
static void garbled_records_are_refused(void **state)
{
    (void)state;
    struct snapshot *a = graph_of(ROUTED);
    struct pb_out o = {0};
    struct err e;
    unsigned refused = 0;
    assert_int_equal(codec_encode(NULL, a, &o, &e), 0);
    for (size_t i = 0; i < o.n; i++) {
        static const uint8_t others[] = {0, 1, 0x0a, 0x7f, 0xff};
        uint8_t was = o.p[i];
        for (size_t k = 0; k < sizeof others; k++) {
            struct snapshot *b = NULL;
            o.p[i] = others[k];
            int r = codec_apply(NULL, pb_str(&o), &b, NULL, &e);
            refused += r != 0;
            snapshot_unref(b);
        }
        o.p[i] = was;
    }
    assert_true(refused > o.n);
    pb_release(&o);
    snapshot_unref(a);
}

static void every_failed_allocation_is_survived(void **state)
{
    (void)state;
    struct snapshot *a = graph_of(ROUTED), *b = NULL;
    struct pb_out o = {0};
    struct err e;
    assert_int_equal(codec_encode(NULL, a, &o, &e), 0);
    int r = -ENOMEM;
    for (unsigned long nth = 1; r != 0; nth++) {
        mem_fail_nth(nth);
        r = codec_apply(NULL, pb_str(&o), &b, NULL, &e);
        mem_fail_nth(0);
        assert_true(r == 0 || r == -ENOMEM);
    }
    assert_served(b);
    pb_release(&o);
    snapshot_unref(a);
    snapshot_unref(b);
}

/* ---- paths and locations ------------------------------------------------------------------- */

static void paths_are_rewritten(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *replace, *path, *want;
    } cases[] = {
        {"/api", NULL, "/api/x?y=/api", "/x?y=/api"},
        {"/api", NULL, "/api", "/"},
        {"/api", NULL, "/api/", "/"},
        {"/api", NULL, "/api?q", "/?q"},
        {"/api", NULL, "/%61pi/%2Fx/%7e", "/%2Fx/~"},
        {"/api", NULL, "/z/../api/./x/?", "/x/?"},
        {"/api", NULL, "/api//x", "//x"},
        {"", NULL, "/x?y", "/x?y"},
        {"/api", "/v2", "/api/x", "/v2/x"},
        {"/api", "/v2/", "/api/x", "/v2/x"},
        {"/api", "/v2/", "/api", "/v2"},
        {"/api", "/", "/api/x", "/x"},
        {"/api", "/", "/api", "/"},
        {"", "/v2", "/x", "/v2/x"},
        {"", "/v2", "/", "/v2/"},
        {"/a/b", "/c", "/a/b/d?e#f", "/c/d?e#f"},
        {"", "/v2", "*", "*"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct route_actions a = actions_none();
        char out[64];
        a.prefix_len = (uint16_t)strlen(cases[i].prefix);
        a.strip_prefix = !cases[i].replace;
        a.replace_prefix = str_c(cases[i].replace);
        struct str path = str_c(cases[i].path);
        assert_str(actions_path(&a, path, out, sizeof out), cases[i].want);
        size_t bound = path.n + a.replace_prefix.n + 1;
        assert_non_null(actions_path(&a, path, out, bound).p);
        for (size_t size = 0; size < strlen(cases[i].want) && path.p[0] == '/'; size++)
            assert_null(actions_path(&a, path, out, size).p);
    }
    struct route_actions none = actions_none();
    struct str path = STR("/a/../b");
    assert_ptr_equal(actions_path(&none, path, NULL, 0).p, path.p);
}

static void locations_are_made_of_parts(void **state)
{
    (void)state;
    static const struct {
        struct redirect r;
        bool https;
        const char *authority, *path, *want;
    } cases[] = {
        {{.location = STR("/x")}, true, "a", "/y?z", "/x"},
        {{.scheme = REDIRECT_HTTPS}, false, "a.b:8080", "/y?z", "https://a.b/y?z"},
        {{.scheme = REDIRECT_HTTPS, .port = 8443}, false, "a.b:8080", "/", "https://a.b:8443/"},
        {{.host = STR("c")}, true, "a.b:8080", "/y", "https://c/y"},
        {{.host = STR("c")}, false, "", "/y", "http://c/y"},
        {{.path = STR("/p")}, false, "a.b:8080", "/y?z", "http://a.b:8080/p?z"},
        {{.port = 1}, false, "a.b:8080", "/y", "http://a.b:1/y"},
        {{.scheme = REDIRECT_HTTPS}, false, "[::1]:8080", "/y", "https://[::1]/y"},
        {{.path = STR("/p")}, false, "", "//evil.example/?z", "/p?z"},
        {{.status = 301}, false, "", "//evil.example/?z", "/evil.example/?z"},
        {{.status = 301}, false, "", "/\\evil.example/", "/"},
        {{.status = 301}, false, "", "*", "/"},
        {{.scheme = REDIRECT_HTTPS}, false, "a", "//evil.example", "https://a//evil.example"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct route_actions a = actions_none();
        char out[64];
        a.redirect = cases[i].r;
        struct str authority = str_c(cases[i].authority), path = str_c(cases[i].path);
        struct str have = actions_location(&a, cases[i].https, authority, path, out, sizeof out);
        assert_str(have, cases[i].want);
        if (!a.redirect.location.n)
            assert_null(actions_location(&a, cases[i].https, authority, path, out, have.n - 1).p);
    }
}

static void another_scheme_or_port_needs_a_host(void **state)
{
    (void)state;
    struct route_actions a = actions_none();
    char out[64];
    a.redirect.scheme = REDIRECT_HTTPS;
    assert_null(actions_location(&a, false, STR(""), STR("/"), out, sizeof out).p);
    a.redirect = (struct redirect){.port = 1};
    assert_null(actions_location(&a, false, STR(""), STR("/"), out, sizeof out).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_key),
        cmocka_unit_test(what_is_not_written_changes_nothing),
        cmocka_unit_test(keys_that_exclude_each_other_are_named),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(values_have_their_types),
        cmocka_unit_test(policies_have_their_types),
        cmocka_unit_test(headers_are_judged_by_name_and_value),
        cmocka_unit_test(headers_have_limits),
        cmocka_unit_test(messages_say_what_to_do),
        cmocka_unit_test(all_of_it_arrives_and_is_canonical),
        cmocka_unit_test(graphs_say_what_they_need),
        cmocka_unit_test(the_root_covers_what_is_meant),
        cmocka_unit_test(the_root_is_the_same_for_the_same_meaning),
        cmocka_unit_test(old_graphs_keep_their_root),
        cmocka_unit_test(garbled_records_are_refused),
        cmocka_unit_test(every_failed_allocation_is_survived),
        cmocka_unit_test(paths_are_rewritten),
        cmocka_unit_test(locations_are_made_of_parts),
        cmocka_unit_test(another_scheme_or_port_needs_a_host),
    };
    return unit_run(tests);
}
