/* One snapshot's content on top of another chain. The whole is applied by codec_apply, which judges
 * every byte of it, and what came of it is carried over by name: services and gateways as their
 * canonical bytes, environments as their canonical records with the lines beside. */
#include "lib/base/mem.h"
#include "lib/graph/build.h"
#include "lib/graph/check.h"
#include "lib/graph/codec.h"
#include <errno.h>
#include <string.h>

struct rebase {
    const struct snapshot *from;
    uint32_t *env_numbers;     /* by number in from: the number in the base's chain */
    uint32_t *service_numbers; /* likewise */
    uint32_t *file_numbers;
    unsigned char *kept; /* a bit a number of the base: exists in from */
    struct env_names names;
    struct pb_out record; /* the environment at hand */
    uint32_t *order, order_size;
};

/* ---- names ---- */

static int take_name(
    struct build *b, struct intern *names, struct str name, uint32_t max, uint32_t *ret)
{
    int r = intern_add(names, name, max, ret);
    if (r == -ENOMEM)
        return build_no_memory(b);
    return r < 0 ? err_set(b->e, r, "no number left for '%.*s'", STR_ARG(name)) : 0;
}

static int take_files(struct build *b, struct rebase *rb)
{
    const struct intern *files = &rb->from->chain->files;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < files->limit; i++)
        r = take_name(
            b, &b->chain->files, intern_text(files->view, i), FILES_MAX, &rb->file_numbers[i]);
    return r;
}

static int take_names(struct build *b, struct rebase *rb)
{
    const struct snapshot *from = rb->from;
    int r = take_files(b, rb);
    for (uint32_t i = 0; r == 0 && i < from->services->limit; i++)
        if (from->services->docs[i])
            r = take_name(b, &b->chain->services, from->services->docs[i]->info.name, SERVICES_MAX,
                &rb->service_numbers[i]);
    for (uint32_t i = 0; r == 0 && i < from->env_limit; i++)
        if (snapshot_record(from, i))
            r = take_name(
                b, &b->chain->envs, intern_text(from->envs, i), ENVS_MAX, &rb->env_numbers[i]);
    return r;
}

/* ---- services and gateways ---- */

static int rebase_service(struct build *b, const struct rebase *rb, const struct service_doc *doc,
    struct service_doc **docs)
{
    uint32_t number = rb->service_numbers[doc->number];
    struct service_doc *old =
        number < b->base->services->limit ? b->base->services->docs[number] : NULL;
    if (old && str_eq(old->bytes, doc->bytes)) {
        old->refs++;
        docs[number] = old;
        return 0;
    }
    return service_doc_new(doc->bytes, number, b->epoch, b->chain->sha, &docs[number], b->e);
}

static int rebase_services(struct build *b, const struct rebase *rb)
{
    const struct service_table *t = rb->from->services;
    uint32_t limit = b->chain->services.limit;
    struct service_doc **docs = mem_zalloc((limit + (size_t)1) * sizeof(*docs));
    if (!docs)
        return build_no_memory(b);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < t->limit; i++)
        r = t->docs[i] ? rebase_service(b, rb, t->docs[i], docs) : 0;
    r = r < 0 ? r : build_services(b, docs, limit, b->epoch);
    for (uint32_t i = 0; i < limit; i++)
        service_doc_unref(docs[i]);
    mem_free(docs);
    return r;
}

static int rebase_gateway(struct build *b, const struct gateway_doc *doc, struct gateway_doc **ret)
{
    const struct gateway_table *t = b->base->gateways;
    for (uint32_t i = 0; i < t->count; i++) {
        if (!str_eq(t->docs[i]->bytes, doc->bytes))
            continue;
        t->docs[i]->refs++;
        *ret = t->docs[i];
        return 0;
    }
    return gateway_doc_new(doc->bytes, b->epoch, b->chain->sha, build_service_number, b, ret, b->e);
}

static int rebase_gateways(struct build *b, const struct rebase *rb)
{
    const struct gateway_table *t = rb->from->gateways;
    struct gateway_doc **docs = mem_zalloc((t->count + (size_t)1) * sizeof(*docs));
    if (!docs)
        return build_no_memory(b);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < t->count; i++)
        r = rebase_gateway(b, t->docs[i], &docs[i]);
    r = r < 0 ? r : build_gateways(b, docs, t->count);
    for (uint32_t i = 0; i < t->count; i++)
        gateway_doc_unref(docs[i]);
    mem_free(docs);
    return r;
}

