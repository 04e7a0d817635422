#include "lib/graph/diff.h"
#include "lib/graph/diff_fields.h"

#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/snapshot_int.h"
#include "lib/graph/words.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- fields as text: what is compared is what is shown ---- */

/* Appends the value; nothing when it is not stated. */
typedef void field_fn(struct text *out, const struct snapshot *s, uint32_t at);

struct field_row {
    const char *name;
    field_fn *write;
};

static const struct env_record *record_of(const struct snapshot *s, uint32_t env)
{
    return snapshot_record(s, env);
}

static void env_mode(struct text *out, const struct snapshot *s, uint32_t env)
{
    static const char *const words[] = {"baseline", "overlay", "shared"};
    text_fmt(out, "%s", words[record_mode(record_of(s, env))]);
}

static void env_parents(struct text *out, const struct snapshot *s, uint32_t env)
{
    uint32_t n;
    const uint32_t *parents = record_parents(record_of(s, env), &n);
    for (uint32_t i = 0; i < n; i++) {
        text_fmt(out, "%s", i ? ", " : "");
        text_add(out, snapshot_env_name(s, parents[i]));
    }
}

static void env_expires(struct text *out, const struct snapshot *s, uint32_t env)
{
    char when[32];
    if (!(record_of(s, env)->flags & RECORD_EXPIRES))
        return;
    format_rfc3339(record_expires(record_of(s, env)), when);
    text_fmt(out, "%s", when);
}

static void env_priority(struct text *out, const struct snapshot *s, uint32_t env)
{
    if (record_mode(record_of(s, env)) == MODE_SHARED)
        text_fmt(out, "%" PRId32, record_priority(record_of(s, env)));
}

static void env_strict(struct text *out, const struct snapshot *s, uint32_t env)
{
    text_fmt(out, "%s", record_of(s, env)->flags & RECORD_STRICT ? "true" : "false");
}

/* Field numbers of Environment in proto/offshoot/v1/graph.proto. */
enum { E_OWNER = 9, E_SUBJECTS, E_LABELS };

static void env_access(struct text *out, const struct snapshot *s, uint32_t env)
{
    static const char *const words[] = {"", "public", "token", "subjects "};
    text_fmt(out, "%s", words[record_access(record_of(s, env))]);
    field_text(out, record_extras(record_of(s, env)), E_SUBJECTS, NULL);
}

static void env_owner(struct text *out, const struct snapshot *s, uint32_t env)
{
    text_add(out, record_owner(record_of(s, env)));
}

static void env_labels(struct text *out, const struct snapshot *s, uint32_t env)
{
    field_text(out, record_extras(record_of(s, env)), E_LABELS, &label_message);
}

static const struct field_row env_fields[] = {
    {"mode", env_mode},
    {"parents", env_parents},
    {"expires", env_expires},
    {"priority", env_priority},
    {"strict", env_strict},
    {"access", env_access},
    {"owner", env_owner},
    {"labels", env_labels},
    {NULL, NULL},
};

/* ---- which ones differ ---- */

enum kind { KIND_ENVIRONMENT, KIND_SERVICE, KIND_GATEWAY, KIND_COUNT };

struct item {
    struct str name;
    uint32_t at; /* number, or position among the gateways */
    const unsigned char *hash;
};
struct pair {
    struct str name;
    uint32_t a, b; /* NUMBER_NONE: not there */
};
struct pairs {
    struct pair *list;
    uint32_t n, added, removed, changed;
};

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct item *)x)->name, ((const struct item *)y)->name);
}

static uint32_t limit_of(const struct snapshot *s, enum kind kind)
{
    return kind == KIND_ENVIRONMENT ? s->env_limit
           : kind == KIND_SERVICE   ? s->services->limit
                                    : s->gateways->count;
}

static bool item_at(const struct snapshot *s, enum kind kind, uint32_t at, struct item *ret)
{
    if (kind == KIND_GATEWAY) {
        const struct gateway_doc *g = s->gateways->docs[at];
        *ret = (struct item){g->name, at, g->hash};
        return true;
    }
    if (kind == KIND_SERVICE) {
        const struct service_doc *d = s->services->docs[at];
        if (d)
            *ret = (struct item){d->info.name, at, d->hash};
        return d != NULL;
    }
    const struct env_record *r = snapshot_record(s, at);
    if (r)
        *ret = (struct item){snapshot_env_name(s, at), at, record_hash(r)};
    return r != NULL;
}

