#include "lib/graph/check_internal.h"
#include "lib/graph/hint.h"
#include <stdio.h>

#define RING_SHOWN 8 /* members of a ring that are named */

#define NAME(e) STR_ARG(shown((e)->name.s))

/* ---- faults of one environment ------------------------------------------------------------- */

static void bad_parents(struct check *c, const struct model_env *e)
{
    for (uint32_t i = 0; c->references && i < e->nparents; i++) {
        const struct mtext *ref = &e->parents[i];
        uint32_t p = check_env_ref(c, ref, F_UNKNOWN_PARENT);
        if (p == POSITION_NONE || c->ix->state[p] != LINEAGE_OK || env_twice(c->ix, c->m->envs[p]))
            continue;
        if (c->m->envs[p]->mode == MODE_SHARED)
            findings_add(c->found, F_SHARED_PARENT, ref->at, &c->m->envs[p]->name.at,
                "'%.*s' is a pool and cannot be a parent; name a baseline or an overlay",
                STR_ARG(shown(ref->s)));
    }
}

/* The parent that is in the same ring. */
static const struct mtext *ring_parent(const struct check *c, uint32_t env)
{
    const struct model_env *e = c->m->envs[env];
    for (uint32_t i = 0; i < e->nparents; i++) {
        uint32_t p = check_env_of(c, &e->parents[i]);
        if (p != POSITION_NONE && c->ix->ring[p] == c->ix->ring[env])
            return &e->parents[i];
    }
    return &e->parents[0];
}

static void cycle(struct check *c, uint32_t env)
{
    char members[512];
    uint32_t at = env;
    int n = snprintf(members, sizeof(members), "%.*s", NAME(c->m->envs[env]));
    for (unsigned i = 0; i < RING_SHOWN && n > 0 && (size_t)n < sizeof(members); i++) {
        const struct mtext *parent = ring_parent(c, at);
        at = check_env_of(c, parent);
        n += snprintf(
            members + n, sizeof(members) - (size_t)n, " -> %.*s", STR_ARG(shown(parent->s)));
        if (at == env)
            break;
    }
    findings_add(c->found, F_CYCLE, ring_parent(c, env)->at, NULL,
        "parents in a ring: %s%s; remove one of these parents", members,
        at == env ? "" : " -> ...");
}

static void two_baselines(struct check *c, const struct model_env *e)
{
    findings_add(c->found, F_TWO_BASELINES, e->parents_value_at, NULL,
        "the parents of '%.*s' lead to different baselines; keep those of one", NAME(e));
}

static void lineage_fault(struct check *c, uint32_t env)
{
    const struct model_env *e = c->m->envs[env];
    struct findings *f = c->found;
    switch (c->ix->state[env]) {
    case LINEAGE_BAD_PARENTS:
        bad_parents(c, e);
        break;
    case LINEAGE_TOO_DEEP:
        findings_add(f, F_DEPTH, e->parents[0].at, NULL,
            "the lineage of '%.*s' has more than %d environments; use a nearer parent", NAME(e),
            LINEAGE_MAX);
        break;
    case LINEAGE_NO_ORDER:
        findings_add(f, F_NO_LINEARISATION, e->parents_value_at, NULL,
            "the parents of '%.*s' cannot be brought into one order; change their order, or "
            "leave out one that another has as an ancestor",
            NAME(e));
        break;
    case LINEAGE_TWO_BASELINES:
        two_baselines(c, e);
        break;
    default:
        break;
    }
}

/* What can be said without looking at any other document. */
static void own_fault(struct check *c, uint32_t env)
{
    const struct model_env *e = c->m->envs[env];
    switch (c->ix->state[env]) {
    case LINEAGE_NO_PARENT:
        findings_add(c->found, F_OVERLAY_WITHOUT_PARENT, e->name.at, NULL,
            "overlay '%.*s' has no parent; add `parent`, or make it a baseline", NAME(e));
        break;
    case LINEAGE_BASELINE_WITH_PARENT:
        findings_add(c->found, F_BASELINE_WITH_PARENT, e->parents_at, NULL,
            "baseline '%.*s' has a parent; remove it, or make it an overlay", NAME(e));
        break;
    case LINEAGE_POOL_WITH_PARENT:
        findings_add(c->found, F_SHARED_PARENT, e->parents_at, NULL,
            "pool '%.*s' has a parent; remove it, or make it an overlay", NAME(e));
        break;
    default:
        break;
    }
}

/* ---- dates --------------------------------------------------------------------------------- */

static void check_dates(struct check *c, uint32_t env)
{
    const struct model_env *e = c->m->envs[env];
    uint32_t n;
    const uint32_t *chain = check_chain(c, env, &n);
    if (!e->has_expires)
        return;
    if (e->mode == MODE_BASELINE && !(e->faults & ENV_FAULT_LINEAGE))
        findings_add(c->found, F_BASELINE_EXPIRES, e->expires_at, NULL,
            "baseline '%.*s' expires, and everything that stands on it; remove the date", NAME(e));
    for (uint32_t i = 1; c->references && i < n; i++) {
        const struct model_env *a = c->m->envs[chain[i]];
        if (!a->has_expires || a->expires >= e->expires)
            continue;
        findings_add(c->found, F_OUTLIVES_PARENT, e->expires_at, &a->expires_at,
            "'%.*s' expires later than '%.*s' that it stands on; correct one of the dates", NAME(e),
            NAME(a));
        return;
    }
}

/* ---- all ----------------------------------------------------------------------------------- */

void check_lineages(struct check *c)
{
    for (uint32_t env = 0; env < c->m->nenvs; env++) {
        own_fault(c, env);
        check_dates(c, env);
        if (!c->references)
            continue;
        lineage_fault(c, env);
        if (c->ix->state[env] == LINEAGE_CYCLE && c->ix->ring[env] == env + 1)
            cycle(c, env);
    }
}
