/* Picks one of n weighted things: the arithmetic of balancing, without sockets, clocks or
 * providers.
 *
 * Each algorithm first picks as if all were well, which costs little; the caller looks at the one
 * that came out and, when it cannot take it, picks again among the usable ones (pick_usable,
 * pick_hash, pick_least with `usable`), which looks at all of them. */
#ifndef OFFSHOOT_PROXY_PICK_H
#define OFFSHOOT_PROXY_PICK_H

#include <stdbool.h>
#include <stdint.h>

#define PICK_NONE  UINT32_MAX
#define PICK_WHOLE 256u /* a share that slow start does not lower */

struct pick_look {
    bool usable;
    uint32_t load;  /* requests in flight, for pick_least */
    uint32_t share; /* 1 to PICK_WHOLE: how much of its weight it gets, while it starts slowly */
};

struct pick {
    uint32_t n;                                           /* at least 1 */
    uint32_t (*weight)(const struct pick *p, uint32_t i); /* at least 1 */
    /* The same wherever the thing stands, another for each; need not be spread. *ret_weight too. */
    uint64_t (*hash)(const struct pick *p, uint32_t i, uint32_t *ret_weight);
    void (*look)(const struct pick *p, uint32_t i, struct pick_look *ret);
    void *arg;
};

/* Round robin by weight: in a row of as many turns as the sum of weights each has its share, spread
 * over the row. Looks at none. */
uint32_t pick_turn(const struct pick *p, uint32_t turn);
/* By chance, weights times shares, among the usable ones; PICK_NONE when there is none. */
uint32_t pick_usable(const struct pick *p, uint64_t random);
/* The less loaded of two that are drawn by weight: of all (then PICK_NONE when neither is usable),
 * or of the usable ones. */
uint32_t pick_least(const struct pick *p, uint64_t random, bool usable);
/* Weighted rendezvous: the same key comes to the same thing, whatever the order. When one is taken
 * out, only its keys move, and evenly; one that is added takes its share from all. usable: as if
 * the others were not there. */
uint32_t pick_hash(const struct pick *p, uint64_t key, bool usable);
/* The share of one that opened `age_ms` ago: from a tenth, growing over slow_start_ms (0: whole).
 */
uint32_t pick_share(uint64_t age_ms, uint32_t slow_start_ms);
/* Whether one with this share may be taken this time. */
static inline bool pick_chance(uint32_t share, uint64_t random)
{
    return share >= PICK_WHOLE || random % PICK_WHOLE < share;
}
/* 64 bits that all depend on each bit of x. */
uint64_t pick_mix(uint64_t x);

#endif
