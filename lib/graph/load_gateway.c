#include "lib/graph/hint.h"
#include "lib/graph/load_internal.h"
#include "lib/graph/route.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

#define KEY_MAX 256 /* bytes of a header, cookie, member or parameter name */

/* ---- selectors ----------------------------------------------------------------------------- */

/* RFC 9110 section 5.6.2 */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.n > 0 && s.n <= KEY_MAX;
}

/* A member of tracestate may be tenant@system (W3C Trace Context section 3.3.1.3.1). */
static bool is_selector_key(enum selector_kind kind, struct str s)
{
    if (kind == SELECT_TRACESTATE) {
        size_t at = str_find(s, '@'), slash = str_find(s, '/');
        if (at < s.n)
            return is_token(str_of(s.p, at)) && is_token(str_from(s, at + 1));
        if (slash < s.n)
            return is_token(str_of(s.p, slash)) && is_token(str_from(s, slash + 1));
    }
    return is_token(s);
}

static void lower(struct decode *d, struct mtext *t)
{
    char small[KEY_MAX];
    for (size_t i = 0; i < t->s.n; i++)
        small[i] = ascii_lower(t->s.p[i]);
    t->s = decode_copy(d, str_of(small, t->s.n));
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
        lower(d, &s->key);
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

/* ---- routes -------------------------------------------------------------------------------- */

static void read_route_host(struct decode *d, uint32_t value, void *into)
{
    decode_host(d, value, HOST_EXACT_OR_SUFFIX, into);
}

static bool is_route_path(struct str s)
{
    char out[KEY_MAX * 4];
    if (s.n == 0 || s.n > sizeof(out) || s.p[0] != '/')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '?' || s.p[i] == '#')
            return false;
    return path_normalise(s, out) > 0;
}

static void read_path(struct decode *d, uint32_t value, void *into)
{
    struct mtext path;
    if (!decode_text(d, value, &path))
        return;
    if (is_route_path(path.s))
        *(struct mtext *)into = path;
    else
        decode_wrong(d, value, "a path prefix: '/' first, no query, at most 1,024 bytes");
}

static void read_routes(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"host", read_route_host, offsetof(struct model_route, host), false},
        {"path", read_path, offsetof(struct model_route, path), true},
        {"service", read_text, offsetof(struct model_route, service), true},
    };
    struct model_gateway *g = into;
    if (!decode_is(d, value, NODE_LIST))
        return;
    g->routes = decode_alloc(d, d->tree->nodes[value].n, sizeof(*g->routes));
    for (uint32_t at = 0, item; g->routes && decode_item(d, value, &at, &item);) {
        struct model_route *r = &g->routes[g->nroutes];
        *r = (struct model_route){0};
        size_t before = d->found->errors;
        decode_map(d, item, "a route", fields, COUNT(fields), r);
        if (d->found->errors != before)
            r->path = (struct mtext){0}; /* nothing is compared with it */
        g->nroutes++;
    }
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
    };
    if (spec != UINT32_MAX)
        decode_map(d, spec, "spec of a Gateway", fields, COUNT(fields), &doc->gateway);
}
