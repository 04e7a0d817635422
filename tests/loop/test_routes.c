/* What routes do to requests and replies on their way. */
#include "tests/loop/loop.h"
#include <unistd.h>

static struct loop l;

#define REST                                                                                       \
    "---\nkind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"                                  \
    "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {cart: "         \
    "{endpoints: [\"127.0.0.1:9001\"]}}}\n---\n"                                                   \
    "kind: Environment\nmetadata: {name: feat}\nspec: {mode: overlay, parent: main, access: "      \
    "public}\n"
#define GATE(more, route)                                                                          \
    "kind: Gateway\nmetadata: {name: edge}\nspec: {defaultEnvironment: main, " more                \
    "routes: [{path: /, service: cart}, " route "]}\n" REST

#define ASK(path) "GET " path " HTTP/1.1\r\nHost: shop.example:80\r\n\r\n"
#define OK        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

/* Starts with one route more, a client at the edge that sends text; its end. */
static int begin(const char *graph, const char *text)
{
    loop_start(&l, graph, NULL);
    int c = loop_client(&l, l.edge);
    loop_send(&l, c, text);
    return c;
}

static void end(int c)
{
    close(c);
    loop_stop(&l);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in:\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("'%s' in:\n%s", part, text);
}

/* ---- paths --------------------------------------------------------------------------------- */

static void prefixes_are_cut_off_and_replaced(void **state)
{
    (void)state;
    int c = begin(GATE("", "{path: /api, service: cart, stripPrefix: true}, "
                           "{path: /old, service: cart, replacePrefix: /new}"),
        ASK("/api/x?q=/api"));
    assert_has(loop_recv(&l, l.provider[0]), "GET /x?q=/api HTTP/1.1\r\nhost: shop.example:80\r\n");
    loop_send(&l, l.provider[0], OK);
    static const struct {
        const char *ask, *want;
    } cases[] = {
        {ASK("/api"), "GET / HTTP/1.1\r\n"},
        {ASK("/a/../%61pi/%2e%2Fx"), "GET /.%2Fx HTTP/1.1\r\n"},
        {ASK("/old/y"), "GET /new/y HTTP/1.1\r\n"}, {ASK("/oldish"), "GET /oldish HTTP/1.1\r\n"},
        {ASK("/a/../b"), "GET /a/../b HTTP/1.1\r\n"}, /* its route rewrites nothing */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        loop_recv(&l, c);
        loop_send(&l, c, cases[i].ask);
        assert_has(loop_recv(&l, l.provider[0]), cases[i].want);
        loop_send(&l, l.provider[0], OK);
    }
    end(c);
}

static void the_host_is_rewritten(void **state)
{
    (void)state;
    int c = begin(
        GATE("", "{path: /api, service: cart, rewriteHost: \"Cart.internal:8080\"}"), ASK("/api"));
    assert_has(loop_recv(&l, l.provider[0]), "\r\nhost: Cart.internal:8080\r\n");
    end(c);
}

/* ---- headers ------------------------------------------------------------------------------- */

static void headers_of_requests_are_edited(void **state)
{
    (void)state;
    int c = begin(GATE("", "{path: /a, service: cart, requestHeaders: {set: {x-new: v 1, accept: "
                           "text/plain}, remove: [Cookie, X-Debug]}}"),
        "GET /a HTTP/1.1\r\nHost: s\r\nCookie: a=b\r\nX-DEBUG: 1\r\nX-Debug: 2\r\nX-Keep: k\r\n"
        "Accept: text/html\r\nx-new: theirs\r\n\r\n");
    const char *got = loop_recv(&l, l.provider[0]);
    assert_has(got, "\r\nx-new: v 1\r\n");
    assert_has(got, "\r\naccept: text/plain\r\n");
    assert_has(got, "\r\nx-keep: k\r\n");
    assert_lacks(got, "theirs");
    assert_lacks(got, "text/html");
    assert_lacks(got, "cookie");
    assert_lacks(got, "x-debug");
    end(c);
}

