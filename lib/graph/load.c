#include "lib/graph/load.h"
#include "lib/base/mem.h"
#include "lib/graph/loader.h"
#include <errno.h>

/* Documents and names take up to so much; the tree of the largest document and the check have the
 * rest of 20 times the input and 32 MiB. */
#define BUDGET_FACTOR 12u
#define BUDGET_FREE   (8u << 20)
#define NAMES_SPARE   100000u /* names that are gone, before they are forgotten */
#define SCRATCH_KEEP  (256u << 10)

/* ---- the loader ---------------------------------------------------------------------------- */

struct loader *loader_new(const struct load_limits *limits)
{
    static const struct load_limits defaults = LOAD_LIMITS_DEFAULT;
    struct loader *l = mem_zalloc(sizeof(*l));
    if (!l)
        return NULL;
    l->limits = limits ? *limits : defaults;
    l->names = names_new();
    if (l->names && tree_init(&l->tree, l->limits.nesting) == 0)
        return l;
    loader_free(l);
    return NULL;
}

static void source_release(struct loader *l, struct source *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        piece_release(l, &s->pieces[i]);
    mem_free(s->pieces);
    mem_free(s->name);
    *s = (struct source){0};
}

static void release_sources(struct loader *l, struct source *sources, size_t n)
{
    for (size_t i = 0; i < n; i++)
        source_release(l, &sources[i]);
    mem_free(sources);
}

static void drop_sources(struct loader *l)
{
    loader_drop_model(l);
    release_sources(l, l->sources, l->nsources);
    mem_free(l->files);
    l->sources = NULL;
    l->files = NULL;
    l->nsources = 0;
}

void loader_free(struct loader *l)
{
    if (!l)
        return;
    drop_sources(l);
    names_free(l->names);
    tree_release(&l->tree);
    mem_free(l->scratch.p);
    mem_free(l);
}

/* ---- pieces of a file that may have been there before --------------------------------------- */

struct kept {
    struct source *old; /* NULL: a new file */
    uint32_t next;      /* most often the piece that follows the last one found */
    uint32_t *slots;    /* by hash: position + 1; NULL until it is needed */
    uint32_t mask;
};

static bool same_hash(const struct piece *a, const struct piece *b)
{
    return a->hash.low64 == b->hash.low64 && a->hash.high64 == b->hash.high64 && a->n == b->n;
}

static bool may_take(const struct piece *old, const struct piece *p)
{
    return old->n && !old->faulty && same_hash(old, p);
}

static int index_kept(struct kept *k)
{
    uint32_t size = 64;
    while (size / 2 < k->old->n)
        size *= 2;
    k->slots = mem_zalloc(size * sizeof(*k->slots));
    if (!k->slots)
        return -ENOMEM;
    k->mask = size - 1;
    for (uint32_t i = k->next; i < k->old->n; i++) {
        uint32_t at = (uint32_t)k->old->pieces[i].hash.low64 & k->mask;
        while (k->slots[at])
            at = (at + 1) & k->mask;
        k->slots[at] = i + 1;
    }
    return 0;
}

/* Finds the piece among those of the last load. Equal pieces are rare (a copy is a duplicate), so
 * that a run of slots stays short. */
static int find_kept(struct kept *k, const struct piece *p, struct piece **ret)
{
    *ret = NULL;
    if (!k->old)
        return 0;
    if (k->next < k->old->n && may_take(&k->old->pieces[k->next], p)) {
        *ret = &k->old->pieces[k->next++];
        return 0;
    }
    if (!k->slots && index_kept(k) < 0)
        return -ENOMEM;
    for (uint32_t at = (uint32_t)p->hash.low64 & k->mask; k->slots[at]; at = (at + 1) & k->mask) {
        uint32_t i = k->slots[at] - 1;
        if (may_take(&k->old->pieces[i], p)) {
            *ret = &k->old->pieces[i];
            k->next = i + 1;
            return 0;
        }
    }
    return 0;
}

