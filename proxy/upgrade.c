#include "proxy/upgrade.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/net/admingraph.h"
#include "proxy/control.h"
#include "proxy/handover.h"
#include "proxy/successor.h"
#include "proxy/sync.h"
#include "proxy/tls.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define UPGRADE_MAGIC 0x55504752u
#define PATH_ROOM     4096u
#define LINE_ROOM     300u
#define SETTLE_MS     10u   /* between two looks whether what is active is saved */
#define SETTLE_MAX    200u  /* such looks */
#define ERRORS_MAX    65536 /* bytes of its standard error read at once */

enum state {
    IDLE,
    GREET,  /* it runs; its hello is due */
    GIVE,   /* sockets are sent */
    LOAD,   /* it reads its configuration and graph */
    SETTLE, /* it wants our state folder: what is active is being saved */
    GO,     /* it is ready and was told so */
    DONE,   /* it serves */
    ENDING  /* it failed and was killed; its end is due */
};

struct upgrade {
    uint32_t magic;
    struct control *control;
    char *const *argv;
    char path[PATH_ROOM]; /* this program's, as it was started */
    enum state state;
    pid_t pid; /* 0: none, or reaped */
    int channel, errors;
    struct event *on_channel, *on_room, *on_errors, *on_child, *on_time, *on_settle;
    size_t next; /* message of GIVE */
    unsigned settles;
    bool suspended; /* sync is */
    bool admin_taken;
    struct admin_request *asker;
    char line[LINE_ROOM]; /* the last whole line that it wrote to standard error */
    char part[LINE_ROOM]; /* of the line that is not whole yet */
    size_t npart;
    struct err why; /* of the last failure; code 0: none */
    int64_t why_s;
};

static struct upgrade *upgrade_of(void *arg)
{
    struct upgrade *u = arg;
    assert(u->magic == UPGRADE_MAGIC);
    return u;
}

/* ---- what the new process says on standard error ---- */

static void take_line(struct upgrade *u)
{
    if (u->npart == 0)
        return;
    memcpy(u->line, u->part, u->npart);
    u->line[u->npart] = 0;
    u->npart = 0;
}

/* Everything that is there now; passed on, and the last line remembered. False: nothing more can
 * come. */
static bool read_errors(struct upgrade *u)
{
    char bytes[4096];
    ssize_t n;
    for (size_t all = 0; u->errors >= 0 && all < ERRORS_MAX; all += (size_t)n) {
        n = read(u->errors, bytes, sizeof bytes);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        ssize_t put = write(STDERR_FILENO, bytes, (size_t)n);
        (void)put;
        for (ssize_t i = 0; i < n; i++)
            if (bytes[i] == '\n')
                take_line(u);
            else if (u->npart < LINE_ROOM - 1)
                u->part[u->npart++] = bytes[i];
    }
    return true;
}

static void on_errors(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = upgrade_of(arg);
    (void)fd;
    (void)what;
    if (!read_errors(u))
        event_del(u->on_errors);
}

/* ---- the end of a try ---- */

static void drop_event(struct event **e)
{
    if (*e)
        event_free(*e);
    *e = NULL;
}

static void drop_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void drop_channel(struct upgrade *u)
{
    drop_event(&u->on_channel);
    drop_event(&u->on_room);
    drop_event(&u->on_errors);
    drop_fd(&u->channel);
    drop_fd(&u->errors);
}

static void hang_up(struct upgrade *u)
{
    drop_channel(u);
    event_del(u->on_time);
    event_del(u->on_settle);
}

static void answer(struct upgrade *u, int status, const struct err *e)
{
    struct admin_request *r = u->asker;
    struct text t = {0};
    u->asker = NULL;
    if (!r)
        return;
    if (status != 200) {
        admin_error(r, status, "%s", e->text);
        return;
    }
    uint32_t generation = u->control->generation + 1;
    if (admin_wants_json(r))
        text_fmt(&t, "{\"pid\":%ld,\"from\":%ld,\"generation\":%u}\n", (long)u->pid, (long)getpid(),
            generation);
    else
        text_fmt(&t, "process %ld serves now; process %ld drains\n", (long)u->pid, (long)getpid());
    admin_reply_text(r, &t);
}

