#include "agent/control.h"
#include "agent/admin_int.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/grpc.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/stat.h>

#define QUIET_MS         50   /* graph files: without a change before they are read */
#define FINDINGS_LOG_MAX 8192 /* bytes of findings that go into the log */
#define EXPIRY_MAX_S     3600 /* between looks at what expired; a clock may jump */

static int64_t now_of(void *arg)
{
    (void)arg;
    return clock_wall_s();
}

static struct control *control_of(void *arg)
{
    struct control *c = arg;
    assert(c->magic == CONTROL_MAGIC);
    return c;
}

/* ---- changes ---- */

static void on_commit(void *arg, struct snapshot *s, const struct epoch_info *info)
{
    struct control *c = control_of(arg);
    counter_inc(&c->stats[STAT_COMMITS + info->kind]);
    log_info("epoch %llu: %s (%s, by %s)", (unsigned long long)info->epoch, info->what,
        change_kind_word((enum change_kind)info->kind), info->who);
    sync_commit(c->sync, s);
    shadow_commit(c->shadow);
}

static void log_findings(struct control *c)
{
    struct text t = {0};
    core_findings(c->core, false, &t);
    char *save = NULL;
    size_t said = 0;
    for (char *line = t.p ? strtok_r(t.p, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        said += strlen(line);
        if (said > FINDINGS_LOG_MAX) {
            log_error("more findings: ask the admin socket for /check");
            break;
        }
        log_error("%s", line);
    }
    text_release(&t);
}

/* When something expires next is known anew. */
static void plan_expiry(struct control *c)
{
    uint32_t s = core_tick(c->core);
    struct timeval next = {s < EXPIRY_MAX_S ? (time_t)s : EXPIRY_MAX_S, 0};
    if (c->expiry)
        event_add(c->expiry, &next);
}

static void on_expiry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    plan_expiry(control_of(arg));
}

int control_reload(struct control *c, const char *who, struct err *e)
{
    bool was_valid = core_valid(c->core);
    int rc = core_reload(c->core, who, e);
    unsigned long long epoch = history_epoch(core_history(c->core));
    if (rc == -EALREADY && !was_valid && core_tried(c->core))
        log_info("the graph files say what is active: epoch %llu", epoch);
    if (rc == -EBUSY)
        log_warn("held by a rollback: the graph files are valid, and are not published");
    if (rc == -EINVAL) {
        counter_inc(&c->stats[STAT_GRAPH_REFUSED]);
        log_findings(c);
        log_error(epoch ? "the graph is not valid; epoch %llu stays active"
                        : "the graph is not valid, and there is no epoch from before",
            epoch);
    } else if (rc != 0 && rc != -EALREADY && rc != -EBUSY) {
        log_error("%s; epoch %llu stays active", e->text, epoch);
    }
    plan_expiry(c);
    return rc;
}

int control_change(struct control *c, const struct change *ch, uint64_t *ret_epoch, struct err *e)
{
    int rc = core_change(c->core, ch, ret_epoch, e);
    if (rc != 0 && rc != -EALREADY)
        counter_inc(&c->stats[STAT_CHANGES_REFUSED]);
    plan_expiry(c);
    return rc;
}

static void on_change(void *arg)
{
    struct err e = {0};
    control_reload(control_of(arg), "files", &e);
}

static void on_progress(void *arg)
{
    admin_wait_progress(control_of(arg));
}

void control_count(struct control *c)
{
    const struct snapshot *s = core_active(c->core);
    counter_cell *n = c->stats;
    sync_count(c->sync);
    shadow_count(c->shadow);
    counter_set(&n[STAT_ADMIN_SHED], admin_shed(c->admin));
    counter_set(&n[STAT_WAITS], c->nwaits);
    counter_set(&n[STAT_GRAPH_EPOCH], s ? snapshot_epoch(s) : 0);
    counter_set(&n[STAT_GRAPH_ENVIRONMENTS], s ? snapshot_env_count(s) : 0);
    counter_set(&n[STAT_GRAPH_SERVICES], s ? snapshot_service_count(s) : 0);
    counter_set(&n[STAT_GRAPH_BYTES], s ? snapshot_bytes(s) : 0);
    counter_set(&n[STAT_GRAPH_INVALID], !core_valid(c->core));
    counter_set(&n[STAT_HELD], core_held(c->core));
    counter_set(&n[STAT_OWN_ENVIRONMENTS], core_own_count(c->core));
    counter_set(&n[STAT_OWN_STUCK], core_own_stuck(c->core));
    counter_set(&n[STAT_HISTORY_EPOCHS], history_count(core_history(c->core)));
    counter_set(&n[STAT_HISTORY_BYTES], history_bytes(core_history(c->core)));
}

