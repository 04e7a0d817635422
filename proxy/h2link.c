#include "proxy/h2link.h"
#include "lib/base/mem.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>

#define TURN_BYTES  65536u
#define REST_MS     1000u
#define FRAME_BYTES (H2_FRAME_MAX + 9)
#define MARK        STR("0\r\n") /* what stands before trailers in a chunked body */

/* ---- streams: events of the session ---- */

static struct h2strm *strm_of(struct h2_stream *st)
{
    return (struct h2strm *)(void *)st;
}

static void wake_strm(struct h2strm *s)
{
    s->conn->readable = true;
    conn_resume_later(s->conn);
}

static struct buf *on_block(struct h2_stream *st, enum h2_kind kind)
{
    struct h2strm *s = strm_of(st);
    struct bufpool *pool = &s->conn->w->bufs;
    struct buf *b = kind == H2_TRAILERS ? &s->trailers : &s->conn->in;
    if (buf_hold(b, pool) != 0) {
        counter_inc(&s->conn->w->stats[STAT_BUFFERS_REFUSED]);
        return NULL;
    }
    if (kind == H2_TRAILERS)
        buf_put(b, MARK.p, MARK.n);
    return b;
}

static void on_head(struct h2_stream *st, enum h2_kind kind, bool end)
{
    struct h2strm *s = strm_of(st);
    if (kind == H2_TRAILERS) {
        s->ended = end;
    } else {
        s->head_only = s->ended = end;
        s->fresh = true;
    }
    wake_strm(s);
}

static bool on_bad_head(struct h2_stream *st, enum h2_kind kind, enum h2_error error)
{
    struct h2strm *s = strm_of(st);
    counter_cell *stats = s->conn->w->stats;
    bool server = s->l->server;
    counter_inc(&stats[(server ? STAT_BAD_H2_REQUESTS : STAT_BAD_H2_REPLIES) + error]);
    if (!server || kind != H2_REQUEST || (error != H2_E_TOO_LARGE && error != H2_E_TOO_MANY))
        return false;
    s->bad = (uint8_t)error;
    wake_strm(s);
    return true;
}

/* What is unread fits the two blocks: the window is no larger than one. */
static void on_data(struct h2_stream *st, const char *p, size_t n)
{
    struct h2strm *s = strm_of(st);
    struct conn *c = s->conn;
    struct bufpool *pool = &c->w->bufs;
    size_t first = 0;
    if (buf_len(&s->spill) == 0 && buf_hold(&c->in, pool) == 0) {
        first = n < buf_space(&c->in) ? n : buf_space(&c->in);
        buf_put(&c->in, p, first);
    }
    if (first < n) {
        if (buf_hold(&s->spill, pool) != 0) {
            counter_inc(&c->w->stats[STAT_BUFFERS_REFUSED]);
            s->failed = true;
        } else {
            if (buf_space(&s->spill) < n - first)
                buf_compact(&s->spill);
            s->failed |= !buf_put(&s->spill, p + first, n - first);
        }
    }
    s->fresh = true;
    wake_strm(s);
}

static void on_end(struct h2_stream *st)
{
    struct h2strm *s = strm_of(st);
    s->ended = true;
    wake_strm(s);
}

/* What is read of the stream is whole, whatever becomes of it: for a client's that takes the reply
 * too, for who gives a request up ends it. */
static bool complete(const struct h2strm *s)
{
    return s->ended && (s->st.end_out || !s->l->server);
}

/* The frame that says so leaves at the end of the turn; nothing of the stream counts until then. */
static bool failed(const struct h2strm *s)
{
    return s->failed || s->st.broken;
}

static void on_close(struct h2_stream *st, uint32_t code, bool unprocessed)
{
    struct h2strm *s = strm_of(st);
    s->unprocessed = unprocessed;
    (void)code;
    s->failed |= !complete(s);
    s->conn->writable = true;
    wake_strm(s);
}

static struct h2link *link_of(struct h2 *h)
{
    struct h2link *l = h2_owner(h);
    assert(l->magic == H2LINK_MAGIC);
    return l;
}

static struct h2_stream *on_open(struct h2 *h, void *owner)
{
    struct h2link *l = owner;
    (void)h;
    struct h2strm *s = l->goaway ? NULL : l->side->opened(l);
    return s ? &s->st : NULL;
}

static void on_wake(struct h2 *h, struct h2_stream *st)
{
    if (!st) {
        link_of(h)->more = true;
        return;
    }
    struct h2strm *s = strm_of(st);
    s->conn->writable = true;
    conn_resume_later(s->conn);
}

