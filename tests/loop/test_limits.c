/* Limits of a gateway: at the bound, one beyond it, and the counter that says so. */
#include "tests/loop/loop.h"
#include <unistd.h>

static struct loop l;

#define GRAPH(limits)                                                                              \
    "kind: Gateway\nmetadata: {name: edge}\nspec: {defaultEnvironment: main, limits: {" limits     \
    "}, select: [{header: x-env}], routes: [{path: /, service: cart}]}\n---\n"                     \
    "kind: Service\nmetadata: {name: cart}\nspec: {}\n---\n"                                       \
    "kind: Environment\nmetadata: {name: main}\nspec: {mode: baseline, providers: {cart: "         \
    "{endpoints: [\"127.0.0.1:9001\"]}}}\n---\n"                                                   \
    "kind: Environment\nmetadata: {name: feat}\nspec: {mode: overlay, parent: main, access: "      \
    "public}\n"

#define ASK  "GET / HTTP/1.1\r\nHost: s\r\n\r\n"
#define FEAT "GET / HTTP/1.1\r\nHost: s\r\nx-env: feat\r\n\r\n"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static uint64_t limited(enum limited which)
{
    return loop_count(&l, STAT_LIMITED + which);
}

/* The provider's answer to the last request; false: it was refused with 429. */
static bool served(int c)
{
    unsigned last = l.nproviders - 1;
    if (l.nproviders && *loop_recv(&l, l.provider[last]))
        loop_send(&l, l.provider[last], OK);
    const char *got = loop_recv(&l, c);
    if (strstr(got, "HTTP/1.1 200 OK\r\n"))
        return true;
    assert_non_null(strstr(got, "HTTP/1.1 429 Too Many Requests\r\n"));
    assert_non_null(strstr(got, "\r\nx-offshoot-error: rate-limited\r\n"));
    return false;
}

static bool ask(int c, const char *text)
{
    loop_send(&l, c, text);
    return served(c);
}

static int client_from(const uint8_t ip[16], enum addr_kind kind)
{
    l.peer = (struct addr){.kind = (uint8_t)kind, .port = 1};
    memcpy(l.peer.ip, ip, 16);
    return loop_client(&l, l.edge);
}

static void c19_a_source_has_a_rate(void **state)
{
    (void)state;
    loop_start(&l, GRAPH("perSource: {requestsPerSecond: 10, burst: 3}"), NULL);
    int c = loop_client(&l, l.edge), other = client_from((uint8_t[16]){192, 0, 2, 8}, ADDR_IP4);
    for (int i = 0; i < 3; i++)
        assert_true(ask(c, ASK));
    assert_int_equal(limited(LIMITED_SOURCE), 0);
    loop_send(&l, c, ASK);
    const char *got = loop_recv(&l, c);
    assert_non_null(strstr(got, "HTTP/1.1 429 "));
    assert_non_null(strstr(got, "\r\nretry-after: 1\r\n"));
    assert_int_equal(limited(LIMITED_SOURCE), 1);
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_RATE_LIMITED), 1);
    assert_true(ask(other, ASK)); /* another source */
    loop_advance(&l, 99);
    assert_false(ask(c, ASK));
    loop_advance(&l, 1);
    assert_true(ask(c, ASK)); /* one more after a tenth of a second */
    assert_false(ask(c, ASK));
    loop_advance(&l, 10000);
    for (int i = 0; i < 3; i++)
        assert_true(ask(c, ASK)); /* never more than a burst */
    assert_false(ask(c, ASK));
    close(c);
    close(other);
    loop_stop(&l);
}

static void a_slow_rate_says_when_to_come_again(void **state)
{
    (void)state;
    loop_start(&l, GRAPH("perSource: {requestsPerSecond: 1, burst: 1}"), NULL);
    int c = loop_client(&l, l.edge);
    assert_true(ask(c, ASK));
    loop_send(&l, c,
        "POST /x HTTP/1.1\r\nHost: s\r\nContent-Type: application/grpc\r\nContent-Length: "
        "0\r\n\r\n");
    const char *got = loop_recv(&l, c);
    assert_non_null(strstr(got, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(got, "\r\ngrpc-status: 8\r\n"));
    close(c);
    loop_stop(&l);
}

static void a_source_is_an_address_or_a_64(void **state)
{
    (void)state;
    static const uint8_t v6[16] = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 9},
                         same[16] = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 8, 7},
                         next[16] = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 3, 9};
    static const uint8_t v4[16] = {192, 0, 2, 8};
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 8};
    loop_start(&l, GRAPH("perSource: {requestsPerSecond: 1, burst: 1}"), NULL);
    int c[5] = {client_from(v6, ADDR_IP6), client_from(same, ADDR_IP6), client_from(next, ADDR_IP6),
        client_from(v4, ADDR_IP4), client_from(mapped, ADDR_IP6)};
    assert_true(ask(c[0], ASK));
    assert_false(ask(c[1], ASK));
    assert_true(ask(c[2], ASK));
    assert_true(ask(c[3], ASK));
    assert_false(ask(c[4], ASK));
    for (int i = 0; i < 5; i++)
        close(c[i]);
    loop_stop(&l);
}

