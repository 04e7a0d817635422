/* One admin request: its parts, copied into a pool, and its reply.
 *
 * Life: admin_request_new → the route's fn → admin_reply, now or later. In between the client may
 * go: evhttp tells (on_close), the request is detached from it, and the reply is dropped. */
#include "lib/base/counters.h"
#include "lib/base/mem.h"
#include "lib/net/adminhttp_impl.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_MAGIC 0x41444d01u

/* ---- parts ---------------------------------------------------------------------------------- */

/* Percent-decoded into the pool. 0, -ENOMEM, or -EINVAL for a malformed escape and for NUL. */
static int decode(struct pool *p, struct str s, bool plus_is_space, const char **ret)
{
    char *out = pool_alloc(p, s.n + 1);
    size_t n = 0;
    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex_value(s.p[i + 1]) : -1;
            int low = high >= 0 ? hex_value(s.p[i + 2]) : -1;
            if (low < 0)
                return -EINVAL;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0')
            return -EINVAL;
        out[n++] = c;
    }
    out[n] = '\0';
    *ret = out;
    return 0;
}

static int take_param(struct admin_request *r, struct str pair)
{
    size_t eq = str_find(pair, '=');
    struct admin_param *p = &r->params[r->nparams];
    int rc = decode(r->pool, str_of(pair.p, eq), true, &p->name);
    if (!rc)
        rc = decode(r->pool, str_from(pair, eq < pair.n ? eq + 1 : eq), true, &p->value);
    r->nparams += !rc;
    return rc;
}

static int take_params(struct admin_request *r, const char *query)
{
    struct str rest = str_c(query);
    r->params = pool_alloc(r->pool, ADMIN_PARAMS * sizeof(*r->params));
    if (!r->params)
        return -ENOMEM;
    while (rest.n) {
        size_t end = str_find(rest, '&');
        if (r->nparams == ADMIN_PARAMS)
            return -E2BIG;
        int rc = end ? take_param(r, str_of(rest.p, end)) : 0;
        if (rc)
            return rc;
        rest = str_from(rest, end < rest.n ? end + 1 : end);
    }
    return 0;
}

static int take_body(struct admin_request *r)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(r->http);
    size_t n = evbuffer_get_length(in);
    char *copy = pool_alloc(r->pool, n + 1);
    if (!copy)
        return -ENOMEM;
    ev_ssize_t got = evbuffer_copyout(in, copy, n);
    copy[n] = '\0';
    r->body = str_of(copy, got < 0 ? 0 : (size_t)got);
    return 0;
}

/* evhttp does not read the body of a GET: its bytes would be taken for the next request. */
static bool has_unread_body(const struct admin_request *r, struct evkeyvalq *headers)
{
    const char *length = evhttp_find_header(headers, "Content-Length");
    if (evhttp_request_get_command(r->http) == EVHTTP_REQ_POST)
        return false;
    return evhttp_find_header(headers, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
}

static int take_parts(struct admin_request *r)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(r->http);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    struct evkeyvalq *headers = evhttp_request_get_input_headers(r->http);
    const char *accept = evhttp_find_header(headers, "Accept");
    r->head = evhttp_request_get_command(r->http) == EVHTTP_REQ_HEAD;
    r->json = accept && strcasestr(accept, "application/json");
    r->rest = "";
    r->path = "";
    if (has_unread_body(r, headers))
        return -EMSGSIZE;
    int rc = decode(r->pool, str_c(path && *path ? path : "/"), false, &r->path);
    if (!rc)
        rc = take_params(r, uri ? evhttp_uri_get_query(uri) : NULL);
    return rc ? rc : take_body(r);
}

static void on_close(struct evhttp_connection *connection, void *arg)
{
    struct admin_request *r = arg;
    (void)connection;
    if (r->magic == REQUEST_MAGIC)
        admin_request_detach(r);
}

void admin_request_detach(struct admin_request *r)
{
    /* evhttp took the request off a connection that failed: it is ours to free. One that is still
     * on its connection goes with it. */
    if (r->http && !evhttp_request_get_connection(r->http))
        evhttp_request_free(r->http);
    r->http = NULL;
    r->connection = NULL;
    if (r->of)
        r->of->request = NULL;
    r->of = NULL;
}

