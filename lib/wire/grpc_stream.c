/* A call: its life, its queue, and what lib/wire/grpc.h lets its owner do. */
#include "lib/base/mem.h"
#include "lib/wire/grpc_internal.h"
#include <assert.h>
#include <errno.h>

/* ---- the queue ---- */

#define BLOCK_LEAST 4096u

struct grpc_block {
    struct grpc_block *next;
    size_t start, end, room; /* of bytes */
    uint8_t bytes[];
};

int grpc_queue_add(struct grpc_queue *q, struct str message)
{
    uint32_t n = (uint32_t)message.n;
    uint8_t head[GRPC_PREFIX_BYTES] = {
        0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    size_t total = sizeof(head) + message.n;
    struct grpc_block *b = q->last;
    if (!b || b->room - b->end < total) {
        size_t room = BLOCK_LEAST - sizeof(*b);
        room = total > room ? total : room;
        b = mem_alloc(sizeof(*b) + room);
        if (!b)
            return -ENOMEM;
        *b = (struct grpc_block){.room = room};
        if (q->last)
            q->last->next = b;
        else
            q->first = b;
        q->last = b;
    }
    memcpy(b->bytes + b->end, head, sizeof(head));
    if (message.n)
        memcpy(b->bytes + b->end + sizeof(head), message.p, message.n);
    b->end += total;
    q->bytes += total;
    return 0;
}

static void drop_first(struct grpc_queue *q)
{
    struct grpc_block *b = q->first;
    q->first = b->next;
    if (!q->first)
        q->last = NULL;
    mem_free(b);
}

size_t grpc_queue_take(struct grpc_queue *q, uint8_t *to, size_t room)
{
    size_t taken = 0;
    while (q->first && taken < room) {
        struct grpc_block *b = q->first;
        size_t n = b->end - b->start;
        if (n > room - taken)
            n = room - taken;
        memcpy(to + taken, b->bytes + b->start, n);
        b->start += n;
        taken += n;
        if (b->start == b->end)
            drop_first(q);
    }
    q->bytes -= taken;
    return taken;
}

void grpc_queue_clear(struct grpc_queue *q)
{
    while (q->first)
        drop_first(q);
    q->bytes = 0;
}

/* ---- life ---- */

struct grpc_stream *grpc_stream_new(struct grpc_session *s)
{
    struct grpc_stream *st = mem_zalloc(sizeof(*st));
    if (!st)
        return NULL;
    st->magic = GRPC_STREAM_MAGIC;
    st->s = s;
    st->in.max = s->limits.message_bytes;
    st->fields.status = -1;
    list_append(&s->streams, &st->link);
    s->nstreams++;
    return st;
}

void grpc_stream_end(struct grpc_stream *st, unsigned status, struct str text)
{
    struct grpc_session *s = st->s;
    list_remove(&st->link);
    s->nstreams--;
    st->finished = st->over = st->reap = true;
    if (st->id > 0)
        nghttp2_session_set_stream_user_data(s->ng, st->id, NULL);
    grpc_queue_clear(&st->out);
    if (st->owed)
        s->events.on_end(st, status, text, s->arg);
    grpc_frames_release(&st->in);
    mem_free(st->path);
    mem_free(st->text);
    st->magic = 0;
    mem_free(st);
    if (s->shutdown && !s->server && list_empty(&s->streams))
        grpc_session_goodbye(s);
}

void grpc_stream_reap(struct grpc_session *s)
{
    while (s->reap) {
        s->reap = false;
        list_for_each (at, &s->streams) {
            struct grpc_stream *st = list_entry(at, struct grpc_stream, link);
            if (!st->reap)
                continue;
            grpc_stream_end(
                st, st->status, st->why ? str_c(st->why) : str_of(st->text, st->text_n));
            s->reap = true; /* on_end may have cancelled any: look anew */
            break;
        }
    }
}

void grpc_stream_reset(struct grpc_stream *st, uint32_t code, unsigned status, const char *why)
{
    struct grpc_session *s = st->s;
    if (st->reap)
        return;
    st->finished = st->over = true;
    st->status = status;
    st->why = why;
    st->reap = s->reap = true;
    grpc_queue_clear(&st->out);
    if (!s->dead)
        grpc_session_check(s, nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, code));
}

/* ---- bytes ---- */