static struct piece *add_piece(struct source *s)
{
    if (s->n == s->size) {
        uint32_t size = s->size ? s->size + s->size / 2 : 4;
        struct piece *pieces = mem_realloc(s->pieces, size * sizeof(*pieces));
        if (!pieces)
            return NULL;
        s->pieces = pieces;
        s->size = size;
    }
    struct piece *p = &s->pieces[s->n++];
    *p = (struct piece){0};
    return p;
}

/* Gives back what the array grew too large; when that fails it stays. */
static void trim_pieces(struct source *s)
{
    struct piece *pieces = s->n ? mem_realloc(s->pieces, s->n * sizeof(*pieces)) : NULL;
    if (!pieces)
        return;
    s->pieces = pieces;
    s->size = s->n;
}

static bool within_documents(struct loader *l, struct place at, struct findings *findings)
{
    if (l->documents++ < l->limits.documents)
        return true;
    findings_add(findings, F_SYNTAX, at, NULL,
        "more than %u documents together; what follows was not read", l->limits.documents);
    l->stopped = true;
    return false;
}

/* Takes the document from the last load, or marks the piece for parsing. */
static int match_piece(struct source *s, uint32_t file, struct kept *kept, struct piece *p)
{
    struct piece *old;
    if (find_kept(kept, p, &old) < 0)
        return -ENOMEM;
    p->unread = !old;
    if (!old)
        return 0;
    p->doc = old->doc;
    p->placed_line = old->placed_line;
    p->placed_file = old->placed_file;
    *old = (struct piece){0};
    piece_place(s, file, p);
    return 0;
}

static int cut_bytes(struct loader *l, struct source *s, uint32_t file, struct source *old,
    struct str bytes, struct findings *findings)
{
    struct kept kept = {.old = old};
    struct cut cut;
    struct str part;
    uint32_t line;
    int r = 0;

    cut_init(&cut, bytes);
    while (r == 0 && cut_next(&cut, &part, &line)) {
        if (!within_documents(l, (struct place){file, line, 1}, findings))
            break;
        struct piece *p = add_piece(s);
        if (!p) {
            r = -ENOMEM;
            break;
        }
        p->at = (uint32_t)(part.p - bytes.p);
        p->n = (uint32_t)part.n;
        p->line = line;
        p->hash = XXH3_128bits(part.p, part.n);
        r = match_piece(s, file, &kept, p);
    }
    mem_free(kept.slots);
    trim_pieces(s);
    return r;
}

/* A file that did not change since the last load. */
static void keep_pieces(struct loader *l, struct source *s, uint32_t file, struct source *old)
{
    s->pieces = old->pieces;
    s->n = old->n;
    s->size = old->size;
    old->pieces = NULL;
    old->n = old->size = 0;
    l->documents += s->n;
    for (uint32_t i = 0; i < s->n; i++) {
        struct piece *p = &s->pieces[i];
        p->unread = p->faulty;
        if (p->faulty)
            piece_release(l, p);
        else
            piece_place(s, file, p);
    }
}

/* ---- files --------------------------------------------------------------------------------- */

/* Pieces of one file, with the documents that are known from the last load. */
static int match_source(struct loader *l, struct source *s, uint32_t file,
    const struct load_source *from, struct source *old, struct findings *findings)
{
    size_t n = strlen(from->name);
    s->name = mem_dup(from->name, n);
    if (!s->name)
        return -ENOMEM;
    s->name_hash = XXH3_64bits(s->name, n);
    s->bytes = from->bytes.n;
    if (from->error_text) {
        findings_add(findings, F_SYNTAX, (struct place){file, 1, 1}, NULL, "%s", from->error_text);
        return 0;
    }
    bool same = old && from->generation && old->generation == from->generation &&
                old->bytes == s->bytes && l->limits.documents - l->documents >= old->n;
    if (same) {
        s->generation = from->generation;
        keep_pieces(l, s, file, old);
        return 0;
    }
    if (l->stopped)
        return 0;
    int r = cut_bytes(l, s, file, old, from->bytes, findings);
    s->generation = l->stopped ? 0 : from->generation;
    return r;
}

