#include "lib/compare/grpc_int.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define TOLERANCE 1e-9
/* What a fixed64 without descriptor must be within, to be taken for a double: integers, times and
 * hashes as doubles lie far outside, nearly always. */
#define DOUBLE_MIN  1e-30
#define DOUBLE_MAX  1e30
#define FLOAT_MIN   1e-9f
#define FLOAT_MAX   1e9f
#define NUMBER_SIZE 40

struct parse {
    struct pool *pool;
    struct pb_tree_limits *limits;
};

static int parse_message(
    struct parse *p, struct pb_node *n, const struct descriptor_message *type, uint32_t depth);

/* ---- what descriptors say ---- */

static enum pb_wire wire_of(enum descriptor_type t)
{
    switch (t) {
    case DESCRIPTOR_DOUBLE:
    case DESCRIPTOR_FIXED64:
    case DESCRIPTOR_SFIXED64:
        return PB_FIXED64;
    case DESCRIPTOR_FLOAT:
    case DESCRIPTOR_FIXED32:
    case DESCRIPTOR_SFIXED32:
        return PB_FIXED32;
    case DESCRIPTOR_STRING:
    case DESCRIPTOR_MESSAGE:
    case DESCRIPTOR_GROUP:
    case DESCRIPTOR_BYTES:
        return PB_BYTES;
    default:
        return PB_VARINT;
    }
}

/* Many values in one length-delimited field. */
static bool is_packed(const struct descriptor_field *d, const struct pb_field *f)
{
    return d && d->repeated && f->wire == PB_BYTES && wire_of(d->type) != PB_BYTES;
}

/* Readers cut numbers to their width; encoders need not. */
static uint64_t as_typed(enum descriptor_type t, uint64_t v)
{
    switch (t) {
    case DESCRIPTOR_INT32:
    case DESCRIPTOR_UINT32:
    case DESCRIPTOR_SINT32:
    case DESCRIPTOR_ENUM:
        return (uint32_t)v;
    case DESCRIPTOR_BOOL:
        return v != 0;
    default:
        return v;
    }
}

static double double_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static float float_of(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float v;
    memcpy(&v, &low, sizeof(v));
    return v;
}

static bool is_double(const struct pb_node *n)
{
    double v = fabs(double_of(n->value));
    if (n->field)
        return n->field->type == DESCRIPTOR_DOUBLE;
    return n->wire == PB_FIXED64 && v >= DOUBLE_MIN && v <= DOUBLE_MAX;
}

static bool is_float(const struct pb_node *n)
{
    float v = fabsf(float_of(n->value));
    if (n->field)
        return n->field->type == DESCRIPTOR_FLOAT;
    return n->wire == PB_FIXED32 && v >= FLOAT_MIN && v <= FLOAT_MAX;
}

/* ---- fields become nodes ---- */

static int count_packed(const struct descriptor_field *d, struct str bytes, size_t *ret)
{
    size_t width = wire_of(d->type) == PB_FIXED64 ? 8 : 4;
    if (wire_of(d->type) != PB_VARINT) {
        *ret = bytes.n / width;
        return bytes.n % width ? -EBADMSG : 0;
    }
    struct pb_in in = pb_in_of(bytes);
    uint64_t v;
    int r;
    for (*ret = 0; (r = pb_next_varint(&in, &v)) == 1; ++*ret)
        continue;
    return r;
}

/* How many nodes a field makes: 1, or as many as there are in a packed list. A list that is broken
 * is one value, of bytes. */
static size_t nodes_of(
    const struct descriptor_message *type, const struct pb_field *f, bool *ret_packed)
{
    const struct descriptor_field *d = type ? descriptor_field(type, f->number) : NULL;
    size_t n = 0;
    *ret_packed = is_packed(d, f) && count_packed(d, f->bytes, &n) == 0;
    return *ret_packed ? n : 1;
}

static uint64_t fixed_at(const char *p, size_t width)
{
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++)
        v |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return v;
}

static void put_packed(
    struct pb_node *out, size_t n, const struct descriptor_field *d, struct str bytes)
{
    struct pb_in in = pb_in_of(bytes);
    size_t width = wire_of(d->type) == PB_FIXED64 ? 8 : 4;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = 0;
        if (wire_of(d->type) == PB_VARINT)
            pb_next_varint(&in, &v);
        else
            v = fixed_at(bytes.p + i * width, width);
        out[i] = (struct pb_node){.number = d->number,
            .wire = wire_of(d->type),
            .field = d,
            .value = as_typed(d->type, v)};
    }
}

