/* Between the files of lib/wire/grpc_*.c: a session, its calls, and what is queued on them.
 *
 * grpc_session.c  bytes in and out, nghttp2's callbacks, faults, floods
 * grpc_stream.c   life of a call, its queue, the functions of lib/wire/grpc.h on it
 * grpc_server.c   requests: checked, taken or refused; replies and trailers
 * grpc_client.c   requests made; replies and trailers read */
#ifndef OFFSHOOT_WIRE_GRPC_INTERNAL_H
#define OFFSHOOT_WIRE_GRPC_INTERNAL_H

#include "lib/base/list.h"
#include "lib/wire/grpc.h"
#include <nghttp2/nghttp2.h>

#define GRPC_SESSION_MAGIC     0x67527053u
#define GRPC_STREAM_MAGIC      0x67527043u
#define GRPC_PREFIX_BYTES      5u
#define GRPC_TEXT_MAX          1024u
#define GRPC_HEADER_LIST_BYTES 8192u /* fields of one block, as RFC 9113 section 6.5.2 counts */
#define GRPC_CONTINUATIONS_MAX 8u    /* of one block */
#define GRPC_OUTBOUND_MAX      1000u /* frames that wait to be produced, besides DATA and our calls */
#define GRPC_FEED_BYTES        16384u /* taken at a time, so that a fault is seen soon */

/* What a peer may do without getting anywhere. Each is a bucket: burst at first, filled up again by
 * per_second, and by messages that go either way. */
enum flood {
    FLOOD_CONTROL, /* PING, SETTINGS: each makes us answer */
    FLOOD_RESET,   /* RST_STREAM, and streams that we had to reset for what they are */
    FLOOD_LIGHT,   /* WINDOW_UPDATE, PRIORITY, empty DATA, acknowledgements, a server's HEADERS */
    FLOOD_KINDS,
};

/* Bytes of messages that wait, prefixes included, in blocks that small messages share. */
struct grpc_block;
struct grpc_queue {
    struct grpc_block *first, *last;
    size_t bytes;
};
int grpc_queue_add(struct grpc_queue *q, struct str message);
size_t grpc_queue_take(struct grpc_queue *q, uint8_t *to, size_t room);
void grpc_queue_clear(struct grpc_queue *q);

/* What was read of one block of fields: a request's, a reply's, or trailers. */
struct grpc_fields {
    uint32_t bytes;      /* as GRPC_HEADER_LIST_BYTES counts */
    unsigned http;       /* :status */
    int status;          /* grpc-status; -1: none */
    bool content_type;   /* is application/grpc, with or without +proto */
    bool post, trailers; /* :method is POST; te is trailers */
};

struct grpc_stream {
    uint32_t magic;
    int32_t id; /* of HTTP/2 */
    struct grpc_session *s;
    struct list link; /* in s->streams */
    void *data;       /* the caller's */
    struct grpc_frames in;
    struct grpc_queue out;
    struct grpc_fields fields;
    char *path; /* server */
    size_t path_n;
    char *text; /* server: grpc-message to send, encoded; client: received, decoded */
    size_t text_n;
    unsigned status; /* server: to send; client: for on_end */
    const char *why; /* static text for on_end where there is no text; may be NULL */
    bool owed;       /* on_end must be called */
    bool head_in;    /* the first block of fields came */
    bool head_out;   /* reply or request was submitted */
    bool finished;   /* nothing is queued any more from our side */
    bool by_finish;  /* server: because of grpc_finish */
    bool over;       /* nothing is told any more but on_end */
    bool reap;       /* on_end is due */
    bool deferred;   /* nghttp2 waits for grpc_stream_wake */
    bool high;       /* on_drained is due when the queue falls */
};

struct grpc_session {
    uint32_t magic;
    bool server;
    bool busy;     /* in feed, produce or free */
    bool shutdown; /* grpc_session_shutdown was called */
    bool dead;     /* memory ran out, or being freed: nothing goes any more */
    bool reap;     /* some stream has reap */
    uint8_t continuations;
    struct grpc_limits limits;
    struct grpc_events events;
    void *arg;
    nghttp2_session *ng;
    struct list streams;
    uint32_t nstreams;
    uint32_t budget[FLOOD_KINDS];
    uint64_t filled_s; /* when the budgets were last filled up */
    uint64_t pings, pongs;
    struct err fault; /* code 0: none */
};

/* ---- grpc_session.c ---- */

/* Memory ran out in a place that cannot tell: feed and produce will. Returns -ENOMEM. */
int grpc_session_no_memory(struct grpc_session *s);
/* rc of an nghttp2_submit_* function: only memory matters, a stream that is gone does not. */
void grpc_session_check(struct grpc_session *s, int rc);
/* Sends the GOAWAY of a shutdown. */
void grpc_session_goodbye(struct grpc_session *s);
/* Messages went either way: budgets rise. */
void grpc_session_earn(struct grpc_session *s);

/* ---- grpc_stream.c ---- */

struct grpc_stream *grpc_stream_new(struct grpc_session *s);
/* on_end if it is owed, then frees. */
void grpc_stream_end(struct grpc_stream *st, unsigned status, struct str text);
/* Ends what has reap. */
void grpc_stream_reap(struct grpc_session *s);
/* Nothing more is read, told or sent: the stream is reset with an HTTP/2 error code; on_end is due
 * with status and why (static). */
void grpc_stream_reset(struct grpc_stream *st, uint32_t code, unsigned status, const char *why);
/* Lets nghttp2 ask for data again. */
void grpc_stream_wake(struct grpc_stream *st);
/* What nghttp2 calls for the next bytes of a stream. */
ssize_t grpc_stream_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length,
    uint32_t *flags, nghttp2_data_source *source, void *user);
/* Bytes of messages from the peer. 0 or -ENOMEM. */
int grpc_stream_data(struct grpc_stream *st, struct str bytes);
/* DATA of the stream went out. */
void grpc_stream_progress(struct grpc_stream *st);
nghttp2_nv grpc_field(struct str name, struct str value);
/* application/grpc or application/grpc+proto, with or without parameters. */
bool grpc_content_type(struct str value);

/* ---- grpc_server.c, grpc_client.c: the two ends differ in these ---- */

void grpc_server_field(struct grpc_stream *st, struct str name, struct str value);
/* A block of fields is whole. */
void grpc_server_head(struct grpc_stream *st);
/* The peer sends no more. */
void grpc_server_remote_end(struct grpc_stream *st);
/* Our last frame went out. */
void grpc_server_said(struct grpc_stream *st);
/* Reply to the first message. */
void grpc_server_reply(struct grpc_stream *st);
void grpc_server_trailers(struct grpc_stream *st);
/* Ends the call for what the peer did: drops what is queued, sends the status. */
void grpc_server_fail(struct grpc_stream *st, unsigned status, const char *text);

void grpc_client_field(struct grpc_stream *st, struct str name, struct str value);
/* last: the stream ends with it. */
void grpc_client_head(struct grpc_stream *st, bool last);
void grpc_client_remote_end(struct grpc_stream *st);
/* The status for an HTTP/2 error code that closed a stream. */
unsigned grpc_client_status(uint32_t code);

#endif
