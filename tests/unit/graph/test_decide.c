#include "tests/unit/graph/compiled.h"

#include "lib/graph/decide.h"
#include "lib/graph/edge.h"

#define TOKEN "v1m.feat-42.0.00"

static const char graph[] = "apiVersion: offshoot.dev/v1\n"
                            "kind: Service\n"
                            "metadata: {name: cart}\n"
                            "spec: {hosts: [cart, cart.shop.svc]}\n"
                            "---\n"
                            "apiVersion: offshoot.dev/v1\n"
                            "kind: Service\n"
                            "metadata: {name: db}\n"
                            "spec: {protocol: tcp}\n"
                            "---\n"
                            "apiVersion: offshoot.dev/v1\n"
                            "kind: Environment\n"
                            "metadata: {name: main}\n"
                            "spec:\n"
                            "  mode: baseline\n"
                            "  providers:\n"
                            "    cart: {endpoints: [\"10.1.0.5:8080\"]}\n"
                            "    db: {endpoints: [\"10.1.0.6:5432\"]}\n"
                            "---\n"
                            "apiVersion: offshoot.dev/v1\n"
                            "kind: Environment\n"
                            "metadata: {name: feat-42}\n"
                            "spec:\n"
                            "  mode: overlay\n"
                            "  parent: main\n"
                            "  expires: 2026-12-01T00:00:00Z\n"
                            "  providers: {cart: {endpoints: [\"10.1.9.2:8080\"]}}\n"
                            "---\n"
                            "apiVersion: offshoot.dev/v1\n"
                            "kind: Gateway\n"
                            "metadata: {name: edge}\n"
                            "spec:\n"
                            "  defaultEnvironment: main\n"
                            "  overlayAccess: public\n"
                            "  select: [{header: x-env}, {query: env}]\n"
                            "  routes:\n"
                            "    - {path: /cart, service: cart}\n"
                            "    - {path: /db, service: db}\n";
#define EXPIRES 1796083200

struct fixture {
    struct snapshot *s;
    struct request r;
    struct ask ask;
    struct answer answer;
};

static struct fixture f;

static int compile_graph(void **state)
{
    (void)state;
    f.s = graph_compile(graph);
    return 0;
}

static int release_graph(void **state)
{
    snapshot_unref(f.s);
    return nothing_lives(state);
}

static int setup(void **state)
{
    (void)state;
    request_init(&f.r, "shop.example.com", "/cart/1");
    f.ask = (struct ask){.trusted = true, .gateway = snapshot_only_gateway(f.s), .now = 1};
    assert_non_null(f.ask.gateway);
    return 0;
}

static enum refusal decided(void)
{
    f.ask.fields = f.r.fields;
    f.ask.nfields = f.r.n;
    f.ask.authority = f.r.authority;
    f.ask.path = f.r.path;
    f.ask.scratch = &f.r.scratch;
    decide(f.s, &f.ask, &f.answer);
    assert_int_equal(f.answer.decision.refusal, f.answer.refusal);
    return f.answer.refusal;
}

static void assert_provider(const char *env, const char *service)
{
    assert_int_equal(f.answer.refusal, REFUSAL_NONE);
    assert_str(snapshot_env_name(f.s, f.answer.decision.provider), env);
    assert_str(snapshot_service_name(f.s, f.answer.decision.service), service);
    assert_non_null(f.answer.decision.endpoints);
}

static void assert_refused(void)
{
    assert_int_equal(f.answer.decision.cls, CLASS_NONE);
    assert_int_equal(f.answer.decision.provider, NUMBER_NONE);
    assert_null(f.answer.decision.endpoints);
}

static void answers_with_the_provider_of_context_and_route(void **state)
{
    (void)state;
    decided();
    assert_provider("main", "cart");
    assert_int_equal(f.answer.context.rule, RULE_DEFAULT);
    assert_int_equal(f.answer.route.by, ROUTE_GATEWAY);
    request_add(&f.r, "baggage", "offshoot=" TOKEN);
    decided();
    assert_provider("feat-42", "cart");
    assert_int_equal(f.answer.decision.cls, CLASS_LOCAL);
}

