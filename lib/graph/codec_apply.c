/* Bytes to snapshot. The message is walked several times instead of being unpacked: first the head,
 * then names, then services and gateways, then environments. Nothing of it is trusted: numbers and
 * names must agree with what is known, references must lead somewhere, and in the end the digest
 * must be the one stated. */
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/build.h"
#include "lib/graph/check.h"
#include "lib/graph/codec.h"
#include "lib/graph/codec_int.h"
#include <errno.h>

struct apply {
    struct str bytes;
    uint64_t base, epoch, services_changed, pools_changed;
    struct str digest;
    uint32_t nfiles, nservices, ngateways, nremoved_services, nremoved_gateways;
    uint32_t *files; /* position in the message to file number */
    bool compare;    /* the digests */
};

/* One EnvironmentUpsert or ServiceUpsert. */
struct upsert {
    uint32_t number, file, line;
    uint64_t changed;
    struct str record, lines;
    bool has_record, has_lines;
};

static int bad(struct build *b, const char *what)
{
    return err_set(b->e, -EBADMSG, "%s", what);
}

/* ---- the head ---- */

static bool head_field(struct apply *a, const struct pb_field *f)
{
    switch (f->number) {
    case D_BASE:
        a->base = f->value;
        return f->wire == PB_VARINT;
    case D_EPOCH:
        a->epoch = f->value;
        return f->wire == PB_VARINT;
    case D_SERVICES_CHANGED:
        a->services_changed = f->value;
        return f->wire == PB_VARINT;
    case D_POOLS_CHANGED:
        a->pools_changed = f->value;
        return f->wire == PB_VARINT;
    case D_DIGEST:
        a->digest = f->bytes;
        return f->wire == PB_BYTES && f->bytes.n == HASH_SIZE;
    case D_FILES:
        a->nfiles++;
        return f->wire == PB_BYTES && f->bytes.n <= INTERN_TEXT_MAX;
    case D_SERVICES:
        a->nservices++;
        return f->wire == PB_BYTES;
    case D_GATEWAYS:
        a->ngateways++;
        return f->wire == PB_BYTES;
    case D_REMOVED_SERVICES:
        a->nremoved_services++;
        return f->wire == PB_BYTES;
    case D_REMOVED_GATEWAYS:
        a->nremoved_gateways++;
        return f->wire == PB_BYTES;
    case D_ENVIRONMENTS:
    case D_REMOVED_ENVIRONMENTS:
        return f->wire == PB_BYTES;
    default:
        return false;
    }
}

static int read_head(struct apply *a, struct err *e)
{
    struct pb_in in = pb_in_of(a->bytes);
    struct pb_field f;
    int r;
    if (a->bytes.n > UINT32_MAX)
        return err_set(e, -EBADMSG, "difference is larger than 4 GiB");
    while ((r = pb_next(&in, &f)) > 0)
        if (!head_field(a, &f))
            return err_set(e, -EBADMSG, "unknown or malformed field %u of a difference", f.number);
    if (r < 0)
        return err_set(e, -EBADMSG, "difference is cut short or garbled");
    if (!a->digest.n || a->epoch <= a->base)
        return err_set(e, -EBADMSG, "difference without %s",
            a->digest.n ? "an epoch above its base" : "a digest");
    return 0;
}

static int read_upsert(struct build *b, struct str bytes, struct upsert *ret)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct upsert u = {0};
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        bool varint = f.wire == PB_VARINT, small = varint && f.value < UINT32_MAX;
        if (f.number == EU_NUMBER && small)
            u.number = (uint32_t)f.value;
        else if (f.number == EU_CHANGED && varint)
            u.changed = f.value;
        else if (f.number == EU_FILE && small)
            u.file = (uint32_t)f.value;
        else if (f.number == EU_LINE && small)
            u.line = (uint32_t)f.value;
        else if (f.number == EU_RECORD && f.wire == PB_BYTES && !u.has_record)
            u.record = f.bytes, u.has_record = true;
        else if (f.number == EU_LINES && f.wire == PB_BYTES && !u.has_lines)
            u.lines = f.bytes, u.has_lines = true;
        else
            return bad(b, "malformed upsert");
    }
    if (r < 0)
        return bad(b, "malformed upsert");
    *ret = u;
    return 0;
}

