/* A history in a folder of its own with a few epochs, for the tests of agent/history.h. */
#ifndef OFFSHOOT_TESTS_UNIT_AGENT_LOG_H
#define OFFSHOOT_TESTS_UNIT_AGENT_LOG_H

#include "tests/unit/agent/disk.h"
#include "tests/unit/graph/graph_text.h"

#include "agent/history.h"

static inline struct history_options options(void)
{
    return (struct history_options){.dir = dir};
}

static inline struct history *open_with(struct history_options o, struct history_recovery *r)
{
    struct err e = {0};
    struct history *h = history_open(&o, r, &e);
    if (!h)
        fail_msg("%s", e.text);
    return h;
}

static inline struct history *open_history(void)
{
    return open_with(options(), NULL);
}

/* Fails to open: the error. */
static inline struct err not_opened(struct history_options o)
{
    struct err e = {0};
    struct history *h = history_open(&o, NULL, &e);
    assert_null(h);
    return e;
}

/* The graph of an epoch: main, and e1 ... eN with N = epoch modulo 5. */
static inline struct snapshot *graph_for(const struct snapshot *base, uint64_t epoch)
{
    struct text t = {0};
    text_fmt(&t,
        SHOP "---\nkind: Environment\nmetadata: {name: only-%u}\nspec: {mode: overlay, parent: "
             "main}\n",
        (unsigned)epoch);
    for (unsigned i = 1; i <= epoch % 5; i++)
        text_fmt(&t,
            "---\nkind: Environment\nmetadata: {name: e%u}\nspec: {mode: overlay, parent: main, "
            "providers: {cart: {endpoints: ['10.0.0.%u:%u']}}}\n",
            i, i, (unsigned)epoch);
    struct snapshot *s = graph_on(base, t.p, epoch, NULL);
    text_release(&t);
    return s;
}

/* The next epoch; with a command document that it makes, and one that it takes away. */
static inline int append_next(struct history *h, struct err *e)
{
    uint64_t epoch = history_epoch(h) + 1;
    char name[32], gone[32], yaml[64];
    snprintf(name, sizeof(name), "doc-%u", (unsigned)epoch);
    snprintf(gone, sizeof(gone), "doc-%u", (unsigned)epoch - 3);
    snprintf(yaml, sizeof(yaml), "text of %u", (unsigned)epoch);
    struct own_document docs[] = {{name, str_c(yaml)}, {gone, {NULL, 0}}};
    struct epoch_info info = {.epoch = epoch,
        .time = the_time + (int64_t)epoch,
        .kind = (uint8_t)(epoch % CHANGE_KINDS),
        .held = epoch % 3 == 0,
        .who = "uid 7",
        .why = "because",
        .what = name,
        .changes = {.envs_added = (uint32_t)epoch}};
    struct snapshot *s = graph_for(history_newest(h), epoch);
    int r = history_append(h, s, &info, docs, 2, e);
    snapshot_unref(s);
    return r;
}

static inline void append_many(struct history *h, unsigned n)
{
    struct err e = {0};
    for (unsigned i = 0; i < n; i++)
        if (append_next(h, &e))
            fail_msg("%s", e.text);
}

/* What append_next made of epoch: content and documents. */
static inline void assert_is(struct history *h, uint64_t epoch)
{
    const struct own_document *docs;
    char name[32];
    assert_int_equal(history_epoch(h), epoch);
    if (epoch == 0) {
        assert_null(history_newest(h));
        assert_int_equal(history_documents(h, &docs), 0);
        return;
    }
    struct snapshot *want = graph_for(NULL, epoch);
    assert_memory_equal(snapshot_root(history_newest(h)), snapshot_root(want), 32);
    snapshot_unref(want);
    assert_int_equal(history_held(h), epoch % 3 == 0);
    size_t n = history_documents(h, &docs);
    assert_int_equal(n, epoch < 3 ? epoch : 3);
    bool found = false;
    snprintf(name, sizeof(name), "doc-%u", (unsigned)epoch);
    for (size_t i = 0; i < n; i++)
        found |= strcmp(docs[i].name, name) == 0 && str_starts(docs[i].yaml, STR("text of "));
    assert_true(found);
}

#endif
