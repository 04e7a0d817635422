/* The hot path: which provider an (environment, service) pair means now.
 *
 * Nothing here allocates, locks or loops over more than one lineage and, for `use`, the lineage of
 * its target. A record that a lineage or a `use` names but that does not exist (only in a graph
 * that no check has seen) states nothing. */
#include "lib/graph/snapshot_int.h"

/* What one walk through a lineage finds: the nearest expired environment and the nearest statement
 * about a service. */
struct walk {
    uint32_t n;        /* length of the lineage */
    uint32_t expired;  /* position, or n */
    uint32_t position; /* of the environment with the statement */
    uint32_t by;       /* its number */
    uint32_t target;   /* 0: no statement */
    uint8_t mode;      /* of that environment */
};

static const struct env_head no_head;

/* The head of a number out of a lineage: below the limit of every snapshot that has the lineage. */
static inline const struct env_head *ancestor(const struct snapshot *s, uint32_t env)
{
    const struct page *p = s->pages[env / PAGE_SIZE_ENVS];
    return p ? &page_heads(p)[env % PAGE_SIZE_ENVS] : &no_head;
}

static bool is_expired(const struct snapshot *s, const struct env_head *h, int64_t now)
{
    return h->record && now >= record_expires(record_at(&s->chain->records, h->record));
}

/* The target of the statement about a service, or 0. */
static inline uint32_t look_up(const struct snapshot *s, const struct env_head *h, uint32_t service)
{
    const struct env_record *r = record_at(&s->chain->records, h->record);
    if (h->flags & HEAD_DENSE)
        return service < r->nstatements ? record_targets(r)[service] : 0;
    uint32_t at = record_find(r, service);
    return at < r->nstatements ? record_targets(r)[at] : 0;
}

static inline bool may_state(const struct env_head *h, uint64_t filter)
{
    return (h->filter & filter) == filter;
}

/* A lineage that does not fit in a head: one after the other, from the far end to the near one, so
 * that the nearest is what stays. */
__attribute__((noinline)) static struct walk walk_long(
    const struct snapshot *s, const struct env_head *first, uint32_t service, int64_t now)
{
    const uint32_t *lineage = record_lineage(record_at(&s->chain->records, first->record));
    struct walk w = {.n = first->nlineage, .expired = first->nlineage};
    for (uint32_t i = w.n; i-- > 0;) {
        const struct env_head *h = ancestor(s, lineage[i]);
        if (head_may_expire(h, now) && is_expired(s, h, now))
            w.expired = i;
        uint32_t target = may_state(h, head_filter(service)) ? look_up(s, h, service) : 0;
        if (target) {
            w.position = i;
            w.by = lineage[i];
            w.target = target;
            w.mode = h->mode;
        }
    }
    return w;
}

#define STEPS (HEAD_ANCESTORS + 1)

/* Step 0 is the farthest ancestor, the last one the environment itself; steps between that have no
 * ancestor repeat it. */
static inline uint32_t position_of(uint32_t step, uint32_t n)
{
    return step == STEPS - 1 ? 0 : n - 1 - step;
}

/* Nearest first, among the steps whose bit is set. */
static inline uint32_t nearest_step(uint32_t steps)
{
    return 31 - (uint32_t)__builtin_clz(steps);
}

__attribute__((noinline)) static uint32_t nearest_expired(const struct snapshot *s,
    const struct env_head *const heads[STEPS], uint32_t n, uint32_t late, int64_t now)
{
    for (; late; late &= ~(1u << nearest_step(late)))
        if (is_expired(s, heads[nearest_step(late)], now))
            return position_of(nearest_step(late), n);
    return n;
}

/* All heads are asked before any answer is looked at: where memory is slow, the waits for them
 * overlap with each other and with those of the next question. What is left to branch on is nearly
 * always the same: no deadline passed, and a baseline alone may have a statement. */
static inline struct walk walk_lineage(const struct snapshot *s, uint32_t env,
    const struct env_head *first, uint32_t service, int64_t now)
{
    if (first->flags & HEAD_LONG)
        return walk_long(s, first, service, now);
    struct walk w = {.n = first->nlineage, .expired = first->nlineage};
    const struct env_head *heads[STEPS];
    uint64_t filter = head_filter(service);
    uint32_t late = 0, hits = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        heads[i] = i < HEAD_ANCESTORS ? ancestor(s, first->ancestors[i]) : first;
        late |= (uint32_t)head_may_expire(heads[i], now) << i;
        hits |= (uint32_t)may_state(heads[i], filter) << i;
    }
    if (late)
        w.expired = nearest_expired(s, heads, w.n, late, now);
    for (; hits; hits &= ~(1u << nearest_step(hits))) {
        uint32_t step = nearest_step(hits);
        w.target = look_up(s, heads[step], service);
        if (w.target) {
            w.position = position_of(step, w.n);
            w.by = step == STEPS - 1 ? env : first->ancestors[step];
            w.mode = heads[step]->mode;
            break;
        }
    }
    return w;
}

static uint32_t expired_env(
    const struct snapshot *s, const struct env_head *h, const struct walk *w)
{
    return record_lineage(record_at(&s->chain->records, h->record))[w->expired];
}

