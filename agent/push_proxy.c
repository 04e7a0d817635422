/* One proxy: what it holds, what is on its way to it, what it answered. */
#include "agent/push_int.h"
#include "lib/base/mem.h"
#include <assert.h>
#include <stdio.h>
#include <xxhash.h>

uint64_t push_active(const struct push_proxy *x)
{
    return x->foreign ? 0 : x->active;
}

struct push_held *push_find_held(struct push_proxy *x, uint64_t epoch)
{
    for (unsigned i = 0; i < x->nheld; i++)
        if (x->held[i].epoch == epoch)
            return &x->held[i];
    return NULL;
}

static void drop_held(struct push_proxy *x, struct push_held *h)
{
    size_t after = x->nheld - (size_t)(h - x->held) - 1;
    memmove(h, h + 1, after * sizeof *h);
    x->nheld--;
}

static uint64_t next_nonce(struct push_proxy *x)
{
    return ++x->push->nonce;
}

/* ---- nodes ---- */

static struct push_proxy **bucket_of(struct push *p, const char *node)
{
    return &p->buckets[XXH3_64bits(node, strlen(node)) % PUSH_BUCKETS];
}

static struct push_proxy *find(struct push *p, const char *node)
{
    struct push_proxy *x = *bucket_of(p, node);
    while (x && strcmp(x->node, node) != 0)
        x = x->chain;
    return x;
}

static void unlink_proxy(struct push_proxy *x)
{
    uint32_t *n = x->stream ? &x->push->nlive : &x->push->ngone;
    if (x->push->waited == &x->link)
        x->push->waited = NULL;
    list_remove(&x->link);
    --*n;
}

void push_forget(struct push_proxy *x)
{
    assert(x->magic == PUSH_PROXY_MAGIC);
    struct push_proxy **at = bucket_of(x->push, x->node);
    while (*at != x)
        at = &(*at)->chain;
    *at = x->chain;
    unlink_proxy(x);
    mem_free(x->words);
    mem_free(x);
}

/* The texts of Hello in one block; x->words. */
static int keep_words(struct push_proxy *x, const struct push_hello *h)
{
    const char *from[] = {
        h->node, h->version, h->region, h->service, h->environment, h->gateway, h->peer};
    const char **to[] = {
        &x->node, &x->version, &x->region, &x->service, &x->environment, &x->gateway, &x->peer};
    size_t n = 0;
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++)
        n += str_c(from[i]).n + 1;
    char *at = x->words = mem_alloc(n);
    if (!at)
        return -1;
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        struct str s = str_c(from[i]);
        if (s.n)
            memcpy(at, s.p, s.n);
        at[s.n] = '\0';
        *to[i] = at;
        at += s.n + 1;
    }
    return 0;
}

/* An epoch that history has in memory: its digest goes to *ret. */
static bool recent_digest(const struct push *p, uint64_t epoch, unsigned char *ret)
{
    size_t n = history_count(p->history);
    for (size_t i = n > PUSH_RECENT ? n - PUSH_RECENT : 0; i < n; i++) {
        if (history_at(p->history, i)->epoch != epoch)
            continue;
        struct snapshot *s = history_snapshot(p->history, epoch, NULL);
        if (!s)
            return false;
        memcpy(ret, snapshot_digest(s), 32);
        snapshot_unref(s);
        return true;
    }
    return false;
}

/* It holds another history, an epoch above our newest, or another content under one of our numbers
 * (a state folder was restored from a copy): nothing of it is what we mean by it. */
static bool is_foreign(const struct push *p, const struct push_hello *h)
{
    uint64_t newest = p->newest ? snapshot_epoch(p->newest) : 0;
    unsigned char digest[32];
    if (!h->history)
        return false;
    if (memcmp(h->history, history_id(p->history), HISTORY_ID) != 0 || h->active > newest)
        return true;
    for (unsigned i = 0; i < h->nheld; i++) {
        if (h->held[i].epoch > newest)
            return true;
        if (recent_digest(p, h->held[i].epoch, digest) &&
            memcmp(digest, h->held[i].digest, 32) != 0)
            return true;
    }
    return false;
}

