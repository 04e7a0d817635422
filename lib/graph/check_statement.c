#include "lib/base/mem.h"
#include "lib/graph/check_internal.h"
#include "lib/graph/hint.h"
#include <errno.h>

#define FEW_STATEMENTS 16 /* are searched one by one */

#define NAME(e) STR_ARG(shown((e)->name.s))

/* ---- finding a statement ------------------------------------------------------------------- */

static uint32_t slot_of(uint32_t id, uint32_t mask)
{
    return (id * 2654435761u >> 7) & mask;
}

static int index_statements(struct statement_table *t, const struct model_env *e)
{
    uint32_t size = 64;
    while (size / 2 < e->nstatements)
        size *= 2;
    t->slots = mem_zalloc(size * sizeof(*t->slots));
    if (!t->slots)
        return -ENOMEM;
    t->mask = size - 1;
    for (uint32_t i = e->nstatements; i-- > 0;) {
        uint32_t at = slot_of(e->statements[i].service.id, t->mask);
        while (t->slots[at] &&
               e->statements[t->slots[at] - 1].service.id != e->statements[i].service.id)
            at = (at + 1) & t->mask;
        t->slots[at] = i + 1; /* of two statements about one service the first counts */
    }
    return 0;
}

const struct model_statement *check_find(
    struct check *c, uint32_t env, uint32_t service_id, bool *ret_failed)
{
    const struct model_env *e = c->m->envs[env];
    if (e->nstatements <= FEW_STATEMENTS) {
        for (uint32_t i = 0; i < e->nstatements; i++)
            if (e->statements[i].service.id == service_id)
                return &e->statements[i];
        return NULL;
    }
    struct statement_table *t = &c->tables[env];
    if (!t->slots && index_statements(t, e) < 0) {
        *ret_failed = true;
        return NULL;
    }
    for (uint32_t i = slot_of(service_id, t->mask); t->slots[i]; i = (i + 1) & t->mask)
        if (e->statements[t->slots[i] - 1].service.id == service_id)
            return &e->statements[t->slots[i] - 1];
    return NULL;
}

/* ---- one statement ------------------------------------------------------------------------- */

static void check_once(struct check *c, uint32_t env, const struct model_env *e, uint32_t i)
{
    const struct mtext *service = &e->statements[i].service;
    if (c->seen_by[service->id] != c->stamp) {
        c->seen_by[service->id] = c->stamp;
        c->seen_at[service->id] = i;
        return;
    }
    const struct place first = e->statements[c->seen_at[service->id]].service.at;
    findings_add(c->found, F_CONTRADICTION, service->at, &first,
        "a second statement of '%.*s' about '%.*s'; keep one of them", NAME(e),
        STR_ARG(shown(service->s)));
    c->broken[env] = 1;
}

static void check_pinned(struct check *c, const struct model_env *e,
    const struct model_statement *s, const struct model_service *service)
{
    static const char *const verbs[] = {[STATEMENT_PROVIDES] = "provides",
        [STATEMENT_USE] = "uses",
        [STATEMENT_REMOVE] = "removes"};
    bool overlay = e->mode == MODE_OVERLAY && !(e->faults & ENV_FAULT_LINEAGE);
    bool twice = c->ix->twice[service->name.id] & TWICE_SERVICE;
    if (!service->pinned || twice || !overlay || !c->references)
        return;
    findings_add(c->found, F_PINNED_OVERRIDE, s->service.at, &service->name.at,
        "overlay '%.*s' %s '%.*s', which is pinned; remove this, or the pin", NAME(e),
        verbs[s->kind], STR_ARG(shown(s->service.s)));
}

static void check_endpoints(struct check *c, const struct model_statement *s)
{
    for (uint32_t i = 0; c->rules && i < s->nendpoints; i++) {
        const char *why = "";
        if (!endpoint_allowed(c->rules, &s->endpoints[i].addr, &why))
            findings_add(c->found, F_ENDPOINT_FORBIDDEN, s->endpoints[i].at, NULL,
                "%s; use another endpoint, or widen `endpoints` in the configuration", why);
    }
}

