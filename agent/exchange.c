/* Chunks → exchanges. Each open exchange has a pool for its head and two bodies that grow; all of
 * it becomes the exchange's own memory when it is whole. */
#include "agent/exchange.h"
#include "lib/base/list.h"
#include "lib/base/mem.h"
#include "lib/base/pballoc.h"
#include "lib/base/pool.h"
#include "proto/offshoot/v1/capture.pb-c.h"
#include <errno.h>

#define OPEN_DEFAULT  256u
#define BODY_DEFAULT  (1u << 20)
#define BYTES_DEFAULT (64u << 20)
#define BUCKETS       64u /* of open exchanges by id; a power of two */
#define POOL_CHUNK    2048u
#define BODY_FIRST    1024u
#define NODE_MAX      253u
#define STATUS_MIN    200u
#define STATUS_MAX    599u

struct content {
    char *p;
    size_t n, size;
};

/* An exchange with the memory behind it. */
struct kept {
    struct exchange x; /* first: exchange_unref finds the rest by it */
    struct list link;
    uint64_t id;
    struct pool *pool;
    struct content body[2]; /* of the request, of the reply */
    bool replied;
};

struct assembly {
    struct assembly_limits limits;
    struct exchange_events events;
    void *arg;
    bool began;
    char node[NODE_MAX + 1];
    uint32_t worker;
    uint64_t last_id;
    uint32_t open;
    uint64_t bytes; /* of all that are open */
    struct list buckets[BUCKETS];
    struct assembly_sums sums;
};

/* ---- an exchange ---- */

static void kept_free(struct kept *k)
{
    pool_free(k->pool);
    mem_free(k->body[0].p);
    mem_free(k->body[1].p);
    mem_free(k);
}

struct exchange *exchange_ref(struct exchange *x)
{
    x->refs++;
    return x;
}

void exchange_unref(struct exchange *x)
{
    if (x && --x->refs == 0)
        kept_free(x->memory);
}

static size_t kept_bytes(const struct kept *k)
{
    return sizeof *k + pool_bytes(k->pool) + k->body[0].size + k->body[1].size;
}

static int take_text(struct kept *k, const char *from, struct str *ret)
{
    *ret = pool_str(k->pool, str_c(from));
    return ret->p ? 0 : -ENOMEM;
}

static int take_fields(struct kept *k, Offshoot__V1__CaptureField *const *from, size_t n,
    const struct reply_field **ret, size_t *ret_n)
{
    struct reply_field *f = pool_alloc(k->pool, (n + 1) * sizeof *f);
    for (size_t i = 0; f && i < n; i++) {
        struct str value = {(const char *)from[i]->value.data, from[i]->value.len};
        f[i].name = pool_str(k->pool, str_c(from[i]->name));
        f[i].value = pool_str(k->pool, value);
        if (!f[i].name.p || !f[i].value.p)
            return -ENOMEM;
    }
    if (!f)
        return -ENOMEM;
    *ret = f;
    *ret_n = n;
    return 0;
}

static int take_begin(struct kept *k, const Offshoot__V1__ExchangeBegin *b)
{
    struct exchange *x = &k->x;
    int rc = take_text(k, b->method, &x->method);
    rc = rc ? rc : take_text(k, b->authority, &x->authority);
    rc = rc ? rc : take_text(k, b->path, &x->path);
    rc = rc ? rc : take_text(k, b->environment, &x->environment);
    rc = rc ? rc : take_text(k, b->service, &x->service);
    rc = rc ? rc : take_text(k, b->client, &x->client);
    rc = rc ? rc : take_fields(k, b->fields, b->n_fields, &x->fields, &x->nfields);
    memcpy(x->trace_id, b->trace_id.data, TRACE_BYTES);
    x->nsessions = (unsigned)b->n_sessions;
    for (unsigned i = 0; i < x->nsessions; i++)
        x->sessions[i] = b->sessions[i];
    x->epoch = b->epoch;
    x->time_unix_us = b->time_unix_us;
    x->https = b->https;
    x->grpc = b->grpc;
    return rc;
}

static struct kept *kept_new(const Offshoot__V1__ExchangeBegin *b)
{
    struct kept *k = mem_zalloc(sizeof *k);
    if (!k)
        return NULL;
    k->id = b->id;
    k->x.refs = 1;
    k->x.memory = k;
    k->pool = pool_new(POOL_CHUNK);
    if (k->pool && take_begin(k, b) == 0)
        return k;
    kept_free(k);
    return NULL;
}

