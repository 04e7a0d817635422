/* The commands on a running proxy or agent: one request each, its answer as it comes. */
#include "ctl/live.h"
#include "ctl/output.h"
#include "lib/base/log.h"
#include "lib/graph/hint.h"
#include "lib/graph/snapshot.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#define UPGRADE_SECONDS 3700 /* more than timeouts.upgrade can be */

/* A JSON answer is one line. */
static void end_line(struct text *t)
{
    if (t->n && t->p[t->n - 1] != '\n')
        text_add(t, STR("\n"));
}

enum status live_print(const struct call *c, enum live_method m, struct target *t, struct err *e)
{
    struct live_reply r;
    if (live_ask(c, m, t, c->json, &r, e))
        return STATUS_ERROR;
    end_line(&r.body);
    if (r.status == 200)
        return out_plain(&r.body, STATUS_YES, e);
    enum status s = live_refused(&r, e);
    text_release(&r.body);
    return s;
}

static enum status get(const struct call *c, const char *path, const char *name, struct err *e)
{
    struct target t;
    target_start(&t, path, name);
    return live_print(c, LIVE_GET, &t, e);
}

static enum status post(const struct call *c, const char *path, struct err *e)
{
    struct target t;
    target_start(&t, path, NULL);
    return live_print(c, LIVE_POST, &t, e);
}

/* ---- decisions ---- */

static enum status status_of(struct str refusal)
{
    if (!refusal.p)
        return STATUS_ERROR;
    if (!refusal.n)
        return STATUS_YES;
    bool unknown = str_eq(refusal, str_c(refusal_word(REFUSAL_UNKNOWN_ENVIRONMENT))) ||
                   str_eq(refusal, str_c(refusal_word(REFUSAL_NO_SERVICE)));
    return unknown ? STATUS_NOT_FOUND : STATUS_NO;
}

static enum status ask_decision(const struct call *c, struct target *t, struct err *e)
{
    struct live_reply r;
    char room[32];
    if (live_at(c, t, e)) {
        text_release(&t->text);
        return STATUS_ERROR;
    }
    if (args_have(c->args, OPT_NOW))
        target_param(t, "now", c->args->value[OPT_NOW]);
    if (live_ask(c, LIVE_GET, t, c->json, &r, e))
        return STATUS_ERROR;
    if (r.status != 200) {
        enum status s = live_refused(&r, e);
        text_release(&r.body);
        return s;
    }
    struct str refusal = c->json ? live_refusal_json(&r.body, room) : live_refusal_text(&r.body);
    enum status s = status_of(refusal);
    if (s == STATUS_ERROR)
        err_set(e, -EPROTO, "the answer from '%s' is not understood", c->socket);
    return c->json ? out_plain(&r.body, s, e) : out_answer(&r.body, s, e);
}

enum status live_resolve(const struct call *c, struct err *e)
{
    struct target t;
    if (c->nwords < 2) {
        err_set(e, -EINVAL, "want resolve ENVIRONMENT SERVICE");
        return STATUS_ERROR;
    }
    target_start(&t, "/resolve", NULL);
    target_param(&t, "env", c->words[0]);
    target_param(&t, "service", c->words[1]);
    return ask_decision(c, &t, e);
}

enum status live_explain(const struct call *c, struct err *e)
{
    const struct args *a = c->args;
    struct target t;
    target_start(&t, "/explain", NULL);
    if (args_have(a, OPT_HOST))
        target_param(&t, "host", a->value[OPT_HOST]);
    if (args_have(a, OPT_PATH))
        target_param(&t, "path", a->value[OPT_PATH]);
    for (size_t i = 0; i < a->header.n; i++)
        target_param(&t, "header", a->header.item[i]);
    if (args_have(a, OPT_TRUSTED))
        target_param(&t, "trusted", "1");
    if (args_have(a, OPT_SUBJECT))
        target_param(&t, "subject", a->value[OPT_SUBJECT]);
    return ask_decision(c, &t, e);
}

/* ---- the graph ---- */

static enum status ask_environments(const struct call *c, struct target *t, struct err *e)
{
    if (live_at(c, t, e) == 0)
        return live_print(c, LIVE_GET, t, e);
    text_release(&t->text);
    return STATUS_ERROR;
}

enum status live_env_list(const struct call *c, struct err *e)
{
    struct target t;
    target_start(&t, "/environments", NULL);
    return ask_environments(c, &t, e);
}

enum status live_env_tree(const struct call *c, struct err *e)
{
    struct target t;
    target_start(&t, "/environments", NULL);
    target_param(&t, "tree", "1");
    return ask_environments(c, &t, e);
}

enum status live_env_show(const struct call *c, struct err *e)
{
    struct target t;
    target_start(&t, "/environments/", c->words[0]);
    return ask_environments(c, &t, e);
}

/* What a JSON answer says under a key: yes or no. */
static enum status verdict(
    const struct call *c, const struct live_reply *r, const char *key, struct err *e)
{
    if (r->status != 200)
        return live_refused(r, e);
    json_t *j = json_loadb(r->body.n ? r->body.p : "", r->body.n, 0, NULL);
    const json_t *value = json_object_get(j, key);
    enum status s = json_is_true(value) ? STATUS_YES : STATUS_NO;
    if (!json_is_boolean(value)) {
        err_set(e, -EPROTO, "the answer from '%s' is not understood", c->socket);
        s = STATUS_ERROR;
    }
    json_decref(j);
    return s;
}

typedef void target_fn(const struct call *c, struct target *t);

