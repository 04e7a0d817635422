/* One session, asked for and waited for. */
#include "ctl/session.h"
#include "lib/base/clock.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ASK_MS      500u
#define TELL_MS     10000u /* between two lines where no terminal reads */
#define PATIENCE_MS 30000u /* for an agent that does not answer */

enum status session_ask(
    const struct call *c, const char *name, unsigned fields, struct object *ret, struct err *e)
{
    struct target t;
    char digits[12];
    snprintf(digits, sizeof(digits), "%u", fields);
    target_start(&t, "/sessions/", name);
    target_param(&t, "fields", digits);
    return object_ask(c, LIVE_GET, &t, ret, e);
}

/* ---- how far it is ---- */

void session_progress(const json_t *session, struct text *t)
{
    unsigned long long samples = object_number(session, "samples");
    const json_t *needed = json_object_get(session, "samples_needed");
    if (strcmp(object_text(session, "state"), "canary") == 0) {
        text_clean(t, str_c(object_text(session, "why")));
        return;
    }
    text_fmt(t, "%llu sample%s", samples, samples == 1 ? "" : "s");
    if (strcmp(object_text(session, "verdict"), "inconclusive") != 0)
        return;
    if (json_is_integer(needed))
        text_fmt(t, ", some %lld more needed", (long long)json_integer_value(needed));
    else
        text_add(t, STR(", cannot tell how many more are needed"));
}

struct waiting {
    const struct session_wait *w;
    uint64_t started, told, failing; /* ms; failing: since when there is no answer, 0: there is */
    bool terminal, drawn;
    char said[256];
};

/* Over the line of before on a terminal; else a line, now and then and only with news. */
static void say(struct waiting *w, struct str line)
{
    uint64_t now = clock_mono_ms();
    unsigned long long s = (now - w->started) / 1000;
    struct str name = str_c(w->w->name);
    if (w->terminal) {
        fprintf(stderr, "\r%.*s: %.*s, %llu:%02llu\033[K", STR_ARG(name), STR_ARG(line), s / 60,
            s % 60);
        fflush(stderr);
        w->drawn = true;
        return;
    }
    if ((w->told && now - w->told < TELL_MS) || str_eq(line, str_c(w->said)))
        return;
    fprintf(stderr, "%.*s: %.*s\n", STR_ARG(name), STR_ARG(line));
    snprintf(w->said, sizeof(w->said), "%.*s", STR_ARG(line));
    w->told = now;
}

static void say_session(struct waiting *w, const json_t *session)
{
    struct text t = {0};
    session_progress(session, &t);
    say(w, str_of(t.p, t.n));
    text_release(&t);
}

static void leave_line(struct waiting *w)
{
    if (w->drawn)
        fputs("\r\033[K", stderr);
    w->drawn = false;
}

/* ---- waiting ---- */

static void pause_ms(uint64_t ms)
{
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* An agent that is started anew does not answer for a while: not at first, nor for long. */
static bool is_patient(struct waiting *w, enum status s, const struct err *e)
{
    uint64_t now = clock_mono_ms();
    if (s != STATUS_ERROR || !w->told)
        return false;
    w->failing = w->failing ? w->failing : now;
    if (now - w->failing >= PATIENCE_MS)
        return false;
    say(w, str_c(e->text));
    return true;
}

static enum status ask_until(
    const struct call *c, struct waiting *w, struct object *ret, struct err *e)
{
    for (;;) {
        struct err why = {0};
        uint64_t left = UINT64_MAX, waited = clock_mono_ms() - w->started;
        if (w->w->timeout_ms != UINT64_MAX)
            left = waited < w->w->timeout_ms ? w->w->timeout_ms - waited : 0;
        object_release(ret);
        enum status s = session_ask(c, w->w->name, w->w->fields, ret, &why);
        if (s == STATUS_YES) {
            w->failing = 0;
            if (w->w->over(ret->json))
                return STATUS_YES;
            say_session(w, ret->json);
            w->told = w->told ? w->told : clock_mono_ms();
        } else if (left == 0 || !is_patient(w, s, &why)) {
            err_set(e, why.code, "%s", why.text);
            return s;
        }
        if (left == 0)
            return STATUS_NO;
        pause_ms(left < ASK_MS ? left : ASK_MS);
    }
}

enum status session_wait(
    const struct call *c, const struct session_wait *w, struct object *ret, struct err *e)
{
    struct waiting now = {.w = w, .started = clock_mono_ms(), .terminal = isatty(STDERR_FILENO)};
    *ret = (struct object){0};
    enum status s = ask_until(c, &now, ret, e);
    leave_line(&now);
    return s;
}
