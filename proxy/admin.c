/* The admin socket's routes. GET changes nothing. Each answer is made from what the control thread
 * owns (the active snapshot, counters of all workers), so no worker is asked. */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/net/admingraph.h"
#include "proxy/admin_endpoints.h"
#include "proxy/admin_impl.h"
#include "proxy/admin_live.h"
#include "proxy/capture_link.h"
#include "proxy/keys.h"
#include "proxy/sync.h"
#include "proxy/tls.h"
#include "proxy/trace.h"
#include "proxy/upgrade.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t admin_sum(const struct control *c, unsigned cell)
{
    uint64_t n = counter_get(&c->stats[cell]);
    for (unsigned i = 0; i < c->nworkers; i++)
        n += counter_get(&c->workers[i].stats[cell]);
    return n;
}

struct usage **admin_usage(const struct control *c)
{
    struct usage **tables = mem_array(2 * (size_t)c->nworkers + 1, sizeof *tables);
    for (unsigned i = 0; tables && i < c->nworkers; i++) {
        tables[i] = &c->workers[i].by_env;
        tables[c->nworkers + i] = &c->workers[i].by_service;
    }
    return tables;
}

/* ---- status ---- */

const char *admin_state_word(const struct control *c)
{
    return c->draining ? "draining" : c->waiting ? "waiting for a graph" : "serving";
}

static void status_json(struct control *c, struct text *t)
{
    char at[ADDR_TEXT_MAX], loaded[24], tried[24];
    const struct snapshot *s = c->active;
    const struct graphsrc *files = c->graph;
    format_rfc3339(c->loaded_s, loaded);
    format_rfc3339(c->tried_s, tried);
    text_fmt(t, "{\"version\":\"%s\",\"pid\":%ld,\"uptime_seconds\":%lld,\"state\":\"%s\"",
        OFFSHOOT_VERSION, (long)getpid(), (long long)(clock_wall_s() - c->started_s),
        admin_state_word(c));
    text_fmt(t, ",\"epoch\":%llu,\"root\":\"", s ? (unsigned long long)snapshot_epoch(s) : 0ull);
    if (s)
        text_hex(t, snapshot_root(s), 32);
    text_fmt(t, "\",\"environments\":%u,\"services\":%u,\"snapshot_bytes\":%zu",
        s ? snapshot_env_count(s) : 0, s ? snapshot_service_count(s) : 0,
        s ? snapshot_bytes(s) : (size_t)0);
    text_fmt(t,
        ",\"graph\":{\"valid\":%s,\"errors\":%zu,\"warnings\":%zu,\"files\":%zu,\"loaded\":\"%s\","
        "\"tried\":\"%s\",\"slots_used\":%u,\"waiting\":%s}",
        c->invalid ? "false" : "true", files ? graphsrc_errors(files) : 0,
        files ? graphsrc_warnings(files) : 0, files ? graphsrc_files(files) : 0, loaded, tried,
        slots_used(&c->epochs.slots), c->delayed ? "true" : "false");
    if (c->sync) {
        text_add(t, STR(","));
        sync_status(c->sync, true, t);
        text_add(t, STR(","));
        capture_link_status(c, true, t);
    }
    text_fmt(t, ",\"workers\":%u,\"workers_current\":%u,\"clients\":%llu,\"requests_now\":%llu,",
        c->nworkers, epochs_current(c), (unsigned long long)admin_sum(c, STAT_CLIENTS),
        (unsigned long long)admin_sum(c, STAT_REQUESTS_NOW));
    keys_status(c, true, t);
    text_add(t, STR(","));
    tls_status(c, true, t);
    text_add(t, STR(","));
    overload_status(c, true, t);
    if (c->upgrade) {
        text_add(t, STR(","));
        upgrade_status(c->upgrade, true, t);
    }
    text_add(t, STR(",\"listeners\":["));
    for (size_t i = 0; i < c->nbound; i++) {
        addr_format(&c->bound[i], at);
        text_add(t, i ? STR(",\"") : STR("\""));
        text_json(t, str_c(at));
        text_add(t, STR("\""));
    }
    text_add(t, STR("]}\n"));
}

