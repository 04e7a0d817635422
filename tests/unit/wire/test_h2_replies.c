/* A client under replies that break RFC 9113, case by case: the stream is reset, or the connection
 * ended, and what came is never told as whole. */
#include "tests/unit/wire/h2_raw.h"

static struct h2_limits limits = H2_LIMITS_TEST;

/* BODY: the stream too; nghttp2, where it judges as well, sees that first and tells nobody. */
enum want { WHOLE, STREAM, BODY, CONNECTION };

struct reply_case {
    const char *name;
    void (*write)(struct raw *r);
    enum want want;
    uint32_t code;
    enum h2_error error; /* of bad_head, 0: none is told */
    const char *method;  /* NULL: GET */
};

#define CASE(name) static void name(struct raw *r)
#define OK_OPEN    raw_headers(r, F_END_HEADERS, 1, ":status: 200\n")
#define DONE(l)    raw_headers(r, F_END_HEADERS | F_END_STREAM, 1, l)
#define DATA(s)    raw_frame(r, T_DATA, 0, 1, STR(s))
#define LAST(s)    raw_frame(r, T_DATA, F_END_STREAM, 1, STR(s))

CASE(plain)
{
    OK_OPEN;
    LAST("body");
}
CASE(without_body)
{
    DONE(":status: 304\ncontent-length: 10\n");
}
CASE(of_head)
{
    DONE(":status: 200\ncontent-length: 10\n");
}
CASE(interim_first)
{
    raw_headers(r, F_END_HEADERS, 1, ":status: 103\nlink: x\n");
    raw_headers(r, F_END_HEADERS, 1, ":status: 100\n");
    DONE(":status: 200\n");
}
CASE(with_trailers)
{
    OK_OPEN;
    DATA("x");
    DONE("t: u\n");
}
CASE(status_missing)
{
    DONE("server: x\n");
}
CASE(status_101)
{
    raw_headers(r, F_END_HEADERS, 1, ":status: 101\n");
}
CASE(status_of_two_digits)
{
    DONE(":status: 20\n");
}
CASE(status_600)
{
    DONE(":status: 600\n");
}
CASE(status_twice)
{
    DONE(":status: 200\n:status: 200\n");
}
CASE(pseudo_of_requests)
{
    DONE(":status: 200\n:path: /\n");
}
CASE(pseudo_behind)
{
    DONE("x: y\n:status: 200\n");
}
CASE(upper_case)
{
    DONE(":status: 200\nX: y\n");
}
CASE(value_split)
{
    static struct raw block;
    block.n = 0;
    raw_fields(&block, ":status: 200\n");
    raw_add(&block, "\x10\x01x\x06\x61\r\nb: ", 10);
    raw_frame(r, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1, str_of(block.bytes, block.n));
}
CASE(coding)
{
    OK_OPEN;
    r->n = 9; /* SETTINGS stay */
    raw_headers(r, F_END_HEADERS, 1, ":status: 200\ntransfer-encoding: chunked\n");
}
CASE(connection)
{
    DONE(":status: 200\nconnection: close\n");
}
CASE(length_twice)
{
    DONE(":status: 200\ncontent-length: 0\ncontent-length: 0\n");
}
CASE(interim_that_ends)
{
    DONE(":status: 103\n");
}
CASE(data_behind_an_interim)
{
    raw_headers(r, F_END_HEADERS, 1, ":status: 103\n");
    LAST("x");
}
CASE(length_above)
{
    raw_headers(r, F_END_HEADERS, 1, ":status: 200\ncontent-length: 5\n");
    LAST("body");
}
CASE(length_above_trailers)
{
    raw_headers(r, F_END_HEADERS, 1, ":status: 200\ncontent-length: 5\n");
    DATA("body");
    DONE("t: u\n");
}
CASE(length_below)
{
    raw_headers(r, F_END_HEADERS, 1, ":status: 200\ncontent-length: 3\n");
    DATA("bo");
    LAST("dy");
}
CASE(length_without_body)
{
    DONE(":status: 200\ncontent-length: 3\n");
}
CASE(body_of_204)
{
    raw_headers(r, F_END_HEADERS, 1, ":status: 204\n");
    LAST("x");
}
CASE(body_of_304)
{
    raw_headers(r, F_END_HEADERS, 1, ":status: 304\n");
    LAST("x");
}
CASE(body_of_head)
{
    OK_OPEN;
    LAST("x");
}
CASE(trailers_without_end)
{
    OK_OPEN;
    raw_headers(r, F_END_HEADERS, 1, "t: u\n");
}
CASE(second_head)
{
    OK_OPEN;
    DONE(":status: 200\n");
}
CASE(reset)
{
    OK_OPEN;
    DATA("bo");
    raw_frame(r, T_RST, 0, 1, STR("\0\0\0\2"));
}
CASE(data_first)
{
    LAST("x");
}
CASE(data_behind_the_end)
{
    OK_OPEN;
    LAST("x");
    LAST("y");
}
CASE(push)
{
    raw_frame(r, T_PUSH, F_END_HEADERS, 1, STR("\0\0\0\2\x82"));
}
CASE(stream_of_the_server)
{
    raw_headers(r, F_END_HEADERS, 2, ":status: 200\n");
}
CASE(idle_stream)
{
    raw_headers(r, F_END_HEADERS, 7, ":status: 200\n");
}
CASE(bad_block)
{
    raw_frame(r, T_HEADERS, F_END_HEADERS, 1, STR("\xff\xff\x03"));
}
CASE(garbage)
{
    r->n = 0;
    raw_add(r, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 38);
}

