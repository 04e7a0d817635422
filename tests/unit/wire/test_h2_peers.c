/* Sessions of ours against plain nghttp2 sessions, which share none of our code: heads of all
 * sizes, bodies under flow control, trailers, goodbyes, tunnels. */
#include "tests/unit/wire/h2_pair.h"
#include <nghttp2/nghttp2.h>

static const struct h2_limits limits = H2_LIMITS_TEST;

#define BIG 300000u

/* One stream as the plain peer sees it. */
struct plain_stream {
    char fields[80000]; /* "name: value\n" ... of all blocks */
    size_t fields_n, body_n;
    unsigned blocks, ended, closed;
    uint32_t code;
    size_t to_send;
};

struct plain {
    nghttp2_session *s;
    struct plain_stream of[512];
    bool trailers; /* sent behind each body */
};

static struct plain_stream *plain_of(struct plain *p, int32_t id)
{
    return &p->of[id & 511];
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nn,
    const uint8_t *value, size_t vn, uint8_t flags, void *user)
{
    struct plain_stream *st = plain_of(user, f->hd.stream_id);
    (void)s;
    (void)flags;
    assert_true(st->fields_n + nn + vn + 4 < sizeof(st->fields));
    st->fields_n += (size_t)snprintf(st->fields + st->fields_n, sizeof(st->fields) - st->fields_n,
        "%.*s: %.*s\n", (int)nn, (const char *)name, (int)vn, (const char *)value);
    return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
    struct plain_stream *st = plain_of(user, f->hd.stream_id);
    (void)s;
    st->blocks += f->hd.type == NGHTTP2_HEADERS;
    if (f->hd.type <= NGHTTP2_HEADERS && f->hd.flags & NGHTTP2_FLAG_END_STREAM)
        st->ended++;
    return 0;
}

static int on_chunk(
    nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    struct plain_stream *st = plain_of(user, id);
    (void)s;
    (void)flags;
    for (size_t i = 0; i < n; i++)
        if (p[i] != (uint8_t)((st->body_n + i) * 7))
            fail_msg("byte %zu of stream %d", st->body_n + i, id);
    st->body_n += n;
    return 0;
}

static int on_closed(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
    (void)s;
    plain_of(user, id)->closed++;
    plain_of(user, id)->code = code;
    return 0;
}

static ssize_t give(nghttp2_session *s, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
    nghttp2_data_source *source, void *user)
{
    struct plain *p = user;
    struct plain_stream *st = plain_of(p, id);
    size_t n = st->to_send < room ? st->to_send : room, at = (size_t)(uintptr_t)source->ptr;
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)((at + i) * 7);
    source->ptr = (void *)(uintptr_t)(at + n);
    st->to_send -= n;
    if (st->to_send == 0) {
        *flags = NGHTTP2_DATA_FLAG_EOF;
        if (p->trailers) {
            nghttp2_nv nv = {(uint8_t *)(uintptr_t) "t", (uint8_t *)(uintptr_t) "u", 1, 1, 0};
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            assert_int_equal(nghttp2_submit_trailer(s, id, &nv, 1), 0);
        }
    }
    return (ssize_t)n;
}

static struct plain *plain_new(bool server)
{
    struct plain *p = calloc(1, sizeof(*p));
    nghttp2_session_callbacks *c;
    assert_non_null(p);
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_closed);
    if (server)
        nghttp2_session_server_new(&p->s, c, p);
    else
        nghttp2_session_client_new(&p->s, c, p);
    nghttp2_session_callbacks_del(c);
    return p;
}

static void plain_free(struct plain *p)
{
    nghttp2_session_del(p->s);
    free(p);
}

static unsigned fields_of(const char *lines, nghttp2_nv *nv, char *copy)
{
    unsigned n = 0;
    strcpy(copy, lines);
    for (char *at = copy; *at; n++) {
        char *colon = strstr(at + 1, ": "), *end = strchr(at, '\n');
        nv[n] = (nghttp2_nv){(uint8_t *)at, (uint8_t *)colon + 2, (size_t)(colon - at),
            (size_t)(end - colon) - 2, 0};
        at = end + 1;
    }
    return n;
}

