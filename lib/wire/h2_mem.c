/* Memory for nghttp2: an arena for what a session keeps, small blocks from free lists for what
 * comes and goes, and one frame buffer for all sessions of a thread.
 *
 * nghttp2 makes and frees a dozen small objects a request. Blocks of up to SMALL bytes are kept
 * by size when they come back, up to KEPT bytes in all; a word before each tells its class.
 *
 * A session's frame buffer is 16 KiB that hold bytes only while nghttp2_session_mem_send runs and
 * until its caller has copied them, and the preface of a client, which is the same for all. So the
 * first block of that size that a session asks for, when it is made, is the pool's. Blocks that it
 * asks for later (a block of fields over 16 KiB has several at a time) are its own.
 *
 * An arena is 16 KiB of addresses, of which as many pages are used as were touched. In it lie the
 * session with its tables and the entries of its compression tables: about 11 KiB, three quarters
 * of them zero. h2_rest packs the words that are not zero into a block of the heap and gives the
 * pages back; h2_wake lays them down where they were, so that all pointers hold. */
#include "lib/base/mem.h"
#include "lib/wire/h2_internal.h"
#include <sys/mman.h>

enum {
    STEP = 32,
    SMALL = 512,
    CLASSES = SMALL / STEP + 1, /* the last: not small */
    KEPT = 256 << 10,
    FRAME_BYTES = 16384 + 64,
    PAGE = 4096,
    ARENA_BYTES = 4 * PAGE,
    ARENA_SMALL = 144, /* the largest of what the compression tables keep; streams are larger */
    ARENAS = 64,       /* of a chunk: the bits of its `cold` */
    ARENAS_WARM = 16,  /* free ones that keep their pages */
    WORD = 8,
};

/* Before each block, 16 bytes so that it is aligned as the heap's are. */
union head {
    size_t size; /* as asked for */
    union head *next;
    char align[16];
};

struct arena {
    union head *free[CLASSES];
    uint32_t top;
};

struct chunk {
    struct chunk *next, *next_cold;
    void *memory;
    char *first;
    uint64_t cold; /* free arenas without pages, the lowest bit the first */
};

/* A free arena that keeps its pages. */
struct warm {
    struct warm *next;
    struct chunk *chunk;
};

struct h2_pool {
    struct chunk *chunks;
    struct chunk *cold; /* those with cold arenas */
    struct warm *warm;
    uint32_t nwarm;
    union head *free[CLASSES];
    uint32_t kept;
    uint32_t users;
    bool closed; /* its owner let go: the last session frees it */
    char frame[FRAME_BYTES];
};

struct h2_pool *h2_pool_new(void)
{
    return mem_zalloc(sizeof(struct h2_pool));
}

static void pool_release(struct h2_pool *p)
{
    for (unsigned c = 0; c < CLASSES; c++)
        while (p->free[c]) {
            union head *b = p->free[c];
            p->free[c] = b->next;
            mem_free(b);
        }
    while (p->chunks) {
        struct chunk *c = p->chunks;
        p->chunks = c->next;
        mem_free(c->memory);
        mem_free(c);
    }
    mem_free(p);
}

void h2_pool_free(struct h2_pool *p)
{
    if (!p)
        return;
    p->closed = true;
    if (p->users == 0)
        pool_release(p);
}

static unsigned class_of(size_t size)
{
    return size > SMALL ? CLASSES - 1 : (unsigned)((size + STEP - 1) / STEP);
}

static size_t class_bytes(unsigned class, size_t size)
{
    return class == CLASSES - 1 ? size : (size_t) class * STEP;
}

/* ---- arenas ---- */

/* Nothing is written to one that has given its pages back: it would have one again. */
static void arena_give(struct h2_pool *p, struct chunk *c, void *arena)
{
    if (p->nwarm < ARENAS_WARM) {
        struct warm *w = arena;
        *w = (struct warm){p->warm, c};
        p->warm = w;
        p->nwarm++;
        return;
    }
    madvise(arena, ARENA_BYTES, MADV_DONTNEED);
    if (!c->cold) {
        c->next_cold = p->cold;
        p->cold = c;
    }
    c->cold |= (uint64_t)1 << ((size_t)((char *)arena - c->first) / ARENA_BYTES);
}

static bool more_arenas(struct h2_pool *p)
{
    struct chunk *c = mem_alloc(sizeof(*c));
    char *memory = c ? mem_alloc((ARENAS + 1) * ARENA_BYTES) : NULL;
    if (!memory) {
        mem_free(c);
        return false;
    }
    char *first = memory + (PAGE - (uintptr_t)memory % PAGE) % PAGE;
    *c = (struct chunk){p->chunks, p->cold, memory, first, UINT64_MAX};
    p->chunks = p->cold = c;
    madvise(first, ARENAS * ARENA_BYTES, MADV_NOHUGEPAGE);
    return true;
}

