/* The hot path: which provider an (environment, service) pair means now.
 *
 * Nothing here allocates, locks or loops over more than one lineage and, for `use`, the lineage of
 * its target. A record that a lineage or a `use` names but that does not exist (only in a graph
 * that no check has seen) states nothing. */
#include "lib/graph/snapshot_int.h"

#define CACHE_LINE 64

/* What one walk through a lineage finds: the nearest expired environment and the nearest statement
 * about a service. Both in one pass from the far end to the near one, so that the nearest is what
 * stays and no step waits for a branch on the one before. */
struct walk {
    const uint32_t *lineage;
    uint32_t n;
    uint32_t expired;  /* position, or n */
    uint32_t position; /* of the environment with the statement */
    uint32_t target;   /* 0: no statement */
    uint8_t mode;      /* of that environment */
};

/* A number out of a lineage: below the limit of every snapshot that has the lineage. */
static inline const struct env_record *ancestor(const struct snapshot *s, uint32_t env)
{
    const struct page *p = s->pages[env / PAGE_SIZE_ENVS];
    return p ? p->records[env % PAGE_SIZE_ENVS] : NULL;
}

static inline void visit(
    struct walk *w, const struct env_record *r, uint32_t i, uint32_t service, int64_t now)
{
    w->expired = now >= r->expires ? i : w->expired;
    if (!record_may_state(r, service))
        return;
    uint32_t at = record_find(r, service);
    if (at < r->nstatements) {
        w->position = i;
        w->target = record_targets(r)[at];
        w->mode = record_mode(r);
    }
}

static inline struct walk walk_lineage(
    const struct snapshot *s, const struct env_record *first, uint32_t service, int64_t now)
{
    struct walk w = {.lineage = record_lineage(first), .n = first->nlineage};
    w.expired = w.n;
    for (uint32_t i = w.n - 1; i > 0; i--) {
        const struct env_record *r = ancestor(s, w.lineage[i]);
        if (r)
            visit(&w, r, i, service, now);
    }
    visit(&w, first, 0, service, now);
    return w;
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
    const struct env_record *r = snapshot_record(s, x);
    if (!r) {
        refused(d, REFUSAL_NO_PROVIDER, by, false);
        return;
    }
    struct walk w = walk_lineage(s, r, d->service, now);
    if (w.expired < w.n)
        refused(d, REFUSAL_EXPIRED, by, false);
    else if (target_kind(w.target) == STATEMENT_PROVIDES)
        provided(d, s, CLASS_EXPLICIT, w.lineage[w.position], w.target);
    else
        refused(d, REFUSAL_NO_PROVIDER, by, false);
}

/* Nobody in the lineage says anything: the pool of highest priority, expired or not. */
static void resolve_shared(const struct snapshot *s, int64_t now, struct decision *d)
{
    const struct pool_table *t = s->pools;
    uint32_t pool = d->service < t->limit ? t->best[d->service] : NUMBER_NONE;
    const struct env_record *r = snapshot_record(s, pool);
    d->distance = -1;
    if (!r) {
        d->refusal = REFUSAL_NO_PROVIDER;
        return;
    }
    if (now >= r->expires) {
        refused(d, REFUSAL_EXPIRED, pool, true);
        return;
    }
    d->cause_env = pool;
    provided(d, s, CLASS_SHARED, pool, record_targets(r)[record_find(r, d->service)]);
}

static void decide_by_statement(
    const struct snapshot *s, const struct walk *w, int64_t now, struct decision *d)
{
    uint32_t by = w->lineage[w->position];
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
    const struct env_record *r = snapshot_record(s, env);
    const struct service_doc *doc = snapshot_service_doc(s, service);
    *ret = (struct decision){.env = r ? env : NUMBER_NONE,
        .service = doc ? service : NUMBER_NONE,
        .provider = NUMBER_NONE,
        .distance = -1,
        .cause_env = NUMBER_NONE};
    if (!r) {
        ret->refusal = REFUSAL_UNKNOWN_ENVIRONMENT;
        return;
    }
    /* Its statements lie a cache line further, at a place known only once the first line is here;
     * fetched together, a cold record costs one wait instead of two. */
    __builtin_prefetch((const char *)r + CACHE_LINE);
    struct walk w = walk_lineage(s, r, service, now);
    if (w.expired < w.n)
        refused(ret, REFUSAL_EXPIRED, w.lineage[w.expired], true);
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
