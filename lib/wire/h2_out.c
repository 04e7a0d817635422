/* Heads, bodies and trailers going out.
 *
 *   h2_request, h2_reply   h2_head_out.c → fields → nghttp2_submit_headers; sent by the next pump
 *   h2_send                submit_data or resume_data, then h2_pump:
 *                            on_read       how much of the pull fits into a frame
 *                            on_send_data  the frame's header and its bytes into `to`: one copy
 *                            on_sent       END_STREAM, windows
 *
 * Outside h2_send nobody has bytes: on_read then answers "deferred" and says `wake` when h2_send
 * left something. nghttp2 asks again when a window opened, and after a pump that ran out of room.
 */
#include "lib/base/mem.h"
#include "lib/wire/h2_internal.h"
#include <errno.h>
#include <stdio.h>

enum { FIELDS_ON_STACK = 160, FIELDS_MORE = 8 };

/* ---- heads ---- */

/* Fields of a head while it is submitted. Many are rare and come from the heap. */
struct fields {
    struct h2_field few[FIELDS_ON_STACK], *p;
    nghttp2_nv nv_few[FIELDS_ON_STACK], *nv;
    uint16_t room;
};

static int fields_init(struct fields *f, const struct h2 *h)
{
    f->p = f->few;
    f->nv = f->nv_few;
    f->room = FIELDS_ON_STACK;
    if (h->limits.fields <= FIELDS_ON_STACK - FIELDS_MORE)
        return 0;
    f->room =
        (uint16_t)(h->limits.fields < UINT16_MAX - FIELDS_MORE ? h->limits.fields + FIELDS_MORE
                                                               : UINT16_MAX);
    f->p = mem_array(f->room, sizeof(*f->p) + sizeof(*f->nv));
    if (!f->p)
        return -ENOMEM;
    f->nv = (nghttp2_nv *)(void *)(f->p + f->room);
    return 0;
}

static void fields_release(struct fields *f)
{
    if (f->p != f->few)
        mem_free(f->p);
}

/* For nghttp2 to encode, when the frame is made later; never with its dynamic table, for the peer's
 * is h2_encode.c's. */
static const nghttp2_nv *as_nv(struct fields *f, uint16_t n)
{
    for (uint16_t i = 0; i < n; i++)
        f->nv[i] = (nghttp2_nv){
            .name = (uint8_t *)(uintptr_t)f->p[i].name.p,
            .value = (uint8_t *)(uintptr_t)f->p[i].value.p,
            .namelen = f->p[i].name.n,
            .valuelen = f->p[i].value.n,
            .flags = NGHTTP2_NV_FLAG_NO_INDEX,
        };
    return f->nv;
}

/* The one field that nghttp2 is given of a head that becomes a frame at once: of a request it wants
 * to know the method. */
static const nghttp2_nv *stand_in(struct fields *f, const struct h2_out_head *head, bool request)
{
    struct str value = head->head_method                       ? STR("HEAD")
                       : str_eq(f->p[0].value, STR("CONNECT")) ? STR("CONNECT")
                                                               : STR("GET");
    struct str name = request ? STR(":method") : STR(":status");
    if (!request)
        value = STR("200");
    f->nv[0] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.p,
        .value = (uint8_t *)(uintptr_t)value.p,
        .namelen = name.n,
        .valuelen = value.n,
        .flags =
            NGHTTP2_NV_FLAG_NO_INDEX | NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
    return f->nv;
}

/* Whether a head of n bytes can be made into a frame at once: nothing waits before it, and it is
 * one frame for which there is room. It grows by less than 16 bytes a field. */
static bool at_once(struct h2 *h, uint32_t n, uint16_t fields)
{
    return h->to && h->to->data && n + 16u * fields < H2_FRAME_MAX && h2_pump_ready(h, h->to);
}

static int submitted(struct h2 *h, int32_t rc)
{
    if (rc >= 0)
        return 0;
    return rc == NGHTTP2_ERR_NOMEM ? h2_no_memory(h) : -EAGAIN;
}

/* The head's frame, at once when that goes. id -1: a new stream. */
static int32_t submit(struct h2 *h, int32_t id, struct h2_stream *st, struct fields *f,
    const struct h2_out_head *head, bool end)
{
    bool now = at_once(h, head->used, head->n);
    if (id >= 0 && !st->h)
        return NGHTTP2_ERR_STREAM_CLOSED;
    int32_t rc = nghttp2_submit_headers(h->ng, end ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE,
        id, NULL, now ? stand_in(f, head, id < 0) : as_nv(f, head->n), now ? 1 : head->n,
        id < 0 ? st : NULL);
    if (rc < 0)
        return rc;
    if (id < 0) {
        *st = (struct h2_stream){.h = h,
            .id = rc,
            .head_out = true,
            .end_out = end,
            .connect = head->extended,
            .head_method = head->head_method};
        list_append(&h->streams, &st->link);
        h->open++;
    }
    if (now)
        h2_pump_head(h, h->to, f->p, head->n);
    return rc;
}

