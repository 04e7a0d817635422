/* What keeps requests of one kind on one endpoint: the key of the consistent hash.
 *
 * A route's affinity beats the service's policy. CONTEXT: the environment asked for; SOURCE: the
 * client's address; COOKIE: the value of a cookie. A client without that cookie gets one, of 16
 * random hexadecimal digits, for its session: HttpOnly, SameSite=Lax, Secure where the request came
 * encrypted. What is no HTTP (tcp, CONNECT) goes by SOURCE then. Whoever sends a value of its own
 * chooses its endpoint, and nothing else. */
#ifndef OFFSHOOT_PROXY_AFFINITY_H
#define OFFSHOOT_PROXY_AFFINITY_H

#include "lib/graph/actions.h"

struct request;

#define AFFINITY_VALUE 16 /* digits, of format_hex64 */

struct affinity_pick {
    uint64_t key;
    struct str cookie; /* to be set; p NULL: none. Points into the snapshot */
    char value[AFFINITY_VALUE];
};

/* Fills r->affinity and r->balance from the service's policy and the route's actions (NULL: none).
 * The request's fields are at hand. */
void affinity_take(
    struct request *r, const struct policy *policy, const struct route_actions *actions);
/* The value of the Set-Cookie field to add to the reply, in out[size]; empty: none, or no room. */
#define AFFINITY_COOKIE_MAX 384
struct str affinity_cookie(const struct request *r, char *out, size_t size);
/* The value of the first cookie of this name; p NULL: none. */
struct str affinity_find(const struct field *fields, unsigned n, struct str name);

#endif
