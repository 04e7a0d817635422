/* Bytes that were not made by our own codec: requests and replies written by hand. */
#include "tests/unit/wire/grpc_seen.h"

/* ---- a server ---- */

struct server {
    struct end x;
    struct raw in;
    struct seen out;
};

static void server_open(struct server *v)
{
    v->x = end_new(true, NULL, &v->x);
    v->in.n = 0;
    seen_init(&v->out, false);
    raw_hello(&v->in);
}

static int server_run(struct server *v, struct err *e)
{
    int rc = grpc_session_feed(v->x.s, str_of(v->in.bytes, v->in.n), e);
    v->in.n = 0;
    seen_all(&v->out, &v->x);
    return rc;
}

static void server_close(struct server *v)
{
    seen_release(&v->out);
    end_free(&v->x);
}

static void a_server_reads_a_request_by_hand(void **state)
{
    static struct server v;
    (void)state;
    server_open(&v);
    v.x.echo = v.x.finish_half = true;
    raw_headers(&v.in, 0, 1, RAW_REQUEST "grpc-timeout: 1S\nuser-agent: hand\n");
    raw_message(&v.in, F_END_STREAM, 1, STR("hello"));
    assert_int_equal(server_run(&v, NULL), 0);
    assert_log(&v.x, "call /test.Echo/Say; message hello; half; end OK ''; ");
    assert_str(seen_field(&v.out, ":status"), "200");
    assert_str(seen_field(&v.out, "content-type"), "application/grpc");
    assert_str(seen_field(&v.out, "grpc-status"), "0");
    assert_int_equal(v.out.data_n, 10);
    assert_memory_equal(v.out.data, "\0\0\0\0\5hello", 10);
    assert_int_equal(v.out.frames[T_DATA], 1); /* no empty one */
    assert_int_equal(v.out.frames[T_HEADERS], 2);
    assert_int_equal(v.out.frames[T_RST], 0);
    assert_int_equal(v.out.ended, 1);
    server_close(&v);
}

static void padding_and_splits_of_a_message_are_nothing_special(void **state)
{
    static struct server v;
    (void)state;
    server_open(&v);
    raw_headers(&v.in, 0, 1, RAW_REQUEST);
    raw_frame(&v.in, T_DATA, F_PADDED, 1, str_of("\3\0\0\0\0\0\0\0", 8)); /* head, 4 bytes */
    raw_frame(&v.in, T_DATA, 0, 1, str_of("\6hel", 4));
    raw_frame(&v.in, T_DATA, F_PADDED, 1, str_of("\2lo!\0\0", 6));
    raw_frame(&v.in, T_DATA, F_END_STREAM, 1, str_of("\0\0\0\0\0", 5));
    assert_int_equal(server_run(&v, NULL), 0);
    assert_log(&v.x, "call /test.Echo/Say; message hello!; message ; half; ");
    server_close(&v);
}

static void trailers_of_a_request_close_its_half(void **state)
{
    static struct server v;
    (void)state;
    server_open(&v);
    v.x.finish_half = true;
    raw_headers(&v.in, 0, 1, RAW_REQUEST);
    raw_headers(&v.in, F_END_STREAM, 1, "x-checksum: 1\n");
    assert_int_equal(server_run(&v, NULL), 0);
    assert_log(&v.x, "call /test.Echo/Say; half; end OK ''; ");
    assert_int_equal(v.out.frames[T_HEADERS], 1); /* trailers only */
    server_close(&v);
}

