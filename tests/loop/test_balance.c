/* Which endpoint gets a request: rounds, affinity, ejection, health, orders, retries, budgets.
 * Endpoints are told apart by their ports: 9001, 9002, 9003. */
#include "proxy/health.h"
#include "tests/loop/loop.h"
#include <errno.h>
#include <unistd.h>

static struct loop l;
static int (*pair)(struct worker *w, const struct addr *a, bool *ret_pending);
static uint16_t port_of[LOOP_PROVIDERS]; /* by connect */
static uint16_t dead;                    /* connects to it fail at once; 1: to all */
static unsigned refused;

static int connect_noting(struct worker *w, const struct addr *a, bool *ret_pending)
{
    if (dead == 1 || a->port == dead) {
        refused++;
        return -ECONNREFUSED;
    }
    port_of[l.nproviders] = a->port;
    return pair(w, a, ret_pending);
}

static const char one[] = "\"127.0.0.1:9001\"";
static const char two[] = "\"127.0.0.1:9001\", \"127.0.0.1:9002\"";
static const char three[] = "\"127.0.0.1:9001\", \"127.0.0.1:9002\", \"127.0.0.1:9003\"";

static const char *graph_with(const char *policy, const char *endpoints)
{
    static char graph[4096];
    snprintf(graph, sizeof graph,
        "apiVersion: offshoot.dev/v1\nkind: Service\nmetadata: {name: cart}\n"
        "spec: {policy: {%s}}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: main}\n"
        "spec: {mode: baseline, providers: {cart: {endpoints: [%s]}}}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Environment\nmetadata: {name: feat}\n"
        "spec: {mode: overlay, parent: main, access: public}\n---\n"
        "apiVersion: offshoot.dev/v1\nkind: Gateway\nmetadata: {name: edge}\n"
        "spec: {defaultEnvironment: main, select: [{header: x-env}], "
        "routes: [{path: /, service: cart}]}\n",
        policy, endpoints);
    return graph;
}

static void begin(const char *policy, const char *endpoints, const char *const *sets)
{
    loop_start(&l, graph_with(policy, endpoints), sets);
    dead = 0;
    refused = 0;
    pair = l.w.connect;
    l.w.connect = connect_noting;
}

static const char get[] = "GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
static const char bad_gateway[] = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

/* The connect whose peer has a request to read, and takes it; -1: none. */
static int asked(void)
{
    for (unsigned i = 0; i < l.nproviders; i++)
        if (l.provider[i] >= 0 && *loop_recv(&l, l.provider[i]))
            return (int)i;
    return -1;
}

/* One request on c, answered with reply; returns the port that it went to, 0: to none. */
static uint16_t exchange(int c, const char *request, const char *reply)
{
    loop_send(&l, c, request);
    int i = asked();
    if (i < 0)
        return 0;
    loop_send(&l, l.provider[i], reply);
    return port_of[i];
}

static uint16_t ask_with(int c, const char *reply)
{
    uint16_t port = exchange(c, get, reply);
    loop_recv(&l, c);
    return port;
}

static void order(const char *address, enum endpoint_order o)
{
    struct addr a;
    assert_int_equal(addr_parse(str_c(address), false, &a, NULL), 0);
    assert_int_equal(endpoint_order(l.shared.endpoints, &a, o, "", l.w.now_ms, 0, NULL), 0);
}

static struct endpoint_entry *entry_of(uint16_t port)
{
    struct addr a = {.kind = ADDR_IP4, .ip = {127, 0, 0, 1}, .port = port};
    struct provider *p = provider_find(&l.w, &a, &(struct provider_way){0});
    assert_non_null(p);
    return p->use.entry;
}

/* What a check would find. */
static void health(uint16_t port, bool healthy)
{
    endpoint_judge(entry_of(port), healthy, healthy ? "" : "down", l.w.now_ms, 0);
}

/* ---- rounds ---- */

