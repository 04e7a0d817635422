/* What the files of the history share: history_record.c (bytes), history_docs.c (command
 * documents), history_open.c (recovery) and history.c. */
#ifndef OFFSHOOT_AGENT_HISTORY_INT_H
#define OFFSHOOT_AGENT_HISTORY_INT_H

#include "agent/history.h"
#include "lib/base/reclog.h"
#include "lib/graph/pb.h"

#define HISTORY_LOG     "graph.log"
#define HISTORY_KIND    1u /* of the record log */
#define HISTORY_RECENT  16 /* snapshots kept in memory */
#define HISTORY_VERSION 1u
#define HISTORY_PART    (32u << 20) /* bytes of payload before an entry is cut into parts */

/* Types of records. An entry that is too long for one record is cut into parts; parts without
 * their end (the agent was killed between two) mean nothing. */
enum { RECORD_ENTRY = 1, RECORD_FIRST, RECORD_NEXT, RECORD_LAST, RECORD_TYPES };

/* ---- bytes ---- */

struct log_begin {
    uint64_t version, follows_epoch;
    int64_t created;
    struct str history, follows;
};
/* info's texts are NULL: they stand beside, as views of the bytes. */
struct log_epoch {
    struct epoch_info info;
    struct str kind, who, why, what, difference;
    struct str bytes; /* of the whole message, for its documents */
};
struct log_entry {
    bool is_begin;
    struct log_begin begin;
    struct log_epoch epoch;
};

/* 0, -EBADMSG, or -ENOTSUP: written by a newer version. */
int entry_read(struct str payload, struct log_entry *ret, struct err *e);
typedef int document_fn(void *arg, const struct own_document *d); /* name is NUL-terminated */
/* Calls fn for each document; stops at its first non-zero. */
int entry_documents(const struct log_epoch *ep, document_fn *fn, void *arg, struct err *e);

void entry_write_begin(struct pb_out *o, const struct log_begin *b);
/* The start of an epoch's entry; its difference and the rest follow. *ret_at: for pb_end. */
void entry_write_head(struct pb_out *o, const struct epoch_info *info, size_t *ret_at);
void entry_write_rest(
    struct pb_out *o, const struct epoch_info *info, const struct own_document *docs, size_t ndocs);

/* Joins records to entries: a reclog_fn with a struct joining. */
struct joining {
    int (*fn)(void *arg, uint64_t number, struct str payload, uint64_t bytes);
    void *arg;
    uint64_t number; /* entries that were complete; the first is 0 */
    struct pb_out parts;
    bool open;
    uint64_t bytes; /* of the records of the entry at hand */
    struct err *e;
};
int join_record(void *arg, uint32_t type, struct str payload);

/* ---- command documents: sorted by name ---- */

struct documents {
    struct own_document *list; /* each name starts a block that holds the text, too */
    size_t n;
};
/* *ret: old with the changes; shares blocks with old until docs_settle. 0 or -ENOMEM. */
int docs_merge(const struct documents *old, const struct own_document *changes, size_t n,
    struct documents *ret);
/* Keeps `keep` and frees what only the other one has. */
void docs_settle(const struct documents *keep, struct documents *other);
void docs_release(struct documents *d);

/* ---- the history ---- */

struct entry {
    struct epoch_info info;
    uint64_t bytes; /* on disk */
    char text[];
};

struct history {
    char *dir;
    struct history_options o;
    struct reclog *log; /* NULL: could not be opened again after a failed sync */
    uint64_t end;       /* reclog_bytes of what counts */
    bool suspect;       /* a sync failed: opened again before the next append */
    bool has_id, has_follows;
    unsigned char id[HISTORY_ID], follows[HISTORY_ID];
    uint64_t follows_epoch;
    struct entry **list; /* oldest first */
    size_t n, size;
    uint64_t bytes_since_whole;
    uint32_t since_whole;                    /* epochs after the last whole */
    struct snapshot *recent[HISTORY_RECENT]; /* oldest first; one chain */
    size_t nrecent;
    struct documents docs;
    size_t compact_after; /* entries; when a compaction failed */
};

struct reclog *history_log_open(struct history *h, struct reclog_recovery *ret, struct err *e);
/* A new entry with copies of info's texts; NULL: no memory. */
struct entry *entry_new(const struct epoch_info *info, uint64_t bytes);
int history_room(struct history *h);                        /* for one more entry: 0 or -ENOMEM */
void history_add(struct history *h, struct entry *en);      /* there is room */
void history_recent(struct history *h, struct snapshot *s); /* takes the reference */
/* Appends the record(s) of one entry and syncs; on failure the log is as before. */
int history_write(struct history *h, struct str payload, struct err *e);
uint64_t history_now(void);

#endif
