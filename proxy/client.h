/* A client connection: accepted, runs one request after another, closed with a reason. */
#ifndef OFFSHOOT_PROXY_CLIENT_H
#define OFFSHOOT_PROXY_CLIENT_H

#include "lib/base/wheel.h"
#include "proxy/conn.h"
#include "proxy/listener.h"
#include "proxy/stats.h"

struct client {
    struct conn conn;          /* first */
    struct list link;          /* in worker->clients */
    struct timer timer;        /* idle, head, linger; see on_timer */
    struct listener *listener; /* counted by it; may have stopped listening */
    struct request *req;       /* NULL between requests */
    uint64_t since_ms;         /* of idling, of the head's first byte, or of lingering */
    uint32_t dropped;          /* bytes read and dropped while lingering */
    uint8_t peer_ip[16];
    uint8_t peer_kind;    /* enum addr_kind */
    uint8_t close_reason; /* enum client_close: why it lingers */
    bool lingering;
    bool refuse; /* over limits.connections: answered 503 */
};

/* Takes fd. NULL (fd closed) when memory is out. */
struct client *client_new(struct worker *w, struct listener *l, int fd, const struct addr *peer);
/* Closes at once. reset: with RST, where a FIN would look like a whole reply. */
void client_close(struct client *c, enum client_close why, bool reset);
/* Everything is sent: stops sending, drops what still comes, closes at EOF or after a while. */
void client_linger(struct client *c, enum client_close why);
/* The request (already released) is over and its reply sent: next request or close. */
void client_next(struct client *c, bool keep, enum client_close why);
/* The head of a request has begun or the connection waits again: what the timer means now. */
void client_head_started(struct client *c);
void client_peer(const struct client *c, struct addr *ret);

#endif
