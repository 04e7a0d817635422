/* Start: settings → state lock → graph → sockets → workers → ready. Then: signals, file changes and
 * admin requests, each ending in a message to the workers. */
#include "proxy/control.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/sock.h"
#include "proxy/admin_live.h"
#include "proxy/capture_link.h"
#include "proxy/health.h"
#include "proxy/inherit.h"
#include "proxy/keys.h"
#include "proxy/logtail.h"
#include "proxy/ratelimit.h"
#include "proxy/sync.h"
#include "proxy/tls.h"
#include "proxy/trace.h"
#include "proxy/upgrade.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUIET_MS         50   /* after a file change, before the files are read */
#define FINDINGS_LOG_MAX 4096 /* bytes of findings in the log */
#define SECOND                                                                                     \
    (struct timeval)                                                                               \
    {                                                                                              \
        .tv_sec = 1                                                                                \
    }

/* ---- the graph ---- */

static void log_findings(struct control *c)
{
    struct text t = {0};
    graphsrc_findings(c->graph, false, &t);
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

static int refused(struct control *c, int rc, const char *why)
{
    c->invalid = true;
    counter_set(&c->stats[STAT_GRAPH_INVALID], 1);
    counter_inc(&c->stats[STAT_GRAPH_REFUSED]);
    log_findings(c);
    log_error("the graph is not valid%s%s; epoch %llu stays active", *why ? ": " : "", why,
        (unsigned long long)c->epoch);
    return rc;
}

/* A loaded snapshot becomes active, or waits for a slot. */
static int accept_snapshot(struct control *c, struct snapshot *s)
{
    struct err e = {0};
    int rc = epochs_publish(c, s, &e);
    if (rc == -EBUSY) {
        counter_inc(&c->stats[STAT_GRAPH_DELAYED]);
        log_warn("all %u snapshot slots are in use: the newest graph waits", SLOTS);
        if (c->delayed)
            snapshot_unref(c->delayed);
        c->delayed = s;
        return 0;
    }
    if (rc != 0) {
        log_error(
            "the newest graph is not published: %s", rc == -ENOMEM ? "out of memory" : e.text);
        snapshot_unref(s);
    }
    return rc;
}

static const struct snapshot *newest(const struct control *c)
{
    return c->delayed ? c->delayed : c->active;
}

int control_reload(struct control *c)
{
    struct snapshot *s = NULL;
    struct snapshot_changes ch = {0};
    struct err e = {0};
    c->tried_s = clock_wall_s();
    int rc = graphsrc_load(c->graph, &c->rules, newest(c), c->epoch + 1, &s, &ch);
    if (rc == -EALREADY) {
        if (c->invalid)
            log_info("the graph files are valid again and say what is active");
        c->invalid = false;
        counter_set(&c->stats[STAT_GRAPH_INVALID], 0);
        return rc;
    }
    if (rc == -ENOMEM) {
        log_error("out of memory while loading the graph; epoch %llu stays active",
            (unsigned long long)c->epoch);
        return rc;
    }
    if (rc != 0)
        return refused(c, rc, "");
    if (!settings_gateway(c->set, s, &e)) {
        snapshot_unref(s);
        return refused(c, -EINVAL, e.text);
    }
    rc = accept_snapshot(c, s);
    if (rc != 0)
        return rc;
    c->epoch++;
    c->loaded_s = c->tried_s;
    c->invalid = false;
    counter_set(&c->stats[STAT_GRAPH_INVALID], 0);
    log_info("epoch %llu: %u environments (%u added, %u removed, %u changed), %u services",
        (unsigned long long)c->epoch, snapshot_env_count(s), ch.envs_added, ch.envs_removed,
        ch.envs_changed, snapshot_service_count(s));
    control_listen_judge(c, s);
    return 0;
}

void control_graph_active(struct control *c, uint64_t epoch)
{
    c->epoch = epoch;
    c->loaded_s = c->tried_s = clock_wall_s();
    control_listen_judge(c, epochs_find(c, epoch));
    if (c->waiting)
        event_base_loopbreak(c->base);
}

static void on_change(void *arg)
{
    control_reload(control_of(arg));
}

uint64_t control_resident(void)
{
    char text[128] = "", *end = NULL;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    unsigned long long size = n > 0 ? strtoull(text, &end, 10) : 0;
    unsigned long long pages = size ? strtoull(end, NULL, 10) : 0; /* the second number */
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void look_at_memory(struct control *c)
{
    uint64_t resident = control_resident();
    if (resident == 0)
        return;
    counter_set(&c->stats[STAT_RESIDENT], resident);
    if (c->set->limit_memory)
        atomic_store_explicit(&c->shared.resident, resident, memory_order_relaxed);
}

static void give_back_memory(struct control *c)
{
    static const enum proxy_stat each[] = {
        STAT_CLIENTS, STAT_REQUESTS_NOW, STAT_PROVIDER_CONNECTIONS, STAT_BUFFERS};
    uint64_t objects = 0, begun = clock_mono_ms();
    for (unsigned i = 0; i < c->nworkers; i++)
        for (size_t k = 0; k < sizeof each / sizeof each[0]; k++)
            objects += counter_get(&c->workers[i].stats[each[k]]);
    if (!giveback_due(&c->giveback, objects, begun))
        return;
    malloc_trim(0);
    counter_inc(&c->stats[STAT_GIVEN_BACK]);
    log_debug("memory was given back to the system, in %llu ms",
        (unsigned long long)(clock_mono_ms() - begun));
}

/* Gives back snapshots that nobody uses any more, and publishes one that had to wait. */
static void on_second(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = control_of(arg);
    (void)fd;
    (void)what;
    if (epochs_collect(c) && c->delayed) {
        if (epochs_publish(c, c->delayed, NULL) == 0) /* without memory: again in a second */
            c->delayed = NULL;
    }
    if (c->sync)
        sync_second(c->sync);
    capture_link_second(c);
    logtail_second(c);
    give_back_memory(c);
    look_at_memory(c);
    control_end_if_stopped(c);
}

/* ---- what is read again ---- */

/* Never blocks a worker: a pipe that nobody reads loses lines, counted. Standard output is opened
 * anew for that, so that whoever shares it with us keeps it as it was. */
static int open_log(struct control *c, struct err *e)
{
    const char *to = c->set->access_log;
    int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK;
    if (strcmp(to, "off") == 0)
        return 0;
    bool standard = strcmp(to, "-") == 0;
    int fd = standard ? open("/proc/self/fd/1", flags) : open(to, flags | O_CREAT, 0640);
    if (fd < 0 && standard)
        fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, -errno, "cannot open the access log '%s': %s", to, strerror(errno));
    if (c->log_fd < 0) {
        c->log_fd = fd;
        return 0;
    }
    dup3(fd, c->log_fd, O_CLOEXEC); /* under the same number: the workers need not know */
    close(fd);
    return 0;
}

int control_reopen(struct control *c, struct err *e)
{
    int rc = open_log(c, e);
    int keys = keys_load(c, rc ? NULL : e);
    health_reload(c->health);
    rc = rc ? rc : keys;
    int certs = tls_reload(c, rc ? NULL : e);
    rc = rc ? rc : certs;
    int tls = c->sync ? sync_reload(c->sync, rc ? NULL : e) : 0;
    return rc ? rc : tls;
}

/* ---- start ---- */

static int lock_state(struct control *c, struct err *e)
{
    const char *dir = c->set->state;
    char path[4096];
    if (!dir)
        return 0;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_set(e, -errno, "cannot make the state folder '%s': %s", dir, strerror(errno));
    snprintf(path, sizeof path, "%s/lock", dir);
    c->state_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (c->state_fd < 0)
        return err_set(e, -errno, "cannot open '%s': %s", path, strerror(errno));
    int taken = inherit_lock(c->inherit, c->state_fd);
    if (taken >= 0) { /* the lock is of the open file that holds it, in both processes */
        close(c->state_fd);
        c->state_fd = taken;
    }
    if (flock(c->state_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, -EBUSY, "the state folder '%s' is used by another proxy", dir);
    return 0;
}

/* The rules of the settings, and our own addresses: a graph must not point at ourselves. Again
 * once the sockets are open: a port 0 is known then. */
static int own_addresses(struct control *c, struct err *e)
{
    struct addr metrics;
    size_t n = 0;
    if (!c->own)
        c->own = mem_array(c->nbound + 2, sizeof *c->own);
    if (!c->own)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < c->nbound; i++)
        c->own[n++] = c->bound[i];
    if (c->set->admin)
        c->own[n++] = (struct addr){.kind = ADDR_UNIX, .name = str_c(c->set->admin)};
    if (c->metrics_text && addr_parse(str_c(c->metrics_text), false, &metrics, NULL) == 0)
        c->own[n++] = metrics;
    c->rules = c->set->endpoint_rules;
    c->rules.own = c->own;
    c->rules.n_own = n;
    c->shared.rules = &c->rules;
    return 0;
}

static int make_workers(struct control *c, struct err *e)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = c->set->workers ? c->set->workers : cpus > 0 ? (unsigned)cpus : 1;
    c->workers = mem_array(n, sizeof *c->workers);
    c->shared.workers = c->workers;
    c->shared.nworkers = n;
    c->readers = mem_array(n, sizeof(struct slot_reader *));
    if (!c->workers || !c->readers)
        return err_set(e, -ENOMEM, "out of memory");
    for (; c->nworkers < n; c->nworkers++) {
        int rc = worker_init(&c->workers[c->nworkers], c->nworkers, &c->shared, e);
        if (rc != 0)
            return rc;
        c->readers[c->nworkers] = &c->workers[c->nworkers].slots;
        accesslog_open(&c->workers[c->nworkers].log, c->log_fd, c->set->access_log_format);
        c->workers[c->nworkers].hold_accept = c->inherit != NULL;
    }
    counter_set(&c->stats[STAT_WORKERS], n);
    return 0;
}