static void hosts_of_services_count_at_trusted_listeners_only(void **state)
{
    (void)state;
    request_init(&f.r, "Cart.shop.svc:80", "/elsewhere");
    decided();
    assert_provider("main", "cart");
    assert_int_equal(f.answer.route.by, ROUTE_SERVICE_HOST);
    f.ask.trusted = false;
    assert_int_equal(decided(), REFUSAL_NO_ROUTE);
    assert_refused();
    f.ask.trusted = true;
    f.ask.gateway = NULL;
    request_add(&f.r, "x-offshoot-context", TOKEN);
    decided();
    assert_provider("feat-42", "cart");
}

static void forwards_the_path_as_received_without_the_selectors_parameter(void **state)
{
    (void)state;
    f.ask.trusted = false;
    request_init(&f.r, "x", "/x/../c%61rt?a=1&env=feat-42&b=2");
    decided();
    assert_provider("feat-42", "cart");
    assert_str(f.answer.path, "/x/../c%61rt?a=1&b=2");
}

static void a_fault_in_the_context_refuses(void **state)
{
    (void)state;
    request_add(&f.r, "x-offshoot-context", "junk");
    assert_int_equal(decided(), REFUSAL_CONTEXT);
    assert_int_equal(f.answer.context.fault, FAULT_MALFORMED);
    assert_int_equal(f.answer.decision.env, NUMBER_NONE);
    assert_refused();
}

static void an_unknown_environment_is_refused_by_name(void **state)
{
    (void)state;
    request_add(&f.r, "x-env", "feat-43");
    assert_int_equal(decided(), REFUSAL_UNKNOWN_ENVIRONMENT);
    assert_str(f.answer.context.env, "feat-43");
    assert_int_equal(f.answer.context.selector, 0);
    assert_refused();
    request_init(&f.r, "x", "/cart");
    request_add(&f.r, "x-env", "");
    assert_int_equal(decided(), REFUSAL_UNKNOWN_ENVIRONMENT);
}

static void onmissing_refuse_means_no_default(void **state)
{
    (void)state;
    f.ask.refuse_missing = true;
    assert_int_equal(decided(), REFUSAL_NO_ENVIRONMENT);
    assert_int_equal(f.answer.context.source, SOURCE_NONE);
    assert_int_equal(f.answer.context.env.n, 0);
    request_add(&f.r, "x-env", "main");
    decided();
    assert_provider("main", "cart");
    request_init(&f.r, "x", "/cart");
    f.ask.trusted = false;
    decided();
    assert_provider("main", "cart");
}

static void without_a_gateway_and_context_there_is_no_environment(void **state)
{
    (void)state;
    f.ask.gateway = NULL;
    assert_int_equal(decided(), REFUSAL_NO_ENVIRONMENT);
    assert_refused();
}

static void a_path_that_climbs_is_a_bad_request(void **state)
{
    (void)state;
    request_init(&f.r, "x", "/cart/../../x");
    assert_int_equal(decided(), REFUSAL_BAD_REQUEST);
    assert_true(f.answer.bad_path);
    assert_refused();
}

static void no_route_comes_before_unknown_environment(void **state)
{
    (void)state;
    request_init(&f.r, "x", "/nowhere");
    request_add(&f.r, "x-env", "nobody");
    assert_int_equal(decided(), REFUSAL_NO_ROUTE);
    assert_false(f.answer.bad_path);
    assert_refused();
}

static void an_environment_expires_at_its_instant(void **state)
{
    (void)state;
    request_add(&f.r, "x-env", "feat-42");
    f.ask.now = EXPIRES - 1;
    decided();
    assert_provider("feat-42", "cart");
    f.ask.now = EXPIRES;
    assert_int_equal(decided(), REFUSAL_EXPIRED);
    assert_refused();
}

static void a_tcp_service_is_not_reached_over_http(void **state)
{
    (void)state;
    request_init(&f.r, "x", "/db");
    assert_int_equal(decided(), REFUSAL_UNSUPPORTED);
    assert_refused();
    assert_str(snapshot_service_name(f.s, f.answer.decision.service), "db");
}

static void add_via(const char *value, int times)
{
    for (int i = 0; i < times; i++)
        request_add(&f.r, "via", value);
}

static void sixteen_passages_are_no_loop_and_seventeen_are(void **state)
{
    (void)state;
    add_via("1.1 offshoot", VIA_OURS_MAX);
    add_via("1.1 nginx, HTTP/1.1 offshoot2, 1.1 x-offshoot, offshoot, 1.1 cache (offshoot)", 9);
    decided();
    assert_provider("main", "cart");
    add_via("1.1 offshoot", 1);
    assert_int_equal(decided(), REFUSAL_LOOP);
    assert_refused();
}

