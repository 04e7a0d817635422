/* What would be resolved: `use` must lead to a provider, and several parents must not disagree. */
#include "lib/graph/check_internal.h"
#include "lib/graph/hint.h"
#include <errno.h>

#define NAME(e) STR_ARG(shown((e)->name.s))

/* ---- along a lineage ----------------------------------------------------------------------- */

enum walk_result { WALK_NONE, WALK_FOUND, WALK_UNKNOWN };

struct walk {
    uint32_t env; /* whose statement decides */
    const struct model_statement *statement;
};

/* The first statement about a service in a lineage. Unknown: something nearer is broken. */
static enum walk_result walk(
    struct check *c, uint32_t env, uint32_t service_id, struct walk *ret, bool *ret_failed)
{
    uint32_t n;
    const uint32_t *chain = check_chain(c, env, &n);
    for (uint32_t i = 0; i < n; i++) {
        const struct model_statement *s = check_find(c, chain[i], service_id, ret_failed);
        if (s) {
            *ret = (struct walk){chain[i], s};
            return WALK_FOUND;
        }
        if (c->broken[chain[i]])
            return WALK_UNKNOWN;
    }
    return n ? WALK_NONE : WALK_UNKNOWN;
}

/* ---- use ----------------------------------------------------------------------------------- */

static int check_use(struct check *c, const struct model_statement *s)
{
    uint32_t service = c->ix->service_of[s->service.id];
    uint32_t target = check_env_of(c, &s->use);
    struct walk w = {0};
    bool failed = false;
    if (service == POSITION_NONE || target == POSITION_NONE || env_twice(c->ix, c->m->envs[target]))
        return 0;
    enum walk_result r = walk(c, target, s->service.id, &w, &failed);
    if (failed)
        return -ENOMEM;
    if (r == WALK_UNKNOWN || (r == WALK_FOUND && w.statement->kind == STATEMENT_PROVIDES))
        return 0;
    c->provided[service] = 1; /* what is missing is said here */
    if (r == WALK_NONE)
        findings_add(c->found, F_DANGLING_USE, s->use.at, NULL,
            "'%.*s' has no provider of '%.*s' in its lineage; name an environment that has one",
            STR_ARG(shown(s->use.s)), STR_ARG(shown(s->service.s)));
    else if (w.statement->kind == STATEMENT_REMOVE)
        findings_add(c->found, F_DANGLING_USE, s->use.at, &w.statement->service.at,
            "'%.*s' is removed for '%.*s' by '%.*s'; name an environment that provides it",
            STR_ARG(shown(s->service.s)), STR_ARG(shown(s->use.s)), NAME(c->m->envs[w.env]));
    else
        findings_add(c->found, F_USE_CHAIN, s->use.at, &w.statement->use.at,
            "'%.*s' itself uses '%.*s' of '%.*s'; name the environment that provides it",
            NAME(c->m->envs[w.env]), STR_ARG(shown(s->service.s)),
            STR_ARG(shown(w.statement->use.s)));
    return 0;
}

/* ---- several parents ----------------------------------------------------------------------- */

static bool in_lineage(const struct check *c, uint32_t env, uint32_t of)
{
    uint32_t n;
    const uint32_t *chain = check_chain(c, of, &n);
    for (uint32_t i = 0; i < n; i++)
        if (chain[i] == env)
            return true;
    return false;
}

/* Is it in the lineage of every parent? */
static bool in_all_lineages(const struct check *c, uint32_t env, const struct model_env *child)
{
    for (uint32_t i = 0; i < child->nparents; i++)
        if (!in_lineage(c, env, check_env_of(c, &child->parents[i])))
            return false;
    return true;
}

static bool same_endpoints(const struct model_statement *a, const struct model_statement *b)
{
    if (a->nendpoints != b->nendpoints)
        return false;
    for (uint32_t i = 0; i < a->nendpoints; i++)
        if (a->endpoints[i].weight != b->endpoints[i].weight ||
            !addr_eq(&a->endpoints[i].addr, &b->endpoints[i].addr))
            return false;
    return true;
}