static void take_held(struct push_proxy *x, const struct push_hello *h)
{
    x->active = h->active;
    x->foreign = is_foreign(x->push, h);
    if (x->foreign || !h->history)
        return;
    for (unsigned i = 0; i < h->nheld; i++) {
        x->held[i].epoch = h->held[i].epoch;
        memcpy(x->held[i].digest, h->held[i].digest, 32);
    }
    x->nheld = h->nheld;
    if (!push_find_held(x, x->active))
        x->active = 0;
    x->activated = x->active;
}

static struct push_proxy *make(struct push *p, const struct push_hello *h)
{
    struct push_proxy *x = mem_zalloc(sizeof *x);
    if (!x)
        return NULL;
    x->magic = PUSH_PROXY_MAGIC;
    x->push = p;
    x->sidecar = h->sidecar;
    list_init(&x->link);
    if (keep_words(x, h) != 0) {
        mem_free(x);
        return NULL;
    }
    return x;
}

struct push_proxy *push_join(
    struct push *p, const struct push_hello *h, void *stream, uint64_t now_ms)
{
    assert(p->magic == PUSH_MAGIC && stream);
    struct push_proxy *before = find(p, h->node);
    if (p->nlive >= p->o.proxies_max && !(before && before->stream))
        return NULL;
    struct push_proxy *x = make(p, h);
    if (!x)
        return NULL;
    if (before) {
        if (before->stream)
            p->o.drop(p->o.arg, before->stream, "another stream of this node said Hello");
        push_forget(before);
    }
    x->chain = *bucket_of(p, x->node);
    *bucket_of(p, x->node) = x;
    x->stream = stream;
    x->since_ms = now_ms;
    list_append(&p->live, &x->link);
    p->nlive++;
    take_held(x, h);
    push_offer(x, now_ms);
    push_advance(p, now_ms);
    return x;
}

const char *push_node(const struct push_proxy *x)
{
    return x->node;
}

void push_leave(struct push_proxy *x, uint64_t now_ms)
{
    struct push *p = x->push;
    assert(x->magic == PUSH_PROXY_MAGIC && x->stream);
    unlink_proxy(x);
    x->stream = NULL;
    x->since_ms = now_ms;
    x->stage_nonce = 0;
    list_append(&p->gone, &x->link);
    p->ngone++;
    if (p->ngone > p->o.remembered_max)
        push_forget(list_entry(p->gone.next, struct push_proxy, link));
    push_advance(p, now_ms);
}

/* ---- sending ---- */

static bool holds_target(struct push_proxy *x)
{
    return push_find_held(x, snapshot_epoch(x->push->target)) != NULL;
}

bool push_done_with(const struct push_proxy *x)
{
    uint64_t epoch = snapshot_epoch(x->push->target);
    if (x->late || x->failed == epoch)
        return true;
    for (unsigned i = 0; i < x->nheld; i++)
        if (x->held[i].epoch == epoch)
            return true;
    return false;
}

/* The epoch is one that history has in memory, and its content is what the proxy says. */
static bool good_base(const struct push *p, const struct push_held *h)
{
    unsigned char digest[32];
    return !h->retire_nonce && h->epoch < snapshot_epoch(p->target) &&
           recent_digest(p, h->epoch, digest) && memcmp(digest, h->digest, 32) == 0;
}

bool push_unanswered(const struct push_proxy *x)
{
    return x->stage_nonce || (!x->foreign && x->activated > x->active);
}

