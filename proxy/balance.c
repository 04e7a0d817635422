/* How a choice goes: choose → (endpoint of the set) → (address of a name) → look. See balance.h. */
#include "proxy/balance.h"
#include "lib/base/log.h"
#include "proxy/budget.h"
#include "proxy/pick.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>

/* One choice: what to choose from, and for whom. */
struct choice {
    struct worker *w;
    struct request *r;
    const struct service_info *info;
    const struct policy *policy;
    const struct endpoint_set *set;
    const struct name *name; /* of its addresses; NULL: of the set */
    uint16_t port;           /* of the name's endpoint */
    struct provider_way way; /* how they are spoken to */
    struct provider *last;   /* the entry that was looked at last */
    bool again;              /* those that were tried do as well */
    bool nameless;           /* a name has no address that may be used */
};

static struct choice choice_of(struct request *r)
{
    const struct service_info *info = snapshot_service(r->snapshot, r->answer.decision.service);
    return (struct choice){.w = r->w,
        .way = {.http2 = r->http2, .tls = info->tls.on ? &info->tls : NULL},
        .r = r,
        .info = info,
        .policy = &info->policy,
        .set = r->answer.decision.endpoints};
}

static void item_at(const struct choice *c, uint32_t i, struct endpoint *ret)
{
    if (!c->name) {
        endpoint_set_at(c->set, i, ret);
        return;
    }
    ret->addr = c->name->addrs[i];
    ret->addr.port = c->port;
    ret->weight = 1;
}

static struct provider *entry(const struct choice *c, const struct addr *a)
{
    return provider_get(c->w, a, &c->way);
}

/* ---- may it be used? ---- */

static bool was_tried(const struct choice *c, uint64_t hash)
{
    for (unsigned i = 0; i < c->r->ntried && !c->again; i++)
        if (c->r->tried[i] == (uint32_t)hash)
            return true;
    return false;
}

/* How many addresses there are, as far as they are known. */
struct census {
    uint32_t all, usable, ejected;
};

static void count_one(
    const struct choice *c, const struct addr *a, struct str host, struct census *n)
{
    struct provider_way way = c->way;
    way.host = host;
    const struct provider *p = provider_find(c->w, a, &way);
    n->all++;
    if (p && ejection_now(&p->ejection, c->w->now_ms))
        n->ejected++;
    else if (!p || !(endpoint_state(&p->use) & ENDPOINT_CLOSED))
        n->usable++;
}

static struct census take_census(const struct choice *c)
{
    struct census n = {0};
    for (uint32_t i = 0; i < endpoint_set_count(c->set); i++) {
        struct endpoint e;
        endpoint_set_at(c->set, i, &e);
        if (e.addr.kind != ADDR_DNS) {
            count_one(c, &e.addr, (struct str){0}, &n);
            continue;
        }
        const struct name *name = names_known(c->w, e.addr.name);
        for (uint32_t k = 0; name && k < name->naddrs; k++) {
            struct addr a = name->addrs[k];
            a.port = e.addr.port;
            count_one(c, &a, e.addr.name, &n);
        }
    }
    return n;
}

/* It is due. False: too many are out, or nothing else is usable. */
static bool eject(const struct choice *c, struct provider *p)
{
    const struct ejection_policy *policy = &c->policy->ejection;
    struct census n = take_census(c);
    char at[ADDR_TEXT_MAX];
    if (n.ejected >= ejection_allowed(policy, n.all) || n.usable < 2) {
        counter_inc(&c->w->stats[STAT_EJECTIONS_SPARED]);
        return false;
    }
    uint32_t failures = p->ejection.failures;
    uint32_t ms = ejection_begin(&p->ejection, policy, c->w->now_ms);
    atomic_store_explicit(&p->use.ejected_until_ms, p->ejection.until_ms, memory_order_relaxed);
    counter_inc(&c->w->stats[STAT_EJECTIONS]);
    addr_format(&p->addr, at);
    log_warn("endpoint %s is ejected by worker %u for %u ms: %u failures in a row", at, c->w->id,
        ms, failures);
    return true;
}

static bool usable(const struct choice *c, struct provider *p)
{
    if (endpoint_state(&p->use) & ENDPOINT_CLOSED)
        return false;
    if (!ejection_any(&p->ejection))
        return true;
    if (ejection_now(&p->ejection, c->w->now_ms))
        return false;
    return !ejection_due(&p->ejection, &c->policy->ejection) || !eject(c, p);
}

