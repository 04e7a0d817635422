/* Upgrades and CONNECT: rows T1 to T14 of docs/internals/close-table.md. */
#include "tests/loop/loop.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop l;

#define HANDSHAKE                                                                                  \
    "GET /chat HTTP/1.1\r\nHost: shop\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define SWITCHING                                                                                  \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
#define SWITCHED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"   \
    "connection: upgrade\r\nupgrade: websocket\r\n\r\n"

static const char with_tcp[] = LOOP_CART_AND_DB LOOP_GATEWAY("");

static uint64_t ends(enum tunnel_end why)
{
    return loop_count(&l, STAT_TUNNEL_ENDS + why);
}

static uint64_t closes(enum client_close why)
{
    return loop_count(&l, STAT_CLIENT_CLOSES + why);
}

/* A client whose upgrade the provider has taken; its end. The provider's is l.provider[0]. */
static int begin_tunnel(void)
{
    int c = loop_begin(&l, HANDSHAKE);
    const char *got = loop_recv(&l, l.provider[0]);
    assert_non_null(strstr(got, "\r\nconnection: upgrade\r\nupgrade: websocket\r\n"));
    assert_non_null(strstr(got, "\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    loop_send(&l, l.provider[0], SWITCHING);
    assert_string_equal(loop_recv(&l, c), SWITCHED);
    assert_int_equal(loop_count(&l, STAT_TUNNELS), 1);
    assert_int_equal(loop_count(&l, STAT_TUNNELS_NOW), 1);
    return c;
}

/* After the end: nothing is left of it. */
static void end_tunnel(int c, enum tunnel_end why)
{
    assert_int_equal(ends(why), 1);
    assert_int_equal(loop_count(&l, STAT_TUNNELS_NOW), 0);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_CONNECTIONS), 0);
    loop_end(&l, c);
}

static void t1_an_upgrade_with_a_body_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"};
    for (unsigned i = 0; i < 2; i++) {
        int c = loop_begin(&l, "POST / HTTP/1.1\r\nHost: shop\r\nUpgrade: websocket\r\n"
                               "Connection: upgrade\r\n");
        loop_send(&l, c, bodies[i]);
        loop_assert_refused(&l, c, "400", "bad-request");
        assert_int_equal(l.nproviders, 0);
        loop_advance(&l, 1100);
        assert_true(loop_closed(&l, c));
        loop_end(&l, c);
    }
    /* a length of nothing is no body */
    int c = loop_begin(&l, "POST / HTTP/1.1\r\nHost: shop\r\nUpgrade: tcp\r\n"
                           "Connection: upgrade\r\nContent-Length: 0\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "upgrade: tcp\r\n"));
    loop_end(&l, c);
}

static void t1_an_upgrade_that_is_no_list_is_refused(void **state)
{
    (void)state;
    int c = loop_begin(&l, "GET / HTTP/1.1\r\nHost: shop\r\nUpgrade: web socket\r\n"
                           "Connection: upgrade\r\n\r\n");
    loop_assert_refused(&l, c, "400", "bad-request");
    assert_int_equal(l.nproviders, 0);
    loop_end(&l, c);
}

static void t2_bytes_pass_both_ways_as_they_are(void **state)
{
    (void)state;
    int c = begin_tunnel();
    loop_send(&l, c, "GET / HTTP/1.1\r\nno head\r\n\r\n");
    assert_string_equal(loop_recv(&l, l.provider[0]), "GET / HTTP/1.1\r\nno head\r\n\r\n");
    loop_send(&l, l.provider[0], "\x81\x05hello");
    assert_string_equal(loop_recv(&l, c), "\x81\x05hello");
    /* idle: no block of memory is held, and no snapshot */
    assert_int_equal(l.w.bufs.nused, 0);
    for (unsigned i = 0; i < SLOTS; i++)
        assert_int_equal(l.w.slots.count[i], 0);
    loop_shutdown(&l, c);
    loop_shutdown(&l, l.provider[0]);
    assert_int_equal(loop_count(&l, STAT_TUNNEL_BYTES_UP), 27);
    assert_int_equal(loop_count(&l, STAT_TUNNEL_BYTES_DOWN), 7);
    end_tunnel(c, TUNNEL_END_CLOSED);
}

