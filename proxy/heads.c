#include "proxy/heads.h"
#include "lib/base/counters.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/edge.h"
#include "proxy/actions.h"
#include "proxy/edge.h"
#include "proxy/forwarded.h"
#include "proxy/grpc_call.h"
#include "proxy/page.h"
#include "proxy/share.h"
#include "proxy/token.h"
#include "proxy/trace.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"
#include <errno.h>
#include <stdio.h>

/* ---- fields ---- */

static void put_field(struct out *o, const struct field *f)
{
    put(o, f->name, f->name_len);
    PUT(o, ": ");
    put(o, f->value, f->value_len);
    PUT(o, "\r\n");
}

/* Field lines that stand one behind the other in the head they came in, not written yet. */
struct lines {
    const char *p;
    size_t n;
};

/* The length of f's line if it came as we would write it, "name: value" CRLF, else 0. A value that
 * was edited lies elsewhere, or ends before its line does. */
static inline size_t line_as_came(const struct field *f)
{
    const char *colon = f->name + f->name_len;
    bool same = f->value == colon + 2 && colon[1] == ' ' && f->value[f->value_len] == '\r';
    return same ? (size_t)f->name_len + f->value_len + 4 : 0;
}

/* All fields without a flag whose number is not in `back`. Nearly all lines pass as they came, so
 * that most of a head is copied in few pieces. */
static void put_fields(struct out *o, const struct field *f, unsigned n, uint64_t back)
{
    struct lines lines = {"", 0};
    for (const struct field *end = f + n; f < end; f++) {
        if (f->flags || (back >> f->id & 1))
            continue;
        size_t line = line_as_came(f);
        if (line && lines.p + lines.n == f->name) {
            lines.n += line;
            continue;
        }
        put(o, lines.p, lines.n);
        lines = (struct lines){f->name, line};
        if (!line)
            put_field(o, f);
    }
    put(o, lines.p, lines.n);
}

/* ---- trace context ---- */

void heads_trace(struct request *r)
{
    struct str id = {0};
    unsigned seen = 0;
    for (const struct field *f = r->fields, *end = f + r->head.nfields; f < end; f++)
        if (f->id == FIELD_TRACEPARENT && seen++ == 0 && !traceparent_valid(field_value(f), &id))
            id.n = 0;
    if (seen == 1 && id.n == TRACE_ID_LEN) {
        memcpy(r->trace_id, id.p, TRACE_ID_LEN);
        return;
    }
    /* None, an invalid one, or two: ours, and tracestate has lost its parent. */
    for (unsigned i = 0; i < r->head.nfields; i++)
        if (r->fields[i].id == FIELD_TRACEPARENT || r->fields[i].id == FIELD_TRACESTATE)
            r->fields[i].flags |= FIELD_DROP;
    r->trace_made = true;
    format_hex64(worker_random(r->w) | 1, r->trace_id);
    format_hex64(worker_random(r->w) | 1, r->trace_id + 16);
}

/* ---- the request ---- */

static void put_context(struct request *r, struct out *o)
{
    const struct settings *set = r->w->set;
    const struct context *c = &r->answer.context;
    uint8_t flags = c->flags | (c->explain ? CONTEXT_EXPLAIN : 0);
    struct str env = snapshot_env_name(r->snapshot, r->answer.decision.env);
    r->token_len = (uint16_t)request_token(r, env, flags);
    struct str token = str_of(r->token, r->token_len);

    if ((size_t)(o->end - o->p) < BAGGAGE_BYTES_MAX + 16) {
        o->full = true;
        return;
    }
    bool ours = false;
    memcpy(o->p, "baggage: ", 9);
    size_t n = context_write_baggage(r->fields, r->head.nfields,
        set->inject_baggage ? token : (struct str){0}, o->p + 9, BAGGAGE_BYTES_MAX, &ours);
    if (n) {
        o->p += 9 + n;
        PUT(o, "\r\n");
    }
    bool full = set->inject_baggage && !ours;
    if (full)
        counter_inc(&r->w->stats[STAT_BAGGAGE_FULL]);
    if (set->inject_x_offshoot_context || full) {
        PUT(o, "x-offshoot-context: ");
        put_str(o, token);
        PUT(o, "\r\n");
    }
    if (set->inject_uberctx) {
        PUT(o, "uberctx-offshoot: ");
        put_str(o, token);
        PUT(o, "\r\n");
    }
    if (set->inject_ot_baggage) {
        PUT(o, "ot-baggage-offshoot: ");
        put_str(o, token);
        PUT(o, "\r\n");
    }
}

