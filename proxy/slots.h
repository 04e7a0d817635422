/* Snapshots in the hands of workers: sixteen slots, publication by message, private tables.
 *
 * The control thread puts snapshots into slots and posts a table of the held ones to every worker:
 * which is active, and which others requests may ask for by their pin. A worker swaps its private
 * table in that callback and stores `acked`. A request that needs a snapshot adds one to the
 * worker's count of its slot and takes it off again; only the worker writes these counts. A slot is
 * free when it is in no table, every worker has acked the publication that took it out, and none
 * counts it. docs/internals/snapshots.md tells why this needs no lock. */
#ifndef OFFSHOOT_PROXY_SLOTS_H
#define OFFSHOOT_PROXY_SLOTS_H

#include "lib/graph/route.h"
#include "lib/graph/snapshot.h"
#include <stdatomic.h>

#define SLOTS      16 /* held ones, and those that only running requests still use */
#define SLOTS_HELD 8

struct held {
    const struct snapshot *snapshot;
    const struct gateway *gateway; /* that rules here */
    uint32_t slot;
    uint32_t id; /* grows with each that is staged; never twice in a process */
};

struct slot_table {
    struct held held[SLOTS_HELD]; /* newest first */
    uint32_t n, active;           /* held[active] is active; n 0: nothing is */
};

/* A worker's half. Written by the worker alone. */
struct slot_reader {
    const struct snapshot *current;      /* the active one; NULL before the first publication */
    const struct gateway *gateway;       /* of the current snapshot */
    const struct gateway_limits *limits; /* its limits; NULL: none */
    unsigned slot;                       /* of current */
    uint32_t id;                         /* of current */
    struct slot_table table;
    _Atomic uint64_t acked; /* serial of the last publication taken */
    _Atomic uint32_t count[SLOTS];
};

/* The control thread's half. */
struct slot_writer {
    struct {
        struct snapshot *snapshot; /* owned reference; NULL: free */
        uint64_t retired;          /* publication that took it out of the table; 0: it is in it */
    } slot[SLOTS];
    struct slot_table table; /* changed by stage, activate, retire; published by commit */
    uint64_t serial;         /* last publication */
    uint32_t next_id;
};

/* Gives back what no worker uses any more, then finds a free slot: its index, or -1. */
int slots_reserve(struct slot_writer *w, struct slot_reader *const *readers, unsigned nreaders);
/* Takes the caller's reference on s; the newest of the table from now on, which must have room. The
 * first one ever is active. */
void slots_stage(
    struct slot_writer *w, int slot, struct snapshot *s, const struct gateway *gateway);
/* By position in the table. The active one is never retired. */
void slots_activate(struct slot_writer *w, uint32_t at);
void slots_retire(struct slot_writer *w, uint32_t at);
/* The table as it is now is what workers are told next; returns the publication's serial. */
uint64_t slots_commit(struct slot_writer *w);
/* Drops every reference; the workers have ended. */
void slots_release(struct slot_writer *w);
/* Workers that have taken the publication, at least. */
unsigned slots_acked(struct slot_reader *const *readers, unsigned nreaders, uint64_t serial);
/* Slots in use now. */
unsigned slots_used(const struct slot_writer *w);

/* Worker: takes publication `serial`. */
static inline void slot_take(struct slot_reader *r, const struct slot_table *t, uint64_t serial)
{
    const struct held *h = &t->held[t->active];
    r->table = *t;
    r->current = h->snapshot;
    r->gateway = h->gateway;
    r->limits = h->gateway ? gateway_limits(h->gateway) : NULL;
    r->slot = h->slot;
    r->id = h->id;
    atomic_store_explicit(&r->acked, serial, memory_order_release);
}
/* Worker: holds the snapshot of a slot of its table; returns the slot, to give to slot_drop. */
static inline unsigned slot_hold(struct slot_reader *r, unsigned slot)
{
    _Atomic uint32_t *c = &r->count[slot];
    atomic_store_explicit(
        c, atomic_load_explicit(c, memory_order_relaxed) + 1, memory_order_relaxed);
    return slot;
}
static inline void slot_drop(struct slot_reader *r, unsigned slot)
{
    _Atomic uint32_t *c = &r->count[slot];
    /* release: every read of the snapshot happens before the control thread sees the lower count */
    atomic_store_explicit(
        c, atomic_load_explicit(c, memory_order_relaxed) - 1, memory_order_release);
}

#endif