static void rounds_go_by_turn(void **state)
{
    (void)state;
    begin("balance: round-robin", three, NULL);
    int c = loop_client(&l, l.trusted);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(ask_with(c, ok), 9001 + i % 3);
    loop_end(&l, c);
}

static void weights_count(void **state)
{
    (void)state;
    unsigned got[4] = {0};
    begin("balance: round-robin", "{address: \"127.0.0.1:9001\", weight: 3}, \"127.0.0.1:9002\"",
        NULL);
    int c = loop_client(&l, l.trusted);
    for (unsigned i = 0; i < 40; i++)
        got[ask_with(c, ok) - 9000]++;
    assert_in_range(got[1], 29, 31);
    assert_in_range(got[2], 9, 11);
    loop_end(&l, c);
}

static void the_less_busy_of_two_is_taken(void **state)
{
    (void)state;
    begin("balance: least-request", two, NULL);
    int busy[6], c = loop_client(&l, l.trusted);
    uint16_t first = ask_with(c, ok);
    for (unsigned i = 0; i < 6; i++) { /* six requests hang, half of them on each */
        busy[i] = loop_client(&l, l.trusted);
        loop_send(&l, busy[i], get);
    }
    unsigned on_first = 0;
    for (unsigned i = 0; i < l.nproviders; i++)
        on_first += *loop_recv(&l, l.provider[i]) && port_of[i] == first;
    assert_in_range(on_first, 2, 4);
    for (unsigned i = 0; i < 6; i++)
        loop_close(&l, &busy[i]);
    loop_end(&l, c);
}

/* ---- affinity ---- */

static uint16_t ask_env(int c, const char *env)
{
    char request[128];
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: shop\r\nx-env: %s\r\n\r\n", env);
    uint16_t port = exchange(c, request, ok);
    loop_recv(&l, c);
    return port;
}

static void an_environment_stays_on_its_endpoint(void **state)
{
    (void)state;
    begin("hash: context", three, NULL);
    int c = loop_client(&l, l.edge);
    uint16_t base = ask_env(c, "main"), feat = ask_env(c, "feat");
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(ask_env(c, "main"), base);
        assert_int_equal(ask_env(c, "feat"), feat);
    }
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", base);
    order(address, ENDPOINT_DRAIN);
    uint16_t other = ask_env(c, "main");
    assert_int_not_equal(other, base);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask_env(c, "main"), other);
    order(address, ENDPOINT_ENABLE);
    assert_int_equal(ask_env(c, "main"), base);
    loop_end(&l, c);
}

static void a_cookie_keeps_a_client_on_its_endpoint(void **state)
{
    (void)state;
    char request[256], cookie[64] = "";
    begin("hash: {cookie: stick}", three, NULL);
    int c = loop_client(&l, l.edge);
    uint16_t port = exchange(c, get, ok);
    const char *got = loop_recv(&l, c), *set = strstr(got, "\r\nset-cookie: stick=");
    assert_non_null(set);
    assert_int_equal(sscanf(set, "\r\nset-cookie: %63[^;\r]", cookie), 1);
    assert_int_equal(strlen(cookie), strlen("stick=") + AFFINITY_VALUE);
    assert_int_equal(
        strncmp(set + strlen("\r\nset-cookie: ") + strlen(cookie),
            "; Path=/; HttpOnly; SameSite=Lax\r\n", strlen("; Path=/; HttpOnly; SameSite=Lax\r\n")),
        0);
    snprintf(request, sizeof request,
        "GET / HTTP/1.1\r\nHost: shop\r\nCookie: a=b;%s; c=stick=no\r\n\r\n", cookie);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(exchange(c, request, ok), port);
        assert_null(strstr(loop_recv(&l, c), "set-cookie"));
    }
    assert_int_equal(loop_count(&l, STAT_AFFINITY_COOKIES), 1);
    loop_end(&l, c);
}

static void clients_without_the_cookie_are_spread(void **state)
{
    (void)state;
    unsigned got[4] = {0};
    begin("hash: {cookie: stick}", three, NULL);
    int c = loop_client(&l, l.edge);
    for (unsigned i = 0; i < 60; i++)
        got[ask_with(c, ok) - 9000]++;
    assert_true(got[1] > 5 && got[2] > 5 && got[3] > 5);
    loop_end(&l, c);
}