static void put_request_framing(const struct request *r, struct out *o)
{
    if (r->up.framing == H1_CHUNKED) {
        PUT(o, "transfer-encoding: chunked\r\n");
    } else if (r->head.has_length) {
        PUT(o, "content-length: ");
        put_u64(o, r->head.length);
        PUT(o, "\r\n");
    }
    if (r->tunnel == TUNNEL_UPGRADE) {
        PUT(o, "connection: upgrade\r\nupgrade: ");
        put_str(o, tunnel_offer(r));
        PUT(o, "\r\n");
    } else if (r->head.te_trailers) {
        PUT(o, "te: trailers\r\nconnection: te\r\n");
    }
}

static void put_trace(const struct request *r, struct out *o)
{
    char span[16];
    if (!r->trace_made)
        return;
    format_hex64(worker_random(r->w) | 1, span);
    PUT(o, "traceparent: 00-");
    put(o, r->trace_id, TRACE_ID_LEN);
    PUT(o, "-");
    put(o, span, sizeof span);
    PUT(o, "-00\r\n");
}

/* Fields that are not passed on as they came: most of them we write ourselves. */
static uint64_t request_fields_kept_back(const struct request *r)
{
    uint64_t back = FIELD_BIT(FIELD_HOST) | FIELD_BIT(FIELD_CONTENT_LENGTH) |
                    FIELD_BIT(FIELD_TRANSFER_ENCODING) |
                    FIELD_BIT(FIELD_BAGGAGE); /* written by put_context */
    if (!r->head.expect_continue)
        back |= FIELD_BIT(FIELD_EXPECT);
    return back | forwarded_kept_back(r);
}

int heads_request(struct request *r, struct buf *b)
{
    struct out o = out_begin(b);
    put_str(&o, r->head.method);
    PUT(&o, " ");
    const struct route_actions *actions = request_actions(r);
    if (actions)
        actions_put_path(r, &o);
    else
        put_str(&o, r->answer.path);
    PUT(&o, " HTTP/1.1\r\nhost: ");
    if (actions && actions->host.n)
        put_str(&o, actions->host);
    else
        put_str(&o, r->head.authority.n ? r->head.authority : r->service);
    PUT(&o, "\r\n");
    put_fields(&o, r->fields, r->head.nfields, request_fields_kept_back(r));
    if (actions)
        actions_put_request(r, &o);
    put_request_framing(r, &o);
    if (r->call_deadline_us) {
        char left[GRPC_TIMEOUT_TEXT];
        PUT(&o, "grpc-timeout: ");
        put_str(&o, grpc_call_left(r, left));
        PUT(&o, "\r\n");
    }
    PUT(&o, "via: 1.1 offshoot\r\n");
    forwarded_put(r, &o);
    put_trace(r, &o);
    put_context(r, &o);
    PUT(&o, "\r\n");
    return out_end(&o, b);
}

/* ---- the reply ---- */

void heads_put_status(struct out *o, unsigned status, struct str reason)
{
    PUT(o, "HTTP/1.1 000 ");
    if (o->full)
        return;
    o->p[-4] = (char)('0' + status / 100);
    o->p[-3] = (char)('0' + status / 10 % 10);
    o->p[-2] = (char)('0' + status % 10);
    put_str(o, reason.n ? reason : h1_reason(status));
    PUT(o, "\r\n");
}

static void put_reply_fields(const struct request *r, struct out *o)
{
    uint64_t back = FIELD_BIT(FIELD_CONTENT_LENGTH) | FIELD_BIT(FIELD_TRANSFER_ENCODING);
    if (!r->ask.trusted)
        back |= ~(FIELD_BIT(FIELD_X_OFFSHOOT_CONTEXT) - 1); /* that and all after it */
    put_fields(o, r->reply_fields, r->reply.nfields, back);
}

void heads_put_connection(const struct request *r, struct out *o)
{
    if (!r->keep)
        PUT(o, "connection: close\r\n");
    else if (r->head.minor == 0)
        PUT(o, "connection: keep-alive\r\n");
}

static void put_route(struct request *r, struct out *o)
{
    struct text t = {0};
    text_add(&t, str_of(r->hop, r->hop_len));
    if (r->trace_order) /* without a place of its own nobody can tell what came after */
        traces_join(
            r->w->shared->traces, str_of(r->trace_id, TRACE_ID_LEN), r->trace_order, &t, 16384);
    if (t.n && !t.failed) {
        PUT(o, "x-offshoot-route: ");
        put(o, t.p, t.n);
        PUT(o, "\r\n");
    }
    text_release(&t);
}

int heads_interim(const struct request *r, struct buf *b)
{
    struct out o = out_begin(b);
    heads_put_status(&o, r->reply.status, r->reply.reason);
    put_reply_fields(r, &o);
    PUT(&o, "\r\n");
    return out_end(&o, b);
}