static void passages_are_counted_in_every_spelling(void **state)
{
    (void)state;
    add_via("1.1 a,2 OffShoot ,\tHTTP/1.1  offshoot (v1)", 8);
    decided();
    assert_provider("main", "cart");
    add_via("1.0 offshoot", 1);
    assert_int_equal(decided(), REFUSAL_LOOP);
}

static void a_connection_is_decided_by_its_service_and_the_name_it_gives(void **state)
{
    (void)state;
    static const char tcp[] =
        "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: db}\n"
        "spec: {protocol: tcp}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: main}\n"
        "spec: {mode: baseline, providers: {db: {endpoints: [\"10.1.0.6:5432\"]}}}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: feat-42}\n"
        "spec: {mode: overlay, parent: main, access: public,\n"
        "  providers: {db: {endpoints: [\"10.1.9.6:5432\"]}}}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: closed}\n"
        "spec: {mode: overlay, parent: main}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Gateway\nmetadata: {name: edge}\n"
        "spec: {defaultEnvironment: main, select: [{host: \"*.preview.example.com\"}],\n"
        "  routes: [{path: /, service: cart}]}\n";
    struct snapshot *kept = f.s;
    f.s = graph_compile(tcp);
    f.ask.gateway = snapshot_only_gateway(f.s);
    f.ask.service = STR("db");
    f.ask.trusted = false;
    assert_true(gateway_selects_host(f.ask.gateway));

    request_init(&f.r, "", "");
    decided();
    assert_provider("main", "db");
    request_init(&f.r, "feat-42.preview.example.com", "");
    decided();
    assert_provider("feat-42", "db");
    request_init(&f.r, "none.preview.example.com", "");
    assert_int_equal(decided(), REFUSAL_UNKNOWN_ENVIRONMENT);
    request_init(&f.r, "closed.preview.example.com", "");
    assert_int_equal(decided(), REFUSAL_FORBIDDEN);
    f.ask.env = STR("feat-42");
    decided();
    assert_provider("feat-42", "db");
    f.ask.env = STR("");
    request_init(&f.r, "", "");
    f.ask.service = STR("cart");
    assert_int_equal(decided(), REFUSAL_NO_PROVIDER);
    f.ask.service = STR("nothing");
    assert_int_equal(decided(), REFUSAL_NO_SERVICE);
    snapshot_unref(f.s);
    f.s = kept;
}

static void tcp_services_are_for_connections_and_others_are_not(void **state)
{
    (void)state;
    f.ask.service = STR("db");
    request_init(&f.r, "", "");
    decided();
    assert_provider("main", "db");
    f.ask.service = STR("cart");
    assert_int_equal(decided(), REFUSAL_UNSUPPORTED);
    assert_refused();
    f.ask.service = STR("");
    f.ask.connect = true;
    request_init(&f.r, "db:5432", "/");
    decided();
    assert_provider("main", "db");
    request_init(&f.r, "cart:80", "/");
    assert_int_equal(decided(), REFUSAL_UNSUPPORTED);
    assert_refused();
    request_init(&f.r, "www.example.org:443", "/");
    assert_int_equal(decided(), REFUSAL_NO_ROUTE);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_with_the_provider_of_context_and_route),
        TEST(hosts_of_services_count_at_trusted_listeners_only),
        TEST(forwards_the_path_as_received_without_the_selectors_parameter),
        TEST(a_fault_in_the_context_refuses),
        TEST(an_unknown_environment_is_refused_by_name),
        TEST(onmissing_refuse_means_no_default),
        TEST(without_a_gateway_and_context_there_is_no_environment),
        TEST(a_path_that_climbs_is_a_bad_request),
        TEST(no_route_comes_before_unknown_environment),
        TEST(an_environment_expires_at_its_instant),
        TEST(a_tcp_service_is_not_reached_over_http),
        TEST(a_connection_is_decided_by_its_service_and_the_name_it_gives),
        TEST(tcp_services_are_for_connections_and_others_are_not),
        TEST(sixteen_passages_are_no_loop_and_seventeen_are),
        TEST(passages_are_counted_in_every_spelling),
    };
    return cmocka_run_group_tests(tests, compile_graph, release_graph);
}