/* ---- those that are open ---- */

static struct list *bucket(struct assembly *a, uint64_t id)
{
    return &a->buckets[id & (BUCKETS - 1)];
}

static struct kept *find(struct assembly *a, uint64_t id)
{
    list_for_each (it, bucket(a, id)) {
        struct kept *k = list_entry(it, struct kept, link);
        if (k->id == id)
            return k;
    }
    return NULL;
}

static void close_one(struct assembly *a, struct kept *k)
{
    list_remove(&k->link);
    a->open--;
    a->bytes -= kept_bytes(k);
}

static void dropped(struct assembly *a, const char *reason)
{
    a->events.on_dropped(a->arg, str_c(a->node), reason, 1);
}

static void drop(struct assembly *a, struct kept *k, const char *reason)
{
    close_one(a, k);
    kept_free(k);
    dropped(a, reason);
}

/* What is said of an exchange that is not open: it was dropped here, or never begun. */
static int not_open(const struct assembly *a, uint64_t id, const char *what, struct err *e)
{
    if (id != 0 && id <= a->last_id)
        return 0;
    return err_set(
        e, -EBADMSG, "%s of exchange %llu, which was not begun", what, (unsigned long long)id);
}

/* ---- events ---- */

static bool begin_valid(const Offshoot__V1__ExchangeBegin *b)
{
    bool good = b->trace_id.len == TRACE_BYTES && b->n_sessions >= 1 &&
                b->n_sessions <= EXCHANGE_SESSIONS && *b->method && *b->path;
    for (size_t i = 0; good && i < b->n_sessions; i++)
        good = b->sessions[i] != 0;
    return good;
}

static int on_begin(struct assembly *a, const Offshoot__V1__ExchangeBegin *b, struct err *e)
{
    if (b->id <= a->last_id)
        return err_set(e, -EBADMSG, "exchange %llu begins after exchange %llu",
            (unsigned long long)b->id, (unsigned long long)a->last_id);
    if (!begin_valid(b))
        return err_set(e, -EBADMSG,
            "exchange %llu: want 16 bytes of trace-id, 1 to 16 sessions, a method and a path",
            (unsigned long long)b->id);
    a->last_id = b->id;
    if (a->open >= a->limits.open) {
        dropped(a, "in-flight");
        return 0;
    }
    struct kept *k = kept_new(b);
    if (!k || a->bytes + kept_bytes(k) > a->limits.bytes) {
        if (k)
            kept_free(k);
        dropped(a, "memory");
        return 0;
    }
    list_append(bucket(a, k->id), &k->link);
    a->open++;
    a->bytes += kept_bytes(k);
    return 0;
}

static int content_grow(struct content *c, size_t more)
{
    size_t size = c->size ? c->size : BODY_FIRST;
    while (size < c->n + more)
        size *= 2;
    if (size == c->size)
        return 0;
    char *p = mem_realloc(c->p, size);
    if (!p)
        return -ENOMEM;
    c->p = p;
    c->size = size;
    return 0;
}

static int on_body(struct assembly *a, const Offshoot__V1__ExchangeBody *b, struct err *e)
{
    struct kept *k = find(a, b->id);
    if (!k)
        return not_open(a, b->id, "a body", e);
    if (b->reply && !k->replied)
        return err_set(e, -EBADMSG, "exchange %llu: the reply's body comes before its head",
            (unsigned long long)b->id);
    struct content *c = &k->body[b->reply];
    if (b->data.len > a->limits.body_bytes - c->n) {
        drop(a, k, "body");
        return 0;
    }
    size_t before = c->size;
    if (content_grow(c, b->data.len) != 0) {
        drop(a, k, "memory");
        return 0;
    }
    a->bytes += c->size - before;
    if (b->data.len)
        memcpy(c->p + c->n, b->data.data, b->data.len);
    c->n += b->data.len;
    if (a->bytes > a->limits.bytes)
        drop(a, k, "memory");
    return 0;
}

/* A head or trailers taken into the pool: what that costs counts. */
static bool counted(struct assembly *a, struct kept *k, size_t before, int rc)
{
    a->bytes += pool_bytes(k->pool) - before;
    if (rc == 0 && a->bytes <= a->limits.bytes)
        return true;
    drop(a, k, "memory");
    return false;
}