static int first_graph(struct control *c, struct err *e)
{
    struct graphsrc_options o = settings_graph(c->set);
    c->graph = graphsrc_new(&o, e);
    if (!c->graph)
        return -ENOMEM;
    int rc = control_reload(c);
    if (rc == 0)
        return 0;
    if (rc == -ENOMEM)
        return err_set(e, rc, "out of memory while loading the graph");
    return err_set(e, rc, "cannot start without a valid graph");
}

/* From the last good file, or else from the agent: nothing is listened on before that. */
static int agent_graph(struct control *c, struct err *e)
{
    int rc = sync_start(c, e);
    if (rc != 0 || sync_has_graph(c->sync))
        return rc;
    log_info("no last good graph: waiting for the agent at %s", c->set->agent);
    c->waiting = true;
    while (!c->draining && !sync_has_graph(c->sync))
        event_base_dispatch(c->base);
    c->waiting = false;
    return c->draining ? err_set(e, -ECANCELED, "stopped before a graph came") : 0;
}

static int start_seconds(struct control *c, struct err *e)
{
    c->second = event_new(c->base, -1, EV_PERSIST, on_second, c);
    return c->second && event_add(c->second, &SECOND) == 0
               ? 0
               : err_set(e, -ENOMEM, "cannot make a timer");
}

