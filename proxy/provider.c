#include "proxy/provider.h"
#include "lib/base/mem.h"
#include "lib/net/sock.h"
#include "proxy/budget.h"
#include "proxy/provider_tls.h"
#include "proxy/request.h"
#include "proxy/tls_conn.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>
#include <unistd.h>

#define FORGET_MS 300000u /* an address without use for five minutes is forgotten */

static struct pconn *from_conn(struct conn *c)
{
    assert(c->magic == PCONN_MAGIC);
    return (struct pconn *)(void *)c;
}

/* What the rest of the process sees of it. */
static void tell(struct provider *p)
{
    struct endpoint_use *u = &p->use;
    atomic_store_explicit(&u->connections, p->nconns, memory_order_relaxed);
    atomic_store_explicit(&u->idle, p->nidle, memory_order_relaxed);
    atomic_store_explicit(&u->waiting, p->nwaiting, memory_order_relaxed);
    atomic_store_explicit(&u->inflight, p->inflight, memory_order_relaxed);
}

static uint64_t hash_of(uint64_t address, const struct provider_way *way)
{
    return address + way->http2 + provider_tls_hash(way);
}

static struct provider *find(
    struct worker *w, const struct addr *a, uint64_t address, const struct provider_way *way)
{
    uint64_t hash = hash_of(address, way);
    for (struct provider *p = w->providers.bucket[hash % PROVIDER_BUCKETS]; p; p = p->next)
        if (p->hash == hash && p->http2 == way->http2 && addr_eq(&p->addr, a) &&
            provider_tls_same(p->tls, way))
            return p;
    return NULL;
}

struct provider *provider_find(
    struct worker *w, const struct addr *a, const struct provider_way *way)
{
    return find(w, a, addr_hash(a), way);
}

static struct provider *make(
    struct worker *w, const struct addr *a, uint64_t address, const struct provider_way *way)
{
    uint64_t hash = hash_of(address, way);
    struct provider **at = &w->providers.bucket[hash % PROVIDER_BUCKETS];
    struct provider *p = mem_zalloc(sizeof *p);
    char *name = p && a->name.n ? mem_dup(a->name.p, a->name.n) : NULL;
    if (p && way->tls)
        p->tls = provider_tls_new(way, a);
    if (!p || (a->name.n && !name) || (way->tls && !p->tls) ||
        endpoint_attach(w->shared->endpoints, &p->use, a, address, w->now_ms) != 0) {
        mem_free(name);
        if (p)
            mem_free(p->tls);
        mem_free(p);
        return NULL;
    }
    p->hash = hash;
    p->used_ms = w->now_ms;
    p->http2 = way->http2;
    p->retry_credit = RETRY_CREDIT_MAX;
    p->addr = *a;
    p->addr.name = (struct str){name, a->name.n};
    list_init(&p->idle);
    list_init(&p->waiting);
    list_init(&p->hungry);
    p->next = *at;
    *at = p;
    w->providers.count++;
    return p;
}

struct provider *provider_get(
    struct worker *w, const struct addr *a, const struct provider_way *way)
{
    uint64_t address = addr_hash(a);
    struct provider *p = find(w, a, address, way);
    return p ? p : make(w, a, address, way);
}

void provider_earn_retry(struct provider *p, uint32_t percent)
{
    uint32_t credit = p->retry_credit + percent;
    p->retry_credit = credit < RETRY_CREDIT_MAX ? credit : RETRY_CREDIT_MAX;
}

bool provider_spend_retry(struct provider *p)
{
    if (p->retry_credit < 100)
        return false;
    p->retry_credit -= 100;
    return true;
}

static void on_ready(struct conn *conn)
{
    struct pconn *c = from_conn(conn);
    if (c->req)
        request_run(c->req);
    else if (tls_conn_is(conn) && !conn->hup && conn_read(conn) == IO_AGAIN)
        return;                           /* tickets and the like are no bytes of a reply */
    else if (conn->readable || conn->hup) /* nothing may come now: neither bytes nor the end */
        pconn_close(c, PROVIDER_CLOSE_IDLE_READABLE);
}

struct pconn *pconn_connect(struct worker *w, struct provider *p, uint8_t kind, size_t size,
    void (*ready)(struct conn *c), int *ret_errno)
{
    bool pending = false;
    if (!budget_connect(w, p)) {
        *ret_errno = -EDQUOT;
        return NULL;
    }
    int fd = w->connect ? w->connect(w, &p->addr, &pending) : sock_connect(&p->addr, &pending);
    if (fd < 0) {
        budget_closed(p);
        *ret_errno = fd;
        return NULL;
    }
    struct pconn *c = mem_zalloc(size);
    if (!c || conn_open(&c->conn, w, PCONN_MAGIC, fd, !pending, ready) != 0) {
        budget_closed(p);
        mem_free(c);
        close(fd);
        *ret_errno = -ENOMEM;
        return NULL;
    }
    c->kind = kind;
    c->provider = p;
    c->pending = pending;
    c->reached = !pending;
    list_init(&c->link);
    int rc = p->tls ? provider_tls_begin(w, c) : 0;
    if (rc != 0) {
        budget_closed(p);
        conn_close(&c->conn, false);
        worker_bury(w, &c->conn);
        *ret_errno = rc;
        return NULL;
    }
    p->nconns++;
    tell(p);
    counter_inc(&w->stats[STAT_PROVIDER_CONNECTS]);
    counter_inc(&w->stats[STAT_PROVIDER_CONNECTIONS]);
    return c;
}

