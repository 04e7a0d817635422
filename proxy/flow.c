#include "proxy/flow.h"
#include "proxy/capture.h"
#include "proxy/h2link.h"
#include "proxy/worker.h"

#define TURN_BYTES 65536u
#define COPY_MAX   8192u /* larger pieces are sent from where they are */
#define FRAME_MAX  64u   /* room for a chunk's head, its end and the last chunk */

void flow_init(struct flow *f, const struct h1_head *head, const struct h1_limits *limits,
    uint8_t to_framing, bool exclusive)
{
    *f = (struct flow){.framing = to_framing, .exclusive = exclusive, .cap = UINT64_MAX};
    h1_body_init(&f->body, head, limits);
    f->decoded = h1_body_empty(head);
}

/* Drops n raw bytes of from->in, keeping a copy for a retry when one is wanted. */
static void consume(struct flow *f, struct conn *from, uint32_t n)
{
    if (f->tap && !f->tap_lost && !buf_put(f->tap, buf_head(&from->in), n))
        f->tap_lost = true;
    f->taken += n;
    buf_consume(&from->in, n);
}

void flow_discard(struct flow *f, struct conn *from)
{
    f->discard = true;
    if (f->span.n)
        consume(f, from, f->used);
    f->span = (struct str){0};
}

/* A Trailer field of the head names it. */
static bool declared(const struct flow *f, const struct field *t)
{
    for (unsigned i = 0; i < f->ndeclaring; i++) {
        struct str rest = field_value(&f->declaring[i]), name;
        while (f->declaring[i].id == FIELD_TRAILER && field_next_element(&rest, &name))
            if (str_ieq(name, field_name(t)))
                return true;
    }
    return !f->declaring;
}

static bool put_trailers(struct flow *f, struct buf *to, const struct field *fields, uint16_t n)
{
    for (uint16_t i = 0; f->pass_trailers && i < n; i++) {
        const struct field *t = &fields[i];
        bool ours = t->id >= FIELD_X_OFFSHOOT_CONTEXT || t->id == FIELD_BAGGAGE;
        if (ours || (t->flags & FIELD_HOP) || !declared(f, t))
            continue;
        if (!buf_put(to, t->name, t->name_len) || !buf_put(to, ": ", 2) ||
            !buf_put(to, t->value, t->value_len) || !buf_put(to, "\r\n", 2))
            return false;
    }
    return buf_put(to, "\r\n", 2);
}

/* Trailers for a stream, which sends them behind everything else. */
static void put_stream_trailers(
    struct flow *f, struct conn *to, const struct field *fields, uint16_t n)
{
    struct buf b = {0};
    if (n == 0 || !f->pass_trailers)
        return;
    bool ok = buf_hold(&b, &to->w->bufs) == 0 && put_trailers(f, &b, fields, n) &&
              h2strm_put_trailers(to, str_of(buf_head(&b), buf_len(&b) - 2)) == 0;
    f->trailers_lost = !ok;
    buf_drop(&b, &to->w->bufs);
}

static bool write_end(struct flow *f, struct conn *to, const struct field *fields, uint16_t n)
{
    if (f->discard)
        return true;
    if (conn_is_stream(to)) {
        put_stream_trailers(f, to, fields, n);
        return true;
    }
    if (f->framing != H1_CHUNKED)
        return true;
    uint32_t mark = to->out.end;
    if (buf_put(&to->out, "0\r\n", 3) && put_trailers(f, &to->out, fields, n))
        return true;
    to->out.end = mark;
    return false;
}

/* The body has ended: writes what ends it on the other side. False: no room in to->out yet. */
static bool put_end(struct flow *f, struct conn *to, const struct field *fields, uint16_t n)
{
    bool done = write_end(f, to, fields, n);
    if (done && f->tee && f->exclusive)
        capture_trailers(f->tee, fields, n);
    return done;
}

/* Frames f->span into to->out if it is small, else leaves it to be sent in place. */
static void place_span(struct flow *f, struct conn *from, struct conn *to)
{
    f->sent += f->span.n;
    if (f->tee)
        capture_piece(f->tee, from->w, f->exclusive, f->span);
    if (f->discard) {
        f->span = (struct str){0};
        consume(f, from, f->used);
        return;
    }
    if (f->framing == H1_CHUNKED)
        to->out.end += h1_put_chunk_head(buf_tail(&to->out), f->span.n);
    if (f->span.n <= COPY_MAX && f->span.n + FRAME_MAX <= buf_space(&to->out)) {
        buf_put(&to->out, f->span.p, f->span.n);
        if (f->framing == H1_CHUNKED)
            buf_put(&to->out, "\r\n", 2);
        f->span = (struct str){0};
        consume(f, from, f->used);
    }
}

