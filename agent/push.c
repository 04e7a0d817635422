/* Rounds. A round stages one epoch, the target, and ends with its activation:
 *
 *   push_commit ─→ newest
 *   push_advance ─→ begin_round: target = newest, push_offer to each live proxy
 *                   all done with, or stage_ms passed ─→ end_round: push_activate to each
 *                   newest is newer still ─→ the next round
 *   settle: all that are waited for ACTIVE ─→ a retire in line, due after retire_ms */
#include "agent/push.h"
#include "agent/push_int.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/graph/codec.h"
#include <assert.h>
#include <errno.h>

#define LATE_NAMED 8u

static uint64_t target_epoch(const struct push *p)
{
    return p->target ? snapshot_epoch(p->target) : 0;
}

static void set_snapshot(struct snapshot **at, struct snapshot *s)
{
    if (s)
        snapshot_ref(s);
    if (*at)
        snapshot_unref(*at);
    *at = s;
}

struct push *push_new(const struct push_options *o, struct history *h)
{
    struct push *p = mem_zalloc(sizeof *p);
    if (!p)
        return NULL;
    p->magic = PUSH_MAGIC;
    p->o = *o;
    p->history = h;
    list_init(&p->live);
    list_init(&p->gone);
    set_snapshot(&p->newest, history_newest(h));
    set_snapshot(&p->target, p->newest);
    if (p->newest && history_count(h) == 1) /* whoever has our history has this epoch */
        p->activated = p->settled = snapshot_epoch(p->newest);
    else if (p->newest)
        p->round = p->recovering = true;
    return p;
}

static void drop_cache(struct push *p)
{
    for (unsigned i = 0; i < PUSH_CACHE; i++) {
        if (p->cache[i].bytes)
            push_bytes_drop(p->cache[i].bytes);
        p->cache[i] = (struct push_encoded){0};
    }
}

void push_free(struct push *p)
{
    if (!p)
        return;
    assert(p->magic == PUSH_MAGIC);
    while (!list_empty(&p->live))
        push_forget(list_entry(p->live.next, struct push_proxy, link));
    while (!list_empty(&p->gone))
        push_forget(list_entry(p->gone.next, struct push_proxy, link));
    drop_cache(p);
    set_snapshot(&p->newest, NULL);
    set_snapshot(&p->target, NULL);
    mem_free(p);
}

/* ---- differences ---- */

void push_bytes_drop(struct push_bytes *b)
{
    assert(b->refs > 0);
    if (--b->refs)
        return;
    mem_free((void *)(uintptr_t)b->bytes.p);
    mem_free(b);
}

static struct push_bytes *encode_new(
    const struct snapshot *base, const struct snapshot *target, bool *ret_memory)
{
    struct pb_out out = {0};
    struct push_bytes *b = mem_zalloc(sizeof *b);
    int rc = b ? codec_encode(base, target, &out, NULL) : -ENOMEM;
    if (rc != 0) {
        *ret_memory = rc == -ENOMEM;
        pb_release(&out);
        mem_free(b);
        return NULL;
    }
    b->refs = 1;
    b->routes = snapshot_needs_routes(target);
    b->bytes = pb_str(&out);
    return b;
}

struct push_bytes *push_encode(struct push *p, uint64_t base, bool *ret_memory)
{
    struct snapshot *from = NULL;
    struct err e = {0};
    *ret_memory = false;
    for (unsigned i = 0; i < PUSH_CACHE; i++) {
        struct push_encoded *c = &p->cache[i];
        if (c->bytes && c->base == base && c->epoch == target_epoch(p)) {
            c->bytes->refs++;
            return c->bytes;
        }
    }
    if (base && !(from = history_snapshot(p->history, base, &e))) {
        *ret_memory = e.code == -ENOMEM;
        return NULL;
    }
    struct push_bytes *b = encode_new(from, p->target, ret_memory);
    if (from)
        snapshot_unref(from);
    if (!b)
        return NULL;
    struct push_encoded *c = &p->cache[p->cache_next++ % PUSH_CACHE];
    if (c->bytes)
        push_bytes_drop(c->bytes);
    *c = (struct push_encoded){base, target_epoch(p), b};
    b->refs++;
    return b;
}

/* ---- rounds ---- */

static void begin_round(struct push *p, uint64_t now_ms)
{
    drop_cache(p);
    set_snapshot(&p->target, p->newest);
    p->round = true;
    p->round_ms = now_ms;
    list_for_each (it, &p->live)
        push_offer(list_entry(it, struct push_proxy, link), now_ms);
}

/* Looks on from the one found last: answers come in the order of the list, so that a round costs a
 * walk or two, not one for each answer. */
static bool all_live(struct push *p, bool (*is_there)(const struct push_proxy *x))
{
    struct list *from = p->waited ? p->waited : p->live.next, *it = from;
    do {
        if (it != &p->live && !is_there(list_entry(it, struct push_proxy, link))) {
            p->waited = it;
            return false;
        }
        it = it->next;
    } while (it != from);
    p->waited = NULL;
    return true;
}

/* Who did not answer in time is late, and named. */
static void mark_late(struct push *p, uint64_t now_ms)
{
    struct text names = {0};
    unsigned n = 0;
    list_for_each (it, &p->live) {
        struct push_proxy *x = list_entry(it, struct push_proxy, link);
        if (x->late || !push_unanswered(x) || now_ms < x->told_ms + p->o.stage_ms)
            continue;
        x->late = true;
        if (n++ < LATE_NAMED)
            text_fmt(&names, "%s%s", n > 1 ? ", " : "", x->node);
    }
    p->counts.late += n;
    if (n)
        log_warn("not waiting for %u late %s on the way to epoch %llu: %s%s", n,
            n == 1 ? "proxy" : "proxies", (unsigned long long)target_epoch(p),
            names.p ? names.p : "", n > LATE_NAMED ? ", ..." : "");
    text_release(&names);
}

