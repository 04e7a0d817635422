/* The life of h2_server.h's server, and turns of the loop. */
#ifndef OFFSHOOT_TESTS_UNIT_NET_H2_SERVER_LIFE_H
#define OFFSHOOT_TESTS_UNIT_NET_H2_SERVER_LIFE_H

#include "tests/unit/net/h2_server.h"

static inline void server_event(struct bufferevent *bev, short what, void *arg)
{
    struct server *s = arg;
    (void)what;
    if (s->bev == bev)
        s->bev = NULL;
    if (s->old == bev)
        s->old = NULL;
    bufferevent_free(bev);
}
static inline void server_accept(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    struct addr peer;
    (void)what;
    int got = sock_accept(fd, &peer);
    if (got < 0)
        return;
    s->nconns++;
    s->old = s->bev; /* goes on until the client closes */
    s->bev = bufferevent_socket_new(s->base, got, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(s->bev, server_read, NULL, server_event, s);
    bufferevent_enable(s->bev, EV_READ | EV_WRITE);
    if (s->inflater)
        nghttp2_hd_inflate_del(s->inflater);
    nghttp2_hd_inflate_new(&s->inflater);
    s->skip = 24;
    s->window = s->left = 65535;
    s->out.n = 0;
    static struct raw p;
    p.n = 0;
    raw_u(&p, 3, 2);
    raw_u(&p, s->streams, 4);
    if (s->hello)
        raw_add(&s->out, s->hello, strlen(s->hello));
    else if (!s->silent)
        server_frame(s, T_SETTINGS, 0, 0, str_of(p.bytes, s->streams ? p.n : 0));
    server_flush(s);
}
static inline void server_listen(struct server *s)
{
    struct addr a;
    struct err e = {0};
    assert_int_equal(addr_parse(str_c(s->target), false, &a, &e), 0);
    s->fd = sock_listen(&a, false, 16, 0600, &e);
    if (s->fd < 0)
        fail_msg("%s", e.text);
    event_assign(&s->accept, s->base, s->fd, EV_READ | EV_PERSIST, server_accept, s);
    event_add(&s->accept, NULL);
}
static inline void server_unlisten(struct server *s)
{
    event_del(&s->accept);
    close(s->fd);
    unlink(s->target + 5);
    s->fd = -1;
}
/* A base, a folder and a path; nobody listens yet. */
static inline struct server *server_new(void)
{
    struct server *s = calloc(1, sizeof(*s));
    signal(SIGPIPE, SIG_IGN);
    strcpy(s->dir, "/tmp/offshoot-h2-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->target, sizeof(s->target), "unix:%s/socket", s->dir);
    s->base = event_base_new();
    s->fd = -1;
    return s;
}
static inline void server_free(struct server *s)
{
    server_hang_up(s);
    if (s->old)
        bufferevent_free(s->old);
    if (s->fd >= 0)
        server_unlisten(s);
    for (unsigned i = 0; i < s->nasked; i++)
        free(s->asked[i].body);
    if (s->inflater)
        nghttp2_hd_inflate_del(s->inflater);
    event_base_free(s->base);
    rmdir(s->dir);
    free(s);
}

static inline void server_woken(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}
/* One turn, at most 20 ms long. */
static inline void server_turn(struct server *s)
{
    static const struct timeval tv = {0, 20000};
    struct event *e = evtimer_new(s->base, server_woken, NULL);
    event_add(e, &tv);
    event_base_loop(s->base, EVLOOP_ONCE);
    event_free(e);
}
/* Turns the loop until it holds; a minute is only for what never comes. */
#define until(s, condition)                                                                        \
    do {                                                                                           \
        uint64_t deadline = clock_mono_ms() + 60000;                                               \
        while (!(condition)) {                                                                     \
            if (clock_mono_ms() > deadline)                                                        \
                fail_msg("never came: %s", #condition);                                            \
            server_turn(s);                                                                        \
        }                                                                                          \
    } while (0)

#endif
