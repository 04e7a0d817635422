/* One session of mirroring: does the candidate behave like its baseline?
 *
 *   CANARY ─ the context goes along (canary.h) ─→ RUNNING ─ time, samples, decision, stop,
 *      │     safe methods, only the secondary,        │     context-lost ─→ ENDED
 *      │     one at a time                            │
 *      └────────── what it resolves to changed, or a restart: a new run ──┘
 *
 *   session_exchange → roles → host.send (mirror.h) → replies compared with the primary's
 *     → tally → journal → recorder
 *
 * What does not become a sample is a drop with its reason, in the journal too. A session goes on
 * after a restart of the agent from its journal, with a canary again. One thread; no sockets. */
#ifndef OFFSHOOT_AGENT_SESSION_H
#define OFFSHOOT_AGENT_SESSION_H

#include "agent/canary.h"
#include "agent/journal.h"
#include "agent/mirror.h"
#include "agent/session_spec.h"
#include "agent/stats.h"

struct recorder;
struct session;

enum session_state { SESSION_CANARY, SESSION_RUNNING, SESSION_ENDED };
const char *session_state_word(enum session_state s); /* "canary" "running" "ended" */

/* What sessions need; borrowed. */
struct session_host {
    void *arg;
    /* As mirror_send, by the listener that the spec names (NULL: the agent's own). */
    const char *(*send)(void *arg, const char *through, struct exchange *x,
        const struct mirror_roles *roles, mirror_fn *fn, void *fn_arg);
    const struct snapshot *(*snapshot)(void *arg);
    /* Proxies are to be told anew (session_rules). */
    void (*changed)(void *arg);
    int64_t (*now)(void *arg); /* Unix seconds */
    uint64_t (*ms)(void *arg); /* monotonic */
    struct recorder *recorder; /* NULL: none */
    uint32_t hop_wait_ms;      /* of canary_attempt */
    struct journal_options journal;
    counter_cell *stats; /* STAT_COUNT of them */
};

/* A new session, judged before; takes spec, also on failure. NULL with e. The caller tells the
 * proxies of it, and of those that are resumed. */
struct session *session_start(
    const struct session_host *h, struct session_spec *spec, const char *why, struct err *e);
/* Goes on with the journal of that name, or shows how it ended. NULL with e. */
struct session *session_resume(const struct session_host *h, const char *name, struct err *e);
/* Closes the journal; a session that has not ended may be resumed. Nothing may be on its way. */
void session_free(struct session *s);

/* What the proxies tell. */
void session_exchange(struct session *s, struct exchange *x);
void session_hop(struct session *s, const struct hop *h);
void session_dropped(struct session *s, const char *reason, uint64_t n);
/* A new graph is active. */
void session_commit(struct session *s);
/* Some times a second. */
void session_tick(struct session *s);

/* -EALREADY: it has ended. */
int session_stop(struct session *s, const char *why, struct err *e);
/* A new run, also of one that has ended. -EINVAL with e: the graph does not allow it any more. */
int session_restart(struct session *s, const char *why, struct err *e);

const char *session_name(const struct session *s);
uint64_t session_id(const struct session *s);
enum session_state session_state(const struct session *s);
const struct session_spec *session_spec(const struct session *s);
uint32_t session_in_flight(const struct session *s);
enum verdict session_verdict(const struct session *s);
/* Seed of the hash that samples traces. */
uint64_t session_seed(const struct session *s);

/* The session object of docs/agent-admin.md, or text for people. fields: how many of the worst;
 * 0: the short form for lists. */
void session_show(const struct session *s, bool json, size_t fields, struct text *out);

#endif
