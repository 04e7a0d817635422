/* What the files of push share: push.c (rounds), push_proxy.c (one proxy), push_list.c (telling).
 * Nobody else includes it. */
#ifndef OFFSHOOT_AGENT_PUSH_INT_H
#define OFFSHOOT_AGENT_PUSH_INT_H

#include "agent/push.h"
#include "lib/base/list.h"

#define PUSH_MAGIC       0x50555348u
#define PUSH_PROXY_MAGIC 0x50505259u
#define PUSH_BUCKETS     4096u
#define PUSH_CACHE       4    /* differences kept encoded */
#define PUSH_RECENT      16   /* epochs that history has in memory: bases of differences */
#define PUSH_RETIRES     16   /* epochs whose predecessors wait to be retired */
#define PUSH_AGAIN_MS    1000 /* when memory was out */
#define PUSH_TEXT_MAX    256

/* An epoch that a proxy holds, as far as we know. */
struct push_held {
    uint64_t epoch;
    unsigned char digest[32];
    uint64_t activate_nonce, retire_nonce; /* 0: not told */
};

/* One node: connected, or remembered. */
struct push_proxy {
    uint32_t magic;
    struct push *push;
    struct list link;         /* live: of push->live; else of push->gone, longest gone first */
    struct push_proxy *chain; /* next of the bucket */
    void *stream;             /* NULL: gone */
    uint64_t since_ms;        /* connected, or gone, since */

    char *words; /* the texts below, in one block */
    const char *node, *version, *region, *service, *environment, *gateway, *peer;
    struct push_held held[PUSH_HELD_MAX]; /* ascending */
    uint64_t active;                      /* acknowledged */
    uint64_t activated;                   /* told last */

    uint64_t stage_nonce, stage_epoch, stage_base; /* on its way; nonce 0: nothing is */
    unsigned char stage_digest[32];
    uint64_t told_ms;     /* when the oldest Stage or Activate without an answer went out */
    uint64_t whole_tried; /* for this epoch */
    uint64_t failed;      /* this epoch was refused for good; 0: none */
    unsigned nheld;
    bool late, stale;
    bool sidecar;
    bool foreign;    /* holds another history, or epochs above ours: nothing in `held` is meant */
    bool whole_next; /* a difference was refused: the whole, once */
    bool nacked;
    uint8_t nack_reason;

    uint64_t ack_ms; /* time of the last one; 0: none yet */
    uint64_t stage_ns, activate_ns;
    uint64_t nack_epoch, nack_ms;
    char nack_text[PUSH_TEXT_MAX];
};

struct push_encoded {
    uint64_t base, epoch;
    struct push_bytes *bytes; /* NULL: free */
};

struct push {
    uint32_t magic;
    struct push_options o;
    struct history *history;
    struct snapshot *newest; /* committed; NULL: none yet */
    struct snapshot *target; /* what proxies are to hold: the round's, else the activated one */
    bool round;              /* target is being staged, not activated yet */
    uint64_t round_ms;       /* began */
    uint64_t activated;
    bool recovering;     /* target may have reached nobody: see push.h */
    uint64_t not_before; /* recovering: activate then at the earliest; 0: not set yet */

    struct list live, gone;
    uint32_t nlive, ngone;
    struct list *waited; /* link of a live one that a round waited for when looked last, or NULL */
    struct push_proxy *buckets[PUSH_BUCKETS];

    struct push_encoded cache[PUSH_CACHE];
    unsigned cache_next;

    struct {
        uint64_t epoch, due_ms;
    } retires[PUSH_RETIRES]; /* ascending */
    unsigned nretires;
    uint64_t settled; /* all that are waited for are active on it: its retire is in line */
    uint64_t below;   /* epochs below are retired */

    uint64_t nonce;
    uint64_t again_ms; /* something was not sent for want of memory; 0: nothing */
    struct push_counts counts;
};

/* ---- push.c ---- */
/* Moves on as far as it goes: activates a round that is complete, begins the next one. */
void push_advance(struct push *p, uint64_t now_ms);
/* The difference of target from base (0: the whole): one more reference. NULL: base and target are
 * of different chains (*ret_memory false), or memory is out. */
struct push_bytes *push_encode(struct push *p, uint64_t base, bool *ret_memory);

/* ---- push_proxy.c ---- */
/* Sends what the proxy is to get next, if nothing is on its way to it. */
void push_offer(struct push_proxy *x, uint64_t now_ms);
/* The round goes on without it: it holds the target, or is late, or refused. */
bool push_done_with(const struct push_proxy *x);
/* Activates the newest epoch held that may be. */
void push_activate(struct push_proxy *x, uint64_t now_ms);
/* Retires what it holds below `below` and below its active epoch. */
void push_retire(struct push_proxy *x);
struct push_held *push_find_held(struct push_proxy *x, uint64_t epoch);
/* A Stage or an Activate of ours has no answer yet. */
bool push_unanswered(const struct push_proxy *x);
/* Active, as an epoch of our history; 0: not. */
uint64_t push_active(const struct push_proxy *x);
void push_forget(struct push_proxy *x); /* takes it from its lists and frees it */

#endif
