/* Heads that we encode ourselves, read by nghttp2: random fields, tables of all sizes that change
 * while requests go, heads that nghttp2 encodes in between. */
#include "tests/unit/wire/h2_pair.h"
#include <nghttp2/nghttp2.h>

static struct h2_limits limits = H2_LIMITS_TEST;

struct reader {
    nghttp2_session *s;
    char fields[65536];
    size_t n;
    unsigned ended;
};

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nn,
    const uint8_t *value, size_t vn, uint8_t flags, void *user)
{
    struct reader *r = user;
    (void)s;
    (void)f;
    (void)flags;
    if (name[0] == ':')
        return 0;
    r->n += (size_t)snprintf(r->fields + r->n, sizeof(r->fields) - r->n, "%.*s: %.*s\r\n", (int)nn,
        (const char *)name, (int)vn, (const char *)value);
    return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
    struct reader *r = user;
    if (f->hd.type <= NGHTTP2_HEADERS && f->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        nghttp2_nv nv = {(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t) "204", 7, 3, 0};
        r->ended++;
        assert_int_equal(nghttp2_submit_response(s, f->hd.stream_id, &nv, 1, NULL), 0);
    }
    return 0;
}

static void reader_init(struct reader *r)
{
    nghttp2_session_callbacks *c;
    memset(r, 0, sizeof(*r));
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_server_new(&r->s, c, r);
    nghttp2_session_callbacks_del(c);
}

static void take(struct side *s, struct reader *r)
{
    const uint8_t *bytes;
    ssize_t n;
    for (bool moved = true; moved;) {
        moved = false;
        assert_int_equal(h2_output(s->h, &s->out), 0);
        uint32_t len = buf_len(&s->out);
        if (len) {
            n = nghttp2_session_mem_recv(r->s, (const uint8_t *)buf_head(&s->out), len);
            assert_int_equal(n, len);
            buf_consume(&s->out, len);
            moved = true;
        }
        while ((n = nghttp2_session_mem_send(r->s, &bytes)) > 0) {
            assert_int_equal(h2_input(s->h, (const char *)bytes, (size_t)n, 1), 0);
            moved = true;
        }
        assert_int_equal(n, 0);
    }
}

static uint32_t draw(uint32_t below)
{
    static uint64_t seed = 88172645463325252u;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % below;
}

/* Lines of fields, some of them often, some once; none that is left out. */
static size_t random_lines(char *to)
{
    static const char *const names[] = {"accept", "accept-encoding", "user-agent", "x-a", "x-bb",
        "content-type", "cookie", "authorization", "etag", "date", "baggage", "traceparent", "via",
        "access-control-allow-origin", "strict-transport-security", "te-x", "a",
        "x-a-name-longer-than-any-in-the-table", "if-modified-since", "location"};
    size_t n = 0;
    for (unsigned i = draw(30); i > 0; i--) {
        const char *name = names[draw(sizeof(names) / sizeof(names[0]))];
        unsigned len = draw(4) ? draw(20) : draw(300), kind = draw(3);
        n += (size_t)sprintf(to + n, "%s: ", name);
        for (unsigned k = 0; k < len; k++)
            to[n++] = kind == 0 ? 'v' : kind == 1 ? (char)('a' + draw(3)) : (char)('!' + draw(90));
        n += (size_t)sprintf(to + n, "\r\n");
    }
    to[n] = '\0';
    return n;
}

static void ask(struct side *s, struct reader *r, unsigned i)
{
    static char lines[16384], text[20000];
    struct seen *n = side_take(s);
    random_lines(lines);
    sprintf(text, "%s /%u HTTP/1.1\r\nhost: h%u\r\n%s\r\n", draw(9) ? "GET" : "HEAD",
        draw(2) ? i : 0, draw(5), lines);
    r->n = 0;
    r->ended = 0;
    h2_attach(s->h, draw(4) ? &s->out : NULL);
    assert_int_equal(side_request(s, n, text, draw(3)), 0);
    if (!n->st.end_out) {
        struct str body = STR("x");
        if (draw(2)) {
            assert_int_equal(h2_trailers(&n->st, STR("x-a: v\r\nlast: one\r\n")), 0);
            strcat(lines, "x-a: v\r\nlast: one\r\n");
        }
        assert_int_equal(side_send(s, n, &body, true), 0);
    }
    take(s, r);
    assert_string_equal(r->fields, r->n ? lines : "");
    assert_int_equal(r->n, strlen(lines));
    r->fields[0] = '\0';
    assert_int_equal(r->ended, 1);
    assert_int_equal(n->closes, 1);
    n->used = false;
}

static void random_heads(void **state)
{
    static struct reader r;
    static const uint32_t sizes[] = {4096, 0, 64, 100, 400, 1000, 4096, 65536};
    (void)state;
    for (int pooled = 0; pooled < 2; pooled++) {
        struct side s;
        limits.pool = pooled ? h2_pool_new() : NULL;
        assert_int_equal(side_init(&s, false, &limits), 0);
        h2_pool_free(limits.pool);
        assert_int_equal(buf_hold(&s.out, &s.pool), 0);
        reader_init(&r);
        nghttp2_submit_settings(r.s, 0, NULL, 0);
        take(&s, &r);
        for (unsigned i = 0; i < 3000; i++) {
            for (unsigned k = draw(20) == 0 ? 1 + draw(3) : 0; k > 0; k--) {
                nghttp2_settings_entry e = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, sizes[draw(8)]};
                assert_int_equal(nghttp2_submit_settings(r.s, 0, &e, 1), 0);
                if (draw(2))
                    take(&s, &r);
            }
            s.now += 1000;
            h2_input(s.h, NULL, 0, s.now); /* time goes by: SETTINGS are paid for */
            ask(&s, &r, i);
            if (draw(5) == 0)
                h2_rest(s.h);
        }
        nghttp2_session_del(r.s);
        side_release(&s);
        limits.pool = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_heads),
    };
    return unit_run(tests);
}
