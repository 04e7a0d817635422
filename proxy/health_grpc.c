/* The gRPC exchange of a health check: one call of grpc.health.v1.Health/Check. */
#include "lib/base/mem.h"
#include "lib/graph/pb.h"
#include "lib/wire/grpc.h"
#include "proxy/health_impl.h"
#include <event2/buffer.h>
#include <stdio.h>

#define SERVING       1 /* grpc.health.v1.HealthCheckResponse.ServingStatus */
#define ANSWER_BYTES  1024u
#define SESSION_BYTES 65536u /* queued for the other side; we send one message */

/* HealthCheckResponse.status; 0 (UNKNOWN) when it is not there, -1 for other bytes. */
static int read_status(struct str message)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    int rc, status = 0;
    while ((rc = pb_next(&in, &f)) == 1) {
        if (f.number == 1 && f.wire == PB_VARINT)
            status = f.value <= 3 ? (int)f.value : 0;
    }
    return rc == 0 ? status : -1;
}

static void on_message(struct grpc_stream *st, struct str message, void *arg)
{
    static const char *const words[] = {
        "says UNKNOWN", "", "says NOT_SERVING", "says SERVICE_UNKNOWN"};
    struct health_probe *p = arg;
    (void)st;
    int status = read_status(message);
    snprintf(p->verdict, sizeof p->verdict, "%s",
        status < 0 ? "its answer is no HealthCheckResponse" : words[status]);
    p->heard = true;
}

static void on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct health_probe *p = arg;
    (void)st;
    p->answered = true;
    if (status == GRPC_OK && p->heard)
        return;
    struct text t = {0};
    text_plain(&t, text);
    snprintf(p->verdict, sizeof p->verdict, "%s%s%.*s",
        status == GRPC_OK ? "no answer" : grpc_status_word(status), t.n ? ": " : "", (int)t.n,
        t.n ? t.p : "");
    text_release(&t);
}

/* What the session has to say. False when memory is out; the probe is gone then. */
static bool send_out(struct health_probe *p)
{
    const uint8_t *bytes;
    ssize_t n;
    while ((n = grpc_session_produce(p->session, &bytes)) > 0) {
        if (bufferevent_write(p->bev, bytes, (size_t)n) != 0) {
            n = -1;
            break;
        }
    }
    if (n < 0)
        probe_done(p, "out of memory");
    return n == 0;
}

void health_grpc_begin(struct health_probe *p)
{
    static const struct grpc_limits limits = {1, ANSWER_BYTES, SESSION_BYTES};
    static const struct grpc_events events = {.on_message = on_message, .on_end = on_end};
    struct str service = p->spec->policy.service;
    struct pb_out o = {0};
    p->session = grpc_session_new(false, &limits, &events, p);
    struct grpc_stream *st =
        p->session ? grpc_call(p->session, p->spec->host, STR("/grpc.health.v1.Health/Check"))
                   : NULL;
    if (service.n)
        pb_bytes(&o, 1, service);
    int rc = st && !o.failed ? grpc_send(st, pb_str(&o)) : -1;
    pb_release(&o);
    if (rc != 0) {
        probe_done(p, "out of memory");
        return;
    }
    grpc_half_close(st);
    send_out(p);
}

void health_grpc_input(struct health_probe *p, bool closed)
{
    struct evbuffer *in = bufferevent_get_input(p->bev);
    size_t n = evbuffer_get_length(in);
    const char *data = n ? (const char *)evbuffer_pullup(in, -1) : "";
    struct err e = {0};
    if (!data) {
        probe_done(p, "out of memory");
        return;
    }
    p->used += (uint32_t)n;
    int rc = p->used > 4 * HEALTH_REPLY_MAX ? err_set(&e, -1, "it says too much")
                                            : grpc_session_feed(p->session, str_of(data, n), &e);
    evbuffer_drain(in, n);
    if (rc == 0 && !send_out(p))
        return;
    if (p->answered && p->verdict[0] == '\0')
        probe_well(p);
    else if (p->answered)
        probe_done(p, "%s", p->verdict);
    else if (rc != 0)
        probe_done(p, "not gRPC: %s", e.text);
    else if (closed)
        probe_done(p, "closed before it answered");
}

void health_grpc_free(struct health_probe *p)
{
    if (p->session)
        grpc_session_free(p->session);
    p->session = NULL;
}
