/* The screen of `top`: plain lines, no escape sequences. */
#include "ctl/object.h"
#include "ctl/top_frame.h"
#include <math.h>
#include <stdio.h>

#define NAME_WIDTH 24

struct canvas {
    struct text *out;
    struct text line;
    unsigned width, height, lines; /* width, height 0: no bound */
};

/* As much of it as `width` characters are; *ret_shown: how many those are. */
static struct str fitting(const struct text *t, size_t width, size_t *ret_shown)
{
    struct str s = {t->p, 0};
    *ret_shown = 0;
    for (; s.n < t->n; s.n++) {
        bool starts = ((unsigned char)s.p[s.n] & 0xc0) != 0x80;
        if (starts && *ret_shown == width)
            break;
        *ret_shown += starts;
    }
    return s;
}

/* Ends the line: cut to the width. */
static void next_line(struct canvas *c)
{
    size_t shown;
    struct str s = fitting(&c->line, c->width ? c->width : SIZE_MAX, &shown);
    while (s.n > 0 && s.p[s.n - 1] == ' ')
        s.n--;
    if (!c->height || c->lines < c->height) {
        text_add(c->out, s);
        text_add(c->out, STR("\n"));
    }
    c->lines++;
    c->line.n = 0;
}

/* ---- words for numbers ---- */

static void put_duration(struct text *t, double us)
{
    if (us < 1000)
        text_fmt(t, "%.0f us", us);
    else if (us < 1e6)
        text_fmt(t, "%.1f ms", us / 1e3);
    else
        text_fmt(t, "%.2f s", us / 1e6);
}

static void put_uptime(struct text *t, double seconds)
{
    if (seconds < 120)
        text_fmt(t, "%.0f s", seconds);
    else if (seconds < 7200)
        text_fmt(t, "%.0f min", seconds / 60);
    else if (seconds < 172800)
        text_fmt(t, "%.1f h", seconds / 3600);
    else
        text_fmt(t, "%.1f d", seconds / 86400);
}

/* Requests a second: as many digits as mean something. */
static void put_rate(struct text *t, double x)
{
    text_fmt(t, x >= 100 || x == 0 ? "%.0f" : x >= 1 ? "%.1f" : "%.2f", x);
}

/* ---- lines ---- */

static void title(struct canvas *c, const json_t *f)
{
    struct text *t = &c->line;
    text_fmt(t, "offshoot-proxy ");
    text_clean(t, str_c(object_text(f, "version")));
    text_fmt(t, "  process %.0f  ", object_real(f, "pid"));
    text_clean(t, str_c(object_text(f, "state")));
    text_fmt(t, "  epoch %.0f  up ", object_real(f, "epoch"));
    put_uptime(t, object_real(f, "uptime_seconds"));
    if (object_true(f, "since_start"))
        text_add(t, STR("  (all since its start)"));
    else
        text_fmt(t, "  (last %.1f s)", object_real(f, "seconds"));
    next_line(c);
    next_line(c);
}

static void rate_line(struct canvas *c, const char *label, json_t *rates, const char *none)
{
    struct text *t = &c->line;
    text_fmt(t, "%-10s ", label);
    for (void *it = json_object_iter(rates); it; it = json_object_iter_next(rates, it)) {
        text_clean(t, str_c(json_object_iter_key(it)));
        text_add(t, STR(" "));
        put_rate(t, json_number_value(json_object_iter_value(it)));
        text_add(t, STR("/s   "));
    }
    if (json_object_size(rates) == 0)
        text_add(t, str_c(none));
    next_line(c);
}

static void requests_line(struct canvas *c, const json_t *f)
{
    struct text *t = &c->line;
    double all = object_real(f, "per_second");
    json_t *codes = json_object_get(f, "codes");
    text_fmt(t, "%-10s ", "requests");
    put_rate(t, all);
    text_add(t, STR("/s   "));
    for (void *it = json_object_iter(codes); it; it = json_object_iter_next(codes, it)) {
        double rate = json_number_value(json_object_iter_value(it));
        text_clean(t, str_c(json_object_iter_key(it)));
        text_fmt(t, " %.1f %%   ", all > 0 ? 100 * rate / all : 0);
    }
    next_line(c);
}

static void quantile_line(struct canvas *c, const char *label, const json_t *q)
{
    static const char *const keys[] = {"p50", "p90", "p99"};
    struct text *t = &c->line;
    text_fmt(t, "%-10s ", label);
    if (object_real(q, "count") == 0) {
        text_add(t, STR("-"));
        next_line(c);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        text_fmt(t, "%s ", keys[i]);
        put_duration(t, object_real(q, keys[i]));
        text_add(t, STR("   "));
    }
    next_line(c);
}