/* One request; what it is answered, without a call. */
static void refused(const char *request, const char *http, const char *grpc, const char *text)
{
    static struct server v;
    for (unsigned half = 0; half < 2; half++) {
        server_open(&v);
        raw_headers(&v.in, half ? 0 : F_END_STREAM, 1, request);
        assert_int_equal(server_run(&v, NULL), 0);
        assert_log(&v.x, "");
        assert_str(seen_field(&v.out, ":status"), http);
        assert_str(seen_field(&v.out, "grpc-status"), grpc);
        assert_str(seen_field(&v.out, "grpc-message"), text);
        assert_int_equal(v.out.frames[T_HEADERS], 1);
        assert_int_equal(v.out.ended, 1);
        /* a client that still sends is told to stop, without blame */
        assert_int_equal(v.out.frames[T_RST], half);
        assert_int_equal(v.out.rst, NGHTTP2_NO_ERROR);
        /* the session lives on */
        raw_headers(&v.in, 0, 3, RAW_REQUEST);
        assert_int_equal(server_run(&v, NULL), 0);
        assert_log(&v.x, "call /test.Echo/Say; ");
        server_close(&v);
    }
}

#define HEAD(method, path) ":method: " method "\n:scheme: http\n:path: " path "\n:authority: a\n"

static void what_is_no_grpc_gets_the_right_answer(void **state)
{
    (void)state;
    refused(HEAD("GET", "/a/b") "te: trailers\ncontent-type: application/grpc\n", "405", "", "");
    refused(HEAD("POST", "/a/b") "te: trailers\n", "415", "", "");
    refused(HEAD("POST", "/a/b") "te: trailers\ncontent-type: text/html\n", "415", "", "");
    refused(
        HEAD("POST", "/a/b") "te: trailers\ncontent-type: application/grpc-web\n", "415", "", "");
    refused(
        HEAD("POST", "/a/b") "te: trailers\ncontent-type: application/grpc+json\n", "415", "", "");
    refused(HEAD("POST", "/a/b") "content-type: application/grpc\n", "200", "13",
        "the request lacks te: trailers");
    refused(HEAD("POST", "/ab") "te: trailers\ncontent-type: application/grpc\n", "200", "12",
        "the path names no method");
    refused(HEAD("POST", "//b") "te: trailers\ncontent-type: application/grpc\n", "200", "12",
        "the path names no method");
    refused(HEAD("POST", "/a/") "te: trailers\ncontent-type: application/grpc\n", "200", "12",
        "the path names no method");
}

static void spellings_of_the_content_type_are_taken(void **state)
{
    static const char *const types[] = {"application/grpc", "application/grpc+proto",
        "Application/GRPC", "application/grpc;charset=utf-8", "application/grpc+proto ; a=b"};
    static struct server v;
    char request[512];
    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        snprintf(request, sizeof(request), HEAD("POST", "/a/b") "te: trailers\ncontent-type: %s\n",
            types[i]);
        server_open(&v);
        raw_headers(&v.in, 0, 1, request);
        assert_int_equal(server_run(&v, NULL), 0);
        assert_log(&v.x, "call /a/b; ");
        server_close(&v);
    }
}

static void large_fields_refuse_the_call(void **state)
{
    static struct server v;
    static struct raw block;
    char value[4000];
    (void)state;
    memset(value, 'v', sizeof(value));
    for (unsigned n = 1; n <= 2; n++) {
        server_open(&v);
        block.n = 0;
        raw_fields(&block, RAW_REQUEST);
        for (unsigned i = 0; i < n; i++)
            raw_field(&block, STR("x-large"), str_of(value, sizeof(value)));
        raw_frame(&v.in, T_HEADERS, F_END_HEADERS, 1, str_of(block.bytes, block.n));
        assert_int_equal(server_run(&v, NULL), 0);
        assert_log(&v.x, n == 1 ? "call /test.Echo/Say; " : "");
        assert_str(seen_field(&v.out, "grpc-status"), n == 1 ? "" : "8");
        server_close(&v);
    }
}

