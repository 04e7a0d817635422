#include "lib/base/mem.h"
#include "lib/compare/tally_int.h"
#include <errno.h>
#include <xxhash.h>

#define FIRST_ROOM 16

int slots_init(struct slots *s)
{
    memset(s, 0, sizeof *s);
    s->pool = pool_new(4096);
    return s->pool ? 0 : -ENOMEM;
}

void slots_release(struct slots *s)
{
    pool_free(s->pool);
    mem_free(s->item);
    s->pool = NULL;
    s->item = NULL;
}

uint64_t slot_hash(struct str endpoint, struct str path, enum diff_kind kind)
{
    uint64_t seed = XXH3_64bits(endpoint.p, endpoint.n) + (uint64_t)kind;
    return XXH3_64bits_withSeed(path.p, path.n, seed);
}

/* Where it is in the table, or the free place where it would be. */
static size_t place(
    const struct slots *s, uint64_t hash, struct str endpoint, struct str path, enum diff_kind kind)
{
    size_t i = hash % SLOTS_HASH;
    for (; s->at[i]; i = (i + 1) % SLOTS_HASH) {
        const struct slot *f = &s->item[s->at[i] - 1];
        if (f->hash == hash && f->kind == kind && str_eq(f->path, path) &&
            str_eq(f->endpoint, endpoint))
            break;
    }
    return i;
}

struct slot *slots_find(
    const struct slots *s, struct str endpoint, struct str path, enum diff_kind kind)
{
    size_t i = place(s, slot_hash(endpoint, path, kind), endpoint, path, kind);
    return s->at[i] ? &s->item[s->at[i] - 1] : NULL;
}

static int grow(struct slots *s)
{
    size_t room = s->room ? 2 * s->room : FIRST_ROOM;
    struct slot *item = mem_realloc(s->item, room * sizeof *item);
    if (!item)
        return -ENOMEM;
    s->item = item;
    s->room = room;
    return 0;
}

struct slot *slots_add(struct slots *s, struct str endpoint, struct str path, enum diff_kind kind)
{
    struct slot f = {.endpoint = pool_str(s->pool, endpoint), .path = pool_str(s->pool, path)};
    if (!f.endpoint.p || !f.path.p || (s->n == s->room && grow(s) != 0))
        return NULL;
    f.kind = kind;
    f.hash = slot_hash(endpoint, path, kind);
    s->item[s->n] = f;
    s->at[place(s, f.hash, endpoint, path, kind)] = (uint16_t)(s->n + 1);
    return &s->item[s->n++];
}

/* The newest one was put behind all that it collided with: its place can simply be free again. */
void slots_cut(struct slots *s, size_t n)
{
    while (s->n > n) {
        const struct slot *f = &s->item[s->n - 1];
        s->at[place(s, f->hash, f->endpoint, f->path, f->kind)] = 0;
        s->n--;
    }
}
