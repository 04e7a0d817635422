/* Commands: parameters made into a struct change. Everything else is core_change's. */
#include "agent/admin_int.h"
#include "lib/base/parse.h"
#include <errno.h>
#include <stdio.h>

#define LIST_MAX 64 /* parameters that a request may have */

/* A command with the room for its lists. */
struct command {
    struct change change;
    const char *parents[LIST_MAX], *provides[LIST_MAX], *uses[LIST_MAX], *removes[LIST_MAX],
        *drops[LIST_MAX];
    char who[HISTORY_WHO_MAX];
};

static size_t list(struct admin_request *r, const char *name, const char **ret)
{
    size_t n = 0;
    while (n < LIST_MAX && (ret[n] = admin_param_at(r, name, n)))
        n++;
    return n;
}

static void begin(struct admin_request *r, enum change_kind kind, struct command *c)
{
    *c = (struct command){.change = {.kind = kind}};
    snprintf(c->who, sizeof c->who, "uid %u", admin_peer_uid(r));
    c->change.who = c->who;
    c->change.why = admin_param(r, "reason") ? admin_param(r, "reason") : "";
}

static int take_life(struct admin_request *r, struct change *ch)
{
    const char *text = admin_param(r, "for");
    uint64_t ms;
    if (!text)
        return 0;
    if (parse_duration_ms(str_c(text), &ms) != 0 || ms < 1000) {
        admin_error(
            r, 400, "for: want a time of at least 1 s, as in 30m, 4h or 7d, not '%s'", text);
        return -EINVAL;
    }
    ch->life_s = ms / 1000;
    return 0;
}

static int take_access(struct admin_request *r, struct change *ch)
{
    const char *text = admin_param(r, "access");
    if (!text)
        return 0;
    ch->is_public = strcmp(text, "public") == 0;
    ch->is_token = strcmp(text, "token") == 0;
    if (ch->is_public || ch->is_token)
        return 0;
    admin_error(r, 400, "access: want public or token, not '%s'", text);
    return -EINVAL;
}

/* 0, or answered. */
static int take_environment(struct admin_request *r, struct command *c)
{
    struct change *ch = &c->change;
    ch->name = admin_param(r, "name");
    if (!ch->name) {
        admin_error(r, 400, "which environment? say name=NAME");
        return -EINVAL;
    }
    ch->nparents = list(r, "parent", c->parents);
    ch->nprovides = list(r, "set", c->provides);
    ch->nuses = list(r, "use", c->uses);
    ch->nremoves = list(r, "remove", c->removes);
    ch->ndrops = list(r, "drop", c->drops);
    ch->parents = c->parents;
    ch->provides = c->provides;
    ch->uses = c->uses;
    ch->removes = c->removes;
    ch->drops = c->drops;
    ch->strict = admin_is_true(r, "strict");
    ch->while_held = admin_is_true(r, "while-held");
    ch->owner = admin_param(r, "owner");
    return take_life(r, ch) != 0 || take_access(r, ch) != 0 ? -EINVAL : 0;
}

static int status_of(int rc)
{
    switch (rc) {
    case -ENOENT:
        return 404;
    case -EINVAL:
    case -EEXIST:
    case -EBUSY:
    case -EPERM:
        return 409;
    default:
        return 503;
    }
}

/* ---- answers ---- */

static void answer_environment(
    struct admin_request *r, struct control *c, const char *name, uint64_t epoch, bool changed)
{
    const struct snapshot *s = core_active(c->core);
    struct env_info info;
    struct text t = {0};
    char at[24];
    bool ends = snapshot_env(s, snapshot_find_env(s, str_c(name)), &info) && info.has_expires;
    if (ends)
        format_rfc3339(info.expires, at);
    if (admin_wants_json(r)) {
        text_fmt(&t, "{\"epoch\":%llu,\"changed\":%s,\"environment\":\"", (unsigned long long)epoch,
            changed ? "true" : "false");
        text_json(&t, str_c(name));
        if (ends)
            text_fmt(&t, "\",\"expires\":\"%s\"", at);
        else
            text_add(&t, STR("\",\"expires\":null"));
        text_add(&t, core_held(c->core) ? STR(",\"held\":true}\n") : STR("}\n"));
    } else {
        text_fmt(&t, "epoch %llu: %s%s", (unsigned long long)epoch, name,
            changed ? "" : ": nothing changed");
        if (ends)
            text_fmt(&t, ", until %s", at);
        text_add(&t, core_held(c->core) ? STR(", noted until resume\n") : STR("\n"));
    }
    admin_reply_text(r, &t);
}

