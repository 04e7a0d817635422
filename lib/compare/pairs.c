#include "lib/compare/compare_int.h"
#include <errno.h>
#include <stdlib.h>

static int by_name(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int c = str_cmp(x->name, y->name);
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

static int by_value(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    return str_cmp(x->value, y->value);
}

void pairs_sort(struct pair *p, size_t n)
{
    if (n > 1)
        qsort(p, n, sizeof(*p), by_name);
}

void pairs_add(
    struct differ *d, struct str name, enum diff_kind kind, bool shape, struct str a, struct str b)
{
    (void)name;
    differ_add(d, kind, shape, a, b);
}

/* The values of one name on both sides. */
struct lists {
    const struct pair *a, *b;
    size_t na, nb;
};

static bool same_values(const struct pair *a, const struct pair *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!str_eq(a[i].value, b[i].value))
            return false;
    return true;
}

/* Whether both have the same values in whatever order; of equal number. */
static bool same_set(struct differ *d, const struct lists *l)
{
    struct pair *a = pool_alloc(d->pool, 2 * l->na * sizeof(*a));
    if (!a) {
        d->failed = -ENOMEM;
        return false;
    }
    struct pair *b = a + l->na;
    memcpy(a, l->a, l->na * sizeof(*a));
    memcpy(b, l->b, l->na * sizeof(*b));
    qsort(a, l->na, sizeof(*a), by_value);
    qsort(b, l->na, sizeof(*b), by_value);
    return same_values(a, b, l->na);
}

static void compare_lists(struct differ *d, const struct pair_rules *rules, const struct lists *l)
{
    struct str none = {NULL, 0}, name = l->na ? l->a[0].name : l->b[0].name;
    size_t n = l->na < l->nb ? l->na : l->nb;
    if (l->nb == 0) {
        rules->add(d, name, DIFF_MISSING, true, l->a[0].value, none);
    } else if (l->na == 0) {
        rules->add(d, name, DIFF_EXTRA, true, none, l->b[0].value);
    } else if (l->na != l->nb) {
        differ_add_numbers(d, DIFF_LENGTH, l->na, l->nb);
    } else if (n > 1 && !same_values(l->a, l->b, n) && same_set(d, l)) {
        rules->add(d, name, DIFF_ORDER, true, l->a[0].value, l->b[0].value);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (!str_eq(l->a[i].value, l->b[i].value))
            rules->add(d, name, DIFF_VALUE, !shape_same_text(l->a[i].value, l->b[i].value),
                l->a[i].value, l->b[i].value);
}

static size_t values_of(const struct pair *p, size_t n, struct str name)
{
    size_t same = 0;
    while (same < n && str_eq(p[same].name, name))
        same++;
    return same;
}

void pairs_compare(struct differ *d, const struct pair_rules *rules, struct pair *a, size_t na,
    struct pair *b, size_t nb)
{
    pairs_sort(a, na);
    pairs_sort(b, nb);
    while (na || nb) {
        int c = na == 0 ? 1 : nb == 0 ? -1 : str_cmp(a->name, b->name);
        struct str name = c > 0 ? b->name : a->name;
        struct lists l = {.a = a,
            .b = b,
            .na = c > 0 ? 0 : values_of(a, na, name),
            .nb = c < 0 ? 0 : values_of(b, nb, name)};
        struct path_mark m = rules->push(d, name);
        compare_lists(d, rules, &l);
        differ_pop(d, m);
        a += l.na;
        na -= l.na;
        b += l.nb;
        nb -= l.nb;
    }
}
