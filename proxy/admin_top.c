/* GET /top: one reading of everything that `offshootctl top` shows. Totals since the start; who
 * asks takes differences. Made from counters alone: no worker is asked. */
#include "lib/base/clock.h"
#include "lib/base/histogram.h"
#include "lib/base/mem.h"
#include "lib/net/admingraph.h"
#include "proxy/admin_impl.h"
#include "proxy/admin_live.h"
#include "proxy/endpoints.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>

#define TOP_LIMIT     1000u /* environments, services and providers, unless ?limit= says otherwise */
#define TOP_LIMIT_MAX 100000u

/* What a thread has used of a processor. */
static uint64_t cpu_us(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* {"word":total} of those that are not zero; words come from the labels of the cells. */
static void put_family(
    struct text *t, const struct control *c, const char *key, unsigned first, unsigned n)
{
    bool some = false;
    text_fmt(t, ",\"%s\":{", key);
    for (unsigned i = first; i < first + n; i++) {
        struct str word = str_c(c->stats_desc[i].labels);
        uint64_t total = admin_sum(c, i);
        if (!total)
            continue;
        word = str_from(word, str_find(word, '"') + 1);
        word.n = str_find(word, '"');
        text_fmt(t, "%s\"%.*s\":%llu", some ? "," : "", STR_ARG(word), (unsigned long long)total);
        some = true;
    }
    text_add(t, STR("}"));
}

/* By protocol, whatever the listener. */
static void put_protocols(struct text *t, const struct control *c)
{
    text_add(t, STR(",\"protocols\":{"));
    for (unsigned i = 0; i < SPOKEN_COUNT; i++) {
        uint64_t n = admin_sum(c, STAT_PROTOCOL_REQUESTS + 2 * i);
        n += admin_sum(c, STAT_PROTOCOL_REQUESTS + 2 * i + 1);
        text_fmt(t, "%s\"%s\":%llu", i ? "," : "", spoken_word(i), (unsigned long long)n);
    }
    text_add(t, STR("}"));
}

/* Cells of a histogram, or the sum of several that follow each other. */
static void put_cells(struct text *t, const struct control *c, unsigned first, unsigned n)
{
    text_add(t, STR("["));
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        uint64_t total = 0;
        for (unsigned k = 0; k < n; k++)
            total += admin_sum(c, first + k * HISTOGRAM_CELLS + i);
        text_fmt(t, "%s%llu", i ? "," : "", (unsigned long long)total);
    }
    text_add(t, STR("]"));
}

static void put_histograms(struct text *t, const struct control *c)
{
    text_add(t, STR(",\"total\":"));
    put_cells(t, c, STAT_REQUEST_SECONDS, 6);
    text_add(t, STR(",\"stages\":{"));
    for (unsigned i = 0; i < STAGE_COUNT; i++) {
        text_fmt(t, "%s\"%s\":", i ? "," : "", stage_word(i));
        put_cells(t, c, STAT_STAGE_SECONDS + i * HISTOGRAM_CELLS, 1);
    }
    text_add(t, STR("}"));
}

static uint64_t replies_of(const struct worker *w)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < 5; i++)
        n += counter_get(&w->stats[STAT_REPLIES + i]);
    return n;
}

static void put_workers(struct text *t, const struct control *c)
{
    text_add(t, STR(",\"workers\":["));
    for (unsigned i = 0; i < c->nworkers; i++) {
        const struct worker *w = &c->workers[i];
        clockid_t id;
        bool runs = i < c->nstarted && pthread_getcpuclockid(w->thread, &id) == 0;
        text_fmt(t, "%s{\"requests\":%llu,\"clients\":%llu,\"cpu_us\":%llu}", i ? "," : "",
            (unsigned long long)replies_of(w),
            (unsigned long long)counter_get(&w->stats[STAT_CLIENTS]),
            (unsigned long long)(runs ? cpu_us(id) : 0));
    }
    text_add(t, STR("]"));
}

/* ---- by name ---- */

static void put_usage(struct text *t, const char *key, const struct usage_name *list, size_t n)
{
    text_fmt(t, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++)
        text_fmt(t, "%s{\"name\":\"%.*s\",\"requests\":%llu}", i ? "," : "", STR_ARG(list[i].name),
            (unsigned long long)list[i].requests);
    text_add(t, STR("]"));
}

