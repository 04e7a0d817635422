/* Hop records: what an explained request's reply says of the calls made for it. */
#include "tests/loop/loop.h"
#include <unistd.h>

static struct loop l;

#define TRACE "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
#define OK    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static void a_reply_tells_the_calls_made_for_its_request(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int outer = loop_client(&l, l.trusted), inner = loop_client(&l, l.trusted);
    loop_send(&l, outer, "GET / HTTP/1.1\r\nHost: cart\r\nx-offshoot-explain: 1\r\n" TRACE "\r\n");
    const char *seen = loop_recv(&l, l.provider[0]);
    assert_non_null(strstr(seen, "offshoot=v1m.main.0.10\r\n")); /* the wish travels */
    assert_null(strstr(seen, "x-offshoot-explain"));
    loop_send(&l, inner,
        "GET / HTTP/1.1\r\nHost: cart\r\nbaggage: offshoot=v1m.main.0.10\r\n" TRACE "\r\n");
    loop_recv(&l, l.provider[1]);
    loop_send(&l, l.provider[1], OK);
    assert_non_null(strstr(loop_recv(&l, inner),
        "\r\nx-offshoot-route: cart@main;class=local;rule=explicit;epoch=1\r\n"));
    loop_send(&l, l.provider[0], OK);
    const char *got = strstr(loop_recv(&l, outer), "x-offshoot-route: ");
    assert_non_null(got);
    assert_non_null(strstr(got, "rule=default"));
    assert_non_null(strstr(got, ", cart@main;"));
    assert_non_null(strstr(got, "rule=explicit"));
    close(outer);
    close(inner);
    loop_stop(&l);
}

static void a_call_that_lost_its_context_shows(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int outer = loop_client(&l, l.trusted), inner = loop_client(&l, l.trusted);
    loop_send(&l, outer,
        "GET / HTTP/1.1\r\nHost: cart\r\nbaggage: offshoot=v1m.main.0.10\r\n" TRACE "\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, inner, "GET / HTTP/1.1\r\nHost: cart\r\n" TRACE "\r\n");
    loop_recv(&l, l.provider[1]);
    loop_send(&l, l.provider[1], OK);
    assert_null(strstr(loop_recv(&l, inner), "x-offshoot-route")); /* it did not ask */
    loop_send(&l, l.provider[0], OK);
    const char *got = strstr(loop_recv(&l, outer), "x-offshoot-route: ");
    assert_non_null(got);
    assert_non_null(strstr(got, "rule=explicit"));
    assert_non_null(strstr(got, ", cart@main;"));
    assert_non_null(strstr(got, "rule=default")); /* the leak */
    close(outer);
    close(inner);
    loop_stop(&l);
}

static void a_full_table_still_tells_the_own_hop(void **state)
{
    (void)state;
    const char *sets[] = {"limits.traces", "16", NULL};
    char request[256];
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    for (int i = 0; i < 300; i++) { /* one a shard at this limit: some must be lost */
        snprintf(request, sizeof request,
            "GET / HTTP/1.1\r\nHost: cart\r\nx-offshoot-explain: 1\r\n"
            "traceparent: 00-%032x-00f067aa0ba902b7-01\r\n\r\n",
            i + 1);
        loop_send(&l, c, request);
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], OK);
        assert_non_null(strstr(loop_recv(&l, c), "\r\nx-offshoot-route: cart@main;"));
    }
    assert_true(loop_count(&l, STAT_TRACE_LOST) > 0);
    assert_true(loop_count(&l, STAT_TRACE_RECORDS) <= 64);
    close(c);
    loop_stop(&l);
}

static void records_beyond_64_are_counted_as_lost(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int c = loop_client(&l, l.trusted);
    for (int i = 0; i < 65; i++) {
        loop_send(&l, c, "GET / HTTP/1.1\r\nHost: cart\r\nx-offshoot-explain: 1\r\n" TRACE "\r\n");
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], OK);
        loop_recv(&l, c);
        assert_int_equal(loop_count(&l, STAT_TRACE_LOST), i == 64);
    }
    loop_advance(&l, 31000); /* forgotten 30 s after the last record */
    loop_send(&l, c, "GET / HTTP/1.1\r\nHost: cart\r\nx-offshoot-explain: 1\r\n" TRACE "\r\n");
    assert_int_equal(loop_count(&l, STAT_TRACE_LOST), 1);
    close(c);
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_tells_the_calls_made_for_its_request),
        cmocka_unit_test(a_call_that_lost_its_context_shows),
        cmocka_unit_test(a_full_table_still_tells_the_own_hop),
        cmocka_unit_test(records_beyond_64_are_counted_as_lost),
    };
    return unit_run(tests);
}
