#include "lib/graph/build.h"

#include "lib/base/mem.h"
#include "lib/graph/check.h"
#include "lib/graph/digest.h"
#include "lib/graph/lineage.h"
#include <errno.h>
#include <stdlib.h>

enum draft_state { DRAFT_NEW, DRAFT_OPEN, DRAFT_DONE };

int build_no_memory(struct build *b)
{
    return err_set(b->e, -ENOMEM, "out of memory");
}

int build_begin(struct build *b, const struct snapshot *base, uint64_t epoch, struct err *e)
{
    *b = (struct build){.base = base, .epoch = epoch, .e = e};
    b->chain = base ? base->chain : chain_new();
    if (!b->chain)
        return build_no_memory(b);
    if (base)
        b->chain->refs++;
    b->number = ++b->chain->build;
    intern_begin(&b->chain->envs);
    intern_begin(&b->chain->services);
    intern_begin(&b->chain->files);
    return 0;
}

void build_end(struct build *b)
{
    if (!b->chain)
        return;
    snapshot_unref(b->s);
    void (*settle)(struct intern *) = b->done ? intern_commit : intern_rollback;
    settle(&b->chain->envs);
    settle(&b->chain->services);
    settle(&b->chain->files);
    chain_unref(b->chain);
    env_reader_release(&b->reader);
    pb_release(&b->canonical);
    mem_free(b->drafts);
    mem_free(b->words);
    b->chain = NULL;
}

int build_open(struct build *b)
{
    const struct snapshot *base = b->base;
    uint32_t limit = b->chain->envs.limit;
    if (base && base->env_limit > limit)
        limit = base->env_limit;
    uint32_t npages = (limit + PAGE_SIZE_ENVS - 1) / PAGE_SIZE_ENVS;
    struct snapshot *s = mem_zalloc(sizeof(*s) + npages * sizeof(*s->pages));
    if (!s || pthread_mutex_init(&s->root_lock, NULL) != 0) {
        mem_free(s);
        return build_no_memory(b);
    }
    s->magic = SNAPSHOT_MAGIC;
    s->refs = 1;
    s->chain = b->chain;
    s->chain->refs++;
    s->epoch = b->epoch;
    s->env_limit = limit;
    s->npages = npages;
    if (base) {
        s->env_count = base->env_count;
        memcpy(s->pages, base->pages, base->npages * sizeof(*s->pages));
        for (uint32_t i = 0; i < base->npages; i++)
            if (s->pages[i])
                s->pages[i]->refs++;
    }
    b->s = s;
    return 0;
}

/* ---- pages ---- */

static void copy_page(struct build *b, struct page *to, const struct page *from)
{
    struct env_head *heads = page_heads(to);
    to->live = from->live;
    memcpy(heads, page_heads(from), PAGE_SIZE_ENVS * sizeof(*heads));
    memcpy(to->places, from->places, sizeof(to->places));
    memcpy(to->fingerprints, from->fingerprints, sizeof(to->fingerprints));
    for (uint32_t i = 0; i < PAGE_SIZE_ENVS; i++)
        if (heads[i].record)
            record_ref(&b->chain->records, heads[i].record);
}

/* The page of an environment, ours to write. NULL when memory is out. */
static struct page *own_page(struct build *b, uint32_t env)
{
    struct page **slot = &b->s->pages[env / PAGE_SIZE_ENVS], *p = *slot;
    if (p && p->build == b->number)
        return p;
    struct page *copy = p ? mem_alloc(sizeof(*copy)) : mem_zalloc(sizeof(*copy));
    if (!copy)
        return NULL;
    if (p) {
        copy_page(b, copy, p);
        page_unref(b->chain, p);
    }
    copy->refs = 1;
    copy->build = b->number;
    *slot = copy;
    return copy;
}

static void drop_record(struct build *b, uint32_t handle)
{
    if (handle)
        record_unref(&b->chain->records, &b->chain->sets, handle);
}

