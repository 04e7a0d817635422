/* Bytes as JournalRecord: views, without an allocation a field. What is not known is passed over.
 * Fuzzed (tests/fuzz/fuzz_journal.c). */
#include "agent/journal_int.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <math.h>

static int malformed(struct err *e, const char *what)
{
    return err_set(e, -EBADMSG, "malformed %s", what);
}

/* A field that is taken: a number, or bytes; others are left as they are. */
static bool take_number(const struct pb_field *f, uint32_t number, uint64_t *ret)
{
    if (f->number != number || f->wire != PB_VARINT)
        return false;
    *ret = f->value;
    return true;
}

static bool take_bytes(const struct pb_field *f, uint32_t number, struct str *ret)
{
    if (f->number != number || f->wire != PB_BYTES)
        return false;
    *ret = f->bytes;
    return true;
}

static uint32_t bits_of(uint64_t v)
{
    return (uint32_t)v;
}

static int parse_session(struct str bytes, struct read_session *s, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    uint64_t started = 0;
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        (void)(take_number(&f, 1, &s->version) || take_bytes(&f, 2, &s->name) ||
               take_number(&f, 3, &s->id) || take_bytes(&f, 4, &s->spec_json) ||
               take_number(&f, 5, &started) || take_bytes(&f, 6, &s->decisions) ||
               take_number(&f, 7, &s->run) || take_bytes(&f, 8, &s->why));
    s->started_unix = (int64_t)started;
    if (r < 0 || s->decisions.n != 32 || s->run == 0 || s->run > UINT32_MAX)
        return malformed(e, "session");
    if (s->version != JOURNAL_VERSION)
        return err_set(e, -ENOTSUP, "version %llu of the journal is not known, only %u",
            (unsigned long long)s->version, JOURNAL_VERSION);
    return 0;
}

/* The latency in a reply. */
static int parse_latency(struct str bytes, uint64_t *ret)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        (void)take_number(&f, 6, ret);
    return r;
}

static int parse_sample(struct str bytes, struct read_sample *s, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct str secondary = {0};
    uint64_t time = 0, pairs = 0, candidate = 0, only_secondary = 0;
    int r;
    s->bytes = bytes;
    while ((r = pb_next(&in, &f)) > 0)
        (void)(take_number(&f, 1, &s->sample) || take_number(&f, 2, &time) ||
               take_bytes(&f, 3, &s->endpoint) || take_bytes(&f, 6, &secondary) ||
               take_number(&f, 9, &pairs) || take_number(&f, 10, &candidate) ||
               take_number(&f, 11, &only_secondary) || take_bytes(&f, 13, &s->primary_trace) ||
               take_bytes(&f, 14, &s->secondary_trace) || take_bytes(&f, 15, &s->candidate_trace));
    s->time_unix_us = (int64_t)time;
    s->pairs = bits_of(pairs);
    s->candidate = bits_of(candidate);
    s->secondary = bits_of(only_secondary);
    if (r < 0 || s->sample == 0 || parse_latency(secondary, &s->secondary_latency_us) < 0)
        return malformed(e, "sample");
    return 0;
}

static int parse_difference(struct str bytes, struct read_difference *d)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    uint64_t kind = 0, candidate = 0, secondary = 0;
    int r;
    *d = (struct read_difference){0};
    while ((r = pb_next(&in, &f)) > 0)
        (void)(take_bytes(&f, 1, &d->path) || take_number(&f, 2, &kind) ||
               take_number(&f, 3, &candidate) || take_number(&f, 4, &secondary) ||
               take_bytes(&f, 5, &d->primary) || take_bytes(&f, 6, &d->secondary) ||
               take_bytes(&f, 7, &d->candidate));
    d->kind = (uint32_t)kind;
    d->by_candidate = candidate != 0;
    d->by_secondary = secondary != 0;
    return r < 0 || kind > DIFF_ORDER ? -EBADMSG : 0;
}

int journal_differences(
    const struct read_sample *s, int (*fn)(void *arg, const struct read_difference *d), void *arg)
{
    struct pb_in in = pb_in_of(s->bytes);
    struct pb_field f;
    struct read_difference d;
    int r = 0;
    while (r == 0 && pb_next(&in, &f) > 0)
        if (f.number == 8) {
            r = f.wire == PB_BYTES ? parse_difference(f.bytes, &d) : -EBADMSG;
            r = r ? r : fn(arg, &d);
        }
    return r;
}

