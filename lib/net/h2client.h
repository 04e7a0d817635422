/* An HTTP/2 client on a libevent loop (RFC 9113, prior knowledge): many requests on one connection.
 *
 * For the agent's dark requests and for replay. Bodies are whole in memory, both ways, bounded. A
 * request's head, body and end go out at once, as far as the server's windows allow; requests begun
 * in one turn leave in one write. More calls than the server takes at a time wait here, in order.
 *
 * Connects with the first request. After a failed try, or a connection lost with calls on it,
 * requests end as LOST until the wait is over; the one that follows connects anew. A server's
 * GOAWAY: later requests go on a new connection, while those that it still answers end on the old
 * one. A connection that was silent for as long as a call waited in vain is asked by a PING.
 *
 * One thread. Connections end from the loop only, never inside a function called here. Within fn
 * everything may be called but h2client_free. */
#ifndef OFFSHOOT_NET_H2CLIENT_H
#define OFFSHOOT_NET_H2CLIENT_H

#include "lib/base/err.h"
#include "lib/base/field.h"
#include <stdint.h>

struct event_base;
struct dns;
struct h2client;
struct h2call;

struct h2client_options {
    uint32_t connect_ms;                 /* name, connect, SETTINGS; default 2 s */
    uint32_t backoff_ms, backoff_max_ms; /* 100 ms, 5 s, jittered by half */
    uint32_t calls;                      /* at a time; default 128 */
    uint32_t body_bytes;                 /* of a reply; above: H2CALL_TOO_LARGE; default 1 MiB */
    uint32_t head_bytes;                 /* of a reply, and of its trailers; default 64 KiB */
    uint64_t bytes; /* requests and replies of all calls; above: H2CALL_MEMORY; default 64 MiB */
    uint64_t *held; /* counts against `bytes` what others hold too; NULL: a sum of its own */
};

enum h2call_end {
    H2CALL_WHOLE,
    H2CALL_TIMEOUT,   /* the call's own deadline */
    H2CALL_RESET,     /* the server reset the stream; `reset` has the code */
    H2CALL_TOO_LARGE, /* body or head above the limits */
    H2CALL_LOST,      /* the connection broke, could not be made, or said GOAWAY; or what was given
                       * is no HTTP message */
    H2CALL_BROKEN,    /* what came is no HTTP message */
    H2CALL_MEMORY     /* of the heap or of `bytes` is out */
};
const char *h2call_end_word(enum h2call_end e);

/* Views, valid during the callback. */
struct h2reply {
    enum h2call_end end;
    uint32_t reset;
    uint32_t status;      /* of the final head; 0: there was none */
    struct field *fields; /* names in lower case; no pseudo-fields */
    unsigned nfields;
    struct field *trailers;
    unsigned ntrailers;
    struct str body;
    uint64_t first_us, total_us; /* from the moment the request was handed to the socket's buffer to
                                  * the final head, and to the end */
};
typedef void h2call_fn(void *arg, const struct h2reply *reply);

struct reply_field_view {
    struct str name, value;
};
struct h2request {
    struct str method, scheme, authority, path;
    /* Names in lower case; no pseudo-fields, no hop-by-hop, no host. */
    const struct reply_field_view *fields;
    size_t nfields;
    struct str body;
    bool has_body;       /* END_STREAM comes after DATA, though it may be empty */
    uint32_t timeout_ms; /* from h2client_request on; 0: none */
};

/* target: "unix:/path", "IP:port" or "name:port". dns may be NULL when it is no name. Connects with
 * the first request; NULL with e for a bad target. */
struct h2client *h2client_new(struct event_base *base, struct dns *dns, const char *target,
    const struct h2client_options *o, struct err *e);
/* Everything given is copied. fn is called once, from the loop, also when it cannot be sent
 * (H2CALL_LOST). Returns borrowed, for h2call_cancel; NULL: memory is out, or `calls` are on their
 * way (fn is not called). */
struct h2call *h2client_request(
    struct h2client *c, const struct h2request *r, h2call_fn *fn, void *arg);
/* fn is not called any more. */
void h2call_cancel(struct h2call *c);
bool h2client_up(const struct h2client *c);
/* A request begun now would end as LOST: the wait after a failure is not over. */
bool h2client_down(const struct h2client *c);
const char *h2client_why(const struct h2client *c); /* the last failure, until it is up; or "" */
uint32_t h2client_calls(const struct h2client *c);
/* Calls that are on their way are forgotten. */
void h2client_free(struct h2client *c);

#endif
