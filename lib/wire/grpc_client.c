/* The client's end of a call: requests, and what replies and trailers mean. */
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/wire/grpc_internal.h"
#include <assert.h>
#include <stdio.h>

static nghttp2_nv fixed(struct str name, struct str value)
{
    nghttp2_nv field = grpc_field(name, value);
    field.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    return field;
}

struct grpc_stream *grpc_call(struct grpc_session *s, struct str authority, struct str path)
{
    nghttp2_nv fields[] = {
        fixed(STR(":method"), STR("POST")),
        fixed(STR(":scheme"), STR("http")),
        grpc_field(STR(":path"), path),
        grpc_field(STR(":authority"), authority),
        fixed(STR("te"), STR("trailers")),
        fixed(STR("content-type"), STR("application/grpc")),
        fixed(STR("grpc-accept-encoding"), STR("identity")),
        fixed(STR("user-agent"), STR("offshoot/" OFFSHOOT_VERSION)),
    };
    nghttp2_data_provider provider = {.read_callback = grpc_stream_read};
    if (s->server || s->dead || s->shutdown || s->fault.code ||
        !nghttp2_session_check_request_allowed(s->ng))
        return NULL;
    struct grpc_stream *st = grpc_stream_new(s);
    if (!st)
        return NULL;
    int32_t id = nghttp2_submit_request(
        s->ng, NULL, fields, sizeof(fields) / sizeof(fields[0]), &provider, st);
    if (id < 0) {
        grpc_stream_end(st, GRPC_UNAVAILABLE, STR(""));
        return NULL;
    }
    st->id = id;
    st->head_out = true;
    st->owed = true;
    return st;
}

static void take_text(struct grpc_stream *st, struct str value)
{
    mem_free(st->text);
    st->text = mem_alloc(value.n);
    if (!st->text) {
        st->text_n = 0;
        grpc_session_no_memory(st->s);
        return;
    }
    st->text_n = grpc_text_decode(value, st->text);
    if (st->text_n > GRPC_TEXT_MAX)
        st->text_n = GRPC_TEXT_MAX;
}

void grpc_client_field(struct grpc_stream *st, struct str name, struct str value)
{
    uint32_t number;
    if (str_eq(name, STR(":status"))) {
        st->fields.http = parse_u32(value, 100, 999, &number) == 0 ? number : 0;
    } else if (str_eq(name, STR("content-type"))) {
        st->fields.content_type = grpc_content_type(value);
    } else if (str_eq(name, STR("grpc-status"))) {
        bool known = parse_u32(value, GRPC_OK, GRPC_UNAUTHENTICATED, &number) == 0;
        st->fields.status = known ? (int)number : GRPC_UNKNOWN;
    } else if (str_eq(name, STR("grpc-message"))) {
        take_text(st, value);
    }
}

/* http-grpc-status-mapping.md of gRPC: for replies that are no gRPC. */
static unsigned status_of_http(unsigned http)
{
    switch (http) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

static void not_grpc(struct grpc_stream *st)
{
    char text[64];
    unsigned http = st->fields.http;
    int n = snprintf(text, sizeof(text),
        http == 200 ? "the reply's content-type is not application/grpc" : "HTTP status %u", http);
    take_text(st, str_of(text, (size_t)n));
    grpc_stream_reset(st, NGHTTP2_CANCEL, status_of_http(http), NULL);
}

void grpc_client_head(struct grpc_stream *st, bool last)
{
    if (st->over)
        return;
    if (st->fields.bytes > GRPC_HEADER_LIST_BYTES) {
        grpc_stream_reset(st, NGHTTP2_CANCEL, GRPC_RESOURCE_EXHAUSTED,
            "the header fields are larger than the limit");
        return;
    }
    if (st->head_in || st->fields.http / 100 == 1)
        return;
    st->head_in = true;
    bool has_status = last && st->fields.status >= 0;
    if (st->fields.http != 200 ? !has_status : !st->fields.content_type)
        not_grpc(st);
}

void grpc_client_remote_end(struct grpc_stream *st)
{
    struct grpc_session *s = st->s;
    int status = st->fields.status;
    struct str text = {st->text, st->text_n};
    if (st->over)
        return;
    if (status < 0) {
        status = GRPC_UNKNOWN;
        text = STR("the reply ends without grpc-status");
    } else if (status == GRPC_OK && grpc_frames_partial(&st->in)) {
        status = GRPC_INTERNAL;
        text = STR("the reply ends within a message");
    }
    if (nghttp2_session_get_stream_local_close(s->ng, st->id) == 0)
        grpc_session_check(
            s, nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL));
    grpc_stream_end(st, (unsigned)status, text);
}

unsigned grpc_client_status(uint32_t code)
{
    switch (code) {
    case NGHTTP2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}