#define PROTOCOL H2_PROTOCOL_ERROR
#define C(name, want, code, error, method)                                                         \
    {                                                                                              \
#name, name, want, code, error, method                                                     \
    }

static const struct reply_case cases[] = {
    C(plain, WHOLE, 0, 0, NULL),
    C(without_body, WHOLE, 0, 0, NULL),
    C(of_head, WHOLE, 0, 0, "HEAD"),
    C(interim_first, WHOLE, 0, 0, NULL),
    C(with_trailers, WHOLE, 0, 0, NULL),
    C(status_missing, STREAM, PROTOCOL, H2_E_PSEUDO_MISSING, NULL),
    C(status_101, STREAM, PROTOCOL, H2_E_STATUS, NULL),
    C(status_of_two_digits, STREAM, PROTOCOL, H2_E_STATUS, NULL),
    C(status_600, STREAM, PROTOCOL, H2_E_STATUS, NULL),
    C(status_twice, STREAM, PROTOCOL, H2_E_PSEUDO_TWICE, NULL),
    C(pseudo_of_requests, STREAM, PROTOCOL, H2_E_PSEUDO_UNKNOWN, NULL),
    C(pseudo_behind, STREAM, PROTOCOL, H2_E_PSEUDO_MISSING, NULL),
    C(upper_case, STREAM, PROTOCOL, H2_E_FIELD_NAME, NULL),
    C(value_split, STREAM, PROTOCOL, H2_E_FIELD_VALUE, NULL),
    C(coding, STREAM, PROTOCOL, H2_E_CONNECTION, NULL),
    C(connection, STREAM, PROTOCOL, H2_E_CONNECTION, NULL),
    C(length_twice, STREAM, PROTOCOL, H2_E_LENGTH, NULL),
    C(interim_that_ends, STREAM, PROTOCOL, H2_E_MESSAGE, NULL),
    C(data_behind_an_interim, BODY, PROTOCOL, H2_E_MESSAGE, NULL),
    C(length_above, BODY, PROTOCOL, H2_E_MESSAGE, NULL),
    C(length_above_trailers, STREAM, PROTOCOL, H2_E_MESSAGE, NULL),
    C(length_below, BODY, PROTOCOL, H2_E_MESSAGE, NULL),
    C(length_without_body, STREAM, PROTOCOL, H2_E_MESSAGE, NULL),
    C(body_of_204, BODY, PROTOCOL, H2_E_MESSAGE, NULL),
    C(body_of_304, BODY, PROTOCOL, H2_E_MESSAGE, NULL),
    C(body_of_head, BODY, PROTOCOL, H2_E_MESSAGE, "HEAD"),
    C(trailers_without_end, STREAM, PROTOCOL, H2_E_MESSAGE, NULL),
    C(second_head, STREAM, PROTOCOL, H2_E_PSEUDO_UNKNOWN, NULL),
    C(reset, STREAM, H2_INTERNAL_ERROR, 0, NULL),
    C(data_first, CONNECTION, PROTOCOL, 0, NULL),
    C(data_behind_the_end, CONNECTION, H2_STREAM_CLOSED, 0, NULL),
    C(push, CONNECTION, PROTOCOL, 0, NULL),
    C(stream_of_the_server, CONNECTION, PROTOCOL, 0, NULL),
    C(idle_stream, CONNECTION, PROTOCOL, 0, NULL),
    C(bad_block, CONNECTION, 9, 0, NULL),
    C(garbage, CONNECTION, PROTOCOL, 0, NULL),
};

static void judge(const struct reply_case *c, const struct raw_peer *v, const struct seen *n)
{
    if (c->want == WHOLE) {
        if (n->heads != 1 || n->ends + n->end_with_head != 1 || n->closes != 1 || n->code != 0)
            fail_msg("%s: heads %u ends %u code %u", c->name, n->heads, n->ends, n->code);
        return;
    }
    if (c->want == CONNECTION && (!v->said.goaway || v->said.goaway_code != c->code))
        fail_msg("%s: goaway %d code %u", c->name, v->said.goaway, v->said.goaway_code);
    if (c->want == CONNECTION)
        return;
    if (n->ends || n->end_with_head || n->closes != 1 || n->code != c->code || v->said.goaway)
        fail_msg("%s: ends %u, %d, closes %u, code %u", c->name, n->ends, n->end_with_head,
            n->closes, n->code);
    enum h2_error error = c->want == BODY && !limits.checked_once ? H2_OK : c->error;
    if ((error && n->bads != 1) || n->error != error)
        fail_msg("%s: %u %s", c->name, n->bads, h2_error_word(n->error));
}

static void replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (unsigned mode = 0; mode < 4; mode++) {
            const struct reply_case *c = &cases[i];
            limits.checked_once = mode & 1;
            struct raw_peer *v = peer_new(false, &limits);
            struct seen *n = side_take(&v->s);
            char head[128];
            snprintf(head, sizeof(head), "%s / HTTP/1.1\r\nhost: a\r\n\r\n",
                c->method ? c->method : "GET");
            assert_int_equal(side_request(&v->s, n, head, true), 0);
            peer_take(v);
            c->write(&v->in);
            peer_feed_by(v, mode & 2 ? 1 : sizeof(v->in.bytes));
            judge(c, v, n);
            peer_free(v);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies),
    };
    return unit_run(tests);
}
