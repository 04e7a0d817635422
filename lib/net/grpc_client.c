/* A client: one connection, made again and again.
 *
 *   WAITING → on_timer → reach_start → on_reached → on_secure → on_fed: the server has spoken → UP
 *     → on_up
 *   on_gone, or whatever failed before: reach_next while there are addresses, else go_down →
 *     WAITING, on_down
 *
 * It is up when the server has spoken and not earlier: with TLS 1.3 a server's refusal of our
 * certificate comes after the handshake. on_up and on_down run last in a callback of the loop, so
 * that they may free the client. */
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/grpc_impl.h"
#include "lib/net/reach.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

#define CLIENT_MAGIC   0x67436c01u
#define LIVED_MS       10000 /* a connection that was up so long resets the wait */
#define CONNECT_MS     10000 /* defaults */
#define BACKOFF_MS     200
#define BACKOFF_MAX_MS 30000

enum client_state {
    CLIENT_WAITING,
    CLIENT_REACHING, /* its name, TCP */
    CLIENT_GREETING, /* TLS, and until the server's first bytes */
    CLIENT_UP,
};

struct grpc_client {
    uint32_t magic;
    struct event_base *base;
    struct grpc_client_options o;
    struct grpc_client_events events;
    void *arg;
    char *tls_name; /* owned; NULL: plain */
    struct reach reach;
    struct backoff backoff;
    enum client_state state;
    bool releasing;     /* calls are told their end */
    bool again;         /* asked for meanwhile */
    struct event timer; /* WAITING: the end of it; UP: there is something to write; else:
                         * connect_ms are over */
    struct grpc_conn c; /* GREETING and UP */
    uint64_t up_ms;
};

static struct grpc_client *client_of(void *arg)
{
    struct grpc_client *c = arg;
    assert(c->magic == CLIENT_MAGIC);
    return c;
}

static struct grpc_client *client_of_conn(struct grpc_conn *c)
{
    return client_of(list_entry(c, struct grpc_client, c));
}

/* ---- calls ---- */

static void on_message(struct grpc_stream *st, struct str message, void *arg)
{
    const struct grpc_client *c = client_of(arg);
    c->events.call.on_message(st, message, c->arg);
}

static void on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    const struct grpc_client *c = client_of(arg);
    c->events.call.on_end(st, status, text, c->arg);
}

static void on_drained(struct grpc_stream *st, void *arg)
{
    const struct grpc_client *c = client_of(arg);
    if (c->events.call.on_drained)
        c->events.call.on_drained(st, c->arg);
}

static const struct grpc_events session_events = {
    .on_message = on_message, .on_end = on_end, .on_drained = on_drained};

/* ---- down, and the wait ---- */

static void set_timer(struct grpc_client *c, uint32_t ms)
{
    struct timeval tv = clock_timeval(ms);
    event_add(&c->timer, &tv);
}

static uint32_t next_wait(struct grpc_client *c)
{
    uint32_t wait = backoff_next(&c->backoff);
    if (!c->again)
        return wait;
    c->again = false;
    return 0;
}

static void drop_conn(struct grpc_client *c)
{
    c->state = CLIENT_WAITING; /* no new calls in on_end */
    c->releasing = true;
    grpc_conn_release(&c->c);
    c->releasing = false;
}

/* Lets go of all that an attempt or a connection had. */
static void drop(struct grpc_client *c);

/* Runs last in whatever calls it: on_down may free c. */
static void go_down(struct grpc_client *c)
{
    struct err why = c->reach.why;
    drop(c);
    uint32_t wait = next_wait(c);
    set_timer(c, wait);
    c->events.on_down(c, why.text, wait, c->arg);
}

/* ---- the connection ---- */

static struct grpc_session *on_secure(struct grpc_conn *conn, struct err *e)
{
    struct grpc_client *c = client_of_conn(conn);
    struct grpc_session *session = grpc_session_new(false, &c->o.limits, &session_events, c);
    if (!session)
        err_set(e, -ENOMEM, "out of memory");
    return session;
}

static void on_fed(struct grpc_conn *conn)
{
    struct grpc_client *c = client_of_conn(conn);
    if (c->state != CLIENT_GREETING)
        return;
    c->state = CLIENT_UP;
    c->up_ms = clock_mono_ms();
    event_del(&c->timer);
    event_active(&c->timer, EV_TIMEOUT, 1); /* writes what on_up sends */
    c->events.on_up(c, c->arg);
}

static void on_gone(struct grpc_conn *conn, enum grpc_gone how, const char *why)
{
    struct grpc_client *c = client_of_conn(conn);
    (void)how;
    err_set(&c->reach.why, -ECONNABORTED, "%s", why);
    if (c->state == CLIENT_GREETING) {
        drop_conn(c);
        c->state = CLIENT_REACHING;
        reach_next(&c->reach);
        return;
    }
    if (clock_mono_ms() - c->up_ms >= LIVED_MS)
        backoff_reset(&c->backoff);
    go_down(c);
}

static const struct grpc_conn_ops conn_ops = {
    .on_secure = on_secure, .on_fed = on_fed, .on_gone = on_gone};

/* ---- reaching the server ---- */

static int on_reached(void *arg, int fd, struct err *e)
{
    struct grpc_client *c = client_of(arg);
    SSL *ssl = c->o.tls ? grpc_tls_open(c->o.tls, c->tls_name, e) : NULL;
    if (c->o.tls && !ssl) {
        close(fd);
        return -ENOMEM;
    }
    if (grpc_conn_init(&c->c, c->base, fd, ssl, &conn_ops, c->o.ping_ms))
        return err_set(e, -ENOMEM, "out of memory");
    c->state = CLIENT_GREETING;
    return 0;
}