/* A body of known length ends without a byte of its own. */
static bool length_reached(const struct flow *f)
{
    return f->body.framing == H1_LENGTH && f->body.left == 0;
}

/* Sends to->out and the span in place. IO_OK: both are gone. */
static enum io push(struct flow *f, struct conn *from, struct conn *to)
{
    bool had_span = f->span.n != 0;
    to->last = !f->trailers_lost && (f->decoded || (length_reached(f) && f->framing != H1_CHUNKED));
    uint32_t before = buf_len(&to->out) + (uint32_t)f->span.n;
    enum io io = conn_write(to, &f->span);
    if (io == IO_ERROR)
        return io;
    if (buf_len(&to->out) + (uint32_t)f->span.n != before) {
        f->stamp_us = to->w->now_us;
        f->begun = true;
    }
    if (had_span && f->span.n == 0) {
        f->span = (struct str){0};
        consume(f, from, f->used);
        if (f->framing == H1_CHUNKED) {
            /* out is empty here: the span comes last */
            if (buf_hold(&to->out, &to->w->bufs) != 0)
                return IO_NO_MEMORY;
            buf_put(&to->out, "\r\n", 2);
        }
    }
    return io;
}

/* Decodes one piece of from->in. FLOW_DONE: the end was written to to->out. FLOW_WAIT: more bytes
 * are needed. FLOW_TO_ERROR never. `*ret_full`: to->out must be flushed first. */
static enum flow_result decode(struct flow *f, struct conn *from, struct conn *to,
    struct field *fields, bool *ret_piece, bool *ret_full)
{
    uint16_t ntrailers = 0;
    if (!f->discard) {
        if (buf_hold(&to->out, &to->w->bufs) != 0)
            return FLOW_NO_MEMORY;
        if (buf_space(&to->out) < FRAME_MAX) {
            *ret_full = true;
            return FLOW_WAIT;
        }
    }
    struct h1_body saved = f->body;
    struct str data = {0};
    enum h1_status st = h1_body_feed(
        &f->body, buf_head(&from->in), buf_len(&from->in), &f->used, &data, fields, &ntrailers);
    bool extra = buf_len(&from->in) > f->used;
    switch (st) {
    case H1_ERROR:
        return FLOW_MALFORMED;
    case H1_MORE:
        consume(f, from, f->used);
        return FLOW_WAIT;
    case H1_DATA:
        if (data.n > f->cap - f->sent && !f->discard) {
            f->too_large = true;
            return FLOW_TOO_LARGE;
        }
        if (f->exclusive && length_reached(f) && extra)
            return FLOW_EXTRA;
        f->span = data;
        place_span(f, from, to);
        *ret_piece = true;
        if (f->span.n == 0 && length_reached(f) && f->framing != H1_CHUNKED) {
            f->decoded = true; /* nothing is written behind it */
            return FLOW_DONE;
        }
        return FLOW_WAIT;
    case H1_DONE:
        if (f->exclusive && extra)
            return FLOW_EXTRA;
        if (!put_end(f, to, fields, ntrailers)) {
            f->body = saved;
            *ret_full = true;
            return FLOW_WAIT;
        }
        consume(f, from, f->used);
        f->decoded = true;
        return FLOW_DONE;
    }
    return FLOW_MALFORMED;
}

/* The trailers that came on a stream. */
static enum h1_status stream_trailers(
    struct flow *f, const struct conn *from, struct field *fields, uint16_t *ret_n)
{
    struct str text = h2strm_trailers(from), data;
    struct h1_body end;
    const struct h1_head chunked = {.framing = H1_CHUNKED};
    uint32_t used;
    *ret_n = 0;
    if (text.n == 0)
        return H1_DONE;
    h1_body_init(&end, &chunked, f->body.limits);
    enum h1_status st = h1_body_feed(
        &end, (char *)(uintptr_t)text.p, (uint32_t)text.n, &used, &data, fields, ret_n);
    if (st != H1_DONE)
        f->body.error = end.error ? end.error : H1_E_TRAILER;
    return st;
}

