/* The graph as its files say it: every document, every value with the place it was written at.
 *
 * Built by load.h, judged by check.h, compiled by snapshot.h. All memory belongs to the model
 * (arenas), all strings are NUL-terminated copies. Names are indexed: model_find_*.
 * Immutable once model_check has run. */
#ifndef OFFSHOOT_GRAPH_MODEL_H
#define OFFSHOOT_GRAPH_MODEL_H

#include "lib/base/addr.h"
#include "lib/base/str.h"
#include "lib/graph/actions.h"
#include "lib/graph/findings.h"
#include "lib/graph/policy.h"
#include <stdbool.h>
#include <stdint.h>

/* A text with its place. s.p is NULL when it was not written. */
struct mtext {
    struct str s;
    struct place at;
    uint32_t id; /* of names and references: equal in one model when the texts are equal */
};

/* What a finding of the loader spoilt: what stands on it is not judged. */
enum env_fault { ENV_FAULT_LINEAGE = 1, ENV_FAULT_STATEMENTS = 2 };

enum mode { MODE_BASELINE, MODE_OVERLAY, MODE_SHARED };
enum protocol { PROTOCOL_HTTP, PROTOCOL_GRPC, PROTOCOL_TCP };
enum propagates { PROPAGATES_UNKNOWN, PROPAGATES_TRUE, PROPAGATES_FALSE };
enum state_kind { STATE_SHARED, STATE_ISOLATED, STATE_NONE };
enum shadow_kind { SHADOW_DENY, SHADOW_SAFE };
enum access_kind { ACCESS_UNSET, ACCESS_PUBLIC, ACCESS_TOKEN, ACCESS_SUBJECTS };
enum statement_kind { STATEMENT_NONE, STATEMENT_PROVIDES, STATEMENT_USE, STATEMENT_REMOVE };
enum selector_kind {
    SELECT_HOST,
    SELECT_HEADER,
    SELECT_BAGGAGE,
    SELECT_TRACESTATE,
    SELECT_COOKIE,
    SELECT_QUERY
};

struct model_service {
    struct mtext name;
    struct mtext *hosts; /* as written; none written: the name is the only host */
    struct mtext *depends_on;
    uint32_t nhosts, ndepends_on;
    uint16_t port;                               /* 0: not written */
    uint8_t protocol, propagates, state, shadow; /* enums above */
    uint8_t provider_protocol;                   /* enum provider_protocol */
    bool pinned;
    struct policy policy;
    struct service_tls tls;
};

struct model_endpoint {
    struct addr addr;
    uint32_t weight; /* 1-1000, default 1 */
    struct place at;
};

/* What an environment says about one service. */
struct model_statement {
    struct mtext service;             /* place: the key, or the item of `remove` */
    struct mtext use;                 /* USE: the environment, with its place */
    struct model_endpoint *endpoints; /* PROVIDES: at least one */
    uint32_t nendpoints;
    uint8_t kind;                /* enum statement_kind */
    struct str artifact, region; /* PROVIDES; empty when not written */
};

struct model_env {
    struct mtext name;
    struct place spec_at;    /* of the spec mapping */
    struct mtext *parents;   /* ordered; `parent: x` is a list of one */
    struct place parents_at; /* of the key `parent` or `parents`; line 0: not written */
    struct place parents_value_at;
    struct model_statement *statements; /* in document order; check sorts nothing */
    struct mtext *subjects;             /* ACCESS_SUBJECTS */
    struct mtext *labels;               /* key and value alternate; sorted by key */
    uint32_t nparents, nstatements, nsubjects, nlabels;
    struct str owner;
    bool has_expires;
    int64_t expires; /* Unix seconds */
    struct place expires_at;
    int32_t priority;         /* pools */
    struct place priority_at; /* line 0: not written */
    uint8_t mode, access;
    bool strict;
    uint8_t faults; /* enum env_fault; 0 in a valid graph */
    /* Of the document's bytes, its file's number and name and its first line: equal means that
     * nothing changed since, not even a place. */
    uint64_t fingerprint;
};

struct model_selector {
    uint8_t kind;     /* enum selector_kind */
    bool forward;     /* the carrier stays in the request at untrusted listeners */
    struct mtext key; /* host pattern "*.suffix", header or cookie or member name; lower case */
};

struct model_route {
    struct mtext host;    /* "", exact, or "*.suffix"; lower case, no port, no trailing dot */
    struct mtext path;    /* as written; starts with '/' */
    struct mtext service; /* s.p NULL: it redirects */
    struct route_actions *actions; /* NULL: none are written */
};

struct model_gateway {
    struct mtext name;
    struct mtext default_environment; /* s.p NULL: refuse */
    struct mtext *pin_hosts;
    struct model_selector *selectors;
    struct model_route *routes;
    uint32_t npin_hosts, nselectors, nroutes;
    bool overlay_access_public;
    struct gateway_limits limits;
};

struct model {
    const char *const *files; /* names by file number */
    uint32_t nfiles;
    struct model_service **services; /* in order of files and documents; duplicates left out */
    struct model_env **envs;
    struct model_gateway **gateways;
    uint32_t nservices, nenvs, ngateways;
    void *index; /* names to positions and lineages; lib/graph/model_index.h */
};

/* Position in the array, or UINT32_MAX. */
uint32_t model_find_service(const struct model *m, struct str name);
uint32_t model_find_env(const struct model *m, struct str name);
uint32_t model_find_gateway(const struct model *m, struct str name);
/* Nearest existing name within distance 3, for "did you mean". Empty when none is near. */
struct str model_nearest_service(const struct model *m, struct str name);
struct str model_nearest_env(const struct model *m, struct str name);

#endif
