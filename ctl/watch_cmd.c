/* What a running proxy is doing: its connections, its requests, its access log. */
#include "ctl/live.h"
#include "ctl/output.h"
#include <errno.h>

/* ---- lists ---- */

static void add_option(const struct call *c, struct target *t, enum option o, const char *name)
{
    if (args_have(c->args, o))
        target_param(t, name, c->args->value[o]);
}

static enum status ask_list(const struct call *c, struct target *t, struct err *e)
{
    add_option(c, t, OPT_STATE, "state");
    add_option(c, t, OPT_OLDER, "older");
    add_option(c, t, OPT_LIMIT, "limit");
    return live_print(c, LIVE_GET, t, e);
}

enum status live_connections(const struct call *c, struct err *e)
{
    struct target t;
    target_start(&t, "/connections", NULL);
    add_option(c, &t, OPT_SIDE, "side");
    return ask_list(c, &t, e);
}

enum status live_requests(const struct call *c, struct err *e)
{
    struct target t;
    if (!args_have(c->args, OPT_LIVE)) {
        err_set(e, -EINVAL, "want requests --live: those that are over are in the access log");
        return STATUS_ERROR;
    }
    target_start(&t, "/requests", NULL);
    target_param(&t, "live", "1");
    add_option(c, &t, OPT_ENV, "env");
    add_option(c, &t, OPT_SERVICE, "service");
    return ask_list(c, &t, e);
}

/* ---- the log ---- */

static bool print(struct str piece, void *arg)
{
    (void)arg;
    return fwrite(piece.p, 1, piece.n, stdout) == piece.n && out_flush() == 0;
}

enum status live_log(const struct call *c, struct err *e)
{
    struct live_reply r;
    struct target t;
    target_start(&t, "/log", NULL);
    for (size_t i = 0; i < c->args->when.n; i++)
        target_param(&t, "when", c->args->when.item[i]);
    add_option(c, &t, OPT_FORMAT, "format");
    if (live_stream(c, &t, print, NULL, &r, e))
        return STATUS_ERROR;
    enum status s = r.status == 200 ? STATUS_YES : live_refused(&r, e);
    text_release(&r.body);
    return s;
}
