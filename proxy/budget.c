#include "proxy/budget.h"
#include "lib/base/mem.h"
#include "proxy/health.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <assert.h>

#define TURN_MS 50 /* between two looks for room that another worker made */

void provider_learn_slow(struct worker *w, struct provider *p, const struct service_info *info,
    const struct addr *endpoint, uint64_t epoch)
{
    const struct policy *policy = &info->policy;
    p->learned = epoch;
    p->max_connections = policy->max_connections;
    p->max_pending = policy->max_pending;
    p->max_requests = policy->max_requests;
    uint64_t id = health_spec_id(&policy->health, &info->tls, info->http2, endpoint);
    if (id == p->health_id || !w->shared->control)
        return;
    struct health_spec *spec =
        id ? health_spec_new(&policy->health, &info->tls, info->http2, endpoint) : NULL;
    if ((id && !spec) || !health_want(w->shared->control, w->shared->endpoints, &p->use, spec)) {
        p->learned = 0; /* without memory: with the next request */
        return;
    }
    p->health_id = id;
}

/* ---- connections ---- */

bool budget_connect(struct worker *w, struct provider *p)
{
    if (budget_take(&p->use.entry->connections, p->max_connections))
        return true;
    counter_inc(&w->stats[STAT_BUDGET_CONNECTIONS]);
    if (list_empty(&p->hungry))
        list_append(&w->hungry, &p->hungry);
    return false;
}

void budget_closed(struct provider *p)
{
    budget_give(&p->use.entry->connections);
}

bool budget_wait(struct worker *w, struct provider *p)
{
    if (budget_take(&p->use.entry->pending, p->max_pending))
        return true;
    counter_inc(&w->stats[STAT_BUDGET_PENDING]);
    return false;
}

void budget_waited(struct provider *p)
{
    budget_give(&p->use.entry->pending);
}

/* ---- requests ---- */

bool budget_request(struct worker *w, struct request *r)
{
    struct provider *p = r->provider;
    if (p->max_requests == 0 || r->budgeted)
        return true;
    if (!budget_take(&p->use.entry->requests, p->max_requests)) {
        counter_inc(&w->stats[STAT_BUDGET_REQUESTS]);
        return false;
    }
    r->budgeted = true;
    return true;
}

void budget_request_done(struct request *r)
{
    if (!r->budgeted)
        return;
    r->budgeted = false;
    budget_give(&r->provider->use.entry->requests);
}

/* ---- between workers ---- */

struct wish {
    struct message message;
    struct addr addr; /* name in `text` */
    char text[];
};

static void run_wish(struct message *m, void *worker)
{
    struct wish *wish = list_entry(m, struct wish, message);
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    worker_clock(w);
    providers_release_idle(w, &wish->addr);
    mem_free(wish);
}

/* Asks every other worker to close its unused connections to the address. */
static void wish(struct worker *w, const struct addr *a)
{
    for (unsigned i = 0; i < w->shared->nworkers; i++) {
        if (i == w->id)
            continue;
        struct wish *m = mem_zalloc(sizeof *m + a->name.n);
        if (!m)
            return; /* asked again in the next turn */
        m->message.run = run_wish;
        m->message.drop = message_free;
        m->addr = *a;
        if (a->name.n)
            memcpy(m->text, a->name.p, a->name.n);
        m->addr.name = str_of(m->text, a->name.n);
        mailbox_post(&w->shared->workers[i].mailbox, &m->message);
    }
}

void budget_turn(struct worker *w)
{
    if (w->now_ms < w->hungry_ms + TURN_MS)
        return;
    w->hungry_ms = w->now_ms;
    list_for_each (it, &w->hungry) {
        struct provider *p = list_entry(it, struct provider, hungry);
        list_remove(it);
        provider_serve_waiting(w, p); /* back in the list if there is still no room */
        if (!list_empty(&p->hungry) && p->nconns == 0)
            wish(w, &p->addr);
    }
}