/* All of a kind, sorted by name. NULL when memory is out. */
static struct item *items_of(const struct snapshot *s, enum kind kind, uint32_t *ret_n)
{
    uint32_t limit = limit_of(s, kind), n = 0;
    struct item *list = mem_array(limit + (size_t)1, sizeof(*list));
    if (!list)
        return NULL;
    for (uint32_t i = 0; i < limit; i++)
        n += item_at(s, kind, i, &list[n]);
    qsort(list, n, sizeof(*list), by_name);
    *ret_n = n;
    return list;
}

static void merge(
    const struct item *a, uint32_t na, const struct item *b, uint32_t nb, struct pairs *out)
{
    uint32_t i = 0, j = 0;
    while (i < na || j < nb) {
        int c = i == na ? 1 : j == nb ? -1 : str_cmp(a[i].name, b[j].name);
        struct pair p = {c <= 0 ? a[i].name : b[j].name, c <= 0 ? a[i].at : NUMBER_NONE,
            c >= 0 ? b[j].at : NUMBER_NONE};
        if (c != 0 || memcmp(a[i].hash, b[j].hash, HASH_SIZE) != 0) {
            out->added += c > 0;
            out->removed += c < 0;
            out->changed += c == 0;
            out->list[out->n++] = p;
        }
        i += c <= 0;
        j += c >= 0;
    }
}

static int compare(
    const struct snapshot *a, const struct snapshot *b, enum kind kind, struct pairs *ret)
{
    uint32_t na = 0, nb = 0;
    struct item *x = items_of(a, kind, &na), *y = items_of(b, kind, &nb);
    *ret = (struct pairs){.list = mem_array(na + (size_t)nb + 1, sizeof(*ret->list))};
    int r = x && y && ret->list ? 0 : -ENOMEM;
    if (r == 0)
        merge(x, na, y, nb, ret);
    mem_free(x);
    mem_free(y);
    return r;
}

/* ---- writing ---- */

struct diff {
    const struct snapshot *a, *b;
    struct text *out;
    bool json;
    uint32_t lines; /* written in the current list */
};

static void json_value(struct text *out, const struct text *value)
{
    json_str(out, value->n ? str_of(value->p, value->n) : str_of(NULL, 0));
}

static void text_value(struct text *out, const struct text *value)
{
    if (value->n)
        text_json(out, str_of(value->p, value->n));
    else
        text_add(out, STR("nothing"));
}

/* One field, when its two texts differ. */
static void put_field(
    struct diff *d, const char *name, const struct text *before, const struct text *after)
{
    if (str_eq(str_of(before->p, before->n), str_of(after->p, after->n)))
        return;
    if (d->json) {
        text_fmt(d->out, "%s{\"field\":\"%s\",\"before\":", d->lines ? "," : "", name);
        json_value(d->out, before);
        text_add(d->out, STR(",\"after\":"));
        json_value(d->out, after);
        text_add(d->out, STR("}"));
    } else {
        text_fmt(d->out, "    %s: ", name);
        text_value(d->out, before);
        text_add(d->out, STR(" -> "));
        text_value(d->out, after);
        text_add(d->out, STR("\n"));
    }
    d->lines++;
}

static void text_settle(struct diff *d, struct text *t)
{
    if (t->failed)
        d->out->failed = t->failed;
    text_release(t);
    *t = (struct text){0};
}

static void put_env_fields(struct diff *d, const struct pair *p)
{
    for (const struct field_row *row = env_fields; row->name; row++) {
        struct text before = {0}, after = {0};
        row->write(&before, d->a, p->a);
        row->write(&after, d->b, p->b);
        put_field(d, row->name, &before, &after);
        text_settle(d, &before);
        text_settle(d, &after);
    }
}

static void put_number_fields(
    struct diff *d, const struct number_row *row, struct str old, struct str new)
{
    for (; row->name; row++) {
        struct text before = {0}, after = {0};
        number_field(&before, old, row);
        number_field(&after, new, row);
        put_field(d, row->name, &before, &after);
        text_settle(d, &before);
        text_settle(d, &after);
    }
}

