/* The admin server: HTTP/1.1 over a Unix socket (everything) or TCP (metrics and health only).
 *
 * Thin layer on evhttp, for one thread. GET never changes anything; POST does, needs the owner's
 * or root's uid (SO_PEERCRED) and is logged with the peer's uid. With an admin group the socket is
 * 0660 and members of the group may GET. Answers are text, or JSON when Accept asks for it.
 *
 * At most 64 connections a listener: one more shuts down the one that was longest without a
 * request, so slow clients keep nobody out. Idle connections end after 30 s. A request line with
 * headers has at most 16 KiB, a query 64 parameters. "/" lists the routes unless one is for it. */
#ifndef OFFSHOOT_NET_ADMINHTTP_H
#define OFFSHOOT_NET_ADMINHTTP_H

#include "lib/base/addr.h"
#include "lib/base/counters.h"
#include "lib/base/err.h"
#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct admin_server;
struct admin_request;

enum admin_flag {
    ADMIN_POST = 1,   /* route answers POST; without it GET (and HEAD) */
    ADMIN_PUBLIC = 2, /* also on TCP listeners */
    ADMIN_PREFIX = 4, /* path is a prefix ending in '/'; the rest is admin_rest */
    ADMIN_LARGE = 8,  /* takes a body of up to 4 MiB instead of 1 */
};
struct admin_route {
    const char *path; /* "/status" */
    unsigned flags;
    /* Must call admin_reply (or admin_error, or admin_stream_begin) exactly once, now or later. */
    void (*fn)(struct admin_request *r, void *arg);
    const char *help; /* for the list at "/" */
};

/* routes and arg are borrowed for the server's life. */
struct admin_server *admin_new(struct event_base *base, const struct admin_route *routes,
    size_t nroutes, void *arg, struct err *e);
/* Adds a listener. group: NULL, or the group whose members may read. */
int admin_listen_unix(struct admin_server *s, const char *path, const char *group, struct err *e);
int admin_listen_tcp(
    struct admin_server *s, const struct addr *a, struct addr *ret_bound, struct err *e);
/* Both, as a program's settings say: socket and metrics may be NULL. metrics_text
 * (ADDR_TEXT_MAX) gets the bound address of metrics. */
int admin_listen(struct admin_server *s, const char *socket, const char *group, const char *metrics,
    char *metrics_text, struct err *e);
/* For a binary upgrade. The listening descriptor of the unix socket, or of TCP; borrowed, -1: none.
 */
int admin_listening(const struct admin_server *s, bool is_unix);
/* Adds a listener that another process opened; takes fd. path NULL: TCP; else the unix socket's
 * path, and its group or NULL as for admin_listen_unix. */
int admin_adopt(struct admin_server *s, int fd, const char *path, const char *group, struct err *e);
/* Another process has taken the listeners: accepts nothing more, ends connections with their next
 * answer. The unix socket's file stays, unless it was not taken. */
void admin_hand_over(struct admin_server *s, bool path_taken);
/* Nobody is connected any more; nobody waits for an answer, or for the rest of one. */
bool admin_is_alone(struct admin_server *s);
bool admin_is_quiet(struct admin_server *s);
/* Closes listeners and connections, unlinks the unix socket; replies that come later are dropped.
 */
void admin_free(struct admin_server *s);

/* Connections shut down so far to make room for others. */
uint64_t admin_shed(const struct admin_server *s);

/* The request's parts; strings live as long as the request. */
const char *admin_param(struct admin_request *r, const char *name); /* decoded, NULL: not given */
/* The i-th value of a repeated parameter, NULL past the last. */
const char *admin_param_at(struct admin_request *r, const char *name, size_t i);
const char *admin_rest(struct admin_request *r);
/* At most 1 MiB, or 4 with ADMIN_LARGE; larger ones were refused. */
struct str admin_body(struct admin_request *r);
bool admin_wants_json(struct admin_request *r);
unsigned admin_peer_uid(struct admin_request *r);
/* Takes *body (releases it). content_type NULL: application/json or text/plain by wants_json. */
void admin_reply(struct admin_request *r, int status, const char *content_type, struct text *body);
/* In place of admin_reply: a reply that goes on (chunked) until admin_stream_end, which must be
 * called once. False: the reply is over already (HEAD, or the client has gone) and r is no more. */
bool admin_stream_begin(struct admin_request *r, const char *content_type);
/* The client has gone: what is added is dropped. */
bool admin_stream_gone(const struct admin_request *r);
/* Bytes that the client has not taken yet. A client that takes nothing for 30 s is gone. */
size_t admin_stream_waiting(const struct admin_request *r);
/* Memory that is out loses the piece. */
void admin_stream_add(struct admin_request *r, struct str piece);
void admin_stream_end(struct admin_request *r);
/* {"error":...} or the text, by wants_json. */
void admin_error(struct admin_request *r, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
