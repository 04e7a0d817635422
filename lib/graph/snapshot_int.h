/* What a snapshot is made of. For the files that build, read and encode snapshots; nobody else.
 *
 *   snapshot ── pages[number / 256] ── page ── heads[number % 256] ── env_record
 *       ├────── service_table ── service_doc        (shared until a Service document changes)
 *       ├────── gateway_table ── gateway_doc        (shared until a Gateway document changes)
 *       ├────── pool_table                          (shared until a pool or a Service changes)
 *       └────── chain: names, endpoint sets, memory of records; one for all snapshots that were
 *               built on each other
 *
 * Everything but the chain is immutable once a snapshot is handed out. Counts are plain: they
 * belong to the thread that builds. */
#ifndef OFFSHOOT_GRAPH_SNAPSHOT_INT_H
#define OFFSHOOT_GRAPH_SNAPSHOT_INT_H

#include "lib/graph/docs.h"
#include "lib/graph/intern.h"
#include "lib/graph/record.h"
#include <pthread.h>

#define PAGE_SIZE_ENVS 256u
#define ENVS_MAX       (1u << 22) /* numbers of one chain */
#define SERVICES_MAX   (1u << 20)
#define FILES_MAX      (1u << 20)

struct sha; /* sha.h */

struct chain {
    uint32_t refs;  /* snapshots */
    uint64_t build; /* counts builds: who may still write to a page */
    struct intern envs, services, files;
    struct endpoints sets;
    struct slab records;
    struct sha *sha;
};

struct place_base {
    uint32_t file; /* number in chain->files, NUMBER_NONE: not known */
    uint32_t line; /* first line; lines in the record are relative to it */
};

struct page {
    uint32_t refs;
    uint32_t live; /* heads with a record */
    uint64_t build;
    unsigned char digest[HASH_SIZE];
    /* One more than needed: page_heads says where they start, so that none crosses a cache line. */
    struct env_head room[PAGE_SIZE_ENVS + 1];
    struct place_base places[PAGE_SIZE_ENVS];
    uint64_t fingerprints[PAGE_SIZE_ENVS]; /* of the model's document; 0: not known */
};

struct service_table {
    uint32_t refs;
    uint32_t limit, count;
    uint64_t changed; /* epoch of the last change of any Service document, removals too */
    unsigned char digest[HASH_SIZE];
    struct hosts *hosts;
    size_t bytes;
    struct service_doc *docs[]; /* by number, NULL: none */
};

struct gateway_table {
    uint32_t refs;
    uint32_t count;
    unsigned char digest[HASH_SIZE];
    struct gateway_doc *docs[]; /* sorted by name */
};

struct pool_table {
    uint32_t refs;
    uint32_t count;
    uint32_t limit;     /* services */
    uint64_t changed;   /* epoch of the last change of any pool, removals too */
    uint32_t *best;     /* by service: the pool that provides it, or NUMBER_NONE */
    uint32_t numbers[]; /* of the pools, ascending */
};

#define SNAPSHOT_MAGIC 0x534e4150u /* "SNAP" */

struct snapshot {
    uint32_t magic;
    uint32_t refs;
    struct chain *chain;
    uint64_t epoch;
    uint32_t env_count, env_limit;
    struct intern_view *envs, *service_names, *files;
    struct service_table *services;
    struct gateway_table *gateways;
    struct pool_table *pools;
    unsigned char digest[HASH_SIZE];
    pthread_mutex_t root_lock;
    bool has_root;
    unsigned char root[HASH_SIZE];
    uint32_t npages;
    struct page *pages[]; /* NULL: empty */
};

static inline struct env_head *page_heads(const struct page *p)
{
    uintptr_t size = sizeof(struct env_head), at = (uintptr_t)p->room;
    return (struct env_head *)((at + size - 1) & ~(size - 1));
}

/* The head of an environment that exists in s, else NULL. Any number is allowed. */
static inline const struct env_head *snapshot_head(const struct snapshot *s, uint32_t env)
{
    uint32_t at = env / PAGE_SIZE_ENVS;
    if (at >= s->npages || !s->pages[at])
        return NULL;
    const struct env_head *h = &page_heads(s->pages[at])[env % PAGE_SIZE_ENVS];
    return h->record ? h : NULL;
}

/* Its record, or NULL. */
static inline const struct env_record *snapshot_record(const struct snapshot *s, uint32_t env)
{
    const struct env_head *h = snapshot_head(s, env);
    return h ? record_at(&s->chain->records, h->record) : NULL;
}

static inline const struct service_doc *snapshot_service_doc(
    const struct snapshot *s, uint32_t service)
{
    return service < s->services->limit ? s->services->docs[service] : NULL;
}

struct chain *chain_new(void);
void chain_unref(struct chain *c);
void page_unref(struct chain *c, struct page *p);
void service_table_unref(struct service_table *t);
void gateway_table_unref(struct gateway_table *t);
void pool_table_unref(struct pool_table *t);

#endif
