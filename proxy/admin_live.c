/* The control thread's half of listings: asks every worker, joins what comes back, answers. */
#include "proxy/admin_live.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/net/admingraph.h"
#include "proxy/admin_impl.h"
#include "proxy/live.h"
#include "proxy/logtail.h"
#include "proxy/request.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define ASK_MAGIC 0x41534b21u

struct live_ask {
    uint32_t magic;
    struct list link; /* in control->asks */
    struct control *control;
    struct admin_request *request; /* NULL: answered */
    struct event *timer;
    struct live_question question;
    unsigned missing; /* parts under way */
    struct live_part part[];
};

/* ---- the answer ---- */

static int by_age(const void *a, const void *b)
{
    const struct live_row *x = *(const struct live_row *const *)a,
                          *y = *(const struct live_row *const *)b;
    return (x->age_us < y->age_us) - (x->age_us > y->age_us);
}

struct rows {
    const struct live_row **row;
    size_t n;
    uint64_t total;
};

/* Of all parts that are back, the oldest first. 0 or -ENOMEM. */
static int join(const struct live_ask *a, struct rows *ret)
{
    size_t all = 0;
    *ret = (struct rows){0};
    for (unsigned i = 0; i < a->control->nworkers; i++)
        all += a->part[i].home ? a->part[i].n : 0;
    ret->row = mem_array(all + 1, sizeof(const struct live_row *));
    if (!ret->row)
        return -ENOMEM;
    for (unsigned i = 0; i < a->control->nworkers; i++) {
        const struct live_part *p = &a->part[i];
        for (uint32_t k = 0; p->home && k < p->n; k++)
            ret->row[ret->n++] = &p->row[k];
        ret->total += p->home ? p->total : 0;
    }
    qsort(ret->row, ret->n, sizeof(const struct live_row *), by_age);
    if (ret->n > a->question.limit)
        ret->n = a->question.limit;
    return 0;
}

static void put_key(struct text *t, const char *key, const char *value)
{
    text_fmt(t, ",\"%s\":", key);
    if (!value || !*value || strcmp(value, "-") == 0) {
        text_add(t, STR("null"));
        return;
    }
    text_add(t, STR("\""));
    text_json(t, str_c(value));
    text_add(t, STR("\""));
}

static void put_number(struct text *t, const char *key, uint64_t n)
{
    text_fmt(t, ",\"%s\":%llu", key, (unsigned long long)n);
}

static void request_json(const struct live_row *r, struct text *t)
{
    text_fmt(t, "{\"worker\":%u", r->worker);
    put_key(t, "state", r->state);
    put_number(t, "age_us", r->age_us);
    put_number(t, "state_us", r->state_us);
    put_key(t, "client", r->address);
    put_key(t, "listener", r->listener);
    put_key(t, "protocol", r->protocol);
    text_fmt(t, ",\"stream\":%u,\"tls\":%s,\"trusted\":%s", r->stream, r->tls ? "true" : "false",
        r->trusted ? "true" : "false");
    put_key(t, "method", r->method);
    put_key(t, "host", r->host);
    put_key(t, "path", r->path);
    put_key(t, "environment", r->environment);
    put_key(t, "service", r->service);
    put_key(t, "provider", r->provider);
    put_key(t, "class", r->cls);
    put_number(t, "body_in", r->bytes_in);
    put_number(t, "body_out", r->bytes_out);
    text_add(t, STR("}"));
}

static void connection_json(const struct live_row *r, struct text *t)
{
    bool client = r->side == LIVE_CLIENT;
    text_fmt(t, "{\"worker\":%u", r->worker);
    put_key(t, "side", client ? "client" : "provider");
    put_key(t, "state", r->state);
    put_number(t, "age_us", r->age_us);
    put_number(t, "state_us", r->state_us);
    put_key(t, "address", r->address);
    put_key(t, "listener", r->listener);
    put_key(t, "protocol", r->protocol);
    text_fmt(t, ",\"tls\":%s", r->tls ? "true" : "false");
    text_fmt(t, ",\"trusted\":%s", !client ? "null" : r->trusted ? "true" : "false");
    put_number(t, "requests", r->requests);
    put_number(t, "received_bytes", r->bytes_in);
    put_number(t, "sent_bytes", r->bytes_out);
    text_add(t, STR("}"));
}

