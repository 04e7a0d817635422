#include "lib/graph/allowed.h"
#include "lib/graph/snapshot_int.h"
#include <errno.h>
#include <stdio.h>

static int forbidden(const struct snapshot *s, uint32_t env, uint32_t service, const struct addr *a,
    const char *why, struct err *e)
{
    char text[ADDR_TEXT_MAX], place[32] = "";
    struct origin o;
    struct str env_name = snapshot_env_name(s, env), name = snapshot_service_name(s, service);
    addr_format(a, text);
    snapshot_place(s, env, service, &o);
    if (o.line)
        snprintf(place, sizeof place, ":%u", o.line);
    return err_set(e, -EPERM, "environment '%.*s', service '%.*s', endpoint '%s'%s%.*s%s: %s",
        STR_ARG(env_name), STR_ARG(name), text, o.file.n ? " at " : "", STR_ARG(o.file),
        o.file.n ? place : "", why);
}

static int judge_record(const struct snapshot *s, uint32_t env, const struct env_record *r,
    const struct endpoint_rules *rules, struct err *e)
{
    const uint32_t *services = record_services(r), *targets = record_targets(r);
    for (uint32_t i = 0; i < r->nstatements; i++) {
        if (target_kind(targets[i]) != STATEMENT_PROVIDES)
            continue;
        const struct endpoint_set *set = endpoints_at(&s->chain->sets, targets[i] & TARGET_MASK);
        for (uint32_t k = 0; k < endpoint_set_count(set); k++) {
            struct endpoint at;
            const char *why = "";
            endpoint_set_at(set, k, &at);
            if (!endpoint_allowed(rules, &at.addr, &why))
                return forbidden(s, env, services[i], &at.addr, why, e);
        }
    }
    return 0;
}

int snapshot_allowed(const struct snapshot *s, const struct snapshot *base,
    const struct endpoint_rules *rules, struct err *e)
{
    if (base && base->chain != s->chain)
        base = NULL;
    for (uint32_t at = 0; at < s->npages; at++) {
        const struct page *p = s->pages[at];
        if (!p || (base && at < base->npages && base->pages[at] == p))
            continue;
        for (uint32_t i = 0; i < PAGE_SIZE_ENVS; i++) {
            uint32_t env = at * PAGE_SIZE_ENVS + i;
            const struct env_record *r = snapshot_record(s, env);
            if (!r || (base && snapshot_record(base, env) == r))
                continue;
            int rc = judge_record(s, env, r, rules, e);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}