static int refuse_plain(void *arg, const struct addr *a, struct err *e)
{
    const struct grpc_client *c = client_of(arg);
    char text[ADDR_TEXT_MAX];
    if (c->o.tls || c->o.insecure || addr_is_loopback(a))
        return 0;
    addr_format(a, text);
    return err_set(e, -EPERM,
        "refused to connect to '%s' without TLS: give certificates, or say insecure", text);
}

static void on_failed(void *arg)
{
    go_down(client_of(arg));
}

static const struct reach_events reach_events = {
    .may = refuse_plain, .reached = on_reached, .failed = on_failed};

static void attempt(struct grpc_client *c)
{
    set_timer(c, c->o.connect_ms);
    c->state = CLIENT_REACHING;
    reach_start(&c->reach);
}

static void drop(struct grpc_client *c)
{
    event_del(&c->timer);
    reach_stop(&c->reach);
    if (c->state == CLIENT_GREETING || c->state == CLIENT_UP)
        drop_conn(c);
    c->state = CLIENT_WAITING;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct grpc_client *c = client_of(arg);
    (void)fd;
    (void)what;
    if (c->state == CLIENT_WAITING) {
        attempt(c);
    } else if (c->state == CLIENT_UP) {
        grpc_conn_pump(&c->c);
    } else {
        err_set(&c->reach.why, -ETIMEDOUT, "waited %u ms for %s of '%s'", c->o.connect_ms,
            c->state == CLIENT_GREETING ? "the server's first bytes" : reach_waits_for(&c->reach),
            c->reach.target);
        go_down(c);
    }
}

/* ---- the client ---- */

static int check(struct grpc_client *c, struct err *e)
{
    const struct addr *a = &c->reach.at;
    if (c->o.tls && a->kind == ADDR_UNIX && !c->o.tls_name)
        return err_set(e, -EINVAL, "TLS over '%s' needs the name to expect", c->reach.target);
    return a->kind == ADDR_DNS ? 0 : refuse_plain(c, a, e);
}

/* The name that the certificate must have: as told, or the host. */
static int set_tls_name(struct grpc_client *c)
{
    char text[ADDR_TEXT_MAX];
    if (!c->o.tls)
        return 0;
    struct str name = str_c(c->o.tls_name);
    if (!c->o.tls_name && c->reach.at.kind == ADDR_DNS) {
        name = c->reach.at.name;
    } else if (!c->o.tls_name) {
        size_t n = addr_format(&c->reach.at, text);
        while (text[n] != ':')
            n--;
        name = c->reach.at.kind == ADDR_IP6 ? str_of(text + 1, n - 2) : str_of(text, n);
    }
    c->tls_name = mem_dup(name.p, name.n);
    return c->tls_name ? 0 : -ENOMEM;
}

static void set_defaults(struct grpc_client_options *o)
{
    static const struct grpc_limits limits = GRPC_LIMITS_DEFAULT;
    if (o->limits.message_bytes == 0)
        o->limits = limits;
    if (o->connect_ms == 0)
        o->connect_ms = CONNECT_MS;
    if (o->backoff_ms == 0)
        o->backoff_ms = BACKOFF_MS;
    if (o->backoff_max_ms == 0)
        o->backoff_max_ms = BACKOFF_MAX_MS;
}

static int set_up(struct grpc_client *c, struct dns *dns, const char *target, struct err *e)
{
    int rc = reach_init(&c->reach, c->base, dns, target, "a gRPC server", &reach_events, c, e);
    if (!rc)
        rc = check(c, e);
    if (!rc && set_tls_name(c))
        rc = err_set(e, -ENOMEM, "out of memory for a gRPC client");
    return rc;
}

struct grpc_client *grpc_client_new(struct event_base *base, struct dns *dns, const char *target,
    const struct grpc_client_options *o, const struct grpc_client_events *events, void *arg,
    struct err *e)
{
    struct grpc_client *c = mem_zalloc(sizeof(*c));
    if (!c) {
        err_set(e, -ENOMEM, "out of memory for a gRPC client");
        return NULL;
    }
    assert(!o->tls || !grpc_tls_is_server(o->tls));
    c->magic = CLIENT_MAGIC;
    c->base = base;
    c->o = *o;
    c->events = *events;
    c->arg = arg;
    set_defaults(&c->o);
    backoff_init(&c->backoff, c->o.backoff_ms, c->o.backoff_max_ms);
    evtimer_assign(&c->timer, base, on_timer, c);
    if (set_up(c, dns, target, e)) {
        grpc_client_free(c);
        return NULL;
    }
    c->o.tls_name = c->tls_name;
    set_timer(c, 0);
    return c;
}

struct grpc_session *grpc_client_session(struct grpc_client *c)
{
    return c->state == CLIENT_UP && !c->c.gone && !c->c.ending ? c->c.session : NULL;
}

void grpc_client_again(struct grpc_client *c)
{
    assert(c->magic == CLIENT_MAGIC);
    if (c->releasing)
        c->again = true;
    else if (c->state == CLIENT_WAITING)
        set_timer(c, 0);
    else if (c->state == CLIENT_UP)
        grpc_conn_fail(&c->c, GRPC_GONE_CLOSED, "closed to connect anew");
}

void grpc_client_flush(struct grpc_client *c)
{
    assert(c->magic == CLIENT_MAGIC);
    if (c->state == CLIENT_UP)
        grpc_conn_pump(&c->c);
}

void grpc_client_free(struct grpc_client *c)
{
    if (!c)
        return;
    assert(c->magic == CLIENT_MAGIC && !c->releasing);
    drop(c);
    reach_release(&c->reach);
    mem_free(c->tls_name);
    c->magic = 0;
    mem_free(c);
}