static void headers_of_replies_are_edited(void **state)
{
    (void)state;
    int c = begin(GATE("", "{path: /a, service: cart, replyHeaders: {set: "
                           "{strict-transport-security: max-age=1}, remove: [server]}}"),
        ASK("/a"));
    loop_send(&l, l.provider[0],
        "HTTP/1.1 200 OK\r\nServer: x\r\nStrict-Transport-Security: theirs\r\nX-Keep: k\r\n"
        "Content-Length: 2\r\n\r\nhi");
    assert_string_equal(loop_recv(&l, c),
        "HTTP/1.1 200 OK\r\nx-keep: k\r\nstrict-transport-security: max-age=1\r\n"
        "content-length: 2\r\n\r\nhi");
    end(c);
}

static void a_full_reply_has_room_for_what_is_set(void **state)
{
    (void)state;
    static char graph[4000], reply[4000];
    int n = snprintf(graph, sizeof graph,
        "kind: Gateway\nmetadata: {name: edge}\nspec: "
        "{defaultEnvironment: main, routes: [{path: /, service: cart, replyHeaders: {set: {");
    for (int i = 0; i < 32; i++)
        n += snprintf(graph + n, sizeof graph - (size_t)n, "y%02d: v,", i);
    snprintf(graph + n, sizeof graph - (size_t)n, "}}}]}\n" REST);
    int c = begin(graph, ASK("/"));
    n = snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n");
    for (int i = 0; i < 99; i++)
        n += snprintf(reply + n, sizeof reply - (size_t)n, "x%02d: v\r\n", i);
    snprintf(reply + n, sizeof reply - (size_t)n, "\r\nhi");
    loop_send(&l, l.provider[0], reply);
    const char *got = loop_recv(&l, c);
    assert_has(got, "HTTP/1.1 200 OK\r\n");
    assert_has(got, "\r\nx98: v\r\n");
    assert_has(got, "\r\ny31: v\r\n");
    assert_has(got, "\r\n\r\nhi");
    end(c);
}

/* Where a selector chose the environment no route makes the reply one for shared caches. */
static void a_private_reply_stays_private(void **state)
{
    (void)state;
    int c = begin(GATE("select: [{header: x-env}], ",
                      "{path: /a, service: cart, replyHeaders: {set: {cache-control: \"public, "
                      "max-age=60\"}}}"),
        "GET /a HTTP/1.1\r\nHost: s\r\nx-env: feat\r\n\r\n");
    loop_send(&l, l.provider[0], OK);
    const char *got = loop_recv(&l, c);
    assert_has(got, "cache-control: private\r\n");
    assert_has(got, "cache-control: max-age=60\r\n");
    assert_lacks(got, "public");
    end(c);
}

/* ---- bodies -------------------------------------------------------------------------------- */

#define CAPPED GATE("", "{path: /up, service: cart, maxBody: 10}")

static void c16_a_body_of_known_length_is_refused_at_once(void **state)
{
    (void)state;
    int c = begin(CAPPED, "POST /up HTTP/1.1\r\nHost: s\r\nContent-Length: 11\r\n\r\n");
    loop_assert_refused(&l, c, "413", "too-large");
    assert_int_equal(l.nproviders, 0);
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_TOO_LARGE), 1);
    end(c);
}

static void a_body_at_the_cap_passes(void **state)
{
    (void)state;
    int c = begin(CAPPED, "POST /up HTTP/1.1\r\nHost: s\r\nContent-Length: 10\r\n\r\n0123456789");
    assert_has(loop_recv(&l, l.provider[0]), "\r\n\r\n0123456789");
    loop_send(&l, l.provider[0], OK);
    assert_has(loop_recv(&l, c), "HTTP/1.1 200 OK\r\n");
    loop_send(&l, c,
        "POST /up HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n"
        "a\r\n0123456789\r\n0\r\n\r\n");
    assert_has(loop_recv(&l, l.provider[0]), "\r\n\r\na\r\n0123456789\r\n0\r\n\r\n");
    end(c);
}

static void c17_a_chunked_body_is_cut_where_it_passes_the_cap(void **state)
{
    (void)state;
    int c = begin(
        CAPPED, "POST /up HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n");
    assert_has(loop_recv(&l, l.provider[0]), "\r\n\r\n5\r\n01234\r\n");
    loop_send(&l, c, "6\r\n567890\r\n0\r\n\r\n");
    loop_assert_refused(&l, c, "413", "too-large");
    assert_string_equal(loop_recv(&l, l.provider[0]), ""); /* and no end of the body */
    assert_true(loop_closed(&l, l.provider[0]));
    assert_true(loop_closed(&l, c));
    loop_advance(&l, 60000); /* lingers, so that the reply arrives */
    assert_int_equal(loop_count(&l, STAT_CLIENT_CLOSES + CLIENT_CLOSE_TOO_LARGE), 1);
    end(c);
}