static void status_text(struct control *c, struct text *t)
{
    char at[ADDR_TEXT_MAX], loaded[24], tried[24];
    format_rfc3339(c->loaded_s, loaded);
    format_rfc3339(c->tried_s, tried);
    const struct snapshot *s = c->active;
    text_fmt(t, "%s, epoch %llu%s\n", admin_state_word(c),
        s ? (unsigned long long)snapshot_epoch(s) : 0ull,
        c->invalid ? ", but the graph files are NOT valid: the last good graph is served" : "");
    text_fmt(t, "version       %s, process %ld, up %lld s\n", OFFSHOOT_VERSION, (long)getpid(),
        (long long)(clock_wall_s() - c->started_s));
    if (s) {
        text_fmt(t, "graph         %u environments, %u services, %zu KiB compiled\n",
            snapshot_env_count(s), snapshot_service_count(s), snapshot_bytes(s) / 1024);
        text_add(t, STR("root          "));
        text_hex(t, snapshot_root(s), 32);
        text_add(t, STR("\n"));
    }
    if (c->sync) {
        sync_status(c->sync, false, t);
        capture_link_status(c, false, t);
    } else {
        text_fmt(t, "files         %zu, active since %s, last read %s, %zu errors, %zu warnings\n",
            graphsrc_files(c->graph), loaded, tried, graphsrc_errors(c->graph),
            graphsrc_warnings(c->graph));
    }
    text_fmt(t, "snapshots     %u of %u slots used%s\n", slots_used(&c->epochs.slots), SLOTS,
        c->delayed ? ", a newer graph waits for one" : "");
    text_fmt(t, "workers       %u, %u on this epoch; %llu client connections, %llu requests now\n",
        c->nworkers, epochs_current(c), (unsigned long long)admin_sum(c, STAT_CLIENTS),
        (unsigned long long)admin_sum(c, STAT_REQUESTS_NOW));
    keys_status(c, false, t);
    overload_status(c, false, t);
    if (c->upgrade)
        upgrade_status(c->upgrade, false, t);
    for (size_t i = 0; i < c->nbound; i++) {
        addr_format(&c->bound[i], at);
        text_fmt(t, "listener      %s\n", at);
    }
    tls_status(c, false, t);
    if (c->invalid)
        graphsrc_findings(c->graph, false, t);
}

static void on_status(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct text t = {0};
    if (admin_wants_json(r))
        status_json(c, &t);
    else
        status_text(c, &t);
    admin_reply_text(r, &t);
}

static void on_check(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct text t = {0};
    if (c->graph)
        graphsrc_findings(c->graph, admin_wants_json(r), &t);
    else if (admin_wants_json(r)) /* the agent judges */
        text_add(&t, STR("{\"valid\":true,\"findings\":[]}"));
    if (t.n == 0)
        text_add(&t, STR("no findings\n"));
    admin_reply_text(r, &t);
}

static void on_live(struct admin_request *r, void *arg)
{
    (void)control_of(arg);
    admin_live(r);
}

static void on_ready(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct text t = {0};
    bool ready = !c->draining && !c->waiting;
    text_add(&t, ready ? STR("ready") : str_c(admin_state_word(c)));
    text_add(&t, STR("\n"));
    admin_reply(r, ready ? 200 : 503, "text/plain", &t);
}

/* ---- counters ---- */

/* Of the control thread, then of each worker; new. */
static const counter_cell **all_sets(const struct control *c)
{
    const counter_cell **sets = mem_array(c->nworkers + 1, sizeof *sets);
    if (!sets)
        return NULL;
    sets[0] = c->stats;
    for (unsigned i = 0; i < c->nworkers; i++)
        sets[i + 1] = c->workers[i].stats;
    return sets;
}

static void metrics(struct control *c, struct text *t)
{
    const counter_cell **sets = all_sets(c);
    struct usage **usage = admin_usage(c);
    if (!sets || !usage) {
        mem_free(sets);
        mem_free(usage);
        t->failed = -ENOMEM;
        return;
    }
    counters_prometheus(t, c->stats_desc, STAT_COUNT, sets, c->nworkers + 1);
    if (c->active)
        usage_prometheus(
            t, c->active, usage, usage + c->nworkers, c->nworkers, c->set->limit_busiest);
    mem_free(sets);
    mem_free(usage);
}

