#include "lib/base/parse.h"
#include "lib/graph/hint.h"
#include "lib/graph/load_internal.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

#define NOWHERE UINT32_MAX

/* Remembers that what was read since `before` has errors. */
static void note_fault(const struct decode *d, size_t before, struct model_env *e, uint8_t fault)
{
    if (d->found->errors != before)
        e->faults |= fault;
}

/* ---- mode and parents ---------------------------------------------------------------------- */

static void read_mode(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"baseline", "overlay", "shared", NULL};
    struct model_env *e = into;
    if (!decode_choice(d, value, words, &e->mode))
        e->faults |= ENV_FAULT_LINEAGE | ENV_FAULT_STATEMENTS;
}

/* `parent` and `parents` exclude each other: the second one is the contradiction. */
static bool first_of_parents(struct decode *d, uint32_t value, struct model_env *e)
{
    struct place at = node_place(d, key_of(value));
    if (!e->parents_at.line) {
        e->parents_at = at;
        e->parents_value_at = node_place(d, value);
        return true;
    }
    findings_add(d->found, F_CONTRADICTION, at, &e->parents_at,
        "'parent' and 'parents' together; keep one of them");
    e->faults |= ENV_FAULT_LINEAGE;
    return false;
}

static void read_parent(struct decode *d, uint32_t value, void *into)
{
    struct model_env *e = into;
    size_t before = d->found->errors;
    if (!first_of_parents(d, value, e))
        return;
    struct mtext *parent = decode_alloc(d, 1, sizeof(*parent));
    if (parent && decode_text(d, value, parent)) {
        e->parents = parent;
        e->nparents = 1;
    }
    note_fault(d, before, e, ENV_FAULT_LINEAGE);
}

static void read_parents(struct decode *d, uint32_t value, void *into)
{
    struct model_env *e = into;
    size_t before = d->found->errors;
    if (!first_of_parents(d, value, e))
        return;
    decode_texts(d, value, &e->parents, &e->nparents);
    note_fault(d, before, e, ENV_FAULT_LINEAGE);
}

/* ---- statements ---------------------------------------------------------------------------- */

static void read_weight(struct decode *d, uint32_t value, void *into)
{
    decode_u32(d, value, 1, 1000, into);
}

static void read_address(struct decode *d, uint32_t value, void *into)
{
    struct addr *a = into;
    struct err e = {0};
    if (!decode_is(d, value, NODE_TEXT))
        return;
    struct place at = node_place(d, value);
    struct str written = node_text(d->tree, value);
    if (addr_parse(written, false, a, &e) < 0) {
        a->kind = ADDR_NONE;
        findings_add(d->found, F_ADDRESS, at, NULL,
            "%s; write a.b.c.d:port, [IPv6]:port, name:port or unix:/path", e.text);
        return;
    }
    if (a->kind == ADDR_TUNNEL) {
        a->kind = ADDR_NONE;
        findings_add(d->found, F_ADDRESS, at, NULL,
            "'%.*s': tunnels are reserved for a later version; write an address",
            STR_ARG(shown(written)));
        return;
    }
    if (a->name.n)
        a->name = decode_copy(d, a->name);
}

/* One item of `endpoints`: an address, or a mapping with a weight. */
static bool read_endpoint(struct decode *d, uint32_t item, struct model_endpoint *ret)
{
    static const struct known_field fields[] = {
        {"address", read_address, offsetof(struct model_endpoint, addr), true},
        {"weight", read_weight, offsetof(struct model_endpoint, weight), false},
    };
    *ret = (struct model_endpoint){.weight = 1, .at = node_place(d, item)};
    if (d->tree->nodes[item].type == NODE_MAP) {
        decode_map(d, item, "an endpoint", fields, COUNT(fields), ret);
        uint32_t address = decode_find(d, item, "address");
        if (address != NOWHERE)
            ret->at = node_place(d, address);
    } else if (d->tree->nodes[item].type == NODE_TEXT) {
        read_address(d, item, &ret->addr);
    } else {
        decode_wrong(d, item, "an address, or a mapping with address and weight");
    }
    return ret->addr.kind != ADDR_NONE;
}

static void read_endpoints(struct decode *d, uint32_t value, void *into)
{
    struct model_statement *s = into;
    if (!decode_is(d, value, NODE_LIST))
        return;
    uint32_t n = d->tree->nodes[value].n;
    if (!n)
        findings_add(d->found, F_TYPE, node_place(d, value), NULL,
            "an empty list; write at least one endpoint, or `remove` the service");
    s->endpoints = decode_alloc(d, n, sizeof(*s->endpoints));
    for (uint32_t at = 0, item; s->endpoints && decode_item(d, value, &at, &item);)
        s->nendpoints += read_endpoint(d, item, &s->endpoints[s->nendpoints]);
}

static struct model_statement *new_statement(
    struct decode *d, struct model_env *e, uint32_t service, enum statement_kind kind)
{
    struct model_statement *s = &e->statements[e->nstatements];
    if (!decode_text(d, service, &s->service))
        return NULL;
    s->kind = (uint8_t)kind;
    e->nstatements++;
    return s;
}