static int32_t plain_request(struct plain *p, const char *lines, size_t body)
{
    static char copy[80000];
    nghttp2_nv nv[64];
    unsigned n = fields_of(lines, nv, copy);
    nghttp2_data_provider from = {.read_callback = give};
    int32_t id = nghttp2_submit_request(p->s, NULL, nv, n, body ? &from : NULL, NULL);
    assert_true(id > 0);
    plain_of(p, id)->to_send = body;
    return id;
}

static void plain_reply(struct plain *p, int32_t id, const char *lines, size_t body)
{
    static char copy[80000];
    nghttp2_nv nv[64];
    unsigned n = fields_of(lines, nv, copy);
    nghttp2_data_provider from = {.read_callback = give};
    plain_of(p, id)->to_send = body;
    assert_int_equal(nghttp2_submit_response(p->s, id, nv, n, body ? &from : NULL), 0);
}

/* What each of our streams still has to send; tried again until it goes. */
struct ours {
    struct side side;
    struct str rest[PAIR_STREAMS];
    bool sending[PAIR_STREAMS];
};

static char *pattern(void)
{
    static char bytes[BIG];
    for (size_t i = 0; i < BIG; i++)
        bytes[i] = (char)(i * 7);
    return bytes;
}

static void run(struct ours *o, struct plain *p)
{
    for (bool moved = true; moved;) {
        const uint8_t *bytes;
        ssize_t n;
        moved = false;
        while ((n = nghttp2_session_mem_send(p->s, &bytes)) > 0) {
            assert_int_equal(h2_input(o->side.h, (const char *)bytes, (size_t)n, 1), 0);
            side_credit(&o->side);
            moved = true;
        }
        assert_int_equal(n, 0);
        for (unsigned i = 0; i < PAIR_STREAMS; i++)
            if (o->sending[i] && o->side.seen[i].st.h)
                o->sending[i] = side_send(&o->side, &o->side.seen[i], &o->rest[i], true) == 1;
        assert_int_equal(buf_hold(&o->side.out, &o->side.pool), 0);
        assert_true(h2_output(o->side.h, &o->side.out) >= 0);
        uint32_t len = buf_len(&o->side.out);
        if (len) {
            ssize_t took =
                nghttp2_session_mem_recv(p->s, (const uint8_t *)buf_head(&o->side.out), len);
            assert_int_equal(took, len);
            buf_consume(&o->side.out, len);
            moved = true;
        }
    }
}

static struct ours *ours_new(bool server, bool at_once)
{
    struct ours *o = calloc(1, sizeof(*o));
    struct h2_limits pooled = limits;
    assert_non_null(o);
    if (at_once)
        pooled.pool = h2_pool_new();
    assert_int_equal(side_init(&o->side, server, &pooled), 0);
    h2_pool_free(pooled.pool);
    if (at_once) {
        assert_int_equal(buf_hold(&o->side.out, &o->side.pool), 0);
        h2_attach(o->side.h, &o->side.out);
    }
    return o;
}

static void ours_free(struct ours *o)
{
    side_release(&o->side);
    free(o);
}

static void ours_send(struct ours *o, struct seen *n, size_t bytes)
{
    unsigned i = (unsigned)(n - o->side.seen);
    o->rest[i] = str_of(pattern(), bytes);
    o->sending[i] = true;
}

static void check_pattern(const struct seen *n, size_t bytes)
{
    assert_int_equal(n->body_n, bytes);
    assert_memory_equal(n->body, pattern(), bytes < sizeof(n->body) ? bytes : sizeof(n->body));
}

/* ---- our server ---- */

