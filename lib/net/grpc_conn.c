/* One connection of either end.
 *
 *   bufferevent → on_read → grpc_session_feed → grpc_conn_pump → ops->on_fed
 *   grpc_conn_pump: grpc_session_produce → bufferevent, up to OUT_HIGH; on_write goes on at OUT_LOW
 *   on_timer: what is due of { on_gone, the deadline, a PING, no answer to it }
 *
 * An end is noted by grpc_conn_fail and told from the timer: whoever sends on a call never finds
 * his connection gone when the function returns. */
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/grpc_impl.h"
#include "lib/net/tls.h"
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <unistd.h>

#define CONN_MAGIC 0x67436e01u
#define OUT_HIGH   (64u << 10) /* bytes: no more is made for a peer that does not read */
#define OUT_LOW    (16u << 10)
#define LINGER_MS  1000u /* for the last bytes of a connection that ends */

static struct grpc_conn *conn_of(void *arg)
{
    struct grpc_conn *c = arg;
    assert(c->magic == CONN_MAGIC);
    return c;
}

/* ---- its end, deadlines, pings --------------------------------------------------------------- */

void grpc_conn_fail(struct grpc_conn *c, enum grpc_gone how, const char *fmt, ...)
{
    char text[sizeof(c->why.text)];
    va_list ap;
    if (c->gone)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->gone = how;
    err_set(&c->why, -ECONNABORTED, "%s", text);
    bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    event_active(&c->timer, EV_TIMEOUT, 1);
}

/* Of the clock; 0: nothing is to come. */
static uint64_t ping_due(const struct grpc_conn *c)
{
    if (!c->ping_ms || !c->session || c->ending)
        return 0;
    return (c->pinged ? c->pinged_ms : c->heard_ms) + c->ping_ms;
}

static void arm(struct grpc_conn *c)
{
    uint64_t due = ping_due(c), now = clock_mono_ms();
    if (c->gone)
        return; /* active already */
    if (c->deadline_ms && (!due || c->deadline_ms < due))
        due = c->deadline_ms;
    if (!due) {
        event_del(&c->timer);
        return;
    }
    uint64_t wait = due > now ? due - now : 0;
    struct timeval tv = clock_timeval(wait);
    if (event_add(&c->timer, &tv))
        grpc_conn_fail(c, GRPC_GONE_CLOSED, "out of memory");
}

void grpc_conn_deadline(struct grpc_conn *c, uint32_t ms, const char *late)
{
    c->deadline_ms = ms ? clock_mono_ms() + ms : 0;
    c->late = late;
    arm(c);
}

static void ping(struct grpc_conn *c, uint64_t now)
{
    if (c->pinged) {
        grpc_conn_fail(c, GRPC_GONE_LATE, "no answer to a ping within %u ms", c->ping_ms);
        return;
    }
    c->pinged = true;
    c->pinged_ms = now;
    grpc_session_ping(c->session);
    grpc_conn_pump(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct grpc_conn *c = conn_of(arg);
    uint64_t now = clock_mono_ms(), due = ping_due(c);
    (void)fd;
    (void)what;
    if (c->gone) {
        c->ops->on_gone(c, c->gone, c->why.text);
        return;
    }
    if (c->deadline_ms && now >= c->deadline_ms)
        grpc_conn_fail(c, c->ending ? GRPC_GONE_CLOSED : GRPC_GONE_LATE, "%s", c->late);
    else if (due && now >= due)
        ping(c, now);
    arm(c);
}

/* ---- bytes ---- */

/* No more is read; closes when all is written, or soon. */
static void end(struct grpc_conn *c, const char *why)
{
    if (!c->ending) {
        c->ending = true;
        err_set(&c->why, -ECONNABORTED, "%s", why);
        bufferevent_disable(c->bev, EV_READ);
        bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
        grpc_conn_deadline(c, LINGER_MS, c->why.text);
    }
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
        grpc_conn_fail(c, GRPC_GONE_CLOSED, "%s", c->why.text);
}

void grpc_conn_pump(struct grpc_conn *c)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    if (c->busy || c->gone || !c->session)
        return;
    while (evbuffer_get_length(out) < OUT_HIGH) {
        const uint8_t *p;
        c->busy = true;
        ssize_t n = grpc_session_produce(c->session, &p);
        c->busy = false;
        if (n == 0)
            break;
        if (n < 0 || evbuffer_add(out, p, (size_t)n)) {
            grpc_conn_fail(c, GRPC_GONE_CLOSED, "out of memory");
            return;
        }
    }
    if (c->ending || grpc_session_done(c->session))
        end(c, "the session has ended");
}

