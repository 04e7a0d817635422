/* One connection of a client: an adapter around lib/wire/h2.h, whose blocks and windows are those
 * of a proxy that holds no body. Here bodies are held whole: data is copied as it comes, and its
 * window opens again as soon as the session is left. One buffer serves the fields of all streams,
 * for a block of fields is never interrupted by another one.
 *
 *   on_read → h2_input → events: note in the call, h2call_end → credit → h2client_turn
 *   h2conn_pump: h2_request, h2_send, h2_output → `out` → bufferevent, up to OUT_HIGH */
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/h2client_impl.h"
#include "lib/wire/h1.h"
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <unistd.h>

#define CONN_MAGIC  0x68326301u
#define OUT_HIGH    (256u << 10) /* bytes: no more is made for a server that does not read */
#define OUT_LOW     (64u << 10)
#define OUT_BYTES   (64u << 10)
#define FRAME_BYTES (H2_FRAME_MAX + 9)
#define HOLD_BYTES  (1u << 20) /* the connection's window */
#define IN_SLACK    4096u      /* beside a head's text, for its making */
#define FIELDS_MAX  512
#define ODD         10000 /* frames that bring nobody anywhere; the server is one of ours */
#define ODD_REFILL  1000
#define IN_BYTES    4096u        /* of a body at first */
#define MARK        STR("0\r\n") /* what stands before trailers in a chunked body */

static struct h2conn *conn_of(void *arg)
{
    struct h2conn *h = arg;
    assert(h->magic == CONN_MAGIC);
    return h;
}

static struct h2call *call_of(struct h2_stream *st)
{
    return list_entry(st, struct h2call, st);
}

static void fail(struct h2conn *h, const char *why)
{
    if (h->gone)
        return;
    h->gone = true;
    err_set(&h->why, -ECONNABORTED, "%s", why);
    bufferevent_disable(h->bev, EV_READ | EV_WRITE);
    h2client_later(h->c);
}

/* ---- what comes ---- */

static struct buf *on_block(struct h2_stream *st, enum h2_kind kind)
{
    struct buf *b = &call_of(st)->conn->in;
    b->start = b->end = 0;
    if (kind == H2_TRAILERS)
        buf_put(b, MARK.p, MARK.n);
    return b;
}

/* Copies fields together with the text that they point into. False: no memory. */
static bool keep(struct h2call *call, const struct field *f, unsigned n, struct str text,
    void **ret_memory, struct field **ret)
{
    size_t table = n * sizeof(*f);
    if (!h2call_hold(call, table + text.n))
        return false;
    char *memory = mem_alloc(table + text.n);
    if (!memory)
        return false;
    memcpy(memory + table, text.p, text.n);
    struct field *to = (struct field *)(void *)memory;
    for (unsigned i = 0; i < n; i++) {
        to[i] = f[i];
        to[i].name = memory + table + (f[i].name - text.p);
        to[i].value = memory + table + (f[i].value - text.p);
    }
    *ret_memory = memory;
    *ret = to;
    return true;
}

static struct h1_limits limits_of(const struct h2conn *h)
{
    uint32_t bytes = h->c->o.head_bytes;
    return (struct h1_limits){bytes, 256, bytes, FIELDS_MAX};
}

static void take_head(struct h2call *call)
{
    struct h2conn *h = call->conn;
    struct h1_limits limits = limits_of(h);
    struct h1_parser parser;
    struct h1_head head;
    h1_parser_reset(&parser, &limits, h->fields);
    if (h1_reply(&parser, buf_head(&h->in), buf_len(&h->in), call->head_method ? H1_HEAD : H1_GET,
            &head) != H1_DONE) {
        h2call_end(call, H2CALL_BROKEN);
        return;
    }
    if (head.status < 200)
        return;
    call->reply.status = head.status;
    call->reply.first_us = clock_mono_us() - call->sent_us;
    if (keep(call, head.fields, head.nfields, str_of(buf_head(&h->in), head.size), &call->fields,
            &call->reply.fields))
        call->reply.nfields = head.nfields;
    else
        h2call_end(call, H2CALL_MEMORY);
}