/* The new process is gone, or never was: all is as before. */
static void give_up(struct upgrade *u)
{
    struct err e = {0};
    hang_up(u);
    u->state = IDLE;
    counter_inc(&u->control->stats[STAT_UPGRADES_FAILED]);
    u->why_s = clock_wall_s();
    log_error("no upgrade: %s", u->why.text);
    if (u->suspended && sync_resume(u->control->sync, &e) != 0)
        log_error("%s: the graph is served on, newer ones are not taken until a restart", e.text);
    u->suspended = false;
    answer(u, 503, &u->why);
}

static void fail(struct upgrade *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct upgrade *u, const char *fmt, ...)
{
    char text[LINE_ROOM];
    va_list ap;
    if (u->state == ENDING)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    read_errors(u);
    take_line(u);
    err_set(&u->why, -ECANCELED, "%s%s%s", text, u->line[0] ? ": " : "", u->line);
    if (u->pid == 0) {
        give_up(u);
        return;
    }
    u->state = ENDING;
    kill(u->pid, SIGKILL);
}

/* It has ended by itself or by us. */
static void ended(struct upgrade *u, int status)
{
    long pid = (long)u->pid;
    u->pid = 0;
    if (u->state == DONE) {
        if (WIFSIGNALED(status))
            log_error("process %ld, which serves in our place, was killed by signal %d", pid,
                WTERMSIG(status));
        return;
    }
    if (u->state == ENDING)
        give_up(u);
    else if (WIFSIGNALED(status))
        fail(u, "the new process %ld was killed by signal %d", pid, WTERMSIG(status));
    else
        fail(u, "the new process %ld ended with status %d", pid, WEXITSTATUS(status));
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = upgrade_of(arg);
    int status = 0;
    (void)fd;
    (void)what;
    if (u->pid && waitpid(u->pid, &status, WNOHANG) == u->pid)
        ended(u, status);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = upgrade_of(arg);
    static const char *const due[] = {[GREET] = "said nothing",
        [GIVE] = "took no sockets",
        [LOAD] = "was not ready",
        [SETTLE] = "was not ready",
        [GO] = "did not serve"};
    (void)fd;
    (void)what;
    if (u->state != IDLE && u->state != DONE && u->state != ENDING)
        fail(u, "the new process %ld %s within timeouts.upgrade (%llu ms)", (long)u->pid,
            due[u->state], (unsigned long long)u->control->set->timeout_upgrade);
}

/* ---- messages ---- */

static bool say(struct upgrade *u, const struct handover *m, int fd)
{
    int rc = handover_send(u->channel, m, fd);
    if (rc == 0)
        return true;
    if (rc == -EAGAIN && u->state == GIVE)
        event_add(u->on_room, NULL);
    else if (rc != -EPIPE && rc != -ECONNRESET) /* else its end is about to be told */
        fail(u, "cannot say '%s' to the new process: %s", handover_word(m->kind), strerror(-rc));
    return false;
}

/* The address of the n-th listener as the settings write it; which one with that address it is. */
static struct handover describe(const struct control *c, size_t order, char key[ADDR_TEXT_MAX])
{
    struct handover m = {.kind = HANDOVER_LISTEN};
    control_listen_key(c->set, order, key, &m.number);
    m.key = str_c(key);
    return m;
}

/* The n-th order about an endpoint. False: it is gone. */
static bool order(
    const struct control *c, size_t n, char text[HANDOVER_KEY_MAX], struct handover *m)
{
    enum endpoint_order o;
    if (!endpoint_ordered_at(c->shared.endpoints, n, &o, text, HANDOVER_KEY_MAX))
        return false;
    *m = (struct handover){.kind = HANDOVER_ENDPOINT, .number = o, .key = str_c(text)};
    return true;
}

