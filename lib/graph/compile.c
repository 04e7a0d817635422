/* From a checked model to a snapshot. */
#include "lib/base/mem.h"
#include "lib/graph/build.h"
#include "lib/graph/check.h"
#include <errno.h>
#include <stdlib.h>

struct compile {
    const struct model *m;
    uint32_t *env_numbers; /* by position in the model */
    uint32_t *file_numbers;
    unsigned char *seen; /* a bit a number: exists in the model */
    struct pb_out extras;
};

static int name_fault(struct build *b, int r, const char *kind, struct str name)
{
    if (r == -ENOMEM)
        return build_no_memory(b);
    return err_set(b->e, r == -ENOSPC ? -ENOSPC : -EINVAL,
        r == -ENOSPC ? "no numbers left for %s '%.*s'" : "bad name of %s '%.*s'", kind,
        STR_ARG(name));
}

/* ---- names ---- */

static int number_names(struct build *b, struct compile *c)
{
    const struct model *m = c->m;
    int r;
    for (uint32_t i = 0; i < m->nfiles; i++) {
        struct str name = str_c(m->files[i]);
        r = intern_add(&b->chain->files, name, FILES_MAX, &c->file_numbers[i]);
        if (r < 0)
            return name_fault(b, r, "file", name);
    }
    for (uint32_t i = 0; i < m->nenvs; i++) {
        struct str name = m->envs[i]->name.s;
        r = intern_add(&b->chain->envs, name, ENVS_MAX, &c->env_numbers[i]);
        if (r < 0)
            return name_fault(b, r, "environment", name);
    }
    return 0;
}

/* ---- services and gateways ---- */

/* The base's document when it says the same, else a new one. */
static int service_doc(struct build *b, struct str bytes, uint32_t number, struct service_doc **ret)
{
    struct service_doc *old =
        b->base && number < b->base->services->limit ? b->base->services->docs[number] : NULL;
    if (old && str_eq(old->bytes, bytes)) {
        old->refs++;
        *ret = old;
        return 0;
    }
    return service_doc_new(bytes, number, b->epoch, b->chain->sha, ret, b->e);
}

static int number_services(struct build *b, const struct model *m, uint32_t *numbers)
{
    for (uint32_t i = 0; i < m->nservices; i++) {
        struct str name = m->services[i]->name.s;
        int r = intern_add(&b->chain->services, name, SERVICES_MAX, &numbers[i]);
        if (r < 0)
            return name_fault(b, r, "service", name);
    }
    return 0;
}

static int fill_services(
    struct build *b, const struct model *m, const uint32_t *numbers, struct service_doc **docs)
{
    for (uint32_t i = 0; i < m->nservices; i++) {
        b->canonical.n = 0;
        service_write(&b->canonical, m->services[i]);
        if (b->canonical.failed)
            return build_no_memory(b);
        if (docs[numbers[i]])
            return err_set(b->e, -EINVAL, "two services '%.*s'", STR_ARG(m->services[i]->name.s));
        int r = service_doc(b, pb_str(&b->canonical), numbers[i], &docs[numbers[i]]);
        if (r < 0)
            return r == -EBADMSG ? -EINVAL : r;
    }
    return 0;
}

static int compile_services(struct build *b, const struct model *m)
{
    uint32_t limit = 0;
    struct service_doc **docs = NULL;
    uint32_t *numbers = mem_array(m->nservices + (size_t)1, sizeof(*numbers));
    int r = numbers ? number_services(b, m, numbers) : build_no_memory(b);
    if (r == 0) {
        limit = b->chain->services.limit;
        docs = mem_zalloc((limit + (size_t)1) * sizeof(struct service_doc *));
        r = docs ? fill_services(b, m, numbers, docs) : build_no_memory(b);
    }
    if (r == 0)
        r = build_services(b, docs, limit, b->epoch);
    for (uint32_t i = 0; docs && i < limit; i++)
        service_doc_unref(docs[i]);
    mem_free(docs);
    mem_free(numbers);
    return r;
}

static int gateway_doc(struct build *b, struct str bytes, struct str name, struct gateway_doc **ret)
{
    const struct gateway_table *t = b->base ? b->base->gateways : NULL;
    for (uint32_t i = 0; t && i < t->count; i++) {
        if (!str_eq(t->docs[i]->name, name) || !str_eq(t->docs[i]->bytes, bytes))
            continue;
        t->docs[i]->refs++;
        *ret = t->docs[i];
        return 0;
    }
    return gateway_doc_new(bytes, b->epoch, b->chain->sha, build_service_number, b, ret, b->e);
}

