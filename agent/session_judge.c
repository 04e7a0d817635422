/* A spec and the graph. */
#include "agent/session_spec.h"
#include "lib/graph/endpoints.h"
#include "lib/graph/explain.h"
#include "lib/graph/sha.h"
#include <errno.h>

static int unknown(
    struct err *e, const char *what, const char *kind, const char *name, struct str near)
{
    return err_set(e, -ENOENT, "%s: there is no %s '%s'%s%.*s%s", what, kind, name,
        near.n ? ", did you mean '" : "", STR_ARG(near), near.n ? "'?" : "");
}

static int env_alive(const struct snapshot *g, const char *what, const char *name, int64_t now,
    struct env_info *ret, struct err *e)
{
    if (!snapshot_env(g, snapshot_find_env(g, str_c(name)), ret))
        return unknown(e, what, "environment", name, snapshot_nearest_env(g, str_c(name)));
    if (ret->mode == MODE_SHARED)
        return err_set(e, -EINVAL, "%s: '%s' is a pool; no request is for it", what, name);
    if (ret->has_expires && ret->expires <= now)
        return err_set(e, -EINVAL, "%s: environment '%s' has expired", what, name);
    return 0;
}

int spec_alive(const struct session_spec *s, const struct snapshot *g, int64_t now, struct err *e)
{
    struct env_info info;
    int rc = env_alive(g, "baseline", s->baseline, now, &info, e);
    rc = rc ? rc : env_alive(g, "candidate", s->candidate, now, &info, e);
    return rc || !s->secondary ? rc : env_alive(g, "secondary", s->secondary, now, &info, e);
}

static bool descends(const struct env_info *from, uint32_t env)
{
    for (uint32_t i = 1; i < from->nlineage; i++)
        if (from->lineage[i] == env)
            return true;
    return false;
}

static int judge_services(const struct session_spec *s, const struct snapshot *g, struct err *e)
{
    for (size_t i = 0; i < s->services.n; i++) {
        struct str name = str_c(s->services.item[i]);
        const struct service_info *info = snapshot_service(g, snapshot_find_service(g, name));
        if (!info)
            return unknown(e, "service", "service", name.p, snapshot_nearest_service(g, name));
        if (info->protocol == PROTOCOL_TCP)
            return err_set(e, -EINVAL, "service: '%s' is no HTTP: it cannot be mirrored", name.p);
    }
    return 0;
}

/* Every stateful service that resolves there at all is its own: nothing that a secondary writes
 * is the baseline's. */
static int judge_secondary(
    const struct session_spec *s, const struct snapshot *g, int64_t now, struct err *e)
{
    struct env_info info;
    uint32_t env = snapshot_find_env(g, str_c(s->secondary));
    snapshot_env(g, env, &info);
    if (!descends(&info, snapshot_find_env(g, str_c(s->baseline))))
        return err_set(e, -EINVAL, "secondary: '%s' is no overlay of the baseline '%s'",
            s->secondary, s->baseline);
    for (uint32_t i = 0; i < snapshot_service_limit(g); i++) {
        const struct service_info *service = snapshot_service(g, i);
        struct decision d;
        if (!service || service->state == STATE_NONE)
            continue;
        snapshot_resolve(g, env, i, now, &d);
        if (d.refusal == REFUSAL_NONE && d.provider != env)
            return err_set(e, -EINVAL,
                "secondary: service '%.*s' has state, and no provider of its own in '%s' (it is "
                "provided by '%.*s'): give it one, or say `state: none` in its document",
                STR_ARG(service->name), s->secondary, STR_ARG(snapshot_env_name(g, d.provider)));
    }
    return 0;
}

int spec_judge(const struct session_spec *s, const struct snapshot *g, int64_t now, struct err *e)
{
    int rc = spec_alive(s, g, now, e);
    rc = rc ? rc : judge_services(s, g, e);
    return rc || !s->secondary ? rc : judge_secondary(s, g, now, e);
}

/* ---- decisions ---- */

static void hash_endpoints(struct sha *h, const struct endpoint_set *set)
{
    char at[ADDR_TEXT_MAX];
    uint32_t n = endpoint_set_count(set);
    sha_str(h, endpoint_set_artifact(set));
    sha_u64(h, n);
    for (uint32_t i = 0; i < n; i++) {
        struct endpoint p;
        endpoint_set_at(set, i, &p);
        sha_str(h, str_of(at, addr_format(&p.addr, at)));
        sha_u64(h, p.weight);
    }
}

/* Adds one environment's decisions: each is hashed with its names, and all are put together so
 * that their order does not matter (numbers of services differ between agents). */
static int add_environment(struct sha *h, const struct snapshot *g, const char *role,
    const char *name, int64_t now, unsigned char sum[SPEC_DECISIONS])
{
    uint32_t env = snapshot_find_env(g, str_c(name));
    unsigned char one[SHA_SIZE];
    for (uint32_t i = 0; i < snapshot_service_limit(g); i++) {
        struct decision d;
        if (!snapshot_service(g, i))
            continue;
        snapshot_resolve(g, env, i, now, &d);
        sha_start(h);
        sha_str(h, str_c(role));
        sha_str(h, snapshot_service_name(g, i));
        sha_u64(h, d.refusal);
        if (d.refusal == REFUSAL_NONE) {
            sha_str(h, snapshot_env_name(g, d.provider));
            hash_endpoints(h, d.endpoints);
        }
        if (sha_finish(h, one) != 0)
            return -ENOMEM;
        for (unsigned k = 0; k < SHA_SIZE; k++)
            sum[k] ^= one[k];
    }
    return 0;
}

_Static_assert(SHA_SIZE == SPEC_DECISIONS, "a digest is a SHA-256");

int spec_decisions(const struct session_spec *s, const struct snapshot *g, int64_t now,
    unsigned char ret[SPEC_DECISIONS])
{
    unsigned char sum[SPEC_DECISIONS] = {0};
    struct sha *h = sha_new();
    if (!h)
        return -ENOMEM;
    int rc = add_environment(h, g, "baseline", s->baseline, now, sum);
    rc = rc ? rc : add_environment(h, g, "candidate", s->candidate, now, sum);
    if (rc == 0 && s->secondary)
        rc = add_environment(h, g, "secondary", s->secondary, now, sum);
    sha_free(h);
    if (rc == 0)
        memcpy(ret, sum, sizeof sum);
    return rc;
}

bool spec_is_safe(const struct snapshot *g, struct str service, struct str method)
{
    if (str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")) || str_eq(method, STR("OPTIONS")))
        return true;
    const struct service_info *info = snapshot_service(g, snapshot_find_service(g, service));
    return info && info->shadow == SHADOW_SAFE;
}
