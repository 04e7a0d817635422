/* A server: listeners, connections, and which method a call is of.
 *
 *   on_acceptable → accept_one → grpc_conn_init → on_secure → session → on_call: find_method
 *   a call's events → the method's, by the connection's list of calls
 *   on_gone → conn_free → on_end of every call */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/grpc_impl.h"
#include "lib/net/sock.h"
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVER_MAGIC   0x67537601u
#define PORT_MAGIC     0x67537602u
#define SCONN_MAGIC    0x67537603u
#define BACKLOG        4096 /* of proxies that all come back at once */
#define ACCEPTS_A_TURN 16
#define LOGGED_A_S     10  /* lines about connections */
#define RETRY_MS       100 /* when there are no descriptors */
#define CONNECTIONS    64  /* defaults */
#define HANDSHAKE_MS   10000

struct port {
    uint32_t magic;
    struct list link;
    struct grpc_server *s;
    struct grpc_tls *tls; /* borrowed; NULL: plain */
    int fd;
    struct event acceptable, retry;
    char *path; /* unix: removed at the end if it is still ours */
    dev_t dev;
    ino_t ino;
};

/* A call that was taken. */
struct taken {
    struct list link;
    const struct grpc_stream *st;
    const struct grpc_method *method;
    void *arg; /* of its events */
};

struct server_conn {
    uint32_t magic;
    struct list link;
    struct grpc_conn c;
    struct grpc_server *s;
    struct grpc_peer peer;
    struct list calls;
    bool called; /* the first call came */
};

static struct server_conn *sconn_of(void *arg)
{
    struct server_conn *sc = arg;
    assert(sc->magic == SCONN_MAGIC);
    return sc;
}

static struct server_conn *sconn_of_conn(struct grpc_conn *c)
{
    return sconn_of(list_entry(c, struct server_conn, c));
}

static struct server_conn *sconn_of_stream(const struct grpc_stream *st)
{
    return sconn_of(grpc_session_arg(grpc_stream_session(st)));
}

/* ---- calls ---- */

static const struct grpc_method *find_in(const struct grpc_method *m, size_t n, struct str path)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(str_c(m[i].path), path))
            return &m[i];
    }
    return NULL;
}

static const struct grpc_method *find_method(struct grpc_server *s, struct str path, void **ret_arg)
{
    const struct grpc_method *m = find_in(s->methods, s->nmethods, path);
    *ret_arg = !m ? s : m->arg ? m->arg : s->arg;
    if (!m)
        m = find_in(grpc_health_methods, grpc_nhealth_methods, path);
    if (!m)
        m = find_in(grpc_reflect_methods, grpc_nreflect_methods, path);
    return m;
}

static struct taken *find_call(struct server_conn *sc, const struct grpc_stream *st)
{
    list_for_each (it, &sc->calls) {
        struct taken *t = list_entry(it, struct taken, link);
        if (t->st == st)
            return t;
    }
    assert(!"a call that was not taken");
    return NULL;
}

static unsigned on_call(struct grpc_stream *st, struct str path, const char **ret_text, void *arg)
{
    struct server_conn *sc = sconn_of(arg);
    void *method_arg;
    if (!sc->called) {
        sc->called = true;
        grpc_conn_deadline(&sc->c, 0, NULL);
    }
    sc->s->counts.calls++;
    const struct grpc_method *m = find_method(sc->s, path, &method_arg);
    if (!m) {
        *ret_text = GRPC_UNIMPLEMENTED_TEXT;
        return GRPC_UNIMPLEMENTED;
    }
    struct taken *t = mem_alloc(sizeof(*t));
    if (!t) {
        *ret_text = "out of memory";
        return GRPC_RESOURCE_EXHAUSTED;
    }
    *t = (struct taken){.st = st, .method = m, .arg = method_arg};
    unsigned status =
        m->events->on_call ? m->events->on_call(st, path, ret_text, method_arg) : GRPC_OK;
    if (status == GRPC_OK)
        list_append(&sc->calls, &t->link);
    else
        mem_free(t);
    return status;
}

static void on_message(struct grpc_stream *st, struct str message, void *arg)
{
    const struct taken *t = find_call(sconn_of(arg), st);
    t->method->events->on_message(st, message, t->arg);
}

static void on_half_close(struct grpc_stream *st, void *arg)
{
    const struct taken *t = find_call(sconn_of(arg), st);
    if (t->method->events->on_half_close)
        t->method->events->on_half_close(st, t->arg);
}

static void on_drained(struct grpc_stream *st, void *arg)
{
    const struct taken *t = find_call(sconn_of(arg), st);
    if (t->method->events->on_drained)
        t->method->events->on_drained(st, t->arg);
}

static void on_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct taken *t = find_call(sconn_of(arg), st);
    t->method->events->on_end(st, status, text, t->arg);
    list_remove(&t->link);
    mem_free(t);
}

static const struct grpc_events session_events = {.on_call = on_call,
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_end = on_end,
    .on_drained = on_drained};

const struct grpc_peer *grpc_peer(const struct grpc_stream *st)
{
    return &sconn_of_stream(st)->peer;
}

