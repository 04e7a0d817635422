/* What the server and the client of grpc_fixture.h do when something happens.
 *
 * The server's methods: /test.Echo/Each answers every message by itself and finishes with the
 * client; /test.Echo/Refuse is refused; /test.Echo/Flood sends `flood` messages of 16 KiB. */
#ifndef OFFSHOOT_TESTS_GRPC_METHODS_H
#define OFFSHOOT_TESTS_GRPC_METHODS_H

#include "lib/base/log.h"
#include "lib/net/grpc.h"
#include "lib/net/sock.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FLOOD_BYTES 16384u

struct fixture {
    struct event_base *base;
    struct grpc_server *server;
    struct grpc_server_options server_options;
    struct grpc_client *client;
    struct grpc_client_options client_options;
    struct addr bound;
    char target[160];
    char dir[64], path[100];
    const char *call; /* made by on_up; NULL: none */
    /* what happened at the client */
    unsigned ups, downs, messages, ends, status;
    uint32_t retry_ms;
    char why[512], text[256], last[256];
    struct grpc_stream *st; /* the call that runs */
    /* at the server */
    unsigned server_ends, server_status;
    struct grpc_stream *server_st;
    char peer[512]; /* names of the last call's peer, each with a blank behind it */
    bool peer_tls;
    unsigned flood; /* still to send */
    int log[2];
};

/* ---- the server's methods -------------------------------------------------------------------- */

static inline void echo_peer(struct fixture *f, const struct grpc_stream *st)
{
    const struct grpc_peer *peer = grpc_peer(st);
    f->peer[0] = '\0';
    f->peer_tls = peer->tls;
    for (unsigned i = 0; i < peer->nnames; i++) {
        strcat(f->peer, peer->names[i]);
        strcat(f->peer, " ");
    }
}

static inline unsigned echo_call(
    struct grpc_stream *st, struct str path, const char **ret_text, void *arg)
{
    struct fixture *f = arg;
    echo_peer(f, st);
    if (str_ends(path, STR("/Refuse"))) {
        *ret_text = "not for you";
        return GRPC_PERMISSION_DENIED;
    }
    f->server_st = st;
    return GRPC_OK;
}

static inline void echo_message(struct grpc_stream *st, struct str message, void *arg)
{
    (void)arg;
    if (grpc_send(st, message))
        grpc_finish(st, GRPC_RESOURCE_EXHAUSTED, STR("no room"));
}

static inline void echo_half_close(struct grpc_stream *st, void *arg)
{
    (void)arg;
    grpc_finish(st, GRPC_OK, STR("100 % \"done\""));
}

static inline void echo_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct fixture *f = arg;
    (void)text;
    f->server_ends++;
    f->server_status = status;
    if (f->server_st == st)
        f->server_st = NULL;
}

static inline void flood_more(struct grpc_stream *st, void *arg)
{
    static const char zeros[FLOOD_BYTES];
    struct fixture *f = arg;
    while (f->flood && grpc_send(st, str_of(zeros, sizeof(zeros))) == 0)
        f->flood--;
    if (!f->flood)
        grpc_finish(st, GRPC_OK, (struct str){0});
}

static inline void flood_message(struct grpc_stream *st, struct str message, void *arg)
{
    (void)message;
    flood_more(st, arg);
}

static const struct grpc_events echo_events = {.on_call = echo_call,
    .on_message = echo_message,
    .on_half_close = echo_half_close,
    .on_end = echo_end};
static const struct grpc_events flood_events = {.on_call = echo_call,
    .on_message = flood_message,
    .on_end = echo_end,
    .on_drained = flood_more};
static const struct grpc_method methods[] = {
    {"/test.Echo/Each", &echo_events, NULL},
    {"/test.Echo/Refuse", &echo_events, NULL},
    {"/test.Echo/Flood", &flood_events, NULL},
};
#define NMETHODS (sizeof(methods) / sizeof(methods[0]))

/* ---- the client ------------------------------------------------------------------------------ */

static inline void client_message(struct grpc_stream *st, struct str message, void *arg)
{
    struct fixture *f = arg;
    (void)st;
    f->messages++;
    snprintf(f->last, sizeof(f->last), "%.*s", STR_ARG(message));
}

static inline void client_end(struct grpc_stream *st, unsigned status, struct str text, void *arg)
{
    struct fixture *f = arg;
    f->ends++;
    f->status = status;
    snprintf(f->text, sizeof(f->text), "%.*s", STR_ARG(text));
    if (f->st == st)
        f->st = NULL;
}

static inline struct grpc_stream *call(struct fixture *f, const char *method, const char *message)
{
    struct grpc_session *session = grpc_client_session(f->client);
    if (!session)
        return NULL;
    f->st = grpc_call(session, STR("test"), str_c(method));
    if (f->st && message && grpc_send(f->st, str_c(message)))
        grpc_cancel(f->st);
    return f->st;
}

static inline void client_up(struct grpc_client *c, void *arg)
{
    struct fixture *f = arg;
    assert_ptr_equal(c, f->client);
    f->ups++;
    if (f->call)
        call(f, f->call, "hello");
}

static inline void client_down(struct grpc_client *c, const char *why, uint32_t retry_ms, void *arg)
{
    struct fixture *f = arg;
    assert_ptr_equal(c, f->client);
    assert_null(grpc_client_session(c));
    assert_null(f->st);
    f->downs++;
    f->retry_ms = retry_ms;
    snprintf(f->why, sizeof(f->why), "%s", why);
}

static const struct grpc_client_events client_events = {
    .call = {.on_message = client_message, .on_end = client_end},
    .on_up = client_up,
    .on_down = client_down};

#endif
