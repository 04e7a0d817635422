/* The hot path: which provider an (environment, service) pair means now.
 *
 * Nothing here allocates, locks or loops over more than one lineage and, for `use`, the lineage of
 * its target. A record that a lineage or a `use` names but that does not exist (only in a graph
 * that no check has seen) states nothing. */
#include "lib/graph/check.h"
#include "lib/graph/snapshot_int.h"

#define CACHE_LINE 64

/* The records of a lineage, nearest first. */
struct walk {
    const struct env_record *records[LINEAGE_MAX];
    const uint32_t *lineage;
    uint32_t n;
    uint32_t expired; /* position of the nearest expired one, or n */
};

static void walk_lineage(
    struct walk *w, const struct snapshot *s, const struct env_record *first, int64_t now)
{
    w->lineage = record_lineage(first);
    w->n = first->nlineage;
    w->expired = w->n;
    w->records[0] = first;
    for (uint32_t i = 1; i < w->n; i++)
        w->records[i] = snapshot_record(s, w->lineage[i]);
    for (uint32_t i = w->n; i-- > 0;)
        if (w->records[i] && now >= w->records[i]->expires)
            w->expired = i;
}

/* The nearest statement about a service: its target, 0 when there is none. */
static uint32_t walk_find(const struct walk *w, uint32_t service, uint32_t *ret_position)
{
    for (uint32_t i = 0; i < w->n; i++) {
        const struct env_record *r = w->records[i];
        if (!r)
            continue;
        uint32_t at = record_find(r, service);
        if (at < r->nstatements) {
            *ret_position = i;
            return record_targets(r)[at];
        }
    }
    return 0;
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
    struct walk w;
    walk_lineage(&w, s, r, now);
    if (w.expired < w.n) {
        refused(d, REFUSAL_EXPIRED, by, false);
        return;
    }
    uint32_t position = 0, target = walk_find(&w, d->service, &position);
    if (target_kind(target) == STATEMENT_PROVIDES)
        provided(d, s, CLASS_EXPLICIT, w.lineage[position], target);
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

static void decide_by_statement(const struct snapshot *s, const struct walk *w, uint32_t position,
    uint32_t target, int64_t now, struct decision *d)
{
    uint32_t by = w->lineage[position];
    d->distance = (int16_t)position;
    d->cause_env = by;
    switch (target_kind(target)) {
    case STATEMENT_PROVIDES:
        provided(d, s,
            position == 0                                        ? CLASS_LOCAL
            : record_mode(w->records[position]) == MODE_BASELINE ? CLASS_BASELINE
                                                                 : CLASS_ANCESTOR,
            by, target);
        break;
    case STATEMENT_USE:
        resolve_use(s, target & TARGET_MASK, by, now, d);
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
    struct walk w;
    walk_lineage(&w, s, r, now);
    if (w.expired < w.n) {
        refused(ret, REFUSAL_EXPIRED, w.lineage[w.expired], true);
        return;
    }
    if (!doc) {
        ret->refusal = REFUSAL_NO_SERVICE;
        return;
    }
    uint32_t position = 0, target = walk_find(&w, service, &position);
    if (target)
        decide_by_statement(s, &w, position, target, now, ret);
    else
        resolve_shared(s, now, ret);
}

/* ---- revision ---- */

static uint64_t lineage_changed(const struct snapshot *s, const struct env_record *r)
{
    uint64_t changed = 0;
    for (uint32_t i = 0; i < r->nlineage; i++) {
        const struct env_record *a = snapshot_record(s, record_lineage(r)[i]);
        if (a && a->changed > changed)
            changed = a->changed;
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