/* ---- statements ---- */

static void statement_text(
    struct text *out, const struct snapshot *s, uint32_t env, uint32_t service)
{
    struct statement_info st;
    if (service == NUMBER_NONE || !snapshot_find_statement(s, env, service, &st))
        return;
    if (st.kind == STATEMENT_REMOVE) {
        text_add(out, STR("removed"));
    } else if (st.kind == STATEMENT_USE) {
        text_add(out, STR("use "));
        text_add(out, snapshot_env_name(s, st.use));
    } else {
        text_endpoints(out, st.endpoints);
        if (st.artifact.n) {
            text_add(out, STR(" artifact "));
            text_add(out, st.artifact);
        }
        if (st.region.n) {
            text_add(out, STR(" region "));
            text_add(out, st.region);
        }
    }
}

/* Services of the statements of one environment, by name. */
static struct item *statements_of(const struct snapshot *s, uint32_t env, uint32_t *ret_n)
{
    const struct env_record *r = snapshot_record(s, env);
    struct item *list = mem_array(r->nstatements + (size_t)1, sizeof(*list));
    if (!list)
        return NULL;
    for (uint32_t i = 0; i < r->nstatements; i++)
        list[i] = (struct item){
            snapshot_service_name(s, record_services(r)[i]), record_services(r)[i], NULL};
    qsort(list, r->nstatements, sizeof(*list), by_name);
    *ret_n = r->nstatements;
    return list;
}

static void put_statement(
    struct diff *d, const struct pair *env, const struct item *x, const struct item *y)
{
    struct text before = {0}, after = {0};
    struct origin from = {0}, to = {0};
    struct str name = {0};
    if (x) {
        name = x->name;
        statement_text(&before, d->a, env->a, x->at);
        snapshot_place(d->a, env->a, x->at, &from);
    }
    if (y) {
        name = y->name;
        statement_text(&after, d->b, env->b, y->at);
        snapshot_place(d->b, env->b, y->at, &to);
    }
    if (!str_eq(str_of(before.p, before.n), str_of(after.p, after.n))) {
        struct text *out = d->out;
        if (d->json) {
            text_add(out, d->lines++ ? STR(",{\"service\":") : STR("{\"service\":"));
            json_str(out, name);
            text_add(out, STR(",\"before\":"));
            json_value(out, &before);
            text_add(out, STR(",\"after\":"));
            json_value(out, &after);
            text_add(out, STR(",\"before_origin\":"));
            json_origin(out, &from);
            text_add(out, STR(",\"after_origin\":"));
            json_origin(out, &to);
            text_add(out, STR("}"));
        } else {
            text_fmt(out, "    %.*s: ", STR_ARG(name));
            text_value(out, &before);
            text_origin(out, &from);
            text_add(out, STR(" -> "));
            text_value(out, &after);
            text_origin(out, &to);
            text_add(out, STR("\n"));
        }
    }
    text_settle(d, &before);
    text_settle(d, &after);
}

static void put_statements(struct diff *d, const struct pair *p)
{
    uint32_t na = 0, nb = 0, i = 0, j = 0;
    struct item *a = statements_of(d->a, p->a, &na), *b = statements_of(d->b, p->b, &nb);
    if (!a || !b)
        d->out->failed = -ENOMEM;
    while (a && b && (i < na || j < nb)) {
        int c = i == na ? 1 : j == nb ? -1 : str_cmp(a[i].name, b[j].name);
        const struct item *x = c <= 0 ? &a[i++] : NULL, *y = c >= 0 ? &b[j++] : NULL;
        put_statement(d, p, x, y);
    }
    mem_free(a);
    mem_free(b);
}

/* ---- lists ---- */

static void put_changes(struct diff *d, enum kind kind, const struct pair *p)
{
    d->lines = 0;
    if (kind == KIND_ENVIRONMENT)
        put_env_fields(d, p);
    else if (kind == KIND_SERVICE)
        put_number_fields(d, service_fields, d->a->services->docs[p->a]->bytes,
            d->b->services->docs[p->b]->bytes);
    else
        put_number_fields(d, gateway_fields, d->a->gateways->docs[p->a]->bytes,
            d->b->gateways->docs[p->b]->bytes);
}

