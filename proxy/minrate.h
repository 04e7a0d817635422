/* Peers that dribble: less than limits.minRate bytes a second over timeouts.minRateWindow.
 *
 * Looked at by timers that run anyway, from byte counts that are kept anyway:
 *
 *   head     of a request on HTTP/1, from its first byte on
 *   request  its body, while it is the client that is waited for: not while the provider takes
 *            nothing, not before an expected 100 (Continue), not for gRPC, not once the reply has
 *            begun
 *   reply    while bytes wait that the client does not take; what the kernel has sent and the
 * client has acknowledged counts as taken. A client that waits for its provider is never judged,
 *            and neither is one that has taken all there was at the beginning of the window.
 *
 * In bodies, a peer that moves nothing at all is timeouts.stream's. */
#ifndef OFFSHOOT_PROXY_MINRATE_H
#define OFFSHOOT_PROXY_MINRATE_H

#include <stdbool.h>
#include <stdint.h>

struct client;
struct request;
struct worker;

/* When a timer that is due in timeout_ms should look first, in ms from now. */
uint64_t minrate_wait(const struct worker *w, uint64_t timeout_ms);
/* A head is incomplete, and since_ms is when it began; true: counted, to be cut. */
bool minrate_head(struct client *c);
/* It lingers, and the kernel still holds some of what was sent, but less than when this was asked
 * last, by at least the rate: the last reply is being taken. */
bool minrate_lingers(struct client *c);
/* A body begins that has not come whole. */
void minrate_begin(struct request *r);
/* The timer of a request whose bodies flow. True: counted, to be cut. *ret_look_ms: when to look
 * again, UINT64_MAX: never. Progress that only the kernel saw moves the reply's stamp. */
bool minrate_look(struct request *r, uint64_t *ret_look_ms);

#endif