/* Takes the reference to the record (0: removes). */
static int put_record(struct build *b, uint32_t env, uint32_t handle)
{
    struct page *p = own_page(b, env);
    if (!p) {
        drop_record(b, handle);
        return build_no_memory(b);
    }
    struct env_head *slot = &page_heads(p)[env % PAGE_SIZE_ENVS];
    p->live += (handle != 0) - (slot->record != 0);
    b->s->env_count += (handle != 0) - (slot->record != 0);
    drop_record(b, slot->record);
    *slot = handle ? head_of(record_at(&b->chain->records, handle), handle) : (struct env_head){0};
    return 0;
}

int build_move_env(struct build *b, uint32_t env, struct place_base place, uint64_t fingerprint)
{
    const struct page *now = b->s->pages[env / PAGE_SIZE_ENVS];
    uint32_t at = env % PAGE_SIZE_ENVS;
    bool moved = now->places[at].file != place.file || now->places[at].line != place.line;
    if (!moved && now->fingerprints[at] == fingerprint)
        return 0;
    struct page *p = own_page(b, env);
    if (!p)
        return build_no_memory(b);
    b->places_moved |= moved;
    p->places[at] = place;
    p->fingerprints[at] = fingerprint;
    return 0;
}

int build_remove_env(struct build *b, uint32_t env)
{
    const struct env_record *r = snapshot_record(b->s, env);
    if (!r)
        return 0;
    b->pools_touched |= record_mode(r) == MODE_SHARED;
    b->changes.envs_removed++;
    return put_record(b, env, 0);
}

/* ---- drafts ---- */

static int add_words(struct build *b, const uint32_t *words, uint32_t n, uint32_t *ret_at)
{
    if (!b->words || b->words_size - b->nwords < n) {
        uint32_t size = b->words_size + b->words_size / 2 + n + 64;
        uint32_t *p = mem_realloc(b->words, size * sizeof(*p));
        if (!p)
            return build_no_memory(b);
        b->words = p;
        b->words_size = size;
    }
    if (n)
        memcpy(b->words + b->nwords, words, n * sizeof(*words));
    *ret_at = b->nwords;
    b->nwords += n;
    return 0;
}

static int add_draft(struct build *b, struct draft d, const uint32_t *parents)
{
    if (b->ndrafts == b->drafts_size) {
        uint32_t size = b->drafts_size + b->drafts_size / 2 + 8;
        struct draft *p = mem_realloc(b->drafts, size * sizeof(*p));
        if (!p)
            return build_no_memory(b);
        b->drafts = p;
        b->drafts_size = size;
    }
    int r = add_words(b, parents, d.nparents, &d.parents);
    if (r == 0)
        b->drafts[b->ndrafts++] = d;
    return r;
}

int build_env(struct build *b, struct draft d, const uint32_t *parents, uint32_t nparents)
{
    if (nparents >= LINEAGE_MAX)
        return err_set(b->e, -EINVAL, "too many parents of environment '%.*s'",
            STR_ARG(intern_text(b->chain->envs.view, d.number)));
    d.nparents = (uint8_t)nparents;
    return add_draft(b, d, parents);
}

static int by_number(const void *x, const void *y)
{
    const struct draft *a = x, *c = y;
    return (a->number > c->number) - (a->number < c->number);
}

static void sort_drafts(struct build *b)
{
    for (uint32_t i = 1; i < b->ndrafts; i++)
        if (b->drafts[i - 1].number > b->drafts[i].number) {
            qsort(b->drafts, b->ndrafts, sizeof(*b->drafts), by_number);
            return;
        }
}

/* Among the first n drafts, which are sorted. */
static struct draft *find_among(const struct build *b, uint32_t n, uint32_t env)
{
    uint32_t from = 0, to = n;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (b->drafts[mid].number < env)
            from = mid + 1;
        else
            to = mid;
    }
    return from < n && b->drafts[from].number == env ? &b->drafts[from] : NULL;
}

static struct draft *find_draft(const struct build *b, uint32_t env)
{
    return find_among(b, b->ndrafts, env);
}

