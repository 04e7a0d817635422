/* Two sessions of ours that talk to each other, and owners that note what they are told. */
#ifndef OFFSHOOT_TESTS_H2_PAIR_H
#define OFFSHOOT_TESTS_H2_PAIR_H

#include "lib/base/mem.h"
#include "lib/wire/h2.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PAIR_STREAMS 64
#define PAIR_BLOCK   65536u

#define H2_LIMITS_TEST                                                                             \
    {                                                                                              \
        .streams = 32, .window = 65535, .connection_hold = 1 << 20, .head_bytes = 32768,           \
        .fields = 100, .odd = 200, .odd_refill = 10, .extended = true                              \
    }

/* One stream as its owner sees it. */
struct seen {
    struct h2_stream st;
    struct buf in;     /* heads, and trailers */
    char body[200000]; /* what `data` brought */
    size_t body_n;
    unsigned heads, trailers, interims, ends, wakes, closes, bads;
    bool end_with_head, unprocessed, used;
    uint32_t code;
    enum h2_error error;
    enum h2_kind bad_kind;
};

struct side {
    struct h2 *h;
    struct bufpool pool;
    struct buf out;
    struct seen *seen; /* PAIR_STREAMS of them */
    unsigned opened, wakes, goaways, odd[H2_ODD_COUNT];
    int32_t goaway_last;
    uint32_t goaway_code;
    bool refuse, no_block, answer_bad, hold; /* hold: data is not credited by itself */
    uint64_t now;
};

static inline struct seen *seen_of(struct h2_stream *st)
{
    return (struct seen *)(void *)((char *)st - offsetof(struct seen, st));
}

static inline struct seen *side_take(struct side *s)
{
    for (unsigned i = 0; i < PAIR_STREAMS; i++)
        if (!s->seen[i].used) {
            buf_drop(&s->seen[i].in, &s->pool);
            memset(&s->seen[i], 0, sizeof(s->seen[i]));
            s->seen[i].used = true;
            return &s->seen[i];
        }
    return NULL;
}

static inline struct h2_stream *pair_open(struct h2 *h, void *owner)
{
    struct side *s = owner;
    struct seen *n = s->refuse ? NULL : side_take(s);
    assert_ptr_equal(h2_owner(h), s);
    if (!n)
        return NULL;
    s->opened++;
    return &n->st;
}

static inline struct buf *pair_block(struct h2_stream *st, enum h2_kind kind)
{
    struct side *s = h2_owner(st->h);
    (void)kind;
    if (s->no_block || buf_hold(&seen_of(st)->in, &s->pool) != 0)
        return NULL;
    return &seen_of(st)->in;
}

static inline void pair_head(struct h2_stream *st, enum h2_kind kind, bool end)
{
    struct seen *n = seen_of(st);
    if (kind == H2_TRAILERS)
        n->trailers++;
    else if (kind == H2_REPLY && st->text.status < 200)
        n->interims++;
    else
        n->heads++;
    n->end_with_head |= end && kind != H2_TRAILERS;
}

static inline bool pair_bad_head(struct h2_stream *st, enum h2_kind kind, enum h2_error error)
{
    struct seen *n = seen_of(st);
    n->bads++;
    n->bad_kind = kind;
    n->error = error;
    return ((struct side *)h2_owner(st->h))->answer_bad;
}

static inline void pair_data(struct h2_stream *st, const char *p, size_t len)
{
    struct seen *n = seen_of(st);
    size_t room = n->body_n < sizeof(n->body) ? sizeof(n->body) - n->body_n : 0;
    memcpy(n->body + sizeof(n->body) - room, p, len < room ? len : room);
    n->body_n += len;
}

static inline void pair_end(struct h2_stream *st)
{
    seen_of(st)->ends++;
}

static inline void pair_close(struct h2_stream *st, uint32_t code, bool unprocessed)
{
    struct seen *n = seen_of(st);
    assert_null(st->h);
    n->closes++;
    n->code = code;
    n->unprocessed = unprocessed;
}

static inline void pair_wake(struct h2 *h, struct h2_stream *st)
{
    struct side *s = h2_owner(h);
    if (st)
        seen_of(st)->wakes++;
    else
        s->wakes++;
}

