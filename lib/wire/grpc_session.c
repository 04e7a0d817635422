/* A session: bytes through nghttp2, its callbacks, the peer's faults and floods.
 *
 *   feed     nghttp2_session_mem_recv → on_begin_frame   what a flood costs
 *                                       on_begin_headers a call begins (server)
 *                                       on_header        grpc_server_field, grpc_client_field
 *                                       on_frame         grpc_*_head, grpc_*_remote_end
 *                                       on_data          grpc_stream_data → on_message
 *   produce  nghttp2_session_mem_send → grpc_stream_read, on_frame_sent → on_drained, on_end
 *   both     on_close → on_end; then grpc_stream_reap, which ends what was cancelled */
#include "lib/base/mem.h"
#include "lib/wire/grpc_internal.h"
#include <assert.h>
#include <errno.h>
#include <time.h>

#define STREAM_WINDOW     (1u << 20)
#define CONNECTION_WINDOW (4u << 20)
#define SETTINGS_MAX      32u  /* entries of one SETTINGS frame */
#define ACKS_MAX          256u /* answers to PING and SETTINGS that wait */

/* ---- faults ---- */

int grpc_session_no_memory(struct grpc_session *s)
{
    s->dead = true;
    return -ENOMEM;
}

void grpc_session_check(struct grpc_session *s, int rc)
{
    if (rc == NGHTTP2_ERR_NOMEM)
        grpc_session_no_memory(s);
}

/* The connection ends with a GOAWAY that says code. */
static void fault(struct grpc_session *s, uint32_t code, const char *what, const char *subject)
{
    if (s->fault.code)
        return;
    err_set(&s->fault, -EPROTO, "%s '%s'", what, subject);
    grpc_session_check(s, nghttp2_session_terminate_session(s->ng, code));
}

/* ---- floods ---- */

static const struct {
    uint32_t burst, per_second, earned; /* earned with a message */
    const char *what;
} floods[FLOOD_KINDS] = {
    [FLOOD_CONTROL] = {1000, 50, 1, "PING or SETTINGS"},
    [FLOOD_RESET] = {200, 20, 0, "RST_STREAM"},
    [FLOOD_LIGHT] = {10000, 1000, 16, "frames without content"},
};

static uint64_t now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec;
}

static void raise_budget(struct grpc_session *s, enum flood kind, uint64_t by)
{
    uint64_t sum = s->budget[kind] + by;
    s->budget[kind] = sum < floods[kind].burst ? (uint32_t)sum : floods[kind].burst;
}

static void spend(struct grpc_session *s, enum flood kind)
{
    if (s->budget[kind] == 0) {
        uint64_t now = now_s();
        for (unsigned i = 0; i < FLOOD_KINDS; i++)
            raise_budget(s, i, (now - s->filled_s) * floods[i].per_second);
        s->filled_s = now;
    }
    if (s->budget[kind])
        s->budget[kind]--;
    else
        fault(s, NGHTTP2_ENHANCE_YOUR_CALM, "the peer floods with", floods[kind].what);
}

void grpc_session_earn(struct grpc_session *s)
{
    for (unsigned i = 0; i < FLOOD_KINDS; i++)
        raise_budget(s, i, floods[i].earned);
}

/* ---- callbacks of nghttp2 ---- */

static struct grpc_session *session_of(void *user)
{
    struct grpc_session *s = user;
    assert(s->magic == GRPC_SESSION_MAGIC);
    return s;
}

/* NULL when the stream is none of ours any more. */
static struct grpc_stream *stream_of(struct grpc_session *s, int32_t id)
{
    struct grpc_stream *st = nghttp2_session_get_stream_user_data(s->ng, id);
    assert(!st || st->magic == GRPC_STREAM_MAGIC);
    return st;
}

