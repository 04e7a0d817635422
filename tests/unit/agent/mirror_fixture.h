/* An exchange as a proxy captured it, and what a field list says. */
#ifndef OFFSHOOT_TESTS_UNIT_AGENT_MIRROR_FIXTURE_H
#define OFFSHOOT_TESTS_UNIT_AGENT_MIRROR_FIXTURE_H

#include "agent/mirror_impl.h"
#include "tests/unit/unit.h"

#define KEY                                                                                        \
    {                                                                                              \
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15                                       \
    }

enum { USERS_MAX = 80 };
struct captured {
    struct exchange x;
    struct reply_field fields[USERS_MAX];
};

static inline void captured_init(struct captured *c)
{
    *c = (struct captured){0};
    c->x = (struct exchange){.refs = 1,
        .method = STR("GET"),
        .authority = STR("shop.test"),
        .path = STR("/items?q=1"),
        .fields = c->fields,
        .bytes = 1000};
}
static inline void captured_add(struct captured *c, const char *name, const char *value)
{
    assert_true(c->x.nfields < USERS_MAX);
    c->fields[c->x.nfields++] = (struct reply_field){str_c(name), str_c(value)};
}

/* The value of a field that is there once; "(none)", "(twice)". */
static inline struct str sent(const struct dark_request *r, const char *name)
{
    struct str ret = STR("(none)");
    unsigned n = 0;
    for (size_t i = 0; i < r->nfields; i++)
        if (str_eq(r->fields[i].name, str_c(name))) {
            ret = r->fields[i].value;
            n++;
        }
    return n > 1 ? STR("(twice)") : ret;
}

#endif
