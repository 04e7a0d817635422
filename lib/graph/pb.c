#include "lib/graph/pb.h"

#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include <errno.h>

#define VARINT_MAX 10 /* bytes of a 64-bit varint */

void pb_release(struct pb_out *o)
{
    mem_free(o->p);
    *o = (struct pb_out){0};
}

static bool grow(struct pb_out *o, size_t n)
{
    if (o->failed)
        return false;
    if (n > SIZE_MAX / 4 - o->n) {
        o->failed = true;
        return false;
    }
    size_t size = o->size ? o->size * 2 : 512;
    while (size < o->n + n)
        size *= 2;
    uint8_t *p = mem_realloc(o->p, size);
    if (!p) {
        o->failed = true;
        return false;
    }
    o->p = p;
    o->size = size;
    return true;
}

static inline bool reserve(struct pb_out *o, size_t n)
{
    return (!o->failed && n <= o->size - o->n) || grow(o, n);
}

uint8_t *pb_room(struct pb_out *o, size_t n)
{
    return reserve(o, n) ? o->p + o->n : NULL;
}

static size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

void pb_raw(struct pb_out *o, const void *p, size_t n)
{
    if (n == 0 || !reserve(o, n))
        return;
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

void pb_varint(struct pb_out *o, uint64_t v)
{
    if (reserve(o, VARINT_MAX))
        o->n += put_varint(o->p + o->n, v);
}

void pb_uint(struct pb_out *o, uint32_t field, uint64_t v)
{
    if (!reserve(o, 2 * VARINT_MAX))
        return;
    o->n += put_varint(o->p + o->n, (uint64_t)field << 3 | PB_VARINT);
    o->n += put_varint(o->p + o->n, v);
}

void pb_sint(struct pb_out *o, uint32_t field, int64_t v)
{
    pb_uint(o, field, ((uint64_t)v << 1) ^ (uint64_t)(v < 0 ? -1 : 0));
}

void pb_fixed32(struct pb_out *o, uint32_t field, uint32_t v)
{
    if (!reserve(o, VARINT_MAX + 4))
        return;
    o->n += put_varint(o->p + o->n, (uint64_t)field << 3 | PB_FIXED32);
    for (unsigned i = 0; i < 4; i++)
        o->p[o->n++] = (uint8_t)(v >> (8 * i));
}

void pb_fixed64(struct pb_out *o, uint32_t field, uint64_t v)
{
    if (!reserve(o, VARINT_MAX + 8))
        return;
    o->n += put_varint(o->p + o->n, (uint64_t)field << 3 | PB_FIXED64);
    bytes_put_le64(o->p + o->n, v);
    o->n += 8;
}

void pb_bytes(struct pb_out *o, uint32_t field, struct str s)
{
    if (!reserve(o, 2 * VARINT_MAX))
        return;
    o->n += put_varint(o->p + o->n, (uint64_t)field << 3 | PB_BYTES);
    o->n += put_varint(o->p + o->n, s.n);
    pb_raw(o, s.p, s.n);
}

size_t pb_begin(struct pb_out *o, uint32_t field)
{
    if (!reserve(o, 2 * VARINT_MAX))
        return 0;
    o->n += put_varint(o->p + o->n, (uint64_t)field << 3 | PB_BYTES);
    o->p[o->n++] = 0; /* the length: one byte is nearly always enough */
    return o->n;
}

void pb_end(struct pb_out *o, size_t at)
{
    if (!reserve(o, VARINT_MAX))
        return;
    size_t n = o->n - at;
    uint8_t length[VARINT_MAX];
    size_t width = put_varint(length, n);
    if (width > 1) {
        memmove(o->p + at + width - 1, o->p + at, n);
        o->n += width - 1;
    }
    memcpy(o->p + at - 1, length, width);
}

int pb_next_varint(struct pb_in *in, uint64_t *ret)
{
    if (in->p == in->end)
        return 0;
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->p == in->end)
            return -EBADMSG;
        uint8_t b = *in->p++;
        if (shift == 63 && b > 1)
            return -EBADMSG;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *ret = v;
            return 1;
        }
    }
    return -EBADMSG;
}

static int next_fixed(struct pb_in *in, unsigned n, uint64_t *ret)
{
    if ((size_t)(in->end - in->p) < n)
        return -EBADMSG;
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)in->p[i] << (8 * i);
    in->p += n;
    *ret = v;
    return 1;
}

int pb_next(struct pb_in *in, struct pb_field *ret)
{
    uint64_t tag, v = 0;
    int r = pb_next_varint(in, &tag);
    if (r <= 0)
        return r;
    if (tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1)
        return -EBADMSG;
    struct pb_field f = {.number = (uint32_t)(tag >> 3), .wire = tag & 7};
    switch (f.wire) {
    case PB_VARINT:
        r = pb_next_varint(in, &v);
        break;
    case PB_FIXED32:
        r = next_fixed(in, 4, &v);
        break;
    case PB_FIXED64:
        r = next_fixed(in, 8, &v);
        break;
    case PB_BYTES:
        r = pb_next_varint(in, &v);
        if (r == 1 && v > (uint64_t)(in->end - in->p))
            r = -EBADMSG;
        if (r == 1) {
            f.bytes = str_of((const char *)in->p, (size_t)v);
            in->p += v;
        }
        break;
    default:
        r = -EBADMSG;
    }
    if (r != 1)
        return -EBADMSG;
    f.value = v;
    *ret = f;
    return 1;
}
