/* The insides of a tally. Private to lib/compare.
 *
 *   tally.c          one sample: what it is a pair of, who differs, counted
 *   tally_fields.c   a table of fields by endpoint, path and kind
 *   tally_sums.c     sums read, restored, and those of others
 *   tally_verdict.c  what they say */
#ifndef OFFSHOOT_COMPARE_TALLY_INT_H
#define OFFSHOOT_COMPARE_TALLY_INT_H

#include "lib/base/pool.h"
#include "lib/compare/tally.h"

#define TALLY_OTHER_ENDPOINT "other"
/* Sums of others beyond this are not believed. */
#define TALLY_COUNT_MAX (UINT64_C(1) << 60)

/* A field: of an endpoint, at a path, differing in one way. */
struct slot {
    struct str endpoint, path; /* in the pool of the table */
    uint64_t hash;
    enum diff_kind kind;
    bool shape;
    bool matched;              /* of others: an own one stands for it */
    uint32_t at;               /* own: index of its endpoint */
    struct tally_count count;  /* pairs: only of others; own: of the endpoint */
    uint64_t other_b, other_c; /* own: what others have of it */
};

#define SLOTS_HASH (2 * TALLY_FIELDS)
struct slots {
    struct pool *pool;
    struct slot *item;
    size_t n, room;
    uint16_t at[SLOTS_HASH]; /* index + 1 into item; 0: free */
};
int slots_init(struct slots *s); /* 0 or -ENOMEM */
void slots_release(struct slots *s);
uint64_t slot_hash(struct str endpoint, struct str path, enum diff_kind kind);
/* NULL: there is none. */
struct slot *slots_find(
    const struct slots *s, struct str endpoint, struct str path, enum diff_kind kind);
/* A new one, all zero, its texts copied. The caller knows that there is none yet, and fewer than
 * TALLY_FIELDS. NULL when memory is out. Moves the others. */
struct slot *slots_add(struct slots *s, struct str endpoint, struct str path, enum diff_kind kind);
/* Takes the newest ones away until there are n. */
void slots_cut(struct slots *s, size_t n);

struct endpoint {
    struct str name; /* in the pool of the fields */
    uint64_t hash, pairs;
};

/* A difference of the sample that is being added: who differs, by either test. */
struct found {
    struct str path; /* borrowed */
    enum diff_kind kind;
    const struct difference *of_secondary, *of_candidate; /* as in struct tally_difference */
    struct {
        bool value, shape;
    } candidate, secondary;
    uint32_t slot; /* index of the field; TALLY_FIELDS: the overflow slot */
};

struct tally {
    double epsilon;
    uint64_t samples;
    struct tally_count headline[HEADLINE_COUNT], overflow;
    struct endpoint endpoint[TALLY_ENDPOINTS + 1];
    size_t nendpoints;
    struct slots fields;
    double fields_max; /* the most fail_log10_max of all fields */

    uint64_t calibration[TALLY_CALIBRATION], p90, p99;
    size_t ncalibration;

    struct slots others;
    struct tally_count other_headline[HEADLINE_COUNT], other_overflow;
    uint64_t other_samples;
    double others_max; /* the most evidence of a field that only others have */

    struct found *found; /* scratch of one sample */
    uint32_t *found_at;  /* its hash: index + 1 */
    size_t found_n, found_room, found_slots;
};

/* The endpoint of that name, made when it is new; the index. SIZE_MAX when memory is out. */
size_t tally_endpoint_at(struct tally *t, struct str name);
/* An own field that has just been made or counted: what others have of it, its evidence. */
void tally_field_met(struct tally *t, struct slot *f);
/* Raises the most evidence of a count; other_b, other_c: what others have of it. */
void tally_raise(struct tally_count *c, uint64_t other_b, uint64_t other_c);
void tally_calibrate(struct tally *t);

/* Ours and others' together. */
struct tally_count tally_all_of(const struct tally *t, enum headline h);

#endif
