/* An environment that is removed ends its own requests and streams within timeouts.removed, and
 * nothing else; so does an endpoint that is disabled. */
#include "proxy/removed.h"
#include "tests/loop/loop.h"
#include <unistd.h>

static struct loop l;

#define HEAD                                                                                       \
    LOOP_SERVICE("cart", "")                                                                       \
    LOOP_CART("\"127.0.0.1:9001\"") LOOP_GATEWAY(", select: [{header: x-env}]")
#define ENV(name) LOOP_OVERLAY(name, ", access: public")

static const char with_both[] = HEAD ENV("feat") ENV("other");
static const char without[] = HEAD ENV("other");

static void start(void)
{
    static const char *const sets[] = {"timeouts.removed", "3s", NULL};
    loop_start(&l, with_both, sets);
}

static uint64_t epoch;

static void publish(const char *graph)
{
    loop_stage(&l, graph, 100 + ++epoch);
    slots_activate(&l.slots, 0);
    loop_publish(&l);
    removed_look(&l.w);
}

/* A client with a request in this environment. */
static int ask(const char *env, const char *more)
{
    char request[256];
    snprintf(
        request, sizeof request, "GET / HTTP/1.1\r\nHost: shop\r\nx-env: %s\r\n%s\r\n", env, more);
    int c = loop_client(&l, l.edge);
    loop_send(&l, c, request);
    return c;
}

static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
static const char rest[] = "done";

static void only_the_streams_of_what_is_gone_end(void **state)
{
    (void)state;
    start();
    int feat = ask("feat", ""), other = ask("other", ""), waiting = ask("feat", "");
    assert_int_equal(l.nproviders, 3);
    loop_send(&l, l.provider[0], half);
    loop_send(&l, l.provider[1], half);
    publish(without);
    loop_advance(&l, 2900);
    assert_false(loop_closed(&l, l.provider[0]));
    assert_int_equal(loop_count(&l, STAT_REMOVED), 0);
    loop_recv(&l, feat);
    loop_recv(&l, l.provider[0]);
    loop_advance(&l, 200);
    assert_int_equal(loop_count(&l, STAT_REMOVED), 2);
    assert_true(loop_closed(&l, l.provider[0]));
    assert_true(loop_closed(&l, feat)); /* cut: eight bytes were announced, four came */
    loop_assert_refused(&l, waiting, "404", "unknown-environment");
    assert_int_equal(loop_count(&l, STAT_CLIENT_CLOSES + CLIENT_CLOSE_REMOVED), 1);
    loop_send(&l, l.provider[1], rest);
    assert_non_null(strstr(loop_recv(&l, other), "halfdone"));
    close(feat);
    close(waiting);
    loop_end(&l, other);
}

/* A client with half a reply, whose environment has been gone for two of the three seconds. */
static int half_served(void)
{
    start();
    int feat = ask("feat", "");
    loop_send(&l, l.provider[0], half);
    publish(without);
    loop_advance(&l, 2000);
    return feat;
}

static void what_ends_by_itself_in_time_is_whole(void **state)
{
    (void)state;
    int feat = half_served();
    loop_send(&l, l.provider[0], rest);
    assert_non_null(strstr(loop_recv(&l, feat), "halfdone"));
    loop_advance(&l, 5000);
    assert_int_equal(loop_count(&l, STAT_REMOVED), 0);
    loop_end(&l, feat);
}

static void one_that_comes_back_goes_on(void **state)
{
    (void)state;
    int feat = half_served();
    publish(with_both);
    loop_advance(&l, 5000);
    assert_int_equal(loop_count(&l, STAT_REMOVED), 0);
    publish(without); /* and the time begins anew */
    loop_advance(&l, 2000);
    assert_false(loop_closed(&l, l.provider[0]));
    loop_advance(&l, 1100);
    assert_int_equal(loop_count(&l, STAT_REMOVED), 1);
    loop_end(&l, feat);
}

