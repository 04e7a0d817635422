/* JournalRecord (proto/offshoot/v1/journal.proto) as bytes: by hand, so that every allocation can
 * fail and be told. What a sample consists of is in journal_message.c. */
#include "agent/journal_int.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <errno.h>

/* ---- values ---- */

/* proto3 has UTF-8 in strings: bytes that are none become %XX. */
void journal_put_text(struct pb_out *o, uint32_t field, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    if (!s.n)
        return;
    if (utf8_check(s) == s.n) {
        pb_bytes(o, field, s);
        return;
    }
    size_t at = pb_begin(o, field);
    while (s.n) {
        size_t good = utf8_check(s);
        pb_raw(o, s.p, good);
        if (good < s.n) {
            unsigned char c = (unsigned char)s.p[good++];
            char escaped[3] = {'%', hex[c >> 4], hex[c & 15]};
            pb_raw(o, escaped, sizeof(escaped));
        }
        s = str_from(s, good);
    }
    pb_end(o, at);
}

static void put_double(struct pb_out *o, uint32_t field, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    if (bits)
        pb_fixed64(o, field, bits);
}

static struct str bytes_of(const unsigned char *p, size_t n)
{
    return str_of((const char *)p, p ? n : 0);
}

/* ---- small records ---- */

void journal_put_session(struct pb_out *o, const struct journal_session *s)
{
    size_t at = pb_begin(o, JOURNAL_SESSION);
    pb_uint(o, 1, JOURNAL_VERSION);
    journal_put_text(o, 2, str_c(s->name));
    pb_opt_uint(o, 3, s->id);
    journal_put_text(o, 4, str_c(s->spec_json));
    pb_opt_uint(o, 5, (uint64_t)s->started_unix);
    pb_bytes(o, 6, bytes_of(s->decisions, sizeof(s->decisions)));
    pb_opt_uint(o, 7, s->run);
    journal_put_text(o, 8, str_c(s->why));
    pb_end(o, at);
}

void journal_put_begun(struct pb_out *o, uint64_t sample)
{
    size_t at = pb_begin(o, JOURNAL_BEGUN);
    pb_opt_uint(o, 1, sample);
    pb_end(o, at);
}

void journal_put_drop(struct pb_out *o, const char *reason, uint64_t n, uint64_t sample)
{
    size_t at = pb_begin(o, JOURNAL_DROP);
    journal_put_text(o, 1, str_c(reason));
    pb_opt_uint(o, 2, n);
    pb_opt_uint(o, 3, sample);
    pb_end(o, at);
}

void journal_put_end(struct pb_out *o, const char *verdict, const char *why, int64_t now)
{
    size_t at = pb_begin(o, JOURNAL_END);
    journal_put_text(o, 1, str_c(verdict));
    journal_put_text(o, 2, str_c(why));
    pb_opt_uint(o, 3, (uint64_t)now);
    pb_end(o, at);
}

/* ---- totals ---- */

static void put_count(struct pb_out *o, uint32_t field, const struct tally_count *c)
{
    size_t at = pb_begin(o, field);
    pb_opt_uint(o, 1, c->pairs);
    pb_opt_uint(o, 2, c->candidate_only);
    pb_opt_uint(o, 3, c->secondary_only);
    pb_opt_uint(o, 4, c->both);
    put_double(o, 5, c->fail_log10_max);
    pb_end(o, at);
}

static void put_field_count(struct pb_out *o, const struct tally_field *f)
{
    size_t at = pb_begin(o, 5);
    journal_put_text(o, 1, f->endpoint);
    journal_put_text(o, 2, f->path);
    pb_opt_uint(o, 3, f->kind);
    put_count(o, 4, &f->count);
    pb_opt_uint(o, 5, f->shape);
    pb_end(o, at);
}

static void put_drops(struct pb_out *o, const struct shadow_drops *d)
{
    for (unsigned i = 0; i < d->n; i++) {
        size_t at = pb_begin(o, 6);
        journal_put_text(o, 1, str_c(d->reason[i]));
        pb_opt_uint(o, 2, d->count[i]);
        pb_end(o, at);
    }
}

static void put_endpoints(struct pb_out *o, const struct tally *t)
{
    for (size_t i = 0; i < tally_endpoints(t); i++) {
        uint64_t pairs;
        struct str name = tally_endpoint(t, i, &pairs);
        size_t at = pb_begin(o, 7);
        journal_put_text(o, 1, name);
        pb_opt_uint(o, 2, pairs);
        pb_end(o, at);
    }
}