static void provided(struct decision *d, const struct snapshot *s, enum decision_class cls,
    uint32_t provider, uint32_t target)
{
    d->cls = (uint8_t)cls;
    d->provider = provider;
    d->endpoints = endpoints_at(&s->chain->sets, target & TARGET_MASK);
}

static void refused(struct decision *d, enum refusal refusal, uint32_t cause, bool is_expires)
{
    d->refusal = (uint8_t)refusal;
    d->distance = -1;
    d->cause_env = cause;
    d->cause_is_expires = is_expires;
}

/* `use: x`: what x resolves the service to by its own lineage. `by` made the statement. */
static void resolve_use(
    const struct snapshot *s, uint32_t x, uint32_t by, int64_t now, struct decision *d)
{
    const struct env_head *h = snapshot_head(s, x);
    if (!h) {
        refused(d, REFUSAL_NO_PROVIDER, by, false);
        return;
    }
    struct walk w = walk_lineage(s, x, h, d->service, now);
    if (w.expired < w.n)
        refused(d, REFUSAL_EXPIRED, by, false);
    else if (target_kind(w.target) == STATEMENT_PROVIDES)
        provided(d, s, CLASS_EXPLICIT, w.by, w.target);
    else
        refused(d, REFUSAL_NO_PROVIDER, by, false);
}

/* Nobody in the lineage says anything: the pool of highest priority, expired or not. */
static void resolve_shared(const struct snapshot *s, int64_t now, struct decision *d)
{
    const struct pool_table *t = s->pools;
    uint32_t pool = d->service < t->limit ? t->best[d->service] : NUMBER_NONE;
    const struct env_head *h = snapshot_head(s, pool);
    d->distance = -1;
    if (!h) {
        d->refusal = REFUSAL_NO_PROVIDER;
        return;
    }
    if (head_may_expire(h, now) && is_expired(s, h, now)) {
        refused(d, REFUSAL_EXPIRED, pool, true);
        return;
    }
    d->cause_env = pool;
    provided(d, s, CLASS_SHARED, pool, look_up(s, h, d->service));
}

static void decide_by_statement(
    const struct snapshot *s, const struct walk *w, int64_t now, struct decision *d)
{
    uint32_t by = w->by;
    d->distance = (int16_t)w->position;
    d->cause_env = by;
    switch (target_kind(w->target)) {
    case STATEMENT_PROVIDES:
        provided(d, s,
            w->position == 0           ? CLASS_LOCAL
            : w->mode == MODE_BASELINE ? CLASS_BASELINE
                                       : CLASS_ANCESTOR,
            by, w->target);
        break;
    case STATEMENT_USE:
        resolve_use(s, w->target & TARGET_MASK, by, now, d);
        break;
    default:
        refused(d, REFUSAL_REMOVED, by, false);
    }
}

void snapshot_resolve(
    const struct snapshot *s, uint32_t env, uint32_t service, int64_t now, struct decision *ret)
{
    const struct env_head *h = snapshot_head(s, env);
    const struct service_doc *doc = snapshot_service_doc(s, service);
    *ret = (struct decision){.env = h ? env : NUMBER_NONE,
        .service = doc ? service : NUMBER_NONE,
        .provider = NUMBER_NONE,
        .distance = -1,
        .cause_env = NUMBER_NONE};
    if (!h) {
        ret->refusal = REFUSAL_UNKNOWN_ENVIRONMENT;
        return;
    }
    struct walk w = walk_lineage(s, env, h, service, now);
    if (w.expired < w.n)
        refused(ret, REFUSAL_EXPIRED, expired_env(s, h, &w), true);
    else if (!doc)
        ret->refusal = REFUSAL_NO_SERVICE;
    else if (w.target)
        decide_by_statement(s, &w, now, ret);
    else
        resolve_shared(s, now, ret);
}

/* ---- revision ---- */

static uint64_t lineage_changed(const struct snapshot *s, const struct env_record *r)
{
    uint64_t changed = 0;
    for (uint32_t i = 0; i < r->nlineage; i++) {
        const struct env_record *a = snapshot_record(s, record_lineage(r)[i]);
        if (a && record_changed(a) > changed)
            changed = record_changed(a);
    }
    return changed;
}

static uint64_t uses_changed(const struct snapshot *s, const struct env_record *r)
{
    uint64_t changed = 0;
    for (uint32_t i = 0; i < r->nstatements; i++) {
        uint32_t target = record_targets(r)[i];
        if (target_kind(target) != STATEMENT_USE)
            continue;
        const struct env_record *x = snapshot_record(s, target & TARGET_MASK);
        uint64_t c = x ? lineage_changed(s, x) : 0;
        changed = c > changed ? c : changed;
    }
    return changed;
}

uint64_t snapshot_revision(const struct snapshot *s, uint32_t env)
{
    const struct env_record *r = snapshot_record(s, env);
    if (!r)
        return 0;
    uint64_t changed = lineage_changed(s, r);
    for (uint32_t i = 0; i < r->nlineage; i++) {
        const struct env_record *a = snapshot_record(s, record_lineage(r)[i]);
        uint64_t c = a && a->flags & RECORD_USES ? uses_changed(s, a) : 0;
        changed = c > changed ? c : changed;
    }
    changed = s->pools->changed > changed ? s->pools->changed : changed;
    return s->services->changed > changed ? s->services->changed : changed;
}
