#include "proxy/client.h"
#include "lib/base/mem.h"
#include "proxy/h2link.h"
#include "proxy/minrate.h"
#include "proxy/ratelimit.h"
#include "proxy/request.h"
#include "proxy/tls.h"
#include "proxy/worker.h"
#include <assert.h>
#include <unistd.h>

#define LINGER_BYTES 262144u /* read and dropped at the most */

static struct client *from_conn(struct conn *c)
{
    assert(c->magic == CLIENT_MAGIC);
    return (struct client *)(void *)c;
}

static void on_timer(struct timer *t);

struct client *client_new(struct worker *w, struct listener *l, int fd, const struct addr *peer)
{
    struct client *c = mem_zalloc(sizeof *c);
    if (!c || conn_open(&c->conn, w, CLIENT_MAGIC, fd, true, client_on_ready) != 0) {
        mem_free(c);
        close(fd);
        return NULL;
    }
    c->phase = CLIENT_NEW;
    c->listener = l;
    c->peer_kind = peer->kind;
    c->peer_port = peer->port;
    memcpy(c->peer_ip, peer->ip, sizeof c->peer_ip);
    c->since_ms = w->now_ms;
    timer_init(&c->timer, on_timer);
    worker_timer(w, &c->timer, w->now_ms + w->set->timeout_idle);
    client_first_init(c);
    list_append(&w->clients, &c->link);
    counter_inc(&w->stats[STAT_CLIENTS]);
    if (c->phase != CLIENT_PROXY)
        ratelimit_connect(c);
    return c;
}

void client_init_stream(struct client *c, struct client *parent)
{
    c->phase = CLIENT_STREAM;
    c->parent = parent;
    c->listener = parent->listener;
    c->peer_kind = parent->peer_kind;
    c->peer_port = parent->peer_port;
    c->local_port = parent->local_port;
    memcpy(c->peer_ip, parent->peer_ip, sizeof c->peer_ip);
    c->refuse = parent->refuse;
    c->limited = parent->limited;
    c->plain = parent->plain;
    c->tls = parent->tls;
    c->subjects = parent->subjects;
    timer_init(&c->timer, on_timer);
    list_init(&c->link);
}

void client_peer(const struct client *c, struct addr *ret)
{
    *ret = (struct addr){.kind = c->peer_kind};
    memcpy(ret->ip, c->peer_ip, sizeof ret->ip);
}

void client_close(struct client *c, enum client_close why, bool reset)
{
    struct worker *w = c->conn.w;
    if (!c->conn.open)
        return;
    if (c->req) {
        struct request *r = c->req;
        c->req = NULL;
        request_abandon(r);
    }
    if (c->phase == CLIENT_STREAM) {
        conn_close(&c->conn, reset);
        counter_inc(&w->stats[STAT_STREAM_CLOSES + why]);
        worker_bury(w, &c->conn);
        return;
    }
    if (c->phase == CLIENT_HTTP2)
        client_h2_close(c, why);
    wheel_cancel(&w->wheel, &c->timer);
    conn_close(&c->conn, reset);
    live_walk_skip(&w->live, &c->link);
    list_remove(&c->link);
    atomic_fetch_sub_explicit(&w->shared->connections, 1, memory_order_relaxed);
    ratelimit_disconnect(c);
    counter_sub(&w->stats[STAT_CLIENTS], 1);
    counter_inc(&w->stats[STAT_CLIENT_CLOSES + why]);
    worker_bury(w, &c->conn);
}

void client_linger(struct client *c, enum client_close why)
{
    if (c->conn.eof || c->phase == CLIENT_STREAM) {
        client_close(c, why, false);
        return;
    }
    conn_end_sending(&c->conn);
    c->lingering = true;
    c->close_reason = (uint8_t)why;
    c->since_ms = c->conn.w->now_ms;
    c->untaken = conn_in_kernel(&c->conn);
    worker_timer(c->conn.w, &c->timer, c->since_ms + c->conn.w->set->timeout_linger);
    client_on_ready(&c->conn);
}

static void drop_input(struct client *c)
{
    for (;;) {
        c->dropped += buf_len(&c->conn.in);
        c->conn.in.start = c->conn.in.end = 0;
        enum io io = c->dropped > LINGER_BYTES ? IO_EOF : conn_read(&c->conn);
        if (io == IO_OK)
            continue;
        if (io == IO_AGAIN) {
            buf_drop(&c->conn.in, &c->conn.w->bufs);
            return;
        }
        client_close(c, c->close_reason, false);
        return;
    }
}

/* RFC 9113 section 3.4. */
#define PREFACE STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

/* True: HTTP/1. Else HTTP/2, which has begun (and may be over), or the first bytes cannot tell. */
static bool sniff(struct client *c)
{
    const struct buf *in = &c->conn.in;
    uint32_t n = buf_len(in) < PREFACE.n ? buf_len(in) : (uint32_t)PREFACE.n;
    bool differs = memcmp(buf_head(in), PREFACE.p, n) != 0;
    if (differs && !c->agreed_h2) {
        c->phase = CLIENT_HTTP1;
        return true;
    }
    if (differs || n == PREFACE.n) { /* the session says what is wrong with it */
        client_h2_begin(c);
        return false;
    }
    client_head_started(c);
    if (conn_may_read(&c->conn)) /* there may be an end behind it */
        conn_resume_later(&c->conn);
    return false;
}

