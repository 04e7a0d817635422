/* PROXY headers and connections relayed without HTTP: rows H and R of
 * docs/internals/close-table.md. */
#include "tests/loop/loop.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop l;

#define GET   "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
#define OK    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define V1    "PROXY TCP4 198.51.100.9 203.0.113.1 4711 443\r\n"
#define SIG   "\r\n\r\n\0\r\nQUIT\n"
#define IP4   "\xc6\x33\x64\x09\xcb\x00\x71\x01\x12\x67\x01\xbb"
#define LOCAL SIG "\x20\x00\x00\x00"
#define V2    SIG "\x21\x11\x00\x0c" IP4

/* A ClientHello of TLS 1.2 with the name feat-42.preview.example.com. */
#define HELLO_BODY                                                                                 \
    "\x01\x00\x00\x53\x03\x03"                                                                     \
    "0123456789abcdef0123456789abcdef\x00\x00\x02\x00\x2f\x01\x00\x00\x28\x00\x00\x00\x24\x00\x22" \
    "\x00\x00\x1f"                                                                                 \
    "feat-42.preview.shop.example.ex"
#define HELLO "\x16\x03\x01\x00\x57" HELLO_BODY

static const char graph[] = LOOP_CART_AND_DB LOOP_OVERLAY(
    "feat-42", ", access: public, providers: {db: {endpoints: [\"127.0.0.1:9003\"]}}")
    LOOP_GATEWAY(", select: [{host: \"*.preview.shop.example.ex\"}]");

static uint64_t headers(enum proxyproto_error e)
{
    return loop_count(&l, STAT_PROXY_HEADERS + e);
}

static uint64_t names(enum clienthello_error e)
{
    return loop_count(&l, STAT_SERVER_NAMES + e);
}

static uint64_t ends(enum tunnel_end why)
{
    return loop_count(&l, STAT_TUNNEL_ENDS + why);
}

static void start(const char *tcp)
{
    loop_start(&l, graph, NULL);
    l.edge->spec.proxy_protocol = tcp == NULL;
    l.edge->spec.tcp = str_c(tcp);
}

static void send_bytes(int fd, const char *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
    loop_turns(&l);
}

static void assert_forwarded_for(const char *want)
{
    char line[80];
    snprintf(line, sizeof line, "\r\nx-forwarded-for: %s\r\n", want);
    const char *got = loop_recv(&l, l.provider[l.nproviders - 1]);
    if (!strstr(got, line))
        fail_msg("want %s in %s", want, got);
}

/* ---- PROXY headers ---- */

static void at_every_split(const char *header, size_t n, const char *who)
{
    char bytes[512];
    memcpy(bytes, header, n);
    memcpy(bytes + n, GET, sizeof GET);
    size_t all = n + sizeof GET - 1;
    for (size_t i = 1; i < all; i++) {
        start(NULL);
        int c = loop_client(&l, l.edge);
        send_bytes(c, bytes, i);
        send_bytes(c, bytes + i, all - i);
        assert_forwarded_for(who);
        assert_int_equal(headers(PROXYPROTO_OK), 1);
        loop_send(&l, l.provider[0], OK);
        assert_non_null(strstr(loop_recv(&l, c), "hi"));
        /* only one header a connection: the next request is a request */
        loop_send(&l, c, GET);
        assert_forwarded_for(who);
        loop_end(&l, c);
    }
}

static void h1_the_peer_is_whom_the_header_names(void **state)
{
    (void)state;
    at_every_split(V1, sizeof V1 - 1, "198.51.100.9");
    at_every_split(V2, sizeof V2 - 1, "198.51.100.9");
}

static void h1_a_header_about_nobody_leaves_the_peer(void **state)
{
    (void)state;
    at_every_split(LOCAL, sizeof LOCAL - 1, "192.0.2.7");
    at_every_split("PROXY UNKNOWN\r\n", 15, "192.0.2.7");
}

