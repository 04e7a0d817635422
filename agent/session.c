/* Life of a session: start, runs, end. */
#include "agent/session.h"
#include "agent/session_int.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <xxhash.h>

#define FAULT_LINE_MS 1000u /* from one line about the journal to the next one of a session */
#define ID_BITS       53    /* so that it is a number in every reader of JSON */

static const char *const state_words[] = {"canary", "running", "ended"};

const char *session_state_word(enum session_state s)
{
    return state_words[s];
}

/* ---- drops and faults ---- */

/* A line at most so often; those between are counted. True: the caller may say it. */
static bool may_say(struct session *s)
{
    uint64_t now = s->host->ms(s->host->arg);
    if (now < s->fault_next_ms)
        return false;
    s->fault_next_ms = now + FAULT_LINE_MS;
    return true;
}

void session_journal_fault(struct session *s, const struct err *e)
{
    counter_inc(&s->host->stats[STAT_SHADOW_JOURNAL_ERRORS]);
    if (!may_say(s)) {
        s->faults_unsaid++;
        return;
    }
    if (s->faults_unsaid)
        log_warn("session '%s': %s (left unsaid before it: %" PRIu64 ")", s->spec.name, e->text,
            s->faults_unsaid);
    else
        log_warn("session '%s': %s", s->spec.name, e->text);
    s->faults_unsaid = 0;
}

/* When no further fault tells of them. */
static void say_unsaid(struct session *s)
{
    if (s->faults_unsaid == 0 || !may_say(s))
        return;
    log_warn("session '%s': faults of its journal left unsaid: %" PRIu64, s->spec.name,
        s->faults_unsaid);
    s->faults_unsaid = 0;
}

void session_drop(struct session *s, const char *reason, uint64_t n, uint64_t sample)
{
    const char *word = journal_reason(str_c(reason));
    struct err e = {0};
    word = word ? word : "other";
    counter_add(&s->host->stats[STAT_SHADOW_DROPPED], n);
    shadow_drops_add(s->drops, word, n);
    if (s->journal && journal_dropped(s->journal, word, n, sample, &e) != 0)
        session_journal_fault(s, &e);
}

/* A session that has ended holds no descriptors. */
static void close_journal(struct session *s)
{
    s->journal_bytes = journal_bytes(s->journal);
    journal_close(s->journal);
    s->journal = NULL;
}

/* ---- making one ---- */

