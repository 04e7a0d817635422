#include "lib/graph/endpoints.h"

#include "lib/base/mem.h"
#include <errno.h>
#include <stdbool.h>
#include <xxhash.h>

enum form { FORM_IP4, FORM_ANY };

/* What follows: FORM_IP4: struct packed4 × count. FORM_ANY: struct any_head, struct packed_any ×
 * count, then the texts: artifact, region, names. */
struct endpoint_set {
    uint32_t refs;
    uint16_t count;
    uint8_t form;
    uint8_t zero;
};
struct packed4 {
    uint8_t ip[4];
    uint16_t port, weight;
};
struct any_head {
    uint32_t text;             /* bytes of it */
    uint16_t artifact, region; /* lengths */
};
struct packed_any {
    uint8_t ip[16];
    uint32_t name; /* offset in the text */
    uint16_t name_len, port, weight;
    uint8_t kind, zero;
};

#define HASHED_FROM offsetof(struct endpoint_set, count)

static size_t set_size(const struct endpoint_set *s)
{
    if (s->form == FORM_IP4)
        return sizeof(*s) + s->count * sizeof(struct packed4);
    const struct any_head *h = (const void *)(s + 1);
    return sizeof(*s) + sizeof(*h) + s->count * sizeof(struct packed_any) + h->text;
}

static const struct packed_any *any_at(const struct endpoint_set *s, uint32_t i)
{
    const struct any_head *h = (const void *)(s + 1);
    return (const struct packed_any *)(const void *)(h + 1) + i;
}

static const char *any_text(const struct endpoint_set *s)
{
    return (const char *)any_at(s, s->count);
}

uint32_t endpoint_set_count(const struct endpoint_set *s)
{
    return s->count;
}

void endpoint_set_at(const struct endpoint_set *s, uint32_t i, struct endpoint *ret)
{
    struct endpoint e = {0};
    if (s->form == FORM_IP4) {
        const struct packed4 *p = (const struct packed4 *)(const void *)(s + 1) + i;
        e.addr.kind = ADDR_IP4;
        memcpy(e.addr.ip, p->ip, 4);
        e.addr.port = p->port;
        e.weight = p->weight;
    } else {
        const struct packed_any *p = any_at(s, i);
        e.addr.kind = p->kind;
        memcpy(e.addr.ip, p->ip, sizeof(p->ip));
        e.addr.port = p->port;
        e.addr.name = str_of(any_text(s) + p->name, p->name_len);
        e.weight = p->weight;
    }
    *ret = e;
}

uint32_t endpoint_set_weight(const struct endpoint_set *s)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        struct endpoint e;
        endpoint_set_at(s, i, &e);
        sum += e.weight;
    }
    return sum;
}

struct str endpoint_set_artifact(const struct endpoint_set *s)
{
    const struct any_head *h = (const void *)(s + 1);
    return s->form == FORM_IP4 ? str_of(NULL, 0) : str_of(any_text(s), h->artifact);
}

struct str endpoint_set_region(const struct endpoint_set *s)
{
    const struct any_head *h = (const void *)(s + 1);
    return s->form == FORM_IP4 ? str_of(NULL, 0) : str_of(any_text(s) + h->artifact, h->region);
}

/* ---- packing ---- */

/* The size of the packed form, 0 when a limit is passed. */
static size_t plan(const struct endpoint *list, uint32_t n, struct str artifact, struct str region,
    struct endpoint_set *head, struct any_head *any)
{
    if (n == 0 || n > ENDPOINTS_MAX || artifact.n > ENDPOINTS_TEXT || region.n > ENDPOINTS_TEXT)
        return 0;
    bool ip4 = artifact.n == 0 && region.n == 0;
    size_t text = artifact.n + region.n;
    for (uint32_t i = 0; i < n; i++) {
        if (list[i].addr.name.n > ENDPOINTS_TEXT || list[i].weight > UINT16_MAX)
            return 0;
        ip4 = ip4 && list[i].addr.kind == ADDR_IP4;
        text += list[i].addr.name.n;
    }
    *head =
        (struct endpoint_set){.refs = 1, .count = (uint16_t)n, .form = ip4 ? FORM_IP4 : FORM_ANY};
    *any = (struct any_head){(uint32_t)text, (uint16_t)artifact.n, (uint16_t)region.n};
    return ip4 ? sizeof(*head) + n * sizeof(struct packed4)
               : sizeof(*head) + sizeof(*any) + n * sizeof(struct packed_any) + text;
}

