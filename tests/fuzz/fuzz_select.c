/* The parameter of a share link and its cookie, against a naive reading of the rules: the one that
 * counts is found, both are taken out, everything else stays in order. And the lists that
 * preflights and caches speak in.
 *
 * Input: one byte of mode (1 trusted, 2 little scratch), a line with the path, then a line for each
 * Cookie field; lines that start with '!' are a value of Access-Control-Request-Headers and of
 * Cache-Control. */
#include "lib/base/mem.h"
#include "lib/graph/edge.h"
#include "tests/fuzz/fuzz.h"

#define FIELDS_MAX 20
#define PARTS_MAX  8192
#define ROOM       65536

static uint32_t no_number(void *arg, struct str name)
{
    (void)arg;
    (void)name;
    return 0;
}

static struct gateway *linking_gateway(void)
{
    struct model_selector selectors[] = {
        {.kind = SELECT_QUERY, .key.s = STR("env")},
        {.kind = SELECT_COOKIE, .key.s = STR("kept"), .forward = true},
        {.kind = SELECT_HEADER, .key.s = STR("x-env")},
    };
    struct model_gateway m = {.name.s = STR("edge"),
        .default_environment.s = STR("main"),
        .selectors = selectors,
        .nselectors = sizeof(selectors) / sizeof(selectors[0])};
    return gateway_new(&m, no_number, NULL);
}

/* ---- the rules, read naively ---- */

