/* Limits of a gateway (docs/routes.md): how many requests a second, and how many at a time, a
 * source or an environment may have. They rule requests from outside: untrusted listeners.
 *
 * Two tables a process, shared by its workers, since a source's connections are spread over them
 * and a share of the limit in each would cut a client with one connection short. An entry is a few
 * relaxed atomics; a request costs one compare-and-swap where a limit is written, and a test of a
 * pointer where none is. No lock, and nobody waits.
 *
 * Rates are kept as the time at which the bucket would be full again (the generic cell rate
 * algorithm): exact, without a timer. Tables are bounded (limits.rateEntries) and eight-way
 * associative: a new key takes an empty place or that of the one not seen for longest, never of one
 * that holds connections or requests. Who finds no place is not limited, and counted. */
#ifndef OFFSHOOT_PROXY_RATELIMIT_H
#define OFFSHOOT_PROXY_RATELIMIT_H

#include "lib/base/counters.h"
#include "lib/graph/actions.h"

struct client;
struct request;
struct ratelimit;

/* entries: of each table, rounded up to a power of two. Returns new; NULL: memory is out. */
struct ratelimit *ratelimit_new(uint32_t entries);
void ratelimit_free(struct ratelimit *t);

enum limit_kind { LIMIT_SOURCE, LIMIT_ENVIRONMENT, LIMIT_KINDS };

/* What the parts below are made of; for tests. key: of what is limited, any number. */
/* Takes one request at now_us. False: over the rate, and *ret_wait_us until one more fits. */
bool ratelimit_take(struct ratelimit *t, enum limit_kind kind, uint64_t key, const struct limit *l,
    uint64_t now_us, counter_cell *stats, uint64_t *ret_wait_us);
/* Counts one more, whatever the limit; *ret_n how many there are with it. Returns the place, to
 * give to ratelimit_leave, or 0: there was none. */
uint32_t ratelimit_enter(struct ratelimit *t, enum limit_kind kind, uint64_t key, uint64_t now_us,
    counter_cell *stats, uint32_t *ret_n);
void ratelimit_leave(struct ratelimit *t, enum limit_kind kind, uint32_t place);

/* The client's address is known: counts its connection. Over the limit the connection is marked:
 * its request is answered 429 and it is closed. Twice over and more it is closed at once. */
void ratelimit_connect(struct client *c);
void ratelimit_disconnect(struct client *c); /* part of client_close */
/* Before the decision, and after it. False: the request is to be refused with rate-limited. */
bool ratelimit_source(struct request *r);
bool ratelimit_environment(struct request *r);
void ratelimit_done(struct request *r); /* part of giving it back */

#endif