static void a_server_serves(bool at_once)
{
    struct ours *o = ours_new(true, at_once);
    struct plain *p = plain_new(false);
    char lines[512];
    nghttp2_submit_settings(p->s, 0, NULL, 0);
    p->trailers = true;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(lines, sizeof(lines),
            ":method: PUT\n:scheme: http\n:path: /%u\n:authority: a\nx-%u: %u\ncookie: c=%u\n", i,
            i % 7, i, i);
        int32_t id = plain_request(p, lines, i == 50 ? BIG : i + 1);
        run(o, p);
        struct seen *n = &o->side.seen[0];
        snprintf(lines, sizeof(lines),
            "PUT /%u HTTP/1.1\r\nhost: a\r\nx-%u: %u\r\ncookie: c=%u\r\n\r\nt: u\r\n\r\n", i, i % 7,
            i, i);
        assert_text(n, lines);
        check_pattern(n, i == 50 ? BIG : i + 1);
        assert_int_equal(n->ends, 1);
        snprintf(lines, sizeof(lines), "HTTP/1.1 200 OK\r\nx-%u: %u\r\nset-cookie: s=%u\r\n\r\n",
            i % 5, i % 3, i);
        assert_int_equal(side_reply(&o->side, n, lines, false), 0);
        assert_int_equal(h2_trailers(&n->st, STR("last: yes\r\n")), 0);
        ours_send(o, n, i == 60 ? BIG : i);
        run(o, p);
        struct plain_stream *st = plain_of(p, id);
        snprintf(lines, sizeof(lines), ":status: 200\nx-%u: %u\nset-cookie: s=%u\nlast: yes\n",
            i % 5, i % 3, i);
        assert_string_equal(st->fields, lines);
        assert_int_equal(st->body_n, i == 60 ? BIG : i);
        assert_int_equal(st->ended, 1);
        assert_int_equal(st->closed, 1);
        assert_int_equal(st->code, 0);
        n->used = false;
        h2_rest(o->side.h);
        assert_false(h2_waiting(o->side.h) || h2_over(o->side.h));
    }
    for (unsigned k = 0; k < H2_ODD_COUNT; k++)
        assert_int_equal(o->side.odd[k], 0);
    plain_free(p);
    ours_free(o);
}

static void our_server_serves(void **state)
{
    (void)state;
    a_server_serves(false);
    a_server_serves(true);
}

/* Heads over one frame, both ways. */
static void large_heads(void **state)
{
    (void)state;
    for (int at_once = 0; at_once < 2; at_once++) {
        static char lines[80000], reply[80000];
        struct ours *o = ours_new(true, at_once);
        struct plain *p = plain_new(false);
        size_t n = (size_t)sprintf(
            lines, ":method: GET\n:scheme: http\n:path: /\n:authority: a\ncookie: ");
        memset(lines + n, 0x7e, 30000); /* long in Huffman's code: sent as it is */
        strcpy(lines + n + 30000, "\n");
        nghttp2_submit_settings(p->s, 0, NULL, 0);
        int32_t id = plain_request(p, lines, 0);
        run(o, p);
        struct seen *s = &o->side.seen[0];
        assert_int_equal(s->heads, 1);
        assert_int_equal(buf_len(&s->in), 30000 + 37);
        n = (size_t)sprintf(reply, "HTTP/1.1 200 OK\r\nbig: ");
        memset(reply + n, 0x7e, 50000);
        strcpy(reply + n + 50000, "\r\n\r\n");
        assert_int_equal(side_reply(&o->side, s, reply, true), 0);
        run(o, p);
        assert_int_equal(plain_of(p, id)->fields_n, 13 + 5 + 50000 + 1);
        assert_int_equal(plain_of(p, id)->ended, 1);
        plain_free(p);
        ours_free(o);
    }
}