/* ---- walks over the fields of one kind ---- */

typedef int field_fn(struct build *b, struct str bytes, void *arg);

/* The head was read: the fields are well formed. */
static int each_field(struct build *b, uint32_t number, field_fn *fn, void *arg)
{
    const struct apply *a = b->arg;
    struct pb_in in = pb_in_of(a->bytes);
    struct pb_field f;
    int r = 0;
    while (r == 0 && pb_next(&in, &f) > 0)
        if (f.number == number)
            r = fn(b, f.bytes, arg);
    return r;
}

/* Every value of a packed list of numbers. */
static int each_number(struct build *b, uint32_t number,
    int (*fn)(struct build *b, uint32_t value, void *arg), void *arg)
{
    const struct apply *a = b->arg;
    struct pb_in in = pb_in_of(a->bytes), list;
    struct pb_field f;
    while (pb_next(&in, &f) > 0) {
        if (f.number != number)
            continue;
        list = pb_in_of(f.bytes);
        uint64_t v;
        int r;
        while ((r = pb_next_varint(&list, &v)) > 0) {
            r = v < UINT32_MAX ? fn(b, (uint32_t)v, arg) : -EBADMSG;
            if (r < 0)
                return r == -EBADMSG ? bad(b, "removal of an unknown number") : r;
        }
        if (r < 0)
            return bad(b, "malformed list of removals");
    }
    return 0;
}

/* ---- names ---- */

static int put_name(
    struct build *b, struct intern *names, struct str name, uint32_t number, uint32_t max)
{
    int r = number < max ? intern_put(names, name, number) : -ENOSPC;
    if (r == -ENOMEM)
        return build_no_memory(b);
    if (r < 0)
        return err_set(b->e, -EBADMSG,
            r == -ENOSPC ? "number %u of '%.*s' is too large"
                         : "number %u or name '%.*s' is already taken",
            number, STR_ARG(name));
    return 0;
}

static int name_service(struct build *b, struct str bytes, void *arg)
{
    struct upsert u;
    struct str name;
    (void)arg;
    int r = read_upsert(b, bytes, &u);
    r = r < 0 ? r : record_name(u.record, &name, b->e);
    return r < 0 ? r : put_name(b, &b->chain->services, name, u.number, SERVICES_MAX);
}

/* arg: the lowest number allowed, so that they ascend. */
static int name_env(struct build *b, struct str bytes, void *arg)
{
    struct upsert u;
    struct str name;
    uint32_t *least = arg;
    int r = read_upsert(b, bytes, &u);
    if (r < 0)
        return r;
    if (u.number < *least)
        return bad(b, "environment numbers do not ascend");
    *least = u.number + 1;
    if (!u.has_record)
        return 0;
    r = record_name(u.record, &name, b->e);
    return r < 0 ? r : put_name(b, &b->chain->envs, name, u.number, ENVS_MAX);
}

static int name_file(struct build *b, struct str bytes, void *arg)
{
    struct apply *a = b->arg;
    uint32_t *n = arg;
    if (utf8_check(bytes) != bytes.n || str_find(bytes, '\0') != bytes.n)
        return bad(b, "malformed name of a file");
    int r = intern_add(&b->chain->files, bytes, FILES_MAX, &a->files[*n]);
    *n += 1;
    if (r < 0)
        return r == -ENOMEM ? build_no_memory(b) : bad(b, "too many files");
    return 0;
}