int heads_switching(const struct request *r, struct str protocol, struct str accept, struct buf *b)
{
    struct out o = out_begin(b);
    heads_put_status(&o, 101, r->reply.status == 101 ? r->reply.reason : (struct str){0});
    put_reply_fields(r, &o);
    if (accept.n) {
        PUT(&o, "sec-websocket-accept: ");
        put_str(&o, accept);
        PUT(&o, "\r\n");
    }
    PUT(&o, "connection: upgrade\r\nupgrade: ");
    put_str(&o, protocol);
    PUT(&o, "\r\n\r\n");
    return out_end(&o, b);
}

/* How the body is written to this client, and the field that says so. */
static uint8_t put_reply_framing(struct request *r, struct out *o)
{
    const struct h1_head *reply = &r->reply;
    bool stream = conn_is_stream(&r->client->conn);
    if (reply->has_length) {
        PUT(o, "content-length: ");
        put_u64(o, reply->length);
        PUT(o, "\r\n");
    }
    if (reply->framing == H1_NO_BODY || reply->framing == H1_LENGTH)
        return reply->framing;
    if (reply->has_length) /* a stream's, which ends there */
        return H1_LENGTH;
    if (stream)
        return H1_UNTIL_CLOSE;
    if (r->head.minor == 0) { /* HTTP/1.0 never gets chunks: the close ends it */
        r->keep = false;
        return H1_UNTIL_CLOSE;
    }
    PUT(o, "transfer-encoding: chunked\r\n");
    return H1_CHUNKED;
}

static void put_affinity(const struct request *r, struct out *o)
{
    char cookie[AFFINITY_COOKIE_MAX];
    PUT(o, "set-cookie: ");
    put_str(o, affinity_cookie(r, cookie, sizeof cookie));
    PUT(o, "\r\n");
}

int heads_reply(struct request *r, struct buf *b, uint8_t *ret_framing)
{
    struct out o = out_begin(b);
    heads_put_status(&o, r->reply.status, r->reply.reason);
    if (request_actions(r))
        actions_edit_reply(r);
    if (r->vary.n || r->is_private)
        edge_put_reply(r, &o);
    put_reply_fields(r, &o);
    if (r->affinity.cookie.n)
        put_affinity(r, &o);
    uint8_t framing = put_reply_framing(r, &o);
    heads_put_connection(r, &o);
    if (r->is_explain)
        put_route(r, &o);
    PUT(&o, "\r\n");
    int rc = out_end(&o, b);
    if (rc == 0)
        *ret_framing = framing;
    return rc;
}

/* ---- a reply of our own ---- */

enum body_kind { BODY_TEXT, BODY_JSON, BODY_HTML, BODY_GRPC };

static struct str request_field(const struct request *r, enum field_id id)
{
    for (unsigned i = 0; r->head.size && i < r->head.nfields; i++)
        if (r->fields[i].id == id)
            return field_value(&r->fields[i]);
    return (struct str){0};
}

static enum body_kind body_kind(const struct request *r)
{
    struct str accept = request_field(r, FIELD_ACCEPT);
    if (str_starts(request_field(r, FIELD_CONTENT_TYPE), STR("application/grpc")))
        return BODY_GRPC;
    if (accept.n && memmem(accept.p, accept.n, "application/json", 16))
        return BODY_JSON;
    return accept.n && memmem(accept.p, accept.n, "text/html", 9) ? BODY_HTML : BODY_TEXT;
}

enum refusal heads_told(const struct request *r, enum refusal why)
{
    return why == REFUSAL_FORBIDDEN && !r->ask.trusted ? REFUSAL_UNKNOWN_ENVIRONMENT : why;
}

/* What caused it, in one word: the parser's or the context's fault. */
static const char *detail(const struct request *r)
{
    if (r->refusal == REFUSAL_CONTEXT)
        return context_fault_word(r->answer.context.fault);
    if (r->refusal == REFUSAL_BAD_REQUEST && r->client->plain)
        return "plain-http-where-tls-is-spoken";
    if (r->bad_head)
        return h2_error_word(r->bad_head);
    if (r->up.too_large)
        return "body-too-large";
    if (r->parser.error)
        return h1_error_word(r->parser.error);
    if (r->up.body.error)
        return h1_error_word(r->up.body.error);
    return r->provider_fault ? provider_error_word(r->provider_fault - 1) : "";
}

