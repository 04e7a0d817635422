/* Inside the loader. The way of a file:
 *
 *   load.c         sources -> pieces: kept ones by hash, new ones parsed; pieces -> model
 *   load_cut.c     bytes -> pieces, at document markers; refuses bytes that no graph file has
 *   load_tree.c    piece -> tree of nodes, through libyaml; refuses what YAML has and we do not
 *   load_decode.c  tree -> document: tables of known fields, typed values
 *   load_service.c load_env.c load_gateway.c   the three kinds
 *   load_policy.c  of a service; load_route.c of a gateway
 *   load_move.c    document -> another address, line or file
 */
#ifndef OFFSHOOT_GRAPH_LOAD_INTERNAL_H
#define OFFSHOOT_GRAPH_LOAD_INTERNAL_H

#include "lib/base/str.h"
#include "lib/graph/findings.h"
#include "lib/graph/load.h"
#include "lib/graph/model.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- load_cut.c ---------------------------------------------------------------------------- */

/* Walks over the pieces of a file. A piece starts at "---" and ends before the next one or behind
 * "..."; what stands before the first marker is a piece too, and directives belong to theirs. */
struct cut {
    struct str bytes;
    size_t at;     /* start of the next piece */
    uint32_t line; /* of that byte */
    bool has_cr;   /* some lines end with a carriage return alone or with one before the feed */
};
/* Takes a leading byte-order mark away. */
void cut_init(struct cut *c, struct str bytes);
/* The next piece with the line it starts at; false at the end. */
bool cut_next(struct cut *c, struct str *ret, uint32_t *ret_line);

/* NULL when the bytes may be parsed, else what is wrong with the one at *ret_at. */
const char *bytes_fault(struct str bytes, size_t *ret_at, bool *ret_ascii);
/* Line (from first_line) and column of an offset. */
void bytes_place(struct str bytes, size_t at, struct place *place);

/* ---- load_tree.c --------------------------------------------------------------------------- */

enum node_type { NODE_TEXT, NODE_LIST, NODE_MAP };

/* A node's content follows it; `next` leads over that. Keys of a map are text. */
struct node {
    uint32_t line, column;
    uint32_t next;
    uint32_t text; /* TEXT: offset in tree.text, NUL-terminated there */
    uint32_t n;    /* bytes of the text, items of the list, pairs of the map */
    uint8_t type;  /* enum node_type */
    bool plain;    /* TEXT: written without quotes */
    bool again;    /* a key that its map had before */
};

struct tree {
    struct node *nodes;
    char *text;
    uint32_t *open;  /* collections that are not closed yet, `nesting` of them at the most */
    uint32_t *slots; /* hash table for the keys of one map */
    uint32_t n, size, nopen, nesting;
    size_t ntext, size_text, nslots;
};

int tree_init(struct tree *t, uint32_t nesting);
void tree_release(struct tree *t);
/* Gives memory back that a large document needed. */
void tree_shrink(struct tree *t);
/* Parses one document whose first byte is at `at`. 0, -EINVAL after a `syntax` finding, or
 * -ENOMEM. An empty document has no nodes. */
int tree_parse(struct tree *t, struct str bytes, struct place at, struct findings *found);

static inline struct str node_text(const struct tree *t, uint32_t node)
{
    return (struct str){t->text + t->nodes[node].text, t->nodes[node].n};
}

/* ---- load_decode.c ------------------------------------------------------------------------- */

enum document_kind { DOCUMENT_UNKNOWN, DOCUMENT_SERVICE, DOCUMENT_ENVIRONMENT, DOCUMENT_GATEWAY };

/* One document as understood: the start of a block that holds all of it. */
struct document {
    size_t size;       /* of the block */
    uint8_t kind;      /* enum document_kind */
    bool linked;       /* its names have their numbers */
    struct mtext name; /* s.p NULL: it has no readable name */
    union {
        struct model_service service;
        struct model_env env;
        struct model_gateway gateway;
    };
};

/* Memory of the document that is being decoded. Never moves while one is. */
struct arena {
    char *p;
    size_t n, size;
    bool full; /* something did not fit: the document must be decoded again in a larger one */
};

struct decode {
    const struct tree *tree;
    struct arena *arena;
    struct findings *found;
    uint32_t file;
};

/* Decodes a tree into the arena; NULL when it is full. */
struct document *decode_document(struct decode *d);

struct place node_place(const struct decode *d, uint32_t node);
/* Zeroed; NULL when the arena is full. Arrays of 0 give NULL too. */
void *decode_alloc(struct decode *d, size_t n, size_t size);

typedef void read_fn(struct decode *d, uint32_t value, void *into);