static void a_tunnel_ends_too(void **state)
{
    (void)state;
    start();
    int feat = ask("feat", "Connection: Upgrade\r\nUpgrade: chat\r\n");
    loop_send(&l, l.provider[0],
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n");
    loop_send(&l, feat, "to");
    assert_string_equal(loop_recv(&l, l.provider[0]) + strlen(l.in) - 2, "to");
    publish(without);
    loop_advance(&l, 2900);
    loop_send(&l, l.provider[0], "fro");
    assert_non_null(strstr(loop_recv(&l, feat), "\r\n\r\nfro"));
    loop_advance(&l, 200);
    assert_int_equal(loop_count(&l, STAT_REMOVED), 1);
    assert_true(loop_closed(&l, feat));
    assert_true(loop_closed(&l, l.provider[0]));
    loop_end(&l, feat);
}

static void a_disabled_endpoint_ends_what_runs_there(void **state)
{
    (void)state;
    struct addr a = {.kind = ADDR_IP4, .ip = {127, 0, 0, 1}, .port = 9001};
    start();
    int feat = ask("feat", ""), waiting = ask("main", "");
    loop_send(&l, l.provider[0], half);
    loop_recv(&l, feat);
    assert_int_equal(endpoint_order(l.shared.endpoints, &a, ENDPOINT_DISABLE, "", 0, 0, NULL), 0);
    loop_advance(&l, 1000);
    loop_advance(&l, 2900);
    assert_int_equal(loop_count(&l, STAT_DISABLED_ENDED), 0);
    loop_advance(&l, 1100);
    assert_int_equal(loop_count(&l, STAT_DISABLED_ENDED), 2);
    assert_true(loop_closed(&l, feat));
    loop_assert_refused(&l, waiting, "503", "unhealthy");
    close(waiting);
    loop_end(&l, feat);
}

static void a_disabled_name_ends_what_runs_on_its_addresses(void **state)
{
    (void)state;
    static const char graph[] =
        LOOP_SERVICE("cart", "") LOOP_CART("\"cart.svc:80\"") LOOP_GATEWAY("");
    static const char *const sets[] = {"timeouts.removed", "3s", NULL};
    struct addr name = {.kind = ADDR_DNS, .name = STR("cart.svc"), .port = 80};
    loop_start(&l, graph, sets);
    int c = ask("main", "");
    loop_assert_refused(&l, c, "502", "connect"); /* nobody looks names up here */
    struct name_answer *a = mem_zalloc(sizeof *a + sizeof(struct addr));
    a->len = strlen("cart.svc");
    memcpy(a->text, "cart.svc", a->len);
    a->ttl_s = 1000;
    a->naddrs = 1;
    a->addrs[0] = (struct addr){.kind = ADDR_IP4, .ip = {127, 0, 0, 9}};
    name_answer_run(&a->message, &l.w);
    loop_advance(&l, 1000);
    close(c);
    c = ask("main", "");
    loop_send(&l, l.provider[0], half);
    loop_recv(&l, c);
    assert_int_equal(
        endpoint_order(l.shared.endpoints, &name, ENDPOINT_DISABLE, "", 0, 0, NULL), 0);
    loop_advance(&l, 1000);
    loop_advance(&l, 2900);
    assert_int_equal(loop_count(&l, STAT_DISABLED_ENDED), 0);
    loop_advance(&l, 1100);
    assert_int_equal(loop_count(&l, STAT_DISABLED_ENDED), 1);
    assert_true(loop_closed(&l, c));
    loop_end(&l, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_streams_of_what_is_gone_end),
        cmocka_unit_test(what_ends_by_itself_in_time_is_whole),
        cmocka_unit_test(one_that_comes_back_goes_on),
        cmocka_unit_test(a_tunnel_ends_too),
        cmocka_unit_test(a_disabled_endpoint_ends_what_runs_there),
        cmocka_unit_test(a_disabled_name_ends_what_runs_on_its_addresses),
    };
    return unit_run(tests);
}
