/* The provider half of docs/internals/close-table.md, row by row. */
#include "tests/loop/loop.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop l;

#define GET  "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
#define PUT  "PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\n12345"
#define POST "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\n12345"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static const char two_endpoints[] = LOOP_SERVICE("cart", "policy: {retries: {max: 1}}")
    LOOP_CART("\"127.0.0.1:1\", \"127.0.0.1:2\"") LOOP_GATEWAY("");

static uint64_t errors(enum provider_error why)
{
    return loop_count(&l, STAT_PROVIDER_ERRORS + why);
}

/* The connection goes on: a further request is served by the i-th provider connection. */
static void assert_kept(int c, unsigned i)
{
    assert_false(loop_closed(&l, c));
    l.connect_error = 0;
    loop_send(&l, c, GET);
    assert_int_equal(l.nproviders, i + 1);
    assert_non_null(strstr(loop_recv(&l, l.provider[i]), "GET / "));
    loop_send(&l, l.provider[i], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\nhi"));
}

/* A connection that has carried one request already. */
static int begin_used(void)
{
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\nhi"));
    return c;
}

static void p1_a_refused_connect_is_refused_and_kept(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int c = loop_client(&l, l.trusted);
    l.connect_error = -ECONNREFUSED;
    loop_send(&l, c, GET);
    loop_assert_refused(&l, c, "502", "connect");
    assert_int_equal(errors(PROVIDER_REFUSED), 2); /* one retry */
    assert_int_equal(loop_count(&l, STAT_RETRIES), 1);
    assert_kept(c, 0);
    loop_end(&l, c);
}

static void p1_retries_are_a_share_of_the_requests(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int c = loop_client(&l, l.trusted);
    l.connect_error = -ECONNREFUSED;
    for (int i = 0; i < 20; i++) {
        loop_send(&l, c, GET);
        loop_assert_refused(&l, c, "502", "connect");
    }
    /* ten are saved up; the requests earn a fifth of one each, but none above the ten */
    assert_int_equal(loop_count(&l, STAT_RETRIES), 13);
    assert_int_equal(loop_count(&l, STAT_RETRIES_DENIED), 7);
    loop_end(&l, c);
}

static void p1_the_next_endpoint_is_tried(void **state)
{
    (void)state;
    loop_start(&l, two_endpoints, NULL);
    int c = loop_client(&l, l.trusted);
    l.connect_pending = true;
    loop_send(&l, c, GET);
    assert_int_equal(l.nproviders, 1);
    l.connect_pending = false;
    loop_advance(&l, 1100);
    assert_int_equal(l.nproviders, 2);
    assert_non_null(strstr(loop_recv(&l, l.provider[1]), "GET / "));
    loop_send(&l, l.provider[1], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\nhi"));
    assert_int_equal(l.w.providers.count, 2); /* another address */
    assert_int_equal(errors(PROVIDER_CONNECT_TIMEOUT), 1);
    loop_end(&l, c);
}

static void p2_a_connect_that_hangs_is_refused(void **state)
{
    (void)state;
    loop_start(&l, NULL, NULL);
    int c = loop_client(&l, l.trusted);
    l.connect_pending = true;
    loop_send(&l, c, GET);
    loop_advance(&l, 900);
    assert_string_equal(loop_recv(&l, c), "");
    loop_advance(&l, 200);
    loop_advance(&l, 1100);
    loop_assert_refused(&l, c, "502", "connect");
    assert_int_equal(errors(PROVIDER_CONNECT_TIMEOUT), 2);
    l.connect_pending = false;
    assert_kept(c, 2);
    loop_end(&l, c);
}

static void p4_waiting_for_a_connection_is_bounded(void **state)
{
    (void)state;
    const char *sets[] = {"limits.providerConnections", "1", "limits.providerPending", "1", NULL};
    loop_start(&l, NULL, sets);
    int a = loop_client(&l, l.trusted), b = loop_client(&l, l.trusted),
        c = loop_client(&l, l.trusted);
    loop_send(&l, a, GET);
    loop_send(&l, b, GET); /* waits: at the bound */
    loop_send(&l, c, GET); /* one more */
    loop_assert_refused(&l, c, "503", "overload");
    assert_int_equal(errors(PROVIDER_PENDING_FULL), 1);
    loop_advance(&l, 1100);
    loop_assert_refused(&l, b, "503", "overload");
    assert_int_equal(errors(PROVIDER_PENDING_TIMEOUT), 1);
    loop_send(&l, b, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK); /* a is done: b's turn */
    assert_non_null(strstr(loop_recv(&l, a), "\r\n\r\nhi"));
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "GET / "));
    loop_send(&l, l.provider[0], OK);
    assert_non_null(strstr(loop_recv(&l, b), "\r\n\r\nhi"));
    assert_int_equal(l.nproviders, 1);
    close(a);
    close(b);
    loop_end(&l, c);
}