static void h2_whatever_else_comes_first_closes(void **state)
{
    (void)state;
    start(NULL);
    int c = loop_client(&l, l.edge);
    loop_send(&l, c, GET);
    assert_string_equal(loop_recv(&l, c), "");
    assert_true(loop_closed(&l, c));
    assert_int_equal(headers(PROXYPROTO_E_NO_HEADER), 1);
    assert_int_equal(loop_count(&l, STAT_CLIENT_CLOSES + CLIENT_CLOSE_PROXY_HEADER), 1);
    assert_int_equal(l.nproviders, 0);
    loop_end(&l, c);
}

static void h2_a_header_over_the_limit_closes(void **state)
{
    (void)state;
    char big[300] = SIG "\x20\x00\x01\x00"; /* 16 + 256 bytes */
    for (int over = 0; over < 2; over++) {
        const char *sets[] = {"limits.proxyHeaderBytes", over ? "271" : "272", NULL};
        loop_start(&l, graph, sets);
        l.edge->spec.proxy_protocol = true;
        int c = loop_client(&l, l.edge);
        send_bytes(c, big, 272);
        assert_int_equal(headers(PROXYPROTO_E_TOO_LONG), over);
        assert_int_equal(headers(PROXYPROTO_OK), !over);
        assert_int_equal(loop_closed(&l, c), over);
        loop_end(&l, c);
    }
}

static void h3_a_header_cut_short_closes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 20};
    for (unsigned i = 0; i < 3; i++) {
        start(NULL);
        int c = loop_client(&l, l.edge);
        if (sizes[i])
            send_bytes(c, V1, sizes[i]);
        loop_shutdown(&l, c);
        assert_true(loop_closed(&l, c));
        assert_int_equal(headers(PROXYPROTO_E_CUT), 1);
        loop_end(&l, c);
    }
}

static void h4_a_header_that_dribbles_closes(void **state)
{
    (void)state;
    start(NULL);
    int c = loop_client(&l, l.edge);
    for (int i = 0; i < 4; i++) {
        send_bytes(c, &V1[i], 1);
        loop_advance(&l, 1200);
        assert_false(loop_closed(&l, c));
    }
    loop_advance(&l, 300);
    assert_true(loop_closed(&l, c));
    assert_int_equal(headers(PROXYPROTO_E_SLOW), 1);
    loop_end(&l, c);
    /* after the header the ordinary times hold */
    start(NULL);
    c = loop_client(&l, l.edge);
    loop_send(&l, c, V1);
    loop_advance(&l, 60000);
    assert_false(loop_closed(&l, c));
    loop_advance(&l, 16000);
    assert_true(loop_closed(&l, c));
    loop_end(&l, c);
}

/* ---- relayed without HTTP ---- */

/* Ports of the providers of db. */
enum { OF_MAIN = 9002, OF_FEAT_42 = 9003 };

static void r1_the_server_name_chooses_at_every_split(void **state)
{
    (void)state;
    static const char hello[] = HELLO;
    for (size_t i = 1; i < sizeof hello; i++) {
        start("db");
        int c = loop_client(&l, l.edge);
        send_bytes(c, hello, i);
        if (i < sizeof hello - 1) {
            assert_int_equal(l.nproviders, 0);
            send_bytes(c, hello + i, sizeof hello - 1 - i);
        }
        assert_int_equal(names(CLIENTHELLO_OK), 1);
        assert_int_equal(l.port[0], OF_FEAT_42);
        loop_recv(&l, l.provider[0]);
        assert_memory_equal(l.in, hello, sizeof hello); /* whole, as it came */
        loop_send(&l, l.provider[0], "\x15\x03\x03");
        assert_string_equal(loop_recv(&l, c), "\x15\x03\x03");
        loop_shutdown(&l, c);
        loop_shutdown(&l, l.provider[0]);
        assert_int_equal(ends(TUNNEL_END_CLOSED), 1);
        loop_end(&l, c);
    }
}

static void r1_a_header_may_come_before(void **state)
{
    (void)state;
    start("db");
    l.edge->spec.proxy_protocol = true;
    int c = loop_client(&l, l.edge);
    send_bytes(c, V2 HELLO, sizeof V2 HELLO - 1);
    assert_int_equal(headers(PROXYPROTO_OK), 1);
    assert_int_equal(l.port[0], OF_FEAT_42);
    loop_recv(&l, l.provider[0]);
    assert_memory_equal(l.in, HELLO, sizeof HELLO);
    loop_end(&l, c);
}

