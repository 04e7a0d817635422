/* The compiled graph: immutable, compact, answers resolve in some ten nanoseconds.
 *
 * Form: a two-level page table by environment number (root -> pages of 256 -> head {filter over its
 * services, nearest ancestors, deadline} -> record {lineage, sorted (service, target) pairs,
 * expiry, flags, changed}, see record.h); one append-only intern table for names; endpoint sets
 * interned and counted; origins beside what resolve touches. A snapshot built on a base shares
 * every page that did not change.
 *
 * Threads: any number may read one snapshot. Building, snapshot_ref and snapshot_unref belong to
 * one thread (the control thread). Numbers of names never change within one chain of snapshots. */
#ifndef OFFSHOOT_GRAPH_SNAPSHOT_H
#define OFFSHOOT_GRAPH_SNAPSHOT_H

#include "lib/base/addr.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/graph/model.h"
#include <stdint.h>

#define NUMBER_NONE UINT32_MAX

struct snapshot;
struct gateway; /* route.h */
struct hosts;   /* route.h */

enum decision_class {
    CLASS_NONE, /* refused */
    CLASS_LOCAL,
    CLASS_EXPLICIT,
    CLASS_ANCESTOR,
    CLASS_BASELINE,
    CLASS_SHARED
};
const char *decision_class_word(enum decision_class c);

/* Every reason to refuse, with its word and its statuses. Order is stable. */
enum refusal {
    REFUSAL_NONE,
    REFUSAL_NO_ENVIRONMENT,
    REFUSAL_UNKNOWN_ENVIRONMENT,
    REFUSAL_EXPIRED,
    REFUSAL_NO_ROUTE,
    REFUSAL_NO_SERVICE,
    REFUSAL_REMOVED,
    REFUSAL_NO_PROVIDER,
    REFUSAL_FORBIDDEN,
    REFUSAL_CONTEXT,
    REFUSAL_EPOCH,
    REFUSAL_RESIDENCY,
    REFUSAL_UNHEALTHY,
    REFUSAL_CONNECT,
    REFUSAL_BAD_REPLY,
    REFUSAL_TIMEOUT,
    REFUSAL_OVERLOAD,
    REFUSAL_TOO_LARGE,
    REFUSAL_LOOP,
    REFUSAL_DARK_BLOCKED,
    /* beyond the table of the context: what the HTTP side adds */
    REFUSAL_BAD_REQUEST,     /* 400: not HTTP as we read it */
    REFUSAL_REQUEST_TIMEOUT, /* 408: the client was too slow with its request */
    REFUSAL_UNSUPPORTED,     /* 501: upgrade, CONNECT, a tcp service over HTTP */
    REFUSAL_EXPECTATION,     /* 417 */
    REFUSAL_RATE_LIMITED,    /* 429: a limit of the gateway */
    REFUSAL_COUNT
};
const char *refusal_word(enum refusal r); /* "no-environment", "" for NONE */
unsigned refusal_status(enum refusal r);  /* HTTP */
unsigned refusal_grpc(enum refusal r);    /* gRPC status code */

struct endpoint {
    struct addr addr; /* name points into the snapshot */
    uint32_t weight;
};

/* Interned, packed, immutable. */
struct endpoint_set;
uint32_t endpoint_set_count(const struct endpoint_set *s);
void endpoint_set_at(const struct endpoint_set *s, uint32_t i, struct endpoint *ret);
uint32_t endpoint_set_weight(const struct endpoint_set *s); /* sum */

struct decision {
    uint32_t env;       /* asked; NUMBER_NONE when unknown */
    uint32_t service;   /* NUMBER_NONE when unknown */
    uint32_t provider;  /* environment number; NUMBER_NONE when refused */
    int16_t distance;   /* in the asked lineage, of whose statement decided; -1 for shared */
    uint8_t cls;        /* enum decision_class */
    uint8_t refusal;    /* enum refusal */
    uint32_t cause_env; /* whose statement or expiry decided, for snapshot_origin; or NUMBER_NONE */
    uint8_t cause_is_expires; /* the origin is that environment's `expires`, not its statement */
    const struct endpoint_set *endpoints; /* NULL when refused */
};

/* ---- building ---- */

/* Compiles a checked model on top of base (NULL: from nothing), giving changed records `epoch`.
 * The result shares with base what is equal; base stays valid. What changed is counted in
 * *ret_changes (may be NULL). The model may go away afterwards. Returns 0, -ENOMEM, or -EINVAL
 * with e when the model cannot be compiled (which check would have found). */