void grpc_flush(struct grpc_stream *st)
{
    grpc_conn_pump(&sconn_of_stream(st)->c);
}

/* ---- connections ---- */

static void conn_free(struct server_conn *sc)
{
    list_remove(&sc->link);
    sc->s->counts.connections_now--;
    grpc_conn_release(&sc->c);
    grpc_peer_release(&sc->peer);
    assert(list_empty(&sc->calls));
    sc->magic = 0;
    mem_free(sc);
}

static struct grpc_session *on_secure(struct grpc_conn *c, struct err *e)
{
    struct server_conn *sc = sconn_of_conn(c);
    struct grpc_session *session = NULL;
    if (!c->ssl || grpc_peer_learn(&sc->peer, c->ssl) == 0)
        session = grpc_session_new(true, &sc->s->o.limits, &session_events, sc);
    if (!session)
        err_set(e, -ENOMEM, "out of memory");
    return session;
}

static void on_fed(struct grpc_conn *c)
{
    (void)c;
}

/* A peer that comes again and again does not fill the log. */
static void tell(struct grpc_server *s, const struct addr *a, const char *why)
{
    char text[ADDR_TEXT_MAX];
    uint64_t now_s = clock_mono_ms() / 1000;
    if (s->logged_s != now_s) {
        if (s->logged > LOGGED_A_S)
            log_info("grpc: %u more connections failed", s->logged - LOGGED_A_S);
        s->logged_s = now_s;
        s->logged = 0;
    }
    if (++s->logged > LOGGED_A_S)
        return;
    addr_format(a, text);
    log_info("grpc: connection of '%s' failed: %s", text, why);
}

static void on_gone(struct grpc_conn *c, enum grpc_gone how, const char *why)
{
    struct server_conn *sc = sconn_of_conn(c);
    struct grpc_server *s = sc->s;
    if (how == GRPC_GONE_TLS)
        s->counts.handshake_failed++;
    if (how == GRPC_GONE_LATE)
        s->counts.timed_out++;
    if (how == GRPC_GONE_CLOSED)
        log_debug("grpc: a connection ended: %s", why);
    else
        tell(s, &sc->peer.addr, why);
    conn_free(sc);
}

static const struct grpc_conn_ops conn_ops = {
    .on_secure = on_secure, .on_fed = on_fed, .on_gone = on_gone};

/* Takes fd. */
static int conn_new(struct port *p, int fd, const struct addr *peer, struct err *e)
{
    struct grpc_server *s = p->s;
    struct server_conn *sc = mem_zalloc(sizeof(*sc));
    if (!sc) {
        close(fd);
        return err_set(e, -ENOMEM, "out of memory");
    }
    sc->magic = SCONN_MAGIC;
    sc->s = s;
    sc->peer.addr = *peer;
    list_init(&sc->calls);
    SSL *ssl = p->tls ? grpc_tls_open(p->tls, NULL, e) : NULL;
    if (p->tls && !ssl) {
        close(fd);
        mem_free(sc);
        return -ENOMEM;
    }
    if (grpc_conn_init(&sc->c, s->base, fd, ssl, &conn_ops, s->o.ping_ms)) {
        mem_free(sc);
        return err_set(e, -ENOMEM, "out of memory");
    }
    list_append(&s->conns, &sc->link);
    s->counts.connections_now++;
    grpc_conn_deadline(&sc->c, s->o.handshake_ms, "no call came in time");
    return 0;
}

static void take_conn(struct port *p, int fd, const struct addr *peer)
{
    struct grpc_server *s = p->s;
    struct err e = {0};
    s->counts.accepted++;
    if (s->counts.connections_now >= s->o.connections) {
        close(fd);
        s->counts.refused++;
        tell(s, peer, "there are as many as may be");
    } else if (conn_new(p, fd, peer, &e)) {
        s->counts.refused++;
        tell(s, peer, e.text);
    }
}

/* ---- listeners ---- */

static struct port *port_of(void *arg)
{
    struct port *p = arg;
    assert(p->magic == PORT_MAGIC);
    return p;
}

static void on_acceptable(evutil_socket_t listener, short what, void *arg)
{
    struct port *p = port_of(arg);
    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct addr peer;
        int fd = sock_accept(listener, &peer);
        if (fd >= 0) {
            take_conn(p, fd, &peer);
            continue;
        }
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
            static const struct timeval wait = {0, RETRY_MS * 1000};
            event_del(&p->acceptable);
            event_add(&p->retry, &wait);
        }
        return; /* -EAGAIN, or a connection that is gone already */
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct port *p = port_of(arg);
    (void)fd;
    (void)what;
    event_add(&p->acceptable, NULL);
}

static void port_free(struct port *p)
{
    struct stat st;
    list_remove(&p->link);
    event_del(&p->acceptable);
    event_del(&p->retry);
    if (p->path && lstat(p->path, &st) == 0 && st.st_dev == p->dev && st.st_ino == p->ino)
        unlink(p->path);
    close(p->fd);
    mem_free(p->path);
    p->magic = 0;
    mem_free(p);
}