static bool same_statement(const struct model_statement *a, const struct model_statement *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == STATEMENT_USE)
        return a->use.id == b->use.id;
    return a->kind == STATEMENT_REMOVE || (str_eq(a->artifact, b->artifact) &&
                                              str_eq(a->region, b->region) && same_endpoints(a, b));
}

static bool disagree(const struct check *c, const struct walk *a, const struct walk *b)
{
    return a->env != b->env && !in_lineage(c, a->env, b->env) && !in_lineage(c, b->env, a->env) &&
           !same_statement(a->statement, b->statement);
}

static void conflict(
    struct check *c, const struct model_env *child, const struct walk *a, const struct walk *b)
{
    static const char *const verbs[] = {[STATEMENT_PROVIDES] = "provides it",
        [STATEMENT_USE] = "uses another's",
        [STATEMENT_REMOVE] = "removes it"};
    const struct place origins[2] = {a->statement->service.at, b->statement->service.at};
    struct str service = shown(a->statement->service.s);
    findings_add_clash(c->found, F_CONFLICT, child->parents_value_at, origins,
        "the parents of '%.*s' disagree on '%.*s': '%.*s' %s, '%.*s' %s; state in '%.*s' what "
        "holds",
        NAME(child), STR_ARG(service), NAME(c->m->envs[a->env]), verbs[a->statement->kind],
        NAME(c->m->envs[b->env]), verbs[b->statement->kind], NAME(child));
}

/* Asks every parent about one service. */
static int compare_parents(struct check *c, const struct model_env *child, uint32_t service_id)
{
    struct walk by[LINEAGE_MAX];
    uint32_t n = 0;
    bool failed = false;
    for (uint32_t i = 0; i < child->nparents; i++) {
        uint32_t parent = check_env_of(c, &child->parents[i]);
        enum walk_result r = walk(c, parent, service_id, &by[n], &failed);
        if (failed)
            return -ENOMEM;
        if (r == WALK_UNKNOWN)
            return 0;
        n += r == WALK_FOUND;
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = i + 1; j < n; j++) {
            if (disagree(c, &by[i], &by[j])) {
                conflict(c, child, &by[i], &by[j]);
                return 0;
            }
        }
    }
    return 0;
}

/* Two deciding environments can only differ when one of them is not an ancestor of all parents
 * (else the merged order of the child would rank them): only what such environments state is
 * looked at, and the baseline's statements are left alone. */
static int check_parents(struct check *c, uint32_t env)
{
    const struct model_env *child = c->m->envs[env];
    uint32_t n;
    const uint32_t *chain = check_chain(c, env, &n);
    if (n == 0 || c->broken[env])
        return 0;
    c->stamp++;
    for (uint32_t i = 0; i < child->nstatements; i++)
        c->seen_by[child->statements[i].service.id] = c->stamp;
    for (uint32_t i = 1; i < n; i++) {
        const struct model_env *ancestor = c->m->envs[chain[i]];
        if (in_all_lineages(c, chain[i], child))
            continue;
        for (uint32_t j = 0; j < ancestor->nstatements; j++) {
            uint32_t id = ancestor->statements[j].service.id;
            if (c->seen_by[id] == c->stamp)
                continue;
            c->seen_by[id] = c->stamp;
            if (compare_parents(c, child, id) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

/* ---- all ----------------------------------------------------------------------------------- */

int check_resolution(struct check *c)
{
    int r = 0;
    if (!c->references)
        return 0;
    for (uint32_t env = 0; r == 0 && env < c->m->nenvs; env++) {
        const struct model_env *e = c->m->envs[env];
        if (!c->complex[env])
            continue;
        for (uint32_t i = 0; r == 0 && i < e->nstatements; i++)
            if (e->statements[i].kind == STATEMENT_USE)
                r = check_use(c, &e->statements[i]);
        if (r == 0 && e->nparents > 1)
            r = check_parents(c, env);
    }
    return r;
}
