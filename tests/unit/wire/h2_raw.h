/* HTTP/2 by hand: frames written byte by byte for one session of ours (HPACK: literals only), and
 * what it says taken apart again. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_H2_RAW_H
#define OFFSHOOT_TESTS_UNIT_WIRE_H2_RAW_H

#include "tests/unit/wire/h2_pair.h"

enum { T_DATA, T_HEADERS, T_PRIORITY, T_RST, T_SETTINGS, T_PUSH, T_PING, T_GOAWAY, T_WINDOW };
enum { T_CONTINUATION = 9 };
#define F_END_STREAM  1u
#define F_ACK         1u
#define F_END_HEADERS 4u
#define F_PADDED      8u
#define F_PRIORITY    32u

#define RAW_GET  ":method: GET\n:scheme: http\n:path: /\n:authority: a\n"
#define RAW_POST ":method: POST\n:scheme: http\n:path: /\n:authority: a\n"

struct raw {
    char bytes[262144];
    size_t n;
};

/* What was said, in all. */
struct said {
    unsigned frames[256], acks_of_ping, acks_of_settings;
    bool goaway;
    uint32_t goaway_code, goaway_last;
    int32_t rst_id; /* the last one */
    uint32_t rst_code;
    uint32_t window_of[128]; /* increments by stream, 0 the connection */
    uint32_t data_of[128];
    uint32_t ended[128]; /* END_STREAM by stream */
    uint32_t largest_data;
    uint32_t setting[16]; /* value + 1, 0: not said */
};

struct raw_peer {
    struct side s;
    struct raw in;
    struct said said;
    bool answer; /* each whole request is answered 200 at once */
};

static inline void raw_add(struct raw *r, const char *p, size_t n)
{
    assert_true(n <= sizeof(r->bytes) - r->n);
    if (n)
        memcpy(r->bytes + r->n, p, n);
    r->n += n;
}

static inline void raw_u(struct raw *r, uint32_t v, int bytes)
{
    while (bytes-- > 0) {
        char c = (char)(v >> (8 * bytes));
        raw_add(r, &c, 1);
    }
}

static inline void raw_frame(
    struct raw *r, unsigned type, unsigned flags, uint32_t id, struct str payload)
{
    raw_u(r, (uint32_t)payload.n, 3);
    raw_u(r, type, 1);
    raw_u(r, flags, 1);
    raw_u(r, id, 4);
    raw_add(r, payload.p, payload.n);
}

static inline void raw_number(struct raw *r, uint32_t n)
{
    raw_u(r, n < 127 ? n : 127, 1);
    if (n < 127)
        return;
    for (n -= 127; n >= 128; n >>= 7)
        raw_u(r, 128 | (n & 127), 1);
    raw_u(r, n, 1);
}

/* Fields as "name: value\n" lines; literals, never indexed (RFC 7541 section 6.2.3). */
static inline void raw_fields(struct raw *r, const char *lines)
{
    while (*lines) {
        const char *colon = strstr(lines + 1, ": ");
        const char *end = colon ? strchr(colon, '\n') : NULL;
        if (!end) {
            fail_msg("no field: %s", lines);
            return;
        }
        raw_u(r, 0x10, 1);
        raw_number(r, (uint32_t)(colon - lines));
        raw_add(r, lines, (size_t)(colon - lines));
        raw_number(r, (uint32_t)(end - colon - 2));
        raw_add(r, colon + 2, (size_t)(end - colon - 2));
        lines = end + 1;
    }
}

static inline void raw_headers(struct raw *r, unsigned flags, uint32_t id, const char *lines)
{
    static struct raw block;
    block.n = 0;
    raw_fields(&block, lines);
    raw_frame(r, T_HEADERS, flags, id, str_of(block.bytes, block.n));
}

static inline void raw_get(struct raw *r, uint32_t id)
{
    raw_headers(r, F_END_HEADERS | F_END_STREAM, id, RAW_GET);
}

