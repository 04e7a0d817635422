/* A peer by hand for one session of ours: what it is fed, and what it says taken apart again. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_H2_RAW_H
#define OFFSHOOT_TESTS_UNIT_WIRE_H2_RAW_H

#include "tests/unit/wire/h2_bytes.h"

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