static void a_source_stays_on_its_endpoint(void **state)
{
    (void)state;
    unsigned other = 0;
    begin("hash: source", three, NULL);
    int c = loop_client(&l, l.edge);
    uint16_t port = ask_with(c, ok);
    for (unsigned i = 0; i < 12; i++) {
        l.peer.ip[3] = (uint8_t)(100 + i);
        int d = loop_client(&l, l.edge);
        other += ask_with(d, ok) != port;
        loop_close(&l, &d);
        assert_int_equal(ask_with(c, ok), port);
    }
    assert_true(other > 2);
    loop_end(&l, c);
}

/* ---- health ---- */

static void what_is_unhealthy_gets_nothing(void **state)
{
    (void)state;
    begin("", three, NULL);
    int c = loop_client(&l, l.trusted);
    for (unsigned i = 0; i < 3; i++)
        ask_with(c, ok);
    health(9002, false);
    for (unsigned i = 0; i < 12; i++)
        assert_int_not_equal(ask_with(c, ok), 9002);
    health(9002, true);
    unsigned back = 0;
    for (unsigned i = 0; i < 6; i++)
        back += ask_with(c, ok) == 9002;
    assert_int_equal(back, 2);
    loop_end(&l, c);
}

static void with_all_unhealthy_it_is_refused_and_the_class_stays(void **state)
{
    (void)state;
    begin("health: {path: /h, interval: 7s}", two, NULL);
    int c = loop_client(&l, l.trusted);
    ask_with(c, ok);
    ask_with(c, ok);
    health(9001, false);
    health(9002, false);
    unsigned connects = l.nproviders;
    loop_send(&l, c, get);
    const char *got = loop_recv(&l, c);
    assert_non_null(strstr(got, "HTTP/1.1 503 "));
    assert_non_null(strstr(got, "\r\nx-offshoot-error: unhealthy\r\n"));
    assert_non_null(strstr(got, "\r\nretry-after: 7\r\n"));
    assert_int_equal(l.nproviders, connects);
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_UNHEALTHY), 1);
    assert_int_equal(loop_count(&l, STAT_REQUESTS + CLASS_LOCAL), 3);
    loop_end(&l, c);
}

static void what_recovers_starts_slowly(void **state)
{
    (void)state;
    begin("slowStart: 10s", two, NULL);
    int c = loop_client(&l, l.trusted);
    ask_with(c, ok);
    ask_with(c, ok);
    loop_advance(&l, 11000);
    health(9001, false);
    health(9001, true);
    unsigned got = 0;
    for (unsigned i = 0; i < 200; i++)
        got += ask_with(c, ok) == 9001;
    assert_in_range(got, 4, 40); /* a tenth against one: 18 of 200 */
    loop_advance(&l, 10000);
    got = 0;
    for (unsigned i = 0; i < 200; i++)
        got += ask_with(c, ok) == 9001;
    assert_int_equal(got, 100);
    loop_end(&l, c);
}

/* ---- orders ---- */

static void a_drained_endpoint_keeps_what_runs_and_gets_no_more(void **state)
{
    (void)state;
    begin("", two, NULL);
    int c = loop_client(&l, l.trusted), d = loop_client(&l, l.trusted);
    loop_send(&l, c, get);
    assert_int_equal(asked(), 0);
    order("127.0.0.1:9001", ENDPOINT_DRAIN);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ask_with(d, ok), 9002);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nda");
    loop_advance(&l, 5000);
    loop_send(&l, l.provider[0], "ta");
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\ndata"));
    assert_true(loop_closed(&l, l.provider[0])); /* kept for nobody */
    order("127.0.0.1:9001", ENDPOINT_ENABLE);
    assert_int_equal(ask_with(d, ok) + ask_with(d, ok), 9001 + 9002);
    loop_close(&l, &d);
    loop_end(&l, c);
}

