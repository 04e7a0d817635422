/* The stream to the agent.
 *
 *   sync_start → on_up → open_stream: Hello → on_message → sync_on_stage | _activate | _retire
 *                  ↑                             ↓ on_end (the connection is up: a wait, then anew)
 *                  └──────── grpc_client dials again ←── on_down
 *
 * An answer that cannot be queued ends the stream: the next Hello says what is held, so nothing is
 * lost. docs/internals/sync.md has the whole. */
#include "proxy/sync.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/pballoc.h"
#include "proxy/agent_call.h"
#include "proxy/capture_link.h"
#include "proxy/sync_impl.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <time.h>

#define SYNC_PATH      "/offshoot.v1.Control/Sync"
#define MESSAGE_MAX    (512u << 10) /* a chunk of 256 KiB, its head, and fields we do not know */
#define QUEUE_MAX      (256u << 10) /* answers that the agent does not read */
#define BEAT_MS        5000u
#define ECHO_MS        20u /* at least between two heartbeats */
#define COMPLAINTS_MAX 5u  /* lines a second */

#define CAPTURE_FEATURE     "capture.1"
#define CAPTURE_RULES_FIELD 5u /* of AgentMessage */

typedef unsigned long long ull;

uint64_t sync_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void sync_gauge(struct sync *s, enum proxy_stat which, uint64_t v)
{
    counter_set(&s->control->stats[which], v);
}

void sync_count(struct sync *s, enum proxy_stat which)
{
    counter_inc(&s->control->stats[which]);
}

bool sync_may_complain(struct sync *s)
{
    return ++s->complaints <= COMPLAINTS_MAX;
}

static struct sync *sync_of(void *arg)
{
    struct sync *s = arg;
    assert(s->magic == SYNC_MAGIC);
    return s;
}

/* ---- messages to the agent ------------------------------------------------------------------ */

void sync_flush(struct sync *s)
{
    if (s->client && !s->inside)
        grpc_client_flush(s->client);
}

static void send_message(struct sync *s, Offshoot__V1__ProxyMessage *m)
{
    if (!s->stream)
        return;
    size_t n = offshoot__v1__proxy_message__get_packed_size(m);
    uint8_t *bytes = mem_alloc(n + 1);
    int rc = -ENOMEM;
    if (bytes) {
        offshoot__v1__proxy_message__pack(m, bytes);
        rc = grpc_send(s->stream, str_of((const char *)bytes, n));
    }
    mem_free(bytes);
    if (rc == 0)
        return;
    sync_count(s, STAT_AGENT_UNSENT);
    if (sync_may_complain(s))
        log_warn("cannot answer the agent (%s): starting anew",
            rc == -ENOBUFS ? "it does not read" : "out of memory");
    grpc_cancel(s->stream);
}

void sync_ack(
    struct sync *s, uint64_t nonce, uint64_t epoch, Offshoot__V1__AckState state, uint64_t since_ns)
{
    Offshoot__V1__ProxyMessage m = OFFSHOOT__V1__PROXY_MESSAGE__INIT;
    Offshoot__V1__Ack ack = OFFSHOOT__V1__ACK__INIT;
    if (nonce == 0)
        return;
    ack.nonce = nonce;
    ack.epoch = epoch;
    ack.state = state;
    ack.nanoseconds = sync_now_ns() - since_ns;
    m.message_case = OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_ACK;
    m.ack = &ack;
    send_message(s, &m);
}

void sync_nack(struct sync *s, uint64_t nonce, uint64_t epoch, Offshoot__V1__NackReason reason,
    const char *text)
{
    Offshoot__V1__ProxyMessage m = OFFSHOOT__V1__PROXY_MESSAGE__INIT;
    Offshoot__V1__Nack nack = OFFSHOOT__V1__NACK__INIT;
    sync_count(s, STAT_NACKS + (unsigned)reason - 1);
    if (sync_may_complain(s))
        log_warn("refused what the agent said of epoch %llu (%s): %s", (ull)epoch,
            nack_word(reason), text);
    nack.nonce = nonce;
    nack.epoch = epoch;
    nack.reason = reason;
    nack.text = (char *)(uintptr_t)text; /* packed only */
    m.message_case = OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_NACK;
    m.nack = &nack;
    send_message(s, &m);
}

/* What graphs may need, then what else an agent may tell us. */
static size_t hello_features(const char *out[STAGE_FEATURES_MAX])
{
    size_t n = 0;
    for (; stage_features[n]; n++)
        out[n] = stage_features[n];
    out[n++] = CAPTURE_FEATURE;
    return n;
}

