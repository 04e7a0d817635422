/* One connection with its buffers: the half that client and provider sides have in common. Its
 * transport is a socket; or TLS on one; or a stream of an HTTP/2 connection, which has no socket of
 * its own (proxy/h2link.h). Who uses it need not know which.
 *
 * Events are registered once for the connection's life, edge-triggered. The callback only notes
 * what became possible (readable, writable) and calls on_ready. A read that returns less than was
 * asked for counts as drained, unless the peer has closed (then reading goes on to the EOF). A
 * reader that stops early keeps the `readable` mark and is resumed by conn_resume_later.
 *
 * libevent does not tell an error apart from data, so a reset that came together with the last
 * bytes would be missed: who needs more after a short read is given one more (`unsure`), unless
 * something was sent since, for a socket with an error takes nothing.
 *
 * Memory: conn_close takes the socket out of the loop and closes it; the object is freed after the
 * turn (worker_bury), because the caller of the callback may still look at it. */
#ifndef OFFSHOOT_PROXY_CONN_H
#define OFFSHOOT_PROXY_CONN_H

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include <event2/event.h>
#include <event2/event_struct.h>

struct worker;

#define CLIENT_MAGIC 0x434c4e54u
#define PCONN_MAGIC  0x50434f4eu

enum io {
    IO_OK,        /* read: bytes came; write: everything is gone */
    IO_AGAIN,     /* not now: an event will come */
    IO_EOF,       /* read only */
    IO_FULL,      /* read only: no room in the buffer */
    IO_NO_MEMORY, /* no block for the buffer */
    IO_ERROR      /* reset or the like: the connection is of no use any more */
};

struct conn;

/* A transport other than a plain socket. */
struct conn_ops {
    enum io (*read)(struct conn *c);                    /* as conn_read */
    enum io (*write)(struct conn *c, struct str *span); /* as conn_write */
    void (*close)(struct conn *c, bool reset);          /* its part of conn_close, first of all */
    void (*end)(struct conn *c); /* its part of conn_end_sending; NULL: none */
    /* A stream: it carries one message each way, and ends it by itself. A message needs no chunks,
     * its end is said by conn->last, and trailers go apart. */
    bool stream;
};

struct conn {
    uint32_t magic;
    int fd;    /* -1 once closed, and for a stream */
    bool open; /* conn_close was not called yet */
    bool last; /* a stream: what is handed over now is followed by nothing but trailers */
    struct worker *w;
    const struct conn_ops *ops; /* NULL: the plain socket */
    void *transport;            /* of ops */
    void (*on_ready)(struct conn *c);
    struct buf in, out;
    struct list ready; /* in the worker's list of those to resume */
    bool readable, writable;
    bool unsure; /* the last read was short: whether there is an error behind it nobody said */
    bool hup;    /* the peer will send no more: read on until IO_EOF */
    bool eof;    /* IO_EOF was returned */
    uint32_t requests;       /* begun on it so far, those of its streams too */
    uint64_t opened_us;      /* worker's clock */
    uint64_t received, sent; /* bytes; 0 for a stream */
    struct event ev;
};

/* Takes fd. 0 or -ENOMEM (fd is then still the caller's). connected: false while a connect is in
 * progress (not writable yet). */
int conn_open(struct conn *c, struct worker *w, uint32_t magic, int fd, bool connected,
    void (*on_ready)(struct conn *c));
/* A connection without a socket: its transport calls on_ready through conn_resume_later. */
void conn_open_stream(struct conn *c, struct worker *w, uint32_t magic, const struct conn_ops *ops,
    void *transport, void (*on_ready)(struct conn *c));
/* Closes the socket, gives the buffers back. Once. reset: with RST instead of FIN. */
void conn_close(struct conn *c, bool reset);
/* A later conn_close goes with RST, whoever calls it. Nothing for a stream. */
void conn_close_by_reset(const struct conn *c);
/* Nothing more will be sent: FIN, behind the close_notify of TLS. A stream has ended with its last
 * frame. */
void conn_end_sending(struct conn *c);
static inline bool conn_is_stream(const struct conn *c)
{
    return c->ops && c->ops->stream;
}
/* conn_read would ask the socket. */
static inline bool conn_may_read(const struct conn *c)
{
    return c->readable || c->unsure;
}
/* One recv into c->in. */
enum io conn_read(struct conn *c);
/* Sends c->out, then *span (may be NULL), in as few calls as possible; *span shrinks to what is
 * left. */
enum io conn_write(struct conn *c, struct str *span);
/* Bytes sent on the socket that the kernel still holds, or that its peer has not acknowledged. */
uint64_t conn_in_kernel(const struct conn *c);
/* For transports on the socket: one recv of at most room bytes into b, which has them; IO_EOF,
 * IO_AGAIN and IO_ERROR as conn_read. */
enum io conn_recv(struct conn *c, struct buf *b, uint32_t room);
/* A send of `all` bytes gave n, not EINTR: counts them. IO_AGAIN and IO_ERROR (by errno) when it
 * failed, else IO_OK. */
enum io conn_sent(struct conn *c, ssize_t n, size_t all);
/* on_ready is called again before the worker sleeps. */
void conn_resume_later(struct conn *c);

#endif
