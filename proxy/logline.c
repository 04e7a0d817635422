#include "proxy/logline.h"
#include "lib/base/parse.h"
#include "lib/graph/pinned.h"
#include "proxy/request.h"
#include "proxy/share.h"
#include "proxy/worker.h"
#include <stdio.h>

#define LINE_PATH_MAX  2048 /* bytes of a path that are logged */
#define REQUEST_ID_MAX 128

/* ---- what there is to say ---- */

static struct str cut(struct str s, size_t max)
{
    return str_of(s.p, s.n < max ? s.n : max);
}

/* A link may say a token that is not ours and counts elsewhere; or one that counts here, with the
 * dot behind it that ended somebody's sentence. */
static bool holds_token(struct str asked)
{
    for (size_t i = 0; i + 4 <= asked.n; i++)
        if (asked.p[i] == 'v' && asked.p[i + 1] == '1' && asked.p[i + 3] == '.')
            return true;
    return false;
}

struct str logline_path(const struct request *r)
{
    const struct answer *a = &r->answer;
    if (r->head.size == 0)
        return (struct str){0};
    if (a->path.p && a->refusal != REFUSAL_LOOP)
        return a->path;
    return str_of(r->head.path.p, str_find(r->head.path, '?'));
}

struct str logline_env(const struct request *r)
{
    struct str env = r->answer.context.env;
    return env.n && !holds_token(env) ? cut(env, 64) : STR("-");
}

const char *logline_class(const struct request *r)
{
    const struct answer *a = &r->answer;
    return r->share                  ? share_word(r->share)
           : a->moved && !r->refusal ? "redirect"
           : a->decision.cls         ? decision_class_word(a->decision.cls)
                                     : "-";
}

const char *logline_protocol(const struct request *r)
{
    return spoken_word(r->client->phase == CLIENT_STREAM ? SPOKEN_HTTP2
                       : r->client->phase == CLIENT_TCP  ? SPOKEN_TCP
                                                         : SPOKEN_HTTP1);
}

static const char *listener_word(const struct request *r)
{
    return r->client->listener->spec.trusted ? "trusted" : "untrusted";
}

static const char *version(const struct request *r)
{
    return r->client->phase == CLIENT_STREAM ? "2" : r->head.minor == 0 ? "1.0" : "1.1";
}

/* The names of a DNS endpoint go with the snapshot: of those the address is told that was taken. */
static void endpoint_text(const struct request *r, char out[static ADDR_TEXT_MAX])
{
    const struct addr *a = r->pconn ? &r->pconn->provider->addr : &r->endpoint;
    if (r->pconn || a->kind == ADDR_IP4 || a->kind == ADDR_IP6)
        addr_format(a, out);
    else
        snprintf(out, ADDR_TEXT_MAX, "-");
}

static void peer_text(const struct request *r, char out[static ADDR_TEXT_MAX])
{
    struct addr peer;
    client_peer(r->client, &peer);
    size_t n = addr_format(&peer, out);
    while (n > 0 && out[n - 1] != ':') /* the port is not kept */
        n--;
    if (n > 0)
        out[n - 1] = '\0';
}

static const char *fault_word(const struct request *r)
{
    return r->provider_fault               ? provider_error_word(r->provider_fault - 1)
           : r->client_fault               ? client_close_word(r->client_fault - 1)
           : r->refusal == REFUSAL_CONTEXT ? context_fault_word(r->answer.context.fault)
                                           : "-";
}

static bool is_error(const struct request *r)
{
    return r->refusal || r->provider_fault || r->client_fault || r->status >= 500 ||
           (r->status == 0 && !r->in_tunnel);
}

void logline_gather(const struct request *r, struct logline *l)
{
    const struct answer *a = &r->answer;
    bool parsed = r->head.size > 0;
    format_rfc3339(r->w->now_s, l->time);
    peer_text(r, l->peer);
    endpoint_text(r, l->endpoint);
    l->method = parsed ? cut(r->head.method, 32) : STR("-");
    l->path = parsed ? cut(logline_path(r), LINE_PATH_MAX) : STR("-");
    l->host = parsed ? cut(r->head.authority, 255) : STR("-");
    l->service = r->service.n ? r->service : STR("-");
    l->env = logline_env(r);
    l->provider = r->provider_env.n ? r->provider_env : STR("-");
    l->trace = r->t_decided ? str_of(r->trace_id, TRACE_ID_LEN) : STR("-");
    l->request_id = r->request_id.n ? cut(r->request_id, REQUEST_ID_MAX) : STR("-");
    l->protocol = logline_protocol(r);
    l->version = version(r);
    l->listener = listener_word(r);
    l->cls = logline_class(r);
    l->rule = a->context.rule ? context_rule_word(a->context.rule) : "-";
    l->refusal = r->refusal ? refusal_word(r->refusal) : "-";
    l->fault = fault_word(r);
    l->skew = a->skew ? skew_word(a->skew) : "-";
    l->status = r->status;
    l->tries = r->tries + 1u;
    l->epoch = r->epoch;
    l->body_in = r->up.sent;
    l->body_out = r->down.sent;
    stages_of(r, &l->took);
}