/* Behind the sockets of the listeners, and the orders. */
static const enum handover_kind extras[] = {HANDOVER_ADMIN, HANDOVER_METRICS, HANDOVER_LOCK,
    HANDOVER_TICKETS, HANDOVER_ERRORS, HANDOVER_END};

static struct handover extra(const struct control *c, enum handover_kind kind, int *ret_fd)
{
    struct handover m = {.kind = kind};
    *ret_fd = -1;
    if (m.kind == HANDOVER_ADMIN) {
        *ret_fd = admin_listening(c->admin, true);
        m.key = str_c(c->set->admin);
    } else if (m.kind == HANDOVER_METRICS) {
        *ret_fd = admin_listening(c->admin, false);
        m.key = str_c(c->set->metrics);
    } else if (m.kind == HANDOVER_LOCK) {
        *ret_fd = c->state_fd;
    } else if (m.kind == HANDOVER_TICKETS) {
        *ret_fd = tls_tickets_share(c); /* ours to close */
    } else if (m.kind == HANDOVER_ERRORS) {
        *ret_fd = STDERR_FILENO;
    }
    return m;
}

static void give(struct upgrade *u)
{
    const struct control *c = u->control;
    size_t orders = c->nsockets + endpoint_orders(c->shared.endpoints);
    for (; u->next < orders + sizeof extras / sizeof extras[0]; u->next++) {
        char key[ADDR_TEXT_MAX], text[HANDOVER_KEY_MAX];
        int fd = -1;
        struct handover m;
        if (u->next < c->nsockets) {
            fd = c->sockets[u->next].fd;
            m = describe(c, c->sockets[u->next].order, key);
        } else if (u->next < orders) {
            if (!order(c, u->next - c->nsockets, text, &m))
                continue;
        } else {
            m = extra(c, extras[u->next - orders], &fd);
            if (handover_carries(m.kind) && fd < 0)
                continue; /* there is none */
        }
        bool sent = say(u, &m, fd);
        if (m.kind == HANDOVER_TICKETS)
            close(fd);
        if (!sent)
            return;
    }
    u->state = LOAD;
}

static void on_room(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = upgrade_of(arg);
    (void)fd;
    (void)what;
    if (u->state == GIVE)
        give(u);
}

static void greeted(struct upgrade *u, const struct handover *m)
{
    struct handover hello = {.kind = HANDOVER_HELLO,
        .version = HANDOVER_VERSION,
        .generation = u->control->generation + 1,
        .pid = (uint32_t)getpid()};
    say(u, &hello, -1);
    if (m->version != HANDOVER_VERSION) {
        fail(u, "the new process %ld speaks version %u of the hand-over, this one %u", (long)u->pid,
            m->version, HANDOVER_VERSION);
        return;
    }
    u->state = GIVE;
    u->next = 0;
    give(u);
}

/* What every worker uses should be on the disk before somebody else reads it there. */
static void settle(struct upgrade *u)
{
    struct sync *s = u->control->sync;
    struct handover m = {.kind = HANDOVER_STATE};
    struct timeval t = {.tv_usec = SETTLE_MS * 1000};
    if (s && !u->suspended)
        sync_suspend(s);
    u->suspended = s != NULL;
    if (s && !sync_settled(s) && u->settles++ < SETTLE_MAX) {
        u->state = SETTLE;
        event_add(u->on_settle, &t);
        return;
    }
    if (s)
        sync_let_go(s);
    u->state = LOAD;
    say(u, &m, -1);
}

static void on_settle(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = upgrade_of(arg);
    (void)fd;
    (void)what;
    if (u->state == SETTLE)
        settle(u);
}

static void ready(struct upgrade *u, const struct handover *m)
{
    struct handover go = {.kind = HANDOVER_GO};
    if (m->number > 1) {
        fail(u, "the new process %ld said 'ready %u'", (long)u->pid, m->number);
        return;
    }
    u->admin_taken = m->number;
    if (say(u, &go, -1))
        u->state = GO;
}

