/* The client half of docs/internals/close-table.md, row by row. */
#include "tests/loop/loop.h"
#include <sys/socket.h>
#include <unistd.h>

static struct loop l;

#define GET  "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\n12345"
#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static uint64_t closes(enum client_close why)
{
    return loop_count(&l, STAT_CLIENT_CLOSES + why);
}

static void c1_eof_between_requests_closes(void **state)
{
    (void)state;
    int c = loop_begin(&l, "");
    loop_close(&l, &c);
    assert_int_equal(closes(CLIENT_CLOSE_CLIENT), 1);
    loop_end(&l, c);
}

static void c2_idling_too_long_closes_without_a_word(void **state)
{
    (void)state;
    int c = loop_begin(&l, "");
    loop_advance(&l, 74000);
    assert_false(loop_closed(&l, c));
    loop_advance(&l, 2000);
    assert_string_equal(loop_recv(&l, c), "");
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_IDLE), 1);
    loop_end(&l, c);
}

static void c2_idling_counts_from_the_last_reply(void **state)
{
    (void)state;
    int c = loop_begin(&l, "");
    loop_advance(&l, 50000);
    loop_send(&l, c, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK);
    loop_advance(&l, 50000);
    assert_non_null(strstr(loop_recv(&l, c), "hi"));
    assert_false(loop_closed(&l, c));
    loop_advance(&l, 30000);
    assert_true(loop_closed(&l, c));
    loop_end(&l, c);
}

static void c3_eof_in_a_head_closes_without_a_word(void **state)
{
    (void)state;
    int c = loop_begin(&l, "GET / HT");
    loop_shutdown(&l, c);
    assert_string_equal(loop_recv(&l, c), "");
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_IN_HEAD), 1);
    loop_end(&l, c);
}

static void c4_a_head_that_dribbles_is_refused(void **state)
{
    (void)state;
    int c = loop_begin(&l, "G");
    for (int i = 0; i < 9; i++) {
        loop_advance(&l, 1000);
        loop_send(&l, c, "E");
        assert_false(loop_closed(&l, c));
    }
    loop_advance(&l, 1100);
    loop_assert_refused(&l, c, "408", "request-timeout");
    loop_advance(&l, 1100);
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_HEAD_TIMEOUT), 1);
    loop_end(&l, c);
}

static void c5_what_is_not_http_is_refused(void **state)
{
    (void)state;
    int c = loop_begin(&l, "GET / HTTP/1.1\nHost: shop\n\n");
    loop_assert_refused(&l, c, "400", "bad-request");
    assert_int_equal(loop_count(&l, STAT_BAD_REQUESTS + H1_E_BARE_LF), 1);
    loop_advance(&l, 1100);
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_BAD_REQUEST), 1);
    loop_end(&l, c);
}

static void c5_a_head_over_the_limit_is_refused(void **state)
{
    (void)state;
    const char *sets[] = {"limits.headBytes", "1024", NULL};
    char head[1200];
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    /* exactly at the limit: accepted */
    int n = snprintf(head, sizeof head, "GET /");
    memset(head + n, 'a', 1024);
    const char tail[] = " HTTP/1.1\r\nHost: s\r\n\r\n";
    memcpy(head + 1024 - (sizeof tail - 1), tail, sizeof tail);
    loop_send(&l, c, head);
    assert_int_equal(l.nproviders, 1);
    loop_send(&l, l.provider[0], OK);
    loop_recv(&l, c);
    /* one more */
    memcpy(head + 1025 - (sizeof tail - 1), tail, sizeof tail);
    head[1024 - (sizeof tail - 1)] = 'a';
    loop_send(&l, c, head);
    loop_assert_refused(&l, c, "431", "too-large");
    assert_int_equal(loop_count(&l, STAT_BAD_REQUESTS + H1_E_HEAD_TOO_LARGE), 1);
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_TOO_LARGE), 1);
    loop_end(&l, c);
}

static void c6_a_half_closed_client_gets_its_reply(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_shutdown(&l, c);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK);
    assert_string_equal(
        loop_recv(&l, c), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi");
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_HALF_CLOSE), 1);
    loop_end(&l, c);
}

static void c6_requests_before_a_half_close_are_all_answered(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET GET GET);
    loop_shutdown(&l, c);
    for (int i = 0; i < 3; i++) {
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], OK);
        assert_memory_equal(loop_recv(&l, c), "HTTP/1.1 200 OK\r\n", 17);
    }
    assert_true(loop_closed(&l, c));
    assert_int_equal(loop_count(&l, STAT_REPLIES + 1), 3);
    loop_end(&l, c);
}

static void c7_a_reset_ends_the_provider_connection(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    loop_turns(&l); /* the reply's head lies unread in our end: closing it now is a reset */
    loop_close(&l, &c);
    loop_send(&l, l.provider[0], "more");
    loop_turns(&l);
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(closes(CLIENT_CLOSE_RESET), 1);
    loop_end(&l, c);
}

