/* One environment: a head that resolve reads for every environment of a lineage, and a record that
 * it reads only where the head says that there may be a statement, or that it may be expired.
 *
 * Heads lie side by side in pages, by environment number: half a cache line each, so that a walk
 * costs one line an environment and all of them can be on their way at the same time. What a head
 * says follows from the record.
 *
 * The record is a block of the slab, immutable once built: struct env_record, then as 32-bit words
 *   lineage[nlineage]        environment numbers, itself first
 *   services[nstatements]    sorted
 *   targets[nstatements]     kind << 30 | endpoint handle or environment number
 *   hash[8]                  SHA-256 of the canonical form
 *   changed[2]               epoch, low word first
 *   expires[2]               likewise; only with RECORD_EXPIRES
 *   parents[nparents]        only when there are several: a single one is lineage[1]
 *   priority                 pools only
 *   extras                   length of the text at the end, only with RECORD_EXTRAS
 * then lines, one, two or four bytes each, relative to the first line of the document:
 *   name, expires (only with RECORD_EXPIRES), statements
 * then extras: owner, subjects and labels in their canonical encoding.
 *
 * Records are named by their handle in the slab, counted and shared by snapshots; the thread that
 * builds counts. */
#ifndef OFFSHOOT_GRAPH_RECORD_H
#define OFFSHOOT_GRAPH_RECORD_H

#include "lib/graph/endpoints.h"
#include "lib/graph/slab.h"
#include "lib/graph/snapshot.h"

#define TARGET_BITS    30
#define TARGET_MASK    ((1u << TARGET_BITS) - 1)
#define HASH_SIZE      32
#define STATEMENTS_MAX (1u << 20)

enum record_flag {
    RECORD_STRICT = 1,
    RECORD_EXPIRES = 2,
    RECORD_EXTRAS = 4,
    RECORD_USES = 8,      /* has a `use` statement */
    RECORD_LINES_16 = 16, /* lines take two bytes */
    RECORD_LINES_32 = 32, /* lines take four bytes */
};

struct env_record {
    uint32_t refs;
    uint32_t nstatements;
    uint8_t nlineage, nparents;
    uint8_t kinds; /* enum mode | enum access_kind << 4 */
    uint8_t flags; /* enum record_flag */
};

#define HEAD_ANCESTORS 3u

enum head_flag {
    HEAD_LONG = 1,  /* more ancestors than fit: the lineage is in the record */
    HEAD_DENSE = 2, /* the statement about service n, if there is one, is at position n */
};

struct env_head {
    uint64_t filter; /* the bits of head_filter for each service that it states something about */
    /* Farthest first: what has a baseline has it in the first place. The rest holds the
     * environment itself, so that a walk has the same steps for every lineage. */
    uint32_t ancestors[HEAD_ANCESTORS];
    uint32_t deadline; /* before this second (as of 1970) it has not expired: see head_may_expire */
    uint32_t record;   /* handle; 0: there is no such environment */
    uint8_t nlineage;
    uint8_t mode;
    uint8_t flags;  /* enum head_flag */
    uint8_t access; /* enum access_kind */
};

