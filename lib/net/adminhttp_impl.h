/* What the files of the admin server share: adminhttp.c (listeners, connections, routes),
 * admin_request.c (one request's parts and its reply) and admin_stream.c (replies without an end).
 * Nobody else includes it. */
#ifndef OFFSHOOT_NET_ADMINHTTP_IMPL_H
#define OFFSHOOT_NET_ADMINHTTP_IMPL_H

#include "lib/base/list.h"
#include "lib/base/pool.h"
#include "lib/net/adminhttp.h"
#include <event2/event_struct.h>
#include <event2/http.h>
#include <stdint.h>
#include <sys/types.h>

#define ADMIN_CONNECTIONS 64 /* of one listener */
#define ADMIN_PARAMS      64 /* of one request */
#define ADMIN_BODY        (1u << 20)
#define ADMIN_BODY_LARGE  (4u << 20) /* unix sockets, ADMIN_LARGE */
#define ADMIN_HEADERS     (16 << 10) /* request line and headers, bytes */
#define ADMIN_IDLE_S      30

struct bufferevent;

/* One listener with an evhttp of its own, so that connections to one take no room from another. */
struct admin_port {
    uint32_t magic;
    struct list link;
    struct admin_server *server;
    struct evhttp *http;
    struct evconnlistener *listener; /* NULL: handed over */
    struct evhttp_bound_socket *bound;
    struct event every_second;
    bool is_unix;
    char *path; /* of a unix socket, owned */
    dev_t dev;  /* of its file: only ours is unlinked */
    ino_t ino;
    bool has_group;
    gid_t gid;
    struct list connections; /* longest without a request first */
    unsigned nconnections;
};

/* What we know of one of evhttp's connections. evhttp does not tell when it drops one, but it
 * takes its callbacks off: our own reference lets us look. */
struct admin_connection {
    struct list link;
    struct bufferevent *bev;
    struct admin_request *request; /* being answered */
    bool shed;                     /* shut down for others' sake */
};

struct admin_server {
    struct event_base *base;
    const struct admin_route *routes;
    size_t nroutes;
    void *arg;
    struct list ports;
    struct list requests; /* not answered yet */
    bool handed_over;
    uint64_t shed;
};

struct admin_param {
    const char *name, *value;
};

struct admin_request {
    uint32_t magic;
    struct list link;
    struct evhttp_request *http; /* NULL: the client has gone, or the server */
    struct evhttp_connection *connection;
    struct admin_connection *of; /* may be NULL */
    struct pool *pool;           /* everything below */
    const char *path;            /* decoded */
    const char *rest;
    struct admin_param *params;
    size_t nparams;
    struct str body;
    bool json;
    bool head;
    unsigned uid, gid;
};

/* Takes the parts of a request into memory of ours, so that they outlive the connection. NULL: it
 * was refused and answered. */
struct admin_request *admin_request_new(struct evhttp_request *http);
/* Its reply has been given. */
void admin_request_free(struct admin_request *r);
/* The client has gone; the reply will be dropped. */
void admin_request_detach(struct admin_request *r);

#endif
