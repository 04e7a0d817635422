/* A graph from its sources: files, and documents that the program itself keeps, loaded, checked and
 * compiled on top of the graph that is active. A bad edit leaves the last good one in place and is
 * told in words. */
#ifndef OFFSHOOT_NET_GRAPHSRC_H
#define OFFSHOOT_NET_GRAPHSRC_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "lib/base/files.h"
#include "lib/graph/load.h"
#include "lib/graph/snapshot.h"

/* More environments than this, and than live twice over, that came and went: the next change of the
 * graph starts a new chain of snapshots, in which every record has that change's epoch. */
#define GRAPHSRC_DEAD_NAMES 1024u

struct graphsrc;

struct graphsrc_options {
    const char *const
        *paths; /* borrowed; files or folders; npaths may be 0 when there are extras */
    size_t npaths;
    struct file_limits files;
    struct load_limits load;
};

struct graphsrc *graphsrc_new(const struct graphsrc_options *o, struct err *e);
void graphsrc_free(struct graphsrc *g);
/* Documents beside the files from the next load on: copied are the array and the names, borrowed
 * the bytes until they are replaced by another call. 0 or -ENOMEM (the ones before stay). */
int graphsrc_extras(struct graphsrc *g, const struct load_source *extras, size_t n);
/* rules: with our own addresses. base: the active snapshot or NULL. 0: *ret is a new snapshot
 * (a reference) with epoch `epoch`. -EALREADY: nothing changed. -EINVAL: the graph is not valid;
 * graphsrc_findings says why. -ENOMEM. */
int graphsrc_load(struct graphsrc *g, const struct endpoint_rules *rules,
    const struct snapshot *base, uint64_t epoch, struct snapshot **ret,
    struct snapshot_changes *ret_changes);
/* Of the last load: text (one finding a line) or the JSON object of `graph check`. */
void graphsrc_findings(const struct graphsrc *g, bool json, struct text *out);
size_t graphsrc_errors(const struct graphsrc *g);
size_t graphsrc_warnings(const struct graphsrc *g);
size_t graphsrc_files(const struct graphsrc *g);

#endif
