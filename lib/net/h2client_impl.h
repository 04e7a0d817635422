/* Between h2client.c (calls, the way to the server) and h2client_conn.c (one connection).
 *
 * A call is in one list: `waiting` of the client, `calls` of a connection, `ended` of the client
 * until its fn is told. Whatever happens only moves calls and notes; client_turn, which runs from
 * the loop, acts on it. */
#ifndef OFFSHOOT_NET_H2CLIENT_IMPL_H
#define OFFSHOOT_NET_H2CLIENT_IMPL_H

#include "lib/base/buf.h"
#include "lib/net/h2client.h"
#include "lib/net/reach.h"
#include "lib/wire/h2.h"

struct bufferevent;
struct h2conn;

struct h2call {
    struct h2_stream st;
    struct list link;
    struct list sending; /* of the connection: body is left, and the windows are open */
    struct list fed;     /* of the connection: data came that was not credited */
    struct h2client *c;
    struct h2conn *conn; /* NULL: not sent yet */
    h2call_fn *fn;
    void *arg;
    struct event timer;
    /* The request: one block, the head's text and then the body. */
    char *memory;
    uint32_t head_n;
    struct str left; /* of the body */
    bool has_body, https, head_method, refused;
    /* The reply. */
    bool ended;
    struct h2reply reply;
    void *fields, *trailers; /* with the text that they point into */
    char *in;
    size_t in_n, in_size;
    uint64_t sent_us;
    uint64_t held; /* counted in the client's sum */
};

enum h2client_state {
    H2CLIENT_IDLE,
    H2CLIENT_REACHING,
    H2CLIENT_GREETING,
    H2CLIENT_UP,
    H2CLIENT_DOWN
};

struct h2client {
    uint32_t magic;
    struct event_base *base;
    struct h2client_options o;
    struct reach reach;
    struct backoff backoff;
    enum h2client_state state;
    struct event timer; /* REACHING, GREETING: connect_ms are over; DOWN: the wait is */
    struct event turn;
    struct h2conn *conn; /* GREETING, UP */
    struct list old;     /* connections that said GOAWAY and still answer */
    struct list waiting, ended;
    uint32_t ncalls;
    uint64_t own_held;
    uint64_t up_ms;
    bool telling;
};

/* Counts n more bytes for a call; false: that is too much. */
bool h2call_hold(struct h2call *call, uint64_t n);
/* Its reply is all that it will be. Does not touch the session: the stream is let go later. */
void h2call_end(struct h2call *call, enum h2call_end end);
/* Something is to be done from the loop. */
void h2client_later(struct h2client *c);
/* Does what is to be done. Last in a callback of the loop. */
void h2client_turn(struct h2client *c);

struct h2conn {
    uint32_t magic;
    struct list link; /* of the client's `old` */
    struct h2client *c;
    struct h2 *h2;
    struct bufferevent *bev;
    struct list calls, sending, fed;
    struct buf in, out; /* a block of fields; frames */
    struct field *fields;
    struct event timer; /* a PING has no answer */
    uint64_t heard_ms;
    uint32_t taken; /* calls so far */
    int32_t last;   /* of GOAWAY */
    bool goaway, pinged, gone;
    struct err why; /* of gone */
};

/* Takes fd, which is connected, also on failure. NULL with e: memory is out. */
struct h2conn *h2conn_new(struct h2client *c, int fd, struct err *e);
/* Its calls end as LOST (h2call_end). */
void h2conn_free(struct h2conn *h);
/* The server has spoken: SETTINGS came. */
bool h2conn_greeted(const struct h2conn *h);
/* Sends waiting calls of the client, when `take`, as far as the server takes them; what is left of
 * bodies; and what the session has to say. */
void h2conn_pump(struct h2conn *h, bool take);
/* Lets go of a call's stream. */
void h2conn_let_go(struct h2call *call);
/* A call waited in vain since it was sent. */
void h2conn_doubt(struct h2conn *h, uint64_t since_ms);

#endif