void logline_facts(const struct request *r, struct log_facts *ret)
{
    const char *cls = logline_class(r);
    struct str env = logline_env(r);
    *ret = (struct log_facts){.error = is_error(r),
        .status = r->status,
        .total_us = r->w->now_us - r->t_start,
        .env = str_eq(env, STR("-")) ? STR("") : env,
        .service = r->service,
        .trace = str_of(r->trace_id, r->t_decided ? TRACE_ID_LEN : 0),
        .cls = r->refusal && *cls == '-' ? "refused" : cls,
        .refusal = refusal_word(r->refusal),
        .protocol = logline_protocol(r),
        .listener = listener_word(r)};
}

/* ---- JSON, with our names or those of OpenTelemetry ---- */

enum field_name {
    NAME_TIME,
    NAME_CLIENT,
    NAME_PROTOCOL,
    NAME_LISTENER,
    NAME_STATUS,
    NAME_METHOD,
    NAME_HOST,
    NAME_PATH,
    NAME_ENVIRONMENT,
    NAME_SERVICE,
    NAME_PROVIDER,
    NAME_ENDPOINT,
    NAME_CLASS,
    NAME_RULE,
    NAME_REFUSAL,
    NAME_FAULT,
    NAME_SKEW,
    NAME_EPOCH,
    NAME_TRACE,
    NAME_REQUEST_ID,
    NAME_TRIES,
    NAME_BODY_IN,
    NAME_BODY_OUT,
    NAME_ACCEPT,
    NAME_TLS,
    NAME_HEAD,
    NAME_DECIDE,
    NAME_CONNECT,
    NAME_FIRST_BYTE,
    NAME_TOTAL,
    NAME_COUNT
};
static const char *const own_names[NAME_COUNT] = {"time", "client", "protocol", "listener",
    "status", "method", "host", "path", "environment", "service", "provider", "endpoint", "class",
    "rule", "refusal", "fault", "skew", "epoch", "trace", "request_id", "tries", "body_in",
    "body_out", "accept_us", "tls_us", "head_us", "decide_us", "connect_us", "first_byte_us",
    "total_us"};
static const char *const otel_names[NAME_COUNT] = {"timestamp", "client.address",
    "network.protocol.name", "offshoot.listener", "http.response.status_code",
    "http.request.method", "server.address", "url.path", "offshoot.environment", "offshoot.service",
    "offshoot.provider", "offshoot.endpoint", "offshoot.class", "offshoot.rule", "offshoot.refusal",
    "offshoot.fault", "offshoot.skew", "offshoot.epoch", "trace_id", "offshoot.request_id",
    "offshoot.tries", "http.request.body.size", "http.response.body.size", "offshoot.accept_us",
    "offshoot.tls_us", "offshoot.head_us", "offshoot.decide_us", "offshoot.connect_us",
    "offshoot.first_byte_us", "offshoot.total_us"};

static void quoted(struct text *t, struct str s)
{
    text_add(t, STR("\""));
    text_json(t, s);
    text_add(t, STR("\""));
}

static void put_key(struct text *t, const char *name)
{
    char last = t->n ? t->p[t->n - 1] : '{';
    text_fmt(t, "%s\"%s\":", last == '{' ? "" : ",", name);
}

static void put_text(struct text *t, const char *name, struct str value)
{
    put_key(t, name);
    if (str_eq(value, STR("-")))
        text_add(t, STR("null"));
    else
        quoted(t, value);
}

static void put_number(struct text *t, const char *name, int64_t value)
{
    put_key(t, name);
    text_fmt(t, "%lld", (long long)value);
}

static void put_words(const struct logline *l, const char *const *name, struct text *t)
{
    put_text(t, name[NAME_ENVIRONMENT], l->env);
    put_text(t, name[NAME_SERVICE], l->service);
    put_text(t, name[NAME_PROVIDER], l->provider);
    put_text(t, name[NAME_ENDPOINT], str_c(l->endpoint));
    put_text(t, name[NAME_CLASS], str_c(l->cls));
    put_text(t, name[NAME_RULE], str_c(l->rule));
    put_text(t, name[NAME_REFUSAL], str_c(l->refusal));
    put_text(t, name[NAME_FAULT], str_c(l->fault));
    put_text(t, name[NAME_SKEW], str_c(l->skew));
    put_number(t, name[NAME_EPOCH], (int64_t)l->epoch);
    put_text(t, name[NAME_TRACE], str_eq(l->trace, STR("-")) ? STR("") : l->trace);
    put_text(t, name[NAME_REQUEST_ID], l->request_id);
    put_number(t, name[NAME_TRIES], l->tries);
    put_number(t, name[NAME_BODY_IN], (int64_t)l->body_in);
    put_number(t, name[NAME_BODY_OUT], (int64_t)l->body_out);
    put_number(t, name[NAME_ACCEPT], l->took.accept);
    put_number(t, name[NAME_TLS], l->took.tls);
    put_number(t, name[NAME_HEAD], l->took.head);
    put_number(t, name[NAME_DECIDE], l->took.decide);
    put_number(t, name[NAME_CONNECT], l->took.connect);
    put_number(t, name[NAME_FIRST_BYTE], l->took.first_byte);
    put_number(t, name[NAME_TOTAL], l->took.total);
    text_add(t, STR("}\n"));
}

