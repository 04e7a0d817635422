/* Graph texts and what loader and check find in them, for the tests of both. */
#ifndef OFFSHOOT_TESTS_UNIT_GRAPH_JUDGED_H
#define OFFSHOOT_TESTS_UNIT_GRAPH_JUDGED_H

#include "tests/unit/unit.h"

#include "lib/base/counters.h"
#include "lib/graph/check.h"
#include "lib/graph/load.h"
#include <errno.h>

#define FILES_MAX 4

/* One load of up to FILES_MAX texts. */
struct judged {
    struct loader *loader;
    struct findings findings;
    const struct model *model;
    int result; /* of model_check */
};

static inline struct load_source source_of(const char *name, const char *text)
{
    return (struct load_source){.name = name, .bytes = str_c(text)};
}

static inline void judge_sources(
    struct judged *j, const struct load_source *s, size_t n, const struct endpoint_rules *rules)
{
    j->loader = loader_new(NULL);
    assert_non_null(j->loader);
    findings_init(&j->findings);
    assert_int_equal(loader_load(j->loader, s, n, &j->findings, &j->model), 0);
    j->result = model_check(j->model, rules, &j->findings);
    assert_int_equal(j->result, j->findings.errors ? -EINVAL : 0);
}

static inline void judge(struct judged *j, const char *text)
{
    struct load_source s = source_of("graph.yaml", text);
    judge_sources(j, &s, 1, NULL);
}

static inline void judged_release(struct judged *j)
{
    findings_release(&j->findings);
    loader_free(j->loader);
}

static inline void place_in_short(struct text *out, struct place at)
{
    if (!at.line)
        return;
    text_add(out, STR(" "));
    if (at.file)
        text_fmt(out, "%u/", at.file);
    text_fmt(out, "%u:%u", at.line, at.column);
}

/* "code line:column related..." for each finding, joined by "; ". Another file than the first is
 * written as its number and a slash. */
static inline void findings_in_short(const struct findings *f, struct text *out)
{
    text_add(out, STR(""));
    for (size_t i = 0; i < f->n; i++) {
        text_fmt(out, "%s%s", i ? "; " : "", finding_word(f->list[i].code));
        place_in_short(out, f->list[i].at);
        place_in_short(out, f->list[i].related);
        place_in_short(out, f->list[i].related2);
    }
}

#define assert_found(text, want)           assert_found_at(text, want, NULL, __FILE__, __LINE__)
#define assert_found_by(text, want, rules) assert_found_at(text, want, rules, __FILE__, __LINE__)

static inline void assert_found_at(const char *text, const char *want,
    const struct endpoint_rules *rules, const char *file, int line)
{
    struct judged j;
    struct text have = {0};
    struct load_source s = source_of("graph.yaml", text);
    judge_sources(&j, &s, 1, rules);
    findings_in_short(&j.findings, &have);
    if (strcmp(have.p, want) != 0) {
        for (size_t i = 0; i < j.findings.n; i++)
            print_error("  %s\n", j.findings.list[i].message);
        print_error("have \"%s\"\nwant \"%s\"\n", have.p, want);
    }
    _assert_string_equal(have.p, want, file, line);
    text_release(&have);
    judged_release(&j);
}

/* The message of the only finding. */
static inline void assert_says(const char *text, const char *want)
{
    struct judged j;
    judge(&j, text);
    assert_int_equal(j.findings.n, 1);
    if (!strstr(j.findings.list[0].message, want))
        fail_msg("have \"%s\", want \"%s\" in it", j.findings.list[0].message, want);
    judged_release(&j);
}

#endif
