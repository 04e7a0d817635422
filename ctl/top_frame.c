#include "ctl/top_frame.h"
#include "ctl/object.h"
#include "lib/base/histogram.h"
#include "lib/base/mem.h"
#include <math.h>
#include <stdlib.h>

/* ---- differences ---- */

/* Counters never go back within one process; if one seems to, nothing happened. */
static double grown(double before, double now)
{
    return now > before ? now - before : 0;
}

static double rounded(double x)
{
    return round(x * 1000) / 1000;
}

static void set_real(json_t *o, const char *key, double x)
{
    json_object_set_new(o, key, json_real(rounded(x)));
}

struct span {
    const json_t
        *before; /* an object; empty when the frame is about all the time since the start */
    const json_t *now;
    double seconds;
};

/* {"word": total} of both → {"word": per second}, without what stood still. */
static json_t *rates(const struct span *s, const char *key)
{
    const json_t *was = json_object_get(s->before, key);
    json_t *is = json_object_get(s->now, key), *ret = json_object();
    for (void *it = json_object_iter(is); it; it = json_object_iter_next(is, it)) {
        const char *word = json_object_iter_key(it);
        double n = grown(object_real(was, word), json_number_value(json_object_iter_value(it)));
        if (n > 0)
            set_real(ret, word, n / s->seconds);
    }
    return ret;
}

static double sum_of(json_t *rates)
{
    double sum = 0;
    for (void *it = json_object_iter(rates); it; it = json_object_iter_next(rates, it))
        sum += json_number_value(json_object_iter_value(it));
    return sum;
}

/* ---- durations ---- */

static void read_cells(const json_t *list, uint64_t cells[static HISTOGRAM_CELLS])
{
    for (size_t i = 0; i < HISTOGRAM_CELLS; i++) {
        json_int_t n = json_integer_value(json_array_get(list, i));
        cells[i] = n > 0 ? (uint64_t)n : 0;
    }
}

/* Cells of both readings → {"count","p50","p90","p99"}, microseconds. */
static json_t *quantiles(const json_t *was, const json_t *is)
{
    uint64_t before[HISTOGRAM_CELLS], now[HISTOGRAM_CELLS];
    read_cells(was, before);
    read_cells(is, now);
    for (size_t i = 0; i < HISTOGRAM_CELLS; i++)
        now[i] = now[i] > before[i] ? now[i] - before[i] : 0;
    return json_pack("{s:I,s:I,s:I,s:I}", "count", (json_int_t)histogram_count(now), "p50",
        (json_int_t)histogram_quantile(now, 0.5), "p90", (json_int_t)histogram_quantile(now, 0.9),
        "p99", (json_int_t)histogram_quantile(now, 0.99));
}

static json_t *stages(const struct span *s)
{
    const json_t *was = json_object_get(s->before, "stages");
    json_t *is = json_object_get(s->now, "stages"), *ret = json_object();
    for (void *it = json_object_iter(is); it; it = json_object_iter_next(is, it)) {
        const char *word = json_object_iter_key(it);
        json_object_set_new(
            ret, word, quantiles(json_object_get(was, word), json_object_iter_value(it)));
    }
    return ret;
}

/* ---- who has most ---- */

struct rank {
    json_t *item; /* of the reading */
    double rate, errors;
};

static int by_rate(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    if (x->rate != y->rate)
        return x->rate < y->rate ? 1 : -1;
    return strcmp(json_string_value(json_object_get(x->item, "name")),
        json_string_value(json_object_get(y->item, "name")));
}

/* The one of the same name in the reading before: most are at the same place in it. */
static const json_t *same_name(const json_t *list, const json_t *item, size_t at)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const json_t *other = json_array_get(list, (at + i) % n);
        const char *its = json_string_value(json_object_get(other, "name"));
        if (its && strcmp(name, its) == 0)
            return other;
    }
    return NULL;
}

/* New list of the busiest; *ret_n of them. NULL when memory is out. */
static struct rank *ranked(const struct span *s, const char *key, size_t *ret_n)
{
    const json_t *was = json_object_get(s->before, key), *is = json_object_get(s->now, key);
    size_t n = json_array_size(is), kept = 0;
    struct rank *list = mem_array(n + 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++) {
        json_t *item = json_array_get(is, i);
        if (!json_is_string(json_object_get(item, "name")))
            continue;
        const json_t *old = same_name(was, item, i);
        list[kept++] = (struct rank){item,
            grown(object_real(old, "requests"), object_real(item, "requests")) / s->seconds,
            grown(object_real(old, "errors"), object_real(item, "errors")) / s->seconds};
    }
    if (list)
        qsort(list, kept, sizeof *list, by_rate);
    *ret_n = kept;
    return list;
}