static int verdict(const struct grpc_session *s)
{
    return s->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    struct grpc_session *s = session_of(user);
    bool ack = hd->flags & NGHTTP2_FLAG_ACK;
    (void)ng;
    if (hd->type != NGHTTP2_CONTINUATION)
        s->continuations = 0;
    switch (hd->type) {
    case NGHTTP2_DATA: /* in on_frame */
        break;
    case NGHTTP2_HEADERS:
        if (!s->server) /* interim replies have no end */
            spend(s, FLOOD_LIGHT);
        break;
    case NGHTTP2_CONTINUATION:
        if (++s->continuations > GRPC_CONTINUATIONS_MAX)
            fault(s, NGHTTP2_ENHANCE_YOUR_CALM, "the peer floods with", "CONTINUATION");
        break;
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
        spend(s, ack ? FLOOD_LIGHT : FLOOD_CONTROL);
        break;
    case NGHTTP2_RST_STREAM:
        spend(s, FLOOD_RESET);
        break;
    default:
        spend(s, FLOOD_LIGHT);
    }
    return verdict(s);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct grpc_session *s = session_of(user);
    int32_t id = frame->hd.stream_id;
    struct grpc_stream *st = stream_of(s, id);
    bool request = s->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    /* One that comes while a GOAWAY waits to go out is above what that names: not seen. */
    if (!st && request && !s->shutdown && !s->fault.code) {
        st = grpc_stream_new(s);
        if (!st) {
            grpc_session_no_memory(s);
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        st->id = id;
        nghttp2_session_set_stream_user_data(ng, id, st);
    }
    if (st)
        st->fields = (struct grpc_fields){.status = -1};
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct grpc_session *s = session_of(user);
    struct grpc_stream *st = stream_of(s, frame->hd.stream_id);
    (void)ng;
    (void)flags;
    if (!st || st->over || st->fields.bytes > GRPC_HEADER_LIST_BYTES)
        return 0;
    st->fields.bytes += (uint32_t)(name_n + value_n + 32);
    if (st->fields.bytes > GRPC_HEADER_LIST_BYTES)
        return 0;
    (s->server ? grpc_server_field : grpc_client_field)(
        st, str_of((const char *)name, name_n), str_of((const char *)value, value_n));
    return verdict(s);
}

static int on_data(
    nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n, void *user)
{
    struct grpc_session *s = session_of(user);
    struct grpc_stream *st = stream_of(s, id);
    (void)ng;
    (void)flags;
    if (st && !s->fault.code && grpc_stream_data(st, str_of((const char *)bytes, n)) < 0)
        grpc_session_no_memory(s);
    return verdict(s);
}

/* A whole HEADERS (with its CONTINUATIONs) or DATA of a stream. May free st. */
static void on_stream_frame(struct grpc_stream *st, const nghttp2_frame *frame)
{
    bool server = st->s->server;
    bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_DATA)
        st->fields.status = -1; /* no trailers if it is the last */
    else if (server)
        grpc_server_head(st);
    else
        grpc_client_head(st, last);
    if (last)
        (server ? grpc_server_remote_end : grpc_client_remote_end)(st);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct grpc_session *s = session_of(user);
    struct grpc_stream *st;
    (void)ng;
    if (s->fault.code)
        return verdict(s);
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        if (frame->hd.length == frame->data.padlen && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            spend(s, FLOOD_LIGHT);
        /* fall through */
    case NGHTTP2_HEADERS:
        st = stream_of(s, frame->hd.stream_id);
        if (st)
            on_stream_frame(st, frame);
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && s->pongs < s->pings)
            s->pongs++;
        break;
    default:
        break;
    }
    return verdict(s);
}