static void read_providers(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"endpoints", read_endpoints, 0, true},
        {"artifact", read_str, offsetof(struct model_statement, artifact), false},
        {"region", read_str, offsetof(struct model_statement, region), false},
    };
    struct model_env *e = into;
    size_t before = d->found->errors;
    if (decode_is(d, value, NODE_MAP)) {
        for (uint32_t at = 0, provider; decode_pair(d, value, &at, &provider);) {
            struct model_statement *s = new_statement(d, e, key_of(provider), STATEMENT_PROVIDES);
            if (s)
                decode_map(d, provider, "a provider", fields, COUNT(fields), s);
        }
    }
    note_fault(d, before, e, ENV_FAULT_STATEMENTS);
}

static void read_use(struct decode *d, uint32_t value, void *into)
{
    struct model_env *e = into;
    size_t before = d->found->errors;
    if (decode_is(d, value, NODE_MAP)) {
        for (uint32_t at = 0, target; decode_pair(d, value, &at, &target);) {
            struct mtext use;
            if (!decode_text(d, target, &use))
                continue;
            struct model_statement *s = new_statement(d, e, key_of(target), STATEMENT_USE);
            if (s)
                s->use = use;
        }
    }
    note_fault(d, before, e, ENV_FAULT_STATEMENTS);
}

static void read_remove(struct decode *d, uint32_t value, void *into)
{
    struct model_env *e = into;
    size_t before = d->found->errors;
    if (decode_is(d, value, NODE_LIST))
        for (uint32_t at = 0, item; decode_item(d, value, &at, &item);)
            new_statement(d, e, item, STATEMENT_REMOVE);
    note_fault(d, before, e, ENV_FAULT_STATEMENTS);
}

/* Room for the statements of all three fields. */
static bool reserve_statements(struct decode *d, uint32_t spec, struct model_env *e)
{
    static const char *const keys[] = {"providers", "use", "remove"};
    size_t n = 0;
    for (size_t i = 0; i < COUNT(keys); i++) {
        uint32_t value = decode_find(d, spec, keys[i]);
        if (value != NOWHERE && d->tree->nodes[value].type != NODE_TEXT)
            n += d->tree->nodes[value].n;
    }
    e->statements = decode_alloc(d, n, sizeof(*e->statements));
    return e->statements || !n;
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void read_expires(struct decode *d, uint32_t value, void *into)
{
    struct model_env *e = into;
    if (!decode_is(d, value, NODE_TEXT))
        return;
    struct str s = node_text(d->tree, value);
    e->expires_at = node_place(d, value);
    e->has_expires = parse_rfc3339(s, &e->expires) == 0;
    if (!e->has_expires)
        findings_add(d->found, F_DATE, e->expires_at, NULL,
            "'%.*s' is no time; write it with a zone, such as 2026-12-01T00:00:00Z",
            STR_ARG(shown(s)));
}

static void read_priority(struct decode *d, uint32_t value, void *into)
{
    struct model_env *e = into;
    int64_t n;
    e->priority_at = node_place(d, value);
    if (decode_number(d, value, INT32_MIN, INT32_MAX, &n))
        e->priority = (int32_t)n;
    else
        e->faults |= ENV_FAULT_STATEMENTS;
}

static void read_subjects(struct decode *d, uint32_t value, void *into)
{
    struct model_env *e = into;
    decode_texts(d, value, &e->subjects, &e->nsubjects);
    if (d->tree->nodes[value].type == NODE_LIST && !d->tree->nodes[value].n)
        findings_add(d->found, F_TYPE, node_place(d, value), NULL,
            "an empty list; write at least one subject");
}

static void read_access(struct decode *d, uint32_t value, void *into)
{
    static const char *const words[] = {"public", "token", NULL};
    static const uint8_t access[] = {ACCESS_PUBLIC, ACCESS_TOKEN};
    static const struct known_field fields[] = {{"subjects", read_subjects, 0, true}};
    struct model_env *e = into;
    uint8_t word;
    if (d->tree->nodes[value].type == NODE_MAP) {
        e->access = ACCESS_SUBJECTS;
        decode_map(d, value, "access", fields, COUNT(fields), e);
    } else if (d->tree->nodes[value].type == NODE_LIST) {
        decode_wrong(d, value, "public, token or {subjects: [...]}");
    } else if (decode_choice(d, value, words, &word)) {
        e->access = access[word];
    }
}

void decode_env(struct decode *d, uint32_t spec, struct document *doc)
{
    static const struct known_field fields[] = {
        {"mode", read_mode, 0, true},
        {"owner", read_str, offsetof(struct model_env, owner), false},
        {"parent", read_parent, 0, false},
        {"parents", read_parents, 0, false},
        {"providers", read_providers, 0, false},
        {"use", read_use, 0, false},
        {"remove", read_remove, 0, false},
        {"expires", read_expires, 0, false},
        {"priority", read_priority, 0, false},
        {"strict", read_bool, offsetof(struct model_env, strict), false},
        {"access", read_access, 0, false},
    };
    struct model_env *e = &doc->env;
    if (spec == NOWHERE) {
        e->faults = ENV_FAULT_LINEAGE | ENV_FAULT_STATEMENTS;
        return;
    }
    e->spec_at = node_place(d, spec);
    if (!reserve_statements(d, spec, e))
        return;
    if (decode_map(d, spec, "spec of an Environment", fields, COUNT(fields), e))
        e->faults |= ENV_FAULT_LINEAGE | ENV_FAULT_STATEMENTS;
}
