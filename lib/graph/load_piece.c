#include "lib/base/mem.h"
#include "lib/graph/loader.h"
#include <errno.h>

#define SCRATCH_MIN 65536u
#define MOVE_MAX    65536u /* larger documents keep the memory they were decoded in */

void piece_release(struct loader *l, struct piece *p)
{
    if (p->doc)
        l->block_bytes -= p->doc->size;
    mem_free(p->doc);
    p->doc = NULL;
}

/* ---- places -------------------------------------------------------------------------------- */

static void set_fingerprint(const struct source *src, const struct piece *p)
{
    if (p->doc->kind != DOCUMENT_ENVIRONMENT)
        return;
    const uint64_t parts[4] = {p->hash.low64, src->name_hash, p->placed_line, p->placed_file};
    p->doc->env.fingerprint = XXH3_64bits(parts, sizeof(parts));
}

void piece_place(const struct source *src, uint32_t file, struct piece *p)
{
    if (!p->doc || (p->placed_line == p->line && p->placed_file == file))
        return;
    struct move mv = {.lines = p->line - p->placed_line, .file = file};
    mv.from = mv.to = (uintptr_t)p->doc;
    document_move(p->doc, &mv);
    p->placed_line = p->line;
    p->placed_file = file;
    set_fingerprint(src, p);
}

/* ---- one document -------------------------------------------------------------------------- */

/* Replaces the scratch memory; nothing in it is needed any more. */
static int grow_scratch(struct arena *scratch, size_t size)
{
    mem_free(scratch->p);
    scratch->size = 0;
    scratch->p = mem_alloc(size);
    if (!scratch->p)
        return -ENOMEM;
    scratch->size = size;
    return 0;
}

static size_t budget_left(const struct loader *l)
{
    size_t used = l->block_bytes + names_bytes(l->names);
    return used < l->budget ? l->budget - used : 0;
}

/* Decodes the tree into the scratch memory, enlarging that until it fits. NULL with 0: there is no
 * room within the budget. */
static int decode_into_scratch(
    struct loader *l, uint32_t file, struct findings *found, struct document **ret)
{
    struct arena *a = &l->scratch;
    size_t limit = found->limit;
    for (size_t size = a->size ? a->size : SCRATCH_MIN;; size *= 4) {
        size_t left = budget_left(l);
        bool last = size >= left;
        if (a->size < size && grow_scratch(a, last && left > SCRATCH_MIN ? left : size) < 0)
            return -ENOMEM;
        a->n = 0;
        a->full = false;
        struct decode d = {.tree = &l->tree, .arena = a, .found = found, .file = file};
        *ret = decode_document(&d);
        if (*ret && a->n > left)
            *ret = NULL;
        if (*ret || (last && a->size >= left))
            return 0;
        findings_release(found);
        found->limit = limit;
    }
}

/* Of a document whose kind cannot be read only the name counts. */
static struct document *keep_name(const struct document *from)
{
    size_t head = offsetof(struct document, service), n = from->name.s.p ? from->name.s.n + 1 : 0;
    struct document *doc = mem_alloc(head + n);
    if (!doc)
        return NULL;
    memcpy(doc, from, head);
    doc->size = head + n;
    if (n)
        doc->name.s.p = memcpy((char *)doc + head, from->name.s.p, n);
    return doc;
}

/* Gives the document that lies in the scratch memory a block of its own. */
static struct document *keep(struct arena *a, uint32_t file)
{
    struct move mv = {.from = (uintptr_t)a->p, .file = file};
    struct document *doc = (struct document *)(void *)a->p;
    if (doc->kind == DOCUMENT_UNKNOWN)
        return keep_name(doc);
    if (a->n > MOVE_MAX) {
        doc = mem_realloc(a->p, a->n);
        if (!doc)
            return NULL;
        size_t size = a->n;
        *a = (struct arena){0};
        doc->size = size;
    } else {
        doc = mem_alloc(a->n);
        if (!doc)
            return NULL;
        memcpy(doc, a->p, a->n);
        doc->size = a->n;
    }
    mv.to = (uintptr_t)doc;
    document_move(doc, &mv);
    return doc;
}

static int link_name(void *arg, struct mtext *name)
{
    name->id = names_add(arg, name->s);
    return name->id == NAME_NONE ? -ENOMEM : 0;
}

static void refuse(struct piece *p, uint32_t file, struct findings *found)
{
    struct place at = {file, p->line, 1};
    findings_add(found, F_SYNTAX, at, NULL,
        "more memory is needed than for a graph of this size; use fewer and longer names");
}

static int parse(
    struct loader *l, uint32_t file, struct piece *p, struct str bytes, struct findings *found)
{
    struct place at = {file, p->line, 1};
    struct document *doc;
    int r = tree_parse(&l->tree, bytes, at, found);
    if (r < 0 || !l->tree.n)
        return r == -EINVAL ? 0 : r;
    r = decode_into_scratch(l, file, found, &doc);
    if (r < 0)
        return r;
    if (!doc) {
        refuse(p, file, found);
        return 0;
    }
    doc = keep(&l->scratch, file);
    if (!doc)
        return -ENOMEM;
    p->doc = doc;
    l->block_bytes += doc->size;
    return document_each_name(doc, link_name, l->names);
}

int piece_parse(struct loader *l, const struct source *src, uint32_t file, struct piece *p,
    struct str bytes, struct findings *findings)
{
    struct findings found;
    findings_init(&found);
    found.limit = findings->limit > findings->n ? findings->limit - findings->n : 0;
    p->placed_line = p->line;
    p->placed_file = file;
    int r = parse(l, file, p, bytes, &found);
    if (p->doc)
        set_fingerprint(src, p);
    p->faulty = found.errors > 0;
    if (p->faulty)
        findings_move(findings, &found);
    findings_release(&found);
    tree_shrink(&l->tree);
    return r;
}
