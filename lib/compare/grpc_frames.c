#include "lib/compare/grpc_int.h"

#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/compare/inflate.h"
#include <errno.h>

#define HEAD        5 /* flag, length (big endian) */
#define FLAG_PLAIN  0
#define FLAG_PACKED 1

/* The next frame: 1, 0 at the end, -EBADMSG. */
static int next_frame(struct str *rest, bool *ret_packed, struct str *ret)
{
    if (rest->n == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)rest->p;
    if (rest->n < HEAD || p[0] > FLAG_PACKED)
        return -EBADMSG;
    size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (n > rest->n - HEAD)
        return -EBADMSG;
    *ret_packed = p[0] != FLAG_PLAIN;
    *ret = str_of(rest->p + HEAD, n);
    *rest = str_from(*rest, HEAD + n);
    return 1;
}

/* The number of frames, or -EBADMSG. */
static int count_frames(struct str body, uint32_t max, size_t *ret)
{
    struct str message;
    bool packed;
    int r;
    size_t n = 0;
    while ((r = next_frame(&body, &packed, &message)) == 1)
        if (++n > max)
            return -EBADMSG;
    *ret = n;
    return r;
}

/* Takes what was unpacked off *max. */
static int undo(struct pool *pool, uint32_t *max, struct grpc_frame *f)
{
    bool gzip = str_starts(f->message, STR("\x1f\x8b"));
    char *owned = NULL;
    int r =
        body_inflate(gzip ? STR("gzip") : STR("deflate"), f->message, *max, &f->message, &owned);
    if (r == -EBADMSG) {
        f->opaque = true;
        return 0;
    }
    if (r < 0)
        return r == -ENOMEM ? r : -EBADMSG;
    *max -= (uint32_t)f->message.n;
    r = owned ? pool_defer(pool, mem_free, owned) : 0;
    if (r < 0)
        mem_free(owned);
    return r;
}

int grpc_frames_split(struct pool *pool, struct str body, uint32_t max_frames, uint32_t max_bytes,
    struct grpc_frames *ret)
{
    struct grpc_frames all = {0};
    int r = count_frames(body, max_frames, &all.n);
    if (r < 0)
        return r;
    all.item = pool_zalloc(pool, (all.n ? all.n : 1) * sizeof(*all.item));
    if (!all.item)
        return -ENOMEM;
    for (size_t i = 0; i < all.n; i++) {
        bool packed;
        next_frame(&body, &packed, &all.item[i].message);
        r = packed ? undo(pool, &max_bytes, &all.item[i]) : 0;
        if (r < 0)
            return r;
    }
    *ret = all;
    return 0;
}

bool wire_is_message(struct str bytes)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) == 1)
        continue;
    return r == 0;
}

bool wire_is_text(struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        bool space = i > 0 && (c == '\t' || c == '\n' || c == '\r');
        if ((c < ' ' && !space) || c == 0x7f)
            return false;
    }
    return utf8_check(bytes) == bytes.n;
}