static void take_trailers(struct h2call *call)
{
    struct h2conn *h = call->conn;
    struct h1_limits limits = limits_of(h);
    struct h1_head chunked = {.framing = H1_CHUNKED};
    struct h1_body body;
    struct str none;
    uint32_t used;
    uint16_t n = 0;
    h1_body_init(&body, &chunked, &limits);
    if (h1_body_feed(&body, buf_head(&h->in), buf_len(&h->in), &used, &none, h->fields, &n) !=
        H1_DONE)
        h2call_end(call, H2CALL_BROKEN);
    else if (n && !keep(call, h->fields, n, str_of(buf_head(&h->in), buf_len(&h->in)),
                      &call->trailers, &call->reply.trailers))
        h2call_end(call, H2CALL_MEMORY);
    else
        call->reply.ntrailers = n;
}

static void on_head(struct h2_stream *st, enum h2_kind kind, bool end)
{
    struct h2call *call = call_of(st);
    if (call->ended)
        return;
    if (kind == H2_TRAILERS)
        take_trailers(call);
    else
        take_head(call);
    if (end && kind == H2_REPLY && !call->ended)
        h2call_end(call, H2CALL_WHOLE);
}

static bool on_bad_head(struct h2_stream *st, enum h2_kind kind, enum h2_error error)
{
    bool large = error == H2_E_TOO_LARGE || error == H2_E_TOO_MANY;
    (void)kind;
    h2call_end(call_of(st), large ? H2CALL_TOO_LARGE : H2CALL_BROKEN);
    return false;
}

static bool grow(struct h2call *call, size_t need)
{
    size_t size = call->in_size ? call->in_size : IN_BYTES;
    while (size < need)
        size *= 2;
    if (size > call->c->o.body_bytes)
        size = call->c->o.body_bytes;
    if (size <= call->in_size)
        return true;
    if (!h2call_hold(call, size - call->in_size))
        return false;
    char *p = mem_realloc(call->in, size);
    if (!p)
        return false;
    call->in = p;
    call->in_size = size;
    return true;
}

static void on_data(struct h2_stream *st, const char *p, size_t n)
{
    struct h2call *call = call_of(st);
    if (call->ended)
        return;
    if (n > call->c->o.body_bytes - call->in_n) {
        h2call_end(call, H2CALL_TOO_LARGE);
    } else if (!grow(call, call->in_n + n)) {
        h2call_end(call, H2CALL_MEMORY);
    } else {
        if (n)
            memcpy(call->in + call->in_n, p, n);
        call->in_n += n;
        if (list_empty(&call->fed))
            list_append(&call->conn->fed, &call->fed);
    }
}

static void on_end(struct h2_stream *st)
{
    h2call_end(call_of(st), H2CALL_WHOLE);
}

static void on_close(struct h2_stream *st, uint32_t code, bool unprocessed)
{
    struct h2call *call = call_of(st);
    struct h2conn *h = call->conn;
    bool left = unprocessed && h->goaway && st->id > h->last;
    if (!call->ended)
        call->reply.reset = left ? 0 : code;
    h2call_end(call, left ? H2CALL_LOST : H2CALL_RESET);
}

static void on_wake(struct h2 *h2, struct h2_stream *st)
{
    struct h2conn *h = h2_owner(h2);
    if (st && list_empty(&call_of(st)->sending))
        list_append(&h->sending, &call_of(st)->sending);
}

static void on_odd(struct h2 *h2, enum h2_odd kind)
{
    (void)h2;
    (void)kind;
}

static void on_goaway(struct h2 *h2, int32_t last, uint32_t code)
{
    struct h2conn *h = h2_owner(h2);
    (void)code;
    h->goaway = true;
    h->last = last;
}

static const struct h2_events events = {.block = on_block,
    .head = on_head,
    .bad_head = on_bad_head,
    .data = on_data,
    .end = on_end,
    .close = on_close,
    .wake = on_wake,
    .odd = on_odd,
    .goaway = on_goaway};

