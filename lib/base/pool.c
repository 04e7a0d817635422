#include "lib/base/pool.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#define POOL_ALIGN     16
#define POOL_CHUNK_MIN 512

/* A block from the heap; its bytes follow the header. */
struct block {
    alignas(POOL_ALIGN) struct block *next;
    size_t size; /* with this header */
};

struct deferred {
    struct deferred *next;
    void (*fn)(void *arg);
    void *arg;
};

/* Lives at the start of its first block, so that an empty pool is one allocation. */
struct pool {
    struct block *blocks; /* newest first; the last is the block of the pool itself */
    char *at;             /* free bytes of the block that is being filled */
    size_t left;
    size_t chunk;
    size_t bytes;
    struct deferred *deferred; /* newest first */
};

static size_t round_up(size_t n)
{
    return (n + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
}

#define FIRST_USED (round_up(sizeof(struct block)) + round_up(sizeof(struct pool)))

static struct block *first_block(struct pool *p)
{
    return (struct block *)(void *)((char *)p - round_up(sizeof(struct block)));
}

static void restart(struct pool *p)
{
    struct block *first = first_block(p);

    p->blocks = first;
    p->at = (char *)first + FIRST_USED;
    p->left = first->size - FIRST_USED;
    p->bytes = first->size;
    p->deferred = NULL;
}

struct pool *pool_new(size_t chunk)
{
    if (chunk > SIZE_MAX / 2)
        return NULL;
    chunk = round_up(chunk < POOL_CHUNK_MIN ? POOL_CHUNK_MIN : chunk);
    struct block *first = mem_alloc(chunk);
    if (!first)
        return NULL;
    first->next = NULL;
    first->size = chunk;
    struct pool *p = (struct pool *)(void *)((char *)first + round_up(sizeof(struct block)));
    p->chunk = chunk;
    restart(p);
    return p;
}

static void run_deferred(struct pool *p)
{
    while (p->deferred) {
        struct deferred *d = p->deferred;
        p->deferred = d->next;
        d->fn(d->arg);
    }
}

void pool_clear(struct pool *p)
{
    struct block *first = first_block(p);

    run_deferred(p);
    while (p->blocks != first) {
        struct block *b = p->blocks;
        p->blocks = b->next;
        mem_free(b);
    }
    restart(p);
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pool_clear(p);
    mem_free(first_block(p));
}

static struct block *add_block(struct pool *p, size_t size)
{
    struct block *b = mem_alloc(size);
    if (!b)
        return NULL;
    b->size = size;
    b->next = p->blocks;
    p->blocks = b;
    p->bytes += size;
    return b;
}

/* Large pieces get a block of their own, so that the rest of the current one is not wasted. */
static void *alloc_slow(struct pool *p, size_t size)
{
    size_t head = round_up(sizeof(struct block));
    bool own = size > (p->chunk - head) / 4;
    struct block *b = add_block(p, own ? size + head : p->chunk);

    if (!b)
        return NULL;
    char *start = (char *)b + head;
    if (!own) {
        p->at = start + size;
        p->left = p->chunk - head - size;
    }
    return start;
}

void *pool_alloc(struct pool *p, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = round_up(size ? size : 1);
    if (size > p->left)
        return alloc_slow(p, size);
    void *ret = p->at;
    p->at += size;
    p->left -= size;
    return ret;
}

void *pool_zalloc(struct pool *p, size_t size)
{
    void *ret = pool_alloc(p, size);
    if (ret)
        memset(ret, 0, size);
    return ret;
}

struct str pool_str(struct pool *p, struct str s)
{
    char *copy = s.n < SIZE_MAX ? pool_alloc(p, s.n + 1) : NULL;
    if (!copy)
        return (struct str){NULL, 0};
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return (struct str){copy, s.n};
}

struct str pool_fmt(struct pool *p, const char *fmt, ...)
{
    va_list ap;

    /* The free bytes of the block are tried first: mostly one pass is enough. */
    va_start(ap, fmt);
    int n = vsnprintf(p->at, p->left, fmt, ap);
    va_end(ap);
    if (n < 0)
        return (struct str){NULL, 0};
    bool fits = (size_t)n < p->left;
    char *text = pool_alloc(p, (size_t)n + 1);
    if (text && !fits) {
        va_start(ap, fmt);
        vsnprintf(text, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return (struct str){text, text ? (size_t)n : 0};
}

int pool_defer(struct pool *p, void (*fn)(void *arg), void *arg)
{
    struct deferred *d = pool_alloc(p, sizeof(*d));
    if (!d)
        return -ENOMEM;
    *d = (struct deferred){.next = p->deferred, .fn = fn, .arg = arg};
    p->deferred = d;
    return 0;
}

size_t pool_bytes(const struct pool *p)
{
    return p->bytes;
}
