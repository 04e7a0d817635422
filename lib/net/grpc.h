/* gRPC on a libevent loop: servers that listen, clients that keep a connection up.
 *
 * For the control plane: bufferevents, one thread. The codec is lib/wire/grpc.h; calls are its
 * streams. Transports: unix:, TLS with client certificates, plain TCP to loopback (elsewhere only
 * when told `insecure`).
 *
 * Within a callback everything here may be called but what frees: grpc_client_free is allowed in
 * on_up and on_down, grpc_server_free in none. What a callback sends is written when it returns.
 * Connections end from the loop only, never inside a function called here. The process ignores
 * SIGPIPE. An option that is 0 has its default (ping_ms: no pings). */
#ifndef OFFSHOOT_NET_GRPC_H
#define OFFSHOOT_NET_GRPC_H

#include "lib/base/addr.h"
#include "lib/wire/grpc.h"

struct event_base;
struct dns;

/* TLS 1.2 and 1.3, certificates of both sides verified against ca. */
struct grpc_tls;
/* PEM files. Returns new, NULL with e naming the file. key must not be readable by others. */
struct grpc_tls *grpc_tls_new(
    const char *cert, const char *key, const char *ca, bool server, struct err *e);
/* Reads the files again; on failure everything stays as it was. Connections that are up stay up. */
int grpc_tls_reload(struct grpc_tls *t, struct err *e);
void grpc_tls_free(struct grpc_tls *t);

/* Who is on the other side. */
#define GRPC_PEER_NAMES 16
struct grpc_peer {
    struct addr addr;
    bool tls;
    unsigned nnames;
    char *names[GRPC_PEER_NAMES]; /* of the certificate: URI and DNS names, else the common name */
};
const struct grpc_peer *grpc_peer(const struct grpc_stream *st); /* of a server's call */

/* ---- server ---- */

/* A service's method. events: as in lib/wire/grpc.h, on_call included (it may refuse). */
struct grpc_method {
    const char *path;
    const struct grpc_events *events;
    void *arg; /* of its events; NULL: the server's */
};
struct grpc_server_options {
    struct grpc_limits limits;
    uint32_t connections;  /* at a time, default 64; above: closed at once, counted */
    uint32_t handshake_ms; /* from accept to the first call, TLS included; default 10 s */
    uint32_t ping_ms;      /* a PING when a connection was silent that long; unanswered for as long
                            * again: closed */
    const char *const *services; /* what reflection lists besides its own and health, as in
                                  * "offshoot.v1.Control"; NULL-terminated, borrowed; may be NULL */
};
struct grpc_server_counts {
    uint64_t accepted, refused, handshake_failed, timed_out, calls, connections_now;
};

struct grpc_server;
/* Serves the methods, grpc.health.v1 and server reflection (v1 and v1alpha). methods and arg are
 * borrowed; options copied. */
struct grpc_server *grpc_server_new(struct event_base *base, const struct grpc_server_options *o,
    const struct grpc_method *methods, size_t n, void *arg, struct err *e);
/* tls NULL: plain, which is refused with -EPERM off loopback and unix: unless insecure. Borrows
 * tls. unix sockets get mode 0600. */
int grpc_server_listen(struct grpc_server *s, const struct addr *a, struct grpc_tls *tls,
    bool insecure, struct addr *ret_bound, struct err *e);
/* What grpc.health.v1 answers from now on; at first it says NOT_SERVING. */
void grpc_server_set_serving(struct grpc_server *s, bool serving);
struct grpc_server_counts grpc_server_counts(const struct grpc_server *s);
/* GOAWAY on every connection, no new ones, health says NOT_SERVING; calls that run go on. */
void grpc_server_shutdown(struct grpc_server *s);
/* Ends every call (on_end), closes all. */
void grpc_server_free(struct grpc_server *s);

/* ---- client ---- */

struct grpc_client_options {
    struct grpc_limits limits;
    struct grpc_tls *tls; /* borrowed; NULL: plain, off loopback and unix: only when insecure */
    bool insecure;
    const char *tls_name; /* name the server's certificate must have; NULL: the host of
                           * the address */
    uint32_t connect_ms;  /* name, connect, TLS and the server's first bytes together; default 10 s
                           */
    uint32_t backoff_ms, backoff_max_ms; /* first and longest wait before trying again, jittered by
                                          * half, 0.2 and 30 s; the first is taken again once a
                                          * connection was up for 10 s */
    uint32_t ping_ms;
};
struct grpc_client;
struct grpc_client_events {
    struct grpc_events call; /* on_call unused */
    /* Connected, and the server has spoken (with TLS: it took our certificate). Make calls now with
     * grpc_call(grpc_client_session(c), ...). */
    void (*on_up)(struct grpc_client *c, void *arg);
    /* The connection is gone, or could not be made; why is text. Calls have got their on_end. It
     * will be tried again after retry_ms. */
    void (*on_down)(struct grpc_client *c, const char *why, uint32_t retry_ms, void *arg);
};
/* target: "unix:/path", "IP:port" or "name:port". dns may be NULL when it is no name; it is
 * borrowed and outlives the client. A name's addresses (16 at most) are tried one after another. */
struct grpc_client *grpc_client_new(struct event_base *base, struct dns *dns, const char *target,
    const struct grpc_client_options *o, const struct grpc_client_events *events, void *arg,
    struct err *e);
struct grpc_session *grpc_client_session(struct grpc_client *c); /* NULL while down */
/* Tries now if it waits; when up: closes and connects anew, after the wait that on_down tells. */
void grpc_client_again(struct grpc_client *c);
/* After grpc_send and the like outside of callbacks: writes what the session has to say. */
void grpc_client_flush(struct grpc_client *c);
void grpc_client_free(struct grpc_client *c);
/* The same for a server's call. */
void grpc_flush(struct grpc_stream *st);

#endif
