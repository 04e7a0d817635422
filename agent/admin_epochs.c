/* Answers about the history: epochs, their graphs, what differs. */
#include "agent/admin_int.h"
#include "lib/base/parse.h"
#include "lib/graph/diff.h"
#include <errno.h>

#define LIMIT_DEFAULT 100

struct snapshot *admin_snapshot(void *arg, uint64_t epoch, struct err *e)
{
    struct control *c = admin_control(arg);
    struct history *h = core_history(c->core);
    struct snapshot *active = core_active(c->core);
    if (epoch == 0 || epoch == snapshot_epoch(active)) {
        snapshot_ref(active);
        return active;
    }
    if (!history_find(h, epoch)) {
        err_set(e, -ENOENT, "epoch %llu is not kept: the history has %llu to %llu",
            (unsigned long long)epoch,
            (unsigned long long)(history_count(h) ? history_at(h, 0)->epoch : 0),
            (unsigned long long)history_epoch(h));
        return NULL;
    }
    return history_snapshot(h, epoch, e);
}

static void snapshot_error(struct admin_request *r, const struct err *e)
{
    admin_error(r, e->code == -ENOENT ? 404 : 503, "%s", e->text);
}

void admin_graph_of(struct admin_request *r, void *arg)
{
    const struct control *c = admin_control(arg);
    uint64_t epoch;
    struct err e = {0};
    struct text t = {0};
    if (admin_number(r, "epoch", 0, &epoch) != 0)
        return;
    struct snapshot *s = admin_snapshot(arg, epoch, &e);
    if (!s) {
        snapshot_error(r, &e);
        return;
    }
    bool json = admin_wants_json(r);
    text_fmt(&t, json ? "{\"epoch\":%llu,\"history\":\"" : "epoch         %llu\nhistory       ",
        (unsigned long long)snapshot_epoch(s));
    text_hex(&t, history_id(core_history(c->core)), HISTORY_ID);
    text_add(&t, json ? STR("\",\"root\":\"") : STR("\nroot          "));
    text_hex(&t, snapshot_root(s), 32);
    text_add(&t, json ? STR("\",\"digest\":\"") : STR("\ndigest        "));
    text_hex(&t, snapshot_digest(s), 32);
    text_fmt(&t,
        json ? "\",\"environments\":%u,\"services\":%u}\n"
             : "\nenvironments  %u\nservices      %u\n",
        snapshot_env_count(s), snapshot_service_count(s));
    snapshot_unref(s);
    admin_reply_text(r, &t);
}

/* ---- epochs ---- */

static void add_text(struct text *t, const char *key, const char *value)
{
    text_fmt(t, ",\"%s\":\"", key);
    text_json(t, str_c(value));
    text_add(t, STR("\""));
}

/* As the end of an epoch's object: how long it took to reach its proxies. */
static void way_json(struct text *t, const struct sync_times *w)
{
    text_fmt(t, ",\"staged_us\":%llu,\"staged\":%u,\"active_us\":%llu,\"active\":%u",
        (unsigned long long)w->staged_us, w->staged, (unsigned long long)w->active_us, w->active);
}

/* way: NULL, not known. */
static void epoch_json(struct text *t, const struct epoch_info *i, const struct sync_times *way)
{
    const struct snapshot_changes *ch = &i->changes;
    char time[24];
    format_rfc3339(i->time, time);
    text_fmt(t, "{\"epoch\":%llu,\"time\":\"%s\",\"kind\":\"%s\"", (unsigned long long)i->epoch,
        time, change_kind_word((enum change_kind)i->kind));
    add_text(t, "who", i->who);
    add_text(t, "why", i->why);
    add_text(t, "what", i->what);
    text_fmt(t,
        ",\"held\":%s,\"environments_added\":%u,\"environments_removed\":%u,"
        "\"environments_changed\":%u,\"services_changed\":%u,\"gateways_changed\":%u,"
        "\"origins_only\":%s,\"bytes\":%u",
        i->held ? "true" : "false", ch->envs_added, ch->envs_removed, ch->envs_changed,
        ch->services_changed, ch->gateways_changed, ch->origins_only ? "true" : "false", i->bytes);
    if (way)
        way_json(t, way);
    text_add(t, STR("}"));
}

