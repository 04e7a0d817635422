#include "proxy/trace.h"
#include "lib/base/list.h"
#include "lib/base/mem.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SHARDS 64
#define ID_LEN 32

struct record {
    struct record *next;
    uint64_t order;
    size_t n;
    char text[];
};

struct trace {
    struct list link; /* in the shard, least recently used first */
    struct record *first, **last;
    uint64_t used_ms, orders;
    uint32_t nrecords;
    char id[ID_LEN];
};

struct shard {
    pthread_mutex_t lock;
    struct list traces;
    uint32_t count;
};

struct traces {
    uint32_t shard_limit;
    _Atomic uint32_t count; /* traces in all shards */
    struct shard shard[SHARDS];
};

struct traces *traces_new(uint32_t limit)
{
    struct traces *t = mem_zalloc(sizeof *t);
    if (!t)
        return NULL;
    t->shard_limit = limit / SHARDS ? limit / SHARDS : 1;
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&t->shard[i].lock, NULL);
        list_init(&t->shard[i].traces);
    }
    return t;
}

static void trace_free(struct traces *all, struct shard *s, struct trace *t)
{
    while (t->first) {
        struct record *r = t->first;
        t->first = r->next;
        mem_free(r);
    }
    list_remove(&t->link);
    s->count--;
    atomic_fetch_sub_explicit(&all->count, 1, memory_order_relaxed);
    mem_free(t);
}

void traces_free(struct traces *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &t->shard[i];
        list_for_each (it, &s->traces)
            trace_free(t, s, list_entry(it, struct trace, link));
        pthread_mutex_destroy(&s->lock);
    }
    mem_free(t);
}

/* The last hex digits of a trace-id are its random part. */
static struct shard *shard_of(struct traces *t, struct str id)
{
    unsigned h = 0;
    for (size_t i = id.n > 8 ? id.n - 8 : 0; i < id.n; i++)
        h = h * 31 + (unsigned char)id.p[i];
    return &t->shard[h % SHARDS];
}

static struct trace *find(struct shard *s, struct str id)
{
    list_for_each (it, &s->traces) {
        struct trace *t = list_entry(it, struct trace, link);
        if (id.n == ID_LEN && memcmp(t->id, id.p, ID_LEN) == 0)
            return t;
    }
    return NULL;
}

static void expire(struct traces *all, struct shard *s, uint64_t now_ms)
{
    while (!list_empty(&s->traces)) {
        struct trace *t = list_entry(s->traces.next, struct trace, link);
        if (t->used_ms + TRACE_LIFE_MS > now_ms)
            return;
        trace_free(all, s, t);
    }
}

static struct trace *make(struct traces *all, struct shard *s, struct str id)
{
    if (s->count >= all->shard_limit || id.n != ID_LEN)
        return NULL;
    struct trace *t = mem_zalloc(sizeof *t);
    if (!t)
        return NULL;
    memcpy(t->id, id.p, ID_LEN);
    t->last = &t->first;
    list_append(&s->traces, &t->link);
    s->count++;
    atomic_fetch_add_explicit(&all->count, 1, memory_order_relaxed);
    return t;
}

static uint64_t add(struct trace *t, struct str text)
{
    if (t->nrecords >= TRACE_RECORDS || text.n > TRACE_RECORD_MAX)
        return 0;
    struct record *r = mem_alloc(sizeof *r + text.n);
    if (!r)
        return 0;
    r->next = NULL;
    r->order = ++t->orders;
    r->n = text.n;
    memcpy(r->text, text.p, text.n);
    *t->last = r;
    t->last = &r->next;
    t->nrecords++;
    return r->order;
}

uint64_t traces_add(struct traces *t, struct str trace_id, struct str record, uint64_t now_ms)
{
    struct shard *s = shard_of(t, trace_id);
    pthread_mutex_lock(&s->lock);
    expire(t, s, now_ms);
    struct trace *at = find(s, trace_id);
    if (!at)
        at = make(t, s, trace_id);
    uint64_t order = 0;
    if (at) {
        at->used_ms = now_ms;
        list_remove(&at->link);
        list_append(&s->traces, &at->link);
        order = add(at, record);
    }
    pthread_mutex_unlock(&s->lock);
    return order;
}

bool traces_any(const struct traces *t)
{
    return atomic_load_explicit(&t->count, memory_order_relaxed) != 0;
}

bool traces_known(struct traces *t, struct str trace_id, uint64_t now_ms)
{
    struct shard *s = shard_of(t, trace_id);
    pthread_mutex_lock(&s->lock);
    expire(t, s, now_ms);
    bool known = find(s, trace_id) != NULL;
    pthread_mutex_unlock(&s->lock);
    return known;
}

void traces_join(
    struct traces *t, struct str trace_id, uint64_t order, struct text *out, size_t room)
{
    struct shard *s = shard_of(t, trace_id);
    pthread_mutex_lock(&s->lock);
    struct trace *at = find(s, trace_id);
    for (struct record *r = at ? at->first : NULL; r; r = r->next) {
        if (r->order <= order)
            continue;
        if (out->n + r->n + 2 > room)
            break;
        text_add(out, STR(", "));
        text_add(out, str_of(r->text, r->n));
    }
    pthread_mutex_unlock(&s->lock);
}

bool traces_show(struct traces *t, struct str trace_id, bool json, struct text *out)
{
    struct shard *s = shard_of(t, trace_id);
    pthread_mutex_lock(&s->lock);
    struct trace *at = find(s, trace_id);
    if (at && json)
        text_fmt(out, "{\"trace\":\"%.*s\",\"records\":[", ID_LEN, at->id);
    for (struct record *r = at ? at->first : NULL; r; r = r->next) {
        text_add(out, json ? STR("\"") : STR(""));
        text_json(out, str_of(r->text, r->n));
        text_add(out, !json ? STR("\n") : r->next ? STR("\",") : STR("\""));
    }
    if (at && json)
        text_add(out, STR("]}\n"));
    pthread_mutex_unlock(&s->lock);
    return at != NULL;
}