/* The smallest message that leads the proxy to the target. */
static struct push_bytes *message_for(struct push_proxy *x, uint64_t *ret_base)
{
    struct push_bytes *b;
    bool memory = false;
    for (unsigned i = x->whole_next ? 0 : x->nheld; i-- > 0 && !memory;) {
        if (!good_base(x->push, &x->held[i]))
            continue;
        *ret_base = x->held[i].epoch;
        b = push_encode(x->push, *ret_base, &memory);
        if (b)
            return b;
    }
    *ret_base = 0;
    return memory ? NULL : push_encode(x->push, 0, &memory);
}

static void tell_retire(struct push_proxy *x, struct push_held *h)
{
    h->retire_nonce = next_nonce(x);
    x->push->o.retire(x->push->o.arg, x->stream, h->retire_nonce, h->epoch);
}

/* With all places taken, the oldest that is neither active nor the base makes room. */
static void make_room(struct push_proxy *x, uint64_t base)
{
    if (x->nheld < PUSH_HELD_MAX)
        return;
    for (unsigned i = 0; i < x->nheld; i++) {
        struct push_held *h = &x->held[i];
        if (h->epoch == x->active || h->epoch == x->activated || h->epoch == base)
            continue;
        if (!h->retire_nonce)
            tell_retire(x, h);
        return;
    }
}

void push_offer(struct push_proxy *x, uint64_t now_ms)
{
    struct push *p = x->push;
    uint64_t base;
    if (!p->target || x->stage_nonce || x->failed == snapshot_epoch(p->target))
        return;
    if (holds_target(x)) {
        push_activate(x, now_ms);
        return;
    }
    struct push_bytes *b = message_for(x, &base);
    if (!b) {
        p->again_ms = now_ms + PUSH_AGAIN_MS;
        return;
    }
    make_room(x, base);
    if (!push_unanswered(x))
        x->told_ms = now_ms;
    if (x->whole_next)
        x->whole_tried = snapshot_epoch(p->target);
    x->stage_nonce = next_nonce(x);
    x->stage_epoch = snapshot_epoch(p->target);
    x->stage_base = base;
    memcpy(x->stage_digest, snapshot_digest(p->target), 32);
    p->counts.stages++;
    p->counts.wholes += base == 0;
    p->counts.stage_bytes += b->bytes.n;
    p->o.stage(p->o.arg, x->stream, x->stage_nonce, base, x->stage_epoch, x->stage_digest, b);
    push_bytes_drop(b);
}

void push_activate(struct push_proxy *x, uint64_t now_ms)
{
    struct push *p = x->push;
    for (unsigned i = x->nheld; i-- > 0;) {
        struct push_held *h = &x->held[i];
        if (h->epoch > p->activated || h->retire_nonce)
            continue;
        if (h->epoch <= x->activated)
            return;
        if (!push_unanswered(x))
            x->told_ms = now_ms;
        x->activated = h->epoch;
        h->activate_nonce = next_nonce(x);
        p->o.activate(p->o.arg, x->stream, h->activate_nonce, h->epoch);
        return;
    }
}

void push_retire(struct push_proxy *x)
{
    for (unsigned i = 0; i < x->nheld; i++) {
        struct push_held *h = &x->held[i];
        if (h->epoch < x->push->below && h->epoch < push_active(x) && !h->retire_nonce)
            tell_retire(x, h);
    }
}

/* ---- answers ---- */

/* The proxy dropped its oldest for it, if it had no room. */
static void add_held(struct push_proxy *x)
{
    for (unsigned i = 0; x->nheld == PUSH_HELD_MAX; i++) {
        assert(i < PUSH_HELD_MAX);
        if (x->held[i].epoch != x->active && x->held[i].epoch != x->activated)
            drop_held(x, &x->held[i]);
    }
    struct push_held *h = push_find_held(x, x->stage_epoch);
    if (!h)
        h = &x->held[x->nheld++];
    *h = (struct push_held){.epoch = x->stage_epoch};
    memcpy(h->digest, x->stage_digest, 32);
}

