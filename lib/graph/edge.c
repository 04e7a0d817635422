#include "lib/graph/edge.h"
#include "lib/base/mem.h"
#include "lib/graph/carrier.h"
#include "lib/graph/gateway.h"

/* ---- what a gateway has ready ---- */

/* The request header that a selector reads; empty for the host, which caches tell apart anyway.
 * The share cookie stands for the parameter, and the parameter never reaches a cache's key. */
static struct str header_of(const struct model_selector *s)
{
    switch (s->kind) {
    case SELECT_HEADER:
        return s->key.s;
    case SELECT_BAGGAGE:
        return STR("baggage");
    case SELECT_TRACESTATE:
        return STR("tracestate");
    case SELECT_COOKIE:
    case SELECT_QUERY:
        return STR("cookie");
    default:
        return STR("");
    }
}

static const struct str own_headers[] = {
    STR("baggage"), STR("x-offshoot-context"), STR("uberctx-offshoot"), STR("ot-baggage-offshoot")};
#define OWN_HEADERS (sizeof(own_headers) / sizeof(own_headers[0]))

size_t gateway_edge_size(const struct model_gateway *m)
{
    size_t vary = 0, pins = HOST_KEY_MAX;
    for (uint32_t i = 0; i < m->nselectors; i++)
        vary += header_of(&m->selectors[i]).n + 2;
    for (size_t i = 0; i < OWN_HEADERS; i++)
        vary += own_headers[i].n + 2;
    for (uint32_t i = 0; i < m->npin_hosts; i++)
        pins += m->pin_hosts[i].s.n;
    return 2 * vary + pins;
}

static bool lists(struct str list, struct str name)
{
    struct str member;
    while (field_next_element(&list, &member))
        if (str_eq(member, name))
            return true;
    return false;
}

static void list_once(struct str *list, struct str name, char **at)
{
    struct str join = list->n ? STR(", ") : STR("");
    if (name.n == 0 || lists(*list, name))
        return;
    memcpy(*at, join.p, join.n);
    memcpy(*at + join.n, name.p, name.n);
    *at += join.n + name.n;
    list->n += join.n + name.n;
}

static struct str make_vary(const struct model_gateway *m, bool own, char **at)
{
    struct str list = {*at, 0};
    for (uint32_t i = 0; i < m->nselectors; i++)
        list_once(&list, header_of(&m->selectors[i]), at);
    for (size_t i = 0; own && i < OWN_HEADERS; i++)
        list_once(&list, own_headers[i], at);
    return list;
}

bool gateway_edge_init(struct gateway *g, const struct model_gateway *m, char **at)
{
    g->share_at = -1;
    for (uint32_t i = 0; i < m->nselectors; i++)
        if (m->selectors[i].kind == SELECT_QUERY)
            g->share_at = (int32_t)i;
    g->vary[false] = make_vary(m, false, at);
    g->vary[true] = make_vary(m, true, at);
    g->pins = mem_array(m->npin_hosts + (size_t)1, sizeof(*g->pins));
    if (!g->pins)
        return false;
    g->bytes += (m->npin_hosts + (size_t)1) * sizeof(*g->pins);
    for (uint32_t i = 0; i < m->npin_hosts; i++) {
        struct str host = {0};
        if (m->pin_hosts[i].s.n < HOST_KEY_MAX)
            host = authority_host(m->pin_hosts[i].s, *at);
        *at += host.n;
        if (host.n)
            g->pins[g->npins++] = host;
    }
    return true;
}

/* ---- share links ---- */

bool gateway_pins(const struct gateway *g, struct str authority)
{
    char key[HOST_KEY_MAX];
    struct str host = g->npins ? authority_host(authority, key) : STR("");
    for (uint32_t i = 0; host.n && i < g->npins; i++)
        if (str_eq(g->pins[i], host))
            return true;
    return false;
}

/* ---- caches ---- */

bool gateway_selects_host(const struct gateway *g)
{
    return g->kinds >> SELECT_HOST & 1;
}

struct str gateway_vary(const struct gateway *g, bool own)
{
    return g->vary[own];
}

bool context_is_private(const struct context *c, const struct gateway *g)
{
    if (c->rule == RULE_EXPLICIT || c->by_subject)
        return true;
    return c->rule == RULE_SELECTOR && g->selectors[c->selector].as_written.kind != SELECT_HOST;
}

bool vary_is_any(struct str value)
{
    return lists(value, STR("*"));
}

/* Where the directive at the start of s ends: at a comma outside quotes. */
static size_t directive_length(struct str s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            quoted = !quoted;
        else if (quoted && s.p[i] == '\\')
            i++;
        else if (!quoted && s.p[i] == ',')
            return i;
    }
    return s.n;
}

