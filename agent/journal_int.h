/* What the files of the journal share: journal.c (the open journal), journal_record.c and
 * journal_message.c (records as bytes), journal_parse.c (bytes as records), journal_open.c
 * (recovery), journal_sync.c (the thread that syncs) and journal_read.c. */
#ifndef OFFSHOOT_AGENT_JOURNAL_INT_H
#define OFFSHOOT_AGENT_JOURNAL_INT_H

#include "agent/journal.h"
#include "lib/base/reclog.h"
#include "lib/graph/pb.h"

#define JOURNAL_LOG     "journal"
#define JOURNAL_KIND    2u /* of the record log */
#define JOURNAL_VERSION 1u
#define JOURNAL_PATH    4096  /* bytes of a path with its NUL */
#define JOURNAL_OPEN    65536 /* samples begun and not done that are known at a time */
enum { JOURNAL_RECORD = 1, JOURNAL_TYPES }; /* types of the record log's records */

/* ---- records, read: views of the bytes ---- */

enum journal_kind {
    JOURNAL_NONE, /* of a newer version: passed over */
    JOURNAL_SESSION,
    JOURNAL_BEGUN,
    JOURNAL_SAMPLE,
    JOURNAL_DROP,
    JOURNAL_TOTALS,
    JOURNAL_END
};

struct read_session {
    uint64_t version, id, run;
    int64_t started_unix;
    struct str name, spec_json, decisions, why;
};
struct read_sample {
    uint64_t sample, secondary_latency_us;
    int64_t time_unix_us;
    struct str endpoint, primary_trace, secondary_trace, candidate_trace;
    uint32_t pairs, candidate, secondary; /* bits of enum headline */
    struct str bytes;                     /* of the whole message, for its differences */
};
struct read_difference {
    struct str path, primary, secondary, candidate;
    uint32_t kind;
    bool by_candidate, by_secondary;
};
struct read_drop {
    struct str reason;
    uint64_t count, sample;
};
/* The first parts of totals; the rest is read by journal_read_totals. */
struct read_totals {
    uint64_t run, next_sample;
    struct str bytes;
};
struct read_end {
    struct str verdict, why;
    int64_t time_unix;
};
struct journal_record {
    enum journal_kind kind;
    struct read_session session;
    uint64_t begun;
    struct read_sample sample;
    struct read_drop drop;
    struct read_totals totals;
    struct read_end end;
};
/* 0 or -EBADMSG with e. */
int journal_parse(struct str bytes, struct journal_record *ret, struct err *e);
/* fn for each difference of a sample that was parsed; its first non-zero stops and is returned. */
int journal_differences(
    const struct read_sample *s, int (*fn)(void *arg, const struct read_difference *d), void *arg);

/* Totals in memory; texts point into the record. */
struct journal_sums {
    struct tally_totals tally;
    struct tally_field *fields;
    struct str *endpoints;
    uint64_t *endpoint_pairs, *calibration_us, *open;
    size_t nopen;
    struct read_drop drops[SHADOW_REASONS];
    unsigned ndrops;
};
/* 0, -EBADMSG or -ENOMEM with e (nothing to release). */
int journal_sums_read(const struct read_totals *t, struct journal_sums *ret, struct err *e);
void journal_sums_release(struct journal_sums *s);

/* ---- records, written: o.failed when memory is out ---- */

void journal_put_session(struct pb_out *o, const struct journal_session *s);
void journal_put_begun(struct pb_out *o, uint64_t sample);
void journal_put_drop(struct pb_out *o, const char *reason, uint64_t n, uint64_t sample);
void journal_put_end(struct pb_out *o, const char *verdict, const char *why, int64_t now);
struct journal_totals {
    uint32_t run;
    uint64_t next_sample;
    const struct tally *tally;
    const struct shadow_drops *drops;
    const uint64_t *open;
    size_t nopen;
};
void journal_put_totals(struct pb_out *o, const struct journal_totals *t);
/* 0, or -ENOMEM. */
int journal_put_sample(
    struct pb_out *o, const struct journal_sample *s, const struct journal_options *options);
/* What a sample consists of (journal_message.c). */
struct journal_keep {
    const struct redact *redact;
    uint64_t max;                              /* bytes of a body; larger ones are left out */
    const struct descriptor_message *messages; /* of gRPC, NULL: not known */
};
int journal_put_request(
    struct pb_out *o, uint32_t field, const struct exchange *x, const struct journal_keep *k);
int journal_put_reply(
    struct pb_out *o, uint32_t field, const struct reply *reply, const struct journal_keep *k);
void journal_put_text(struct pb_out *o, uint32_t field, struct str s); /* "" is left out */

/* ---- the thread that syncs ---- */

struct journal_sync;
/* NULL when there is no memory or no thread. */
struct journal_sync *journal_sync_new(void);
/* Waits for what is on its way. */
void journal_sync_free(struct journal_sync *s);
/* Takes fd: it is synced and closed. False: the last one is still on its way; fd stays. */
bool journal_sync_start(struct journal_sync *s, int fd);
/* Is one on its way? */
bool journal_sync_busy(struct journal_sync *s);
/* The error of one that ended since the last call, or 0. */
int journal_sync_result(struct journal_sync *s);

/* ---- the open journal ---- */

struct journal {
    struct journal_options o;
    char *dir;  /* of the session */
    char *name; /* of the session */
    struct reclog *log;
    struct journal_sync *sync;
    struct tally *tally;        /* borrowed */
    struct shadow_drops *drops; /* borrowed */
    struct journal_state state;
    char *spec_json, *end_verdict, *end_why, *why; /* owned; the state points to them */
    uint64_t *open;                                /* samples begun and not done, in order */
    size_t nopen, open_room;
    struct pb_out out; /* scratch */
    bool unsynced;     /* something was appended since the last sync */
    bool behind;       /* the sums on disk lack something: totals are due */
    bool suspect;      /* a sync failed: a new segment is due, with totals */
};

/* What a record tells, into j->state. 0 or -ENOMEM (nothing changed). */
int journal_set_session(struct journal *j, const struct read_session *s);
int journal_set_end(struct journal *j, struct str verdict, struct str why, int64_t at);
int journal_open_add(struct journal *j, uint64_t sample);
void journal_open_remove(struct journal *j, uint64_t sample);
/* Appends what is in j->out. */
int journal_append(struct journal *j, struct err *e);
/* Appends the sums of the memory, and what the session is, to the end of log: j->log, or the new
 * segment of it. */
int journal_checkpoint(struct journal *j, struct reclog *log, struct err *e);
/* Reads what is there and writes down what was lost. 0 or negative with e. */
int journal_recover(struct journal *j, struct err *e);

#endif
