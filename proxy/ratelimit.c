#define XXH_INLINE_ALL
#include "proxy/ratelimit.h"
#include "lib/base/mem.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <stdatomic.h>
#include <sys/random.h>
#include <xxhash.h>

#define WAYS     8u
#define TRIES    16
#define NS_PER_S UINT64_C(1000000000)
/* Connections over the limit that are still answered, beside as many again as it allows. */
#define ANSWERED 16u

struct entry {
    _Atomic uint64_t key;     /* 0: empty */
    _Atomic uint64_t full_ns; /* when the bucket is full again */
    _Atomic uint32_t together;
    _Atomic uint32_t used_s;
};

struct table {
    struct entry *entries;
    uint32_t mask; /* of sets */
};

struct ratelimit {
    uint64_t seed; /* so that nobody can choose whom to share a set with */
    struct table tables[LIMIT_KINDS];
};

static inline uint64_t get64(_Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}
static inline uint32_t get32(_Atomic uint32_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

/* ---- tables ---- */

struct ratelimit *ratelimit_new(uint32_t entries)
{
    struct ratelimit *t = mem_zalloc(sizeof *t);
    uint32_t sets = 1;
    while (sets * WAYS < entries)
        sets *= 2;
    if (t && getrandom(&t->seed, sizeof t->seed, GRND_NONBLOCK) != sizeof t->seed)
        t->seed = (uintptr_t)t;
    for (unsigned i = 0; t && i < LIMIT_KINDS; i++) {
        t->tables[i].mask = sets - 1;
        t->tables[i].entries = mem_zalloc((size_t)sets * WAYS * sizeof(struct entry));
        if (!t->tables[i].entries) {
            ratelimit_free(t);
            return NULL;
        }
    }
    return t;
}

void ratelimit_free(struct ratelimit *t)
{
    for (unsigned i = 0; t && i < LIMIT_KINDS; i++)
        mem_free(t->tables[i].entries);
    mem_free(t);
}

/* The place that a new key takes: an empty one, else the one not seen for longest. NULL: all are
 * held. */
static struct entry *victim(struct entry *set)
{
    struct entry *best = NULL;
    for (unsigned i = 0; i < WAYS; i++) {
        struct entry *e = &set[i];
        if (get64(&e->key) == 0)
            return e;
        if (get32(&e->together) == 0 && (!best || get32(&e->used_s) < get32(&best->used_s)))
            best = e;
    }
    return best;
}

/* NULL: another worker was quicker. */
static struct entry *claim(struct entry *e, uint64_t hash, uint64_t now_us, counter_cell *stats)
{
    uint64_t old = get64(&e->key);
    bool live = old && get64(&e->full_ns) > now_us * 1000;
    if (!atomic_compare_exchange_strong_explicit(
            &e->key, &old, hash, memory_order_relaxed, memory_order_relaxed))
        return NULL;
    atomic_store_explicit(&e->full_ns, 0, memory_order_relaxed);
    if (live)
        counter_inc(&stats[STAT_LIMITS_FORGOTTEN]);
    return e;
}

static struct entry *find(
    struct ratelimit *t, enum limit_kind kind, uint64_t key, uint64_t now_us, counter_cell *stats)
{
    struct table *table = &t->tables[kind];
    uint64_t hash = XXH3_64bits_withSeed(&key, sizeof key, t->seed);
    hash += hash == 0;
    struct entry *set = &table->entries[(hash & table->mask) * WAYS], *e = NULL;
    for (unsigned i = 0; i < WAYS && !e; i++)
        if (get64(&set[i].key) == hash)
            e = &set[i];
    for (unsigned i = 0; i < TRIES && !e; i++) {
        struct entry *old = victim(set);
        if (!old)
            break;
        e = claim(old, hash, now_us, stats);
    }
    if (!e) {
        counter_inc(&stats[STAT_LIMITS_UNCOUNTED]);
        return NULL;
    }
    uint32_t now_s = (uint32_t)(now_us / 1000000);
    if (get32(&e->used_s) != now_s)
        atomic_store_explicit(&e->used_s, now_s, memory_order_relaxed);
    return e;
}

/* ---- rates and counts ---- */

bool ratelimit_take(struct ratelimit *t, enum limit_kind kind, uint64_t key, const struct limit *l,
    uint64_t now_us, counter_cell *stats, uint64_t *ret_wait_us)
{
    struct entry *e = find(t, kind, key, now_us, stats);
    if (!e)
        return true;
    uint64_t now = now_us * 1000, period = NS_PER_S / l->per_second;
    uint64_t ahead = period * (l->burst - 1);
    uint64_t full = get64(&e->full_ns);
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t from = full > now ? full : now;
        if (from - now > ahead) {
            *ret_wait_us = (from - now - ahead + 999) / 1000;
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(
                &e->full_ns, &full, from + period, memory_order_relaxed, memory_order_relaxed))
            return true;
    }
    return true;
}