bool cache_control_next(struct str *rest, struct str *ret_directive)
{
    while (rest->n) {
        struct str raw = {rest->p, directive_length(*rest)};
        *rest = str_from(*rest, raw.n < rest->n ? raw.n + 1 : raw.n);
        *ret_directive = str_trim(raw);
        if (ret_directive->n)
            return true;
    }
    return false;
}

enum cache_directive cache_directive_of(struct str directive)
{
    struct str name = str_trim(str_of(directive.p, str_find(directive, '=')));
    bool alone = str_find(directive, '=') == directive.n;
    if (str_ieq(name, STR("private")))
        return alone ? CACHE_PRIVATE : CACHE_OTHER;
    if (str_ieq(name, STR("no-store")))
        return CACHE_NO_STORE;
    if (str_ieq(name, STR("must-understand")))
        return CACHE_MUST_UNDERSTAND;
    bool shared = str_ieq(name, STR("public")) || str_ieq(name, STR("s-maxage"));
    return shared ? CACHE_SHARED : CACHE_OTHER;
}

bool cache_field_targeted(struct str name)
{
    return str_ends(name, STR("cdn-cache-control")) || str_eq(name, STR("surrogate-control"));
}

/* ---- CORS ---- */

static bool is_named(const struct field *f, struct str name)
{
    return f->id == FIELD_OTHER && str_eq(field_name(f), name);
}

static bool has_field(const struct field *fields, unsigned n, struct str name)
{
    for (unsigned i = 0; i < n; i++)
        if (is_named(&fields[i], name))
            return true;
    return false;
}

/* The names of our carriers are recognised in every spelling, as the carriers are. */
static bool own_named(struct str name)
{
    char lower[32];
    if (name.n > sizeof(lower))
        return false;
    for (size_t i = 0; i < name.n; i++)
        lower[i] = ascii_lower(name.p[i]);
    enum field_id id = field_id(lower, name.n);
    return id == FIELD_BAGGAGE ||
           (id >= FIELD_X_OFFSHOOT_CONTEXT && id <= FIELD_OT_BAGGAGE_OFFSHOOT);
}

static bool carrier_named(const struct gateway *g, bool own, struct str name)
{
    if (own && own_named(name))
        return true;
    for (uint32_t i = 0; i < g->nselectors; i++) {
        const struct model_selector *s = &g->selectors[i].as_written;
        /* A page cannot set its cookies by a header. */
        bool settable = s->kind != SELECT_COOKIE && s->kind != SELECT_QUERY;
        struct str header = header_of(s);
        if (settable && header.n && str_ieq(header, name))
            return true;
    }
    return false;
}

/* Appends a name to the list at the end of scratch. */
static void list_add(struct str *list, struct str name, struct scratch *scratch)
{
    struct str join = list->n ? STR(", ") : STR("");
    if (!list->p)
        list->p = scratch->p + scratch->n;
    memcpy(scratch->p + scratch->n, join.p, join.n);
    memcpy(scratch->p + scratch->n + join.n, name.p, name.n);
    scratch->n += join.n + name.n;
    list->n += join.n + name.n;
}

/* Appends the names of a value for which carrier_named is `wanted`. */
static void list_names(struct str *list, struct str value, const struct gateway *g, bool own,
    bool wanted, struct scratch *scratch)
{
    struct str name;
    while (field_next_element(&value, &name))
        if (carrier_named(g, own, name) == wanted)
            list_add(list, name, scratch);
}

struct str cors_take_names(struct field *fields, unsigned nfields, const struct gateway *g,
    bool own, struct scratch *scratch)
{
    const struct str asked = STR("access-control-request-headers");
    struct str taken = {0};
    size_t bytes = 0;
    if (!has_field(fields, nfields, STR("origin")) ||
        !has_field(fields, nfields, STR("access-control-request-method")))
        return taken;
    for (unsigned i = 0; i < nfields; i++)
        bytes += is_named(&fields[i], asked) ? (size_t)fields[i].value_len + 1 : 0;
    /* Each list is at most twice as long as the values: a comma may have been without a space. */
    if (scratch->size - scratch->n < 4 * bytes)
        return taken;
    for (unsigned i = 0; i < nfields; i++)
        if (is_named(&fields[i], asked))
            list_names(&taken, field_value(&fields[i]), g, own, true, scratch);
    for (unsigned i = 0; taken.n && i < nfields; i++) {
        struct field *f = &fields[i];
        struct str left = {0};
        if (!is_named(f, asked))
            continue;
        list_names(&left, field_value(f), g, own, false, scratch);
        f->flags |= left.n ? 0 : FIELD_DROP;
        f->value = left.p;
        f->value_len = (uint32_t)left.n;
    }
    return taken;
}
