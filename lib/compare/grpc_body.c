/* gRPC bodies compared: messages in order, fields by number, lists by what they hold.
 *
 *   .message[]          the n-th message of one with the n-th of the other
 *   .message[].2.1      without descriptors; brackets are not written, as a list of one looks like
 *                       a single value, and a field must keep its path
 *   .message[].items[].prices{*}.amount      with descriptors */
#include "lib/compare/compare_int.h"
#include "lib/compare/grpc_int.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK (16u << 10)

struct walk {
    struct differ *d;
    struct pool *pool; /* of this comparison only */
};

/* The values of one field in one message. */
struct run {
    struct pb_node *n;
    size_t count;
};

static void compare_messages(struct walk *w, const struct pb_node *a, const struct pb_node *b,
    const struct descriptor_message *type);

/* Of NULL: empty. */
static struct str text_of(struct walk *w, const struct pb_node *n)
{
    if (!n || (n->wire == PB_BYTES && !n->message))
        return n ? n->bytes : (struct str){0};
    struct str text = pb_node_text(w->pool, n);
    if (!text.p)
        w->d->failed = -ENOMEM;
    return text;
}

static void add(struct walk *w, enum diff_kind kind, bool shape, const struct pb_node *a,
    const struct pb_node *b)
{
    struct str text_a = text_of(w, a), text_b = text_of(w, b);
    if (w->d->failed == 0)
        differ_add(w->d, kind, shape, text_a, text_b);
}

/* ---- values ---- */

static bool same_shape(struct walk *w, const struct pb_node *a, const struct pb_node *b)
{
    if (a->wire == PB_BYTES)
        return shape_same_text(a->bytes, b->bytes);
    if (a->field && (a->field->type == DESCRIPTOR_ENUM || a->field->type == DESCRIPTOR_BOOL))
        return true;
    if (pb_node_is_fraction(a) && pb_node_is_fraction(b))
        return true; /* 2 and 2.5 are of one type here */
    return shape_same_number(text_of(w, a), text_of(w, b));
}

static bool may_be_message(const struct pb_node *n)
{
    return n->message || (n->wire == PB_BYTES && n->bytes.n == 0);
}

static void compare_values(struct walk *w, const struct pb_node *a, const struct pb_node *b)
{
    if (pb_node_equal(a, b))
        return;
    if (a->wire != b->wire) {
        add(w, DIFF_TYPE, true, a, b);
    } else if (may_be_message(a) && may_be_message(b)) {
        const struct descriptor_field *f = a->field ? a->field : b->field;
        compare_messages(w, a, b, f ? f->message : NULL);
    } else {
        /* one is a message by its looks and one is not: both are bytes */
        struct pb_node bytes_a = *a, bytes_b = *b;
        bytes_a.message = bytes_b.message = false;
        add(w, DIFF_VALUE, !same_shape(w, a, b), &bytes_a, &bytes_b);
    }
}

/* ---- lists ---- */

