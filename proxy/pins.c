#include "proxy/pins.h"
#include "lib/graph/pinned.h"
#include "proxy/request.h"
#include "proxy/worker.h"

static uint64_t revision(struct worker *w, const struct held *h, uint32_t env)
{
    uint32_t at = (env ^ h->id * 0x9e3779b1u) & (PINS_CACHED - 1);
    if (w->pins.cached[at].id != h->id || w->pins.cached[at].env != env) {
        w->pins.cached[at].id = h->id;
        w->pins.cached[at].env = env;
        w->pins.cached[at].revision = snapshot_revision(h->snapshot, env);
    }
    return w->pins.cached[at].revision;
}

static const struct held *held_at(const void *worker, uint32_t at)
{
    return &((const struct worker *)worker)->slots.table.held[at];
}

static const struct snapshot *view_snapshot(const void *worker, uint32_t at)
{
    return held_at(worker, at)->snapshot;
}

static const struct gateway *view_gateway(const void *worker, uint32_t at)
{
    return held_at(worker, at)->gateway;
}

static uint64_t view_revision(const void *worker, uint32_t at, uint32_t env)
{
    return revision((struct worker *)(uintptr_t)worker, held_at(worker, at), env);
}

static void follow(struct request *r)
{
    struct worker *w = r->w;
    struct slot_reader *slots = &w->slots;
    const struct epoch_view v = {.n = slots->table.n,
        .active = slots->table.active,
        .arg = w,
        .snapshot = view_snapshot,
        .gateway = view_gateway,
        .revision = view_revision};
    uint32_t at = decide_pinned(&v, &r->ask, &r->answer);
    r->pin = r->answer.context.pin; /* passed on as it came: the rest of the path agrees on it */
    if (r->answer.skew != SKEW_NONE)
        counter_inc(&w->stats[STAT_SKEW + r->answer.skew - 1]);
    if (at == v.active)
        return;
    counter_inc(&w->stats[STAT_PINS_FOLLOWED]);
    slot_drop(slots, r->slot);
    r->slot = (uint8_t)slot_hold(slots, slots->table.held[at].slot);
    r->snapshot = slots->table.held[at].snapshot;
    r->epoch = snapshot_epoch(r->snapshot);
}

void pins_decide(struct request *r)
{
    struct worker *w = r->w;
    if (!w->shared->pins) {
        if (r->answer.context.pin)
            counter_inc(&w->stats[STAT_PINS_IGNORED]);
        return;
    }
    if (r->answer.context.pin)
        follow(r);
    else if (r->answer.decision.env != NUMBER_NONE)
        r->pin = revision(w, &w->slots.table.held[w->slots.table.active], r->answer.decision.env);
}
