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
    /* The first chunk's node, before any of its events. Not 0, with e: the chunk is refused, and
     * that is what assembly_feed returns. */
    int (*on_node)(void *arg, struct str node, struct err *e);
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
/* A whole CaptureChunk. -EBADMSG: it is none, or breaks the order (e says which event); or what
 * on_node returned. Nothing may be fed afterwards. */
int assembly_feed(struct assembly *a, struct str chunk, struct err *e);
struct str assembly_node(const struct assembly *a); /* "" before the first chunk */
uint32_t assembly_worker(const struct assembly *a);
/* Exchanges begun and not ended, and the memory they take. */
uint32_t assembly_open(const struct assembly *a);
uint64_t assembly_bytes(const struct assembly *a);
/* Another bound on that memory; what is open above it goes with its next event. */
void assembly_limit(struct assembly *a, uint64_t bytes);

/* What a worker said it dropped until now, by CaptureDrop. To be kept when its stream ends and
 * given to the next one, so that what is dropped in between counts. Without them the first report
 * of a stream counts nothing: it is what the next ones are compared with. */
#define ASSEMBLY_DROPS 16u
struct assembly_sums {
    bool known;
    uint64_t dropped[ASSEMBLY_DROPS];
};
struct assembly_sums assembly_sums(const struct assembly *a);
void assembly_set_sums(struct assembly *a, const struct assembly_sums *s);
/* "in-flight" "memory" ... of a CaptureDrop, below EXCHANGE_DROPS; else "unknown". */
#define EXCHANGE_DROPS 9u
const char *exchange_drop_word(unsigned drop);
unsigned exchange_drop_number(const char *word); /* EXCHANGE_DROPS: none of them */

#endif
