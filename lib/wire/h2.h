/* One HTTP/2 session of either side, without I/O: bytes in, events out, over nghttp2 (RFC 9113).
 *
 * The owner gives bytes to h2_input and takes bytes with h2_output. Events come out of h2_input
 * (`wake`, `close` and `odd` also out of functions that make frames); inside them the owner may
 * note things and copy, nothing else: no function of this header may be called there. Heads and
 * trailers come as HTTP/1 text (h2_head.h), laid down in a buffer of the stream's owner; DATA comes
 * as views, valid during the event.
 *
 * Going out, heads and DATA are turned into frames at once, as far as the windows and the room in
 * the output buffer allow: what was taken is in the buffer and the caller's memory is free again.
 * What was not taken stays the caller's; `wake` says when it is worth trying again.
 *
 * Flow control. A stream may have h2_limits.window bytes unread here; the owner says h2_credit as
 * it drains them. The connection's window opens by itself, until more than connection_hold bytes
 * are unread over all streams: then it waits for them to drain.
 *
 * Floods. Frames that get nobody anywhere are paid from one bucket: h2_limits.odd at first, filled
 * up again by odd_refill a second, and by one for each reply (request, on the client side) that is
 * ended whole. An empty bucket ends the connection: GOAWAY ENHANCE_YOUR_CALM. Each kind has a
 * counter (h2_odd). PING is odd only above two for each DATA frame sent, WINDOW_UPDATE above two
 * and one for each KiB of it. */
#ifndef OFFSHOOT_WIRE_H2_H
#define OFFSHOOT_WIRE_H2_H

#include "lib/base/list.h"
#include "lib/wire/h2_head.h"

#define H2_WINDOW_MAX 65535u /* bytes of a stream that can be unread; fits a buffer block */
#define H2_FRAME_MAX  16384u

/* RFC 9113 section 7. */
enum h2_code {
    H2_NO_ERROR = 0,
    H2_PROTOCOL_ERROR = 1,
    H2_INTERNAL_ERROR = 2,
    H2_FLOW_CONTROL_ERROR = 3,
    H2_STREAM_CLOSED = 5,
    H2_REFUSED_STREAM = 7,
    H2_CANCEL = 8,
    H2_CONNECT_ERROR = 10,
    H2_ENHANCE_YOUR_CALM = 11,
    H2_HTTP_1_1_REQUIRED = 13
};

enum h2_odd {
    H2_ODD_RESET,     /* RST_STREAM before its reply was ended */
    H2_ODD_OWN_RESET, /* RST_STREAM that the peer's faults made us send */
    H2_ODD_REFUSED,   /* a stream above the advertised number */
    H2_ODD_PING,
    H2_ODD_SETTINGS,
    H2_ODD_PRIORITY,
    H2_ODD_WINDOW,     /* WINDOW_UPDATE */
    H2_ODD_EMPTY_DATA, /* without END_STREAM; of streams reset here: over what the windows held */
    H2_ODD_CONTINUATION,
    H2_ODD_UNKNOWN, /* frame types nobody knows; GOAWAY again and again */
    H2_ODD_HEAD,    /* a block refused by h2_head.h or nghttp2 */
    H2_ODD_COUNT
};
const char *h2_odd_word(enum h2_odd o);

struct h2_limits {
    uint32_t streams;         /* server: advertised; client: opened at the most at a time */
    uint32_t window;          /* of a stream, 1024 to H2_WINDOW_MAX */
    uint32_t connection_hold; /* bytes unread over all streams */
    uint32_t head_bytes;      /* of a head's text */
    uint16_t fields;
    uint32_t odd, odd_refill;
    bool extended;        /* server: RFC 8441 is offered */
    bool checked_once;    /* nghttp2 does not judge messages a second time */
    struct h2_pool *pool; /* or NULL */
};

/* Memory that the sessions of one thread share: small blocks, and the 16 KiB in which frames are
 * made. NULL when memory is out. h2_pool_free: it lives on until its last session is freed. */