static void epoch_text(struct text *t, const struct epoch_info *i)
{
    char time[24];
    format_rfc3339(i->time, time);
    text_fmt(t, "%8llu  %s  %-8s  ", (unsigned long long)i->epoch, time,
        change_kind_word((enum change_kind)i->kind));
    text_plain(t, str_c(i->who));
    text_add(t, STR("  "));
    text_plain(t, str_c(i->what));
    if (*i->why) {
        text_add(t, STR("  ("));
        text_plain(t, str_c(i->why));
        text_add(t, STR(")"));
    }
    text_add(t, i->held ? STR("  held\n") : STR("\n"));
}

void admin_epochs(struct admin_request *r, void *arg)
{
    const struct history *h = core_history(admin_control(arg)->core);
    bool json = admin_wants_json(r);
    uint64_t limit;
    struct text t = {0};
    if (admin_number(r, "limit", LIMIT_DEFAULT, &limit) != 0)
        return;
    if (json) {
        text_add(&t, STR("{\"history\":\""));
        text_hex(&t, history_id(h), HISTORY_ID);
        text_add(&t, STR("\",\"epochs\":["));
    }
    for (size_t n = history_count(h), i = n; i > 0 && n - i < limit; i--) {
        if (json)
            text_add(&t, i < n ? STR(",") : STR(""));
        if (json)
            epoch_json(&t, history_at(h, i - 1), NULL);
        else
            epoch_text(&t, history_at(h, i - 1));
    }
    text_add(&t, json ? STR("]}\n") : STR(""));
    admin_reply_text(r, &t);
}

void admin_epoch(struct admin_request *r, void *arg)
{
    struct control *c = admin_control(arg);
    const struct history *h = core_history(c->core);
    struct sync_times way;
    uint64_t epoch;
    struct text t = {0};
    if (parse_u64(str_c(admin_rest(r)), &epoch) != 0) {
        admin_error(r, 400, "want /epochs/NUMBER");
        return;
    }
    const struct epoch_info *i = history_find(h, epoch);
    if (!i) {
        admin_error(r, 404, "epoch %llu is not kept: the history has %llu to %llu",
            (unsigned long long)epoch,
            (unsigned long long)(history_count(h) ? history_at(h, 0)->epoch : 0),
            (unsigned long long)history_epoch(h));
        return;
    }
    if (admin_wants_json(r)) {
        epoch_json(&t, i, sync_times(c->sync, epoch, &way) ? &way : NULL);
        text_add(&t, STR("\n"));
    } else {
        epoch_text(&t, i);
        if (sync_times(c->sync, epoch, &way))
            text_fmt(&t,
                "          last of %u staged after %.3f ms, last of %u active after %.3f ms\n",
                way.staged, (double)way.staged_us / 1e3, way.active, (double)way.active_us / 1e3);
    }
    admin_reply_text(r, &t);
}

void admin_diff(struct admin_request *r, void *arg)
{
    uint64_t from, to;
    struct err e = {0};
    struct text t = {0};
    if (admin_number(r, "from", 0, &from) != 0 || admin_number(r, "to", 0, &to) != 0)
        return;
    if (from == 0) {
        admin_error(r, 400, "want /diff?from=N[&to=M]");
        return;
    }
    struct snapshot *a = admin_snapshot(arg, from, &e);
    struct snapshot *b = a ? admin_snapshot(arg, to, &e) : NULL;
    if (!a || !b) {
        snapshot_error(r, &e);
    } else {
        if (graph_diff(a, b, admin_wants_json(r), &t) < 0)
            t.failed = -ENOMEM;
        if (t.n && t.p[t.n - 1] != '\n')
            text_add(&t, STR("\n"));
        admin_reply_text(r, &t);
    }
    if (a)
        snapshot_unref(a);
    if (b)
        snapshot_unref(b);
}