static void check_statement(struct check *c, uint32_t env, uint32_t i)
{
    const struct model_env *e = c->m->envs[env];
    const struct model_statement *s = &e->statements[i];
    check_once(c, env, e, i);
    uint32_t service = check_service_ref(c, &s->service);
    if (service == POSITION_NONE)
        c->broken[env] = 1;
    else
        check_pinned(c, e, s, c->m->services[service]);
    if (s->kind == STATEMENT_PROVIDES) {
        if (service != POSITION_NONE)
            c->provided[service] = 1;
        check_endpoints(c, s);
    } else if (s->kind == STATEMENT_USE) {
        c->complex[env] = 1;
        if (check_env_ref(c, &s->use, F_UNKNOWN_ENVIRONMENT) == POSITION_NONE)
            c->broken[env] = 1;
    }
}

/* ---- pools --------------------------------------------------------------------------------- */

/* Who provides a service with the highest priority. */
struct first_pool {
    uint32_t env; /* position + 1; 0: none */
    uint32_t statement;
};

static bool is_sound_pool(const struct check *c, uint32_t env)
{
    return c->m->envs[env]->mode == MODE_SHARED && c->ix->state[env] == LINEAGE_OK &&
           !c->broken[env];
}

static void rank_pool(struct check *c, uint32_t env, struct first_pool *first)
{
    const struct model_env *e = c->m->envs[env];
    for (uint32_t i = 0; i < e->nstatements; i++) {
        if (e->statements[i].kind != STATEMENT_PROVIDES)
            continue;
        struct first_pool *f = &first[c->ix->service_of[e->statements[i].service.id]];
        if (!f->env || c->m->envs[f->env - 1]->priority < e->priority)
            *f = (struct first_pool){env + 1, i};
    }
}

static void compare_pool(struct check *c, uint32_t env, const struct first_pool *first)
{
    const struct model_env *e = c->m->envs[env];
    for (uint32_t i = 0; i < e->nstatements; i++) {
        const struct mtext *service = &e->statements[i].service;
        if (e->statements[i].kind != STATEMENT_PROVIDES)
            continue;
        const struct first_pool *f = &first[c->ix->service_of[service->id]];
        const struct model_env *other = c->m->envs[f->env - 1];
        if (other == e || other->priority != e->priority)
            continue;
        findings_add(c->found, F_AMBIGUOUS_SHARED, service->at,
            &other->statements[f->statement].service.at,
            "pools '%.*s' and '%.*s' provide '%.*s' with the same priority %d; give one a higher "
            "`priority`",
            NAME(other), NAME(e), STR_ARG(shown(service->s)), (int)e->priority);
    }
}

static int check_pools(struct check *c)
{
    struct first_pool *first = NULL;
    if (!c->references)
        return 0;
    for (uint32_t env = 0; env < c->m->nenvs; env++) {
        if (!is_sound_pool(c, env))
            continue;
        if (!first)
            first = mem_zalloc(c->m->nservices * sizeof(*first));
        if (!first)
            return -ENOMEM;
        rank_pool(c, env, first);
    }
    for (uint32_t env = 0; first && env < c->m->nenvs; env++)
        if (is_sound_pool(c, env))
            compare_pool(c, env, first);
    mem_free(first);
    return 0;
}

/* ---- all ----------------------------------------------------------------------------------- */

int check_statements(struct check *c)
{
    for (uint32_t env = 0; env < c->m->nenvs; env++) {
        const struct model_env *e = c->m->envs[env];
        c->stamp = env + 1;
        c->broken[env] = (e->faults & ENV_FAULT_STATEMENTS) || env_twice(c->ix, e);
        c->complex[env] = e->nparents > 1;
        for (uint32_t i = 0; i < e->nstatements; i++)
            check_statement(c, env, i);
    }
    return check_pools(c);
}
