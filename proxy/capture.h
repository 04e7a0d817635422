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
#include "lib/base/str.h"
#include "lib/graph/pb.h"
#include "proxy/mailbox.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

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

/* The memory that it takes. */
static inline uint64_t capture_chunk_bytes(const struct capture_chunk *k)
{
    return sizeof *k + k->size;
}

/* A worker's part. */
struct capture {
    struct capture_rules *rules; /* NULL: nothing to do */
    bool up;                     /* there is a stream to the agent */
    bool drops_changed;          /* the agent does not know the sums of drops */
    uint32_t stream;             /* counts those that were lost */
    uint32_t in_flight;          /* exchanges begun and not ended */
    struct capture_chunk *chunk; /* being filled, or NULL */
    struct event *flush;         /* 5 ms after the chunk was begun */
    struct pb_out scratch, sums; /* an event; that of drops */
    uint64_t next_id;
    _Atomic uint64_t queued; /* bytes of chunks posted; the control thread takes away what it gave
                              * to the stream or dropped */
};

/* As CaptureDrop of capture.proto. */
enum capture_drop {
    CAPTURE_KEPT,
    CAPTURE_DROP_IN_FLIGHT,
    CAPTURE_DROP_MEMORY,
    CAPTURE_DROP_BODY,
    CAPTURE_DROP_ABORTED,
    CAPTURE_DROP_RETRIED,
    CAPTURE_DROP_TUNNEL,
    CAPTURE_DROP_HEAD,
    CAPTURE_DROP_DISCONNECTED,
    CAPTURE_DROP_COUNT
};
/* As HopKind. */
enum capture_hop { CAPTURE_HOP_SAMPLED, CAPTURE_HOP_DARK, CAPTURE_HOP_LOST, CAPTURE_HOP_BLOCKED };

/* ---- the request path; request.captured is not NULL where it is needed ---- */

struct captured;
struct field;

/* After the decision, when the worker has rules or the context is dark: tells hops, begins the
 * exchange of a sampled request. False: a dark request that might change something outside its
 * environment; to be refused with REFUSAL_DARK_BLOCKED. */
bool capture_decide(struct request *r);
/* Content of a body, once, in order. */
void capture_piece(struct captured *x, struct worker *w, bool reply, struct str piece);
void capture_trailers(struct captured *x, const struct field *fields, unsigned n);
/* The final head of the provider's reply stands in r->reply, its bytes still in place. */
void capture_reply(struct request *r);
/* The request is sent once more, from its start. */
void capture_again(struct request *r);
/* It is over, replied to; */
void capture_end(struct request *r);
/* or it is of no use (nothing happens when it is not captured). Both set request.captured NULL. */
void capture_dropped(struct request *r, enum capture_drop why);

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
/* Rules came on the Sync stream (packed CaptureRules), or that stream ended (empty: none).
 * Connects, tells the workers. */
int capture_link_rules(struct control *c, struct str packed, struct err *e);
/* A chunk came from a worker: message.run. Takes it. */
void capture_chunk_run(struct message *m, void *control);
void capture_link_release(struct control *c);

#endif