static int on_reply(struct assembly *a, const Offshoot__V1__ExchangeReply *r, struct err *e)
{
    struct kept *k = find(a, r->id);
    if (!k)
        return not_open(a, r->id, "a reply", e);
    if (k->replied || r->status < STATUS_MIN || r->status > STATUS_MAX)
        return err_set(e, -EBADMSG, "exchange %llu: %s", (unsigned long long)r->id,
            k->replied ? "a second reply" : "its reply's status is not 200 to 599");
    size_t before = pool_bytes(k->pool);
    struct reply *p = &k->x.primary;
    k->replied = true;
    p->status = r->status;
    int rc = take_text(k, r->refusal, &k->x.refusal);
    rc = rc ? rc : take_fields(k, r->fields, r->n_fields, &p->fields, &p->nfields);
    counted(a, k, before, rc);
    return 0;
}

static void whole(struct assembly *a, struct kept *k, const Offshoot__V1__ExchangeEnd *end)
{
    struct exchange *x = &k->x;
    x->body = str_of(k->body[0].p, k->body[0].n);
    x->primary.outcome = REPLY_WHOLE;
    x->primary.body = str_of(k->body[1].p, k->body[1].n);
    x->primary.latency_us = end->total_us;
    x->first_us = end->first_us;
    close_one(a, k);
    x->bytes = kept_bytes(k);
    a->events.on_exchange(a->arg, x);
    exchange_unref(x);
}

/* A drop that the proxy tells is in its sums (CaptureDrops): it is not counted here. */
static int on_end(struct assembly *a, const Offshoot__V1__ExchangeEnd *end, struct err *e)
{
    struct kept *k = find(a, end->id);
    if (!k)
        return not_open(a, end->id, "the end", e);
    if (end->dropped != OFFSHOOT__V1__CAPTURE_DROP__KEPT) {
        close_one(a, k);
        kept_free(k);
        return 0;
    }
    if (!k->replied)
        return err_set(
            e, -EBADMSG, "exchange %llu ends whole and has no reply", (unsigned long long)end->id);
    size_t before = pool_bytes(k->pool);
    struct reply *p = &k->x.primary;
    int rc = take_fields(k, end->trailers, end->n_trailers, &p->trailers, &p->ntrailers);
    if (counted(a, k, before, rc))
        whole(a, k, end);
    return 0;
}

static int on_hop(struct assembly *a, const Offshoot__V1__Hop *h, struct err *e)
{
    static const enum hop_kind kinds[] = {HOP_OF_SAMPLED, HOP_OF_DARK, HOP_OF_LOST, HOP_OF_BLOCKED};
    if (h->trace_id.len != TRACE_BYTES)
        return err_set(e, -EBADMSG, "a hop without 16 bytes of trace-id");
    if ((unsigned)h->kind >= sizeof kinds / sizeof kinds[0])
        return 0; /* one of a later version */
    struct hop hop = {.node = str_c(a->node),
        .service = str_c(h->service),
        .environment = str_c(h->environment),
        .provider = str_c(h->provider),
        .method = str_c(h->method),
        .refusal = str_c(h->refusal),
        .flags = h->flags,
        .kind = kinds[h->kind]};
    memcpy(hop.trace_id, h->trace_id.data, TRACE_BYTES);
    a->events.on_hop(a->arg, &hop);
    return 0;
}

static const char *const drop_words[EXCHANGE_DROPS] = {
    "kept", "in-flight", "memory", "body", "aborted", "retried", "tunnel", "head", "disconnected"};

const char *exchange_drop_word(unsigned drop)
{
    return drop < EXCHANGE_DROPS ? drop_words[drop] : "unknown";
}

unsigned exchange_drop_number(const char *word)
{
    unsigned i = 0;
    while (i < EXCHANGE_DROPS && strcmp(drop_words[i], word) != 0)
        i++;
    return i;
}

/* Sums since the proxy started: lower ones are those of a new process. What the first report of a
 * worker says, of which nothing is remembered, may have been told to somebody else. */
