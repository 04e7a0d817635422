/* What differs between two graphs, in words and as JSON. */
#include "lib/graph/diff.h"
#include "tests/unit/graph/graph_text.h"
#include "tests/unit/graph/routed.h"
#include <errno.h>

static const char before[] = "kind: Service\nmetadata: {name: cart}\nspec: {port: 80}\n---\n"
                             "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n"
                             "kind: Service\nmetadata: {name: old}\nspec: {}\n---\n"
                             "kind: Environment\nmetadata: {name: main}\nspec:\n"
                             "  mode: baseline\n"
                             "  providers:\n"
                             "    cart: {endpoints: ['10.0.0.1:80']}\n" /* line 18 */
                             "    pay: {endpoints: ['10.0.0.2:80']}\n---\n"
                             "kind: Environment\nmetadata: {name: gone}\n" /* 22 */
                             "spec: {mode: overlay, parent: main}\n---\n"
                             "kind: Gateway\nmetadata: {name: edge}\n"
                             "spec: {routes: [{path: /, service: cart}]}\n";

static const char after[] = "kind: Gateway\nmetadata: {name: edge}\n"
                            "spec: {routes: [{path: /x, service: cart}]}\n---\n"
                            "kind: Environment\nmetadata: {name: new}\n" /* 6 */
                            "spec: {mode: overlay, parent: main}\n---\n"
                            "kind: Environment\nmetadata: {name: main}\nspec:\n"
                            "  mode: baseline\n"
                            "  owner: me\n"
                            "  providers:\n"
                            "    cart: {endpoints: ['10.0.0.1:80', {address: 'b:1', weight: 3}]}\n"
                            "  remove: [pay]\n---\n" /* 16 */
                            "kind: Service\nmetadata: {name: cart}\n"
                            "spec: {port: 80, protocol: grpc, policy: {timeout: 2s}}\n---\n"
                            "kind: Service\nmetadata: {name: pay}\nspec: {}\n";

static void check(const char *a, const char *b, bool json, int differ, const char *want)
{
    struct snapshot *x = graph_of(a), *y = graph_of(b);
    struct text out = {0};
    assert_int_equal(graph_diff(x, y, json, &out), differ);
    assert_str(str_of(out.p, out.n), want);
    text_release(&out);
    snapshot_unref(x);
    snapshot_unref(y);
}

static void shows_every_kind_of_change_with_its_places(void **state)
{
    (void)state;
    check(before, after, false, 1,
        "environments: 1 added, 1 removed, 1 changed; services: 0 added, 1 removed, 1 changed; "
        "gateways: 0 added, 0 removed, 1 changed\n"
        "- environment gone (0.yaml:22)\n"
        "~ environment main (0.yaml:10)\n"
        "    owner: nothing -> me\n"
        "    cart: 10.0.0.1:80 (0.yaml:18) -> 10.0.0.1:80, b:1 weight 3 (0.yaml:15)\n"
        "    pay: 10.0.0.2:80 (0.yaml:19) -> removed (0.yaml:16)\n"
        "+ environment new (0.yaml:6)\n"
        "~ service cart\n"
        "    protocol: http -> grpc\n"
        "    policy: nothing -> timeout ms 2000\n"
        "- service old\n"
        "~ gateway edge\n"
        "    routes: / -> cart -> /x -> cart\n");
}

static void gives_the_same_as_json(void **state)
{
    (void)state;
    check(before, after, true, 1,
        "{\"equal\":false,\"environments\":{\"added\":[\"new\"],\"removed\":[\"gone\"],\"changed\":"
        "[{\"name\":\"main\",\"fields\":[{\"field\":\"owner\",\"before\":null,\"after\":\"me\"}],"
        "\"statements\":[{\"service\":\"cart\",\"before\":\"10.0.0.1:80\",\"after\":\"10.0.0.1:80, "
        "b:1 weight 3\",\"before_origin\":\"0.yaml:18\",\"after_origin\":\"0.yaml:15\"},{"
        "\"service\":\"pay\",\"before\":\"10.0.0.2:80\",\"after\":\"removed\",\"before_origin\":"
        "\"0.yaml:19\",\"after_origin\":\"0.yaml:16\"}]}]},\"services\":{\"added\":[],\"removed\":["
        "\"old\"],\"changed\":[{\"name\":\"cart\",\"fields\":[{\"field\":\"protocol\",\"before\":"
        "\"http\",\"after\":\"grpc\"},{\"field\":\"policy\",\"before\":null,\"after\":\"timeout ms "
        "2000\"}]}]},\"gateways\":{\"added\":[],\"removed\":[],\"changed\":[{\"name\":\"edge\","
        "\"fields\":[{\"field\":\"routes\",\"before\":\"/ -> cart\",\"after\":\"/x -> "
        "cart\"}]}]}}");
}

