/* The HTTP/2 exchange of a health check, for services whose providers are spoken to in HTTP/2: one
 * GET; the status is all that is looked at. */
#include "lib/base/clock.h"
#include "proxy/health_impl.h"
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>

static struct health_probe *probe_of(struct h2_stream *st)
{
    return list_entry(st, struct health_probe, stream);
}

/* Events only note: the probe is told once the session is left. */
static void note(struct health_probe *p, const char *fmt, const char *what, unsigned status)
{
    if (p->answered)
        return;
    p->answered = true;
    snprintf(p->verdict, sizeof p->verdict, "%s%s", fmt, what);
    p->status = (uint16_t)status;
}

static struct buf *on_block(struct h2_stream *st, enum h2_kind kind)
{
    struct health_probe *p = probe_of(st);
    (void)kind;
    p->in.start = p->in.end = 0;
    return buf_hold(&p->in, &p->h->bufs) == 0 ? &p->in : NULL;
}

static void on_head(struct h2_stream *st, enum h2_kind kind, bool end)
{
    static const struct h1_limits limits = {HEALTH_REPLY_MAX, 256, 8192, HEALTH_FIELDS};
    struct health_probe *p = probe_of(st);
    struct h1_head head;
    (void)end;
    if (kind != H2_REPLY)
        return;
    h1_parser_reset(&p->parser, &limits, p->fields);
    if (h1_reply(&p->parser, buf_head(&p->in), buf_len(&p->in), H1_GET, &head) != H1_DONE)
        note(p, "not an HTTP reply: ", h1_error_word(p->parser.error), 0);
    else if (head.status >= 200)
        note(p, "", "", head.status);
}

static bool on_bad_head(struct h2_stream *st, enum h2_kind kind, enum h2_error error)
{
    (void)kind;
    note(probe_of(st), "not an HTTP reply: ", h2_error_word(error), 0);
    return false;
}

static void on_data(struct h2_stream *st, const char *bytes, size_t n)
{
    (void)st;
    (void)bytes;
    (void)n;
}

static void on_end(struct h2_stream *st)
{
    (void)st;
}

static void on_close(struct h2_stream *st, uint32_t code, bool unprocessed)
{
    (void)code;
    note(probe_of(st), "its stream was ", unprocessed ? "refused" : "reset", 0);
}

static void on_wake(struct h2 *h, struct h2_stream *st)
{
    (void)h;
    (void)st;
}

static void on_odd(struct h2 *h, enum h2_odd kind)
{
    (void)h;
    (void)kind;
}

static void on_goaway(struct h2 *h, int32_t last, uint32_t code)
{
    (void)h;
    (void)last;
    (void)code;
}

static const struct h2_events events = {.block = on_block,
    .head = on_head,
    .bad_head = on_bad_head,
    .data = on_data,
    .end = on_end,
    .close = on_close,
    .wake = on_wake,
    .odd = on_odd,
    .goaway = on_goaway};

/* What the session has to say. False when memory is out. */
static bool send_out(struct health_probe *p)
{
    int rc = 1;
    while (rc == 1) {
        if (buf_hold(&p->out, &p->h->bufs) != 0)
            return false;
        rc = h2_output(p->h2, &p->out);
        if (rc >= 0 && buf_len(&p->out) &&
            bufferevent_write(p->bev, buf_head(&p->out), buf_len(&p->out)) != 0)
            rc = -ENOMEM;
        p->out.start = p->out.end = 0;
    }
    return rc == 0;
}

static bool request(struct health_probe *p)
{
    static const struct h2_limits limits = {.streams = 1,
        .window = H2_WINDOW_MAX,
        .connection_hold = H2_WINDOW_MAX,
        .head_bytes = HEALTH_REPLY_MAX,
        .fields = HEALTH_FIELDS,
        .odd = 100,
        .odd_refill = 10};
    const struct health_spec *s = p->spec;
    struct str path = s->policy.path.n ? s->policy.path : STR("/");
    p->h2 = h2_new(false, &limits, &events, p);
    if (!p->h2 || buf_hold(&p->in, &p->h->bufs) != 0)
        return false;
    int n = snprintf(p->in.data, p->in.size,
        "GET %.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: offshoot-health\r\naccept: */*\r\n\r\n",
        STR_ARG(path), STR_ARG(s->host));
    if (n < 0 || (uint32_t)n >= p->in.size)
        return false;
    p->in.end = (uint32_t)n;
    return h2_request(p->h2, &p->stream, &p->in, p->ssl ? STR("https") : STR("http"), true) == 0;
}

void health_h2_begin(struct health_probe *p)
{
    if (p->ssl && !tls_speaks_h2(p->ssl))
        probe_done(p, "it does not speak HTTP/2");
    else if (!request(p) || !send_out(p))
        probe_done(p, "out of memory");
}

void health_h2_input(struct health_probe *p, bool closed)
{
    struct evbuffer *in = bufferevent_get_input(p->bev);
    size_t n = evbuffer_get_length(in);
    const char *data = n ? (const char *)evbuffer_pullup(in, -1) : "";
    p->used += (uint32_t)n;
    int rc = data ? h2_input(p->h2, data, n, clock_mono_ms()) : -ENOMEM;
    evbuffer_drain(in, n);
    if (rc == -ENOMEM || (rc == 0 && !send_out(p)))
        probe_done(p, "out of memory");
    else if (p->answered && p->status)
        probe_status(p, p->status);
    else if (p->answered)
        probe_done(p, "%s", p->verdict);
    else if (rc != 0)
        probe_done(p, "not HTTP/2: %s", h2_reason(p->h2));
    else if (closed)
        probe_done(p, "closed before it answered");
    else if (p->used > 4 * HEALTH_REPLY_MAX)
        probe_done(p, "it says too much");
}

void health_h2_free(struct health_probe *p)
{
    if (p->h2)
        h2_free(p->h2);
    p->h2 = NULL;
    buf_drop(&p->in, &p->h->bufs);
    buf_drop(&p->out, &p->h->bufs);
}
