/* Examples and latencies once more, out of what the journal still holds of the present run. */
#include "agent/session_int.h"
#include "lib/base/pballoc.h"
#include "proto/offshoot/v1/journal.pb-c.h"
#include <errno.h>

/* A role that does not differ has the primary's text. */
static struct str role_text(const char *text, bool differs, const char *primary)
{
    return str_c(*text || differs ? text : primary);
}

static void recall_difference(struct session *s, const Offshoot__V1__JournalSample *j,
    const Offshoot__V1__JournalDifference *d)
{
    struct example_field f = {str_c(j->endpoint), str_c(d->path), (enum diff_kind)d->kind};
    struct example e = {.sample = j->sample,
        .candidate_only = d->candidate && !d->secondary,
        .primary = str_c(d->primary_text),
        .secondary = role_text(d->secondary_text, d->secondary, d->primary_text),
        .candidate = role_text(d->candidate_text, d->candidate, d->primary_text)};
    if (j->primary_trace.len == TRACE_BYTES)
        memcpy(e.trace, j->primary_trace.data, TRACE_BYTES);
    examples_add(s->examples, &f, &e);
}

static void recall_latency(
    struct session *s, enum session_role role, const Offshoot__V1__JournalReply *r)
{
    if (r)
        histogram_observe(s->latency[role], r->latency_us);
}

static void recall_untyped(struct session *s, const Offshoot__V1__JournalMessage *m)
{
    if (m && session_types(s, m->grpc, str_c(m->path)).untyped)
        session_untyped(s, str_c(m->path));
}

static void recall_sample(struct session *s, const Offshoot__V1__JournalSample *j)
{
    for (size_t i = 0; i < j->n_differences; i++)
        recall_difference(s, j, j->differences[i]);
    recall_untyped(s, j->request);
    recall_latency(s, ROLE_PRIMARY, j->primary);
    recall_latency(s, ROLE_SECONDARY, j->secondary);
    recall_latency(s, ROLE_CANDIDATE, j->candidate);
}

static int on_record(void *arg, struct str record)
{
    struct session *s = arg;
    ProtobufCMessage *base =
        pb_unpack(&offshoot__v1__journal_record__descriptor, record, pb_budget(record.n));
    const Offshoot__V1__JournalRecord *r = (const Offshoot__V1__JournalRecord *)base;
    if (r && r->record_case == OFFSHOOT__V1__JOURNAL_RECORD__RECORD_SAMPLE)
        recall_sample(s, r->sample);
    if (r && r->record_case == OFFSHOOT__V1__JOURNAL_RECORD__RECORD_SESSION) {
        examples_clear(s->examples); /* a new run */
        memset(s->latency, 0, sizeof s->latency);
        s->untyped = (struct untyped){0};
    }
    pb_free(base);
    return 0;
}

void session_recall(struct session *s)
{
    struct err e = {0};
    int rc = journal_read(s->host->journal.dir, s->spec.name, on_record, s, &e);
    if (rc != 0 && rc != -ENOENT)
        session_journal_fault(s, &e);
    examples_prune(s->examples, s->tally);
}