static int remember_path(struct port *p, const struct addr *a)
{
    struct stat st;
    p->path = mem_dup(a->name.p, a->name.n);
    if (!p->path)
        return -ENOMEM;
    if (lstat(p->path, &st) < 0)
        return -errno;
    p->dev = st.st_dev;
    p->ino = st.st_ino;
    return 0;
}

/* Takes fd, which listens. */
static struct port *port_new(struct grpc_server *s, int fd, const struct addr *a)
{
    struct port *p = mem_zalloc(sizeof(*p));
    if (!p) {
        close(fd);
        return NULL;
    }
    p->magic = PORT_MAGIC;
    p->s = s;
    p->fd = fd;
    list_append(&s->ports, &p->link);
    event_assign(&p->acceptable, s->base, fd, EV_READ | EV_PERSIST, on_acceptable, p);
    evtimer_assign(&p->retry, s->base, on_retry, p);
    if ((a->kind == ADDR_UNIX && remember_path(p, a)) || event_add(&p->acceptable, NULL)) {
        port_free(p);
        return NULL;
    }
    return p;
}

int grpc_server_listen(struct grpc_server *s, const struct addr *a, struct grpc_tls *tls,
    bool insecure, struct addr *ret_bound, struct err *e)
{
    char text[ADDR_TEXT_MAX];
    struct addr bound = *a;
    addr_format(a, text);
    assert(s->magic == SERVER_MAGIC && (!tls || grpc_tls_is_server(tls)));
    if (a->kind != ADDR_UNIX && a->kind != ADDR_IP4 && a->kind != ADDR_IP6)
        return err_set(e, -EINVAL, "cannot listen on '%s': neither an IP address nor unix:", text);
    if (!tls && !insecure && !addr_is_loopback(a))
        return err_set(e, -EPERM,
            "refused to listen on '%s' without TLS: give certificates, or say insecure", text);
    int fd = sock_listen(a, false, BACKLOG, 0600, e);
    if (fd < 0)
        return fd;
    int rc = a->kind == ADDR_UNIX ? 0 : sock_name(fd, &bound);
    if (rc) {
        close(fd);
        return err_set(e, rc, "cannot listen on '%s': %s", text, strerror(-rc));
    }
    struct port *p = port_new(s, fd, a);
    if (!p) {
        if (a->kind == ADDR_UNIX) /* text is "unix:" and the path */
            unlink(text + sizeof("unix:") - 1);
        return err_set(e, -ENOMEM, "cannot listen on '%s': out of memory", text);
    }
    p->tls = tls;
    if (ret_bound)
        *ret_bound = bound;
    return 0;
}

/* ---- the server ---- */

struct grpc_server *grpc_server_new(struct event_base *base, const struct grpc_server_options *o,
    const struct grpc_method *methods, size_t n, void *arg, struct err *e)
{
    static const struct grpc_limits limits = GRPC_LIMITS_DEFAULT;
    struct grpc_server *s = mem_zalloc(sizeof(*s));
    if (!s) {
        err_set(e, -ENOMEM, "out of memory for a gRPC server");
        return NULL;
    }
    s->magic = SERVER_MAGIC;
    s->base = base;
    s->o = *o;
    if (s->o.limits.streams == 0)
        s->o.limits = limits;
    if (s->o.connections == 0)
        s->o.connections = CONNECTIONS;
    if (s->o.handshake_ms == 0)
        s->o.handshake_ms = HANDSHAKE_MS;
    s->methods = methods;
    s->nmethods = n;
    s->arg = arg;
    list_init(&s->ports);
    list_init(&s->conns);
    list_init(&s->watches);
    return s;
}

void grpc_server_set_serving(struct grpc_server *s, bool serving)
{
    if (s->serving == serving)
        return;
    s->serving = serving;
    grpc_health_changed(s);
    list_for_each (it, &s->conns)
        grpc_conn_pump(&list_entry(it, struct server_conn, link)->c);
}

struct grpc_server_counts grpc_server_counts(const struct grpc_server *s)
{
    return s->counts;
}

static void close_ports(struct grpc_server *s)
{
    list_for_each (it, &s->ports)
        port_free(port_of(list_entry(it, struct port, link)));
}

void grpc_server_shutdown(struct grpc_server *s)
{
    if (s->shutdown)
        return;
    s->shutdown = true;
    s->serving = false;
    close_ports(s);
    grpc_health_changed(s);
    list_for_each (it, &s->conns) {
        struct server_conn *sc = list_entry(it, struct server_conn, link);
        if (sc->c.session) {
            grpc_session_shutdown(sc->c.session);
            grpc_conn_pump(&sc->c);
        } else {
            grpc_conn_fail(&sc->c, GRPC_GONE_CLOSED, "the server shuts down");
        }
    }
}

void grpc_server_free(struct grpc_server *s)
{
    if (!s)
        return;
    assert(s->magic == SERVER_MAGIC);
    close_ports(s);
    while (!list_empty(&s->conns))
        conn_free(list_entry(s->conns.next, struct server_conn, link));
    s->magic = 0;
    mem_free(s);
}