static int read_names(struct build *b)
{
    struct apply *a = b->arg;
    uint32_t nfiles = 0, least = 0;
    a->files = mem_array(a->nfiles + (size_t)1, sizeof(*a->files));
    if (!a->files)
        return build_no_memory(b);
    int r = each_field(b, D_FILES, name_file, &nfiles);
    r = r < 0 ? r : each_field(b, D_SERVICES, name_service, NULL);
    return r < 0 ? r : each_field(b, D_ENVIRONMENTS, name_env, &least);
}

/* ---- services ---- */

static int upsert_service(struct build *b, struct str bytes, void *arg)
{
    struct service_doc **docs = arg, *doc;
    struct upsert u;
    int r = read_upsert(b, bytes, &u);
    r = r < 0 ? r : service_doc_new(u.record, u.number, u.changed, b->chain->sha, &doc, b->e);
    if (r < 0)
        return r;
    service_doc_unref(docs[u.number]);
    docs[u.number] = doc;
    return 0;
}

static int remove_service(struct build *b, uint32_t number, void *arg)
{
    struct service_doc **docs = arg;
    if (number >= b->chain->services.limit || !docs[number])
        return -EBADMSG;
    service_doc_unref(docs[number]);
    docs[number] = NULL;
    b->removed = true;
    return 0;
}

static int apply_services(struct build *b)
{
    const struct apply *a = b->arg;
    const struct service_table *t = b->base ? b->base->services : NULL;
    if (t && !a->nservices && !a->nremoved_services && t->changed == a->services_changed)
        return build_keep_services(b);
    uint32_t limit = b->chain->services.limit;
    struct service_doc **docs = mem_zalloc((limit + (size_t)1) * sizeof(*docs));
    if (!docs)
        return build_no_memory(b);
    for (uint32_t i = 0; t && i < t->limit; i++) {
        docs[i] = t->docs[i];
        if (docs[i])
            docs[i]->refs++;
    }
    int r = each_field(b, D_SERVICES, upsert_service, docs);
    r = r < 0 ? r : each_number(b, D_REMOVED_SERVICES, remove_service, docs);
    r = r < 0 ? r : build_services(b, docs, limit, a->services_changed);
    for (uint32_t i = 0; i < limit; i++)
        service_doc_unref(docs[i]);
    mem_free(docs);
    return r;
}

/* ---- gateways ---- */

struct gateway_list {
    struct gateway_doc **docs;
    uint32_t n;
};

static uint32_t find_gateway(const struct gateway_list *l, struct str name)
{
    uint32_t i = 0;
    while (i < l->n && !str_eq(l->docs[i]->name, name))
        i++;
    return i;
}

static int upsert_gateway(struct build *b, struct str bytes, void *arg)
{
    struct gateway_list *l = arg;
    struct gateway_doc *doc;
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct str record = {0};
    uint64_t changed = 0;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.number == GU_CHANGED && f.wire == PB_VARINT)
            changed = f.value;
        else if (f.number == GU_RECORD && f.wire == PB_BYTES)
            record = f.bytes;
        else
            return bad(b, "malformed upsert of a gateway");
    }
    if (r < 0)
        return bad(b, "malformed upsert of a gateway");
    r = gateway_doc_new(record, changed, b->chain->sha, build_service_number, b, &doc, b->e);
    if (r < 0)
        return r;
    uint32_t at = find_gateway(l, doc->name);
    if (at < l->n)
        gateway_doc_unref(l->docs[at]);
    else
        l->n++;
    l->docs[at] = doc;
    return 0;
}

static int remove_gateway(struct build *b, struct str name, void *arg)
{
    struct gateway_list *l = arg;
    uint32_t at = find_gateway(l, name);
    if (at == l->n)
        return bad(b, "removal of an unknown gateway");
    gateway_doc_unref(l->docs[at]);
    l->docs[at] = l->docs[--l->n];
    return 0;
}

