/* top: asks a proxy again and again, and shows what changed in between. */
#include "ctl/object.h"
#include "ctl/output.h"
#include "ctl/screen.h"
#include "ctl/top_frame.h"
#include "lib/base/parse.h"
#include "lib/graph/hint.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define INTERVAL_MS     2000u
#define INTERVAL_MIN_MS 100u
#define INTERVAL_MAX_MS 3600000u
#define ROWS            10u
#define ANSWER_SECONDS  5

struct top {
    const struct call *call;
    uint64_t interval_ms, rows;
    struct object before, now;
    struct screen screen;
    struct text lines;  /* of the newest frame */
    struct err problem; /* why there is no newer one */
};

static int read_options(struct top *t, struct err *e)
{
    const struct args *a = t->call->args;
    const char *interval = a->value[OPT_INTERVAL], *limit = a->value[OPT_LIMIT];
    t->interval_ms = args_have(a, OPT_ONCE) ? INTERVAL_MS / 2 : INTERVAL_MS;
    t->rows = ROWS;
    if (args_have(a, OPT_INTERVAL) &&
        (parse_duration_ms(str_c(interval), &t->interval_ms) != 0 ||
            t->interval_ms < INTERVAL_MIN_MS || t->interval_ms > INTERVAL_MAX_MS))
        return err_set(e, -EINVAL, "--interval: want 100ms to 1h, not '%.*s'",
            STR_ARG(shown(str_c(interval))));
    if (args_have(a, OPT_LIMIT) && (parse_u64(str_c(limit), &t->rows) != 0 || t->rows > 100000))
        return err_set(
            e, -EINVAL, "--limit: want a number, not '%.*s'", STR_ARG(shown(str_c(limit))));
    return 0;
}

/* The reading that was the newest becomes the one before. */
static enum status ask(struct top *t, struct err *e)
{
    struct target target;
    struct object o;
    target_start(&target, "/top", NULL);
    target.seconds = ANSWER_SECONDS;
    enum status s = object_ask(t->call, LIVE_GET, &target, &o, e);
    if (s != STATUS_YES) {
        object_release(&o);
        return s;
    }
    object_release(&t->before);
    t->before = t->now;
    t->now = o;
    return STATUS_YES;
}

/* The frame as it is printed, into t->lines. */
static int make_lines(struct top *t, struct err *e)
{
    unsigned width, height;
    json_t *frame = top_frame(t->before.json, t->now.json, t->rows);
    if (!frame)
        return err_set(e, -EPROTO, "the answer from '%s' is not understood", t->call->socket);
    t->lines.n = 0;
    screen_size(&t->screen, &width, &height);
    if (t->call->json) {
        char *line = json_dumps(frame, JSON_COMPACT | JSON_REAL_PRECISION(9));
        text_add(&t->lines, str_c(line));
        text_add(&t->lines, STR("\n"));
        t->lines.failed |= line ? 0 : -ENOMEM;
        free(line); /* jansson's own */
    } else {
        top_draw(&t->lines, frame, width, height ? height - 1 : 0); /* one for a problem */
    }
    json_decref(frame);
    return t->lines.failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}

/* ---- once ---- */

static enum status once(struct top *t, struct err *e)
{
    struct timespec pause = {
        (time_t)(t->interval_ms / 1000), (long)(t->interval_ms % 1000) * 1000000};
    enum status s = ask(t, e);
    if (s == STATUS_YES) {
        while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
            ;
        s = ask(t, e);
    }
    if (s == STATUS_YES && make_lines(t, e) != 0)
        s = STATUS_ERROR;
    if (s != STATUS_YES)
        return s;
    struct text lines = t->lines;
    t->lines = (struct text){0};
    return out_plain(&lines, s, e);
}

/* ---- again and again ---- */

/* The newest frame; while the proxy does not answer, the last one with the reason above it. */
static int draw(struct top *t, struct err *e)
{
    struct text all = {0};
    if (t->problem.code) {
        text_add(&all, STR("! "));
        text_clean(&all, str_c(t->problem.text));
        text_add(&all, STR(": trying again\n"));
    }
    text_add(&all, str_of(t->lines.p, t->lines.n));
    int rc = all.failed ? all.failed : screen_draw(&t->screen, &all);
    text_release(&all);
    return rc ? err_set(e, rc, "cannot write: %s", strerror(-rc)) : 0;
}

/* What the next reading brings. */
static int turn(struct top *t, struct err *e)
{
    t->problem = (struct err){0};
    if (ask(t, &t->problem) == STATUS_YES) {
        t->problem = (struct err){0};
        return make_lines(t, e) ? -1 : draw(t, e);
    }
    if (t->screen.terminal)
        return draw(t, e);
    return 0; /* where frames stand below each other, the old one is not said again */
}

static enum status watch(struct top *t, struct err *e)
{
    enum screen_event event = SCREEN_TIME;
    if (ask(t, e) != STATUS_YES)
        return STATUS_ERROR;
    if (screen_begin(&t->screen, t->call->json, e) != 0)
        return STATUS_ERROR;
    int rc = make_lines(t, e) ? -1 : draw(t, e);
    while (rc == 0) {
        event = screen_wait(&t->screen, t->interval_ms);
        if (event == SCREEN_QUIT)
            break;
        rc = event == SCREEN_TIME ? turn(t, e) : make_lines(t, e) ? -1 : draw(t, e);
    }
    screen_end(&t->screen);
    return rc ? STATUS_ERROR : STATUS_YES;
}

enum status live_top(const struct call *c, struct err *e)
{
    struct top t = {.call = c};
    if (read_options(&t, e))
        return STATUS_ERROR;
    enum status s = args_have(c->args, OPT_ONCE) ? once(&t, e) : watch(&t, e);
    object_release(&t.before);
    object_release(&t.now);
    text_release(&t.lines);
    return s;
}
