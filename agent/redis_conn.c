/*   start → (dns) → hiredis connects → on_connect → AUTH, SELECT, PING → up
 *     any fault, any deadline → drop → timer of the backoff → start */
#include "agent/redis_conn.h"

#include "lib/base/addr.h"
#include "lib/base/clock.h"
#include "lib/base/files.h"
#include "lib/base/list.h"
#include "lib/base/mem.h"
#include "lib/net/dns.h"
#include "lib/net/reach.h"
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWORD_MAX  512
#define WHY_SIZE      200
#define FIRST_WAIT_MS 100
#define LAST_WAIT_MS  5000

struct command {
    struct list link; /* of the connection, oldest first */
    struct redis_conn *c;
    uint64_t deadline_ms;
    redis_fn *fn;
    void *arg;
};

struct redis_conn {
    struct redis_conn_options o;
    char target[ADDR_TEXT_MAX];
    struct addr at; /* name points into target */
    redisAsyncContext *ctx;
    enum redis_state state, fault; /* fault: the last one that ended a connection or a try */
    bool resolving;
    bool was_up;
    bool no_password; /* the connection is there, and of no use */
    char why[WHY_SIZE];
    struct list commands;
    uint64_t connect_by_ms;
    struct event timer; /* the next deadline, or the next try */
    struct backoff backoff;
    unsigned which; /* of a name's addresses is tried next */
};

static void arm(struct redis_conn *c, uint64_t ms)
{
    struct timeval tv = clock_timeval(ms);
    event_add(&c->timer, &tv);
}

static void set_why(struct redis_conn *c, const char *what, const char *detail)
{
    struct err e; /* makes it safe for a line */
    err_set(&e, -EIO, "%.150s: %s", detail, c->target);
    if (what)
        err_prefix(&e, "%s", what);
    snprintf(c->why, sizeof(c->why), "%.*s", WHY_SIZE - 1, e.text);
}

/* ---- deadlines ---- */

static void arm_deadline(struct redis_conn *c)
{
    uint64_t now = clock_mono_ms(), by = UINT64_MAX;
    if (c->state == REDIS_CONNECTING)
        by = c->connect_by_ms;
    if (!list_empty(&c->commands)) {
        uint64_t first = list_entry(c->commands.next, struct command, link)->deadline_ms;
        by = first < by ? first : by;
    }
    if (by == UINT64_MAX)
        event_del(&c->timer);
    else
        arm(c, by > now ? by - now : 0);
}

/* ---- losing it ---- */

static void let_go(struct redis_conn *c)
{
    redisAsyncContext *ctx = c->ctx;
    c->ctx = NULL;
    if (!ctx)
        return;
    ctx->data = NULL;
    redisAsyncFree(ctx); /* answers what is outstanding with NULL, now or after this callback */
}

static void forget_lookup(struct redis_conn *c);

/* The connection is of no more use; hiredis may have freed it already. */
static void lost(struct redis_conn *c, enum redis_state s)
{
    forget_lookup(c);
    c->no_password = false;
    c->state = c->fault = s;
    arm(c, backoff_next(&c->backoff));
    let_go(c);
}

void redis_conn_drop(struct redis_conn *c, enum redis_state s, const char *why)
{
    if (c->state != REDIS_UP && c->state != REDIS_CONNECTING)
        return;
    set_why(c, NULL, why);
    lost(c, s);
}

/* ---- commands ---- */

static void on_reply(redisAsyncContext *ctx, void *reply, void *arg)
{
    struct command *cmd = arg;
    struct redis_conn *c = cmd->c;
    const redisReply *r = reply;
    redis_fn *fn = cmd->fn;
    void *fn_arg = cmd->arg;
    list_remove(&cmd->link);
    mem_free(cmd);
    if (r && r->type == REDIS_REPLY_ERROR)
        c->o.counts->errors++;
    if (ctx == c->ctx && r)
        arm_deadline(c);
    fn(fn_arg, r);
}

static int send_command(struct redis_conn *c, int argc, const char **argv, const size_t *argvlen,
    redis_fn *fn, void *arg)
{
    struct command *cmd = mem_alloc(sizeof(*cmd));
    if (!cmd)
        return -ENOMEM;
    *cmd = (struct command){
        .c = c, .deadline_ms = clock_mono_ms() + c->o.command_ms, .fn = fn, .arg = arg};
    list_append(&c->commands, &cmd->link);
    if (redisAsyncCommandArgv(c->ctx, on_reply, cmd, argc, argv, argvlen) != REDIS_OK) {
        list_remove(&cmd->link);
        mem_free(cmd);
        return -ENOMEM;
    }
    c->o.counts->commands++;
    if (c->commands.next == &cmd->link)
        arm_deadline(c);
    return 0;
}

int redis_conn_send(struct redis_conn *c, int argc, const char **argv, const size_t *argvlen,
    redis_fn *fn, void *arg)
{
    if (c->state != REDIS_UP || !c->ctx)
        return -ENOTCONN;
    return send_command(c, argc, argv, argvlen, fn, arg);
}

