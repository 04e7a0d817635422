/* HTTP/2 by hand, for one end of gRPC: frames written byte by byte (HPACK: literals only), and what
 * the end says read frame by frame. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_GRPC_RAW_H
#define OFFSHOOT_TESTS_UNIT_WIRE_GRPC_RAW_H

#include "tests/unit/wire/grpc_pair.h"
#include <nghttp2/nghttp2.h>

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

/* ---- what the end says ---- */

struct seen {
    nghttp2_hd_inflater *inflater;
    bool preface; /* the client's is still to come */
    unsigned frames[RAW_KINDS];
    unsigned ended;             /* streams, by END_STREAM */
    uint32_t rst, goaway, last; /* error codes; last stream of GOAWAY */
    char fields[4096];          /* "name: value\n" lines of every block */
    size_t fields_n;
    char data[65536];
    size_t data_n;
};

static inline void seen_init(struct seen *v, bool of_client)
{
    *v = (struct seen){.preface = of_client};
    assert_int_equal(nghttp2_hd_inflate_new(&v->inflater), 0);
}

static inline void seen_release(struct seen *v)
{
    nghttp2_hd_inflate_del(v->inflater);
}

static inline uint32_t seen_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void seen_block(struct seen *v, const uint8_t *p, size_t n)
{
    int flags = 0;
    while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(v->inflater, &nv, &flags, p, n, 1);
        assert_true(used >= 0);
        p += used;
        n -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            v->fields_n += (size_t)snprintf(v->fields + v->fields_n,
                sizeof(v->fields) - v->fields_n, "%.*s: %.*s\n", (int)nv.namelen,
                (const char *)nv.name, (int)nv.valuelen, (const char *)nv.value);
    }
    nghttp2_hd_inflate_end_headers(v->inflater);
}

static inline void seen_frame(struct seen *v, unsigned type, unsigned flags, struct str payload)
{
    const uint8_t *p = (const uint8_t *)payload.p;
    assert_true(type < RAW_KINDS);
    v->frames[type]++;
    if (type == RAW_HEADERS) {
        assert_true(flags & RAW_END_HEADERS);
        seen_block(v, p, payload.n);
    } else if (type == RAW_DATA && v->data_n + payload.n <= sizeof(v->data)) {
        memcpy(v->data + v->data_n, payload.p, payload.n);
        v->data_n += payload.n;
    } else if (type == RAW_RST) {
        v->rst = seen_u32(p);
    } else if (type == RAW_GOAWAY) {
        v->last = seen_u32(p);
        v->goaway = seen_u32(p + 4);
    }
    if (type <= RAW_HEADERS && (flags & RAW_END_STREAM))
        v->ended++;
}

/* Takes all that the end has to say. */
static inline void seen_all(struct seen *v, struct end *x)
{
    static uint8_t bytes[1 << 20];
    size_t n = 0, at = 0;
    const uint8_t *p;
    ssize_t some;
    while ((some = grpc_session_produce(x->s, &p)) > 0) {
        assert_true((size_t)some <= sizeof(bytes) - n);
        memcpy(bytes + n, p, (size_t)some);
        n += (size_t)some;
    }
    if (v->preface && n) {
        at = 24;
        v->preface = false;
    }
    while (at < n) {
        size_t length = seen_u32(bytes + at) >> 8;
        assert_true(n - at >= 9 + length);
        seen_frame(v, bytes[at + 3], bytes[at + 4], str_of((const char *)bytes + at + 9, length));
        at += 9 + length;
    }
}

/* The value of the first field of that name, "" when there is none. */
static inline struct str seen_field(const struct seen *v, const char *name)
{
    char key[64];
    snprintf(key, sizeof(key), "%s: ", name);
    const char *at = v->fields;
    while (at && strncmp(at, key, strlen(key)) != 0) {
        at = strchr(at, '\n');
        at = at && at[1] ? at + 1 : NULL;
    }
    if (!at)
        return STR("");
    at += strlen(key);
    return str_of(at, strcspn(at, "\n"));
}

#endif