static int on_drops(struct assembly *a, const Offshoot__V1__CaptureDrops *d, struct err *e)
{
    struct assembly_sums now = {.known = true};
    if (d->n_dropped > ASSEMBLY_DROPS)
        return err_set(e, -EBADMSG, "sums of more than %u kinds of drops", ASSEMBLY_DROPS);
    for (size_t i = 0; i < d->n_dropped; i++)
        now.dropped[i] = d->dropped[i];
    for (unsigned i = 1; i < ASSEMBLY_DROPS && a->sums.known; i++) {
        uint64_t last = a->sums.dropped[i], n = now.dropped[i];
        uint64_t more = n >= last ? n - last : n;
        if (more)
            a->events.on_dropped(a->arg, str_c(a->node), exchange_drop_word(i), more);
    }
    a->sums = now;
    return 0;
}

static int on_event(struct assembly *a, const Offshoot__V1__CaptureEvent *v, struct err *e)
{
    switch (v->event_case) {
    case OFFSHOOT__V1__CAPTURE_EVENT__EVENT_BEGIN:
        return on_begin(a, v->begin, e);
    case OFFSHOOT__V1__CAPTURE_EVENT__EVENT_BODY:
        return on_body(a, v->body, e);
    case OFFSHOOT__V1__CAPTURE_EVENT__EVENT_REPLY:
        return on_reply(a, v->reply, e);
    case OFFSHOOT__V1__CAPTURE_EVENT__EVENT_END:
        return on_end(a, v->end, e);
    case OFFSHOOT__V1__CAPTURE_EVENT__EVENT_HOP:
        return on_hop(a, v->hop, e);
    case OFFSHOOT__V1__CAPTURE_EVENT__EVENT_DROPS:
        return on_drops(a, v->drops, e);
    default:
        return 0; /* one of a later version */
    }
}

/* ---- a stream ---- */

struct assembly *assembly_new(
    const struct assembly_limits *l, const struct exchange_events *events, void *arg)
{
    struct assembly *a = mem_zalloc(sizeof *a);
    if (!a)
        return NULL;
    a->limits = *l;
    a->limits.open = l->open ? l->open : OPEN_DEFAULT;
    a->limits.body_bytes = l->body_bytes ? l->body_bytes : BODY_DEFAULT;
    a->limits.bytes = l->bytes ? l->bytes : BYTES_DEFAULT;
    a->events = *events;
    a->arg = arg;
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&a->buckets[i]);
    return a;
}

void assembly_free(struct assembly *a)
{
    if (!a)
        return;
    for (unsigned i = 0; i < BUCKETS; i++)
        list_for_each (it, &a->buckets[i])
            kept_free(list_entry(it, struct kept, link));
    mem_free(a);
}

static int first_chunk(struct assembly *a, const Offshoot__V1__CaptureChunk *c, struct err *e)
{
    struct str node = str_c(c->node);
    if (a->began)
        return node.n == 0 ? 0 : err_set(e, -EBADMSG, "a second chunk that names the node");
    if (node.n == 0 || node.n > NODE_MAX)
        return err_set(e, -EBADMSG, "the first chunk does not name the node");
    memcpy(a->node, node.p, node.n);
    a->worker = c->worker;
    a->began = true;
    return a->events.on_node(a->arg, node, e);
}

int assembly_feed(struct assembly *a, struct str chunk, struct err *e)
{
    ProtobufCMessage *base =
        pb_unpack(&offshoot__v1__capture_chunk__descriptor, chunk, pb_budget(chunk.n));
    if (!base)
        return err_set(e, -EBADMSG, "not a CaptureChunk");
    const Offshoot__V1__CaptureChunk *c = (const Offshoot__V1__CaptureChunk *)base;
    int rc = first_chunk(a, c, e);
    for (size_t i = 0; i < c->n_events && rc == 0; i++) {
        rc = on_event(a, c->events[i], e);
        if (rc != 0)
            err_prefix(e, "event %zu", i);
    }
    pb_free(base);
    return rc;
}

struct str assembly_node(const struct assembly *a)
{
    return str_c(a->node);
}

uint32_t assembly_worker(const struct assembly *a)
{
    return a->worker;
}

uint32_t assembly_open(const struct assembly *a)
{
    return a->open;
}

uint64_t assembly_bytes(const struct assembly *a)
{
    return a->bytes;
}

void assembly_limit(struct assembly *a, uint64_t bytes)
{
    a->limits.bytes = bytes;
}

struct assembly_sums assembly_sums(const struct assembly *a)
{
    return a->sums;
}

void assembly_set_sums(struct assembly *a, const struct assembly_sums *s)
{
    a->sums = *s;
}