/* One value; it becomes a message where descriptors or its looks say so. */
static int put_value(struct parse *p, struct pb_node *out, const struct descriptor_field *d,
    const struct pb_field *f, uint32_t depth)
{
    if (d && f->wire != wire_of(d->type))
        d = NULL;
    *out = (struct pb_node){.number = f->number,
        .wire = f->wire,
        .field = d,
        .value = d ? as_typed(d->type, f->value) : f->value,
        .bytes = f->bytes};
    if (f->wire != PB_BYTES)
        return 0;
    out->value = 0;
    bool declared = d && d->type == DESCRIPTOR_MESSAGE;
    if (d && !declared)
        return 0;
    out->message =
        wire_is_message(f->bytes) && (declared || (f->bytes.n && !wire_is_text(f->bytes)));
    return out->message ? parse_message(p, out, declared ? d->message : NULL, depth + 1) : 0;
}

/* ---- what says the same is made the same ---- */

static int by_number(const void *a, const void *b)
{
    const struct pb_node *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static const struct pb_node no_key = {0};

static const struct pb_node *key_of(const struct pb_node *entry)
{
    return entry->nchildren && entry->child[0].number == 1 ? &entry->child[0] : &no_key;
}

static int by_key(const void *a, const void *b)
{
    const struct pb_node *x = a, *y = b;
    int c = pb_node_order(key_of(x), key_of(y));
    return c ? c : x->order < y->order ? -1 : x->order > y->order;
}

/* Entries by key; of those with the same key the last one. Returns how many are left. */
static size_t settle_map(struct pb_node *n, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!n[i].message)
            return count; /* not all are entries: they stay a list */
    qsort(n, count, sizeof(*n), by_key);
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || pb_node_order(key_of(&n[i]), key_of(&n[i + 1])) != 0)
            n[kept++] = n[i];
    return kept;
}

/* Of a singular number or text the last one counts; a zero without presence is not there. */
static size_t settle_scalar(struct pb_node *n, size_t count)
{
    struct pb_node last = n[count - 1];
    if (!last.field->presence && last.value == 0 && last.bytes.n == 0)
        return 0;
    n[0] = last;
    return 1;
}

static size_t settle_run(struct pb_node *n, size_t count)
{
    const struct descriptor_field *d = n->field;
    for (size_t i = 1; i < count; i++)
        if (n[i].field != d)
            return count; /* one of them has another wire type */
    if (d && d->map)
        return settle_map(n, count);
    if (d && !d->repeated && d->type != DESCRIPTOR_MESSAGE)
        return settle_scalar(n, count);
    return count;
}

static void settle(struct pb_node *parent)
{
    struct pb_node *n = parent->child;
    size_t kept = 0, run;
    qsort(n, parent->nchildren, sizeof(*n), by_number);
    for (size_t i = 0; i < parent->nchildren; i += run) {
        for (run = 1; i + run < parent->nchildren && n[i + run].number == n[i].number;)
            run++;
        size_t left = settle_run(n + i, run);
        memmove(n + kept, n + i, left * sizeof(*n));
        kept += left;
    }
    parent->nchildren = kept;
}

static void set_hash(struct pb_node *n)
{
    uint64_t h = n->message ? n->nchildren : XXH3_64bits(n->bytes.n ? n->bytes.p : "", n->bytes.n);
    for (size_t i = 0; n->message && i < n->nchildren; i++)
        h = XXH3_64bits_withSeed(&n->child[i].hash, sizeof(h), h);
    const uint64_t all[] = {n->number, n->wire, n->value, h};
    n->hash = XXH3_64bits(all, sizeof(all));
}

/* ---- messages ---- */

static int count_nodes(
    struct parse *p, struct str bytes, const struct descriptor_message *type, size_t *ret)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    bool packed;
    size_t n = 0;
    while (pb_next(&in, &f) == 1) {
        n += nodes_of(type, &f, &packed);
        if (n > p->limits->nodes)
            return -EBADMSG;
    }
    p->limits->nodes -= (uint32_t)n;
    *ret = n;
    return 0;
}

static int parse_message(
    struct parse *p, struct pb_node *n, const struct descriptor_message *type, uint32_t depth)
{
    struct pb_in in = pb_in_of(n->bytes);
    struct pb_field f;
    size_t count;
    if (depth > p->limits->depth)
        return -EBADMSG;
    int r = count_nodes(p, n->bytes, type, &count);
    if (r < 0 || count == 0)
        return r;
    struct pb_node *out = pool_alloc(p->pool, count * sizeof(*out));
    if (!out)
        return -ENOMEM;
    n->child = out;
    n->nchildren = count;
    while (r == 0 && pb_next(&in, &f) == 1) {
        bool packed;
        const struct descriptor_field *d = type ? descriptor_field(type, f.number) : NULL;
        size_t made = nodes_of(type, &f, &packed);
        if (packed)
            put_packed(out, made, d, f.bytes);
        else
            r = put_value(p, out, d, &f, depth);
        out += made;
    }
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        n->child[i].order = (uint32_t)i;
        set_hash(&n->child[i]);
    }
    settle(n);
    return 0;
}