/* A head over the limit is told, and its owner may answer; the table stays in step. */
static void a_head_over_the_limit_is_answered(void **state)
{
    static char lines[80000];
    struct ours *o = ours_new(true, true);
    struct plain *p = plain_new(false);
    (void)state;
    o->side.answer_bad = true;
    nghttp2_submit_settings(p->s, 0, NULL, 0);
    size_t n = (size_t)sprintf(
        lines, ":method: POST\n:scheme: http\n:path: /\n:authority: a\nx: y\nbig: ");
    memset(lines + n, 'z', 40000);
    strcpy(lines + n + 40000, "\nlate: field\n");
    int32_t id = plain_request(p, lines, 50000);
    run(o, p);
    struct seen *s = &o->side.seen[0];
    assert_int_equal(s->bads, 1);
    assert_int_equal(s->error, H2_E_TOO_LARGE);
    assert_int_equal(s->bad_kind, H2_REQUEST);
    assert_non_null(s->st.h);
    assert_int_equal(s->body_n, 0);
    assert_int_equal(side_reply(&o->side, s, "HTTP/1.1 431 Too Large\r\nx: y\r\n\r\n", true), 0);
    run(o, p);
    assert_string_equal(plain_of(p, id)->fields, ":status: 431\nx: y\n");
    assert_int_equal(s->closes, 1);
    id = plain_request(
        p, ":method: GET\n:scheme: http\n:path: /\n:authority: a\nx: y\nlate: field\n", 0);
    run(o, p);
    assert_text(&o->side.seen[1], "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\nlate: field\r\n\r\n");
    plain_free(p);
    ours_free(o);
}

/* ---- our client ---- */

static void a_client_asks(bool at_once)
{
    struct ours *o = ours_new(false, at_once);
    struct plain *p = plain_new(true);
    char lines[512];
    nghttp2_submit_settings(p->s, 0, NULL, 0);
    p->trailers = true;
    for (unsigned i = 0; i < 100; i++) {
        int32_t id = (int32_t)(2 * i + 1);
        struct seen *n = side_take(&o->side);
        snprintf(lines, sizeof(lines),
            "POST /%u HTTP/1.1\r\nhost: b\r\nx-%u: %u\r\nte: trailers\r\nconnection: te\r\n\r\n", i,
            i % 7, i);
        assert_int_equal(side_request(&o->side, n, lines, false), 0);
        assert_int_equal(n->st.id, id);
        ours_send(o, n, i == 50 ? BIG : i);
        run(o, p);
        struct plain_stream *st = plain_of(p, id);
        snprintf(lines, sizeof(lines),
            ":method: POST\n:scheme: http\n:authority: b\n:path: /%u\nx-%u: %u\nte: trailers\n", i,
            i % 7, i);
        assert_string_equal(st->fields, lines);
        assert_int_equal(st->body_n, i == 50 ? BIG : i);
        assert_int_equal(st->ended, 1);
        plain_reply(p, id, ":status: 200\nserver: plain\n", i == 60 ? BIG : i + 1);
        run(o, p);
        assert_text(n, "HTTP/1.1 200 \r\nserver: plain\r\n\r\nt: u\r\n\r\n");
        check_pattern(n, i == 60 ? BIG : i + 1);
        assert_int_equal(n->ends, 1);
        assert_int_equal(n->closes, 1);
        n->used = false;
        h2_rest(o->side.h);
        assert_int_equal(h2_room(o->side.h), 32);
    }
    plain_free(p);
    ours_free(o);
}

static void our_client_asks(void **state)
{
    (void)state;
    a_client_asks(false);
    a_client_asks(true);
}

