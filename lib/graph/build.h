/* Makes a snapshot on top of another one: what compile.c (from a model) and codec.c (from bytes)
 * have in common.
 *
 *   build_begin
 *   names are interned            build->chain->envs, services, files
 *   build_services, build_gateways or build_keep_services, build_keep_gateways
 *   build_env, build_remove_env   which environments may differ, with their parents
 *   build_finish                  lineages, records, pools, digests -> the new snapshot
 *   build_end                     always; takes the names back unless build_finish succeeded
 *
 * The base is never touched: pages are copied before they are written. */
#ifndef OFFSHOOT_GRAPH_BUILD_H
#define OFFSHOOT_GRAPH_BUILD_H

#include "lib/graph/envrec.h"

/* An environment that is new or may differ from the base's. */
struct draft {
    uint32_t number;
    uint32_t parents, lineage; /* offsets in words */
    uint8_t nparents, nlineage;
    uint8_t state;             /* enum draft_state */
    bool from_base;            /* only its lineage may differ */
    uint64_t changed;          /* epoch to give when the content differs */
    uint32_t source, source_n; /* what it is for the caller */
};

/* A draft's content, its statements owning references; where it stands; its fingerprint. */
struct env_source {
    struct env_content content;
    struct place_base place;
    uint64_t fingerprint;
};

struct build;
typedef int build_source_fn(struct build *b, const struct draft *d, struct env_source *ret);

struct build {
    struct chain *chain;
    const struct snapshot *base; /* may be NULL */
    struct snapshot *s;          /* what is being built */
    uint64_t epoch;
    uint64_t number; /* pages with it are ours to write */
    struct err *e;
    struct draft *drafts;
    uint32_t ndrafts, drafts_size;
    uint32_t *words; /* parents and lineages */
    uint32_t nwords, words_size;
    build_source_fn *source;
    void *arg;
    struct env_reader reader;
    struct pb_out canonical;
    struct snapshot_changes changes;
    bool exact;   /* epochs of changes are what the caller says, not what was found */
    bool removed; /* references to what is gone must be looked for */
    bool pools_touched, places_moved, done;
};

/* 0 or -ENOMEM. base NULL: a new chain. */
int build_begin(struct build *b, const struct snapshot *base, uint64_t epoch, struct err *e);
void build_end(struct build *b);

/* Allocates the snapshot; after all names are interned. */
int build_open(struct build *b);

/* docs[limit] by number, NULL: none; takes a reference of each (also on failure). changed: the
 * epoch to note when the table differs from the base's. */
int build_services(
    struct build *b, struct service_doc *const *docs, uint32_t limit, uint64_t changed);
int build_keep_services(struct build *b);
/* docs[n] in any order; takes a reference of each (also on failure). */
int build_gateways(struct build *b, struct gateway_doc **docs, uint32_t n);
int build_keep_gateways(struct build *b);
/* The number of a service of the new table; a service_number_fn (arg: struct build). */
uint32_t build_service_number(void *arg, struct str name);

/* number, changed and source of d are the caller's. */
int build_env(struct build *b, struct draft d, const uint32_t *parents, uint32_t nparents);
/* The base's record goes. */
int build_remove_env(struct build *b, uint32_t env);
/* The place alone changes. */
int build_move_env(struct build *b, uint32_t env, struct place_base place, uint64_t fingerprint);

/* Part of build_finish: finds the pools again when one was touched. */
int build_pools(struct build *b, uint64_t pools_changed);
/* pools_changed: the epoch to note when pools were touched. */
int build_finish(struct build *b, uint64_t pools_changed, struct snapshot **ret);

int build_no_memory(struct build *b); /* sets the error's text; -ENOMEM */

#endif