static inline const struct env_record *record_at(const struct slab *slab, uint32_t handle)
{
    return slab_at(slab, handle);
}
static inline uint32_t *record_words(const struct env_record *r)
{
    return (uint32_t *)(void *)(uintptr_t)(r + 1);
}
static inline const uint32_t *record_lineage(const struct env_record *r)
{
    return record_words(r);
}
static inline const uint32_t *record_services(const struct env_record *r)
{
    return record_words(r) + r->nlineage;
}
static inline const uint32_t *record_targets(const struct env_record *r)
{
    return record_services(r) + r->nstatements;
}
static inline const unsigned char *record_hash(const struct env_record *r)
{
    return (const unsigned char *)(record_targets(r) + r->nstatements);
}
static inline uint64_t record_changed(const struct env_record *r)
{
    const uint32_t *w = record_targets(r) + r->nstatements + HASH_SIZE / 4;
    return (uint64_t)w[1] << 32 | w[0];
}
/* Four bits a service: with 8 statements one service of 40 is looked for in vain. */
static inline uint64_t head_filter(uint32_t service)
{
    uint32_t mixed = service * 0x9e3779b1u;
    return 1ull << (mixed >> 26) | 1ull << (mixed >> 20 & 63) | 1ull << (mixed >> 14 & 63) |
           1ull << (mixed >> 8 & 63);
}
/* False: it has not expired. True: the record tells. For any now, also before 1970. */
static inline bool head_may_expire(const struct env_head *h, int64_t now)
{
    return (uint64_t)now >= h->deadline;
}
static inline uint8_t record_mode(const struct env_record *r)
{
    return r->kinds & 15;
}
static inline uint8_t record_access(const struct env_record *r)
{
    return r->kinds >> 4;
}
static inline uint8_t target_kind(uint32_t target)
{
    return (uint8_t)(target >> TARGET_BITS);
}
static inline uint32_t target_make(enum statement_kind kind, uint32_t value)
{
    return (uint32_t)kind << TARGET_BITS | value;
}

int64_t record_expires(const struct env_record *r); /* INT64_MAX: never */
const uint32_t *record_parents(const struct env_record *r, uint32_t *ret_n);
int32_t record_priority(const struct env_record *r);
struct str record_extras(const struct env_record *r);
struct str record_owner(const struct env_record *r); /* of the extras */
/* Lines relative to the document's first; record_expires_line only with RECORD_EXPIRES. */
uint32_t record_name_line(const struct env_record *r);
uint32_t record_expires_line(const struct env_record *r);
uint32_t record_statement_line(const struct env_record *r, uint32_t i);
bool record_same_lines(const struct env_record *a, const struct env_record *b);
bool record_same_lineage(const struct env_record *a, const struct env_record *b);

/* Position of the statement about a service, or nstatements. Without a branch that depends on the
 * data but the first: a baseline that states everything has service n at position n. */
static inline uint32_t record_find(const struct env_record *r, uint32_t service)
{
    const uint32_t *s = record_services(r), *from = s;
    uint32_t n = r->nstatements;
    if (service < n && s[service] == service)
        return service;
    while (n > 1) {
        uint32_t half = n / 2;
        from += from[half] <= service ? half : 0;
        n -= half;
    }
    return n && *from == service ? (uint32_t)(from - s) : r->nstatements;
}

/* ---- what a record is made of ---- */

struct content_statement {
    uint32_t service, target;
    uint32_t line;
};

struct env_content {
    uint8_t mode, access;
    bool strict, has_expires;
    int64_t expires;
    int32_t priority;
    uint32_t name_line, expires_line; /* relative */
    const uint32_t *parents;
    uint32_t nparents;
    struct content_statement *statements; /* sorted by service; each PROVIDES owns a reference */
    uint32_t nstatements;
    struct str extras;
};

/* Returns new with one reference, which takes over the statements' references; its hash is still
 * zero. NULL when memory (or handles) is out: the references stay with the content. */
struct env_record *record_new(struct slab *slab, const struct env_content *c,
    const uint32_t *lineage, uint32_t nlineage, uint64_t changed, uint32_t *ret_handle);
void record_ref(struct slab *slab, uint32_t handle);
void record_unref(struct slab *slab, struct endpoints *sets, uint32_t handle);
size_t record_size(const struct env_record *r); /* of the block, bytes */
/* The head of a record. */
struct env_head head_of(const struct env_record *r, uint32_t handle);
void record_set_hash(struct env_record *r, const unsigned char *hash);
void record_set_changed(struct env_record *r, uint64_t changed);
/* The content of a record, for a new one of another lineage: copies into statements (room for
 * nstatements) and takes references. */
void record_content(const struct env_record *r, struct endpoints *sets,
    struct content_statement *statements, struct env_content *ret);
/* Gives back the references that the statements own. */
void content_drop(struct env_content *c, struct endpoints *sets);

#endif
