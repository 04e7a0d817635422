/* What the files of sync share: sync.c (the service, its timers), sync_hello.c (who a proxy is),
 * sync_send.c (messages to proxies), sync_times.c (how long epochs took). Nobody else includes
 * it. */
#ifndef OFFSHOOT_AGENT_SYNC_INT_H
#define OFFSHOOT_AGENT_SYNC_INT_H

#include "agent/sync.h"
#include "lib/base/list.h"
#include "lib/net/grpc.h"
#include "proto/offshoot/v1/control.pb-c.h"

#define SYNC_MAGIC           0x53594e43u
#define SYNC_STREAM_MAGIC    0x53594e53u
#define SYNC_CHUNK           (32u << 10) /* bytes of payload in a Stage; the contract allows 256 KiB */
#define SYNC_QUEUE           (96u << 10) /* bytes waiting on a stream; chunks fill it to half and one */
#define SYNC_FEATURE         "graph.1"   /* what our graphs need of a proxy */
#define SYNC_FEATURE_MORE    "routes.1"  /* and those that say more of routes and services */
#define SYNC_FEATURE_CAPTURE "capture.1" /* of a proxy: it takes CaptureRules */
#define SYNC_BEATS_MISSED    3           /* heartbeats */

struct event;

/* One call of Sync. */
struct sync_stream {
    uint32_t magic;
    struct sync *sync;
    struct list link, dirty;
    struct grpc_stream *call;
    struct push_proxy *proxy; /* NULL before Hello, and once it was finished */
    bool finished;
    bool captures;                /* its Hello has SYNC_FEATURE_CAPTURE */
    uint64_t opened_ms, heard_ms; /* began; last message */
    uint64_t moved_ms;            /* the queue took something, or had nothing to take */
    /* The epoch on its way. */
    struct push_bytes *bytes; /* NULL: nothing is */
    size_t sent;              /* bytes of it that were queued */
    uint32_t chunk;           /* next one */
    uint64_t nonce, base, epoch;
    unsigned char digest[32];
};

/* An epoch on its way to the proxies. */
struct sync_way {
    uint64_t epoch, commit_us; /* epoch 0: free */
    struct sync_times times;
};

struct sync {
    uint32_t magic;
    struct sync_options o;
    struct push *push;
    struct grpc_server *server;
    struct grpc_method *methods; /* all that it serves */
    struct list streams, dirty;
    struct event *turn, *timer, *heart;
    uint8_t *scratch; /* a message being encoded */
    size_t scratch_size;
    char *rules; /* packed AgentMessage of the capture rules, or NULL */
    size_t rules_size;
    struct sync_way ways[SYNC_WAYS]; /* by epoch % SYNC_WAYS */
};

/* ---- sync.c ---- */
/* Something was queued on it, or it is to be cancelled: written at the end of the turn. */
void sync_touch(struct sync_stream *t);
/* Ends the call with a status and a text, for a reason that is counted. Leaves push. */
void sync_refuse(
    struct sync_stream *t, enum sync_refusal reason, unsigned status, const char *text);

/* ---- sync_times.c ---- */
/* It is on disk. */
void sync_times_begin(struct sync *s, uint64_t epoch);
void sync_times_ack(struct sync *s, uint64_t epoch, enum push_ack state);

/* ---- sync_hello.c ---- */
/* Judges it and joins push; refuses else. */
void sync_hello(struct sync_stream *t, const Offshoot__V1__Hello *h);

/* ---- sync_send.c ---- */
void sync_stage(void *arg, void *stream, uint64_t nonce, uint64_t base, uint64_t epoch,
    const unsigned char *digest, struct push_bytes *bytes);
void sync_activate(void *arg, void *stream, uint64_t nonce, uint64_t epoch);
void sync_retire(void *arg, void *stream, uint64_t nonce, uint64_t epoch);
void sync_heartbeat(struct sync_stream *t, uint64_t epoch);
/* The capture rules, when there are any and it takes them. */
void sync_send_rules(struct sync_stream *t);
/* Queues chunks while there is room. */
void sync_pump(struct sync_stream *t);
void sync_drop_bytes(struct sync_stream *t);

#endif