static int compile_gateways(struct build *b, const struct model *m)
{
    struct gateway_doc **docs = mem_zalloc((m->ngateways + (size_t)1) * sizeof(*docs));
    int r = 0;
    uint32_t n = 0;
    if (!docs)
        return build_no_memory(b);
    while (r == 0 && n < m->ngateways) {
        b->canonical.n = 0;
        gateway_write(&b->canonical, m->gateways[n]);
        r = b->canonical.failed
                ? build_no_memory(b)
                : gateway_doc(b, pb_str(&b->canonical), m->gateways[n]->name.s, &docs[n]);
        n += r == 0;
    }
    if (r == 0)
        r = build_gateways(b, docs, n);
    for (uint32_t i = 0; i < n; i++)
        gateway_doc_unref(docs[i]);
    mem_free(docs);
    return r == -EBADMSG ? -EINVAL : r;
}

/* ---- environments ---- */

static int statement_target(struct build *b, const struct model_statement *st, uint32_t *ret_target)
{
    if (st->kind == STATEMENT_REMOVE) {
        *ret_target = target_make(STATEMENT_REMOVE, 0);
        return 0;
    }
    if (st->kind == STATEMENT_USE) {
        uint32_t x = intern_find(&b->chain->envs, st->use.s);
        if (x == INTERN_NONE)
            return err_set(
                b->e, -EINVAL, "'use' of unknown environment '%.*s'", STR_ARG(st->use.s));
        *ret_target = target_make(STATEMENT_USE, x);
        return 0;
    }
    if (env_reader_endpoints(&b->reader, st->nendpoints) < 0)
        return build_no_memory(b);
    for (uint32_t i = 0; i < st->nendpoints; i++)
        b->reader.endpoints[i] = (struct endpoint){st->endpoints[i].addr, st->endpoints[i].weight};
    uint32_t handle;
    int r = endpoints_intern(
        &b->chain->sets, b->reader.endpoints, st->nendpoints, st->artifact, st->region, &handle);
    if (r == -E2BIG)
        return err_set(b->e, -EINVAL, "%u endpoints, or too long texts, for service '%.*s'",
            st->nendpoints, STR_ARG(st->service.s));
    if (r < 0)
        return build_no_memory(b);
    *ret_target = target_make(STATEMENT_PROVIDES, handle);
    return 0;
}

static uint32_t first_line(const struct model_env *e)
{
    uint32_t line = e->name.at.line;
    if (e->has_expires && e->expires_at.line < line)
        line = e->expires_at.line;
    for (uint32_t i = 0; i < e->nstatements; i++)
        if (e->statements[i].service.at.line < line)
            line = e->statements[i].service.at.line;
    return line;
}

static int by_service(const void *a, const void *b)
{
    const struct content_statement *x = a, *y = b;
    return (x->service > y->service) - (x->service < y->service);
}

static int sort_statements(struct build *b, struct env_content *c, struct str env)
{
    struct content_statement *s = c->statements;
    bool sorted = true;
    for (uint32_t i = 1; i < c->nstatements; i++)
        sorted = sorted && s[i - 1].service < s[i].service;
    if (!sorted)
        qsort(s, c->nstatements, sizeof(*s), by_service);
    for (uint32_t i = 1; i < c->nstatements; i++)
        if (s[i - 1].service == s[i].service)
            return err_set(b->e, -EINVAL, "two statements about one service in environment '%.*s'",
                STR_ARG(env));
    return 0;
}

/* Fills c->statements; those done own references, also on failure. */
static int compile_statements(
    struct build *b, const struct model_env *e, uint32_t line, struct env_content *c)
{
    if (e->nstatements > STATEMENTS_MAX)
        return err_set(
            b->e, -EINVAL, "too many statements in environment '%.*s'", STR_ARG(e->name.s));
    if (env_reader_statements(&b->reader, e->nstatements) < 0)
        return build_no_memory(b);
    c->statements = b->reader.statements;
    for (uint32_t i = 0; i < e->nstatements; i++) {
        const struct model_statement *st = &e->statements[i];
        struct content_statement *to = &c->statements[i];
        *to = (struct content_statement){
            intern_find(&b->chain->services, st->service.s), 0, st->service.at.line - line};
        if (to->service == INTERN_NONE)
            return err_set(b->e, -EINVAL, "unknown service '%.*s' in environment '%.*s'",
                STR_ARG(st->service.s), STR_ARG(e->name.s));
        int r = statement_target(b, st, &to->target);
        if (r < 0)
            return r;
        c->nstatements++;
    }
    return sort_statements(b, c, e->name.s);
}

