/* Chunks made by hand, and what an assembly tells of them. */
#ifndef OFFSHOOT_TESTS_UNIT_EXCHANGE_FIXTURE_H
#define OFFSHOOT_TESTS_UNIT_EXCHANGE_FIXTURE_H

#include "agent/exchange.h"
#include "lib/base/counters.h"
#include "proto/offshoot/v1/capture.pb-c.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>

#define EVENTS_MAX 600

/* A chunk being written; events are made in arrays of their own. */
struct chunk {
    Offshoot__V1__CaptureChunk c;
    Offshoot__V1__CaptureEvent event[EVENTS_MAX], *list[EVENTS_MAX];
    Offshoot__V1__ExchangeBegin begin[EVENTS_MAX];
    Offshoot__V1__ExchangeBody body[EVENTS_MAX];
    Offshoot__V1__ExchangeReply reply[EVENTS_MAX];
    Offshoot__V1__ExchangeEnd end[EVENTS_MAX];
    Offshoot__V1__Hop hop[EVENTS_MAX];
    Offshoot__V1__CaptureDrops drops[EVENTS_MAX];
    Offshoot__V1__CaptureField field, *fields[1];
    uint64_t session[EXCHANGE_SESSIONS + 1], sums[20];
};

static unsigned char the_trace[TRACE_BYTES] = "trace-id of 16 b";
static char empty[] = "";

static inline void chunk_init(struct chunk *k, char *node)
{
    memset(k, 0, sizeof *k);
    offshoot__v1__capture_chunk__init(&k->c);
    offshoot__v1__capture_field__init(&k->field);
    k->field.name = (char *)"x-one";
    k->field.value.data = (uint8_t *)"1";
    k->field.value.len = 1;
    k->fields[0] = &k->field;
    k->c.node = node;
    k->c.worker = 3;
    k->c.events = k->list;
    k->session[0] = 77;
}

static inline size_t next_event(struct chunk *k, Offshoot__V1__CaptureEvent__EventCase what)
{
    size_t i = k->c.n_events++;
    assert_true(i < EVENTS_MAX);
    offshoot__v1__capture_event__init(&k->event[i]);
    k->event[i].event_case = what;
    k->list[i] = &k->event[i];
    return i;
}

static inline Offshoot__V1__ExchangeBegin *add_begin(struct chunk *k, uint64_t id)
{
    size_t i = next_event(k, OFFSHOOT__V1__CAPTURE_EVENT__EVENT_BEGIN);
    Offshoot__V1__ExchangeBegin *b = k->event[i].begin = &k->begin[i];
    offshoot__v1__exchange_begin__init(b);
    b->id = id;
    b->sessions = k->session;
    b->n_sessions = 1;
    b->method = (char *)"GET";
    b->authority = (char *)"shop.test";
    b->path = (char *)"/items?n=1";
    b->fields = k->fields;
    b->n_fields = 1;
    b->environment = (char *)"main";
    b->service = (char *)"cart";
    b->client = (char *)"10.0.0.9";
    b->trace_id.data = the_trace;
    b->trace_id.len = TRACE_BYTES;
    b->epoch = 5;
    b->time_unix_us = 1790000000000000;
    return b;
}

static inline Offshoot__V1__ExchangeBody *add_body(
    struct chunk *k, uint64_t id, bool reply, struct str data)
{
    size_t i = next_event(k, OFFSHOOT__V1__CAPTURE_EVENT__EVENT_BODY);
    Offshoot__V1__ExchangeBody *b = k->event[i].body = &k->body[i];
    offshoot__v1__exchange_body__init(b);
    b->id = id;
    b->reply = reply;
    b->data.data = (uint8_t *)(uintptr_t)data.p;
    b->data.len = data.n;
    return b;
}

static inline Offshoot__V1__ExchangeReply *add_reply(struct chunk *k, uint64_t id, uint32_t status)
{
    size_t i = next_event(k, OFFSHOOT__V1__CAPTURE_EVENT__EVENT_REPLY);
    Offshoot__V1__ExchangeReply *r = k->event[i].reply = &k->reply[i];
    offshoot__v1__exchange_reply__init(r);
    r->id = id;
    r->status = status;
    r->refusal = empty;
    r->fields = k->fields;
    r->n_fields = 1;
    return r;
}

