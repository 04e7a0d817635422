/* An HTTP/2 server by hand on the loop of a test: frames are written byte by byte, what comes is
 * taken apart and held against the windows that were given. */
#ifndef OFFSHOOT_TESTS_UNIT_NET_H2_SERVER_H
#define OFFSHOOT_TESTS_UNIT_NET_H2_SERVER_H

#include "lib/base/clock.h"
#include "lib/net/sock.h"
#include "tests/unit/wire/raw.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { SERVER_STREAMS = 64, SERVER_FIELDS = 16384 };

struct asked { /* one request */
    uint32_t id;
    unsigned conn;              /* on which connection, from 1 */
    char fields[SERVER_FIELDS]; /* "name: value\n" lines, pseudo-fields first */
    size_t fields_n, body_n;
    char *body;
    int64_t window, left; /* theirs to us; what they may still send */
    bool ended, reset;
    uint32_t reset_code;
};

struct server {
    struct event_base *base;
    char dir[40], target[80];
    int fd;
    struct event accept;
    struct bufferevent *bev, *old; /* the connection, and the one before */
    nghttp2_hd_inflater *inflater;
    struct raw out;
    struct asked asked[SERVER_STREAMS];
    unsigned nasked, nended, nconns, frames[16], acks_of_ping;
    size_t skip; /* of the preface */
    int64_t window, left;
    /* What it does. */
    bool silent;       /* says nothing, not even SETTINGS */
    bool greedy;       /* opens no window */
    const char *hello; /* sent instead of SETTINGS */
    uint32_t streams;  /* SETTINGS_MAX_CONCURRENT_STREAMS; 0: not said */
    void (*on_request)(struct server *s, struct asked *a); /* NULL: 200 at once */
    void *arg;
};

static inline void server_flush(struct server *s)
{
    if (s->bev && s->out.n)
        assert_int_equal(bufferevent_write(s->bev, s->out.bytes, s->out.n), 0);
    s->out.n = 0;
}
static inline void server_frame(
    struct server *s, unsigned type, unsigned flags, uint32_t id, struct str payload)
{
    raw_frame(&s->out, type, flags, id, payload);
}
/* Numbers of 32 bits as a frame's payload. */
static inline void server_numbers(
    struct server *s, unsigned type, uint32_t id, unsigned n, uint32_t a, uint32_t b)
{
    static struct raw p;
    p.n = 0;
    raw_u(&p, a, 4);
    if (n > 1)
        raw_u(&p, b, 4);
    server_frame(s, type, 0, id, str_of(p.bytes, p.n));
}
static inline void server_head(struct server *s, uint32_t id, const char *lines, bool end)
{
    static struct raw p;
    p.n = 0;
    raw_fields(&p, lines);
    server_frame(s, T_HEADERS, F_END_HEADERS | (end ? F_END_STREAM : 0), id, str_of(p.bytes, p.n));
}
static inline void server_answer(struct server *s, struct asked *a, const char *body)
{
    server_head(s, a->id, ":status: 200\ncontent-type: text/plain\n", false);
    server_frame(s, T_DATA, F_END_STREAM, a->id, str_c(body));
}

static inline struct asked *asked_of(struct server *s, uint32_t id)
{
    for (unsigned i = 0; i < s->nasked; i++)
        if (s->asked[i].id == id && s->asked[i].conn == s->nconns)
            return &s->asked[i];
    return NULL;
}
static inline void server_fields(struct server *s, struct asked *a, const uint8_t *p, size_t n)
{
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(s->inflater, &nv, &flags, p, n, 1);
        assert_true(used >= 0);
        p += used;
        n -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            a->fields_n += (size_t)snprintf(a->fields + a->fields_n, SERVER_FIELDS - a->fields_n,
                "%.*s: %.*s\n", (int)nv.namelen, nv.name, (int)nv.valuelen, nv.value);
        if (flags & NGHTTP2_HD_INFLATE_FINAL)
            break;
    }
    nghttp2_hd_inflate_end_headers(s->inflater);
    assert_true(a->fields_n < SERVER_FIELDS - 1);
}
static inline void server_data(struct server *s, struct asked *a, const uint8_t *p, size_t n)
{
    a->left -= (int64_t)n;
    s->left -= (int64_t)n;
    assert_true(a->left >= 0 && s->left >= 0);
    a->body = realloc(a->body, a->body_n + n + 1);
    memcpy(a->body + a->body_n, p, n);
    a->body_n += n;
    if (s->greedy || n == 0)
        return;
    server_numbers(s, T_WINDOW, 0, 1, (uint32_t)n, 0);
    server_numbers(s, T_WINDOW, a->id, 1, (uint32_t)n, 0);
    a->left += (int64_t)n;
    s->left += (int64_t)n;
}
static inline uint32_t server_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline void server_took(
    struct server *s, unsigned type, unsigned flags, uint32_t id, const uint8_t *p, size_t n)
{
    struct asked *a = asked_of(s, id);
    s->frames[type & 15]++;
    if (type == T_HEADERS && !a) {
        assert_true(s->nasked < SERVER_STREAMS);
        a = &s->asked[s->nasked++];
        *a = (struct asked){.id = id, .conn = s->nconns, .window = 65535, .left = 65535};
        assert_true(flags & F_END_HEADERS);
        server_fields(s, a, p, n);
    } else if (type == T_DATA && a) {
        server_data(s, a, p, n);
    } else if (type == T_RST && a) {
        a->reset = true;
        a->reset_code = server_u32(p);
    } else if (type == T_SETTINGS && !(flags & F_ACK) && !s->silent) {
        server_frame(s, T_SETTINGS, F_ACK, 0, STR(""));
    } else if (type == T_PING && !(flags & F_ACK) && !s->silent) {
        server_frame(s, T_PING, F_ACK, 0, str_of((const char *)p, n));
    } else if (type == T_WINDOW) {
        *(a ? &a->window : &s->window) += server_u32(p);
    }
    if ((type == T_HEADERS || type == T_DATA) && a && flags & F_END_STREAM) {
        a->ended = true;
        s->nended++;
        if (s->on_request)
            s->on_request(s, a);
        else
            server_answer(s, a, "hello");
    }
}
static inline void server_read(struct bufferevent *bev, void *arg)
{
    struct server *s = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    if (s->skip && evbuffer_get_length(in) >= s->skip) {
        evbuffer_drain(in, s->skip);
        s->skip = 0;
    }
    while (!s->skip && s->bev == bev && evbuffer_get_length(in) >= 9) {
        const uint8_t *p = evbuffer_pullup(in, 9);
        size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (evbuffer_get_length(in) < 9 + n)
            break;
        p = evbuffer_pullup(in, (ssize_t)(9 + n));
        server_took(s, p[3], p[4], server_u32(p + 5), p + 9, n);
        evbuffer_drain(in, 9 + n);
    }
    server_flush(s);
}
/* Closes the connection, as the kernel does for a process that dies. */
static inline void server_hang_up(struct server *s)
{
    if (s->bev)
        bufferevent_free(s->bev);
    s->bev = NULL;
}
#endif