static void on_odd(struct h2 *h, enum h2_odd kind)
{
    struct h2link *l = link_of(h);
    counter_inc(&l->conn->w->stats[(l->server ? STAT_H2_ODD : STAT_H2_PROVIDER_ODD) + kind]);
}

static void on_goaway(struct h2 *h, int32_t last, uint32_t code)
{
    (void)last;
    (void)code;
    link_of(h)->goaway = link_of(h)->more = true;
}

/* ---- the connection ---- */

static const struct h2_events events = {.open = on_open,
    .block = on_block,
    .head = on_head,
    .bad_head = on_bad_head,
    .data = on_data,
    .end = on_end,
    .close = on_close,
    .wake = on_wake,
    .odd = on_odd,
    .goaway = on_goaway};

static struct h2_limits limits_of(const struct worker *w, uint32_t streams, bool server)
{
    const struct settings *set = w->set;
    return (struct h2_limits){.streams = streams,
        .window = (uint32_t)set->h2_window,
        .connection_hold = (uint32_t)set->h2_hold,
        .head_bytes = (uint32_t)set->limit_head,
        .fields = (uint16_t)set->limit_fields,
        .odd = set->h2_odd,
        .odd_refill = set->h2_odd_refill,
        .checked_once = true,
        .pool = w->h2_pool,
        .extended = server};
}

int h2link_open(struct h2link *l, struct conn *conn, bool server, uint32_t streams,
    const struct h2link_side *side)
{
    *l = (struct h2link){.magic = H2LINK_MAGIC, .server = server, .conn = conn, .side = side};
    list_init(&l->streams);
    list_init(&l->flush);
    list_init(&l->awake);
    const struct h2_limits limits = limits_of(conn->w, streams, server);
    l->h2 = h2_new(server, &limits, &events, l);
    if (!l->h2)
        return -ENOMEM;
    h2_attach(l->h2, &conn->out);
    h2link_mark(l);
    return 0;
}

static void unlink_strm(struct h2strm *s)
{
    list_remove(&s->link);
    s->l->nstreams--;
    s->l = NULL;
}

void h2link_close(struct h2link *l)
{
    list_remove(&l->flush);
    list_remove(&l->awake);
    h2_free(l->h2);
    l->h2 = NULL;
    list_for_each (it, &l->streams) {
        struct h2strm *s = list_entry(it, struct h2strm, link);
        s->failed |= !complete(s);
        unlink_strm(s);
        wake_strm(s);
    }
    l->magic = 0;
}

void h2link_mark(struct h2link *l)
{
    if (list_empty(&l->flush))
        list_append(&l->conn->w->flush, &l->flush);
}

/* Those that wait for the peer's SETTINGS go on. */
static void settle(struct h2link *l)
{
    if (l->settled || l->server || !h2_settled(l->h2))
        return;
    l->settled = true;
    list_for_each (it, &l->streams)
        wake_strm(list_entry(it, struct h2strm, link));
}

/* What the last bytes said is done; nothing may be read any more. */
static void end_session(struct h2link *l)
{
    l->closing = true;
    l->goaway = true;
    h2link_mark(l);
}

/* look: also behind a short read, where a reset may hide that no event will tell of (conn.h). */
static void read_all(struct h2link *l, bool look)
{
    struct conn *c = l->conn;
    struct worker *w = c->w;
    for (uint32_t moved = 0; (c->readable || (look && c->unsure)) && !l->closing;) {
        if (moved >= TURN_BYTES) {
            conn_resume_later(c);
            break;
        }
        enum io io = IO_OK;
        if (buf_len(&c->in) == 0)
            io = conn_read(c);
        if (io == IO_AGAIN)
            break;
        if (io != IO_OK) {
            l->side->broken(l, io);
            return;
        }
        moved += buf_len(&c->in);
        int rc = h2_input(l->h2, buf_head(&c->in), buf_len(&c->in), w->now_ms);
        c->in.start = c->in.end = 0;
        if (rc == -ENOMEM) {
            l->side->broken(l, IO_NO_MEMORY);
            return;
        }
        if (rc != 0)
            end_session(l);
        settle(l);
    }
    if (buf_len(&c->in) == 0)
        buf_drop(&c->in, &w->bufs);
    if (h2_waiting(l->h2) || buf_len(&c->out) || l->closing || c->unsure)
        h2link_mark(l);
    if (l->side->taken)
        l->side->taken(l);
    if (l->more) {
        l->more = false;
        l->side->room(l);
    }
}

void h2link_run(struct h2link *l)
{
    struct worker *w = l->conn->w;
    l->looked = false;
    l->active_ms = w->now_ms;
    if (list_empty(&l->awake))
        list_append(&w->awake, &l->awake);
    read_all(l, false);
}

