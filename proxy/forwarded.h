/* Who asked, as the provider is told: x-forwarded-for, -proto, -host, -port, forwarded (RFC 7239),
 * and the id of the request.
 *
 *   untrusted listener  what came of them is hearsay and dropped; we say what we saw. x-request-id
 *                       passes if it is 1 to 128 of letters, digits and . _ : / + = @ -, else we
 *                       make one
 *   trusted listener    everything passes; where x-forwarded-for or forwarded came, the peer is
 *                       added at its end. Nothing is made where nothing came
 *
 * Listeners with `proxy-protocol` have seen whom the PROXY header names. */
#ifndef OFFSHOOT_PROXY_FORWARDED_H
#define OFFSHOOT_PROXY_FORWARDED_H

#include "proxy/out.h"
#include "proxy/request.h"

/* Once decided: r->request_id, passed or made (in the request, or its head). */
void forwarded_decide(struct request *r);
/* Numbers of the fields that do not pass as they came: 1 << enum field_id. */
uint64_t forwarded_kept_back(const struct request *r);
/* What is said in their place. */
void forwarded_put(const struct request *r, struct out *o);

#endif
