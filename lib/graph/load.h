/* Graph files to model: YAML (and JSON, its subset) through libyaml, read strictly.
 *
 * Refused beyond what YAML itself refuses: anchors, aliases, merge keys, tags, duplicate keys, NUL,
 * invalid UTF-8, a second byte-order mark, complex keys. Text is taken as written.
 *
 * A loader keeps what it parsed, by document: a file is cut at its document markers ("---" and
 * "..." at the start of a line, which YAML allows nowhere else) and a document whose bytes
 * did not change since the last load is not parsed again; only its places move with its line.
 * Documents with findings are, so that their findings are repeated. A one-line edit of a 50 MB file
 * costs a hash of the file and one document. Memory: at most 20 times the bytes of all sources and
 * 32 MiB, the check included; what would need more is a `syntax` finding. */
#ifndef OFFSHOOT_GRAPH_LOAD_H
#define OFFSHOOT_GRAPH_LOAD_H

#include "lib/base/addr.h"
#include "lib/graph/findings.h"
#include "lib/graph/model.h"

struct load_limits {
    uint32_t nesting;   /* default 32 */
    uint32_t documents; /* default 1,000,000 over all files */
};
#define LOAD_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        32, 1000000                                                                                \
    }

/* One source as bytes. A file that is given twice is two files. error_text: the file could not be
 * read (a `syntax` finding at line 1 of it, bytes ignored). */
struct load_source {
    const char *name;
    struct str bytes;       /* borrowed for the call */
    uint64_t generation;    /* from files.h; equal to the last load's: not hashed. 0: unknown */
    const char *error_text; /* NULL: readable */
};

struct loader;

struct loader *loader_new(const struct load_limits *limits); /* NULL limits: the defaults */
void loader_free(struct loader *l);
/* Parses the sources and gives the model of all of them together; adds what is wrong with single
 * documents to `findings` (codes syntax ... empty). The model is always returned when memory
 * lasts, holding what could be understood; it belongs to the loader and is valid until the next
 * loader_load. 0 or -ENOMEM. Findings of unchanged documents are repeated. */
int loader_load(struct loader *l, const struct load_source *sources, size_t n,
    struct findings *findings, const struct model **ret);

#endif