static int by_hash(const void *a, const void *b)
{
    const struct pb_node *x = *(struct pb_node *const *)a, *y = *(struct pb_node *const *)b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int by_place(const void *a, const void *b)
{
    const struct pb_node *x = *(struct pb_node *const *)a, *y = *(struct pb_node *const *)b;
    return x < y ? -1 : x > y;
}

static struct pb_node **by_hash_of(struct walk *w, struct run r)
{
    struct pb_node **p = pool_alloc(w->pool, (r.count ? r.count : 1) * sizeof(struct pb_node *));
    if (!p)
        return NULL;
    for (size_t i = 0; i < r.count; i++)
        p[i] = &r.n[i];
    qsort(p, r.count, sizeof(struct pb_node *), by_hash);
    return p;
}

/* Takes the values that both have out of both, wherever they stand. What is left is again in the
 * order in which it came. */
static void take_common(struct pb_node **a, size_t *na, struct pb_node **b, size_t *nb)
{
    size_t i = 0, j = 0, left_a = 0, left_b = 0;
    while (i < *na && j < *nb) {
        if (a[i]->hash == b[j]->hash && pb_node_equal(a[i], b[j])) {
            i++;
            j++;
        } else if (a[i]->hash <= b[j]->hash) {
            a[left_a++] = a[i++];
        } else {
            b[left_b++] = b[j++];
        }
    }
    while (i < *na)
        a[left_a++] = a[i++];
    while (j < *nb)
        b[left_b++] = b[j++];
    *na = left_a;
    *nb = left_b;
    qsort(a, left_a, sizeof(struct pb_node *), by_place);
    qsort(b, left_b, sizeof(struct pb_node *), by_place);
}

/* What both begin with and end with is the same: it is left out. */
static void trim_equal(struct run *a, struct run *b)
{
    while (a->count && b->count && pb_node_equal(a->n, b->n)) {
        a->n++;
        b->n++;
        a->count--;
        b->count--;
    }
    while (a->count && b->count && pb_node_equal(&a->n[a->count - 1], &b->n[b->count - 1])) {
        a->count--;
        b->count--;
    }
}

/* The length; the order, when only that differs; else what only one of them holds, in turn. */
static void compare_lists(struct walk *w, struct run a, struct run b)
{
    if (a.count != b.count)
        differ_add_numbers(w->d, DIFF_LENGTH, a.count, b.count);
    trim_equal(&a, &b);
    if (a.count == 0 && b.count == 0)
        return;
    struct pb_node **left_a = by_hash_of(w, a), **left_b = by_hash_of(w, b);
    size_t na = a.count, nb = b.count;
    if (!left_a || !left_b) {
        w->d->failed = -ENOMEM;
        return;
    }
    take_common(left_a, &na, left_b, &nb);
    if (na == 0 && nb == 0)
        add(w, DIFF_ORDER, true, NULL, NULL);
    for (size_t i = 0; i < na && i < nb; i++)
        compare_values(w, left_a[i], left_b[i]);
}

/* ---- maps ---- */

/* A child of an entry: 1 is the key, 2 the value. NULL: it is zero. */
static const struct pb_node *of_entry(const struct pb_node *entry, uint32_t number)
{
    for (size_t i = 0; i < entry->nchildren; i++)
        if (entry->child[i].number == number)
            return &entry->child[i];
    return NULL;
}

/* What a value that was left out stands for. */
static struct pb_node zero_like(const struct pb_node *other)
{
    return (struct pb_node){.number = other->number,
        .wire = other->wire,
        .field = other->field,
        .message = other->message};
}

static void compare_present(struct walk *w, const struct pb_node *a, const struct pb_node *b)
{
    struct pb_node zero;
    if (!a && !b)
        return;
    if (!a || !b)
        zero = zero_like(a ? a : b);
    compare_values(w, a ? a : &zero, b ? b : &zero);
}

static void add_entry(struct walk *w, enum diff_kind kind, const struct pb_node *entry)
{
    const struct pb_node *key = of_entry(entry, 1);
    struct str text = key ? pb_node_text(w->pool, key) : (struct str){0};
    struct str none = {0};
    bool missing = kind == DIFF_MISSING;
    differ_add(w->d, kind, true, missing ? text : none, missing ? none : text);
}

static int key_order(const struct pb_node *a, const struct pb_node *b)
{
    static const struct pb_node zero = {0};
    const struct pb_node *x = of_entry(a, 1), *y = of_entry(b, 1);
    return pb_node_order(x ? x : &zero, y ? y : &zero);
}

/* Both are by key. */
static void compare_maps(struct walk *w, struct run a, struct run b)
{
    size_t i = 0, j = 0;
    while (i < a.count || j < b.count) {
        int c = i == a.count ? 1 : j == b.count ? -1 : key_order(&a.n[i], &b.n[j]);
        if (c < 0)
            add_entry(w, DIFF_MISSING, &a.n[i]);
        else if (c > 0)
            add_entry(w, DIFF_EXTRA, &b.n[j]);
        else
            compare_present(w, of_entry(&a.n[i], 2), of_entry(&b.n[j], 2));
        i += c <= 0;
        j += c >= 0;
    }
}

/* ---- messages ---- */

/* All values are of the type that the descriptor says. */
static bool fits(struct run r, const struct descriptor_field *f)
{
    for (size_t i = 0; i < r.count; i++)
        if (r.n[i].field != f || (f->map && !r.n[i].message))
            return false;
    return true;
}

static void compare_one_sided(
    struct walk *w, const struct descriptor_field *f, struct run a, struct run b)
{
    if (f && !f->presence)
        compare_present(w, a.count ? a.n : NULL, b.count ? b.n : NULL);
    else if (a.count)
        add(w, DIFF_MISSING, true, a.n, NULL);
    else
        add(w, DIFF_EXTRA, true, NULL, b.n);
}

static void compare_runs(
    struct walk *w, const struct descriptor_field *f, struct run a, struct run b)
{
    if (f && f->map) {
        struct path_mark m = differ_push(w->d, STR("{*}"));
        compare_maps(w, a, b);
        differ_pop(w->d, m);
    } else if (f && f->repeated) {
        struct path_mark m = differ_push(w->d, STR("[]"));
        compare_lists(w, a, b);
        differ_pop(w->d, m);
    } else if (a.count == 0 || b.count == 0) {
        compare_one_sided(w, f, a, b);
    } else if (a.count == 1 && b.count == 1) {
        compare_values(w, a.n, b.n);
    } else {
        compare_lists(w, a, b);
    }
}

static void compare_field(
    struct walk *w, const struct descriptor_message *type, struct run a, struct run b)
{
    uint32_t number = a.count ? a.n->number : b.n->number;
    const struct descriptor_field *f = type ? descriptor_field(type, number) : NULL;
    char text[16];
    int n = snprintf(text, sizeof(text), "%u", number);
    struct str name = f ? f->name : str_of(text, (size_t)n);
    struct path_mark m = differ_push_key(w->d, name);
    compare_runs(w, f && fits(a, f) && fits(b, f) ? f : NULL, a, b);
    differ_pop(w->d, m);
}

/* The values of that number from *at on, which moves on. */
static struct run take_run(const struct pb_node *m, size_t *at, uint32_t number)
{
    struct run r = {*at < m->nchildren ? m->child + *at : NULL, 0};
    while (*at < m->nchildren && m->child[*at].number == number) {
        ++*at;
        r.count++;
    }
    return r;
}

static void compare_messages(struct walk *w, const struct pb_node *a, const struct pb_node *b,
    const struct descriptor_message *type)
{
    size_t i = 0, j = 0;
    while (i < a->nchildren || j < b->nchildren) {
        uint32_t next_a = i < a->nchildren ? a->child[i].number : UINT32_MAX;
        uint32_t next_b = j < b->nchildren ? b->child[j].number : UINT32_MAX;
        uint32_t number = next_a < next_b ? next_a : next_b;
        struct run run_a = take_run(a, &i, number), run_b = take_run(b, &j, number);
        compare_field(w, type, run_a, run_b);
    }
}

/* ---- bodies ---- */

static int parse_body(
    struct walk *w, struct str body, const struct descriptor_message *type, struct run *ret)
{
    const struct compare_limits *l = &w->d->rules->limits;
    struct pb_tree_limits left = {.depth = l->depth, .nodes = l->nodes};
    struct grpc_frames frames;
    int r = grpc_frames_split(w->pool, body, l->nodes, l->inflated_bytes, &frames);
    if (r < 0)
        return r;
    struct run all = {NULL, frames.n};
    all.n = pool_zalloc(w->pool, (frames.n ? frames.n : 1) * sizeof(*all.n));
    if (!all.n)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < frames.n; i++) {
        all.n[i] = (struct pb_node){.wire = PB_BYTES, .bytes = frames.item[i].message};
        if (!frames.item[i].opaque)
            r = pb_tree_parse(w->pool, frames.item[i].message, type, &left, &all.n[i]);
    }
    *ret = all;
    return r;
}

