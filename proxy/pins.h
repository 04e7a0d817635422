/* Pins of requests: which held epoch serves one, and which revision is stamped on it.
 *
 * Only when an agent feeds this proxy: epochs of two proxies on files have nothing in common, so
 * there a pin is ignored (and counted), and 0 is stamped. */
#ifndef OFFSHOOT_PROXY_PINS_H
#define OFFSHOOT_PROXY_PINS_H

#include <stdint.h>

#define PINS_CACHED 1024u /* a power of two */

struct request;
struct worker;

/* Of a worker: revisions looked up lately. */
struct pins {
    struct {
        uint32_t id; /* of the held epoch; 0: nothing */
        uint32_t env;
        uint64_t revision;
    } cached[PINS_CACHED];
};

/* After decide, which used the active epoch: changes the request to the epoch its pin asks for (it
 * holds that one from then on) and notes what is stamped in r->pin. */
void pins_decide(struct request *r);

#endif