/* The gateway is known as long as the snapshot is held: not after a reply that broke. */
static void fill_page(const struct request *r, unsigned status, struct page *p)
{
    const struct answer *a = &r->answer;
    const struct gateway *g = r->holding ? r->ask.gateway : NULL;
    struct env_info expired;
    *p = (struct page){.refusal = heads_told(r, r->refusal),
        .status = status,
        .detail = detail(r),
        .environment = a->context.env,
        .service = r->service,
        .source = a->context.source,
        .by_cookie = a->context.by_cookie};
    if (r->t_decided)
        p->trace_id = str_of(r->trace_id, TRACE_ID_LEN);
    if (g && a->context.selector >= 0) {
        p->selector = gateway_selector(g, (uint32_t)a->context.selector);
        p->can_leave = gateway_pins(g, r->head.authority);
    }
    if (r->refusal == REFUSAL_EXPIRED && r->holding && a->decision.cause_is_expires &&
        snapshot_env(r->snapshot, a->decision.cause_env, &expired))
        p->expired_at = expired.expires;
}

static void refusal_body(
    const struct request *r, enum body_kind kind, unsigned status, struct text *t)
{
    enum refusal refusal = heads_told(r, r->refusal);
    const char *word = refusal_word(refusal), *why = page_sentence(refusal);
    const char *more = detail(r);
    struct str env = r->answer.context.env;
    if (!name_valid(env)) /* never echo what is no name */
        env = (struct str){0};
    if (kind == BODY_JSON) {
        text_fmt(t, "{\"error\":\"%s\",\"status\":%u,\"message\":\"%s\"", word, status, why);
        if (*more)
            text_fmt(t, ",\"detail\":\"%s\"", more);
        if (env.n)
            text_fmt(t, ",\"environment\":\"%.*s\"", STR_ARG(env));
        if (r->service.n)
            text_fmt(t, ",\"service\":\"%.*s\"", STR_ARG(r->service));
        text_add(t, STR("}\n"));
    } else if (kind == BODY_HTML) {
        struct page page;
        fill_page(r, status, &page);
        page_write(t, &page);
    } else {
        text_fmt(t, "%s: %s%s%s", word, why, *more ? ": " : "", more);
        if (env.n)
            text_fmt(t, " (environment %.*s)", STR_ARG(env));
        text_add(t, STR("\n"));
    }
}

static void put_refusal_head(struct request *r, struct out *o, enum body_kind kind, size_t length)
{
    static const char *const types[] = {"text/plain; charset=utf-8", "application/json",
        "text/html; charset=utf-8", "application/grpc"};
    enum refusal told = heads_told(r, r->refusal);
    heads_put_status(o, r->status, (struct str){0});
    PUT(o, "content-type: ");
    put_str(o, str_c(types[kind]));
    PUT(o, "\r\ncontent-length: ");
    put_u64(o, length);
    PUT(o, "\r\ncache-control: no-store\r\nx-offshoot-error: ");
    put_str(o, str_c(refusal_word(told)));
    PUT(o, "\r\n");
    if (kind == BODY_HTML)
        PUT(o, "content-security-policy: " PAGE_POLICY "\r\nx-content-type-options: nosniff\r\n");
    share_put_expired(r, o);
    if (kind == BODY_GRPC) {
        PUT(o, "grpc-status: ");
        put_u64(o, refusal_grpc(told));
        PUT(o, "\r\ngrpc-message: ");
        put_str(o, str_c(page_sentence(told)));
        PUT(o, "\r\n");
    }
    if (r->refusal == REFUSAL_EPOCH || r->refusal == REFUSAL_OVERLOAD ||
        r->refusal == REFUSAL_UNHEALTHY || r->refusal == REFUSAL_RATE_LIMITED) {
        PUT(o, "retry-after: ");
        put_u64(o, r->retry_after_s ? r->retry_after_s : 1);
        PUT(o, "\r\n");
    }
    heads_put_connection(r, o);
    if (r->is_explain)
        put_route(r, o);
    PUT(o, "\r\n");
}

int heads_refusal(struct request *r, struct buf *b)
{
    struct text body = {0};
    enum body_kind kind = body_kind(r);
    unsigned status = refusal_status(heads_told(r, r->refusal));
    if (r->refusal == REFUSAL_TOO_LARGE && r->step == STEP_OWN && !r->head.size)
        status = 431; /* RFC 6585 section 5: it was the head */
    if (kind != BODY_GRPC)
        refusal_body(r, kind, status, &body);
    if (body.failed) {
        text_release(&body);
        return -ENOMEM;
    }
    r->status = (uint16_t)(kind == BODY_GRPC ? 200 : status);
    struct out o = out_begin(b);
    put_refusal_head(r, &o, kind, body.n);
    if (r->head.method_id != H1_HEAD)
        put(&o, body.p, body.n);
    text_release(&body);
    return out_end(&o, b);
}
