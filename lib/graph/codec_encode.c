/* Snapshot to bytes: what differs from the base, found by comparing pages and records by address.
 */
#include "lib/base/mem.h"
#include "lib/graph/codec.h"
#include "lib/graph/codec_int.h"
#include "lib/graph/envrec.h"
#include <errno.h>

struct encode {
    const struct snapshot *base, *s;
    struct pb_out *out;
    struct env_names names;
    uint32_t *file_index; /* by file number: position in the message + 1 */
    uint32_t nfiles;
};

/* The parts of an environment that are equal by address. */
struct env_view {
    const struct env_record *record;
    struct place_base place;
};

static struct env_view view_of(const struct snapshot *s, uint32_t env)
{
    const struct env_record *r = s ? snapshot_record(s, env) : NULL;
    if (!r)
        return (struct env_view){NULL, {NUMBER_NONE, 0}};
    const struct page *p = s->pages[env / PAGE_SIZE_ENVS];
    return (struct env_view){r, p->places[env % PAGE_SIZE_ENVS]};
}

static bool content_differs(const struct env_record *old, const struct env_record *new)
{
    return !old || record_changed(old) != record_changed(new) ||
           memcmp(record_hash(old), record_hash(new), HASH_SIZE) != 0;
}

static bool place_differs(const struct env_view *old, const struct env_view *new)
{
    return old->place.file != new->place.file || old->place.line != new->place.line;
}

