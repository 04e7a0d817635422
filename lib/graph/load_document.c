/* What all kinds share: apiVersion, kind, metadata. */
#include "lib/graph/load_internal.h"
#include <stdlib.h>

#define NOWHERE UINT32_MAX

static const char *const kinds[] = {"Service", "Environment", "Gateway", NULL};

struct metadata {
    struct mtext name;
    struct mtext *labels;
    uint32_t nlabels;
};

struct head {
    struct metadata metadata;
    uint8_t kind; /* index into kinds */
    bool has_kind;
};

/* ---- labels -------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    return str_cmp(((const struct mtext *)a)->s, ((const struct mtext *)b)->s);
}

void decode_labels(struct decode *d, uint32_t map, struct mtext **ret, uint32_t *ret_n)
{
    if (!decode_is(d, map, NODE_MAP))
        return;
    struct mtext *pairs = decode_alloc(d, d->tree->nodes[map].n, 2 * sizeof(*pairs));
    if (!pairs)
        return;
    uint32_t n = 0;
    for (uint32_t at = 0, value; decode_pair(d, map, &at, &value);)
        if (decode_text(d, key_of(value), &pairs[2 * n]) &&
            decode_text(d, value, &pairs[2 * n + 1]))
            n++;
    qsort(pairs, n, 2 * sizeof(*pairs), by_key);
    *ret = pairs;
    *ret_n = n;
}

/* ---- head ---------------------------------------------------------------------------------- */

static void read_version(struct decode *d, uint32_t value, void *into)
{
    (void)into;
    if (d->tree->nodes[value].type != NODE_TEXT ||
        !str_eq(node_text(d->tree, value), STR("offshoot.dev/v1")))
        decode_wrong(d, value, "offshoot.dev/v1");
}

static void read_kind(struct decode *d, uint32_t value, void *into)
{
    struct head *h = into;
    h->has_kind = decode_choice(d, value, kinds, &h->kind);
}

static void read_name(struct decode *d, uint32_t value, void *into)
{
    decode_name(d, value, into);
}

static void read_labels(struct decode *d, uint32_t value, void *into)
{
    struct metadata *m = into;
    decode_labels(d, value, &m->labels, &m->nlabels);
}

static void read_metadata(struct decode *d, uint32_t value, void *into)
{
    static const struct known_field fields[] = {
        {"name", read_name, offsetof(struct metadata, name), true},
        {"labels", read_labels, 0, false},
    };
    decode_map(d, value, "metadata", fields, sizeof(fields) / sizeof(*fields), into);
}

/* The spec is read when the kind is known. */
static void read_spec(struct decode *d, uint32_t value, void *into)
{
    (void)d;
    (void)value;
    (void)into;
}

static unsigned decode_head(struct decode *d, struct head *h)
{
    static const struct known_field fields[] = {
        {"apiVersion", read_version, 0, false},
        {"kind", read_kind, 0, true},
        {"metadata", read_metadata, offsetof(struct head, metadata), true},
        {"spec", read_spec, 0, false},
    };
    return decode_map(d, 0, "a document", fields, sizeof(fields) / sizeof(*fields), h);
}

static void decode_spec(
    struct decode *d, const struct head *h, unsigned fault, uint32_t spec, struct document *doc)
{
    switch (h->kind) {
    case 0:
        doc->kind = DOCUMENT_SERVICE;
        doc->service.name = doc->name;
        decode_service(d, spec, doc);
        break;
    case 1:
        doc->kind = DOCUMENT_ENVIRONMENT;
        doc->env.name = doc->name;
        doc->env.labels = h->metadata.labels;
        doc->env.nlabels = h->metadata.nlabels;
        if (spec == NOWHERE && !fault)
            findings_add(d->found, F_MISSING_FIELD, node_place(d, 0), NULL,
                "'spec' is missing in an Environment; add it, with its mode");
        decode_env(d, spec, doc);
        break;
    default:
        doc->kind = DOCUMENT_GATEWAY;
        doc->gateway.name = doc->name;
        decode_gateway(d, spec, doc);
        break;
    }
}

struct document *decode_document(struct decode *d)
{
    struct document *doc = decode_alloc(d, 1, sizeof(*doc));
    struct head head = {0};
    if (!doc)
        return NULL;
    unsigned fault = decode_head(d, &head);
    doc->name = head.metadata.name;
    if (head.has_kind)
        decode_spec(d, &head, fault & MAP_UNKNOWN_FIELD, decode_find(d, 0, "spec"), doc);
    return d->arena->full ? NULL : doc;
}
