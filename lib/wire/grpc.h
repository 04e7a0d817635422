/* gRPC over HTTP/2 without I/O: bytes in, events out; messages in, bytes out.
 *
 * One session is one HTTP/2 connection, as server or client; nghttp2 is the codec beneath. A stream
 * is one call. Messages are length-prefixed, never compressed (a compressed one ends its call with
 * UNIMPLEMENTED). Everything is bounded: streams, message size, what is queued for a slow peer.
 * Source: PROTOCOL-HTTP2.md of gRPC; RFC 9113.
 *
 * Not thread-safe. Callbacks run inside grpc_session_feed and grpc_session_produce; they may call
 * everything here but grpc_session_free, grpc_session_feed and grpc_session_produce. */
#ifndef OFFSHOOT_WIRE_GRPC_H
#define OFFSHOOT_WIRE_GRPC_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};
const char *grpc_status_word(unsigned status); /* "UNAVAILABLE"; "UNKNOWN" for what is none */

struct grpc_session;
struct grpc_stream;

struct grpc_limits {
    uint32_t streams;       /* calls at a time that a server accepts; default 16 */
    uint32_t message_bytes; /* largest message taken; above: RESOURCE_EXHAUSTED; default 4 MiB */
    uint32_t queue_bytes;   /* messages of one stream waiting to go out; default 1 MiB */
};
#define GRPC_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        16, 4u << 20, 1u << 20                                                                     \
    }

struct grpc_events {
    /* Server: a call of "/package.Service/Method". GRPC_OK takes it; another status is the answer
     * (trailers only, with what *ret_text says if it was set; static text). Nothing else is called
     * for a refused one. */
    unsigned (*on_call)(struct grpc_stream *st, struct str path, const char **ret_text, void *arg);
    /* A whole message; bytes valid during the call. */
    void (*on_message)(struct grpc_stream *st, struct str message, void *arg);
    /* Server: the client sends no more. May be NULL. */
    void (*on_half_close)(struct grpc_stream *st, void *arg);
    /* Exactly once for each call taken or made: it is over and st is invalid afterwards. Client:
     * the server's status, or UNAVAILABLE / INTERNAL / CANCELLED made here (also while
     * grpc_session_free runs). Server: GRPC_OK after grpc_finish went out, else CANCELLED. */
    void (*on_end)(struct grpc_stream *st, unsigned status, struct str text, void *arg);
    /* What is queued on the stream fell to half of queue_bytes or below after having been above it.
     * May be NULL. */
    void (*on_drained)(struct grpc_stream *st, void *arg);
};

/* Returns new; limits and events are copied. NULL when memory is out. */
struct grpc_session *grpc_session_new(
    bool server, const struct grpc_limits *limits, const struct grpc_events *events, void *arg);
/* Ends every call (on_end) first. */
void grpc_session_free(struct grpc_session *s);

/* Takes bytes from the peer. 0; -EPROTO (HTTP/2 is broken, or the peer floods: produce what there
 * is, then close) with e; -ENOMEM. Broken HTTP/2 may show only once its GOAWAY was produced:
 * grpc_session_done is true then, and feed, also of no bytes, says -EPROTO with why. */
int grpc_session_feed(struct grpc_session *s, struct str bytes, struct err *e);
/* The next bytes for the peer, valid until the next call; 0 when there are none now; -ENOMEM. */
ssize_t grpc_session_produce(struct grpc_session *s, const uint8_t **ret);
/* Nothing more will come or go: the connection may be closed. */
bool grpc_session_done(const struct grpc_session *s);
/* Sends GOAWAY (a client: after its last call): no new calls; those that run go on. */
void grpc_session_shutdown(struct grpc_session *s);
/* Sends a PING; grpc_session_pongs counts the answers. */
int grpc_session_ping(struct grpc_session *s);
uint64_t grpc_session_pongs(const struct grpc_session *s);

/* Client: makes a call. NULL when memory is out or the session takes no more. */
struct grpc_stream *grpc_call(struct grpc_session *s, struct str authority, struct str path);
/* Queues one message (copied). -ENOBUFS: queue_bytes would be exceeded (a single message larger
 * than that is taken when nothing is queued), -EPIPE: this side is finished, -ENOMEM. */
int grpc_send(struct grpc_stream *st, struct str message);
size_t grpc_queued(const struct grpc_stream *st); /* bytes */
/* Client: no more messages from us. */
void grpc_half_close(struct grpc_stream *st);
/* Server: ends the call after what is queued. text (copied, cut at 1,024 bytes) is percent-encoded
 * as grpc-message. */
void grpc_finish(struct grpc_stream *st, unsigned status, struct str text);
/* Ends the call at once (RST_STREAM CANCEL); on_end follows in a later feed, produce or free. */
void grpc_cancel(struct grpc_stream *st);

void grpc_stream_set(struct grpc_stream *st, void *data); /* the caller's; NULL at first */
void *grpc_stream_get(const struct grpc_stream *st);
struct grpc_session *grpc_stream_session(const struct grpc_stream *st);
void *grpc_session_arg(const struct grpc_session *s);

/* ---- the prefix of a message, on its own for tests and fuzzing ---- */

/* Joins message bytes that arrive in pieces. */
struct grpc_frames {
    uint8_t head[5];
    uint8_t have; /* of head */
    bool in_body;
    uint32_t need, got, max;
    uint8_t *body;
};
typedef int grpc_frame_fn(void *arg, struct str message); /* non-zero stops and is returned */
/* 0; -EMSGSIZE (above max), -ENOTSUP (compressed), -ENOMEM, or what fn returned. */
int grpc_frames_feed(struct grpc_frames *f, struct str bytes, grpc_frame_fn *fn, void *arg);
/* True in the middle of a message: an end of the stream here is a fault. */
bool grpc_frames_partial(const struct grpc_frames *f);
void grpc_frames_release(struct grpc_frames *f);
/* Percent-encoding of grpc-message. encode: out holds 3 * n bytes; returns the length. decode: in
 * place semantics not needed, out holds n bytes; broken escapes stay as they are. */
size_t grpc_text_encode(struct str text, char *out);
size_t grpc_text_decode(struct str text, char *out);

#endif
