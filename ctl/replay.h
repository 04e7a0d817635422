/* `shadow replay`: recorded requests sent once more, and their replies compared with the recorded
 * ones.
 *
 *   journal -> tape_next -> recorded_obstacle (why it cannot be sent) -> replay_run: to the proxy
 * at a rate -> reply -> score_add: redacted by the session's rules, compared -> tally of fields */
#ifndef OFFSHOOT_CTL_REPLAY_H
#define OFFSHOOT_CTL_REPLAY_H

#include "ctl/args.h"
#include "lib/base/counters.h"
#include "lib/compare/compare.h"
#include "proto/offshoot/v1/journal.pb-c.h"

typedef Offshoot__V1__JournalRecord recorded;
typedef Offshoot__V1__JournalSample recorded_sample;
typedef Offshoot__V1__JournalMessage recorded_request;
typedef Offshoot__V1__JournalReply recorded_reply;

/* ---- the journal of a session, read from its beginning ---- */

struct tape;
/* dir: STATE/shadow/NAME of an agent, which may go on writing. NULL with e; -ENOENT: no journal. */
struct tape *tape_open(const char *dir, struct err *e);
void tape_close(struct tape *t);
/* 1: *ret is the next sample, valid until the next call; 0: there are no more; negative with e. */
int tape_next(struct tape *t, const recorded_sample **ret, struct err *e);
/* The record of the sample that tape_next gave last, which lives on with the caller: pb_free. */
recorded *tape_take(struct tape *t);
/* What the session is told to do, as of the last sample; "{}" before. */
const char *tape_spec(const struct tape *t);
unsigned tape_damaged(const struct tape *t); /* segments that could not be read to their end */

/* ---- one request ---- */

struct fields { /* NAME: VALUE of the command line, names in lower case */
    struct reply_field *item;
    size_t n;
    char *memory;
};
/* 0, or e->code; no message has a value. Release in any case. */
int fields_read(struct fields *f, const struct values *given, struct err *e);
void fields_release(struct fields *f);

/* NULL: it can be sent again. Else the static word why not: "no-request" "no-primary" "unsafe"
 * "cut" "credentials" "redacted". (And "descriptors": replay_run says it.) */
const char *recorded_obstacle(
    const recorded_sample *s, const struct fields *given, bool unsafe, bool forward);

/* ---- what came of it ---- */

#define SCORE_FIELDS   1000u /* further ones are counted in `more` */
#define SCORE_EXAMPLES 3u
#define SCORE_WORDS    32u

struct score_example {
    uint64_t sample;
    char *recorded, *candidate; /* owned */
};
struct score_field {
    char *endpoint, *path; /* owned */
    enum diff_kind kind;
    uint64_t count;
    unsigned nexamples;
    struct score_example example[SCORE_EXAMPLES];
};
struct score_word {
    const char *word; /* static */
    uint64_t count;
};
struct score {
    uint64_t requests, compared, differ, transport, timeout, without_body, more;
    struct score_word obstacle[SCORE_WORDS], dropped[SCORE_WORDS]; /* until word is NULL */
    struct score_field *field;
    size_t nfields;
    struct ignore *ignore;           /* of the session and of the command line */
    struct redact *redact;           /* the session's words; NULL: it does not redact */
    struct descriptors *descriptors; /* of gRPC, or NULL; owned */
};
/* By the spec of the session and the patterns given. 0, or e->code. Release in any case. */
int score_begin(struct score *s, const char *spec_json, const struct values *ignore, struct err *e);
void score_release(struct score *s);
void score_count(struct score_word *words, const char *word);
/* A reply to the sample. The recorded one is changed: redacted places lose their hash. 0 or
 * -ENOMEM. */
int score_add(struct score *s, const recorded_sample *from, const struct reply *reply);
/* The most frequent first. */
void score_sort(struct score *s);

/* ---- all of it ---- */

struct keyring;
struct replay {
    const char *through, *candidate;
    double rate;    /* a second */
    uint64_t limit; /* of requests that are sent */
    bool unsafe;
    struct keyring *keys; /* or NULL */
    struct fields set;
    const struct values *ignore;
    struct tape *tape;
    struct score score;
};
/* Until all is sent and answered. 0, or negative with e. */
int replay_run(struct replay *r, struct err *e);

#endif
