#include "lib/graph/record.h"

/* Words between the targets and the lines: each part behind the one before. */
static const uint32_t *after_changed(const struct env_record *r)
{
    return record_targets(r) + r->nstatements + HASH_SIZE / 4 + 2;
}
static const uint32_t *parents_at(const struct env_record *r)
{
    return after_changed(r) + (r->flags & RECORD_EXPIRES ? 2 : 0);
}
static const uint32_t *priority_at(const struct env_record *r)
{
    return parents_at(r) + (r->nparents > 1 ? r->nparents : 0);
}
static const uint32_t *extras_at(const struct env_record *r)
{
    return priority_at(r) + (record_mode(r) == MODE_SHARED);
}
static const void *lines_at(const struct env_record *r)
{
    return extras_at(r) + ((r->flags & RECORD_EXTRAS) != 0);
}
static uint32_t nlines(const struct env_record *r)
{
    return 1 + ((r->flags & RECORD_EXPIRES) != 0) + r->nstatements;
}
static size_t line_size(const struct env_record *r)
{
    return r->flags & RECORD_LINES_32 ? 4 : r->flags & RECORD_LINES_16 ? 2 : 1;
}
static size_t lines_size(const struct env_record *r)
{
    return nlines(r) * line_size(r);
}

int64_t record_expires(const struct env_record *r)
{
    const uint32_t *w = after_changed(r);
    return r->flags & RECORD_EXPIRES ? (int64_t)((uint64_t)w[1] << 32 | w[0]) : INT64_MAX;
}

const uint32_t *record_parents(const struct env_record *r, uint32_t *ret_n)
{
    *ret_n = r->nparents;
    return r->nparents > 1 ? parents_at(r) : record_lineage(r) + 1;
}

int32_t record_priority(const struct env_record *r)
{
    return record_mode(r) == MODE_SHARED ? (int32_t)*priority_at(r) : 0;
}

struct str record_extras(const struct env_record *r)
{
    if (!(r->flags & RECORD_EXTRAS))
        return str_of(NULL, 0);
    return str_of((const char *)lines_at(r) + lines_size(r), *extras_at(r));
}

size_t record_size(const struct env_record *r)
{
    return (size_t)((const char *)lines_at(r) - (const char *)r) + lines_size(r) +
           record_extras(r).n;
}

static uint32_t line_at(const struct env_record *r, uint32_t i)
{
    const void *lines = lines_at(r);
    switch (line_size(r)) {
    case 1:
        return ((const uint8_t *)lines)[i];
    case 2:
        return ((const uint16_t *)lines)[i];
    default:
        return ((const uint32_t *)lines)[i];
    }
}

uint32_t record_name_line(const struct env_record *r)
{
    return line_at(r, 0);
}
uint32_t record_expires_line(const struct env_record *r)
{
    return line_at(r, 1);
}
uint32_t record_statement_line(const struct env_record *r, uint32_t i)
{
    return line_at(r, 1 + ((r->flags & RECORD_EXPIRES) != 0) + i);
}

bool record_same_lines(const struct env_record *a, const struct env_record *b)
{
    if (nlines(a) != nlines(b))
        return false;
    for (uint32_t i = 0; i < nlines(a); i++)
        if (line_at(a, i) != line_at(b, i))
            return false;
    return true;
}

bool record_same_lineage(const struct env_record *a, const struct env_record *b)
{
    return a->nlineage == b->nlineage &&
           memcmp(record_lineage(a), record_lineage(b), a->nlineage * sizeof(uint32_t)) == 0;
}

/* ---- building ---- */

static uint8_t flags_of(const struct env_content *c)
{
    uint32_t widest = c->name_line;
    uint8_t flags =
        (uint8_t)((c->strict ? RECORD_STRICT : 0) | (c->has_expires ? RECORD_EXPIRES : 0) |
                  (c->extras.n ? RECORD_EXTRAS : 0));
    if (c->has_expires && c->expires_line > widest)
        widest = c->expires_line;
    for (uint32_t i = 0; i < c->nstatements; i++) {
        if (c->statements[i].line > widest)
            widest = c->statements[i].line;
        if (target_kind(c->statements[i].target) == STATEMENT_USE)
            flags |= RECORD_USES;
    }
    if (widest > UINT8_MAX)
        flags |= widest > UINT16_MAX ? RECORD_LINES_32 : RECORD_LINES_16;
    return flags;
}

static void *put_line(void *at, size_t size, uint32_t line)
{
    if (size == 4)
        *(uint32_t *)at = line;
    else if (size == 2)
        *(uint16_t *)at = (uint16_t)line;
    else
        *(uint8_t *)at = (uint8_t)line;
    return (char *)at + size;
}

static void put_lines_and_extras(struct env_record *r, const struct env_content *c, void *at)
{
    size_t size = line_size(r);
    at = put_line(at, size, c->name_line);
    if (c->has_expires)
        at = put_line(at, size, c->expires_line);
    for (uint32_t i = 0; i < c->nstatements; i++)
        at = put_line(at, size, c->statements[i].line);
    if (c->extras.n)
        memcpy(at, c->extras.p, c->extras.n);
}

static uint32_t *put_u64(uint32_t *w, uint64_t v)
{
    w[0] = (uint32_t)v;
    w[1] = (uint32_t)(v >> 32);
    return w + 2;
}