static bool parents_differ(const struct build *b, const struct draft *d)
{
    const struct env_record *r = b->base ? snapshot_record(b->base, d->number) : NULL;
    uint32_t n;
    if (!r)
        return false; /* new: nobody in the base descends from it */
    const uint32_t *parents = record_parents(r, &n);
    return n != d->nparents || memcmp(parents, b->words + d->parents, n * sizeof(*parents)) != 0;
}

/* Is any of the environments with other parents (sorted) among the ancestors? */
static bool descends(const struct env_record *r, const uint32_t *moved, uint32_t nmoved)
{
    for (uint32_t i = 1; i < r->nlineage; i++) {
        uint32_t env = record_lineage(r)[i], from = 0, to = nmoved;
        while (from < to) {
            uint32_t mid = from + (to - from) / 2;
            if (moved[mid] < env)
                from = mid + 1;
            else
                to = mid;
        }
        if (from < nmoved && moved[from] == env)
            return true;
    }
    return false;
}

/* Adds drafts for those whose lineage changes because an ancestor has other parents. */
static int add_descendants(struct build *b, const uint32_t *moved, uint32_t nmoved)
{
    uint32_t sorted = b->ndrafts;
    for (uint32_t env = 0; env < b->base->env_limit; env++) {
        const struct env_record *r = snapshot_record(b->s, env);
        if (!r || !descends(r, moved, nmoved) || find_among(b, sorted, env))
            continue;
        uint32_t n;
        const uint32_t *parents = record_parents(r, &n);
        struct draft d = {.number = env, .nparents = (uint8_t)n, .from_base = true};
        int e = add_draft(b, d, parents);
        if (e < 0)
            return e;
    }
    sort_drafts(b);
    return 0;
}

static int draft_descendants(struct build *b)
{
    uint32_t nmoved = 0;
    for (uint32_t i = 0; i < b->ndrafts; i++)
        nmoved += parents_differ(b, &b->drafts[i]);
    if (!nmoved)
        return 0;
    uint32_t *moved = mem_array(nmoved, sizeof(*moved));
    if (!moved)
        return build_no_memory(b);
    nmoved = 0;
    for (uint32_t i = 0; i < b->ndrafts; i++)
        if (parents_differ(b, &b->drafts[i]))
            moved[nmoved++] = b->drafts[i].number;
    int r = add_descendants(b, moved, nmoved);
    mem_free(moved);
    return r;
}

/* ---- lineages ---- */

static int lineage_fault(struct build *b, uint32_t env, const char *what)
{
    return err_set(b->e, -EINVAL, "%s of environment '%.*s'", what,
        STR_ARG(intern_text(b->chain->envs.view, env)));
}

static int draft_lineage(struct build *b, struct draft *d, uint32_t depth);

/* The lineage of a parent, wherever it is: a draft's in words, else the base's. */
static int parent_lineage(struct build *b, const struct draft *child, uint32_t env, uint32_t depth)
{
    struct draft *d = find_draft(b, env);
    if (!d)
        return snapshot_record(b->s, env) ? 0 : lineage_fault(b, child->number, "missing parent");
    if (d->state == DRAFT_OPEN)
        return lineage_fault(b, env, "cycle of parents");
    return d->state == DRAFT_DONE ? 0 : draft_lineage(b, d, depth);
}

static struct lineage_seq lineage_of(const struct build *b, uint32_t env)
{
    const struct draft *d = find_draft(b, env);
    if (d)
        return (struct lineage_seq){b->words + d->lineage, d->nlineage};
    const struct env_record *r = snapshot_record(b->s, env);
    return (struct lineage_seq){record_lineage(r), r->nlineage};
}

