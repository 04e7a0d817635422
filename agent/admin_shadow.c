/* Commands of `offshootctl shadow`, and what they show (docs/agent-admin.md). */
#include "agent/admin_int.h"
#include "agent/shadow.h"
#include <errno.h>
#include <stdio.h>

#define FIELDS_DEFAULT 50u
#define FIELDS_MAX     4096u

static const char *param(void *arg, const char *name, size_t i)
{
    return admin_param_at(arg, name, i);
}

static int status_of(int rc)
{
    switch (rc) {
    case -ENOENT:
        return 404;
    case -EINVAL:
        return 400;
    case -EEXIST:
    case -EALREADY:
    case -ENOSPC:
    case -EBUSY:
        return 409;
    default:
        return 503;
    }
}

static void show(struct admin_request *r, const struct session *s, size_t fields)
{
    struct text t = {0};
    session_show(s, admin_wants_json(r), fields, &t);
    if (admin_wants_json(r))
        text_add(&t, STR("\n"));
    admin_reply_text(r, &t);
}

static void answer(
    struct admin_request *r, struct control *c, const char *name, int rc, const struct err *e)
{
    struct err none = {0};
    if (rc != 0)
        admin_error(r, status_of(rc), "%s", e->text);
    else
        show(r, shadow_find(c->shadow, name, &none), FIELDS_DEFAULT);
}

static const char *reason(struct admin_request *r)
{
    const char *why = admin_param(r, "reason");
    return why ? why : "";
}

static void who_of(struct admin_request *r, char out[HISTORY_WHO_MAX])
{
    snprintf(out, HISTORY_WHO_MAX, "uid %u", admin_peer_uid(r));
}

void admin_shadow_start(struct admin_request *r, void *arg)
{
    struct control *c = admin_control(arg);
    struct session_spec spec;
    struct err e = {0};
    char who[HISTORY_WHO_MAX], name[64];
    int rc = spec_parse(&spec, param, r, &e);
    if (rc != 0) {
        admin_error(r, status_of(rc), "%s", e.text);
        return;
    }
    spec.descriptors = admin_body(r);
    who_of(r, who);
    snprintf(name, sizeof name, "%s", spec.name);
    rc = shadow_start(c->shadow, &spec, who, reason(r), &e);
    answer(r, c, name, rc == -ENOENT ? -EINVAL : rc, &e);
}

/* The parameter `name`, or NULL: answered. */
static const char *which(struct admin_request *r)
{
    const char *name = admin_param(r, "name");
    if (!name)
        admin_error(r, 400, "name: which session? say name=NAME");
    return name;
}

static void change(struct admin_request *r, void *arg,
    int (*fn)(struct shadow *sh, const char *name, const char *who, const char *why, struct err *e))
{
    struct control *c = admin_control(arg);
    const char *name = which(r);
    struct err e = {0};
    char who[HISTORY_WHO_MAX];
    if (!name)
        return;
    who_of(r, who);
    answer(r, c, name, fn(c->shadow, name, who, reason(r), &e), &e);
}

void admin_shadow_stop(struct admin_request *r, void *arg)
{
    change(r, arg, shadow_stop);
}

void admin_shadow_restart(struct admin_request *r, void *arg)
{
    change(r, arg, shadow_restart);
}

void admin_sessions(struct admin_request *r, void *arg)
{
    const struct control *c = admin_control(arg);
    bool json = admin_wants_json(r);
    struct text t = {0};
    text_add(&t, json ? STR("{\"sessions\":[") : STR(""));
    for (size_t i = 0; i < shadow_sessions(c->shadow); i++) {
        text_add(&t, json && i ? STR(",") : STR(""));
        session_show(shadow_session(c->shadow, i), json, 0, &t);
    }
    if (json)
        text_add(&t, STR("]}\n"));
    else if (t.n == 0)
        text_add(&t, STR("no sessions\n"));
    admin_reply_text(r, &t);
}

void admin_session(struct admin_request *r, void *arg)
{
    const struct control *c = admin_control(arg);
    uint64_t fields;
    struct err e = {0};
    if (admin_number(r, "fields", FIELDS_DEFAULT, &fields) != 0)
        return;
    const struct session *s = shadow_find(c->shadow, admin_rest(r), &e);
    if (!s)
        admin_error(r, 404, "%s", e.text);
    else if (fields == 0 || fields > FIELDS_MAX)
        admin_error(r, 400, "fields: want 1 to %u", FIELDS_MAX);
    else
        show(r, s, fields);
}

void admin_verdicts(struct admin_request *r, void *arg)
{
    const struct control *c = admin_control(arg);
    bool json = admin_wants_json(r);
    struct text t = {0};
    text_add(&t, json ? STR("{") : STR(""));
    for (size_t i = 0; i < shadow_sessions(c->shadow); i++) {
        const struct session *s = shadow_session(c->shadow, i);
        const char *word = verdict_word(session_verdict(s));
        text_fmt(&t, json ? "%s\"%s\":\"%s\"" : "%s%s %s\n", json && i ? "," : "", session_name(s),
            word);
    }
    text_add(&t, json ? STR("}\n") : STR(""));
    admin_reply_text(r, &t);
}
