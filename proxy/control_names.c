/* Names asked by workers: looked up here, judged by the endpoint rules, answered by message. */
#include "lib/base/mem.h"
#include "proxy/control.h"
#include <errno.h>

struct lookup {
    struct list link; /* in control->lookups */
    struct control *control;
    struct worker *worker;
    size_t len;
    char text[256];
};

/* Without memory for an answer the worker's waiting requests time out; nothing else is lost. */
static struct name_answer *answer_new(const struct lookup *l, uint32_t naddrs)
{
    struct name_answer *a = mem_zalloc(sizeof *a + naddrs * sizeof(struct addr));
    if (!a)
        return NULL;
    a->message.run = name_answer_run;
    a->len = l->len;
    memcpy(a->text, l->text, l->len);
    return a;
}

static void on_answer(void *arg, const struct dns_answer *d)
{
    struct lookup *l = arg;
    const struct endpoint_rules *rules = &l->control->rules;
    struct name_answer *a = answer_new(l, d->naddrs);
    if (a) {
        const char *why; /* port 0 here: balance.c judges again with the port */
        for (uint32_t i = 0; i < d->naddrs; i++) {
            if (endpoint_allowed(rules, &d->addrs[i], &why))
                a->addrs[a->naddrs++] = d->addrs[i];
            else
                a->nforbidden++;
        }
        a->error = d->error ? d->error : a->naddrs ? 0 : -ENOENT;
        a->ttl_s = d->ttl_s ? d->ttl_s : 1;
        a->message.drop = message_free;
        mailbox_post(&l->worker->mailbox, &a->message);
    }
    list_remove(&l->link);
    mem_free(l);
}

void control_drop_lookups(struct control *c)
{
    list_for_each (it, &c->lookups) {
        struct lookup *l = list_entry(it, struct lookup, link);
        list_remove(it);
        mem_free(l);
    }
}

void name_question_run(struct message *m, void *control)
{
    struct name_question *q = list_entry(m, struct name_question, message);
    struct control *c = control_of(control);
    struct lookup *l = mem_zalloc(sizeof *l);
    if (l) {
        *l = (struct lookup){.control = c, .worker = q->worker, .len = q->len};
        memcpy(l->text, q->text, q->len);
        list_append(&c->lookups, &l->link);
        if (!c->dns || dns_resolve(c->dns, str_of(l->text, l->len), on_answer, l) != 0)
            on_answer(l, &(struct dns_answer){.error = -EIO});
    }
    mem_free(q);
}
