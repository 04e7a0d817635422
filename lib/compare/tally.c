/* One sample counted.
 *
 *   tally_add    judge (which headlines it is a pair of, who differs) → gather (each path and kind
 *                of the two lists once) → find_slots → count
 *   tally_again  gather what was written down → find_slots → count
 *
 * All that can fail comes before anything is counted. */
#include "lib/compare/tally.h"
#include "lib/base/mem.h"
#include "lib/compare/tally_int.h"
#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#define BIT(h)        (UINT32_C(1) << (h))
#define SLOW_BITS     (BIT(HEADLINE_SLOW_P90) | BIT(HEADLINE_SLOW_P99))
#define ALL_BITS      (BIT(HEADLINE_COUNT) - 1)
#define LATENCY_LIMIT (UINT64_C(1) << 60)

const char *headline_word(enum headline h)
{
    static const char *const words[HEADLINE_COUNT] = {"status", "grpc-status", "transport-error",
        "timeout", "field", "latency", "slow-p90", "slow-p99"};
    return words[h];
}

struct tally *tally_new(double epsilon)
{
    struct tally *t = mem_zalloc(sizeof *t);
    if (!t)
        return NULL;
    t->epsilon = epsilon;
    if (slots_init(&t->fields) == 0 && slots_init(&t->others) == 0)
        return t;
    tally_free(t);
    return NULL;
}

void tally_set_epsilon(struct tally *t, double epsilon)
{
    t->epsilon = epsilon;
}

void tally_free(struct tally *t)
{
    if (!t)
        return;
    slots_release(&t->fields);
    slots_release(&t->others);
    mem_free(t->found);
    mem_free(t->found_at);
    mem_free(t);
}

size_t tally_endpoint_at(struct tally *t, struct str name)
{
    uint64_t hash = XXH3_64bits(name.p, name.n);
    for (size_t i = 0; i < t->nendpoints; i++)
        if (t->endpoint[i].hash == hash && str_eq(t->endpoint[i].name, name))
            return i;
    if (t->nendpoints >= TALLY_ENDPOINTS && !str_eq(name, STR(TALLY_OTHER_ENDPOINT)))
        return tally_endpoint_at(t, STR(TALLY_OTHER_ENDPOINT));
    struct str copy = pool_str(t->fields.pool, name);
    if (!copy.p)
        return SIZE_MAX;
    t->endpoint[t->nendpoints] = (struct endpoint){.name = copy, .hash = hash};
    return t->nendpoints++;
}

/* ---- evidence as it comes ---- */

/* E is above 1 only where b > c, and rises only with b. */
void tally_raise(struct tally_count *c, uint64_t other_b, uint64_t other_c)
{
    uint64_t b = c->candidate_only + other_b, s = c->secondary_only + other_c;
    if (b <= s)
        return;
    double e = evidence_fail_log10(b, s);
    if (e > c->fail_log10_max)
        c->fail_log10_max = e;
}

void tally_field_met(struct tally *t, struct slot *f)
{
    tally_raise(&f->count, f->other_b, f->other_c);
    if (f->count.fail_log10_max > t->fields_max)
        t->fields_max = f->count.fail_log10_max;
}

/* ---- the differences of a sample, each path and kind once ---- */

static int begin_found(struct tally *t, size_t most)
{
    size_t slots = 16;
    while (slots < 2 * most)
        slots *= 2;
    if (most > t->found_room) {
        struct found *found = mem_realloc(t->found, most * sizeof *found);
        if (!found)
            return -ENOMEM;
        t->found = found;
        t->found_room = most;
    }
    if (slots > t->found_slots) {
        uint32_t *at = mem_realloc(t->found_at, slots * sizeof *at);
        if (!at)
            return -ENOMEM;
        t->found_at = at;
        t->found_slots = slots;
    }
    memset(t->found_at, 0, t->found_slots * sizeof *t->found_at);
    t->found_n = 0;
    return 0;
}

