/* Heads between HTTP/2 and HTTP/1: what text comes of a block of fields and why one is refused;
 * what fields come of a text. */
#include "lib/base/buf.h"
#include "lib/wire/h2_head.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define GET ":method: GET\n:scheme: https\n:path: /\n:authority: a.example\n"

static char block[4096];
static struct buf buf = {.data = block, .size = sizeof(block)};

/* Fields as "name: value\n" lines; '|' in a value is a NUL. */
static void give(struct h2_text *t, const char *lines)
{
    char copy[4096];
    while (*lines) {
        const char *end = strchr(lines, '\n');
        size_t n = (size_t)(end - lines);
        memcpy(copy, lines, n);
        copy[n] = '\0';
        for (size_t i = 0; i < n; i++)
            if (copy[i] == '|')
                copy[i] = '\0';
        const char *colon = memmem(copy + 1, n - 1, ": ", 2);
        assert_non_null(colon);
        size_t name_n = (size_t)(colon - copy);
        h2_text_field(t, str_of(copy, name_n), str_of(colon + 2, n - name_n - 2));
        lines = end + 1;
    }
}

static enum h2_error read_block(enum h2_kind kind, const char *lines, bool end, bool extended)
{
    struct h2_text t;
    buf.start = buf.end = 0;
    memset(block, '#', sizeof(block));
    buf_put(&buf, "before", 6);
    h2_text_init(&t, kind, &buf, 2048, 20, extended);
    give(&t, lines);
    enum h2_error e = h2_text_end(&t, end, KEY);
    assert_memory_equal(block, "before", 6);
    if (e)
        assert_int_equal(buf.end, 6);
    return e;
}

static void assert_reads(enum h2_kind kind, const char *lines, bool end, const char *text)
{
    enum h2_error e = read_block(kind, lines, end, true);
    if (e)
        fail_msg("%s for %s", h2_error_word(e), lines);
    assert_str(str_of(block + 6, buf.end - 6), text);
}

static void assert_refused(enum h2_kind kind, const char *lines, enum h2_error want)
{
    enum h2_error e = read_block(kind, lines, true, false);
    if (e != want)
        fail_msg("%s, not %s, for %s", h2_error_word(e), h2_error_word(want), lines);
}

