/* Requests and gateways written by hand, for the tests of lib/graph. */
#ifndef OFFSHOOT_TESTS_GRAPH_REQUEST_H
#define OFFSHOOT_TESTS_GRAPH_REQUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/field.h"
#include "lib/base/mem.h"
#include "lib/graph/context.h"
#include "lib/graph/route.h"
#include <cmocka.h>
#include <stdio.h>

#define assert_str(s, expected)                                                                    \
    do {                                                                                           \
        struct str got_ = (s);                                                                     \
        assert_int_equal(got_.n, strlen(expected));                                                \
        assert_memory_equal(got_.n ? got_.p : "", expected, got_.n);                               \
    } while (0)

/* ---- a request ---- */

struct request {
    struct field fields[320];
    unsigned n;
    char names[8192];
    size_t names_used;
    struct str authority, path;
    char room[32768];
    struct scratch scratch;
    struct context context;
    struct signer *signer; /* NULL: no keys */
    int64_t now;
};

static inline void request_init(struct request *r, const char *authority, const char *path)
{
    r->n = 0;
    r->names_used = 0;
    r->authority = str_c(authority);
    r->path = str_c(path);
    r->signer = NULL;
    r->now = 0;
    r->scratch = (struct scratch){.p = r->room, .size = sizeof(r->room)};
}

/* Adds a field as the codec does: name lowered, number looked up. value is borrowed. */
static inline void request_add(struct request *r, const char *name, const char *value)
{
    struct field *f = &r->fields[r->n++];
    char *lower = r->names + r->names_used;
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        lower[i] = ascii_lower(name[i]);
    r->names_used += n;
    *f = (struct field){.name = lower,
        .value = value,
        .value_len = (uint32_t)strlen(value),
        .name_len = (uint16_t)n,
        .id = (uint8_t)field_id(lower, n)};
}

static inline const struct context *request_pick(
    struct request *r, bool trusted, const struct gateway *g)
{
    context_pick(&r->context, &(struct carried){.fields = r->fields,
                                  .nfields = r->n,
                                  .trusted = trusted,
                                  .gateway = g,
                                  .authority = r->authority,
                                  .path = &r->path,
                                  .scratch = &r->scratch,
                                  .signer = r->signer,
                                  .now = r->now});
    return &r->context;
}

static inline bool request_dropped(const struct request *r, unsigned i)
{
    return r->fields[i].flags & FIELD_DROP;
}

/* ---- a gateway ---- */

struct gateway_text {
    struct model_gateway m;
    struct model_selector selectors[8];
    struct model_route *routes;
    struct model_route few[16];
};

static inline void gateway_text_init(struct gateway_text *t, const char *default_environment)
{
    *t = (struct gateway_text){.m.name.s = STR("edge")};
    t->m.default_environment.s = str_c(default_environment);
    t->m.selectors = t->selectors;
    t->m.routes = t->routes = t->few;
}

static inline void gateway_select(
    struct gateway_text *t, enum selector_kind kind, const char *key, bool forward)
{
    t->selectors[t->m.nselectors++] =
        (struct model_selector){.kind = (uint8_t)kind, .forward = forward, .key.s = str_c(key)};
}

static inline void gateway_route(
    struct gateway_text *t, const char *host, const char *path, const char *service)
{
    t->routes[t->m.nroutes++] = (struct model_route){
        .host.s = str_c(host), .path.s = str_c(path), .service.s = str_c(service)};
}

/* Numbers services by the digits at the end of their names: "s7" is 7. */
static inline uint32_t number_by_digits(void *arg, struct str name)
{
    (void)arg;
    uint32_t n = 0;
    for (size_t i = 1; i < name.n; i++)
        n = 10 * n + (uint32_t)(name.p[i] - '0');
    return n;
}

static inline struct gateway *gateway_build(const struct gateway_text *t)
{
    struct gateway *g = gateway_new(&t->m, number_by_digits, NULL);
    assert_non_null(g);
    return g;
}

/* Group teardown: everything was freed. */
static inline int nothing_lives(void **state)
{
    (void)state;
    mem_fail_nth(0);
    if (mem_live() == 0)
        return 0;
    fprintf(stderr, "%zu blocks were not freed\n", mem_live());
    return -1;
}

#endif