uint32_t ratelimit_enter(struct ratelimit *t, enum limit_kind kind, uint64_t key, uint64_t now_us,
    counter_cell *stats, uint32_t *ret_n)
{
    struct entry *e = find(t, kind, key, now_us, stats);
    if (!e)
        return 0;
    uint64_t mine = get64(&e->key);
    *ret_n = atomic_fetch_add_explicit(&e->together, 1, memory_order_relaxed) + 1;
    uint32_t place = (uint32_t)(e - t->tables[kind].entries) + 1;
    if (get64(&e->key) == mine)
        return place;
    ratelimit_leave(t, kind, place); /* given to another in between */
    *ret_n = 0;
    return 0;
}

void ratelimit_leave(struct ratelimit *t, enum limit_kind kind, uint32_t place)
{
    if (place)
        atomic_fetch_sub_explicit(
            &t->tables[kind].entries[place - 1].together, 1, memory_order_relaxed);
}

/* ---- connections ---- */

static const struct gateway_limits *limits_at(const struct client *c)
{
    return c->listener->spec.trusted ? NULL : c->conn.w->slots.limits;
}

/* An IPv4 address, however it is written, or an IPv6 /64: what one customer commonly has. */
static bool source_key(const struct client *c, uint64_t *ret)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const uint8_t *ip = c->peer_ip;
    bool is_mapped = c->peer_kind == ADDR_IP6 && memcmp(ip, mapped, sizeof mapped) == 0;
    uint32_t four;
    if (c->peer_kind == ADDR_IP4 || is_mapped) {
        memcpy(&four, is_mapped ? ip + 12 : ip, sizeof four);
        *ret = (uint64_t)four << 8 | 0xff; /* an IPv6 address that begins so is no source */
        return true;
    }
    if (c->peer_kind != ADDR_IP6)
        return false;
    memcpy(ret, ip, sizeof *ret);
    return true;
}

void ratelimit_connect(struct client *c)
{
    struct worker *w = c->conn.w;
    const struct gateway_limits *l = limits_at(c);
    uint64_t key;
    uint32_t n = 0;
    if (!l || !l->source.together || !w->shared->limits || !source_key(c, &key))
        return;
    c->limit_place = ratelimit_enter(w->shared->limits, LIMIT_SOURCE, key, w->now_us, w->stats, &n);
    if (n <= l->source.together)
        return;
    counter_inc(&w->stats[STAT_LIMITED + LIMITED_CONNECTIONS]);
    c->refuse = c->limited = true;
    if (n - l->source.together > l->source.together + ANSWERED)
        client_close(c, CLIENT_CLOSE_REFUSED, false);
}

void ratelimit_disconnect(struct client *c)
{
    if (c->limit_place)
        ratelimit_leave(c->conn.w->shared->limits, LIMIT_SOURCE, c->limit_place);
    c->limit_place = 0;
}

/* ---- requests ---- */

static bool take(struct request *r, enum limit_kind kind, uint64_t key, const struct limit *l)
{
    struct worker *w = r->w;
    uint64_t wait_us;
    if (ratelimit_take(w->shared->limits, kind, key, l, w->now_us, w->stats, &wait_us))
        return true;
    counter_inc(&w->stats[STAT_LIMITED + (kind == LIMIT_SOURCE ? LIMITED_SOURCE : LIMITED_ENV)]);
    r->retry_after_s = (uint32_t)((wait_us + 999999) / 1000000);
    return false;
}

bool ratelimit_source(struct request *r)
{
    const struct gateway_limits *l = limits_at(r->client);
    uint64_t key;
    if (!l || !l->source.per_second || !r->w->shared->limits || !source_key(r->client, &key))
        return true;
    return take(r, LIMIT_SOURCE, key, &l->source);
}

bool ratelimit_environment(struct request *r)
{
    struct worker *w = r->w;
    const struct gateway_limits *l = limits_at(r->client);
    uint64_t key = r->answer.decision.env;
    uint32_t n = 0;
    if (!l || !w->shared->limits)
        return true;
    if (l->environment.together) {
        r->limit_place =
            ratelimit_enter(w->shared->limits, LIMIT_ENVIRONMENT, key, w->now_us, w->stats, &n);
        if (n > l->environment.together) {
            ratelimit_done(r); /* its refusal shall not stand in the way of others */
            counter_inc(&w->stats[STAT_LIMITED + LIMITED_CONCURRENT]);
            r->retry_after_s = 1;
            return false;
        }
    }
    return !l->environment.per_second || take(r, LIMIT_ENVIRONMENT, key, &l->environment);
}

void ratelimit_done(struct request *r)
{
    if (r->limit_place)
        ratelimit_leave(r->w->shared->limits, LIMIT_ENVIRONMENT, r->limit_place);
    r->limit_place = 0;
}