/* That of this path and kind, new when it was not met in this sample. */
static struct found *find_found(struct tally *t, struct str path, enum diff_kind kind)
{
    size_t i = slot_hash(STR(""), path, kind) & (t->found_slots - 1);
    for (; t->found_at[i]; i = (i + 1) & (t->found_slots - 1)) {
        struct found *f = &t->found[t->found_at[i] - 1];
        if (f->kind == kind && str_eq(f->path, path))
            return f;
    }
    t->found[t->found_n] = (struct found){.path = path, .kind = kind};
    t->found_at[i] = (uint32_t)++t->found_n;
    return &t->found[t->found_n - 1];
}

static int gather(
    struct tally *t, const struct differences *secondary, const struct differences *candidate)
{
    if (begin_found(t, secondary->n + candidate->n) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < secondary->n; i++) {
        const struct difference *d = &secondary->item[i];
        struct found *f = find_found(t, d->path, d->kind);
        f->of_secondary = d;
        f->secondary.value = true;
        f->secondary.shape |= d->shape;
    }
    for (size_t i = 0; i < candidate->n; i++) {
        const struct difference *d = &candidate->item[i];
        struct found *f = find_found(t, d->path, d->kind);
        f->of_candidate = d;
        f->candidate.value = true;
        f->candidate.shape |= d->shape;
    }
    return 0;
}

static int gather_again(struct tally *t, const struct tally_again_difference *d, size_t n)
{
    if (begin_found(t, n) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct found *f = find_found(t, d[i].path, d[i].kind);
        f->candidate.value = f->candidate.shape |= d[i].candidate;
        f->secondary.value = f->secondary.shape |= d[i].secondary;
    }
    return 0;
}

static struct slot *new_field(struct tally *t, size_t endpoint, const struct found *d)
{
    struct slot *f = slots_add(&t->fields, t->endpoint[endpoint].name, d->path, d->kind);
    if (!f)
        return NULL;
    f->at = (uint32_t)endpoint;
    const struct slot *other = slots_find(&t->others, f->endpoint, f->path, f->kind);
    f->other_b = other ? other->count.candidate_only : 0;
    f->other_c = other ? other->count.secondary_only : 0;
    return f;
}

/* The field of each difference, made where it is new. -ENOMEM: none was made. */
static int find_slots(struct tally *t, size_t endpoint)
{
    size_t before = t->fields.n;
    for (size_t i = 0; i < t->found_n; i++) {
        struct found *d = &t->found[i];
        struct slot *f = slots_find(&t->fields, t->endpoint[endpoint].name, d->path, d->kind);
        if (!f && t->fields.n < TALLY_FIELDS) {
            f = new_field(t, endpoint, d);
            if (!f) {
                slots_cut(&t->fields, before);
                return -ENOMEM;
            }
        }
        d->slot = f ? (uint32_t)(f - t->fields.item) : TALLY_FIELDS;
    }
    return 0;
}

/* ---- counting ---- */

static void count_one(struct tally_count *c, bool candidate, bool secondary)
{
    c->candidate_only += candidate && !secondary;
    c->secondary_only += secondary && !candidate;
    c->both += candidate && secondary;
}

/* It differs too often in the secondary to say anything. */
static bool is_noisy(const struct tally *t, const struct slot *f, uint64_t min)
{
    uint64_t pairs = t->endpoint[f->at].pairs;
    uint64_t secondary = f->count.secondary_only + f->count.both;
    return pairs >= min && secondary * 100 >= pairs * TALLY_NOISY_PERCENT;
}

static void look_for_noise(const struct tally *t, struct slot *f)
{
    if (is_noisy(t, f, TALLY_NOISY_MIN))
        f->shape = true;
}

/* Decided by the past alone: the sample at hand is not counted yet. */
static bool is_masked(const struct tally *t, const struct slot *f)
{
    return f->shape && is_noisy(t, f, f->kind == DIFF_VALUE ? TALLY_MASK_MIN : TALLY_NOISY_MIN);
}

/* Judges each difference by its field's present test. */
static void judge_found(const struct tally *t)
{
    for (size_t i = 0; i < t->found_n; i++) {
        struct found *d = &t->found[i];
        if (d->slot == TALLY_FIELDS)
            continue;
        if (t->fields.item[d->slot].shape) {
            d->candidate.value = d->candidate.shape;
            d->secondary.value = d->secondary.shape;
        }
    }
}

