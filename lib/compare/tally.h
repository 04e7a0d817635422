/* The sums of one run of a session, and what they say: 8 headlines pooled over its endpoints, up to
 * 4,096 fields in order of first difference, the rest in one overflow slot. Pure.
 *
 *   sample (P, S, C and their differences) -> tally_add -> what it added -> journal
 *   journal                                -> tally_restore / tally_again
 *   tally_verdict: FAIL when a headline has E >= 320 or a field E >= 163,840; PASS when every
 *   headline's PASS evidence is >= 20 and nothing fails; else INCONCLUSIVE.
 *
 * FAIL stays for the run: each slot keeps the most evidence that it ever had. PASS is what holds
 * now; whoever waits for a decision takes the first one (docs/internals/statistics.md).
 * Not thread-safe. Bounded: TALLY_FIELDS paths, TALLY_ENDPOINTS names, and as many of others. */
#ifndef OFFSHOOT_COMPARE_TALLY_H
#define OFFSHOOT_COMPARE_TALLY_H

#include "lib/base/counters.h"
#include "lib/compare/compare.h"
#include "lib/compare/evidence.h"

#define TALLY_FIELDS      4096
#define TALLY_ENDPOINTS   256 /* further ones are "other" */
#define TALLY_CALIBRATION 200 /* secondary latencies that fix p90 and p99, not used again */
/* A field that differs in S in >= 20 % of >= 50 pairs of its endpoint is compared by shape from the
 * next pair on. */
#define TALLY_NOISY_MIN     50
#define TALLY_NOISY_PERCENT 20
/* One that is so noisy by shape, too, is left out of HEADLINE_FIELD: it would differ in one of the
 * two in most samples, whatever else differs. Shape is no other test for order, length, missing and
 * extra; values get as many pairs to grow quiet by it as make 50 differing ones less than 20 %. */
#define TALLY_MASK_MIN (TALLY_NOISY_MIN * 100 / TALLY_NOISY_PERCENT + 1)

/* What each one counts a pair of, and when one of the two "differs":
 *   STATUS GRPC        P, S and C whole: from P
 *   FIELD              P, S and C whole: somewhere from P where the other one does not
 *   TRANSPORT TIMEOUT  every sample: it has one (only C has it, only S has it); P does not matter
 *   LATENCY            S and C whole: it took more than 1.2 times as long as the other
 *   SLOW               S and C whole, after calibration: it took longer than the frozen p90, p99 */
enum headline {
    HEADLINE_STATUS,    /* class of the status */
    HEADLINE_GRPC,      /* grpc-status; none is a value too */
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
    uint64_t pairs, candidate_only, secondary_only;
    uint64_t both;         /* of fields and of the overflow slot; headlines: 0 */
    double fail_log10_max; /* the most FAIL evidence that there ever was, others' sums included */
};

/* One compared sample. *_differs: from the primary; NULL where one of the two is not whole. */
struct tally_sample {
    struct str endpoint;
    const struct reply *primary, *secondary, *candidate;
    const struct differences *secondary_differs, *candidate_differs;
    bool untimed; /* no pair of the three of latency: it may have stalled together with another */
};
/* What it added: enough to add it again. */
struct tally_difference {
    /* Of one path and kind in secondary_differs and candidate_differs, borrowed; one may be NULL:
     * it has none there. */
    const struct difference *of_secondary, *of_candidate;
    bool candidate, secondary; /* who differs, judged by the field's present test */
};
struct tally_added {
    uint32_t headline_pairs, headline_candidate, headline_secondary; /* bits of enum headline */
    struct tally_difference *differences;                            /* owned: mem_free */
    size_t ndifferences;
};

struct tally;
struct tally *tally_new(double epsilon); /* (0, 0.5]; NULL when memory is out */
/* Another one, for the verdicts from now on: sums do not depend on it. */
void tally_set_epsilon(struct tally *t, double epsilon);
void tally_free(struct tally *t);
/* 0 or -ENOMEM (nothing was added, nothing to release). Differences that do not count by the
 * field's present test are not told. */
