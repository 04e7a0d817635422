/* What the files of a session share: session.c (its states), session_sample.c (one exchange, from
 * the proxy to the sums), session_grpc.c (names of gRPC), session_journal.c (what it was before),
 * session_show.c and session_text.c. Nobody else includes it. */
#ifndef OFFSHOOT_AGENT_SESSION_INT_H
#define OFFSHOOT_AGENT_SESSION_INT_H

#include "agent/recorder.h"
#include "agent/session.h"
#include "agent/session_examples.h"
#include "lib/base/histogram.h"
#include "lib/base/list.h"
#include "lib/compare/redact.h"

#define SESSION_MAGIC 0x53455353u
#define FLIGHT_MAGIC  0x464c4954u
#define SESSION_WHY   480u

enum session_role { ROLE_PRIMARY, ROLE_SECONDARY, ROLE_CANDIDATE, ROLE_COUNT };

/* Methods of gRPC that the descriptors have no message type for, with their samples of this run. */
#define UNTYPED_METHODS 16u
struct untyped {
    uint64_t samples; /* those of further methods too */
    unsigned n;
    struct {
        char method[160]; /* longer ones are cut */
        uint64_t samples;
    } item[UNTYPED_METHODS];
};

struct session {
    uint32_t magic;
    const struct session_host *host;
    struct session_spec spec;
    uint64_t id, next_sample;
    uint32_t run;
    int64_t started, ended;
    enum session_state state;
    unsigned char decisions[SPEC_DECISIONS];
    struct tally *tally;
    struct shadow_drops *drops;
    struct journal *journal;   /* NULL: it has ended */
    uint64_t journal_bytes;    /* then */
    uint64_t fault_next_ms;    /* no line about a fault of the journal before */
    uint64_t faults_unsaid;    /* since the last one */
    struct recorded *recorded; /* NULL: no recorder */
    struct ignore *ignore;
    struct redact *redact;
    struct descriptors *descriptors; /* NULL: none, or it has ended */
    struct untyped untyped;
    struct canary *canary;
    struct examples *examples;
    struct list flights;
    const struct flight *timed; /* whose latency counts; NULL: that of the next one */
    uint32_t in_flight;
    char end_verdict[16], end_why[SESSION_WHY];
    enum verdict recorded_verdict; /* that the recorder knows */
    uint64_t recorded_samples;
    counter_cell latency[ROLE_COUNT][HISTOGRAM_CELLS];
};

/* An exchange whose dark requests are on their way. */
struct flight {
    uint32_t magic;
    struct list link;
    struct session *session;
    uint64_t sample;
    bool canary;
    bool dead; /* counted as dropped: its run is over */
};

/* ---- session.c ---- */
/* Counts, and writes to the journal; sample 0: none was begun. */
void session_drop(struct session *s, const char *reason, uint64_t n, uint64_t sample);
/* Counts, and says so, once a second at most. */
void session_journal_fault(struct session *s, const struct err *e);
/* Ends it, if it has not: verdict and why are written. */
void session_end(struct session *s, const char *why);
/* What follows from the sums: a decision, the last sample. */
void session_decide(struct session *s);
/* The context was lost, or it was proved. */
void session_context(struct session *s);

/* ---- session_grpc.c ---- */
/* Reads what the spec was given, which it forgets. 0, -EINVAL or -ENOMEM with e. */
int session_descriptors_take(struct session *s, struct err *e);
/* Puts the set beside the journal, which is open; an empty one: there is none. */
int session_descriptors_keep(const struct session *s, struct str set, struct err *e);
/* Reads it from there, unless it is in memory or there is none. 0 or negative with e. */
int session_descriptors_read(struct session *s, struct err *e);
void session_descriptors_drop(struct session *s);
/* Types of an exchange's messages; NULL: not known. */
struct session_types {
    const struct descriptor_message *request, *reply;
    bool untyped; /* there are descriptors, and they do not say both */
};
struct session_types session_types(const struct session *s, bool grpc, struct str path);
struct str session_grpc_method(struct str path); /* without the query */
/* Counts a sample of a method without types. */
void session_untyped(struct session *s, struct str path);
void session_descriptors_json(const struct session *s, struct text *t);
void session_descriptors_text(const struct session *s, struct text *t);

/* ---- session_journal.c ---- */
/* Examples and latencies of the present run, out of the journal. */
void session_recall(struct session *s);

/* ---- session_show.c ---- */
/* In a sentence: what the verdict stands on, or what it waits for. */
void session_why(const struct session *s, struct text *out);
uint64_t session_bytes(const struct session *s); /* of its journal */
const char *session_verdict_word(const struct session *s);
const char *session_headline_state(const struct tally_verdict *v, enum headline h);

/* ---- session_text.c ---- */
void session_text(const struct session *s, size_t max, struct text *out);

#endif
