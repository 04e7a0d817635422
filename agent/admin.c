/* The admin socket's routes (docs/agent-admin.md), and the answers about the program itself. */
#include "agent/admin_int.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define EXPIRING_MAX 20
#define DAY_S        (24 * 3600)

struct control *admin_control(void *arg)
{
    struct control *c = arg;
    assert(c->magic == CONTROL_MAGIC);
    return c;
}

/* ---- status ---- */

struct expiring {
    uint32_t env;
    int64_t at;
};

static int by_time(const void *a, const void *b)
{
    const struct expiring *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* What ends within a day and has not ended: new, soonest first. NULL: no memory. */
static struct expiring *expiring(const struct snapshot *s, int64_t now, size_t *ret_n)
{
    size_t n = 0;
    struct expiring *all = mem_array((size_t)snapshot_env_count(s) + 1, sizeof *all);
    for (uint32_t i = 0; all && i < snapshot_env_limit(s); i++) {
        struct env_info info;
        if (snapshot_env(s, i, &info) && info.has_expires && info.expires > now &&
            info.expires <= now + DAY_S)
            all[n++] = (struct expiring){i, info.expires};
    }
    if (all)
        qsort(all, n, sizeof *all, by_time);
    *ret_n = n < EXPIRING_MAX ? n : EXPIRING_MAX;
    return all;
}

static void add_expiring(struct text *t, const struct snapshot *s, bool json)
{
    int64_t now = clock_wall_s();
    size_t n = 0;
    struct expiring *all = expiring(s, now, &n);
    char at[24];
    if (!all)
        t->failed = -ENOMEM;
    for (size_t i = 0; all && i < n; i++) {
        struct str name = snapshot_env_name(s, all[i].env);
        long long left = all[i].at - now;
        format_rfc3339(all[i].at, at);
        if (json)
            text_fmt(t, "%s{\"environment\":\"%.*s\",\"expires\":\"%s\",\"in_seconds\":%lld}",
                i ? "," : "", STR_ARG(name), at, left);
        else
            text_fmt(t, "expires       %.*s at %s, in %lld s\n", STR_ARG(name), at, left);
    }
    mem_free(all);
}

static const char *yes_no(bool b)
{
    return b ? "true" : "false";
}

static void status_graph_json(const struct control *c, struct text *t)
{
    const struct core *core = c->core;
    char loaded[24], tried[24];
    format_rfc3339(core_loaded(core), loaded);
    format_rfc3339(core_tried(core), tried);
    text_fmt(t,
        ",\"graph\":{\"valid\":%s,\"errors\":%zu,\"warnings\":%zu,\"files\":%zu,\"loaded\":\"%s\","
        "\"tried\":\"%s\"}",
        yes_no(core_valid(core)), core_errors(core), core_warnings(core), core_files(core), loaded,
        tried);
}

/* Since which epoch nothing is published: the newest one, which a rollback made. 0: not held. */
static uint64_t held_since(const struct control *c)
{
    const struct history *h = core_history(c->core);
    uint64_t since = 0;
    if (!core_held(c->core))
        return 0;
    for (size_t i = history_count(h); i-- > 0 && history_at(h, i)->held;)
        since = history_at(h, i)->epoch;
    return since;
}

static void status_history_json(const struct control *c, struct text *t)
{
    const struct history *h = core_history(c->core);
    struct push_counts p = push_counts(sync_push(c->sync));
    uint64_t slowest = push_slowest(sync_push(c->sync));
    text_fmt(t, ",\"held\":%s,\"held_since_epoch\":", yes_no(core_held(c->core)));
    text_fmt(t, core_held(c->core) ? "%llu" : "null", (unsigned long long)held_since(c));
    text_fmt(t, ",\"own_environments\":%zu,\"own_stuck\":%zu", core_own_count(c->core),
        core_own_stuck(c->core));
    text_fmt(t, ",\"log\":{\"epochs\":%zu,\"oldest\":%llu,\"bytes\":%llu}", history_count(h),
        (unsigned long long)(history_count(h) ? history_at(h, 0)->epoch : 0),
        (unsigned long long)history_bytes(h));
    text_fmt(t, ",\"proxies\":{\"live\":%u,\"behind\":%u,\"stale\":%u,\"activated\":%llu", p.live,
        p.behind, p.stale, (unsigned long long)push_activated(sync_push(c->sync)));
    text_add(t, STR(",\"slowest_epoch\":"));
    text_fmt(t, slowest == UINT64_MAX ? "null}" : "%llu}", (unsigned long long)slowest);
}

static void status_json(const struct control *c, struct text *t)
{
    const struct snapshot *s = core_active(c->core);
    char at[ADDR_TEXT_MAX];
    text_fmt(t,
        "{\"program\":\"offshoot-agent\",\"version\":\"%s\",\"pid\":%ld,\"uptime_seconds\":%lld",
        OFFSHOOT_VERSION, (long)getpid(), (long long)(clock_wall_s() - c->started_s));
    text_add(t, STR(",\"history\":\""));
    text_hex(t, history_id(core_history(c->core)), HISTORY_ID);
    text_fmt(t, "\",\"epoch\":%llu,\"root\":\"", (unsigned long long)snapshot_epoch(s));
    text_hex(t, snapshot_root(s), 32);
    text_fmt(t, "\",\"environments\":%u,\"services\":%u,\"snapshot_bytes\":%zu",
        snapshot_env_count(s), snapshot_service_count(s), snapshot_bytes(s));
    status_graph_json(c, t);
    status_history_json(c, t);
    text_add(t, STR(",\"listeners\":["));
    for (size_t i = 0; i < c->nbound; i++) {
        addr_format(&c->bound[i], at);
        text_add(t, i ? STR(",\"") : STR("\""));
        text_json(t, str_c(at));
        text_add(t, STR("\""));
    }
    text_add(t, STR("],\"shadow\":"));
    shadow_status(c->shadow, true, t);
    text_add(t, STR(",\"expiring\":["));
    add_expiring(t, s, true);
    text_add(t, STR("]}\n"));
}

static void status_head_text(const struct control *c, struct text *t)
{
    const struct snapshot *s = core_active(c->core);
    const char *state = "";
    if (core_held(c->core))
        state = ", HELD by a rollback: changes are checked and not published until resume";
    else if (!core_valid(c->core))
        state = ", but the graph files are NOT valid: the last good epoch stays";
    text_fmt(t, "serving, epoch %llu%s\n", (unsigned long long)snapshot_epoch(s), state);
    text_fmt(t, "version       %s, process %ld, up %lld s\n", OFFSHOOT_VERSION, (long)getpid(),
        (long long)(clock_wall_s() - c->started_s));
    text_add(t, STR("history       "));
    text_hex(t, history_id(core_history(c->core)), HISTORY_ID);
    text_fmt(t, "\ngraph         %u environments (%zu made by command), %u services, %zu KiB\n",
        snapshot_env_count(s), core_own_count(c->core), snapshot_service_count(s),
        snapshot_bytes(s) / 1024);
    text_add(t, STR("root          "));
    text_hex(t, snapshot_root(s), 32);
}

static void status_text(const struct control *c, struct text *t)
{
    const struct history *h = core_history(c->core);
    struct push_counts p = push_counts(sync_push(c->sync));
    char at[ADDR_TEXT_MAX], loaded[24], tried[24];
    format_rfc3339(core_loaded(c->core), loaded);
    format_rfc3339(core_tried(c->core), tried);
    status_head_text(c, t);
    text_fmt(t, "\nfiles         %zu, active since %s, last read %s, %zu errors, %zu warnings\n",
        core_files(c->core), loaded, tried, core_errors(c->core), core_warnings(c->core));
    text_fmt(t, "log           %zu epochs from %llu on, %llu KiB\n", history_count(h),
        (unsigned long long)(history_count(h) ? history_at(h, 0)->epoch : 0),
        (unsigned long long)history_bytes(h) / 1024);
    text_fmt(t, "proxies       %u connected, %u behind, %u stale; told to be on epoch %llu\n",
        p.live, p.behind, p.stale, (unsigned long long)push_activated(sync_push(c->sync)));
    for (size_t i = 0; i < c->nbound; i++) {
        addr_format(&c->bound[i], at);
        text_fmt(t, "listener      %s\n", at);
    }
    shadow_status(c->shadow, false, t);
    add_expiring(t, core_active(c->core), false);
    if (!core_valid(c->core))
        core_findings(c->core, false, t);
}

static void on_status(struct admin_request *r, void *arg)
{
    const struct control *c = admin_control(arg);
    struct text t = {0};
    if (admin_wants_json(r))
        status_json(c, &t);
    else
        status_text(c, &t);
    admin_reply_text(r, &t);
}

static void on_check(struct admin_request *r, void *arg)
{
    struct text t = {0};
    core_findings(admin_control(arg)->core, admin_wants_json(r), &t);
    if (t.n == 0)
        text_add(&t, STR("no findings\n"));
    admin_reply_text(r, &t);
}

static void on_live(struct admin_request *r, void *arg)
{
    (void)admin_control(arg);
    admin_live(r);
}

static void on_ready(struct admin_request *r, void *arg)
{
    struct text t = {0};
    (void)admin_control(arg);
    text_add(&t, STR("ready\n"));
    admin_reply(r, 200, "text/plain", &t);
}

/* ---- counters, configuration ---- */

static void on_metrics(struct admin_request *r, void *arg)
{
    struct control *c = admin_control(arg);
    struct text t = {0};
    const counter_cell *sets[] = {c->stats};
    control_count(c);
    counters_prometheus(&t, c->stats_desc, STAT_COUNT, sets, 1);
    if (t.failed)
        admin_reply_text(r, &t);
    else
        admin_reply(r, 200, "text/plain; version=0.0.4", &t);
}

static void on_counters(struct admin_request *r, void *arg)
{
    struct control *c = admin_control(arg);
    const counter_cell *sets[] = {c->stats};
    control_count(c);
    admin_counters(r, c->stats_desc, STAT_COUNT, sets, 1);
}

static void on_config(struct admin_request *r, void *arg)
{
    admin_config(r, admin_control(arg)->conf);
}

static void on_log_level(struct admin_request *r, void *arg)
{
    (void)admin_control(arg);
    admin_log_level(r);
}

/* ---- the graph ---- */

static int fill_ask(
    void *arg, const struct snapshot *s, const char *gateway, struct ask *a, struct err *e)
{
    (void)admin_control(arg);
    a->gateway = gateway ? snapshot_gateway(s, str_c(gateway)) : snapshot_only_gateway(s);
    if (gateway && !a->gateway)
        return err_set(e, -EINVAL, "the graph has no Gateway named '%s'", gateway);
    if (!a->gateway && !a->trusted)
        return err_set(
            e, -EINVAL, "the graph has no Gateway, or several: say which one with gateway=NAME");
    return 0;
}

static struct admin_graph graph_of(void *arg)
{
    return (struct admin_graph){.arg = arg, .snapshot_of = admin_snapshot, .ask = fill_ask};
}

static void on_resolve(struct admin_request *r, void *arg)
{
    struct admin_graph g = graph_of(arg);
    admin_resolve(r, &g);
}

static void on_explain(struct admin_request *r, void *arg)
{
    struct admin_graph g = graph_of(arg);
    admin_explain(r, &g);
}

static void on_environments(struct admin_request *r, void *arg)
{
    struct admin_graph g = graph_of(arg);
    admin_environments(r, &g);
}

static void on_environment(struct admin_request *r, void *arg)
{
    struct admin_graph g = graph_of(arg);
    admin_environment(r, &g);
}

static void on_proxies(struct admin_request *r, void *arg)
{
    struct control *c = admin_control(arg);
    struct text t = {0};
    push_list(
        sync_push(c->sync), admin_wants_json(r), admin_is_true(r, "behind"), clock_mono_ms(), &t);
    admin_reply_text(r, &t);
}

const struct admin_route admin_routes[] = {
    {"/status", 0, on_status, "what is active, since when, who has it, what ends soon"},
    {"/check", 0, on_check, "findings of the last read of the graph files"},
    {"/resolve", 0, on_resolve, "?env=E&service=S[&now=TIME][&epoch=N]: which provider, and why"},
    {"/explain", 0, on_explain,
        "?host=H&path=P[&header=Name: value]...[&trusted=1][&gateway=G][&epoch=N]: a whole "
        "request"},
    {"/environments", 0, on_environments, "[?epoch=N] all environments; ?tree=1 as a tree"},
    {"/environments/", ADMIN_PREFIX, on_environment, "[?epoch=N] one environment"},
    {"/graph", 0, admin_graph_of, "[?epoch=N] root and digest of an epoch"},
    {"/epochs", 0, admin_epochs, "[?limit=N] what changed, who and why; newest first"},
    {"/epochs/", ADMIN_PREFIX, admin_epoch, "one epoch"},
    {"/diff", 0, admin_diff, "?from=N&to=M: what differs between two epochs"},
    {"/proxies", 0, on_proxies, "[?behind=1] who is connected and which epoch it has"},
    {"/wait", 0, admin_wait, "?epoch=N[&timeout=30s]: until every proxy is active on it"},
    {"/metrics", ADMIN_PUBLIC, on_metrics, "counters for Prometheus"},
    {"/counters", 0, on_counters, "counters that are not zero"},
    {"/config", 0, on_config, "the configuration in effect"},
    {"/live", ADMIN_PUBLIC, on_live, "200 while the process runs"},
    {"/ready", ADMIN_PUBLIC, on_ready, "200 while proxies are served"},
    {"/env/create", ADMIN_POST, admin_create,
        "?name=E&parent=P...&set=SERVICE=ADDRESS...&use=SERVICE=ENV...&remove=SERVICE..."
        "[&for=4h][&access=public|token][&strict=1][&owner=][&reason=]"},
    {"/env/set", ADMIN_POST, admin_set,
        "?name=E&set=...&use=...&remove=...&drop=SERVICE...[&access=][&reason=]"},
    {"/env/extend", ADMIN_POST, admin_extend, "?name=E&for=4h[&reason=]: lives on, from now"},
    {"/env/delete", ADMIN_POST, admin_delete, "?name=E[&reason=]"},
    {"/rollback", ADMIN_POST, admin_rollback,
        "?epoch=N[&reason=]: its content again, and nothing else until resume"},
    {"/resume", ADMIN_POST, admin_resume, "[?reason=]: the files count again"},
    {"/reload", ADMIN_POST, admin_reload, "read the graph files again"},
    {"/sessions", 0, admin_sessions, "sessions of mirroring, in short"},
    {"/sessions/", ADMIN_PREFIX, admin_session, "[?fields=N] one session, its worst fields first"},
    {"/verdicts", 0, admin_verdicts, "every session's verdict"},
    {"/shadow/start", ADMIN_POST | ADMIN_LARGE, admin_shadow_start,
        "?name=S&baseline=E&candidate=E[&service=][&path=][&rate=PERCENT][&samples=N][&for=4h]"
        "[&epsilon=][&secondary=E][&credentials=forward][&strict=1][&ignore=PATTERN][&redact=WORD]"
        "[&redactOff=1][&header=NAME:VALUE][&through=ADDRESS][&until=decision|limit][&reason=]; "
        "the body may be a FileDescriptorSet"},
    {"/shadow/stop", ADMIN_POST, admin_shadow_stop, "?name=S[&reason=]"},
    {"/shadow/restart", ADMIN_POST, admin_shadow_restart, "?name=S[&reason=]: sums begin anew"},
    {"/log-level", ADMIN_POST, on_log_level, "?level=error|warn|info|debug"},
};
const size_t admin_routes_count = sizeof admin_routes / sizeof admin_routes[0];
