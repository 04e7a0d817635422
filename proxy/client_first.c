/* What a connection says before its protocol: a PROXY header; and of one that is relayed without
 * HTTP, the server name in its first bytes. */
#include "lib/graph/edge.h"
#include "lib/wire/clienthello.h"
#include "lib/wire/proxyproto.h"
#include "proxy/client.h"
#include "proxy/ratelimit.h"
#include "proxy/request.h"
#include "proxy/tls.h"
#include "proxy/worker.h"
#include <errno.h>
#include <sys/socket.h>

void client_first_init(struct client *c)
{
    const struct listen_spec *spec = &c->listener->spec;
    struct worker *w = c->conn.w;
    c->local_port = spec->addr.port;
    if (!spec->proxy_protocol && spec->tcp.n == 0)
        return;
    c->phase = spec->proxy_protocol ? CLIENT_PROXY : CLIENT_TCP;
    uint64_t wait =
        spec->proxy_protocol ? w->set->timeout_proxy_header : w->set->timeout_client_hello;
    worker_timer(w, &c->timer, w->now_ms + wait);
    if (c->phase == CLIENT_TCP)
        conn_resume_later(&c->conn); /* the provider may be the one who speaks first */
}

/* ---- PROXY header ---- */

static void header_fails(struct client *c, enum proxyproto_error e, enum client_close why)
{
    counter_inc(&c->conn.w->stats[STAT_PROXY_HEADERS + e]);
    client_close(c, why, false);
}

static void header_done(struct client *c, const struct proxyproto *h)
{
    struct worker *w = c->conn.w;
    counter_inc(&w->stats[STAT_PROXY_HEADERS]);
    if (h->has_addresses) {
        c->peer_kind = h->source.kind;
        c->peer_port = h->source.port;
        memcpy(c->peer_ip, h->source.ip, sizeof c->peer_ip);
        if (h->destination.kind != ADDR_UNIX)
            c->local_port = h->destination.port;
    }
    c->since_ms = w->now_ms;
    c->phase = c->listener->spec.tcp.n ? CLIENT_TCP : CLIENT_NEW;
    worker_timer(w, &c->timer,
        w->now_ms + (c->phase == CLIENT_TCP ? w->set->timeout_client_hello : w->set->timeout_idle));
    if (c->listener->tls)
        client_tls_begin(c);
}