void h2links_rest(struct worker *w)
{
    list_for_each (it, &w->awake) {
        struct h2link *l = list_entry(it, struct h2link, awake);
        if (l->nstreams || l->active_ms + REST_MS > w->now_ms)
            continue;
        list_remove(it);
        h2_rest(l->h2);
    }
}

/* Frames into the output buffer and on to the socket, until nothing waits or it takes no more. */
static enum io push(struct h2link *l)
{
    struct conn *c = l->conn;
    for (;;) {
        if (buf_hold(&c->out, &c->w->bufs) != 0)
            return IO_NO_MEMORY;
        int rc = h2_output(l->h2, &c->out);
        if (rc < 0)
            return IO_NO_MEMORY;
        enum io io = conn_write(c, NULL);
        if (io == IO_AGAIN && rc > 0 && c->out.start > 0)
            buf_compact(&c->out);
        if (io != IO_OK || rc == 0)
            return io;
    }
}

void h2link_flush(struct h2link *l)
{
    assert(l->magic == H2LINK_MAGIC);
    list_remove(&l->flush);
    enum io io = push(l);
    if (io == IO_ERROR || io == IO_NO_MEMORY) {
        l->side->broken(l, io);
        return;
    }
    if (io == IO_OK && (l->closing || h2_over(l->h2))) {
        l->side->broken(l, IO_OK);
    } else if (l->conn->unsure && !l->looked) { /* a write since the read would have told */
        l->looked = true;                       /* once a turn */
        read_all(l, true);
    }
}

/* ---- a stream as a transport ---- */

static struct h2strm *strm(const struct conn *c)
{
    struct h2strm *s = c->transport;
    assert(s->conn == c);
    return s;
}

/* Bytes that were used since open the window again. */
static void credit(struct h2strm *s)
{
    uint32_t here = buf_len(&s->conn->in) + buf_len(&s->spill);
    if (s->l && s->st.h && s->st.unread > here) {
        h2_credit(&s->st, s->st.unread - here);
        if (h2_waiting(s->l->h2))
            h2link_mark(s->l);
    }
}

static enum io take_spill(struct h2strm *s)
{
    struct conn *c = s->conn;
    if (!c->in.data || buf_len(&c->in) == 0) {
        buf_drop(&c->in, &c->w->bufs);
        c->in = s->spill;
        s->spill = (struct buf){0};
        return IO_OK;
    }
    if (buf_space(&c->in) == 0)
        return IO_FULL;
    uint32_t n = buf_len(&s->spill) < buf_space(&c->in) ? buf_len(&s->spill) : buf_space(&c->in);
    buf_put(&c->in, buf_head(&s->spill), n);
    buf_consume(&s->spill, n);
    if (buf_len(&s->spill) == 0)
        buf_drop(&s->spill, &c->w->bufs);
    return IO_OK;
}

static enum io strm_read(struct conn *c)
{
    struct h2strm *s = strm(c);
    if (c->eof)
        return IO_EOF;
    credit(s);
    if (s->fresh) {
        s->fresh = false;
        return IO_OK;
    }
    if (buf_len(&s->spill))
        return take_spill(s);
    if (failed(s))
        return IO_ERROR;
    if (s->ended) {
        c->eof = true;
        return IO_EOF;
    }
    c->readable = false;
    if (buf_len(&c->in) == 0)
        buf_drop(&c->in, &c->w->bufs);
    return IO_AGAIN;
}

static enum io put_head(struct h2strm *s, const struct str *span)
{
    struct conn *c = s->conn;
    bool last = c->last && !(span && span->n);
    struct str scheme = s->l->conn->ops ? STR("https") : STR("http");
    if (buf_hold(&s->l->conn->out, &c->w->bufs) != 0)
        return IO_NO_MEMORY;
    int rc = s->l->server ? h2_reply(&s->st, &c->out, last)
                          : h2_request(s->l->h2, &s->st, &c->out, scheme, last);
    return rc == 0 ? IO_OK : rc == -ENOMEM ? IO_NO_MEMORY : IO_ERROR;
}

