/* `shadow verdict`: the gate; and `shadow report`. */
#include "ctl/output.h"
#include "ctl/save.h"
#include "ctl/session.h"
#include "lib/base/parse.h"
#include "lib/graph/hint.h"
#include <errno.h>

#define FIELDS_JUDGED   50u
#define FIELDS_REPORTED 200u
#define FIELDS_MAX      4096u

enum status session_verdict(const json_t *session)
{
    const char *word = object_text(session, "verdict");
    if (strcmp(word, "pass") == 0)
        return STATUS_YES;
    if (strcmp(word, "fail") == 0)
        return STATUS_FAIL;
    return strcmp(word, "inconclusive") == 0 ? STATUS_NO : STATUS_ERROR;
}

/* It is told, or nothing more will come. */
static bool is_judged(const json_t *session)
{
    return session_verdict(session) != STATUS_NO ||
           strcmp(object_text(session, "state"), "ended") == 0;
}

static enum status ask(const struct call *c, struct object *o, struct err *e)
{
    struct session_wait w = {c->words[0], FIELDS_JUDGED, UINT64_MAX, is_judged};
    *o = (struct object){0};
    if (!args_have(c->args, OPT_WAIT) && args_have(c->args, OPT_TIMEOUT)) {
        err_set(e, -EINVAL, "--timeout is for --wait, which is not said");
        return STATUS_ERROR;
    }
    if (args_duration(c->args, OPT_TIMEOUT, &w.timeout_ms, e))
        return STATUS_ERROR;
    if (args_have(c->args, OPT_WAIT))
        return session_wait(c, &w, o, e);
    return session_ask(c, w.name, w.fields, o, e);
}

/* The exit status of an answer: what is no verdict is an error, never a refusal. */
static enum status judge(const struct call *c, const struct object *o, enum status s, struct err *e)
{
    if (s == STATUS_NOT_FOUND)
        return s;
    if (e->code)
        return STATUS_ERROR;
    s = session_verdict(o->json);
    if (s == STATUS_ERROR)
        err_set(e, -EPROTO, "the answer from '%s' has no verdict", c->socket);
    return s;
}

static enum status tell(const struct call *c, struct object *o, enum status s, struct err *e)
{
    const char *junit = c->args->value[OPT_JUNIT];
    struct text t = {0};
    if (junit) {
        session_junit(o->json, &t);
        if (save_text(junit, &t, e))
            return STATUS_ERROR;
        if (strcmp(junit, "-") == 0)
            return s;
    }
    if (c->json)
        return object_print(o, s, e);
    session_text(o->json, &t);
    return out_answer(&t, s, e);
}

enum status live_shadow_verdict(const struct call *c, struct err *e)
{
    struct object o;
    const char *junit = c->args->value[OPT_JUNIT];
    if (junit && strcmp(junit, "-") == 0 && c->json) {
        err_set(e, -EINVAL, "--json and --junit - together: both are for standard output");
        return STATUS_ERROR;
    }
    enum status s = judge(c, &o, ask(c, &o, e), e);
    if (e->code == 0)
        s = tell(c, &o, s, e);
    object_release(&o);
    return s;
}

enum status live_shadow_report(const struct call *c, struct err *e)
{
    const char *path = c->args->value[OPT_OUTPUT], *limit = c->args->value[OPT_LIMIT];
    uint32_t fields = FIELDS_REPORTED;
    struct object o;
    struct text t = {0};
    if (!path) {
        err_set(e, -EINVAL, "want shadow report NAME --output FILE");
        return STATUS_ERROR;
    }
    if (limit && parse_u32(str_c(limit), 1, FIELDS_MAX, &fields)) {
        err_set(e, -EINVAL, "--limit wants a number up to %u, not '%.*s'", FIELDS_MAX,
            STR_ARG(shown(str_c(limit))));
        return STATUS_ERROR;
    }
    enum status s = session_ask(c, c->words[0], fields, &o, e);
    if (s == STATUS_YES) {
        session_html(o.json, &t);
        s = save_text(path, &t, e) ? STATUS_ERROR : STATUS_YES;
    }
    object_release(&o);
    return s;
}
