#include "proxy/overload.h"
#include "lib/base/log.h"
#include "proxy/client.h"
#include "proxy/control.h"
#include "proxy/worker.h"

#define HYSTERESIS_PERCENT 5
#define STARVED_MS         5000
#define IDLE_MS            1000 /* without a request, once room is scarce */
#define TELL_MS            1000 /* between two lines of a worker in the log */

static const char *const step_words[] = {"none", "keep-alive", "streams", "connections"};
static const char *const cause_words[CAUSES] = {"connections", "buffers", "memory", "descriptors"};

const char *overload_step_word(enum overload_step s)
{
    return step_words[s];
}

/* ---- the step ---- */

/* Rounded up, so that a small limit may be used up. */
static uint64_t percent(uint64_t limit, uint64_t n)
{
    return limit / 100 * n + (limit % 100 * n + 99) / 100;
}

void overload_init(struct overload *o, const struct settings *set)
{
    const uint64_t limits[CAUSE_DESCRIPTORS] = {
        set->limit_connections, set->limit_buffers, set->limit_memory};
    const uint32_t begins[OVERLOAD_STEPS] = {
        set->overload_keep_alive, set->overload_streams, set->overload_connections};
    for (unsigned c = 0; c < CAUSE_DESCRIPTORS; c++)
        for (unsigned s = 0; s < OVERLOAD_STEPS; s++) {
            uint64_t at = limits[c] ? percent(limits[c], begins[s]) : UINT64_MAX;
            uint64_t less = percent(limits[c], HYSTERESIS_PERCENT);
            o->begins[c][s] = at;
            o->ends[c][s] = at > less ? at - less : 0;
        }
}

/* Of one limit: what has begun and not ended. */
static unsigned step_of(const struct overload *o, enum overload_cause c, uint64_t used)
{
    unsigned s = 0;
    while (s < OVERLOAD_STEPS && used > (s < o->step ? o->ends[c][s] : o->begins[c][s]))
        s++;
    return s;
}

static void tell(struct worker *w, unsigned before)
{
    struct overload *o = &w->overload;
    static const char *const what[] = {"all is as usual again", "replies end their connections",
        "new requests are refused", "new connections are refused"};
    if (o->told_ms && w->now_ms - o->told_ms < TELL_MS)
        return;
    o->told_ms = w->now_ms;
    if (o->step > before)
        log_warn("worker %u: overload, of %s: %s", w->id, cause_words[o->why], what[o->step]);
    else
        log_info("worker %u: less overload: %s", w->id, what[o->step]);
}

static void enter(struct worker *w, unsigned step, enum overload_cause why)
{
    struct overload *o = &w->overload;
    unsigned before = o->step;
    o->step = (uint8_t)step;
    atomic_store_explicit(&o->why, (uint8_t)why, memory_order_relaxed);
    for (unsigned s = 0; s < OVERLOAD_STEPS; s++) {
        if (s >= before && s < step)
            counter_inc(&w->stats[STAT_OVERLOAD_ENTERED + s]);
        counter_set(&w->stats[STAT_OVERLOAD_NOW + s], s < step);
    }
    tell(w, before);
}

void overload_turn(struct worker *w)
{
    struct overload *o = &w->overload;
    const struct shared *sh = w->shared;
    uint64_t limit = w->set->limit_connections;
    uint64_t connections = atomic_load_explicit(&sh->connections, memory_order_relaxed);
    const uint64_t used[CAUSE_DESCRIPTORS] = {connections < limit ? connections : limit,
        w->bufs.nused, atomic_load_explicit(&sh->resident, memory_order_relaxed)};
    unsigned step = w->now_ms < o->starved_until_ms ? OVERLOAD_KEEP_ALIVE : OVERLOAD_NONE;
    enum overload_cause why = CAUSE_DESCRIPTORS;
    for (unsigned c = 0; c < CAUSE_DESCRIPTORS; c++) {
        unsigned s = step_of(o, c, used[c]);
        if (s > step) {
            step = s;
            why = c;
        }
    }
    if (step != o->step)
        enter(w, step, why);
}

void overload_starved(struct worker *w)
{
    w->overload.starved_until_ms = w->now_ms + STARVED_MS;
}

void overload_sweep(struct worker *w)
{
    if (w->overload.step == OVERLOAD_NONE)
        return;
    list_for_each (it, &w->clients) {
        struct client *c = list_entry(it, struct client, link);
        if (c->since_ms + IDLE_MS > w->now_ms || c->lingering)
            continue;
        if (c->phase == CLIENT_HTTP2 && !client_h2_busy(c))
            client_h2_drain(c);
        else if (client_is_idle(c))
            client_close(c, CLIENT_CLOSE_OVERLOAD, false);
    }
}

/* ---- for people ---- */

/* Workers that are at this step or above it. */
static unsigned workers_at(const struct control *c, unsigned step)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->nworkers; i++)
        n += counter_get(&c->workers[i].stats[STAT_OVERLOAD_NOW + step - 1]) != 0;
    return n;
}

static const char *cause_of(const struct control *c, unsigned step)
{
    for (unsigned i = 0; i < c->nworkers; i++)
        if (counter_get(&c->workers[i].stats[STAT_OVERLOAD_NOW + step - 1]) != 0)
            return cause_words[atomic_load_explicit(
                &c->workers[i].overload.why, memory_order_relaxed)];
    return "";
}

void overload_status(const struct control *c, bool json, struct text *t)
{
    unsigned step = OVERLOAD_STEPS;
    while (step > OVERLOAD_NONE && workers_at(c, step) == 0)
        step--;
    unsigned n = step ? workers_at(c, step) : 0;
    const char *why = step ? cause_of(c, step) : "";
    if (json)
        text_fmt(t, "\"overload\":{\"step\":\"%s\",\"cause\":%s%s%s,\"workers\":%u}",
            step_words[step], step ? "\"" : "", step ? why : "null", step ? "\"" : "", n);
    else if (step)
        text_fmt(t, "overload      %s, of %s, in %u of %u workers\n", step_words[step], why, n,
            c->nworkers);
}
