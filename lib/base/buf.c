#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include <assert.h>
#include <errno.h>

void bufpool_init(struct bufpool *bp, uint32_t block, uint32_t keep, uint32_t limit)
{
    assert(block >= sizeof(void *));
    *bp = (struct bufpool){.block = block, .keep = keep, .limit = limit};
}

static void *take_free(struct bufpool *bp)
{
    void *block = bp->free;
    memcpy(&bp->free, block, sizeof(bp->free));
    bp->nfree--;
    return block;
}

void bufpool_release(struct bufpool *bp)
{
    assert(bp->nused == 0);
    while (bp->free)
        mem_free(take_free(bp));
}

int buf_take_block(struct buf *b, struct bufpool *bp)
{
    if (bp->nused >= bp->limit)
        return -ENOBUFS;
    char *block = bp->free ? take_free(bp) : mem_alloc(bp->block);
    if (!block)
        return -ENOMEM;
    if (++bp->nused > bp->peak)
        bp->peak = bp->nused;
    *b = (struct buf){.data = block, .size = bp->block};
    return 0;
}

void buf_give_block(struct buf *b, struct bufpool *bp)
{
    char *block = b->data;
    *b = (struct buf){0};
    bp->nused--;
    if (bp->nfree >= bp->keep && bp->nfree >= bp->peak) {
        mem_free(block);
        return;
    }
    memcpy(block, &bp->free, sizeof(bp->free));
    bp->free = block;
    bp->nfree++;
}

void bufpool_trim(struct bufpool *bp)
{
    uint32_t keep = bp->peak > bp->keep ? bp->peak : bp->keep;
    while (bp->nused + bp->nfree > keep && bp->nfree)
        mem_free(take_free(bp));
    bp->peak = bp->nused;
}

void buf_compact(struct buf *b)
{
    if (b->start == 0)
        return;
    uint32_t n = buf_len(b);
    memmove(b->data, b->data + b->start, n);
    b->start = 0;
    b->end = n;
}
