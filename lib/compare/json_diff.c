/* JSON: equal values are passed over by their hashes; objects are merged by their sorted keys.
 *
 * Maps. A key that looks like an id is no name of a field, and one path stands for all of them:
 * {*}. Ids are: digits alone; dates and times; UUIDs; 8 or more hex digits with a digit among them;
 * 16 or more letters and digits mixed; what has an '@'; a word, one of - _ : and two or more digits
 * ("sku-1001"). All keys of an object are taken for ids when it has more than 64 and all values are
 * of one type. When no id of one side is on the other, ids are noise: they are paired in order. */
#include "lib/compare/json_walk.h"
#include "lib/compare/letters.h"
#include "lib/compare/redact_int.h"
#include "lib/compare/redact_json.h"
#include <errno.h>
#include <stdlib.h>

#define MAP_KEYS     64
#define HEX_ID_MIN   8
#define MIXED_ID_MIN 16

struct letters {
    size_t digits, hex, letters, date, other;
};

static struct letters count_letters(struct str s)
{
    struct letters l = {0};
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        bool letter = is_letter(c);
        l.digits += is_digit(c);
        l.letters += letter;
        l.hex += is_hex(c);
        l.date += is_digit(c) || (c && strchr("-:.tz+/ ", c));
        l.other += !letter && !is_digit(c) && c != '-' && c != '_';
    }
    return l;
}

/* "sku-1001": a word, a separator, digits to the end. */
static bool is_numbered(struct str s)
{
    size_t digits = 0;
    while (digits < s.n && is_digit(s.p[s.n - 1 - digits]))
        digits++;
    if (digits < 2 || digits + 2 > s.n)
        return false;
    return strchr("-_:", s.p[s.n - 1 - digits]) && s.p[s.n - 1 - digits];
}

bool json_key_is_id(struct str key)
{
    struct letters l = count_letters(key);
    if (key.n == 0 || (l.digits == 0 && str_find(key, '@') == key.n))
        return false;
    if (is_digit(key.p[0]) && l.date == key.n)
        return true;
    if (key.n >= HEX_ID_MIN && l.hex == key.n)
        return true;
    if (key.n >= MIXED_ID_MIN && l.other == 0 && l.letters && l.digits >= 3)
        return true;
    return str_find(key, '@') < key.n || is_numbered(key);
}

/* ---- telling ---- */

static struct str shown(struct json_walk *w, const struct json *j, const struct json_node *v)
{
    const struct redact *r = w->d->rules->redact;
    struct text t = {0};
    if (!v)
        return str_of(NULL, 0);
    if (redact_is_off(r))
        return differ_shown(w->d, v->raw);
    redact_nodes(r, j, v, differ_is_secret(w->d), 2 * COMPARE_TEXT_MAX, &t);
    return differ_taken(w->d, &t);
}

void json_tell(
    struct json_walk *w, enum diff_kind kind, const struct json_node *x, const struct json_node *y)
{
    struct difference *told = differ_new(w->d, kind, true);
    if (!told)
        return;
    told->a = shown(w, &w->a, x);
    told->b = shown(w, &w->b, y);
}

/* ---- objects ---- */

static bool one_type(const struct json *j, const struct json_node *v, enum json_type type)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (json_child(j, v, i)->type != type)
            return false;
    return true;
}

static bool is_map(const struct json_walk *w, const struct json_node *x, const struct json_node *y)
{
    if ((x->n <= MAP_KEYS && y->n <= MAP_KEYS) || x->n == 0 || y->n == 0)
        return false;
    enum json_type type = json_child(&w->a, x, 0)->type;
    return one_type(&w->a, x, type) && one_type(&w->b, y, type);
}

/* Ids of one object that the other has not. */
struct unmatched {
    const struct json_node **item;
    size_t n;
};
struct ids {
    struct unmatched a, b;
    size_t matched;
};

static bool make_room(struct differ *d, struct unmatched *u, uint32_t n)
{
    u->item = pool_alloc(d->pool, n * sizeof(const struct json_node *));
    if (!u->item)
        d->failed = -ENOMEM;
    return u->item;
}

static int by_place(const void *a, const void *b)
{
    const struct json_node *const *x = a, *const *y = b;
    return (*x > *y) - (*x < *y);
}

