/* One document to a tree of nodes.
 *
 * libyaml counts columns in characters; places count bytes. Where a document has other characters
 * than ASCII, a cursor follows the marks through its bytes. */
#define XXH_INLINE_ALL
#include "lib/base/mem.h"
#include "lib/graph/load_internal.h"
#include <errno.h>
#include <xxhash.h>
#include <yaml.h>

#define NODES_FREE 43690u /* nodes that a document of any size may have */
#define BYTES_A_NODE                                                                               \
    5                   /* beyond that, one for so many bytes: bounds the memory for hostile text  \
                         */
#define KEYS_SCANNED 12 /* keys of a small map are compared with each other */
#define KEEP_NODES   65536u
#define KEEP_TEXT    (1u << 20)

struct builder {
    struct tree *t;
    struct str bytes;
    struct place at; /* of the first byte */
    struct findings *found;
    size_t max_nodes;
    bool ascii;
    size_t cursor_index, cursor; /* character and byte that are the same */
    size_t line, line_start;     /* first byte of the line of the last mark */
};

int tree_init(struct tree *t, uint32_t nesting)
{
    *t = (struct tree){.nesting = nesting};
    t->open = mem_array(nesting, sizeof(*t->open));
    return t->open ? 0 : -ENOMEM;
}

void tree_release(struct tree *t)
{
    mem_free(t->nodes);
    mem_free(t->text);
    mem_free(t->open);
    mem_free(t->slots);
    *t = (struct tree){0};
}

void tree_shrink(struct tree *t)
{
    if (t->size > KEEP_NODES) {
        mem_free(t->nodes);
        t->nodes = NULL;
        t->n = t->size = 0;
    }
    if (t->size_text > KEEP_TEXT) {
        mem_free(t->text);
        t->text = NULL;
        t->ntext = t->size_text = 0;
    }
    if (t->nslots > KEEP_NODES) {
        mem_free(t->slots);
        t->slots = NULL;
        t->nslots = 0;
    }
}

/* ---- places -------------------------------------------------------------------------------- */

/* The byte that a character starts at. Marks come almost in order, so steps are few. */
static size_t byte_of(struct builder *b, size_t index)
{
    while (b->cursor_index < index && b->cursor < b->bytes.n) {
        do
            b->cursor++;
        while (b->cursor < b->bytes.n && ((unsigned char)b->bytes.p[b->cursor] & 0xc0) == 0x80);
        b->cursor_index++;
    }
    while (b->cursor_index > index && b->cursor > 0) {
        do
            b->cursor--;
        while (b->cursor > 0 && ((unsigned char)b->bytes.p[b->cursor] & 0xc0) == 0x80);
        b->cursor_index--;
    }
    return b->cursor;
}

static struct place place_of(struct builder *b, const yaml_mark_t *mark)
{
    struct place at = b->at;
    size_t column = mark->column;
    if (!b->ascii && column <= mark->index) {
        if (mark->line != b->line) {
            b->line_start = byte_of(b, mark->index - column);
            b->line = mark->line;
        }
        column = byte_of(b, mark->index) - b->line_start;
    }
    at.line += (uint32_t)mark->line;
    at.column = (uint32_t)column + 1;
    return at;
}

static int refuse(struct builder *b, struct place at, const char *what)
{
    findings_add(b->found, F_SYNTAX, at, NULL, "%s", what);
    return -EINVAL;
}

static int refuse_mark(struct builder *b, const yaml_mark_t *mark, const char *what)
{
    return refuse(b, place_of(b, mark), what);
}

