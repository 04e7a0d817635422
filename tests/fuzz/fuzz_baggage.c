/* Carriers in whole requests, against a naive reading of the rules: nothing of ours passes in any
 * spelling, everything else passes unchanged and in order, and the limits hold.
 *
 * Input: one byte of mode (1 trusted, 2 with a gateway of selectors, 4 little scratch), a line with
 * the path, then lines "NAME:VALUE". */
#include "lib/base/mem.h"
#include "lib/graph/context.h"
#include "tests/fuzz/fuzz.h"

#define FIELDS_MAX  100
#define MEMBERS_MAX 4096
#define ROOM        65536

struct request {
    struct field fields[FIELDS_MAX];
    unsigned n;
    struct str path;
    char names[ROOM];
    size_t used;
};

static struct str next_line(struct str *rest)
{
    struct str line = {rest->p, str_find(*rest, '\n')};
    *rest = line.n < rest->n ? str_from(*rest, line.n + 1) : str_of(rest->p, 0);
    return line;
}

static void read_field(struct request *r, struct str line)
{
    size_t colon = str_find(line, ':');
    if (colon == line.n || colon > 1000 || r->n == FIELDS_MAX || colon > ROOM - r->used)
        return;
    char *name = r->names + r->used;
    for (size_t i = 0; i < colon; i++)
        name[i] = ascii_lower(line.p[i]);
    r->used += colon;
    struct str value = str_trim(str_from(line, colon + 1));
    r->fields[r->n++] = (struct field){.name = name,
        .value = value.p,
        .value_len = (uint32_t)value.n,
        .name_len = (uint16_t)colon,
        .id = (uint8_t)field_id(name, colon)};
}

static void read_request(struct request *r, struct str rest)
{
    r->n = 0;
    r->used = 0;
    r->path = next_line(&rest);
    while (rest.n)
        read_field(r, next_line(&rest));
}

/* ---- a gateway with a selector of each kind ---- */

static uint32_t no_number(void *arg, struct str name)
{
    (void)arg;
    (void)name;
    return 0;
}

static struct gateway *selecting_gateway(void)
{
    struct model_selector selectors[] = {
        {.kind = SELECT_HOST, .key.s = STR("*.preview.example.com")},
        {.kind = SELECT_HEADER, .key.s = STR("x-env")},
        {.kind = SELECT_BAGGAGE, .key.s = STR("sd")},
        {.kind = SELECT_TRACESTATE, .key.s = STR("sd")},
        {.kind = SELECT_COOKIE, .key.s = STR("env")},
        {.kind = SELECT_QUERY, .key.s = STR("env")},
    };
    struct model_gateway m = {.name.s = STR("edge"),
        .default_environment.s = STR("main"),
        .selectors = selectors,
        .nselectors = sizeof(selectors) / sizeof(selectors[0])};
    return gateway_new(&m, no_number, NULL);
}

/* ---- what should be left ---- */

static struct str key_of(struct str member)
{
    struct str key = {member.p, str_find(member, '=')};
    key.n = str_find(key, ';');
    return str_trim(key);
}

