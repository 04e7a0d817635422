#define XXH_INLINE_ALL
#include "lib/graph/check.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/check_internal.h"
#include "lib/graph/gateway.h"
#include "lib/graph/hint.h"
#include "lib/graph/route.h"
#include <errno.h>
#include <xxhash.h>

#define HINT_WORK 5000000u /* names compared for hints in one check */

/* ---- references ---------------------------------------------------------------------------- */

static bool may_hint(struct check *c, uint32_t names)
{
    if (c->found->n >= c->found->limit || c->hints < names)
        return false;
    c->hints -= names;
    return true;
}

static void unknown(struct check *c, const struct mtext *ref, enum finding_code code,
    const char *kind, struct str near)
{
    if (near.n)
        findings_add(c->found, code, ref->at, NULL, "there is no %s '%.*s'; did you mean '%.*s'?",
            kind, STR_ARG(shown(ref->s)), STR_ARG(near));
    else
        findings_add(c->found, code, ref->at, NULL, "there is no %s '%.*s'; add it or correct it",
            kind, STR_ARG(shown(ref->s)));
}

uint32_t check_service_ref(struct check *c, const struct mtext *ref)
{
    uint32_t at = c->ix->service_of[ref->id];
    if (at != POSITION_NONE || !c->references || c->ix->vague[ref->id] || c->ix->nameless_service)
        return at;
    struct str near = {NULL, 0};
    if (may_hint(c, c->m->nservices))
        near = model_nearest_service(c->m, ref->s);
    unknown(c, ref, F_UNKNOWN_SERVICE, "Service", near);
    return POSITION_NONE;
}

uint32_t check_env_of(const struct check *c, const struct mtext *ref)
{
    return c->ix->env_of[ref->id];
}

uint32_t check_env_ref(struct check *c, const struct mtext *ref, enum finding_code code)
{
    uint32_t at = c->ix->env_of[ref->id];
    if (at != POSITION_NONE)
        return at;
    c->guess = true;
    if (!c->references || c->ix->vague[ref->id] || c->ix->nameless_env)
        return at;
    struct str near = {NULL, 0};
    if (may_hint(c, c->m->nenvs))
        near = model_nearest_env(c->m, ref->s);
    unknown(c, ref, code, "Environment", near);
    return POSITION_NONE;
}

/* ---- claims: things that only one may have --------------------------------------------------- */

struct claim {
    struct str key;
    struct place at;
    uint32_t owner;
};

struct claims {
    struct claim *list;
    uint32_t *slots; /* position + 1; 0: free */
    uint32_t n, mask;
};

static int claims_init(struct claims *c, size_t n)
{
    uint32_t size = 16;
    while (size / 2 < n)
        size *= 2;
    *c = (struct claims){.mask = size - 1};
    c->list = mem_array(n, sizeof(*c->list));
    c->slots = mem_zalloc(size * sizeof(*c->slots));
    return c->list && c->slots ? 0 : -ENOMEM;
}

static void claims_release(struct claims *c)
{
    mem_free(c->list);
    mem_free(c->slots);
}

/* NULL when the key is free and is the claimant's now; else who has it. */
static const struct claim *claim(struct claims *c, struct claim by)
{
    uint32_t i = (uint32_t)XXH3_64bits(by.key.p, by.key.n) & c->mask;
    for (; c->slots[i]; i = (i + 1) & c->mask)
        if (str_eq(c->list[c->slots[i] - 1].key, by.key))
            return &c->list[c->slots[i] - 1];
    c->list[c->n++] = by;
    c->slots[i] = c->n;
    return NULL;
}

/* ---- services ------------------------------------------------------------------------------ */

static void check_host(struct check *c, struct claims *hosts, uint32_t service,
    const struct mtext *host, struct str compared)
{
    const struct model_service *s = c->m->services[service];
    struct claim by = {compared, host->at, service};
    const struct claim *first = claim(hosts, by);
    if (!first || first->owner == service)
        return;
    findings_add(c->found, F_HOST_CLAIMED_TWICE, host->at, &first->at,
        "host '%.*s' means Service '%.*s' already and '%.*s' too; remove it from one%s",
        STR_ARG(shown(compared)), STR_ARG(shown(c->m->services[first->owner]->name.s)),
        STR_ARG(shown(s->name.s)), s->nhosts ? "" : ", or write other `hosts` than the name");
}

/* Hosts are kept as they are compared, in text[0 .. HOST_KEY_MAX) each. */
static int check_hosts(struct check *c)
{
    const struct model *m = c->m;
    size_t n = 0, bytes = HOST_KEY_MAX;
    for (uint32_t i = 0; i < m->nservices; i++) {
        const struct model_service *s = m->services[i];
        n += s->nhosts ? s->nhosts : 1;
        for (uint32_t j = 0; j < s->nhosts; j++)
            bytes += s->hosts[j].s.n;
    }
    struct claims hosts;
    int r = claims_init(&hosts, n);
    char *text = mem_alloc(bytes);
    char *at = text;
    if (r < 0 || !text)
        r = -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < m->nservices; i++) {
        const struct model_service *s = m->services[i];
        if (!s->nhosts)
            check_host(c, &hosts, i, &s->name, s->name.s);
        for (uint32_t j = 0; j < s->nhosts; j++) {
            char compared[HOST_KEY_MAX];
            struct str host = authority_host(s->hosts[j].s, compared);
            memcpy(at, host.p, host.n);
            check_host(c, &hosts, i, &s->hosts[j], str_of(at, host.n));
            at += host.n;
        }
    }
    claims_release(&hosts);
    mem_free(text);
    return r;
}

