#include "lib/compare/inflate.h"

#include "lib/base/field.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <zlib.h>

#define CODINGS_MAX  4
#define FIRST_BYTES  4096
#define WINDOW_BITS  15
#define WINDOW_GZIP  (WINDOW_BITS + 16)
#define WINDOW_PLAIN (-WINDOW_BITS) /* no head, no checksum: raw deflate */

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_DEFLATE };

struct unpacked {
    char *p;
    uint32_t n, size, max;
    char spare; /* at max: where a byte too many goes */
};

static voidpf take(voidpf opaque, uInt n, uInt size)
{
    (void)opaque;
    return mem_array(n, size);
}

static void give(voidpf opaque, voidpf p)
{
    (void)opaque;
    mem_free(p);
}

static int coding_of(struct str name, enum coding *ret)
{
    if (str_ieq(name, STR("identity")))
        *ret = CODING_IDENTITY;
    else if (str_ieq(name, STR("gzip")) || str_ieq(name, STR("x-gzip")))
        *ret = CODING_GZIP;
    else if (str_ieq(name, STR("deflate")))
        *ret = CODING_DEFLATE;
    else
        return -ENOTSUP;
    return 0;
}

/* The codings in the order in which they were applied. Their number, or -ENOTSUP. */
static int codings_of(struct str list, enum coding ret[CODINGS_MAX])
{
    struct str name;
    int n = 0;
    for (; field_next_element(&list, &name); n++)
        if (n == CODINGS_MAX || coding_of(name, &ret[n]) < 0)
            return -ENOTSUP;
    return n;
}

/* "deflate" is a zlib stream (RFC 9110 8.4.1.2), but some send raw deflate. A zlib head begins with
 * 8 in the low bits, which raw deflate reads as a stored block whose padding is not zero: no
 * encoder writes that, so the two cannot be taken for each other. */
static bool zlib_head(struct str in)
{
    if (in.n < 2)
        return true; /* too short for either */
    unsigned cmf = (unsigned char)in.p[0], flags = (unsigned char)in.p[1];
    return (cmf & 15) == Z_DEFLATED && cmf >> 4 <= WINDOW_BITS - 8 && (cmf << 8 | flags) % 31 == 0;
}

static int window_of(enum coding c, struct str in)
{
    if (c == CODING_GZIP)
        return WINDOW_GZIP;
    return zlib_head(in) ? WINDOW_BITS : WINDOW_PLAIN;
}

/* Twice as much room, at most max. */
static int grow(struct unpacked *u)
{
    uint32_t size = u->size ? u->size : FIRST_BYTES / 2;
    size = size > u->max / 2 ? u->max : size * 2;
    char *p = mem_realloc(u->p, size);
    if (!p)
        return -ENOMEM;
    u->p = p;
    u->size = size;
    return 0;
}

/* Inflates until the room is full or the stream has ended (1). 0, or negative errno. */
static int step(struct unpacked *u, z_stream *z)
{
    if (u->n == u->size && u->size < u->max && grow(u) < 0)
        return -ENOMEM;
    bool full = u->n == u->size;
    z->next_out = (Bytef *)(full ? &u->spare : u->p + u->n);
    z->avail_out = full ? 1 : u->size - u->n;
    uInt room = z->avail_out;
    int r = inflate(z, Z_NO_FLUSH);
    uInt made = room - z->avail_out;
    if (full && made)
        return -E2BIG;
    u->n += made;
    if (r == Z_OK || r == Z_STREAM_END)
        return r == Z_STREAM_END;
    /* The rest is broken, wants a dictionary, or goes nowhere: the input ended too early. */
    return r == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

/* To the end of the input. A gzip stream may be several members in a row (RFC 1952 2.2). */
static int unpack_all(struct unpacked *u, z_stream *z, bool members)
{
    for (;;) {
        int r = step(u, z);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        if (z->avail_in == 0)
            return 0;
        if (!members || inflateReset(z) != Z_OK)
            return -EBADMSG;
    }
}

static int unpack(enum coding c, struct str in, uint32_t max, struct unpacked *ret)
{
    if (in.n > UINT32_MAX)
        return -E2BIG;
    struct unpacked u = {.max = max};
    z_stream z = {
        .zalloc = take, .zfree = give, .next_in = (z_const Bytef *)in.p, .avail_in = (uInt)in.n};
    if (inflateInit2(&z, window_of(c, in)) != Z_OK)
        return -ENOMEM;
    int r = unpack_all(&u, &z, c == CODING_GZIP);
    inflateEnd(&z);
    if (r < 0) {
        mem_free(u.p);
        return r;
    }
    *ret = u;
    return 0;
}

int body_inflate(
    struct str coding, struct str body, uint32_t max, struct str *ret, char **ret_owned)
{
    enum coding codings[CODINGS_MAX];
    int n = codings_of(coding, codings);
    char *owned = NULL;
    if (n < 0)
        return n;
    while (n-- > 0) {
        struct unpacked u;
        if (codings[n] == CODING_IDENTITY || body.n == 0)
            continue;
        int r = unpack(codings[n], body, max, &u);
        mem_free(owned);
        if (r < 0)
            return r;
        owned = u.p;
        body = str_of(u.p, u.n);
    }
    if (body.n > max) {
        mem_free(owned);
        return -E2BIG;
    }
    *ret = body;
    *ret_owned = owned;
    return 0;
}