static int hex(char c)
{
    const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, ascii_lower(c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes into out, at least in.n bytes; false when an escape is broken. */
static bool decode(struct str in, char *out, size_t *ret_n)
{
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        int c = (unsigned char)in.p[i];
        if (c == '%') {
            if (i + 2 >= in.n || hex(in.p[i + 1]) < 0 || hex(in.p[i + 2]) < 0)
                return false;
            c = hex(in.p[i + 1]) * 16 + hex(in.p[i + 2]);
            i += 2;
        }
        out[n++] = (char)c;
    }
    *ret_n = n;
    return true;
}

struct found {
    unsigned n; /* how often */
    bool differ, broken;
    char value[ROOM];
    size_t len;
};

static void find(struct found *f, struct str value, bool encoded)
{
    static char plain[ROOM];
    size_t n = value.n;
    if (!encoded)
        memcpy(plain, value.p ? value.p : "", n);
    else if (!decode(value, plain, &n))
        f->broken = true;
    if (f->n++ && (f->len != n || memcmp(f->value, plain, n) != 0))
        f->differ = true;
    if (f->n == 1)
        memcpy(f->value, plain, f->len = n);
}

struct parts {
    struct str list[PARTS_MAX];
    unsigned n;
};

static struct str query_of(struct str path)
{
    path.n = str_find(path, '#');
    size_t mark = str_find(path, '?');
    return mark < path.n ? str_from(path, mark + 1) : str_of(path.p, 0);
}

static bool is_parameter(struct str part)
{
    static char name[ROOM];
    size_t n;
    struct str key = str_trim(str_of(part.p, str_find(part, '=')));
    return decode(key, name, &n) && n == 3 && memcmp(name, "env", 3) == 0;
}

static struct str value_of(struct str part)
{
    size_t equals = str_find(part, '=');
    return equals < part.n ? str_trim(str_from(part, equals + 1)) : str_of(part.p, 0);
}

/* Splits a query: what must stay, and what the parameter says. */
static void read_query(struct str query, struct parts *stay, struct found *said)
{
    while (query.n && stay->n < PARTS_MAX) {
        struct str part = str_trim(next_part(&query, '&'));
        if (part.n && is_parameter(part))
            find(said, value_of(part), true);
        else if (part.n)
            stay->list[stay->n++] = part;
    }
}

static void read_cookies(struct str value, struct parts *stay, struct found *said)
{
    while (value.n && stay->n < PARTS_MAX) {
        struct str part = str_trim(next_part(&value, ';'));
        struct str name = str_trim(str_of(part.p, str_find(part, '=')));
        bool plain = str_eq(name, STR("offshoot")), host = str_eq(name, STR("__Host-offshoot"));
        if (plain)
            find(said, value_of(part), false);
        if (part.n && !plain && !host)
            stay->list[stay->n++] = part;
    }
}

static void demand_equal(const struct parts *a, const struct parts *b)
{
    demand(a->n == b->n);
    for (unsigned i = 0; i < a->n; i++)
        demand(str_eq(a->list[i], b->list[i]));
}

/* ---- the checks ---- */

static void check_context(const struct context *c, const struct found *said)
{
    demand(c->selector == 0);
    if (said->differ || said->broken) { /* what broke may also look like another value */
        demand(c->fault == FAULT_SELECTOR_TWO_VALUES ||
               (said->broken && c->fault == FAULT_SELECTOR_VALUE));
        demand(c->env.n == 0);
        return;
    }
    demand(c->fault == FAULT_NONE && c->env.n == said->len);
    demand(said->len == 0 || memcmp(c->env.p, said->value, said->len) == 0);
    demand(!c->by_query || str_eq(c->said, c->env));
}

static void check_lists(struct str value, const struct gateway *g)
{
    static char room[8 * ROOM];
    struct scratch scratch = {.p = room, .size = sizeof(room)};
    struct str rest = value, directive;
    while (cache_control_next(&rest, &directive)) {
        demand(directive.n && directive.p >= value.p);
        demand(directive.p + directive.n <= value.p + value.n);
        (void)cache_directive_of(directive);
    }
    struct field fields[] = {
        {.name = "origin", .name_len = 6, .value = "x", .value_len = 1},
        {.name = "access-control-request-method", .name_len = 29, .value = "GET", .value_len = 3},
        {.name = "access-control-request-headers", .name_len = 30, .value = value.p},
    };
    fields[2].value_len = (uint32_t)value.n;
    unsigned before = 0, after = 0;
    for (struct str s = value; s.n;)
        before += str_trim(next_part(&s, ',')).n > 0;
    struct str taken = cors_take_names(fields, 3, g, true, &scratch);
    for (struct str s = taken; s.n; after++)
        demand(str_trim(next_part(&s, ',')).n > 0);
    for (struct str s = field_value(&fields[2]); s.n;) {
        struct str name = str_trim(next_part(&s, ','));
        demand(!str_ieq(name, STR("x-env")) && !str_ieq(name, STR("baggage")));
        after += name.n > 0;
    }
    demand(before == after);
}

static void check_request(struct str input, bool trusted, bool little, const struct gateway *g)
{
    static char room[2 * ROOM];
    static struct parts stay, left, cookies, cookies_left;
    static struct found parameter, cookie;
    struct field fields[FIELDS_MAX];
    unsigned n = 0;
    stay.n = left.n = cookies.n = cookies_left.n = 0;
    parameter = cookie = (struct found){0};
    struct str path = next_part(&input, '\n');
    read_query(query_of(path), &stay, &parameter);
    while (input.n && n < FIELDS_MAX) {
        struct str line = str_trim(next_part(&input, '\n'));
        if (line.n && line.p[0] == '!') {
            check_lists(str_from(line, 1), g);
            continue;
        }
        fields[n++] = (struct field){.name = "cookie",
            .name_len = 6,
            .value = line.p,
            .value_len = (uint32_t)line.n,
            .id = FIELD_COOKIE};
        read_cookies(line, &cookies, &cookie);
    }
    struct scratch scratch = {.p = room, .size = little ? 16 : sizeof(room)};
    struct context c;
    struct str forwarded = path;
    context_pick(&c, &(struct carried){.fields = fields,
                         .nfields = n,
                         .trusted = trusted,
                         .gateway = g,
                         .authority = STR("shop"),
                         .path = &forwarded,
                         .scratch = &scratch});
    demand(scratch.n <= scratch.size);
    if (little)
        return;
    demand(c.by_query == (parameter.n > 0));
    demand(c.by_cookie == (!parameter.n && !trusted && cookie.n > 0));
    if (c.by_query || c.by_cookie)
        check_context(&c, c.by_query ? &parameter : &cookie);
    struct found none = {0};
    read_query(query_of(forwarded), &left, &none);
    demand(none.n == 0 || c.fault != FAULT_NONE);
    demand_equal(&stay, &left);
    for (unsigned i = 0; i < n && !trusted; i++)
        if (!(fields[i].flags & FIELD_DROP))
            read_cookies(field_value(&fields[i]), &cookies_left, &none);
    if (!trusted)
        demand_equal(&cookies, &cookies_left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > PARTS_MAX)
        return 0;
    struct gateway *g = linking_gateway();
    demand(g != NULL);
    check_request(str_of((const char *)data + 1, size - 1), data[0] & 1, data[0] & 2, g);
    gateway_unref(g);
    demand(mem_live() == 0);
    return 0;
}
