/* gRPC messages written anew without what is secret.
 *
 * By name, where descriptors say the type: texts and bytes of a field whose name is one of a
 * secret, and all that lies below such a field, become marks; numbers there, which have no room for
 * a mark, are left out. An entry of a map is secret by its key, too. What does not parse as the
 * message that it is declared to be goes whole.
 *
 * By patterns everywhere. A value of no known type that is a message by its looks is walked. A text
 * may only look like one, with a secret across two of its "fields": so each field of the outermost
 * message, and then that message, is looked at once more as it was written, and is replaced
 * altogether when there is something left. (Not at each level: every byte is looked at three times,
 * however deep it lies.) Packed messages are written unpacked. */
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

/* What is known of a message. */
struct place {
    const struct descriptor_message *type; /* NULL: nothing */
    bool entry;                            /* of a map: key and value are no names */
    bool secret;                           /* all of it, by a name above */
    unsigned depth;
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

static void write_message(struct rewrite *w, struct str message, struct place p);

/* What was written from `at` on, looked at as one. */
static void replace_residue(struct rewrite *w, size_t at, struct str original)
{
    if (w->out.failed || w->out.n == at || !redact_finds(w->r, str_from(pb_str(&w->out), at)))
        return;
    w->out.n = at;
    struct str mark = marked(w, original);
    pb_raw(&w->out, mark.p, mark.n);
}

static bool is_number(const struct descriptor_field *d)
{
    return d && d->type != DESCRIPTOR_STRING && d->type != DESCRIPTOR_BYTES &&
           d->type != DESCRIPTOR_MESSAGE && d->type != DESCRIPTOR_GROUP;
}

/* What a value of that field is taken for: declared, or by its looks. */
static bool is_walked(
    const struct descriptor_field *d, struct str value, const struct place *inside)
{
    if (inside->depth > DEPTH_MAX || !wire_is_message(value))
        return false;
    if (inside->type)
        return true;
    return !inside->secret && !wire_is_text(value) && !is_number(d) &&
           (!d || d->type != DESCRIPTOR_STRING);
}

/* inside: what the value is, should it be a message. */
static void write_bytes(struct rewrite *w, const struct pb_field *f,
    const struct descriptor_field *d, const struct place *inside)
{
    if (is_walked(d, f->bytes, inside)) {
        size_t at = pb_begin(&w->out, f->number);
        write_message(w, f->bytes, *inside);
        if (inside->depth == 2)
            replace_residue(w, at, f->bytes);
        pb_end(&w->out, at);
    } else if (inside->secret && is_number(d)) {
        w->any = true; /* a packed list */
    } else if (f->bytes.n && (inside->secret || inside->type)) {
        pb_bytes(&w->out, f->number, marked(w, f->bytes));
    } else {
        pb_bytes(&w->out, f->number, without_secrets(w, f->bytes));
    }
}

/* A map's entry whose key is the name of a secret. */
static bool has_secret_key(const struct rewrite *w, struct str entry)
{
    struct pb_in in = pb_in_of(entry);
    struct pb_field f;
    while (pb_next(&in, &f) == 1)
        if (f.number == 1 && f.wire == PB_BYTES && redact_name(w->r, f.bytes))
            return true;
    return false;
}

static struct place place_of(
    const struct rewrite *w, const struct descriptor_field *d, const struct place *p, bool secret)
{
    return (struct place){.type = d && d->type == DESCRIPTOR_MESSAGE ? d->message : NULL,
        .entry = d && d->map,
        .secret = secret || (d && !p->entry && redact_name(w->r, d->name)),
        .depth = p->depth + 1};
}

/* message parses wholly. */
static void write_message(struct rewrite *w, struct str message, struct place p)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    bool keyed = p.entry && has_secret_key(w, message);
    for (const uint8_t *from = in.p; pb_next(&in, &f) == 1; from = in.p) {
        const struct descriptor_field *d = p.type ? descriptor_field(p.type, f.number) : NULL;
        struct place inside = place_of(w, d, &p, p.secret || (keyed && f.number != 1));
        if (f.wire == PB_BYTES)
            write_bytes(w, &f, d, &inside);
        else if (inside.secret)
            w->any = true;
        else
            pb_raw(&w->out, from, (size_t)(in.p - from));
    }
}

static void write_frame(struct text *out, struct str message)
{
    const char head[FRAME_BYTES] = {0, (char)(message.n >> 24), (char)(message.n >> 16),
        (char)(message.n >> 8), (char)message.n};
    text_add(out, str_of(head, sizeof(head)));
    text_add(out, message);
}

/* One message of the body; what cannot be looked into goes whole. */
static void redact_frame(struct rewrite *w, const struct descriptor_message *type,
    const struct grpc_frame *f, struct text *out)
{
    bool message = wire_is_message(f->message);
    w->out.n = 0;
    if (f->opaque || (type && !message)) {
        write_frame(out, marked(w, f->message));
        return;
    }
    if (!message) {
        write_frame(out, without_secrets(w, f->message));
        return;
    }
    write_message(w, f->message, (struct place){.type = type, .depth = 1});
    replace_residue(w, 0, f->message);
    write_frame(out, pb_str(&w->out));
}

bool grpc_body_redact(const struct redact *r, const struct descriptor_message *type,
    struct str body, struct text *out, bool *ret_any)
{
    struct rewrite w = {.r = r};
    struct grpc_frames frames = {0};
    struct pool *pool = pool_new(CHUNK);
    int rc = pool ? grpc_frames_split(pool, body, FRAMES_MAX, BYTES_MAX, &frames) : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < frames.n; i++)
        redact_frame(&w, type, &frames.item[i], out);
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
