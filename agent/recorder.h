/* Sums, differing samples and verdicts in Redis, for those who look with other tools and for other
 * agents on the same session. The journal is the truth; everything here catches up from it by
 * itself. Never blocks; bounded; without Redis nothing else changes (docs/internals/redis.md).
 *
 * Keys, all of one session in one slot:
 *   offshoot:{NAME}:sums      hash, cumulative, so that a retry is harmless. Fields of an agent:
 *     AGENT|id |run |samples          the session's number, its run, samples compared
 *     AGENT|decisions                 hex digest of what is compared; sums of agents that have
 *                                     another one are not added to ours
 *     AGENT|h|WORD|n |b |c            a headline: pairs, only the candidate, only the secondary
 *     AGENT|f|ENDPOINT|PATH|KIND      a field: "PAIRS CANDIDATE SECONDARY BOTH SHAPE"; in ENDPOINT
 *                                     and PATH "%" is %25 and "|" is %7C
 *     AGENT|o                         the overflow slot, likewise
 *     AGENT|e|ENDPOINT  AGENT|d|REASON   pairs of an endpoint; dropped
 *     AGENT|sent                      number of the last sample in the stream
 *   offshoot:{NAME}:samples   stream of samples that differ, MAXLEN ~: agent run sample time
 *                             endpoint headlines trace differences
 *   offshoot:{NAME}:examples  list of the same as JSON, the newest first, LTRIM
 *   offshoot:{NAME}:verdict   hash: verdict why samples agent at
 * hiredis, asynchronous, own deadlines: connect 2 s, command 1 s. MOVED and ASK are followed. */
#ifndef OFFSHOOT_AGENT_RECORDER_H
#define OFFSHOOT_AGENT_RECORDER_H

#include "agent/journal.h"

struct event_base;
struct recorder;
struct recorded; /* one session */

struct recorder_options {
    struct event_base *base;
    const char *url;  /* redis://[USER[:...]@]HOST:PORT[/DB] without password, or unix:PATH */
    const char *user; /* or NULL */
    const char *password_file;       /* or NULL; only its owner may read it; read at each connect */
    const char *agent;               /* who we are: 1 to 64 of [A-Za-z0-9._-] */
    const char *journal_dir;         /* STATE/shadow */
    uint32_t connect_ms, command_ms; /* 2 s, 1 s */
    uint32_t every_ms;               /* how often sums go; default 1 s */
    uint32_t stream_max, examples_max; /* default 10,000 and 100 */
    uint32_t nodes;                    /* connections to a cluster's nodes; default 16 */
};
struct recorder *recorder_new(const struct recorder_options *o, struct err *e);
void recorder_free(struct recorder *r);

/* The journal must be there. tally and drops are borrowed until recorder_forget. on_others: sums of
 * other agents changed; they were given to tally_set_others; it may forget the session. NULL when
 * memory is out. */
struct recorded *recorder_session(struct recorder *r, const char *name, struct tally *tally,
    const struct shadow_drops *drops, void (*on_others)(void *arg), void *arg);
/* A sample that differs was written to the journal: up to this number there is something to send.
 */
void recorder_sample(struct recorded *s, uint64_t sample);
/* Which run it is and the digest of what it compares (32 bytes), if not those of the journal's
 * first record: what Redis has of another one of ours is replaced, and sums of agents with another
 * digest are not added. A new run has a new tally: the session is forgotten before, and taken up
 * anew. */
void recorder_run(struct recorded *s, uint32_t run, const unsigned char decisions[32]);
void recorder_verdict(struct recorded *s, const char *verdict, const char *why, uint64_t samples);
/* What is not sent yet stays in the journal. */
void recorder_forget(struct recorded *s);

struct recorder_status {
    /* "up" "connecting" (the first time) "down" "refused" "loading"; up, but something is not
     * taken: "full" "read-only" "wrong-type" "cluster-down" "moving" "no-master" "no-replicas"
     * "busy" "error" */
    const char *state;
    /* The last fault, ""; no password in it; until the next call into r. While "up": an agent whose
     * sums are not added. */
    const char *why;
    uint64_t commands, errors, timeouts, redirects, reconnects,
        behind; /* behind: samples not sent */
};
void recorder_status(const struct recorder *r, struct recorder_status *ret);

#endif
