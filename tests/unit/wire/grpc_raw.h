/* Frames by hand for one end of gRPC. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_GRPC_RAW_H
#define OFFSHOOT_TESTS_UNIT_WIRE_GRPC_RAW_H

#include "tests/unit/wire/grpc_pair.h"
#include "tests/unit/wire/raw.h"

static inline void raw_headers(struct raw *r, unsigned flags, uint32_t id, const char *lines)
{
    static struct raw block;
    block.n = 0;
    raw_fields(&block, lines);
    raw_frame(r, T_HEADERS, flags | F_END_HEADERS, id, str_of(block.bytes, block.n));
}

/* DATA with one message, its prefix before it. */
static inline void raw_message(struct raw *r, unsigned flags, uint32_t id, struct str message)
{
    static struct raw data;
    data.n = 0;
    raw_u(&data, 0, 1);
    raw_u(&data, (uint32_t)message.n, 4);
    raw_add(&data, message.p, message.n);
    raw_frame(r, T_DATA, flags, id, str_of(data.bytes, data.n));
}

#define RAW_REQUEST                                                                                \
    ":method: POST\n:scheme: http\n:path: /test.Echo/Say\n:authority: a\n"                         \
    "te: trailers\ncontent-type: application/grpc\n"

#endif