/* ---- being introduced ---- */

static bool starts(const redisReply *r, const char *word)
{
    return str_starts(str_of(r->str, r->len), str_c(word));
}

static enum redis_state state_of_error(const redisReply *r)
{
    if (starts(r, "LOADING"))
        return REDIS_LOADING;
    if (starts(r, "NOAUTH") || starts(r, "WRONGPASS") || starts(r, "NOPERM") ||
        strstr(r->str, "invalid password"))
        return REDIS_REFUSED;
    return REDIS_DOWN;
}

static void introduction_failed(struct redis_conn *c, const char *what, const redisReply *r)
{
    if (c->state != REDIS_CONNECTING)
        return; /* one of the same handshake failed before */
    set_why(c, what, r->str);
    lost(c, state_of_error(r));
}

static void on_auth(void *arg, const redisReply *r)
{
    if (r && r->type == REDIS_REPLY_ERROR)
        introduction_failed(arg, "AUTH", r);
}

static void on_select(void *arg, const redisReply *r)
{
    if (r && r->type == REDIS_REPLY_ERROR)
        introduction_failed(arg, "SELECT", r);
}

static void on_ping(void *arg, const redisReply *r)
{
    struct redis_conn *c = arg;
    if (!r || c->state != REDIS_CONNECTING)
        return;
    /* A replica without its master, a busy script: up all the same, the commands will tell. */
    if (r->type == REDIS_REPLY_ERROR && !starts(r, "MASTERDOWN") && !starts(r, "BUSY")) {
        introduction_failed(c, "PING", r);
        return;
    }
    c->state = REDIS_UP;
    c->why[0] = '\0';
    backoff_reset(&c->backoff);
    if (c->was_up)
        c->o.counts->reconnects++;
    c->was_up = true;
    arm_deadline(c);
    c->o.on_up(c->o.arg);
}

static int judge_password_file(const struct stat *st, const char *path, struct err *e)
{
    if (!S_ISREG(st->st_mode))
        return err_set(e, -EINVAL, "password file '%s' is not a regular file", path);
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return err_set(e, -EPERM, "password file '%s' belongs to another user", path);
    if (st->st_mode & 077)
        return err_set(e, -EPERM, "password file '%s' may be used by others (mode %03o, want 600)",
            path, (unsigned)st->st_mode & 0777);
    return 0;
}

/* The first line of the file. */
static int read_password(
    const char *path, char ret[static PASSWORD_MAX + 1], size_t *ret_n, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set(e, -errno, "cannot open password file '%s': %s", path, strerror(errno));
    int rc = fstat(fd, &st) ? err_set(e, -errno, "cannot stat '%s': %s", path, strerror(errno))
                            : judge_password_file(&st, path, e);
    ssize_t n = rc ? rc : file_read_at(fd, ret, PASSWORD_MAX + 1, 0);
    close(fd);
    if (rc)
        return rc;
    if (n < 0)
        return err_set(e, (int)n, "cannot read password file '%s'", path);
    struct str line = str_of(ret, (size_t)n);
    line.n = str_find(line, '\n');
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n == 0 || line.n > PASSWORD_MAX)
        return err_set(
            e, -EINVAL, "password file '%s' is empty or longer than %d bytes", path, PASSWORD_MAX);
    *ret_n = line.n;
    return 0;
}

static int send_auth(struct redis_conn *c, struct err *e)
{
    char password[PASSWORD_MAX + 1];
    size_t n = 0;
    if (!c->o.password_file)
        return 0;
    int rc = read_password(c->o.password_file, password, &n, e);
    if (rc == 0) {
        bool named = c->o.user && *c->o.user;
        const char *argv[3] = {"AUTH", named ? c->o.user : password, password};
        size_t len[3] = {4, named ? strlen(c->o.user) : n, n};
        rc = send_command(c, named ? 3 : 2, argv, len, on_auth, c);
        if (rc)
            err_set(e, rc, "out of memory");
    }
    explicit_bzero(password, sizeof(password));
    return rc;
}

static int introduce(struct redis_conn *c, struct err *e)
{
    int rc = send_auth(c, e);
    if (rc == 0 && c->o.db) {
        char number[16];
        const char *argv[2] = {"SELECT", number};
        snprintf(number, sizeof(number), "%u", c->o.db);
        size_t len[2] = {6, strlen(number)};
        rc = send_command(c, 2, argv, len, on_select, c);
    }
    if (rc == 0) {
        const char *argv[1] = {"PING"};
        size_t len[1] = {4};
        rc = send_command(c, 1, argv, len, on_ping, c);
    }
    return rc;
}

/* ---- connecting ---- */