static void diff_unmatched(struct json_walk *w, struct ids *ids)
{
    size_t paired = 0;
    struct path_mark m = differ_push(w->d, STR("{*}"));
    if (ids->matched == 0 && ids->a.n && ids->b.n) {
        qsort(ids->a.item, ids->a.n, sizeof(const struct json_node *), by_place);
        qsort(ids->b.item, ids->b.n, sizeof(const struct json_node *), by_place);
        paired = ids->a.n < ids->b.n ? ids->a.n : ids->b.n;
    }
    for (size_t i = 0; i < paired; i++) {
        const struct json_node *x = ids->a.item[i], *y = ids->b.item[i];
        differ_add(w->d, DIFF_VALUE, !shape_same_text(x->key, y->key), x->key, y->key);
        json_values_diff(w, x, y);
    }
    for (size_t i = paired; i < ids->a.n; i++)
        json_tell(w, DIFF_MISSING, ids->a.item[i], NULL);
    for (size_t i = paired; i < ids->b.n; i++)
        json_tell(w, DIFF_EXTRA, NULL, ids->b.item[i]);
    differ_pop(w->d, m);
}

/* A member that only one of them has. */
static void diff_lonely(struct json_walk *w, const struct json_node *x, const struct json_node *y,
    struct ids *ids, bool id)
{
    if (id && x) {
        ids->a.item[ids->a.n++] = x;
    } else if (id) {
        ids->b.item[ids->b.n++] = y;
    } else {
        struct path_mark m = differ_push_key(w->d, x ? x->key : y->key);
        json_tell(w, x ? DIFF_MISSING : DIFF_EXTRA, x, y);
        differ_pop(w->d, m);
    }
}

static void diff_members(struct json_walk *w, const struct json_node *x, const struct json_node *y,
    struct ids *ids, bool id)
{
    ids->matched += id;
    if (x->hash == y->hash)
        return;
    struct path_mark m = id ? differ_push(w->d, STR("{*}")) : differ_push_key(w->d, x->key);
    json_values_diff(w, x, y);
    differ_pop(w->d, m);
}

static void diff_objects(struct json_walk *w, const struct json_node *x, const struct json_node *y)
{
    struct ids ids = {.matched = 0};
    bool map = is_map(w, x, y);
    if (!make_room(w->d, &ids.a, x->n) || !make_room(w->d, &ids.b, y->n))
        return;
    for (uint32_t i = 0, k = 0; i < x->n || k < y->n;) {
        bool in_x = i < x->n, in_y = k < y->n;
        const struct json_node *u = in_x ? json_child(&w->a, x, i) : NULL;
        const struct json_node *v = in_y ? json_child(&w->b, y, k) : NULL;
        int c = !in_x ? 1 : !in_y ? -1 : str_cmp(u->key, v->key);
        bool id = map || json_key_is_id(c > 0 ? v->key : u->key);
        if (c == 0)
            diff_members(w, u, v, &ids, id);
        else
            diff_lonely(w, c < 0 ? u : NULL, c > 0 ? v : NULL, &ids, id);
        i += c <= 0;
        k += c >= 0;
    }
    diff_unmatched(w, &ids);
}

/* ---- values ---- */

static void diff_scalars(struct json_walk *w, const struct json_node *x, const struct json_node *y)
{
    switch (x->type) {
    case JSON_NUMBER:
        if (!json_number_equal(x->text, y->text))
            differ_add(w->d, DIFF_VALUE, !shape_same_number(x->text, y->text), x->text, y->text);
        break;
    case JSON_STRING:
        differ_add(w->d, DIFF_VALUE, !shape_same_text(x->text, y->text), x->text, y->text);
        break;
    default:
        differ_add(w->d, DIFF_VALUE, false, x->text, y->text);
    }
}

void json_values_diff(struct json_walk *w, const struct json_node *x, const struct json_node *y)
{
    if (w->d->failed || (x->hash == y->hash && x->type == y->type))
        return;
    if (x->type != y->type)
        json_tell(w, DIFF_TYPE, x, y);
    else if (x->type == JSON_OBJECT)
        diff_objects(w, x, y);
    else if (x->type == JSON_ARRAY)
        json_arrays_diff(w, x, y);
    else
        diff_scalars(w, x, y);
}

int json_compare(struct differ *d, struct str a, struct str b)
{
    const struct compare_limits *l = &d->rules->limits;
    struct json_walk w = {.d = d};
    int x = json_parse(&w.a, d->pool, a, l->depth, l->nodes);
    int y = json_parse(&w.b, d->pool, b, l->depth, l->nodes);
    if (x == -ENOMEM || y == -ENOMEM)
        return d->failed = -ENOMEM;
    if (x || y)
        return x == -E2BIG || y == -E2BIG ? -E2BIG : x == y ? -EBADMSG : -EPROTOTYPE;
    json_values_diff(&w, &w.a.node[0], &w.b.node[0]);
    return 0;
}
