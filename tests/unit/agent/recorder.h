/* A recorder that writes to Redis from a real journal, and a recount of that journal to compare
 * with. */
#ifndef OFFSHOOT_TESTS_UNIT_AGENT_RECORDER_H
#define OFFSHOOT_TESTS_UNIT_AGENT_RECORDER_H

#include "tests/unit/agent/journal_sums.h"
#include "tests/unit/agent/redis.h"

#include "agent/recorder_int.h"

struct writer {
    struct opened o;
    struct recorder *r;
    struct recorded *s;
    uint64_t next;
    unsigned others;
    char dir[80];
};

static struct recorder_options recorder_options; /* the next one's; base, url are set */

static inline void on_others_came(void *arg)
{
    ((struct writer *)arg)->others++;
}

static inline void writer_open(struct writer *w, const char *agent, const char *url)
{
    struct err e = {0};
    *w = (struct writer){.next = 1};
    snprintf(w->dir, sizeof(w->dir), "%s/%s", dir, agent);
    journal_options.dir = w->dir;
    w->o = (struct opened){.tally = tally_new(0.01)};
    w->o.j = journal_open(&journal_options, NAME, w->o.tally, &w->o.drops, &e);
    if (!w->o.j)
        fail_msg("%s", e.text);
    if (!journal_state(w->o.j)->found)
        begin_session(&w->o, 1);
    w->next = journal_state(w->o.j)->next_sample;
    recorder_options.base = base;
    recorder_options.url = url;
    recorder_options.agent = agent;
    recorder_options.journal_dir = w->dir;
    recorder_options.every_ms = 50;
    w->r = recorder_new(&recorder_options, &e);
    if (!w->r)
        fail_msg("%s", e.text);
    w->s = recorder_session(w->r, NAME, w->o.tally, &w->o.drops, on_others_came, w);
    assert_non_null(w->s);
}

static inline void writer_close(struct writer *w)
{
    recorder_free(w->r);
    close_journal(&w->o);
}

static inline bool made_differs(uint64_t n)
{
    return n % 3 == 0 && n % 12 != 0; /* the candidate alone, see make_sample */
}

/* So many samples more, as a session has them. */
static inline void write_samples(struct writer *w, unsigned n)
{
    struct err e = {0};
    for (; n; n--, w->next++) {
        if (whole_sample(&w->o, w->next, &e))
            fail_msg("%s", e.text);
        if (made_differs(w->next))
            recorder_sample(w->s, w->next);
    }
}

/* ---- what is in Redis, against the journal ---- */

/* A field of the sums; -1: not there. */
static inline long long sum(struct server *s, const char *agent, const char *field)
{
    redisReply *r = ask(s, "HGET offshoot:{" NAME "}:sums %s|%s", agent, field);
    long long n = r->type == REDIS_REPLY_STRING ? strtoll(r->str, NULL, 10) : -1;
    freeReplyObject(r);
    return n;
}

static inline bool same_count(struct server *s, const struct writer *w, const struct tally_field *f)
{
    char want[128], name[512];
    snprintf(want, sizeof(want), "%llu %llu %llu %llu %d", (unsigned long long)f->count.pairs,
        (unsigned long long)f->count.candidate_only, (unsigned long long)f->count.secondary_only,
        (unsigned long long)f->count.both, f->shape);
    snprintf(name, sizeof(name), "%s|f|%.*s|%.*s|%s", w->r->agent, STR_ARG(f->endpoint),
        STR_ARG(f->path), diff_kind_word(f->kind));
    redisReply *r = ask(s, "HGET offshoot:{" NAME "}:sums %s", name);
    bool same = r->type == REDIS_REPLY_STRING && strcmp(r->str, want) == 0;
    freeReplyObject(r);
    return same;
}

static inline bool same_sums(struct server *s, const struct writer *w)
{
    struct tally *t = counted(1, w->next - 1);
    bool same = sum(s, w->r->agent, "samples") == (long long)(w->next - 1);
    for (unsigned h = 0; h < HEADLINE_COUNT && same; h++) {
        char field[64];
        struct tally_count c = tally_headline(t, (enum headline)h);
        snprintf(field, sizeof(field), "h|%s|b", headline_word((enum headline)h));
        same = sum(s, w->r->agent, field) == (long long)c.candidate_only;
        snprintf(field, sizeof(field), "h|%s|n", headline_word((enum headline)h));
        same = same && sum(s, w->r->agent, field) == (long long)c.pairs;
    }
    for (size_t i = 0; i < tally_fields(t) && same; i++) {
        struct tally_field f = tally_field(t, i);
        same = same_count(s, w, &f);
    }
    tally_free(t);
    return same;
}

/* Numbers of an agent's samples in the stream, each once, in order, none missing. */
static inline bool same_stream(struct server *s, const struct writer *w)
{
    redisReply *r = ask(s, "XRANGE offshoot:{" NAME "}:samples - +");
    uint64_t n = 1;
    bool same = r->type == REDIS_REPLY_ARRAY;
    for (size_t i = 0; same && i < r->elements; i++) {
        const redisReply *fields = r->element[i]->element[1];
        if (strcmp(fields->element[1]->str, w->r->agent) != 0)
            continue;
        while (!made_differs(n))
            n++;
        same = strcmp(fields->element[4]->str, "sample") == 0 &&
               strtoull(fields->element[5]->str, NULL, 10) == n;
        n++;
    }
    while (same && n < w->next && !made_differs(n))
        n++;
    freeReplyObject(r);
    return same && n == w->next;
}

struct awaited {
    struct server *s;
    struct writer *w;
    const char *state;
};

static inline bool not_level(void *arg)
{
    struct awaited *a = arg;
    struct recorder_status st;
    recorder_status(a->w->r, &st);
    return strcmp(st.state, "up") != 0 || st.behind || !same_sums(a->s, a->w) ||
           !same_stream(a->s, a->w);
}

/* Everything that the journal has is in Redis, once. */
static inline void assert_level(struct server *s, struct writer *w)
{
    struct awaited a = {s, w, NULL};
    struct recorder_status st;
    if (run_while(not_level, &a))
        return;
    recorder_status(w->r, &st);
    fail_msg("state %s (%s), behind %llu, sums %d, stream %d", st.state, st.why,
        (unsigned long long)st.behind, same_sums(s, w), same_stream(s, w));
}

static inline bool not_in_state(void *arg)
{
    struct awaited *a = arg;
    struct recorder_status st;
    recorder_status(a->w->r, &st);
    return strcmp(st.state, a->state) != 0;
}

static inline struct recorder_status assert_state(struct writer *w, const char *state)
{
    struct awaited a = {NULL, w, state};
    struct recorder_status st;
    bool so = run_while(not_in_state, &a);
    recorder_status(w->r, &st);
    if (!so)
        fail_msg("state is '%s' (%s), not '%s'", st.state, st.why, state);
    return st;
}

#endif