static int watch_files(struct control *c, struct err *e)
{
    c->watch = watch_new(c->base, c->set->graph.item, c->set->graph.n, QUIET_MS, on_change, c, e);
    return c->watch ? 0 : -ENOMEM;
}

static void stopped_run(struct message *m, void *control)
{
    mem_free(m);
    control_end_if_stopped(control);
}

static void *worker_thread(void *arg)
{
    struct worker *w = arg;
    worker_run(w);
    atomic_store_explicit(&w->ended, true, memory_order_release);
    atomic_fetch_add_explicit(&w->shared->stopped, 1, memory_order_release);
    struct message *m =
        mem_zalloc(sizeof *m); /* without memory the control thread's second tells */
    if (m) {
        m->run = stopped_run;
        m->drop = message_free;
        mailbox_post(w->shared->control, m);
    }
    return NULL;
}

static int start_workers(struct control *c, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the control thread's */
    int rc = 0;
    for (unsigned i = 0; i < c->nworkers && rc == 0; i++) {
        rc = pthread_create(&c->workers[i].thread, NULL, worker_thread, &c->workers[i]);
        c->nstarted += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? err_set(e, -rc, "cannot start a thread: %s", strerror(rc)) : 0;
}

int control_init(struct control *c, const struct settings *set, const struct conf *conf,
    const struct descent *from, struct err *e)
{
    memset(c, 0, sizeof *c);
    c->magic = CONTROL_MAGIC;
    if (from)
        c->descent = *from;
    c->inherit = c->descent.inherit;
    c->set = set;
    c->conf = conf;
    c->log_fd = c->state_fd = c->admin_fd = c->metrics_fd = -1;
    c->started_s = clock_wall_s();
    list_init(&c->lookups);
    list_init(&c->tails);
    list_init(&c->asks);
    c->shared.set = set;
    c->shared.control = &c->mailbox;
    c->shared.pins = set->agent != NULL;
    c->stats_desc = stats_table();
    c->shared.traces = traces_new(set->limit_traces);
    c->shared.limits = ratelimit_new(set->limit_rate_entries);
    c->base = event_base_new();
    if (!c->stats_desc || !c->shared.traces || !c->shared.limits || !c->base)
        return err_set(e, -ENOMEM, "out of memory");
    int rc = mailbox_init(&c->mailbox, c->base, c, e);
    if (rc != 0) {
        c->mailbox.owner = NULL;
        return rc;
    }
    rc = control_endpoints(c, e);
    if (rc != 0)
        return rc;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a full disk */
    c->dns = dns_new(c->base, set->dns_servers, (uint32_t)set->dns_timeout, e);
    rc = c->dns ? lock_state(c, e) : -EINVAL;
    if (rc == 0)
        rc = open_log(c, e);
    if (rc == 0)
        rc = make_workers(c, e);
    if (rc == 0)
        rc = keys_load(c, e);
    if (rc == 0)
        rc = tls_start(c, e);
    if (rc == 0)
        rc = control_probe(c, e);
    if (rc == 0)
        rc = control_start_admin(c, e);
    if (rc == 0)
        rc = own_addresses(c, e);
    if (rc == 0)
        rc = control_watch_signals(c, e);
    if (rc == 0)
        rc = start_seconds(c, e);
    if (rc == 0 && set->agent && c->inherit)
        rc = inherit_state(c->inherit, e);
    if (rc == 0)
        rc = set->agent ? agent_graph(c, e) : first_graph(c, e);
    if (rc == 0)
        rc = control_listen(c, e);
    if (rc == 0)
        rc = own_addresses(c, e);
    if (rc == 0 && !set->agent)
        rc = watch_files(c, e);
    if (rc == 0)
        rc = start_workers(c, e);
    return rc == 0 && c->inherit ? control_take_over(c, e) : rc;
}

/* ---- run and end ---- */

void control_run(struct control *c)
{
    event_base_dispatch(c->base);
}

static void join_workers(struct control *c)
{
    for (unsigned i = 0; i < c->nstarted; i++)
        pthread_join(c->workers[i].thread, NULL);
    c->nstarted = 0;
}

void control_release(struct control *c)
{
    if (c->nstarted) {
        control_tell(c, WORKER_STOP);
        join_workers(c);
    }
    upgrade_free(c->upgrade);
    if (c->admin)
        admin_free(c->admin);
    if (c->watch)
        watch_free(c->watch);
    capture_link_release(c);
    sync_free(c->sync);
    if (c->dns)
        dns_free(c->dns);
    for (unsigned i = 0; i < c->nworkers; i++)
        worker_release(&c->workers[i]);
    keys_release(c);
    tls_release(c);
    control_drop_lookups(c);
    if (c->mailbox.owner) {
        mailbox_close(&c->mailbox);
        mailbox_release(&c->mailbox);
    }
    logtail_release(c);
    live_release(c);
    control_endpoints_release(c);
    if (c->delayed)
        snapshot_unref(c->delayed);
    slots_release(&c->epochs.slots);
    graphsrc_free(c->graph);
    for (unsigned i = 0; i < sizeof c->signals / sizeof c->signals[0]; i++)
        if (c->signals[i])
            event_free(c->signals[i]);
    if (c->delay)
        event_free(c->delay);
    if (c->wait)
        event_free(c->wait);
    if (c->second)
        event_free(c->second);
    if (c->base)
        event_base_free(c->base);
    traces_free(c->shared.traces);
    ratelimit_free(c->shared.limits);
    counters_table_free(c->stats_desc);
    mem_free(c->workers);
    mem_free(c->readers);
    mem_free(c->bound);
    mem_free(c->sockets);
    mem_free(c->own);
    inherit_free(c->inherit);
    if (c->log_fd > STDERR_FILENO)
        close(c->log_fd);
    const int fds[] = {c->state_fd, c->admin_fd, c->metrics_fd};
    for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}
