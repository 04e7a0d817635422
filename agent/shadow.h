/* All sessions of mirroring, and what they share: capture, mirrors, recorder, rules for proxies.
 *
 *   capture.h ─ exchanges, hops, drops ─→ each session ─ dark requests ─→ its listener's mirror
 *   sessions that have not ended ─→ CaptureRules ─→ shadow_options.rules (sync.h)
 *
 * Journals are below STATE/shadow; what had not ended goes on at shadow_begin. One thread. */
#ifndef OFFSHOOT_AGENT_SHADOW_H
#define OFFSHOOT_AGENT_SHADOW_H

#include "agent/capture.h"
#include "agent/session.h"
#include "agent/settings.h"

#define SHADOW_KEPT 256u /* sessions in memory, those that have ended included */

struct event_base;
struct shadow;

struct shadow_options {
    struct event_base *base;
    const struct settings *set; /* borrowed */
    counter_cell *stats;        /* STAT_COUNT of them, borrowed */
    void *arg;
    const struct snapshot *(*snapshot)(void *arg); /* the active one */
    /* Whether a stream may be of that node: as sync_known. */
    int (*known)(void *arg, const struct grpc_stream *call, struct str node, struct err *e);
    /* A packed AgentMessage with the rules, for every proxy. 0 or -ENOMEM. */
    int (*rules)(void *arg, struct str message);
};

/* NULL with e: keys, the address of shadow.through, or the one of Redis is of no use. */
struct shadow *shadow_new(const struct shadow_options *o, struct err *e);
const struct grpc_method *shadow_method(const struct shadow *sh); /* for sync_options */
/* There is a graph, and proxies may be told: sessions that had not ended go on. */
void shadow_begin(struct shadow *sh);
/* A new graph is active. */
void shadow_commit(struct shadow *sh);
/* Reads the keys again. On failure the ones from before stay. */
int shadow_reload(struct shadow *sh, struct err *e);
/* Fills the cells that are read, not counted. */
void shadow_count(struct shadow *sh);
/* After the streams of proxies have ended. NULL is nothing. */
void shadow_free(struct shadow *sh);

/* Commands. spec is taken, also on failure. who: "uid 1000"; both are in the journal. -EEXIST,
 * -ENOSPC (shadow.sessions), -EINVAL or -ENOENT (the graph), -ENOENT (no such session), -EALREADY,
 * -EIO, -ENOMEM with e. */
int shadow_start(
    struct shadow *sh, struct session_spec *spec, const char *who, const char *why, struct err *e);
int shadow_stop(
    struct shadow *sh, const char *name, const char *who, const char *why, struct err *e);
int shadow_restart(
    struct shadow *sh, const char *name, const char *who, const char *why, struct err *e);

/* NULL with e (-ENOENT), which has the nearest name. */
const struct session *shadow_find(const struct shadow *sh, const char *name, struct err *e);
size_t shadow_sessions(const struct shadow *sh);
/* In order of their start. */
const struct session *shadow_session(const struct shadow *sh, size_t i);
/* For /status: an object, or lines. */
void shadow_status(const struct shadow *sh, bool json, struct text *out);

#endif