/* A free arena and its chunk; one chunk at least has a cold one, or there is a warm one. */
static void *any_arena(struct h2_pool *p, struct chunk **ret)
{
    if (p->warm) {
        struct warm *w = p->warm;
        *ret = w->chunk;
        p->warm = w->next;
        p->nwarm--;
        return w;
    }
    struct chunk *c = p->cold;
    unsigned i = (unsigned)__builtin_ctzll(c->cold);
    c->cold &= c->cold - 1;
    if (!c->cold)
        p->cold = c->next_cold;
    *ret = c;
    return c->first + (size_t)i * ARENA_BYTES;
}

/* Without one the session does with blocks of the heap. */
static void arena_take(struct h2 *h)
{
    struct h2_pool *p = h->pool;
    if (!p->warm && !p->cold && !more_arenas(p))
        return;
    h->arena = any_arena(p, &h->chunk);
    memset(h->arena, 0, sizeof(*h->arena));
    h->arena->top = (sizeof(*h->arena) + sizeof(union head) - 1) / sizeof(union head) *
                    (uint32_t)sizeof(union head);
}

static bool in_arena(const struct h2 *h, const void *ptr)
{
    return h->arena && (uintptr_t)ptr - (uintptr_t)h->arena < ARENA_BYTES;
}

static union head *arena_block(struct h2 *h, unsigned class, size_t size)
{
    struct arena *a = h->arena;
    union head *b = a->free[class];
    if (b && class < CLASSES - 1) {
        a->free[class] = b->next;
        return b;
    }
    size_t bytes = (sizeof(*b) + class_bytes(class, size) + sizeof(*b) - 1) & ~(sizeof(*b) - 1);
    if ((size > ARENA_SMALL && !h->making) || bytes > ARENA_BYTES - a->top)
        return NULL;
    b = (union head *)(void *)((char *)a + a->top);
    a->top += (uint32_t)bytes;
    return b;
}

/* ---- packing ---- */

/* What an arena of n words is packed to: n bits, one for each word that is not zero, then those
 * words. A word is a byte that says which of its eight bytes are not zero, and these; or a zero,
 * and two bytes: it points into the arena, so far from its beginning. */
enum { PACKED_MAX = ARENA_BYTES / WORD / 8 + ARENA_BYTES / WORD * 9 };

static void clear_free_blocks(struct arena *a)
{
    for (unsigned class = 0; class < CLASSES - 1; class ++)
        for (union head *b = a->free[class]; b; b = b->next)
            memset(b + 1, 0, class_bytes(class, 0));
}

static uint8_t *pack_word(uint8_t *to, uint64_t word, uint64_t base)
{
    if (word - base < ARENA_BYTES) {
        *to++ = 0;
        *to++ = (uint8_t)(word - base);
        *to++ = (uint8_t)((word - base) >> 8);
        return to;
    }
    uint8_t *mask = to++;
    *mask = 0;
    for (unsigned i = 0; i < WORD; i++, word >>= 8)
        if (word & 255) {
            *mask |= (uint8_t)(1u << i);
            *to++ = (uint8_t)word;
        }
    return to;
}

static const uint8_t *unpack_word(const uint8_t *from, uint64_t *ret, uint64_t base)
{
    uint8_t mask = *from++;
    uint64_t word = 0;
    if (mask == 0) {
        *ret = base + from[0] + ((uint64_t)from[1] << 8);
        return from + 2;
    }
    for (unsigned i = 0; i < WORD; i++)
        if (mask >> i & 1)
            word |= (uint64_t)*from++ << (8 * i);
    *ret = word;
    return from;
}

void h2_pack(struct h2 *h)
{
    struct arena *a = h->arena;
    uint8_t packed[PACKED_MAX];
    if (!a || h->packed)
        return;
    clear_free_blocks(a);
    const uint64_t *words = (const uint64_t *)(const void *)a;
    uint32_t n = a->top / WORD;
    uint8_t *to = packed + (n + 7) / 8;
    memset(packed, 0, (n + 7) / 8);
    for (uint32_t i = 0; i < n; i++)
        if (words[i]) {
            packed[i / 8] |= (uint8_t)(1u << i % 8);
            to = pack_word(to, words[i], (uintptr_t)a);
        }
    h->packed = (uint8_t *)mem_dup((const char *)packed, (size_t)(to - packed));
    h->packed_words = n;
    if (h->packed)
        madvise(a, ARENA_BYTES, MADV_DONTNEED);
}

