/* Replies made from literals, and their differences as one text. */
#ifndef OFFSHOOT_TESTS_UNIT_COMPARE_REPLIES_H
#define OFFSHOOT_TESTS_UNIT_COMPARE_REPLIES_H

#include "lib/base/counters.h"
#include "lib/compare/compare.h"
#include "tests/unit/unit.h"

#define REPLY_FIELDS_MAX 16

/* "name: value" lines; the same for trailers. */
struct made {
    struct reply reply;
    struct reply_field field[REPLY_FIELDS_MAX], trailer[REPLY_FIELDS_MAX];
};

static inline size_t read_fields(const char *lines, struct reply_field *ret)
{
    struct str rest = str_c(lines);
    size_t n = 0;
    while (rest.n) {
        struct str line = str_of(rest.p, str_find(rest, '\n'));
        size_t colon = str_find(line, ':');
        assert_true(n < REPLY_FIELDS_MAX && colon < line.n);
        ret[n++] = (struct reply_field){str_of(line.p, colon), str_trim(str_from(line, colon + 1))};
        rest = str_from(rest, line.n < rest.n ? line.n + 1 : line.n);
    }
    return n;
}

static inline void make_reply(
    struct made *m, uint32_t status, const char *fields, struct str body, const char *trailers)
{
    *m = (struct made){.reply = {.status = status, .body = body}};
    m->reply.nfields = read_fields(fields, m->field);
    m->reply.ntrailers = read_fields(trailers, m->trailer);
    m->reply.fields = m->field;
    m->reply.trailers = m->trailer;
}

/* "body.a value 1|2\n" a line; "!" before it: the shape differs, too. */
static inline void describe(const struct differences *d, struct text *out)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct difference *x = &d->item[i];
        text_fmt(out, "%s%.*s %s %.*s|%.*s\n", x->kind == DIFF_VALUE && x->shape ? "!" : "",
            STR_ARG(x->path), diff_kind_word(x->kind), STR_ARG(x->a), STR_ARG(x->b));
    }
    text_add(out, d->cut ? STR("cut\n") : STR(""));
}

static inline const struct compare_rules *default_rules(void)
{
    static const struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    return &rules;
}

static inline void assert_replies(
    const struct made *a, const struct made *b, const struct compare_rules *rules, const char *want)
{
    struct differences d;
    struct text t = {0};
    assert_int_equal(replies_compare(&a->reply, &b->reply, rules, &d), 0);
    describe(&d, &t);
    assert_str(str_of(t.p, t.n), want);
    text_release(&t);
    differences_release(&d);
}

/* Two bodies of one media type. */
static inline void assert_bodies_by(const char *type, struct str a, struct str b,
    const struct compare_rules *rules, const char *want)
{
    char fields[256];
    struct made x, y;
    snprintf(fields, sizeof(fields), "content-type: %s", type);
    make_reply(&x, 200, fields, a, "");
    make_reply(&y, 200, fields, b, "");
    assert_replies(&x, &y, rules, want);
}

static inline void assert_json(const char *a, const char *b, const char *want)
{
    assert_bodies_by("application/json", str_c(a), str_c(b), default_rules(), want);
}

static inline void assert_heads(const char *a, const char *b, const char *want)
{
    struct made x, y;
    make_reply(&x, 200, a, STR("body"), "");
    make_reply(&y, 200, b, STR("body"), "");
    assert_replies(&x, &y, default_rules(), want);
}

#endif
