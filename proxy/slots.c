#include "proxy/slots.h"
#include <stddef.h>

static bool in_use(const struct slot_writer *w, unsigned slot, struct slot_reader *const *readers,
    unsigned nreaders)
{
    for (unsigned i = 0; i < nreaders; i++) {
        /* Order matters: once a later publication is acked the count can only fall. */
        if (atomic_load_explicit(&readers[i]->acked, memory_order_acquire) <= w->slot[slot].serial)
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
        if (w->slot[i].snapshot && i != w->newest && !in_use(w, i, readers, nreaders)) {
            snapshot_unref(w->slot[i].snapshot);
            w->slot[i].snapshot = NULL;
        }
        if (!w->slot[i].snapshot && found < 0)
            found = (int)i;
    }
    return found;
}

uint64_t slots_publish(struct slot_writer *w, int slot, struct snapshot *s)
{
    w->newest = (unsigned)slot;
    w->slot[slot].snapshot = s;
    w->slot[slot].serial = ++w->serial;
    return w->serial;
}

void slots_release(struct slot_writer *w)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (w->slot[i].snapshot)
            snapshot_unref(w->slot[i].snapshot);
        w->slot[i].snapshot = NULL;
    }
}

unsigned slots_used(const struct slot_writer *w)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        n += w->slot[i].snapshot != NULL;
    return n;
}

unsigned slots_current(
    const struct slot_writer *w, struct slot_reader *const *readers, unsigned nreaders)
{
    unsigned n = 0;
    for (unsigned i = 0; i < nreaders; i++)
        n += atomic_load_explicit(&readers[i]->acked, memory_order_acquire) == w->serial;
    return n;
}
