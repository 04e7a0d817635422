/* A slot holds the timers of every tick that is equal to it modulo WHEEL_SLOTS. An advance goes
 * from tick to tick, takes from the tick's slot what is due onto a list of its own and fires from
 * there; timers of later rotations stay. Callbacks may move or cancel timers that wait on that
 * list, because leaving a ring needs no head. What a callback sets for a time that is already past
 * goes to `due`, which is taken at the start of an advance: so an advance always ends. */
#include "lib/base/wheel.h"

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    for (int i = 0; i < WHEEL_SLOTS; i++)
        list_init(&w->slot[i]);
    list_init(&w->due);
    w->now = now_ms / WHEEL_TICK_MS * WHEEL_TICK_MS;
    w->count = 0;
}

void timer_init(struct timer *t, void (*fn)(struct timer *t))
{
    list_init(&t->link);
    t->deadline = 0;
    t->fn = fn;
}

/* Moves the timers of `from` that are due at w->now to the empty list `to`, keeping their order. */
static void take_due(struct wheel *w, struct list *from, struct list *to)
{
    list_for_each (it, from) {
        if (list_entry(it, struct timer, link)->deadline <= w->now) {
            list_remove(it);
            list_append(to, it);
        }
    }
}

static void fire(struct wheel *w, struct list *from)
{
    struct list ready;

    if (list_empty(from))
        return;
    list_init(&ready);
    take_due(w, from, &ready);
    while (!list_empty(&ready)) {
        struct timer *t = list_entry(ready.next, struct timer, link);
        wheel_cancel(w, t);
        t->fn(t);
    }
}

/* The tick before the first one that has a timer, at most limit. */
static uint64_t last_idle_tick(const struct wheel *w, uint64_t limit)
{
    for (int i = 0; w->count && i < WHEEL_SLOTS; i++) {
        list_for_each (it, &w->slot[i]) {
            uint64_t tick = wheel_tick(list_entry(it, struct timer, link)->deadline);
            if (tick - 1 < limit)
                limit = tick - 1;
        }
    }
    return limit;
}

void wheel_advance(struct wheel *w, uint64_t now_ms)
{
    uint64_t target = now_ms / WHEEL_TICK_MS;
    uint64_t tick = w->now / WHEEL_TICK_MS;

    fire(w, &w->due);
    while (tick < target) {
        /* After a long sleep, rotations in which nothing is due are not walked. */
        if (target - tick > WHEEL_SLOTS)
            tick = last_idle_tick(w, target);
        uint64_t end = target - tick > WHEEL_SLOTS ? tick + WHEEL_SLOTS : target;
        while (tick < end) {
            tick++;
            w->now = tick * WHEEL_TICK_MS;
            fire(w, &w->slot[tick % WHEEL_SLOTS]);
        }
        w->now = tick * WHEEL_TICK_MS;
    }
}