static struct pconn *connect_new(struct worker *w, struct provider *p, int *ret_errno)
{
    return pconn_connect(w, p, PCONN_HTTP1, sizeof(struct pconn), on_ready, ret_errno);
}

void pconn_attach(struct pconn *c, struct request *r)
{
    c->req = r;
    c->conn.requests++;
    c->provider->inflight++;
    counter_inc(&c->provider->use.requests);
    tell(c->provider);
}

static struct pconn *take_idle(struct worker *w, struct provider *p)
{
    struct pconn *c = list_entry(p->idle.next, struct pconn, link);
    list_remove(&c->link);
    p->nidle--;
    counter_sub(&w->stats[STAT_PROVIDER_IDLE], 1);
    counter_inc(&w->stats[STAT_PROVIDER_REUSES]);
    return c;
}

enum acquire provider_wait(struct worker *w, struct provider *p, struct request *r)
{
    if (p->nwaiting >= w->set->limit_provider_pending || !budget_wait(w, p))
        return ACQUIRE_FULL;
    list_append(&p->waiting, &r->wait);
    r->waiting_conn = true;
    p->nwaiting++;
    tell(p);
    return ACQUIRE_WAIT;
}

enum acquire provider_acquire(struct worker *w, struct provider *p, struct request *r, bool fresh,
    struct pconn **ret, int *ret_errno)
{
    p->used_ms = w->now_ms;
    if (!budget_request(w, r))
        return ACQUIRE_FULL;
    if (p->http2)
        return provider_h2_acquire(w, p, r, ret, ret_errno);
    if (!fresh && !list_empty(&p->idle)) {
        *ret = take_idle(w, p);
        pconn_attach(*ret, r);
        return ACQUIRE_READY;
    }
    if (p->nconns >= w->set->limit_provider_connections) {
        if (fresh && !list_empty(&p->idle)) {
            /* a new connection in place of an unused one */
            pconn_close(list_entry(p->idle.prev, struct pconn, link), PROVIDER_CLOSE_FULL);
        } else {
            return provider_wait(w, p, r);
        }
    }
    struct pconn *c = connect_new(w, p, ret_errno);
    if (!c)
        return *ret_errno == -EDQUOT ? provider_wait(w, p, r) : ACQUIRE_FAILED;
    pconn_attach(c, r);
    *ret = c;
    return c->pending ? ACQUIRE_PENDING : ACQUIRE_READY;
}

int pconn_connected(struct pconn *c)
{
    int rc = c->reached ? 0 : sock_error(c->conn.fd);
    c->reached = rc == 0;
    if (rc == 0 && c->provider->tls)
        rc = provider_tls_handshake(c);
    if (rc == 0)
        c->pending = false;
    return rc;
}

void provider_unwait(struct request *r)
{
    if (!r->waiting_conn)
        return;
    list_remove(&r->wait);
    r->waiting_conn = false;
    r->provider->nwaiting--;
    budget_waited(r->provider);
    tell(r->provider);
}

/* The longest waiting request gets c: nobody overtakes it, and should it go, c goes with it and
 * the next one is served. */
void provider_hand_over(struct provider *p, struct pconn *c)
{
    struct request *r = list_entry(p->waiting.next, struct request, wait);
    provider_unwait(r);
    if (c) {
        pconn_attach(c, r);
        r->pconn = c;
        request_deadline(r, c->conn.w->now_ms + r->connect_timeout_ms);
    }
    if (!c || !c->pending)
        conn_resume_later(&r->client->conn);
}

/* Room for one more connection. */
void provider_serve_waiting(struct worker *w, struct provider *p)
{
    if (p->http2) {
        provider_h2_serve(w, p);
        return;
    }
    while (!w->stop && !list_empty(&p->waiting) && p->nconns < w->set->limit_provider_connections) {
        int error = 0;
        struct pconn *c = connect_new(w, p, &error);
        if (error == -EDQUOT)
            return;
        provider_hand_over(p, c);
    }
}

void pconn_detach(struct pconn *c)
{
    if (!c->req)
        return;
    c->req->pconn = NULL;
    c->req = NULL;
    c->provider->inflight--;
    tell(c->provider);
}

/* By order: nobody should go there. */
static bool is_closed(const struct provider *p)
{
    return endpoint_state(&p->use) & (ENDPOINT_DRAINED | ENDPOINT_DISABLED);
}