static void a_compressed_message_is_unimplemented(void **state)
{
    static struct server v;
    (void)state;
    server_open(&v);
    raw_headers(&v.in, 0, 1, RAW_REQUEST "grpc-encoding: gzip\n");
    raw_message(&v.in, 0, 1, STR("plain"));
    raw_frame(&v.in, T_DATA, 0, 1, str_of("\1\0\0\0\1x", 6));
    raw_message(&v.in, 0, 1, STR("after"));
    assert_int_equal(server_run(&v, NULL), 0);
    assert_log(&v.x, "call /test.Echo/Say; message plain; "
                     "end CANCELLED 'compressed messages are not supported'; ");
    assert_str(seen_field(&v.out, "grpc-status"), "12");
    assert_str(seen_field(&v.out, "grpc-accept-encoding"), "identity");
    server_close(&v);
}

static void a_request_cut_within_a_message_is_internal(void **state)
{
    static struct server v;
    (void)state;
    for (size_t n = 1; n <= 7; n++) {
        server_open(&v);
        raw_headers(&v.in, 0, 1, RAW_REQUEST);
        raw_frame(&v.in, T_DATA, F_END_STREAM, 1, str_of("\0\0\0\0\3ab", n));
        assert_int_equal(server_run(&v, NULL), 0);
        assert_log(&v.x, "call /test.Echo/Say; "
                         "end CANCELLED 'the request ends within a message'; ");
        assert_str(seen_field(&v.out, "grpc-status"), "13");
        server_close(&v);
    }
}

static void a_reset_ends_the_call(void **state)
{
    static struct server v;
    (void)state;
    server_open(&v);
    raw_headers(&v.in, 0, 1, RAW_REQUEST);
    raw_frame(&v.in, T_RST, 0, 1, str_of("\0\0\0\10", 4));
    raw_frame(&v.in, T_PING, 0, 0, STR("12345678"));
    assert_int_equal(server_run(&v, NULL), 0);
    assert_log(&v.x, "call /test.Echo/Say; end CANCELLED 'the stream was reset'; ");
    assert_int_equal(v.out.frames[T_PING], 1);
    server_close(&v);
}

static void more_calls_than_allowed_are_refused(void **state)
{
    static struct server v;
    (void)state;
    server_open(&v);
    for (uint32_t id = 1; id <= 2 * 17 - 1; id += 2)
        raw_headers(&v.in, 0, id, RAW_REQUEST);
    assert_int_equal(server_run(&v, NULL), 0);
    assert_int_equal(v.x.owed, 16);
    assert_int_equal(v.out.frames[T_RST], 1);
    assert_int_equal(v.out.rst, NGHTTP2_REFUSED_STREAM);
    server_close(&v);
}

/* The connection ends: with a GOAWAY, -EPROTO and a reason at the latest when that went out. */
static void broken(struct server *v, const char *why)
{
    struct err e = {0};
    server_run(v, NULL);
    assert_int_equal(grpc_session_feed(v->x.s, STR(""), &e), -EPROTO);
    if (!strstr(e.text, why))
        fail_msg("have \"%s\", want \"%s\"", e.text, why);
    assert_int_equal(v->out.frames[T_GOAWAY], 1);
    assert_true(grpc_session_done(v->x.s));
    assert_int_equal(grpc_session_ping(v->x.s), -EPIPE);
    server_close(v);
}

