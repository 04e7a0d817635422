/* gRPC messages written anew without what looks like a secret.
 *
 * Nothing names the fields here, so only patterns find anything. A value that is a message by its
 * looks is walked. A text may only look like one, with a secret across two of its "fields": so each
 * field of the outermost message, and then that message, is looked at once more as it was written,
 * and is replaced altogether when there is something left. (Not at each level: every byte is looked
 * at three times, however deep it lies.) Packed messages are written unpacked. */
#include "lib/compare/grpc_int.h"
#include "lib/compare/redact_int.h"
#include <errno.h>

#define CHUNK       (16u << 10)
#define DEPTH_MAX   64
#define FRAMES_MAX  20000
#define BYTES_MAX   (8u << 20)
#define FRAME_BYTES 5

struct rewrite {
    const struct redact *r;
    struct pb_out out;
    struct text scratch;
    bool any;
};

/* Whatever was there: its mark in place of it. Into scratch. */
static struct str marked(struct rewrite *w, struct str secret)
{
    w->scratch.n = 0;
    redact_mark(w->r, secret, &w->scratch);
    w->any = true;
    return str_of(w->scratch.p, w->scratch.n);
}

/* The value with its secrets taken out; text stays text, bytes with a secret go whole. */
static struct str without_secrets(struct rewrite *w, struct str value)
{
    if (!redact_finds(w->r, value))
        return value;
    if (!wire_is_text(value))
        return marked(w, value);
    w->scratch.n = 0;
    redact_text(w->r, value, &w->scratch);
    w->any = true;
    struct str out = str_of(w->scratch.p, w->scratch.n);
    return redact_finds(w->r, out) ? marked(w, value) : out;
}

static void write_message(struct rewrite *w, struct str message, unsigned depth);

/* What was written from `at` on, looked at as one. */
static void replace_residue(struct rewrite *w, size_t at, struct str original)
{
    if (w->out.failed || w->out.n == at || !redact_finds(w->r, str_from(pb_str(&w->out), at)))
        return;
    w->out.n = at;
    struct str mark = marked(w, original);
    pb_raw(&w->out, mark.p, mark.n);
}

static void write_bytes(struct rewrite *w, const struct pb_field *f, unsigned depth)
{
    if (depth == DEPTH_MAX || wire_is_text(f->bytes) || !wire_is_message(f->bytes)) {
        pb_bytes(&w->out, f->number, without_secrets(w, f->bytes));
        return;
    }
    size_t at = pb_begin(&w->out, f->number);
    write_message(w, f->bytes, depth + 1);
    if (depth == 1)
        replace_residue(w, at, f->bytes);
    pb_end(&w->out, at);
}

/* message parses wholly. */
static void write_message(struct rewrite *w, struct str message, unsigned depth)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    for (const uint8_t *from = in.p; pb_next(&in, &f) == 1; from = in.p)
        if (f.wire == PB_BYTES)
            write_bytes(w, &f, depth);
        else
            pb_raw(&w->out, from, (size_t)(in.p - from));
}

static void write_frame(struct text *out, struct str message)
{
    const char head[FRAME_BYTES] = {0, (char)(message.n >> 24), (char)(message.n >> 16),
        (char)(message.n >> 8), (char)message.n};
    text_add(out, str_of(head, sizeof(head)));
    text_add(out, message);
}

/* One message of the body; what cannot be looked into goes whole. */
static void redact_frame(struct rewrite *w, const struct grpc_frame *f, struct text *out)
{
    w->out.n = 0;
    if (f->opaque) {
        write_frame(out, marked(w, f->message));
        return;
    }
    if (!wire_is_message(f->message)) {
        write_frame(out, without_secrets(w, f->message));
        return;
    }
    write_message(w, f->message, 1);
    replace_residue(w, 0, f->message);
    write_frame(out, pb_str(&w->out));
}

bool grpc_body_redact(const struct redact *r, struct str body, struct text *out, bool *ret_any)
{
    struct rewrite w = {.r = r};
    struct grpc_frames frames = {0};
    struct pool *pool = pool_new(CHUNK);
    int rc = pool ? grpc_frames_split(pool, body, FRAMES_MAX, BYTES_MAX, &frames) : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < frames.n; i++)
        redact_frame(&w, &frames.item[i], out);
    if (rc == -ENOMEM || w.out.failed || w.scratch.failed)
        out->failed = -ENOMEM;
    pb_release(&w.out);
    text_release(&w.scratch);
    pool_free(pool);
    if (rc == -EBADMSG)
        return false;
    *ret_any = w.any;
    return true;
}