/* What is held of s->history; the active one only when it would outlive us. */
static void send_hello(struct sync *s)
{
    const struct settings *set = s->control->set;
    Offshoot__V1__ProxyMessage m = OFFSHOOT__V1__PROXY_MESSAGE__INIT;
    Offshoot__V1__Hello h = OFFSHOOT__V1__HELLO__INIT;
    Offshoot__V1__Held held[EPOCHS_HELD], *list[EPOCHS_HELD];
    struct snapshot *snapshots[EPOCHS_HELD];
    const char *features[STAGE_FEATURES_MAX];
    h.node = s->node;
    h.role = OFFSHOOT__V1__ROLE__GATEWAY;
    h.version = (char *)(uintptr_t)OFFSHOOT_VERSION;
    h.region = (char *)(uintptr_t)(set->region ? set->region : "");
    h.gateway = (char *)(uintptr_t)(set->gateway ? set->gateway : "");
    h.features = (char **)(uintptr_t)features;
    h.n_features = hello_features(features);
    if (s->has_history)
        h.history = (ProtobufCBinaryData){HISTORY_ID, s->history};
    h.n_held = epochs_held(s->control, snapshots);
    h.held = list;
    for (size_t i = 0; i < h.n_held; i++) {
        offshoot__v1__held__init(&held[i]);
        list[i] = &held[i];
        held[i].epoch = snapshot_epoch(snapshots[i]);
        held[i].digest =
            (ProtobufCBinaryData){32, (uint8_t *)(uintptr_t)snapshot_digest(snapshots[i])};
        if (held[i].epoch == s->saved && memcmp(s->saved_history, s->history, HISTORY_ID) == 0)
            h.active_epoch = s->saved;
    }
    m.message_case = OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HELLO;
    m.hello = &h;
    send_message(s, &m);
}

static void send_heartbeat(struct sync *s)
{
    Offshoot__V1__ProxyMessage m = OFFSHOOT__V1__PROXY_MESSAGE__INIT;
    Offshoot__V1__Heartbeat beat = OFFSHOOT__V1__HEARTBEAT__INIT;
    beat.epoch = s->active;
    beat.time_unix = clock_wall_s();
    m.message_case = OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HEARTBEAT;
    m.heartbeat = &beat;
    s->beat_ms = clock_mono_ms();
    send_message(s, &m);
}

/* ---- messages from the agent ---------------------------------------------------------------- */

static void heard(struct sync *s)
{
    s->heard_ms = clock_mono_ms();
    s->heard_s = clock_wall_s();
    sync_gauge(s, STAT_SNAPSHOT_STALE, 0);
}

/* The bytes of the message's capture_rules, which it has. */
static struct str packed_rules(struct str message)
{
    struct pb_in in = pb_in_of(message);
    struct pb_field f;
    struct str last = {0};
    while (pb_next(&in, &f) > 0)
        if (f.number == CAPTURE_RULES_FIELD && f.wire == PB_BYTES)
            last = f.bytes;
    return last;
}

static void on_rules(struct sync *s, struct str packed)
{
    struct err e = {0};
    if (capture_link_rules(s->control, packed, &e) == 0)
        return;
    sync_count(s, STAT_CAPTURE_RULES_REFUSED);
    if (sync_may_complain(s))
        log_warn("refused the agent's capture rules, those before stay: %s", e.text);
}

static void on_message(struct grpc_stream *st, struct str bytes, void *arg)
{
    struct sync *s = sync_of(arg);
    s->inside = true;
    Offshoot__V1__AgentMessage *m = (Offshoot__V1__AgentMessage *)pb_unpack(
        &offshoot__v1__agent_message__descriptor, bytes, pb_budget(bytes.n));
    switch (m ? m->message_case : OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE__NOT_SET) {
    case OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_STAGE:
        heard(s);
        sync_on_stage(s, m->stage);
        break;
    case OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_ACTIVATE:
        heard(s);
        sync_on_activate(s, m->activate);
        break;
    case OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_RETIRE:
        heard(s);
        sync_on_retire(s, m->retire);
        break;
    case OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_HEARTBEAT:
        heard(s);
        if (clock_mono_ms() - s->beat_ms >= ECHO_MS) /* an agent may ask more often than we tell */
            send_heartbeat(s);
        break;
    case OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_CAPTURE_RULES:
        heard(s);
        on_rules(s, packed_rules(bytes));
        break;
    default: /* of a newer agent, or unreadable: then the stream cannot be trusted */
        sync_count(s, STAT_AGENT_UNREADABLE);
        if (!m)
            grpc_cancel(st);
    }
    pb_free((ProtobufCMessage *)m);
    s->inside = false;
}

/* ---- the stream ----------------------------------------------------------------------------- */

static void lost(struct sync *s, const char *why)
{
    agent_why(why, s->why, sizeof s->why);
    sync_count(s, STAT_AGENT_LOSSES);
    sync_gauge(s, STAT_AGENT_CONNECTED, 0);
    s->since_s = clock_wall_s();
    sync_forget_stream(s);
    capture_link_lost(s->control);
}

static void open_stream(struct sync *s)
{
    struct grpc_session *session = grpc_client_session(s->client);
    const struct settings *set = s->control->set;
    if (!session || s->stream || s->freeing)
        return;
    s->stream = grpc_call(session, agent_authority(set), STR(SYNC_PATH));
    if (!s->stream) {
        grpc_client_again(s->client);
        return;
    }
    s->since_s = clock_wall_s();
    sync_count(s, STAT_AGENT_CONNECTS);
    sync_gauge(s, STAT_AGENT_CONNECTED, 1);
    log_info("connected to the agent at %s", set->agent);
    send_hello(s);
}