static int refuse_parser(struct builder *b, const yaml_parser_t *p)
{
    if (p->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    struct place at = b->at; /* the mark itself invents a line at the end of a file */
    bool reader = p->error == YAML_READER_ERROR;
    bytes_place(b->bytes, reader ? p->problem_offset : byte_of(b, p->problem_mark.index), &at);
    const char *problem = p->problem ? p->problem : "cannot be read";
    if (p->context)
        findings_add(b->found, F_SYNTAX, at, NULL, "not YAML: %s: %s", p->context, problem);
    else
        findings_add(b->found, F_SYNTAX, at, NULL, "not YAML: %s", problem);
    return -EINVAL;
}

/* ---- nodes --------------------------------------------------------------------------------- */

static int grow_nodes(struct builder *b, const yaml_mark_t *mark)
{
    struct tree *t = b->t;
    if (t->n >= b->max_nodes)
        return refuse_mark(b, mark,
            "more values than a graph file of this size may hold; split it, or use longer lines");
    size_t size = t->size ? t->size + t->size / 2 : 256;
    size = size < b->max_nodes ? size : b->max_nodes;
    struct node *nodes = mem_realloc(t->nodes, size * sizeof(*nodes));
    if (!nodes)
        return -ENOMEM;
    t->nodes = nodes;
    t->size = (uint32_t)size;
    return 0;
}

/* Is the next node a key? (A map counts what it holds, keys and values, until it is closed.) */
static bool at_key(const struct tree *t)
{
    if (!t->nopen)
        return false;
    const struct node *parent = &t->nodes[t->open[t->nopen - 1]];
    return parent->type == NODE_MAP && parent->n % 2 == 0;
}

static int add_node(
    struct builder *b, const yaml_mark_t *mark, enum node_type type, struct node **ret)
{
    struct tree *t = b->t;
    if (t->n >= t->size || t->n >= b->max_nodes) {
        int r = grow_nodes(b, mark);
        if (r < 0)
            return r;
    }
    if (at_key(t) && type != NODE_TEXT)
        return refuse_mark(b, mark, "a key that is a list or a mapping; keys are text");
    if (t->nopen)
        t->nodes[t->open[t->nopen - 1]].n++;
    struct place at = place_of(b, mark);
    *ret = &t->nodes[t->n++];
    **ret =
        (struct node){.line = at.line, .column = at.column, .next = t->n, .type = (uint8_t)type};
    return 0;
}

static int add_text(struct tree *t, struct node *node, const char *p, size_t n)
{
    if (t->size_text - t->ntext < n + 1) {
        size_t size = t->size_text + t->size_text / 2 + n + 4096;
        char *text = mem_realloc(t->text, size);
        if (!text)
            return -ENOMEM;
        t->text = text;
        t->size_text = size;
    }
    node->text = (uint32_t)t->ntext;
    node->n = (uint32_t)n;
    memcpy(t->text + t->ntext, p, n);
    t->text[t->ntext + n] = '\0';
    t->ntext += n + 1;
    return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *ev)
{
    const char *value = (const char *)ev->data.scalar.value;
    size_t n = ev->data.scalar.length;
    bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (ev->data.scalar.anchor)
        return refuse_mark(b, &ev->start_mark, "an anchor; write the value out where it is used");
    if (ev->data.scalar.tag)
        return refuse_mark(b, &ev->start_mark, "a tag; fields have their types already");
    if (plain && n == 2 && memcmp(value, "<<", 2) == 0 && at_key(b->t))
        return refuse_mark(b, &ev->start_mark, "a merge key; write the fields out");
    if (memchr(value, '\0', n))
        return refuse_mark(b, &ev->start_mark, "a text with a NUL in it");
    struct node *node;
    int r = add_node(b, &ev->start_mark, NODE_TEXT, &node);
    if (r < 0)
        return r;
    node->plain = plain;
    return add_text(b->t, node, value, n);
}

static int on_open(
    struct builder *b, const yaml_mark_t *mark, enum node_type type, bool anchor, bool tag)
{
    struct tree *t = b->t;
    if (anchor)
        return refuse_mark(b, mark, "an anchor; write the value out where it is used");
    if (tag)
        return refuse_mark(b, mark, "a tag; fields have their types already");
    if (t->nopen == t->nesting) {
        findings_add(b->found, F_SYNTAX, place_of(b, mark), NULL,
            "lists and mappings nested deeper than %u", t->nesting);
        return -EINVAL;
    }
    struct node *node;
    int r = add_node(b, mark, type, &node);
    if (r < 0)
        return r;
    t->open[t->nopen++] = t->n - 1;
    return 0;
}

/* ---- keys that a map has twice ------------------------------------------------------------- */

static void mark_by_scan(struct tree *t, uint32_t map)
{
    uint32_t keys[KEYS_SCANNED], n = 0;
    for (uint32_t k = map + 1; k < t->n; k = t->nodes[k + 1].next) {
        for (uint32_t i = 0; i < n && !t->nodes[k].again; i++)
            t->nodes[k].again = str_eq(node_text(t, keys[i]), node_text(t, k));
        if (!t->nodes[k].again)
            keys[n++] = k;
    }
}

static int reserve_slots(struct tree *t, size_t pairs)
{
    size_t size = 64;
    while (size < 2 * pairs)
        size *= 2;
    if (size > t->nslots) {
        mem_free(t->slots);
        t->nslots = 0;
        t->slots = mem_array(size, sizeof(*t->slots));
        if (!t->slots)
            return -ENOMEM;
        t->nslots = size;
    }
    memset(t->slots, 0, size * sizeof(*t->slots));
    return (int)(size - 1);
}

static int mark_by_hash(struct tree *t, uint32_t map)
{
    int mask = reserve_slots(t, t->nodes[map].n);
    if (mask < 0)
        return mask;
    for (uint32_t k = map + 1; k < t->n; k = t->nodes[k + 1].next) {
        struct str key = node_text(t, k);
        uint32_t i = (uint32_t)XXH3_64bits(key.p, key.n) & (uint32_t)mask;
        while (t->slots[i] && !str_eq(node_text(t, t->slots[i]), key))
            i = (i + 1) & (uint32_t)mask;
        t->nodes[k].again = t->slots[i] != 0;
        if (!t->slots[i])
            t->slots[i] = k;
    }
    return 0;
}

static int on_close(struct builder *b)
{
    struct tree *t = b->t;
    uint32_t i = t->open[--t->nopen];
    struct node *node = &t->nodes[i];
    node->next = t->n;
    if (node->type != NODE_MAP)
        return 0;
    node->n /= 2;
    if (node->n > KEYS_SCANNED)
        return mark_by_hash(t, i);
    mark_by_scan(t, i);
    return 0;
}

/* ---- events -------------------------------------------------------------------------------- */

static int on_document(struct builder *b, const yaml_event_t *ev)
{
    if (ev->data.document_start.tag_directives.start != ev->data.document_start.tag_directives.end)
        return refuse_mark(b, &ev->start_mark, "a %TAG directive; tags are not used");
    if (b->t->n)
        return refuse_mark(b, &ev->start_mark, "a second document without `---` before it");
    return 0;
}

static int on_event(struct builder *b, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(b, ev);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, &ev->start_mark, NODE_LIST, ev->data.sequence_start.anchor,
            ev->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return on_open(b, &ev->start_mark, NODE_MAP, ev->data.mapping_start.anchor,
            ev->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(b);
    case YAML_DOCUMENT_START_EVENT:
        return on_document(b, ev);
    case YAML_ALIAS_EVENT:
        return refuse_mark(b, &ev->start_mark, "an alias; write the value out");
    default:
        return 0;
    }
}

static int pump(struct builder *b, yaml_parser_t *parser)
{
    for (;;) {
        yaml_event_t ev;
        if (!yaml_parser_parse(parser, &ev))
            return refuse_parser(b, parser);
        bool end = ev.type == YAML_STREAM_END_EVENT;
        int r = on_event(b, &ev);
        yaml_event_delete(&ev);
        if (r < 0 || end)
            return r;
    }
}

/* `---` and nothing behind it is a document with an empty text: nothing. */
static void drop_empty(struct tree *t)
{
    if (t->n == 1 && t->nodes[0].type == NODE_TEXT && t->nodes[0].plain && !t->nodes[0].n)
        t->n = 0;
}

int tree_parse(struct tree *t, struct str bytes, struct place at, struct findings *found)
{
    struct builder b = {.t = t, .bytes = bytes, .at = at, .found = found};
    size_t bad;

    t->n = t->nopen = 0;
    t->ntext = 0;
    b.max_nodes = NODES_FREE + bytes.n / BYTES_A_NODE;
    if (bytes.n > UINT32_MAX / 4)
        return refuse(&b, at, "a document of more than 1 GiB; split the file");
    const char *fault = bytes_fault(bytes, &bad, &b.ascii);
    if (fault) {
        bytes_place(bytes, bad, &b.at);
        return refuse(&b, b.at, fault);
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)bytes.p, bytes.n);
    int r = pump(&b, &parser);
    yaml_parser_delete(&parser);
    drop_empty(t);
    return r;
}