static void answer_json(const struct live_ask *a, const struct rows *rows, struct text *t)
{
    bool requests = a->question.what == LIVE_REQUESTS;
    text_fmt(t, "{\"total\":%llu,\"complete\":%s,\"%s\":[", (unsigned long long)rows->total,
        a->missing ? "false" : "true", requests ? "requests" : "connections");
    for (size_t i = 0; i < rows->n; i++) {
        if (i)
            text_add(t, STR(","));
        (requests ? request_json : connection_json)(rows->row[i], t);
    }
    text_add(t, STR("]}\n"));
}

/* "12 us", "3.4 ms", "12.3 s", "3 h". */
static void put_time(struct text *t, uint64_t us)
{
    char word[24];
    if (us < 1000)
        snprintf(word, sizeof word, "%llu us", (unsigned long long)us);
    else if (us < 1000000)
        snprintf(word, sizeof word, "%.1f ms", (double)us / 1e3);
    else if (us < UINT64_C(600000000))
        snprintf(word, sizeof word, "%.1f s", (double)us / 1e6);
    else
        snprintf(word, sizeof word, "%.1f h", (double)us / 3.6e9);
    text_fmt(t, "%9s ", word);
}

static const char *dash(const char *s)
{
    return s && *s ? s : "-";
}

/* Texts of others, for people: a fixed width, more is shown whole. */
static void put_word(struct text *t, int width, const char *s)
{
    struct text clean = {0};
    text_plain(&clean, str_c(dash(s)));
    text_fmt(t, "%-*s ", width, clean.n ? clean.p : "?");
    t->failed |= clean.failed;
    text_release(&clean);
}

static void request_text(const struct live_row *r, struct text *t)
{
    put_time(t, r->age_us);
    put_word(t, 8, r->state);
    put_time(t, r->state_us);
    put_word(t, 6, r->protocol);
    put_word(t, 16, r->environment);
    put_word(t, 16, r->service);
    put_word(t, 16, r->provider);
    put_word(t, 9, r->cls);
    text_fmt(
        t, "%10llu %10llu ", (unsigned long long)r->bytes_in, (unsigned long long)r->bytes_out);
    put_word(t, 7, r->method);
    put_word(t, 0, r->path);
    t->n -= t->n > 0; /* the space at the end */
    text_add(t, STR("\n"));
}

static void connection_text(const struct live_row *r, struct text *t)
{
    put_word(t, 8, r->side == LIVE_CLIENT ? "client" : "provider");
    put_word(t, 9, r->state);
    put_time(t, r->age_us);
    put_time(t, r->state_us);
    put_word(t, 6, r->protocol);
    put_word(t, 3, r->tls ? "yes" : "no");
    text_fmt(t, "%8llu %12llu %12llu ", (unsigned long long)r->requests,
        (unsigned long long)r->bytes_in, (unsigned long long)r->bytes_out);
    put_word(t, 22, r->address);
    put_word(t, 0, r->side == LIVE_CLIENT ? r->listener : "-");
    t->n -= t->n > 0;
    text_add(t, STR("\n"));
}