/* ---- environments ---- */

static struct place_base place_in(const struct rebase *rb, uint32_t env)
{
    struct place_base p = rb->from->pages[env / PAGE_SIZE_ENVS]->places[env % PAGE_SIZE_ENVS];
    if (p.file != NUMBER_NONE)
        p.file = rb->file_numbers[p.file];
    return p;
}

/* Room for the canonical order of n statements of one record, twice. */
static int order_room(struct build *b, struct rebase *rb, uint32_t n)
{
    if (rb->order && n <= rb->order_size)
        return 0;
    uint32_t size = n + n / 2 + 16;
    uint32_t *p = mem_array((size_t)size * 2, sizeof(*p));
    if (!p)
        return build_no_memory(b);
    mem_free(rb->order);
    rb->order = p;
    rb->order_size = size;
    return 0;
}

/* Two records of one content, each with the numbers of its own chain. */
static bool same_lines(struct build *b, struct rebase *rb, const struct env_record *mine,
    const struct env_record *theirs)
{
    uint32_t n = mine->nstatements, *other = rb->order + rb->order_size;
    struct env_names names = {b->chain->envs.view, b->chain->services.view, &b->chain->sets};
    if (record_name_line(mine) != record_name_line(theirs))
        return false;
    if (mine->flags & RECORD_EXPIRES && record_expires_line(mine) != record_expires_line(theirs))
        return false;
    env_order(&names, mine, rb->order);
    env_order(&rb->names, theirs, other);
    for (uint32_t i = 0; i < n; i++)
        if (record_statement_line(mine, rb->order[i]) != record_statement_line(theirs, other[i]))
            return false;
    return true;
}

static int draft_env(struct build *b, struct rebase *rb, uint32_t env)
{
    const struct env_record *r = snapshot_record(rb->from, env);
    uint32_t number = rb->env_numbers[env], parents[LINEAGE_MAX], n;
    const struct env_record *old = snapshot_record(b->base, number);
    rb->kept[number / 8] |= (unsigned char)(1u << number % 8);
    int e = order_room(b, rb, r->nstatements);
    if (e < 0)
        return e;
    if (old && memcmp(record_hash(old), record_hash(r), HASH_SIZE) == 0 &&
        same_lines(b, rb, old, r)) {
        const struct page *p = b->base->pages[number / PAGE_SIZE_ENVS];
        struct place_base was = p->places[number % PAGE_SIZE_ENVS], is = place_in(rb, env);
        bool moved = was.file != is.file || was.line != is.line;
        return moved ? build_move_env(b, number, is, 0) : 0;
    }
    const uint32_t *of = record_parents(r, &n);
    for (uint32_t i = 0; i < n; i++)
        parents[i] = rb->env_numbers[of[i]];
    struct draft d = {.number = number, .changed = b->epoch, .source = env};
    return build_env(b, d, parents, n);
}

/* build_source_fn: through the canonical form, which speaks of others by name. */
static int record_source(struct build *b, const struct draft *d, struct env_source *ret)
{
    struct rebase *rb = b->arg;
    const struct env_record *r = snapshot_record(rb->from, d->source);
    struct env_source src = {.place = place_in(rb, d->source)};
    rb->record.n = 0;
    env_write(&rb->record, &rb->names, d->source, r);
    if (rb->record.failed)
        return build_no_memory(b);
    int e = order_room(b, rb, r->nstatements);
    e = e < 0 ? e : env_read(&b->reader, pb_str(&rb->record), b->chain, &src.content, b->e);
    if (e < 0)
        return e;
    env_order(&rb->names, r, rb->order);
    src.content.name_line = record_name_line(r);
    src.content.expires_line = src.content.has_expires ? record_expires_line(r) : 0;
    for (uint32_t i = 0; i < src.content.nstatements; i++)
        src.content.statements[i].line = record_statement_line(r, rb->order[b->reader.order[i]]);
    *ret = src;
    return 0;
}

