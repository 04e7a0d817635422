/* Which endpoint gets a request: rounds, affinity, ejection, health, orders, retries, budgets.
 * Endpoints are told apart by their ports: 9001, 9002, 9003. */
#include "proxy/health.h"
#include "tests/loop/balance.h"
#include <unistd.h>

static struct loop l;

static const char one[] = "\"127.0.0.1:9001\"";
static const char two[] = "\"127.0.0.1:9001\", \"127.0.0.1:9002\"";
static const char three[] = "\"127.0.0.1:9001\", \"127.0.0.1:9002\", \"127.0.0.1:9003\"";

static const char bad_gateway[] = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

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
    balance_start(&l, "balance: round-robin", three, NULL);
    int c = loop_client(&l, l.trusted);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(balance_ask(c, balance_ok), 9001 + i % 3);
    loop_end(&l, c);
}

static void weights_count(void **state)
{
    (void)state;
    unsigned got[4] = {0};
    balance_start(&l, "balance: round-robin",
        "{address: \"127.0.0.1:9001\", weight: 3}, \"127.0.0.1:9002\"", NULL);
    int c = loop_client(&l, l.trusted);
    for (unsigned i = 0; i < 40; i++)
        got[balance_ask(c, balance_ok) - 9000]++;
    assert_in_range(got[1], 29, 31);
    assert_in_range(got[2], 9, 11);
    loop_end(&l, c);
}

static void the_less_busy_of_two_is_taken(void **state)
{
    (void)state;
    balance_start(&l, "balance: least-request", two, NULL);
    int busy[6], c = loop_client(&l, l.trusted);
    uint16_t first = balance_ask(c, balance_ok);
    for (unsigned i = 0; i < 6; i++) { /* six requests hang, half of them on each */
        busy[i] = loop_client(&l, l.trusted);
        loop_send(&l, busy[i], balance_get);
    }
    unsigned on_first = 0;
    for (unsigned i = 0; i < l.nproviders; i++)
        on_first += *loop_recv(&l, l.provider[i]) && balance.port_of[i] == first;
    assert_in_range(on_first, 2, 4);
    for (unsigned i = 0; i < 6; i++)
        loop_close(&l, &busy[i]);
    loop_end(&l, c);
}

/* ---- affinity ---- */
static void an_environment_stays_on_its_endpoint(void **state)
{
    (void)state;
    balance_start(&l, "hash: context", three, NULL);
    int c = loop_client(&l, l.edge);
    uint16_t base = balance_ask_env(c, "main"), feat = balance_ask_env(c, "feat");
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(balance_ask_env(c, "main"), base);
        assert_int_equal(balance_ask_env(c, "feat"), feat);
    }
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", base);
    balance_order(address, ENDPOINT_DRAIN);
    uint16_t other = balance_ask_env(c, "main");
    assert_int_not_equal(other, base);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(balance_ask_env(c, "main"), other);
    balance_order(address, ENDPOINT_ENABLE);
    assert_int_equal(balance_ask_env(c, "main"), base);
    loop_end(&l, c);
}

static void a_cookie_keeps_a_client_on_its_endpoint(void **state)
{
    (void)state;
    char request[256], cookie[64] = "";
    balance_start(&l, "hash: {cookie: stick}", three, NULL);
    int c = loop_client(&l, l.edge);
    uint16_t port = balance_exchange(c, balance_get, balance_ok);
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
        assert_int_equal(balance_exchange(c, request, balance_ok), port);
        assert_null(strstr(loop_recv(&l, c), "set-cookie"));
    }
    assert_int_equal(loop_count(&l, STAT_AFFINITY_COOKIES), 1);
    loop_end(&l, c);
}

static void clients_without_the_cookie_are_spread(void **state)
{
    (void)state;
    unsigned got[4] = {0};
    balance_start(&l, "hash: {cookie: stick}", three, NULL);
    int c = loop_client(&l, l.edge);
    for (unsigned i = 0; i < 60; i++)
        got[balance_ask(c, balance_ok) - 9000]++;
    assert_true(got[1] > 5 && got[2] > 5 && got[3] > 5);
    loop_end(&l, c);
}