static void compare_bodies(
    struct walk *w, struct run a, struct run b, const struct descriptor_message *type)
{
    struct path_mark m = differ_push(w->d, STR(".message[]"));
    if (a.count != b.count)
        differ_add_numbers(w->d, DIFF_LENGTH, a.count, b.count);
    for (size_t i = 0; i < a.count && i < b.count; i++) {
        if (pb_node_equal(&a.n[i], &b.n[i]))
            continue;
        if (a.n[i].message && b.n[i].message)
            compare_messages(w, &a.n[i], &b.n[i], type);
        else
            compare_values(w, &a.n[i], &b.n[i]);
    }
    differ_pop(w->d, m);
}

int grpc_body_compare(struct differ *d, struct str a, struct str b)
{
    const struct compare_rules *rules = d->rules;
    const struct descriptor_message *type =
        rules->descriptors ? descriptors_reply(rules->descriptors, rules->grpc_method) : NULL;
    struct walk w = {d, pool_new(CHUNK)};
    struct run run_a, run_b;
    int r = w.pool ? parse_body(&w, a, type, &run_a) : -ENOMEM;
    if (r == 0)
        r = parse_body(&w, b, type, &run_b);
    if (r == 0)
        compare_bodies(&w, run_a, run_b, type);
    pool_free(w.pool);
    if (r != -ENOMEM)
        return r;
    d->failed = r;
    return 0;
}
