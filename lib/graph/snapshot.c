/* Reading a snapshot, and its end of life. build.c makes snapshots, resolve.c is the hot path. */
#include "lib/graph/snapshot.h"

#include "lib/base/mem.h"
#include "lib/graph/snapshot_int.h"

/* ---- life ---- */

struct chain *chain_new(void)
{
    struct chain *c = mem_zalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->refs = 1;
    c->sha = sha_new();
    if (!c->sha) {
        mem_free(c);
        return NULL;
    }
    return c;
}

void chain_unref(struct chain *c)
{
    if (!c || --c->refs > 0)
        return;
    intern_release(&c->envs);
    intern_release(&c->services);
    intern_release(&c->files);
    endpoints_release(&c->sets);
    slab_release(&c->records);
    sha_free(c->sha);
    mem_free(c);
}

void page_unref(struct chain *c, struct page *p)
{
    if (!p || --p->refs > 0)
        return;
    const struct env_head *heads = page_heads(p);
    for (uint32_t i = 0; i < PAGE_SIZE_ENVS; i++)
        if (heads[i].record)
            record_unref(&c->records, &c->sets, heads[i].record);
    mem_free(p);
}

void service_table_unref(struct service_table *t)
{
    if (!t || --t->refs > 0)
        return;
    for (uint32_t i = 0; i < t->limit; i++)
        service_doc_unref(t->docs[i]);
    if (t->hosts)
        hosts_unref(t->hosts);
    mem_free(t);
}

void gateway_table_unref(struct gateway_table *t)
{
    if (!t || --t->refs > 0)
        return;
    for (uint32_t i = 0; i < t->count; i++)
        gateway_doc_unref(t->docs[i]);
    mem_free(t);
}

void pool_table_unref(struct pool_table *t)
{
    if (!t || --t->refs > 0)
        return;
    mem_free(t->best);
    mem_free(t);
}

void snapshot_ref(struct snapshot *s)
{
    s->refs++;
}

void snapshot_unref(struct snapshot *s)
{
    if (!s || --s->refs > 0)
        return;
    for (uint32_t i = 0; i < s->npages; i++)
        page_unref(s->chain, s->pages[i]);
    service_table_unref(s->services);
    gateway_table_unref(s->gateways);
    pool_table_unref(s->pools);
    intern_view_drop(s->envs);
    intern_view_drop(s->service_names);
    intern_view_drop(s->files);
    chain_unref(s->chain);
    pthread_mutex_destroy(&s->root_lock);
    s->magic = 0;
    mem_free(s);
}

/* ---- figures ---- */

uint64_t snapshot_epoch(const struct snapshot *s)
{
    return s->epoch;
}
uint32_t snapshot_env_count(const struct snapshot *s)
{
    return s->env_count;
}
uint32_t snapshot_env_limit(const struct snapshot *s)
{
    return s->env_limit;
}
uint32_t snapshot_service_count(const struct snapshot *s)
{
    return s->services->count;
}
uint32_t snapshot_service_limit(const struct snapshot *s)
{
    return s->services->limit;
}
const unsigned char *snapshot_digest(const struct snapshot *s)
{
    return s->digest;
}

static size_t chain_bytes(const struct chain *c)
{
    return sizeof(*c) + intern_bytes(&c->envs) + intern_bytes(&c->services) +
           intern_bytes(&c->files) + endpoints_bytes(&c->sets) + c->records.bytes;
}

size_t snapshot_bytes(const struct snapshot *s)
{
    size_t bytes = sizeof(*s) + s->npages * sizeof(*s->pages) + chain_bytes(s->chain);
    for (uint32_t i = 0; i < s->npages; i++)
        bytes += s->pages[i] ? sizeof(struct page) : 0;
    bytes += s->services->bytes + (s->services->hosts ? hosts_bytes(s->services->hosts) : 0);
    bytes += sizeof(*s->gateways);
    for (uint32_t i = 0; i < s->gateways->count; i++)
        bytes += sizeof(struct gateway_doc) + sizeof(void *) + s->gateways->docs[i]->bytes.n +
                 gateway_bytes(s->gateways->docs[i]->gateway);
    return bytes + sizeof(*s->pools) + (s->pools->count + (size_t)s->pools->limit) * 4;
}

/* Pages and tables, with the records in them, that nobody else holds. */
size_t snapshot_own_bytes(const struct snapshot *s)
{
    size_t bytes = sizeof(*s) + s->npages * sizeof(*s->pages);
    for (uint32_t i = 0; i < s->npages; i++) {
        const struct page *p = s->pages[i];
        if (!p || p->refs > 1)
            continue;
        bytes += sizeof(*p);
        for (uint32_t j = 0; j < PAGE_SIZE_ENVS; j++) {
            const struct env_record *r = snapshot_record(s, i * PAGE_SIZE_ENVS + j);
            bytes += r && r->refs == 1 ? record_size(r) : 0;
        }
    }
    if (s->services->refs == 1)
        bytes += s->services->bytes + hosts_bytes(s->services->hosts);
    if (s->pools->refs == 1)
        bytes += sizeof(*s->pools) + (s->pools->count + (size_t)s->pools->limit) * 4;
    return bytes;
}

/* ---- names ---- */

bool snapshot_needs_routes(const struct snapshot *s)
{
    bool needs = false;
    for (uint32_t i = 0; i < s->services->limit && !needs; i++)
        needs = s->services->docs[i] && s->services->docs[i]->routes;
    for (uint32_t i = 0; i < s->gateways->count && !needs; i++)
        needs = s->gateways->docs[i]->routes;
    return needs;
}

