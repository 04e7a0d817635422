/* Names to numbers and back: an append-only intern table.
 *
 * A number is given once and never changes its name. One thread writes; any number of threads read
 * through a view (a snapshot holds one), without a lock: slots are published with release and read
 * with acquire. A table that became too small is replaced by a larger one; the old one lives on as
 * long as views of it do, and still answers for every name it had.
 *
 * A view also sees names that were added after it was taken, and for a moment such that are rolled
 * back. The reader therefore asks for a name's text only when it knows from elsewhere (its
 * snapshot) that the number is in use. */
#ifndef OFFSHOOT_GRAPH_INTERN_H
#define OFFSHOOT_GRAPH_INTERN_H

#include "lib/base/str.h"
#include <stdatomic.h>
#include <stdint.h>

#define INTERN_NONE     UINT32_MAX
#define INTERN_TEXT_MAX 4096u /* bytes of one name */

struct intern_view {
    uint32_t refs;
    uint32_t mask;     /* slots - 1 */
    uint32_t noffsets; /* numbers are below this */
    uint32_t nchunks;
    size_t bytes;
    _Atomic uint64_t *slots; /* hash << 32 | number + 1; 0: free */
    uint32_t *offsets;       /* by number: place of the text + 1; 0: none */
    char **chunks;
};

struct intern {
    struct intern_view *view; /* NULL until the first name */
    uint32_t count;           /* names held */
    uint32_t limit;           /* numbers given are below this */
    uint32_t nchunks, chunk_used;
    /* Since intern_begin: what a rollback takes back. */
    struct intern_view *saved;
    uint32_t *journal;
    uint32_t njournal, journal_size;
    uint32_t njournal_saved; /* entries that the saved view has, too */
    uint32_t limit_saved, nchunks_saved, chunk_used_saved;
};

/* A zeroed struct intern is empty and ready. Views given out must be gone. */
void intern_release(struct intern *n);
/* Names are added between begin and commit or rollback. */
void intern_begin(struct intern *n);
void intern_commit(struct intern *n);
void intern_rollback(struct intern *n);
/* The name's number, a new one below max if it has none. 0, -ENOMEM, -ENOSPC (no number is left),
 * or -ENAMETOOLONG. */
int intern_add(struct intern *n, struct str name, uint32_t max, uint32_t *ret);
/* Gives a name this very number. -EEXIST: one of the two is taken otherwise. Else as intern_add. */
int intern_put(struct intern *n, struct str name, uint32_t number);
/* INTERN_NONE when it was never added. For the writing thread. */
uint32_t intern_find(const struct intern *n, struct str name);

struct intern_view *intern_view_take(struct intern *n); /* no names yet: NULL */
void intern_view_drop(struct intern_view *v);
size_t intern_bytes(const struct intern *n);

uint64_t intern_hash(struct str name);
/* Candidates for a name by its hash: start with *it = 0, until INTERN_NONE. v may be NULL. */
static inline uint32_t intern_next(const struct intern_view *v, uint64_t hash, uint32_t *it)
{
    if (!v)
        return INTERN_NONE;
    for (uint32_t i = *it; i <= v->mask; i++) {
        uint32_t at = ((uint32_t)hash + i) & v->mask;
        uint64_t slot = atomic_load_explicit(&v->slots[at], memory_order_acquire);
        if (slot == 0)
            return INTERN_NONE;
        if (slot >> 32 == hash >> 32) {
            *it = i + 1;
            return (uint32_t)slot - 1;
        }
    }
    return INTERN_NONE;
}

/* The text of a number in use; a NUL follows it. */
static inline struct str intern_text(const struct intern_view *v, uint32_t number)
{
    uint32_t offset = v->offsets[number] - 1;
    const unsigned char *p = (const unsigned char *)v->chunks[offset >> 16] + (offset & 0xffff);
    return str_of((const char *)p + 2, (size_t)p[0] | (size_t)p[1] << 8);
}

#endif
