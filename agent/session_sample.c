/* One exchange: why not, or sent; its replies compared, counted, written down. */
#include "agent/session_int.h"
#include "lib/base/mem.h"
#include <assert.h>
#include <xxhash.h>

/* ---- what a reply of a proxy itself means ---- */

/* The reply as it counts. A refusal that the mirror lets through is data: of a provider that fails.
 */
static struct reply reply_of(const struct mirrored *m)
{
    struct reply r = m->reply;
    if (m->refusal.n)
        r.outcome = str_eq(m->refusal, STR("timeout")) ? REPLY_TIMEOUT : REPLY_TRANSPORT;
    return r;
}

/* ---- compared ---- */

struct comparison {
    struct reply secondary, candidate;
    struct differences of_secondary, of_candidate;
    struct tally_added added;
    struct text endpoint;
    bool timed;
};

static void comparison_release(struct comparison *c)
{
    differences_release(&c->of_secondary);
    differences_release(&c->of_candidate);
    mem_free(c->added.differences);
    text_release(&c->endpoint);
}

static int compare_one(const struct session *s, const struct exchange *x, const struct reply *r,
    struct differences *ret)
{
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT,
        .ignore = s->ignore,
        .redact = s->redact,
        .descriptors = x->grpc ? s->descriptors : NULL};
    if (x->grpc)
        rules.grpc_method = session_grpc_method(x->path);
    return r->outcome == REPLY_WHOLE ? replies_compare(&x->primary, r, &rules, ret) : 0;
}

static int compare(struct session *s, const struct exchange *x, struct comparison *c)
{
    int rc = compare_one(s, x, &c->secondary, &c->of_secondary);
    rc = rc ? rc : compare_one(s, x, &c->candidate, &c->of_candidate);
    endpoint_of(x->service, x->method, x->path, x->grpc, &c->endpoint);
    return rc ? rc : c->endpoint.failed;
}

static struct tally_sample sample_of(const struct exchange *x, const struct comparison *c)
{
    return (struct tally_sample){.untimed = !c->timed,
        .endpoint = str_of(c->endpoint.p, c->endpoint.n),
        .primary = &x->primary,
        .secondary = &c->secondary,
        .candidate = &c->candidate,
        .secondary_differs = c->secondary.outcome == REPLY_WHOLE ? &c->of_secondary : NULL,
        .candidate_differs = c->candidate.outcome == REPLY_WHOLE ? &c->of_candidate : NULL};
}

static void keep_examples(
    struct session *s, const struct exchange *x, const struct comparison *c, uint64_t sample)
{
    for (size_t i = 0; i < c->added.ndifferences; i++) {
        const struct tally_difference *t = &c->added.differences[i];
        const struct difference *any = t->of_secondary ? t->of_secondary : t->of_candidate;
        struct example_field f = {str_of(c->endpoint.p, c->endpoint.n), any->path, any->kind};
        struct example e = {.sample = sample,
            .candidate_only = t->candidate && !t->secondary,
            .primary = any->a,
            .secondary = t->of_secondary ? t->of_secondary->b : any->a,
            .candidate = t->of_candidate ? t->of_candidate->b : any->a};
        memcpy(e.trace, x->trace_id, TRACE_BYTES);
        examples_add(s->examples, &f, &e);
    }
}

static void write_sample(struct session *s, const struct exchange *x, const struct comparison *c,
    const struct mirror_result *r, uint64_t sample)
{
    struct tally_sample t = sample_of(x, c);
    struct session_types types = session_types(s, x->grpc, x->path);
    struct err e = {0};
    struct journal_sample j = {.sample = sample,
        .time_unix_us = x->time_unix_us,
        .endpoint = t.endpoint,
        .exchange = x,
        .secondary = t.secondary,
        .candidate = t.candidate,
        .secondary_trace = r->secondary.trace_id,
        .candidate_trace = r->candidate.trace_id,
        .candidate_first = r->candidate_first,
        .added = &c->added,
        .redact = s->redact,
        .request_type = types.request,
        .reply_type = types.reply};
    if (journal_sample(s->journal, &j, &e) != 0) {
        session_journal_fault(s, &e);
        shadow_drops_add(s->drops, "journal", 1);
    } else if (s->recorded && c->added.ndifferences) {
        recorder_sample(s->recorded, sample);
    }
}

static void count(struct session *s, struct exchange *x, struct comparison *c,
    const struct mirror_result *r, uint64_t sample)
{
    struct tally_sample t = sample_of(x, c);
    if (tally_add(s->tally, &t, &c->added) != 0) {
        session_drop(s, "memory", 1, sample);
        return;
    }
    counter_inc(&s->host->stats[STAT_SHADOW_SAMPLES]);
    if (session_types(s, x->grpc, x->path).untyped) {
        counter_inc(&s->host->stats[STAT_SHADOW_UNTYPED]);
        session_untyped(s, x->path);
    }
    write_sample(s, x, c, r, sample);
    keep_examples(s, x, c, sample);
    histogram_observe(s->latency[ROLE_PRIMARY], x->primary.latency_us);
    histogram_observe(s->latency[ROLE_SECONDARY], c->secondary.latency_us);
    histogram_observe(s->latency[ROLE_CANDIDATE], c->candidate.latency_us);
    session_decide(s);
}

