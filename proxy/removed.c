#include "proxy/removed.h"
#include "proxy/client.h"
#include "proxy/request.h"
#include "proxy/worker.h"

static bool is_gone(const struct snapshot *s, struct str env)
{
    return env.n && snapshot_find_env(s, env) == NUMBER_NONE;
}

/* On its way to, at, or back from a provider. */
static bool is_under_way(const struct request *r)
{
    return r && r->step > STEP_DECIDE && r->step != STEP_OWN && r->step != STEP_DONE;
}

static void end(struct request *r, enum proxy_stat stat, enum refusal why)
{
    counter_inc(&r->w->stats[stat]);
    enum step next = r->replied || r->in_tunnel ? request_abort(r, CLIENT_CLOSE_REMOVED)
                                                : request_refuse(r, why);
    if (next == STEP_GONE)
        return;
    r->step = (uint8_t)next;
    request_run(r);
}

struct visit {
    void (*fn)(struct request *r, const void *arg);
    const void *arg;
};

static void visit(struct client *c, void *arg)
{
    const struct visit *v = arg;
    if (is_under_way(c->req))
        v->fn(c->req, v->arg);
}

/* Calls fn for every request under way, those of streams too; fn may end it. Ending one may close
 * clients beside it, so that the place in the list is lost: then from the start again, which costs
 * only when that happens, for what was ended is not met twice. */
static void each(struct worker *w, void (*fn)(struct request *r, const void *arg), const void *arg)
{
    struct visit v = {fn, arg};
    struct list *it = w->clients.next;
    while (it != &w->clients) {
        struct list *next = it->next;
        struct client *c = list_entry(it, struct client, link);
        if (c->phase == CLIENT_HTTP2)
            client_h2_each(c, visit, &v);
        else
            visit(c, &v);
        it = next != &w->clients && list_empty(next) ? w->clients.next : next;
    }
}

/* ---- environments ---- */

static void look(struct request *r, const void *arg)
{
    (void)arg;
    struct worker *w = r->w;
    const struct snapshot *s = w->slots.current;
    bool gone = is_gone(s, r->answer.context.env) || is_gone(s, r->provider_env);
    if (!gone)
        r->ends_ms = 0;
    else if (r->ends_ms == 0)
        r->ends_ms = w->now_ms + w->set->timeout_removed;
    if (r->ends_ms && (w->removed.deadline == 0 || r->ends_ms < w->removed.deadline))
        worker_timer(w, &w->removed, r->ends_ms);
}

void removed_look(struct worker *w)
{
    worker_clock(w);
    if (w->slots.current && counter_get(&w->stats[STAT_REQUESTS_NOW]) > 0)
        each(w, look, NULL);
}

static void end_gone(struct request *r, const void *arg)
{
    (void)arg;
    if (r->ends_ms && r->ends_ms <= r->w->now_ms)
        end(r, STAT_REMOVED, REFUSAL_UNKNOWN_ENVIRONMENT);
}

static void on_timer(struct timer *t)
{
    struct worker *w = list_entry(t, struct worker, removed);
    each(w, end_gone, NULL);
    each(w, look, NULL); /* those that came later have a time of their own */
}

void removed_init(struct worker *w)
{
    timer_init(&w->removed, on_timer);
}

/* ---- endpoints ---- */

static void end_there(struct request *r, const void *provider)
{
    const struct provider *p = provider;
    bool named = p->addr.kind == ADDR_DNS && r->name_hash == p->use.entry->hash;
    if (r->pconn && (r->pconn->provider == p || named))
        end(r, STAT_DISABLED_ENDED, REFUSAL_UNHEALTHY);
}

/* Since its order nothing new has gone to a name, so that one look is enough; to an address goes
 * what waited for a connection. */
static void sweep_one(struct worker *w, struct provider *p)
{
    if (!(endpoint_state(&p->use) & ENDPOINT_DISABLED)) {
        p->disabled_ms = 0;
        p->ended = false;
        return;
    }
    if (p->disabled_ms == 0)
        p->disabled_ms = w->now_ms;
    if (p->disabled_ms + w->set->timeout_removed > w->now_ms)
        return;
    if (p->inflight || (p->addr.kind == ADDR_DNS && !p->ended))
        each(w, end_there, p);
    p->ended = true;
}

void removed_sweep(struct worker *w)
{
    for (unsigned i = 0; i < PROVIDER_BUCKETS; i++)
        for (struct provider *p = w->providers.bucket[i]; p; p = p->next)
            sweep_one(w, p);
}
