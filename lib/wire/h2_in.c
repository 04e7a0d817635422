/* What comes, as nghttp2 tells it.
 *
 *   on_begin_headers → open (server), block
 *   on_header        → h2_text_field
 *   on_frame         → head, end; h2_text_end judges
 *   on_error, on_invalid_header, on_invalid_frame
 *                    → bad_head: nghttp2 refused the block, h2_head.h says by which rule
 *   on_data          → data */
#include "lib/wire/h2_internal.h"
#include "lib/wire/upgrade.h"
#include <stdio.h>
#include <sys/random.h>

enum {
    LIST_TIMES = 4, /* a list of fields so many times over the limit ends the connection */
};

static int verdict(const struct h2 *h)
{
    return h->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void refuse(struct h2 *h, int32_t id)
{
    h2_check(h, nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, id, H2_REFUSED_STREAM));
}

static void reset(struct h2_stream *st, uint32_t code)
{
    st->why = code;
    h2_check(st->h, nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id, code));
}

/* ---- a block begins ---- */

static struct h2_stream *open_stream(struct h2 *h, int32_t id)
{
    struct h2_stream *st = NULL;
    h->open++;
    if (h->open > h->limits.streams)
        h2_spend(h, H2_ODD_REFUSED);
    else if (!h->fault)
        st = h->ev->open(h, h->owner);
    if (!st) {
        refuse(h, id);
        return NULL;
    }
    st->h = h;
    st->id = id;
    list_append(&h->streams, &st->link);
    nghttp2_session_set_stream_user_data(h->ng, id, st);
    h->recent = st;
    return st;
}

static enum h2_kind kind_of_block(const struct h2 *h, const struct h2_stream *st, bool request)
{
    if (h->server)
        return request ? H2_REQUEST : H2_TRAILERS;
    return st->head_in ? H2_TRAILERS : H2_REPLY;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    int32_t id = frame->hd.stream_id;
    bool request = h->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    struct h2_stream *st = request ? open_stream(h, id) : h2_stream_of(h, id);
    (void)ng;
    h->block = NULL;
    h->block_bytes = 0;
    if (!st || st->dropped)
        return verdict(h);
    enum h2_kind kind = kind_of_block(h, st, request);
    struct buf *b = h->ev->block(st, kind);
    if (!b) {
        st->faulted = true;
        reset(st, H2_INTERNAL_ERROR);
        return verdict(h);
    }
    h2_text_init(&st->text, kind, b, h->limits.head_bytes, h->limits.fields, h->limits.extended);
    h->block = st;
    return verdict(h);
}

/* ---- its fields ---- */

/* A list that grows far over its limit is a bomb: indices of one byte that stand for thousands. */
static bool bomb(struct h2 *h, size_t n)
{
    h->block_bytes += (uint32_t)n + 32;
    if (h->block_bytes / LIST_TIMES <= h->limits.head_bytes)
        return false;
    if (!h->fault)
        h->ev->odd(h, H2_ODD_HEAD);
    h2_fault(h, H2_ENHANCE_YOUR_CALM, "a list of fields far over the limit of", "head_bytes");
    return true;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct h2 *h = user;
    (void)ng;
    (void)frame;
    (void)flags;
    if (bomb(h, name_n + value_n))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (h->block)
        h2_text_field(&h->block->text, str_of((const char *)name, name_n),
            str_of((const char *)value, value_n));
    return 0;
}

/* nghttp2 refuses a field. What h2_head.h finds nothing wrong with is named by its place. */
static void refuse_field(struct h2 *h, struct str name, struct str value)
{
    struct h2_text *t = &h->block->text;
    h2_text_field(t, name, value);
    if (t->error)
        return;
    t->b->end = t->mark;
    t->error = H2_E_MESSAGE;
    if (str_eq(name, STR(":path")))
        t->error = H2_E_PATH;
    else if (str_eq(name, STR(":authority")) || str_eq(name, STR("host")))
        t->error = H2_E_AUTHORITY;
    else if (str_eq(name, STR(":method")))
        t->error = H2_E_METHOD;
    else if (str_eq(name, STR(":status")))
        t->error = H2_E_STATUS;
}