static inline Offshoot__V1__ExchangeEnd *add_end(struct chunk *k, uint64_t id)
{
    size_t i = next_event(k, OFFSHOOT__V1__CAPTURE_EVENT__EVENT_END);
    Offshoot__V1__ExchangeEnd *e = k->event[i].end = &k->end[i];
    offshoot__v1__exchange_end__init(e);
    e->id = id;
    e->first_us = 900;
    e->total_us = 1000;
    return e;
}

static inline Offshoot__V1__Hop *add_hop(struct chunk *k, Offshoot__V1__HopKind kind)
{
    size_t i = next_event(k, OFFSHOOT__V1__CAPTURE_EVENT__EVENT_HOP);
    Offshoot__V1__Hop *h = k->event[i].hop = &k->hop[i];
    offshoot__v1__hop__init(h);
    h->trace_id.data = the_trace;
    h->trace_id.len = TRACE_BYTES;
    h->service = (char *)"stock";
    h->environment = (char *)"main";
    h->provider = (char *)"base";
    h->method = (char *)"PUT";
    h->refusal = (char *)"dark-blocked";
    h->flags = 3;
    h->kind = kind;
    return h;
}

static inline Offshoot__V1__CaptureDrops *add_drops(struct chunk *k, size_t n)
{
    size_t i = next_event(k, OFFSHOOT__V1__CAPTURE_EVENT__EVENT_DROPS);
    Offshoot__V1__CaptureDrops *d = k->event[i].drops = &k->drops[i];
    offshoot__v1__capture_drops__init(d);
    d->dropped = k->sums;
    d->n_dropped = n;
    return d;
}

/* What was told, as a text: one word an event. */
struct told {
    struct text text;
    struct exchange *kept; /* the last one */
    int node_rc;
};

static int on_node(void *arg, struct str node, struct err *e)
{
    struct told *t = arg;
    text_fmt(&t->text, "node:%.*s ", STR_ARG(node));
    return t->node_rc ? err_set(e, t->node_rc, "no") : 0;
}

static void on_exchange(void *arg, struct exchange *x)
{
    struct told *t = arg;
    text_fmt(&t->text, "exchange:%zu/%zu ", x->body.n, x->primary.body.n);
    exchange_unref(t->kept);
    t->kept = exchange_ref(x);
}

static void on_hop(void *arg, const struct hop *h)
{
    struct told *t = arg;
    text_fmt(&t->text, "hop:%d:%.*s:%.*s:%.*s:%.*s:%.*s:%.*s:%u ", (int)h->kind, STR_ARG(h->node),
        STR_ARG(h->service), STR_ARG(h->environment), STR_ARG(h->provider), STR_ARG(h->method),
        STR_ARG(h->refusal), h->flags);
}

static void on_dropped(void *arg, struct str node, const char *reason, uint64_t n)
{
    struct told *t = arg;
    text_fmt(&t->text, "drop:%.*s:%s:%llu ", STR_ARG(node), reason, (unsigned long long)n);
}

static inline struct assembly *open_assembly(struct told *t, const struct assembly_limits *l)
{
    static const struct exchange_events events = {
        .on_node = on_node, .on_exchange = on_exchange, .on_hop = on_hop, .on_dropped = on_dropped};
    struct assembly *a = assembly_new(l, &events, t);
    assert_non_null(a);
    return a;
}

static inline int feed(struct assembly *a, struct chunk *k, struct err *e)
{
    size_t n = offshoot__v1__capture_chunk__get_packed_size(&k->c);
    uint8_t *p = malloc(n + 1);
    assert_non_null(p);
    offshoot__v1__capture_chunk__pack(&k->c, p);
    int rc = assembly_feed(a, str_of((const char *)p, n), e);
    free(p);
    return rc;
}

#endif