static void add_json(const struct logline *l, struct text *t)
{
    const char *const *name = own_names;
    text_add(t, STR("{"));
    put_text(t, name[NAME_TIME], str_c(l->time));
    put_text(t, name[NAME_CLIENT], str_c(l->peer));
    put_text(t, name[NAME_PROTOCOL], str_c(l->protocol));
    put_text(t, name[NAME_LISTENER], str_c(l->listener));
    put_number(t, name[NAME_STATUS], l->status);
    put_text(t, name[NAME_METHOD], l->method);
    put_text(t, name[NAME_HOST], l->host);
    put_text(t, name[NAME_PATH], l->path);
    put_words(l, name, t);
}

/* What stands behind the last colon, when the colons of an IPv6 address are in brackets. */
static size_t port_at(struct str host)
{
    size_t colon = host.n;
    while (colon > 0 && host.p[colon - 1] != ':' && host.p[colon - 1] != ']')
        colon--;
    return colon > 0 && host.p[colon - 1] == ':' ? colon - 1 : host.n;
}

/* ":8080" as a number. */
static void put_port(struct text *t, struct str text)
{
    uint32_t port;
    put_key(t, "server.port");
    if (text.n > 1 && parse_u32(str_from(text, 1), 0, 65535, &port) == 0)
        text_fmt(t, "%u", port);
    else
        text_add(t, STR("null"));
}

static void add_otel(const struct logline *l, struct text *t)
{
    const char *const *name = otel_names;
    size_t query = str_find(l->path, '?'), port = port_at(l->host);
    bool tcp = strcmp(l->protocol, "tcp") == 0;
    text_add(t, STR("{"));
    put_text(t, name[NAME_TIME], str_c(l->time));
    put_text(t, name[NAME_CLIENT], str_c(l->peer));
    put_text(t, name[NAME_PROTOCOL], tcp ? STR("-") : STR("http"));
    put_text(t, "network.protocol.version", str_c(l->version));
    put_text(t, name[NAME_LISTENER], str_c(l->listener));
    put_number(t, name[NAME_STATUS], l->status);
    put_text(t, name[NAME_METHOD], l->method);
    put_text(t, name[NAME_HOST], str_of(l->host.p, port));
    put_port(t, str_from(l->host, port));
    put_text(t, name[NAME_PATH], str_of(l->path.p, query));
    put_text(t, "url.query", query < l->path.n ? str_from(l->path, query + 1) : STR("-"));
    put_text(t, "error.type",
        *l->refusal != '-' ? str_c(l->refusal)
        : *l->fault != '-' ? str_c(l->fault)
        : l->status >= 500 ? STR("5xx")
                           : STR("-"));
    put_words(l, name, t);
}

/* ---- text ---- */

static void add_text(const struct logline *l, struct text *t)
{
    const struct stages *s = &l->took;
    text_fmt(t, "%s %s %u ", l->time, l->peer, l->status);
    quoted(t, l->method);
    text_add(t, STR(" "));
    quoted(t, l->host);
    text_add(t, STR(" "));
    quoted(t, l->path);
    text_add(t, STR(" env="));
    quoted(t, l->env);
    text_fmt(t, " service=%.*s provider=%.*s endpoint=%s class=%s rule=%s refusal=%s fault=%s",
        STR_ARG(l->service), STR_ARG(l->provider), l->endpoint, l->cls, l->rule, l->refusal,
        l->fault);
    text_fmt(t, " skew=%s epoch=%llu trace=%.*s tries=%u in=%llu out=%llu protocol=%s listener=%s",
        l->skew, (unsigned long long)l->epoch, STR_ARG(l->trace), l->tries,
        (unsigned long long)l->body_in, (unsigned long long)l->body_out, l->protocol, l->listener);
    text_add(t, STR(" request_id="));
    quoted(t, l->request_id);
    text_fmt(t,
        " accept_us=%lld tls_us=%lld head_us=%lld decide_us=%lld connect_us=%lld "
        "first_byte_us=%lld total_us=%lld\n",
        (long long)s->accept, (long long)s->tls, (long long)s->head, (long long)s->decide,
        (long long)s->connect, (long long)s->first_byte, (long long)s->total);
}

void logline_add(const struct logline *l, unsigned format, struct text *t)
{
    if (format == LOG_FORMAT_JSON)
        add_json(l, t);
    else if (format == LOG_FORMAT_OTEL)
        add_otel(l, t);
    else
        add_text(l, t);
}
