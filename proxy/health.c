/* Who is checked, and when. One check goes: due → running (health_probe) → judged → due again. */
#include "proxy/health.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "proxy/health_impl.h"
#include "proxy/pick.h"
#include "proxy/stats.h"
#include <assert.h>
#include <stdio.h>
#include <xxhash.h>

#define BLOCK    65536u
#define FIRST_MS 500u /* the first check of an address comes within this, or the interval */

/* ---- what is wanted ---- */

static uint64_t mix_str(uint64_t id, struct str s)
{
    return XXH3_64bits_withSeed(s.n ? s.p : "", s.n, id + s.n);
}

uint64_t health_spec_id(const struct health_policy *p, const struct service_tls *tls, bool http2,
    const struct addr *endpoint)
{
    if (p->interval_ms == 0)
        return 0;
    const uint32_t numbers[] = {p->kind, p->interval_ms, p->timeout_ms, p->healthy_after,
        p->unhealthy_after, p->status_min, p->status_max, tls->on, tls->insecure, http2};
    uint64_t id = XXH3_64bits(numbers, sizeof numbers);
    id = mix_str(mix_str(id, p->path), p->service);
    id = mix_str(mix_str(id, tls->name), tls->ca);
    return (id ^ addr_hash(endpoint)) | 1;
}

struct health_spec *health_spec_new(const struct health_policy *p, const struct service_tls *tls,
    bool http2, const struct addr *endpoint)
{
    char host[ADDR_TEXT_MAX];
    struct str text = str_of(host, addr_format(endpoint, host));
    if (endpoint->kind == ADDR_UNIX)
        text = STR("localhost");
    size_t n = p->path.n + p->service.n + tls->name.n + tls->ca.n + text.n;
    struct health_spec *s = mem_zalloc(sizeof *s + n + 1);
    if (!s)
        return NULL;
    char *at = (char *)(s + 1);
    s->id = health_spec_id(p, tls, http2, endpoint);
    s->policy = *p;
    s->tls = *tls;
    s->http2 = http2;
    s->policy.path = str_put(&at, p->path);
    s->policy.service = str_put(&at, p->service);
    s->tls.name = str_put(&at, tls->name);
    s->tls.ca = str_put(&at, tls->ca);
    s->host = str_put(&at, text);
    return s;
}

static void drop_order(struct message *m)
{
    struct health_order *o = list_entry(m, struct health_order, message);
    endpoint_release(o->table, o->entry);
    mem_free(o->spec);
    mem_free(o);
}

bool health_want(struct mailbox *control, struct endpoint_table *t, struct endpoint_use *u,
    struct health_spec *spec)
{
    struct health_order *o = mem_zalloc(sizeof *o);
    if (!o) {
        mem_free(spec);
        return false;
    }
    o->message.run = health_order_run;
    o->message.drop = drop_order;
    o->table = t;
    o->entry = endpoint_hold(t, u);
    o->spec = spec;
    mailbox_post(control, &o->message);
    return true;
}

/* ---- time ---- */

/* Somewhere in [0, n). */
static uint32_t chance(struct health *h, uint32_t n)
{
    h->random = pick_mix(h->random + 0x9E3779B97F4A7C15u);
    return n ? (uint32_t)(h->random % n) : 0;
}

static void set_timer(struct health_check *c, uint32_t ms)
{
    struct timeval tv = clock_timeval(ms);
    event_add(c->timer, &tv);
}

/* ---- a check ---- */

static struct health_check *check_of(void *arg)
{
    struct health_check *c = arg;
    assert(c->magic == HEALTH_CHECK_MAGIC);
    return c;
}

static void gauge(struct health *h)
{
    counter_set(&h->o.stats[STAT_HEALTH_TARGETS], h->nchecks);
}

static void count_unhealthy(struct health *h, const struct endpoint_entry *e, int add)
{
    if (atomic_load_explicit(&e->state, memory_order_relaxed) & ENDPOINT_UNHEALTHY)
        counter_add(&h->o.stats[STAT_HEALTH_UNHEALTHY], (uint64_t)(int64_t)add);
}

static void check_free(struct health_check *c)
{
    struct health *h = c->h;
    health_probe_free(c->probe);
    h->nrunning -= c->probe != NULL;
    list_remove(&c->turn);
    list_remove(&c->link);
    h->nchecks--;
    count_unhealthy(h, c->entry, -1);
    c->entry->check = NULL;
    endpoint_unchecked(c->entry, clock_mono_ms());
    endpoint_release(h->o.table, c->entry);
    event_free(c->timer);
    mem_free(c->spec);
    c->magic = 0;
    mem_free(c);
    gauge(h);
}

static void say(const struct health_check *c, bool healthy)
{
    char at[ADDR_TEXT_MAX];
    addr_format(&c->entry->addr, at);
    if (healthy)
        log_info("endpoint %s is healthy again", at);
    else
        log_warn("endpoint %s is unhealthy: %s (%u checks in a row)", at, c->entry->error, c->bad);
}