static void on_connect(const redisAsyncContext *ctx, int status)
{
    struct redis_conn *c = ctx->data;
    struct err e = {.code = -ENOMEM, .text = "out of memory"};
    if (!c || c->ctx != ctx)
        return;
    if (status != REDIS_OK) {
        set_why(c, "cannot connect", ctx->errstr && *ctx->errstr ? ctx->errstr : "refused");
        c->ctx = NULL; /* hiredis frees it */
        lost(c, REDIS_DOWN);
        return;
    }
    if (introduce(c, &e)) {
        set_why(c, NULL, e.text);
        c->no_password = true;
        arm(c, 0); /* hiredis goes on with ctx: it is let go from the timer */
    }
}

static void on_disconnect(const redisAsyncContext *ctx, int status)
{
    struct redis_conn *c = ctx->data;
    if (!c || c->ctx != ctx)
        return;
    set_why(c, "connection lost",
        status != REDIS_OK && ctx->errstr && *ctx->errstr ? ctx->errstr : "closed by the server");
    c->ctx = NULL; /* hiredis frees it */
    lost(c, REDIS_DOWN);
}

static void connect_to(struct redis_conn *c, const struct addr *a)
{
    char host[ADDR_TEXT_MAX];
    redisAsyncContext *ctx;
    if (a->kind == ADDR_UNIX) {
        snprintf(host, sizeof(host), "%.*s", STR_ARG(a->name));
        ctx = redisAsyncConnectUnix(host);
    } else {
        int family = a->kind == ADDR_IP6 ? AF_INET6 : AF_INET;
        evutil_inet_ntop(family, a->ip, host, sizeof(host));
        ctx = redisAsyncConnect(host, c->at.port);
    }
    if (!ctx || ctx->err) {
        set_why(c, "cannot connect", ctx ? ctx->errstr : "out of memory");
        if (ctx)
            redisAsyncFree(ctx);
        lost(c, REDIS_DOWN);
        return;
    }
    c->ctx = ctx;
    ctx->data = c;
    if (redisLibeventAttach(ctx, c->o.base) != REDIS_OK ||
        redisAsyncSetConnectCallback(ctx, on_connect) != REDIS_OK ||
        redisAsyncSetDisconnectCallback(ctx, on_disconnect) != REDIS_OK) {
        set_why(c, "cannot connect", "out of memory");
        lost(c, REDIS_DOWN);
    }
}

static void on_resolved(void *arg, const struct dns_answer *a)
{
    struct redis_conn *c = arg;
    c->resolving = false;
    if (a->error || a->naddrs == 0) {
        set_why(c, "cannot look up", a->text ? a->text : "no address");
        lost(c, REDIS_DOWN);
        return;
    }
    connect_to(c, &a->addrs[c->which++ % a->naddrs]);
}

static void forget_lookup(struct redis_conn *c)
{
    if (c->resolving)
        dns_forget(c->o.dns, on_resolved, c);
    c->resolving = false;
}

static void start(struct redis_conn *c)
{
    c->state = REDIS_CONNECTING;
    c->connect_by_ms = clock_mono_ms() + c->o.connect_ms;
    arm_deadline(c);
    if (c->at.kind != ADDR_DNS) {
        connect_to(c, &c->at);
        return;
    }
    c->resolving = c->o.dns && dns_resolve(c->o.dns, c->at.name, on_resolved, c) == 0;
    if (!c->resolving) {
        set_why(c, "cannot look up", "out of memory");
        lost(c, REDIS_DOWN);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct redis_conn *c = arg;
    (void)fd;
    (void)what;
    if (c->state != REDIS_UP && c->state != REDIS_CONNECTING) {
        start(c);
        return;
    }
    if (c->no_password) {
        c->no_password = false;
        lost(c, REDIS_REFUSED);
        return;
    }
    bool waiting = c->state == REDIS_UP || !list_empty(&c->commands);
    c->o.counts->timeouts++;
    redis_conn_drop(
        c, REDIS_DOWN, waiting ? "no answer in time" : "cannot connect: no answer in time");
}

/* ---- life ---- */

struct redis_conn *redis_conn_new(const struct redis_conn_options *o, const char *target)
{
    struct redis_conn *c = mem_zalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->o = *o;
    list_init(&c->commands);
    snprintf(c->target, sizeof(c->target), "%s", target);
    backoff_init(&c->backoff, FIRST_WAIT_MS, LAST_WAIT_MS);
    if (addr_parse(str_c(c->target), false, &c->at, NULL) ||
        event_assign(&c->timer, o->base, -1, 0, on_timer, c)) {
        mem_free(c);
        return NULL;
    }
    start(c);
    return c;
}

void redis_conn_free(struct redis_conn *c)
{
    if (!c)
        return;
    forget_lookup(c);
    c->state = REDIS_DOWN;
    let_go(c);
    event_del(&c->timer);
    mem_free(c);
}

enum redis_state redis_conn_state(const struct redis_conn *c)
{
    return c->state;
}

enum redis_state redis_conn_told(const struct redis_conn *c)
{
    return c->state == REDIS_CONNECTING && c->why[0] ? c->fault : c->state;
}

const char *redis_conn_why(const struct redis_conn *c)
{
    return c->why;
}

const char *redis_conn_target(const struct redis_conn *c)
{
    return c->target;
}