/* ---- signals ---- */

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = control_of(arg);
    struct err e = {0};
    (void)fd;
    (void)what;
    if (c->tls && grpc_tls_reload(c->tls, &e) != 0)
        log_error("%s: the certificates from before stay in use", e.text);
    else if (c->tls)
        log_info("certificates were read again, for connections from now on");
    if (shadow_reload(c->shadow, &e) != 0)
        log_error("%s: the keys from before stay in use", e.text);
    control_reload(c, "files", &e);
}

static void on_terminate(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = control_of(arg);
    (void)fd;
    (void)what;
    log_info("stopping");
    event_base_loopbreak(c->base);
}

static int watch_signals(struct control *c, struct err *e)
{
    static const int which[] = {SIGTERM, SIGINT, SIGHUP};
    for (unsigned i = 0; i < 3; i++) {
        c->signals[i] =
            evsignal_new(c->base, which[i], which[i] == SIGHUP ? on_hangup : on_terminate, c);
        if (!c->signals[i] || event_add(c->signals[i], NULL) != 0)
            return err_set(e, -ENOMEM, "cannot watch signals");
    }
    return 0;
}

/* ---- start ---- */

/* The rules of the settings, and our own addresses: a graph must not point at ourselves. */
static int own_addresses(struct control *c, struct err *e)
{
    struct addr metrics;
    size_t n = 0;
    c->own = mem_array(c->nbound + 2, sizeof *c->own);
    if (!c->own)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < c->nbound; i++)
        c->own[n++] = c->bound[i];
    if (c->set->admin)
        c->own[n++] = (struct addr){.kind = ADDR_UNIX, .name = str_c(c->set->admin)};
    if (c->metrics_text && addr_parse(str_c(c->metrics_text), false, &metrics, NULL) == 0)
        c->own[n++] = metrics;
    c->rules.own = c->own;
    c->rules.n_own = n;
    return 0;
}

static int start_core(struct control *c, struct err *e)
{
    struct core_options o = {.graph = settings_graph(c->set),
        .history = settings_history(c->set),
        .rules = &c->rules,
        .own_max = c->set->own_max,
        .own_life_s = c->set->own_max_life / 1000,
        .own_keep_s = c->set->own_keep / 1000,
        .now = now_of,
        .arg = c,
        .on_commit = on_commit};
    c->rules = c->set->endpoint_rules;
    if (mkdir(c->set->state, 0700) != 0 && errno != EEXIST)
        return err_set(
            e, -errno, "cannot make the state folder '%s': %s", c->set->state, strerror(errno));
    c->core = core_new(&o, e);
    return c->core ? 0 : -EINVAL;
}

static const struct snapshot *active_of(void *arg)
{
    return core_active(control_of(arg)->core);
}

static int is_known(void *arg, const struct grpc_stream *call, struct str node, struct err *e)
{
    return sync_known(control_of(arg)->sync, call, node, e);
}

static int tell_rules(void *arg, struct str message)
{
    return sync_capture_rules(control_of(arg)->sync, message);
}

static int start_shadow(struct control *c, struct err *e)
{
    struct shadow_options o = {.base = c->base,
        .set = c->set,
        .stats = c->stats,
        .arg = c,
        .snapshot = active_of,
        .known = is_known,
        .rules = tell_rules};
    c->shadow = shadow_new(&o, e);
    return c->shadow ? 0 : -EINVAL;
}

static int start_sync(struct control *c, struct err *e)
{
    const struct settings *set = c->set;
    struct sync_options o = {.base = c->base,
        .history = core_history(c->core),
        .stage_ms = (uint32_t)set->stage_timeout,
        .retire_ms = (uint32_t)set->retire_after,
        .heartbeat_ms = (uint32_t)set->heartbeat,
        .proxies = set->limit_proxies,
        .connections = set->limit_connections,
        .message_bytes = (uint32_t)set->limit_message,
        .allow = &set->proxies_allow,
        .methods = shadow_method(c->shadow),
        .nmethods = 1,
        .methods_bytes = CAPTURE_MESSAGE,
        .stats = c->stats,
        .arg = c,
        .progress = on_progress};
    c->sync = sync_new(&o, e);
    return c->sync ? 0 : -EINVAL;
}

