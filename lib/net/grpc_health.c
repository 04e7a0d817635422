/* grpc.health.v1: what Check and Watch answer (proto/grpc/health/v1/health.proto). */
#include "lib/base/mem.h"
#include "lib/graph/pb.h"
#include "lib/net/grpc_impl.h"
#include <assert.h>

#define WATCH_MAGIC 0x67486501u

enum health { HEALTH_SERVING = 1, HEALTH_NOT_SERVING = 2, HEALTH_SERVICE_UNKNOWN = 3 };

/* A call of Watch that has asked. */
struct health_watch {
    uint32_t magic;
    struct list link;
    struct grpc_stream *st;
    bool known; /* the service asked for */
    enum health told;
    bool owes_news; /* the queue was full when something changed */
};

/* "": the server as a whole. */
static bool is_known(const struct grpc_server *s, struct str service)
{
    if (service.n == 0)
        return true;
    for (const char *const *at = s->o.services; at && *at; at++) {
        if (str_eq(str_c(*at), service))
            return true;
    }
    return false;
}

static enum health health_of(const struct grpc_server *s, bool known)
{
    if (!known)
        return HEALTH_SERVICE_UNKNOWN;
    return s->serving ? HEALTH_SERVING : HEALTH_NOT_SERVING;
}

/* HealthCheckRequest.service. False when the bytes are no such message. */
static bool read_service(struct str message, struct str *ret)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    int rc;
    *ret = (struct str){0};
    while ((rc = pb_next(&in, &f)) == 1) {
        if (f.number == 1 && f.wire == PB_BYTES)
            *ret = f.bytes;
    }
    return rc == 0;
}

/* HealthCheckResponse. */
static int send_health(struct grpc_stream *st, enum health h)
{
    const char bytes[] = {1 << 3 | PB_VARINT, (char)h};
    return grpc_send(st, str_of(bytes, sizeof(bytes)));
}

static void on_no_message(struct grpc_stream *st, void *arg)
{
    (void)arg;
    if (!grpc_stream_get(st))
        grpc_finish(st, GRPC_INVALID_ARGUMENT, STR("a message is missing"));
}

static void on_unary_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    (void)st;
    (void)status;
    (void)text;
    (void)arg;
}

static void on_check(struct grpc_stream *st, struct str message, void *arg)
{
    const struct grpc_server *s = arg;
    struct str service;
    if (!read_service(message, &service))
        grpc_finish(st, GRPC_INVALID_ARGUMENT, STR("not a HealthCheckRequest"));
    else if (!is_known(s, service))
        grpc_finish(st, GRPC_NOT_FOUND, STR("unknown service"));
    else if (send_health(st, health_of(s, true)))
        grpc_finish(st, GRPC_RESOURCE_EXHAUSTED, STR("out of memory"));
    else
        grpc_finish(st, GRPC_OK, (struct str){0});
}

/* ---- Watch ---- */

/* At most one piece of news waits: the latest. */
static void tell(struct health_watch *w, const struct grpc_server *s)
{
    enum health now = health_of(s, w->known);
    if (now != w->told) {
        w->owes_news = send_health(w->st, now) != 0;
        if (!w->owes_news)
            w->told = now;
    }
    if (s->shutdown)
        grpc_finish(w->st, GRPC_UNAVAILABLE, STR("the server shuts down"));
}

void grpc_health_changed(struct grpc_server *s)
{
    list_for_each (it, &s->watches)
        tell(list_entry(it, struct health_watch, link), s);
}

static void on_watch(struct grpc_stream *st, struct str message, void *arg)
{
    struct grpc_server *s = arg;
    struct str service;
    if (grpc_stream_get(st) || !read_service(message, &service)) {
        grpc_finish(st, GRPC_INVALID_ARGUMENT, STR("not one HealthCheckRequest"));
        return;
    }
    struct health_watch *w = mem_zalloc(sizeof(*w));
    if (!w) {
        grpc_finish(st, GRPC_RESOURCE_EXHAUSTED, STR("out of memory"));
        return;
    }
    w->magic = WATCH_MAGIC;
    w->st = st;
    w->known = is_known(s, service);
    grpc_stream_set(st, w);
    list_append(&s->watches, &w->link);
    tell(w, s);
}

static void on_watch_drained(struct grpc_stream *st, void *arg)
{
    struct health_watch *w = grpc_stream_get(st);
    if (w && w->owes_news)
        tell(w, arg);
}

static void on_watch_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct health_watch *w = grpc_stream_get(st);
    (void)status;
    (void)text;
    (void)arg;
    if (!w)
        return;
    assert(w->magic == WATCH_MAGIC);
    list_remove(&w->link);
    w->magic = 0;
    mem_free(w);
}

static const struct grpc_events check_events = {
    .on_message = on_check, .on_half_close = on_no_message, .on_end = on_unary_end};
static const struct grpc_events watch_events = {.on_message = on_watch,
    .on_half_close = on_no_message,
    .on_end = on_watch_end,
    .on_drained = on_watch_drained};

const struct grpc_method grpc_health_methods[] = {
    {"/grpc.health.v1.Health/Check", &check_events, NULL},
    {"/grpc.health.v1.Health/Watch", &watch_events, NULL},
};
const size_t grpc_nhealth_methods = sizeof(grpc_health_methods) / sizeof(grpc_health_methods[0]);
