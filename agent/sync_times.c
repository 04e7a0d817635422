/* How long epochs were on their way. */
#include "agent/sync_int.h"
#include "lib/base/clock.h"

void sync_times_begin(struct sync *s, uint64_t epoch)
{
    s->ways[epoch % SYNC_WAYS] = (struct sync_way){.epoch = epoch, .commit_us = clock_mono_us()};
}

void sync_times_ack(struct sync *s, uint64_t epoch, enum push_ack state)
{
    struct sync_way *w = &s->ways[epoch % SYNC_WAYS];
    if (epoch == 0 || w->epoch != epoch)
        return;
    uint64_t us = clock_mono_us() - w->commit_us;
    if (state == PUSH_STAGED) {
        w->times.staged_us = us;
        w->times.staged++;
    } else if (state == PUSH_ACTIVE) {
        w->times.active_us = us;
        w->times.active++;
    }
}

bool sync_times(const struct sync *s, uint64_t epoch, struct sync_times *ret)
{
    const struct sync_way *w = &s->ways[epoch % SYNC_WAYS];
    if (epoch == 0 || w->epoch != epoch)
        return false;
    *ret = w->times;
    return true;
}