/* False: closed, since memory is out. */
static bool new_request(struct client *c)
{
    c->req = request_new(c);
    if (!c->req)
        client_close(c, CLIENT_CLOSE_NO_MEMORY, false);
    return c->req;
}

/* Between requests: is there the beginning of one? */
static void start_request(struct client *c)
{
    if (c->phase == CLIENT_PROXY && !client_proxy_header(c))
        return;
    if (c->phase == CLIENT_TLS) { /* behind its header */
        if (c->conn.open)
            client_tls_ready(c);
        return;
    }
    if (c->phase == CLIENT_TCP) {
        client_tcp_ready(c);
        return;
    }
    if (c->phase == CLIENT_STREAM && h2strm_failed(&c->conn)) {
        client_close(c, CLIENT_CLOSE_RESET, false);
        return;
    }
    bool bad = c->phase == CLIENT_STREAM && h2strm_bad(&c->conn);
    if (!bad && (buf_len(&c->conn.in) == 0 || c->phase == CLIENT_NEW)) {
        enum io io = conn_read(&c->conn);
        if (io == IO_AGAIN)
            return;
        if (io != IO_OK) {
            bool begun = buf_len(&c->conn.in) > 0;
            client_close(c,
                io == IO_NO_MEMORY ? CLIENT_CLOSE_NO_MEMORY
                : begun            ? CLIENT_CLOSE_IN_HEAD
                                   : CLIENT_CLOSE_CLIENT,
                false);
            return;
        }
    }
    if (c->phase == CLIENT_NEW && !sniff(c))
        return;
    if (!new_request(c))
        return;
    if (bad)
        request_run_bad(c->req, h2strm_bad(&c->conn));
    else
        request_run(c->req);
}

void client_on_ready(struct conn *conn)
{
    struct client *c = from_conn(conn);
    if (c->phase == CLIENT_HTTP2)
        client_h2_ready(c);
    else if (c->lingering)
        drop_input(c);
    else if (c->phase == CLIENT_TLS)
        client_tls_ready(c);
    else if (c->req && request_client_alive(c->req))
        request_run(c->req);
    else if (!c->req && conn->open)
        start_request(c);
}

void client_next(struct client *c, bool keep, enum client_close why)
{
    struct worker *w = c->conn.w;
    c->req = NULL;
    if (!keep || c->phase == CLIENT_STREAM) {
        client_close(c, why, false);
        return;
    }
    c->since_ms = w->now_ms;
    if (buf_len(&c->conn.in) == 0)
        buf_drop(&c->conn.in, &w->bufs);
    /* What is already here waits for its turn, so that a pipeline cannot starve the others. */
    if (c->conn.readable || c->conn.in.data || c->conn.hup)
        conn_resume_later(&c->conn);
}

void client_head_started(struct client *c)
{
    struct worker *w = c->conn.w;
    c->since_ms = w->now_ms;
    c->head_received = c->conn.received;
    worker_timer(w, &c->timer, w->now_ms + minrate_wait(w, w->set->timeout_head));
}

/* The timer is set for the connection's life and moved only when it fires, or when something
 * sooner than idling begins (a head in pieces, lingering): a request costs nothing here. */
static void on_timer(struct timer *t)
{
    struct client *c = list_entry(t, struct client, timer);
    assert(c->conn.magic == CLIENT_MAGIC);
    struct worker *w = c->conn.w;
    if (c->lingering) {
        if (minrate_lingers(c))
            worker_timer(w, t, w->now_ms + w->set->timeout_linger);
        else
            client_close(c, c->close_reason, false);
        return;
    }
    if (c->phase == CLIENT_HTTP2) {
        client_h2_timer(c);
        return;
    }
    if (c->phase >= CLIENT_PROXY && !c->req) {
        client_first_timer(c);
        return;
    }
    if (c->phase == CLIENT_TLS) {
        client_tls_timer(c);
        return;
    }
    if (c->phase == CLIENT_NEW && c->conn.in.data) {
        /* As much of a preface as of a method: HTTP/1 says what is wrong with it. */
        c->phase = CLIENT_HTTP1;
        if (!new_request(c))
            return;
    }
    if (c->req && c->req->step == STEP_HEAD) {
        uint64_t deadline = c->since_ms + w->set->timeout_head;
        bool slow = deadline > w->now_ms && minrate_head(c);
        if (deadline > w->now_ms && !slow) {
            worker_timer(w, t, w->now_ms + minrate_wait(w, deadline - w->now_ms));
            return;
        }
        c->req->client_fault = (slow ? CLIENT_CLOSE_TOO_SLOW : CLIENT_CLOSE_HEAD_TIMEOUT) + 1;
        c->req->step = (uint8_t)request_refuse(c->req, REFUSAL_REQUEST_TIMEOUT);
        worker_timer(w, t, w->now_ms + w->set->timeout_idle);
        request_run(c->req);
        return;
    }
    if (!c->req && c->since_ms + w->set->timeout_idle <= w->now_ms) {
        client_close(c, CLIENT_CLOSE_IDLE, false);
        return;
    }
    worker_timer(w, t, (c->req ? w->now_ms : c->since_ms) + w->set->timeout_idle);
}