static int make_parts(struct session *s, struct err *e)
{
    struct redact_options r = {
        .names = s->spec.redact.item, .nnames = s->spec.redact.n, .off = s->spec.redact_off};
    s->ignore = ignore_new(s->spec.ignore.item, s->spec.ignore.n, e);
    if (!s->ignore)
        return e->code == -ENOMEM ? -ENOMEM : err_prefix(e, "ignore");
    if (RAND_bytes(r.key, sizeof r.key) != 1)
        return err_set(e, -EIO, "no random bytes");
    s->redact = redact_new(&r, e);
    if (!s->redact)
        return e->code == -ENOMEM ? -ENOMEM : err_prefix(e, "redact");
    s->canary = canary_new();
    s->examples = examples_new();
    return s->canary && s->examples ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int make_sums(struct session *s, double epsilon, struct err *e)
{
    s->tally = tally_new(epsilon);
    s->drops = mem_zalloc(sizeof *s->drops);
    return s->tally && s->drops ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static struct session *session_new(const struct session_host *h)
{
    struct session *s = mem_zalloc(sizeof *s);
    if (!s)
        return NULL;
    s->magic = SESSION_MAGIC;
    s->host = h;
    s->recorded_verdict = VERDICT_INCONCLUSIVE;
    list_init(&s->flights);
    return s;
}

static void on_others(void *arg)
{
    struct session *s = arg;
    assert(s->magic == SESSION_MAGIC);
    session_decide(s);
}

static void record_on(struct session *s)
{
    if (!s->host->recorder)
        return;
    s->recorded =
        recorder_session(s->host->recorder, s->spec.name, s->tally, s->drops, on_others, s);
    if (s->recorded)
        recorder_run(s->recorded, s->run, s->decisions);
    if (s->recorded && s->state == SESSION_ENDED)
        recorder_verdict(s->recorded, s->end_verdict, s->end_why, tally_samples(s->tally));
}

static void record_off(struct session *s)
{
    if (s->recorded)
        recorder_forget(s->recorded);
    s->recorded = NULL;
}

/* The spec, what it resolves to, and that a run begins: with sums of 0. */
static int write_run(struct session *s, const char *why, struct tally *tally,
    struct shadow_drops *drops, struct err *e)
{
    struct text spec = {0};
    spec_json(&s->spec, &spec);
    struct journal_session j = {.name = s->spec.name,
        .spec_json = spec.p,
        .why = why,
        .id = s->id,
        .started_unix = s->started,
        .run = s->run,
        .tally = tally,
        .drops = drops};
    memcpy(j.decisions, s->decisions, sizeof j.decisions);
    int rc =
        spec.failed ? err_set(e, spec.failed, "out of memory") : journal_session(s->journal, &j, e);
    text_release(&spec);
    return rc;
}

static int random_id(uint64_t *ret)
{
    do {
        if (RAND_bytes((unsigned char *)ret, sizeof *ret) != 1)
            return -EIO;
        *ret >>= 64 - ID_BITS;
    } while (*ret == 0);
    return 0;
}

static int start(struct session *s, const char *why, struct err *e)
{
    const struct session_host *h = s->host;
    if (random_id(&s->id) != 0)
        return err_set(e, -EIO, "no random bytes");
    s->run = 1;
    s->next_sample = 1;
    s->started = h->now(h->arg);
    if (spec_decisions(&s->spec, h->snapshot(h->arg), s->started, s->decisions) != 0)
        return err_set(e, -ENOMEM, "out of memory");
    struct str set = s->spec.descriptors;
    int rc = session_descriptors_take(s, e);
    rc = rc ? rc : make_parts(s, e);
    rc = rc ? rc : make_sums(s, s->spec.epsilon, e);
    if (rc != 0)
        return rc;
    s->journal = journal_open(&h->journal, s->spec.name, s->tally, s->drops, e);
    if (!s->journal)
        return e->code;
    if (journal_state(s->journal)->found)
        return err_set(e, -EEXIST, "there is a journal of a session '%s'", s->spec.name);
    rc = session_descriptors_keep(s, set, e);
    return rc ? rc : write_run(s, why, NULL, NULL, e);
}

struct session *session_start(
    const struct session_host *h, struct session_spec *spec, const char *why, struct err *e)
{
    struct session *s = session_new(h);
    if (!s) {
        spec_release(spec);
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    s->spec = *spec;
    *spec = (struct session_spec){0};
    if (start(s, why, e) != 0) {
        session_free(s);
        return NULL;
    }
    record_on(s);
    log_info("session '%s': '%s' is compared with '%s' (%s)", s->spec.name, s->spec.candidate,
        s->spec.baseline, why);
    return s;
}

/* ---- again, from its journal ---- */

static void take_state(struct session *s, const struct journal_state *j)
{
    s->id = j->id;
    s->run = j->run;
    s->started = j->started_unix;
    s->next_sample = j->next_sample ? j->next_sample : 1;
    memcpy(s->decisions, j->decisions, sizeof s->decisions);
    if (!j->ended)
        return;
    s->state = SESSION_ENDED;
    s->ended = j->ended_unix;
    snprintf(s->end_verdict, sizeof s->end_verdict, "%s", j->end_verdict);
    snprintf(s->end_why, sizeof s->end_why, "%s", j->end_why);
}

static int take_spec(
    struct session *s, const char *name, const struct journal_state *j, struct err *e)
{
    int rc = j->found && j->spec_json
                 ? spec_from_json(&s->spec, name, j->spec_json, e)
                 : err_set(e, -EINVAL, "session '%s': its journal holds no session", name);
    if (rc == 0)
        tally_set_epsilon(s->tally, s->spec.epsilon);
    return rc;
}

/* lost: descriptors that cannot be read any more. */
static int resume(struct session *s, const char *name, struct err *lost, struct err *e)
{
    if (make_sums(s, SPEC_EPSILON, e) != 0)
        return -ENOMEM;
    s->journal = journal_open(&s->host->journal, name, s->tally, s->drops, e);
    if (!s->journal)
        return e->code;
    int rc = take_spec(s, name, journal_state(s->journal), e);
    rc = rc ? rc : make_parts(s, e);
    if (rc != 0)
        return rc;
    take_state(s, journal_state(s->journal));
    session_descriptors_read(s, lost);
    session_recall(s);
    if (s->state == SESSION_ENDED) {
        close_journal(s);
        session_descriptors_drop(s);
    }
    return 0;
}

struct session *session_resume(const struct session_host *h, const char *name, struct err *e)
{
    struct session *s = session_new(h);
    struct err lost = {0};
    if (!s) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    if (resume(s, name, &lost, e) != 0) {
        session_free(s);
        return NULL;
    }
    record_on(s);
    if (s->state == SESSION_ENDED)
        return s;
    log_info("session '%s' goes on: run %" PRIu32 ", %" PRIu64 " samples", name, s->run,
        tally_samples(s->tally));
    if (s->spec.headers_lost)
        session_end(s, "headers: the agent was restarted, and their values are kept nowhere");
    else if (lost.code != 0)
        session_end(s, lost.text); /* secrets would not be known by their names any more */
    else
        session_commit(s);
    return s;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    assert(s->magic == SESSION_MAGIC && list_empty(&s->flights));
    record_off(s);
    if (s->journal)
        journal_close(s->journal);
    tally_free(s->tally);
    mem_free(s->drops);
    ignore_free(s->ignore);
    redact_free(s->redact);
    session_descriptors_drop(s);
    canary_free(s->canary);
    examples_free(s->examples);
    spec_release(&s->spec);
    mem_free(s);
}

/* ---- runs ---- */

/* Samples on their way belong to the run that is over. */
static void give_up_flights(struct session *s)
{
    list_for_each (it, &s->flights) {
        struct flight *f = list_entry(it, struct flight, link);
        if (!f->dead)
            session_drop(s, "stopped", 1, f->canary ? 0 : f->sample);
        f->dead = true;
    }
    s->timed = NULL;
}

/* Opened again, with sums that the new run's take the place of at once. */
static int open_again(
    struct session *s, struct tally *tally, struct shadow_drops *drops, struct err *e)
{
    s->journal = journal_open(&s->host->journal, s->spec.name, tally, drops, e);
    return s->journal ? 0 : e->code;
}

/* What a run begins with; the sums of the one before go. */
static void take_run(struct session *s, struct tally *tally, struct shadow_drops *drops)
{
    tally_free(s->tally);
    mem_free(s->drops);
    s->tally = tally;
    s->drops = drops;
    s->state = SESSION_CANARY;
    s->recorded_verdict = VERDICT_INCONCLUSIVE;
    s->ended = 0;
    s->recorded_samples = 0;
    s->end_why[0] = s->end_verdict[0] = 0;
    canary_reset(s->canary);
    examples_clear(s->examples);
    memset(s->latency, 0, sizeof s->latency);
    s->untyped = (struct untyped){0};
}

/* The journal of a session that has ended is read once more, into sums that nobody keeps. */
static int write_new_run(struct session *s, const char *why, struct tally *tally,
    struct shadow_drops *drops, struct err *e)
{
    struct tally *scratch = NULL;
    struct shadow_drops scratch_drops = {0};
    bool closed = !s->journal;
    int rc = 0;
    if (closed) {
        scratch = tally_new(s->spec.epsilon);
        rc = scratch ? open_again(s, scratch, &scratch_drops, e)
                     : err_set(e, -ENOMEM, "out of memory");
    }
    s->run++;
    rc = rc ? rc : write_run(s, why, tally, drops, e);
    s->run -= rc != 0;
    if (rc != 0 && closed && s->journal)
        close_journal(s);
    tally_free(scratch);
    return rc;
}

static int new_run(struct session *s, const char *why, struct err *e)
{
    struct tally *tally = tally_new(s->spec.epsilon);
    struct shadow_drops *drops = mem_zalloc(sizeof *drops);
    int rc = tally && drops ? 0 : err_set(e, -ENOMEM, "out of memory");
    give_up_flights(s);
    record_off(s);
    rc = rc ? rc : write_new_run(s, why, tally, drops, e);
    if (rc == 0) {
        take_run(s, tally, drops);
        log_info("session '%s': run %" PRIu32 " begins: %s", s->spec.name, s->run, why);
    } else {
        tally_free(tally);
        mem_free(drops);
    }
    record_on(s);
    return rc;
}

int session_restart(struct session *s, const char *why, struct err *e)
{
    const struct session_host *h = s->host;
    const struct snapshot *g = h->snapshot(h->arg);
    int64_t now = h->now(h->arg), started = s->started;
    char text[SESSION_WHY];
    if (s->spec.headers_lost)
        return err_set(e, -EINVAL,
            "the values of its headers went with the agent that knew them: start a new session");
    int rc = spec_judge(&s->spec, g, now, e);
    rc = rc ? rc : session_descriptors_read(s, e);
    if (rc == 0 && spec_decisions(&s->spec, g, now, s->decisions) != 0)
        rc = err_set(e, -ENOMEM, "out of memory");
    if (rc != 0)
        return rc;
    snprintf(text, sizeof text, "restart%s%s", *why ? ": " : "", why);
    s->started = now;
    rc = new_run(s, text, e);
    if (rc != 0)
        s->started = started;
    else
        h->changed(h->arg);
    return rc;
}

void session_commit(struct session *s)
{
    const struct session_host *h = s->host;
    const struct snapshot *g = h->snapshot(h->arg);
    unsigned char now[SPEC_DECISIONS], before[SPEC_DECISIONS];
    char text[SESSION_WHY];
    struct err e = {0};
    if (s->state == SESSION_ENDED)
        return;
    if (spec_judge(&s->spec, g, h->now(h->arg), &e) != 0) {
        snprintf(text, sizeof text, "environment-gone: %.400s", e.text);
        session_end(s, text);
        return;
    }
    if (spec_decisions(&s->spec, g, h->now(h->arg), now) != 0 ||
        memcmp(now, s->decisions, sizeof now) == 0)
        return;
    memcpy(before, s->decisions, sizeof before);
    memcpy(s->decisions, now, sizeof now);
    snprintf(
        text, sizeof text, "decisions changed: epoch %llu", (unsigned long long)snapshot_epoch(g));
    if (new_run(s, text, &e) != 0) {
        memcpy(s->decisions, before, sizeof before);
        session_journal_fault(s, &e);
        session_end(s, "journal: a new run could not be written");
    }
}

/* ---- the end ---- */

void session_end(struct session *s, const char *why)
{
    struct err e = {0};
    if (s->state == SESSION_ENDED)
        return;
    give_up_flights(s);
    /* What was compared while a hop lost its context is no evidence. */
    bool void_ = str_starts(str_c(why), STR("context-lost"));
    enum verdict v = void_ ? VERDICT_INCONCLUSIVE : tally_decision(s->tally);
    s->state = SESSION_ENDED;
    s->ended = s->host->now(s->host->arg);
    snprintf(s->end_verdict, sizeof s->end_verdict, "%s", verdict_word(v));
    snprintf(s->end_why, sizeof s->end_why, "%s", why);
    if (journal_end(s->journal, s->end_verdict, s->end_why, s->ended, &e) != 0)
        session_journal_fault(s, &e);
    close_journal(s);
    session_descriptors_drop(s);
    if (s->recorded)
        recorder_verdict(s->recorded, s->end_verdict, s->end_why, tally_samples(s->tally));
    log_info("session '%s' ended: %s (%s) after %" PRIu64 " samples", s->spec.name, s->end_verdict,
        s->end_why, tally_samples(s->tally));
    s->host->changed(s->host->arg);
}

int session_stop(struct session *s, const char *why, struct err *e)
{
    char text[SESSION_WHY];
    if (s->state == SESSION_ENDED)
        return err_set(
            e, -EALREADY, "session '%s' has ended already: %s", s->spec.name, s->end_why);
    snprintf(text, sizeof text, "stopped%s%s", *why ? ": " : "", why);
    session_end(s, text);
    return 0;
}

void session_context(struct session *s)
{
    char text[SESSION_WHY];
    enum canary_state c = canary_judge(s->canary, s->host->ms(s->host->arg));
    if (s->state == SESSION_ENDED)
        return;
    if (c == CANARY_LOST) {
        counter_inc(&s->host->stats[STAT_SHADOW_CONTEXT_LOST]);
        snprintf(text, sizeof text, "context-lost: %s", canary_why(s->canary));
        session_end(s, text);
    } else if (c == CANARY_PROVED && s->state == SESSION_CANARY) {
        s->state = SESSION_RUNNING;
        log_info("session '%s': the context goes along, after %" PRIu64 " attempts", s->spec.name,
            canary_attempts(s->canary));
    }
}

/* The recorder is told when the verdict changes, and some times a second of the samples. */
static void record_verdict(struct session *s, enum verdict v)
{
    struct text why = {0};
    uint64_t n = tally_samples(s->tally);
    if (!s->recorded || (v == s->recorded_verdict && n == s->recorded_samples))
        return;
    session_why(s, &why);
    recorder_verdict(s->recorded, verdict_word(v), why.p ? why.p : "", n);
    text_release(&why);
    s->recorded_verdict = v;
    s->recorded_samples = n;
}

void session_decide(struct session *s)
{
    if (s->state == SESSION_ENDED)
        return;
    enum verdict v = tally_decision(s->tally);
    if (v != s->recorded_verdict)
        record_verdict(s, v);
    if (v != VERDICT_INCONCLUSIVE && s->spec.until == UNTIL_DECISION)
        session_end(s, "decision");
    else if (s->spec.samples && tally_samples(s->tally) >= s->spec.samples)
        session_end(s, "samples");
}

void session_tick(struct session *s)
{
    const struct session_host *h = s->host;
    struct err e = {0};
    char text[SESSION_WHY];
    if (s->state != SESSION_ENDED && journal_tick(s->journal, &e) != 0)
        session_journal_fault(s, &e);
    say_unsaid(s);
    if (s->state == SESSION_ENDED)
        return;
    record_verdict(s, tally_decision(s->tally));
    session_context(s);
    session_decide(s);
    examples_prune(s->examples, s->tally);
    int64_t now = h->now(h->arg);
    if (s->state == SESSION_ENDED)
        return;
    if (now >= s->started + (int64_t)s->spec.for_s) {
        session_end(s, "time");
    } else if (spec_alive(&s->spec, h->snapshot(h->arg), now, &e) != 0) {
        snprintf(text, sizeof text, "environment-gone: %.400s", e.text);
        session_end(s, text);
    }
}

/* ---- what others ask ---- */

const char *session_name(const struct session *s)
{
    return s->spec.name;
}

uint64_t session_id(const struct session *s)
{
    return s->id;
}

enum session_state session_state(const struct session *s)
{
    return s->state;
}

const struct session_spec *session_spec(const struct session *s)
{
    return &s->spec;
}

uint32_t session_in_flight(const struct session *s)
{
    return s->in_flight;
}

enum verdict session_verdict(const struct session *s)
{
    for (unsigned v = VERDICT_PASS; v <= VERDICT_INCONCLUSIVE && *s->end_verdict; v++)
        if (strcmp(s->end_verdict, verdict_word((enum verdict)v)) == 0)
            return (enum verdict)v;
    return tally_decision(s->tally);
}

uint64_t session_seed(const struct session *s)
{
    return XXH3_64bits_withSeed(&s->id, sizeof s->id, 0);
}
