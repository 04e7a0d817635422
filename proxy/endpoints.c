#include "proxy/endpoints.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const order_words[ENDPOINT_ORDER_COUNT] = {"drain", "disable", "enable"};

const char *endpoint_order_word(enum endpoint_order o)
{
    return order_words[o];
}

bool endpoint_order_parse(const char *word, enum endpoint_order *ret)
{
    for (unsigned i = 0; i < ENDPOINT_ORDER_COUNT; i++) {
        if (strcmp(word, order_words[i]) != 0)
            continue;
        *ret = (enum endpoint_order)i;
        return true;
    }
    return false;
}

struct endpoint_table *endpoint_table_new(void)
{
    struct endpoint_table *t = mem_zalloc(sizeof *t);
    for (unsigned i = 0; t && i < ENDPOINT_SHARDS; i++)
        pthread_mutex_init(&t->shard[i].lock, NULL);
    return t;
}

static void entry_free(struct endpoint_entry *e)
{
    mem_free((void *)(uintptr_t)e->addr.name.p);
    mem_free(e);
}

void endpoint_table_free(struct endpoint_table *t)
{
    for (unsigned i = 0; t && i < ENDPOINT_SHARDS; i++) {
        for (unsigned k = 0; k < ENDPOINT_BUCKETS; k++) {
            while (t->shard[i].bucket[k]) {
                struct endpoint_entry *e = t->shard[i].bucket[k];
                t->shard[i].bucket[k] = e->next;
                entry_free(e);
            }
        }
        pthread_mutex_destroy(&t->shard[i].lock);
    }
    mem_free(t);
}