static int parse_drop(struct str bytes, struct read_drop *d, bool totals, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    *d = (struct read_drop){0};
    while ((r = pb_next(&in, &f)) > 0)
        (void)(take_bytes(&f, 1, &d->reason) || take_number(&f, 2, &d->count) ||
               (!totals && take_number(&f, 3, &d->sample)));
    return r < 0 || d->reason.n == 0 ? malformed(e, "drop") : 0;
}

static int parse_end(struct str bytes, struct read_end *end, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    uint64_t time = 0;
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        (void)(take_bytes(&f, 1, &end->verdict) || take_bytes(&f, 2, &end->why) ||
               take_number(&f, 3, &time));
    end->time_unix = (int64_t)time;
    return r < 0 ? malformed(e, "end") : 0;
}

static int parse_begun(struct str bytes, uint64_t *ret, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0)
        (void)take_number(&f, 1, ret);
    return r < 0 || *ret == 0 ? malformed(e, "begin of a sample") : 0;
}

static int parse_totals(struct str bytes, struct read_totals *t, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    t->bytes = bytes;
    while ((r = pb_next(&in, &f)) > 0)
        (void)(take_number(&f, 1, &t->run) || take_number(&f, 3, &t->next_sample));
    return r < 0 || t->run > UINT32_MAX ? malformed(e, "totals") : 0;
}

int journal_parse(struct str bytes, struct journal_record *ret, struct err *e)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    *ret = (struct journal_record){0};
    int r = pb_next(&in, &f);
    if (r <= 0 || f.wire != PB_BYTES)
        return malformed(e, "record");
    switch (f.number) {
    case JOURNAL_SESSION:
        r = parse_session(f.bytes, &ret->session, e);
        break;
    case JOURNAL_BEGUN:
        r = parse_begun(f.bytes, &ret->begun, e);
        break;
    case JOURNAL_SAMPLE:
        r = parse_sample(f.bytes, &ret->sample, e);
        break;
    case JOURNAL_DROP:
        r = parse_drop(f.bytes, &ret->drop, false, e);
        break;
    case JOURNAL_TOTALS:
        r = parse_totals(f.bytes, &ret->totals, e);
        break;
    case JOURNAL_END:
        r = parse_end(f.bytes, &ret->end, e);
        break;
    default:
        return 0;
    }
    if (r < 0)
        return r;
    ret->kind = (enum journal_kind)f.number;
    return 0;
}

/* ---- totals whole ---- */

static int parse_count(struct str bytes, struct tally_count *c)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    *c = (struct tally_count){0};
    while ((r = pb_next(&in, &f)) > 0) {
        (void)(take_number(&f, 1, &c->pairs) || take_number(&f, 2, &c->candidate_only) ||
               take_number(&f, 3, &c->secondary_only) || take_number(&f, 4, &c->both));
        if (f.number == 5 && f.wire == PB_FIXED64)
            memcpy(&c->fail_log10_max, &f.value, sizeof(c->fail_log10_max));
    }
    return r < 0 || !isfinite(c->fail_log10_max) ? -EBADMSG : 0;
}

static int parse_field_count(struct str bytes, struct tally_field *ret)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    struct str count = {0};
    uint64_t kind = 0, shape = 0;
    int r;
    *ret = (struct tally_field){0};
    while ((r = pb_next(&in, &f)) > 0)
        (void)(take_bytes(&f, 1, &ret->endpoint) || take_bytes(&f, 2, &ret->path) ||
               take_number(&f, 3, &kind) || take_bytes(&f, 4, &count) ||
               take_number(&f, 5, &shape));
    ret->kind = (enum diff_kind)(kind > DIFF_ORDER ? 0 : kind);
    ret->shape = shape != 0;
    return r < 0 || kind > DIFF_ORDER ? -EBADMSG : parse_count(count, &ret->count);
}

static int parse_endpoint(struct str bytes, struct str *ret_name, uint64_t *ret_pairs)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    *ret_name = (struct str){0};
    *ret_pairs = 0;
    while ((r = pb_next(&in, &f)) > 0)
        (void)(take_bytes(&f, 1, ret_name) || take_number(&f, 2, ret_pairs));
    return r;
}

static size_t count_varints(struct str bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes.n; i++)
        n += (bytes.p[i] & 0x80) == 0;
    return n;
}