static int request(struct h2 *h, struct h2_stream *st, struct buf *out, struct str scheme,
    bool last, struct fields *f)
{
    struct h2_out_head head;
    int rc = h2_from_request(buf_head(out), buf_len(out), scheme, f->p, f->room, &head);
    if (rc < 0)
        return rc == -ENOBUFS || rc == -EAGAIN ? -EINVAL : rc;
    bool end = last && !head.extended && head.used == buf_len(out);
    rc = submitted(h, submit(h, -1, st, f, &head, end));
    if (rc == 0)
        buf_consume(out, head.used);
    return rc;
}

int h2_request(struct h2 *h, struct h2_stream *st, struct buf *out, struct str scheme, bool last)
{
    struct fields f;
    h2_wake(h);
    if (h->dead)
        return -ENOMEM;
    if (h2_room(h) == 0) {
        h->room_asked = true;
        return -EAGAIN;
    }
    int rc = fields_init(&f, h);
    if (rc == 0)
        rc = request(h, st, out, scheme, last, &f);
    fields_release(&f);
    return rc;
}

static int reply(struct h2_stream *st, struct buf *out, bool last, struct fields *f)
{
    struct h2 *h = st->h;
    struct h2_out_head head;
    int rc = h2_from_reply(buf_head(out), buf_len(out), f->p, f->room, &head);
    if (rc < 0)
        return rc == -ENOBUFS ? -EINVAL : rc;
    bool end = last && !head.interim && head.used == buf_len(out);
    st->head_out |= !head.interim;
    st->end_out = end;
    rc = submit(h, st->id, st, f, &head, end);
    if (rc == NGHTTP2_ERR_STREAM_CLOSED)
        return -EPIPE;
    rc = submitted(h, rc);
    if (rc == 0)
        buf_consume(out, head.used);
    else
        st->head_out = st->end_out = false;
    return rc;
}

int h2_reply(struct h2_stream *st, struct buf *out, bool last)
{
    struct fields f;
    if (!st->h || st->end_out)
        return -EPIPE;
    if (st->h->dead)
        return -ENOMEM;
    int rc = fields_init(&f, st->h);
    if (rc == 0)
        rc = reply(st, out, last, &f);
    fields_release(&f);
    return rc;
}

/* ---- trailers ---- */

int h2_trailers(struct h2_stream *st, struct str text)
{
    struct h2 *h = st->h;
    struct fields f;
    if (!h || text.n == 0)
        return 0;
    mem_free(st->trailers);
    st->trailers = mem_dup(text.p, text.n);
    st->trailers_n = (uint32_t)text.n;
    if (!st->trailers)
        return -ENOMEM;
    int rc = fields_init(&f, h);
    if (rc == 0)
        rc = h2_from_trailers(st->trailers, st->trailers_n, f.p, f.room);
    fields_release(&f);
    if (rc > 0)
        return 0;
    mem_free(st->trailers);
    st->trailers = NULL;
    return rc == -ENOBUFS ? -EINVAL : rc;
}

static int send_trailers(struct h2_stream *st)
{
    struct h2 *h = st->h;
    struct fields f;
    int rc = fields_init(&f, h);
    if (rc == 0) {
        int n = h2_from_trailers(st->trailers, st->trailers_n, f.p, f.room);
        rc = submitted(h, nghttp2_submit_trailer(h->ng, st->id, as_nv(&f, (uint16_t)n), (size_t)n));
    }
    fields_release(&f);
    mem_free(st->trailers);
    st->trailers = NULL;
    st->end_out = true;
    return rc;
}

/* ---- bodies ---- */

static void wake(struct h2 *h, struct h2_stream *st)
{
    if (!st || !st->blocked)
        return;
    st->blocked = false;
    h->ev->wake(h, st);
}

static ssize_t on_read(nghttp2_session *ng, int32_t id, uint8_t *bytes, size_t room,
    uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    struct h2_pull *pull = h->pull;
    (void)ng;
    (void)source;
    bytes[0] = 0; /* the payload never lies there: NGHTTP2_DATA_FLAG_NO_COPY */
    if (!pull || pull->st->id != id || pull->ended) {
        wake(h, h2_stream_of(h, id));
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t n = buf_len(pull->out) + pull->span->n;
    if (n == 0 && !pull->last)
        return NGHTTP2_ERR_DEFERRED;
    *flags = NGHTTP2_DATA_FLAG_NO_COPY;
    if (n > room) {
        n = room;
    } else if (pull->last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (pull->st->trailers)
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        pull->ended = true;
    }
    return (ssize_t)n;
}

/* h2_pump saw to it that a frame fits. */
static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t n,
    nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    struct h2_pull *pull = h->pull;
    (void)ng;
    (void)frame;
    (void)source;
    buf_put(pull->to, (const char *)head, H2_FRAME_HEAD);
    size_t first = buf_len(pull->out) < n ? buf_len(pull->out) : n;
    if (first) {
        buf_put(pull->to, buf_head(pull->out), first);
        buf_consume(pull->out, (uint32_t)first);
    }
    if (n > first) {
        buf_put(pull->to, pull->span->p, n - first);
        *pull->span = str_from(*pull->span, n - first);
    }
    h2_earn_data(h, n);
    if (buf_space(pull->to) >= H2_FRAME_ROOM && !pull->ended)
        return 0;
    h->paused = true;
    return NGHTTP2_ERR_PAUSE;
}