/* Takes the header off the socket, which has it. */
static bool take_header(struct client *c, char *bytes, uint32_t size)
{
    ssize_t n;
    do
        n = recv(c->conn.fd, bytes, size, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

/* The header is looked at where it lies and only then taken, so that what follows it is left for
 * whoever reads it: TLS reads the socket by itself. */
bool client_proxy_header(struct client *c)
{
    char bytes[PROXY_HEADER_BYTES_MAX];
    struct worker *w = c->conn.w;
    struct conn *conn = &c->conn;
    struct proxyproto h;
    enum proxyproto_error e = PROXYPROTO_OK;
    uint32_t limit = (uint32_t)w->set->limit_proxy_header;
    ssize_t n;
    do
        n = recv(conn->fd, bytes, limit, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        conn->readable = false;
        return false;
    }
    if (n <= 0) {
        header_fails(c, PROXYPROTO_E_CUT, n < 0 ? CLIENT_CLOSE_RESET : CLIENT_CLOSE_CLIENT);
        return false;
    }
    switch (proxyproto_read(bytes, (uint32_t)n, limit, &h, &e)) {
    case PROXYPROTO_MORE:
        conn->readable = false;
        if (conn->hup)
            header_fails(c, PROXYPROTO_E_CUT, CLIENT_CLOSE_IN_HEAD);
        return false;
    case PROXYPROTO_ERROR:
        header_fails(c, e, CLIENT_CLOSE_PROXY_HEADER);
        return false;
    case PROXYPROTO_DONE:
        break;
    }
    if (!take_header(c, bytes, h.size)) {
        header_fails(c, PROXYPROTO_E_CUT, CLIENT_CLOSE_RESET);
        return false;
    }
    header_done(c, &h);
    ratelimit_connect(c);
    return conn->open;
}

/* ---- tcp ---- */

static void relay(struct client *c, struct str name)
{
    struct worker *w = c->conn.w;
    c->req = request_new_tcp(c, name);
    if (!c->req) {
        client_close(c, CLIENT_CLOSE_NO_MEMORY, false);
        return;
    }
    c->since_ms = w->now_ms;
    worker_timer(w, &c->timer, w->now_ms + w->set->timeout_idle);
    if (c->refuse)
        c->req->step =
            (uint8_t)request_refuse(c->req, c->limited ? REFUSAL_RATE_LIMITED : REFUSAL_OVERLOAD);
    else if (name.n == 0 && c->listener->spec.sni_required)
        c->req->step = (uint8_t)request_refuse(c->req, REFUSAL_NO_ENVIRONMENT);
    request_run(c->req);
}

/* Nobody asks for the name: there is nothing to wait for. */
static bool name_matters(const struct client *c)
{
    const struct listen_spec *spec = &c->listener->spec;
    const struct gateway *g = c->conn.w->slots.gateway;
    return spec->sni_required || (spec->env.n == 0 && g && gateway_selects_host(g));
}

static void hello_fails(struct client *c, enum clienthello_error e, enum client_close why)
{
    counter_inc(&c->conn.w->stats[STAT_SERVER_NAMES + e]);
    client_close(c, why, false);
}

/* The end of the client's side, or an error. */
static void ended(struct client *c, enum io io)
{
    if (io == IO_NO_MEMORY)
        client_close(c, CLIENT_CLOSE_NO_MEMORY, false);
    else if (io == IO_ERROR)
        client_close(c, CLIENT_CLOSE_RESET, false);
    else if (buf_len(&c->conn.in) > 0)
        hello_fails(c, CLIENTHELLO_E_CUT, CLIENT_CLOSE_IN_HEAD);
    else
        relay(c, (struct str){0}); /* it may still want to listen */
}

void client_tcp_ready(struct client *c)
{
    struct conn *conn = &c->conn;
    struct clienthello hello;
    enum clienthello_error e = CLIENTHELLO_OK;
    if (!name_matters(c)) {
        relay(c, (struct str){0});
        return;
    }
    for (;;) {
        enum io io = conn_read(conn);
        if (io != IO_OK && io != IO_AGAIN) {
            ended(c, io);
            return;
        }
        if (buf_len(&conn->in) > 0) {
            switch (clienthello_read(buf_head(&conn->in), buf_len(&conn->in), &hello, &e)) {
            case CLIENTHELLO_DONE:
                counter_inc(&conn->w->stats[STAT_SERVER_NAMES]);
                relay(c, str_of(hello.name, hello.name_len));
                return;
            case CLIENTHELLO_ERROR:
                if (e != CLIENTHELLO_E_NOT_TLS) {
                    hello_fails(c, e, CLIENT_CLOSE_BAD_REQUEST);
                    return;
                }
                counter_inc(&conn->w->stats[STAT_SERVER_NAMES + e]);
                relay(c, (struct str){0});
                return;
            case CLIENTHELLO_MORE:
                break;
            }
        }
        if (io == IO_AGAIN)
            return;
    }
}

/* ---- time ---- */

void client_first_timer(struct client *c)
{
    struct worker *w = c->conn.w;
    bool proxy = c->phase == CLIENT_PROXY;
    uint64_t wait = proxy ? w->set->timeout_proxy_header : w->set->timeout_client_hello;
    if (c->since_ms + wait > w->now_ms)
        worker_timer(w, &c->timer, c->since_ms + wait);
    else if (proxy)
        header_fails(c, PROXYPROTO_E_SLOW, CLIENT_CLOSE_HEAD_TIMEOUT);
    else if (buf_len(&c->conn.in) > 0)
        hello_fails(c, CLIENTHELLO_E_SLOW, CLIENT_CLOSE_HEAD_TIMEOUT);
    else
        relay(c, (struct str){0});
}
