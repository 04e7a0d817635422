/* Messages of gRPC: one byte that says whether it is compressed, four of length, the message.
 *
 * A message that lies whole in the bytes given is told in place. One in pieces is joined in a block
 * that grows with what has come, so that a length alone costs the receiver nothing. */
#include "lib/base/mem.h"
#include "lib/wire/grpc.h"
#include <errno.h>

#define ROOM_LEAST 4096u

/* Size of the block that holds got bytes of a message of need bytes. */
static uint32_t room_for(uint32_t got, uint32_t need)
{
    uint64_t room = ROOM_LEAST;
    if (got == 0)
        return 0;
    while (room < got)
        room *= 2;
    return room < need ? (uint32_t)room : need;
}

static int append(struct grpc_frames *f, struct str piece)
{
    uint32_t after = f->got + (uint32_t)piece.n;
    uint32_t room = room_for(after, f->need);
    if (room != room_for(f->got, f->need)) {
        uint8_t *body = mem_realloc(f->body, room);
        if (!body)
            return -ENOMEM;
        f->body = body;
    }
    memcpy(f->body + f->got, piece.p, piece.n);
    f->got = after;
    return 0;
}

/* Tells one message; f is at the start of the next already, so fn may release it. */
static int tell(struct grpc_frames *f, struct str message, grpc_frame_fn *fn, void *arg)
{
    uint8_t *body = f->body;
    f->body = NULL;
    f->have = 0;
    f->in_body = false;
    f->got = 0;
    int rc = fn(arg, message);
    mem_free(body);
    return rc;
}

/* Takes bytes of the prefix; *bytes moves on. */
static int take_head(struct grpc_frames *f, struct str *bytes)
{
    size_t n = sizeof(f->head) - f->have;
    if (n > bytes->n)
        n = bytes->n;
    memcpy(f->head + f->have, bytes->p, n);
    f->have = (uint8_t)(f->have + n);
    *bytes = str_from(*bytes, n);
    if (f->have < sizeof(f->head))
        return 0;
    if (f->head[0] != 0)
        return -ENOTSUP;
    f->need = (uint32_t)f->head[1] << 24 | (uint32_t)f->head[2] << 16 | (uint32_t)f->head[3] << 8 |
              f->head[4];
    if (f->need > f->max)
        return -EMSGSIZE;
    f->in_body = true;
    return 0;
}

static int take_body(struct grpc_frames *f, struct str *bytes, grpc_frame_fn *fn, void *arg)
{
    struct str piece = {bytes->p, f->need - f->got};
    if (piece.n > bytes->n)
        piece.n = bytes->n;
    *bytes = str_from(*bytes, piece.n);
    if (piece.n == f->need)
        return tell(f, piece, fn, arg);
    int rc = append(f, piece);
    if (rc == 0 && f->got == f->need)
        rc = tell(f, str_of((const char *)f->body, f->need), fn, arg);
    return rc;
}

int grpc_frames_feed(struct grpc_frames *f, struct str bytes, grpc_frame_fn *fn, void *arg)
{
    int rc = 0;
    while (rc == 0 && bytes.n) {
        if (!f->in_body)
            rc = take_head(f, &bytes);
        if (rc == 0 && f->in_body && (bytes.n || f->need == 0))
            rc = take_body(f, &bytes, fn, arg);
    }
    return rc;
}

bool grpc_frames_partial(const struct grpc_frames *f)
{
    return f->have > 0;
}

void grpc_frames_release(struct grpc_frames *f)
{
    mem_free(f->body);
    f->body = NULL;
    f->have = 0;
    f->in_body = false;
    f->got = 0;
}
