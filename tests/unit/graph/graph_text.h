/* Graphs written as YAML text, for tests: text to model to snapshot, failing the test with the
 * findings when the text is no valid graph. */
#ifndef OFFSHOOT_TESTS_UNIT_GRAPH_TEXT_H
#define OFFSHOOT_TESTS_UNIT_GRAPH_TEXT_H

#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include "lib/graph/snapshot.h"
#include "tests/unit/unit.h"

struct graph_text {
    struct loader *loader;
    struct findings findings;
    const struct model *model;
};

/* Files are named "0.yaml", "1.yaml", ... */
static inline void graph_text_files(struct graph_text *g, const char *const *texts, size_t n)
{
    static const char *const names[] = {"0.yaml", "1.yaml", "2.yaml", "3.yaml"};
    struct load_source sources[4];
    assert_true(n <= 4);
    for (size_t i = 0; i < n; i++)
        sources[i] = (struct load_source){names[i], str_c(texts[i]), 0, NULL};
    g->loader = loader_new(NULL);
    assert_non_null(g->loader);
    findings_init(&g->findings);
    assert_int_equal(loader_load(g->loader, sources, n, &g->findings, &g->model), 0);
    if (model_check(g->model, NULL, &g->findings) < 0) {
        struct text t = {0};
        findings_text(&g->findings, names, &t);
        fail_msg("%s", t.p);
    }
}

static inline void graph_text_init(struct graph_text *g, const char *text)
{
    graph_text_files(g, &text, 1);
}

static inline void graph_text_release(struct graph_text *g)
{
    findings_release(&g->findings);
    loader_free(g->loader);
}

/* Compiles on top of base (NULL: from nothing); what changed goes to *changes unless NULL. */
static inline struct snapshot *graph_on(
    const struct snapshot *base, const char *text, uint64_t epoch, struct snapshot_changes *changes)
{
    struct graph_text g;
    struct snapshot *s = NULL;
    struct err e = {0};
    graph_text_init(&g, text);
    if (snapshot_compile(&s, base, g.model, epoch, changes, &e) < 0)
        fail_msg("%s", e.text);
    graph_text_release(&g);
    return s;
}

static inline struct snapshot *graph_of(const char *text)
{
    return graph_on(NULL, text, 1, NULL);
}

static inline uint32_t env_number(const struct snapshot *s, const char *name)
{
    return snapshot_find_env(s, str_c(name));
}

static inline struct decision resolved(
    const struct snapshot *s, const char *env, const char *service, int64_t now)
{
    struct decision d;
    snapshot_resolve(s, env_number(s, env), snapshot_find_service(s, str_c(service)), now, &d);
    return d;
}

/* The line of what decided; 0: none. */
static inline uint32_t origin_line(const struct snapshot *s, const struct decision *d)
{
    struct origin o;
    snapshot_origin(s, d, &o);
    return o.line;
}

#endif
