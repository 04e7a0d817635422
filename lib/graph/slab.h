/* Blocks of many sizes in chunks of 64 KiB, with a free list a size: no header a block.
 *
 * Sizes are rounded up to 16 bytes. Blocks up to SLAB_SMALL come from chunks and stay there when
 * freed, to be used again for the same size; larger ones are heap blocks. A block can be named by
 * a 30-bit handle, which stays valid, as does its address, until it is freed.
 *
 * Threads: one thread allocates and frees. slab_at may be called by any thread for a handle that
 * reached it through a publication (the tables are only ever added to). */
#ifndef OFFSHOOT_GRAPH_SLAB_H
#define OFFSHOOT_GRAPH_SLAB_H

#include <stddef.h>
#include <stdint.h>

#define SLAB_UNIT        16u
#define SLAB_CHUNK_UNITS 4096u /* 64 KiB */
#define SLAB_SMALL       4096u /* bytes */
#define SLAB_CLASSES     (SLAB_SMALL / SLAB_UNIT)
#define SLAB_FANOUT      512u /* chunks in a table, tables in the root: 2^18 chunks, 16 GiB */

struct slab_free;

struct slab {
    char **tables[SLAB_FANOUT]; /* each NULL or SLAB_FANOUT chunks */
    uint32_t nchunks;           /* used entries, in order */
    uint32_t spare;             /* freed entries of large blocks: position + 1, linked; 0: none */
    uint32_t bump;              /* units used of the chunk blocks are cut from */
    uint32_t bump_chunk;        /* its position */
    size_t bytes;               /* taken from the heap */
    struct slab_free *free[SLAB_CLASSES + 1];
};

/* A zeroed struct slab is empty and ready. All blocks die. */
void slab_release(struct slab *s);
/* NULL when memory (or the table) is out. Not cleared. ret_handle may be NULL: the block is known
 * by its address only. No handle is 0. */
void *slab_alloc(struct slab *s, size_t size, uint32_t *ret_handle);
/* size and handle as at slab_alloc (0 when it had none). */
void slab_free_block(struct slab *s, void *block, size_t size, uint32_t handle);

static inline void *slab_at(const struct slab *s, uint32_t handle)
{
    uint32_t chunk = handle / SLAB_CHUNK_UNITS;
    return s->tables[chunk / SLAB_FANOUT][chunk % SLAB_FANOUT] +
           (size_t)(handle % SLAB_CHUNK_UNITS) * SLAB_UNIT;
}

#endif
