#include "agent/session_examples.h"
#include "lib/base/mem.h"

struct slot {
    struct example x;
    char *memory; /* of its texts */
};

struct entry {
    struct example_field field;
    char *memory; /* of its names */
    unsigned n, next;
    struct slot slot[EXAMPLES_EACH];
};

struct examples {
    size_t n;
    struct entry *entry[EXAMPLES_FIELDS];
};

struct examples *examples_new(void)
{
    return mem_zalloc(sizeof(struct examples));
}

static void entry_free(struct entry *t)
{
    for (unsigned i = 0; i < t->n; i++)
        mem_free(t->slot[i].memory);
    mem_free(t->memory);
    mem_free(t);
}

void examples_clear(struct examples *e)
{
    while (e->n > 0)
        entry_free(e->entry[--e->n]);
}

void examples_free(struct examples *e)
{
    if (!e)
        return;
    examples_clear(e);
    mem_free(e);
}

static bool same(const struct example_field *a, const struct example_field *b)
{
    return a->kind == b->kind && str_eq(a->path, b->path) && str_eq(a->endpoint, b->endpoint);
}

static struct entry *find(const struct examples *e, const struct example_field *f)
{
    for (size_t i = 0; i < e->n; i++)
        if (same(&e->entry[i]->field, f))
            return e->entry[i];
    return NULL;
}

static struct entry *make(struct examples *e, const struct example_field *f)
{
    if (e->n == EXAMPLES_FIELDS)
        return NULL;
    struct entry *t = mem_zalloc(sizeof *t);
    if (!t)
        return NULL;
    char *at = t->memory = mem_alloc(f->endpoint.n + f->path.n + 1);
    if (!at) {
        mem_free(t);
        return NULL;
    }
    t->field.endpoint = str_put(&at, f->endpoint);
    t->field.path = str_put(&at, f->path);
    t->field.kind = f->kind;
    return e->entry[e->n++] = t;
}

/* Where the next one goes: a free place, else that of one that shows less, else the oldest. */
static struct slot *place(struct entry *t, bool candidate_only)
{
    if (t->n < EXAMPLES_EACH)
        return &t->slot[t->n++];
    for (unsigned i = 0; i < EXAMPLES_EACH && candidate_only; i++)
        if (!t->slot[i].x.candidate_only)
            return &t->slot[i];
    for (unsigned i = 0; i < EXAMPLES_EACH; i++) {
        struct slot *s = &t->slot[t->next++ % EXAMPLES_EACH];
        if (candidate_only || !s->x.candidate_only)
            return s;
    }
    return NULL;
}

void examples_add(struct examples *e, const struct example_field *f, const struct example *x)
{
    struct entry *t = find(e, f);
    char *memory = mem_alloc(x->primary.n + x->secondary.n + x->candidate.n + 1), *at = memory;
    if (!t && memory)
        t = make(e, f);
    struct slot *s = t && memory ? place(t, x->candidate_only) : NULL;
    if (!s) {
        mem_free(memory);
        return;
    }
    mem_free(s->memory);
    s->memory = memory;
    s->x = *x;
    s->x.primary = str_put(&at, x->primary);
    s->x.secondary = str_put(&at, x->secondary);
    s->x.candidate = str_put(&at, x->candidate);
}

size_t examples_of(
    const struct examples *e, const struct example_field *f, struct example ret[EXAMPLES_EACH])
{
    const struct entry *t = find(e, f);
    for (unsigned i = 0; t && i < t->n; i++)
        ret[i] = t->slot[i].x;
    return t ? t->n : 0;
}

void examples_prune(struct examples *e, const struct tally *t)
{
    size_t worst[EXAMPLES_WORST], n = 0, kept = 0;
    if (e->n <= EXAMPLES_WORST)
        return;
    n = tally_worst(t, worst, EXAMPLES_WORST);
    for (size_t i = 0; i < e->n; i++) {
        bool stays = false;
        for (size_t k = 0; k < n && !stays; k++) {
            struct tally_field f = tally_field(t, worst[k]);
            struct example_field have = {f.endpoint, f.path, f.kind};
            stays = same(&have, &e->entry[i]->field);
        }
        if (stays)
            e->entry[kept++] = e->entry[i];
        else
            entry_free(e->entry[i]);
    }
    e->n = kept;
}
