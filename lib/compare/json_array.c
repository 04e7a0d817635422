/* Arrays that are not equal, by the first of these that fits:
 *
 *   identity   every element of both is an object, and a key of `identities` has in each a text or
 *              number of its own: elements with the same one belong together; needs one at least
 *              that both have
 *   multiset   the same elements in another order
 *   LCS        up to `lcs` elements between the equal ones at both ends; what is left between two
 *              equal elements is paired in order, or stands on one side only. An element that left
 *              one place and stands at another is order, not missing and extra
 *   beginning  more than that: the same of the first `lcs`, and the length */
#include "lib/compare/json_walk.h"
#include <errno.h>
#include <stdlib.h>

static const char *const identities[] = {
    "id", "_id", "uuid", "guid", "key", "sku", "code", "slug", "name"};

/* An element, by what it is known by. */
struct known {
    uint64_t hash;
    uint32_t at; /* its place in the array */
};

struct sides {
    const struct json_node *x, *y;
    struct known *a, *b; /* room for all elements */
};

static int by_hash(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash > y->hash ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}

static void sort(struct known *k, size_t n)
{
    if (n > 1)
        qsort(k, n, sizeof(*k), by_hash);
}

static bool make_room(struct json_walk *w, struct sides *s)
{
    size_t n = (size_t)s->x->n + s->y->n;
    s->a = pool_alloc(w->d->pool, n * sizeof(*s->a));
    if (!s->a) {
        w->d->failed = -ENOMEM;
        return false;
    }
    s->b = s->a + s->x->n;
    return true;
}

static void tell_order(struct json_walk *w, const struct sides *s)
{
    struct path_mark m = differ_push(w->d, STR("[]"));
    json_tell(w, DIFF_ORDER, s->x, s->y);
    differ_pop(w->d, m);
}

static void tell_element(
    struct json_walk *w, const struct json_node *missing, const struct json_node *extra)
{
    struct path_mark m = differ_push(w->d, STR("[]"));
    json_tell(w, missing ? DIFF_MISSING : DIFF_EXTRA, missing, extra);
    differ_pop(w->d, m);
}

static void diff_pair(struct json_walk *w, const struct sides *s, uint32_t i, uint32_t k)
{
    struct path_mark m = differ_push(w->d, STR("[]"));
    json_values_diff(w, json_child(&w->a, s->x, i), json_child(&w->b, s->y, k));
    differ_pop(w->d, m);
}

/* ---- identity ---- */