/* It would pass over such a field; here it fails the stream. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct h2 *h = user;
    (void)ng;
    (void)frame;
    (void)flags;
    if (h->block)
        refuse_field(h, str_of((const char *)name, name_n), str_of((const char *)value, value_n));
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* A refused field that on_invalid_header is not told of stands in the text of the error:
 * "...: frame type: 1, stream: 1, name: [te], value: [gzip]". */
static int on_error(nghttp2_session *ng, int code, const char *text, size_t n, void *user)
{
    struct h2 *h = user;
    static const char before[] = "name: [", between[] = "], value: [";
    (void)ng;
    if (code == NGHTTP2_ERR_SETTINGS_EXPECTED && !h->fault) {
        h->fault = true;
        snprintf(h->reason, sizeof(h->reason), "the first frame is not 'SETTINGS'");
    }
    const char *name = h->block ? memmem(text, n, before, sizeof(before) - 1) : NULL;
    if (code != NGHTTP2_ERR_HTTP_HEADER || !name || h->block->text.error)
        return 0;
    name += sizeof(before) - 1;
    const char *end = text + n;
    const char *name_end = memmem(name, (size_t)(end - name), between, sizeof(between) - 1);
    if (!name_end)
        return 0;
    const char *value = name_end + sizeof(between) - 1;
    size_t value_n = (size_t)(end - value);
    if (value_n && value[value_n - 1] == ']')
        value_n--;
    refuse_field(h, str_of(name, (size_t)(name_end - name)), str_of(value, value_n));
    return 0;
}

/* ---- a block ends ---- */

static void count_bad_head(struct h2_stream *st)
{
    st->faulted = st->broken = true;
    h2_spend(st->h, H2_ODD_HEAD);
}

/* nghttp2 has put RST_STREAM into its queue. */
static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int why, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h->block;
    (void)ng;
    if (frame->hd.type != NGHTTP2_HEADERS || !st || st->id != frame->hd.stream_id)
        return 0;
    h->block = NULL;
    if (why == NGHTTP2_ERR_HTTP_MESSAGING)
        h2_text_end(&st->text, false, "");
    enum h2_error e = st->text.error ? (enum h2_error)st->text.error : H2_E_MESSAGE;
    st->text.b->end = st->text.mark;
    count_bad_head(st);
    h->ev->bad_head(st, (enum h2_kind)st->text.kind, e);
    return verdict(h);
}

static void new_key(char out[WEBSOCKET_KEY_BYTES])
{
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        memset(random, 0x5a, sizeof random); /* not secret: it only proves who read it */
    websocket_key(random, out);
}

static bool may_answer(const struct h2 *h, enum h2_kind kind, enum h2_error e)
{
    return h->server && kind == H2_REQUEST && (e == H2_E_TOO_LARGE || e == H2_E_TOO_MANY);
}

static void on_bad_text(struct h2 *h, struct h2_stream *st, enum h2_kind kind, enum h2_error e)
{
    count_bad_head(st);
    bool answered = h->ev->bad_head(st, kind, e);
    if (answered && may_answer(h, kind, e)) {
        st->dropped = true;
        st->broken = false;
    } else if (st->h) {
        reset(st, H2_PROTOCOL_ERROR);
    }
}

/* ---- the message as a whole: RFC 9113 section 8.1 ---- */

/* How many bytes of body the head of a request or final reply calls for; -1: any number. */
static int64_t body_of(const struct h2 *h, const struct h2_stream *st)
{
    unsigned status = st->text.status;
    if (st->connect)
        return -1;
    if (!h->server && (st->head_method || status == 204 || status == 304))
        return 0;
    return st->text.length;
}

static enum h2_error judge_block(struct h2 *h, struct h2_stream *st, enum h2_kind kind, bool end)
{
    if (kind == H2_TRAILERS)
        return end && (st->expected < 0 || st->received == st->expected) ? H2_OK : H2_E_MESSAGE;
    if (kind == H2_REPLY && st->text.status < 200)
        return end ? H2_E_MESSAGE : H2_OK;
    st->head_in = true;
    st->expected = body_of(h, st);
    return end && st->expected > 0 ? H2_E_MESSAGE : H2_OK;
}