void grpc_stream_wake(struct grpc_stream *st)
{
    if (!st->deferred || st->s->dead)
        return;
    st->deferred = false;
    grpc_session_check(st->s, nghttp2_session_resume_data(st->s->ng, st->id));
}

ssize_t grpc_stream_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length,
    uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct grpc_session *s = user;
    struct grpc_stream *st = nghttp2_session_get_stream_user_data(ng, id);
    (void)source;
    assert(s->magic == GRPC_SESSION_MAGIC);
    if (!st)
        return NGHTTP2_ERR_DEFERRED; /* its RST_STREAM is on the way */
    size_t n = grpc_queue_take(&st->out, buf, length);
    if (st->finished && st->out.bytes == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->server) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            grpc_server_trailers(st);
        }
    } else if (n == 0) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return s->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : (ssize_t)n;
}

void grpc_stream_progress(struct grpc_stream *st)
{
    struct grpc_session *s = st->s;
    if (!st->high || st->out.bytes > s->limits.queue_bytes / 2)
        return;
    st->high = false;
    if (!st->over && s->events.on_drained)
        s->events.on_drained(st, s->arg);
}

/* True when nobody wants to hear more of the stream. */
static bool deaf(const struct grpc_stream *st)
{
    return st->over || (st->s->server && st->finished);
}

static int deliver(void *arg, struct str message)
{
    struct grpc_stream *st = arg;
    assert(st->magic == GRPC_STREAM_MAGIC);
    grpc_session_earn(st->s);
    st->s->events.on_message(st, message, st->s->arg);
    return deaf(st);
}

static void fail(struct grpc_stream *st, unsigned status, const char *why)
{
    if (st->s->server)
        grpc_server_fail(st, status, why);
    else
        grpc_stream_reset(st, NGHTTP2_CANCEL, status, why);
}

int grpc_stream_data(struct grpc_stream *st, struct str bytes)
{
    if (deaf(st))
        return 0;
    int rc = grpc_frames_feed(&st->in, bytes, deliver, st);
    if (rc == -ENOTSUP)
        fail(st, GRPC_UNIMPLEMENTED, "compressed messages are not supported");
    else if (rc == -EMSGSIZE)
        fail(st, GRPC_RESOURCE_EXHAUSTED, "the message is larger than the limit");
    return rc == -ENOMEM ? rc : 0;
}

nghttp2_nv grpc_field(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n,
        value.n, NGHTTP2_NV_FLAG_NONE};
}

bool grpc_content_type(struct str value)
{
    struct str type = STR("application/grpc");
    if (value.n < type.n || !str_ieq(str_of(value.p, type.n), type))
        return false;
    value = str_from(value, type.n);
    if (value.n >= 6 && str_ieq(str_of(value.p, 6), STR("+proto")))
        value = str_from(value, 6);
    value = str_trim(value);
    return value.n == 0 || value.p[0] == ';';
}

/* ---- what the owner does ---- */

int grpc_send(struct grpc_stream *st, struct str message)
{
    struct grpc_session *s = st->s;
    size_t limit = s->limits.queue_bytes;
    if (st->finished || s->dead)
        return -EPIPE;
    if (message.n > UINT32_MAX)
        return -ENOBUFS;
    if (st->out.bytes && st->out.bytes + GRPC_PREFIX_BYTES + message.n > limit)
        return -ENOBUFS;
    if (grpc_queue_add(&st->out, message) < 0)
        return -ENOMEM;
    if (st->out.bytes > limit / 2)
        st->high = true;
    if (!st->head_out)
        grpc_server_reply(st);
    else
        grpc_stream_wake(st);
    return s->dead ? -ENOMEM : 0;
}

size_t grpc_queued(const struct grpc_stream *st)
{
    return st->out.bytes;
}

void grpc_half_close(struct grpc_stream *st)
{
    if (st->s->server || st->finished)
        return;
    st->finished = true;
    grpc_stream_wake(st);
}

void grpc_cancel(struct grpc_stream *st)
{
    grpc_stream_reset(st, NGHTTP2_CANCEL, GRPC_CANCELLED, "cancelled");
}

void grpc_stream_set(struct grpc_stream *st, void *data)
{
    st->data = data;
}

void *grpc_stream_get(const struct grpc_stream *st)
{
    return st->data;
}

struct grpc_session *grpc_stream_session(const struct grpc_stream *st)
{
    return st->s;
}
