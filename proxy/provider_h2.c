/* The provider side of HTTP/2: connections to a provider, and requests as their streams. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "proxy/h2link.h"
#include "proxy/provider.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>

/* A connection. */
struct psession {
    struct pconn p; /* first; p.link in provider.idle, whether idle or not */
    struct h2link l;
    uint64_t began_ms; /* of the connect */
    bool unused;       /* closing, since it was without a stream for too long */
};

struct pstream {
    struct pconn p; /* first */
    struct h2strm s;
};

static struct psession *of_link(struct h2link *l)
{
    return list_entry(l, struct psession, l);
}

static struct psession *session_at(struct list *link)
{
    struct pconn *p = list_entry(link, struct pconn, link);
    return (struct psession *)(void *)p;
}

static struct h2link *link_of_stream(struct pconn *c)
{
    return ((struct pstream *)(void *)c)->s.l;
}

/* ---- streams ---- */

static void stream_ready(struct conn *conn)
{
    struct pconn *c = (struct pconn *)(void *)conn;
    assert(conn->magic == PCONN_MAGIC);
    if (c->req)
        request_run(c->req);
}

static struct pconn *open_stream(struct worker *w, struct psession *s)
{
    struct pstream *st = worker_stream_object(w, PCONN_MAGIC, sizeof *st);
    if (!st)
        return NULL;
    h2strm_open(&st->s, &s->l, &st->p.conn, PCONN_MAGIC, stream_ready);
    st->p.kind = PCONN_STREAM;
    st->p.provider = s->p.provider;
    st->p.used = s->p.used;
    list_init(&st->p.link);
    if (s->p.used)
        counter_inc(&w->stats[STAT_PROVIDER_REUSES]);
    s->p.used = true;
    s->p.conn.requests++;
    return &st->p;
}

void pconn_h2_close_stream(struct pconn *c)
{
    struct worker *w = c->conn.w;
    struct h2link *l = link_of_stream(c);
    conn_close(&c->conn, false);
    worker_bury(w, &c->conn);
    c->provider->used_ms = w->now_ms;
    if (!l || l->nstreams)
        return;
    of_link(l)->p.idle_ms = w->now_ms;
    if (l->goaway || w->draining)
        l->closing = true; /* once what waits has left */
    h2link_mark(l);
}

/* ---- connections ---- */

static void broken(struct h2link *l, enum io io)
{
    struct psession *s = of_link(l);
    const char *reason = h2_reason(l->h2);
    if (*reason)
        log_debug("HTTP/2 connection to a provider closed: %s", reason);
    pconn_close(&s->p, s->unused     ? PROVIDER_CLOSE_IDLE
                       : io == IO_OK ? PROVIDER_CLOSE_DONE
                       : l->nstreams ? PROVIDER_CLOSE_ABORT
                                     : PROVIDER_CLOSE_IDLE_READABLE);
}

static void room(struct h2link *l)
{
    struct pconn *c = &of_link(l)->p;
    if (l->goaway && l->nstreams == 0) {
        l->closing = true;
        h2link_mark(l);
    }
    provider_h2_serve(c->conn.w, c->provider);
}

static const struct h2link_side side = {broken, NULL, room, NULL};

static int begin_session(struct psession *s)
{
    return h2link_open(&s->l, &s->p.conn, false, s->p.conn.w->set->h2_provider_streams, &side);
}

/* Its requests did not find it: those that waited for it find the fault themselves. */
static void connect_failed(struct psession *s)
{
    struct provider *p = s->p.provider;
    list_for_each (it, &p->waiting)
        list_entry(it, struct request, wait)->connect_failed = true;
    pconn_close(&s->p, PROVIDER_CLOSE_ABORT);
}

static void session_ready(struct conn *conn)
{
    struct psession *s = (struct psession *)(void *)conn;
    assert(conn->magic == PCONN_MAGIC);
    if (!s->p.pending) {
        h2link_run(&s->l);
        return;
    }
    if (!conn->writable && !conn->readable && !conn->hup)
        return;
    int rc = pconn_connected(&s->p);
    if (rc == -EINPROGRESS)
        return;
    if (rc != 0 || begin_session(s) != 0) {
        connect_failed(s);
        return;
    }
    if (conn->readable) /* what came at once has no event of its own */
        conn_resume_later(conn);
    provider_h2_serve(conn->w, s->p.provider);
}