static void put_names(struct text *t, const struct control *c, uint32_t limit)
{
    const unsigned nworkers = c->nworkers;
    struct usage **tables = admin_usage(c);
    struct usage_name *list = mem_array(limit + 1, sizeof *list);
    const struct snapshot *s = c->active;
    size_t n = 0;
    if (!tables || !list) {
        mem_free(tables);
        mem_free(list);
        t->failed = -ENOMEM;
        return;
    }
    if (s)
        n = usage_busiest(s, USAGE_ENVIRONMENTS, tables, nworkers, limit, list);
    put_usage(t, "environments", list, n);
    if (s)
        n = usage_busiest(s, USAGE_SERVICES, tables + nworkers, nworkers, limit, list);
    put_usage(t, "services", list, n);
    mem_free(tables);
    mem_free(list);
}

struct providers_text {
    struct text *t;
    uint32_t n, limit;
};

static void put_provider(const struct endpoint_view *v, void *arg)
{
    struct providers_text *p = arg;
    char name[ADDR_TEXT_MAX];
    if (v->workers == 0 || p->n == p->limit)
        return;
    addr_format(&v->entry->addr, name);
    text_add(p->t, p->n++ ? STR(",{\"name\":\"") : STR("{\"name\":\""));
    text_json(p->t, str_c(name));
    text_fmt(p->t,
        "\",\"state\":\"%s\",\"requests\":%llu,\"errors\":%llu,\"inflight\":%u,\"waiting\":%u,"
        "\"connections\":%u,\"idle\":%u}",
        endpoint_view_word(v), (unsigned long long)v->requests, (unsigned long long)v->errors,
        v->inflight, v->waiting, v->connections, v->idle);
}

/* Endpoints that a worker uses. */
static void put_providers(struct text *t, const struct control *c, uint32_t limit)
{
    struct providers_text p = {t, 0, limit};
    text_add(t, STR(",\"providers\":["));
    if (c->shared.endpoints)
        endpoint_table_each(c->shared.endpoints, clock_mono_ms(), put_provider, &p);
    text_add(t, STR("]"));
}

/* ---- the answer ---- */

static void put_head(struct text *t, const struct control *c)
{
    uint64_t now = clock_mono_us();
    int64_t wall = clock_wall_s(), up = wall > c->started_s ? wall - c->started_s : 1;
    text_fmt(t,
        "{\"version\":\"%s\",\"pid\":%ld,\"started\":%lld,\"uptime_seconds\":%lld,"
        "\"time_us\":%llu,\"start_us\":%llu,\"state\":\"%s\",\"epoch\":%llu,",
        OFFSHOOT_VERSION, (long)getpid(), (long long)c->started_s, (long long)up,
        (unsigned long long)now,
        (unsigned long long)(now > (uint64_t)up * 1000000 ? now - (uint64_t)up * 1000000 : 0),
        admin_state_word(c), c->active ? (unsigned long long)snapshot_epoch(c->active) : 0ull);
    text_fmt(t, "\"memory_bytes\":%llu,\"clients\":%llu,\"requests_now\":%llu",
        (unsigned long long)control_resident(), (unsigned long long)admin_sum(c, STAT_CLIENTS),
        (unsigned long long)admin_sum(c, STAT_REQUESTS_NOW));
}

void admin_top(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct text t = {0};
    uint64_t limit;
    if (admin_number(r, "limit", TOP_LIMIT, &limit) != 0)
        return;
    if (limit > TOP_LIMIT_MAX) {
        admin_error(r, 400, "limit: at most %u", TOP_LIMIT_MAX);
        return;
    }
    put_head(&t, c);
    put_family(&t, c, "codes", STAT_REPLIES, 5);
    put_family(&t, c, "classes", STAT_REQUESTS, CLASS_SHARED + 1);
    put_protocols(&t, c);
    put_family(&t, c, "refusals", STAT_REFUSALS + 1, REFUSAL_COUNT - 1);
    put_family(&t, c, "errors", STAT_PROVIDER_ERRORS, PROVIDER_ERROR_COUNT);
    put_histograms(&t, c);
    put_workers(&t, c);
    put_names(&t, c, (uint32_t)limit);
    put_providers(&t, c, (uint32_t)limit);
    text_add(&t, STR("}\n"));
    if (t.failed)
        admin_reply_text(r, &t);
    else
        admin_reply(r, 200, "application/json", &t);
}
