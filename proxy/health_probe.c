/* One check's connection: connect → (TLS) → exchange → done, within one deadline. */
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/sock.h"
#include "lib/net/tls.h"
#include "proxy/health_impl.h"
#include "proxy/tls.h"
#include <assert.h>
#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct health_probe *from_arg(void *arg)
{
    struct health_probe *p = arg;
    assert(p->magic == HEALTH_PROBE_MAGIC);
    return p;
}

/* ---- the end ---- */

void health_probe_free(struct health_probe *p)
{
    if (!p)
        return;
    health_grpc_free(p);
    health_h2_free(p);
    if (p->bev) {
        if (p->ssl) { /* no close_notify is owed: the socket is closed next */
            SSL_set_shutdown(p->ssl, SSL_RECEIVED_SHUTDOWN);
            SSL_shutdown(p->ssl);
        }
        bufferevent_free(p->bev);
    }
    if (p->connecting)
        event_free(p->connecting);
    if (p->deadline)
        event_free(p->deadline);
    if (p->fd >= 0)
        close(p->fd);
    mem_free((void *)(uintptr_t)p->addr.name.p);
    p->magic = 0;
    mem_free(p);
}

static void tell(struct health_probe *p, const char *error)
{
    health_done_fn *done = p->done;
    void *arg = p->arg;
    health_probe_free(p);
    done(arg, error);
}

void probe_done(struct health_probe *p, const char *fmt, ...)
{
    char error[ENDPOINT_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error, sizeof error, fmt, ap);
    va_end(ap);
    for (char *c = error; *c; c++) /* it goes into lines of the log and of /providers */
        if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
            *c = '?';
    tell(p, error);
}

void probe_well(struct health_probe *p)
{
    tell(p, "");
}

void probe_status(struct health_probe *p, unsigned status)
{
    const struct health_policy *want = &p->spec->policy;
    if (status >= want->status_min && status <= want->status_max)
        probe_well(p);
    else
        probe_done(p, "answered %u", status);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    static const char *const words[] = {
        "connect: timed out", "TLS: timed out", "no answer in time"};
    struct health_probe *p = from_arg(arg);
    (void)fd;
    (void)what;
    probe_done(p, "%s", p->early[0] ? p->early : words[p->state]);
}

/* ---- exchange ---- */

static void begin(struct health_probe *p)
{
    p->state = PROBE_EXCHANGE;
    if (p->spec->policy.kind == HEALTH_TCP)
        probe_well(p);
    else if (p->spec->policy.kind == HEALTH_GRPC)
        health_grpc_begin(p);
    else if (p->spec->http2)
        health_h2_begin(p);
    else
        health_http_begin(p);
}

static void input(struct health_probe *p, bool closed)
{
    if (p->spec->policy.kind == HEALTH_GRPC)
        health_grpc_input(p, closed);
    else if (p->spec->http2)
        health_h2_input(p, closed);
    else
        health_http_input(p, closed);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct health_probe *p = from_arg(arg);
    (void)bev;
    if (p->state == PROBE_EXCHANGE)
        input(p, false);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct health_probe *p = from_arg(arg);
    if (what & BEV_EVENT_CONNECTED) {
        begin(p);
    } else if (p->state == PROBE_EXCHANGE && (what & BEV_EVENT_EOF)) {
        input(p, true);
    } else if (p->ssl && p->state == PROBE_HANDSHAKE) {
        struct err e = {0};
        enum tls_failure why = tls_why(p->ssl, bufferevent_get_openssl_error(bev), &e);
        probe_done(p, "TLS: %s", e.text[0] ? e.text : tls_failure_word(why));
    } else {
        probe_done(p, "%s", strerror(EVUTIL_SOCKET_ERROR()));
    }
}

/* ---- connection ---- */

static const char *tls_name(const struct health_probe *p, char out[ADDR_TEXT_MAX])
{
    const struct health_spec *s = p->spec;
    struct str name = s->tls.name.n ? s->tls.name : s->host;
    if (!s->tls.name.n) { /* without its port */
        size_t n = name.n;
        while (n > 0 && name.p[n - 1] != ':')
            n--;
        name.n = n ? n - 1 : name.n;
        if (name.n > 2 && name.p[0] == '[')
            name = str_of(name.p + 1, name.n - 2);
    }
    snprintf(out, ADDR_TEXT_MAX, "%.*s", STR_ARG(name));
    return out;
}