static void a_source_stays_on_its_endpoint(void **state)
{
    (void)state;
    unsigned other = 0;
    balance_start(&l, "hash: source", three, NULL);
    int c = loop_client(&l, l.edge);
    uint16_t port = balance_ask(c, balance_ok);
    for (unsigned i = 0; i < 12; i++) {
        l.peer.ip[3] = (uint8_t)(100 + i);
        int d = loop_client(&l, l.edge);
        other += balance_ask(d, balance_ok) != port;
        loop_close(&l, &d);
        assert_int_equal(balance_ask(c, balance_ok), port);
    }
    assert_true(other > 2);
    loop_end(&l, c);
}

/* ---- health ---- */

static void what_is_unhealthy_gets_nothing(void **state)
{
    (void)state;
    balance_start(&l, "", three, NULL);
    int c = loop_client(&l, l.trusted);
    for (unsigned i = 0; i < 3; i++)
        balance_ask(c, balance_ok);
    health(9002, false);
    for (unsigned i = 0; i < 12; i++)
        assert_int_not_equal(balance_ask(c, balance_ok), 9002);
    health(9002, true);
    unsigned back = 0;
    for (unsigned i = 0; i < 6; i++)
        back += balance_ask(c, balance_ok) == 9002;
    assert_int_equal(back, 2);
    loop_end(&l, c);
}

static void with_all_unhealthy_it_is_refused_and_the_class_stays(void **state)
{
    (void)state;
    balance_start(&l, "health: {path: /h, interval: 7s}", two, NULL);
    int c = loop_client(&l, l.trusted);
    balance_ask(c, balance_ok);
    balance_ask(c, balance_ok);
    health(9001, false);
    health(9002, false);
    unsigned connects = l.nproviders;
    loop_send(&l, c, balance_get);
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
    balance_start(&l, "slowStart: 10s", two, NULL);
    int c = loop_client(&l, l.trusted);
    balance_ask(c, balance_ok);
    balance_ask(c, balance_ok);
    loop_advance(&l, 11000);
    health(9001, false);
    health(9001, true);
    unsigned got = 0;
    for (unsigned i = 0; i < 200; i++)
        got += balance_ask(c, balance_ok) == 9001;
    assert_in_range(got, 4, 40); /* a tenth against one: 18 of 200 */
    loop_advance(&l, 10000);
    got = 0;
    for (unsigned i = 0; i < 200; i++)
        got += balance_ask(c, balance_ok) == 9001;
    assert_int_equal(got, 100);
    loop_end(&l, c);
}

/* ---- orders ---- */

static void a_drained_endpoint_keeps_what_runs_and_gets_no_more(void **state)
{
    (void)state;
    balance_start(&l, "", two, NULL);
    int c = loop_client(&l, l.trusted), d = loop_client(&l, l.trusted);
    loop_send(&l, c, balance_get);
    assert_int_equal(balance_asked(), 0);
    balance_order("127.0.0.1:9001", ENDPOINT_DRAIN);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(balance_ask(d, balance_ok), 9002);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nda");
    loop_advance(&l, 5000);
    loop_send(&l, l.provider[0], "ta");
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\ndata"));
    assert_true(loop_closed(&l, l.provider[0])); /* kept for nobody */
    balance_order("127.0.0.1:9001", ENDPOINT_ENABLE);
    assert_int_equal(balance_ask(d, balance_ok) + balance_ask(d, balance_ok), 9001 + 9002);
    loop_close(&l, &d);
    loop_end(&l, c);
}

static void unused_connections_of_a_drained_endpoint_are_closed(void **state)
{
    (void)state;
    balance_start(&l, "", one, NULL);
    int c = loop_client(&l, l.trusted);
    balance_ask(c, balance_ok);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_IDLE), 1);
    balance_order("127.0.0.1:9001", ENDPOINT_DISABLE);
    loop_advance(&l, 1000);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_IDLE), 0);
    loop_send(&l, c, balance_get);
    loop_assert_refused(&l, c, "503", "unhealthy");
    loop_end(&l, c);
}

/* ---- ejection ---- */