void admin_request_free(struct admin_request *r)
{
    if (r->of)
        r->of->request = NULL;
    list_remove(&r->link);
    r->magic = 0;
    pool_free(r->pool);
    mem_free(r);
}

static const char *fault_of(int code)
{
    switch (code) {
    case -EINVAL:
        return "malformed escape in the path or a parameter";
    case -E2BIG:
        return "more than 64 parameters";
    default:
        return "only POST takes a body";
    }
}

struct admin_request *admin_request_new(struct evhttp_request *http)
{
    struct admin_request *r = mem_zalloc(sizeof(*r));
    if (!r) {
        evhttp_send_reply(http, 503, NULL, NULL);
        return NULL;
    }
    *r = (struct admin_request){
        .magic = REQUEST_MAGIC, .http = http, .connection = evhttp_request_get_connection(http)};
    list_init(&r->link);
    r->pool = pool_new(2048);
    int rc = r->pool ? take_parts(r) : -ENOMEM;
    if (rc == -ENOMEM) {
        admin_request_free(r);
        evhttp_send_reply(http, 503, NULL, NULL);
        return NULL;
    }
    if (rc) {
        if (rc == -EMSGSIZE) /* do not read what follows */
            evhttp_add_header(evhttp_request_get_output_headers(http), "Connection", "close");
        admin_error(r, 400, "%s", fault_of(rc));
        return NULL;
    }
    evhttp_connection_set_closecb(r->connection, on_close, r);
    return r;
}

/* ---- what routes ask ------------------------------------------------------------------------ */

const char *admin_param(struct admin_request *r, const char *name)
{
    return admin_param_at(r, name, 0);
}

const char *admin_param_at(struct admin_request *r, const char *name, size_t i)
{
    for (size_t p = 0; p < r->nparams; p++) {
        if (strcmp(r->params[p].name, name) == 0 && i-- == 0)
            return r->params[p].value;
    }
    return NULL;
}

const char *admin_rest(struct admin_request *r)
{
    return r->rest;
}

struct str admin_body(struct admin_request *r)
{
    return r->body;
}

bool admin_wants_json(struct admin_request *r)
{
    return r->json;
}

unsigned admin_peer_uid(struct admin_request *r)
{
    return r->uid;
}

/* ---- the reply ------------------------------------------------------------------------------ */

static void release_bytes(const void *data, size_t n, void *arg)
{
    (void)data;
    (void)n;
    mem_free(arg);
}

/* The text as a buffer that owns it; NULL when memory is out, or there is nothing to send. */
static struct evbuffer *buffer_of(struct text *body)
{
    struct evbuffer *out = body->n ? evbuffer_new() : NULL;
    if (!out)
        return NULL;
    if (evbuffer_add_reference(out, body->p, body->n, release_bytes, body->p)) {
        evbuffer_free(out);
        return NULL;
    }
    *body = (struct text){0};
    return out;
}

static void send_reply(
    struct admin_request *r, int status, const char *content_type, struct text *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(r->http);
    struct evbuffer *out = NULL;
    char length[24];
    size_t n = body->n;
    if (body->failed) {
        evhttp_send_reply(r->http, 503, NULL, NULL);
        return;
    }
    if (!content_type)
        content_type = r->json ? "application/json" : "text/plain; charset=utf-8";
    evhttp_add_header(headers, "Content-Type", content_type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    if (r->head) {
        snprintf(length, sizeof(length), "%zu", n);
        evhttp_add_header(headers, "Content-Length", length);
    } else {
        out = buffer_of(body);
        if (n && !out)
            status = 503;
    }
    evhttp_send_reply(r->http, status, NULL, out);
    if (out)
        evbuffer_free(out);
}

void admin_reply(struct admin_request *r, int status, const char *content_type, struct text *body)
{
    if (r->http) {
        evhttp_connection_set_closecb(r->connection, NULL, NULL);
        send_reply(r, status, content_type, body);
    }
    text_release(body);
    admin_request_free(r);
}

void admin_error(struct admin_request *r, int status, const char *fmt, ...)
{
    struct text body = {0};
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (r->json) {
        text_add(&body, STR("{\"error\":\""));
        text_json(&body, str_c(text));
        text_add(&body, STR("\"}\n"));
    } else {
        text_fmt(&body, "%s\n", text);
    }
    admin_reply(r, status, NULL, &body);
}
