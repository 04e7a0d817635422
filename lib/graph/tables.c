/* The parts of a snapshot that are few: services, gateways, pools. */
#include "lib/base/mem.h"
#include "lib/graph/build.h"
#include "lib/graph/digest.h"
#include <errno.h>
#include <stdlib.h>

/* ---- services ---- */

uint32_t build_service_number(void *arg, struct str name)
{
    const struct build *b = arg;
    uint32_t n = intern_find(&b->chain->services, name);
    return n != INTERN_NONE && snapshot_service_doc(b->s, n) ? n : NUMBER_NONE;
}

static struct service_doc *doc_of(const struct service_table *t, uint32_t number)
{
    return t && number < t->limit ? t->docs[number] : NULL;
}

static uint32_t services_that_differ(
    const struct service_table *old, struct service_doc *const *docs, uint32_t limit)
{
    uint32_t n = 0, most = old && old->limit > limit ? old->limit : limit;
    for (uint32_t i = 0; i < most; i++)
        n += doc_of(old, i) != (i < limit ? docs[i] : NULL);
    return n;
}

/* Authorities to numbers, from all services together. */
static struct hosts *hosts_of(struct build *b, const struct service_table *t)
{
    struct model_service **list = mem_array(t->count + (size_t)1, sizeof(*list));
    struct model_service *services = mem_zalloc((t->count + (size_t)1) * sizeof(*services));
    struct model m = {.services = list};
    struct hosts *h = NULL;
    for (uint32_t i = 0; list && services && i < t->limit; i++) {
        const struct service_doc *d = t->docs[i];
        if (!d)
            continue;
        struct model_service *s = list[m.nservices] = &services[m.nservices];
        *s = (struct model_service){.name.s = d->info.name, .hosts = d->hosts, .nhosts = d->nhosts};
        m.nservices++;
    }
    if (list && services)
        h = hosts_new(&m, build_service_number, b);
    mem_free(list);
    mem_free(services);
    return h;
}

int build_keep_services(struct build *b)
{
    if (!b->base)
        return build_services(b, NULL, 0, 0);
    b->s->services = b->base->services;
    b->s->services->refs++;
    return 0;
}

static struct service_table *service_table_new(
    struct service_doc *const *docs, uint32_t limit, uint64_t changed)
{
    struct service_table *t = mem_zalloc(sizeof(*t) + limit * sizeof(*t->docs));
    if (!t)
        return NULL;
    *t = (struct service_table){.refs = 1,
        .limit = limit,
        .changed = changed,
        .bytes = sizeof(*t) + limit * sizeof(*t->docs)};
    for (uint32_t i = 0; i < limit; i++) {
        t->docs[i] = docs[i];
        if (!docs[i])
            continue;
        docs[i]->refs++;
        t->count++;
        t->bytes += service_doc_bytes(docs[i]);
    }
    return t;
}

int build_services(
    struct build *b, struct service_doc *const *docs, uint32_t limit, uint64_t changed)
{
    const struct service_table *old = b->base ? b->base->services : NULL;
    uint32_t differ = services_that_differ(old, docs, limit);
    if (old && differ == 0 && (!b->exact || changed == old->changed))
        return build_keep_services(b);
    struct service_table *t = service_table_new(docs, limit, differ || b->exact ? changed : 0);
    if (!t)
        return build_no_memory(b);
    b->s->services = t;
    b->changes.services_changed = differ;
    t->hosts = hosts_of(b, t);
    return t->hosts && digest_services(b->chain->sha, t) == 0 ? 0 : build_no_memory(b);
}

/* ---- gateways ---- */

static int gateway_by_name(const void *a, const void *b)
{
    struct gateway_doc *const *x = a, *const *y = b;
    return str_cmp((*x)->name, (*y)->name);
}

/* Added, removed and changed together; both sides sorted by name. */
static uint32_t gateways_that_differ(
    const struct gateway_table *old, struct gateway_doc *const *docs, uint32_t n)
{
    uint32_t i = 0, j = 0, differ = 0, m = old ? old->count : 0;
    while (i < n || j < m) {
        int c = i == n ? 1 : j == m ? -1 : str_cmp(docs[i]->name, old->docs[j]->name);
        differ += c != 0 || docs[i] != old->docs[j];
        i += c <= 0;
        j += c >= 0;
    }
    return differ;
}

