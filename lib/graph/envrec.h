/* Environments as canonical protobuf records (proto/offshoot/v1/graph.proto), both ways.
 *
 * Everything in a record is by name, so that its hash says what it means whatever the numbers are.
 * Places are not part of it. */
#ifndef OFFSHOOT_GRAPH_ENVREC_H
#define OFFSHOOT_GRAPH_ENVREC_H

#include "lib/base/err.h"
#include "lib/graph/pb.h"
#include "lib/graph/snapshot_int.h"

/* Where numbers have their names. */
struct env_names {
    const struct intern_view *envs, *services;
    const struct endpoints *sets;
};

/* Appends the canonical form: statements ascending by service name. Sets o->failed when memory is
 * out. */
void env_write(
    struct pb_out *o, const struct env_names *n, uint32_t env, const struct env_record *r);
/* Positions of a record's statements in the canonical order. order has room for nstatements. */
void env_order(const struct env_names *n, const struct env_record *r, uint32_t *order);
/* Appends owner, subjects and labels as they stand at the end of a record. */
void env_extras_write(struct pb_out *o, const struct model_env *m);

/* Reads records; keeps its arrays from one to the next. A zeroed one is ready. */
struct env_reader {
    struct content_statement *statements;
    struct endpoint *endpoints;
    uint32_t *order; /* canonical position of each statement after sorting */
    uint32_t statements_size, endpoints_size;
    uint32_t parents[16]; /* LINEAGE_MAX */
};
void env_reader_release(struct env_reader *er);
/* Room for n statements or endpoints. 0 or -ENOMEM. */
int env_reader_statements(struct env_reader *er, uint32_t n);
int env_reader_endpoints(struct env_reader *er, uint32_t n);

/* Only the parents, as numbers. 0, -ENOMEM or -EBADMSG with what is wrong. */
int env_read_parents(struct str bytes, const struct chain *c, uint32_t *parents,
    uint32_t *ret_nparents, struct err *e);
/* The content (lines all 0), its statements sorted by number and owning references: content_drop
 * or record_new. er->order[i] is the place the i-th had in the record. */
int env_read(struct env_reader *er, struct str bytes, struct chain *c, struct env_content *ret,
    struct err *e);

#endif