void pconn_keep(struct pconn *c)
{
    struct worker *w = c->conn.w;
    struct provider *p = c->provider;
    if (c->kind == PCONN_STREAM) {
        pconn_close(c, PROVIDER_CLOSE_DONE);
        return;
    }
    pconn_detach(c);
    if (w->draining || p->nidle >= w->set->limit_provider_idle || c->conn.hup || c->conn.readable) {
        pconn_close(c, c->conn.hup || c->conn.readable ? PROVIDER_CLOSE_IDLE_READABLE
                       : w->draining                   ? PROVIDER_CLOSE_DRAIN
                                                       : PROVIDER_CLOSE_FULL);
        return;
    }
    buf_drop(&c->conn.in, &w->bufs);
    c->used = true;
    p->used_ms = w->now_ms;
    if (!list_empty(&p->waiting)) {
        if (list_entry(p->waiting.next, struct request, wait)->fresh) {
            pconn_close(c, PROVIDER_CLOSE_FULL); /* makes room for a connection of its own */
            return;
        }
        provider_hand_over(p, c);
        counter_inc(&w->stats[STAT_PROVIDER_REUSES]);
        return;
    }
    if (budget_wanted(p) || is_closed(p)) {
        pconn_close(c, is_closed(p) ? PROVIDER_CLOSE_DRAIN : PROVIDER_CLOSE_FULL);
        return;
    }
    c->idle_ms = w->now_ms;
    list_push(&p->idle, &c->link);
    p->nidle++;
    counter_inc(&w->stats[STAT_PROVIDER_IDLE]);
}

void pconn_close(struct pconn *c, enum provider_close why)
{
    struct worker *w = c->conn.w;
    struct provider *p = c->provider;
    pconn_detach(c);
    if (c->kind == PCONN_STREAM) {
        pconn_h2_close_stream(c);
        provider_serve_waiting(w, p);
        return;
    }
    if (c->kind == PCONN_SESSION) {
        pconn_h2_close_session(c);
    } else if (!list_empty(&c->link)) {
        list_remove(&c->link);
        p->nidle--;
        counter_sub(&w->stats[STAT_PROVIDER_IDLE], 1);
    }
    conn_close(&c->conn, false);
    p->nconns--;
    budget_closed(p);
    tell(p);
    counter_inc(&w->stats[STAT_PROVIDER_CLOSES + why]);
    counter_sub(&w->stats[STAT_PROVIDER_CONNECTIONS], 1);
    worker_bury(w, &c->conn);
    p->used_ms = w->now_ms;
    provider_serve_waiting(w, p);
}

static void close_idle(
    struct worker *w, struct provider *p, uint64_t older_than_ms, enum provider_close why)
{
    if (p->http2) {
        provider_h2_sweep(w, p, older_than_ms, why);
        return;
    }
    while (!list_empty(&p->idle)) {
        struct pconn *c = list_entry(p->idle.prev, struct pconn, link);
        if (c->idle_ms + older_than_ms > w->now_ms)
            return;
        pconn_close(c, why);
    }
}

static void forget(struct worker *w, struct provider **at)
{
    struct provider *p = *at;
    *at = p->next;
    w->providers.count--;
    list_remove(&p->hungry);
    endpoint_detach(w->shared->endpoints, &p->use);
    mem_free((void *)(uintptr_t)p->addr.name.p);
    mem_free(p->tls);
    mem_free(p);
}

void providers_sweep(struct worker *w)
{
    for (unsigned i = 0; i < PROVIDER_BUCKETS; i++) {
        for (struct provider **at = &w->providers.bucket[i]; *at;) {
            struct provider *p = *at;
            bool closed = is_closed(p);
            close_idle(w, p, closed ? 0 : w->set->timeout_provider_idle,
                closed ? PROVIDER_CLOSE_DRAIN : PROVIDER_CLOSE_IDLE);
            if (p->nconns == 0 && p->nwaiting == 0 && p->used_ms + FORGET_MS <= w->now_ms)
                forget(w, at);
            else
                at = &p->next;
        }
    }
}

void providers_release_idle(struct worker *w, const struct addr *a)
{
    for (unsigned i = 0; i < PROVIDER_BUCKETS; i++)
        for (struct provider *p = w->providers.bucket[i]; p; p = p->next)
            if (addr_eq(&p->addr, a))
                close_idle(w, p, 0, PROVIDER_CLOSE_FULL);
}

void providers_drain(struct worker *w, bool all)
{
    for (unsigned i = 0; i < PROVIDER_BUCKETS; i++) {
        for (struct provider *p = w->providers.bucket[i]; p; p = p->next)
            close_idle(w, p, 0, PROVIDER_CLOSE_DRAIN);
        while (all && w->providers.bucket[i])
            forget(w, &w->providers.bucket[i]);
    }
}
