#include "lib/graph/intern.h"

#include "lib/base/mem.h"
#include <errno.h>
#include <xxhash.h>

#define CHUNK          65536u
#define SLOTS_MIN      64u
#define NUMBER_CEILING (UINT32_MAX - 2)

uint64_t intern_hash(struct str name)
{
    return XXH3_64bits(name.p, name.n);
}

struct intern_view *intern_view_take(struct intern *n)
{
    if (n->view)
        n->view->refs++;
    return n->view;
}

void intern_view_drop(struct intern_view *v)
{
    if (v && --v->refs == 0)
        mem_free(v);
}

/* One block: the struct, slots, chunk pointers, offsets. */
static struct intern_view *view_new(uint32_t slots, uint32_t noffsets, uint32_t nchunks)
{
    size_t size = sizeof(struct intern_view) + slots * sizeof(uint64_t) + nchunks * sizeof(char *) +
                  noffsets * sizeof(uint32_t);
    struct intern_view *v = mem_zalloc(size);
    if (!v)
        return NULL;
    *v = (struct intern_view){
        .refs = 1, .mask = slots - 1, .noffsets = noffsets, .nchunks = nchunks, .bytes = size};
    char *p = (char *)(v + 1);
    v->slots = (void *)p;
    p += slots * sizeof(uint64_t);
    v->chunks = (void *)p;
    p += nchunks * sizeof(char *);
    v->offsets = (void *)p;
    return v;
}

static void slot_insert(struct intern_view *v, uint64_t hash, uint32_t number)
{
    uint32_t at = (uint32_t)hash & v->mask;
    while (atomic_load_explicit(&v->slots[at], memory_order_relaxed))
        at = (at + 1) & v->mask;
    uint64_t slot = (hash >> 32) << 32 | (number + 1);
    atomic_store_explicit(&v->slots[at], slot, memory_order_release);
}

/* Replaces the view by one of these sizes, none of which is smaller. */
static int view_grow(struct intern *n, uint32_t slots, uint32_t noffsets, uint32_t nchunks)
{
    struct intern_view *old = n->view, *v = view_new(slots, noffsets, nchunks);
    if (!v)
        return -ENOMEM;
    if (old) {
        memcpy(v->chunks, old->chunks, n->nchunks * sizeof(char *));
        memcpy(v->offsets, old->offsets, n->limit * sizeof(uint32_t));
    }
    for (uint32_t i = 0; i < n->limit; i++)
        if (v->offsets[i])
            slot_insert(v, intern_hash(intern_text(v, i)), i);
    if (n->saved == old)
        n->njournal_saved = n->njournal;
    intern_view_drop(old);
    n->view = v;
    return 0;
}

static int make_room(struct intern *n, uint32_t number, size_t text)
{
    const struct intern_view *v = n->view;
    uint32_t slots = v ? v->mask + 1 : SLOTS_MIN, noffsets = v ? v->noffsets : 0;
    uint32_t nchunks = v ? v->nchunks : 4;
    while (n->count + 1 > slots / 5 * 4)
        slots *= 2;
    noffsets = noffsets < slots / 5 * 4 ? slots / 5 * 4 : noffsets;
    if (number >= noffsets)
        noffsets = number + number / 4 + 16;
    bool new_chunk = n->nchunks == 0 || CHUNK - n->chunk_used < text;
    if (new_chunk && n->nchunks == nchunks)
        nchunks *= 2;
    bool same = v && slots == v->mask + 1 && noffsets == v->noffsets && nchunks == v->nchunks;
    int r = same ? 0 : view_grow(n, slots, noffsets, nchunks);
    if (r < 0 || !new_chunk)
        return r;
    char *chunk = mem_alloc(CHUNK);
    if (!chunk)
        return -ENOMEM;
    n->view->chunks[n->nchunks++] = chunk;
    n->chunk_used = 0;
    return 0;
}

static int journal_add(struct intern *n, uint32_t number)
{
    if (n->njournal == n->journal_size) {
        uint32_t size = n->journal_size ? n->journal_size * 2 : 16;
        uint32_t *p = mem_realloc(n->journal, size * sizeof(*p));
        if (!p)
            return -ENOMEM;
        n->journal = p;
        n->journal_size = size;
    }
    n->journal[n->njournal++] = number;
    return 0;
}

