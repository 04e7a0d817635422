/* A cursor into a block, for writing heads: one check a piece, one verdict at the end. */
#ifndef OFFSHOOT_PROXY_OUT_H
#define OFFSHOOT_PROXY_OUT_H

#include "lib/base/buf.h"
#include "lib/base/bytes.h"
#include "lib/base/field.h"
#include "lib/base/str.h"
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

struct out {
    char *p, *end;
    bool full;
};

static inline struct out out_begin(struct buf *b)
{
    return (struct out){buf_tail(b), b->data + b->size, false};
}

static inline int out_end(struct out *o, struct buf *b)
{
    if (o->full)
        return -ENOBUFS;
    b->end = (uint32_t)(o->p - b->data);
    return 0;
}

static inline void put(struct out *o, const char *p, size_t n)
{
    char *to = o->p;
    if ((size_t)(o->end - to) < n) {
        o->full = true;
        return;
    }
    o->p = to + n;
    bytes_copy(to, p, n);
}

static inline void put_str(struct out *o, struct str s)
{
    put(o, s.p, s.n);
}

/* The compiler knows n here: a literal is stored without any call. */
static inline __attribute__((always_inline)) void put_fixed(struct out *o, const char *p, size_t n)
{
    if ((size_t)(o->end - o->p) < n) {
        o->full = true;
        return;
    }
    memcpy(o->p, p, n);
    o->p += n;
}
#define PUT(o, literal) put_fixed(o, literal, sizeof(literal) - 1)

static inline void put_u64(struct out *o, uint64_t v)
{
    char digits[20];
    char *p = digits + sizeof digits;
    while (v >= 10) {
        *--p = (char)('0' + v % 10);
        v /= 10;
    }
    *--p = (char)('0' + v);
    put(o, p, (size_t)(digits + sizeof digits - p));
}

#endif