static void unused_connections_of_a_drained_endpoint_are_closed(void **state)
{
    (void)state;
    begin("", one, NULL);
    int c = loop_client(&l, l.trusted);
    ask_with(c, ok);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_IDLE), 1);
    order("127.0.0.1:9001", ENDPOINT_DISABLE);
    loop_advance(&l, 1000);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_IDLE), 0);
    loop_send(&l, c, get);
    loop_assert_refused(&l, c, "503", "unhealthy");
    loop_end(&l, c);
}

/* ---- ejection ---- */

static void what_fails_often_is_ejected_and_comes_back(void **state)
{
    (void)state;
    begin("ejection: {consecutiveFailures: 3, time: 2s}", two, NULL);
    int c = loop_client(&l, l.trusted);
    uint16_t port;
    unsigned bad = 0;
    for (unsigned i = 0; i < 12; i++) { /* 9001 says 502 whenever it is asked */
        loop_send(&l, c, get);
        int at = asked();
        port = port_of[at];
        bad += port == 9001;
        loop_send(&l, l.provider[at], port == 9001 ? bad_gateway : ok);
        loop_recv(&l, c);
    }
    assert_int_equal(bad, 3);
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 1);
    loop_advance(&l, 2000);
    bad = 0;
    for (unsigned i = 0; i < 8; i++) {
        loop_send(&l, c, get);
        int at = asked();
        bad += port_of[at] == 9001;
        loop_send(&l, l.provider[at], port_of[at] == 9001 ? bad_gateway : ok);
        loop_recv(&l, c);
    }
    assert_int_equal(bad, 1); /* once more was enough: ejected again, for 4 s */
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 2);
    loop_advance(&l, 3000);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ask_with(c, ok), 9002);
    loop_advance(&l, 1000);
    assert_int_equal(ask_with(c, ok) + ask_with(c, ok), 9001 + 9002);
    loop_end(&l, c);
}

static void the_last_one_is_never_ejected(void **state)
{
    (void)state;
    begin("ejection: {consecutiveFailures: 2, time: 60s, maxEjected: 100%}", two, NULL);
    int c = loop_client(&l, l.trusted);
    unsigned on[2] = {0};
    for (unsigned i = 0; i < 20; i++)
        on[ask_with(c, bad_gateway) - 9001]++;
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 1);
    assert_true(loop_count(&l, STAT_EJECTIONS_SPARED) > 0);
    assert_int_equal(on[0] + on[1], 20); /* all went somewhere */
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_UNHEALTHY), 0);
    loop_end(&l, c);
}

static void failed_connects_and_broken_replies_count(void **state)
{
    (void)state;
    begin("ejection: {consecutiveFailures: 2, time: 60s}, retries: {max: 0}", two, NULL);
    int c = loop_client(&l, l.trusted);
    dead = 9001;
    for (unsigned i = 0; i < 10; i++)
        if (exchange(c, get, ok) == 0)
            loop_assert_refused(&l, c, "502", "connect");
        else
            loop_recv(&l, c);
    assert_int_equal(refused, 2);
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 1);
    loop_end(&l, c);
    begin("ejection: {consecutiveFailures: 2, time: 60s}, retries: {max: 0}", two, NULL);
    unsigned broken = 0;
    for (unsigned i = 0; i < 10; i++) {
        c = loop_client(&l, l.trusted);
        loop_send(&l, c, get);
        int at = asked();
        if (port_of[at] == 9001) {
            broken++;
            loop_send(&l, l.provider[at], "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            loop_close(&l, &l.provider[at]);
        } else {
            loop_send(&l, l.provider[at], ok);
        }
        loop_recv(&l, c);
        loop_close(&l, &c);
    }
    assert_int_equal(broken, 2);
    loop_stop(&l);
}

/* ---- retries ---- */

