#include "agent/sync.h"
#include "agent/sync_int.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/pballoc.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>

#define HANDSHAKE_MS 10000
#define SYNC_CALLS   272   /* of one connection: Sync, and one of Capture for each worker */
#define STUCK_MS     30000 /* a stream whose queue does not move */

static struct sync *sync_of(void *arg)
{
    struct sync *s = arg;
    assert(s->magic == SYNC_MAGIC);
    return s;
}

/* ---- streams ---- */

void sync_touch(struct sync_stream *t)
{
    struct sync *s = t->sync;
    if (list_empty(&t->dirty))
        list_append(&s->dirty, &t->dirty);
    event_active(s->turn, EV_TIMEOUT, 0);
}

/* The end of a turn: writes, then tells who waits for progress. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct sync *s = sync_of(arg);
    (void)fd;
    (void)what;
    while (!list_empty(&s->dirty)) {
        struct sync_stream *t = list_entry(s->dirty.next, struct sync_stream, dirty);
        list_remove(&t->dirty);
        grpc_flush(t->call);
    }
    struct timeval next = clock_timeval(push_tick(s->push, clock_mono_ms()));
    event_add(s->timer, &next);
    s->o.progress(s->o.arg);
}

static void moved(struct sync *s)
{
    event_active(s->turn, EV_TIMEOUT, 0);
}

static void leave(struct sync_stream *t)
{
    struct push_proxy *x = t->proxy;
    t->proxy = NULL;
    if (!x)
        return;
    log_info("proxy '%s' is gone", push_node(x));
    push_leave(x, clock_mono_ms());
}

static void finish(struct sync_stream *t, unsigned status, const char *text)
{
    t->finished = true;
    t->opened_ms = clock_mono_ms(); /* the rest of its life counts from now */
    sync_drop_bytes(t);
    grpc_finish(t->call, status, str_c(text));
    sync_touch(t);
}

void sync_refuse(struct sync_stream *t, enum sync_refusal reason, unsigned status, const char *text)
{
    char peer[ADDR_TEXT_MAX];
    if (t->finished)
        return;
    counter_inc(&t->sync->o.stats[STAT_REFUSALS + reason]);
    addr_format(&grpc_peer(t->call)->addr, peer);
    log_warn("stream from %s ended: %s", peer, text);
    finish(t, status, text);
}

/* Push is done with it: its node said Hello elsewhere. */
static void sync_drop(void *arg, void *stream, const char *text)
{
    struct sync_stream *t = stream;
    (void)arg;
    assert(t->magic == SYNC_STREAM_MAGIC);
    t->proxy = NULL;
    sync_refuse(t, SYNC_REPLACED, GRPC_ABORTED, text);
}

static unsigned on_call(struct grpc_stream *call, struct str path, const char **ret_text, void *arg)
{
    struct sync *s = sync_of(arg);
    struct sync_stream *t = mem_zalloc(sizeof *t);
    (void)path;
    if (!t) {
        *ret_text = "out of memory";
        return GRPC_UNAVAILABLE;
    }
    t->magic = SYNC_STREAM_MAGIC;
    t->sync = s;
    t->call = call;
    t->opened_ms = t->heard_ms = t->moved_ms = clock_mono_ms();
    list_init(&t->dirty);
    list_append(&s->streams, &t->link);
    grpc_stream_set(call, t);
    return GRPC_OK;
}

static void on_end(struct grpc_stream *call, unsigned status, struct str text, void *arg)
{
    struct sync_stream *t = grpc_stream_get(call);
    (void)arg;
    (void)status;
    (void)text;
    if (!t)
        return;
    assert(t->magic == SYNC_STREAM_MAGIC);
    struct sync *s = t->sync;
    list_remove(&t->link);
    list_remove(&t->dirty);
    leave(t);
    sync_drop_bytes(t);
    mem_free(t);
    moved(s);
}

static void on_drained(struct grpc_stream *call, void *arg)
{
    struct sync_stream *t = grpc_stream_get(call);
    (void)arg;
    assert(t->magic == SYNC_STREAM_MAGIC);
    sync_pump(t);
}

/* The proxy says no more: it is gone. */
static void on_half_close(struct grpc_stream *call, void *arg)
{
    struct sync_stream *t = grpc_stream_get(call);
    (void)arg;
    assert(t->magic == SYNC_STREAM_MAGIC);
    if (t->finished)
        return;
    if (!t->proxy) {
        sync_refuse(t, SYNC_NO_HELLO, GRPC_INVALID_ARGUMENT, "the stream ended before Hello");
        return;
    }
    leave(t);
    finish(t, GRPC_OK, "");
}

/* ---- messages ---- */