static int add(struct intern *n, struct str name, uint64_t hash, uint32_t number)
{
    if (name.n > INTERN_TEXT_MAX)
        return -ENAMETOOLONG;
    int r = make_room(n, number, name.n + 3);
    if (r == 0)
        r = journal_add(n, number);
    if (r < 0)
        return r;
    char *p = n->view->chunks[n->nchunks - 1] + n->chunk_used;
    p[0] = (char)(name.n & 0xff);
    p[1] = (char)(name.n >> 8);
    if (name.n)
        memcpy(p + 2, name.p, name.n);
    p[2 + name.n] = '\0';
    n->view->offsets[number] = ((n->nchunks - 1) << 16 | n->chunk_used) + 1;
    n->chunk_used += (uint32_t)name.n + 3;
    n->limit = number >= n->limit ? number + 1 : n->limit;
    n->count++;
    slot_insert(n->view, hash, number);
    return 0;
}

static uint32_t find_hashed(const struct intern *n, struct str name, uint64_t hash)
{
    uint32_t it = 0, number;
    while ((number = intern_next(n->view, hash, &it)) != INTERN_NONE)
        if (str_eq(intern_text(n->view, number), name))
            return number;
    return INTERN_NONE;
}

uint32_t intern_find(const struct intern *n, struct str name)
{
    return find_hashed(n, name, intern_hash(name));
}

int intern_add(struct intern *n, struct str name, uint32_t max, uint32_t *ret)
{
    uint64_t hash = intern_hash(name);
    uint32_t number = find_hashed(n, name, hash);
    if (number == INTERN_NONE) {
        if (n->limit >= max || n->limit >= NUMBER_CEILING)
            return -ENOSPC;
        number = n->limit;
        int r = add(n, name, hash, number);
        if (r < 0)
            return r;
    }
    *ret = number;
    return 0;
}

int intern_put(struct intern *n, struct str name, uint32_t number)
{
    if (number >= NUMBER_CEILING)
        return -ENOSPC;
    uint64_t hash = intern_hash(name);
    uint32_t known = find_hashed(n, name, hash);
    if (known == number)
        return 0;
    if (known != INTERN_NONE || (number < n->limit && n->view->offsets[number]))
        return -EEXIST;
    return add(n, name, hash, number);
}

void intern_begin(struct intern *n)
{
    n->saved = intern_view_take(n);
    n->njournal = 0;
    n->njournal_saved = UINT32_MAX;
    n->limit_saved = n->limit;
    n->nchunks_saved = n->nchunks;
    n->chunk_used_saved = n->chunk_used;
}

void intern_commit(struct intern *n)
{
    intern_view_drop(n->saved);
    n->saved = NULL;
    mem_free(n->journal);
    n->journal = NULL;
    n->journal_size = n->njournal = 0;
}

/* The slot that holds this number becomes free. Right only for the last one inserted. */
static void slot_remove(struct intern_view *v, uint32_t number)
{
    uint32_t at = (uint32_t)intern_hash(intern_text(v, number)) & v->mask;
    while ((uint32_t)atomic_load_explicit(&v->slots[at], memory_order_relaxed) != number + 1)
        at = (at + 1) & v->mask;
    atomic_store_explicit(&v->slots[at], 0, memory_order_release);
}

/* Linear probing allows removal without marks when it goes backwards through the insertions, which
 * holds in the view that was current at the begin; a larger one made since is thrown away. */
void intern_rollback(struct intern *n)
{
    struct intern_view *v = n->saved;
    uint32_t in_saved = n->njournal < n->njournal_saved ? n->njournal : n->njournal_saved;
    for (uint32_t i = v ? in_saved : 0; i > 0; i--) {
        slot_remove(v, n->journal[i - 1]);
        v->offsets[n->journal[i - 1]] = 0;
    }
    for (uint32_t i = n->nchunks_saved; i < n->nchunks; i++)
        mem_free(n->view->chunks[i]);
    n->count -= n->njournal;
    n->limit = n->limit_saved;
    n->nchunks = n->nchunks_saved;
    n->chunk_used = n->chunk_used_saved;
    intern_view_drop(n->view);
    n->view = v; /* with the reference that was the saved one's */
    n->saved = NULL;
    intern_commit(n);
}

void intern_release(struct intern *n)
{
    for (uint32_t i = 0; i < n->nchunks; i++)
        mem_free(n->view->chunks[i]);
    intern_view_drop(n->view);
    mem_free(n->journal);
    *n = (struct intern){0};
}

size_t intern_bytes(const struct intern *n)
{
    return (n->view ? n->view->bytes : 0) + (size_t)n->nchunks * CHUNK;
}
