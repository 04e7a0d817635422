#include "lib/graph/pinned.h"

const char *skew_word(enum skew s)
{
    static const char *const words[] = {"", "behind", "expired"};
    return words[s];
}

static bool has_revision(
    const struct epoch_view *v, uint32_t at, const struct context *c, uint32_t env)
{
    if (env == NUMBER_NONE)
        env = snapshot_find_env(v->snapshot(v->arg, at), c->env);
    return env != NUMBER_NONE && v->revision(v->arg, at, env) == c->pin;
}

/* The active epoch is asked first: mostly it is the one. */
static uint32_t find(const struct epoch_view *v, const struct answer *ret)
{
    if (has_revision(v, v->active, &ret->context, ret->decision.env))
        return v->active;
    for (uint32_t i = 0; i < v->n; i++)
        if (i != v->active && has_revision(v, i, &ret->context, NUMBER_NONE))
            return i;
    return v->n;
}

static void refuse_strict(const struct snapshot *s, struct answer *ret)
{
    struct env_info info;
    uint32_t env = snapshot_find_env(s, ret->context.env);
    if (env == NUMBER_NONE || !snapshot_env(s, env, &info) || !info.strict)
        return;
    ret->refusal = REFUSAL_EPOCH;
    ret->decision = (struct decision){.env = env,
        .service = ret->decision.service,
        .provider = NUMBER_NONE,
        .cause_env = NUMBER_NONE,
        .refusal = REFUSAL_EPOCH};
}

uint32_t decide_pinned(const struct epoch_view *v, struct ask *a, struct answer *ret)
{
    if (ret->context.fault != FAULT_NONE || ret->refusal == REFUSAL_LOOP || ret->moved)
        return v->active;
    uint32_t at = find(v, ret);
    bool skewed = at == v->n;
    if (skewed) {
        at = 0;
        ret->skew =
            snapshot_epoch(v->snapshot(v->arg, 0)) < ret->context.pin ? SKEW_BEHIND : SKEW_EXPIRED;
    }
    const struct snapshot *s = v->snapshot(v->arg, at);
    a->gateway = v->gateway(v->arg, at);
    if (at != v->active)
        decide_again(s, a, ret);
    if (ret->refusal == REFUSAL_EXPIRED) {
        a->now -= PINNED_GRACE_S;
        decide_again(s, a, ret);
        a->now += PINNED_GRACE_S;
    }
    if (skewed)
        refuse_strict(s, ret);
    return at;
}
