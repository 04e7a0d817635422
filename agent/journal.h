/* A session on disk, first of all: STATE/shadow/NAME/journal, a record log of JournalRecord
 * (proto/offshoot/v1/journal.proto, docs/internals/journal.md).
 *
 * Every segment but the first begins with the sums so far, so that old ones may be dropped. Synced
 * once a second, in a thread of its own, and at the end: kill -9 loses nothing that was appended, a
 * power loss at most two seconds. A full disk: the sample counts in memory and as dropped
 * "journal"; what is on disk stays sound, and gets the sums of the memory as soon as it can.
 *
 * A segment is put aside by journal_begun and journal_tick only. By then every sample and drop must
 * stand both in the sums and in the journal: tally_add and journal_sample, shadow_drops_add and
 * journal_dropped go together, with none of those two calls in between. */
#ifndef OFFSHOOT_AGENT_JOURNAL_H
#define OFFSHOOT_AGENT_JOURNAL_H

#include "agent/exchange.h"
#include "lib/compare/tally.h"

struct redact;
struct descriptor_message;
struct journal;

struct journal_options {
    const char *dir;        /* STATE/shadow; made when it is not there */
    uint64_t segment_bytes; /* default 64 MiB */
    uint32_t segments;      /* kept besides the newest; default 15 */
    uint64_t message_bytes; /* a body above is left out of the record; default 64 KiB */
    bool messages;          /* false: no requests and replies, only differences and sums */
};

/* What a journal says when it is opened. Owned by the journal. */
struct journal_state {
    bool found; /* there was one */
    const char *spec_json;
    uint64_t id;
    uint32_t run;
    int64_t started_unix;
    unsigned char decisions[32];
    uint64_t next_sample;
    bool ended;
    const char *end_verdict, *end_why;
    int64_t ended_unix;
    uint64_t lost; /* begun and never done: already counted as dropped "restart" */
};

/* Opens or creates the journal of one session; fills tally (new, empty) and drops with its sums,
 * and borrows both, until journal_close. session is a name (parse.h). NULL with e: -EBADMSG for
 * damage that no torn write explains, -EBUSY when another agent has it. */
struct shadow_drops;
struct journal *journal_open(const struct journal_options *o, const char *session,
    struct tally *tally, struct shadow_drops *drops, struct err *e);
const struct journal_state *journal_state(const struct journal *j);
void journal_close(struct journal *j); /* syncs */

/* Records. Each 0 or negative errno with e; after a failure the log is as before. The state follows
 * what was written. */
struct journal_session {
    const char *name, *spec_json, *why;
    uint64_t id;
    int64_t started_unix;
    unsigned char decisions[32];
    uint32_t run;
    struct tally *tally; /* new and empty, of a new run: takes the former's place, as does drops; */
    struct shadow_drops *drops; /* NULL: the ones of before. A new run needs both */
};
int journal_session(struct journal *j, const struct journal_session *s, struct err *e);
int journal_begun(struct journal *j, uint64_t sample, struct err *e);
struct journal_sample {
    uint64_t sample;
    int64_t time_unix_us;
    struct str endpoint;
    const struct exchange *exchange;
    const struct reply *secondary, *candidate;
    const unsigned char *secondary_trace, *candidate_trace;
    bool candidate_first;
    const struct tally_added *added; /* the differences that it names are there */
    const struct redact *redact;     /* everything is redacted by it on its way to the disk */
    /* Of gRPC messages, so that the names of fields count too; NULL: not known. */
    const struct descriptor_message *request_type, *reply_type;
};
int journal_sample(struct journal *j, const struct journal_sample *s, struct err *e);
int journal_dropped(
    struct journal *j, const char *reason, uint64_t n, uint64_t sample, struct err *e);
int journal_end(
    struct journal *j, const char *verdict, const char *why, int64_t now, struct err *e);
/* Once a second: starts to sync what has not been, in the journal's thread; it blocks only where a
 * segment is put aside. Tells what went wrong since the last call. */
int journal_tick(struct journal *j, struct err *e);
uint64_t journal_bytes(const struct journal *j);

/* Drops by reason, of one run of a session. */
#define SHADOW_REASONS 48
struct shadow_drops {
    const char *reason[SHADOW_REASONS]; /* static words, see journal_reason */
    uint64_t count[SHADOW_REASONS];
    unsigned n;
};
/* The static word equal to s, NULL: none that is known. */
const char *journal_reason(struct str s);
void shadow_drops_add(struct shadow_drops *d, const char *reason, uint64_t n);

/* All records that are there, oldest first, without opening it for writing: for replay, for
 * examples. fn gets whole JournalRecords, packed; its first non-zero stops and is returned. Reads
 * beside an agent that writes. -ENOENT: there is none. */
typedef int journal_fn(void *arg, struct str record);
int journal_read(const char *dir, const char *session, journal_fn *fn, void *arg, struct err *e);
/* Names of sessions that have a journal in dir: fn each. */
int journal_sessions(
    const char *dir, void (*fn)(void *arg, const char *session), void *arg, struct err *e);

#endif
