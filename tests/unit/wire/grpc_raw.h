/* HTTP/2 by hand, for one end of gRPC: frames written byte by byte (HPACK: literals only). */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_GRPC_RAW_H
#define OFFSHOOT_TESTS_UNIT_WIRE_GRPC_RAW_H

#include "tests/unit/wire/grpc_pair.h"

enum { RAW_DATA, RAW_HEADERS, RAW_PRIORITY, RAW_RST, RAW_SETTINGS, RAW_PUSH, RAW_PING, RAW_GOAWAY };
enum { RAW_WINDOW = 8, RAW_CONTINUATION = 9, RAW_KINDS = 16 };
#define RAW_END_STREAM  1u
#define RAW_ACK         1u
#define RAW_END_HEADERS 4u
#define RAW_PADDED      8u

struct raw {
    char bytes[65536];
    size_t n;
};

static inline void raw_add(struct raw *r, struct str bytes)
{
    assert_true(bytes.n <= sizeof(r->bytes) - r->n);
    if (bytes.n)
        memcpy(r->bytes + r->n, bytes.p, bytes.n);
    r->n += bytes.n;
}

static inline void raw_byte(struct raw *r, unsigned byte)
{
    char c = (char)byte;
    raw_add(r, str_of(&c, 1));
}

static inline void raw_u32(struct raw *r, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        raw_byte(r, v >> shift & 255);
}

static inline void raw_frame(
    struct raw *r, unsigned type, unsigned flags, uint32_t id, struct str payload)
{
    raw_byte(r, (unsigned)(payload.n >> 16));
    raw_byte(r, payload.n >> 8 & 255);
    raw_byte(r, payload.n & 255);
    raw_byte(r, type);
    raw_byte(r, flags);
    raw_u32(r, id);
    raw_add(r, payload);
}

static inline void raw_number(struct raw *r, uint32_t n)
{
    if (n < 127) {
        raw_byte(r, n);
        return;
    }
    raw_byte(r, 127);
    for (n -= 127; n >= 128; n >>= 7)
        raw_byte(r, 128 | (n & 127));
    raw_byte(r, n);
}

/* A literal field, never indexed (RFC 7541 section 6.2.3), without Huffman. */
static inline void raw_field(struct raw *r, struct str name, struct str value)
{
    raw_byte(r, 0x10);
    raw_number(r, (uint32_t)name.n);
    raw_add(r, name);
    raw_number(r, (uint32_t)value.n);
    raw_add(r, value);
}

/* Fields as "name: value\n" lines; a pseudo field begins with its colon. */
static inline void raw_fields(struct raw *r, const char *lines)
{
    while (*lines) {
        const char *colon = strstr(lines + 1, ": ");
        const char *end = colon ? strchr(colon, '\n') : NULL;
        if (!end) {
            fail_msg("no field: %s", lines);
            return;
        }
        raw_field(r, str_of(lines, (size_t)(colon - lines)),
            str_of(colon + 2, (size_t)(end - colon - 2)));
        lines = end + 1;
    }
}

static inline void raw_headers(struct raw *r, unsigned flags, uint32_t id, const char *lines)
{
    static struct raw block;
    block.n = 0;
    raw_fields(&block, lines);
    raw_frame(r, RAW_HEADERS, flags | RAW_END_HEADERS, id, str_of(block.bytes, block.n));
}

/* DATA with one message, its prefix before it. */
static inline void raw_message(struct raw *r, unsigned flags, uint32_t id, struct str message)
{
    static struct raw data;
    data.n = 0;
    raw_byte(&data, 0);
    raw_u32(&data, (uint32_t)message.n);
    raw_add(&data, message);
    raw_frame(r, RAW_DATA, flags, id, str_of(data.bytes, data.n));
}

static inline void raw_client_hello(struct raw *r)
{
    raw_add(r, STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    raw_frame(r, RAW_SETTINGS, 0, 0, STR(""));
}

#define RAW_REQUEST                                                                                \
    ":method: POST\n:scheme: http\n:path: /test.Echo/Say\n:authority: a\n"                         \
    "te: trailers\ncontent-type: application/grpc\n"

#endif
