/* Protocol Buffers wire format, as much of it as the graph's records need.
 *
 * Written by hand, not by generated code, for two reasons: records are hashed, so that there may be
 * one encoding only (ascending fields, shortest varints, no defaults written), and they are read
 * without an allocation a field. proto/offshoot/v1/graph.proto describes the same bytes. */
#ifndef OFFSHOOT_GRAPH_PB_H
#define OFFSHOOT_GRAPH_PB_H

#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

/* Growing output. Once an allocation failed, `failed` stays set and writes do nothing. */
struct pb_out {
    uint8_t *p;
    size_t n, size;
    bool failed;
};

void pb_release(struct pb_out *o);
void pb_raw(struct pb_out *o, const void *p, size_t n);
/* Where the next n bytes go, to be written by the caller, who adds to o->n what it wrote. NULL:
 * memory is out. */
uint8_t *pb_room(struct pb_out *o, size_t n);
void pb_varint(struct pb_out *o, uint64_t v);
/* Each writes tag and value. Zero and empty are written too. */
void pb_uint(struct pb_out *o, uint32_t field, uint64_t v);
void pb_sint(struct pb_out *o, uint32_t field, int64_t v); /* zigzag */
void pb_fixed32(struct pb_out *o, uint32_t field, uint32_t v);
void pb_fixed64(struct pb_out *o, uint32_t field, uint64_t v);
void pb_bytes(struct pb_out *o, uint32_t field, struct str s);
/* A nested message: what is written between begin and end. `at` is what begin returned. */
size_t pb_begin(struct pb_out *o, uint32_t field);
void pb_end(struct pb_out *o, size_t at);

/* Zero and empty, which are defaults, are left out. */
static inline void pb_opt_uint(struct pb_out *o, uint32_t field, uint64_t v)
{
    if (v)
        pb_uint(o, field, v);
}
static inline void pb_opt_bytes(struct pb_out *o, uint32_t field, struct str s)
{
    if (s.n)
        pb_bytes(o, field, s);
}

static inline struct str pb_str(const struct pb_out *o)
{
    return str_of((const char *)o->p, o->n);
}

/* Input: a view of bytes, read front to back. */
struct pb_in {
    const uint8_t *p, *end;
};

struct pb_field {
    uint32_t number;
    uint8_t wire;     /* enum pb_wire */
    uint64_t value;   /* VARINT, FIXED32, FIXED64 */
    struct str bytes; /* BYTES: inside the input */
};

static inline struct pb_in pb_in_of(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    return (struct pb_in){p, s.n ? p + s.n : p};
}

/* The next field: 1, 0 at the end, -EBADMSG when the bytes are no field. */
int pb_next(struct pb_in *in, struct pb_field *ret);
/* A bare varint, for packed lists: 1, 0 at the end, -EBADMSG. */
int pb_next_varint(struct pb_in *in, uint64_t *ret);

static inline int64_t pb_zigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