static void now_line(struct canvas *c, const json_t *f)
{
    text_fmt(&c->line, "%-10s %.0f clients   %.0f requests   %.1f MiB", "now",
        object_real(f, "clients"), object_real(f, "requests_now"),
        object_real(f, "memory_bytes") / 1048576);
    next_line(c);
}

/* Each worker's share of the requests, and how busy it is. */
static void workers_line(struct canvas *c, const json_t *f)
{
    const json_t *list = json_object_get(f, "workers");
    double all = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        all += object_real(json_array_get(list, i), "per_second");
    text_fmt(&c->line, "%-10s ", "workers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *w = json_array_get(list, i);
        text_fmt(&c->line, "%zu: %.0f %% of requests, cpu %.0f %%   ", i,
            all > 0 ? 100 * object_real(w, "per_second") / all : 0, 100 * object_real(w, "cpu"));
    }
    next_line(c);
}

/* ---- tables ---- */

static void put_cell(struct text *t, const char *s, unsigned width)
{
    struct text clean = {0};
    size_t shown;
    text_clean(&clean, str_c(s));
    text_add(t, fitting(&clean, width, &shown));
    text_fmt(t, "%*s", (int)(width - shown), "");
    text_release(&clean);
}

static void put_number(struct text *t, double x, int width)
{
    char word[32];
    snprintf(word, sizeof word, x >= 100 || x == floor(x) ? "%.0f" : x >= 1 ? "%.1f" : "%.2f", x);
    text_fmt(t, "%*s", width, word);
}

static void busy_cell(struct text *t, const json_t *item)
{
    if (!item) {
        text_fmt(t, "%*s", NAME_WIDTH + 10, "");
        return;
    }
    put_cell(t, object_text(item, "name"), NAME_WIDTH);
    put_number(t, object_real(item, "per_second"), 10);
}

/* Environments and services side by side. */
static void busy_table(struct canvas *c, const json_t *f)
{
    const json_t *envs = json_object_get(f, "environments"),
                 *services = json_object_get(f, "services");
    size_t a = json_array_size(envs), b = json_array_size(services);
    if (a == 0 && b == 0)
        return;
    next_line(c);
    text_fmt(&c->line, "%-*s%10s  %-*s%10s", NAME_WIDTH, "ENVIRONMENT", "PER S", NAME_WIDTH,
        "SERVICE", "PER S");
    next_line(c);
    for (size_t i = 0; i < a || i < b; i++) {
        busy_cell(&c->line, json_array_get(envs, i));
        text_add(&c->line, STR("  "));
        busy_cell(&c->line, json_array_get(services, i));
        next_line(c);
    }
}

static void provider_table(struct canvas *c, const json_t *f)
{
    const json_t *list = json_object_get(f, "providers");
    if (json_array_size(list) == 0)
        return;
    next_line(c);
    text_fmt(&c->line, "%-*s  %-10s%10s%10s%10s%8s%8s%8s", NAME_WIDTH, "PROVIDER", "STATE", "PER S",
        "ERRORS", "IN WORK", "WAIT", "CONN", "IDLE");
    next_line(c);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *p = json_array_get(list, i);
        put_cell(&c->line, object_text(p, "name"), NAME_WIDTH);
        text_add(&c->line, STR("  "));
        put_cell(&c->line, object_text(p, "state"), 10);
        put_number(&c->line, object_real(p, "per_second"), 10);
        put_number(&c->line, object_real(p, "errors_per_second"), 10);
        put_number(&c->line, object_real(p, "inflight"), 10);
        put_number(&c->line, object_real(p, "waiting"), 8);
        put_number(&c->line, object_real(p, "connections"), 8);
        put_number(&c->line, object_real(p, "idle"), 8);
        next_line(c);
    }
}

void top_draw(struct text *out, const json_t *f, unsigned width, unsigned height)
{
    struct canvas c = {.out = out, .width = width, .height = height};
    const json_t *stages = json_object_get(f, "stages_us");
    title(&c, f);
    requests_line(&c, f);
    rate_line(&c, "classes", json_object_get(f, "classes"), "-");
    rate_line(&c, "protocols", json_object_get(f, "protocols"), "-");
    rate_line(&c, "refusals", json_object_get(f, "refusals"), "none");
    rate_line(&c, "errors", json_object_get(f, "errors"), "none");
    quantile_line(&c, "latency", json_object_get(f, "latency_us"));
    quantile_line(&c, "  connect", json_object_get(stages, "connect"));
    quantile_line(&c, "  reply", json_object_get(stages, "first_byte"));
    workers_line(&c, f);
    now_line(&c, f);
    busy_table(&c, f);
    provider_table(&c, f);
    if (c.line.failed)
        out->failed = c.line.failed;
    text_release(&c.line);
}
