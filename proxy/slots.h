/* Snapshots in the hands of workers: eight slots, publication by message, private pointers.
 *
 * The control thread puts a snapshot into a free slot and posts it to every worker. A worker swaps
 * its private current slot in that callback and stores `acked`. A request that needs the snapshot
 * adds one to the worker's count of its slot and takes it off again; only the worker writes these
 * counts. A slot is free when every worker has acked a later publication and none counts it.
 * docs/internals/snapshots.md tells why this needs no lock. */
#ifndef OFFSHOOT_PROXY_SLOTS_H
#define OFFSHOOT_PROXY_SLOTS_H

#include "lib/graph/snapshot.h"
#include <stdatomic.h>

#define SLOTS 8

/* A worker's half. Written by the worker alone. */
struct slot_reader {
    const struct snapshot *current; /* private; NULL before the first publication */
    const struct gateway *gateway;  /* of the current snapshot; private */
    unsigned slot;                  /* of current; private */
    _Atomic uint64_t acked;         /* serial of the last publication taken */
    _Atomic uint32_t count[SLOTS];
};

/* The control thread's half. */
struct slot_writer {
    struct {
        struct snapshot *snapshot; /* owned reference; NULL: free */
        uint64_t serial;           /* of its publication */
    } slot[SLOTS];
    uint64_t serial; /* last publication */
    unsigned newest; /* its slot */
};

/* Gives back what no worker uses any more, then finds a free slot: its index, or -1. */
int slots_reserve(struct slot_writer *w, struct slot_reader *const *readers, unsigned nreaders);
/* Takes the caller's reference on s; returns the publication's serial. */
uint64_t slots_publish(struct slot_writer *w, int slot, struct snapshot *s);
/* Drops every reference; the workers have ended. */
void slots_release(struct slot_writer *w);
/* Workers that have taken the newest publication. */
unsigned slots_current(
    const struct slot_writer *w, struct slot_reader *const *readers, unsigned nreaders);
/* Slots in use now. */
unsigned slots_used(const struct slot_writer *w);

/* Worker: takes publication `serial` of slot. */
static inline void slot_take(struct slot_reader *r, const struct snapshot *s,
    const struct gateway *g, unsigned slot, uint64_t serial)
{
    r->current = s;
    r->gateway = g;
    r->slot = slot;
    atomic_store_explicit(&r->acked, serial, memory_order_release);
}
/* Worker: holds the current snapshot; returns the slot to give to slot_drop. */
static inline unsigned slot_hold(struct slot_reader *r)
{
    _Atomic uint32_t *c = &r->count[r->slot];
    atomic_store_explicit(
        c, atomic_load_explicit(c, memory_order_relaxed) + 1, memory_order_relaxed);
    return r->slot;
}
static inline void slot_drop(struct slot_reader *r, unsigned slot)
{
    _Atomic uint32_t *c = &r->count[slot];
    /* release: every read of the snapshot happens before the control thread sees the lower count */
    atomic_store_explicit(
        c, atomic_load_explicit(c, memory_order_relaxed) - 1, memory_order_release);
}

#endif