static void r2_without_a_name_it_is_the_default(void **state)
{
    (void)state;
    start("db");
    int c = loop_client(&l, l.edge);
    loop_send(&l, c, "SELECT 1");
    assert_int_equal(names(CLIENTHELLO_E_NOT_TLS), 1);
    assert_int_equal(l.port[0], OF_MAIN);
    assert_int_equal(loop_count(&l, STAT_RULES + RULE_DEFAULT), 1);
    assert_string_equal(loop_recv(&l, l.provider[0]), "SELECT 1");
    loop_end(&l, c);
}

static void r2_a_name_may_be_required(void **state)
{
    (void)state;
    start("db");
    l.edge->spec.sni_required = true;
    int c = loop_client(&l, l.edge);
    loop_send(&l, c, "SELECT 1");
    assert_true(loop_closed(&l, c));
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_NO_ENVIRONMENT), 1);
    assert_int_equal(loop_count(&l, STAT_CLIENT_CLOSES + CLIENT_CLOSE_REFUSED), 1);
    assert_int_equal(l.nproviders, 0);
    loop_end(&l, c);
}

static void r3_who_says_nothing_is_relayed_after_a_while(void **state)
{
    (void)state;
    start("db");
    int c = loop_client(&l, l.edge);
    loop_advance(&l, 2900);
    assert_int_equal(l.nproviders, 0);
    loop_advance(&l, 200);
    assert_int_equal(l.nproviders, 1);
    assert_int_equal(l.port[0], OF_MAIN);
    loop_send(&l, l.provider[0], "220 ready\r\n");
    assert_string_equal(loop_recv(&l, c), "220 ready\r\n");
    loop_end(&l, c);
}

static void r3_nobody_waits_for_a_name_that_does_not_matter(void **state)
{
    (void)state;
    start("db");
    l.edge->spec.env = STR("feat-42");
    int c = loop_client(&l, l.edge);
    assert_int_equal(l.nproviders, 1);
    assert_int_equal(l.port[0], OF_FEAT_42);
    loop_send(&l, l.provider[0], "220 ready\r\n");
    assert_string_equal(loop_recv(&l, c), "220 ready\r\n");
    loop_end(&l, c);
    loop_start(&l, NULL, NULL); /* a gateway without host selectors */
    l.edge->spec.tcp = STR("cart");
    c = loop_client(&l, l.edge);
    assert_true(loop_closed(&l, c));
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_UNSUPPORTED), 1); /* speaks HTTP */
    loop_end(&l, c);
}

static void r4_a_hello_that_cannot_be_read_closes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        enum clienthello_error why;
    } bad[] = {
        {"\x16\x03\x01\x00\x00", 5, CLIENTHELLO_E_RECORD},
        {"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9, CLIENTHELLO_E_NOT_HELLO},
        {"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9, CLIENTHELLO_E_LENGTH},
        {"\x16\x03\x01\x00\x04\x01\x00\x50\x00", 9, CLIENTHELLO_E_TOO_LONG},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start("db");
        int c = loop_client(&l, l.edge);
        send_bytes(c, bad[i].bytes, bad[i].n);
        assert_true(loop_closed(&l, c));
        assert_int_equal(names(bad[i].why), 1);
        assert_int_equal(l.nproviders, 0);
        loop_end(&l, c);
    }
}

static void r4_a_hello_cut_short_or_slow_closes(void **state)
{
    (void)state;
    start("db");
    int c = loop_client(&l, l.edge);
    send_bytes(c, HELLO, 20);
    loop_shutdown(&l, c);
    assert_true(loop_closed(&l, c));
    assert_int_equal(names(CLIENTHELLO_E_CUT), 1);
    loop_end(&l, c);
    start("db");
    c = loop_client(&l, l.edge);
    send_bytes(c, HELLO, 20);
    loop_advance(&l, 3100);
    assert_true(loop_closed(&l, c));
    assert_int_equal(names(CLIENTHELLO_E_SLOW), 1);
    assert_int_equal(l.nproviders, 0);
    loop_end(&l, c);
}

static void r5_what_is_refused_is_closed_without_a_word(void **state)
{
    (void)state;
    start("nothing");
    int c = loop_client(&l, l.edge);
    loop_send(&l, c, "hello");
    assert_string_equal(loop_recv(&l, c), "");
    assert_true(loop_closed(&l, c));
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_NO_SERVICE), 1);
    loop_end(&l, c);
    start("db");
    l.connect_error = -ECONNREFUSED;
    c = loop_client(&l, l.edge);
    loop_send(&l, c, "hello");
    assert_true(loop_closed(&l, c));
    assert_int_equal(loop_count(&l, STAT_REFUSALS + REFUSAL_CONNECT), 1);
    loop_end(&l, c);
}