/* The peer's number of streams holds us back, and says when there is room again. */
static void room_for_streams(void **state)
{
    struct ours *o = ours_new(false, false);
    struct plain *p = plain_new(true);
    nghttp2_settings_entry one = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2};
    const char *head = "GET / HTTP/1.1\r\nhost: b\r\n\r\n";
    struct seen *n[3];
    (void)state;
    assert_int_equal(h2_room(o->side.h), 32);
    nghttp2_submit_settings(p->s, 0, &one, 1);
    run(o, p);
    assert_int_equal(h2_room(o->side.h), 2);
    for (int i = 0; i < 3; i++) {
        n[i] = side_take(&o->side);
        assert_int_equal(side_request(&o->side, n[i], head, true), i < 2 ? 0 : -EAGAIN);
    }
    run(o, p);
    assert_int_equal(o->side.wakes, 0);
    plain_reply(p, 1, ":status: 200\n", 0);
    run(o, p);
    assert_int_equal(o->side.wakes, 1);
    assert_int_equal(side_request(&o->side, n[2], head, true), 0);
    run(o, p);
    /* Goodbye: what is above the last is unprocessed. */
    nghttp2_submit_goaway(p->s, 0, 3, NGHTTP2_NO_ERROR, NULL, 0);
    run(o, p);
    assert_int_equal(o->side.goaways, 1);
    assert_int_equal(o->side.goaway_last, 3);
    assert_int_equal(n[2]->closes, 1);
    assert_true(n[2]->unprocessed);
    assert_int_equal(n[1]->closes, 0);
    assert_int_equal(h2_room(o->side.h), 0);
    assert_false(h2_over(o->side.h));
    plain_reply(p, 3, ":status: 204\n", 0);
    run(o, p);
    assert_int_equal(n[1]->heads, 1);
    assert_true(h2_over(o->side.h));
    plain_free(p);
    ours_free(o);
}