static void a_retry_goes_to_another_endpoint(void **state)
{
    (void)state;
    begin("retries: {max: 2}", three, NULL);
    int c = loop_client(&l, l.trusted);
    dead = 9001;
    for (unsigned i = 0; i < 9; i++)
        assert_int_not_equal(ask_with(c, ok), 0);
    assert_int_equal(refused, 3); /* its turns alone */
    assert_int_equal(loop_count(&l, STAT_RETRIES), 3);
    dead = 1;
    for (unsigned i = 0; i < l.nproviders; i++)
        loop_close(&l, &l.provider[i]);
    refused = 0;
    loop_send(&l, c, get);
    loop_assert_refused(&l, c, "502", "connect");
    assert_int_equal(refused, 3);
    loop_end(&l, c);
}

/* A connection that the endpoint had closed when the request came there. */
static uint16_t after_a_stale_one(const char *policy)
{
    begin(policy, two, NULL);
    int c = loop_client(&l, l.trusted);
    uint16_t first = ask_with(c, ok);
    if (l.nproviders == 1) /* the second turn, so that the third is the first endpoint's */
        ask_with(c, ok);
    loop_send(&l, c, get);
    assert_int_equal(asked(), 0);
    loop_close(&l, &l.provider[0]);
    int at = asked();
    assert_true(at > 0);
    loop_send(&l, l.provider[at], ok);
    assert_non_null(strstr(loop_recv(&l, c), "200 OK"));
    assert_int_equal(loop_count(&l, STAT_RETRIES), 1);
    uint16_t second = port_of[at];
    loop_end(&l, c);
    return second == first;
}

static void a_stale_connection_is_left_for_another_endpoint(void **state)
{
    (void)state;
    assert_false(after_a_stale_one("retries: {max: 0}"));
    assert_true(after_a_stale_one("retries: {max: 0}, hash: context"));
}

static void one_try_has_its_own_time(void **state)
{
    (void)state;
    begin("timeout: 30s, connectTimeout: 10s, retries: {max: 1, perTryTimeout: 2s}", two, NULL);
    int c = loop_client(&l, l.trusted);
    l.connect_pending = true;
    loop_send(&l, c, get);
    assert_int_equal(l.nproviders, 1);
    l.connect_pending = false;
    loop_advance(&l, 2100); /* nothing was sent: the other endpoint is tried */
    assert_int_equal(l.nproviders, 2);
    assert_int_equal(port_of[0] + port_of[1], 9001 + 9002);
    assert_int_equal(asked(), 1);
    loop_advance(&l, 1000);
    assert_string_equal(loop_recv(&l, c), "");
    loop_advance(&l, 1100); /* now it may have been processed: no other try */
    loop_assert_refused(&l, c, "504", "timeout");
    assert_int_equal(loop_count(&l, STAT_RETRIES), 1);
    loop_end(&l, c);
}

static void without_budget_there_is_no_retry(void **state)
{
    (void)state;
    begin("retries: {max: 1, budget: 0%}", two, NULL);
    int c = loop_client(&l, l.trusted);
    dead = 9001;
    for (unsigned i = 0; i < 40; i++) {
        exchange(c, get, ok);
        loop_recv(&l, c);
    }
    assert_int_equal(loop_count(&l, STAT_RETRIES), 10); /* what was saved up */
    assert_int_equal(loop_count(&l, STAT_RETRIES_DENIED), 10);
    loop_end(&l, c);
}

/* ---- budgets ---- */

static void requests_above_the_budget_are_refused(void **state)
{
    (void)state;
    begin("maxRequests: 2", one, NULL);
    int c[3];
    for (unsigned i = 0; i < 3; i++) {
        c[i] = loop_client(&l, l.trusted);
        loop_send(&l, c[i], get);
    }
    loop_assert_refused(&l, c[2], "503", "overload");
    assert_int_equal(loop_count(&l, STAT_BUDGET_REQUESTS), 1);
    loop_send(&l, l.provider[0], ok);
    loop_recv(&l, c[0]);
    loop_send(&l, c[2], get);
    assert_int_equal(loop_count(&l, STAT_BUDGET_REQUESTS), 1);
    assert_int_equal(entry_of(9001)->requests, 2);
    for (unsigned i = 0; i < l.nproviders; i++)
        loop_close(&l, &l.provider[i]);
    for (unsigned i = 0; i < 3; i++)
        loop_close(&l, &c[i]);
    assert_int_equal(entry_of(9001)->requests, 0);
    loop_stop(&l);
}