static void check_depends_on(struct check *c)
{
    for (uint32_t i = 0; i < c->m->nservices; i++) {
        const struct model_service *s = c->m->services[i];
        for (uint32_t j = 0; j < s->ndepends_on; j++)
            check_service_ref(c, &s->depends_on[j]);
    }
}

/* ---- gateways ------------------------------------------------------------------------------ */

/* "host path" as routes are compared, in memory of at least host.n + path.n + 1 bytes. */
static struct str route_key(const struct model_route *r, char *out)
{
    size_t n = r->host.s.n;
    if (n)
        memcpy(out, r->host.s.p, n);
    out[n++] = ' ';
    long path = path_normalise(r->path.s, out + n);
    if (path > 0 && out[n + (size_t)path - 1] == '/')
        path--; /* "/a/" is "/a", and "/" is what is left of it */
    return str_of(out, n + (path > 0 ? (size_t)path : 0));
}

static int check_routes(struct check *c, const struct model_gateway *g)
{
    struct claims routes;
    size_t bytes = 1;
    for (uint32_t i = 0; i < g->nroutes; i++)
        bytes += g->routes[i].host.s.n + g->routes[i].path.s.n + 1;
    char *text = mem_alloc(bytes);
    char *at = text;
    int r = claims_init(&routes, g->nroutes);
    if (r < 0 || !text)
        r = -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < g->nroutes; i++) {
        const struct model_route *route = &g->routes[i];
        if (route->service.s.p)
            check_service_ref(c, &route->service);
        if (!route->path.s.p)
            continue;
        struct claim by = {route_key(route, at), route->path.at, i};
        at += by.key.n;
        const struct claim *first = claim(&routes, by);
        if (first)
            findings_add(c->found, F_ROUTE_CLAIMED_TWICE, route->path.at, &first->at,
                "the same host and path as an earlier route; remove one");
    }
    claims_release(&routes);
    mem_free(text);
    return r;
}

static int check_gateways(struct check *c)
{
    for (uint32_t i = 0; i < c->m->ngateways; i++) {
        const struct model_gateway *g = c->m->gateways[i];
        if (g->default_environment.s.p)
            check_env_ref(c, &g->default_environment, F_UNKNOWN_ENVIRONMENT);
        int r = check_routes(c, g);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- services that nobody provides ----------------------------------------------------------- */

/* When statements or environments are missing because of another fault, anyone may have been the
 * provider. */
static bool provisions_known(const struct check *c)
{
    if (!c->references || c->guess || c->ix->misread)
        return false;
    for (uint32_t i = 0; i < c->m->nenvs; i++)
        if (c->broken[i])
            return false;
    return true;
}

static void check_unprovided(struct check *c)
{
    if (!c->m->nenvs || !provisions_known(c))
        return;
    for (uint32_t i = 0; i < c->m->nservices; i++) {
        const struct mtext *name = &c->m->services[i]->name;
        if (!c->provided[i] && name_valid(name->s))
            findings_add(c->found, F_UNPROVIDED_SERVICE, name->at, NULL,
                "no environment provides '%.*s'; add a provider or remove the Service",
                STR_ARG(shown(name->s)));
    }
}

/* ---- everything ---------------------------------------------------------------------------- */

static int check_init(struct check *c, const struct model *m, const struct endpoint_rules *rules,
    struct findings *findings)
{
    *c = (struct check){
        .m = m, .ix = model_index(m), .rules = rules, .found = findings, .hints = HINT_WORK};
    c->references = !findings->by_code[F_SYNTAX];
    c->broken = mem_zalloc(m->nenvs);
    c->complex = mem_zalloc(m->nenvs);
    c->provided = mem_zalloc(m->nservices);
    c->seen_by = mem_zalloc(c->ix->nnames * sizeof(*c->seen_by));
    c->seen_at = mem_array(c->ix->nnames, sizeof(*c->seen_at));
    c->tables = mem_zalloc(m->nenvs * sizeof(*c->tables));
    bool ok = c->broken && c->complex && c->provided && c->seen_by && c->seen_at && c->tables;
    return ok ? 0 : -ENOMEM;
}

static void check_release(struct check *c)
{
    for (uint32_t i = 0; c->tables && i < c->m->nenvs; i++)
        mem_free(c->tables[i].slots);
    mem_free(c->tables);
    mem_free(c->broken);
    mem_free(c->complex);
    mem_free(c->provided);
    mem_free(c->seen_by);
    mem_free(c->seen_at);
}

static int run(struct check *c)
{
    check_depends_on(c);
    int r = check_hosts(c);
    if (r == 0)
        r = check_gateways(c);
    if (r == 0)
        r = check_statements(c);
    if (r < 0)
        return r;
    check_lineages(c);
    r = check_resolution(c);
    if (r == 0)
        check_unprovided(c);
    return r;
}

int model_check(
    const struct model *m, const struct endpoint_rules *rules, struct findings *findings)
{
    struct check c;
    int r = check_init(&c, m, rules, findings);
    if (r == 0)
        r = run(&c);
    check_release(&c);
    findings_sort(findings);
    if (r < 0 || findings->no_memory)
        return -ENOMEM;
    return findings->errors ? -EINVAL : 0;
}
