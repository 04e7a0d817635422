/* Replies whose end is open: what is told arrives as it is told, in chunks. */
#include "lib/net/adminhttp_impl.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>

static struct bufferevent *bufferevent_of(const struct admin_request *r)
{
    return evhttp_connection_get_bufferevent(r->connection);
}

bool admin_stream_begin(struct admin_request *r, const char *content_type)
{
    static const struct timeval write = {ADMIN_IDLE_S, 0};
    struct text none = {0};
    if (!r->http || r->head) {
        admin_reply(r, 200, content_type, &none);
        return false;
    }
    struct evkeyvalq *headers = evhttp_request_get_output_headers(r->http);
    evhttp_add_header(headers, "Content-Type", content_type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(headers, "Connection", "close");
    evhttp_send_reply_start(r->http, 200, NULL);
    /* Nothing has to come from the reader; but it has to take what is told. */
    bufferevent_set_timeouts(bufferevent_of(r), NULL, &write);
    return true;
}

bool admin_stream_gone(const struct admin_request *r)
{
    return !r->http;
}

size_t admin_stream_waiting(const struct admin_request *r)
{
    return r->http ? evbuffer_get_length(bufferevent_get_output(bufferevent_of(r))) : 0;
}

void admin_stream_add(struct admin_request *r, struct str piece)
{
    struct evbuffer *b = r->http && piece.n ? evbuffer_new() : NULL;
    if (!b)
        return;
    if (evbuffer_add(b, piece.p, piece.n) == 0)
        evhttp_send_reply_chunk(r->http, b);
    evbuffer_free(b);
}

void admin_stream_end(struct admin_request *r)
{
    if (r->http) {
        evhttp_connection_set_closecb(r->connection, NULL, NULL);
        evhttp_send_reply_end(r->http);
    }
    admin_request_free(r);
}
