/* Captured exchanges put together from the chunks of proxies: offshoot.v1.Capture/Exchanges.
 *
 * Bounded per stream and in all; what does not fit is dropped and counted. One thread. */
#ifndef OFFSHOOT_AGENT_EXCHANGE_H
#define OFFSHOOT_AGENT_EXCHANGE_H

#include "lib/base/err.h"
#include "lib/compare/reply.h"
#include <stdint.h>

#define EXCHANGE_SESSIONS 16
#define TRACE_BYTES       16

/* One request with its primary reply. Owns its bytes; counted by references, one thread. */
struct exchange {
    uint32_t refs;
    uint64_t sessions[EXCHANGE_SESSIONS];
    unsigned nsessions;
    struct str method, authority, path; /* path with query */
    const struct reply_field *fields;
    size_t nfields;
    struct str body;
    unsigned char trace_id[TRACE_BYTES];
    struct str environment, service;
    uint64_t epoch;
    int64_t time_unix_us;
    bool https, grpc;
    struct str client;  /* address, or empty */
    struct str refusal; /* the primary reply is one of the proxy's own */
    struct reply primary;
    uint64_t first_us; /* primary.latency_us is the whole time */
    size_t bytes;      /* memory it costs */
    void *memory;
};
struct exchange *exchange_ref(struct exchange *x);
void exchange_unref(struct exchange *x);

/* A request of a sampled or dark trace that passed a proxy. Views, valid during the call. */
enum hop_kind { HOP_OF_SAMPLED, HOP_OF_DARK, HOP_OF_LOST, HOP_OF_BLOCKED };
struct hop {
    unsigned char trace_id[TRACE_BYTES];
    struct str node; /* of the proxy */
    struct str service, environment, provider, method, refusal;
    uint32_t flags;
    enum hop_kind kind;
};

/* What the rest of the agent gets. */
struct exchange_events {
    void (*on_exchange)(void *arg, struct exchange *x); /* take a reference to keep it */
    void (*on_hop)(void *arg, const struct hop *h);
    /* So many more exchanges were dropped at this proxy; reason: a word, as "in-flight". */
    void (*on_dropped)(void *arg, struct str node, const char *reason, uint64_t n);
};

/* Pure part: one stream's chunks. Fuzzed. */
struct assembly;
struct assembly_limits {
    uint32_t open;       /* exchanges begun and not ended; default 256 */
    uint32_t body_bytes; /* each way; default 1 MiB */
    uint64_t bytes;      /* of all that are open; default 64 MiB */
};
struct assembly *assembly_new(
    const struct assembly_limits *l, const struct exchange_events *events, void *arg);
void assembly_free(struct assembly *a);
/* A whole CaptureChunk. -EBADMSG: it is none, or breaks the order (e says which event); -ENOMEM. */
int assembly_feed(struct assembly *a, struct str chunk, struct err *e);
struct str assembly_node(const struct assembly *a); /* "" before the first chunk */

#endif