static int encrypt(struct health_probe *p, struct err *e)
{
    char name[ADDR_TEXT_MAX];
    const struct health_spec *s = p->spec;
    struct tls_client *c = health_tls(p->h, s->tls.ca, e);
    if (!c)
        return e->code;
    bool h2 = s->policy.kind == HEALTH_GRPC || (s->policy.kind == HEALTH_HTTP && s->http2);
    SSL *ssl = tls_client_open(c, tls_name(p, name), s->tls.insecure, h2);
    if (!ssl)
        return err_set(e, -ENOMEM, "out of memory");
    p->bev = bufferevent_openssl_socket_new(
        p->h->o.base, p->fd, ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    if (!p->bev) {
        SSL_free(ssl);
        return err_set(e, -ENOMEM, "out of memory");
    }
    bufferevent_openssl_set_allow_dirty_shutdown(p->bev, 1);
    p->ssl = ssl;
    p->state = PROBE_HANDSHAKE;
    return 0;
}

static int wrap(struct health_probe *p, struct err *e)
{
    int rc = 0;
    if (p->spec->tls.on)
        rc = encrypt(p, e);
    else
        p->bev = bufferevent_socket_new(p->h->o.base, p->fd, BEV_OPT_CLOSE_ON_FREE);
    if (!p->bev)
        return rc ? rc : err_set(e, -ENOMEM, "out of memory");
    p->fd = -1;
    bufferevent_setcb(p->bev, on_read, NULL, on_event, p);
    bufferevent_setwatermark(p->bev, EV_READ, 0, 2 * HEALTH_REPLY_MAX);
    if (bufferevent_enable(p->bev, EV_READ | EV_WRITE) != 0)
        return err_set(e, -ENOMEM, "out of memory");
    return 0;
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct health_probe *p = from_arg(arg);
    struct err e = {0};
    (void)what;
    int rc = sock_error(fd);
    event_free(p->connecting);
    p->connecting = NULL;
    if (rc != 0)
        probe_done(p, "connect: %s", strerror(-rc));
    else if (p->spec->policy.kind == HEALTH_TCP && !p->spec->tls.on)
        probe_well(p);
    else if (wrap(p, &e) != 0)
        probe_done(p, "%s", e.text);
    else if (!p->ssl)
        begin(p);
}

/* Told by the deadline, so that nobody is called from within health_probe_new. */
static int fail_soon(struct health_probe *p, const char *what, const char *why)
{
    struct timeval now = {0};
    snprintf(p->early, sizeof p->early, "%s: %s", what, why);
    return event_add(p->deadline, &now);
}

static int start(struct health_probe *p)
{
    const struct health *h = p->h;
    const char *why = NULL;
    bool pending;
    uint32_t ms = p->spec->policy.timeout_ms;
    struct timeval tv = clock_timeval(ms);
    p->deadline = evtimer_new(h->o.base, on_deadline, p);
    if (!p->deadline)
        return -ENOMEM;
    if (h->o.rules && !endpoint_allowed(h->o.rules, &p->addr, &why))
        return fail_soon(p, "the endpoint rules forbid it", why);
    p->fd = sock_connect(&p->addr, &pending);
    if (p->fd < 0)
        return fail_soon(p, "connect", strerror(-p->fd));
    p->connecting = event_new(h->o.base, p->fd, EV_WRITE, on_connected, p);
    if (!p->connecting || event_add(p->connecting, NULL) != 0)
        return -ENOMEM;
    return event_add(p->deadline, &tv);
}

struct health_probe *health_probe_new(struct health *h, const struct health_spec *spec,
    const struct addr *a, health_done_fn *done, void *arg)
{
    struct health_probe *p = mem_zalloc(sizeof *p);
    char *name = p && a->name.n ? mem_dup(a->name.p, a->name.n) : NULL;
    if (!p || (a->name.n && !name)) {
        mem_free(p);
        return NULL;
    }
    *p = (struct health_probe){.magic = HEALTH_PROBE_MAGIC,
        .h = h,
        .spec = spec,
        .addr = *a,
        .done = done,
        .arg = arg,
        .fd = -1};
    p->addr.name = (struct str){name, a->name.n};
    if (start(p) == 0)
        return p;
    health_probe_free(p);
    return NULL;
}

/* ---- TLS contexts ---- */

struct tls_client *health_tls(struct health *h, struct str ca, struct err *e)
{
    const struct settings *set = h->o.set;
    struct tls_rules rules;
    for (unsigned i = 0; i < h->ncontexts; i++) {
        const struct health_context *c = &h->context[i];
        if (str_eq(ca, str_c(c->ca ? c->ca : "")))
            return c->client;
    }
    if (h->ncontexts == HEALTH_CONTEXTS) {
        err_set(e, -ENOBUFS, "too many different files of certificates");
        return NULL;
    }
    if (!set) {
        err_set(e, -ENOTSUP, "TLS is not set up");
        return NULL;
    }
    char *path = ca.n ? mem_dup(ca.p, ca.n) : NULL;
    if (ca.n && !path) {
        err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    tls_settings(set, &rules);
    struct tls_client *client = tls_client_new(path ? path : set->provider_tls_ca,
        set->provider_tls_cert, set->provider_tls_key, &rules, e);
    if (!client) {
        mem_free(path);
        return NULL;
    }
    h->context[h->ncontexts++] = (struct health_context){path, client};
    return client;
}

/* Connections that are up hold what they need. */
void health_reload(struct health *h)
{
    for (unsigned i = 0; i < h->ncontexts; i++) {
        tls_client_free(h->context[i].client);
        mem_free(h->context[i].ca);
    }
    h->ncontexts = 0;
}