static void c8_eof_in_a_request_body_is_refused(void **state)
{
    (void)state;
    int c = loop_begin(&l, POST);
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "12345"));
    loop_shutdown(&l, c);
    loop_assert_refused(&l, c, "400", "bad-request");
    assert_true(loop_closed(&l, l.provider[0]));
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_IN_BODY), 1);
    loop_end(&l, c);
}

static void c9_a_request_body_that_stops_is_refused(void **state)
{
    (void)state;
    const char *sets[] = {"limits.minRate", "0", NULL};
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, POST);
    loop_recv(&l, l.provider[0]);
    loop_advance(&l, 59000);
    loop_send(&l, c, "6");
    loop_advance(&l, 59000);
    assert_string_equal(loop_recv(&l, c), "");
    loop_advance(&l, 2000);
    loop_assert_refused(&l, c, "408", "request-timeout");
    loop_recv(&l, l.provider[0]);
    assert_true(loop_closed(&l, l.provider[0]));
    loop_advance(&l, 1100);
    assert_int_equal(closes(CLIENT_CLOSE_BODY_TIMEOUT), 1);
    loop_end(&l, c);
}

static void c10_a_malformed_request_body_is_refused(void **state)
{
    (void)state;
    int c = loop_begin(
        &l, "POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "abc"));
    loop_send(&l, c, "zz\r\n");
    loop_assert_refused(&l, c, "400", "bad-request");
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(loop_count(&l, STAT_BAD_REQUESTS + H1_E_CHUNK_SIZE), 1);
    loop_advance(&l, 1100);
    assert_true(loop_closed(&l, c));
    loop_end(&l, c);
}

static void c11_eof_in_a_request_body_aborts_a_running_reply(void **state)
{
    (void)state;
    int c = loop_begin(&l, POST);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123");
    assert_non_null(strstr(loop_recv(&l, c), "connection: close\r\n\r\n123"));
    loop_shutdown(&l, c);
    assert_string_equal(loop_recv(&l, c), "");
    assert_true(loop_closed(&l, c));
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(closes(CLIENT_CLOSE_IN_BODY), 1);
    loop_end(&l, c);
}

static void c12_a_client_that_takes_nothing_is_closed(void **state)
{
    (void)state;
    static char piece[65536];
    int c = loop_begin(&l, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    memset(piece, 'x', sizeof piece - 1);
    for (int i = 0; i < 64; i++) /* until nobody takes any more */
        if (send(l.provider[0], piece, sizeof piece - 1, MSG_NOSIGNAL) < 0)
            break;
        else
            loop_turns(&l);
    assert_true(l.w.bufs.nused <= 4);
    loop_advance(&l, 61000);
    loop_advance(&l, 61000);
    assert_int_equal(closes(CLIENT_CLOSE_STALLED), 1);
    assert_true(loop_closed(&l, l.provider[0]));
    loop_end(&l, c);
}

static void c13_an_early_reply_is_sent_and_the_connection_lingers(void **state)
{
    (void)state;
    int c = loop_begin(&l, POST);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    assert_string_equal(
        loop_recv(&l, c), "HTTP/1.1 413 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
    loop_send(&l, c, "67890"); /* dropped, not an error */
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(closes(CLIENT_CLOSE_EARLY_REPLY), 0);
    loop_advance(&l, 1100);
    assert_int_equal(closes(CLIENT_CLOSE_EARLY_REPLY), 1);
    loop_end(&l, c);
}

static void c14_connection_close_is_honoured(void **state)
{
    (void)state;
    int c = loop_begin(&l, "GET / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\nconnection: close\r\n\r\nhi"));
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_DONE), 0); /* lingers, so that the reply arrives */
    loop_close(&l, &c);
    assert_int_equal(closes(CLIENT_CLOSE_DONE), 1);
    loop_end(&l, c);
}

static void c14_http_1_0_closes_and_gets_no_chunks(void **state)
{
    (void)state;
    int c = loop_begin(&l, "GET / HTTP/1.0\r\nHost: s\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0],
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    assert_string_equal(loop_recv(&l, c), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi");
    assert_true(loop_closed(&l, c));
    loop_end(&l, c);
}

static void c15_a_kept_connection_serves_the_next_request(void **state)
{
    (void)state;
    int c = loop_begin(&l, "GET /1 HTTP/1.0\r\nHost: s\r\nConnection: keep-alive\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\nconnection: keep-alive\r\n\r\nhi"));
    loop_send(&l, c, GET);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], OK);
    assert_non_null(strstr(loop_recv(&l, c), "hi"));
    assert_false(loop_closed(&l, c));
    loop_end(&l, c);
}

