/* The one place where the graph changes: sources in, epochs out.
 *
 *   graph files ─┐
 *   commands ────┼→ core_change / core_reload → load → check → compile → history_append (disk)
 *   expiry ──────┘                                                  └→ on_commit → push (proxies)
 *
 * Every change of the product goes through core_change, so that each is checked, written with who
 * and why, and has an epoch. An invalid graph never replaces a valid one. While held (rollback),
 * files and commands are checked but not published.
 *
 * One thread. Knows nothing of sockets. */
#ifndef OFFSHOOT_AGENT_CORE_H
#define OFFSHOOT_AGENT_CORE_H

#include "agent/history.h"
#include "lib/base/counters.h"
#include "lib/graph/snapshot.h"
#include "lib/net/graphsrc.h"

struct core;

struct core_options {
    struct graphsrc_options graph;
    struct history_options history;
    const struct endpoint_rules *rules; /* borrowed */
    uint32_t own_max;                   /* environments made by command; default 10,000 */
    uint64_t own_life_s;                /* longest --for; default 90 days */
    uint64_t own_default_s;             /* life without --for; default 0: for good */
    uint64_t own_keep_s;       /* how long an expired one is kept (answering 410) before it is taken
                                * away; default 1 h */
    int64_t (*now)(void *arg); /* Unix seconds; tests have their own clock */
    void *arg;
    /* A new epoch is on disk. */
    void (*on_commit)(void *arg, struct snapshot *s, const struct epoch_info *info);
};

/* NULL with e. Opens the history, recovers. Nothing is loaded yet; what the log holds is active. */
struct core *core_new(const struct core_options *o, struct err *e);
void core_free(struct core *c);

/* One command. Texts are borrowed for the call. */
struct change {
    enum change_kind kind;
    const char *name;           /* environment */
    const char *const *parents; /* create; none: the only baseline, else an error */
    size_t nparents;
    const char *const *provides; /* "service=address[,address…]"; set: replaces that service's */
    size_t nprovides;
    const char *const *uses; /* "service=environment" */
    size_t nuses;
    const char *const *removes; /* services */
    size_t nremoves;
    const char *const *drops; /* set: services whose statement goes (inherited again) */
    size_t ndrops;
    uint64_t life_s; /* create, extend: from now; 0: not said */
    bool is_public;  /* access: public */
    bool is_token;   /* access: token */
    bool strict;
    bool while_held; /* held: written down and checked, published by the resume; else -EBUSY */
    const char *owner;
    uint64_t epoch; /* rollback: which one's content */
    const char *who, *why;
};

/* Makes the change: 0, *ret_epoch is its epoch and it is on disk. -EALREADY: nothing differs,
 * *ret_epoch is the active one. Else nothing has changed and e says why (the first finding of the
 * check, with its place): -EINVAL (bad command, or the graph would not be valid), -EEXIST, -ENOENT,
 * -EBUSY (held), -EPERM (not made by command: it stands in FILE:LINE), -ENOSPC (a limit, or the
 * disk), -EIO, -ENOMEM. */
int core_change(struct core *c, const struct change *ch, uint64_t *ret_epoch, struct err *e);
/* Reads files again. 0: a new epoch; -EALREADY; -EINVAL (core_findings); -EBUSY (valid, but held);
 * -ENOSPC, -EIO, -ENOMEM. */
int core_reload(struct core *c, const char *who, struct err *e);
/* Takes away what expired long enough ago. Returns the seconds until it is worth calling again. */
uint32_t core_tick(struct core *c);

const struct history_recovery *core_recovery(const struct core *c); /* of core_new */
struct snapshot *core_active(const struct core *c);                 /* borrowed; NULL: none yet */
struct history *core_history(struct core *c);
bool core_held(const struct core *c);
bool core_valid(const struct core *c); /* sources as last read are valid */
int64_t core_loaded(const struct core *c), core_tried(const struct core *c); /* Unix seconds */
/* Of the last load: as graphsrc_findings. */
void core_findings(const struct core *c, bool json, struct text *out);
size_t core_errors(const struct core *c), core_warnings(const struct core *c);
size_t core_files(const struct core *c);
/* Environments made by command. */
size_t core_own_count(const struct core *c);
bool core_is_own(const struct core *c, const char *name);
/* Of them, those that expired and cannot be taken away because others stand on them. */
size_t core_own_stuck(const struct core *c);

#endif
