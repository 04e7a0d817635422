/* Latency of the three roles: their distributions as curves over doubling durations. */
#include "ctl/session_page.h"
#include "lib/base/histogram.h"
#include <math.h>
#include <stdio.h>

#define CELLS  (HISTOGRAM_BUCKETS + 1) /* and the one of all that took longer */
#define WIDTH  560
#define HEIGHT 250
#define LEFT   42
#define RIGHT  14
#define TOP    10
#define BOTTOM 34

enum { PRIMARY, SECONDARY, CANDIDATE, CURVES };
static const char *const names[CURVES] = {"primary", "secondary", "candidate"};
static const char *const legends[CURVES] = {"primary (the users' own)", "secondary", "candidate"};

struct curve {
    double count[CELLS], total;
};
struct plot {
    struct curve curve[CURVES];
    unsigned first, last; /* cells with something in them, and one beside where there is one */
    double highest;       /* share of one cell */
};

static unsigned cell_of(const json_t *edge)
{
    json_int_t us = json_integer_value(edge);
    return json_is_integer(edge) && us > 0 ? histogram_bucket((uint64_t)us - 1) : HISTOGRAM_BUCKETS;
}

static void read_curve(struct curve *c, const json_t *role)
{
    const json_t *bucket;
    size_t i;
    json_array_foreach(json_object_get(role, "buckets"), i, bucket)
    {
        json_int_t n = json_integer_value(json_array_get(bucket, 1));
        if (n <= 0)
            continue;
        c->count[cell_of(json_array_get(bucket, 0))] += (double)n;
        c->total += (double)n;
    }
}

static double share(const struct curve *c, unsigned cell)
{
    return c->total > 0 ? c->count[cell] / c->total : 0;
}

/* False: nothing was measured. */
static bool read_plot(struct plot *p, const json_t *latency)
{
    *p = (struct plot){.first = CELLS};
    for (unsigned k = 0; k < CURVES; k++) {
        read_curve(&p->curve[k], json_object_get(latency, names[k]));
        for (unsigned i = 0; i < CELLS; i++) {
            if (p->curve[k].count[i] <= 0)
                continue;
            p->first = i < p->first ? i : p->first;
            p->last = i > p->last ? i : p->last;
            p->highest = fmax(p->highest, share(&p->curve[k], i));
        }
    }
    if (p->first == CELLS)
        return false;
    p->first -= p->first > 0;
    p->last += p->last + 1 < CELLS;
    p->highest = fmin(1, ceil(p->highest * 10) / 10);
    return true;
}

/* Where cell i begins; x_of(last + 1) is the right end. */
static double x_of(const struct plot *p, unsigned i)
{
    return LEFT + (double)(WIDTH - LEFT - RIGHT) * (i - p->first) / (p->last + 1 - p->first);
}

static double y_of(double part)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - part);
}

/* ---- axes ---- */

static void add_duration(struct text *t, uint64_t us)
{
    if (us < 1000)
        text_fmt(t, "%llu µs", (unsigned long long)us);
    else if (us < 1000000)
        text_fmt(t, "%.3g ms", (double)us / 1000);
    else
        text_fmt(t, "%.3g s", (double)us / 1000000);
}

static void add_axes(const struct plot *p, double top, struct text *t)
{
    unsigned every = (p->last + 1 - p->first) / 7 + 1;
    for (int i = 0; i <= 4; i++) {
        double part = i / 4.0;
        text_fmt(t,
            "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" "
            "y=\"%.1f\" text-anchor=\"end\">%.3g %%</text>",
            LEFT, WIDTH - RIGHT, y_of(part), y_of(part), LEFT - 4, y_of(part) + 4,
            100 * top * part);
    }
    for (unsigned i = p->first; i <= p->last && i <= HISTOGRAM_BUCKETS; i += every) {
        text_fmt(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", x_of(p, i), HEIGHT - 16);
        add_duration(t, i ? histogram_edge(i - 1) : 0);
        text_add(t, STR("</text>"));
    }
}

static void begin_svg(struct text *t, const char *caption)
{
    text_fmt(t, "<figure><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", WIDTH, HEIGHT,
        caption);
}

static void end_svg(struct text *t, const char *caption)
{
    text_fmt(t, "</svg><figcaption>%s</figcaption></figure>\n", caption);
}

/* ---- curves ---- */

static void add_steps(const struct plot *p, unsigned k, struct text *t)
{
    text_fmt(t, "<path class=\"curve %s\" d=\"M%.1f %.1f", names[k], x_of(p, p->first), y_of(0));
    for (unsigned i = p->first; i <= p->last; i++)
        text_fmt(t, "V%.1fH%.1f", y_of(share(&p->curve[k], i) / p->highest), x_of(p, i + 1));
    text_fmt(t, "V%.1f\"/>", y_of(0));
}

static void add_sum(const struct plot *p, unsigned k, struct text *t)
{
    double sum = 0;
    text_fmt(t, "<path class=\"curve %s\" d=\"M%.1f %.1f", names[k], x_of(p, p->first), y_of(0));
    for (unsigned i = p->first; i <= p->last; i++) {
        sum += share(&p->curve[k], i);
        text_fmt(t, "L%.1f %.1f", x_of(p, i + 1), y_of(fmin(sum, 1)));
    }
    text_add(t, STR("\"/>"));
}

static void add_figure(const struct plot *p, bool sums, struct text *t)
{
    const char *caption = sums ? "Replies that took at most so long"
                               : "Share of replies in each doubling of the duration";
    begin_svg(t, caption);
    add_axes(p, sums ? 1 : p->highest, t);
    for (unsigned k = 0; k < CURVES; k++)
        if (p->curve[k].total > 0)
            (sums ? add_sum : add_steps)(p, k, t);
    end_svg(t, caption);
}

static void add_row(const json_t *latency, const struct plot *p, unsigned k, struct text *t)
{
    static const char *const keys[] = {"p50_us", "p90_us", "p99_us"};
    text_fmt(t, "<tr><td><span class=\"key %s\">%s</span></td><td class=\"n\">%.0f</td>", names[k],
        legends[k], p->curve[k].total);
    for (unsigned i = 0; i < 3; i++) {
        text_add(t, STR("<td class=\"n\">"));
        add_duration(t, object_number(json_object_get(latency, names[k]), keys[i]));
        text_add(t, STR("</td>"));
    }
    text_add(t, STR("</tr>\n"));
}

void session_plot(const json_t *latency, struct text *t)
{
    struct plot p;
    if (!read_plot(&p, latency)) {
        text_add(t, STR("<p class=\"dim\">Nothing was measured yet.</p>\n"));
        return;
    }
    text_add(t, STR("<div class=\"plots\">\n"));
    add_figure(&p, false, t);
    add_figure(&p, true, t);
    text_add(t, STR("</div>\n<div class=\"scroll\"><table class=\"latency\"><tr><th>role</th>"
                    "<th class=\"n\">replies</th><th class=\"n\">p50</th><th class=\"n\">p90</th>"
                    "<th class=\"n\">p99</th></tr>\n"));
    for (unsigned k = CURVES; k-- > 0;)
        add_row(latency, &p, k, t);
    text_add(
        t, STR("</table></div>\n<p class=\"dim\">The candidate is judged against the secondary: "
               "both were asked at the same moment, by the same way. The users' own replies "
               "took another one.</p>\n"));
}
