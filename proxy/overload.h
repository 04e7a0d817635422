/* Steps that a worker takes before its limits are reached, one after another:
 *
 *   keep-alive   replies end their connections; those without a request end after a second
 *   streams      new requests are refused (503 overload, Retry-After)
 *   connections  new connections are answered 503 overload and ended
 *
 * Each begins when more than overload.keepAlive, .streams, .connections percent of a limit are in
 * use, and ends at 5 percent of the limit less. Judged are limits.connections (of the process;
 * connections above the limit do not count: they are refused anyway), limits.buffers (of the
 * worker) and limits.memory (of the process). Descriptors that ran out count as the first step, for
 * 5 s. */
#ifndef OFFSHOOT_PROXY_OVERLOAD_H
#define OFFSHOOT_PROXY_OVERLOAD_H

#include "lib/base/counters.h"
#include "proxy/settings.h"
#include <stdbool.h>
#include <stdint.h>

struct worker;

enum overload_step {
    OVERLOAD_NONE,
    OVERLOAD_KEEP_ALIVE,
    OVERLOAD_STREAMS,
    OVERLOAD_CONNECTIONS,
    OVERLOAD_STEPS = OVERLOAD_CONNECTIONS
};
enum overload_cause { CAUSE_CONNECTIONS, CAUSE_BUFFERS, CAUSE_MEMORY, CAUSE_DESCRIPTORS, CAUSES };

struct overload {
    uint8_t step;        /* enum overload_step */
    _Atomic uint8_t why; /* enum overload_cause of the step; the control thread reads it */
    uint64_t begins[CAUSE_DESCRIPTORS][OVERLOAD_STEPS]; /* above this the step begins; */
    uint64_t ends[CAUSE_DESCRIPTORS][OVERLOAD_STEPS];   /* at this it ends */
    uint64_t starved_until_ms;                          /* descriptors ran out */
    uint64_t told_ms;                                   /* last line in the log */
};

const char *overload_step_word(enum overload_step s);

void overload_init(struct overload *o, const struct settings *set);
/* Once a turn. */
void overload_turn(struct worker *w);
/* Once a second: ends connections that keep room for nothing. */
void overload_sweep(struct worker *w);
/* An accept failed for want of descriptors. */
void overload_starved(struct worker *w);
/* Part of /status: `"overload":{...}` without a comma, or lines of text. */
struct control;
void overload_status(const struct control *c, bool json, struct text *out);

#endif