static int rebase_envs(struct build *b, struct rebase *rb)
{
    int r = 0;
    rb->kept = mem_zalloc(b->s->env_limit / 8 + (size_t)1);
    if (!rb->kept)
        return build_no_memory(b);
    for (uint32_t i = 0; r == 0 && i < rb->from->env_limit; i++)
        r = snapshot_record(rb->from, i) ? draft_env(b, rb, i) : 0;
    for (uint32_t i = 0; r == 0 && i < b->base->env_limit; i++)
        if (snapshot_record(b->base, i) && !(rb->kept[i / 8] & 1u << i % 8))
            r = build_remove_env(b, i);
    return r;
}

/* ---- all ---- */

static bool nothing_changed(const struct snapshot_changes *c)
{
    return !(c->envs_added | c->envs_removed | c->envs_changed | c->services_changed |
             c->gateways_changed | c->origins_only);
}

static int rebase_all(struct build *b, struct rebase *rb, struct snapshot **ret)
{
    const struct snapshot *from = rb->from;
    rb->names = (struct env_names){from->envs, from->service_names, &from->chain->sets};
    rb->env_numbers = mem_array(from->env_limit + (size_t)1, sizeof(*rb->env_numbers));
    rb->service_numbers = mem_array(from->services->limit + (size_t)1, sizeof(uint32_t));
    rb->file_numbers = mem_array(from->chain->files.limit + (size_t)1, sizeof(uint32_t));
    if (!rb->env_numbers || !rb->service_numbers || !rb->file_numbers)
        return build_no_memory(b);
    struct snapshot *s = NULL;
    int r = take_names(b, rb);
    r = r < 0 ? r : build_open(b);
    r = r < 0 ? r : rebase_services(b, rb);
    r = r < 0 ? r : rebase_gateways(b, rb);
    r = r < 0 ? r : rebase_envs(b, rb);
    r = r < 0 ? r : build_finish(b, b->epoch, &s);
    if (r < 0)
        return r;
    if (nothing_changed(&b->changes)) {
        b->s = s; /* build_end gives it back, and the names with it */
        b->done = false;
        return -EALREADY;
    }
    *ret = s;
    return 0;
}

static int rebase(const struct snapshot *base, const struct snapshot *from, uint64_t epoch,
    struct snapshot **ret, struct snapshot_changes *ret_changes, struct err *e)
{
    struct rebase rb = {.from = from};
    struct build b;
    int r = build_begin(&b, base, epoch, e);
    if (r < 0)
        return r;
    b.source = record_source;
    b.arg = &rb;
    r = rebase_all(&b, &rb, ret);
    if (r == 0 && ret_changes)
        *ret_changes = b.changes;
    build_end(&b);
    pb_release(&rb.record);
    mem_free(rb.env_numbers);
    mem_free(rb.service_numbers);
    mem_free(rb.file_numbers);
    mem_free(rb.kept);
    mem_free(rb.order);
    if (r == -EINVAL) /* what a model may not say, bytes may not either */
        r = -EBADMSG;
    if (r < 0 && r != -EALREADY && e)
        e->code = r;
    return r;
}

int codec_rebase(const struct snapshot *base, struct str whole, uint64_t epoch,
    struct snapshot **ret, struct snapshot_changes *ret_changes, struct err *e)
{
    struct snapshot *from = NULL;
    if (epoch <= base->epoch)
        return err_set(e, -EBADMSG, "epoch %llu is not above %llu", (unsigned long long)epoch,
            (unsigned long long)base->epoch);
    int r = codec_apply(NULL, whole, &from, NULL, e);
    if (r < 0)
        return r;
    r = rebase(base, from, epoch, ret, ret_changes, e);
    snapshot_unref(from);
    return r;
}

int codec_renumber(
    const struct snapshot *base, uint64_t epoch, struct snapshot **ret, struct err *e)
{
    struct build b;
    if (epoch <= base->epoch)
        return err_set(e, -EINVAL, "epoch %llu is not above %llu", (unsigned long long)epoch,
            (unsigned long long)base->epoch);
    int r = build_begin(&b, base, epoch, e);
    if (r < 0)
        return r;
    r = build_open(&b);
    r = r < 0 ? r : build_keep_services(&b);
    r = r < 0 ? r : build_keep_gateways(&b);
    r = r < 0 ? r : build_finish(&b, epoch, ret);
    build_end(&b);
    return r;
}
