#include "proxy/share.h"
#include "lib/base/counters.h"
#include "lib/graph/edge.h"
#include "proxy/worker.h"

/* No Domain: for the very host that set it. No Max-Age: gone with the browser's session. */
#define ATTRIBUTES "; Path=/; HttpOnly; SameSite=Lax\r\n"

const char *share_word(enum share s)
{
    static const char *const words[SHARE_COUNT] = {"", "share-link", "share-leave"};
    return words[s];
}

bool share_decide(struct request *r)
{
    const struct answer *a = &r->answer;
    const struct context *c = &a->context;
    bool get = r->head.method_id == H1_GET || r->head.method_id == H1_HEAD;
    /* A WebSocket client does not follow a redirect: there the parameter decides like a header. */
    if (!c->by_query || c->fault || a->bad_path || !get || r->tunnel != TUNNEL_NONE ||
        !gateway_pins(r->ask.gateway, r->head.authority))
        return false;
    if (c->said.n && a->refusal != REFUSAL_NONE)
        return false;
    r->share = c->said.n ? SHARE_SET : SHARE_CLEAR;
    counter_inc(&r->w->stats[STAT_SHARE_LINKS + r->share - SHARE_SET]);
    return true;
}

/* "//host" would lead elsewhere; "/.//host" is the same path here, and stays here. */
static void put_location(struct out *o, struct str path)
{
    PUT(o, "location: ");
    if (path.n > 1 && path.p[1] == '/')
        PUT(o, "/.");
    put_str(o, path);
    PUT(o, "\r\n");
}

static void put_name(const struct request *r, struct out *o)
{
    if (r->client->tls)
        PUT(o, "set-cookie: " SHARE_COOKIE_SECURE "=");
    else
        PUT(o, "set-cookie: " SHARE_COOKIE "=");
}

static void put_attributes(const struct request *r, struct out *o)
{
    if (r->client->tls)
        PUT(o, "; Secure");
    PUT(o, ATTRIBUTES);
}

static void put_cleared(const struct request *r, struct out *o)
{
    put_name(r, o);
    PUT(o, "; Max-Age=0");
    put_attributes(r, o);
}

int share_reply(struct request *r, struct buf *b)
{
    struct out o = out_begin(b);
    r->status = 302;
    heads_put_status(&o, r->status, (struct str){0});
    put_location(&o, r->answer.path);
    if (r->share == SHARE_CLEAR) {
        put_cleared(r, &o);
    } else {
        /* The name of an environment that exists, or a token that verified: both are plain. */
        put_name(r, &o);
        put_str(&o, r->answer.context.said);
        put_attributes(r, &o);
    }
    PUT(&o, "cache-control: no-store\r\ncontent-length: 0\r\n");
    heads_put_connection(r, &o);
    PUT(&o, "\r\n");
    return out_end(&o, b);
}

void share_put_expired(struct request *r, struct out *o)
{
    switch (r->refusal) {
    case REFUSAL_UNKNOWN_ENVIRONMENT:
    case REFUSAL_EXPIRED:
    case REFUSAL_FORBIDDEN:
    case REFUSAL_CONTEXT:
        break;
    default:
        return;
    }
    if (!r->answer.context.by_cookie)
        return;
    put_cleared(r, o);
    counter_inc(&r->w->stats[STAT_SHARE_EXPIRED]);
}
