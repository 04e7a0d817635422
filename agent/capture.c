#include "agent/capture.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/grpc.h"
#include <assert.h>
#include <errno.h>

#define CAPTURE_MAGIC   0x43415054u
#define STREAM_MAGIC    0x43415053u
#define STREAMS_DEFAULT 4096u
#define BYTES_DEFAULT   (64ull << 20)
#define MEMORIES_MAX    4096u /* workers whose sums are remembered after their stream ended */

/* What a worker had dropped when its last stream ended. */
struct memory {
    struct list link; /* the oldest first */
    uint32_t worker;
    struct assembly_sums sums;
    size_t nnode;
    char node[];
};

struct capture {
    uint32_t magic;
    struct capture_options o;
    struct grpc_method method;
    struct list streams, memories;
    uint32_t nstreams, nmemories;
    uint64_t bytes;
};

struct stream {
    uint32_t magic;
    struct list link;
    struct capture *capture;
    struct grpc_stream *call;
    struct assembly *assembly;
    enum capture_refusal refusal; /* why on_node refused */
    bool finished;
};

static struct capture *capture_of(void *arg)
{
    struct capture *c = arg;
    assert(c->magic == CAPTURE_MAGIC);
    return c;
}

static struct stream *stream_of(void *arg)
{
    struct stream *t = arg;
    assert(t->magic == STREAM_MAGIC);
    return t;
}

/* ---- sums of drops, from one stream of a worker to its next ---- */

static struct memory *memory_find(const struct capture *c, struct str node, uint32_t worker)
{
    list_for_each (it, &c->memories) {
        struct memory *m = list_entry(it, struct memory, link);
        if (m->worker == worker && str_eq(str_of(m->node, m->nnode), node))
            return m;
    }
    return NULL;
}

static void memory_free(struct capture *c, struct memory *m)
{
    list_remove(&m->link);
    c->nmemories--;
    mem_free(m);
}

/* Memory that is out loses it: the next stream's first report counts nothing. */
static void memory_keep(struct capture *c, const struct assembly *a)
{
    struct assembly_sums sums = assembly_sums(a);
    struct str node = assembly_node(a);
    if (!sums.known)
        return;
    if (c->nmemories == MEMORIES_MAX)
        memory_free(c, list_entry(c->memories.next, struct memory, link));
    struct memory *m = mem_alloc(sizeof *m + node.n);
    if (!m)
        return;
    *m = (struct memory){.worker = assembly_worker(a), .sums = sums, .nnode = node.n};
    memcpy(m->node, node.p, node.n);
    list_append(&c->memories, &m->link);
    c->nmemories++;
}

/* ---- what the assembly tells ---- */

static int on_node(void *arg, struct str node, struct err *e)
{
    struct stream *t = stream_of(arg);
    struct capture *c = t->capture;
    int rc = c->o.known(c->o.arg, t->call, node, e);
    if (rc != 0) {
        t->refusal = CAPTURE_NOT_KNOWN;
        return rc;
    }
    struct memory *m = memory_find(c, node, assembly_worker(t->assembly));
    if (m) {
        assembly_set_sums(t->assembly, &m->sums);
        memory_free(c, m);
    }
    return 0;
}

static void on_exchange(void *arg, struct exchange *x)
{
    struct capture *c = stream_of(arg)->capture;
    counter_inc(&c->o.stats[STAT_CAPTURE_EXCHANGES]);
    c->o.events.on_exchange(c->o.arg, x);
}

static void on_hop(void *arg, const struct hop *h)
{
    struct capture *c = stream_of(arg)->capture;
    counter_inc(&c->o.stats[STAT_CAPTURE_HOPS + h->kind]);
    c->o.events.on_hop(c->o.arg, h);
}

static void on_dropped(void *arg, struct str node, const char *reason, uint64_t n)
{
    struct capture *c = stream_of(arg)->capture;
    counter_add(&c->o.stats[STAT_CAPTURE_DROPPED + exchange_drop_number(reason)], n);
    c->o.events.on_dropped(c->o.arg, node, reason, n);
}

/* ---- streams ---- */

static void refuse(struct stream *t, enum capture_refusal reason, unsigned status, const char *text)
{
    char peer[ADDR_TEXT_MAX];
    addr_format(&grpc_peer(t->call)->addr, peer);
    log_warn("capture stream from %s ended: %s", peer, text);
    counter_inc(&t->capture->o.stats[STAT_CAPTURE_REFUSALS + reason]);
    t->finished = true;
    grpc_finish(t->call, status, str_c(text));
}

