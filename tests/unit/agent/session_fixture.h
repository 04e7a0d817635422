/* A session over a small graph in a folder of its own, with a mirror that the test plays. */
#ifndef OFFSHOOT_TESTS_UNIT_SESSION_FIXTURE_H
#define OFFSHOOT_TESTS_UNIT_SESSION_FIXTURE_H

#include "agent/session.h"
#include "lib/base/log.h"
#include "tests/unit/agent/agent.h"
#include <stdio.h>

#define SENT_MAX 64

struct sent { /* and not answered */
    struct exchange *x;
    mirror_fn *fn;
    void *arg;
    bool only_secondary;
    char secondary[64], candidate[64];
};

static struct {
    struct core *core;
    struct session_host host;
    counter_cell stats[STAT_COUNT];
    char journals[80];
    struct sent sent[SENT_MAX];
    unsigned nsent;
    unsigned changes;
    const char *refuse; /* what send says */
    uint64_t ms;
    unsigned char traces;
} play;

static const struct snapshot *play_snapshot(void *arg)
{
    (void)arg;
    return core_active(play.core);
}

static uint64_t play_ms(void *arg)
{
    (void)arg;
    return play.ms;
}

static void play_changed(void *arg)
{
    (void)arg;
    play.changes++;
}

static const char *play_send(void *arg, const char *through, struct exchange *x,
    const struct mirror_roles *roles, mirror_fn *fn, void *fn_arg)
{
    (void)arg;
    (void)through;
    if (play.refuse || play.nsent == SENT_MAX)
        return play.refuse;
    struct sent *s = &play.sent[play.nsent++];
    *s = (struct sent){.x = x, .fn = fn, .arg = fn_arg, .only_secondary = roles->only_secondary};
    snprintf(s->secondary, sizeof s->secondary, "%.*s", STR_ARG(roles->secondary_env));
    snprintf(s->candidate, sizeof s->candidate, "%.*s", STR_ARG(roles->candidate_env));
    return NULL;
}

static inline int play_begin(void **state)
{
    const char *paths[1];
    struct err e = {0};
    log_set_level(LOG_LEVEL_ERROR);
    memset(&play, 0, sizeof play);
    if (make_dir(state) != 0)
        return -1;
    write_text("graph.yaml", SHOP TEAM);
    struct core_options o = core_options_of(paths);
    play.core = core_new(&o, &e);
    if (!play.core || core_reload(play.core, "test", &e) != 0)
        return -1;
    snprintf(play.journals, sizeof play.journals, "%s/shadow", dir);
    play.host = (struct session_host){.send = play_send,
        .hop_wait_ms = 1000,
        .snapshot = play_snapshot,
        .changed = play_changed,
        .now = test_now,
        .ms = play_ms,
        .journal = {.dir = play.journals, .messages = true},
        .stats = play.stats};
    return 0;
}

static inline int play_end(void **state)
{
    core_free(play.core);
    return remove_dir(state);
}

struct params { /* "name=value" */
    const char *const *item;
    size_t n;
};

static const char *play_param(void *arg, const char *name, size_t i)
{
    const struct params *p = arg;
    size_t length = strlen(name);
    for (size_t k = 0; k < p->n; k++)
        if (strncmp(p->item[k], name, length) == 0 && p->item[k][length] == '=' && i-- == 0)
            return p->item[k] + length + 1;
    return NULL;
}

static inline int parse(struct session_spec *ret, struct err *e, const char *const *item, size_t n)
{
    struct params p = {item, n};
    return spec_parse(ret, play_param, &p, e);
}

#define BASE "name=s", "baseline=main", "candidate=team"
/* More parameters follow. */
#define START(...)                                                                                 \
    play_start((const char *const[]){BASE, __VA_ARGS__},                                           \
        sizeof((const char *const[]){BASE, __VA_ARGS__}) / sizeof(const char *))

static inline struct session *play_start(const char *const *item, size_t n)
{
    struct session_spec spec;
    struct err e = {0};
    if (parse(&spec, &e, item, n) != 0)
        fail_msg("%s", e.text);
    struct session *s = session_start(&play.host, &spec, "start: test", &e);
    if (!s)
        fail_msg("%s", e.text);
    return s;
}

static struct exchange play_exchange; /* of a user, in a trace of its own */
static struct reply_field play_json = {{"content-type", 12}, {"application/json", 16}};

static inline void asked(struct session *s, const char *method, const char *body)
{
    struct exchange *x = &play_exchange;
    *x = (struct exchange){.refs = 1,
        .sessions = {session_id(s)},
        .nsessions = 1,
        .method = str_c(method),
        .authority = STR("shop"),
        .path = STR("/items/7"),
        .environment = STR("main"),
        .service = STR("cart"),
        .client = STR("10.0.0.1"),
        .primary = {.status = 200,
            .fields = &play_json,
            .nfields = 1,
            .body = str_c(body),
            .latency_us = 1000}};
    memset(x->trace_id, ++play.traces, TRACE_BYTES);
    session_exchange(s, x);
}

static inline struct mirrored role(const char *body, unsigned char trace)
{
    struct mirrored m = {.reply = play_exchange.primary};
    m.reply.body = str_c(body);
    memset(m.trace_id, trace, TRACE_BYTES);
    return m;
}

static inline void replied(const char *secondary, const char *candidate, const char *dropped)
{
    struct sent s = play.sent[0];
    memmove(play.sent, play.sent + 1, --play.nsent * sizeof *play.sent);
    struct mirror_result r = {.dropped = dropped,
        .secondary = role(secondary, (unsigned char)(play.traces + 100)),
        .candidate = role(candidate, (unsigned char)(play.traces + 200))};
    s.fn(s.arg, s.x, &r);
}

static inline void prove(struct session *s)
{
    for (unsigned i = 0; i < CANARY_PROOF; i++) {
        asked(s, "GET", "{}");
        assert_int_equal(play.nsent, 1);
        assert_true(play.sent[0].only_secondary);
        replied("{}", "{}", NULL);
    }
    play.ms += play.host.hop_wait_ms;
    session_tick(s);
    assert_int_equal(session_state(s), SESSION_RUNNING);
}

static inline void shows(const struct session *s, const char *want)
{
    struct text t = {0};
    session_show(s, true, 50, &t);
    assert_int_equal(t.failed, 0);
    if (!strstr(t.p, want))
        fail_msg("'%s' is not in %s", want, t.p);
    text_release(&t);
}

#endif