static void answer_text(const struct live_ask *a, const struct rows *rows, struct text *t)
{
    bool requests = a->question.what == LIVE_REQUESTS;
    text_fmt(t, "%llu %s%s", (unsigned long long)rows->total, requests ? "request" : "connection",
        rows->total == 1 ? "" : "s");
    if (rows->n < rows->total)
        text_fmt(t, ", the oldest %zu", rows->n);
    if (a->missing)
        text_fmt(
            t, "; %u of %u workers have not answered in time", a->missing, a->control->nworkers);
    text_add(t, STR("\n"));
    if (rows->n)
        text_add(
            t, requests
                   ? STR("      AGE STATE     IN STATE  PROTO  ENVIRONMENT      SERVICE          "
                         "PROVIDER         CLASS        BODY IN   BODY OUT METHOD  PATH\n")
                   : STR("SIDE     STATE           AGE  IN STATE  PROTO  TLS REQUESTS     RECEIVED"
                         "         SENT ADDRESS                LISTENER\n"));
    for (size_t i = 0; i < rows->n; i++)
        (requests ? request_text : connection_text)(rows->row[i], t);
}

static void answer(struct live_ask *a)
{
    struct admin_request *r = a->request;
    struct rows rows;
    struct text t = {0};
    a->request = NULL;
    a->control->nasks--;
    if (join(a, &rows) != 0)
        t.failed = -ENOMEM;
    else if (admin_wants_json(r))
        answer_json(a, &rows, &t);
    else
        answer_text(a, &rows, &t);
    mem_free(rows.row);
    admin_reply_text(r, &t);
}

/* ---- the way there and back ---- */

static void ask_free(struct live_ask *a)
{
    for (unsigned i = 0; i < a->control->nworkers; i++) {
        mem_free(a->part[i].row);
        mem_free(a->part[i].order);
    }
    if (a->timer)
        event_free(a->timer);
    list_remove(&a->link);
    a->magic = 0;
    mem_free(a);
}

static void part_back(struct message *m, void *control)
{
    struct live_part *p = list_entry(m, struct live_part, message);
    struct live_ask *a = p->ask;
    (void)control;
    assert(a->magic == ASK_MAGIC);
    p->home = true;
    if (--a->missing)
        return;
    if (a->request)
        answer(a);
    ask_free(a);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct live_ask *a = arg;
    (void)fd;
    (void)what;
    assert(a->magic == ASK_MAGIC);
    if (a->request)
        answer(a);
}

/* As many rows as there are things now, and some that come meanwhile. */
static uint32_t room_for(const struct live_question *q, const struct worker *w)
{
    uint64_t n = counter_get(&w->stats[STAT_REQUESTS_NOW]);
    if (q->what == LIVE_CONNECTIONS)
        n = counter_get(&w->stats[STAT_CLIENTS]) +
            counter_get(&w->stats[STAT_PROVIDER_CONNECTIONS]);
    n += 64;
    return n < q->limit ? (uint32_t)n : q->limit;
}

/* NULL when memory is out. */
static struct live_ask *ask_new(struct control *c, const struct live_question *q)
{
    static const struct timeval time = {LIVE_MS / 1000, LIVE_MS % 1000 * 1000};
    struct live_ask *a = mem_zalloc(sizeof *a + c->nworkers * sizeof a->part[0]);
    if (!a)
        return NULL;
    *a = (struct live_ask){.magic = ASK_MAGIC, .control = c, .question = *q};
    list_init(&a->link);
    bool ok = true;
    for (unsigned i = 0; i < c->nworkers; i++) {
        struct live_part *p = &a->part[i];
        list_init(&p->link);
        p->ask = a;
        p->question = &a->question;
        p->w = &c->workers[i];
        p->size = room_for(q, p->w);
        p->row = mem_array(p->size + 1u, sizeof *p->row);
        p->order = mem_array(p->size + 1u, sizeof *p->order);
        p->message.run = live_part_run;
        p->back = part_back;
        ok = ok && p->row && p->order;
    }
    a->timer = ok ? event_new(c->base, -1, 0, on_time, a) : NULL;
    if (a->timer && event_add(a->timer, &time) == 0)
        return a;
    ask_free(a);
    return NULL;
}

/* A worker that does not run (any more) has nothing. */
static bool runs(const struct control *c, unsigned i)
{
    return i < c->nstarted && !atomic_load_explicit(&c->workers[i].ended, memory_order_acquire);
}