static void credit(struct h2conn *h)
{
    list_for_each (it, &h->fed) {
        struct h2call *call = list_entry(it, struct h2call, fed);
        list_remove(it);
        h2_credit(&call->st, call->st.unread);
    }
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct h2conn *h = conn_of(arg);
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer_iovec part;
    h->heard_ms = clock_mono_ms();
    h->pinged = false;
    event_del(&h->timer);
    while (!h->gone && evbuffer_peek(in, -1, NULL, &part, 1) >= 1) {
        int rc = h2_input(h->h2, part.iov_base, part.iov_len, h->heard_ms);
        evbuffer_drain(in, part.iov_len);
        credit(h);
        if (rc)
            fail(h, rc == -ENOMEM ? "out of memory" : h2_reason(h->h2));
    }
    h2client_turn(h->c);
}

/* ---- what goes ---- */

static size_t unsent(const struct h2conn *h)
{
    return evbuffer_get_length(bufferevent_get_output(h->bev));
}

/* Empties `out`. */
static void drain(struct h2conn *h)
{
    int rc = 1;
    while (rc == 1 && !h->gone) {
        rc = h2_output(h->h2, &h->out);
        if (rc >= 0 && buf_len(&h->out) &&
            bufferevent_write(h->bev, buf_head(&h->out), buf_len(&h->out)))
            rc = -ENOMEM;
        h->out.start = h->out.end = 0;
        if (rc < 0)
            fail(h, "out of memory");
    }
    if (h2_over(h->h2)) /* what came was so wrong that the session ended itself */
        fail(h, h2_reason(h->h2));
}

static void send_body(struct h2conn *h, struct h2call *call)
{
    struct buf none = {0};
    int rc = 1;
    list_remove(&call->sending);
    while (rc == 1) {
        rc = h2_send(&call->st, &h->out, &none, &call->left, true);
        if (rc == 1 && buf_space(&h->out) >= FRAME_BYTES)
            return; /* `wake` comes */
        if (rc == -ENOMEM)
            fail(h, "out of memory");
        drain(h);
        if (rc == 1 && unsent(h) >= OUT_HIGH) {
            if (call->st.h && list_empty(&call->sending))
                list_append(&h->sending, &call->sending);
            return;
        }
    }
}

/* False: the server takes no more for now. now_us: one for all that leave together, so that none of
 * them looks slower for having been written first. */
static bool send_head(struct h2conn *h, struct h2call *call, uint64_t now_us)
{
    struct buf head = {call->memory, 0, call->head_n, call->head_n};
    if (buf_space(&h->out) < FRAME_BYTES)
        drain(h);
    call->conn = h;
    call->sent_us = now_us;
    int rc = call->refused ? -EINVAL
                           : h2_request(h->h2, &call->st, &head,
                                 call->https ? STR("https") : STR("http"), !call->has_body);
    if (rc == -EAGAIN) {
        call->conn = NULL;
        call->sent_us = 0;
        return false;
    }
    list_remove(&call->link);
    list_append(&h->calls, &call->link);
    h->taken++;
    if (rc == -EINVAL)
        h2call_end(call, H2CALL_LOST);
    else if (rc)
        fail(h, "out of memory");
    else if (call->has_body)
        list_append(&h->sending, &call->sending);
    return true;
}

void h2conn_pump(struct h2conn *h, bool take)
{
    if (h->gone)
        return;
    struct list *waiting = &h->c->waiting;
    uint64_t now_us = clock_mono_us();
    while (take && !h->gone && !list_empty(waiting) && unsent(h) < OUT_HIGH &&
           send_head(h, list_entry(waiting->next, struct h2call, link), now_us))
        ;
    do { /* `wake` comes out of drain */
        while (!h->gone && !list_empty(&h->sending) && unsent(h) < OUT_HIGH)
            send_body(h, list_entry(h->sending.next, struct h2call, sending));
        drain(h);
    } while (!h->gone && !list_empty(&h->sending) && unsent(h) < OUT_HIGH);
}

