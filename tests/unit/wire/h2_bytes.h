/* HTTP/2 by hand: frames written byte by byte (HPACK: literals only). */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_H2_BYTES_H
#define OFFSHOOT_TESTS_UNIT_WIRE_H2_BYTES_H

#include "tests/unit/wire/h2_pair.h"

enum { T_DATA, T_HEADERS, T_PRIORITY, T_RST, T_SETTINGS, T_PUSH, T_PING, T_GOAWAY, T_WINDOW };
enum { T_CONTINUATION = 9 };
#define F_END_STREAM  1u
#define F_ACK         1u
#define F_END_HEADERS 4u
#define F_PADDED      8u
#define F_PRIORITY    32u

#define RAW_GET  ":method: GET\n:scheme: http\n:path: /\n:authority: a\n"
#define RAW_POST ":method: POST\n:scheme: http\n:path: /\n:authority: a\n"

struct raw {
    char bytes[262144];
    size_t n;
};

static inline void raw_add(struct raw *r, const char *p, size_t n)
{
    assert_true(n <= sizeof(r->bytes) - r->n);
    if (n)
        memcpy(r->bytes + r->n, p, n);
    r->n += n;
}

static inline void raw_u(struct raw *r, uint32_t v, int bytes)
{
    while (bytes-- > 0) {
        char c = (char)(v >> (8 * bytes));
        raw_add(r, &c, 1);
    }
}

static inline void raw_frame(
    struct raw *r, unsigned type, unsigned flags, uint32_t id, struct str payload)
{
    raw_u(r, (uint32_t)payload.n, 3);
    raw_u(r, type, 1);
    raw_u(r, flags, 1);
    raw_u(r, id, 4);
    raw_add(r, payload.p, payload.n);
}

static inline void raw_number(struct raw *r, uint32_t n)
{
    raw_u(r, n < 127 ? n : 127, 1);
    if (n < 127)
        return;
    for (n -= 127; n >= 128; n >>= 7)
        raw_u(r, 128 | (n & 127), 1);
    raw_u(r, n, 1);
}

/* Fields as "name: value\n" lines; literals, never indexed (RFC 7541 section 6.2.3). */
static inline void raw_fields(struct raw *r, const char *lines)
{
    while (*lines) {
        const char *colon = strstr(lines + 1, ": ");
        const char *end = colon ? strchr(colon, '\n') : NULL;
        if (!end) {
            fail_msg("no field: %s", lines);
            return;
        }
        raw_u(r, 0x10, 1);
        raw_number(r, (uint32_t)(colon - lines));
        raw_add(r, lines, (size_t)(colon - lines));
        raw_number(r, (uint32_t)(end - colon - 2));
        raw_add(r, colon + 2, (size_t)(end - colon - 2));
        lines = end + 1;
    }
}

static inline void raw_headers(struct raw *r, unsigned flags, uint32_t id, const char *lines)
{
    static struct raw block;
    block.n = 0;
    raw_fields(&block, lines);
    raw_frame(r, T_HEADERS, flags, id, str_of(block.bytes, block.n));
}

static inline void raw_get(struct raw *r, uint32_t id)
{
    raw_headers(r, F_END_HEADERS | F_END_STREAM, id, RAW_GET);
}

static inline void raw_hello(struct raw *r)
{
    raw_add(r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_frame(r, T_SETTINGS, 0, 0, STR(""));
}

static inline void raw_setting(struct raw *r, unsigned id, uint32_t value)
{
    static struct raw entry;
    entry.n = 0;
    raw_u(&entry, id, 2);
    raw_u(&entry, value, 4);
    raw_frame(r, T_SETTINGS, 0, 0, str_of(entry.bytes, entry.n));
}

static inline void raw_window(struct raw *r, uint32_t id, uint32_t by)
{
    char p[4] = {(char)(by >> 24), (char)(by >> 16), (char)(by >> 8), (char)by};
    raw_frame(r, T_WINDOW, 0, id, str_of(p, 4));
}

#endif
