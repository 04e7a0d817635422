/* Sampled traffic for the agent (docs/internals/capture.md): what the request path sees of it.
 *
 *   request.c  capture_decide   after the decision: dark requests, hops, sampling
 *   flow.c     capture_piece    content of a body on its way, copied into the worker's chunk
 *   request*.c capture_reply, capture_end, capture_dropped
 *   chunk      16 KiB or 5 ms → mailbox → control thread (capture_link.c) → gRPC stream
 *
 * The worker never waits: what does not fit is dropped and counted. Without a session the worker's
 * rules are NULL, and a request pays one branch. */
#ifndef OFFSHOOT_PROXY_CAPTURE_H
#define OFFSHOOT_PROXY_CAPTURE_H

#include "lib/base/list.h"
#include "lib/graph/snapshot.h"
#include "proxy/mailbox.h"

#define CAPTURE_SESSIONS 16
#define CHUNK_BYTES      16384u

struct event;
struct request;
struct worker;

/* What the agent told, compiled by the control thread; immutable, shared by all workers, counted.
 */
struct capture_rule {
    uint64_t id, sample_seed;
    uint32_t rate_ppm;
    bool unsafe_methods, refuse_missing, hops_only;
    struct str baseline;
    const struct str *services, *paths;
    unsigned nservices, npaths;
};
struct capture_rules {
    _Atomic uint32_t refs;
    uint64_t version;
    uint64_t dark_seed, dark_xor; /* of CaptureRules.dark_key */
    bool refuse_missing;          /* of any rule */
    unsigned nrules;
    struct capture_rule rule[CAPTURE_SESSIONS];
    void *memory; /* of the texts */
};
/* Unpacks a packed CaptureRules. New with one reference; NULL with e: it is none, or over a limit.
 * Rules without sessions are valid (nrules 0). */
struct capture_rules *capture_rules_parse(struct str packed, struct err *e);
void capture_rules_unref(struct capture_rules *r); /* NULL is allowed */

/* A chunk on its way to the control thread: events of a CaptureChunk, encoded. */
struct capture_chunk {
    struct message message; /* first */
    struct list link;
    struct worker *worker;
    uint32_t n, size;
    unsigned char data[];
};

/* A worker's part. */
struct capture {
    struct capture_rules *rules; /* NULL: nothing to do */
    bool up;                     /* there is a stream to the agent */
    struct capture_chunk *chunk; /* being filled, or NULL */
    struct event *flush;         /* 5 ms after the chunk was begun */
    uint32_t in_flight;          /* exchanges begun and not ended */
    uint64_t next_id;
    _Atomic uint64_t queued; /* bytes of chunks posted and not yet sent; the control thread
                              * takes away */
    bool drops_changed;
};

/* Of a request that is captured: request.captured. */
struct captured;

/* worker.c: begin and end. */
int capture_init(struct worker *w);
void capture_release(struct worker *w);

/* Messages from the control thread: new rules (a reference is handed over; NULL: none), and whether
 * there is a stream. */
void capture_set_rules(struct worker *w, struct capture_rules *rules);
void capture_set_up(struct worker *w, bool up);

/* capture_link.c: the control thread's part. */
struct capture_link;
struct control;
struct grpc_client_options;
/* Rules came on the Sync stream (packed CaptureRules), or that stream ended (empty: none).
 * Connects, tells the workers. */
int capture_link_rules(struct control *c, struct str packed, struct err *e);
/* A chunk came from a worker: message.run. Takes it. */
void capture_chunk_run(struct message *m, void *control);
void capture_link_release(struct control *c);

#endif
