/* `shadow start|stop|restart|list|show`: one request to the agent each. */
#include "ctl/output.h"
#include "ctl/saved_reply.h"
#include "ctl/session.h"
#include "lib/base/parse.h"
#include "lib/compare/descriptors.h"
#include "lib/graph/hint.h"
#include <errno.h>

#define WAIT_DEFAULT_MS 30000u
#define WAIT_MAX_MS     300000u
#define FIELDS_SHOWN    50u
#define DESCRIPTORS_MAX (4u << 20) /* bytes that an agent takes */

/* ---- what is said of a session ---- */

static int want_environment(const struct args *a, enum option o, bool needed, struct err *e)
{
    const char *value = a->value[o];
    if (!value && needed)
        return err_set(e, -EINVAL,
            "want shadow start NAME --baseline ENVIRONMENT --candidate "
            "ENVIRONMENT");
    if (value && !name_valid(str_c(value)))
        return err_set(e, -EINVAL, "--%s wants %s, not '%.*s'", options[o].flag, options[o].arg,
            STR_ARG(shown(str_c(value))));
    return 0;
}

static int want_word(
    const struct args *a, enum option o, const char *one, const char *other, struct err *e)
{
    const char *value = a->value[o];
    if (!value || strcmp(value, one) == 0 || strcmp(value, other) == 0)
        return 0;
    return err_set(e, -EINVAL, "--%s wants %s or %s, not '%.*s'", options[o].flag, one, other,
        STR_ARG(shown(str_c(value))));
}

/* Digits with at most one dot between them; what it may be is for the agent to say. */
static int want_number(const struct args *a, enum option o, struct err *e)
{
    const char *value = a->value[o];
    if (!value)
        return 0;
    size_t whole = strspn(value, "0123456789");
    size_t part = value[whole] == '.' ? strspn(value + whole + 1, "0123456789") : 0;
    if (whole && value[whole + (part ? part + 1 : 0)] == '\0')
        return 0;
    return err_set(e, -EINVAL, "--%s wants a number, not '%.*s'", options[o].flag,
        STR_ARG(shown(str_c(value))));
}

static int want_duration(
    const struct args *a, enum option o, uint64_t max_ms, uint64_t *ret, struct err *e)
{
    if (args_duration(a, o, ret, e))
        return e->code;
    if (args_have(a, o) && *ret > max_ms)
        return err_set(e, -EINVAL, "--%s '%s' is too long", options[o].flag, a->value[o]);
    return 0;
}

/* A value is a secret: no message has it. */
static int want_headers(const struct values *v, struct err *e)
{
    for (size_t i = 0; i < v->n; i++) {
        size_t colon = str_find(str_c(v->item[i]), ':');
        if (colon == 0 || colon == strlen(v->item[i]))
            return err_set(e, -EINVAL, "--header wants 'NAME: VALUE'; number %zu is none", i + 1);
    }
    return 0;
}

static int want_paths(const struct values *v, struct err *e)
{
    for (size_t i = 0; i < v->n; i++)
        if (*v->item[i] != '/')
            return err_set(e, -EINVAL,
                "--path wants the beginning of a path, as /items, not '%.*s'",
                STR_ARG(shown(str_c(v->item[i]))));
    return 0;
}