static void x1_draining_ends_idle_connections_and_lets_requests_end(void **state)
{
    (void)state;
    int c = loop_begin(&l, GET);
    int idle = loop_client(&l, l.trusted);
    loop_recv(&l, l.provider[0]);
    worker_drain(&l.w);
    loop_turns(&l);
    assert_false(loop_closed(&l, idle)); /* it may be about to ask */
    loop_advance(&l, 2000);
    assert_true(loop_closed(&l, idle));
    assert_false(l.w.stop);
    loop_send(&l, l.provider[0], OK);
    assert_non_null(strstr(loop_recv(&l, c), "\r\nconnection: close\r\n"));
    assert_true(loop_closed(&l, c));
    loop_close(&l, &c);
    assert_true(l.w.stop);
    close(idle);
    loop_end(&l, c);
}

static void x1_draining_ends_at_its_deadline(void **state)
{
    (void)state;
    const char *sets[] = {"timeouts.reply", "60s", NULL};
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET);
    worker_drain(&l.w);
    loop_advance(&l, 29000);
    assert_false(l.w.stop);
    loop_advance(&l, 1100);
    assert_true(l.w.stop);
    assert_int_equal(closes(CLIENT_CLOSE_DRAIN), 1);
    loop_end(&l, c);
}

static void x2_connections_over_the_limit_are_answered(void **state)
{
    (void)state;
    const char *sets[] = {"limits.connections", "2", NULL};
    int c[20];
    loop_start(&l, NULL, sets);
    for (int i = 0; i < 20; i++)
        c[i] = loop_client(&l, l.trusted);
    assert_int_equal(loop_count(&l, STAT_CONNECTIONS_REFUSED), 16);
    assert_int_equal(loop_count(&l, STAT_CONNECTIONS_DROPPED), 2);
    assert_true(loop_closed(&l, c[19]));
    loop_send(&l, c[2], GET);
    loop_assert_refused(&l, c[2], "503", "overload");
    assert_true(loop_closed(&l, c[2]));
    loop_send(&l, c[1], GET);
    assert_int_equal(l.nproviders, 1);
    for (int i = 0; i < 20; i++)
        close(c[i]);
    loop_stop(&l);
}

static void x3_requests_over_the_limit_of_buffers_are_refused(void **state)
{
    (void)state;
    const char *sets[] = {"limits.buffers", "64", NULL};
    int c[90];
    loop_start(&l, NULL, sets);
    for (int i = 0; i < 64; i++) {
        c[i] = loop_client(&l, l.trusted);
        loop_send(&l, c[i], "GET / HT"); /* each holds a block */
    }
    c[64] = loop_client(&l, l.trusted);
    loop_send(&l, c[64], GET); /* one more */
    loop_assert_refused(&l, c[64], "503", "overload");
    assert_int_equal(loop_count(&l, STAT_BUFFERS_REFUSED), 1);
    for (int i = 65; i < 90; i++) { /* and far more: nothing is left to answer with */
        c[i] = loop_client(&l, l.trusted);
        loop_send(&l, c[i], "GET / HT");
    }
    assert_int_equal(l.w.bufs.nused, 64 + 8 + 16);
    assert_int_equal(closes(CLIENT_CLOSE_NO_MEMORY), 1);
    for (int i = 0; i < 90; i++)
        close(c[i]);
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c1_eof_between_requests_closes),
        cmocka_unit_test(c2_idling_too_long_closes_without_a_word),
        cmocka_unit_test(c2_idling_counts_from_the_last_reply),
        cmocka_unit_test(c3_eof_in_a_head_closes_without_a_word),
        cmocka_unit_test(c4_a_head_that_dribbles_is_refused),
        cmocka_unit_test(c5_what_is_not_http_is_refused),
        cmocka_unit_test(c5_a_head_over_the_limit_is_refused),
        cmocka_unit_test(c6_a_half_closed_client_gets_its_reply),
        cmocka_unit_test(c6_requests_before_a_half_close_are_all_answered),
        cmocka_unit_test(c7_a_reset_ends_the_provider_connection),
        cmocka_unit_test(c8_eof_in_a_request_body_is_refused),
        cmocka_unit_test(c9_a_request_body_that_stops_is_refused),
        cmocka_unit_test(c10_a_malformed_request_body_is_refused),
        cmocka_unit_test(c11_eof_in_a_request_body_aborts_a_running_reply),
        cmocka_unit_test(c12_a_client_that_takes_nothing_is_closed),
        cmocka_unit_test(c13_an_early_reply_is_sent_and_the_connection_lingers),
        cmocka_unit_test(c14_connection_close_is_honoured),
        cmocka_unit_test(c14_http_1_0_closes_and_gets_no_chunks),
        cmocka_unit_test(c15_a_kept_connection_serves_the_next_request),
        cmocka_unit_test(x1_draining_ends_idle_connections_and_lets_requests_end),
        cmocka_unit_test(x1_draining_ends_at_its_deadline),
        cmocka_unit_test(x2_connections_over_the_limit_are_answered),
        cmocka_unit_test(x3_requests_over_the_limit_of_buffers_are_refused),
    };
    return unit_run(tests);
}