static void broken_http2_ends_the_connection(void **state)
{
    static struct server v;
    (void)state;
    server_open(&v);
    v.in.n = 0;
    raw_add(&v.in, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
    broken(&v, "magic");
    server_open(&v);
    raw_headers(&v.in, 0, 1, RAW_REQUEST); /* a call that runs must end once */
    raw_frame(&v.in, T_PING, 0, 1, STR("12345678"));
    broken(&v, "PING: stream_id != 0");
    server_open(&v);
    raw_frame(&v.in, T_DATA, 0, 0, STR("x"));
    broken(&v, "PROTOCOL_ERROR");
    server_open(&v);
    raw_frame(&v.in, T_HEADERS, F_END_HEADERS, 1, str_of("\xff\xff\xff\xff\xff\xff", 6));
    broken(&v, "COMPRESSION_ERROR");
    server_open(&v);
    raw_frame(&v.in, T_HEADERS, F_END_HEADERS, 2, STR(""));
    broken(&v, "PROTOCOL_ERROR");
    server_open(&v);
    raw_add(&v.in, "\xff\xff\xff\0\0\0\0\0\1", 9); /* a frame of 16 MiB */
    broken(&v, "FRAME_SIZE_ERROR");
    server_open(&v);
    raw_frame(&v.in, T_WINDOW, 0, 0, str_of("\x7f\xff\xff\xff", 4));
    broken(&v, "FLOW_CONTROL_ERROR");
}

/* ---- a client ---- */

struct client {
    struct end x;
    struct raw in;
    struct seen out;
};

static void client_open(struct client *v)
{
    v->x = end_new(false, NULL, &v->x);
    v->in.n = 0;
    seen_init(&v->out, true);
    raw_frame(&v->in, T_SETTINGS, 0, 0, STR(""));
    assert_non_null(end_call(&v->x));
    seen_all(&v->out, &v->x);
}

static int client_run(struct client *v)
{
    int rc = grpc_session_feed(v->x.s, str_of(v->in.bytes, v->in.n), NULL);
    v->in.n = 0;
    seen_all(&v->out, &v->x);
    return rc;
}

static void client_close(struct client *v)
{
    seen_release(&v->out);
    end_free(&v->x);
}

static void a_client_says_what_grpc_asks_for(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    assert_str(seen_field(&v.out, ":method"), "POST");
    assert_str(seen_field(&v.out, ":scheme"), "http");
    assert_str(seen_field(&v.out, ":path"), "/test.Echo/Say");
    assert_str(seen_field(&v.out, ":authority"), "localhost");
    assert_str(seen_field(&v.out, "te"), "trailers");
    assert_str(seen_field(&v.out, "content-type"), "application/grpc");
    assert_int_equal(v.out.ended, 0);
    grpc_half_close(v.x.last);
    seen_all(&v.out, &v.x);
    assert_int_equal(v.out.ended, 1);
    client_close(&v);
}

#define REPLY ":status: 200\ncontent-type: application/grpc\n"

static void a_client_reads_a_reply_by_hand(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    raw_headers(&v.in, 0, 1, ":status: 103\nlink: x\n");
    raw_headers(&v.in, 0, 1, REPLY);
    raw_message(&v.in, 0, 1, STR("hi"));
    raw_headers(&v.in, F_END_STREAM, 1, "grpc-status: 5\ngrpc-message: a%20%C3%a9%zz\n");
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, "message hi; end NOT_FOUND 'a \xc3\xa9%zz'; ");
    assert_int_equal(v.out.frames[T_RST], 1); /* we had not closed our half */
    assert_int_equal(v.out.rst, NGHTTP2_CANCEL);
    client_close(&v);
}

/* One reply that is all in one block. */
static void replied(const char *reply, const char *want)
{
    static struct client v;
    client_open(&v);
    raw_headers(&v.in, F_END_STREAM, 1, reply);
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, want);
    client_close(&v);
}

static void replies_that_are_no_grpc_have_a_status(void **state)
{
    (void)state;
    replied(":status: 400\n", "end INTERNAL 'HTTP status 400'; ");
    replied(":status: 401\n", "end UNAUTHENTICATED 'HTTP status 401'; ");
    replied(":status: 403\n", "end PERMISSION_DENIED 'HTTP status 403'; ");
    replied(":status: 404\n", "end UNIMPLEMENTED 'HTTP status 404'; ");
    replied(":status: 429\n", "end UNAVAILABLE 'HTTP status 429'; ");
    replied(":status: 502\n", "end UNAVAILABLE 'HTTP status 502'; ");
    replied(":status: 503\n", "end UNAVAILABLE 'HTTP status 503'; ");
    replied(":status: 504\n", "end UNAVAILABLE 'HTTP status 504'; ");
    replied(":status: 500\n", "end UNKNOWN 'HTTP status 500'; ");
    replied(":status: 302\n", "end UNKNOWN 'HTTP status 302'; ");
    replied(":status: 503\ngrpc-status: 8\n", "end RESOURCE_EXHAUSTED ''; ");
    replied(":status: 200\ncontent-type: text/html\n",
        "end UNKNOWN 'the reply's content-type is not application/grpc'; ");
    replied(REPLY, "end UNKNOWN 'the reply ends without grpc-status'; ");
    replied(REPLY "grpc-status: 99\n", "end UNKNOWN ''; ");
    replied(REPLY "grpc-status: -1\n", "end UNKNOWN ''; ");
    replied(REPLY "grpc-status: 0\n", "end OK ''; ");
    replied(REPLY "grpc-status: 16\ngrpc-message: who\n", "end UNAUTHENTICATED 'who'; ");
}