static uint32_t load(const _Atomic uint32_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

/* ---- finding ---- */

static struct endpoint_shard *lock_shard(struct endpoint_table *t, uint64_t hash)
{
    struct endpoint_shard *s = &t->shard[hash % ENDPOINT_SHARDS];
    pthread_mutex_lock(&s->lock);
    return s;
}

static struct endpoint_entry **place(struct endpoint_shard *s, uint64_t hash, const struct addr *a)
{
    struct endpoint_entry **at = &s->bucket[hash / ENDPOINT_SHARDS % ENDPOINT_BUCKETS];
    while (*at && ((*at)->hash != hash || !addr_eq(&(*at)->addr, a)))
        at = &(*at)->next;
    return at;
}

static struct endpoint_entry *entry_make(
    struct endpoint_entry **at, uint64_t hash, const struct addr *a, uint64_t now_ms)
{
    struct endpoint_entry *e = mem_zalloc(sizeof *e);
    char *name = e && a->name.n ? mem_dup(a->name.p, a->name.n) : NULL;
    if (!e || (a->name.n && !name)) {
        mem_free(e);
        return NULL;
    }
    e->hash = hash;
    e->addr = *a;
    e->addr.name = (struct str){name, a->name.n};
    atomic_store_explicit(&e->open_ms, now_ms, memory_order_relaxed);
    list_init(&e->uses);
    *at = e;
    return e;
}

static bool ordered(const struct endpoint_entry *e)
{
    return atomic_load_explicit(&e->state, memory_order_relaxed) &
           (ENDPOINT_DRAINED | ENDPOINT_DISABLED);
}

/* Under the shard's lock. */
static void free_unused(struct endpoint_shard *s, struct endpoint_entry *e)
{
    if (e->holds > 0 || !list_empty(&e->uses) || ordered(e))
        return;
    struct endpoint_entry **at = &s->bucket[e->hash / ENDPOINT_SHARDS % ENDPOINT_BUCKETS];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    entry_free(e);
}

/* ---- workers ---- */

int endpoint_attach(struct endpoint_table *t, struct endpoint_use *u, const struct addr *a,
    uint64_t hash, uint64_t now_ms)
{
    struct endpoint_shard *s = lock_shard(t, hash);
    struct endpoint_entry **at = place(s, hash, a);
    struct endpoint_entry *e = *at ? *at : entry_make(at, hash, a, now_ms);
    if (e) {
        u->entry = e;
        list_append(&e->uses, &u->link);
    }
    pthread_mutex_unlock(&s->lock);
    return e ? 0 : -ENOMEM;
}

void endpoint_detach(struct endpoint_table *t, struct endpoint_use *u)
{
    struct endpoint_shard *s = lock_shard(t, u->entry->hash);
    list_remove(&u->link);
    free_unused(s, u->entry);
    pthread_mutex_unlock(&s->lock);
    u->entry = NULL;
}

/* ---- control thread ---- */

struct endpoint_entry *endpoint_hold(struct endpoint_table *t, struct endpoint_use *u)
{
    struct endpoint_shard *s = lock_shard(t, u->entry->hash);
    u->entry->holds++;
    pthread_mutex_unlock(&s->lock);
    return u->entry;
}

void endpoint_release(struct endpoint_table *t, struct endpoint_entry *e)
{
    struct endpoint_shard *s = lock_shard(t, e->hash);
    e->holds--;
    free_unused(s, e);
    pthread_mutex_unlock(&s->lock);
}

bool endpoint_used(struct endpoint_table *t, struct endpoint_entry *e)
{
    struct endpoint_shard *s = lock_shard(t, e->hash);
    bool used = !list_empty(&e->uses);
    pthread_mutex_unlock(&s->lock);
    return used;
}

/* Sets and clears bits of the state; the time since when it is open comes first, for whoever sees
 * the new word reads it. True when it changed. */
static bool change(
    struct endpoint_entry *e, uint32_t set, uint32_t clear, uint64_t now_ms, int64_t now_s)
{
    uint32_t before = atomic_load_explicit(&e->state, memory_order_relaxed);
    uint32_t after = (before & ~clear) | set;
    if (after == before)
        return false;
    if ((before & ENDPOINT_CLOSED) && !(after & ENDPOINT_CLOSED))
        atomic_store_explicit(&e->open_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&e->state, after, memory_order_release);
    if ((before ^ after) & ENDPOINT_CLOSED)
        e->changed_s = now_s;
    return (before ^ after) & ENDPOINT_CLOSED;
}

bool endpoint_judge(
    struct endpoint_entry *e, bool healthy, const char *error, uint64_t now_ms, int64_t now_s)
{
    uint32_t set = healthy ? ENDPOINT_CHECKED : ENDPOINT_CHECKED | ENDPOINT_UNHEALTHY;
    snprintf(e->error, sizeof e->error, "%s", error);
    return change(e, set, healthy ? ENDPOINT_UNHEALTHY : 0, now_ms, now_s);
}

void endpoint_unchecked(struct endpoint_entry *e, uint64_t now_ms)
{
    e->error[0] = '\0';
    change(e, 0, ENDPOINT_CHECKED | ENDPOINT_UNHEALTHY, now_ms, e->changed_s);
}

int endpoint_order(struct endpoint_table *t, const struct addr *a, enum endpoint_order o,
    const char *reason, uint64_t now_ms, int64_t now_s, bool *ret_used)
{
    static const uint32_t sets[] = {ENDPOINT_DRAINED, ENDPOINT_DISABLED, 0};
    const uint32_t both = ENDPOINT_DRAINED | ENDPOINT_DISABLED;
    uint64_t hash = addr_hash(a);
    struct endpoint_shard *s = lock_shard(t, hash);
    struct endpoint_entry **at = place(s, hash, a), *e = *at;
    bool before = e && ordered(e), after = sets[o] != 0;
    int rc = 0;
    if (ret_used)
        *ret_used = e && !list_empty(&e->uses);
    if (!e && !after)
        rc = -EALREADY;
    else if (after && !before && t->orders >= ENDPOINT_ORDERS_MAX)
        rc = -ENOBUFS;
    else if (!e && !(e = entry_make(at, hash, a, now_ms)))
        rc = -ENOMEM;
    if (rc == 0) {
        uint32_t old = atomic_load_explicit(&e->state, memory_order_relaxed) & both;
        rc = old == sets[o] ? -EALREADY : 0;
        if (rc == 0)
            e->changed_s = now_s;
        change(e, sets[o], both & ~sets[o], now_ms, now_s);
        if (rc == 0)
            snprintf(e->reason, sizeof e->reason, "%s", after ? reason : "");
        t->orders += (uint32_t)after - (uint32_t)before;
        free_unused(s, e);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- orders as text ---- */

size_t endpoint_orders(const struct endpoint_table *t)
{
    return t->orders;
}

static void order_text(const struct endpoint_entry *e, char *text, size_t size)
{
    char at[ADDR_TEXT_MAX];
    addr_format(&e->addr, at);
    snprintf(text, size, "%s%s%s", at, e->reason[0] ? " " : "", e->reason);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
}

bool endpoint_ordered_at(
    struct endpoint_table *t, size_t n, enum endpoint_order *ret, char *text, size_t size)
{
    bool found = false;
    for (unsigned i = 0; i < ENDPOINT_SHARDS && !found; i++) {
        struct endpoint_shard *s = lock_shard(t, i);
        for (unsigned k = 0; k < ENDPOINT_BUCKETS && !found; k++) {
            for (const struct endpoint_entry *e = s->bucket[k]; e && !found; e = e->next) {
                if (!ordered(e) || n-- > 0)
                    continue;
                bool disabled = load(&e->state) & ENDPOINT_DISABLED;
                *ret = disabled ? ENDPOINT_DISABLE : ENDPOINT_DRAIN;
                order_text(e, text, size);
                found = true;
            }
        }
        pthread_mutex_unlock(&s->lock);
    }
    return found;
}

int endpoint_order_again(struct endpoint_table *t, struct str text, enum endpoint_order o,
    uint64_t now_ms, int64_t now_s)
{
    char reason[ENDPOINT_TEXT_MAX];
    struct addr a;
    size_t n = str_find(text, ' ');
    struct str why = n < text.n ? str_from(text, n + 1) : str_of("", 0);
    if (o > ENDPOINT_DISABLE || addr_parse(str_of(text.p, n), false, &a, NULL) != 0)
        return -EINVAL;
    snprintf(reason, sizeof reason, "%.*s", STR_ARG(why));
    return endpoint_order(t, &a, o, reason, now_ms, now_s, NULL);
}

/* ---- what there is ---- */

static struct endpoint_view view_of(const struct endpoint_entry *e, uint64_t now_ms)
{
    struct endpoint_view v = {.entry = e, .state = load(&e->state)};
    list_for_each (it, &e->uses) {
        const struct endpoint_use *u = list_entry(it, struct endpoint_use, link);
        uint64_t until = atomic_load_explicit(&u->ejected_until_ms, memory_order_relaxed);
        v.connections += load(&u->connections);
        v.idle += load(&u->idle);
        v.inflight += load(&u->inflight);
        v.waiting += load(&u->waiting);
        v.requests += counter_get(&u->requests);
        v.errors += counter_get(&u->errors);
        v.workers++;
        v.ejected += until > now_ms;
        if (until > now_ms && until > v.ejected_until_ms)
            v.ejected_until_ms = until;
    }
    return v;
}

void endpoint_table_each(struct endpoint_table *t, uint64_t now_ms,
    void (*fn)(const struct endpoint_view *v, void *arg), void *arg)
{
    for (unsigned i = 0; i < ENDPOINT_SHARDS; i++) {
        struct endpoint_shard *s = &t->shard[i];
        pthread_mutex_lock(&s->lock);
        for (unsigned k = 0; k < ENDPOINT_BUCKETS; k++) {
            for (const struct endpoint_entry *e = s->bucket[k]; e; e = e->next) {
                struct endpoint_view v = view_of(e, now_ms);
                fn(&v, arg);
            }
        }
        pthread_mutex_unlock(&s->lock);
    }
}

const char *endpoint_view_word(const struct endpoint_view *v)
{
    if (v->state & ENDPOINT_DISABLED)
        return "disabled";
    if (v->state & ENDPOINT_DRAINED)
        return v->inflight ? "draining" : "drained";
    if (v->state & ENDPOINT_UNHEALTHY)
        return "unhealthy";
    if (v->ejected)
        return "ejected";
    return v->state & ENDPOINT_CHECKED ? "healthy" : "open";
}
