/* Paths of requests as the graph compares them. */
#ifndef OFFSHOOT_GRAPH_PATH_H
#define OFFSHOOT_GRAPH_PATH_H

#include "lib/base/str.h"

/* What stands before query and fragment. */
static inline struct str path_bare(struct str path)
{
    path.n = str_find(path, '?');
    path.n = str_find(path, '#');
    return path;
}

/* The query with its '?'; empty when there is none. */
static inline struct str path_query(struct str path)
{
    size_t n = path_bare(path).n;
    return n < path.n && path.p[n] == '?' ? str_from(path, n) : str_of(path.p, 0);
}

/* The normal form: unreserved characters decoded, other escapes in upper case, dot segments
 * removed; without query and fragment. Written into out (at least path.n bytes). Returns its
 * length, or -1 when it climbs above the root. */
long path_normalise(struct str path, char *out);

#endif
