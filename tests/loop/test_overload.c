/* Steps of overload, peers that dribble, and accepts that fail: with a virtual clock. */
#include "tests/loop/loop.h"
#include <sys/socket.h>
#include <unistd.h>

#define GET  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"

static struct loop l;

/* One exchange on the client's connection with the n-th provider connection. */
static const char *exchange(int c, unsigned n)
{
    loop_send(&l, c, GET);
    assert_true(l.nproviders > n);
    loop_recv(&l, l.provider[n]);
    loop_send(&l, l.provider[n], OK);
    return loop_recv(&l, c);
}

static bool ends(const char *reply)
{
    return strstr(reply, "\r\nconnection: close\r\n") != NULL;
}

static void steps_by_connections(void **state)
{
    (void)state;
    const char *sets[] = {"limits.connections", "20", "overload.keepAlive", "50",
        "overload.streams", "70", "overload.connections", "90", NULL};
    int c[20];
    loop_start(&l, NULL, sets);
    for (int i = 0; i < 10; i++)
        c[i] = loop_client(&l, l.trusted);
    assert_false(ends(exchange(c[0], 0)));
    assert_int_equal(l.w.overload.step, OVERLOAD_NONE);
    c[10] = loop_client(&l, l.trusted);
    assert_int_equal(l.w.overload.step, OVERLOAD_KEEP_ALIVE);
    assert_true(ends(exchange(c[0], 0)));
    assert_true(loop_closed(&l, c[0]));
    assert_int_equal(loop_count(&l, STAT_OVERLOAD_REFUSED), 1);
    loop_close(&l, &c[0]);
    assert_int_equal(l.w.overload.step, OVERLOAD_KEEP_ALIVE); /* 10: not yet less than 5 % below */
    c[0] = loop_client(&l, l.trusted);
    for (int i = 11; i < 15; i++)
        c[i] = loop_client(&l, l.trusted);
    assert_int_equal(l.w.overload.step, OVERLOAD_STREAMS);
    loop_send(&l, c[1], GET);
    loop_assert_refused(&l, c[1], "503", "overload");
    assert_int_equal(loop_count(&l, STAT_OVERLOAD_REFUSED + 1), 1);
    for (int i = 15; i < 20; i++)
        c[i] = loop_client(&l, l.trusted);
    assert_int_equal(l.w.overload.step, OVERLOAD_CONNECTIONS);
    assert_int_equal(loop_count(&l, STAT_OVERLOAD_REFUSED + 2), 1);
    for (unsigned s = 0; s < OVERLOAD_STEPS; s++) {
        assert_int_equal(loop_count(&l, STAT_OVERLOAD_ENTERED + s), 1);
        assert_int_equal(loop_count(&l, STAT_OVERLOAD_NOW + s), 1);
    }
    for (int i = 0; i < 20; i++)
        loop_close(&l, &c[i]);
    assert_int_equal(l.w.overload.step, OVERLOAD_NONE);
    assert_int_equal(loop_count(&l, STAT_OVERLOAD_NOW), 0);
    loop_stop(&l);
}

static void connections_that_wait_for_nothing_make_room(void **state)
{
    (void)state;
    const char *sets[] = {"limits.connections", "10", "overload.keepAlive", "50", NULL};
    int c[7];
    loop_start(&l, NULL, sets);
    for (int i = 0; i < 5; i++)
        c[i] = loop_client(&l, l.trusted);
    loop_advance(&l, 5000);
    assert_false(loop_closed(&l, c[0]));
    c[5] = loop_client(&l, l.trusted);
    loop_send(&l, c[5], GET);
    loop_advance(&l, 1100);
    for (int i = 0; i < 5; i++)
        assert_true(loop_closed(&l, c[i]));
    assert_false(loop_closed(&l, c[5])); /* its request runs */
    assert_int_equal(loop_count(&l, STAT_CLIENT_CLOSES + CLIENT_CLOSE_OVERLOAD), 5);
    for (int i = 0; i < 6; i++)
        loop_close(&l, &c[i]);
    loop_stop(&l);
}

static void steps_by_memory(void **state)
{
    (void)state;
    const char *sets[] = {"limits.memory", "1000", "overload.streams", "95", NULL};
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    l.shared.resident = 900;
    assert_false(ends(exchange(c, 0)));
    l.shared.resident = 901;
    loop_turns(&l);
    assert_int_equal(l.w.overload.step, OVERLOAD_KEEP_ALIVE);
    assert_int_equal(l.w.overload.why, CAUSE_MEMORY);
    l.shared.resident = 951;
    loop_turns(&l);
    loop_send(&l, c, GET);
    loop_assert_refused(&l, c, "503", "overload");
    l.shared.resident = 901;
    loop_turns(&l);
    assert_int_equal(l.w.overload.step, OVERLOAD_STREAMS);
    l.shared.resident = 900;
    loop_turns(&l);
    assert_int_equal(l.w.overload.step, OVERLOAD_KEEP_ALIVE);
    l.shared.resident = 850;
    loop_turns(&l);
    assert_int_equal(l.w.overload.step, OVERLOAD_NONE);
    loop_end(&l, c);
}

static void descriptors_that_run_out_are_the_first_step(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    overload_starved(&l.w);
    loop_turns(&l);
    assert_int_equal(l.w.overload.step, OVERLOAD_KEEP_ALIVE);
    assert_int_equal(l.w.overload.why, CAUSE_DESCRIPTORS);
    loop_advance(&l, 5000);
    assert_int_equal(l.w.overload.step, OVERLOAD_NONE);
    loop_stop(&l);
}

/* ---- minimum rate ---- */