static void feed(struct grpc_conn *c, struct evbuffer *in)
{
    struct evbuffer_iovec part;
    struct err e = {0};
    if (evbuffer_peek(in, -1, NULL, &part, 1) < 1)
        return;
    c->busy = true;
    int rc = grpc_session_feed(c->session, str_of(part.iov_base, part.iov_len), &e);
    c->busy = false;
    evbuffer_drain(in, part.iov_len);
    if (rc == -EPROTO) {
        grpc_conn_pump(c); /* says GOAWAY */
        end(c, e.text);
    } else if (rc) {
        grpc_conn_fail(c, GRPC_GONE_CLOSED, "%s", e.text);
    }
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct grpc_conn *c = conn_of(arg);
    struct evbuffer *in = bufferevent_get_input(bev);
    c->heard_ms = clock_mono_ms();
    c->pinged = false;
    while (c->session && !c->gone && !c->ending && evbuffer_get_length(in))
        feed(c, in);
    grpc_conn_pump(c);
    if (!c->gone && !c->ending)
        c->ops->on_fed(c);
}

static void on_write(struct bufferevent *bev, void *arg)
{
    (void)bev;
    grpc_conn_pump(conn_of(arg));
}

static void become_secure(struct grpc_conn *c)
{
    struct err e = {0};
    if (c->ssl && !tls_speaks_h2(c->ssl)) {
        grpc_conn_fail(c, GRPC_GONE_TLS, "the peer does not offer HTTP/2 in TLS (ALPN 'h2')");
        return;
    }
    c->secure = true;
    c->session = c->ops->on_secure(c, &e);
    if (!c->session) {
        grpc_conn_fail(c, GRPC_GONE_CLOSED, "%s", e.text);
        return;
    }
    c->heard_ms = clock_mono_ms();
    grpc_conn_pump(c);
    arm(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct grpc_conn *c = conn_of(arg);
    int error = EVUTIL_SOCKET_ERROR();
    struct err e = {0};
    if (what & BEV_EVENT_CONNECTED) {
        become_secure(c);
        return;
    }
    enum grpc_gone how = c->secure ? GRPC_GONE_CLOSED : GRPC_GONE_TLS;
    if (c->ending)
        grpc_conn_fail(c, how, "%s", c->why.text);
    unsigned long code = c->ssl ? bufferevent_get_openssl_error(bev) : 0;
    if (code || !c->secure) {
        grpc_tls_why(c->ssl, code, &e);
        grpc_conn_fail(c, how, "%s", e.text);
    } else if (what & BEV_EVENT_EOF) {
        grpc_conn_fail(c, how, "the peer closed the connection");
    } else {
        grpc_conn_fail(c, how, "the connection broke: %s",
            error ? evutil_socket_error_to_string(error) : "no reason given");
    }
}

/* ---- life ---- */

/* Takes both. */
static struct bufferevent *make_bev(struct event_base *base, int fd, SSL *ssl)
{
    /* Deferred: no callback runs inside a function of ours that wrote. */
    int options = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
    enum bufferevent_ssl_state state = BUFFEREVENT_SSL_OPEN;
    if (ssl)
        state = SSL_is_server(ssl) ? BUFFEREVENT_SSL_ACCEPTING : BUFFEREVENT_SSL_CONNECTING;
    struct bufferevent *bev = ssl ? bufferevent_openssl_socket_new(base, fd, ssl, state, options)
                                  : bufferevent_socket_new(base, fd, options);
    if (!bev) {
        SSL_free(ssl);
        close(fd);
    } else if (ssl) {
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    }
    return bev;
}

int grpc_conn_init(struct grpc_conn *c, struct event_base *base, int fd, SSL *ssl,
    const struct grpc_conn_ops *ops, uint32_t ping_ms)
{
    struct bufferevent *bev = make_bev(base, fd, ssl);
    if (!bev)
        return -ENOMEM;
    *c = (struct grpc_conn){
        .magic = CONN_MAGIC, .ops = ops, .bev = bev, .ssl = ssl, .ping_ms = ping_ms};
    evtimer_assign(&c->timer, base, on_timer, c);
    bufferevent_setcb(bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(bev, EV_WRITE, OUT_LOW, 0);
    if (bufferevent_enable(bev, EV_READ | EV_WRITE)) {
        bufferevent_free(bev);
        c->magic = 0;
        return -ENOMEM;
    }
    if (!ssl) /* from the loop, as with TLS */
        bufferevent_trigger_event(bev, BEV_EVENT_CONNECTED, BEV_TRIG_DEFER_CALLBACKS);
    return 0;
}

void grpc_conn_release(struct grpc_conn *c)
{
    assert(c->magic == CONN_MAGIC && !c->busy);
    c->busy = true; /* what calls send while they end goes nowhere */
    grpc_session_free(c->session);
    c->session = NULL;
    event_del(&c->timer);
    if (c->ssl && c->secure) {
        SSL_shutdown(c->ssl); /* says so, and does not wait */
        ERR_clear_error();
    }
    bufferevent_free(c->bev);
    c->magic = 0;
}