static void ask(struct control *c, struct admin_request *r, const struct live_question *q)
{
    if (c->nasks >= LIVE_ASKS) {
        counter_inc(&c->stats[STAT_LIVE_REFUSED]);
        admin_error(r, 503, "%u listings are under way already", LIVE_ASKS);
        return;
    }
    struct live_ask *a = ask_new(c, q);
    if (!a) {
        admin_error(r, 503, "out of memory");
        return;
    }
    a->request = r;
    c->nasks++;
    list_append(&c->asks, &a->link);
    for (unsigned i = 0; i < c->nworkers; i++) {
        a->part[i].home = !runs(c, i);
        a->missing += !a->part[i].home;
    }
    if (a->missing == 0) {
        answer(a);
        ask_free(a);
        return;
    }
    for (unsigned i = 0; i < c->nworkers; i++)
        if (!a->part[i].home)
            mailbox_post(&c->workers[i].mailbox, &a->part[i].message);
}

void live_release(struct control *c)
{
    list_for_each (it, &c->asks) {
        struct live_ask *a = list_entry(it, struct live_ask, link);
        if (a->request)
            answer(a);
        ask_free(a);
    }
}

/* ---- what is asked ---- */

/* 0, or answered. */
static int read_word(struct admin_request *r, const char *name, char *to, size_t size)
{
    const char *word = admin_param(r, name);
    if (!word)
        return 0;
    if (strlen(word) >= size) {
        admin_error(r, 400, "%s: longer than %zu bytes", name, size - 1);
        return -1;
    }
    memcpy(to, word, strlen(word) + 1);
    return 0;
}

/* 0, or answered. */
static int read_common(struct admin_request *r, struct live_question *q)
{
    const char *older = admin_param(r, "older");
    uint64_t limit, ms = 0;
    if (admin_number(r, "limit", LIVE_LIMIT, &limit) != 0)
        return -1;
    if (limit > LIVE_LIMIT_MAX) {
        admin_error(r, 400, "limit: at most %u", LIVE_LIMIT_MAX);
        return -1;
    }
    if (older && parse_duration_ms(str_c(older), &ms) != 0) {
        admin_error(r, 400, "older: want a time as 500ms, not '%.40s'", older);
        return -1;
    }
    q->limit = (uint32_t)limit;
    q->older_us = ms * 1000;
    return read_word(r, "state", q->state, sizeof q->state);
}

static bool is_step(const char *word)
{
    for (unsigned i = 0; i < STEP_COUNT; i++)
        if (strcmp(word, step_word(i)) == 0)
            return true;
    return false;
}

void admin_connections(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct live_question q = {.what = LIVE_CONNECTIONS, .sides = 3};
    const char *side = admin_param(r, "side");
    if (side && strcmp(side, "client") != 0 && strcmp(side, "provider") != 0) {
        admin_error(r, 400, "side: want client or provider, not '%.40s'", side);
        return;
    }
    if (side)
        q.sides = 1u << (*side == 'c' ? LIVE_CLIENT : LIVE_PROVIDER);
    if (read_common(r, &q) != 0)
        return;
    if (*q.state && !is_step(q.state) && !live_is_state(q.state)) {
        admin_error(
            r, 400, "state: want a state of a connection, as idle or relay, not '%s'", q.state);
        return;
    }
    ask(c, r, &q);
}

void admin_requests(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct live_question q = {.what = LIVE_REQUESTS};
    if (read_common(r, &q) != 0 || read_word(r, "env", q.environment, sizeof q.environment) != 0 ||
        read_word(r, "service", q.service, sizeof q.service) != 0)
        return;
    if (*q.state && !is_step(q.state)) {
        admin_error(r, 400, "state: want the name of a step, as reply or relay, not '%s'", q.state);
        return;
    }
    ask(c, r, &q);
}

void admin_log(struct admin_request *r, void *arg)
{
    logtail_open(control_of(arg), r);
}
