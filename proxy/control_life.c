/* From one process to the next, and to the end: signals, draining, taking over from a process
 * before us, handing over to one behind us. */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/net/sock.h"
#include "proxy/announce.h"
#include "proxy/control.h"
#include "proxy/inherit.h"
#include "proxy/upgrade.h"
#include <errno.h>
#include <signal.h>
#include <string.h>

#define ADMIN_TICK_MS 20
#define ADMIN_TICKS   50

/* ---- draining ---- */

void control_tell(struct control *c, enum worker_order order)
{
    for (unsigned i = 0; i < c->nworkers; i++)
        worker_tell(&c->workers[i], order);
}

static void on_wait(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    control_end_if_stopped(control_of(arg));
}

/* Answers go out; and those whose connection was accepted before another process took the socket
 * get one if they ask soon. */
static bool wait_for_admin(struct control *c)
{
    struct timeval tick = {.tv_usec = ADMIN_TICK_MS * 1000};
    bool handed_over = c->upgrade && upgrade_done(c->upgrade) && !c->told_to_stop;
    if (handed_over ? admin_is_alone(c->admin) : admin_is_quiet(c->admin))
        return false;
    if (c->waited++ >= ADMIN_TICKS)
        return false;
    if (!c->wait)
        c->wait = evtimer_new(c->base, on_wait, c);
    return c->wait && event_add(c->wait, &tick) == 0;
}

void control_end_if_stopped(struct control *c)
{
    if (c->draining &&
        atomic_load_explicit(&c->shared.stopped, memory_order_acquire) == c->nstarted &&
        !wait_for_admin(c))
        event_base_loopbreak(c->base);
}

static void on_delay(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = control_of(arg);
    (void)fd;
    (void)what;
    control_tell(c, WORKER_DRAIN);
}

/* Ready says no; what is accepted until the delay is over is served. */
static bool delay(struct control *c)
{
    uint64_t ms = c->set->timeout_drain_delay;
    struct timeval t = clock_timeval(ms);
    if (ms == 0 || c->nstarted == 0)
        return false;
    c->delay = evtimer_new(c->base, on_delay, c);
    return c->delay && event_add(c->delay, &t) == 0;
}

static void begin_drain(struct control *c)
{
    c->draining = true; /* without workers the next second ends it, so that answers go out */
    counter_set(&c->stats[STAT_DRAINING], 1);
}

void control_drain(struct control *c)
{
    bool again = c->told_to_stop;
    c->told_to_stop = true;
    if (again) {
        log_info("stopping at once");
        control_tell(c, WORKER_STOP);
        return;
    }
    if (c->draining) {
        log_info("draining already, since another process took over");
        return;
    }
    log_info("draining");
    if (c->upgrade)
        upgrade_abandon(c->upgrade, "this process was told to stop");
    begin_drain(c);
    announce_stopping();
    if (delay(c))
        control_tell(c, WORKER_QUIET);
    else
        control_tell(c, WORKER_DRAIN);
}

void control_hand_over(struct control *c, long pid, bool admin_taken)
{
    begin_drain(c);
    announce_successor(pid);
    admin_hand_over(c->admin, admin_taken);
    c->nsockets = 0;
    control_tell(c, WORKER_HAND_OVER);
}

/* ---- signals ---- */

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = control_of(arg);
    struct err e = {0};
    (void)fd;
    (void)what;
    if (control_reopen(c, &e) != 0)
        log_error("%s: the old one stays in use", e.text);
    if (!c->sync)
        control_reload(c);
}

static void on_terminate(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    control_drain(control_of(arg));
}

static void on_upgrade(evutil_socket_t fd, short what, void *arg)
{
    struct control *c = control_of(arg);
    (void)fd;
    (void)what;
    if (c->upgrade)
        upgrade_start(c->upgrade, NULL, NULL);
}

int control_watch_signals(struct control *c, struct err *e)
{
    static const struct {
        int number;
        event_callback_fn fn;
    } which[] = {{SIGTERM, on_terminate}, {SIGINT, on_terminate}, {SIGHUP, on_hangup},
        {SIGUSR2, on_upgrade}};
    for (unsigned i = 0; i < sizeof which / sizeof which[0]; i++) {
        c->signals[i] = evsignal_new(c->base, which[i].number, which[i].fn, c);
        if (!c->signals[i] || event_add(c->signals[i], NULL) != 0)
            return err_set(e, -ENOMEM, "cannot watch signals");
    }
    if (!c->descent.argv)
        return 0;
    c->upgrade = upgrade_new(c, c->descent.argv, e);
    return c->upgrade ? 0 : -ENOMEM;
}

/* ---- the admin server ---- */

/* Until all is ready the process before us answers there. */
static int take_admin(struct control *c, struct err *e)
{
    const struct settings *set = c->set;
    struct addr bound;
    if (set->admin)
        c->admin_fd = inherit_socket(c->inherit, HANDOVER_ADMIN, 0, str_c(set->admin));
    if (set->metrics)
        c->metrics_fd = inherit_socket(c->inherit, HANDOVER_METRICS, 0, str_c(set->metrics));
    if (c->metrics_fd < 0)
        return 0;
    int rc = sock_name(c->metrics_fd, &bound);
    if (rc != 0)
        return err_set(e, rc, "cannot take the metrics socket: %s", strerror(-rc));
    addr_format(&bound, c->metrics_buf);
    return 0;
}

int control_start_admin(struct control *c, struct err *e)
{
    const struct settings *set = c->set;
    c->admin = admin_new(c->base, admin_routes, admin_routes_count, c, e);
    if (!c->admin)
        return -ENOMEM;
    int rc = take_admin(c, e);
    if (rc == 0)
        rc = admin_listen(c->admin, c->admin_fd < 0 ? set->admin : NULL, set->admin_group,
            c->metrics_fd < 0 ? set->metrics : NULL, c->metrics_buf, e);
    if (rc == 0 && set->metrics)
        c->metrics_text = c->metrics_buf;
    return rc;
}

static void adopt_admin(struct control *c)
{
    struct err e = {0};
    int admin = c->admin_fd, metrics = c->metrics_fd;
    c->admin_fd = c->metrics_fd = -1;
    if (admin >= 0 && admin_adopt(c->admin, admin, c->set->admin, c->set->admin_group, &e) != 0)
        log_error("%s", e.text);
    if (metrics >= 0 && admin_adopt(c->admin, metrics, NULL, NULL, &e) != 0)
        log_error("%s", e.text);
}

/* ---- taking over ---- */

int control_take_over(struct control *c, struct err *e)
{
    struct inherit *i = c->inherit;
    int rc = inherit_ready(i, c->admin_fd >= 0, e);
    if (rc != 0)
        return rc;
    /* From here on nothing may end us: the process before us is about to go. */
    control_listen_start(c);
    control_tell(c, WORKER_ACCEPT);
    adopt_admin(c);
    c->generation = inherit_generation(i);
    c->from = inherit_from(i);
    counter_set(&c->stats[STAT_GENERATION], c->generation);
    announce_ready(c->set->pid_file);
    inherit_serving(i);
    inherit_free(i);
    c->inherit = NULL;
    log_info("took over from process %u", c->from);
    return 0;
}
