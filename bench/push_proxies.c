/* Many proxies on one agent, which hold nothing: they answer every Stage, Activate and Retire at
 * once, as soon as its last byte is there.
 *
 *     push_proxies ADDRESS N
 *
 * Prints "ready" when all N are active on one epoch, and then, each time the last of them was told
 * to activate an epoch, one line: {"epoch", "message_bytes": of one proxy's Stage messages,
 * "wire_bytes": the same with the prefix of gRPC and the head of an HTTP/2 frame for each}. */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/base/pballoc.h"
#include "lib/net/grpc.h"
#include "proto/offshoot/v1/control.pb-c.h"
#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define PROXY_MAGIC 0x50726f78u
#define PATH        "/offshoot.v1.Control/Sync"
#define FRAMING     14 /* bytes: 5 of gRPC, 9 of HTTP/2 */
#define EPOCHS      64 /* a count for each of so many */

struct crowd {
    unsigned n;
    bool ready;
    struct {
        uint64_t epoch;
        unsigned told;
        size_t messages, bytes; /* of its Stage, of the proxy that was told last */
    } epochs[EPOCHS];
};

struct proxy {
    uint32_t magic;
    unsigned number;
    struct crowd *crowd;
    struct grpc_client *client;
    struct grpc_stream *stream;
    size_t messages, bytes; /* of the Stage that came last */
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "push_proxies: %s\n", what);
    exit(1);
}

static struct proxy *proxy_of(void *arg)
{
    struct proxy *p = arg;
    assert(p->magic == PROXY_MAGIC);
    return p;
}

static void tell(struct proxy *p, Offshoot__V1__ProxyMessage *m)
{
    uint8_t bytes[512];
    size_t n = offshoot__v1__proxy_message__get_packed_size(m);
    assert(n <= sizeof bytes);
    offshoot__v1__proxy_message__pack(m, bytes);
    if (p->stream && grpc_send(p->stream, str_of((const char *)bytes, n)) != 0)
        die("cannot answer");
}

static void say_hello(struct proxy *p)
{
    Offshoot__V1__ProxyMessage m = OFFSHOOT__V1__PROXY_MESSAGE__INIT;
    Offshoot__V1__Hello hello = OFFSHOOT__V1__HELLO__INIT;
    char node[32], version[] = "bench", feature[] = "graph.1", *features[] = {feature};
    snprintf(node, sizeof node, "bench-%u", p->number);
    hello.node = node;
    hello.version = version;
    hello.features = features;
    hello.n_features = 1;
    m.message_case = OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HELLO;
    m.hello = &hello;
    tell(p, &m);
}

static void answer(struct proxy *p, uint64_t nonce, uint64_t epoch, Offshoot__V1__AckState state)
{
    Offshoot__V1__ProxyMessage m = OFFSHOOT__V1__PROXY_MESSAGE__INIT;
    Offshoot__V1__Ack ack = OFFSHOOT__V1__ACK__INIT;
    ack.nonce = nonce;
    ack.epoch = epoch;
    ack.state = state;
    m.message_case = OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_ACK;
    m.ack = &ack;
    tell(p, &m);
}

static void beat(struct proxy *p, uint64_t epoch)
{
    Offshoot__V1__ProxyMessage m = OFFSHOOT__V1__PROXY_MESSAGE__INIT;
    Offshoot__V1__Heartbeat h = OFFSHOOT__V1__HEARTBEAT__INIT;
    h.epoch = epoch;
    m.message_case = OFFSHOOT__V1__PROXY_MESSAGE__MESSAGE_HEARTBEAT;
    m.heartbeat = &h;
    tell(p, &m);
}

static void on_stage(struct proxy *p, const Offshoot__V1__Stage *stage, size_t n)
{
    if (stage->chunk == 0)
        p->messages = p->bytes = 0;
    p->messages++;
    p->bytes += n;
    if (stage->chunk + 1 == stage->chunks)
        answer(p, stage->nonce, stage->epoch, OFFSHOOT__V1__ACK_STATE__STAGED);
}