static int listen_for_proxies(struct control *c, struct err *e)
{
    const struct settings *set = c->set;
    int rc = 0;
    c->bound = mem_array(set->listen.n + 1, sizeof *c->bound);
    if (!c->bound)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < set->listen.n && rc == 0; i++) {
        struct listen_spec spec;
        rc = listen_parse(set->listen.item[i], &spec, e);
        if (rc == 0 && spec.tls && !c->tls)
            c->tls = grpc_tls_new(set->tls_cert, set->tls_key, set->tls_ca, true, e);
        if (rc == 0 && spec.tls && !c->tls)
            return -EINVAL;
        if (rc == 0)
            rc = sync_listen(
                c->sync, &spec.addr, spec.tls ? c->tls : NULL, spec.insecure, &c->bound[i], e);
        if (rc == 0 && spec.addr.kind == ADDR_UNIX)
            c->bound[i] = spec.addr;
        c->nbound += rc == 0;
    }
    return rc;
}

static int start_admin(struct control *c, struct err *e)
{
    const struct settings *set = c->set;
    c->admin = admin_new(c->base, admin_routes, admin_routes_count, c, e);
    if (!c->admin)
        return -ENOMEM;
    int rc = admin_listen(c->admin, set->admin, set->admin_group, set->metrics, c->metrics_buf, e);
    if (rc == 0 && set->metrics)
        c->metrics_text = c->metrics_buf;
    return rc;
}

/* Files that are not valid do not keep an agent down that has a good graph from before. */
static int first_graph(struct control *c, struct err *e)
{
    int rc = control_reload(c, "files", e);
    if (core_active(c->core)) {
        if (rc == -EINVAL)
            log_warn("serving epoch %llu from the history",
                (unsigned long long)history_epoch(core_history(c->core)));
        return 0;
    }
    return err_set(e, rc ? rc : -EINVAL, "cannot start without a valid graph");
}

static int watch_files(struct control *c, struct err *e)
{
    c->watch = watch_new(c->base, c->set->graph.item, c->set->graph.n, QUIET_MS, on_change, c, e);
    return c->watch ? 0 : -ENOMEM;
}

int control_init(
    struct control *c, const struct settings *set, const struct conf *conf, struct err *e)
{
    memset(c, 0, sizeof *c);
    c->magic = CONTROL_MAGIC;
    c->set = set;
    c->conf = conf;
    c->started_s = clock_wall_s();
    list_init(&c->waits);
    c->stats_desc = stats_table();
    c->base = event_base_new();
    c->expiry = c->base ? event_new(c->base, -1, 0, on_expiry, c) : NULL;
    if (!c->stats_desc || !c->base || !c->expiry)
        return err_set(e, -ENOMEM, "out of memory");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a full disk */
    int rc = start_core(c, e);
    if (rc == 0)
        rc = start_shadow(c, e);
    if (rc == 0)
        rc = start_sync(c, e);
    if (rc == 0)
        rc = start_admin(c, e);
    if (rc == 0)
        rc = listen_for_proxies(c, e);
    if (rc == 0)
        rc = own_addresses(c, e);
    if (rc == 0)
        rc = first_graph(c, e);
    if (rc == 0)
        rc = watch_files(c, e);
    if (rc == 0)
        shadow_begin(c->shadow);
    return rc == 0 ? watch_signals(c, e) : rc;
}

/* ---- run and end ---- */

void control_run(struct control *c)
{
    event_base_dispatch(c->base);
}

void control_release(struct control *c)
{
    admin_wait_end(c);
    if (c->admin)
        admin_free(c->admin);
    if (c->watch)
        watch_free(c->watch);
    sync_free(c->sync);
    shadow_free(c->shadow);
    grpc_tls_free(c->tls);
    core_free(c->core);
    for (unsigned i = 0; i < 3; i++)
        if (c->signals[i])
            event_free(c->signals[i]);
    if (c->expiry)
        event_free(c->expiry);
    if (c->base)
        event_base_free(c->base);
    counters_table_free(c->stats_desc);
    mem_free(c->bound);
    mem_free(c->own);
}
