/* A session: making and freeing, bytes in and out, and how a stream ends.
 *
 *   h2_input   h2_watch (h2_odd.c)        what a flood costs
 *              nghttp2_session_mem_recv → callbacks of h2_in.c → open, block, head, data, end
 *   h2_reply, h2_request, h2_send         frames (h2_out.c)
 *   h2_output  nghttp2_session_mem_send → what waits; wake
 *   any        on_close → close */
#include "lib/wire/h2.h"
#include "lib/base/mem.h"
#include "lib/wire/h2_internal.h"
#include <errno.h>
#include <stdio.h>

enum {
    CONNECTION_WINDOW_MAX = 1 << 20,
    TABLE_BYTES = 4096,
    STREAMS_DEFAULT = 100, /* until the peer says how many */
    SETTINGS_MAX = 32,     /* entries of a frame */
    ACKS_MAX = 1000,       /* answers that wait; the bucket is smaller */
    SEND_BLOCK_MAX = 256 << 10,
    SETTINGS_VALUE = 2, /* of an entry: two bytes of number, four of value */
    PREFACE_BYTES = 24,
    FREE_PINGS = 8, /* before any DATA was sent */
    FREE_WINDOWS = 32,
};

/* ---- faults ---- */

int h2_no_memory(struct h2 *h)
{
    h->dead = true;
    return -ENOMEM;
}

void h2_check(struct h2 *h, int rc)
{
    if (rc == NGHTTP2_ERR_NOMEM)
        h2_no_memory(h);
}

void h2_fault(struct h2 *h, uint32_t code, const char *what, const char *subject)
{
    if (h->fault)
        return;
    h->fault = true;
    snprintf(h->reason, sizeof(h->reason), "%s '%s'", what, subject);
    h2_check(h, nghttp2_session_terminate_session(h->ng, code));
}

/* ---- streams ---- */

struct h2_stream *h2_stream_of(struct h2 *h, int32_t id)
{
    if (!h->recent || h->recent->id != id)
        h->recent = nghttp2_session_get_stream_user_data(h->ng, id);
    return h->recent;
}

static void pay(struct h2 *h)
{
    if (h->owed == 0 || h->unread > h->limits.connection_hold)
        return;
    h2_check(h, nghttp2_session_consume_connection(h->ng, h->owed));
    h->owed = 0;
}

void h2_credit_connection(struct h2 *h, uint32_t n)
{
    h->owed += n;
    pay(h);
}

void h2_forget(struct h2_stream *st)
{
    struct h2 *h = st->h;
    list_remove(&st->link);
    if (h->block == st)
        h->block = NULL;
    if (h->recent == st)
        h->recent = NULL;
    h->unread -= st->unread;
    st->unread = 0;
    mem_free(st->trailers);
    st->trailers = NULL;
    st->h = NULL;
    pay(h);
}

static void let_go(struct h2_stream *st)
{
    nghttp2_session_set_stream_user_data(st->h->ng, st->id, NULL);
    h2_forget(st);
}

void h2_credit(struct h2_stream *st, uint32_t n)
{
    struct h2 *h = st->h;
    if (!h)
        return;
    if (n > st->unread)
        n = st->unread;
    st->unread -= n;
    h->unread -= n;
    if (!st->end_in)
        h2_check(h, nghttp2_session_consume_stream(h->ng, st->id, n));
    pay(h);
}

static void reset(struct h2 *h, int32_t id, uint32_t code)
{
    h2_check(h, nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, id, code));
}

void h2_reset(struct h2_stream *st, uint32_t code)
{
    struct h2 *h = st->h;
    if (!h)
        return;
    reset(h, st->id, code);
    let_go(st);
}