static uint64_t dribbled(unsigned direction)
{
    return loop_count(&l, STAT_DRIBBLED_HEADS + direction);
}

static void a_head_in_dribbles(void **state)
{
    (void)state;
    const char *sets[] = {"timeouts.head", "60s", NULL};
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 10; i++) {
        assert_int_equal(dribbled(0), 0);
        loop_send(&l, c, "X");
        loop_advance(&l, 1010);
    }
    loop_assert_refused(&l, c, "408", "request-timeout");
    assert_int_equal(dribbled(0), 1);
    loop_end(&l, c);
}

static void a_head_that_comes_fast_enough(void **state)
{
    (void)state;
    const char *sets[] = {"timeouts.head", "60s", NULL};
    char line[220];
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: a\r\n");
    memset(line, 'x', sizeof line);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof line - 3, "\r\n", 3);
    for (int i = 0; i < 50; i++) {
        loop_send(&l, c, line);
        loop_advance(&l, 1000);
    }
    assert_int_equal(dribbled(0), 0);
    loop_send(&l, c, "\r\n");
    assert_int_equal(l.nproviders, 1);
    loop_end(&l, c);
}

/* bytes a second for so many seconds, the provider takes all. */
static void post(int c, const char *bytes, unsigned seconds)
{
    for (unsigned i = 0; i < seconds && loop_count(&l, STAT_REQUESTS_NOW); i++) {
        loop_send(&l, c, bytes);
        loop_recv(&l, l.provider[0]);
        loop_advance(&l, 1000);
    }
}

static void a_body_in_dribbles(void **state)
{
    (void)state;
    int c = loop_begin(&l, POST);
    post(c, "x", 9);
    assert_int_equal(dribbled(1), 0);
    post(c, "x", 3);
    assert_int_equal(dribbled(1), 1);
    loop_assert_refused(&l, c, "408", "request-timeout");
    loop_end(&l, c);
}

static void a_body_that_comes_fast_enough(void **state)
{
    (void)state;
    char bytes[121];
    memset(bytes, 'x', 120);
    bytes[120] = 0;
    int c = loop_begin(&l, POST);
    post(c, bytes, 100);
    assert_int_equal(dribbled(1), 0);
    assert_int_equal(loop_count(&l, STAT_REQUESTS_NOW), 1);
    loop_end(&l, c);
}

static void a_body_that_pauses_is_not_dribbled(void **state)
{
    (void)state;
    int c = loop_begin(&l, POST);
    loop_advance(&l, 50000); /* timeouts.stream rules */
    assert_int_equal(loop_count(&l, STAT_REQUESTS_NOW), 1);
    loop_advance(&l, 15000);
    assert_int_equal(dribbled(1), 0);
    loop_assert_refused(&l, c, "408", "request-timeout");
    loop_end(&l, c);
}

/* The provider takes nothing for a while: then it is not the client who is slow. */
static void a_provider_that_takes_nothing(void **state)
{
    (void)state;
    static char much[60001];
    memset(much, 'x', 60000);
    int small = 1;
    int c = loop_begin(&l, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    setsockopt(l.provider[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 20; i++) {
        ssize_t n = send(c, much, 60000, MSG_NOSIGNAL | MSG_DONTWAIT);
        loop_turns(&l);
        if (n < 60000)
            break;
    }
    loop_advance(&l, 9000);
    while (*loop_recv(&l, l.provider[0]))
        ;
    loop_advance(&l, 1500);
    loop_send(&l, c, "x");
    loop_recv(&l, l.provider[0]);
    loop_advance(&l, 5000);
    assert_int_equal(dribbled(1), 0);
    assert_int_equal(loop_count(&l, STAT_REQUESTS_NOW), 1);
    loop_end(&l, c);
}

static void who_waits_for_100_owes_nothing(void **state)
{
    (void)state;
    int c = loop_begin(&l, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                           "Expect: 100-continue\r\n\r\n");
    loop_advance(&l, 40000);
    assert_int_equal(dribbled(1), 0);
    assert_int_equal(loop_count(&l, STAT_REQUESTS_NOW), 1);
    loop_end(&l, c);
}

static void no_minimum_rate(void **state)
{
    (void)state;
    const char *sets[] = {"limits.minRate", "0", NULL};
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, POST);
    post(c, "x", 100);
    assert_int_equal(dribbled(1), 0);
    assert_int_equal(loop_count(&l, STAT_REQUESTS_NOW), 1);
    loop_end(&l, c);
}

/* A reply in small pieces, taken at once: it is the provider that is slow. */
static void a_reply_that_comes_slowly(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        loop_send(&l, l.provider[0], "x");
        assert_string_not_equal(loop_recv(&l, c), "");
        loop_advance(&l, 1000);
    }
    assert_int_equal(dribbled(2), 0);
    assert_int_equal(loop_count(&l, STAT_REQUESTS_NOW), 1);
    loop_end(&l, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_by_connections),
        cmocka_unit_test(connections_that_wait_for_nothing_make_room),
        cmocka_unit_test(steps_by_memory),
        cmocka_unit_test(descriptors_that_run_out_are_the_first_step),
        cmocka_unit_test(a_head_in_dribbles),
        cmocka_unit_test(a_head_that_comes_fast_enough),
        cmocka_unit_test(a_body_in_dribbles),
        cmocka_unit_test(a_body_that_comes_fast_enough),
        cmocka_unit_test(a_body_that_pauses_is_not_dribbled),
        cmocka_unit_test(a_provider_that_takes_nothing),
        cmocka_unit_test(who_waits_for_100_owes_nothing),
        cmocka_unit_test(no_minimum_rate),
        cmocka_unit_test(a_reply_that_comes_slowly),
    };
    return unit_run(tests);
}