uint32_t snapshot_find_env(const struct snapshot *s, struct str name)
{
    uint64_t hash = intern_hash(name);
    uint32_t it = 0, number;
    while ((number = intern_next(s->envs, hash, &it)) != INTERN_NONE)
        if (snapshot_head(s, number) && str_eq(intern_text(s->envs, number), name))
            return number;
    return NUMBER_NONE;
}

uint32_t snapshot_find_service(const struct snapshot *s, struct str name)
{
    uint64_t hash = intern_hash(name);
    uint32_t it = 0, number;
    while ((number = intern_next(s->service_names, hash, &it)) != INTERN_NONE) {
        const struct service_doc *d = snapshot_service_doc(s, number);
        if (d && str_eq(d->info.name, name))
            return number;
    }
    return NUMBER_NONE;
}

struct str snapshot_env_name(const struct snapshot *s, uint32_t env)
{
    return snapshot_head(s, env) ? intern_text(s->envs, env) : str_of(NULL, 0);
}

struct str snapshot_service_name(const struct snapshot *s, uint32_t service)
{
    const struct service_doc *d = snapshot_service_doc(s, service);
    return d ? d->info.name : str_of(NULL, 0);
}

const struct gateway *snapshot_gateway(const struct snapshot *s, struct str name)
{
    for (uint32_t i = 0; i < s->gateways->count; i++)
        if (str_eq(s->gateways->docs[i]->name, name))
            return s->gateways->docs[i]->gateway;
    return NULL;
}

const struct gateway *snapshot_only_gateway(const struct snapshot *s)
{
    return s->gateways->count == 1 ? s->gateways->docs[0]->gateway : NULL;
}

const struct hosts *snapshot_hosts(const struct snapshot *s)
{
    return s->services->hosts;
}

const struct service_info *snapshot_service(const struct snapshot *s, uint32_t service)
{
    const struct service_doc *d = snapshot_service_doc(s, service);
    return d ? &d->info : NULL;
}

/* ---- environments ---- */

bool snapshot_env(const struct snapshot *s, uint32_t env, struct env_info *ret)
{
    const struct env_record *r = snapshot_record(s, env);
    if (!r)
        return false;
    struct env_info e = {.name = intern_text(s->envs, env),
        .owner = record_owner(r),
        .mode = record_mode(r),
        .access = record_access(r),
        .strict = r->flags & RECORD_STRICT,
        .has_expires = r->flags & RECORD_EXPIRES,
        .priority = record_priority(r),
        .lineage = record_lineage(r),
        .nlineage = r->nlineage,
        .nstatements = r->nstatements,
        .changed = record_changed(r)};
    e.expires = e.has_expires ? record_expires(r) : 0;
    e.parents = record_parents(r, &e.nparents);
    *ret = e;
    return true;
}

static void fill_statement(
    const struct snapshot *s, const struct env_record *r, uint32_t i, struct statement_info *ret)
{
    uint32_t target = record_targets(r)[i];
    struct statement_info st = {
        .service = record_services(r)[i], .kind = target_kind(target), .use = NUMBER_NONE};
    if (st.kind == STATEMENT_USE)
        st.use = target & TARGET_MASK;
    if (st.kind == STATEMENT_PROVIDES) {
        st.endpoints = endpoints_at(&s->chain->sets, target & TARGET_MASK);
        st.artifact = endpoint_set_artifact(st.endpoints);
        st.region = endpoint_set_region(st.endpoints);
    }
    *ret = st;
}

bool snapshot_statement(
    const struct snapshot *s, uint32_t env, uint32_t i, struct statement_info *ret)
{
    const struct env_record *r = snapshot_record(s, env);
    if (!r || i >= r->nstatements)
        return false;
    fill_statement(s, r, i, ret);
    return true;
}

bool snapshot_find_statement(
    const struct snapshot *s, uint32_t env, uint32_t service, struct statement_info *ret)
{
    const struct env_record *r = snapshot_record(s, env);
    uint32_t i = r ? record_find(r, service) : 0;
    if (!r || i >= r->nstatements)
        return false;
    fill_statement(s, r, i, ret);
    return true;
}

const uint32_t *snapshot_pools(const struct snapshot *s, uint32_t *ret_n)
{
    *ret_n = s->pools->count;
    return s->pools->numbers;
}

/* ---- origins ---- */

static void origin_at(const struct snapshot *s, uint32_t env, uint32_t relative, struct origin *ret)
{
    const struct place_base *b = &s->pages[env / PAGE_SIZE_ENVS]->places[env % PAGE_SIZE_ENVS];
    *ret = (struct origin){.line = b->line + relative};
    if (b->file != NUMBER_NONE)
        ret->file = intern_text(s->files, b->file);
    else
        ret->line = 0;
}

void snapshot_origin(const struct snapshot *s, const struct decision *d, struct origin *ret)
{
    const struct env_record *r = snapshot_record(s, d->cause_env);
    *ret = (struct origin){0};
    if (!r)
        return;
    if (!d->cause_is_expires)
        snapshot_place(s, d->cause_env, d->service, ret);
    else if (r->flags & RECORD_EXPIRES)
        origin_at(s, d->cause_env, record_expires_line(r), ret);
}

void snapshot_place(const struct snapshot *s, uint32_t env, uint32_t service, struct origin *ret)
{
    const struct env_record *r = snapshot_record(s, env);
    *ret = (struct origin){0};
    if (!r)
        return;
    if (service == NUMBER_NONE) {
        origin_at(s, env, record_name_line(r), ret);
        return;
    }
    uint32_t i = record_find(r, service);
    if (i < r->nstatements)
        origin_at(s, env, record_statement_line(r, i), ret);
}
