/* JSON (RFC 8259) as a list of nodes in the order of the text. Private to lib/compare.
 *
 * Numbers stay text, so that none is rounded; of equal keys in one object the last one counts, as
 * most readers have it. Strings are decoded; half of a surrogate pair stays what it is (three
 * bytes, no valid UTF-8), so that two different ones differ. */
#ifndef OFFSHOOT_COMPARE_JSON_H
#define OFFSHOOT_COMPARE_JSON_H

#include "lib/base/pool.h"
#include <stdbool.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 256 /* whatever the limits say: walks go as deep as the text */

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_node {
    struct str text;    /* of a string: decoded; else as it stands, containers whole */
    struct str key;     /* of a member: decoded */
    struct str raw;     /* with its quotes */
    struct str raw_key; /* the same of the key */
    uint64_t hash;      /* equal values have equal ones, whatever the order of their keys */
    uint32_t first, n;  /* containers: their children are child[first .. first + n) */
    enum json_type type;
};

struct json {
    struct json_node *node; /* [0] is the whole */
    uint32_t nnodes;
    /* Of each container: elements in order; members in the order of their keys, each key once. */
    uint32_t *child;
};

/* Into the pool; borrows the text. 0; -EBADMSG: no JSON; -E2BIG: deeper, or more nodes; -ENOMEM. */
int json_parse(struct json *j, struct pool *pool, struct str text, uint32_t depth, uint32_t nodes);
/* The nodes alone: no hashes, no children (child is NULL). */
int json_read(struct json *j, struct pool *pool, struct str text, uint32_t depth, uint32_t nodes);

static inline const struct json_node *json_child(
    const struct json *j, const struct json_node *of, uint32_t i)
{
    return &j->node[j->child[of->first + i]];
}

/* Numbers as JSON spells them. Equal: both whole numbers (of any size, also 1e2 and 1.0): the same;
 * else at most 1e-9 of the larger one apart. */
bool json_number_equal(struct str a, struct str b);
bool json_number_is_whole(struct str a);
/* Equal for numbers that are exactly the same. */
uint64_t json_number_hash(struct str a);

#endif