static uint32_t share(const struct choice *c, const struct provider *p)
{
    if (c->policy->slow_start_ms == 0 || c->r->balance == BALANCE_CONSISTENT_HASH)
        return PICK_WHOLE;
    uint64_t open = atomic_load_explicit(&p->use.entry->open_ms, memory_order_relaxed);
    uint64_t now = c->w->now_ms;
    if (p->ejection.until_ms > open)
        open = p->ejection.until_ms;
    return pick_share(open < now ? now - open : 0, c->policy->slow_start_ms);
}

static void look_address(struct choice *c, const struct addr *a, struct pick_look *ret)
{
    const char *why;
    *ret = (struct pick_look){.share = PICK_WHOLE};
    if (c->name && c->w->shared->rules && !endpoint_allowed(c->w->shared->rules, a, &why)) {
        counter_inc(&c->w->stats[STAT_NAME_FORBIDDEN]);
        c->nameless = true;
        return;
    }
    struct provider *p = entry(c, a);
    c->last = p;
    if (!p)
        return;
    p->used_ms = c->w->now_ms; /* it was wanted: who forgot that it is ill would try it again */
    ret->usable = !was_tried(c, p->hash) && usable(c, p);
    ret->load = p->inflight;
    ret->share = share(c, p);
}

/* An endpoint that is a name: what holds for the sum of its addresses. */
static void look_name(struct choice *c, const struct addr *a, struct pick_look *ret)
{
    struct choice inner = *c;
    struct provider *p = entry(c, a);
    const struct name *name = names_known(c->w, a->name);
    c->last = p;
    *ret = (struct pick_look){.share = PICK_WHOLE};
    if (!p || was_tried(c, p->hash) || (endpoint_state(&p->use) & ENDPOINT_CLOSED))
        return;
    p->used_ms = c->w->now_ms;
    if (!name || name->naddrs == 0) { /* not looked up yet, or in vain a moment ago */
        ret->usable = !name || !name->error || name->expires_ms <= c->w->now_ms;
        c->nameless |= !ret->usable;
        return;
    }
    inner.name = name;
    inner.way.host = a->name;
    inner.port = a->port;
    for (uint32_t i = 0; i < name->naddrs; i++) {
        struct pick_look one;
        struct endpoint e;
        item_at(&inner, i, &e);
        look_address(&inner, &e.addr, &one);
        ret->usable |= one.usable;
        ret->load += one.load;
    }
    c->nameless |= inner.nameless;
}

/* ---- picking ---- */

static struct choice *choice_in(const struct pick *p)
{
    return p->arg;
}

static uint32_t weight_at(const struct pick *p, uint32_t i)
{
    struct endpoint e;
    item_at(choice_in(p), i, &e);
    return e.weight;
}

static uint64_t hash_at(const struct pick *p, uint32_t i, uint32_t *ret_weight)
{
    struct endpoint e;
    item_at(choice_in(p), i, &e);
    *ret_weight = e.weight;
    if (e.addr.kind != ADDR_IP4)
        return addr_hash(&e.addr);
    const uint8_t *ip = e.addr.ip;
    uint64_t number = (uint32_t)ip[0] << 24 | ip[1] << 16 | ip[2] << 8 | ip[3];
    return number << 16 | e.addr.port;
}

static void look_at(const struct pick *p, uint32_t i, struct pick_look *ret)
{
    struct choice *c = choice_in(p);
    struct endpoint e;
    item_at(c, i, &e);
    if (e.addr.kind == ADDR_DNS)
        look_name(c, &e.addr, ret);
    else
        look_address(c, &e.addr, ret);
}

/* As the policy says: among all, with the turn of the set; among the usable ones, without. */
static uint32_t pick_by(const struct choice *c, const struct pick *p, uint32_t *turn)
{
    switch ((enum balance)c->r->balance) {
    case BALANCE_LEAST_REQUEST:
        return pick_least(p, worker_random(c->w), !turn);
    case BALANCE_CONSISTENT_HASH:
        return pick_hash(p, c->r->affinity.key, !turn);
    case BALANCE_ROUND_ROBIN:
        break;
    }
    return turn ? pick_turn(p, (*turn)++) : pick_usable(p, worker_random(c->w));
}

/* PICK_NONE: none is usable. */
static uint32_t pick_one(struct choice *c, uint32_t n, uint32_t *turn)
{
    struct pick p = {n, weight_at, hash_at, look_at, c};
    struct pick_look look = {0};
    /* a second try takes nobody's turn */
    uint32_t first = n == 1 ? 0 : c->r->ntried ? PICK_NONE : pick_by(c, &p, turn);
    if (first != PICK_NONE)
        look_at(&p, first, &look);
    if (look.usable &&
        (n == 1 || look.share == PICK_WHOLE || pick_chance(look.share, worker_random(c->w))))
        return first;
    uint32_t other = n > 1 ? pick_by(c, &p, NULL) : PICK_NONE;
    if (other == PICK_NONE && c->r->ntried && !c->again) {
        c->again = true;
        other = pick_by(c, &p, NULL);
    }
    return other;
}

