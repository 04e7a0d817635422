#include "lib/base/parse.h"
#include "lib/graph/load_internal.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* ---- service ------------------------------------------------------------------------------- */

static void read_protocol(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"http", "grpc", "tcp", NULL};
    decode_choice(d, value, words, into);
}

static void read_hosts(struct decode *d, uint32_t value, void *into)
{
    struct model_service *s = into;
    if (!decode_is(d, value, NODE_LIST))
        return;
    s->hosts = decode_alloc(d, d->tree->nodes[value].n, sizeof(*s->hosts));
    for (uint32_t at = 0, item; s->hosts && decode_item(d, value, &at, &item);) {
        struct mtext compared, *host = &s->hosts[s->nhosts];
        if (decode_host(d, item, HOST_EXACT, &compared) && decode_text(d, item, host))
            s->nhosts++;
    }
}

static void read_depends_on(struct decode *d, uint32_t value, void *into)
{
    struct model_service *s = into;
    decode_texts(d, value, &s->depends_on, &s->ndepends_on);
}

/* Quoted, "true" and "false" are text and no answer to a question of yes or no. */
static void read_propagates(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"unknown", "true", "false", NULL};
    const struct node *n = &d->tree->nodes[value];
    bool quoted = n->type == NODE_TEXT && !n->plain;
    if (quoted && !str_eq(node_text(d->tree, value), STR("unknown")))
        decode_wrong(d, value, "true or false without quotes, or unknown");
    else
        decode_choice(d, value, words, into);
}

static void read_state(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"shared", "isolated", "none", NULL};
    decode_choice(d, value, words, into);
}

static void read_shadow(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"deny", "safe", NULL};
    decode_choice(d, value, words, into);
}

static void read_provider_protocol(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"http1", "http2", NULL};
    uint8_t word;
    if (decode_choice(d, value, words, &word))
        *(uint8_t *)into = word ? PROVIDER_HTTP2 : PROVIDER_HTTP1;
}

/* What a protocol means anyway is as good as not written. */
static void settle_provider_protocol(struct decode *d, uint32_t spec, struct model_service *s)
{
    if (s->provider_protocol == PROVIDER_DEFAULT)
        return;
    bool by_nature = s->protocol == PROTOCOL_GRPC;
    if (s->protocol == PROTOCOL_TCP)
        decode_exclude(d, spec, "protocol", "providerProtocol",
            "a tcp service is passed on as it is; remove 'providerProtocol'");
    else if (by_nature && s->provider_protocol == PROVIDER_HTTP1)
        decode_exclude(d, spec, "protocol", "providerProtocol",
            "gRPC needs HTTP/2; remove 'providerProtocol', or write 'protocol: http'");
    if (s->provider_protocol == (by_nature ? PROVIDER_HTTP2 : PROVIDER_HTTP1))
        s->provider_protocol = PROVIDER_DEFAULT;
}

/* ---- TLS to the providers -------------------------------------------------------------------- */

#define TLS_CA_MAX 1024 /* bytes of a path */

static void read_tls_name(struct decode *d, uint32_t value, void *into)
{
    struct mtext host;
    if (decode_bare_host(d, value, &host))
        *(struct str *)into = host.s;
}

static void read_tls_ca(struct decode *d, uint32_t value, void *into)
{
    struct mtext path;
    if (!decode_text(d, value, &path))
        return;
    if (path.s.n <= TLS_CA_MAX && path.s.p[0] == '/')
        *(struct str *)into = path.s;
    else
        decode_wrong(d, value, "the absolute path of a PEM file, of at most 1,024 bytes");
}

static void read_tls(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"name", read_tls_name, offsetof(struct service_tls, name), false},
        {"ca", read_tls_ca, offsetof(struct service_tls, ca), false},
        {"insecure", read_bool, offsetof(struct service_tls, insecure), false},
    };
    struct service_tls *tls = into;
    decode_map(d, value, "tls", fields, COUNT(fields), into);
    if (tls->insecure)
        decode_exclude(d, value, "ca", "insecure", "nothing is verified then; keep one of them");
    tls->on = true;
}

/* ---- all ----------------------------------------------------------------------------------- */

void decode_service(struct decode *d, uint32_t spec, struct document *doc)
{
    static const struct known_field fields[] = {
        {"protocol", read_protocol, offsetof(struct model_service, protocol), false},
        {"port", read_port, offsetof(struct model_service, port), false},
        {"hosts", read_hosts, 0, false},
        {"propagates", read_propagates, offsetof(struct model_service, propagates), false},
        {"dependsOn", read_depends_on, 0, false},
        {"pinned", read_bool, offsetof(struct model_service, pinned), false},
        {"state", read_state, offsetof(struct model_service, state), false},
        {"shadow", read_shadow, offsetof(struct model_service, shadow), false},
        {"policy", read_policy, offsetof(struct model_service, policy), false},
        {"providerProtocol", read_provider_protocol,
            offsetof(struct model_service, provider_protocol), false},
        {"tls", read_tls, offsetof(struct model_service, tls), false},
    };
    doc->service.policy = policy_default();
    if (spec == UINT32_MAX)
        return;
    decode_map(d, spec, "spec of a Service", fields, COUNT(fields), &doc->service);
    settle_provider_protocol(d, spec, &doc->service);
}