static void t2_bytes_before_the_101_wait_for_it(void **state)
{
    (void)state;
    int c = loop_begin(&l, HANDSHAKE "early");
    const char *got = loop_recv(&l, l.provider[0]);
    assert_null(strstr(got, "early"));
    assert_string_equal(got + strlen(got) - 4, "\r\n\r\n");
    loop_send(&l, c, " bytes");
    assert_string_equal(loop_recv(&l, l.provider[0]), "");
    loop_send(&l, l.provider[0], SWITCHING "at once");
    assert_string_equal(loop_recv(&l, c), SWITCHED "at once");
    assert_string_equal(loop_recv(&l, l.provider[0]), "early bytes");
    loop_shutdown(&l, c);
    loop_shutdown(&l, l.provider[0]);
    end_tunnel(c, TUNNEL_END_CLOSED);
}

static void t2_an_interim_reply_may_come_before(void **state)
{
    (void)state;
    int c = loop_begin(&l, HANDSHAKE);
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 103 Early Hints\r\n\r\n" SWITCHING);
    assert_string_equal(loop_recv(&l, c), "HTTP/1.1 103 Early Hints\r\n\r\n" SWITCHED);
    loop_shutdown(&l, c);
    loop_shutdown(&l, l.provider[0]);
    end_tunnel(c, TUNNEL_END_CLOSED);
}

static void bad_switch(const char *reply)
{
    int c = loop_begin(&l, HANDSHAKE "GET /second HTTP/1.1\r\nHost: shop\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], reply);
    loop_assert_refused(&l, c, "502", "bad-reply");
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(l.nproviders, 1); /* nothing of the second request went anywhere */
    assert_int_equal(loop_count(&l, STAT_TUNNELS), 0);
    loop_end(&l, c);
}

static void t3_a_101_that_takes_what_was_not_offered_is_a_bad_reply(void **state)
{
    (void)state;
    bad_switch("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n");
    bad_switch("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n");
    bad_switch("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket, websocket\r\n\r\n");
    bad_switch("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n"
               "\r\n");
}

static void t3_an_unasked_101_is_a_bad_reply(void **state)
{
    (void)state;
    static const char *const asks[] = {
        "GET / HTTP/1.1\r\nHost: shop\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop\r\nUpgrade: websocket\r\n\r\n", /* not named: not asked */
        "GET / HTTP/1.0\r\nHost: shop\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        ("GET / HTTP/1.1\r\nHost: shop\r\nUpgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\n"
         "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"),
    };
    for (unsigned i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        int c = loop_begin(&l, asks[i]);
        const char *got = loop_recv(&l, l.provider[0]);
        assert_null(strstr(got, "upgrade"));
        assert_null(strstr(got, "http2-settings"));
        loop_send(&l, l.provider[0], SWITCHING);
        loop_assert_refused(&l, c, "502", "bad-reply");
        assert_true(loop_closed(&l, l.provider[0]));
        loop_end(&l, c);
    }
}

