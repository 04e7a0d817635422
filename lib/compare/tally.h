/* The sums of one session, and what they say: 8 headlines pooled over its endpoints, up to 4,096
 * fields in order of first difference, the rest in one overflow slot. Pure.
 *
 *   sample (P, S, C and their differences) → tally_add → what it added → journal
 *   journal                                → tally_restore / tally_again
 *   tally_verdict: FAIL when a headline has E >= 320 or a field E >= 163,840; PASS when every
 *   headline's PASS evidence is >= 20 and nothing fails; else INCONCLUSIVE. */
#ifndef OFFSHOOT_COMPARE_TALLY_H
#define OFFSHOOT_COMPARE_TALLY_H

#include "lib/base/counters.h"
#include "lib/compare/compare.h"
#include "lib/compare/evidence.h"

#define TALLY_FIELDS      4096
#define TALLY_ENDPOINTS   256 /* further ones are "other" */
#define TALLY_CALIBRATION 200 /* secondary latencies that fix p90 and p99, not used again */
#define TALLY_NOISY_MIN                                                                            \
    50 /* a field that differs in S in >= 20 % of >= 50 pairs of its endpoint                      \
        * is compared by shape from then on */

enum headline {
    HEADLINE_STATUS,    /* class of the status */
    HEADLINE_GRPC,      /* grpc-status */
    HEADLINE_TRANSPORT, /* transport error */
    HEADLINE_TIMEOUT,
    HEADLINE_FIELD,   /* any field that is not masked, by its present test */
    HEADLINE_LATENCY, /* ratio 1.2 */
    HEADLINE_SLOW_P90,
    HEADLINE_SLOW_P99,
    HEADLINE_COUNT
};
const char *headline_word(enum headline h); /* "status" "grpc-status" ... */

struct tally_count {
    uint64_t pairs, candidate_only, secondary_only, both;
};

/* One compared sample. d_*: differences from the primary; NULL where one of the two is not whole.
 */
struct tally_sample {
    struct str endpoint;
    const struct reply *primary, *secondary, *candidate;
    const struct differences *secondary_differs, *candidate_differs;
};
/* What it added: enough to add it again. */
struct tally_difference {
    uint32_t at;       /* index of the path and kind in secondary_differs or candidate_differs */
    bool of_candidate; /* `at` is in candidate_differs; else in secondary_differs */
    bool candidate, secondary; /* who differs, judged by the field's present test */
};
struct tally_added {
    uint32_t headline_pairs, headline_candidate, headline_secondary; /* bits of enum headline */
    struct tally_difference *differences;                            /* owned: mem_free */
    size_t ndifferences;
};

struct tally;
struct tally *tally_new(double epsilon); /* (0, 0.5]; NULL when memory is out */
void tally_free(struct tally *t);
int tally_add(struct tally *t, const struct tally_sample *s, struct tally_added *ret); /* -ENOMEM */

/* As it was written down: what tally_add told of one sample. Latencies count for calibration. */
struct tally_again_difference {
    struct str path;
    enum diff_kind kind;
    bool candidate, secondary;
};
int tally_again(struct tally *t, struct str endpoint, uint32_t pairs, uint32_t candidate,
    uint32_t secondary, const struct tally_again_difference *d, size_t n,
    uint64_t secondary_latency_us);

/* Sums as a whole: for journals and for the database. */
struct tally_field {
    struct str endpoint, path;
    enum diff_kind kind;
    bool shape;
    struct tally_count count;
    double fail_log10;
};
uint64_t tally_samples(const struct tally *t);
struct tally_count tally_headline(const struct tally *t, enum headline h);
size_t tally_fields(const struct tally *t); /* the overflow slot not counted */
struct tally_field tally_field(const struct tally *t, size_t i);
struct tally_count tally_overflow(const struct tally *t);
size_t tally_endpoints(const struct tally *t);
struct str tally_endpoint(const struct tally *t, size_t i, uint64_t *ret_pairs);
/* Calibration: how many latencies there are, and what they fixed (0: not yet). */
size_t tally_calibration(
    const struct tally *t, const uint64_t **ret_us, uint64_t *ret_p90, uint64_t *ret_p99);

struct tally_totals {
    uint64_t samples;
    struct tally_count headline[HEADLINE_COUNT], overflow;
    const struct tally_field *fields; /* in order of first difference */
    size_t nfields;
    const struct str *endpoints;
    const uint64_t *endpoint_pairs;
    size_t nendpoints;
    const uint64_t *calibration_us;
    size_t ncalibration;
    uint64_t p90_us, p99_us;
};
/* Into a new tally. -EINVAL: sums that cannot be (more differences than pairs). */
int tally_restore(struct tally *t, const struct tally_totals *from);

/* Sums that other agents have of the same session, replaced by each call: the verdict is about all
 * together, the sums above stay our own. */
int tally_set_others(struct tally *t, const struct tally_totals *others);

struct tally_verdict {
    enum verdict verdict;
    uint64_t samples;        /* ours and others' */
    uint64_t samples_needed; /* INCONCLUSIVE: estimated; UINT64_MAX: cannot be told */
    int headline; /* FAIL: the one with the most evidence, or -1; INCONCLUSIVE: what it waits for */
    size_t field; /* FAIL by a field: its index; else SIZE_MAX */
    bool overflow; /* FAIL by the overflow slot */
    double fail_log10[HEADLINE_COUNT], pass_log10[HEADLINE_COUNT];
};
void tally_verdict(const struct tally *t, struct tally_verdict *ret);
/* Fields by evidence, the worst first: up to n indices; returns how many. */
size_t tally_worst(const struct tally *t, size_t *ret, size_t n);
/* Patterns that would ignore what is noise, a line each, ready to paste: fields that differ in the
 * secondary too and in the candidate no more than that. */
void tally_suggest(const struct tally *t, struct text *out);

/* "GET /items/{}": path without query, segments that are ids (digits, uuid, long hex, long mixed)
 * as {}. gRPC: the path as it is. Into out. */
void endpoint_of(
    struct str service, struct str method, struct str path, bool grpc, struct text *out);

#endif