struct h2_pool *h2_pool_new(void);
void h2_pool_free(struct h2_pool *p);

struct h2;

/* Embedded in the owner's object of a stream. */
struct h2_stream {
    struct h2 *h; /* NULL: over, no frame of it will come or go */
    int32_t id;
    bool head_out;       /* our (final) head was sent */
    bool end_out;        /* END_STREAM was sent */
    bool end_in;         /* END_STREAM came */
    bool connect;        /* extended CONNECT */
    bool broken;         /* what came is no message, RST_STREAM is due: `close` follows */
    uint32_t unread;     /* bytes given to `data` and not yet credited */
    struct h2_text text; /* of the block being collected */
    char *trailers;      /* text to be sent behind the body, set by h2_trailers; freed here */
    uint32_t trailers_n;
    /* Ours. */
    struct list link;
    int64_t expected, received; /* bytes of the peer's body; -1: any number */
    bool head_method;           /* client: HEAD */
    bool head_in;               /* the (final) head came */
    bool attached;              /* nghttp2 has an item of DATA for it */
    bool blocked;               /* h2_send left something: `wake` is owed */
    bool dropped;               /* what comes is of no use any more: bad_head was answered */
    bool faulted;               /* its fault was counted */
    uint32_t why;               /* our RST_STREAM says so, when both ends were ended before it */
};

struct h2_events {
    /* Server: a stream begins. Returns the owner's, zeroed but for what the owner needs; NULL: it
     * is refused (REFUSED_STREAM). */
    struct h2_stream *(*open)(struct h2 *h, void *owner);
    /* A block of fields begins; its text goes behind what the returned buffer holds (with a block).
     * Nobody may move that buffer's bytes or append to it until `head`, `bad_head` or `close`.
     * NULL: no memory, the stream is reset (INTERNAL_ERROR). */
    struct buf *(*block)(struct h2_stream *st, enum h2_kind kind);
    /* It is whole, and stands in that buffer. end: END_STREAM came with it. */
    void (*head)(struct h2_stream *st, enum h2_kind kind, bool end);
    /* A server may answer a request's head that is over a limit itself (H2_E_TOO_LARGE, _TOO_MANY:
     * 431): true; what still comes of the stream is then dropped. False, and always for any other
     * error, for trailers and on the client side: the stream is reset (PROTOCOL_ERROR), `close`
     * follows. error: why, also after nghttp2 refused, or for a body of another length. */
    bool (*bad_head)(struct h2_stream *st, enum h2_kind kind, enum h2_error error);
    void (*data)(struct h2_stream *st, const char *p, size_t n);
    /* END_STREAM, after the last data or after the trailers' `head` (not after another head with
     * `end`). */
    void (*end)(struct h2_stream *st);
    /* The stream is over before both ends were ended, or after both: st->h is NULL already. code:
     * of RST_STREAM, whoever sent it. unprocessed: the peer says that it did nothing with it
     * (REFUSED_STREAM, GOAWAY below it). */
    void (*close)(struct h2_stream *st, uint32_t code, bool unprocessed);
    /* h2_send may take more, or the peer allows more streams (st NULL). */
    void (*wake)(struct h2 *h, struct h2_stream *st);
    void (*odd)(struct h2 *h, enum h2_odd kind);
    /* GOAWAY came: no new streams; those above last are closed as unprocessed. */
    void (*goaway)(struct h2 *h, int32_t last, uint32_t code);
};

/* server: waits for the preface; client: sends it. events and owner are borrowed. NULL when memory
 * is out. SETTINGS wait to be taken by h2_output. */
struct h2 *h2_new(
    bool server, const struct h2_limits *limits, const struct h2_events *events, void *owner);