static int check_start(const struct call *c, uint64_t *ret_wait_ms, struct err *e)
{
    const struct args *a = c->args;
    uint64_t life_ms = 0;
    *ret_wait_ms = WAIT_DEFAULT_MS;
    if (!name_valid(str_c(c->words[0])))
        return err_set(
            e, -EINVAL, "not a name for a session '%.*s'", STR_ARG(shown(str_c(c->words[0]))));
    int rc = want_environment(a, OPT_BASELINE, true, e);
    rc = rc ? rc : want_environment(a, OPT_CANDIDATE, true, e);
    rc = rc ? rc : want_environment(a, OPT_SECONDARY, false, e);
    rc = rc ? rc : want_number(a, OPT_RATE, e);
    rc = rc ? rc : want_number(a, OPT_SAMPLES, e);
    rc = rc ? rc : want_number(a, OPT_EPSILON, e);
    rc = rc ? rc : want_duration(a, OPT_FOR, UINT64_MAX, &life_ms, e);
    rc = rc ? rc : want_duration(a, OPT_TIMEOUT, WAIT_MAX_MS, ret_wait_ms, e);
    rc = rc ? rc : want_word(a, OPT_CREDENTIALS, "forward", "strip", e);
    rc = rc ? rc : want_word(a, OPT_UNTIL, "decision", "limit", e);
    rc = rc ? rc : want_headers(&a->header, e);
    rc = rc ? rc : want_paths(&a->path, e);
    if (rc == 0 && args_have(a, OPT_TIMEOUT) && !args_have(a, OPT_WAIT))
        rc = err_set(e, -EINVAL, "--timeout is for --wait, which is not said");
    if (rc == 0 && args_have(a, OPT_REDACT_OFF) && a->redact.n)
        rc = err_set(e, -EINVAL, "--redact and --redact-off together: what is a secret?");
    return rc;
}

static void add_list(struct target *t, const char *name, const struct values *v)
{
    for (size_t i = 0; i < v->n; i++)
        target_param(t, name, v->item[i]);
}

static void add_values(struct target *t, const struct args *a)
{
    static const struct {
        enum option o;
        const char *name;
    } values[] = {{OPT_BASELINE, "baseline"}, {OPT_CANDIDATE, "candidate"},
        {OPT_SECONDARY, "secondary"}, {OPT_RATE, "rate"}, {OPT_SAMPLES, "samples"},
        {OPT_FOR, "for"}, {OPT_EPSILON, "epsilon"}, {OPT_CREDENTIALS, "credentials"},
        {OPT_THROUGH, "through"}, {OPT_UNTIL, "until"}, {OPT_REASON, "reason"}};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        if (args_have(a, values[i].o))
            target_param(t, values[i].name, a->value[values[i].o]);
}

static void start_target(const struct call *c, struct target *t)
{
    const struct args *a = c->args;
    target_start(t, "/shadow/start", NULL);
    target_param(t, "name", c->words[0]);
    add_values(t, a);
    add_list(t, "service", &a->service);
    add_list(t, "path", &a->path);
    add_list(t, "ignore", &a->ignore);
    add_list(t, "redact", &a->redact);
    add_list(t, "header", &a->header);
    if (args_have(a, OPT_STRICT))
        target_param(t, "strict", "1");
    if (args_have(a, OPT_REDACT_OFF))
        target_param(t, "redactOff", "1");
}

/* ---- what is told ---- */

/* "feat-42 runs: main -> feat, 12 samples" */
static void tell_state(
    const struct call *c, const json_t *session, const char *does, struct text *t)
{
    const json_t *spec = json_object_get(session, "spec");
    text_clean(t, str_c(c->words[0]));
    text_fmt(t, " %s: ", does);
    text_clean(t, str_c(object_text(spec, "baseline")));
    text_add(t, STR(" -> "));
    text_clean(t, str_c(object_text(spec, "candidate")));
    text_fmt(t, ", run %llu, verdict ", (unsigned long long)object_number(session, "run"));
    text_clean(t, str_c(object_text(session, "verdict")));
    text_add(t, STR("\n  why: "));
    text_clean(t, str_c(object_text(session, "why")));
    text_add(t, STR("\n"));
}

static enum status tell(
    const struct call *c, struct object *o, const char *does, enum status s, struct err *e)
{
    struct text t = {0};
    if (c->json)
        return object_print(o, s, e);
    tell_state(c, o->json, does, &t);
    return out_answer(&t, s, e);
}

/* ---- start ---- */

