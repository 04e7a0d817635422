/* A client connection: accepted, runs one request after another, closed with a reason. Or a stream
 * of one that speaks HTTP/2 (client_h2.c): a client of its own for the one request it carries. */
#ifndef OFFSHOOT_PROXY_CLIENT_H
#define OFFSHOOT_PROXY_CLIENT_H

#include "lib/base/wheel.h"
#include "proxy/conn.h"
#include "proxy/listener.h"
#include "proxy/stats.h"

struct h2client;
struct tls_subjects;

enum client_phase {
    CLIENT_NEW, /* no byte judged yet: HTTP/1 or the preface of HTTP/2 */
    CLIENT_HTTP1,
    CLIENT_HTTP2,  /* `h2` has its streams */
    CLIENT_STREAM, /* one of those */
    CLIENT_TLS,    /* its handshake comes first (client_tls.c) */
    CLIENT_PROXY,  /* its PROXY header comes first */
    CLIENT_TCP /* relayed without HTTP; as long as there is no `req`, the server name is looked for
                */
};

struct client {
    struct conn conn;          /* first */
    struct list link;          /* in worker->clients */
    struct timer timer;        /* idle, head, linger; see on_timer */
    struct listener *listener; /* counted by it; may have stopped listening */
    struct request *req;       /* NULL between requests */
    union {
        struct h2client *h2;   /* CLIENT_HTTP2 */
        struct client *parent; /* CLIENT_STREAM: the connection; NULL once that is closed */
    };
    uint64_t since_ms; /* of idling, of the head's first byte, or of lingering */
    union {
        uint64_t head_received; /* bytes before the head that has begun */
        uint64_t untaken; /* while lingering: bytes that the peer's kernel had not acknowledged */
    };
    uint32_t dropped; /* bytes read and dropped while lingering */
    uint32_t tls_us;  /* from the accept to the end of the TLS handshake; 0: there was none */
    const struct tls_subjects *subjects; /* of its verified certificate, or NULL */
    uint16_t peer_port;                  /* of whom a PROXY header names, like peer_ip */
    uint16_t local_port;                 /* that it connected to; 0: a unix socket */
    uint8_t peer_ip[16];
    uint8_t peer_kind;    /* enum addr_kind */
    uint8_t close_reason; /* enum client_close: why it lingers */
    uint8_t phase;        /* enum client_phase */
    bool lingering;
    bool refuse;          /* over limits.connections: answered 503 */
    bool plain;           /* refused for not having begun with TLS: 400 instead */
    bool limited;         /* refused for the gateway's limit of its source: 429 instead */
    uint32_t limit_place; /* where its source is counted (ratelimit.h); 0: nowhere */
    bool tls;
    bool agreed_h2; /* by ALPN: nothing else is read then */
};

/* On HTTP/1, or before it is known: no request runs or has begun, nor a handshake or a relay, which
 * have times of their own. */
static inline bool client_is_idle(const struct client *c)
{
    return !c->req && !c->lingering && !c->conn.in.data && !c->conn.readable &&
           c->phase != CLIENT_HTTP2 && c->phase != CLIENT_TCP && c->phase != CLIENT_TLS;
}

/* Takes fd. NULL (fd closed) when memory is out. */
struct client *client_new(struct worker *w, struct listener *l, int fd, const struct addr *peer);
/* Closes at once. reset: with RST, where a FIN would look like a whole reply. */
void client_close(struct client *c, enum client_close why, bool reset);
/* Everything is sent: stops sending, drops what still comes, closes at EOF or
 * after timeouts.linger, later when the peer still takes what was sent (minrate_lingers). */
void client_linger(struct client *c, enum client_close why);
/* The request (already released) is over and its reply sent: next request or close. */
void client_next(struct client *c, bool keep, enum client_close why);
/* The head of a request has begun or the connection waits again: what the timer means now. */
void client_head_started(struct client *c);
void client_peer(const struct client *c, struct addr *ret);

/* client_first.c. What comes first at this listener: part of client_new. */
void client_first_init(struct client *c);
/* CLIENT_PROXY: true once the header is read; peer and phase are then as it says. False: more must
 * come, or the connection was closed. */
bool client_proxy_header(struct client *c);
/* CLIENT_TCP without a request. */
void client_tcp_ready(struct client *c);
/* on_timer's part in those phases. */
void client_first_timer(struct client *c);

/* client_h2.c. The connection begins with the preface of HTTP/2 and goes on as such. */
void client_h2_begin(struct client *c);
void client_h2_ready(struct client *c);
/* Closes the streams and frees the session: part of client_close. */
void client_h2_close(struct client *c, enum client_close why);
/* The connection may be idle now, or its time is up: on_timer's part. */
void client_h2_timer(struct client *c);
/* Draining: no new streams; closed once the present ones are done. */
void client_h2_drain(struct client *c);
/* Each stream of it. */
void client_h2_each(
    const struct client *c, void (*fn)(struct client *stream, void *arg), void *arg);
uint32_t client_h2_id(const struct client *stream);
bool client_h2_busy(const struct client *c);
/* For client_h2.c: a stream's part of client_new, and its on_ready. */
void client_init_stream(struct client *c, struct client *parent);
void client_on_ready(struct conn *conn);

#endif
