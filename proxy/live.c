/* The worker's half of listings: the walk. Control's half is admin_live.c, rows are live_rows.c. */
#include "proxy/live.h"
#include "proxy/client.h"
#include "proxy/worker.h"
#include <assert.h>

void live_walk_init(struct live_walk *l)
{
    *l = (struct live_walk){0};
    list_init(&l->queue);
}

static void begin(struct worker *w)
{
    w->live.next = w->clients.next;
    w->live.bucket = 0;
}

/* True: all of them were looked at. */
static bool walk_clients(struct worker *w, struct live_part *p)
{
    while (w->live.next != &w->clients) {
        if (p->budget == 0 || p->rows == 0)
            return false;
        struct client *c = list_entry(w->live.next, struct client, link);
        w->live.next = w->live.next->next;
        p->budget--;
        live_add_client(p, c);
    }
    return true;
}

/* Unused connections, bucket by bucket; those in use are found through their requests. */
static bool walk_providers(struct worker *w, struct live_part *p)
{
    for (; w->live.bucket < PROVIDER_BUCKETS; w->live.bucket++) {
        if (p->budget == 0 || p->rows == 0)
            return false;
        for (struct provider *at = w->providers.bucket[w->live.bucket]; at; at = at->next) {
            list_for_each (it, &at->idle) {
                p->budget -= p->budget > 0;
                live_add_pconn(p, list_entry(it, struct pconn, link));
            }
        }
    }
    return true;
}

static void slice(struct worker *w)
{
    struct live_part *p = list_entry(w->live.queue.next, struct live_part, link);
    const struct live_question *q = p->question;
    p->budget = LIVE_SLICE;
    p->rows = LIVE_ROWS;
    bool done = walk_clients(w, p);
    if (done && q->what == LIVE_CONNECTIONS && q->sides & 1u << LIVE_PROVIDER)
        done = walk_providers(w, p);
    if (!done) { /* goes on in the next turn */
        mailbox_post(&w->mailbox, &p->message);
        return;
    }
    list_remove(&p->link);
    if (!list_empty(&w->live.queue)) {
        struct live_part *next = list_entry(w->live.queue.next, struct live_part, link);
        begin(w);
        mailbox_post(&w->mailbox, &next->message);
    }
    p->message.run = p->back;
    mailbox_post(w->shared->control, &p->message);
}

static void slice_run(struct message *m, void *worker)
{
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    assert(m == &list_entry(w->live.queue.next, struct live_part, link)->message);
    worker_clock(w);
    slice(w);
}

void live_part_run(struct message *m, void *worker)
{
    struct worker *w = worker;
    struct live_part *p = list_entry(m, struct live_part, message);
    assert(w->magic == WORKER_MAGIC);
    m->run = slice_run;
    bool first = list_empty(&w->live.queue);
    list_append(&w->live.queue, &p->link);
    if (!first)
        return;
    begin(w);
    slice_run(m, w);
}
