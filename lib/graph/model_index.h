/* What a model knows beside its documents, for the files of lib/graph that make and judge models:
 * positions by name number and the lineage of every environment. Built by the loader. */
#ifndef OFFSHOOT_GRAPH_MODEL_INDEX_H
#define OFFSHOOT_GRAPH_MODEL_INDEX_H

#include "lib/graph/model.h"
#include "lib/graph/names.h"

#define POSITION_NONE UINT32_MAX

enum { TWICE_SERVICE = 1, TWICE_ENV = 2 };

/* Why an environment has no lineage, or LINEAGE_OK. */
enum lineage_state {
    LINEAGE_UNVISITED,
    LINEAGE_OK,
    LINEAGE_BROKEN,      /* its document is faulty, or it stands on something broken */
    LINEAGE_BAD_PARENTS, /* a parent is unknown or a pool */
    LINEAGE_CYCLE,
    LINEAGE_TOO_DEEP,
    LINEAGE_NO_ORDER,
    LINEAGE_TWO_BASELINES,
    LINEAGE_NO_PARENT, /* an overlay without one */
    LINEAGE_BASELINE_WITH_PARENT,
    LINEAGE_POOL_WITH_PARENT
};

struct model_index {
    const struct names *names; /* borrowed from the loader */
    /* By name number: position in the model's array, or POSITION_NONE. */
    uint32_t *service_of, *env_of, *gateway_of;
    /* By name number: a document that cannot be understood has this name. A reference to it is not
     * judged. */
    bool *vague;
    /* By name number: several Services (TWICE_SERVICE) or Environments (TWICE_ENV) have this name.
     * Which one is meant is unknown: what stands on them is not judged. */
    uint8_t *twice;
    uint32_t nnames;
    /* A document without a readable or with a wrong name could be what any reference means. */
    bool nameless_service, nameless_env;
    bool misread; /* some document could not be understood as a whole */
    /* By position of the environment. */
    uint8_t *state; /* enum lineage_state */
    uint8_t *length;
    uint32_t *at;   /* its lineage: chain[at .. at + length) */
    uint32_t *ring; /* with LINEAGE_CYCLE: position of the ring's first member, and 1 */
    uint32_t *chain;
    size_t nchain, size_chain;
};

static inline const struct model_index *model_index(const struct model *m)
{
    return m->index;
}

static inline bool env_twice(const struct model_index *ix, const struct model_env *e)
{
    return ix->twice[e->name.id] & TWICE_ENV;
}

/* The lineage of every environment. The positions must be there. 0 or -ENOMEM. */
int model_link_lineages(struct model *m);
/* Takes the index of a model away; the model's own arrays stay. */
void model_index_free(struct model_index *ix);

#endif