static int judge_descriptors(struct str set, struct err *e)
{
    if (set.n == 0)
        return err_set(e, -EINVAL, "it is empty");
    if (set.n > DESCRIPTORS_MAX)
        return err_set(e, -EINVAL, "more than %u bytes", DESCRIPTORS_MAX);
    struct descriptors *d = descriptors_parse(set, e);
    if (!d)
        return e->code;
    size_t n = descriptors_methods(d);
    descriptors_free(d);
    return n ? 0 : err_set(e, -EINVAL, "no method of a service is in it");
}

/* The file of --descriptors, if there is one: the body of the request. Release it in any case. */
static int read_descriptors(const struct args *a, struct text *ret, struct err *e)
{
    const char *path = a->value[OPT_DESCRIPTORS];
    int rc = path ? saved_read(path, ret, e) : 0;
    if (path && rc == 0 && judge_descriptors(str_of(ret->p, ret->n), e))
        rc = err_prefix(e, "--descriptors '%.*s'", STR_ARG(shown(str_c(path))));
    return rc;
}

static bool is_begun(const json_t *session)
{
    return strcmp(object_text(session, "state"), "canary") != 0;
}

/* Until the context is proved. */
static enum status wait_begun(
    const struct call *c, uint64_t timeout_ms, struct object *o, struct err *e)
{
    const struct session_wait w = {c->words[0], FIELDS_SHOWN, timeout_ms, is_begun};
    object_release(o);
    enum status s = session_wait(c, &w, o, e);
    bool ended = strcmp(object_text(o->json, "state"), "ended") == 0;
    if (s == STATUS_YES && ended && strcmp(object_text(o->json, "verdict"), "pass") != 0)
        return STATUS_NO;
    return s;
}

enum status live_shadow_start(const struct call *c, struct err *e)
{
    struct target t;
    struct object o;
    uint64_t wait_ms;
    struct text descriptors = {0};
    if (check_start(c, &wait_ms, e) || read_descriptors(c->args, &descriptors, e)) {
        text_release(&descriptors);
        return STATUS_ERROR;
    }
    start_target(c, &t);
    t.body = str_of(descriptors.p, descriptors.n);
    enum status s = object_ask(c, LIVE_POST, &t, &o, e);
    text_release(&descriptors);
    if (s == STATUS_YES && args_have(c->args, OPT_WAIT))
        s = wait_begun(c, wait_ms, &o, e);
    if (e->code == 0)
        s = tell(c, &o, s == STATUS_YES ? "is begun" : "has not begun", s, e);
    object_release(&o);
    return s;
}

/* ---- stop, restart ---- */

static enum status change(const struct call *c, const char *path, const char *does, struct err *e)
{
    struct target t;
    struct object o;
    target_start(&t, path, NULL);
    target_param(&t, "name", c->words[0]);
    if (args_have(c->args, OPT_REASON))
        target_param(&t, "reason", c->args->value[OPT_REASON]);
    enum status s = object_ask(c, LIVE_POST, &t, &o, e);
    if (s == STATUS_YES)
        s = tell(c, &o, does, s, e);
    object_release(&o);
    return s;
}

enum status live_shadow_stop(const struct call *c, struct err *e)
{
    return change(c, "/shadow/stop", "is stopped", e);
}

enum status live_shadow_restart(const struct call *c, struct err *e)
{
    return change(c, "/shadow/restart", "counts anew", e);
}

/* ---- list, show: as the agent tells it ---- */

enum status live_shadow_list(const struct call *c, struct err *e)
{
    struct target t;
    target_start(&t, "/sessions", NULL);
    return live_print(c, LIVE_GET, &t, e);
}

enum status live_shadow_show(const struct call *c, struct err *e)
{
    const char *limit = c->args->value[OPT_LIMIT];
    struct target t;
    uint64_t n;
    if (args_number(c->args, OPT_LIMIT, &n, e))
        return STATUS_ERROR;
    target_start(&t, "/sessions/", c->words[0]);
    if (limit)
        target_param(&t, "fields", limit);
    return live_print(c, LIVE_GET, &t, e);
}
