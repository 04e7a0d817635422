/* gRPC bodies written field by field, and what differs in two of them. */
#ifndef OFFSHOOT_TESTS_UNIT_COMPARE_GRPC_BODIES_H
#define OFFSHOOT_TESTS_UNIT_COMPARE_GRPC_BODIES_H

#include "lib/compare/compare_int.h"
#include "lib/graph/pb.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>

/* ---- a body in the making ---- */

/* One frame of the message that was written. */
static inline void frame(struct pb_out *body, uint8_t flag, struct str message)
{
    const uint8_t head[] = {flag, (uint8_t)(message.n >> 24), (uint8_t)(message.n >> 16),
        (uint8_t)(message.n >> 8), (uint8_t)message.n};
    pb_raw(body, head, sizeof(head));
    pb_raw(body, message.p, message.n);
}

static inline void fixed64(struct pb_out *o, uint32_t field, uint64_t v)
{
    pb_varint(o, (uint64_t)field << 3 | PB_FIXED64);
    for (int i = 0; i < 8; i++) {
        uint8_t byte = (uint8_t)(v >> (8 * i));
        pb_raw(o, &byte, 1);
    }
}

static inline uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static inline uint32_t bits_of_float(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

/* ---- what differs ---- */

struct outcome {
    int r, failed;
    char text[2048];
};

/* One line a difference: path kind [shape] "a" "b". */
static inline void compare_under(
    const struct compare_rules *rules, struct str a, struct str b, struct outcome *ret)
{
    struct differ d;
    *ret = (struct outcome){0};
    if (differ_init(&d, rules) < 0) {
        ret->failed = -ENOMEM;
        return;
    }
    differ_push(&d, STR("body"));
    ret->r = grpc_body_compare(&d, a, b);
    ret->failed = d.failed;
    size_t n = 0;
    for (size_t i = 0; i < d.n && n < sizeof(ret->text); i++) {
        const struct difference *x = &d.item[i];
        n += (size_t)snprintf(ret->text + n, sizeof(ret->text) - n, "%s%.*s %s%s \"%.*s\" \"%.*s\"",
            n ? "\n" : "", STR_ARG(x->path), diff_kind_word(x->kind), x->shape ? " shape" : "",
            STR_ARG(x->a), STR_ARG(x->b));
    }
    differ_release(&d);
}

static const struct compare_rules plain_rules = {.limits = COMPARE_LIMITS_DEFAULT};

/* Two messages in a frame each. */
static inline void assert_under(
    const struct compare_rules *rules, struct pb_out *a, struct pb_out *b, const char *want)
{
    struct pb_out body_a = {0}, body_b = {0};
    struct outcome o;
    frame(&body_a, 0, pb_str(a));
    frame(&body_b, 0, pb_str(b));
    compare_under(rules, pb_str(&body_a), pb_str(&body_b), &o);
    assert_int_equal(o.r, 0);
    assert_int_equal(o.failed, 0);
    assert_string_equal(o.text, want);
    pb_release(&body_a);
    pb_release(&body_b);
    pb_release(a);
    pb_release(b);
}

static inline void assert_differs(struct pb_out *a, struct pb_out *b, const char *want)
{
    assert_under(&plain_rules, a, b, want);
}

#endif