static enum flow_result from_ended(
    struct flow *f, const struct conn *from, struct conn *to, struct field *fields)
{
    uint16_t n = 0;
    if (!h1_body_eof(&f->body))
        return FLOW_TRUNCATED;
    if (conn_is_stream(from) && stream_trailers(f, from, fields, &n) != H1_DONE)
        return FLOW_MALFORMED;
    if (!f->discard && buf_hold(&to->out, &to->w->bufs) != 0)
        return FLOW_NO_MEMORY;
    if (!put_end(f, to, fields, n))
        return FLOW_WAIT; /* the flush makes room */
    f->decoded = true;
    return FLOW_DONE;
}

/* The decoder has nothing left to chew: reads once. FLOW_DONE: bytes came, or the body ended. */
static enum flow_result fill(
    struct flow *f, struct conn *from, struct conn *to, struct field *fields, uint32_t *moved)
{
    if (from->eof)
        return from_ended(f, from, to, fields);
    if (from->in.data && buf_space(&from->in) == 0)
        buf_compact(&from->in);
    uint32_t before = buf_len(&from->in);
    switch (conn_read(from)) {
    case IO_OK:
        f->stamp_us = from->w->now_us;
        *moved += buf_len(&from->in) - before;
        return FLOW_DONE;
    case IO_EOF:
        return from_ended(f, from, to, fields);
    case IO_FULL: /* cannot be: what stays undecoded is bounded far below a block */
        return FLOW_MALFORMED;
    case IO_NO_MEMORY:
        return FLOW_NO_MEMORY;
    case IO_ERROR:
        return FLOW_FROM_ERROR;
    case IO_AGAIN:
        break;
    }
    return FLOW_WAIT;
}

/* Decodes what from->in holds until a span must be sent in place, to->out is full, or bytes run
 * out. */
static enum flow_result decode_all(
    struct flow *f, struct conn *from, struct conn *to, struct field *fields, bool *ret_full)
{
    while (!f->decoded && f->span.n == 0 && (buf_len(&from->in) > 0 || length_reached(f))) {
        bool piece = false;
        enum flow_result r = decode(f, from, to, fields, &piece, ret_full);
        if (r != FLOW_WAIT)
            return r;
        if (*ret_full || !piece)
            break;
    }
    return FLOW_WAIT;
}

static bool room(const struct flow *f, const struct conn *to)
{
    return f->discard || !to->out.data || buf_space(&to->out) >= COPY_MAX + FRAME_MAX;
}

static enum flow_result push_result(enum io io)
{
    return io == IO_ERROR ? FLOW_TO_ERROR : io == IO_NO_MEMORY ? FLOW_NO_MEMORY : FLOW_WAIT;
}

/* All is decoded and nothing is sent in place any more: to->out is what is left. */
static enum flow_result finish(struct flow *f, struct conn *to)
{
    uint32_t before = buf_len(&to->out);
    if (f->trailers_lost)
        return FLOW_NO_MEMORY;
    to->last = !f->discard;
    enum io io = f->discard ? IO_OK : conn_write(to, NULL);
    if (buf_len(&to->out) != before) {
        f->stamp_us = to->w->now_us;
        f->begun = true;
    }
    if (io != IO_OK)
        return push_result(io);
    f->done = true;
    return FLOW_DONE;
}

static enum flow_result pump(
    struct flow *f, struct conn *from, struct conn *to, struct field *fields)
{
    for (uint32_t moved = 0;;) {
        bool full = false;
        enum flow_result r = decode_all(f, from, to, fields, &full);
        if (r != FLOW_WAIT && r != FLOW_DONE)
            return r;
        bool starved = !f->decoded && f->span.n == 0 && !full;
        if (starved && (from->eof || (conn_may_read(from) && moved < TURN_BYTES)) && room(f, to)) {
            r = fill(f, from, to, fields, &moved);
            if (r == FLOW_DONE)
                continue;
            if (r != FLOW_WAIT)
                return r;
        }
        if (f->decoded && f->span.n == 0)
            return finish(f, to);
        if (!f->discard) {
            enum io io = push(f, from, to);
            if (io != IO_OK) {
                f->held = true;
                return push_result(io);
            }
            if (buf_len(&to->out) > 0)
                continue; /* the end of a chunk */
        }
        if (!starved || (moved < TURN_BYTES && (conn_may_read(from) || from->eof)))
            continue;
        if (conn_may_read(from))
            conn_resume_later(from);
        return FLOW_WAIT;
    }
}

enum flow_result flow_pump(struct flow *f, struct conn *from, struct conn *to, struct field *fields)
{
    bool finished = f->decoded && f->span.n == 0; /* so begin requests without a body */
    return finished ? finish(f, to) : pump(f, from, to, fields);
}
