/* What core.c (loading, committing, reading) and core_change.c (commands) share. */
#ifndef OFFSHOOT_AGENT_CORE_INT_H
#define OFFSHOOT_AGENT_CORE_INT_H

#include "agent/core.h"
#include "agent/own.h"

/* One environment made by command. */
struct own_entry {
    struct str yaml; /* behind the struct, as the names are */
    const char *name;
    const char *source;  /* "command:NAME" */
    uint64_t generation; /* of the text, for the loader */
    int64_t retry;       /* expired, but others stand on it: not before this time */
};

struct own_table {
    struct own_entry **list; /* in the order of creation */
    size_t n;
};

struct core {
    struct core_options o;
    struct history *h;
    struct graphsrc *src;
    struct history_recovery recovery;
    struct own_table own;
    uint64_t generation;
    bool valid;
    int64_t loaded, tried;
    struct text text, json; /* findings of the last load of what is active or in files */
    size_t errors, warnings, files, stuck;
};

/* What a change does to the documents; all of it made before anything is touched. */
struct plan {
    struct own_table table;    /* as it will be */
    struct own_entry *made;    /* among them, the plan's until it is carried out */
    struct own_document *docs; /* what changes, for the history */
    size_t ndocs;
    struct own_entry **gone; /* freed when it is carried out */
    size_t ngone;
};

/* An epoch in the making. */
struct draft_epoch {
    struct snapshot *s;
    struct epoch_info info;
};

void plan_release(struct plan *p);
/* Room for a table of n, and changes of m documents. 0 or -ENOMEM. */
int plan_room(struct plan *p, size_t n, size_t m);
void plan_carry_out(struct core *c, struct plan *p);

struct own_entry *own_entry_new(struct core *c, const char *name, struct str yaml);
/* Position in the table, or its n. */
size_t own_find(const struct own_table *t, const char *name);

uint64_t core_next(const struct core *c); /* number of the epoch to come */
int64_t core_now(const struct core *c);
/* Loads the files with these documents, as graphsrc_load does. */
int core_load(struct core *c, const struct own_table *t, struct draft_epoch *d);
/* Remembers what the last load found, for core_findings. */
void core_note(struct core *c, bool valid);
/* The first error of the last load as text; one at `source` before all others. */
void core_first_error(const struct core *c, const char *source, char *out, size_t size);
/* Puts the epoch on disk and tells. Takes d->s. */
int core_commit(struct core *c, struct draft_epoch *d, const struct own_document *docs,
    size_t ndocs, struct err *e);
int core_no_memory(struct err *e);

/* core_change.c: takes the named own environments away. As core_change. */
int core_expire(struct core *c, const char *const *names, size_t n, struct err *e);

#endif