static void on_staged(struct push_proxy *x, uint64_t ns, uint64_t now_ms)
{
    x->stage_nonce = 0;
    if (x->foreign) { /* it has left its own history */
        x->foreign = false;
        x->active = x->activated = 0;
        x->nheld = 0;
    }
    add_held(x);
    x->stage_ns = ns;
    x->stale = x->whole_next = false;
    x->failed = 0;
    if (x->stage_epoch == snapshot_epoch(x->push->target))
        x->late = false;
    push_activate(x, now_ms);
    push_offer(x, now_ms);
}

static void on_active(struct push_proxy *x, const struct push_held *h, uint64_t ns)
{
    x->active = h->epoch;
    if (x->active == snapshot_epoch(x->push->target))
        x->late = false;
    x->activate_ns = ns;
    push_retire(x);
}

bool push_on_ack(struct push_proxy *x, uint64_t nonce, uint64_t epoch, enum push_ack state,
    uint64_t ns, uint64_t now_ms)
{
    bool taken = true;
    assert(x->magic == PUSH_PROXY_MAGIC && x->stream);
    struct push_held *h = push_find_held(x, epoch);
    x->push->counts.acks++;
    x->ack_ms = now_ms;
    if (nonce == 0)
        return false;
    if (state == PUSH_STAGED && nonce == x->stage_nonce && epoch == x->stage_epoch)
        on_staged(x, ns, now_ms);
    else if (state == PUSH_ACTIVE && h && nonce == h->activate_nonce && h->epoch > x->active)
        on_active(x, h, ns);
    else if (state == PUSH_RETIRED && h && nonce == h->retire_nonce)
        drop_held(x, h);
    else
        taken = false;
    push_advance(x->push, now_ms);
    return taken;
}

static void note_nack(
    struct push_proxy *x, uint64_t epoch, enum push_nack reason, struct str text, uint64_t now_ms)
{
    x->nacked = true;
    x->nack_reason = (uint8_t)reason;
    x->nack_epoch = epoch;
    x->nack_ms = now_ms;
    snprintf(x->nack_text, sizeof x->nack_text, "%.*s", STR_ARG(text));
    x->push->counts.nacks++;
}

/* A difference may be refused for what the proxy holds: the whole is tried, once. */
static void on_stage_refused(struct push_proxy *x, enum push_nack reason)
{
    bool of_base =
        reason == PUSH_BASE_UNKNOWN || reason == PUSH_BAD_DIGEST || reason == PUSH_INVALID_GRAPH;
    x->stage_nonce = 0;
    if (x->stage_base && of_base) {
        x->whole_next = true;
        return;
    }
    x->whole_next = false;
    x->failed = x->stage_epoch;
    x->stale = reason == PUSH_STALE;
}

/* It does not hold what it said it staged, or cannot serve it: staged again as a whole, once. */
static void on_activate_refused(struct push_proxy *x, struct push_held *h, enum push_nack reason)
{
    uint64_t epoch = h->epoch;
    bool again = x->whole_tried != epoch && reason != PUSH_STALE;
    drop_held(x, h);
    x->activated = x->active;
    x->whole_next = again;
    if (!again)
        x->failed = epoch;
    x->stale = reason == PUSH_STALE;
}

void push_on_nack(struct push_proxy *x, uint64_t nonce, uint64_t epoch, enum push_nack reason,
    struct str text, uint64_t now_ms)
{
    assert(x->magic == PUSH_PROXY_MAGIC && x->stream);
    struct push_held *h = push_find_held(x, epoch);
    note_nack(x, epoch, reason, text, now_ms);
    if (nonce && nonce == x->stage_nonce)
        on_stage_refused(x, reason);
    else if (nonce && h && nonce == h->activate_nonce && h->epoch > x->active)
        on_activate_refused(x, h, reason);
    push_offer(x, now_ms);
    push_advance(x->push, now_ms);
}
