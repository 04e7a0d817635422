/* An owner of HTTP/2 streams that notes what it is told. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_H2_OWNER_H
#define OFFSHOOT_TESTS_UNIT_WIRE_H2_OWNER_H

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

#endif
