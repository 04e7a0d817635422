/* A reply as the comparison sees it: bytes that others own. */
#ifndef OFFSHOOT_COMPARE_REPLY_H
#define OFFSHOOT_COMPARE_REPLY_H

#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum reply_outcome {
    REPLY_WHOLE,
    REPLY_TRANSPORT, /* no reply, or none that is whole: refused, reset, broken */
    REPLY_TIMEOUT
};
const char *reply_outcome_word(enum reply_outcome o); /* "whole" "transport-error" "timeout" */

struct reply_field {
    struct str name, value; /* name in lower case */
};

/* Views; whoever made it owns the bytes. */
struct reply {
    enum reply_outcome outcome; /* but WHOLE: nothing else counts except latency_us */
    uint32_t status;            /* 200 to 599 */
    const struct reply_field *fields, *trailers;
    size_t nfields, ntrailers;
    struct str body; /* without transfer coding; content coding is undone by the comparison */
    uint64_t latency_us;
};

/* First value of a field; empty when there is none. name in lower case. */
struct str reply_field_value(const struct reply_field *f, size_t n, struct str name);
/* The number in grpc-status (of the trailers, else of the head); -1: there is none, or it is no
 * number up to 16. */
int reply_grpc_status(const struct reply *r);

#endif
