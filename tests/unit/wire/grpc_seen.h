/* What one end of gRPC says, read frame by frame. */
#ifndef OFFSHOOT_TESTS_UNIT_WIRE_GRPC_SEEN_H
#define OFFSHOOT_TESTS_UNIT_WIRE_GRPC_SEEN_H

#include "tests/unit/wire/grpc_raw.h"
#include <nghttp2/nghttp2.h>

struct seen {
    nghttp2_hd_inflater *inflater;
    bool preface; /* the client's is still to come */
    unsigned frames[T_KINDS];
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
    assert_true(type < T_KINDS);
    v->frames[type]++;
    if (type == T_HEADERS) {
        assert_true(flags & F_END_HEADERS);
        seen_block(v, p, payload.n);
    } else if (type == T_DATA && v->data_n + payload.n <= sizeof(v->data)) {
        memcpy(v->data + v->data_n, payload.p, payload.n);
        v->data_n += payload.n;
    } else if (type == T_RST) {
        v->rst = seen_u32(p);
    } else if (type == T_GOAWAY) {
        v->last = seen_u32(p);
        v->goaway = seen_u32(p + 4);
    }
    if (type <= T_HEADERS && (flags & F_END_STREAM))
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
