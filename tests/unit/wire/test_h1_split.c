/* However the bytes of a message are cut into packets, the same comes out: every message here is
 * fed whole, at every single split, at every pair of splits when it is short, and in steps of 1, 2
 * and 3 bytes. */
#include "tests/unit/unit.h"
#include "tests/unit/wire/h1_run.h"

struct message {
    const char *bytes;
    uint32_t n;
    bool reply;
};

#define ASK(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1, false                                                                    \
    }
#define ANSWER(s)                                                                                  \
    {                                                                                              \
        s, sizeof(s) - 1, true                                                                     \
    }

static const struct message messages[] = {
    ASK("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ASK("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n"),
    ASK("GET /api/cart/items?user=42&full=%20true HTTP/1.1\r\nHost: shop.example.com:8443\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json, */*\r\n"
        "Accept-Encoding: gzip, deflate, br\r\nCONNECTION: Keep-Alive, X-Named\r\n"
        "X-Named: \tvalue with\ttabs \t\r\nX_Under_Score.And+Others!09: \xc3\xa4\xff\r\nEmpty:\r\n"
        "Baggage: offshoot=feat-42,user=alice\r\nTE: trailers\r\n\r\n"),
    ASK("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello\r\nyouGET"),
    ASK("POST /x HTTP/1.0\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"),
    ASK("PUT http://a/x HTTP/1.1\r\nHost: A\r\nTransfer-Encoding: chunked\r\n"
        "Expect: 100-continue\r\n\r\n5;a=\"\\\"b\";c\r\nhello\r\n00B\r\n \r\n\r\nworld!\r\n"
        "0;z=9\r\nX-Sum: 12\r\nServer-Timing:\t x \t\r\n\r\nGET"),
    ASK("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ASK("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\x01"),
    ASK("OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
    ANSWER(
        "HTTP/1.1 200 OK\r\nDate: Tue, 01 Oct 2024 10:00:00 GMT\r\nContent-Length: 3\r\n\r\nabcd"),
    ANSWER("HTTP/1.1 200\r\n\r\nuntil the end\r\n\r\n"),
    ANSWER("HTTP/1.0 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    ANSWER("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nTrailer: grpc-status\r\n\r\n"
           "10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\nGrpc-Status: 0\r\nGrpc-Message:\r\n\r\n"),
    ANSWER("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00"),
    /* Refused. */
    ASK("GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n"),
    ASK("GET / HTTP/1.1\r\nBad name: x\r\nX: a\nY: b\r\n\r\n"),
    ASK("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n"),
    ASK("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ASK("GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    ASK("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ASK("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n"),
    ASK("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"\n\"\r\nhello"),
    ASK("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
        "Ok: 1\r\nHost: b\r\n\r\n"),
    ASK("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nOk: "
        "1\r\nx\ry\r\n\r\n"),
    ANSWER("HTTP/1.1 600 No\r\n\r\n"),
    ANSWER("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello"),
};

enum { BYTES = 1024, SHORT = 120 };

static struct run whole, cut;
static char whole_bytes[BYTES], cut_bytes[BYTES];

/* The bytes too must have become the same: names lowered, nothing else touched. */
static void check(const struct message *m, const uint32_t *cuts, unsigned ncuts)
{
    memcpy(cut_bytes, m->bytes, m->n);
    run_cuts(&cut, cut_bytes, m->n, cuts, ncuts);
    if (strcmp(whole.text, cut.text) != 0)
        fail_msg("cut at %u: \"%s\", whole: \"%s\"", ncuts ? cuts[0] : 0, cut.text, whole.text);
    assert_memory_equal(whole_bytes, cut_bytes, m->n);
}

static void check_steps(const struct message *m, uint32_t step)
{
    uint32_t cuts[BYTES];
    unsigned ncuts = 0;
    for (uint32_t at = step; at < m->n; at += step)
        cuts[ncuts++] = at;
    check(m, cuts, ncuts);
}

static void check_splits(const struct message *m)
{
    for (uint32_t i = 0; i <= m->n; i++) {
        check(m, &i, 1);
        for (uint32_t j = i + 1; j <= m->n && m->n <= SHORT; j++) {
            uint32_t cuts[] = {i, j};
            check(m, cuts, 2);
        }
    }
}

static void limits_of(struct run *r, const struct h1_limits *limits, bool reply)
{
    r->limits = *limits;
    r->reply = reply;
    r->request_method = H1_GET;
}

static void check_all(const struct h1_limits *limits)
{
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        const struct message *m = &messages[i];
        assert_true(m->n <= BYTES);
        limits_of(&whole, limits, m->reply);
        limits_of(&cut, limits, m->reply);
        memcpy(whole_bytes, m->bytes, m->n);
        run_whole(&whole, whole_bytes, m->n);
        check_splits(m);
        for (uint32_t step = 1; step <= 3; step++)
            check_steps(m, step);
    }
}

static void every_split_gives_the_same_events(void **state)
{
    (void)state;
    const struct h1_limits limits = H1_LIMITS_DEFAULT;
    check_all(&limits);
}

/* Also where the limits are what stops a message. */
static void every_split_meets_the_same_limits(void **state)
{
    (void)state;
    for (uint32_t bytes = 14; bytes < 90; bytes += 5) {
        const struct h1_limits limits = {bytes, bytes % 7, bytes % 13, (uint16_t)(bytes % 4)};
        check_all(&limits);
    }
}

/* The parser looks at nothing behind the bytes it was given, and leaves it alone. */
static void bytes_that_have_not_arrived_do_not_matter(void **state)
{
    (void)state;
    static const char fill[] = {'\n', '\r', ' ', ':', 'A', '\0', '0'};
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        const struct message *m = &messages[i];
        for (uint32_t n = 0; n < m->n; n++) {
            enum h1_status first = H1_MORE;
            for (size_t k = 0; k < sizeof(fill); k++) {
                struct h1_limits limits = H1_LIMITS_DEFAULT;
                struct h1_parser p;
                struct h1_head head;
                memset(cut_bytes, fill[k], sizeof(cut_bytes));
                memcpy(cut_bytes, m->bytes, n);
                h1_parser_reset(&p, &limits, cut.fields);
                enum h1_status status = m->reply ? h1_reply(&p, cut_bytes, n, H1_GET, &head)
                                                 : h1_request(&p, cut_bytes, n, &head);
                if (k == 0)
                    first = status;
                assert_int_equal(status, first);
                for (uint32_t at = n; at < BYTES; at++)
                    assert_int_equal(cut_bytes[at], fill[k]);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_gives_the_same_events),
        cmocka_unit_test(every_split_meets_the_same_limits),
        cmocka_unit_test(bytes_that_have_not_arrived_do_not_matter),
    };
    return unit_run(tests);
}