/* Streams still there are forgotten without `close`: their h becomes NULL. */
void h2_free(struct h2 *h);
void *h2_owner(const struct h2 *h);
/* to: the connection's output buffer, borrowed; NULL at first. When it has a block with room,
 * h2_request and h2_reply put their frame there at once, which spares a copy of the fields; else
 * it waits for h2_output or h2_send. Other frames that wait go first; `wake`, `close` may come. */
void h2_attach(struct h2 *h, struct buf *to);

/* Bytes from the peer, all consumed. now_ms: monotonic. 0; -EPROTO: the connection is to be closed
 * once h2_output has given everything (h2_reason says why); -ENOMEM: closed at once. */
int h2_input(struct h2 *h, const char *p, size_t n, uint64_t now_ms);
/* Something waits to be taken. */
bool h2_waiting(const struct h2 *h);
/* Puts frames into b (has a block) while they fit: a frame needs up to H2_FRAME_MAX + 9 bytes of
 * room. 0: nothing is left; 1: more waits for room; -ENOMEM. Calls `wake`, `close`. */
int h2_output(struct h2 *h, struct buf *b);
/* Nothing came for a while: with a pool, the session's memory is packed to 1 or 2 KiB. Nothing is
 * done while a stream is open or a frame waits. Any call wakes the session: microseconds. */
void h2_rest(struct h2 *h);
/* Nothing will come or go any more. */
bool h2_over(const struct h2 *h);
/* "" or one line for the log: what the peer did wrong. */
const char *h2_reason(const struct h2 *h);
uint32_t h2_streams(const struct h2 *h);
/* The peer's first SETTINGS came, and no block of fields is open: it owes nothing. */
bool h2_settled(const struct h2 *h);
/* Client: streams that may be opened now (the peer's limit and ours); 0 after GOAWAY. */
uint32_t h2_room(const struct h2 *h);
/* Whether the peer takes extended CONNECT (client side, once its SETTINGS are here). */
bool h2_peer_extended(const struct h2 *h);

/* Client: opens st with the head at the start of `out` (text, h2_from_request), consumed from it.
 * last: nothing follows what out holds; when that is no more than the head, END_STREAM goes with
 * it. 0, -EINVAL, -ENOMEM, -EAGAIN (no room for a stream). */
int h2_request(struct h2 *h, struct h2_stream *st, struct buf *out, struct str scheme, bool last);
/* Server: the head at the start of `out`: interim ones (any number, then the next), or final.
 * last as above.
 * 0, -EINVAL, -ENOMEM, -EAGAIN (no whole head), -EPIPE (the stream is over). */
int h2_reply(struct h2_stream *st, struct buf *out, bool last);
/* Body bytes: of `out`, then of *span; both shrink by what was taken into `to` (the connection's
 * output buffer, with a block), within windows and room. last: END_STREAM follows the last of them
 * (also when there are none). 0: all taken, and the end if last; 1: the rest waits for `wake`;
 * -ENOMEM; -EPIPE: the stream is over. */
int h2_send(struct h2_stream *st, struct buf *to, struct buf *out, struct str *span, bool last);
/* Text of a trailer section ("name: value" CRLF ..., no empty line), sent in place of the
 * END_STREAM of the last h2_send. Copied. 0, -ENOMEM, or -EINVAL when it is none. */
int h2_trailers(struct h2_stream *st, struct str text);
/* n bytes of data were drained. */
void h2_credit(struct h2_stream *st, uint32_t n);
/* RST_STREAM; the stream is over for the owner: no `close` follows, st may be freed. Frames already
 * in the output buffer stay. */
void h2_reset(struct h2_stream *st, uint32_t code);
/* The owner lets go of a stream whose both ends are ended (or resets it: CANCEL on the client
 * side, NO_ERROR on the server side). No `close` follows. */
void h2_done(struct h2_stream *st);
/* Server: tells the peer to open no more streams (a first GOAWAY); h2_goaway then names the last.
 */
int h2_shutdown(struct h2 *h);
int h2_goaway(struct h2 *h, uint32_t code);
int h2_ping(struct h2 *h);

#endif