static inline void pair_odd(struct h2 *h, enum h2_odd kind)
{
    ((struct side *)h2_owner(h))->odd[kind]++;
}

static inline void pair_goaway(struct h2 *h, int32_t last, uint32_t code)
{
    struct side *s = h2_owner(h);
    s->goaways++;
    s->goaway_last = last;
    s->goaway_code = code;
}

static const struct h2_events pair_events = {pair_open, pair_block, pair_head, pair_bad_head,
    pair_data, pair_end, pair_close, pair_wake, pair_odd, pair_goaway};

static inline int side_init(struct side *s, bool server, const struct h2_limits *limits)
{
    memset(s, 0, sizeof(*s));
    bufpool_init(&s->pool, PAIR_BLOCK, 4, 1000);
    s->seen = calloc(PAIR_STREAMS, sizeof(*s->seen));
    s->now = 1000;
    s->h = h2_new(server, limits, &pair_events, s);
    return s->h ? 0 : -ENOMEM;
}

static inline void side_release(struct side *s)
{
    h2_free(s->h);
    for (unsigned i = 0; i < PAIR_STREAMS; i++) {
        assert_null(s->seen[i].st.h);
        buf_drop(&s->seen[i].in, &s->pool);
    }
    free(s->seen);
    buf_drop(&s->out, &s->pool);
    bufpool_release(&s->pool);
}

static inline void side_credit(struct side *s)
{
    for (unsigned i = 0; !s->hold && i < PAIR_STREAMS; i++)
        if (s->seen[i].st.h)
            h2_credit(&s->seen[i].st, s->seen[i].st.unread);
}

/* Everything that waits in `from` goes to `to`. True when there was something. */
static inline bool side_move(struct side *from, struct side *to, int *ret_rc)
{
    bool moved = false;
    do {
        if (buf_hold(&from->out, &from->pool) != 0)
            fail();
        *ret_rc = h2_output(from->h, &from->out);
        if (*ret_rc < 0 || buf_len(&from->out) == 0)
            break;
        int rc = h2_input(to->h, buf_head(&from->out), buf_len(&from->out), to->now);
        buf_consume(&from->out, buf_len(&from->out));
        moved = true;
        if (rc < 0)
            *ret_rc = rc;
        side_credit(to);
    } while (*ret_rc > 0);
    return moved;
}

/* Until nothing moves any more. The worst result. */
static inline int pair_run(struct side *a, struct side *b)
{
    int worst = 0, rc;
    for (bool moved = true; moved && worst >= 0;) {
        moved = side_move(a, b, &rc);
        worst = rc < worst ? rc : worst;
        moved |= side_move(b, a, &rc);
        worst = rc < worst ? rc : worst;
    }
    return worst;
}

static inline void put_text(struct side *s, struct buf *b, const char *text)
{
    assert_int_equal(buf_hold(b, &s->pool), 0);
    assert_true(buf_put(b, text, strlen(text)));
}

static inline int side_request(struct side *s, struct seen *n, const char *text, bool last)
{
    struct buf b = {0};
    put_text(s, &b, text);
    int rc = h2_request(s->h, &n->st, &b, STR("http"), last);
    if (rc == 0)
        assert_int_equal(buf_len(&b), 0);
    buf_drop(&b, &s->pool);
    return rc;
}

static inline int side_reply(struct side *s, struct seen *n, const char *text, bool last)
{
    struct buf b = {0};
    put_text(s, &b, text);
    int rc = h2_reply(&n->st, &b, last);
    buf_drop(&b, &s->pool);
    return rc;
}

/* Sends of *body what goes. */
static inline int side_send(struct side *s, struct seen *n, struct str *body, bool last)
{
    struct buf none = {0};
    assert_int_equal(buf_hold(&s->out, &s->pool), 0);
    return h2_send(&n->st, &s->out, &none, body, last);
}

static inline void assert_text(const struct seen *n, const char *text)
{
    char got[4096];
    snprintf(got, sizeof(got), "%.*s", (int)buf_len(&n->in), n->in.data ? buf_head(&n->in) : "");
    assert_string_equal(got, text);
}

#endif