/* GOAWAY of nghttp2's own says in its debug data what the peer did wrong. */
static void goaway_sent(struct grpc_session *s, const nghttp2_goaway *goaway)
{
    if (goaway->error_code == NGHTTP2_NO_ERROR || s->fault.code)
        return;
    err_set(&s->fault, -EPROTO, "the peer breaks HTTP/2: '%s%s%.*s'",
        nghttp2_http2_strerror(goaway->error_code), goaway->opaque_data_len ? ", " : "",
        (int)goaway->opaque_data_len,
        goaway->opaque_data_len ? (const char *)goaway->opaque_data : "");
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct grpc_session *s = session_of(user);
    struct grpc_stream *st = stream_of(s, frame->hd.stream_id);
    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_GOAWAY:
        goaway_sent(s, &frame->goaway);
        break;
    case NGHTTP2_RST_STREAM:
        if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
            frame->rst_stream.error_code != NGHTTP2_CANCEL) /* these two are ours */
            spend(s, FLOOD_RESET);
        break;
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        if (frame->hd.type == NGHTTP2_DATA)
            grpc_session_earn(s);
        if (st && s->server && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            grpc_server_said(st);
        else if (st && frame->hd.type == NGHTTP2_DATA)
            grpc_stream_progress(st);
        break;
    default:
        break;
    }
    return verdict(s);
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct grpc_session *s = session_of(user);
    struct grpc_stream *st = stream_of(s, id);
    (void)ng;
    if (!st)
        return 0;
    if (st->reap)
        grpc_stream_end(st, st->status, st->why ? str_c(st->why) : str_of(st->text, st->text_n));
    else if (s->server)
        grpc_stream_end(st, GRPC_CANCELLED, STR("the stream was reset"));
    else
        grpc_stream_end(st, grpc_client_status(code), str_c(nghttp2_http2_strerror(code)));
    return verdict(s);
}

static int on_error(nghttp2_session *ng, int code, const char *text, size_t n, void *user)
{
    struct grpc_session *s = session_of(user);
    (void)ng;
    if (code == NGHTTP2_ERR_SETTINGS_EXPECTED && s->fault.code == 0)
        err_set(&s->fault, -EPROTO, "the peer breaks HTTP/2: '%.*s'", (int)n, text);
    return 0;
}

/* ---- making and freeing ---- */

static void *ng_malloc(size_t size, void *arg)
{
    (void)arg;
    return mem_alloc(size);
}

static void ng_free(void *p, void *arg)
{
    (void)arg;
    mem_free(p);
}

static void *ng_calloc(size_t n, size_t size, void *arg)
{
    (void)arg;
    return size && n > SIZE_MAX / size ? NULL : mem_zalloc(n * size);
}

static void *ng_realloc(void *p, size_t size, void *arg)
{
    (void)arg;
    return mem_realloc(p, size);
}

static int make_session(struct grpc_session *s, const nghttp2_session_callbacks *cbs)
{
    nghttp2_mem mem = {NULL, ng_malloc, ng_free, ng_calloc, ng_realloc};
    nghttp2_option *o;
    if (nghttp2_option_new(&o) != 0)
        return -ENOMEM;
    nghttp2_option_set_max_outbound_ack(o, ACKS_MAX);
    nghttp2_option_set_max_settings(o, SETTINGS_MAX);
    nghttp2_option_set_no_closed_streams(o, 1);
    int rc = s->server ? nghttp2_session_server_new3(&s->ng, cbs, s, o, &mem)
                       : nghttp2_session_client_new3(&s->ng, cbs, s, o, &mem);
    nghttp2_option_del(o);
    return rc ? -ENOMEM : 0;
}

static int make_ng(struct grpc_session *s)
{
    nghttp2_session_callbacks *cbs;
    if (nghttp2_session_callbacks_new(&cbs) != 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_begin_frame_callback(cbs, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_close);
    nghttp2_session_callbacks_set_error_callback2(cbs, on_error);
    int rc = make_session(s, cbs);
    nghttp2_session_callbacks_del(cbs);
    return rc;
}

static int say_hello(struct grpc_session *s)
{
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEADER_LIST_BYTES},
        {s->server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH,
            s->server ? s->limits.streams : 0},
    };
    int rc = nghttp2_submit_settings(
        s->ng, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    return rc ? -ENOMEM : 0;
}

struct grpc_session *grpc_session_new(
    bool server, const struct grpc_limits *limits, const struct grpc_events *events, void *arg)
{
    struct grpc_session *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->magic = GRPC_SESSION_MAGIC;
    s->server = server;
    s->limits = *limits;
    s->events = *events;
    s->arg = arg;
    list_init(&s->streams);
    for (unsigned i = 0; i < FLOOD_KINDS; i++)
        s->budget[i] = floods[i].burst;
    s->filled_s = now_s();
    if (make_ng(s) < 0 || say_hello(s) < 0) {
        grpc_session_free(s);
        return NULL;
    }
    return s;
}