/* The body is not what the head told. `close` follows, unless the owner lets go before: so it is
 * counted now. */
static void bad_body(struct h2_stream *st)
{
    if (!st->faulted)
        h2_spend(st->h, H2_ODD_OWN_RESET);
    st->dropped = st->broken = st->faulted = true;
    st->h->ev->bad_head(st, st->h->server ? H2_REQUEST : H2_REPLY, H2_E_MESSAGE);
    reset(st, H2_PROTOCOL_ERROR);
}

static void on_block(struct h2 *h, struct h2_stream *st, bool end)
{
    char key[WEBSOCKET_KEY_BYTES] = "";
    enum h2_kind kind = (enum h2_kind)st->text.kind;
    bool tunnel = h->server && st->text.protocol.n > 0;
    if (tunnel)
        new_key(key);
    enum h2_error e = h2_text_end(&st->text, end, key);
    st->end_in |= end;
    st->connect |= tunnel;
    if (!e) {
        e = judge_block(h, st, kind, end);
        if (e)
            st->text.b->end = st->text.mark;
    }
    if (e) {
        on_bad_text(h, st, kind, e);
        return;
    }
    h->ev->head(st, kind, end);
    if (kind == H2_TRAILERS)
        h->ev->end(st);
}

/* ---- frames ---- */

static void on_data_frame(struct h2 *h, const nghttp2_frame *frame)
{
    struct h2_stream *st = h2_stream_of(h, frame->hd.stream_id);
    h->told_bytes += frame->hd.length;
    h->told_frames++;
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        if (frame->hd.length && frame->hd.length == frame->data.padlen)
            h2_spend(h, H2_ODD_EMPTY_DATA);
        return;
    }
    if (!h->server)
        h2_earn(h);
    if (!st)
        return;
    st->end_in = true;
    if (st->dropped)
        return;
    if (st->expected >= 0 && st->received != st->expected)
        bad_body(st);
    else
        h->ev->end(st);
}

static void on_headers_frame(struct h2 *h, const nghttp2_frame *frame)
{
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2_stream *st = h->block;
    h->block = NULL;
    if (end && !h->server)
        h2_earn(h);
    if (st) {
        on_block(h, st, end);
        return;
    }
    st = h2_stream_of(h, frame->hd.stream_id); /* one that is dropped */
    if (st)
        st->end_in |= end;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st;
    (void)ng;
    if (h->fault)
        return verdict(h);
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        on_data_frame(h, frame);
        break;
    case NGHTTP2_HEADERS:
        on_headers_frame(h, frame);
        break;
    case NGHTTP2_RST_STREAM:
        st = h2_stream_of(h, frame->hd.stream_id);
        if (!st || !(h->server ? st->end_out : st->end_in))
            h2_spend(h, H2_ODD_RESET);
        break;
    case NGHTTP2_SETTINGS:
        for (size_t i = 0; i < frame->settings.niv; i++)
            if (frame->settings.iv[i].settings_id == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE)
                h2_encode_limit(h, frame->settings.iv[i].value);
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK) && h->room_asked) {
            h->room_asked = false;
            h->ev->wake(h, NULL);
        }
        break;
    case NGHTTP2_GOAWAY:
        h->ev->goaway(h, frame->goaway.last_stream_id, frame->goaway.error_code);
        break;
    default:
        break;
    }
    return verdict(h);
}

static int on_data(
    nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, id);
    (void)flags;
    if (!st || st->dropped || h->fault) {
        h2_check(h, nghttp2_session_consume(ng, id, n));
        return verdict(h);
    }
    st->received += (int64_t)n;
    if (!st->head_in || (st->expected >= 0 && st->received > st->expected)) {
        bad_body(st);
        h2_check(h, nghttp2_session_consume(ng, id, n));
        return verdict(h);
    }
    st->unread += (uint32_t)n;
    h->unread += (uint32_t)n;
    h2_credit_connection(h, (uint32_t)n);
    h->ev->data(st, (const char *)bytes, n);
    return verdict(h);
}

void h2_in_callbacks(nghttp2_session_callbacks *cbs)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(cbs, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cbs, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    nghttp2_session_callbacks_set_error_callback2(cbs, on_error);
}
