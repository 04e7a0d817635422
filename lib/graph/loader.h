/* Inside the loader: what it keeps from one load to the next. */
#ifndef OFFSHOOT_GRAPH_LOADER_H
#define OFFSHOOT_GRAPH_LOADER_H

#define XXH_INLINE_ALL
#include "lib/graph/load_internal.h"
#include "lib/graph/model_index.h"
#include <xxhash.h>

/* A stretch of a file that holds one document at the most. Kept small: there may be a million. */
struct piece {
    XXH128_hash_t hash;
    struct document *doc;              /* owned; NULL: nothing in it that could be understood */
    uint32_t at, n;                    /* bytes of its file */
    uint32_t line;                     /* of its first byte */
    uint32_t placed_line, placed_file; /* what the places in doc count from */
    bool unread;                       /* not parsed yet in this load */
    bool faulty; /* has findings: parsed again at every load, so that they are repeated */
};

struct source {
    char *name; /* owned */
    XXH64_hash_t name_hash;
    uint64_t generation; /* 0: bytes must be hashed at the next load */
    size_t bytes;
    struct piece *pieces;
    uint32_t n, size;
    bool taken; /* an old source whose pieces went to a new one */
};

struct loader {
    struct load_limits limits;
    struct source *sources;
    size_t nsources;
    struct names *names;
    uint32_t names_base; /* names after the last load from nothing */
    struct tree tree;
    struct arena scratch;
    size_t block_bytes; /* of all documents */
    size_t budget;      /* for documents and names */
    uint32_t documents; /* pieces of this load */
    bool stopped;       /* there are too many of them */
    const char **files;
    struct model model;
};

/* ---- load_piece.c -------------------------------------------------------------------------- */

/* Parses a piece that has no document. bytes: its own. 0 or -ENOMEM. */
int piece_parse(struct loader *l, const struct source *src, uint32_t file, struct piece *p,
    struct str bytes, struct findings *findings);
/* Corrects the places of a document that was parsed earlier. */
void piece_place(const struct source *src, uint32_t file, struct piece *p);
void piece_release(struct loader *l, struct piece *p);

/* ---- load_model.c -------------------------------------------------------------------------- */

/* Makes l->model of all pieces; duplicate names and an empty graph are findings. 0 or -ENOMEM. */
int loader_assemble(struct loader *l, struct findings *findings);
void loader_drop_model(struct loader *l);

#endif