void grpc_session_free(struct grpc_session *s)
{
    if (!s)
        return;
    assert(s->magic == GRPC_SESSION_MAGIC && !s->busy);
    s->busy = true;
    s->dead = true;
    while (!list_empty(&s->streams)) {
        struct grpc_stream *st = list_entry(s->streams.next, struct grpc_stream, link);
        if (st->reap)
            grpc_stream_end(
                st, st->status, st->why ? str_c(st->why) : str_of(st->text, st->text_n));
        else
            grpc_stream_end(
                st, s->server ? GRPC_CANCELLED : GRPC_UNAVAILABLE, STR("the connection is closed"));
    }
    nghttp2_session_del(s->ng);
    s->magic = 0;
    mem_free(s);
}

/* ---- bytes ---- */

/* What mem_recv returned that is no length. */
static void feed_failed(struct grpc_session *s, ssize_t rc)
{
    if (rc == NGHTTP2_ERR_NOMEM || s->dead)
        grpc_session_no_memory(s);
    else
        fault(s, rc == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR,
            "the peer breaks HTTP/2:", nghttp2_strerror((int)rc));
}

int grpc_session_feed(struct grpc_session *s, struct str bytes, struct err *e)
{
    assert(s->magic == GRPC_SESSION_MAGIC && !s->busy);
    s->busy = true;
    while (bytes.n && !s->dead && !s->fault.code) {
        size_t n = bytes.n < GRPC_FEED_BYTES ? bytes.n : GRPC_FEED_BYTES;
        ssize_t rc = nghttp2_session_mem_recv(s->ng, (const uint8_t *)bytes.p, n);
        if (rc < 0)
            feed_failed(s, rc);
        else
            bytes = str_from(bytes, (size_t)rc);
        if (!s->dead &&
            nghttp2_session_get_outbound_queue_size(s->ng) > GRPC_OUTBOUND_MAX + s->nstreams)
            fault(s, NGHTTP2_ENHANCE_YOUR_CALM, "the peer floods with",
                "frames whose answers it does not read");
    }
    grpc_stream_reap(s);
    s->busy = false;
    if (s->dead)
        return err_set(e, -ENOMEM, "out of memory in an HTTP/2 session");
    return s->fault.code ? err_set(e, s->fault.code, "%s", s->fault.text) : 0;
}

ssize_t grpc_session_produce(struct grpc_session *s, const uint8_t **ret)
{
    ssize_t n = 0;
    assert(s->magic == GRPC_SESSION_MAGIC && !s->busy);
    s->busy = true;
    do {
        grpc_stream_reap(s);
        n = s->dead ? 0 : nghttp2_session_mem_send(s->ng, ret);
        if (n < 0)
            grpc_session_no_memory(s);
    } while (n == 0 && s->reap && !s->dead);
    grpc_stream_reap(s);
    s->busy = false;
    return s->dead ? -ENOMEM : n;
}

bool grpc_session_done(const struct grpc_session *s)
{
    return s->dead || (!nghttp2_session_want_read(s->ng) && !nghttp2_session_want_write(s->ng));
}

void grpc_session_goodbye(struct grpc_session *s)
{
    if (s->dead || s->fault.code)
        return;
    grpc_session_check(
        s, nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE,
               nghttp2_session_get_last_proc_stream_id(s->ng), NGHTTP2_NO_ERROR, NULL, 0));
}

void grpc_session_shutdown(struct grpc_session *s)
{
    if (s->shutdown)
        return;
    s->shutdown = true;
    /* A client's calls may not have gone out yet, and none may follow its GOAWAY. */
    if (s->server || list_empty(&s->streams))
        grpc_session_goodbye(s);
}

int grpc_session_ping(struct grpc_session *s)
{
    if (s->dead || s->fault.code)
        return -EPIPE;
    if (nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, NULL) != 0)
        return -ENOMEM;
    s->pings++;
    return 0;
}

uint64_t grpc_session_pongs(const struct grpc_session *s)
{
    return s->pongs;
}

void *grpc_session_arg(const struct grpc_session *s)
{
    return s->arg;
}
