#include "proxy/edge.h"
#include "lib/graph/edge.h"
#include "lib/graph/keyring.h"
#include "proxy/share.h"

bool edge_decided(struct request *r)
{
    const struct gateway *g = r->ask.gateway;
    if (!g)
        return false;
    bool own = r->ask.signer && signer_signs(r->ask.signer);
    r->vary = gateway_vary(g, own);
    r->is_private = context_is_private(&r->answer.context, g);
    if (r->vary.n == 0)
        return false;
    if (r->head.method_id == H1_OPTIONS)
        r->allow_headers = cors_take_names(r->fields, r->head.nfields, g, own, &r->scratch);
    return share_decide(r);
}

/* What the provider says about caching. */
struct said {
    bool any_vary;      /* Vary: * */
    bool keeps_private; /* private, or no-store that nothing weakens */
    bool has_shared;    /* public, s-maxage */
    bool understand;    /* must-understand */
    bool no_store;      /* beside must-understand it does not count */
    bool allows_origin; /* Access-Control-Allow-Origin */
};

static void hear_cache_control(struct said *said, struct str value)
{
    struct str directive;
    while (cache_control_next(&value, &directive)) {
        enum cache_directive d = cache_directive_of(directive);
        said->keeps_private |= d == CACHE_PRIVATE;
        said->no_store |= d == CACHE_NO_STORE;
        said->understand |= d == CACHE_MUST_UNDERSTAND;
        said->has_shared |= d == CACHE_SHARED;
    }
}

static bool is_cache_control(const struct field *f)
{
    return f->id == FIELD_OTHER && str_eq(field_name(f), STR("cache-control"));
}

static struct said hear(const struct request *r)
{
    struct said said = {0};
    for (unsigned i = 0; i < r->reply.nfields; i++) {
        const struct field *f = &r->reply_fields[i];
        if (f->id != FIELD_OTHER)
            continue;
        if (r->is_private && is_cache_control(f))
            hear_cache_control(&said, field_value(f));
        else if (str_eq(field_name(f), STR("vary")))
            said.any_vary |= vary_is_any(field_value(f));
        else if (str_eq(field_name(f), STR("access-control-allow-origin")))
            said.allows_origin = true;
    }
    said.keeps_private |= said.no_store && !said.understand;
    return said;
}

/* The directives of one field without those that let shared caches keep the reply. */
static void put_without_shared(struct out *o, struct str value)
{
    struct str directive;
    bool begun = false;
    while (cache_control_next(&value, &directive)) {
        if (cache_directive_of(directive) == CACHE_SHARED)
            continue;
        if (begun)
            PUT(o, ", ");
        else
            PUT(o, "cache-control: ");
        put_str(o, directive);
        begun = true;
    }
    if (begun)
        PUT(o, "\r\n");
}

static void put_private(struct request *r, struct out *o, const struct said *said)
{
    for (unsigned i = 0; i < r->reply.nfields; i++) {
        struct field *f = &r->reply_fields[i];
        if (f->id != FIELD_OTHER)
            continue;
        if (cache_field_targeted(field_name(f))) {
            f->flags |= FIELD_DROP;
        } else if (said->has_shared && is_cache_control(f)) {
            put_without_shared(o, field_value(f));
            f->flags |= FIELD_DROP;
        }
    }
    if (!said->keeps_private)
        PUT(o, "cache-control: private\r\n");
}

void edge_put_reply(struct request *r, struct out *o)
{
    struct said said = hear(r);
    if (!said.any_vary && r->vary.n) {
        PUT(o, "vary: ");
        put_str(o, r->vary);
        PUT(o, "\r\n");
    }
    if (r->is_private)
        put_private(r, o, &said);
    if (r->allow_headers.n && said.allows_origin) {
        PUT(o, "access-control-allow-headers: ");
        put_str(o, r->allow_headers);
        PUT(o, "\r\n");
    }
}