/* Names with requests a second; those without any are left out. */
static json_t *busiest(const struct span *s, const char *key, size_t most)
{
    size_t n;
    struct rank *list = ranked(s, key, &n);
    json_t *ret = list ? json_array() : NULL;
    for (size_t i = 0; ret && i < n && i < most && list[i].rate > 0; i++) {
        json_t *o = json_pack("{s:O}", "name", json_object_get(list[i].item, "name"));
        set_real(o, "per_second", list[i].rate);
        json_array_append_new(ret, o);
    }
    mem_free(list);
    return ret;
}

/* As they are now, with what happened at each. */
static json_t *providers(const struct span *s, size_t most)
{
    size_t n;
    struct rank *list = ranked(s, "providers", &n);
    json_t *ret = list ? json_array() : NULL;
    for (size_t i = 0; ret && i < n && i < most; i++) {
        json_t *o = json_copy(list[i].item);
        json_object_del(o, "requests");
        json_object_del(o, "errors");
        set_real(o, "per_second", list[i].rate);
        set_real(o, "errors_per_second", list[i].errors);
        json_array_append_new(ret, o);
    }
    mem_free(list);
    return ret;
}

/* Requests a second and the share of a processor, in order. */
static json_t *workers(const struct span *s)
{
    const json_t *was = json_object_get(s->before, "workers"),
                 *is = json_object_get(s->now, "workers");
    json_t *ret = json_array();
    for (size_t i = 0; i < json_array_size(is); i++) {
        const json_t *old = json_array_get(was, i), *now = json_array_get(is, i);
        json_t *o = json_pack("{s:I}", "clients", (json_int_t)object_real(now, "clients"));
        double requests = grown(object_real(old, "requests"), object_real(now, "requests"));
        double cpu = grown(object_real(old, "cpu_us"), object_real(now, "cpu_us"));
        set_real(o, "per_second", requests / s->seconds);
        set_real(o, "cpu", cpu / 1e6 / s->seconds);
        json_array_append_new(ret, o);
    }
    return ret;
}

/* ---- the frame ---- */

static bool same_process(const json_t *before, const json_t *now)
{
    return before && object_real(before, "pid") == object_real(now, "pid") &&
           object_real(before, "started") == object_real(now, "started") &&
           object_real(now, "time_us") > object_real(before, "time_us");
}

static void copy_keys(json_t *to, const json_t *from)
{
    static const char *const keys[] = {"version", "pid", "state", "epoch", "uptime_seconds",
        "clients", "requests_now", "memory_bytes", NULL};
    for (const char *const *key = keys; *key; key++) {
        json_t *value = json_object_get(from, *key);
        json_object_set(to, *key, value ? value : json_null());
    }
}

json_t *top_frame(const json_t *before, const json_t *now, size_t most)
{
    json_t *empty = json_object(), *f = json_object();
    bool same = same_process(before, now);
    struct span s = {same ? before : empty, now,
        (object_real(now, "time_us") -
            (same ? object_real(before, "time_us") : object_real(now, "start_us"))) /
            1e6};
    if (!json_is_integer(json_object_get(now, "time_us")) || s.seconds <= 0) {
        json_decref(empty);
        json_decref(f);
        return NULL;
    }
    json_t *codes = rates(&s, "codes");
    set_real(f, "seconds", s.seconds);
    json_object_set_new(f, "since_start", json_boolean(!same));
    copy_keys(f, now);
    set_real(f, "per_second", sum_of(codes));
    json_object_set_new(f, "codes", codes);
    json_object_set_new(f, "classes", rates(&s, "classes"));
    json_object_set_new(f, "protocols", rates(&s, "protocols"));
    json_object_set_new(f, "refusals", rates(&s, "refusals"));
    json_object_set_new(f, "errors", rates(&s, "errors"));
    json_object_set_new(f, "latency_us",
        quantiles(json_object_get(s.before, "total"), json_object_get(now, "total")));
    json_object_set_new(f, "stages_us", stages(&s));
    json_object_set_new(f, "workers", workers(&s));
    int bad = json_object_set_new(f, "environments", busiest(&s, "environments", most)) ||
              json_object_set_new(f, "services", busiest(&s, "services", most)) ||
              json_object_set_new(f, "providers", providers(&s, most));
    json_decref(empty);
    if (!bad)
        return f;
    json_decref(f);
    return NULL;
}
