/* A connection of either side that speaks HTTP/2, and its streams as connections of their own.
 *
 *   socket or TLS  ←→  conn (of a client, or of a provider)  ←→  h2link { struct h2, streams }
 *                                                                   ↑ h2strm: conn_ops
 *   request.c, flow.c  ←→  conn of a stream ───────────────────────┘
 *
 * To the rest a stream is a conn whose messages are HTTP/1 text without chunks: a head, then the
 * body's bytes until conn_read says IO_EOF. client_h2.c and provider_h2.c say what a stream is on
 * their side (struct client, struct pconn) and share this file.
 *
 * Input: h2link_run reads the socket and feeds the session; events of the session only note things
 * in the stream and put its conn in the worker's ready list. Output: what a stream writes becomes
 * frames in the connection's output buffer at once, and leaves in one write at the end of the turn
 * (worker.flush), or when the buffer is full.
 *
 * Memory of a stream: `in` and `spill`, together at most H2_WINDOW_MAX unread bytes and a head; the
 * window opens as the bytes are used. */
#ifndef OFFSHOOT_PROXY_H2LINK_H
#define OFFSHOOT_PROXY_H2LINK_H

#include "lib/wire/h1.h"
#include "lib/wire/h2.h"
#include "proxy/conn.h"
#include "proxy/stats.h"

#define H2LINK_MAGIC 0x48324c4bu

struct h2link;

/* How a side closes. */
struct h2link_side {
    /* The connection is of no use any more: its owner closes it, with its streams. io: IO_EOF,
     * IO_ERROR, IO_NO_MEMORY, or IO_OK when the session ended (h2_reason). */
    void (*broken)(struct h2link *l, enum io io);
    /* Server: a stream begins; NULL refuses it. An event of the session (h2.h). */
    struct h2strm *(*opened)(struct h2link *l);
    /* Client: more streams may be opened, or none any more (goaway). */
    void (*room)(struct h2link *l);
    /* Server: input was read, of which there may be more: at the end of h2link_run, and of
     * h2link_flush where it looks once more. */
    void (*taken)(struct h2link *l);
};

struct h2link {
    uint32_t magic;
    bool server;
    bool goaway;  /* no new streams: the peer's or ours */
    bool closing; /* the session is over: closed once its last frames have left */
    bool more;    /* `room` is due */
    bool looked;  /* behind a short read, in this turn */
    bool settled; /* client: the peer's SETTINGS are here */
    struct conn *conn;
    struct h2 *h2;
    const struct h2link_side *side;
    struct list streams; /* of h2strm.link */
    struct list flush;   /* in worker->flush */
    struct list awake;   /* in worker->awake, unless it rests */
    uint64_t active_ms;  /* last input */
    uint32_t nstreams;
};

struct h2strm {
    struct h2_stream st;
    struct h2link *l;    /* NULL: closed */
    struct conn *conn;   /* of the stream: embedded beside it */
    struct list link;    /* in h2link.streams */
    struct buf spill;    /* body bytes for which `in` had no room */
    struct buf trailers; /* text of those that came, as the end of a chunked body */
    uint8_t bad;         /* enum h2_error: the head was refused */
    bool fresh;          /* bytes came since the last read */
    bool ended;          /* END_STREAM came */
    bool head_only;      /* it came with the (final) head */
    bool failed;         /* reset, by whomever */
    bool tunnel;         /* client: an extended CONNECT that was taken; until then it stays open */
    bool unprocessed;    /* nothing was done with it: may be said again elsewhere */
};

/* A session over conn, which is open. streams: the most at a time. 0 or -ENOMEM. */
int h2link_open(struct h2link *l, struct conn *conn, bool server, uint32_t streams,
    const struct h2link_side *side);
/* Frees the session, not the conn. Streams that are still there fail, and are no longer its. */
void h2link_close(struct h2link *l);
/* The connection's on_ready. The link may be closed afterwards. */
void h2link_run(struct h2link *l);
/* Its output leaves at the end of the turn. */
void h2link_mark(struct h2link *l);
/* End of the turn (worker.c): the link may be closed afterwards. */
void h2link_flush(struct h2link *l);

/* Once a second: sessions that had nothing for as long give back what they do not need. */
void h2links_rest(struct worker *w);

extern const struct conn_ops h2strm_ops;
/* conn_open_stream and its place in the link. */
void h2strm_open(struct h2strm *s, struct h2link *l, struct conn *conn, uint32_t magic,
    void (*on_ready)(struct conn *c));
/* The stream is let go: conn_close follows. code: sent when it is not over on both ends. */
void h2strm_end(struct h2strm *s, uint32_t code);

/* The framing of the message in `in`, whose head was just parsed: the stream says where it ends. */
void h2strm_framing(const struct conn *c, struct h1_head *head);
/* The peer says that it did nothing with the request of this stream. */
bool h2strm_unprocessed(const struct conn *c);
/* It was reset, by whomever, or is about to be. */
bool h2strm_failed(const struct conn *c);
/* Its connection is gone. */
bool h2strm_lost(const struct conn *c);
/* What came on it is no message: nothing of it may pass for whole. */
bool h2strm_malformed(const struct conn *c);
/* Why its head was refused (H2_OK: it was not). */
enum h2_error h2strm_bad(const struct conn *c);
/* Client: whether the peer takes extended CONNECT (RFC 8441), once its SETTINGS are here; on_ready
 * is called when they come. */
bool h2strm_settled(const struct conn *c);
bool h2strm_extended(const struct conn *c);
/* Client: an extended CONNECT was answered 2xx: from now on conn->last ends the stream. */
void h2strm_tunnel(struct conn *c);
/* Trailers that came behind the body, as HTTP/1 text "0" CRLF lines CRLF; "" without any. */
struct str h2strm_trailers(const struct conn *c);
/* Trailers to be sent behind the body: text lines. 0, -ENOMEM. */
int h2strm_put_trailers(struct conn *c, struct str lines);

#endif
