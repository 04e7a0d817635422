#include "proxy/pick.h"
#include <math.h>

#define GOLDEN      0x9E3779B9u /* 2^32 over the golden ratio: successive multiples lie far apart */
#define FIRST_SHARE (PICK_WHOLE / 10)

/* The finalizer of MurmurHash3 (public domain). */
uint64_t pick_mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ x >> 33;
}

uint32_t pick_share(uint64_t age_ms, uint32_t slow_start_ms)
{
    if (age_ms >= slow_start_ms)
        return PICK_WHOLE;
    uint32_t share = (uint32_t)(age_ms * PICK_WHOLE / slow_start_ms);
    return share > FIRST_SHARE ? share : FIRST_SHARE;
}

/* The thing at which the running sum of weights passes `at`. */
static uint32_t at_weight(const struct pick *p, uint64_t at)
{
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t weight = p->weight(p, i);
        if (at < weight)
            return i;
        at -= weight;
    }
    return p->n - 1;
}

static uint64_t sum_of(const struct pick *p)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->n; i++)
        sum += p->weight(p, i);
    return sum;
}

/* `random` scaled to [0, sum). */
static uint64_t scale(uint32_t random, uint64_t sum)
{
    return (uint64_t)random * sum >> 32;
}

uint32_t pick_turn(const struct pick *p, uint32_t turn)
{
    uint64_t sum = p->n > 1 ? sum_of(p) : 1;
    if (sum == p->n)
        return turn % p->n;
    return at_weight(p, scale(turn * GOLDEN, sum));
}

/* Weight times share of a usable one, else 0. */
static uint64_t usable_weight(const struct pick *p, uint32_t i)
{
    struct pick_look look;
    p->look(p, i, &look);
    return look.usable ? (uint64_t)p->weight(p, i) * look.share : 0;
}

static uint32_t usable_at(const struct pick *p, uint64_t sum, uint32_t random)
{
    uint64_t at = scale(random, sum);
    uint32_t last = PICK_NONE;
    for (uint32_t i = 0; i < p->n; i++) {
        uint64_t weight = usable_weight(p, i);
        if (weight == 0)
            continue;
        if (at < weight)
            return i;
        at -= weight;
        last = i;
    }
    return last;
}

static uint64_t usable_sum(const struct pick *p)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->n; i++)
        sum += usable_weight(p, i);
    return sum;
}

uint32_t pick_usable(const struct pick *p, uint64_t random)
{
    uint64_t sum = usable_sum(p);
    return sum ? usable_at(p, sum, (uint32_t)(random >> 32)) : PICK_NONE;
}

uint32_t pick_least(const struct pick *p, uint64_t random, bool usable)
{
    uint64_t sum = usable ? usable_sum(p) : sum_of(p);
    uint32_t pick[2];
    struct pick_look look[2];
    if (sum == 0)
        return PICK_NONE;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t draw = (uint32_t)(random >> 32 * i);
        pick[i] = usable ? usable_at(p, sum, draw) : at_weight(p, scale(draw, sum));
        if (i == 1 && pick[1] == pick[0]) { /* once more: the second should be another one */
            draw = (uint32_t)pick_mix(random);
            pick[1] = usable ? usable_at(p, sum, draw) : at_weight(p, scale(draw, sum));
        }
        p->look(p, pick[i], &look[i]);
    }
    if (!look[0].usable || !look[1].usable)
        return look[0].usable ? pick[0] : look[1].usable ? pick[1] : PICK_NONE;
    uint64_t load[2] = {(uint64_t)look[0].load * p->weight(p, pick[1]) * look[1].share,
        (uint64_t)look[1].load * p->weight(p, pick[0]) * look[0].share};
    bool second = load[1] < load[0] || (!usable && !pick_chance(look[0].share, random >> 16));
    return pick[second];
}

/* Of the keys of a thing with weight w a share stays that is as w to the sum: the greatest
 * -w / ln(u) wins, u even in (0, 1). With equal weights the greatest u does. */
static double score(uint64_t hash, uint64_t key, uint32_t weight)
{
    double u = ((double)(pick_mix(hash ^ key) >> 11) + 0.5) / 9007199254740992.0; /* 2^53 */
    return -(double)weight / log(u);
}

/* Without logarithms, as most sets have no weights. False: they have. */
static bool hash_even(const struct pick *p, uint64_t key, bool usable, uint32_t *ret)
{
    uint64_t best = 0;
    uint32_t first = 0, weight;
    struct pick_look look = {.usable = true};
    *ret = PICK_NONE;
    for (uint32_t i = 0; i < p->n; i++) {
        uint64_t u = pick_mix(p->hash(p, i, &weight) ^ key) >> 11;
        first = i ? first : weight;
        if (weight != first)
            return false;
        if (*ret != PICK_NONE && u <= best)
            continue;
        if (usable)
            p->look(p, i, &look);
        if (!look.usable)
            continue;
        best = u;
        *ret = i;
    }
    return true;
}

static uint32_t hash_weighted(const struct pick *p, uint64_t key, bool usable)
{
    double best = 0;
    uint32_t found = PICK_NONE, weight;
    struct pick_look look = {.usable = true};
    for (uint32_t i = 0; i < p->n; i++) {
        uint64_t hash = p->hash(p, i, &weight);
        double s = score(hash, key, weight);
        if (found != PICK_NONE && s <= best)
            continue;
        if (usable)
            p->look(p, i, &look);
        if (!look.usable)
            continue;
        best = s;
        found = i;
    }
    return found;
}

uint32_t pick_hash(const struct pick *p, uint64_t key, bool usable)
{
    uint32_t found;
    key = pick_mix(key);
    return hash_even(p, key, usable, &found) ? found : hash_weighted(p, key, usable);
}
