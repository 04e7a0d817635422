/* Hop records by trace-id, of the whole process: which environment served each passage.
 *
 * Touched only by requests that ask to be explained. 64 records a trace, 30 s after the last one;
 * limits.traces traces. Sharded with a lock each: one of the few things workers share. */
#ifndef OFFSHOOT_PROXY_TRACE_H
#define OFFSHOOT_PROXY_TRACE_H

#include "lib/base/counters.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define TRACE_RECORDS    64
#define TRACE_RECORD_MAX 320 /* bytes of one */
#define TRACE_LIFE_MS    30000u

struct traces;

struct traces *traces_new(uint32_t limit);
void traces_free(struct traces *t);
/* Adds a record ("cart@feat-42;class=local;rule=explicit;epoch=3"). Returns its order within the
 * trace (from 1), 0 when it was not kept. */
uint64_t traces_add(struct traces *t, struct str trace_id, struct str record, uint64_t now_ms);
/* True when some trace is remembered: one relaxed load, for the hot path. */
bool traces_any(const struct traces *t);
/* True when this trace is: a request of it that does not ask to be explained has lost its context,
 * and its record shows where. */
bool traces_known(struct traces *t, struct str trace_id, uint64_t now_ms);
/* Appends the records of the trace that came after `order`, each with ", " before it; at most
 * `room` bytes, whole records only. */
void traces_join(
    struct traces *t, struct str trace_id, uint64_t order, struct text *out, size_t room);
/* For the admin socket: every record, a line (or JSON array) each. False: unknown trace-id. */
bool traces_show(struct traces *t, struct str trace_id, bool json, struct text *out);

#endif