static void environment_command(struct admin_request *r, void *arg, enum change_kind kind)
{
    struct control *c = admin_control(arg);
    struct command command;
    struct err e = {0};
    uint64_t epoch = 0;
    begin(r, kind, &command);
    if (take_environment(r, &command) != 0)
        return;
    if (kind == CHANGE_EXTEND && command.change.life_s == 0) {
        admin_error(r, 400, "for how long? say for=4h");
        return;
    }
    int rc = control_change(c, &command.change, &epoch, &e);
    if (rc != 0 && rc != -EALREADY)
        admin_error(r, status_of(rc), "%s", e.text);
    else
        answer_environment(r, c, command.change.name, epoch, rc == 0);
}

void admin_create(struct admin_request *r, void *arg)
{
    environment_command(r, arg, CHANGE_CREATE);
}

void admin_set(struct admin_request *r, void *arg)
{
    environment_command(r, arg, CHANGE_SET);
}

void admin_extend(struct admin_request *r, void *arg)
{
    environment_command(r, arg, CHANGE_EXTEND);
}

void admin_delete(struct admin_request *r, void *arg)
{
    environment_command(r, arg, CHANGE_DELETE);
}

static void answer_epoch(struct admin_request *r, uint64_t epoch, bool changed, const bool *held)
{
    struct text t = {0};
    if (admin_wants_json(r)) {
        text_fmt(&t, "{\"epoch\":%llu,\"changed\":%s", (unsigned long long)epoch,
            changed ? "true" : "false");
        if (held)
            text_fmt(&t, ",\"held\":%s", *held ? "true" : "false");
        text_add(&t, STR("}\n"));
    } else {
        text_fmt(&t, "epoch %llu%s%s\n", (unsigned long long)epoch,
            changed ? "" : ": nothing changed",
            held && *held ? ", held: files and commands are not published until resume" : "");
    }
    admin_reply_text(r, &t);
}

static void hold_command(struct admin_request *r, struct control *c, struct command *command)
{
    struct err e = {0};
    uint64_t epoch = 0;
    int rc = control_change(c, &command->change, &epoch, &e);
    if (rc != 0 && rc != -EALREADY) {
        admin_error(r, status_of(rc), "%s", e.text);
        return;
    }
    bool held = core_held(c->core);
    answer_epoch(r, epoch, rc == 0, &held);
}

void admin_rollback(struct admin_request *r, void *arg)
{
    struct command command;
    begin(r, CHANGE_ROLLBACK, &command);
    if (admin_number(r, "epoch", 0, &command.change.epoch) != 0)
        return;
    if (command.change.epoch == 0)
        admin_error(r, 400, "back to which epoch? say epoch=N");
    else
        hold_command(r, admin_control(arg), &command);
}

void admin_resume(struct admin_request *r, void *arg)
{
    struct command command;
    begin(r, CHANGE_RESUME, &command);
    hold_command(r, admin_control(arg), &command);
}

void admin_reload(struct admin_request *r, void *arg)
{
    struct control *c = admin_control(arg);
    char who[HISTORY_WHO_MAX];
    struct err e = {0};
    snprintf(who, sizeof who, "uid %u", admin_peer_uid(r));
    int rc = control_reload(c, who, &e);
    unsigned long long epoch = history_epoch(core_history(c->core));
    if (rc == -EINVAL)
        admin_error(r, 409, "the graph is not valid, epoch %llu stays active: see /check", epoch);
    else if (rc == -EBUSY)
        admin_error(r, 409,
            "held by a rollback: the graph is valid, epoch %llu stays active until resume", epoch);
    else if (rc != 0 && rc != -EALREADY)
        admin_error(r, 503, "%s, epoch %llu stays active", e.text, epoch);
    else
        answer_epoch(r, epoch, rc == 0, NULL);
}
