/* The client side of HTTP/2: a connection whose streams are clients of their own. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "proxy/client.h"
#include "proxy/h2link.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <assert.h>

/* Between the announcement of the end and the naming of the last stream. */
#define GOODBYE_MS 1000u

/* Of a connection. */
struct h2client {
    struct h2link l; /* first */
    struct client *c;
    uint64_t idle_ms;    /* since when there is no stream */
    uint64_t goodbye_ms; /* when the last stream is named; 0: not draining */
    bool owes;           /* a head, since c->since_ms */
    bool unused;         /* closing, since it was without a stream for too long */
};

struct cstream {
    struct client c; /* first */
    struct h2strm s;
};

static struct h2client *of_link(struct h2link *l)
{
    return (struct h2client *)(void *)l;
}

/* Of a connection that we end, when nothing went wrong on it. */
static enum client_close end_reason(const struct h2client *h)
{
    if (h->unused)
        return CLIENT_CLOSE_IDLE;
    if (h->c->refuse)
        return CLIENT_CLOSE_REFUSED;
    return h->c->conn.w->draining ? CLIENT_CLOSE_DRAIN : CLIENT_CLOSE_DONE;
}

static void broken(struct h2link *l, enum io io)
{
    struct client *c = of_link(l)->c;
    const char *reason = h2_reason(l->h2);
    enum client_close why = CLIENT_CLOSE_CLIENT;
    if (io == IO_NO_MEMORY)
        why = CLIENT_CLOSE_NO_MEMORY;
    else if (io == IO_ERROR)
        why = CLIENT_CLOSE_RESET;
    else if (*reason)
        why = CLIENT_CLOSE_BAD_REQUEST;
    else if (io == IO_OK)
        why = end_reason(of_link(l));
    if (*reason)
        log_debug("HTTP/2 connection of a client closed: %s", reason);
    if (io != IO_OK) {
        client_close(c, why, false);
        return;
    }
    client_h2_close(c, why);
    client_linger(c, why); /* a WINDOW_UPDATE behind the last frame would destroy what is unread */
}

static struct h2strm *opened(struct h2link *l)
{
    struct client *c = of_link(l)->c;
    struct worker *w = c->conn.w;
    if (w->draining && of_link(l)->goodbye_ms == 0)
        return NULL;
    struct cstream *cs = worker_stream_object(w, CLIENT_MAGIC, sizeof *cs);
    if (!cs)
        return NULL;
    h2strm_open(&cs->s, l, &cs->c.conn, CLIENT_MAGIC, client_on_ready);
    client_init_stream(&cs->c, c);
    counter_inc(&w->stats[STAT_STREAMS]);
    return &cs->s;
}

static void room(struct h2link *l)
{
    (void)l; /* of the client side of a session */
}

static void taken(struct h2link *l)
{
    struct h2client *h = of_link(l);
    struct client *c = h->c;
    struct worker *w = c->conn.w;
    bool owed = h->owes;
    /* A block of fields in pieces, a preface without SETTINGS: they have as long as a head. */
    h->owes = !h2_settled(l->h2);
    if (!owed && h->owes)
        client_head_started(c);
    else if (owed && !h->owes && !h->goodbye_ms) /* the timer was set for the head */
        worker_timer(w, &c->timer, w->now_ms + w->set->timeout_idle);
    if (l->nstreams)
        h->idle_ms = w->now_ms;
}

static const struct h2link_side side = {broken, opened, room, taken};