int build_keep_gateways(struct build *b)
{
    if (!b->base)
        return build_gateways(b, NULL, 0);
    b->s->gateways = b->base->gateways;
    b->s->gateways->refs++;
    return 0;
}

int build_gateways(struct build *b, struct gateway_doc **docs, uint32_t n)
{
    const struct gateway_table *old = b->base ? b->base->gateways : NULL;
    if (n)
        qsort(docs, n, sizeof(*docs), gateway_by_name);
    uint32_t differ = gateways_that_differ(old, docs, n);
    if (old && differ == 0)
        return build_keep_gateways(b);
    struct gateway_table *t = mem_zalloc(sizeof(*t) + n * sizeof(*t->docs));
    if (!t)
        return build_no_memory(b);
    t->refs = 1;
    t->count = n;
    for (uint32_t i = 0; i < n; i++) {
        t->docs[i] = docs[i];
        docs[i]->refs++;
    }
    b->s->gateways = t;
    b->changes.gateways_changed = differ;
    return digest_gateways(b->chain->sha, t) == 0 ? 0 : build_no_memory(b);
}

/* ---- pools ---- */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool is_pool(const struct build *b, uint32_t env)
{
    const struct env_record *r = snapshot_record(b->s, env);
    return r && record_mode(r) == MODE_SHARED;
}

/* The pools of the base and the drafts that are pools now, ascending, each once. */
static struct pool_table *collect_pools(struct build *b)
{
    const struct pool_table *old = b->base ? b->base->pools : NULL;
    uint32_t most = old ? old->count : 0;
    for (uint32_t i = 0; i < b->ndrafts; i++)
        most += is_pool(b, b->drafts[i].number);
    struct pool_table *t = mem_zalloc(sizeof(*t) + most * sizeof(*t->numbers));
    if (!t)
        return NULL;
    t->refs = 1;
    for (uint32_t i = 0; old && i < old->count; i++)
        if (is_pool(b, old->numbers[i]))
            t->numbers[t->count++] = old->numbers[i];
    for (uint32_t i = 0; i < b->ndrafts; i++)
        if (is_pool(b, b->drafts[i].number))
            t->numbers[t->count++] = b->drafts[i].number;
    qsort(t->numbers, t->count, sizeof(*t->numbers), by_value);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (i == 0 || t->numbers[i] != t->numbers[i - 1])
            t->numbers[n++] = t->numbers[i];
    t->count = n;
    return t;
}

/* The pool of highest priority for each service; of equal ones, which no valid graph has, the one
 * that comes first. */
static void choose_best(const struct build *b, struct pool_table *t)
{
    for (uint32_t i = 0; i < t->limit; i++)
        t->best[i] = NUMBER_NONE;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct env_record *r = snapshot_record(b->s, t->numbers[i]);
        for (uint32_t j = 0; j < r->nstatements; j++) {
            uint32_t *best = &t->best[record_services(r)[j]];
            if (target_kind(record_targets(r)[j]) == STATEMENT_PROVIDES &&
                (*best == NUMBER_NONE ||
                    record_priority(snapshot_record(b->s, *best)) < record_priority(r)))
                *best = t->numbers[i];
        }
    }
}

int build_pools(struct build *b, uint64_t pools_changed)
{
    if (b->base && !b->pools_touched && (!b->exact || pools_changed == b->base->pools->changed)) {
        b->s->pools = b->base->pools;
        b->s->pools->refs++;
        return 0;
    }
    struct pool_table *t = collect_pools(b);
    if (!t)
        return build_no_memory(b);
    b->s->pools = t;
    t->changed = b->pools_touched || b->exact ? pools_changed : 0;
    t->limit = t->count ? b->s->services->limit : 0;
    t->best = mem_array(t->limit + (size_t)1, sizeof(*t->best));
    if (!t->best)
        return build_no_memory(b);
    choose_best(b, t);
    return 0;
}
