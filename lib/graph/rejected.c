#include "lib/graph/rejected.h"
#include <stdio.h>

struct walk {
    const struct snapshot *s;
    const struct decision *d;
    struct env_info env; /* asked for */
    uint32_t deciding;   /* position in the lineage of the first statement; nlineage: none */
    bool expired_first;  /* refused before any statement was asked for */
    rejected_fn *fn;
    void *arg;
    uint32_t told, omitted;
};

static void tell(struct walk *w, struct rejected *r)
{
    if (w->told == REJECTED_MAX) {
        w->omitted++;
        return;
    }
    w->told++;
    w->fn(w->arg, r);
}

static struct str name_of(const struct walk *w, uint32_t env)
{
    return snapshot_env_name(w->s, env);
}

static uint32_t first_statement(const struct walk *w)
{
    struct statement_info st;
    uint32_t i = 0;
    while (i < w->env.nlineage &&
           !snapshot_find_statement(w->s, w->env.lineage[i], w->d->service, &st))
        i++;
    return i;
}

static enum decision_class class_at(const struct walk *w, uint32_t position, uint8_t kind)
{
    struct env_info env;
    if (kind == STATEMENT_USE)
        return CLASS_EXPLICIT;
    if (kind != STATEMENT_PROVIDES)
        return CLASS_NONE;
    if (position == 0)
        return CLASS_LOCAL;
    bool is_baseline =
        snapshot_env(w->s, w->env.lineage[position], &env) && env.mode == MODE_BASELINE;
    return is_baseline ? CLASS_BASELINE : CLASS_ANCESTOR;
}

/* "provides it", "says use: x", "removes it" */
static void statement_words(
    const struct walk *w, const struct statement_info *st, char *out, size_t size)
{
    if (st->kind == STATEMENT_USE)
        snprintf(out, size, "says `use: %.*s`", STR_ARG(name_of(w, st->use)));
    else
        snprintf(out, size, "%s", st->kind == STATEMENT_REMOVE ? "removes it" : "provides it");
}

static void tell_lineage(struct walk *w, uint32_t position)
{
    uint32_t env = w->env.lineage[position];
    struct str service = snapshot_service_name(w->s, w->d->service);
    struct rejected r = {.environment = name_of(w, env)};
    struct statement_info st;
    char words[96];
    if (!snapshot_find_statement(w->s, env, w->d->service, &st)) {
        if (position > w->deciding)
            return;
        snprintf(r.reason, sizeof(r.reason), "says nothing about %.*s", STR_ARG(service));
        snapshot_place(w->s, env, NUMBER_NONE, &r.at);
        tell(w, &r);
        return;
    }
    if (position == w->deciding && !w->expired_first)
        return;
    r.cls = (uint8_t)class_at(w, position, st.kind);
    statement_words(w, &st, words, sizeof(words));
    if (w->expired_first)
        snprintf(r.reason, sizeof(r.reason), "%s, but %.*s has expired", words,
            STR_ARG(name_of(w, w->d->cause_env)));
    else
        snprintf(r.reason, sizeof(r.reason), "%s, but is further away than %.*s", words,
            STR_ARG(name_of(w, w->env.lineage[w->deciding])));
    snapshot_place(w->s, env, w->d->service, &r.at);
    tell(w, &r);
}

static bool in_lineage(const struct walk *w, uint32_t env)
{
    for (uint32_t i = 0; i < w->env.nlineage; i++) {
        if (w->env.lineage[i] == env)
            return true;
    }
    return false;
}

static void tell_pool(struct walk *w, uint32_t pool)
{
    struct statement_info st;
    struct env_info info, chosen;
    bool decides = w->deciding == w->env.nlineage && !w->expired_first;
    if (in_lineage(w, pool) || (decides && pool == w->d->cause_env) ||
        !snapshot_find_statement(w->s, pool, w->d->service, &st) || st.kind != STATEMENT_PROVIDES ||
        !snapshot_env(w->s, pool, &info))
        return;
    struct rejected r = {.environment = info.name, .cls = CLASS_SHARED};
    if (w->expired_first)
        snprintf(r.reason, sizeof(r.reason), "provides it, but %.*s has expired",
            STR_ARG(name_of(w, w->d->cause_env)));
    else if (decides && snapshot_env(w->s, w->d->cause_env, &chosen))
        snprintf(r.reason, sizeof(r.reason), "its priority %d is below the %d of %.*s",
            (int)info.priority, (int)chosen.priority, STR_ARG(chosen.name));
    else
        snprintf(r.reason, sizeof(r.reason),
            "provides it, but a pool is asked only when the whole lineage says nothing");
    snapshot_place(w->s, pool, w->d->service, &r.at);
    tell(w, &r);
}

uint32_t rejected_each(
    const struct snapshot *s, const struct decision *d, rejected_fn *fn, void *arg)
{
    struct walk w = {.s = s, .d = d, .fn = fn, .arg = arg};
    /* No other provider would make a service speak another protocol. */
    if (d->refusal == REFUSAL_UNSUPPORTED)
        return 0;
    if (d->env == NUMBER_NONE || d->service == NUMBER_NONE || !snapshot_env(s, d->env, &w.env))
        return 0;
    w.deciding = first_statement(&w);
    w.expired_first =
        d->refusal == REFUSAL_EXPIRED && d->cause_is_expires && in_lineage(&w, d->cause_env);
    for (uint32_t i = 0; i < w.env.nlineage; i++)
        tell_lineage(&w, i);
    uint32_t n = 0;
    const uint32_t *pools = snapshot_pools(s, &n);
    for (uint32_t i = 0; i < n; i++)
        tell_pool(&w, pools[i]);
    return w.omitted;
}