void client_h2_begin(struct client *c)
{
    struct worker *w = c->conn.w;
    const struct settings *set = w->set;
    struct h2client *h = mem_zalloc(sizeof *h);
    uint32_t streams = c->listener->spec.trusted ? set->h2_streams_trusted : set->h2_streams;
    if (!h || h2link_open(&h->l, &c->conn, true, streams, &side) != 0) {
        mem_free(h);
        client_close(c, CLIENT_CLOSE_NO_MEMORY, false);
        return;
    }
    h->c = c;
    h->idle_ms = w->now_ms;
    c->h2 = h;
    c->phase = CLIENT_HTTP2;
    counter_inc(&w->stats[STAT_H2_CLIENTS]);
    h->owes = true; /* SETTINGS */
    client_head_started(c);
    c->conn.readable = true; /* the preface is here */
    if (w->draining || c->refuse)
        client_h2_drain(c);
    client_h2_ready(c);
}

void client_h2_close(struct client *c, enum client_close why)
{
    struct h2client *h = c->h2;
    list_for_each (it, &h->l.streams) {
        struct h2strm *s = list_entry(it, struct h2strm, link);
        client_close((struct client *)(void *)s->conn, why, true);
    }
    h2link_close(&h->l);
    counter_sub(&c->conn.w->stats[STAT_H2_CLIENTS], 1);
    c->phase = CLIENT_HTTP1;
    c->h2 = NULL;
    mem_free(h);
}

void client_h2_ready(struct client *c)
{
    h2link_run(&c->h2->l);
}

void client_h2_each(const struct client *c, void (*fn)(struct client *stream, void *arg), void *arg)
{
    struct list *streams = &c->h2->l.streams, *it = streams->next;
    while (c->phase == CLIENT_HTTP2 && it != streams) {
        struct list *next = it->next;
        struct h2strm *s = list_entry(it, struct h2strm, link);
        fn((struct client *)(void *)s->conn, arg);
        it = next != streams && list_empty(next) ? streams->next : next;
    }
}

uint32_t client_h2_id(const struct client *stream)
{
    const struct cstream *cs = (const struct cstream *)(const void *)stream;
    return (uint32_t)cs->s.st.id;
}

bool client_h2_busy(const struct client *c)
{
    return c->h2->l.nstreams > 0 || c->h2->l.closing;
}

void client_h2_timer(struct client *c)
{
    struct h2client *h = c->h2;
    struct worker *w = c->conn.w;
    const struct settings *set = w->set;
    uint64_t next = w->now_ms + set->timeout_idle;
    if (h->unused) { /* our GOAWAY does not leave: nothing is taken there any more */
        client_close(c, CLIENT_CLOSE_IDLE, false);
        return;
    }
    if (h->owes) {
        if (c->since_ms + set->timeout_head <= w->now_ms) {
            client_close(c, CLIENT_CLOSE_HEAD_TIMEOUT, false);
            return;
        }
        next = c->since_ms + set->timeout_head;
    } else if (h->goodbye_ms && !h->l.goaway && h->goodbye_ms <= w->now_ms) {
        h->l.goaway = true;
        h2_goaway(h->l.h2, H2_NO_ERROR);
        h2link_mark(&h->l);
    } else if (h->l.nstreams == 0 && h->idle_ms + set->timeout_idle <= w->now_ms) {
        h2_goaway(h->l.h2, H2_NO_ERROR);
        h2link_mark(&h->l);
        h->l.closing = h->unused = true;
        worker_timer(w, &c->timer, w->now_ms + set->timeout_linger);
        return;
    } else if (h->l.nstreams == 0) {
        next = h->idle_ms + set->timeout_idle;
    }
    if (h->goodbye_ms && !h->l.goaway)
        next = h->goodbye_ms;
    worker_timer(w, &c->timer, next);
}

void client_h2_drain(struct client *c)
{
    struct h2client *h = c->h2;
    if (h->goodbye_ms)
        return;
    /* RFC 9113 section 6.8: what is on its way when the peer hears of it is still served. */
    h->goodbye_ms = c->conn.w->now_ms + GOODBYE_MS;
    if (h2_shutdown(h->l.h2) != 0)
        h->l.closing = true;
    h2link_mark(&h->l);
    worker_timer(c->conn.w, &c->timer, h->goodbye_ms);
}
