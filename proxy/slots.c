#include "proxy/slots.h"
#include <assert.h>
#include <stddef.h>
#include <string.h>

static bool in_use(const struct slot_writer *w, unsigned slot, struct slot_reader *const *readers,
    unsigned nreaders)
{
    if (w->slot[slot].retired == 0)
        return true;
    for (unsigned i = 0; i < nreaders; i++) {
        /* Order matters: once that publication is acked the count can only fall. */
        if (atomic_load_explicit(&readers[i]->acked, memory_order_acquire) < w->slot[slot].retired)
            return true;
        if (atomic_load_explicit(&readers[i]->count[slot], memory_order_acquire) != 0)
            return true;
    }
    return false;
}

int slots_reserve(struct slot_writer *w, struct slot_reader *const *readers, unsigned nreaders)
{
    int found = -1;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (w->slot[i].snapshot && !in_use(w, i, readers, nreaders)) {
            snapshot_unref(w->slot[i].snapshot);
            w->slot[i].snapshot = NULL;
        }
        if (!w->slot[i].snapshot && found < 0)
            found = (int)i;
    }
    return found;
}

void slots_stage(struct slot_writer *w, int slot, struct snapshot *s, const struct gateway *gateway)
{
    struct slot_table *t = &w->table;
    assert(t->n < SLOTS_HELD && !w->slot[slot].snapshot);
    w->slot[slot].snapshot = s;
    w->slot[slot].retired = 0;
    memmove(t->held + 1, t->held, t->n * sizeof t->held[0]);
    t->held[0] = (struct held){s, gateway, (uint32_t)slot, ++w->next_id};
    t->active += t->n > 0;
    t->n++;
}

void slots_activate(struct slot_writer *w, uint32_t at)
{
    assert(at < w->table.n);
    w->table.active = at;
}

void slots_retire(struct slot_writer *w, uint32_t at)
{
    struct slot_table *t = &w->table;
    assert(at < t->n && at != t->active);
    w->slot[t->held[at].slot].retired = w->serial + 1; /* the next publication is without it */
    t->n--;
    memmove(t->held + at, t->held + at + 1, (t->n - at) * sizeof t->held[0]);
    t->active -= at < t->active;
}

uint64_t slots_commit(struct slot_writer *w)
{
    return ++w->serial;
}

void slots_release(struct slot_writer *w)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (w->slot[i].snapshot)
            snapshot_unref(w->slot[i].snapshot);
        w->slot[i].snapshot = NULL;
    }
    w->table.n = 0;
}

unsigned slots_used(const struct slot_writer *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        n += w->slot[i].snapshot != NULL;
    return n;
}

unsigned slots_acked(struct slot_reader *const *readers, unsigned nreaders, uint64_t serial)
{
    unsigned n = 0;
    for (unsigned i = 0; i < nreaders; i++)
        n += atomic_load_explicit(&readers[i]->acked, memory_order_acquire) >= serial;
    return n;
}
