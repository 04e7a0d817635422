/* Memory pool: many small allocations with one end of life, and destructors that run then.
 *
 * Owned by one thread. Destructors run in reverse order of registration. */
#ifndef OFFSHOOT_BASE_POOL_H
#define OFFSHOOT_BASE_POOL_H

#include "lib/base/str.h"
#include <stddef.h>

struct pool;

/* Returns new; chunk is the size of the blocks it takes from the heap (at least 512 bytes).
 * NULL when memory is out. */
struct pool *pool_new(size_t chunk);
/* Runs destructors, keeps the first block: ready for the next use. */
void pool_clear(struct pool *p);
/* Runs destructors, frees everything. NULL is allowed. */
void pool_free(struct pool *p);
/* Aligned to 16 bytes. NULL when memory is out. Valid until pool_clear or pool_free. */
void *pool_alloc(struct pool *p, size_t size);
void *pool_zalloc(struct pool *p, size_t size);
/* A copy of s with a NUL after it. p is NULL when memory is out. */
struct str pool_str(struct pool *p, struct str s);
/* Formats into the pool. p is NULL when memory is out. */
struct str pool_fmt(struct pool *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* fn(arg) runs at clear or free. 0 or -ENOMEM (then fn was not registered). */
int pool_defer(struct pool *p, void (*fn)(void *arg), void *arg);
/* Bytes taken from the heap now. */
size_t pool_bytes(const struct pool *p);

#endif