static void connections_above_the_budget_are_waited_for(void **state)
{
    (void)state;
    begin("maxConnections: 2, maxPending: 1", one, NULL);
    int c[4];
    for (unsigned i = 0; i < 4; i++) {
        c[i] = loop_client(&l, l.trusted);
        loop_send(&l, c[i], get);
    }
    assert_int_equal(l.nproviders, 2);
    assert_true(loop_count(&l, STAT_BUDGET_CONNECTIONS) > 0);
    loop_assert_refused(&l, c[3], "503", "overload");
    assert_int_equal(loop_count(&l, STAT_BUDGET_PENDING), 1);
    loop_send(&l, l.provider[0], ok);
    assert_int_not_equal(asked(), -1); /* the third has it now */
    assert_int_equal(l.nproviders, 2);
    assert_int_equal(entry_of(9001)->pending, 0);
    for (unsigned i = 0; i < 4; i++)
        loop_close(&l, &c[i]);
    assert_int_equal(entry_of(9001)->connections, loop_count(&l, STAT_PROVIDER_CONNECTIONS));
    loop_stop(&l);
}

static void room_that_another_worker_makes_is_seen(void **state)
{
    (void)state;
    begin("maxConnections: 1", one, NULL);
    int c = loop_client(&l, l.trusted);
    ask_with(c, ok);
    for (unsigned i = 0; i < l.nproviders; i++)
        loop_close(&l, &l.provider[i]);
    assert_int_equal(entry_of(9001)->connections, 0);
    assert_true(budget_take(&entry_of(9001)->connections, 0)); /* as another worker would */
    loop_send(&l, c, get);
    assert_int_equal(l.nproviders, 1);
    loop_advance(&l, 60);
    assert_int_equal(l.nproviders, 1);
    budget_give(&entry_of(9001)->connections);
    loop_advance(&l, 60);
    assert_int_equal(l.nproviders, 2);
    assert_int_equal(asked(), 1);
    loop_end(&l, c);
}

static void an_unused_connection_is_given_up_for_who_waits(void **state)
{
    (void)state;
    begin("maxConnections: 1", one, NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, get);
    assert_int_equal(asked(), 0);
    assert_true(budget_take(&entry_of(9001)->pending, 0)); /* of another worker */
    loop_send(&l, l.provider[0], ok);
    loop_recv(&l, c);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_CONNECTIONS), 0);
    budget_give(&entry_of(9001)->pending);
    loop_end(&l, c);
}

/* ---- names ---- */

/* What the control thread would answer: 127.0.1.1 and so on. */
static void name_is(const char *name, unsigned n)
{
    struct name_answer *a = mem_zalloc(sizeof *a + n * sizeof(struct addr));
    assert_non_null(a);
    a->len = strlen(name);
    memcpy(a->text, name, a->len);
    a->ttl_s = 1000;
    a->naddrs = n;
    for (unsigned i = 0; i < n; i++)
        a->addrs[i] = (struct addr){.kind = ADDR_IP4, .ip = {127, 0, 1, (uint8_t)(i + 1)}};
    name_answer_run(&a->message, &l.w);
}

/* The address, not the port, tells them apart here. */
static int connect_noting_address(struct worker *w, const struct addr *a, bool *ret_pending)
{
    port_of[l.nproviders] = a->ip[3];
    return a->ip[3] == dead ? -ECONNREFUSED : pair(w, a, ret_pending);
}

