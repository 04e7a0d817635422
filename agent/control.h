/* The agent's one thread: event loop, graph files and their watch, signals, proxies, admin socket.
 *
 *   watch, SIGHUP, POST /reload → core_reload ┐
 *   POST /env/…, /rollback, …   → core_change ┼→ on_commit → sync_commit → proxies
 *   expiry timer                → core_tick   ┘   └→ shadow_commit → sessions
 *   proxies' sampled traffic    → shadow.h */
#ifndef OFFSHOOT_AGENT_CONTROL_H
#define OFFSHOOT_AGENT_CONTROL_H

#include "agent/core.h"
#include "agent/settings.h"
#include "agent/shadow.h"
#include "agent/stats.h"
#include "agent/sync.h"
#include "lib/base/list.h"
#include "lib/net/adminhttp.h"
#include "lib/net/watch.h"

#define CONTROL_MAGIC 0x4147434cu
#define CONTROL_WAITS 64 /* questions to /wait at a time */

struct event;

struct control {
    uint32_t magic;
    struct event_base *base;
    const struct settings *set;
    const struct conf *conf;
    struct core *core;
    struct sync *sync;
    struct shadow *shadow;
    struct grpc_tls *tls; /* NULL: no listener with tls */
    struct watch *watch;
    struct admin_server *admin;
    struct event *signals[3], *expiry;
    struct addr *bound; /* addresses of the listeners, in the order of the settings */
    size_t nbound;
    struct endpoint_rules rules; /* the settings' with our own addresses */
    struct addr *own;
    struct list waits; /* /wait: admin_wait.c */
    unsigned nwaits;
    const char *metrics_text; /* the bound metrics address */
    char metrics_buf[ADDR_TEXT_MAX];
    int64_t started_s;
    const struct counter_desc *stats_desc;
    counter_cell stats[STAT_COUNT];
};

/* Everything up to serving: history, sockets, graph. On failure e tells and control_release cleans
 * up what there is. */
int control_init(
    struct control *c, const struct settings *set, const struct conf *conf, struct err *e);
/* Runs until SIGTERM or SIGINT. */
void control_run(struct control *c);
void control_release(struct control *c);

/* Reads the graph files again; says in the log what came of it. As core_reload. */
int control_reload(struct control *c, const char *who, struct err *e);
/* One command through core_change; counted, said in the log. */
int control_change(struct control *c, const struct change *ch, uint64_t *ret_epoch, struct err *e);
/* Fills the cells that are read, not counted. */
void control_count(struct control *c);

/* The routes of the admin socket: admin.c, admin_epochs.c, admin_change.c, admin_shadow.c,
 * admin_wait.c. */
extern const struct admin_route admin_routes[];
extern const size_t admin_routes_count;

#endif
