/* The server's end of a call: which requests are taken, replies and trailers. */
#include "lib/base/mem.h"
#include "lib/wire/grpc_internal.h"
#include <assert.h>
#include <stdio.h>

void grpc_server_field(struct grpc_stream *st, struct str name, struct str value)
{
    if (st->head_in)
        return; /* trailers of a request mean nothing */
    if (str_eq(name, STR(":method"))) {
        st->fields.post = str_eq(value, STR("POST"));
    } else if (str_eq(name, STR(":path")) && !st->path) {
        st->path = mem_dup(value.p, value.n);
        st->path_n = value.n;
        if (!st->path)
            grpc_session_no_memory(st->s);
    } else if (str_eq(name, STR("content-type"))) {
        st->fields.content_type = grpc_content_type(value);
    } else if (str_eq(name, STR("te"))) {
        st->fields.trailers = str_ieq(value, STR("trailers"));
    }
}

/* ---- answers ---- */

static void submit_reply(struct grpc_stream *st, const nghttp2_nv *fields, size_t n, bool data)
{
    nghttp2_data_provider provider = {.read_callback = grpc_stream_read};
    st->head_out = true;
    grpc_session_check(
        st->s, nghttp2_submit_response(st->s->ng, st->id, fields, n, data ? &provider : NULL));
}

/* An answer of HTTP alone, to what is no gRPC. */
static void refuse_http(
    struct grpc_stream *st, struct str status, struct str name, struct str value)
{
    nghttp2_nv fields[] = {grpc_field(STR(":status"), status), grpc_field(name, value)};
    st->finished = st->over = true;
    submit_reply(st, fields, 2, false);
}

void grpc_server_reply(struct grpc_stream *st)
{
    nghttp2_nv fields[] = {
        grpc_field(STR(":status"), STR("200")),
        grpc_field(STR("content-type"), STR("application/grpc")),
        grpc_field(STR("grpc-accept-encoding"), STR("identity")),
    };
    submit_reply(st, fields, sizeof(fields) / sizeof(fields[0]), true);
}

/* Sets what the trailers say. */
static void set_status(struct grpc_stream *st, unsigned status, struct str text)
{
    st->status = status;
    if (text.n > GRPC_TEXT_MAX)
        text.n = GRPC_TEXT_MAX;
    if (text.n == 0)
        return;
    st->text = mem_alloc(3 * text.n);
    if (st->text)
        st->text_n = grpc_text_encode(text, st->text);
    else
        grpc_session_no_memory(st->s);
}

#define TRAILERS_MAX 2

static size_t make_trailers(const struct grpc_stream *st, char number[static 12], nghttp2_nv *out)
{
    size_t n = 0;
    int digits = snprintf(number, 12, "%u", st->status);
    out[n++] = grpc_field(STR("grpc-status"), str_of(number, (size_t)digits));
    if (st->text_n)
        out[n++] = grpc_field(STR("grpc-message"), str_of(st->text, st->text_n));
    return n;
}

void grpc_server_trailers(struct grpc_stream *st)
{
    nghttp2_nv fields[TRAILERS_MAX];
    char number[12];
    size_t n = make_trailers(st, number, fields);
    grpc_session_check(st->s, nghttp2_submit_trailer(st->s->ng, st->id, fields, n));
}

static void trailers_only(struct grpc_stream *st)
{
    nghttp2_nv fields[3 + TRAILERS_MAX] = {
        grpc_field(STR(":status"), STR("200")),
        grpc_field(STR("content-type"), STR("application/grpc")),
        grpc_field(STR("grpc-accept-encoding"), STR("identity")),
    };
    char number[12];
    size_t n = 3 + make_trailers(st, number, fields + 3);
    submit_reply(st, fields, n, false);
}

/* After what is queued: status and text. */
static void finish(struct grpc_stream *st, unsigned status, struct str text)
{
    st->finished = true;
    set_status(st, status, text);
    if (st->s->dead)
        return;
    if (st->head_out)
        grpc_stream_wake(st); /* grpc_stream_read goes on with the trailers */
    else
        trailers_only(st);
}

void grpc_finish(struct grpc_stream *st, unsigned status, struct str text)
{
    if (!st->s->server || st->finished || st->s->dead)
        return;
    st->by_finish = true;
    finish(st, status, text);
}

void grpc_server_fail(struct grpc_stream *st, unsigned status, const char *text)
{
    if (st->over)
        return;
    st->over = true;
    st->why = text;
    if (st->finished)
        return; /* the owner's status stands */
    grpc_queue_clear(&st->out);
    finish(st, status, str_c(text));
}

/* ---- requests ---- */

/* "/package.Service/Method" */
static bool is_method(struct str path)
{
    if (path.n < 4 || path.p[0] != '/')
        return false;
    struct str rest = str_from(path, 1);
    size_t slash = str_find(rest, '/');
    return slash > 0 && slash + 1 < rest.n;
}

/* Asks the owner. */
static void offer(struct grpc_stream *st)
{
    struct grpc_session *s = st->s;
    const char *text = NULL;
    st->owed = true;
    unsigned status = s->events.on_call(st, str_of(st->path, st->path_n), &text, s->arg);
    if (status == GRPC_OK)
        return;
    st->owed = false;
    grpc_server_fail(st, status, text ? text : "");
}

void grpc_server_head(struct grpc_stream *st)
{
    if (st->head_in)
        return;
    st->head_in = true;
    if (st->fields.bytes > GRPC_HEADER_LIST_BYTES)
        grpc_server_fail(
            st, GRPC_RESOURCE_EXHAUSTED, "the header fields are larger than the limit");
    else if (!st->fields.post)
        refuse_http(st, STR("405"), STR("allow"), STR("POST"));
    else if (!st->fields.content_type)
        refuse_http(st, STR("415"), STR("accept"), STR("application/grpc"));
    else if (!st->fields.trailers)
        grpc_server_fail(st, GRPC_INTERNAL, "the request lacks te: trailers");
    else if (!is_method(str_of(st->path, st->path_n)))
        grpc_server_fail(st, GRPC_UNIMPLEMENTED, "the path names no method");
    else
        offer(st);
}

void grpc_server_remote_end(struct grpc_stream *st)
{
    struct grpc_session *s = st->s;
    if (st->over || st->finished)
        return;
    if (grpc_frames_partial(&st->in))
        grpc_server_fail(st, GRPC_INTERNAL, "the request ends within a message");
    else if (s->events.on_half_close)
        s->events.on_half_close(st, s->arg);
}

void grpc_server_said(struct grpc_stream *st)
{
    struct grpc_session *s = st->s;
    if (nghttp2_session_get_stream_remote_close(s->ng, st->id) == 0)
        grpc_session_check(
            s, nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR));
    if (st->by_finish)
        grpc_stream_end(st, GRPC_OK, STR(""));
    else
        grpc_stream_end(st, GRPC_CANCELLED, str_c(st->why));
}