static void on_activate(struct proxy *p, const Offshoot__V1__Activate *a)
{
    struct crowd *c = p->crowd;
    unsigned at = a->epoch % EPOCHS;
    answer(p, a->nonce, a->epoch, OFFSHOOT__V1__ACK_STATE__ACTIVE);
    if (c->epochs[at].epoch != a->epoch) {
        c->epochs[at].epoch = a->epoch;
        c->epochs[at].told = 0;
    }
    if (++c->epochs[at].told < c->n)
        return;
    if (!c->ready)
        puts("ready");
    c->ready = true;
    printf("{\"epoch\":%llu,\"message_bytes\":%zu,\"wire_bytes\":%zu}\n",
        (unsigned long long)a->epoch, p->bytes, p->bytes + FRAMING * p->messages);
    fflush(stdout);
}

static void on_message(struct grpc_stream *st, struct str bytes, void *arg)
{
    struct proxy *p = proxy_of(arg);
    (void)st;
    Offshoot__V1__AgentMessage *m = (Offshoot__V1__AgentMessage *)pb_unpack(
        &offshoot__v1__agent_message__descriptor, bytes, pb_budget(bytes.n));
    if (!m)
        die("a message cannot be read");
    if (m->message_case == OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_STAGE)
        on_stage(p, m->stage, bytes.n);
    else if (m->message_case == OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_ACTIVATE)
        on_activate(p, m->activate);
    else if (m->message_case == OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_RETIRE)
        answer(p, m->retire->nonce, m->retire->epoch, OFFSHOOT__V1__ACK_STATE__RETIRED);
    else if (m->message_case == OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_HEARTBEAT)
        beat(p, m->heartbeat->epoch);
    pb_free((ProtobufCMessage *)m);
}

static void on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct proxy *p = proxy_of(arg);
    (void)st;
    fprintf(stderr, "push_proxies: stream %u ended: %s %.*s\n", p->number, grpc_status_word(status),
        STR_ARG(text));
    exit(1);
}

static void on_up(struct grpc_client *client, void *arg)
{
    struct proxy *p = proxy_of(arg);
    p->stream = grpc_call(grpc_client_session(client), STR("localhost"), STR(PATH));
    if (!p->stream)
        die("cannot call");
    say_hello(p);
}

static void on_down(struct grpc_client *client, const char *why, uint32_t retry_ms, void *arg)
{
    (void)proxy_of(arg);
    (void)client;
    (void)retry_ms;
    fprintf(stderr, "push_proxies: %s\n", why); /* dialled again */
}

static void connect_all(struct event_base *base, const char *target, struct crowd *c)
{
    static const struct grpc_client_events events = {
        .call = {.on_message = on_message, .on_end = on_end}, .on_up = on_up, .on_down = on_down};
    const struct grpc_client_options o = {
        .limits = {.streams = 1, .message_bytes = 512u << 10, .queue_bytes = 64u << 10},
        .connect_ms = 30000,
        .backoff_ms = 100,
        .backoff_max_ms = 1000,
        .ping_ms = 60000};
    struct err e = {0};
    for (unsigned i = 0; i < c->n; i++) {
        struct proxy *p = mem_zalloc(sizeof *p);
        if (!p)
            die("out of memory");
        p->magic = PROXY_MAGIC;
        p->number = i;
        p->crowd = c;
        p->client = grpc_client_new(base, NULL, target, &o, &events, p, &e);
        if (!p->client)
            die(e.text);
    }
}

int main(int argc, char **argv)
{
    static struct crowd crowd;
    struct rlimit files;
    uint64_t n = 0;
    if (argc != 3 || parse_u64(str_c(argv[2]), &n) != 0 || n < 1 || n > 100000)
        die("want ADDRESS N");
    crowd.n = (unsigned)n;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct event_base *base = event_base_new();
    if (!base)
        die("out of memory");
    connect_all(base, argv[1], &crowd);
    event_base_dispatch(base); /* until it is killed */
    return 0;
}
