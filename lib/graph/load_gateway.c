#include "lib/graph/hint.h"
#include "lib/graph/load_internal.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* ---- selectors ----------------------------------------------------------------------------- */

/* A member of tracestate may be tenant@system (W3C Trace Context section 3.3.1.3.1). */
static bool is_selector_key(enum selector_kind kind, struct str s)
{
    if (kind == SELECT_TRACESTATE) {
        size_t at = str_find(s, '@'), slash = str_find(s, '/');
        if (at < s.n)
            return token_valid(str_of(s.p, at)) && token_valid(str_from(s, at + 1));
        if (slash < s.n)
            return token_valid(str_of(s.p, slash)) && token_valid(str_from(s, slash + 1));
    }
    return token_valid(s);
}

/* The one carrier of a selector. */
static void read_carrier(
    struct decode *d, uint32_t value, struct model_selector *s, enum selector_kind kind)
{
    if (s->key.at.line) {
        findings_add(d->found, F_TYPE, node_place(d, key_of(value)), &s->key.at,
            "a second carrier in one selector; write a selector for each");
        return;
    }
    s->kind = (uint8_t)kind;
    s->key.at = node_place(d, value);
    if (kind == SELECT_HOST) {
        decode_host(d, value, HOST_SUFFIX, &s->key);
        return;
    }
    if (!decode_text(d, value, &s->key))
        return;
    if (!is_selector_key(kind, s->key.s))
        findings_add(d->found, F_NAME, s->key.at, NULL,
            "'%.*s' cannot be the name of a carrier; write letters, digits, '-' or '_'",
            STR_ARG(shown(s->key.s)));
    else if (kind == SELECT_HEADER)
        s->key.s = decode_lower(d, s->key.s);
}

static void read_host_selector(struct decode *d, uint32_t value, void *into)
{
    read_carrier(d, value, into, SELECT_HOST);
}

static void read_header(struct decode *d, uint32_t value, void *into)
{
    read_carrier(d, value, into, SELECT_HEADER);
}

static void read_baggage(struct decode *d, uint32_t value, void *into)
{
    read_carrier(d, value, into, SELECT_BAGGAGE);
}

static void read_tracestate(struct decode *d, uint32_t value, void *into)
{
    read_carrier(d, value, into, SELECT_TRACESTATE);
}

static void read_cookie(struct decode *d, uint32_t value, void *into)
{
    read_carrier(d, value, into, SELECT_COOKIE);
}

static void read_query(struct decode *d, uint32_t value, void *into)
{
    read_carrier(d, value, into, SELECT_QUERY);
}

static bool read_selector(struct decode *d, uint32_t item, struct model_selector *s)
{
    static const struct known_field fields[] = {
        {"host", read_host_selector, 0, false},
        {"header", read_header, 0, false},
        {"baggage", read_baggage, 0, false},
        {"tracestate", read_tracestate, 0, false},
        {"cookie", read_cookie, 0, false},
        {"query", read_query, 0, false},
        {"forward", read_bool, offsetof(struct model_selector, forward), false},
    };
    unsigned fault = decode_map(d, item, "a selector", fields, COUNT(fields), s);
    if (!(fault & (MAP_NOT_ONE | MAP_UNKNOWN_FIELD)) && !s->key.at.line)
        findings_add(d->found, F_MISSING_FIELD, node_place(d, item), NULL,
            "a selector without a carrier; add one of host, header, baggage, tracestate, cookie "
            "and query");
    return s->key.s.p != NULL;
}

static void read_select(struct decode *d, uint32_t value, void *into)
{
    struct model_gateway *g = into;
    if (!decode_is(d, value, NODE_LIST))
        return;
    g->selectors = decode_alloc(d, d->tree->nodes[value].n, sizeof(*g->selectors));
    for (uint32_t at = 0, item; g->selectors && decode_item(d, value, &at, &item);) {
        struct model_selector *s = &g->selectors[g->nselectors];
        *s = (struct model_selector){0};
        g->nselectors += read_selector(d, item, s);
    }
}

/* ---- limits -------------------------------------------------------------------------------- */

static void read_rate(struct decode *d, uint32_t value, void *into)
{
    decode_u32(d, value, 1, 1000000, into);
}

/* A burst is as many requests as a second has, unless it is written. */
static void settle_limit(struct decode *d, uint32_t map, struct limit *l)
{
    if (l->burst && !l->per_second)
        findings_add(d->found, F_MISSING_FIELD, node_place(d, map), NULL,
            "'burst' needs 'requestsPerSecond'; add it");
    if (!l->burst)
        l->burst = l->per_second;
}

/* together: what the count of those at a time is called. */
static void read_limit(
    struct decode *d, uint32_t value, const char *what, const char *together, struct limit *l)
{
    const struct known_field fields[] = {
        {"requestsPerSecond", read_rate, offsetof(struct limit, per_second), false},
        {"burst", read_rate, offsetof(struct limit, burst), false},
        {together, read_rate, offsetof(struct limit, together), false},
    };
    size_t before = d->found->errors;
    decode_map(d, value, what, fields, COUNT(fields), l);
    if (d->found->errors == before)
        settle_limit(d, value, l);
}

static void read_per_source(struct decode *d, uint32_t value, void *into)
{
    read_limit(d, value, "perSource", "connections", into);
}

static void read_per_environment(struct decode *d, uint32_t value, void *into)
{
    read_limit(d, value, "perEnvironment", "concurrent", into);
}

static void read_limits(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"perSource", read_per_source, offsetof(struct gateway_limits, source), false},
        {"perEnvironment", read_per_environment, offsetof(struct gateway_limits, environment),
            false},
    };
    decode_map(d, value, "limits", fields, COUNT(fields), into);
}

/* ---- gateway ------------------------------------------------------------------------------- */

static void read_overlay_access(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"token", "public", NULL};
    uint8_t word;
    if (decode_choice(d, value, words, &word))
        *(bool *)into = word == 1;
}

static void read_pin_hosts(struct decode *d, uint32_t value, void *into)
{
    struct model_gateway *g = into;
    if (!decode_is(d, value, NODE_LIST))
        return;
    g->pin_hosts = decode_alloc(d, d->tree->nodes[value].n, sizeof(*g->pin_hosts));
    for (uint32_t at = 0, item; g->pin_hosts && decode_item(d, value, &at, &item);)
        g->npin_hosts += decode_host(d, item, HOST_EXACT, &g->pin_hosts[g->npin_hosts]);
}

void decode_gateway(struct decode *d, uint32_t spec, struct document *doc)
{
    static const struct known_field fields[] = {
        {"defaultEnvironment", read_text, offsetof(struct model_gateway, default_environment),
            false},
        {"overlayAccess", read_overlay_access,
            offsetof(struct model_gateway, overlay_access_public), false},
        {"pinHosts", read_pin_hosts, 0, false},
        {"select", read_select, 0, false},
        {"routes", read_routes, 0, false},
        {"limits", read_limits, offsetof(struct model_gateway, limits), false},
    };
    if (spec != UINT32_MAX)
        decode_map(d, spec, "spec of a Gateway", fields, COUNT(fields), &doc->gateway);
}
