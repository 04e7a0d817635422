/* decide: loop guard -> context -> route -> resolve. Each step answers or hands on. */
#include "lib/graph/decide.h"
#include "lib/graph/access.h"
#include <errno.h>

/* `received-by` of one member of Via: "1.1 offshoot (comment)" (RFC 9110 section 7.6.3). */
static struct str received_by(struct str member)
{
    while (member.n && (member.p[0] == ' ' || member.p[0] == '\t'))
        member = str_from(member, 1);
    size_t i = str_find(member, ' ');
    while (i < member.n && member.p[i] == ' ')
        i++;
    member = str_from(member, i);
    size_t n = 0;
    while (n < member.n && member.p[n] != ' ' && member.p[n] != '\t')
        n++;
    return str_of(member.p, n);
}

static unsigned count_ours(struct str via)
{
    unsigned n = 0;
    while (via.n) {
        struct str member = {via.p, str_find(via, ',')};
        via = member.n < via.n ? str_from(via, member.n + 1) : str_of(via.p, 0);
        if (str_ieq(received_by(member), STR("offshoot")))
            n++;
    }
    return n;
}

static bool is_loop(const struct ask *a)
{
    /* A passage of ours needs a protocol, a space, the name and, but for the last, a comma. What
     * is shorter than too many of them need not be read. */
    const size_t shortest = (VIA_OURS_MAX + 1) * sizeof("1 offshoot") - 1;
    size_t bytes = 0;
    unsigned n = 0;
    for (const struct field *f = a->fields, *end = f + a->nfields; f < end; f++) {
        if (f->id == FIELD_VIA)
            bytes += f->value_len + 1;
    }
    if (bytes <= shortest)
        return false;
    for (unsigned i = 0; i < a->nfields; i++) {
        if (a->fields[i].id == FIELD_VIA)
            n += count_ours(field_value(&a->fields[i]));
    }
    return n > VIA_OURS_MAX;
}

static enum refusal pick_context(const struct ask *a, struct answer *ret)
{
    struct context *c = &ret->context;
    if (a->env.n) {
        c->env = a->env;
        c->source = SOURCE_DEFAULT;
        c->rule = RULE_DEFAULT;
        return REFUSAL_NONE;
    }
    context_pick(c, &(struct carried){.fields = a->fields,
                        .nfields = a->nfields,
                        .trusted = a->trusted,
                        .secure = a->https,
                        .gateway = a->gateway,
                        .authority = a->authority,
                        .path = &ret->path,
                        .scratch = a->scratch,
                        .signer = a->signer,
                        .now = a->now});
    if (c->source == SOURCE_DEFAULT && a->trusted && a->refuse_missing) {
        c->env = (struct str){NULL, 0};
        c->source = SOURCE_NONE;
        c->rule = RULE_NONE;
    }
    if (c->fault != FAULT_NONE)
        return REFUSAL_CONTEXT;
    return c->source == SOURCE_NONE ? REFUSAL_NO_ENVIRONMENT : REFUSAL_NONE;
}

static enum refusal pick_route(const struct snapshot *s, const struct ask *a, struct answer *ret)
{
    if (a->service.n) {
        ret->route.service = snapshot_find_service(s, a->service);
        return REFUSAL_NONE;
    }
    const struct hosts *hosts = a->trusted ? snapshot_hosts(s) : NULL;
    int r = route_pick(a->gateway, hosts, a->authority, ret->path, &ret->route);
    if (r == -EINVAL) {
        ret->bad_path = true;
        return REFUSAL_BAD_REQUEST;
    }
    return r ? REFUSAL_NO_ROUTE : REFUSAL_NONE;
}

static enum refusal resolve(const struct snapshot *s, const struct ask *a, struct answer *ret)
{
    struct decision *d = &ret->decision;
    uint32_t env = snapshot_find_env(s, ret->context.env);
    snapshot_resolve(s, env, ret->route.service, a->now, d);
    if (!a->trusted && env != NUMBER_NONE &&
        !access_judge(s, a->gateway, &a->subjects, &ret->context, d))
        return REFUSAL_FORBIDDEN;
    if (d->refusal != REFUSAL_NONE)
        return d->refusal;
    const struct service_info *service = snapshot_service(s, d->service);
    bool raw = a->service.n || a->connect;
    if (!service || (service->protocol == PROTOCOL_TCP) == raw)
        return REFUSAL_NONE;
    d->cls = CLASS_NONE;
    d->provider = d->cause_env = NUMBER_NONE;
    d->endpoints = NULL;
    return REFUSAL_UNSUPPORTED;
}

bool ask_https(const struct ask *a)
{
    for (unsigned i = 0; a->trusted && i < a->nfields; i++)
        if (a->fields[i].id == FIELD_X_FORWARDED_PROTO)
            return str_ieq(field_value(&a->fields[i]), STR("https"));
    return a->https;
}

static bool moves(const struct ask *a, struct answer *ret)
{
    const struct route_actions *actions = ret->route.actions;
    if (!actions || a->connect)
        return false;
    if (actions->redirect.status)
        ret->moved = MOVED_ROUTE;
    else if (actions->require_https && !ask_https(a))
        ret->moved = MOVED_HTTPS;
    return ret->moved != MOVED_NONE;
}

void decide_again(const struct snapshot *s, const struct ask *a, struct answer *ret)
{
    ret->moved = MOVED_NONE;
    ret->route = (struct route){.service = NUMBER_NONE};
    ret->decision = (struct decision){.env = NUMBER_NONE,
        .service = NUMBER_NONE,
        .provider = NUMBER_NONE,
        .cause_env = NUMBER_NONE};
    enum refusal refusal = pick_route(s, a, ret);
    if (refusal == REFUSAL_NONE && !moves(a, ret))
        refusal = resolve(s, a, ret);
    ret->refusal = (uint8_t)refusal;
    ret->decision.refusal = (uint8_t)refusal;
}

/* Who names no environment may still be sent elsewhere. */
static bool is_moved(const struct snapshot *s, const struct ask *a, struct answer *ret)
{
    if (pick_route(s, a, ret) == REFUSAL_NONE && moves(a, ret))
        return true;
    ret->bad_path = false;
    ret->route = (struct route){.service = NUMBER_NONE};
    return false;
}

void decide(const struct snapshot *s, const struct ask *a, struct answer *ret)
{
    *ret = (struct answer){
        .context.selector = -1,
        .route.service = NUMBER_NONE,
        .decision = {.env = NUMBER_NONE,
            .service = NUMBER_NONE,
            .provider = NUMBER_NONE,
            .cause_env = NUMBER_NONE},
        .path = a->path,
    };
    enum refusal refusal = is_loop(a) ? REFUSAL_LOOP : REFUSAL_NONE;
    if (refusal == REFUSAL_NONE)
        refusal = pick_context(a, ret);
    if (refusal == REFUSAL_NONE) {
        decide_again(s, a, ret);
        return;
    }
    if (refusal == REFUSAL_NO_ENVIRONMENT && is_moved(s, a, ret))
        return;
    ret->refusal = (uint8_t)refusal;
    ret->decision.refusal = (uint8_t)refusal;
}
