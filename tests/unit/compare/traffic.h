/* Whole replies of a small shop, as JSON, with noise and seeded regressions; compared and tallied.
 *
 *   {"id": uuid, "at": time, "rare"/"tenth"/"half": a value that is another one in 1, 10, 50 % of
 *   the replies, "total": .., "currency": .., "items": [{"sku": .., "price": .., "tags": [..]}]}
 *
 * All by a seed: OFFSHOOT_SEED, or the test's own. */
#ifndef OFFSHOOT_TESTS_UNIT_COMPARE_TRAFFIC_H
#define OFFSHOOT_TESTS_UNIT_COMPARE_TRAFFIC_H

#include "lib/base/counters.h"
#include "lib/compare/tally.h"
#include "tests/unit/unit.h"
#include <math.h>
#include <stdlib.h>

enum regression {
    SAME,
    OTHER_STATUS,
    MISSING_KEY,
    OTHER_TYPE,
    OTHER_ORDER,
    WRONG_VALUE,
    SLOWER, /* by 30 % */
    REGRESSIONS
};

/* Which of the two a warm cache, or a queue, makes faster or slower. */
enum order { RANDOM_ORDER, CANDIDATE_LAST };

struct traffic {
    uint64_t random;
    enum regression regression;
    double rate; /* of replies that have it */
    enum order order;
    double second_takes; /* times as long as the first: 1 fair, 0.6 a warm cache, 1.4 a queue */
    bool quiet;          /* without the three noisy fields */
    uint64_t number;     /* of the next sample */
};

static inline uint64_t next_random(struct traffic *t)
{
    uint64_t z = t->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline double next_unit(struct traffic *t)
{
    return (double)(next_random(t) >> 11) / 9007199254740992.0;
}

static inline double next_normal(struct traffic *t)
{
    double r = sqrt(-2 * log(1 - next_unit(t)));
    return r * cos(6.283185307179586 * next_unit(t));
}

static inline uint64_t traffic_seed(uint64_t own)
{
    const char *given = getenv("OFFSHOOT_SEED");
    return own + (given ? strtoull(given, NULL, 10) * 1000003 : 0);
}

/* The body of one reply to request `number`, with the regression or without. */
static inline void write_body(struct traffic *t, bool wrong, struct text *out)
{
    uint64_t n = t->number, a = next_random(t), b = next_random(t);
    enum regression r = wrong ? t->regression : SAME;
    text_fmt(out,
        "{\"id\":\"%08x-%04x-4%03x-a%03x-%012llx\",\"at\":\"2026-11-%02uT%02u:%02u:%02uZ\"",
        (unsigned)a, (unsigned)(a >> 48), (unsigned)(a >> 36) & 0xfff, (unsigned)b & 0xfff,
        (unsigned long long)(b >> 16), (unsigned)(b % 28 + 1), (unsigned)(b >> 8) % 24,
        (unsigned)(b >> 16) % 60, (unsigned)(b >> 24) % 60);
    if (!t->quiet)
        text_fmt(out, ",\"rare\":%d,\"tenth\":\"%s\",\"half\":%d", next_unit(t) < 0.01,
            next_unit(t) < 0.1 ? "cold" : "warm", next_unit(t) < 0.5);
    text_fmt(out, r == OTHER_TYPE ? ",\"total\":\"%llu\"" : ",\"total\":%llu",
        (unsigned long long)(n % 97 + (r == WRONG_VALUE)));
    text_add(out, r == MISSING_KEY ? STR("") : STR(",\"currency\":\"EUR\""));
    text_fmt(out, ",\"items\":[{\"sku\":\"a%llu\",\"price\":%llu.5,\"tags\":[%s]}]}",
        (unsigned long long)(n % 13), (unsigned long long)(n % 7),
        r == OTHER_ORDER ? "\"new\",\"hot\"" : "\"hot\",\"new\"");
}

static inline double next_latency(struct traffic *t)
{
    return 2000 * exp(0.1 * next_normal(t));
}

/* The next sample: three replies, two comparisons, added. */
static inline void next_sample(struct traffic *t, struct tally *tally)
{
    static const struct reply_field type = {{"content-type", 12}, {"application/json", 16}};
    static const struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    bool wrong = t->regression != SAME && next_unit(t) < t->rate;
    bool candidate_last = t->order == CANDIDATE_LAST || next_unit(t) < 0.5;
    double s = next_latency(t), c = next_latency(t);
    *(candidate_last ? &c : &s) *= t->second_takes;
    c *= wrong && t->regression == SLOWER ? 1.3 : 1;
    struct text body[3] = {{0}};
    struct reply reply[3];
    for (int i = 0; i < 3; i++) {
        write_body(t, wrong && i == 2, &body[i]);
        reply[i] = (struct reply){.outcome = REPLY_WHOLE,
            .status = wrong && i == 2 && t->regression == OTHER_STATUS ? 500 : 200,
            .fields = &type,
            .nfields = 1,
            .body = str_of(body[i].p, body[i].n),
            .latency_us = (uint64_t)(i == 2 ? c : s)};
    }
    struct differences secondary, candidate;
    assert_int_equal(replies_compare(&reply[0], &reply[1], &rules, &secondary), 0);
    assert_int_equal(replies_compare(&reply[0], &reply[2], &rules, &candidate), 0);
    struct tally_sample x = {
        STR("shop GET /cart/{}"), &reply[0], &reply[1], &reply[2], &secondary, &candidate, false};
    struct tally_added added;
    assert_int_equal(tally_add(tally, &x, &added), 0);
    mem_free(added.differences);
    differences_release(&secondary);
    differences_release(&candidate);
    for (int i = 0; i < 3; i++)
        text_release(&body[i]);
    t->number++;
}

/* Samples until the verdict is the wanted one, looking after each; `most` + 1: it never was. */
static inline uint64_t samples_until(
    struct traffic *t, struct tally *tally, enum verdict want, uint64_t most)
{
    for (uint64_t n = 1; n <= most; n++) {
        next_sample(t, tally);
        if (tally_decision(tally) == want)
            return n;
    }
    return most + 1;
}

/* The same with a tally of its own. */
static inline uint64_t samples_alone(struct traffic t, enum verdict want, uint64_t most)
{
    struct tally *tally = tally_new(0.01);
    assert_non_null(tally);
    uint64_t n = samples_until(&t, tally, want, most);
    tally_free(tally);
    return n;
}

#endif