static void on_metrics(struct admin_request *r, void *arg)
{
    struct text t = {0};
    metrics(control_of(arg), &t);
    if (t.failed)
        admin_reply_text(r, &t);
    else
        admin_reply(r, 200, "text/plain; version=0.0.4", &t);
}

static void on_counters(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    const counter_cell **sets = all_sets(c);
    if (!sets) {
        admin_error(r, 503, "out of memory");
        return;
    }
    admin_counters(r, c->stats_desc, STAT_COUNT, sets, c->nworkers + 1);
    mem_free(sets);
}

static void on_config(struct admin_request *r, void *arg)
{
    admin_config(r, control_of(arg)->conf);
}

/* ---- the graph ---- */

static struct snapshot *snapshot_of(void *arg, uint64_t epoch, struct err *e)
{
    struct control *c = control_of(arg);
    struct snapshot *s = epoch ? epochs_find(c, epoch) : c->active;
    if (!s && !c->active)
        err_set(e, -ENOENT, "there is no graph yet: waiting for the agent");
    else if (!s)
        err_set(e, -ENOENT, "epoch %llu is not held here; %llu is active",
            (unsigned long long)epoch, (unsigned long long)snapshot_epoch(c->active));
    else
        snapshot_ref(s);
    return s;
}

static int fill_ask(
    void *arg, const struct snapshot *s, const char *gateway, struct ask *a, struct err *e)
{
    struct control *c = control_of(arg);
    a->gateway = gateway ? snapshot_gateway(s, str_c(gateway)) : settings_gateway(c->set, s, NULL);
    a->refuse_missing = c->set->on_missing == ON_MISSING_REFUSE;
    a->signer = c->signer;
    if (gateway && !a->gateway)
        return err_set(e, -EINVAL, "the graph has no Gateway named '%s'", gateway);
    return 0;
}

static bool held(void *arg, struct epoch_view *ret)
{
    struct control *c = control_of(arg);
    return c->shared.pins && epochs_view(c, ret);
}