/* When our end still waits to be sent, on_sent resets the stream behind it (h2_out.c). */
void h2_done(struct h2_stream *st)
{
    struct h2 *h = st->h;
    if (!h)
        return;
    bool waits = st->end_out && nghttp2_session_get_stream_local_close(h->ng, st->id) == 0;
    if (!(st->end_out && st->end_in) && !waits)
        reset(h, st->id, h->server ? H2_NO_ERROR : H2_CANCEL);
    let_go(st);
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, id);
    (void)ng;
    h->open--;
    if (st) {
        h2_forget(st);
        if (code == H2_NO_ERROR)
            code = st->why;
        h->ev->close(st, code, code == H2_REFUSED_STREAM);
    }
    if (h->room_asked) {
        h->room_asked = false;
        h->ev->wake(h, NULL);
    }
    return h->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- making and freeing ---- */

static int make_session(struct h2 *h, const nghttp2_session_callbacks *cbs)
{
    nghttp2_mem mem = h2_mem(h);
    nghttp2_option *o;
    if (nghttp2_option_new(&o) != 0)
        return -ENOMEM;
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_no_http_messaging(o, h->limits.checked_once);
    nghttp2_option_set_max_outbound_ack(o, ACKS_MAX);
    nghttp2_option_set_max_settings(o, SETTINGS_MAX);
    nghttp2_option_set_max_continuations(o, UINT32_MAX); /* it counts reads, h2_odd.c frames */
    nghttp2_option_set_max_deflate_dynamic_table_size(o, TABLE_BYTES);
    nghttp2_option_set_max_send_header_block_length(o, SEND_BLOCK_MAX);
    nghttp2_option_set_peer_max_concurrent_streams(o, STREAMS_DEFAULT);
    nghttp2_option_set_max_reserved_remote_streams(o, 0);
    nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX); /* h2_odd.c counts */
    int rc = h->server ? nghttp2_session_server_new3(&h->ng, cbs, h, o, &mem)
                       : nghttp2_session_client_new3(&h->ng, cbs, h, o, &mem);
    nghttp2_option_del(o);
    return rc ? -ENOMEM : 0;
}

static int make_ng(struct h2 *h)
{
    nghttp2_session_callbacks *cbs;
    if (nghttp2_session_callbacks_new(&cbs) != 0)
        return -ENOMEM;
    h2_in_callbacks(cbs);
    h2_out_callbacks(cbs);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_close);
    h->making = true;
    int rc = make_session(h, cbs);
    if (rc == 0)
        rc = h2_encoder_new(h);
    h->making = false;
    if (rc == 0 && !h->server) { /* h2_pump says the preface: the frame buffer may be shared */
        const uint8_t *preface;
        if (nghttp2_session_mem_send(h->ng, &preface) != PREFACE_BYTES)
            rc = -ENOMEM;
        h->preface_due = true;
    }
    nghttp2_session_callbacks_del(cbs);
    return rc;
}

/* For nghttp2 a stream above an acknowledged limit is a connection error; RFC 9113 section 5.1.2
 * wants that stream refused, which h2_in.c does. So nghttp2 knows of no limit, and the number is
 * put into the frame on its way (see h2_pump): the first entry. */
static int say_hello(struct h2 *h)
{
    nghttp2_settings_entry e[5];
    size_t n = 0;
    if (h->server)
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, INT32_MAX};
    else
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h->limits.window};
    e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, h->limits.head_bytes};
    e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
    if (h->server && h->limits.extended)
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    if (nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, e, n) != 0)
        return -ENOMEM;
    uint32_t window = h->limits.connection_hold;
    if (window > CONNECTION_WINDOW_MAX)
        window = CONNECTION_WINDOW_MAX;
    if (window > H2_WINDOW_MAX &&
        nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, (int32_t)window) != 0)
        return -ENOMEM;
    return 0;
}

struct h2 *h2_new(
    bool server, const struct h2_limits *limits, const struct h2_events *events, void *owner)
{
    struct h2 *h = mem_zalloc(sizeof(*h));
    if (!h)
        return NULL;
    h->server = server;
    h->limits = *limits;
    h->ev = events;
    h->owner = owner;
    h->odd = limits->odd;
    h->free_pings = FREE_PINGS;
    h->free_windows = FREE_WINDOWS;
    h->late = limits->window;
    h->watch.need = H2_FRAME_HEAD;
    h->watch.preface = server ? PREFACE_BYTES : 0;
    list_init(&h->streams);
    h2_mem_join(h, limits->pool);
    if (make_ng(h) < 0 || say_hello(h) < 0) {
        h2_free(h);
        return NULL;
    }
    return h;
}

