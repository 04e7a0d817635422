/* Routes that do more than choose a service, explained. */
#include "tests/unit/graph/compiled.h"

#include "lib/graph/described.h"
#include "lib/graph/explain.h"
#include "tests/unit/graph/routed.h"

static char text[4096];

/* What explain says of a request; with `json` the object. */
static const char *explained(const char *host, const char *path, bool json)
{
    struct snapshot *s = graph_compile(ROUTED);
    struct described d;
    struct answer a;
    struct text out = {0};
    struct err e;
    assert_int_equal(described_init(&d, str_c(host), str_c(path), false, NULL, 0, &e), 0);
    d.ask.gateway = snapshot_only_gateway(s);
    d.ask.now = 1000;
    decide(s, &d.ask, &a);
    (json ? explain_json : explain_text)(&out, s, &d.ask, &a, 7);
    assert_false(out.failed);
    snprintf(text, sizeof text, "%.*s", (int)out.n, out.p);
    text_release(&out);
    described_release(&d);
    snapshot_unref(s);
    return text;
}

static void what_is_forwarded_is_shown_with_every_action(void **state)
{
    (void)state;
    assert_string_equal(explained("https://shop.example.com", "/api/x?y", false),
        "cart in main: provided by main (class local, distance 0)\n"
        "  why: main itself provides it (g.yaml:60)\n"
        "  context: rule default, from default\n"
        "  route: shop.example.com /api/\n"
        "  forwarded: /x?y to host cart.internal:8080\n"
        "  stripPrefix: true\n"
        "  requestHeaders: set x-a, x-b; remove cookie, x-debug\n"
        "  replyHeaders: set strict-transport-security; remove server\n"
        "  maxBody: 10485760 bytes\n"
        "  timeout: 5s\n"
        "  idleTimeout: 1m\n"
        "  affinity: cookie sid\n"
        "  upgrade: false\n"
        "  requireHttps: true\n"
        "  endpoints: 10.0.0.1:1\n"
        "  lineage: main\n"
        "  epoch: 7\n");
    assert_non_null(strstr(explained("https://shop.example.com", "/api/x?y", true),
        "\"route\":{\"host\":\"shop.example.com\",\"path\":\"/api/\",\"service\":\"cart\"},"
        "\"forward\":{\"path\":\"/x?y\",\"host\":\"cart.internal:8080\"},"
        "\"actions\":{\"stripPrefix\":true,\"rewriteHost\":\"cart.internal:8080\","
        "\"requestHeaders\":{\"set\":{\"x-a\":\"\",\"x-b\":\"two words\"},"
        "\"remove\":[\"cookie\",\"x-debug\"]},"
        "\"replyHeaders\":{\"set\":{\"strict-transport-security\":\"max-age=1\"},"
        "\"remove\":[\"server\"]},\"maxBody\":10485760,\"timeout\":\"5s\","
        "\"idleTimeout\":\"1m\",\"affinity\":{\"cookie\":\"sid\"},\"upgrade\":false,"
        "\"requireHttps\":true},"));
}

static void a_redirect_is_shown_with_its_location(void **state)
{
    (void)state;
    assert_string_equal(explained("a.example:80", "/old/x?y", false),
        "redirected: 308 to https://new.example.com:8443/new/x?y\n"
        "  why: the route redirects; no environment is asked for\n"
        "  context: rule default, from default\n"
        "  route: any host /old\n"
        "  replacePrefix: /new/\n"
        "  epoch: 7\n");
    const char *json = explained("a.example:80", "/old/x?y", true);
    assert_non_null(strstr(json, "\"outcome\":\"redirect\",\"class\":null,\"provider\":null,"));
    assert_non_null(strstr(json, "\"redirect\":{\"status\":308,\"location\":"
                                 "\"https://new.example.com:8443/new/x?y\"},"
                                 "\"actions\":{\"replacePrefix\":\"/new/\",\"redirect\":true}"));
    assert_non_null(
        strstr(explained("a", "/away", false), "redirected: 302 to https://example.com/x?y\n"));
}

static void https_is_asked_for(void **state)
{
    (void)state;
    assert_non_null(strstr(explained("shop.example.com:80", "/api/x?y", false),
        "redirected: 308 to https://shop.example.com/api/x?y\n"
        "  why: the route requires https, and the request came without\n"));
}

static void a_route_without_actions_shows_none(void **state)
{
    (void)state;
    assert_null(strstr(explained("a", "/plain", false), "forwarded"));
    assert_null(strstr(explained("a", "/plain", true), "forward"));
    assert_non_null(
        strstr(explained("a", "/up", false), "  maxBody: 0 bytes\n  affinity: source\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_forwarded_is_shown_with_every_action),
        cmocka_unit_test(a_redirect_is_shown_with_its_location),
        cmocka_unit_test(https_is_asked_for),
        cmocka_unit_test(a_route_without_actions_shows_none),
    };
    return cmocka_run_group_tests(tests, NULL, nothing_lives);
}
