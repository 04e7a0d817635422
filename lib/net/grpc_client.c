/* A client: one connection, made again and again.
 *
 *   WAITING → on_timer → look_up → on_names → try_next → on_connected → greet → on_secure
 *     → on_fed: the server has spoken → UP → on_up
 *   on_gone, or whatever failed before: try_next while there are addresses, else go_down → WAITING,
 *     on_down
 *
 * It is up when the server has spoken and not earlier: with TLS 1.3 a server's refusal of our
 * certificate comes after the handshake. on_up and on_down run last in a callback of the loop, so
 * that they may free the client. */
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/dns.h"
#include "lib/net/grpc_impl.h"
#include "lib/net/sock.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <sys/random.h>
#include <unistd.h>

#define CLIENT_MAGIC   0x67436c01u
#define ADDRS_MAX      16    /* of a name that are tried */
#define LIVED_MS       10000 /* a connection that was up so long resets the wait */
#define CONNECT_MS     10000 /* defaults */
#define BACKOFF_MS     200
#define BACKOFF_MAX_MS 30000

enum client_state {
    CLIENT_WAITING,
    CLIENT_RESOLVING,
    CLIENT_CONNECTING, /* TCP */
    CLIENT_GREETING,   /* TLS, and until the server's first bytes */
    CLIENT_UP,
};

struct grpc_client {
    uint32_t magic;
    struct event_base *base;
    struct dns *dns; /* borrowed */
    struct grpc_client_options o;
    struct grpc_client_events events;
    void *arg;
    char *target;   /* owned */
    char *tls_name; /* owned; NULL: plain */
    struct addr at; /* of the target; name points into it */
    enum client_state state;
    bool releasing;     /* calls are told their end */
    bool again;         /* asked for meanwhile */
    struct event timer; /* WAITING: the end of it; UP: there is something to write; else:
                         * connect_ms are over */
    struct event connected;
    int fd;             /* CONNECTING; else -1 */
    struct grpc_conn c; /* GREETING and UP */
    uint32_t backoff_ms;
    uint64_t up_ms;
    struct addr addrs[ADDRS_MAX];
    unsigned naddrs, next;
    struct err why; /* of the last failure */
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

/* From half of the wait to all of it: clients that lost one server do not come back as one. */
static uint32_t next_wait(struct grpc_client *c)
{
    uint32_t random = 0, all = c->backoff_ms, half = all / 2;
    c->backoff_ms = all < c->o.backoff_max_ms / 2 ? all * 2 : c->o.backoff_max_ms;
    if (c->again) {
        c->again = false;
        return 0;
    }
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        return all;
    return all - random % (half + 1);
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
    struct err why = c->why;
    drop(c);
    uint32_t wait = next_wait(c);
    set_timer(c, wait);
    c->events.on_down(c, why.text, wait, c->arg);
}

/* ---- the connection ---- */

static void try_next(struct grpc_client *c);

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
    err_set(&c->why, -ECONNABORTED, "%s", why);
    if (c->state == CLIENT_GREETING) {
        drop_conn(c);
        try_next(c);
        return;
    }
    if (clock_mono_ms() - c->up_ms >= LIVED_MS)
        c->backoff_ms = c->o.backoff_ms;
    go_down(c);
}

static const struct grpc_conn_ops conn_ops = {
    .on_secure = on_secure, .on_fed = on_fed, .on_gone = on_gone};

/* Takes fd. */
static int greet(struct grpc_client *c, int fd)
{
    SSL *ssl = c->o.tls ? grpc_tls_open(c->o.tls, c->tls_name, &c->why) : NULL;
    if (c->o.tls && !ssl) {
        close(fd);
        return -ENOMEM;
    }
    if (grpc_conn_init(&c->c, c->base, fd, ssl, &conn_ops, c->o.ping_ms))
        return err_set(&c->why, -ENOMEM, "out of memory");
    c->state = CLIENT_GREETING;
    return 0;
}

/* ---- reaching the server ---- */

static void cannot_connect(struct grpc_client *c, const struct addr *a, int error)
{
    char text[ADDR_TEXT_MAX];
    addr_format(a, text);
    err_set(&c->why, error, "cannot connect to '%s': %s", text, strerror(-error));
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct grpc_client *c = client_of(arg);
    (void)what;
    int error = sock_error(fd);
    c->fd = -1;
    c->state = CLIENT_WAITING;
    if (error) {
        close(fd);
        cannot_connect(c, &c->addrs[c->next - 1], error);
        try_next(c);
    } else if (greet(c, fd)) {
        try_next(c);
    }
}

static int refuse_plain(const struct addr *a, const struct grpc_client_options *o, struct err *e)
{
    char text[ADDR_TEXT_MAX];
    if (o->tls || o->insecure || addr_is_loopback(a))
        return 0;
    addr_format(a, text);
    return err_set(e, -EPERM,
        "refused to connect to '%s' without TLS: give certificates, or say insecure", text);
}