static void p5_a_stale_connection_is_replaced(void **state)
{
    (void)state;
    int c = begin_used();
    loop_send(&l, c, GET);
    loop_recv(&l, l.provider[0]);
    close(l.provider[0]);
    l.provider[0] = -1;
    loop_turns(&l);
    assert_int_equal(l.nproviders, 2);
    assert_non_null(strstr(loop_recv(&l, l.provider[1]), "GET / "));
    loop_send(&l, l.provider[1], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\nhi"));
    assert_int_equal(loop_count(&l, STAT_RETRIES), 1);
    loop_end(&l, c);
}

static void p5_the_baggage_is_said_again(void **state)
{
    (void)state;
    int c = begin_used();
    loop_send(
        &l, c, "GET / HTTP/1.1\r\nHost: s\r\nbaggage: a=1,offshoot=v1m.main.0.00,b=2\r\n\r\n");
    assert_non_null(
        strstr(loop_recv(&l, l.provider[0]), "\r\nbaggage: a=1,b=2,offshoot=v1m.main.0.00\r\n"));
    close(l.provider[0]);
    l.provider[0] = -1;
    loop_turns(&l);
    assert_non_null(
        strstr(loop_recv(&l, l.provider[1]), "\r\nbaggage: a=1,b=2,offshoot=v1m.main.0.00\r\n"));
    loop_end(&l, c);
}

static void p5_an_idempotent_body_is_said_again(void **state)
{
    (void)state;
    int c = begin_used();
    loop_send(&l, c, PUT);
    loop_recv(&l, l.provider[0]);
    close(l.provider[0]);
    l.provider[0] = -1;
    loop_turns(&l);
    assert_int_equal(l.nproviders, 2);
    const char *got = loop_recv(&l, l.provider[1]);
    assert_non_null(strstr(got, "PUT / "));
    assert_non_null(strstr(got, "\r\n\r\n12345"));
    loop_send(&l, l.provider[1], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\nhi"));
    loop_end(&l, c);
}

static void p5_a_chunked_body_is_said_again_and_goes_on(void **state)
{
    (void)state;
    int c = begin_used();
    loop_send(&l, c, "PUT / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    loop_recv(&l, l.provider[0]);
    close(l.provider[0]);
    l.provider[0] = -1;
    loop_turns(&l);
    assert_int_equal(l.nproviders, 2);
    loop_send(&l, c, "2\r\nde\r\n0\r\n\r\n");
    const char *got = loop_recv(&l, l.provider[1]);
    assert_non_null(strstr(got, "\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
    loop_send(&l, l.provider[1], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\n\r\nhi"));
    loop_end(&l, c);
}

static void p5_a_body_too_large_to_keep_is_not_said_again(void **state)
{
    (void)state;
    const char *sets[] = {"limits.retryBytes", "4", NULL};
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET);
    loop_send(&l, l.provider[0], OK);
    loop_recv(&l, c);
    loop_send(&l, c, PUT);
    close(l.provider[0]);
    l.provider[0] = -1;
    loop_turns(&l);
    assert_int_equal(l.nproviders, 1);
    loop_assert_refused(&l, c, "502", "bad-reply");
    loop_end(&l, c);
}

static void p6_a_post_is_never_said_again(void **state)
{
    (void)state;
    int c = begin_used();
    loop_send(&l, c, POST);
    loop_recv(&l, l.provider[0]);
    close(l.provider[0]);
    l.provider[0] = -1;
    loop_turns(&l);
    loop_assert_refused(&l, c, "502", "bad-reply");
    assert_int_equal(errors(PROVIDER_CLOSED), 1);
    assert_int_equal(loop_count(&l, STAT_RETRIES), 0);
    assert_kept(c, 1);
    loop_end(&l, c);
}

static void p6_a_fresh_connection_that_closes_is_not_stale(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    close(l.provider[0]);
    l.provider[0] = -1;
    loop_turns(&l);
    loop_assert_refused(&l, c, "502", "bad-reply");
    assert_kept(c, 1);
    loop_end(&l, c);
}

static void p7_eof_in_the_reply_head_is_a_bad_reply(void **state)
{
    (void)state;
    int c = begin_used();
    loop_send(&l, c, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 20");
    loop_shutdown(&l, l.provider[0]);
    loop_assert_refused(&l, c, "502", "bad-reply");
    assert_int_equal(errors(PROVIDER_CLOSED_IN_HEAD), 1);
    assert_kept(c, 1);
    loop_end(&l, c);
}

static void p8_a_malformed_reply_is_a_bad_reply(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int c = loop_begin(&l, GET);
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], bad[i]);
        loop_assert_refused(&l, c, "502", "bad-reply");
        assert_int_equal(errors(PROVIDER_MALFORMED), 1);
        assert_true(loop_closed(&l, l.provider[0]));
        assert_kept(c, 1);
        loop_end(&l, c);
    }
}

static void p8_interim_replies_are_passed_on_and_bounded(void **state)
{
    (void)state;
    int c = loop_begin(
        &l, "POST / HTTP/1.1\r\nHost: s\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "\r\nexpect: 100-continue\r\n"));
    loop_send(&l, l.provider[0], "HTTP/1.1 100 Continue\r\n\r\n");
    assert_string_equal(loop_recv(&l, c), "HTTP/1.1 100 Continue\r\n\r\n");
    loop_send(&l, c, "ab");
    assert_string_equal(loop_recv(&l, l.provider[0]), "ab");
    for (int i = 0; i < 15; i++)
        loop_send(&l, l.provider[0], "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, c), "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"));
    loop_send(&l, l.provider[0], "HTTP/1.1 103 Early Hints\r\n\r\n"); /* the 17th */
    loop_assert_refused(&l, c, "502", "bad-reply");
    loop_end(&l, c);
}

static void p9_a_reply_that_does_not_come_is_a_timeout(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_advance(&l, 14900);
    assert_string_equal(loop_recv(&l, c), "");
    loop_advance(&l, 200);
    loop_assert_refused(&l, c, "504", "timeout");
    assert_int_equal(errors(PROVIDER_REPLY_TIMEOUT), 1);
    assert_true(loop_closed(&l, l.provider[0]));
    assert_kept(c, 1);
    loop_end(&l, c);
}

static void p10_eof_in_a_reply_body_is_seen_by_the_client(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(
        &l, l.provider[0], "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    loop_shutdown(&l, l.provider[0]);
    const char *got = loop_recv(&l, c);
    assert_non_null(strstr(got, "3\r\nabc\r\n"));
    assert_null(strstr(got, "0\r\n\r\n"));
    assert_true(loop_closed(&l, c));
    assert_int_equal(errors(PROVIDER_CLOSED_IN_BODY), 1);
    loop_end(&l, c);
}

static void p10_eof_before_anything_was_sent_is_a_bad_reply(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    const char part[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    assert_true(send(l.provider[0], part, sizeof part - 1, MSG_NOSIGNAL) > 0);
    shutdown(l.provider[0], SHUT_WR); /* both are there when the worker looks */
    loop_assert_refused(&l, c, "502", "bad-reply");
    assert_kept(c, 1);
    loop_end(&l, c);
}

static void p11_a_malformed_chunk_is_seen_by_the_client(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(
        &l, l.provider[0], "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_non_null(strstr(loop_recv(&l, c), "3\r\nabc\r\n"));
    loop_send(&l, l.provider[0], "xx\r\n");
    assert_string_equal(loop_recv(&l, c), "");
    assert_true(loop_closed(&l, c));
    assert_int_equal(errors(PROVIDER_MALFORMED), 1);
    loop_end(&l, c);
}

static void p12_a_reply_body_that_stops_is_aborted(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    loop_advance(&l, 59000);
    loop_send(&l, l.provider[0], "d");
    loop_advance(&l, 59000);
    loop_recv(&l, c);
    assert_false(loop_closed(&l, c));
    loop_advance(&l, 2000);
    assert_true(loop_closed(&l, c));
    assert_int_equal(errors(PROVIDER_STALLED), 1);
    loop_end(&l, c);
}

static void p13_bytes_after_the_end_are_a_bad_reply(void **state)
{
    (void)state;
    static const char *const extra[] = {
        OK "x",
        OK OK,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx",
        "HTTP/1.1 304 Not Modified\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
    };
    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; i++) {
        int c = loop_begin(&l, GET);
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], extra[i]);
        loop_assert_refused(&l, c, "502", "bad-reply");
        assert_int_equal(errors(PROVIDER_EXTRA_BYTES), 1);
        assert_true(loop_closed(&l, l.provider[0]));
        assert_kept(c, 1);
        loop_end(&l, c);
    }
}

static void p13_bytes_after_a_streamed_end_hold_its_last_byte_back(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    assert_non_null(strstr(loop_recv(&l, c), "ab"));
    loop_send(&l, l.provider[0], "cdX");
    assert_string_equal(loop_recv(&l, c), "");
    assert_true(loop_closed(&l, c));
    loop_end(&l, c);
}

static void p14_an_answer_is_read_though_the_request_is_not_taken(void **state)
{
    (void)state;
    static char body[200001];
    int c = loop_begin(&l, "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 1000000\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    const char no[] = "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno";
    assert_true(send(l.provider[0], no, sizeof no - 1, MSG_NOSIGNAL) > 0);
    shutdown(l.provider[0], SHUT_RDWR);
    memset(body, 'b', sizeof body - 1);
    loop_send(&l, c, body);
    assert_non_null(strstr(loop_recv(&l, c), "HTTP/1.1 413 No\r\n"));
    loop_end(&l, c);
}

static void p15_an_idle_connection_that_speaks_is_closed(void **state)
{
    (void)state;
    int c = begin_used();
    loop_send(&l, l.provider[0], OK);
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(loop_count(&l, STAT_PROVIDER_CLOSES + PROVIDER_CLOSE_IDLE_READABLE), 1);
    assert_kept(c, 1);
    loop_end(&l, c);
}

static void p16_an_unused_connection_is_closed_in_time(void **state)
{
    (void)state;
    int c = begin_used();
    loop_advance(&l, 59000);
    assert_false(loop_closed(&l, l.provider[0]));
    loop_advance(&l, 2000);
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(loop_count(&l, STAT_PROVIDER_CLOSES + PROVIDER_CLOSE_IDLE), 1);
    loop_end(&l, c);
}

static void p17_connections_above_the_idle_limit_are_closed(void **state)
{
    (void)state;
    const char *sets[] = {"limits.providerIdle", "1", NULL};
    loop_start(&l, NULL, sets);
    int a = loop_client(&l, l.trusted), b = loop_client(&l, l.trusted);
    loop_send(&l, a, GET);
    loop_send(&l, b, GET);
    for (int i = 0; i < 2; i++) {
        loop_recv(&l, l.provider[i]);
        loop_send(&l, l.provider[i], OK);
    }
    assert_false(loop_closed(&l, l.provider[0]));
    assert_true(loop_closed(&l, l.provider[1]));
    assert_int_equal(loop_count(&l, STAT_PROVIDER_CLOSES + PROVIDER_CLOSE_FULL), 1);
    close(a);
    loop_end(&l, b);
}

static void p18_a_connection_that_says_close_is_closed(void **state)
{
    (void)state;
    static const char *const last[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    };
    for (size_t i = 0; i < 2; i++) {
        int c = loop_begin(&l, GET);
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], last[i]);
        assert_string_equal(loop_recv(&l, c), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        assert_true(loop_closed(&l, l.provider[0]));
        assert_kept(c, 1);
        loop_end(&l, c);
    }
}

static void p18_a_body_until_close_becomes_chunks(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\n\r\nhi");
    assert_string_equal(
        loop_recv(&l, c), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n");
    loop_shutdown(&l, l.provider[0]);
    assert_string_equal(loop_recv(&l, c), "0\r\n\r\n");
    assert_kept(c, 1);
    loop_end(&l, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p1_a_refused_connect_is_refused_and_kept),
        cmocka_unit_test(p1_retries_are_a_share_of_the_requests),
        cmocka_unit_test(p1_the_next_endpoint_is_tried),
        cmocka_unit_test(p2_a_connect_that_hangs_is_refused),
        cmocka_unit_test(p4_waiting_for_a_connection_is_bounded),
        cmocka_unit_test(p5_a_stale_connection_is_replaced),
        cmocka_unit_test(p5_the_baggage_is_said_again),
        cmocka_unit_test(p5_an_idempotent_body_is_said_again),
        cmocka_unit_test(p5_a_chunked_body_is_said_again_and_goes_on),
        cmocka_unit_test(p5_a_body_too_large_to_keep_is_not_said_again),
        cmocka_unit_test(p6_a_post_is_never_said_again),
        cmocka_unit_test(p6_a_fresh_connection_that_closes_is_not_stale),
        cmocka_unit_test(p7_eof_in_the_reply_head_is_a_bad_reply),
        cmocka_unit_test(p8_a_malformed_reply_is_a_bad_reply),
        cmocka_unit_test(p8_interim_replies_are_passed_on_and_bounded),
        cmocka_unit_test(p9_a_reply_that_does_not_come_is_a_timeout),
        cmocka_unit_test(p10_eof_in_a_reply_body_is_seen_by_the_client),
        cmocka_unit_test(p10_eof_before_anything_was_sent_is_a_bad_reply),
        cmocka_unit_test(p11_a_malformed_chunk_is_seen_by_the_client),
        cmocka_unit_test(p12_a_reply_body_that_stops_is_aborted),
        cmocka_unit_test(p13_bytes_after_the_end_are_a_bad_reply),
        cmocka_unit_test(p13_bytes_after_a_streamed_end_hold_its_last_byte_back),
        cmocka_unit_test(p14_an_answer_is_read_though_the_request_is_not_taken),
        cmocka_unit_test(p15_an_idle_connection_that_speaks_is_closed),
        cmocka_unit_test(p16_an_unused_connection_is_closed_in_time),
        cmocka_unit_test(p17_connections_above_the_idle_limit_are_closed),
        cmocka_unit_test(p18_a_connection_that_says_close_is_closed),
        cmocka_unit_test(p18_a_body_until_close_becomes_chunks),
    };
    return unit_run(tests);
}
