/* Bounded byte buffers over fixed-size blocks of a per-thread free list.
 *
 * A struct buf is empty and holds no block until buf_hold; it gives the block back with
 * buf_drop, so an idle connection costs nothing. Data is contiguous: [start, end) of the block.
 * Nothing here grows: the block size is the bound, and a full buffer is back-pressure. */
#ifndef OFFSHOOT_BASE_BUF_H
#define OFFSHOOT_BASE_BUF_H

#include "lib/base/bytes.h"
#include "lib/base/str.h"
#include <stdint.h>
#include <string.h>

/* The free list. One a thread; not thread-safe. */
struct bufpool {
    void *free;     /* linked through the first word of each free block */
    uint32_t block; /* bytes in a block */
    uint32_t nfree; /* blocks on the list */
    uint32_t keep;  /* blocks above this, and above peak, are given back to the heap */
    uint32_t nused; /* blocks out */
    uint32_t peak;  /* most of them at a time since the last bufpool_trim */
    uint32_t limit; /* blocks that may be out; buf_hold fails above */
};

struct buf {
    char *data;          /* NULL: no block held */
    uint32_t start, end; /* valid bytes: data[start..end) */
    uint32_t size;       /* block size, 0 without a block */
};

void bufpool_init(struct bufpool *bp, uint32_t block, uint32_t keep, uint32_t limit);
/* Gives every free block back; all blocks must have come home (nused == 0). */
void bufpool_release(struct bufpool *bp);

/* Gives b, which has none, a block, and takes it away again: for buf_hold and buf_drop. */
int buf_take_block(struct buf *b, struct bufpool *bp);
void buf_give_block(struct buf *b, struct bufpool *bp);

/* From time to time: gives back what was not needed since the last call. Between two calls as many
 * blocks stay on the list as were out at a time, so that a load finds its blocks again. */
void bufpool_trim(struct bufpool *bp);

/* Makes sure b has a block. 0, -ENOMEM, or -ENOBUFS at the limit. */
static inline int buf_hold(struct buf *b, struct bufpool *bp)
{
    return b->data ? 0 : buf_take_block(b, bp);
}
/* Gives the block back whatever it holds. */
static inline void buf_drop(struct buf *b, struct bufpool *bp)
{
    if (b->data)
        buf_give_block(b, bp);
}
/* Moves the bytes to the start of the block. Invalidates pointers into it. */
void buf_compact(struct buf *b);

static inline uint32_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}
static inline uint32_t buf_space(const struct buf *b)
{
    return b->size - b->end;
}
static inline char *buf_head(const struct buf *b)
{
    return b->data + b->start;
}
static inline char *buf_tail(const struct buf *b)
{
    return b->data + b->end;
}
static inline void buf_consume(struct buf *b, uint32_t n)
{
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}
/* Appends if it fits in buf_space; false (and nothing written) when it does not. */
static inline bool buf_put(struct buf *b, const char *p, size_t n)
{
    if (n > buf_space(b))
        return false;
    if (n)
        bytes_copy(b->data + b->end, p, n);
    b->end += (uint32_t)n;
    return true;
}

#endif
