/* Memory for nghttp2: small blocks from free lists, and one frame buffer for all sessions of a
 * thread.
 *
 * nghttp2 makes and frees a dozen small objects a request. Blocks of up to SMALL bytes are kept
 * by size when they come back, up to KEPT bytes in all; a word before each tells its class.
 *
 * A session's frame buffer is 16 KiB that hold bytes only while nghttp2_session_mem_send runs and
 * until its caller has copied them, and the preface of a client, which is the same for all. So the
 * first block of that size that a session asks for, when it is made, is the pool's. Blocks that it
 * asks for later (a block of fields over 16 KiB has several at a time) are its own. */
#include "lib/base/mem.h"
#include "lib/wire/h2_internal.h"

enum {
    STEP = 32,
    SMALL = 512,
    CLASSES = SMALL / STEP + 1, /* the last: not small */
    KEPT = 256 << 10,
    FRAME_BYTES = 16384 + 64,
};

/* Before each block, 16 bytes so that it is aligned as the heap's are. */
union head {
    size_t size; /* as asked for */
    union head *next;
    char align[16];
};

struct h2_pool {
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
    union head *b = p->free[class];
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
    if (p)
        p->users++;
}

void h2_mem_leave(struct h2 *h)
{
    struct h2_pool *p = h->pool;
    if (p && --p->users == 0 && p->closed)
        pool_release(p);
}