int pb_tree_parse(struct pool *pool, struct str bytes, const struct descriptor_message *type,
    struct pb_tree_limits *limits, struct pb_node *ret)
{
    struct parse p = {pool, limits};
    struct pb_node root = {.wire = PB_BYTES, .bytes = bytes, .message = wire_is_message(bytes)};
    int r = root.message ? parse_message(&p, &root, type, 1) : 0;
    if (r < 0)
        return r;
    set_hash(&root);
    *ret = root;
    return 0;
}

/* ---- comparing and telling ---- */

int pb_node_order(const struct pb_node *a, const struct pb_node *b)
{
    if (a->value != b->value)
        return a->value < b->value ? -1 : 1;
    return str_cmp(a->bytes, b->bytes);
}

static bool near(double a, double b)
{
    if (a == b || (isnan(a) && isnan(b)))
        return true;
    return fabs(a - b) <= TOLERANCE * fmax(fabs(a), fabs(b)) && isfinite(a) && isfinite(b);
}

static bool children_equal(const struct pb_node *a, const struct pb_node *b)
{
    if (a->nchildren != b->nchildren)
        return false;
    for (size_t i = 0; i < a->nchildren; i++)
        if (a->child[i].number != b->child[i].number || !pb_node_equal(&a->child[i], &b->child[i]))
            return false;
    return true;
}

bool pb_node_equal(const struct pb_node *a, const struct pb_node *b)
{
    if (a->wire != b->wire)
        return false;
    if (a->wire == PB_BYTES)
        return str_eq(a->bytes, b->bytes) || (a->message && b->message && children_equal(a, b));
    if (a->value == b->value)
        return true;
    if (is_double(a) && is_double(b))
        return near(double_of(a->value), double_of(b->value));
    return is_float(a) && is_float(b) && near(float_of(a->value), float_of(b->value));
}

bool pb_node_is_fraction(const struct pb_node *n)
{
    return is_double(n) || is_float(n);
}

/* The shortest text that reads back as the same number. */
static struct str fraction_text(struct pool *pool, double v, int digits, int most, bool narrow)
{
    char text[NUMBER_SIZE];
    int n;
    do {
        n = snprintf(text, sizeof(text), "%.*g", digits, v);
        double back = strtod(text, NULL);
        if (isnan(v) || (narrow ? (float)back == (float)v : back == v))
            break;
    } while (++digits <= most);
    return pool_str(pool, str_of(text, (size_t)n));
}

static struct str signed_text(struct pool *pool, int64_t v)
{
    return pool_fmt(pool, "%" PRId64, v);
}

static struct str enum_text(struct pool *pool, const struct pb_node *n)
{
    int32_t v = (int32_t)(uint32_t)n->value;
    struct str name =
        n->field->enumeration ? descriptor_enum_name(n->field->enumeration, v) : (struct str){0};
    return name.n ? name : signed_text(pool, v);
}

static struct str typed_text(struct pool *pool, const struct pb_node *n)
{
    switch (n->field->type) {
    case DESCRIPTOR_INT32:
    case DESCRIPTOR_SFIXED32:
        return signed_text(pool, (int32_t)(uint32_t)n->value);
    case DESCRIPTOR_INT64:
    case DESCRIPTOR_SFIXED64:
        return signed_text(pool, (int64_t)n->value);
    case DESCRIPTOR_SINT32:
    case DESCRIPTOR_SINT64:
        return signed_text(pool, pb_zigzag(n->value));
    case DESCRIPTOR_BOOL:
        return n->value ? STR("true") : STR("false");
    case DESCRIPTOR_ENUM:
        return enum_text(pool, n);
    default:
        return pool_fmt(pool, "%" PRIu64, n->value);
    }
}

struct str pb_node_text(struct pool *pool, const struct pb_node *n)
{
    if (n->message)
        return pool_fmt(pool, "{%zu fields}", n->nchildren);
    if (n->wire == PB_BYTES)
        return n->bytes;
    if (is_double(n))
        return fraction_text(pool, double_of(n->value), 15, 17, false);
    if (is_float(n))
        return fraction_text(pool, (double)float_of(n->value), 6, 9, true);
    if (n->field)
        return typed_text(pool, n);
    /* A varint with the top bit set is a negative number in nearly every schema. */
    return n->wire == PB_VARINT ? signed_text(pool, (int64_t)n->value)
                                : pool_fmt(pool, "%" PRIu64, n->value);
}
