/* The control thread's part of capture: rules to the workers, their chunks to the agent.
 *
 *   Sync: CaptureRules → capture_link_rules → `tell` messages → capture_set_rules on each worker
 *                            ↓ dial
 *   on_up → open_stream (one Exchanges call a worker) → `tell` → capture_set_up(worker, true)
 *   capture_chunk_run → the worker's list → grpc_send
 *   on_end, on_down → the list is dropped → capture_set_up(worker, false) → taken: open_stream anew
 *
 * Bounds: a worker's chunks up to capture.bytes, judged by the worker; a stream's own queue. */
#ifndef OFFSHOOT_PROXY_CAPTURE_LINK_H
#define OFFSHOOT_PROXY_CAPTURE_LINK_H

#include "lib/base/counters.h"
#include "proxy/capture.h"

/* The Sync stream ended, or could not be made: rules stay for capture.grace, then go unless new
 * ones came. */
void capture_link_lost(struct control *c);
/* Each second. */
void capture_link_second(struct control *c);
/* Part of /status: `"capture":{...}` without a comma, or a line of text (none without sessions). */
void capture_link_status(const struct control *c, bool json, struct text *out);

#endif
