/* How long the stages of a request took: for the access log, the histograms and live listings.
 *
 *   accept      from the accept of a connection to the first byte of its first request; of the
 *               client's making, but for the handshake that is in it
 *   tls         from the accept to the end of the TLS handshake, PROXY header included
 *   head        from the first byte of the request to its whole head
 *   decide      from there to the decision
 *   connect     from there to a connection to the provider: look-up of its name, waiting for a
 *               free connection, connecting, and what failed before it worked
 *   first byte  from there to the reply's whole head: the request's body is sent meanwhile
 *   total       from the first byte of the request to the last one of the reply handed over
 *
 * Times are the worker's clock, which is read once a turn: what is done within one turn takes no
 * time, so `decide` is 0 unless something was waited for. */
#ifndef OFFSHOOT_PROXY_STAGES_H
#define OFFSHOOT_PROXY_STAGES_H

#include <stdint.h>

struct client;
struct request;
struct worker;

/* Microseconds; -1: not reached, or not of this request. */
struct stages {
    int64_t accept, tls, head, decide, connect, first_byte, total;
};
void stages_of(const struct request *r, struct stages *ret);
/* Counts a request that is over in the histograms. Inline checks of what is switched off are the
 * caller's. */
void stages_count(struct worker *w, const struct request *r);
/* A TLS handshake is done. */
void stages_count_tls(struct worker *w, uint64_t us);

#endif
