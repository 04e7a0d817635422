/* What the files of the recorder share: recorder.c (life, sending, faults, redirections),
 * recorder_sums.c (sums out and others' sums in) and recorder_stream.c (samples out of the
 * journal).
 *
 * A session has lanes. Each has at most one command on its way; what it sends next follows from
 * what was acknowledged, so that a command whose answer was lost is simply sent again. */
#ifndef OFFSHOOT_AGENT_RECORDER_INT_H
#define OFFSHOOT_AGENT_RECORDER_INT_H

#include "agent/journal_int.h"
#include "agent/recorder.h"
#include "agent/redis_conn.h"
#include "agent/redis_url.h"
#include "lib/base/list.h"
#include <event2/event_struct.h>

#define RECORDER_ARGS     2048 /* of one command */
#define RECORDER_HOPS     8    /* redirections one after another before a lane waits */
#define RECORDER_WHY      200
#define BATCH_SAMPLES     32
#define BATCH_BYTES       (256u << 10)
#define READ_BYTES        (1u << 20) /* of the journal in one turn of the loop */
#define READ_PAUSE_MS     1          /* between two such turns */
#define OTHERS_EVERY      3          /* ticks */
#define OTHERS_FIELDS_MAX 200000     /* of the hash of sums; above it is not read */
#define OTHERS_MAX        64         /* agents that are added to ours */
#define DECISIONS_HEX     64

/* ---- arguments of a command ---- */

struct args {
    int n;
    const char *p[RECORDER_ARGS];
    size_t len[RECORDER_ARGS];
};
static inline void args_add(struct args *a, const char *p, size_t n)
{
    a->p[a->n] = p;
    a->len[a->n++] = n;
}
static inline void args_word(struct args *a, const char *word)
{
    args_add(a, word, strlen(word));
}

enum lane_kind { LANE_SUMS, LANE_STREAM, LANE_VERDICT, LANE_OTHERS, LANE_COUNT };

struct request; /* a command on its way */
struct lane {
    struct request *busy;
    const char *fault; /* a word for recorder_status; NULL: none */
    char why[RECORDER_WHY];
    unsigned hops; /* redirections since the last success */
    int ask;       /* node of an ASK, for the next command only; -1: none */
};

/* A thing that is summed: one or two fields of the hash. acked 0: never. */
struct item {
    uint64_t acked, pending; /* hashes of name and value */
};

struct sample_out {
    uint64_t number;
    struct text args; /* its arguments, NUL-terminated one behind the other */
    size_t at[8];     /* where each begins */
};

struct recorded {
    struct list link; /* of the recorder */
    struct recorder *r;
    char *name;
    char *key[4]; /* sums, samples, examples, verdict */
    struct tally *tally;
    const struct shadow_drops *drops;
    void (*on_others)(void *arg);
    void *arg;
    uint64_t id;
    uint32_t run;
    int node; /* where its slot is */
    char decisions[DECISIONS_HEX + 1];
    bool begun; /* Redis knows our id and run */
    bool others_changed;
    bool cursor_at_end;
    bool ended;      /* what was read last is the end of the session */
    bool read_whole; /* and nothing is behind it: no file is kept open */
    bool probe;      /* what Redis has of its samples is not known: ask, even with none to send */
    struct lane lane[LANE_COUNT];
    /* sums */
    struct item *items;
    size_t nitems;
    uint64_t version; /* of what was sent, for the comparison with what is there */
    uint64_t others_version, others_hash;
    char others_why[RECORDER_WHY]; /* an agent that is not added */
    /* samples */
    struct reclog_cursor *cursor;
    uint64_t sent; /* the last sample that Redis has; in the journal's order, not by number */
    /* Of what is read: until that number is found; all numbers up to it. */
    enum { SKIP_NONE, SKIP_TO, SKIP_UP_TO } skip;
    uint64_t skip_number;
    uint64_t read; /* the last one that was read */
    struct sample_out batch[BATCH_SAMPLES];
    unsigned nbatch;
    uint32_t read_run; /* of what is read; 0: not known */
    /* By recorder_sample: the first one and the last one, and how many of them were not read yet.
     */
    uint64_t told_from, told, told_unread;
    char examples_why[RECORDER_WHY];
    /* the verdict */
    char verdict[16], verdict_why[256];
    uint64_t verdict_samples;
    bool verdict_due;
};

struct recorder {
    struct recorder_options o;
    struct redis_url url;
    char *user, *password_file, *agent, *journal_dir;
    struct dns *dns;
    struct redis_conn_options conn;
    struct redis_conn **node; /* [0]: as configured */
    unsigned nnodes;
    struct list sessions;
    struct event timer, others, more;
    struct args args; /* scratch */
    unsigned tick;
    struct redis_conn_counts counts;
    uint64_t redirects;
};

/* Sends the lane's next command, unless its node is down. fn gets the answer, never an error and
 * never for a session that was forgotten. True: it is on its way. */
typedef void lane_fn(struct recorded *s, const struct redisReply *reply);
bool lane_send(struct recorded *s, enum lane_kind k, const struct args *a, lane_fn *fn);
/* A fault that is none of Redis' errors. */
void lane_fault(struct recorded *s, enum lane_kind k, const char *word, const char *why);

/* Sends what there is to send, if anything. Nothing when the lane is busy. */
void sums_pump(struct recorded *s);
void others_pump(struct recorded *s);
void stream_pump(struct recorded *s);
/* Everything is sent again. */
void sums_again(struct recorded *s);
void stream_release(struct recorded *s);

#endif
