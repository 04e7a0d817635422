/* Memory that runs out at any allocation, and bytes that are split at any place: nothing leaks, and
 * what is told is the same. */
#include "tests/unit/wire/h2_raw.h"

static struct h2_limits limits = H2_LIMITS_TEST;

struct both {
    struct side client, server;
};

static void serve(struct both *b)
{
    for (unsigned i = 0; i < PAIR_STREAMS; i++) {
        struct seen *n = &b->server.seen[i];
        struct buf text = {0};
        struct str body = STR("some body");
        if (!n->st.h || !n->heads || n->st.head_out || !(n->ends || n->end_with_head))
            continue;
        if (buf_hold(&b->server.out, &b->server.pool) != 0 || buf_hold(&text, &b->server.pool) != 0)
            break;
        buf_put(&text, "HTTP/1.1 200 OK\r\nx: y\r\n\r\n", 26);
        h2_reply(&n->st, &text, false);
        buf_drop(&text, &b->server.pool);
        h2_trailers(&n->st, STR("t: u\r\n"));
        if (n->st.h)
            h2_send(&n->st, &b->server.out, &text, &body, true);
    }
}

static int move_all(struct both *b)
{
    int rc = 0, worst = 0;
    for (int i = 0; i < 6 && worst >= 0; i++) {
        struct side *from = i % 2 ? &b->server : &b->client;
        struct side *to = i % 2 ? &b->client : &b->server;
        if (buf_hold(&from->out, &from->pool) != 0)
            return -ENOMEM;
        rc = h2_output(from->h, &from->out);
        worst = rc < worst ? rc : worst;
        if (worst == 0 && buf_len(&from->out))
            worst = h2_input(to->h, buf_head(&from->out), buf_len(&from->out), to->now);
        buf_consume(&from->out, buf_len(&from->out));
        side_credit(to);
        if (to == &b->server)
            serve(b);
    }
    return worst;
}