static void c17_a_chunked_body_over_the_cap_in_one_piece_is_never_whole(void **state)
{
    (void)state;
    int c = begin(CAPPED, "POST /up HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n");
    assert_lacks(loop_recv(&l, l.provider[0]), "0\r\n\r\n");
    loop_assert_refused(&l, c, "413", "too-large");
    end(c);
}

static void c18_a_cap_after_the_reply_ends_the_connection(void **state)
{
    (void)state;
    int c = begin(
        CAPPED, "POST /up HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n");
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi");
    assert_has(loop_recv(&l, c), "HTTP/1.1 200 OK\r\n");
    loop_send(&l, c, "6\r\n567890\r\n0\r\n\r\n");
    assert_true(loop_closed(&l, c));
    assert_int_equal(loop_count(&l, STAT_CLIENT_CLOSES + CLIENT_CLOSE_TOO_LARGE), 1);
    end(c);
}

/* ---- redirects ----------------------------------------------------------------------------- */

static void a_redirect_is_answered_here(void **state)
{
    (void)state;
    int c = begin(GATE("", "{path: /old, replacePrefix: /new, replyHeaders: {set: {x-a: b}}, "
                           "redirect: {status: 308, host: new.example}}"),
        ASK("/old/x?y=z"));
    assert_string_equal(loop_recv(&l, c),
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: http://new.example/new/x?y=z\r\nx-a: b\r\n"
        "content-length: 0\r\n\r\n");
    assert_int_equal(l.nproviders, 0);
    assert_int_equal(loop_count(&l, STAT_MOVED), 1);
    assert_int_equal(loop_count(&l, STAT_REQUESTS), 0); /* no refusal */
    loop_send(&l, c, "POST /old HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\nhi");
    assert_has(loop_recv(&l, c), "\r\nlocation: http://new.example/new\r\n");
    loop_send(&l, c, ASK("/"));
    assert_int_equal(l.nproviders, 1); /* the connection goes on */
    end(c);
}

static void a_redirect_needs_no_environment(void **state)
{
    (void)state;
    int c = begin("kind: Gateway\nmetadata: {name: edge}\nspec: {routes: [{path: /old, redirect: "
                  "{location: \"https://example.com/\"}}, {path: /, service: cart}]}\n" REST,
        ASK("/old"));
    assert_has(loop_recv(&l, c), "HTTP/1.1 302 Found\r\nlocation: https://example.com/\r\n");
    loop_send(&l, c, ASK("/"));
    loop_assert_refused(&l, c, "404", "no-environment");
    end(c);
}

static void a_long_path_is_redirected_whole(void **state)
{
    (void)state;
    static char ask[12000], want[12000], path[8000];
    memset(path, 'x', sizeof path - 1);
    snprintf(ask, sizeof ask, "GET /old/%s?q HTTP/1.1\r\nHost: s\r\n\r\n", path);
    snprintf(want, sizeof want, "\r\nlocation: http://s:81/%s?q\r\n", path);
    int c = begin(GATE("", "{path: /old, stripPrefix: true, redirect: {port: 81}}"), ask);
    assert_has(loop_recv(&l, c), want);
    end(c);
}

static void plain_http_is_sent_to_https(void **state)
{
    (void)state;
    int c = begin(GATE("", "{path: /a, service: cart, requireHttps: true, stripPrefix: true}"),
        ASK("/a/x?env=y"));
    assert_has(loop_recv(&l, c),
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://shop.example/a/x?env=y\r\n");
    assert_int_equal(loop_count(&l, STAT_MOVED_HTTPS), 1);
    close(c);
    c = loop_client(&l, l.trusted); /* who sent it on was asked with https */
    loop_send(&l, c, "GET /a/x HTTP/1.1\r\nHost: s\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert_has(loop_recv(&l, l.provider[0]), "GET /x HTTP/1.1\r\n");
    end(c);
}

static void https_needs_a_host(void **state)
{
    (void)state;
    int c =
        begin(GATE("", "{path: /a, service: cart, requireHttps: true}"), "GET /a HTTP/1.0\r\n\r\n");
    loop_assert_refused(&l, c, "400", "bad-request");
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_BAD_REQUEST), 1);
    end(c);
}