/* Parents first. The depth is bounded by the longest lineage allowed. */
static int draft_lineage(struct build *b, struct draft *d, uint32_t depth)
{
    struct lineage_seq seqs[LINEAGE_MAX];
    uint32_t lineage[LINEAGE_MAX], parents[LINEAGE_MAX];
    if (depth >= LINEAGE_MAX)
        return lineage_fault(b, d->number, "too long a lineage");
    memcpy(parents, b->words + d->parents, d->nparents * sizeof(*parents));
    d->state = DRAFT_OPEN;
    for (uint32_t i = 0; i < d->nparents; i++) {
        int r = parent_lineage(b, d, parents[i], depth + 1);
        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < d->nparents; i++)
        seqs[i] = lineage_of(b, parents[i]);
    seqs[d->nparents] = (struct lineage_seq){parents, d->nparents};
    int n = lineage_merge(d->number, seqs, d->nparents + 1u, lineage, LINEAGE_MAX);
    if (n <= 0)
        return lineage_fault(b, d->number, n ? "too long a lineage" : "no order of the lineage");
    d->state = DRAFT_DONE;
    d->nlineage = (uint8_t)n;
    return add_words(b, lineage, (uint32_t)n, &d->lineage);
}

/* ---- records ---- */

static int set_hash(struct build *b, uint32_t env, struct env_record *r)
{
    struct env_names names = {b->chain->envs.view, b->chain->services.view, &b->chain->sets};
    unsigned char hash[HASH_SIZE];
    b->canonical.n = 0;
    env_write(&b->canonical, &names, env, r);
    if (b->canonical.failed || sha_of(b->chain->sha, b->canonical.p, b->canonical.n, hash) < 0)
        return build_no_memory(b);
    record_set_hash(r, hash);
    return 0;
}

static bool env_exists(const struct build *b, uint32_t env)
{
    return snapshot_record(b->s, env) || find_draft(b, env);
}

/* A service or an environment that is not there would make decisions about nothing. */
static int check_statement(struct build *b, uint32_t env, uint32_t service, uint32_t target)
{
    struct str name = intern_text(b->chain->envs.view, env);
    if (!snapshot_service_doc(b->s, service))
        return err_set(b->e, -EINVAL, "unknown service '%.*s' in environment '%.*s'",
            STR_ARG(intern_text(b->chain->services.view, service)), STR_ARG(name));
    uint32_t x = target & TARGET_MASK;
    if (target_kind(target) == STATEMENT_USE && !env_exists(b, x))
        return err_set(b->e, -EINVAL, "'use' of unknown environment '%.*s' in '%.*s'",
            STR_ARG(intern_text(b->chain->envs.view, x)), STR_ARG(name));
    return 0;
}

static int check_content(struct build *b, uint32_t env, const struct env_content *c)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < c->nstatements; i++)
        r = check_statement(b, env, c->statements[i].service, c->statements[i].target);
    return r;
}

/* After removals that no check of the whole graph has seen. */
static int check_all(struct build *b)
{
    int r = 0;
    for (uint32_t env = 0; r == 0 && env < b->s->env_limit; env++) {
        const struct env_record *e = snapshot_record(b->s, env);
        for (uint32_t i = 1; e && r == 0 && i < e->nlineage; i++)
            if (!snapshot_record(b->s, record_lineage(e)[i]))
                r = lineage_fault(b, env, "removed ancestor");
        for (uint32_t i = 0; e && r == 0 && i < e->nstatements; i++)
            r = check_statement(b, env, record_services(e)[i], record_targets(e)[i]);
    }
    return r;
}

static int draft_source(struct build *b, const struct draft *d, struct env_source *ret)
{
    if (!d->from_base)
        return b->source(b, d, ret);
    const struct env_record *r = snapshot_record(b->s, d->number);
    const struct page *p = b->s->pages[d->number / PAGE_SIZE_ENVS];
    if (env_reader_statements(&b->reader, r->nstatements) < 0)
        return build_no_memory(b);
    record_content(r, &b->chain->sets, b->reader.statements, &ret->content);
    ret->place = p->places[d->number % PAGE_SIZE_ENVS];
    ret->fingerprint = p->fingerprints[d->number % PAGE_SIZE_ENVS];
    return 0;
}

