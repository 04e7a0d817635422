/* Two JSON bodies on the way down together. Private to lib/compare. The walk calls itself once a
 * level; json_parse has bounded the levels. */
#ifndef OFFSHOOT_COMPARE_JSON_WALK_H
#define OFFSHOOT_COMPARE_JSON_WALK_H

#include "lib/compare/compare_int.h"
#include "lib/compare/json.h"

#define LCS_MAX 1024 /* whatever the limits say: the table is the square of it */

struct json_walk {
    struct differ *d;
    struct json a, b;
    uint16_t *table; /* of the LCS, made when it is needed first */
    size_t side;     /* rows and columns of it */
};

/* Values at the present path. */
void json_values_diff(struct json_walk *w, const struct json_node *x, const struct json_node *y);
/* A difference with both as JSON texts; x or y may be NULL. */
void json_tell(
    struct json_walk *w, enum diff_kind kind, const struct json_node *x, const struct json_node *y);
/* Arrays that are not equal (json_array.c). */
void json_arrays_diff(struct json_walk *w, const struct json_node *x, const struct json_node *y);
/* A key that names a thing instead of a field: an id. */
bool json_key_is_id(struct str key);

#endif