void h2_unpack(struct h2 *h)
{
    const uint8_t *map = h->packed, *from = map + (h->packed_words + 7) / 8;
    uint64_t *to = (uint64_t *)(void *)h->arena;
    for (uint32_t i = 0; i < h->packed_words; i++) {
        to[i] = 0;
        if (map[i / 8] >> i % 8 & 1)
            from = unpack_word(from, &to[i], (uintptr_t)h->arena);
    }
    mem_free(h->packed);
    h->packed = NULL;
}

/* ---- nghttp2_mem ---- */

static void *pool_malloc(size_t size, void *arg)
{
    struct h2 *h = arg;
    struct h2_pool *p = h->pool;
    if (size == 0)
        size = 1;
    if (h->making && size > FRAME_BYTES / 2 && size <= FRAME_BYTES && !h->frame_shared) {
        h->frame_shared = true;
        return p->frame;
    }
    unsigned class = class_of(size);
    union head *b = h->arena ? arena_block(h, class, size) : NULL;
    if (b) {
        b->size = size;
        return b + 1;
    }
    b = p->free[class];
    if (b) {
        p->free[class] = b->next;
        p->kept -= (uint32_t)class_bytes(class, size);
    } else {
        if (size > SIZE_MAX / 2)
            return NULL;
        b = mem_alloc(sizeof(*b) + class_bytes(class, size));
        if (!b)
            return NULL;
    }
    b->size = size;
    return b + 1;
}

/* True when ptr is to stay: see h2_mem_keep. */
static bool kept(struct h2 *h, void *ptr)
{
    if (!h->keeping || !ptr)
        return false;
    h->kept = ptr;
    return true;
}

static void pool_free(void *ptr, void *arg)
{
    struct h2 *h = arg;
    struct h2_pool *p = h->pool;
    if (!ptr || ptr == p->frame || kept(h, ptr))
        return;
    union head *b = (union head *)ptr - 1;
    unsigned class = class_of(b->size);
    uint32_t bytes = (uint32_t)class_bytes(class, b->size);
    if (in_arena(h, b)) {
        b->next = h->arena->free[class];
        h->arena->free[class] = b;
        return;
    }
    if (class == CLASSES - 1 || p->kept + bytes > KEPT) {
        mem_free(b);
        return;
    }
    b->next = p->free[class];
    p->free[class] = b;
    p->kept += bytes;
}

static void *pool_calloc(size_t n, size_t size, void *arg)
{
    if (size && n > SIZE_MAX / size)
        return NULL;
    void *ptr = pool_malloc(n * size, arg);
    return ptr ? memset(ptr, 0, n * size) : NULL;
}

static void *pool_realloc(void *ptr, size_t size, void *arg)
{
    struct h2 *h = arg;
    void *to = pool_malloc(size, arg);
    if (!to || !ptr)
        return to;
    size_t had = ptr == h->pool->frame ? FRAME_BYTES : ((union head *)ptr - 1)->size;
    memcpy(to, ptr, had < size ? had : size);
    pool_free(ptr, arg);
    return to;
}

static void *plain_malloc(size_t size, void *arg)
{
    (void)arg;
    return mem_alloc(size);
}

static void plain_free(void *ptr, void *arg)
{
    if (!kept(arg, ptr))
        mem_free(ptr);
}

static void *plain_calloc(size_t n, size_t size, void *arg)
{
    (void)arg;
    return size && n > SIZE_MAX / size ? NULL : mem_zalloc(n * size);
}

static void *plain_realloc(void *ptr, size_t size, void *arg)
{
    (void)arg;
    return mem_realloc(ptr, size);
}

nghttp2_mem h2_mem(struct h2 *h)
{
    if (h->pool)
        return (nghttp2_mem){h, pool_malloc, pool_free, pool_calloc, pool_realloc};
    return (nghttp2_mem){h, plain_malloc, plain_free, plain_calloc, plain_realloc};
}

void h2_mem_keep(struct h2 *h)
{
    h->keeping = true;
    h->kept = NULL;
}

void h2_mem_keep_end(struct h2 *h, bool attached)
{
    h->keeping = false;
    if (!h->kept || attached)
        return;
    if (h->pool)
        pool_free(h->kept, h);
    else
        mem_free(h->kept);
}

void h2_mem_join(struct h2 *h, struct h2_pool *p)
{
    h->pool = p;
    if (!p)
        return;
    p->users++;
    arena_take(h);
}

void h2_mem_leave(struct h2 *h)
{
    struct h2_pool *p = h->pool;
    if (!p)
        return;
    if (h->arena)
        arena_give(p, h->chunk, h->arena);
    if (--p->users == 0 && p->closed)
        pool_release(p);
}