static void a_reply_with_large_fields_ends_the_call(void **state)
{
    static struct client v;
    static struct raw block;
    char value[9000];
    (void)state;
    memset(value, 'v', sizeof(value));
    client_open(&v);
    block.n = 0;
    raw_fields(&block, REPLY);
    raw_field(&block, STR("x"), str_of(value, sizeof(value)));
    raw_frame(&v.in, T_HEADERS, F_END_HEADERS, 1, str_of(block.bytes, block.n));
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, "end RESOURCE_EXHAUSTED 'the header fields are larger than the limit'; ");
    client_close(&v);
}

static void a_page_of_html_ends_the_call_before_its_end(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    raw_headers(&v.in, 0, 1, ":status: 502\ncontent-type: text/html\n");
    raw_frame(&v.in, T_DATA, 0, 1, STR("<html>"));
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, "end UNAVAILABLE 'HTTP status 502'; ");
    assert_int_equal(v.out.frames[T_RST], 1);
    client_close(&v);
}

static void an_end_without_trailers_is_unknown(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    raw_headers(&v.in, 0, 1, REPLY "grpc-status: 0\n"); /* not where it belongs */
    raw_message(&v.in, F_END_STREAM, 1, STR("hi"));
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, "message hi; end UNKNOWN 'the reply ends without grpc-status'; ");
    client_close(&v);
}

static void a_reply_cut_within_a_message_is_internal(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    raw_headers(&v.in, 0, 1, REPLY);
    raw_frame(&v.in, T_DATA, 0, 1, str_of("\0\0\0\0\3ab", 7));
    raw_headers(&v.in, F_END_STREAM, 1, "grpc-status: 0\n");
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, "end INTERNAL 'the reply ends within a message'; ");
    client_close(&v);
}

static void a_compressed_reply_is_unimplemented(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    raw_headers(&v.in, 0, 1, REPLY "grpc-encoding: gzip\n");
    raw_frame(&v.in, T_DATA, 0, 1, str_of("\1\0\0\0\1x", 6));
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, "end UNIMPLEMENTED 'compressed messages are not supported'; ");
    assert_int_equal(v.out.rst, NGHTTP2_CANCEL);
    client_close(&v);
}

static void error_codes_of_a_reset_have_a_status(void **state)
{
    static const struct {
        uint32_t code;
        const char *want;
    } rows[] = {
        {0, "end INTERNAL 'NO_ERROR'; "},
        {1, "end INTERNAL 'PROTOCOL_ERROR'; "},
        {2, "end INTERNAL 'INTERNAL_ERROR'; "},
        {7, "end UNAVAILABLE 'REFUSED_STREAM'; "},
        {8, "end CANCELLED 'CANCEL'; "},
        {11, "end RESOURCE_EXHAUSTED 'ENHANCE_YOUR_CALM'; "},
        {12, "end PERMISSION_DENIED 'INADEQUATE_SECURITY'; "},
        {99, "end INTERNAL 'unknown'; "},
    };
    static struct client v;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char code[4] = {0, 0, 0, (char)rows[i].code};
        client_open(&v);
        raw_frame(&v.in, T_RST, 0, 1, str_of(code, 4));
        assert_int_equal(client_run(&v), 0);
        assert_log(&v.x, rows[i].want);
        client_close(&v);
    }
}