static void what_fails_often_is_ejected_and_comes_back(void **state)
{
    (void)state;
    balance_start(&l, "ejection: {consecutiveFailures: 3, time: 2s}", two, NULL);
    int c = loop_client(&l, l.trusted);
    uint16_t port;
    unsigned bad = 0;
    for (unsigned i = 0; i < 12; i++) { /* 9001 says 502 whenever it is asked */
        loop_send(&l, c, balance_get);
        int at = balance_asked();
        port = balance.port_of[at];
        bad += port == 9001;
        loop_send(&l, l.provider[at], port == 9001 ? bad_gateway : balance_ok);
        loop_recv(&l, c);
    }
    assert_int_equal(bad, 3);
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 1);
    loop_advance(&l, 2000);
    bad = 0;
    for (unsigned i = 0; i < 8; i++) {
        loop_send(&l, c, balance_get);
        int at = balance_asked();
        bad += balance.port_of[at] == 9001;
        loop_send(&l, l.provider[at], balance.port_of[at] == 9001 ? bad_gateway : balance_ok);
        loop_recv(&l, c);
    }
    assert_int_equal(bad, 1); /* once more was enough: ejected again, for 4 s */
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 2);
    loop_advance(&l, 3000);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(balance_ask(c, balance_ok), 9002);
    loop_advance(&l, 1000);
    assert_int_equal(balance_ask(c, balance_ok) + balance_ask(c, balance_ok), 9001 + 9002);
    loop_end(&l, c);
}

static void the_last_one_is_never_ejected(void **state)
{
    (void)state;
    balance_start(&l, "ejection: {consecutiveFailures: 2, time: 60s, maxEjected: 100%}", two, NULL);
    int c = loop_client(&l, l.trusted);
    unsigned on[2] = {0};
    for (unsigned i = 0; i < 20; i++)
        on[balance_ask(c, bad_gateway) - 9001]++;
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 1);
    assert_true(loop_count(&l, STAT_EJECTIONS_SPARED) > 0);
    assert_int_equal(on[0] + on[1], 20); /* all went somewhere */
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_UNHEALTHY), 0);
    loop_end(&l, c);
}