static void serving(struct upgrade *u)
{
    log_info("process %ld serves now, this one drains", (long)u->pid);
    u->state = DONE;
    u->why = (struct err){0};
    hang_up(u);
    control_hand_over(u->control, (long)u->pid, u->admin_taken);
    answer(u, 200, NULL);
}

static void heard(struct upgrade *u, const struct handover *m)
{
    if (m->kind == HANDOVER_HELLO && u->state == GREET)
        greeted(u, m);
    else if (m->kind == HANDOVER_STATE && u->state == LOAD)
        settle(u);
    else if (m->kind == HANDOVER_READY && u->state == LOAD)
        ready(u, m);
    else if (m->kind == HANDOVER_SERVING && u->state == GO)
        serving(u);
    else
        fail(u, "the new process %ld said '%s' out of turn", (long)u->pid, handover_word(m->kind));
}

static void on_channel(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = upgrade_of(arg);
    (void)what;
    while (u->channel == fd && u->state != ENDING) {
        char text[HANDOVER_MESSAGE_MAX + 1];
        struct handover m;
        struct err e = {0};
        int with = -1;
        int rc = handover_receive(fd, text, &m, &with, &e);
        if (with >= 0)
            close(with);
        if (rc == -EAGAIN)
            return;
        if (rc == 0 && with < 0) {
            heard(u, &m);
            continue;
        }
        event_del(u->on_channel);
        if (rc == -EPROTO || rc == 0)
            fail(u, "the new process %ld: %s", (long)u->pid,
                rc ? e.text : "a descriptor of its own");
        return; /* it hung up: its end tells why, or the time is up */
    }
}

/* ---- start ---- */

static bool watch(struct upgrade *u)
{
    struct event_base *base = u->control->base;
    uint64_t ms = u->control->set->timeout_upgrade;
    struct timeval t = clock_timeval(ms);
    u->on_channel = event_new(base, u->channel, EV_READ | EV_PERSIST, on_channel, u);
    u->on_room = event_new(base, u->channel, EV_WRITE, on_room, u);
    u->on_errors = event_new(base, u->errors, EV_READ | EV_PERSIST, on_errors, u);
    return u->on_channel && u->on_room && u->on_errors && event_add(u->on_channel, NULL) == 0 &&
           event_add(u->on_errors, NULL) == 0 && event_add(u->on_time, &t) == 0;
}

static void start(struct upgrade *u, const char *binary)
{
    int pair[2] = {-1, -1}, pipe_ends[2] = {-1, -1};
    int rc = 0;
    u->line[0] = 0;
    u->npart = 0;
    u->settles = 0;
    u->state = GREET;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        pipe2(pipe_ends, O_CLOEXEC) != 0)
        rc = errno;
    u->channel = pair[0];
    u->errors = pipe_ends[0];
    if (rc == 0 &&
        (fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0 || fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK) != 0))
        rc = errno;
    if (rc == 0 && !watch(u))
        rc = ENOMEM;
    if (rc == 0)
        rc = successor_spawn(binary, u->argv, pair[1], pipe_ends[1], &u->pid);
    drop_fd(&pair[1]);
    drop_fd(&pipe_ends[1]);
    if (rc != 0)
        fail(u, "cannot start '%s': %s", binary, strerror(rc));
    else
        log_info("upgrade: '%s' runs as process %ld", binary, (long)u->pid);
}

/* Why there cannot be one now. */
static int judge(const struct upgrade *u, const char *binary, struct err *e)
{
    const struct control *c = u->control;
    if (u->state == DONE)
        return err_set(e, -EBUSY, "another process serves already in place of this one");
    if (u->state != IDLE)
        return err_set(e, -EBUSY, "an upgrade is going on: process %ld", (long)u->pid);
    if (c->draining)
        return err_set(e, -EBUSY, "this process is draining");
    if (c->waiting)
        return err_set(e, -EBUSY, "this process does not serve yet: it waits for a graph");
    if (binary[0] != '/' || strlen(binary) >= PATH_ROOM)
        return err_set(e, -EINVAL, "not the whole path of a program '%s'", binary);
    return 0;
}