/* From now on the own field stands for that of others. */
static void met_by_others(struct tally *t, const struct slot *f)
{
    struct slot *other = t->others.n ? slots_find(&t->others, f->endpoint, f->path, f->kind) : NULL;
    if (other)
        other->matched = true;
}

static void count_found(struct tally *t, size_t endpoint)
{
    bool over_candidate = false, over_secondary = false;
    t->endpoint[endpoint].pairs++;
    for (size_t i = 0; i < t->found_n; i++) {
        const struct found *d = &t->found[i];
        if (d->slot == TALLY_FIELDS) {
            over_candidate |= d->candidate.value;
            over_secondary |= d->secondary.value;
            continue;
        }
        struct slot *f = &t->fields.item[d->slot];
        met_by_others(t, f);
        count_one(&f->count, d->candidate.value, d->secondary.value);
        look_for_noise(t, f);
        tally_field_met(t, f);
    }
    count_one(&t->overflow, over_candidate, over_secondary);
    tally_raise(&t->overflow, t->other_overflow.candidate_only, t->other_overflow.secondary_only);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Fixes p90 and p99: the 180th and the 198th of 200 in order. At least 1, as 0 is "not yet". */
void tally_calibrate(struct tally *t)
{
    uint64_t sorted[TALLY_CALIBRATION];
    memcpy(sorted, t->calibration, sizeof sorted);
    qsort(sorted, TALLY_CALIBRATION, sizeof sorted[0], by_size);
    t->p90 = sorted[TALLY_CALIBRATION * 90 / 100 - 1];
    t->p99 = sorted[TALLY_CALIBRATION * 99 / 100 - 1];
    t->p90 += t->p90 == 0;
    t->p99 += t->p99 == 0;
}

struct bits {
    uint32_t pairs, candidate, secondary;
};

static void count_headlines(struct tally *t, struct bits b, uint64_t secondary_us)
{
    t->samples++;
    for (unsigned h = 0; h < HEADLINE_COUNT; h++) {
        struct tally_count *c = &t->headline[h];
        c->pairs += (b.pairs & BIT(h)) != 0;
        count_one(c, b.candidate & BIT(h), b.secondary & BIT(h));
        tally_raise(c, t->other_headline[h].candidate_only, t->other_headline[h].secondary_only);
    }
    if (t->p90 || !(b.pairs & BIT(HEADLINE_LATENCY)))
        return;
    t->calibration[t->ncalibration++] = secondary_us;
    if (t->ncalibration == TALLY_CALIBRATION)
        tally_calibrate(t);
}

/* ---- a sample ---- */

static void set_bit(struct bits *b, enum headline h, bool candidate, bool secondary)
{
    b->pairs |= BIT(h);
    if (candidate && !secondary)
        b->candidate |= BIT(h);
    if (secondary && !candidate)
        b->secondary |= BIT(h);
}

/* a > 1.2 b */
static bool much_longer(uint64_t a, uint64_t b)
{
    a = a < LATENCY_LIMIT ? a : LATENCY_LIMIT;
    b = b < LATENCY_LIMIT ? b : LATENCY_LIMIT;
    return 5 * a > 6 * b;
}

static void judge_latency(const struct tally *t, uint64_t s, uint64_t c, struct bits *b)
{
    set_bit(b, HEADLINE_LATENCY, much_longer(c, s), much_longer(s, c));
    if (!t->p90)
        return;
    set_bit(b, HEADLINE_SLOW_P90, c > t->p90, s > t->p90);
    set_bit(b, HEADLINE_SLOW_P99, c > t->p99, s > t->p99);
}

/* All headlines but FIELD. */
static struct bits judge(const struct tally *t, const struct tally_sample *x, bool whole)
{
    const struct reply *p = x->primary, *s = x->secondary, *c = x->candidate;
    struct bits b = {0};
    set_bit(&b, HEADLINE_TRANSPORT, c->outcome == REPLY_TRANSPORT, s->outcome == REPLY_TRANSPORT);
    set_bit(&b, HEADLINE_TIMEOUT, c->outcome == REPLY_TIMEOUT, s->outcome == REPLY_TIMEOUT);
    if (s->outcome == REPLY_WHOLE && c->outcome == REPLY_WHOLE && !x->untimed)
        judge_latency(t, s->latency_us, c->latency_us, &b);
    if (!whole)
        return b;
    set_bit(&b, HEADLINE_STATUS, c->status / 100 != p->status / 100,
        s->status / 100 != p->status / 100);
    int grpc = reply_grpc_status(p);
    set_bit(&b, HEADLINE_GRPC, reply_grpc_status(c) != grpc, reply_grpc_status(s) != grpc);
    return b;
}

/* What of the differences is told. 0 or -ENOMEM. */
static int tell_found(const struct tally *t, struct tally_added *ret)
{
    if (t->found_n == 0)
        return 0;
    ret->differences = mem_array(t->found_n, sizeof *ret->differences);
    if (!ret->differences)
        return -ENOMEM;
    for (size_t i = 0; i < t->found_n; i++) {
        const struct found *d = &t->found[i];
        if (d->candidate.value || d->secondary.value)
            ret->differences[ret->ndifferences++] = (struct tally_difference){
                d->of_secondary, d->of_candidate, d->candidate.value, d->secondary.value};
    }
    return 0;
}

static int prepare_found(
    struct tally *t, const struct tally_sample *x, size_t endpoint, struct tally_added *ret)
{
    size_t before = t->fields.n;
    int rc = gather(t, x->secondary_differs, x->candidate_differs);
    if (rc == 0)
        rc = find_slots(t, endpoint);
    if (rc != 0)
        return rc;
    judge_found(t);
    rc = tell_found(t, ret);
    if (rc != 0)
        slots_cut(&t->fields, before);
    return rc;
}

/* Field by field: what differs in both roles hides nothing of another field. */
static void judge_field(const struct tally *t, struct bits *b)
{
    bool candidate = false, secondary = false;
    for (size_t i = 0; i < t->found_n; i++) {
        const struct found *d = &t->found[i];
        if (d->slot != TALLY_FIELDS && is_masked(t, &t->fields.item[d->slot]))
            continue;
        candidate |= d->candidate.value && !d->secondary.value;
        secondary |= d->secondary.value && !d->candidate.value;
    }
    set_bit(b, HEADLINE_FIELD, candidate, secondary);
}

int tally_add(struct tally *t, const struct tally_sample *x, struct tally_added *ret)
{
    struct tally_added added = {0};
    bool whole = x->primary->outcome == REPLY_WHOLE && x->secondary->outcome == REPLY_WHOLE &&
                 x->candidate->outcome == REPLY_WHOLE && x->secondary_differs &&
                 x->candidate_differs;
    size_t endpoint = tally_endpoint_at(t, x->endpoint);
    if (endpoint == SIZE_MAX || (whole && prepare_found(t, x, endpoint, &added) != 0))
        return -ENOMEM;
    struct bits b = judge(t, x, whole);
    if (whole) {
        judge_field(t, &b);
        count_found(t, endpoint);
    }
    count_headlines(t, b, x->secondary->latency_us);
    added.headline_pairs = b.pairs;
    added.headline_candidate = b.candidate;
    added.headline_secondary = b.secondary;
    *ret = added;
    return 0;
}

static bool bits_possible(const struct tally *t, struct bits b, size_t n)
{
    uint32_t any = b.candidate | b.secondary;
    return !(b.pairs & ~ALL_BITS) && !(any & ~b.pairs) && !(b.candidate & b.secondary) &&
           (n == 0 || b.pairs & BIT(HEADLINE_FIELD)) && (t->p90 || !(b.pairs & SLOW_BITS));
}

int tally_again(struct tally *t, struct str endpoint, uint32_t pairs, uint32_t candidate,
    uint32_t secondary, const struct tally_again_difference *d, size_t n,
    uint64_t secondary_latency_us)
{
    struct bits b = {pairs, candidate, secondary};
    if (!bits_possible(t, b, n))
        return -EINVAL;
    size_t at = tally_endpoint_at(t, endpoint);
    if (at == SIZE_MAX || gather_again(t, d, n) != 0 || find_slots(t, at) != 0)
        return -ENOMEM;
    judge_found(t);
    if (pairs & BIT(HEADLINE_FIELD))
        count_found(t, at);
    count_headlines(t, b, secondary_latency_us);
    return 0;
}