int tally_add(struct tally *t, const struct tally_sample *x, struct tally_added *ret);

/* As it was written down: what tally_add told of one sample; gives the same sums. The latency of
 * the secondary counts for calibration where LATENCY counted a pair. 0, -EINVAL (bits that cannot
 * be), or -ENOMEM (nothing was added). */
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
    struct tally_count count; /* pairs: of its endpoint */
    double fail_log10;        /* now, of ours and others' together; not read by restore */
};
uint64_t tally_samples(const struct tally *t);
struct tally_count tally_headline(const struct tally *t, enum headline h);
size_t tally_fields(const struct tally *t); /* the overflow slot not counted */
/* Borrowed texts, until the next change. From tally_fields to tally_fields_all: those that only
 * others have; their counts here are 0. */
struct tally_field tally_field(const struct tally *t, size_t i);
size_t tally_fields_all(const struct tally *t);
struct tally_count tally_overflow(const struct tally *t);
size_t tally_endpoints(const struct tally *t);
/* ret_pairs: of FIELD. The last one of TALLY_ENDPOINTS + 1 is "other". */
struct str tally_endpoint(const struct tally *t, size_t i, uint64_t *ret_pairs);
/* Calibration: how many latencies there are (they are kept once p90 and p99 are fixed), and what
 * they fixed (0: not yet). Microseconds. */
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
/* Into a new tally. Texts are copied. -EINVAL: sums that cannot be (more differences than pairs, a
 * field twice, too many of them); -ENOMEM. The tally is good for tally_free only then. */
int tally_restore(struct tally *t, const struct tally_totals *from);

/* Sums that other agents have of the same run, replaced by each call: the verdict is about all
 * together, the sums above stay our own. headline, overflow and samples: added up; fields of
 * several agents may follow each other, the same one adds up. Endpoints, calibration and
 * fail_log10_max are not read. -EINVAL, -ENOMEM: the ones before stay. */
int tally_set_others(struct tally *t, const struct tally_totals *others);

struct tally_verdict {
    enum verdict verdict;
    uint64_t samples;        /* ours and others' */
    uint64_t samples_needed; /* INCONCLUSIVE: estimated; UINT64_MAX: cannot be told; else 0 */
    int headline;  /* FAIL: the one with the most evidence, or -1; INCONCLUSIVE: what it waits for;
                    * PASS: -1 */
    size_t field;  /* FAIL by a field: the one with the most evidence; else SIZE_MAX */
    bool overflow; /* FAIL by the overflow slot */
    /* FAIL: the most there ever was; PASS: now. */
    double fail_log10[HEADLINE_COUNT], pass_log10[HEADLINE_COUNT];
};
/* Some 100 us to 1 ms while INCONCLUSIVE: for answers to people. */
void tally_verdict(const struct tally *t, struct tally_verdict *ret);
/* The verdict alone, a few us: to be looked at after every sample. */
enum verdict tally_decision(const struct tally *t);
/* Fields by the most evidence they ever had, the worst first (ties: the earlier one): up to n
 * indices, fields of others included; returns how many. */
size_t tally_worst(const struct tally *t, size_t *ret, size_t n);
/* Patterns that would ignore what is noise, a line each, ready to paste, sorted: fields that are
 * compared by shape, or differ in the secondary in >= 5 % of >= 20 pairs, and have no evidence
 * against the candidate (E < 10) at any endpoint. */
void tally_suggest(const struct tally *t, struct text *out);

/* "cart GET /items/{}": the path without query, segments that are ids (numbers and dates, uuid,
 * long hex, long mixed) as {}. gRPC: the path as it is. An empty service is left out. Above
 * TALLY_ENDPOINT_MAX bytes: cut, with "~" and 16 hex digits of the hash of all at the end. */
#define TALLY_ENDPOINT_MAX 256
void endpoint_of(
    struct str service, struct str method, struct str path, bool grpc, struct text *out);

#endif
