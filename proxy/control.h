/* The control thread: graph files, publication to workers, names, signals, the admin socket.
 *
 * Runs on the main thread with an event base of its own. Owns the snapshots (slots.h) and every
 * worker object; the workers own what is in them. */
#ifndef OFFSHOOT_PROXY_CONTROL_H
#define OFFSHOOT_PROXY_CONTROL_H

#include "lib/base/conf.h"
#include "lib/net/adminhttp.h"
#include "lib/net/dns.h"
#include "lib/net/graphsrc.h"
#include "lib/net/watch.h"
#include "proxy/epochs.h"
#include "proxy/giveback.h"
#include "proxy/worker.h"
#include <assert.h>

#define CONTROL_MAGIC 0x4354524cu

struct inherit;
struct upgrade;

/* How this process came to be. */
struct descent {
    char *const *argv;       /* of main, for a successor; NULL: there cannot be one */
    struct inherit *inherit; /* of the process before; NULL: none. control_init takes it */
};

/* A listening socket, as a successor gets it. */
struct bound_socket {
    int fd;         /* the listener's */
    unsigned order; /* which `listen` of the settings */
    bool waits;     /* bound, and does not listen yet */
};

struct control {
    uint32_t magic;
    struct event_base *base;
    struct mailbox mailbox;
    const struct settings *set;
    const struct conf *conf;
    struct shared shared;

    struct worker *workers;
    struct slot_reader **readers;
    unsigned nworkers, nstarted;
    struct addr *bound; /* addresses of the listeners, in the order of the settings */
    size_t nbound;
    struct bound_socket *sockets;
    size_t nsockets, room_sockets;
    struct descent descent;
    struct inherit *inherit;   /* NULL: nothing is (or is left to be) taken over */
    struct upgrade *upgrade;   /* NULL: there cannot be one */
    uint32_t generation, from; /* upgrades that led here; number of the process before */

    struct graphsrc *graph;       /* NULL: an agent feeds us */
    struct sync *sync;            /* NULL: static mode */
    struct capture_link *capture; /* NULL: the agent has asked for nothing yet */
    struct tls_control *tls;
    bool waiting; /* for the first graph of the agent */
    struct epochs epochs;
    struct snapshot *active;  /* what requests without a pin use; NULL: nothing yet */
    struct snapshot *delayed; /* waits for a free slot; replaces an older waiting one */
    uint64_t epoch;
    struct keyring *keys;  /* NULL: contexts are unsigned */
    struct signer *signer; /* of this thread, for explain; NULL likewise */
    int64_t keys_loaded_s;
    int64_t loaded_s, tried_s;   /* Unix seconds of the last good load, and of the last try */
    bool invalid;                /* the files are not what is active */
    struct endpoint_rules rules; /* the settings' with our own addresses */
    struct addr *own;

    struct watch *watch;
    struct dns *dns;
    struct list lookups;   /* names being looked up */
    struct health *health; /* checks of endpoints */
    struct admin_server *admin;
    struct list tails, asks; /* readers of the log (logtail.h); open questions (live.h) */
    unsigned ntails, nasks;
    int admin_fd, metrics_fd; /* taken over, not accepted from yet; -1 */
    struct event *signals[4], *second;
    struct event *delay;      /* from not ready to not accepting; NULL: none runs */
    struct event *wait;       /* for admin connections, at the end */
    const char *metrics_text; /* the bound metrics address */
    char metrics_buf[ADDR_TEXT_MAX];
    int log_fd;   /* access log, -1: off */
    int state_fd; /* lock of the state folder, -1: none */
    int64_t started_s;
    struct giveback giveback;
    bool draining;
    bool told_to_stop; /* by a signal or /drain; not by an upgrade */
    unsigned waited;   /* for admin connections, at the end after an upgrade; ticks */
    const struct counter_desc *stats_desc;
    counter_cell stats[STAT_COUNT];
};

/* The argument of a route, of an event, of a message's run. */
static inline struct control *control_of(void *arg)
{
    struct control *c = arg;
    assert(c->magic == CONTROL_MAGIC);
    return c;
}

/* Everything up to serving: state lock, graph, sockets, workers. On failure e tells and
 * control_release cleans up what there is. -ECANCELED: told to stop while it waited for the first
 * graph of the agent. from: NULL for a process that was not started by an upgrade and cannot be
 * upgraded. */
int control_init(struct control *c, const struct settings *set, const struct conf *conf,
    const struct descent *from, struct err *e);
/* Runs until SIGTERM or SIGINT and the drain that follows. */
void control_run(struct control *c);
void control_release(struct control *c);

/* Reads the graph files again; a valid change is published. 0, -EALREADY, -EINVAL (told in the
 * log), -ENOMEM. Static mode only. */
int control_reload(struct control *c);
/* An epoch of the agent is what every worker uses. */
void control_graph_active(struct control *c, uint64_t epoch);
/* What SIGHUP does besides the graph: opens the access log again and reads keys again. 0, or
 * negative errno with e; then the old ones stay. */
int control_reopen(struct control *c, struct err *e);
/* Not ready any more; after timeouts.drainDelay accepts nothing, lets what runs end, then
 * control_run returns. Again: at once. (control_life.c, like the following.) */
void control_drain(struct control *c);
/* Process pid serves in our place: accepts nothing, lets what runs end. */
void control_hand_over(struct control *c, long pid, bool admin_taken);
void control_tell(struct control *c, enum worker_order order);
void control_end_if_stopped(struct control *c);
int control_watch_signals(struct control *c, struct err *e);
/* The admin server, and its sockets unless they are inherited. */
int control_start_admin(struct control *c, struct err *e);
/* All is ready: takes the place of the process before. */
int control_take_over(struct control *c, struct err *e);
/* Memory of the process that is resident, bytes; 0: the kernel does not tell. */
uint64_t control_resident(void);
/* Name look-ups that dns_free left without an answer (control_names.c). */
void control_drop_lookups(struct control *c);
/* The table of endpoints and their checks (control_health.c). The release comes after the workers'
 * and before the event base's. */
int control_endpoints(struct control *c, struct err *e);
void control_endpoints_release(struct control *c);
/* Listening sockets of every worker (control_listen.c). */
/* Notes the addresses, and binds each once without SO_REUSEPORT: another proxy on it is told
 * before anything large is read. */
int control_probe(struct control *c, struct err *e);
int control_listen(struct control *c, struct err *e);
/* Those that are bound begin to listen. */
void control_listen_start(struct control *c);
/* How a successor finds the sockets of a `listen`: its address, port 0 as 0, in key[ADDR_TEXT_MAX];
 * and how many before it have the same. */
void control_listen_key(const struct settings *set, size_t order, char *key, uint32_t *ret_number);
/* Warns of listeners with tcp= whose service the graph does not have, or not as a tcp one. */
void control_listen_judge(const struct control *c, const struct snapshot *s);
/* The routes of the admin socket (admin.c). */
extern const struct admin_route admin_routes[];
extern const size_t admin_routes_count;

#endif
