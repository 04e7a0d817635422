/* A gateway as compiled, for the files of lib/graph that read it: route.c builds it and picks
 * routes, select.c reads its selectors. Everybody else uses route.h. */
#ifndef OFFSHOOT_GRAPH_GATEWAY_H
#define OFFSHOOT_GRAPH_GATEWAY_H

#include "lib/base/str.h"
#include "lib/graph/model.h"
#include <stddef.h>
#include <stdint.h>

/* Room for a host as it is compared. A longer one than a DNS name can be (253 bytes) equals none.
 */
#define HOST_KEY_MAX 256

struct selector {
    struct model_selector as_written; /* its text belongs to the gateway */
    uint8_t field;                    /* SELECT_HEADER: enum field_id of the name */
};

struct gateway {
    unsigned refs;
    size_t bytes;
    struct str name;
    struct str default_environment; /* p NULL: none */
    struct selector *selectors;
    uint32_t nselectors;
    uint32_t kinds;   /* 1 << enum selector_kind for each kind that occurs */
    int32_t share_at; /* the last query selector: the share cookie is read there; -1: none */
    struct str *pins; /* pinHosts, as they are compared */
    uint32_t npins;
    struct str vary[2]; /* see gateway_vary (edge.h) */
    struct gateway_limits limits;
    uint8_t overlay_access; /* enum access_kind of an overlay or a pool that says nothing */
    struct routes *routes;  /* private to route.c */
    char *text;             /* every string of it */
};

/* edge.c: room for the text of pins and vary; and pins, vary and share_at of a gateway that has its
 * selectors, with the text at *at. False when memory is out. */
size_t gateway_edge_size(const struct model_gateway *m);
bool gateway_edge_init(struct gateway *g, const struct model_gateway *m, char **at);

/* An authority without its ":port"; an IPv6 literal keeps its brackets. */
struct str authority_bare(struct str authority);
/* The host of an authority as it is compared: lower case, without port and one trailing dot (an
 * IPv6 literal keeps its brackets), in out[HOST_KEY_MAX]. Empty when there is none or it is too
 * long to equal any. */
struct str authority_host(struct str authority, char *out);

#endif
