/* What a route does to the requests it matches, beside choosing a service; limits of a gateway.
 *
 * Written in a Gateway's routes and limits (docs/graph-reference.md, docs/routes.md). A route
 * without any has no struct at all: one branch on the hot path. Immutable; in a snapshot they live
 * as long as it does. Pure functions over bytes: the proxy applies, explain shows. */
#ifndef OFFSHOOT_GRAPH_ACTIONS_H
#define OFFSHOOT_GRAPH_ACTIONS_H

#include "lib/base/field.h"
#include "lib/graph/policy.h"
#include <stddef.h>

#define TOKEN_BYTES_MAX    256
#define ACTION_HEADERS_MAX 32 /* names in one set or remove */

#define ACTION_BYTES_MAX 8192 /* names and values of one set or remove */

/* Edits of a head, in this order: every field named in `remove` and in `set` goes, then `set` is
 * added. Names are lower case, and never ours, hop-by-hop, about framing, or Host. */
struct header_edits {
    struct field *set;
    struct field *remove; /* value empty */
    uint32_t nset, nremove;
};

enum redirect_scheme { REDIRECT_SAME_SCHEME, REDIRECT_HTTP, REDIRECT_HTTPS };

/* A reply of our own instead of a service. Either `location`, sent as it is, or parts that replace
 * those of the request's URL; its query is kept with parts. */
struct redirect {
    uint16_t status; /* 301, 302, 303, 307 or 308; 0: no redirect */
    uint16_t port;   /* 0: as in the request when the scheme and host stay, else the scheme's */
    uint8_t scheme;  /* enum redirect_scheme */
    struct str location;
    struct str host; /* empty: the request's */
    struct str path; /* empty: the request's, as it would be forwarded */
};

#define BODY_ANY UINT64_MAX

struct route_actions {
    bool strip_prefix;         /* the matched prefix is cut off */
    bool no_upgrade;           /* upgrades and extended CONNECT are refused */
    bool require_https;        /* what came without TLS gets 308 to the same URL with https */
    uint16_t prefix_len;       /* of the route's path as it is compared; "/" is 0 */
    struct str replace_prefix; /* stands for the matched prefix; p NULL: not written */
    struct str host;           /* the Host or :authority that is forwarded; empty: the request's */
    struct header_edits request, reply;
    uint64_t max_body;        /* bytes of a request's content; BODY_ANY: no bound of its own */
    uint32_t timeout_ms;      /* until the reply's head; 0: the service's */
    uint32_t idle_timeout_ms; /* nothing moves after the reply's head; 0: the service's */
    struct affinity affinity; /* NONE: the service's */
    struct redirect redirect;
};

/* Requests of one source, or of one environment. 0: no limit. */
struct limit {
    uint32_t per_second; /* requests */
    uint32_t burst;      /* requests at once, above 0 when per_second is */
    uint32_t together;   /* source: connections; environment: requests in flight */
};
struct gateway_limits {
    struct limit source;      /* an IPv4 address or an IPv6 /64; untrusted listeners only */
    struct limit environment; /* the one asked for */
};

static inline bool limit_any(const struct limit *l)
{
    return l->per_second || l->together;
}
static inline bool limits_any(const struct gateway_limits *l)
{
    return limit_any(&l->source) || limit_any(&l->environment);
}

/* Nothing is done: what a route without actions means. */
struct route_actions actions_none(void);
bool actions_are_none(const struct route_actions *a);

static inline bool actions_rewrite_path(const struct route_actions *a)
{
    return a->strip_prefix || a->replace_prefix.p;
}

/* The path and query to forward. path: as received, and matched by the route that has these
 * actions; "*" stays. Without a rewriting it is `path` itself. With one: the path in its normal
 * form (route.h), its prefix cut off or replaced, and the query as it was, in out[size]. p NULL
 * when it does not fit; path.n + replace_prefix.n + 1 bytes always do. */
struct str actions_path(const struct route_actions *a, struct str path, char *out, size_t size);

/* What Location says. https: how the request came, authority: its own (may be empty). path: as
 * actions_path gave it. In out[size]; p NULL when it does not fit, or when scheme or port are to
 * change and neither names a host. Never a reference to another host than the one meant ("//x"),
 * whatever the path is. */
struct str actions_location(const struct route_actions *a, bool https, struct str authority,
    struct str path, char *out, size_t size);

/* True when a route may set or remove a header of this lower-case name; else *ret_why says what
 * it is: "a carrier of the context". */
bool actions_may_edit(struct str name, const char **ret_why);

/* The field of an edit, still without a value. The name is borrowed. */
struct field actions_field(struct str name);

/* What texts of actions are, written in a file or received. */
bool token_char(char c);                   /* RFC 9110 section 5.6.2 */
bool token_valid(struct str s);            /* of those, at most 256 bytes */
bool header_value_valid(struct str value); /* section 5.5, at most 4,096 bytes */
bool route_path_valid(struct str path);    /* '/' first, no query, does not climb, 1,024 bytes */
bool sent_path_valid(struct str path);     /* the same in ASCII, and not "//" first */
bool location_valid(struct str location);  /* http(s) URL or absolute path, 2,048 bytes */
bool host_text_valid(struct str host);     /* characters of host and port, 261 bytes */
bool redirect_status_valid(uint32_t status);

/* For a request that the route moves (decide.h): the status, and Location as actions_location.
 * path: as received. */
unsigned actions_moved(const struct route_actions *a, bool to_https, bool https,
    struct str authority, struct str path, struct str *ret_location, char *out, size_t size);

/* Copies for a compiled graph: adds what a copy needs; then copies `from`, its fields and strings
 * to where the two pointers are, which move on. */
void actions_size(const struct route_actions *from, size_t *fields, size_t *text);
void actions_copy(
    struct route_actions *to, const struct route_actions *from, struct field **fields, char **text);

#endif
