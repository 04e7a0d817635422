/* When freed memory goes back to the system.
 *
 * What connections, requests and buffers held stays with the allocator when they end: the next ones
 * take it. After a great many have gone it is given back. That walks all that is free, and holds up
 * whoever allocates meanwhile for some milliseconds: not before it is worth it, and not often. */
#ifndef OFFSHOOT_PROXY_GIVEBACK_H
#define OFFSHOOT_PROXY_GIVEBACK_H

#include <stdbool.h>
#include <stdint.h>

#define GIVEBACK_LEAST    1000  /* that have gone, and at least half of what there were */
#define GIVEBACK_PAUSE_MS 10000 /* between one time and the next */

/* Zeroed: nothing was there yet. */
struct giveback {
    uint64_t peak, last, next_ms;
};

/* Called once a second with how many objects there are, at a time in milliseconds that never goes
 * back. True: now is the time. A number that still falls is waited for. */
bool giveback_due(struct giveback *g, uint64_t objects, uint64_t now_ms);

#endif