struct env_record *record_new(struct slab *slab, const struct env_content *c,
    const uint32_t *lineage, uint32_t nlineage, uint64_t changed, uint32_t *ret_handle)
{
    struct env_record head = {.refs = 1,
        .nstatements = c->nstatements,
        .nlineage = (uint8_t)nlineage,
        .nparents = (uint8_t)c->nparents,
        .kinds = (uint8_t)(c->mode | c->access << 4),
        .flags = flags_of(c)};
    uint32_t several = c->nparents > 1 ? c->nparents : 0, pool = c->mode == MODE_SHARED;
    size_t words = nlineage + 2 * (size_t)c->nstatements + HASH_SIZE / 4 + 2 +
                   (c->has_expires ? 2 : 0) + several + pool + (c->extras.n != 0);
    size_t size = sizeof(head) + 4 * words + lines_size(&head) + c->extras.n;
    struct env_record *r = slab_alloc(slab, size, ret_handle);
    if (!r)
        return NULL;
    *r = head;
    uint32_t *w = record_words(r);
    memcpy(w, lineage, nlineage * sizeof(*w));
    w += nlineage;
    for (uint32_t i = 0; i < c->nstatements; i++) {
        w[i] = c->statements[i].service;
        w[c->nstatements + i] = c->statements[i].target;
    }
    w += 2 * (size_t)c->nstatements;
    memset(w, 0, HASH_SIZE);
    w = put_u64(w + HASH_SIZE / 4, changed);
    if (c->has_expires)
        w = put_u64(w, (uint64_t)c->expires);
    for (uint32_t i = 0; i < several; i++)
        *w++ = c->parents[i];
    if (pool)
        *w++ = (uint32_t)c->priority;
    if (c->extras.n)
        *w++ = (uint32_t)c->extras.n;
    put_lines_and_extras(r, c, w);
    return r;
}

void record_set_hash(struct env_record *r, const unsigned char *hash)
{
    memcpy(record_words(r) + r->nlineage + 2 * (size_t)r->nstatements, hash, HASH_SIZE);
}

void record_set_changed(struct env_record *r, uint64_t changed)
{
    uint32_t *w = record_words(r) + r->nlineage + 2 * (size_t)r->nstatements + HASH_SIZE / 4;
    put_u64(w, changed);
}

void record_ref(struct slab *slab, uint32_t handle)
{
    struct env_record *r = slab_at(slab, handle);
    r->refs++;
}

void record_unref(struct slab *slab, struct endpoints *sets, uint32_t handle)
{
    struct env_record *r = slab_at(slab, handle);
    if (--r->refs > 0)
        return;
    const uint32_t *targets = record_targets(r);
    for (uint32_t i = 0; i < r->nstatements; i++)
        if (target_kind(targets[i]) == STATEMENT_PROVIDES)
            endpoints_drop(sets, targets[i] & TARGET_MASK);
    slab_free_block(slab, r, record_size(r), handle);
}

void record_content(const struct env_record *r, struct endpoints *sets,
    struct content_statement *statements, struct env_content *ret)
{
    struct env_content c = {.mode = record_mode(r),
        .access = record_access(r),
        .strict = r->flags & RECORD_STRICT,
        .has_expires = r->flags & RECORD_EXPIRES,
        .expires = r->flags & RECORD_EXPIRES ? record_expires(r) : 0,
        .priority = record_priority(r),
        .name_line = record_name_line(r),
        .statements = statements,
        .nstatements = r->nstatements,
        .extras = record_extras(r)};
    c.parents = record_parents(r, &c.nparents);
    if (c.has_expires)
        c.expires_line = record_expires_line(r);
    for (uint32_t i = 0; i < r->nstatements; i++) {
        statements[i] = (struct content_statement){
            record_services(r)[i], record_targets(r)[i], record_statement_line(r, i)};
        if (target_kind(statements[i].target) == STATEMENT_PROVIDES)
            endpoints_hold(sets, statements[i].target & TARGET_MASK);
    }
    *ret = c;
}

void content_drop(struct env_content *c, struct endpoints *sets)
{
    for (uint32_t i = 0; i < c->nstatements; i++)
        if (target_kind(c->statements[i].target) == STATEMENT_PROVIDES)
            endpoints_drop(sets, c->statements[i].target & TARGET_MASK);
    c->nstatements = 0;
}

/* ---- heads ---- */

static uint64_t filter_of(const struct env_record *r)
{
    uint64_t filter = 0;
    for (uint32_t i = 0; i < r->nstatements; i++)
        filter |= head_filter(record_services(r)[i]);
    return filter;
}

/* Sorted, each once: when the last one is in its place, all are. */
static bool is_dense(const struct env_record *r)
{
    return r->nstatements && record_services(r)[r->nstatements - 1] == r->nstatements - 1;
}

/* What does not fit is moved to where the record is asked: to the end of time or to its start. */
static uint32_t deadline_of(int64_t expires)
{
    return expires < 0 ? 0 : expires > UINT32_MAX ? UINT32_MAX : (uint32_t)expires;
}

struct env_head head_of(const struct env_record *r, uint32_t handle)
{
    const uint32_t *lineage = record_lineage(r);
    bool is_long = r->nlineage > HEAD_ANCESTORS + 1;
    struct env_head h = {.filter = filter_of(r),
        .deadline = deadline_of(record_expires(r)),
        .record = handle,
        .nlineage = r->nlineage,
        .mode = record_mode(r),
        .access = record_access(r),
        .flags = (uint8_t)((is_long ? HEAD_LONG : 0) | (is_dense(r) ? HEAD_DENSE : 0))};
    for (uint32_t i = 0; i < HEAD_ANCESTORS; i++)
        h.ancestors[i] = lineage[!is_long && i + 1 < r->nlineage ? r->nlineage - 1 - i : 0];
    return h;
}
