#include "lib/graph/slab.h"

#include "lib/base/mem.h"
#include <stdbool.h>

/* What a free block holds; the smallest block has room for it. */
struct slab_free {
    struct slab_free *next;
    uint32_t handle;
};

#define CHUNK_BYTES ((size_t)SLAB_CHUNK_UNITS * SLAB_UNIT)

static char **entry(const struct slab *s, uint32_t chunk)
{
    return &s->tables[chunk / SLAB_FANOUT][chunk % SLAB_FANOUT];
}

/* An empty table entry has its low bit set and links to the next one, so that it is never taken
 * for a chunk. */
static char *spare_mark(uint32_t next)
{
    return (char *)(((uintptr_t)next << 1) | 1);
}
static bool is_spare(const char *p)
{
    return ((uintptr_t)p & 1) != 0;
}

/* Puts p into the table; false when the table is full or cannot grow. */
static bool add_entry(struct slab *s, char *p, uint32_t *ret_chunk)
{
    if (s->spare) {
        uint32_t at = s->spare - 1;
        s->spare = (uint32_t)((uintptr_t)*entry(s, at) >> 1);
        *entry(s, at) = p;
        *ret_chunk = at;
        return true;
    }
    if (s->nchunks == SLAB_FANOUT * SLAB_FANOUT)
        return false;
    char ***table = &s->tables[s->nchunks / SLAB_FANOUT];
    if (!*table) {
        *table = mem_zalloc(SLAB_FANOUT * sizeof(**table));
        if (!*table)
            return false;
        s->bytes += SLAB_FANOUT * sizeof(**table);
    }
    *ret_chunk = s->nchunks++;
    *entry(s, *ret_chunk) = p;
    return true;
}

void slab_release(struct slab *s)
{
    for (uint32_t i = 0; i < s->nchunks; i++)
        if (!is_spare(*entry(s, i)))
            mem_free(*entry(s, i));
    for (uint32_t i = 0; i < SLAB_FANOUT; i++)
        mem_free(s->tables[i]);
    *s = (struct slab){0};
}

/* Cuts what is left of the chunk into free blocks, so that nothing of it is lost. */
static void retire_rest(struct slab *s)
{
    while (s->bump && s->bump < SLAB_CHUNK_UNITS) {
        uint32_t units = SLAB_CHUNK_UNITS - s->bump;
        if (units > SLAB_CLASSES)
            units = SLAB_CLASSES;
        uint32_t handle = s->bump_chunk * SLAB_CHUNK_UNITS + s->bump;
        slab_free_block(s, slab_at(s, handle), (size_t)units * SLAB_UNIT, handle);
        s->bump += units;
    }
}

static bool new_chunk(struct slab *s)
{
    uint32_t chunk;
    char *p = mem_alloc(CHUNK_BYTES);
    if (!p)
        return false;
    if (!add_entry(s, p, &chunk)) {
        mem_free(p);
        return false;
    }
    retire_rest(s);
    s->bytes += CHUNK_BYTES;
    s->bump_chunk = chunk;
    s->bump = chunk == 0 ? 1 : 0; /* handle 0 is nobody's */
    return true;
}

static void *alloc_large(struct slab *s, size_t size, uint32_t *ret_handle)
{
    if (ret_handle && s->nchunks == 0 && !new_chunk(s))
        return NULL;
    char *p = mem_alloc(size);
    uint32_t chunk;
    if (!p)
        return NULL;
    if (ret_handle) {
        if (!add_entry(s, p, &chunk)) {
            mem_free(p);
            return NULL;
        }
        *ret_handle = chunk * SLAB_CHUNK_UNITS;
    }
    s->bytes += size;
    return p;
}

void *slab_alloc(struct slab *s, size_t size, uint32_t *ret_handle)
{
    if (size > SLAB_SMALL)
        return alloc_large(s, size, ret_handle);
    uint32_t units = size ? (uint32_t)((size + SLAB_UNIT - 1) / SLAB_UNIT) : 1;
    struct slab_free *f = s->free[units];
    if (f) {
        s->free[units] = f->next;
        if (ret_handle)
            *ret_handle = f->handle;
        return f;
    }
    bool fits = s->nchunks && s->bump && SLAB_CHUNK_UNITS - s->bump >= units;
    if (!fits && !new_chunk(s))
        return NULL;
    uint32_t handle = s->bump_chunk * SLAB_CHUNK_UNITS + s->bump;
    s->bump += units;
    if (ret_handle)
        *ret_handle = handle;
    return slab_at(s, handle);
}

void slab_free_block(struct slab *s, void *block, size_t size, uint32_t handle)
{
    if (size > SLAB_SMALL) {
        s->bytes -= size;
        if (handle) {
            uint32_t chunk = handle / SLAB_CHUNK_UNITS;
            *entry(s, chunk) = spare_mark(s->spare);
            s->spare = chunk + 1;
        }
        mem_free(block);
        return;
    }
    uint32_t units = size ? (uint32_t)((size + SLAB_UNIT - 1) / SLAB_UNIT) : 1;
    struct slab_free *f = block;
    *f = (struct slab_free){s->free[units], handle};
    s->free[units] = f;
}
