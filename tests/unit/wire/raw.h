/* HTTP/2 by hand: frames written byte by byte (HPACK: literals only). */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_RAW_H
#define OFFSHOOT_TESTS_UNIT_WIRE_RAW_H

#include "lib/base/str.h"
#include "tests/unit/unit.h"
#include <sys/socket.h>

enum { T_DATA, T_HEADERS, T_PRIORITY, T_RST, T_SETTINGS, T_PUSH, T_PING, T_GOAWAY, T_WINDOW };
enum { T_CONTINUATION = 9, T_KINDS = 16 };
#define F_END_STREAM  1u
#define F_ACK         1u
#define F_END_HEADERS 4u
#define F_PADDED      8u
#define F_PRIORITY    32u

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

/* A literal, never indexed (RFC 7541 section 6.2.3), without Huffman. */
static inline void raw_field(struct raw *r, struct str name, struct str value)
{
    raw_u(r, 0x10, 1);
    raw_number(r, (uint32_t)name.n);
    raw_add(r, name.p, name.n);
    raw_number(r, (uint32_t)value.n);
    raw_add(r, value.p, value.n);
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

/* How a client begins. */
static inline void raw_hello(struct raw *r)
{
    raw_add(r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    raw_frame(r, T_SETTINGS, 0, 0, STR(""));
}

/* All of it is there to read at the other end of fd; r is empty afterwards. */
static inline void raw_send(struct raw *r, int fd)
{
    assert_int_equal(send(fd, r->bytes, r->n, MSG_NOSIGNAL), (ssize_t)r->n);
    r->n = 0;
}

#endif