/* A request with a body and trailers, a reply with both, a reset, a ping, a goodbye. */
static int exchange(struct both *b)
{
    const char *head = "POST / HTTP/1.1\r\nhost: a\r\ncookie: x\r\n\r\n";
    struct seen *c = side_take(&b->client);
    struct buf text = {0};
    struct str body = STR("hello");
    int rc = -ENOMEM;
    if (buf_hold(&text, &b->client.pool) != 0 || buf_hold(&b->client.out, &b->client.pool) != 0)
        goto out;
    buf_put(&text, head, strlen(head));
    rc = h2_request(b->client.h, &c->st, &text, STR("http"), false);
    if (rc < 0)
        goto out;
    rc = h2_trailers(&c->st, STR("a: b\r\n"));
    if (rc == 0)
        rc = h2_send(&c->st, &b->client.out, &text, &body, true);
    if (rc >= 0)
        rc = move_all(b);
    if (rc >= 0)
        rc = h2_ping(b->server.h);
    text.start = text.end = 0;
    buf_put(&text, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", 27);
    c = side_take(&b->client);
    if (rc >= 0)
        rc = h2_request(b->client.h, &c->st, &text, STR("http"), true);
    if (rc >= 0)
        h2_reset(&c->st, H2_CANCEL);
    if (rc >= 0)
        rc = h2_goaway(b->server.h, H2_NO_ERROR);
    if (rc >= 0)
        rc = move_all(b);
out:
    buf_drop(&text, &b->client.pool);
    return rc;
}

static void any_allocation_may_fail(void **state)
{
    unsigned long n = 0, told = 0, whole = 0;
    bool calm = false;
    (void)state;
    for (int pooled = 0; pooled < 2; pooled++) {
        n = told = 0;
        do {
            struct both *b = calloc(1, sizeof(*b));
            struct h2_pool *pool = pooled ? h2_pool_new() : NULL;
            limits.pool = pool;
            mem_fail_nth(++n);
            int rc = side_init(&b->client, false, &limits);
            if (side_init(&b->server, true, &limits) != 0)
                rc = -ENOMEM;
            h2_pool_free(pool);
            if (rc == 0)
                rc = exchange(b);
            calm = mem_count() < n;
            mem_fail_nth(0);
            told += rc == -ENOMEM;
            whole += rc == 0;
            /* -EPIPE: that stream is over; -EPROTO: nghttp2 said goodbye to the peer */
            assert_true(rc == 0 || rc == -ENOMEM || rc == -EPIPE || rc == -EPROTO);
            side_release(&b->client);
            side_release(&b->server);
            free(b);
            if (mem_live() != 0)
                fail_msg("%zu blocks are left after allocation %lu failed", mem_live(), n);
        } while (!calm);
        assert_true(n > 20 && told > 10);
    }
    limits.pool = NULL;
    assert_true(whole >= 2);
}

/* ---- split points ---- */

static size_t conversation(char *to)
{
    static struct raw r;
    r.n = 0;
    raw_hello(&r);
    raw_headers(&r, F_END_HEADERS, 1, RAW_POST "cookie: a\nx: y\ncookie: b\ncontent-length: 9\n");
    raw_frame(&r, T_DATA, 0, 1, STR("some "));
    raw_frame(&r, T_PRIORITY, 0, 3, STR("\0\0\0\x1\x10"));
    raw_frame(&r, T_DATA, F_PADDED, 1,
        STR("\x2"
            "body\0"));
    r.bytes[r.n++] = 0;
    r.bytes[r.n - 7 - 9 + 2] = 7;
    raw_headers(&r, F_END_HEADERS | F_END_STREAM, 1, "t: u\n");
    raw_frame(&r, T_PING, 0, 0, STR("12345678"));
    raw_frame(&r, T_HEADERS, F_END_STREAM, 3, STR("\x82\x86"));
    raw_frame(&r, T_CONTINUATION, F_END_HEADERS, 3,
        STR("\x84\x41\x01"
            "a"));
    raw_window(&r, 0, 100);
    memcpy(to, r.bytes, r.n);
    return r.n;
}

static void check_conversation(const struct raw_peer *v)
{
    const struct seen *a = &v->s.seen[0], *b = &v->s.seen[1];
    assert_text(a, "POST / HTTP/1.1\r\nhost: a\r\nx: y\r\ncookie: a; b\r\ncontent-length: 9\r\n\r\n"
                   "t: u\r\n\r\n");
    assert_int_equal(a->body_n, 9);
    assert_memory_equal(a->body, "some body", 9);
    assert_int_equal(a->ends, 1);
    assert_int_equal(a->trailers, 1);
    assert_text(b, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_true(b->end_with_head);
    assert_int_equal(v->said.acks_of_ping, 1);
    assert_false(v->said.goaway);
}

static void bytes_split_at_any_place(void **state)
{
    static char bytes[4096];
    size_t n = conversation(bytes);
    (void)state;
    for (size_t at = 1; at <= n; at++) {
        struct raw_peer *v = peer_new(true, &limits);
        v->answer = false;
        assert_int_equal(h2_input(v->s.h, bytes, at, 1), 0);
        peer_take(v);
        assert_int_equal(h2_input(v->s.h, bytes + at, n - at, 1), 0);
        peer_take(v);
        check_conversation(v);
        peer_free(v);
    }
    for (size_t by = 1; by <= 11; by++) {
        struct raw_peer *v = peer_new(true, &limits);
        v->answer = false;
        memcpy(v->in.bytes, bytes, n);
        v->in.n = n;
        peer_feed_by(v, by);
        check_conversation(v);
        peer_free(v);
    }
}

/* A stream that a session holds when it is freed is told nothing. */
static void free_with_open_streams(void **state)
{
    struct raw_peer *v = peer_new(true, &limits);
    (void)state;
    raw_headers(&v->in, F_END_HEADERS, 1, RAW_POST);
    raw_frame(&v->in, T_HEADERS, 0, 3, STR("\x82"));
    peer_feed(v);
    h2_trailers(&v->s.seen[0].st, STR("x: y\r\n"));
    h2_free(v->s.h);
    v->s.h = NULL;
    assert_null(v->s.seen[0].st.h);
    assert_null(v->s.seen[1].st.h);
    assert_int_equal(v->s.seen[0].closes, 0);
    peer_free(v);
}

/* Such a build keeps memory of its own beside each block. */
static bool instrumented(void)
{
    char line[512];
    bool found = false;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof(line), f))
        found |= strstr(line, "/libasan.so") || strstr(line, "/libtsan.so");
    if (f)
        fclose(f);
    return found;
}