static int begin_name(const char *policy)
{
    begin(policy, "\"shop.main.svc:80\"", NULL);
    l.w.connect = connect_noting_address;
    int c = loop_client(&l, l.edge);
    loop_send(&l, c, get); /* without a control thread nobody answers: but it is known now */
    loop_assert_refused(&l, c, "502", "connect");
    name_is("shop.main.svc", 3);
    loop_advance(&l, 2000);
    return c;
}

static void all_addresses_of_a_name_are_used(void **state)
{
    (void)state;
    unsigned got[4] = {0};
    int c = begin_name("retries: {max: 0}");
    for (unsigned i = 0; i < 9; i++)
        got[ask_with(c, ok)]++;
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(got[i], 3);
    order("127.0.1.2:80", ENDPOINT_DRAIN);
    for (unsigned i = 0; i < 9; i++)
        assert_int_not_equal(ask_with(c, ok), 2);
    order("shop.main.svc:80", ENDPOINT_DRAIN); /* the name, and so all of them */
    loop_send(&l, c, get);
    loop_assert_refused(&l, c, "503", "unhealthy");
    loop_end(&l, c);
}

static void addresses_of_a_name_are_ejected_one_by_one(void **state)
{
    (void)state;
    int c = begin_name("ejection: {consecutiveFailures: 2, time: 60s}, retries: {max: 1}");
    dead = 3;
    for (unsigned i = 0; i < 12; i++)
        assert_int_not_equal(ask_with(c, ok), 0);
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 1);
    assert_int_equal(loop_count(&l, STAT_RETRIES), 3); /* one for the look-up */
    loop_end(&l, c);
}

static void keys_stay_on_an_address_of_a_name(void **state)
{
    (void)state;
    int c = begin_name("hash: context, retries: {max: 0}");
    uint16_t at = ask_env(c, "main");
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ask_env(c, "main"), at);
    loop_end(&l, c);
}

/* ---- memory ---- */

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth < 14; nth++) {
        begin(
            "hash: {cookie: x}, maxConnections: 1, ejection: {consecutiveFailures: 1}", two, NULL);
        int c = loop_client(&l, l.trusted);
        mem_fail_nth(nth);
        loop_send(&l, c, get);
        mem_fail_nth(0);
        loop_end(&l, c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_go_by_turn),
        cmocka_unit_test(weights_count),
        cmocka_unit_test(the_less_busy_of_two_is_taken),
        cmocka_unit_test(an_environment_stays_on_its_endpoint),
        cmocka_unit_test(a_cookie_keeps_a_client_on_its_endpoint),
        cmocka_unit_test(clients_without_the_cookie_are_spread),
        cmocka_unit_test(a_source_stays_on_its_endpoint),
        cmocka_unit_test(what_is_unhealthy_gets_nothing),
        cmocka_unit_test(with_all_unhealthy_it_is_refused_and_the_class_stays),
        cmocka_unit_test(what_recovers_starts_slowly),
        cmocka_unit_test(a_drained_endpoint_keeps_what_runs_and_gets_no_more),
        cmocka_unit_test(unused_connections_of_a_drained_endpoint_are_closed),
        cmocka_unit_test(what_fails_often_is_ejected_and_comes_back),
        cmocka_unit_test(the_last_one_is_never_ejected),
        cmocka_unit_test(failed_connects_and_broken_replies_count),
        cmocka_unit_test(a_retry_goes_to_another_endpoint),
        cmocka_unit_test(a_stale_connection_is_left_for_another_endpoint),
        cmocka_unit_test(one_try_has_its_own_time),
        cmocka_unit_test(without_budget_there_is_no_retry),
        cmocka_unit_test(requests_above_the_budget_are_refused),
        cmocka_unit_test(connections_above_the_budget_are_waited_for),
        cmocka_unit_test(room_that_another_worker_makes_is_seen),
        cmocka_unit_test(an_unused_connection_is_given_up_for_who_waits),
        cmocka_unit_test(all_addresses_of_a_name_are_used),
        cmocka_unit_test(addresses_of_a_name_are_ejected_one_by_one),
        cmocka_unit_test(keys_stay_on_an_address_of_a_name),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return unit_run(tests);
}