static void requests(void **state)
{
    (void)state;
    assert_reads(H2_REQUEST, GET, true, "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n");
    assert_reads(H2_REQUEST,
        ":authority: a:8080\n:path: /x?y=%20z\n:scheme: http\n:method: DELETE\naccept: */*\n"
        "te: trailers\nx: \n",
        false,
        "DELETE /x?y=%20z HTTP/1.1\r\nhost: a:8080\r\naccept: */*\r\nte: trailers\r\nx: \r\n\r\n");
    assert_reads(H2_REQUEST, ":method: OPTIONS\n:scheme: https\n:path: *\n:authority: a\n", true,
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_reads(H2_REQUEST, ":method: GET\n:scheme: HTTPS\n:path: /\n:authority: a\n", true,
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
}

static void authority_and_host(void **state)
{
    (void)state;
    assert_reads(H2_REQUEST, ":method: GET\n:scheme: http\n:path: /\naccept: x\nhost: b\n", true,
        "GET / HTTP/1.1\r\naccept: x\r\nhost: b\r\n\r\n");
    assert_reads(H2_REQUEST, GET "host: A.Example\nx: y\n", true,
        "GET / HTTP/1.1\r\nhost: a.example\r\nx: y\r\n\r\n");
    assert_refused(H2_REQUEST, GET "host: b.example\n", H2_E_AUTHORITY);
    assert_refused(H2_REQUEST, GET "host: a.example\nhost: a.example\n", H2_E_HOST_TWICE);
    assert_refused(
        H2_REQUEST, ":method: GET\n:scheme: http\n:path: /\nhost: a\nhost: a\n", H2_E_HOST_TWICE);
    assert_refused(H2_REQUEST, ":method: GET\n:scheme: http\n:path: /\n", H2_E_AUTHORITY);
    assert_refused(
        H2_REQUEST, ":method: GET\n:scheme: http\n:path: /\n:authority: \n", H2_E_AUTHORITY);
    assert_refused(
        H2_REQUEST, ":method: GET\n:scheme: http\n:path: /\n:authority: a b\n", H2_E_AUTHORITY);
}

static void lengths_are_told(void **state)
{
    (void)state;
    const char *post = ":method: POST\n:scheme: http\n:path: /\n:authority: a\n";
    char lines[256];
    assert_reads(H2_REQUEST, post, true, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    assert_reads(H2_REQUEST, post, false, "POST / HTTP/1.1\r\nhost: a\r\n\r\n");
    snprintf(lines, sizeof(lines), "%scontent-length: 0\n", post);
    assert_reads(
        H2_REQUEST, lines, true, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    const char *bad[] = {
        "", "+1", "1 2", "1,1", "-1", "0x1", "9223372036854775808", "12345678901234567890"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(lines, sizeof(lines), GET "content-length: %s\n", bad[i]);
        assert_refused(H2_REQUEST, lines, H2_E_LENGTH);
    }
    assert_refused(H2_REQUEST, GET "content-length: 1\ncontent-length: 1\n", H2_E_LENGTH);
    assert_refused(H2_TRAILERS, "content-length: 1\n", H2_E_LENGTH);
    assert_reads(H2_REPLY, ":status: 200\ncontent-length: 9223372036854775807\n", false,
        "HTTP/1.1 200 \r\ncontent-length: 9223372036854775807\r\n\r\n");
    assert_reads(H2_REQUEST, ":method: PATCH\n:scheme: http\n:path: /\n:authority: a\nx: y\n", true,
        "PATCH / HTTP/1.1\r\nhost: a\r\nx: y\r\ncontent-length: 0\r\n\r\n");
}

static void cookies_are_joined(void **state)
{
    (void)state;
    assert_reads(H2_REQUEST, GET "cookie: a=1\ncookie: b=2\ncookie: c=3\nx: y\n", true,
        "GET / HTTP/1.1\r\nhost: a.example\r\ncookie: a=1; b=2; c=3\r\nx: y\r\n\r\n");
    assert_reads(H2_REQUEST, GET "cookie: a=1\nx: y\ncookie: b=2\nlong-name: z\ncookie: c\n", true,
        "GET / HTTP/1.1\r\nhost: a.example\r\nx: y\r\nlong-name: z\r\ncookie: a=1; b=2; c\r\n\r\n");
    assert_reads(H2_REQUEST, GET "cookie: \nx: y\ncookie: b\ncookie: \n", true,
        "GET / HTTP/1.1\r\nhost: a.example\r\nx: y\r\ncookie: b\r\n\r\n");
    assert_reads(H2_REPLY, ":status: 200\ncookie: a\ncookie: b\n", true,
        "HTTP/1.1 200 \r\ncookie: a\r\ncookie: b\r\n\r\n");
}

static void tunnels(void **state)
{
    const char *socket =
        ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:path: /chat\n:authority: a\n";
    char lines[512];
    (void)state;
    assert_reads(H2_REQUEST, ":method: CONNECT\n:authority: a:443\nx: y\n", false,
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nx: y\r\n\r\n");
    snprintf(lines, sizeof(lines), "%ssec-websocket-version: 13\nsec-websocket-key: x\n", socket);
    assert_reads(H2_REQUEST, lines, false,
        "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\n"
        "upgrade: websocket\r\nsec-websocket-key: " KEY "\r\n\r\n");
    assert_reads(H2_REQUEST,
        ":method: CONNECT\n:protocol: connect-udp/1\n:scheme: https\n:path: /u\n:authority: a\n",
        false,
        "GET /u HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: connect-udp/1\r\n\r\n");
    assert_refused(H2_REQUEST, socket, H2_E_PROTOCOL); /* not offered */
    snprintf(lines, sizeof(lines), "%scontent-length: 3\n", socket);
    assert_int_equal(read_block(H2_REQUEST, lines, false, true), H2_E_LENGTH);
    assert_int_equal(
        read_block(H2_REQUEST, GET ":protocol: websocket\n", false, true), H2_E_PROTOCOL);
    assert_int_equal(
        read_block(H2_REQUEST,
            ":method: CONNECT\n:protocol: a b\n:scheme: http\n:path: /\n:authority: a\n", 0, true),
        H2_E_PROTOCOL);
    assert_int_equal(
        read_block(H2_REQUEST, ":method: CONNECT\n:protocol: x\n:scheme: http\n:path: /\nhost: a\n",
            0, true),
        H2_E_AUTHORITY);
    assert_refused(H2_REQUEST, ":method: CONNECT\n:authority: a\n:path: /\n", H2_E_METHOD);
    assert_refused(H2_REQUEST, ":method: CONNECT\n:authority: a\n:scheme: http\n", H2_E_METHOD);
    assert_refused(H2_REQUEST, ":method: CONNECT\nhost: a\n", H2_E_AUTHORITY);
}

static void replies_and_trailers(void **state)
{
    (void)state;
    assert_reads(
        H2_REPLY, ":status: 200\nserver: x\n", false, "HTTP/1.1 200 \r\nserver: x\r\n\r\n");
    assert_reads(H2_REPLY, ":status: 103\n", false, "HTTP/1.1 103 \r\n\r\n");
    assert_reads(H2_REPLY, ":status: 599\nhost: x\nhost: y\n", false,
        "HTTP/1.1 599 \r\nhost: x\r\nhost: y\r\n\r\n");
    assert_reads(H2_TRAILERS, "grpc-status: 0\ngrpc-message: \n", true,
        "grpc-status: 0\r\ngrpc-message: \r\n\r\n");
    assert_reads(H2_TRAILERS, "", true, "\r\n");
    const char *bad[] = {"101", "099", "600", "20", "2000", "2x0", "", "+20", "200 "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char lines[64];
        snprintf(lines, sizeof(lines), ":status: %s\n", bad[i]);
        assert_refused(H2_REPLY, lines, H2_E_STATUS);
    }
    assert_refused(H2_REPLY, "server: x\n", H2_E_PSEUDO_MISSING);
    assert_refused(H2_REPLY, "", H2_E_PSEUDO_MISSING);
    assert_refused(H2_REPLY, ":status: 200\n:status: 200\n", H2_E_PSEUDO_TWICE);
    assert_refused(H2_REPLY, ":status: 200\n:path: /\n", H2_E_PSEUDO_UNKNOWN);
    assert_refused(H2_TRAILERS, ":status: 200\n", H2_E_PSEUDO_UNKNOWN);
    assert_refused(H2_TRAILERS, "x: y\n:path: /\n", H2_E_PSEUDO_UNKNOWN);
    assert_refused(H2_TRAILERS, "te: gzip\n", H2_E_TE);
    assert_refused(H2_TRAILERS, "connection: x\n", H2_E_CONNECTION);
}

static void pseudo_fields(void **state)
{
    (void)state;
    assert_refused(H2_REQUEST, ":scheme: http\n:path: /\n:authority: a\n", H2_E_PSEUDO_MISSING);
    assert_refused(H2_REQUEST, ":method: GET\n:path: /\n:authority: a\n", H2_E_PSEUDO_MISSING);
    assert_refused(H2_REQUEST, ":method: GET\n:scheme: http\n:authority: a\n", H2_E_PSEUDO_MISSING);
    assert_refused(H2_REQUEST, "", H2_E_PSEUDO_MISSING);
    assert_refused(H2_REQUEST, GET ":method: GET\n", H2_E_PSEUDO_TWICE);
    assert_refused(H2_REQUEST, GET ":scheme: http\n", H2_E_PSEUDO_TWICE);
    assert_refused(H2_REQUEST, GET ":path: /\n", H2_E_PSEUDO_TWICE);
    assert_refused(H2_REQUEST, GET ":authority: a.example\n", H2_E_PSEUDO_TWICE);
    assert_refused(H2_REQUEST, GET "x: y\n:authority: a.example\n", H2_E_PSEUDO_LATE);
    assert_refused(H2_REQUEST, ":method: GET\n:scheme: http\n:authority: a\nx: y\n:path: /\n",
        H2_E_PSEUDO_MISSING);
    assert_refused(H2_REQUEST, GET ":status: 200\n", H2_E_PSEUDO_UNKNOWN);
    assert_refused(H2_REQUEST, GET ":Path: /\n", H2_E_PSEUDO_UNKNOWN);
    assert_refused(H2_REQUEST, GET ":: x\n", H2_E_PSEUDO_UNKNOWN);
    assert_refused(
        H2_REQUEST, ":method: G T\n:scheme: http\n:path: /\n:authority: a\n", H2_E_METHOD);
    assert_refused(H2_REQUEST, ":method: \n:scheme: http\n:path: /\n:authority: a\n", H2_E_METHOD);
    assert_refused(
        H2_REQUEST, ":method: GET\n:scheme: ftp\n:path: /\n:authority: a\n", H2_E_SCHEME);
    const char *bad[] = {
        "", "x", "*", "http://a/", "/a b", "/a\tb", "/a|b", "/\x7f", "/a\rb", "?x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char lines[128];
        snprintf(lines, sizeof(lines), ":method: GET\n:scheme: http\n:path: %s\n:authority: a\n",
            bad[i]);
        assert_refused(H2_REQUEST, lines, H2_E_PATH);
    }
}

static void fields(void **state)
{
    (void)state;
    const char *names[] = {"X", "aB", "a b", "a\tb", "a(", "a|", "a\x80", "a\r", "a,b"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char lines[256];
        snprintf(lines, sizeof(lines), GET "%s: y\n", names[i]);
        assert_refused(H2_REQUEST, lines, H2_E_FIELD_NAME);
    }
    struct h2_text t;
    buf.start = buf.end = 0;
    h2_text_init(&t, H2_TRAILERS, &buf, 2048, 20, false);
    h2_text_field(&t, STR(""), STR("x"));
    assert_int_equal(h2_text_end(&t, true, KEY), H2_E_FIELD_NAME);
    h2_text_init(&t, H2_TRAILERS, &buf, 2048, 20, false);
    h2_text_field(&t, STR("a:b"), STR("x"));
    assert_int_equal(h2_text_end(&t, true, KEY), H2_E_FIELD_NAME);
    h2_text_init(&t, H2_TRAILERS, &buf, 2048, 20, false);
    h2_text_field(&t, STR("a"), STR("x\r\ny: z"));
    assert_int_equal(h2_text_end(&t, true, KEY), H2_E_FIELD_VALUE);
    h2_text_init(&t, H2_TRAILERS, &buf, 2048, 20, false);
    h2_text_field(&t, STR("a"), STR("x\ny"));
    assert_int_equal(h2_text_end(&t, true, KEY), H2_E_FIELD_VALUE);
    assert_refused(H2_REQUEST, GET "x:  y\n", H2_E_FIELD_VALUE);
    assert_refused(H2_REQUEST, GET "x: y \n", H2_E_FIELD_VALUE);
    assert_refused(H2_REQUEST, GET "x: y\t\n", H2_E_FIELD_VALUE);
    assert_refused(H2_REQUEST, GET "x: a|b\n", H2_E_FIELD_VALUE);
    assert_refused(H2_REQUEST, GET "x: a\x01\n", H2_E_FIELD_VALUE);
    assert_refused(H2_REQUEST, GET "cookie: a\rb\n", H2_E_FIELD_VALUE);
    assert_reads(H2_REQUEST, GET "x: a\tb c\xff\n", true,
        "GET / HTTP/1.1\r\nhost: a.example\r\nx: a\tb c\xff\r\n\r\n");
    assert_refused(H2_REQUEST, GET "connection: close\n", H2_E_CONNECTION);
    assert_refused(H2_REQUEST, GET "keep-alive: 1\n", H2_E_CONNECTION);
    assert_refused(H2_REQUEST, GET "proxy-connection: x\n", H2_E_CONNECTION);
    assert_refused(H2_REQUEST, GET "transfer-encoding: chunked\n", H2_E_CONNECTION);
    assert_refused(H2_REQUEST, GET "upgrade: h2c\n", H2_E_CONNECTION);
    assert_refused(H2_REQUEST, GET "te: trailers, gzip\n", H2_E_TE);
    assert_refused(H2_REQUEST, GET "te: \n", H2_E_TE);
    assert_refused(H2_REPLY, ":status: 200\ntransfer-encoding: chunked\n", H2_E_CONNECTION);
}

static void limits_at_the_bound(void **state)
{
    struct h2_text t;
    char value[2048];
    (void)state;
    memset(value, 'v', sizeof(value));
    /* "x: " value CRLF CRLF */
    for (size_t n = 100 - 3 - 4; n <= 100 - 3 - 4 + 1; n++) {
        buf.start = buf.end = 0;
        h2_text_init(&t, H2_TRAILERS, &buf, 100, 20, false);
        h2_text_field(&t, STR("x"), str_of(value, n));
        assert_int_equal(h2_text_end(&t, true, KEY), n == 93 ? H2_OK : H2_E_TOO_LARGE);
        assert_int_equal(buf.end, n == 93 ? 100 : 0);
    }
    for (unsigned n = 20; n <= 21; n++) {
        buf.start = buf.end = 0;
        h2_text_init(&t, H2_TRAILERS, &buf, 2048, 20, false);
        for (unsigned i = 0; i < n; i++)
            h2_text_field(&t, STR("x"), STR("y"));
        assert_int_equal(h2_text_end(&t, true, KEY), n == 20 ? H2_OK : H2_E_TOO_MANY);
    }
    buf.start = buf.end = 0;
    h2_text_init(&t, H2_REQUEST, &buf, 2048, 2, false); /* crumbs side by side count as one */
    give(&t, GET "cookie: a\ncookie: b\ncookie: c\nx: y\n");
    assert_int_equal(h2_text_end(&t, true, KEY), H2_OK);
}

/* The block given may be smaller than the limit, at every size: no byte outside it is touched, and
 * what is refused leaves it as it was. */
static void small_blocks(void **state)
{
    (void)state;
    const char *lines = ":method: POST\n:scheme: http\n:path: /some/path\n:authority: a.example\n"
                        "cookie: a=1\nx: y\ncookie: b=2\n";
    unsigned fits = 0;
    for (uint32_t size = 1; size < 300; size++) {
        char *own = malloc(size);
        struct buf b = {.data = own, .size = size};
        struct h2_text t;
        h2_text_init(&t, H2_REQUEST, &b, 2048, 20, false);
        give(&t, lines);
        enum h2_error e = h2_text_end(&t, true, KEY);
        assert_true(e == H2_OK || e == H2_E_TOO_LARGE);
        assert_int_equal(b.end > 0, e == H2_OK);
        fits += e == H2_OK;
        free(own);
    }
    assert_true(fits > 100 && fits < 250);
}

/* ---- going out ---- */

static struct h2_field out[16];

/* The fields as "name: value\n" lines, "!" before secret ones. */
static const char *shown(unsigned n)
{
    static char text[1024];
    int at = 0;
    for (unsigned i = 0; i < n; i++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, "%s%.*s: %.*s\n",
            out[i].secret ? "!" : "", STR_ARG(out[i].name), STR_ARG(out[i].value));
    text[at] = '\0';
    return text;
}

static int from(bool request, const char *text, struct h2_out_head *head)
{
    static char copy[1024];
    strcpy(copy, text);
    uint32_t n = (uint32_t)strlen(text);
    return request ? h2_from_request(copy, n, STR("https"), out, 16, head)
                   : h2_from_reply(copy, n, out, 16, head);
}

static void assert_from(bool request, const char *text, const char *want)
{
    struct h2_out_head head;
    int rc = from(request, text, &head);
    if (rc != 0)
        fail_msg("%d for %s", rc, text);
    assert_string_equal(shown(head.n), want);
    assert_int_equal(head.used, strstr(text, "\r\n\r\n") + 4 - text);
}

static void requests_go_out(void **state)
{
    struct h2_out_head head;
    (void)state;
    assert_from(true,
        "GET /a?b HTTP/1.1\r\nAccept: */*\r\nhost: a:1\r\nconnection: te\r\nte: trailers\r\n"
        "keep-alive: 1\r\nproxy-connection: x\r\ntransfer-encoding: chunked\r\ncookie: x\r\n"
        "authorization: y\r\nbaggage: b\r\n\r\nbody",
        ":method: GET\n:scheme: https\n:authority: a:1\n:path: /a?b\naccept: */*\nte: trailers\n"
        "!cookie: x\n!authorization: y\n!baggage: b\n");
    assert_from(true, "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        ":method: OPTIONS\n:scheme: https\n:authority: a\n:path: *\n");
    assert_from(true, "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nx: y\r\n\r\n",
        ":method: CONNECT\n:authority: a:443\nx: y\n");
    assert_from(true,
        "GET /chat HTTP/1.1\r\nhost: a\r\nx: y\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-key: k\r\nsec-websocket-version: 13\r\n\r\n",
        ":method: CONNECT\n:scheme: https\n:authority: a\n:path: /chat\n:protocol: websocket\n"
        "x: y\nsec-websocket-version: 13\n");
    assert_int_equal(from(true, "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", &head), 0);
    assert_true(head.head_method && !head.extended);
    assert_from(true, "GET / HTTP/1.1\r\nhost: a\r\nte: gzip\r\n\r\n",
        ":method: GET\n:scheme: https\n:authority: a\n:path: /\n");
}

static void replies_go_out(void **state)
{
    struct h2_out_head head;
    (void)state;
    assert_from(false,
        "HTTP/1.1 200 OK\r\nServer: x\r\ntransfer-encoding: chunked\r\nset-cookie: a\r\n"
        "host: kept\r\n\r\n",
        ":status: 200\nserver: x\n!set-cookie: a\nhost: kept\n");
    assert_from(false,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-accept: z\r\nsec-websocket-protocol: chat\r\n\r\n",
        ":status: 200\nsec-websocket-protocol: chat\n");
    assert_int_equal(from(false, "HTTP/1.1 103 Early\r\nlink: x\r\n\r\n", &head), 0);
    assert_true(head.interim);
    assert_int_equal(head.status, 103);
    assert_int_equal(from(false, "HTTP/1.1 404 \r\n\r\n", &head), 0);
    assert_true(!head.interim);
    assert_int_equal(from(false, "HTTP/1.1 404\r\n\r\n", &head), 0);
    assert_int_equal(head.status, 404);
}

static void texts_that_are_no_heads(void **state)
{
    struct h2_out_head head;
    (void)state;
    const char *bad[] = {"GET /\r\nhost: a\r\n\r\n", "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", " / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nx y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n x: y\r\n\r\n", "GET / HTTP/1.1\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: \x01\r\n\r\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(from(true, bad[i], &head), -EINVAL);
    const char *bad_replies[] = {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.1 999 X\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 099 X\r\n\r\n"};
    for (size_t i = 0; i < sizeof(bad_replies) / sizeof(bad_replies[0]); i++)
        assert_int_equal(from(false, bad_replies[i], &head), -EINVAL);
    const char *whole = "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n";
    char part[64];
    for (size_t n = 0; n < strlen(whole); n++) {
        memcpy(part, whole, n);
        part[n] = '\0';
        assert_int_equal(from(true, part, &head), -EAGAIN);
    }
    char text[] = "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\nz: y\r\n\r\n";
    for (uint16_t room = 0; room < 6; room++)
        assert_int_equal(
            h2_from_request(text, sizeof(text) - 1, STR("http"), out, room, &head), -ENOBUFS);
    assert_int_equal(h2_from_request(text, sizeof(text) - 1, STR("http"), out, 6, &head), 0);
}

static void trailers_go_out(void **state)
{
    (void)state;
    char text[] = "Grpc-Status: 0\r\nx: y\r\nconnection: z\r\n";
    assert_int_equal(h2_from_trailers(text, sizeof(text) - 1, out, 16), 2);
    assert_string_equal(shown(2), "grpc-status: 0\nx: y\n");
    assert_int_equal(h2_from_trailers(text, sizeof(text) - 2, out, 16), -EINVAL);
    char empty_line[] = "x: y\r\n\r\n";
    assert_int_equal(h2_from_trailers(empty_line, sizeof(empty_line) - 1, out, 16), -EINVAL);
}

static void words_are_all_there(void **state)
{
    (void)state;
    for (unsigned i = 0; i < H2_ERROR_COUNT; i++) {
        assert_true(strlen(h2_error_word((enum h2_error)i)) > 0);
        assert_true(strlen(h2_error_text((enum h2_error)i)) > 8);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(
                h2_error_word((enum h2_error)i), h2_error_word((enum h2_error)k));
    }
    assert_string_equal(h2_error_word(H2_ERROR_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(authority_and_host),
        cmocka_unit_test(lengths_are_told),
        cmocka_unit_test(cookies_are_joined),
        cmocka_unit_test(tunnels),
        cmocka_unit_test(replies_and_trailers),
        cmocka_unit_test(pseudo_fields),
        cmocka_unit_test(fields),
        cmocka_unit_test(limits_at_the_bound),
        cmocka_unit_test(small_blocks),
        cmocka_unit_test(requests_go_out),
        cmocka_unit_test(replies_go_out),
        cmocka_unit_test(texts_that_are_no_heads),
        cmocka_unit_test(trailers_go_out),
        cmocka_unit_test(words_are_all_there),
    };
    return unit_run(tests);
}
