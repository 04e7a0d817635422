/* GET /wait: answered later, when every live proxy is active on an epoch, or time is over. */
#include "agent/admin_int.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <assert.h>
#include <event2/event.h>

#define WAIT_MAGIC      0x57414954u
#define WAIT_DEFAULT_MS 30000
#define WAIT_MAX_MS     300000

struct wait {
    uint32_t magic;
    struct list link;
    struct control *control;
    struct admin_request *request;
    struct event *timer;
    uint64_t epoch, since_ms;
};

static void end(struct wait *w)
{
    list_remove(&w->link);
    w->control->nwaits--;
    if (w->timer)
        event_free(w->timer);
    mem_free(w);
}

static void say_reached(struct wait *w)
{
    struct push_counts n = push_counts(sync_push(w->control->sync));
    unsigned long long waited = clock_mono_ms() - w->since_ms;
    struct text t = {0};
    text_fmt(&t,
        admin_wants_json(w->request) ? "{\"epoch\":%llu,\"proxies\":%u,\"waited_ms\":%llu}\n"
                                     : "epoch %llu is active on all proxies (%u), after %llu ms\n",
        (unsigned long long)w->epoch, n.live, waited);
    admin_reply_text(w->request, &t);
}

static bool reached(const struct wait *w)
{
    return push_slowest(sync_push(w->control->sync)) >= w->epoch;
}

/* Who is not there yet, named. */
static void say_late(struct wait *w)
{
    struct text t = {0};
    bool json = admin_wants_json(w->request);
    text_fmt(&t,
        json ? "{\"error\":\"not every proxy is active on epoch %llu\",\"behind\":["
             : "not every proxy is active on epoch %llu:\n",
        (unsigned long long)w->epoch);
    push_names_behind(sync_push(w->control->sync), w->epoch, json, &t);
    text_add(&t, json ? STR("]}\n") : STR(""));
    if (t.failed)
        admin_reply_text(w->request, &t);
    else
        admin_reply(w->request, 504, NULL, &t);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct wait *w = arg;
    (void)fd;
    (void)what;
    assert(w->magic == WAIT_MAGIC);
    if (reached(w))
        say_reached(w);
    else
        say_late(w);
    end(w);
}

/* 0, or answered. */
static int judge(struct admin_request *r, const struct control *c, uint64_t *epoch, uint64_t *ms)
{
    const char *timeout = admin_param(r, "timeout");
    uint64_t newest = history_epoch(core_history(c->core));
    *ms = WAIT_DEFAULT_MS;
    if (admin_number(r, "epoch", newest, epoch) != 0)
        return -1;
    if (timeout && (parse_duration_ms(str_c(timeout), ms) != 0 || *ms > WAIT_MAX_MS)) {
        admin_error(r, 400, "timeout: want a time of at most 300s, not '%s'", timeout);
        return -1;
    }
    if (*epoch > newest) {
        admin_error(r, 404, "there is no epoch %llu yet: the newest is %llu",
            (unsigned long long)*epoch, (unsigned long long)newest);
        return -1;
    }
    return 0;
}

void admin_wait(struct admin_request *r, void *arg)
{
    struct control *c = admin_control(arg);
    uint64_t epoch, ms;
    if (judge(r, c, &epoch, &ms) != 0)
        return;
    if (c->nwaits >= CONTROL_WAITS) {
        counter_inc(&c->stats[STAT_WAITS_REFUSED]);
        admin_error(r, 503, "%u are waiting already", CONTROL_WAITS);
        return;
    }
    struct wait *w = mem_zalloc(sizeof *w);
    struct timeval time = clock_timeval(ms);
    if (w)
        w->timer = event_new(c->base, -1, 0, on_time, w);
    if (!w || !w->timer || event_add(w->timer, &time) != 0) {
        if (w && w->timer)
            event_free(w->timer);
        mem_free(w);
        admin_error(r, 503, "out of memory");
        return;
    }
    w->magic = WAIT_MAGIC;
    w->control = c;
    w->request = r;
    w->epoch = epoch;
    w->since_ms = clock_mono_ms();
    list_append(&c->waits, &w->link);
    c->nwaits++;
    admin_wait_progress(c);
}

void admin_wait_progress(struct control *c)
{
    list_for_each (it, &c->waits) {
        struct wait *w = list_entry(it, struct wait, link);
        if (reached(w)) {
            say_reached(w);
            end(w);
        }
    }
}

void admin_wait_end(struct control *c)
{
    while (!list_empty(&c->waits)) {
        struct wait *w = list_entry(c->waits.next, struct wait, link);
        admin_error(w->request, 503, "the agent ends");
        end(w);
    }
}