/* Resident bytes of this process. */
static size_t resident(void)
{
    char line[256] = "";
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    const char *second = strchr(line, ' ');
    unsigned long pages = second ? strtoul(second, NULL, 10) : 0;
    assert_true(pages > 0);
    return pages * 4096;
}

/* Sessions that served a request and rest: at most 3 KiB each, and they go on where they were. */
static void sessions_that_rest(void **state)
{
    enum { SESSIONS = 1000 };
    static struct raw_peer *peers[2];
    struct h2 **h = calloc(SESSIONS, sizeof(*h));
    static struct raw request;
    (void)state;
    assert_non_null(h);
    limits.pool = h2_pool_new();
    for (int i = 0; i < 2; i++)
        peers[i] = peer_new(true, &limits);
    peer_feed(peers[0]);
    request.n = 0;
    raw_hello(&request);
    raw_frame(&request, T_HEADERS, F_END_HEADERS | F_END_STREAM, 1,
        STR("\x82\x86\x84\x41\x01"
            "a\x40\x05"
            "x-one\x05value\x40\x05x-two\x05value"));
    size_t before = resident();
    for (int i = 0; i < SESSIONS; i++) {
        struct side *s = &peers[0]->s;
        struct h2 *own = s->h;
        h[i] = s->h = h2_new(true, &limits, &pair_events, s);
        assert_int_equal(h2_input(s->h, request.bytes, request.n, 1), 0);
        peer_answers(peers[0]);
        peer_take(peers[0]);
        peer_answers(peers[0]);
        h2_rest(s->h);
        assert_false(h2_waiting(s->h));
        s->h = own;
    }
    size_t each = (resident() - before) / SESSIONS;
    if (each > 3072 && !instrumented())
        fail_msg("%zu bytes each", each);
    for (int i = 0; i < SESSIONS; i++) {
        static struct raw again;
        again.n = 0; /* the fields are in the table */
        raw_frame(
            &again, T_HEADERS, F_END_HEADERS | F_END_STREAM, 3, STR("\x82\x86\x84\xc0\xbe\xbf"));
        raw_frame(&again, T_PING, 0, 0, STR("12345678"));
        assert_int_equal(h2_input(h[i], again.bytes, again.n, 2), 0);
        h2_rest(h[i]); /* a stream is open */
        assert_true(h2_waiting(h[i]));
        for (unsigned k = 0; k < PAIR_STREAMS; k++)
            if (peers[0]->s.seen[k].used && peers[0]->s.seen[k].st.h == h[i]) {
                assert_text(&peers[0]->s.seen[k], "GET / HTTP/1.1\r\nhost: a\r\nx-two: value\r\n"
                                                  "x-one: value\r\n\r\n");
                h2_reset(&peers[0]->s.seen[k].st, H2_CANCEL);
                peers[0]->s.seen[k].used = false;
            }
        h2_free(h[i]);
    }
    free(h);
    h2_pool_free(limits.pool);
    limits.pool = NULL;
    peer_free(peers[0]);
    peer_free(peers[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(bytes_split_at_any_place),
        cmocka_unit_test(free_with_open_streams),
        cmocka_unit_test(sessions_that_rest),
    };
    return unit_run(tests);
}
