/* A graph written in a test, compiled as the programs do it. */
#ifndef OFFSHOOT_TESTS_GRAPH_COMPILED_H
#define OFFSHOOT_TESTS_GRAPH_COMPILED_H

#include "tests/unit/graph/request.h"

#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include "lib/graph/snapshot.h"

/* Returns new. The one file is called g.yaml. */
static inline struct snapshot *graph_compile(const char *yaml)
{
    struct load_source source = {.name = "g.yaml", .bytes = str_c(yaml), .generation = 1};
    struct findings findings;
    const struct model *m = NULL;
    struct snapshot *s = NULL;
    struct err e = {0};
    findings_init(&findings);
    struct loader *l = loader_new(NULL);
    assert_non_null(l);
    assert_int_equal(loader_load(l, &source, 1, &findings, &m), 0);
    int valid = model_check(m, NULL, &findings);
    for (size_t i = 0; i < findings.n; i++)
        print_message("line %u: %s\n", findings.list[i].at.line, findings.list[i].message);
    assert_int_equal(valid, 0);
    if (snapshot_compile(&s, NULL, m, 7, NULL, &e))
        fail_msg("%s", e.text);
    findings_release(&findings);
    loader_free(l);
    return s;
}

#endif
