/* The turn of a worker:
 *
 *   event_base_loop (one poll, the callbacks of what is ready)
 *     -> conn on_event -> on_ready -> request_run ...
 *   ready list: connections that stopped early (a turn's budget) go on
 *   wheel: time-outs
 *   dead list: objects closed in this turn are freed
 *   access log: one write
 */
#include "proxy/worker.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/graph/keyring.h"
#include "lib/net/sock.h"
#include "proxy/budget.h"
#include "proxy/client.h"
#include "proxy/h2link.h"
#include "proxy/provider_tls.h"
#include "proxy/removed.h"
#include "proxy/request.h"
#include "proxy/tls_conn.h"
#include <assert.h>
#include <errno.h>
#include <sys/random.h>
#include <time.h>

#define TICK_MS      50
#define SWEEP_MS     1000
#define BLOCKS_KEPT  64
#define READY_A_TURN 256
#define SPARES_KEPT  512

void worker_clock_read(struct worker *w)
{
    w->clock_fresh = true;
    if (w->virtual_clock)
        return;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    w->now_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    w->now_ms = w->now_us / 1000;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    w->now_s = t.tv_sec;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    (void)fd;
    (void)what;
    assert(w->magic == WORKER_MAGIC);
    w->tick_pending = false; /* the wheel advances at the end of the turn */
}

static void keep_ticking(struct worker *w)
{
    if (w->tick_pending || (w->wheel.count == 0 && w->providers.count == 0 && !w->draining))
        return;
    struct timeval tv = {.tv_usec = TICK_MS * 1000};
    w->tick_pending = event_add(w->tick, &tv) == 0;
}

void worker_timer(struct worker *w, struct timer *t, uint64_t deadline_ms)
{
    wheel_set(&w->wheel, t, deadline_ms);
}