static enum push_nack reason_of(int reason)
{
    return reason > 0 && reason < NACK_REASONS ? (enum push_nack)reason : 0;
}

static void handle(struct sync_stream *t, const Offshoot__V1__ProxyMessage *m)
{
    counter_cell *stats = t->sync->o.stats;
    uint64_t now = clock_mono_ms();
    switch (m->message_case) {
    case OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HELLO:
        sync_hello(t, m->hello);
        return;
    case OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_ACK:
        if (push_on_ack(t->proxy, m->ack->nonce, m->ack->epoch, (enum push_ack)m->ack->state,
                m->ack->nanoseconds, now))
            sync_times_ack(t->sync, m->ack->epoch, (enum push_ack)m->ack->state);
        return;
    case OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_NACK:
        counter_inc(&stats[STAT_NACKS + reason_of((int)m->nack->reason)]);
        push_on_nack(t->proxy, m->nack->nonce, m->nack->epoch, reason_of((int)m->nack->reason),
            str_c(m->nack->text), now);
        return;
    case OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HEARTBEAT:
        counter_inc(&stats[STAT_HEARTBEATS]);
        return;
    default:
        counter_inc(&stats[STAT_UNKNOWN_MESSAGES]);
    }
}

static void on_message(struct grpc_stream *call, struct str bytes, void *arg)
{
    struct sync_stream *t = grpc_stream_get(call);
    (void)arg;
    assert(t->magic == SYNC_STREAM_MAGIC);
    if (t->finished)
        return;
    if (bytes.n > t->sync->o.message_bytes) {
        sync_refuse(
            t, SYNC_MALFORMED, GRPC_RESOURCE_EXHAUSTED, "the message is larger than the limit");
        return;
    }
    t->heard_ms = clock_mono_ms();
    ProtobufCMessage *base =
        pb_unpack(&offshoot__v1__proxy_message__descriptor, bytes, pb_budget(bytes.n));
    if (!base) {
        sync_refuse(t, SYNC_MALFORMED, GRPC_INVALID_ARGUMENT, "not a ProxyMessage");
        return;
    }
    Offshoot__V1__ProxyMessage *m = (Offshoot__V1__ProxyMessage *)base;
    if (!t->proxy && m->message_case != OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HELLO)
        sync_refuse(t, SYNC_NO_HELLO, GRPC_INVALID_ARGUMENT, "Hello comes first");
    else
        handle(t, m);
    pb_free(base);
    moved(t->sync);
}

/* ---- time ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    moved(sync_of(arg));
}

static void cancel(struct sync_stream *t, enum sync_refusal reason, const char *text)
{
    sync_refuse(t, reason, GRPC_UNAVAILABLE, text);
    grpc_cancel(t->call);
    sync_touch(t);
}

static void beat(struct sync_stream *t, uint64_t now, uint64_t epoch)
{
    uint64_t silent_ms = (uint64_t)SYNC_BEATS_MISSED * t->sync->o.heartbeat_ms;
    if (t->finished) {
        if (now >= t->opened_ms + t->sync->o.heartbeat_ms)
            grpc_cancel(t->call); /* it does not read our last word */
        sync_touch(t);
    } else if (!t->proxy && now >= t->opened_ms + HANDSHAKE_MS) {
        sync_refuse(t, SYNC_NO_HELLO, GRPC_INVALID_ARGUMENT, "no Hello within 10 s");
    } else if (t->proxy && now >= t->heard_ms + silent_ms) {
        leave(t);
        sync_refuse(t, SYNC_SILENT, GRPC_UNAVAILABLE, "the proxy was silent for three heartbeats");
    } else if (t->bytes && now >= t->moved_ms + STUCK_MS) {
        leave(t);
        cancel(t, SYNC_STUCK, "the proxy does not read its stream");
    } else if (t->proxy) {
        sync_heartbeat(t, epoch);
    }
}

static void on_heart(evutil_socket_t fd, short what, void *arg)
{
    struct sync *s = sync_of(arg);
    uint64_t now = clock_mono_ms(), epoch = push_activated(s->push);
    (void)fd;
    (void)what;
    list_for_each (it, &s->streams)
        beat(list_entry(it, struct sync_stream, link), now, epoch);
}

/* ---- the service ---- */

