/* Journals in a folder of their own, and samples to write into them, for the tests of
 * agent/journal.h. */
#ifndef OFFSHOOT_TESTS_UNIT_AGENT_JOURNAL_H
#define OFFSHOOT_TESTS_UNIT_AGENT_JOURNAL_H

#include "tests/unit/agent/agent.h"

#include "agent/journal_int.h"
#include "lib/compare/redact.h"
#include "proto/offshoot/v1/journal.pb-c.h"

#define NAME "cart-check"

/* A journal with the sums that belong to it. */
struct opened {
    struct journal *j;
    struct tally *tally;
    struct shadow_drops drops;
};

static struct journal_options journal_options; /* the next opening's; dir is set by it */

static inline int open_it(struct opened *o, struct err *e)
{
    journal_options.dir = dir;
    *o = (struct opened){.tally = tally_new(0.01)};
    assert_non_null(o->tally);
    o->j = journal_open(&journal_options, NAME, o->tally, &o->drops, e);
    return o->j ? 0 : -1;
}

static inline void open_journal(struct opened *o)
{
    struct err e = {0};
    if (open_it(o, &e))
        fail_msg("%s", e.text);
}

static inline void close_journal(struct opened *o)
{
    journal_close(o->j);
    tally_free(o->tally);
    *o = (struct opened){0};
}

static inline void begin_session(struct opened *o, uint32_t run)
{
    struct err e = {0};
    struct journal_session s = {.name = NAME,
        .spec_json = "{\"rate\": 100}",
        .why = run == 1 ? "start" : "restart: again",
        .id = 77,
        .started_unix = 1790000000,
        .decisions = {1, 2, 3},
        .run = run};
    if (run > 1) {
        tally_free(o->tally);
        s.tally = o->tally = tally_new(0.01);
        s.drops = &o->drops;
        o->drops = (struct shadow_drops){0};
    }
    if (journal_session(o->j, &s, &e))
        fail_msg("%s", e.text);
}

/* ---- samples ---- */

#define FIELDS(...)                                                                                \
    .fields = (const struct reply_field[]){__VA_ARGS__},                                           \
    .nfields = sizeof((const struct reply_field[]){__VA_ARGS__}) / sizeof(struct reply_field)
#define FIELD(a, b)                                                                                \
    {                                                                                              \
        STR(a), STR(b)                                                                             \
    }

static inline struct exchange plain_exchange(void)
{
    return (struct exchange){.method = STR("GET"),
        .authority = STR("cart.local"),
        .path = STR("/items?q=1"),
        .environment = STR("main"),
        .service = STR("cart"),
        .trace_id = {1},
        .primary = {.status = 200, .body = STR("{\"a\":1}"), .latency_us = 900}};
}

/* What differs in sample number n: every third one in the candidate alone, every fourth in the
 * secondary alone, every twelfth in both. */
struct made {
    struct exchange x;
    struct reply secondary, candidate;
    struct difference d[2];
    struct differences in_secondary, in_candidate;
    struct tally_sample sample;
    struct tally_added added;
};

static inline void make_sample(struct made *m, uint64_t n)
{
    static const char *const paths[] = {"body.price", "body.items[].id", "header.etag"};
    struct difference d = {.path = str_c(paths[n % 3]),
        .kind = (enum diff_kind)(n % 2 ? DIFF_VALUE : DIFF_MISSING),
        .shape = true,
        .a = STR("1"),
        .b = n % 2 ? STR("2") : STR("")};
    *m = (struct made){.x = plain_exchange()};
    m->secondary = m->candidate = m->x.primary;
    m->secondary.latency_us = 1000 + n % 7;
    m->candidate.latency_us = 1000 + n % 5 * 100;
    m->d[0] = m->d[1] = d;
    m->in_secondary = (struct differences){m->d, n % 4 == 0, false, NULL};
    m->in_candidate = (struct differences){m->d + 1, n % 3 == 0, false, NULL};
    m->sample =
        (struct tally_sample){.endpoint = n % 5 ? STR("cart GET /items") : STR("cart GET /"),
            .primary = &m->x.primary,
            .secondary = &m->secondary,
            .candidate = &m->candidate,
            .secondary_differs = &m->in_secondary,
            .candidate_differs = &m->in_candidate};
}

static inline int write_made(
    struct journal *j, struct made *m, uint64_t n, const struct redact *r, struct err *e)
{
    struct journal_sample s = {.sample = n,
        .time_unix_us = 1790000000000000 + (int64_t)n,
        .endpoint = m->sample.endpoint,
        .exchange = &m->x,
        .secondary = &m->secondary,
        .candidate = &m->candidate,
        .secondary_trace = (const unsigned char *)"secondary-trace!",
        .candidate_trace = (const unsigned char *)"candidate-trace!",
        .candidate_first = n % 2,
        .added = &m->added,
        .redact = r};
    return journal_sample(j, &s, e);
}

/* Counts it in memory and writes it, as a session does. */
static inline int add_sample(struct opened *o, uint64_t n, struct err *e)
{
    struct made m;
    make_sample(&m, n);
    assert_int_equal(tally_add(o->tally, &m.sample, &m.added), 0);
    int rc = write_made(o->j, &m, n, NULL, e);
    mem_free(m.added.differences);
    return rc;
}

static inline int whole_sample(struct opened *o, uint64_t n, struct err *e)
{
    int rc = journal_begun(o->j, n, e);
    return rc ? rc : add_sample(o, n, e);
}

static inline void add_samples(struct opened *o, uint64_t from, uint64_t to)
{
    struct err e = {0};
    for (uint64_t n = from; n <= to; n++)
        if (whole_sample(o, n, &e))
            fail_msg("%s", e.text);
}

static inline uint64_t dropped(const struct shadow_drops *d, const char *reason)
{
    for (unsigned i = 0; i < d->n; i++)
        if (strcmp(d->reason[i], reason) == 0)
            return d->count[i];
    return 0;
}

static inline char *journal_path(const char *suffix)
{
    static char path[40];
    snprintf(path, sizeof(path), NAME "/journal%s", suffix);
    return path;
}

#endif