/* ---- the choice ---- */

static enum balanced take(struct choice *c, const struct addr *a, struct provider **ret)
{
    if (a->kind != ADDR_IP4 && a->kind != ADDR_IP6 && a->kind != ADDR_UNIX)
        return BALANCE_FORM;
    struct provider *p = c->last && addr_eq(&c->last->addr, a) ? c->last : entry(c, a);
    if (!p)
        return BALANCE_NO_MEMORY;
    provider_learn(c->w, p, c->info, &c->r->endpoint, c->r->epoch);
    *ret = p;
    return BALANCE_READY;
}

/* One of the addresses of r->endpoint, which is a name. */
static enum balanced choose_address(struct choice *c, struct provider **ret)
{
    struct name *name;
    struct endpoint e;
    int rc = names_list(c->w, &c->r->endpoint, c->r, &name);
    if (rc == -EINPROGRESS)
        return BALANCE_WAIT;
    if (rc != 0)
        return BALANCE_NO_NAME;
    struct choice inner = *c;
    inner.name = name;
    inner.way.host = c->r->endpoint.name;
    inner.port = c->r->endpoint.port;
    uint32_t i = pick_one(&inner, name->naddrs, &name->turn);
    if (i == PICK_NONE)
        return inner.nameless ? BALANCE_NO_NAME : BALANCE_UNUSABLE;
    item_at(&inner, i, &e);
    return take(&inner, &e.addr, ret);
}

static enum balanced choose_endpoint(struct choice *c)
{
    struct endpoint e;
    uint32_t *turn = &c->w->turns[((uintptr_t)c->set >> 3) % 1024];
    uint32_t i = pick_one(c, endpoint_set_count(c->set), turn);
    if (i == PICK_NONE)
        return c->nameless ? BALANCE_NO_NAME : BALANCE_UNUSABLE;
    endpoint_set_at(c->set, i, &e);
    c->r->endpoint = e.addr;
    c->r->name_hash = e.addr.kind == ADDR_DNS ? addr_hash(&e.addr) : 0;
    return BALANCE_READY;
}

enum balanced balance_choose(struct request *r, struct provider **ret)
{
    assert(r->holding);
    struct choice c = choice_of(r);
    if (r->endpoint.kind == ADDR_NONE) {
        enum balanced rc = choose_endpoint(&c);
        if (rc != BALANCE_READY)
            return rc;
    }
    if (r->endpoint.kind == ADDR_DNS)
        return choose_address(&c, ret);
    return take(&c, &r->endpoint, ret);
}

/* ---- what came of it ---- */

void balance_tried(struct request *r)
{
    const struct provider *p = r->provider;
    if (!p && r->endpoint.kind == ADDR_DNS && r->holding) { /* a name that was looked up in vain */
        struct choice c = choice_of(r);
        p = provider_find(r->w, &r->endpoint, &c.way);
    }
    if (p && r->ntried < BALANCE_TRIED)
        r->tried[r->ntried++] = (uint32_t)p->hash;
}

void balance_failed(struct request *r)
{
    if (!r->provider)
        return;
    counter_inc(&r->provider->use.errors);
    ejection_failed(&r->provider->ejection, r->w->now_ms);
}

void balance_done(struct request *r)
{
    struct ejection *e = &r->provider->ejection;
    if (ejection_any(e) && (r->status < 502 || r->status > 504))
        ejection_well(e, r->w->now_ms);
}

uint32_t balance_retry_after(struct request *r)
{
    if (!r->holding)
        return 1;
    struct choice c = choice_of(r);
    uint64_t now = r->w->now_ms;
    uint64_t ms = c.policy->health.interval_ms ? c.policy->health.interval_ms : 1000;
    for (uint32_t i = 0; i < endpoint_set_count(c.set); i++) {
        struct endpoint e;
        endpoint_set_at(c.set, i, &e);
        const struct provider *p = provider_find(c.w, &e.addr, &c.way);
        if (p && ejection_now(&p->ejection, now) && p->ejection.until_ms - now < ms)
            ms = p->ejection.until_ms - now;
    }
    return (uint32_t)((ms + 999) / 1000);
}