static void a_tunnel_each_way(void **state)
{
    struct ours *o = ours_new(false, true);
    struct plain *p = plain_new(true);
    nghttp2_settings_entry on = {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    struct seen *n = side_take(&o->side);
    (void)state;
    assert_false(h2_peer_extended(o->side.h));
    nghttp2_submit_settings(p->s, 0, &on, 1);
    run(o, p);
    assert_true(h2_peer_extended(o->side.h));
    assert_int_equal(side_request(&o->side, n,
                         "GET /chat HTTP/1.1\r\nhost: b\r\nupgrade: websocket\r\n"
                         "connection: upgrade\r\nsec-websocket-key: k\r\n\r\n",
                         true),
        0);
    assert_true(n->st.connect && !n->st.end_out);
    run(o, p);
    assert_string_equal(plain_of(p, 1)->fields,
        ":method: CONNECT\n:scheme: http\n:authority: b\n:path: /chat\n:protocol: websocket\n");
    assert_int_equal(plain_of(p, 1)->ended, 0);
    plain_reply(p, 1, ":status: 200\n", 10);
    ours_send(o, n, 20);
    run(o, p);
    assert_text(n, "HTTP/1.1 200 \r\n\r\n");
    check_pattern(n, 10);
    assert_int_equal(plain_of(p, 1)->body_n, 20);
    plain_free(p);
    ours_free(o);

    o = ours_new(true, false);
    p = plain_new(false);
    nghttp2_submit_settings(p->s, 0, NULL, 0);
    plain_request(
        p, ":method: CONNECT\n:protocol: websocket\n:scheme: http\n:path: /c\n:authority: a\n", 30);
    run(o, p);
    n = &o->side.seen[0];
    char *key = memmem(buf_head(&n->in), buf_len(&n->in), "sec-websocket-key: ", 19);
    assert_non_null(key);
    assert_memory_equal(key + 19 + 22, "==\r\n\r\n", 6);
    assert_true(n->st.connect);
    check_pattern(n, 30);
    assert_int_equal(side_reply(&o->side, n,
                         "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
                         "connection: upgrade\r\nsec-websocket-accept: x\r\n\r\n",
                         false),
        0);
    ours_send(o, n, 40);
    run(o, p);
    assert_string_equal(plain_of(p, 1)->fields, ":status: 200\n");
    assert_int_equal(plain_of(p, 1)->body_n, 40);
    plain_free(p);
    ours_free(o);
}

/* ---- flow control ---- */

/* One stream that nobody drains holds back itself alone. */
static void a_slow_stream_holds_back_only_itself(void **state)
{
    struct ours *o = ours_new(true, false);
    struct plain *p = plain_new(false);
    const char *put = ":method: PUT\n:scheme: http\n:path: /\n:authority: a\n";
    (void)state;
    nghttp2_submit_settings(p->s, 0, NULL, 0);
    o->side.hold = true;
    plain_request(p, put, BIG);
    run(o, p);
    struct seen *slow = &o->side.seen[0];
    assert_int_equal(slow->body_n, 65535);
    for (unsigned i = 1; i < 6; i++) {
        plain_request(p, put, BIG);
        for (int k = 0; k < 20; k++) {
            h2_credit(&o->side.seen[i].st, o->side.seen[i].st.unread);
            run(o, p);
        }
        check_pattern(&o->side.seen[i], BIG);
        assert_int_equal(o->side.seen[i].ends, 1);
    }
    assert_int_equal(slow->body_n, 65535);
    for (int k = 0; k < 20; k++) {
        h2_credit(&slow->st, slow->st.unread);
        run(o, p);
    }
    check_pattern(slow, BIG);
    plain_free(p);
    ours_free(o);
}

/* Over all streams no more than connection_hold and the window above it lies unread. */
static void many_slow_streams_are_bounded(void **state)
{
    struct h2_limits tight = limits;
    struct ours *o = calloc(1, sizeof(*o));
    struct plain *p = plain_new(false);
    uint64_t unread = 0;
    (void)state;
    tight.connection_hold = 100000;
    assert_int_equal(side_init(&o->side, true, &tight), 0);
    o->side.hold = true;
    nghttp2_submit_settings(p->s, 0, NULL, 0);
    for (unsigned i = 0; i < 20; i++)
        plain_request(p, ":method: PUT\n:scheme: http\n:path: /\n:authority: a\n", BIG);
    run(o, p);
    for (unsigned i = 0; i < 20; i++)
        unread += o->side.seen[i].st.unread;
    assert_true(unread > 100000 && unread <= 200000);
    /* One is reset, with all it held; the others go on. */
    h2_reset(&o->side.seen[0].st, H2_CANCEL);
    o->side.hold = false;
    side_credit(&o->side);
    for (unsigned k = 0; k < 20; k++)
        run(o, p);
    for (unsigned i = 1; i < 20; i++) {
        assert_int_equal(o->side.seen[i].body_n, BIG);
        assert_int_equal(o->side.seen[i].ends, 1);
    }
    plain_free(p);
    ours_free(o);
}

/* DATA for streams that their owner let go of is given back to the connection's window: it never
 * leaks away. */
static void streams_let_go_of_do_not_drain_the_window(void **state)
{
    struct ours *o = ours_new(true, false);
    struct plain *p = plain_new(false);
    (void)state;
    nghttp2_submit_settings(p->s, 0, NULL, 0);
    o->side.hold = true;
    for (unsigned i = 0; i < 100; i++) {
        int32_t id =
            plain_request(p, ":method: PUT\n:scheme: http\n:path: /\n:authority: a\n", 60000);
        run(o, p);
        struct seen *n = &o->side.seen[0];
        assert_int_equal(n->body_n, 60000);
        assert_int_equal(side_reply(&o->side, n, "HTTP/1.1 200 OK\r\n\r\n", true), 0);
        if (i % 2)
            h2_done(&n->st);
        run(o, p);
        assert_int_equal(plain_of(p, id)->ended, 1);
        n->used = false;
    }
    plain_free(p);
    ours_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_server_serves),
        cmocka_unit_test(large_heads),
        cmocka_unit_test(a_head_over_the_limit_is_answered),
        cmocka_unit_test(our_client_asks),
        cmocka_unit_test(room_for_streams),
        cmocka_unit_test(a_tunnel_each_way),
        cmocka_unit_test(a_slow_stream_holds_back_only_itself),
        cmocka_unit_test(many_slow_streams_are_bounded),
        cmocka_unit_test(streams_let_go_of_do_not_drain_the_window),
    };
    return unit_run(tests);
}