static void trusted_listeners_have_no_limits(void **state)
{
    (void)state;
    loop_start(&l,
        GRAPH("perSource: {requestsPerSecond: 1, connections: 1}, perEnvironment: "
              "{requestsPerSecond: 1, concurrent: 1}"),
        NULL);
    int c = loop_client(&l, l.trusted), other = loop_client(&l, l.trusted);
    for (int i = 0; i < 3; i++)
        assert_true(ask(c, ASK));
    assert_true(ask(other, ASK));
    close(c);
    close(other);
    loop_stop(&l);
}

static void a_source_has_so_many_connections(void **state)
{
    (void)state;
    loop_start(&l, GRAPH("perSource: {connections: 2}"), NULL);
    int c[2] = {loop_client(&l, l.edge), loop_client(&l, l.edge)};
    assert_true(ask(c[0], ASK));
    assert_true(ask(c[1], ASK));
    assert_int_equal(limited(LIMITED_CONNECTIONS), 0);
    int third = loop_client(&l, l.edge);
    assert_false(ask(third, ASK));
    assert_true(loop_closed(&l, third));
    assert_int_equal(limited(LIMITED_CONNECTIONS), 1);
    close(third);
    close(c[1]);
    loop_turns(&l);
    loop_advance(&l, 60000);
    int fourth = loop_client(&l, l.edge);
    assert_true(ask(fourth, ASK));
    close(c[0]);
    close(fourth);
    loop_stop(&l);
}

/* Sixteen and as many again as the limit are answered; beyond that nobody is. */
static void far_too_many_connections_are_closed_at_once(void **state)
{
    (void)state;
    int c[19];
    loop_start(&l, GRAPH("perSource: {connections: 1}"), NULL);
    for (int i = 0; i < 19; i++) {
        c[i] = loop_client(&l, l.edge);
        assert_int_equal(loop_closed(&l, c[i]), i == 18);
    }
    assert_int_equal(limited(LIMITED_CONNECTIONS), 18);
    for (int i = 0; i < 19; i++)
        close(c[i]);
    loop_stop(&l);
}

static void an_environment_has_a_rate(void **state)
{
    (void)state;
    loop_start(&l, GRAPH("perEnvironment: {requestsPerSecond: 5, burst: 2}"), NULL);
    int c = loop_client(&l, l.edge), other = client_from((uint8_t[16]){192, 0, 2, 8}, ADDR_IP4);
    assert_true(ask(c, ASK));
    assert_true(ask(other, ASK));
    assert_false(ask(c, ASK));
    assert_int_equal(limited(LIMITED_ENV), 1);
    assert_true(ask(c, FEAT)); /* another environment */
    loop_advance(&l, 200);
    assert_true(ask(other, ASK));
    close(c);
    close(other);
    loop_stop(&l);
}

static void an_environment_has_so_many_requests_in_flight(void **state)
{
    (void)state;
    loop_start(&l, GRAPH("perEnvironment: {concurrent: 1}"), NULL);
    int c = loop_client(&l, l.edge), other = loop_client(&l, l.edge);
    loop_send(&l, c, ASK); /* in flight */
    assert_int_equal(l.nproviders, 1);
    loop_send(&l, other, ASK);
    assert_non_null(strstr(loop_recv(&l, other), "HTTP/1.1 429 "));
    assert_int_equal(limited(LIMITED_CONCURRENT), 1);
    loop_send(&l, other, FEAT);
    assert_int_equal(l.nproviders, 2); /* another environment */
    assert_true(served(other));
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK);
    assert_non_null(strstr(loop_recv(&l, c), "200 OK"));
    loop_send(&l, other, ASK); /* the first is over */
    assert_int_equal(limited(LIMITED_CONCURRENT), 1);
    close(c);
    close(other);
    loop_stop(&l);
}

/* What a client breaks off is counted down as well. */
static void aborted_requests_are_not_in_flight(void **state)
{
    (void)state;
    loop_start(&l, GRAPH("perEnvironment: {concurrent: 1}"), NULL);
    for (int i = 0; i < 5; i++) {
        int c = loop_client(&l, l.edge);
        loop_send(&l, c, "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nx");
        assert_int_equal(limited(LIMITED_CONCURRENT), 0);
        close(c);
        loop_turns(&l);
    }
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c19_a_source_has_a_rate),
        cmocka_unit_test(a_slow_rate_says_when_to_come_again),
        cmocka_unit_test(a_source_is_an_address_or_a_64),
        cmocka_unit_test(trusted_listeners_have_no_limits),
        cmocka_unit_test(a_source_has_so_many_connections),
        cmocka_unit_test(far_too_many_connections_are_closed_at_once),
        cmocka_unit_test(an_environment_has_a_rate),
        cmocka_unit_test(an_environment_has_so_many_requests_in_flight),
        cmocka_unit_test(aborted_requests_are_not_in_flight),
    };
    return unit_run(tests);
}
