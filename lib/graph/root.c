/* The digests of an epoch, and the root: the content hash of a graph. */
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "lib/graph/digest.h"
#include <errno.h>
#include <stdlib.h>

static void add_record(
    struct sha *sha, uint64_t number, uint64_t changed, const unsigned char *hash)
{
    sha_u64(sha, number);
    sha_u64(sha, changed);
    sha_update(sha, hash, HASH_SIZE);
}

int digest_page(struct sha *sha, const struct slab *records, struct page *p)
{
    /* One update for the whole page: a call a field would cost more than the hash. */
    struct entry {
        unsigned char number[8], changed[8], hash[HASH_SIZE];
    } entries[PAGE_SIZE_ENVS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < PAGE_SIZE_ENVS; i++) {
        uint32_t handle = page_heads(p)[i].record;
        if (!handle)
            continue;
        const struct env_record *r = record_at(records, handle);
        struct entry *e = &entries[n++];
        bytes_put_le64(e->number, i);
        bytes_put_le64(e->changed, record_changed(r));
        memcpy(e->hash, record_hash(r), HASH_SIZE);
    }
    return sha_of(sha, entries, n * sizeof(*entries), p->digest);
}

int digest_services(struct sha *sha, struct service_table *t)
{
    sha_start(sha);
    sha_u64(sha, t->changed);
    for (uint32_t i = 0; i < t->limit; i++)
        if (t->docs[i])
            add_record(sha, i, t->docs[i]->changed, t->docs[i]->hash);
    return sha_finish(sha, t->digest);
}

int digest_gateways(struct sha *sha, struct gateway_table *t)
{
    sha_start(sha);
    for (uint32_t i = 0; i < t->count; i++)
        add_record(sha, 0, t->docs[i]->changed, t->docs[i]->hash);
    return sha_finish(sha, t->digest);
}

/* Many pages an update, as with records. */
static void add_pages(struct sha *sha, const struct snapshot *s)
{
    struct entry {
        unsigned char at[8], digest[HASH_SIZE];
    } entries[64];
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->npages; i++) {
        if (!s->pages[i])
            continue;
        bytes_put_le64(entries[n].at, i);
        memcpy(entries[n++].digest, s->pages[i]->digest, HASH_SIZE);
        if (n == sizeof(entries) / sizeof(*entries)) {
            sha_update(sha, entries, sizeof(entries));
            n = 0;
        }
    }
    sha_update(sha, entries, n * sizeof(*entries));
}

int digest_snapshot(struct sha *sha, struct snapshot *s)
{
    sha_start(sha);
    sha_str(sha, STR("offshoot digest 1"));
    sha_u64(sha, s->epoch);
    sha_u64(sha, s->pools->changed);
    sha_update(sha, s->services->digest, HASH_SIZE);
    sha_update(sha, s->gateways->digest, HASH_SIZE);
    add_pages(sha, s);
    return sha_finish(sha, s->digest);
}

/* ---- root ---- */

/* One document: its name to sort by, its hash. */
struct leaf {
    struct str name;
    const unsigned char *hash;
};

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct leaf *)a)->name, ((const struct leaf *)b)->name);
}

/* Adds one kind of document, sorted by name; the hash covers the name. */
static void add_leaves(struct sha *sha, struct str kind, struct leaf *leaves, uint32_t n)
{
    if (n)
        qsort(leaves, n, sizeof(*leaves), by_name);
    sha_str(sha, kind);
    sha_u64(sha, n);
    for (uint32_t i = 0; i < n; i++)
        sha_update(sha, leaves[i].hash, HASH_SIZE);
}

static uint32_t env_leaves(const struct snapshot *s, struct leaf *leaves)
{
    uint32_t n = 0;
    for (uint32_t env = 0; env < s->env_limit; env++) {
        const struct env_record *r = snapshot_record(s, env);
        if (r)
            leaves[n++] = (struct leaf){intern_text(s->envs, env), record_hash(r)};
    }
    return n;
}

static uint32_t service_leaves(const struct snapshot *s, struct leaf *leaves)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->services->limit; i++)
        if (s->services->docs[i])
            leaves[n++] =
                (struct leaf){s->services->docs[i]->info.name, s->services->docs[i]->hash};
    return n;
}

static int compute_root(const struct snapshot *s, unsigned char *out)
{
    uint32_t most = s->env_count > s->services->count ? s->env_count : s->services->count;
    most = s->gateways->count > most ? s->gateways->count : most;
    struct sha *sha = sha_new();
    struct leaf *leaves = mem_array(most + (size_t)1, sizeof(*leaves));
    int r = -ENOMEM;
    if (sha && leaves) {
        sha_start(sha);
        sha_str(sha, STR("offshoot root 1"));
        add_leaves(sha, STR("environments"), leaves, env_leaves(s, leaves));
        add_leaves(sha, STR("services"), leaves, service_leaves(s, leaves));
        for (uint32_t i = 0; i < s->gateways->count; i++)
            leaves[i] = (struct leaf){s->gateways->docs[i]->name, s->gateways->docs[i]->hash};
        add_leaves(sha, STR("gateways"), leaves, s->gateways->count);
        r = sha_finish(sha, out);
    }
    mem_free(leaves);
    sha_free(sha);
    return r;
}

const unsigned char *snapshot_root(const struct snapshot *s)
{
    /* Computed when first asked for; the only part of a snapshot that changes after its birth. */
    struct snapshot *m = (struct snapshot *)(uintptr_t)s;
    pthread_mutex_lock(&m->root_lock);
    if (!m->has_root)
        m->has_root = compute_root(s, m->root) == 0;
    bool ok = m->has_root;
    pthread_mutex_unlock(&m->root_lock);
    return ok ? m->root : NULL;
}
