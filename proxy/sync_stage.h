/* Stages on their way in: chunks joined, applied to a private copy, judged. No sockets, no workers.
 *
 *   chunk 0 → is it for us (features, history, base, size)? → chunks in order → bytes
 *   bytes → codec_apply on the base → the digest stated → may it be served here?
 *
 * Memory is taken as chunks arrive, never beyond the limit. Every Stage gets one answer: with the
 * chunk that is refused, or with the last one; what still comes of a refused Stage is dropped. */
#ifndef OFFSHOOT_PROXY_SYNC_STAGE_H
#define OFFSHOOT_PROXY_SYNC_STAGE_H

#include "lib/base/err.h"
#include "lib/graph/pb.h"
#include "lib/graph/snapshot.h"
#include "proto/offshoot/v1/control.pb-c.h"
#include "proxy/lastgood.h"

#define STAGE_PAYLOAD_MAX  262144u
#define STAGE_CHUNKS_MAX   65536u
#define STAGE_FEATURES_MAX 64u
#define STAGE_HELD_MAX     9u  /* epochs held, and one that waits */
#define NACK_TEXT_MAX      480 /* bytes of a Nack's text with its NUL */

/* All that this proxy can serve: "graph.1" and, with all that routes, limits, policies and TLS of
 * services may say, "routes.1". NULL-terminated. */
extern const char *const stage_features[];

/* What the proxy holds at the moment, and what it may serve. All borrowed. */
struct stage_view {
    const unsigned char *history;          /* NULL: it holds nothing */
    const unsigned char *adopted;          /* another one that an operator let in; NULL: none */
    struct snapshot *held[STAGE_HELD_MAX]; /* of history, the one that waits included */
    unsigned nheld;
    uint64_t newest; /* highest epoch of history ever held; 0: none */
    /* What is served, of which history: another one than `history` while its successor is staged
     * and not activated. NULL: nothing is. */
    const struct snapshot *served;
    const unsigned char *served_history;
    uint64_t limit; /* bytes of a difference, and of a compiled graph */
    const struct endpoint_rules *rules;
    /* 0, or negative errno with e: no gateway of s can rule here. May be NULL. */
    int (*judge)(void *arg, const struct snapshot *s, struct err *e);
    void *arg;
};

enum stage_result {
    STAGE_MORE,    /* nothing to answer: more chunks are to come, or a refused one's was dropped */
    STAGE_HELD,    /* that very epoch is held: Ack STAGED */
    STAGE_READY,   /* snapshot is to be staged */
    STAGE_REFUSED, /* Nack */
};

struct stage_answer {
    enum stage_result result;
    uint64_t nonce, epoch;
    Offshoot__V1__NackReason reason; /* of REFUSED, with text (ASCII) */
    char text[NACK_TEXT_MAX];
    struct snapshot *snapshot; /* of READY: a reference for the caller */
    struct snapshot_changes changes;
    unsigned char history[HISTORY_ID]; /* of READY */
    bool new_history;                  /* it is not view->history */
};

struct stage_in; /* what is being joined */

/* Returns new; NULL when memory is out. */
struct stage_in *stage_new(void);
void stage_free(struct stage_in *in);
/* Forgets what was not complete: the stream ended. */
void stage_reset(struct stage_in *in);
/* Takes one message. ret is always filled. */
void stage_take(struct stage_in *in, const Offshoot__V1__Stage *m, const struct stage_view *v,
    struct stage_answer *ret);
/* Bytes joined so far. */
size_t stage_bytes(const struct stage_in *in);
const char *nack_word(unsigned reason); /* "BAD_DIGEST"; "UNKNOWN" for what is none */

#endif