static char *put_text(char *p, struct str s)
{
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

static void pack(char *out, const struct endpoint_set *head, const struct any_head *any,
    const struct endpoint *list, struct str artifact, struct str region)
{
    memcpy(out, head, sizeof(*head));
    out += sizeof(*head);
    if (head->form == FORM_IP4) {
        for (uint32_t i = 0; i < head->count; i++) {
            struct packed4 p = {.port = list[i].addr.port, .weight = (uint16_t)list[i].weight};
            memcpy(p.ip, list[i].addr.ip, 4);
            memcpy(out + i * sizeof(p), &p, sizeof(p));
        }
        return;
    }
    memcpy(out, any, sizeof(*any));
    out += sizeof(*any);
    char *text = out + head->count * sizeof(struct packed_any);
    char *t = put_text(put_text(text, artifact), region);
    for (uint32_t i = 0; i < head->count; i++) {
        const struct addr *a = &list[i].addr;
        struct packed_any p = {.name = (uint32_t)(t - text),
            .name_len = (uint16_t)a->name.n,
            .port = a->port,
            .weight = (uint16_t)list[i].weight,
            .kind = a->kind};
        memcpy(p.ip, a->ip, sizeof(p.ip));
        memcpy(out + i * sizeof(p), &p, sizeof(p));
        t = put_text(t, a->name);
    }
}

/* ---- interning ---- */

static uint64_t hash_of(const void *set, size_t size)
{
    return XXH3_64bits((const char *)set + HASHED_FROM, size - HASHED_FROM);
}

/* An entry of the table: the handle, and above it two bits of the hash, which spare three of four
 * looks at a set that is another one. 0: free. */
#define ENTRY_HANDLE ((1u << 30) - 1)

static uint32_t entry_make(uint32_t handle, uint64_t hash)
{
    return handle | (uint32_t)(hash >> 62) << 30;
}

static uint64_t hash_at(const struct endpoints *s, uint32_t handle)
{
    const struct endpoint_set *set = endpoints_at(s, handle);
    return hash_of(set, set_size(set));
}

int endpoints_reserve(struct endpoints *s, size_t more)
{
    size_t want = s->count + more, size = s->size ? s->size : 64;
    if (want > UINT32_MAX / 4)
        return -ENOMEM;
    while (want > size / 5 * 4)
        size *= 2;
    if (size == s->size)
        return 0;
    uint32_t *table = mem_zalloc(size * sizeof(*table));
    if (!table)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->size; i++) {
        if (!s->table[i])
            continue;
        size_t at = hash_at(s, s->table[i] & ENTRY_HANDLE) & (size - 1);
        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = s->table[i];
    }
    mem_free(s->table);
    s->table = table;
    s->size = (uint32_t)size;
    return 0;
}

/* The place of an equal set, or the free place where it belongs. */
static uint32_t lookup(const struct endpoints *s, const char *packed, size_t size, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (s->size - 1);
    for (; s->table[at]; at = (at + 1) & (s->size - 1)) {
        uint32_t handle = s->table[at] & ENTRY_HANDLE;
        if (s->table[at] != entry_make(handle, hash))
            continue;
        const struct endpoint_set *set = endpoints_at(s, handle);
        if (set_size(set) == size &&
            memcmp((const char *)set + HASHED_FROM, packed + HASHED_FROM, size - HASHED_FROM) == 0)
            break;
    }
    return at;
}

int endpoints_intern(struct endpoints *s, const struct endpoint *list, uint32_t n,
    struct str artifact, struct str region, uint32_t *ret)
{
    struct endpoint_set head;
    struct any_head any;
    _Alignas(8) char small[256];
    size_t size = plan(list, n, artifact, region, &head, &any);
    if (size == 0)
        return -E2BIG;
    if (endpoints_reserve(s, 1) < 0)
        return -ENOMEM;
    char *packed = size <= sizeof(small) ? small : mem_alloc(size);
    if (!packed)
        return -ENOMEM;
    pack(packed, &head, &any, list, artifact, region);
    uint64_t hash = hash_of(packed, size);
    uint32_t at = lookup(s, packed, size, hash), handle = s->table[at] & ENTRY_HANDLE;
    int r = 0;
    if (handle) {
        endpoints_hold(s, handle);
    } else {
        void *block = slab_alloc(&s->slab, size, &handle);
        if (block) {
            memcpy(block, packed, size);
            s->table[at] = entry_make(handle, hash);
            s->count++;
        } else {
            r = -ENOMEM;
        }
    }
    if (packed != small)
        mem_free(packed);
    if (r == 0)
        *ret = handle;
    return r;
}

void endpoints_hold(struct endpoints *s, uint32_t handle)
{
    struct endpoint_set *set = slab_at(&s->slab, handle);
    set->refs++;
}

/* Removal from linear probing: later entries of the run move up into the gap where they may. */
static void table_remove(struct endpoints *s, uint32_t handle)
{
    uint32_t mask = s->size - 1, gap = (uint32_t)hash_at(s, handle) & mask;
    while ((s->table[gap] & ENTRY_HANDLE) != handle)
        gap = (gap + 1) & mask;
    for (uint32_t i = (gap + 1) & mask; s->table[i]; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)hash_at(s, s->table[i] & ENTRY_HANDLE) & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            s->table[gap] = s->table[i];
            gap = i;
        }
    }
    s->table[gap] = 0;
    s->count--;
}

void endpoints_drop(struct endpoints *s, uint32_t handle)
{
    struct endpoint_set *set = slab_at(&s->slab, handle);
    if (--set->refs > 0)
        return;
    table_remove(s, handle);
    slab_free_block(&s->slab, set, set_size(set), handle);
}

void endpoints_release(struct endpoints *s)
{
    slab_release(&s->slab);
    mem_free(s->table);
    *s = (struct endpoints){0};
}

size_t endpoints_bytes(const struct endpoints *s)
{
    return s->slab.bytes + (size_t)s->size * sizeof(*s->table);
}
