#include "proxy/names.h"
#include "lib/base/mem.h"
#include "proxy/request.h"
#include "proxy/worker.h"
#include <assert.h>
#include <errno.h>

#define FORGET_MS 600000u
#define RETRY_MS  1000u /* after a failed look-up: not asked again sooner */
#define NAMES_MAX 65536u

static struct name **find(struct names *n, uint64_t hash, struct str text)
{
    struct name **at = &n->bucket[hash % NAME_BUCKETS];
    while (*at && ((*at)->hash != hash || !str_eq(str_of((*at)->text, (*at)->len), text)))
        at = &(*at)->next;
    return at;
}

static uint64_t hash_of(struct str text)
{
    struct addr a = {.kind = ADDR_DNS, .name = text};
    return addr_hash(&a);
}

static struct name *make(struct worker *w, struct name **at, uint64_t hash, struct str text)
{
    struct name *n = w->names.count < NAMES_MAX ? mem_zalloc(sizeof *n) : NULL;
    char *copy = n ? mem_dup(text.p, text.n) : NULL;
    if (!copy) {
        mem_free(n);
        return NULL;
    }
    n->hash = hash;
    n->text = copy;
    n->len = text.n;
    list_init(&n->waiting);
    *at = n;
    w->names.count++;
    return n;
}

/* True: a look-up runs. */
static bool ask(struct worker *w, struct name *n)
{
    /* An answer that was lost for want of memory must not stop the name for good. */
    if (n->asked && w->now_ms < n->asked_ms + w->set->dns_timeout + RETRY_MS)
        return true;
    struct name_question *q =
        w->shared->control && n->len < sizeof q->text ? mem_zalloc(sizeof *q) : NULL;
    if (!q)
        return false;
    q->message.run = name_question_run;
    q->message.drop = message_free;
    q->worker = w;
    q->len = n->len;
    memcpy(q->text, n->text, n->len);
    n->asked = true;
    n->asked_ms = w->now_ms;
    counter_inc(&w->stats[STAT_NAME_LOOKUPS]);
    mailbox_post(w->shared->control, &q->message);
    return true;
}

const struct name *names_known(struct worker *w, struct str text)
{
    return *find(&w->names, hash_of(text), text);
}

int names_list(struct worker *w, const struct addr *a, struct request *r, struct name **ret)
{
    uint64_t hash = hash_of(a->name);
    struct name **at = find(&w->names, hash, a->name);
    struct name *n = *at ? *at : make(w, at, hash, a->name);
    if (!n)
        return -ENOMEM;
    n->used_ms = w->now_ms;
    bool due = n->expires_ms <= w->now_ms;
    if (due && !ask(w, n) && n->naddrs == 0)
        return -ENOMEM;
    if (n->naddrs) {
        *ret = n;
        return 0;
    }
    if (!due)
        return n->error ? n->error : -ENOENT;
    list_append(&n->waiting, &r->wait);
    r->waiting_name = true;
    return -EINPROGRESS;
}

void names_unwait(struct request *r)
{
    if (!r->waiting_name)
        return;
    list_remove(&r->wait);
    r->waiting_name = false;
}

void name_answer_run(struct message *m, void *worker)
{
    struct name_answer *a = list_entry(m, struct name_answer, message);
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    worker_clock(w);
    struct str text = str_of(a->text, a->len);
    struct name *n = *find(&w->names, hash_of(text), text);
    counter_add(&w->stats[STAT_NAME_FORBIDDEN], a->nforbidden);
    if (!n) {
        mem_free(a);
        return;
    }
    n->asked = false;
    n->error = a->error;
    struct addr *addrs = a->naddrs ? mem_array(a->naddrs, sizeof *addrs) : NULL;
    if (addrs) {
        memcpy(addrs, a->addrs, a->naddrs * sizeof *addrs);
        mem_free(n->addrs);
        n->addrs = addrs;
        n->naddrs = a->naddrs;
        n->expires_ms = w->now_ms + (uint64_t)a->ttl_s * 1000;
    } else { /* what was known before stays in use */
        counter_inc(&w->stats[STAT_NAME_FAILURES]);
        n->expires_ms = w->now_ms + RETRY_MS;
    }
    mem_free(a);
    while (!list_empty(&n->waiting)) {
        struct request *r = list_entry(n->waiting.next, struct request, wait);
        names_unwait(r);
        conn_resume_later(&r->client->conn);
    }
}

static void name_free(struct name *n)
{
    mem_free(n->addrs);
    mem_free(n->text);
    mem_free(n);
}

static void forget(struct worker *w, bool all)
{
    for (unsigned i = 0; i < NAME_BUCKETS; i++) {
        for (struct name **at = &w->names.bucket[i]; *at;) {
            struct name *n = *at;
            bool old = list_empty(&n->waiting) && !n->asked && n->used_ms + FORGET_MS <= w->now_ms;
            if (!all && !old) {
                at = &n->next;
                continue;
            }
            *at = n->next;
            w->names.count--;
            name_free(n);
        }
    }
}

void names_sweep(struct worker *w)
{
    if (w->names.count)
        forget(w, false);
}

void names_release(struct worker *w)
{
    forget(w, true);
}
