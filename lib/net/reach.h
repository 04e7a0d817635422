/* The way to a server: its name looked up, its addresses connected to one after another; and the
 * wait before the next try. What clients that keep one connection up have in common.
 *
 * One thread, a libevent base. Embedded in its owner. */
#ifndef OFFSHOOT_NET_REACH_H
#define OFFSHOOT_NET_REACH_H

#include "lib/base/addr.h"
#include "lib/base/err.h"
#include <event2/event_struct.h>

#define REACH_ADDRS_MAX 16 /* of a name that are tried */

struct event_base;
struct dns;

struct reach_events {
    /* Judges an address before it is connected to; NULL: every one is allowed. 0, or negative
     * errno with e. */
    int (*may)(void *arg, const struct addr *a, struct err *e);
    /* Connected: takes fd, also on failure, which is negative errno with e: the next address. */
    int (*reached)(void *arg, int fd, struct err *e);
    /* No address is left; reach.why says what was wrong with the last one. May free the owner: it
     * runs last in whatever calls it. */
    void (*failed)(void *arg);
};

enum reach_state { REACH_IDLE, REACH_RESOLVING, REACH_CONNECTING };

struct reach {
    struct err why; /* of the last failure; the owner may write it too */
    /* Ours. */
    struct event_base *base;
    struct dns *dns;
    const struct reach_events *events;
    void *arg;
    char *target;   /* owned */
    struct addr at; /* of the target; name points into it */
    enum reach_state state;
    int fd; /* CONNECTING; else -1 */
    struct event connected;
    struct addr addrs[REACH_ADDRS_MAX];
    unsigned naddrs, next;
};

/* target: "unix:/path", "IP:port" or "name:port". dns may be NULL when it is no name; it is
 * borrowed and outlives r. what: whose server it is, for messages: "a gRPC server". 0; -EINVAL or
 * -ENOMEM with e; reach_release is due also then. */
int reach_init(struct reach *r, struct event_base *base, struct dns *dns, const char *target,
    const char *what, const struct reach_events *events, void *arg, struct err *e);
/* Begins with the look-up. Calls `reached` from the loop only, `failed` perhaps at once. */
void reach_start(struct reach *r);
/* The connection that was reached was of no use: goes on with the next address. */
void reach_next(struct reach *r);
/* No event comes any more, until it is started again. */
void reach_stop(struct reach *r);
void reach_release(struct reach *r);
/* What it waits for, for messages: "the name's address", "the connection"; "" when idle. */
const char *reach_waits_for(const struct reach *r);

/* Waits between tries: doubled from `first_ms` to `max_ms`. */
struct backoff {
    uint32_t first_ms, max_ms, now_ms;
};
void backoff_init(struct backoff *b, uint32_t first_ms, uint32_t max_ms);
/* The next wait, from half of it to all of it: clients that lost one server do not come back as
 * one. */
uint32_t backoff_next(struct backoff *b);
/* The first wait is the next one again. */
void backoff_reset(struct backoff *b);

#endif