static void a_location_that_is_too_long_is_refused(void **state)
{
    (void)state;
    static char ask[33000], path[32600];
    memset(path, 'x', sizeof path - 1);
    snprintf(ask, sizeof ask, "GET /old/%s HTTP/1.1\r\nHost: s\r\n\r\n", path);
    int c = begin(GATE("", "{path: /old, stripPrefix: true, redirect: {port: 81}}"), ask);
    const char *got = loop_recv(&l, c);
    if (!strstr(got, "HTTP/1.1 431 ") && !strstr(got, "HTTP/1.1 302 "))
        fail_msg("%.200s", got);
    end(c);
}

/* ---- times, upgrades ----------------------------------------------------------------------- */

static void a_route_has_a_time_out_of_its_own(void **state)
{
    (void)state;
    int c = begin(GATE("", "{path: /slow, service: cart, timeout: 5s}"), ASK("/slow"));
    loop_advance(&l, 4900);
    assert_string_equal(loop_recv(&l, c), "");
    loop_advance(&l, 200);
    loop_assert_refused(&l, c, "504", "timeout");
    end(c);
}

static void a_route_has_an_idle_time_of_its_own(void **state)
{
    (void)state;
    int c = begin(GATE("", "{path: /slow, service: cart, idleTimeout: 5s}"), ASK("/slow"));
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi");
    assert_has(loop_recv(&l, c), "\r\n\r\nhi");
    loop_advance(&l, 4900);
    loop_send(&l, l.provider[0], "ho");
    loop_advance(&l, 4900);
    assert_string_equal(loop_recv(&l, c), "ho");
    loop_advance(&l, 300);
    assert_true(loop_closed(&l, c));
    assert_int_equal(loop_count(&l, STAT_PROVIDER_ERRORS + PROVIDER_STALLED), 1);
    end(c);
}

static void the_policy_has_an_idle_time_too(void **state)
{
    (void)state;
    int c = begin("kind: Gateway\nmetadata: {name: edge}\nspec: {defaultEnvironment: main, "
                  "routes: [{path: /, service: pay}]}\n---\nkind: Service\nmetadata: {name: pay}\n"
                  "spec: {policy: {idleTimeout: 2s}}\n---\n"
                  "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: "
                  "{pay: {endpoints: [\"127.0.0.1:9001\"]}}}\n",
        ASK("/"));
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi");
    loop_advance(&l, 2100);
    loop_recv(&l, c);
    assert_true(loop_closed(&l, c));
    end(c);
}

static void upgrades_can_be_refused(void **state)
{
    (void)state;
    int c = begin(GATE("", "{path: /ws, service: cart, upgrade: false}"),
        "GET /ws HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    loop_assert_refused(&l, c, "501", "unsupported");
    assert_int_equal(l.nproviders, 0);
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_are_cut_off_and_replaced),
        cmocka_unit_test(the_host_is_rewritten),
        cmocka_unit_test(headers_of_requests_are_edited),
        cmocka_unit_test(headers_of_replies_are_edited),
        cmocka_unit_test(a_full_reply_has_room_for_what_is_set),
        cmocka_unit_test(a_private_reply_stays_private),
        cmocka_unit_test(c16_a_body_of_known_length_is_refused_at_once),
        cmocka_unit_test(a_body_at_the_cap_passes),
        cmocka_unit_test(c17_a_chunked_body_is_cut_where_it_passes_the_cap),
        cmocka_unit_test(c17_a_chunked_body_over_the_cap_in_one_piece_is_never_whole),
        cmocka_unit_test(c18_a_cap_after_the_reply_ends_the_connection),
        cmocka_unit_test(a_redirect_is_answered_here),
        cmocka_unit_test(a_redirect_needs_no_environment),
        cmocka_unit_test(a_long_path_is_redirected_whole),
        cmocka_unit_test(plain_http_is_sent_to_https),
        cmocka_unit_test(https_needs_a_host),
        cmocka_unit_test(a_location_that_is_too_long_is_refused),
        cmocka_unit_test(a_route_has_a_time_out_of_its_own),
        cmocka_unit_test(a_route_has_an_idle_time_of_its_own),
        cmocka_unit_test(the_policy_has_an_idle_time_too),
        cmocka_unit_test(upgrades_can_be_refused),
    };
    return unit_run(tests);
}