static int make_server(struct sync *s, struct err *e)
{
    static const struct grpc_events events = {.on_call = on_call,
        .on_message = on_message,
        .on_half_close = on_half_close,
        .on_end = on_end,
        .on_drained = on_drained};
    static const char *const services[] = {"offshoot.v1.Control", "offshoot.v1.Capture", NULL};
    size_t n = s->o.nmethods;
    s->methods = mem_array(n + 1, sizeof *s->methods);
    if (!s->methods)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        s->methods[i] = s->o.methods[i];
    s->methods[n] = (struct grpc_method){"/offshoot.v1.Control/Sync", &events, NULL};
    struct grpc_server_options o = {.limits = GRPC_LIMITS_DEFAULT,
        .connections = s->o.connections,
        .handshake_ms = HANDSHAKE_MS,
        .ping_ms = SYNC_BEATS_MISSED * s->o.heartbeat_ms,
        .services = services};
    o.limits.streams = SYNC_CALLS;
    o.limits.message_bytes =
        s->o.methods_bytes > s->o.message_bytes ? s->o.methods_bytes : s->o.message_bytes;
    o.limits.queue_bytes = SYNC_QUEUE;
    s->server = grpc_server_new(s->o.base, &o, s->methods, n + 1, s, e);
    return s->server ? 0 : -1;
}

static int make_timers(struct sync *s)
{
    struct timeval beat_time = clock_timeval(s->o.heartbeat_ms);
    s->turn = event_new(s->o.base, -1, 0, on_turn, s);
    s->timer = event_new(s->o.base, -1, 0, on_timer, s);
    s->heart = event_new(s->o.base, -1, EV_PERSIST, on_heart, s);
    return s->turn && s->timer && s->heart && event_add(s->heart, &beat_time) == 0 ? 0 : -1;
}

struct sync *sync_new(const struct sync_options *o, struct err *e)
{
    struct sync *s = mem_zalloc(sizeof *s);
    if (!s) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    s->magic = SYNC_MAGIC;
    s->o = *o;
    list_init(&s->streams);
    list_init(&s->dirty);
    struct push_options p = {.stage_ms = o->stage_ms,
        .retire_ms = o->retire_ms,
        .proxies_max = o->proxies,
        .remembered_max = 10000,
        .remember_ms = 3600 * 1000,
        .arg = s,
        .stage = sync_stage,
        .activate = sync_activate,
        .retire = sync_retire,
        .drop = sync_drop};
    s->push = push_new(&p, o->history);
    if (!s->push || make_timers(s) != 0) {
        err_set(e, -ENOMEM, "out of memory");
    } else if (make_server(s, e) == 0) {
        moved(s);
        return s;
    }
    sync_free(s);
    return NULL;
}

int sync_listen(struct sync *s, const struct addr *a, struct grpc_tls *tls, bool insecure,
    struct addr *ret_bound, struct err *e)
{
    return grpc_server_listen(s->server, a, tls, insecure, ret_bound, e);
}

void sync_commit(struct sync *s, struct snapshot *newest)
{
    sync_times_begin(s, snapshot_epoch(newest));
    push_commit(s->push, newest, clock_mono_ms());
    moved(s);
}

struct push *sync_push(struct sync *s)
{
    return s->push;
}

void sync_count(struct sync *s)
{
    struct push_counts p = push_counts(s->push);
    struct grpc_server_counts g = grpc_server_counts(s->server);
    counter_cell *c = s->o.stats;
    uint64_t slowest = push_slowest(s->push);
    counter_set(&c[STAT_ACKS], p.acks);
    counter_set(&c[STAT_STAGES], p.stages);
    counter_set(&c[STAT_STAGE_WHOLES], p.wholes);
    counter_set(&c[STAT_STAGE_BYTES], p.stage_bytes);
    counter_set(&c[STAT_ACTIVATIONS], p.activations);
    counter_set(&c[STAT_LATE], p.late);
    counter_set(&c[STAT_PROXIES], p.live);
    counter_set(&c[STAT_PROXIES_BEHIND], p.behind);
    counter_set(&c[STAT_PROXIES_STALE], p.stale);
    counter_set(
        &c[STAT_SLOWEST_EPOCH], slowest == UINT64_MAX ? history_epoch(s->o.history) : slowest);
    counter_set(&c[STAT_ACCEPTS], g.accepted);
    counter_set(&c[STAT_CONNECTIONS_REFUSED], g.refused);
    counter_set(&c[STAT_HANDSHAKES_FAILED], g.handshake_failed);
    counter_set(&c[STAT_CONNECTIONS_TIMED_OUT], g.timed_out);
    counter_set(&c[STAT_CALLS], g.calls);
    counter_set(&c[STAT_CONNECTIONS], g.connections_now);
}

void sync_free(struct sync *s)
{
    if (!s)
        return;
    assert(s->magic == SYNC_MAGIC);
    if (s->server)
        grpc_server_free(s->server); /* every stream gets its on_end */
    push_free(s->push);
    struct event *const events[] = {s->turn, s->timer, s->heart};
    for (unsigned i = 0; i < 3; i++)
        if (events[i])
            event_free(events[i]);
    mem_free(s->methods);
    mem_free(s->rules);
    mem_free(s->scratch);
    mem_free(s);
}