static int apply_gateways(struct build *b)
{
    const struct apply *a = b->arg;
    const struct gateway_table *t = b->base ? b->base->gateways : NULL;
    if (t && !a->ngateways && !a->nremoved_gateways)
        return build_keep_gateways(b);
    size_t most = (t ? t->count : 0) + (size_t)a->ngateways + 1;
    struct gateway_list l = {mem_array(most, sizeof(*l.docs)), 0};
    if (!l.docs)
        return build_no_memory(b);
    for (; t && l.n < t->count; l.n++) {
        l.docs[l.n] = t->docs[l.n];
        l.docs[l.n]->refs++;
    }
    int r = each_field(b, D_GATEWAYS, upsert_gateway, &l);
    r = r < 0 ? r : each_field(b, D_REMOVED_GATEWAYS, remove_gateway, &l);
    r = r < 0 ? r : build_gateways(b, l.docs, l.n);
    for (uint32_t i = 0; i < l.n; i++)
        gateway_doc_unref(l.docs[i]);
    mem_free(l.docs);
    return r;
}

/* ---- environments ---- */

static int place_of(struct build *b, const struct upsert *u, struct place_base *ret)
{
    const struct apply *a = b->arg;
    if (u->file > a->nfiles)
        return bad(b, "place in an unknown file");
    *ret = (struct place_base){u->file ? a->files[u->file - 1] : NUMBER_NONE, u->line};
    return 0;
}

/* An upsert without a record or lines moves a document; else it is a draft. */
static int upsert_env(struct build *b, struct str bytes, void *arg)
{
    const struct apply *a = b->arg;
    struct upsert u;
    struct place_base place;
    uint32_t parents[LINEAGE_MAX], n;
    (void)arg;
    int r = read_upsert(b, bytes, &u);
    r = r < 0 ? r : place_of(b, &u, &place);
    if (r < 0)
        return r;
    const struct env_record *old = snapshot_record(b->s, u.number);
    struct draft d = {.number = u.number,
        .changed = u.changed,
        .source = (uint32_t)(bytes.p - a->bytes.p),
        .source_n = (uint32_t)bytes.n};
    if (u.has_record) {
        r = env_read_parents(u.record, b->chain, parents, &n, b->e);
        return r < 0 ? r : build_env(b, d, parents, n);
    }
    if (!old)
        return bad(b, "place of an unknown environment");
    if (!u.has_lines)
        return build_move_env(b, u.number, place, 0);
    const uint32_t *kept = record_parents(old, &n);
    d.changed = record_changed(old);
    return build_env(b, d, kept, n);
}

static int remove_env(struct build *b, uint32_t number, void *arg)
{
    (void)arg;
    if (!snapshot_record(b->s, number))
        return -EBADMSG;
    b->removed = true;
    return build_remove_env(b, number);
}

/* Lines come in the order of the record: order[i] is where the i-th statement stands in it. */
static int set_lines(
    struct build *b, struct str packed, struct env_content *c, const uint32_t *order)
{
    struct pb_in in = pb_in_of(packed);
    uint32_t n = 0, head = 1u + c->has_expires, most = head + c->nstatements;
    uint32_t *lines = mem_array(most, sizeof(*lines));
    uint64_t v;
    int r;
    if (!lines)
        return build_no_memory(b);
    while ((r = pb_next_varint(&in, &v)) > 0 && n < most && v <= UINT32_MAX / 2)
        lines[n++] = (uint32_t)v;
    bool sound = r == 0 && n == most;
    if (sound) {
        c->name_line = lines[0];
        c->expires_line = c->has_expires ? lines[1] : 0;
        for (uint32_t i = 0; i < c->nstatements; i++)
            c->statements[i].line = lines[head + order[i]];
    }
    mem_free(lines);
    return sound ? 0 : bad(b, "lines that do not fit their record");
}