static void on_sample(struct session *s, struct exchange *x, const struct mirror_result *r,
    uint64_t sample, bool timed)
{
    struct comparison c = {
        .secondary = reply_of(&r->secondary), .candidate = reply_of(&r->candidate), .timed = timed};
    if (compare(s, x, &c) != 0)
        session_drop(s, "memory", 1, sample);
    else
        count(s, x, &c, r, sample);
    comparison_release(&c);
}

/* ---- the way there and back ---- */

/* Whether its latency counts. Of samples that are on their way together that of the first: a pause
 * of one process holds all of them up, and would count once for each. */
static bool flight_end(struct flight *f)
{
    struct session *s = f->session;
    bool timed = s->timed == f;
    if (timed)
        s->timed = NULL;
    list_remove(&f->link);
    s->in_flight--;
    mem_free(f);
    return timed;
}

static void on_mirrored(void *arg, struct exchange *x, const struct mirror_result *r)
{
    struct flight *f = arg;
    assert(f->magic == FLIGHT_MAGIC);
    struct session *s = f->session;
    if (f->dead || r->dropped) {
        struct flight was = *f;
        flight_end(f);
        if (!was.dead)
            session_drop(s, r->dropped, 1, was.sample);
        return;
    }
    struct canary_attempt a = {
        x->trace_id, r->secondary.trace_id, x->service, x->client.n > 0, s->host->hop_wait_ms};
    canary_answered(s->canary, &a, s->host->ms(s->host->arg));
    if (f->canary) {
        flight_end(f);
        session_context(s);
        return;
    }
    canary_claim(s->canary, r->candidate.trace_id);
    session_context(s); /* where it ends, this sample is given up with those on their way */
    struct flight was = *f;
    bool timed = flight_end(f);
    if (!was.dead)
        on_sample(s, x, r, was.sample, timed);
}

/* NULL: it may be sent. */
static const char *why_not(const struct session *s, const struct exchange *x)
{
    const struct snapshot *g = s->host->snapshot(s->host->arg);
    bool safe = spec_is_safe(g, x->service, x->method);
    if (!str_eq(x->environment, str_c(s->spec.baseline)))
        return "context";
    if (x->refusal.n)
        return "refused";
    if (!safe && (!s->spec.secondary || s->state == SESSION_CANARY))
        return "method";
    return s->state == SESSION_CANARY && s->in_flight ? "canary" : NULL;
}

static struct flight *flight_new(struct session *s)
{
    struct flight *f = mem_zalloc(sizeof *f);
    if (!f)
        return NULL;
    f->magic = FLIGHT_MAGIC;
    f->session = s;
    f->canary = s->state == SESSION_CANARY;
    f->sample = f->canary ? 0 : s->next_sample++;
    list_append(&s->flights, &f->link);
    s->in_flight++;
    if (!s->timed && !f->canary)
        s->timed = f;
    return f;
}

static void send_it(struct session *s, struct exchange *x)
{
    const struct session_spec *p = &s->spec;
    struct mirror_roles roles = {.secondary_env = str_c(p->secondary ? p->secondary : p->baseline),
        .candidate_env = str_c(p->candidate),
        .forward_credentials = p->forward_credentials,
        .only_secondary = s->state == SESSION_CANARY,
        .set = p->headers,
        .nset = p->nheaders};
    struct err e = {0};
    struct flight *f = flight_new(s);
    if (!f) {
        session_drop(s, "memory", 1, 0);
        return;
    }
    const char *why = s->host->send(s->host->arg, p->through, x, &roles, on_mirrored, f);
    if (why) {
        flight_end(f);
        session_drop(s, why, 1, 0);
    } else if (!f->canary && journal_begun(s->journal, f->sample, &e) != 0) {
        session_journal_fault(s, &e);
    }
}

void session_exchange(struct session *s, struct exchange *x)
{
    bool ours = false;
    for (unsigned i = 0; i < x->nsessions; i++)
        ours = ours || x->sessions[i] == s->id;
    if (!ours || s->state == SESSION_ENDED)
        return;
    const char *why = why_not(s, x);
    if (why)
        session_drop(s, why, 1, 0);
    else
        send_it(s, x);
}

void session_hop(struct session *s, const struct hop *h)
{
    if (s->state == SESSION_ENDED)
        return;
    uint64_t hash = XXH3_64bits_withSeed(h->trace_id, TRACE_BYTES, session_seed(s));
    canary_hop(s->canary, h, hash % SPEC_PPM < s->spec.rate_ppm);
    if (h->kind == HOP_OF_LOST)
        session_context(s);
}

void session_dropped(struct session *s, const char *reason, uint64_t n)
{
    if (s->state != SESSION_ENDED)
        session_drop(s, reason, n, 0);
}
