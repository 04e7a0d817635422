/* Two sessions of ours that talk to each other. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_H2_PAIR_H
#define OFFSHOOT_TESTS_UNIT_WIRE_H2_PAIR_H

#include "tests/unit/wire/h2_owner.h"

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