static void on_up(struct grpc_client *client, void *arg)
{
    struct sync *s = sync_of(arg);
    s->client = client; /* also when grpc_client_new has not returned yet */
    s->inside = true;
    open_stream(s);
    s->inside = false;
}

/* The connection may still be up: the call alone has ended. */
static void on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct sync *s = sync_of(arg);
    char why[sizeof s->why];
    if (st != s->stream)
        return;
    s->stream = NULL;
    agent_end_text(status, text, why, sizeof why);
    lost(s, why);
    if (s->freeing)
        return;
    if (sync_may_complain(s))
        log_warn("the agent's stream ended (%s): the graph is served on", why);
    if (s->heard_ms && clock_mono_ms() - s->heard_ms < 10000)
        backoff_reset(&s->backoff);
    struct timeval t = clock_timeval(backoff_next(&s->backoff));
    event_add(s->again, &t);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    struct sync *s = sync_of(arg);
    (void)fd;
    (void)what;
    open_stream(s); /* when the connection is down, on_up does it */
    sync_flush(s);
}

static void on_down(struct grpc_client *client, const char *why, uint32_t retry_ms, void *arg)
{
    struct sync *s = sync_of(arg);
    (void)client;
    event_del(s->again);
    if (s->freeing)
        return;
    if (strcmp(s->why, why) != 0 && sync_may_complain(s))
        log_warn("no agent at %s (%s): dialled again in %u ms and on; the graph is served on",
            s->control->set->agent, why, retry_ms);
    lost(s, why);
}

/* ---- start and end -------------------------------------------------------------------------- */

static int dial(struct sync *s, struct err *e)
{
    struct control *c = s->control;
    const struct settings *set = c->set;
    static const struct grpc_client_events events = {
        .call = {.on_message = on_message, .on_end = on_end}, .on_up = on_up, .on_down = on_down};
    if (set->agent_cert && !s->tls) {
        s->tls = grpc_tls_new(set->agent_cert, set->agent_key, set->agent_ca, false, e);
        if (!s->tls)
            return e->code ? e->code : -EINVAL;
    }
    static const struct grpc_limits limits = {
        .streams = 1, .message_bytes = MESSAGE_MAX, .queue_bytes = QUEUE_MAX};
    struct grpc_client_options o = agent_options(set, s->tls, limits);
    s->client = grpc_client_new(c->base, c->dns, set->agent, &o, &events, s, e);
    return s->client ? 0 : e->code ? e->code : -EINVAL;
}

int sync_start(struct control *c, struct err *e)
{
    struct err mine = {0};
    if (!e)
        e = &mine;
    struct sync *s = mem_zalloc(sizeof *s);
    if (!s)
        return err_set(e, -ENOMEM, "out of memory");
    s->magic = SYNC_MAGIC;
    s->control = c;
    agent_backoff(c->set, &s->backoff);
    s->since_s = clock_wall_s();
    s->heard_ms = clock_mono_ms(); /* staleness is counted from the start */
    settings_node(c->set, s->node);
    c->sync = s;
    s->again = event_new(c->base, -1, 0, on_again, s);
    if (!s->again)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = sync_epochs_init(s, e);
    rc = rc ? rc : sync_epochs_load(s, e);
    return rc ? rc : dial(s, e);
}

void sync_free(struct sync *s)
{
    if (!s)
        return;
    s->freeing = true;
    if (s->client)
        grpc_client_free(s->client);
    s->client = NULL;
    grpc_tls_free(s->tls);
    if (s->again)
        event_free(s->again);
    sync_epochs_release(s);
    s->magic = 0;
    mem_free(s);
}

void sync_suspend(struct sync *s)
{
    s->freeing = true;
    event_del(s->again);
    grpc_client_free(s->client);
    s->client = NULL;
    s->stream = NULL;
    lost(s, "left for the new process of an upgrade");
}

int sync_resume(struct sync *s, struct err *e)
{
    int rc = sync_epochs_resume(s, e);
    s->freeing = false;
    return rc ? rc : dial(s, e);
}

bool sync_has_graph(const struct sync *s)
{
    return s->control->active != NULL;
}

struct grpc_tls *sync_tls(const struct sync *s)
{
    return s->tls;
}

const char *sync_node(const struct sync *s)
{
    return s->node;
}

int sync_reload(struct sync *s, struct err *e)
{
    return s->tls ? grpc_tls_reload(s->tls, e) : 0;
}

/* ---- each second ---------------------------------------------------------------------------- */

void sync_second(struct sync *s)
{
    uint64_t now = clock_mono_ms();
    s->complaints = 0;
    if (now - s->heard_ms >= s->control->set->snapshot_ttl) {
        if (counter_get(&s->control->stats[STAT_SNAPSHOT_STALE]) == 0)
            log_warn("nothing heard from the agent for %llu s: the graph is stale, and served on",
                (ull)((now - s->heard_ms) / 1000));
        sync_gauge(s, STAT_SNAPSHOT_STALE, 1);
    }
    sync_epochs_second(s);
    if (s->stream && now - s->beat_ms >= BEAT_MS)
        send_heartbeat(s);
    sync_flush(s);
}