static void on_write(struct bufferevent *bev, void *arg)
{
    (void)bev;
    h2client_turn(conn_of(arg)->c);
}

/* ---- its end ---- */

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct h2conn *h = conn_of(arg);
    int error = EVUTIL_SOCKET_ERROR();
    (void)bev;
    fail(h, what & BEV_EVENT_EOF ? "the server closed the connection"
            : error              ? evutil_socket_error_to_string(error)
                                 : "the connection broke");
    h2client_turn(h->c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct h2conn *h = conn_of(arg);
    (void)fd;
    (void)what;
    fail(h, "no answer to a PING");
    h2client_turn(h->c);
}

void h2conn_doubt(struct h2conn *h, uint64_t since_ms)
{
    struct timeval tv = clock_timeval(h->c->o.connect_ms);
    if (h->gone || h->pinged || h->heard_ms > since_ms)
        return;
    h->pinged = true;
    if (h2_ping(h->h2) || event_add(&h->timer, &tv))
        fail(h, "out of memory");
}

void h2conn_let_go(struct h2call *call)
{
    list_remove(&call->sending);
    list_remove(&call->fed);
    if (!call->st.h)
        return;
    if (call->ended && call->reply.end == H2CALL_WHOLE)
        h2_done(&call->st);
    else
        h2_reset(&call->st, H2_CANCEL);
}

/* ---- life ---- */

bool h2conn_greeted(const struct h2conn *h)
{
    return h2_settled(h->h2);
}

static int set_up(struct h2conn *h)
{
    uint32_t in = h->c->o.head_bytes + IN_SLACK;
    const struct h2_limits limits = {.streams = h->c->o.calls,
        .window = H2_WINDOW_MAX,
        .connection_hold = HOLD_BYTES,
        .head_bytes = h->c->o.head_bytes,
        .fields = FIELDS_MAX,
        .odd = ODD,
        .odd_refill = ODD_REFILL,
        .checked_once = true};
    h->in = (struct buf){mem_alloc(in), 0, 0, in};
    h->out = (struct buf){mem_alloc(OUT_BYTES), 0, 0, OUT_BYTES};
    h->fields = mem_array(FIELDS_MAX, sizeof(*h->fields));
    h->h2 = h2_new(false, &limits, &events, h);
    if (!h->in.data || !h->out.data || !h->fields || !h->h2)
        return -ENOMEM;
    h2_attach(h->h2, &h->out);
    bufferevent_setcb(h->bev, on_read, on_write, on_event, h);
    bufferevent_setwatermark(h->bev, EV_WRITE, OUT_LOW, 0);
    return bufferevent_enable(h->bev, EV_READ | EV_WRITE) ? -ENOMEM : 0;
}

struct h2conn *h2conn_new(struct h2client *c, int fd, struct err *e)
{
    struct h2conn *h = mem_zalloc(sizeof(*h));
    struct bufferevent *bev = h ? bufferevent_socket_new(c->base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (!bev) {
        mem_free(h);
        close(fd);
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    *h = (struct h2conn){.magic = CONN_MAGIC, .c = c, .bev = bev};
    list_init(&h->link);
    list_init(&h->calls);
    list_init(&h->sending);
    list_init(&h->fed);
    evtimer_assign(&h->timer, c->base, on_timer, h);
    if (set_up(h)) {
        h2conn_free(h);
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    return h;
}

void h2conn_free(struct h2conn *h)
{
    list_remove(&h->link);
    h2_free(h->h2); /* streams are forgotten */
    list_for_each (it, &h->sending)
        list_remove(it);
    list_for_each (it, &h->fed)
        list_remove(it);
    list_for_each (it, &h->calls)
        h2call_end(list_entry(it, struct h2call, link), H2CALL_LOST);
    event_del(&h->timer);
    bufferevent_free(h->bev);
    mem_free(h->in.data);
    mem_free(h->out.data);
    mem_free(h->fields);
    h->magic = 0;
    mem_free(h);
}