static struct admin_graph graph_of(void *arg)
{
    return (struct admin_graph){
        .arg = arg, .snapshot_of = snapshot_of, .ask = fill_ask, .held = held};
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

static void on_trace(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct text t = {0};
    if (traces_show(c->shared.traces, str_c(admin_rest(r)), admin_wants_json(r), &t)) {
        admin_reply_text(r, &t);
        return;
    }
    text_release(&t);
    admin_error(r, 404,
        "no records of that trace-id: they are kept for 30 s, for requests that asked to be "
        "explained");
}

/* ---- changes ---- */

static void reload_keys(struct control *c, struct admin_request *r)
{
    struct text t = {0};
    struct err e = {0};
    if (control_reopen(c, &e) != 0) {
        admin_error(r, 409, "%s: the old one stays in use", e.text);
        return;
    }
    if (admin_wants_json(r))
        text_fmt(&t, "{\"epoch\":%llu,\"changed\":false}\n", (unsigned long long)c->epoch);
    else
        text_fmt(&t, "keys read and log opened again; the graph is the agent's: epoch %llu\n",
            (unsigned long long)c->epoch);
    admin_reply_text(r, &t);
}

static bool read_history(const char *text, unsigned char ret[static HISTORY_ID])
{
    if (!text || strlen(text) != 2 * HISTORY_ID)
        return false;
    for (unsigned i = 0; i < HISTORY_ID; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static void on_adopt(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    const char *text = admin_param(r, "history");
    unsigned char history[HISTORY_ID];
    struct text t = {0};
    struct err e = {0};
    if (!c->sync) {
        admin_error(r, 409, "this proxy has no agent: its graph comes from files");
        return;
    }
    if (!read_history(text, history)) {
        admin_error(r, 400, "want /adopt?history=HISTORY, 32 hexadecimal digits");
        return;
    }
    if (sync_adopt(c->sync, history, &e) != 0) {
        admin_error(r, 503, "%s", e.text);
        return;
    }
    if (admin_wants_json(r))
        text_fmt(&t, "{\"adopted\":\"%s\"}\n", text);
    else
        text_fmt(&t, "adopted %s\n", text);
    admin_reply_text(r, &t);
}

static void on_reload(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    if (c->sync) {
        reload_keys(c, r);
        return;
    }
    struct err e = {0};
    int keys = keys_load(c, &e);
    if (keys != 0)
        log_error("%s: the old keys stay in use", e.text);
    int certs = tls_reload(c, keys ? NULL : &e);
    if (certs != 0)
        log_error("certificates are not taken: %s", e.text);
    keys = keys ? keys : certs;
    int rc = control_reload(c);
    struct text t = {0};
    if (rc == -ENOMEM) {
        admin_error(r, 503, "out of memory, epoch %llu stays active", (unsigned long long)c->epoch);
        return;
    }
    if (rc != 0 && rc != -EALREADY) {
        admin_error(r, 409, "the graph is not valid, epoch %llu stays active: see /check",
            (unsigned long long)c->epoch);
        return;
    }
    if (keys != 0) {
        admin_error(r, 409, "%s: the old one stays in use", e.text);
        return;
    }
    if (admin_wants_json(r))
        text_fmt(&t, "{\"epoch\":%llu,\"changed\":%s}\n", (unsigned long long)c->epoch,
            rc == 0 ? "true" : "false");
    else
        text_fmt(
            &t, "epoch %llu%s\n", (unsigned long long)c->epoch, rc == 0 ? "" : ": nothing changed");
    admin_reply_text(r, &t);
}

static void on_log_level(struct admin_request *r, void *arg)
{
    (void)control_of(arg);
    admin_log_level(r);
}

static void on_upgrade(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    if (c->upgrade)
        upgrade_start(c->upgrade, admin_param(r, "binary"), r);
    else
        admin_error(r, 409, "this process cannot be upgraded");
}

static void on_drain(struct admin_request *r, void *arg)
{
    struct control *c = control_of(arg);
    struct text t = {0};
    text_add(&t, admin_wants_json(r) ? STR("{\"state\":\"draining\"}\n") : STR("draining\n"));
    admin_reply_text(r, &t);
    if (!c->told_to_stop)
        control_drain(c);
}

const struct admin_route admin_routes[] = {
    {"/status", 0, on_status, "what is served, since when, and whether the files are valid"},
    {"/check", 0, on_check, "findings of the last read of the graph files"},
    {"/resolve", 0, on_resolve, "?env=E&service=S[&now=TIME]: which provider, and why"},
    {"/explain", 0, on_explain,
        "?host=H&path=P[&header=Name: value]...[&trusted=1]: a whole request"},
    {"/environments", 0, on_environments, "all environments; ?tree=1 as a tree"},
    {"/environments/", ADMIN_PREFIX, on_environment, "one environment"},
    {"/connections", 0, admin_connections,
        "[?side=client|provider][&state=][&older=][&limit=]: of clients and to providers"},
    {"/requests", 0, admin_requests,
        "?live[&env=][&service=][&state=][&older=][&limit=]: what is being done"},
    {"/top", 0, admin_top, "[?limit=]: totals for `offshootctl top`, JSON"},
    {"/log", 0, admin_log, "[?when=RULE]...[&format=text|json|otel]: the access log as it is made"},
    {"/trace/", ADMIN_PREFIX, on_trace, "hop records of a trace-id"},
    {"/metrics", ADMIN_PUBLIC, on_metrics, "counters for Prometheus"},
    {"/counters", 0, on_counters, "counters that are not zero"},
    {"/config", 0, on_config, "the configuration in effect"},
    {"/live", ADMIN_PUBLIC, on_live, "200 while the process runs"},
    {"/ready", ADMIN_PUBLIC, on_ready, "200 while requests are accepted, 503 when draining"},
    {"/reload", ADMIN_POST, on_reload, "read the graph files again; with an agent: keys and log"},
    {"/adopt", ADMIN_POST, on_adopt, "?history=HEX32: take a graph of this history, once"},
    {"/log-level", ADMIN_POST, on_log_level, "?level=error|warn|info|debug"},
    {"/providers", 0, admin_providers,
        "[?state=WORD]: endpoints in use, and those drained or disabled"},
    {"/endpoint", ADMIN_POST, admin_endpoint,
        "?address=A&action=drain|disable|enable[&reason=TEXT]: an endpoint leaves the choice"},
    {"/drain", ADMIN_POST, on_drain, "stop accepting, end when all is done"},
    {"/upgrade", ADMIN_POST, on_upgrade,
        "[?binary=PATH]: the program there takes over, this process drains"},
};
const size_t admin_routes_count = sizeof admin_routes / sizeof admin_routes[0];
