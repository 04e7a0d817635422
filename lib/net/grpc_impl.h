/* Between the files of lib/net/grpc_*.c.
 *
 * grpc_conn.c     one connection of either end: bytes, TLS, deadlines, pings, its end
 * grpc_tls.c      certificates, and what a handshake says
 * grpc_server.c   listeners, the connections of a server, which method a call is of
 * grpc_health.c   grpc.health.v1
 * grpc_reflect.c  server reflection out of the descriptors in the program
 * grpc_client.c   name, connect, connection, wait, anew */
#ifndef OFFSHOOT_NET_GRPC_IMPL_H
#define OFFSHOOT_NET_GRPC_IMPL_H

#include "lib/base/list.h"
#include "lib/net/grpc.h"
#include <event2/event_struct.h>
#include <openssl/ssl.h>

struct bufferevent;

/* ---- one connection ---- */

enum grpc_gone {
    GRPC_GONE_NOT,
    GRPC_GONE_CLOSED, /* by either side, or broken */
    GRPC_GONE_TLS,    /* in the handshake */
    GRPC_GONE_LATE,   /* a deadline, or a PING without answer */
};

struct grpc_conn;
/* All of them run from the event loop, never inside a function of ours that the owner called. */
struct grpc_conn_ops {
    /* TLS is up (plain: at once). Returns the new session, or NULL with e. */
    struct grpc_session *(*on_secure)(struct grpc_conn *c, struct err *e);
    /* Bytes of the peer were taken. May release c. */
    void (*on_fed)(struct grpc_conn *c);
    /* It is over and waits to be released. */
    void (*on_gone)(struct grpc_conn *c, enum grpc_gone how, const char *why);
};

struct grpc_conn {
    uint32_t magic;
    const struct grpc_conn_ops *ops;
    struct bufferevent *bev;
    SSL *ssl; /* NULL: plain; bev's */
    struct grpc_session *session;
    struct event timer;
    uint64_t deadline_ms; /* of the clock; 0: none */
    const char *late;     /* what did not come until then */
    uint32_t ping_ms;     /* 0: never */
    uint64_t heard_ms, pinged_ms;
    bool pinged;         /* and nothing heard since */
    bool busy;           /* inside the session */
    bool secure;         /* TLS is up */
    bool ending;         /* closes when all is said */
    enum grpc_gone gone; /* on_gone is due */
    struct err why;
};

/* Takes fd, which is connected, and ssl (NULL: plain), also on failure. 0 or -ENOMEM. */
int grpc_conn_init(struct grpc_conn *c, struct event_base *base, int fd, SSL *ssl,
    const struct grpc_conn_ops *ops, uint32_t ping_ms);
/* Ends the calls (on_end) and closes. Not while busy. */
void grpc_conn_release(struct grpc_conn *c);
/* Writes what the session has to say. Does nothing while busy: it will be done then. */
void grpc_conn_pump(struct grpc_conn *c);
/* on_gone after ms unless cleared before; ms 0 clears. late: static text. */
void grpc_conn_deadline(struct grpc_conn *c, uint32_t ms, const char *late);
/* on_gone soon. The first one counts. */
void grpc_conn_fail(struct grpc_conn *c, enum grpc_gone how, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- TLS ---- */

/* Returns new, NULL with e. name: that a server's certificate must have, or an IP address; NULL on
 * a server. */
SSL *grpc_tls_open(const struct grpc_tls *t, const char *name, struct err *e);
bool grpc_tls_is_server(const struct grpc_tls *t);
/* Says why a handshake failed, or a connection broke; code: OpenSSL's, or 0. */
void grpc_tls_why(const SSL *ssl, unsigned long code, struct err *e);
/* Fills in the names. 0 or -ENOMEM. */
int grpc_peer_learn(struct grpc_peer *p, const SSL *ssl);
void grpc_peer_release(struct grpc_peer *p);

/* ---- what a server does by itself ---- */

#define GRPC_UNIMPLEMENTED_TEXT "unknown method"

struct grpc_server {
    uint32_t magic;
    struct event_base *base;
    struct grpc_server_options o;
    const struct grpc_method *methods;
    size_t nmethods;
    void *arg;
    struct list ports, conns, watches;
    struct grpc_server_counts counts;
    bool serving, shutdown;
    uint64_t logged_s; /* the second of the lines below */
    unsigned logged;   /* lines about connections in that second */
};

/* Their arg is the server. */
extern const struct grpc_method grpc_health_methods[];
extern const size_t grpc_nhealth_methods;
extern const struct grpc_method grpc_reflect_methods[];
extern const size_t grpc_nreflect_methods;
/* Tells those who watch; ends their calls when the server shuts down. To be pumped. */
void grpc_health_changed(struct grpc_server *s);

/* A google.protobuf.FileDescriptorSet of everything below proto/; made by the Makefile. */
extern const struct str grpc_descriptors;

#endif