/* True for bytes that no token has (RFC 9110 section 5.6.2). */
static bool odd(char c)
{
    bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return !alnum && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_ours(struct str member)
{
    struct str key = key_of(member);
    while (key.n && odd(key.p[0]))
        key = str_from(key, 1);
    while (key.n && odd(key.p[key.n - 1]))
        key.n--;
    return str_ieq(key, STR("offshoot"));
}

static bool is_selected(struct str member)
{
    struct str key = {member.p, str_find(member, '=')};
    return str_eq(str_trim(key), STR("sd"));
}

struct members {
    struct str list[MEMBERS_MAX];
    unsigned n;
};

/* Members of the baggage that pass, by the rules read naively. */
static void expect(struct members *m, const struct request *r, bool cut_selected)
{
    unsigned seen = 0;
    size_t at = 0;
    m->n = 0;
    for (unsigned i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        if (f->id != FIELD_BAGGAGE)
            continue;
        at += at ? 1 : 0;
        for (size_t from = 0; from <= f->value_len;) {
            struct str rest = str_from(field_value(f), from);
            struct str raw = {rest.p, str_find(rest, ',')};
            struct str member = str_trim(raw);
            if (f->value_len && at + from + raw.n > BAGGAGE_BYTES_MAX)
                return;
            if (member.n && ++seen > BAGGAGE_MEMBERS_MAX)
                return;
            if (member.n && !is_ours(member) && !(cut_selected && is_selected(member)))
                m->list[m->n++] = member;
            from += raw.n + 1;
        }
        at += f->value_len;
    }
}

/* Members of what is left in the fields, or of one value. */
static void split(struct members *m, struct str value)
{
    while (value.n) {
        struct str member = {value.p, str_find(value, ',')};
        value = member.n < value.n ? str_from(value, member.n + 1) : str_of(value.p, 0);
        member = str_trim(member);
        if (member.n && m->n < MEMBERS_MAX)
            m->list[m->n++] = member;
    }
}

static void demand_equal(const struct members *a, const struct members *b)
{
    demand(a->n == b->n);
    for (unsigned i = 0; i < a->n; i++)
        demand(str_eq(a->list[i], b->list[i]));
}

/* ---- the checks ---- */

static void check_fields(const struct request *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        const struct field *f = &r->fields[i];
        if (f->flags & FIELD_DROP)
            continue;
        demand(f->id < FIELD_X_OFFSHOOT_CONTEXT);
        static struct members left;
        left.n = 0;
        if (f->id == FIELD_BAGGAGE)
            split(&left, field_value(f));
        for (unsigned j = 0; j < left.n; j++)
            demand(!is_ours(left.list[j]));
    }
}

static void check_written(struct request *r, const struct members *expected)
{
    static char out[BAGGAGE_BYTES_MAX];
    static struct members got;
    struct str token = STR("v1m.main.0.00");
    bool ours = false;
    size_t n = context_write_baggage(r->fields, r->n, token, out, sizeof(out), &ours);
    got.n = 0;
    split(&got, str_of(out, n));
    demand(got.n <= BAGGAGE_MEMBERS_MAX);
    if (ours) {
        demand(got.n > 0 && str_eq(got.list[--got.n], STR("offshoot=v1m.main.0.00")));
    } else {
        size_t with = n + (n ? 1 : 0) + sizeof("offshoot=v1m.main.0.00") - 1;
        demand(got.n == BAGGAGE_MEMBERS_MAX || with > BAGGAGE_BYTES_MAX);
    }
    demand_equal(&got, expected);
}

static void check_path(struct str path)
{
    path.n = str_find(path, '#');
    size_t mark = str_find(path, '?');
    struct str query = str_from(path, mark < path.n ? mark + 1 : mark);
    while (query.n) {
        struct str parameter = {query.p, str_find(query, '&')};
        query = str_from(query, parameter.n < query.n ? parameter.n + 1 : parameter.n);
        struct str name = {parameter.p, str_find(parameter, '=')};
        demand(!str_eq(name, STR("env")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct request r;
    static struct members expected, left;
    static char room[2 * ROOM];
    if (size == 0 || size > ROOM / 2)
        return 0;
    unsigned mode = data[0];
    bool trusted = mode & 1;
    struct gateway *g = mode & 2 ? selecting_gateway() : NULL;
    struct scratch scratch = {.p = room, .size = mode & 4 ? mode : sizeof(room)};
    struct context c;

    read_request(&r, str_of((const char *)data + 1, size - 1));
    expect(&expected, &r, g && !trusted);
    context_pick(&c, &(struct carried){.fields = r.fields,
                         .nfields = r.n,
                         .trusted = trusted,
                         .gateway = g,
                         .authority = STR("feat-1.Preview.example.com"),
                         .path = &r.path,
                         .scratch = &scratch});
    demand(scratch.n <= scratch.size);
    demand(c.fault == FAULT_NONE || c.env.n == 0);
    check_fields(&r);
    if (g && c.fault == FAULT_NONE)
        check_path(r.path);
    if (!(mode & 4)) {
        left.n = 0;
        for (unsigned i = 0; i < r.n; i++) {
            if (r.fields[i].id == FIELD_BAGGAGE && !(r.fields[i].flags & FIELD_DROP))
                split(&left, field_value(&r.fields[i]));
        }
        demand_equal(&left, &expected);
        check_written(&r, &expected);
    }
    gateway_unref(g);
    demand(mem_live() == 0);
    return 0;
}