/* The order of an existing record's statements, inverted: by statement, its place. */
static int order_of(struct build *b, const struct env_record *r, uint32_t *ret)
{
    struct env_names names = {b->chain->envs.view, b->chain->services.view, &b->chain->sets};
    uint32_t *order = mem_array(r->nstatements + (size_t)1, sizeof(*order));
    if (!order)
        return build_no_memory(b);
    env_order(&names, r, order);
    for (uint32_t i = 0; i < r->nstatements; i++)
        ret[order[i]] = i;
    mem_free(order);
    return 0;
}

static int kept_content(struct build *b, uint32_t env, struct env_content *ret)
{
    const struct env_record *r = snapshot_record(b->s, env);
    if (env_reader_statements(&b->reader, r->nstatements + 1) < 0)
        return build_no_memory(b);
    int e = order_of(b, r, b->reader.order);
    if (e == 0)
        record_content(r, &b->chain->sets, b->reader.statements, ret);
    return e;
}

/* build_source_fn: the upsert again, from where it stands in the message. */
static int upsert_source(struct build *b, const struct draft *d, struct env_source *ret)
{
    const struct apply *a = b->arg;
    struct env_source src = {0};
    struct upsert u;
    int r = read_upsert(b, str_of(a->bytes.p + d->source, d->source_n), &u);
    r = r < 0 ? r : place_of(b, &u, &src.place);
    if (r < 0)
        return r;
    r = u.has_record ? env_read(&b->reader, u.record, b->chain, &src.content, b->e)
                     : kept_content(b, d->number, &src.content);
    if (r < 0)
        return r;
    r = u.has_lines ? set_lines(b, u.lines, &src.content, b->reader.order) : 0;
    if (r < 0) {
        content_drop(&src.content, &b->chain->sets);
        return r;
    }
    *ret = src;
    return 0;
}

/* ---- all ---- */

static int apply_all(struct build *b, struct snapshot **ret)
{
    const struct apply *a = b->arg;
    struct snapshot *s;
    int r = read_names(b);
    r = r < 0 ? r : build_open(b);
    r = r < 0 ? r : apply_services(b);
    r = r < 0 ? r : apply_gateways(b);
    r = r < 0 ? r : each_number(b, D_REMOVED_ENVIRONMENTS, remove_env, NULL);
    r = r < 0 ? r : each_field(b, D_ENVIRONMENTS, upsert_env, NULL);
    r = r < 0 ? r : build_finish(b, a->pools_changed, &s);
    if (r < 0)
        return r;
    if (a->compare && memcmp(s->digest, a->digest.p, HASH_SIZE) != 0) {
        b->s = s; /* build_end gives it back, and the names with it */
        b->done = false;
        return bad(b, "digest of the result differs from the one stated");
    }
    *ret = s;
    return 0;
}

int codec_apply_any(const struct snapshot *base, struct str bytes, bool compare,
    struct snapshot **ret, struct snapshot_changes *ret_changes, struct err *e)
{
    struct apply a = {.bytes = bytes, .compare = compare};
    struct build b;
    int r = read_head(&a, e);
    if (r < 0)
        return r;
    if (a.base && (!base || base->epoch != a.base))
        return err_set(e, -ESTALE, "difference is for epoch %llu, here is %llu",
            (unsigned long long)a.base, (unsigned long long)(base ? base->epoch : 0));
    r = build_begin(&b, a.base ? base : NULL, a.epoch, e);
    if (r < 0)
        return r;
    b.source = upsert_source;
    b.arg = &a;
    b.exact = true;
    r = apply_all(&b, ret);
    if (r == 0 && ret_changes)
        *ret_changes = b.changes;
    build_end(&b);
    mem_free(a.files);
    if (r == -EINVAL) /* what a model may not say, bytes may not either */
        r = -EBADMSG;
    if (r < 0 && e)
        e->code = r;
    return r;
}

int codec_apply(const struct snapshot *base, struct str bytes, struct snapshot **ret,
    struct snapshot_changes *ret_changes, struct err *e)
{
    return codec_apply_any(base, bytes, true, ret, ret_changes, e);
}