struct known_field {
    const char *name;
    read_fn *read;
    size_t offset; /* of what it fills */
    bool required;
};
enum map_fault { MAP_NOT_ONE = 1, MAP_UNKNOWN_FIELD = 2, MAP_MISSING_FIELD = 4, MAP_TWICE = 8 };
/* Reads a map by its table. `what` names it in findings. Returns enum map_fault bits. A map with
 * an unknown field is not judged for missing ones. */
unsigned decode_map(struct decode *d, uint32_t map, const char *what,
    const struct known_field *fields, size_t nfields, void *into);
/* The value of a key, or UINT32_MAX (also when `map` is none). */
uint32_t decode_find(const struct decode *d, uint32_t map, const char *key);
/* Adds a `contradiction` at the later of two keys when both are there: "'A' and 'B' together; " and
 * the advice. */
void decode_exclude(
    struct decode *d, uint32_t map, const char *a, const char *b, const char *advice);
/* Goes through the pairs of a map; *at starts at 0. A key's second time is a finding, left out. */
bool decode_pair(struct decode *d, uint32_t map, uint32_t *at, uint32_t *ret_value);
/* Goes through the items of a list; *at starts at 0. */
bool decode_item(const struct decode *d, uint32_t list, uint32_t *at, uint32_t *ret_value);
/* The key of a value that decode_pair gave. */
static inline uint32_t key_of(uint32_t value)
{
    return value - 1;
}
bool decode_is(struct decode *d, uint32_t value, enum node_type type);

/* Values. Each adds a finding and returns false when the value is not one. */
bool decode_text(struct decode *d, uint32_t value, struct mtext *ret);
bool decode_bool(struct decode *d, uint32_t value, bool *ret);
bool decode_number(struct decode *d, uint32_t value, int64_t min, int64_t max, int64_t *ret);
bool decode_u32(struct decode *d, uint32_t value, uint32_t min, uint32_t max, uint32_t *ret);
bool decode_choice(struct decode *d, uint32_t value, const char *const *words, uint8_t *ret);
/* A token (actions.h); `what` says what it names. */
bool decode_token(struct decode *d, uint32_t value, const char *what, struct mtext *ret);
/* A list of texts; *ret_n 0 when it is not one. */
void decode_texts(struct decode *d, uint32_t list, struct mtext **ret, uint32_t *ret_n);
/* A host, in the form in which hosts are compared. */
enum host_form { HOST_EXACT, HOST_EXACT_OR_SUFFIX, HOST_SUFFIX }; /* suffix: "*.example.com" */
bool decode_host(struct decode *d, uint32_t value, enum host_form form, struct mtext *ret);
/* The same, exact, and written without port and trailing dot. */
bool decode_bare_host(struct decode *d, uint32_t value, struct mtext *ret);
/* A name by the grammar of names; false after a finding, but *ret is set when it is text. */
bool decode_name(struct decode *d, uint32_t value, struct mtext *ret);
bool decode_duration(struct decode *d, uint32_t value, uint32_t *ret_ms);
/* Adds a `type` finding at the value: "what it is; what it should be". */
void decode_wrong(struct decode *d, uint32_t value, const char *expected);
/* Copies s, or a token in lower case; with a NUL behind it. p NULL when the arena is full. */
struct str decode_copy(struct decode *d, struct str s);
struct str decode_lower(struct decode *d, struct str token);

/* read_fn for common fields. */
read_fn read_text;     /* struct mtext */
read_fn read_str;      /* struct str */
read_fn read_bool;     /* bool */
read_fn read_port;     /* uint16_t, 1 to 65535 */
read_fn read_duration; /* uint32_t, milliseconds */
read_fn read_affinity; /* struct affinity */
read_fn read_policy;   /* struct policy */
read_fn read_routes;   /* struct model_gateway */

void decode_service(struct decode *d, uint32_t spec, struct document *doc);
/* spec UINT32_MAX: there is none that could be read. */
void decode_env(struct decode *d, uint32_t spec, struct document *doc);
void decode_gateway(struct decode *d, uint32_t spec, struct document *doc);
/* Pairs of key and value, sorted by key. */
void decode_labels(struct decode *d, uint32_t map, struct mtext **ret, uint32_t *ret_n);

/* ---- load_move.c --------------------------------------------------------------------------- */

struct move {
    uintptr_t from, to; /* the document's address before and now */
    uint32_t lines;     /* added to every line, modulo 2^32 */
    uint32_t file;
};
/* Corrects every pointer into the document and every place of it. */
void document_move(struct document *doc, const struct move *mv);
/* Calls fn for every name and reference. Stops at its first non-zero and returns it. */
int document_each_name(struct document *doc, int (*fn)(void *arg, struct mtext *name), void *arg);

#endif
