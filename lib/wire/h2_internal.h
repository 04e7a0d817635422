/* What the files of the HTTP/2 session share. Private to lib/wire/h2*.c.
 *
 *   h2.c       making and freeing, bytes in and out, the stream's ends
 *   h2_in.c    callbacks of nghttp2 for what comes
 *   h2_out.c   heads, DATA and trailers going out
 *   h2_odd.c   frame headers watched, floods
 *   h2_encode.c  HPACK of heads
 *   h2_mem.c   nghttp2's memory */
#ifndef OFFSHOOT_WIRE_H2_INTERNAL_H
#define OFFSHOOT_WIRE_H2_INTERNAL_H

#include "lib/wire/h2.h"
#include <nghttp2/nghttp2.h>

#define H2_FRAME_HEAD    9u
#define H2_FRAME_ROOM    (H2_FRAME_MAX + H2_FRAME_HEAD)
#define H2_CONTINUATIONS 8u /* of one block */
#define H2_REMEMBERED    4u

/* The frame that is on its way in, as far as its header and the first four bytes. */
struct h2_watch {
    uint8_t bytes[H2_FRAME_HEAD + 4];
    uint8_t have, need;
    uint8_t preface;       /* bytes of the client's preface still to come */
    uint8_t continuations; /* since the last HEADERS */
    bool settings;         /* the peer's first SETTINGS came */
    uint32_t skip;         /* payload bytes left */
    /* Streams that the peer ended last, and spans of numbers it passed over: frames on them are
     * faults, while on other streams without an owner they may have crossed our RST_STREAM. */
    uint32_t ended[H2_REMEMBERED], passed_from[H2_REMEMBERED], passed_to[H2_REMEMBERED];
    uint32_t highest;
    uint8_t ended_at, passed_at;
};

/* What h2_send has to give while it runs. */
struct h2_pull {
    struct h2_stream *st;
    struct buf *to, *out;
    struct str *span;
    bool last;
    bool ended; /* the last of it is in a frame */
};

struct h2 {
    nghttp2_session *ng;
    const struct h2_events *ev;
    void *owner;
    struct h2_limits limits;
    struct list streams;
    uint32_t open;   /* streams that nghttp2 holds, also those the owner let go of */
    uint32_t unread; /* over all streams */
    uint32_t owed;   /* bytes that the connection's window still has to get back */
    uint32_t odd;    /* tokens left */
    uint32_t free_pings, free_windows, pongs;
    uint32_t late;    /* bytes of DATA that may still come of streams that we reset */
    uint32_t goaways; /* that came */
    /* DATA frames that came whole, and those of living streams among them. */
    uint64_t data_bytes, told_bytes;
    uint32_t data_frames, told_frames;
    uint64_t now_ms, filled_ms;
    struct h2_watch watch;
    struct h2_pull *pull;
    struct buf *to;           /* h2_attach */
    struct h2_stream *recent; /* looked up last, or NULL */
    struct h2_pool *pool;
    struct h2_encoder *encoder;
    struct arena *arena; /* of the pool, or NULL */
    struct chunk *chunk; /* that it is in */
    uint8_t *packed;     /* what it held, while the session rests */
    uint32_t packed_words;
    uint32_t rested_room; /* what h2_room says meanwhile */
    bool rested_extended;
    void *kept;
    struct h2_stream *block; /* whose block of fields is being read, NULL: nobody's */
    uint32_t block_bytes;    /* size of its list of fields so far, RFC 9113 section 6.5.2 */
    bool server;
    bool keeping;      /* h2_mem_keep */
    bool preface_due;  /* client: nothing was said yet */
    bool settings_out; /* our SETTINGS are in the buffer */
    bool dead;         /* memory ran out */
    bool fault;        /* the connection ends because of the peer */
    bool closing;      /* no new streams of ours */
    bool room_asked;   /* the owner waits for room for a stream */
    bool making;       /* the session is being made */
    bool frame_shared; /* its frame buffer is the pool's */
    bool cut;          /* a pump ended for want of room */
    bool paused;       /* mem_send came back to have the room judged */
    char reason[120];
};

/* h2.c */
struct h2_stream *h2_stream_of(struct h2 *h, int32_t id);
void h2_forget(struct h2_stream *st);
int h2_no_memory(struct h2 *h);
/* Notes out of memory when rc says so. */
void h2_check(struct h2 *h, int rc);
/* The connection ends: GOAWAY with code. The first reason stays. */
void h2_fault(struct h2 *h, uint32_t code, const char *what, const char *subject);
/* n bytes of the connection's window may come back, or wait for others to drain. */
void h2_credit_connection(struct h2 *h, uint32_t n);
/* Frames into `to` while they fit, and until the pull has ended. 0, 1 (no room), -ENOMEM. */
int h2_pump(struct h2 *h, struct buf *to);
/* Whether the frame submitted next will be the next one made, with room for it: what waits before
 * it is made first. Then h2_pump_head makes it. */
bool h2_pump_ready(struct h2 *h, struct buf *to);
void h2_pump_head(struct h2 *h, struct buf *to, const struct h2_field *f, uint16_t n);

/* h2_mem.c */
nghttp2_mem h2_mem(struct h2 *h);
void h2_pack(struct h2 *h); /* may do nothing */
void h2_unpack(struct h2 *h);
static inline void h2_wake(struct h2 *h)
{
    if (__builtin_expect(h->packed != NULL, 0))
        h2_unpack(h);
}
/* What nghttp2 frees in between stays. nghttp2_submit_data, when memory runs out, frees an object
 * that its stream still has, and would free it again at the end: attached says so. */
void h2_mem_keep(struct h2 *h);
void h2_mem_keep_end(struct h2 *h, bool attached);
void h2_mem_join(struct h2 *h, struct h2_pool *p);
void h2_mem_leave(struct h2 *h);

/* h2_encode.c */
int h2_encoder_new(struct h2 *h);
void h2_encoder_free(struct h2 *h);
/* The block of a head, for which there is room: less than 16 bytes more than name and value of each
 * field, and 12. How many bytes. */
size_t h2_encode(struct h2 *h, char *to, const struct h2_field *f, uint16_t n);
/* The peer's SETTINGS_HEADER_TABLE_SIZE, each time it comes. */
void h2_encode_limit(struct h2 *h, uint32_t bytes);
/* A block that nghttp2 made is on its way. */
void h2_encode_seen(struct h2 *h, const uint8_t *block, size_t n);

/* h2_in.c, h2_out.c: their callbacks. */
void h2_in_callbacks(nghttp2_session_callbacks *cbs);
void h2_out_callbacks(nghttp2_session_callbacks *cbs);

/* h2_odd.c */
/* Looks at the headers of the frames in p[0..n): how many bytes nghttp2 may have; fewer than n when
 * h2_fault was called. */
size_t h2_watch(struct h2 *h, const char *p, size_t n);
void h2_spend(struct h2 *h, enum h2_odd kind);
/* Work was done: a reply (request) was ended. */
void h2_earn(struct h2 *h);
void h2_earn_data(struct h2 *h, size_t n);
/* After nghttp2 read what h2_watch saw. */
void h2_late_data(struct h2 *h);
/* A stream is reset here: a window's bytes of it may be on their way. */
void h2_allow_late(struct h2 *h);

#endif