static inline void raw_hello(struct raw *r)
{
    raw_add(r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_frame(r, T_SETTINGS, 0, 0, STR(""));
}

static inline void raw_setting(struct raw *r, unsigned id, uint32_t value)
{
    static struct raw entry;
    entry.n = 0;
    raw_u(&entry, id, 2);
    raw_u(&entry, value, 4);
    raw_frame(r, T_SETTINGS, 0, 0, str_of(entry.bytes, entry.n));
}

static inline void raw_window(struct raw *r, uint32_t id, uint32_t by)
{
    char p[4] = {(char)(by >> 24), (char)(by >> 16), (char)(by >> 8), (char)by};
    raw_frame(r, T_WINDOW, 0, id, str_of(p, 4));
}

static inline uint32_t raw_number_at(const char *p, int bytes)
{
    uint32_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | (uint8_t)*p++;
    return v;
}

static inline void said_frame(
    struct said *d, unsigned type, unsigned flags, uint32_t id, const char *p, uint32_t n)
{
    d->frames[type]++;
    uint32_t slot = id < 128 ? id : 127;
    if ((type == T_DATA || type == T_HEADERS) && flags & F_END_STREAM)
        d->ended[slot]++;
    switch (type) {
    case T_DATA:
        d->data_of[slot] += n;
        if (n > d->largest_data)
            d->largest_data = n;
        break;
    case T_RST:
        d->rst_id = (int32_t)id;
        d->rst_code = raw_number_at(p, 4);
        break;
    case T_SETTINGS:
        d->acks_of_settings += flags & F_ACK;
        for (uint32_t i = 0; i + 6 <= n; i += 6)
            d->setting[raw_number_at(p + i, 2) & 15] = raw_number_at(p + i + 2, 4) + 1;
        break;
    case T_PING:
        d->acks_of_ping += flags & F_ACK;
        break;
    case T_GOAWAY:
        d->goaway = true;
        d->goaway_last = raw_number_at(p, 4);
        d->goaway_code = raw_number_at(p + 4, 4);
        break;
    case T_WINDOW:
        d->window_of[slot] += raw_number_at(p, 4);
        break;
    default:
        break;
    }
}

/* Takes everything that the session says. */
static inline void peer_take(struct raw_peer *v)
{
    int rc;
    do {
        assert_int_equal(buf_hold(&v->s.out, &v->s.pool), 0);
        rc = h2_output(v->s.h, &v->s.out);
        const char *p = buf_head(&v->s.out);
        uint32_t n = buf_len(&v->s.out), at = 0;
        if (!v->s.h || n == 0)
            break;
        if (n >= 24 && memcmp(p, "PRI ", 4) == 0)
            at = 24;
        while (at + 9 <= n) {
            uint32_t len = raw_number_at(p + at, 3);
            assert_true(at + 9 + len <= n);
            said_frame(&v->said, (uint8_t)p[at + 3], (uint8_t)p[at + 4],
                raw_number_at(p + at + 5, 4), p + at + 9, len);
            at += 9 + len;
        }
        assert_int_equal(at, n);
        buf_consume(&v->s.out, n);
    } while (rc > 0);
}

static inline void peer_answers(struct raw_peer *v)
{
    for (unsigned i = 0; v->answer && i < PAIR_STREAMS; i++) {
        struct seen *n = &v->s.seen[i];
        if (n->used && n->st.h && n->heads && !n->st.head_out && (n->end_with_head || n->ends)) {
            assert_int_equal(side_reply(&v->s, n, "HTTP/1.1 200 OK\r\n\r\n", true), 0);
        }
        if (n->used && !n->st.h && n->closes)
            n->used = false;
    }
}

/* Feeds what was written so far, whole or `by` bytes at a time; takes what is said. */
static inline int peer_feed_by(struct raw_peer *v, size_t by)
{
    int rc = 0;
    for (size_t at = 0; at < v->in.n; at += by) {
        size_t n = v->in.n - at < by ? v->in.n - at : by;
        rc = h2_input(v->s.h, v->in.bytes + at, n, v->s.now);
        side_credit(&v->s);
        peer_answers(v);
        if (rc == -ENOMEM)
            break;
        peer_take(v);
    }
    v->in.n = 0;
    return rc;
}

static inline int peer_feed(struct raw_peer *v)
{
    return peer_feed_by(v, sizeof(v->in.bytes));
}

static inline struct raw_peer *peer_new(bool server, const struct h2_limits *limits)
{
    struct raw_peer *v = calloc(1, sizeof(*v));
    assert_non_null(v);
    assert_int_equal(side_init(&v->s, server, limits), 0);
    v->answer = server;
    if (server)
        raw_hello(&v->in);
    else
        raw_frame(&v->in, T_SETTINGS, 0, 0, STR(""));
    return v;
}

static inline void peer_free(struct raw_peer *v)
{
    side_release(&v->s);
    free(v);
}

#endif
