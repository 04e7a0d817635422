/* A worker: one thread, one event base, everything it needs for requests of its own.
 *
 * Shares nothing on the request path. The rest of the process talks to it through its mailbox and
 * reads its counters. Tests drive a worker without a thread: worker_turn and a virtual clock. */
#ifndef OFFSHOOT_PROXY_WORKER_H
#define OFFSHOOT_PROXY_WORKER_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/list.h"
#include "lib/base/wheel.h"
#include "proxy/accesslog.h"
#include "proxy/capture.h"
#include "proxy/live.h"
#include "proxy/mailbox.h"
#include "proxy/names.h"
#include "proxy/overload.h"
#include "proxy/pins.h"
#include "proxy/provider.h"
#include "proxy/settings.h"
#include "proxy/slots.h"
#include "proxy/stats.h"
#include "proxy/usage.h"
#include <pthread.h>
#include <stdatomic.h>

struct signer;
struct provider_cas;
struct tls_worker;
struct traces;

#define WORKER_MAGIC 0x574f524bu
#define BLOCK_BYTES  65536u
#define SMALL_BYTES  8192u

/* What all workers of a process share: read-only, but for the atomic. */
struct shared {
    const struct settings *set;
    struct traces *traces;
    struct ratelimit *limits;           /* of gateways; NULL in tests without */
    struct mailbox *control;            /* for name look-ups; NULL in tests without names */
    const struct endpoint_rules *rules; /* judged again after each look-up; NULL: all pass */
    struct endpoint_table *endpoints;
    struct worker *workers; /* all of them, for messages; nworkers 0 in tests */
    unsigned nworkers;
    _Atomic uint32_t connections; /* client connections of all workers */
    bool pins;                    /* an agent feeds us: revisions are stamped and followed */
    _Atomic uint32_t stopped;     /* workers whose thread has ended */
    _Atomic uint64_t resident;    /* bytes; 0 without limits.memory */
};

/* Objects of HTTP/2 streams that are over, for the next ones. */
struct spares {
    struct list conns; /* by their ready link */
    unsigned n;
};

struct worker {
    uint32_t magic;
    unsigned id;
    struct shared *shared;
    const struct settings *set;
    struct event_base *base;
    struct mailbox mailbox;
    struct slot_reader slots;
    struct wheel wheel;
    struct event *tick; /* drives the wheel */
    bool tick_pending;

    uint64_t now_us, now_ms; /* monotonic, of this turn */
    int64_t now_s;           /* Unix seconds, of this turn */
    bool clock_fresh;
    bool virtual_clock; /* tests set the three above themselves */

    struct bufpool bufs;
    struct h2_pool *h2_pool; /* NULL: memory was out, each session has its own */
    struct bufpool small;    /* for the heads of streams */
    struct list listeners;
    struct list clients;     /* every client connection */
    struct list ready;       /* connections to resume before sleeping */
    struct list flush;       /* HTTP/2 connections with output, written at the end of the turn */
    struct list awake;       /* HTTP/2 connections whose sessions have not been put to rest */
    struct list dead;        /* connections to free after the turn, by their ready link */
    struct spares spares[2]; /* of providers, of clients */
    struct request *free_requests;
    unsigned nfree_requests;
    struct providers providers;
    struct timer removed; /* removed.h */
    struct list hungry;   /* of provider.hungry */
    uint64_t hungry_ms;   /* when they were looked at last */
    struct names names;
    struct accesslog log;
    struct live_walk live; /* listings */
    struct capture capture;
    struct signer *signer;    /* NULL: no keys; replaced by keys.c */
    struct tls_worker *tls;   /* NULL in tests without TLS; tls_conn.h */
    struct provider_cas *cas; /* of provider_tls.c */
    struct {
        int64_t second;
        uint32_t said, unsaid; /* lines in it */
    } tls_log;
    uint64_t turn; /* number of the present one */
    uint64_t random[2];
    uint64_t last_sweep_ms;
    uint32_t turns[1024]; /* round robin counters, by endpoint set */

    struct overload overload;

    bool hold_accept;    /* listeners are there, but accept nothing until WORKER_ACCEPT */
    bool draining;       /* no connection is kept behind the request that it has */
    bool ending;         /* nothing is accepted any more; stops when the last client is gone */
    bool refuse_missing; /* by the settings, or by a session of capture */
    uint64_t drain_deadline_ms, drain_looked_ms;
    bool stop;               /* leave the loop */
    _Atomic bool ended;      /* the thread takes no more messages */
    _Atomic unsigned orders; /* enum worker_order, by another thread: worker_tell */
    unsigned obeyed;

    /* How provider connections are made: sock_connect; tests put socket pairs here. */
    int (*connect)(struct worker *w, const struct addr *a, bool *ret_pending);
    void *test; /* of the tests' connect */

    pthread_t thread;
    counter_cell stats[STAT_COUNT];
    struct usage by_env, by_service;
    struct pins pins;
};

/* What the control thread tells a worker: bits, each once. */
enum worker_order {
    WORKER_ACCEPT = 1,    /* what was held back is accepted now */
    WORKER_QUIET = 2,     /* worker_quiet */
    WORKER_DRAIN = 4,     /* worker_drain */
    WORKER_HAND_OVER = 8, /* worker_hand_over */
    WORKER_STOP = 16      /* leave the loop at once */
};
/* Any thread; needs no memory. */
void worker_tell(struct worker *w, enum worker_order order);

int worker_init(struct worker *w, unsigned id, struct shared *shared, struct err *e);
/* After the loop has ended (or without one): closes everything that is still open. */
void worker_release(struct worker *w);

/* Runs until the worker has drained or was told to stop. */
void worker_run(struct worker *w);
/* One turn: what is ready now, and what follows from it. block: may wait for the next event. */
void worker_turn(struct worker *w, bool block);
/* On the worker's thread, each the more: keep-alive ends with the next reply; */
void worker_quiet(struct worker *w);
/* what waits in the listeners is accepted, then they are closed; connections without a request end
 * once they have been idle for timeouts.drainIdle; the worker stops when all are gone, after
 * timeouts.drain in any case. */
void worker_drain(struct worker *w);
/* The same, but what waits in the listeners is left for the process that has them now. */
void worker_hand_over(struct worker *w);

/* Refreshes the clock, once a turn. */
void worker_clock_read(struct worker *w);
static inline void worker_clock(struct worker *w)
{
    if (!w->clock_fresh)
        worker_clock_read(w);
}
/* Sets a timer and keeps the wheel turning. */
void worker_timer(struct worker *w, struct timer *t, uint64_t deadline_ms);
/* Frees the connection's object after the turn. */
void worker_bury(struct worker *w, struct conn *c);
/* A zeroed object whose first member is the conn of a stream; buried like any other. All objects of
 * one magic have one size. NULL when memory is out. */
void *worker_stream_object(struct worker *w, uint32_t magic, size_t size);
/* xorshift128+: for choices and trace ids, not for secrets. */
uint64_t worker_random(struct worker *w);

/* Message: which snapshots are held, and which is active. Sent by the control thread, and sent back
 * to it by the worker that has taken it (`back` runs there and takes it). */
struct publication {
    struct message message;
    struct slot_table table;
    uint64_t serial;
    void (*back)(struct message *m, void *control);
};
void publication_run(struct message *m, void *worker);

#endif