static void put_numbers(struct pb_out *o, uint32_t field, const uint64_t *p, size_t n)
{
    if (!n)
        return;
    size_t at = pb_begin(o, field);
    for (size_t i = 0; i < n; i++)
        pb_varint(o, p[i]);
    pb_end(o, at);
}

void journal_put_totals(struct pb_out *o, const struct journal_totals *t)
{
    const uint64_t *calibration;
    uint64_t p90, p99;
    struct tally_count overflow = tally_overflow(t->tally);
    size_t n = tally_calibration(t->tally, &calibration, &p90, &p99);
    size_t at = pb_begin(o, JOURNAL_TOTALS);
    pb_opt_uint(o, 1, t->run);
    pb_opt_uint(o, 2, tally_samples(t->tally));
    pb_opt_uint(o, 3, t->next_sample);
    for (unsigned h = 0; h < HEADLINE_COUNT; h++) {
        struct tally_count c = tally_headline(t->tally, (enum headline)h);
        put_count(o, 4, &c);
    }
    for (size_t i = 0; i < tally_fields(t->tally); i++) {
        struct tally_field f = tally_field(t->tally, i);
        put_field_count(o, &f);
    }
    put_drops(o, t->drops);
    put_endpoints(o, t->tally);
    put_numbers(o, 8, t->open, t->nopen);
    put_numbers(o, 9, calibration, n);
    pb_opt_uint(o, 10, p90);
    pb_opt_uint(o, 11, p99);
    put_count(o, 12, &overflow);
    pb_end(o, at);
}

/* ---- a sample ---- */

static void put_difference(struct pb_out *o, const struct tally_difference *t)
{
    const struct difference *any = t->of_secondary ? t->of_secondary : t->of_candidate;
    size_t at = pb_begin(o, 8);
    journal_put_text(o, 1, any->path);
    pb_opt_uint(o, 2, any->kind);
    pb_opt_uint(o, 3, t->candidate);
    pb_opt_uint(o, 4, t->secondary);
    journal_put_text(o, 5, any->a);
    if (t->of_secondary)
        journal_put_text(o, 6, t->of_secondary->b);
    if (t->of_candidate)
        journal_put_text(o, 7, t->of_candidate->b);
    pb_end(o, at);
}

static int put_messages(
    struct pb_out *o, const struct journal_sample *s, const struct journal_options *options)
{
    const struct journal_keep request = {s->redact, options->message_bytes, s->request_type};
    const struct journal_keep reply = {s->redact, options->message_bytes, s->reply_type};
    int rc = journal_put_request(o, 4, s->exchange, &request);
    if (rc == 0)
        rc = journal_put_reply(o, 5, &s->exchange->primary, &reply);
    if (rc == 0)
        rc = journal_put_reply(o, 6, s->secondary, &reply);
    return rc ? rc : journal_put_reply(o, 7, s->candidate, &reply);
}

/* Latencies are sums too: they are kept without the messages. */
static void put_latency(struct pb_out *o, uint32_t field, const struct reply *r)
{
    size_t at = pb_begin(o, field);
    pb_opt_uint(o, 1, r->outcome);
    pb_opt_uint(o, 6, r->latency_us);
    pb_end(o, at);
}

int journal_put_sample(
    struct pb_out *o, const struct journal_sample *s, const struct journal_options *options)
{
    size_t at = pb_begin(o, JOURNAL_SAMPLE);
    pb_opt_uint(o, 1, s->sample);
    pb_opt_uint(o, 2, (uint64_t)s->time_unix_us);
    journal_put_text(o, 3, s->endpoint);
    if (options->messages) {
        int rc = put_messages(o, s, options);
        if (rc)
            return rc;
    } else {
        put_latency(o, 5, &s->exchange->primary);
        put_latency(o, 6, s->secondary);
        put_latency(o, 7, s->candidate);
    }
    for (size_t i = 0; i < s->added->ndifferences; i++)
        put_difference(o, &s->added->differences[i]);
    pb_opt_uint(o, 9, s->added->headline_pairs);
    pb_opt_uint(o, 10, s->added->headline_candidate);
    pb_opt_uint(o, 11, s->added->headline_secondary);
    pb_opt_uint(o, 12, s->candidate_first);
    pb_opt_bytes(o, 13, bytes_of(s->exchange->trace_id, TRACE_BYTES));
    pb_opt_bytes(o, 14, bytes_of(s->secondary_trace, TRACE_BYTES));
    pb_opt_bytes(o, 15, bytes_of(s->candidate_trace, TRACE_BYTES));
    pb_end(o, at);
    return o->failed ? -ENOMEM : 0;
}
