/* Coarse hashed timer wheel: set, move and cancel in constant time, no heap.
 *
 * Times are milliseconds of one monotonic clock chosen by the caller (tests use a virtual one).
 * A timer fires at the first wheel_advance at or after its deadline rounded up to the tick, never
 * early. Owned by one thread. */
#ifndef OFFSHOOT_BASE_WHEEL_H
#define OFFSHOOT_BASE_WHEEL_H

#include "lib/base/list.h"
#include <stdint.h>

#define WHEEL_SLOTS   512
#define WHEEL_TICK_MS 32

struct timer {
    struct list link;
    uint64_t deadline;           /* ms; 0 when not set */
    void (*fn)(struct timer *t); /* runs with the timer already unset; may set it again */
};

struct wheel {
    struct list slot[WHEEL_SLOTS];
    struct list due; /* set for a time already past: fire at the next advance */
    uint64_t now;    /* ms of the last advance, rounded down to a tick */
    unsigned count;  /* timers set */
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void timer_init(struct timer *t, void (*fn)(struct timer *t));
/* The tick at which a deadline (not 0) is due. */
static inline uint64_t wheel_tick(uint64_t deadline_ms)
{
    return (deadline_ms - 1) / WHEEL_TICK_MS + 1;
}
/* Sets or moves. A deadline in the past fires at the next advance. */
static inline void wheel_set(struct wheel *w, struct timer *t, uint64_t deadline_ms)
{
    w->count += t->deadline == 0;
    t->deadline = deadline_ms + (deadline_ms == 0);
    list_remove(&t->link);
    list_append(t->deadline <= w->now ? &w->due : &w->slot[wheel_tick(t->deadline) % WHEEL_SLOTS],
        &t->link);
}
/* Nothing happens when t is not set. */
static inline void wheel_cancel(struct wheel *w, struct timer *t)
{
    w->count -= t->deadline != 0;
    t->deadline = 0;
    list_remove(&t->link);
}
/* Fires what is due, in order of ticks. Callbacks may set and cancel any timer. */
void wheel_advance(struct wheel *w, uint64_t now_ms);

#endif
