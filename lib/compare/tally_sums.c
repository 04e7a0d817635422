/* The sums of a tally: read, restored from a journal, and those that other agents have. */
#include "lib/compare/tally_int.h"
#include <errno.h>
#include <math.h>

uint64_t tally_samples(const struct tally *t)
{
    return t->samples;
}

struct tally_count tally_headline(const struct tally *t, enum headline h)
{
    return t->headline[h];
}

struct tally_count tally_overflow(const struct tally *t)
{
    struct tally_count c = t->overflow;
    c.pairs = t->headline[HEADLINE_FIELD].pairs;
    return c;
}

size_t tally_endpoints(const struct tally *t)
{
    return t->nendpoints;
}

struct str tally_endpoint(const struct tally *t, size_t i, uint64_t *ret_pairs)
{
    *ret_pairs = t->endpoint[i].pairs;
    return t->endpoint[i].name;
}

size_t tally_calibration(
    const struct tally *t, const uint64_t **ret_us, uint64_t *ret_p90, uint64_t *ret_p99)
{
    *ret_us = t->calibration;
    *ret_p90 = t->p90;
    *ret_p99 = t->p99;
    return t->ncalibration;
}

struct tally_count tally_all_of(const struct tally *t, enum headline h)
{
    struct tally_count c = t->headline[h];
    c.pairs += t->other_headline[h].pairs;
    c.candidate_only += t->other_headline[h].candidate_only;
    c.secondary_only += t->other_headline[h].secondary_only;
    return c;
}

/* ---- fields ---- */

size_t tally_fields(const struct tally *t)
{
    return t->fields.n;
}

size_t tally_fields_all(const struct tally *t)
{
    size_t n = t->fields.n;
    for (size_t i = 0; i < t->others.n; i++)
        n += !t->others.item[i].matched;
    return n;
}

static struct tally_field own_field(const struct tally *t, const struct slot *f)
{
    struct tally_field r = {f->endpoint, f->path, f->kind, f->shape, f->count, 0};
    r.count.pairs = t->endpoint[f->at].pairs;
    r.fail_log10 = evidence_fail_log10(
        f->count.candidate_only + f->other_b, f->count.secondary_only + f->other_c);
    return r;
}

struct tally_field tally_field(const struct tally *t, size_t i)
{
    if (i < t->fields.n)
        return own_field(t, &t->fields.item[i]);
    size_t skip = i - t->fields.n, at = 0;
    while (t->others.item[at].matched || skip-- > 0)
        at++;
    const struct slot *f = &t->others.item[at];
    struct tally_field r = {f->endpoint, f->path, f->kind, f->shape, {0}, 0};
    r.count.fail_log10_max = f->count.fail_log10_max;
    r.fail_log10 = evidence_fail_log10(f->count.candidate_only, f->count.secondary_only);
    return r;
}

/* ---- sums of others ---- */

static bool possible(const struct tally_count *c, uint64_t pairs)
{
    return pairs <= TALLY_COUNT_MAX && c->candidate_only <= pairs &&
           c->secondary_only <= pairs - c->candidate_only &&
           c->both <= pairs - c->candidate_only - c->secondary_only;
}

static void add_up(struct tally_count *c, const struct tally_count *more)
{
    uint64_t room = TALLY_COUNT_MAX - c->pairs;
    if (more->pairs > room) /* no journal gets there */
        return;
    c->pairs += more->pairs;
    c->candidate_only += more->candidate_only;
    c->secondary_only += more->secondary_only;
    c->both += more->both;
}

static int others_possible(const struct tally_totals *o)
{
    if (o->samples > TALLY_COUNT_MAX || !possible(&o->overflow, o->overflow.pairs))
        return -EINVAL;
    for (size_t h = 0; h < HEADLINE_COUNT; h++)
        if (!possible(&o->headline[h], o->headline[h].pairs))
            return -EINVAL;
    for (size_t i = 0; i < o->nfields; i++)
        if (o->fields[i].kind > DIFF_ORDER ||
            !possible(&o->fields[i].count, o->fields[i].count.pairs))
            return -EINVAL;
    return 0;
}

/* Fields above TALLY_FIELDS are not judged by themselves: what differs there is in FIELD. */
static int add_other_field(struct slots *s, const struct tally_field *f)
{
    struct slot *to = slots_find(s, f->endpoint, f->path, f->kind);
    if (!to && s->n == TALLY_FIELDS)
        return 0;
    if (!to)
        to = slots_add(s, f->endpoint, f->path, f->kind);
    if (!to)
        return -ENOMEM;
    to->shape |= f->shape;
    add_up(&to->count, &f->count);
    return 0;
}