static void judge(struct health_check *c, const char *error)
{
    struct health *h = c->h;
    struct endpoint_entry *e = c->entry;
    const struct health_policy *p = &c->spec->policy;
    uint32_t state = atomic_load_explicit(&e->state, memory_order_relaxed);
    bool ok = *error == '\0', was_bad = state & ENDPOINT_UNHEALTHY;
    counter_inc(&h->o.stats[ok ? STAT_HEALTH_WELL : STAT_HEALTH_FAILED]);
    c->good = ok ? c->good + 1 : 0;
    c->bad = ok ? 0 : c->bad + 1;
    e->checked_s = clock_wall_s();
    bool healthy = was_bad ? c->good >= p->healthy_after : c->bad < p->unhealthy_after;
    if (!(state & ENDPOINT_CHECKED) && !ok && healthy) { /* not bad often enough for an opinion */
        snprintf(e->error, sizeof e->error, "%s", error);
        return;
    }
    count_unhealthy(h, e, -1);
    endpoint_judge(e, healthy, error, clock_mono_ms(), e->checked_s);
    count_unhealthy(h, e, 1);
    if (healthy == was_bad) {
        counter_inc(&h->o.stats[healthy ? STAT_HEALTH_RECOVERED : STAT_HEALTH_LOST]);
        say(c, healthy);
    }
}

static void run(struct health_check *c);

static void run_waiting(struct health *h)
{
    while (h->nrunning < h->o.checks && !list_empty(&h->due)) {
        struct health_check *c = list_entry(h->due.next, struct health_check, turn);
        list_remove(&c->turn);
        run(c);
    }
}

static void next(struct health_check *c)
{
    uint32_t ms = c->spec->policy.interval_ms;
    set_timer(c, ms - ms / 10 + chance(c->h, ms / 5 + 1));
}

static void on_done(void *arg, const char *error)
{
    struct health_check *c = check_of(arg);
    struct health *h = c->h;
    c->probe = NULL;
    h->nrunning--;
    judge(c, error);
    next(c);
    run_waiting(h);
}

static void run(struct health_check *c)
{
    struct health *h = c->h;
    if (atomic_load_explicit(&c->entry->state, memory_order_relaxed) & ENDPOINT_DISABLED) {
        next(c);
        return;
    }
    c->probe = health_probe_new(h, c->spec, &c->entry->addr, on_done, c);
    h->nrunning += c->probe != NULL;
    if (!c->probe) /* no memory: not the endpoint's fault */
        next(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct health_check *c = check_of(arg);
    struct health *h = c->h;
    (void)fd;
    (void)what;
    if (!endpoint_used(h->o.table, c->entry)) {
        check_free(c);
        return;
    }
    if (h->nrunning < h->o.checks) {
        run(c);
        return;
    }
    counter_inc(&h->o.stats[STAT_HEALTH_LATE]);
    list_append(&h->due, &c->turn);
}

/* ---- orders ---- */

static struct health_check *check_new(struct health *h, struct endpoint_entry *e)
{
    if (h->nchecks >= h->o.targets) {
        counter_inc(&h->o.stats[STAT_HEALTH_LEFT_OUT]);
        return NULL;
    }
    struct health_check *c = mem_zalloc(sizeof *c);
    struct event *timer = c ? evtimer_new(h->o.base, on_timer, c) : NULL;
    if (!timer) {
        mem_free(c);
        return NULL;
    }
    *c = (struct health_check){.magic = HEALTH_CHECK_MAGIC, .h = h, .entry = e, .timer = timer};
    list_init(&c->turn);
    list_append(&h->checks, &c->link);
    h->nchecks++;
    e->check = c;
    gauge(h);
    return c;
}

/* Another spec: what was found so far stays, the counting begins anew. */
static void replace_spec(struct health_check *c, struct health_spec *spec)
{
    health_probe_free(c->probe); /* it borrows the old one */
    c->h->nrunning -= c->probe != NULL;
    c->probe = NULL;
    mem_free(c->spec);
    c->spec = spec;
    c->good = c->bad = 0;
    list_remove(&c->turn);
    uint32_t ms = spec->policy.interval_ms < FIRST_MS ? spec->policy.interval_ms : FIRST_MS;
    set_timer(c, chance(c->h, ms));
}

void health_take(struct health *h, struct health_order *o)
{
    struct endpoint_entry *e = o->entry;
    struct health_check *c = e->check;
    struct health_spec *spec = o->spec;
    if (!spec) {
        if (c)
            check_free(c);
        endpoint_release(h->o.table, e);
        return;
    }
    if (c && c->spec->id == spec->id) {
        mem_free(spec);
        endpoint_release(h->o.table, e);
        return;
    }
    if (c)
        endpoint_release(h->o.table, e); /* the check has a hold of its own */
    else
        c = check_new(h, e);
    if (c) {
        replace_spec(c, spec);
        run_waiting(h);
        return;
    }
    mem_free(spec);
    endpoint_release(h->o.table, e);
}

/* ---- life ---- */

struct health *health_new(const struct health_options *o)
{
    struct health *h = mem_zalloc(sizeof *h);
    if (!h)
        return NULL;
    h->o = *o;
    h->random = clock_mono_ms() ^ (uintptr_t)h;
    bufpool_init(&h->bufs, BLOCK, 4, 2 * o->checks + 4);
    list_init(&h->checks);
    list_init(&h->due);
    return h;
}

void health_free(struct health *h)
{
    if (!h)
        return;
    list_for_each (it, &h->checks)
        check_free(list_entry(it, struct health_check, link));
    health_reload(h);
    bufpool_release(&h->bufs);
    mem_free(h);
}
