/* Who has which epoch, and moving everybody to the newest one: Stage, Ack, Activate, Retire.
 *
 * Without sockets and without protobuf: messages come and go as structs, so that tests drive it
 * with a virtual clock. sync.c binds it to gRPC streams.
 *
 *   push_commit(newest) → every proxy: Stage (difference from what it holds, else the whole)
 *   all live proxies STAGED, or 2 s passed (who is late is named) → Activate
 *   everybody ACTIVE on it, and 60 s → Retire of older ones
 *
 * One epoch is on its way at a time; what is committed meanwhile joins: the next Stage is for the
 * newest epoch. A proxy that was late once is not waited for again until it has caught up; one that
 * refused an epoch is left alone until the next one. One Stage a proxy is on its way at a time.
 *
 * After a restart the newest epoch may have reached nobody: it is activated once a proxy says that
 * it is active on it, else when stage_ms passed since the first call here, so that most proxies are
 * back and hold it. */
#ifndef OFFSHOOT_AGENT_PUSH_H
#define OFFSHOOT_AGENT_PUSH_H

#include "agent/history.h"
#include "lib/base/counters.h"

#define PUSH_HELD_MAX 8

struct push;
struct push_proxy; /* one connected proxy */

enum push_ack { PUSH_STAGED = 1, PUSH_ACTIVE = 2, PUSH_RETIRED = 3 };
enum push_nack { /* numbers of NackReason */
    PUSH_BAD_DIGEST = 1,
    PUSH_BASE_UNKNOWN,
    PUSH_INVALID_GRAPH,
    PUSH_TOO_BIG,
    PUSH_STALE,
    PUSH_UNSUPPORTED
};

/* An encoded Difference, shared by all proxies that get it. */
struct push_bytes {
    uint32_t refs;
    bool routes; /* the proxy needs "routes.1" for it */
    struct str bytes;
};

struct push_hello {
    const char *node, *version, *region, *service, *environment, *gateway, *peer;
    bool sidecar;
    const unsigned char *history; /* HISTORY_ID bytes, NULL: holds nothing */
    struct {
        uint64_t epoch;
        unsigned char digest[32];
    } held[PUSH_HELD_MAX];
    unsigned nheld;
    uint64_t active;
};

struct push_options {
    uint32_t stage_ms;       /* 2,000: after that Activate without the late ones */
    uint32_t retire_ms;      /* 60,000 */
    uint32_t proxies_max;    /* connected ones; default 10,000 */
    uint32_t remembered_max; /* gone ones still listed; default 10,000 */
    uint64_t remember_ms;    /* 1 h */
    void *arg;
    /* To one proxy. stage: bytes gets a reference of its own when the callee keeps it; base 0:
     * whole. The callee sends chunk after chunk as the stream takes them. */
    void (*stage)(void *arg, void *stream, uint64_t nonce, uint64_t base, uint64_t epoch,
        const unsigned char *digest, struct push_bytes *bytes);
    void (*activate)(void *arg, void *stream, uint64_t nonce, uint64_t epoch);
    void (*retire)(void *arg, void *stream, uint64_t nonce, uint64_t epoch);
    /* Ends the stream: another one with the same node came (text says). The callee forgets the
     * proxy: push_leave is not called for it. */
    void (*drop)(void *arg, void *stream, const char *text);
};

/* Borrows h. Takes what h has as the newest epoch. NULL when memory is out. */
struct push *push_new(const struct push_options *o, struct history *h);
void push_free(struct push *p);

/* A new epoch is on disk. */
void push_commit(struct push *p, struct snapshot *s, uint64_t now_ms);
/* A proxy said Hello. NULL: refused (limit, or no memory). stream is the caller's, given back to
 * the callbacks, which may be called before this returns. */
struct push_proxy *push_join(
    struct push *p, const struct push_hello *h, void *stream, uint64_t now_ms);
void push_leave(struct push_proxy *x, uint64_t now_ms);
const char *push_node(const struct push_proxy *x); /* lives as long as x */
/* Whether it answers what the proxy was told, and had no answer yet. */
bool push_on_ack(struct push_proxy *x, uint64_t nonce, uint64_t epoch, enum push_ack state,
    uint64_t ns, uint64_t now_ms);
void push_on_nack(struct push_proxy *x, uint64_t nonce, uint64_t epoch, enum push_nack reason,
    struct str text, uint64_t now_ms);
/* Time-outs. Returns when to call again (ms from now); anything else called here may bring that
 * forward. */
uint32_t push_tick(struct push *p, uint64_t now_ms);

/* Epoch that every live proxy is active on, at least; UINT64_MAX when there is none. */
uint64_t push_slowest(const struct push *p);
/* The one told to activate last. */
uint64_t push_activated(const struct push *p);

struct push_counts {
    uint64_t stages, wholes, acks, nacks, activations, late, stage_bytes;
    uint32_t live, behind, stale;
};
struct push_counts push_counts(const struct push *p);
void push_bytes_drop(struct push_bytes *b);
/* Live proxies that are not active on epoch or a later one: names for a JSON array, or lines. */
void push_names_behind(const struct push *p, uint64_t epoch, bool json, struct text *out);
/* The list of proxies: text or JSON (docs/agent-admin.md). behind: only those not active on the
 * newest epoch. */
void push_list(const struct push *p, bool json, bool behind, uint64_t now_ms, struct text *out);

#endif
