/* What the parts of sync share: sync.c (the stream), sync_epochs.c (what is held and acknowledged),
 * sync_status.c (what people are told). */
#ifndef OFFSHOOT_PROXY_SYNC_IMPL_H
#define OFFSHOOT_PROXY_SYNC_IMPL_H

#include "lib/net/grpc.h"
#include "lib/net/reach.h"
#include "proxy/control.h"
#include "proxy/sync.h"
#include "proxy/sync_stage.h"

#define SYNC_MAGIC 0x53594e43u /* "SYNC" */

/* Those that wait for workers, and one that waits to be saved. */
#define WANTED_MAX (EPOCHS_HELD + 1)

/* An activation that the agent waits for. */
struct wanted {
    uint64_t epoch, nonce; /* nonce 0: asked for on a stream that is gone */
    uint64_t since_ns;
    bool taken; /* by every worker; not yet saved */
    unsigned char history[HISTORY_ID];
};

/* Judged and good, but no slot is free. The newest one replaces an older one. */
struct waiting {
    struct snapshot *snapshot; /* a reference; NULL: none waits */
    uint64_t nonce, since_ns;
    unsigned char history[HISTORY_ID];
    bool new_history;
    struct event *retry;
    uint32_t retry_ms;
};

/* The last epoch on its way: from the last byte of its Stage until every worker used it, and how
 * long saving it took then. */
struct sync_way {
    uint64_t epoch, since_ns; /* staged last */
    uint64_t active;          /* the times are of this one; 0: none yet */
    uint64_t workers_ns, save_ns;
};

struct sync {
    uint32_t magic;
    struct control *control;
    struct lastgood *lastgood; /* NULL: no state folder */
    char node[SETTINGS_NODE_MAX];

    /* the stream */
    struct grpc_tls *tls;
    struct grpc_client *client;
    struct grpc_stream *stream; /* NULL: none */
    struct event *again;        /* a new stream on a connection that is still up */
    struct backoff backoff;     /* until then */
    char why[160];              /* the last stream ended, or could not be made; "": not yet */
    int64_t since_s;            /* of the stream, or of its loss */
    int64_t heard_s;            /* Unix seconds, something of the agent; 0: never */
    uint64_t heard_ms, beat_ms; /* of clock_mono_ms */
    unsigned complaints;        /* logged in this second */
    bool inside;                /* one of the client's callbacks runs: it writes what we queue */
    bool freeing;               /* no new streams */
    bool let_go;                /* the last good file is another process's */

    /* what is held */
    struct stage_in *in;
    unsigned char history[HISTORY_ID]; /* of what was staged last */
    uint64_t newest;                   /* epoch of it, ever staged */
    struct waiting waiting;
    struct wanted wanted[WANTED_MAX];
    unsigned nwanted;
    bool has_history, has_adopted;
    unsigned char active_history[HISTORY_ID]; /* of what workers use */
    uint64_t active;                          /* epoch; 0: none */
    unsigned char saved_history[HISTORY_ID];
    uint64_t saved; /* what may be acknowledged: on disk, or there is none to keep; 0: none */
    struct err save_error; /* code 0: the last one went well */
    struct sync_way way;
    unsigned char adopted[HISTORY_ID]; /* without a state folder */
};

uint64_t sync_now_ns(void); /* monotonic */
void sync_gauge(struct sync *s, enum proxy_stat which, uint64_t v);
void sync_count(struct sync *s, enum proxy_stat which);
/* True a few times a second: what an agent sends must not fill the log. */
bool sync_may_complain(struct sync *s);

/* ---- sync.c: answers; without a stream, or for nonce 0, nothing is sent ---- */
void sync_ack(struct sync *s, uint64_t nonce, uint64_t epoch, Offshoot__V1__AckState state,
    uint64_t since_ns);
void sync_nack(struct sync *s, uint64_t nonce, uint64_t epoch, Offshoot__V1__NackReason reason,
    const char *text);
/* Writes what was queued outside of the client's callbacks. */
void sync_flush(struct sync *s);

/* ---- sync_epochs.c ---- */
int sync_epochs_init(struct sync *s, struct err *e);
void sync_epochs_release(struct sync *s);
/* Stages and activates what the last good file holds. */
int sync_epochs_load(struct sync *s, struct err *e);
/* Opens the last good file again after sync_let_go. */
int sync_epochs_resume(struct sync *s, struct err *e);
void sync_on_stage(struct sync *s, const Offshoot__V1__Stage *m);
void sync_on_activate(struct sync *s, const Offshoot__V1__Activate *m);
void sync_on_retire(struct sync *s, const Offshoot__V1__Retire *m);
/* Nobody waits for answers any more. */
void sync_forget_stream(struct sync *s);
/* Tries again what could not be saved. */
void sync_epochs_second(struct sync *s);
const unsigned char *sync_adopted(const struct sync *s); /* NULL: none */

#endif
