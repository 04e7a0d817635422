/* One direction of a body: bytes of `from` decoded, framed anew, sent to `to`.
 *
 * Small pieces are copied behind what already waits in to->out, so that a head and a small body
 * leave in one system call; large ones are sent from where they were received. Back-pressure: when
 * `to` takes no more, nothing is read from `from`; memory is the two buffers. A pump moves at most
 * 64 KiB a turn, then asks to be resumed. */
#ifndef OFFSHOOT_PROXY_FLOW_H
#define OFFSHOOT_PROXY_FLOW_H

#include "lib/wire/h1.h"
#include "proxy/conn.h"

struct captured;

enum flow_result {
    FLOW_WAIT,       /* an event or the ready list will bring us back */
    FLOW_DONE,       /* decoded to its end and everything handed to the socket */
    FLOW_TRUNCATED,  /* `from` ended before the body did */
    FLOW_FROM_ERROR, /* `from` broke */
    FLOW_TO_ERROR,   /* `to` broke */
    FLOW_MALFORMED,  /* flow->body.error says how */
    FLOW_EXTRA,      /* bytes after the end (only when `exclusive`); the last byte was not sent */
    FLOW_TOO_LARGE,  /* more content than `cap`; what is beyond was not sent, nor the end */
    FLOW_NO_MEMORY
};

struct flow {
    struct h1_body body;
    struct str span; /* content not sent yet, inside from->in */
    uint32_t used;   /* bytes of from->in to drop once span is sent */
    uint8_t framing; /* enum h1_framing of what is written: CHUNKED frames, others pass */
    bool exclusive;  /* nothing may follow the body (replies) */
    bool decoded;    /* end of body seen */
    bool done;       /* decoded, and all of it handed to the socket */
    bool discard;    /* `to` takes no more: content is read and dropped */
    bool pass_trailers;
    uint16_t ndeclaring;           /* of the head's fields, Trailer among them */
    const struct field *declaring; /* only trailers that these name pass; NULL: all */
    bool begun;                    /* some of it, or of the head before it, has left for `to` */
    bool tap_lost;
    bool too_large;       /* there is more content than `cap` */
    bool held;            /* `to` took nothing at some time; minrate.h begins anew then */
    bool trailers_lost;   /* memory was out: the message cannot be ended rightly */
    struct buf *tap;      /* raw bytes are kept here too, for a retry; NULL: not */
    uint64_t taken;       /* raw bytes dropped from `from` */
    uint64_t sent;        /* content bytes handed to `to` */
    uint64_t cap;         /* most of them; UINT64_MAX until somebody sets it */
    uint64_t stamp_us;    /* last time a byte moved */
    struct captured *tee; /* content and trailers are copied for it too (capture.h); NULL: not */
};

/* head: of the message whose body this is; to_framing: how it is written. */
void flow_init(struct flow *f, const struct h1_head *head, const struct h1_limits *limits,
    uint8_t to_framing, bool exclusive);
/* From now on content is read and dropped; what was decoded and not sent yet goes first. */
void flow_discard(struct flow *f, struct conn *from);
/* fields: room for limits->fields, used for trailers. Flushes to->out. */
enum flow_result flow_pump(
    struct flow *f, struct conn *from, struct conn *to, struct field *fields);

#endif
