/* The HTTP/1.1 exchange of a health check: one GET; the status is all that is looked at. */
#include "proxy/health_impl.h"
#include <event2/buffer.h>

static const struct h1_limits limits = {HEALTH_REPLY_MAX, 256, 8192, HEALTH_FIELDS};

void health_http_begin(struct health_probe *p)
{
    const struct health_spec *s = p->spec;
    struct str path = s->policy.path.n ? s->policy.path : STR("/");
    h1_parser_reset(&p->parser, &limits, p->fields);
    int rc = evbuffer_add_printf(bufferevent_get_output(p->bev),
        "GET %.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: offshoot-health\r\naccept: */*\r\n"
        "connection: close\r\n\r\n",
        STR_ARG(path), STR_ARG(s->host));
    if (rc < 0)
        probe_done(p, "out of memory");
}

void health_http_input(struct health_probe *p, bool closed)
{
    struct evbuffer *in = bufferevent_get_input(p->bev);
    for (;;) {
        size_t n = evbuffer_get_length(in);
        struct h1_head head;
        if (n == 0)
            break;
        char *data = (char *)evbuffer_pullup(in, -1);
        if (!data) {
            probe_done(p, "out of memory");
            return;
        }
        enum h1_status st = h1_reply(&p->parser, data, (uint32_t)n, H1_GET, &head);
        if (st == H1_ERROR) {
            probe_done(p, "not an HTTP reply: %s", h1_error_word(p->parser.error));
            return;
        }
        if (st != H1_DONE)
            break;
        if (head.status >= 200) {
            probe_status(p, head.status);
            return;
        }
        p->used += head.size;
        evbuffer_drain(in, head.size);
        h1_parser_reset(&p->parser, &limits, p->fields);
    }
    if (closed)
        probe_done(p, "closed before it answered");
    else if (p->used + evbuffer_get_length(in) >= HEALTH_REPLY_MAX)
        probe_done(p, "not an HTTP reply: the head is too large");
}
