#include "proxy/logtail.h"
#include "lib/base/mem.h"
#include "proxy/control.h"
#include "proxy/logline.h"
#include <assert.h>
#include <errno.h>

#define TAIL_MAGIC 0x5441494cu
#define RULES_MAX  16

struct logtail {
    uint32_t magic;
    struct list link; /* in control->tails */
    struct control *control;
    struct admin_request *request; /* NULL: the reader has left */
    struct log_when when;
    uint32_t format; /* enum log_format */
    unsigned live;   /* pipes that a worker still has, or that are under way */
    uint32_t lost;   /* lines that the reader does not know of yet */
    struct logtail_pipe pipe[];
};

static struct logtail_pipe *from_message(struct message *m)
{
    struct logtail_pipe *p = list_entry(m, struct logtail_pipe, message);
    assert(p->tail->magic == TAIL_MAGIC);
    return p;
}

/* ---- worker ---- */

static void arrive_run(struct message *m, void *control);
static void gone_run(struct message *m, void *control);

/* The log is written to the file, or somebody looks. */
static void set_wanted(struct worker *w)
{
    w->log.wanted = w->log.fd >= 0 || !list_empty(&w->log.tails);
}

static void subscribe_run(struct message *m, void *worker)
{
    struct logtail_pipe *p = from_message(m);
    struct worker *w = worker;
    p->away = false;
    list_append(&w->log.tails, &p->link);
    set_wanted(w);
}

static void leave_run(struct message *m, void *worker)
{
    struct logtail_pipe *p = list_entry(m, struct logtail_pipe, leave);
    struct worker *w = worker;
    assert(p->tail->magic == TAIL_MAGIC);
    p->left = true;
    list_remove(&p->link);
    set_wanted(w);
    if (p->away)
        return; /* it is let go when it comes home */
    p->message.run = gone_run;
    mailbox_post(w->shared->control, &p->message);
}

static void home_run(struct message *m, void *worker)
{
    struct logtail_pipe *p = from_message(m);
    struct worker *w = worker;
    p->away = false;
    if (p->left) {
        m->run = gone_run;
        mailbox_post(w->shared->control, m);
    } else if (p->nfilling) {
        w->log.dirty = true;
    }
}

static void lose(struct worker *w, struct logtail_pipe *p, uint32_t lines)
{
    p->lost += lines;
    counter_add(&w->stats[STAT_LOG_READER_LOST], lines);
}

void logtail_add(struct worker *w, const struct request *r, const struct log_facts *f)
{
    struct logline l;
    bool gathered = false;
    list_for_each (it, &w->log.tails) {
        struct logtail_pipe *p = list_entry(it, struct logtail_pipe, link);
        size_t before = p->filling.n;
        if (!log_when_fits(&p->tail->when, f))
            continue;
        if (!gathered)
            logline_gather(r, &l);
        gathered = true;
        if (before < LOGTAIL_BYTES)
            logline_add(&l, p->tail->format, &p->filling);
        if (p->filling.failed || p->filling.n == before || p->filling.n > LOGTAIL_BYTES) {
            p->filling.failed = 0;
            p->filling.n = before;
            lose(w, p, 1);
            continue;
        }
        p->nfilling++;
        w->log.dirty = true;
    }
}

void logtail_flush(struct worker *w)
{
    list_for_each (it, &w->log.tails) {
        struct logtail_pipe *p = list_entry(it, struct logtail_pipe, link);
        if (p->away || p->nfilling == 0)
            continue;
        struct text empty = p->sent;
        p->sent = p->filling;
        p->filling = empty;
        p->filling.n = 0;
        p->nsent = p->nfilling;
        p->nlost = p->lost;
        p->nfilling = p->lost = 0;
        p->away = true;
        p->message.run = arrive_run;
        mailbox_post(w->shared->control, &p->message);
    }
}

/* ---- control thread ---- */

static void tail_free(struct logtail *t)
{
    for (unsigned i = 0; i < t->control->nworkers; i++) {
        text_release(&t->pipe[i].filling);
        text_release(&t->pipe[i].sent);
    }
    if (t->request)
        admin_stream_end(t->request);
    list_remove(&t->link);
    log_when_release(&t->when);
    t->magic = 0;
    mem_free(t);
}

static void gone_run(struct message *m, void *control)
{
    struct logtail *t = from_message(m)->tail;
    (void)control;
    if (--t->live == 0)
        tail_free(t);
}

/* The reader has left: the workers are told, once. */
static void close_tail(struct logtail *t)
{
    struct control *c = t->control;
    if (!t->request)
        return;
    admin_stream_end(t->request);
    t->request = NULL;
    c->ntails--;
    counter_sub(&c->stats[STAT_LOG_READERS], 1);
    for (unsigned i = 0; i < c->nworkers; i++) {
        t->pipe[i].leave.run = leave_run;
        mailbox_post(&c->workers[i].mailbox, &t->pipe[i].leave);
    }
}

