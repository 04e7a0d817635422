#define XXH_INLINE_ALL
#include "lib/graph/names.h"
#include "lib/base/mem.h"
#include "lib/base/pool.h"
#include <xxhash.h>

#define SLOTS_MIN   1024u
#define POOL_CHUNK  65536
#define NUMBERS_MAX (1u << 30)

struct name {
    const char *p;
    uint32_t n;
    uint32_t hash;
};

struct names {
    struct pool *text;
    struct name *list;
    uint32_t *slots; /* number + 1; 0: free; at most half full */
    uint32_t n, size, mask;
};

struct names *names_new(void)
{
    struct names *n = mem_zalloc(sizeof(*n));
    if (!n)
        return NULL;
    n->text = pool_new(POOL_CHUNK);
    n->slots = mem_zalloc(SLOTS_MIN * sizeof(*n->slots));
    n->mask = SLOTS_MIN - 1;
    if (n->text && n->slots)
        return n;
    names_free(n);
    return NULL;
}

void names_free(struct names *n)
{
    if (!n)
        return;
    pool_free(n->text);
    mem_free(n->list);
    mem_free(n->slots);
    mem_free(n);
}

static uint32_t hash_of(struct str name)
{
    return (uint32_t)XXH3_64bits(name.p, name.n);
}

/* The slot that holds the name, or the free one where it belongs. */
static uint32_t *slot_of(const struct names *n, struct str name, uint32_t hash)
{
    for (uint32_t i = hash & n->mask;; i = (i + 1) & n->mask) {
        uint32_t *slot = &n->slots[i];
        if (!*slot)
            return slot;
        const struct name *known = &n->list[*slot - 1];
        if (known->hash == hash && str_eq(str_of(known->p, known->n), name))
            return slot;
    }
}

static int grow_slots(struct names *n)
{
    uint32_t size = 2 * (n->mask + 1);
    uint32_t *slots = mem_zalloc(size * sizeof(*slots));
    if (!slots)
        return -1;
    for (uint32_t number = 0; number < n->n; number++) {
        uint32_t i = n->list[number].hash & (size - 1);
        while (slots[i])
            i = (i + 1) & (size - 1);
        slots[i] = number + 1;
    }
    mem_free(n->slots);
    n->slots = slots;
    n->mask = size - 1;
    return 0;
}

static int make_room(struct names *n)
{
    if (n->n == n->size) {
        uint32_t size = n->size ? n->size + n->size / 2 : SLOTS_MIN / 2;
        struct name *list = mem_realloc(n->list, size * sizeof(*list));
        if (!list)
            return -1;
        n->list = list;
        n->size = size;
    }
    return 2 * (n->n + 1) > n->mask + 1 ? grow_slots(n) : 0;
}

uint32_t names_add(struct names *n, struct str name)
{
    uint32_t hash = hash_of(name);
    uint32_t *slot = slot_of(n, name, hash);
    if (*slot)
        return *slot - 1;
    if (n->n >= NUMBERS_MAX || name.n > UINT32_MAX || make_room(n) < 0)
        return NAME_NONE;
    struct str copy = pool_str(n->text, name);
    if (!copy.p)
        return NAME_NONE;
    n->list[n->n] = (struct name){copy.p, (uint32_t)name.n, hash};
    *slot_of(n, name, hash) = n->n + 1;
    return n->n++;
}

uint32_t names_find(const struct names *n, struct str name)
{
    uint32_t slot = *slot_of(n, name, hash_of(name));
    return slot ? slot - 1 : NAME_NONE;
}

uint32_t names_count(const struct names *n)
{
    return n->n;
}

size_t names_bytes(const struct names *n)
{
    return pool_bytes(n->text) + n->size * sizeof(*n->list) +
           ((size_t)n->mask + 1) * sizeof(*n->slots);
}