static int attach(struct h2_stream *st)
{
    struct h2 *h = st->h;
    if (st->attached) {
        h2_check(h, nghttp2_session_resume_data(h->ng, st->id));
        return h->dead ? -ENOMEM : 0;
    }
    nghttp2_data_provider from = {.read_callback = on_read};
    h2_mem_keep(h);
    int rc = nghttp2_submit_data(h->ng, NGHTTP2_FLAG_END_STREAM, st->id, &from);
    h2_mem_keep_end(h, rc == NGHTTP2_ERR_NOMEM);
    if (rc == NGHTTP2_ERR_NOMEM)
        return h2_no_memory(h);
    if (rc != 0)
        return -EAGAIN;
    st->attached = true;
    return 0;
}

/* The stream may be over afterwards: st->h is NULL then. */
static int pull(struct h2 *h, struct h2_pull *p)
{
    h->pull = p;
    int rc = h2_pump(h, p->to);
    h->pull = NULL;
    return rc < 0 ? rc : 0;
}

int h2_send(struct h2_stream *st, struct buf *to, struct buf *out, struct str *span, bool last)
{
    struct h2 *h = st->h;
    struct h2_pull p = {st, to, out, span, last, false};
    if (!h || st->end_out)
        return -EPIPE;
    if (h->dead)
        return -ENOMEM;
    size_t n = buf_len(out) + span->n;
    if (n == 0 && !last)
        return 0;
    int rc = 0;
    st->blocked = false;
    if (n == 0 && st->trailers) {
        p.ended = true;
    } else {
        rc = attach(st);
        if (rc == -EAGAIN) /* the request's head waits: for nghttp2 there is no stream yet */
            rc = h2_pump(h, to) < 0 ? -ENOMEM : st->h ? attach(st) : 0;
        if (rc == 0)
            rc = pull(h, &p);
    }
    if (rc == 0 && p.ended && st->h && st->trailers) {
        rc = send_trailers(st);
        if (rc == 0)
            rc = h2_pump(h, to) < 0 ? -ENOMEM : 0;
    }
    if (rc < 0 && rc != -EAGAIN)
        return rc;
    if (p.ended || (!last && buf_len(out) + span->n == 0))
        return 0;
    if (!st->h)
        return -EPIPE;
    st->blocked = true;
    return 1;
}

/* ---- frames that were sent, or not ---- */

/* GOAWAY of nghttp2's own says in its debug data what the peer did wrong. */
static void goaway_sent(struct h2 *h, const nghttp2_goaway *g)
{
    if (g->error_code == NGHTTP2_NO_ERROR || h->fault || h->closing)
        return;
    h->fault = true;
    snprintf(h->reason, sizeof(h->reason), "the peer breaks HTTP/2: '%s%s%.*s'",
        nghttp2_http2_strerror(g->error_code), g->opaque_data_len ? ", " : "",
        (int)g->opaque_data_len, g->opaque_data_len ? (const char *)g->opaque_data : "");
}

/* Our end is out. Who let go of the stream before the peer ended wants nothing more of it. */
static void end_sent(struct h2 *h, int32_t id)
{
    struct h2_stream *st = h2_stream_of(h, id);
    if (h->server)
        h2_earn(h);
    if (st)
        st->end_out = true;
    else if (nghttp2_session_get_stream_remote_close(h->ng, id) == 0)
        h2_check(h, nghttp2_submit_rst_stream(
                        h->ng, NGHTTP2_FLAG_NONE, id, h->server ? H2_NO_ERROR : H2_CANCEL));
}

/* The stream of a request exists from now on. */
static void request_sent(struct h2 *h, int32_t id)
{
    struct h2_stream *st = h2_stream_of(h, id);
    if (st && !st->attached)
        wake(h, st);
}

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st;
    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (!h->server)
            request_sent(h, frame->hd.stream_id);
        /* fall through */
    case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            end_sent(h, frame->hd.stream_id);
        break;
    case NGHTTP2_RST_STREAM:
        h2_allow_late(h);
        st = h2_stream_of(h, frame->hd.stream_id);
        if (st && !st->faulted) /* what the owner resets has no st any more */
            h2_spend(h, H2_ODD_OWN_RESET);
        break;
    case NGHTTP2_GOAWAY:
        goaway_sent(h, &frame->goaway);
        break;
    default:
        break;
    }
    return h->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* A head that nghttp2 cannot send; a request's stream it closes itself. */
static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int why, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, frame->hd.stream_id);
    if (frame->hd.type != NGHTTP2_HEADERS || !h->server || !st || why == NGHTTP2_ERR_STREAM_CLOSING)
        return 0;
    st->faulted = true;
    h2_check(h,
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, H2_INTERNAL_ERROR));
    return h->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

void h2_out_callbacks(nghttp2_session_callbacks *cbs)
{
    nghttp2_session_callbacks_set_send_data_callback(cbs, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cbs, on_not_sent);
}