/* Packed numbers into an array of room for them. */
static int parse_numbers(struct str bytes, uint64_t *to, size_t *n, size_t room)
{
    struct pb_in in = pb_in_of(bytes);
    uint64_t v;
    int r;
    while ((r = pb_next_varint(&in, &v)) > 0) {
        if (*n == room)
            return -EBADMSG;
        to[(*n)++] = v;
    }
    return r;
}

/* How much of everything there is. */
struct room {
    size_t headlines, fields, endpoints, open, calibration, drops;
};

static int measure(struct str bytes, struct room *m)
{
    struct pb_in in = pb_in_of(bytes);
    struct pb_field f;
    int r;
    while ((r = pb_next(&in, &f)) > 0) {
        if (f.number >= 4 && f.number <= 9 && f.wire != PB_BYTES)
            return -EBADMSG;
        m->headlines += f.number == 4;
        m->fields += f.number == 5;
        m->drops += f.number == 6;
        m->endpoints += f.number == 7;
        m->open += f.number == 8 ? count_varints(f.bytes) : 0;
        m->calibration += f.number == 9 ? count_varints(f.bytes) : 0;
    }
    return r < 0 || m->headlines != HEADLINE_COUNT || m->fields > TALLY_FIELDS ||
                   m->drops > SHADOW_REASONS || m->endpoints > TALLY_ENDPOINTS + 1 ||
                   m->open > JOURNAL_OPEN || m->calibration > TALLY_CALIBRATION
               ? -EBADMSG
               : 0;
}

static int make_room(struct journal_sums *s, const struct room *m)
{
    s->fields = mem_array(m->fields + 1, sizeof(*s->fields));
    s->endpoints = mem_array(m->endpoints + 1, sizeof(*s->endpoints));
    s->endpoint_pairs = mem_array(m->endpoints + 1, sizeof(*s->endpoint_pairs));
    s->open = mem_array(m->open + 1, sizeof(*s->open));
    s->calibration_us = mem_array(m->calibration + 1, sizeof(*s->calibration_us));
    return s->fields && s->endpoints && s->endpoint_pairs && s->open && s->calibration_us ? 0
                                                                                          : -ENOMEM;
}

static int sums_list(struct journal_sums *s, const struct pb_field *f, const struct room *m,
    unsigned *headline, struct err *e)
{
    struct tally_totals *t = &s->tally;
    size_t i;
    switch (f->number) {
    case 4:
        return parse_count(f->bytes, &t->headline[(*headline)++]);
    case 5:
        return parse_field_count(f->bytes, &s->fields[t->nfields++]);
    case 6:
        return parse_drop(f->bytes, &s->drops[s->ndrops++], true, e);
    case 7:
        i = t->nendpoints++;
        return parse_endpoint(f->bytes, &s->endpoints[i], &s->endpoint_pairs[i]);
    case 8:
        return parse_numbers(f->bytes, s->open, &s->nopen, m->open);
    case 9:
        return parse_numbers(f->bytes, s->calibration_us, &t->ncalibration, m->calibration);
    case 12:
        return f->wire == PB_BYTES ? parse_count(f->bytes, &t->overflow) : -EBADMSG;
    default:
        (void)(take_number(f, 2, &t->samples) || take_number(f, 10, &t->p90_us) ||
               take_number(f, 11, &t->p99_us));
        return 0;
    }
}

int journal_sums_read(const struct read_totals *t, struct journal_sums *ret, struct err *e)
{
    struct pb_in in = pb_in_of(t->bytes);
    struct pb_field f;
    struct room m = {0};
    unsigned headline = 0;
    *ret = (struct journal_sums){0};
    int r = measure(t->bytes, &m);
    if (r == 0)
        r = make_room(ret, &m);
    while (r == 0 && pb_next(&in, &f) > 0)
        r = sums_list(ret, &f, &m, &headline, e);
    if (r < 0) {
        journal_sums_release(ret);
        return r == -ENOMEM ? err_set(e, r, "out of memory") : malformed(e, "totals");
    }
    ret->tally.fields = ret->fields;
    ret->tally.endpoints = ret->endpoints;
    ret->tally.endpoint_pairs = ret->endpoint_pairs;
    ret->tally.calibration_us = ret->calibration_us;
    return 0;
}

void journal_sums_release(struct journal_sums *s)
{
    mem_free(s->fields);
    mem_free(s->endpoints);
    mem_free(s->endpoint_pairs);
    mem_free(s->open);
    mem_free(s->calibration_us);
}