static void equal_graphs_differ_in_nothing_whatever_the_order(void **state)
{
    (void)state;
    static const char shuffled[] =
        "kind: Environment\nmetadata: {name: main}\nspec: {providers: {pay: {endpoints: ['a:1']}, "
        "cart: {endpoints: ['b:1']}}, mode: baseline}\n---\n"
        "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n"
        "kind: Service\nmetadata: {name: cart}\nspec: {}\n";
    static const char sorted[] =
        "# a comment\nkind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"
        "kind: Service\nmetadata: {name: pay}\nspec: {}\n---\n"
        "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {cart: "
        "{endpoints: ['b:1']}, pay: {endpoints: ['a:1']}}}\n";
    check(shuffled, sorted, false, 0, "no difference\n");
    check(shuffled, sorted, true, 0,
        "{\"equal\":true,\"environments\":{\"added\":[],\"removed\":[],\"changed\":[]},"
        "\"services\":{\"added\":[],\"removed\":[],\"changed\":[]},"
        "\"gateways\":{\"added\":[],\"removed\":[],\"changed\":[]}}");
}

static void says_what_routes_and_policies_do(void **state)
{
    (void)state;
    check(ROUTED_MAIN "kind: Service\nmetadata: {name: cart}\n---\n"
                      "kind: Service\nmetadata: {name: pay}\nspec: {protocol: grpc}\n---\n"
                      "kind: Service\nmetadata: {name: sql}\nspec: {protocol: tcp}\n---\n"
                      "kind: Gateway\nmetadata: {name: edge}\nspec: {defaultEnvironment: main}\n",
        ROUTED, false, 1,
        "environments: 0 added, 0 removed, 0 changed; services: 0 added, 0 removed, 3 changed; "
        "gateways: 0 added, 0 removed, 1 changed\n"
        "~ service cart\n"
        "    policy: nothing -> balance consistent-hash timeout ms 15000 connectTimeout ms 1000 "
        "retries max 3 retries budget % 10 health interval ms 3000 health path /h hash (cookie "
        "sid) idleTimeout ms 120000 retries perTryTimeout ms 4000 maxConnections 100 maxPending "
        "200 maxRequests 300 slowStart ms 30000 ejection (consecutiveFailures 7 time ms 20000 "
        "maxEjected % 30) health (timeout ms 2000 healthyAfter 4 unhealthyAfter 5 status to 299)\n"
        "    providerProtocol: as the protocol -> http2\n"
        "    tls: nothing -> name cart.internal ca /etc/ca.pem\n"
        "~ service pay\n"
        "    policy: nothing -> balance consistent-hash health interval ms 5000 hash (context) "
        "ejection (on) health (kind grpc service pay.v1)\n"
        "    tls: nothing -> insecure yes\n"
        "~ service sql\n"
        "    policy: nothing -> balance consistent-hash health interval ms 5000 hash (source) "
        "health (kind tcp)\n"
        "~ gateway edge\n"
        "    routes: nothing -> /plain -> cart, shop.example.com /api/ -> cart (stripPrefix yes "
        "rewriteHost cart.internal:8080 requestHeaders (set (x-a) set (x-b = two words) remove "
        "cookie remove x-debug) replyHeaders (set (strict-transport-security = max-age=1) remove "
        "server) maxBody 10485760 timeout ms 5000 idleTimeout ms 60000 affinity (cookie sid) no "
        "upgrade yes requireHttps yes), /old (replacePrefix /new/ redirect (308 scheme https host "
        "new.example.com port 8443)), /away (redirect (302 location https://example.com/x?y)), "
        "/here (redirect (301 path /there)), /up -> pay (maxBody 0 affinity (source))\n"
        "    limits: nothing -> perSource (requestsPerSecond 50 burst 100 at a time 20) "
        "perEnvironment (requestsPerSecond 1000 burst 1000 at a time 500)\n");
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    struct snapshot *x = graph_of(before), *y = graph_of(after);
    int r = -ENOMEM;
    for (unsigned long nth = 1; r < 0; nth++) {
        struct text out = {0};
        mem_fail_nth(nth);
        r = graph_diff(x, y, nth % 2, &out);
        mem_fail_nth(0);
        assert_true(r == 1 || r == -ENOMEM);
        text_release(&out);
    }
    snapshot_unref(x);
    snapshot_unref(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_every_kind_of_change_with_its_places),
        cmocka_unit_test(gives_the_same_as_json),
        cmocka_unit_test(equal_graphs_differ_in_nothing_whatever_the_order),
        cmocka_unit_test(says_what_routes_and_policies_do),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return unit_run(tests);
}