uint64_t worker_random(struct worker *w)
{
    uint64_t a = w->random[0], b = w->random[1];
    w->random[0] = b;
    a ^= a << 23;
    w->random[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return w->random[1] + b;
}

int worker_init(struct worker *w, unsigned id, struct shared *shared, struct err *e)
{
    memset(w, 0, sizeof *w);
    w->magic = WORKER_MAGIC;
    w->id = id;
    w->shared = shared;
    w->set = shared->set;
    w->refuse_missing = w->set->on_missing == ON_MISSING_REFUSE;
    w->connect = NULL;
    accesslog_init(&w->log);
    live_walk_init(&w->live);
    list_init(&w->listeners);
    list_init(&w->clients);
    list_init(&w->ready);
    list_init(&w->hungry);
    removed_init(w);
    list_init(&w->flush);
    list_init(&w->awake);
    list_init(&w->spares[0].conns);
    list_init(&w->spares[1].conns);
    list_init(&w->dead);
    /* Some above the limit, so that what is refused for it can still be answered. */
    uint32_t limit = w->set->limit_buffers;
    bufpool_init(&w->bufs, BLOCK_BYTES, BLOCKS_KEPT, limit + limit / 8 + 16);
    bufpool_init(&w->small, SMALL_BYTES, BLOCKS_KEPT, UINT32_MAX);
    if (getrandom(w->random, sizeof w->random, 0) != sizeof w->random)
        return err_set(e, -errno, "cannot get random bytes: %s", strerror(errno));
    w->random[0] |= 1;
    overload_init(&w->overload, w->set);

    struct event_config *cfg = event_config_new();
    if (cfg) {
        event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
        w->base = event_base_new_with_config(cfg);
        event_config_free(cfg);
    }
    w->tick = w->base ? evtimer_new(w->base, on_tick, w) : NULL;
    if (!w->tick || capture_init(w) != 0 || mailbox_init(&w->mailbox, w->base, w, e) != 0) {
        capture_release(w);
        if (w->tick)
            event_free(w->tick);
        if (w->base)
            event_base_free(w->base);
        w->base = NULL;
        return err_set(e, -ENOMEM, "cannot make an event base for worker %u", id);
    }
    worker_clock_read(w);
    wheel_init(&w->wheel, w->now_ms);
    w->h2_pool = h2_pool_new();
    return 0;
}

/* conn is the first member of client and pconn, and of their streams. */
static void free_dead(struct worker *w)
{
    list_for_each (it, &w->dead) {
        struct conn *c = list_entry(it, struct conn, ready);
        list_remove(it);
        struct spares *s = &w->spares[c->magic == CLIENT_MAGIC];
        if (!conn_is_stream(c) || s->n >= SPARES_KEPT) {
            mem_free(c);
            continue;
        }
        list_append(&s->conns, it);
        s->n++;
    }
}

void *worker_stream_object(struct worker *w, uint32_t magic, size_t size)
{
    struct spares *s = &w->spares[magic == CLIENT_MAGIC];
    if (list_empty(&s->conns))
        return mem_zalloc(size);
    struct conn *c = list_entry(s->conns.prev, struct conn, ready);
    list_remove(&c->ready);
    s->n--;
    memset(c, 0, size);
    return c;
}

static void free_spares(struct worker *w)
{
    for (unsigned i = 0; i < 2; i++)
        list_for_each (it, &w->spares[i].conns)
            mem_free(list_entry(it, struct conn, ready));
}

void worker_bury(struct worker *w, struct conn *c)
{
    list_append(&w->dead, &c->ready);
}

void worker_release(struct worker *w)
{
    list_for_each (it, &w->listeners)
        listener_stop(list_entry(it, struct listener, link));
    list_for_each (it, &w->clients)
        client_close(list_entry(it, struct client, link), CLIENT_CLOSE_DRAIN, true);
    list_for_each (it, &w->listeners) /* clients know theirs to the end */
        listener_free(list_entry(it, struct listener, link));
    providers_drain(w, true);
    mailbox_close(&w->mailbox);
    free_dead(w);
    free_spares(w);
    names_release(w);
    requests_release(w);
    accesslog_release(&w->log);
    signer_free(w->signer);
    provider_cas_release(w);
    tls_worker_free(w->tls);
    capture_release(w);
    usage_release(&w->by_env);
    usage_release(&w->by_service);
    bufpool_release(&w->bufs);
    bufpool_release(&w->small);
    h2_pool_free(w->h2_pool);
    event_free(w->tick);
    event_base_free(w->base);
    mailbox_release(&w->mailbox);
}

/* Connections that stopped early. One that stops again is served in the next turn. */
static void run_ready(struct worker *w)
{
    struct list now;
    list_init(&now);
    for (unsigned n = 0; n < READY_A_TURN && !list_empty(&w->ready); n++) {
        struct list *first = w->ready.next;
        list_remove(first);
        list_append(&now, first);
    }
    while (!list_empty(&now)) {
        struct conn *c = list_entry(now.next, struct conn, ready);
        list_remove(&c->ready);
        c->on_ready(c);
    }
}

static void flush_links(struct worker *w)
{
    while (!list_empty(&w->flush))
        h2link_flush(list_entry(w->flush.next, struct h2link, flush));
}

static void sweep(struct worker *w)
{
    if (w->now_ms - w->last_sweep_ms < SWEEP_MS)
        return;
    w->last_sweep_ms = w->now_ms;
    removed_sweep(w);
    providers_sweep(w);
    h2links_rest(w);
    bufpool_trim(&w->bufs);
    bufpool_trim(&w->small);
    names_sweep(w);
    overload_sweep(w);
}

/* Connections without a request: each may have one more, which is answered with `Connection:
 * close`, unless it has been idle for so long that none is likely. */
static void close_idle(struct worker *w)
{
    w->drain_looked_ms = w->now_ms;
    list_for_each (it, &w->clients) {
        struct client *c = list_entry(it, struct client, link);
        if (client_is_idle(c) && c->since_ms + w->set->timeout_drain_idle <= w->now_ms)
            client_close(c, CLIENT_CLOSE_DRAIN, false);
    }
}

static void check_drain(struct worker *w)
{
    if (!w->ending)
        return;
    if (w->now_ms - w->drain_looked_ms >= TICK_MS)
        close_idle(w);
    if (list_empty(&w->clients)) {
        w->stop = true;
        return;
    }
    if (w->now_ms < w->drain_deadline_ms)
        return;
    list_for_each (it, &w->clients)
        client_close(list_entry(it, struct client, link), CLIENT_CLOSE_DRAIN, true);
    w->stop = true;
}

static void start_accepting(struct worker *w)
{
    if (!w->hold_accept)
        return;
    w->hold_accept = false;
    list_for_each (it, &w->listeners)
        listener_start(list_entry(it, struct listener, link));
}

static void obey(struct worker *w)
{
    unsigned orders = atomic_load_explicit(&w->orders, memory_order_relaxed) & ~w->obeyed;
    if (orders == 0)
        return;
    w->obeyed |= orders;
    if (orders & WORKER_ACCEPT)
        start_accepting(w);
    if (orders & WORKER_QUIET)
        worker_quiet(w);
    if (orders & WORKER_HAND_OVER)
        worker_hand_over(w);
    if (orders & WORKER_DRAIN)
        worker_drain(w);
    if (orders & WORKER_STOP)
        w->stop = true;
}

void worker_tell(struct worker *w, enum worker_order order)
{
    atomic_fetch_or_explicit(&w->orders, order, memory_order_relaxed);
    mailbox_wake(&w->mailbox);
}

void worker_turn(struct worker *w, bool block)
{
    keep_ticking(w);
    w->clock_fresh = false;
    w->turn++;
    bool wait = block && list_empty(&w->ready);
    event_base_loop(w->base, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
    worker_clock(w);
    run_ready(w);
    wheel_advance(&w->wheel, w->now_ms);
    if (!list_empty(&w->hungry))
        budget_turn(w);
    sweep(w);
    overload_turn(w);
    obey(w);
    flush_links(w);
    check_drain(w);
    free_dead(w);
    if (w->log.dirty)
        accesslog_flush(w);
    counter_set(&w->stats[STAT_BUFFERS], w->bufs.nused + w->small.nused);
}

void worker_run(struct worker *w)
{
    while (!w->stop)
        worker_turn(w, true);
}

void worker_quiet(struct worker *w)
{
    if (w->draining)
        return;
    w->draining = true;
    worker_clock(w);
    list_for_each (it, &w->clients) {
        struct client *c = list_entry(it, struct client, link);
        if (c->phase == CLIENT_HTTP2)
            client_h2_drain(c);
    }
}

static void end_accepting(struct worker *w, bool empty_first)
{
    if (w->ending)
        return;
    worker_quiet(w);
    w->ending = true;
    worker_clock(w);
    w->drain_deadline_ms = w->now_ms + w->set->timeout_drain;
    list_for_each (it, &w->listeners) {
        struct listener *l = list_entry(it, struct listener, link);
        if (empty_first)
            listener_empty(l);
        listener_stop(l);
    }
    close_idle(w);
    providers_drain(w, false);
}

void worker_drain(struct worker *w)
{
    end_accepting(w, true);
}

void worker_hand_over(struct worker *w)
{
    end_accepting(w, false);
}

void publication_run(struct message *m, void *worker)
{
    struct publication *p = list_entry(m, struct publication, message);
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    slot_take(&w->slots, &p->table, p->serial);
    removed_look(w);
    if (!p->back || !w->shared->control) {
        mem_free(p);
        return;
    }
    m->run = p->back;
    mailbox_post(w->shared->control, m);
}