static void goaway_makes_newer_calls_unavailable(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    assert_non_null(end_call(&v.x));
    seen_all(&v.out, &v.x);
    raw_frame(&v.in, T_GOAWAY, 0, 0, str_of("\0\0\0\1\0\0\0\0", 8)); /* 1 goes on, 3 does not */
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, "end UNAVAILABLE 'REFUSED_STREAM'; ");
    assert_null(grpc_call(v.x.s, STR("a"), STR("/a/b")));
    assert_false(grpc_session_done(v.x.s));
    raw_headers(&v.in, F_END_STREAM, 1, REPLY "grpc-status: 0\n");
    assert_int_equal(client_run(&v), 0);
    assert_log(&v.x, "end OK ''; ");
    assert_true(grpc_session_done(v.x.s));
    client_close(&v);
}

static void calls_end_with_the_connection(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    grpc_session_free(v.x.s);
    v.x.s = NULL;
    assert_log(&v.x, "end UNAVAILABLE 'the connection is closed'; ");
    assert_int_equal(v.x.ended, 1);
    seen_release(&v.out);
}

static void a_client_notices_what_is_no_http2(void **state)
{
    static struct client v;
    struct err e = {0};
    (void)state;
    client_open(&v);
    v.in.n = 0;
    raw_add(&v.in, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    assert_int_equal(client_run(&v), -EPROTO);
    assert_int_equal(grpc_session_feed(v.x.s, STR("more"), &e), -EPROTO);
    assert_non_null(strstr(e.text, "expected SETTINGS"));
    assert_null(grpc_call(v.x.s, STR("a"), STR("/a/b")));
    client_close(&v);
}

static void a_server_may_not_push(void **state)
{
    static struct client v;
    (void)state;
    client_open(&v);
    raw_frame(&v.in, T_SETTINGS, F_ACK, 0, STR(""));
    raw_frame(&v.in, T_PUSH, F_END_HEADERS, 1, str_of("\0\0\0\2", 4));
    client_run(&v);
    assert_int_equal(grpc_session_feed(v.x.s, STR(""), NULL), -EPROTO);
    assert_true(grpc_session_done(v.x.s));
    client_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_reads_a_request_by_hand),
        cmocka_unit_test(padding_and_splits_of_a_message_are_nothing_special),
        cmocka_unit_test(trailers_of_a_request_close_its_half),
        cmocka_unit_test(what_is_no_grpc_gets_the_right_answer),
        cmocka_unit_test(spellings_of_the_content_type_are_taken),
        cmocka_unit_test(large_fields_refuse_the_call),
        cmocka_unit_test(a_compressed_message_is_unimplemented),
        cmocka_unit_test(a_request_cut_within_a_message_is_internal),
        cmocka_unit_test(a_reset_ends_the_call),
        cmocka_unit_test(more_calls_than_allowed_are_refused),
        cmocka_unit_test(broken_http2_ends_the_connection),
        cmocka_unit_test(a_client_says_what_grpc_asks_for),
        cmocka_unit_test(a_client_reads_a_reply_by_hand),
        cmocka_unit_test(replies_that_are_no_grpc_have_a_status),
        cmocka_unit_test(a_reply_with_large_fields_ends_the_call),
        cmocka_unit_test(a_page_of_html_ends_the_call_before_its_end),
        cmocka_unit_test(an_end_without_trailers_is_unknown),
        cmocka_unit_test(a_reply_cut_within_a_message_is_internal),
        cmocka_unit_test(a_compressed_reply_is_unimplemented),
        cmocka_unit_test(error_codes_of_a_reset_have_a_status),
        cmocka_unit_test(goaway_makes_newer_calls_unavailable),
        cmocka_unit_test(calls_end_with_the_connection),
        cmocka_unit_test(a_client_notices_what_is_no_http2),
        cmocka_unit_test(a_server_may_not_push),
    };
    return unit_run(tests);
}
