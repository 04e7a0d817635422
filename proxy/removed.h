/* The end of requests and streams that have nowhere to go on: their environment, or that of their
 * provider, is not in the active graph any more; or their endpoint was disabled.
 *
 * They get timeouts.removed to come to an end by themselves; everything else stays as it is. What
 * was not answered yet is refused (`unknown-environment`, `unhealthy`), the rest is cut so that
 * nobody takes it for whole. Costs nothing on the way of a request: a worker walks over its clients
 * when a graph is published, and when the time is over. */
#ifndef OFFSHOOT_PROXY_REMOVED_H
#define OFFSHOOT_PROXY_REMOVED_H

struct worker;

void removed_init(struct worker *w);
/* The worker has another active graph: notes what it does not know any more. */
void removed_look(struct worker *w);
/* Once a second: endpoints that were disabled long enough ago. */
void removed_sweep(struct worker *w);

#endif