static struct assembly *make_assembly(const struct capture *c, struct stream *t)
{
    struct exchange_events events = {
        .on_node = on_node, .on_exchange = on_exchange, .on_hop = on_hop, .on_dropped = on_dropped};
    struct assembly_limits limits = {.body_bytes = c->o.body_bytes, .bytes = c->o.bytes};
    return assembly_new(&limits, &events, t);
}

static unsigned on_call(struct grpc_stream *call, struct str path, const char **ret_text, void *arg)
{
    struct capture *c = capture_of(arg);
    (void)path;
    if (c->nstreams >= c->o.streams) {
        counter_inc(&c->o.stats[STAT_CAPTURE_REFUSALS + CAPTURE_LIMIT]);
        *ret_text = "too many capture streams";
        return GRPC_RESOURCE_EXHAUSTED;
    }
    struct stream *t = mem_zalloc(sizeof *t);
    if (t)
        t->assembly = make_assembly(c, t);
    if (!t || !t->assembly) {
        mem_free(t);
        *ret_text = "out of memory";
        return GRPC_UNAVAILABLE;
    }
    t->magic = STREAM_MAGIC;
    t->capture = c;
    t->call = call;
    list_append(&c->streams, &t->link);
    c->nstreams++;
    grpc_stream_set(call, t);
    return GRPC_OK;
}

static void on_message(struct grpc_stream *call, struct str bytes, void *arg)
{
    struct capture *c = capture_of(arg);
    struct stream *t = stream_of(grpc_stream_get(call));
    struct err e = {0};
    if (t->finished)
        return;
    uint64_t others = c->bytes - assembly_bytes(t->assembly);
    assembly_limit(t->assembly, c->o.bytes > others ? c->o.bytes - others : 0);
    int rc = assembly_feed(t->assembly, bytes, &e);
    c->bytes = others + assembly_bytes(t->assembly);
    if (rc == -EBADMSG)
        refuse(t, CAPTURE_MALFORMED, GRPC_INVALID_ARGUMENT, e.text);
    else if (rc != 0)
        refuse(t, t->refusal, GRPC_PERMISSION_DENIED, e.text);
}

static void on_half_close(struct grpc_stream *call, void *arg)
{
    struct stream *t = stream_of(grpc_stream_get(call));
    (void)capture_of(arg);
    if (t->finished)
        return;
    t->finished = true;
    grpc_send(call, STR("")); /* CaptureEnd has no fields */
    grpc_finish(call, GRPC_OK, STR(""));
}

static void on_end(struct grpc_stream *call, unsigned status, struct str text, void *arg)
{
    struct capture *c = capture_of(arg);
    struct stream *t = stream_of(grpc_stream_get(call));
    (void)status;
    (void)text;
    memory_keep(c, t->assembly);
    c->bytes -= assembly_bytes(t->assembly);
    assembly_free(t->assembly);
    list_remove(&t->link);
    c->nstreams--;
    mem_free(t);
}

static const struct grpc_events stream_events = {
    .on_call = on_call, .on_message = on_message, .on_half_close = on_half_close, .on_end = on_end};

struct capture *capture_new(const struct capture_options *o)
{
    struct capture *c = mem_zalloc(sizeof *c);
    if (!c)
        return NULL;
    c->magic = CAPTURE_MAGIC;
    c->o = *o;
    c->o.streams = o->streams ? o->streams : STREAMS_DEFAULT;
    c->o.bytes = o->bytes ? o->bytes : BYTES_DEFAULT;
    c->method = (struct grpc_method){"/offshoot.v1.Capture/Exchanges", &stream_events, c};
    list_init(&c->streams);
    list_init(&c->memories);
    return c;
}

const struct grpc_method *capture_method(const struct capture *c)
{
    return &c->method;
}

uint32_t capture_streams(const struct capture *c)
{
    return c->nstreams;
}

uint64_t capture_bytes(const struct capture *c)
{
    return c->bytes;
}

void capture_free(struct capture *c)
{
    if (!c)
        return;
    assert(list_empty(&c->streams));
    list_for_each (it, &c->memories)
        memory_free(c, list_entry(it, struct memory, link));
    mem_free(c);
}
