/* The value of grpc-timeout: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). */
#ifndef OFFSHOOT_WIRE_GRPC_TIMEOUT_H
#define OFFSHOOT_WIRE_GRPC_TIMEOUT_H

#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define GRPC_TIMEOUT_TEXT 10 /* longest value, with a NUL */

/* Microseconds, rounded up. False: not a value of that form. */
bool grpc_timeout_parse(struct str value, uint64_t *ret_us);
/* The shortest text that says no more than us, and at least one microsecond; beyond eight digits
 * a coarser unit is taken, rounded down. Returns its length. */
size_t grpc_timeout_format(uint64_t us, char out[GRPC_TIMEOUT_TEXT]);

#endif