void upgrade_start(struct upgrade *u, const char *binary, struct admin_request *asker)
{
    struct err e = {0};
    if (!binary || !*binary)
        binary = u->path;
    int rc = judge(u, binary, &e);
    if (rc == 0) {
        u->asker = asker;
        start(u, binary);
        return;
    }
    if (asker)
        admin_error(asker, rc == -EINVAL ? 400 : 409, "%s", e.text);
    else
        log_warn("no upgrade: %s", e.text);
}

void upgrade_abandon(struct upgrade *u, const char *why)
{
    if (u->state == IDLE || u->state == GO || u->state == DONE || u->state == ENDING)
        return;
    fail(u, "%s", why);
    answer(u, 503, &u->why); /* this process may end sooner than that one */
}

bool upgrade_done(const struct upgrade *u)
{
    return u->state == DONE;
}

/* ---- life ---- */

struct upgrade *upgrade_new(struct control *c, char *const *argv, struct err *e)
{
    struct upgrade *u = mem_zalloc(sizeof *u);
    if (!u) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    u->magic = UPGRADE_MAGIC;
    u->control = c;
    u->argv = argv;
    u->channel = u->errors = -1;
    u->on_child = evsignal_new(c->base, SIGCHLD, on_child, u);
    u->on_time = evtimer_new(c->base, on_time, u);
    u->on_settle = evtimer_new(c->base, on_settle, u);
    int rc = successor_path(argv[0], u->path, sizeof u->path, e);
    if (rc == 0 &&
        (!u->on_child || !u->on_time || !u->on_settle || event_add(u->on_child, NULL) != 0))
        rc = err_set(e, -ENOMEM, "out of memory");
    if (rc != 0) {
        upgrade_free(u);
        return NULL;
    }
    return u;
}

void upgrade_free(struct upgrade *u)
{
    if (!u)
        return;
    if (u->pid && u->state != DONE && u->state != GO) {
        kill(u->pid, SIGKILL);
        waitpid(u->pid, NULL, 0);
    }
    if (u->asker) {
        struct err e = {.text = "this process ends"};
        answer(u, 503, &e);
    }
    drop_channel(u);
    drop_event(&u->on_child);
    drop_event(&u->on_time);
    drop_event(&u->on_settle);
    u->magic = 0;
    mem_free(u);
}

static void status_json(const struct upgrade *u, struct text *t)
{
    const struct control *c = u->control;
    char when[24];
    bool running = u->state != IDLE && u->state != DONE;
    text_fmt(t, "\"upgrade\":{\"generation\":%u,\"from\":", c->generation);
    if (c->generation)
        text_fmt(t, "%u", c->from);
    else
        text_add(t, STR("null"));
    text_fmt(t, ",\"running\":%s,\"failed\":", running ? "true" : "false");
    if (u->why.code) {
        format_rfc3339(u->why_s, when);
        text_fmt(t, "{\"at\":\"%s\",\"why\":\"", when);
        text_json(t, str_c(u->why.text));
        text_add(t, STR("\"}"));
    } else {
        text_add(t, STR("null"));
    }
    text_add(t, STR("}"));
}

void upgrade_status(const struct upgrade *u, bool json, struct text *t)
{
    const struct control *c = u->control;
    char when[24];
    if (json) {
        status_json(u, t);
        return;
    }
    if (c->generation)
        text_fmt(t, "upgrades      %u, the last one from process %u\n", c->generation, c->from);
    if (u->state != IDLE && u->state != DONE)
        text_fmt(t, "upgrade       process %ld is not ready yet\n", (long)u->pid);
    if (!u->why.code)
        return;
    format_rfc3339(u->why_s, when);
    text_fmt(t, "%-14sthe last try failed at %s: ", c->generation ? "" : "upgrades", when);
    text_plain(t, str_c(u->why.text));
    text_add(t, STR("\n"));
}