/* Calls fn for every number whose environment may differ; pages that are shared are skipped. */
static int each_env(struct encode *en, int (*fn)(struct encode *en, uint32_t env,
                                           const struct env_view *old, const struct env_view *new))
{
    uint32_t nbase = en->base ? en->base->npages : 0;
    uint32_t npages = en->s->npages > nbase ? en->s->npages : nbase;
    for (uint32_t at = 0; at < npages; at++) {
        const struct page *a = at < nbase ? en->base->pages[at] : NULL;
        const struct page *b = at < en->s->npages ? en->s->pages[at] : NULL;
        if (a == b)
            continue;
        for (uint32_t i = 0; i < PAGE_SIZE_ENVS; i++) {
            uint32_t env = at * PAGE_SIZE_ENVS + i;
            struct env_view old = view_of(en->base, env), new = view_of(en->s, env);
            if (old.record == new.record && (!new.record || !place_differs(&old, &new)))
                continue;
            int r = fn(en, env, &old, &new);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* ---- places ---- */

static int put_file(
    struct encode *en, uint32_t env, const struct env_view *old, const struct env_view *new)
{
    (void)env;
    (void)old;
    uint32_t file = new->place.file;
    if (!new->record || file == NUMBER_NONE || en->file_index[file])
        return 0;
    en->file_index[file] = ++en->nfiles;
    pb_bytes(en->out, D_FILES, intern_text(en->s->files, file));
    return 0;
}

static int put_lines(struct encode *en, const struct env_record *r)
{
    struct pb_out *o = en->out;
    uint32_t *order = mem_array(r->nstatements + (size_t)1, sizeof(*order));
    if (!order)
        return -ENOMEM;
    env_order(&en->names, r, order);
    size_t at = pb_begin(o, EU_LINES);
    pb_varint(o, record_name_line(r));
    if (r->flags & RECORD_EXPIRES)
        pb_varint(o, record_expires_line(r));
    for (uint32_t i = 0; i < r->nstatements; i++)
        pb_varint(o, record_statement_line(r, order[i]));
    pb_end(o, at);
    mem_free(order);
    return 0;
}

/* ---- environments ---- */

static int put_env(
    struct encode *en, uint32_t env, const struct env_view *old, const struct env_view *new)
{
    struct pb_out *o = en->out;
    const struct env_record *r = new->record;
    if (!r)
        return 0;
    bool content = content_differs(old->record, r);
    bool lines = content || !record_same_lines(old->record, r);
    if (!content && !lines && !place_differs(old, new))
        return 0; /* another lineage: the receiver finds it, too */
    size_t at = pb_begin(o, D_ENVIRONMENTS);
    pb_opt_uint(o, EU_NUMBER, env);
    if (content) {
        pb_opt_uint(o, EU_CHANGED, record_changed(r));
        size_t record = pb_begin(o, EU_RECORD);
        env_write(o, &en->names, env, r);
        pb_end(o, record);
    }
    if (new->place.file != NUMBER_NONE)
        pb_uint(o, EU_FILE, en->file_index[new->place.file]);
    pb_opt_uint(o, EU_LINE, new->place.line);
    int e = lines ? put_lines(en, r) : 0;
    pb_end(o, at);
    return e;
}

static int put_removed_env(
    struct encode *en, uint32_t env, const struct env_view *old, const struct env_view *new)
{
    if (old->record && !new->record)
        pb_varint(en->out, env);
    return 0;
}

/* Packed lists are left out when they are empty. */
static void drop_if_empty(struct pb_out *o, size_t before, size_t at)
{
    if (o->n == at)
        o->n = before;
    else
        pb_end(o, at);
}

/* ---- services and gateways ---- */

static const struct service_doc *base_service(const struct encode *en, uint32_t number)
{
    return en->base ? snapshot_service_doc(en->base, number) : NULL;
}

static void put_services(struct encode *en)
{
    struct pb_out *o = en->out;
    const struct service_table *t = en->s->services;
    if (en->base && en->base->services == t)
        return;
    for (uint32_t i = 0; i < t->limit; i++) {
        if (!t->docs[i] || t->docs[i] == base_service(en, i))
            continue;
        size_t at = pb_begin(o, D_SERVICES);
        pb_opt_uint(o, SU_NUMBER, i);
        pb_opt_uint(o, SU_CHANGED, t->docs[i]->changed);
        pb_bytes(o, SU_RECORD, t->docs[i]->bytes);
        pb_end(o, at);
    }
    size_t before = o->n, at = pb_begin(o, D_REMOVED_SERVICES);
    for (uint32_t i = 0; en->base && i < en->base->services->limit; i++)
        if (base_service(en, i) && !snapshot_service_doc(en->s, i))
            pb_varint(o, i);
    drop_if_empty(o, before, at);
}

static const struct gateway_doc *find_gateway(const struct snapshot *s, struct str name)
{
    for (uint32_t i = 0; s && i < s->gateways->count; i++)
        if (str_eq(s->gateways->docs[i]->name, name))
            return s->gateways->docs[i];
    return NULL;
}

static void put_gateways(struct encode *en)
{
    struct pb_out *o = en->out;
    if (en->base && en->base->gateways == en->s->gateways)
        return;
    for (uint32_t i = 0; i < en->s->gateways->count; i++) {
        const struct gateway_doc *d = en->s->gateways->docs[i];
        if (d == find_gateway(en->base, d->name))
            continue;
        size_t at = pb_begin(o, D_GATEWAYS);
        pb_opt_uint(o, GU_CHANGED, d->changed);
        pb_bytes(o, GU_RECORD, d->bytes);
        pb_end(o, at);
    }
    for (uint32_t i = 0; en->base && i < en->base->gateways->count; i++)
        if (!find_gateway(en->s, en->base->gateways->docs[i]->name))
            pb_bytes(o, D_REMOVED_GATEWAYS, en->base->gateways->docs[i]->name);
}

/* ---- all ---- */

static int encode_all(struct encode *en)
{
    struct pb_out *o = en->out;
    const struct snapshot *s = en->s;
    if (en->base)
        pb_opt_uint(o, D_BASE, en->base->epoch);
    pb_opt_uint(o, D_EPOCH, s->epoch);
    pb_bytes(o, D_DIGEST, str_of((const char *)s->digest, HASH_SIZE));
    pb_opt_uint(o, D_SERVICES_CHANGED, s->services->changed);
    pb_opt_uint(o, D_POOLS_CHANGED, s->pools->changed);
    int r = each_env(en, put_file);
    put_services(en);
    put_gateways(en);
    r = r < 0 ? r : each_env(en, put_env);
    size_t before = o->n, at = pb_begin(o, D_REMOVED_ENVIRONMENTS);
    r = r < 0 ? r : each_env(en, put_removed_env);
    drop_if_empty(o, before, at);
    return o->failed ? -ENOMEM : r;
}

int codec_encode(
    const struct snapshot *base, const struct snapshot *s, struct pb_out *out, struct err *e)
{
    struct encode en = {
        .base = base, .s = s, .out = out, .names = {s->envs, s->service_names, &s->chain->sets}};
    size_t before = out->n;
    if (base && (base->chain != s->chain || base->epoch == 0))
        return err_set(e, -EINVAL, "no difference between epochs %llu and %llu: no common history",
            (unsigned long long)base->epoch, (unsigned long long)s->epoch);
    en.file_index = mem_zalloc((s->chain->files.limit + (size_t)1) * sizeof(*en.file_index));
    int r = en.file_index ? encode_all(&en) : -ENOMEM;
    mem_free(en.file_index);
    if (r < 0) {
        out->n = before;
        return err_set(e, r, "out of memory");
    }
    return 0;
}
