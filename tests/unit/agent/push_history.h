/* The history that push asks, in memory: epochs whose graphs differ by one address. */
#ifndef OFFSHOOT_TESTS_AGENT_PUSH_HISTORY_H
#define OFFSHOOT_TESTS_AGENT_PUSH_HISTORY_H

#include "agent/history.h"
#include "tests/unit/graph/graph_text.h"
#include <errno.h>

#define EPOCHS_MAX 64

struct history {
    unsigned char id[HISTORY_ID];
    struct epoch_info infos[EPOCHS_MAX];
    struct snapshot *snapshots[EPOCHS_MAX];
    size_t n;
};

const unsigned char *history_id(const struct history *h)
{
    return h->id;
}
size_t history_count(const struct history *h)
{
    return h->n;
}
const struct epoch_info *history_at(const struct history *h, size_t i)
{
    return &h->infos[i];
}
struct snapshot *history_newest(const struct history *h)
{
    return h->n ? h->snapshots[h->n - 1] : NULL;
}
struct snapshot *history_snapshot(struct history *h, uint64_t epoch, struct err *e)
{
    for (size_t i = 0; i < h->n; i++) {
        if (h->infos[i].epoch == epoch) {
            snapshot_ref(h->snapshots[i]);
            return h->snapshots[i];
        }
    }
    err_set(e, -ENOENT, "not kept");
    return NULL;
}

static inline const unsigned char *digest_of(const struct history *h, uint64_t epoch)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->infos[i].epoch == epoch)
            return snapshot_digest(h->snapshots[i]);
    fail_msg("no epoch %llu", (unsigned long long)epoch);
    return NULL;
}

/* A graph that differs from epoch to epoch. */
static inline struct snapshot *history_add(struct history *h)
{
    static const char graph[] = "apiVersion: offshoot.dev/v1\n"
                                "kind: Service\nmetadata: {name: shop}\n---\n"
                                "apiVersion: offshoot.dev/v1\n"
                                "kind: Environment\nmetadata: {name: main}\n"
                                "spec: {mode: baseline, providers: {shop: {endpoints: "
                                "[\"10.0.0.1:%u\"]}}}\n";
    char text[sizeof graph + 16];
    uint64_t epoch = h->n + 1;
    snprintf(text, sizeof text, graph, 1000 + (unsigned)epoch);
    assert_true(h->n < EPOCHS_MAX);
    h->snapshots[h->n] = graph_on(history_newest(h), text, epoch, NULL);
    h->infos[h->n++] = (struct epoch_info){.epoch = epoch, .who = "", .why = "", .what = ""};
    return history_newest(h);
}

#endif