/* Puts the new record in place of the old one, if it says anything new. Takes it. */
static int settle_record(
    struct build *b, const struct draft *d, struct env_record *r, uint32_t handle)
{
    const struct env_record *old = snapshot_record(b->s, d->number);
    bool same = old && memcmp(record_hash(old), record_hash(r), HASH_SIZE) == 0 &&
                (!b->exact || d->from_base || d->changed == record_changed(old));
    bool same_lines = same && record_same_lines(old, r);
    b->places_moved |= same && !same_lines;
    if (same && same_lines && record_same_lineage(old, r)) {
        drop_record(b, handle);
        return 0;
    }
    if (same)
        record_set_changed(r, record_changed(old));
    else
        b->pools_touched |=
            record_mode(r) == MODE_SHARED || (old && record_mode(old) == MODE_SHARED);
    b->changes.envs_added += !old;
    b->changes.envs_changed += old && !same;
    return put_record(b, d->number, handle);
}

static int make_record(struct build *b, const struct draft *d)
{
    struct env_source src = {0};
    int r = draft_source(b, d, &src);
    if (r < 0)
        return r;
    src.content.parents = b->words + d->parents;
    src.content.nparents = d->nparents;
    r = check_content(b, d->number, &src.content);
    uint32_t handle = 0;
    struct env_record *record = r < 0
                                    ? NULL
                                    : record_new(&b->chain->records, &src.content,
                                          b->words + d->lineage, d->nlineage, d->changed, &handle);
    if (!record) {
        content_drop(&src.content, &b->chain->sets);
        return r < 0 ? r : build_no_memory(b);
    }
    r = set_hash(b, d->number, record);
    if (r < 0) {
        drop_record(b, handle);
        return r;
    }
    bool is_new = !snapshot_head(b->s, d->number);
    r = settle_record(b, d, record, handle);
    if (r < 0)
        return r;
    bool moved = b->places_moved;
    r = build_move_env(b, d->number, src.place, src.fingerprint);
    if (is_new)
        b->places_moved = moved;
    return r;
}

/* ---- the end ---- */

static int seal_pages(struct build *b)
{
    for (uint32_t i = 0; i < b->s->npages; i++) {
        struct page *p = b->s->pages[i];
        if (!p || p->build != b->number)
            continue;
        if (p->live == 0) {
            page_unref(b->chain, p);
            b->s->pages[i] = NULL;
        } else if (digest_page(b->chain->sha, &b->chain->records, p) < 0) {
            return build_no_memory(b);
        }
    }
    return 0;
}

static int make_records(struct build *b)
{
    sort_drafts(b);
    for (uint32_t i = 1; i < b->ndrafts; i++)
        if (b->drafts[i].number == b->drafts[i - 1].number)
            return lineage_fault(b, b->drafts[i].number, "two records");
    int r = b->base ? draft_descendants(b) : 0;
    for (uint32_t i = 0; r == 0 && i < b->ndrafts; i++)
        if (b->drafts[i].state == DRAFT_NEW)
            r = draft_lineage(b, &b->drafts[i], 0);
    for (uint32_t i = 0; r == 0 && i < b->ndrafts; i++)
        r = make_record(b, &b->drafts[i]);
    if (r == 0 && b->exact && b->removed)
        r = check_all(b);
    return r;
}

int build_finish(struct build *b, uint64_t pools_changed, struct snapshot **ret)
{
    int r = make_records(b);
    r = r < 0 ? r : build_pools(b, pools_changed);
    r = r < 0 ? r : seal_pages(b);
    if (r < 0)
        return r;
    struct snapshot_changes *c = &b->changes;
    c->origins_only = b->places_moved && !(c->envs_added | c->envs_removed | c->envs_changed |
                                             c->services_changed | c->gateways_changed);
    b->s->envs = intern_view_take(&b->chain->envs);
    b->s->service_names = intern_view_take(&b->chain->services);
    b->s->files = intern_view_take(&b->chain->files);
    if (digest_snapshot(b->chain->sha, b->s) < 0)
        return build_no_memory(b);
    *ret = b->s;
    b->s = NULL;
    b->done = true;
    return 0;
}