static int model_source(struct build *b, const struct draft *d, struct env_source *ret)
{
    struct compile *cc = b->arg;
    const struct model_env *e = cc->m->envs[d->source];
    uint32_t line = first_line(e);
    struct env_content c = {.mode = e->mode,
        .access = e->access,
        .strict = e->strict,
        .has_expires = e->has_expires,
        .expires = e->has_expires ? e->expires : 0,
        .priority = e->mode == MODE_SHARED ? e->priority : 0,
        .name_line = e->name.at.line - line,
        .expires_line = e->has_expires ? e->expires_at.line - line : 0};
    cc->extras.n = 0;
    env_extras_write(&cc->extras, e);
    if (cc->extras.failed)
        return build_no_memory(b);
    c.extras = pb_str(&cc->extras);
    int r = compile_statements(b, e, line, &c);
    if (r < 0) {
        content_drop(&c, &b->chain->sets);
        return r;
    }
    bool placed = e->name.at.line && e->name.at.file < cc->m->nfiles;
    *ret = (struct env_source){c,
        {placed ? cc->file_numbers[e->name.at.file] : NUMBER_NONE, placed ? line : 0},
        e->fingerprint};
    return 0;
}

static bool is_unchanged(const struct build *b, uint32_t number, const struct model_env *e)
{
    const struct snapshot *base = b->base;
    if (!base || !e->fingerprint || !snapshot_record(base, number))
        return false;
    const struct page *p = base->pages[number / PAGE_SIZE_ENVS];
    return p->fingerprints[number % PAGE_SIZE_ENVS] == e->fingerprint;
}

static int draft_env(struct build *b, struct compile *c, uint32_t i)
{
    const struct model_env *e = c->m->envs[i];
    uint32_t parents[LINEAGE_MAX];
    if (e->nparents >= LINEAGE_MAX)
        return err_set(b->e, -EINVAL, "too many parents of environment '%.*s'", STR_ARG(e->name.s));
    for (uint32_t j = 0; j < e->nparents; j++) {
        parents[j] = intern_find(&b->chain->envs, e->parents[j].s);
        if (parents[j] == INTERN_NONE)
            return err_set(b->e, -EINVAL, "unknown parent '%.*s' of environment '%.*s'",
                STR_ARG(e->parents[j].s), STR_ARG(e->name.s));
    }
    struct draft d = {.number = c->env_numbers[i], .changed = b->epoch, .source = i};
    return build_env(b, d, parents, e->nparents);
}

static int remove_missing(struct build *b, const struct compile *c)
{
    const struct snapshot *base = b->base;
    for (uint32_t env = 0; base && env < base->env_limit; env++) {
        if (!snapshot_record(base, env) || c->seen[env / 8] & 1u << env % 8)
            continue;
        int r = build_remove_env(b, env);
        if (r < 0)
            return r;
    }
    return 0;
}

static int compile_envs(struct build *b, struct compile *c)
{
    uint32_t limit = b->s->env_limit;
    size_t statements = 0;
    int r = 0;
    c->seen = mem_zalloc(limit / 8 + (size_t)1);
    if (!c->seen)
        return build_no_memory(b);
    for (uint32_t i = 0; r == 0 && i < c->m->nenvs; i++) {
        uint32_t number = c->env_numbers[i];
        if (c->seen[number / 8] & 1u << number % 8)
            return err_set(
                b->e, -EINVAL, "two environments '%.*s'", STR_ARG(c->m->envs[i]->name.s));
        c->seen[number / 8] |= (unsigned char)(1u << number % 8);
        if (is_unchanged(b, number, c->m->envs[i]))
            continue;
        statements += c->m->envs[i]->nstatements;
        r = draft_env(b, c, i);
    }
    r = r < 0 ? r : remove_missing(b, c);
    if (r == 0 && !b->base && endpoints_reserve(&b->chain->sets, statements) < 0)
        return build_no_memory(b);
    return r;
}

static int compile_all(struct build *b, struct compile *c, struct snapshot **ret)
{
    int r = number_names(b, c);
    r = r < 0 ? r : build_open(b);
    r = r < 0 ? r : compile_services(b, c->m);
    r = r < 0 ? r : compile_gateways(b, c->m);
    r = r < 0 ? r : compile_envs(b, c);
    return r < 0 ? r : build_finish(b, b->epoch, ret);
}

int snapshot_compile(struct snapshot **ret, const struct snapshot *base, const struct model *m,
    uint64_t epoch, struct snapshot_changes *ret_changes, struct err *e)
{
    struct build b;
    struct compile c = {.m = m};
    int r = build_begin(&b, base, epoch, e);
    if (r < 0)
        return r;
    b.source = model_source;
    b.arg = &c;
    c.env_numbers = mem_array(m->nenvs + (size_t)1, sizeof(*c.env_numbers));
    c.file_numbers = mem_array(m->nfiles + (size_t)1, sizeof(*c.file_numbers));
    r = c.env_numbers && c.file_numbers ? compile_all(&b, &c, ret) : build_no_memory(&b);
    if (r == 0 && ret_changes)
        *ret_changes = b.changes;
    build_end(&b);
    mem_free(c.env_numbers);
    mem_free(c.file_numbers);
    mem_free(c.seen);
    pb_release(&c.extras);
    return r;
}