/* Yes or no stands in the JSON form alone, so that is asked for first. */
static enum status ask_verdict(
    const struct call *c, target_fn *make_target, const char *key, struct err *e)
{
    struct target t;
    struct live_reply r;
    make_target(c, &t);
    if (live_ask(c, LIVE_GET, &t, true, &r, e))
        return STATUS_ERROR;
    enum status s = verdict(c, &r, key, e);
    if (c->json && !e->code) {
        end_line(&r.body);
        return out_plain(&r.body, s, e);
    }
    text_release(&r.body);
    if (e->code)
        return s;
    make_target(c, &t);
    enum status told = live_print(c, LIVE_GET, &t, e);
    return told == STATUS_YES ? s : told;
}

static void target_check(const struct call *c, struct target *t)
{
    (void)c;
    target_start(t, "/check", NULL);
}

enum status live_check(const struct call *c, struct err *e)
{
    return ask_verdict(c, target_check, "valid", e);
}

static void target_diff(const struct call *c, struct target *t)
{
    target_start(t, "/diff", NULL);
    target_param(t, "from", c->args->value[OPT_FROM]);
    if (args_have(c->args, OPT_TO))
        target_param(t, "to", c->args->value[OPT_TO]);
}

enum status live_graph_diff(const struct call *c, struct err *e)
{
    const struct args *a = c->args;
    if (!args_have(a, OPT_FROM)) {
        err_set(e, -EINVAL,
            "want graph diff --from EPOCH [--to EPOCH], or graph diff BEFORE AFTER for files");
        return STATUS_ERROR;
    }
    if (live_epoch("--from", a->value[OPT_FROM], e) ||
        (args_have(a, OPT_TO) && live_epoch("--to", a->value[OPT_TO], e)))
        return STATUS_ERROR;
    return ask_verdict(c, target_diff, "equal", e);
}

/* ---- the rest: as it comes ---- */

enum status live_status(const struct call *c, struct err *e)
{
    return get(c, "/status", NULL, e);
}

enum status live_trace(const struct call *c, struct err *e)
{
    return get(c, "/trace/", c->words[0], e);
}

enum status live_metrics(const struct call *c, struct err *e)
{
    return get(c, "/metrics", NULL, e);
}

enum status live_counters(const struct call *c, struct err *e)
{
    return get(c, "/counters", NULL, e);
}

enum status live_config(const struct call *c, struct err *e)
{
    return get(c, "/config", NULL, e);
}

enum status live_reload(const struct call *c, struct err *e)
{
    return post(c, "/reload", e);
}

/* A history is named by 32 hexadecimal digits. */
enum status live_proxy_adopt(const struct call *c, struct err *e)
{
    const char *history = c->words[0];
    struct target t;
    if (strlen(history) != 32 || strspn(history, "0123456789abcdef") != 32) {
        err_set(e, -EINVAL, "not a history (32 hexadecimal digits, as status tells it) '%.*s'",
            STR_ARG(shown(str_c(history))));
        return STATUS_ERROR;
    }
    target_start(&t, "/adopt", NULL);
    target_param(&t, "history", history);
    return live_print(c, LIVE_POST, &t, e);
}

enum status live_providers(const struct call *c, struct err *e)
{
    return get(c, "/providers", NULL, e);
}

enum status live_proxy_endpoint(const struct call *c, struct err *e)
{
    const char *action = c->words[0];
    struct target t;
    if (strcmp(action, "drain") != 0 && strcmp(action, "disable") != 0 &&
        strcmp(action, "enable") != 0) {
        err_set(e, -EINVAL, "unknown action '%.*s': want drain, disable or enable",
            STR_ARG(shown(str_c(action))));
        return STATUS_ERROR;
    }
    target_start(&t, "/endpoint", NULL);
    target_param(&t, "address", c->words[1]);
    target_param(&t, "action", action);
    if (args_have(c->args, OPT_REASON))
        target_param(&t, "reason", c->args->value[OPT_REASON]);
    return live_print(c, LIVE_POST, &t, e);
}

/* The proxy has its own time-out (timeouts.upgrade); a path that is not whole is from here. */
enum status live_proxy_upgrade(const struct call *c, struct err *e)
{
    const char *binary = c->nwords ? c->words[0] : NULL;
    struct target t;
    char path[8192] = "";
    target_start(&t, "/upgrade", NULL);
    t.seconds = UPGRADE_SECONDS;
    if (binary && binary[0] != '/' && !getcwd(path, sizeof path / 2)) {
        text_release(&t.text);
        err_set(e, -errno, "cannot tell the working folder: %s", strerror(errno));
        return STATUS_ERROR;
    }
    size_t n = strlen(path);
    if (binary) {
        snprintf(path + n, sizeof path - n, "%s%s", n ? "/" : "", binary);
        target_param(&t, "binary", path);
    }
    return live_print(c, LIVE_POST, &t, e);
}

enum status live_drain(const struct call *c, struct err *e)
{
    return post(c, "/drain", e);
}

enum status live_log_level(const struct call *c, struct err *e)
{
    struct target t;
    enum log_level level;
    if (log_level_parse(c->words[0], &level)) {
        err_set(e, -EINVAL, "unknown level '%.*s': want error, warn, info or debug",
            STR_ARG(shown(str_c(c->words[0]))));
        return STATUS_ERROR;
    }
    target_start(&t, "/log-level", NULL);
    target_param(&t, "level", c->words[0]);
    return live_print(c, LIVE_POST, &t, e);
}