static enum io strm_write(struct conn *c, struct str *span)
{
    struct h2strm *s = strm(c);
    struct h2link *l = s->l;
    if (s->st.end_out)
        return IO_OK;
    if (failed(s) || !l || ((l->server || s->st.id) && !s->st.h))
        return IO_ERROR;
    struct buf *to = &l->conn->out;
    if (!s->st.head_out && buf_len(&c->out)) {
        enum io io = put_head(s, span);
        h2link_mark(l);
        if (io != IO_OK)
            return io;
    }
    bool asks = s->st.connect && !s->tunnel && !l->server; /* its end is not the head's */
    bool last = c->last && !asks, nothing = buf_len(&c->out) == 0 && !(span && span->n);
    if (s->st.end_out || !s->st.head_out || (nothing && !last)) { /* also: interim heads only */
        if (nothing)
            buf_drop(&c->out, &c->w->bufs);
        return IO_OK;
    }
    if (buf_hold(to, &c->w->bufs) != 0)
        return IO_NO_MEMORY;
    struct str none = {0};
    if (!span)
        span = &none;
    h2link_mark(l);
    int rc = h2_send(&s->st, to, &c->out, span, last);
    /* The buffer is full, the socket perhaps not. */
    while (rc == 1 && buf_space(to) < FRAME_BYTES && conn_write(l->conn, NULL) == IO_OK) {
        if (buf_hold(to, &c->w->bufs) != 0)
            return IO_NO_MEMORY;
        rc = h2_send(&s->st, to, &c->out, span, last);
    }
    if (rc == 1) {
        c->writable = false;
        return IO_AGAIN;
    }
    if (rc < 0)
        return rc == -ENOMEM ? IO_NO_MEMORY : IO_ERROR;
    if (buf_len(&c->out) == 0)
        buf_drop(&c->out, &c->w->bufs);
    return IO_OK;
}

static void strm_close(struct conn *c, bool reset)
{
    struct h2strm *s = strm(c);
    h2strm_end(s, reset ? H2_INTERNAL_ERROR : H2_NO_ERROR);
    buf_drop(&s->spill, &c->w->bufs);
    buf_drop(&s->trailers, &c->w->bufs);
}

const struct conn_ops h2strm_ops = {strm_read, strm_write, strm_close, NULL, true};

void h2strm_open(struct h2strm *s, struct h2link *l, struct conn *conn, uint32_t magic,
    void (*on_ready)(struct conn *c))
{
    conn_open_stream(conn, l->conn->w, magic, &h2strm_ops, s, on_ready);
    s->l = l;
    s->conn = conn;
    list_append(&l->streams, &s->link);
    l->nstreams++;
}

void h2strm_end(struct h2strm *s, uint32_t code)
{
    struct h2link *l = s->l;
    if (!l)
        return;
    if (s->st.h) {
        if (s->st.end_out && code == H2_NO_ERROR)
            h2_done(&s->st);
        else
            h2_reset(&s->st, code ? code : H2_CANCEL);
        h2link_mark(l);
    }
    unlink_strm(s);
}

bool h2strm_unprocessed(const struct conn *c)
{
    return strm(c)->unprocessed;
}

bool h2strm_settled(const struct conn *c)
{
    const struct h2strm *s = strm(c);
    return !s->l || s->l->settled;
}

bool h2strm_extended(const struct conn *c)
{
    const struct h2strm *s = strm(c);
    return s->l && h2_peer_extended(s->l->h2);
}

void h2strm_tunnel(struct conn *c)
{
    strm(c)->tunnel = true;
}

bool h2strm_failed(const struct conn *c)
{
    return failed(strm(c));
}

bool h2strm_lost(const struct conn *c)
{
    return !strm(c)->l;
}

bool h2strm_malformed(const struct conn *c)
{
    return strm(c)->st.broken;
}

enum h2_error h2strm_bad(const struct conn *c)
{
    return strm(c)->bad;
}

void h2strm_framing(const struct conn *c, struct h1_head *head)
{
    const struct h2strm *s = strm(c);
    head->keep_alive = true;
    if (!head->status && (head->upgrade || head->method_id == H1_CONNECT)) {
        head->framing = H1_NO_BODY; /* what follows is no body of the request */
        return;
    }
    bool none = s->head_only || (head->status && head->framing == H1_NO_BODY);
    if (s->head_only && head->framing == H1_UNTIL_CLOSE && head->status >= 200) {
        head->has_length = true; /* HTTP/1 has to say so */
        head->length = 0;
    }
    head->framing = none ? H1_NO_BODY : H1_UNTIL_CLOSE;
}

struct str h2strm_trailers(const struct conn *c)
{
    const struct h2strm *s = strm(c);
    return str_of(s->trailers.data ? buf_head(&s->trailers) : "", buf_len(&s->trailers));
}

int h2strm_put_trailers(struct conn *c, struct str lines)
{
    struct h2strm *s = strm(c);
    if (!s->st.h && s->l && s->st.id == 0 && put_head(s, NULL) != IO_OK)
        return -ENOMEM;
    return s->st.h ? h2_trailers(&s->st, lines) : 0;
}
