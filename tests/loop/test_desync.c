/* What once went wrong, or nearly: two sides that lose step, and requests that nobody wakes. */
#include "tests/loop/loop.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop l;

#define GET "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

/* Without turning: what follows is there in the same turn. */
static void put_raw(int fd, const char *s)
{
    assert_int_equal(send(fd, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
}

static struct client *nth_client(unsigned n)
{
    struct list *at = l.w.clients.next;
    while (n--)
        at = at->next;
    return list_entry(at, struct client, link);
}

static void no_refusal_stands_inside_a_reply_body(void **state)
{
    static const struct {
        const char *begin, *frame, *end;
    } broken[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", "", ""}, /* and then EOF */
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "190\r\n",
            "\r\nzz\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char body[401], text[600];
        memset(body, 'b', 400);
        body[400] = '\0';
        int c = loop_begin(&l, GET);
        loop_recv(&l, l.provider[0]);
        loop_send(&l, l.provider[0], broken[i].begin);
        assert_non_null(strstr(loop_recv(&l, c), "abc"));
        snprintf(text, sizeof text, "%s%s%s", broken[i].frame, body, broken[i].end);
        put_raw(l.provider[0], text);
        shutdown(l.provider[0], SHUT_WR);
        assert_null(strstr(loop_recv(&l, c), "HTTP/1.1"));
        assert_true(loop_closed(&l, c));
        loop_end(&l, c);
    }
}

/* The last piece of a body waits for a provider that does not read; its reply comes early. */
static void a_body_that_was_not_taken_is_never_a_request(void **state)
{
    enum { TOTAL = 230000 };
    static const char evil[] = "GET /smuggled HTTP/1.1\r\nHost: shop\r\n\r\n";
    static char text[TOTAL + 256];
    (void)state;
    for (size_t pad = 0; pad < sizeof evil; pad++) {
        loop_start(&l, NULL, NULL);
        int c = loop_client(&l, l.trusted);
        int n = snprintf(text, 256,
            "POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n", (int)TOTAL);
        memset(text + n, 'b', TOTAL);
        for (size_t i = pad; i + sizeof evil < TOTAL; i += sizeof evil - 1)
            memcpy(text + n + i, evil, sizeof evil - 1);
        size_t at = 0, all = (size_t)n + TOTAL;
        for (int k = 0; k < 500 && at < all; k++) {
            ssize_t put = send(c, text + at, all - at, MSG_NOSIGNAL);
            at += put > 0 ? (size_t)put : 0;
            loop_turns(&l);
        }
        struct request *r = nth_client(0)->req;
        assert_non_null(r);
        assert_false(r->up.done);
        loop_send(&l, l.provider[0], OK);
        assert_non_null(strstr(loop_recv(&l, c), "connection: close\r\n\r\nhi"));
        assert_int_equal(l.nproviders, 1);
        loop_end(&l, c);
    }
}

static void a_request_without_a_block_for_its_rest_is_refused(void **state)
{
    const char *sets[] = {"limits.buffers", "64", NULL};
    int c[87], n = 0;
    (void)state;
    loop_start(&l, NULL, sets);
    int dirty = loop_client(&l, l.trusted); /* leaves a used request object behind */
    loop_send(&l, dirty, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    close(dirty);
    loop_turns(&l);
    for (; n < 87; n++) { /* the limit and what is kept above it, but one */
        c[n] = loop_client(&l, l.trusted);
        loop_send(&l, c[n], "GET / HT");
    }
    assert_int_equal(l.w.bufs.nused, 87);
    int x = loop_client(&l, l.trusted);
    loop_send(&l, x, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    loop_recv(&l, x);
    loop_advance(&l, 1100);
    assert_true(loop_closed(&l, x));
    close(x);
    while (n > 0)
        close(c[--n]);
    loop_stop(&l);
}

static void a_free_connection_is_not_lost_with_who_waited_first(void **state)
{
    const char *sets[] = {"limits.providerConnections", "1", NULL};
    (void)state;
    loop_start(&l, NULL, sets);
    int a = loop_client(&l, l.trusted), b = loop_client(&l, l.trusted),
        c = loop_client(&l, l.trusted);
    loop_send(&l, a, GET);
    loop_send(&l, b, GET);
    loop_send(&l, c, "GET /third HTTP/1.1\r\nHost: shop\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    put_raw(l.provider[0], OK);
    assert_int_equal(send(nth_client(1)->conn.fd, "y", 1, 0), 1);
    close(b); /* with a byte unread: a reset, seen in the turn in which b is served */
    loop_turns(&l);
    bool served = false;
    for (unsigned i = 0; i < l.nproviders; i++)
        served |= strstr(loop_recv(&l, l.provider[i]), "/third") != NULL;
    assert_true(served);
    close(a);
    loop_end(&l, c);
}

static void waiting_is_in_turn_and_bounded(void **state)
{
    const char *sets[] = {"limits.providerConnections", "1", NULL};
    (void)state;
    loop_start(&l, NULL, sets);
    int a = loop_client(&l, l.trusted), b = loop_client(&l, l.trusted),
        c = loop_client(&l, l.trusted);
    loop_send(&l, a, GET);
    loop_send(&l, b, "GET /waits HTTP/1.1\r\nHost: shop\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    put_raw(l.provider[0], OK); /* a is done, and in the same turn c comes */
    put_raw(c, GET);
    assert_non_null(strstr(loop_recv(&l, l.provider[0]), "/waits"));
    close(a);
    close(b);
    loop_end(&l, c);
}

static void an_interim_reply_is_sent_when_there_is_room(void **state)
{
    char junk[4096] = {0};
    bool seen = false;
    (void)state;
    int c = loop_begin(
        &l, "POST / HTTP/1.1\r\nHost: s\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    struct client *client = nth_client(0);
    while (send(client->conn.fd, junk, sizeof junk, MSG_NOSIGNAL) > 0)
        ;
    while (send(client->conn.fd, junk, 1, MSG_NOSIGNAL) > 0)
        ;
    loop_send(&l, l.provider[0], "HTTP/1.1 100 Continue\r\n\r\n");
    for (int i = 0; i < 400 && !seen; i++) {
        loop_turns(&l);
        ssize_t n = recv(c, l.in, sizeof l.in, 0);
        seen = n > 0 && memmem(l.in, (size_t)n, "100 Continue", 12);
    }
    assert_true(seen);
    loop_end(&l, c);
}

static void who_waits_for_100_and_gets_nothing_is_not_blamed(void **state)
{
    (void)state;
    int c = loop_begin(
        &l, "POST / HTTP/1.1\r\nHost: s\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    loop_recv(&l, l.provider[0]);
    loop_advance(&l, 61000);
    loop_assert_refused(&l, c, "504", "timeout");
    loop_end(&l, c);
}

static const char dns_graph[] =
    LOOP_SERVICE("cart", "") LOOP_CART("\"cart.example.com:9001\"") LOOP_GATEWAY("");

static void p3_a_name_whose_answer_is_lost_is_asked_again(void **state)
{
    static struct mailbox box;
    struct err e = {0};
    (void)state;
    loop_start(&l, dns_graph, NULL);
    struct event_base *base = event_base_new();
    assert_int_equal(mailbox_init(&box, base, NULL, &e), 0); /* nobody reads it */
    l.shared.control = &box;
    int c = loop_client(&l, l.trusted);
    loop_send(&l, c, GET);
    assert_int_equal(loop_count(&l, STAT_NAME_LOOKUPS), 1);
    for (int i = 0; i < 20; i++)
        loop_advance(&l, 1000);
    loop_assert_refused(&l, c, "502", "connect");
    loop_send(&l, c, GET);
    assert_true(loop_count(&l, STAT_NAME_LOOKUPS) > 1);
    close(c);
    loop_turns(&l);
    mailbox_close(&box);
    mailbox_release(&box);
    event_base_free(base);
    loop_stop(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_refusal_stands_inside_a_reply_body),
        cmocka_unit_test(a_body_that_was_not_taken_is_never_a_request),
        cmocka_unit_test(a_request_without_a_block_for_its_rest_is_refused),
        cmocka_unit_test(a_free_connection_is_not_lost_with_who_waited_first),
        cmocka_unit_test(waiting_is_in_turn_and_bounded),
        cmocka_unit_test(an_interim_reply_is_sent_when_there_is_room),
        cmocka_unit_test(who_waits_for_100_and_gets_nothing_is_not_blamed),
        cmocka_unit_test(p3_a_name_whose_answer_is_lost_is_asked_again),
    };
    return unit_run(tests);
}
