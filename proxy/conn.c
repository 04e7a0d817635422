#include "proxy/conn.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    assert(c->magic == CLIENT_MAGIC || c->magic == PCONN_MAGIC);
    if (what & EV_READ)
        c->readable = true;
    if (what & EV_CLOSED)
        c->readable = c->hup = true;
    if (what & EV_WRITE)
        c->writable = true;
    worker_clock(c->w);
    c->on_ready(c);
}

static void init(
    struct conn *c, struct worker *w, uint32_t magic, int fd, void (*on_ready)(struct conn *c))
{
    c->magic = magic;
    c->w = w;
    c->fd = fd;
    c->open = true;
    c->last = false;
    c->ops = NULL;
    c->transport = NULL;
    c->on_ready = on_ready;
    c->in = c->out = (struct buf){0};
    c->readable = c->unsure = c->hup = c->eof = false;
    c->requests = 0;
    c->opened_us = w->now_us;
    c->received = c->sent = 0;
    list_init(&c->ready);
}

void conn_open_stream(struct conn *c, struct worker *w, uint32_t magic, const struct conn_ops *ops,
    void *transport, void (*on_ready)(struct conn *c))
{
    init(c, w, magic, -1, on_ready);
    c->ops = ops;
    c->transport = transport;
    c->writable = true;
}

int conn_open(struct conn *c, struct worker *w, uint32_t magic, int fd, bool connected,
    void (*on_ready)(struct conn *c))
{
    init(c, w, magic, fd, on_ready);
    c->writable = connected;
    short what = EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST;
    if (event_assign(&c->ev, w->base, fd, what, on_event, c) != 0 || event_add(&c->ev, NULL) != 0) {
        c->fd = -1;
        c->open = false;
        return -ENOMEM;
    }
    return 0;
}

static void close_socket(struct conn *c, bool reset)
{
    event_del(&c->ev);
    if (reset)
        conn_close_by_reset(c);
    close(c->fd);
    c->fd = -1;
}

void conn_close_by_reset(const struct conn *c)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    if (c->fd >= 0)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

void conn_end_sending(struct conn *c)
{
    if (c->ops && c->ops->end)
        c->ops->end(c);
    if (c->fd >= 0)
        shutdown(c->fd, SHUT_WR);
}

void conn_close(struct conn *c, bool reset)
{
    assert(c->open);
    c->open = false;
    if (c->ops && c->ops->close)
        c->ops->close(c, reset);
    if (c->fd >= 0)
        close_socket(c, reset);
    list_remove(&c->ready);
    buf_drop(&c->in, &c->w->bufs);
    buf_drop(&c->out, &c->w->bufs);
}

uint64_t conn_in_kernel(const struct conn *c)
{
    int n = 0;
    return ioctl(c->fd, SIOCOUTQ, &n) == 0 && n > 0 ? (uint64_t)n : 0;
}

enum io conn_recv(struct conn *c, struct buf *b, uint32_t room)
{
    ssize_t n;
    do
        n = recv(c->fd, buf_tail(b), room, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        b->end += (uint32_t)n;
        c->received += (uint64_t)n;
        counter_add(
            &c->w->stats[c->magic == CLIENT_MAGIC ? STAT_CLIENT_BYTES_IN : STAT_PROVIDER_BYTES_IN],
            (uint64_t)n);
        if ((uint32_t)n < room && !c->hup) {
            c->readable = false;
            c->unsure = true;
        }
        return IO_OK;
    }
    c->readable = c->unsure = false;
    if (n == 0)
        return IO_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? IO_AGAIN : IO_ERROR;
}

enum io conn_read(struct conn *c)
{
    if (c->ops)
        return c->ops->read(c);
    if (c->eof)
        return IO_EOF;
    if (!conn_may_read(c))
        return IO_AGAIN;
    if (!c->in.data && buf_hold(&c->in, &c->w->bufs) != 0) {
        counter_inc(&c->w->stats[STAT_BUFFERS_REFUSED]);
        return IO_NO_MEMORY;
    }
    uint32_t space = buf_space(&c->in);
    if (space == 0)
        return IO_FULL;
    enum io io = conn_recv(c, &c->in, space);
    if (io == IO_OK)
        return IO_OK;
    if (buf_len(&c->in) == 0)
        buf_drop(&c->in, &c->w->bufs);
    c->eof = io == IO_EOF;
    return io;
}

/* Takes n sent bytes off out, then off span. */
static void consume(struct conn *c, struct str *span, size_t n)
{
    uint32_t first = buf_len(&c->out);
    if (n < first) {
        buf_consume(&c->out, (uint32_t)n);
        return;
    }
    if (first)
        buf_consume(&c->out, first);
    if (span)
        *span = str_from(*span, n - first);
}

/* Apart from send_once, which mostly needs no vector. */
__attribute__((noinline)) static ssize_t send_both(const struct conn *c, const struct str *span)
{
    struct iovec v[2] = {
        {buf_head(&c->out), buf_len(&c->out)}, {(void *)(uintptr_t)span->p, span->n}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    return sendmsg(c->fd, &m, MSG_NOSIGNAL);
}

static inline ssize_t send_once(const struct conn *c, const struct str *span, size_t span_len)
{
    if (span_len == 0)
        return send(c->fd, buf_head(&c->out), buf_len(&c->out), MSG_NOSIGNAL);
    if (buf_len(&c->out) == 0)
        return send(c->fd, span->p, span_len, MSG_NOSIGNAL);
    return send_both(c, span);
}

enum io conn_sent(struct conn *c, ssize_t n, size_t all)
{
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return IO_ERROR; /* no edge will come: the next send is to fail too */
        c->writable = false;
        return IO_AGAIN;
    }
    counter_add(
        &c->w->stats[c->magic == CLIENT_MAGIC ? STAT_CLIENT_BYTES_OUT : STAT_PROVIDER_BYTES_OUT],
        (uint64_t)n);
    c->sent += (uint64_t)n;
    c->unsure = false; /* a socket with an error takes nothing */
    if ((size_t)n < all)
        c->writable = false; /* the next edge tells when there is room again */
    return IO_OK;
}

enum io conn_write(struct conn *c, struct str *span)
{
    if (c->ops)
        return c->ops->write(c, span);
    for (;;) {
        size_t span_len = span ? span->n : 0, all = buf_len(&c->out) + span_len;
        if (all == 0) {
            buf_drop(&c->out, &c->w->bufs);
            return IO_OK;
        }
        if (!c->writable)
            return IO_AGAIN;
        ssize_t n = send_once(c, span, span_len);
        if (n < 0 && errno == EINTR)
            continue;
        enum io io = conn_sent(c, n, all);
        if (io != IO_OK)
            return io;
        consume(c, span, (size_t)n);
    }
}

void conn_resume_later(struct conn *c)
{
    if (list_empty(&c->ready))
        list_append(&c->w->ready, &c->ready);
}