void h2_free(struct h2 *h)
{
    if (!h)
        return;
    h2_wake(h);
    h->dead = true;
    while (!list_empty(&h->streams)) {
        struct h2_stream *st = list_entry(h->streams.next, struct h2_stream, link);
        list_remove(&st->link);
        mem_free(st->trailers);
        st->trailers = NULL;
        st->h = NULL;
    }
    nghttp2_session_del(h->ng);
    h2_encoder_free(h);
    h2_mem_leave(h);
    mem_free(h);
}

void *h2_owner(const struct h2 *h)
{
    return h->owner;
}

void h2_attach(struct h2 *h, struct buf *to)
{
    h->to = to;
}

/* ---- bytes ---- */

static void input_failed(struct h2 *h, ssize_t rc)
{
    if (rc == NGHTTP2_ERR_NOMEM || h->dead)
        h2_no_memory(h);
    else if (rc == NGHTTP2_ERR_FLOODED || rc == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        h2_fault(h, H2_ENHANCE_YOUR_CALM, "the peer floods:", nghttp2_strerror((int)rc));
    else
        h2_fault(h, H2_PROTOCOL_ERROR, "the peer breaks HTTP/2:", nghttp2_strerror((int)rc));
}

int h2_input(struct h2 *h, const char *p, size_t n, uint64_t now_ms)
{
    h2_wake(h);
    if (h->now_ms == 0)
        h->filled_ms = now_ms;
    h->now_ms = now_ms;
    if (!h->dead && !h->fault) {
        n = h2_watch(h, p, n);
        ssize_t rc = n ? nghttp2_session_mem_recv(h->ng, (const uint8_t *)p, n) : 0;
        if (rc < 0)
            input_failed(h, rc);
        else if (h->data_frames != h->told_frames && !h->fault)
            h2_late_data(h);
    }
    if (h->dead)
        return -ENOMEM;
    return h->fault ? -EPROTO : 0;
}

bool h2_waiting(const struct h2 *h)
{
    return !h->dead && !h->packed && nghttp2_session_want_write(h->ng);
}

static void number_of_streams(const struct h2 *h, char *frame, size_t n)
{
    char *value = frame + H2_FRAME_HEAD + SETTINGS_VALUE;
    if (!h->server || n < H2_FRAME_HEAD + 6 || frame[3] != NGHTTP2_SETTINGS)
        return;
    for (int i = 0; i < 4; i++)
        value[i] = (char)(h->limits.streams >> (24 - 8 * i));
}

/* 1: mem_send gave bytes, or stopped to have the room judged; 0: it has nothing. */
static int pump_one(struct h2 *h, struct buf *to)
{
    const uint8_t *p;
    if (h->preface_due)
        buf_put(to, NGHTTP2_CLIENT_MAGIC, PREFACE_BYTES);
    h->preface_due = false;
    h->paused = false;
    ssize_t n = nghttp2_session_mem_send(h->ng, &p);
    if (n < 0)
        return h2_no_memory(h);
    char *frame = buf_tail(to);
    buf_put(to, (const char *)p, (size_t)n);
    if (n > 0 && p[3] == NGHTTP2_HEADERS)
        h2_encode_seen(h, p + H2_FRAME_HEAD, (size_t)n - H2_FRAME_HEAD);
    if (n && !h->settings_out) {
        number_of_streams(h, frame, (size_t)n);
        h->settings_out = true;
    }
    return n > 0 || h->paused;
}

static bool frame_fits(struct buf *to)
{
    if (buf_space(to) < H2_FRAME_ROOM)
        buf_compact(to);
    return buf_space(to) >= H2_FRAME_ROOM;
}

int h2_pump(struct h2 *h, struct buf *to)
{
    int rc = 1;
    h->cut = false;
    while (rc > 0 && !h->dead && !(h->pull && h->pull->ended)) {
        if (!frame_fits(to)) {
            h->cut = true;
            return nghttp2_session_want_write(h->ng);
        }
        rc = pump_one(h, to);
    }
    return h->dead ? -ENOMEM : 0;
}

bool h2_pump_ready(struct h2 *h, struct buf *to)
{
    if ((h->cut || nghttp2_session_get_outbound_queue_size(h->ng)) && h2_pump(h, to) != 0)
        return false;
    return !h->dead && h->settings_out && frame_fits(to);
}

/* The frame's header as nghttp2 made it, but for the length. Should it make another frame instead,
 * because the head may not go any more, that one goes as it is. */
void h2_pump_head(struct h2 *h, struct buf *to, const struct h2_field *f, uint16_t n)
{
    const uint8_t *p;
    ssize_t made = nghttp2_session_mem_send(h->ng, &p);
    if (made < 0)
        h2_no_memory(h);
    if (made <= 0)
        return;
    if (p[3] != NGHTTP2_HEADERS) {
        buf_put(to, (const char *)p, (size_t)made);
        return;
    }
    char *frame = buf_tail(to);
    memcpy(frame, p, H2_FRAME_HEAD);
    size_t block = h2_encode(h, frame + H2_FRAME_HEAD, f, n);
    frame[0] = (char)(block >> 16);
    frame[1] = (char)(block >> 8);
    frame[2] = (char)block;
    to->end += (uint32_t)(H2_FRAME_HEAD + block);
}

int h2_output(struct h2 *h, struct buf *b)
{
    if (h->packed)
        return 0;
    return h->dead ? -ENOMEM : h2_pump(h, b);
}

void h2_rest(struct h2 *h)
{
    if (h->packed || h->dead || h->fault || h->open || h->watch.have || h->watch.skip ||
        nghttp2_session_want_write(h->ng) || !nghttp2_session_want_read(h->ng))
        return;
    h->rested_room = h2_room(h);
    h->rested_extended = h2_peer_extended(h);
    h2_pack(h);
}

bool h2_over(const struct h2 *h)
{
    if (h->packed)
        return false;
    return h->dead || (!nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng));
}

