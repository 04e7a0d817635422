/* The agent's memory on disk: every epoch it made, in the record log `graph.log` of its state
 * folder.
 *
 * A record is a LogEntry (proto/offshoot/v1/log.proto): first one that names the history, then one
 * an epoch: number, time, who, why, what kind of change, the Difference (a whole one every 256
 * records and after a restart's first change of chain), and the command documents that changed with
 * it (all of them beside a whole). An epoch exists once history_append has returned 0: then it is
 * on the disk (fdatasync), and nothing that is not is ever shown to a proxy.
 *
 * Recovery reads the log, applies the differences and gives the newest snapshot back, with its
 * documents. A torn tail (kill -9, power, full disk) is cut by the record log and told. Anything
 * else that cannot be read is an error that names the record: nothing is guessed.
 *
 * Retention: when more than `epochs` epochs or `bytes` bytes are kept, with a quarter of slack, the
 * log is compacted to begin with a whole record that keeps at least `epochs` of them (fewer only
 * when `bytes` asks for it). One owner: the folder is locked. */
#ifndef OFFSHOOT_AGENT_HISTORY_H
#define OFFSHOOT_AGENT_HISTORY_H

#include "lib/base/err.h"
#include "lib/graph/snapshot.h"

#define HISTORY_ID       16  /* bytes */
#define HISTORY_WHOLE    256 /* records between wholes */
#define HISTORY_WHO_MAX  128
#define HISTORY_WHY_MAX  512
#define HISTORY_WHAT_MAX 256

enum change_kind {
    CHANGE_FILES,    /* the graph files said something new */
    CHANGE_CREATE,   /* env create */
    CHANGE_SET,      /* env set */
    CHANGE_EXTEND,   /* env extend */
    CHANGE_DELETE,   /* env delete */
    CHANGE_EXPIRY,   /* the agent took away what had expired */
    CHANGE_ROLLBACK, /* graph rollback: holds the agent */
    CHANGE_RESUME,   /* graph resume */
    CHANGE_KINDS
};
const char *change_kind_word(enum change_kind k); /* "files" "create" ... */

/* One epoch, as listed. Texts point into the history and live as long as the entry is kept. */
struct epoch_info {
    uint64_t epoch;
    int64_t time;     /* Unix seconds */
    uint8_t kind;     /* enum change_kind */
    bool whole;       /* its record holds a whole difference */
    bool held;        /* from here on file changes are not published (until a resume) */
    uint32_t bytes;   /* of its difference */
    const char *who;  /* "uid 1000", "files", "agent" */
    const char *why;  /* --reason; "" */
    const char *what; /* "feat-42: cart=10.0.0.1:80, until 2026-…", "3 environments changed" */
    struct snapshot_changes changes;
};

/* A command document: one Environment as YAML. */
struct own_document {
    const char *name; /* of the environment */
    struct str yaml;  /* n 0 in a record: removed */
};

struct history;
struct history_options {
    const char *dir;
    uint32_t retain_epochs; /* default 1,000 */
    uint64_t retain_bytes;  /* default 1 GiB */
    uint32_t part_bytes;    /* a longer entry is cut into several records; default 32 MiB */
    bool start_new;         /* begin a new history although there is one (kept beside as
                             * graph.log.old-<history>), with this content as its first epoch */
    /* What a history that is created says it follows; NULL: with start_new the one that was there,
     * else none. */
    const unsigned char *follows_history;
    uint64_t follows_epoch;
};
struct history_recovery {
    uint64_t records, cut_bytes;
    bool created; /* there was none */
};

/* Opens or creates. NULL with e: locked (-EBUSY), damaged (-EBADMSG with the record's number and
 * epoch), of a newer version (-ENOTSUP), not readable. */
struct history *history_open(
    const struct history_options *o, struct history_recovery *ret, struct err *e);
void history_close(struct history *h);

const unsigned char *history_id(const struct history *h); /* HISTORY_ID bytes */
/* The history that this one continues, and from which epoch on; NULL: none. */
const unsigned char *history_follows(const struct history *h, uint64_t *ret_epoch);
uint64_t history_epoch(const struct history *h);          /* newest; 0: none yet */
struct snapshot *history_newest(const struct history *h); /* borrowed; NULL: none yet */
bool history_held(const struct history *h);
/* Command documents as of the newest epoch; also while held. */
size_t history_documents(const struct history *h, const struct own_document **ret);

/* Makes s the newest epoch: on disk when 0 is returned; on failure nothing has happened, and a
 * later append may succeed (disk full: -ENOSPC). docs: those that changed with it, with s's text.
 * Takes its own reference on s. info: epoch, time, kind, who, why, what, held, changes; copied. */
int history_append(struct history *h, struct snapshot *s, const struct epoch_info *info,
    const struct own_document *docs, size_t ndocs, struct err *e);

/* Epochs kept, oldest first. */
size_t history_count(const struct history *h);
const struct epoch_info *history_at(const struct history *h, size_t i);
const struct epoch_info *history_find(const struct history *h, uint64_t epoch); /* or NULL */
/* The graph of an epoch: one more reference. The newest 16 come from memory and share a chain;
 * older ones are read from the log and have a chain of their own. NULL with e: -ENOENT not kept,
 * -EBADMSG. */
struct snapshot *history_snapshot(struct history *h, uint64_t epoch, struct err *e);
uint64_t history_bytes(const struct history *h); /* on disk */

#endif