static const struct json_node *member(
    const struct json *j, const struct json_node *v, struct str key)
{
    uint32_t low = 0, high = v->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct json_node *c = json_child(j, v, middle);
        int order = str_cmp(c->key, key);
        if (order == 0)
            return c;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Sorted by the values of the key. False: an element has none, or one is there twice. */
static bool read_ids(
    const struct json *j, const struct json_node *array, struct str key, struct known *ret)
{
    for (uint32_t i = 0; i < array->n; i++) {
        const struct json_node *v = json_child(j, array, i);
        const struct json_node *id = v->type == JSON_OBJECT ? member(j, v, key) : NULL;
        if (!id || (id->type != JSON_STRING && id->type != JSON_NUMBER))
            return false;
        ret[i] = (struct known){id->hash, i};
    }
    sort(ret, array->n);
    for (uint32_t i = 1; i < array->n; i++)
        if (ret[i].hash == ret[i - 1].hash)
            return false;
    return true;
}

static bool have_common(const struct sides *s)
{
    for (uint32_t i = 0, k = 0; i < s->x->n && k < s->y->n;) {
        if (s->a[i].hash == s->b[k].hash)
            return true;
        if (s->a[i].hash < s->b[k].hash)
            i++;
        else
            k++;
    }
    return false;
}

static bool find_identity(struct json_walk *w, struct sides *s)
{
    for (size_t i = 0; i < sizeof(identities) / sizeof(identities[0]); i++) {
        struct str key = str_c(identities[i]);
        if (read_ids(&w->a, s->x, key, s->a) && read_ids(&w->b, s->y, key, s->b) && have_common(s))
            return true;
    }
    return false;
}

static int by_place(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Those that both have, in the order of the first; whether the second has them in the same. */
static bool same_order(struct known *places, size_t n)
{
    qsort(places, n, sizeof(*places), by_place);
    for (size_t i = 1; i < n; i++)
        if (places[i].hash < places[i - 1].hash)
            return false;
    return true;
}

static void diff_by_identity(struct json_walk *w, struct sides *s)
{
    struct known *places = pool_alloc(w->d->pool, s->x->n * sizeof(*places));
    size_t n = 0;
    if (!places) {
        w->d->failed = -ENOMEM;
        return;
    }
    for (uint32_t i = 0, k = 0; i < s->x->n || k < s->y->n;) {
        bool only_a = k == s->y->n || (i < s->x->n && s->a[i].hash < s->b[k].hash);
        bool only_b = i == s->x->n || (k < s->y->n && s->b[k].hash < s->a[i].hash);
        if (only_a) {
            tell_element(w, json_child(&w->a, s->x, s->a[i].at), NULL);
        } else if (only_b) {
            tell_element(w, NULL, json_child(&w->b, s->y, s->b[k].at));
        } else {
            diff_pair(w, s, s->a[i].at, s->b[k].at);
            places[n++] = (struct known){s->b[k].at, s->a[i].at};
        }
        i += !only_b;
        k += !only_a;
    }
    if (!same_order(places, n))
        tell_order(w, s);
}

/* ---- multiset ---- */

static void read_hashes(const struct json *j, const struct json_node *array, struct known *ret)
{
    for (uint32_t i = 0; i < array->n; i++)
        ret[i] = (struct known){json_child(j, array, i)->hash, i};
}

static bool same_multiset(struct json_walk *w, struct sides *s)
{
    if (s->x->n != s->y->n)
        return false;
    read_hashes(&w->a, s->x, s->a);
    read_hashes(&w->b, s->y, s->b);
    sort(s->a, s->x->n);
    sort(s->b, s->y->n);
    for (uint32_t i = 0; i < s->x->n; i++)
        if (s->a[i].hash != s->b[i].hash)
            return false;
    return true;
}

/* ---- LCS ---- */

/* The elements between equal beginnings and ends; na, nb may be cut. */
struct window {
    struct known *a, *b; /* hash: of the element; at: its place */
    size_t na, nb;
    bool cut;
};

static struct window window_of(struct json_walk *w, struct sides *s, size_t max)
{
    size_t first = 0, na = s->x->n, nb = s->y->n;
    read_hashes(&w->a, s->x, s->a);
    read_hashes(&w->b, s->y, s->b);
    while (first < na && first < nb && s->a[first].hash == s->b[first].hash)
        first++;
    while (na > first && nb > first && s->a[na - 1].hash == s->b[nb - 1].hash) {
        na--;
        nb--;
    }
    struct window win = {.a = s->a + first, .b = s->b + first, .na = na - first, .nb = nb - first};
    win.cut = win.na > max || win.nb > max;
    win.na = win.na < max ? win.na : max;
    win.nb = win.nb < max ? win.nb : max;
    return win;
}

/* t[i * side + k]: length of the LCS of a from i on and b from k on. */
static bool fill_table(struct json_walk *w, const struct window *win, size_t max)
{
    if (!w->table) {
        w->side = max + 1;
        w->table = pool_alloc(w->d->pool, w->side * w->side * sizeof(*w->table));
    }
    if (!w->table) {
        w->d->failed = -ENOMEM;
        return false;
    }
    for (size_t k = 0; k <= win->nb; k++)
        w->table[win->na * w->side + k] = 0;
    for (size_t i = win->na; i-- > 0;) {
        uint16_t *row = w->table + i * w->side, *below = row + w->side;
        row[win->nb] = 0;
        for (size_t k = win->nb; k-- > 0;) {
            if (win->a[i].hash == win->b[k].hash)
                row[k] = (uint16_t)(below[k + 1] + 1);
            else
                row[k] = below[k] > row[k + 1] ? below[k] : row[k + 1];
        }
    }
    return true;
}

/* What the LCS has not, with the gap it is in: how many equal elements are before it. */
struct left {
    struct known *item; /* hash, place in the window */
    uint32_t *gap;      /* by place in the window */
    size_t n;
};

static bool make_left(struct json_walk *w, struct left *l, size_t n)
{
    l->item = pool_alloc(w->d->pool, n * sizeof(*l->item));
    l->gap = pool_alloc(w->d->pool, n * sizeof(*l->gap));
    l->n = 0;
    if (!l->item || !l->gap)
        w->d->failed = -ENOMEM;
    return !w->d->failed;
}

static void leave(struct left *l, const struct known *k, size_t i, uint32_t gap)
{
    l->item[l->n++] = (struct known){k[i].hash, (uint32_t)i};
    l->gap[i] = gap;
}

/* Returns how many gaps there are before the last one. */
static uint32_t walk_table(
    const struct json_walk *w, const struct window *win, struct left *a, struct left *b)
{
    uint32_t gap = 0;
    size_t i = 0, k = 0;
    while (i < win->na || k < win->nb) {
        if (i < win->na && k < win->nb && win->a[i].hash == win->b[k].hash) {
            gap++;
            i++;
            k++;
        } else if (k == win->nb || (i < win->na && w->table[(i + 1) * w->side + k] >=
                                                       w->table[i * w->side + k + 1])) {
            leave(a, win->a, i++, gap);
        } else {
            leave(b, win->b, k++, gap);
        }
    }
    return gap;
}

/* Takes out what is left on both sides. True: there was something. */
static bool take_moved(struct left *a, struct left *b)
{
    size_t na = 0, nb = 0, i = 0, k = 0;
    sort(a->item, a->n);
    sort(b->item, b->n);
    while (i < a->n || k < b->n) {
        if (i < a->n && k < b->n && a->item[i].hash == b->item[k].hash) {
            i++;
            k++;
        } else if (k == b->n || (i < a->n && a->item[i].hash < b->item[k].hash)) {
            a->item[na++] = a->item[i++];
        } else {
            b->item[nb++] = b->item[k++];
        }
    }
    bool any = na < a->n;
    a->n = na;
    b->n = nb;
    return any;
}

static void diff_left(struct json_walk *w, const struct sides *s, const struct window *win,
    struct left *a, struct left *b, uint32_t last)
{
    uint32_t shift = (uint32_t)(win->a - s->a);
    qsort(a->item, a->n, sizeof(*a->item), by_place);
    qsort(b->item, b->n, sizeof(*b->item), by_place);
    for (size_t i = 0, k = 0; i < a->n || k < b->n;) {
        uint32_t gap_a = i < a->n ? a->gap[a->item[i].at] : UINT32_MAX;
        uint32_t gap_b = k < b->n ? b->gap[b->item[k].at] : UINT32_MAX;
        bool is_open = win->cut && (gap_a < gap_b ? gap_a : gap_b) == last;
        if (gap_a == gap_b)
            diff_pair(w, s, shift + a->item[i].at, shift + b->item[k].at);
        else if (gap_a < gap_b && !is_open)
            tell_element(w, json_child(&w->a, s->x, shift + a->item[i].at), NULL);
        else if (gap_b < gap_a && !is_open)
            tell_element(w, NULL, json_child(&w->b, s->y, shift + b->item[k].at));
        i += gap_a <= gap_b;
        k += gap_b <= gap_a;
    }
}

static void diff_by_lcs(struct json_walk *w, struct sides *s)
{
    size_t max = w->d->rules->limits.lcs;
    max = max < LCS_MAX ? max : LCS_MAX;
    struct window win = window_of(w, s, max);
    struct left a, b;
    if (!fill_table(w, &win, max) || !make_left(w, &a, win.na) || !make_left(w, &b, win.nb))
        return;
    uint32_t last = walk_table(w, &win, &a, &b);
    if (take_moved(&a, &b))
        tell_order(w, s);
    diff_left(w, s, &win, &a, &b, last);
    if (win.cut && s->x->n != s->y->n)
        differ_add_numbers(w->d, DIFF_LENGTH, s->x->n, s->y->n);
}

void json_arrays_diff(struct json_walk *w, const struct json_node *x, const struct json_node *y)
{
    struct sides s = {.x = x, .y = y};
    if (!make_room(w, &s))
        return;
    if (x->n && y->n && find_identity(w, &s))
        diff_by_identity(w, &s);
    else if (same_multiset(w, &s))
        tell_order(w, &s);
    else
        diff_by_lcs(w, &s);
}