void pconn_h2_close_session(struct pconn *c)
{
    struct psession *s = (struct psession *)(void *)c;
    list_remove(&c->link);
    if (s->l.h2)
        h2link_close(&s->l);
}

bool provider_h2_busy(const struct pconn *session)
{
    return ((const struct psession *)(const void *)session)->l.nstreams > 0;
}

bool provider_h2_connecting(struct provider *p)
{
    bool any = false;
    if (!p->http2)
        return false;
    list_for_each (it, &p->idle) {
        if (!session_at(it)->p.pending)
            return false;
        any = true;
    }
    return any;
}

/* The peer allows one more, those counted in that have not said their request yet. */
static bool has_room(const struct psession *s)
{
    uint32_t said = h2_streams(s->l.h2);
    return h2_room(s->l.h2) > (s->l.nstreams > said ? s->l.nstreams - said : 0);
}

/* A connection that takes one more stream; *ret_pending: streams that one in the making will. */
static struct psession *find(struct worker *w, struct provider *p, uint32_t *ret_pending)
{
    *ret_pending = 0;
    list_for_each (it, &p->idle) {
        struct psession *s = session_at(it);
        if (s->p.pending)
            *ret_pending += w->set->h2_provider_streams;
        else if (!s->l.goaway && !s->l.closing && has_room(s) &&
                 s->l.nstreams < w->set->h2_provider_streams)
            return s;
    }
    return NULL;
}

static struct psession *connect_session(struct worker *w, struct provider *p, int *ret_errno)
{
    struct pconn *c =
        pconn_connect(w, p, PCONN_SESSION, sizeof(struct psession), session_ready, ret_errno);
    struct psession *s = (struct psession *)(void *)c;
    if (!c)
        return NULL;
    s->began_ms = c->idle_ms = w->now_ms;
    list_append(&p->idle, &c->link);
    if (!c->pending && begin_session(s) != 0) {
        *ret_errno = -ENOMEM;
        pconn_close(c, PROVIDER_CLOSE_ABORT);
        return NULL;
    }
    return s;
}

enum acquire provider_h2_acquire(
    struct worker *w, struct provider *p, struct request *r, struct pconn **ret, int *ret_errno)
{
    uint32_t pending;
    struct psession *s = find(w, p, &pending);
    if (!s && pending <= p->nwaiting && p->nconns < w->set->limit_provider_connections) {
        s = connect_session(w, p, ret_errno);
        if (!s && *ret_errno != -EDQUOT)
            return ACQUIRE_FAILED;
    }
    if (!s || s->p.pending)
        return provider_wait(w, p, r);
    struct pconn *c = open_stream(w, s);
    if (!c) {
        *ret_errno = -ENOMEM;
        return ACQUIRE_FAILED;
    }
    pconn_attach(c, r);
    *ret = c;
    return ACQUIRE_READY;
}

void provider_h2_serve(struct worker *w, struct provider *p)
{
    while (!w->stop && !list_empty(&p->waiting)) {
        struct request *r = list_entry(p->waiting.next, struct request, wait);
        uint32_t pending;
        int error = 0;
        struct psession *s = NULL;
        if (!r->connect_failed) {
            s = find(w, p, &pending);
            if (!s && pending < p->nwaiting && p->nconns < w->set->limit_provider_connections)
                s = connect_session(w, p, &error);
            else if (!s)
                return;
            if (error == -EDQUOT || (s && s->p.pending))
                return;
        }
        provider_hand_over(p, s ? open_stream(w, s) : NULL);
    }
}

void provider_h2_sweep(
    struct worker *w, struct provider *p, uint64_t older_than_ms, enum provider_close why)
{
    list_for_each (it, &p->idle) {
        struct psession *s = session_at(it);
        bool late = s->p.pending && s->began_ms + 2 * w->set->timeout_connect <= w->now_ms;
        /* unused: its GOAWAY did not leave within a second */
        if (s->unused || (older_than_ms == 0 && (s->p.pending || s->l.nstreams == 0))) {
            pconn_close(&s->p, why);
        } else if (late) {
            connect_failed(s);
        } else if (!s->p.pending && s->l.nstreams == 0 &&
                   s->p.idle_ms + older_than_ms <= w->now_ms) {
            h2_goaway(s->l.h2, H2_NO_ERROR);
            h2link_mark(&s->l);
            s->l.closing = s->unused = true;
        }
    }
}