static void t4_another_reply_passes_and_the_connection_ends(void **state)
{
    (void)state;
    int c = loop_begin(&l, HANDSHAKE "GET /second HTTP/1.1\r\nHost: shop\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    assert_string_equal(loop_recv(&l, c),
        "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
    loop_advance(&l, 1100);
    assert_true(loop_closed(&l, c));
    assert_string_equal(loop_recv(&l, l.provider[0]), "");
    assert_int_equal(l.nproviders, 1);
    assert_int_equal(loop_count(&l, STAT_PROVIDER_IDLE), 1); /* it may serve others */
    loop_end(&l, c);
}

static void t4_also_when_it_was_asked_twice(void **state)
{
    (void)state;
    int before = loop_begin(&l, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    loop_recv(&l, before);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, HANDSHAKE "GET /second HTTP/1.1\r\nHost: shop\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "upgrade: websocket"));
    loop_shutdown(&l, l.provider[0]); /* it had been closed already: the request is said again */
    assert_int_equal(l.nproviders, 2);
    assert_non_null(strstr(loop_recv(&l, l.provider[1]), "upgrade: websocket"));
    loop_send(&l, l.provider[1], "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
    assert_non_null(strstr(loop_recv(&l, c), "\r\nconnection: close\r\n"));
    assert_string_equal(loop_recv(&l, l.provider[1]), "");
    close(before);
    loop_end(&l, c);
}

static void t5_an_end_is_passed_on_and_the_other_way_goes_on(void **state)
{
    (void)state;
    int c = begin_tunnel();
    loop_send(&l, c, "last");
    loop_shutdown(&l, c);
    assert_string_equal(loop_recv(&l, l.provider[0]), "last");
    assert_true(loop_closed(&l, l.provider[0]));
    loop_advance(&l, 60000);
    loop_send(&l, l.provider[0], "answer");
    assert_string_equal(loop_recv(&l, c), "answer");
    assert_false(loop_closed(&l, c));
    loop_shutdown(&l, l.provider[0]);
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_DONE), 1);
    end_tunnel(c, TUNNEL_END_CLOSED);
}

static void t5_an_end_of_the_provider_likewise(void **state)
{
    (void)state;
    int c = begin_tunnel();
    loop_send(&l, l.provider[0], "bye");
    loop_shutdown(&l, l.provider[0]);
    assert_string_equal(loop_recv(&l, c), "bye");
    assert_true(loop_closed(&l, c));
    loop_send(&l, c, "still here");
    assert_string_equal(loop_recv(&l, l.provider[0]), "still here");
    loop_shutdown(&l, c);
    assert_true(loop_closed(&l, l.provider[0]));
    end_tunnel(c, TUNNEL_END_CLOSED);
}

static void t6_a_reset_of_the_client_ends_the_provider_connection(void **state)
{
    (void)state;
    int c = begin_tunnel();
    loop_send(&l, l.provider[0], "unread");
    loop_close(&l, &c);
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(closes(CLIENT_CLOSE_RESET), 1);
    end_tunnel(c, TUNNEL_END_CLIENT_RESET);
}

static void t7_a_reset_of_the_provider_ends_the_client_connection(void **state)
{
    (void)state;
    int c = loop_begin(&l, "GET / HTTP/1.1\r\nHost: shop\r\nUpgrade: raw\r\n"
                           "Connection: upgrade\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_send(&l, l.provider[0], "HTTP/1.1 101 S\r\nUpgrade: raw\r\n\r\n");
    loop_recv(&l, c);
    loop_send(&l, c, "unread");
    loop_close(&l, &l.provider[0]);
    assert_true(loop_closed(&l, c));
    assert_int_equal(closes(CLIENT_CLOSE_PROVIDER), 1);
    end_tunnel(c, TUNNEL_END_PROVIDER_RESET);
}

static void t7_of_a_websocket_what_was_said_before_arrives(void **state)
{
    (void)state;
    int c = begin_tunnel();
    loop_send(&l, c, "unread");
    loop_send(&l, l.provider[0], "\x88\x02\x03\xe8");
    loop_close(&l, &l.provider[0]);
    assert_string_equal(loop_recv(&l, c), "\x88\x02\x03\xe8");
    assert_true(loop_closed(&l, c));
    loop_advance(&l, 1100);
    assert_int_equal(closes(CLIENT_CLOSE_PROVIDER), 1);
    end_tunnel(c, TUNNEL_END_PROVIDER_RESET);
}

static void t8_what_a_provider_said_before_it_went_arrives(void **state)
{
    (void)state;
    int c = begin_tunnel();
    loop_send(&l, l.provider[0], "all of it");
    close(l.provider[0]); /* wholly: it takes nothing more */
    l.provider[0] = -1;
    loop_send(&l, c, "too late");
    assert_string_equal(loop_recv(&l, c), "all of it");
    assert_true(loop_closed(&l, c));
    loop_advance(&l, 1100);
    end_tunnel(c, TUNNEL_END_PROVIDER_RESET);
}

static void t9_an_idle_tunnel_ends(void **state)
{
    (void)state;
    const char *sets[] = {"timeouts.tunnel", "90s", NULL};
    loop_start(&l, NULL, sets);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, HANDSHAKE);
    loop_send(&l, l.provider[0], SWITCHING);
    for (int i = 0; i < 3; i++) { /* each byte, whichever way, begins the time anew */
        loop_advance(&l, 80000);
        loop_send(&l, i % 2 ? c : l.provider[0], "x");
        loop_recv(&l, i % 2 ? l.provider[0] : c);
    }
    loop_advance(&l, 89000);
    assert_false(loop_closed(&l, c));
    loop_advance(&l, 2000);
    assert_true(loop_closed(&l, c));
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(closes(CLIENT_CLOSE_IDLE), 1);
    end_tunnel(c, TUNNEL_END_IDLE);
}

/* Fills a socket's way until nothing is taken any more; how much went in. */
static size_t fill(int fd)
{
    static char bytes[65536];
    size_t sum = 0;
    for (int idle = 0; idle < 4;) {
        ssize_t n = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        if (n > 0)
            sum += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
        loop_turns(&l);
    }
    return sum;
}

static void t10_who_takes_nothing_holds_the_other_back_in_bounded_memory(void **state)
{
    (void)state;
    int c = begin_tunnel();
    size_t sent = fill(c);
    assert_true(sent < 4u << 20);
    assert_true(l.w.bufs.nused <= 2);
    /* the other way is free */
    loop_send(&l, l.provider[0], "free");
    assert_string_equal(loop_recv(&l, c), "free");
    size_t got = 0;
    for (size_t n = 1; n; got += n) {
        loop_turns(&l);
        ssize_t r = recv(l.provider[0], l.in, sizeof l.in, 0);
        n = r > 0 ? (size_t)r : 0;
    }
    assert_int_equal(got, sent);
    loop_shutdown(&l, c);
    loop_shutdown(&l, l.provider[0]);
    end_tunnel(c, TUNNEL_END_CLOSED);
}

static void t10_stuck_for_too_long_is_no_clean_end(void **state)
{
    (void)state;
    int c = begin_tunnel();
    fill(c);
    loop_advance(&l, 3600 * 1000 + 1000);
    assert_int_equal(closes(CLIENT_CLOSE_STALLED), 1);
    end_tunnel(c, TUNNEL_END_IDLE);
}

static void t11_draining_leaves_a_tunnel_until_the_deadline(void **state)
{
    (void)state;
    int c = begin_tunnel();
    worker_drain(&l.w);
    loop_advance(&l, 29000);
    loop_send(&l, c, "on");
    assert_string_equal(loop_recv(&l, l.provider[0]), "on");
    loop_advance(&l, 1100);
    assert_true(loop_closed(&l, c));
    assert_true(loop_closed(&l, l.provider[0]));
    assert_int_equal(closes(CLIENT_CLOSE_DRAIN), 1);
    end_tunnel(c, TUNNEL_END_ABORTED);
}

static void t12_connect_is_refused_unless_allowed(void **state)
{
    (void)state;
    loop_start(&l, with_tcp, NULL);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n");
    loop_assert_refused(&l, c, "501", "unsupported");
    assert_int_equal(l.nproviders, 0);
    loop_end(&l, c);
}

static void t13_connect_leads_to_tcp_services_only(void **state)
{
    (void)state;
    static const struct {
        const char *authority, *status, *word;
    } refused[] = {
        {"cart:80", "501", "unsupported"},
        {"www.example.org:443", "501", "unsupported"}, /* the route / is cart's */
        {"127.0.0.1:22", "501", "unsupported"},
    };
    for (unsigned i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char text[200];
        loop_start(&l, with_tcp, NULL);
        l.trusted->spec.connect = true;
        int c = loop_client(&l, l.trusted);
        snprintf(text, sizeof text, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", refused[i].authority,
            refused[i].authority);
        loop_send(&l, c, text);
        loop_assert_refused(&l, c, refused[i].status, refused[i].word);
        assert_int_equal(l.nproviders, 0);
        loop_end(&l, c);
    }
}

static void t14_connect_becomes_a_tunnel(void **state)
{
    (void)state;
    loop_start(&l, with_tcp, NULL);
    l.trusted->spec.connect = true;
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\nearly");
    assert_string_equal(loop_recv(&l, c), "HTTP/1.1 200 OK\r\n\r\n");
    assert_string_equal(loop_recv(&l, l.provider[0]), "early");
    loop_send(&l, l.provider[0], "HTTP/1.1 400 is no head here\r\n\r\n");
    assert_string_equal(loop_recv(&l, c), "HTTP/1.1 400 is no head here\r\n\r\n");
    assert_int_equal(loop_count(&l, STAT_TUNNELS + 1), 1);
    loop_shutdown(&l, c);
    loop_shutdown(&l, l.provider[0]);
    end_tunnel(c, TUNNEL_END_CLOSED);
}

static void t14_a_connect_that_fails_is_an_ordinary_refusal(void **state)
{
    (void)state;
    loop_start(&l, with_tcp, NULL);
    l.trusted->spec.connect = true;
    l.connect_error = -ECONNREFUSED;
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n");
    loop_assert_refused(&l, c, "502", "connect");
    loop_end(&l, c);
}

/* True: the nth allocation was asked for. Whatever fails: the client has an answer or an end, and
 * nothing is left of it. */
static bool tunnel_with_failure(const char *ask, const char *reply, unsigned long n)
{
    loop_start(&l, with_tcp, NULL);
    l.trusted->spec.connect = true;
    l.w.bufs.keep = 0; /* each buffer is an allocation */
    mem_fail_nth(n);
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, ask);
    /* a connection that failed is tried again: the last one counts */
    unsigned last = l.nproviders - 1;
    if (l.nproviders && *reply && *loop_recv(&l, l.provider[last]))
        loop_send(&l, l.provider[last], reply);
    bool told = *loop_recv(&l, c) != '\0';
    loop_send(&l, c, "up");
    if (l.nproviders) {
        loop_recv(&l, l.provider[last]);
        loop_send(&l, l.provider[last], "down");
    }
    bool said = *loop_recv(&l, c) != '\0';
    bool asked = mem_count() >= n;
    mem_fail_nth(0);
    assert_true(told || said || loop_closed(&l, c));
    close(c);
    loop_advance(&l, 2000);
    loop_stop(&l);
    return asked;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    unsigned long n = 1;
    while (tunnel_with_failure(HANDSHAKE, SWITCHING, n))
        n++;
    assert_true(n > 5);
    n = 1;
    while (tunnel_with_failure("CONNECT db:1 HTTP/1.1\r\nHost: db:1\r\n\r\n", "", n))
        n++;
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(t1_an_upgrade_with_a_body_is_refused),
        cmocka_unit_test(t1_an_upgrade_that_is_no_list_is_refused),
        cmocka_unit_test(t2_bytes_pass_both_ways_as_they_are),
        cmocka_unit_test(t2_bytes_before_the_101_wait_for_it),
        cmocka_unit_test(t2_an_interim_reply_may_come_before),
        cmocka_unit_test(t3_a_101_that_takes_what_was_not_offered_is_a_bad_reply),
        cmocka_unit_test(t3_an_unasked_101_is_a_bad_reply),
        cmocka_unit_test(t4_another_reply_passes_and_the_connection_ends),
        cmocka_unit_test(t4_also_when_it_was_asked_twice),
        cmocka_unit_test(t5_an_end_is_passed_on_and_the_other_way_goes_on),
        cmocka_unit_test(t5_an_end_of_the_provider_likewise),
        cmocka_unit_test(t6_a_reset_of_the_client_ends_the_provider_connection),
        cmocka_unit_test(t7_a_reset_of_the_provider_ends_the_client_connection),
        cmocka_unit_test(t7_of_a_websocket_what_was_said_before_arrives),
        cmocka_unit_test(t8_what_a_provider_said_before_it_went_arrives),
        cmocka_unit_test(t9_an_idle_tunnel_ends),
        cmocka_unit_test(t10_who_takes_nothing_holds_the_other_back_in_bounded_memory),
        cmocka_unit_test(t10_stuck_for_too_long_is_no_clean_end),
        cmocka_unit_test(t11_draining_leaves_a_tunnel_until_the_deadline),
        cmocka_unit_test(t12_connect_is_refused_unless_allowed),
        cmocka_unit_test(t13_connect_leads_to_tcp_services_only),
        cmocka_unit_test(t14_connect_becomes_a_tunnel),
        cmocka_unit_test(t14_a_connect_that_fails_is_an_ordinary_refusal),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return unit_run(tests);
}
