/* Small pieces of JSON and text that explain.c, rejected.c and env_text.c have in common. Private
 * to lib/graph. Whatever came from outside is escaped. */
#ifndef OFFSHOOT_GRAPH_WORDS_H
#define OFFSHOOT_GRAPH_WORDS_H

#include "lib/base/counters.h"
#include "lib/graph/snapshot.h"

/* A quoted string; null when s.p is NULL. */
void json_str(struct text *out, struct str s);
/* "file:line" quoted; null when there is no such place. */
void json_origin(struct text *out, const struct origin *o);
/* ["a:p",...]; a NULL set is empty. */
void json_endpoints(struct text *out, const struct endpoint_set *set);
/* " (file:line)", nothing when there is no such place. */
void text_origin(struct text *out, const struct origin *o);
/* "a:p, b:p weight 3" */
void text_endpoints(struct text *out, const struct endpoint_set *set);

#endif