static void json_names(struct diff *d, const char *key, const struct pairs *pairs, bool added)
{
    bool any = false;
    text_fmt(d->out, "\"%s\":[", key);
    for (uint32_t i = 0; i < pairs->n; i++) {
        const struct pair *p = &pairs->list[i];
        if ((added ? p->a : p->b) != NUMBER_NONE)
            continue;
        text_add(d->out, any ? STR(",") : str_of(NULL, 0));
        any = true;
        json_str(d->out, p->name);
    }
    text_add(d->out, STR("],"));
}

static void json_kind(struct diff *d, enum kind kind, const struct pairs *pairs)
{
    bool any = false;
    text_add(d->out, STR("{"));
    json_names(d, "added", pairs, true);
    json_names(d, "removed", pairs, false);
    text_add(d->out, STR("\"changed\":["));
    for (uint32_t i = 0; i < pairs->n; i++) {
        const struct pair *p = &pairs->list[i];
        if (p->a == NUMBER_NONE || p->b == NUMBER_NONE)
            continue;
        text_add(d->out, any ? STR(",{\"name\":") : STR("{\"name\":"));
        any = true;
        json_str(d->out, p->name);
        text_add(d->out, STR(",\"fields\":["));
        put_changes(d, kind, p);
        text_add(d->out, STR("]"));
        if (kind == KIND_ENVIRONMENT) {
            text_add(d->out, STR(",\"statements\":["));
            d->lines = 0;
            put_statements(d, p);
            text_add(d->out, STR("]"));
        }
        text_add(d->out, STR("}"));
    }
    text_add(d->out, STR("]}"));
}

static void text_kind(struct diff *d, enum kind kind, const struct pairs *pairs)
{
    static const char *const words[] = {"environment", "service", "gateway"};
    for (uint32_t i = 0; i < pairs->n; i++) {
        const struct pair *p = &pairs->list[i];
        struct origin at = {0};
        bool added = p->a == NUMBER_NONE, removed = p->b == NUMBER_NONE;
        text_fmt(d->out, "%c %s %.*s",
            added     ? '+'
            : removed ? '-'
                      : '~',
            words[kind], STR_ARG(p->name));
        if (kind == KIND_ENVIRONMENT)
            snapshot_place(removed ? d->a : d->b, removed ? p->a : p->b, NUMBER_NONE, &at);
        text_origin(d->out, &at);
        text_add(d->out, STR("\n"));
        if (added || removed)
            continue;
        put_changes(d, kind, p);
        if (kind == KIND_ENVIRONMENT)
            put_statements(d, p);
    }
}

static void put_all(struct diff *d, const struct pairs *pairs, bool differ)
{
    static const char *const words[] = {"environments", "services", "gateways"};
    if (d->json) {
        text_fmt(d->out, "{\"equal\":%s", differ ? "false" : "true");
        for (unsigned k = 0; k < KIND_COUNT; k++) {
            text_fmt(d->out, ",\"%s\":", words[k]);
            json_kind(d, k, &pairs[k]);
        }
        text_add(d->out, STR("}"));
        return;
    }
    if (!differ) {
        text_add(d->out, STR("no difference\n"));
        return;
    }
    for (unsigned k = 0; k < KIND_COUNT; k++)
        text_fmt(d->out, "%s%s: %u added, %u removed, %u changed", k ? "; " : "", words[k],
            pairs[k].added, pairs[k].removed, pairs[k].changed);
    text_add(d->out, STR("\n"));
    for (unsigned k = 0; k < KIND_COUNT; k++)
        text_kind(d, k, &pairs[k]);
}

int graph_diff(const struct snapshot *a, const struct snapshot *b, bool json, struct text *out)
{
    struct diff d = {.a = a, .b = b, .out = out, .json = json};
    struct pairs pairs[KIND_COUNT] = {0};
    bool differ = false;
    int r = 0;
    for (unsigned k = 0; r == 0 && k < KIND_COUNT; k++) {
        r = compare(a, b, k, &pairs[k]);
        differ = differ || pairs[k].n > 0;
    }
    if (r == 0)
        put_all(&d, pairs, differ);
    for (unsigned k = 0; k < KIND_COUNT; k++)
        mem_free(pairs[k].list);
    if (r < 0 || out->failed)
        return -ENOMEM;
    return differ;
}
