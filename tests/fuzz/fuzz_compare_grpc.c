/* First byte: 1: with descriptors; 2: the parts are messages, to be framed; 4: small limits. The
 * rest are two bodies, the length of the first in two bytes before it. Nothing differs from itself;
 * two differ as much in either direction; what is redacted is framed again, and has nothing left
 * that a pattern finds, nor a password by its name. */
#include "lib/base/mem.h"
#include "lib/compare/compare_int.h"
#include "lib/compare/grpc_int.h"
#include "lib/compare/redact_int.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/compare/shop.h"

static struct descriptors *shop;
static struct redact *redact;

static void release(void)
{
    descriptors_free(shop);
    redact_free(redact);
}

static void set_up(void)
{
    struct pb_out set = {0};
    struct redact_options o = {.key = "0123456789abcde"};
    struct err e = {0};
    if (shop)
        return;
    shop_write(&set, "proto3");
    shop = descriptors_parse(pb_str(&set), &e);
    pb_release(&set);
    redact = redact_new(&o, &e);
    demand(shop && redact && atexit(release) == 0);
}

static int compared(const struct compare_rules *rules, struct str a, struct str b, size_t *ret_n)
{
    struct differ d;
    demand(differ_init(&d, rules) == 0);
    differ_push(&d, STR("body"));
    int r = grpc_body_compare(&d, a, b);
    demand(d.failed == 0);
    demand(r == 0 || d.n == 0);
    for (size_t i = 0; i < d.n; i++) {
        demand(str_starts(d.item[i].path, STR("body.message[]")));
        demand(d.item[i].a.n <= COMPARE_TEXT_MAX && d.item[i].b.n <= COMPARE_TEXT_MAX);
    }
    *ret_n = d.cut ? SIZE_MAX : d.n;
    differ_release(&d);
    return r;
}

/* The field "password" of every message that can be read is empty or a mark. */
static void check_names(struct str body)
{
    struct grpc_frames frames;
    struct pool *pool = pool_new(4096);
    demand(pool && grpc_frames_split(pool, body, 1u << 20, 1u << 30, &frames) == 0);
    for (size_t i = 0; i < frames.n; i++) {
        struct pb_in in = pb_in_of(frames.item[i].message);
        struct pb_field f;
        while (wire_is_message(frames.item[i].message) && pb_next(&in, &f) == 1)
            if (f.number == 5)
                demand(f.wire == PB_BYTES &&
                       (f.bytes.n == 0 || str_starts(f.bytes, STR("[redacted:"))));
    }
    pool_free(pool);
}

static void check_redaction(const struct descriptor_message *type, struct str body)
{
    struct text out = {0}, again = {0};
    bool any;
    if (grpc_body_redact(redact, type, body, &out, &any)) {
        struct str redacted = str_of(out.p, out.n);
        demand(!out.failed);
        demand(grpc_body_redact(redact, NULL, redacted, &again, &any));
        demand(!any);
        demand(again.n == out.n);
        if (type)
            check_names(redacted);
    }
    text_release(&out);
    text_release(&again);
}

/* One frame around it, or as it is. */
static struct str framed(struct str part, bool wanted, struct text *out)
{
    const char head[5] = {
        0, (char)(part.n >> 24), (char)(part.n >> 16), (char)(part.n >> 8), (char)part.n};
    if (!wanted)
        return part;
    text_add(out, str_of(head, sizeof(head)));
    text_add(out, part);
    return str_of(out->p, out->n);
}

static void check_pair(const struct compare_rules *rules, struct str a, struct str b)
{
    size_t n, back;
    int r = compared(rules, a, a, &n);
    demand(r != 0 || n == 0);
    r = compared(rules, a, b, &n);
    demand(compared(rules, b, a, &back) == r);
    demand(n == back);
    const struct descriptor_message *type =
        rules->descriptors ? descriptors_reply(shop, rules->grpc_method) : NULL;
    check_redaction(type, a);
    check_redaction(type, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct compare_rules rules = {.limits = COMPARE_LIMITS_DEFAULT};
    struct text room_a = {0}, room_b = {0};
    if (size < 3)
        return 0;
    set_up();
    size_t na = (size_t)data[1] << 8 | data[2];
    struct str rest = str_of((const char *)data + 3, size - 3);
    if (na > rest.n)
        na = rest.n;
    rules.redact = redact;
    if (data[0] & 1) {
        rules.descriptors = shop;
        rules.grpc_method = STR("/shop.Shop/List");
    }
    if (data[0] & 4)
        rules.limits = (struct compare_limits){4, 12, 5, 64, 4};
    check_pair(&rules, framed(str_of(rest.p, na), data[0] & 2, &room_a),
        framed(str_from(rest, na), data[0] & 2, &room_b));
    text_release(&room_a);
    text_release(&room_b);
    return 0;
}