/* Old sources by name. */
static int index_sources(const struct loader *l, uint32_t **ret, uint32_t *ret_mask)
{
    uint32_t size = 16;
    while (size / 2 < l->nsources)
        size *= 2;
    uint32_t *slots = mem_zalloc(size * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < l->nsources; i++) {
        uint32_t at = (uint32_t)l->sources[i].name_hash & (size - 1);
        while (slots[at])
            at = (at + 1) & (size - 1);
        slots[at] = i + 1;
    }
    *ret = slots;
    *ret_mask = size - 1;
    return 0;
}

static struct source *take_source(
    struct loader *l, const uint32_t *slots, uint32_t mask, const char *name)
{
    uint64_t hash = XXH3_64bits(name, strlen(name));
    for (uint32_t at = (uint32_t)hash & mask; slots[at]; at = (at + 1) & mask) {
        struct source *s = &l->sources[slots[at] - 1];
        if (!s->taken && s->name_hash == hash && strcmp(s->name, name) == 0) {
            s->taken = true;
            return s;
        }
    }
    return NULL;
}

static int match_sources(struct loader *l, struct source *fresh, const struct load_source *from,
    size_t n, struct findings *findings)
{
    uint32_t *slots, mask;
    int r = index_sources(l, &slots, &mask);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r == 0; i++) {
        struct source *old = take_source(l, slots, mask, from[i].name);
        r = match_source(l, &fresh[i], (uint32_t)i, &from[i], old, findings);
    }
    mem_free(slots);
    return r;
}

static int parse_pieces(struct loader *l, const struct load_source *from, struct findings *findings)
{
    for (size_t i = 0; i < l->nsources; i++) {
        struct source *s = &l->sources[i];
        for (uint32_t j = 0; j < s->n; j++) {
            struct piece *p = &s->pieces[j];
            if (!p->unread)
                continue;
            p->unread = false;
            struct str bytes = str_of(from[i].bytes.p + p->at, p->n);
            if (piece_parse(l, s, (uint32_t)i, p, bytes, findings) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

/* The names of files, and one for findings that belong to none. */
static int name_files(struct loader *l)
{
    l->files = mem_array(l->nsources + 1, sizeof(*l->files));
    if (!l->files)
        return -ENOMEM;
    for (size_t i = 0; i < l->nsources; i++)
        l->files[i] = l->sources[i].name;
    l->files[l->nsources] = "(no file)";
    return 0;
}

/* Names are never taken out of their table; when most of it is old ones everything starts anew. */
static int forget_names(struct loader *l)
{
    if (names_count(l->names) / 2 < l->names_base + NAMES_SPARE / 2)
        return 0;
    struct names *names = names_new();
    if (!names)
        return -ENOMEM;
    drop_sources(l);
    names_free(l->names);
    l->names = names;
    return 0;
}

static int load_all(
    struct loader *l, const struct load_source *from, size_t n, struct findings *findings)
{
    loader_drop_model(l);
    if (forget_names(l) < 0)
        return -ENOMEM;
    bool anew = !l->nsources;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += from[i].bytes.n;
    l->budget = BUDGET_FREE + BUDGET_FACTOR * bytes;
    l->documents = 0;
    l->stopped = false;

    struct source *fresh = mem_zalloc(n * sizeof(*fresh));
    if (!fresh)
        return -ENOMEM;
    int r = match_sources(l, fresh, from, n, findings);
    drop_sources(l); /* before anything is parsed: memory is never held twice */
    l->sources = fresh;
    l->nsources = n;
    if (r == 0)
        r = name_files(l);
    if (r == 0)
        r = parse_pieces(l, from, findings);
    if (r == 0)
        r = loader_assemble(l, findings);
    if (anew)
        l->names_base = names_count(l->names);
    return r;
}

int loader_load(struct loader *l, const struct load_source *sources, size_t n,
    struct findings *findings, const struct model **ret)
{
    int r = load_all(l, sources, n, findings);
    if (l->scratch.size > SCRATCH_KEEP) {
        mem_free(l->scratch.p);
        l->scratch = (struct arena){0};
    }
    if (r < 0) {
        drop_sources(l);
        return r;
    }
    *ret = &l->model;
    return 0;
}
