/* What an untrusted listener owes browsers and caches: share links, Vary, Cache-Control, CORS.
 *
 * Pure functions over heads, for the proxy (proxy/share.c, proxy/edge.c) and select.c.
 * docs/edge.md is the reference. Sources: RFC 9110 section 12.5.5 (Vary), RFC 9111 section 5.2
 * (Cache-Control), RFC 6265 (cookies), the Fetch standard (CORS preflights). */
#ifndef OFFSHOOT_GRAPH_EDGE_H
#define OFFSHOOT_GRAPH_EDGE_H

#include "lib/base/field.h"
#include "lib/base/str.h"
#include "lib/graph/context.h"
#include <stdbool.h>

/* The cookie that stands for the parameter of a query selector. The second name is the one that
 * browsers let nobody but the very host set, over TLS only. Both are removed; over TLS the second
 * is read and set, else the first. */
#define SHARE_COOKIE        "offshoot"
#define SHARE_COOKIE_SECURE "__Host-offshoot"

static inline bool share_cookie_named(struct str name)
{
    return str_eq(name, STR(SHARE_COOKIE)) || str_eq(name, STR(SHARE_COOKIE_SECURE));
}

/* True when the authority (port, case and one trailing dot do not matter) is one of pinHosts. */
bool gateway_pins(const struct gateway *g, struct str authority);

/* True when the environment may depend on the host that a client names. */
bool gateway_selects_host(const struct gateway *g);

/* The value of Vary for replies of this gateway at an untrusted listener; empty: none is needed.
 * own: edge tokens are believed there, so that our own carriers choose as well. Belongs to the
 * gateway. */
struct str gateway_vary(const struct gateway *g, bool own);

/* True when a shared cache must not keep the reply: something other than the host chose. */
bool context_is_private(const struct context *c, const struct gateway *g);

/* True when a value of Vary has the member "*". */
bool vary_is_any(struct str value);

/* One directive of Cache-Control, and what it means for a reply that must stay private. */
enum cache_directive {
    CACHE_OTHER,
    CACHE_PRIVATE,         /* without field names: with them it covers only those */
    CACHE_NO_STORE,        /* does not count beside must-understand */
    CACHE_MUST_UNDERSTAND, /* lets a cache that understands the status ignore no-store */
    CACHE_SHARED           /* public, s-maxage: cannot stand beside private */
};
/* Takes the next directive off *rest (commas inside quotes do not separate). False at the end;
 * empty elements are left out. */
bool cache_control_next(struct str *rest, struct str *ret_directive);
enum cache_directive cache_directive_of(struct str directive);
/* True for fields that speak to shared caches past Cache-Control (RFC 9213, Surrogate-Control). */
bool cache_field_targeted(struct str name);

/* A CORS preflight: takes the names of headers that the gateway's selectors read, and of our own
 * carriers when `own`, out of Access-Control-Request-Headers (dropped when nothing is left), and
 * gives them back as a list, as written ("x-env, baggage"; empty: none were there; in scratch).
 * Other requests stay as they are. Without room the fields are left alone. */
struct str cors_take_names(struct field *fields, unsigned nfields, const struct gateway *g,
    bool own, struct scratch *scratch);

#endif