bool h2_settled(const struct h2 *h)
{
    return h->watch.settings && !h->block;
}

const char *h2_reason(const struct h2 *h)
{
    return h->dead && !h->fault ? "out of memory" : h->reason;
}

uint32_t h2_streams(const struct h2 *h)
{
    return h->open;
}

uint32_t h2_room(const struct h2 *h)
{
    if (h->packed)
        return h->rested_room;
    if (h->dead || h->closing || !nghttp2_session_check_request_allowed(h->ng))
        return 0;
    uint32_t most =
        nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    if (most > h->limits.streams)
        most = h->limits.streams;
    return h->open < most ? most - h->open : 0;
}

bool h2_peer_extended(const struct h2 *h)
{
    if (h->packed)
        return h->rested_extended;
    return nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) ==
           1;
}

/* ---- the session's end ---- */

int h2_shutdown(struct h2 *h)
{
    h2_wake(h);
    if (h->dead || h->fault || !h->server)
        return 0;
    return nghttp2_submit_shutdown_notice(h->ng) == NGHTTP2_ERR_NOMEM ? h2_no_memory(h) : 0;
}

int h2_goaway(struct h2 *h, uint32_t code)
{
    h2_wake(h);
    if (h->dead || h->fault)
        return 0;
    h->closing = true;
    int rc = code == H2_NO_ERROR
                 ? nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE,
                       nghttp2_session_get_last_proc_stream_id(h->ng), code, NULL, 0)
                 : nghttp2_session_terminate_session(h->ng, code);
    return rc == NGHTTP2_ERR_NOMEM ? h2_no_memory(h) : 0;
}

int h2_ping(struct h2 *h)
{
    h2_wake(h);
    if (h->dead || h->fault)
        return 0;
    if (nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, NULL) == NGHTTP2_ERR_NOMEM)
        return h2_no_memory(h);
    h->pongs++;
    return 0;
}