static void end_round(struct push *p, uint64_t now_ms)
{
    p->round = p->recovering = false;
    p->activated = target_epoch(p);
    p->counts.activations++;
    list_for_each (it, &p->live)
        push_activate(list_entry(it, struct push_proxy, link), now_ms);
}

static bool round_over(struct push *p, uint64_t now_ms)
{
    if (p->recovering) {
        if (!p->not_before) {
            p->not_before = now_ms + p->o.stage_ms;
            p->round_ms = now_ms;
        }
        list_for_each (it, &p->live)
            if (push_active(list_entry(it, struct push_proxy, link)) == target_epoch(p))
                return true;
        return now_ms >= p->not_before;
    }
    return now_ms >= p->round_ms + p->o.stage_ms || all_live(p, push_done_with);
}

static bool is_settled(const struct push_proxy *x)
{
    uint64_t epoch = x->push->activated;
    return x->late || x->failed == epoch || push_active(x) >= epoch;
}

/* Everybody waited for is active on the target: from now on the time of older epochs runs. */
static void settle(struct push *p, uint64_t now_ms)
{
    if (p->settled == p->activated || !all_live(p, is_settled))
        return;
    p->settled = p->activated;
    if (p->nretires == PUSH_RETIRES) /* the last ones join: later, never earlier */
        p->nretires--;
    p->retires[p->nretires].epoch = p->settled;
    p->retires[p->nretires++].due_ms = now_ms + p->o.retire_ms;
}

static void retire_due(struct push *p, uint64_t now_ms)
{
    unsigned n = 0;
    while (n < p->nretires && now_ms >= p->retires[n].due_ms)
        p->below = p->retires[n++].epoch;
    if (n == 0)
        return;
    p->nretires -= n;
    memmove(p->retires, p->retires + n, p->nretires * sizeof p->retires[0]);
    list_for_each (it, &p->live)
        push_retire(list_entry(it, struct push_proxy, link));
}

void push_advance(struct push *p, uint64_t now_ms)
{
    for (;;) {
        if (p->round && round_over(p, now_ms))
            end_round(p, now_ms);
        if (p->round || !p->newest || target_epoch(p) == snapshot_epoch(p->newest))
            break;
        begin_round(p, now_ms);
    }
    if (!p->round)
        settle(p, now_ms);
}

void push_commit(struct push *p, struct snapshot *s, uint64_t now_ms)
{
    assert(p->magic == PUSH_MAGIC);
    set_snapshot(&p->newest, s);
    if (p->recovering && p->nlive == 0) /* nobody was told of the target before */
        set_snapshot(&p->target, s);
    push_advance(p, now_ms);
}

/* ---- time ---- */

static void sooner(uint64_t *next, uint64_t at)
{
    if (at < *next)
        *next = at;
}

static void forget_old(struct push *p, uint64_t now_ms)
{
    while (!list_empty(&p->gone)) {
        struct push_proxy *x = list_entry(p->gone.next, struct push_proxy, link);
        if (p->ngone <= p->o.remembered_max && now_ms < x->since_ms + p->o.remember_ms)
            break;
        push_forget(x);
    }
}

uint32_t push_tick(struct push *p, uint64_t now_ms)
{
    uint64_t next = now_ms + 60000;
    assert(p->magic == PUSH_MAGIC);
    mark_late(p, now_ms);
    if (p->again_ms && now_ms >= p->again_ms) {
        p->again_ms = 0;
        list_for_each (it, &p->live)
            push_offer(list_entry(it, struct push_proxy, link), now_ms);
    }
    push_advance(p, now_ms);
    retire_due(p, now_ms);
    forget_old(p, now_ms);
    if (p->again_ms)
        sooner(&next, p->again_ms);
    if (p->round)
        sooner(&next, p->recovering ? p->not_before : p->round_ms + p->o.stage_ms);
    list_for_each (it, &p->live) {
        const struct push_proxy *x = list_entry(it, struct push_proxy, link);
        if (!x->late && push_unanswered(x))
            sooner(&next, x->told_ms + p->o.stage_ms);
    }
    if (p->nretires)
        sooner(&next, p->retires[0].due_ms);
    if (!list_empty(&p->gone))
        sooner(
            &next, list_entry(p->gone.next, struct push_proxy, link)->since_ms + p->o.remember_ms);
    return (uint32_t)(next > now_ms ? next - now_ms : 0);
}

/* ---- asked ---- */

uint64_t push_slowest(const struct push *p)
{
    uint64_t slowest = UINT64_MAX;
    list_for_each (it, &p->live) {
        uint64_t active = push_active(list_entry(it, struct push_proxy, link));
        slowest = active < slowest ? active : slowest;
    }
    return slowest;
}

uint64_t push_activated(const struct push *p)
{
    return p->activated;
}

struct push_counts push_counts(const struct push *p)
{
    struct push_counts n = p->counts;
    uint64_t newest = p->newest ? snapshot_epoch(p->newest) : 0;
    n.live = p->nlive;
    n.behind = n.stale = 0;
    list_for_each (it, &p->live) {
        const struct push_proxy *x = list_entry(it, struct push_proxy, link);
        n.behind += push_active(x) < newest;
        n.stale += x->stale;
    }
    return n;
}