static void failed_connects_and_broken_replies_count(void **state)
{
    (void)state;
    balance_start(
        &l, "ejection: {consecutiveFailures: 2, time: 60s}, retries: {max: 0}", two, NULL);
    int c = loop_client(&l, l.trusted);
    balance.dead = 9001;
    for (unsigned i = 0; i < 10; i++)
        if (balance_exchange(c, balance_get, balance_ok) == 0)
            loop_assert_refused(&l, c, "502", "connect");
        else
            loop_recv(&l, c);
    assert_int_equal(balance.refused, 2);
    assert_int_equal(loop_count(&l, STAT_EJECTIONS), 1);
    loop_end(&l, c);
    balance_start(
        &l, "ejection: {consecutiveFailures: 2, time: 60s}, retries: {max: 0}", two, NULL);
    unsigned broken = 0;
    for (unsigned i = 0; i < 10; i++) {
        c = loop_client(&l, l.trusted);
        loop_send(&l, c, balance_get);
        int at = balance_asked();
        if (balance.port_of[at] == 9001) {
            broken++;
            loop_send(&l, l.provider[at], "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            loop_close(&l, &l.provider[at]);
        } else {
            loop_send(&l, l.provider[at], balance_ok);
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
    balance_start(&l, "retries: {max: 2}", three, NULL);
    int c = loop_client(&l, l.trusted);
    balance.dead = 9001;
    for (unsigned i = 0; i < 9; i++)
        assert_int_not_equal(balance_ask(c, balance_ok), 0);
    assert_int_equal(balance.refused, 3); /* its turns alone */
    assert_int_equal(loop_count(&l, STAT_RETRIES), 3);
    balance.dead = 1;
    for (unsigned i = 0; i < l.nproviders; i++)
        loop_close(&l, &l.provider[i]);
    balance.refused = 0;
    loop_send(&l, c, balance_get);
    loop_assert_refused(&l, c, "502", "connect");
    assert_int_equal(balance.refused, 3);
    loop_end(&l, c);
}

/* A connection that the endpoint had closed when the request came there. */
static uint16_t after_a_stale_one(const char *policy)
{
    balance_start(&l, policy, two, NULL);
    int c = loop_client(&l, l.trusted);
    uint16_t first = balance_ask(c, balance_ok);
    if (l.nproviders == 1) /* the second turn, so that the third is the first endpoint's */
        balance_ask(c, balance_ok);
    loop_send(&l, c, balance_get);
    assert_int_equal(balance_asked(), 0);
    loop_close(&l, &l.provider[0]);
    int at = balance_asked();
    assert_true(at > 0);
    loop_send(&l, l.provider[at], balance_ok);
    assert_non_null(strstr(loop_recv(&l, c), "200 OK"));
    assert_int_equal(loop_count(&l, STAT_RETRIES), 1);
    uint16_t second = balance.port_of[at];
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
    balance_start(
        &l, "timeout: 30s, connectTimeout: 10s, retries: {max: 1, perTryTimeout: 2s}", two, NULL);
    int c = loop_client(&l, l.trusted);
    l.connect_pending = true;
    loop_send(&l, c, balance_get);
    assert_int_equal(l.nproviders, 1);
    l.connect_pending = false;
    loop_advance(&l, 2100); /* nothing was sent: the other endpoint is tried */
    assert_int_equal(l.nproviders, 2);
    assert_int_equal(balance.port_of[0] + balance.port_of[1], 9001 + 9002);
    assert_int_equal(balance_asked(), 1);
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
    balance_start(&l, "retries: {max: 1, budget: 0%}", two, NULL);
    int c = loop_client(&l, l.trusted);
    balance.dead = 9001;
    for (unsigned i = 0; i < 40; i++) {
        balance_exchange(c, balance_get, balance_ok);
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
    balance_start(&l, "maxRequests: 2", one, NULL);
    int c[3];
    for (unsigned i = 0; i < 3; i++) {
        c[i] = loop_client(&l, l.trusted);
        loop_send(&l, c[i], balance_get);
    }
    loop_assert_refused(&l, c[2], "503", "overload");
    assert_int_equal(loop_count(&l, STAT_BUDGET_REQUESTS), 1);
    loop_send(&l, l.provider[0], balance_ok);
    loop_recv(&l, c[0]);
    loop_send(&l, c[2], balance_get);
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
    balance_start(&l, "maxConnections: 2, maxPending: 1", one, NULL);
    int c[4];
    for (unsigned i = 0; i < 4; i++) {
        c[i] = loop_client(&l, l.trusted);
        loop_send(&l, c[i], balance_get);
    }
    assert_int_equal(l.nproviders, 2);
    assert_true(loop_count(&l, STAT_BUDGET_CONNECTIONS) > 0);
    loop_assert_refused(&l, c[3], "503", "overload");
    assert_int_equal(loop_count(&l, STAT_BUDGET_PENDING), 1);
    loop_send(&l, l.provider[0], balance_ok);
    assert_int_not_equal(balance_asked(), -1); /* the third has it now */
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
    balance_start(&l, "maxConnections: 1", one, NULL);
    int c = loop_client(&l, l.trusted);
    balance_ask(c, balance_ok);
    for (unsigned i = 0; i < l.nproviders; i++)
        loop_close(&l, &l.provider[i]);
    assert_int_equal(entry_of(9001)->connections, 0);
    assert_true(budget_take(&entry_of(9001)->connections, 0)); /* as another worker would */
    loop_send(&l, c, balance_get);
    assert_int_equal(l.nproviders, 1);
    loop_advance(&l, 60);
    assert_int_equal(l.nproviders, 1);
    budget_give(&entry_of(9001)->connections);
    loop_advance(&l, 60);
    assert_int_equal(l.nproviders, 2);
    assert_int_equal(balance_asked(), 1);
    loop_end(&l, c);
}

static void an_unused_connection_is_given_up_for_who_waits(void **state)
{
    (void)state;
    balance_start(&l, "maxConnections: 1", one, NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, balance_get);
    assert_int_equal(balance_asked(), 0);
    assert_true(budget_take(&entry_of(9001)->pending, 0)); /* of another worker */
    loop_send(&l, l.provider[0], balance_ok);
    loop_recv(&l, c);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_CONNECTIONS), 0);
    budget_give(&entry_of(9001)->pending);
    loop_end(&l, c);
}

/* ---- memory ---- */

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth < 14; nth++) {
        balance_start(&l,
            "hash: {cookie: x}, maxConnections: 1, ejection: {consecutiveFailures: 1}", two, NULL);
        int c = loop_client(&l, l.trusted);
        mem_fail_nth(nth);
        loop_send(&l, c, balance_get);
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
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return unit_run(tests);
}
