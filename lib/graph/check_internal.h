/* Inside the check:
 *
 *   check.c            services, gateways, and the order of everything
 *   check_lineage.c    lineages that could not be made, dates along them
 *   check_statement.c  statements: references, contradictions, pools; how they are found
 *   check_use.c        `use` and several parents: what would be resolved
 */
#ifndef OFFSHOOT_GRAPH_CHECK_INTERNAL_H
#define OFFSHOOT_GRAPH_CHECK_INTERNAL_H

#include "lib/graph/check.h"
#include "lib/graph/model_index.h"

/* Positions of the statements of one environment by service; only for those with many. */
struct statement_table {
    uint32_t *slots; /* position + 1; 0: free */
    uint32_t mask;
};

struct check {
    const struct model *m;
    const struct model_index *ix;
    const struct endpoint_rules *rules; /* may be NULL */
    struct findings *found;
    bool references; /* are judged: there was no `syntax` error */
    bool guess; /* an environment that is referred to does not exist: it may have said anything */
    uint32_t hints;              /* names that may still be compared for "did you mean" */
    uint8_t *broken;             /* by environment: its statements are not all known */
    uint8_t *complex;            /* by environment: it has a `use`, or several parents */
    uint8_t *provided;           /* by service */
    uint32_t *seen_by, *seen_at; /* by name number: who said something about it last, and where */
    uint32_t stamp;              /* last value given to seen_by */
    struct statement_table *tables; /* by environment */
};

/* ---- references ---------------------------------------------------------------------------- */

/* Position of what is referred to, or POSITION_NONE: then a finding was added, unless references
 * are not judged or the name may be that of a document that could not be understood. */
uint32_t check_service_ref(struct check *c, const struct mtext *ref);
uint32_t check_env_ref(struct check *c, const struct mtext *ref, enum finding_code code);
/* Position without any finding. */
uint32_t check_env_of(const struct check *c, const struct mtext *ref);

/* ---- the parts ----------------------------------------------------------------------------- */

void check_lineages(struct check *c);
int check_statements(struct check *c);
int check_resolution(struct check *c);

/* An environment's statement about a service (a name's number); NULL: it says nothing. Sets
 * *ret_failed when memory is out. */
const struct model_statement *check_find(
    struct check *c, uint32_t env, uint32_t service_id, bool *ret_failed);

static inline const uint32_t *check_chain(const struct check *c, uint32_t env, uint32_t *ret_n)
{
    *ret_n = c->ix->state[env] == LINEAGE_OK ? c->ix->length[env] : 0;
    return *ret_n ? c->ix->chain + c->ix->at[env] : NULL;
}

#endif