struct snapshot_changes {
    uint32_t envs_added, envs_removed, envs_changed;
    uint32_t services_changed, gateways_changed; /* added, removed and changed together */
    bool origins_only;                           /* nothing but places moved */
};
int snapshot_compile(struct snapshot **ret, const struct snapshot *base, const struct model *m,
    uint64_t epoch, struct snapshot_changes *ret_changes, struct err *e);
void snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);

/* ---- reading ---- */

uint64_t snapshot_epoch(const struct snapshot *s);
uint32_t snapshot_env_count(const struct snapshot *s); /* environments that exist */
uint32_t snapshot_env_limit(const struct snapshot *s); /* numbers are below this */
uint32_t snapshot_service_count(const struct snapshot *s);
uint32_t snapshot_service_limit(const struct snapshot *s);
size_t snapshot_bytes(const struct snapshot *s); /* memory of everything it reaches */
/* Memory that it shares with no other snapshot: what its release would give back. */
size_t snapshot_own_bytes(const struct snapshot *s);
const unsigned char *snapshot_root(
    const struct snapshot *s); /* 32 bytes: content hash; NULL: no memory */
const unsigned char *snapshot_digest(const struct snapshot *s); /* 32 bytes, see codec.h */

/* True when it says something of routes, limits, policies or TLS that readers of the first format
 * ("graph.1") do not know and refuse: they need "routes.1" (docs/push.md). */
bool snapshot_needs_routes(const struct snapshot *s);

uint32_t snapshot_find_env(const struct snapshot *s, struct str name); /* or NUMBER_NONE */
uint32_t snapshot_find_service(const struct snapshot *s, struct str name);
struct str snapshot_env_name(const struct snapshot *s, uint32_t env);
struct str snapshot_service_name(const struct snapshot *s, uint32_t service);
const struct gateway *snapshot_gateway(const struct snapshot *s, struct str name); /* or NULL */
/* The only gateway, or NULL when there are none or several. */
const struct gateway *snapshot_only_gateway(const struct snapshot *s);
const struct hosts *snapshot_hosts(const struct snapshot *s);

/* A service document as compiled. */
struct service_info {
    struct str name;
    uint16_t port;
    uint8_t protocol, propagates, state, shadow;
    bool pinned;
    bool http2; /* what the proxy speaks to its providers: HTTP/2, else HTTP/1.1 */
    struct policy policy;
    struct service_tls tls;
};
/* Valid while the snapshot is; NULL when there is no such service in it. */
const struct service_info *snapshot_service(const struct snapshot *s, uint32_t service);

/* An environment as compiled, for env list|show|tree and explain. Arrays point into the snapshot.
 */
struct env_info {
    struct str name, owner;
    uint8_t mode, access;
    bool strict, has_expires;
    int64_t expires;
    int32_t priority;
    const uint32_t *lineage; /* environment numbers, itself first */
    uint32_t nlineage;
    const uint32_t *parents;
    uint32_t nparents;
    uint32_t nstatements;
    uint64_t changed; /* epoch of its last change */
};
bool snapshot_env(const struct snapshot *s, uint32_t env, struct env_info *ret);

struct statement_info {
    uint32_t service;
    uint8_t kind;                         /* enum statement_kind */
    uint32_t use;                         /* USE: environment number */
    const struct endpoint_set *endpoints; /* PROVIDES */
    struct str artifact, region;
};
/* i-th statement of an environment, sorted by service number. */
bool snapshot_statement(
    const struct snapshot *s, uint32_t env, uint32_t i, struct statement_info *ret);
/* The statement about one service; false when it says nothing. */
bool snapshot_find_statement(
    const struct snapshot *s, uint32_t env, uint32_t service, struct statement_info *ret);
/* Pools in order of number; NULL-terminated by *ret_n. */
const uint32_t *snapshot_pools(const struct snapshot *s, uint32_t *ret_n);

/* now: Unix seconds. Always fills *ret. env or service may be NUMBER_NONE. */
void snapshot_resolve(
    const struct snapshot *s, uint32_t env, uint32_t service, int64_t now, struct decision *ret);
/* Highest epoch that changed anything the environment's decisions depend on. 0 when unknown. */
uint64_t snapshot_revision(const struct snapshot *s, uint32_t env);

/* "file:line" of the statement, `expires` or `use` that decided; line 0 when there is none. */
struct origin {
    struct str file;
    uint32_t line;
    uint32_t column; /* 0: a snapshot does not keep it */
};
void snapshot_origin(const struct snapshot *s, const struct decision *d, struct origin *ret);
/* Place of an environment's statement about a service, or of its name (service NUMBER_NONE). */
void snapshot_place(const struct snapshot *s, uint32_t env, uint32_t service, struct origin *ret);

#endif
