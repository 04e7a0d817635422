/* Cases of a server under frames that somebody wrote by hand: what it must answer, whether the
 * bytes come at once, a few at a time or one by one. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_H2_CASES_H
#define OFFSHOOT_TESTS_UNIT_WIRE_H2_CASES_H

#include "tests/unit/wire/h2_raw.h"

static struct h2_limits limits = H2_LIMITS_TEST;

enum want {
    FINE,       /* the request of stream 99 behind it is answered */
    STREAM,     /* RST_STREAM with the code, then FINE */
    CONNECTION, /* GOAWAY with the code, nothing more */
    LEFT,       /* over, without a word: the peer said goodbye */
};

#define FLOW_CONTROL 3u
#define CLOSED       5u
#define FRAME_SIZE   6u
#define COMPRESSION  9u
#define PROTOCOL     1u
#define REFUSED      7u
#define CALM         11u

/* One case: r has the preface and SETTINGS already. */
struct conformance_case {
    const char *name;
    void (*write)(struct raw *r);
    enum want want;
    uint32_t code;
};

#define CASE(name) static void name(struct raw *r)
#define GET_OPEN   raw_headers(r, F_END_HEADERS, 1, RAW_POST)
#define BAD(lines) raw_headers(r, F_END_HEADERS | F_END_STREAM, 1, lines)

static struct raw scratch;

static inline struct str zeros(size_t n)
{
    static char z[70000];
    return str_of(z, n);
}

#define C(name, want, code)                                                                        \
    {                                                                                              \
#name, name, want, code                                                                    \
    }

static inline void judge(const struct conformance_case *c, struct raw_peer *v, size_t by)
{
    const struct said *d = &v->said;
    if (c->want == CONNECTION) {
        if (!d->goaway || d->goaway_code != c->code)
            fail_msg("%s by %zu: goaway %d, code %u", c->name, by, d->goaway, d->goaway_code);
        if (!h2_over(v->s.h) || *h2_reason(v->s.h) == '\0')
            fail_msg("%s by %zu: not over, or no reason", c->name, by);
        if (h2_input(v->s.h, "x", 1, 1) != -EPROTO)
            fail_msg("%s by %zu: goes on", c->name, by);
        return;
    }
    if (c->want == LEFT) {
        assert_true(h2_over(v->s.h) && !d->goaway);
        assert_int_equal(v->s.goaways, 1);
        return;
    }
    if (d->goaway || d->ended[99] != 1)
        fail_msg("%s by %zu: goaway %d code %u, answered %u", c->name, by, d->goaway,
            d->goaway_code, d->ended[99]);
    if (c->want == STREAM && (d->frames[T_RST] != 1 || d->rst_code != c->code))
        fail_msg("%s by %zu: %u resets, code %u", c->name, by, d->frames[T_RST], d->rst_code);
    if (c->want == FINE && d->frames[T_RST])
        fail_msg("%s by %zu: reset of %d", c->name, by, d->rst_id);
}

static inline void run_cases(const struct conformance_case *cases, size_t n)
{
    static const size_t pieces[] = {1, 9, 1 << 20};
    for (size_t i = 0; i < n; i++) {
        const struct conformance_case *c = &cases[i];
        for (size_t k = 0; k < 2 * sizeof(pieces) / sizeof(pieces[0]); k++) {
            limits.checked_once = k % 2;
            struct raw_peer *v = peer_new(true, &limits);
            peer_take(v); /* our SETTINGS: their acknowledgement may come */
            c->write(&v->in);
            if (c->want != CONNECTION)
                raw_get(&v->in, 99);
            peer_feed_by(v, pieces[k / 2]);
            judge(c, v, pieces[k / 2]);
            peer_free(v);
        }
    }
}

#endif