/* What others have of the own fields, and the evidence of those that only they have. */
static void match_others(struct tally *t)
{
    for (size_t i = 0; i < t->fields.n; i++) {
        struct slot *f = &t->fields.item[i];
        struct slot *other = slots_find(&t->others, f->endpoint, f->path, f->kind);
        f->other_b = other ? other->count.candidate_only : 0;
        f->other_c = other ? other->count.secondary_only : 0;
        if (other)
            other->matched = true;
        tally_field_met(t, f);
    }
    t->others_max = 0;
    for (size_t i = 0; i < t->others.n; i++) {
        struct slot *f = &t->others.item[i];
        tally_raise(&f->count, 0, 0);
        if (!f->matched)
            t->others_max = fmax(t->others_max, f->count.fail_log10_max);
    }
}

int tally_set_others(struct tally *t, const struct tally_totals *others)
{
    struct slots s;
    int rc = others_possible(others);
    if (rc != 0 || (rc = slots_init(&s)) != 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < others->nfields; i++)
        rc = add_other_field(&s, &others->fields[i]);
    if (rc != 0) {
        slots_release(&s);
        return rc;
    }
    slots_release(&t->others);
    t->others = s;
    t->other_samples = others->samples;
    t->other_overflow = others->overflow;
    memcpy(t->other_headline, others->headline, sizeof t->other_headline);
    for (size_t h = 0; h < HEADLINE_COUNT; h++)
        tally_raise(&t->headline[h], t->other_headline[h].candidate_only,
            t->other_headline[h].secondary_only);
    tally_raise(&t->overflow, t->other_overflow.candidate_only, t->other_overflow.secondary_only);
    match_others(t);
    return 0;
}

/* ---- restored ---- */

static bool possible_max(double log10)
{
    return log10 >= 0 && log10 <= (double)EVIDENCE_PAIRS_MAX; /* false for NaN */
}

static int restore_headlines(struct tally *t, const struct tally_totals *from)
{
    for (size_t h = 0; h < HEADLINE_COUNT; h++) {
        const struct tally_count *c = &from->headline[h];
        if (!possible(c, c->pairs) || c->pairs > from->samples || !possible_max(c->fail_log10_max))
            return -EINVAL;
        t->headline[h] = *c;
    }
    const struct tally_count *over = &from->overflow;
    if (!possible(over, from->headline[HEADLINE_FIELD].pairs) ||
        !possible_max(over->fail_log10_max))
        return -EINVAL;
    t->overflow = *over;
    t->samples = from->samples;
    return 0;
}

static int restore_endpoints(struct tally *t, const struct tally_totals *from)
{
    uint64_t room = from->headline[HEADLINE_FIELD].pairs;
    if (from->nendpoints > TALLY_ENDPOINTS + 1)
        return -EINVAL;
    for (size_t i = 0; i < from->nendpoints; i++) {
        size_t at = tally_endpoint_at(t, from->endpoints[i]);
        if (at == SIZE_MAX)
            return -ENOMEM;
        if (at != i || from->endpoint_pairs[i] > room)
            return -EINVAL;
        t->endpoint[i].pairs = from->endpoint_pairs[i];
        room -= from->endpoint_pairs[i];
    }
    return 0;
}

static int restore_field(struct tally *t, const struct tally_field *from)
{
    size_t at = 0;
    while (at < t->nendpoints && !str_eq(t->endpoint[at].name, from->endpoint))
        at++;
    if (at == t->nendpoints || from->kind > DIFF_ORDER || t->fields.n == TALLY_FIELDS ||
        !possible(&from->count, t->endpoint[at].pairs) ||
        !possible_max(from->count.fail_log10_max) ||
        slots_find(&t->fields, from->endpoint, from->path, from->kind))
        return -EINVAL;
    struct slot *f = slots_add(&t->fields, from->endpoint, from->path, from->kind);
    if (!f)
        return -ENOMEM;
    f->at = (uint32_t)at;
    f->shape = from->shape;
    f->count = from->count;
    tally_field_met(t, f);
    return 0;
}

static int restore_calibration(struct tally *t, const struct tally_totals *from)
{
    if (from->ncalibration > TALLY_CALIBRATION || from->p90_us > from->p99_us ||
        !from->p90_us != !from->p99_us)
        return -EINVAL;
    if (from->ncalibration)
        memcpy(t->calibration, from->calibration_us, from->ncalibration * sizeof t->calibration[0]);
    t->ncalibration = from->ncalibration;
    t->p90 = from->p90_us;
    t->p99 = from->p99_us;
    if (!t->p90 && t->ncalibration == TALLY_CALIBRATION)
        tally_calibrate(t);
    return 0;
}

int tally_restore(struct tally *t, const struct tally_totals *from)
{
    int rc = from->samples <= TALLY_COUNT_MAX ? restore_headlines(t, from) : -EINVAL;
    if (rc == 0)
        rc = restore_endpoints(t, from);
    for (size_t i = 0; rc == 0 && i < from->nfields; i++)
        rc = restore_field(t, &from->fields[i]);
    return rc ? rc : restore_calibration(t, from);
}
