/* Messages to proxies. A graph goes out in chunks: as many as fill half of the stream's queue, the
 * next ones when that has drained; all proxies that get the same difference share its bytes. */
#include "agent/sync_int.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include <assert.h>
#include <errno.h>
#include <time.h>

static struct sync_stream *stream_of(void *stream)
{
    struct sync_stream *t = stream;
    assert(t->magic == SYNC_STREAM_MAGIC);
    return t;
}

static int grow(struct sync *s, size_t n)
{
    if (n <= s->scratch_size)
        return 0;
    uint8_t *p = mem_realloc(s->scratch, n);
    if (!p)
        return -ENOMEM;
    s->scratch = p;
    s->scratch_size = n;
    return 0;
}

static int send_message(struct sync_stream *t, const Offshoot__V1__AgentMessage *m)
{
    struct sync *s = t->sync;
    size_t n = offshoot__v1__agent_message__get_packed_size(m);
    int rc = grow(s, n);
    if (rc != 0)
        return rc;
    offshoot__v1__agent_message__pack(m, s->scratch);
    rc = grpc_send(t->call, str_of((const char *)s->scratch, n));
    sync_touch(t);
    return rc;
}

/* What became of a message that cannot be left out. */
static void told(struct sync_stream *t, int rc)
{
    if (rc == -ENOBUFS)
        sync_refuse(t, SYNC_STUCK, GRPC_RESOURCE_EXHAUSTED, "the proxy does not read its stream");
    else if (rc != 0 && rc != -EPIPE)
        sync_refuse(t, SYNC_STUCK, GRPC_UNAVAILABLE, "out of memory");
}

static void must_send(struct sync_stream *t, const Offshoot__V1__AgentMessage *m)
{
    told(t, send_message(t, m));
}

/* ---- an epoch ---- */

void sync_drop_bytes(struct sync_stream *t)
{
    if (t->bytes)
        push_bytes_drop(t->bytes);
    t->bytes = NULL;
}

static uint32_t chunks_of(size_t n)
{
    return n ? (uint32_t)((n + SYNC_CHUNK - 1) / SYNC_CHUNK) : 1;
}

static int send_chunk(struct sync_stream *t)
{
    const struct sync *s = t->sync;
    Offshoot__V1__AgentMessage m = OFFSHOOT__V1__AGENT_MESSAGE__INIT;
    Offshoot__V1__Stage stage = OFFSHOOT__V1__STAGE__INIT;
    Offshoot__V1__Follows follows = OFFSHOOT__V1__FOLLOWS__INIT;
    char feature[] = SYNC_FEATURE, more[] = SYNC_FEATURE_MORE, *features[] = {feature, more};
    struct str rest = str_from(t->bytes->bytes, t->sent);
    size_t n = rest.n < SYNC_CHUNK ? rest.n : SYNC_CHUNK;
    stage.nonce = t->nonce;
    stage.history.data = (uint8_t *)(uintptr_t)history_id(s->o.history);
    stage.history.len = HISTORY_ID;
    const unsigned char *before = history_follows(s->o.history, &follows.epoch);
    if (before) {
        follows.history.data = (uint8_t *)(uintptr_t)before;
        follows.history.len = HISTORY_ID;
        stage.follows = &follows;
    }
    stage.base_epoch = t->base;
    stage.epoch = t->epoch;
    stage.digest.data = t->digest;
    stage.digest.len = sizeof t->digest;
    stage.n_features = t->bytes->routes ? 2 : 1;
    stage.features = features;
    stage.chunk = t->chunk;
    stage.chunks = chunks_of(t->bytes->bytes.n);
    stage.payload.data = (uint8_t *)(uintptr_t)rest.p;
    stage.payload.len = n;
    m.message_case = OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_STAGE;
    m.stage = &stage;
    int rc = send_message(t, &m);
    if (rc != 0)
        return rc;
    t->sent += n;
    t->chunk++;
    if (t->chunk == stage.chunks)
        sync_drop_bytes(t);
    return 0;
}

void sync_pump(struct sync_stream *t)
{
    t->moved_ms = clock_mono_ms();
    while (t->bytes && grpc_queued(t->call) <= SYNC_QUEUE / 2) {
        int rc = send_chunk(t);
        if (rc == -ENOBUFS)
            return; /* on_drained comes */
        if (rc != 0) {
            sync_drop_bytes(t);
            if (rc != -EPIPE)
                sync_refuse(t, SYNC_STUCK, GRPC_UNAVAILABLE, "out of memory");
            return;
        }
    }
}

void sync_stage(void *arg, void *stream, uint64_t nonce, uint64_t base, uint64_t epoch,
    const unsigned char *digest, struct push_bytes *bytes)
{
    struct sync_stream *t = stream_of(stream);
    (void)arg;
    sync_drop_bytes(t);
    t->bytes = bytes;
    bytes->refs++;
    t->sent = t->chunk = 0;
    t->nonce = nonce;
    t->base = base;
    t->epoch = epoch;
    memcpy(t->digest, digest, sizeof t->digest);
    sync_pump(t);
}

/* ---- the others ---- */

void sync_activate(void *arg, void *stream, uint64_t nonce, uint64_t epoch)
{
    Offshoot__V1__AgentMessage m = OFFSHOOT__V1__AGENT_MESSAGE__INIT;
    Offshoot__V1__Activate a = OFFSHOOT__V1__ACTIVATE__INIT;
    (void)arg;
    a.nonce = nonce;
    a.epoch = epoch;
    m.message_case = OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_ACTIVATE;
    m.activate = &a;
    must_send(stream_of(stream), &m);
}

void sync_retire(void *arg, void *stream, uint64_t nonce, uint64_t epoch)
{
    Offshoot__V1__AgentMessage m = OFFSHOOT__V1__AGENT_MESSAGE__INIT;
    Offshoot__V1__Retire r = OFFSHOOT__V1__RETIRE__INIT;
    (void)arg;
    r.nonce = nonce;
    r.epoch = epoch;
    m.message_case = OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_RETIRE;
    m.retire = &r;
    must_send(stream_of(stream), &m);
}

void sync_send_rules(struct sync_stream *t)
{
    const struct sync *s = t->sync;
    if (!t->proxy || !t->captures || !s->rules)
        return;
    int rc = grpc_send(t->call, str_of(s->rules, s->rules_size));
    sync_touch(t);
    told(t, rc);
}

int sync_capture_rules(struct sync *s, struct str message)
{
    char *copy = message.n ? mem_dup(message.p, message.n) : NULL;
    if (message.n && !copy)
        return -ENOMEM;
    mem_free(s->rules);
    s->rules = copy;
    s->rules_size = message.n;
    list_for_each (it, &s->streams)
        sync_send_rules(list_entry(it, struct sync_stream, link));
    return 0;
}

/* May be left out: what waits in a queue tells as well that we live. */
void sync_heartbeat(struct sync_stream *t, uint64_t epoch)
{
    Offshoot__V1__AgentMessage m = OFFSHOOT__V1__AGENT_MESSAGE__INIT;
    Offshoot__V1__Heartbeat h = OFFSHOOT__V1__HEARTBEAT__INIT;
    struct timespec now;
    if (grpc_queued(t->call) > SYNC_QUEUE / 2)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    h.epoch = epoch;
    h.time_unix = now.tv_sec;
    m.message_case = OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_HEARTBEAT;
    m.heartbeat = &h;
    send_message(t, &m);
}
