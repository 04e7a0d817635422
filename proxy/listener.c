#include "proxy/listener.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/sock.h"
#include "proxy/client.h"
#include "proxy/tls.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_A_TURN 64
#define ACCEPTS_AT_END 8192 /* more than a backlog holds */
#define PAUSE_MS       100
#define COMPLAIN_MS    10000 /* between two lines about failed accepts */

/* The limit is of the process: relaxed atomics, touched on connect and close only. */
static bool over_limit(struct listener *l, int fd, bool *ret_refuse)
{
    struct worker *w = l->w;
    uint32_t limit = w->set->limit_connections;
    uint32_t before = atomic_fetch_add_explicit(&w->shared->connections, 1, memory_order_relaxed);
    bool over = w->overload.step >= OVERLOAD_CONNECTIONS;
    *ret_refuse = before >= limit || over;
    if (over)
        counter_inc(&w->stats[STAT_OVERLOAD_REFUSED + OVERLOAD_CONNECTIONS - 1]);
    if (before < limit)
        return false;
    if (before < limit + limit / 4 + 16) {
        counter_inc(&w->stats[STAT_CONNECTIONS_REFUSED]);
        return false; /* it is answered */
    }
    atomic_fetch_sub_explicit(&w->shared->connections, 1, memory_order_relaxed);
    counter_inc(&w->stats[STAT_CONNECTIONS_DROPPED]);
    close(fd);
    return true;
}

static bool from_allowed(const struct listener *l, const struct addr *peer)
{
    for (unsigned i = 0; i < l->spec.nfrom; i++)
        if (cidr_has(&l->spec.from[i], peer))
            return true;
    return l->spec.nfrom == 0 || peer->kind == ADDR_UNIX;
}

void listener_take(struct listener *l, int fd, const struct addr *peer)
{
    struct worker *w = l->w;
    bool refuse = false;
    if (!from_allowed(l, peer)) {
        counter_inc(&w->stats[STAT_ACCEPT_FOREIGN]);
        close(fd);
        return;
    }
    if (over_limit(l, fd, &refuse))
        return;
    counter_inc(&w->stats[STAT_ACCEPTS]);
    struct client *c = client_new(w, l, fd, peer);
    if (!c) {
        atomic_fetch_sub_explicit(&w->shared->connections, 1, memory_order_relaxed);
        counter_inc(&w->stats[STAT_ACCEPT_ERRORS]);
        return;
    }
    c->refuse |= refuse;
    if (l->tls && c->phase == CLIENT_NEW)
        client_tls_begin(c);
}

static void on_resume(struct timer *t)
{
    struct listener *l = list_entry(t, struct listener, pause);
    assert(l->magic == LISTENER_MAGIC);
    if (l->fd >= 0)
        event_add(l->event, NULL);
}

/* The queue stays as it is: trying again at once would spin. */
static void pause_accepting(struct listener *l, int error)
{
    struct worker *w = l->w;
    counter_inc(&w->stats[STAT_ACCEPT_ERRORS]);
    overload_starved(w);
    event_del(l->event);
    worker_timer(w, &l->pause, w->now_ms + PAUSE_MS);
    if (l->complained_ms && w->now_ms - l->complained_ms < COMPLAIN_MS) {
        l->untold++;
        return;
    }
    log_warn("cannot accept a connection, pausing for %u ms: %s", PAUSE_MS, strerror(-error));
    if (l->untold)
        log_warn("the same %u times since the last such line", l->untold);
    l->complained_ms = w->now_ms;
    l->untold = 0;
}

/* Up to n of those that wait. 0, or why the rest is not accepted. */
static int accept_some(struct listener *l, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct addr peer;
        int got = sock_accept(l->fd, &peer);
        if (got >= 0)
            listener_take(l, got, &peer);
        else if (got == -EAGAIN)
            return 0;
        else if (got != -ECONNABORTED && got != -EINTR && got != -EPROTO)
            return got;
    }
    return 0;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;
    (void)fd;
    (void)what;
    assert(l->magic == LISTENER_MAGIC);
    worker_clock(l->w);
    int rc = accept_some(l, ACCEPTS_A_TURN);
    if (rc != 0)
        pause_accepting(l, rc);
}

struct listener *listener_new(struct worker *w, int fd, const struct listen_spec *spec)
{
    struct listener *l = mem_zalloc(sizeof *l);
    if (!l)
        goto fail;
    l->magic = LISTENER_MAGIC;
    l->w = w;
    l->fd = fd;
    l->spec = *spec;
    l->spec.addr.name = (struct str){0};
    timer_init(&l->pause, on_resume);
    if (fd >= 0) {
        l->event = event_new(w->base, fd, EV_READ | EV_PERSIST, on_accept, l);
        if (!l->event || (!w->hold_accept && event_add(l->event, NULL) != 0))
            goto fail;
    }
    list_append(&w->listeners, &l->link);
    return l;
fail:
    if (l && l->event)
        event_free(l->event);
    mem_free(l);
    if (fd >= 0)
        close(fd);
    return NULL;
}

void listener_start(struct listener *l)
{
    if (l->fd >= 0 && event_add(l->event, NULL) != 0)
        log_error("cannot accept on a listener: out of memory");
}

void listener_empty(struct listener *l)
{
    if (l->fd >= 0)
        accept_some(l, ACCEPTS_AT_END);
}

void listener_stop(struct listener *l)
{
    if (l->fd < 0)
        return;
    wheel_cancel(&l->w->wheel, &l->pause);
    event_free(l->event);
    l->event = NULL;
    close(l->fd);
    l->fd = -1;
}

void listener_free(struct listener *l)
{
    listener_stop(l);
    list_remove(&l->link);
    tls_server_unref(l->tls);
    mem_free(l);
}