static int start_connect(struct grpc_client *c, const struct addr *a)
{
    bool pending;
    if (refuse_plain(a, &c->o, &c->why))
        return -EPERM;
    int fd = sock_connect(a, &pending);
    if (fd < 0) {
        cannot_connect(c, a, fd);
        return fd;
    }
    /* A socket that is connected already is writable at once. */
    event_assign(&c->connected, c->base, fd, EV_WRITE, on_connected, c);
    if (event_add(&c->connected, NULL)) {
        close(fd);
        return err_set(&c->why, -ENOMEM, "out of memory");
    }
    c->fd = fd;
    c->state = CLIENT_CONNECTING;
    return 0;
}

/* Runs last in whatever calls it. */
static void try_next(struct grpc_client *c)
{
    while (c->next < c->naddrs) {
        if (start_connect(c, &c->addrs[c->next++]) == 0)
            return;
    }
    go_down(c);
}

static void on_names(void *arg, const struct dns_answer *a)
{
    struct grpc_client *c = client_of(arg);
    c->state = CLIENT_WAITING;
    if (a->error)
        err_set(&c->why, a->error, "%s", a->text);
    for (c->naddrs = 0; c->naddrs < a->naddrs && c->naddrs < ADDRS_MAX; c->naddrs++) {
        c->addrs[c->naddrs] = a->addrs[c->naddrs];
        c->addrs[c->naddrs].port = c->at.port;
    }
    try_next(c);
}

static void attempt(struct grpc_client *c)
{
    set_timer(c, c->o.connect_ms);
    c->next = c->naddrs = 0;
    if (c->at.kind != ADDR_DNS) {
        c->addrs[c->naddrs++] = c->at;
        try_next(c);
    } else if (dns_resolve(c->dns, c->at.name, on_names, c)) {
        err_set(&c->why, -ENOMEM, "out of memory");
        go_down(c);
    } else {
        c->state = CLIENT_RESOLVING;
    }
}

static void drop(struct grpc_client *c)
{
    event_del(&c->timer);
    if (c->state == CLIENT_RESOLVING)
        dns_forget(c->dns, on_names, c);
    if (c->state == CLIENT_CONNECTING) {
        event_del(&c->connected);
        close(c->fd);
        c->fd = -1;
    }
    if (c->state == CLIENT_GREETING || c->state == CLIENT_UP)
        drop_conn(c);
    c->state = CLIENT_WAITING;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    static const char *const waited_for[] = {[CLIENT_RESOLVING] = "the name's address",
        [CLIENT_CONNECTING] = "the connection",
        [CLIENT_GREETING] = "the server's first bytes"};
    struct grpc_client *c = client_of(arg);
    (void)fd;
    (void)what;
    if (c->state == CLIENT_WAITING) {
        attempt(c);
    } else if (c->state == CLIENT_UP) {
        grpc_conn_pump(&c->c);
    } else {
        err_set(&c->why, -ETIMEDOUT, "waited %u ms for %s of '%s'", c->o.connect_ms,
            waited_for[c->state], c->target);
        go_down(c);
    }
}

/* ---- the client ---- */

static int check(const struct grpc_client *c, struct err *e)
{
    const struct addr *a = &c->at;
    if (a->kind == ADDR_TUNNEL)
        return err_set(e, -EINVAL, "a gRPC server cannot be reached by '%s'", c->target);
    if (a->kind == ADDR_DNS && !c->dns)
        return err_set(e, -EINVAL, "a gRPC server's name needs a resolver: '%s'", c->target);
    if (c->o.tls && a->kind == ADDR_UNIX && !c->o.tls_name)
        return err_set(e, -EINVAL, "TLS over '%s' needs the name to expect", c->target);
    return a->kind == ADDR_DNS ? 0 : refuse_plain(a, &c->o, e);
}

/* The name that the certificate must have: as told, or the host. */
static int set_tls_name(struct grpc_client *c)
{
    char text[ADDR_TEXT_MAX];
    if (!c->o.tls)
        return 0;
    struct str name = str_c(c->o.tls_name);
    if (!c->o.tls_name && c->at.kind == ADDR_DNS) {
        name = c->at.name;
    } else if (!c->o.tls_name) {
        size_t n = addr_format(&c->at, text);
        while (text[n] != ':')
            n--;
        name = c->at.kind == ADDR_IP6 ? str_of(text + 1, n - 2) : str_of(text, n);
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
    if (o->backoff_max_ms < o->backoff_ms)
        o->backoff_max_ms = o->backoff_ms;
}

static int set_up(struct grpc_client *c, const char *target, struct err *e)
{
    c->target = mem_dup(target, strlen(target));
    if (!c->target)
        return err_set(e, -ENOMEM, "out of memory for a gRPC client");
    int rc = addr_parse(str_c(c->target), false, &c->at, e);
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
    c->dns = dns;
    c->o = *o;
    c->events = *events;
    c->arg = arg;
    c->fd = -1;
    set_defaults(&c->o);
    c->backoff_ms = c->o.backoff_ms;
    evtimer_assign(&c->timer, base, on_timer, c);
    if (set_up(c, target, e)) {
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
    mem_free(c->target);
    mem_free(c->tls_name);
    c->magic = 0;
    mem_free(c);
}