static void r5_over_the_limit_of_connections_it_is_closed(void **state)
{
    (void)state;
    const char *sets[] = {"limits.connections", "1", NULL};
    loop_start(&l, graph, sets);
    l.edge->spec.tcp = STR("db");
    int first = loop_client(&l, l.edge), second = loop_client(&l, l.edge);
    loop_send(&l, first, "one");
    loop_send(&l, second, "two");
    assert_false(loop_closed(&l, first));
    assert_true(loop_closed(&l, second));
    assert_int_equal(l.nproviders, 1);
    close(first);
    loop_end(&l, second);
}

static void r6_a_tcp_connection_never_takes_one_that_spoke_http(void **state)
{
    (void)state;
    start("db");
    int c[3];
    for (unsigned i = 0; i < 3; i++) {
        c[i] = loop_client(&l, l.edge);
        loop_send(&l, c[i], "hello");
        assert_int_equal(l.nproviders, i + 1);
        loop_shutdown(&l, c[i]);
        loop_shutdown(&l, l.provider[i]);
        assert_int_equal(loop_count(&l, STAT_PROVIDER_IDLE), 0);
        close(c[i]);
    }
    assert_int_equal(ends(TUNNEL_END_CLOSED), 3);
    loop_end(&l, -1);
}

/* True: the nth allocation was asked for. Either it is relayed or it ends. */
static bool relay_with_failure(unsigned long n)
{
    start("db");
    l.w.bufs.keep = 0; /* each buffer is an allocation */
    mem_fail_nth(n);
    int c = loop_client(&l, l.edge);
    send(c, HELLO, sizeof HELLO - 1, MSG_NOSIGNAL);
    loop_turns(&l);
    bool relayed = l.nproviders && *loop_recv(&l, l.provider[l.nproviders - 1]);
    bool asked = mem_count() >= n;
    mem_fail_nth(0);
    assert_true(relayed || loop_closed(&l, c));
    close(c);
    loop_advance(&l, 2000);
    loop_stop(&l);
    return asked;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    unsigned long n = 1;
    while (relay_with_failure(n))
        n++;
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h1_the_peer_is_whom_the_header_names),
        cmocka_unit_test(h1_a_header_about_nobody_leaves_the_peer),
        cmocka_unit_test(h2_whatever_else_comes_first_closes),
        cmocka_unit_test(h2_a_header_over_the_limit_closes),
        cmocka_unit_test(h3_a_header_cut_short_closes),
        cmocka_unit_test(h4_a_header_that_dribbles_closes),
        cmocka_unit_test(r1_the_server_name_chooses_at_every_split),
        cmocka_unit_test(r1_a_header_may_come_before),
        cmocka_unit_test(r2_without_a_name_it_is_the_default),
        cmocka_unit_test(r2_a_name_may_be_required),
        cmocka_unit_test(r3_who_says_nothing_is_relayed_after_a_while),
        cmocka_unit_test(r3_nobody_waits_for_a_name_that_does_not_matter),
        cmocka_unit_test(r4_a_hello_that_cannot_be_read_closes),
        cmocka_unit_test(r4_a_hello_cut_short_or_slow_closes),
        cmocka_unit_test(r5_what_is_refused_is_closed_without_a_word),
        cmocka_unit_test(r5_over_the_limit_of_connections_it_is_closed),
        cmocka_unit_test(r6_a_tcp_connection_never_takes_one_that_spoke_http),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return unit_run(tests);
}