static void tell_lost(const struct logtail *t, uint32_t lines, struct text *out)
{
    text_fmt(out,
        t->format == LOG_FORMAT_TEXT ? "# %u lines lost: this reader is too slow\n"
                                     : "{\"lost\":%u}\n",
        lines);
}

static void deliver(struct logtail *t, const struct logtail_pipe *p)
{
    struct control *c = t->control;
    struct text note = {0};
    t->lost += p->nlost;
    if (admin_stream_waiting(t->request) > LOGTAIL_BEHIND) {
        counter_add(&c->stats[STAT_LOG_READER_LOST], p->nsent);
        t->lost += p->nsent;
        return;
    }
    if (t->lost)
        tell_lost(t, t->lost, &note);
    t->lost = 0;
    admin_stream_add(t->request, str_of(note.p, note.n));
    admin_stream_add(t->request, str_of(p->sent.p, p->sent.n));
    text_release(&note);
}

static void arrive_run(struct message *m, void *control)
{
    struct logtail_pipe *p = from_message(m);
    struct logtail *t = p->tail;
    (void)control;
    if (t->request && admin_stream_gone(t->request))
        close_tail(t);
    if (t->request)
        deliver(t, p);
    m->run = home_run;
    mailbox_post(&p->w->mailbox, m);
}

void logtail_second(struct control *c)
{
    list_for_each (it, &c->tails) {
        struct logtail *t = list_entry(it, struct logtail, link);
        if (t->request && admin_stream_gone(t->request))
            close_tail(t);
    }
}

static struct logtail *tail_new(struct control *c)
{
    struct logtail *t = mem_zalloc(sizeof *t + c->nworkers * sizeof t->pipe[0]);
    if (!t)
        return NULL;
    t->magic = TAIL_MAGIC;
    t->control = c;
    list_init(&t->link);
    for (unsigned i = 0; i < c->nworkers; i++) {
        struct logtail_pipe *p = &t->pipe[i];
        list_init(&p->link);
        p->tail = t;
        p->w = &c->workers[i];
        p->away = true;
    }
    return t;
}

/* 0, or answered. */
static int read_format(struct admin_request *r, uint32_t *ret)
{
    static const char *const words[] = {"text", "json", "otel"};
    const char *word = admin_param(r, "format");
    *ret = admin_wants_json(r) ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    for (uint32_t i = 0; word && i <= LOG_FORMAT_OTEL; i++) {
        if (strcmp(word, words[i]) == 0) {
            *ret = i;
            return 0;
        }
    }
    if (!word)
        return 0;
    admin_error(r, 400, "format: want text, json or otel, not '%.40s'", word);
    return -1;
}

/* 0, or answered. */
static int read_rules(struct admin_request *r, struct log_when *ret)
{
    const char *rules[RULES_MAX];
    struct err e = {0};
    size_t n = 0;
    while (admin_param_at(r, "when", n)) {
        if (n == RULES_MAX) {
            admin_error(r, 400, "more than %u rules", RULES_MAX);
            return -1;
        }
        rules[n] = admin_param_at(r, "when", n);
        n++;
    }
    int rc = log_when_parse(ret, rules, n, &e);
    if (rc != 0)
        admin_error(r, rc == -ENOMEM ? 503 : 400, "when: %s", e.text);
    return rc;
}

/* 0, or answered. */
static int start(struct control *c, struct logtail *t, struct admin_request *r)
{
    if (read_format(r, &t->format) != 0 || read_rules(r, &t->when) != 0)
        return -1;
    bool json = t->format != LOG_FORMAT_TEXT;
    if (!admin_stream_begin(r, json ? "application/jsonl" : "text/plain; charset=utf-8"))
        return -1;
    t->request = r;
    t->live = c->nworkers;
    list_append(&c->tails, &t->link);
    c->ntails++;
    counter_inc(&c->stats[STAT_LOG_READERS]);
    return 0;
}

void logtail_open(struct control *c, struct admin_request *r)
{
    if (c->ntails >= LOGTAIL_READERS) {
        admin_error(r, 503, "%u read the log already", LOGTAIL_READERS);
        return;
    }
    struct logtail *t = tail_new(c);
    if (!t) {
        admin_error(r, 503, "out of memory");
        return;
    }
    if (start(c, t, r) != 0) {
        log_when_release(&t->when);
        mem_free(t);
        return;
    }
    for (unsigned i = 0; i < c->nworkers; i++) {
        t->pipe[i].message.run = subscribe_run;
        mailbox_post(&c->workers[i].mailbox, &t->pipe[i].message);
    }
}

void logtail_release(struct control *c)
{
    list_for_each (it, &c->tails)
        tail_free(list_entry(it, struct logtail, link));
}
