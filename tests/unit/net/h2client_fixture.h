/* A client with its calls against h2_server.h's server. */
#ifndef OFFSHOOT_TESTS_UNIT_NET_H2CLIENT_FIXTURE_H
#define OFFSHOOT_TESTS_UNIT_NET_H2CLIENT_FIXTURE_H

#include "lib/net/h2client.h"
#include "tests/unit/net/h2_server_life.h"

struct got { /* what a call was told */
    unsigned told;
    enum h2call_end end;
    uint32_t reset, status;
    unsigned nfields, ntrailers;
    char fields[512], trailers[512]; /* "name: value\n" */
    size_t body_n;
    char *body;
    uint64_t first_us, total_us;
    void (*then)(void *arg);
    void *arg;
};

static inline void got_fields(char *out, size_t size, const struct field *f, unsigned n)
{
    size_t at = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < n && at < size - 1; i++)
        at += (size_t)snprintf(out + at, size - at, "%.*s: %.*s\n", STR_ARG(field_name(&f[i])),
            STR_ARG(field_value(&f[i])));
}

static inline void on_told(void *arg, const struct h2reply *r)
{
    struct got *g = arg;
    g->told++;
    g->end = r->end;
    g->reset = r->reset;
    g->status = r->status;
    g->nfields = r->nfields;
    g->ntrailers = r->ntrailers;
    got_fields(g->fields, sizeof(g->fields), r->fields, r->nfields);
    got_fields(g->trailers, sizeof(g->trailers), r->trailers, r->ntrailers);
    g->first_us = r->first_us;
    g->total_us = r->total_us;
    free(g->body);
    g->body = malloc(r->body.n + 1);
    if (r->body.n)
        memcpy(g->body, r->body.p, r->body.n);
    g->body[r->body.n] = '\0';
    g->body_n = r->body.n;
    if (g->then)
        g->then(g->arg);
}

static inline void got_release(struct got *g, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(g[i].body);
}

static inline struct h2client *client_new(struct server *s, const struct h2client_options *o)
{
    struct h2client_options few = {.backoff_ms = 2, .backoff_max_ms = 4};
    struct err e = {0};
    struct h2client *c = h2client_new(s->base, NULL, s->target, o ? o : &few, &e);
    if (!c)
        fail_msg("%s", e.text);
    return c;
}

/* A POST with a body, else a GET. */
static inline struct h2call *ask_for(
    struct h2client *c, const char *path, struct str body, uint32_t timeout_ms, struct got *g)
{
    static const struct reply_field_view fields[] = {{STR("accept"), STR("*/*")}};
    struct h2request r = {.method = body.n ? STR("POST") : STR("GET"),
        .scheme = STR("http"),
        .authority = STR("shop.test"),
        .path = str_c(path),
        .fields = fields,
        .nfields = 1,
        .body = body,
        .has_body = body.n > 0,
        .timeout_ms = timeout_ms};
    return h2client_request(c, &r, on_told, g);
}
static inline struct h2call *ask(struct h2client *c, const char *path, struct got *g)
{
    return ask_for(c, path, STR(""), 0, g);
}

#endif
